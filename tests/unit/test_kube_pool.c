/* The pool reconciler against docs/components/kube.md: each P by its number. Pods pass through a real watch
 * core. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/heap.h"
#include "kube/pool.h"

#define ACTIONS 256

struct action {
    enum kube_pool_verb verb;
    char name[64], uid[64];
};

struct world {
    struct kube_pool *pool;
    struct kube_watch *watch;
    uint64_t now;
    struct action actions[ACTIONS];
    size_t n;
    const char *template;
};

static void step(struct world *w, struct kube_pool_event e)
{
    struct kube_pool_update u;
    e.now_ms = w->now;
    kube_pool_step(w->pool, &e, &u);
    for (size_t i = 0; i < u.n_actions; i++) {
        struct action *a = &w->actions[w->n++];
        assert_true(w->n < ACTIONS);
        a->verb = u.actions[i].verb;
        snprintf(a->name, sizeof a->name, "%s", u.actions[i].name);
        snprintf(a->uid, sizeof a->uid, "%s", u.actions[i].uid != NULL ? u.actions[i].uid : "");
    }
}

/* Time passes, and every deadline is met; what was asked for lies in w->actions. */
static void run(struct world *w, uint64_t ms)
{
    uint64_t until = w->now + ms;
    w->n = 0;
    while (kube_pool_deadline(w->pool) <= until) {
        w->now = A_MAX(w->now, kube_pool_deadline(w->pool));
        step(w, (struct kube_pool_event){.type = KUBE_POOL_TICK});
    }
    w->now = until;
}

static void watch_step(struct world *w, struct kube_watch_event e, struct kube_watch_update *u)
{
    static uint64_t request;
    e.request = request;
    kube_watch_step(w->watch, &e, u);
    if (u->ask != KUBE_ASK_NOTHING)
        request = u->request;
}

static void spec(struct world *w, uint32_t min, uint32_t max)
{
    struct kube_pool_event e = {.type = KUBE_POOL_SPEC};
    e.spec.min = min;
    e.spec.max = max;
    e.spec.grace_ms = 60000;
    e.spec.template = a_view_str(w->template);
    step(w, e);
}

static int setup(void **state)
{
    static struct world w;
    struct kube_watch_update u;
    w = (struct world){.now = 100000, .template = "t1"};
    w.pool = kube_pool_new(&(struct kube_pool_options){.pool = "gpu", .installation = "i1", .seed = 3});
    w.watch = kube_watch_new(&(struct kube_watch_options){.kind = &kube_kind_pod, .seed = 3});
    watch_step(&w, (struct kube_watch_event){.type = KUBE_WATCH_TICK}, &u);
    watch_step(&w,
               (struct kube_watch_event){
                   .type = KUBE_WATCH_PAGE,
                   .text = a_view_str("{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}")},
               &u);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    kube_pool_free(w->pool);
    kube_watch_free(w->watch);
    return 0;
}

/* A line of the watch about a pod, in its state: "pending", "placed", "ready", "failed", "ending" or "gone".
 */
static void pod_of(struct world *w, const char *name, const char *uid, const char *how,
                   const char *installation)
{
    static int version = 1;
    char text[2000];
    struct kube_watch_update u;
    bool placed = strcmp(how, "pending") != 0, ready = strcmp(how, "ready") == 0;
    snprintf(text, sizeof text,
             "{\"type\":\"%s\",\"object\":{\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\",\"uid\":\"%s\","
             "\"resourceVersion\":\"%d\",\"labels\":{\"astra-ray.dev/pool\":\"gpu\",\"astra-ray.dev/"
             "template\":\"%s\","
             "\"astra-ray.dev/"
             "installation\":\"%s\"}%s},\"spec\":{%s},\"status\":{\"phase\":\"%s\",\"conditions\":[{\"type\":"
             "\"Ready\",\"status\":\"%s\"}]}}}",
             strcmp(how, "gone") == 0 ? "DELETED" : "MODIFIED", name, uid, ++version, w->template,
             installation,
             strcmp(how, "ending") == 0 ? ",\"deletionTimestamp\":\"2026-08-01T00:00:10Z\"" : "",
             placed ? "\"nodeName\":\"n1\"" : "",
             strcmp(how, "failed") == 0 ? "Failed"
             : placed                   ? "Running"
                                        : "Pending",
             ready ? "True" : "False");
    watch_step(w, (struct kube_watch_event){.type = KUBE_WATCH_LINE, .text = a_view_str(text)}, &u);
    for (size_t i = 0; i < u.n_changes; i++)
        step(w, (struct kube_pool_event){.type = u.changes[i].type == KUBE_ROW_GONE ? KUBE_POOL_GONE
                                                                                    : KUBE_POOL_POD,
                                         .row = u.changes[i].row});
}

static void pod(struct world *w, const char *name, const char *how)
{
    char uid[80];
    snprintf(uid, sizeof uid, "u-%s", name);
    pod_of(w, name, uid, how, "i1");
}

static void node(struct world *w, const char *name, enum kube_node_state state, uint32_t claims)
{
    char uid[80];
    struct kube_pool_event e = {.type = KUBE_POOL_NODE};
    snprintf(uid, sizeof uid, "u-%s", name);
    e.node.pod_uid = a_view_str(uid);
    e.node.state = state;
    e.node.claims = claims;
    step(w, e);
}

static void demand(struct world *w, uint32_t n)
{
    step(w, (struct kube_pool_event){.type = KUBE_POOL_DEMAND, .demand = n});
}

static void answer(struct world *w, enum kube_pool_verb verb, const char *name, int status,
                   const char *message)
{
    struct kube_pool_event e = {.type = KUBE_POOL_RESULT};
    e.result.verb = verb;
    e.result.name = a_view_str(name);
    e.result.status = status;
    e.result.message = a_view_str(message);
    step(w, e);
}

static size_t count(const struct world *w, enum kube_pool_verb verb)
{
    size_t n = 0;
    for (size_t i = 0; i < w->n; i++)
        n += w->actions[i].verb == verb;
    return n;
}

static void synced(struct world *w)
{
    step(w, (struct kube_pool_event){.type = KUBE_POOL_SYNCED});
}

static void up(struct world *w, const char *name, uint32_t claims)
{
    pod(w, name, "ready");
    node(w, name, KUBE_NODE_JOINED, claims);
}

/* A pool of `n` pods p0, p1, ... that have joined. */
static void joined(struct world *w, int n, uint32_t min, uint32_t max, uint32_t claims)
{
    spec(w, min, max);
    for (int i = 0; i < n; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        up(w, name, claims);
    }
    synced(w);
    run(w, 1000);
    assert_int_equal(w->n, 0);
}

/* The one pod that a pool of min 1 asks for first. */
static void first_asked(struct world *w, char *name)
{
    spec(w, 1, 1);
    synced(w);
    run(w, 1000);
    assert_int_equal(w->n, 1);
    strcpy(name, w->actions[0].name);
}

/* All that was asked for comes and joins. */
static void all_join(struct world *w)
{
    size_t n = w->n;
    struct action made[ACTIONS];
    memcpy(made, w->actions, sizeof made);
    for (size_t i = 0; i < n; i++)
        answer(w, KUBE_POOL_CREATE, made[i].name, 201, "");
    for (size_t i = 0; i < n; i++)
        up(w, made[i].name, 0);
}

static void test_create(void **state)
{
    struct world *w = *state;
    spec(w, 3, 5);
    run(w, 60000);
    assert_int_equal(w->n, 0); /* before the first whole list it is not known what there is */
    synced(w);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 3);
    assert_int_equal(strncmp(w->actions[0].name, "gpu-", 4), 0);
    all_join(w);
    run(w, 1000);
    assert_int_equal(w->n, 0);
    assert_true(kube_pool_conditions(w->pool)[KUBE_CONDITION_READY].status);
    demand(w, 9);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 2); /* P1: max */
    assert_true(kube_pool_conditions(w->pool)[KUBE_CONDITION_AT_MAXIMUM].status);
}

/* P1: what a lost answer leaves open is asked for again under the same name, and its place stays taken. */
static void test_lost_answer(void **state)
{
    struct world *w = *state;
    char name[64];
    first_asked(w, name);
    answer(w, KUBE_POOL_CREATE, name, 0, "");
    run(w, 5000);
    assert_int_equal(w->n, 1);
    assert_string_equal(w->actions[0].name, name);
    answer(w, KUBE_POOL_CREATE, name, 403, "no"); /* the first may be carried out all the same */
    run(w, 60000);
    assert_int_equal(w->n, 0);
    pod(w, name, "pending");
    pod(w, name, "gone"); /* a stranger; and the lost request may come yet */
    run(w, 1000);
    for (size_t i = 0; i < w->n; i++)
        assert_string_equal(w->actions[i].name, name);
    assert_int_equal(kube_pool_count(w->pool), 1);
}

static void test_shown(void **state)
{
    struct world *w = *state;
    char name[64];
    first_asked(w, name);
    answer(w, KUBE_POOL_CREATE, name, 201, "");
    run(w, 59000);
    assert_int_equal(w->n, 0);
    run(w, 2000); /* it was taken away before anybody saw it */
    assert_int_equal(count(w, KUBE_POOL_CREATE), 1);
    assert_string_equal(w->actions[0].name, name);
}

/* P1: what was made and does not show is not forgotten because it is refused now. */
static void test_shown_refused(void **state)
{
    struct world *w = *state;
    char name[64];
    first_asked(w, name);
    answer(w, KUBE_POOL_CREATE, name, 201, "");
    run(w, 61000);
    answer(w, KUBE_POOL_CREATE, name, 403, "exceeded quota");
    run(w, 600000);
    assert_int_equal(kube_pool_count(w->pool), 1);
    assert_string_equal(w->actions[0].name, name);
}

/* P2, P4: quiet for a minute, then drained one in ten, and deleted when empty. */
static void test_shrink(void **state)
{
    struct world *w = *state;
    char name[64];
    joined(w, 4, 1, 10, 0);
    node(w, "p0", KUBE_NODE_JOINED, 2); /* busy */
    demand(w, 1);
    demand(w, 0);
    run(w, 59000);
    assert_int_equal(count(w, KUBE_POOL_DRAIN), 0);
    run(w, 2000);
    assert_int_equal(count(w, KUBE_POOL_DRAIN), 1);
    strcpy(name, w->actions[w->n - 1].name);
    assert_string_not_equal(name, "p0");
    node(w, name, KUBE_NODE_DRAINING, 0);
    run(w, 60000);
    assert_int_equal(w->n, 0); /* nothing before DRAINED */
    node(w, name, KUBE_NODE_DRAINED, 0);
    run(w, 500);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 1);
    assert_string_equal(w->actions[0].name, name);
    assert_string_equal(w->actions[0].uid + 2, name);
    answer(w, KUBE_POOL_DELETE, name, 200, "");
    pod(w, name, "ending");
    pod(w, name, "gone");
    run(w, 500);
    assert_int_equal(count(w, KUBE_POOL_DRAIN), 1); /* the next */
}

/* A pool whose demand comes back keeps what it was about to drop. */
static void test_keep(void **state)
{
    struct world *w = *state;
    joined(w, 2, 1, 2, 0);
    run(w, 70000);
    assert_int_equal(count(w, KUBE_POOL_DRAIN), 1);
    demand(w, 1);
    run(w, 500);
    assert_int_equal(count(w, KUBE_POOL_KEEP), 1);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 0);
}

/* P2: nothing certain is known, so nothing is done, however many there are. */
static void test_unknown(void **state)
{
    struct world *w = *state;
    spec(w, 0, 10);
    for (int i = 0; i < 3; i++) {
        char name[8];
        snprintf(name, sizeof name, "p%d", i);
        pod(w, name, "ready"); /* joined once: Starlink has not told of it yet */
    }
    up(w, "left", 0);
    node(w, "left", KUBE_NODE_LEFT, 0);
    synced(w);
    run(w, 3600000);
    assert_int_equal(w->n, 0);
}

/* max below what there is: busy nodes are emptied, too; one in ten. */
static void test_max_lowered(void **state)
{
    struct world *w = *state;
    joined(w, 20, 0, 20, 1);
    spec(w, 0, 15);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_DRAIN), 2);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 0);
}

/* P3: pods of others are none of ours, whatever they are called. */
static void test_strangers(void **state)
{
    struct world *w = *state;
    pod_of(w, "gpu-xxxxx", "u-1", "ready", "i2");
    spec(w, 0, 0);
    synced(w);
    run(w, 100000);
    assert_int_equal(w->n, 0);
    assert_int_equal(kube_pool_count(w->pool), 0);
}

/* P4: so many on the way at once, fewer after failures. */
static void test_pace(void **state)
{
    struct world *w = *state;
    spec(w, 50, 200);
    synced(w);
    run(w, 10000);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 20); /* a tenth of max */
    struct action first[20];
    memcpy(first, w->actions, sizeof first);
    for (int i = 0; i < 20; i++)
        answer(w, KUBE_POOL_CREATE, first[i].name, 403, "pods \"x\" is forbidden: exceeded quota: gpus");
    run(w, 600000);
    assert_in_range(count(w, KUBE_POOL_CREATE), 1, 1); /* unanswered: one is on the way */
    for (int i = 0; i < 10; i++) {
        if (count(w, KUBE_POOL_CREATE) > 0)
            answer(w, KUBE_POOL_CREATE, w->actions[0].name, 403, "exceeded quota: gpus");
        run(w, 30000);
        assert_in_range(count(w, KUBE_POOL_CREATE), 0, 1);
    }
    assert_true(kube_pool_conditions(w->pool)[KUBE_CONDITION_QUOTA_EXCEEDED].status);
}

/* P5: stale. */
static void test_stale(void **state)
{
    struct world *w = *state;
    joined(w, 3, 1, 10, 0);
    pod(w, "p2", "failed");
    step(w, (struct kube_pool_event){.type = KUBE_POOL_STALE, .reason = a_view_str("the connection failed")});
    run(w, 600000);
    assert_int_equal(w->n, 0);
    assert_true(kube_pool_conditions(w->pool)[KUBE_CONDITION_STALE].status);
    spec(w, 5, 10);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 3);
    synced(w);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 1);
}

/* P6: a pod that ends is no capacity. */
static void test_ending(void **state)
{
    struct world *w = *state;
    joined(w, 2, 2, 2, 1);
    pod(w, "p0", "ending");
    run(w, 200);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 1);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 0);
}

static void test_never_joined(void **state)
{
    struct world *w = *state;
    spec(w, 1, 3);
    pod(w, "p0", "placed");
    synced(w);
    run(w, 599000);
    assert_int_equal(w->n, 0);
    run(w, 3000);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 1);
}

/* A new template: one comes, then one goes; never fewer than min. */
static void test_roll(void **state)
{
    struct world *w = *state;
    joined(w, 3, 3, 5, 1);
    w->template = "t2";
    spec(w, 3, 5);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 1);
    assert_int_equal(count(w, KUBE_POOL_DRAIN), 0);
    all_join(w);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_DRAIN), 1);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 0);
}

/* The same when nothing else is wanted and it has long been quiet. */
static void test_roll_at_rest(void **state)
{
    struct world *w = *state;
    joined(w, 3, 3, 5, 0);
    run(w, 120000);
    w->template = "t2";
    spec(w, 3, 5);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 1);
}

/* P2: it was let go while it waited for a node; it joined before that was done, and the request was lost. */
static void test_joined_while_let_go(void **state)
{
    struct world *w = *state;
    spec(w, 0, 2);
    pod(w, "p0", "pending");
    synced(w);
    run(w, 70000);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 1);
    node(w, "p0", KUBE_NODE_JOINED, 1);
    answer(w, KUBE_POOL_DELETE, "p0", 0, "");
    run(w, 600000);
    assert_int_equal(w->n, 0);
}

/* What was drained and asked to go is asked again when its answer was lost, and not before the watch is
 * fresh. */
static void test_delete_again(void **state)
{
    struct world *w = *state;
    joined(w, 1, 0, 1, 0);
    run(w, 70000);
    node(w, "p0", KUBE_NODE_DRAINED, 0);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 1);
    answer(w, KUBE_POOL_DELETE, "p0", 0, "");
    run(w, 3000);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 1);
    answer(w, KUBE_POOL_DELETE, "p0", 202, "");
    run(w, 50000);
    assert_int_equal(w->n, 0);
    run(w, 20000);
    assert_int_equal(count(w, KUBE_POOL_DELETE), 1);
}

static void spec_of(struct world *w, uint32_t min, uint32_t max, uint32_t headroom, const char *limit)
{
    struct kube_pool_event e = {.type = KUBE_POOL_SPEC};
    e.spec.min = min;
    e.spec.max = max;
    e.spec.headroom = headroom;
    e.spec.limit = a_view_str(limit);
    e.spec.grace_ms = 60000;
    e.spec.template = a_view_str(w->template);
    step(w, e);
}

/* P8: so many empty ones beside the busy, kept when it is quiet, and made before they are asked for. */
static void test_headroom(void **state)
{
    struct world *w = *state;
    joined(w, 2, 0, 10, 1);
    spec_of(w, 0, 10, 2, "");
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 2);
    char name[64];
    strcpy(name, w->actions[0].name);
    all_join(w);
    run(w, 120000);
    assert_int_equal(w->n, 0); /* P4: quiet for long, and still wanted */
    node(w, name, KUBE_NODE_JOINED, 1);
    run(w, 1000);
    assert_int_equal(count(w, KUBE_POOL_CREATE), 1);
    answer(w, KUBE_POOL_CREATE, w->actions[0].name, 409, "");
    demand(w, 3); /* what waits takes the free ones, too: 3 and 2 more */
    run(w, 40000);
    demand(w, 0);
    assert_int_equal(kube_pool_held(w->pool), 4 + 5);
}

/* P9: a limit makes max smaller and says so; what runs is not drained for it. */
static void test_limited(void **state)
{
    struct world *w = *state;
    joined(w, 3, 0, 10, 1);
    spec_of(w, 0, 3, 0, "max-cpu of east is 12, its pods have 12");
    demand(w, 2);
    run(w, 1000);
    assert_int_equal(w->n, 0);
    const struct kube_pool_condition *c = &kube_pool_conditions(w->pool)[KUBE_CONDITION_AT_MAXIMUM];
    assert_true(c->status);
    assert_string_equal(c->reason, "ClusterLimit");
    assert_non_null(strstr(c->message, "3 of at most 3 pods: max-cpu of east"));
    pod(w, "p0", "ending"); /* P6: no capacity, and nothing of it can come again */
    assert_int_equal(kube_pool_held(w->pool), 2);
}

/* Counts are those that a plan leaves, not those with which it began; of many pods the next one comes later.
 */
static void test_plans(void **state)
{
    struct world *w = *state;
    joined(w, 20, 20, 40, 1);
    assert_int_equal(kube_pool_status(w->pool).joined, 20);
    demand(w, 1);
    w->now = A_MAX(w->now, kube_pool_deadline(w->pool));
    step(w, (struct kube_pool_event){.type = KUBE_POOL_TICK});
    assert_int_equal(kube_pool_status(w->pool).pods, 21);
    assert_int_equal(kube_pool_status(w->pool).coming, 1);
    demand(w, 2);
    assert_int_equal(kube_pool_deadline(w->pool), w->now + 100 + 21 / 10);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_create),       TEST(test_lost_answer),
        TEST(test_shown),        TEST(test_shrink),
        TEST(test_keep),         TEST(test_unknown),
        TEST(test_max_lowered),  TEST(test_strangers),
        TEST(test_pace),         TEST(test_stale),
        TEST(test_ending),       TEST(test_never_joined),
        TEST(test_roll),         TEST(test_shown_refused),
        TEST(test_roll_at_rest), TEST(test_joined_while_let_go),
        TEST(test_delete_again), TEST(test_headroom),
        TEST(test_limited),      TEST(test_plans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
