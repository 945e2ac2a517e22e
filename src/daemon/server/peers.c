/* Connections by Starlink. Whoever has a certificate says HELLO first, whoever has none asks for one with the
 * join token, within ten seconds; what it is decides who takes its messages from there. A certificate speaks
 * for one identity (docs/components/identity.md). */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/api.h"
#include "daemon/server/server.h"
#include "sys/clock.h"
#include "sys/log.h"

#define PEER_MAGIC A_MAGIC('d', 'p', 'e', 'r')
#define HELLO_MS 10000
#define CERT_LOOK_MS 60000 /* at a certificate's end, at least this often */

static void peer_free(struct d_peer *p)
{
    sys_timer_clear(&p->hello_timer);
    sys_timer_clear(&p->cert_timer);
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

void d_refused(struct server *s, enum net_refusal refusal, const char *peer, const char *why)
{
    s->refused[refusal]++;
    sys_log(WARN, "server", "peer.refused", why, SYS_STR("peer", peer),
            SYS_STR("reason", net_refusal_name(refusal)));
}

/* What the link found wrong with what came. */
static enum net_refusal refusal_of(int rc)
{
    switch (rc) {
    case -ENODATA:
        return NET_REFUSAL_CUT;
    case -EMSGSIZE:
        return NET_REFUSAL_OVERSIZED;
    case -EPROTO:
        return NET_REFUSAL_MALFORMED;
    case -EPROTONOSUPPORT:
        return NET_REFUSAL_UNSUPPORTED;
    case -EBADMSG:
        return NET_REFUSAL_HANDSHAKE;
    default:
        return NET_REFUSAL_NONE;
    }
}

static void on_closed(void *ctx, struct net_link *l, int rc, const char *why)
{
    struct d_peer *p = A_CAST(struct d_peer, ctx, PEER_MAGIC);
    enum net_refusal refusal = refusal_of(rc);
    if (refusal != NET_REFUSAL_NONE)
        d_refused(p->server, refusal, net_link_peer(l), why);
    sys_log(INFO, "server", "peer.closed", "connection closed", SYS_U64("conn", p->conn),
            SYS_STR("why", why));
    peer_detach(p);
    peer_free(p);
}

void d_peer_refuse(struct d_peer *p, enum net_refusal refusal, enum a_code code, const char *message)
{
    if (refusal != NET_REFUSAL_NONE)
        d_refused(p->server, refusal, net_link_peer(p->net), message);
    peer_detach(p);
    net_link_refuse(p->net, code, message);
    peer_free(p);
}

/* ---- certificates ---- */

bool d_peer_is_expired(const struct d_peer *p)
{
    return p->identity.subject.role != NET_ROLE_NONE &&
           (p->identity.expired || p->identity.not_after_ms < sys_clock_wall_ms());
}

/* What people see of the certificate's owner may read differently now. Ends come by the wall clock, which may
 * be set: looked at again when its time has come. */
static void certificate_look(void *ctx)
{
    struct d_peer *p = A_CAST(struct d_peer, ctx, PEER_MAGIC);
    uint64_t now = sys_clock_wall_ms(), end = p->identity.not_after_ms + 1;
    if (p->kind == D_PEER_AGENT)
        d_api_node_changed(p->server, &p->agent->node);
    if (p->identity.subject.role == NET_ROLE_NONE)
        return;
    if (d_peer_is_expired(p))
        sys_log(WARN, "server", "cert.expired", "a certificate has ended; its owner is served as before",
                SYS_STR("id", p->identity.subject.id.s));
    else
        sys_timer_set_in(&p->cert_timer, A_MIN(end > now ? end - now : 1, (uint64_t)CERT_LOOK_MS));
}

static bool token_opens(struct server *s, struct a_view token)
{
    return sys_secret_equal(&s->join_token, token) || api_join_token_take(s->api, token);
}

/* Renewal: over its own link, while the certificate is valid or ended not long ago; later with a token only.
 * A refusal leaves the link as it is: what runs there runs on. */
static bool may_renew(struct d_peer *p, struct a_view token)
{
    struct server *s = p->server;
    uint64_t until = p->identity.not_after_ms + D_SERVER_CERT_GRACE * s->authority.life_ms;
    if (sys_clock_wall_ms() < until || token_opens(s, token))
        return true;
    d_refused(s, NET_REFUSAL_TOKEN, p->identity.subject.id.s,
              "a certificate that ended long ago is renewed with a join token only");
    return false;
}

static void certificate_send(struct d_peer *p, const struct net_subject *subject, struct a_view request)
{
    struct server *s = p->server;
    A_BUF_AUTO struct a_buf pem = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct wire_sl_message m = {.type = WIRE_SL_T_CERTIFICATE};
    struct net_cert_info info;
    int rc = d_authority_issue(s, subject, request, &pem, &e);
    if (rc == 0)
        rc = net_cert_read(a_buf_view(&pem), &info, &e);
    m.certificate = (struct wire_sl_certificate){a_buf_view(&pem), a_buf_view(&s->authority.trust)};
    if (rc == 0)
        rc = net_link_send(p->net, &m, &e);
    if (rc != 0) {
        sys_log(ERROR, "server", "cert.not_issued", "a certificate was not issued",
                SYS_STR("id", subject->id.s), SYS_ERR(&e));
        return;
    }
    sys_log(INFO, "server", "cert.issued", "a certificate was issued", SYS_STR("id", subject->id.s),
            SYS_STR("kind", net_role_name(subject->role)), SYS_STR("cluster", subject->cluster.s));
    if (p->identity.subject.role == NET_ROLE_NONE)
        return;
    p->identity.not_after_ms = info.not_after_ms;
    p->identity.expired = false;
    certificate_look(p);
}

static void cert_request(struct d_peer *p, const struct wire_sl_cert_request *m)
{
    const struct net_subject *own = &p->identity.subject;
    struct net_subject wanted = {.role = m->peer == WIRE_SL_PEER_AGENT     ? NET_ROLE_NODE
                                         : m->peer == WIRE_SL_PEER_GATEWAY ? NET_ROLE_GATEWAY
                                                                           : NET_ROLE_NONE};
    if (wanted.role == NET_ROLE_NODE)
        wanted.cluster = m->cluster;
    bool ok = wanted.role != NET_ROLE_NONE && (wanted.role != NET_ROLE_NODE || m->cluster.s[0] != '\0') &&
              net_cert_request_check(m->request, &wanted.id, NULL) == 0;
    if (!ok)
        d_peer_refuse(p, NET_REFUSAL_REQUEST, A_CODE_INVALID,
                      "a certificate request that is broken, or not signed by its own key");
    else if (d_authority_denies(p->server, &wanted.id))
        d_peer_refuse(p, NET_REFUSAL_DENIED, A_CODE_FORBIDDEN, "an operator denied this identity");
    else if (own->role != NET_ROLE_NONE && (own->role != wanted.role || strcmp(own->id.s, wanted.id.s) != 0 ||
                                            strcmp(own->cluster.s, wanted.cluster.s) != 0))
        d_peer_refuse(p, NET_REFUSAL_NODE, A_CODE_FORBIDDEN,
                      "a certificate is renewed for whom it speaks for, and for nobody else");
    else if (own->role == NET_ROLE_NONE && !token_opens(p->server, m->token))
        d_peer_refuse(
            p, NET_REFUSAL_TOKEN, A_CODE_UNAUTHORIZED,
            "wrong, used or ended join token: take the one in the server's data folder (join.token), "
            "or make one (astra token create --role join)");
    else if (own->role == NET_ROLE_NONE || may_renew(p, m->token))
        certificate_send(p, &wanted, m->request);
}

/* ---- HELLO ---- */

/* Does the certificate speak for what HELLO says? */
static bool hello_is_own(struct d_peer *p, const struct wire_sl_hello *h)
{
    const struct net_subject *own = &p->identity.subject;
    enum net_role wanted = h->peer == WIRE_SL_PEER_GATEWAY ? NET_ROLE_GATEWAY : NET_ROLE_NODE;
    bool agent = h->peer == WIRE_SL_PEER_AGENT;
    if (own->role == NET_ROLE_NONE)
        d_peer_refuse(p, NET_REFUSAL_NO_CERTIFICATE, A_CODE_UNAUTHORIZED,
                      "HELLO without a certificate: ask for one first, with the join token");
    else if (d_authority_denies(p->server, &own->id))
        d_peer_refuse(p, NET_REFUSAL_DENIED, A_CODE_FORBIDDEN, "an operator denied this identity");
    else if (own->role != wanted)
        d_peer_refuse(p, NET_REFUSAL_KIND, A_CODE_FORBIDDEN,
                      "the certificate is for another kind of peer than HELLO says");
    else if (own->role == NET_ROLE_NODE &&
             (strcmp(own->id.s, h->node.s) != 0 || (agent && strcmp(own->cluster.s, h->cluster.s) != 0)))
        d_peer_refuse(p, NET_REFUSAL_NODE, A_CODE_FORBIDDEN,
                      "the certificate is for another node or cluster than HELLO says");
    else
        return true;
    return false;
}

static void hello(struct d_peer *p, const struct wire_sl_hello *h)
{
    if (h->protocol_min > WIRE_SL_PROTOCOL || h->protocol_max < WIRE_SL_PROTOCOL_MIN) {
        d_peer_refuse(p, NET_REFUSAL_UNSUPPORTED, A_CODE_WIRE_UNSUPPORTED,
                      "no protocol version in common: upgrade servers first, then gateways, then agents");
        return;
    }
    if (!hello_is_own(p, h))
        return;
    sys_timer_clear(&p->hello_timer);
    if (h->peer != WIRE_SL_PEER_BULK)
        certificate_look(p);
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
        d_peer_refuse(p, NET_REFUSAL_UNSUPPORTED, A_CODE_WIRE_UNSUPPORTED,
                      "only agents, gateways and bulk connections are served here");
    }
}

static void on_message(void *ctx, struct net_link *l, const struct wire_sl_message *m)
{
    (void)l;
    struct d_peer *p = A_CAST(struct d_peer, ctx, PEER_MAGIC);
    if (m->type == WIRE_SL_T_CERT_REQUEST && p->kind != D_PEER_BULK)
        cert_request(p, &m->cert_request);
    else if (p->kind == D_PEER_NEW && m->type == WIRE_SL_T_HELLO)
        hello(p, &m->hello);
    else if (p->kind == D_PEER_AGENT)
        d_agent_message(p, m);
    else if (p->kind == D_PEER_GATEWAY)
        d_gateway_message(p, m);
    else if (p->kind == D_PEER_BULK)
        d_bulk_message(p, m);
    else
        d_peer_refuse(p, NET_REFUSAL_FIRST_FRAME, A_CODE_WIRE_MALFORMED,
                      "the first frame must be HELLO or CERT_REQUEST");
}

/* ---- all of them ---- */

size_t d_peers_expired(const struct server *s)
{
    size_t n = 0;
    a_list_foreach (l, &s->peers) {
        const struct d_peer *p = a_list_entry(l, struct d_peer, link);
        n += (p->kind == D_PEER_AGENT || p->kind == D_PEER_GATEWAY) && d_peer_is_expired(p);
    }
    return n;
}

void d_peers_tell_trust(struct server *s)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_CERTIFICATE};
    m.certificate.trust = a_buf_view(&s->authority.trust);
    a_list_foreach (l, &s->peers) {
        struct d_peer *p = a_list_entry(l, struct d_peer, link);
        if (p->kind == D_PEER_AGENT || p->kind == D_PEER_GATEWAY)
            (void)!net_link_send(p->net, &m, NULL); /* a full queue: it learns with its next renewal */
    }
}

static struct d_peer *peer_of(struct server *s, const struct a_node_id *id)
{
    a_list_foreach (l, &s->peers) {
        struct d_peer *p = a_list_entry(l, struct d_peer, link);
        if (strcmp(p->identity.subject.id.s, id->s) == 0)
            return p;
    }
    return NULL;
}

/* From the front each time: the end of one may end others. */
void d_peers_cut(struct server *s, const struct a_node_id *id)
{
    for (struct d_peer *p; (p = peer_of(s, id)) != NULL;)
        d_peer_refuse(p, NET_REFUSAL_DENIED, A_CODE_FORBIDDEN, "an operator denied this identity");
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
    d_peer_refuse(p, NET_REFUSAL_SLOW, A_CODE_TIMEOUT, "no HELLO within 10 s");
}

static void on_accept(void *ctx, struct net_link *l)
{
    struct server *s = ctx;
    struct d_peer *p = a_new(struct d_peer);
    *p = (struct d_peer){.magic = PEER_MAGIC, .server = s, .net = l, .identity = *net_link_identity(l)};
    do
        p->conn = ++s->last_conn;
    while (p->conn == 0);
    a_list_push_back(&s->peers, &p->link);
    sys_timer_init(&p->hello_timer, s->loop, on_hello_timeout, p);
    sys_timer_set_in(&p->hello_timer, HELLO_MS);
    sys_timer_init(&p->cert_timer, s->loop, certificate_look, p);
    net_link_set_ops(l, &peer_ops, p);
}

static void on_refused(void *ctx, enum net_refusal refusal, const char *peer, const char *why)
{
    d_refused(ctx, refusal, peer, why);
}

int d_peers_listen(struct server *s, struct a_error *reterr)
{
    static const struct net_link_listener_ops ops = {.accept = on_accept, .refused = on_refused};
    struct sys_addr addr;
    int rc = sys_addr_parse(s->options.starlink, &addr, reterr);
    if (rc == 0)
        rc = net_link_listen(s->loop, &addr, s->authority.starlink, &ops, s, &s->listener, reterr);
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
