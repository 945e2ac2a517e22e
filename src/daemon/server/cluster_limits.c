/* What an operator says of a cluster, of any kind: how much of it may be used at most, and what a node there
 * costs. Kept in the store; the claimer places by it, pools grow by it (kube_limits.c). */
#include "daemon/server/cluster_limits.h"

#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "daemon/server/kube.h"
#include "daemon/server/store_keys.h"
#include "sys/log.h"

#define NONE .fallback = "null", .nullable = true

static const struct wire_field fields[] = {
    {"maxNodes", WIRE_INT, 0, NONE, .min = 1, .max = INT32_MAX,
     .doc = "with claims on them; pods of its pools"},
    {"maxCpu", WIRE_CPU, 0, NONE, .doc = "of all claims; of all pods of its pools"},
    {"maxMemory", WIRE_BYTES, 0, NONE, .doc = "of all claims; of all pods of its pools"},
    {"maxDevices", WIRE_INT, 0, NONE, .min = 1, .max = INT32_MAX, .doc = "of all pods of its pools"},
    {"price", WIRE_NUMBER, 0, NONE, .doc = "of one node and hour, where its pool has no price of its own"},
    WIRE_FIELDS_END,
};

const struct wire_schema d_cluster_limits_schema = {
    .what = "cluster limits",
    .start = "start with {\"maxNodes\": ...}",
    .invalid = A_CODE_INVALID,
    .unsupported = A_CODE_INVALID,
    .object = {"limits", WIRE_OBJECT, 0, .fields = fields, .doc = "limits and price of a cluster"},
};

struct d_cluster_limits *d_cluster_limits_find(const struct server *s, const struct a_name *cluster)
{
    struct a_map_link *l = a_map_get_str(&s->cluster_limits, cluster->s);
    return l != NULL ? a_map_entry(l, struct d_cluster_limits, link) : NULL;
}

static bool is_empty(const struct wire_value *tree)
{
    wire_value_foreach(v, tree) if (!wire_value_is_null(v)) return false;
    return true;
}

static void limits_read(struct d_cluster_limits *c)
{
    uint64_t mcpu = 0, bytes = 0;
    (void)!a_text_mcpu(wire_value_view(wire_value_get(c->tree, "maxCpu")), &mcpu);
    (void)!a_text_bytes(wire_value_view(wire_value_get(c->tree, "maxMemory")), &bytes);
    c->limits = (struct sl_limits){.nodes = (uint64_t)wire_value_int(wire_value_get(c->tree, "maxNodes"), 0),
                                   .mcpu = mcpu,
                                   .memory_bytes = bytes};
    c->max_devices = (uint64_t)wire_value_int(wire_value_get(c->tree, "maxDevices"), 0);
    c->price = wire_value_number(wire_value_get(c->tree, "price"), 0);
}

static void limits_free(struct server *s, struct d_cluster_limits *c)
{
    a_map_remove(&s->cluster_limits, &c->link);
    a_arena_deinit(&c->arena);
    a_free(c);
}

/* `text` NULL: there are none any more. */
static void limits_take(struct server *s, const struct a_name *name, const char *text)
{
    struct d_cluster_limits *c = d_cluster_limits_find(s, name);
    struct sl_limits none = {0};
    if (c != NULL)
        limits_free(s, c);
    c = NULL;
    if (text != NULL) {
        struct wire_value *tree;
        c = a_new(struct d_cluster_limits);
        c->name = *name;
        a_map_put_str(&s->cluster_limits, &c->link, c->name.s);
        if (wire_json_parse(&c->arena, a_view_str(text), NULL, NULL, &tree, NULL) != 0) {
            sys_log(ERROR, "server", "cluster.limits_unreadable", "limits in the store cannot be read",
                    SYS_STR("cluster", name->s));
            tree = wire_value_new_object(&c->arena);
        }
        c->tree = tree;
        limits_read(c);
    }
    sl_view_limits_set(&s->sched.view, name, c != NULL ? &c->limits : &none);
}

double d_node_price(const struct server *s, const struct sl_resource_node *node)
{
    const struct d_cluster_limits *c = d_cluster_limits_find(s, &node->facts.cluster);
    double pool = d_kube_node_price(s, &node->id);
    return pool > 0 || c == NULL ? pool : c->price;
}

/* ---- writing ---- */

struct limits_write {
    struct store_txn txn;
    struct store_write write;
    char key[STORE_KEY_MAX];
    char *value; /* NULL: removed */
    struct server *s;
    struct a_name name;
    d_limits_done *done;
    void *ctx;
};

static void on_written(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct limits_write *w = ctx;
    (void)revision;
    if (rc == 0) {
        limits_take(w->s, &w->name, w->value);
        d_cluster_look(w->s, &w->name);
        d_kube_cluster_changed(w->s, &w->name);
    }
    if (w->done != NULL)
        w->done(w->ctx, rc != 0 ? error : NULL);
    a_error_deinit(&w->txn.error);
    a_free(w->value);
    a_free(w);
}

void d_cluster_limits_put(struct server *s, const struct a_name *cluster, const struct wire_value *tree,
                          d_limits_done *done, void *ctx)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct limits_write *w = a_new(struct limits_write);
    d_store_key_limits(w->key, cluster);
    if (tree != NULL && !is_empty(tree)) {
        wire_json_print(&text, tree, 0);
        w->value = a_buf_steal(&text);
    }
    w->s = s;
    w->name = *cluster;
    w->done = done;
    w->ctx = ctx;
    w->write = (struct store_write){
        a_view_str(w->key), w->value != NULL ? a_view_str(w->value) : (struct a_view){NULL, 0}, STORE_ANY};
    w->txn = (struct store_txn){.writes = &w->write, .n_writes = 1, .done = on_written, .ctx = w};
    store_submit(s->store, &w->txn);
}

/* ---- start and stop ---- */

static bool record_read(void *ctx, const struct store_entry *entry)
{
    struct a_view kind, rest;
    struct a_name namespace, name;
    if (!d_store_key_split(entry->key, &namespace, &kind, &rest) || !a_name_parse(rest, &name))
        return true;
    A_AUTOFREE char *text = a_strndup(entry->value.ptr, entry->value.len);
    limits_take(ctx, &name, text);
    return true;
}

int d_cluster_limits_load(struct server *s, struct a_error *reterr)
{
    return store_scan(s->store, D_STORE_LIMITS, record_read, s, reterr);
}

void d_cluster_limits_deinit(struct server *s)
{
    a_map_foreach (l, &s->cluster_limits)
        limits_free(s, a_map_entry(l, struct d_cluster_limits, link));
    a_map_deinit(&s->cluster_limits);
}
