/* A search through many seeds: worlds in several processes, what they counted, and what failed. */
#ifndef TESTS_SIM_SEARCH_H
#define TESTS_SIM_SEARCH_H

#include "lib/sim.h"

struct search_options {
    uint64_t first, n; /* seeds */
    uint64_t jobs;     /* processes, at least 1 */
    bool all;          /* goes on after a failure, and names the seeds of all at the end */
};

/* Makes a world of the seed and lives through it. */
typedef void search_world_fn(struct sim *sim, uint64_t seed, bool tracing);

/* Prints progress, each failure and the faults of all worlds. The exit status: 0 when none failed. */
int search(const struct search_options *options, search_world_fn *world);
/* One world here and now, with its trace. */
int search_replay(uint64_t seed, search_world_fn *world);

#endif
