/* Streams over real loopback sockets and Unix sockets: data, back-pressure, ends, errors, fairness. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/pool.h"
#include "sys/tcp.h"

#define SOON_MS 10000

/* One end of a connection and what happened to it. */
struct end {
    struct sys_stream *s;
    struct a_buf got;
    size_t want; /* `ready` once so many bytes came */
    bool ready, eof, drained, connected;
    int error, rc;
    unsigned reads;
};

struct fixture {
    struct sys_loop *loop;
    struct sys_listener *listener;
    struct end client, server;
    bool accepted;
};

static void on_read(void *ctx, struct a_view bytes)
{
    struct end *e = ctx;
    e->reads++;
    a_buf_add_view(&e->got, bytes);
    if (e->want != 0 && e->got.len >= e->want)
        e->ready = true;
}

static void on_eof(void *ctx)
{
    ((struct end *)ctx)->eof = true;
}

static void on_error(void *ctx, int rc)
{
    struct end *e = ctx;
    assert_int_equal(e->error, 0); /* told once */
    e->error = rc;
    e->ready = true;
}

static void on_drain(void *ctx)
{
    ((struct end *)ctx)->drained = true;
}

static const struct sys_stream_ops ops = {
    .read = on_read, .eof = on_eof, .error = on_error, .drain = on_drain};

static void on_accept(void *ctx, struct sys_stream *stream)
{
    struct fixture *f = ctx;
    f->server.s = stream;
    sys_stream_set_ops(stream, &ops, &f->server);
    sys_stream_read_start(stream);
    f->accepted = true;
}

static void on_connected(void *ctx, int rc)
{
    struct end *e = ctx;
    e->connected = true;
    e->rc = rc;
}

static int setup(void **state)
{
    struct fixture *f = a_new(struct fixture);
    assert_int_equal(sys_loop_new(&f->loop, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sys_stream_close(f->client.s);
    sys_stream_close(f->server.s);
    sys_listener_close(f->listener);
    sys_loop_free(f->loop);
    a_buf_deinit(&f->client.got);
    a_buf_deinit(&f->server.got);
    a_free(f);
    return 0;
}

static void listen_on(struct fixture *f, const char *where)
{
    struct sys_addr addr;
    assert_int_equal(sys_addr_parse(where, &addr, NULL), 0);
    assert_int_equal(sys_listener_open(f->loop, &addr, NULL, on_accept, f, &f->listener, NULL), 0);
}

static void connect_pair(struct fixture *f, const char *where)
{
    struct sys_addr addr;
    listen_on(f, where);
    sys_listener_addr(f->listener, &addr);
    assert_int_equal(sys_stream_connect(f->loop, &addr, NULL, on_connected, &f->client, &f->client.s, NULL),
                     0);
    sys_stream_set_ops(f->client.s, &ops, &f->client);
    sys_stream_read_start(f->client.s);
    assert_false(f->client.connected);
    assert_true(sys_loop_run_until(f->loop, &f->client.connected, SOON_MS));
    assert_int_equal(f->client.rc, 0);
    assert_true(sys_loop_run_until(f->loop, &f->accepted, SOON_MS));
}

static void test_bytes_go_both_ways(void **state)
{
    struct fixture *f = *state;
    struct a_view views[] = {A_VIEW_LIT("hello "), {"", 0}, A_VIEW_LIT("world")};
    connect_pair(f, "127.0.0.1:0");
    assert_int_not_equal(sys_listener_port(f->listener), 0);
    f->server.want = 11;
    f->client.want = 3;
    assert_int_equal(sys_stream_writev(f->client.s, views, 3), 0);
    assert_int_equal(sys_stream_write(f->server.s, "yes", 3), 0);
    assert_true(sys_loop_run_until(f->loop, &f->server.ready, SOON_MS));
    assert_true(sys_loop_run_until(f->loop, &f->client.ready, SOON_MS));
    assert_string_equal(f->server.got.ptr, "hello world");
    assert_string_equal(f->client.got.ptr, "yes");
    assert_int_equal(sys_stream_bytes_written(f->client.s), 11);
    assert_int_equal(sys_stream_bytes_read(f->server.s), 11);
    assert_int_equal(sys_stream_queued(f->client.s), 0);
    struct sys_addr local, peer;
    sys_stream_local(f->client.s, &local);
    sys_stream_peer(f->server.s, &peer);
    assert_true(sys_addr_equal(&local, &peer));
    assert_true(sys_addr_is_loopback(&peer));
    char text[SYS_ADDR_TEXT];
    sys_addr_print(&local, text);
    assert_string_equal(sys_stream_peer_text(f->server.s), text);
    pid_t pid;
    uid_t uid;
    gid_t gid;
    assert_int_equal(sys_stream_peer_cred(f->client.s, &pid, &uid, &gid), -ENOTSUP);
}

static void test_half_close(void **state)
{
    struct fixture *f = *state;
    connect_pair(f, "127.0.0.1:0");
    f->client.want = 3;
    sys_stream_shutdown(f->client.s);
    sys_stream_shutdown(f->client.s);
    assert_int_equal(sys_stream_write(f->client.s, "x", 1), -EPIPE);
    assert_true(sys_loop_run_until(f->loop, &f->server.eof, SOON_MS));
    assert_int_equal(sys_stream_write(f->server.s, "bye", 3), 0);
    assert_true(sys_loop_run_until(f->loop, &f->client.ready, SOON_MS));
    assert_int_equal(f->client.error, 0);
}

/* The server does not read: the client's queue fills to its limit, refuses whole writes, and drains in order
 * once the server reads again. */
static void test_back_pressure(void **state)
{
    struct fixture *f = *state;
    enum { PIECE = 64 * 1024 };
    connect_pair(f, "127.0.0.1:0");
    sys_stream_read_stop(f->server.s);
    struct sys_stream_limits limits = {.limit = 4 * PIECE, .high = 2 * PIECE};
    sys_stream_set_limits(f->client.s, &limits);
    char *piece = a_alloc(PIECE);
    unsigned n = 0;
    int rc = 0;
    for (; n < 1000 && rc == 0; n++) {
        memset(piece, 'a' + (int)(n % 26), PIECE);
        rc = sys_stream_write(f->client.s, piece, PIECE);
        sys_loop_turn(f->loop, false);
    }
    n--;
    assert_int_equal(rc, -ENOBUFS);
    assert_true(sys_stream_is_full(f->client.s));
    assert_true(sys_stream_queued(f->client.s) <= limits.limit);
    assert_true(sys_stream_queued(f->client.s) > limits.high);
    assert_true(sys_stream_unacked(f->client.s) > 0);
    assert_false(f->client.drained);
    assert_int_equal(sys_stream_bytes_written(f->client.s) + sys_stream_queued(f->client.s),
                     (uint64_t)n * PIECE);
    f->server.want = (size_t)n * PIECE;
    sys_stream_read_start(f->server.s);
    assert_true(sys_loop_run_until(f->loop, &f->server.ready, SOON_MS));
    assert_true(sys_loop_run_until(f->loop, &f->client.drained, SOON_MS));
    assert_false(sys_stream_is_full(f->client.s));
    assert_int_equal(f->server.got.len, (size_t)n * PIECE);
    for (size_t i = 0; i < f->server.got.len; i++)
        if (f->server.got.ptr[i] != (char)('a' + (i / PIECE) % 26))
            fail_msg("byte %zu is wrong", i);
    a_free(piece);
}

static void test_no_memory_for_the_queue_breaks_the_stream(void **state)
{
    struct fixture *f = *state;
    enum { PIECE = 64 * 1024 };
    connect_pair(f, "127.0.0.1:0");
    sys_stream_read_stop(f->server.s);
    char *piece = a_alloc(PIECE);
    int rc = 0;
    for (int i = 0; i < 1000 && rc == 0; i++) {
        a_try_alloc_fail_at(1);
        rc = sys_stream_write(f->client.s, piece, PIECE);
        a_try_alloc_fail_at(0);
    }
    assert_int_equal(rc, -ENOMEM);
    assert_int_equal(sys_stream_write(f->client.s, piece, 1), -EPIPE);
    a_free(piece);
}

static void test_close_soft_sends_the_queue_first(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 8 * 1024 * 1024 };
    connect_pair(f, "127.0.0.1:0");
    sys_stream_set_limits(f->server.s, &(struct sys_stream_limits){.limit = SIZE});
    sys_stream_read_stop(f->client.s);
    char *big = a_alloc(SIZE);
    assert_int_equal(sys_stream_write(f->server.s, big, SIZE), 0);
    assert_true(sys_stream_queued(f->server.s) > 0);
    assert_int_equal(sys_stream_write(f->client.s, "unread", 6),
                     0); /* would turn a plain close into a reset */
    sys_stream_close_soft(a_steal(&f->server.s), SOON_MS);
    f->client.want = SIZE;
    sys_stream_read_start(f->client.s);
    assert_true(sys_loop_run_until(f->loop, &f->client.ready, SOON_MS));
    assert_true(sys_loop_run_until(f->loop, &f->client.eof, SOON_MS));
    assert_int_equal(f->client.error, 0);
    assert_int_equal(f->client.got.len, SIZE);
    a_free(big);
}

static void test_close_soft_ends_when_the_peer_lingers(void **state)
{
    struct fixture *f = *state;
    connect_pair(f, "127.0.0.1:0");
    sys_stream_close_soft(a_steal(&f->server.s), 5);
    assert_true(sys_loop_run_until(f->loop, &f->client.eof, SOON_MS));
    /* The client keeps its side open; after the linger, the server's socket is gone and answers with a reset.
     */
    uint64_t end = sys_clock_mono_ms() + SOON_MS;
    while (sys_stream_write(f->client.s, "x", 1) == 0) {
        assert_true(sys_clock_mono_ms() < end);
        sys_loop_turn(f->loop, false);
    }
}

/* A peer that takes a little of a queue that would last it for hours. */
static void test_close_soft_ends_when_the_peer_is_slow_for_long(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 64 * 1024 * 1024 };
    connect_pair(f, "127.0.0.1:0");
    sys_stream_set_limits(f->server.s, &(struct sys_stream_limits){.limit = SIZE});
    sys_stream_read_stop(f->client.s);
    char *big = a_alloc(SIZE);
    assert_int_equal(sys_stream_write(f->server.s, big, SIZE), 0);
    sys_stream_close_soft(a_steal(&f->server.s), 100);
    for (uint64_t end = sys_clock_mono_ms() + SOON_MS; f->client.error == 0 && !f->client.eof;) {
        assert_true(sys_clock_mono_ms() < end);
        size_t before = f->client.got.len;
        sys_stream_read_start(f->client.s);
        while (f->client.got.len == before && f->client.error == 0 && !f->client.eof)
            sys_loop_turn(f->loop, false);
        sys_stream_read_stop(f->client.s);
        for (uint64_t pause = sys_clock_mono_ms() + 8; sys_clock_mono_ms() < pause;)
            sys_loop_turn(f->loop, false);
    }
    assert_true(f->client.got.len < SIZE);
    a_free(big);
}

static void test_reset_is_an_error(void **state)
{
    struct fixture *f = *state;
    connect_pair(f, "127.0.0.1:0");
    sys_stream_abort(a_steal(&f->client.s));
    assert_true(sys_loop_run_until(f->loop, &f->server.ready, SOON_MS));
    assert_int_equal(f->server.error, -ECONNRESET);
    assert_false(f->server.eof);
    assert_int_equal(sys_stream_write(f->server.s, "x", 1), -EPIPE);
}

/* The reset comes right behind bytes, and both are there when the reader looks. */
static void test_reset_behind_bytes_is_an_error(void **state)
{
    struct fixture *f = *state;
    connect_pair(f, "127.0.0.1:0");
    assert_int_equal(sys_stream_write(f->client.s, "last words", 10), 0);
    sys_stream_abort(a_steal(&f->client.s));
    f->server.want = 1000;
    assert_true(sys_loop_run_until(f->loop, &f->server.ready, SOON_MS));
    assert_int_equal(f->server.error, -ECONNRESET);
    assert_false(f->server.eof);
}

static void close_in_read(void *ctx, struct a_view bytes)
{
    struct end *e = ctx;
    (void)bytes;
    e->reads++;
    sys_stream_close(e->s);
    sys_stream_close(e->s);
    e->s = NULL;
    e->ready = true;
}

static void test_close_from_within_a_callback(void **state)
{
    struct fixture *f = *state;
    static const struct sys_stream_ops closing = {.read = close_in_read, .eof = on_eof, .error = on_error};
    connect_pair(f, "127.0.0.1:0");
    sys_stream_set_ops(f->server.s, &closing, &f->server);
    assert_int_equal(sys_stream_write(f->client.s, "one", 3), 0);
    assert_true(sys_loop_run_until(f->loop, &f->server.ready, SOON_MS));
    (void)!sys_stream_write(f->client.s, "two", 3);
    for (int i = 0; i < 5; i++)
        sys_loop_turn(f->loop, false);
    assert_int_equal(f->server.reads, 1);
    assert_false(f->server.eof);
    assert_int_equal(f->server.error, 0);
}

static void stop_in_read(void *ctx, struct a_view bytes)
{
    struct end *e = ctx;
    on_read(ctx, bytes);
    sys_stream_read_stop(e->s);
    e->ready = true;
}

static void test_read_stop_stops(void **state)
{
    struct fixture *f = *state;
    static const struct sys_stream_ops stopping = {.read = stop_in_read, .eof = on_eof, .error = on_error};
    connect_pair(f, "127.0.0.1:0");
    sys_stream_set_ops(f->server.s, &stopping, &f->server);
    assert_int_equal(sys_stream_write(f->client.s, "one", 3), 0);
    assert_true(sys_loop_run_until(f->loop, &f->server.ready, SOON_MS));
    assert_int_equal(sys_stream_write(f->client.s, "two", 3), 0);
    for (int i = 0; i < 5; i++)
        sys_loop_turn(f->loop, false);
    assert_string_equal(f->server.got.ptr, "one");
    f->server.ready = false;
    sys_stream_read_start(f->server.s);
    assert_true(sys_loop_run_until(f->loop, &f->server.ready, SOON_MS));
    assert_string_equal(f->server.got.ptr, "onetwo");
}

/* In no round does a stream read more than its budget and one chunk. */
static void test_budget_bounds_a_round(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 2 * 1024 * 1024, BUDGET = 64 * 1024, CHUNK = 64 * 1024 };
    connect_pair(f, "127.0.0.1:0");
    sys_stream_set_limits(f->client.s, &(struct sys_stream_limits){.limit = SIZE});
    sys_stream_set_limits(f->server.s, &(struct sys_stream_limits){.read_budget = BUDGET});
    char *big = a_alloc(SIZE);
    assert_int_equal(sys_stream_write(f->client.s, big, SIZE), 0);
    size_t before = 0, most = 0;
    uint64_t end = sys_clock_mono_ms() + SOON_MS;
    while (f->server.got.len < SIZE) {
        sys_loop_turn(f->loop, false);
        most = A_MAX(most, f->server.got.len - before);
        before = f->server.got.len;
        assert_true(sys_clock_mono_ms() < end);
    }
    assert_true(most <= BUDGET + CHUNK);
    a_free(big);
}

static void test_nobody_listens(void **state)
{
    struct fixture *f = *state;
    struct sys_addr addr;
    listen_on(f, "127.0.0.1:0");
    sys_listener_addr(f->listener, &addr);
    sys_listener_close(a_steal(&f->listener));
    for (int i = 0; i < 3; i++)
        sys_loop_turn(f->loop, false);
    assert_int_equal(sys_stream_connect(f->loop, &addr, NULL, on_connected, &f->client, &f->client.s, NULL),
                     0);
    assert_false(f->client.connected);
    assert_true(sys_loop_run_until(f->loop, &f->client.connected, SOON_MS));
    assert_int_equal(f->client.rc, -ECONNREFUSED);
}

/* A listener whose queue is full and that never accepts: SYNs are dropped, only the time-out ends it. */
static void test_connect_times_out(void **state)
{
    struct fixture *f = *state;
    struct sys_addr addr;
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &addr, NULL), 0);
    int fd = socket(AF_INET, SOCK_STREAM, 0), filler[4];
    assert_int_equal(bind(fd, &addr.sa, addr.len), 0);
    assert_int_equal(listen(fd, 0), 0);
    addr.len = sizeof addr.storage;
    assert_int_equal(getsockname(fd, &addr.sa, &addr.len), 0);
    for (int i = 0; i < 4; i++) {
        filler[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        (void)connect(filler[i], &addr.sa, addr.len);
    }
    struct sys_connect_options options = {.timeout_ms = 20};
    assert_int_equal(
        sys_stream_connect(f->loop, &addr, &options, on_connected, &f->client, &f->client.s, NULL), 0);
    assert_true(sys_loop_run_until(f->loop, &f->client.connected, SOON_MS));
    assert_int_equal(f->client.rc, -ETIMEDOUT);
    for (int i = 0; i < 4; i++)
        close(filler[i]);
    close(fd);
}

static void test_connect_may_be_given_up(void **state)
{
    struct fixture *f = *state;
    struct sys_addr addr;
    listen_on(f, "127.0.0.1:0");
    sys_listener_addr(f->listener, &addr);
    assert_int_equal(sys_stream_connect(f->loop, &addr, NULL, on_connected, &f->client, &f->client.s, NULL),
                     0);
    sys_stream_close(a_steal(&f->client.s));
    for (int i = 0; i < 5; i++)
        sys_loop_turn(f->loop, false);
    assert_false(f->client.connected);
}

static void test_writes_before_the_connection_stands(void **state)
{
    struct fixture *f = *state;
    struct sys_addr addr;
    listen_on(f, "127.0.0.1:0");
    sys_listener_addr(f->listener, &addr);
    assert_int_equal(sys_stream_connect(f->loop, &addr, NULL, on_connected, &f->client, &f->client.s, NULL),
                     0);
    sys_stream_set_ops(f->client.s, &ops, &f->client);
    assert_int_equal(sys_stream_write(f->client.s, "early ", 6), 0);
    assert_int_equal(sys_stream_write(f->client.s, "bird", 4), 0);
    sys_stream_shutdown(f->client.s);
    assert_true(sys_loop_run_until(f->loop, &f->server.eof, SOON_MS));
    assert_string_equal(f->server.got.ptr, "early bird");
}

static void test_names_go_by_the_pool(void **state)
{
    struct fixture *f = *state;
    struct sys_pool *dns = NULL;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(sys_pool_new(SYS_POOL_DNS, 0, 0, &dns, NULL), 0);
    listen_on(f, "127.0.0.1:0");
    uint16_t port = sys_listener_port(f->listener);
    assert_int_equal(
        sys_tcp_connect(f->loop, "localhost", port, NULL, on_connected, &f->client, &f->client.s, &e),
        -EINVAL);
    struct sys_connect_options options = {.dns = dns, .bind_host = "127.0.0.1"};
    assert_int_equal(
        sys_tcp_connect(f->loop, "localhost", port, &options, on_connected, &f->client, &f->client.s, &e), 0);
    assert_true(sys_loop_run_until(f->loop, &f->client.connected, SOON_MS));
    assert_int_equal(f->client.rc, 0);
    /* given up while the name is looked up: nothing is told, nothing leaks */
    struct end other = {0};
    assert_int_equal(
        sys_tcp_connect(f->loop, "localhost", port, &options, on_connected, &other, &other.s, NULL), 0);
    sys_stream_close(other.s);
    sys_pool_free(dns);
    for (int i = 0; i < 5; i++)
        sys_loop_turn(f->loop, false);
    assert_false(other.connected);
}

static void test_unix_socket(void **state)
{
    struct fixture *f = *state;
    char *dir = NULL;
    assert_int_equal(sys_dir_make_temp("/tmp/astra-test-", &dir, NULL), 0);
    A_AUTOFREE char *where = a_asprintf("unix:%s/s", dir);
    connect_pair(f, where);
    struct stat st;
    assert_int_equal(stat(where + 5, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    f->server.want = 2;
    assert_int_equal(sys_stream_write(f->client.s, "hi", 2), 0);
    assert_true(sys_loop_run_until(f->loop, &f->server.ready, SOON_MS));
    pid_t pid;
    uid_t uid;
    gid_t gid;
    assert_int_equal(sys_stream_peer_cred(f->server.s, &pid, &uid, &gid), 0);
    assert_int_equal(pid, getpid());
    assert_int_equal(uid, getuid());
    struct sys_addr addr;
    struct sys_listener *second = NULL;
    assert_int_equal(sys_addr_parse(where, &addr, NULL), 0);
    assert_int_equal(sys_listener_open(f->loop, &addr, NULL, on_accept, f, &second, NULL), -EADDRINUSE);
    sys_listener_close(a_steal(&f->listener));
    assert_false(sys_file_exists(where + 5));
    /* a file left behind by a dead process is no obstacle */
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, &addr.sa, addr.len), 0);
    close(fd);
    listen_on(f, where);
    sys_listener_close(a_steal(&f->listener));
    assert_int_equal(sys_dir_remove(dir, NULL), 0);
    a_free(dir);
}

static void test_reuse_port(void **state)
{
    struct fixture *f = *state;
    struct sys_addr addr;
    struct sys_listener *second = NULL, *third = NULL;
    struct sys_listen_options options = {.reuse_port = true};
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &addr, NULL), 0);
    assert_int_equal(sys_listener_open(f->loop, &addr, &options, on_accept, f, &f->listener, NULL), 0);
    sys_listener_addr(f->listener, &addr);
    assert_int_equal(sys_listener_open(f->loop, &addr, &options, on_accept, f, &second, NULL), 0);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(sys_listener_open(f->loop, &addr, NULL, on_accept, f, &third, &e), -EADDRINUSE);
    assert_non_null(strstr(a_error_text(&e), "cannot listen on 127.0.0.1:"));
    sys_listener_close(second);
}

static void test_addresses(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        bool loopback;
    } cases[] = {
        {"127.0.0.1:80", "127.0.0.1:80", true},
        {":7700", "0.0.0.0:7700", false},
        {"[::1]:443", "[::1]:443", true},
        {"10.1.2.3:1", "10.1.2.3:1", false},
        {"unix:/tmp/x", "unix:/tmp/x", true},
        {"[::ffff:127.0.0.1]:9", "[::ffff:127.0.0.1]:9", true},
        {"127.9.9.9:65535", "127.9.9.9:65535", true},
    };
    static const char *const bad[] = {"",
                                      "80",
                                      "127.0.0.1",
                                      "127.0.0.1:",
                                      "127.0.0.1:65536",
                                      "host:80",
                                      "::1:80",
                                      "127.0.0.1:8x",
                                      "[::1:80",
                                      "[::1]80",
                                      "300.0.0.1:1",
                                      "unix:",
                                      "127.0.0.1:-1"};
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        struct sys_addr addr;
        char text[SYS_ADDR_TEXT];
        assert_int_equal(sys_addr_parse(cases[i].in, &addr, NULL), 0);
        sys_addr_print(&addr, text);
        assert_string_equal(text, cases[i].out);
        assert_int_equal(sys_addr_is_loopback(&addr), cases[i].loopback);
    }
    static const struct {
        const char *in, *network;
    } networks[] = {{"192.0.2.7:80", "192.0.2.7"},
                    {"[::ffff:192.0.2.7]:80", "192.0.2.7"},
                    {"[2001:db8:1:2:3:4:5:6]:80", "2001:db8:1:2::/64"},
                    {"[::1]:80", "::/64"},
                    {"unix:/x", ""}};
    for (size_t i = 0; i < A_ARRAY_SIZE(networks); i++) {
        struct sys_addr addr;
        char text[SYS_ADDR_TEXT];
        assert_int_equal(sys_addr_parse(networks[i].in, &addr, NULL), 0);
        sys_addr_print_network(&addr, text);
        assert_string_equal(text, networks[i].network);
    }
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++) {
        struct sys_addr addr;
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        if (sys_addr_parse(bad[i], &addr, &e) != -EINVAL)
            fail_msg("accepted: %s", bad[i]);
        assert_int_equal(e.code, A_CODE_INVALID);
    }
    char host[64];
    uint16_t port;
    assert_int_equal(sys_addr_split("example.org:80", host, sizeof host, &port, NULL), 0);
    assert_string_equal(host, "example.org");
    assert_int_equal(port, 80);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bytes_go_both_ways),
        TEST(test_half_close),
        TEST(test_back_pressure),
        TEST(test_no_memory_for_the_queue_breaks_the_stream),
        TEST(test_close_soft_sends_the_queue_first),
        TEST(test_close_soft_ends_when_the_peer_lingers),
        TEST(test_close_soft_ends_when_the_peer_is_slow_for_long),
        TEST(test_reset_is_an_error),
        TEST(test_reset_behind_bytes_is_an_error),
        TEST(test_close_from_within_a_callback),
        TEST(test_read_stop_stops),
        TEST(test_budget_bounds_a_round),
        TEST(test_nobody_listens),
        TEST(test_connect_times_out),
        TEST(test_connect_may_be_given_up),
        TEST(test_writes_before_the_connection_stands),
        TEST(test_names_go_by_the_pool),
        TEST(test_unix_socket),
        TEST(test_reuse_port),
        TEST(test_addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
