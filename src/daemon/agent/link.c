/* The connection to the resource server: HELLO, beats, and what the server asks for. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/agent/inside.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/random.h"

#define BEAT_MS 1000
#define SETTLE_MS 3000 /* heads that were found again get this long to answer before we speak of them */
#define SETTLE_POLL_MS 50

void d_link_send(struct d_agent *a, const struct wire_sl_message *m)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (a->link == NULL)
        return;
    int rc = net_link_send(a->link, m, &e);
    if (rc < 0 && rc != -ENOBUFS && rc != -EPIPE)
        sys_log(WARN, "agent", "link.unsendable", "a message could not be sent",
                SYS_STR("type", wire_sl_type_name(m->type)), SYS_ERR(&e));
}

void d_link_event(struct d_agent *a, const struct d_member *m, enum a_reason reason, const char *message)
{
    struct wire_sl_message out = {.type = WIRE_SL_T_EVENT};
    out.event.time_unix_ms = sys_clock_wall_ms();
    out.event.node = a->id;
    out.event.reason = reason;
    out.event.message = a_view_str(message);
    if (m != NULL) {
        out.event.unit = m->id.unit;
        out.event.member = m->id.member;
        const struct sl_claim *c = sl_node_find_number(&a->node, m->number);
        if (c != NULL)
            out.event.app = c->app;
    }
    if (a->attached)
        d_link_send(a, &out);
}

/* ---- beats ---- */

static void beat_fire(void *ctx)
{
    struct d_agent *a = ctx;
    struct wire_sl_message m = {.type = WIRE_SL_T_BEAT};
    if (!a->attached)
        return;
    m.beat.node = a->id;
    m.beat.sequence = ++a->sequence;
    m.beat.used_mcpu = a->used_mcpu;
    m.beat.used_memory_bytes = a->used_memory_bytes;
    m.beat.load = a->options.capacity.mcpu > 0
                      ? (uint32_t)A_MIN(a->used_mcpu * 1000 / a->options.capacity.mcpu, (uint64_t)1000)
                      : 0;
    a_list_foreach (it, &a->members)
        m.beat.claims++;
    d_link_send(a, &m);
    a->beats++;
    sys_timer_set_in(&a->beat, a->beat_interval_ms);
}

/* ---- what the server asks for: events of the node core ---- */

static struct sl_node_event request_event(const struct d_agent *a, enum sl_node_event_kind kind,
                                          uint64_t request)
{
    return (struct sl_node_event){.kind = kind, .link = a->attach, .seq = request};
}

static void reserve_take(struct d_agent *a, const struct wire_sl_reserve *m)
{
    struct sl_node_event e = request_event(a, SL_NODE_EV_RESERVE, m->request);
    e.id = m->claim;
    e.app = m->app;
    e.store_id = m->store_id;
    e.epoch = m->epoch;
    e.revision = m->revision.number;
    e.revision_digest = m->revision.digest;
    e.role = (int)m->role;
    e.capacity = m->capacity;
    e.ttl_ms = m->ttl_ms;
    d_claims_event(a, &e);
}

/* The claim keeps the BIND as it came: what starts the member must survive a restart of the agent. */
static void bind_take(struct d_agent *a, const struct wire_sl_message *m)
{
    A_BUF_AUTO struct a_buf frame = {0};
    struct sl_node_event e = request_event(a, SL_NODE_EV_BIND, m->bind.request);
    if (wire_sl_encode(&frame, m, NULL) != 0)
        return;
    e.id = m->bind.claim;
    e.store_id = m->bind.store_id;
    e.epoch = m->bind.epoch;
    e.payload = a_buf_view(&frame);
    d_claims_event(a, &e);
}

static void release_take(struct d_agent *a, const struct wire_sl_release *m)
{
    struct sl_node_event e = request_event(a, SL_NODE_EV_RELEASE, m->request);
    const struct sl_claim *c = sl_node_find(&a->node, &m->claim);
    struct d_member *member = c != NULL ? d_member_find(a, c->number) : NULL;
    if (member != NULL)
        member->grace_ms = m->grace_ms;
    e.id = m->claim;
    e.store_id = m->store_id;
    e.epoch = m->epoch;
    e.reason = m->reason;
    d_claims_event(a, &e);
}

static void config_take(struct d_agent *a, const struct wire_sl_unit_config *m)
{
    struct sl_node_event e = request_event(a, SL_NODE_EV_REVISE, m->request);
    e.id = m->claim;
    e.store_id = m->store_id;
    e.epoch = m->epoch;
    e.revision = m->revision.number;
    e.revision_digest = m->revision.digest;
    d_claims_event(a, &e);
}

static void command_take(struct d_agent *a, const struct wire_sl_node_command *m)
{
    bool drain = m->action == WIRE_SL_NODE_ACTION_DRAIN || m->action == WIRE_SL_NODE_ACTION_UNDRAIN;
    struct sl_node_event e = request_event(a, drain ? SL_NODE_EV_DRAIN : SL_NODE_EV_CORDON, m->request);
    e.on = m->action == WIRE_SL_NODE_ACTION_DRAIN || m->action == WIRE_SL_NODE_ACTION_CORDON;
    if (m->action == WIRE_SL_NODE_ACTION_DRAIN)
        d_leave_by(a, m->deadline_ms);
    d_claims_event(a, &e);
}

/* ---- the connection ---- */

static void welcome_take(struct d_agent *a, const struct wire_sl_welcome *m)
{
    if (m->attach != 0 && m->attach != a->attach)
        return;
    a->attached = a->joined = true;
    a->store_id = m->store_id;
    a->beat_interval_ms = m->beat_interval_ms > 0 ? m->beat_interval_ms : BEAT_MS;
    net_dialer_succeeded(a->dialer);
    d_identity_use_link(&a->identity, a->link);
    sys_log(INFO, "agent", "link.attached", "joined a server", SYS_STR("server", net_link_peer(a->link)),
            SYS_STR("store", m->store_id.s));
    d_upgrade_attached(a);
    d_report_all(a);
    d_outbox_attached(a);
    beat_fire(a);
}

static void link_drop(struct d_agent *a)
{
    a->attached = false;
    d_identity_use_link(&a->identity, NULL);
    sys_timer_clear(&a->beat);
    net_link_close(a->link);
    a->link = NULL;
}

static void redirect_take(struct d_agent *a, const struct wire_sl_redirect *m)
{
    char host[254];
    uint16_t port;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_AUTOFREE char *address = a_view_dup(m->address);
    if (sys_addr_split(address, host, sizeof host, &port, &e) < 0 ||
        net_dialer_redirect(a->dialer, host, port, &e) < 0) {
        sys_log(WARN, "agent", "link.redirect", "redirected to nowhere", SYS_ERR(&e));
        return;
    }
    link_drop(a);
    a_free(a->server_host);
    a->server_host = a_strdup(host);
    a->server_port = port;
}

/* The first certificate: who we are is said over a connection of its own. */
static void certificate_take(struct d_agent *a, const struct wire_sl_certificate *m)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    enum d_identity_took took = d_identity_take(&a->identity, m);
    net_dialer_set_tls(a->dialer, a->identity.tls);
    if (took != D_IDENTITY_JOINED)
        return;
    link_drop(a);
    if (net_dialer_redirect(a->dialer, a->server_host, a->server_port, &e) != 0)
        net_dialer_again(a->dialer);
}

static void refused_take(const struct wire_sl_refused *m)
{
    A_AUTOFREE char *message = a_view_dup(m->message);
    A_AUTOFREE char *code = a_view_dup(m->code);
    sys_log(ERROR, "agent", "link.refused", "the server refused this node", SYS_STR("reason", code),
            SYS_STR("error", message));
}

static void message_take(void *ctx, struct net_link *l, const struct wire_sl_message *m)
{
    struct d_agent *a = ctx;
    (void)l;
    switch (m->type) {
    case WIRE_SL_T_WELCOME:
        welcome_take(a, &m->welcome);
        break;
    case WIRE_SL_T_REFUSED:
        refused_take(&m->refused);
        break;
    case WIRE_SL_T_REDIRECT:
        redirect_take(a, &m->redirect);
        break;
    case WIRE_SL_T_CERTIFICATE:
        certificate_take(a, &m->certificate);
        break;
    case WIRE_SL_T_RESERVE:
        reserve_take(a, &m->reserve);
        break;
    case WIRE_SL_T_BIND:
        bind_take(a, m);
        break;
    case WIRE_SL_T_RELEASE:
        release_take(a, &m->release);
        break;
    case WIRE_SL_T_UNIT_CONFIG:
        config_take(a, &m->unit_config);
        break;
    case WIRE_SL_T_UNIT_TOKEN:
        d_report_token(a, &m->unit_token);
        break;
    case WIRE_SL_T_NODE_COMMAND:
        command_take(a, &m->node_command);
        break;
    case WIRE_SL_T_UPGRADE:
        d_upgrade_take(a, &m->upgrade);
        break;
    case WIRE_SL_T_BEAT_ACK:
        d_upgrade_acked(a);
        break;
    case WIRE_SL_T_OPEN_BULK:
        d_logs_open(a, &m->open_bulk);
        break;
    default:
        break;
    }
}

static void link_resync(void *ctx, struct net_link *l)
{
    struct d_agent *a = ctx;
    (void)l;
    if (a->attached)
        d_report_all(a);
}

static void doubt(struct d_agent *a)
{
    d_identity_doubt(&a->identity);
    net_dialer_set_tls(a->dialer, a->identity.tls);
}

static void link_closed(void *ctx, struct net_link *l, int rc, const char *why)
{
    struct d_agent *a = ctx;
    (void)l;
    sys_log(WARN, "agent", "link.closed", "the server is away; members run on", SYS_STR("why", why));
    if (!a->attached && rc != 0)
        doubt(a);
    d_identity_use_link(&a->identity, NULL);
    a->link = NULL;
    a->attached = false;
    sys_timer_clear(&a->beat);
    net_dialer_again(a->dialer);
}

static const struct net_link_ops link_ops = {
    .message = message_take, .resync = link_resync, .closed = link_closed};

static void hello_send(struct d_agent *a)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_HELLO};
    struct wire_sl_hello *h = &m.hello;
    const struct d_agent_options *o = &a->options;
    h->protocol_min = WIRE_SL_PROTOCOL_MIN;
    h->protocol_max = WIRE_SL_PROTOCOL;
    h->peer = WIRE_SL_PEER_AGENT;
    h->version = a_view_str(ASTRA_VERSION);
    h->node = a->id;
    h->name = a_view_str(o->name);
    h->cluster = a->cluster;
    h->network = a->network;
    h->zone = a->zone;
    h->host = a_view_str(o->host);
    h->address = a_view_str(a->address);
    h->labels = a->options.labels;
    h->n_labels = o->n_labels;
    h->capacity = o->capacity;
    h->exclusive = a->node.exclusive;
    if (!a_name_parse(a_view_str(sys_env_arch()), &h->arch))
        h->arch = (struct a_name){0};
    h->artifact = *d_upgrade_own(a);
    h->incarnation = a->node.incarnation;
    h->attach = ++a->attach;
    h->boot_id = a->boot_id;
    h->store_id = a->store_id;
    d_link_send(a, &m);
}

static void dialer_up(void *ctx, struct net_dialer *d, struct net_link *l)
{
    struct d_agent *a = ctx;
    (void)d;
    a->link = l;
    net_link_set_ops(l, &link_ops, a);
    if (d_identity_is_certified(&a->identity))
        hello_send(a);
    else
        d_identity_join(&a->identity, l);
}

static void dialer_failed(void *ctx, struct net_dialer *d, int rc, const char *why, uint64_t next_ms)
{
    (void)d;
    if (rc == -EACCES)
        doubt(ctx);
    sys_log(INFO, "agent", "link.dial", "no server yet", SYS_STR("why", why), SYS_U64("next_ms", next_ms));
}

static const struct net_dialer_ops dialer_ops = {.up = dialer_up, .failed = dialer_failed};

static void dial(struct d_agent *a)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    const struct net_dialer_options options = {.host = a->server_host,
                                               .port = a->server_port,
                                               .dns = a->dns,
                                               .seed = sys_random_seed(),
                                               .tls = a->identity.tls};
    if (net_dialer_new(a->loop, &options, &dialer_ops, a, &a->dialer, &e) < 0) {
        sys_log(ERROR, "agent", "link.address", "this server cannot be dialled", SYS_ERR(&e));
        a->status = 1;
        sys_loop_stop(a->loop);
    }
}

static bool members_settled(const struct d_agent *a)
{
    a_list_foreach (it, &a->members) {
        const struct d_member *m = a_list_entry(it, struct d_member, link);
        if (m->serve != NULL && !d_serve_settled(m->serve))
            return false;
    }
    return true;
}

/* Says nothing before the incarnation is on disk, nor, after a restart, before the heads that were found
 * again told their endpoints: a status without them would take a serving unit out of routing. */
static void settle_fire(void *ctx)
{
    struct d_agent *a = ctx;
    bool late = sys_loop_now_ms(a->loop) >= a->started_ms + SETTLE_MS;
    if (a->persisted_once && (late || members_settled(a)))
        dial(a);
    else
        sys_timer_set_in(&a->settle, SETTLE_POLL_MS);
}

static void round_end(void *ctx)
{
    struct d_agent *a = ctx;
    if (a->report_node && a->attached)
        d_report_node(a, 0);
    a->report_node = false;
    sys_log_flush();
}

int d_link_start(struct d_agent *a, struct a_error *reterr)
{
    char host[254];
    int rc = sys_addr_split(a->options.server, host, sizeof host, &a->server_port, reterr);
    if (rc == 0)
        rc = d_identity_start(&a->identity, a->loop, reterr);
    if (rc < 0)
        return rc;
    a->server_host = a_strdup(host);
    sys_random_uuid4(&a->boot_id);
    sys_timer_init(&a->beat, a->loop, beat_fire, a);
    sys_timer_init(&a->settle, a->loop, settle_fire, a);
    sys_timer_set_in(&a->settle, 0);
    sys_round_add(a->loop, &a->round, round_end, a);
    return 0;
}

void d_link_stop(struct d_agent *a)
{
    sys_timer_clear(&a->settle);
    sys_round_remove(&a->round);
    link_drop(a);
    net_dialer_free(a->dialer);
    a->dialer = NULL;
    a_free(a->server_host);
    a->server_host = NULL;
}
