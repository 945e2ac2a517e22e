/* least: the endpoint with the fewest requests in flight for its weight; ties go to the one that was picked
 * longest ago, so that idle endpoints take turns, and to chance when they were picked in the same
 * millisecond. With one replica behind each endpoint and requests of unlike cost this is the oldest good
 * answer (join the shortest queue). */
#include "gateway/gateway.h"
#include "gateway/policy/policy.h"

/* a / weight(a) < b / weight(b), without dividing */
static bool less_loaded(const struct gw_endpoint *a, const struct gw_endpoint *b)
{
    return (uint64_t)a->in_flight * b->weight < (uint64_t)b->in_flight * a->weight;
}

static size_t least_pick(struct gw_endpoint *const *fit, size_t n, uint64_t now_ms, struct a_random *random)
{
    (void)now_ms;
    size_t best = 0, ties = 1;
    for (size_t i = 1; i < n; i++) {
        bool equal = !less_loaded(fit[i], fit[best]) && !less_loaded(fit[best], fit[i]);
        if (less_loaded(fit[i], fit[best]) || (equal && fit[i]->last_pick_ms < fit[best]->last_pick_ms)) {
            best = i;
            ties = 1;
        } else if (equal && fit[i]->last_pick_ms == fit[best]->last_pick_ms &&
                   a_random_below(random, ++ties) == 0) {
            best = i;
        }
    }
    return best;
}

const struct gw_policy gw_policy_least = {.name = "least", .pick = least_pick};
