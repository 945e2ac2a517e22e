/* URLs: decoding, paths that mean the same to every hop, queries, hosts and ports. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/url.h"

static void test_decode(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct a_view v = {0};
    assert_true(wire_url_decode(A_VIEW_LIT("plain+x"), false, &arena, &v) && a_view_is(v, "plain+x"));
    assert_true(wire_url_decode(A_VIEW_LIT("a%20b%2fC%C3%a9"), false, &arena, &v) &&
                a_view_is(v, "a b/C\xc3\xa9"));
    assert_true(wire_url_decode(A_VIEW_LIT("a+b"), true, &arena, &v) && a_view_is(v, "a b"));
    static const char *const bad[] = {"%", "%1", "a%g0", "%0g", "%00", "x%"};
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++)
        assert_false(wire_url_decode(a_view_str(bad[i]), false, &arena, &v));
    A_BUF_AUTO struct a_buf b = {0};
    wire_url_encode(&b, A_VIEW_LIT("a b/\xc3\xa9~%"), false);
    assert_string_equal(b.ptr, "a%20b%2F%C3%A9~%25");
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const plain[] = {"/",    "/a",  "/a/b/", "/a//b",     "/a%20b",
                                        "/...", "/.a", "/a..b", "/%2e%2e%2e"};
    static const char *const tricky[] = {
        "",      "a",     "/a/..", "/../a", "/./a", "/a/.", "/%2e%2E/a", "/.%2e", "/a%2fb", "/a%5Cb",
        "/a\\b", "/a%00", "/a%0",  "/a%zz", "/a b", "/a?b", "/a#b",      "/%2e",  "/a\n",   "/\xc3\xa9"};
    for (size_t i = 0; i < A_ARRAY_SIZE(plain); i++)
        if (!wire_url_path_is_plain(a_view_str(plain[i])))
            fail_msg("%s is plain", plain[i]);
    for (size_t i = 0; i < A_ARRAY_SIZE(tricky); i++)
        if (wire_url_path_is_plain(a_view_str(tricky[i])))
            fail_msg("%s is not plain", tricky[i]);
    struct a_view path = A_VIEW_LIT("/v1/apps/"), s;
    assert_true(wire_url_segment(&path, &s) && a_view_is(s, "v1"));
    assert_true(wire_url_segment(&path, &s) && a_view_is(s, "apps"));
    assert_true(wire_url_segment(&path, &s) && a_view_is(s, ""));
    assert_false(wire_url_segment(&path, &s));
}

static void test_prefix(void **state)
{
    (void)state;
    static const struct {
        const char *prefix, *path;
        bool covers;
    } cases[] = {{"/ocr", "/ocr", true},   {"/ocr", "/ocr/x", true}, {"/ocr", "/ocr?x", true},
                 {"/ocr", "/ocrx", false}, {"/ocr/", "/ocr", true},  {"/", "/x", true},
                 {"", "/x", true},         {"/ocr", "/oc", false},   {"/a/b", "/a", false},
                 {"/", "/", true}};
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++)
        if (wire_url_prefix_covers(a_view_str(cases[i].prefix), a_view_str(cases[i].path)) != cases[i].covers)
            fail_msg("%s %s", cases[i].prefix, cases[i].path);
}

static void test_query(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct a_view query, v = {0};
    assert_true(a_view_is(wire_url_path(A_VIEW_LIT("/a?b=c?d"), &query), "/a"));
    assert_true(a_view_is(query, "b=c?d"));
    query = A_VIEW_LIT("&a=1&watch&b%20c=x+y%26&a=2&e=");
    assert_true(wire_url_query_get(query, "a", &arena, &v) && a_view_is(v, "1"));
    assert_true(wire_url_query_get(query, "watch", &arena, &v) && v.len == 0);
    assert_true(wire_url_query_get(query, "b c", &arena, &v) && a_view_is(v, "x y&"));
    assert_true(wire_url_query_get(query, "e", &arena, &v) && v.len == 0);
    assert_false(wire_url_query_get(query, "x", &arena, &v));
    assert_false(wire_url_query_get(A_VIEW_LIT("a=%"), "a", &arena, &v));
}

static void test_host_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port;
    } good[] = {{"a", "a", 7},
                {"a.b-c:80", "a.b-c", 80},
                {"1.2.3.4:0", "1.2.3.4", 0},
                {"[::1]", "::1", 7},
                {"[::1]:65535", "::1", 65535}};
    static const char *const bad[] = {"",       ":80",    "a:",      "a:b",    "a:65536", "a:123456",
                                      "[::1",   "[::1]x", "[::1]80", "a b",    "u@a:1",   "a,b:1",
                                      "a%2e:1", "[]:1",   "[abc]:1", "::1:80", "a/b",     "[::g]"};
    struct a_view host;
    uint16_t port;
    for (size_t i = 0; i < A_ARRAY_SIZE(good); i++) {
        assert_true(wire_url_host_port(a_view_str(good[i].text), 7, &host, &port));
        assert_true(a_view_is(host, good[i].host));
        assert_int_equal(port, good[i].port);
    }
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++)
        if (wire_url_host_port(a_view_str(bad[i]), 7, &host, &port))
            fail_msg("%s", bad[i]);
}

static void test_url(void **state)
{
    (void)state;
    struct wire_url url;
    assert_true(wire_url_parse(A_VIEW_LIT("https://a.b/c?d"), &url));
    assert_true(url.tls && url.port == 443 && a_view_is(url.host, "a.b") && a_view_is(url.path, "/c?d"));
    assert_true(wire_url_parse(A_VIEW_LIT("http://[::1]:7700"), &url));
    assert_true(!url.tls && url.port == 7700 && a_view_is(url.host, "::1") && a_view_is(url.path, "/"));
    static const char *const bad[] = {
        "", "http://", "http:///x", "ftp://a/", "http://u@a/", "http://a/#x", "http://a?x", "http://a/ b"};
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++)
        assert_false(wire_url_parse(a_view_str(bad[i]), &url));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode), cmocka_unit_test(test_paths),     cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_query),  cmocka_unit_test(test_host_port), cmocka_unit_test(test_url),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
