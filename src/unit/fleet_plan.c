/* How many units there are, and of which revision. One rule covers a first deploy, scaling, a rollout, a lost
 * unit, a drained node: a unit is *current* when it is of the target revision and not condemned; there shall
 * be `wanted` current ones.
 *
 *   create   while current < wanted and live < wanted + surge
 *   drain    an outdated one that serves, while serving others >= wanted - unavailable
 *   drop     an outdated one that never served, at once
 *   shrink   while current > wanted: the least useful one; while live > wanted + surge (units came back): one
 * that holds nothing yet
 *
 * A new revision is on probation until it is proven: its units count as serving only after `bake`. When one
 * of them cannot start, or nothing moves for progressDeadline, the target goes back to the proven revision,
 * and the same rule undoes what was done. */
#include <string.h>

#include "base/alloc.h"
#include "unit/fleet_private.h"

struct census {
    uint32_t live, current, serving; /* serving: counted for availability */
};

bool unit_serving(const struct unit *unit)
{
    return unit_in(unit, A_SM_BIT(A_UNIT_READY) | A_SM_BIT(A_UNIT_UPDATING));
}

bool unit_live(const struct unit *unit)
{
    return !unit->ending && !unit_in(unit, A_SM_BIT(A_UNIT_LOST) | A_SM_BIT(A_UNIT_DRAINING) |
                                               A_SM_BIT(A_UNIT_STOPPED) | A_SM_BIT(A_UNIT_COMPLETED));
}

bool unit_matches(const struct unit *unit, uint64_t revision, bool serve_too)
{
    if (unit->revision == revision)
        return true;
    const struct unit_revision_info *a = fleet_revision(unit->fleet, unit->revision),
                                    *b = fleet_revision(unit->fleet, revision);
    return a != NULL && b != NULL && a_digest_equal(&a->replace, &b->replace) &&
           (!serve_too || a_digest_equal(&a->serve, &b->serve));
}

bool unit_current(const struct unit *unit)
{
    return unit_live(unit) && !unit->condemned && unit_matches(unit, unit->fleet->target, false);
}

static uint32_t fleet_wanted(const struct unit_fleet *self)
{
    return self->desired.deleted ? 0 : self->desired.units;
}

static bool target_proven(const struct unit_fleet *self)
{
    return self->desired.proven == self->target;
}

/* Serves, and has proved itself long enough to let another one go for it. */
static bool unit_counts(struct unit *unit)
{
    struct unit_fleet *self = unit->fleet;
    if (!unit_serving(unit))
        return false;
    if (unit->revision != self->target || target_proven(self))
        return true;
    uint64_t baked = unit->ready_ms + self->desired.rollout.bake_ms;
    if (self->now_ms >= baked)
        return true;
    fleet_at(self, baked);
    return false;
}

static struct census fleet_census(struct unit_fleet *self)
{
    struct census c = {0};
    fleet_foreach_unit (u, self) {
        c.live += unit_live(u);
        c.current += unit_current(u);
        c.serving += unit_live(u) && unit_counts(u);
    }
    return c;
}

bool fleet_short(const struct unit_fleet *self)
{
    uint32_t n = 0;
    fleet_foreach_unit (u, self)
        n += unit_current(u) && unit_serving(u);
    return n < fleet_wanted(self);
}

bool fleet_underserved(const struct unit_fleet *self)
{
    uint32_t n = 0;
    fleet_foreach_unit (u, self)
        n += unit_live(u) && unit_serving(u);
    return n < fleet_wanted(self);
}

void fleet_poison_node(struct unit_fleet *self, const struct a_node_id *node)
{
    size_t keep = 0;
    for (size_t i = 0; i < self->n_poison; i++)
        if (self->now_ms - self->poison[i].at_ms < UNIT_POISON_WINDOW_MS)
            self->poison[keep++] = self->poison[i];
    self->n_poison = keep;
    for (size_t i = 0; i < self->n_poison; i++) {
        bool together = self->now_ms - self->poison[i].at_ms < UNIT_POISON_APART_MS;
        if (together || strcmp(self->poison[i].node.s, node->s) == 0)
            return; /* nodes that die together have a common cause */
    }
    if (self->n_poison < UNIT_POISON_NODES)
        self->poison[self->n_poison++] = (struct poison_node){*node, self->now_ms};
    self->poisoned = self->n_poison >= UNIT_POISON_NODES;
}

/* Known from its record only: it may serve, or its node may be gone. Which of both is known soon
 * (UNIT_ABSENT_MS). */
static bool unit_unheard(const struct unit *unit)
{
    const struct fleet_member *head = unit_head(unit);
    return head != NULL && head->restored && unit_live(unit);
}

static bool fleet_unheard(const struct unit_fleet *self)
{
    fleet_foreach_unit (u, self)
        if (unit_unheard(u))
            return true;
    return false;
}

/* ---- placing ---- */

static void unit_place(struct unit *unit)
{
    struct unit_fleet *self = unit->fleet;
    const struct unit_revision_info *r = fleet_revision(self, unit->revision);
    if (r == NULL || self->poisoned)
        return;
    if (self->now_ms < unit->retry_ms) {
        fleet_at(self, unit->retry_ms);
        return;
    }
    uint32_t *attempts = a_arena_alloc(&self->arena, r->n_members * sizeof *attempts);
    for (size_t i = 0; i < r->n_members; i++)
        attempts[i] = unit->attempt + 1;
    do
        unit->gang = a_random_u64(&self->random);
    while (unit->gang == 0);
    unit_move(unit, A_UNIT_CLAIMING, A_REASON_NONE, "");
    struct unit_action *action = fleet_act(self, UNIT_ACTION_PLACE, unit);
    action->gang = unit->gang;
    action->members = r->members;
    action->attempts = attempts;
    action->n_members = r->n_members;
}

static void fleet_place(struct unit_fleet *self)
{
    fleet_foreach_unit (u, self)
        if (!u->ending && unit_in(u, A_SM_BIT(A_UNIT_PLANNED)))
            unit_place(u);
}

static void fleet_create(struct unit_fleet *self)
{
    struct unit *unit = fleet_unit_new(self, NULL, self->target, A_UNIT_PLANNED);
    fleet_say(unit, NULL, A_REASON_NONE, "planned for revision %llu", (unsigned long long)self->target);
    if (self->n_heirs == 0)
        return;
    unit->budget = self->heirs[--self->n_heirs];
    if (unit->budget.n > 1)
        unit->retry_ms = self->now_ms + budget_pause_ms(unit->budget.n);
}

/* ---- choosing who goes ---- */

static uint32_t units_in_cluster(const struct unit_fleet *self, const struct a_name *cluster)
{
    uint32_t n = 0;
    fleet_foreach_unit (u, self)
        n += unit_live(u) && strcmp(u->cluster.s, cluster->s) == 0;
    return n;
}

/* How little a unit is worth: what does not serve goes first, then what came last; among those that serve,
 * one from the cluster that has most. */
static uint64_t uselessness(const struct unit *unit)
{
    static const uint8_t rank[A_UNIT_STATE_COUNT] = {
        [A_UNIT_FAILED] = 9,    [A_UNIT_PLANNED] = 8,  [A_UNIT_CLAIMING] = 7,
        [A_UNIT_FETCHING] = 6,  [A_UNIT_STARTING] = 5, [A_UNIT_DEPLOYING] = 4,
        [A_UNIT_UNHEALTHY] = 3, [A_UNIT_UPDATING] = 2, [A_UNIT_READY] = 1,
    };
    return (uint64_t)rank[unit->sm.state] << 32 | units_in_cluster(unit->fleet, &unit->cluster);
}

static struct unit *least_useful(const struct unit_fleet *self)
{
    struct unit *worst = NULL;
    fleet_foreach_unit (u, self)
        if (unit_current(u) && (worst == NULL || uselessness(u) >= uselessness(worst)))
            worst = u;
    return worst;
}

/* A unit that holds nothing: the one to drop when adopted ones have filled its place. */
static struct unit *unplaced(const struct unit_fleet *self)
{
    fleet_foreach_unit (u, self)
        if (unit_live(u) && unit_in(u, A_SM_BIT(A_UNIT_PLANNED) | A_SM_BIT(A_UNIT_FAILED)))
            return u;
    return NULL;
}

/* An outdated unit that may go now, or NULL. */
static struct unit *outdated(struct unit_fleet *self, const struct census *c)
{
    uint32_t wanted = fleet_wanted(self), unavailable = self->desired.rollout.max_unavailable;
    uint32_t floor = wanted > unavailable ? wanted - unavailable : 0;
    fleet_foreach_unit (u, self) {
        if (!unit_live(u) || unit_current(u) || unit_unheard(u))
            continue;
        if (!u->was_ready && !unit_serving(u))
            return u;
        /* the old revision is not given up for a target that is known to be bad */
        uint32_t others = c->serving - (unit_counts(u) ? 1 : 0);
        if (others >= floor && (!self->stopped || u->condemned))
            return u;
    }
    return NULL;
}

static enum a_reason leave_reason(const struct unit *unit)
{
    const struct unit_fleet *self = unit->fleet;
    if (self->desired.deleted)
        return A_REASON_REQUESTED;
    if (unit->condemned)
        return unit->condemn_reason;
    return unit->revision == self->undone ? A_REASON_UNDONE : A_REASON_SUPERSEDED;
}

static const char *leave_message(const struct unit *unit, enum a_reason reason)
{
    switch (reason) {
    case A_REASON_REQUESTED:
        return unit->fleet->desired.deleted ? "the app is deleted" : "fewer units are wanted";
    case A_REASON_DRAINED:
        return "the node of its head drains";
    case A_REASON_UNDONE:
        return "its revision is undone";
    case A_REASON_SUPERSEDED:
        return "replaced by another revision";
    case A_REASON_HEAD_LOST:
        return "its head did not answer any more";
    default:
        return unit->message;
    }
}

static void unit_leave(struct unit *unit, enum a_reason reason)
{
    unit_drain(unit, reason, leave_message(unit, reason));
}

/* ---- updates in place ---- */

static void unit_send_config(struct unit *unit)
{
    struct unit_fleet *self = unit->fleet;
    const struct fleet_member *head = unit_head(unit);
    unit->config_ms = self->now_ms;
    struct unit_action *action = fleet_act(self, UNIT_ACTION_CONFIG, unit);
    action->claim = (struct a_claim_id){.app_uid = self->desired.uid,
                                        .unit = unit->name,
                                        .member = head->at.name,
                                        .attempt = head->at.attempt};
    action->node = head->at.node;
    action->store_id = head->store_id;
    action->epoch = self->desired.epoch;
}

static void unit_configure(struct unit *unit)
{
    struct unit_fleet *self = unit->fleet;
    unit->revision = self->target;
    unit->config_revision = self->target;
    unit->final = unit->restored = false;
    unit->ready_ms = self->now_ms;
    unit_move(unit, A_UNIT_UPDATING, A_REASON_REQUESTED, "a new Serve config is put in");
    unit_send_config(unit);
}

/* One unit at a time; a unit that differs in nothing only takes the new number. */
static void fleet_update(struct unit_fleet *self)
{
    bool busy = false;
    fleet_foreach_unit (u, self) {
        if (!unit_live(u) || u->config_revision == 0 || unit_head(u) == NULL)
            continue;
        busy = true;
        if (self->now_ms - u->config_ms >= UNIT_CONFIG_RESEND_MS)
            unit_send_config(u);
        fleet_at(self, u->config_ms + UNIT_CONFIG_RESEND_MS);
    }
    fleet_foreach_unit (u, self) {
        if (!unit_live(u) || u->revision == self->target || !unit_matches(u, self->target, false))
            continue;
        if (unit_matches(u, self->target, true) && u->config_revision == 0 && !u->final)
            u->revision = self->target;
        else if (unit_serving(u) && (!busy || u->config_revision != 0) && !self->stopped) {
            busy = true;
            unit_configure(u);
        }
    }
}

/* ---- good and bad revisions ---- */

static bool revision_failed(struct unit_fleet *self, const char **ret_message, enum a_reason *ret_reason)
{
    fleet_foreach_unit (u, self) {
        bool bad = u->final && u->revision == self->target &&
                   unit_in(u, A_SM_BIT(A_UNIT_FAILED) | A_SM_BIT(A_UNIT_UPDATING));
        if (!bad)
            continue;
        *ret_message = u->message;
        *ret_reason = u->reason;
        return true;
    }
    uint64_t until = self->progress_ms + self->desired.rollout.progress_deadline_ms;
    if (self->now_ms < until) {
        fleet_at(self, until);
        return false;
    }
    *ret_message = "no unit of it became READY within progressDeadline";
    *ret_reason = A_REASON_DEADLINE_EXCEEDED;
    return true;
}

static void fleet_undo(struct unit_fleet *self, enum a_reason reason, const char *message)
{
    struct unit_action *action = fleet_act(self, UNIT_ACTION_UNDO, NULL);
    action->revision = self->undone = self->target;
    action->to = self->target = self->desired.proven;
    action->reason = reason;
    action->message =
        a_arena_printf(&self->arena, "revision %llu is bad, going back to %llu: %s",
                       (unsigned long long)action->revision, (unsigned long long)action->to, message);
    self->progress_ms = self->now_ms;
    self->dirty = true;
}

static bool rollout_complete(struct unit_fleet *self, const struct census *c)
{
    uint32_t good = 0;
    fleet_foreach_unit (u, self)
        good += unit_current(u) && unit_counts(u) && unit_matches(u, self->target, true) &&
                u->config_revision == 0;
    return good >= fleet_wanted(self) && c->current == c->live;
}

static void fleet_probation(struct unit_fleet *self, const struct census *c)
{
    const char *message;
    enum a_reason reason;
    if (target_proven(self) || fleet_wanted(self) == 0)
        return;
    if (rollout_complete(self, c)) {
        self->desired.proven = self->target;
        fleet_act(self, UNIT_ACTION_PROVEN, NULL)->revision = self->target;
        self->dirty = true;
        return;
    }
    if (self->stopped || self->desired.proven == 0 || !revision_failed(self, &message, &reason))
        return;
    if (self->desired.rollout.undo && fleet_revision(self, self->desired.proven) != NULL)
        fleet_undo(self, reason, message);
    else
        self->stopped = true;
}

void fleet_plan(struct unit_fleet *self)
{
    if (!self->adopted)
        return;
    struct census c = fleet_census(self);
    fleet_probation(self, &c);
    fleet_update(self);
    uint32_t wanted = fleet_wanted(self), surge = self->desired.rollout.max_surge;
    if (surge == 0 && self->desired.rollout.max_unavailable == 0)
        surge = 1;
    for (struct unit *u; c = fleet_census(self), (u = outdated(self, &c)) != NULL;)
        unit_leave(u, leave_reason(u));
    for (struct unit *u; c = fleet_census(self),
                         c.current > wanted && !fleet_unheard(self) && (u = least_useful(self)) != NULL;)
        unit_leave(u, A_REASON_REQUESTED);
    for (struct unit *u; c = fleet_census(self), c.live > wanted + surge && (u = unplaced(self)) != NULL;)
        unit_leave(u, A_REASON_SUPERSEDED);
    while (c = fleet_census(self),
           c.current < wanted && c.live < wanted + surge && !self->stopped && !self->poisoned)
        fleet_create(self);
    fleet_place(self);
}
