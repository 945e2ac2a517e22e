/* Claims that an earlier epoch made are taken over; and members of a running unit that must be replaced: a
 * worker that died is replaced alone, a worker on a draining node after its replacement has joined. A head
 * takes its unit along: the unit is condemned, and replaced as a whole. */
#include <string.h>

#include "base/alloc.h"
#include "unit/fleet_private.h"

static void unit_condemn(struct unit *unit, enum a_reason reason)
{
    if (unit->condemned == (reason != A_REASON_NONE) && unit->condemn_reason == reason)
        return;
    unit->condemned = reason != A_REASON_NONE;
    unit->condemn_reason = reason;
    unit->fleet->dirty = true;
}

/* A worker is bound and starts, and did not fail so often that the unit is no good. One that finds no place
 * is not coming: another cluster may have room for the whole unit. */
static bool worker_is_coming(const struct unit *unit)
{
    const uint64_t starts =
        A_SM_BIT(A_MEMBER_BOUND) | A_SM_BIT(A_MEMBER_FETCHING) | A_SM_BIT(A_MEMBER_STARTING);
    if (budget_count(&unit->budget, unit->fleet->now_ms) >= UNIT_WORKER_FAILURES)
        return false;
    unit_foreach_member (m, unit)
        if (!m->at.head && !m->gone && !m->leaving && !m->restored && (starts & A_SM_BIT(m->sm.state)) != 0)
            return true;
    return false;
}

/* The member's node ends so soon that it must go now, whether it was replaced or not. */
static bool member_must_go(struct unit_fleet *self, const struct fleet_member *m)
{
    if (m->go_ms == 0)
        return false;
    if (self->now_ms < m->go_ms)
        fleet_at(self, m->go_ms);
    return self->now_ms >= m->go_ms;
}

/* It serves, and nothing is known that will end it. */
static bool unit_stays(const struct unit *unit)
{
    const struct fleet_member *head = unit_head(unit);
    return unit_live(unit) && unit_serving(unit) && !unit->condemned && head != NULL && !head->node_drains;
}

/* Those that stay carry the load until the unit's replacement serves, too. */
static bool rest_suffices(const struct unit *unit)
{
    uint32_t n = 0;
    fleet_foreach_unit (other, unit->fleet)
        n += other != unit && unit_stays(other);
    return n > 0 && 2 * (uint64_t)n >= unit->fleet->desired.units;
}

/* Whether the unit as a whole has to be replaced, though it may still serve. */
static void unit_judge(struct unit *unit)
{
    const struct fleet_member *head = unit_head(unit);
    struct unit_fleet *self = unit->fleet;
    bool unhealthy = unit_in(unit, A_SM_BIT(A_UNIT_UNHEALTHY));
    enum a_reason reason = A_REASON_NONE;
    bool coming = worker_is_coming(unit);
    if (unhealthy && (coming || unit->awaits_worker))
        unit->unhealthy_ms = self->now_ms;
    unit->awaits_worker = coming;
    if (head != NULL && head->node_drains)
        reason = A_REASON_DRAINED;
    else if (head != NULL && head->overdue && head->sm.state == A_MEMBER_UP)
        reason = A_REASON_HEAD_LOST; /* it serves on until another one does */
    else if (unhealthy && unit->reason == A_REASON_HEAD_LOST)
        reason = A_REASON_HEAD_LOST;
    else if (unhealthy && self->now_ms - unit->unhealthy_ms >= UNIT_UNHEALTHY_MS)
        reason = A_REASON_HEALTH_CHECK_FAILED;
    else if (unhealthy && !coming)
        fleet_at(self, unit->unhealthy_ms + UNIT_UNHEALTHY_MS);
    unit_condemn(unit, reason);
    if (head == NULL || head->leaves_ms == 0 || unit->ending)
        return;
    if (member_must_go(self, head) || rest_suffices(unit))
        unit_drain(unit, A_REASON_DRAINED, "the node of its head ends"); /* U11 */
}

static struct fleet_member *successor(const struct unit *unit, const struct fleet_member *old)
{
    unit_foreach_member (m, unit)
        if (!m->gone && !m->superfluous && m->at.attempt > old->at.attempt &&
            strcmp(m->at.name.s, old->at.name.s) == 0)
            return m;
    return NULL;
}

static void place_member(struct unit *unit, const struct unit_member_spec *want, enum a_reason reason)
{
    struct unit_fleet *self = unit->fleet;
    if (unit->gang != 0 || self->poisoned)
        return;
    if (self->now_ms < unit->retry_ms) {
        fleet_at(self, unit->retry_ms);
        return;
    }
    struct unit_member_spec *spec = a_arena_new(&self->arena, struct unit_member_spec);
    uint32_t *attempt = a_arena_new(&self->arena, uint32_t);
    *spec = *want;
    *attempt = unit->attempt + 1;
    do
        unit->gang = a_random_u64(&self->random);
    while (unit->gang == 0);
    unit->granted = false;
    struct unit_action *action = fleet_act(self, UNIT_ACTION_PLACE, unit);
    action->gang = unit->gang;
    action->cluster = unit->cluster;
    action->members = spec;
    action->attempts = attempt;
    action->n_members = 1;
    fleet_say(unit, NULL, reason, "a new %s is placed", want->name.s);
}

/* Workers that the revision wants and the unit has not: after an adoption that found only a part of it. */
static void place_missing(struct unit *unit)
{
    const struct unit_revision_info *r = fleet_revision(unit->fleet, unit->revision);
    for (size_t i = 0; r != NULL && i < r->n_members; i++) {
        bool there = r->members[i].head;
        unit_foreach_member (m, unit)
            there = there || (!m->superfluous && strcmp(m->at.name.s, r->members[i].name.s) == 0);
        if (!there)
            place_member(unit, &r->members[i], A_REASON_NODE_LOST);
    }
}

/* Why a worker has to go; NONE = it stays. */
static enum a_reason worker_verdict(const struct fleet_member *m)
{
    if (m->gone || m->sm.state == A_MEMBER_EXITED)
        return m->reason == A_REASON_NONE ? A_REASON_NODE_LOST : m->reason;
    if (m->sm.state == A_MEMBER_LOST)
        return A_REASON_NODE_LOST;
    return m->node_drains ? A_REASON_DRAINED : A_REASON_NONE;
}

static void worker_step(struct unit *unit, struct fleet_member *m)
{
    enum a_reason why = worker_verdict(m);
    struct fleet_member *next = successor(unit, m);
    bool over = m->gone || m->sm.state == A_MEMBER_EXITED;
    if (why == A_REASON_NONE && next == NULL && !m->releasing) {
        m->leaving = false; /* came back before it was replaced */
        return;
    }
    if (!m->leaving && over) {
        uint32_t failures = budget_add(&unit->budget, unit->fleet->now_ms);
        unit->retry_ms = unit->fleet->now_ms + (failures > 1 ? budget_pause_ms(failures) : 0);
    }
    m->leaving = true;
    if (over)
        unit_release_member(unit, m, why);
    if (next == NULL)
        place_member(unit, &(struct unit_member_spec){.name = m->at.name, .capacity = m->at.capacity}, why);
    else if (next->sm.state == A_MEMBER_UP || why != A_REASON_DRAINED || member_must_go(unit->fleet, m))
        unit_release_member(unit, m, why == A_REASON_NONE ? A_REASON_SUPERSEDED : why);
    if (m->gone && next != NULL)
        unit_member_free(m);
}

/* A worker that cannot start takes a unit along that surely never served: the cause is the app's more often
 * than not, and the message is wanted. */
static bool start_failed(struct unit *unit)
{
    if (unit->was_ready || unit->restored)
        return false;
    unit_foreach_member (m, unit)
        if (!m->at.head && !m->gone && !m->superfluous && m->sm.state == A_MEMBER_EXITED && !m->releasing &&
            !m->restored) {
            unit_fail(unit, m->reason == A_REASON_NONE ? A_REASON_RAY_START_FAILED : m->reason, m->message);
            return true;
        }
    return false;
}

/* What a former owner sent, a RELEASE above all, may still be under way. The claim keeps the store that made
 * it (U8): its node need only know our epoch. */
static void member_fence(struct unit *unit, struct fleet_member *m)
{
    uint64_t epoch = unit->fleet->desired.epoch;
    if (m->gone || m->restored || m->releasing || m->claim_state != A_CLAIM_BOUND || m->epoch >= epoch ||
        m->fenced >= epoch)
        return;
    m->fenced = epoch;
    struct unit_action *action = fleet_act(unit->fleet, UNIT_ACTION_FENCE, unit);
    action->claim = (struct a_claim_id){.app_uid = unit->fleet->desired.uid,
                                        .unit = unit->name,
                                        .member = m->at.name,
                                        .attempt = m->at.attempt};
    action->member = m->at.name;
    action->node = m->at.node;
    action->store_id = m->store_id;
    action->epoch = epoch;
}

void fleet_members(struct unit_fleet *self)
{
    if (!self->adopted)
        return;
    fleet_foreach_unit (u, self)
        unit_foreach_member (m, u)
            member_fence(u, m);
    const uint64_t bound = A_SM_BIT(A_UNIT_FETCHING) | A_SM_BIT(A_UNIT_STARTING) |
                           A_SM_BIT(A_UNIT_DEPLOYING) | A_SM_BIT(A_UNIT_READY) | A_SM_BIT(A_UNIT_UPDATING) |
                           A_SM_BIT(A_UNIT_UNHEALTHY);
    fleet_foreach_unit (u, self) {
        if (u->ending || !unit_in(u, bound) || start_failed(u))
            continue;
        unit_judge(u);
        if (u->condemned)
            continue;
        place_missing(u);
        unit_foreach_member (m, u)
            if (!m->at.head && !m->superfluous)
                worker_step(u, m);
    }
}
