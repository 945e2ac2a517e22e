/* Limits and price of clusters: cluster_limits.c; of the pools in them: kube_limits.c. */
#ifndef A_DAEMON_SERVER_CLUSTER_LIMITS_H
#define A_DAEMON_SERVER_CLUSTER_LIMITS_H

#include "daemon/server/server.h"
#include "wire/schema.h"

struct d_cluster_limits {
    struct a_map_link link; /* of server.cluster_limits, by name */
    struct a_name name;
    struct a_arena arena;
    const struct wire_value *tree; /* as d_cluster_limits_schema completes it */
    struct sl_limits limits;
    uint64_t max_devices; /* 0 = no limit */
    double price;
};

extern const struct wire_schema d_cluster_limits_schema;

/* NULL: the cluster has neither limits nor a price. */
struct d_cluster_limits *d_cluster_limits_find(const struct server *s, const struct a_name *cluster);
typedef void d_limits_done(void *ctx, const struct a_error *error);
/* Stores what the schema completed, and goes by it from then on; NULL, or nothing but nulls: there are none
 * any more. `done` may be NULL. */
void d_cluster_limits_put(struct server *s, const struct a_name *cluster, const struct wire_value *tree,
                          d_limits_done *done, void *ctx);

#endif
