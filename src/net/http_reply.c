/* Answers out. */
#include <errno.h>

#include "base/assert.h"
#include "net/http_internal.h"

static const char *date_text(struct net_http_server *s)
{
    uint64_t now = sys_loop_now_ms(s->loop) / 1000u;
    if (s->date_second != now || s->date[0] == '\0') {
        s->date_second = now;
        sys_clock_print_http(sys_clock_wall_ms(), s->date);
    }
    return s->date;
}

/* The head up to the headers that concern the body; the buffer is the server's scratch. */
static struct a_buf *head_begin(struct net_http_conn *c, const struct net_http_response *response)
{
    struct net_http_server *s = c->server;
    struct a_buf *b = &s->scratch;
    a_buf_reset(b);
    b->failed = false;
    wire_http_write_status(b, response->status != 0 ? response->status : 200);
    (void)wire_http_write_header_str(b, "date", date_text(s));
    if (s->o.server_name != NULL)
        (void)wire_http_write_header_str(b, "server", s->o.server_name);
    if (response->content_type != NULL)
        (void)wire_http_write_header_str(b, "content-type", response->content_type);
    /* A header with a line end in it is left out: what a user gave cannot become a second header. */
    for (size_t i = 0; i < response->n_headers; i++)
        (void)wire_http_write_header_str(b, response->headers[i].name, response->headers[i].value);
    bool unread = c->state == CONN_BODY && !c->decoder.done; /* the rest of the body is in the way */
    c->keep_alive = c->keep_alive && !response->close && !s->draining && !unread;
    if (!c->keep_alive)
        (void)wire_http_write_header_str(b, "connection", "close");
    else if (c->head.minor == 0)
        (void)wire_http_write_header_str(b, "connection", "keep-alive");
    return b;
}

/* RFC 9110, 6.4.1: answers that never have a body. */
static bool is_bodiless(const struct net_http_conn *c, unsigned status)
{
    return c->head.method == WIRE_HTTP_HEAD || status == 204 || status == 304 || status / 100 == 1;
}

void net_http_reply(struct net_http_request *r, const struct net_http_response *response)
{
    struct net_http_conn *c = request_conn(r);
    a_assert(c->has_request && c->state != CONN_ANSWER);
    if (c->stream != NULL) {
        struct a_buf *b = head_begin(c, response);
        if (response->status != 204 && response->status != 304)
            wire_http_write_length(b, response->body.len);
        wire_http_write_end(b);
        struct a_view views[] = {a_buf_view(b), response->body};
        if (b->failed || net_stream_writev(c->stream, views, is_bodiless(c, response->status) ? 1 : 2) != 0) {
            net_http_stream_abort(r);
            return;
        }
    }
    net_http_request_end(c);
}

void net_http_reply_text(struct net_http_request *r, unsigned status, const char *content_type,
                         struct a_view body)
{
    net_http_reply(r,
                   &(struct net_http_response){.status = status, .content_type = content_type, .body = body});
}

void net_http_reply_error(struct net_http_request *r, const struct a_error *e,
                          const struct net_problem_where *where)
{
    A_BUF_AUTO struct a_buf b = {0};
    net_problem_print(&b, e, where);
    net_http_reply_text(r, (unsigned)a_code_http(e->code), NET_PROBLEM_TYPE, a_buf_view(&b));
}

/* --- in pieces --- */

void net_http_stream_begin(struct net_http_request *r, const struct net_http_response *response)
{
    struct net_http_conn *c = request_conn(r);
    a_assert(c->has_request && c->state != CONN_ANSWER);
    c->no_body = is_bodiless(c, response->status);
    c->has_length = response->has_content_length;
    c->length_left = response->content_length;
    c->chunked = !c->has_length && !c->no_body && c->head.minor >= 1;
    if (!c->has_length && !c->chunked && !c->no_body)
        c->keep_alive = false; /* HTTP/1.0: the end of the connection is the end of the body */
    if (c->stream == NULL) {
        c->state = CONN_ANSWER;
        return;
    }
    struct a_buf *b = head_begin(c, response);
    c->state = CONN_ANSWER;
    net_http_conn_deadline(c, A_NEVER);
    if (c->has_length)
        wire_http_write_length(b, response->content_length);
    else if (c->chunked)
        (void)wire_http_write_header_str(b, "transfer-encoding", "chunked");
    wire_http_write_end(b);
    if (b->failed || net_stream_write(c->stream, b->ptr, b->len) != 0)
        net_http_conn_lose(c);
}

int net_http_stream_write(struct net_http_request *r, struct a_view bytes)
{
    struct net_http_conn *c = request_conn(r);
    a_assert(c->has_request && c->state == CONN_ANSWER);
    if (c->stream == NULL || c->lost)
        return -EPIPE;
    if (bytes.len == 0 || c->no_body)
        return 0;
    if (c->has_length && bytes.len > c->length_left)
        return -EMSGSIZE;
    size_t queued = net_stream_queued(c->stream), max = c->server->o.stream_max;
    if (queued != 0 && (queued > max || bytes.len > max - queued))
        return -ENOBUFS;
    char size[WIRE_HTTP_CHUNK_HEADER_MAX];
    struct a_view views[3] = {{size, 0}, bytes, {"\r\n", c->chunked ? 2 : 0}};
    if (c->chunked)
        views[0].len = wire_http_chunk_header(size, bytes.len);
    int rc = net_stream_writev(c->stream, views, 3);
    if (rc == 0 && c->has_length)
        c->length_left -= bytes.len;
    if (rc == 0) {
        net_http_conn_stall_watch(c);
        return 0;
    }
    net_http_conn_lose(c);
    return -EPIPE;
}

bool net_http_stream_is_full(const struct net_http_request *r)
{
    const struct net_http_conn *c = request_conn(r);
    return c->stream != NULL && net_stream_is_full(c->stream);
}

void net_http_stream_on_drain(struct net_http_request *r, void (*fn)(void *ctx, struct net_http_request *r),
                              void *ctx)
{
    struct net_http_conn *c = request_conn(r);
    c->drain = fn;
    c->drain_ctx = ctx;
}

void net_http_stream_end(struct net_http_request *r)
{
    struct net_http_conn *c = request_conn(r);
    a_assert(c->has_request && c->state == CONN_ANSWER);
    if (c->lost || (c->has_length && c->length_left != 0 && !c->no_body)) {
        net_http_stream_abort(r);
        return;
    }
    if (c->stream != NULL && c->chunked &&
        net_stream_write(c->stream, WIRE_HTTP_CHUNK_LAST, sizeof WIRE_HTTP_CHUNK_LAST - 1) != 0)
        c->keep_alive = false;
    net_http_request_end(c);
}

void net_http_stream_abort(struct net_http_request *r)
{
    struct net_http_conn *c = request_conn(r);
    c->r.on_gone = NULL; /* its owner does this */
    c->has_request = false;
    if (c->stream != NULL)
        net_http_conn_end(c, true);
    else if (c->depth == 0)
        net_http_conn_free(c);
}

/* --- server-sent events --- */

static void field_add(struct a_buf *b, const char *name, struct a_view value)
{
    a_buf_addf(b, "%s: " A_VIEW_FMT "\n", name, A_VIEW_ARG(value));
}

int net_http_sse_write(struct net_http_request *r, struct a_view id, struct a_view event, struct a_view data)
{
    A_BUF_AUTO struct a_buf b = {0};
    if (id.len != 0)
        field_add(&b, "id", id);
    if (event.len != 0)
        field_add(&b, "event", event);
    do { /* a line end inside would end the field */
        field_add(&b, "data", a_view_split(data, '\n', &data));
    } while (data.len != 0);
    a_buf_add_char(&b, '\n');
    return b.failed ? -ENOMEM : net_http_stream_write(r, a_buf_view(&b));
}

int net_http_sse_ping(struct net_http_request *r)
{
    return net_http_stream_write(r, A_VIEW_LIT(":\n\n"));
}
