/* Connections to replicas. The last one used is used first, so that few are kept busy and the others grow old
 * and are closed before the replica does it. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/gateway/worker.h"

#define IDLE_MAX 256 /* connections to one replica, kept without a request */

/* ---- replicas ---- */

struct replica_key {
    char ip[46];
    uint16_t port;
};

static struct replica_key key_make(const char *ip, uint16_t port)
{
    struct replica_key k = {.port = port};
    memcpy(k.ip, ip, A_MIN(strlen(ip), sizeof k.ip));
    return k;
}

static struct d_gw_replica *replica_find(struct d_gw_worker *w, const struct replica_key *k)
{
    struct a_map_link *l = a_map_get(&w->replicas, k, sizeof *k);
    return l != NULL ? a_map_entry(l, struct d_gw_replica, by_address) : NULL;
}

static struct d_gw_replica *replica_get(struct d_gw_worker *w, const char *ip, uint16_t port)
{
    struct replica_key k = key_make(ip, port);
    struct d_gw_replica *r = replica_find(w, &k);
    if (r != NULL)
        return r;
    r = a_new(struct d_gw_replica);
    _Static_assert(sizeof k == sizeof r->address, "the key fills the address");
    memcpy(r->address, &k, sizeof k);
    a_list_init(&r->idle);
    a_map_put(&w->replicas, &r->by_address, r->address, sizeof r->address);
    return r;
}

static void replica_close_idle(struct d_gw_replica *r, uint64_t before_ms)
{
    a_list_foreach_safe (l, &r->idle) {
        struct d_gw_upstream *u = a_list_entry(l, struct d_gw_upstream, link);
        if (u->idle_since_ms <= before_ms)
            d_gw_upstream_close(u);
    }
}

void d_gw_replicas_keep(struct d_gw_worker *w)
{
    a_map_foreach (l, &w->replicas) {
        a_map_entry(l, struct d_gw_replica, by_address)->wanted = false;
    }
    for (struct gw_endpoint *e = NULL; (e = gw_endpoint_next(&w->core, e)) != NULL;) {
        struct replica_key k = key_make(e->ip, e->port);
        struct d_gw_replica *r = replica_find(w, &k);
        if (r != NULL && e->state != WIRE_SL_ENDPOINT_DEAD)
            r->wanted = true;
    }
    a_map_foreach (l, &w->replicas) {
        struct d_gw_replica *r = a_map_entry(l, struct d_gw_replica, by_address);
        if (!r->wanted)
            replica_close_idle(r, UINT64_MAX);
    }
}

void d_gw_upstreams_sweep(struct d_gw_worker *w)
{
    uint64_t now = sys_loop_now_ms(w->loop);
    a_map_foreach (l, &w->replicas) {
        struct d_gw_replica *r = a_map_entry(l, struct d_gw_replica, by_address);
        if (now > w->options->upstream_idle_ms)
            replica_close_idle(r, now - w->options->upstream_idle_ms);
        if (r->n_all == 0) {
            a_map_remove(&w->replicas, &r->by_address);
            a_free(r);
        }
    }
}

/* ---- connections ---- */

static void upstream_read(void *ctx, struct a_view bytes)
{
    struct d_gw_upstream *u = ctx;
    if (u->client != NULL && u->sent)
        d_gw_answer_read(u, bytes);
    else
        d_gw_upstream_close(u); /* it spoke without being asked */
}

static void upstream_eof(void *ctx)
{
    struct d_gw_upstream *u = ctx;
    if (u->client != NULL)
        d_gw_answer_eof(u);
    else
        d_gw_upstream_close(u);
}

static void upstream_error(void *ctx, int rc)
{
    struct d_gw_upstream *u = ctx;
    if (u->client != NULL)
        d_gw_exchange_failed(u->client, GW_FAILURE_LOST, strerror(-rc));
    else
        d_gw_upstream_close(u);
}

static void upstream_drain(void *ctx)
{
    struct d_gw_upstream *u = ctx;
    struct d_gw_client *c = u->client;
    if (c == NULL)
        return;
    c->x.active_ms = sys_loop_now_ms(u->worker->loop);
    d_gw_exchange_flush(c);
    if (c->stream != NULL)
        d_gw_client_flow(c);
}

static const struct sys_stream_ops upstream_ops = {
    .read = upstream_read,
    .eof = upstream_eof,
    .error = upstream_error,
    .drain = upstream_drain,
};

static void upstream_connected(void *ctx, int rc)
{
    struct d_gw_upstream *u = ctx;
    u->connected = rc == 0;
    if (rc == 0) {
        sys_stream_set_ops(u->stream, &upstream_ops, u);
        sys_stream_read_start(u->stream);
    }
    d_gw_exchange_connected(u->client, rc);
}

static void exchange_prepare(struct d_gw_upstream *u, struct d_gw_client *c)
{
    u->client = c;
    u->sent = u->head_done = false;
    u->parser = (struct wire_http_parser){.limits = {.headers = WIRE_HTTP_HEADERS_MAX}};
    a_buf_reset(&u->in);
}

static struct d_gw_upstream *upstream_connect(struct d_gw_worker *w, struct d_gw_replica *r, const char *ip,
                                              uint16_t port, const char **ret_error)
{
    struct sys_addr addr;
    struct sys_connect_options o = {.timeout_ms = w->options->connect_ms};
    struct d_gw_upstream *u = d_gw_worker_new_upstream(w);
    int rc = sys_addr_make(ip, port, &addr, NULL);
    if (rc == 0)
        rc = sys_stream_connect(w->loop, &addr, &o, upstream_connected, u, &u->stream, NULL);
    if (rc != 0) {
        *ret_error = strerror(-rc);
        d_gw_worker_bury_upstream(w, u);
        return NULL;
    }
    u->worker = w;
    u->replica = r;
    r->n_all++;
    w->totals.upstreams++;
    w->totals.upstream_opened++;
    return u;
}

struct d_gw_upstream *d_gw_upstream_take(struct d_gw_client *c, const char *ip, uint16_t port,
                                         uint64_t max_idle_ms, const char **ret_error)
{
    struct d_gw_worker *w = c->worker;
    struct d_gw_replica *r = replica_get(w, ip, port);
    struct d_gw_upstream *u = NULL;
    if (!a_list_empty(&r->idle))
        u = a_list_entry(r->idle.next, struct d_gw_upstream, link);
    if (u != NULL && u->idle_since_ms + max_idle_ms >= sys_loop_now_ms(w->loop)) {
        a_list_remove(&u->link);
        r->n_idle--;
        u->reused = true;
    } else {
        u = upstream_connect(w, r, ip, port, ret_error);
    }
    if (u != NULL)
        exchange_prepare(u, c);
    return u;
}

void d_gw_upstream_release(struct d_gw_upstream *u, bool reusable)
{
    u->client = NULL;
    if (!reusable || u->replica->n_idle >= IDLE_MAX || u->worker->draining) {
        d_gw_upstream_close(u);
        return;
    }
    u->idle_since_ms = sys_loop_now_ms(u->worker->loop);
    a_list_push_front(&u->replica->idle, &u->link);
    u->replica->n_idle++;
    sys_stream_read_start(u->stream); /* back-pressure may have stopped it; its end must be seen */
}

void d_gw_upstream_close(struct d_gw_upstream *u)
{
    if (u->stream == NULL)
        return;
    if (a_list_linked(&u->link))
        u->replica->n_idle--;
    u->client = NULL;
    u->replica->n_all--;
    u->worker->totals.upstreams--;
    sys_stream_close(a_steal(&u->stream));
    d_gw_worker_bury_upstream(u->worker, u);
}
