/* Calls and their connections. A call that cannot go on tells so from the loop, never from within the
 * function that found out; when it tells, connection and call are already in order, so the owner may do
 * anything then. */
#include "net/http_client.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/list.h"
#include "net/http_head.h"

#define IDLE_MAX 64
#define IDLE_MS 4000
#define CONNECT_TIMEOUT_MS 2000
#define CALL_TIMEOUT_MS 10000
#define BODY_MAX (1024u * 1024u)

struct net_http_client {
    struct sys_loop *loop;
    struct net_http_client_options o;
    struct a_list idle, busy; /* connections; the one that was idle longest is first */
    struct a_list calls;
    unsigned n_idle, n_conns;
};

struct conn {
    struct a_list link;
    struct net_http_client *client;
    struct sys_stream *stream;
    char *host;
    uint16_t port;
    struct net_http_call *call; /* NULL = idle */
    bool reused;
    struct a_buf in;
    struct sys_timer idle_timer;
};

struct net_http_call {
    struct a_list link;
    struct net_http_client *client;
    struct conn *conn;
    char *host;
    uint16_t port;
    struct a_buf request;
    enum wire_http_method method;
    bool retried, heard, has_head; /* heard: a byte of the answer came */
    uint64_t connect_timeout_ms;
    size_t body_max;
    struct sys_timer timer;
    struct sys_defer fail;
    int rc;
    struct a_error error;
    struct wire_http_parser parser;
    struct wire_http_head head;
    struct wire_http_decoder decoder;
    struct a_arena arena;
    struct a_buf body;
    void (*done)(void *ctx, const struct net_http_answer *answer);
    void *ctx;
};

/* --- connections --- */

static void conn_free(struct conn *k)
{
    if (k->call == NULL && a_list_linked(&k->link))
        k->client->n_idle--;
    k->client->n_conns--;
    a_list_remove(&k->link);
    sys_timer_clear(&k->idle_timer);
    sys_stream_close(k->stream);
    a_buf_deinit(&k->in);
    a_free(k->host);
    a_free(k);
}

static void conn_idle_over(void *ctx)
{
    conn_free(ctx);
}

/* The call is through with it: kept for the next one. */
static void conn_rest(struct conn *k)
{
    struct net_http_client *c = k->client;
    k->call->conn = NULL;
    k->call = NULL;
    k->reused = true;
    a_list_remove(&k->link);
    a_list_push_back(&c->idle, &k->link);
    c->n_idle++;
    sys_timer_set_in(&k->idle_timer, c->o.idle_ms);
    if (c->n_idle > c->o.idle_max)
        conn_free(a_list_entry(c->idle.next, struct conn, link));
}

/* The youngest idle connection to that place, or NULL. */
static struct conn *conn_find(struct net_http_client *c, const char *host, uint16_t port)
{
    for (struct a_list *link = c->idle.prev; link != &c->idle; link = link->prev) {
        struct conn *k = a_list_entry(link, struct conn, link);
        if (k->port == port && strcmp(k->host, host) == 0)
            return k;
    }
    return NULL;
}

/* --- the end of a call --- */

static void call_free(struct net_http_call *call)
{
    a_list_remove(&call->link);
    sys_timer_clear(&call->timer);
    sys_defer_cancel(&call->fail);
    a_error_deinit(&call->error);
    a_buf_deinit(&call->request);
    a_buf_deinit(&call->body);
    a_arena_deinit(&call->arena);
    a_free(call->host);
    a_free(call);
}

static void call_drop_conn(struct net_http_call *call)
{
    struct conn *k = call->conn;
    call->conn = NULL;
    if (k != NULL)
        conn_free(k);
}

/* Tells, and frees: nothing of the client is touched afterwards. */
static void call_tell(struct net_http_call *call)
{
    struct net_http_answer answer = {
        .rc = call->rc,
        .error = call->rc != 0 ? &call->error : NULL,
        .status = call->rc == 0 ? call->head.status : 0,
        .head = call->rc == 0 ? &call->head : NULL,
        .body = call->rc == 0 ? a_buf_view(&call->body) : (struct a_view){NULL, 0},
    };
    a_list_remove(&call->link);
    sys_timer_clear(&call->timer);
    sys_defer_cancel(&call->fail);
    call->done(call->ctx, &answer);
    call_free(call);
}

static void call_note(struct net_http_call *call, int rc, enum a_code code, const char *what)
{
    call->rc = rc;
    a_error_set(&call->error, code, "%s:%u: %s", call->host, call->port, what);
}

static void call_fail(struct net_http_call *call, int rc, enum a_code code, const char *what)
{
    call_note(call, rc, code, what);
    call_drop_conn(call);
    call_tell(call);
}

static void call_fail_deferred(void *ctx)
{
    struct net_http_call *call = ctx;
    call_drop_conn(call);
    call_tell(call);
}

static void call_fail_later(struct net_http_call *call, int rc, const char *what)
{
    call_note(call, rc, A_CODE_UNAVAILABLE, what);
    sys_defer_call(call->client->loop, &call->fail, call_fail_deferred, call);
}

static void call_timer(void *ctx)
{
    call_fail(ctx, -ETIMEDOUT, A_CODE_TIMEOUT, "no answer in time");
}

/* --- one attempt --- */

static void call_begin(struct net_http_call *call);

static void call_write(struct net_http_call *call)
{
    struct conn *k = call->conn;
    int rc = sys_stream_write(k->stream, call->request.ptr, call->request.len);
    if (rc != 0 && !k->reused) {
        char why[128];
        call_fail_later(call, rc, strerror_r(-rc, why, sizeof why));
    }
    /* A reused connection that broke says so by its reader, too: there the call is sent again. */
    else if (rc != 0) {
        call_drop_conn(call);
        call->retried = true;
        call_begin(call);
    }
}

/* The connection was lost. A server may close an idle one just when we use it: then nobody has seen the
 * request. */
static void call_lost(struct net_http_call *call, int rc, const char *what)
{
    bool again =
        call->conn->reused && !call->heard && !call->retried && wire_http_method_idempotent(call->method);
    if (!again) {
        call_fail(call, rc, A_CODE_UNAVAILABLE, what);
        return;
    }
    call->retried = true;
    call_drop_conn(call);
    call_begin(call);
}

static void call_finish(struct net_http_call *call)
{
    struct conn *k = call->conn;
    if (call->head.keep_alive && k->in.len == 0 && call->head.body != WIRE_HTTP_BODY_CLOSE)
        conn_rest(k);
    else
        call_drop_conn(call);
    call_tell(call);
}

/* Takes a head off the connection's bytes: 0 when it is there, WIRE_E_MORE, or -errno. */
static int head_take(struct net_http_call *call, struct a_buf *in)
{
    for (;;) {
        struct wire_http_error why = {0, "broken"};
        int rc = wire_http_response_parse(&call->parser, a_buf_view(in), call->method, &call->head, &why);
        if (rc == WIRE_E_MORE)
            return rc;
        if (rc != 0) {
            call_note(call, -EPROTO, A_CODE_UNAVAILABLE, why.what);
            return -EPROTO;
        }
        bool interim = call->head.status / 100 == 1;
        if (!interim && !net_http_head_keep(&call->head, &call->arena, in->ptr)) {
            call_note(call, -ENOMEM, A_CODE_UNAVAILABLE, "out of memory");
            return -ENOMEM;
        }
        a_buf_consume(in, call->head.size);
        if (interim)
            continue;
        wire_http_decoder_init(&call->decoder, &call->head);
        call->has_head = true;
        return 0;
    }
}

static int body_keep(struct net_http_call *call, struct a_view data)
{
    if (data.len > call->body_max - call->body.len) {
        call_note(call, -EFBIG, A_CODE_TOO_LARGE, "the answer is too large");
        return -EFBIG;
    }
    a_buf_add_view(&call->body, data);
    if (!call->body.failed)
        return 0;
    call_note(call, -ENOMEM, A_CODE_UNAVAILABLE, "out of memory");
    return -ENOMEM;
}

/* Takes what there is of the body: 0 when it is whole, WIRE_E_MORE, or -errno. */
static int body_take(struct net_http_call *call, struct a_buf *in)
{
    size_t at = 0, used = 1;
    int rc = 0;
    bool empty = call->decoder.kind == WIRE_HTTP_BODY_LENGTH && call->head.content_length == 0;
    while (rc == 0 && !call->decoder.done && !empty && used > 0) {
        struct a_view data = {NULL, 0};
        rc =
            wire_http_decoder_step(&call->decoder, (struct a_view){in->ptr + at, in->len - at}, &used, &data);
        if (rc != 0 && rc != WIRE_E_MORE) {
            call_note(call, -EPROTO, A_CODE_UNAVAILABLE, call->decoder.what);
            return -EPROTO;
        }
        rc = body_keep(call, data);
        at += used;
    }
    a_buf_consume(in, at);
    if (rc != 0)
        return rc;
    return call->decoder.done || empty ? 0 : WIRE_E_MORE;
}

static void conn_read(void *ctx, struct a_view bytes)
{
    struct conn *k = ctx;
    struct net_http_call *call = k->call;
    if (call == NULL) { /* nobody asked */
        conn_free(k);
        return;
    }
    call->heard = true;
    a_buf_add_view(&k->in, bytes);
    if (k->in.failed) {
        call_fail(call, -ENOMEM, A_CODE_UNAVAILABLE, "out of memory");
        return;
    }
    int rc = call->has_head ? 0 : head_take(call, &k->in);
    if (rc == 0)
        rc = body_take(call, &k->in);
    if (rc == 0) {
        call_finish(call);
    } else if (rc < 0) {
        call_drop_conn(call);
        call_tell(call);
    }
}

static void conn_eof(void *ctx)
{
    struct conn *k = ctx;
    struct net_http_call *call = k->call;
    if (call == NULL)
        conn_free(k);
    else if (call->has_head && wire_http_decoder_eof(&call->decoder) == 0)
        call_finish(call);
    else
        call_lost(call, -ECONNRESET, "the connection was closed before the answer was complete");
}

static void conn_error(void *ctx, int rc)
{
    struct conn *k = ctx;
    char why[128];
    if (k->call == NULL)
        conn_free(k);
    else
        call_lost(k->call, rc, strerror_r(-rc, why, sizeof why));
}

static const struct sys_stream_ops conn_ops = {.read = conn_read, .eof = conn_eof, .error = conn_error};

static void conn_connected(void *ctx, int rc)
{
    struct conn *k = ctx;
    char why[128];
    if (rc != 0)
        call_fail(k->call, rc, rc == -ETIMEDOUT ? A_CODE_TIMEOUT : A_CODE_UNAVAILABLE,
                  rc == -ETIMEDOUT ? "no connection in time" : strerror_r(-rc, why, sizeof why));
}

static void call_connect(struct net_http_call *call)
{
    struct net_http_client *c = call->client;
    struct conn *k = a_new(struct conn);
    struct sys_connect_options o = {.timeout_ms = call->connect_timeout_ms, .dns = c->o.dns};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    k->client = c;
    k->host = a_strdup(call->host);
    k->port = call->port;
    k->in.max = WIRE_HTTP_HEAD_MAX + 256u * 1024u;
    sys_timer_init(&k->idle_timer, c->loop, conn_idle_over, k);
    c->n_conns++;
    k->call = call;
    call->conn = k;
    a_list_push_back(&c->busy, &k->link);
    int rc = sys_tcp_connect(c->loop, k->host, k->port, &o, conn_connected, k, &k->stream, &e);
    if (rc != 0) {
        call_fail_later(call, rc, a_error_text(&e));
        return;
    }
    sys_stream_set_limits(k->stream,
                          &(struct sys_stream_limits){.limit = SIZE_MAX / 2}); /* the memory exists */
    sys_stream_set_ops(k->stream, &conn_ops, k);
    sys_stream_read_start(k->stream);
    call_write(call); /* waits in the queue until the connection stands */
}

static void call_begin(struct net_http_call *call)
{
    struct net_http_client *c = call->client;
    struct conn *k = call->retried ? NULL : conn_find(c, call->host, call->port);
    if (k == NULL) {
        call_connect(call);
        return;
    }
    sys_timer_clear(&k->idle_timer);
    a_list_remove(&k->link);
    a_list_push_back(&c->busy, &k->link);
    c->n_idle--;
    k->call = call;
    call->conn = k;
    call_write(call);
}

/* --- what is sent --- */

static bool target_is_clean(struct a_view target)
{
    for (size_t i = 0; i < target.len; i++)
        if ((unsigned char)target.ptr[i] <= ' ' || target.ptr[i] == 0x7f)
            return false;
    return target.len != 0 && target.ptr[0] == '/';
}

static int request_print(struct a_buf *b, const struct net_http_call_options *o, const char *method,
                         struct a_error *reterr)
{
    struct a_view target = a_view_str(o->target != NULL ? o->target : "/");
    A_AUTOFREE char *host = a_asprintf(strchr(o->host, ':') != NULL ? "[%s]:%u" : "%s:%u", o->host, o->port);
    bool ok = target_is_clean(target);
    wire_http_write_request(b, a_view_str(method), target);
    ok &= wire_http_write_header_str(b, "host", host);
    if (o->content_type != NULL)
        ok &= wire_http_write_header_str(b, "content-type", o->content_type);
    if (o->bearer != NULL) {
        A_AUTOFREE char *value = a_asprintf("Bearer " A_VIEW_FMT, A_VIEW_ARG(sys_secret_view(o->bearer)));
        ok &= wire_http_write_header_str(b, "authorization", value);
        sys_secret_wipe(value, strlen(value));
    }
    for (size_t i = 0; i < o->n_headers; i++)
        ok &= wire_http_write_header_str(b, o->headers[i].name, o->headers[i].value);
    if (o->body.len != 0 || strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0)
        wire_http_write_length(b, o->body.len);
    wire_http_write_end(b);
    a_buf_add_view(b, o->body);
    if (!ok)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "a request to %s has a target or header that HTTP does not allow", host);
    return b->failed ? a_fail_errno(reterr, -ENOMEM, "cannot send a request to %s", host) : 0;
}

int net_http_client_send(struct net_http_client *c, const struct net_http_call_options *options,
                         void (*done)(void *ctx, const struct net_http_answer *answer), void *ctx,
                         struct net_http_call **ret_call, struct a_error *reterr)
{
    const struct net_http_call_options *o = options;
    const char *method = o->method != NULL ? o->method : o->body.len != 0 ? "POST" : "GET";
    A_BUF_AUTO struct a_buf request = {0};
    int rc = request_print(&request, o, method, reterr);
    if (rc != 0)
        return rc;
    struct net_http_call *call = a_new(struct net_http_call);
    call->client = c;
    call->host = a_strdup(o->host);
    call->port = o->port;
    call->request = request;
    request = (struct a_buf){0};
    call->method = wire_http_method_parse(a_view_str(method));
    call->connect_timeout_ms = o->connect_timeout_ms != 0 ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    call->body_max = o->body_max != 0 ? o->body_max : BODY_MAX;
    call->done = done;
    call->ctx = ctx;
    a_list_push_back(&c->calls, &call->link);
    sys_timer_init(&call->timer, c->loop, call_timer, call);
    sys_timer_set_in(&call->timer, o->timeout_ms != 0 ? o->timeout_ms : CALL_TIMEOUT_MS);
    call_begin(call);
    if (ret_call != NULL)
        *ret_call = call;
    return 0;
}

void net_http_call_cancel(struct net_http_call *call)
{
    call_drop_conn(call);
    call_free(call);
}

struct net_http_client *net_http_client_new(struct sys_loop *loop,
                                            const struct net_http_client_options *options)
{
    struct net_http_client *c = a_new(struct net_http_client);
    c->loop = loop;
    if (options != NULL)
        c->o = *options;
    if (c->o.idle_max == 0)
        c->o.idle_max = IDLE_MAX;
    if (c->o.idle_ms == 0)
        c->o.idle_ms = IDLE_MS;
    a_list_init(&c->idle);
    a_list_init(&c->busy);
    a_list_init(&c->calls);
    return c;
}

void net_http_client_free(struct net_http_client *c)
{
    if (c == NULL)
        return;
    while (!a_list_empty(&c->calls))
        net_http_call_cancel(a_list_entry(c->calls.next, struct net_http_call, link));
    while (!a_list_empty(&c->idle))
        conn_free(a_list_entry(c->idle.next, struct conn, link));
    a_free(c);
}

unsigned net_http_client_connections(const struct net_http_client *c)
{
    return c->n_conns;
}
