#include "lib/sim.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"

uint64_t sim_between(struct a_random *r, uint64_t low, uint64_t high)
{
    return low + a_random_below(r, high - low + 1);
}

bool sim_chance(struct a_random *r, double p)
{
    return a_random_unit(r) < p;
}

void sim_fail(struct sim *sim, const char *fmt, ...)
{
    if (sim->failed)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(sim->failure, sizeof sim->failure, fmt, args);
    va_end(args);
    sim->failed = true;
    sim_trace(sim, "FAILED: %s", sim->failure);
}

void sim_trace(struct sim *sim, const char *fmt, ...)
{
    va_list args;
    if (!sim->tracing)
        return;
    a_buf_addf(&sim->trace, "%6llu ", (unsigned long long)sim->now);
    va_start(args, fmt);
    a_buf_vaddf(&sim->trace, fmt, args);
    va_end(args);
    a_buf_add_char(&sim->trace, '\n');
}

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    if (a->at != b->at)
        return a->at < b->at;
    return a->due != b->due ? a->due < b->due : a->serial < b->serial;
}

static void heap_up(struct sim *sim, size_t i)
{
    for (; i > 0 && earlier(sim->events[i], sim->events[(i - 1) / 2]); i = (i - 1) / 2) {
        struct sim_event *e = sim->events[i];
        sim->events[i] = sim->events[(i - 1) / 2];
        sim->events[(i - 1) / 2] = e;
    }
}

static struct sim_event *heap_pop(struct sim *sim)
{
    struct sim_event *top = sim->events[0];
    sim->events[0] = sim->events[--sim->n_events];
    for (size_t i = 0, child; (child = 2 * i + 1) < sim->n_events; i = child) {
        if (child + 1 < sim->n_events && earlier(sim->events[child + 1], sim->events[child]))
            child++;
        if (!earlier(sim->events[child], sim->events[i]))
            break;
        struct sim_event *e = sim->events[i];
        sim->events[i] = sim->events[child];
        sim->events[child] = e;
    }
    return top;
}

static void heap_push(struct sim *sim, struct sim_event *e)
{
    if (sim->n_events == sim->cap_events) {
        sim->cap_events = sim->cap_events == 0 ? 256 : sim->cap_events * 2;
        sim->events = a_realloc(sim->events, sim->cap_events * sizeof(struct sim_event *));
    }
    sim->events[sim->n_events++] = e;
    heap_up(sim, sim->n_events - 1);
}

void sim_after(struct sim *sim, int owner, uint64_t delay_ms, sim_run_fn *run, const void *data, size_t size)
{
    struct sim_event *e = a_alloc(sizeof *e + size);
    e->at = e->due = sim->now + delay_ms;
    e->serial = ++sim->serial;
    e->run = run;
    e->owner = owner;
    if (size > 0)
        memcpy(e->data, data, size);
    heap_push(sim, e);
}

void sim_suspend(struct sim *sim, int owner, uint64_t ms)
{
    if (sim->suspended_ms[owner] <= sim->now)
        sim->suspended_since_ms[owner] = sim->now;
    sim->suspended_ms[owner] = A_MAX(sim->suspended_ms[owner], sim->now + ms);
}

/* A process that is suspended finds what came meanwhile in the order in which it came. */
static bool waits(struct sim *sim, struct sim_event *e)
{
    if (e->owner == OWNER_NONE || sim->suspended_ms[e->owner] <= sim->now)
        return false;
    e->at = sim->suspended_ms[e->owner];
    heap_push(sim, e);
    return true;
}

void sim_run(struct sim *sim, uint64_t until, bool (*done)(struct sim *sim))
{
    uint64_t asked = sim->now;
    while (sim->n_events > 0 && sim->events[0]->at <= until && !sim->failed) {
        struct sim_event *e = heap_pop(sim);
        sim->now = e->at;
        if (waits(sim, e))
            continue;
        e->run(sim, e->data);
        a_free(e);
        check_step(sim);
        if (done != NULL && sim->now >= asked + 1000) {
            asked = sim->now;
            if (done(sim))
                return;
        }
    }
    if (!sim->failed)
        sim->now = until;
}

void sim_init(struct sim *sim, uint64_t seed)
{
    memset(sim, 0, sizeof *sim);
    sim->seed = seed;
    a_random_init(&sim->net_random, seed * 4);
    a_random_init(&sim->fault_random, seed * 4 + 1);
    a_random_init(&sim->life_random, seed * 4 + 2);
    a_random_init(&sim->client_random, seed * 4 + 3);
    sim->cap_conns = 64;
    sim->conns = a_alloc_array(sim->cap_conns, sizeof *sim->conns);
    sim->n_conns = 1;
    for (int i = 0; i < SIM_RECORDS_MAX; i++)
        sim->server.records[i].app = -1;
    snprintf(sim->server.store_id.s, sizeof sim->server.store_id.s, "aaaaaaaa-0000-4000-8000-000000000000");
}

void sim_deinit(struct sim *sim)
{
    for (int g = 0; g < SIM_GATEWAYS; g++)
        gateway_stop(sim, g);
    if (sim->server.up)
        server_crash(sim, 0, false);
    for (int i = 0; i < sim->n_nodes; i++) {
        if (sim->nodes[i].agent_up)
            sl_node_deinit(&sim->nodes[i].core);
        disk_deinit(&sim->nodes[i].disk);
    }
    for (size_t i = 0; i < sim->n_events; i++)
        a_free(sim->events[i]);
    check_deinit(sim);
    a_free(sim->events);
    a_free(sim->conns);
    a_buf_deinit(&sim->trace);
}

int sim_add_node(struct sim *sim, const char *cluster, int host, uint64_t cpus)
{
    int i = sim->n_nodes++;
    struct node *n = &sim->nodes[i];
    const uint8_t bytes[16] = {(uint8_t)((i + 1) << 3)};
    a_node_id_make(bytes, &n->id);
    snprintf(n->cluster.s, sizeof n->cluster.s, "%s", cluster);
    snprintf(n->host, sizeof n->host, "host-%d", host);
    n->capacity = (struct a_capacity){cpus * 1000, cpus << 31, cpus << 34};
    return i;
}

int sim_add_app(struct sim *sim, uint32_t units, int workers)
{
    int i = sim->n_apps++;
    struct app *app = &sim->apps[i];
    snprintf(app->uid.s, sizeof app->uid.s, "017f22e2-79b0-4fff-bfff-00000000000%d", i);
    for (int m = 0; m <= workers; m++) {
        app->specs[m] =
            (struct unit_member_spec){.head = m == 0, .capacity = {1000, UINT64_C(1) << 31, 1 << 30}};
        snprintf(app->specs[m].name.s, sizeof app->specs[m].name.s, m == 0 ? "head" : "gpu-%d", m - 1);
    }
    for (int r = 0; r < SIM_REVISIONS; r++)
        app->revisions[r] = (struct unit_revision_info){.number = (uint64_t)r + 1,
                                                        .digest = {.bytes = {(uint8_t)(r + 1)}},
                                                        .replace = {.bytes = {(uint8_t)(r >= 4 ? 1 : r + 1)}},
                                                        .serve = {.bytes = {(uint8_t)(r + 1)}},
                                                        .members = app->specs,
                                                        .n_members = (size_t)workers + 1};
    app->desired = (struct unit_desired){
        .uid = app->uid,
        .generation = 1,
        .units = units,
        .revisions = app->revisions,
        .n_revisions = SIM_REVISIONS,
        .revision = 1,
        .rollout = {.max_surge = 1, .bake_ms = 5000, .progress_deadline_ms = 120000, .undo = true},
        .drain_ms = SIM_DRAIN_MS};
    snprintf(app->desired.app.namespace.s, sizeof app->desired.app.namespace.s, "default");
    snprintf(app->desired.app.name.s, sizeof app->desired.app.name.s, "app%d", i);
    return i;
}

void sim_start(struct sim *sim)
{
    server_boot(sim);
    for (int i = 0; i < sim->n_nodes; i++)
        node_boot(sim, i);
    for (int g = 0; g < SIM_GATEWAYS; g++)
        gateway_boot(sim, g);
}
