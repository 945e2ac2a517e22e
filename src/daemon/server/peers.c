/* Connections by Starlink: whoever dials says HELLO first, within ten seconds and with the join token; what
 * it is decides who takes its messages from there. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/server.h"
#include "sys/log.h"

#define PEER_MAGIC A_MAGIC('d', 'p', 'e', 'r')
#define HELLO_MS 10000

static void peer_free(struct d_peer *p)
{
    sys_timer_clear(&p->hello_timer);
    a_list_remove(&p->link);
    a_free(p);
}

static void peer_detach(struct d_peer *p)
{
    switch (p->kind) {
    case D_PEER_AGENT:
        d_agent_detach(p);
        break;
    case D_PEER_GATEWAY:
        d_gateway_detach(p);
        break;
    case D_PEER_BULK:
        d_bulk_detach(p);
        break;
    case D_PEER_NEW:
        break;
    }
    p->kind = D_PEER_NEW;
}

static void on_closed(void *ctx, struct net_link *l, int rc, const char *why)
{
    (void)l;
    (void)rc;
    struct d_peer *p = A_CAST(struct d_peer, ctx, PEER_MAGIC);
    sys_log(INFO, "server", "peer.closed", "connection closed", SYS_U64("conn", p->conn),
            SYS_STR("why", why));
    peer_detach(p);
    peer_free(p);
}

void d_peer_refuse(struct d_peer *p, enum a_code code, const char *message)
{
    sys_log(WARN, "server", "peer.refused", message, SYS_STR("peer", net_link_peer(p->net)),
            SYS_STR("code", a_code_name(code)));
    peer_detach(p);
    net_link_refuse(p->net, code, message);
    peer_free(p);
}

static void hello(struct d_peer *p, const struct wire_sl_hello *h)
{
    struct server *s = p->server;
    if (h->protocol_min > WIRE_SL_PROTOCOL || h->protocol_max < WIRE_SL_PROTOCOL_MIN) {
        d_peer_refuse(p, A_CODE_WIRE_UNSUPPORTED,
                      "no protocol version in common: upgrade servers first, then gateways, then agents");
        return;
    }
    bool ticket = h->peer == WIRE_SL_PEER_BULK && h->ticket.len > 0; /* a secret of its own, good once */
    if (!ticket && !sys_secret_equal(&s->join_token, h->token)) {
        d_peer_refuse(p, A_CODE_UNAUTHORIZED,
                      "wrong join token: take the one in the server's data folder (join.token)");
        return;
    }
    sys_timer_clear(&p->hello_timer);
    switch (h->peer) {
    case WIRE_SL_PEER_AGENT:
        p->kind = D_PEER_AGENT;
        d_agent_attach(p, h);
        return;
    case WIRE_SL_PEER_GATEWAY:
        p->kind = D_PEER_GATEWAY;
        d_gateway_attach(p, h);
        return;
    case WIRE_SL_PEER_BULK:
        p->kind = D_PEER_BULK;
        d_bulk_attach(p, h);
        return;
    default:
        d_peer_refuse(p, A_CODE_WIRE_UNSUPPORTED,
                      "only agents, gateways and bulk connections are served here");
    }
}

static void on_message(void *ctx, struct net_link *l, const struct wire_sl_message *m)
{
    (void)l;
    struct d_peer *p = A_CAST(struct d_peer, ctx, PEER_MAGIC);
    if (p->kind == D_PEER_NEW && m->type == WIRE_SL_T_HELLO)
        hello(p, &m->hello);
    else if (p->kind == D_PEER_AGENT)
        d_agent_message(p, m);
    else if (p->kind == D_PEER_GATEWAY)
        d_gateway_message(p, m);
    else if (p->kind == D_PEER_BULK)
        d_bulk_message(p, m);
    else
        d_peer_refuse(p, A_CODE_WIRE_MALFORMED, "the first frame must be HELLO");
}

/* What a full queue dropped: agents repeat by the claimer's time-outs; a gateway gets its view afresh. */
static void on_resync(void *ctx, struct net_link *l)
{
    (void)l;
    struct d_peer *p = A_CAST(struct d_peer, ctx, PEER_MAGIC);
    if (p->kind != D_PEER_GATEWAY)
        return;
    p->gateway->sent = 0;
    d_routes_touch(p->server);
}

static const struct net_link_ops peer_ops = {.message = on_message, .resync = on_resync, .closed = on_closed};

static void on_hello_timeout(void *ctx)
{
    struct d_peer *p = A_CAST(struct d_peer, ctx, PEER_MAGIC);
    d_peer_refuse(p, A_CODE_TIMEOUT, "no HELLO within 10 s");
}

static void on_accept(void *ctx, struct net_link *l)
{
    struct server *s = ctx;
    struct d_peer *p = a_new(struct d_peer);
    *p = (struct d_peer){.magic = PEER_MAGIC, .server = s, .net = l};
    do
        p->conn = ++s->last_conn;
    while (p->conn == 0);
    a_list_push_back(&s->peers, &p->link);
    sys_timer_init(&p->hello_timer, s->loop, on_hello_timeout, p);
    sys_timer_set_in(&p->hello_timer, HELLO_MS);
    net_link_set_ops(l, &peer_ops, p);
}

int d_peers_listen(struct server *s, struct a_error *reterr)
{
    struct sys_addr addr;
    int rc = sys_addr_parse(s->options.starlink, &addr, reterr);
    if (rc == 0)
        rc = net_link_listen(s->loop, &addr, &(struct sys_listen_options){0}, on_accept, s, &s->listener,
                             reterr);
    if (rc != 0)
        a_error_wrap(reterr, "Starlink on %s", s->options.starlink);
    return rc;
}

void d_peers_close(struct server *s)
{
    net_link_listener_close(s->listener);
    s->listener = NULL;
    a_list_foreach_safe (l, &s->peers) {
        struct d_peer *p = a_list_entry(l, struct d_peer, link);
        peer_detach(p);
        net_link_close(p->net);
        peer_free(p);
    }
}

struct d_agent *d_agent_find(const struct server *s, const struct a_node_id *node)
{
    struct a_map_link *l = a_map_get_str(&s->agents, node->s);
    return l != NULL ? a_map_entry(l, struct d_agent, by_node) : NULL;
}

bool d_agent_send(struct server *s, const struct a_node_id *node, const struct wire_sl_message *m)
{
    struct d_agent *a = d_agent_find(s, node);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (a == NULL)
        return false;
    int rc = net_link_send(a->peer->net, m, &e);
    if (rc != 0)
        sys_log(WARN, "server", "agent.send", "frame not sent", SYS_STR("node", node->s),
                SYS_STR("type", wire_sl_type_name(m->type)), SYS_ERR(&e));
    return rc == 0;
}
