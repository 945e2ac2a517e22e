/* The gateway's settings: flags, then ASTRA_CFG_GATEWAY_* (the flag's name in capitals, '-' as '_'), then the
 * defaults of this one table. */
#ifndef D_GATEWAY_OPTIONS_H
#define D_GATEWAY_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

/* X(KIND, field, "flag", "default", "help"); kinds: TEXT, COUNT, BYTES, TIME (milliseconds), SWITCH. */
/* clang-format off */
#define D_GW_OPTIONS(X) \
    X(TEXT, listen, "listen", ":8080", "ADDRESS:PORT for requests") \
    X(TEXT, admin, "admin", "127.0.0.1:8081", "ADDRESS:PORT of /metrics, /healthz, /ready and /routes") \
    X(TEXT, server, "server", "", "HOST:PORT of the server's Starlink; without it the view of --data is served") \
    X(TEXT, token_file, "token-file", "", "file that holds the join token") \
    X(TEXT, name, "name", "", "how people call this gateway") \
    X(TEXT, address, "address", "", "where clients reach it, told to the server; by default where it listens") \
    X(TEXT, data, "data", "", "folder of the last view, served after a restart without a server") \
    X(TEXT, ready_file, "ready-file", "", "written with the real ports once requests are taken") \
    X(TEXT, tls_cert, "tls-cert", "", "FILE, PEM: the certificate and its chain; --listen then speaks TLS only") \
    X(TEXT, tls_key, "tls-key", "", "FILE, PEM: its key; both are read again when they change, and on SIGHUP") \
    X(TEXT, access_log, "access-log", "-", "FILE, - for stderr, or off") \
    X(TEXT, log_level, "log-level", "info", "debug, info, warn, error or off") \
    X(SWITCH, log_json, "log-json", "no", "log in JSON") \
    X(SWITCH, debug_headers, "debug-headers", "no", "answers carry x-astra-unit and x-astra-tries") \
    X(SWITCH, resend, "resend", "yes", "send a request again when its replica is lost") \
    X(SWITCH, trust_forwarded, "trust-forwarded", "no", "keep the X-Forwarded-* headers that a client sent") \
    X(COUNT, threads, "threads", "1", "loops; each endpoint's cap is divided among them") \
    X(COUNT, max_connections, "max-connections", "0", "of clients; 0 = half of the descriptors allowed") \
    X(COUNT, address_connections, "address-connections", "4096", "of clients, from one address (IPv6: one /64)") \
    X(COUNT, max_waiting, "max-waiting", "10000", "requests in all queues") \
    X(COUNT, headers, "max-headers", "100", "of a request") \
    X(BYTES, head_bytes, "max-head", "64Ki", "of a request's line and headers") \
    X(BYTES, replay_bytes, "replay-memory", "256Mi", "of bodies kept to be sent again") \
    X(TIME, head_ms, "head-timeout", "10s", "from the first byte of a head to its last") \
    X(TIME, body_ms, "body-timeout", "30s", "between two pieces of a request's body") \
    X(TIME, idle_ms, "idle-timeout", "75s", "of a client's connection between two requests") \
    X(TIME, connect_ms, "connect-timeout", "1s", "to a replica") \
    X(TIME, upstream_idle_ms, "upstream-idle", "60s", "a replica's connection is kept; Ray closes after 90 s") \
    X(TIME, port_rest_ms, "port-rest", "150s", "nodes give a port to nobody else for so long; as the agents have it") \
    X(TIME, drain_ms, "drain-timeout", "60s", "for requests under way after SIGTERM")
/* clang-format on */

#define D_GW_TYPE_TEXT const char *
#define D_GW_TYPE_COUNT uint64_t
#define D_GW_TYPE_BYTES uint64_t
#define D_GW_TYPE_TIME uint64_t
#define D_GW_TYPE_SWITCH bool
struct d_gw_options {
#define X(kind, field, flag, value, help) D_GW_TYPE_##kind field;
    D_GW_OPTIONS(X)
#undef X
};

/* 0: filled, its texts live as long as the process; 1: help was printed; -EINVAL: `reterr` names the setting.
 */
int d_gw_options_read(int argc, char **argv, struct d_gw_options *ret, struct a_error *reterr) A_MUST_CHECK;

#endif
