/* A worker: carries the core's updates out one after the other, keeps time, and hands over what it counted.
 */
#include "daemon/gateway/worker.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/env.h"
#include "sys/log.h"
#include "sys/random.h"

#define TICK_MS 250 /* the access log's longest delay */
#define TICKS_A_SECOND (1000 / TICK_MS)
#define SPARES_MAX 256 /* clients and connections kept for the next ones */

/* ---- objects that come and go ---- */

struct d_gw_upstream *d_gw_worker_new_upstream(struct d_gw_worker *w)
{
    struct a_list *l = a_list_pop_front(&w->spare_upstreams);
    if (l == NULL)
        return a_new(struct d_gw_upstream);
    w->n_spare_upstreams--;
    return a_list_entry(l, struct d_gw_upstream, link);
}

static void client_free(struct d_gw_client *c)
{
    a_buf_deinit(&c->in);
    a_buf_deinit(&c->x.head);
    a_buf_deinit(&c->x.body);
    a_buf_deinit(&c->x.out);
    a_buf_deinit(&c->x.note);
    a_buf_deinit(&c->x.earlier);
    a_free(c);
}

static void upstream_free(struct d_gw_upstream *u)
{
    a_buf_deinit(&u->in);
    a_free(u);
}

static void bury(void *ctx)
{
    struct d_gw_worker *w = ctx;
    for (struct a_list *l; (l = a_list_pop_front(&w->dead_clients)) != NULL;) {
        if (w->n_spare_clients < SPARES_MAX) {
            a_list_push_front(&w->spare_clients, l);
            w->n_spare_clients++;
        } else {
            client_free(a_list_entry(l, struct d_gw_client, link));
        }
    }
    for (struct a_list *l; (l = a_list_pop_front(&w->dead_upstreams)) != NULL;) {
        struct d_gw_upstream *u = a_list_entry(l, struct d_gw_upstream, link);
        struct a_buf in = u->in;
        *u = (struct d_gw_upstream){.in = in};
        if (w->n_spare_upstreams < SPARES_MAX) {
            a_list_push_front(&w->spare_upstreams, &u->link);
            w->n_spare_upstreams++;
        } else {
            upstream_free(u);
        }
    }
    if (w->draining && w->drained != NULL && a_list_empty(&w->clients)) {
        void (*drained)(void *) = w->drained;
        w->drained = NULL;
        drained(w->drained_ctx);
    }
}

void d_gw_worker_bury_client(struct d_gw_worker *w, struct d_gw_client *c)
{
    a_list_remove(&c->link);
    a_list_push_back(&w->dead_clients, &c->link);
    sys_defer_call(w->loop, &w->bury, bury, w);
}

void d_gw_worker_bury_upstream(struct d_gw_worker *w, struct d_gw_upstream *u)
{
    a_list_remove(&u->link);
    a_list_push_back(&w->dead_upstreams, &u->link);
    sys_defer_call(w->loop, &w->bury, bury, w);
}

/* ---- the core ---- */

void d_gw_worker_enqueue(struct d_gw_worker *w, const struct gw_event *e)
{
    const struct gw_update *updates;
    size_t n;
    gw_step(&w->core, e, &updates, &n);
    if (w->n_updates + n > w->cap_updates) {
        w->cap_updates = A_MAX(w->cap_updates * 2, w->n_updates + n + 16);
        w->updates = a_realloc(w->updates, w->cap_updates * sizeof *w->updates);
    }
    if (n > 0)
        memcpy(w->updates + w->n_updates, updates, n * sizeof *updates);
    w->n_updates += n;
}

static void update_carry_out(struct d_gw_worker *w, const struct gw_update *u)
{
    if (u->type == GW_DRAINED)
        d_gw_worker_urge(w);
    else if (u->request != NULL)
        d_gw_exchange_update(d_gw_exchange_client(u->request), u);
}

/* One after the other: what an update causes is put behind those that wait. */
void d_gw_worker_carry_out(struct d_gw_worker *w)
{
    if (w->carrying_out)
        return;
    w->carrying_out = true;
    while (w->next_update < w->n_updates) {
        struct gw_update u = w->updates[w->next_update++];
        update_carry_out(w, &u);
    }
    w->n_updates = w->next_update = 0;
    w->carrying_out = false;
}

void d_gw_worker_step(struct d_gw_worker *w, const struct gw_event *e)
{
    d_gw_worker_enqueue(w, e);
    d_gw_worker_carry_out(w);
}

void d_gw_worker_forget(struct d_gw_worker *w, const struct gw_request *request)
{
    for (size_t i = w->next_update; i < w->n_updates; i++)
        if (w->updates[i].request == request)
            w->updates[i].request = NULL;
}

static void core_due(void *ctx)
{
    struct d_gw_worker *w = ctx;
    d_gw_worker_step(w, &(struct gw_event){.type = GW_TIME, .now_ms = sys_loop_now_ms(w->loop)});
}

static void round_end(void *ctx)
{
    struct d_gw_worker *w = ctx;
    uint64_t due = gw_deadline(&w->core);
    if (due != (sys_timer_is_set(&w->core_timer) ? w->core_timer.node.at_ms : A_NEVER))
        sys_timer_set_at(&w->core_timer, due);
}

/* ---- reports ---- */

static void part_add_endpoint(struct d_gw_part *p, struct gw_endpoint *e)
{
    struct d_gw_part_endpoint *row = &p->endpoints[p->n_endpoints];
    *row = (struct d_gw_part_endpoint){
        .unit = e->unit,
        .in_flight = e->in_flight,
        .ok = e->counts.ok,
        .failed = e->counts.failed,
        .refused = e->counts.refused,
        .resent = e->counts.resent,
        .latency_us_sum = e->counts.latency_us_sum,
        .latency = e->counts.latency,
    };
    if (row->failed + row->refused > 0)
        memcpy(row->error, e->error, sizeof row->error);
    row->id = a_strdup(e->id);
    p->n_endpoints++;
    gw_endpoint_reported(e);
}

static void part_endpoints(struct d_gw_worker *w, struct d_gw_part *p)
{
    size_t n = 0;
    for (struct gw_endpoint *e = NULL; (e = gw_endpoint_next(&w->core, e)) != NULL;)
        n += !e->reported;
    if (n == 0)
        return;
    p->endpoints = a_alloc_array(n, sizeof *p->endpoints);
    for (struct gw_endpoint *e = NULL; (e = gw_endpoint_next(&w->core, e)) != NULL;)
        if (!e->reported)
            part_add_endpoint(p, e);
}

static void part_apps(struct d_gw_worker *w, struct d_gw_part *p)
{
    p->apps = a_alloc_array(w->apps.len, sizeof *p->apps);
    a_map_foreach (l, &w->apps) {
        struct d_gw_app *a = a_map_entry(l, struct d_gw_app, by_key);
        if (!a->changed)
            continue;
        p->apps[p->n_apps++] = *a;
        d_gw_app_reset(a);
    }
}

void d_gw_worker_report(struct d_gw_worker *w)
{
    struct d_gw_part *p = a_new(struct d_gw_part);
    p->worker = w->index;
    p->applied = w->applied;
    p->urgent = w->urgent;
    w->urgent = false;
    part_endpoints(w, p);
    part_apps(w, p);
    w->totals.log_dropped = w->access.dropped;
    w->totals.stalled = w->core.stalled;
    p->totals = w->totals;
    w->part_ready(w->part_ctx, p);
}

static void report_now(void *ctx)
{
    d_gw_worker_report(ctx);
}

void d_gw_worker_urge(struct d_gw_worker *w)
{
    w->urgent = true;
    sys_defer_call(w->loop, &w->report, report_now, w);
}

static void tick(void *ctx)
{
    struct d_gw_worker *w = ctx;
    sys_timer_set_in(&w->tick, TICK_MS);
    d_gw_access_flush(&w->access);
    if (++w->ticks % TICKS_A_SECOND == 0) {
        d_gw_upstreams_sweep(w);
        d_gw_worker_report(w);
    }
}

/* ---- the view ---- */

/* Each worker takes its share of an endpoint's places, at least one: with one worker the cap is exact. */
static uint32_t share(const struct d_gw_worker *w, uint32_t cap)
{
    if (cap == 0)
        return 0;
    return A_MAX(cap / w->count + (w->index < cap % w->count ? 1u : 0u), 1u);
}

static void message_apply(struct d_gw_worker *w, struct wire_sl_message *m)
{
    struct gw_event e = {.now_ms = sys_loop_now_ms(w->loop)};
    switch (m->type) {
    case WIRE_SL_T_VIEW_BEGIN:
        e.type = GW_VIEW_BEGIN;
        e.snapshot = m->view_begin.snapshot;
        break;
    case WIRE_SL_T_ROUTE:
        m->route.max_ongoing = share(w, m->route.max_ongoing);
        e.type = GW_ROUTE;
        e.route = &m->route;
        break;
    case WIRE_SL_T_ROUTE_GONE:
        e.type = GW_ROUTE_GONE;
        e.id = m->route_gone.id;
        break;
    case WIRE_SL_T_ENDPOINT:
        m->endpoint.max_ongoing = share(w, m->endpoint.max_ongoing);
        e.type = GW_ENDPOINT;
        e.endpoint = &m->endpoint;
        break;
    case WIRE_SL_T_ENDPOINT_GONE:
        e.type = GW_ENDPOINT_GONE;
        e.id = m->endpoint_gone.id;
        break;
    case WIRE_SL_T_VIEW_END:
        e.type = GW_VIEW_END;
        break;
    default:
        return;
    }
    d_gw_worker_step(w, &e);
}

void d_gw_worker_apply(struct d_gw_worker *w, struct a_view frames)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    while (frames.len > 0) {
        struct wire_sl_frame frame;
        struct wire_sl_message m;
        if (wire_sl_frame_parse(frames, &frame, NULL) != 0)
            break;
        if (wire_sl_decode(&frame, &arena, &m, NULL) == 0)
            message_apply(w, &m);
        a_arena_reset(&arena);
        frames.ptr += frame.size;
        frames.len -= frame.size;
    }
    d_gw_replicas_keep(w);
    w->applied++;
    d_gw_worker_report(w);
}

/* ---- life ---- */

void d_gw_worker_init(struct d_gw_worker *w, struct sys_loop *loop, unsigned index, unsigned count,
                      const struct d_gw_options *options, struct d_gw_access_log *log)
{
    *w = (struct d_gw_worker){.loop = loop, .index = index, .count = count, .options = options};
    gw_init(&w->core, &(struct gw_options){.seed = sys_random_seed(),
                                           .no_resend = !options->resend,
                                           .max_waiting = (uint32_t)A_MAX(options->max_waiting / count, 1u)});
    a_random_init(&w->random, sys_random_seed());
    a_list_init(&w->clients);
    a_list_init(&w->spare_clients);
    a_list_init(&w->spare_upstreams);
    a_list_init(&w->dead_clients);
    a_list_init(&w->dead_upstreams);
    w->networks.seed = w->replicas.seed = w->apps.seed = sys_random_seed();
    w->max_clients = A_MAX(options->max_connections / count, 1u);
    w->max_replay = options->replay_bytes / count;
    w->access = (struct d_gw_access_buffer){.log = log, .loop = loop};
    sys_timer_init(&w->core_timer, loop, core_due, w);
    sys_timer_init(&w->tick, loop, tick, w);
    sys_timer_set_in(&w->tick, TICK_MS);
    sys_round_add(loop, &w->round, round_end, w);
}

static void accepted(void *ctx, struct net_stream *stream)
{
    d_gw_client_accept(ctx, stream);
}

static void handshake_failed(void *ctx, enum net_refusal refusal, const char *peer, const char *why)
{
    struct d_gw_worker *w = ctx;
    w->totals.handshakes_failed++;
    sys_log(INFO, "gateway", "gateway.handshake", "a client did not get through the TLS handshake",
            SYS_STR("client", peer), SYS_STR("reason", net_refusal_name(refusal)), SYS_STR("why", why));
}

int d_gw_worker_listen(struct d_gw_worker *w, const struct sys_addr *addr, struct net_tls *tls,
                       struct sys_addr *ret_addr, struct a_error *reterr)
{
    static const struct net_listener_ops ops = {.accept = accepted, .refused = handshake_failed};
    /* Shared among our own threads only: a second gateway must not slip in on the same port. */
    struct sys_listen_options o = {.reuse_port = w->count > 1};
    int rc = net_listener_open(w->loop, addr, &o, tls, &ops, w, &w->listener, reterr);
    if (rc == 0)
        net_listener_addr(w->listener, ret_addr);
    return rc;
}

void d_gw_worker_set_tls(struct d_gw_worker *w, struct net_tls *tls)
{
    if (w->listener != NULL)
        net_listener_set_tls(w->listener, tls);
}

void d_gw_worker_drain(struct d_gw_worker *w, void (*drained)(void *ctx), void *ctx)
{
    w->draining = true;
    w->drained = drained;
    w->drained_ctx = ctx;
    net_listener_close(a_steal(&w->listener));
    a_list_foreach_safe (l, &w->clients) {
        struct d_gw_client *c = a_list_entry(l, struct d_gw_client, link);
        if (!c->x.active && !c->in_head)
            d_gw_client_close(c);
    }
    sys_defer_call(w->loop, &w->bury, bury, w);
}

static void lists_free(struct d_gw_worker *w)
{
    bury(w);
    for (struct a_list *l; (l = a_list_pop_front(&w->spare_clients)) != NULL;)
        client_free(a_list_entry(l, struct d_gw_client, link));
    for (struct a_list *l; (l = a_list_pop_front(&w->spare_upstreams)) != NULL;)
        upstream_free(a_list_entry(l, struct d_gw_upstream, link));
}

static void replicas_free(struct d_gw_worker *w)
{
    a_map_foreach (l, &w->replicas) {
        struct d_gw_replica *r = a_map_entry(l, struct d_gw_replica, by_address);
        while (!a_list_empty(&r->idle))
            d_gw_upstream_close(a_list_entry(r->idle.next, struct d_gw_upstream, link));
        a_map_remove(&w->replicas, &r->by_address);
        a_free(r);
    }
    a_map_deinit(&w->replicas);
}

void d_gw_worker_deinit(struct d_gw_worker *w)
{
    if (w->loop == NULL)
        return;
    net_listener_close(a_steal(&w->listener));
    while (!a_list_empty(&w->clients))
        d_gw_client_close(a_list_entry(w->clients.next, struct d_gw_client, link));
    w->drained = NULL;
    replicas_free(w);
    lists_free(w);
    sys_defer_cancel(&w->bury);
    sys_defer_cancel(&w->report);
    sys_timer_clear(&w->core_timer);
    sys_timer_clear(&w->tick);
    sys_round_remove(&w->round);
    gw_deinit(&w->core);
    a_map_deinit(&w->networks);
    d_gw_apps_free(&w->apps);
    a_buf_deinit(&w->scratch);
    d_gw_access_finish(&w->access);
    a_free(w->updates);
    w->loop = NULL;
}
