/* The HTTP server and the client on one loop, over real loopback sockets. Raw requests are written byte for
 * byte, so that what the server does with odd ones is seen; the client is held against the server and against
 * raw answers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "await.h"
#include "base/alloc.h"
#include "net/http_client.h"
#include "net/http_server.h"
#include "net/problem.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/tcp.h"
#include "wire/value.h"

struct fixture {
    struct sys_loop *loop;
    struct net_http_server *server;
    struct net_http_client *client;
    struct sys_addr addr;
    struct net_http_request *held; /* /later, /events */
    struct a_buf pieces;
    unsigned handled, gone, drained;
    bool flag, drain_done;
    /* the raw side */
    struct sys_stream *raw;
    struct a_buf got;
    bool raw_eof, raw_error;
    /* the client's last answer */
    unsigned answers, status;
    int rc;
    struct a_buf body, error;
};

static void on_gone(void *ctx, struct net_http_request *r)
{
    struct fixture *f = ctx;
    assert_ptr_equal(f->held, r);
    f->held = NULL;
    f->gone++;
}

static void hold(struct fixture *f, struct net_http_request *r)
{
    f->held = r;
    r->on_gone = on_gone;
    r->on_gone_ctx = f;
}

static void on_drain(void *ctx, struct net_http_request *r)
{
    (void)r;
    ((struct fixture *)ctx)->drained++;
}

static void handle_echo(struct net_http_request *r)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, A_VIEW_FMT " " A_VIEW_FMT "?" A_VIEW_FMT " " A_VIEW_FMT, A_VIEW_ARG(r->head->method_text),
               A_VIEW_ARG(r->path), A_VIEW_ARG(r->query), A_VIEW_ARG(r->body));
    net_http_reply_text(r, b.failed ? 503 : 200, "text/plain", a_buf_view(&b));
}

static void handle(void *ctx, struct net_http_request *r)
{
    struct fixture *f = ctx;
    f->handled++;
    if (a_view_is(r->path, "/later")) {
        hold(f, r);
    } else if (a_view_is(r->path, "/careless")) {
        f->held = r;
    } else if (a_view_is(r->path, "/events")) {
        hold(f, r);
        net_http_stream_on_drain(r, on_drain, f);
        net_http_stream_begin(r, &(struct net_http_response){.content_type = "text/event-stream"});
    } else if (a_view_is(r->path, "/error")) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        a_error_set(&e, A_CODE_NOT_FOUND, "no app \"%s\"", "ocr");
        net_http_reply_error(r, &e,
                             &(struct net_problem_where){.field = "name", .line = 3, .hint = "deploy it"});
    } else if (a_view_is(r->path, "/header")) {
        struct net_http_header headers[] = {{"x-good", "1"}, {"x-bad", "a\r\nx-evil: 1"}};
        net_http_reply(r, &(struct net_http_response){.status = 204, .headers = headers, .n_headers = 2});
    } else if (a_view_is(r->path, "/pieces")) {
        net_http_reply_text(r, 200, "text/plain", a_buf_view(&f->pieces));
        f->held = NULL;
    } else if (a_view_is(r->path, "/who")) {
        net_http_reply_text(r, 200, "text/plain", net_http_request_header(r, "authorization"));
    } else {
        handle_echo(r);
    }
}

static void piece(void *ctx, struct net_http_request *r, struct a_view bytes)
{
    struct fixture *f = ctx;
    a_buf_add_view(&f->pieces, bytes);
    if (f->flag) {
        f->flag = false;
        net_http_request_pause_body(r);
    }
}

static void begin(void *ctx, struct net_http_request *r)
{
    struct fixture *f = ctx;
    if (a_view_is(r->path, "/pieces")) {
        hold(f, r);
        net_http_request_set_body_max(r, 1 << 20);
        net_http_request_take_body(r, piece, f);
    } else if (a_view_is(r->path, "/forbidden")) {
        net_http_reply_text(r, 403, "text/plain", A_VIEW_LIT("no"));
    }
}

static const struct net_http_server_ops server_ops = {.handle = handle, .begin = begin};

static int setup_with(void **state, const struct net_http_server_options *options)
{
    struct fixture *f = a_new(struct fixture);
    struct sys_addr any;
    assert_int_equal(sys_loop_new(&f->loop, NULL), 0);
    f->server = net_http_server_new(f->loop, options, &server_ops, f);
    f->client = net_http_client_new(f->loop, NULL);
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &any, NULL), 0);
    assert_int_equal(net_http_server_listen(f->server, &any, NULL, &f->addr, NULL), 0);
    *state = f;
    return 0;
}

static int setup(void **state)
{
    return setup_with(state, NULL);
}

static int setup_small(void **state)
{
    return setup_with(state, &(struct net_http_server_options){.body_max = 100,
                                                               .stream_max = 64 * 1024,
                                                               .connections_max = 2,
                                                               .network_connections_max = 2,
                                                               .head_timeout_ms = 20,
                                                               .body_timeout_ms = 20,
                                                               .idle_timeout_ms = 20,
                                                               .write_timeout_ms = 20});
}

static int setup_alone(void **state)
{
    return setup_with(state, &(struct net_http_server_options){.network_connections_max = 1});
}

/* Small, and patient: a busy machine alone must not cut a client that does not read. */
static int setup_slow(void **state)
{
    return setup_with(state, &(struct net_http_server_options){.stream_max = 64 * 1024});
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    net_http_client_free(f->client);
    net_http_server_free(f->server);
    sys_stream_close(f->raw);
    sys_loop_free(f->loop);
    a_buf_deinit(&f->got);
    a_buf_deinit(&f->body);
    a_buf_deinit(&f->error);
    a_buf_deinit(&f->pieces);
    a_free(f);
    return 0;
}

/* --- the raw side --- */

static void raw_read(void *ctx, struct a_view bytes)
{
    a_try_alloc_fail_at(0); /* faults are for the other side */
    a_buf_add_view(&((struct fixture *)ctx)->got, bytes);
}

static void raw_eof(void *ctx)
{
    ((struct fixture *)ctx)->raw_eof = true;
}

static void raw_error(void *ctx, int rc)
{
    (void)rc;
    ((struct fixture *)ctx)->raw_error = true;
}

static const struct sys_stream_ops raw_ops = {.read = raw_read, .eof = raw_eof, .error = raw_error};

static void raw_connected(void *ctx, int rc)
{
    (void)ctx;
    assert_int_equal(rc, 0);
}

static void raw_open(struct fixture *f)
{
    assert_int_equal(sys_stream_connect(f->loop, &f->addr, NULL, raw_connected, f, &f->raw, NULL), 0);
    sys_stream_set_limits(f->raw, &(struct sys_stream_limits){.limit = 64 << 20});
    sys_stream_set_ops(f->raw, &raw_ops, f);
    sys_stream_read_start(f->raw);
}

static void raw_send(struct fixture *f, const char *text)
{
    if (f->raw == NULL)
        raw_open(f);
    assert_int_equal(sys_stream_write(f->raw, text, strlen(text)), 0);
}

/* Turns the loop until the raw side has seen `text` (any number of bytes around it). */
static void raw_await(struct fixture *f, const char *text)
{
    uint64_t end = sys_clock_mono_ms() + SOON_MS;
    while (f->got.ptr == NULL || strstr(f->got.ptr, text) == NULL) {
        if (sys_clock_mono_ms() > end)
            fail_msg("never came: %s; but: %s", text, f->got.ptr);
        sys_loop_turn(f->loop, false);
    }
}

static void turn(struct fixture *f, int n)
{
    while (n-- > 0)
        sys_loop_turn(f->loop, false);
}

static void test_one_request(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /a%20b?x=1&y HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_await(f, "GET /a%20b?x=1&y ");
    assert_int_equal(strncmp(f->got.ptr, "HTTP/1.1 200 OK\r\n", 17), 0);
    assert_non_null(strstr(f->got.ptr, "\r\ncontent-type: text/plain\r\n"));
    assert_non_null(strstr(f->got.ptr, "\r\ncontent-length: 17\r\n"));
    assert_non_null(strstr(f->got.ptr, " GMT\r\n"));
    assert_null(strstr(f->got.ptr, "connection:"));
    assert_false(f->raw_eof);
}

/* Byte by byte, and all at once, must be the same. */
static void test_any_cut_of_the_bytes(void **state)
{
    struct fixture *f = *state;
    static const char text[] =
        "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
        "POST /y HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nwor\r\n2\r\nld\r\n0\r\n\r\n"
        "GET /z HTTP/1.1\r\nHost: h\r\n\r\n";
    raw_open(f);
    for (const char *p = text; *p != '\0'; p++) {
        assert_int_equal(sys_stream_write(f->raw, p, 1), 0);
        turn(f, 2);
    }
    raw_await(f, "GET /z? ");
    assert_non_null(strstr(f->got.ptr, "POST /x? hello"));
    assert_non_null(strstr(f->got.ptr, "POST /y? world"));
    a_buf_reset(&f->got);
    raw_send(f, text);
    raw_await(f, "GET /z? ");
    assert_non_null(strstr(f->got.ptr, "POST /x? hello"));
    assert_non_null(strstr(f->got.ptr, "POST /y? world"));
    assert_int_equal(f->handled, 6);
    struct net_http_server_stats stats;
    net_http_server_stats(f->server, &stats);
    assert_int_equal(stats.requests_total, 6);
    assert_int_equal(stats.connections_open, 1);
}

/* The second of two pipelined requests waits for the first one's answer. */
static void test_pipelined_requests_are_served_in_order(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    turn(f, 5);
    assert_int_equal(f->handled, 1);
    net_http_reply_text(f->held, 200, "text/plain", A_VIEW_LIT("one"));
    assert_int_equal(f->handled, 1); /* not from within our call */
    raw_await(f, "GET /two? ");
    assert_true(strstr(f->got.ptr, "one") < strstr(f->got.ptr, "GET /two? "));
}

static void test_answers_without_body(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "HEAD /x HTTP/1.1\r\nHost: h\r\n\r\nGET /header HTTP/1.1\r\nHost: h\r\n\r\nGET /end "
                "HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_await(f, "GET /end? ");
    assert_non_null(strstr(f->got.ptr, "content-length: 9\r\n\r\nHTTP/1.1 204"));
    assert_non_null(strstr(f->got.ptr, "\r\nx-good: 1\r\n\r\nHTTP/1.1 200"));
    assert_null(strstr(f->got.ptr, "x-evil"));
}

static void test_old_and_closing_clients(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /x HTTP/1.0\r\n\r\n");
    await(f, f->raw_eof);
    assert_non_null(strstr(f->got.ptr, "GET /x? "));
    assert_non_null(strstr(f->got.ptr, "connection: close\r\n"));
    sys_stream_close(a_steal(&f->raw));
    a_buf_reset(&f->got);
    f->raw_eof = false;
    raw_send(f, "GET /y HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    await(f, f->raw_eof);
    assert_non_null(strstr(f->got.ptr, "GET /y? "));
}

/* A client that ends its side after its requests still gets all answers. */
/* The n-th allocation of an exchange fails, for all n: an answer or an orderly end, and nothing is lost. */
static void test_without_memory(void **state)
{
    struct fixture *f = *state;
    A_BUF_AUTO struct a_buf request = {0};
    a_buf_addf(&request, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 40000\r\n\r\n%40000d", 7);
    unsigned whole = 0;
    for (uint64_t n = 1; n < 60; n++) {
        raw_open(f);
        assert_int_equal(sys_stream_write(f->raw, request.ptr, request.len), 0);
        uint64_t end = sys_clock_mono_ms() + SOON_MS;
        while (f->got.len < 40000 && !f->raw_eof && !f->raw_error &&
               (f->got.len == 0 || strstr(f->got.ptr, " 503 ") == NULL)) {
            assert_true(sys_clock_mono_ms() < end);
            a_try_alloc_fail_at(n);
            sys_loop_turn(f->loop, false);
            a_try_alloc_fail_at(0);
        }
        whole += f->got.len >= 40000;
        sys_stream_close(a_steal(&f->raw));
        a_buf_deinit(&f->got);
        f->raw_eof = f->raw_error = false;
    }
    assert_true(whole > 0);
    struct net_http_server_stats stats = {.connections_open = 9};
    await(f, (net_http_server_stats(f->server, &stats), stats.connections_open == 0));
}

static void test_half_closed_client(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /careless HTTP/1.1\r\nHost: h\r\n\r\nGET /two HTTP/1.1\r\nHost: h\r\n\r\n");
    sys_stream_shutdown(f->raw);
    await(f, f->held != NULL);
    turn(f, 5);
    net_http_reply_text(f->held, 200, "text/plain", A_VIEW_LIT("one"));
    await(f, f->raw_eof);
    assert_non_null(strstr(f->got.ptr, "one"));
    assert_non_null(strstr(f->got.ptr, "GET /two? "));
}

static void test_malformed_requests(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *request, *answer;
    } cases[] = {
        {"NONSENSE\r\n\r\n", "HTTP/1.1 400 "},
        {"GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 400 "}, /* no Host */
        {"GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
         "HTTP/1.1 400 "},
        {"GET / HTTP/3.0\r\nHost: h\r\n\r\n", "HTTP/1.1 505 "},
        {"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "HTTP/1.1 400 "},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        raw_send(f, cases[i].request);
        await(f, f->raw_eof);
        if (strncmp(f->got.ptr, cases[i].answer, strlen(cases[i].answer)) != 0)
            fail_msg("%s: %s", cases[i].request, f->got.ptr);
        assert_non_null(strstr(f->got.ptr, "content-type: application/problem+json\r\n"));
        sys_stream_close(a_steal(&f->raw));
        a_buf_reset(&f->got);
        f->raw_eof = false;
    }
    A_BUF_AUTO struct a_buf long_head = {0};
    a_buf_add_str(&long_head, "GET / HTTP/1.1\r\nHost: h\r\nx: ");
    for (int i = 0; i < 70000; i++)
        a_buf_add_char(&long_head, 'x');
    raw_send(f, long_head.ptr);
    await(f, f->raw_eof);
    assert_int_equal(strncmp(f->got.ptr, "HTTP/1.1 431 ", 13), 0);
    assert_int_equal(f->handled, 0);
}

static void test_errors_are_problem_documents(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /error HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_await(f, "}");
    assert_int_equal(strncmp(f->got.ptr, "HTTP/1.1 404 Not Found\r\n", 24), 0);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    net_problem_read(404, a_view_str(strchr(f->got.ptr, '{')), &e);
    assert_int_equal(e.code, A_CODE_NOT_FOUND);
    assert_string_equal(a_error_text(&e), "line 3: name: no app \"ocr\" (deploy it)");
    net_problem_read(502, A_VIEW_LIT("<html>bad gateway\n"), &e);
    assert_string_equal(a_error_text(&e), "502 Bad Gateway: <html>bad gateway");
    net_problem_read(503, A_VIEW_LIT(""), &e);
    assert_int_equal(e.code, A_CODE_UNAVAILABLE);
    struct net_problem many[2] = {{.where = {.field = "a"}},
                                  {.where = {.field = "b", .line = 2, .column = 7}}};
    A_BUF_AUTO struct a_buf b = {0};
    a_error_set(&many[0].error, A_CODE_APP_INVALID, "is missing");
    a_error_set(&many[1].error, A_CODE_APP_INVALID, "is wrong");
    net_problem_print_many(&b, many, 2);
    net_problem_read(422, a_buf_view(&b), &e);
    assert_int_equal(e.code, A_CODE_APP_INVALID);
    assert_string_equal(a_error_text(&e), "a: is missing\nline 2: b: is wrong");
    a_error_deinit(&many[0].error);
    a_error_deinit(&many[1].error);
}

static void test_expect_continue(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n");
    raw_await(f, "HTTP/1.1 100 Continue\r\n\r\n");
    raw_send(f, "ok");
    raw_await(f, "PUT /x? ok");
}

/* An answer before the body: no 100, and the connection ends, for the body is still to come. */
static void test_answer_before_the_body(void **state)
{
    struct fixture *f = *state;
    raw_send(f,
             "PUT /forbidden HTTP/1.1\r\nHost: h\r\nContent-Length: 50000\r\nExpect: 100-continue\r\n\r\n");
    await(f, f->raw_eof);
    assert_int_equal(strncmp(f->got.ptr, "HTTP/1.1 403 ", 13), 0);
    assert_non_null(strstr(f->got.ptr, "connection: close\r\n"));
    assert_int_equal(f->handled, 0);
}

static void test_empty_body(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n");
    raw_await(f, "POST /x? ");
}

static void test_body_in_pieces(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 300000 };
    f->flag = true; /* the first piece pauses */
    A_AUTOFREE char *body = a_alloc(SIZE + 1);
    memset(body, 'b', SIZE);
    A_AUTOFREE char *head = a_asprintf("PUT /pieces HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n", SIZE);
    raw_send(f, head);
    raw_send(f, body);
    await(f, f->pieces.len > 0);
    size_t before = f->pieces.len;
    turn(f, 20);
    assert_int_equal(f->pieces.len, before);
    net_http_request_resume_body(f->held);
    assert_int_equal(f->pieces.len, before);
    await(f, f->got.len > SIZE);
    assert_int_equal(f->pieces.len, SIZE);
    assert_int_equal(f->gone, 0);
}

static void test_body_cut_short(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "PUT /pieces HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
    await(f, f->pieces.len == 4);
    sys_stream_close(a_steal(&f->raw));
    await(f, f->gone == 1);
    raw_send(f, "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhalf");
    turn(f, 5);
    sys_stream_close(a_steal(&f->raw));
    struct net_http_server_stats stats = {.connections_open = 9};
    await(f, (net_http_server_stats(f->server, &stats), stats.connections_open == 0));
    assert_int_equal(f->handled, 0);
}

static void test_client_goes_away(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    sys_stream_abort(a_steal(&f->raw));
    await(f, f->gone == 1);
    raw_send(f, "GET /careless HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    assert_false(net_http_request_is_gone(f->held));
    sys_stream_abort(a_steal(&f->raw));
    await(f, net_http_request_is_gone(f->held));
    net_http_reply_text(f->held, 200, "text/plain", A_VIEW_LIT("into the void"));
    assert_int_equal(f->gone, 1);
}

static void test_events(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    assert_int_equal(net_http_sse_write(f->held, A_VIEW_LIT("7"), A_VIEW_LIT("change"), A_VIEW_LIT("a\nb")),
                     0);
    assert_int_equal(net_http_sse_ping(f->held), 0);
    raw_await(f, "transfer-encoding: chunked\r\n");
    raw_await(f, "\r\n25\r\nid: 7\nevent: change\ndata: a\ndata: b\n\n\r\n");
    raw_await(f, "3\r\n:\n\n\r\n");
    net_http_stream_end(f->held);
    raw_await(f, "0\r\n\r\n");
    raw_send(f, "GET /after HTTP/1.1\r\nHost: h\r\n\r\n");
    raw_await(f, "GET /after? ");
    f->held = NULL;
    raw_send(f, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    sys_stream_close(a_steal(&f->raw));
    await(f, f->gone == 1);
}

/* A client that does not read: the queue is bounded, drain is told once it reads again. */
static void test_slow_event_client(void **state)
{
    struct fixture *f = *state;
    A_AUTOFREE char *big = a_alloc(32 * 1024);
    raw_send(f, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    sys_stream_read_stop(f->raw);
    int rc = 0;
    memset(big, 'e', 32 * 1024);
    for (int i = 0; i < 1000; i++) {
        rc = net_http_stream_write(f->held, (struct a_view){big, 32 * 1024});
        if (rc != 0)
            break; /* at once: in the next turn the kernel may take more, and what was full has drained */
        sys_loop_turn(f->loop, false);
    }
    assert_int_equal(rc, -ENOBUFS);
    assert_true(net_http_stream_is_full(f->held));
    unsigned before = f->drained;
    sys_stream_read_start(f->raw);
    await(f, f->drained > before);
    assert_false(net_http_stream_is_full(f->held));
    net_http_stream_end(f->held);
    raw_await(f, "\r\n0\r\n\r\n");
}

static void test_stream_of_known_length(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    struct net_http_response response = {.has_content_length = true, .content_length = 4};
    net_http_stream_begin(f->held, &response);
    assert_int_equal(net_http_stream_write(f->held, A_VIEW_LIT("four!")), -EMSGSIZE);
    assert_int_equal(net_http_stream_write(f->held, A_VIEW_LIT("fo")), 0);
    assert_int_equal(net_http_stream_write(f->held, A_VIEW_LIT("ur")), 0);
    net_http_stream_end(f->held);
    raw_await(f, "\r\n\r\nfour");
    f->held = NULL;
    raw_send(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    net_http_stream_begin(f->held, &response);
    assert_int_equal(net_http_stream_write(f->held, A_VIEW_LIT("fo")), 0);
    net_http_stream_end(f->held); /* too short: the client must notice */
    await(f, f->raw_error);
    assert_int_equal(f->gone, 0);
}

static void test_file_answer(void **state)
{
    struct fixture *f = *state;
    enum { SIZE = 3000000 };
    A_AUTOFREE char *bytes = a_alloc(SIZE);
    char *dir = NULL;
    int fd = -1;
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (char)('a' + i % 23);
    assert_int_equal(sys_dir_make_temp("/tmp/astra-test-", &dir, NULL), 0);
    A_AUTOFREE char *path = sys_path_join(dir, "f");
    assert_int_equal(sys_file_write_atomic(path, bytes, SIZE, 0600, NULL), 0);
    raw_send(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\nGET /next HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    assert_int_equal(sys_file_open_read(path, &fd, NULL), 0);
    net_http_reply_file(f->held, &(struct net_http_response){.content_type = "x/y"}, fd, 1, SIZE - 1);
    raw_await(f, "GET /next? ");
    const char *body = strstr(f->got.ptr, "\r\n\r\n") + 4;
    assert_memory_equal(body, bytes + 1, SIZE - 1);
    /* cut in the middle: the descriptor is closed with it, nobody is told */
    raw_send(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    f->held = NULL;
    await(f, f->held != NULL);
    assert_int_equal(sys_file_open_read(path, &fd, NULL), 0);
    sys_stream_read_stop(f->raw);
    net_http_reply_file(f->held, &(struct net_http_response){0}, fd, 0, SIZE);
    sys_stream_abort(a_steal(&f->raw));
    struct net_http_server_stats stats = {.connections_open = 9};
    await(f, (net_http_server_stats(f->server, &stats), stats.connections_open == 0));
    assert_int_equal(f->gone, 0);
    assert_int_equal(sys_dir_remove(dir, NULL), 0);
    a_free(dir);
}

static void drained(void *ctx)
{
    ((struct fixture *)ctx)->drain_done = true;
}

static void test_drain_lets_answers_finish(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    net_http_server_drain(f->server, SOON_MS, drained, f);
    turn(f, 5);
    assert_false(f->drain_done);
    net_http_reply_text(f->held, 200, "text/plain", A_VIEW_LIT("last"));
    await(f, f->drain_done);
    await(f, f->raw_eof);
    assert_non_null(strstr(f->got.ptr, "connection: close\r\n"));
    assert_non_null(strstr(f->got.ptr, "last"));
}

static void test_drain_has_an_end(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "GET /events HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    net_http_server_drain(f->server, 1, drained, f);
    assert_false(f->drain_done);
    await(f, f->drain_done);
    assert_int_equal(f->gone, 1);
}

static void test_timeouts(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *sent;
        bool answered;
    } cases[] = {
        {"GET / HT", true},                                                      /* half a head */
        {"PUT /pieces HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nx", true}, /* half a body */
        {"GET /x HTTP/1.1\r\nHost: h\r\n\r\n", false},                           /* then idle */
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        raw_send(f, cases[i].sent);
        await(f, f->raw_eof);
        assert_int_equal(strncmp(f->got.ptr, cases[i].answered ? "HTTP/1.1 408 " : "HTTP/1.1 200 ", 13), 0);
        sys_stream_close(a_steal(&f->raw));
        a_buf_reset(&f->got);
        f->raw_eof = false;
    }
    assert_int_equal(f->gone, 1);
    /* a handler may take its time */
    raw_send(f, "GET /later HTTP/1.1\r\nHost: h\r\n\r\n");
    await(f, f->held != NULL);
    uint64_t until = sys_clock_mono_ms() + 60;
    await(f, sys_clock_mono_ms() > until);
    assert_int_equal(f->gone, 1);
    /* a client that takes nothing of a large answer may not */
    sys_stream_read_stop(f->raw);
    A_AUTOFREE char *big = a_alloc(16 << 20);
    net_http_reply_text(f->held, 200, "x/y", (struct a_view){big, 16 << 20});
    struct net_http_server_stats stats = {.connections_open = 9};
    await(f, (net_http_server_stats(f->server, &stats), stats.connections_open == 0));
    assert_int_equal(stats.timeouts_total, 3);
}

static void test_limits(void **state)
{
    struct fixture *f = *state;
    raw_send(f, "PUT /x HTTP/1.1\r\nHost: h\r\nContent-Length: 101\r\n\r\n");
    await(f, f->raw_eof);
    assert_int_equal(strncmp(f->got.ptr, "HTTP/1.1 413 ", 13), 0);
    sys_stream_close(a_steal(&f->raw));
    a_buf_reset(&f->got);
    f->raw_eof = false;
    A_BUF_AUTO struct a_buf chunks = {0};
    a_buf_add_str(&chunks, "PUT /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 11; i++)
        a_buf_add_str(&chunks, "a\r\n0123456789\r\n");
    raw_send(f, chunks.ptr);
    await(f, f->raw_eof);
    assert_int_equal(strncmp(f->got.ptr, "HTTP/1.1 413 ", 13), 0);
    assert_int_equal(f->handled, 0);
}

static void too_many(struct fixture *f, unsigned room)
{
    struct sys_stream *more[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(sys_stream_connect(f->loop, &f->addr, NULL, raw_connected, f, &more[i], NULL), 0);
    struct net_http_server_stats stats = {0};
    await(f, (net_http_server_stats(f->server, &stats), stats.connections_refused == 3 - room));
    assert_int_equal(stats.connections_open, room);
    for (int i = 0; i < 3; i++)
        sys_stream_close(more[i]);
    await(f, (net_http_server_stats(f->server, &stats), stats.connections_open == 0));
    assert_int_equal(sys_stream_connect(f->loop, &f->addr, NULL, raw_connected, f, &more[0], NULL), 0);
    await(f,
          (net_http_server_stats(f->server, &stats), stats.connections_open == 1)); /* there is room again */
    sys_stream_close(more[0]);
}

static void test_too_many_connections(void **state)
{
    too_many(*state, 2);
}

static void test_too_many_of_one_network(void **state)
{
    too_many(*state, 1);
}

/* --- the client --- */

static void answered(void *ctx, const struct net_http_answer *a)
{
    struct fixture *f = ctx;
    f->answers++;
    f->rc = a->rc;
    f->status = a->status;
    a_buf_reset(&f->body);
    a_buf_add_view(&f->body, a->body);
    a_buf_reset(&f->error);
    if (a->error != NULL)
        a_buf_add_str(&f->error, a_error_text(a->error));
    assert_true((a->rc == 0) == (a->head != NULL));
}

static void call(struct fixture *f, struct net_http_call_options o, struct net_http_call **ret_call)
{
    o.host = "127.0.0.1";
    if (o.port == 0)
        o.port = sys_addr_port(&f->addr);
    assert_int_equal(net_http_client_send(f->client, &o, answered, f, ret_call, NULL), 0);
}

static void test_client_reuses_its_connection(void **state)
{
    struct fixture *f = *state;
    struct sys_secret token = {0};
    struct net_http_header headers[] = {{"x-a", "b"}};
    sys_secret_set(&token, A_VIEW_LIT("hunter2"));
    call(f,
         (struct net_http_call_options){
             .target = "/x?q", .body = A_VIEW_LIT("hi"), .headers = headers, .n_headers = 1},
         NULL);
    assert_int_equal(f->answers, 0);
    await(f, f->answers == 1);
    assert_int_equal(f->status, 200);
    assert_string_equal(f->body.ptr, "POST /x?q hi");
    call(f, (struct net_http_call_options){.target = "/who", .bearer = &token}, NULL);
    await(f, f->answers == 2);
    assert_string_equal(f->body.ptr, "Bearer hunter2");
    call(f, (struct net_http_call_options){.target = "/header"}, NULL);
    await(f, f->answers == 3);
    assert_int_equal(f->status, 204);
    call(f, (struct net_http_call_options){.target = "/x", .method = "HEAD"}, NULL);
    await(f, f->answers == 4);
    assert_int_equal(f->body.len, 0);
    struct net_http_server_stats stats;
    net_http_server_stats(f->server, &stats);
    assert_int_equal(stats.connections_total, 1);
    assert_int_equal(net_http_client_connections(f->client), 1);
    sys_secret_deinit(&token);
}

static void test_client_reads_chunks(void **state)
{
    struct fixture *f = *state;
    call(f, (struct net_http_call_options){.target = "/events"}, NULL);
    await(f, f->held != NULL);
    for (int i = 0; i < 100; i++)
        assert_int_equal(net_http_stream_write(f->held, A_VIEW_LIT("0123456789")), 0);
    net_http_stream_end(f->held);
    await(f, f->answers == 1);
    assert_int_equal(f->rc, 0);
    assert_int_equal(f->body.len, 1000);
}

static void test_client_gives_up(void **state)
{
    struct fixture *f = *state;
    struct net_http_call *cancelled = NULL;
    call(f, (struct net_http_call_options){.target = "/later", .timeout_ms = 20}, NULL);
    await(f, f->answers == 1);
    assert_int_equal(f->rc, -ETIMEDOUT);
    assert_non_null(strstr(f->error.ptr, "no answer in time"));
    await(f, f->gone == 1);
    call(f, (struct net_http_call_options){.target = "/later"}, &cancelled);
    await(f, f->held != NULL);
    net_http_call_cancel(cancelled);
    await(f, f->gone == 2);
    call(f, (struct net_http_call_options){.target = "/x", .body = A_VIEW_LIT("0123456789"), .body_max = 5},
         NULL);
    await(f, f->answers == 2);
    assert_int_equal(f->rc, -EFBIG);
    uint16_t port = 0;
    assert_int_equal(net_http_client_connections(f->client), 0);
    struct sys_listener *l = NULL;
    struct sys_addr any;
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &any, NULL), 0);
    assert_int_equal(sys_listener_open(f->loop, &any, NULL, NULL, NULL, &l, NULL), 0);
    port = sys_listener_port(l);
    sys_listener_close(l);
    turn(f, 3);
    call(f, (struct net_http_call_options){.port = port}, NULL);
    await(f, f->answers == 3);
    assert_int_equal(f->rc, -ECONNREFUSED);
    struct net_http_call_options bad = {.host = "127.0.0.1", .port = 1, .target = "/a b"};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(net_http_client_send(f->client, &bad, answered, f, NULL, &e), -EINVAL);
    bad.target = "/x";
    bad.headers = &(struct net_http_header){"x", "a\r\nb: c"};
    bad.n_headers = 1;
    assert_int_equal(net_http_client_send(f->client, &bad, answered, f, NULL, &e), -EINVAL);
}

/* A server of raw answers: each accepted connection gets the next text, then is closed if that says so. */
struct raw_server {
    struct fixture *f;
    const char *const *answers;
    unsigned n;
    struct sys_stream *streams[8];
};

static void raw_server_read(void *ctx, struct a_view bytes)
{
    (void)ctx;
    (void)bytes;
}

static void raw_server_eof(void *ctx)
{
    (void)ctx;
}

static void raw_server_accept(void *ctx, struct sys_stream *s)
{
    static const struct sys_stream_ops quiet = {.read = raw_server_read, .eof = raw_server_eof};
    struct raw_server *r = ctx;
    const char *text = r->answers[r->n];
    sys_stream_set_ops(s, &quiet, r);
    sys_stream_read_start(s);
    r->streams[r->n++] = s;
    assert_int_equal(sys_stream_write(s, text, strlen(text)), 0);
    sys_stream_shutdown(s);
}

static void test_client_and_odd_servers(void **state)
{
    struct fixture *f = *state;
    static const char *const answers[] = {
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nuntil the end",
        "HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\ncut short",
        "SSH-2.0-OpenSSH\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nokHTTP/1.1 200 unasked\r\n\r\n",
        "",
    };
    static const int rcs[] = {0, -ECONNRESET, -EPROTO, 0, -ECONNRESET};
    struct raw_server r = {.f = f, .answers = answers};
    struct sys_listener *l = NULL;
    struct sys_addr any;
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &any, NULL), 0);
    assert_int_equal(sys_listener_open(f->loop, &any, NULL, raw_server_accept, &r, &l, NULL), 0);
    for (unsigned i = 0; i < A_ARRAY_SIZE(answers); i++) {
        call(f, (struct net_http_call_options){.port = sys_listener_port(l)}, NULL);
        await(f, f->answers == i + 1);
        assert_int_equal(f->rc, rcs[i]);
        if (i == 0)
            assert_string_equal(f->body.ptr, "until the end");
        assert_int_equal(net_http_client_connections(f->client), 0);
    }
    for (unsigned i = 0; i < r.n; i++)
        sys_stream_close(r.streams[i]);
    sys_listener_close(l);
}

/* The server closes the idle connection in the very moment when we use it: sent again when that is harmless.
 */
static void test_client_sends_again_on_a_stale_connection(void **state)
{
    struct fixture *f = *state;
    call(f, (struct net_http_call_options){.target = "/one"}, NULL);
    await(f, f->answers == 1);
    net_http_server_free(f->server);
    f->server = net_http_server_new(f->loop, NULL, &server_ops, f);
    struct sys_addr same = f->addr;
    assert_int_equal(net_http_server_listen(f->server, &same, NULL, &f->addr, NULL), 0);
    call(f, (struct net_http_call_options){.target = "/two"}, NULL);
    await(f, f->answers == 2);
    assert_int_equal(f->rc, 0);
    assert_string_equal(f->body.ptr, "GET /two? ");
}

/* Answers the first request of a connection, closes it at the second: as a server whose patience ends just
 * then. */
static void fickle_read(void *ctx, struct a_view bytes)
{
    struct raw_server *r = ctx;
    static const char ok[] = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    (void)bytes;
    if (r->n++ == 1) {
        sys_stream_close_soft(a_steal(&r->streams[0]), 0);
        return;
    }
    assert_int_equal(sys_stream_write(r->streams[0], ok, sizeof ok - 1), 0);
}

static void fickle_accept(void *ctx, struct sys_stream *s)
{
    static const struct sys_stream_ops fickle = {.read = fickle_read, .eof = raw_server_eof};
    struct raw_server *r = ctx;
    sys_stream_close(r->streams[0]);
    r->streams[0] = s;
    sys_stream_set_ops(s, &fickle, r);
    sys_stream_read_start(s);
}

static void fickle_call(struct fixture *f, const char *method, int rc)
{
    struct raw_server r = {.f = f};
    struct sys_listener *l = NULL;
    struct sys_addr any;
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &any, NULL), 0);
    assert_int_equal(sys_listener_open(f->loop, &any, NULL, fickle_accept, &r, &l, NULL), 0);
    for (int i = 0; i < 2; i++) {
        call(f, (struct net_http_call_options){.port = sys_listener_port(l), .method = method}, NULL);
        unsigned before = f->answers;
        await(f, f->answers == before + 1);
        assert_int_equal(f->rc, i == 0 ? 0 : rc);
    }
    assert_int_equal(r.n, rc == 0 ? 3 : 2); /* requests that arrived */
    sys_stream_close(r.streams[0]);
    sys_listener_close(l);
}

static void test_client_sends_again_what_nobody_answered(void **state)
{
    fickle_call(*state, "GET", 0);
    fickle_call(*state, "POST", -ECONNRESET);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
#define SMALL(f) cmocka_unit_test_setup_teardown(f, setup_small, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_one_request),
        TEST(test_any_cut_of_the_bytes),
        TEST(test_pipelined_requests_are_served_in_order),
        TEST(test_answers_without_body),
        TEST(test_old_and_closing_clients),
        TEST(test_without_memory),
        TEST(test_half_closed_client),
        TEST(test_malformed_requests),
        TEST(test_errors_are_problem_documents),
        TEST(test_expect_continue),
        TEST(test_answer_before_the_body),
        TEST(test_empty_body),
        TEST(test_body_in_pieces),
        TEST(test_body_cut_short),
        TEST(test_client_goes_away),
        TEST(test_events),
        cmocka_unit_test_setup_teardown(test_slow_event_client, setup_slow, teardown),
        TEST(test_stream_of_known_length),
        TEST(test_file_answer),
        TEST(test_drain_lets_answers_finish),
        TEST(test_drain_has_an_end),
        SMALL(test_timeouts),
        SMALL(test_limits),
        SMALL(test_too_many_connections),
        cmocka_unit_test_setup_teardown(test_too_many_of_one_network, setup_alone, teardown),
        TEST(test_client_reuses_its_connection),
        TEST(test_client_reads_chunks),
        TEST(test_client_gives_up),
        TEST(test_client_and_odd_servers),
        TEST(test_client_sends_again_on_a_stale_connection),
        TEST(test_client_sends_again_what_nobody_answered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
