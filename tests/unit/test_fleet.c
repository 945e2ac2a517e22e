/* The fleet: deploy, scale, loss, drain, restart. The numbers U1.. are the invariants of
 * docs/components/unit.md. */
#include "fleet_world.h"

static void test_deploys(void **state)
{
    struct world *w = *state;
    struct unit_info u;
    desire(w);
    assert_int_equal(n_units(w), 0); /* U1: nothing is placed before the adopt phase ends */
    adopted(w);
    assert_int_equal(n_units(w), 2);
    unit_at(w, 0, &u);
    assert_int_equal(u.state, A_UNIT_FETCHING);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_FETCHING);
    send(w, &r);
    r.member_state = A_MEMBER_STARTING;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_STARTING);
    r.member_state = A_MEMBER_UP;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_DEPLOYING);
    serves(w, &r, 1);
    r.warmed = false;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_DEPLOYING); /* READY needs the warm-up ... */
    r.warmed = true;
    r.endpoints = 0;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_DEPLOYING); /* ... and a live replica */
    r.endpoints = 1;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(find(w, &u).endpoints, UNIT_ENDPOINTS_UP);
    struct unit_fleet_status s = status(w);
    assert_int_equal(s.ready, 1);
    assert_false(s.conditions[UNIT_AVAILABLE].status);
    all_ready(w);
    assert_true(status(w).conditions[UNIT_AVAILABLE].status);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 2);
}

/* U2: the record is durable before anything is bound. */
static void test_record_before_bind(void **state)
{
    struct world *w = *state;
    struct unit_record_member members[UNIT_MEMBERS_MAX];
    struct unit_record record;
    w->desired.units = 1;
    w->hold_place = true;
    desire(w);
    adopted(w);
    const struct unit_action *place = acted(w, UNIT_ACTION_PLACE, 0);
    assert_non_null(place);
    struct unit_record_member m = {
        .name = {"head"}, .head = true, .attempt = 1, .node = node_id(5), .cluster = {"east"}};
    struct unit_fleet_event e = {.type = UNIT_FLEET_GRANTED};
    e.place.gang = place->gang;
    e.place.members = &m;
    e.place.n_members = 1;
    struct a_unit_name unit = place->unit;
    step(w, e);
    assert_int_equal(count(w, UNIT_ACTION_RECORD_PUT), 1);
    assert_int_equal(count(w, UNIT_ACTION_BIND), 0);
    assert_true(unit_fleet_record(w->fleet, &unit, members, &record));
    assert_int_equal(record.n_members, 1);
    assert_string_equal(record.members[0].node.s, node_id(5).s);
    e = (struct unit_fleet_event){.type = UNIT_FLEET_RECORDED};
    e.unit.unit = unit;
    step(w, e);
    assert_int_equal(count(w, UNIT_ACTION_BIND), 1);
}

static void test_no_capacity_waits(void **state)
{
    struct world *w = *state;
    struct unit_info u;
    w->desired.units = 1;
    w->hold_place = true;
    desire(w);
    adopted(w);
    struct unit_fleet_event e = {.type = UNIT_FLEET_UNPLACED};
    e.place.gang = acted(w, UNIT_ACTION_PLACE, 0)->gang;
    e.place.attempt_max = 3;
    e.place.reason = A_REASON_NO_CAPACITY;
    e.place.message = A_VIEW_LIT("no node has room");
    step(w, e);
    unit_at(w, 0, &u);
    assert_int_equal(u.state, A_UNIT_PLANNED);
    assert_string_equal(u.message, "no node has room");
    assert_false(status(w).conditions[UNIT_PLACED].status);
    assert_true(unit_fleet_waits(w->fleet));
    sleep_ms(w, 2000);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    step(w, (struct unit_fleet_event){.type = UNIT_FLEET_CAPACITY});
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 2);
    assert_int_equal(u.retry_ms, 11000);
}

static void test_scales(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    w->desired.units = 4;
    desire(w);
    assert_int_equal(n_units(w), 4);
    unit_at(w, 2, &u);
    make_ready(w, &u);
    w->desired.units = 3;
    desire(w);
    assert_int_equal(n_units(w), 3);
    unit_at(w, 2, &u);
    assert_int_equal(u.state, A_UNIT_READY); /* the one that was not READY went */
    assert_int_equal(count(w, UNIT_ACTION_ENDPOINTS), 1);
    w->desired.units = 0;
    desire(w);
    assert_int_equal(n_units(w), 0);
    assert_int_equal(count(w, UNIT_ACTION_RECORD_DEL), 4);
}

/* U3: routing, acknowledgement, in-flight work, claims: in this order. */
static void test_drain_order(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    w->hold_ack = w->hold_idle = true;
    w->desired.units = 1;
    desire(w);
    const struct unit_action *withdraw = acted(w, UNIT_ACTION_ENDPOINTS, 0);
    assert_int_equal(withdraw->endpoints, UNIT_ENDPOINTS_DRAINING);
    sleep_ms(w, 60000);
    struct unit_fleet_event e = {.type = UNIT_FLEET_WITHDRAWN, .sequence = withdraw->sequence - 1};
    step(w, e);
    sleep_ms(w, 10000);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0); /* however long it takes, within ... */
    e.sequence = withdraw->sequence;
    step(w, e);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
    sleep_ms(w, 9999);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
    sleep_ms(w, 1);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1); /* ... the drain's time and its margin */
    assert_int_equal(n_units(w), 1);
    w->desired.units = 0;
    desire(w);
    unit_at(w, 0, &u);
    e.sequence = acted(w, UNIT_ACTION_ENDPOINTS, 2)->sequence;
    step(w, e);
    struct unit_fleet_event idle = {.type = UNIT_FLEET_IDLE};
    idle.unit.unit = u.name;
    step(w, idle);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 2);
}

/* A gateway that hangs: connected, and without a word. Only what leaves is not waited for any longer. */
static void test_gateway_hangs(void **state)
{
    struct world *w = running(state);
    w->hold_ack = true;
    w->desired.units = 1;
    desire(w);
    sleep_ms(w, 79999);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
    size_t events = count(w, UNIT_ACTION_EVENT);
    sleep_ms(w, 1);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1);
    assert_true(count(w, UNIT_ACTION_EVENT) > events);
    sleep_ms(w, 600000);
    assert_int_equal(n_units(w), 1);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1);
}

static void test_head_node_lost(void **state)
{
    struct world *w = running(state);
    struct unit_info u, r;
    unit_at(w, 0, &u);
    struct unit_report back = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &back, 1);
    node(w, &u.head_node, A_NODE_SUSPECT);
    assert_int_equal(count(w, UNIT_ACTION_ENDPOINTS), 0); /* endpoints stay while gateways see success */
    assert_int_equal(n_units(w), 2);
    node(w, &u.head_node, A_NODE_DEAD);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 0)->endpoints, UNIT_ENDPOINTS_DEAD);
    assert_int_equal(find(w, &u).state, A_UNIT_LOST);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0); /* U4 */
    unit_at(w, 2, &r);
    make_ready(w, &r);
    mark(w);
    send(w, &back); /* too late: it is released, never routed again */
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1);
    assert_int_equal(count(w, UNIT_ACTION_ENDPOINTS), 1);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 0)->endpoints, UNIT_ENDPOINTS_NONE);
    assert_int_equal(n_units(w), 2);
    assert_int_equal(status(w).ready, 2);
}

static void test_lost_unit_comes_back_in_time(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_report back = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &back, 1);
    node(w, &u.head_node, A_NODE_DEAD);
    assert_int_equal(n_units(w), 3);
    send(w, &back);
    node(w, &u.head_node, A_NODE_UP);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(find(w, &u).endpoints, UNIT_ENDPOINTS_UP);
    assert_int_equal(n_units(w), 2); /* the replacement, not READY yet, went instead */
    assert_int_equal(status(w).ready, 2);
}

/* U3: it comes back only to fail; a gateway that has not heard that it is DEAD may still send to it. */
static void test_lost_unit_comes_back_and_fails(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_report back = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &back, 1);
    back.serve = UNIT_SERVE_FAILED;
    back.reason = A_REASON_SERVE_REJECTED;
    w->hold_ack = true;
    node(w, &u.head_node, A_NODE_DEAD);
    struct unit_fleet_event e = {.type = UNIT_FLEET_WITHDRAWN};
    e.sequence = acted(w, UNIT_ACTION_ENDPOINTS, 0)->sequence;
    size_t before = count(w, UNIT_ACTION_RELEASE);
    send(w, &back);
    node(w, &u.head_node, A_NODE_UP);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), before);
    step(w, e);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), before + 1);
}

static void test_head_exits(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_EXITED);
    r.reason = A_REASON_OOM_KILLED;
    send(w, &r);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 0)->endpoints, UNIT_ENDPOINTS_DEAD);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1); /* at once: it is the first time */
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1);
    /* its successors inherit the budget: the more often, the slower */
    for (int i = 0; i < 4; i++) {
        all_ready(w);
        mark(w);
        unit_at(w, 1, &u);
        r = report_of(w, &u, 0, A_MEMBER_EXITED);
        send(w, &r);
        assert_int_equal(count(w, UNIT_ACTION_PLACE), 0);
        sleep_ms(w, budget_pause(i + 2));
        assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    }
}

static void test_start_fails_for_the_apps_fault(void **state)
{
    struct world *w = *state;
    struct unit_info u;
    w->desired.units = 1;
    desire(w);
    adopted(w);
    unit_at(w, 0, &u);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    r.serve = UNIT_SERVE_FAILED;
    r.reason = A_REASON_IMPORT_FAILED;
    r.message = A_VIEW_LIT("ModuleNotFoundError: No module named 'cv3'");
    send(w, &r);
    u = find(w, &u);
    assert_int_equal(u.state, A_UNIT_FAILED);
    assert_true(u.final);
    assert_non_null(strstr(u.message, "cv3"));
    assert_non_null(strstr(status(w).last_failure, "cv3"));
    assert_true(status(w).conditions[UNIT_DEGRADED].status);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1);
    sleep_ms(w, UNIT_BACKOFF_MAX_MS - 1);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    w->desired.revision = 2; /* repaired */
    desire(w);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 2);
    assert_int_equal(n_units(w), 1);
}

static void test_start_fails_by_accident(void **state)
{
    struct world *w = *state;
    struct unit_info u;
    w->desired.units = 1;
    desire(w);
    adopted(w);
    for (int i = 1; i <= UNIT_BUDGET; i++) {
        unit_at(w, 0, &u);
        assert_int_equal(u.state, A_UNIT_FETCHING);
        struct unit_report r = report_of(w, &u, 0, A_MEMBER_EXITED);
        assert_int_equal(r.claim.attempt, i); /* never the same claim twice */
        r.reason = A_REASON_RAY_START_FAILED;
        r.message = A_VIEW_LIT("GCS did not start");
        send(w, &r);
        assert_int_equal(find(w, &u).state, A_UNIT_FAILED);
        assert_int_equal(find(w, &u).final, i == UNIT_BUDGET);
        mark(w);
        sleep_ms(w, budget_pause(i) - 1);
        assert_int_equal(count(w, UNIT_ACTION_PLACE), 0);
        sleep_ms(w, 1);
        assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    }
}

static void test_unhealthy_leaves_routing_and_is_replaced(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &r, 1);
    r.serve = UNIT_SERVE_UNHEALTHY;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_UNHEALTHY);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 0)->endpoints, UNIT_ENDPOINTS_DRAINING);
    serves(w, &r, 1);
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 1)->endpoints, UNIT_ENDPOINTS_UP);
    r.endpoints = 0;
    send(w, &r);
    sleep_ms(w, UNIT_UNHEALTHY_MS);
    assert_int_equal(n_units(w), 3);
    all_ready(w);
    assert_int_equal(n_units(w), 2);
    assert_int_equal(status(w).ready, 2);
}

/* U6: what a head started serves on without it; when it stays silent the unit is replaced in order. */
static void test_silent_head(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &r, 1);
    r.silent = true;
    send(w, &r);
    struct unit_condition degraded = status(w).conditions[UNIT_DEGRADED];
    assert_true(degraded.status && degraded.reason == A_REASON_HEALTH_CHECK_FAILED);
    assert_non_null(strstr(degraded.message, u.name.s));
    sleep_ms(w, UNIT_UNHEALTHY_MS);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 0);
    r.silent = false;
    send(w, &r);
    assert_false(status(w).conditions[UNIT_DEGRADED].status);

    r.silent = r.overdue = true;
    send(w, &r);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    assert_int_equal(count(w, UNIT_ACTION_ENDPOINTS), 0); /* it serves on meanwhile */
    all_ready(w);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 1)->endpoints, UNIT_ENDPOINTS_DRAINING);
    assert_int_equal(acted(w, UNIT_ACTION_RELEASE, 0)->reason, A_REASON_HEAD_LOST);
    assert_int_equal(status(w).ready, 2);
}

static void test_silent_head_that_speaks_in_time(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &r, 1);
    r.silent = r.overdue = true;
    send(w, &r);
    assert_int_equal(n_units(w), 3);
    r.silent = r.overdue = false;
    send(w, &r);
    assert_int_equal(n_units(w), 2); /* the one that was to replace it is one too many */
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
}

static void test_silent_head_without_replicas(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &r, 1);
    r.silent = true;
    r.endpoints = 0;
    send(w, &r);
    assert_int_equal(find(w, &u).reason, A_REASON_HEAD_LOST);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 0)->endpoints, UNIT_ENDPOINTS_DEAD);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1); /* at once */
}

/* One of several replicas is gone: its siblings are not taken from routing for that. */
static void test_unhealthy_application_with_live_replicas(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_report r = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &r, 1);
    r.serve = UNIT_SERVE_LIMPING;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(count(w, UNIT_ACTION_ENDPOINTS), 0);
    assert_true(status(w).conditions[UNIT_DEGRADED].status);
    r.endpoints = 0;
    send(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_UNHEALTHY);
}

static void test_node_of_a_head_drains(void **state)
{
    struct world *w = running(state);
    struct unit_info u, r;
    unit_at(w, 0, &u);
    node(w, &u.head_node, A_NODE_DRAINING);
    assert_int_equal(find(w, &u).state, A_UNIT_READY); /* U6: serves until the replacement is READY */
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
    unit_at(w, 2, &r);
    assert_true(find(w, &u).leaving); /* its replacement may go to the same cluster */
    assert_false(r.leaving);
    w->hold_ack = true;
    make_ready(w, &r);
    assert_int_equal(find(w, &u).state, A_UNIT_DRAINING);
    assert_int_equal(find(w, &u).reason, A_REASON_DRAINED);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
    struct unit_fleet_event e = {.type = UNIT_FLEET_WITHDRAWN, .sequence = find(w, &u).endpoints ? 99 : 0};
    step(w, e);
    e = (struct unit_fleet_event){.type = UNIT_FLEET_IDLE};
    e.unit.unit = u.name;
    step(w, e);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1);
    assert_int_equal(n_units(w), 2);
}

/* Its beats come late: it drains on, and the replacement that has begun goes on, too. */
static void test_silent_node_drains_on(void **state)
{
    struct world *w = running(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    node(w, &u.head_node, A_NODE_DRAINING);
    assert_int_equal(n_units(w), 3);
    for (int i = 0; i < 3; i++) {
        node(w, &u.head_node, A_NODE_SUSPECT);
        assert_true(find(w, &u).leaving);
        node(w, &u.head_node, A_NODE_DRAINING);
    }
    assert_int_equal(n_units(w), 3);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    node(w, &u.head_node, A_NODE_UP); /* taken back: now it may stay */
    assert_false(find(w, &u).leaving);
}

static struct world *with_workers(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 4; i++)
        w->revisions[i].n_members = 3;
    w->desired.units = 1;
    desire(w);
    adopted(w);
    all_ready(w);
    assert_int_equal(status(w).ready, 1);
    mark(w);
    return w;
}

static size_t member_index(struct world *w, const struct unit_info *u, const char *name, uint32_t attempt)
{
    struct unit_member_info m;
    for (size_t i = 0; unit_fleet_member(w->fleet, &u->name, i, &m); i++)
        if (strcmp(m.name.s, name) == 0 && m.attempt == attempt)
            return i;
    fail_msg("no member %s/%u", name, attempt);
    return 0;
}

static void test_worker_lost_is_replaced_alone(void **state)
{
    struct world *w = with_workers(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    size_t i = member_index(w, &u, "gpu-1", 1);
    struct unit_report back = report_of(w, &u, i, A_MEMBER_UP);
    node(w, &back.node, A_NODE_DEAD);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    const struct unit_action *place = acted(w, UNIT_ACTION_PLACE, 0);
    assert_non_null(place);
    assert_int_equal(place->n_members, 1);
    assert_string_equal(place->cluster.s, "east");
    assert_int_equal(count(w, UNIT_ACTION_RECORD_PUT), 1);
    size_t j = member_index(w, &u, "gpu-1", 2);
    struct unit_report fresh = report_of(w, &u, j, A_MEMBER_UP);
    send(w, &fresh);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    send(w, &back); /* the old one is back: two are one too many */
    node(w, &back.node, A_NODE_UP);
    assert_int_equal(find(w, &u).n_members, 3);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
}

/* The replica is gone with its worker: the unit serves no more. */
static void worker_exits(struct world *w, const struct unit_info *u, const char *name, uint32_t attempt,
                         enum a_reason reason)
{
    struct unit_report r = report_of(w, u, member_index(w, u, name, attempt), A_MEMBER_EXITED);
    r.reason = reason;
    r.message = A_VIEW_LIT("The current node timed out during startup");
    send(w, &r);
}

static void head_offers(struct world *w, const struct unit_info *u, uint32_t endpoints)
{
    struct unit_report head = report_of(w, u, member_index(w, u, "head", 1), A_MEMBER_UP);
    serves(w, &head, u->revision);
    head.endpoints = endpoints;
    send(w, &head);
}

/* Ray ends a worker that could not register within 30 s: another follows, ever later, and the unit stays the
 * one it is, however long its worker takes. */
static void test_worker_that_does_not_register_is_tried_again(void **state)
{
    struct world *w = with_workers(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    worker_exits(w, &u, "gpu-1", 1, A_REASON_HEALTH_CHECK_FAILED);
    head_offers(w, &u, 0);
    assert_int_equal(find(w, &u).state, A_UNIT_UNHEALTHY);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1); /* at once: it had been up */
    sleep_ms(w, UNIT_UNHEALTHY_MS + 30000);
    assert_false(find(w, &u).leaving);
    worker_exits(w, &u, "gpu-1", 2, A_REASON_RAY_START_FAILED);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    sleep_ms(w, budget_pause(2) - 1);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    sleep_ms(w, 1);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 2);
    sleep_ms(w, UNIT_UNHEALTHY_MS + 30000);
    assert_false(find(w, &u).leaving);
    struct unit_report up = report_of(w, &u, member_index(w, &u, "gpu-1", 3), A_MEMBER_UP);
    send(w, &up);
    sleep_ms(w, UNIT_UNHEALTHY_MS - 1000); /* Serve has its time from here on */
    assert_false(find(w, &u).leaving);
    head_offers(w, &u, 1);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(n_units(w), 1);
    assert_int_equal(find(w, &u).n_members, 3);
}

/* But a unit whose workers fail on and on is replaced as a whole. */
static void test_unit_whose_workers_never_come_is_replaced(void **state)
{
    struct world *w = with_workers(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    worker_exits(w, &u, "gpu-1", 1, A_REASON_HEALTH_CHECK_FAILED);
    head_offers(w, &u, 0);
    for (uint32_t attempt = 2; attempt <= UNIT_WORKER_FAILURES; attempt++) {
        assert_false(find(w, &u).leaving);
        worker_exits(w, &u, "gpu-1", attempt, A_REASON_RAY_START_FAILED);
        sleep_ms(w, budget_pause((int)attempt));
    }
    assert_false(find(w, &u).leaving);
    sleep_ms(w, UNIT_UNHEALTHY_MS);
    assert_true(find(w, &u).leaving);
    assert_int_equal(n_units(w), 2);
}

/* So is one whose worker finds no place: another cluster may have room. */
static void test_unit_whose_worker_finds_no_place_is_replaced(void **state)
{
    struct world *w = with_workers(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    w->hold_place = true;
    worker_exits(w, &u, "gpu-1", 1, A_REASON_HEALTH_CHECK_FAILED);
    head_offers(w, &u, 0);
    for (size_t i = 0; i < UNIT_UNHEALTHY_MS / UNIT_NO_CAPACITY_RETRY_MS; i++) {
        assert_false(find(w, &u).leaving);
        struct unit_fleet_event e = {.type = UNIT_FLEET_UNPLACED};
        e.place.gang = acted(w, UNIT_ACTION_PLACE, i)->gang;
        e.place.reason = A_REASON_NO_CAPACITY;
        step(w, e);
        sleep_ms(w, UNIT_NO_CAPACITY_RETRY_MS);
    }
    assert_true(find(w, &u).leaving);
}

static void test_worker_on_a_draining_node(void **state)
{
    struct world *w = with_workers(state);
    struct unit_info u;
    unit_at(w, 0, &u);
    struct unit_member_info old = member_at(w, &u, member_index(w, &u, "gpu-0", 1));
    node(w, &old.node, A_NODE_DRAINING);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0); /* its replacement joins first */
    struct unit_report fresh = report_of(w, &u, member_index(w, &u, "gpu-0", 2), A_MEMBER_UP);
    send(w, &fresh);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1);
    assert_int_equal(find(w, &u).n_members, 3);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
}

/* U1, U4: a server that restarts finds everything again and touches nothing. */
static void test_restart_rebuilds_from_records(void **state)
{
    struct world *w = running(state);
    struct unit_record_member members[2][UNIT_MEMBERS_MAX];
    struct unit_record records[2];
    struct unit_report reports[2];
    struct unit_info u;
    for (size_t i = 0; i < 2; i++) {
        unit_at(w, i, &u);
        assert_true(unit_fleet_record(w->fleet, &u.name, members[i], &records[i]));
        reports[i] = report_of(w, &u, 0, A_MEMBER_UP);
        serves(w, &reports[i], 1);
    }
    unit_fleet_free(w->fleet);
    w->fleet = unit_fleet_new(8);
    w->desired.epoch = 2;
    w->desired.proven = 1;
    desire(w);
    for (size_t i = 0; i < 2; i++)
        step(w, (struct unit_fleet_event){.type = UNIT_FLEET_RECORD, .record = &records[i]});
    send(w, &reports[0]);
    node(w, &reports[0].node, A_NODE_UP);
    assert_int_equal(status(w).ready, 1);
    adopted(w);
    sleep_ms(w, UNIT_ABSENT_MS - 1); /* the other node takes its time */
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 0);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
    send(w, &reports[1]);
    node(w, &reports[1].node, A_NODE_UP);
    sleep_ms(w, 60000);
    assert_int_equal(status(w).ready, 2);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 0);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
}

/* U9: nothing is decided about a unit whose head has not reported yet, whatever is deployed or scaled
 * meanwhile. */
/* U10: what a server before this one still has under way must not reach what this one took over. */
static void test_takes_the_epoch_to_the_nodes(void **state)
{
    struct world *w = running(state);
    struct unit_report r[2];
    struct unit_info u;
    for (size_t i = 0; i < 2; i++) {
        unit_at(w, i, &u);
        r[i] = report_of(w, &u, 0, A_MEMBER_UP);
        serves(w, &r[i], 1);
        snprintf(r[i].store_id.s, sizeof r[i].store_id.s, "former");
        r[i].epoch = 1;
    }
    unit_fleet_free(w->fleet);
    w->fleet = unit_fleet_new(8);
    mark(w);
    w->desired.epoch = 2;
    desire(w);
    send(w, &r[0]);
    assert_int_equal(count(w, UNIT_ACTION_FENCE), 0); /* U1 */
    adopted(w);
    assert_int_equal(count(w, UNIT_ACTION_FENCE), 1);
    const struct unit_action *a = acted(w, UNIT_ACTION_FENCE, 0);
    assert_true(a->epoch == 2 && a_claim_id_equal(&a->claim, &r[0].claim));
    assert_string_equal(a->store_id.s, "former"); /* the claim's own */
    assert_string_equal(a->node.s, r[0].node.s);
    send(w, &r[1]);
    assert_int_equal(count(w, UNIT_ACTION_FENCE), 2);
    sleep_ms(w, 10000);
    assert_int_equal(count(w, UNIT_ACTION_FENCE), 2); /* who carries it sees to it that it arrives */
    send(w, &r[0]);
    assert_int_equal(count(w, UNIT_ACTION_FENCE), 3); /* not there yet: its node was forgotten, perhaps */
    r[0].epoch = r[1].epoch = 2;
    send(w, &r[0]);
    send(w, &r[1]);
    assert_int_equal(count(w, UNIT_ACTION_FENCE), 3);
    w->desired.epoch = 3; /* recover */
    desire(w);
    assert_int_equal(count(w, UNIT_ACTION_FENCE), 5);
}

static void test_restart_leaves_the_unheard_alone(void **state)
{
    struct world *w = running(state);
    struct unit_record_member members[2][UNIT_MEMBERS_MAX];
    struct unit_record records[2];
    struct unit_info u;
    for (size_t i = 0; i < 2; i++) {
        unit_at(w, i, &u);
        assert_true(unit_fleet_record(w->fleet, &u.name, members[i], &records[i]));
    }
    unit_fleet_free(w->fleet);
    w->fleet = unit_fleet_new(8);
    w->desired.epoch = 2;
    w->desired.proven = 1;
    w->desired.revision = 2;
    desire(w);
    for (size_t i = 0; i < 2; i++)
        step(w, (struct unit_fleet_event){.type = UNIT_FLEET_RECORD, .record = &records[i]});
    adopted(w);
    w->desired.units = 1;
    desire(w);
    sleep_ms(w, UNIT_ABSENT_MS - 1);
    assert_int_equal(count(w, UNIT_ACTION_ENDPOINTS), 0);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
    sleep_ms(w, 1); /* nobody came: LOST, and gateways are told */
    assert_int_equal(status(w).lost, 2);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 0)->endpoints, UNIT_ENDPOINTS_DEAD);
}

/* U6: of another revision, but it serves and nothing else does: it stays until another one serves. */
static void test_lost_unit_stands_in(void **state)
{
    struct world *w = running(state);
    struct unit_info u, other;
    unit_at(w, 0, &u);
    unit_at(w, 1, &other);
    struct unit_report back = report_of(w, &u, 0, A_MEMBER_UP);
    serves(w, &back, 1);
    node(w, &u.head_node, A_NODE_DEAD);
    node(w, &other.head_node, A_NODE_DEAD);
    w->desired.revision = 2;
    desire(w);
    send(w, &back);
    node(w, &u.head_node, A_NODE_UP);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(find(w, &u).endpoints, UNIT_ENDPOINTS_UP);
    all_ready(w);
    sleep_ms(w, 60000); /* baked: the new ones have taken over */
    assert_false(unit_fleet_find(w->fleet, &u.name, &other));
    assert_int_equal(status(w).ready, 2);
}

static void test_restart_with_a_node_that_never_comes(void **state)
{
    struct world *w = *state;
    struct unit_record_member m = {.name = {"head"}, .head = true, .attempt = 3, .node = node_id(9)};
    struct unit_record record = {.unit = {"ocr-aaaaa"}, .revision = 1, .members = &m, .n_members = 1};
    w->desired.units = 1;
    desire(w);
    step(w, (struct unit_fleet_event){.type = UNIT_FLEET_RECORD, .record = &record});
    adopted(w);
    sleep_ms(w, UNIT_ABSENT_MS);
    assert_int_equal(status(w).lost, 1);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
    /* the node comes, and has nothing */
    node(w, &m.node, A_NODE_UP);
    assert_int_equal(n_units(w), 1);
    assert_int_equal(count(w, UNIT_ACTION_RECORD_DEL), 1);
}

/* Claims whose records are lost: adopted when the app is short, else released. */
static void test_strays(void **state)
{
    struct world *w = *state;
    struct unit_report r = {.node = node_id(3),
                            .head = true,
                            .claim_state = A_CLAIM_BOUND,
                            .member_state = A_MEMBER_UP,
                            .revision = 1,
                            .epoch = 1};
    snprintf(r.claim.app_uid.s, sizeof r.claim.app_uid.s, "%s", uid);
    snprintf(r.claim.unit.s, sizeof r.claim.unit.s, "%s", "ocr-stray");
    snprintf(r.claim.member.s, sizeof r.claim.member.s, "%s", "head");
    snprintf(r.store_id.s, sizeof r.store_id.s, "%s", store);
    r.claim.attempt = 4;
    serves(w, &r, 1);
    w->desired.units = 1;
    desire(w);
    send(w, &r);
    adopted(w);
    assert_int_equal(n_units(w), 1);
    assert_int_equal(status(w).ready, 1);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 0);
    snprintf(r.claim.unit.s, sizeof r.claim.unit.s, "%s", "ocr-other");
    send(w, &r);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1);
    assert_string_equal(acted(w, UNIT_ACTION_RELEASE, 0)->claim.unit.s, "ocr-other");
    assert_int_equal(n_units(w), 1);
}

static void test_delete(void **state)
{
    struct world *w = running(state);
    w->hold_gone = true;
    w->desired.deleted = true;
    desire(w);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 2);
    assert_int_equal(count(w, UNIT_ACTION_DELETED), 0);
    for (size_t i = 0; i < 2; i++) {
        const struct unit_action *a = acted(w, UNIT_ACTION_RELEASE, i);
        struct unit_fleet_event e = {.type = UNIT_FLEET_GONE};
        e.gone.claim = a->claim;
        e.gone.node = a->node;
        step(w, e);
    }
    assert_int_equal(count(w, UNIT_ACTION_DELETED), 1);
    assert_int_equal(n_units(w), 0);
}

static void test_poison(void **state)
{
    struct world *w = *state;
    struct unit_info u;
    w->desired.units = 1;
    desire(w);
    adopted(w);
    for (int i = 0; i < UNIT_POISON_NODES; i++) {
        unit_at(w, n_units(w) - 1, &u);
        assert_int_equal(u.state, A_UNIT_FETCHING);
        node(w, &u.head_node, A_NODE_DEAD);
        sleep_ms(w, 20000);
    }
    assert_true(status(w).poisoned);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), UNIT_POISON_NODES);
    assert_int_equal(status(w).conditions[UNIT_PLACED].reason, A_REASON_POISON_SUSPECTED);
    step(w, (struct unit_fleet_event){.type = UNIT_FLEET_RETRY});
    assert_int_equal(count(w, UNIT_ACTION_PLACE), UNIT_POISON_NODES + 1);
}

static void test_nodes_that_die_together_are_no_poison(void **state)
{
    struct world *w = *state;
    struct unit_info u;
    w->desired.units = 4;
    desire(w);
    adopted(w);
    for (size_t i = 0; i < 4; i++) {
        unit_at(w, i, &u);
        node(w, &u.head_node, A_NODE_DEAD);
    }
    assert_false(status(w).poisoned);
}

static void test_unplaced_after_grant_drops_the_record(void **state)
{
    struct world *w = *state;
    struct unit_info u;
    w->desired.units = 1;
    w->hold_bind = true;
    desire(w);
    adopted(w);
    unit_at(w, 0, &u);
    assert_int_equal(u.state, A_UNIT_CLAIMING);
    struct unit_fleet_event e = {.type = UNIT_FLEET_UNPLACED};
    e.place.gang = acted(w, UNIT_ACTION_PLACE, 0)->gang;
    e.place.attempt_max = 1;
    e.place.reason = A_REASON_NODE_LOST;
    step(w, e);
    assert_int_equal(count(w, UNIT_ACTION_RECORD_DEL), 1);
    assert_int_equal(find(w, &u).n_members, 0);
    w->hold_bind = false;
    sleep_ms(w, UNIT_BACKOFF_MIN_MS);
    u = find(w, &u);
    assert_int_equal(u.state, A_UNIT_FETCHING);
    assert_int_equal(member_at(w, &u, 0).attempt, 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_deploys),
        T(test_record_before_bind),
        T(test_no_capacity_waits),
        T(test_scales),
        T(test_drain_order),
        T(test_gateway_hangs),
        T(test_head_node_lost),
        T(test_lost_unit_comes_back_in_time),
        T(test_lost_unit_comes_back_and_fails),
        T(test_head_exits),
        T(test_start_fails_for_the_apps_fault),
        T(test_start_fails_by_accident),
        T(test_unhealthy_leaves_routing_and_is_replaced),
        T(test_silent_head),
        T(test_silent_head_that_speaks_in_time),
        T(test_silent_head_without_replicas),
        T(test_unhealthy_application_with_live_replicas),
        T(test_node_of_a_head_drains),
        T(test_silent_node_drains_on),
        T(test_worker_lost_is_replaced_alone),
        T(test_worker_that_does_not_register_is_tried_again),
        T(test_unit_whose_workers_never_come_is_replaced),
        T(test_unit_whose_worker_finds_no_place_is_replaced),
        T(test_worker_on_a_draining_node),
        T(test_restart_rebuilds_from_records),
        T(test_takes_the_epoch_to_the_nodes),
        T(test_restart_leaves_the_unheard_alone),
        T(test_lost_unit_stands_in),
        T(test_restart_with_a_node_that_never_comes),
        T(test_strays),
        T(test_delete),
        T(test_poison),
        T(test_nodes_that_die_together_are_no_poison),
        T(test_unplaced_after_grant_drops_the_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
