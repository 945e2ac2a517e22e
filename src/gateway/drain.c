/* What a draining endpoint still has under way gets a time each: requests one, answers that have begun and
 * have no length another. Whose time is over is cut, so that a drain has an end that clients can see. */
#include "base/list.h"
#include "gateway/core.h"

static uint64_t until_of(const struct gw_endpoint *e, const struct gw_request *req)
{
    return req->stream ? e->streams_until_ms : e->requests_until_ms;
}

void gw_drain_arm(struct gw *gw, struct gw_endpoint *e)
{
    uint64_t at = A_NEVER;
    a_list_foreach (l, &e->requests) {
        at = A_MIN(at, until_of(e, a_list_entry(l, struct gw_request, link)));
    }
    if (e->state == WIRE_SL_ENDPOINT_DRAINING)
        a_heap_set(&gw->drains, &e->drain_timer, at);
}

void gw_drain_begin(struct gw *gw, struct gw_endpoint *e, const struct wire_sl_endpoint *m, uint64_t now_ms)
{
    e->requests_until_ms = m->drain_requests_ms > 0 ? now_ms + m->drain_requests_ms : A_NEVER;
    e->streams_until_ms = m->drain_streams_ms > 0 ? now_ms + m->drain_streams_ms : A_NEVER;
    gw_drain_arm(gw, e);
}

void gw_drain_end(struct gw *gw, struct gw_endpoint *e)
{
    a_heap_remove(&gw->drains, &e->drain_timer);
}

void gw_drains_expire(struct gw *gw, uint64_t now_ms)
{
    for (struct a_timer *t; (t = a_heap_pop(&gw->drains, now_ms)) != NULL;) {
        struct gw_endpoint *e = A_CONTAINER_OF(t, struct gw_endpoint, drain_timer);
        a_list_foreach_safe (l, &e->requests) {
            struct gw_request *req = a_list_entry(l, struct gw_request, link);
            if (until_of(e, req) <= now_ms)
                gw_request_cut(gw, req, now_ms);
        }
        gw_drain_arm(gw, e);
    }
}
