/* What gateways see: routes and endpoints, made from the apps, the fleets and the agents' reports. The whole
 * view is made anew when something may have changed, compared row by row with what was sent before, and only
 * the difference leaves; a gateway that is new, or lost frames, gets all of it. Rows are kept as the frames
 * that are sent. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/server.h"
#include "sys/log.h"

#define FAILURE_APART_MS 10000

struct row {
    struct a_map_link link; /* by id */
    char *id;               /* "r" or "e", then the id of the route or endpoint */
    struct a_buf frame;
    uint64_t mark;
    struct a_app_ref app;
    struct a_node_id node; /* endpoints */
    struct a_unit_name unit;
    uint64_t told_ms; /* when its failure was last an event */
};

struct d_routes {
    struct a_map rows;
    uint64_t sequence; /* of the last change; 0 = nothing yet */
    uint64_t mark;
    bool touched, known;
    bool routes_changed; /* of the app that is looked at: its endpoints read differently */
    struct a_buf delta;  /* frames of the change being made */
    struct a_buf gone;   /* ids of the endpoints that it takes away, each with its NUL */
    size_t foreign;      /* targets at addresses that are none of their unit's nodes: left out */
};

void d_routes_init(struct server *s)
{
    s->routes = a_new(struct d_routes);
    unit_withdraw_init(&s->withdraw);
}

static void row_free(struct d_routes *v, struct row *row)
{
    a_map_remove(&v->rows, &row->link);
    a_buf_deinit(&row->frame);
    a_free(row->id);
    a_free(row);
}

void d_routes_free(struct server *s)
{
    struct d_routes *v = s->routes;
    if (v == NULL)
        return;
    unit_withdraw_deinit(&s->withdraw);
    a_map_foreach (l, &v->rows) {
        row_free(v, a_map_entry(l, struct row, link));
    }
    a_map_deinit(&v->rows);
    a_buf_deinit(&v->delta);
    a_buf_deinit(&v->gone);
    a_free(v);
    s->routes = NULL;
}

size_t d_routes_foreign(const struct server *s)
{
    return s->routes->foreign;
}

void d_routes_touch(struct server *s)
{
    if (s->routes != NULL)
        s->routes->touched = true;
}

/* ---- making the view ---- */

/* A row of the new view: sent when it is not as it was. */
static struct row *row_put(struct server *s, const struct a_app_ref *app, const char *id,
                           const struct wire_sl_message *m)
{
    struct d_routes *v = s->routes;
    A_BUF_AUTO struct a_buf frame = {0};
    struct a_map_link *l = a_map_get_str(&v->rows, id);
    struct row *row = l != NULL ? a_map_entry(l, struct row, link) : NULL;
    if (wire_sl_encode(&frame, m, NULL) != 0)
        return NULL;
    if (row == NULL) {
        row = a_new(struct row);
        row->id = a_strdup(id);
        row->app = *app;
        a_map_put_str(&v->rows, &row->link, row->id);
    }
    row->mark = v->mark;
    if (m->type == WIRE_SL_T_ENDPOINT && v->routes_changed)
        d_api_endpoint_changed(s, app, id + 1);
    if (a_view_equal(a_buf_view(&row->frame), a_buf_view(&frame)))
        return row;
    a_buf_reset(&row->frame);
    a_buf_add_view(&row->frame, a_buf_view(&frame));
    a_buf_add_view(&v->delta, a_buf_view(&frame));
    if (m->type == WIRE_SL_T_ROUTE)
        v->routes_changed = true;
    else
        d_api_endpoint_changed(s, app, id + 1);
    return row;
}

/* Does an app of the store have this host and prefix? */
static bool route_is_taken(struct server *s, const struct unit_route *r)
{
    a_map_foreach (l, &s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        for (size_t i = 0; !app->orphan && app->current != NULL && i < app->current->read.n_routes; i++) {
            const struct unit_route *other = &app->current->read.routes[i];
            if (strcmp(other->host, r->host) == 0 && strcmp(other->prefix, r->prefix) == 0)
                return true;
        }
    }
    return false;
}

static void app_routes(struct server *s, const struct d_app *app)
{
    for (size_t i = 0; i < app->current->read.n_routes; i++) {
        const struct unit_route *r = &app->current->read.routes[i];
        if (app->orphan && route_is_taken(s, r))
            continue; /* what the store knows comes first */
        A_AUTOFREE char *id = a_asprintf("r%s/%s%s", app->key, r->host, r->prefix);
        struct wire_sl_message m = {.type = WIRE_SL_T_ROUTE};
        m.route = (struct wire_sl_route){.id = a_view_str(id + 1),
                                         .app = app->ref,
                                         .host = a_view_str(r->host),
                                         .prefix = a_view_str(r->prefix),
                                         .rewrite = a_view_str(r->rewrite),
                                         .has_rewrite = r->rewrite != NULL,
                                         .application = a_view_str(r->application),
                                         .timeout_ms = r->timeout_ms,
                                         .idle_ms = r->idle_ms,
                                         .wait_ms = r->wait_ms,
                                         .max_body_bytes = r->max_body,
                                         .retry_body_bytes = r->retry_body,
                                         .idempotent = r->idempotent,
                                         .policy = a_view_str(r->policy),
                                         .max_ongoing = r->max_ongoing,
                                         .units_wanted = app->orphan ? 1 : app->units};
        (void)row_put(s, &app->ref, id, &m);
    }
}

static bool node_is_at(const struct sl_resource_node *node, struct a_view ip)
{
    return node != NULL && a_view_is(ip, node->facts.address);
}

/* Is this the address of a node that the unit has a member on? A head speaks for its own unit only: nobody
 * brings a gateway to send requests elsewhere. */
static bool address_is_units(struct server *s, const struct d_app *app, const struct sl_resource_claim *head,
                             struct a_view ip)
{
    const struct a_unit_name *unit = &head->facts.id.unit;
    const struct sl_resource_claim *c = NULL;
    struct unit_member_info m;
    if (node_is_at(head->node, ip))
        return true;
    for (size_t i = 0; app->fleet != NULL && unit_fleet_member(app->fleet, unit, i, &m); i++)
        if (node_is_at(sl_resource_node(&s->resource, &m.node), ip))
            return true;
    while (app->orphan && (c = sl_resource_next_orphan(&s->resource, c)) != NULL)
        if (strcmp(c->facts.id.unit.s, unit->s) == 0 && node_is_at(c->node, ip))
            return true;
    return false;
}

static void unit_endpoints(struct server *s, const struct d_app *app, const struct sl_resource_claim *claim,
                           enum wire_sl_endpoint_state state)
{
    struct d_routes *v = s->routes;
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct wire_sl_claim_status *c = d_claim_status(claim, &arena);
    for (size_t i = 0; c != NULL && i < c->n_targets; i++) {
        const struct wire_sl_target *t = &c->targets[i];
        if (!address_is_units(s, app, claim, t->ip)) {
            v->foreign++;
            continue;
        }
        char *id =
            a_arena_printf(&arena, "e%s/" A_VIEW_FMT "/" A_VIEW_FMT "@" A_VIEW_FMT ":%u", c->claim.unit.s,
                           A_VIEW_ARG(t->application), A_VIEW_ARG(t->name), A_VIEW_ARG(t->ip), t->port);
        struct wire_sl_message m = {.type = WIRE_SL_T_ENDPOINT};
        m.endpoint = (struct wire_sl_endpoint){.id = a_view_str(id + 1),
                                               .app = app->ref,
                                               .unit = c->claim.unit,
                                               .node = claim->node->id,
                                               .cluster = claim->node->facts.cluster,
                                               .application = t->application,
                                               .ip = t->ip,
                                               .port = t->port,
                                               .name = t->name,
                                               .state = t->healthy ? state : WIRE_SL_ENDPOINT_DEAD,
                                               .proxy = t->proxy,
                                               .max_ongoing = t->max_ongoing,
                                               .network = claim->node->facts.network,
                                               .revision = c->revision.number,
                                               .route_prefix = t->route_prefix,
                                               .mcpu = c->capacity.mcpu};
        if (m.endpoint.state == WIRE_SL_ENDPOINT_DRAINING) { /* 0 would mean for ever */
            m.endpoint.drain_requests_ms = A_MAX(app->current->read.drain_requests_ms, (uint64_t)1);
            m.endpoint.drain_streams_ms = A_MAX(app->current->read.drain_streams_ms, (uint64_t)1);
        }
        struct row *row = row_put(s, &app->ref, id, &m);
        if (row != NULL) {
            row->node = claim->node->id;
            row->unit = c->claim.unit;
        }
    }
}

static enum wire_sl_endpoint_state wire_state(enum unit_endpoints e)
{
    /* stale: it may serve from before a restart; nothing leaves routing because it is unknown */
    bool up = e == UNIT_ENDPOINTS_UP || e == UNIT_ENDPOINTS_STALE;
    return up                             ? WIRE_SL_ENDPOINT_UP
           : e == UNIT_ENDPOINTS_DRAINING ? WIRE_SL_ENDPOINT_DRAINING
                                          : WIRE_SL_ENDPOINT_DEAD;
}

static void fleet_endpoints(struct server *s, const struct d_app *app)
{
    struct unit_info u;
    for (size_t i = 0; unit_fleet_unit(app->fleet, i, &u); i++) {
        const struct sl_resource_claim *head = sl_resource_claim(&s->resource, &u.head_node, &u.head);
        if (u.endpoints != UNIT_ENDPOINTS_NONE && head != NULL)
            unit_endpoints(s, app, head, wire_state(u.endpoints));
    }
}

static void orphan_endpoints(struct server *s, const struct d_app *app)
{
    const struct sl_resource_claim *c = NULL;
    while ((c = sl_resource_next_orphan(&s->resource, c)) != NULL) {
        bool up = c->facts.member == A_MEMBER_UP && sl_resource_node_state(c->node) != A_NODE_DEAD;
        if (strcmp(c->facts.id.app_uid.s, app->uid.s) == 0 && strcmp(c->facts.id.member.s, "head") == 0)
            unit_endpoints(s, app, c, up ? WIRE_SL_ENDPOINT_UP : WIRE_SL_ENDPOINT_DEAD);
    }
}

static void row_gone(struct server *s, struct row *row)
{
    struct d_routes *v = s->routes;
    struct wire_sl_message m = {.type = row->id[0] == 'r' ? WIRE_SL_T_ROUTE_GONE : WIRE_SL_T_ENDPOINT_GONE};
    if (m.type == WIRE_SL_T_ROUTE_GONE)
        m.route_gone.id = a_view_str(row->id + 1);
    else
        m.endpoint_gone.id = a_view_str(row->id + 1);
    if (m.type == WIRE_SL_T_ENDPOINT_GONE) {
        a_buf_add(&v->gone, row->id + 1, strlen(row->id));
        d_api_endpoint_changed(s, &row->app, row->id + 1);
    }
    int rc = wire_sl_encode(&v->delta, &m, NULL);
    a_assert(rc == 0); /* the id was encoded before */
    row_free(v, row);
}

/* What is said of an endpoint is also of its routes: all are looked at again. */
static void endpoints_mark(struct server *s)
{
    a_map_foreach (l, &s->routes->rows) {
        const struct row *row = a_map_entry(l, struct row, link);
        if (row->id[0] == 'e')
            d_api_endpoint_changed(s, &row->app, row->id + 1);
    }
}

static void view_make(struct server *s)
{
    struct d_routes *v = s->routes;
    v->mark++;
    v->foreign = 0;
    a_buf_reset(&v->delta);
    a_map_foreach (l, &s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app->current == NULL)
            continue;
        v->routes_changed = false;
        app_routes(s, app);
        if (app->orphan)
            orphan_endpoints(s, app);
        else
            fleet_endpoints(s, app);
    }
    bool route_gone = false;
    a_map_foreach (l, &v->rows) {
        struct row *row = a_map_entry(l, struct row, link);
        if (row->mark == v->mark)
            continue;
        route_gone = route_gone || row->id[0] == 'r';
        row_gone(s, row);
    }
    if (route_gone)
        endpoints_mark(s);
    if (v->delta.len > 0 || v->sequence == 0)
        v->sequence++;
}

static bool endpoint_read(const struct row *row, struct a_arena *arena, struct wire_sl_endpoint *ret)
{
    struct wire_sl_frame frame;
    struct wire_sl_message m;
    if (row->id[0] != 'e' || wire_sl_frame_parse(a_buf_view(&row->frame), &frame, NULL) != 0 ||
        wire_sl_decode(&frame, arena, &m, NULL) != 0)
        return false;
    *ret = m.endpoint;
    return true;
}

void d_routes_endpoints(const struct server *s, void (*take)(void *ctx, const struct wire_sl_endpoint *e),
                        void *ctx)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_sl_endpoint e;
    a_map_foreach (l, &s->routes->rows) {
        if (endpoint_read(a_map_entry(l, struct row, link), &arena, &e))
            take(ctx, &e);
        a_arena_reset(&arena);
    }
}

bool d_routes_endpoint(const struct server *s, const char *id, struct a_arena *arena,
                       struct wire_sl_endpoint *ret)
{
    struct a_map_link *l = a_map_get_str(&s->routes->rows, a_arena_printf(arena, "e%s", id));
    return l != NULL && endpoint_read(a_map_entry(l, struct row, link), arena, ret);
}

/* ---- sending ---- */

static void frame_add(struct a_buf *b, const struct wire_sl_message *m)
{
    int rc = wire_sl_encode(b, m, NULL);
    a_assert(rc == 0);
}

static void view_send(struct server *s, struct d_gateway *g, bool snapshot)
{
    struct d_routes *v = s->routes;
    A_BUF_AUTO struct a_buf frames = {0};
    struct wire_sl_message begin = {.type = WIRE_SL_T_VIEW_BEGIN}, end = {.type = WIRE_SL_T_VIEW_END};
    begin.view_begin.sequence = end.view_end.sequence = v->sequence;
    begin.view_begin.snapshot = snapshot;
    frame_add(&frames, &begin);
    if (snapshot) {
        a_map_foreach (l, &v->rows) {
            a_buf_add_view(&frames, a_buf_view(&a_map_entry(l, struct row, link)->frame));
        }
    } else {
        a_buf_add_view(&frames, a_buf_view(&v->delta));
    }
    frame_add(&frames, &end);
    int rc = net_link_send_frames(g->peer->net, a_buf_view(&frames));
    g->sent = rc == 0 ? v->sequence : 0; /* a full queue: resync, then all of it */
    net_link_flush(g->peer->net);
}

/* May what this server knows replace what a gateway remembers from before? Not until those of its store's
 * units that are there have reported, and orphans have told their routes, or all were waited for long enough.
 */
static bool view_is_trustworthy(struct server *s)
{
    uint64_t age = sys_loop_now_ms(s->loop) - s->started_ms;
    const struct sl_resource_node *node = NULL;
    bool back = s->nodes_are_back;
    while (back && (node = sl_resource_next(&s->resource, node)) != NULL)
        back = node->snapshot;
    if (!back && age < D_SERVER_FIRST_VIEW_MS)
        return false;
    return !d_orphans_missing(s) || age >= D_SERVER_ORPHAN_TEXT_MS;
}

bool d_routes_are_known(struct server *s)
{
    struct d_routes *v = s->routes;
    v->known = v->known || (v->sequence > 0 && view_is_trustworthy(s));
    return v->known;
}

/* ---- withdrawals ---- */

static void withdrawal_tell(struct server *s, const struct unit_withdraw_answer *a)
{
    const struct d_unit *u = d_unit_find(s, &a->unit);
    struct unit_fleet_event e = {.type = a->idle ? UNIT_FLEET_IDLE : UNIT_FLEET_WITHDRAWN};
    if (u == NULL || u->app->fleet == NULL)
        return;
    if (a->idle) {
        e.unit.unit = a->unit;
        e.unit.ok = true;
    } else {
        e.sequence = a->sequence;
    }
    d_fleet_event(s, u->app, &e);
}

void d_withdraw_event(struct server *s, struct unit_withdraw_event *e)
{
    struct unit_withdraw_update u;
    if (s->routes == NULL)
        return; /* the end: peers go after the routes */
    e->now_ms = sys_loop_now_ms(s->loop);
    (void)unit_withdraw_step(&s->withdraw, e, &u);
    if (u.n_answers == 0)
        return;
    /* what a fleet does with an answer may enter the core again */
    size_t n = u.n_answers;
    A_AUTOFREE struct unit_withdraw_answer *answers = a_alloc_array(n, sizeof *answers);
    memcpy(answers, u.answers, n * sizeof *answers);
    d_cores_enter(s);
    for (size_t i = 0; i < n; i++)
        withdrawal_tell(s, &answers[i]);
    d_cores_leave(s);
}

/* A gateway forgets an endpoint with the view, also one where its last word was that something is in flight.
 */
static void gone_tell(struct server *s)
{
    struct a_buf gone = s->routes->gone;
    s->routes->gone = (struct a_buf){0};
    for (size_t at = 0; at < gone.len;) {
        struct unit_withdraw_event e = {.type = UNIT_WITHDRAW_GONE,
                                        .endpoint = a_view_str((const char *)gone.ptr + at)};
        at += e.endpoint.len + 1;
        d_withdraw_event(s, &e);
    }
    a_buf_deinit(&gone);
}

void d_routes_round(struct server *s)
{
    struct d_routes *v = s->routes;
    if (unit_withdraw_deadline(&s->withdraw) <= sys_loop_now_ms(s->loop))
        d_withdraw_event(s, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_TIME});
    if (!v->touched || !s->adopted)
        return;
    uint64_t before = v->sequence;
    bool trustworthy = view_is_trustworthy(s);
    v->touched = false;
    view_make(s);
    a_list_foreach_safe (l, &s->gateways) {
        struct d_gateway *g = a_list_entry(l, struct d_gateway, link);
        if (!g->subscribed || g->sent == v->sequence)
            continue;
        if (g->holds_view && !trustworthy) {
            v->touched = true; /* looked at again in the next round */
            continue;
        }
        g->holds_view = false;
        view_send(s, g, g->sent == 0 || g->sent != before);
    }
    d_api_endpoints_tell(s);
    if (v->sequence != before)
        d_api_eds_tell(s);
    gone_tell(s);
    d_withdraw_event(s, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_SENT, .sequence = v->sequence});
}

/* ---- gateways ---- */

void d_gateway_attach(struct d_peer *p, const struct wire_sl_hello *h)
{
    struct server *s = p->server;
    struct d_gateway *g = a_new(struct d_gateway);
    g->peer = p;
    p->gateway = g;
    snprintf(g->name, sizeof g->name, A_VIEW_FMT, A_VIEW_ARG(h->name));
    snprintf(g->version, sizeof g->version, A_VIEW_FMT, A_VIEW_ARG(h->version));
    snprintf(g->address, sizeof g->address, A_VIEW_FMT, A_VIEW_ARG(h->address));
    g->port = h->port;
    a_list_push_back(&s->gateways, &g->link);
    struct wire_sl_message m = {.type = WIRE_SL_T_WELCOME};
    m.welcome = (struct wire_sl_welcome){.protocol = A_MIN(h->protocol_max, (uint32_t)WIRE_SL_PROTOCOL),
                                         .store_id = *store_id(s->store),
                                         .server_boot_id = s->boot_id,
                                         .attach = h->attach,
                                         .beat_interval_ms = D_SERVER_BEAT_MS,
                                         .version = A_VIEW_LIT(ASTRA_VERSION)};
    (void)!net_link_send(p->net, &m, NULL);
    sys_log(INFO, "server", "gateway.attach", "gateway connected", SYS_STR("name", g->name),
            SYS_U64("conn", p->conn));
}

void d_gateway_detach(struct d_peer *p)
{
    struct server *s = p->server;
    struct d_gateway *g = p->gateway;
    p->gateway = NULL;
    if (g == NULL)
        return;
    a_list_remove(&g->link);
    d_counts_gateway_free(g);
    a_free(g);
    d_withdraw_event(s, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_LEFT, .conn = p->conn});
}

static void on_subscribe(struct server *s, struct d_gateway *g, const struct wire_sl_subscribe *m)
{
    g->subscribed = true;
    g->holds_view = m->sequence > 0 && strcmp(m->server_boot_id.s, s->boot_id.s) != 0;
    g->sent = 0;
    A_AUTOFREE char *name = a_asprintf("%s %s:%u", g->name, g->address, g->port);
    struct unit_withdraw_event e = {
        .type = UNIT_WITHDRAW_JOIN, .conn = g->peer->conn, .gateway = a_view_str(name)};
    d_withdraw_event(s, &e);
    d_routes_touch(s);
}

/* What clients met at an endpoint, for people: once in a while for each, whatever the traffic. */
static void failure_tell(struct server *s, struct row *row, const struct wire_sl_endpoint_report *m)
{
    const struct d_unit *u = d_unit_find(s, &m->unit);
    uint64_t now = sys_loop_now_ms(s->loop);
    char object[80];
    if (m->failed == 0 || u == NULL || (row->told_ms != 0 && now - row->told_ms < FAILURE_APART_MS))
        return;
    row->told_ms = now;
    snprintf(object, sizeof object, "unit %s", m->unit.s);
    d_event_add(s, u->app, "gateway", object, 0, A_REASON_HEALTH_CHECK_FAILED,
                "requests failed at " A_VIEW_FMT ": " A_VIEW_FMT, A_VIEW_ARG(m->endpoint),
                A_VIEW_ARG(m->error));
}

static void on_endpoint_report(struct server *s, const struct d_gateway *g,
                               const struct wire_sl_endpoint_report *m)
{
    A_AUTOFREE char *id = a_asprintf("e" A_VIEW_FMT, A_VIEW_ARG(m->endpoint));
    struct a_map_link *l = a_map_get_str(&s->routes->rows, id);
    struct unit_withdraw_event e = {.type = UNIT_WITHDRAW_LOAD,
                                    .conn = g->peer->conn,
                                    .unit = m->unit,
                                    .endpoint = m->endpoint,
                                    .in_flight = l != NULL || g->sent == 0 ? m->in_flight : 0};
    if (l != NULL) {
        struct row *row = a_map_entry(l, struct row, link);
        failure_tell(s, row, m);
        if (m->refused > 0)
            d_resource_event(s, &(struct sl_resource_event){.type = SL_RESOURCE_REFUSED, .node = row->node});
    }
    d_withdraw_event(s, &e);
}

void d_gateway_message(struct d_peer *p, const struct wire_sl_message *m)
{
    struct server *s = p->server;
    switch (m->type) {
    case WIRE_SL_T_SUBSCRIBE:
        on_subscribe(s, p->gateway, &m->subscribe);
        break;
    case WIRE_SL_T_VIEW_ACK:
        p->gateway->acked = m->view_ack.sequence;
        d_withdraw_event(s, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_ACKED,
                                                          .conn = p->conn,
                                                          .sequence = m->view_ack.sequence});
        break;
    case WIRE_SL_T_ENDPOINT_REPORT:
        d_counts_endpoint(s, &m->endpoint_report);
        on_endpoint_report(s, p->gateway, &m->endpoint_report);
        break;
    case WIRE_SL_T_APP_REPORT:
        d_counts_app(s, p->gateway, &m->app_report);
        break;
    default:
        break; /* newer than this server */
    }
}
