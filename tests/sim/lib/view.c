/* What gateways see, as src/daemon/server/routes.c makes it: the whole view is made anew when something may
 * have changed, only the difference leaves, and a gateway that is new gets all of it. Who must have heard of
 * a unit's withdrawal is the business of unit_withdraw. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "lib/sim.h"

#define FIRST_VIEW_MS 8000 /* a gateway that holds a view keeps it for so long after a server's start */

static void withdraw_event(struct sim *sim, struct unit_withdraw_event *e);

bool view_row_same(const struct view_row *a, const struct view_row *b)
{
    if (a->kind != b->kind || a->app != b->app)
        return false;
    if (a->kind == 'r')
        return a->idempotent == b->idempotent;
    return a->node == b->node && a->port == b->port && strcmp(a->unit.s, b->unit.s) == 0;
}

void view_row_id(const struct view_row *row, char *out, size_t size)
{
    snprintf(out, size, "%s@%d:%u", row->unit.s, row->node, row->port);
}

void view_reset(struct sim *sim)
{
    memset(&sim->server.view, 0, sizeof sim->server.view);
    for (int g = 0; g < SIM_GATEWAYS; g++)
        sim->server.view.left_ms[g] = sim->now;
    unit_withdraw_init(&sim->server.withdraw);
    struct unit_withdraw_event e = {.type = UNIT_WITHDRAW_STARTED};
    for (int i = 0; i < SIM_RECORDS_MAX; i++)
        if (sim->server.records[i].app >= 0) {
            withdraw_event(sim, &e); /* units may serve from before */
            break;
        }
}

void view_touch(struct sim *sim)
{
    sim->server.view.touched = true;
}

/* ---- withdrawals ---- */

static int app_of(struct sim *sim, const struct a_unit_name *unit)
{
    struct unit_info u;
    for (int i = 0; i < sim->n_apps; i++)
        if (sim->apps[i].fleet != NULL && unit_fleet_find(sim->apps[i].fleet, unit, &u))
            return i;
    return -1;
}

/* Answers become events in the server's queue: no core is entered from here. */
static void withdraw_event(struct sim *sim, struct unit_withdraw_event *e)
{
    struct unit_withdraw_update u;
    e->now_ms = sim->now;
    unit_withdraw_step(&sim->server.withdraw, e, &u);
    for (size_t i = 0; i < u.n_answers; i++) {
        const struct unit_withdraw_answer *a = &u.answers[i];
        int app = app_of(sim, &a->unit);
        if (app >= 0 && a->idle)
            server_idle(sim, app, &a->unit);
        else if (app >= 0)
            server_withdrawn(sim, app, a->sequence);
    }
}

void view_endpoints(struct sim *sim, const struct unit_action *a)
{
    bool leaves = a->endpoints == UNIT_ENDPOINTS_DRAINING || a->endpoints == UNIT_ENDPOINTS_DEAD;
    struct unit_withdraw_event e = {.type = leaves ? UNIT_WITHDRAW_LEAVES : UNIT_WITHDRAW_STAYS,
                                    .unit = a->unit,
                                    .sequence = a->sequence};
    withdraw_event(sim, &e);
    view_touch(sim);
}

void view_forget(struct sim *sim, const struct a_unit_name *unit)
{
    withdraw_event(sim, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_STAYS, .unit = *unit});
    view_touch(sim);
}

void view_time(struct sim *sim)
{
    withdraw_event(sim, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_TIME});
}

/* ---- making the view ---- */

struct making {
    struct view_row delta[SIM_ROWS_MAX];
    size_t n;
};

static void row_put(struct view *v, struct making *d, const struct view_row *row)
{
    struct view_row *old = NULL;
    for (size_t i = 0; i < v->n_rows && old == NULL; i++)
        if (view_row_same(&v->rows[i], row))
            old = &v->rows[i];
    bool same = old != NULL && old->state == row->state;
    if (old == NULL) {
        a_assert(v->n_rows < SIM_ROWS_MAX);
        old = &v->rows[v->n_rows++];
    }
    *old = *row;
    old->marked = true;
    if (!same)
        d->delta[d->n++] = *row;
}

static void head_put(struct sim *sim, struct making *d, int app, const struct sl_resource_claim *head,
                     enum wire_sl_endpoint_state state)
{
    struct msg m;
    memcpy(&m, head->facts.detail.ptr, sizeof m);
    for (int i = 0; i < SIM_REPLICAS; i++) {
        struct view_row row = {.kind = 'e', .app = app, .node = m.node, .port = m.ports[i], .state = state};
        row.unit = head->facts.id.unit;
        if (row.port != 0)
            row_put(&sim->server.view, d, &row);
    }
}

static enum wire_sl_endpoint_state row_state(enum unit_endpoints e)
{
    bool up = e == UNIT_ENDPOINTS_UP || e == UNIT_ENDPOINTS_STALE;
    return up                             ? WIRE_SL_ENDPOINT_UP
           : e == UNIT_ENDPOINTS_DRAINING ? WIRE_SL_ENDPOINT_DRAINING
                                          : WIRE_SL_ENDPOINT_DEAD;
}

static void orphans_put(struct sim *sim, struct making *d, int app)
{
    const struct sl_resource_claim *c = NULL;
    while ((c = sl_resource_next_orphan(&sim->server.resource, c)) != NULL) {
        bool up = c->facts.member == A_MEMBER_UP && sl_resource_node_state(c->node) != A_NODE_DEAD;
        if (server_app(sim, &c->facts.id.app_uid) == &sim->apps[app] &&
            strcmp(c->facts.id.member.s, "head") == 0)
            head_put(sim, d, app, c, up ? WIRE_SL_ENDPOINT_UP : WIRE_SL_ENDPOINT_DEAD);
    }
}

static void app_put(struct sim *sim, struct making *d, int app)
{
    struct unit_info u;
    for (int idempotent = 0; idempotent < 2; idempotent++)
        row_put(&sim->server.view, d, &(struct view_row){.kind = 'r', .app = app, .idempotent = idempotent});
    if (sim->apps[app].fleet == NULL) {
        orphans_put(sim, d, app);
        return;
    }
    for (size_t i = 0; unit_fleet_unit(sim->apps[app].fleet, i, &u); i++) {
        const struct sl_resource_claim *head =
            sl_resource_claim(&sim->server.resource, &u.head_node, &u.head);
        if (u.endpoints != UNIT_ENDPOINTS_NONE && head != NULL)
            head_put(sim, d, app, head, row_state(u.endpoints));
    }
}

static void view_make(struct sim *sim, struct making *d)
{
    struct view *v = &sim->server.view;
    for (size_t i = 0; i < v->n_rows; i++)
        v->rows[i].marked = false;
    for (int app = 0; app < sim->n_apps; app++)
        app_put(sim, d, app);
    for (size_t i = v->n_rows; i-- > 0;) {
        if (v->rows[i].marked)
            continue;
        d->delta[d->n] = v->rows[i];
        d->delta[d->n++].gone = true;
        v->rows[i] = v->rows[--v->n_rows];
    }
    if (d->n > 0 || v->sequence == 0)
        v->sequence++;
}

/* ---- sending ---- */

static void view_send(struct sim *sim, int g, const struct making *d, bool snapshot)
{
    struct view *v = &sim->server.view;
    size_t n = snapshot ? v->n_rows : d->n;
    struct gmsg *m = a_alloc(sizeof *m + n * sizeof m->rows[0]);
    *m = (struct gmsg){.type = GMSG_VIEW,
                       .gateway = g,
                       .conn = v->gateways[g].conn,
                       .life = sim->server.life,
                       .sequence = v->sequence,
                       .snapshot = snapshot,
                       .n_rows = n};
    memcpy(m->rows, snapshot ? v->rows : d->delta, n * sizeof m->rows[0]);
    v->gateways[g].sent = v->sequence;
    net_gateway_send(sim, m);
    a_free(m);
}

static bool nodes_are_back(struct sim *sim)
{
    bool some = false;
    for (int i = 0; i < SIM_RECORDS_MAX; i++) {
        const struct stored_record *r = &sim->server.records[i];
        for (size_t k = 0; r->app >= 0 && k < r->record.n_members; k++) {
            const struct sl_resource_node *node =
                sl_resource_node(&sim->server.resource, &r->members[k].node);
            if (node == NULL || !node->snapshot)
                return false;
            some = true;
        }
    }
    return some;
}

static bool view_is_trustworthy(struct sim *sim)
{
    struct server *s = &sim->server;
    const struct sl_resource_node *node = NULL;
    s->nodes_are_back = s->nodes_are_back || nodes_are_back(sim);
    bool back = s->nodes_are_back;
    while (back && (node = sl_resource_next(&s->resource, node)) != NULL)
        back = node->snapshot;
    return back || sim->now - s->started_ms >= FIRST_VIEW_MS;
}

static void run_again(struct sim *sim, void *data)
{
    uint32_t life;
    memcpy(&life, data, sizeof life);
    if (sim->server.life != life)
        return;
    sim->server.view.armed = false;
    sim->server.view.touched = true;
    server_wake(sim);
}

static void gone_tell(struct sim *sim, const struct making *d)
{
    for (size_t i = 0; i < d->n; i++) {
        char id[80];
        view_row_id(&d->delta[i], id, sizeof id);
        if (d->delta[i].gone && d->delta[i].kind == 'e')
            withdraw_event(
                sim, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_GONE, .endpoint = a_view_str(id)});
    }
}

void view_round(struct sim *sim)
{
    struct view *v = &sim->server.view;
    struct making d;
    bool waits = false;
    d.n = 0;
    if (!v->touched || !sim->server.adopted)
        return;
    uint64_t before = v->sequence;
    bool trustworthy = view_is_trustworthy(sim);
    v->touched = false;
    view_make(sim, &d);
    for (int g = 0; g < SIM_GATEWAYS; g++) {
        struct server_gateway *sg = &v->gateways[g];
        if (!sg->subscribed || sg->sent == v->sequence)
            continue;
        if (sg->holds_view && !trustworthy) {
            waits = true;
            continue;
        }
        sg->holds_view = false;
        view_send(sim, g, &d, sg->sent == 0 || sg->sent != before);
    }
    gone_tell(sim, &d);
    withdraw_event(sim, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_SENT, .sequence = v->sequence});
    if (waits && !v->armed) {
        v->armed = true;
        sim_after(sim, OWNER_SERVER, 500, run_again, &sim->server.life, sizeof sim->server.life);
    }
}

/* ---- gateways ---- */

static void subscribe_take(struct sim *sim, const struct gmsg *m)
{
    struct server_gateway *sg = &sim->server.view.gateways[m->gateway];
    char name[16];
    struct unit_withdraw_event e = {.type = UNIT_WITHDRAW_LEFT, .conn = sg->conn};
    if (sg->conn != 0 && sg->conn != m->conn)
        withdraw_event(sim, &e); /* its old connection is not closed yet */
    uint64_t left_ms = sg->conn != 0 ? sim->now : sim->server.view.left_ms[m->gateway];
    *sg = (struct server_gateway){.conn = m->conn, .subscribed = true, .since_ms = sim->now};
    sg->late = sim->now - left_ms >= UNIT_WITHDRAW_AWAY_MS;
    sg->holds_view = m->sequence > 0 && m->life != sim->server.life;
    snprintf(name, sizeof name, "gateway-%d", m->gateway);
    e = (struct unit_withdraw_event){
        .type = UNIT_WITHDRAW_JOIN, .conn = m->conn, .gateway = a_view_str(name)};
    withdraw_event(sim, &e);
    view_touch(sim);
}

static void report_take(struct sim *sim, const struct gmsg *m)
{
    const struct view_row *row = &m->rows[0];
    char id[80];
    view_row_id(row, id, sizeof id);
    bool known = false;
    for (size_t k = 0; k < sim->server.view.n_rows; k++)
        known = known || view_row_same(&sim->server.view.rows[k], row);
    if (m->refused > 0 && known)
        server_refused(sim, row->node);
    struct unit_withdraw_event e = {
        .type = UNIT_WITHDRAW_LOAD,
        .conn = m->conn,
        .unit = row->unit,
        .endpoint = a_view_str(id),
        .in_flight = known || sim->server.view.gateways[m->gateway].sent == 0 ? m->in_flight : 0};
    withdraw_event(sim, &e);
}

void view_receive(struct sim *sim, const struct gmsg *m)
{
    switch (m->type) {
    case GMSG_SUBSCRIBE:
        subscribe_take(sim, m);
        break;
    case GMSG_ACK:
        withdraw_event(sim, &(struct unit_withdraw_event){
                                .type = UNIT_WITHDRAW_ACKED, .conn = m->conn, .sequence = m->sequence});
        break;
    case GMSG_REPORT:
        report_take(sim, m);
        break;
    case GMSG_VIEW:
        break;
    }
    server_wake(sim);
}

void view_gateway_closed(struct sim *sim, int gateway, uint32_t conn)
{
    struct server_gateway *sg = &sim->server.view.gateways[gateway];
    if (sg->conn == conn) {
        *sg = (struct server_gateway){0};
        sim->server.view.left_ms[gateway] = sim->now;
    }
    withdraw_event(sim, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_LEFT, .conn = conn});
    view_touch(sim);
}
