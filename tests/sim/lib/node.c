/* An agent around sl_node: its file, its beats, its members. Members live on when the agent dies; all die
 * with the machine. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "lib/sim.h"

struct sim_ref { /* what an event of a node refers to */
    int node;
    uint32_t life, generation;
    uint64_t number, token;
};

struct node *sim_node(struct sim *sim, const struct a_node_id *id)
{
    for (int i = 0; i < sim->n_nodes; i++)
        if (strcmp(sim->nodes[i].id.s, id->s) == 0)
            return &sim->nodes[i];
    return NULL;
}

static int node_index(const struct sim *sim, const struct node *n)
{
    return (int)(n - sim->nodes);
}

static struct member *member_find(struct node *n, uint64_t number)
{
    for (int i = 0; i < SIM_MEMBERS_MAX; i++)
        if (n->members[i].number == number)
            return &n->members[i];
    return NULL;
}

/* ---- reports ---- */

static uint32_t node_flags(const struct node *n)
{
    enum a_node_state s = sl_node_state(&n->core);
    return (n->core.cordoned ? SL_RESOURCE_NODE_CORDONED : 0u) |
           (n->core.draining ? SL_RESOURCE_NODE_DRAINING : 0u) |
           (s == A_NODE_DRAINED ? SL_RESOURCE_NODE_DRAINED : 0u);
}

static void report_node(struct sim *sim, struct node *n)
{
    struct msg m = {.type = MSG_NODE_STATUS, .node = node_index(sim, n), .sequence = ++n->sequence};
    m.capacity = n->core.capacity;
    m.free = sl_node_free(&n->core);
    m.flags = node_flags(n);
    net_to_server(sim, &m);
}

static void report_claim(struct sim *sim, struct node *n, const struct sl_claim *c)
{
    struct msg m = {.type = MSG_CLAIM_STATUS, .node = node_index(sim, n), .sequence = ++n->sequence};
    const struct member *member = member_find(n, c->number);
    const struct app *app = server_app(sim, &c->id.app_uid);
    m.id = c->id;
    m.store_id = c->store_id;
    m.epoch = c->epoch;
    m.revision = c->revision;
    m.capacity = c->capacity;
    m.head = c->role == 0;
    m.claim_state = (enum a_claim_state)c->state.state;
    m.member_state = c->state.state == A_CLAIM_RESERVED ? A_MEMBER_RESERVED : A_MEMBER_BOUND;
    if (c->state.state == A_CLAIM_RELEASED)
        m.member_state = A_MEMBER_EXITED;
    if (member != NULL) {
        m.member_state = member->state;
        m.reason = member->reason;
        m.serve = member->serve;
        m.warmed = member->serve == UNIT_SERVE_RUNNING;
        m.endpoints = member->serve == UNIT_SERVE_RUNNING && member->state == A_MEMBER_UP ? 1 : 0;
        if (member->deployed > 0)
            m.deployed = app->revisions[member->deployed - 1].digest;
    }
    net_to_server(sim, &m);
}

static void report_number(struct sim *sim, struct node *n, uint64_t number)
{
    const struct sl_claim *c = n->agent_up ? sl_node_find_number(&n->core, number) : NULL;
    if (c != NULL)
        report_claim(sim, n, c);
}

void node_connected(struct sim *sim, int i, uint32_t conn)
{
    struct node *n = &sim->nodes[i];
    n->conn = conn;
    n->sequence = 0;
    n->acked_ms = sim->now;
    struct msg m = {.type = MSG_HELLO, .node = i, .incarnation = n->core.incarnation, .attach = ++n->attach};
    m.capacity = n->core.capacity;
    m.free = sl_node_free(&n->core);
    m.flags = node_flags(n);
    net_to_server(sim, &m);
    struct msg end = {.type = MSG_SNAPSHOT_END, .node = i};
    a_list_foreach (it, &n->core.claims) {
        const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (c->state.state == A_CLAIM_RELEASED)
            continue;
        report_claim(sim, n, c);
        end.n_claims++;
    }
    net_to_server(sim, &end);
}

void node_disconnected(struct sim *sim, int i)
{
    sim->nodes[i].conn = 0;
    if (sim->nodes[i].agent_up)
        net_connect(sim, i);
}

static void run_beat(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (!n->agent_up || n->life != ref.life)
        return;
    if (n->conn != 0 && sim->now - n->acked_ms > 10000) {
        net_close_node(sim, ref.node, false);
        net_connect(sim, ref.node);
    }
    struct msg m = {.type = MSG_BEAT, .node = ref.node, .sequence = ++n->sequence};
    net_to_server(sim, &m);
    sim_after(sim, 1000, run_beat, &ref, sizeof ref);
}

/* ---- members ---- */

static void run_member(struct sim *sim, void *data);

static void member_later(struct sim *sim, struct node *n, struct member *m, uint64_t low, uint64_t high)
{
    struct sim_ref ref = {.node = node_index(sim, n), .generation = ++m->generation, .number = m->number};
    sim_after(sim, sim_between(&sim->life_random, low, high), run_member, &ref, sizeof ref);
}

static bool is_bad(struct sim *sim, const struct member *m)
{
    const struct app *app = server_app(sim, &m->id.app_uid);
    return app->bad[m->revision];
}

static void head_progress(struct sim *sim, struct node *n, struct member *m)
{
    if (m->serve == UNIT_SERVE_NONE) {
        m->serve = UNIT_SERVE_DEPLOYING;
        member_later(sim, n, m, 500, 2000);
    } else if (is_bad(sim, m)) {
        m->serve = UNIT_SERVE_FAILED;
        m->reason = A_REASON_SERVE_REJECTED;
    } else {
        m->serve = UNIT_SERVE_RUNNING;
        m->reason = A_REASON_NONE;
        m->deployed = m->revision;
    }
}

static void run_member(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    struct member *m = member_find(n, ref.number);
    if (m == NULL || m->generation != ref.generation || !n->machine_up)
        return;
    if (m->state == A_MEMBER_FETCHING) {
        m->state = A_MEMBER_STARTING;
        member_later(sim, n, m, 500, 2000);
    } else if (m->state == A_MEMBER_STARTING) {
        m->state = A_MEMBER_UP;
        if (m->head)
            member_later(sim, n, m, 10, 50);
    } else if (m->state == A_MEMBER_UP && m->head) {
        head_progress(sim, n, m);
    }
    report_number(sim, n, ref.number);
}

static void member_start(struct sim *sim, struct node *n, const struct sl_claim *c)
{
    if (member_find(n, c->number) != NULL)
        return; /* its shim kept it: found again, untouched */
    struct member *m = member_find(n, 0);
    a_assert(m != NULL);
    *m = (struct member){.number = c->number,
                         .id = c->id,
                         .head = c->role == 0,
                         .state = A_MEMBER_FETCHING,
                         .revision = c->revision,
                         .started_ms = sim->now};
    member_later(sim, n, m, 100, 1500);
}

static void run_stopped(struct sim *sim, void *data);
static void node_do(struct sim *sim, struct node *n, const struct sl_node_update *update);

static void node_step(struct sim *sim, struct node *n, struct sl_node_event *e)
{
    struct sl_node_update update;
    e->now_ms = sim->now;
    sl_node_step(&n->core, e, &update);
    node_do(sim, n, &update);
}

static void run_stopped(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    struct member *m = member_find(n, ref.number);
    if (!n->agent_up || n->life != ref.life)
        return;
    if (m != NULL)
        *m = (struct member){0};
    node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_STOPPED, .claim_number = ref.number});
}

static void member_stop(struct sim *sim, struct node *n, const struct sl_claim *c)
{
    struct member *m = member_find(n, c->number);
    check_stop(sim, n, c);
    if (m != NULL) {
        m->state = A_MEMBER_STOPPING;
        m->generation++;
    }
    struct sim_ref ref = {.node = node_index(sim, n), .life = n->life, .number = c->number};
    sim_after(sim, sim_between(&sim->life_random, 10, 1500), run_stopped, &ref, sizeof ref);
}

/* ---- carrying updates out ---- */

static void run_persisted(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (!n->agent_up || n->life != ref.life)
        return; /* the crash came before the rename */
    a_free(n->disk);
    n->disk = a_steal(&n->writing);
    memcpy(n->epoch_disk, n->epoch_writing, sizeof n->epoch_disk);
    node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_PERSISTED, .token = ref.token, .ok = true});
}

static void run_assigned(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (!n->agent_up || n->life != ref.life)
        return;
    node_step(sim, n,
              &(struct sl_node_event){.kind = SL_NODE_EV_ASSIGNED,
                                      .claim_number = ref.number,
                                      .port_first = (uint16_t)(20000 + ref.number % 100 * 100),
                                      .port_count = 100});
}

static enum msg_type answered(uint64_t seq)
{
    return (enum msg_type)seq; /* the request's number is its type: enough here */
}

static void node_reply(struct sim *sim, struct node *n, const struct sl_node_action *a)
{
    struct msg m = {.type = MSG_REPLY, .node = node_index(sim, n), .answers = answered(a->seq), .id = a->id};
    m.result = a->result;
    m.free = a->free;
    m.claim_state = a->claim == NULL ? A_CLAIM_RELEASED : (enum a_claim_state)a->claim->state.state;
    if (n->conn == a->link)
        net_to_server(sim, &m);
}

static void node_persist(struct sim *sim, struct node *n, const struct sl_node_action *a)
{
    A_BUF_AUTO struct a_buf text = {0};
    sl_node_encode(&n->core, &text);
    struct sim_ref ref = {.node = node_index(sim, n), .life = n->life, .token = a->token};
    a_assert(n->writing == NULL);
    n->writing = a_buf_steal(&text);
    for (int i = 0; i < sim->n_apps; i++)
        n->epoch_writing[i] = sl_node_epoch(&n->core, &sim->apps[i].uid);
    sim_after(sim, sim_between(&sim->life_random, 1, 8), run_persisted, &ref, sizeof ref);
}

static void node_do(struct sim *sim, struct node *n, const struct sl_node_update *update)
{
    struct sl_node_action actions[64];
    size_t count = A_MIN(update->n_actions, A_ARRAY_SIZE(actions));
    memcpy(actions, update->actions, count * sizeof actions[0]);
    for (size_t i = 0; i < count; i++) {
        const struct sl_node_action *a = &actions[i];
        struct sim_ref ref = {.node = node_index(sim, n), .life = n->life};
        switch (a->kind) {
        case SL_NODE_REPLY:
            node_reply(sim, n, a);
            break;
        case SL_NODE_PERSIST:
            node_persist(sim, n, a);
            break;
        case SL_NODE_ASSIGN:
            ref.number = a->claim->number;
            sim_after(sim, 1, run_assigned, &ref, sizeof ref);
            break;
        case SL_NODE_START:
            member_start(sim, n, a->claim);
            report_claim(sim, n, a->claim);
            break;
        case SL_NODE_STOP:
            member_stop(sim, n, a->claim);
            break;
        case SL_NODE_UNASSIGN:
            break;
        case SL_NODE_CHANGED:
            if (a->claim != NULL)
                report_claim(sim, n, a->claim);
            report_node(sim, n);
            break;
        }
    }
}

/* ---- requests ---- */

static void node_config(struct sim *sim, struct node *n, const struct msg *m)
{
    const struct sl_claim *c = sl_node_find(&n->core, &m->id);
    struct member *member = c == NULL ? NULL : member_find(n, c->number);
    if (member == NULL || member->state != A_MEMBER_UP || !member->head || member->serve == UNIT_SERVE_NONE)
        return;
    node_step(sim, n,
              &(struct sl_node_event){.kind = SL_NODE_EV_REVISE,
                                      .id = m->id,
                                      .store_id = m->store_id,
                                      .epoch = m->epoch,
                                      .revision = m->revision,
                                      .link = m->conn,
                                      .seq = MSG_CONFIG});
    member->revision = m->revision;
    member->reason = A_REASON_NONE;
    member->serve = UNIT_SERVE_RUNNING; /* the old config serves while the new one is taken in */
    member_later(sim, n, member, 200, 1500);
    report_claim(sim, n, c);
}

void node_receive(struct sim *sim, const struct msg *m)
{
    struct node *n = &sim->nodes[m->node];
    struct sl_node_event e = {.link = m->conn, .seq = m->type, .id = m->id, .store_id = m->store_id};
    struct a_capacity before = sl_node_free(&n->core);
    e.app = m->app;
    e.epoch = m->epoch;
    e.revision = m->revision;
    e.role = m->head ? 0 : 1;
    e.capacity = m->capacity;
    e.ttl_ms = m->ttl_ms;
    e.reason = m->reason;
    switch (m->type) {
    case MSG_BEAT_ACK:
        n->acked_ms = sim->now;
        return;
    case MSG_RESERVE:
        e.kind = SL_NODE_EV_RESERVE;
        break;
    case MSG_BIND:
        e.kind = SL_NODE_EV_BIND;
        break;
    case MSG_RELEASE:
        e.kind = SL_NODE_EV_RELEASE;
        break;
    case MSG_CONFIG:
        node_config(sim, n, m);
        return;
    case MSG_COMMAND:
        e.kind = m->drain ? SL_NODE_EV_DRAIN : SL_NODE_EV_CORDON;
        e.on = m->on;
        break;
    default:
        return;
    }
    struct sl_node_update update;
    e.now_ms = sim->now;
    sl_node_step(&n->core, &e, &update);
    for (size_t i = 0; i < update.n_actions && m->type == MSG_RESERVE; i++)
        if (update.actions[i].kind == SL_NODE_REPLY && a_claim_id_equal(&update.actions[i].id, &m->id))
            check_reply(sim, n, &before, update.actions[i].result);
    node_do(sim, n, &update);
}

/* ---- life and death ---- */

static void run_timer(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (!n->agent_up || n->life != ref.life)
        return;
    if (sl_node_deadline(&n->core) <= sim->now)
        node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_TIMER});
    sim_after(sim, 500, run_timer, &ref, sizeof ref);
}

void node_boot(struct sim *sim, int i)
{
    struct node *n = &sim->nodes[i];
    struct sl_node_update update;
    struct sim_ref ref = {.node = i, .life = ++n->life};
    n->machine_up = n->agent_up = true;
    n->conn = 0;
    sl_node_init(&n->core, &n->capacity);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (n->disk != NULL && sl_node_decode(&n->core, a_view_str(n->disk), sim->now, &e) != 0)
        sim_fail(sim, "node %d cannot read its own file: %s", i, a_error_text(&e));
    sl_node_begin(&n->core, sim->now, &update);
    node_do(sim, n, &update);
    sim_after(sim, 1000, run_beat, &ref, sizeof ref);
    sim_after(sim, 500, run_timer, &ref, sizeof ref);
    net_connect(sim, i);
}

static void run_boot(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    if (!sim->nodes[ref.node].agent_up && sim->nodes[ref.node].life == ref.life)
        node_boot(sim, ref.node);
}

static void agent_down(struct sim *sim, int i, uint64_t down_ms, bool silent)
{
    struct node *n = &sim->nodes[i];
    struct sim_ref ref = {.node = i, .life = n->life};
    net_close_node(sim, i, silent);
    sl_node_deinit(&n->core);
    a_free(a_steal(&n->writing));
    n->agent_up = false;
    sim_after(sim, down_ms, run_boot, &ref, sizeof ref);
}

void node_crash_agent(struct sim *sim, int i, uint64_t down_ms)
{
    if (!sim->nodes[i].agent_up)
        return;
    sim->counts[COUNT_AGENT_CRASHES]++;
    sim_trace(sim, "agent %d dies for %llu ms", i, (unsigned long long)down_ms);
    agent_down(sim, i, down_ms, false);
}

void node_crash_machine(struct sim *sim, int i, uint64_t down_ms)
{
    struct node *n = &sim->nodes[i];
    if (!n->agent_up)
        return;
    sim->counts[COUNT_MACHINE_CRASHES]++;
    sim_trace(sim, "machine %d dies for %llu ms", i, (unsigned long long)down_ms);
    memset(n->members, 0, sizeof n->members);
    n->machine_up = false;
    agent_down(sim, i, down_ms, true);
}

void node_kill_member(struct sim *sim, int i)
{
    struct node *n = &sim->nodes[i];
    for (int k = 0; k < SIM_MEMBERS_MAX; k++) {
        struct member *m = &n->members[k];
        if (m->number == 0 || m->state == A_MEMBER_EXITED || m->state == A_MEMBER_STOPPING)
            continue;
        sim->counts[COUNT_MEMBER_DEATHS]++;
        sim_trace(sim, "%s of %s on %d is killed", m->id.member.s, m->id.unit.s, i);
        m->state = A_MEMBER_EXITED;
        m->reason = A_REASON_OOM_KILLED;
        m->serve = UNIT_SERVE_NONE;
        m->generation++;
        report_number(sim, n, m->number);
        return;
    }
}
