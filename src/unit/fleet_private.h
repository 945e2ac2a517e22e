/* What the files of the fleet share:
 *
 *   fleet.c          events: what becomes known
 *   fleet_unit.c     units and members: making, moving, ending
 *   fleet_observe.c  a unit's state, worked out from what its members report
 *   fleet_members.c  members of a running unit that must be replaced
 *   fleet_plan.c     how many units there should be: create, roll out, undo, scale, delete
 *   fleet_drain.c    out of routing, acknowledged, idle, released
 *   fleet_status.c   what people and stores see */
#ifndef UNIT_FLEET_PRIVATE_H
#define UNIT_FLEET_PRIVATE_H

#include "base/arena.h"
#include "base/list.h"
#include "base/random.h"
#include "unit/fleet.h"

struct fleet_member {
    struct a_list link; /* unit.members */
    struct unit_record_member at;
    struct a_sm sm; /* a_member_states */
    enum a_reason reason;
    char *message;
    uint64_t since_ms;
    enum a_node_state node_state;
    bool node_drains;   /* as the node said last: one that falls silent for a moment drains on */
    uint64_t leaves_ms; /* the node ends then; 0 = once it is empty */
    uint64_t
        go_ms; /* the member leaves by then, replaced or not, so that requests end before the node does */
    enum a_claim_state claim_state;
    struct a_uuid store_id; /* that the claim carries */
    uint64_t epoch;
    uint64_t fenced;  /* the epoch that its node was asked to take over since the last report */
    uint64_t gang;    /* its claim is under way as part of this gang; 0 = bound, or known from elsewhere */
    bool restored;    /* known from a record only, not reported yet */
    bool leaving;     /* a replacement is wanted or there */
    bool stray;       /* in no record */
    bool superfluous; /* a second claim of the same member: nothing uses it */
    bool releasing;   /* release asked for */
    bool gone;        /* the claim does not exist (any more) */
    /* heads */
    enum unit_serve serve;
    enum a_reason serve_reason;
    struct a_digest deployed;
    bool warmed, silent, overdue;
    uint32_t endpoints;
};

/* Failures inside the budget's window, oldest first. */
struct fleet_budget {
    uint64_t at_ms[UNIT_BUDGET];
    uint32_t n;
};

struct unit {
    struct a_list link; /* fleet.units */
    struct unit_fleet *fleet;
    struct a_list members;
    char *message;
    struct a_sm sm; /* a_unit_states */
    uint64_t since_ms;
    uint64_t revision;
    uint64_t gang;     /* claims under way; 0 = none */
    uint64_t retry_ms; /* PLANNED, FAILED, a replacement: not before */
    uint64_t first_ready_ms, ready_ms, unhealthy_ms;
    uint64_t sequence;        /* of its last ENDPOINTS */
    uint64_t drain_until_ms;  /* whatever gateways say; A_NEVER: it does not leave */
    uint64_t config_revision; /* CONFIG under way; 0 = none */
    uint64_t config_ms;       /* when it was last sent */
    struct fleet_budget budget;
    enum a_reason reason, condemn_reason;
    enum unit_endpoints endpoints;
    bool awaits_worker; /* a worker's replacement is on its way: being UNHEALTHY counts from its arrival */
    uint32_t attempt;   /* the highest that was used for any member */
    struct a_unit_name name;
    struct a_name cluster;
    bool granted;   /* the gang waits for its record or its binding */
    bool recorded;  /* the store has a record */
    bool restored;  /* known from a record: what serves is taken as it is */
    bool was_ready; /* at least once */
    bool final;     /* FAILED: trying again soon is pointless; UPDATING: the config is bad */
    bool condemned; /* must be replaced, though it may still serve */
    bool ending;    /* never adopted again: what is there is released */
    bool idle;      /* gateways have nothing in flight there */
    bool quiet;     /* idle, or waited long enough */
};

struct poison_node {
    struct a_node_id node;
    uint64_t at_ms;
};

struct unit_fleet {
    struct a_random random;
    struct unit_desired desired; /* owns its arrays */
    bool have_desired, adopted;
    uint64_t adopted_ms;
    uint64_t target;      /* revision that units are brought to */
    uint64_t undone;      /* revision that was given up; 0 = none */
    bool stopped;         /* the target is bad and nothing to go back to */
    uint64_t progress_ms; /* last step of the rollout */
    struct a_list units;
    struct fleet_budget heirs[8]; /* budgets of units lost by their heads, for those that replace them */
    size_t n_heirs;
    struct a_unit_name ended[64]; /* the last ones: a late claim of theirs is not adopted */
    size_t n_ended;
    struct poison_node poison[UNIT_POISON_NODES];
    size_t n_poison;
    bool poisoned;
    bool deleted_told;
    uint64_t sequence, withdrawn;
    uint64_t now_ms, deadline_ms;
    bool dirty; /* something moved: look again */
    struct unit_fleet_status status;
    char last_failure[sizeof((struct unit_fleet_status *)0)->last_failure];
    struct a_arena arena; /* of the last update */
    struct unit_action *actions;
    size_t n_actions, cap_actions;
};

#define fleet_foreach_unit(u, fleet)                                                                         \
    a_list_foreach_safe (u##_link, &(fleet)->units)                                                          \
        for (struct unit *u = a_list_entry(u##_link, struct unit, link), *u##_once = u; u##_once != NULL;    \
             u##_once = NULL)
#define unit_foreach_member(m, unit)                                                                         \
    a_list_foreach_safe (m##_link, &(unit)->members)                                                         \
        for (struct fleet_member *m = a_list_entry(m##_link, struct fleet_member, link), *m##_once = m;      \
             m##_once != NULL; m##_once = NULL)

/* fleet_unit.c */
struct unit_action *fleet_act(struct unit_fleet *self, enum unit_action_type type, const struct unit *unit);
void fleet_say(const struct unit *unit, const struct fleet_member *member, enum a_reason reason,
               const char *fmt, ...) A_PRINTF(4, 5);
/* Something happens at `at_ms`. */
void fleet_at(struct unit_fleet *self, uint64_t at_ms);
const struct unit_revision_info *fleet_revision(const struct unit_fleet *self, uint64_t number);
struct unit *fleet_unit_new(struct unit_fleet *self, const struct a_unit_name *name, uint64_t revision,
                            enum a_unit_state state);
struct unit *fleet_unit_find(const struct unit_fleet *self, const char *name);
void fleet_unit_free(struct unit *unit);
struct fleet_member *unit_member_add(struct unit *unit, const struct unit_record_member *at,
                                     enum a_member_state state);
void unit_member_free(struct fleet_member *member);
struct fleet_member *unit_member_find(const struct unit *unit, const char *name, uint32_t attempt);
/* The head that counts: the newest that is not gone; NULL = none. */
struct fleet_member *unit_head(const struct unit *unit);
bool unit_in(const struct unit *unit, uint64_t states); /* A_SM_BIT()s */
/* Walks through the states between, where the table has no direct way. */
void unit_move(struct unit *unit, enum a_unit_state to, enum a_reason reason, const char *message);
void unit_note(struct unit *unit, enum a_reason reason, const char *message);
/* False when the table has no way there: the report is older than what is known. */
bool unit_member_move(struct unit *unit, struct fleet_member *m, enum a_member_state to, enum a_reason reason,
                      const char *message);
bool fleet_has_ended(const struct unit_fleet *self, const char *unit);
/* Nothing is left: tells, forgets. */
void unit_end(struct unit *unit, enum a_reason reason);
/* Failures inside the window. */
uint32_t budget_count(const struct fleet_budget *b, uint64_t now_ms);
uint32_t budget_add(struct fleet_budget *b, uint64_t now_ms);
uint64_t budget_pause_ms(uint32_t failures);
/* Its successor starts with this unit's budget. */
void fleet_bequeath(const struct unit *unit);
/* A unit that was not READY yet cannot start: release, wait, try again, or give up for now. */
void unit_fail(struct unit *unit, enum a_reason reason, const char *message);

/* The members that a gang under way brought along are forgotten: whoever ends the gang releases them. */
void unit_forget_gang(struct unit *unit);

/* fleet_drain.c */
/* Gateways may send requests to it. */
bool unit_is_offered(const struct unit *unit);
void unit_endpoints_set(struct unit *unit, enum unit_endpoints to);
void unit_release_member(struct unit *unit, struct fleet_member *m, enum a_reason reason);
void unit_release_all(struct unit *unit, enum a_reason reason);
void unit_cancel_gang(struct unit *unit);
/* Takes the unit out in order: routing, acknowledgement, in-flight work, claims. */
void unit_drain(struct unit *unit, enum a_reason reason, const char *message);
/* Takes every unit that is leaving one step further. */
void fleet_drain(struct unit_fleet *self);

void fleet_observe(struct unit_fleet *self);
void fleet_members(struct unit_fleet *self);
void fleet_plan(struct unit_fleet *self);
void fleet_status(struct unit_fleet *self);

/* fleet_plan.c */
bool unit_matches(const struct unit *unit, uint64_t revision, bool serve_too);
bool unit_serving(const struct unit *unit); /* READY or UPDATING */
bool unit_live(const struct unit *unit);    /* counts against wanted + surge */
bool unit_current(const struct unit *unit); /* counts as wanted: of the target revision, not condemned */
bool fleet_short(const struct unit_fleet *self);
/* Fewer units serve than are wanted, of whatever revision. */
bool fleet_underserved(const struct unit_fleet *self);
void fleet_poison_node(struct unit_fleet *self, const struct a_node_id *node);

#endif
