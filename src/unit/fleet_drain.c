/* The way out. A unit that may have requests leaves in this order, and no step is skipped:
 *
 *   ENDPOINTS DRAINING -> WITHDRAWN by every gateway -> IDLE -> RELEASE -> gone
 *
 * Gateways cut what is under way when its time is over, so IDLE comes by itself. Only a gateway that hangs
 * keeps it, or WITHDRAWN, from coming: the drain's time and a margin after ENDPOINTS the unit is released
 * without its word. One that was never offered, or is DEAD to the gateways already, starts at RELEASE. */
#include <string.h>

#include "base/alloc.h"
#include "unit/fleet_private.h"
#include "unit/withdraw.h"

/* A cancelled gang has no last word: how many attempts it used is not known, but they are fewer than this in
 * the 20 s that a gang may take. */
#define ATTEMPTS_SKIPPED 1000
/* Above the drain's time: a gateway may be away for as long as W2 says and then still has all of that time;
 * and the way of the view to the gateways, and of their word back. */
#define MARGIN_MS (UNIT_WITHDRAW_AWAY_MS + 10000)

void unit_endpoints_set(struct unit *unit, enum unit_endpoints to)
{
    struct unit_fleet *self = unit->fleet;
    if (unit->endpoints == to)
        return;
    /* what was never offered need not be withdrawn */
    if (unit->endpoints == UNIT_ENDPOINTS_NONE && to != UNIT_ENDPOINTS_UP)
        return;
    unit->endpoints = to;
    unit->sequence = ++self->sequence;
    unit->idle = unit->quiet = false;
    unit->drain_until_ms =
        unit_is_offered(unit) ? A_NEVER : self->now_ms + self->desired.drain_ms + MARGIN_MS;
    struct unit_action *action = fleet_act(self, UNIT_ACTION_ENDPOINTS, unit);
    action->endpoints = to;
    action->sequence = unit->sequence;
}

void unit_release_member(struct unit *unit, struct fleet_member *m, enum a_reason reason)
{
    struct unit_fleet *self = unit->fleet;
    if (m->releasing || m->gone || !self->adopted)
        return;
    m->releasing = true;
    m->leaving = true;
    struct unit_action *action = fleet_act(self, UNIT_ACTION_RELEASE, unit);
    action->claim = (struct a_claim_id){
        .app_uid = self->desired.uid, .unit = unit->name, .member = m->at.name, .attempt = m->at.attempt};
    action->member = m->at.name;
    action->node = m->at.node;
    action->store_id = m->store_id;
    action->epoch = self->desired.epoch;
    action->grace_ms = UNIT_RELEASE_GRACE_MS;
    action->reason = reason;
}

void unit_release_all(struct unit *unit, enum a_reason reason)
{
    unit_foreach_member (m, unit)
        unit_release_member(unit, m, reason);
}

void unit_cancel_gang(struct unit *unit)
{
    if (unit->gang == 0)
        return;
    struct unit_action *action = fleet_act(unit->fleet, UNIT_ACTION_CANCEL, unit);
    action->gang = unit->gang;
    unit->attempt += ATTEMPTS_SKIPPED;
    unit_forget_gang(unit);
}

bool unit_is_offered(const struct unit *unit)
{
    return unit->endpoints == UNIT_ENDPOINTS_UP || unit->endpoints == UNIT_ENDPOINTS_STALE;
}

void unit_drain(struct unit *unit, enum a_reason reason, const char *message)
{
    char *text = a_arena_strdup(&unit->fleet->arena, message);
    unit->ending = true;
    unit_cancel_gang(unit);
    if (unit_in(unit, A_SM_BIT(A_UNIT_PLANNED) | A_SM_BIT(A_UNIT_FAILED))) {
        unit_note(unit, reason, text);
        unit_release_all(unit, reason);
        unit->fleet->dirty = true;
        return;
    }
    if (unit_is_offered(unit))
        unit_endpoints_set(unit, UNIT_ENDPOINTS_DRAINING);
    if (!unit_in(unit, A_SM_BIT(A_UNIT_DRAINING)))
        unit_move(unit, A_UNIT_DRAINING, reason, text);
}

static bool unit_is_empty(const struct unit *unit)
{
    unit_foreach_member (m, unit)
        if (!m->gone)
            return false;
    return unit->gang == 0;
}

/* Whether nobody can have a request at the unit any more; sets the clock for it. */
static bool unit_is_quiet(struct unit *unit)
{
    struct unit_fleet *self = unit->fleet;
    const struct fleet_member *head = unit_head(unit);
    if (unit->endpoints == UNIT_ENDPOINTS_NONE || unit->quiet)
        return true;
    bool over = head == NULL || head->sm.state == A_MEMBER_EXITED;
    if (over || head->sm.state == A_MEMBER_LOST)
        unit_endpoints_set(unit, UNIT_ENDPOINTS_DEAD); /* what is in flight there will not finish */
    if (over)
        return true;
    if (unit_is_offered(unit))
        return false;
    bool late = self->now_ms >= unit->drain_until_ms, withdrawn = self->withdrawn >= unit->sequence;
    if (withdrawn && unit->endpoints == UNIT_ENDPOINTS_DEAD)
        return true; /* gateways have re-sent what was in flight */
    unit->quiet = late || (withdrawn && unit->idle);
    if (late && !withdrawn)
        fleet_say(unit, NULL, A_REASON_DEADLINE_EXCEEDED,
                  "a gateway did not acknowledge the drain in time; it is not waited for");
    if (!unit->quiet)
        fleet_at(self, unit->drain_until_ms);
    return unit->quiet;
}

static void unit_drain_on(struct unit *unit)
{
    if (!unit_in(unit, A_SM_BIT(A_UNIT_DRAINING)) || unit_is_quiet(unit))
        unit_release_all(unit, unit->reason);
    if (unit_is_empty(unit))
        unit_end(unit, unit->reason);
}

/* FAILED: once nothing is left, it is planned again when its pause is over. */
static void unit_failed_on(struct unit *unit)
{
    struct unit_fleet *self = unit->fleet;
    unit_release_all(unit, unit->reason);
    unit_foreach_member (m, unit)
        if (m->gone)
            unit_member_free(m);
    if (!a_list_empty(&unit->members))
        return;
    if (unit->recorded) {
        fleet_act(self, UNIT_ACTION_RECORD_DEL, unit);
        unit->recorded = false;
    }
    if (self->now_ms < unit->retry_ms) {
        fleet_at(self, unit->retry_ms);
        return;
    }
    unit->final = false;
    unit_move(unit, A_UNIT_PLANNED, A_REASON_NONE, "trying again");
}

void fleet_drain(struct unit_fleet *self)
{
    if (!self->adopted)
        return;
    fleet_foreach_unit (u, self) {
        unit_foreach_member (m, u)
            if (m->superfluous) {
                unit_release_member(u, m, A_REASON_SUPERSEDED);
                if (m->gone)
                    unit_member_free(m);
            }
        if (u->ending)
            unit_drain_on(u);
        else if (unit_in(u, A_SM_BIT(A_UNIT_FAILED)))
            unit_failed_on(u);
    }
}
