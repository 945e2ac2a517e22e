/* Starlink links over real loopback sockets: messages, bounds, refusals, ends; dialers and their pauses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "await.h"
#include "base/alloc.h"
#include "base/random.h"
#include "net/starlink.h"
#include "sys/clock.h"
#include "tls_world.h"

struct end {
    struct net_link *l;
    unsigned messages, resyncs, closed;
    uint64_t last_sequence;
    int rc;
    char why[256];
    char refused[256]; /* text of a REFUSED that came */
    bool close_at_first;
};

struct fixture {
    struct sys_loop *loop;
    struct tls_world world;
    struct net_tls *shows, *dials; /* the server's and the client's */
    struct net_link_listener *listener;
    struct sys_addr addr;
    struct net_dialer *dialer;
    struct end client, server;
    unsigned ups, failures;
    uint64_t next_ms;
    int rc;
};

static const struct a_node_id node = {"abcdefghijklmnopqrstuvwxyz"};

static void on_message(void *ctx, struct net_link *l, const struct wire_sl_message *m)
{
    struct end *e = ctx;
    assert_ptr_equal(e->l, l);
    e->messages++;
    if (m->type == WIRE_SL_T_BEAT) {
        assert_true(m->beat.sequence > e->last_sequence);
        e->last_sequence = m->beat.sequence;
    }
    if (m->type == WIRE_SL_T_REFUSED)
        memcpy(e->refused, m->refused.message.ptr, m->refused.message.len);
    if (e->close_at_first)
        net_link_close(a_steal(&e->l));
}

static void on_resync(void *ctx, struct net_link *l)
{
    (void)l;
    ((struct end *)ctx)->resyncs++;
}

static void on_closed(void *ctx, struct net_link *l, int rc, const char *why)
{
    struct end *e = ctx;
    assert_ptr_equal(e->l, l);
    e->l = NULL;
    e->closed++;
    e->rc = rc;
    strncpy(e->why, why, sizeof e->why - 1);
}

static const struct net_link_ops ops = {.message = on_message, .resync = on_resync, .closed = on_closed};

static void on_accept(void *ctx, struct net_link *l)
{
    struct fixture *f = ctx;
    net_link_close(f->server.l);
    f->server.l = l;
    net_link_set_ops(l, &ops, &f->server);
}

static const struct net_link_listener_ops listener_ops = {.accept = on_accept};

static void on_up(void *ctx, struct net_dialer *d, struct net_link *l)
{
    struct fixture *f = ctx;
    assert_ptr_equal(f->dialer, d);
    f->ups++;
    f->client.l = l;
    net_link_set_ops(l, &ops, &f->client);
}

static void on_failed(void *ctx, struct net_dialer *d, int rc, const char *why, uint64_t next_ms)
{
    struct fixture *f = ctx;
    (void)d;
    assert_non_null(why);
    f->failures++;
    f->rc = rc;
    f->next_ms = next_ms;
}

static const struct net_dialer_ops dialer_ops = {.up = on_up, .failed = on_failed};

static void listen_on(struct fixture *f, const struct sys_addr *addr)
{
    assert_int_equal(net_link_listen(f->loop, addr, f->shows, &listener_ops, f, &f->listener, NULL), 0);
    net_link_listener_addr(f->listener, &f->addr);
}

static void dial(struct fixture *f)
{
    struct net_dialer_options o = {.host = "127.0.0.1",
                                   .port = sys_addr_port(&f->addr),
                                   .seed = 7,
                                   .tls = f->dials,
                                   .backoff_min_ms = 1,
                                   .backoff_max_ms = 4};
    assert_int_equal(net_dialer_new(f->loop, &o, &dialer_ops, f, &f->dialer, NULL), 0);
}

static int setup(void **state)
{
    struct fixture *f = a_new(struct fixture);
    struct sys_addr any;
    assert_int_equal(sys_loop_new(&f->loop, NULL), 0);
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &any, NULL), 0);
    tls_world_init(&f->world, "test");
    f->shows = tls_world_tls(&f->world, &f->world, NET_ROLE_SERVER, TLS_HOUR);
    f->dials = tls_world_tls(&f->world, &f->world, NET_ROLE_NODE, TLS_HOUR);
    listen_on(f, &any);
    dial(f);
    assert_int_equal(f->ups, 0);
    await(f, f->client.l != NULL && f->server.l != NULL);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    net_dialer_free(f->dialer);
    net_link_listener_close(f->listener);
    net_link_close(f->client.l);
    net_link_close(f->server.l);
    net_tls_unref(f->shows);
    net_tls_unref(f->dials);
    tls_world_deinit(&f->world);
    sys_loop_free(f->loop);
    a_free(f);
    return 0;
}

static struct wire_sl_message beat(uint64_t sequence)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_BEAT};
    m.beat.node = node;
    m.beat.sequence = sequence;
    return m;
}

static int send_beat(struct net_link *l, uint64_t sequence)
{
    struct wire_sl_message m = beat(sequence);
    return net_link_send(l, &m, NULL);
}

static void test_messages_come_in_order(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 1; i <= 5000; i++)
        assert_int_equal(send_beat(f->client.l, i), 0);
    assert_int_equal(send_beat(f->server.l, 9), 0);
    assert_int_equal(f->server.messages, 0);
    await(f, f->server.messages == 5000 && f->client.messages == 1);
    struct net_link_stats in, out;
    net_link_stats(f->server.l, &in);
    net_link_stats(f->client.l, &out);
    assert_int_equal(in.frames_in, 5000);
    assert_int_equal(in.bytes_in, out.bytes_out);
    assert_int_equal(out.frames_out, 5000);
    assert_int_equal(net_link_queued(f->client.l), 0);
}

/* Bytes arrive one at a time: frames are put together again. */
static void test_any_cut_of_the_bytes(void **state)
{
    struct fixture *f = *state;
    A_BUF_AUTO struct a_buf frames = {0};
    for (uint64_t i = 1; i <= 3; i++) {
        struct wire_sl_message m = beat(i);
        assert_int_equal(wire_sl_encode(&frames, &m, NULL), 0);
    }
    for (size_t i = 0; i < frames.len; i++) {
        assert_int_equal(net_stream_write(net_link_stream(f->client.l), frames.ptr + i, 1), 0);
        sys_loop_turn(f->loop, false);
    }
    await(f, f->server.messages == 3);
}

static void test_fan_out(void **state)
{
    struct fixture *f = *state;
    A_BUF_AUTO struct a_buf frames = {0};
    for (uint64_t i = 1; i <= 3; i++) {
        struct wire_sl_message m = beat(i);
        assert_int_equal(wire_sl_encode(&frames, &m, NULL), 0);
    }
    assert_int_equal(net_link_send_frames(f->client.l, a_buf_view(&frames)), 0);
    assert_int_equal(net_link_send_frames(f->server.l, a_buf_view(&frames)), 0);
    await(f, f->server.messages == 3 && f->client.messages == 3);
    struct net_link_stats stats;
    net_link_stats(f->client.l, &stats);
    assert_int_equal(stats.frames_out, 3);
}

/* The peer does not read: the queue ends at its bound, nothing more is taken, and resync is told once it has
 * read. */
static void test_a_slow_peer_is_resynchronised(void **state)
{
    struct fixture *f = *state;
    uint64_t n = 0;
    A_AUTOFREE char *text = a_alloc(4001);
    memset(text, 'x', 4000);
    net_link_pause(f->server.l);
    struct wire_sl_message m = {.type = WIRE_SL_T_EVENT};
    m.event.message = (struct a_view){text, 4000};
    int rc = 0;
    for (; n < 100000 && rc == 0; n++) {
        rc = net_link_send(f->client.l, &m, NULL);
        assert_true(net_link_queued(f->client.l) <= NET_LINK_QUEUE_MAX);
        if (n % 16 == 0)
            sys_loop_turn(f->loop, false);
    }
    n--;
    assert_int_equal(rc, -ENOBUFS);
    assert_int_equal(net_link_send(f->client.l, &m, NULL), -ENOBUFS);
    for (int i = 0; i < 10; i++)
        sys_loop_turn(f->loop, false);
    assert_int_equal(f->client.resyncs, 0);
    net_link_resume(f->server.l);
    await(f, f->client.resyncs == 1);
    assert_int_equal(net_link_send(f->client.l, &m, NULL), 0);
    await(f, f->server.messages == n + 1); /* what was taken came, what was refused did not */
    struct net_link_stats stats;
    net_link_stats(f->client.l, &stats);
    assert_int_equal(stats.refused, 2);
    assert_int_equal(f->client.resyncs, 1);
}

/* More than the bound within one round, to a peer that reads well: refused, and resync follows all the same.
 */
static void test_a_burst_is_resynchronised(void **state)
{
    struct fixture *f = *state;
    A_AUTOFREE char *text = a_alloc(4001);
    struct wire_sl_message m = {.type = WIRE_SL_T_EVENT};
    memset(text, 'x', 4000);
    m.event.message = (struct a_view){text, 4000};
    net_link_pause(f->server.l);
    while (net_link_send(f->client.l, &m, NULL) == 0)
        continue;
    net_link_resume(f->server.l);
    await(f, f->client.resyncs == 1);
}

static void test_unknown_frames_are_skipped(void **state)
{
    struct fixture *f = *state;
    static const char unknown[] = {0, 0, 0, 3, 0x7f, 0x7f, 1, 0, 'a', 'b', 'c'};
    assert_int_equal(net_stream_write(net_link_stream(f->client.l), unknown, sizeof unknown), 0);
    assert_int_equal(send_beat(f->client.l, 1), 0);
    await(f, f->server.messages == 1);
    struct net_link_stats stats;
    net_link_stats(f->server.l, &stats);
    assert_int_equal(stats.unknown, 1);
    assert_int_equal(f->server.closed, 0);
}

static void test_malformed_frames_end_the_link(void **state)
{
    struct fixture *f = *state;
    static const char bad[] = {0, 0, 0, 0, 0, 16, 0, 0}; /* of version 0 */
    assert_int_equal(net_stream_write(net_link_stream(f->client.l), bad, sizeof bad), 0);
    await(f, f->server.closed == 1 && f->client.closed == 1);
    assert_int_equal(f->server.rc, -EPROTO);
    assert_int_equal(f->client.messages, 1); /* told why */
    assert_string_equal(f->client.refused, f->server.why);
    assert_int_equal(f->client.rc, 0);
    assert_string_equal(f->client.why, "the peer closed the connection");
}

static void test_malformed_payload_ends_the_link(void **state)
{
    struct fixture *f = *state;
    struct wire_sl_message m = beat(1);
    A_BUF_AUTO struct a_buf frames = {0};
    assert_int_equal(wire_sl_encode(&frames, &m, NULL), 0);
    frames.ptr[WIRE_SL_HEADER + 1] = 0x7f; /* a length past the end */
    assert_int_equal(net_stream_write(net_link_stream(f->client.l), frames.ptr, frames.len), 0);
    await(f, f->server.closed == 1);
    assert_int_equal(f->server.rc, -EPROTO);
}

static void test_what_cannot_be_encoded(void **state)
{
    struct fixture *f = *state;
    struct wire_sl_message m = {.type = WIRE_SL_T_BEAT}; /* without its node */
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(net_link_send(f->client.l, &m, &e), -EINVAL);
    assert_int_equal(send_beat(f->client.l, 1), 0);
    await(f, f->server.messages == 1);
}

static void test_refuse_says_why(void **state)
{
    struct fixture *f = *state;
    net_link_refuse(a_steal(&f->server.l), A_CODE_UNAUTHORIZED, "the join token is wrong");
    await(f, f->client.closed == 1);
    assert_string_equal(f->client.refused, "the join token is wrong");
    assert_int_equal(f->server.closed, 0); /* it was our own doing */
}

static void test_close_from_within_a_message(void **state)
{
    struct fixture *f = *state;
    f->server.close_at_first = true;
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(send_beat(f->client.l, i), 0);
    await(f, f->client.closed == 1);
    assert_int_equal(f->server.messages, 1);
    assert_int_equal(f->server.closed, 0);
}

static void test_close_sends_what_waits(void **state)
{
    struct fixture *f = *state;
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(send_beat(f->client.l, i), 0);
    net_link_close(a_steal(&f->client.l));
    await(f, f->server.closed == 1);
    assert_int_equal(f->server.messages, 100);
}

static void test_sending_into_a_broken_connection(void **state)
{
    struct fixture *f = *state;
    sys_stream_abort(net_stream_raw(net_link_stream(f->client.l))); /* as a killed peer */
    net_link_close(a_steal(&f->client.l));
    uint64_t n = 0, end = sys_clock_mono_ms() + SOON_MS;
    while (f->server.closed == 0) {
        (void)!send_beat(f->server.l, ++n);
        sys_loop_turn(f->loop, false);
        assert_true(sys_clock_mono_ms() < end);
    }
    assert_true(f->server.rc < 0);
}

static void test_dialer_tries_again(void **state)
{
    struct fixture *f = *state;
    net_link_listener_close(a_steal(&f->listener));
    net_link_close(a_steal(&f->server.l));
    await(f, f->client.closed == 1);
    net_dialer_again(f->dialer);
    net_dialer_again(f->dialer); /* is under way already */
    assert_int_equal(f->ups, 1);
    await(f, f->failures == 3);
    assert_int_equal(f->rc, -ECONNREFUSED);
    assert_true(f->next_ms >= 1 && f->next_ms <= 4);
    struct sys_addr same = f->addr;
    listen_on(f, &same);
    await(f, f->ups == 2);
    net_dialer_succeeded(f->dialer);
    assert_int_equal(send_beat(f->client.l, 1), 0);
    await(f, f->server.messages == 1);
}

static void test_dialer_is_redirected(void **state)
{
    struct fixture *f = *state;
    struct net_link_listener *other = NULL;
    struct sys_addr any, there;
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &any, NULL), 0);
    assert_int_equal(net_link_listen(f->loop, &any, f->shows, &listener_ops, f, &other, NULL), 0);
    net_link_listener_addr(other, &there);
    net_link_listener_close(a_steal(&f->listener));
    net_link_close(a_steal(&f->client.l));
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(net_dialer_redirect(f->dialer, "nowhere", 1, &e), -EINVAL);
    assert_int_equal(net_dialer_redirect(f->dialer, "127.0.0.1", sys_addr_port(&there), NULL), 0);
    await(f, f->ups == 2);
    net_link_listener_close(other);
}

static void test_names_need_a_resolver(void **state)
{
    struct fixture *f = *state;
    struct net_dialer *d = NULL;
    const struct net_dialer_options o = {.host = "localhost", .port = 7701, .tls = f->dials};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(net_dialer_new(f->loop, &o, &dialer_ops, f, &d, &e), -EINVAL);
}

/* Both ends know whom they speak with. */
static void test_peers_have_names(void **state)
{
    struct fixture *f = *state;
    const struct net_peer *node_peer = net_link_identity(f->server.l),
                          *server = net_link_identity(f->client.l);
    assert_int_equal(node_peer->subject.role, NET_ROLE_NODE);
    assert_string_equal(node_peer->subject.cluster.s, "c1");
    assert_int_equal(server->subject.role, NET_ROLE_SERVER);
    assert_false(node_peer->expired || server->expired);
}

static void test_how_links_end(void **state)
{
    struct fixture *f = *state;
    static const char half[] = {0, 0, 0, 30, 0, 16, 1, 0, 'x'}, huge[] = {0x7f, 0, 0, 0, 0, 1, 1, 0};
    assert_int_equal(net_stream_write(net_link_stream(f->client.l), half, sizeof half), 0);
    net_link_close(a_steal(&f->client.l));
    await(f, f->server.closed == 1);
    assert_int_equal(f->server.rc, -ENODATA);
    net_dialer_again(f->dialer);
    await(f, f->ups == 2 && f->server.l != NULL);
    assert_int_equal(net_stream_write(net_link_stream(f->client.l), huge, sizeof huge), 0);
    await(f, f->server.closed == 2);
    assert_int_equal(f->server.rc, -EMSGSIZE);
}

static void test_backoff(void **state)
{
    (void)state;
    struct a_random random;
    static const uint64_t upper[] = {100, 200, 400, 800, 1600, 3200, 5000, 5000, 5000};
    bool differs = false;
    a_random_init(&random, 1);
    for (unsigned i = 0; i < A_ARRAY_SIZE(upper); i++) {
        uint64_t a = net_backoff_ms(&random, i, 100, 5000), b = net_backoff_ms(&random, i, 100, 5000);
        assert_true(a <= upper[i] && a >= upper[i] / 2);
        differs |= a != b;
    }
    assert_true(differs);
    assert_true(net_backoff_ms(&random, 4000000000u, 100, 5000) <= 5000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_messages_come_in_order),
        TEST(test_any_cut_of_the_bytes),
        TEST(test_fan_out),
        TEST(test_a_slow_peer_is_resynchronised),
        TEST(test_a_burst_is_resynchronised),
        TEST(test_unknown_frames_are_skipped),
        TEST(test_malformed_frames_end_the_link),
        TEST(test_malformed_payload_ends_the_link),
        TEST(test_what_cannot_be_encoded),
        TEST(test_refuse_says_why),
        TEST(test_close_from_within_a_message),
        TEST(test_close_sends_what_waits),
        TEST(test_sending_into_a_broken_connection),
        TEST(test_dialer_tries_again),
        TEST(test_dialer_is_redirected),
        TEST(test_names_need_a_resolver),
        TEST(test_peers_have_names),
        TEST(test_how_links_end),
        TEST(test_backoff),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
