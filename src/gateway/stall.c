/* Replicas that answer their health checks but no requests: a deadlock, a stopped process, a device that
 * hangs. Nobody but who waits for the answers can see it, so the verdict is taken from outcomes alone:
 *
 *   no answer began at the endpoint for STALL_FACTOR times the route's mean, and at least GW_STUCK_MS, though
 *   a request has waited there for so long, while the route's other endpoints did answer
 *
 * Then the endpoint is set aside as one that failed. Where all endpoints are slow alike nothing is concluded:
 * that is load, and moving it about makes more of it. A single long request is given another second first;
 * where two are stuck, or where one is at an endpoint that is suspected already, they leave it, each once and
 * paid from the budget. The verdict may be wrong, and the request only long: it leaves while half of its
 * route's timeout is left, so that what takes up to half of it is answered in either case. */
#include <stdio.h>

#include "gateway/core.h"

#define STALL_FACTOR 8
#define STALL_MAX_MS 30000

uint64_t gw_stall_limit(const struct gw_route *r)
{
    uint64_t ms = r != NULL ? r->answer_us * STALL_FACTOR / 1000 : STALL_MAX_MS;
    return A_MIN(A_MAX(ms, (uint64_t)GW_STUCK_MS), (uint64_t)STALL_MAX_MS);
}

/* The attempt that has waited longest for the beginning of its answer; they are listed as they were sent. */
static const struct gw_request *oldest_waiting(const struct gw_endpoint *e)
{
    a_list_foreach (l, (struct a_list *)(uintptr_t)&e->requests) {
        const struct gw_request *req = a_list_entry(l, struct gw_request, link);
        if (req->state == GW_REQUEST_SENT && req->route != NULL)
            return req;
    }
    return NULL;
}

void gw_stall_sent(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms)
{
    const struct gw_request *oldest = oldest_waiting(e);
    if (e->in_flight == 1)
        e->progress_ms = now_ms;
    /* alone it has nobody to be compared with */
    if (oldest != NULL && oldest->route->n_endpoints > 1 && e->stall.index_plus_1 == 0)
        a_heap_set(&gw->stalls, &e->stall, oldest->sent_ms + gw_stall_limit(oldest->route));
}

void gw_stall_answered(struct gw_route *r, struct gw_endpoint *e, uint64_t latency_us, uint64_t now_ms)
{
    if (r != NULL) {
        r->answer_us = r->answer_us == 0 ? latency_us : (r->answer_us * 7 + latency_us) / 8;
        r->answered_ms = now_ms;
    }
    if (e != NULL)
        e->progress_ms = now_ms;
}

static size_t count_stuck(const struct gw_endpoint *e, uint64_t now_ms)
{
    size_t n = 0;
    a_list_foreach (l, (struct a_list *)(uintptr_t)&e->requests) {
        const struct gw_request *req = a_list_entry(l, struct gw_request, link);
        n += req->state == GW_REQUEST_SENT && now_ms - req->sent_ms >= gw_stall_limit(req->route);
    }
    return n;
}

static void stalled(struct gw *gw, struct gw_endpoint *e, uint64_t silent_ms, uint64_t now_ms)
{
    bool suspected = e->failures_in_a_row > 0;
    char error[sizeof e->error];
    size_t stuck = count_stuck(e, now_ms);
    snprintf(error, sizeof error, "no answer for %llu ms to %zu request%s, while others answer",
             (unsigned long long)silent_ms, stuck, stuck == 1 ? "" : "s");
    gw_endpoint_set_aside(e, error, now_ms);
    gw->stalled++;
    if (suspected || stuck > 1)
        gw_stuck_resend(gw, e, now_ms);
}

void gw_stall_look(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms)
{
    const struct gw_request *oldest = oldest_waiting(e);
    if (oldest == NULL) {
        a_heap_remove(&gw->stalls, &e->stall);
        return;
    }
    uint64_t limit = gw_stall_limit(oldest->route), since = A_MAX(oldest->sent_ms, e->progress_ms);
    if (now_ms - since < limit) {
        a_heap_set(&gw->stalls, &e->stall, since + limit);
        return;
    }
    a_heap_set(&gw->stalls, &e->stall, now_ms + GW_STUCK_MS);
    if (e->state == WIRE_SL_ENDPOINT_UP && oldest->route->answered_ms > since)
        stalled(gw, e, now_ms - since, now_ms);
}

void gw_stalls_expire(struct gw *gw, uint64_t now_ms)
{
    for (struct a_timer *t; (t = a_heap_pop(&gw->stalls, now_ms)) != NULL;)
        gw_stall_look(gw, A_CONTAINER_OF(t, struct gw_endpoint, stall), now_ms);
}
