/* A request's way: an endpoint is chosen or it waits; when an attempt fails, what may be sent again goes
 * elsewhere. The numbers in comments are the invariants of docs/components/gateway.md. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "gateway/core.h"
#include "gateway/policy/policy.h"

#define ASIDE_MIN_MS                                                                                         \
    250 /* long enough for a poll of Serve (250 ms when it is busy) to tell of a dead replica */
#define ASIDE_MAX_MS 30000
#define AGAIN_MAX_MS                                                                                         \
    1000 /* a replica that Ray starts again is there after some seconds: a few tries must reach so far */
#define FIT_MAX 256 /* candidates looked at for one pick; more are sampled by where the array starts */

static uint64_t endpoint_key(const struct gw_endpoint *e)
{
    return a_hash_str(1, e->id);
}

/* ---- places ---- */

static uint32_t endpoint_cap(const struct gw_route *r, const struct gw_endpoint *e)
{
    uint32_t cap = e->max_ongoing != 0 ? e->max_ongoing : r->max_ongoing;
    return cap != 0 ? cap : UINT32_MAX;
}

static void place_take(struct gw *gw, struct gw_request *req, struct gw_endpoint *e, uint64_t now_ms)
{
    a_list_push_back(&e->requests, &req->link);
    e->in_flight++;
    e->last_pick_ms = now_ms;
    e->reported = false;
    req->route->n_in_flight++;
    gw->n_in_flight++;
    req->endpoint = e;
    req->last_unit = e->unit;
    req->state = GW_REQUEST_SENT;
    req->sent_ms = now_ms;
    if (req->tries < GW_TRIED_MAX)
        req->tried[req->tries] = endpoint_key(e);
    req->tries++;
    gw_stall_sent(gw, e, now_ms);
}

static void place_release(struct gw *gw, struct gw_request *req)
{
    struct gw_endpoint *e = req->endpoint;
    if (req->route != NULL)
        req->route->n_in_flight--;
    a_list_remove(&req->link);
    gw->n_in_flight--;
    e->in_flight--;
    e->reported = false;
    req->endpoint = NULL;
    gw_endpoint_check_drained(gw, e);
}

void gw_endpoint_check_drained(struct gw *gw, struct gw_endpoint *e)
{
    if (e->state != WIRE_SL_ENDPOINT_DRAINING || e->in_flight > 0 || e->drain_told)
        return;
    e->drain_told = true;
    e->reported = false;
    gw_update_add(gw, GW_DRAINED, NULL)->endpoint = e;
}

/* ---- choosing ---- */

/* By one of the request's first `tries` attempts. */
static bool was_tried(const struct gw_request *req, const struct gw_endpoint *e, uint32_t tries)
{
    if (tries == 0)
        return false;
    uint64_t key = endpoint_key(e);
    for (uint32_t i = 0; i < A_MIN(tries, (uint32_t)GW_TRIED_MAX); i++)
        if (req->tried[i] == key)
            return true;
    return false;
}

/* 7: when a request may go back to an endpoint that failed it. Its first failure may have been that of an old
 * connection. */
static uint64_t again_ms(const struct gw_endpoint *e)
{
    return e->failures_in_a_row < 2 ? 0 : A_MIN(e->aside_until_ms, e->failed_at_ms + AGAIN_MAX_MS);
}

struct choice {
    struct gw_endpoint *fit[FIT_MAX];
    size_t n;
    struct gw_endpoint *aside;  /* the least recently failed of the suspects with room */
    bool full;                  /* a good one exists, but has no room */
    struct gw_endpoint *paused; /* the first suspect with room to which this request may go back, later */
};

static void choice_add_suspect(struct choice *c, struct gw_endpoint *e, bool tried, uint64_t now_ms)
{
    bool early = tried && again_ms(e) > now_ms;
    if (early && (c->paused == NULL || again_ms(e) < again_ms(c->paused)))
        c->paused = e;
    if (!early && (c->aside == NULL || e->failed_at_ms < c->aside->failed_at_ms))
        c->aside = e;
}

static void choice_look(struct choice *c, const struct gw_request *req, struct gw_endpoint *e,
                        bool other_unit, uint64_t now_ms)
{
    bool tried = was_tried(req, e, req->tries);
    bool room = e->in_flight < endpoint_cap(req->route, e);
    bool probing =
        e->failures_in_a_row > 0 && e->in_flight > 0; /* one request finds out whether it is well */
    bool suspect = e->aside_until_ms > now_ms || probing || tried ||
                   (other_unit && strcmp(e->unit.s, req->last_unit.s) == 0);
    if (suspect) {
        if (room)
            choice_add_suspect(c, e, tried, now_ms);
    } else if (!room) {
        c->full = true;
    } else if (c->n < FIT_MAX) {
        c->fit[c->n++] = e;
    }
}

/* Ray's own proxy stands in only while a unit has no replica listed. */
static bool has_replica(const struct gw_route *r)
{
    for (size_t i = 0; i < r->n_endpoints; i++)
        if (r->endpoints[i]->state == WIRE_SL_ENDPOINT_UP && !r->endpoints[i]->proxy)
            return true;
    return false;
}

/* What the request is to wait for when there is no endpoint for it. */
struct obstacle {
    bool full;
    uint64_t again_ms; /* when it may go back to an endpoint; else A_NEVER */
};

/* `last`: else the request is refused; then a suspect with room is better than none. */
static struct gw_endpoint *choose(struct gw *gw, const struct gw_request *req, uint64_t now_ms, bool last,
                                  struct obstacle *ret)
{
    struct gw_route *r = req->route;
    struct choice c = {.n = 0};
    bool no_proxies = has_replica(r);
    size_t start = r->n_endpoints > FIT_MAX ? (size_t)a_random_below(&gw->random, r->n_endpoints) : 0;
    for (int pass = req->tries > 0 ? 0 : 1; pass < 2 && c.n == 0; pass++) {
        for (size_t i = 0; i < r->n_endpoints && c.n < FIT_MAX; i++) {
            struct gw_endpoint *e = r->endpoints[(start + i) % r->n_endpoints];
            if (e->state == WIRE_SL_ENDPOINT_UP && !(e->proxy && no_proxies)) /* 6 */
                choice_look(&c, req, e, pass == 0, now_ms); /* a re-send looks for another unit first */
        }
    }
    *ret = (struct obstacle){c.full, c.paused != NULL ? again_ms(c.paused) : A_NEVER};
    if (c.n > 0)
        return c.fit[r->policy->pick(c.fit, c.n, now_ms, &gw->random)];
    if (last && c.aside == NULL)
        return c.paused;
    return c.full && !last ? NULL : c.aside; /* 7 */
}

static void answer(struct gw *gw, struct gw_request *req, int status, enum gw_cause cause,
                   uint32_t retry_after_s, const char *detail)
{
    struct gw_update *u = gw_update_add(gw, GW_ANSWER, req);
    u->status = status;
    u->cause = cause;
    u->detail = detail;
    u->retry_after_s = retry_after_s;
    req->state = GW_REQUEST_ANSWERED;
    if (req->route != NULL)
        req->route->by_cause[cause]++;
}

/* Into the route's queue, in front for those that arrived before all who wait there. */
static void wait_enter(struct gw *gw, struct gw_request *req, bool front, uint64_t until_ms)
{
    struct gw_route *r = req->route;
    if (front)
        a_list_push_front(&r->waiting, &req->link);
    else
        a_list_push_back(&r->waiting, &req->link);
    if (!a_list_linked(&r->queued))
        a_list_push_back(&gw->queued, &r->queued);
    a_heap_set(&gw->timers, &req->timer, until_ms);
    req->state = GW_REQUEST_WAITING;
    r->n_waiting++;
    gw->n_waiting++;
}

static void wait_leave(struct gw *gw, struct gw_request *req)
{
    struct gw_route *r = req->route;
    a_assert(r != NULL);
    a_list_remove(&req->link);
    if (a_list_empty(&r->waiting))
        a_list_remove(&r->queued);
    a_heap_remove(&gw->timers, &req->timer);
    r->n_waiting--;
    gw->n_waiting--;
    req->state = GW_REQUEST_IDLE;
}

static void no_place(struct gw *gw, struct gw_request *req, bool full)
{
    if (full)
        answer(gw, req, 503, GW_CAUSE_NO_CAPACITY, 1, "every replica is at its max_ongoing_requests");
    else if (req->route->units_wanted == 0)
        answer(gw, req, 503, GW_CAUSE_NO_CAPACITY, 5, "the app is scaled to 0 units");
    else
        answer(gw, req, 503, GW_CAUSE_NO_CAPACITY, 5, "no unit of the app is ready");
}

static void send(struct gw *gw, struct gw_request *req, struct gw_endpoint *e, uint64_t now_ms)
{
    place_take(gw, req, e, now_ms);
    gw_update_add(gw, GW_SEND, req)->endpoint = e;
}

static void send_or_refuse(struct gw *gw, struct gw_request *req, uint64_t now_ms)
{
    struct obstacle why;
    struct gw_endpoint *e = choose(gw, req, now_ms, true, &why);
    if (e != NULL)
        send(gw, req, e, now_ms);
    else
        no_place(gw, req, why.full);
}

/* again_ms: when to look again, though nothing has happened; or A_NEVER. */
static void wait_begin(struct gw *gw, struct gw_request *req, uint64_t again_ms, uint64_t now_ms)
{
    struct gw_route *r = req->route;
    if (r->wait_ms == 0 || gw->n_waiting >= gw->options.max_waiting) {
        send_or_refuse(gw, req, now_ms);
        return;
    }
    req->wait_until_ms = now_ms + r->wait_ms;
    wait_enter(gw, req, req->tries > 0, A_MIN(req->wait_until_ms, again_ms));
    r->waited++;
    gw_update_add(gw, GW_WAIT, req);
}

static void send_or_wait(struct gw *gw, struct gw_request *req, uint64_t now_ms)
{
    struct obstacle why;
    struct gw_endpoint *e = choose(gw, req, now_ms, false, &why);
    if (e != NULL)
        send(gw, req, e, now_ms);
    else
        wait_begin(gw, req, why.again_ms, now_ms);
}

void gw_route_serve_waiting(struct gw *gw, struct gw_route *route, uint64_t now_ms)
{
    while (!a_list_empty(&route->waiting)) {
        struct gw_request *req = a_list_entry(route->waiting.next, struct gw_request, link);
        struct obstacle why;
        struct gw_endpoint *e = choose(gw, req, now_ms, false, &why);
        if (e == NULL)
            return;
        wait_leave(gw, req);
        send(gw, req, e, now_ms);
    }
}

/* A place has become free on `e`. */
static void place_offer(struct gw *gw, struct gw_route *first, uint64_t now_ms)
{
    if (first != NULL)
        gw_route_serve_waiting(gw, first, now_ms);
    a_list_foreach_safe (l, &gw->queued) {
        gw_route_serve_waiting(gw, a_list_entry(l, struct gw_route, queued), now_ms);
    }
}

/* ---- events ---- */

static bool method_is_safe(struct a_view m)
{
    static const char *const methods[] = {"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"};
    for (size_t i = 0; i < A_ARRAY_SIZE(methods); i++)
        if (a_view_is(m, methods[i]))
            return true;
    return false;
}

void gw_request_begin(struct gw *gw, const struct gw_event *e)
{
    struct gw_request *req = e->request;
    a_assert(req->state == GW_REQUEST_IDLE && req->tries == 0);
    req->begun_ms = e->now_ms;
    req->safe_method = method_is_safe(e->method);
    req->route = gw_route_find(gw, e->host, e->path);
    gw_budget_request(&gw->budget, e->now_ms);
    if (req->route == NULL) {
        gw->no_route++;
        answer(gw, req, 404, GW_CAUSE_NONE, 0, "no route has this host and path");
        return;
    }
    req->route->requests++;
    if (e->has_length && req->route->max_body_bytes > 0 && e->length > req->route->max_body_bytes) {
        answer(gw, req, 413, GW_CAUSE_NONE, 0, "the body is larger than the route's maxBody");
        return;
    }
    if (!a_list_empty(&req->route->waiting)) /* 1: nobody overtakes */
        wait_begin(gw, req, A_NEVER, e->now_ms);
    else
        send_or_wait(gw, req, e->now_ms);
}

void gw_endpoint_set_aside(struct gw_endpoint *e, const char *error, uint64_t now_ms)
{
    uint64_t pause = (uint64_t)ASIDE_MIN_MS << A_MIN(e->failures_in_a_row, 7u);
    snprintf(e->error, sizeof e->error, "%s", error);
    e->counts.failed++;
    e->failures_in_a_row++;
    e->failed_at_ms = now_ms;
    e->aside_until_ms = now_ms + A_MIN(pause, (uint64_t)ASIDE_MAX_MS);
    e->reported = false;
}

static void endpoint_blame(struct gw_endpoint *e, enum gw_failure failure, const char *error,
                           uint64_t sent_ms, uint64_t now_ms)
{
    uint64_t pause = (uint64_t)ASIDE_MIN_MS << A_MIN(e->failures_in_a_row, 7u);
    if (failure == GW_FAILURE_LOST || failure == GW_FAILURE_TIMEOUT)
        e->counts.failed++;
    else
        e->counts.refused++;
    e->reported = false;
    snprintf(e->error, sizeof e->error, "%s", error != NULL ? error : "failed");
    if (failure == GW_FAILURE_TIMEOUT)
        return; /* slow is not dead: the app's own timeout is no reason to avoid a replica */
    e->lost = e->lost || failure == GW_FAILURE_LOST;
    if (e->failures_in_a_row > 0 && sent_ms < e->failed_at_ms)
        return; /* all that was in flight when it died is one failure, not many in a row */
    e->failures_in_a_row++;
    e->failed_at_ms = now_ms;
    e->aside_until_ms = now_ms + A_MIN(pause, (uint64_t)ASIDE_MAX_MS);
}

/* 4: may what was (perhaps) received be sent again? */
static bool may_resend(const struct gw *gw, const struct gw_request *req, enum gw_failure failure)
{
    if (gw->options.no_resend || req->route == NULL || !req->replayable || req->tries >= GW_TRIES_MAX ||
        req->lost >= GW_LOST_MAX || failure == GW_FAILURE_TIMEOUT)
        return false;
    bool nothing_done = failure == GW_FAILURE_REFUSED || failure == GW_FAILURE_UNAVAILABLE;
    return nothing_done || req->safe_method || req->route->idempotent;
}

/* 5 */
static bool resend_paid(struct gw *gw, struct gw_request *req, bool dead, uint64_t now_ms)
{
    if (dead && !req->free_resend_used) {
        req->free_resend_used = true;
        return true;
    }
    return gw_budget_take(&gw->budget, now_ms);
}

static void give_up(struct gw *gw, struct gw_request *req, enum gw_failure failure, bool draining)
{
    enum gw_cause cause = draining ? GW_CAUSE_DRAIN : GW_CAUSE_NODE_LOST;
    if (failure == GW_FAILURE_LOST && req->lost >= GW_LOST_MAX)
        answer(gw, req, 502, cause, 0,
               "every replica that got this request was lost: it may be what kills them");
    else if (failure == GW_FAILURE_TIMEOUT)
        answer(gw, req, 504, GW_CAUSE_TIMEOUT, 0, "no answer within the route's timeout");
    else if (failure == GW_FAILURE_UNAVAILABLE)
        answer(gw, req, 503, cause, 1, "the replica does not take requests");
    else if (failure == GW_FAILURE_REFUSED)
        answer(gw, req, 502, cause, 1, "the replica refused the connection");
    else
        answer(gw, req, 502, cause, 0,
               "the connection to the replica was lost; the request may have been executed");
}

static void resend(struct gw *gw, struct gw_request *req, struct gw_endpoint *from, uint64_t now_ms)
{
    from->counts.resent++;
    from->reported = false;
    req->route->retried++;
    send_or_wait(gw, req, now_ms);
}

/* 10: many requests are lost at once when a busy replica dies, and the budget pays for a few. The others wait
 * for the verdict on the endpoint: when it is dead they are free. */
static void hold(struct gw *gw, struct gw_request *req, struct gw_endpoint *at, uint64_t now_ms)
{
    a_list_push_back(&at->held, &req->link);
    a_heap_set(&gw->timers, &req->timer, now_ms + GW_VERDICT_MS);
    req->endpoint = at;
    req->state = GW_REQUEST_HELD;
    gw->n_waiting++;
    gw_update_add(gw, GW_WAIT, req);
}

static void hold_end(struct gw *gw, struct gw_request *req)
{
    a_list_remove(&req->link);
    a_heap_remove(&gw->timers, &req->timer);
    req->endpoint = NULL;
    req->state = GW_REQUEST_IDLE;
    gw->n_waiting--;
}

static void held_release(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms)
{
    while (!a_list_empty(&e->held)) {
        struct gw_request *req = a_list_entry(e->held.next, struct gw_request, link);
        hold_end(gw, req);
        req->free_resend_used = true;
        if (req->route != NULL)
            resend(gw, req, e, now_ms);
        else
            give_up(gw, req, GW_FAILURE_LOST, false);
    }
}

static void resend_or_give_up(struct gw *gw, struct gw_request *req, struct gw_endpoint *from,
                              enum gw_failure failure, bool gone, uint64_t now_ms)
{
    bool dead = gone || from->state == WIRE_SL_ENDPOINT_DEAD;
    bool draining = from->state == WIRE_SL_ENDPOINT_DRAINING;
    if (gone)
        held_release(gw, from, now_ms);
    if (!may_resend(gw, req, failure))
        give_up(gw, req, failure, draining);
    else if (resend_paid(gw, req, dead, now_ms))
        resend(gw, req, from, now_ms);
    else if (failure == GW_FAILURE_LOST && !dead && !req->free_resend_used &&
             gw->n_waiting < gw->options.max_waiting)
        hold(gw, req, from, now_ms);
    else
        give_up(gw, req, failure, draining);
}

void gw_request_failed(struct gw *gw, const struct gw_event *e)
{
    struct gw_request *req = e->request;
    struct gw_endpoint *from = req->endpoint;
    bool committed = req->state == GW_REQUEST_COMMITTED;
    if (!committed && req->state != GW_REQUEST_SENT)
        return; /* its attempt was dropped before: ABORT and failure crossed */
    bool lost_before = from->lost;
    req->lost += e->failure == GW_FAILURE_LOST && !was_tried(req, from, req->tries - 1);
    if (from->state != WIRE_SL_ENDPOINT_DEAD)
        endpoint_blame(from, e->failure, e->error, req->sent_ms, e->now_ms);
    place_release(gw, req);
    struct gw_route *route = req->route;
    if (committed) {
        req->state = GW_REQUEST_ANSWERED; /* 3: the client saw a part of the answer */
        if (route != NULL)
            route->by_cause[e->failure == GW_FAILURE_TIMEOUT ? GW_CAUSE_TIMEOUT : GW_CAUSE_NODE_LOST]++;
    } else {
        req->state = GW_REQUEST_IDLE;
        /* who broke its connections and now refuses new ones is dead, whoever else knows it */
        bool gone = lost_before && e->failure == GW_FAILURE_REFUSED;
        resend_or_give_up(gw, req, from, e->failure, gone, e->now_ms);
    }
    place_offer(gw, route, e->now_ms);
}

void gw_request_committed(struct gw *gw, const struct gw_event *e)
{
    struct gw_request *req = e->request;
    a_assert(req->state == GW_REQUEST_SENT);
    req->state = GW_REQUEST_COMMITTED;
    gw_stall_answered(req->route, req->endpoint, e->latency_us, e->now_ms);
    req->stream = e->stream;
    gw_drain_arm(gw, req->endpoint);
    req->endpoint->failures_in_a_row = 0;
    req->endpoint->lost = false;
    req->endpoint->aside_until_ms = 0;
    req->endpoint->counts.latency_us_sum += e->latency_us;
    a_latency_add(&req->endpoint->counts.latency, e->latency_us);
}

void gw_request_done(struct gw *gw, const struct gw_event *e)
{
    struct gw_request *req = e->request;
    struct gw_route *route = req->route;
    if (req->state == GW_REQUEST_WAITING)
        wait_leave(gw, req);
    if (req->state == GW_REQUEST_HELD)
        hold_end(gw, req);
    if (req->state == GW_REQUEST_SENT || req->state == GW_REQUEST_COMMITTED) {
        struct gw_endpoint *from = req->endpoint;
        if (e->ok)
            from->counts.ok++;
        if (e->ok && route != NULL)
            route->by_cause[GW_CAUSE_NONE]++;
        place_release(gw, req);
        place_offer(gw, route, e->now_ms);
    }
    req->state = GW_REQUEST_IDLE;
    req->route = NULL;
}

/* The pause of an endpoint that it may go back to is over. */
static void wait_go_on(struct gw *gw, struct gw_request *req, uint64_t now_ms)
{
    struct obstacle why;
    struct gw_endpoint *e = choose(gw, req, now_ms, false, &why);
    if (e != NULL)
        send(gw, req, e, now_ms);
    else
        wait_enter(gw, req, true, A_MIN(req->wait_until_ms, why.again_ms));
}

void gw_requests_expire(struct gw *gw, uint64_t now_ms)
{
    for (struct a_timer *t; (t = a_heap_pop(&gw->timers, now_ms)) != NULL;) {
        struct gw_request *req = A_CONTAINER_OF(t, struct gw_request, timer);
        if (req->state == GW_REQUEST_HELD) {
            hold_end(gw, req);
            give_up(gw, req, GW_FAILURE_LOST, false);
            continue;
        }
        struct gw_route *route = req->route;
        wait_leave(gw, req);
        if (now_ms < req->wait_until_ms)
            wait_go_on(gw, req, now_ms);
        else
            send_or_refuse(gw, req, now_ms);
        gw_route_serve_waiting(gw, route, now_ms);
    }
}

void gw_endpoint_abandon(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms)
{
    held_release(gw, e, now_ms);
    a_list_foreach_safe (l, &e->requests) {
        struct gw_request *req = a_list_entry(l, struct gw_request, link);
        if (req->state != GW_REQUEST_SENT || !may_resend(gw, req, GW_FAILURE_LOST))
            continue; /* committed, or not to be repeated: its own connection tells how it ends */
        gw_update_add(gw, GW_ABORT, req);
        req->lost += !was_tried(req, e, req->tries - 1);
        place_release(gw, req);
        req->state = GW_REQUEST_IDLE;
        resend_or_give_up(gw, req, e, GW_FAILURE_LOST, false, now_ms);
    }
}

/* 12: to begin anew with less time than it has had makes a failure of what is only slow. */
static bool has_half_its_time(const struct gw_request *req, uint64_t now_ms)
{
    uint64_t timeout_ms = req->route->timeout_ms;
    return timeout_ms == 0 || now_ms - req->begun_ms <= timeout_ms / 2;
}

void gw_stuck_resend(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms)
{
    a_list_foreach_safe (l, &e->requests) {
        struct gw_request *req = a_list_entry(l, struct gw_request, link);
        if (req->state != GW_REQUEST_SENT || now_ms - req->sent_ms < gw_stall_limit(req->route) ||
            req->stall_resend_used || !may_resend(gw, req, GW_FAILURE_LOST) ||
            !has_half_its_time(req, now_ms) || !gw_budget_take(&gw->budget, now_ms))
            continue;
        req->stall_resend_used = true;
        gw_update_add(gw, GW_ABORT, req);
        place_release(gw, req);
        req->state = GW_REQUEST_IDLE;
        resend(gw, req, e, now_ms);
    }
}

void gw_request_cut(struct gw *gw, struct gw_request *req, uint64_t now_ms)
{
    struct gw_endpoint *from = req->endpoint;
    bool committed = req->state == GW_REQUEST_COMMITTED;
    gw_update_add(gw, committed ? GW_CUT : GW_ABORT, req);
    place_release(gw, req);
    req->state = committed ? GW_REQUEST_ANSWERED : GW_REQUEST_IDLE;
    if (committed && req->route != NULL)
        req->route->by_cause[GW_CAUSE_DRAIN]++;
    if (committed)
        return;
    if (may_resend(gw, req, GW_FAILURE_LOST) && resend_paid(gw, req, true, now_ms))
        resend(gw, req, from, now_ms);
    else
        answer(gw, req, 503, GW_CAUSE_DRAIN, 1,
               "its unit was drained before it answered; the request may have been executed");
}

static void requests_forget(struct a_list *requests, const struct gw_route *route)
{
    a_list_foreach (l, requests) {
        struct gw_request *req = a_list_entry(l, struct gw_request, link);
        if (req->route == route)
            req->route = NULL;
    }
}

void gw_route_abandon(struct gw *gw, struct gw_route *route)
{
    while (!a_list_empty(&route->waiting)) {
        struct gw_request *req = a_list_entry(route->waiting.next, struct gw_request, link);
        wait_leave(gw, req);
        answer(gw, req, 503, GW_CAUSE_NONE, 1, "the route was removed");
        req->route = NULL;
    }
    a_map_foreach (link, &gw->endpoints) {
        struct gw_endpoint *e = a_map_entry(link, struct gw_endpoint, by_id);
        requests_forget(&e->requests, route);
        requests_forget(&e->held, route);
    }
}
