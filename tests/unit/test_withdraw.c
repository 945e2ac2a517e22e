/* Who must have heard before what serves may go; W1.. are the invariants of docs/components/unit.md,
 * "Withdrawal". */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/heap.h"
#include "base/macro.h"
#include "unit/withdraw.h"

struct world {
    struct unit_withdraw core;
    struct unit_withdraw_update u;
    uint64_t now_ms;
};

static void step(struct world *w, struct unit_withdraw_event e)
{
    e.now_ms = w->now_ms;
    snprintf(e.unit.s, sizeof e.unit.s, "ocr-aaaaa");
    unit_withdraw_step(&w->core, &e, &w->u);
}

static void join(struct world *w, const char *name, uint32_t conn)
{
    step(w,
         (struct unit_withdraw_event){.type = UNIT_WITHDRAW_JOIN, .conn = conn, .gateway = a_view_str(name)});
}

static void left(struct world *w, uint32_t conn)
{
    step(w, (struct unit_withdraw_event){.type = UNIT_WITHDRAW_LEFT, .conn = conn});
}

static void acked(struct world *w, uint32_t conn, uint64_t view)
{
    step(w, (struct unit_withdraw_event){.type = UNIT_WITHDRAW_ACKED, .conn = conn, .sequence = view});
}

static void load(struct world *w, uint32_t conn, uint64_t in_flight)
{
    step(w,
         (struct unit_withdraw_event){
             .type = UNIT_WITHDRAW_LOAD, .conn = conn, .endpoint = A_VIEW_LIT("e"), .in_flight = in_flight});
}

/* The unit leaves with the fleet's sequence 9, in view 5. */
static void leaves(struct world *w)
{
    step(w, (struct unit_withdraw_event){.type = UNIT_WITHDRAW_LEAVES, .sequence = 9});
    assert_int_equal(w->u.n_answers, 0);
    step(w, (struct unit_withdraw_event){.type = UNIT_WITHDRAW_SENT, .sequence = 5});
}

static void assert_answers(const struct world *w, bool withdrawn, bool idle)
{
    assert_int_equal(w->u.n_answers, withdrawn + idle);
    for (size_t i = 0; i < w->u.n_answers; i++) {
        assert_int_equal(w->u.answers[i].idle, !withdrawn || i > 0);
        assert_int_equal(w->u.answers[i].sequence, 9);
        assert_string_equal(w->u.answers[i].unit.s, "ocr-aaaaa");
    }
}

/* Time passes as a loop would see it: it wakes at each deadline. */
static void sleep_to(struct world *w, uint64_t ms)
{
    w->now_ms = ms;
    step(w, (struct unit_withdraw_event){.type = UNIT_WITHDRAW_TIME});
}

static int setup(void **state)
{
    static struct world w;
    w = (struct world){.now_ms = 1000};
    unit_withdraw_init(&w.core);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    unit_withdraw_deinit(&w->core);
    unit_withdraw_deinit(&w->core);
    return 0;
}

/* W1 */
static void test_all_acknowledge(void **state)
{
    struct world *w = *state;
    join(w, "g1", 1);
    join(w, "g2", 2);
    load(w, 1, 3);
    leaves(w);
    assert_answers(w, false, false);
    acked(w, 1, 5);
    acked(w, 2, 4);
    assert_answers(w, false, false);
    acked(w, 2, 5);
    assert_answers(w, true, false);
    assert_int_equal(unit_withdraw_in_flight(&w->core, &w->u.answers[0].unit), 3);
    load(w, 1, 1);
    assert_answers(w, false, false);
    load(w, 1, 0);
    assert_answers(w, false, true);
    acked(w, 1, 6);
    assert_answers(w, false, false); /* each once */
}

/* W3: a replica dies with a request; the gateway forgets both before it says that none is left. */
static void test_endpoint_is_gone(void **state)
{
    struct world *w = *state;
    join(w, "g1", 1);
    load(w, 1, 1);
    leaves(w);
    acked(w, 1, 5);
    assert_answers(w, true, false);
    step(w, (struct unit_withdraw_event){.type = UNIT_WITHDRAW_GONE, .endpoint = A_VIEW_LIT("another")});
    assert_answers(w, false, false);
    step(w, (struct unit_withdraw_event){.type = UNIT_WITHDRAW_GONE, .endpoint = A_VIEW_LIT("e")});
    assert_answers(w, false, true);
}

static uint64_t in_flight(const struct world *w, const char *unit)
{
    struct a_unit_name name = {{0}};
    snprintf(name.s, sizeof name.s, "%s", unit);
    return unit_withdraw_in_flight(&w->core, &name);
}

static void load_of(struct world *w, uint32_t conn, const char *unit, const char *endpoint, uint64_t n)
{
    struct unit_withdraw_event e = {.type = UNIT_WITHDRAW_LOAD,
                                    .conn = conn,
                                    .now_ms = w->now_ms,
                                    .endpoint = a_view_str(endpoint),
                                    .in_flight = n};
    snprintf(e.unit.s, sizeof e.unit.s, "%s", unit);
    unit_withdraw_step(&w->core, &e, &w->u);
}

/* The sums are those of the loads, whatever becomes of gateways and endpoints. */
static void test_sums_follow_loads(void **state)
{
    struct world *w = *state;
    join(w, "g1", 1);
    join(w, "g2", 2);
    load_of(w, 1, "ocr-aaaaa", "a1", 3);
    load_of(w, 1, "ocr-aaaaa", "a2", 2);
    load_of(w, 2, "ocr-aaaaa", "a1", 4);
    load_of(w, 2, "ocr-bbbbb", "b1", 5);
    load_of(w, 3, "ocr-bbbbb", "b1", 7); /* nobody's */
    assert_int_equal(in_flight(w, "ocr-aaaaa"), 9);
    assert_int_equal(in_flight(w, "ocr-bbbbb"), 5);
    load_of(w, 1, "ocr-aaaaa", "a1", 1);
    load_of(w, 1, "ocr-aaaaa", "a2", 0);
    load_of(w, 1, "ocr-aaaaa", "a2", 0);
    assert_int_equal(in_flight(w, "ocr-aaaaa"), 5);
    left(w, 2); /* what it has is not known better than before */
    assert_int_equal(in_flight(w, "ocr-aaaaa"), 5);
    join(w, "g2", 4); /* it tells anew */
    assert_int_equal(in_flight(w, "ocr-aaaaa"), 1);
    assert_int_equal(in_flight(w, "ocr-bbbbb"), 0);
    load_of(w, 1, "ocr-aaaaa", "a1", 0);
    assert_int_equal(in_flight(w, "ocr-aaaaa"), 0);
    assert_int_equal(w->core.in_flight.len, 0);
}

static void test_no_gateway(void **state)
{
    struct world *w = *state;
    leaves(w);
    assert_answers(w, true, true);
    assert_true(unit_withdraw_deadline(&w->core) == A_NEVER);
}

/* W2 */
static void test_away_is_waited_for(void **state)
{
    struct world *w = *state;
    join(w, "g1", 1);
    acked(w, 1, 4);
    left(w, 1);
    leaves(w);
    assert_answers(w, false, false);
    assert_int_equal(unit_withdraw_deadline(&w->core), 1000 + UNIT_WITHDRAW_AWAY_MS);
    sleep_to(w, 1000 + UNIT_WITHDRAW_AWAY_MS - 1);
    assert_answers(w, false, false);
    sleep_to(w, 1000 + UNIT_WITHDRAW_AWAY_MS);
    assert_answers(w, true, false); /* W3: what it has in flight is not known */
    assert_int_equal(unit_withdraw_deadline(&w->core), 1000 + UNIT_WITHDRAW_LOST_MS);
    sleep_to(w, 1000 + UNIT_WITHDRAW_LOST_MS);
    assert_answers(w, false, true);
}

/* W2, W3 */
static void test_away_and_back(void **state)
{
    struct world *w = *state;
    join(w, "g1", 1);
    load(w, 1, 2);
    leaves(w);
    acked(w, 1, 5);
    assert_answers(w, true, false);
    left(w, 1);
    assert_answers(w, false, false);
    join(w, "g1", 7);
    assert_answers(w, false, false); /* it has told nothing yet */
    load(w, 7, 2);
    acked(w, 7, 5);
    assert_answers(w, false, false);
    load(w, 7, 0);
    assert_answers(w, false, true);
}

/* W2 after a start: gateways that nobody knows yet may come. */
static void test_started(void **state)
{
    struct world *w = *state;
    step(w, (struct unit_withdraw_event){.type = UNIT_WITHDRAW_STARTED});
    leaves(w);
    assert_answers(w, false, false);
    sleep_to(w, 1000 + UNIT_WITHDRAW_AWAY_MS);
    assert_answers(w, true, true);
}

/* W4 */
static void test_our_own_sleep(void **state)
{
    struct world *w = *state;
    join(w, "g1", 1);
    left(w, 1);
    leaves(w);
    sleep_to(w, 1000 + 30000); /* 20 s after the deadline */
    assert_answers(w, false, false);
    sleep_to(w, 1000 + 30000 + UNIT_WITHDRAW_AWAY_MS);
    assert_answers(w, true, false);
}

static void test_stays(void **state)
{
    struct world *w = *state;
    join(w, "g1", 1);
    leaves(w);
    step(w, (struct unit_withdraw_event){.type = UNIT_WITHDRAW_STAYS});
    acked(w, 1, 5);
    assert_answers(w, false, false);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_all_acknowledge), T(test_endpoint_is_gone),   T(test_sums_follow_loads),
        T(test_no_gateway),      T(test_away_is_waited_for), T(test_away_and_back),
        T(test_started),         T(test_our_own_sleep),      T(test_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
