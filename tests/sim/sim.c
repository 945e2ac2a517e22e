/* The simulation: many seeds, each a world with random faults, in which the invariants hold after each step
 * and, once the faults have healed, everything wanted is there and nothing else. And two golden scenarios,
 * whose whole trace is a file.
 *
 *   sim [--seeds N] [--seed S]     N worlds from seed S on (SIM_SEEDS, SIM_SEED; 1000 from 1); the first that
 * fails is told with its scenario, and with its trace when it is the only one asked for sim --golden NAME
 * [FILE]       prints the scenario's trace, or compares it with FILE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "lib/sim.h"

#define CHAOS_MS 60000
#define HEAL_MS (25 * 60 * 1000)

static const char *const count_names[COUNT_N] = {
    [COUNT_FRAMES] = "frames",
    [COUNT_DROPPED] = "lost",
    [COUNT_REPEATED] = "repeated",
    [COUNT_LATE] = "late",
    [COUNT_AGENT_CRASHES] = "agents killed",
    [COUNT_MACHINE_CRASHES] = "machines killed",
    [COUNT_PARTITIONS] = "partitions",
    [COUNT_SERVER_CRASHES] = "servers killed",
    [COUNT_STORES_LOST] = "stores lost",
    [COUNT_MEMBER_DEATHS] = "members killed",
    [COUNT_DRAINS] = "drains",
    [COUNT_DEPLOYS] = "deploys",
    [COUNT_SCALES] = "scales",
    [COUNT_PLACED] = "gangs placed",
    [COUNT_RELEASED] = "claims released",
};

/* ---- faults ---- */

static void command(struct sim *sim, int node, bool drain, bool on)
{
    struct node *n = &sim->nodes[node];
    struct msg m = {.type = MSG_COMMAND, .node = node, .conn = n->conn, .drain = drain, .on = on};
    if (n->agent_up && n->conn != 0)
        node_receive(sim, &m); /* `astra drain` at the agent itself: nothing between to lose it */
}

static void fault_deploy(struct sim *sim)
{
    struct app *app = &sim->apps[a_random_below(&sim->fault_random, (uint64_t)sim->n_apps)];
    uint64_t revision = sim_between(&sim->fault_random, 1, SIM_REVISIONS);
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
    app->desired.units = (uint32_t)sim_between(&sim->fault_random, 0, 3);
    app->desired.generation++;
    sim_trace(sim, "scale %s to %u", app->desired.app.name.s, app->desired.units);
    server_desire(sim, (int)(app - sim->apps));
}

static void fault_partition(struct sim *sim, int node)
{
    sim->counts[COUNT_PARTITIONS]++;
    sim->nodes[node].cut_until_ms = sim->now + sim_between(&sim->fault_random, 500, 40000);
    sim_trace(sim, "node %d is cut off until %llu", node, (unsigned long long)sim->nodes[node].cut_until_ms);
}

static void fault_drain(struct sim *sim, int node)
{
    bool on = sim_chance(&sim->fault_random, 0.6), drain = sim_chance(&sim->fault_random, 0.7);
    sim->counts[COUNT_DRAINS]++;
    sim_trace(sim, "%s%s node %d", on ? "" : "un", drain ? "drain" : "cordon", node);
    command(sim, node, drain, on);
}

static void run_fault(struct sim *sim, void *data)
{
    (void)data;
    if (sim->now >= CHAOS_MS)
        return;
    int node = (int)a_random_below(&sim->fault_random, (uint64_t)sim->n_nodes);
    switch (a_random_below(&sim->fault_random, 9)) {
    case 0:
    case 1:
        node_crash_agent(sim, node, sim_between(&sim->fault_random, 300, 15000));
        break;
    case 2:
        node_crash_machine(sim, node, sim_between(&sim->fault_random, 1000, 60000));
        break;
    case 3:
        fault_partition(sim, node);
        break;
    case 4:
        server_crash(sim, sim_between(&sim->fault_random, 100, 8000), false);
        break;
    case 5:
        node_kill_member(sim, node);
        break;
    case 6:
        fault_drain(sim, node);
        break;
    case 7:
        fault_deploy(sim);
        break;
    default:
        fault_scale(sim);
        break;
    }
    sim_after(sim, sim_between(&sim->fault_random, 500, 12000), run_fault, NULL, 0);
}

/* ---- a search ---- */

static void world_build(struct sim *sim)
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
    sim_trace(sim, "%d clusters of %d nodes, %d apps, %d workers", clusters, per_cluster, n_apps, workers);
}

/* Everything comes back, and somebody deploys something good. */
static void world_heal(struct sim *sim)
{
    sim_trace(sim, "everything heals");
    sim->drop = sim->repeat = sim->late = 0;
    for (int i = 0; i < sim->n_nodes; i++) {
        sim->nodes[i].cut_until_ms = 0;
        sim->nodes[i].capacity.mcpu = 16000; /* room for all */
        sim->nodes[i].capacity.memory_bytes = UINT64_C(64) << 30;
        sim->nodes[i].capacity.disk_bytes = UINT64_C(256) << 30;
        if (sim->nodes[i].agent_up)
            node_crash_agent(sim, i, 100);
    }
    sim_run(sim, sim->now + 70000, NULL); /* the longest machine crash is over */
    for (int i = 0; i < sim->n_nodes; i++) {
        command(sim, i, true, false);
        command(sim, i, false, false);
    }
    for (int i = 0; i < sim->n_apps; i++) {
        struct app *app = &sim->apps[i];
        memset(app->bad, 0, sizeof app->bad);
        app->desired.generation++;
        server_desire(sim, i);
    }
    server_retry(sim);
}

/* In a quiet world a server that restarts, with its store or without (its claims are orphans then, and
 * adopted), starts and stops nothing. */
static void world_restart(struct sim *sim, bool lose_store)
{
    uint64_t members = check_members(sim);
    if (sim->failed || !check_quiet(sim))
        return;
    server_crash(sim, 2000, lose_store);
    sim_run(sim, sim->now + 20000, NULL);
    if (!sim->failed && lose_store)
        server_adopt(sim);
    sim_run(sim, sim->now + 20000, NULL);
    if (members != check_members(sim))
        sim_fail(sim, "I12: a server's restart started or stopped a member");
}

static void search_one(struct sim *sim, uint64_t seed, bool tracing)
{
    sim_init(sim, seed);
    sim->tracing = tracing;
    world_build(sim);
    sim_start(sim);
    sim_after(sim, sim_between(&sim->fault_random, 1000, 15000), run_fault, NULL, 0);
    sim_run(sim, CHAOS_MS, NULL);
    world_heal(sim);
    sim_run(sim, sim->now + HEAL_MS, check_quiet);
    check_end(sim);
    if (seed % 2 == 0)
        world_restart(sim, seed % 4 == 0);
    sim_run(sim, sim->now + HEAL_MS, check_quiet);
    check_end(sim);
}

static int search(uint64_t first, uint64_t n)
{
    uint64_t counts[COUNT_N] = {0};
    struct sim *sim = a_new(struct sim);
    for (uint64_t seed = first; seed < first + n; seed++) {
        search_one(sim, seed, n == 1);
        for (int i = 0; i < COUNT_N; i++)
            counts[i] += sim->counts[i];
        if (sim->trace.len > 0)
            printf("%s", sim->trace.ptr);
        bool failed = sim->failed;
        if (failed)
            printf("seed %llu at %llu ms: %s\nagain, with its scenario: sim --seed %llu --seeds 1\n",
                   (unsigned long long)seed, (unsigned long long)sim->now, sim->failure,
                   (unsigned long long)seed);
        sim_deinit(sim);
        if (failed) {
            a_free(sim);
            return 1;
        }
    }
    a_free(sim);
    printf("%llu worlds from seed %llu:", (unsigned long long)n, (unsigned long long)first);
    for (int i = 0; i < COUNT_N; i++)
        printf("%s %llu %s", i > 0 ? "," : "", (unsigned long long)counts[i], count_names[i]);
    printf("\n");
    return 0;
}

/* ---- golden ---- */

static void golden_world(struct sim *sim)
{
    sim_init(sim, 1);
    sim->tracing = true;
    for (int i = 0; i < 4; i++)
        sim_add_node(sim, i < 2 ? "east" : "west", i, 4);
    sim_add_app(sim, 2, 0);
    sim_start(sim);
}

static void golden_deploy(struct sim *sim)
{
    golden_world(sim);
    sim_run(sim, 20000, NULL);
    check_end(sim);
}

static void golden_lose_node(struct sim *sim)
{
    struct unit_info u;
    golden_world(sim);
    sim_run(sim, 20000, NULL);
    if (unit_fleet_unit(sim->apps[0].fleet, 0, &u)) {
        int lost = (int)(sim_node(sim, &u.head_node) - sim->nodes);
        node_crash_machine(sim, lost, 60000);
    }
    sim_run(sim, 110000, NULL);
    check_end(sim);
}

static int golden(const char *name, const char *path)
{
    struct sim *sim = a_new(struct sim);
    if (strcmp(name, "deploy") == 0)
        golden_deploy(sim);
    else
        golden_lose_node(sim);
    A_BUF_AUTO struct a_buf want = {0};
    FILE *f = path == NULL ? NULL : fopen(path, "re");
    if (f != NULL) {
        char chunk[4096];
        for (size_t n; (n = fread(chunk, 1, sizeof chunk, f)) > 0;)
            a_buf_add(&want, chunk, n);
        fclose(f);
    }
    bool same = path == NULL || a_view_equal(a_buf_view(&want), a_buf_view(&sim->trace));
    if (!same || path == NULL)
        printf("%s", sim->trace.ptr);
    if (!same)
        printf("the trace of %s is not that of %s\n", name, path);
    int rc = same && !sim->failed ? 0 : 1;
    sim_deinit(sim);
    a_free(sim);
    return rc;
}

static uint64_t number(const char *text, uint64_t fallback)
{
    uint64_t n;
    return text != NULL && a_text_u64(a_view_str(text), &n) && n > 0 ? n : fallback;
}

int main(int argc, char **argv)
{
    uint64_t seeds = number(getenv("SIM_SEEDS"), 1000), seed = number(getenv("SIM_SEED"), 1);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            seeds = number(argv[++i], seeds);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = number(argv[++i], seed);
        else if (strcmp(argv[i], "--golden") == 0 && i + 1 < argc)
            return golden(argv[i + 1], i + 2 < argc ? argv[i + 2] : NULL);
        else {
            fprintf(stderr, "usage: sim [--seeds N] [--seed S] | --golden deploy|lose-node [FILE]\n");
            return 2;
        }
    }
    return search(seed, seeds);
}
