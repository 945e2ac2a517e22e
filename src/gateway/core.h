/* Between the files of the gateway's core; nothing outside includes it. */
#ifndef A_GATEWAY_CORE_H
#define A_GATEWAY_CORE_H

#include "gateway/gateway.h"

/* Nothing is called stuck before it has waited so long. */
#define GW_STUCK_MS 1000

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
/* Picked last as from now, longer each time until it answers again. */
void gw_endpoint_set_aside(struct gw_endpoint *e, const char *error, uint64_t now_ms);
/* What waits at a stalled endpoint leaves it, as far as it may be sent again and the budget pays. */
void gw_stuck_resend(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms);
/* The time that it had while its endpoint drained is over: its answer is cut where it has begun, else it goes
 * elsewhere or is answered from here. */
void gw_request_cut(struct gw *gw, struct gw_request *req, uint64_t now_ms);

/* drain.c */
/* `e` is DRAINING from now on. */
void gw_drain_begin(struct gw *gw, struct gw_endpoint *e, const struct wire_sl_endpoint *m, uint64_t now_ms);
void gw_drain_end(struct gw *gw, struct gw_endpoint *e);
/* Something began at it that may be late already. */
void gw_drain_arm(struct gw *gw, struct gw_endpoint *e);
void gw_drains_expire(struct gw *gw, uint64_t now_ms);
/* DRAINED, once, when a DRAINING endpoint has nothing in flight. */
void gw_endpoint_check_drained(struct gw *gw, struct gw_endpoint *e);

/* stall.c: how long an attempt may wait; after an attempt was sent; when an answer began; when somebody has
 * waited long. */
uint64_t gw_stall_limit(const struct gw_route *r);
void gw_stall_sent(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms);
void gw_stall_answered(struct gw_route *r, struct gw_endpoint *e, uint64_t latency_us, uint64_t now_ms);
void gw_stall_look(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms);
void gw_stalls_expire(struct gw *gw, uint64_t now_ms);

#endif
