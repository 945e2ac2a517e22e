/* What people, the API and the store see of a fleet. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "unit/fleet_private.h"

const char *unit_condition_name(enum unit_condition_type c)
{
    static const char *const names[] = {"Placed", "Available", "Progressing", "Degraded"};
    a_assert((unsigned)c < UNIT_CONDITION_COUNT);
    return names[c];
}

static void condition(struct unit_condition *c, bool status, enum a_reason reason, const char *message)
{
    size_t n = A_MIN(strlen(message), sizeof c->message - 1);
    *c = (struct unit_condition){.status = status, .reason = reason};
    memcpy(c->message, message, n);
}

static void status_count(struct unit_fleet *self, struct unit_fleet_status *s)
{
    fleet_foreach_unit (u, self) {
        bool live = unit_live(u);
        s->total++;
        s->ready += live && unit_serving(u);
        s->updated +=
            live && unit_serving(u) && unit_matches(u, self->target, true) && u->config_revision == 0;
        s->failed += live && unit_in(u, A_SM_BIT(A_UNIT_FAILED));
        s->lost += unit_in(u, A_SM_BIT(A_UNIT_LOST));
        s->draining += u->ending && !unit_in(u, A_SM_BIT(A_UNIT_LOST));
        s->rolling = s->rolling || (live && !unit_matches(u, self->target, true));
    }
}

static const struct unit *waiting_for_room(const struct unit_fleet *self)
{
    fleet_foreach_unit (u, self)
        if (unit_live(u) && u->reason == A_REASON_NO_CAPACITY)
            return u;
    return NULL;
}

static const struct unit *worst_failure(const struct unit_fleet *self)
{
    const struct unit *worst = NULL;
    fleet_foreach_unit (u, self)
        if (unit_live(u) && unit_in(u, A_SM_BIT(A_UNIT_FAILED)) &&
            (worst == NULL || (u->final && !worst->final)))
            worst = u;
    return worst;
}

/* A unit that serves, but without its head, or with fewer replicas than it should have. */
static const struct unit *limping(const struct unit_fleet *self, const char **ret_why)
{
    fleet_foreach_unit (u, self) {
        const struct fleet_member *head = unit_head(u);
        if (!unit_live(u) || !unit_serving(u) || head == NULL)
            continue;
        *ret_why = head->silent ? "its head does not answer" : "a Serve application is UNHEALTHY";
        if (head->silent || head->serve == UNIT_SERVE_LIMPING)
            return u;
    }
    return NULL;
}

static void status_degraded(const struct unit_fleet *self, const struct unit_fleet_status *s,
                            struct unit_condition *c)
{
    const struct unit *unit = worst_failure(self);
    const char *why = "";
    char text[128];
    snprintf(text, sizeof text, "%u of %u units are ready", s->ready, s->wanted);
    if (unit != NULL) {
        condition(c, true, unit->reason, unit->message);
    } else if (self->poisoned) {
        condition(c, true, A_REASON_POISON_SUSPECTED, "");
    } else if ((unit = limping(self, &why)) != NULL) {
        snprintf(text, sizeof text, "unit %s serves on, but %s", unit->name.s, why);
        condition(c, true, A_REASON_HEALTH_CHECK_FAILED, text);
    } else {
        condition(c, s->ready < s->wanted, A_REASON_NONE, text);
    }
}

static void status_placed(struct unit_fleet *self, struct unit_fleet_status *s)
{
    const struct unit *u = waiting_for_room(self);
    if (self->poisoned)
        condition(&s->conditions[UNIT_PLACED], false, A_REASON_POISON_SUSPECTED,
                  "nodes died under units of this app: nothing more is placed until it is deployed again");
    else if (u != NULL)
        condition(&s->conditions[UNIT_PLACED], false, u->reason, u->message);
    else
        condition(&s->conditions[UNIT_PLACED], true, A_REASON_NONE, "");
}

static void status_progress(struct unit_fleet *self, struct unit_fleet_status *s)
{
    bool complete = s->updated >= s->wanted && !s->rolling && s->draining == 0;
    uint64_t until = self->progress_ms + self->desired.rollout.progress_deadline_ms;
    if (complete || self->stopped)
        condition(&s->conditions[UNIT_PROGRESSING], false,
                  self->stopped ? A_REASON_DEADLINE_EXCEEDED : A_REASON_NONE,
                  self->stopped ? "the revision is bad and undo is off" : "all units are up to date");
    else if (self->desired.proven != self->target && self->now_ms >= until)
        condition(&s->conditions[UNIT_PROGRESSING], false, A_REASON_DEADLINE_EXCEEDED,
                  "no unit became READY within progressDeadline");
    else
        condition(&s->conditions[UNIT_PROGRESSING], true, A_REASON_NONE, "units are on their way");
}

static void status_health(struct unit_fleet *self, struct unit_fleet_status *s)
{
    uint32_t unavailable = self->desired.rollout.max_unavailable;
    uint32_t floor = s->wanted > unavailable ? s->wanted - unavailable : A_MIN(s->wanted, 1);
    char text[64];
    snprintf(text, sizeof text, "%u of %u units are ready", s->ready, s->wanted);
    condition(&s->conditions[UNIT_AVAILABLE], s->ready >= floor, A_REASON_NONE, text);
    status_degraded(self, s, &s->conditions[UNIT_DEGRADED]);
}

/* When each condition last changed its mind, not its words. */
static void status_since(const struct unit_fleet *self, struct unit_fleet_status *s)
{
    for (int i = 0; i < UNIT_CONDITION_COUNT; i++) {
        const struct unit_condition *old = &self->status.conditions[i];
        bool same = old->since_ms != 0 && old->status == s->conditions[i].status;
        s->conditions[i].since_ms = same ? old->since_ms : A_MAX(self->now_ms, 1);
    }
}

void fleet_status(struct unit_fleet *self)
{
    struct unit_fleet_status s;
    memset(&s, 0, sizeof s); /* compared as bytes below */
    s.generation = self->desired.generation;
    s.revision = self->target;
    s.failed_revision = self->undone;
    s.wanted = self->desired.deleted ? 0 : self->desired.units;
    s.poisoned = self->poisoned;
    memcpy(s.last_failure, self->last_failure, sizeof s.last_failure);
    status_count(self, &s);
    status_placed(self, &s);
    status_progress(self, &s);
    status_health(self, &s);
    status_since(self, &s);
    /* NOLINTNEXTLINE(bugprone-suspicious-memory-comparison,cert-exp42-c,cert-flp37-c): both began as zeros */
    if (memcmp(&s, &self->status, sizeof s) == 0)
        return;
    memcpy(&self->status, &s, sizeof s);
    fleet_act(self, UNIT_ACTION_STATUS, NULL);
}

bool unit_fleet_waits(const struct unit_fleet *self)
{
    const struct unit_condition *placed = &self->status.conditions[UNIT_PLACED];
    return !placed->status && placed->reason == A_REASON_NO_CAPACITY;
}

void unit_fleet_status(const struct unit_fleet *self, struct unit_fleet_status *ret)
{
    *ret = self->status;
}

static size_t unit_count_members(const struct unit *unit)
{
    size_t n = 0;
    unit_foreach_member (m, unit)
        n++;
    return n;
}

static void unit_info_make(const struct unit *u, struct unit_info *ret)
{
    const struct fleet_member *head = unit_head(u);
    *ret = (struct unit_info){
        .name = u->name,
        .state = (enum a_unit_state)u->sm.state,
        .reason = u->reason,
        .message = u->message,
        .since_ms = u->since_ms,
        .retry_ms = u->retry_ms > u->fleet->now_ms ? u->retry_ms : A_NEVER,
        .ready_ms = u->first_ready_ms,
        .revision = u->revision,
        .cluster = u->cluster,
        .failures = u->budget.n,
        .final = u->final,
        .leaving = !unit_current(u),
        .endpoints = u->endpoints,
        .n_members = unit_count_members(u),
    };
    if (head == NULL)
        return;
    ret->head_node = head->at.node;
    ret->head = (struct a_claim_id){.app_uid = u->fleet->desired.uid,
                                    .unit = u->name,
                                    .member = head->at.name,
                                    .attempt = head->at.attempt};
}

bool unit_fleet_unit(const struct unit_fleet *self, size_t index, struct unit_info *ret)
{
    fleet_foreach_unit (u, self) {
        if (index-- > 0)
            continue;
        unit_info_make(u, ret);
        return true;
    }
    return false;
}

bool unit_fleet_find(const struct unit_fleet *self, const struct a_unit_name *unit, struct unit_info *ret)
{
    const struct unit *u = fleet_unit_find(self, unit->s);
    if (u != NULL)
        unit_info_make(u, ret);
    return u != NULL;
}

bool unit_fleet_member(const struct unit_fleet *self, const struct a_unit_name *unit, size_t index,
                       struct unit_member_info *ret)
{
    const struct unit *u = fleet_unit_find(self, unit->s);
    if (u == NULL)
        return false;
    unit_foreach_member (m, u) {
        if (index-- > 0)
            continue;
        *ret = (struct unit_member_info){.name = m->at.name,
                                         .head = m->at.head,
                                         .attempt = m->at.attempt,
                                         .node = m->at.node,
                                         .host = m->at.host,
                                         .cluster = m->at.cluster,
                                         .zone = m->at.zone,
                                         .state = (enum a_member_state)m->sm.state,
                                         .reason = m->reason,
                                         .message = m->message,
                                         .since_ms = m->since_ms,
                                         .leaving = m->leaving};
        return true;
    }
    return false;
}

bool unit_fleet_record(const struct unit_fleet *self, const struct a_unit_name *unit,
                       struct unit_record_member *members, struct unit_record *ret)
{
    const struct unit *u = fleet_unit_find(self, unit->s);
    if (u == NULL)
        return false;
    size_t n = 0;
    unit_foreach_member (m, u)
        if (!m->gone && !m->superfluous && n < UNIT_MEMBERS_MAX)
            members[n++] = m->at;
    *ret = (struct unit_record){
        .unit = u->name, .revision = u->revision, .cluster = u->cluster, .members = members, .n_members = n};
    return true;
}
