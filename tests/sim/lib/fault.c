/* What breaks: a world of random shape, faults that come one after the other, and the end of all of them. */
#include <stdio.h>
#include <string.h>

#include "lib/sim.h"

const char *const sim_count_names[COUNT_N] = {
    [COUNT_FRAMES] = "frames",
    [COUNT_DROPPED] = "lost",
    [COUNT_REPEATED] = "repeated",
    [COUNT_LATE] = "late",
    [COUNT_STALE] = "of dead servers",
    [COUNT_AGENT_CRASHES] = "agents killed",
    [COUNT_MACHINE_CRASHES] = "machines killed",
    [COUNT_OVERTAKEN] = "overtaken",
    [COUNT_PARTITIONS] = "partitions",
    [COUNT_LINKS_RESET] = "links reset",
    [COUNT_CLOCK_JUMPS] = "clock jumps",
    [COUNT_SERVER_CRASHES] = "servers killed",
    [COUNT_STORES_LOST] = "stores lost",
    [COUNT_MEMBER_DEATHS] = "members killed",
    [COUNT_REPLICA_DEATHS] = "replicas killed",
    [COUNT_GATEWAY_CRASHES] = "gateways killed",
    [COUNT_SUSPENDED] = "suspended",
    [COUNT_DISKS_FULL] = "disks full",
    [COUNT_TORN] = "writes lost",
    [COUNT_UNTOLD] = "writes done untold",
    [COUNT_DRAINS] = "drains",
    [COUNT_DEPLOYS] = "deploys",
    [COUNT_SCALES] = "scales",
    [COUNT_PLACED] = "gangs placed",
    [COUNT_RELEASED] = "claims released",
    [COUNT_REQUESTS] = "requests",
    [COUNT_RESENT] = "re-sent",
    [COUNT_FAILED] = "failed",
};

static uint64_t between(struct sim *sim, uint64_t low, uint64_t high)
{
    return sim_between(&sim->fault_random, low, high);
}

static void fault_deploy(struct sim *sim)
{
    struct app *app = &sim->apps[a_random_below(&sim->fault_random, (uint64_t)sim->n_apps)];
    uint64_t revision = between(sim, 1, SIM_REVISIONS);
    if (app->fleet == NULL)
        return;
    sim->counts[COUNT_DEPLOYS]++;
    app->bad[revision] = revision != app->desired.proven && revision != app->desired.revision &&
                         sim_chance(&sim->fault_random, 0.3);
    sim_trace(sim, "deploy %s revision %d%s", app->desired.app.name.s, (int)revision,
              app->bad[revision] ? " (bad)" : "");
    app->desired.revision = revision;
    app->desired.generation++;
    server_desire(sim, (int)(app - sim->apps));
}

static void fault_scale(struct sim *sim)
{
    struct app *app = &sim->apps[a_random_below(&sim->fault_random, (uint64_t)sim->n_apps)];
    if (app->fleet == NULL)
        return;
    sim->counts[COUNT_SCALES]++;
    app->desired.units = (uint32_t)between(sim, 0, 3);
    app->desired.generation++;
    sim_trace(sim, "scale %s to %u", app->desired.app.name.s, app->desired.units);
    server_desire(sim, (int)(app - sim->apps));
}

/* From the server, from the gateways, or from both. */
static void fault_partition(struct sim *sim, int node)
{
    struct node *n = &sim->nodes[node];
    uint64_t kind = between(sim, 0, 2), until = sim->now + between(sim, 500, 40000);
    sim->counts[COUNT_PARTITIONS]++;
    if (kind != 1)
        n->cut_until_ms = until;
    if (kind != 0)
        n->apart_until_ms = until;
    sim_trace(sim, "node %d is cut off from %s until %llu", node,
              kind == 0   ? "the server"
              : kind == 1 ? "the gateways"
                          : "all",
              (unsigned long long)until);
}

/* It dies, its connection is reset, or nothing gets through any more. */
static void fault_gateway(struct sim *sim)
{
    int g = (int)between(sim, 0, SIM_GATEWAYS - 1);
    uint64_t kind = between(sim, 0, 2), ms = between(sim, 500, 30000);
    if (kind == 0) {
        gateway_crash(sim, g, between(sim, 200, 20000));
        return;
    }
    sim->counts[COUNT_PARTITIONS] += kind == 2;
    sim_trace(sim, "gateway %d is %s the server for %llu ms", g, kind == 1 ? "reset by" : "cut off from",
              (unsigned long long)(kind == 1 ? 0 : ms));
    if (kind == 1)
        net_reset_gateway(sim, g);
    else
        net_cut_gateway(sim, g, ms);
}

static void fault_drain(struct sim *sim, int node)
{
    bool on = sim_chance(&sim->fault_random, 0.6), drain = sim_chance(&sim->fault_random, 0.7);
    sim->counts[COUNT_DRAINS]++;
    sim_trace(sim, "%s%s node %d", on ? "" : "un", drain ? "drain" : "cordon", node);
    if (on && drain && sim_chance(&sim->fault_random, 0.5))
        node_end(sim, node, sim->now + between(sim, 1000, 60000));
    else
        node_command(sim, node, drain, on);
}

/* SIGSTOP, and SIGCONT later: what came meanwhile is found at once. */
static void fault_suspend(struct sim *sim, int node)
{
    uint64_t who = between(sim, 0, 3), ms = between(sim, 500, 40000);
    int owner = who == 0   ? OWNER_SERVER
                : who == 1 ? OWNER_GATEWAY((int)between(sim, 0, SIM_GATEWAYS - 1))
                           : OWNER_NODE(node);
    sim->counts[COUNT_SUSPENDED]++;
    sim_trace(sim, "%s is suspended for %llu ms",
              who == 0   ? "the server"
              : who == 1 ? "a gateway"
                         : sim->nodes[node].id.s,
              (unsigned long long)ms);
    sim_suspend(sim, owner, ms);
}

static void fault_disk_full(struct sim *sim, int node)
{
    uint64_t ms = between(sim, 500, 20000);
    sim->counts[COUNT_DISKS_FULL]++;
    sim->nodes[node].disk_full_until_ms = sim->now + ms;
    sim_trace(sim, "the disk of node %d is full for %llu ms", node, (unsigned long long)ms);
}

enum fault {
    FAULT_AGENT,
    FAULT_MACHINE,
    FAULT_PARTITION,
    FAULT_SERVER,
    FAULT_MEMBER,
    FAULT_REPLICA,
    FAULT_DRAIN,
    FAULT_DEPLOY,
    FAULT_SCALE,
    FAULT_GATEWAY,
    FAULT_SUSPEND,
    FAULT_DISK,
    FAULT_CLOCK,
};

static const enum fault faults[] = {FAULT_AGENT,     FAULT_AGENT,   FAULT_MACHINE, FAULT_PARTITION,
                                    FAULT_PARTITION, FAULT_SERVER,  FAULT_SERVER,  FAULT_MEMBER,
                                    FAULT_REPLICA,   FAULT_DRAIN,   FAULT_DEPLOY,  FAULT_SCALE,
                                    FAULT_GATEWAY,   FAULT_SUSPEND, FAULT_DISK,    FAULT_CLOCK};

static void run_chained(struct sim *sim, void *data);

/* Bad luck seldom comes alone. */
static void chain(struct sim *sim, enum fault f, double chance, uint64_t low, uint64_t high)
{
    if (sim_chance(&sim->fault_random, chance))
        sim_after(sim, OWNER_NONE, between(sim, low, high), run_chained, &f, sizeof f);
}

static void fault(struct sim *sim, enum fault f)
{
    int node = (int)a_random_below(&sim->fault_random, (uint64_t)sim->n_nodes);
    switch (f) {
    case FAULT_AGENT:
        node_crash_agent(sim, node, between(sim, 300, 15000));
        break;
    case FAULT_MACHINE:
        node_crash_machine(sim, node, between(sim, 1000, 60000));
        break;
    case FAULT_PARTITION:
        fault_partition(sim, node);
        break;
    case FAULT_SERVER:
        server_crash(sim, between(sim, 100, 8000), false);
        chain(sim, FAULT_PARTITION, 0.4, 0, 2000);
        chain(sim, FAULT_DEPLOY, 0.3, 500, 15000);
        break;
    case FAULT_MEMBER:
        member_kill(sim, node);
        break;
    case FAULT_REPLICA:
        member_kill_replica(sim, node);
        break;
    case FAULT_DRAIN:
        fault_drain(sim, node);
        chain(sim, FAULT_GATEWAY, 0.4, 0, 15000);
        break;
    case FAULT_DEPLOY:
        fault_deploy(sim);
        chain(sim, FAULT_GATEWAY, 0.4, 0, 15000);
        break;
    case FAULT_SCALE:
        fault_scale(sim);
        chain(sim, FAULT_GATEWAY, 0.4, 0, 5000);
        break;
    case FAULT_GATEWAY:
        fault_gateway(sim);
        break;
    case FAULT_SUSPEND:
        fault_suspend(sim, node);
        break;
    case FAULT_DISK:
        fault_disk_full(sim, node);
        break;
    case FAULT_CLOCK:
        node_clock_jump(sim, node, between(sim, 5000, sim_chance(&sim->fault_random, 0.5) ? 60000 : 3600000));
        break;
    }
}

static void run_chained(struct sim *sim, void *data)
{
    enum fault f;
    memcpy(&f, data, sizeof f);
    if (sim->now < sim->calm_ms)
        fault(sim, f);
}

static void run_fault(struct sim *sim, void *data)
{
    (void)data;
    if (sim->now >= sim->calm_ms)
        return;
    fault(sim, faults[a_random_below(&sim->fault_random, A_ARRAY_SIZE(faults))]);
    sim_after(sim, OWNER_NONE, between(sim, 300, 8000), run_fault, NULL, 0);
}

void faults_begin(struct sim *sim, uint64_t until_ms)
{
    sim->calm_ms = until_ms;
    sim_after(sim, OWNER_NONE, between(sim, 1000, 15000), run_fault, NULL, 0);
}

void world_build(struct sim *sim)
{
    struct a_random *r = &sim->fault_random;
    int clusters = (int)sim_between(r, 1, 3), per_cluster = (int)sim_between(r, 2, 4),
        workers = (int)sim_between(r, 0, 2);
    char name[24];
    for (int c = 0; c < clusters; c++) {
        snprintf(name, sizeof name, "cluster-%d", c);
        for (int i = 0; i < per_cluster; i++)
            sim_add_node(sim, name, c * per_cluster + i / 2, sim_between(r, 3, 8));
    }
    int n_apps = (int)sim_between(r, 1, SIM_APPS_MAX);
    for (int i = 0; i < n_apps; i++)
        sim_add_app(sim, (uint32_t)sim_between(r, 1, 2), i == 0 ? workers : 0);
    sim->drop = sim_chance(r, 0.5) ? 0.002 : 0;
    sim->repeat = sim_chance(r, 0.5) ? 0.05 : 0;
    sim->late = sim_chance(r, 0.5) ? 0.05 : 0;
    sim->broken = sim_chance(r, 0.5) ? 0.01 : 0;
    sim->fragile = sim_chance(r, 0.5) ? 0.01 : 0;
    sim->shaky = sim_chance(r, 0.7) ? 0.6 : 0;
    sim->slow = sim_chance(r, 0.3) ? 0.2 : 0.03;
    sim->ask_ms = sim_chance(r, 0.15) ? 15 : 120;
    sim->max_ongoing = sim_chance(r, 0.5) ? 4 : 16;
    sim_trace(sim, "%d clusters of %d nodes, %d apps, %d workers", clusters, per_cluster, n_apps, workers);
}

static void node_heal(struct sim *sim, int i)
{
    struct node *n = &sim->nodes[i];
    n->cut_until_ms = n->apart_until_ms = n->disk_full_until_ms = 0;
    n->capacity.mcpu = 16000; /* room for all */
    n->capacity.memory_bytes = UINT64_C(64) << 30;
    n->capacity.disk_bytes = UINT64_C(256) << 30;
    if (n->agent_up)
        node_crash_agent(sim, i, 100);
}

/* Everything comes back, and somebody deploys something good. */
void world_heal(struct sim *sim)
{
    sim_trace(sim, "everything heals");
    sim->drop = sim->repeat = sim->late = sim->broken = sim->fragile = sim->shaky = 0;
    sim->slow = 0.03;
    sim->ask_ms = 120;
    for (int g = 0; g < SIM_GATEWAYS; g++)
        sim->gateways[g].cut_until_ms = 0;
    for (int i = 0; i < sim->n_nodes; i++)
        node_heal(sim, i);
    sim_run(sim, sim->now + 70000,
            NULL); /* the longest machine crash is over, and who was suspended goes on */
    for (int i = 0; i < sim->n_nodes; i++) {
        node_command(sim, i, true, false);
        node_command(sim, i, false, false);
    }
    for (int i = 0; i < sim->n_apps; i++) {
        struct app *app = &sim->apps[i];
        memset(app->bad, 0, sizeof app->bad);
        app->desired.generation++;
        server_desire(sim, i);
    }
    server_retry(sim);
}
