/* Clients, their requests, and the attempts at replicas. A client asks at one gateway and waits; the
 * gateway's core says where to send it. A replica executes what reaches it, whatever becomes of the answer.
 */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "lib/sim.h"

#define CONNECT_MS 1000
#define TIMEOUT_MS 15000

struct attempt_ref {
    size_t slot;
    uint64_t number;
    uint32_t attempt;
    enum gw_failure failure;
    struct view_row at;
};

static struct request *ref_take(struct sim *sim, const void *data, struct attempt_ref *ret)
{
    memcpy(ret, data, sizeof *ret);
    struct request *r = &sim->requests[ret->slot];
    return r->number == ret->number && !r->ended ? r : NULL;
}

/* The same, and the attempt is still the one under way. */
static struct request *attempt_take(struct sim *sim, const void *data, struct attempt_ref *ret)
{
    struct request *r = ref_take(sim, data, ret);
    return r != NULL && r->under_way && r->attempt == ret->attempt ? r : NULL;
}

static struct attempt_ref ref_of(struct sim *sim, const struct request *r)
{
    return (struct attempt_ref){
        .slot = (size_t)(r - sim->requests), .number = r->number, .attempt = r->attempt, .at = r->at};
}

static void attempt_after(struct sim *sim, const struct request *r, int owner, uint64_t ms, sim_run_fn *run,
                          enum gw_failure failure)
{
    struct attempt_ref ref = ref_of(sim, r);
    ref.failure = failure;
    sim_after(sim, owner, ms, run, &ref, sizeof ref);
}

static bool is_apart(const struct sim *sim, int node)
{
    return sim->now < sim->nodes[node].apart_until_ms || !sim->nodes[node].machine_up;
}

/* ---- the end ---- */

static void request_end(struct sim *sim, struct request *r, bool ok)
{
    int g = r->gateway;
    r->ended = true;
    r->under_way = false;
    check_ended(sim, r, ok);
    if (!ok)
        sim->counts[COUNT_FAILED]++;
    gateway_step(sim, g, &(struct gw_event){.type = GW_DONE, .request = &r->core, .ok = ok});
    r->number = 0;
}

void requests_drop(struct sim *sim, int gateway)
{
    for (size_t i = 0; i < SIM_REQUESTS_MAX; i++) {
        struct request *r = &sim->requests[i];
        if (r->number == 0 || r->gateway != gateway)
            continue;
        r->excused = r->ended = true; /* its connection is gone with the gateway */
        r->under_way = false;
        gateway_step(sim, gateway, &(struct gw_event){.type = GW_DONE, .request = &r->core});
        r->number = 0;
    }
}

/* ---- what the gateway sees of an attempt ---- */

static void run_failed(struct sim *sim, void *data)
{
    struct attempt_ref ref;
    struct request *r = attempt_take(sim, data, &ref);
    if (r == NULL)
        return;
    struct gw_endpoint *e = r->core.endpoint;
    int g = r->gateway;
    struct gw_event event = {
        .type = GW_FAILED, .request = &r->core, .failure = ref.failure, .error = "failed"};
    r->under_way = false;
    r->lost = r->lost || ref.failure == GW_FAILURE_LOST || ref.failure == GW_FAILURE_TIMEOUT;
    bool committed = r->committed;
    gateway_step(sim, g, &event);
    if (e != NULL)
        gateway_report(sim, g);
    if (committed)
        request_end(sim, r, false); /* the client sees that the answer is cut */
}

static void run_body(struct sim *sim, void *data)
{
    struct attempt_ref ref;
    struct request *r = attempt_take(sim, data, &ref);
    if (r != NULL)
        request_end(sim, r, true);
}

static void run_answer(struct sim *sim, void *data)
{
    struct attempt_ref ref;
    struct request *r = attempt_take(sim, data, &ref);
    if (r == NULL)
        return;
    if (is_apart(sim, r->at.node)) { /* sent again and again until it arrives */
        sim_after(sim, OWNER_GATEWAY(r->gateway), 500, run_answer, &ref, sizeof ref);
        return;
    }
    r->committed = true;
    gateway_step(sim, r->gateway,
                 &(struct gw_event){.type = GW_COMMITTED,
                                    .request = &r->core,
                                    .latency_us = (sim->now - r->sent_ms) * 1000});
    if (r->idempotent)
        request_end(sim, r, true); /* an answer that is held until it is whole */
    else
        attempt_after(sim, r, OWNER_GATEWAY(r->gateway), sim_between(&sim->client_random, 0, 400), run_body,
                      0);
}

void requests_lose(struct sim *sim, const struct node *n, uint64_t member, uint16_t port)
{
    for (size_t i = 0; i < SIM_REQUESTS_MAX; i++) {
        struct request *r = &sim->requests[i];
        if (r->number != 0 && r->under_way && r->member == member && r->at.node == node_index(sim, n) &&
            r->at.port == port)
            attempt_after(sim, r, OWNER_GATEWAY(r->gateway), sim_between(&sim->client_random, 1, 4),
                          run_failed, GW_FAILURE_LOST);
    }
}

/* ---- what the replica sees ---- */

static void execute(struct sim *sim, struct request *r, const struct member *m, struct replica *replica)
{
    uint64_t ms = sim_between(&sim->client_random, 20, 400);
    if (sim_chance(&sim->client_random, sim->slow))
        ms = sim_between(&sim->client_random, 2000, TIMEOUT_MS / 2);
    r->executed++;
    check_executed(sim, r, m);
    r->member = m->number;
    if (!sim_chance(&sim->client_random, sim->broken)) {
        attempt_after(sim, r, OWNER_GATEWAY(r->gateway), ms, run_answer, 0);
        return;
    }
    replica->good_ms = sim->now;
    r->excused = true;
    attempt_after(sim, r, OWNER_GATEWAY(r->gateway), ms, run_failed, GW_FAILURE_LOST);
}

static void run_arrive(struct sim *sim, void *data)
{
    struct attempt_ref ref;
    struct member *m = NULL;
    struct request *r = attempt_take(sim, data, &ref);
    if (r == NULL)
        return; /* the connection was given up before */
    int owner = OWNER_GATEWAY(r->gateway);
    if (is_apart(sim, ref.at.node)) {
        attempt_after(sim, r, owner, CONNECT_MS, run_failed, GW_FAILURE_REFUSED);
        return;
    }
    struct replica *replica = member_listens(&sim->nodes[ref.at.node], ref.at.port, &m);
    if (replica == NULL)
        attempt_after(sim, r, owner, 1, run_failed, GW_FAILURE_REFUSED);
    else if (m->state == A_MEMBER_STOPPING && sim_chance(&sim->client_random, 0.5))
        attempt_after(sim, r, owner, 2, run_failed, GW_FAILURE_UNAVAILABLE);
    else
        execute(sim, r, m, replica);
}

/* ---- what the gateway's core asks for ---- */

/* When it is decided, not when a place is found. */
static void resend_count(struct sim *sim, struct request *r)
{
    struct gateway *g = &sim->gateways[r->gateway];
    if (r->n_sent == 0 || r->paid)
        return;
    r->paid = true;
    sim->counts[COUNT_RESENT]++;
    g->resent_ms[g->n_resent++ % A_ARRAY_SIZE(g->resent_ms)] = sim->now;
}

static void attempt_begin(struct sim *sim, struct request *r, const struct gw_endpoint *e)
{
    const struct gateway *g = &sim->gateways[r->gateway];
    check_send(sim, r, e);
    resend_count(sim, r);
    r->paid = false;
    r->n_sent++;
    r->held = false;
    r->attempt++;
    r->under_way = true;
    r->member = 0;
    r->sent_ms = sim->now;
    for (size_t i = 0; i < g->view.n_rows; i++)
        if (g->view.rows[i].kind == 'e' && gateway_endpoint(sim, r->gateway, &g->view.rows[i]) == e)
            r->at = g->view.rows[i];
    attempt_after(sim, r, OWNER_NONE, sim_between(&sim->client_random, 1, 3), run_arrive, 0);
    uint64_t until = r->begun_ms + TIMEOUT_MS;
    attempt_after(sim, r, OWNER_GATEWAY(r->gateway), until > sim->now ? until - sim->now : 0, run_failed,
                  GW_FAILURE_TIMEOUT);
}

void request_update(struct sim *sim, struct request *r, const struct gw_update *u)
{
    switch (u->type) {
    case GW_SEND:
        attempt_begin(sim, r, u->endpoint);
        break;
    case GW_ABORT:
        if (!r->under_way)
            sim_fail(sim, "G2: request %llu has no attempt to drop", (unsigned long long)r->number);
        r->under_way = false;
        r->lost = true;
        break;
    case GW_CUT:
        if (!r->committed || !r->under_way)
            sim_fail(sim, "G13: request %llu has no answer to cut", (unsigned long long)r->number);
        snprintf(r->end, sizeof r->end, "cut by a drain");
        request_end(sim, r, false);
        break;
    case GW_ANSWER:
        check_answer(sim, r, u);
        r->answered = true;
        snprintf(r->end, sizeof r->end, "%d %s", u->status, u->detail);
        request_end(sim, r, false);
        break;
    case GW_WAIT:
        if (r->core.state == GW_REQUEST_HELD)
            check_held(sim, r);
        else
            resend_count(sim, r);
        break;
    case GW_DRAINED:
        break;
    }
}

/* ---- clients ---- */

static void run_leave(struct sim *sim, void *data)
{
    struct attempt_ref ref;
    struct request *r = ref_take(sim, data, &ref);
    if (r == NULL)
        return;
    r->excused = true;
    request_end(sim, r, false);
}

static void ask(struct sim *sim, int g, struct request *r)
{
    struct a_random *random = &sim->client_random;
    char path[80];
    *r = (struct request){.number = ++sim->n_requests, .gateway = g, .begun_ms = sim->now};
    r->app = (int)a_random_below(random, (uint64_t)sim->n_apps);
    r->idempotent = sim_chance(random, 0.5);
    r->safe = sim_chance(random, 0.3);
    r->core.replayable = sim_chance(random, 0.95);
    sim->counts[COUNT_REQUESTS]++;
    if (sim_chance(random, 0.01)) {
        struct attempt_ref ref = ref_of(sim, r);
        sim_after(sim, OWNER_NONE, sim_between(random, 1, 3000), run_leave, &ref, sizeof ref);
    }
    snprintf(path, sizeof path, "/%s/%d/x", sim->apps[r->app].desired.app.name.s, r->idempotent);
    struct gw_event e = {.type = GW_REQUEST, .request = &r->core, .host = A_VIEW_LIT("host")};
    e.path = a_view_str(path);
    e.method = r->safe ? A_VIEW_LIT("GET") : A_VIEW_LIT("POST");
    gateway_step(sim, g, &e);
}

static void run_client(struct sim *sim, void *data)
{
    int g;
    memcpy(&g, data, sizeof g);
    if (!sim->asking)
        return;
    sim_after(sim, OWNER_GATEWAY(g), sim_between(&sim->client_random, sim->ask_ms, 9 * sim->ask_ms),
              run_client, &g, sizeof g);
    if (!sim->gateways[g].up)
        return;
    for (size_t i = 0; i < SIM_REQUESTS_MAX; i++)
        if (sim->requests[i].number == 0) {
            ask(sim, g, &sim->requests[i]);
            return;
        }
}

void requests_begin(struct sim *sim)
{
    sim->asking = true;
    for (int g = 0; g < SIM_GATEWAYS; g++)
        sim_after(sim, OWNER_GATEWAY(g), 1, run_client, &g, sizeof g);
}
