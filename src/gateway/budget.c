#include "gateway/budget.h"

#include <string.h>

#include "base/macro.h"

static void budget_advance(struct gw_budget *b, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000;
    if (second <= b->second)
        return;
    if (second - b->second >= GW_BUDGET_SECONDS) {
        *b = (struct gw_budget){.second = second};
        return;
    }
    while (b->second < second) {
        b->second++;
        b->requests[b->second % GW_BUDGET_SECONDS] = b->resent[b->second % GW_BUDGET_SECONDS] = 0;
    }
}

static uint64_t sum(const uint32_t buckets[GW_BUDGET_SECONDS])
{
    uint64_t total = 0;
    for (int i = 0; i < GW_BUDGET_SECONDS; i++)
        total += buckets[i];
    return total;
}

void gw_budget_request(struct gw_budget *b, uint64_t now_ms)
{
    budget_advance(b, now_ms);
    b->requests[b->second % GW_BUDGET_SECONDS]++;
}

bool gw_budget_take(struct gw_budget *b, uint64_t now_ms)
{
    budget_advance(b, now_ms);
    uint64_t allowed = A_MAX(sum(b->requests) * GW_BUDGET_PERCENT / 100, (uint64_t)GW_BUDGET_FLOOR);
    if (sum(b->resent) >= allowed)
        return false;
    b->resent[b->second % GW_BUDGET_SECONDS]++;
    return true;
}
