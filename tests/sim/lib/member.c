/* What runs for claims. A member is a tree of processes under a shim: it lives on when the agent dies, and
 * dies with the machine. A head's replicas listen at ports of the member's block and execute requests. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "lib/sim.h"

#define FIRST_PORT 20000
#define BLOCK_PORTS 100
#define REPLICA_PORTS 20 /* where those of replicas begin in a block */

struct member_ref {
    int node;
    uint32_t life, generation;
    uint64_t number;
    int replica;
};

struct member *member_find(struct node *n, uint64_t number)
{
    for (int i = 0; i < SIM_MEMBERS_MAX; i++)
        if (n->members[i].number == number)
            return &n->members[i];
    return NULL;
}

struct replica *member_listens(struct node *n, uint16_t port, struct member **ret_member)
{
    for (int i = 0; i < SIM_MEMBERS_MAX; i++)
        for (int k = 0; n->members[i].number != 0 && k < SIM_REPLICAS; k++) {
            struct replica *r = &n->members[i].replicas[k];
            if (r->port != port || r->dead)
                continue;
            *ret_member = &n->members[i];
            return r;
        }
    return NULL;
}

/* ---- ports ---- */

static struct block *block_of(struct node *n, uint16_t first)
{
    a_assert(first >= FIRST_PORT && (first - FIRST_PORT) % BLOCK_PORTS == 0);
    return &n->blocks[(first - FIRST_PORT) / BLOCK_PORTS];
}

uint16_t ports_take(struct sim *sim, struct node *n, uint64_t number)
{
    for (uint64_t i = 0; i < SIM_BLOCKS; i++) {
        uint64_t at =
            (number / 2 + i) % SIM_BLOCKS; /* two claims begin at one: who comes too early is found out */
        if (n->blocks[at].taken || n->blocks[at].rest_until_ms > sim->now)
            continue;
        n->blocks[at].taken = true;
        return (uint16_t)(FIRST_PORT + at * BLOCK_PORTS);
    }
    return 0;
}

void ports_keep(struct node *n, uint16_t first)
{
    if (first != 0)
        block_of(n, first)->taken = true;
}

void ports_give_back(struct sim *sim, struct node *n, uint16_t first)
{
    if (first == 0)
        return;
    for (int i = 0; i < SIM_MEMBERS_MAX; i++)
        if (n->members[i].number != 0 && n->members[i].port_first == first)
            sim_fail(sim, "I13: the ports of %s on %s are given back while it runs", n->members[i].id.unit.s,
                     n->id.s);
    *block_of(n, first) = (struct block){.rest_until_ms = sim->now + SIM_BLOCK_REST_MS};
}

/* ---- progress ---- */

static void run_report(struct sim *sim, void *data)
{
    struct member_ref ref;
    memcpy(&ref, data, sizeof ref);
    node_report(sim, &sim->nodes[ref.node], ref.number);
}

/* The agent sees it when it runs. */
static void report_later(struct sim *sim, const struct node *n, uint64_t number)
{
    struct member_ref ref = {.node = node_index(sim, n), .number = number};
    sim_after(sim, OWNER_NODE(ref.node), 0, run_report, &ref, sizeof ref);
}

static void run_member(struct sim *sim, void *data);

static void member_later(struct sim *sim, struct node *n, struct member *m, uint64_t low, uint64_t high)
{
    struct member_ref ref = {.node = node_index(sim, n), .generation = ++m->generation, .number = m->number};
    sim_after(sim, OWNER_NONE, sim_between(&sim->life_random, low, high), run_member, &ref, sizeof ref);
}

static bool is_bad(struct sim *sim, const struct member *m)
{
    const struct app *app = server_app(sim, &m->id.app_uid);
    return app->bad[m->revision];
}

static void replica_start(struct sim *sim, struct member *m, struct replica *r)
{
    r->port = (uint16_t)(m->port_first + REPLICA_PORTS + m->next_port++ % 20);
    r->dead = false;
    r->life++;
    r->good_ms = sim->now;
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
        for (int i = 0; i < SIM_REPLICAS; i++)
            if (m->replicas[i].port == 0)
                replica_start(sim, m, &m->replicas[i]);
    }
}

static void run_member(struct sim *sim, void *data)
{
    struct member_ref ref;
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
    report_later(sim, n, ref.number);
}

void member_start(struct sim *sim, struct node *n, const struct sl_claim *c)
{
    struct member *m = member_find(n, c->number);
    if (m != NULL) {
        if (m->seen_life == n->life)
            sim_fail(sim, "I14: %s of %s is started twice", m->id.member.s, m->id.unit.s);
        m->seen_life = n->life;
        return; /* its shim kept it: found again, untouched */
    }
    m = member_find(n, 0);
    a_assert(m != NULL);
    *m = (struct member){.number = c->number,
                         .id = c->id,
                         .head = c->role == 0,
                         .state = A_MEMBER_FETCHING,
                         .revision = c->revision,
                         .started_ms = sim->now,
                         .seen_life = n->life,
                         .port_first = c->port_first};
    member_later(sim, n, m, 100, 1500);
}

void member_configure(struct sim *sim, struct node *n, struct member *m, uint64_t revision)
{
    m->revision = revision;
    m->reason = A_REASON_NONE;
    m->serve = UNIT_SERVE_RUNNING; /* the old config serves while the new one is taken in */
    member_later(sim, n, m, 200, 1500);
}

/* ---- the end ---- */

static void replicas_end(struct sim *sim, struct node *n, struct member *m)
{
    for (int i = 0; i < SIM_REPLICAS; i++) {
        uint16_t port = m->replicas[i].port;
        m->replicas[i] = (struct replica){.life = m->replicas[i].life + 1};
        if (port != 0)
            requests_lose(sim, n, m->number, port);
    }
}

/* The processes are gone, whoever saw to it. */
static void run_ended(struct sim *sim, void *data)
{
    struct member_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    struct member *m = member_find(n, ref.number);
    if (m == NULL || !n->agent_up || n->life != ref.life)
        return; /* the agent that comes next ends it again */
    replicas_end(sim, n, m);
    uint16_t ports = m->port_first;
    *m = (struct member){0};
    ports_give_back(sim, n, ports);
    node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_STOPPED, .claim_number = ref.number});
}

static void run_nothing_left(struct sim *sim, void *data)
{
    struct member_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    if (n->agent_up && n->life == ref.life)
        node_step(sim, n, &(struct sl_node_event){.kind = SL_NODE_EV_STOPPED, .claim_number = ref.number});
}

void member_stop(struct sim *sim, struct node *n, const struct sl_claim *c)
{
    struct member *m = member_find(n, c->number);
    struct member_ref ref = {.node = node_index(sim, n), .life = n->life, .number = c->number};
    uint64_t in = sim_between(&sim->life_random, 10, 1500);
    if (m == NULL) {
        ports_give_back(sim, n, c->port_first);
        sim_after(sim, OWNER_NODE(ref.node), in, run_nothing_left, &ref, sizeof ref);
        return;
    }
    m->state = A_MEMBER_STOPPING;
    m->generation++;
    sim_after(sim, OWNER_NODE(ref.node), in, run_ended, &ref, sizeof ref);
}

void members_vanish(struct sim *sim, struct node *n)
{
    memset(n->members, 0, sizeof n->members);
    /* what rested is free again after a boot */
    memset(n->blocks, 0, sizeof n->blocks);
    (void)sim;
}

void member_kill(struct sim *sim, int node)
{
    struct node *n = &sim->nodes[node];
    for (int k = 0; k < SIM_MEMBERS_MAX; k++) {
        struct member *m = &n->members[k];
        if (m->number == 0 || m->state == A_MEMBER_EXITED || m->state == A_MEMBER_STOPPING)
            continue;
        sim->counts[COUNT_MEMBER_DEATHS]++;
        sim_trace(sim, "%s of %s on %d is killed", m->id.member.s, m->id.unit.s, node);
        m->state = A_MEMBER_EXITED;
        m->reason = A_REASON_OOM_KILLED;
        m->serve = UNIT_SERVE_NONE;
        m->generation++;
        replicas_end(sim, n, m);
        report_later(sim, n, m->number);
        return;
    }
}

static void run_replica_again(struct sim *sim, void *data)
{
    struct member_ref ref;
    memcpy(&ref, data, sizeof ref);
    struct node *n = &sim->nodes[ref.node];
    struct member *m = member_find(n, ref.number);
    if (m == NULL || !m->replicas[ref.replica].dead || m->state != A_MEMBER_UP)
        return;
    replica_start(sim, m, &m->replicas[ref.replica]);
    report_later(sim, n, ref.number);
}

/* Its process dies; Serve starts another at a new port. */
void member_kill_replica(struct sim *sim, int node)
{
    struct node *n = &sim->nodes[node];
    for (int k = 0; k < SIM_MEMBERS_MAX; k++) {
        struct member *m = &n->members[k];
        int i = (int)a_random_below(&sim->fault_random, SIM_REPLICAS);
        struct replica *r = &m->replicas[i];
        if (m->number == 0 || r->port == 0 || r->dead)
            continue;
        struct member_ref ref = {.node = node, .number = m->number, .replica = i};
        sim->counts[COUNT_REPLICA_DEATHS]++;
        sim_trace(sim, "a replica of %s on %d is killed", m->id.unit.s, node);
        r->dead = true;
        r->life++;
        requests_lose(sim, n, m->number, r->port);
        report_later(sim, n, m->number); /* the agent sees the process end */
        sim_after(sim, OWNER_NONE, sim_between(&sim->fault_random, 1500, 6000), run_replica_again, &ref,
                  sizeof ref);
        return;
    }
}
