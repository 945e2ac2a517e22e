/* HTTP/1: what is understood, what is refused and how, and that it does not matter how the bytes arrive. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "wire/http1.h"

static int parse(struct wire_http_parser *p, struct a_view in, int method, struct wire_http_head *h,
                 struct wire_http_error *e)
{
    return method < 0 ? wire_http_request_parse(p, in, h, e)
                      : wire_http_response_parse(p, in, (enum wire_http_method)method, h, e);
}

static void views_same(struct a_view a, const char *base_a, struct a_view b, const char *base_b)
{
    assert_int_equal(a.len, b.len);
    if (a.len > 0 && a.ptr >= base_a && a.ptr < base_a + 100000)
        assert_int_equal(a.ptr - base_a, b.ptr - base_b);
}

/* Parses in one go; then byte by byte, each time in memory of exactly that size: the same must come out. */
static int parse_both(struct a_view in, int method, const struct wire_http_limits *limits,
                      struct wire_http_head *ret, struct wire_http_error *err)
{
    static const struct wire_http_limits none;
    struct wire_http_parser whole = {.limits = limits != NULL ? *limits : none}, pieces = whole;
    struct wire_http_error e = {0};
    static struct wire_http_head h;
    int r = parse(&whole, in, method, ret, err), again = WIRE_E_MORE;
    for (size_t n = 0; n <= in.len && again == WIRE_E_MORE; n++) {
        char *copy = a_strndup(in.ptr, n);
        again = parse(&pieces, (struct a_view){copy, n}, method, &h, &e);
        if (again == 0) {
            assert_int_equal(r, 0);
            assert_int_equal(h.n_headers, ret->n_headers);
            assert_int_equal(h.size, ret->size);
            assert_int_equal(h.size, n);
            views_same(ret->target, in.ptr, h.target, copy);
            for (size_t i = 0; i < h.n_headers; i++)
                views_same(ret->headers[i].value, in.ptr, h.headers[i].value, copy);
        }
        a_free(copy);
    }
    assert_int_equal(r, again);
    if (r != 0 && r != WIRE_E_MORE) {
        assert_int_equal(e.status, err->status);
        assert_string_equal(e.what, err->what);
    }
    return r;
}

static void test_request(void **state)
{
    (void)state;
    struct wire_http_head h;
    struct wire_http_error e;
    struct a_view in =
        A_VIEW_LIT("\r\nPOST /ocr/x?y=%20z HTTP/1.1\r\nHost: a.example:8080\r\nContent-Length:  12 \t\r\n"
                   "X-Thing: \tone \xc3\xa9 two\r\nEmpty:\r\nConnection: keep-alive, X-Thing\r\n"
                   "Expect: 100-Continue\r\n\r\nhello");
    assert_int_equal(parse_both(in, -1, NULL, &h, &e), 0);
    assert_int_equal(h.method, WIRE_HTTP_POST);
    assert_true(a_view_is(h.path, "/ocr/x?y=%20z"));
    assert_true(a_view_is(h.authority, "a.example:8080"));
    assert_int_equal(h.minor, 1);
    assert_int_equal(h.n_headers, 6);
    assert_int_equal(in.len - h.size, 5);
    assert_int_equal(h.body, WIRE_HTTP_BODY_LENGTH);
    assert_int_equal(h.content_length, 12);
    assert_true(h.keep_alive);
    assert_true(h.expect_continue);
    assert_int_equal(h.upgrade.len, 0);
    assert_true(a_view_is(wire_http_head_find(&h, "x-thing")->value, "one \xc3\xa9 two"));
    assert_int_equal(wire_http_head_find(&h, "empty")->value.len, 0);
    assert_null(wire_http_head_find(&h, "x-thin"));
    assert_ptr_equal(wire_http_head_get(&h, WIRE_HTTP_H_HOST), &h.headers[0]);
    static const bool hop[] = {false, false, true, false, true, false};
    for (size_t i = 0; i < 6; i++)
        assert_int_equal(wire_http_head_is_hop(&h, i), hop[i]);
}

/* X(request without its head's end, code, status, said). */
static const struct {
    const char *line; /* the whole head but the last CRLF */
    int code;
    unsigned status;
    const char *what;
} requests[] = {
    {"GET / HTTP/1.1\r\nHost: x\r\n", 0, 0, NULL},
    {"GET / HTTP/1.1\r\nHost:\r\n", 0, 0, NULL},
    {"GET / HTTP/1.0\r\n", 0, 0, NULL},
    {"GET / HTTP/1.9\r\nHost: x\r\n", 0, 0, NULL},
    {"BREW /pot HTTP/1.1\r\nHost: x\r\n", 0, 0, NULL},
    {"OPTIONS * HTTP/1.1\r\nHost: x\r\n", 0, 0, NULL},
    {"CONNECT x:443 HTTP/1.1\r\nHost: x:443\r\n", 0, 0, NULL},
    {"GET http://y:80/p?q HTTP/1.1\r\nHost: x\r\n", 0, 0, NULL},
    {"GET / HTTP/1.1\r\nHost: [::1]:80\r\n", 0, 0, NULL},
    /* lines */
    {"GET / HTTP/1.1\nHost: x\r\n", WIRE_E_MALFORMED, 400, "bare LF"},
    {"GET / HTTP/1.1\r\nHost: x\n", WIRE_E_MALFORMED, 400, "bare LF"},
    {"GET / HTTP/1.1\r\nHost: x\n\r\n", WIRE_E_MALFORMED, 400, "bare LF"},
    {"GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n", WIRE_E_MALFORMED, 400, "control byte"},
    {"GET / HTTP/1.1\r\nHost: x\r\nA: b\r\r\n", WIRE_E_MALFORMED, 400, "control byte"},
    {"GET /\r HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "bad character"},
    {"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "empty first line"},
    {"\nGET / HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "bare LF"},
    /* the first line */
    {"GET /\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "no target, or no version"},
    {"GET  / HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "bad character"},
    {"GET /  HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "bad character"},
    {"GET / x HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "bad character"},
    {" GET / HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "no method"},
    {"GE(T / HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "no method"},
    {"GET\t/ HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "no method"},
    {"GET /# HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "bad character"},
    {"GET /\xc3\xa9 HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "bad character"},
    {"GET x HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "not a target"},
    {"GET ftp://x/ HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "not a target"},
    {"GET http://u@x/ HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "not a target"},
    {"GET * HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "not a target"},
    {"CONNECT x HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "CONNECT"},
    {"CONNECT /x HTTP/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "CONNECT"},
    {"GET / HTTP/2.0\r\nHost: x\r\n", WIRE_E_UNSUPPORTED, 505, "not HTTP/1"},
    {"GET / http/1.1\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "no HTTP version"},
    {"GET / HTTP/1.1 \r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "no HTTP version"},
    {"GET / HTTP/1.10\r\nHost: x\r\n", WIRE_E_MALFORMED, 400, "no HTTP version"},
    /* headers */
    {"GET / HTTP/1.1\r\n", WIRE_E_MALFORMED, 400, "no Host"},
    {"GET / HTTP/1.1\r\nHost: x\r\nhost: x\r\n", WIRE_E_MALFORMED, 400, "two Host"},
    {"GET / HTTP/1.1\r\nHost: x, y\r\n", WIRE_E_MALFORMED, 400, "broken Host"},
    {"GET / HTTP/1.1\r\nHost: x/y\r\n", WIRE_E_MALFORMED, 400, "broken Host"},
    {"GET / HTTP/1.1\r\nHost: u@x\r\n", WIRE_E_MALFORMED, 400, "broken Host"},
    {"GET / HTTP/1.1\r\nHost: x:y\r\n", WIRE_E_MALFORMED, 400, "broken Host"},
    {"GET / HTTP/1.1\r\nHost: x:99999\r\n", WIRE_E_MALFORMED, 400, "broken Host"},
    {"GET / HTTP/1.1\r\nHost : x\r\n", WIRE_E_MALFORMED, 400, "space before the colon"},
    {"GET / HTTP/1.1\r\nHost: x\r\n folded\r\n", WIRE_E_MALFORMED, 400, "folded"},
    {"GET / HTTP/1.1\r\nHost: x\r\n\tfolded\r\n", WIRE_E_MALFORMED, 400, "folded"},
    {"GET / HTTP/1.1\r\n Host: x\r\n", WIRE_E_MALFORMED, 400, "folded"},
    {"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n", WIRE_E_MALFORMED, 400, "no header name"},
    {"GET / HTTP/1.1\r\nHost: x\r\nA\r\n", WIRE_E_MALFORMED, 400, "no header name"},
    {"GET / HTTP/1.1\r\nHost: x\r\nA\xc3: y\r\n", WIRE_E_MALFORMED, 400, "no header name"},
    {"GET / HTTP/1.1\r\nHost: x\r\nA: y\x7f\r\n", WIRE_E_MALFORMED, 400, "control byte"},
    {"GET / HTTP/1.1\r\nHost: x\r\nA: 1234567\x01\r\n", WIRE_E_MALFORMED, 400, "control byte"},
    {"GET / HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\n", WIRE_E_UNSUPPORTED, 417, "expectation"},
    /* framing */
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n", WIRE_E_MALFORMED, 400,
     "two Content"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 5\r\n", WIRE_E_MALFORMED, 400,
     "two Content"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5, 5\r\n", WIRE_E_MALFORMED, 400,
     "broken Content-Length"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n", WIRE_E_MALFORMED, 400, "broken Content-Length"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n", WIRE_E_MALFORMED, 400, "broken Content-Length"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n", WIRE_E_MALFORMED, 400, "broken Content-Length"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length:\r\n", WIRE_E_MALFORMED, 400, "broken Content-Length"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9223372036854775808\r\n", WIRE_E_MALFORMED, 400,
     "broken"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 18446744073709551617\r\n", WIRE_E_MALFORMED, 400,
     "broken"},
    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", WIRE_E_MALFORMED,
     400, "both"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n", WIRE_E_MALFORMED,
     400, "both"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", WIRE_E_MALFORMED,
     400, "two"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip, chunked\r\n", WIRE_E_UNSUPPORTED, 501,
     "unknown transfer"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n", WIRE_E_UNSUPPORTED, 501,
     "unknown transfer"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: identity\r\n", WIRE_E_UNSUPPORTED, 501,
     "unknown transfer"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, gzip\r\n", WIRE_E_MALFORMED, 400,
     "broken Transfer"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, chunked\r\n", WIRE_E_MALFORMED, 400,
     "broken Transfer"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \"chunked\"\r\n", WIRE_E_MALFORMED, 400,
     "broken Transfer"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked;a=b\r\n", WIRE_E_MALFORMED, 400,
     "broken Transfer"},
    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \vchunked\r\n", WIRE_E_MALFORMED, 400, "control byte"},
    {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n", WIRE_E_MALFORMED, 400, "HTTP/1.0"},
    {"TRACE / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n", WIRE_E_MALFORMED, 400, "a body where none"},
};

static void test_requests(void **state)
{
    (void)state;
    for (size_t i = 0; i < A_ARRAY_SIZE(requests); i++) {
        A_BUF_AUTO struct a_buf in = {0};
        struct wire_http_head h;
        struct wire_http_error e = {0};
        a_buf_addf(&in, "%s\r\n", requests[i].line);
        int r = parse_both(a_buf_view(&in), -1, NULL, &h, &e);
        bool said = requests[i].what == NULL || (r != 0 && strstr(e.what, requests[i].what) != NULL);
        if (r != requests[i].code || (r != 0 && e.status != requests[i].status) || !said)
            fail_msg("%s: %d, %u %s", requests[i].line, r, e.status, e.what);
    }
    /* a NUL anywhere */
    static const char nul[] = "GET / HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n";
    struct wire_http_head h;
    struct wire_http_error e;
    assert_int_equal(parse_both((struct a_view){nul, sizeof nul - 1}, -1, NULL, &h, &e), WIRE_E_MALFORMED);
}

static void test_request_facts(void **state)
{
    (void)state;
    struct wire_http_head h;
    struct wire_http_error e;
#define REQUEST(text) assert_int_equal(parse_both(A_VIEW_LIT(text "\r\n"), -1, NULL, &h, &e), 0)
    REQUEST("GET http://y:80/p?q HTTP/1.1\r\nHost: x\r\nConnection: Close\r\n");
    assert_true(a_view_is(h.authority, "y:80"));
    assert_true(a_view_is(h.path, "/p?q"));
    assert_false(h.keep_alive);
    REQUEST("GET http://y HTTP/1.1\r\nHost: x\r\n");
    assert_true(a_view_is(h.path, "/"));
    REQUEST("GET / HTTP/1.0\r\n");
    assert_false(h.keep_alive);
    REQUEST("GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n");
    assert_true(h.keep_alive);
    assert_false(h.expect_continue);
    REQUEST("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n");
    assert_int_equal(h.body, WIRE_HTTP_BODY_CHUNKED);
    REQUEST("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n");
    assert_int_equal(h.body, WIRE_HTTP_BODY_NONE);
    assert_true(h.has_content_length);
    REQUEST("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n");
    assert_true(a_view_is(h.upgrade, "websocket"));
    REQUEST("GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n");
    assert_int_equal(h.upgrade.len, 0);
    REQUEST("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: host, content-length, "
            "date\r\nDate: x\r\n");
    assert_false(wire_http_head_is_hop(&h, 0));
    assert_false(wire_http_head_is_hop(&h, 1));
    assert_true(wire_http_head_is_hop(&h, 2));
    assert_true(wire_http_head_is_hop(&h, 3));
}

static void test_responses(void **state)
{
    (void)state;
    static const struct {
        const char *head;
        enum wire_http_method method;
        int code;
        enum wire_http_body body;
        bool keep_alive;
    } cases[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", WIRE_HTTP_GET, 0, WIRE_HTTP_BODY_LENGTH, true},
        {"HTTP/1.1 200\r\nContent-Length: 0\r\n", WIRE_HTTP_GET, 0, WIRE_HTTP_BODY_NONE, true},
        {"HTTP/1.1 200 \r\nTransfer-Encoding: chunked\r\n", WIRE_HTTP_GET, 0, WIRE_HTTP_BODY_CHUNKED, true},
        {"HTTP/1.1 200 OK\r\n", WIRE_HTTP_GET, 0, WIRE_HTTP_BODY_CLOSE, false},
        {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n", WIRE_HTTP_GET, 0, WIRE_HTTP_BODY_LENGTH, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n", WIRE_HTTP_HEAD, 0, WIRE_HTTP_BODY_NONE, true},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", WIRE_HTTP_HEAD, 0, WIRE_HTTP_BODY_NONE, true},
        {"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n", WIRE_HTTP_GET, 0, WIRE_HTTP_BODY_NONE, true},
        {"HTTP/1.1 204 No Content\r\n", WIRE_HTTP_GET, 0, WIRE_HTTP_BODY_NONE, true},
        {"HTTP/1.1 100 Continue\r\n", WIRE_HTTP_POST, 0, WIRE_HTTP_BODY_NONE, true},
        {"HTTP/1.1 101 Switching Protocols\r\n", WIRE_HTTP_GET, 0, WIRE_HTTP_BODY_TUNNEL, false},
        {"HTTP/1.1 200 OK\r\n", WIRE_HTTP_CONNECT, 0, WIRE_HTTP_BODY_TUNNEL, false},
        {"HTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n", WIRE_HTTP_CONNECT, 0, WIRE_HTTP_BODY_LENGTH,
         true},
        {"HTTP/1.1 099 X\r\n", WIRE_HTTP_GET, WIRE_E_MALFORMED, 0, false},
        {"HTTP/1.1 600 X\r\n", WIRE_HTTP_GET, WIRE_E_MALFORMED, 0, false},
        {"HTTP/1.1 20 OK\r\n", WIRE_HTTP_GET, WIRE_E_MALFORMED, 0, false},
        {"HTTP/1.1  200 OK\r\n", WIRE_HTTP_GET, WIRE_E_MALFORMED, 0, false},
        {"HTTP/1.1 2000\r\n", WIRE_HTTP_GET, WIRE_E_MALFORMED, 0, false},
        {"HTTP/2.0 200 OK\r\n", WIRE_HTTP_GET, WIRE_E_UNSUPPORTED, 0, false},
        {"ICY 200 OK\r\n", WIRE_HTTP_GET, WIRE_E_MALFORMED, 0, false},
        {"\r\nHTTP/1.1 200 OK\r\n", WIRE_HTTP_GET, WIRE_E_MALFORMED, 0, false},
        {"HTTP/1.1 200 O\vK\r\n", WIRE_HTTP_GET, WIRE_E_MALFORMED, 0, false},
        {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n", WIRE_HTTP_GET,
         WIRE_E_MALFORMED, 0, false},
        {"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n", WIRE_HTTP_GET, WIRE_E_UNSUPPORTED, 0, false},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        A_BUF_AUTO struct a_buf in = {0};
        struct wire_http_head h;
        struct wire_http_error e = {0};
        a_buf_addf(&in, "%s\r\n", cases[i].head);
        int r = parse_both(a_buf_view(&in), cases[i].method, NULL, &h, &e);
        if (r != cases[i].code ||
            (r == 0 && (h.body != cases[i].body || h.keep_alive != cases[i].keep_alive)))
            fail_msg("%s: %d (%s), body %d, keep %d", cases[i].head, r, r != 0 ? e.what : "", h.body,
                     h.keep_alive);
    }
}

/* Each limit is met exactly, and one more is refused with its own status. */
static void test_limits(void **state)
{
    (void)state;
    static const char head[] = "GET /123 HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
    struct a_view in = {head, sizeof head - 1};
    struct wire_http_head h;
    struct wire_http_error e;
    struct wire_http_limits l = {.head_bytes = in.len, .line_bytes = 19, .headers = 2};
    assert_int_equal(parse_both(in, -1, &l, &h, &e), 0);
    l.line_bytes = 18;
    assert_int_equal(parse_both(in, -1, &l, &h, &e), WIRE_E_TOO_LARGE);
    assert_int_equal(e.status, 414);
    l = (struct wire_http_limits){.head_bytes = in.len - 1};
    assert_int_equal(parse_both(in, -1, &l, &h, &e), WIRE_E_TOO_LARGE);
    assert_int_equal(e.status, 431);
    l = (struct wire_http_limits){.headers = 1};
    assert_int_equal(parse_both(in, -1, &l, &h, &e), WIRE_E_TOO_LARGE);
    assert_int_equal(e.status, 431);

    A_BUF_AUTO struct a_buf many = {0};
    a_buf_add_str(&many, "GET / HTTP/1.1\r\nHost: x\r\n");
    for (int i = 1; i < 101; i++)
        a_buf_addf(&many, "H%d: x\r\n", i);
    struct wire_http_parser p = {0};
    assert_int_equal(wire_http_request_parse(&p, a_buf_view(&many), &h, &e), WIRE_E_TOO_LARGE);
    A_BUF_AUTO struct a_buf large = {0};
    a_buf_add_str(&large, "GET /");
    while (large.len < WIRE_HTTP_HEAD_MAX)
        a_buf_add_char(&large, 'x');
    p = (struct wire_http_parser){0};
    assert_int_equal(wire_http_request_parse(&p, a_buf_view(&large), &h, &e), WIRE_E_TOO_LARGE);
    assert_int_equal(e.status, 414);
}

/* One parser, several requests in one buffer. */
static void test_pipeline(void **state)
{
    (void)state;
    struct a_view in =
        A_VIEW_LIT("GET /1 HTTP/1.1\r\nHost: x\r\n\r\nGET /22 HTTP/1.1\r\nHost: x\r\n\r\nGET /3");
    struct wire_http_parser p = {0};
    struct wire_http_head h;
    assert_int_equal(wire_http_request_parse(&p, in, &h, NULL), 0);
    in = (struct a_view){in.ptr + h.size, in.len - h.size};
    assert_int_equal(wire_http_request_parse(&p, in, &h, NULL), 0);
    assert_true(a_view_is(h.path, "/22"));
    in = (struct a_view){in.ptr + h.size, in.len - h.size};
    assert_int_equal(wire_http_request_parse(&p, in, &h, NULL), WIRE_E_MORE);
}

/* Decodes `in` in pieces of `step` bytes; returns the last code. */
static int body_decode(struct wire_http_decoder *d, struct a_view in, size_t step, struct a_buf *ret_body,
                       size_t *ret_used)
{
    size_t at = 0;
    int r = WIRE_E_MORE;
    for (size_t end = A_MIN(step, in.len); !d->done; end = A_MIN(end + step, in.len)) {
        do {
            size_t used;
            struct a_view data;
            r = wire_http_decoder_step(d, (struct a_view){in.ptr + at, end - at}, &used, &data);
            if (r != 0 && r != WIRE_E_MORE)
                return r;
            a_buf_add_view(ret_body, data);
            at += used;
        } while (r == 0 && !d->done);
        if (end == in.len && r == WIRE_E_MORE)
            break;
    }
    *ret_used = at;
    return r;
}

static const struct {
    const char *in;
    int code;
    const char *body; /* what it says when it is refused */
} chunked[] = {
    {"0\r\n\r\n", 0, ""},
    {"5\r\nhello\r\n0\r\n\r\n", 0, "hello"},
    {"5\r\nhello\r\n00000A;x=\"y z\"\r\n, wide wor\r\n2\r\nld\r\n000\r\nT: v\r\nU:\r\n\r\n", 0,
     "hello, wide world"},
    {"1 ;x\r\na\r\n0\r\n\r\n", 0, "a"},
    {"5\r\nhel", WIRE_E_MORE, NULL},
    {"", WIRE_E_MORE, NULL},
    {"0\r\n\r", WIRE_E_MORE, NULL},
    {"\r\n", WIRE_E_MALFORMED, "without a size"},
    {"5\nhello\r\n0\r\n\r\n", WIRE_E_MALFORMED, "bad character"},
    {"5\r\nhello\n0\r\n\r\n", WIRE_E_MALFORMED, "longer than its size"},
    {"5\r\nhelloo\r\n0\r\n\r\n", WIRE_E_MALFORMED, "longer than its size"},
    {"5\rhello\r\n", WIRE_E_MALFORMED, "bare CR"},
    {"5 \r\nhello\r\n", WIRE_E_MALFORMED, "bad character"},
    {" 5\r\nhello\r\n", WIRE_E_MALFORMED, "without a size"},
    {"+5\r\nhello\r\n", WIRE_E_MALFORMED, "without a size"},
    {"0x5\r\nhello\r\n", WIRE_E_MALFORMED, "bad character"},
    {"5;a\nb\r\nhello\r\n", WIRE_E_MALFORMED, "bad character"},
    {"5;a\rb\r\nhello\r\n", WIRE_E_MALFORMED, "bare CR"},
    {"8000000000000000\r\n", WIRE_E_TOO_LARGE, "too large"},
    {"10000000000000000\r\n", WIRE_E_TOO_LARGE, "too large"},
    {"00000000000000005\r\n", WIRE_E_TOO_LARGE, "too large"},
    {"0\r\nT : v\r\n\r\n", WIRE_E_MALFORMED, "broken trailer"},
    {"0\r\n folded\r\n\r\n", WIRE_E_MALFORMED, "broken trailer"},
    {"0\r\nT\r\n\r\n", WIRE_E_MALFORMED, "broken trailer"},
    {"0\r\nT: a\nb\r\n\r\n", WIRE_E_MALFORMED, "broken trailer"},
    {"0\r\n\n", WIRE_E_MALFORMED, "broken trailer"},
    {"0\r\n\rx", WIRE_E_MALFORMED, "bare CR"},
};

static void test_chunked(void **state)
{
    (void)state;
    struct wire_http_head h = {.body = WIRE_HTTP_BODY_CHUNKED};
    for (size_t i = 0; i < A_ARRAY_SIZE(chunked); i++) {
        for (size_t step = 1; step <= strlen(chunked[i].in) + 1; step++) {
            A_BUF_AUTO struct a_buf in = {0}, body = {0};
            struct wire_http_decoder d;
            size_t used = 0;
            a_buf_add_str(&in, chunked[i].in);
            if (chunked[i].code == 0)
                a_buf_add_str(&in, "GET "); /* the next message is not touched */
            wire_http_decoder_init(&d, &h);
            int r = body_decode(&d, a_buf_view(&in), step, &body, &used);
            if (r != chunked[i].code)
                fail_msg("%s: %d in steps of %zu: %s", chunked[i].in, r, step, d.what != NULL ? d.what : "");
            if (r == 0) {
                assert_true(a_view_is(a_buf_view(&body), chunked[i].body));
                assert_int_equal(in.len - used, 4);
            } else if (r == WIRE_E_MORE) {
                assert_int_equal(wire_http_decoder_eof(&d), WIRE_E_MALFORMED);
            } else {
                assert_non_null(strstr(d.what, chunked[i].body));
            }
        }
    }
}

static void test_chunked_limits(void **state)
{
    (void)state;
    struct wire_http_head h = {.body = WIRE_HTTP_BODY_CHUNKED};
    struct wire_http_decoder d;
    size_t used = 0;
    A_BUF_AUTO struct a_buf line = {0}, many = {0}, trailers = {0}, body = {0};
    a_buf_add_str(&line, "1;");
    while (line.len < WIRE_HTTP_CHUNK_LINE_MAX + 1)
        a_buf_add_char(&line, 'x');
    wire_http_decoder_init(&d, &h);
    assert_int_equal(body_decode(&d, a_buf_view(&line), 1000, &body, &used), WIRE_E_TOO_LARGE);
    for (int i = 0; i < 3000; i++)
        a_buf_add_str(&many, "1;abcdef\r\nx\r\n");
    wire_http_decoder_init(&d, &h);
    assert_int_equal(body_decode(&d, a_buf_view(&many), 100000, &body, &used), WIRE_E_TOO_LARGE);
    assert_string_equal(d.what, "chunk extensions are too long");
    a_buf_add_str(&trailers, "0\r\n");
    while (trailers.len < WIRE_HTTP_TRAILERS_MAX + 16)
        a_buf_add_str(&trailers, "A: b\r\n");
    wire_http_decoder_init(&d, &h);
    assert_int_equal(body_decode(&d, a_buf_view(&trailers), 100000, &body, &used), WIRE_E_TOO_LARGE);
}

static void test_other_bodies(void **state)
{
    (void)state;
    struct wire_http_decoder d;
    size_t used;
    A_BUF_AUTO struct a_buf body = {0};
    struct wire_http_head length = {.body = WIRE_HTTP_BODY_LENGTH, .content_length = 3};
    wire_http_decoder_init(&d, &length);
    assert_int_equal(body_decode(&d, A_VIEW_LIT("abcGET"), 2, &body, &used), 0);
    assert_string_equal(body.ptr, "abc");
    assert_int_equal(used, 3);
    wire_http_decoder_init(&d, &length);
    assert_int_equal(body_decode(&d, A_VIEW_LIT("ab"), 2, &body, &used), WIRE_E_MORE);
    assert_int_equal(wire_http_decoder_eof(&d), WIRE_E_MALFORMED);
    struct wire_http_head close = {.body = WIRE_HTTP_BODY_CLOSE}, none = {.body = WIRE_HTTP_BODY_NONE};
    wire_http_decoder_init(&d, &close);
    assert_int_equal(body_decode(&d, A_VIEW_LIT("ab"), 1, &body, &used), WIRE_E_MORE);
    assert_int_equal(wire_http_decoder_eof(&d), 0);
    wire_http_decoder_init(&d, &none);
    assert_true(d.done);
    assert_int_equal(wire_http_decoder_eof(&d), 0);
}

/* What is written as chunks is read as the same bytes. */
static void test_chunk_header(void **state)
{
    (void)state;
    static const struct {
        uint64_t len;
        const char *text;
    } cases[] = {{1, "1\r\n"},
                 {15, "f\r\n"},
                 {16, "10\r\n"},
                 {0xabc0, "abc0\r\n"},
                 {UINT64_MAX, "ffffffffffffffff\r\n"}};
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        char out[WIRE_HTTP_CHUNK_HEADER_MAX];
        size_t n = wire_http_chunk_header(out, cases[i].len);
        assert_true(a_view_is((struct a_view){out, n}, cases[i].text));
    }
}

static void test_write(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    wire_http_write_request(&b, A_VIEW_LIT("GET"), A_VIEW_LIT("/x"));
    assert_true(wire_http_write_header_str(&b, "host", "x"));
    assert_true(wire_http_write_header_str(&b, "empty", ""));
    assert_false(wire_http_write_header_str(&b, "evil", "x\r\nInjected: y"));
    assert_false(wire_http_write_header_str(&b, "evil", "x\ny"));
    assert_false(wire_http_write_header_str(&b, "evil:", "x"));
    assert_false(wire_http_write_header_str(&b, "", "x"));
    assert_false(wire_http_write_header(&b, A_VIEW_LIT("evil"), (struct a_view){"a\0b", 3}));
    wire_http_write_length(&b, 7);
    wire_http_write_end(&b);
    assert_string_equal(b.ptr, "GET /x HTTP/1.1\r\nhost: x\r\nempty: \r\ncontent-length: 7\r\n\r\n");
    a_buf_reset(&b);
    wire_http_write_status(&b, 404);
    assert_string_equal(b.ptr, "HTTP/1.1 404 Not Found\r\n");
    assert_string_equal(wire_http_status_text(299), "Unknown");
}

static void test_names(void **state)
{
    (void)state;
#define X(name, text, hop)                                                                                   \
    assert_int_equal(wire_http_known_find(A_VIEW_LIT(text)), WIRE_HTTP_H_##name);                            \
    assert_int_equal(wire_http_known_find((struct a_view){text, sizeof(text) - 2}), WIRE_HTTP_H_OTHER);
    WIRE_HTTP_KNOWN(X)
#undef X
    assert_int_equal(wire_http_known_find(A_VIEW_LIT("CONTENT-Length")), WIRE_HTTP_H_CONTENT_LENGTH);
    assert_int_equal(wire_http_method_parse(A_VIEW_LIT("get")), WIRE_HTTP_OTHER);
    assert_int_equal(wire_http_method_parse(A_VIEW_LIT("PATCH")), WIRE_HTTP_PATCH);
    assert_false(wire_http_method_idempotent(WIRE_HTTP_POST));
    assert_true(wire_http_method_idempotent(WIRE_HTTP_PUT));
    assert_true(wire_http_list_has(A_VIEW_LIT("a, Close ,b"), "close"));
    assert_false(wire_http_list_has(A_VIEW_LIT("closed, a close"), "close"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_request),       cmocka_unit_test(test_requests),
        cmocka_unit_test(test_request_facts), cmocka_unit_test(test_responses),
        cmocka_unit_test(test_limits),        cmocka_unit_test(test_pipeline),
        cmocka_unit_test(test_chunked),       cmocka_unit_test(test_chunked_limits),
        cmocka_unit_test(test_other_bodies),  cmocka_unit_test(test_chunk_header),
        cmocka_unit_test(test_write),         cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
