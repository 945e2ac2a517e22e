/* The blocking client against our own server, which runs in a thread with a loop of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "net/http_blocking.h"
#include "net/sse.h"
#include "sys/file.h"
#include "sys/pool.h"

enum { FILE_SIZE = 3000000 };

struct fixture {
    struct sys_loop *loop; /* the server's */
    struct net_http_server *server;
    struct sys_thread *thread;
    struct net_blocking *b;
    char *dir, *path;
    /* what callbacks saw */
    struct a_buf seen;
    unsigned events;
    uint64_t progress, total;
    int answer;
};

static void count_piece(void *ctx, struct net_http_request *r, struct a_view bytes)
{
    (void)ctx;
    r->user = (void *)((uintptr_t)r->user + bytes.len);
}

static void ignore_gone(void *ctx, struct net_http_request *r)
{
    (void)ctx;
    (void)r;
}

static void begin(void *ctx, struct net_http_request *r)
{
    if (!a_view_is(r->path, "/upload"))
        return;
    r->on_gone = ignore_gone;
    net_http_request_set_body_max(r, UINT64_MAX);
    net_http_request_take_body(r, count_piece, ctx);
}

static void handle(void *ctx, struct net_http_request *r)
{
    struct fixture *f = ctx;
    A_BUF_AUTO struct a_buf b = {0};
    if (a_view_is(r->path, "/upload")) {
        a_buf_addf(&b, "%zu", (size_t)(uintptr_t)r->user);
    } else if (a_view_is(r->path, "/file")) {
        int fd = -1;
        assert_int_equal(sys_file_open_read(f->path, &fd, NULL), 0);
        net_http_reply_file(r, &(struct net_http_response){.content_type = "application/octet-stream"}, fd, 0,
                            FILE_SIZE);
        return;
    } else if (a_view_is(r->path, "/error")) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        a_error_set(&e, A_CODE_STALE_EPOCH, "epoch 3 is older than 4");
        net_http_reply_error(r, &e, NULL);
        return;
    } else if (a_view_is(r->path, "/events")) {
        net_http_stream_begin(r, &(struct net_http_response){.content_type = "text/event-stream"});
        for (int i = 1; i <= 3; i++)
            assert_int_equal(net_http_sse_write(r, A_VIEW_LIT("7"), A_VIEW_LIT("change"), A_VIEW_LIT("a\nb")),
                             0);
        net_http_stream_end(r);
        return;
    } else if (a_view_is(r->path, "/never")) {
        r->on_gone = ignore_gone;
        return;
    } else {
        a_buf_addf(&b, A_VIEW_FMT " " A_VIEW_FMT " " A_VIEW_FMT " " A_VIEW_FMT,
                   A_VIEW_ARG(r->head->method_text), A_VIEW_ARG(r->head->path),
                   A_VIEW_ARG(net_http_request_header(r, "authorization")), A_VIEW_ARG(r->body));
    }
    struct net_http_header etag = {"etag", "\"7\""};
    net_http_reply(
        r, &(struct net_http_response){
               .content_type = "text/plain", .headers = &etag, .n_headers = 1, .body = a_buf_view(&b)});
}

static void server_main(void *ctx)
{
    sys_loop_run(((struct fixture *)ctx)->loop);
}

static void server_end(void *ctx)
{
    struct fixture *f = ctx;
    net_http_server_free(f->server);
    sys_loop_stop(f->loop);
}

static int setup(void **state)
{
    static const struct net_http_server_ops ops = {.handle = handle, .begin = begin};
    struct fixture *f = a_new(struct fixture);
    struct sys_addr addr;
    struct sys_secret token = {0};
    assert_int_equal(sys_dir_make_temp("/tmp/astra-test-", &f->dir, NULL), 0);
    f->path = sys_path_join(f->dir, "f");
    A_AUTOFREE char *bytes = a_alloc(FILE_SIZE);
    for (size_t i = 0; i < FILE_SIZE; i++)
        bytes[i] = (char)('a' + i % 23);
    assert_int_equal(sys_file_write_atomic(f->path, bytes, FILE_SIZE, 0600, NULL), 0);
    assert_int_equal(sys_loop_new(&f->loop, NULL), 0);
    f->server = net_http_server_new(f->loop, NULL, &ops, f);
    assert_int_equal(sys_addr_parse("127.0.0.1:0", &addr, NULL), 0);
    assert_int_equal(net_http_server_listen(f->server, &addr, NULL, &addr, NULL), 0);
    A_AUTOFREE char *url = a_asprintf("http://127.0.0.1:%u/", sys_addr_port(&addr));
    sys_secret_set(&token, A_VIEW_LIT("hunter2"));
    assert_int_equal(
        net_blocking_new(&(struct net_blocking_options){.base_url = url, .token = &token}, &f->b, NULL), 0);
    sys_secret_deinit(&token);
    assert_int_equal(sys_thread_start("server", server_main, f, &f->thread, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    net_blocking_free(f->b);
    sys_loop_post(f->loop, server_end, f);
    sys_thread_join(f->thread);
    sys_loop_free(f->loop);
    assert_int_equal(sys_dir_remove(f->dir, NULL), 0);
    a_buf_deinit(&f->seen);
    a_free(f->path);
    a_free(f->dir);
    a_free(f);
    return 0;
}

static void test_methods(void **state)
{
    struct fixture *f = *state;
    static const struct {
        struct net_blocking_request request;
        const char *answer;
    } cases[] = {
        {{.path = "/x?y=1"}, "GET /x?y=1 Bearer hunter2 "},
        {{.path = "/x", .body = {"{}", 2}}, "POST /x Bearer hunter2 {}"},
        {{.path = "/x", .method = "PUT", .body = {"{}", 2}}, "PUT /x Bearer hunter2 {}"},
        {{.path = "/x", .method = "PUT"}, "PUT /x Bearer hunter2 "},
        {{.path = "/x", .method = "POST"}, "POST /x Bearer hunter2 "},
        {{.path = "/x", .method = "DELETE"}, "DELETE /x Bearer hunter2 "},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer a;
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        if (net_blocking_send(f->b, &cases[i].request, &a, &e) != 0)
            fail_msg("%s", a_error_text(&e));
        assert_string_equal(a.body.ptr, cases[i].answer);
        assert_int_equal(a.status, 200);
        assert_string_equal(a.content_type, "text/plain");
        assert_string_equal(a.etag, "\"7\"");
    }
}

static void test_errors_in_words(void **state)
{
    struct fixture *f = *state;
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer a = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(net_blocking_send(f->b, &(struct net_blocking_request){.path = "/error"}, &a, &e),
                     -EREMOTEIO);
    assert_int_equal(a.status, 409);
    assert_int_equal(e.code, A_CODE_STALE_EPOCH);
    assert_string_equal(a_error_text(&e), "epoch 3 is older than 4");
    net_blocking_answer_deinit(&a);
    assert_int_equal(
        net_blocking_send(f->b, &(struct net_blocking_request){.path = "/x", .body_max = 3}, &a, &e), -EFBIG);
    net_blocking_answer_deinit(&a);
    assert_int_equal(
        net_blocking_send(f->b, &(struct net_blocking_request){.path = "/never", .timeout_ms = 30}, &a, &e),
        -ETIMEDOUT);
    assert_int_equal(e.code, A_CODE_TIMEOUT);
    assert_non_null(strstr(a_error_text(&e), "GET http://127.0.0.1:"));
    net_blocking_answer_deinit(&a);
    struct net_blocking *nobody = NULL;
    assert_int_equal(
        net_blocking_new(&(struct net_blocking_options){.base_url = "http://127.0.0.1:1"}, &nobody, NULL), 0);
    assert_int_equal(net_blocking_send(nobody, &(struct net_blocking_request){.path = "/x"}, &a, &e),
                     -ECONNREFUSED);
    assert_non_null(strstr(a_error_text(&e), "cannot reach the server at http://127.0.0.1:1: "));
    net_blocking_free(nobody);
}

static int see_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct fixture *f = ctx;
    assert_true(done_bytes >= f->progress || done_bytes == 0);
    f->progress = done_bytes;
    f->total = A_MAX(f->total, total_bytes);
    return f->answer;
}

static void test_files_go_both_ways(void **state)
{
    struct fixture *f = *state;
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer a = {0};
    struct net_blocking_request up = {
        .path = "/upload", .upload_path = f->path, .progress = see_progress, .ctx = f};
    assert_int_equal(net_blocking_send(f->b, &up, &a, NULL), 0);
    assert_string_equal(a.body.ptr, "3000000");
    assert_int_equal(f->total, FILE_SIZE);
    net_blocking_answer_deinit(&a);
    A_AUTOFREE char *copy = sys_path_join(f->dir, "copy");
    struct net_blocking_request down = {.path = "/file", .download_path = copy};
    assert_int_equal(net_blocking_send(f->b, &down, &a, NULL), 0);
    A_BUF_AUTO struct a_buf one = {0};
    A_BUF_AUTO struct a_buf two = {0};
    assert_int_equal(sys_file_read(f->path, FILE_SIZE, &one, NULL), 0);
    assert_int_equal(sys_file_read(copy, FILE_SIZE, &two, NULL), 0);
    assert_true(a_view_equal(a_buf_view(&one), a_buf_view(&two)));
    /* an error leaves no file behind, nor does one that was given up */
    A_AUTOFREE char *none = sys_path_join(f->dir, "none");
    A_AUTOFREE char *part = a_asprintf("%s.part", none);
    down = (struct net_blocking_request){.path = "/error", .download_path = none};
    assert_int_equal(net_blocking_send(f->b, &down, &a, NULL), -EREMOTEIO);
    net_blocking_answer_deinit(&a);
    f->answer = -EINTR;
    f->progress = 0;
    down = (struct net_blocking_request){
        .path = "/file", .download_path = none, .progress = see_progress, .ctx = f};
    assert_int_equal(net_blocking_send(f->b, &down, &a, NULL), -EINTR);
    assert_false(sys_file_exists(none));
    assert_false(sys_file_exists(part));
}

static int see_event(void *ctx, struct a_view id, struct a_view event, struct a_view data)
{
    struct fixture *f = ctx;
    a_buf_addf(&f->seen, A_VIEW_FMT "|" A_VIEW_FMT "|" A_VIEW_FMT ";", A_VIEW_ARG(id), A_VIEW_ARG(event),
               A_VIEW_ARG(data));
    return ++f->events == 2 ? f->answer : 0;
}

static void test_events(void **state)
{
    struct fixture *f = *state;
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer a = {0};
    struct net_blocking_request q = {.path = "/events", .event = see_event, .ctx = f};
    assert_int_equal(net_blocking_send(f->b, &q, &a, NULL), 0);
    assert_string_equal(f->seen.ptr, "7|change|a\nb;7|change|a\nb;7|change|a\nb;");
    f->events = 0;
    f->answer = 1; /* enough */
    assert_int_equal(net_blocking_send(f->b, &q, &a, NULL), 0);
    assert_int_equal(f->events, 2);
    f->events = 0;
    f->answer = -ECANCELED;
    assert_int_equal(net_blocking_send(f->b, &q, &a, NULL), -ECANCELED);
}

static void test_event_texts(void **state)
{
    (void)state;
    static const char text[] =
        ":comment\r\nid: 1\ndata:x\n\nevent: e\n\ndata\n\nid\ndata: a\ndata:  b\nnonsense\n\ndata: lost";
    for (size_t cut = 0; cut <= sizeof text - 1; cut++) {
        struct fixture f = {.answer = 0};
        struct net_sse sse = {.has_data = false};
        assert_int_equal(net_sse_feed(&sse, (struct a_view){text, cut}, see_event, &f), 0);
        assert_int_equal(
            net_sse_feed(&sse, (struct a_view){text + cut, sizeof text - 1 - cut}, see_event, &f), 0);
        assert_string_equal(f.seen.ptr, "1||x;1||;||a\n b;");
        net_sse_deinit(&sse);
        net_sse_deinit(&sse);
        a_buf_deinit(&f.seen);
    }
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_methods), TEST(test_errors_in_words),         TEST(test_files_go_both_ways),
        TEST(test_events),  cmocka_unit_test(test_event_texts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
