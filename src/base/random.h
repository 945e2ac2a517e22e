/* Seeded random streams: xoshiro256** (Blackman, Vigna 2018). A core's randomness is an input: daemons seed
 * from the OS (sys_random), tests and simulations from a number. Not for secrets. */
#ifndef A_BASE_RANDOM_H
#define A_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

struct a_random {
    uint64_t s[4];
};

void a_random_init(struct a_random *r, uint64_t seed);
uint64_t a_random_u64(struct a_random *r);
/* Uniform in [0, n); n > 0. */
uint64_t a_random_below(struct a_random *r, uint64_t n);
/* Uniform in [0, 1). */
double a_random_unit(struct a_random *r);
/* `len` characters of a-z0-9 and a zero; `out` holds len + 1 bytes. */
void a_random_name(struct a_random *r, char *out, size_t len);

#endif
