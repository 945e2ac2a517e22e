/* The gateway's end of Starlink: asks for the routes, acknowledges them, reports. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/gateway/process.h"
#include "sys/log.h"
#include "sys/random.h"

#define REPORT_MS 1000

static void link_send(struct d_gateway *g, const struct wire_sl_message *m)
{
    A_ERROR_AUTO struct a_error error = {0};
    if (g->link != NULL && net_link_send(g->link, m, &error) != 0)
        sys_log(WARN, "gateway", "link.not_sent", "a message to the server was not sent", SYS_ERR(&error));
}

static bool uuid_equal(const struct a_uuid *a, const struct a_uuid *b)
{
    return strcmp(a->s, b->s) == 0;
}

/* ---- reports ---- */

/* The buckets that have something; `rows` has room for all. */
static size_t latency_rows(const struct a_latency *l, struct wire_sl_bucket rows[A_LATENCY_BUCKETS])
{
    size_t n = 0;
    for (uint32_t i = 0; i < A_LATENCY_BUCKETS; i++)
        if (l->n[i] > 0)
            rows[n++] = (struct wire_sl_bucket){.index = i, .count = l->n[i]};
    return n;
}

static void endpoint_report(struct d_gateway *g, struct d_gw_record *r)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_ENDPOINT_REPORT};
    struct wire_sl_bucket rows[A_LATENCY_BUCKETS];
    m.endpoint_report = (struct wire_sl_endpoint_report){
        .unit = r->unit,
        .endpoint = a_view_str(r->key + 1),
        .in_flight = d_gw_record_in_flight(&g->view, r),
        .ok = r->ok,
        .failed = r->failed,
        .refused = r->refused,
        .resent = r->resent,
        .error = a_view_str(r->error),
        .latency_us = r->ok > 0 ? r->latency_us_sum / r->ok : 0,
    };
    m.endpoint_report.latency = rows;
    m.endpoint_report.n_latency = latency_rows(&r->latency, rows);
    link_send(g, &m);
    r->dirty = false;
    r->ok = r->failed = r->refused = r->resent = r->latency_us_sum = 0;
    r->latency = (struct a_latency){{0}};
    r->error[0] = '\0';
}

void d_gw_link_report_endpoints(struct d_gateway *g)
{
    if (!g->welcome)
        return; /* counted on, and told to the next server */
    a_map_foreach (l, &g->view.records) {
        struct d_gw_record *r = a_map_entry(l, struct d_gw_record, by_key);
        if (r->dirty)
            endpoint_report(g, r);
    }
}

static void app_report(struct d_gateway *g, struct d_gw_app *fresh)
{
    const struct d_gw_app *all = d_gw_app_get(&g->apps, &fresh->app);
    struct wire_sl_message m = {.type = WIRE_SL_T_APP_REPORT};
    struct wire_sl_bucket rows[A_LATENCY_BUCKETS];
    m.app_report = (struct wire_sl_app_report){
        .app = fresh->app,
        .requests = fresh->finished,
        .ok = fresh->ok,
        .failed = fresh->finished - fresh->ok,
        .failed_app = fresh->failed[GW_CAUSE_APP],
        .failed_node = fresh->failed[GW_CAUSE_NODE_LOST],
        .failed_drain = fresh->failed[GW_CAUSE_DRAIN],
        .failed_gateway = fresh->failed[GW_CAUSE_GATEWAY],
        .failed_capacity = fresh->failed[GW_CAUSE_NO_CAPACITY],
        .in_flight = (uint64_t)A_MAX(all->in_flight, 0),
        .queued = (uint64_t)A_MAX(all->waiting, 0),
        .latency_sum_us = fresh->latency_us,
        .retried = fresh->resent,
        .failed_timeout = fresh->failed[GW_CAUSE_TIMEOUT],
        .failed_client = fresh->failed[GW_CAUSE_CLIENT],
        .latency = rows,
        .n_latency = latency_rows(&fresh->latency, rows),
    };
    link_send(g, &m);
    d_gw_app_reset(fresh);
}

static void report_all(void *ctx)
{
    struct d_gateway *g = ctx;
    sys_timer_set_in(&g->report_timer, REPORT_MS);
    sys_log_flush();
    if (!g->welcome)
        return;
    d_gw_link_report_endpoints(g);
    a_map_foreach (l, &g->apps_new) {
        struct d_gw_app *a = a_map_entry(l, struct d_gw_app, by_key);
        if (a->changed && a->app.name.s[0] != '\0')
            app_report(g, a);
    }
}

/* A drain waits for the acknowledgement, and then for in_flight 0 of what was reported: so the reports, which
 * every worker made after it had applied the batch, go first. */
void d_gw_link_applied(struct d_gateway *g, const struct d_gw_batch *b)
{
    if (!g->welcome || !uuid_equal(&b->server, &g->server))
        return;
    d_gw_link_report_endpoints(g);
    struct wire_sl_message m = {.type = WIRE_SL_T_VIEW_ACK};
    m.view_ack.sequence = b->sequence;
    m.view_ack.server_boot_id = b->server;
    link_send(g, &m);
}

/* ---- messages ---- */

/* The cursor is told even when it is another server's: then it says that we hold a view, which a server that
 * has just begun must not take away before it knows as much. */
static void welcome_take(struct d_gateway *g, const struct wire_sl_welcome *w)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_SUBSCRIBE};
    g->server = w->server_boot_id;
    g->welcome = true;
    net_dialer_succeeded(g->dialer);
    d_identity_use_link(&g->identity, g->link);
    m.subscribe.view = WIRE_SL_VIEW_ROUTES;
    if (g->view.sequence > 0) {
        m.subscribe.sequence = g->view.sequence;
        m.subscribe.server_boot_id = g->view.server;
    }
    link_send(g, &m);
    sys_log(INFO, "gateway", "link.up", "the server has taken us", SYS_STR("server", net_link_peer(g->link)),
            SYS_STR("boot", g->server.s));
}

static void view_take(struct d_gateway *g, const struct wire_sl_message *m)
{
    if (!g->welcome || !d_gw_view_take(&g->view, m, &g->server))
        return;
    g->stale = false;
    d_gw_crew_apply(g);
}

static void redirect_take(struct d_gateway *g, const struct wire_sl_redirect *r)
{
    A_AUTOFREE char *address = a_view_dup(r->address);
    A_ERROR_AUTO struct a_error error = {0};
    char host[256];
    uint16_t port;
    if (sys_addr_split(address, host, sizeof host, &port, &error) != 0 ||
        net_dialer_redirect(g->dialer, host, port, &error) != 0)
        sys_log(WARN, "gateway", "link.redirect", "the server sent us nowhere", SYS_ERR(&error));
}

static void link_lost(struct d_gateway *g)
{
    d_identity_use_link(&g->identity, NULL);
    g->link = NULL;
    g->welcome = false;
    if (!g->stale)
        d_gw_vouch_all(g);
    g->stale = true;
    d_gw_view_break(&g->view);
}

/* The first certificate: who we are is said over a connection of its own. */
static void certificate_take(struct d_gateway *g, const struct wire_sl_certificate *m)
{
    A_ERROR_AUTO struct a_error error = {0};
    enum d_identity_took took = d_identity_take(&g->identity, m);
    net_dialer_set_tls(g->dialer, g->identity.tls);
    if (took != D_IDENTITY_JOINED)
        return;
    net_link_close(g->link);
    link_lost(g);
    if (net_dialer_redirect(g->dialer, g->server_host, g->server_port, &error) != 0)
        net_dialer_again(g->dialer);
}

static void doubt(struct d_gateway *g)
{
    d_identity_doubt(&g->identity);
    net_dialer_set_tls(g->dialer, g->identity.tls);
}

static void link_message(void *ctx, struct net_link *l, const struct wire_sl_message *m)
{
    struct d_gateway *g = ctx;
    (void)l;
    switch (m->type) {
    case WIRE_SL_T_WELCOME:
        welcome_take(g, &m->welcome);
        break;
    case WIRE_SL_T_REFUSED:
        sys_log(ERROR, "gateway", "link.refused", "the server refuses us",
                SYS_VIEW("why", m->refused.message));
        break;
    case WIRE_SL_T_REDIRECT:
        redirect_take(g, &m->redirect);
        break;
    case WIRE_SL_T_CERTIFICATE:
        certificate_take(g, &m->certificate);
        break;
    case WIRE_SL_T_VIEW_BEGIN:
    case WIRE_SL_T_VIEW_END:
    case WIRE_SL_T_ROUTE:
    case WIRE_SL_T_ROUTE_GONE:
    case WIRE_SL_T_ENDPOINT:
    case WIRE_SL_T_ENDPOINT_GONE:
        view_take(g, m);
        break;
    default:
        break;
    }
}

static void link_closed(void *ctx, struct net_link *l, int rc, const char *why)
{
    struct d_gateway *g = ctx;
    (void)l;
    if (!g->welcome && rc != 0)
        doubt(g);
    link_lost(g);
    sys_log(WARN, "gateway", "link.down", "the server is away; the routes it told last are served",
            SYS_STR("why", why));
    net_dialer_again(g->dialer);
}

void d_gw_link_again(struct d_gateway *g)
{
    if (g->link == NULL)
        return;
    net_link_close(g->link);
    link_lost(g);
    net_dialer_again(g->dialer);
}

/* What was refused is lost: the present state is told again. */
static void link_resync(void *ctx, struct net_link *l)
{
    struct d_gateway *g = ctx;
    (void)l;
    a_map_foreach (link, &g->view.records) {
        struct d_gw_record *r = a_map_entry(link, struct d_gw_record, by_key);
        r->dirty = r->is_endpoint;
    }
    d_gw_link_report_endpoints(g);
}

static const struct net_link_ops link_ops = {
    .message = link_message, .resync = link_resync, .closed = link_closed};

/* ---- dialling ---- */

static void dialer_up(void *ctx, struct net_dialer *d, struct net_link *l)
{
    struct d_gateway *g = ctx;
    (void)d;
    g->link = l;
    net_link_set_ops(l, &link_ops, g);
    if (!d_identity_is_certified(&g->identity)) {
        d_identity_join(&g->identity, l);
        return;
    }
    struct wire_sl_message m = {.type = WIRE_SL_T_HELLO};
    m.hello = (struct wire_sl_hello){
        .protocol_min = WIRE_SL_PROTOCOL_MIN,
        .protocol_max = WIRE_SL_PROTOCOL,
        .peer = WIRE_SL_PEER_GATEWAY,
        .version = A_VIEW_LIT(ASTRA_VERSION),
        .node = g->identity.id,
        .name = a_view_str(g->options.name),
        .address = a_view_str(g->address),
        .attach = ++g->attach,
        .boot_id = g->boot_id,
        .port = g->port,
    };
    link_send(g, &m);
}

static void dialer_failed(void *ctx, struct net_dialer *d, int rc, const char *why, uint64_t next_ms)
{
    (void)d;
    if (rc == -EACCES)
        doubt(ctx);
    sys_log(WARN, "gateway", "link.dial", "the server cannot be reached", SYS_STR("why", why),
            SYS_U64("next_ms", next_ms));
}

static const struct net_dialer_ops dialer_ops = {.up = dialer_up, .failed = dialer_failed};

int d_gw_link_start(struct d_gateway *g, struct a_error *reterr)
{
    char host[256];
    uint16_t port;
    sys_random_uuid4(&g->boot_id);
    sys_timer_init(&g->report_timer, g->loop, report_all, g);
    sys_timer_set_in(&g->report_timer, REPORT_MS);
    if (g->options.server[0] == '\0')
        return 0;
    const struct d_identity_options own = {
        .role = NET_ROLE_GATEWAY,
        .dir = g->options.data[0] != '\0' ? g->options.data : NULL,
        .token_path = g->options.token_file[0] != '\0' ? g->options.token_file : NULL,
        .name = g->options.name};
    int rc = sys_addr_split(g->options.server, host, sizeof host, &port, reterr);
    if (rc == 0)
        rc = d_identity_open(&g->identity, &own, reterr);
    if (rc == 0)
        rc = d_identity_start(&g->identity, g->loop, reterr);
    if (rc == 0)
        rc = sys_pool_new(SYS_POOL_DNS, 1, 0, &g->dns, reterr);
    if (rc != 0)
        return rc;
    g->server_host = a_strdup(host);
    g->server_port = port;
    struct net_dialer_options o = {
        .host = host, .port = port, .dns = g->dns, .seed = sys_random_seed(), .tls = g->identity.tls};
    return net_dialer_new(g->loop, &o, &dialer_ops, g, &g->dialer, reterr);
}

void d_gw_link_stop(struct d_gateway *g)
{
    net_dialer_free(a_steal(&g->dialer));
    net_link_close(a_steal(&g->link));
    d_identity_close(&g->identity);
    a_free(a_steal(&g->server_host));
    sys_pool_free(a_steal(&g->dns));
    sys_timer_clear(&g->report_timer);
}
