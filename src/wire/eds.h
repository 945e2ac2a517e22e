/* Endpoint discovery for Envoy: xDS v3 over REST-JSON (envoyproxy/envoy api/envoy/service/discovery/v3,
 * api/envoy/config/endpoint/v3). Who asks POSTs a DiscoveryRequest with the names that it wants and the
 * version that it has; the answer is a DiscoveryResponse with one ClusterLoadAssignment for each name, or
 * 304. Pure. */
#ifndef WIRE_EDS_H
#define WIRE_EDS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "types/id.h"

#define WIRE_EDS_PATH "/v3/discovery:endpoints"
#define WIRE_EDS_TYPE "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment"
#define WIRE_EDS_NAMES_MAX 1000
#define WIRE_EDS_NAME_MAX 400
/* Envoy gives a request up after `request_timeout`, 1 s where nothing is said. */
#define WIRE_EDS_HOLD_MS 800
#define WIRE_EDS_HOLD_MAX_MS 60000

struct wire_eds_request {
    struct a_view version; /* that is in use; empty = none */
    struct a_view *names;
    size_t n_names;
    uint64_t hold_ms; /* how long the answer may wait for a change: node.metadata["astra.hold"] */
};

/* `ret` lives in `arena`. -EINVAL (reterr) when it is no DiscoveryRequest for endpoints. Fields that mean
 * nothing here are passed over. */
int wire_eds_request_parse(struct a_arena *arena, struct a_view body, struct wire_eds_request *ret,
                           struct a_error *reterr) A_MUST_CHECK;

struct wire_eds_endpoint {
    char ip[46];
    uint16_t port;
    uint32_t weight;            /* at least 1 */
    bool draining;              /* DRAINING: nothing new; else HEALTHY */
    struct a_name region, zone; /* its locality; may be empty */
};

/* One ClusterLoadAssignment; sorts the endpoints: the same set gives the same text. */
void wire_eds_assignment_print(struct a_buf *b, struct a_view name, struct wire_eds_endpoint *endpoints,
                               size_t n);
/* Around assignments that were printed, commas between them. The version, 16 hexadecimal digits, is of that
 * text alone. `ret_version` holds WIRE_EDS_VERSION_LEN + 1 bytes. */
#define WIRE_EDS_VERSION_LEN 16
void wire_eds_version(struct a_view assignments, char *ret_version);
void wire_eds_response_print(struct a_buf *b, const char *version, struct a_view assignments);

#endif
