/* Units and members: making, moving, ending. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "unit/fleet_private.h"

struct unit_action *fleet_act(struct unit_fleet *self, enum unit_action_type type, const struct unit *unit)
{
    if (self->n_actions == self->cap_actions) {
        self->cap_actions = self->cap_actions == 0 ? 16 : self->cap_actions * 2;
        self->actions = a_realloc(self->actions, self->cap_actions * sizeof *self->actions);
    }
    struct unit_action *action = &self->actions[self->n_actions++];
    *action = (struct unit_action){.type = type, .message = ""};
    if (unit != NULL) {
        action->unit = unit->name;
        action->revision = unit->revision;
    }
    return action;
}

void fleet_say(const struct unit *unit, const struct fleet_member *member, enum a_reason reason,
               const char *fmt, ...)
{
    A_BUF_AUTO struct a_buf b = {0};
    va_list args;
    va_start(args, fmt);
    a_buf_vaddf(&b, fmt, args);
    va_end(args);
    struct unit_action *action = fleet_act(unit->fleet, UNIT_ACTION_EVENT, unit);
    if (member != NULL)
        action->member = member->at.name;
    action->reason = reason;
    action->message = a_arena_strndup(&unit->fleet->arena, b.ptr == NULL ? "" : b.ptr, b.len);
}

void fleet_at(struct unit_fleet *self, uint64_t at_ms)
{
    self->deadline_ms = A_MIN(self->deadline_ms, at_ms);
}

const struct unit_revision_info *fleet_revision(const struct unit_fleet *self, uint64_t number)
{
    for (size_t i = 0; i < self->desired.n_revisions; i++)
        if (self->desired.revisions[i].number == number)
            return &self->desired.revisions[i];
    return NULL;
}

struct unit *fleet_unit_find(const struct unit_fleet *self, const char *name)
{
    fleet_foreach_unit (u, self)
        if (strcmp(u->name.s, name) == 0)
            return u;
    return NULL;
}

struct unit *fleet_unit_new(struct unit_fleet *self, const struct a_unit_name *name, uint64_t revision,
                            enum a_unit_state state)
{
    struct unit *unit = a_new(struct unit);
    unit->fleet = self;
    if (name != NULL)
        unit->name = *name;
    else
        do
            a_unit_name_make(&self->random, &self->desired.app.name, &unit->name);
        while (fleet_unit_find(self, unit->name.s) != NULL);
    a_sm_init(&unit->sm, &a_unit_states, (int)state);
    unit->since_ms = self->now_ms;
    unit->revision = revision;
    unit->drain_until_ms = A_NEVER;
    unit->message = a_strdup("");
    a_list_init(&unit->members);
    a_list_push_back(&self->units, &unit->link);
    self->dirty = true;
    return unit;
}

void unit_member_free(struct fleet_member *m)
{
    a_list_remove(&m->link);
    a_free(m->message);
    a_free(m);
}

void fleet_unit_free(struct unit *unit)
{
    unit_foreach_member (m, unit)
        unit_member_free(m);
    a_list_remove(&unit->link);
    a_free(unit->message);
    a_free(unit);
}

struct fleet_member *unit_member_add(struct unit *unit, const struct unit_record_member *at,
                                     enum a_member_state state)
{
    struct fleet_member *m = a_new(struct fleet_member);
    m->at = *at;
    a_sm_init(&m->sm, &a_member_states, (int)state);
    m->since_ms = unit->fleet->now_ms;
    m->node_state = A_NODE_UP;
    m->message = a_strdup("");
    m->store_id = unit->fleet->desired.store_id;
    m->epoch = unit->fleet->desired.epoch;
    unit->attempt = A_MAX(unit->attempt, at->attempt);
    a_list_push_back(&unit->members, &m->link);
    return m;
}

struct fleet_member *unit_member_find(const struct unit *unit, const char *name, uint32_t attempt)
{
    unit_foreach_member (m, unit)
        if (m->at.attempt == attempt && strcmp(m->at.name.s, name) == 0)
            return m;
    return NULL;
}

struct fleet_member *unit_head(const struct unit *unit)
{
    struct fleet_member *head = NULL;
    unit_foreach_member (m, unit)
        if (m->at.head && !m->gone && !m->superfluous && (head == NULL || m->at.attempt > head->at.attempt))
            head = m;
    return head;
}

bool unit_in(const struct unit *unit, uint64_t states)
{
    return (A_SM_BIT(unit->sm.state) & states) != 0;
}

void unit_note(struct unit *unit, enum a_reason reason, const char *message)
{
    char *copy = a_strdup(message);
    a_free(unit->message);
    unit->message = copy;
    unit->reason = reason;
}

void unit_forget_gang(struct unit *unit)
{
    unit_foreach_member (m, unit)
        if (unit->gang != 0 && m->gang == unit->gang)
            unit_member_free(m);
    unit->gang = 0;
    unit->granted = false;
}

/* The next state on the way up to `to`, or -1. */
static int step_towards(const struct a_sm *sm, int to)
{
    if (a_sm_may(sm, to))
        return to;
    for (int next = sm->state + 1; next < to; next++)
        if (a_sm_may(sm, next))
            return next;
    return -1;
}

void unit_move(struct unit *unit, enum a_unit_state to, enum a_reason reason, const char *message)
{
    const char *from = a_sm_name(&unit->sm);
    unit_note(unit, reason, message);
    if (unit->sm.state == (int)to)
        return;
    while (unit->sm.state != (int)to) {
        int next = step_towards(&unit->sm, (int)to);
        a_sm_move(&unit->sm, next >= 0 ? next : (int)to, unit->name.s); /* no way: aborts */
    }
    unit->since_ms = unit->fleet->now_ms;
    unit->fleet->dirty = true;
    fleet_say(unit, NULL, reason, "%s -> %s%s%s", from, a_unit_state_name(to),
              unit->message[0] != '\0' ? ": " : "", unit->message);
}

bool unit_member_move(struct unit *unit, struct fleet_member *m, enum a_member_state to, enum a_reason reason,
                      const char *message)
{
    const char *from = a_sm_name(&m->sm);
    char *copy = a_strdup(message);
    a_free(m->message);
    m->message = copy;
    m->reason = reason;
    if (m->sm.state == (int)to)
        return true;
    struct a_sm sm = m->sm;
    while (sm.state != (int)to) {
        int next = step_towards(&sm, (int)to);
        if (next < 0)
            return false;
        sm.state = next;
    }
    a_sm_move(&m->sm, step_towards(&m->sm, (int)to), m->at.name.s);
    m->sm = sm;
    m->since_ms = unit->fleet->now_ms;
    unit->fleet->dirty = true;
    fleet_say(unit, m, reason, "%s -> %s on %s%s%s", from, a_member_state_name(to), m->at.node.s,
              message[0] != '\0' ? ": " : "", message);
    return true;
}

bool fleet_has_ended(const struct unit_fleet *self, const char *unit)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(self->ended); i++)
        if (strcmp(self->ended[i].s, unit) == 0)
            return true;
    return false;
}

void unit_end(struct unit *unit, enum a_reason reason)
{
    if (unit->gang != 0)
        unit_cancel_gang(unit);
    unit_endpoints_set(unit, UNIT_ENDPOINTS_NONE);
    unit_move(unit, A_UNIT_STOPPED, reason, unit->message);
    if (unit->recorded)
        fleet_act(unit->fleet, UNIT_ACTION_RECORD_DEL, unit);
    unit->fleet->dirty = true;
    unit->fleet->ended[unit->fleet->n_ended++ % A_ARRAY_SIZE(unit->fleet->ended)] = unit->name;
    fleet_unit_free(unit);
}

uint32_t budget_count(const struct fleet_budget *b, uint64_t now_ms)
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n; i++)
        n += now_ms - b->at_ms[i] < UNIT_BUDGET_WINDOW_MS;
    return n;
}

uint32_t budget_add(struct fleet_budget *b, uint64_t now_ms)
{
    uint32_t keep = 0;
    for (uint32_t i = 0; i < b->n; i++)
        if (now_ms - b->at_ms[i] < UNIT_BUDGET_WINDOW_MS)
            b->at_ms[keep++] = b->at_ms[i];
    if (keep == UNIT_BUDGET) {
        memmove(b->at_ms, b->at_ms + 1, (UNIT_BUDGET - 1) * sizeof b->at_ms[0]);
        keep--;
    }
    b->at_ms[keep++] = now_ms;
    b->n = keep;
    return keep;
}

uint64_t budget_pause_ms(uint32_t failures)
{
    if (failures >= UNIT_BUDGET)
        return UNIT_BACKOFF_MAX_MS;
    return failures == 0 ? 0 : A_MIN((uint64_t)UNIT_BACKOFF_MIN_MS << (failures - 1), UNIT_BACKOFF_MAX_MS);
}

/* Trying again gives the same answer: the app, not the machine, is the cause. */
static bool is_final(enum a_reason reason)
{
    switch (reason) {
    case A_REASON_UNSUPPORTED:
    case A_REASON_ENV_MISMATCH:
    case A_REASON_UNPACK_FAILED:
    case A_REASON_IMPORT_FAILED:
    case A_REASON_SERVE_REJECTED:
    case A_REASON_MODEL_LOAD_FAILED:
        return true;
    default:
        return false;
    }
}

void fleet_bequeath(const struct unit *unit)
{
    struct unit_fleet *self = unit->fleet;
    if (self->n_heirs < A_ARRAY_SIZE(self->heirs))
        self->heirs[self->n_heirs++] = unit->budget;
}

void unit_fail(struct unit *unit, enum a_reason reason, const char *message)
{
    struct unit_fleet *self = unit->fleet;
    char *text = a_arena_strdup(&self->arena, message);
    uint32_t failures = budget_add(&unit->budget, self->now_ms);
    size_t n = A_MIN(strlen(text), sizeof self->last_failure - 1);
    memcpy(self->last_failure, text, n);
    self->last_failure[n] = '\0';
    /* it may serve, from before a restart, or some gateway has not heard yet that it is DEAD: out in order,
     * and another one */
    if (unit->endpoints != UNIT_ENDPOINTS_NONE) {
        fleet_bequeath(unit);
        unit_drain(unit, reason, text);
        return;
    }
    unit->final = is_final(reason) || failures >= UNIT_BUDGET;
    unit->retry_ms = self->now_ms + (unit->final ? UNIT_BACKOFF_MAX_MS : budget_pause_ms(failures));
    unit->config_revision = 0;
    unit_endpoints_set(unit, UNIT_ENDPOINTS_NONE);
    unit_cancel_gang(unit);
    unit_move(unit, A_UNIT_FAILED, reason, text);
    unit_release_all(unit, reason);
}
