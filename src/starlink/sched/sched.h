/* The scheduler's claimer: turns "place this unit" into claims on nodes.
 *
 * A gang is a unit's members (or one replacement of a member): all of them or none. The policy chooses nodes
 * on the view, RESERVE goes to each, a refusal brings the node's own numbers and the choice is made again.
 * Only when all are reserved is the gang GRANTED; its owner records that, says COMMIT, and only then does
 * BIND go out. Whatever was reserved for a gang that fails is released. Frames may be lost, repeated and
 * late: a node answers each frame by what is, and each RESERVE carries an attempt that was never used before.
 *
 * It also carries releases: from RELEASE on, the frame is sent again until the node says that the claim is
 * gone; and fences: a BIND of what is bound already, sent again until the node has taken the epoch over.
 * docs/components/scheduler.md has the events, updates and invariants. */
#ifndef SL_SCHED_SCHED_H
#define SL_SCHED_SCHED_H

#include "base/arena.h"
#include "base/heap.h"
#include "base/list.h"
#include "starlink/sched/view.h"
#include "types/state.h"

#define SL_SCHED_MEMBERS_MAX 64
/* No answer to a RESERVE: the node is left out for a while and another is asked. */
#define SL_SCHED_REPLY_MS 2000
/* A node that refused or stayed silent is not asked again by the same gang for this long. */
#define SL_SCHED_SHUN_MS 5000
/* From the first RESERVE to the last BIND; less than SL_SCHED_RESERVATION_MS. */
#define SL_SCHED_GANG_MS 20000
/* How long a node keeps a reservation, on its own clock. */
#define SL_SCHED_RESERVATION_MS 30000
#define SL_SCHED_RESEND_MS 2000
/* A release that the node accepted is asked about again after this: stopping takes up to half a minute. */
#define SL_SCHED_RELEASING_MS 30000

struct sl_gang_member {
    struct a_capacity capacity;
    struct a_name name; /* head, or group and index: gpu-0 */
    bool head;
    uint32_t attempt; /* first attempt to use: above all that were used before for this unit and name */
};

/* How many units of the app are where: what spreading looks at. */
struct sl_gang_used {
    struct a_name cluster, zone;
    char host[128];
    uint32_t units;
};

/* What may fail as a whole, and takes the units in it along. */
enum sl_domain { SL_DOMAIN_NONE, SL_DOMAIN_CLUSTER, SL_DOMAIN_ZONE, SL_DOMAIN_HOST };
#define SL_DOMAINS 3
/* clang-format off */
#define SL_SPREAD_DEFAULT {SL_DOMAIN_CLUSTER, SL_DOMAIN_ZONE, SL_DOMAIN_HOST}
/* clang-format on */

struct sl_gang_request {
    uint64_t gang; /* the caller's number, not 0, not in use */
    struct a_app_ref app;
    struct a_uuid app_uid, store_id;
    uint64_t epoch;
    struct a_unit_name unit;
    uint64_t revision;
    struct a_name cluster; /* where it must be; empty = the policy chooses */
    const struct sl_gang_member *members;
    size_t n_members;
    const struct sl_gang_used *used;
    size_t n_used;
    const struct a_name *archs; /* processors that it can run on; 0 of them = any */
    size_t n_archs;
    enum sl_domain spread[SL_DOMAINS]; /* the one that counts most first; NONE ends it */
};

/* Everything that RESERVE, BIND and RELEASE need; times in ms. */
struct sl_claim_order {
    struct a_claim_id id;
    struct a_app_ref app;
    struct a_uuid store_id;
    uint64_t epoch;
    uint64_t revision;
    bool head;
    struct a_capacity capacity;
    uint64_t life_ms;     /* RESERVE */
    enum a_reason reason; /* RELEASE */
    uint64_t grace_ms;    /* RELEASE */
};

enum sl_reply {
    SL_REPLY_GRANTED,   /* RESERVED now, or already */
    SL_REPLY_BOUND,     /* BOUND now, or already */
    SL_REPLY_REFUSED,   /* and nothing was changed there */
    SL_REPLY_RELEASING, /* the release is accepted; GONE follows */
    SL_REPLY_GONE,      /* no such claim (any more) */
};

enum sl_sched_event_type {
    SL_SCHED_PLACE,   /* request */
    SL_SCHED_CANCEL,  /* gang: release what it reserved; no further word of it */
    SL_SCHED_COMMIT,  /* gang was GRANTED and recorded: bind it */
    SL_SCHED_RELEASE, /* order on node: until the node says that it is gone */
    SL_SCHED_FENCE,   /* order on node: BIND what is bound there, until the node has its epoch */
    SL_SCHED_REPLY,   /* from a node */
    SL_SCHED_GONE,    /* node no longer has claim (its status or snapshot says so) */
    SL_SCHED_VIEW,    /* the view changed: waiting gangs try again, frames go to nodes that came back */
    SL_SCHED_TIME,
};

struct sl_sched_event {
    enum sl_sched_event_type type;
    uint64_t now_ms;
    uint64_t gang;
    struct a_node_id node; /* RELEASE, FENCE, REPLY, GONE; VIEW: the node that changed, or empty for any */
    union {
        const struct sl_gang_request *request;
        const struct sl_claim_order *order; /* RELEASE, FENCE */
        struct {
            struct a_claim_id id;
            enum sl_reply what;
            enum a_reason reason;          /* REFUSED */
            const struct a_capacity *free; /* what the node has left; NULL = not told */
            struct a_view grant;           /* GRANTED, BOUND: devices, addresses, ports; opaque here */
        } reply;
        struct a_claim_id gone;
    };
};

enum sl_sched_update_type {
    SL_SCHED_SEND_RESERVE,
    SL_SCHED_SEND_BIND,
    SL_SCHED_SEND_RELEASE,
    SL_SCHED_SEND_FENCE, /* BIND, with nothing but the claim, its store and the epoch */
    SL_SCHED_GRANTED,    /* all members reserved */
    SL_SCHED_BOUND,      /* all members bound: the gang is over */
    SL_SCHED_FAILED,     /* what was held is being released: the gang is over */
};

/* Why a gang found no place. */
struct sl_explain {
    uint32_t nodes;                 /* looked at */
    uint32_t unfit[SL_UNFIT_COUNT]; /* how many of them and why, for the member that found none */
    struct a_name member;           /* that member */
    struct a_capacity want;
    enum a_reason refused;    /* why a node refused a claim last; NONE = none did */
    struct a_node_id nearest; /* the node that lacks least; empty = none */
    struct a_capacity nearest_room;
    enum sl_unfit nearest_unfit;
    struct a_name limited; /* the cluster that would have room but for a limit of its; empty = none */
    enum sl_limit limit;
    uint64_t limit_max, limit_used; /* nodes, thousandths of a core, bytes */
};

/* One node, seen as a place for the member that found none. */
struct sl_explain_node {
    struct a_node_id node;
    struct a_name cluster;
    enum sl_unfit unfit;
    struct a_capacity room, lack; /* what is left there; by how much that is too little, 0 = enough */
};

struct sl_placed {
    struct a_name name;
    bool head;
    uint32_t attempt;
    struct a_node_id node;
    struct a_name cluster, zone;
    char host[128];
    struct a_capacity capacity;
    struct a_view grant;
};

struct sl_sched_update_item {
    enum sl_sched_update_type type;
    uint64_t gang;                  /* 0: a release or a fence */
    struct a_node_id node;          /* SEND_* */
    struct sl_claim_order order;    /* SEND_* */
    const struct sl_placed *placed; /* GRANTED, BOUND */
    size_t n_placed;
    enum a_reason reason;      /* FAILED: NoCapacity, or why binding failed */
    uint32_t attempt_max;      /* FAILED: highest attempt that was used */
    struct sl_explain explain; /* FAILED with NoCapacity */
};

/* The core's until the next step. */
struct sl_sched_update {
    const struct sl_sched_update_item *items;
    size_t n_items;
};

struct sl_policy;

struct sl_sched {
    struct sl_view view; /* fed by the daemon through sl_view_set/remove, then a VIEW event */
    const struct sl_policy *policy;
    struct a_list gangs;               /* oldest first */
    struct a_map releases;             /* and fences; by node and claim */
    struct a_heap timers, gang_timers; /* releases and fences, gangs */
    uint64_t now_ms;
    struct a_arena arena; /* of the last update */
    struct sl_sched_update_item *items;
    size_t n_items, cap_items;
};

/* `policy` by name ("spread"); NULL = the first. Asserts that it exists: check with sl_policy_find before. */
void sl_sched_init(struct sl_sched *self, const char *policy);
void sl_sched_deinit(struct sl_sched *self);
/* Always 0: events about unknown gangs and claims change nothing. */
int sl_sched_step(struct sl_sched *self, const struct sl_sched_event *event,
                  struct sl_sched_update *ret_update);
uint64_t sl_sched_deadline(const struct sl_sched *self);
/* Gangs that wait, reserve or bind; for metrics and tests. */
size_t sl_sched_gangs(const struct sl_sched *self);
/* Releases and fences that are under way. */
size_t sl_sched_releases(const struct sl_sched *self);
/* Would the request be placed on the view as it is now? Nothing is asked of a node. True: it would. False:
 * ret_explain says why not, ret_nodes has the nodes that come nearest, nearest first, at most `max`: those
 * that only lack room by how much of the member they lack, then those where something else must change. */
bool sl_sched_explain(const struct sl_sched *self, const struct sl_gang_request *request,
                      struct sl_explain *ret_explain, struct sl_explain_node *ret_nodes, size_t max,
                      size_t *ret_n);
/* "max-cpu of east is 16, 14 in use", when `limited` has a name. */
void sl_explain_print_limit(struct a_buf *b, const struct sl_explain *e);
/* "no node has room for gpu-0 (cpu 4, memory 8Gi, ...): 3 have too little free memory, 1 is draining; nearest
 * is ... with ..." */
void sl_explain_print(struct a_buf *b, const struct sl_explain *e);

#endif
