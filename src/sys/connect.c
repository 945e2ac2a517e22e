/* Connecting: an address at once, a name by way of the dns pool; both under one time-out. Whatever goes wrong
 * is told from the loop, after the call that began it has returned. */
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "base/alloc.h"
#include "sys/pool.h"
#include "sys/stream_internal.h"

#define CONNECT_TIMEOUT_MS 5000 /* a SYN is repeated after 1 s and 3 s */

struct sys_connect_state {
    uv_connect_t req;
    void (*connected)(void *ctx, int rc);
    void *ctx;
    int failed; /* told by the timer */
    struct sys_addr bind_addr;
    struct sys_work resolve;
    char *host;
    uint16_t port;
    struct sys_addr addr;
    int resolve_rc;
};

static void connect_end(struct sys_stream *s, int rc)
{
    struct sys_connect_state *c = s->connect;
    if (c->connected == NULL || s->closed)
        return;
    void (*connected)(void *ctx, int rc) = c->connected;
    c->connected = NULL;
    sys_timer_clear(&s->timer);
    if (rc == 0)
        sys_stream_connected(s);
    else
        s->broken = true;
    connected(c->ctx, rc);
}

static void connect_done(uv_connect_t *req, int status)
{
    connect_end(A_CONTAINER_OF(req, struct sys_connect_state, req)->req.data, status);
}

static void connect_timer(void *ctx)
{
    struct sys_stream *s = ctx;
    connect_end(s, s->connect->failed != 0 ? s->connect->failed : -ETIMEDOUT);
}

/* Told in the next round. */
static void connect_fail_later(struct sys_stream *s, int rc)
{
    s->connect->failed = rc;
    sys_timer_set_in(&s->timer, 0);
}

static int tcp_begin(struct sys_stream *s, const struct sys_addr *addr)
{
    struct sys_connect_state *c = s->connect;
    if (c->bind_addr.len != 0) {
        int rc = uv_tcp_bind(&s->uv.tcp, &c->bind_addr.sa, 0);
        if (rc != 0)
            return rc;
    }
    (void)uv_tcp_nodelay(&s->uv.tcp, 1);
    return uv_tcp_connect(&c->req, &s->uv.tcp, &addr->sa, connect_done);
}

static void connect_begin(struct sys_stream *s, const struct sys_addr *addr)
{
    int rc = 0;
    if (addr->sa.sa_family == AF_UNIX)
        uv_pipe_connect(&s->connect->req, &s->uv.pipe, ((const struct sockaddr_un *)&addr->storage)->sun_path,
                        connect_done);
    else
        rc = tcp_begin(s, addr);
    if (rc != 0)
        connect_fail_later(s, rc);
}

static struct sys_stream *connect_new(struct sys_loop *loop, int family, const struct sys_connect_options *o,
                                      void (*connected)(void *ctx, int rc), void *ctx)
{
    struct sys_stream *s = sys_stream_new(loop, family);
    struct sys_connect_state *c = a_new(struct sys_connect_state);
    s->connect = c;
    s->connecting = true;
    c->req.data = s;
    c->connected = connected;
    c->ctx = ctx;
    sys_timer_init(&s->timer, loop, connect_timer, s);
    sys_timer_set_in(&s->timer, o->timeout_ms != 0 ? o->timeout_ms : CONNECT_TIMEOUT_MS);
    return s;
}

static int bind_addr_parse(const struct sys_connect_options *o, struct sys_addr *ret_addr,
                           struct a_error *reterr)
{
    if (o->bind_host == NULL)
        return 0;
    return sys_addr_make(o->bind_host, 0, ret_addr, reterr);
}

int sys_stream_connect(struct sys_loop *loop, const struct sys_addr *addr,
                       const struct sys_connect_options *options, void (*connected)(void *ctx, int rc),
                       void *ctx, struct sys_stream **ret_stream, struct a_error *reterr)
{
    struct sys_connect_options o = options != NULL ? *options : (struct sys_connect_options){0};
    struct sys_addr bind_addr = {.len = 0};
    int rc = bind_addr_parse(&o, &bind_addr, reterr);
    if (rc != 0)
        return rc;
    struct sys_stream *s = connect_new(loop, addr->sa.sa_family, &o, connected, ctx);
    s->connect->bind_addr = bind_addr;
    connect_begin(s, addr);
    *ret_stream = s;
    return 0;
}

static void resolve_work(void *ctx)
{
    struct sys_connect_state *c = ((struct sys_stream *)ctx)->connect;
    c->resolve_rc = sys_addr_resolve(c->host, c->port, &c->addr, NULL);
}

static void resolve_done(void *ctx, bool cancelled)
{
    struct sys_stream *s = ctx;
    struct sys_connect_state *c = s->connect;
    s->resolving = false;
    a_free(a_steal(&c->host));
    if (s->closed)
        sys_stream_maybe_free(s);
    else if (c->connected == NULL)
        return; /* timed out meanwhile */
    else if (cancelled || c->resolve_rc != 0)
        connect_fail_later(s, cancelled ? -ECANCELED : c->resolve_rc);
    else
        connect_begin(s, &c->addr);
}

void sys_connect_cancel(struct sys_stream *s)
{
    if (s->resolving)
        (void)sys_work_cancel(&s->connect->resolve); /* its done follows in either case */
}

int sys_tcp_connect(struct sys_loop *loop, const char *host, uint16_t port,
                    const struct sys_connect_options *options, void (*connected)(void *ctx, int rc),
                    void *ctx, struct sys_stream **ret_stream, struct a_error *reterr)
{
    struct sys_connect_options o = options != NULL ? *options : (struct sys_connect_options){0};
    struct sys_addr addr, bind_addr = {.len = 0};
    if (o.dns == NULL || sys_addr_make(host, port, &addr, NULL) == 0) {
        int rc = sys_addr_make(host, port, &addr, reterr);
        return rc != 0 ? rc : sys_stream_connect(loop, &addr, options, connected, ctx, ret_stream, reterr);
    }
    int rc = bind_addr_parse(&o, &bind_addr, reterr);
    if (rc != 0)
        return rc;
    struct sys_stream *s = connect_new(loop, AF_INET, &o, connected, ctx);
    struct sys_connect_state *c = s->connect;
    c->bind_addr = bind_addr;
    c->host = a_strdup(host);
    c->port = port;
    s->resolving = true;
    rc = sys_pool_submit(o.dns, loop, &c->resolve, resolve_work, resolve_done, s);
    if (rc != 0) {
        s->resolving = false;
        a_free(a_steal(&c->host));
        connect_fail_later(s, rc);
    }
    *ret_stream = s;
    return 0;
}
