/* How links come to be: listeners, and dialers that do not give up. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "net/starlink.h"

#define BACKOFF_MIN_MS 100  /* a restarted server is back within a few of these */
#define BACKOFF_MAX_MS 5000 /* half of what declares a node lost (10 s) */

struct net_link_listener {
    struct net_listener *listener;
    const struct net_link_listener_ops *ops;
    void *ctx;
};

static void stream_accepted(void *ctx, struct net_stream *stream)
{
    struct net_link_listener *l = ctx;
    l->ops->accept(l->ctx, net_link_new(stream, NULL, NULL));
}

static void stream_refused(void *ctx, enum net_refusal refusal, const char *peer, const char *why)
{
    struct net_link_listener *l = ctx;
    if (l->ops->refused != NULL)
        l->ops->refused(l->ctx, refusal, peer, why);
}

int net_link_listen(struct sys_loop *loop, const struct sys_addr *addr, struct net_tls *tls,
                    const struct net_link_listener_ops *ops, void *ctx,
                    struct net_link_listener **ret_listener, struct a_error *reterr)
{
    static const struct net_listener_ops listener_ops = {.accept = stream_accepted,
                                                         .refused = stream_refused};
    struct net_link_listener *l = a_new(struct net_link_listener);
    l->ops = ops;
    l->ctx = ctx;
    int rc = net_listener_open(loop, addr, NULL, tls, &listener_ops, l, &l->listener, reterr);
    if (rc != 0) {
        a_free(l);
        return rc;
    }
    *ret_listener = l;
    return 0;
}

void net_link_listener_set_tls(struct net_link_listener *l, struct net_tls *tls)
{
    net_listener_set_tls(l->listener, tls);
}

void net_link_listener_addr(const struct net_link_listener *l, struct sys_addr *ret_addr)
{
    net_listener_addr(l->listener, ret_addr);
}

void net_link_listener_close(struct net_link_listener *l)
{
    if (l == NULL)
        return;
    net_listener_close(l->listener);
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
    struct net_stream *stream; /* being connected */
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

static void dialer_connected(void *ctx, int rc, const char *why)
{
    struct net_dialer *d = ctx;
    struct net_stream *stream = a_steal(&d->stream);
    if (rc == 0) {
        d->ops->up(d->ctx, d, net_link_new(stream, NULL, NULL));
        return;
    }
    A_AUTOFREE char *words = a_strdup(why);
    net_stream_close(stream);
    dialer_failed(d, rc, words);
}

static void dialer_dial(struct net_dialer *d)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    const struct net_connect_options o = {
        .host = d->host, .port = d->port, .timeout_ms = d->o.timeout_ms, .dns = d->o.dns, .tls = d->o.tls};
    int rc = net_stream_connect(d->loop, &o, dialer_connected, d, &d->stream, &e);
    if (rc != 0)
        dialer_failed(d, rc, a_error_text(&e));
}

static void dialer_timer(void *ctx)
{
    dialer_dial(ctx);
}

static int host_check(const struct net_dialer_options *o, const char *host, uint16_t port,
                      struct a_error *reterr)
{
    struct sys_addr addr;
    return o->dns != NULL ? 0 : sys_addr_make(host, port, &addr, reterr);
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
    net_tls_ref(d->o.tls);
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

void net_dialer_set_tls(struct net_dialer *d, struct net_tls *tls)
{
    net_tls_ref(tls);
    net_tls_unref(d->o.tls);
    d->o.tls = tls;
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
    net_stream_close(a_steal(&d->stream));
    sys_timer_set_in(&d->timer, 0);
    return 0;
}

void net_dialer_free(struct net_dialer *d)
{
    if (d == NULL)
        return;
    net_stream_close(d->stream);
    sys_timer_clear(&d->timer);
    net_tls_unref(d->o.tls);
    a_free(d->host);
    a_free(d);
}
