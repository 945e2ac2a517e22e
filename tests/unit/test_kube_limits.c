/* What pools of one cluster may have together: P9 of docs/components/kube.md. The driver's part is played
 * here: each pool is told what it may have right before its plan. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/heap.h"
#include "daemon/server/cluster_limits.h"
#include "daemon/server/kube.h"

#define POOLS 2

struct world {
    struct server s;
    struct d_kube kube;
    struct d_cluster_limits limits;
    struct d_kube_pool pools[POOLS];
    uint64_t now;
};

static void step(struct world *w, struct d_kube_pool *p, struct kube_pool_event e)
{
    struct kube_pool_update u;
    e.now_ms = w->now;
    kube_pool_step(p->core, &e, &u);
    for (size_t i = 0; i < u.n_actions; i++)
        assert_int_equal(u.actions[i].verb,
                         KUBE_POOL_CREATE); /* nobody answers: the names hold their places */
}

static void spec(struct world *w, struct d_kube_pool *p, struct a_buf *why)
{
    struct kube_pool_event e = {.type = KUBE_POOL_SPEC};
    e.spec.max = d_kube_pool_may(p, why);
    e.spec.template = A_VIEW_LIT("t1");
    step(w, p, e);
}

static void plan(struct world *w, struct d_kube_pool *p)
{
    A_BUF_AUTO struct a_buf why = {0};
    spec(w, p, &why);
    if (kube_pool_deadline(p->core) <= w->now)
        step(w, p, (struct kube_pool_event){.type = KUBE_POOL_TICK});
}

static struct a_name named(const char *text)
{
    struct a_name name;
    assert_true(a_name_parse(a_view_str(text), &name));
    return name;
}

static int setup(void **state)
{
    static struct world w;
    w = (struct world){.now = 100000, .limits = {.name = named("east"), .limits = {.mcpu = 25000}}};
    w.s.kube = &w.kube;
    w.kube.s = &w.s;
    a_map_put_str(&w.s.cluster_limits, &w.limits.link, w.limits.name.s);
    for (int i = 0; i < POOLS; i++) {
        struct d_kube_pool *p = &w.pools[i];
        p->kube = &w.kube;
        p->spec = (struct kube_pool_spec){.cluster = named("east"), .max = 10, .mcpu = i == 0 ? 4000 : 3000};
        p->spec.name = named(i == 0 ? "a" : "b");
        p->largest = d_kube_shape_of(&p->spec);
        p->core = kube_pool_new(
            &(struct kube_pool_options){.pool = p->spec.name.s, .installation = "i", .seed = 3});
        a_map_put_str(&w.kube.pools, &p->link, p->spec.name.s);
    }
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < POOLS; i++)
        kube_pool_free(w->pools[i].core);
    a_map_deinit(&w->kube.pools);
    a_map_deinit(&w->s.cluster_limits);
    return 0;
}

static uint64_t mcpu(const struct world *w)
{
    return 4000ull * kube_pool_held(w->pools[0].core) + 3000ull * kube_pool_held(w->pools[1].core);
}

static void test_two_pools_grow_at_once(void **state)
{
    struct world *w = *state;
    A_BUF_AUTO struct a_buf why = {0};
    for (int i = 0; i < POOLS; i++) {
        spec(w, &w->pools[i], &why);
        step(w, &w->pools[i], (struct kube_pool_event){.type = KUBE_POOL_DEMAND, .demand = 8});
    }
    step(w, &w->pools[0], (struct kube_pool_event){.type = KUBE_POOL_SYNCED});
    plan(w, &w->pools[0]);
    assert_int_equal(mcpu(w), 0); /* what b has is not known yet */
    step(w, &w->pools[1], (struct kube_pool_event){.type = KUBE_POOL_SYNCED});
    for (int round = 0; round < 50; round++, w->now += 200) {
        plan(w, &w->pools[round % POOLS]);
        assert_true(mcpu(w) <= 25000);
    }
    assert_true(mcpu(w) > 25000 - 4000);
    a_buf_reset(&why);
    d_kube_limits_say(&w->s, &why);
    assert_non_null(strstr(why.ptr, "; pool a cannot grow: max-cpu of east is 25, its pods have 2"));
}

/* While larger pods of a template before are replaced, each counts as the largest. */
static void test_a_smaller_template(void **state)
{
    struct world *w = *state;
    struct d_kube_pool *p = &w->pools[0];
    A_BUF_AUTO struct a_buf why = {0};
    p->spec.mcpu = 1000;
    struct d_kube_shape shape = d_kube_shape_of(&p->spec);
    d_kube_shape_grow(&p->largest, &shape);
    for (int i = 0; i < POOLS; i++)
        step(w, &w->pools[i], (struct kube_pool_event){.type = KUBE_POOL_SYNCED});
    assert_int_equal(d_kube_pool_may(p, &why), 6);
    p->largest = shape;
    assert_int_equal(d_kube_pool_may(p, &why), 10);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(test_two_pools_grow_at_once), TEST(test_a_smaller_template)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
