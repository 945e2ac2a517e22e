/* A world around one fleet that answers at once: claims are granted on nodes 0, 1, ..., records are durable,
 * gateways acknowledge, nodes release. Each answer can be held back. */
#ifndef TESTS_UNIT_FLEET_WORLD_H
#define TESTS_UNIT_FLEET_WORLD_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "unit/fleet.h"

#define GiB (UINT64_C(1) << 30)
#define LOG_MAX 4096

static const char uid[] = "017f22e2-79b0-4fff-bfff-ffffffffffff",
                  store[] = "aaaaaaaa-79b0-4fff-bfff-ffffffffffff";

struct world {
    struct unit_fleet *fleet;
    uint64_t now;
    struct unit_action log[LOG_MAX]; /* messages and arrays are not kept */
    size_t n_log, mark;
    int next_node;
    bool hold_place, hold_bind, hold_gone, hold_ack, hold_idle; /* do not answer */
    struct unit_member_spec specs[3];
    struct unit_revision_info revisions[4];
    struct unit_desired desired;
};

static inline void step(struct world *w, struct unit_fleet_event e);

static inline struct a_node_id node_id(int i)
{
    uint8_t bytes[16] = {(uint8_t)(i + 1), (uint8_t)((i + 1) >> 8)};
    struct a_node_id id;
    a_node_id_make(bytes, &id);
    return id;
}

static inline struct a_digest digest(int i)
{
    return (struct a_digest){.bytes = {(uint8_t)(i + 1)}};
}

static inline void granted(struct world *w, const struct unit_action *a)
{
    struct unit_record_member members[4];
    memset(members, 0, sizeof members);
    uint64_t gang = a->gang;
    size_t n = a->n_members;
    struct a_unit_name unit = a->unit;
    for (size_t i = 0; i < n; i++) {
        members[i].name = a->members[i].name;
        members[i].head = a->members[i].head;
        members[i].attempt = a->attempts[i];
        members[i].capacity = a->members[i].capacity;
        members[i].node = node_id(w->next_node++);
        snprintf(members[i].cluster.s, sizeof members[i].cluster.s, "%s", "east");
    }
    struct unit_fleet_event e = {.type = UNIT_FLEET_GRANTED};
    e.place.gang = gang;
    e.place.members = members;
    e.place.n_members = n;
    step(w, e);
    e = (struct unit_fleet_event){.type = UNIT_FLEET_RECORDED};
    e.unit.unit = unit;
    step(w, e);
}

static inline void answer(struct world *w, const struct unit_action *a)
{
    struct unit_fleet_event e = {0};
    if (a->type == UNIT_ACTION_PLACE && !w->hold_place) {
        granted(w, a);
    } else if (a->type == UNIT_ACTION_BIND && !w->hold_bind) {
        e.type = UNIT_FLEET_BOUND;
        e.place.gang = a->gang;
        step(w, e);
    } else if (a->type == UNIT_ACTION_RELEASE && !w->hold_gone) {
        e.type = UNIT_FLEET_GONE;
        e.gone.claim = a->claim;
        e.gone.node = a->node;
        step(w, e);
    } else if (a->type == UNIT_ACTION_ENDPOINTS &&
               (a->endpoints == UNIT_ENDPOINTS_DRAINING || a->endpoints == UNIT_ENDPOINTS_DEAD) &&
               !w->hold_ack) {
        e.type = UNIT_FLEET_WITHDRAWN;
        e.sequence = a->sequence;
        struct a_unit_name unit = a->unit;
        step(w, e);
        e = (struct unit_fleet_event){.type = UNIT_FLEET_IDLE};
        e.unit.unit = unit;
        if (!w->hold_idle)
            step(w, e);
    }
}

static inline void step(struct world *w, struct unit_fleet_event e)
{
    struct unit_fleet_update update;
    struct unit_action actions[256];
    struct unit_member_spec specs[256][3];
    uint32_t attempts[256][3];
    e.now_ms = w->now;
    assert_int_equal(unit_fleet_step(w->fleet, &e, &update), 0);
    size_t n = update.n_actions;
    assert_in_range(n, 0, 256);
    for (size_t i = 0; i < n; i++) {
        actions[i] = update.actions[i];
        if (actions[i].n_members > 0) {
            memcpy(specs[i], actions[i].members, actions[i].n_members * sizeof specs[i][0]);
            memcpy(attempts[i], actions[i].attempts, actions[i].n_members * sizeof attempts[i][0]);
            actions[i].members = specs[i];
            actions[i].attempts = attempts[i];
        }
        assert_true(w->n_log < LOG_MAX);
        w->log[w->n_log++] = actions[i];
    }
    for (size_t i = 0; i < n; i++)
        answer(w, &actions[i]);
}

static inline void mark(struct world *w)
{
    w->mark = w->n_log;
}

/* The n-th action of that type since the mark, or NULL. */
static inline const struct unit_action *acted(const struct world *w, enum unit_action_type type, size_t n)
{
    for (size_t i = w->mark; i < w->n_log; i++)
        if (w->log[i].type == type && n-- == 0)
            return &w->log[i];
    return NULL;
}

static inline size_t count(const struct world *w, enum unit_action_type type)
{
    size_t n = 0;
    while (acted(w, type, n) != NULL)
        n++;
    return n;
}

static inline void sleep_ms(struct world *w, uint64_t ms)
{
    uint64_t end = w->now + ms;
    for (int i = 0; unit_fleet_deadline(w->fleet) <= end; i++) {
        assert_true(i < 100000);
        w->now = A_MAX(w->now, unit_fleet_deadline(w->fleet));
        step(w, (struct unit_fleet_event){.type = UNIT_FLEET_TIME});
    }
    w->now = end;
}

static inline void desire(struct world *w)
{
    w->desired.generation++;
    step(w, (struct unit_fleet_event){.type = UNIT_FLEET_DESIRED, .desired = &w->desired});
}

static inline void unit_at(struct world *w, size_t i, struct unit_info *ret)
{
    assert_true(unit_fleet_unit(w->fleet, i, ret));
}

static inline size_t n_units(struct world *w)
{
    struct unit_info info;
    size_t n = 0;
    while (unit_fleet_unit(w->fleet, n, &info))
        n++;
    return n;
}

static inline struct unit_member_info member_at(struct world *w, const struct unit_info *unit, size_t i)
{
    struct unit_member_info m;
    assert_true(unit_fleet_member(w->fleet, &unit->name, i, &m));
    return m;
}

/* What the node of member `i` says of it. */
static inline struct unit_report report_of(struct world *w, const struct unit_info *unit, size_t i,
                                           enum a_member_state state)
{
    struct unit_member_info m = member_at(w, unit, i);
    struct unit_report r = {
        .node = m.node, .head = m.head, .claim_state = A_CLAIM_BOUND, .member_state = state};
    snprintf(r.claim.app_uid.s, sizeof r.claim.app_uid.s, "%s", uid);
    snprintf(r.store_id.s, sizeof r.store_id.s, "%s", store);
    r.claim.unit = unit->name;
    r.claim.member = m.name;
    r.claim.attempt = m.attempt;
    r.cluster = m.cluster;
    r.epoch = 1;
    r.revision = unit->revision;
    return r;
}

static inline void send(struct world *w, const struct unit_report *r)
{
    step(w, (struct unit_fleet_event){.type = UNIT_FLEET_REPORT, .report = r});
}

static inline void serves(struct world *w, struct unit_report *r, uint64_t revision)
{
    r->serve = UNIT_SERVE_RUNNING;
    r->deployed = w->revisions[revision - 1].digest;
    r->warmed = true;
    r->endpoints = 1;
}

static inline struct unit_info find(struct world *w, const struct unit_info *unit)
{
    struct unit_info info;
    assert_true(unit_fleet_find(w->fleet, &unit->name, &info));
    return info;
}

static inline void make_ready(struct world *w, const struct unit_info *unit)
{
    for (size_t i = unit->n_members; i-- > 0;) {
        struct unit_report r = report_of(w, unit, i, A_MEMBER_UP);
        if (r.head)
            serves(w, &r, unit->revision);
        send(w, &r);
    }
    assert_int_equal(find(w, unit).state, A_UNIT_READY);
}

/* Everything that starts becomes READY. */
static inline void all_ready(struct world *w)
{
    for (size_t i = 0; i < n_units(w); i++) {
        struct unit_info u;
        unit_at(w, i, &u);
        if (u.state == A_UNIT_FETCHING)
            make_ready(w, &u);
    }
}

/* It drains, and ends at `leaves_ms` whatever is left. */
static inline void node_leaves(struct world *w, const struct a_node_id *id, enum a_node_state state,
                               uint64_t leaves_ms)
{
    struct unit_fleet_event e = {.type = UNIT_FLEET_NODE};
    e.node.id = *id;
    e.node.state = state;
    e.node.leaves_ms = leaves_ms;
    step(w, e);
}

static inline void node(struct world *w, const struct a_node_id *id, enum a_node_state state)
{
    node_leaves(w, id, state, 0);
}

static inline struct unit_fleet_status status(struct world *w)
{
    struct unit_fleet_status s;
    unit_fleet_status(w->fleet, &s);
    return s;
}

/* The pause after the n-th failure. */
static inline uint64_t budget_pause(int n)
{
    return n >= UNIT_BUDGET ? UNIT_BACKOFF_MAX_MS : (uint64_t)UNIT_BACKOFF_MIN_MS << (n - 1);
}

static inline void adopted(struct world *w)
{
    step(w, (struct unit_fleet_event){.type = UNIT_FLEET_ADOPTED});
}

static inline int setup(void **state)
{
    struct world *w = a_new(struct world);
    w->fleet = unit_fleet_new(7);
    w->now = 1000;
    w->specs[0] = (struct unit_member_spec){.name = {"head"}, .head = true, .capacity = {1000, 2 * GiB, GiB}};
    w->specs[1] = (struct unit_member_spec){.name = {"gpu-0"}, .capacity = {1000, 2 * GiB, GiB}};
    w->specs[2] = (struct unit_member_spec){.name = {"gpu-1"}, .capacity = {1000, 2 * GiB, GiB}};
    for (int i = 0; i < 4; i++) /* revisions 1, 2, 3 need new units; 4 is 3 with another Serve config */
        w->revisions[i] = (struct unit_revision_info){.number = (uint64_t)i + 1,
                                                      .digest = digest(i),
                                                      .replace = digest(i == 3 ? 2 : i),
                                                      .serve = digest(i),
                                                      .members = w->specs,
                                                      .n_members = 1};
    w->desired = (struct unit_desired){
        .epoch = 1,
        .units = 2,
        .revisions = w->revisions,
        .n_revisions = 4,
        .revision = 1,
        .rollout = {.max_surge = 1, .bake_ms = 30000, .progress_deadline_ms = 900000, .undo = true},
        .drain_ms = 60000};
    snprintf(w->desired.app.namespace.s, sizeof w->desired.app.namespace.s, "%s", "default");
    snprintf(w->desired.app.name.s, sizeof w->desired.app.name.s, "%s", "ocr");
    snprintf(w->desired.uid.s, sizeof w->desired.uid.s, "%s", uid);
    snprintf(w->desired.store_id.s, sizeof w->desired.store_id.s, "%s", store);
    *state = w;
    return 0;
}

static inline int teardown(void **state)
{
    struct world *w = *state;
    unit_fleet_free(w->fleet);
    unit_fleet_free(NULL);
    a_free(w);
    return 0;
}

/* Two READY units of revision 1, proven. */
static inline struct world *running(void **state)
{
    struct world *w = *state;
    desire(w);
    adopted(w);
    all_ready(w);
    sleep_ms(w, 31000);
    assert_int_equal(status(w).ready, 2);
    assert_int_equal(count(w, UNIT_ACTION_PROVEN), 1);
    mark(w);
    return w;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#endif
