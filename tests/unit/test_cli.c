/* The command line's own parts: options, tables, and when an app is where it was to be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "cli/follow.h"
#include "cli/options.h"
#include "cli/table.h"

/* ---- options ---- */

struct values {
    bool wait, help;
    const char *name;
    uint64_t units, timeout_ms;
};

static const struct cli_option own[] = {
    {"wait", 'w', CLI_FLAG, offsetof(struct values, wait), NULL, "until it is there", false},
    {"units", 0, CLI_NUMBER, offsetof(struct values, units), "N", "how many", true},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static const struct cli_option common[] = {
    {"namespace", 'n', CLI_TEXT, offsetof(struct values, name), "NS", "where", false},
    {"timeout", 0, CLI_DURATION, offsetof(struct values, timeout_ms), "TIME", "how long", false},
    {"help", 'h', CLI_FLAG, offsetof(struct values, help), NULL, "this", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

struct parsed {
    struct a_arena arena;
    struct values own, common;
    struct cli_words words;
    struct a_error error;
};

static void parsed_deinit(struct parsed *p)
{
    a_arena_deinit(&p->arena);
    a_error_deinit(&p->error);
}

#define PARSED_AUTO A_CLEANUP(parsed_deinit)

/* Words up to a NULL. */
static int parse(struct parsed *p, const char *const *argv)
{
    const struct cli_options sets[] = {{own, &p->own}, {common, &p->common}};
    int argc = 0;
    while (argv[argc] != NULL)
        argc++;
    return cli_options_parse(sets, 2, &p->arena, argc, (char *const *)argv, &p->words, &p->error);
}

#define PARSE(p, ...) parse((p), (const char *const[]){__VA_ARGS__, NULL})

static void test_options_of_all_forms(void **state)
{
    (void)state;
    PARSED_AUTO struct parsed p = {0};
    assert_int_equal(
        PARSE(&p, "one", "--units=3", "-n", "ns", "--wait", "--timeout", "1h30m", "two", "--", "-x"), 0);
    assert_true(p.own.wait);
    assert_int_equal(p.own.units, 3);
    assert_string_equal(p.common.name, "ns");
    assert_int_equal(p.common.timeout_ms, 90 * 60 * 1000);
    assert_int_equal(p.words.n, 3);
    assert_string_equal(p.words.items[0], "one");
    assert_string_equal(p.words.items[2], "-x");
    assert_int_equal(PARSE(&p, "-nx", "-w", "--units", "0", "-"), 0);
    assert_string_equal(p.common.name, "x");
    assert_int_equal(p.own.units, 0);
    assert_string_equal(p.words.items[0], "-");
}

static void refused(const char *words, const char *const *argv)
{
    PARSED_AUTO struct parsed p = {0};
    assert_true(parse(&p, argv) < 0);
    assert_int_equal(p.error.code, A_CODE_USAGE);
    if (strstr(a_error_text(&p.error), words) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", words, a_error_text(&p.error));
}

#define REFUSED(words, ...) refused((words), (const char *const[]){__VA_ARGS__, NULL})

static void test_options_refused(void **state)
{
    (void)state;
    REFUSED("did you mean --wait?", "--wiat", "--units", "1");
    REFUSED("did you mean --namespace?", "--namespce=x", "--units", "1");
    REFUSED("no such option: --zebra", "--zebra");
    REFUSED("no such option: -z", "-z");
    REFUSED("no such option: -wx", "-wx", "--units", "1");
    REFUSED("--units needs a value: N", "--units");
    REFUSED("--units: \"two\" is no whole number", "--units", "two");
    REFUSED("--units: \"-1\" is no whole number", "--units=-1");
    REFUSED("--timeout: \"soon\" is no duration", "--timeout", "soon", "--units", "1");
    REFUSED("--wait takes no value", "--wait=yes", "--units", "1");
    REFUSED("--units N is required", "one");
}

static void test_help_needs_nothing_else(void **state)
{
    (void)state;
    PARSED_AUTO struct parsed p = {0};
    assert_int_equal(PARSE(&p, "--help"), 0);
    assert_true(p.common.help);
}

static void test_options_in_help(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    cli_options_print(&b, own);
    assert_string_equal(b.ptr, "  -w, --wait                until it is there\n"
                               "  --units N                 how many\n");
}

/* ---- tables ---- */

static void test_table(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf b = {0};
    struct cli_table t = {.arena = &arena};
    cli_table_row(&t, "NAME", "STATE", "MESSAGE", NULL);
    cli_table_row(&t, "größer", "UP", "one\ntwo", NULL);
    cli_table_row(&t, "x", "", "", NULL);
    cli_table_print(&t, 0, &b);
    assert_string_equal(b.ptr, "NAME    STATE  MESSAGE\n"
                               "größer  UP     one two\n"
                               "x       -      -\n");
    a_buf_reset(&b);
    cli_table_print(&t, 20, &b);
    assert_string_equal(b.ptr, "NAME    STATE  MESS…\n"
                               "größer  UP     one …\n"
                               "x       -      -\n");
}

/* ---- goals ---- */

static const char *judge(const struct cli_goal *goal, const char *status, const char *units,
                         enum cli_outcome expected)
{
    static char why[256];
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *app, *list;
    const char *said = "";
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, "{\"status\":%s}", status);
    assert_int_equal(wire_json_parse(&arena, a_buf_view(&b), NULL, NULL, &app, NULL), 0);
    assert_int_equal(wire_json_parse(&arena, a_view_str(units), NULL, NULL, &list, NULL), 0);
    enum cli_outcome outcome = cli_goal_judge(goal, app, list, &arena, &said);
    snprintf(why, sizeof why, "%s", said);
    if (outcome != expected)
        fail_msg("%d (%s), not %d, for %s", outcome, why, expected, status);
    return why;
}

static const struct cli_goal goal = {.namespace = "default", .app = "ocr", .generation = 7, .revision = 3};

static void test_goal_reached(void **state)
{
    (void)state;
    judge(&goal,
          "{\"observedGeneration\":7,\"revision\":3,\"wantedRevision\":3,\"rolling\":false,"
          "\"units\":{\"wanted\":2,\"updated\":2}}",
          "[]", CLI_DONE);
    /* not seen yet; old units there; too few; another revision */
    judge(&goal,
          "{\"observedGeneration\":6,\"revision\":3,\"wantedRevision\":3,\"rolling\":false,"
          "\"units\":{\"wanted\":2,\"updated\":2}}",
          "[]", CLI_GOES_ON);
    judge(&goal,
          "{\"observedGeneration\":7,\"revision\":3,\"wantedRevision\":3,\"rolling\":true,"
          "\"units\":{\"wanted\":2,\"updated\":2}}",
          "[]", CLI_GOES_ON);
    judge(&goal,
          "{\"observedGeneration\":7,\"revision\":3,\"wantedRevision\":3,\"rolling\":false,"
          "\"units\":{\"wanted\":2,\"updated\":1}}",
          "[]", CLI_GOES_ON);
    judge(&goal,
          "{\"observedGeneration\":7,\"revision\":2,\"wantedRevision\":3,\"rolling\":false,"
          "\"units\":{\"wanted\":2,\"updated\":2}}",
          "[]", CLI_GOES_ON);
}

static void test_goal_failed(void **state)
{
    (void)state;
    const char *why =
        judge(&goal, "{\"revision\":2,\"wantedRevision\":2,\"failedRevision\":3}", "[]", CLI_FAILED);
    assert_string_equal(why, "revision 3 failed and was undone; revision 2 serves on");
    why = judge(&goal, "{\"revision\":4,\"wantedRevision\":4,\"failedRevision\":0}", "[]", CLI_FAILED);
    assert_string_equal(why, "revision 3 was superseded by revision 4");
    why = judge(
        &goal,
        "{\"wantedRevision\":3,\"conditions\":[{\"type\":\"Progressing\",\"status\":\"False\",\"reason\":"
        "\"DeadlineExceeded\"}]}",
        "[]", CLI_FAILED);
    assert_non_null(strstr(why, "progressDeadline"));
    why = judge(&goal,
                "{\"wantedRevision\":3,\"conditions\":[{\"type\":\"Placed\",\"status\":\"False\",\"reason\":"
                "\"PoisonSuspected\"}]}",
                "[]", CLI_FAILED);
    assert_non_null(strstr(why, "nodes died"));
}

/* With an older good revision the failure ends in an undo, which says more; without one it ends here. */
static void test_goal_unit_failed(void **state)
{
    (void)state;
    const char *units =
        "[{\"name\":\"ocr-aaaaa\",\"revision\":3,\"final\":true,\"reason\":\"ImportFailed\"}]";
    judge(&goal, "{\"wantedRevision\":3,\"provenRevision\":2}", units, CLI_GOES_ON);
    const char *why = judge(&goal, "{\"wantedRevision\":3,\"provenRevision\":0}", units, CLI_FAILED);
    assert_string_equal(why, "unit ocr-aaaaa is FAILED (ImportFailed)");
    judge(&goal, "{\"wantedRevision\":3,\"provenRevision\":0}",
          "[{\"name\":\"ocr-aaaaa\",\"revision\":2,\"final\":true}]", CLI_GOES_ON);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_of_all_forms),
        cmocka_unit_test(test_options_refused),
        cmocka_unit_test(test_help_needs_nothing_else),
        cmocka_unit_test(test_options_in_help),
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_goal_reached),
        cmocka_unit_test(test_goal_failed),
        cmocka_unit_test(test_goal_unit_failed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
