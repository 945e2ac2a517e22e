/* The retry budget: re-sends are a share of what came in, so that retries cannot multiply a load that is
 * already too much (Google SRE book, chapter 21; Finagle's RetryBudget). Ten buckets of a second each. */
#ifndef A_GATEWAY_BUDGET_H
#define A_GATEWAY_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define GW_BUDGET_SECONDS 10
#define GW_BUDGET_PERCENT 10
#define GW_BUDGET_FLOOR 10 /* in GW_BUDGET_SECONDS */

/* Zero-initialised = ready. */
struct gw_budget {
    uint64_t second; /* of the newest bucket */
    uint32_t requests[GW_BUDGET_SECONDS], resent[GW_BUDGET_SECONDS];
};

void gw_budget_request(struct gw_budget *b, uint64_t now_ms);
/* Takes one re-send from the budget; false when it is spent. */
bool gw_budget_take(struct gw_budget *b, uint64_t now_ms);

#endif
