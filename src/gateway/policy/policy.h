/* A balancing policy: one file each, listed in policies.c. It chooses among endpoints that the core has
 * already found fit (UP, below their cap, not set aside, not tried before by this request). */
#ifndef A_GATEWAY_POLICY_H
#define A_GATEWAY_POLICY_H

#include <stddef.h>
#include <stdint.h>

#include "base/random.h"

struct gw_endpoint;

struct gw_policy {
    const char *name;
    /* The index of the chosen one; n > 0. */
    size_t (*pick)(struct gw_endpoint *const *fit, size_t n, uint64_t now_ms, struct a_random *random);
};

/* NULL when there is none of that name. */
const struct gw_policy *gw_policy_find(const char *name, size_t len);

extern const struct gw_policy gw_policy_least;

#endif
