/* An agent around sl_node: its file, its beats, its reports, and what servers ask of it. */
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

int node_index(const struct sim *sim, const struct node *n)
{
    return (int)(n - sim->nodes);
}

uint64_t node_now(const struct sim *sim, const struct node *n)
{
    return sim->now + n->clock_ms;
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
    m.leaves_ms = n->core.draining ? n->leaves_ms : 0;
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
        bool serves = member->serve == UNIT_SERVE_RUNNING && member->state == A_MEMBER_UP;
        for (int i = 0; i < SIM_REPLICAS; i++) {
            const struct replica *r = &member->replicas[i];
            m.ports[i] = r->dead ? 0 : r->port;
            m.endpoints += serves && m.ports[i] != 0 ? 1 : 0;
        }
        if (member->deployed > 0)
            m.deployed = app->revisions[member->deployed - 1].digest;
    }
    net_to_server(sim, &m);
}

void node_report(struct sim *sim, struct node *n, uint64_t number)
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
    if (sim->nodes[i].agent_up && sim->nodes[i].known)
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
    sim_after(sim, OWNER_NODE(ref.node), 1000, run_beat, &ref, sizeof ref);
}

static void node_do(struct sim *sim, struct node *n, const struct sl_node_update *update);

void node_step(struct sim *sim, struct node *n, struct sl_node_event *e)
{
    struct sl_node_update update;
    e->now_ms = node_now(sim, n);
    sl_node_step(&n->core, e, &update);
    node_do(sim, n, &update);
}

/* ---- carrying updates out ---- */

static bool ref_is_old(const struct node *n, const struct sim_ref *ref)
{
    return !n->agent_up || n->life != ref->life;
}

static void run_renamed(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (!ref_is_old(n, &ref))
        disk_renamed(&n->disk);
}

static void run_persisted(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (ref_is_old(n, &ref))
        return;
    disk_synced(&n->disk);
    if (!n->known) {
        n->known = true; /* the incarnation is on disk: now others may hear of it */
        net_connect(sim, ref.node);
    }
    node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_PERSISTED, .token = ref.token, .ok = true});
}

static void run_not_persisted(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (!ref_is_old(n, &ref))
        node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_PERSISTED, .token = ref.token});
}

static void run_assigned(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (ref_is_old(n, &ref))
        return;
    uint16_t first = ports_take(sim, n, ref.number);
    struct sl_node_event e = {.kind = SL_NODE_EV_ASSIGNED, .claim_number = ref.number, .port_first = first};
    e.port_count = first == 0 ? 0 : 100;
    node_step(sim, n, &e);
}

#define SEQ_STALE 0x100 /* its epoch was below what the node knew already */

static uint64_t seq_of(const struct node *n, const struct msg *m)
{
    bool stale = m->type != MSG_COMMAND && m->epoch < sl_node_epoch(&n->core, &m->id.app_uid);
    return m->type | (stale ? SEQ_STALE : 0u);
}

static enum msg_type answered(uint64_t seq)
{
    return (enum msg_type)(seq & 0xff); /* the request's number is its type: enough here */
}

static void node_reply(struct sim *sim, struct node *n, const struct sl_node_action *a)
{
    struct msg m = {.type = MSG_REPLY, .node = node_index(sim, n), .answers = answered(a->seq), .id = a->id};
    m.result = a->result;
    bool live = a->claim != NULL && a->claim->state.state != A_CLAIM_RELEASED;
    if ((a->seq & SEQ_STALE) != 0 && a->result == SL_NODE_OK && live)
        sim_fail(sim, "I3: node %s says Ok to an epoch that is over", n->id.s);
    m.free = a->free;
    m.claim_state = a->claim == NULL ? A_CLAIM_RELEASED : (enum a_claim_state)a->claim->state.state;
    if (n->conn == a->link)
        net_to_server(sim, &m);
}

/* Whoever writes much also dies while it writes. */
static void run_fragile(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    uint64_t down_ms = sim_between(&sim->life_random, 300, 5000);
    if (ref_is_old(&sim->nodes[ref.node], &ref))
        return;
    if (sim_chance(&sim->life_random, 0.3))
        node_crash_machine(sim, ref.node, down_ms);
    else
        node_crash_agent(sim, ref.node, down_ms);
}

static void node_persist(struct sim *sim, struct node *n, const struct sl_node_action *a)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct sim_ref ref = {.node = node_index(sim, n), .life = n->life, .token = a->token};
    int owner = OWNER_NODE(ref.node);
    if (sim->now < n->disk_full_until_ms) {
        sim_after(sim, owner, 1, run_not_persisted, &ref, sizeof ref);
        return;
    }
    sl_node_encode(&n->core, &text);
    disk_write(sim, &n->disk, owner, a_buf_steal(&text), run_renamed, run_persisted, &ref, sizeof ref);
    if (sim_chance(&sim->life_random, sim->fragile))
        sim_after(sim, OWNER_NONE, sim_between(&sim->life_random, 0, 7), run_fragile, &ref, sizeof ref);
}

static void node_do(struct sim *sim, struct node *n, const struct sl_node_update *update)
{
    struct sl_node_action actions[64];
    size_t count = A_MIN(update->n_actions, A_ARRAY_SIZE(actions));
    memcpy(actions, update->actions, count * sizeof actions[0]);
    for (size_t i = 0; i < count; i++) {
        const struct sl_node_action *a = &actions[i];
        struct sim_ref ref = {.node = node_index(sim, n), .life = n->life};
        check_durable(sim, n, a);
        switch (a->kind) {
        case SL_NODE_REPLY:
            node_reply(sim, n, a);
            break;
        case SL_NODE_PERSIST:
            node_persist(sim, n, a);
            break;
        case SL_NODE_ASSIGN:
            ref.number = a->claim->number;
            sim_after(sim, OWNER_NODE(ref.node), 1, run_assigned, &ref, sizeof ref);
            break;
        case SL_NODE_START:
            member_start(sim, n, a->claim);
            report_claim(sim, n, a->claim);
            break;
        case SL_NODE_STOP:
            check_stop(sim, n, a->claim);
            member_stop(sim, n, a->claim);
            break;
        case SL_NODE_UNASSIGN:
            ports_give_back(sim, n, a->claim->port_first);
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
                                      .seq = seq_of(n, m)});
    member_configure(sim, n, member, m->revision);
    report_claim(sim, n, c);
}

void node_receive(struct sim *sim, const struct msg *m)
{
    struct node *n = &sim->nodes[m->node];
    node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_TIMER});
    struct sl_node_event e = {.link = m->conn, .seq = seq_of(n, m), .id = m->id, .store_id = m->store_id};
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
    e.now_ms = node_now(sim, n);
    sl_node_step(&n->core, &e, &update);
    for (size_t i = 0; i < update.n_actions && m->type == MSG_RESERVE; i++)
        if (update.actions[i].kind == SL_NODE_REPLY && a_claim_id_equal(&update.actions[i].id, &m->id))
            check_reply(sim, n, &before, update.actions[i].result);
    node_do(sim, n, &update);
}

void node_command(struct sim *sim, int node, bool drain, bool on)
{
    struct node *n = &sim->nodes[node];
    struct msg m = {.type = MSG_COMMAND, .node = node, .conn = n->conn, .drain = drain, .on = on};
    if (!n->agent_up || n->conn == 0)
        return;
    if (drain)
        n->leaves_ms = 0;
    node_receive(sim, &m);
}

void node_end(struct sim *sim, int node, uint64_t leaves_ms)
{
    struct node *n = &sim->nodes[node];
    node_command(sim, node, true, true);
    n->leaves_ms = leaves_ms;
    if (n->agent_up && n->conn != 0)
        report_node(sim, n);
}

/* ---- life and death ---- */

static void run_timer(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (!n->agent_up || n->life != ref.life)
        return;
    if (sl_node_deadline(&n->core) <= node_now(sim, n))
        node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_TIMER});
    sim_after(sim, OWNER_NODE(ref.node), 500, run_timer, &ref, sizeof ref);
}

void node_boot(struct sim *sim, int i)
{
    struct node *n = &sim->nodes[i];
    struct sl_node_update update;
    struct sim_ref ref = {.node = i, .life = ++n->life};
    n->machine_up = n->agent_up = true;
    n->known = false;
    n->conn = 0;
    n->attach = 0;
    n->leaves_ms = 0; /* not kept */
    sl_node_init(&n->core, &n->capacity);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (n->disk.text != NULL && sl_node_decode(&n->core, a_view_str(n->disk.text), node_now(sim, n), &e) != 0)
        sim_fail(sim, "node %d cannot read its own file: %s", i, a_error_text(&e));
    a_list_foreach (it, &n->core.claims)
        ports_keep(n, a_list_entry(it, struct sl_claim, link)->port_first);
    sl_node_begin(&n->core, node_now(sim, n), &update);
    node_do(sim, n, &update);
    sim_after(sim, OWNER_NODE(ref.node), 1000, run_beat, &ref, sizeof ref);
    sim_after(sim, OWNER_NODE(ref.node), 500, run_timer, &ref, sizeof ref);
}

static void run_boot(struct sim *sim, void *data)
{
    struct sim_ref ref;
    memcpy(&ref, data, sizeof ref);
    if (!sim->nodes[ref.node].agent_up && sim->nodes[ref.node].life == ref.life)
        node_boot(sim, ref.node);
}

static void agent_down(struct sim *sim, int i, uint64_t down_ms, bool machine)
{
    struct node *n = &sim->nodes[i];
    struct sim_ref ref = {.node = i, .life = n->life};
    net_close_node(sim, i, machine);
    sl_node_deinit(&n->core);
    disk_crash(sim, &n->disk, machine);
    n->agent_up = false;
    sim->suspended_ms[OWNER_NODE(i)] = 0;
    sim_after(sim, OWNER_NONE, down_ms, run_boot, &ref, sizeof ref);
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
    members_vanish(sim, n);
    n->machine_up = false;
    agent_down(sim, i, down_ms, true);
}

/* The agent sees it when it wakes, and attaches again: what was agreed before may be over. */
void node_clock_jump(struct sim *sim, int i, uint64_t ms)
{
    struct node *n = &sim->nodes[i];
    n->clock_ms += ms;
    n->jumped_ms = sim->now;
    sim->counts[COUNT_CLOCK_JUMPS]++;
    sim_trace(sim, "the clock of node %d jumps by %llu ms", i, (unsigned long long)ms);
    if (!n->agent_up)
        return;
    node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_TIMER});
    if (n->conn != 0) {
        net_close_node(sim, i, false);
        net_connect(sim, i);
    }
}
