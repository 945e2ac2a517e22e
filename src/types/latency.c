#include "types/latency.h"

#include "base/assert.h"
#include "base/macro.h"

static const uint64_t bounds_us[] = {
#define X(us) us,
    A_LATENCY_BOUNDS(X)
#undef X
        UINT64_MAX,
};

uint64_t a_latency_bound_us(size_t bucket)
{
    a_assert(bucket < A_LATENCY_BUCKETS);
    return bounds_us[bucket];
}

void a_latency_add(struct a_latency *l, uint64_t us)
{
    size_t i = 0;
    while (us > bounds_us[i])
        i++;
    l->n[i]++;
}

void a_latency_merge(struct a_latency *to, const struct a_latency *from)
{
    for (size_t i = 0; i < A_LATENCY_BUCKETS; i++)
        to->n[i] += from->n[i];
}

uint64_t a_latency_count(const struct a_latency *l)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < A_LATENCY_BUCKETS; i++)
        sum += l->n[i];
    return sum;
}

double a_latency_quantile_us(const struct a_latency *l, double q)
{
    double rank = q * (double)a_latency_count(l), below = 0;
    for (size_t i = 0; i + 1 < A_LATENCY_BUCKETS; i++) {
        double n = (double)l->n[i], from = i > 0 ? (double)bounds_us[i - 1] : 0;
        if (n > 0 && below + n >= rank)
            return from + ((double)bounds_us[i] - from) * (rank - below) / n;
        below += n;
    }
    return below < rank ? (double)bounds_us[A_LATENCY_BUCKETS - 2] : 0;
}
