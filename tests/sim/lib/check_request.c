/* What must hold of requests. G numbers are those of docs/components/gateway.md, I numbers those of
 * docs/components/simulation.md. */
#include <stdio.h>
#include <string.h>

#include "lib/sim.h"

#define TRIES_MAX 6
#define BUDGET 10 /* re-sends in 10 s are always paid for */
#define VERDICT_MS 2000

static bool is_repeatable(const struct request *r)
{
    return r->idempotent || r->safe;
}

/* The core counts by whole seconds: up to eleven of them matter. */
static bool budget_is_spent(const struct sim *sim, const struct gateway *g)
{
    uint32_t n = 0;
    for (size_t i = 0; i < A_MIN(g->n_resent, A_ARRAY_SIZE(g->resent_ms)); i++)
        n += g->resent_ms[i] + 11000 > sim->now;
    return n >= BUDGET;
}

static uint32_t under_way(const struct sim *sim, int gateway, const struct view_row *row)
{
    uint32_t n = 0;
    for (size_t i = 0; i < SIM_REQUESTS_MAX; i++) {
        const struct request *r = &sim->requests[i];
        n += r->number != 0 && r->gateway == gateway && r->under_way && view_row_same(&r->at, row);
    }
    return n;
}

void check_send(struct sim *sim, struct request *r, const struct gw_endpoint *e)
{
    unsigned long long number = (unsigned long long)r->number;
    if (r->under_way)
        sim_fail(sim, "G2: request %llu has two attempts under way", number);
    if (r->committed || r->answered)
        sim_fail(sim, "G3: request %llu is sent again after a part of its answer went out", number);
    if (r->n_sent >= TRIES_MAX)
        sim_fail(sim, "G4: request %llu is sent for the %uth time", number, r->n_sent + 1);
    if (r->n_sent > 0 && (!r->core.replayable || (r->lost && !is_repeatable(r))))
        sim_fail(sim, "G4: request %llu is sent again and may not be", number);
    if (e->state != WIRE_SL_ENDPOINT_UP)
        sim_fail(sim, "G6: request %llu is sent to %s, which is withdrawn", number, e->id);
    const struct gateway *g = &sim->gateways[r->gateway];
    bool known = false;
    for (size_t i = 0; i < g->view.n_rows; i++) {
        const struct view_row *row = &g->view.rows[i];
        if (row->kind != 'e' || gateway_endpoint(sim, r->gateway, row) != e)
            continue;
        known = row->state == WIRE_SL_ENDPOINT_UP;
        if (under_way(sim, r->gateway, row) >= sim->max_ongoing)
            sim_fail(sim, "G1: %s has more requests than its cap", e->id);
    }
    if (!known)
        sim_fail(sim, "G6: request %llu is sent to %s, which is not in the view", number, e->id);
}

/* Nothing has happened to it for so long, and it has room. */
static bool endpoint_is_good(struct sim *sim, int gateway, size_t i, uint64_t since_ms)
{
    const struct gateway *g = &sim->gateways[gateway];
    const struct view_row *row = &g->view.rows[i];
    const struct node *n = &sim->nodes[row->node];
    struct member *m = NULL;
    if (row->state != WIRE_SL_ENDPOINT_UP || g->up_since_ms[i] > since_ms || !n->machine_up ||
        n->apart_until_ms > since_ms || under_way(sim, gateway, row) >= sim->max_ongoing)
        return false;
    const struct replica *replica = member_listens((struct node *)(uintptr_t)n, row->port, &m);
    return replica != NULL && replica->good_ms <= since_ms && m->state == A_MEMBER_UP &&
           strcmp(m->id.unit.s, row->unit.s) == 0;
}

/* I16: no request is lost while there is capacity. */
static void check_capacity(struct sim *sim, const struct request *r, const struct gw_update *u)
{
    const struct gateway *g = &sim->gateways[r->gateway];
    if (r->n_sent >= TRIES_MAX || budget_is_spent(sim, g))
        return;
    for (size_t i = 0; i < g->view.n_rows; i++) {
        const struct view_row *row = &g->view.rows[i];
        if (row->kind != 'e' || row->app != r->app || !endpoint_is_good(sim, r->gateway, i, r->begun_ms))
            continue;
        sim_fail(sim, "I16: request %llu of gateway %d is answered %d (%s) while %s has room",
                 (unsigned long long)r->number, r->gateway, u->status, u->detail, row->unit.s);
        return;
    }
}

/* G10: what could go elsewhere is held only when the budget is spent. */
void check_held(struct sim *sim, struct request *r)
{
    r->held = true;
    r->held_ms = sim->now;
    if (!budget_is_spent(sim, &sim->gateways[r->gateway]))
        sim_fail(sim, "G10: request %llu is held while the budget would pay", (unsigned long long)r->number);
}

void check_answer(struct sim *sim, struct request *r, const struct gw_update *u)
{
    if (r->answered || r->committed)
        sim_fail(sim, "G8: request %llu has two answers", (unsigned long long)r->number);
    if (r->held) {
        if (sim->now < r->held_ms + VERDICT_MS && r->core.route != NULL)
            sim_fail(sim, "G10: request %llu is held and given up before its time",
                     (unsigned long long)r->number);
        return;
    }
    bool elsewhere = r->n_sent == 0 || (r->core.replayable && (!r->lost || is_repeatable(r)));
    if ((u->status == 502 || u->status == 503) && elsewhere && r->core.route != NULL)
        check_capacity(sim, r, u);
}

void check_executed(struct sim *sim, struct request *r, const struct member *m)
{
    if (strcmp(m->id.unit.s, r->at.unit.s) != 0)
        sim_fail(sim, "I17: request %llu for %s is executed by %s, whose ports those are now",
                 (unsigned long long)r->number, r->at.unit.s, m->id.unit.s);
    if (r->executed > 1 && !is_repeatable(r))
        sim_fail(sim, "I18: request %llu is executed twice", (unsigned long long)r->number);
}

void check_ended(struct sim *sim, struct request *r, bool ok)
{
    if (sim->settled && !ok && !r->excused && sim->apps[r->app].desired.units > 0)
        sim_fail(sim, "I20: all is well, and request %llu of gateway %d fails: %s",
                 (unsigned long long)r->number, r->gateway, r->end[0] != '\0' ? r->end : "cut");
}

/* U3's time, less what a view may be on its way when its gateway falls asleep. */
#define HUNG_MS (SIM_DRAIN_MS + 18000)

/* One that was away for long has perhaps not heard of what was decided meanwhile. */
static bool gateway_is_there(struct sim *sim, int gateway)
{
    const struct gateway *g = &sim->gateways[gateway];
    const struct server_gateway *sg = &sim->server.view.gateways[gateway];
    if (sg->late && sim->now < sg->since_ms + SIM_DRAIN_MS + 1000)
        return false;
    uint64_t since_ms = sim->suspended_since_ms[OWNER_GATEWAY(gateway)],
             until_ms = sim->suspended_ms[OWNER_GATEWAY(gateway)];
    if (until_ms > sim->now && since_ms + HUNG_MS <= sim->now)
        return false; /* U3: it is not waited for any longer */
    if (until_ms <= sim->now && sim->now < until_ms + SIM_DRAIN_MS &&
        since_ms + HUNG_MS <= until_ms + SIM_DRAIN_MS)
        return false; /* U3: it woke in time, but less than its requests' time is left */
    return g->up && g->told_ms <= sim->now && g->conn != 0 && sg->subscribed && sg->conn == g->conn &&
           g->view.life == sim->server.life;
}

void check_stop_requests(struct sim *sim, struct node *n, const struct member *m)
{
    for (int g = 0; g < SIM_GATEWAYS; g++) {
        const struct gateway *gate = &sim->gateways[g];
        for (size_t i = 0; gateway_is_there(sim, g) && i < gate->view.n_rows; i++) {
            const struct view_row *row = &gate->view.rows[i];
            struct member *listens = NULL;
            if (row->kind != 'e' || row->node != node_index(sim, n) ||
                strcmp(row->unit.s, m->id.unit.s) != 0 || member_listens(n, row->port, &listens) == NULL ||
                listens != m)
                continue;
            if (row->state == WIRE_SL_ENDPOINT_UP)
                sim_fail(sim, "I8: %s is stopped while gateway %d sends to it", m->id.unit.s, g);
            for (size_t k = 0; k < SIM_REQUESTS_MAX && row->state == WIRE_SL_ENDPOINT_DRAINING; k++) {
                const struct request *r = &sim->requests[k];
                if (r->number != 0 && r->gateway == g && r->under_way && view_row_same(&r->at, row) &&
                    r->sent_ms >= gate->told_ms && r->sent_ms + SIM_DRAIN_MS > sim->now)
                    sim_fail(sim, "I19: %s is stopped under request %llu of gateway %d", m->id.unit.s,
                             (unsigned long long)r->number, g);
            }
        }
    }
}

/* G9: when nobody asks any more, nothing is counted any more. */
void check_gateways_idle(struct sim *sim)
{
    for (int g = 0; g < SIM_GATEWAYS; g++) {
        struct gw *core = &sim->gateways[g].core;
        if (!sim->gateways[g].up)
            continue;
        if (core->n_in_flight + core->n_waiting > 0)
            sim_fail(sim, "G9: gateway %d counts %llu in flight and %llu waiting, and there are none", g,
                     (unsigned long long)core->n_in_flight, (unsigned long long)core->n_waiting);
        for (struct gw_endpoint *e = NULL; (e = gw_endpoint_next(core, e)) != NULL;)
            if (e->in_flight > 0)
                sim_fail(sim, "G9: gateway %d counts %u in flight at %s", g, e->in_flight, e->id);
    }
}
