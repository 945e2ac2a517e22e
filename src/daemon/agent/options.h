/* The agent's settings: flags, else ASTRA_CFG_* variables, else defaults, from one table. */
#ifndef D_AGENT_OPTIONS_H
#define D_AGENT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "types/capacity.h"
#include "types/id.h"
#include "wire/starlink.h"

#define D_AGENT_LABELS_MAX 64

/* X(field, "flag", "argument", "default" or NULL, "what it is for") */
#define D_AGENT_TEXTS(X)                                                                                     \
    X(server, "server", "HOST:PORT", "127.0.0.1:7701", "the resource server to join")                        \
    X(data, "data", "DIR", NULL, "identity, claims and members live here (required)")                        \
    X(token_file, "join-token-file", "FILE", NULL, "the join token")                                         \
    X(name, "name", "NAME", NULL, "what people call this node (host name)")                                  \
    X(cluster, "cluster", "NAME", "local", "the failure domain that it belongs to")                          \
    X(network, "network", "NAME", "local", "nodes of one network reach each other")                          \
    X(zone, "zone", "NAME", NULL, "for spreading")                                                           \
    X(host, "host", "NAME", NULL, "the machine under the node (host name)")                                  \
    X(address, "address", "IP", NULL, "where members are reached (a loopback address of the node's own)")    \
    X(cpu, "cpu", "QUANTITY", NULL, "capacity: CPUs (all of the machine)")                                   \
    X(memory, "memory", "QUANTITY", NULL, "capacity: memory (all of the machine)")                           \
    X(disk, "disk", "QUANTITY", NULL, "capacity: disk (what is free below --data)")                          \
    X(http, "http", "HOST:PORT", "127.0.0.1:7703", "health and metrics")                                     \
    X(ready_file, "ready-file", "FILE", NULL, "written once the agent serves, with its ports")               \
    X(temp_root, "temp-root", "DIR", "/tmp", "members' temporary folders; short, Ray allows 41 characters")  \
    X(ports_dir, "ports-dir", "DIR", NULL, "lock files of the host's port blocks")                           \
    X(cache, "cache", "DIR", NULL, "artifacts; agents of one host may share it (DATA/cache)")                \
    X(cache_max, "cache-max", "QUANTITY", "40Gi", "bytes that unused artifacts may leave in it")             \
    X(logs_max, "logs-max", "QUANTITY", "256Mi", "bytes of logs that failed members may leave")              \
    X(libdir, "libdir", "DIR", NULL, "lib/astra of the installation (beside the executable)")                \
    X(isolation, "isolation", "MODE", "auto",                                                                \
      "namespaces apart: user (each its own), node (one at a time), off; auto: user where it can be, else "  \
      "node")                                                                                                \
    X(uid_first, "uid-first", "N", "1879048192", "first of 65536 users for namespaces")                      \
    X(log_level, "log-level", "LEVEL", "info", "debug, info, warn, error or off")

struct d_agent_options {
#define X(field, flag, argument, otherwise, help) const char *field;
    D_AGENT_TEXTS(X)
#undef X
    struct a_capacity capacity; /* zero fields: to be measured */
    uint64_t cache_max_bytes, logs_max_bytes;
    struct wire_sl_label labels[D_AGENT_LABELS_MAX];
    size_t n_labels;
    bool namespaces_off; /* --no-namespaces: members run without, for tests of that way */
    bool help;
};

/* Strings point into argv and the environment. -EINVAL says what is wrong and names the nearest flag. */
int d_agent_options_parse(int argc, char **argv, struct d_agent_options *ret,
                          struct a_error *reterr) A_MUST_CHECK;
void d_agent_options_help(void);

#endif
