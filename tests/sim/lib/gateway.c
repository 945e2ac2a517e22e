/* A gateway around gw: it takes the view batch by batch, keeps the last one on its disk, acknowledges and
 * reports, and carries the core's updates out one after the other. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "lib/sim.h"

#define WAIT_MS 5000
#define TIMEOUT_MS 15000
#define REPORT_MS 1000
#define SAVE_MS 1000

struct gateway_ref {
    int gateway;
    uint32_t life;
};

static struct gateway_ref ref_of(struct sim *sim, int g)
{
    return (struct gateway_ref){g, sim->gateways[g].life};
}

/* NULL when it has died since. */
static struct gateway *ref_take(struct sim *sim, const void *data, struct gateway_ref *ret)
{
    memcpy(ret, data, sizeof *ret);
    struct gateway *g = &sim->gateways[ret->gateway];
    return g->up && g->life == ret->life ? g : NULL;
}

/* ---- the core ---- */

struct gw_endpoint *gateway_endpoint(struct sim *sim, int g, const struct view_row *row)
{
    char id[80];
    view_row_id(row, id, sizeof id);
    return gw_endpoint_find(&sim->gateways[g].core, a_view_str(id));
}

static void run_time(struct sim *sim, void *data)
{
    struct gateway_ref ref;
    struct gateway *g = ref_take(sim, data, &ref);
    if (g == NULL || g->wake_ms > sim->now)
        return;
    g->wake_ms = A_NEVER;
    gateway_step(sim, ref.gateway, &(struct gw_event){.type = GW_TIME});
}

static void gateway_arm(struct sim *sim, int g)
{
    struct gateway *gate = &sim->gateways[g];
    uint64_t at = gw_deadline(&gate->core);
    if (at == A_NEVER || gate->wake_ms <= at)
        return;
    gate->wake_ms = A_MAX(at, sim->now);
    struct gateway_ref ref = ref_of(sim, g);
    sim_after(sim, OWNER_GATEWAY(g), gate->wake_ms - sim->now, run_time, &ref, sizeof ref);
}

static void update_do(struct sim *sim, int g, const struct gw_update *u)
{
    if (u->type == GW_DRAINED)
        gateway_report(sim, g);
    else if (u->request != NULL)
        request_update(sim, A_CONTAINER_OF(u->request, struct request, core), u);
}

void gateway_step(struct sim *sim, int g, struct gw_event *e)
{
    struct gateway *gate = &sim->gateways[g];
    const struct gw_update *updates;
    size_t n;
    e->now_ms = sim->now;
    gw_step(&gate->core, e, &updates, &n);
    if (gate->n_queue + n > gate->cap_queue) {
        gate->cap_queue = gate->cap_queue * 2 + n;
        gate->queue = a_realloc(gate->queue, gate->cap_queue * sizeof *gate->queue);
    }
    if (n > 0)
        memcpy(gate->queue + gate->n_queue, updates, n * sizeof *updates);
    gate->n_queue += n;
    if (e->type == GW_DONE)
        for (size_t i = gate->next; i < gate->n_queue; i++)
            if (gate->queue[i].request == e->request)
                gate->queue[i].request = NULL;
    if (gate->carrying)
        return;
    gate->carrying = true;
    while (gate->next < gate->n_queue) {
        struct gw_update u = gate->queue[gate->next++];
        update_do(sim, g, &u);
    }
    gate->n_queue = gate->next = 0;
    gate->carrying = false;
    gateway_arm(sim, g);
}

/* ---- reports ---- */

static void report_send(struct sim *sim, int g, const struct view_row *row, struct gw_endpoint *e)
{
    struct gmsg *m = a_alloc(sizeof *m + sizeof m->rows[0]);
    *m = (struct gmsg){.type = GMSG_REPORT, .gateway = g, .conn = sim->gateways[g].conn, .n_rows = 1};
    m->rows[0] = *row;
    m->in_flight = e->in_flight;
    m->refused = e->counts.refused;
    gw_endpoint_reported(e);
    net_gateway_send(sim, m);
    a_free(m);
}

void gateway_report(struct sim *sim, int g)
{
    struct gateway *gate = &sim->gateways[g];
    for (size_t i = 0; gate->subscribed && i < gate->view.n_rows; i++) {
        const struct view_row *row = &gate->view.rows[i];
        struct gw_endpoint *e = row->kind == 'e' ? gateway_endpoint(sim, g, row) : NULL;
        if (e != NULL && !e->reported)
            report_send(sim, g, row, e);
    }
}

static void run_report(struct sim *sim, void *data)
{
    struct gateway_ref ref;
    if (ref_take(sim, data, &ref) == NULL)
        return;
    gateway_report(sim, ref.gateway);
    sim_after(sim, OWNER_GATEWAY(ref.gateway), REPORT_MS, run_report, &ref, sizeof ref);
}

/* ---- the view ---- */

static void route_set(struct sim *sim, int g, const struct view_row *row)
{
    const struct app *app = &sim->apps[row->app];
    char id[80], prefix[96];
    snprintf(id, sizeof id, "%s/%d", app->desired.app.name.s, row->idempotent);
    snprintf(prefix, sizeof prefix, "/%s", id);
    struct wire_sl_route m = {.id = a_view_str(id),
                              .app = app->desired.app,
                              .host = A_VIEW_LIT("*"),
                              .prefix = a_view_str(prefix),
                              .application = A_VIEW_LIT("app"),
                              .policy = A_VIEW_LIT("least"),
                              .timeout_ms = TIMEOUT_MS,
                              .wait_ms = WAIT_MS,
                              .max_ongoing = sim->max_ongoing,
                              .units_wanted = app->desired.units,
                              .idempotent = row->idempotent};
    if (row->gone)
        gateway_step(sim, g, &(struct gw_event){.type = GW_ROUTE_GONE, .id = m.id});
    else
        gateway_step(sim, g, &(struct gw_event){.type = GW_ROUTE, .route = &m});
}

static void endpoint_set(struct sim *sim, int g, const struct view_row *row)
{
    char id[80], ip[32];
    view_row_id(row, id, sizeof id);
    snprintf(ip, sizeof ip, "127.0.0.%d", row->node);
    struct wire_sl_endpoint m = {.id = a_view_str(id),
                                 .app = sim->apps[row->app].desired.app,
                                 .unit = row->unit,
                                 .node = sim->nodes[row->node].id,
                                 .application = A_VIEW_LIT("app"),
                                 .ip = a_view_str(ip),
                                 .port = row->port,
                                 .state = row->state};
    if (row->state == WIRE_SL_ENDPOINT_DRAINING)
        m.drain_requests_ms = m.drain_streams_ms = SIM_DRAIN_MS;
    if (row->gone)
        gateway_step(sim, g, &(struct gw_event){.type = GW_ENDPOINT_GONE, .id = m.id});
    else
        gateway_step(sim, g, &(struct gw_event){.type = GW_ENDPOINT, .endpoint = &m});
    if (row->state == WIRE_SL_ENDPOINT_DRAINING && !row->gone)
        gateway_endpoint(sim, g, row)->reported = false; /* the server wants to hear of it, used or not */
}

static void core_take(struct sim *sim, int g, bool snapshot, const struct view_row *rows, size_t n)
{
    gateway_step(sim, g, &(struct gw_event){.type = GW_VIEW_BEGIN, .snapshot = snapshot});
    for (size_t i = 0; i < n; i++) {
        if (rows[i].kind == 'r')
            route_set(sim, g, &rows[i]);
        else
            endpoint_set(sim, g, &rows[i]);
    }
    gateway_step(sim, g, &(struct gw_event){.type = GW_VIEW_END});
}

static size_t row_find(const struct gateway_view *v, const struct view_row *row)
{
    size_t i = 0;
    while (i < v->n_rows && !view_row_same(&v->rows[i], row))
        i++;
    return i;
}

static void row_merge(struct sim *sim, struct gateway *g, const struct view_row *row)
{
    size_t i = row_find(&g->view, row);
    bool is_new = i == g->view.n_rows;
    if (row->gone) {
        if (is_new)
            return;
        g->view.rows[i] = g->view.rows[--g->view.n_rows];
        g->up_since_ms[i] = g->up_since_ms[g->view.n_rows];
        return;
    }
    a_assert(i < SIM_ROWS_MAX);
    g->view.n_rows += is_new;
    if (is_new || g->view.rows[i].state != WIRE_SL_ENDPOINT_UP)
        g->up_since_ms[i] = sim->now;
    g->view.rows[i] = *row;
    g->view.rows[i].marked = true;
}

static void view_merge(struct sim *sim, struct gateway *g, const struct gmsg *m)
{
    for (size_t i = 0; i < g->view.n_rows; i++)
        g->view.rows[i].marked = !m->snapshot;
    for (size_t i = 0; i < m->n_rows; i++)
        row_merge(sim, g, &m->rows[i]);
    for (size_t i = g->view.n_rows; i-- > 0;) {
        struct view_row gone = g->view.rows[i];
        gone.gone = true;
        if (!g->view.rows[i].marked)
            row_merge(sim, g, &gone);
    }
    g->view.sequence = m->sequence;
    g->view.life = m->life;
}

/* ---- the file: written at most once a second; what was not synced is as if never written ---- */

static void run_saved(struct sim *sim, void *data)
{
    struct gateway_ref ref;
    struct gateway *g = ref_take(sim, data, &ref);
    if (g == NULL)
        return;
    g->kept = g->writing;
    g->saving = false;
}

static void run_save(struct sim *sim, void *data)
{
    struct gateway_ref ref;
    struct gateway *g = ref_take(sim, data, &ref);
    if (g == NULL)
        return;
    g->writing = g->view;
    sim_after(sim, OWNER_GATEWAY(ref.gateway), sim_between(&sim->client_random, 1, 8), run_saved, &ref,
              sizeof ref);
}

static void save_later(struct sim *sim, int g)
{
    struct gateway_ref ref = ref_of(sim, g);
    if (sim->gateways[g].saving)
        return;
    sim->gateways[g].saving = true;
    sim_after(sim, OWNER_GATEWAY(g), SAVE_MS, run_save, &ref, sizeof ref);
}

static void run_reset(struct sim *sim, void *data)
{
    struct gateway_ref ref;
    if (ref_take(sim, data, &ref) != NULL && sim->shaky > 0)
        net_reset_gateway(sim, ref.gateway);
}

/* A link that breaks while a unit leaves: what is in flight there is told anew, to a server that waits. */
static void link_shake(struct sim *sim, const struct gmsg *m)
{
    struct gateway_ref ref = ref_of(sim, m->gateway);
    bool leaves = false;
    for (size_t i = 0; i < m->n_rows; i++)
        leaves = leaves || (m->rows[i].kind == 'e' && m->rows[i].state == WIRE_SL_ENDPOINT_DRAINING);
    if (leaves && sim_chance(&sim->net_random, sim->shaky))
        sim_after(sim, OWNER_GATEWAY(ref.gateway), sim_between(&sim->net_random, 5, 3000), run_reset, &ref,
                  sizeof ref);
}

void gateway_receive(struct sim *sim, const struct gmsg *m)
{
    struct gateway *g = &sim->gateways[m->gateway];
    if (!m->snapshot && g->view.life != m->life)
        sim_fail(sim, "gateway %d is told a difference to a view that it has not", m->gateway);
    view_merge(sim, g, m);
    g->told_ms = A_MIN(g->told_ms, sim->now);
    sim_trace(sim, "gateway %d applies view %llu", m->gateway, (unsigned long long)m->sequence);
    core_take(sim, m->gateway, m->snapshot, m->rows, m->n_rows);
    save_later(sim, m->gateway);
    gateway_report(sim, m->gateway); /* first: who has the acknowledgement knows what is in flight */
    struct gmsg ack = {
        .type = GMSG_ACK, .gateway = m->gateway, .conn = g->conn, .life = m->life, .sequence = m->sequence};
    net_gateway_send(sim, &ack);
    link_shake(sim, m);
}

/* ---- the link ---- */

void gateway_connected(struct sim *sim, int g, uint32_t conn)
{
    struct gateway *gate = &sim->gateways[g];
    gate->conn = conn;
    gate->subscribed = true;
    struct gmsg m = {.type = GMSG_SUBSCRIBE,
                     .gateway = g,
                     .conn = conn,
                     .life = gate->view.life,
                     .sequence = gate->view.sequence};
    net_gateway_send(sim, &m);
}

void gateway_disconnected(struct sim *sim, int g)
{
    sim->gateways[g].conn = 0;
    sim->gateways[g].subscribed = false;
    if (sim->gateways[g].up)
        net_gateway_connect(sim, g);
}

/* ---- life and death ---- */

void gateway_boot(struct sim *sim, int g)
{
    struct gateway *gate = &sim->gateways[g];
    gate->up = true;
    gate->life++;
    gate->wake_ms = gate->told_ms = A_NEVER;
    gate->view = gate->kept;
    gate->n_resent = 0;
    gw_init(&gate->core, &(struct gw_options){.seed = sim->seed});
    for (size_t i = 0; i < gate->view.n_rows; i++)
        gate->up_since_ms[i] = sim->now;
    core_take(sim, g, true, gate->view.rows, gate->view.n_rows);
    struct gateway_ref ref = ref_of(sim, g);
    sim_after(sim, OWNER_GATEWAY(g), REPORT_MS, run_report, &ref, sizeof ref);
    net_gateway_connect(sim, g);
}

void gateway_stop(struct sim *sim, int g)
{
    struct gateway *gate = &sim->gateways[g];
    if (!gate->up)
        return;
    requests_drop(sim, g);
    gw_deinit(&gate->core);
    a_free(a_steal(&gate->queue));
    gate->cap_queue = 0;
    gate->up = gate->saving = gate->subscribed = false;
    gate->life++;
    sim->suspended_ms[OWNER_GATEWAY(g)] = 0;
}

static void run_boot(struct sim *sim, void *data)
{
    int g;
    memcpy(&g, data, sizeof g);
    if (!sim->gateways[g].up)
        gateway_boot(sim, g);
}

void gateway_crash(struct sim *sim, int g, uint64_t down_ms)
{
    if (!sim->gateways[g].up)
        return;
    sim->counts[COUNT_GATEWAY_CRASHES]++;
    sim_trace(sim, "gateway %d dies for %llu ms", g, (unsigned long long)down_ms);
    net_close_gateway(sim, g, false);
    gateway_stop(sim, g);
    sim_after(sim, OWNER_NONE, down_ms, run_boot, &g, sizeof g);
}
