/* Rates and outcomes, with literal times. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/macro.h"
#include "daemon/server/traffic.h"

#define MINUTE UINT64_C(60000)
#define HOUR (60 * MINUTE)
#define NOON (UINT64_C(490000) * HOUR) /* a whole hour */

static struct d_tally tally(uint64_t ok, uint64_t app, uint64_t client)
{
    struct d_tally t = {{0}};
    t.n[D_OUTCOME_OK] = ok;
    t.n[D_OUTCOME_APP] = app;
    t.n[D_OUTCOME_CLIENT] = client;
    return t;
}

static void add(struct d_success *s, uint64_t at, uint64_t ok, uint64_t app, uint64_t client)
{
    struct d_tally t = tally(ok, app, client);
    d_success_add(s, at, &t);
}

static uint64_t hour_of(const struct d_success *s, uint64_t at)
{
    struct d_tally t;
    d_success_hour(s, at, &t);
    return d_tally_total(&t);
}

static uint64_t month_of(const struct d_success *s, uint64_t at)
{
    struct d_tally t;
    d_success_month(s, at, &t);
    return d_tally_total(&t);
}

static void test_quantiles(void **state)
{
    struct a_latency l = {{0}};
    (void)state;
    assert_true(a_latency_quantile_us(&l, 0.5) <= 0);
    for (int i = 0; i < 98; i++)
        a_latency_add(&l, 2000); /* in 1000 ... 2500 */
    a_latency_add(&l, 90000);    /* in 50000 ... 100000 */
    a_latency_add(&l, 1000000000);
    assert_int_equal(a_latency_count(&l), 100);
    double p50 = a_latency_quantile_us(&l, 0.5), p99 = a_latency_quantile_us(&l, 0.99);
    assert_true(p50 > 1000 && p50 < 2500);
    assert_true(p99 > 50000 && p99 <= 100000);
    assert_true(a_latency_quantile_us(&l, 1) >= 60000000 && a_latency_quantile_us(&l, 1) <= 60000000);
}

static void test_rate_is_of_the_last_seconds(void **state)
{
    struct d_rate r = {0};
    struct d_rate_slot sum, one = {.requests = 10, .failed = 1, .retried = 2};
    (void)state;
    a_latency_add(&one.latency, 700);
    for (uint64_t s = 100; s < 130; s++)
        d_rate_add(&r, s * 1000 + 5, &one);
    d_rate_sum(&r, 129999, &sum);
    assert_int_equal(sum.requests, 10 * D_RATE_SECONDS);
    assert_int_equal(sum.failed, D_RATE_SECONDS);
    assert_int_equal(sum.retried, 2 * D_RATE_SECONDS);
    assert_int_equal(a_latency_count(&sum.latency), D_RATE_SECONDS);
    d_rate_sum(&r, 134000, &sum);
    assert_int_equal(sum.requests, 10 * (D_RATE_SECONDS - 5));
    d_rate_sum(&r, 500000, &sum);
    assert_int_equal(sum.requests, 0);
}

static void test_ratio_leaves_clients_out(void **state)
{
    struct d_tally t = tally(90, 10, 100);
    (void)state;
    assert_true(d_tally_ratio(&t) > 0.899 && d_tally_ratio(&t) < 0.901);
    t = tally(0, 0, 5);
    assert_true(d_tally_ratio(&t) < 0);
}

static void test_windows(void **state)
{
    struct d_success s = {0};
    (void)state;
    add(&s, NOON, 1, 0, 0);
    add(&s, NOON + 30 * MINUTE, 2, 0, 0);
    assert_int_equal(hour_of(&s, NOON + 59 * MINUTE), 3);
    assert_int_equal(hour_of(&s, NOON + 60 * MINUTE), 2);
    assert_int_equal(hour_of(&s, NOON + 90 * MINUTE), 0);
    assert_int_equal(month_of(&s, NOON + 90 * MINUTE), 3);
    add(&s, NOON + 719 * HOUR, 4, 0, 0);
    assert_int_equal(month_of(&s, NOON + 719 * HOUR), 7);
    assert_int_equal(month_of(&s, NOON + 720 * HOUR), 4);
    assert_int_equal(hour_of(&s, NOON + 719 * HOUR), 4); /* the ring's old rows do not come back */
    d_success_deinit(&s);
    d_success_deinit(&s);
}

/* As a server does it: minutes often, hours when one is over; then another process reads both. */
static void store(struct d_success *s, uint64_t at, struct a_buf *minutes, struct a_buf *hours)
{
    if (d_success_hours_due(s, at)) {
        a_buf_reset(hours);
        d_success_print_hours(s, at, "u1", hours);
        s->hours_stored = at / HOUR;
    }
    a_buf_reset(minutes);
    d_success_print_minutes(s, at, "u1", minutes);
}

static void test_nothing_is_forgotten_or_counted_twice(void **state)
{
    struct d_success s = {0};
    A_BUF_AUTO struct a_buf minutes = {0}, hours = {0};
    uint64_t sum = 0;
    (void)state;
    for (uint64_t m = 0; m < 60 * 30; m++) { /* thirty hours, with a restart at odd times */
        uint64_t at = NOON + m * MINUTE;
        add(&s, at, 1 + m % 3, m % 2, 0);
        sum += 1 + m % 3 + m % 2;
        store(&s, at, &minutes, &hours);
        if (m % 7 == 0 || m % 60 == 0 || m % 60 == 59) {
            struct d_success again = {0};
            d_success_read_hours(&again, a_buf_view(&hours), "u1");
            d_success_read_minutes(&again, a_buf_view(&minutes), "u1");
            assert_int_equal(month_of(&again, at), sum);
            assert_int_equal(hour_of(&again, at), hour_of(&s, at));
            d_success_deinit(&s);
            s = again;
        }
    }
    d_success_deinit(&s);
}

/* As the server writes: minutes each time, hours when they are due. */
struct stored {
    struct a_buf minutes, hours;
};

static void save(struct d_success *s, uint64_t at, bool ok, struct stored *to)
{
    struct a_buf minutes = {0}, hours = {0};
    bool due = d_success_hours_due(s, at);
    s->changed = false;
    d_success_print_minutes(s, at, "u", &minutes);
    if (due)
        d_success_print_hours(s, at, "u", &hours);
    d_success_saved(s, ok, due ? at / HOUR : 0);
    struct a_buf *const gone[] = {ok ? &to->minutes : &minutes, ok && due ? &to->hours : &hours};
    for (size_t i = 0; i < A_ARRAY_SIZE(gone); i++)
        a_buf_deinit(gone[i]);
    if (ok)
        to->minutes = minutes;
    if (ok && due)
        to->hours = hours;
}

/* A server that is killed loses what came after its last record, whatever became of the records before. */
static void test_a_crash_loses_the_last_minute(void **state)
{
    (void)state;
    struct stored stored = {{0}, {0}};
    struct d_success s = {.hours = NULL};
    uint64_t saved = 0, sum = 0, at = 0;
    for (uint64_t minute = 5; minute < 6 * 60 + 40; minute++) {
        at = 1000 * HOUR + minute * MINUTE;
        bool full = minute > 118 && minute < 200; /* the disk, over the ends of two hours */
        add(&s, at, minute, 1, 0);
        sum += minute + 1;
        save(&s, at, !full, &stored);
        saved = full ? saved : sum;
        assert_int_equal(s.changed, full); /* tried again, also when nothing more comes */
        if (full)
            continue; /* while nothing can be written there is no bound */
        struct d_success again = {.hours = NULL};
        d_success_read_hours(&again, a_buf_view(&stored.hours), "u");
        d_success_read_minutes(&again, a_buf_view(&stored.minutes), "u");
        assert_int_equal(month_of(&again, at), saved);
        assert_int_equal(hour_of(&again, at), hour_of(&s, at));
        d_success_deinit(&again);
    }
    a_buf_deinit(&stored.minutes);
    a_buf_deinit(&stored.hours);
    d_success_deinit(&s);
}

static void test_records_of_others_and_nonsense(void **state)
{
    static const char *const texts[] = {"",
                                        "{",
                                        "[]",
                                        "{\"uid\":\"u1\"}",
                                        "{\"uid\":\"u1\",\"rows\":[1,[],[-5,1],[\"x\"],{}]}",
                                        "{\"uid\":\"other\",\"to\":9,\"rows\":[[1,5]]}"};
    (void)state;
    for (size_t i = 0; i < A_ARRAY_SIZE(texts); i++) {
        struct d_success s = {0};
        d_success_read_hours(&s, a_view_str(texts[i]), "u1");
        d_success_read_minutes(&s, a_view_str(texts[i]), "u1");
        assert_int_equal(month_of(&s, NOON), 0);
        d_success_deinit(&s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_rate_is_of_the_last_seconds),
        cmocka_unit_test(test_ratio_leaves_clients_out),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_nothing_is_forgotten_or_counted_twice),
        cmocka_unit_test(test_a_crash_loses_the_last_minute),
        cmocka_unit_test(test_records_of_others_and_nonsense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
