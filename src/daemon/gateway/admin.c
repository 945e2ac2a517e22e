/* The admin port: /metrics, /healthz, /ready, /routes, and endpoints for Envoy. */
#include "base/alloc.h"
#include "base/assert.h"
#include "base/metrics.h"
#include "base/text.h"
#include "daemon/eds.h"
#include "daemon/gateway/process.h"
#include "gateway/policy/policy.h"
#include "sys/clock.h"
#include "wire/eds.h"

/* A request that waits for the workers' parts. */
struct question {
    struct d_gateway *g;
    struct net_http_request *request;
    void (*print)(struct d_gateway *g, struct a_buf *b);
    const char *content_type;
};

static void question_answer(void *ctx)
{
    struct question *q = ctx;
    A_BUF_AUTO struct a_buf b = {0};
    q->print(q->g, &b);
    net_http_reply_text(q->request, 200, q->content_type, a_buf_view(&b));
    a_free(q);
}

static void question_ask(struct d_gateway *g, struct net_http_request *r, const char *content_type,
                         void (*print)(struct d_gateway *g, struct a_buf *b))
{
    struct question *q = a_new(struct question);
    *q = (struct question){.g = g, .request = r, .print = print, .content_type = content_type};
    d_gw_crew_gather(g, question_answer, q);
}

/* ---- /metrics ---- */

static void gauge_print(struct a_buf *b, const char *metric, const char *help, uint64_t n)
{
    a_metric_print(b, metric, "gauge", help, n);
}

static void endpoint_metric(struct d_gateway *g, struct a_buf *b, const char *metric, const char *type,
                            const char *help,
                            uint64_t (*value)(const struct d_gateway *g, const struct d_gw_record *r))
{
    a_metric_head(b, metric, type, help);
    a_map_foreach (l, &g->view.records) {
        const struct d_gw_record *r = a_map_entry(l, struct d_gw_record, by_key);
        if (!r->is_endpoint)
            continue;
        a_buf_addf(b, "%s{namespace=\"%s\",app=\"%s\",unit=\"%s\",endpoint=\"", metric, r->app.namespace.s,
                   r->app.name.s, r->unit.s);
        a_metric_label(b, a_view_str(r->key + 1));
        a_buf_addf(b, "\"} %llu\n", (unsigned long long)value(g, r));
    }
}

static uint64_t value_up(const struct d_gateway *g, const struct d_gw_record *r)
{
    (void)g;
    return r->state == WIRE_SL_ENDPOINT_UP;
}

static uint64_t value_in_flight(const struct d_gateway *g, const struct d_gw_record *r)
{
    return d_gw_record_in_flight(&g->view, r);
}

static uint64_t value_ok(const struct d_gateway *g, const struct d_gw_record *r)
{
    (void)g;
    return r->ok_total;
}

static uint64_t value_failed(const struct d_gateway *g, const struct d_gw_record *r)
{
    (void)g;
    return r->failed_total;
}

static void metrics_print(struct d_gateway *g, struct a_buf *b)
{
    struct d_gw_totals sum = {0};
    for (unsigned i = 0; i < g->n_workers; i++)
        d_gw_totals_add(&sum, &g->totals[i]);
    d_gw_apps_print(b, &g->apps);
    d_gw_totals_print(b, &sum);
    gauge_print(b, "astra_gateway_view_stale", "No server stands behind the routes", g->stale);
    gauge_print(b, "astra_gateway_server_connected", "A server has taken this gateway", g->welcome);
    gauge_print(b, "astra_gateway_certificate_seconds", "Until the gateway's certificate ends; 0 when it has",
                (uint64_t)A_MAX(d_identity_left_s(&g->identity), (int64_t)0));
    if (g->tls_not_after_ms != 0) {
        uint64_t now = sys_clock_wall_ms();
        gauge_print(b, "astra_gateway_tls_certificate_seconds",
                    "Until the certificate that clients are shown ends; 0 when it has",
                    g->tls_not_after_ms > now ? (g->tls_not_after_ms - now) / 1000 : 0);
    }
    a_metric_print(b, "astra_check_failures_total", "counter", "Broken invariants: a bug",
                   a_check_failures());
    endpoint_metric(g, b, "astra_gateway_endpoint_up", "gauge", "The endpoint takes new requests", value_up);
    endpoint_metric(g, b, "astra_gateway_endpoint_in_flight", "gauge", "Requests under way", value_in_flight);
    endpoint_metric(g, b, "astra_gateway_endpoint_ok_total", "counter", "Answers that came whole", value_ok);
    endpoint_metric(g, b, "astra_gateway_endpoint_failed_total", "counter",
                    "Attempts lost, refused or timed out", value_failed);
}

/* ---- /routes ---- */

static void json_text(struct a_buf *b, const char *name, struct a_view value)
{
    a_buf_addf(b, "\"%s\": ", name);
    a_text_print_json(b, value);
}

static void json_number(struct a_buf *b, const char *name, uint64_t n)
{
    a_buf_addf(b, ", \"%s\": %llu", name, (unsigned long long)n);
}

static const char *state_name(enum wire_sl_endpoint_state s)
{
    static const char *const names[] = {
#define X(name, number) [number] = #name,
        WIRE_SL_ENDPOINT_STATES(X)
#undef X
    };
    return names[s];
}

static void app_print(struct a_buf *b, const struct a_app_ref *app)
{
    a_buf_addf(b, ", \"app\": \"%s/%s\"", app->namespace.s, app->name.s);
}

static void route_print(struct a_buf *b, const struct gw_route *r)
{
    a_buf_add_str(b, "{");
    json_text(b, "id", a_view_str(r->id));
    app_print(b, &r->app);
    a_buf_add_str(b, ", ");
    json_text(b, "host", (struct a_view){r->place, r->host_len});
    a_buf_add_str(b, ", ");
    json_text(b, "prefix", r->prefix_len > 0 ? (struct a_view){r->prefix, r->prefix_len} : A_VIEW_LIT("/"));
    a_buf_add_str(b, ", ");
    json_text(b, "application", a_view_str(r->application));
    if (r->rewrite != NULL) {
        a_buf_add_str(b, ", ");
        json_text(b, "rewrite", a_view_str(r->rewrite));
    }
    a_buf_addf(b, ", \"policy\": \"%s\", \"idempotent\": %s", r->policy->name,
               r->idempotent ? "true" : "false");
    json_number(b, "timeout_ms", r->timeout_ms);
    json_number(b, "idle_ms", r->idle_ms);
    json_number(b, "wait_ms", r->wait_ms);
    json_number(b, "max_body", r->max_body_bytes);
    json_number(b, "retry_body", r->retry_body_bytes);
    json_number(b, "units_wanted", r->units_wanted);
    json_number(b, "endpoints", r->n_endpoints);
    a_buf_add_str(b, "}");
}

/* Its state here is the first worker's; what is counted is of all. */
static void endpoint_print(struct d_gateway *g, struct a_buf *b, const struct d_gw_record *r)
{
    const struct gw_endpoint *e = gw_endpoint_find(&g->workers[0].core, a_view_str(r->key + 1));
    a_buf_add_str(b, "{");
    json_text(b, "id", a_view_str(r->key + 1));
    app_print(b, &r->app);
    a_buf_addf(b, ", \"unit\": \"%s\", \"state\": \"%s\"", r->unit.s, state_name(r->state));
    if (e != NULL) {
        a_buf_addf(b, ", \"address\": \"%s:%u\", \"proxy\": %s, \"aside\": %s, ", e->ip, e->port,
                   e->proxy ? "true" : "false",
                   e->aside_until_ms > sys_loop_now_ms(g->loop) ? "true" : "false");
        json_text(b, "application", a_view_str(e->application));
        json_number(b, "failures_in_a_row", e->failures_in_a_row);
        if (e->error[0] != '\0') {
            a_buf_add_str(b, ", ");
            json_text(b, "last_error", a_view_str(e->error));
        }
    }
    json_number(b, "in_flight", d_gw_record_in_flight(&g->view, r));
    json_number(b, "ok", r->ok_total);
    json_number(b, "failed", r->failed_total);
    a_buf_add_str(b, "}");
}

static void routes_print(struct d_gateway *g, struct a_buf *b)
{
    const char *comma = "\n  ";
    a_buf_addf(b, "{\"stale\": %s, \"connected\": %s, \"sequence\": %llu,\n \"routes\": [",
               g->stale ? "true" : "false", g->welcome ? "true" : "false",
               (unsigned long long)g->view.sequence);
    for (struct gw_route *r = NULL; (r = gw_route_next(&g->workers[0].core, r)) != NULL; comma = ",\n  ") {
        a_buf_add_str(b, comma);
        route_print(b, r);
    }
    a_buf_add_str(b, "],\n \"endpoints\": [");
    comma = "\n  ";
    a_map_foreach (l, &g->view.records) {
        const struct d_gw_record *r = a_map_entry(l, struct d_gw_record, by_key);
        if (!r->is_endpoint)
            continue;
        a_buf_add_str(b, comma);
        endpoint_print(g, b, r);
        comma = ",\n  ";
    }
    a_buf_add_str(b, "]}\n");
}

/* ---- endpoints for Envoy ---- */

static bool eds_is_known(void *ctx)
{
    return ((struct d_gateway *)ctx)->has_view;
}

static void eds_endpoints(void *ctx, void (*take)(void *taker, const struct wire_sl_endpoint *e), void *taker)
{
    d_gw_view_endpoints(&((struct d_gateway *)ctx)->view, take, taker);
}

static void eds_reply(void *ctx, struct net_http_request *r, const struct net_http_response *response)
{
    (void)ctx;
    net_http_reply(r, response);
}

static const struct d_eds_ops eds_ops = {
    .is_known = eds_is_known, .endpoints = eds_endpoints, .reply = eds_reply};

void d_gw_admin_tell(struct d_gateway *g)
{
    if (g->eds != NULL)
        d_eds_changed(g->eds);
}

void d_gw_admin_stop(struct d_gateway *g)
{
    d_eds_free(a_steal(&g->eds));
    net_http_server_free(a_steal(&g->admin));
}

/* ---- requests ---- */

static void ready_answer(struct d_gateway *g, struct net_http_request *r)
{
    bool ready = g->has_view && !g->draining;
    const char *why = g->draining ? "draining\n" : "no routes yet\n";
    net_http_reply_text(r, ready ? 200 : 503, "text/plain", a_view_str(ready ? "ready\n" : why));
}

static void admin_handle(void *ctx, struct net_http_request *r)
{
    struct d_gateway *g = ctx;
    if (r->head->method == WIRE_HTTP_POST && a_view_is(r->path, WIRE_EDS_PATH))
        d_eds_handle(g->eds, r, NULL);
    else if (r->head->method != WIRE_HTTP_GET && r->head->method != WIRE_HTTP_HEAD)
        net_http_reply_text(r, 405, "text/plain", A_VIEW_LIT("only GET (POST: " WIRE_EDS_PATH ")\n"));
    else if (a_view_is(r->path, "/metrics"))
        question_ask(g, r, "text/plain; version=0.0.4; charset=utf-8", metrics_print);
    else if (a_view_is(r->path, "/routes"))
        question_ask(g, r, "application/json", routes_print);
    else if (a_view_is(r->path, "/healthz"))
        net_http_reply_text(r, 200, "text/plain", A_VIEW_LIT("ok\n"));
    else if (a_view_is(r->path, "/ready"))
        ready_answer(g, r);
    else
        net_http_reply_text(r, 404, "text/plain",
                            A_VIEW_LIT("/metrics /healthz /ready /routes " WIRE_EDS_PATH "\n"));
}

static const struct net_http_server_ops admin_ops = {.handle = admin_handle};

int d_gw_admin_start(struct d_gateway *g, struct a_error *reterr)
{
    struct sys_addr addr, real;
    int rc = sys_addr_parse(g->options.admin, &addr, reterr);
    if (rc != 0)
        return rc;
    g->eds = d_eds_new(g->loop, &eds_ops, g);
    g->admin = net_http_server_new(g->loop, &(struct net_http_server_options){0}, &admin_ops, g);
    rc = net_http_server_listen(g->admin, &addr, NULL, &real, reterr);
    if (rc == 0)
        g->admin_port = sys_addr_port(&real);
    return rc;
}
