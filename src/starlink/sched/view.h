/* What placement sees: one row per node, fed from the resource table's deltas. Slightly stale on purpose: the
 * node itself is the lock, a wrong row costs one refused claim. */
#ifndef SL_SCHED_VIEW_H
#define SL_SCHED_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/map.h"
#include "types/capacity.h"
#include "types/id.h"

/* Why nothing is placed on a node, in the order in which explain tells. */
#define SL_UNFIT(X)                                                                                          \
    X(NONE, "fits")                                                                                          \
    X(AWAY, "not connected, joining or suspect")                                                             \
    X(DRAINING, "draining")                                                                                  \
    X(CORDONED, "cordoned")                                                                                  \
    X(CLUSTER, "in another cluster than the unit")                                                           \
    X(ARCH, "have a processor for which the app has no environment")                                         \
    X(REFUSED, "refused the claim a moment ago")                                                             \
    X(NAMESPACE, "another namespace has it")                                                                 \
    X(CPU, "too little free cpu")                                                                            \
    X(MEMORY, "too little free memory")                                                                      \
    X(DISK, "too little free disk")                                                                          \
    X(GANG, "fits one member, but its cluster not all of them")                                              \
    X(LIMIT, "in a cluster that is at its limit")                                                            \
    X(BUSY, "another claim is under way")

#define X(name, text) SL_UNFIT_##name,
enum sl_unfit { SL_UNFIT(X) SL_UNFIT_COUNT };
#undef X
const char *sl_unfit_text(enum sl_unfit u);
const char *sl_unfit_name(enum sl_unfit u); /* "CPU" */

struct sl_view_node {
    struct a_map_link link; /* by id */
    struct a_node_id id;
    struct a_name cluster, zone, arch;
    char host[128];
    struct a_capacity capacity;
    struct a_capacity free;    /* as the node last said */
    struct a_capacity pending; /* of a claim under way */
    bool connected;            /* a frame can be sent */
    bool lost;                 /* dead: what ran there is replaced, and counts against no limit any more */
    double price;              /* of the whole node and hour, in the operator's own unit; 0 = none is known */
    enum sl_unfit unfit;       /* NONE, AWAY, DRAINING or CORDONED */
    struct a_name tenant;      /* the namespace that has an exclusive node to itself; empty = anybody */
    uint64_t in_flight;        /* gang whose claim is under way; 0 = none */
};

/* What claims may have of a cluster, all apps together; 0 = no limit. */
struct sl_limits {
    uint64_t nodes; /* with a claim on them */
    uint64_t mcpu, memory_bytes;
};

/* X(NAME, "setting") in the order in which they are looked at. */
#define SL_LIMITS(X)                                                                                         \
    X(NONE, "none")                                                                                          \
    X(NODES, "max-nodes")                                                                                    \
    X(CPU, "max-cpu")                                                                                        \
    X(MEMORY, "max-memory")

#define X(name, text) SL_LIMIT_##name,
enum sl_limit { SL_LIMITS(X) };
#undef X
const char *sl_limit_name(enum sl_limit limit); /* "max-cpu" */

struct sl_view_cluster {
    struct a_map_link link; /* by name */
    struct a_name name;
    struct sl_limits limits;
};

/* What a cluster's limits leave. */
struct sl_budget {
    struct sl_limits limits, used;
};

/* Zero-initialised = empty. */
struct sl_view {
    struct a_map nodes;
    struct a_map clusters; /* those with limits */
};

void sl_view_deinit(struct sl_view *self); /* safe twice */
/* All 0 takes the limits away. */
void sl_view_limits_set(struct sl_view *self, const struct a_name *cluster, const struct sl_limits *limits);
/* False: the cluster has no limits. What runs on a node that is away counts until the node is lost. */
bool sl_view_budget(const struct sl_view *self, const struct a_name *cluster, struct sl_budget *ret);
/* The limit that a claim of `want` would pass on a node of that cluster with `room` left; NONE = none. */
enum sl_limit sl_budget_short(const struct sl_budget *b, const struct sl_view_node *node,
                              const struct a_capacity *room, const struct a_capacity *want);
/* The claim is placed there. */
void sl_budget_take(struct sl_budget *b, const struct sl_view_node *node, const struct a_capacity *room,
                    const struct a_capacity *want);
/* Adds or updates a row; link, pending and in_flight of `node` are ignored. */
void sl_view_set(struct sl_view *self, const struct sl_view_node *node);
void sl_view_remove(struct sl_view *self, const struct a_node_id *id);
struct sl_view_node *sl_view_get(const struct sl_view *self, const struct a_node_id *id);
/* Another namespace has the node to itself. */
bool sl_view_is_foreign(const struct sl_view_node *node, const struct a_name *namespace);
/* free - pending */
struct a_capacity sl_view_room(const struct sl_view_node *node);

#endif
