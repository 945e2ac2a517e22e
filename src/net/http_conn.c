/* Requests in: bytes become a head, a body, and a call of the handler.
 *
 * Bytes are parsed where they were read; only what cannot be used yet (half a head, the next request) is kept
 * in `in`. A head is copied into the request's arena when it is whole, so that its views do not move. */
#include <stdio.h>

#include "base/assert.h"
#include "net/http_head.h"
#include "net/http_internal.h"

#define READ_AHEAD_MAX (64u * 1024u) /* of the next request, while one is being answered */
#define ARENA_KEEP (32u * 1024u)

static bool conn_is_over(const struct net_http_conn *c)
{
    return c->stream == NULL;
}

void net_http_conn_read_update(struct net_http_conn *c)
{
    if (conn_is_over(c))
        return;
    bool asked = c->state == CONN_ASKED || c->state == CONN_ANSWER;
    if (c->paused || (asked && c->in.len >= READ_AHEAD_MAX))
        net_stream_read_stop(c->stream);
    else
        net_stream_read_start(c->stream);
}

/* Calls into the handler's side; false when the connection ended meanwhile. */
static bool conn_call(struct net_http_conn *c, void (*fn)(void *ctx, struct net_http_request *r))
{
    c->depth++;
    fn(c->server->ctx, &c->r);
    c->depth--;
    return !conn_is_over(c);
}

/* Refuses what came: the request (or what should have been one) is answered with an error and the connection
 * ends. */
static void conn_refuse(struct net_http_conn *c, unsigned status, enum a_code code, const char *what)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_BUF_AUTO struct a_buf b = {0};
    if (c->has_request && c->r.on_gone != NULL)
        c->r.on_gone(c->r.on_gone_ctx, &c->r);
    c->r.on_gone = NULL;
    a_error_set(&e, code, "%s", what);
    net_problem_print(&b, &e, NULL);
    c->server->stats.malformed_total++;
    c->keep_alive = false;
    c->has_request = true;
    c->state = CONN_ASKED;
    net_http_reply_text(&c->r, status, NET_PROBLEM_TYPE, a_buf_view(&b));
}

static void head_refuse(struct net_http_conn *c, const struct wire_http_error *why)
{
    c->head.method = WIRE_HTTP_OTHER;
    c->head.minor = 1;
    c->r.on_gone = NULL;
    conn_refuse(c, why->status, why->status == 431 ? A_CODE_HEADERS_TOO_LARGE : A_CODE_WIRE_MALFORMED,
                why->what);
}

static void request_init(struct net_http_conn *c)
{
    struct a_view rest, path = a_view_split(c->head.path, '?', &rest);
    c->r = (struct net_http_request){.head = &c->head, .path = path, .query = rest, .arena = &c->arena};
    c->has_request = true;
    c->keep_alive = c->head.keep_alive && !c->server->draining;
    c->chunked = c->has_length = c->no_body = false;
    c->drain = NULL;
    c->piece = NULL;
    c->paused = false;
    c->body_max = c->server->o.body_max;
    c->body_seen = 0;
    c->server->stats.requests_total++;
}

/* The body is whole: it is the handler's turn. */
static void request_handle(struct net_http_conn *c)
{
    c->r.body = a_buf_view(&c->body);
    c->state = CONN_ASKED;
    net_http_conn_deadline(c, A_NEVER);
    (void)conn_call(c, c->server->ops->handle);
}

static void body_too_large(struct net_http_conn *c)
{
    char what[80];
    snprintf(what, sizeof what, "the body has more than %llu bytes", (unsigned long long)c->body_max);
    conn_refuse(c, 413, A_CODE_TOO_LARGE, what);
}

static void continue_say(struct net_http_conn *c)
{
    static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
    if (c->head.expect_continue)
        (void)!net_stream_write(c->stream, go_on,
                                sizeof go_on - 1); /* a failure is met again by the next read */
}

/* A whole head: begin, and get ready for the body. */
static void request_begin(struct net_http_conn *c, const char *bytes)
{
    if (!net_http_head_keep(&c->head, &c->arena, bytes)) {
        head_refuse(c, &(struct wire_http_error){503, "out of memory"});
        return;
    }
    request_init(c);
    wire_http_decoder_init(&c->decoder, &c->head);
    c->state = CONN_BODY;
    if (c->server->ops->begin != NULL &&
        (!conn_call(c, c->server->ops->begin) || !c->has_request || c->state != CONN_BODY))
        return;
    if (c->decoder.done || (c->head.body == WIRE_HTTP_BODY_LENGTH && c->head.content_length == 0)) {
        request_handle(c);
        return;
    }
    if (c->head.body == WIRE_HTTP_BODY_LENGTH && c->head.content_length > c->body_max) {
        body_too_large(c);
        return;
    }
    net_http_conn_deadline(c, sys_loop_now_ms(c->server->loop) + c->server->o.body_timeout_ms);
    continue_say(c);
}

/* How many bytes of `bytes` were used. */
static size_t head_take(struct net_http_conn *c, struct a_view bytes)
{
    struct wire_http_error why;
    if (c->state == CONN_IDLE) {
        c->state = CONN_HEAD;
        net_http_conn_deadline(c, sys_loop_now_ms(c->server->loop) + c->server->o.head_timeout_ms);
    }
    int rc = wire_http_request_parse(&c->parser, bytes, &c->head, &why);
    if (rc == WIRE_E_MORE)
        return 0;
    if (rc != 0) {
        head_refuse(c, &why);
        return bytes.len;
    }
    size_t size = c->head.size;
    request_begin(c, bytes.ptr);
    return size;
}

static void body_piece(struct net_http_conn *c, struct a_view data)
{
    c->body_seen += data.len;
    if (c->body_seen > c->body_max) {
        body_too_large(c);
    } else if (c->piece != NULL) {
        c->depth++;
        c->piece(c->piece_ctx, &c->r, data);
        c->depth--;
    } else {
        a_buf_add_view(&c->body, data);
        if (c->body.failed) {
            c->body.failed = false;
            conn_refuse(c, 503, A_CODE_UNAVAILABLE, "out of memory");
        }
    }
}

static size_t body_take(struct net_http_conn *c, struct a_view bytes)
{
    struct a_view data = {NULL, 0};
    size_t used = 0;
    int rc = wire_http_decoder_step(&c->decoder, bytes, &used, &data);
    if (rc != 0 && rc != WIRE_E_MORE) {
        conn_refuse(c, 400, A_CODE_WIRE_MALFORMED, c->decoder.what != NULL ? c->decoder.what : "broken body");
        return bytes.len;
    }
    if (data.len != 0)
        body_piece(c, data);
    if (!conn_is_over(c) && c->state == CONN_BODY && c->decoder.done)
        request_handle(c);
    return used;
}

/* Uses what it can off the front of `bytes`; how much that was. */
static size_t conn_take(struct net_http_conn *c, struct a_view bytes)
{
    size_t used = 0;
    while (!conn_is_over(c) && used < bytes.len) {
        struct a_view rest = {bytes.ptr + used, bytes.len - used};
        size_t n = 0;
        if (c->state == CONN_IDLE || c->state == CONN_HEAD)
            n = head_take(c, rest);
        else if (c->state == CONN_BODY && !c->paused)
            n = body_take(c, rest);
        if (n == 0)
            break;
        used += n;
    }
    return used;
}

/* After a call of conn_take: keeps the rest, or lets go of a connection that ended within. */
static void conn_keep(struct net_http_conn *c, bool joined, struct a_view bytes, size_t used)
{
    if (conn_is_over(c)) {
        if (c->depth == 0 && !c->has_request)
            net_http_conn_free(c);
        return;
    }
    if (joined)
        a_buf_consume(&c->in, used);
    else
        a_buf_add(&c->in, bytes.ptr + used, bytes.len - used);
    if (c->in.failed) {
        net_http_conn_end(c, true);
        return;
    }
    if (c->in.len == 0 && c->in.cap > READ_AHEAD_MAX)
        a_buf_deinit(&c->in);
    if (c->eof && c->state < CONN_ASKED && !c->paused && !(c->state == CONN_IDLE && c->in.len != 0))
        net_http_conn_end(c, false); /* what is missing will not come */
    else
        net_http_conn_read_update(c);
}

static void conn_go(struct net_http_conn *c)
{
    c->depth++;
    size_t used = conn_take(c, a_buf_view(&c->in));
    c->depth--;
    conn_keep(c, true, (struct a_view){NULL, 0}, used);
}

static void conn_resumed(void *ctx)
{
    conn_go(A_CAST(struct net_http_conn, ctx, CONN_MAGIC));
}

void net_http_conn_resume(struct net_http_conn *c)
{
    if (!conn_is_over(c) && (c->in.len != 0 || c->eof))
        sys_defer_call(c->server->loop, &c->resume, conn_resumed, c);
    else
        net_http_conn_read_update(c);
}

static void conn_read(void *ctx, struct a_view bytes)
{
    struct net_http_conn *c = A_CAST(struct net_http_conn, ctx, CONN_MAGIC);
    bool joined = c->in.len != 0;
    if (c->state == CONN_BODY)
        net_http_conn_deadline(c, sys_loop_now_ms(c->server->loop) + c->server->o.body_timeout_ms);
    if (joined)
        a_buf_add_view(&c->in, bytes);
    c->depth++;
    size_t used = conn_take(c, joined ? a_buf_view(&c->in) : bytes);
    c->depth--;
    conn_keep(c, joined, bytes, used);
}

/* A client may end its side after its request and still wait for the answer; more often it is gone
 * altogether, which looks the same. A handler that wants to know is told so; others answer, and see. */
static void conn_eof(void *ctx)
{
    struct net_http_conn *c = A_CAST(struct net_http_conn, ctx, CONN_MAGIC);
    bool waits = (c->state == CONN_ASKED && c->r.on_gone == NULL) ||
                 (c->state == CONN_ANSWER && c->has_length) || c->paused;
    c->eof = true;
    if (!waits)
        net_http_conn_end(c, false);
}

static void conn_error(void *ctx, int rc)
{
    (void)rc;
    net_http_conn_end(A_CAST(struct net_http_conn, ctx, CONN_MAGIC), true);
}

static void conn_drain(void *ctx)
{
    struct net_http_conn *c = A_CAST(struct net_http_conn, ctx, CONN_MAGIC);
    if (c->state != CONN_ANSWER || c->drain == NULL)
        return;
    c->depth++;
    c->drain(c->drain_ctx, &c->r);
    c->depth--;
    if (conn_is_over(c) && c->depth == 0 && !c->has_request)
        net_http_conn_free(c);
    else if (!c->has_request)
        net_http_conn_resume(c);
}

const struct sys_stream_ops net_http_conn_ops = {
    .read = conn_read,
    .eof = conn_eof,
    .error = conn_error,
    .drain = conn_drain,
};

/* --- for handlers --- */

void net_http_request_set_body_max(struct net_http_request *r, uint64_t max)
{
    request_conn(r)->body_max = max;
}

void net_http_request_take_body(struct net_http_request *r,
                                void (*piece)(void *ctx, struct net_http_request *r, struct a_view bytes),
                                void *ctx)
{
    struct net_http_conn *c = request_conn(r);
    a_assert(c->state == CONN_BODY);
    c->piece = piece;
    c->piece_ctx = ctx;
}

void net_http_request_pause_body(struct net_http_request *r)
{
    struct net_http_conn *c = request_conn(r);
    c->paused = true;
    net_http_conn_deadline(c, A_NEVER); /* now it is we who are slow */
    net_http_conn_read_update(c);
}

void net_http_request_resume_body(struct net_http_request *r)
{
    struct net_http_conn *c = request_conn(r);
    if (!c->paused || conn_is_over(c))
        return;
    c->paused = false;
    net_http_conn_deadline(c, sys_loop_now_ms(c->server->loop) + c->server->o.body_timeout_ms);
    net_http_conn_resume(c);
}

struct a_view net_http_request_header(const struct net_http_request *r, const char *name)
{
    const struct wire_http_header *h = wire_http_head_find(r->head, name);
    return h != NULL ? h->value : (struct a_view){"", 0};
}

const char *net_http_request_peer(const struct net_http_request *r)
{
    struct net_http_conn *c = request_conn(r);
    return c->stream != NULL ? net_stream_peer_text(c->stream) : "-";
}

bool net_http_request_is_gone(const struct net_http_request *r)
{
    return request_conn(r)->stream == NULL;
}

/* The answer is out: the request's memory goes, the next one may come. */
void net_http_request_end(struct net_http_conn *c)
{
    c->has_request = false;
    if (conn_is_over(c)) {
        if (c->depth == 0)
            net_http_conn_free(c);
        return;
    }
    if (!c->keep_alive) {
        net_http_conn_end(c, false);
        return;
    }
    if (c->arena.used > ARENA_KEEP)
        a_arena_deinit(&c->arena);
    else
        a_arena_reset(&c->arena);
    if (c->body.cap > ARENA_KEEP)
        a_buf_deinit(&c->body);
    a_buf_reset(&c->body);
    c->state = CONN_IDLE;
    net_http_conn_deadline(c, sys_loop_now_ms(c->server->loop) + c->server->o.idle_timeout_ms);
    net_http_conn_stall_watch(c);
    if (c->depth == 0) /* else the loop over the bytes read goes on by itself */
        net_http_conn_resume(c);
}
