/* Certificates and TLS streams: who is let in and who is not, bytes through every kind of pause, and nothing
 * left behind. Numbers in comments are the invariants of docs/components/identity.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "await.h"
#include "base/alloc.h"
#include "net/stream.h"
#include "tls_world.h"

struct end {
    struct net_stream *s;
    struct a_buf got;
    unsigned eofs, errors, drains;
    int rc;
    bool once; /* pauses after each piece */
};

struct fixture {
    struct sys_loop *loop;
    struct tls_world world, stranger;
    struct net_listener *listener;
    struct net_tls *shows, *dials;
    struct sys_addr addr;
    struct end client, server;
    unsigned connected, refusals[NET_REFUSAL_COUNT];
    int rc;
    char why[256];
};

static void on_read(void *ctx, struct a_view bytes)
{
    struct end *e = ctx;
    a_buf_add_view(&e->got, bytes);
    if (e->once)
        net_stream_read_stop(e->s);
}

static void on_eof(void *ctx)
{
    ((struct end *)ctx)->eofs++;
}

static void on_error(void *ctx, int rc)
{
    struct end *e = ctx;
    e->errors++;
    e->rc = rc;
}

static void on_drain(void *ctx)
{
    ((struct end *)ctx)->drains++;
}

static const struct sys_stream_ops ops = {
    .read = on_read, .eof = on_eof, .error = on_error, .drain = on_drain};

static void on_accept(void *ctx, struct net_stream *s)
{
    struct fixture *f = ctx;
    net_stream_close(f->server.s);
    f->server.s = s;
    net_stream_set_ops(s, &ops, &f->server);
    net_stream_read_start(s);
}

static void on_refused(void *ctx, enum net_refusal refusal, const char *peer, const char *why)
{
    struct fixture *f = ctx;
    assert_non_null(peer);
    assert_non_null(why);
    f->refusals[refusal]++;
}

static const struct net_listener_ops listener_ops = {.accept = on_accept, .refused = on_refused};

static void on_connected(void *ctx, int rc, const char *why)
{
    struct fixture *f = ctx;
    f->connected++;
    f->rc = rc;
    if (rc != 0) {
        strncpy(f->why, why, sizeof f->why - 1);
        net_stream_close(a_steal(&f->client.s));
        return;
    }
    net_stream_set_ops(f->client.s, &ops, &f->client);
    net_stream_read_start(f->client.s);
}

static int setup(void **state)
{
    struct fixture *f = a_new(struct fixture);
    struct sys_addr any;
    assert_int_equal(sys_loop_new(&f->loop, NULL), 0);
    tls_world_init(&f->world, "test");
    tls_world_init(&f->stranger, "stranger");
    f->shows = tls_world_tls(&f->world, &f->world, NET_ROLE_SERVER, TLS_HOUR);
    f->dials = tls_world_tls(&f->world, &f->world, NET_ROLE_NODE, TLS_HOUR);
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &any, NULL), 0);
    assert_int_equal(net_listener_open(f->loop, &any, NULL, f->shows, &listener_ops, f, &f->listener, NULL),
                     0);
    net_listener_addr(f->listener, &f->addr);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    net_listener_close(f->listener);
    net_stream_close(f->client.s);
    net_stream_close(f->server.s);
    a_buf_deinit(&f->client.got);
    a_buf_deinit(&f->server.got);
    net_tls_unref(f->shows);
    net_tls_unref(f->dials);
    tls_world_deinit(&f->world);
    tls_world_deinit(&f->stranger);
    sys_loop_free(f->loop);
    a_free(f);
    return 0;
}

/* Connects with `tls`, which it takes; waits for the outcome. */
static int try(struct fixture *f, struct net_tls *tls)
{
    const struct net_connect_options o = {.host = "127.0.0.1", .port = sys_addr_port(&f->addr), .tls = tls};
    f->connected = 0;
    assert_int_equal(net_stream_connect(f->loop, &o, on_connected, f, &f->client.s, NULL), 0);
    assert_int_equal(f->connected, 0);
    net_tls_unref(tls);
    await(f, f->connected == 1);
    return f->rc;
}

static void connect_both(struct fixture *f)
{
    assert_int_equal(try(f, net_tls_ref(f->dials)), 0);
    await(f, f->server.s != NULL);
}

/* --- certificates --- */

static void test_certificates_say_who(void **state)
{
    (void)state;
    struct tls_world w;
    struct net_key *key = NULL, *copy = NULL;
    struct net_cert_info info;
    struct a_node_id id, again;
    A_BUF_AUTO struct a_buf pem = {0};
    A_BUF_AUTO struct a_buf text = {0};
    tls_world_init(&w, "test");
    assert_int_equal(net_key_new(&key, NULL), 0);
    net_key_id(key, &id);
    tls_world_issue(&w, key, NET_ROLE_NODE, TLS_HOUR, &pem);
    assert_int_equal(net_cert_read(a_buf_view(&pem), &info, NULL), 0);
    assert_int_equal(info.subject.role, NET_ROLE_NODE);
    assert_string_equal(info.subject.cluster.s, "c1");
    assert_string_equal(info.subject.id.s, id.s);
    assert_string_equal(info.key_id.s, id.s);
    assert_true(info.not_after_ms > sys_clock_wall_ms() && info.not_before_ms < sys_clock_wall_ms());
    assert_int_equal(net_key_print(key, &text, NULL), 0);
    assert_int_equal(net_key_read(a_buf_view(&text), &copy, NULL), 0);
    net_key_id(copy, &again);
    assert_string_equal(again.s, id.s);
    net_key_free(copy);
    net_key_free(key);
    tls_world_deinit(&w);
}

static void test_requests_prove_their_key(void **state)
{
    (void)state;
    struct net_key *key = NULL;
    struct a_node_id id, of;
    A_BUF_AUTO struct a_buf pem = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(net_key_new(&key, NULL), 0);
    net_key_id(key, &id);
    assert_int_equal(net_cert_request(key, &pem, NULL), 0);
    assert_int_equal(net_cert_request_check(a_buf_view(&pem), &of, NULL), 0);
    assert_string_equal(of.s, id.s);
    /* any changed letter: no request, or not signed by its key; never a crash */
    for (size_t i = 40; i + 40 < pem.len; i++) {
        char was = pem.ptr[i];
        pem.ptr[i] = was == 'A' ? 'B' : 'A';
        if (was != '\n' && net_cert_request_check(a_buf_view(&pem), &of, NULL) == 0)
            fail_msg("changed at %zu and taken", i);
        pem.ptr[i] = was;
    }
    for (size_t n = 0; n < pem.len - 2; n += 7)
        assert_int_not_equal(net_cert_request_check((struct a_view){pem.ptr, n}, &of, NULL), 0);
    assert_int_equal(net_cert_request_check(A_VIEW_LIT(""), &of, &e), -EINVAL);
    net_key_free(key);
}

static void test_several_in_one_text(void **state)
{
    (void)state;
    struct tls_world a, b;
    A_BUF_AUTO struct a_buf both = {0};
    tls_world_init(&a, "a");
    tls_world_init(&b, "b");
    a_buf_add_view(&both, a_buf_view(&a.ca));
    a_buf_add_view(&both, a_buf_view(&b.ca));
    assert_int_equal(net_cert_count(a_buf_view(&both)), 2);
    assert_true(a_view_equal(net_cert_at(a_buf_view(&both), 1), a_buf_view(&b.ca)));
    assert_int_equal(net_cert_count(A_VIEW_LIT("-----BEGIN CERTIFICATE-----\nabc")), 0);
    tls_world_deinit(&a);
    tls_world_deinit(&b);
}

/* --- who is let in --- */

static void test_both_know_each_other(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    const struct net_peer *p = net_stream_tls_peer(f->server.s);
    assert_int_equal(p->subject.role, NET_ROLE_NODE);
    assert_false(p->expired);
    assert_int_equal(net_stream_tls_peer(f->client.s)->subject.role, NET_ROLE_SERVER);
}

static void test_strangers_are_refused(void **state)
{
    struct fixture *f = *state;
    /* a certificate of another authority: the client sees the end with the first read */
    (void)try(f, tls_world_tls(&f->stranger, &f->world, NET_ROLE_NODE, TLS_HOUR));
    await(f, f->refusals[NET_REFUSAL_CERTIFICATE] == 1);
    assert_null(f->server.s);
    net_stream_close(a_steal(&f->client.s));
    /* a server of another authority */
    assert_int_equal(try(f, tls_world_tls(&f->world, &f->stranger, NET_ROLE_NODE, TLS_HOUR)), -EACCES);
    await(f, f->refusals[NET_REFUSAL_HANDSHAKE] == 1); /* our alert */
}

static void test_roles_are_not_exchanged(void **state)
{
    struct fixture *f = *state;
    struct net_tls *posing = NULL;
    struct net_key *key = NULL;
    A_BUF_AUTO struct a_buf chain = {0};
    assert_int_equal(net_key_new(&key, NULL), 0);
    /* a server's certificate does not dial */
    tls_world_issue(&f->world, key, NET_ROLE_SERVER, TLS_HOUR, &chain);
    struct net_tls_options o = {.key = key, .chain = a_buf_view(&chain), .trust = a_buf_view(&f->world.ca)};
    assert_int_equal(net_tls_new(&o, &posing, NULL), 0);
    (void)try(f, posing);
    await(f, f->refusals[NET_REFUSAL_CERTIFICATE] == 1);
    net_stream_close(a_steal(&f->client.s));
    /* a node's certificate does not serve */
    a_buf_reset(&chain);
    tls_world_issue(&f->world, key, NET_ROLE_NODE, TLS_HOUR, &chain);
    o = (struct net_tls_options){
        .server = true, .key = key, .chain = a_buf_view(&chain), .trust = a_buf_view(&f->world.ca)};
    assert_int_equal(net_tls_new(&o, &posing, NULL), 0);
    net_listener_set_tls(f->listener, posing);
    net_tls_unref(posing);
    assert_int_equal(try(f, net_tls_ref(f->dials)), -EACCES);
    net_key_free(key);
}

/* 4: time alone is noted, and refuses nobody, on either side. */
static void test_time_refuses_nobody(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try(f, tls_world_tls(&f->world, &f->world, NET_ROLE_NODE, -60000)), 0);
    await(f, f->server.s != NULL);
    assert_true(net_stream_tls_peer(f->server.s)->expired);
    assert_true(net_stream_tls_peer(f->server.s)->not_after_ms < sys_clock_wall_ms());
    net_stream_close(a_steal(&f->client.s));
    struct net_tls *late = tls_world_tls(&f->world, &f->world, NET_ROLE_SERVER, -60000);
    net_listener_set_tls(f->listener, late);
    net_tls_unref(late);
    assert_int_equal(try(f, net_tls_ref(f->dials)), 0);
    assert_true(net_stream_tls_peer(f->client.s)->expired);
}

static struct net_tls *pinned(const struct a_buf *authority)
{
    struct net_tls *tls = NULL;
    struct net_cert_info info;
    assert_int_equal(net_cert_read(a_buf_view(authority), &info, NULL), 0);
    assert_int_equal(net_tls_new(&(struct net_tls_options){.pin = &info.digest}, &tls, NULL), 0);
    return tls;
}

static void test_a_pin_is_enough_to_join(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(try(f, pinned(&f->world.ca)), 0);
    await(f, f->server.s != NULL);
    assert_int_equal(net_stream_tls_peer(f->server.s)->subject.role, NET_ROLE_NONE);
    net_stream_close(a_steal(&f->client.s));
    assert_int_equal(try(f, pinned(&f->stranger.ca)), -EACCES);
}

/* After a rotation: a server of the new authority, for those who know the old one only. */
static void test_a_cross_signed_authority(void **state)
{
    struct fixture *f = *state;
    struct net_key *key = NULL;
    struct net_tls *shows = NULL;
    A_BUF_AUTO struct a_buf chain = {0};
    const struct net_issuer old = {f->world.ca_key, a_buf_view(&f->world.ca)};
    assert_int_equal(net_key_new(&key, NULL), 0);
    tls_world_issue(&f->stranger, key, NET_ROLE_SERVER, TLS_HOUR, &chain); /* the stranger is the new one */
    assert_int_equal(net_cert_cross(&old, a_buf_view(&f->stranger.ca), &chain, NULL), 0);
    const struct net_tls_options o = {
        .server = true, .key = key, .chain = a_buf_view(&chain), .trust = a_buf_view(&f->world.ca)};
    assert_int_equal(net_tls_new(&o, &shows, NULL), 0);
    net_listener_set_tls(f->listener, shows);
    net_tls_unref(shows);
    assert_int_equal(try(f, net_tls_ref(f->dials)), 0);
    net_stream_close(a_steal(&f->client.s));
    assert_int_equal(try(f, tls_world_tls(&f->stranger, &f->stranger, NET_ROLE_NODE, TLS_HOUR)), 0);
    net_key_free(key);
}

/* --- bytes --- */

static void test_bytes_come_whole(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    A_BUF_AUTO struct a_buf all = {0};
    static char piece[40000];
    for (unsigned i = 0; i < 200; i++) {
        size_t n = (size_t)(i * 977) % sizeof piece;
        memset(piece, (int)i, n);
        struct a_view views[] = {{piece, n / 3}, {piece, 0}, {piece + n / 3, n - n / 3}};
        a_buf_add(&all, piece, n);
        while (net_stream_writev(f->client.s, views, 3) == -ENOBUFS)
            sys_loop_turn(f->loop, false);
    }
    await(f, f->server.got.len == all.len);
    assert_memory_equal(f->server.got.ptr, all.ptr, all.len);
    assert_int_equal(f->server.errors, 0);
}

/* A reader that stops after each piece gets every byte, in order, and the end after them. */
static void test_a_reader_that_pauses(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    static char bytes[300000];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i * 31 + i / 251);
    f->server.once = true;
    assert_int_equal(net_stream_write(f->client.s, bytes, sizeof bytes), 0);
    net_stream_close_soft(a_steal(&f->client.s), 5000);
    for (unsigned i = 0; i < 100000 && f->server.eofs == 0; i++) {
        size_t before = f->server.got.len;
        sys_loop_turn(f->loop, false);
        assert_true(f->server.got.len - before <= 16384); /* one piece at a time */
        net_stream_read_start(f->server.s);
    }
    assert_int_equal(f->server.eofs, 1);
    assert_int_equal(f->server.got.len, sizeof bytes);
    assert_memory_equal(f->server.got.ptr, bytes, sizeof bytes);
}

static void test_a_bounded_queue(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    static char bytes[60000];
    net_stream_read_stop(f->server.s);
    net_stream_set_limits(f->client.s, &(struct sys_stream_limits){.limit = 200000, .high = 100000});
    int rc = 0;
    for (unsigned i = 0; i < 10000 && rc == 0; i++) {
        rc = net_stream_write(f->client.s, bytes, sizeof bytes);
        assert_true(net_stream_queued(f->client.s) <= 202000);
        sys_loop_turn(f->loop, false);
    }
    assert_int_equal(rc, -ENOBUFS);
    assert_true(net_stream_is_full(f->client.s));
    net_stream_read_start(f->server.s);
    await(f, f->client.drains > 0);
    assert_int_equal(net_stream_write(f->client.s, bytes, sizeof bytes), 0);
}

static void test_the_end_is_told_once(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    assert_int_equal(net_stream_write(f->client.s, "bye", 3), 0);
    net_stream_close_soft(a_steal(&f->client.s), 1000);
    await(f, f->server.eofs == 1);
    assert_int_equal(f->server.got.len, 3);
    assert_int_equal(f->server.errors, 0);
    /* a broken connection */
    connect_both(f);
    f->server.eofs = 0;
    net_stream_abort(a_steal(&f->client.s));
    await(f, f->server.eofs + f->server.errors > 0);
    for (int i = 0; i < 20; i++)
        sys_loop_turn(f->loop, false);
    assert_int_equal(f->server.eofs + f->server.errors, 1);
}

/* --- attacks --- */

struct raw {
    struct sys_stream *s;
    unsigned ended;
    size_t got;
};

static void raw_read(void *ctx, struct a_view bytes)
{
    ((struct raw *)ctx)->got += bytes.len;
}

static void raw_eof(void *ctx)
{
    ((struct raw *)ctx)->ended++;
}

static void raw_error(void *ctx, int rc)
{
    (void)rc;
    ((struct raw *)ctx)->ended++;
}

static const struct sys_stream_ops raw_ops = {.read = raw_read, .eof = raw_eof, .error = raw_error};

static void raw_connected(void *ctx, int rc)
{
    (void)ctx;
    assert_int_equal(rc, 0);
}

static void raw_send(struct fixture *f, struct raw *r, const void *bytes, size_t n)
{
    *r = (struct raw){0};
    assert_int_equal(sys_stream_connect(f->loop, &f->addr, NULL, raw_connected, r, &r->s, NULL), 0);
    sys_stream_set_ops(r->s, &raw_ops, r);
    sys_stream_read_start(r->s);
    assert_int_equal(sys_stream_write(r->s, bytes, n), 0);
}

static void test_what_is_no_handshake(void **state)
{
    struct fixture *f = *state;
    static const char http[] = "GET / HTTP/1.1\r\nHost: x\r\n\r\n", noise[64] = {0x16, 3, 1, 0, 9, 99},
                      half[] = {0x16, 3, 1, 2, 0, 1};
    struct raw r;
    raw_send(f, &r, http, sizeof http - 1);
    await(f, r.ended == 1);
    assert_int_equal(f->refusals[NET_REFUSAL_PLAIN], 1);
    assert_true(r.got > 40); /* told what is wrong */
    sys_stream_close(r.s);
    raw_send(f, &r, noise, sizeof noise);
    await(f, r.ended == 1);
    assert_int_equal(f->refusals[NET_REFUSAL_HANDSHAKE], 1);
    sys_stream_close(r.s);
    raw_send(f, &r, half, sizeof half);
    for (int i = 0; i < 20; i++)
        sys_loop_turn(f->loop, false);
    sys_stream_close(r.s);
    await(f, f->refusals[NET_REFUSAL_CUT] == 1);
    connect_both(f); /* and the door is open for those who knock properly */
}

static void test_a_changed_record_ends_it(void **state)
{
    struct fixture *f = *state;
    connect_both(f);
    static const char forged[] = {0x17, 3, 3, 0, 32, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2, 3, 4,
                                  5,    6, 7, 8, 9,  0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 2};
    assert_int_equal(sys_stream_write(net_stream_raw(f->client.s), forged, sizeof forged), 0);
    await(f, f->server.errors == 1);
    assert_int_equal(f->server.rc, -EBADMSG);
    assert_int_equal(f->server.got.len, 0);
}

/* Closing within any callback, and with bytes under way. */
static void test_closed_while_shaking(void **state)
{
    struct fixture *f = *state;
    for (unsigned turns = 0; turns < 12; turns++) {
        const struct net_connect_options o = {
            .host = "127.0.0.1", .port = sys_addr_port(&f->addr), .tls = f->dials};
        f->connected = 0;
        assert_int_equal(net_stream_connect(f->loop, &o, on_connected, f, &f->client.s, NULL), 0);
        for (unsigned i = 0; i < turns; i++)
            sys_loop_turn(f->loop, false);
        net_stream_close(a_steal(&f->client.s));
        for (int i = 0; i < 20; i++)
            sys_loop_turn(f->loop, false);
    }
    connect_both(f);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_certificates_say_who),
        cmocka_unit_test(test_requests_prove_their_key),
        cmocka_unit_test(test_several_in_one_text),
        TEST(test_both_know_each_other),
        TEST(test_strangers_are_refused),
        TEST(test_roles_are_not_exchanged),
        TEST(test_time_refuses_nobody),
        TEST(test_a_pin_is_enough_to_join),
        TEST(test_a_cross_signed_authority),
        TEST(test_bytes_come_whole),
        TEST(test_a_reader_that_pauses),
        TEST(test_a_bounded_queue),
        TEST(test_the_end_is_told_once),
        TEST(test_what_is_no_handshake),
        TEST(test_a_changed_record_ends_it),
        TEST(test_closed_while_shaking),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
