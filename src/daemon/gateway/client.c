/* A client's connection: heads come in one after the other, time-outs watch it, and it ends in one place. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/gateway/worker.h"
#include "sys/log.h"

/* ---- coming and going ---- */

static void host_note(struct d_gw_client *c)
{
    struct sys_addr addr;
    sys_stream_peer(net_stream_raw(c->stream), &addr);
    sys_addr_print_host(&addr, c->host);
}

static struct d_gw_client *client_new(struct d_gw_worker *w)
{
    struct a_list *l = a_list_pop_front(&w->spare_clients);
    if (l == NULL)
        return a_new(struct d_gw_client);
    w->n_spare_clients--;
    struct d_gw_client *c = a_list_entry(l, struct d_gw_client, link);
    struct a_buf in = c->in, head = c->x.head, body = c->x.body, out = c->x.out, note = c->x.note,
                 earlier = c->x.earlier;
    *c = (struct d_gw_client){.in = in};
    c->x.head = head;
    c->x.body = body;
    c->x.out = out;
    c->x.note = note;
    c->x.earlier = earlier;
    a_buf_reset(&c->in);
    return c;
}

/* Over a limit: said once, without waiting for a request. */
static void client_refuse(struct d_gw_worker *w, struct net_stream *stream, bool address)
{
    static const char busy[] = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\nretry-after: 1\r\n"
                               "x-astra-cause: gateway\r\nconnection: close\r\n\r\n";
    static const char greedy[] = "HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\nretry-after: 1\r\n"
                                 "x-astra-cause: gateway\r\nconnection: close\r\n\r\n";
    w->totals.connections_refused++;
    sys_log(WARN, "gateway", "gateway.refused", "a connection is over the limit",
            SYS_STR("client", net_stream_peer_text(stream)), SYS_BOOL("of_address", address));
    const char *text = address ? greedy : busy;
    (void)!net_stream_write(stream, text, strlen(text));
    net_stream_close_soft(stream, D_GW_LINGER_MS);
}

static void client_read(void *ctx, struct a_view bytes);
static void client_eof(void *ctx);
static void client_error(void *ctx, int rc);
static void client_drain(void *ctx);
static void client_timer(void *ctx);

static const struct sys_stream_ops client_ops = {
    .read = client_read,
    .eof = client_eof,
    .error = client_error,
    .drain = client_drain,
};

void d_gw_client_accept(struct d_gw_worker *w, struct net_stream *stream)
{
    w->totals.connections_total++;
    struct net_network *n = net_network_come(&w->networks, stream);
    bool greedy = n->n > A_MAX(w->options->address_connections / w->count, 1u);
    if (greedy || w->totals.connections >= w->max_clients) {
        net_network_leave(&w->networks, n);
        client_refuse(w, stream, greedy);
        return;
    }
    struct d_gw_client *c = client_new(w);
    c->worker = w;
    c->stream = stream;
    c->network = n;
    host_note(c);
    c->since_ms = sys_loop_now_ms(w->loop);
    c->first = true;
    c->parser.limits = (struct wire_http_limits){.head_bytes = w->options->head_bytes,
                                                 .headers = (unsigned)w->options->headers};
    w->totals.connections++;
    a_list_push_back(&w->clients, &c->link);
    sys_timer_init(&c->timer, w->loop, client_timer, c);
    net_stream_set_ops(stream, &client_ops, c);
    net_stream_read_start(stream);
    d_gw_client_watch(c);
}

/* Everything but the stream, which the caller ends in its own way. */
static struct net_stream *client_let_go(struct d_gw_client *c)
{
    struct net_stream *stream = a_steal(&c->stream);
    if (c->x.active)
        d_gw_exchange_end(c, false);
    sys_timer_clear(&c->timer);
    net_network_leave(&c->worker->networks, c->network);
    c->worker->totals.connections--;
    d_gw_worker_bury_client(c->worker, c);
    return stream;
}

void d_gw_client_close(struct d_gw_client *c)
{
    if (c->stream != NULL)
        net_stream_close(client_let_go(c));
}

void d_gw_client_close_soft(struct d_gw_client *c)
{
    if (c->stream != NULL)
        net_stream_close_soft(client_let_go(c), D_GW_LINGER_MS);
}

void d_gw_client_abort(struct d_gw_client *c)
{
    if (c->stream != NULL)
        net_stream_abort(client_let_go(c));
}

/* ---- heads ---- */

static const char *code_of_head_error(unsigned status)
{
    return status == 431   ? "headers_too_large"
           : status == 414 ? "too_large"
           : status == 501 ? "not_implemented"
                           : "invalid";
}

/* The bytes are no request: said so, and the connection ends, for where the next one begins is unknown. */
static void head_refuse(struct d_gw_client *c, const struct wire_http_error *e)
{
    c->worker->totals.malformed++;
    c->in_head = false;
    d_gw_exchange_blank(c);
    d_gw_exchange_reply(c, &(struct d_gw_problem){.status = e->status,
                                                  .code = code_of_head_error(e->status),
                                                  .detail = e->what});
}

/* Returns how many bytes the head had; 0 when it is not whole, or the client is gone. */
static size_t head_take(struct d_gw_client *c, struct a_view in)
{
    struct wire_http_head *head = &c->worker->head;
    struct wire_http_error e = {0};
    if (!c->in_head) {
        c->in_head = true;
        c->since_ms = sys_loop_now_ms(c->worker->loop);
    }
    int rc = wire_http_request_parse(&c->parser, in, head, &e);
    if (rc == WIRE_E_MORE)
        return 0;
    if (rc != 0) {
        head_refuse(c, &e);
        return 0;
    }
    c->in_head = false;
    size_t size = head->size;
    d_gw_exchange_begin(c);
    return size;
}

/* Takes requests off `in`, one after the other, as far as they go. */
static size_t client_take(struct d_gw_client *c, struct a_view in)
{
    size_t used = 0, before = SIZE_MAX;
    c->taking = true;
    while (c->stream != NULL && used < in.len && used != before && !(c->x.active && c->x.body_done)) {
        before = used;
        if (!c->x.active) {
            if (net_stream_is_full(c->stream))
                break;
            used += head_take(c, (struct a_view){in.ptr + used, in.len - used});
        }
        if (c->stream != NULL && c->x.active && !c->x.body_done)
            used += d_gw_exchange_feed(c, (struct a_view){in.ptr + used, in.len - used});
        d_gw_worker_carry_out(c->worker);
    }
    c->taking = false;
    return used;
}

static void client_take_kept(struct d_gw_client *c)
{
    size_t used = client_take(c, a_buf_view(&c->in));
    if (c->stream != NULL)
        a_buf_consume(&c->in, used);
}

static void client_read(void *ctx, struct a_view bytes)
{
    struct d_gw_client *c = ctx;
    c->x.active_ms = sys_loop_now_ms(c->worker->loop);
    if (c->in.len > 0) {
        a_buf_add_view(&c->in, bytes);
        client_take_kept(c);
    } else {
        size_t used = client_take(c, bytes);
        if (c->stream != NULL)
            a_buf_add(&c->in, bytes.ptr + used, bytes.len - used);
    }
    if (c->stream == NULL)
        return;
    if (c->in.failed) {
        d_gw_client_close(c);
        return;
    }
    d_gw_client_flow(c);
    d_gw_client_watch(c);
}

void d_gw_client_next(struct d_gw_client *c)
{
    if (c->stream == NULL)
        return;
    if (c->x.close || !c->x.body_done || c->worker->draining) {
        d_gw_client_close_soft(c);
        return;
    }
    c->since_ms = sys_loop_now_ms(c->worker->loop);
    c->first = false;
    if (!c->taking && c->in.len > 0)
        client_take_kept(c);
    if (c->stream != NULL) {
        d_gw_client_flow(c);
        d_gw_client_watch(c);
    }
}

/* ---- back-pressure ---- */

void d_gw_client_flow(struct d_gw_client *c)
{
    bool wanted = c->in.len < D_GW_AHEAD_MAX + c->worker->options->head_bytes;
    if (c->x.active && c->x.body_done)
        wanted = c->in.len < D_GW_AHEAD_MAX;
    else if (c->x.active)
        wanted = !d_gw_exchange_is_stalled(c);
    if (wanted && !net_stream_is_reading(c->stream))
        net_stream_read_start(c->stream);
    else if (!wanted && net_stream_is_reading(c->stream))
        net_stream_read_stop(c->stream);
}

/* The client took what waited for it. */
static void client_drain(void *ctx)
{
    struct d_gw_client *c = ctx;
    c->x.active_ms = sys_loop_now_ms(c->worker->loop);
    if (c->x.active && c->x.upstream != NULL && c->x.upstream->connected)
        sys_stream_read_start(c->x.upstream->stream);
    if (!c->x.active && !c->taking && c->in.len > 0)
        client_take_kept(c);
    if (c->stream != NULL)
        d_gw_client_flow(c);
}

/* ---- the end ---- */

static void client_eof(void *ctx)
{
    struct d_gw_client *c = ctx;
    if (c->x.active && !c->x.body_done && !c->x.committed) {
        c->x.close = true;
        d_gw_exchange_reply(c, &(struct d_gw_problem){.status = 400,
                                                      .code = "invalid",
                                                      .detail = "the connection ended inside the body"});
        return;
    }
    d_gw_client_close(c); /* nobody is there to be answered */
}

static void client_error(void *ctx, int rc)
{
    (void)rc;
    d_gw_client_close(ctx);
}

/* ---- time ---- */

static uint64_t after(uint64_t since_ms, uint64_t ms)
{
    return ms == 0 ? A_NEVER : since_ms + ms;
}

static uint64_t client_deadline(const struct d_gw_client *c)
{
    const struct d_gw_options *o = c->worker->options;
    const struct d_gw_exchange *x = &c->x;
    if (!x->active)
        return after(c->since_ms, c->in_head || c->first ? o->head_ms : o->idle_ms);
    if (!x->body_done && net_stream_is_reading(c->stream))
        return after(x->active_ms, o->body_ms);
    if (x->counted == D_GW_COUNTED_WAITING)
        return A_NEVER; /* the core's own deadline */
    uint64_t idle = after(x->active_ms, x->idle_ms);
    if (x->committed || !x->body_done)
        return idle;
    return A_MIN(idle, after(x->received_ms, x->timeout_ms));
}

void d_gw_client_watch(struct d_gw_client *c)
{
    uint64_t due = client_deadline(c);
    if (due != A_NEVER && (!sys_timer_is_set(&c->timer) || due < c->timer.node.at_ms))
        sys_timer_set_at(&c->timer, due);
}

static void client_late(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    bool in_body = x->active && !x->body_done && net_stream_is_reading(c->stream);
    if (x->active && !in_body) {
        d_gw_exchange_failed(c, GW_FAILURE_TIMEOUT, "timed out");
        return;
    }
    c->worker->totals.timeouts++;
    if ((!x->active && !c->in_head) || x->committed) {
        d_gw_client_close(c);
        return;
    }
    if (!x->active)
        d_gw_exchange_blank(c);
    x->close = true;
    d_gw_exchange_reply(c, &(struct d_gw_problem){.status = 408,
                                                  .code = "timeout",
                                                  .detail = in_body ? "the body came too slowly"
                                                                    : "the headers came too slowly"});
}

static void client_timer(void *ctx)
{
    struct d_gw_client *c = ctx;
    if (client_deadline(c) <= sys_loop_now_ms(c->worker->loop))
        client_late(c);
    else
        d_gw_client_watch(c);
}
