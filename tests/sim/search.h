/* A search through many seeds: worlds in several processes, what they counted, and what failed. */
#ifndef TESTS_SIM_SEARCH_H
#define TESTS_SIM_SEARCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SEARCH_COUNTS_MAX 48

/* What came of one world. */
struct search_world {
    uint64_t counts[SEARCH_COUNTS_MAX];
    bool failed;
    uint64_t at_ms; /* of its clock */
    char failure[512];
};

/* A simulator. */
struct search_kind {
    const char *usage;
    const char *again;        /* the command that plays one world again; its seed follows */
    const char *const *names; /* of counts */
    size_t n_counts;
    /* Makes a world of the seed, lives through it and ends it; prints its trace when asked to. *ret is zero.
     */
    void (*live)(uint64_t seed, bool tracing, struct search_world *ret);
};

/* By arguments and environment: [--seeds N] [--seed S] [--jobs J] [--all]; SIM_SEEDS, SIM_SEED. N worlds from
 * seed S on (1000 from 1) in J processes (1). Prints progress, each failure and the faults of all worlds;
 * ends at the first that fails, or (--all) names all that do. One world alone prints its trace. The exit
 * status: 0 when none failed. */
int search_main(const struct search_kind *kind, int argc, char **argv);

#endif
