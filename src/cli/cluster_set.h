/* Limits and price of a cluster on the command line. */
#ifndef A_CLI_CLUSTER_SET_H
#define A_CLI_CLUSTER_SET_H

#include <stdbool.h>

#include "base/error.h"
#include "cli/options.h"
#include "wire/value.h"

struct cli_call;

/* As they were said; NULL = not, "none" takes one away. */
struct cli_limits {
    const char *max_nodes, *max_cpu, *max_memory, *max_devices, *price;
};

/* Rows of a command's options, for a struct with `limits` at `member`. */
#define CLI_LIMITS_OPTIONS(type, member)                                                                     \
    {"max-nodes", 0,                                                                                         \
     CLI_TEXT,    offsetof(type, member.max_nodes),                                                          \
     "N",         "nodes with claims on them, and pods of its pools, at most; none = no limit",              \
     false},                                                                                                 \
        {"max-cpu", 0,                                                                                       \
         CLI_TEXT,  offsetof(type, member.max_cpu),                                                          \
         "CPU",     "cores of all claims, and of all pods of its pools, at most",                            \
         false},                                                                                             \
        {"max-memory", 0,                                                                                    \
         CLI_TEXT,     offsetof(type, member.max_memory),                                                    \
         "BYTES",      "memory of all claims, and of all pods of its pools, at most",                        \
         false},                                                                                             \
        {"max-devices", 0,                                                                                   \
         CLI_TEXT,      offsetof(type, member.max_devices),                                                  \
         "N",           "devices of all pods of its pools, at most",                                         \
         false},                                                                                             \
    {                                                                                                        \
        "price", 0, CLI_TEXT, offsetof(type, member.price), "NUMBER",                                        \
            "of one node and hour, where its pool has none: cheaper nodes are taken first", false            \
    }

bool cli_limits_given(const struct cli_limits *limits);
/* Of the cluster that is the first word: what was said changes, the rest stays; *ret is what they are now. */
int cli_limits_put(struct cli_call *c, const struct cli_limits *limits, struct wire_value **ret,
                   struct a_error *reterr) A_MUST_CHECK;
/* "nodes 12, cpu 96, price 0.4"; "" when there are none. */
const char *cli_limits_text(struct a_arena *arena, const struct wire_value *limits);
int cli_cluster_set_run(struct cli_call *c, struct a_error *reterr) A_MUST_CHECK;

#endif
