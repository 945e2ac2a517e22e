/* Units whose nodes say when they end: a pod that was deleted, a machine that shuts down. */
#include "fleet_world.h"

static struct world *running_units(void **state, uint32_t units)
{
    struct world *w = *state;
    w->desired.units = units;
    desire(w);
    adopted(w);
    all_ready(w);
    sleep_ms(w, 31000);
    assert_int_equal(status(w).ready, units);
    mark(w);
    return w;
}

/* U11: the other one serves on, so nothing is gained by waiting for the pod's end. */
static void test_a_node_that_ends_is_left_at_the_notice(void **state)
{
    struct world *w = running(state);
    struct unit_info u, r;
    unit_at(w, 0, &u);
    w->hold_ack = true;
    node_leaves(w, &u.head_node, A_NODE_DRAINING, w->now + 30000);
    assert_int_equal(find(w, &u).state, A_UNIT_DRAINING);
    assert_int_equal(find(w, &u).reason, A_REASON_DRAINED);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 0)->endpoints, UNIT_ENDPOINTS_DRAINING);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1); /* in the same step */
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
    unit_at(w, 2, &r);
    assert_false(r.leaving);
    struct unit_fleet_event e = {.type = UNIT_FLEET_WITHDRAWN, .sequence = 99};
    step(w, e);
    e = (struct unit_fleet_event){.type = UNIT_FLEET_IDLE};
    e.unit.unit = u.name;
    step(w, e);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1); /* U3 */
    make_ready(w, &r);
    sleep_ms(w, 60000);
    assert_int_equal(status(w).ready, 2);
    assert_int_equal(status(w).total, 2);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
}

/* U11: half of those wanted serve on. A unit that has to stay for it goes when enough serve in its place. */
static void test_nodes_that_end_are_left_while_half_serve(void **state)
{
    struct world *w = running_units(state, 4);
    struct unit_info u[3];
    for (size_t i = 0; i < 3; i++)
        unit_at(w, i, &u[i]);
    w->hold_ack = true;
    for (size_t i = 0; i < 3; i++)
        node_leaves(w, &u[i].head_node, A_NODE_DRAINING, w->now + 300000);
    assert_int_equal(find(w, &u[0]).state, A_UNIT_DRAINING);
    assert_int_equal(find(w, &u[1]).state, A_UNIT_DRAINING);
    assert_int_equal(find(w, &u[2]).state, A_UNIT_READY);
    assert_true(find(w, &u[2]).leaving);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 3);
    struct unit_info r;
    unit_at(w, 4, &r);
    make_ready(w, &r);
    assert_int_equal(find(w, &u[2]).state, A_UNIT_DRAINING);
}

/* U11: three are wanted, and one would be less than half of them. */
static void test_half_is_rounded_up(void **state)
{
    struct world *w = running_units(state, 3);
    struct unit_info u[2];
    for (size_t i = 0; i < 2; i++) {
        unit_at(w, i, &u[i]);
        node_leaves(w, &u[i].head_node, A_NODE_DRAINING, w->now + 300000);
    }
    assert_int_equal(n_units(w), 4); /* the first is gone; two are on their way */
    assert_int_equal(find(w, &u[1]).state, A_UNIT_READY);
}

/* U11: who is to leave itself is no reason to go. */
static void test_a_unit_that_drains_does_not_stand_in(void **state)
{
    struct world *w = running(state);
    struct unit_info a, b;
    unit_at(w, 0, &a);
    unit_at(w, 1, &b);
    node(w, &b.head_node, A_NODE_DRAINING); /* when it is empty: no end of its own */
    assert_int_equal(find(w, &b).state, A_UNIT_READY);
    node_leaves(w, &a.head_node, A_NODE_DRAINING, w->now + 300000);
    assert_int_equal(find(w, &a).state, A_UNIT_READY);
    assert_int_equal(find(w, &b).state, A_UNIT_READY);
    node(w, &b.head_node, A_NODE_UP); /* taken back: it stays, so the other one may go */
    assert_int_equal(find(w, &b).state, A_UNIT_READY);
    assert_int_equal(status(w).ready, 1);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1);
}

/* U6, U11: a rollout goes on only while as many serve as it may, those that a node took not among them. */
static void test_a_node_that_ends_during_a_rollout(void **state)
{
    struct world *w = running(state);
    struct unit_info a, b, next;
    unit_at(w, 0, &a);
    unit_at(w, 1, &b);
    w->desired.revision = 2;
    desire(w);
    unit_at(w, 2, &next);
    node_leaves(w, &a.head_node, A_NODE_DRAINING, w->now + 300000);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 2); /* another of the new revision: live is 3 again */
    assert_int_equal(n_units(w), 3);
    make_ready(w, &next);
    sleep_ms(w, 30000);
    assert_int_equal(find(w, &b).state, A_UNIT_READY); /* two serve, and two are wanted */
    all_ready(w);
    sleep_ms(w, 30000);
    assert_int_equal(n_units(w), 2);
    assert_int_equal(status(w).updated, 2);
}

/* U11: a pod has a grace. What serves there leaves routing in time, though nothing serves in its place. */
static void test_a_node_that_ends_is_left_in_time(void **state)
{
    struct world *w = running_units(state, 1);
    struct unit_info u;
    unit_at(w, 0, &u);
    node_leaves(w, &u.head_node, A_NODE_DRAINING, w->now + 30000);
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1); /* another one comes at once */
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    sleep_ms(w, 14999); /* requests have the second half */
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 0);
    sleep_ms(w, 1);
    assert_int_equal(acted(w, UNIT_ACTION_ENDPOINTS, 0)->endpoints, UNIT_ENDPOINTS_DRAINING);
    assert_int_equal(count(w, UNIT_ACTION_RELEASE), 1); /* withdrawn, idle, released: in this order, U3 */
    assert_int_equal(count(w, UNIT_ACTION_PLACE), 1);
}

static void test_a_node_that_ends_may_be_taken_back(void **state)
{
    struct world *w = running_units(state, 1);
    struct unit_info u;
    unit_at(w, 0, &u);
    node_leaves(w, &u.head_node, A_NODE_DRAINING, w->now + 30000);
    node(w, &u.head_node, A_NODE_UP);
    sleep_ms(w, 60000);
    assert_int_equal(find(w, &u).state, A_UNIT_READY);
    assert_false(find(w, &u).leaving);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_node_that_ends_is_left_at_the_notice),
        T(test_nodes_that_end_are_left_while_half_serve),
        T(test_half_is_rounded_up),
        T(test_a_unit_that_drains_does_not_stand_in),
        T(test_a_node_that_ends_during_a_rollout),
        T(test_a_node_that_ends_is_left_in_time),
        T(test_a_node_that_ends_may_be_taken_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
