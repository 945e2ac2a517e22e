/* The web client against TLS servers on this loop: answers whole and in pieces, every end that a call can
 * have, and callbacks that do what callbacks do. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "await.h"
#include "base/alloc.h"
#include "net/http_server.h"
#include "net/web.h"
#include "tls_world.h"

#define HANDSHAKE_MS 500 /* a time-out that a busy machine keeps, too, while it makes a connection */
#define FLOOD (32u << 20)

struct call {
    struct fixture *f;
    struct net_web_call *call;
    struct a_buf got;  /* pieces */
    struct a_buf body; /* of the answer */
    unsigned opens, pieces, dones, status;
    int rc;
    char error[1024], content_type[64];
    uint64_t retry_after_ms;
    bool pauses, cancels, frees, again;
};

struct fixture {
    struct sys_loop *loop;
    struct tls_world world, stranger;
    struct net_tls *shows;
    struct net_http_server *http;
    struct net_listener *raw; /* takes connections and says `canned`, or nothing */
    const char *canned;
    struct net_stream *streams[8];
    unsigned n_streams;
    enum net_role peer;
    struct net_http_request *open; /* a stream that is under way */
    unsigned gone, requests;
    uint64_t written;
    struct sys_addr addr, raw_addr;
    struct net_web *web;
    struct call call, other;
};

/* ---- the servers ---- */

static void on_gone(void *ctx, struct net_http_request *r)
{
    struct fixture *f = ctx;
    f->gone++;
    if (f->open == r)
        f->open = NULL;
}

/* Writes as much as the client takes, up to FLOOD: more than what sockets keep. */
static void flood(void *ctx, struct net_http_request *r)
{
    struct fixture *f = ctx;
    static char block[16384];
    memset(block, 'x', sizeof block);
    while (f->written < FLOOD && !net_http_stream_is_full(r)) {
        assert_int_equal(net_http_stream_write(r, (struct a_view){block, sizeof block}), 0);
        f->written += sizeof block;
    }
    if (f->written >= FLOOD) {
        f->open = NULL;
        net_http_stream_end(r);
    }
}

static void handle(void *ctx, struct net_http_request *r)
{
    struct fixture *f = ctx;
    f->requests++;
    const struct net_http_header later = {"Retry-After", "7"};
    if (a_view_is(r->path, "/echo")) {
        A_BUF_AUTO struct a_buf b = {0};
        a_buf_addf(&b, A_VIEW_FMT "|" A_VIEW_FMT "|" A_VIEW_FMT "|" A_VIEW_FMT,
                   A_VIEW_ARG(r->head->method_text), A_VIEW_ARG(net_http_request_header(r, "authorization")),
                   A_VIEW_ARG(net_http_request_header(r, "content-type")), A_VIEW_ARG(r->body));
        net_http_reply_text(r, 200, "text/plain", a_buf_view(&b));
    } else if (a_view_is(r->path, "/busy")) {
        net_http_reply(r, &(struct net_http_response){.status = 429,
                                                      .content_type = "application/json",
                                                      .headers = &later,
                                                      .n_headers = 1,
                                                      .body = A_VIEW_LIT("{\"kind\":\"Status\"}")});
    } else if (a_view_is(r->path, "/lines") || a_view_is(r->path, "/flood")) {
        r->on_gone = on_gone;
        r->on_gone_ctx = f;
        f->open = r;
        net_http_stream_begin(r, &(struct net_http_response){.content_type = "application/json"});
        if (a_view_is(r->path, "/flood")) {
            net_http_stream_on_drain(r, flood, f);
            flood(f, r);
        }
    } else { /* never answers */
        r->on_gone = on_gone;
        r->on_gone_ctx = f;
    }
}

static const struct net_http_server_ops http_ops = {.handle = handle};

static void raw_read(void *ctx, struct a_view bytes)
{
    struct fixture *f = ctx;
    f->requests++;
    (void)bytes;
    if (f->canned != NULL)
        assert_int_equal(net_stream_write(f->streams[f->n_streams - 1], f->canned, strlen(f->canned)), 0);
}

static void raw_end(void *ctx)
{
    ((struct fixture *)ctx)->gone++;
}

static void raw_error(void *ctx, int rc)
{
    (void)rc;
    raw_end(ctx);
}

static const struct sys_stream_ops raw_ops = {.read = raw_read, .eof = raw_end, .error = raw_error};

static void raw_accept(void *ctx, struct net_stream *s)
{
    struct fixture *f = ctx;
    assert_true(f->n_streams < A_ARRAY_SIZE(f->streams));
    f->streams[f->n_streams++] = s;
    f->peer = net_stream_tls_peer(s)->subject.role;
    net_stream_set_ops(s, &raw_ops, f);
    net_stream_read_start(s);
}

static const struct net_listener_ops raw_listener_ops = {.accept = raw_accept};

/* ---- the client ---- */

static void on_piece(void *ctx, struct a_view bytes)
{
    struct call *c = ctx;
    c->pieces++;
    a_buf_add_view(&c->got, bytes);
    if (c->pauses)
        net_web_call_pause(c->call);
    if (c->cancels)
        net_web_call_cancel(a_steal(&c->call));
    if (c->frees)
        net_web_free(a_steal(&c->f->web));
}

static void on_open(void *ctx)
{
    struct call *c = ctx;
    assert_int_equal(c->pieces, 0);
    c->opens++;
}

static void send_path(struct call *c, const char *path);

static void on_done(void *ctx, const struct net_web_answer *a)
{
    struct call *c = ctx;
    c->dones++;
    c->call = NULL;
    c->rc = a->rc;
    c->status = a->status;
    c->retry_after_ms = a->retry_after_ms;
    a_buf_reset(&c->body);
    a_buf_add_view(&c->body, a->body);
    snprintf(c->content_type, sizeof c->content_type, "%s", a->content_type);
    snprintf(c->error, sizeof c->error, "%s", a->error != NULL ? a->error->message : "");
    if (c->again) {
        c->again = false;
        send_path(c, "/echo");
    }
    if (c->frees)
        net_web_free(a_steal(&c->f->web));
}

static void web_open(struct fixture *f, struct net_web_options o, const struct sys_addr *at)
{
    A_AUTOFREE char *url = a_asprintf("https://127.0.0.1:%u/", sys_addr_port(at));
    net_web_free(f->web);
    o.base_url = url;
    if (o.ca.len == 0)
        o.ca = a_buf_view(&f->world.ca);
    assert_int_equal(net_web_new(f->loop, &o, &f->web, NULL), 0);
}

static void send_request(struct call *c, struct net_web_request q)
{
    q.done = on_done;
    q.ctx = c;
    assert_int_equal(net_web_send(c->f->web, &q, &c->call, NULL), 0);
}

static void send_path(struct call *c, const char *path)
{
    send_request(c, (struct net_web_request){.path = path});
}

static int setup(void **state)
{
    struct fixture *f = a_new(struct fixture);
    struct sys_addr any;
    f->call.f = f->other.f = f;
    assert_int_equal(sys_loop_new(&f->loop, NULL), 0);
    tls_world_init(&f->world, "test");
    tls_world_init(&f->stranger, "stranger");
    f->shows = tls_world_tls(&f->world, &f->world, NET_ROLE_SERVER, TLS_HOUR);
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &any, NULL), 0);
    f->http = net_http_server_new(f->loop, &(struct net_http_server_options){.tls = f->shows}, &http_ops, f);
    assert_int_equal(net_http_server_listen(f->http, &any, NULL, &f->addr, NULL), 0);
    assert_int_equal(net_listener_open(f->loop, &any, NULL, f->shows, &raw_listener_ops, f, &f->raw, NULL),
                     0);
    net_listener_addr(f->raw, &f->raw_addr);
    web_open(f, (struct net_web_options){0}, &f->addr);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    net_web_free(f->web);
    net_http_server_free(f->http);
    net_listener_close(f->raw);
    for (unsigned i = 0; i < f->n_streams; i++)
        net_stream_close(f->streams[i]);
    struct call *calls[] = {&f->call, &f->other};
    for (size_t i = 0; i < A_ARRAY_SIZE(calls); i++) {
        a_buf_deinit(&calls[i]->got);
        a_buf_deinit(&calls[i]->body);
    }
    net_tls_unref(f->shows);
    tls_world_deinit(&f->world);
    tls_world_deinit(&f->stranger);
    sys_loop_free(f->loop);
    a_free(f);
    return 0;
}

/* ---- answers ---- */

static void test_a_request_goes_out_whole(void **state)
{
    struct fixture *f = *state;
    struct sys_secret token = {0};
    sys_secret_set(&token, A_VIEW_LIT("one"));
    web_open(f, (struct net_web_options){.bearer = &token}, &f->addr);
    send_request(&f->call, (struct net_web_request){.path = "/echo",
                                                    .method = "PATCH",
                                                    .content_type = "application/apply-patch+yaml",
                                                    .body = A_VIEW_LIT("{}")});
    assert_int_equal(f->call.dones, 0);
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, 0);
    assert_int_equal(f->call.status, 200);
    assert_string_equal(f->call.content_type, "text/plain");
    assert_string_equal(f->call.body.ptr, "PATCH|Bearer one|application/apply-patch+yaml|{}");
    net_web_set_bearer(f->web, A_VIEW_LIT("two"));
    send_path(&f->call, "/echo");
    await(f, f->call.dones == 2);
    assert_string_equal(f->call.body.ptr, "GET|Bearer two||");
    assert_int_equal(net_web_connections(f->web), 1); /* kept */
    assert_int_equal(net_web_calls(f->web), 2);
    sys_secret_deinit(&token);
}

static void test_a_refusal_is_an_answer(void **state)
{
    struct fixture *f = *state;
    send_request(&f->call, (struct net_web_request){.path = "/busy", .open = on_open, .piece = on_piece});
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, 0);
    assert_int_equal(f->call.status, 429);
    assert_int_equal(f->call.retry_after_ms, 7000);
    assert_string_equal(f->call.body.ptr, "{\"kind\":\"Status\"}");
    assert_int_equal(f->call.opens, 0);
    assert_int_equal(f->call.pieces, 0);
}

static void test_pieces_come_as_they_are_sent(void **state)
{
    struct fixture *f = *state;
    send_request(&f->call, (struct net_web_request){
                               .path = "/lines", .open = on_open, .piece = on_piece, .timeout_ms = A_NEVER});
    await(f, f->call.opens == 1); /* before anything of the body */
    assert_int_equal(net_http_stream_write(f->open, A_VIEW_LIT("one\n")), 0);
    await(f, f->call.got.len == 4);
    assert_int_equal(net_http_stream_write(f->open, A_VIEW_LIT("two\n")), 0);
    await(f, f->call.got.len == 8);
    assert_int_equal(f->call.dones, 0);
    net_http_stream_end(f->open);
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, 0);
    assert_string_equal(f->call.got.ptr, "one\ntwo\n");
}

static void test_a_paused_answer_waits_at_its_server(void **state)
{
    struct fixture *f = *state;
    f->call.pauses = true;
    send_request(&f->call,
                 (struct net_web_request){
                     .path = "/flood", .piece = on_piece, .timeout_ms = A_NEVER, .idle_ms = HANDSHAKE_MS});
    await(f, f->call.pieces == 1);
    for (uint64_t end = sys_clock_mono_ms() + 2 * HANDSHAKE_MS; sys_clock_mono_ms() < end;)
        sys_loop_turn(f->loop, false);
    assert_int_equal(f->call.pieces, 1);
    assert_true(f->written < FLOOD);    /* it is not all here */
    assert_int_equal(f->call.dones, 0); /* the time without bytes does not count */
    f->call.pauses = false;
    net_web_call_resume(f->call.call);
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, 0);
    assert_int_equal(f->call.got.len, FLOOD);
}

static void test_too_large_is_refused(void **state)
{
    struct fixture *f = *state;
    send_request(&f->call, (struct net_web_request){.path = "/flood", .body_max = 100000});
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, -EFBIG);
    assert_non_null(strstr(f->call.error, "larger than 100000"));
}

/* ---- ends ---- */

static void test_time_outs(void **state)
{
    struct fixture *f = *state;
    send_request(&f->call, (struct net_web_request){.path = "/never", .timeout_ms = HANDSHAKE_MS});
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, -ETIMEDOUT);
    assert_non_null(strstr(f->call.error, "no whole answer in time"));
    await(f, f->gone == 1); /* and its connection is closed */
    send_request(&f->call,
                 (struct net_web_request){
                     .path = "/lines", .piece = on_piece, .timeout_ms = A_NEVER, .idle_ms = HANDSHAKE_MS});
    await(f, f->call.dones == 2);
    assert_int_equal(f->call.rc, -ETIMEDOUT);
    assert_non_null(strstr(f->call.error, "stands still"));
}

/* One call that runs out of time in silence is the end of all on that connection; one beside which others
 * hear is not. */
static void test_a_dead_connection_is_left_by_all(void **state)
{
    struct fixture *f = *state;
    web_open(f, (struct net_web_options){0}, &f->raw_addr);
    send_request(&f->other, (struct net_web_request){.path = "/watch", .timeout_ms = A_NEVER});
    await(f, f->requests == 1);
    send_request(&f->call, (struct net_web_request){.path = "/", .timeout_ms = 50});
    await(f, f->call.dones == 1 && f->other.dones == 1);
    assert_int_equal(f->call.rc, -ETIMEDOUT);
    assert_int_equal(f->other.rc, -ECONNRESET);
    assert_non_null(strstr(f->other.error, "nothing came on its connection"));
}

static void test_others_stay_while_something_comes(void **state)
{
    struct fixture *f = *state;
    send_request(&f->other,
                 (struct net_web_request){.path = "/lines", .piece = on_piece, .timeout_ms = A_NEVER});
    await(f, f->open != NULL);
    send_request(&f->call, (struct net_web_request){.path = "/never", .timeout_ms = HANDSHAKE_MS});
    await(f, f->requests == 2);
    for (uint64_t end = sys_clock_mono_ms() + 10; sys_clock_mono_ms() < end;)
        sys_loop_turn(f->loop, false);
    assert_int_equal(net_http_stream_write(f->open, A_VIEW_LIT("here\n")), 0);
    await(f, f->call.dones == 1);
    assert_int_equal(f->other.got.len, 5);
    assert_int_equal(f->other.dones, 0);
}

static void test_an_answer_cut_short(void **state)
{
    struct fixture *f = *state;
    send_request(&f->call,
                 (struct net_web_request){.path = "/lines", .piece = on_piece, .timeout_ms = A_NEVER});
    await(f, f->open != NULL);
    assert_int_equal(net_http_stream_write(f->open, A_VIEW_LIT("half")), 0);
    await(f, f->call.got.len == 4);
    net_http_stream_abort(f->open);
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, -ECONNRESET);
    assert_int_equal(f->call.got.len, 4);
}

static void test_nobody_is_there(void **state)
{
    struct fixture *f = *state;
    net_listener_close(a_steal(&f->raw));
    web_open(f, (struct net_web_options){0}, &f->raw_addr);
    send_path(&f->call, "/");
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, -ECONNREFUSED);
    assert_int_equal(f->call.status, 0);
}

/* ---- callbacks ---- */

static void test_callbacks_may_end_what_calls_them(void **state)
{
    struct fixture *f = *state;
    f->call.again = true;
    send_path(&f->call, "/busy");
    await(f, f->call.dones == 2); /* sent from within done */
    f->call.cancels = true;
    send_request(&f->call, (struct net_web_request){.path = "/flood", .piece = on_piece});
    await(f, f->call.pieces == 1 && f->call.call == NULL);
    f->call.cancels = false;
    f->call.frees = true;
    f->written = 0;
    send_request(&f->other, (struct net_web_request){.path = "/never"});
    send_request(&f->call, (struct net_web_request){.path = "/flood", .piece = on_piece});
    await(f, f->web == NULL);
    assert_int_equal(f->call.dones, 2);
    assert_int_equal(f->other.dones, 0);
    web_open(f, (struct net_web_options){0}, &f->addr);
    send_path(&f->call, "/busy");
    await(f, f->web == NULL);
    assert_int_equal(f->call.dones, 3);
}

static void test_cancel_before_anything(void **state)
{
    struct fixture *f = *state;
    send_path(&f->call, "/echo");
    net_web_call_cancel(f->call.call);
    send_path(&f->other, "/echo");
    await(f, f->other.dones == 1);
    assert_int_equal(f->call.dones, 0);
    assert_int_equal(f->other.rc, 0);
}

/* ---- trust ---- */

static void test_a_strange_ca_is_named(void **state)
{
    struct fixture *f = *state;
    web_open(f, (struct net_web_options){.ca = a_buf_view(&f->stranger.ca)}, &f->addr);
    send_path(&f->call, "/echo");
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, -EACCES);
    assert_non_null(strstr(f->call.error, "for localhost, 127.0.0.1, issued by /CN=test"));
    assert_int_equal(f->requests, 0);
}

static void test_a_certificate_for_another_name(void **state)
{
    struct fixture *f = *state;
    web_open(f, (struct net_web_options){.server_name = "kubernetes"}, &f->addr);
    send_path(&f->call, "/echo");
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.rc, -EACCES);
    assert_non_null(
        strstr(f->call.error, "a certificate for localhost, 127.0.0.1 and not for \"kubernetes\""));
    web_open(f, (struct net_web_options){.server_name = "localhost"}, &f->addr);
    send_path(&f->call, "/echo");
    await(f, f->call.dones == 2);
    assert_int_equal(f->call.rc, 0);
}

static void test_checks_may_be_left_out(void **state)
{
    struct fixture *f = *state;
    struct sys_secret password = {0};
    sys_secret_set(&password, A_VIEW_LIT("p"));
    web_open(f,
             (struct net_web_options){
                 .ca = a_buf_view(&f->stranger.ca), .insecure = true, .user = "u", .password = &password},
             &f->addr);
    send_path(&f->call, "/echo");
    await(f, f->call.dones == 1);
    assert_string_equal(f->call.body.ptr, "GET|Basic dTpw||");
    sys_secret_deinit(&password);
}

static void test_it_shows_its_certificate(void **state)
{
    struct fixture *f = *state;
    struct net_key *key = NULL, *another = NULL;
    struct sys_secret pem = {0};
    A_BUF_AUTO struct a_buf chain = {0}, text = {0}, wrong = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct net_web *none = NULL;
    assert_int_equal(net_key_new(&key, NULL), 0);
    assert_int_equal(net_key_new(&another, NULL), 0);
    tls_world_issue(&f->world, key, NET_ROLE_GATEWAY, TLS_HOUR, &chain);
    assert_int_equal(net_key_print(key, &text, NULL), 0);
    assert_int_equal(net_key_print(another, &wrong, NULL), 0);
    sys_secret_set(&pem, a_buf_view(&text));
    f->canned = "HTTP/1.1 204 No Content\r\n\r\n";
    web_open(f, (struct net_web_options){.certificate = a_buf_view(&chain), .key = &pem}, &f->raw_addr);
    send_path(&f->call, "/");
    await(f, f->call.dones == 1);
    assert_int_equal(f->call.status, 204);
    assert_int_equal(f->peer, NET_ROLE_GATEWAY);
    sys_secret_set(&pem, a_buf_view(&wrong));
    const struct net_web_options o = {
        .base_url = "https://127.0.0.1:1", .certificate = a_buf_view(&chain), .key = &pem};
    assert_int_equal(net_web_new(f->loop, &o, &none, &e), -EINVAL);
    assert_string_equal(e.message, "the client key is not that of the client certificate");
    sys_secret_deinit(&pem);
    net_key_free(key);
    net_key_free(another);
}

static void test_what_cannot_be_sent(void **state)
{
    struct fixture *f = *state;
    static const char *const urls[] = {"http://127.0.0.1:1", "127.0.0.1", "https://", "https://u@h",
                                       "https://h?x"};
    struct net_web *none = NULL;
    for (size_t i = 0; i < A_ARRAY_SIZE(urls); i++)
        assert_int_equal(net_web_new(f->loop, &(struct net_web_options){.base_url = urls[i]}, &none, NULL),
                         -EINVAL);
    static const char *const paths[] = {"x", "/a b", "/a\r\nX: y", NULL};
    for (size_t i = 0; i < A_ARRAY_SIZE(paths); i++)
        assert_int_equal(
            net_web_send(f->web, &(struct net_web_request){.path = paths[i], .done = on_done}, NULL, NULL),
            -EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_request_goes_out_whole),
        T(test_a_refusal_is_an_answer),
        T(test_pieces_come_as_they_are_sent),
        T(test_a_paused_answer_waits_at_its_server),
        T(test_too_large_is_refused),
        T(test_time_outs),
        T(test_a_dead_connection_is_left_by_all),
        T(test_others_stay_while_something_comes),
        T(test_an_answer_cut_short),
        T(test_nobody_is_there),
        T(test_callbacks_may_end_what_calls_them),
        T(test_cancel_before_anything),
        T(test_a_strange_ca_is_named),
        T(test_a_certificate_for_another_name),
        T(test_checks_may_be_left_out),
        T(test_it_shows_its_certificate),
        T(test_what_cannot_be_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
