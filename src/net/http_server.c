/* Connections of the HTTP server: how they come, how long they may take, how they go. */
#include "net/http_server.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "net/http_internal.h"
#include "sys/random.h"

#define LINGER_MS 2000 /* for what a client is still sending when its connection is closed */

struct listener {
    struct a_list link;
    struct net_http_server *server;
    struct net_listener *listener;
};

static const struct net_http_server_options default_options = {
    .body_max = 8u * 1024u * 1024u,
    .stream_max = 1024u * 1024u,
    .connections_max = 4096,
    .head_timeout_ms = 10000,
    .body_timeout_ms = 30000,
    .idle_timeout_ms = 75000,
    .write_timeout_ms = 60000,
};

struct net_http_server *net_http_server_new(struct sys_loop *loop,
                                            const struct net_http_server_options *options,
                                            const struct net_http_server_ops *ops, void *ctx)
{
    const struct net_http_server_options none = {0}, *o = options != NULL ? options : &none;
    struct net_http_server *s = a_new(struct net_http_server);
    s->loop = loop;
    s->ops = ops;
    s->ctx = ctx;
    s->o = default_options;
    s->o.server_name = o->server_name;
    s->o.tls = net_tls_ref(o->tls);
#define TAKE(name)                                                                                           \
    if (o->name != 0)                                                                                        \
    s->o.name = o->name
    TAKE(body_max);
    TAKE(stream_max);
    TAKE(connections_max);
    s->o.network_connections_max = A_MAX(s->o.connections_max / 4, 1u);
    TAKE(network_connections_max);
    TAKE(head_timeout_ms);
    TAKE(body_timeout_ms);
    TAKE(idle_timeout_ms);
    TAKE(write_timeout_ms);
#undef TAKE
    s->networks.seed = sys_random_seed();
    a_list_init(&s->conns);
    a_list_init(&s->orphans);
    a_list_init(&s->listeners);
    return s;
}

/* --- time --- */

static void timer_update(struct net_http_conn *c)
{
    uint64_t due = A_MIN(c->deadline_ms, c->stall_ms);
    /* A timer that is set too early finds nothing due and sets itself again: cheaper than moving it at each
     * step. */
    if (due != A_NEVER && (!sys_timer_is_set(&c->timer) || due < c->timer.node.at_ms))
        sys_timer_set_at(&c->timer, due);
}

void net_http_conn_deadline(struct net_http_conn *c, uint64_t deadline_ms)
{
    c->deadline_ms = deadline_ms;
    timer_update(c);
}

void net_http_conn_lose(struct net_http_conn *c)
{
    c->lost = true;
    net_http_conn_deadline(c, 0);
}

void net_http_conn_stall_watch(struct net_http_conn *c)
{
    if (c->stream == NULL || c->stall_ms != A_NEVER || net_stream_queued(c->stream) == 0)
        return;
    c->stall_written = net_stream_bytes_written(c->stream);
    c->stall_ms = sys_loop_now_ms(c->server->loop) + c->server->o.write_timeout_ms;
    timer_update(c);
}

/* True when the client took nothing for too long. */
static bool stall_check(struct net_http_conn *c, uint64_t now)
{
    if (now < c->stall_ms)
        return false;
    c->stall_ms = A_NEVER;
    if (net_stream_queued(c->stream) == 0)
        return false;
    if (net_stream_bytes_written(c->stream) == c->stall_written)
        return true;
    net_http_conn_stall_watch(c);
    return false;
}

static void conn_timer(void *ctx)
{
    struct net_http_conn *c = A_CAST(struct net_http_conn, ctx, CONN_MAGIC);
    uint64_t now = sys_loop_now_ms(c->server->loop);
    bool stalled = stall_check(c, now);
    c->server->stats.timeouts_total += stalled;
    if (stalled || c->lost) {
        net_http_conn_end(c, true);
        return;
    }
    if (now < c->deadline_ms) {
        timer_update(c);
        return;
    }
    c->deadline_ms = A_NEVER;
    if (c->state == CONN_IDLE) {
        net_http_conn_end(c, false);
        return;
    }
    static const char late[] =
        "HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
    c->server->stats.timeouts_total++;
    (void)!net_stream_write(c->stream, late, sizeof late - 1);
    net_http_conn_end(c, false);
}

/* --- connections --- */

void net_http_server_adopt(struct net_http_server *s, struct net_stream *stream)
{
    struct net_network *n = net_network_come(&s->networks, stream);
    if (s->draining || s->n_conns >= s->o.connections_max || n->n > s->o.network_connections_max) {
        net_network_leave(&s->networks, n);
        s->stats.connections_refused++;
        net_stream_close(stream);
        return;
    }
    struct net_http_conn *c = a_new(struct net_http_conn);
    c->magic = CONN_MAGIC;
    c->server = s;
    c->stream = stream;
    c->network = n;
    c->stall_ms = A_NEVER;
    a_list_push_back(&s->conns, &c->link);
    s->n_conns++;
    s->stats.connections_total++;
    /* Whole answers are always accepted: their memory exists already. Streams are bounded by stream_max. */
    net_stream_set_limits(stream,
                          &(struct sys_stream_limits){.limit = SIZE_MAX / 2, .high = s->o.stream_max / 4});
    net_stream_set_ops(stream, &net_http_conn_ops, c);
    sys_timer_init(&c->timer, s->loop, conn_timer, c);
    net_http_conn_deadline(c, sys_loop_now_ms(s->loop) + s->o.head_timeout_ms);
    net_stream_read_start(stream);
}

static void drain_check(struct net_http_server *s);

void net_http_conn_free(struct net_http_conn *c)
{
    a_list_remove(&c->link);
    sys_timer_clear(&c->timer);
    sys_defer_cancel(&c->resume);
    a_buf_deinit(&c->in);
    a_buf_deinit(&c->body);
    a_arena_deinit(&c->arena);
    a_free(c);
}

/* An answer that is on its way has the time that answers have. */
static void stream_end(struct net_http_server *s, struct net_stream *stream)
{
    net_stream_close_soft(stream, net_stream_queued(stream) != 0 ? s->o.write_timeout_ms : LINGER_MS);
}

/* Whether somebody still holds the request: a handler that will answer it. Until it is handed over whole,
 * only one with on_gone may. */
static bool request_is_held(const struct net_http_conn *c)
{
    return c->has_request && c->state != CONN_BODY;
}

void net_http_conn_end(struct net_http_conn *c, bool abort)
{
    struct net_http_server *s = c->server;
    if (c->stream == NULL)
        return;
    if (abort)
        net_stream_abort(a_steal(&c->stream));
    else
        stream_end(s, a_steal(&c->stream));
    sys_timer_clear(&c->timer);
    sys_defer_cancel(&c->resume);
    a_list_remove(&c->link);
    a_list_push_back(&s->orphans, &c->link);
    net_network_leave(&s->networks, c->network);
    s->n_conns--;
    if (c->has_request && c->r.on_gone != NULL) {
        c->has_request = false;
        c->depth++;
        c->r.on_gone(c->r.on_gone_ctx, &c->r);
        c->depth--;
    }
    c->has_request = request_is_held(c);
    if (!c->has_request && c->depth == 0)
        net_http_conn_free(c);
    drain_check(s);
}

static void stream_accepted(void *ctx, struct net_stream *stream)
{
    struct listener *l = ctx;
    net_http_server_adopt(l->server, stream);
}

static void stream_refused(void *ctx, enum net_refusal refusal, const char *peer, const char *why)
{
    struct net_http_server *s = ((struct listener *)ctx)->server;
    s->stats.connections_refused++;
    if (s->ops->refused != NULL)
        s->ops->refused(s->ctx, refusal, peer, why);
}

void net_http_server_set_tls(struct net_http_server *s, struct net_tls *tls)
{
    net_tls_ref(tls);
    net_tls_unref(s->o.tls);
    s->o.tls = tls;
    a_list_foreach (link, &s->listeners)
        net_listener_set_tls(a_list_entry(link, struct listener, link)->listener, tls);
}

int net_http_server_listen(struct net_http_server *s, const struct sys_addr *addr,
                           const struct sys_listen_options *options, struct sys_addr *ret_addr,
                           struct a_error *reterr)
{
    static const struct net_listener_ops ops = {.accept = stream_accepted, .refused = stream_refused};
    struct listener *l = a_new(struct listener);
    l->server = s;
    int rc = net_listener_open(s->loop, addr, options, s->o.tls, &ops, l, &l->listener, reterr);
    if (rc != 0) {
        a_free(l);
        return rc;
    }
    a_list_push_back(&s->listeners, &l->link);
    if (ret_addr != NULL)
        net_listener_addr(l->listener, ret_addr);
    return 0;
}

static void listeners_close(struct net_http_server *s)
{
    struct a_list *link;
    while ((link = a_list_pop_front(&s->listeners)) != NULL) {
        struct listener *l = a_list_entry(link, struct listener, link);
        net_listener_close(l->listener);
        a_free(l);
    }
}

/* --- the end --- */

static void drain_tell(void *ctx)
{
    struct net_http_server *s = ctx;
    void (*drained)(void *ctx) = s->drained;
    s->drained = NULL;
    if (drained != NULL)
        drained(s->drained_ctx);
}

static void drain_check(struct net_http_server *s)
{
    if (s->drained == NULL || s->n_conns != 0)
        return;
    sys_timer_clear(&s->drain_timer);
    sys_defer_call(s->loop, &s->drain_defer, drain_tell, s);
}

static void idle_close(struct net_http_server *s)
{
    a_list_foreach_safe (link, &s->conns) {
        struct net_http_conn *c = a_list_entry(link, struct net_http_conn, link);
        if (c->state == CONN_IDLE)
            net_http_conn_end(c, false);
    }
}

/* From the front each time: on_gone of one may end others. */
static void all_cut(struct net_http_server *s)
{
    while (!a_list_empty(&s->conns))
        net_http_conn_end(a_list_entry(s->conns.next, struct net_http_conn, link), true);
}

static void drain_timeout(void *ctx)
{
    all_cut(ctx);
}

void net_http_server_drain(struct net_http_server *s, uint64_t timeout_ms, void (*done)(void *ctx), void *ctx)
{
    s->draining = true;
    s->drained = done;
    s->drained_ctx = ctx;
    listeners_close(s);
    sys_timer_init(&s->drain_timer, s->loop, drain_timeout, s);
    sys_timer_set_in(&s->drain_timer, timeout_ms);
    idle_close(s);
    drain_check(s);
}

void net_http_server_free(struct net_http_server *s)
{
    struct a_list *link;
    if (s == NULL)
        return;
    s->drained = NULL;
    listeners_close(s);
    all_cut(s);
    while ((link = a_list_pop_front(&s->orphans)) != NULL)
        a_list_entry(link, struct net_http_conn, link)->server = NULL;
    sys_timer_clear(&s->drain_timer);
    sys_defer_cancel(&s->drain_defer);
    a_buf_deinit(&s->scratch);
    a_map_deinit(&s->networks);
    net_tls_unref(s->o.tls);
    a_free(s);
}

void net_http_server_stats(const struct net_http_server *s, struct net_http_server_stats *ret_stats)
{
    *ret_stats = s->stats;
    ret_stats->connections_open = s->n_conns;
}
