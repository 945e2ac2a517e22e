/* Latencies as counts in buckets: what gateways tell and servers add up. The bounds travel by their index:
 * append only. */
#ifndef A_TYPES_LATENCY_H
#define A_TYPES_LATENCY_H

#include <stddef.h>
#include <stdint.h>

/* Upper bounds in microseconds: from a no-op to a slow model. */
/* clang-format off */
#define A_LATENCY_BOUNDS(X) \
    X(500) X(1000) X(2500) X(5000) X(10000) X(25000) X(50000) X(100000) X(250000) X(500000) \
    X(1000000) X(2500000) X(5000000) X(10000000) X(30000000) X(60000000)
/* clang-format on */
#define X(us) +1
enum { A_LATENCY_BUCKETS = 1 A_LATENCY_BOUNDS(X) }; /* with all that is longer */
#undef X

struct a_latency {
    uint64_t n[A_LATENCY_BUCKETS];
};

/* UINT64_MAX for the last one. */
uint64_t a_latency_bound_us(size_t bucket);
void a_latency_add(struct a_latency *l, uint64_t us);
void a_latency_merge(struct a_latency *to, const struct a_latency *from);
uint64_t a_latency_count(const struct a_latency *l);
/* Of q in 0 ... 1, evenly spread inside its bucket; 0 when nothing was counted, the last bound when it is
 * beyond. */
double a_latency_quantile_us(const struct a_latency *l, double q);

#endif
