/* The fleet: revisions that are rolled out, put in, undone. The numbers U1.. are the invariants of
 * docs/components/unit.md. */
#include "fleet_world.h"

static void test_rollout(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    w->desired.revision = 2;
    desire(w);
    assert_int_equal(n_units(w), 3); /* U5: wanted + surge */
    assert_int_equal(count(w, UNIT_ACTION_ENDPOINTS), 0);
    unit_at(w, 2, &u);
    assert_int_equal(u.revision, 2);
    make_ready(w, &u);
    sleep_ms(w, 29999);
    assert_int_equal(n_units(w), 3); /* it bakes */
    sleep_ms(w, 1);
    assert_int_equal(n_units(w), 3); /* one old drained, the next new one is on its way */
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 2);
    all_ready(w);
    sleep_ms(w, 30000);
    assert_int_equal(n_units(w), 2);
    assert_int_equal(status(w).updated, 2);
    sleep_ms(w, 30000);
    assert_int_equal(count(w, UNIT_ACTION_PROVEN), 1);
    assert_false(status(w).conditions[UNIT_PROGRESSING].status);
}

static void test_rollout_without_surge(void **state)
{
    struct world *w = running(state);
    w->desired.rollout.max_surge = 0;
    w->desired.rollout.max_unavailable = 1;
    w->desired.revision = 2;
    desire(w);
    assert_int_equal(n_units(w), 2);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    assert_int_equal(status(w).ready, 1);
    all_ready(w);
    assert_int_equal(status(w).ready, 2);
    sleep_ms(w, 30000);
    all_ready(w);
    assert_int_equal(status(w).updated, 2);
}

static void fail_new_unit(struct world *w)
{
    struct unit_info u;
    unit_at(w, 2, &u);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    r.serve = UNIT_SERVE_FAILED;
    r.reason = A_REASON_SERVE_REJECTED;
    r.message = A_VIEW_LIT("deployment Ocr: unexpected field");
    send(w, &r);
}

static void test_bad_revision_undoes_itself(void **state)
{
    struct world *w = running(state);
    w->desired.revision = 2;
    desire(w);
    fail_new_unit(w);
    const struct unit_action *undo = acted(w, UNIT_ACTION_UNDO, 0);
    assert_non_null(undo);
    assert_int_equal(undo->revision, 2);
    assert_int_equal(undo->to, 1);
    assert_int_equal(n_units(w), 2);
    assert_int_equal(status(w).ready, 2);
    assert_int_equal(status(w).revision, 1);
    assert_int_equal(status(w).failed_revision, 2);
    assert_int_equal(count(w, UNIT_ACTION_ENDPOINTS), 0); /* the old ones never left routing */
    step(w, (struct unit_fleet_event){.type = UNIT_FLEET_DESIRED, .desired = &w->desired});
    assert_int_equal(n_units(w), 2); /* same generation: stays undone */
    desire(w);
    assert_int_equal(n_units(w), 3); /* somebody insists */
}

static void test_bad_revision_stops_when_undo_is_off(void **state)
{
    struct world *w = running(state);
    w->desired.revision = 2;
    w->desired.rollout.undo = false;
    desire(w);
    fail_new_unit(w);
    assert_int_equal(count(w, UNIT_ACTION_UNDO), 0);
    assert_int_equal(status(w).ready, 2);
    sleep_ms(w, 100000);
    assert_int_equal(status(w).ready, 2);
    assert_false(status(w).conditions[UNIT_PROGRESSING].status);
}

static void test_progress_deadline_undoes(void **state)
{
    struct world *w = running(state);
    w->desired.revision = 2;
    desire(w);
    sleep_ms(w, 899999);
    assert_int_equal(count(w, UNIT_ACTION_UNDO), 0);
    sleep_ms(w, 1);
    assert_int_equal(acted(w, UNIT_ACTION_UNDO, 0)->reason, A_REASON_DEADLINE_EXCEEDED);
    assert_int_equal(status(w).ready, 2);
}

/* Two READY units of revision 3, then 4: another Serve config. */
static struct world *updating(void **state)
{
    struct world *w = *state;
    w->desired.revision = 3;
    running(state);
    w->desired.revision = 4;
    desire(w);
    assert_int_equal(count(w, UNIT_ACTION_CONFIG), 1); /* one by one */
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 0);
    return w;
}

static void test_serve_class_is_put_in_one_by_one(void **state)
{
    struct world *w = updating(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    assert_int_equal(u.state, A_UNIT_UPDATING);
    assert_int_equal(u.endpoints, UNIT_ENDPOINTS_UP);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &r, 3);
    r.serve = UNIT_SERVE_DEPLOYING;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_UPDATING);
    sleep_ms(w, UNIT_CONFIG_RESEND_MS);
    assert_int_equal(count(w, UNIT_ACTION_CONFIG), 2); /* perhaps it was lost */
    serves(w, &r, 4);
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(count(w, UNIT_ACTION_CONFIG), 3);
    unit_at(w, 1, &u);
    r = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &r, 4);
    send(w, &r);
    assert_int_equal(status(w).updated, 2);
    assert_int_equal(count(w, UNIT_ACTION_ENDPOINTS), 0);
}

static void test_config_arrives_while_unhealthy(void **state)
{
    struct world *w = updating(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    r.serve = UNIT_SERVE_UNHEALTHY;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_UNHEALTHY);
    serves(w, &r, 4);
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(count(w, UNIT_ACTION_CONFIG), 2); /* the next one's turn */
    assert_int_equal(status(w).updated, 1);
}

static void test_refused_config_goes_back(void **state)
{
    struct world *w = updating(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_fleet_event e = {.type = UNIT_FLEET_CONFIGURED};
    e.unit.unit = u.name;
    e.unit.message = A_VIEW_LIT("400: bad");
    step(w, e);
    assert_int_equal(acted(w, UNIT_ACTION_UNDO, 0)->to, 3);
    const struct unit_action *back = acted(w, UNIT_ACTION_CONFIG, 1);
    assert_non_null(back);
    assert_int_equal(back->revision, 3);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &r, 3);
    send(w, &r);
    assert_int_equal(status(w).ready, 2);
    assert_int_equal(count(w, UNIT_ACTION_CONFIG), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_rollout),
        T(test_rollout_without_surge),
        T(test_bad_revision_undoes_itself),
        T(test_bad_revision_stops_when_undo_is_off),
        T(test_progress_deadline_undoes),
        T(test_serve_class_is_put_in_one_by_one),
        T(test_config_arrives_while_unhealthy),
        T(test_refused_config_goes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
