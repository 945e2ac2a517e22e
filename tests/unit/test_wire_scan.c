/* The pull reader: what it finds, what it refuses, and that skipping is reading. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "wire/scan.h"

static bool is_json(const char *text)
{
    struct wire_scan s;
    wire_scan_init(&s, a_view_str(text));
    wire_scan_skip(&s);
    return wire_scan_end(&s);
}

static void test_json(void **state)
{
    (void)state;
    static const char *const good[] = {"{}",
                                       "[]",
                                       " [ ] ",
                                       "null",
                                       "true",
                                       "false",
                                       "0",
                                       "-0.5e+10",
                                       "1E5",
                                       "\"\"",
                                       "\"a long text without any escapes in it\"",
                                       "\"\\u00e9\\n\\\\\"",
                                       "{\"a\":[1,{\"b\":null},[]],\"c\":{}}",
                                       "[[[[1]]],2]"};
    static const char *const bad[] = {"",
                                      " ",
                                      "{",
                                      "}",
                                      "[",
                                      "]",
                                      "[1,]",
                                      "{\"a\":1,}",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{a:1}",
                                      "{1:1}",
                                      "[1 2]",
                                      "01",
                                      "-",
                                      "1.",
                                      "1e",
                                      ".5",
                                      "+1",
                                      "tru",
                                      "nul",
                                      "truex",
                                      "\"",
                                      "\"\\\"",
                                      "\"\\x\"",
                                      "\"\\u12g4\"",
                                      "\"a\nb\"",
                                      "[}",
                                      "{]",
                                      "{\"a\":1]",
                                      "1 1",
                                      "{} {}",
                                      "{,}",
                                      "[,1]",
                                      "{\"a\":1 \"b\":2}",
                                      "\"0123456789abc\x01\"",
                                      "[\"a\":1]"};
    for (size_t i = 0; i < A_ARRAY_SIZE(good); i++)
        if (!is_json(good[i]))
            fail_msg("refused: %s", good[i]);
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++)
        if (is_json(bad[i]))
            fail_msg("taken: %s", bad[i]);
}

static void test_depth(void **state)
{
    (void)state;
    char text[200] = "";
    memset(text, '[', 64);
    memset(text + 64, ']', 64);
    assert_true(is_json(text));
    memset(text, '[', 65);
    memset(text + 65, ']', 65);
    assert_false(is_json(text));
}

static void test_values(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf room = {0};
    struct wire_scan s;
    struct a_view key;
    int seen = 0;
    wire_scan_init(
        &s, a_view_str("{\"skip\": [{\"x\": 1}, 2], \"n\": -42, \"t\": \"a\\u00e9\\ud83d\\ude00\\ud800\\n\", "
                       "\"b\": true, \"list\": [1, 2, 3], \"raw\": {\"a\": [1]} , \"none\": null}"));
    assert_true(wire_scan_enter(&s, WIRE_VALUE_OBJECT));
    while (wire_scan_member(&s, &key)) {
        seen++;
        if (a_view_is(key, "n")) {
            assert_int_equal(wire_scan_int(&s), -42);
        } else if (a_view_is(key, "t")) {
            struct a_view t = wire_scan_string(&s, &room);
            assert_true(a_view_is(t, "a\xc3\xa9\xf0\x9f\x98\x80\xef\xbf\xbd\n"));
        } else if (a_view_is(key, "b")) {
            assert_true(wire_scan_bool(&s));
        } else if (a_view_is(key, "list")) {
            int64_t sum = 0;
            for (wire_scan_enter(&s, WIRE_VALUE_ARRAY); wire_scan_item(&s);)
                sum += wire_scan_int(&s);
            assert_int_equal(sum, 6);
        } else if (a_view_is(key, "raw")) {
            assert_true(a_view_is(wire_scan_raw(&s), "{\"a\": [1]}"));
        } else if (a_view_is(key, "none")) {
            assert_int_equal(wire_scan_type(&s), WIRE_VALUE_NULL);
            assert_false(wire_scan_enter(&s, WIRE_VALUE_OBJECT)); /* null is read as nothing */
        } else {
            wire_scan_skip(&s);
        }
    }
    assert_true(wire_scan_end(&s));
    assert_int_equal(seen, 7);
}

/* A wrong type is a failure, and so is all that follows it. */
static void test_types(void **state)
{
    (void)state;
    static const char *const texts[] = {"\"a\"", "1.5", "1e3", "9223372036854775808",
                                        "true",  "[1]", "-",   "007"};
    for (size_t i = 0; i < A_ARRAY_SIZE(texts); i++) {
        struct wire_scan s;
        wire_scan_init(&s, a_view_str(texts[i]));
        (void)wire_scan_int(&s);
        if (wire_scan_end(&s))
            fail_msg("a whole number: %s", texts[i]);
    }
    A_BUF_AUTO struct a_buf room = {0};
    struct wire_scan s;
    struct a_view key;
    wire_scan_init(&s, a_view_str("{\"a\": \"\\u0000\", \"b\": 1}"));
    assert_true(wire_scan_enter(&s, WIRE_VALUE_OBJECT) && wire_scan_member(&s, &key));
    assert_int_equal(wire_scan_string(&s, &room).len, 0);
    assert_false(wire_scan_member(&s, &key));
    assert_false(wire_scan_end(&s));
    wire_scan_init(&s, a_view_str("-9223372036854775808"));
    assert_true(wire_scan_int(&s) == INT64_MIN && wire_scan_end(&s));
    wire_scan_init(&s, a_view_str("{\"a\": 1"));
    assert_true(wire_scan_enter(&s, WIRE_VALUE_OBJECT) && wire_scan_member(&s, &key));
    assert_int_equal(wire_scan_int(&s), 1);
    assert_false(wire_scan_end(&s)); /* it was not closed */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_types),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
