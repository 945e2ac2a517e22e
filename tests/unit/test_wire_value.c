/* Value trees: what JSON and YAML texts become, where they come from, what is refused, how they are printed.
 */
#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "wire/schema.h"
#include "wire/value.h"

typedef int parse_fn(struct a_arena *arena, struct a_view text, const char *name,
                     const struct wire_value_limits *limits, struct wire_value **ret, struct a_error *reterr);

/* Compact JSON of what the text says. */
static void says(parse_fn *parse, const char *text, const char *json)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error err = {0};
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *v;
    if (parse(&arena, a_view_str(text), "f", NULL, &v, &err) != 0)
        fail_msg("%s: %s", text, a_error_text(&err));
    wire_json_print(&b, v, 0);
    if (strcmp(b.ptr, json) != 0)
        fail_msg("%s: %s, not %s", text, b.ptr, json);
}

static void refuses(parse_fn *parse, struct a_view text, int code, const char *message)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error err = {0};
    struct wire_value *v = NULL;
    int r = parse(&arena, text, "f", NULL, &v, &err);
    if (r != code || strstr(a_error_text(&err), message) == NULL)
        fail_msg(A_VIEW_FMT ": %d (%s), not %d (%s)", A_VIEW_ARG(text), r, a_error_text(&err), code, message);
    assert_null(v);
    assert_int_equal(err.code, code == -E2BIG ? A_CODE_TOO_LARGE : A_CODE_INVALID);
}

static void test_json(void **state)
{
    (void)state;
    says(wire_json_parse, " {\"a\" : [1, -2.50, true, null, \"x\\u00e9\\n\"], \"b\":{}, \"\": []} ",
         "{\"a\":[1,-2.5,true,null,\"x\xc3\xa9\\n\"],\"b\":{},\"\":[]}");
    says(wire_json_parse, "\"top\"", "\"top\"");
    says(wire_json_parse, "9223372036854775807", "9223372036854775807");
    says(wire_json_parse, "[1.0, 1e3, 0.1, 1e-7, 123456789.125, 1.7976931348623157e308, -0.0]",
         "[1.0,1000.0,0.1,1e-7,123456789.125,1.7976931348623157e308,-0.0]");
    refuses(wire_json_parse, A_VIEW_LIT("{\"a\":1,\n \"a\":2}"), -EINVAL, "f:2:");
    refuses(wire_json_parse, A_VIEW_LIT(""), -EINVAL, "f:1:");
    refuses(wire_json_parse, A_VIEW_LIT("{} x"), -EINVAL, "end of file expected");
    refuses(wire_json_parse, A_VIEW_LIT("[1,]"), -EINVAL, "f:1:");
    refuses(wire_json_parse, A_VIEW_LIT("9223372036854775808"), -EINVAL, "too big integer");
    refuses(wire_json_parse, A_VIEW_LIT("1e999"), -EINVAL, "real number overflow");
    refuses(wire_json_parse, A_VIEW_LIT("\"a\\u0000\""), -EINVAL, "\\u0000");
    refuses(wire_json_parse, A_VIEW_LIT("\"\xff\""), -EINVAL, "f:1:1: unable to decode");
    refuses(wire_json_parse, A_VIEW_LIT("01"), -EINVAL, "f:1:");
    refuses(wire_json_parse, A_VIEW_LIT("NaN"), -EINVAL, "f:1:");
}

static void test_yaml_scalars(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "null"},
        {"# nothing", "null"},
        {"~", "null"},
        {"Null", "null"},
        {"nULL", "\"nULL\""},
        {"true", "true"},
        {"FALSE", "false"},
        {"yes", "\"yes\""},
        {"on", "\"on\""},
        {"No", "\"No\""},
        {"12", "12"},
        {"-12", "-12"},
        {"+12", "12"},
        {"0012", "12"},
        {"0o17", "15"},
        {"0x1F", "31"},
        {"0b1", "\"0b1\""},
        {"0x", "\"0x\""},
        {"1_000", "\"1_000\""},
        {"1.5", "1.5"},
        {".5", "0.5"},
        {"5.", "5.0"},
        {"-.5e-3", "-0.0005"},
        {"1e3", "1000.0"},
        {"+1.E+2", "100.0"},
        {"00.50", "0.5"},
        {"1.2.3", "\"1.2.3\""},
        {".", "\".\""},
        {"-", "[null]"},
        {"1e", "\"1e\""},
        {"2Gi", "\"2Gi\""},
        {"1:30", "\"1:30\""},
        {"\"12\"", "\"12\""},
        {"'true'", "\"true\""},
        {"\"\"", "\"\""},
        {"2001-01-01", "\"2001-01-01\""},
        {"|\n a\n b\n", "\"a\\nb\\n\""},
        {">-\n a\n b\n", "\"a b\""},
        {"-9223372036854775808", "-9223372036854775808"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++)
        says(wire_yaml_parse, cases[i][0], cases[i][1]);
}

static void test_yaml(void **state)
{
    (void)state;
    says(wire_yaml_parse, "a: 1\nb:\n- x\n- {c: [], d: }\n1: one\n\"k\": 'v'\n",
         "{\"a\":1,\"b\":[\"x\",{\"c\":[],\"d\":null}],\"1\":\"one\",\"k\":\"v\"}");
    says(wire_yaml_parse, "%YAML 1.2\n---\na: b # c\r\n...\n", "{\"a\":\"b\"}");
    says(wire_yaml_parse, "{\n\t\"a\": [1, 2.0,\n\t\"\\u00e9\\/\"], \"b\": {}}",
         "{\"a\":[1,2.0,\"\xc3\xa9/\"],\"b\":{}}");
}

static void test_yaml_refusals(void **state)
{
    (void)state;
    refuses(wire_yaml_parse, A_VIEW_LIT("a: 1\nb: 2\na: 3\n"), -EINVAL, "f:3:1: \"a\" is here twice");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: {b: 1, 'b': 2}"), -EINVAL, "f:1:11: \"b\" is here twice");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: &x 1\nb: *x\n"), -EINVAL, "f:1:");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: &x 1\n"), -EINVAL, "anchors");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: &x [1]\n"), -EINVAL, "anchors");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: !!str 1\n"), -EINVAL, "tags");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: !x {b: 1}\n"), -EINVAL, "tags");
    refuses(wire_yaml_parse, A_VIEW_LIT("<<: {a: 1}\n"), -EINVAL, "merge keys");
    refuses(wire_yaml_parse, A_VIEW_LIT("? [a]\n: b\n"), -EINVAL, "a name must be a text");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: 1\n---\nb: 2\n"), -EINVAL, "a second document");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: .inf\n"), -EINVAL, "f:1:4: infinities");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: .NaN\n"), -EINVAL, "infinities");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: 9223372036854775808\n"), -EINVAL,
            "f:1:4: a number beyond 64 bits");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: 0x8000000000000000\n"), -EINVAL, "a number beyond 64 bits");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: 1e999\n"), -EINVAL, "a number beyond 64 bits");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: \"x\\0y\"\n"), -EINVAL, "a zero byte");
    refuses(wire_yaml_parse, A_VIEW_LIT("? \n: x\n"), -EINVAL, "f:1:2: a name is missing");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: [1, 2\nb: 3\n"), -EINVAL, "f:");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: b: c\n"), -EINVAL, "f:1:");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: \"\xff\"\n"), -EINVAL, "f:1:1: not UTF-8");
    refuses(wire_yaml_parse, A_VIEW_LIT("a:\n\tb: 1\n"), -EINVAL, "f:2:");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: b\nc: \x01\n"), -EINVAL, "f:2:4: a control byte");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: \"x\xe2\x80\xa8y\"\n"), -EINVAL, "f:1:6: a line separator");
    refuses(wire_yaml_parse, A_VIEW_LIT("a: b\rc: d\n"), -EINVAL, "f:1:5: a control byte");
}

/* The laughs: refused at their first anchor, whatever they would expand to. */
static void test_laughs(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_add_str(&b, "a0: &a0 [lol, lol]\n");
    for (int i = 1; i < 60; i++)
        a_buf_addf(&b, "a%d: &a%d [*a%d, *a%d]\n", i, i, i - 1, i - 1);
    refuses(wire_yaml_parse, a_buf_view(&b), -EINVAL, "f:1:5: anchors");
}

static void test_positions(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *v;
    static const char text[] = "a: 1\nspec:\n  workers:\n  - name: gpu\n    cpu:\n  -   \"x\"\n";
    assert_int_equal(wire_yaml_parse(&arena, A_VIEW_LIT(text), "f", NULL, &v, NULL), 0);
    const struct wire_value *name = wire_value_path(v, "spec.workers.0.name");
    assert_string_equal(wire_value_string(name, ""), "gpu");
    assert_int_equal(name->line, 4);
    assert_int_equal(name->column, 11);
    assert_int_equal(name->key_line, 4);
    assert_int_equal(name->key_column, 5);
    const struct wire_value *x = wire_value_path(v, "spec.workers.1");
    assert_int_equal(x->line, 6);
    assert_int_equal(x->column, 7);
    const struct wire_value *cpu = wire_value_path(v, "spec.workers.0.cpu");
    assert_true(wire_value_is_null(cpu));
    assert_int_equal(cpu->key_line, 5);
    assert_int_equal(cpu->line, 5);
    assert_null(wire_value_path(v, "spec.workers.2"));
    assert_null(wire_value_path(v, "spec.workers.x"));
    assert_null(wire_value_path(v, "a.b"));
}

/* Each limit is met exactly; one more is refused, in either language. */
static void test_limits(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        struct wire_value_limits fits, fails;
    } cases[] = {
        {"[[1,2],{\"a\":[]},[]]", {.nodes = 7}, {.nodes = 6}},
        {"[[1,2],{\"a\":[]},[]]", {.depth = 3}, {.depth = 2}},
        {"[[1,2],{\"a\":[]},[]]", {.bytes = 19}, {.bytes = 18}},
        {"{\"a,[\":\"[[[,,,\\\"[\"}", {.nodes = 2, .depth = 1}, {.nodes = 1}},
    };
    parse_fn *const both[] = {wire_json_parse, wire_yaml_parse};
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        for (size_t k = 0; k < 2; k++) {
            A_ARENA_AUTO struct a_arena arena = {0};
            struct wire_value *v;
            assert_int_equal(both[k](&arena, a_view_str(cases[i].text), NULL, &cases[i].fits, &v, NULL), 0);
            assert_int_equal(both[k](&arena, a_view_str(cases[i].text), NULL, &cases[i].fails, &v, NULL),
                             -E2BIG);
        }
    }
    A_BUF_AUTO struct a_buf deep = {0};
    for (int i = 0; i < 100000; i++)
        a_buf_add_char(&deep, '[');
    refuses(wire_json_parse, a_buf_view(&deep), -E2BIG, "f: more than 64 levels");
    refuses(wire_yaml_parse, a_buf_view(&deep), -E2BIG, "f:1:65: more than 64 levels");
    struct a_arena small = {.limit = 200};
    struct wire_value *v;
    assert_int_equal(wire_json_parse(&small, A_VIEW_LIT("[1,2,3,4,5,6]"), NULL, NULL, &v, NULL), -ENOMEM);
    assert_int_equal(wire_yaml_parse(&small, A_VIEW_LIT("[1,2,3,4,5,6]"), NULL, NULL, &v, NULL), -ENOMEM);
    a_arena_deinit(&small);
}

/* Many members in one object are read in time that grows with their number. */
static void test_many_members(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *v;
    for (int i = 0; i < 50000; i++)
        a_buf_addf(&b, "k%d: %d\n", i, i);
    assert_int_equal(wire_yaml_parse(&arena, a_buf_view(&b), NULL, NULL, &v, NULL), 0);
    assert_int_equal(wire_value_count(v), 50000);
    a_buf_add_str(&b, "k7: x\n");
    refuses(wire_yaml_parse, a_buf_view(&b), -EINVAL, "f:50001:1: \"k7\" is here twice");
}

static void test_print_json(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *v;
    assert_int_equal(wire_json_parse(&arena, A_VIEW_LIT("{\"b\":[1,{}],\"ab\":[],\"a\":{\"z\":1,\"y\":2}}"),
                                     NULL, NULL, &v, NULL),
                     0);
    wire_json_print(&b, v, WIRE_JSON_SORTED);
    assert_string_equal(b.ptr, "{\"a\":{\"y\":2,\"z\":1},\"ab\":[],\"b\":[1,{}]}");
    a_buf_reset(&b);
    wire_json_print(&b, v, WIRE_JSON_PRETTY);
    assert_string_equal(
        b.ptr, "{\n  \"b\": [\n    1,\n    {}\n  ],\n  \"ab\": [],\n  \"a\": {\n    \"z\": 1,\n    \"y\": "
               "2\n  }\n}\n");
    a_buf_reset(&b);
    wire_json_print(&b, wire_value_new_number(&arena, NAN), 0);
    assert_string_equal(b.ptr, "null");
}

/* What is printed as YAML reads back the same. */
static void test_print_yaml(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "plain",
        "two words",
        "",
        " lead",
        "trail ",
        "a: b",
        "a:",
        "a:b",
        "- x",
        "#x",
        "x #y",
        "yes",
        "No",
        "true",
        "null",
        "~",
        "12",
        "1.5",
        "1e3",
        "0x1f",
        "2Gi",
        "3.11",
        "3.11.2",
        "1:30",
        "2001-01-01",
        ".inf",
        "<<",
        "*",
        "&a",
        "!t",
        "a\nb",
        "a\nb\n",
        "a\n\n",
        "\na",
        " a\nb",
        "a\n  b\n",
        "a\tb",
        "\r\n",
        "a\\b",
        "\"q\"",
        "it's",
        "[x]",
        "{x}",
        "%x",
        "@x",
        "`x`",
        "a, b",
        "\xc3\xa9",
        "\x7f",
        "\xc2\x85",
        "\xe2\x80\xa8",
        "\xef\xbb\xbf",
        "key=value",
        "/path/to:80",
        "a\nb: c\n# d\n",
        "x\n\n\ny",
        "?",
        "? x",
        "-",
        "--- ",
        "...",
        "a\n---\nb",
        "=",
        "n",
        "0",
        "00",
        "1_0",
        "0b1",
        "0o7",
        "5e",
        "x ",
        "e5",
        "\n",
        "a\n ",
        " ",
        "sha256:ab",
    };
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf b = {0};
    A_ERROR_AUTO struct a_error err = {0};
    struct wire_value *doc = wire_value_new_object(&arena), *list = wire_value_new_array(&arena), *back;
    wire_value_set(&arena, doc, "list", list);
    for (size_t i = 0; i < A_ARRAY_SIZE(texts); i++) {
        struct wire_value *inner = wire_value_new_object(&arena);
        wire_value_append(list, wire_value_new_string(&arena, texts[i]));
        wire_value_set_string(&arena, inner, texts[i], texts[i]);
        wire_value_append(list, inner);
    }
    wire_yaml_print(&b, doc);
    if (wire_yaml_parse(&arena, a_buf_view(&b), "f", NULL, &back, &err) != 0)
        fail_msg("%s\n%s", a_error_text(&err), b.ptr);
    for (size_t i = 0; i < 2 * A_ARRAY_SIZE(texts); i++)
        if (!wire_value_equal(wire_value_at(list, i), wire_value_at(wire_value_get(back, "list"), i)))
            fail_msg("%zu: \"%s\"", i, texts[i / 2]);
}

/* It looks as a person would write it, and what YAML 1.1 would read as something else is quoted. */
static void test_print_yaml_looks(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf b = {0};
    A_ERROR_AUTO struct a_error err = {0};
    struct wire_value *doc, *back;
    static const char text[] =
        "metadata:\n  name: ocr\n  labels: {}\nspec:\n  workers:\n    - name: gpu\n      cpu: 1\n"
        "      memory: 2Gi\n      python: \"3.11\"\n    - - 1\n      - 2.5\n  run: |\n    a\n    b\n"
        "  routes: []\n  none: null\n";
    assert_int_equal(wire_yaml_parse(&arena, A_VIEW_LIT(text), "f", NULL, &back, &err), 0);
    wire_yaml_print(&b, back);
    assert_string_equal(b.ptr, text);
    static const char *const shown[][2] = {
        {"yes", "\"yes\"\n"},   {"Off", "\"Off\"\n"}, {"n", "\"n\"\n"},   {"2001-01-01", "\"2001-01-01\"\n"},
        {"1:30", "\"1:30\"\n"}, {"0b1", "\"0b1\"\n"}, {"500m", "500m\n"}, {"app:ocr", "app:ocr\n"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(shown); i++) {
        a_buf_reset(&b);
        wire_yaml_print(&b, wire_value_new_string(&arena, shown[i][0]));
        assert_string_equal(b.ptr, shown[i][1]);
    }
    a_buf_reset(&b);
    char key[2000]; /* longer than a key may be without a mark in front of it */
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = '\0';
    doc = wire_value_new_object(&arena);
    wire_value_set(&arena, doc, key, wire_value_copy(&arena, doc));
    wire_value_set_int(&arena, wire_value_get(doc, key), key, 1);
    wire_yaml_print(&b, doc);
    assert_int_equal(wire_yaml_parse(&arena, a_buf_view(&b), "f", NULL, &back, &err), 0);
    assert_true(wire_value_equal(doc, back));
    a_buf_reset(&b);
    wire_yaml_print(&b, wire_value_new_array(&arena));
    assert_string_equal(b.ptr, "[]\n");
}

static void test_make(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0}, other = {0};
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *o = wire_value_new_object(&arena), *a = wire_value_new_array(&arena);
    wire_value_set_string(&arena, o, "s", "x");
    wire_value_set_int(&arena, o, "i", -1);
    wire_value_set_bool(&arena, o, "b", true);
    wire_value_set_string(&arena, o, "n", NULL);
    wire_value_set_number(&arena, o, "d", 0.1);
    wire_value_append(a, wire_value_new_int(&arena, 1));
    wire_value_append(a, wire_value_new_bool(&arena, false));
    wire_value_set(&arena, o, "a", a);
    wire_value_set_int(&arena, o, "s", 5); /* in its place */
    wire_value_set_null(&arena, o, "a");   /* the last, in its place */
    wire_value_set_view(&arena, o, "v", (struct a_view){"viewed", 4});
    wire_json_print(&b, o, 0);
    assert_string_equal(b.ptr,
                        "{\"s\":5,\"i\":-1,\"b\":true,\"n\":null,\"d\":0.1,\"a\":null,\"v\":\"view\"}");
    struct wire_value *copy = wire_value_copy(&other, o);
    assert_true(wire_value_equal(o, copy));
    assert_true(wire_value_remove(o, "s"));
    assert_true(wire_value_remove(o, "v"));
    assert_true(wire_value_remove(o, "b"));
    assert_false(wire_value_remove(o, "b"));
    assert_false(wire_value_equal(o, copy));
    wire_value_set_bool(&arena, o, "z", false);
    a_buf_reset(&b);
    wire_json_print(&b, o, 0);
    assert_string_equal(b.ptr, "{\"i\":-1,\"n\":null,\"d\":0.1,\"a\":null,\"z\":false}");
    assert_int_equal(wire_value_count(o), 5);
    assert_int_equal(wire_value_int(wire_value_get(copy, "s"), 0), 5);
    assert_true(wire_value_number(wire_value_get(copy, "s"), 0) == 5.0);
    assert_int_equal(wire_value_int(wire_value_get(copy, "d"), 7), 7);
    assert_string_equal(wire_value_string(wire_value_get(NULL, "d"), "none"), "none");
    assert_true(wire_value_bool(NULL, true));
    assert_int_equal(wire_value_view(NULL).len, 0);
    assert_null(wire_value_first(NULL));
    /* members in another order are equal; 1 and 1.0 are not */
    struct wire_value *x, *y;
    assert_int_equal(wire_json_parse(&arena, A_VIEW_LIT("{\"a\":1,\"b\":[2]}"), NULL, NULL, &x, NULL), 0);
    assert_int_equal(wire_yaml_parse(&arena, A_VIEW_LIT("b: [2]\na: 1"), NULL, NULL, &y, NULL), 0);
    assert_true(wire_value_equal(x, y));
    assert_int_equal(wire_yaml_parse(&arena, A_VIEW_LIT("b: [2]\na: 1.0"), NULL, NULL, &y, NULL), 0);
    assert_false(wire_value_equal(x, y));
}

/* ---- several documents, and YAML within YAML ---- */

static void test_documents(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error err = {0};
    struct wire_value *all;
    static const char text[] = "# head\na: 1\n---\n---\nb:\n  c: 2\n---\n- 3\n";
    assert_int_equal(wire_yaml_parse_all(&arena, A_VIEW_LIT(text), "f", NULL, &all, &err), 0);
    assert_int_equal(wire_value_count(all), 4);
    assert_int_equal(wire_value_int(wire_value_path(all, "0.a"), 0), 1);
    assert_true(wire_value_is(wire_value_at(all, 1), WIRE_VALUE_NULL));
    assert_int_equal(wire_value_int(wire_value_path(all, "2.b.c"), 0), 2);
    assert_int_equal(wire_value_path(all, "2.b.c")->line, 6);
    assert_int_equal(wire_yaml_parse_all(&arena, A_VIEW_LIT(""), "f", NULL, &all, &err), 0);
    assert_int_equal(wire_value_count(all), 0);
    /* the same name in two documents is no repetition; in one it is; the limits hold for all together */
    assert_int_equal(wire_yaml_parse_all(&arena, A_VIEW_LIT("a: 1\n---\na: 1"), "f", NULL, &all, &err), 0);
    assert_int_equal(wire_yaml_parse_all(&arena, A_VIEW_LIT("a: 1\n---\na: 1\na: 2"), "f", NULL, &all, &err),
                     -EINVAL);
    assert_non_null(strstr(err.message, "f:4:1"));
    const struct wire_value_limits limits = {.nodes = 4};
    assert_int_equal(wire_yaml_parse_all(&arena, A_VIEW_LIT("1\n---\n2\n---\n3"), "f", &limits, &all, &err),
                     0);
    assert_int_equal(
        wire_yaml_parse_all(&arena, A_VIEW_LIT("1\n---\n2\n---\n3\n---\n4"), "f", &limits, &all, &err),
        -E2BIG);
}

/* Parses the text and then what its member `in` says. */
static int parse_inner(struct a_arena *arena, const char *text, struct wire_value **ret, struct a_error *err)
{
    struct wire_value *v;
    assert_int_equal(wire_yaml_parse(arena, a_view_str(text), "f", NULL, &v, err), 0);
    return wire_yaml_parse_inner(arena, a_view_str(text), wire_value_get(v, "in"), "f", NULL, ret, err);
}

static void test_inner(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error err = {0};
    struct wire_value *v;
    const struct wire_value *c;
    /* a literal block: its own lines and columns, blank and comment lines in it counted */
    assert_int_equal(
        parse_inner(&arena, "x: 1\nin: |\n\n    # first\n    a: 1\n    b:\n    - c: 2\ny: 2\n", &v, &err), 0);
    c = wire_value_path(v, "b.0.c");
    assert_int_equal(c->line, 7);
    assert_int_equal(c->column, 10);
    assert_int_equal(c->key_column, 7);
    assert_int_equal(parse_inner(&arena, "in: |-\n  a: 1\n  b: {\n", &v, &err), -EINVAL);
    assert_non_null(strstr(err.message, "f:4:3: "));
    assert_non_null(strstr(err.message, "from line 4"));
    /* written otherwise: the place of the text itself */
    assert_int_equal(parse_inner(&arena, "x: 1\nin: \"a: 1\\nb: 2\"\n", &v, &err), 0);
    assert_int_equal(wire_value_get(v, "b")->line, 2);
    assert_int_equal(wire_value_get(v, "b")->column, 5);
    assert_int_equal(parse_inner(&arena, "in: >\n  a: 1\n\n  b: 2\n", &v, &err), 0);
    assert_int_equal(wire_value_get(v, "b")->line, 1);
    assert_int_equal(parse_inner(&arena, "in: 'a: {'\n", &v, &err), -EINVAL);
    assert_non_null(strstr(err.message, "f:1:5: "));
    /* nothing in it */
    assert_int_equal(parse_inner(&arena, "in: ''\n", &v, &err), 0);
    assert_true(wire_value_is(v, WIRE_VALUE_NULL));
    assert_int_equal(v->line, 1);
}

/* Lines 1 to 97 in a strange order, each line twice: the second after the first; what has no line is last. */
static void test_problems_sort(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_problems p = {.arena = &arena};
    wire_problems_sort(&p);
    assert_null(p.first);
    wire_problem_add(&p, A_CODE_NONE, "none", NULL, NULL, "x");
    for (uint32_t i = 0; i < 2 * 97; i++) {
        struct wire_value at = {.line = i * 31 % 97 + 1, .column = 7};
        wire_problem_add(&p, i % 3 == 0 ? A_CODE_INVALID : A_CODE_NONE, i < 97 ? "a" : "b", &at, NULL, "x");
    }
    wire_problems_sort(&p);
    uint32_t n = 0;
    for (const struct wire_problem *it = p.first; it != p.last; it = it->next, n++) {
        assert_int_equal(it->line, n / 2 + 1);
        assert_string_equal(it->field, n % 2 == 0 ? "a" : "b");
    }
    assert_int_equal(n, 2 * 97);
    assert_string_equal(p.last->field, "none");
    assert_null(p.last->next);
}

/* Memory runs out at each place in turn: an error comes back, and nothing leaks. */
static void test_no_memory(void **state)
{
    (void)state;
    static const char text[] =
        "{\"a\": [1, 2.5, \"x\"], \"b\": {\"c\": null, \"d\": \"long enough for a block\"}}";
    parse_fn *const all[] = {wire_json_parse, wire_yaml_parse, wire_yaml_parse_all};
    for (size_t k = 0; k < A_ARRAY_SIZE(all); k++) {
        int r = -1;
        for (uint64_t n = 1; r != 0; n++) {
            A_ARENA_AUTO struct a_arena arena = {0};
            A_ERROR_AUTO struct a_error err = {0};
            struct wire_value *v;
            assert_in_range(n, 1, 1000);
            a_try_alloc_fail_at(n);
            r = all[k](&arena, A_VIEW_LIT(text), "f", NULL, &v, &err);
            a_try_alloc_fail_at(0);
            assert_true(r == 0 || r == -ENOMEM || r == -EINVAL);
            assert_int_equal(r == 0, err.message == NULL);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_yaml_scalars),
        cmocka_unit_test(test_yaml),
        cmocka_unit_test(test_yaml_refusals),
        cmocka_unit_test(test_laughs),
        cmocka_unit_test(test_positions),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_many_members),
        cmocka_unit_test(test_print_json),
        cmocka_unit_test(test_print_yaml),
        cmocka_unit_test(test_print_yaml_looks),
        cmocka_unit_test(test_make),
        cmocka_unit_test(test_documents),
        cmocka_unit_test(test_inner),
        cmocka_unit_test(test_problems_sort),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
