/* Which executable an agent runs from: daemon/agent/choice.h. */
#include "daemon/agent/choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct d_choice_artifact artifact(int n, const char *version)
{
    struct d_choice_artifact a = {.number = (uint64_t)n};
    memset(a.digest.bytes, n, sizeof a.digest.bytes);
    strcpy(a.version, version);
    return a;
}

static struct d_choice round_trip(const struct d_choice *c)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct d_choice back;
    d_choice_print(c, &text);
    assert_int_equal(d_choice_parse(a_buf_view(&text), &back, NULL), 0);
    return back;
}

static void test_text(void **state)
{
    (void)state;
    struct d_choice c = {.current = artifact(1, "0.1.0"), .trial = artifact(2, "0.2.0"), .tries = 1}, back;
    c.base = artifact(9, "").digest;
    back = round_trip(&c);
    assert_memory_equal(&back.base, &c.base, sizeof c.base);
    assert_true(a_digest_equal(&back.current.digest, &c.current.digest));
    assert_string_equal(back.trial.version, "0.2.0");
    assert_int_equal(back.trial.number, 2);
    assert_int_equal(back.tries, 1);
    d_choice_fail(&c, &c.trial, A_REASON_FETCH_FAILED, "two\nlines of words");
    back = round_trip(&c);
    assert_true(a_digest_is_zero(&back.trial.digest));
    assert_int_equal(back.reason, A_REASON_FETCH_FAILED);
    assert_string_equal(back.message, "two lines of words");
    assert_int_equal(d_choice_parse(A_VIEW_LIT("astra-agent-choice 1\nfuture line\nend\n"), &back, NULL), 0);
    assert_int_not_equal(d_choice_parse(A_VIEW_LIT("astra-agent-choice 1\nbase 12\nend\n"), &back, NULL), 0);
    assert_int_not_equal(d_choice_parse(A_VIEW_LIT("astra-agent-choice 1\n"), &back, NULL), 0);
    assert_int_not_equal(d_choice_parse(A_VIEW_LIT(""), &back, NULL), 0);
}

/* G2: a trial is counted before it is started, and given up after its tries. */
static void test_trial(void **state)
{
    (void)state;
    struct d_choice c = {.base = artifact(9, "").digest, .current = artifact(1, "0.1.0")};
    const struct a_digest base = c.base;
    bool changed;
    assert_int_equal(d_choice_start(&c, &base, &changed), D_CHOICE_CURRENT);
    assert_false(changed);
    c.trial = artifact(2, "0.2.0");
    for (int i = 0; i < D_CHOICE_TRIES; i++) {
        assert_int_equal(d_choice_start(&c, &base, &changed), D_CHOICE_TRIAL);
        assert_true(changed);
        c = round_trip(&c);
    }
    assert_int_equal(d_choice_start(&c, &base, &changed), D_CHOICE_CURRENT);
    assert_true(changed);
    assert_int_equal(c.reason, A_REASON_UPGRADE_FAILED);
    assert_int_equal(c.failed.number, 2);
    assert_int_equal(d_choice_start(&c, &base, &changed), D_CHOICE_CURRENT);
    assert_false(changed);
    c.trial = artifact(3, "0.2.1");
    assert_int_equal(d_choice_start(&c, &base, &changed), D_CHOICE_TRIAL);
    d_choice_confirm(&c);
    assert_int_equal(d_choice_start(&c, &base, &changed), D_CHOICE_CURRENT);
    assert_string_equal(c.current.version, "0.2.1");
    assert_true(a_digest_is_zero(&c.failed.digest));
}

/* G4: whoever installs another executable has the last word. */
static void test_installed(void **state)
{
    (void)state;
    struct d_choice c = {
        .base = artifact(9, "").digest, .current = artifact(1, "0.1.0"), .trial = artifact(2, "0.2.0")};
    const struct a_digest other = artifact(8, "").digest;
    bool changed;
    assert_int_equal(d_choice_start(&c, &other, &changed), D_CHOICE_INSTALLED);
    assert_true(changed);
    assert_int_equal(d_choice_start(&c, &other, &changed), D_CHOICE_INSTALLED);
    assert_false(changed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_trial),
        cmocka_unit_test(test_installed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
