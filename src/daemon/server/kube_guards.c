/* What stands beside a pool's pods in its cluster: a NetworkPolicy (who may reach members) and a
 * PodDisruptionBudget (how many an eviction may take at once). Applied while this server owns the cluster,
 * again when what they say changes or they were refused, and deleted with the pool. A pool that grows has
 * many events: each only says that a look is due; a look makes the object, and writes it when it differs. */
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "daemon/server/kube.h"
#include "kube/manifests.h"
#include "sys/log.h"

#define PAUSE_MS 1000  /* between two looks at one: a pool that grows changes its budget often */
#define AGAIN_MS 30000 /* after a refusal */

static const struct guard_kind {
    const char *api, *resource; /* of its collection */
    struct wire_value *(*make)(struct a_arena *arena, const struct kube_agent_options *agent,
                               const struct kube_pool_spec *spec, uint32_t pods);
} kinds[D_KUBE_GUARDS] = {
    {"networking.k8s.io/v1", "networkpolicies", kube_network_policy_make},
    {"policy/v1", "poddisruptionbudgets", kube_disruption_budget_make},
};

static const struct guard_kind *kind_of(const struct d_kube_guard *g)
{
    return &kinds[g - g->pool->guards];
}

/* The object as it should be; empty when there should be none. */
static void text_make(const struct d_kube_guard *g, struct a_buf *ret)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct d_kube_pool *p = g->pool;
    uint32_t pods = kube_pool_status(p->core).pods;
    struct kube_agent_options options = d_kube_agent_options(d_kube_pool_cluster(p));
    if (!p->deleting || kube_pool_count(p->core) > 0)
        wire_json_print(ret, kind_of(g)->make(&arena, &options, &p->spec, pods), 0);
}

static void on_answer(void *ctx, const struct net_web_answer *a)
{
    struct d_kube_guard *g = ctx;
    A_ARENA_AUTO struct a_arena arena = {0};
    bool good = a->rc == 0 && (a->status / 100 == 2 || (g->sent == 0 && a->status == 404));
    /* What may not be deleted stays where it is: no reason for the pool to stay, too. */
    g->known = good || (g->sent == 0 && a->rc == 0 && a->status == 403);
    g->call = NULL;
    g->due = g->due || !good;
    g->applied = g->sent;
    if (!good)
        sys_log(WARN, "kube", "kube.guard", "a pool's object cannot be written",
                SYS_STR("pool", g->pool->spec.name.s), SYS_STR("why", d_kube_answer_why(&arena, a)));
    sys_timer_set_in(&g->timer, good ? PAUSE_MS : AGAIN_MS);
}

static void guard_look(void *ctx)
{
    struct d_kube_guard *g = ctx;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf text = {0};
    if (!g->due || g->call != NULL || g->pool->core == NULL || !d_kube_pool_is_owned(g->pool))
        return;
    g->due = false;
    text_make(g, &text);
    g->sent = text.len > 0 ? a_hash_bytes(0, text.ptr, text.len) | 1 : 0;
    if (g->known && g->sent == g->applied) {
        sys_timer_set_in(&g->timer, PAUSE_MS);
        return;
    }
    struct d_kube_cluster *c = d_kube_pool_cluster(g->pool);
    const char *path = a_arena_printf(&arena, "/apis/%s/namespaces/%s/%s/astra-%s", kind_of(g)->api,
                                      g->pool->spec.namespace, kind_of(g)->resource, g->pool->spec.name.s);
    const struct net_web_request gone = {.method = "DELETE", .path = path, .done = on_answer, .ctx = g};
    int rc = text.len > 0 ? d_kube_apply(c, path, a_buf_view(&text), on_answer, g, &g->call, NULL)
                          : net_web_send(c->web, &gone, &g->call, NULL);
    if (rc != 0) {
        g->due = true;
        sys_timer_set_in(&g->timer, AGAIN_MS);
    }
}

void d_kube_guards_start(struct d_kube_pool *p)
{
    for (size_t i = 0; i < D_KUBE_GUARDS; i++) {
        p->guards[i] = (struct d_kube_guard){.pool = p};
        sys_timer_init(&p->guards[i].timer, p->kube->s->loop, guard_look, &p->guards[i]);
    }
}

void d_kube_guards_look(struct d_kube_pool *p)
{
    for (size_t i = 0; i < D_KUBE_GUARDS; i++) {
        p->guards[i].due = true;
        if (!sys_timer_is_set(&p->guards[i].timer))
            guard_look(&p->guards[i]);
    }
}

bool d_kube_guards_are_gone(const struct d_kube_pool *p)
{
    for (size_t i = 0; i < D_KUBE_GUARDS; i++)
        if (!p->guards[i].known || p->guards[i].applied != 0)
            return false;
    return true;
}

void d_kube_guards_stop(struct d_kube_pool *p)
{
    for (size_t i = 0; i < D_KUBE_GUARDS; i++) {
        struct d_kube_guard *g = &p->guards[i];
        if (g->call != NULL)
            net_web_call_cancel(a_steal(&g->call));
        g->known = false; /* who owns the cluster next, or we again, must look */
        sys_timer_clear(&g->timer);
    }
}
