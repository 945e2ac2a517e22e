/* Many seeds, each a world: pods come up, fail, are evicted; strangers and operators interfere; the API
 * server fails in every way. Once all that has stopped, the cache must be the truth, and the pool what was
 * asked for.
 *
 *   sim_kube [--seeds N] [--seed S] [--jobs J] [--all]     searches (search.h) */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/heap.h"
#include "sim/kube/world.h"
#include "sim/search.h"

#define CHAOS_MS 180000
#define HEAL_MS (60 * 60 * 1000)

void fail(struct world *w, const char *fmt, ...)
{
    va_list args;
    if (w->failed)
        return;
    va_start(args, fmt);
    vsnprintf(w->failure, sizeof w->failure, fmt, args);
    va_end(args);
    w->failed = true;
}

void trace(struct world *w, const char *fmt, ...)
{
    va_list args;
    if (!w->tracing)
        return;
    printf("%8" PRIu64 " ", w->now);
    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);
    printf("\n");
}

bool chance(struct world *w, double p)
{
    return !w->healed && a_random_unit(&w->random) < p;
}

uint64_t between(struct world *w, uint64_t low, uint64_t high)
{
    return low + a_random_below(&w->random, high - low + 1);
}

struct event *after(struct world *w, uint64_t ms, enum what what)
{
    if (w->n_events == EVENTS_MAX) {
        fail(w, "too much is under way");
        w->n_events--;
    }
    struct event *e = &w->events[w->n_events++];
    *e = (struct event){.at = w->now + ms, .serial = ++w->serial, .what = what};
    return e;
}

/* ---- pods and people ---- */

static void pod_up(struct world *w, struct pod *p)
{
    if (chance(w, 0.08)) {
        p->failed = true;
    } else {
        p->ready = p->joined = true;
    }
    pod_changed(w, p, "MODIFIED");
    node_tell(w, p);
}

/* What Starlink does with a node: claims come with demand, and go when it is drained or their app is done. */
static void pod_works(struct world *w, struct pod *p)
{
    uint32_t before = p->claims;
    if (p->draining || (p->claims > 0 && chance(w, 0.2)))
        p->claims = 0;
    else if (w->demand > 0 && p->claims == 0 && !p->left) {
        p->claims = 1;
        w->demand--;
        pool_event(w, (struct kube_pool_event){.type = KUBE_POOL_DEMAND, .demand = w->demand});
    }
    if (before != p->claims)
        node_tell(w, p);
}

static void pod_lives(struct world *w, int i)
{
    struct pod *p = &w->pods[i];
    if (!p->exists)
        return;
    if (p->ending) {
        p->exists = false;
        pod_changed(w, p, "DELETED");
        node_tell(w, p);
        return;
    }
    if (!p->placed && !chance(w, 0.2)) {
        p->placed = true;
        pod_changed(w, p, "MODIFIED");
    } else if (p->placed && !p->joined && !p->failed) {
        pod_up(w, p);
    } else if (p->joined && p->ours) {
        pod_works(w, p);
    }
    after(w, between(w, 500, 6000), DO_LIFE)->pod = i;
}

static struct pod *pod_any(struct world *w)
{
    for (int tries = 0; tries < 20 && w->n_pods > 0; tries++) {
        struct pod *p = &w->pods[between(w, w->n_pods > 40 ? w->n_pods - 40 : 0, (uint64_t)w->n_pods - 1)];
        if (p->exists)
            return p;
    }
    return NULL;
}

static void limits_change(struct world *w)
{
    uint32_t max = (uint32_t)between(w, 0, 14);
    if (max < w->max) {
        w->highest_max = w->now < w->max_lowered_at + SETTLED_MS ? A_MAX(w->highest_max, w->max) : w->max;
        w->max_lowered_at = w->now;
    }
    w->max = max;
    w->highest_max = A_MAX(w->highest_max, max);
    w->min = (uint32_t)between(w, 0, max);
    if (chance(w, 0.3))
        snprintf(w->template, sizeof w->template, "t%" PRIu64, between(w, 1, 9));
    trace(w, "spec: min %u, max %u, %s", w->min, w->max, w->template);
    pool_spec_tell(w);
}

static void somebody_acts(struct world *w)
{
    struct pod *p = pod_any(w);
    char name[32];
    switch (between(w, 0, 7)) {
    case 0: /* a stranger deletes it, or it is evicted */
        if (p != NULL && !p->ending) {
            p->ending = true;
            pod_changed(w, p, "MODIFIED");
            after(w, between(w, 1, 8000), DO_LIFE)->pod = (int)(p - w->pods);
        }
        break;
    case 1: /* at once: --grace-period=0 --force */
        if (p != NULL) {
            p->exists = false;
            pod_changed(w, p, "DELETED");
            node_tell(w, p);
        }
        break;
    case 2:
        snprintf(name, sizeof name, "stranger-%d", w->n_pods);
        (void)pod_make(w, name, false);
        break;
    case 3:
        if (p != NULL)
            pod_changed(w, p, "MODIFIED"); /* an annotation */
        break;
    case 4:
        if (p != NULL && p->joined) {
            p->left = !p->left;
            node_tell(w, p);
        }
        break;
    case 5:
        limits_change(w);
        break;
    default:
        w->demand = (uint32_t)between(w, 0, 6);
        pool_event(w, (struct kube_pool_event){.type = KUBE_POOL_DEMAND, .demand = w->demand});
    }
    if (!w->healed)
        after(w, between(w, 50, 5000), DO_CHAOS);
}

/* ---- time ---- */

static void answer_take(struct world *w, const struct event *e)
{
    struct kube_pool_event r = {.type = KUBE_POOL_RESULT};
    r.result.verb = e->verb;
    r.result.name = a_view_str(e->text);
    r.result.status = e->status;
    pool_event(w, r);
}

static void event_run(struct world *w, struct event *e)
{
    switch (e->what) {
    case DO_LIST:
        server_list(w, e);
        return;
    case DO_WATCH:
        server_watch(w, e);
        return;
    case DO_PUMP:
        server_pump(w, e);
        return;
    case DO_CREATE:
        server_create(w, e);
        return;
    case DO_DELETE:
        server_delete(w, e);
        return;
    case DO_ANSWER:
        answer_take(w, e);
        return;
    case DO_WATCH_EVENT:
        watch_event(w, (struct kube_watch_event){.type = e->type,
                                                 .request = e->number,
                                                 .status = e->status,
                                                 .retry_after_ms = e->retry_after_ms,
                                                 .text = a_view_str(e->page)});
        return;
    case DO_LIFE:
        pod_lives(w, e->pod);
        return;
    case DO_CHAOS:
        if (!w->healed)
            somebody_acts(w);
    }
}

static int event_first(const struct world *w)
{
    int first = -1;
    for (int i = 0; i < w->n_events; i++) {
        const struct event *e = &w->events[i], *f = first >= 0 ? &w->events[first] : NULL;
        if (f == NULL || e->at < f->at || (e->at == f->at && e->serial < f->serial))
            first = i;
    }
    return first;
}

static void run(struct world *w, uint64_t until)
{
    while (!w->failed) {
        int first = event_first(w);
        uint64_t at = first >= 0 ? w->events[first].at : A_NEVER;
        uint64_t watch = A_MAX(kube_watch_deadline(w->watch), w->now),
                 pool = A_MAX(kube_pool_deadline(w->pool), w->now);
        uint64_t next = A_MIN(at, A_MIN(watch, pool));
        if (next > until)
            break;
        w->now = next;
        if (next == at) {
            struct event e = w->events[first];
            w->events[first] = w->events[--w->n_events];
            event_run(w, &e);
            a_free(e.page);
        } else if (next == watch) {
            watch_event(w, (struct kube_watch_event){.type = KUBE_WATCH_TICK});
        } else {
            pool_event(w, (struct kube_pool_event){.type = KUBE_POOL_TICK});
        }
    }
    if (!w->failed)
        w->now = until;
}

/* ---- the end ---- */

static void cache_check(struct world *w)
{
    size_t there = 0;
    if (!kube_watch_is_synced(w->watch))
        fail(w, "K4: the watch has not come back");
    for (int i = 0; i < w->n_pods; i++) {
        struct pod *p = &w->pods[i];
        there += p->exists;
        if (p->exists && (!p->seen || p->seen_version != p->version))
            fail(w, "K4: %s is at %" PRIu64 ", the cache at %" PRIu64, p->name, p->version, p->seen_version);
    }
    if (there != kube_watch_count(w->watch))
        fail(w, "K2: %zu rows of %zu pods", kube_watch_count(w->watch), there);
}

static void pool_check(struct world *w)
{
    uint32_t pods = 0, busy = 0;
    for (int i = 0; i < w->n_pods; i++) {
        struct pod *p = &w->pods[i];
        if (!p->exists || !p->ours)
            continue;
        pods++;
        busy += p->claims > 0;
        if (!p->joined || p->failed || p->ending || p->draining)
            fail(w, "P6: %s is no capacity, long after", p->name);
        if (strcmp(p->template, w->template) != 0)
            fail(w, "%s is of an old template, long after", p->name);
    }
    if (pods != A_MAX(w->min, busy))
        fail(w, "%u pods, %u busy, at least %u wanted", pods, busy, w->min);
    if (!kube_pool_conditions(w->pool)[KUBE_CONDITION_READY].status)
        fail(w, "the pool is not Ready, long after");
}

static void world_heal(struct world *w)
{
    w->healed = true;
    w->demand = 0;
    pool_event(w, (struct kube_pool_event){.type = KUBE_POOL_DEMAND});
    for (int i = 0; i < w->n_pods; i++) {
        struct pod *p = &w->pods[i];
        if (!p->left)
            continue;
        p->left = false;
        node_tell(w, p);
    }
}

static void state_trace(struct world *w)
{
    struct kube_pool_status st = kube_pool_status(w->pool);
    for (int i = 0; i < w->n_pods; i++) {
        const struct pod *p = &w->pods[i];
        if (p->exists)
            trace(w, "%s %s%s%s%s%s%s%u claims", p->name, p->template, p->placed ? "" : ", waits",
                  p->failed ? ", failed" : "", p->joined ? ", joined" : "", p->draining ? ", draining" : "",
                  p->ending ? ", ends, " : ", ", p->claims);
    }
    trace(w, "min %u, max %u, %s: %u pods, %u joined, %u free, %u on the way, %u draining, %u outdated",
          w->min, w->max, w->template, st.pods, st.joined, st.free, st.coming, st.draining, st.outdated);
}

static void world_live(struct world *w, uint64_t seed, bool tracing)
{
    w->seed = seed;
    w->tracing = tracing;
    w->now = 1000;
    w->stale = true;
    a_random_init(&w->random, seed);
    snprintf(w->template, sizeof w->template, "t0");
    w->watch = kube_watch_new(&(struct kube_watch_options){.kind = &kube_kind_pod, .seed = seed});
    w->pool = kube_pool_new(&(struct kube_pool_options){.pool = POOL, .installation = OURS, .seed = seed});
    limits_change(w);
    after(w, 500, DO_CHAOS);
    run(w, CHAOS_MS);
    world_heal(w);
    run(w, CHAOS_MS + HEAL_MS);
    state_trace(w);
    if (!w->failed)
        cache_check(w);
    if (!w->failed)
        pool_check(w);
}

static void world_free(struct world *w)
{
    for (size_t i = 0; i < w->n_log; i++)
        a_free(w->log[i].line);
    for (int i = 0; i < w->n_snapshot; i++)
        a_free(w->snapshot[i]);
    for (int i = 0; i < w->n_events; i++)
        a_free(w->events[i].page);
    a_free(w->log);
    kube_lines_deinit(&w->lines);
    kube_watch_free(w->watch);
    kube_pool_free(w->pool);
}

static void search_one(uint64_t seed, bool tracing, struct search_world *ret)
{
    struct world *w = a_new(struct world);
    world_live(w, seed, tracing);
    memcpy(ret->counts, w->counts, sizeof w->counts);
    ret->failed = w->failed;
    ret->at_ms = w->now;
    memcpy(ret->failure, w->failure, sizeof w->failure);
    world_free(w);
    a_free(w);
}

int main(int argc, char **argv)
{
    static const char *const names[] = {"lists",   "watches", "pods made",    "deleted",
                                        "drained", "expired", "answers lost", "times stale"};
    static const struct search_kind kind = {.usage = "sim_kube [--seeds N] [--seed S] [--jobs J] [--all]",
                                            .again = "sim_kube --seeds 1 --seed ",
                                            .names = names,
                                            .n_counts = A_ARRAY_SIZE(names),
                                            .live = search_one};
    return search_main(&kind, argc, argv);
}
