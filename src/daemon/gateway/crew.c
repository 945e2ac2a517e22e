/* The workers as the main thread sees them: they get the view and orders by queue, and hand parts back. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/gateway/process.h"
#include "sys/env.h"
#include "sys/log.h"

/* What crosses threads: an order to a worker, or its part on the way back. */
struct order {
    struct sys_post post;
    struct d_gateway *g;
    struct d_gw_worker *worker;
    const struct d_gw_batch *batch;
    struct d_gw_part *part;
    struct gather *gather;
    struct net_tls *tls;
};

struct gather {
    unsigned waiting;
    void (*done)(void *ctx);
    void *ctx;
};

static struct order *order_new(struct d_gateway *g, struct d_gw_worker *w)
{
    struct order *o = a_new(struct order);
    o->g = g;
    o->worker = w;
    return o;
}

static void order_send(struct order *o, struct sys_loop *to, void (*fn)(void *ctx))
{
    o->post.fn = fn;
    o->post.ctx = o;
    sys_loop_post_item(to, &o->post);
}

static bool is_main(const struct d_gateway *g, const struct d_gw_worker *w)
{
    return w->loop == g->loop;
}

/* ---- parts ---- */

void d_gw_part_free(struct d_gw_part *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->n_endpoints; i++)
        a_free(p->endpoints[i].id);
    a_free(p->endpoints);
    a_free(p->apps);
    a_free(p);
}

static uint64_t applied_by_all(const struct d_gateway *g)
{
    uint64_t least = UINT64_MAX;
    for (unsigned i = 0; i < g->n_workers; i++)
        least = A_MIN(least, g->applied[i]);
    return least;
}

static void batches_finish(struct d_gateway *g)
{
    uint64_t applied = applied_by_all(g);
    bool held = false;
    a_list_foreach_safe (l, &g->batches) {
        struct d_gw_batch *b = a_list_entry(l, struct d_gw_batch, link);
        if (b->number > applied)
            return;
        a_buf_deinit(&b->frames);
        held = held || b->takes > g->view.kept;
        if (held)
            continue; /* the file may take long, and more comes */
        a_list_remove(&b->link);
        d_gw_link_applied(g, b);
        a_free(b);
    }
}

void d_gw_crew_kept(void *ctx)
{
    batches_finish(ctx);
    d_gw_vouch_kept(ctx);
}

static void part_take(struct d_gateway *g, struct d_gw_part *p)
{
    bool urgent = p->urgent;
    d_gw_view_count(&g->view, p);
    for (size_t i = 0; i < p->n_apps; i++) {
        d_gw_app_add(d_gw_app_get(&g->apps, &p->apps[i].app), &p->apps[i]);
        d_gw_app_add(d_gw_app_get(&g->apps_new, &p->apps[i].app), &p->apps[i]);
    }
    g->totals[p->worker] = p->totals;
    g->applied[p->worker] = p->applied;
    d_gw_part_free(p);
    batches_finish(g);
    if (urgent)
        d_gw_link_report_endpoints(g);
}

static void part_arrived(void *ctx)
{
    struct order *o = ctx;
    part_take(o->g, o->part);
    a_free(o);
}

static void part_ready(void *ctx, struct d_gw_part *p)
{
    struct d_gateway *g = ctx;
    struct d_gw_worker *w = &g->workers[p->worker];
    if (is_main(g, w)) {
        part_take(g, p);
        return;
    }
    struct order *o = order_new(g, w);
    o->part = p;
    order_send(o, g->loop, part_arrived);
}

/* ---- orders ---- */

static void apply_run(void *ctx)
{
    struct order *o = ctx;
    d_gw_worker_apply(o->worker, a_buf_view(&o->batch->frames));
    a_free(o);
}

void d_gw_crew_apply(struct d_gateway *g)
{
    struct d_gw_batch *b = a_new(struct d_gw_batch);
    b->number = g->view.batches;
    b->sequence = g->view.sequence;
    b->takes = g->view.takes;
    b->server = g->view.server;
    b->frames = g->view.batch;
    g->view.batch = (struct a_buf){0};
    g->has_view = true;
    a_list_push_back(&g->batches, &b->link);
    for (unsigned i = g->n_workers; i-- > 0;) {
        struct order *o = order_new(g, &g->workers[i]);
        o->batch = b;
        if (is_main(g, o->worker))
            apply_run(o); /* last: the batch may be over with this one */
        else
            order_send(o, o->worker->loop, apply_run);
    }
    d_gw_admin_tell(g);
}

static void tls_run(void *ctx)
{
    struct order *o = ctx;
    d_gw_worker_set_tls(o->worker, o->tls);
    net_tls_unref(o->tls);
    a_free(o);
}

/* Each is the worker's alone from here on. */
void d_gw_crew_set_tls(struct d_gateway *g, struct net_tls **tls)
{
    for (unsigned i = 0; i < g->n_workers; i++) {
        struct order *o = order_new(g, &g->workers[i]);
        o->tls = a_steal(&tls[i]);
        if (is_main(g, o->worker))
            tls_run(o);
        else
            order_send(o, o->worker->loop, tls_run);
    }
}

static void gather_one(struct gather *gather)
{
    if (--gather->waiting > 0)
        return;
    gather->done(gather->ctx);
    a_free(gather);
}

static void gather_arrived(void *ctx)
{
    struct order *o = ctx;
    gather_one(o->gather);
    a_free(o);
}

static void gather_run(void *ctx)
{
    struct order *o = ctx;
    d_gw_worker_report(o->worker);
    order_send(o, o->g->loop, gather_arrived); /* behind the part */
}

void d_gw_crew_gather(struct d_gateway *g, void (*done)(void *ctx), void *ctx)
{
    struct gather *gather = a_new(struct gather);
    *gather = (struct gather){.waiting = g->n_workers, .done = done, .ctx = ctx};
    for (unsigned i = g->n_workers; i-- > 0;) {
        if (is_main(g, &g->workers[i])) {
            d_gw_worker_report(&g->workers[i]);
            gather_one(gather);
            continue;
        }
        struct order *o = order_new(g, &g->workers[i]);
        o->gather = gather;
        order_send(o, o->worker->loop, gather_run);
    }
}

static void drained_arrived(void *ctx)
{
    struct d_gateway *g = ctx;
    if (--g->busy_workers == 0)
        sys_loop_stop(g->loop);
}

/* On the worker's thread. */
static void drained(void *ctx)
{
    struct d_gw_worker *w = ctx;
    struct d_gateway *g = w->part_ctx;
    w->drained_post = (struct sys_post){.fn = drained_arrived, .ctx = g};
    sys_loop_post_item(g->loop, &w->drained_post);
}

static void drain_run(void *ctx)
{
    struct order *o = ctx;
    d_gw_worker_drain(o->worker, drained, o->worker);
    a_free(o);
}

void d_gw_crew_drain(struct d_gateway *g)
{
    g->busy_workers = g->n_workers;
    for (unsigned i = 0; i < g->n_workers; i++) {
        struct order *o = order_new(g, &g->workers[i]);
        if (is_main(g, o->worker))
            drain_run(o);
        else
            order_send(o, o->worker->loop, drain_run);
    }
}

/* ---- life ---- */

static void worker_run(void *ctx)
{
    struct d_gw_worker *w = ctx;
    sys_loop_run(w->loop);
}

static void worker_stop(void *ctx)
{
    sys_loop_stop(ctx);
}

static int worker_start(struct d_gateway *g, unsigned i, struct sys_addr *addr, struct a_error *reterr)
{
    struct d_gw_worker *w = &g->workers[i];
    struct sys_loop *loop = g->loop;
    char name[24];
    int rc = i == 0 ? 0 : sys_loop_new(&loop, reterr);
    if (rc != 0)
        return rc;
    d_gw_worker_init(w, loop, i, g->n_workers, &g->options, g->access);
    w->part_ready = part_ready;
    w->part_ctx = g;
    struct net_tls *tls = g->tls != NULL ? a_steal(&g->tls[i]) : NULL;
    rc = d_gw_worker_listen(w, addr, tls, addr, reterr); /* port 0 becomes the one that the first got */
    net_tls_unref(tls);
    snprintf(name, sizeof name, "worker/%u", i);
    if (rc == 0 && i > 0)
        rc = sys_thread_start(name, worker_run, w, &w->thread, reterr);
    return rc;
}

/* Where clients reach us, unless we were told: the address listened on, or this machine's name for all. */
static void address_note(struct d_gateway *g, const struct sys_addr *addr)
{
    char host[SYS_ADDR_TEXT];
    sys_addr_print_host(addr, host);
    if (g->options.address[0] != '\0')
        snprintf(g->address, sizeof g->address, "%s", g->options.address);
    else if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
        sys_env_hostname(g->address, sizeof g->address);
    else
        snprintf(g->address, sizeof g->address, "%s", host);
}

int d_gw_crew_start(struct d_gateway *g, struct a_error *reterr)
{
    struct sys_addr addr;
    int rc = sys_addr_parse(g->options.listen, &addr, reterr);
    g->workers = a_alloc_array(g->n_workers, sizeof *g->workers);
    g->applied = a_alloc_array(g->n_workers, sizeof *g->applied);
    g->totals = a_alloc_array(g->n_workers, sizeof *g->totals);
    for (unsigned i = 0; rc == 0 && i < g->n_workers; i++)
        rc = worker_start(g, i, &addr, reterr);
    if (rc == 0) {
        g->port = sys_addr_port(&addr);
        address_note(g, &addr);
    }
    return rc;
}

/* The threads end first, and what they posted last is delivered while all that it touches is there. */
void d_gw_crew_stop(struct d_gateway *g)
{
    for (unsigned i = 1; g->workers != NULL && i < g->n_workers; i++) {
        struct d_gw_worker *w = &g->workers[i];
        if (w->thread == NULL)
            continue;
        sys_loop_post(w->loop, worker_stop, w->loop);
        sys_thread_join(a_steal(&w->thread));
    }
    sys_loop_deliver(g->loop);
    for (unsigned i = 0; g->workers != NULL && i < g->n_workers; i++) {
        struct sys_loop *loop = g->workers[i].loop;
        d_gw_worker_deinit(&g->workers[i]);
        if (i > 0)
            sys_loop_free(loop);
    }
}
