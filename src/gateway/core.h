/* Between the files of the gateway's core; nothing outside includes it. */
#ifndef A_GATEWAY_CORE_H
#define A_GATEWAY_CORE_H

#include "gateway/gateway.h"

struct gw_update *gw_update_add(struct gw *gw, enum gw_update_type type, struct gw_request *request);

/* table.c */
void gw_view_begin(struct gw *gw, bool snapshot);
void gw_view_end(struct gw *gw, uint64_t now_ms);
void gw_route_set(struct gw *gw, const struct wire_sl_route *m);
void gw_route_gone(struct gw *gw, struct a_view id);
void gw_endpoint_set(struct gw *gw, const struct wire_sl_endpoint *m, uint64_t now_ms);
void gw_endpoint_gone(struct gw *gw, struct a_view id, uint64_t now_ms);
/* Frees those that are gone and have nothing in flight any more; at the end of each step. */
void gw_endpoints_bury(struct gw *gw);

/* request.c */
void gw_request_begin(struct gw *gw, const struct gw_event *e);
void gw_request_failed(struct gw *gw, const struct gw_event *e);
void gw_request_committed(struct gw *gw, const struct gw_event *e);
void gw_request_done(struct gw *gw, const struct gw_event *e);
void gw_requests_expire(struct gw *gw, uint64_t now_ms);
/* Waiting requests of the route go to whatever has room now. */
void gw_route_serve_waiting(struct gw *gw, struct gw_route *route, uint64_t now_ms);
/* Uncommitted requests leave an endpoint that is dead, those held there first. */
void gw_endpoint_abandon(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms);
/* Its waiting requests are answered: the route is gone. */
void gw_route_abandon(struct gw *gw, struct gw_route *route);
/* DRAINED, once, when a DRAINING endpoint has nothing in flight. */
void gw_endpoint_check_drained(struct gw *gw, struct gw_endpoint *e);

#endif
