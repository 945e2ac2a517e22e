/* The pace of an upgrade of agents; E1.. are the invariants of docs/components/upgrade.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/macro.h"
#include "starlink/upgrade/upgrade.h"

#define NODES 24 /* a: 20, b: 4 */

struct world {
    struct sl_upgrade core;
    struct sl_upgrade_update u;
    struct sl_upgrade_row rows[NODES];
    uint64_t now_ms;
    bool unsettled;
    const char *worse;
};

static struct a_node_id node(size_t i)
{
    struct a_node_id id = {{0}};
    snprintf(id.s, sizeof id.s, "node%zu", i);
    return id;
}

static void begin(struct world *w, uint32_t pace)
{
    *w = (struct world){.now_ms = 1000};
    for (size_t i = 0; i < NODES; i++) {
        w->rows[i] = (struct sl_upgrade_row){.id = node(i), .conn = 1, .wants = true, .ready = true};
        strcpy(w->rows[i].cluster.s, i < 20 ? "a" : "b");
    }
    sl_upgrade_init(&w->core, pace);
}

static size_t look(struct world *w, uint64_t after_ms)
{
    w->now_ms += after_ms;
    sl_upgrade_step(&w->core,
                    &(struct sl_upgrade_event){.type = SL_UPGRADE_LOOK,
                                               .now_ms = w->now_ms,
                                               .rows = w->rows,
                                               .n_rows = NODES,
                                               .unsettled = w->unsettled,
                                               .worse = w->worse},
                    &w->u);
    return w->u.n_tell;
}

static void say(struct world *w, enum sl_upgrade_event_type type, size_t i)
{
    sl_upgrade_step(
        &w->core,
        &(struct sl_upgrade_event){.type = type, .now_ms = w->now_ms, .node = node(i), .message = "broken"},
        &w->u);
}

/* As a node that does what it is told. */
static void obey(struct world *w, size_t i)
{
    say(w, SL_UPGRADE_FETCHING, i);
    say(w, SL_UPGRADE_RESTARTING, i);
    w->rows[i].through = true;
    w->rows[i].conn++;
}

static size_t index_of(const struct a_node_id *id)
{
    size_t i = 0;
    while (i < NODES && strcmp(node(i).s, id->s) != 0)
        i++;
    return i;
}

/* E1, E2: a tenth at a time, one cluster after the other, each node once. */
static void test_pace(void **state)
{
    (void)state;
    struct world w;
    size_t told[NODES] = {0}, n = 0;
    begin(&w, 0);
    while (!(look(&w, 500), w.u.idle)) {
        assert_true(w.core.n_flights <= (n <= 20 ? 2u : 1u));
        for (size_t i = 0; i < w.u.n_tell; i++) {
            size_t k = index_of(&w.u.tell[i]);
            assert_true(n++ < 20 ? k < 20 : k >= 20);
            told[k]++;
        }
        for (size_t k = 0; k < NODES; k++)
            if (told[k] == 1 && !w.rows[k].through)
                obey(&w, k);
        assert_true(w.now_ms < 600000);
    }
    for (size_t k = 0; k < NODES; k++)
        assert_int_equal(told[k], 1);
    sl_upgrade_deinit(&w.core);
    begin(&w, 7);
    assert_int_equal(look(&w, 0), 7);
    assert_int_equal(look(&w, 500), 0);
    sl_upgrade_deinit(&w.core);
}

/* E3: two failures in a row stop it; one in between that is through does not count as none. */
static void test_failures(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1);
    assert_int_equal(look(&w, 0), 1);
    say(&w, SL_UPGRADE_FAILED, 0);
    assert_string_equal(w.u.failed.s, "node0");
    assert_false(w.u.stopped);
    assert_int_equal(look(&w, 500), 1);
    obey(&w, 1);
    look(&w, 500);
    assert_int_equal(look(&w, SL_UPGRADE_STEADY_MS), 1);
    say(&w, SL_UPGRADE_FAILED, 2);
    assert_false(w.u.stopped);
    assert_int_equal(look(&w, 500), 1);
    say(&w, SL_UPGRADE_RESTARTING, 3);
    assert_int_equal(look(&w, SL_UPGRADE_BACK_MS - 1), 0);
    assert_false(w.u.stopped);
    look(&w, 1); /* it did not come back */
    assert_true(w.u.stopped);
    assert_non_null(strstr(w.u.message, "2 nodes failed in a row"));
    assert_int_equal(look(&w, 500), 0);
    assert_non_null(sl_upgrade_failure(&w.core, &(struct a_node_id){"node3"}));
    sl_upgrade_deinit(&w.core);
}

/* What nodes remember from before this server started counts as failed, and not as a row. */
static void test_remembered(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1);
    for (size_t i = 0; i < 5; i++)
        say(&w, SL_UPGRADE_FAILED, i);
    assert_false(w.u.stopped);
    assert_int_equal(look(&w, 0), 1);
    assert_string_equal(w.u.tell[0].s, "node5");
    sl_upgrade_deinit(&w.core);
}

/* E4: nothing more is told while a unit does not serve; one that is lost by it stops all. */
static void test_units(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1);
    look(&w, 0);
    obey(&w, 0);
    w.unsettled = true;
    look(&w, 500);
    assert_int_equal(look(&w, 60000), 0);
    assert_true(sl_upgrade_is_under_way(&w.core, &(struct a_node_id){"node0"}));
    w.unsettled = false;
    assert_int_equal(look(&w, 500), 1);
    w.worse = "unit x is LOST";
    look(&w, 500);
    assert_true(w.u.stopped);
    assert_string_equal(w.u.message, "unit x is LOST");
    sl_upgrade_deinit(&w.core);
}

/* E5: one that broke off before it had the artifact is told once more; one that never answers fails. */
static void test_silence(void **state)
{
    (void)state;
    struct world w;
    begin(&w, 1);
    look(&w, 0);
    w.rows[0].conn = 0;
    assert_int_equal(look(&w, 500), 0);
    w.rows[0].conn = 9;
    assert_int_equal(look(&w, 500), 1);
    assert_string_equal(w.u.tell[0].s, "node0");
    assert_int_equal(look(&w, SL_UPGRADE_ANSWER_MS - 1), 0);
    assert_string_equal(w.u.failed.s, "");
    look(&w, 1);
    assert_string_equal(w.u.failed.s, "node0");
    assert_string_equal(w.u.tell[0].s, "node1");
    /* time for the fetch */
    say(&w, SL_UPGRADE_FETCHING, 1);
    look(&w, SL_UPGRADE_FETCH_MS - 1);
    assert_string_equal(w.u.failed.s, "");
    look(&w, 1);
    assert_string_equal(w.u.failed.s, "node1");
    sl_upgrade_deinit(&w.core);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pace),  cmocka_unit_test(test_failures), cmocka_unit_test(test_remembered),
        cmocka_unit_test(test_units), cmocka_unit_test(test_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
