/* A unit's state, worked out from what its members report. */
#include <string.h>

#include "base/alloc.h"
#include "unit/fleet_private.h"

#define BOUND_STATES                                                                                         \
    (A_SM_BIT(A_UNIT_FETCHING) | A_SM_BIT(A_UNIT_STARTING) | A_SM_BIT(A_UNIT_DEPLOYING) |                    \
     A_SM_BIT(A_UNIT_READY) | A_SM_BIT(A_UNIT_UPDATING) | A_SM_BIT(A_UNIT_UNHEALTHY))

static const char *printf_arena(struct unit *unit, const char *what, const char *detail)
{
    return a_arena_printf(&unit->fleet->arena, "%s%s%s", what, detail[0] != '\0' ? ": " : "", detail);
}

/* Serve runs the config of the unit's revision, or of one that differs in nothing that a unit knows of. */
static bool deployed_matches(const struct unit *unit, const struct fleet_member *head, uint64_t number)
{
    const struct unit_revision_info *want = fleet_revision(unit->fleet, number);
    if (a_digest_is_zero(&head->deployed))
        return false;
    if (want == NULL)
        return true; /* a revision that is kept no longer: what runs is what there is */
    if (a_digest_equal(&want->digest, &head->deployed))
        return true;
    for (size_t i = 0; i < unit->fleet->desired.n_revisions; i++) {
        const struct unit_revision_info *r = &unit->fleet->desired.revisions[i];
        if (a_digest_equal(&r->digest, &head->deployed))
            return a_digest_equal(&r->serve, &want->serve) && a_digest_equal(&r->replace, &want->replace);
    }
    return false;
}

static bool head_serves(const struct fleet_member *head)
{
    return head->sm.state == A_MEMBER_UP && head->endpoints > 0 &&
           (head->serve == UNIT_SERVE_RUNNING || head->serve == UNIT_SERVE_DEPLOYING ||
            head->serve == UNIT_SERVE_LIMPING);
}

/* After a restart the record may be older than what was put into the unit since. */
static void take_deployed(struct unit *unit, const struct fleet_member *head)
{
    for (size_t i = 0; i < unit->fleet->desired.n_revisions && unit->config_revision == 0; i++) {
        const struct unit_revision_info *r = &unit->fleet->desired.revisions[i];
        if (a_digest_equal(&r->digest, &head->deployed) && unit_matches(unit, r->number, false))
            unit->revision = r->number;
    }
}

static bool head_is_ready(struct unit *unit, const struct fleet_member *head)
{
    if (!head_serves(head) || !head->warmed)
        return false;
    if (unit->restored || unit->was_ready) {
        take_deployed(unit, head);
        return true;
    }
    return head->serve == UNIT_SERVE_RUNNING && deployed_matches(unit, head, unit->revision);
}

static void unit_becomes_ready(struct unit *unit, const char *message)
{
    struct unit_fleet *self = unit->fleet;
    unit_move(unit, A_UNIT_READY, A_REASON_NONE, message);
    unit->was_ready = true;
    unit->ready_ms = self->now_ms;
    unit->unhealthy_ms = 0;
    if (unit->first_ready_ms == 0)
        unit->first_ready_ms = A_MAX(self->now_ms, 1);
    if (unit->revision == self->target)
        self->progress_ms = self->now_ms;
    unit_endpoints_set(unit, UNIT_ENDPOINTS_UP);
}

/* A start: as far as the slowest member that counts. */
static void observe_start(struct unit *unit, struct fleet_member *head)
{
    enum a_unit_state phase = A_UNIT_DEPLOYING;
    unit_foreach_member (m, unit) {
        if (m->leaving || m->gone)
            continue;
        if (m->sm.state < A_MEMBER_STARTING)
            phase = A_UNIT_FETCHING;
        else if (m->sm.state == A_MEMBER_STARTING && phase != A_UNIT_FETCHING)
            phase = A_UNIT_STARTING;
    }
    if (head->serve == UNIT_SERVE_FAILED) {
        unit_fail(unit, head->serve_reason == A_REASON_NONE ? A_REASON_SERVE_REJECTED : head->serve_reason,
                  head->message);
        return;
    }
    if (head_is_ready(unit, head)) {
        unit_becomes_ready(unit, "");
        return;
    }
    if (phase > (enum a_unit_state)unit->sm.state)
        unit_move(unit, phase, A_REASON_NONE, "");
}

static void observe_update(struct unit *unit, struct fleet_member *head)
{
    if (head->serve == UNIT_SERVE_FAILED) {
        unit->config_revision = 0;
        unit->final = true; /* of this update: the rollout looks at it */
        unit_note(unit, head->serve_reason == A_REASON_NONE ? A_REASON_SERVE_REJECTED : head->serve_reason,
                  head->message);
        unit->fleet->dirty = true;
    } else if (head->serve == UNIT_SERVE_RUNNING && deployed_matches(unit, head, unit->revision)) {
        unit->config_revision = 0;
        unit_becomes_ready(unit, "updated in place");
    }
}

static void observe_serving(struct unit *unit, struct fleet_member *head)
{
    if (head_serves(head)) {
        if (unit_in(unit, A_SM_BIT(A_UNIT_UPDATING)))
            observe_update(unit, head);
        return;
    }
    bool restarting = head->sm.state != A_MEMBER_UP, lost = restarting || head->silent;
    unit->unhealthy_ms = unit->fleet->now_ms;
    unit_endpoints_set(unit, lost ? UNIT_ENDPOINTS_DEAD : UNIT_ENDPOINTS_DRAINING);
    unit_move(unit, A_UNIT_UNHEALTHY, lost ? A_REASON_HEAD_LOST : A_REASON_HEALTH_CHECK_FAILED,
              restarting     ? "its head is starting again"
              : head->silent ? "its head does not answer, and no replica does"
                             : printf_arena(unit, "Serve is not healthy", head->message));
}

static void observe_unhealthy(struct unit *unit, struct fleet_member *head)
{
    if (!head_serves(head) || head->serve != UNIT_SERVE_RUNNING)
        return;
    if (deployed_matches(unit, head, unit->revision)) {
        unit->config_revision = 0; /* an update that was under way has arrived meanwhile */
        unit_becomes_ready(unit, "healthy again");
    } else if (unit->config_revision != 0)
        unit_move(unit, A_UNIT_UPDATING, A_REASON_NONE, "healthy again");
}

/* The head cannot come back: a start failed, or a unit that served is over. Its successor carries the budget
 * on, so that an app which dies on and on does so ever more slowly. */
static void observe_head_over(struct unit *unit, const struct fleet_member *head)
{
    struct unit_fleet *self = unit->fleet;
    enum a_reason reason = head == NULL || head->reason == A_REASON_NONE ? A_REASON_HEAD_LOST : head->reason;
    const char *message = head == NULL ? "its head's claim is gone" : head->message;
    if (!unit->was_ready) {
        unit_fail(unit, reason, message);
        return;
    }
    unit_endpoints_set(unit, UNIT_ENDPOINTS_DEAD);
    unit->ending = true;
    unit_move(unit, A_UNIT_LOST, A_REASON_HEAD_LOST, printf_arena(unit, "its head is gone", message));
    budget_add(&unit->budget, self->now_ms);
    fleet_bequeath(unit);
    unit_release_all(unit, A_REASON_HEAD_LOST);
}

static void observe_bound(struct unit *unit)
{
    struct fleet_member *head = unit_head(unit);
    if (head == NULL || head->sm.state == A_MEMBER_EXITED) {
        if (unit->fleet->adopted)
            observe_head_over(unit, head);
        return;
    }
    if (head->sm.state == A_MEMBER_LOST) {
        unit->config_revision = 0;
        unit_endpoints_set(unit, UNIT_ENDPOINTS_DEAD);
        unit_move(unit, A_UNIT_LOST, A_REASON_NODE_LOST,
                  printf_arena(unit, "the node of its head is gone", head->at.node.s));
        return;
    }
    if (head->restored)
        return; /* known from its record only: no verdict */
    if (unit_serving(unit))
        observe_serving(unit, head);
    else if (unit_in(unit, A_SM_BIT(A_UNIT_UNHEALTHY)))
        observe_unhealthy(unit, head);
    else
        observe_start(unit, head);
}

/* Of another revision, but it serves, and nothing else does: it stays until another one serves in its place.
 */
static bool stands_in(const struct unit *unit, const struct fleet_member *head)
{
    return unit->revision != unit->fleet->undone && head_serves(head) && head->warmed &&
           fleet_underserved(unit->fleet);
}

/* Back from the dead: adopted when the app is short, else drained; never both. */
static void observe_lost(struct unit *unit)
{
    struct unit_fleet *self = unit->fleet;
    struct fleet_member *head = unit_head(unit);
    if (!self->adopted)
        return;
    if (head == NULL || head->sm.state == A_MEMBER_EXITED) {
        unit->ending = true;
        unit_release_all(unit, A_REASON_HEAD_LOST);
        return;
    }
    bool wanted = fleet_short(self) && unit_matches(unit, self->target, false);
    if (head->sm.state == A_MEMBER_LOST) {
        /* members that are here still wait for it, until the app has what it wants */
        if (!wanted)
            unit_foreach_member (m, unit)
                if (m->sm.state != A_MEMBER_LOST)
                    unit_release_member(unit, m, A_REASON_SUPERSEDED);
        return;
    }
    if (head->releasing || (!wanted && !stands_in(unit, head))) {
        unit_drain(unit, A_REASON_SUPERSEDED, "came back when it was replaced already");
        return;
    }
    if (head_is_ready(unit, head)) {
        unit_becomes_ready(unit, "came back: adopted");
        return;
    }
    unit_move(unit, head->sm.state < A_MEMBER_STARTING ? A_UNIT_FETCHING : A_UNIT_STARTING, A_REASON_NONE,
              "came back: adopted");
    observe_start(unit, head);
}

void fleet_observe(struct unit_fleet *self)
{
    fleet_foreach_unit (u, self) {
        if (u->ending)
            continue;
        if (unit_in(u, BOUND_STATES))
            observe_bound(u);
        else if (unit_in(u, A_SM_BIT(A_UNIT_LOST)))
            observe_lost(u);
    }
}
