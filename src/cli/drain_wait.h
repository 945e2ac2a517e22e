/* Waiting until a node or a cluster that drains is empty. */
#ifndef A_CLI_DRAIN_WAIT_H
#define A_CLI_DRAIN_WAIT_H

#include "cli/cli.h"

struct cli_drain {
    const char *path, *name; /* what is asked for, and what people call it */
    uint64_t timeout_ms;
    /* Of an answer: is it empty? *ret_left is what is left, for people, in `arena`; "" = nothing. */
    bool (*is_empty)(struct a_arena *arena, const struct wire_value *v, const char **ret_left);
};

/* Says what is left as it changes; *ret is the last answer. -ETIMEDOUT (A_CODE_TIMEOUT, with what is left);
 * CLI_EXIT_INTERRUPTED on Ctrl-C, which is said; else what a call failed with. A server that does not answer
 * is waited for. */
int cli_drain_wait(struct cli_call *c, const struct cli_drain *drain, struct wire_value **ret,
                   struct a_error *reterr) A_MUST_CHECK;

#endif
