/* The simulation: many seeds, each a world with random faults, in which the invariants hold after each step
 * and, once the faults have healed, everything wanted is there, nothing else, and no request fails. And
 * golden scenarios, whose whole trace is a file.
 *
 *   sim [--seeds N] [--seed S] [--jobs J] [--all]
 *       searches (search.h)
 *   sim --golden NAME [FILE]
 *       prints the scenario's trace, or compares it with FILE */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "lib/sim.h"
#include "search.h"

#define CHAOS_MS 60000
#define HEAL_MS (25 * 60 * 1000)
#define CALM_MS 12000 /* of traffic in a healed world, in which nothing fails */

/* ---- a search ---- */

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

static void world_settle(struct sim *sim)
{
    sim_run(sim, sim->now + HEAL_MS, check_quiet);
    check_end(sim);
}

static void world_live(struct sim *sim, uint64_t seed, bool tracing)
{
    sim_init(sim, seed);
    sim->tracing = tracing;
    world_build(sim);
    sim_start(sim);
    requests_begin(sim);
    faults_begin(sim, CHAOS_MS);
    sim_run(sim, CHAOS_MS, NULL);
    world_heal(sim);
    world_settle(sim);
    sim_run(sim, sim->now + CALM_MS, NULL); /* requests that met a fault are over */
    sim->settled = true;
    sim_run(sim, sim->now + CALM_MS, NULL);
    if (seed % 2 == 0)
        world_restart(sim, seed % 4 == 0);
    world_settle(sim);
    sim->asking = false;
    sim_run(sim, sim->now + 2 * CALM_MS, NULL);
    check_gateways_idle(sim);
}

static void search_one(uint64_t seed, bool tracing, struct search_world *ret)
{
    struct sim *sim = a_new(struct sim);
    world_live(sim, seed, tracing);
    if (sim->trace.len > 0)
        printf("%s", sim->trace.ptr);
    memcpy(ret->counts, sim->counts, sizeof sim->counts);
    ret->failed = sim->failed;
    ret->at_ms = sim->now;
    memcpy(ret->failure, sim->failure, sizeof sim->failure);
    sim_deinit(sim);
    a_free(sim);
}

_Static_assert(COUNT_N <= SEARCH_COUNTS_MAX, "the search has no place for so many counts");

/* ---- golden ---- */

static void golden_world(struct sim *sim)
{
    sim_init(sim, 1);
    sim->tracing = true;
    sim->ask_ms = 120;
    sim->max_ongoing = 4;
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

/* No packet to or from the first cluster for ten minutes, under traffic: its unit is replaced once, and let
 * go once when it comes back; in between nothing moves. */
static void golden_cut_cluster(struct sim *sim)
{
    golden_world(sim);
    requests_begin(sim);
    sim_run(sim, 20000, NULL);
    for (int i = 0; i < 2; i++)
        sim->nodes[i].cut_until_ms = sim->nodes[i].apart_until_ms = sim->now + 600000;
    sim_trace(sim, "the cluster east is cut off for 600000 ms");
    sim_run(sim, 660000, NULL);
    check_end(sim);
}

/* A head's node drains under traffic: another unit serves first, every gateway acknowledges, then the claim
 * goes. */
static void golden_drain(struct sim *sim)
{
    struct unit_info u;
    golden_world(sim);
    requests_begin(sim);
    sim_run(sim, 20000, NULL);
    if (unit_fleet_unit(sim->apps[0].fleet, 0, &u))
        node_command(sim, node_index(sim, sim_node(sim, &u.head_node)), true, true);
    sim_run(sim, 60000, NULL);
    check_end(sim);
}

static int golden(const char *name, const char *path)
{
    struct sim *sim = a_new(struct sim);
    if (strcmp(name, "deploy") == 0)
        golden_deploy(sim);
    else if (strcmp(name, "drain") == 0)
        golden_drain(sim);
    else if (strcmp(name, "cut-cluster") == 0)
        golden_cut_cluster(sim);
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

int main(int argc, char **argv)
{
    static const struct search_kind kind = {.usage = "sim [--seeds N] [--seed S] [--jobs J] [--all] | "
                                                     "--golden deploy|drain|lose-node|cut-cluster [FILE]",
                                            .again = "make sim SEED=",
                                            .names = sim_count_names,
                                            .n_counts = COUNT_N,
                                            .live = search_one};
    if (argc > 2 && strcmp(argv[1], "--golden") == 0)
        return golden(argv[2], argc > 3 ? argv[3] : NULL);
    return search_main(&kind, argc, argv);
}
