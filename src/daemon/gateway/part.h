/* What a worker tells the main thread: differences since the part before, and the endpoints' present state.
 * It is made by one thread and handed over whole. */
#ifndef D_GATEWAY_PART_H
#define D_GATEWAY_PART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "daemon/gateway/stats.h"

/* Of one endpoint: counters since the part before, the rest as it is now. */
struct d_gw_part_endpoint {
    char *id; /* owned */
    struct a_unit_name unit;
    uint64_t in_flight, ok, failed, refused, resent, latency_us_sum;
    struct a_latency latency;
    char error[128]; /* "" = none */
};

struct d_gw_part {
    unsigned worker;
    uint64_t applied; /* batches of the view that this worker had applied */
    bool urgent;      /* the server should know at once */
    struct d_gw_part_endpoint *endpoints;
    size_t n_endpoints;
    struct d_gw_app *apps; /* by_key unused */
    size_t n_apps;
    struct d_gw_totals totals; /* since the process began */
};

void d_gw_part_free(struct d_gw_part *p); /* NULL is allowed */

#endif
