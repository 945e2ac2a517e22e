/* Clusters: sums over nodes; Kubernetes clusters, added and removed; emptying a whole cluster. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"
#include "daemon/server/cluster_limits.h"
#include "daemon/server/kube.h"

struct cluster {
    const char *name;
    uint32_t nodes, states[A_NODE_STATE_COUNT], cordoned, claims, units;
    struct a_capacity capacity, free;
};

static struct cluster *cluster_get(struct cluster *list, size_t *n, const char *name)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp(list[i].name, name) == 0)
            return &list[i];
    list[*n] = (struct cluster){.name = name};
    return &list[(*n)++];
}

static void cluster_add(struct cluster *k, const struct sl_resource_node *node)
{
    k->nodes++;
    k->states[sl_resource_node_state(node)]++;
    k->cordoned += (node->facts.flags & SL_RESOURCE_NODE_CORDONED) != 0;
    a_capacity_add(&k->capacity, &node->facts.capacity);
    a_capacity_add(&k->free, &node->facts.free);
    for (const struct sl_resource_claim *l = sl_resource_next_claim(node, NULL); l != NULL;
         l = sl_resource_next_claim(node, l)) {
        k->claims += l->facts.state != A_CLAIM_RELEASED;
        k->units += l->facts.state != A_CLAIM_RELEASED && strcmp(l->facts.id.member.s, "head") == 0;
    }
}

/* ---- Kubernetes: what was added ---- */

static struct wire_value *conditions_json(const struct api_call *c, const struct d_kube_cluster *kube)
{
    struct wire_value *list = wire_value_new_array(c->arena);
    for (int i = 0; i < D_KUBE_CONDITION_COUNT; i++) {
        const struct d_kube_condition *k = &kube->conditions[i];
        const struct api_condition condition = {.type = d_kube_condition_name((enum d_kube_condition_type)i),
                                                .status = k->status,
                                                .reason = k->reason,
                                                .message = k->message,
                                                .since_ms = k->since_ms};
        if (k->reason != NULL)
            wire_value_append(list, api_json_condition(c->api, &condition, c->arena));
    }
    return list;
}

static void text_json(const struct api_call *c, struct wire_value *v, const struct d_kube_cluster *kube,
                      const char *key)
{
    wire_value_set_string(c->arena, v, key, d_kube_cluster_text(kube, key, NULL));
}

static struct wire_value *kube_json(const struct api_call *c, const struct d_kube_cluster *kube)
{
    static const char *const access[] = {"server", "credentials", "namespace"};
    struct wire_value *v = wire_value_new_object(c->arena), *pools = wire_value_new_array(c->arena);
    for (size_t i = 0; i < A_ARRAY_SIZE(access); i++)
        text_json(c, v, kube, access[i]);
    for (size_t i = 0; i < D_KUBE_SETTINGS; i++)
        text_json(c, v, kube, d_kube_settings[i]);
    api_set_time(c->arena, v, "expires",
                 (uint64_t)wire_value_int(wire_value_get(kube->record, "expires"), 0) * 1000);
    api_set_time(c->arena, v, "created",
                 (uint64_t)wire_value_int(wire_value_get(kube->record, "created"), 0));
    a_map_foreach (l, &kube->kube->pools) {
        const struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        if (strcmp(p->spec.cluster.s, kube->name.s) == 0)
            wire_value_append(pools, wire_value_new_string(c->arena, p->spec.name.s));
    }
    wire_value_set(c->arena, v, "pools", pools);
    wire_value_set(c->arena, v, "conditions", conditions_json(c, kube));
    return v;
}

static struct wire_value *cluster_json(const struct api_call *c, const struct cluster *k)
{
    struct a_arena *arena = c->arena;
    struct a_name name;
    bool named = a_name_parse(a_view_str(k->name), &name);
    const struct d_kube_cluster *kube = named ? d_kube_cluster_find(c->s, &name) : NULL;
    struct wire_value *v = wire_value_new_object(arena), *states = wire_value_new_object(arena);
    for (int i = 0; i < A_NODE_STATE_COUNT; i++)
        if (k->states[i] > 0)
            wire_value_set_int(arena, states, a_node_state_name((enum a_node_state)i), k->states[i]);
    wire_value_set_string(arena, v, "name", k->name);
    wire_value_set_int(arena, v, "nodes", k->nodes);
    wire_value_set(arena, v, "nodeStates", states);
    wire_value_set_int(arena, v, "cordoned", k->cordoned);
    wire_value_set_int(arena, v, "claims", k->claims);
    wire_value_set_int(arena, v, "units", k->units);
    wire_value_set(arena, v, "capacity", api_json_capacity(&k->capacity, arena));
    wire_value_set(arena, v, "free", api_json_capacity(&k->free, arena));
    wire_value_set_bool(arena, v, "draining", named && d_cluster_is_draining(c->s, &name));
    const struct d_cluster_limits *limits = named ? d_cluster_limits_find(c->s, &name) : NULL;
    if (limits != NULL)
        wire_value_set(arena, v, "limits", wire_value_copy(arena, limits->tree));
    if (kube != NULL)
        wire_value_set(arena, v, "kubernetes", kube_json(c, kube));
    return v;
}

static int cluster_order(const void *x, const void *y)
{
    const struct cluster *a = x, *b = y;
    return strcmp(a->name, b->name);
}

/* All of them; the caller frees it. */
static struct cluster *clusters_collect(const struct api_call *c, size_t *ret_n)
{
    size_t more = c->s->cluster_limits.len + (c->s->kube != NULL ? c->s->kube->clusters.len : 0), n = 0;
    struct cluster *list = a_alloc_array(c->s->resource.nodes.len + more + 1, sizeof *list);
    for (const struct sl_resource_node *node = sl_resource_next(&c->s->resource, NULL); node != NULL;
         node = sl_resource_next(&c->s->resource, node))
        cluster_add(cluster_get(list, &n, node->facts.cluster.s), node);
    if (c->s->kube != NULL)
        a_map_foreach (l, &c->s->kube->clusters)
            (void)cluster_get(list, &n, a_map_entry(l, struct d_kube_cluster, link)->name.s);
    a_map_foreach (l, &c->s->cluster_limits)
        (void)cluster_get(list, &n, a_map_entry(l, struct d_cluster_limits, link)->name.s);
    qsort(list, n, sizeof *list, cluster_order);
    *ret_n = n;
    return list;
}

void api_handle_CLUSTERS(struct api_call *c)
{
    struct wire_value *v = wire_value_new_object(c->arena), *items = wire_value_new_array(c->arena);
    size_t n;
    A_AUTOFREE struct cluster *list = clusters_collect(c, &n);
    for (size_t i = 0; i < n; i++)
        wire_value_append(items, cluster_json(c, &list[i]));
    wire_value_set_string(c->arena, v, "kind", "ClusterList");
    wire_value_set(c->arena, v, "items", items);
    api_reply_value(c, 200, v);
}

static bool name_read(struct api_call *c, struct a_name *ret)
{
    if (a_name_parse(c->params[0], ret))
        return true;
    api_reply_problem(c, A_CODE_INVALID,
                      "\"" A_VIEW_FMT "\" is no name: a-z, 0-9 and inner '-', at most %d characters",
                      A_VIEW_ARG(c->params[0]), A_NAME_MAX);
    return false;
}

/* NULL: answered. In the arena. */
static const struct cluster *cluster_find(struct api_call *c)
{
    size_t n;
    A_AUTOFREE struct cluster *list = clusters_collect(c, &n);
    for (size_t i = 0; i < n; i++)
        if (a_view_is(c->params[0], list[i].name)) {
            struct cluster *found = a_arena_new(c->arena, struct cluster);
            *found = list[i];
            return found;
        }
    api_reply_problem(c, A_CODE_NOT_FOUND, "no such cluster: " A_VIEW_FMT, A_VIEW_ARG(c->params[0]));
    return NULL;
}

static void cluster_reply(struct api_call *c, unsigned status)
{
    const struct cluster *k = cluster_find(c);
    if (k != NULL)
        api_reply_value(c, status, cluster_json(c, k));
}

void api_handle_CLUSTER(struct api_call *c)
{
    cluster_reply(c, 200);
}

/* ---- drain ---- */

static void cluster_drain(struct api_call *c, bool drain)
{
    struct a_name name;
    if (!name_read(c, &name) || cluster_find(c) == NULL)
        return;
    d_cluster_drain(c->s, &name, drain);
    d_event_add(c->s, NULL, "user", name.s, 0, A_REASON_REQUESTED,
                drain ? "the cluster is emptied" : "the cluster is taken into use again");
    cluster_reply(c, 200);
}

void api_handle_CLUSTER_DRAIN(struct api_call *c)
{
    cluster_drain(c, true);
}

void api_handle_CLUSTER_UNDRAIN(struct api_call *c)
{
    cluster_drain(c, false);
}

/* ---- adding and removing ---- */

/* What a PUT carries until it is stored. */
struct put {
    struct a_name name;
    const struct wire_value *body;
    struct kube_access access;
    bool has_access, is_new;
    void *later;
};

static bool role_is_here(struct api_call *c)
{
    if (c->s->kube != NULL)
        return true;
    api_reply_problem(c, A_CODE_UNAVAILABLE, "this server runs without the role kube (--roles)");
    return false;
}

static void on_put(void *ctx, const struct a_error *error)
{
    struct put *p = ctx;
    struct api_call *c = api_now(p->later);
    if (c != NULL && error != NULL && error->code != A_CODE_NONE)
        api_reply_error(c, error);
    else if (c != NULL) {
        d_event_add(c->s, NULL, "user", p->name.s, 0, A_REASON_REQUESTED, "the Kubernetes cluster was %s",
                    p->is_new ? "added" : "changed");
        cluster_reply(c, p->is_new ? 201 : 200);
    }
    a_free(p);
}

static void put_store(struct server *s, struct put *p)
{
    d_kube_cluster_put(s, &p->name, p->body, p->has_access ? &p->access : NULL, on_put, p);
}

/* The body lives as long as the call: while it is there. */
static void on_checked(void *ctx, const char *version, const struct a_error *error)
{
    struct put *p = ctx;
    struct api_call *c = api_now(p->later);
    (void)version;
    if (c == NULL) {
        a_free(p);
        return;
    }
    if (error != NULL) {
        api_reply_error(c, error);
        a_free(p);
        return;
    }
    p->later = api_later(c);
    put_store(c->s, p);
}

static bool field_is_known(struct a_view key)
{
    bool known = a_view_is(key, "credentials");
    for (size_t i = 0; i < D_KUBE_SETTINGS; i++)
        known = known || a_view_is(key, d_kube_settings[i]);
    return known;
}

static bool put_read(struct api_call *c, struct put *p)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    const struct wire_value *credentials = wire_value_get(p->body, "credentials");
    wire_value_foreach(v, p->body)
    {
        if (!field_is_known(v->key)) {
            api_reply_problem(c, A_CODE_INVALID, "body: no such field: " A_VIEW_FMT, A_VIEW_ARG(v->key));
            return false;
        }
    }
    p->has_access = credentials != NULL;
    if (credentials == NULL && p->is_new)
        api_reply_problem(c, A_CODE_INVALID, "credentials: required for a cluster that is not known yet");
    else if (credentials != NULL && kube_access_parse(c->arena, credentials, &p->access, &e) != 0)
        api_reply_error(c, &e);
    else
        return true;
    return false;
}

void api_handle_CLUSTER_PUT(struct api_call *c)
{
    struct a_name name;
    struct wire_value *body = role_is_here(c) && name_read(c, &name) ? api_body(c) : NULL;
    if (body == NULL)
        return;
    struct put *p = a_new(struct put);
    p->name = name;
    p->body = body;
    p->is_new = d_kube_cluster_find(c->s, &name) == NULL;
    if (!put_read(c, p)) {
        a_free(p);
        return;
    }
    bool check = p->has_access && strcmp(api_query(c, "check"), "false") != 0;
    p->later = api_later(c);
    if (check)
        d_kube_check(c->s, &p->access, on_checked, p);
    else
        put_store(c->s, p);
}

static void on_deleted(void *ctx, const struct a_error *error)
{
    struct api_call *c = api_now(ctx);
    if (c == NULL)
        return;
    struct wire_value *v = wire_value_new_object(c->arena);
    struct a_name name;
    bool gone = error == NULL || error->code == A_CODE_NONE;
    wire_value_set_string(c->arena, v, "name", api_param(c, 0));
    if (gone && a_name_parse(c->params[0], &name) && d_cluster_limits_find(c->s, &name) != NULL)
        d_cluster_limits_put(c->s, &name, NULL, NULL, NULL);
    if (error != NULL && error->code != A_CODE_NONE)
        api_reply_error(c, error);
    else
        api_reply_value(c, 200, v);
}

void api_handle_CLUSTER_DELETE(struct api_call *c)
{
    struct a_name name;
    if (!role_is_here(c) || !name_read(c, &name))
        return;
    struct d_kube_cluster *kube = d_kube_cluster_find(c->s, &name);
    if (kube == NULL) {
        api_reply_problem(c, A_CODE_NOT_FOUND, "no Kubernetes cluster of this name was added: %s", name.s);
        return;
    }
    a_map_foreach (l, &c->s->kube->pools) {
        const struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        if (strcmp(p->spec.cluster.s, name.s) == 0 && !api_query_flag(c, "force")) {
            api_reply_problem(c, A_CODE_CONFLICT,
                              "the pool %s is in it: `astra pool rm %s` first; of a cluster that is no more: "
                              "`astra cluster rm %s --force`",
                              p->spec.name.s, p->spec.name.s, name.s);
            return;
        }
    }
    d_event_add(c->s, NULL, "user", name.s, 0, A_REASON_REQUESTED, "the Kubernetes cluster was removed");
    d_kube_cluster_delete(c->s, kube, on_deleted, api_later(c));
}
