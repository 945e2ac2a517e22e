/* How links come to be: listeners, and dialers that do not give up. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "net/starlink.h"

#define BACKOFF_MIN_MS 100  /* a restarted server is back within a few of these */
#define BACKOFF_MAX_MS 5000 /* half of what declares a node lost (10 s) */

struct net_link_listener {
    struct sys_listener *listener;
    void (*accept)(void *ctx, struct net_link *l);
    void *ctx;
};

static void stream_accepted(void *ctx, struct sys_stream *stream)
{
    struct net_link_listener *l = ctx;
    struct net_link *link = NULL;
    if (net_link_new(stream, NULL, NULL, &link, NULL) != 0)
        return;
    l->accept(l->ctx, link);
}

static int loopback_check(const struct sys_addr *addr, const char *text, struct a_error *reterr)
{
    if (sys_addr_is_loopback(addr))
        return 0;
    return a_fail(reterr, -EPERM, A_CODE_FORBIDDEN,
                  "Starlink without TLS is spoken on loopback addresses only, not on %s: use 127.0.0.1",
                  text);
}

int net_link_listen(struct sys_loop *loop, const struct sys_addr *addr,
                    const struct sys_listen_options *options, void (*accept)(void *ctx, struct net_link *l),
                    void *ctx, struct net_link_listener **ret_listener, struct a_error *reterr)
{
    char text[SYS_ADDR_TEXT];
    sys_addr_print(addr, text);
    int rc = loopback_check(addr, text, reterr);
    if (rc != 0)
        return rc;
    struct net_link_listener *l = a_new(struct net_link_listener);
    l->accept = accept;
    l->ctx = ctx;
    rc = sys_listener_open(loop, addr, options, stream_accepted, l, &l->listener, reterr);
    if (rc != 0) {
        a_free(l);
        return rc;
    }
    *ret_listener = l;
    return 0;
}

void net_link_listener_addr(const struct net_link_listener *l, struct sys_addr *ret_addr)
{
    sys_listener_addr(l->listener, ret_addr);
}

void net_link_listener_close(struct net_link_listener *l)
{
    if (l == NULL)
        return;
    sys_listener_close(l->listener);
    a_free(l);
}

/* --- dialling --- */

struct net_dialer {
    struct sys_loop *loop;
    const struct net_dialer_ops *ops;
    void *ctx;
    struct net_dialer_options o;
    char *host;
    uint16_t port;
    struct a_random random;
    unsigned failures;         /* in a row */
    struct sys_stream *stream; /* being connected */
    struct sys_timer timer;
};

uint64_t net_backoff_ms(struct a_random *random, unsigned n, uint64_t min_ms, uint64_t max_ms)
{
    uint64_t pause = min_ms;
    while (n-- > 0 && pause < max_ms)
        pause *= 2;
    pause = A_MIN(pause, max_ms);
    return pause - a_random_below(random, pause / 2 + 1);
}

static void dialer_wait(struct net_dialer *d, uint64_t *ret_ms)
{
    *ret_ms = net_backoff_ms(&d->random, d->failures++, d->o.backoff_min_ms, d->o.backoff_max_ms);
    sys_timer_set_in(&d->timer, *ret_ms);
}

/* The last thing done with the dialer: its owner may free it here. */
static void dialer_failed(struct net_dialer *d, int rc, const char *why)
{
    uint64_t next_ms;
    A_AUTOFREE char *text = a_asprintf("%s:%u: %s", d->host, d->port, why);
    dialer_wait(d, &next_ms);
    if (d->ops->failed != NULL)
        d->ops->failed(d->ctx, d, rc, text, next_ms);
}

static void dialer_connected(void *ctx, int rc)
{
    struct net_dialer *d = ctx;
    struct sys_stream *stream = a_steal(&d->stream);
    struct net_link *link = NULL;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    char why[128];
    if (rc != 0) {
        sys_stream_close(stream);
        dialer_failed(d, rc, strerror_r(-rc, why, sizeof why));
        return;
    }
    rc = net_link_new(stream, NULL, NULL, &link, &e);
    if (rc != 0) {
        dialer_failed(d, rc, a_error_text(&e));
        return;
    }
    d->ops->up(d->ctx, d, link);
}

static void dialer_dial(struct net_dialer *d)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct sys_connect_options o = {.timeout_ms = d->o.timeout_ms, .dns = d->o.dns};
    int rc = sys_tcp_connect(d->loop, d->host, d->port, &o, dialer_connected, d, &d->stream, &e);
    if (rc != 0)
        dialer_failed(d, rc, a_error_text(&e));
}

static void dialer_timer(void *ctx)
{
    dialer_dial(ctx);
}

/* Names are looked at once they are resolved, by net_link_new(). */
static int host_check(const struct net_dialer_options *o, const char *host, uint16_t port,
                      struct a_error *reterr)
{
    struct sys_addr addr;
    if (o->dns != NULL && sys_addr_make(host, port, &addr, NULL) != 0)
        return 0;
    int rc = sys_addr_make(host, port, &addr, reterr);
    return rc != 0 ? rc : loopback_check(&addr, host, reterr);
}

int net_dialer_new(struct sys_loop *loop, const struct net_dialer_options *options,
                   const struct net_dialer_ops *ops, void *ctx, struct net_dialer **ret_dialer,
                   struct a_error *reterr)
{
    int rc = host_check(options, options->host, options->port, reterr);
    if (rc != 0)
        return rc;
    struct net_dialer *d = a_new(struct net_dialer);
    d->loop = loop;
    d->ops = ops;
    d->ctx = ctx;
    d->o = *options;
    d->o.host = NULL;
    if (d->o.backoff_min_ms == 0)
        d->o.backoff_min_ms = BACKOFF_MIN_MS;
    if (d->o.backoff_max_ms == 0)
        d->o.backoff_max_ms = BACKOFF_MAX_MS;
    d->host = a_strdup(options->host);
    d->port = options->port;
    a_random_init(&d->random, options->seed);
    sys_timer_init(&d->timer, loop, dialer_timer, d);
    sys_timer_set_in(&d->timer, 0);
    *ret_dialer = d;
    return 0;
}

void net_dialer_again(struct net_dialer *d)
{
    uint64_t next_ms;
    if (d->stream == NULL && !sys_timer_is_set(&d->timer))
        dialer_wait(d, &next_ms);
}

void net_dialer_succeeded(struct net_dialer *d)
{
    d->failures = 0;
}

int net_dialer_redirect(struct net_dialer *d, const char *host, uint16_t port, struct a_error *reterr)
{
    int rc = host_check(&d->o, host, port, reterr);
    if (rc != 0)
        return rc;
    char *copy = a_strdup(host);
    a_free(d->host);
    d->host = copy;
    d->port = port;
    sys_stream_close(a_steal(&d->stream));
    sys_timer_set_in(&d->timer, 0);
    return 0;
}

void net_dialer_free(struct net_dialer *d)
{
    if (d == NULL)
        return;
    sys_stream_close(d->stream);
    sys_timer_clear(&d->timer);
    a_free(d->host);
    a_free(d);
}
