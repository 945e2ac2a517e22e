/* What the server itself is and does: status, version, health, metrics. */
#include <inttypes.h>
#include <string.h>

#include "base/metrics.h"
#include "daemon/server/api.h"
#include "sys/clock.h"
#include "sys/file.h"

struct census {
    uint32_t nodes[A_NODE_STATE_COUNT], units[A_UNIT_STATE_COUNT], members[A_MEMBER_STATE_COUNT];
    uint32_t apps, orphans, deleting, cordoned, claims;
};

static void census_units(const struct d_app *app, struct census *n)
{
    struct unit_info u;
    struct unit_member_info m;
    for (size_t i = 0; app->fleet != NULL && unit_fleet_unit(app->fleet, i, &u); i++) {
        n->units[u.state]++;
        for (size_t k = 0; unit_fleet_member(app->fleet, &u.name, k, &m); k++)
            n->members[m.state]++;
    }
}

static void census_take(const struct server *s, struct census *n)
{
    memset(n, 0, sizeof *n);
    for (const struct sl_resource_node *node = sl_resource_next(&s->resource, NULL); node != NULL;
         node = sl_resource_next(&s->resource, node)) {
        n->nodes[sl_resource_node_state(node)]++;
        n->cordoned += (node->facts.flags & SL_RESOURCE_NODE_CORDONED) != 0;
        for (const struct sl_resource_claim *l = sl_resource_next_claim(node, NULL); l != NULL;
             l = sl_resource_next_claim(node, l))
            n->claims += l->facts.state != A_CLAIM_RELEASED;
    }
    a_map_foreach (l, &s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        n->apps += !app->orphan;
        n->orphans += app->orphan;
        n->deleting += app->deleted;
        census_units(app, n);
    }
}

/* {"UP": 3}: states that occur, in their order. */
static struct wire_value *counts_json(const uint32_t *counts, int n, const char *(*name)(int),
                                      struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    for (int i = 0; i < n; i++)
        if (counts[i] > 0)
            wire_value_set_int(arena, v, name(i), counts[i]);
    return v;
}

static const char *node_word(int i)
{
    return a_node_state_name((enum a_node_state)i);
}

static const char *unit_word(int i)
{
    return a_unit_state_name((enum a_unit_state)i);
}

static const char *member_word(int i)
{
    return a_member_state_name((enum a_member_state)i);
}

static struct wire_value *gateways_json(struct api_call *c)
{
    struct wire_value *list = wire_value_new_array(c->arena);
    a_list_foreach (l, &c->s->gateways) {
        const struct d_gateway *g = a_list_entry(l, struct d_gateway, link);
        struct wire_value *v = wire_value_new_object(c->arena);
        wire_value_set_string(c->arena, v, "name", g->name);
        wire_value_set_string(c->arena, v, "address", g->address);
        wire_value_set_int(c->arena, v, "port", g->port);
        wire_value_set_int(c->arena, v, "viewSent", (int64_t)g->sent);
        wire_value_set_int(c->arena, v, "viewApplied", (int64_t)g->acked);
        wire_value_append(list, v);
    }
    return list;
}

static void version_set(struct api_call *c, struct wire_value *v)
{
    wire_value_set_string(c->arena, v, "version", ASTRA_VERSION);
    wire_value_set_string(c->arena, v, "bootId", c->s->boot_id.s);
    wire_value_set_string(c->arena, v, "storeId", store_id(c->s->store)->s);
    api_set_time(c->arena, v, "time", sys_clock_wall_ms());
}

void api_handle_VERSION(struct api_call *c)
{
    struct wire_value *v = wire_value_new_object(c->arena);
    version_set(c, v);
    wire_value_set_string(c->arena, v, "role", api_role_name(c->role));
    wire_value_set_string(c->arena, v, "namespace", c->scope);
    api_reply_value(c, 200, v);
}

void api_handle_STATUS(struct api_call *c)
{
    struct wire_value *v = wire_value_new_object(c->arena);
    struct census n;
    census_take(c->s, &n);
    version_set(c, v);
    api_set_time(c->arena, v, "started", api_wall_ms(c->api, c->s->started_ms));
    wire_value_set_int(c->arena, v, "storeRevision", (int64_t)store_revision(c->s->store));
    wire_value_set_bool(c->arena, v, "readOnly", store_is_read_only(c->s->store));
    wire_value_set_bool(c->arena, v, "adopted", c->s->adopted);
    wire_value_set(c->arena, v, "nodes", counts_json(n.nodes, A_NODE_STATE_COUNT, node_word, c->arena));
    wire_value_set_int(c->arena, v, "cordoned", n.cordoned);
    wire_value_set_int(c->arena, v, "claims", n.claims);
    wire_value_set_int(c->arena, v, "apps", n.apps);
    wire_value_set_int(c->arena, v, "orphans", n.orphans);
    wire_value_set(c->arena, v, "units", counts_json(n.units, A_UNIT_STATE_COUNT, unit_word, c->arena));
    wire_value_set(c->arena, v, "gateways", gateways_json(c));
    api_reply_value(c, 200, v);
}

void api_handle_HEALTHZ(struct api_call *c)
{
    net_http_reply_text(c->r, 200, "text/plain", A_VIEW_LIT("ok\n"));
}

/* ---- metrics ---- */

static void metric_states(struct a_buf *b, const char *name, const char *help, const uint32_t *counts, int n,
                          const char *(*word)(int))
{
    a_metric_head(b, name, "gauge", help);
    for (int i = 0; i < n; i++)
        a_buf_addf(b, "%s{state=\"%s\"} %" PRIu32 "\n", name, word(i), counts[i]);
}

/* Names of apps are DNS labels: nothing in them needs escaping. */
static void app_metric(struct a_buf *b, const char *name, const struct d_app *app, const char *label,
                       const char *value, double n)
{
    a_buf_addf(b, "%s{namespace=\"%s\",app=\"%s\"", name, app->ref.namespace.s, app->ref.name.s);
    if (label != NULL)
        a_buf_addf(b, ",%s=\"%s\"", label, value);
    a_buf_addf(b, "} %.17g\n", n);
}

static void metrics_app_units(struct a_buf *b, const struct d_app *app)
{
    struct unit_fleet_status s = {0};
    if (app->fleet != NULL)
        unit_fleet_status(app->fleet, &s);
    app_metric(b, "astra_server_app_units", app, "which", "wanted", s.wanted);
    app_metric(b, "astra_server_app_units", app, "which", "ready", s.ready);
    app_metric(b, "astra_server_app_units", app, "which", "failed", s.failed);
    app_metric(b, "astra_server_app_units", app, "which", "lost", s.lost);
}

static void metrics_app_capacity(struct a_buf *b, const struct d_app *app)
{
    struct unit_fleet_status s = {0};
    if (app->fleet != NULL)
        unit_fleet_status(app->fleet, &s);
    app_metric(b, "astra_server_app_no_capacity", app, NULL, NULL,
               s.conditions[UNIT_PLACED].reason == A_REASON_NO_CAPACITY ? 1 : 0);
}

static void metrics_app_requests(struct a_buf *b, const struct d_app *app)
{
    for (int i = 0; i < D_OUTCOME_COUNT; i++)
        app_metric(b, "astra_server_app_requests_total", app, "outcome", d_outcome_name((enum d_outcome)i),
                   (double)app->counts.total.n[i]);
}

/* A window without requests has no ratio: nothing failed, and nothing is told. */
static void metrics_app_success(struct a_buf *b, const struct d_app *app)
{
    struct d_tally hour, month;
    uint64_t now = sys_clock_wall_ms();
    d_success_hour(&app->counts.success, now, &hour);
    d_success_month(&app->counts.success, now, &month);
    if (d_tally_ratio(&hour) >= 0)
        app_metric(b, "astra_server_app_success_ratio", app, "window", "1h", d_tally_ratio(&hour));
    if (d_tally_ratio(&month) >= 0)
        app_metric(b, "astra_server_app_success_ratio", app, "window", "30d", d_tally_ratio(&month));
}

static void metrics_apps(struct api_call *c, struct a_buf *b)
{
    static const struct {
        const char *name, *type, *help;
        void (*print)(struct a_buf *b, const struct d_app *app);
    } all[] = {
        {"astra_server_app_units", "gauge", "Units of an app", metrics_app_units},
        {"astra_server_app_no_capacity", "gauge", "1 while a unit of the app finds no place",
         metrics_app_capacity},
        {"astra_server_app_requests_total", "counter",
         "Finished requests that gateways reported, by how they ended", metrics_app_requests},
        {"astra_server_app_success_ratio", "gauge",
         "Good answers among those that were not the client's own doing, over a window", metrics_app_success},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(all); i++) {
        a_metric_head(b, all[i].name, all[i].type, all[i].help);
        a_map_foreach (l, &c->s->apps)
            all[i].print(b, a_map_entry(l, struct d_app, by_ref));
    }
}

static uint64_t list_count(const struct a_list *head)
{
    uint64_t n = 0;
    a_list_foreach (l, head)
        n++;
    return n;
}

static void metrics_events(struct api_call *c, struct a_buf *b)
{
    a_metric_head(b, "astra_server_events_total", "counter", "Events since the start, by reason");
    for (int i = 0; i < A_REASON_COUNT; i++)
        a_buf_addf(b, "astra_server_events_total{reason=\"%s\"} %" PRIu64 "\n",
                   a_reason_name((enum a_reason)i), c->s->event_counts[i]);
}

static void metrics_disk(struct api_call *c, struct a_buf *b)
{
    uint64_t free_bytes, total;
    if (sys_disk_free(c->s->options.data, &free_bytes, &total, NULL) != 0)
        return;
    a_metric_print(b, "astra_server_disk_free_bytes", "gauge", "Free where the store and artifacts are",
                   free_bytes);
    a_metric_print(b, "astra_server_disk_bytes", "gauge", "Of that disk, in all", total);
}

static void metrics_server(struct api_call *c, struct a_buf *b)
{
    struct net_http_server_stats http;
    net_http_server_stats(c->api->http, &http);
    a_metric_print(b, "astra_server_store_revision", "gauge", "Last committed revision of the store",
                   store_revision(c->s->store));
    a_metric_print(b, "astra_server_store_read_only", "gauge", "1 while the store's disk is full",
                   store_is_read_only(c->s->store));
    a_metric_print(b, "astra_server_store_failed_total", "counter", "Writes that the store could not make",
                   store_failures(c->s->store));
    a_metric_print(b, "astra_server_connections", "gauge", "Starlink connections", list_count(&c->s->peers));
    a_metric_print(b, "astra_server_gateways", "gauge", "Gateways connected", list_count(&c->s->gateways));
    a_metric_print(b, "astra_server_gangs", "gauge", "Units being placed", sl_sched_gangs(&c->s->sched));
    a_metric_print(b, "astra_server_releases", "gauge", "Claims being released",
                   sl_sched_releases(&c->s->sched));
    a_metric_print(b, "astra_server_stale_frames_total", "counter", "Frames of an older attach, dropped",
                   c->s->resource.stale);
    a_metric_print(b, "astra_server_api_connections", "gauge", "Open API connections", http.connections_open);
    a_metric_print(b, "astra_server_api_requests_total", "counter", "API requests", c->api->requests);
    a_metric_print(b, "astra_server_api_refused_total", "counter", "API requests answered with a problem",
                   c->api->refused);
    a_metric_print(b, "astra_server_api_malformed_total", "counter", "Requests that were no HTTP",
                   http.malformed_total);
    a_metric_print(b, "astra_server_api_looked_total", "counter",
                   "Apps and nodes looked at for lists and watches", c->api->looked);
    a_metric_print(b, "astra_server_idempotency_keys", "gauge", "Keys of writes that are remembered",
                   api_replays_count(c->s));
    a_metric_print(b, "astra_server_api_watches", "gauge", "Open event streams",
                   list_count(&c->api->streams));
}

static void metrics_identity(const struct server *s, struct a_buf *b)
{
    struct net_cert_info own;
    int64_t left = 0;
    if (net_cert_read(a_buf_view(&s->authority.certificate), &own, NULL) == 0)
        left = ((int64_t)own.not_after_ms - (int64_t)sys_clock_wall_ms()) / 1000;
    a_metric_print(b, "astra_server_certificates_issued_total", "counter",
                   "Certificates issued to nodes and gateways", s->authority.issued);
    a_metric_print(b, "astra_server_certificates_expired", "gauge",
                   "Connected nodes and gateways whose certificate has ended; they are served as before",
                   d_peers_expired(s));
    a_metric_print(b, "astra_server_certificate_seconds", "gauge", "Until the server's own certificate ends",
                   (uint64_t)A_MAX(left, 0));
    a_metric_print(b, "astra_server_ca_rotations_total", "counter", "Rotations of the CA since the start",
                   s->authority.rotations);
    a_metric_print(b, "astra_server_endpoints_foreign", "gauge",
                   "Endpoints left out of routing: at an address of no node of their unit",
                   d_routes_foreign(s));
    a_metric_head(b, "astra_server_refused_total", "counter", "Connections and frames refused, by reason");
    for (int i = NET_REFUSAL_NONE + 1; i < NET_REFUSAL_COUNT; i++)
        a_buf_addf(b, "astra_server_refused_total{reason=\"%s\"} %" PRIu64 "\n",
                   net_refusal_name((enum net_refusal)i), s->refused[i]);
}

void api_handle_METRICS(struct api_call *c)
{
    A_BUF_AUTO struct a_buf b = {0};
    struct census n;
    census_take(c->s, &n);
    metric_states(&b, "astra_server_nodes", "Nodes by state", n.nodes, A_NODE_STATE_COUNT, node_word);
    metric_states(&b, "astra_server_units", "Units by state", n.units, A_UNIT_STATE_COUNT, unit_word);
    metric_states(&b, "astra_server_members", "Members by state", n.members, A_MEMBER_STATE_COUNT,
                  member_word);
    a_metric_print(&b, "astra_server_nodes_cordoned", "gauge", "Nodes on which nothing new is placed",
                   n.cordoned);
    a_metric_print(&b, "astra_server_claims", "gauge", "Claims that nodes hold", n.claims);
    a_metric_print(&b, "astra_server_apps", "gauge", "Apps", n.apps);
    a_metric_print(&b, "astra_server_orphans", "gauge", "Apps that no store knows", n.orphans);
    metrics_server(c, &b);
    metrics_identity(c->s, &b);
    metrics_disk(c, &b);
    d_kept_logs_metrics(c->s, &b);
    d_kube_metrics(c->s, &b);
    metrics_events(c, &b);
    metrics_apps(c, &b);
    net_http_reply_text(c->r, 200, "text/plain; version=0.0.4", a_buf_view(&b));
}
