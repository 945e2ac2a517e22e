/* The simulation: many seeds, each a world with random faults, in which the invariants hold after each step
 * and, once the faults have healed, everything wanted is there, nothing else, and no request fails. And
 * golden scenarios, whose whole trace is a file.
 *
 *   sim [--seeds N] [--seed S] [--jobs J] [--all]
 *       N worlds from seed S on (SIM_SEEDS, SIM_SEED; 1000 from 1) in J processes (1); ends at the first that
 *       fails, or names all that do. One alone prints its trace
 *   sim --golden NAME [FILE]
 *       prints the scenario's trace, or compares it with FILE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
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

static void search_one(struct sim *sim, uint64_t seed, bool tracing)
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
    struct search_options o = {
        .first = number(getenv("SIM_SEED"), 1), .n = number(getenv("SIM_SEEDS"), 1000), .jobs = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            o.n = number(argv[++i], o.n);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            o.first = number(argv[++i], o.first);
        else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc)
            o.jobs = number(argv[++i], o.jobs);
        else if (strcmp(argv[i], "--all") == 0)
            o.all = true;
        else if (strcmp(argv[i], "--golden") == 0 && i + 1 < argc)
            return golden(argv[i + 1], i + 2 < argc ? argv[i + 2] : NULL);
        else {
            fprintf(stderr, "usage: sim [--seeds N] [--seed S] [--jobs J] [--all] | --golden "
                            "deploy|drain|lose-node [FILE]\n");
            return 2;
        }
    }
    return o.n == 1 ? search_replay(o.first, search_one) : search(&o, search_one);
}
