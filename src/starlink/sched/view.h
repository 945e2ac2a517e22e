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
    enum sl_unfit unfit;       /* NONE, AWAY, DRAINING or CORDONED */
    struct a_name tenant;      /* the namespace that has an exclusive node to itself; empty = anybody */
    uint64_t in_flight;        /* gang whose claim is under way; 0 = none */
};

/* Zero-initialised = empty. */
struct sl_view {
    struct a_map nodes;
};

void sl_view_deinit(struct sl_view *self); /* safe twice */
/* Adds or updates a row; link, pending and in_flight of `node` are ignored. */
void sl_view_set(struct sl_view *self, const struct sl_view_node *node);
void sl_view_remove(struct sl_view *self, const struct a_node_id *id);
struct sl_view_node *sl_view_get(const struct sl_view *self, const struct a_node_id *id);
/* Another namespace has the node to itself. */
bool sl_view_is_foreign(const struct sl_view_node *node, const struct a_name *namespace);
/* free - pending */
struct a_capacity sl_view_room(const struct sl_view_node *node);

#endif
