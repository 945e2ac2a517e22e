/* Waiting for an app: its units are shown as they move until what was asked for is there, or cannot be. */
#ifndef A_CLI_FOLLOW_H
#define A_CLI_FOLLOW_H

#include "cli/cli.h"
#include "cli/progress.h"

#define CLI_FOLLOW_TIMEOUT_MS (30ull * 60 * 1000)

enum cli_outcome { CLI_GOES_ON, CLI_DONE, CLI_FAILED };

/* What is waited for. */
struct cli_goal {
    const char *namespace, *app;
    uint64_t generation; /* that the fleet must have seen; 0 = any */
    uint64_t revision;   /* that its units must be of; 0 = the current one */
    bool gone;           /* delete: until there is no such app */
    uint64_t timeout_ms; /* 0 = CLI_FOLLOW_TIMEOUT_MS */
};

/* What an app's answer and its units say about the goal. *ret_why is a sentence when it failed, in `arena`.
 * Pure. */
enum cli_outcome cli_goal_judge(const struct cli_goal *goal, const struct wire_value *app,
                                const struct wire_value *units, struct a_arena *arena, const char **ret_why);

/* 0 when it is reached; -ECANCELED when it cannot be (the error has Ray's own words); -ETIMEDOUT
 * (A_CODE_TIMEOUT, with what is missing); -EINTR on Ctrl-C; else what a call failed with. A server that does
 * not answer is waited for. */
int cli_follow(struct cli_call *c, const struct cli_goal *goal, struct cli_progress *progress,
               struct a_error *reterr) A_MUST_CHECK;

/* The goal of an app's answer to PUT, scale or undo. */
struct cli_goal cli_goal_of(const struct wire_value *app);
/* After an interrupted or failed cli_follow(): the exit status when it is our own (130, with a word on what
 * goes on), else `rc`. */
int cli_follow_end(struct cli_call *c, const struct cli_goal *goal, int rc);

#endif
