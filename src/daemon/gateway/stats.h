/* What the gateway counts. Each worker counts for itself; what it counted since the last time goes to the
 * main thread as one part (daemon/gateway/part.h), where parts are added up. */
#ifndef D_GATEWAY_STATS_H
#define D_GATEWAY_STATS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/map.h"
#include "gateway/gateway.h"
#include "types/id.h"

#define D_GW_CODES 48 /* different (status, cause) pairs of an app; what comes later counts as status 0 */

struct d_gw_code {
    uint16_t status;
    uint8_t cause; /* enum gw_cause */
    uint64_t n;
};

/* Of one app; `app` with empty names is what belongs to none. Plain numbers: two are added field by field. */
struct d_gw_app {
    struct a_map_link by_key;
    struct a_app_ref app; /* zero-padded: its bytes are the key */
    struct d_gw_code codes[D_GW_CODES];
    uint32_t n_codes;
    struct a_latency latency;
    uint64_t latency_us, finished, ok, resent;
    uint64_t failed[GW_CAUSE_COUNT];
    int64_t in_flight, waiting; /* differences when in a part, values when added up */
    bool changed;
};

/* Of one worker. X(field, "metric", "help") */
/* clang-format off */
#define D_GW_COUNTERS(X) \
    X(connections_total, "astra_gateway_connections_total", "Client connections accepted") \
    X(connections_refused, "astra_gateway_connections_refused_total", "Client connections over a limit") \
    X(handshakes_failed, "astra_gateway_tls_handshakes_failed_total", "Clients that failed the TLS handshake") \
    X(upstream_opened, "astra_gateway_upstream_connections_total", "Connections to replicas opened") \
    X(bytes_in, "astra_gateway_received_bytes_total", "Bytes of request bodies") \
    X(bytes_out, "astra_gateway_sent_bytes_total", "Bytes of answers' bodies") \
    X(malformed, "astra_gateway_malformed_total", "Requests refused before they were routed") \
    X(timeouts, "astra_gateway_client_timeouts_total", "Clients that were too slow") \
    X(stalled, "astra_gateway_stalled_total", "Times a replica was set aside that gave no answers while others did") \
    X(log_dropped, "astra_gateway_access_log_dropped_total", "Lines of the access log that were lost")
#define D_GW_GAUGES(X) \
    X(connections, "astra_gateway_connections", "Client connections open") \
    X(upstreams, "astra_gateway_upstream_connections", "Connections to replicas open") \
    X(replay_bytes, "astra_gateway_replay_bytes", "Bytes of bodies kept to be sent again")
/* clang-format on */
struct d_gw_totals {
#define X(field, metric, help) uint64_t field;
    D_GW_COUNTERS(X)
    D_GW_GAUGES(X)
#undef X
};

/* The app's row, made when there is none. */
struct d_gw_app *d_gw_app_get(struct a_map *apps, const struct a_app_ref *app);
void d_gw_apps_free(struct a_map *apps);
/* One request has ended. */
void d_gw_app_count(struct d_gw_app *a, unsigned status, enum gw_cause cause, bool ok, uint64_t latency_us);
/* Adds `from` to `to`. */
void d_gw_app_add(struct d_gw_app *to, const struct d_gw_app *from);
/* All zero again, but the key. */
void d_gw_app_reset(struct d_gw_app *a);
/* Prometheus text of all rows. */
void d_gw_apps_print(struct a_buf *b, const struct a_map *apps);
/* Of one sum over all workers. */
void d_gw_totals_print(struct a_buf *b, const struct d_gw_totals *t);
void d_gw_totals_add(struct d_gw_totals *to, const struct d_gw_totals *from);

#endif
