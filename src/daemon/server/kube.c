/* The kube role: what operators said (the store), and start and stop. */
#include "daemon/server/kube.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/store_keys.h"
#include "net/cert.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/random.h"
#include "sys/seal.h"

struct d_kube_cluster *d_kube_cluster_find(const struct server *s, const struct a_name *name)
{
    struct a_map_link *l = s->kube != NULL ? a_map_get_str(&s->kube->clusters, name->s) : NULL;
    return l != NULL ? a_map_entry(l, struct d_kube_cluster, link) : NULL;
}

struct d_kube_pool *d_kube_pool_find(const struct server *s, const struct a_name *name)
{
    struct a_map_link *l = s->kube != NULL ? a_map_get_str(&s->kube->pools, name->s) : NULL;
    return l != NULL ? a_map_entry(l, struct d_kube_pool, link) : NULL;
}

const char *d_kube_cluster_text(const struct d_kube_cluster *c, const char *key, const char *otherwise)
{
    const char *text = wire_value_string(wire_value_get(c->record, key), "");
    return text[0] != '\0' ? text : otherwise;
}

/* ---- writing ---- */

struct record_write {
    struct store_txn txn;
    struct store_write write;
    char key[STORE_KEY_MAX];
    char *value;
    struct server *s;
    struct a_name name;
    bool pool, removed;
    d_kube_done *done;
    void *ctx;
};

static void cluster_take(struct d_kube *k, const struct a_name *name, struct a_view value, uint64_t revision);
static void pool_take(struct d_kube *k, const struct a_name *name, struct a_view value, uint64_t revision);
static void cluster_free(struct d_kube_cluster *c);
static void pool_free(struct d_kube_pool *p);

static void record_apply(struct record_write *w, uint64_t revision)
{
    struct d_kube *k = w->s->kube;
    struct d_kube_cluster *c = d_kube_cluster_find(w->s, &w->name);
    struct d_kube_pool *p = d_kube_pool_find(w->s, &w->name);
    if (!w->removed && w->pool)
        pool_take(k, &w->name, a_view_str(w->value), revision);
    else if (!w->removed)
        cluster_take(k, &w->name, a_view_str(w->value), revision);
    else if (w->pool && p != NULL) {
        d_kube_pool_left(p);
        pool_free(p);
    } else if (!w->pool && c != NULL)
        cluster_free(c);
}

static void record_written(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct record_write *w = ctx;
    if (rc == 0 && w->s->kube != NULL)
        record_apply(w, revision);
    if (w->done != NULL)
        w->done(w->ctx, rc != 0 ? error : NULL);
    a_error_deinit(&w->txn.error);
    a_free(w->value);
    a_free(w);
}

/* `value` NULL: removed. */
static void record_submit(struct server *s, bool pool, const struct a_name *name,
                          const struct wire_value *value, d_kube_done *done, void *ctx)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct record_write *w = a_new(struct record_write);
    if (pool)
        d_store_key_pool(w->key, name);
    else
        d_store_key_cluster(w->key, name);
    if (value != NULL) {
        wire_json_print(&text, value, 0);
        w->value = a_buf_steal(&text);
    }
    w->s = s;
    w->name = *name;
    w->pool = pool;
    w->removed = value == NULL;
    w->done = done;
    w->ctx = ctx;
    w->write = (struct store_write){a_view_str(w->key), a_view_str(w->value), STORE_ANY};
    w->txn = (struct store_txn){.writes = &w->write, .n_writes = 1, .done = record_written, .ctx = w};
    store_submit(s->store, &w->txn);
}

/* ---- clusters ---- */

/* Of the key; the caller frees it. */
static char *key_path(const struct d_kube *k)
{
    return sys_path_join(k->s->options.data, "store.key");
}

/* The key is made at the first start. Later it is not made again while something is sealed with another one:
 * an operator may put the right file back. New credentials are sealed with a new one. */
static int key_have(struct d_kube *k, struct a_error *reterr)
{
    A_AUTOFREE char *path = key_path(k);
    if (k->key.len > 0)
        return 0;
    int rc = sys_seal_key_read(path, &k->key, reterr);
    return rc == -ENOENT ? sys_seal_key_make(path, &k->key, reterr) : rc;
}

static int access_seal(struct d_kube *k, struct a_arena *arena, const struct a_name *name,
                       const struct kube_access *access, const char **ret, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf plain = {0}, sealed = {0};
    char place[STORE_KEY_MAX];
    d_store_key_cluster(place, name);
    int rc = key_have(k, reterr);
    if (rc != 0)
        return rc;
    wire_json_print(&plain, kube_access_print(arena, access), 0);
    rc = sys_seal(&k->key, a_view_str(place), a_buf_view(&plain), &sealed, reterr);
    sys_secret_wipe(plain.ptr, plain.len);
    if (rc == 0)
        *ret = a_arena_strndup(arena, sealed.ptr, sealed.len);
    return rc;
}

static int64_t access_expiry(const struct kube_access *a)
{
    struct net_cert_info info;
    if (a->credentials == KUBE_CREDENTIALS_TOKEN)
        return kube_token_expiry(a_view_str(a->token.value));
    if (a->credentials != KUBE_CREDENTIALS_CERTIFICATE ||
        net_cert_read(a_view_str(a->certificate.value), &info, NULL) != 0)
        return 0;
    return (int64_t)(info.not_after_ms / 1000);
}

/* What of the access may be seen. */
static void access_describe(struct a_arena *arena, struct wire_value *record, const struct kube_access *a)
{
    wire_value_set_string(arena, record, "server", a->server);
    wire_value_set_string(arena, record, "credentials", kube_credentials_name(a->credentials));
    wire_value_set_int(arena, record, "expires", access_expiry(a));
    wire_value_set_string(arena, record, "namespace", a->namespace);
}

void d_kube_cluster_changed(struct server *s, const struct a_name *cluster)
{
    if (s->kube == NULL)
        return;
    a_map_foreach (l, &s->kube->pools) {
        struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        if (strcmp(p->spec.cluster.s, cluster->s) == 0)
            d_kube_pool_changed(p);
    }
}

const char *const d_kube_settings[D_KUBE_SETTINGS] = {"image", "joinAddress", "network", "serviceAccount"};

void d_kube_cluster_put(struct server *s, const struct a_name *name, const struct wire_value *settings,
                        const struct kube_access *access, d_kube_done *done, void *ctx)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    const struct d_kube_cluster *old = d_kube_cluster_find(s, name);
    struct wire_value *record =
        old != NULL ? wire_value_copy(&arena, old->record) : wire_value_new_object(&arena);
    const char *sealed = NULL;
    if (access != NULL && access_seal(s->kube, &arena, name, access, &sealed, &e) != 0) {
        done(ctx, &e);
        return;
    }
    if (access != NULL) {
        access_describe(&arena, record, access);
        wire_value_set_string(&arena, record, "sealed", sealed);
    }
    for (size_t i = 0; i < D_KUBE_SETTINGS; i++) {
        const struct wire_value *v = wire_value_get(settings, d_kube_settings[i]);
        if (v != NULL)
            wire_value_set(&arena, record, d_kube_settings[i], wire_value_copy(&arena, v));
    }
    if (old == NULL)
        wire_value_set_int(&arena, record, "created", (int64_t)sys_clock_wall_ms());
    record_submit(s, false, name, record, done, ctx);
}

void d_kube_cluster_delete(struct server *s, struct d_kube_cluster *c, d_kube_done *done, void *ctx)
{
    a_map_foreach (l, &c->kube->pools) {
        const struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        if (strcmp(p->spec.cluster.s, c->name.s) == 0)
            record_submit(s, true, &p->spec.name, NULL, NULL, NULL);
    }
    record_submit(s, false, &c->name, NULL, done, ctx);
}

static void cluster_free(struct d_kube_cluster *c)
{
    d_kube_cluster_stop(c);
    a_map_remove(&c->kube->clusters, &c->link);
    a_arena_deinit(&c->arena);
    a_free(c);
}

/* The record is what is stored: what was there before begins anew with it. */
static void cluster_take(struct d_kube *k, const struct a_name *name, struct a_view value, uint64_t revision)
{
    struct d_kube_cluster *c = d_kube_cluster_find(k->s, name);
    struct wire_value *record;
    if (c == NULL) {
        c = a_new(struct d_kube_cluster);
        c->kube = k;
        c->name = *name;
        a_list_init(&c->follows);
        a_map_put_str(&k->clusters, &c->link, c->name.s);
    }
    d_kube_cluster_stop(c);
    a_arena_deinit(&c->arena);
    if (wire_json_parse(&c->arena, value, NULL, NULL, &record, NULL) != 0)
        record = wire_value_new_object(&c->arena);
    c->record = record;
    c->revision = revision;
    d_kube_cluster_start(c);
    d_kube_cluster_changed(k->s, name);
}

/* ---- pools ---- */

static struct wire_value *pool_record(struct a_arena *arena, const struct wire_value *tree,
                                      const struct d_origin *origin, uint64_t generation, uint64_t created_ms,
                                      bool deleting)
{
    struct wire_value *record = wire_value_new_object(arena);
    d_origin_print(arena, record, origin);
    wire_value_set(arena, record, "pool", wire_value_copy(arena, tree));
    wire_value_set_int(arena, record, "generation", (int64_t)generation);
    wire_value_set_int(arena, record, "created", (int64_t)created_ms);
    wire_value_set_bool(arena, record, "deleting", deleting);
    return record;
}

/* As for apps: what came from an object is changed there, and what did not is not taken over unasked. */
static bool origin_allows(const struct d_kube_pool *old, const struct d_origin *own, bool adopt,
                          d_kube_done *done, void *ctx)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    const char *speaks = d_kube_speaks_for_pool(old);
    if (speaks != NULL && strcmp(speaks, own->cluster.s) != 0)
        (void)a_fail(&e, -EBUSY, A_CODE_CONFLICT,
                     "pool %s comes from the Kubernetes cluster %s: change it there (kubectl -n %s edit "
                     "pools.astra-ray.dev %s)",
                     old->spec.name.s, speaks, old->spec.namespace, old->spec.name.s);
    else if (own->cluster.s[0] != '\0' && old->origin.cluster.s[0] == '\0' && !adopt)
        (void)a_fail(&e, -EBUSY, A_CODE_CONFLICT, "pool %s was made by the API", old->spec.name.s);
    else
        return true;
    done(ctx, &e);
    return false;
}

void d_kube_pool_put(struct server *s, const struct wire_value *tree, const struct d_origin *origin,
                     bool adopt, d_kube_done *done, void *ctx)
{
    static const struct d_origin none;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct kube_pool_spec spec;
    kube_pool_read(tree, &spec);
    const struct d_kube_pool *old = d_kube_pool_find(s, &spec.name);
    if (origin == NULL)
        origin = &none;
    if (old != NULL && !origin_allows(old, origin, adopt, done, ctx))
        return;
    bool same = old != NULL && !old->deleting && origin->generation == old->origin.generation &&
                strcmp(origin->uid, old->origin.uid) == 0 &&
                wire_value_equal(wire_value_get(old->tree, "spec"), wire_value_get(tree, "spec"));
    if (same) {
        done(ctx, NULL);
        return;
    }
    record_submit(s, true, &spec.name,
                  pool_record(&arena, tree, origin, old != NULL ? old->generation + 1 : 1,
                              old != NULL ? old->created_unix_ms : sys_clock_wall_ms(), false),
                  done, ctx);
}

void d_kube_pool_delete(struct server *s, struct d_kube_pool *p, const struct d_origin *origin,
                        d_kube_done *done, void *ctx)
{
    static const struct d_origin none;
    if (!origin_allows(p, origin != NULL ? origin : &none, true, done, ctx))
        return;
    A_ARENA_AUTO struct a_arena arena = {0};
    record_submit(s, true, &p->spec.name,
                  pool_record(&arena, p->tree, &p->origin, p->generation, p->created_unix_ms, true), done,
                  ctx);
}

void d_kube_pool_gone(struct d_kube_pool *p)
{
    sys_log(INFO, "kube", "kube.pool_gone", "a deleted pool is empty", SYS_STR("pool", p->spec.name.s));
    record_submit(p->kube->s, true, &p->spec.name, NULL, NULL, NULL);
}

static void pool_free(struct d_kube_pool *p)
{
    d_kube_pool_stop(p);
    d_kube_custom_pool_changed(p);
    a_map_remove(&p->kube->pools, &p->link);
    a_arena_deinit(&p->arena);
    a_free(p);
}

static uint64_t number_of(const struct wire_value *v, const char *key)
{
    return (uint64_t)wire_value_int(wire_value_get(v, key), 0);
}

static void pool_take(struct d_kube *k, const struct a_name *name, struct a_view value, uint64_t revision)
{
    struct d_kube_pool *p = d_kube_pool_find(k->s, name);
    struct a_arena arena = {0};
    struct wire_value *record;
    struct kube_pool_spec spec = {0};
    if (wire_json_parse(&arena, value, NULL, NULL, &record, NULL) != 0 ||
        wire_value_get(record, "pool") == NULL) {
        sys_log(ERROR, "kube", "kube.pool_unreadable", "a pool in the store cannot be read",
                SYS_STR("pool", name->s));
        a_arena_deinit(&arena);
        return;
    }
    const struct wire_value *tree = wire_value_get(record, "pool");
    kube_pool_read(tree, &spec);
    bool is_new = p == NULL;
    if (is_new) {
        p = a_new(struct d_kube_pool);
        p->kube = k;
        a_list_init(&p->requests);
    } else {
        a_map_remove(&k->pools, &p->link);
    }
    a_arena_deinit(&p->arena);
    p->arena = arena;
    p->tree = tree;
    p->spec = spec;
    struct d_kube_shape shape = d_kube_shape_of(&spec);
    d_kube_shape_grow(&p->largest, &shape);
    p->generation = number_of(record, "generation");
    p->created_unix_ms = number_of(record, "created");
    p->deleting = wire_value_bool(wire_value_get(record, "deleting"), false);
    p->origin = d_origin_parse(record);
    p->revision = revision;
    a_map_put_str(&k->pools, &p->link, p->spec.name.s);
    if (is_new)
        d_kube_pool_start(p);
    else
        d_kube_pool_changed(p);
    d_cluster_look(k->s, &p->spec.cluster);
}

/* ---- start and stop ---- */

static bool record_read(void *ctx, const struct store_entry *entry, bool pool)
{
    struct d_kube *k = ctx;
    struct a_view kind, rest;
    struct a_name namespace, name;
    if (!d_store_key_split(entry->key, &namespace, &kind, &rest) || !a_name_parse(rest, &name))
        return true;
    if (pool)
        pool_take(k, &name, entry->value, entry->revision);
    else
        cluster_take(k, &name, entry->value, entry->revision);
    return true;
}

static bool cluster_read(void *ctx, const struct store_entry *entry)
{
    return record_read(ctx, entry, false);
}

static bool pool_read(void *ctx, const struct store_entry *entry)
{
    return record_read(ctx, entry, true);
}

static bool entry_seen(void *ctx, const struct store_entry *entry)
{
    (void)entry;
    *(bool *)ctx = true;
    return false;
}

static int key_open(struct d_kube *k, struct a_error *reterr)
{
    A_AUTOFREE char *path = key_path(k);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    bool sealed = false;
    int rc = store_scan(k->s->store, D_STORE_CLUSTERS, entry_seen, &sealed, reterr);
    if (rc != 0)
        return rc;
    rc = sys_seal_key_read(path, &k->key, &e);
    if (rc == -ENOENT && !sealed)
        return sys_seal_key_make(path, &k->key, reterr);
    if (rc == -ENOENT)
        k->key_fault = a_asprintf("%s is missing: put it back (it is in no copy of the store), or tell the "
                                  "credentials again",
                                  path);
    else if (rc != 0)
        k->key_fault = a_strdup(a_error_text(&e));
    return 0;
}

static void names_set(struct d_kube *k)
{
    char host[254];
    A_AUTOFREE char *data = NULL;
    sys_env_hostname(host, sizeof host);
    int ignored A_UNUSED = sys_path_real(k->s->options.data, &data, NULL);
    snprintf(k->installation, sizeof k->installation, "%s", store_id(k->s->store)->s);
    snprintf(k->holder, sizeof k->holder, "%s:%s", host, data != NULL ? data : "");
}

int d_kube_start(struct server *s, struct a_error *reterr)
{
    struct d_kube *k = a_new(struct d_kube);
    k->s = s;
    s->kube = k;
    k->clusters.seed = sys_random_seed();
    a_list_init(&k->checks);
    d_kube_expose_begin(k);
    names_set(k);
    int rc = key_open(k, reterr);
    if (rc == 0)
        rc = store_scan(s->store, D_STORE_CLUSTERS, cluster_read, k, reterr);
    if (rc == 0)
        rc = store_scan(s->store, D_STORE_POOLS, pool_read, k, reterr);
    if (rc == 0)
        d_kube_demand_start(k);
    return rc;
}

void d_kube_stop(struct server *s)
{
    struct d_kube *k = s->kube;
    if (k == NULL)
        return;
    sys_timer_clear(&k->demand);
    d_kube_expose_end(k);
    d_kube_checks_stop(s);
    a_map_foreach (l, &k->pools)
        pool_free(a_map_entry(l, struct d_kube_pool, link));
    a_map_foreach (l, &k->clusters)
        cluster_free(a_map_entry(l, struct d_kube_cluster, link));
    d_kube_nodes_free(k);
    a_map_deinit(&k->pools);
    a_map_deinit(&k->clusters);
    sys_secret_deinit(&k->key);
    a_free(k->key_fault);
    a_free(k);
    s->kube = NULL;
}
