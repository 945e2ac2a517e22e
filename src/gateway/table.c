/* Routes and endpoints, as the view brings them. An endpoint serves every route of its application; routes
 * keep a plain array of their endpoints, so that a pick walks memory in order. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "gateway/core.h"
#include "gateway/policy/policy.h"

static bool serves(const struct gw_endpoint *e, const struct gw_route *r)
{
    return a_app_ref_equal(&e->app, &r->app) && strcmp(e->application, r->application) == 0;
}

static void route_link(struct gw_route *r, struct gw_endpoint *e)
{
    if (r->n_endpoints == r->cap_endpoints) {
        r->cap_endpoints = r->cap_endpoints == 0 ? 4 : r->cap_endpoints * 2;
        r->endpoints = a_realloc(r->endpoints, r->cap_endpoints * sizeof(struct gw_endpoint *));
    }
    r->endpoints[r->n_endpoints++] = e;
}

static void route_unlink(struct gw_route *r, const struct gw_endpoint *e)
{
    for (size_t i = 0; i < r->n_endpoints; i++) {
        if (r->endpoints[i] == e) {
            r->endpoints[i] = r->endpoints[--r->n_endpoints];
            return;
        }
    }
}

struct gw_route *gw_route_next(struct gw *gw, struct gw_route *prev)
{
    struct a_map_link *l = a_map_next(&gw->routes, prev != NULL ? &prev->by_id : NULL);
    return l != NULL ? a_map_entry(l, struct gw_route, by_id) : NULL;
}

struct gw_endpoint *gw_endpoint_next(struct gw *gw, struct gw_endpoint *prev)
{
    struct a_map_link *l = a_map_next(&gw->endpoints, prev != NULL ? &prev->by_id : NULL);
    return l != NULL ? a_map_entry(l, struct gw_endpoint, by_id) : NULL;
}

static struct gw_route *route_get(const struct gw *gw, struct a_view id)
{
    struct a_map_link *l = a_map_get(&gw->routes, id.ptr, id.len);
    return l != NULL ? a_map_entry(l, struct gw_route, by_id) : NULL;
}

struct gw_endpoint *gw_endpoint_find(struct gw *gw, struct a_view id)
{
    struct a_map_link *l = a_map_get(&gw->endpoints, id.ptr, id.len);
    return l != NULL ? a_map_entry(l, struct gw_endpoint, by_id) : NULL;
}

/* ---- routes ---- */

static void route_place(struct gw *gw, struct gw_route *r, const struct wire_sl_route *m)
{
    A_BUF_AUTO struct a_buf place = {0};
    a_buf_add_view(&place, m->host);
    a_buf_add_char(&place, '\0');
    r->host_len = m->host.len;
    r->prefix_len = m->prefix.len;
    while (r->prefix_len > 0 && m->prefix.ptr[r->prefix_len - 1] == '/')
        r->prefix_len--; /* "/" and "/ocr/" are "" and "/ocr": a prefix ends at a '/' or at the path's end */
    gw->prefix_max = A_MAX(gw->prefix_max, r->prefix_len);
    a_buf_add(&place, m->prefix.ptr, r->prefix_len);
    size_t len = place.len;
    r->place = a_buf_steal(&place);
    r->prefix = r->place + r->host_len + 1;
    /* two apps with one place: the first keeps it, the second waits for it to be gone */
    if (a_map_get(&gw->places, r->place, len) == NULL)
        a_map_put(&gw->places, &r->by_place, r->place, len);
}

static bool route_is_placed(const struct gw *gw, const struct gw_route *r)
{
    return a_map_get(&gw->places, r->place, r->host_len + 1 + r->prefix_len) == &r->by_place;
}

/* Gives the place of `r` up, to another route that wants the same one. */
static void route_displace(struct gw *gw, struct gw_route *r)
{
    size_t len = r->host_len + 1 + r->prefix_len;
    if (!route_is_placed(gw, r))
        return;
    a_map_remove(&gw->places, &r->by_place);
    a_map_foreach (l, &gw->routes) {
        struct gw_route *other = a_map_entry(l, struct gw_route, by_id);
        if (other != r && other->host_len == r->host_len && other->prefix_len == r->prefix_len &&
            memcmp(other->place, r->place, len) == 0) {
            a_map_put(&gw->places, &other->by_place, other->place, len);
            return;
        }
    }
}

static void route_settings(struct gw_route *r, const struct wire_sl_route *m)
{
    a_free(r->rewrite);
    r->rewrite = m->has_rewrite ? a_view_dup(m->rewrite) : NULL;
    r->timeout_ms = m->timeout_ms;
    r->idle_ms = m->idle_ms;
    r->wait_ms = m->wait_ms;
    r->max_body_bytes = m->max_body_bytes;
    r->retry_body_bytes = m->retry_body_bytes;
    r->max_ongoing = m->max_ongoing;
    r->units_wanted = m->units_wanted;
    r->idempotent = m->idempotent;
    r->policy = gw_policy_find(m->policy.ptr, m->policy.len);
    if (r->policy == NULL)
        r->policy = &gw_policy_least; /* a server newer than this gateway: serve all the same */
    r->marked = true;
}

static void route_free(struct gw *gw, struct gw_route *r)
{
    gw_route_abandon(gw, r);
    route_displace(gw, r);
    a_map_remove(&gw->routes, &r->by_id);
    a_free(r->id);
    a_free(r->place);
    a_free(r->rewrite);
    a_free(r->application);
    a_free(r->endpoints);
    a_free(r);
}

static struct gw_route *route_new(struct gw *gw, const struct wire_sl_route *m)
{
    struct gw_route *r = a_new(struct gw_route);
    r->id = a_view_dup(m->id);
    r->app = m->app;
    r->application = a_view_dup(m->application);
    a_list_init(&r->waiting);
    a_map_put(&gw->routes, &r->by_id, r->id, m->id.len);
    route_place(gw, r, m);
    a_map_foreach (l, &gw->endpoints) {
        struct gw_endpoint *e = a_map_entry(l, struct gw_endpoint, by_id);
        if (serves(e, r))
            route_link(r, e);
    }
    return r;
}

/* Where a route lies and what it serves make it another route, even under the same id. */
static bool route_is_same(const struct gw_route *r, const struct wire_sl_route *m)
{
    struct a_view prefix = m->prefix;
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    return a_view_equal(m->host, (struct a_view){r->place, r->host_len}) &&
           a_view_equal(prefix, (struct a_view){r->prefix, r->prefix_len}) &&
           a_view_is(m->application, r->application) && a_app_ref_equal(&m->app, &r->app);
}

void gw_route_set(struct gw *gw, const struct wire_sl_route *m)
{
    struct gw_route *r = route_get(gw, m->id);
    if (r != NULL && !route_is_same(r, m)) {
        route_free(gw, r);
        r = NULL;
    }
    if (r == NULL)
        r = route_new(gw, m);
    route_settings(r, m);
}

void gw_route_gone(struct gw *gw, struct a_view id)
{
    struct gw_route *r = route_get(gw, id);
    if (r != NULL)
        route_free(gw, r);
}

static struct gw_route *place_get(struct gw *gw, struct a_buf *key, size_t len)
{
    struct a_map_link *l = a_map_get(&gw->places, key->ptr, len);
    return l != NULL ? a_map_entry(l, struct gw_route, by_place) : NULL;
}

/* Longest prefix first: the path cut at each '/' from its end. What lies behind the longest prefix of all
 * does not matter, so that a path of many slashes costs no more than a route's. */
static struct gw_route *find_below_host(struct gw *gw, struct a_view host, struct a_view path)
{
    struct a_buf *key = &gw->key;
    a_buf_reset(key);
    a_buf_add_view(key, host);
    a_buf_add_char(key, '\0');
    size_t base = key->len;
    a_buf_add(key, path.ptr, A_MIN(path.len, gw->prefix_max + 1));
    struct gw_route *r = place_get(gw, key, key->len);
    for (size_t i = key->len; r == NULL && i-- > base;)
        if (key->ptr[i] == '/')
            r = place_get(gw, key, i);
    return r;
}

struct gw_route *gw_route_find(struct gw *gw, struct a_view host, struct a_view path)
{
    struct gw_route *r = find_below_host(gw, host, path);
    return r != NULL ? r : find_below_host(gw, A_VIEW_LIT("*"), path);
}

/* ---- endpoints ---- */

static struct gw_endpoint *endpoint_new(struct gw *gw, const struct wire_sl_endpoint *m)
{
    struct gw_endpoint *e = a_new(struct gw_endpoint);
    e->id = a_view_dup(m->id);
    e->application = a_view_dup(m->application);
    e->name = a_view_dup(m->name);
    e->app = m->app;
    e->unit = m->unit;
    e->node = m->node;
    size_t n = A_MIN(m->ip.len, sizeof e->ip - 1);
    memcpy(e->ip, m->ip.ptr, n);
    e->port = m->port;
    e->state = WIRE_SL_ENDPOINT_UP;
    e->reported = true;
    a_list_init(&e->requests);
    a_list_init(&e->held);
    a_map_put(&gw->endpoints, &e->by_id, e->id, m->id.len);
    a_map_foreach (l, &gw->routes) {
        struct gw_route *r = a_map_entry(l, struct gw_route, by_id);
        if (serves(e, r))
            route_link(r, e);
    }
    return e;
}

static void endpoint_serve_waiting(struct gw *gw, const struct gw_endpoint *e, uint64_t now_ms)
{
    a_map_foreach (l, &gw->routes) {
        struct gw_route *r = a_map_entry(l, struct gw_route, by_id);
        if (serves(e, r))
            gw_route_serve_waiting(gw, r, now_ms);
    }
}

static void endpoint_set_gone(struct gw *gw, struct gw_endpoint *e, bool gone)
{
    gw->n_gone += gone ? 1 : 0;
    gw->n_gone -= e->gone ? 1 : 0;
    e->gone = gone;
}

/* What follows for requests from the state that it is in now. */
static void endpoint_settle(struct gw *gw, struct gw_endpoint *e, uint64_t now_ms)
{
    e->changed = false;
    if (e->state == WIRE_SL_ENDPOINT_DEAD)
        gw_endpoint_abandon(gw, e, now_ms);
    if (e->state == WIRE_SL_ENDPOINT_DRAINING)
        gw_endpoint_check_drained(gw, e);
    if (e->state == WIRE_SL_ENDPOINT_UP)
        endpoint_serve_waiting(gw, e, now_ms);
}

void gw_endpoint_set(struct gw *gw, const struct wire_sl_endpoint *m, uint64_t now_ms)
{
    struct gw_endpoint *e = gw_endpoint_find(gw, m->id);
    if (e == NULL)
        e = endpoint_new(gw, m);
    e->proxy = m->proxy;
    e->max_ongoing = m->max_ongoing;
    e->weight = m->weight != 0 ? m->weight : 100;
    e->marked = true;
    bool was_up = e->state == WIRE_SL_ENDPOINT_UP, drained = e->state == WIRE_SL_ENDPOINT_DRAINING;
    e->state = m->state;
    if (m->state == WIRE_SL_ENDPOINT_UP && !was_up) {
        e->drain_told = false;
        e->aside_until_ms = 0;
        e->failures_in_a_row = 0;
        e->lost = false;
    }
    e->changed = true;
    endpoint_set_gone(gw, e, false);
    if (m->state == WIRE_SL_ENDPOINT_DRAINING && !drained)
        gw_drain_begin(gw, e, m, now_ms);
    if (m->state != WIRE_SL_ENDPOINT_DRAINING)
        gw_drain_end(gw, e);
    if (!gw->in_view)
        endpoint_settle(gw, e, now_ms);
}

static void endpoint_free(struct gw *gw, struct gw_endpoint *e)
{
    a_map_foreach (l, &gw->routes) {
        route_unlink(a_map_entry(l, struct gw_route, by_id), e);
    }
    a_map_remove(&gw->endpoints, &e->by_id);
    a_heap_remove(&gw->stalls, &e->stall);
    gw_drain_end(gw, e);
    a_free(e->id);
    a_free(e->application);
    a_free(e->name);
    a_free(e);
}

void gw_endpoints_bury(struct gw *gw)
{
    if (gw->n_gone == 0 || gw->in_view)
        return;
    a_map_foreach (l, &gw->endpoints) {
        struct gw_endpoint *e = a_map_entry(l, struct gw_endpoint, by_id);
        if (e->gone && e->in_flight == 0) {
            gw->n_gone--;
            endpoint_free(gw, e);
        }
    }
}

void gw_endpoint_gone(struct gw *gw, struct a_view id, uint64_t now_ms)
{
    struct gw_endpoint *e = gw_endpoint_find(gw, id);
    if (e == NULL || e->gone)
        return;
    e->state = WIRE_SL_ENDPOINT_DEAD;
    e->changed = true;
    gw_drain_end(gw, e);
    endpoint_set_gone(gw, e, true);
    if (!gw->in_view)
        endpoint_settle(gw, e, now_ms);
}

/* ---- views ---- */

void gw_view_begin(struct gw *gw, bool snapshot)
{
    gw->in_view = true;
    gw->in_snapshot = snapshot;
    if (!snapshot)
        return;
    a_map_foreach (l, &gw->routes) {
        a_map_entry(l, struct gw_route, by_id)->marked = false;
    }
    a_map_foreach (l, &gw->endpoints) {
        a_map_entry(l, struct gw_endpoint, by_id)->marked = false;
    }
}

/* Those that are dead first, so that what leaves them finds the others as they are now: nothing is sent to an
 * endpoint that the same view takes away. */
static void endpoints_settle(struct gw *gw, uint64_t now_ms)
{
    for (int dead = 1; dead >= 0; dead--) {
        a_map_foreach (l, &gw->endpoints) {
            struct gw_endpoint *e = a_map_entry(l, struct gw_endpoint, by_id);
            if (e->changed && (e->state == WIRE_SL_ENDPOINT_DEAD) == (dead == 1))
                endpoint_settle(gw, e, now_ms);
        }
    }
}

/* After a snapshot: what it did not name is gone. */
void gw_view_end(struct gw *gw, uint64_t now_ms)
{
    if (!gw->in_view)
        return;
    a_map_foreach (l, &gw->endpoints) {
        struct gw_endpoint *e = a_map_entry(l, struct gw_endpoint, by_id);
        if (gw->in_snapshot && !e->marked)
            gw_endpoint_gone(gw, a_view_str(e->id), now_ms);
    }
    gw->in_view = false;
    endpoints_settle(gw, now_ms);
    a_map_foreach (l, &gw->routes) {
        struct gw_route *r = a_map_entry(l, struct gw_route, by_id);
        if (gw->in_snapshot && !r->marked)
            route_free(gw, r);
    }
    gw->in_snapshot = false;
}

void gw_endpoint_reported(struct gw_endpoint *e)
{
    e->counts = (struct gw_counts){0};
    e->reported = true;
}
