/* The resource table: order of rows, evidence of death, snapshots, duplicates, orphans. The numbers R1.. are
 * the invariants of docs/components/resource.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "starlink/resource/resource.h"

#define GiB (UINT64_C(1) << 30)

struct world {
    struct sl_resource table;
    struct sl_resource_update update;
    uint64_t now;
    uint64_t sequence;
};

static struct a_node_id node_id(int i)
{
    uint8_t bytes[16] = {(uint8_t)i};
    struct a_node_id id;
    a_node_id_make(bytes, &id);
    return id;
}

static int setup(void **state)
{
    struct world *w = a_new(struct world);
    sl_resource_init(&w->table, 1);
    w->now = 1000;
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    sl_resource_deinit(&w->table);
    sl_resource_deinit(&w->table);
    a_free(w);
    return 0;
}

static int step(struct world *w, struct sl_resource_event e)
{
    e.now_ms = w->now;
    return sl_resource_step(&w->table, &e, &w->update);
}

/* Steps through every deadline up to `ms` later. */
static void sleep_ms(struct world *w, uint64_t ms)
{
    uint64_t end = w->now + ms;
    while (sl_resource_deadline(&w->table) <= end) {
        w->now = A_MAX(w->now, sl_resource_deadline(&w->table));
        step(w, (struct sl_resource_event){.type = SL_RESOURCE_TIME});
    }
    w->now = end;
}

static int attach(struct world *w, int node, uint32_t conn, uint64_t incarnation, uint64_t attach)
{
    struct sl_resource_node_facts facts = {.capacity = {4000, 8 * GiB, 10 * GiB},
                                           .free = {4000, 8 * GiB, 10 * GiB}};
    snprintf(facts.cluster.s, sizeof facts.cluster.s, "%s", "east");
    w->sequence = 0;
    return step(w, (struct sl_resource_event){.type = SL_RESOURCE_ATTACH,
                                              .node = node_id(node),
                                              .conn = conn,
                                              .attach = {incarnation, attach, &facts}});
}

static int snapshot_end(struct world *w, int node, uint32_t conn, uint32_t n)
{
    return step(w, (struct sl_resource_event){
                       .type = SL_RESOURCE_SNAPSHOT_END, .node = node_id(node), .conn = conn, .n_claims = n});
}

static int beat_seq(struct world *w, int node, uint32_t conn, uint64_t sequence)
{
    return step(w, (struct sl_resource_event){
                       .type = SL_RESOURCE_BEAT, .node = node_id(node), .conn = conn, .sequence = sequence});
}

static int beat(struct world *w, int node, uint32_t conn)
{
    return beat_seq(w, node, conn, ++w->sequence);
}

static int detach(struct world *w, int node, uint32_t conn)
{
    return step(w,
                (struct sl_resource_event){.type = SL_RESOURCE_DETACH, .node = node_id(node), .conn = conn});
}

static const struct sl_resource_node *get(struct world *w, int node)
{
    struct a_node_id id = node_id(node);
    return sl_resource_node(&w->table, &id);
}

static enum a_node_state state_of(struct world *w, int node)
{
    return sl_resource_node_state(get(w, node));
}

static bool told(const struct world *w, enum sl_resource_delta_type type)
{
    for (size_t i = 0; i < w->update.n_deltas; i++)
        if (w->update.deltas[i].type == type)
            return true;
    return false;
}

static struct a_claim_id claim_id(int unit)
{
    struct a_claim_id id = {.attempt = 1};
    snprintf(id.app_uid.s, sizeof id.app_uid.s, "%s", "017f22e2-79b0-4fff-bfff-ffffffffffff");
    snprintf(id.unit.s, sizeof id.unit.s, "ocr-%d", unit);
    snprintf(id.member.s, sizeof id.member.s, "%s", "head");
    return id;
}

static const char store_a[] = "aaaaaaaa-79b0-4fff-bfff-ffffffffffff",
                  store_b[] = "bbbbbbbb-79b0-4fff-bfff-ffffffffffff";

static int claim_seq(struct world *w, int node, uint32_t conn, int unit, enum a_claim_state state,
                     const char *store, uint64_t sequence)
{
    struct sl_resource_claim_facts facts = {.id = claim_id(unit), .state = state, .epoch = 1};
    snprintf(facts.store_id.s, sizeof facts.store_id.s, "%s", store);
    facts.message = A_VIEW_LIT("hello");
    facts.detail = A_VIEW_LIT("detail");
    return step(w, (struct sl_resource_event){.type = SL_RESOURCE_CLAIM_STATUS,
                                              .node = node_id(node),
                                              .conn = conn,
                                              .sequence = sequence,
                                              .claim = &facts});
}

static int claim(struct world *w, int node, uint32_t conn, int unit, enum a_claim_state state)
{
    return claim_seq(w, node, conn, unit, state, store_a, ++w->sequence);
}

static bool has_claim(struct world *w, int node, int unit)
{
    struct a_node_id n = node_id(node);
    struct a_claim_id id = claim_id(unit);
    return sl_resource_claim(&w->table, &n, &id) != NULL;
}

static void up(struct world *w, int node, uint32_t conn, uint64_t attach_no)
{
    assert_int_equal(attach(w, node, conn, 1, attach_no), 0);
    assert_int_equal(snapshot_end(w, node, conn, 0), 0);
    assert_int_equal(state_of(w, node), A_NODE_UP);
}

static void test_joins_when_the_snapshot_is_whole(void **state)
{
    struct world *w = *state;
    attach(w, 1, 7, 1, 1);
    assert_int_equal(state_of(w, 1), A_NODE_JOINING);
    assert_false(sl_resource_node_placeable(get(w, 1)));
    snapshot_end(w, 1, 7, 2); /* overtook its claims */
    assert_int_equal(state_of(w, 1), A_NODE_JOINING);
    claim(w, 1, 7, 1, A_CLAIM_BOUND);
    claim(w, 1, 7, 1, A_CLAIM_BOUND); /* the same one again is not the second */
    assert_int_equal(state_of(w, 1), A_NODE_JOINING);
    claim(w, 1, 7, 2, A_CLAIM_BOUND);
    assert_int_equal(state_of(w, 1), A_NODE_UP);
    assert_true(sl_resource_node_placeable(get(w, 1)));
}

static void test_incomplete_snapshot_is_asked_again(void **state)
{
    struct world *w = *state;
    attach(w, 1, 7, 1, 1);
    snapshot_end(w, 1, 7, 1);
    bool disconnected = false;
    for (int i = 0; i < 12; i++) {
        sleep_ms(w, 999);
        disconnected = disconnected || told(w, SL_RESOURCE_DELTA_DISCONNECT);
        w->now++;
        beat(w, 1, 7);
        disconnected = disconnected || told(w, SL_RESOURCE_DELTA_DISCONNECT);
    }
    assert_true(disconnected);
}

/* R1: a row never goes back. */
static void test_order(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 5);
    detach(w, 1, 7);
    assert_int_equal(attach(w, 1, 8, 1, 4), SL_RESOURCE_E_STALE);
    assert_true(told(w, SL_RESOURCE_DELTA_DISCONNECT));
    assert_int_equal(attach(w, 1, 8, 1, 5), SL_RESOURCE_E_STALE);
    assert_int_equal(attach(w, 1, 9, 2, 1), 0); /* a newer incarnation counts attaches afresh */
    assert_int_equal(get(w, 1)->conn, 9);
    assert_int_equal(beat_seq(w, 1, 9, 10), 0);
    assert_int_equal(beat_seq(w, 1, 9, 10), SL_RESOURCE_E_STALE);
    assert_int_equal(beat_seq(w, 1, 9, 9), SL_RESOURCE_E_STALE);
    assert_int_equal(beat_seq(w, 1, 7, 11), SL_RESOURCE_E_STALE);
    assert_int_equal(beat(w, 2, 9), SL_RESOURCE_E_UNKNOWN);
}

static void test_claims_do_not_go_back(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    claim_seq(w, 1, 7, 1, A_CLAIM_BOUND, store_a, 5);
    assert_int_equal(claim_seq(w, 1, 7, 1, A_CLAIM_RESERVED, store_a, 4), SL_RESOURCE_E_STALE);
    claim_seq(w, 1, 7, 1, A_CLAIM_RELEASED, store_a, 8);
    assert_true(told(w, SL_RESOURCE_DELTA_CLAIM_GONE));
    assert_false(has_claim(w, 1, 1));
    assert_int_equal(claim_seq(w, 1, 7, 1, A_CLAIM_RELEASING, store_a, 7), SL_RESOURCE_E_STALE);
    assert_false(has_claim(w, 1, 1));
}

static void test_snapshot_drops_what_it_does_not_tell(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    claim(w, 1, 7, 1, A_CLAIM_BOUND);
    claim(w, 1, 7, 2, A_CLAIM_BOUND);
    detach(w, 1, 7);
    assert_true(has_claim(w, 1, 1)); /* R3: away is not gone */
    sleep_ms(w, 60000);
    assert_int_equal(state_of(w, 1), A_NODE_DEAD);
    assert_true(has_claim(w, 1, 1));
    attach(w, 1, 8, 1, 2);
    claim(w, 1, 8, 2, A_CLAIM_BOUND);
    assert_true(has_claim(w, 1, 1));
    snapshot_end(w, 1, 8, 1);
    assert_false(has_claim(w, 1, 1));
    assert_true(has_claim(w, 1, 2));
    assert_int_equal(state_of(w, 1), A_NODE_UP);
}

static void test_closed_alone_is_dead_after_ten_seconds(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    detach(w, 1, 7);
    assert_int_equal(state_of(w, 1), A_NODE_SUSPECT);
    assert_false(sl_resource_node_placeable(get(w, 1)));
    sleep_ms(w, SL_RESOURCE_LOST_MS - 1);
    assert_int_equal(state_of(w, 1), A_NODE_SUSPECT);
    sleep_ms(w, 1);
    assert_int_equal(state_of(w, 1), A_NODE_DEAD);
    assert_int_equal(get(w, 1)->reason, A_REASON_NODE_LOST);
}

static void test_refused_and_closed_is_dead_at_once(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    struct sl_resource_event refused = {.type = SL_RESOURCE_REFUSED, .node = node_id(1)};
    step(w, refused);
    assert_int_equal(state_of(w, 1), A_NODE_UP); /* a replica died, the node did not */
    beat(w, 1, 7);
    detach(w, 1, 7);
    assert_int_equal(state_of(w, 1), A_NODE_SUSPECT); /* the beat came after the refusal */
    step(w, refused);
    assert_int_equal(state_of(w, 1), A_NODE_DEAD);
    up(w, 1, 8, 2);
    step(w, refused);
    detach(w, 1, 8);
    assert_int_equal(state_of(w, 1), A_NODE_DEAD);
}

static void test_silence(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    claim(w, 1, 7, 1, A_CLAIM_BOUND);
    for (int i = 0; i < 20; i++) {
        sleep_ms(w, 1000);
        beat(w, 1, 7);
        assert_int_equal(state_of(w, 1), A_NODE_UP);
    }
    sleep_ms(w, SL_RESOURCE_SUSPECT_MS - 1);
    assert_int_equal(state_of(w, 1), A_NODE_UP);
    sleep_ms(w, 1);
    assert_int_equal(state_of(w, 1), A_NODE_SUSPECT);
    beat(w, 1, 7);
    assert_int_equal(state_of(w, 1), A_NODE_UP);
    sleep_ms(w, SL_RESOURCE_LOST_MS);
    assert_true(told(w, SL_RESOURCE_DELTA_DISCONNECT));
    assert_int_equal(state_of(w, 1), A_NODE_DEAD);
    sleep_ms(w, SL_RESOURCE_FORGET_MS);
    assert_null(get(w, 1));
    assert_true(told(w, SL_RESOURCE_DELTA_CLAIM_GONE));
    assert_true(told(w, SL_RESOURCE_DELTA_NODE_GONE));
}

/* R4: our own sleep kills nobody. */
static void test_stall_is_forgiven(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    w->now += 60000;
    step(w, (struct sl_resource_event){.type = SL_RESOURCE_TIME});
    assert_int_equal(state_of(w, 1), A_NODE_UP);
    sleep_ms(w, SL_RESOURCE_SUSPECT_MS);
    assert_int_equal(state_of(w, 1), A_NODE_SUSPECT);
}

static void test_takeover_by_a_newer_attach(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    attach(w, 1, 8, 1, 2);
    assert_int_equal(state_of(w, 1), A_NODE_SUSPECT); /* until its claims are told */
    assert_int_equal(beat_seq(w, 1, 7, 99), SL_RESOURCE_E_STALE);
    snapshot_end(w, 1, 8, 0);
    assert_int_equal(state_of(w, 1), A_NODE_UP);
    detach(w, 1, 7); /* the old one's end is not the node's */
    assert_int_equal(state_of(w, 1), A_NODE_UP);
}

static void test_half_open_rival_is_closed(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    up(w, 1, 8, 2);
    bool closed = false;
    for (int i = 0; i < 12 && !closed; i++) {
        sleep_ms(w, 999);
        w->now++;
        closed = told(w, SL_RESOURCE_DELTA_DISCONNECT);
        beat(w, 1, 8);
        closed = closed || told(w, SL_RESOURCE_DELTA_DISCONNECT);
        assert_int_equal(state_of(w, 1), A_NODE_UP);
    }
    assert_true(closed);
}

static void test_duplicate_identity(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 9);
    assert_int_equal(attach(w, 1, 8, 1, 3), SL_RESOURCE_E_STALE); /* a copy with an older counter */
    for (int i = 1; i <= 5; i++) {
        sleep_ms(w, 1000);
        beat_seq(w, 1, 7, 100 + (unsigned)i);
        beat_seq(w, 1, 8, 100 + (unsigned)i);
    }
    assert_int_equal(state_of(w, 1), A_NODE_SUSPECT);
    assert_int_equal(get(w, 1)->reason, A_REASON_DUPLICATE_IDENTITY);
    assert_false(sl_resource_node_placeable(get(w, 1)));
    detach(w, 1, 8);
    beat_seq(w, 1, 7, 200);
    assert_int_equal(state_of(w, 1), A_NODE_UP);
}

static void test_drain_flags(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    struct sl_resource_node_facts facts = get(w, 1)->facts;
    const struct {
        uint32_t flags;
        enum a_node_state state;
        bool placeable;
    } cases[] = {
        {SL_RESOURCE_NODE_CORDONED, A_NODE_UP, false},
        {SL_RESOURCE_NODE_DRAINING, A_NODE_DRAINING, false},
        {SL_RESOURCE_NODE_DRAINING | SL_RESOURCE_NODE_DRAINED, A_NODE_DRAINED, false},
        {SL_RESOURCE_NODE_DRAINING, A_NODE_DRAINING, false},
        {0, A_NODE_UP, true},
        {SL_RESOURCE_NODE_DRAINED, A_NODE_DRAINED, false},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        facts.flags = cases[i].flags;
        assert_int_equal(step(w, (struct sl_resource_event){.type = SL_RESOURCE_NODE_STATUS,
                                                            .node = node_id(1),
                                                            .conn = 7,
                                                            .sequence = ++w->sequence,
                                                            .status = &facts}),
                         0);
        assert_true(told(w, SL_RESOURCE_DELTA_NODE));
        assert_int_equal(state_of(w, 1), cases[i].state);
        assert_int_equal(sl_resource_node_placeable(get(w, 1)), cases[i].placeable);
    }
}

static void test_orphans(void **state)
{
    struct world *w = *state;
    struct sl_resource_event app = {.type = SL_RESOURCE_KNOW_APP};
    app.app.uid = claim_id(1).app_uid;
    snprintf(app.app.store_id.s, sizeof app.app.store_id.s, "%s", store_a);
    up(w, 1, 7, 1);
    claim_seq(w, 1, 7, 1, A_CLAIM_BOUND, store_a, 1);
    claim_seq(w, 1, 7, 2, A_CLAIM_BOUND, store_b, 2);
    assert_non_null(sl_resource_next_orphan(&w->table, NULL));
    step(w, app);
    assert_true(told(w, SL_RESOURCE_DELTA_CLAIM));
    const struct sl_resource_claim *orphan = sl_resource_next_orphan(&w->table, NULL);
    assert_non_null(orphan);
    assert_string_equal(orphan->facts.store_id.s, store_b); /* known uid, another store */
    assert_null(sl_resource_next_orphan(&w->table, orphan));
    assert_true(a_view_is(orphan->facts.message, "hello"));
    assert_true(a_view_is(orphan->facts.detail, "detail"));
    claim_seq(w, 1, 7, 2, A_CLAIM_BOUND, store_a, 3); /* adopted: the node reports our store now */
    assert_null(sl_resource_next_orphan(&w->table, NULL));
    app.type = SL_RESOURCE_FORGET_APP;
    step(w, app);
    assert_non_null(sl_resource_next_orphan(&w->table, NULL));
}

static void test_merge(void **state)
{
    struct world *w = *state;
    up(w, 1, 7, 1);
    up(w, 2, 7, 1);
    beat(w, 1, 7);
    beat_seq(w, 2, 7, 1);
    detach(w, 2, 7);
    uint32_t slow[5], a = get(w, 1)->slot, b = get(w, 2)->slot;
    const struct sl_resource_beat beats[] = {
        {a, 7, 2, 500, 0}, {b, 7, 2, 1, 0}, {a, 7, 2, 1, 0}, {a, 8, 3, 1, 0}, {99, 7, 3, 1, 0}};
    w->now += 2500;
    assert_int_equal(sl_resource_merge(&w->table, w->now, beats, 5, slow), 4);
    assert_int_equal(slow[0], 1);
    assert_int_equal(sl_resource_load(&w->table, get(w, 1)), 500);
    sleep_ms(w, 2500); /* the merged beat counts as life */
    assert_int_equal(state_of(w, 1), A_NODE_UP);
    sleep_ms(w, 600);
    assert_int_equal(state_of(w, 1), A_NODE_SUSPECT);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_joins_when_the_snapshot_is_whole),
        T(test_incomplete_snapshot_is_asked_again),
        T(test_order),
        T(test_claims_do_not_go_back),
        T(test_snapshot_drops_what_it_does_not_tell),
        T(test_closed_alone_is_dead_after_ten_seconds),
        T(test_refused_and_closed_is_dead_at_once),
        T(test_silence),
        T(test_stall_is_forgiven),
        T(test_takeover_by_a_newer_attach),
        T(test_half_open_rival_is_closed),
        T(test_duplicate_identity),
        T(test_drain_flags),
        T(test_orphans),
        T(test_merge),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
