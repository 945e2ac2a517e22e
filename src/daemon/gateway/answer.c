/* What a replica answers: its framing is taken off and put on anew, it is held or passed on, and committed
 * once. What one read brought leaves in one write. */
#include <string.h>

#include "base/assert.h"
#include "daemon/gateway/worker.h"

/* ---- writing to the client: what one read brought leaves in one write ---- */

static bool gather_flush(struct d_gw_client *c)
{
    struct d_gw_worker *w = c->worker;
    size_t n = w->n_gather;
    w->n_gather = w->n_chunk_lines = 0;
    if (n == 0)
        return true;
    if (net_stream_writev(c->stream, w->gather, n) != 0) {
        d_gw_client_close(c);
        return false;
    }
    return true;
}

static void gather_add(struct d_gw_worker *w, struct a_view bytes)
{
    w->gather[w->n_gather++] = bytes;
}

/* One piece of the body, in the answer's framing. False: the client is gone. */
static bool piece_pass(struct d_gw_client *c, struct a_view data)
{
    struct d_gw_worker *w = c->worker;
    if (w->n_gather + 3 > D_GW_GATHER_MAX && !gather_flush(c))
        return false;
    if (c->x.chunked_out) {
        char *line = w->chunk_lines[w->n_chunk_lines++];
        gather_add(w, (struct a_view){line, wire_http_chunk_header(line, data.len)});
    }
    gather_add(w, data);
    if (c->x.chunked_out)
        gather_add(w, A_VIEW_LIT("\r\n"));
    return true;
}

/* ---- holding and committing ---- */

/* From here on the client gets what the replica sends; nothing is sent again. */
static void answer_commit(struct d_gw_client *c)
{
    struct d_gw_exchange *x = &c->x;
    uint64_t latency_us = sys_loop_now_us(c->worker->loop) - x->picked_us;
    x->hold = x->peek = false;
    x->committed = true;
    d_gw_worker_step(c->worker, &(struct gw_event){.type = GW_COMMITTED,
                                                   .now_ms = sys_loop_now_ms(c->worker->loop),
                                                   .request = &x->request,
                                                   .latency_us = latency_us,
                                                   .stream = x->chunked_out || x->until_close});
    gather_add(c->worker, a_buf_view(&x->out));
}

static void piece_hold(struct d_gw_exchange *x, struct a_view data)
{
    char line[WIRE_HTTP_CHUNK_HEADER_MAX];
    if (x->chunked_out)
        a_buf_add(&x->out, line, wire_http_chunk_header(line, data.len));
    a_buf_add_view(&x->out, data);
    if (x->chunked_out)
        a_buf_add(&x->out, "\r\n", 2);
    x->held += data.len;
    if (x->held <= D_GW_PEEK_MAX)
        memcpy(x->peeked + x->held - data.len, data.ptr, data.len);
}

static bool piece_add(struct d_gw_client *c, struct a_view data)
{
    struct d_gw_exchange *x = &c->x;
    x->answer_bytes += data.len;
    if (x->committed)
        return piece_pass(c, data);
    piece_hold(x, data);
    if (x->held > D_GW_PEEK_MAX)
        x->peek = false;
    if (x->held >= x->hold_max)
        x->hold = false;
    if (!x->hold && !x->peek)
        answer_commit(c);
    return true;
}

/* Ray did not take the request: these texts are Serve's own, as a replica or a proxy sends them before any of
 * the app's code has run. An app that calls another deployment and is refused there answers with a longer
 * text and has run already. */
static bool is_refusal(const struct d_gw_exchange *x)
{
    static const char *const texts[] = {
        "Request dropped due to backpressure",
        "This node is being drained.",
        "No replicas are available yet.",
        "Route table is not populated yet.",
    };
    for (size_t i = 0; x->peek && i < A_ARRAY_SIZE(texts); i++)
        if (a_view_is((struct a_view){x->peeked, x->held}, texts[i]))
            return true;
    return false;
}

/* ---- heads ---- */

static bool header_is(const struct wire_http_head *h, enum wire_http_known known, const char *value)
{
    const struct wire_http_header *header = wire_http_head_get(h, known);
    return header != NULL && a_view_is_nocase(header->value, value);
}

static bool is_event_stream(const struct wire_http_head *h)
{
    const struct wire_http_header *type = wire_http_head_get(h, WIRE_HTTP_H_CONTENT_TYPE);
    struct a_view rest;
    return type != NULL &&
           a_view_is_nocase(a_view_trim(a_view_split(type->value, ';', &rest)), "text/event-stream");
}

/* Serve answers in chunks, head and body apart: a head alone tells a client nothing, and must not be what
 * keeps its request from being sent again. From its first byte on a chunked body may be a stream: it is
 * passed on. */
static void hold_begin(struct d_gw_exchange *x, const struct wire_http_head *h)
{
    bool chunked = h->body == WIRE_HTTP_BODY_CHUNKED;
    x->hold = x->idempotent && (chunked || h->body == WIRE_HTTP_BODY_LENGTH) && !is_event_stream(h);
    x->hold_max = chunked ? 1 : D_GW_HELD_MAX;
}

static void answer_begin(struct d_gw_client *c, struct d_gw_upstream *u)
{
    const struct wire_http_head *h = &c->worker->head;
    struct d_gw_exchange *x = &c->x;
    u->head_done = true;
    u->keep_alive = h->keep_alive;
    wire_http_decoder_init(&u->body, h);
    x->status = h->status;
    bool unknown_length = h->body == WIRE_HTTP_BODY_CHUNKED || h->body == WIRE_HTTP_BODY_CLOSE;
    x->chunked_out = unknown_length && !x->http10;
    x->until_close = unknown_length && x->http10;
    x->close = x->close || x->until_close || !x->body_done || c->worker->draining;
    x->peek = h->status == 503 && header_is(h, WIRE_HTTP_H_CONTENT_TYPE, "text/plain; charset=utf-8");
    hold_begin(x, h);
    d_gw_head_to_client(c);
    if (!x->hold && !x->peek)
        answer_commit(c);
}

/* 1xx: 100 answers our own wish for the body, the others are for the client. */
static bool interim_pass(struct d_gw_client *c)
{
    const struct wire_http_head *h = &c->worker->head;
    if (h->status == 101) {
        d_gw_exchange_failed(c, GW_FAILURE_LOST, "the replica switched protocols unasked");
        return false;
    }
    if (h->status == 100 || c->x.http10)
        return true;
    struct a_buf *b = &c->worker->scratch;
    d_gw_head_interim(c, b);
    if (net_stream_write(c->stream, b->ptr, b->len) == 0)
        return true;
    d_gw_client_close(c);
    return false;
}

/* Returns the bytes taken, 0 when the head is not whole; *ret_over when the exchange, or this attempt, is. */
static size_t head_take(struct d_gw_upstream *u, struct a_view in, bool *ret_over)
{
    struct d_gw_client *c = u->client;
    struct wire_http_head *h = &c->worker->head;
    struct wire_http_error e;
    int rc = wire_http_response_parse(&u->parser, in, c->x.method, h, &e);
    if (rc == WIRE_E_MORE)
        return 0;
    if (rc != 0) {
        d_gw_exchange_failed(c, GW_FAILURE_LOST, e.what);
        *ret_over = true;
        return 0;
    }
    size_t size = h->size;
    if (h->status < 200)
        *ret_over = !interim_pass(c);
    else
        answer_begin(c, u);
    return size;
}

/* ---- the whole ---- */

/* The answer is complete; `clean`: nothing came behind it. */
static void answer_complete(struct d_gw_upstream *u, bool clean)
{
    struct d_gw_client *c = u->client;
    struct d_gw_exchange *x = &c->x;
    bool reusable = clean && u->keep_alive && x->body_done && x->body_sent == x->body.len;
    if (is_refusal(x)) {
        x->upstream = NULL;
        d_gw_upstream_release(u, reusable);
        d_gw_exchange_failed(c, GW_FAILURE_UNAVAILABLE, "Ray answered 503: it did not take the request");
        return;
    }
    if (!x->committed)
        answer_commit(c);
    if (x->chunked_out)
        gather_add(c->worker, A_VIEW_LIT(WIRE_HTTP_CHUNK_LAST));
    if (!gather_flush(c))
        return;
    x->upstream = NULL;
    d_gw_upstream_release(u, reusable);
    x->cause = x->status >= 500 ? GW_CAUSE_APP : GW_CAUSE_NONE;
    d_gw_exchange_end(c, true);
    d_gw_client_next(c);
}

/* True: over. The connection may by then carry another exchange already. */
static bool body_take(struct d_gw_upstream *u, struct a_view in, size_t *used)
{
    struct d_gw_client *c = u->client;
    size_t n;
    struct a_view data;
    int rc = wire_http_decoder_step(&u->body, (struct a_view){in.ptr + *used, in.len - *used}, &n, &data);
    *used += n;
    if (rc == WIRE_E_MALFORMED || rc == WIRE_E_TOO_LARGE) {
        c->worker->n_gather = c->worker->n_chunk_lines = 0;
        d_gw_exchange_failed(c, GW_FAILURE_LOST, u->body.what);
        return true;
    }
    return data.len > 0 && !piece_add(c, data);
}

/* The same, for all that is there. */
static bool answer_take(struct d_gw_upstream *u, struct a_view in, size_t *used)
{
    struct d_gw_client *c = u->client;
    while (*used < in.len) {
        bool over = false;
        if (u->head_done) {
            over = body_take(u, in, used);
        } else {
            size_t n = head_take(u, (struct a_view){in.ptr + *used, in.len - *used}, &over);
            *used += n;
            if (n == 0)
                return over;
        }
        if (over)
            return true;
        if (u->head_done && u->body.done) {
            answer_complete(u, *used == in.len);
            return true;
        }
    }
    return !gather_flush(c);
}

void d_gw_answer_read(struct d_gw_upstream *u, struct a_view bytes)
{
    struct d_gw_client *c = u->client;
    size_t used = 0;
    bool kept = u->in.len > 0;
    c->x.active_ms = sys_loop_now_ms(u->worker->loop);
    if (kept) {
        a_buf_add_view(&u->in, bytes);
        bytes = a_buf_view(&u->in);
    }
    if (answer_take(u, bytes, &used))
        return;
    if (kept)
        a_buf_consume(&u->in, used);
    else
        a_buf_add(&u->in, bytes.ptr + used, bytes.len - used);
    if (net_stream_is_full(c->stream))
        sys_stream_read_stop(u->stream);
    d_gw_client_watch(c);
}

void d_gw_answer_eof(struct d_gw_upstream *u)
{
    struct d_gw_client *c = u->client;
    u->keep_alive = false;
    if (u->head_done && wire_http_decoder_eof(&u->body) == 0)
        answer_complete(u, true);
    else
        d_gw_exchange_failed(c, GW_FAILURE_LOST, "the replica closed the connection before it had answered");
}
