/* The simulation: many seeds, each a world with random faults, in which the invariants hold after each step
 * and, once the faults have healed, everything wanted is there, nothing else, and no request fails. And
 * golden scenarios, whose whole trace is a file.
 *
 *   sim [--seeds N] [--seed S]     N worlds from seed S on (SIM_SEEDS, SIM_SEED; 1000 from 1); ends at the
 * first that fails. One alone prints its trace sim --golden NAME [FILE]       prints the scenario's trace, or
 * compares it with FILE */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/text.h"
#include "lib/sim.h"

#define CHAOS_MS 60000
#define HEAL_MS (25 * 60 * 1000)
#define CALM_MS 12000 /* of traffic in a healed world, in which nothing fails */
#define PROGRESS_S 10

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

static void counts_print(const uint64_t counts[COUNT_N], uint64_t n, uint64_t first, double seconds)
{
    printf("%llu worlds from seed %llu:", (unsigned long long)n, (unsigned long long)first);
    for (int i = 0; i < COUNT_N; i++)
        printf("%s %llu %s", i > 0 ? "," : "", (unsigned long long)counts[i], sim_count_names[i]);
    printf("\n%.1f s, %.0f seeds/s\n", seconds, (double)n / A_MAX(seconds, 0.001));
}

static double seconds_since(const struct timespec *from)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - from->tv_sec) + (double)(now.tv_nsec - from->tv_nsec) / 1e9;
}

static void failure_print(const struct sim *sim)
{
    printf("seed %llu at %llu ms: %s\nagain, with its scenario: make sim SEED=%llu\n",
           (unsigned long long)sim->seed, (unsigned long long)sim->now, sim->failure,
           (unsigned long long)sim->seed);
}

static int search(uint64_t first, uint64_t n)
{
    uint64_t counts[COUNT_N] = {0};
    struct sim *sim = a_new(struct sim);
    struct timespec start;
    bool failed = false;
    double told = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t seed = first; seed < first + n && !failed; seed++) {
        search_one(sim, seed, n == 1);
        for (int i = 0; i < COUNT_N; i++)
            counts[i] += sim->counts[i];
        if (sim->trace.len > 0)
            printf("%s", sim->trace.ptr);
        failed = sim->failed;
        if (failed)
            failure_print(sim);
        sim_deinit(sim);
        double now = seconds_since(&start);
        if (now - told < PROGRESS_S)
            continue;
        told = now;
        printf("seed %llu: %.1f %% after %.0f s, %.0f seeds/s\n", (unsigned long long)seed,
               100.0 * (double)(seed - first + 1) / (double)n, now, (double)(seed - first + 1) / now);
        fflush(stdout);
    }
    a_free(sim);
    if (!failed)
        counts_print(counts, n, first, seconds_since(&start));
    return failed ? 1 : 0;
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
    uint64_t seeds = number(getenv("SIM_SEEDS"), 1000), seed = number(getenv("SIM_SEED"), 1);
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            seeds = number(argv[++i], seeds);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            seed = number(argv[++i], seed);
        else if (strcmp(argv[i], "--golden") == 0 && i + 1 < argc)
            return golden(argv[i + 1], i + 2 < argc ? argv[i + 2] : NULL);
        else {
            fprintf(stderr, "usage: sim [--seeds N] [--seed S] | --golden deploy|drain|lose-node [FILE]\n");
            return 2;
        }
    }
    return search(seed, seeds);
}
