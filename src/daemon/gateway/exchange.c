/* One request: its head is told to the core, its body goes on to the replica that the core chose, again to
 * another when that is allowed, and its end is told, counted and logged exactly once. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/gateway/worker.h"
#include "sys/clock.h"
#include "wire/url.h"

#define PIECE_MAX 262144 /* of the body in one write */
#define UNSENT_MAX 65536 /* of the body in memory beyond what is kept for replay */
/* A connection idle for longer may be closing: a request that may not be repeated takes a fresh one. */
#define UNSAFE_IDLE_MAX_MS 2000
#define KEEP_MEMORY 65536 /* buffers that grew larger are given back */

struct d_gw_client *d_gw_exchange_client(struct gw_request *request)
{
    return A_CONTAINER_OF(request, struct d_gw_client, x.request);
}

static uint64_t now_ms(const struct d_gw_client *c)
{
    return sys_loop_now_ms(c->worker->loop);
}

/* ---- the beginning ---- */

static void buffer_empty(struct a_buf *b)
{
    if (b->cap > KEEP_MEMORY)
        a_buf_deinit(b);
    else
        a_buf_reset(b);
}

void d_gw_exchange_blank(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    struct a_buf head = x->head, body = x->body, out = x->out, note = x->note, earlier = x->earlier;
    *x = (struct d_gw_exchange){.head = head, .body = body, .out = out, .note = note, .earlier = earlier};
    a_buf_reset(&x->head);
    a_buf_reset(&x->body);
    a_buf_reset(&x->out);
    a_buf_reset(&x->note);
    a_buf_reset(&x->earlier);
    x->active = x->close = x->body_done = x->kept = true;
    x->begun_us = sys_loop_now_us(c->worker->loop);
    x->begun_wall_ms = sys_clock_wall_ms();
    x->received_ms = x->active_ms = now_ms(c);
    x->request.replayable = true;
}

/* What the log will say of the request; the head itself is gone by then. */
static void note_take(struct d_gw_client *c, const struct wire_http_head *h)
{
    struct d_gw_exchange *x = &c->x;
    struct a_buf *note = &x->note;
    const struct wire_http_header *id = wire_http_head_get(h, WIRE_HTTP_H_X_REQUEST_ID);
    a_buf_add_view(note, h->method_text);
    x->method_end = (uint32_t)note->len;
    a_buf_add_view(note, h->authority);
    x->host_end = (uint32_t)note->len;
    a_buf_add_view(note, h->target);
    x->target_end = (uint32_t)note->len;
    if (id != NULL && id->value.len > 0 && id->value.len <= 128) {
        a_buf_add_view(note, id->value);
    } else {
        uint64_t bits[2] = {a_random_u64(&c->worker->random), a_random_u64(&c->worker->random)};
        struct a_uuid uuid;
        a_uuid_make_v7(x->begun_wall_ms, (const uint8_t *)bits, &uuid);
        a_buf_add(note, uuid.s, A_UUID_LEN);
    }
    x->id_end = (uint32_t)note->len;
}

/* Lower case, without the port. */
static struct a_view host_of(struct d_gw_worker *w, const struct wire_http_head *h)
{
    struct a_view host = {"", 0};
    uint16_t port;
    if (h->authority.len == 0 || !wire_url_host_port(h->authority, 0, &host, &port))
        return host;
    a_buf_reset(&w->scratch);
    for (size_t i = 0; i < host.len; i++) {
        char ch = host.ptr[i];
        a_buf_add_char(&w->scratch, ch >= 'A' && ch <= 'Z' ? (char)(ch - 'A' + 'a') : ch);
    }
    return a_buf_view(&w->scratch);
}

/* What the route asks for is copied: it may change or go while the request is under way. */
static void settings_take(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    struct gw_route *r = x->request.route;
    if (r == NULL)
        return;
    if (r->user == NULL)
        r->user = d_gw_app_get(&c->worker->apps, &r->app);
    x->app = r->user;
    x->idempotent = r->idempotent;
    x->max_body = r->max_body_bytes;
    x->retry_body = r->retry_body_bytes;
    x->timeout_ms = r->timeout_ms;
    x->idle_ms = r->idle_ms;
    a_buf_add_str(&x->note, r->id);
}

static void begin_refused(struct d_gw_client *c, const char *detail)
{
    c->x.close = true;
    c->worker->totals.malformed++;
    d_gw_exchange_reply(c,
                        &(struct d_gw_problem){.status = 501, .code = "not_implemented", .detail = detail});
}

static void request_tell(struct d_gw_client *c, const struct wire_http_head *h)
{
    struct a_view query;
    struct gw_event e = {.type = GW_REQUEST,
                         .now_ms = now_ms(c),
                         .request = &c->x.request,
                         .host = host_of(c->worker, h),
                         .path = wire_url_path(h->path, &query),
                         .method = h->method_text,
                         .has_length = h->has_content_length,
                         .length = h->content_length};
    d_gw_worker_enqueue(c->worker, &e);
}

void d_gw_exchange_begin(struct d_gw_client *c)
{
    const struct wire_http_head *h = &c->worker->head;
    struct d_gw_exchange *x = &c->x;
    d_gw_exchange_blank(c);
    x->method = h->method;
    x->http10 = h->minor == 0;
    x->close = !h->keep_alive || x->http10;
    x->chunked = h->body == WIRE_HTTP_BODY_CHUNKED;
    wire_http_decoder_init(&x->body_in, h);
    x->body_done = x->body_in.done;
    note_take(c, h);
    if (h->method == WIRE_HTTP_CONNECT) {
        begin_refused(c, "CONNECT is not served: this is no forward proxy");
        return;
    }
    if (wire_http_list_has(h->upgrade, "websocket")) {
        begin_refused(c, "WebSocket is not served yet");
        return;
    }
    request_tell(c, h);
    settings_take(c);
    if (x->request.state != GW_REQUEST_SENT && x->request.state != GW_REQUEST_WAITING)
        return; /* its answer is on the way */
    d_gw_head_to_replica(c);
    if (h->expect_continue && !x->body_done)
        (void)!net_stream_write(c->stream, "HTTP/1.1 100 Continue\r\n\r\n", 25);
}

/* ---- the body ---- */

static bool is_being_sent(const struct d_gw_exchange *x)
{
    return x->upstream != NULL && x->upstream->sent;
}

bool d_gw_exchange_is_stalled(const struct d_gw_client *c)
{
    const struct d_gw_exchange *x = &c->x;
    size_t unsent = x->body.len - x->body_sent;
    return unsent >= (is_being_sent(x) ? UNSENT_MAX : A_MAX(x->retry_body, (uint64_t)UNSENT_MAX));
}

/* Bytes of the body count as replay memory while they are kept. */
static void charge(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    struct d_gw_totals *t = &c->worker->totals;
    size_t now = x->active ? x->body.len : 0;
    t->replay_bytes += now;
    t->replay_bytes -= x->charged;
    x->charged = now;
    if (t->replay_bytes > c->worker->max_replay)
        x->retry_body = 0; /* this one will not be sent again */
}

static void body_add(struct d_gw_exchange *x, struct a_view data)
{
    char line[WIRE_HTTP_CHUNK_HEADER_MAX];
    if (x->chunked)
        a_buf_add(&x->body, line, wire_http_chunk_header(line, data.len));
    a_buf_add_view(&x->body, data);
    if (x->chunked)
        a_buf_add(&x->body, "\r\n", 2);
}

static void body_ended(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    x->body_done = true;
    x->received_ms = now_ms(c);
    if (x->chunked)
        a_buf_add_str(&x->body, WIRE_HTTP_CHUNK_LAST);
}

static void body_refuse(struct d_gw_client *c, unsigned status, const char *code, const char *detail)
{
    c->x.close = true;
    if (c->x.committed)
        d_gw_client_close(c);
    else
        d_gw_exchange_reply(c, &(struct d_gw_problem){.status = status, .code = code, .detail = detail});
}

size_t d_gw_exchange_feed(struct d_gw_client *c, struct a_view in)
{
    struct d_gw_exchange *x = &c->x;
    size_t used = 0, n = 1;
    while (!x->body_done && n > 0) {
        struct a_view data;
        int rc =
            wire_http_decoder_step(&x->body_in, (struct a_view){in.ptr + used, in.len - used}, &n, &data);
        used += n;
        if (rc == WIRE_E_MALFORMED || rc == WIRE_E_TOO_LARGE) {
            c->worker->totals.malformed++;
            body_refuse(c, 400, "invalid", x->body_in.what);
            return used;
        }
        x->body_bytes += data.len;
        c->worker->totals.bytes_in += data.len;
        if (x->max_body > 0 && x->body_bytes > x->max_body) {
            body_refuse(c, 413, "too_large", "the body is larger than the route's maxBody");
            return used;
        }
        if (data.len > 0)
            body_add(x, data);
        if (x->body_in.done)
            body_ended(c);
    }
    charge(c);
    if (x->body.failed)
        body_refuse(c, 503, "unavailable", "no memory for the body");
    else
        d_gw_exchange_flush(c);
    return used;
}

/* What was sent and cannot be kept is forgotten; the request can then not be sent again. */
static void body_forget(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    if (x->body_sent < x->body.len || x->body.len == 0 || (x->kept && x->body.len <= x->retry_body))
        return;
    x->kept = x->request.replayable = false;
    buffer_empty(&x->body);
    x->body_sent = 0;
    charge(c);
}

void d_gw_exchange_flush(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    if (!is_being_sent(x))
        return;
    struct sys_stream *stream = x->upstream->stream;
    while (x->body_sent < x->body.len && !sys_stream_is_full(stream)) {
        size_t n = A_MIN(x->body.len - x->body_sent, (size_t)PIECE_MAX);
        if (sys_stream_write(stream, x->body.ptr + x->body_sent, n) != 0) {
            d_gw_exchange_failed(c, GW_FAILURE_LOST, "the connection broke while the body was sent");
            return;
        }
        x->body_sent += n;
    }
    body_forget(c);
}

/* ---- an attempt ---- */

static void attempt_drop(struct d_gw_exchange *x)
{
    if (x->upstream != NULL)
        d_gw_upstream_close(a_steal(&x->upstream));
    a_buf_reset(&x->out);
    x->hold = x->peek = x->chunked_out = x->until_close = false;
    x->held = 0;
    x->answer_bytes = 0;
    x->status = 0;
}

/* Head and body in one write. */
static int request_write(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    size_t n = A_MIN(x->body.len, (size_t)PIECE_MAX);
    struct a_view views[2] = {a_buf_view(&x->head), {x->body.ptr, n}};
    int rc = sys_stream_writev(x->upstream->stream, views, n > 0 ? 2 : 1);
    if (rc != 0)
        return rc;
    x->upstream->sent = true;
    x->body_sent = n;
    d_gw_exchange_flush(c);
    return 0;
}

static void attempt_begin(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    bool repeatable = x->idempotent || x->request.safe_method;
    uint64_t idle_ms = repeatable ? c->worker->options->upstream_idle_ms : UNSAFE_IDLE_MAX_MS;
    for (;;) {
        const char *error;
        x->upstream = d_gw_upstream_take(c, x->ip, x->port, idle_ms, &error);
        if (x->upstream == NULL) {
            d_gw_exchange_failed(c, GW_FAILURE_REFUSED, error);
            return;
        }
        if (!x->upstream->connected || request_write(c) == 0)
            return;
        d_gw_upstream_close(a_steal(&x->upstream)); /* the replica had closed it: nothing was sent */
    }
}

void d_gw_exchange_connected(struct d_gw_client *c, int rc)
{
    if (rc != 0)
        d_gw_exchange_failed(c, GW_FAILURE_REFUSED, strerror(-rc));
    else if (request_write(c) != 0)
        d_gw_exchange_failed(c, GW_FAILURE_LOST, "the connection broke before the request was sent");
    if (c->stream != NULL) {
        d_gw_client_flow(c); /* the body may have waited for this */
        d_gw_client_watch(c);
    }
}

static void counted_set(struct d_gw_exchange *x, enum d_gw_counted now)
{
    if (x->app == NULL || x->counted == now)
        return;
    x->app->waiting += (now == D_GW_COUNTED_WAITING) - (x->counted == D_GW_COUNTED_WAITING);
    x->app->in_flight += (now == D_GW_COUNTED_SENT) - (x->counted == D_GW_COUNTED_SENT);
    x->app->changed = true;
    x->counted = now;
}

static void update_send(struct d_gw_client *c, const struct gw_endpoint *e)
{
    struct d_gw_exchange *x = &c->x;
    counted_set(x, D_GW_COUNTED_SENT);
    if (x->request.tries > 1 && x->app != NULL)
        x->app->resent++;
    if (x->request.tries > 1)
        d_gw_exchange_log_earlier(x);
    x->unit = e->unit;
    memcpy(x->ip, e->ip, sizeof x->ip);
    x->port = e->port;
    x->picked_us = sys_loop_now_us(c->worker->loop);
    x->body_sent = 0;
    attempt_begin(c);
    if (c->stream != NULL && x->active) {
        d_gw_client_flow(c);
        d_gw_client_watch(c);
    }
}

/* The client saw a part of the answer, or may have, and must not take it for the whole: without its last
 * chunk, or the rest of its length, an answer is seen to be cut; one that ends with the connection needs a
 * reset. */
static void answer_cut(struct d_gw_client *c, enum gw_cause cause)
{
    c->x.cause = cause;
    if (c->x.until_close)
        d_gw_client_abort(c);
    else
        d_gw_client_close(c);
}

void d_gw_exchange_update(struct d_gw_client *c, const struct gw_update *u)
{
    struct d_gw_exchange *x = &c->x;
    switch (u->type) {
    case GW_SEND:
        update_send(c, u->endpoint);
        break;
    case GW_WAIT:
        counted_set(x, D_GW_COUNTED_WAITING);
        break;
    case GW_ABORT:
        attempt_drop(x);
        break;
    case GW_CUT:
        answer_cut(c, GW_CAUSE_DRAIN); /* the drain of its unit is over */
        break;
    case GW_ANSWER:
        d_gw_exchange_reply(c, &(struct d_gw_problem){.status = (unsigned)u->status,
                                                      .detail = u->detail,
                                                      .cause = u->cause,
                                                      .retry_after_s = u->retry_after_s});
        break;
    case GW_DRAINED:
        break;
    }
}

void d_gw_exchange_failed(struct d_gw_client *c, enum gw_failure failure, const char *error)
{
    struct d_gw_exchange *x = &c->x;
    struct d_gw_worker *w = c->worker;
    struct gw_endpoint *e = x->request.endpoint;
    d_gw_worker_enqueue(w, &(struct gw_event){.type = GW_FAILED,
                                              .now_ms = now_ms(c),
                                              .request = &x->request,
                                              .failure = failure,
                                              .error = error});
    if (e != NULL && (e->failures_in_a_row == 1 || (failure == GW_FAILURE_REFUSED && e->counts.refused == 1)))
        d_gw_worker_urge(w); /* refused is what the server waits for to call it dead */
    if (x->committed)
        answer_cut(c, failure == GW_FAILURE_TIMEOUT ? GW_CAUSE_TIMEOUT : GW_CAUSE_NODE_LOST);
    else
        attempt_drop(x);
    d_gw_worker_carry_out(w);
}

/* ---- the end ---- */

void d_gw_exchange_reply(struct d_gw_client *c, const struct d_gw_problem *problem)
{
    struct d_gw_exchange *x = &c->x;
    attempt_drop(x);
    x->status = problem->status;
    x->cause = problem->cause;
    if (x->cause == GW_CAUSE_NONE && x->status < 500)
        x->cause = GW_CAUSE_CLIENT;
    if (!x->body_done)
        x->close = true; /* the rest of the body is not waited for */
    d_gw_head_problem(c, problem, &c->worker->scratch);
    int rc = net_stream_write(c->stream, c->worker->scratch.ptr, c->worker->scratch.len);
    if (rc != 0) {
        d_gw_client_close(c);
        return;
    }
    d_gw_exchange_end(c, true);
    d_gw_client_next(c);
}

void d_gw_exchange_end(struct d_gw_client *c, bool complete)
{
    struct d_gw_exchange *x = &c->x;
    if (!a_check(x->active))
        return;
    x->active = false;
    if (x->upstream != NULL)
        d_gw_upstream_close(a_steal(&x->upstream));
    charge(c);
    if (x->status == 0 || (!complete && !x->committed))
        x->status = 499; /* the client went away */
    if (!complete && x->cause == GW_CAUSE_NONE)
        x->cause = GW_CAUSE_CLIENT;
    counted_set(x, D_GW_COUNTED_NOT);
    if (x->app == NULL)
        x->app = d_gw_app_get(&c->worker->apps, &(struct a_app_ref){0});
    uint64_t latency_us = sys_loop_now_us(c->worker->loop) - x->begun_us;
    d_gw_app_count(x->app, x->status, x->cause, x->cause == GW_CAUSE_NONE, latency_us);
    c->worker->totals.bytes_out += x->answer_bytes;
    d_gw_exchange_log(c, latency_us);
    buffer_empty(&x->body);
    buffer_empty(&x->out);
    d_gw_worker_forget(c->worker, &x->request);
    d_gw_worker_step(c->worker, &(struct gw_event){.type = GW_DONE,
                                                   .now_ms = now_ms(c),
                                                   .request = &x->request,
                                                   .ok = complete && x->committed});
}
