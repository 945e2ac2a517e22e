/* The settings of `astra up` and `astra down`: flags, else ASTRA_CFG_UP_* variables, else defaults, from one
 * table each. */
#ifndef D_UP_OPTIONS_H
#define D_UP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define D_UP_CLUSTERS_MAX 32
#define D_UP_NODES_MAX 64 /* in all: each is a process */

/* X(KIND, field, "flag", "argument", "default" or NULL, "what it is for"); kinds: TEXT, COUNT, SWITCH */
#define D_UP_OPTIONS(X)                                                                                      \
    X(COUNT, clusters, "clusters", "N", "2", "pretend clusters")                                             \
    X(COUNT, nodes, "nodes", "N", "3", "nodes in each cluster")                                              \
    X(TEXT, node_cpu, "node-cpu", "QUANTITY", "2", "CPUs that each node offers")                             \
    X(TEXT, node_memory, "node-memory", "QUANTITY", "4Gi", "memory that each node offers")                   \
    X(TEXT, data, "data", "DIR", NULL, "everything lives here (~/.local/share/astra)")                       \
    X(SWITCH, detach, "detach", "", "no", "return once all is ready; astra down ends it")                    \
    X(TEXT, api, "api", "[HOST:]PORT", "7700", "API and console; port 0 takes a free one, here and below")   \
    X(TEXT, starlink, "starlink", "[HOST:]PORT", "7701", "where agents and gateways join")                   \
    X(TEXT, gateway, "gateway", "[HOST:]PORT", "8080", "requests to apps")                                   \
    X(TEXT, admin, "admin", "[HOST:]PORT", "8081", "the gateway's metrics")                                  \
    X(TEXT, ready_file, "ready-file", "FILE", NULL, "written once all is ready, with the ports")             \
    X(TEXT, libdir, "libdir", "DIR", NULL, "lib/astra of the installation (beside the executable)")

#define D_DOWN_OPTIONS(X)                                                                                    \
    X(TEXT, data, "data", "DIR", NULL, "as given to astra up (~/.local/share/astra)")                        \
    X(SWITCH, purge, "purge", "", "no", "remove the data too: apps, artifacts, tokens, logs")

#define D_UP_TYPE_TEXT const char *
#define D_UP_TYPE_COUNT uint64_t
#define D_UP_TYPE_SWITCH bool
#define X(kind, field, flag, argument, otherwise, help) D_UP_TYPE_##kind field;
struct d_up_options {
    D_UP_OPTIONS(X)
};
struct d_down_options {
    D_DOWN_OPTIONS(X)
};
#undef X

/* 0: filled, its texts live as long as the process; 1: help was printed; -EINVAL: `reterr` names the flag. */
int d_up_options_read(int argc, char **argv, struct d_up_options *ret, struct a_error *reterr) A_MUST_CHECK;
int d_down_options_read(int argc, char **argv, struct d_down_options *ret,
                        struct a_error *reterr) A_MUST_CHECK;

#endif
