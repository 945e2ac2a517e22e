#include "unit/fleet.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "unit/fleet_private.h"

struct unit_fleet *unit_fleet_new(uint64_t seed)
{
    struct unit_fleet *self = a_new(struct unit_fleet);
    a_random_init(&self->random, seed);
    a_list_init(&self->units);
    self->deadline_ms = A_NEVER;
    return self;
}

static void desired_deinit(struct unit_desired *d)
{
    for (size_t i = 0; i < d->n_revisions; i++)
        a_free((void *)d->revisions[i].members);
    a_free((void *)d->revisions);
    *d = (struct unit_desired){0};
}

void unit_fleet_free(struct unit_fleet *self)
{
    if (self == NULL)
        return;
    fleet_foreach_unit (u, self)
        fleet_unit_free(u);
    desired_deinit(&self->desired);
    a_arena_deinit(&self->arena);
    a_free(self->actions);
    a_free(self);
}

static void desired_copy(struct unit_desired *to, const struct unit_desired *from)
{
    struct unit_revision_info *revisions = a_alloc_array(from->n_revisions, sizeof *revisions);
    for (size_t i = 0; i < from->n_revisions; i++) {
        size_t n = from->revisions[i].n_members;
        a_assert(n > 0 && n <= UNIT_MEMBERS_MAX);
        struct unit_member_spec *members = a_alloc_array(n, sizeof *members);
        memcpy(members, from->revisions[i].members, n * sizeof *members);
        revisions[i] = from->revisions[i];
        revisions[i].members = members;
    }
    desired_deinit(to);
    *to = *from;
    to->revisions = revisions;
}

/* A new generation is somebody's decision: what was given up is tried again, and poison is forgotten. */
static void on_desired(struct unit_fleet *self, const struct unit_desired *desired)
{
    bool first = !self->have_desired, again = first || desired->generation > self->desired.generation;
    uint64_t proven = again && desired->proven != 0 ? desired->proven : self->desired.proven;
    desired_copy(&self->desired, desired);
    self->desired.proven = first ? desired->proven : proven;
    self->have_desired = true;
    if (!again)
        return;
    if (self->target != desired->revision || self->stopped || self->undone == desired->revision) {
        self->progress_ms = self->now_ms;
        self->undone = 0;
    }
    self->target = desired->revision;
    self->stopped = self->poisoned = false;
    self->n_poison = 0;
    fleet_foreach_unit (u, self)
        if (u->revision == self->target && unit_in(u, A_SM_BIT(A_UNIT_FAILED))) {
            u->budget.n = 0;
            u->final = false;
            u->retry_ms = 0;
        }
}

static void on_record(struct unit_fleet *self, const struct unit_record *r)
{
    if (fleet_unit_find(self, r->unit.s) != NULL || self->adopted)
        return;
    struct unit *unit = fleet_unit_new(self, &r->unit, r->revision, A_UNIT_FETCHING);
    unit->cluster = r->cluster;
    unit->recorded = unit->restored = true;
    unit->endpoints = UNIT_ENDPOINTS_STALE;
    for (size_t i = 0; i < r->n_members; i++) {
        struct fleet_member *m = unit_member_add(unit, &r->members[i], A_MEMBER_BOUND);
        m->restored = true;
        m->node_state = A_NODE_JOINING; /* not heard of yet */
    }
}

/* ---- reports ---- */

/* A claim of this app that no unit has. Its unit may be unknown as a whole (a record that was lost): then it
 * counts as LOST and is adopted or drained. Or another attempt took its place: then it is released. */
static struct fleet_member *stray(struct unit_fleet *self, const struct unit_report *r,
                                  struct unit **ret_unit)
{
    struct unit *unit = fleet_unit_find(self, r->claim.unit.s);
    if (r->claim_state != A_CLAIM_BOUND)
        return NULL;
    if (unit == NULL) {
        unit = fleet_unit_new(self, &r->claim.unit, r->revision, A_UNIT_FETCHING);
        unit->cluster = r->cluster;
        unit->restored = true;
        unit->ending = fleet_has_ended(self, unit->name.s);
        unit->endpoints = unit->ending ? UNIT_ENDPOINTS_NONE : UNIT_ENDPOINTS_STALE;
        unit_move(unit, A_UNIT_LOST, A_REASON_ORPHANED, "its record is not known");
    }
    struct unit_record_member at = {.name = r->claim.member,
                                    .head = r->head,
                                    .attempt = r->claim.attempt,
                                    .node = r->node,
                                    .cluster = r->cluster,
                                    .zone = r->zone,
                                    .capacity = r->capacity};
    memcpy(at.host, r->host, sizeof at.host);
    bool doubled =
        unit_in(unit, A_SM_BIT(A_UNIT_PLANNED) | A_SM_BIT(A_UNIT_CLAIMING) | A_SM_BIT(A_UNIT_FAILED));
    unit_foreach_member (other, unit)
        if (strcmp(other->at.name.s, at.name.s) == 0 && !other->gone && !other->restored)
            doubled = true;
    struct fleet_member *m = unit_member_add(unit, &at, A_MEMBER_BOUND);
    m->stray = true;
    m->superfluous = m->leaving = doubled;
    self->dirty = true;
    *ret_unit = unit;
    return m;
}

/* The recorded member is there after all: a stray one that stood in for it is one too many. */
static void strays_yield(struct unit *unit, const struct fleet_member *m)
{
    unit_foreach_member (other, unit)
        if (other != m && other->stray && !m->stray && strcmp(other->at.name.s, m->at.name.s) == 0)
            other->superfluous = other->leaving = true;
}

static void member_take(struct unit *unit, struct fleet_member *m, const struct unit_report *r)
{
    char *message =
        a_arena_strndup(&unit->fleet->arena, r->message.len > 0 ? r->message.ptr : "", r->message.len);
    struct unit_fleet *self = unit->fleet;
    bool changed = m->restored || m->serve != r->serve || m->warmed != r->warmed ||
                   m->endpoints != r->endpoints || !a_digest_equal(&m->deployed, &r->deployed) ||
                   m->silent != r->silent || m->overdue != r->overdue;
    if (m->restored)
        strays_yield(unit, m);
    m->restored = false;
    m->claim_state = r->claim_state;
    m->store_id = r->store_id;
    m->epoch = r->epoch;
    m->fenced = 0;
    m->serve = r->serve;
    m->serve_reason = r->reason;
    m->deployed = r->deployed;
    m->warmed = r->warmed;
    m->silent = r->silent;
    m->overdue = r->overdue;
    m->endpoints = r->endpoints;
    if (m->node_state == A_NODE_JOINING || m->node_state == A_NODE_DEAD)
        m->node_state = A_NODE_UP; /* it speaks */
    if (r->claim_state == A_CLAIM_RELEASED)
        m->gone = true;
    unit_member_move(unit, m, r->member_state, r->reason, message);
    self->dirty = self->dirty || changed;
}

static void on_report(struct unit_fleet *self, const struct unit_report *r)
{
    struct unit *unit = fleet_unit_find(self, r->claim.unit.s);
    if (strcmp(r->claim.app_uid.s, self->desired.uid.s) != 0)
        return;
    struct fleet_member *m =
        unit == NULL ? NULL : unit_member_find(unit, r->claim.member.s, r->claim.attempt);
    if (m == NULL)
        m = stray(self, r, &unit);
    if (m == NULL || m->gone || strcmp(m->at.node.s, r->node.s) != 0)
        return;
    member_take(unit, m, r);
}

static void on_gone(struct unit_fleet *self, const struct a_claim_id *id, const struct a_node_id *node)
{
    struct unit *unit = fleet_unit_find(self, id->unit.s);
    struct fleet_member *m = unit == NULL ? NULL : unit_member_find(unit, id->member.s, id->attempt);
    if (m == NULL || m->gone || strcmp(m->at.node.s, node->s) != 0 || m->gang != 0)
        return;
    m->gone = true;
    m->claim_state = A_CLAIM_RELEASED;
    self->dirty = true;
    unit_member_move(unit, m, A_MEMBER_EXITED, m->releasing ? m->reason : A_REASON_NODE_LOST,
                     m->releasing ? "released" : "the node has no such claim");
}

/* ---- nodes ---- */

static bool node_told_all(enum a_node_state s)
{
    return s == A_NODE_UP || s == A_NODE_DRAINING || s == A_NODE_DRAINED;
}

/* A node that ends soon leaves its last part to the requests that are still there: as long as drain.requests
 * gives them, half of the time at most. */
static void member_leaves(const struct unit_fleet *self, struct fleet_member *m, uint64_t leaves_ms)
{
    uint64_t left = leaves_ms > self->now_ms ? leaves_ms - self->now_ms : 0;
    if (m->leaves_ms == leaves_ms)
        return;
    m->leaves_ms = leaves_ms;
    m->go_ms = leaves_ms == 0 ? 0 : self->now_ms + left - A_MIN(self->desired.drain_ms, left / 2);
}

static void member_node(struct unit *unit, struct fleet_member *m, enum a_node_state state,
                        uint64_t leaves_ms)
{
    struct unit_fleet *self = unit->fleet;
    m->node_state = state;
    if (node_told_all(state)) {
        m->node_drains = state != A_NODE_UP;
        member_leaves(self, m, m->node_drains ? leaves_ms : 0);
    }
    self->dirty = true;
    if (m->restored && node_told_all(state)) {
        struct a_claim_id id = {
            .app_uid = self->desired.uid, .unit = unit->name, .member = m->at.name, .attempt = m->at.attempt};
        on_gone(self, &id, &m->at.node);
    } else if (state == A_NODE_DEAD && !m->gone && m->sm.state != A_MEMBER_EXITED) {
        if (!unit->was_ready && !unit->restored && m->gang == 0 && m->sm.state != A_MEMBER_LOST)
            fleet_poison_node(self, &m->at.node);
        unit_member_move(unit, m, A_MEMBER_LOST, A_REASON_NODE_LOST, "the node is gone");
    }
}

static void on_node(struct unit_fleet *self, const struct a_node_id *id, enum a_node_state state,
                    uint64_t leaves_ms)
{
    fleet_foreach_unit (u, self) {
        unit_foreach_member (m, u)
            if (strcmp(m->at.node.s, id->s) == 0 && (m->node_state != state || m->leaves_ms != leaves_ms))
                member_node(u, m, state, leaves_ms);
    }
}

/* Records whose nodes never came: as dead as a connection that stays closed. */
static void fleet_absent(struct unit_fleet *self)
{
    uint64_t until = self->adopted_ms + UNIT_ABSENT_MS;
    fleet_foreach_unit (u, self) {
        unit_foreach_member (m, u) {
            if (!self->adopted || !m->restored || m->gone || m->sm.state == A_MEMBER_LOST)
                continue;
            if (self->now_ms < until)
                fleet_at(self, until);
            else
                member_node(u, m, A_NODE_DEAD, 0);
        }
    }
}

/* ---- placement ---- */

static struct unit *unit_of_gang(const struct unit_fleet *self, uint64_t gang)
{
    fleet_foreach_unit (u, self)
        if (gang != 0 && u->gang == gang)
            return u;
    return NULL;
}

static void on_granted(struct unit_fleet *self, const struct unit_fleet_event *e)
{
    struct unit *unit = unit_of_gang(self, e->place.gang);
    if (unit == NULL || unit->granted)
        return;
    unit->granted = true;
    for (size_t i = 0; i < e->place.n_members; i++) {
        struct fleet_member *m = unit_member_add(unit, &e->place.members[i], A_MEMBER_RESERVED);
        m->gang = unit->gang;
        unit->cluster = m->at.cluster;
    }
    unit->recorded = true;
    fleet_act(self, UNIT_ACTION_RECORD_PUT, unit);
}

static void on_recorded(struct unit_fleet *self, const char *name)
{
    struct unit *unit = fleet_unit_find(self, name);
    if (unit == NULL || unit->gang == 0 || !unit->granted)
        return;
    fleet_act(self, UNIT_ACTION_BIND, unit)->gang = unit->gang;
}

static void on_bound(struct unit_fleet *self, uint64_t gang)
{
    struct unit *unit = unit_of_gang(self, gang);
    if (unit == NULL)
        return;
    unit_foreach_member (m, unit) {
        if (m->gang != gang)
            continue;
        m->gang = 0;
        if (m->sm.state == A_MEMBER_RESERVED)
            unit_member_move(unit, m, A_MEMBER_BOUND, A_REASON_NONE, "");
        if (m->node_state == A_NODE_DEAD)
            unit_member_move(unit, m, A_MEMBER_LOST, A_REASON_NODE_LOST, "the node is gone");
    }
    unit->gang = 0;
    unit->granted = false;
    if (unit_in(unit, A_SM_BIT(A_UNIT_CLAIMING)))
        unit_move(unit, A_UNIT_FETCHING, A_REASON_NONE, "");
}

static void on_unplaced(struct unit_fleet *self, const struct unit_fleet_event *e)
{
    struct unit *unit = unit_of_gang(self, e->place.gang);
    if (unit == NULL)
        return;
    bool no_room = e->place.reason == A_REASON_NO_CAPACITY;
    char *text = a_arena_strndup(&self->arena, e->place.message.len > 0 ? e->place.message.ptr : "",
                                 e->place.message.len);
    unit_forget_gang(unit);
    unit->attempt = A_MAX(unit->attempt, e->place.attempt_max);
    unit->retry_ms = self->now_ms + (no_room ? UNIT_NO_CAPACITY_RETRY_MS : UNIT_BACKOFF_MIN_MS);
    self->dirty = true;
    if (!unit_in(unit, A_SM_BIT(A_UNIT_CLAIMING))) {
        fleet_say(unit, NULL, e->place.reason, "a member finds no place: %s", text);
        return;
    }
    if (unit->recorded)
        fleet_act(self, UNIT_ACTION_RECORD_DEL, unit);
    unit->recorded = false;
    unit_move(unit, A_UNIT_PLANNED, e->place.reason, text);
}

/* Room may have appeared: those who wait for it try at once, but not in a storm. */
static void on_capacity(struct unit_fleet *self)
{
    fleet_foreach_unit (u, self) {
        if (u->reason == A_REASON_NO_CAPACITY && unit_in(u, A_SM_BIT(A_UNIT_PLANNED)) &&
            u->retry_ms > self->now_ms && self->now_ms - u->since_ms >= UNIT_CAPACITY_APART_MS)
            u->retry_ms = self->now_ms;
    }
}

static void on_configured(struct unit_fleet *self, const struct unit_fleet_event *e)
{
    struct unit *unit = fleet_unit_find(self, e->unit.unit.s);
    if (unit == NULL || e->unit.ok || unit->config_revision == 0)
        return;
    unit->config_revision = 0;
    unit->final = true;
    unit_note(unit, e->unit.reason == A_REASON_NONE ? A_REASON_SERVE_REJECTED : e->unit.reason,
              a_arena_strndup(&self->arena, e->unit.message.len > 0 ? e->unit.message.ptr : "",
                              e->unit.message.len));
}

static void on_retry(struct unit_fleet *self)
{
    self->poisoned = false;
    self->n_poison = 0;
    self->n_heirs = 0;
    fleet_foreach_unit (u, self) {
        u->budget.n = 0;
        u->retry_ms = 0;
    }
}

static void on_unit_event(struct unit_fleet *self, const struct unit_fleet_event *e)
{
    struct unit *unit = fleet_unit_find(self, e->unit.unit.s);
    if (e->type == UNIT_FLEET_RECORDED)
        on_recorded(self, e->unit.unit.s);
    else if (e->type == UNIT_FLEET_CONFIGURED)
        on_configured(self, e);
    else if (unit != NULL && unit->endpoints == UNIT_ENDPOINTS_DRAINING && self->withdrawn >= unit->sequence)
        unit->idle = true;
}

static void fleet_apply(struct unit_fleet *self, const struct unit_fleet_event *e)
{
    switch (e->type) {
    case UNIT_FLEET_DESIRED:
        on_desired(self, e->desired);
        break;
    case UNIT_FLEET_RECORD:
        on_record(self, e->record);
        break;
    case UNIT_FLEET_REPORT:
        on_report(self, e->report);
        break;
    case UNIT_FLEET_GONE:
        on_gone(self, &e->gone.claim, &e->gone.node);
        break;
    case UNIT_FLEET_NODE:
        on_node(self, &e->node.id, e->node.state, e->node.leaves_ms);
        break;
    case UNIT_FLEET_ADOPTED:
        self->adopted_ms = self->adopted ? self->adopted_ms : self->now_ms;
        self->adopted = true;
        break;
    case UNIT_FLEET_GRANTED:
        on_granted(self, e);
        break;
    case UNIT_FLEET_BOUND:
        on_bound(self, e->place.gang);
        break;
    case UNIT_FLEET_UNPLACED:
        on_unplaced(self, e);
        break;
    case UNIT_FLEET_CAPACITY:
        on_capacity(self);
        break;
    case UNIT_FLEET_WITHDRAWN:
        self->withdrawn = A_MAX(self->withdrawn, A_MIN(e->sequence, self->sequence));
        break;
    case UNIT_FLEET_RECORDED:
    case UNIT_FLEET_CONFIGURED:
    case UNIT_FLEET_IDLE:
        on_unit_event(self, e);
        break;
    case UNIT_FLEET_RETRY:
        on_retry(self);
        break;
    case UNIT_FLEET_TIME:
        break;
    }
}

/* Looks at everything until nothing moves any more. Each round moves some unit forward in its table, so a
 * bound is a guard against our own bugs only. */
static void fleet_reconcile(struct unit_fleet *self)
{
    for (int round = 0; round < 16; round++) {
        self->dirty = false;
        self->deadline_ms = A_NEVER;
        fleet_absent(self);
        fleet_observe(self);
        fleet_members(self);
        fleet_plan(self);
        fleet_drain(self);
        if (!self->dirty)
            break;
    }
    if (self->desired.deleted && self->adopted && a_list_empty(&self->units) && !self->deleted_told) {
        self->deleted_told = true;
        fleet_act(self, UNIT_ACTION_DELETED, NULL);
    }
    fleet_status(self);
}

int unit_fleet_step(struct unit_fleet *self, const struct unit_fleet_event *event,
                    struct unit_fleet_update *ret_update)
{
    a_assert(event->now_ms >= self->now_ms);
    self->now_ms = event->now_ms;
    self->n_actions = 0;
    a_arena_reset(&self->arena);
    if (event->type == UNIT_FLEET_DESIRED || self->have_desired) {
        fleet_apply(self, event);
        fleet_reconcile(self);
    }
    *ret_update = (struct unit_fleet_update){self->actions, self->n_actions};
    return 0;
}

uint64_t unit_fleet_deadline(const struct unit_fleet *self)
{
    return self->deadline_ms;
}
