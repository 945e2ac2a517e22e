/* The fleet: one object per app that keeps its units as the user wants them.
 *
 * It is level-triggered. Events only change what is known (what is wanted, what each claim reports, which
 * nodes are away, what gateways acknowledged); after each one the whole is looked at again and what is
 * missing or too much is asked for. So a lost event costs time, never correctness, and a restarted server
 * arrives at the same decisions from records and claims alone.
 *
 * Nothing running is ever stopped because something is unknown or away: before ADOPTED nothing is placed and
 * nothing released; a unit whose node is away is LOST, never released behind its back, and adopted or drained
 * when it comes back. docs/components/unit.md has events, actions, states and numbered invariants. */
#ifndef UNIT_FLEET_H
#define UNIT_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/heap.h"
#include "types/capacity.h"
#include "types/digest.h"
#include "types/id.h"
#include "types/state.h"

#define UNIT_MEMBERS_MAX 64
/* Restart budget of a unit: so many failures in the window, with a growing pause between them. */
#define UNIT_BUDGET 5
#define UNIT_BUDGET_WINDOW_MS (UINT64_C(10) * 60 * 1000)
#define UNIT_BACKOFF_MIN_MS 2000
#define UNIT_BACKOFF_MAX_MS (UINT64_C(5) * 60 * 1000)
/* No room: look again after this; a changed view asks sooner (UNIT_FLEET_CAPACITY). */
#define UNIT_NO_CAPACITY_RETRY_MS 10000
#define UNIT_CAPACITY_APART_MS 1000
/* Serve heals itself within seconds when it can; after this an UNHEALTHY unit is replaced. */
#define UNIT_UNHEALTHY_MS 60000
/* A unit that lacks a worker waits for the new one, however long that takes to start, until its budget has so
 * many failures: Ray gives a worker 30 s to register, which a busy machine misses now and then. */
#define UNIT_WORKER_FAILURES 3
/* Records of units whose nodes have not come back when the adopt phase ends wait this long before they count
 * as lost (as long as a closed connection). */
#define UNIT_ABSENT_MS 10000
/* Nodes that died under units of this app which were not READY yet: at so many it is the app's doing. */
#define UNIT_POISON_NODES 3
#define UNIT_POISON_WINDOW_MS (UINT64_C(60) * 60 * 1000)
/* Nodes that die closer together than this share a cause (a rack, a cluster): they count once. */
#define UNIT_POISON_APART_MS 5000
/* Between SIGTERM and SIGKILL of a member. */
#define UNIT_RELEASE_GRACE_MS 10000

/* A CONFIG without any effect is sent again: its connection may have closed. */
#define UNIT_CONFIG_RESEND_MS 30000

struct unit_member_spec {
    struct a_name name; /* head, or group and index: gpu-0 */
    bool head;
    struct a_capacity capacity;
};

/* What the fleet must know of a revision. Equal `replace` keys: no new unit is needed; equal `serve` keys: no
 * PUT either. */
struct unit_revision_info {
    uint64_t number;
    struct a_digest digest; /* of the revision's text: what claims carry and heads report as deployed */
    struct a_digest replace, serve;
    const struct unit_member_spec *members; /* exactly one head */
    size_t n_members;
};

/* What is wanted. Copied by the core. */
struct unit_desired {
    struct a_app_ref app;
    struct a_uuid uid;
    struct a_uuid store_id;
    uint64_t epoch;
    uint64_t generation;
    uint32_t units;
    bool deleted; /* drain and release everything */
    const struct unit_revision_info *revisions;
    size_t n_revisions;
    uint64_t revision; /* the current one; one of `revisions` */
    uint64_t proven;   /* the last one that was completely rolled out (UNIT_ACTION_PROVEN); 0 = none */
    struct {
        uint32_t max_surge, max_unavailable; /* both 0: taken as a surge of 1 */
        uint64_t bake_ms, progress_deadline_ms;
        bool undo; /* a bad revision goes back by itself */
    } rollout;
    uint64_t drain_ms; /* the longest that gateways let anything finish at a unit that leaves */
};

/* A unit's record in the store: written when its claims are granted, removed with it. */
struct unit_record_member {
    struct a_name name;
    bool head;
    uint32_t attempt;
    struct a_node_id node;
    struct a_name cluster, zone;
    char host[128];
    struct a_capacity capacity;
};

struct unit_record {
    struct a_unit_name unit;
    uint64_t revision;
    struct a_name cluster;
    const struct unit_record_member *members;
    size_t n_members;
};

/* Serve, as the head's agent sees it. */
enum unit_serve {
    UNIT_SERVE_NONE,      /* not there yet */
    UNIT_SERVE_DEPLOYING, /* a config is being taken in */
    UNIT_SERVE_RUNNING,   /* every Serve application RUNNING, each route has a live replica */
    UNIT_SERVE_LIMPING,   /* an application is UNHEALTHY, yet each route has a live replica */
    UNIT_SERVE_UNHEALTHY, /* up, but not that */
    UNIT_SERVE_FAILED,    /* refused, or DEPLOY_FAILED: reason and message say why */
};

/* One endpoint that a unit offers; `member` on whose node it lives, where known. */
struct unit_report_endpoint {
    struct a_view id; /* stable while it lives */
    struct a_name member;
};

/* What a node reports of one claim (CLAIM_STATUS). Views are copied. */
struct unit_report {
    struct a_claim_id claim;
    struct a_node_id node;
    struct a_name cluster, zone;
    char host[128];
    struct a_uuid store_id;
    uint64_t epoch;
    uint64_t revision;
    struct a_capacity capacity;
    struct a_view message;
    enum a_claim_state claim_state;
    enum a_member_state member_state;
    enum a_reason reason;
    bool head;
    /* heads only */
    bool warmed;
    bool silent, overdue; /* it does not answer its agent; for its `timeout` */
    enum unit_serve serve;
    uint32_t endpoints;       /* how many answer */
    struct a_digest deployed; /* revision whose config Serve runs; zero = none */
};

enum unit_fleet_event_type {
    UNIT_FLEET_DESIRED,    /* deploy, scale, undo, delete, a new epoch */
    UNIT_FLEET_RECORD,     /* a record of the store; only before ADOPTED */
    UNIT_FLEET_REPORT,     /* a claim's status */
    UNIT_FLEET_GONE,       /* the node says that the claim does not exist (any more) */
    UNIT_FLEET_NODE,       /* a node's state */
    UNIT_FLEET_ADOPTED,    /* all snapshots are in, or three beats passed */
    UNIT_FLEET_GRANTED,    /* answer to PLACE: all reserved */
    UNIT_FLEET_RECORDED,   /* answer to RECORD_PUT: it is durable */
    UNIT_FLEET_BOUND,      /* after BIND: all bound */
    UNIT_FLEET_UNPLACED,   /* after PLACE or BIND: failed, nothing is held */
    UNIT_FLEET_CAPACITY,   /* there may be room again: NoCapacity is tried at once */
    UNIT_FLEET_CONFIGURED, /* answer to CONFIG: refused (ok = false), with reason and message */
    UNIT_FLEET_WITHDRAWN,  /* every gateway has applied routes up to `sequence` */
    UNIT_FLEET_IDLE,       /* no gateway has a request in flight at `unit` (told after WITHDRAWN) */
    UNIT_FLEET_RETRY,      /* an operator: forget back-off and poison, try now */
    UNIT_FLEET_TIME,
};

struct unit_fleet_event {
    enum unit_fleet_event_type type;
    uint64_t now_ms; /* monotonic */
    union {
        const struct unit_desired *desired;
        const struct unit_record *record;
        const struct unit_report *report;
        struct {
            struct a_claim_id claim;
            struct a_node_id node;
        } gone;
        struct {
            struct a_node_id id;
            enum a_node_state state;
            uint64_t leaves_ms; /* it drains, and ends then, empty or not; 0 = once it is empty */
        } node;
        struct {
            uint64_t gang;                            /* as in PLACE */
            const struct unit_record_member *members; /* GRANTED, BOUND */
            size_t n_members;
            uint32_t attempt_max; /* UNPLACED */
            enum a_reason reason; /* UNPLACED */
            struct a_view message;
        } place;
        struct {
            struct a_unit_name unit;
            bool ok;
            enum a_reason reason;
            struct a_view message;
        } unit;            /* RECORDED, CONFIGURED, IDLE */
        uint64_t sequence; /* WITHDRAWN */
    };
};

enum unit_action_type {
    UNIT_ACTION_PLACE,      /* gang, unit, revision, cluster (empty = free), members with first attempts */
    UNIT_ACTION_CANCEL,     /* gang: no longer wanted; no answer */
    UNIT_ACTION_RECORD_PUT, /* unit as unit_fleet_record() gives it; answer RECORDED when durable */
    UNIT_ACTION_RECORD_DEL, /* unit */
    UNIT_ACTION_BIND,       /* gang: COMMIT it; each BIND goes with unit, revision, token */
    UNIT_ACTION_RELEASE,    /* claim on node, with store_id, epoch, reason, grace_ms, until it is gone */
    UNIT_ACTION_FENCE, /* claim on node, with store_id, epoch: the node refuses earlier epochs from then on */
    UNIT_ACTION_CONFIG,    /* PUT revision into unit through claim (its head) on node */
    UNIT_ACTION_ENDPOINTS, /* unit's endpoints are now in `endpoints`; on DRAINING and DEAD answer WITHDRAWN
                              with >=  sequence */
    UNIT_ACTION_EVENT,     /* for `astra events`: unit, member, reason, message */
    UNIT_ACTION_STATUS,    /* unit_fleet_status() changed */
    UNIT_ACTION_PROVEN,    /* revision is completely rolled out: store it as the app's proven one */
    UNIT_ACTION_UNDO,      /* revision failed; the fleet goes back to `to`: store it as the current one */
    UNIT_ACTION_DELETED, /* after desired.deleted: nothing is left; drop records, tombstone and this object */
};

enum unit_endpoints {
    UNIT_ENDPOINTS_NONE,     /* never offered, or forgotten */
    UNIT_ENDPOINTS_UP,       /* all that the head reports */
    UNIT_ENDPOINTS_DRAINING, /* nothing new; what is in flight finishes */
    UNIT_ENDPOINTS_DEAD,     /* what is in flight is re-sent at once */
    UNIT_ENDPOINTS_STALE,    /* never told by this fleet: gateways may have it from before a restart */
};

struct unit_action {
    enum unit_action_type type;
    enum a_reason reason;
    struct a_unit_name unit;
    struct a_name member; /* EVENT: may be empty */
    uint64_t gang;
    uint64_t revision;
    uint64_t to;         /* UNDO */
    const char *message; /* EVENT, UNDO; never NULL */
    /* PLACE */
    const struct unit_member_spec *members;
    const uint32_t *attempts; /* the first attempt to use, one per member */
    size_t n_members;
    struct a_name cluster;
    /* ENDPOINTS */
    enum unit_endpoints endpoints;
    uint64_t sequence;
    /* RELEASE, FENCE, CONFIG */
    uint64_t epoch;
    uint64_t grace_ms;
    struct a_claim_id claim;
    struct a_node_id node;
    struct a_uuid store_id;
};

/* In the order in which they must be carried out; the core's until the next step. */
struct unit_fleet_update {
    const struct unit_action *actions;
    size_t n_actions;
};

/* What people see of a unit. Pointers are the core's until the next step. */
struct unit_member_info {
    struct a_name name;
    bool head;
    uint32_t attempt;
    struct a_node_id node;
    const char *host;
    struct a_name cluster, zone;
    enum a_member_state state;
    enum a_reason reason;
    const char *message;
    uint64_t since_ms;
    bool leaving; /* released, or about to be replaced */
};

struct unit_info {
    struct a_unit_name name;
    enum a_unit_state state;
    enum a_reason reason;
    const char *message;
    uint64_t since_ms, retry_ms; /* retry_ms: FAILED or no room: when it is tried again; A_NEVER = not */
    uint64_t ready_ms;           /* when it first was READY; 0 = not yet */
    uint64_t revision;
    struct a_name cluster;
    uint32_t failures; /* inside the budget's window */
    bool final;        /* FAILED: the budget is spent, or trying again is pointless */
    bool leaving;      /* ends, or is to be replaced: what is placed need not keep away from it */
    enum unit_endpoints endpoints;
    struct a_claim_id head; /* its head's claim: endpoints are in that claim's report */
    struct a_node_id head_node;
    size_t n_members;
};

enum unit_condition_type {
    UNIT_PLACED,
    UNIT_AVAILABLE,
    UNIT_PROGRESSING,
    UNIT_DEGRADED,
    UNIT_CONDITION_COUNT
};
const char *unit_condition_name(enum unit_condition_type c); /* "Available" */

struct unit_condition {
    bool status;
    enum a_reason reason;
    char message[256];
    uint64_t since_ms;
};

struct unit_fleet_status {
    uint64_t generation; /* observed */
    uint64_t revision; /* that units are brought to; differs from the desired one while it is being undone */
    uint64_t failed_revision; /* the last one given up; 0 = none */
    uint32_t wanted, ready, updated, failed, lost, draining, total;
    struct unit_condition conditions[UNIT_CONDITION_COUNT];
    char last_failure[1024]; /* with Ray's own words */
    bool rolling;            /* units of another revision are still there */
    bool poisoned;
};

struct unit_fleet;

/* Nothing happens before the first DESIRED. `seed`: units' names. */
struct unit_fleet *unit_fleet_new(uint64_t seed);
void unit_fleet_free(struct unit_fleet *self); /* takes NULL */
/* Always 0: events about what is not ours (any more) change nothing. */
int unit_fleet_step(struct unit_fleet *self, const struct unit_fleet_event *event,
                    struct unit_fleet_update *ret_update);
uint64_t unit_fleet_deadline(const struct unit_fleet *self);

/* Some unit waits for room: CAPACITY is worth telling. */
bool unit_fleet_waits(const struct unit_fleet *self);
void unit_fleet_status(const struct unit_fleet *self, struct unit_fleet_status *ret);
/* Units in order of creation: those from `index` on; false at the end. */
bool unit_fleet_unit(const struct unit_fleet *self, size_t index, struct unit_info *ret);
bool unit_fleet_find(const struct unit_fleet *self, const struct a_unit_name *unit, struct unit_info *ret);
bool unit_fleet_member(const struct unit_fleet *self, const struct a_unit_name *unit, size_t index,
                       struct unit_member_info *ret);
/* The unit's record as it must be stored now; `members` has room for UNIT_MEMBERS_MAX. False: no such unit.
 */
bool unit_fleet_record(const struct unit_fleet *self, const struct a_unit_name *unit,
                       struct unit_record_member *members, struct unit_record *ret);

#endif
