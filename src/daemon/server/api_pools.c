/* Pools of pods. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"
#include "daemon/server/kube.h"

static struct wire_value *conditions_json(const struct api_call *c, const struct d_kube_pool *p)
{
    struct wire_value *list = wire_value_new_array(c->arena);
    const struct kube_pool_condition *k = p->core != NULL ? kube_pool_conditions(p->core) : NULL;
    for (int i = 0; k != NULL && i < KUBE_CONDITION_COUNT; i++) {
        const struct api_condition condition = {.type = k[i].type,
                                                .status = k[i].status,
                                                .reason = k[i].reason != NULL ? k[i].reason : "",
                                                .message = k[i].message,
                                                .since_ms = k[i].since_ms};
        wire_value_append(list, api_json_condition(c->api, &condition, c->arena));
    }
    return list;
}

static struct wire_value *status_json(const struct api_call *c, const struct d_kube_pool *p)
{
    struct wire_value *v = wire_value_new_object(c->arena);
    struct kube_pool_status s = p->core != NULL ? kube_pool_status(p->core) : (struct kube_pool_status){0};
    const struct {
        const char *name;
        uint32_t n;
    } counts[] = {{"pods", s.pods},         {"joined", s.joined},     {"free", s.free},
                  {"coming", s.coming},     {"draining", s.draining}, {"terminating", s.terminating},
                  {"outdated", s.outdated}, {"demand", p->demand}};
    for (size_t i = 0; i < A_ARRAY_SIZE(counts); i++)
        wire_value_set_int(c->arena, v, counts[i].name, counts[i].n);
    wire_value_set_bool(c->arena, v, "deleting", p->deleting);
    wire_value_set(c->arena, v, "conditions", conditions_json(c, p));
    return v;
}

static struct wire_value *pool_json(const struct api_call *c, const struct d_kube_pool *p)
{
    struct a_arena *arena = c->arena;
    struct wire_value *v = wire_value_new_object(arena), *metadata = wire_value_new_object(arena);
    static const char *const kept[] = {"labels", "annotations"};
    wire_value_set_string(arena, metadata, "name", p->spec.name.s);
    wire_value_set_int(arena, metadata, "generation", (int64_t)p->generation);
    api_set_time(arena, metadata, "creationTimestamp", p->created_unix_ms);
    for (size_t i = 0; i < A_ARRAY_SIZE(kept); i++) {
        const struct wire_value *m = wire_value_get(wire_value_get(p->tree, "metadata"), kept[i]);
        if (m != NULL)
            wire_value_set(arena, metadata, kept[i], wire_value_copy(arena, m));
    }
    wire_value_set_string(arena, v, "apiVersion",
                          wire_value_string(wire_value_get(p->tree, "apiVersion"), ""));
    wire_value_set_string(arena, v, "kind", "Pool");
    wire_value_set(arena, v, "metadata", metadata);
    wire_value_set(arena, v, "spec", wire_value_copy(arena, wire_value_get(p->tree, "spec")));
    wire_value_set(arena, v, "status", status_json(c, p));
    return v;
}

static struct d_kube_pool *pool_find(struct api_call *c)
{
    struct a_name name;
    struct d_kube_pool *p = a_name_parse(c->params[0], &name) ? d_kube_pool_find(c->s, &name) : NULL;
    if (p == NULL)
        api_reply_problem(c, A_CODE_NOT_FOUND, "no such pool: " A_VIEW_FMT, A_VIEW_ARG(c->params[0]));
    return p;
}

void api_handle_POOLS(struct api_call *c)
{
    struct wire_value *v = wire_value_new_object(c->arena), *items = wire_value_new_array(c->arena);
    if (c->s->kube != NULL)
        a_map_foreach (l, &c->s->kube->pools)
            wire_value_append(items, pool_json(c, a_map_entry(l, struct d_kube_pool, link)));
    wire_value_set_string(c->arena, v, "kind", "PoolList");
    wire_value_set(c->arena, v, "items", items);
    api_reply_value(c, 200, v);
}

void api_handle_POOL(struct api_call *c)
{
    const struct d_kube_pool *p = pool_find(c);
    if (p != NULL)
        api_reply_value(c, 200, pool_json(c, p));
}

static void on_put(void *ctx, const struct a_error *error)
{
    struct api_call *c = api_now(ctx);
    if (c == NULL)
        return;
    if (error != NULL && error->code != A_CODE_NONE) {
        api_reply_error(c, error);
        return;
    }
    const struct d_kube_pool *p = pool_find(c);
    if (p == NULL)
        return;
    d_event_add(c->s, NULL, "user", p->spec.name.s, p->generation, A_REASON_REQUESTED,
                "the pool was written");
    api_reply_value(c, 200, pool_json(c, p));
}

/* What only the server knows: is its cluster there, and does it stay where its pods are? */
static void pool_judge(struct api_call *c, struct wire_problems *p, const struct wire_value *doc,
                       const struct kube_pool_spec *spec)
{
    const struct d_kube_pool *old = d_kube_pool_find(c->s, &spec->name);
    const struct wire_value *at = wire_value_path(doc, "spec.cluster");
    if (!a_view_is(c->params[0], spec->name.s))
        wire_problem_add(p, A_CODE_POOL_INVALID, "metadata.name", wire_value_path(doc, "metadata.name"), NULL,
                         "\"%s\" is not the name of the path, %s", spec->name.s, api_param(c, 0));
    if (d_kube_cluster_find(c->s, &spec->cluster) == NULL)
        wire_problem_add(p, A_CODE_POOL_INVALID, "spec.cluster", at, "`astra cluster add` adds one",
                         "no Kubernetes cluster \"%s\" was added", spec->cluster.s);
    else if (old != NULL && (strcmp(old->spec.cluster.s, spec->cluster.s) != 0 ||
                             strcmp(old->spec.namespace, spec->namespace) != 0))
        wire_problem_add(p, A_CODE_POOL_INVALID, "spec.cluster", at, "make another pool, and remove this one",
                         "a pool stays in its cluster and namespace (%s, %s)", old->spec.cluster.s,
                         old->spec.namespace);
}

void api_handle_POOL_PUT(struct api_call *c)
{
    struct wire_problems problems = {.arena = c->arena};
    struct kube_pool_spec spec;
    if (c->s->kube == NULL) {
        api_reply_problem(c, A_CODE_UNAVAILABLE, "this server runs without the role kube (--roles)");
        return;
    }
    struct wire_value *doc = api_body(c), *tree = doc != NULL ? kube_pool_check(&problems, doc) : NULL;
    if (doc == NULL)
        return;
    if (tree != NULL) {
        kube_pool_read(tree, &spec);
        pool_judge(c, &problems, doc, &spec);
    }
    if (problems.n_errors > 0)
        api_reply_problems(c, &problems);
    else
        d_kube_pool_put(c->s, tree, NULL, false, on_put, api_later(c));
}

void api_handle_POOL_DELETE(struct api_call *c)
{
    struct d_kube_pool *p = pool_find(c);
    if (p != NULL)
        d_kube_pool_delete(c->s, p, NULL, on_put, api_later(c));
}
