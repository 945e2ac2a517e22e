/* What a node has and what a claim takes. CPU in thousandths of a core, memory and disk in bytes. Arithmetic
 * never wraps: a capacity that does not fit is refused, not rounded. */
#ifndef A_TYPES_CAPACITY_H
#define A_TYPES_CAPACITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

struct a_capacity {
    uint64_t mcpu;
    uint64_t memory_bytes;
    uint64_t disk_bytes;
};

/* Every dimension of `want` is at most that of `free`. */
bool a_capacity_fits(const struct a_capacity *free, const struct a_capacity *want);
/* The first dimension that is short ("cpu", "memory", "disk"), or NULL when it fits. */
const char *a_capacity_short(const struct a_capacity *free, const struct a_capacity *want);
/* a += b; saturates. */
void a_capacity_add(struct a_capacity *a, const struct a_capacity *b);
/* a -= b; stops at 0. */
void a_capacity_sub(struct a_capacity *a, const struct a_capacity *b);
bool a_capacity_is_zero(const struct a_capacity *c);
/* "cpu 2, memory 4Gi, disk 10Gi" */
void a_capacity_print(struct a_buf *b, const struct a_capacity *c);

#endif
