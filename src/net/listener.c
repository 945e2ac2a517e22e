/* Listeners, and the handshakes of those who have just come. */
#include "base/alloc.h"
#include "net/network.h"
#include "net/stream_internal.h"
#include "sys/random.h"

#define HANDSHAKE_MS 10000
#define HANDSHAKES_MAX 1024u

struct net_listener {
    struct sys_listener *raw;
    struct net_tls *tls;
    const struct net_listener_ops *ops;
    void *ctx;
    struct a_map networks; /* of those in the handshake: their members, oldest first */
    unsigned n_guests;
};

struct guest {
    struct a_list link;
    struct net_listener *listener;
    struct net_network *network;
    struct net_stream *stream;
};

/* The handshake is no longer the listener's business; the stream is the caller's. */
static struct net_stream *guest_take(struct guest *g)
{
    struct net_stream *s = g->stream;
    g->listener->n_guests--;
    a_list_remove(&g->link);
    net_network_leave(&g->listener->networks, g->network);
    a_free(g);
    return s;
}

/* The oldest of the network that has most: whoever opens many ends its own, not another's. */
static struct guest *guest_too_many(const struct net_listener *l)
{
    return a_list_entry(net_network_most(&l->networks)->members.next, struct guest, link);
}

static void guest_refuse(struct guest *g, enum net_refusal refusal, const char *why)
{
    struct net_listener *l = g->listener;
    struct net_stream *s = guest_take(g);
    if (l->ops->refused != NULL)
        l->ops->refused(l->ctx, refusal, net_stream_peer_text(s), why);
    net_stream_close_soft(s, 1000);
}

static void guest_shaken(void *ctx, int rc, const char *why)
{
    struct guest *g = ctx;
    struct net_listener *l = g->listener;
    if (rc == 0)
        l->ops->accept(l->ctx, guest_take(g));
    else
        guest_refuse(g, net_stream_refusal(g->stream), why);
}

static void on_accept(void *ctx, struct sys_stream *raw)
{
    struct net_listener *l = ctx;
    struct net_stream *s = net_stream_new(raw, l->tls);
    if (l->tls == NULL) {
        l->ops->accept(l->ctx, s);
        return;
    }
    struct guest *g = a_new(struct guest);
    g->listener = l;
    g->stream = s;
    g->network = net_network_come(&l->networks, s);
    a_list_push_back(&g->network->members, &g->link);
    l->n_guests++;
    net_stream_shake(s, HANDSHAKE_MS, guest_shaken, g);
    if (l->n_guests > HANDSHAKES_MAX)
        guest_refuse(guest_too_many(l), NET_REFUSAL_SLOW, "too many handshakes are under way");
}

int net_listener_open(struct sys_loop *loop, const struct sys_addr *addr,
                      const struct sys_listen_options *options, struct net_tls *tls,
                      const struct net_listener_ops *ops, void *ctx, struct net_listener **ret_listener,
                      struct a_error *reterr)
{
    struct net_listener *l = a_new(struct net_listener);
    l->tls = net_tls_ref(tls);
    l->ops = ops;
    l->ctx = ctx;
    l->networks.seed = sys_random_seed();
    int rc = sys_listener_open(loop, addr, options, on_accept, l, &l->raw, reterr);
    if (rc != 0) {
        net_listener_close(l);
        return rc;
    }
    *ret_listener = l;
    return 0;
}

void net_listener_set_tls(struct net_listener *l, struct net_tls *tls)
{
    net_tls_ref(tls);
    net_tls_unref(l->tls);
    l->tls = tls;
}

void net_listener_addr(const struct net_listener *l, struct sys_addr *ret_addr)
{
    sys_listener_addr(l->raw, ret_addr);
}

void net_listener_close(struct net_listener *l)
{
    if (l == NULL)
        return;
    sys_listener_close(l->raw);
    while (l->n_guests > 0)
        net_stream_close(guest_take(guest_too_many(l)));
    a_map_deinit(&l->networks);
    net_tls_unref(l->tls);
    a_free(l);
}
