/* Writes of apps: one after the other, each prepared from what is true when its turn comes, applied to memory
 * only once it is on disk. So two deploys at once are two deploys in some order, and what people are told has
 * happened has. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/kube.h"
#include "daemon/server/server.h"
#include "daemon/server/store_keys.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/random.h"

#define WRITES_MAX 4
#define PRUNE_MAX 2

struct operation {
    struct a_list link; /* of server.operations */
    struct server *server;
    int (*prepare)(struct operation *op,
                   struct a_error *reterr); /* fills in `next` and the writes; n_writes 0: nothing to do */
    void (*apply)(struct operation *op, uint64_t revision);
    struct a_app_ref ref;
    struct a_uuid uid; /* of the app that is meant; empty = whoever has the name */
    /* arguments */
    char *app_json;
    struct unit_source *sources; /* digests; names and texts point into `arena` */
    size_t n_sources;
    struct a_arena arena;
    uint64_t if_match, number, from;
    uint32_t units;
    struct d_origin origin; /* whose write it is; empty: the API's */
    bool adopt;
    /* prepared */
    struct d_app_entry next;
    struct d_revision *revision;
    bool changed;
    struct store_txn txn; /* its `also` is the caller's */
    struct store_write writes[WRITES_MAX + PRUNE_MAX];
    char keys[WRITES_MAX + PRUNE_MAX][STORE_KEY_MAX];
    struct a_buf values[WRITES_MAX];
    size_t n_values;
    d_app_done *done;
    void *ctx;
};

static void operation_next(struct server *s);

static struct operation *operation_new(struct server *s, const struct a_app_ref *ref, d_app_done *done,
                                       void *ctx)
{
    struct operation *op = a_new(struct operation);
    op->server = s;
    op->ref = *ref;
    op->done = done;
    op->ctx = ctx;
    return op;
}

static void operation_free(struct operation *op)
{
    d_revision_free(op->revision);
    a_free(op->app_json);
    a_free(op->sources);
    a_arena_deinit(&op->arena);
    for (size_t i = 0; i < op->n_values; i++)
        a_buf_deinit(&op->values[i]);
    a_free(op);
}

static void operation_end(struct operation *op, const struct a_error *error)
{
    struct server *s = op->server;
    struct d_app_result result = {.app = error == NULL ? d_app_find(s, &op->ref) : NULL,
                                  .changed = op->changed,
                                  .new_revision = error == NULL && op->number != 0};
    if (op->done != NULL)
        op->done(op->ctx, &result, error);
    else if (error != NULL)
        sys_log(ERROR, "server", "store.app", "an app's entry was not written",
                SYS_STR("app", op->ref.name.s), SYS_ERR(error));
    a_list_remove(&op->link);
    operation_free(op);
}

static void on_committed(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct operation *op = ctx;
    struct server *s = op->server;
    d_cores_enter(s);
    if (rc == 0)
        op->apply(op, revision);
    operation_end(op, rc == 0 ? NULL : error);
    d_cores_leave(s);
    operation_next(s);
}

static void operation_next(struct server *s)
{
    while (!a_list_empty(&s->operations)) {
        struct operation *op = a_list_entry(s->operations.next, struct operation, link);
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        if (op->txn.done != NULL)
            return; /* with the store */
        int rc = op->prepare(op, &e);
        if (rc == 0 && op->txn.n_writes > 0) {
            op->txn.writes = op->writes;
            op->txn.done = on_committed;
            op->txn.ctx = op;
            store_submit(s->store, &op->txn);
            return;
        }
        operation_end(op, rc == 0 ? NULL : &e);
    }
}

static void on_deferred(void *ctx)
{
    operation_next(ctx);
}

/* Begins in the next round at the earliest: `done` is never told from within the call that asked. */
static void operation_submit(struct operation *op)
{
    a_list_push_back(&op->server->operations, &op->link);
    sys_loop_post(op->server->loop, on_deferred, op->server);
}

/* ---- writes ---- */

static void write_add(struct operation *op, struct a_buf *value, uint64_t expect)
{
    size_t i = op->txn.n_writes++;
    a_assert(i < A_ARRAY_SIZE(op->writes));
    op->writes[i] = (struct store_write){
        a_view_str(op->keys[i]), value != NULL ? a_buf_view(value) : (struct a_view){NULL, 0}, expect};
}

static struct a_buf *value_add(struct operation *op)
{
    a_assert(op->n_values < WRITES_MAX);
    return &op->values[op->n_values++];
}

static void entry_write(struct operation *op, uint64_t expect)
{
    struct a_buf *value = value_add(op);
    d_app_entry_print(value, &op->next);
    d_store_key_app(op->keys[op->txn.n_writes], &op->ref);
    write_add(op, value, expect);
}

static void revision_write(struct operation *op)
{
    struct a_buf *value = value_add(op);
    d_revision_print(value, op->revision);
    d_store_key_revision(op->keys[op->txn.n_writes], &op->ref, op->revision->number);
    write_add(op, value, STORE_ANY);
}

static struct d_app_entry entry_of(const struct d_app *app)
{
    return (struct d_app_entry){.uid = app->uid,
                                .generation = app->generation,
                                .created_unix_ms = app->created_unix_ms,
                                .revision = app->current != NULL ? app->current->number : 0,
                                .proven = app->proven,
                                .epoch_base = app->epoch_base,
                                .units = app->units,
                                .deleted = app->deleted,
                                .origin = app->origin,
                                .old_stores = app->old_stores,
                                .n_old_stores = app->n_old_stores};
}

static int recover_prepare(struct operation *op, struct a_error *reterr);

/* The newest number ever used: numbers are not used again. */
static uint64_t last_number(const struct d_app *app)
{
    const struct d_revision *last = a_list_entry(app->revisions.prev, struct d_revision, link);
    return a_list_empty(&app->revisions) ? 0 : last->number;
}

/* The app that is meant, fit for a change by a person. */
static int app_find(const struct operation *op, struct d_app **ret, struct a_error *reterr)
{
    struct d_app *app = d_app_find(op->server, &op->ref);
    if (app == NULL || (op->uid.s[0] != '\0' && strcmp(app->uid.s, op->uid.s) != 0))
        return a_fail(reterr, -ENOENT, A_CODE_NOT_FOUND, "no app %s in namespace %s", op->ref.name.s,
                      op->ref.namespace.s);
    if (app->orphan)
        return a_fail(reterr, -EBUSY, A_CODE_CONFLICT, "app %s is orphaned: first `astra orphans adopt %s`",
                      op->ref.name.s, op->ref.name.s);
    if (app->behind && op->prepare != recover_prepare)
        return a_fail(reterr, -EBUSY, A_CODE_CONFLICT,
                      "app %s: this store is older than what runs: first `astra recover`", op->ref.name.s);
    if (app->deleted)
        return a_fail(reterr, -EBUSY, A_CODE_CONFLICT, "app %s is being deleted: wait until it is gone",
                      op->ref.name.s);
    *ret = app;
    return 0;
}

/* What came from a Kubernetes cluster is changed there, and what did not is not taken over unasked. */
static int origin_check(const struct operation *op, const struct d_app *app, struct a_error *reterr)
{
    const char *speaks = d_kube_speaks_for_app(op->server, app), *own = op->origin.cluster.s;
    if (speaks != NULL && strcmp(speaks, own) != 0)
        return a_fail(reterr, -EBUSY, A_CODE_CONFLICT,
                      "app %s comes from the Kubernetes cluster %s: change it there (kubectl -n %s edit "
                      "apps.astra-ray.dev %s)",
                      op->ref.name.s, speaks, op->ref.namespace.s, op->ref.name.s);
    if (own[0] != '\0' && app->origin.cluster.s[0] == '\0' && !op->adopt)
        return a_fail(reterr, -EBUSY, A_CODE_CONFLICT, "app %s was made by the API", op->ref.name.s);
    return 0;
}

static bool origin_equal(const struct d_origin *a, const struct d_origin *b)
{
    return a->generation == b->generation && strcmp(a->cluster.s, b->cluster.s) == 0 &&
           strcmp(a->uid, b->uid) == 0;
}

static const char *actor_of(const struct operation *op)
{
    return op->origin.cluster.s[0] != '\0' ? "kubernetes" : "user";
}

/* Memory follows what was stored. */
static struct d_app *entry_apply(struct operation *op, uint64_t revision)
{
    struct d_app *app = d_app_find(op->server, &op->ref);
    a_assert(app != NULL);
    app->generation = op->next.generation;
    app->units = op->next.units;
    app->proven = op->next.proven;
    app->deleted = op->next.deleted;
    app->origin = op->next.origin;
    app->store_revision = revision;
    app->current = d_app_revision(app, op->next.revision);
    a_assert(app->current != NULL);
    d_app_desire(op->server, app);
    return app;
}

static void apply_entry(struct operation *op, uint64_t revision)
{
    entry_apply(op, revision);
}

/* ---- PUT ---- */

static bool revision_in_use(const struct d_app *app, const struct d_revision *r)
{
    struct unit_info unit;
    if (r == app->current || r->number == app->proven)
        return true;
    for (size_t i = 0; unit_fleet_unit(app->fleet, i, &unit); i++)
        if (unit.revision == r->number)
            return true;
    return false;
}

/* What history no longer keeps goes with the write of a new one, a few at a time. */
static void history_prune(struct operation *op, struct d_app *app, uint32_t history)
{
    size_t n = 1;
    a_list_foreach (l, &app->revisions) {
        (void)l;
        n++;
    }
    a_list_foreach (l, &app->revisions) {
        const struct d_revision *r = a_list_entry(l, struct d_revision, link);
        if (n <= history || op->txn.n_writes >= WRITES_MAX + PRUNE_MAX - 1)
            return;
        if (revision_in_use(app, r))
            continue;
        d_store_key_revision(op->keys[op->txn.n_writes], &op->ref, r->number);
        write_add(op, NULL, STORE_ANY);
        n--;
    }
}

static bool only_units_differ(const struct unit_change *c)
{
    for (; c != NULL; c = c->next)
        if (strcmp(c->field, "spec.units") != 0)
            return false;
    return true;
}

static void put_new(struct operation *op, const struct wire_value *app)
{
    sys_random_uuid4(&op->next.uid);
    op->next.origin = op->origin;
    op->next.created_unix_ms = sys_clock_wall_ms();
    op->next.generation = op->number = op->next.revision = 1;
    op->next.units = (uint32_t)wire_value_int(wire_value_path(app, "spec.units"), 1);
    op->revision = d_revision_new(app, &op->next.uid, 1, op->sources, op->n_sources, "deploy");
    op->changed = true;
    entry_write(op, STORE_ABSENT);
    revision_write(op);
}

/* The sources may have moved (a name@version is immutable, a bare name is not) without a word of the app's
 * changing. */
static bool pins_differ(const struct d_revision *a, const struct d_revision *b)
{
    return !a_digest_equal(&a->replace, &b->replace) || !a_digest_equal(&a->serve, &b->serve);
}

static void put_next(struct operation *op, struct d_app *app, const struct wire_value *tree)
{
    const struct unit_change *changes = unit_app_diff(&op->arena, d_app_tree(app, &op->arena), tree);
    uint64_t number = last_number(app) + 1;
    op->next = entry_of(app);
    op->next.origin = op->origin;
    op->next.units = (uint32_t)wire_value_int(wire_value_path(tree, "spec.units"), 1);
    op->revision = d_revision_new(tree, &app->uid, number, op->sources, op->n_sources, "deploy");
    bool new_revision = !only_units_differ(changes) || pins_differ(op->revision, app->current);
    op->changed = changes != NULL || new_revision;
    if (!op->changed && origin_equal(&op->origin, &app->origin))
        return;
    op->next.generation += op->changed;
    if (new_revision)
        op->number = op->next.revision = number;
    entry_write(op, app->store_revision);
    if (!new_revision)
        return;
    revision_write(op);
    history_prune(op, app, op->revision->read.history);
}

static int put_prepare(struct operation *op, struct a_error *reterr)
{
    struct wire_value *tree;
    int rc = wire_json_parse(&op->arena, a_view_str(op->app_json), "app", NULL, &tree, reterr);
    struct d_app *app = d_app_find(op->server, &op->ref);
    if (rc == 0 && app != NULL)
        rc = app_find(op, &app, reterr);
    if (rc == 0 && app != NULL)
        rc = origin_check(op, app, reterr);
    if (rc != 0)
        return rc;
    if (op->if_match != 0 && (app == NULL || app->store_revision != op->if_match))
        return a_fail(reterr, -EAGAIN, A_CODE_PRECONDITION,
                      "app %s changed meanwhile: read it again (resourceVersion is %llu)", op->ref.name.s,
                      (unsigned long long)(app != NULL ? app->store_revision : 0));
    if (app == NULL)
        put_new(op, tree);
    else
        put_next(op, app, tree);
    return 0;
}

static void pruned_forget(struct operation *op, struct d_app *app)
{
    for (size_t i = 2; i < op->txn.n_writes; i++) {
        a_list_foreach_safe (l, &app->revisions) {
            struct d_revision *r = a_list_entry(l, struct d_revision, link);
            char key[STORE_KEY_MAX];
            d_store_key_revision(key, &op->ref, r->number);
            if (strcmp(key, op->keys[i]) != 0)
                continue;
            a_map_remove(&op->server->texts, &r->by_digest);
            d_revision_free(r);
        }
    }
}

static void put_apply(struct operation *op, uint64_t revision)
{
    struct server *s = op->server;
    struct d_app *app = d_app_find(s, &op->ref);
    struct d_revision *r = op->number != 0 ? a_steal(&op->revision) : NULL;
    char object[80];
    if (app == NULL) {
        a_assert(r != NULL); /* a new app has its first revision */
        app = d_app_new(&op->ref, &op->next.uid);
        app->created_unix_ms = op->next.created_unix_ms;
        app->generation = op->next.generation;
        app->units = op->next.units;
        app->origin = op->next.origin;
        app->store_revision = revision;
        a_list_push_back(&app->revisions, &r->link);
        app->current = r;
        d_app_add(s, app);
        if (s->adopted)
            d_fleet_event(s, app, &(struct unit_fleet_event){.type = UNIT_FLEET_ADOPTED});
    } else {
        if (r != NULL) {
            a_list_push_back(&app->revisions, &r->link);
            a_map_put(&s->texts, &r->by_digest, r->digest.bytes, sizeof r->digest.bytes);
        }
        app = entry_apply(op, revision);
        pruned_forget(op, app);
    }
    snprintf(object, sizeof object, "app %s", op->ref.name.s);
    if (r != NULL)
        d_event_add(s, app, actor_of(op), object, r->number, A_REASON_REQUESTED, "revision %llu deployed",
                    (unsigned long long)r->number);
    else if (op->changed)
        d_event_add(s, app, actor_of(op), object, app->current->number, A_REASON_REQUESTED,
                    "scaled to %u units", app->units);
}

void d_app_put(struct server *s, const struct d_app_write *write, d_app_done *done, void *ctx)
{
    const struct wire_value *app = write->app;
    struct a_app_ref ref;
    bool ok = a_name_parse(wire_value_view(wire_value_path(app, "metadata.name")), &ref.name) &&
              a_name_parse(wire_value_view(wire_value_path(app, "metadata.namespace")), &ref.namespace);
    a_assert(ok); /* completed by the checker */
    struct operation *op = operation_new(s, &ref, done, ctx);
    A_BUF_AUTO struct a_buf json = {0};
    wire_json_print(&json, app, 0);
    op->app_json = a_buf_steal(&json);
    op->txn.also = write->also;
    op->sources = a_alloc_array(write->n_sources + 1, sizeof *op->sources);
    op->n_sources = write->n_sources;
    for (size_t i = 0; i < write->n_sources; i++) {
        op->sources[i] = write->sources[i];
        op->sources[i].name = a_arena_strdup(&op->arena, write->sources[i].name);
        op->sources[i].field = op->sources[i].source = "";
    }
    op->if_match = write->if_match;
    op->adopt = write->adopt;
    if (write->origin != NULL)
        op->origin = *write->origin;
    op->prepare = put_prepare;
    op->apply = put_apply;
    operation_submit(op);
}

/* ---- scale, undo, delete ---- */

static int scale_prepare(struct operation *op, struct a_error *reterr)
{
    struct d_app *app;
    int rc = app_find(op, &app, reterr);
    if (rc == 0)
        rc = origin_check(op, app, reterr);
    if (rc != 0)
        return rc;
    op->next = entry_of(app);
    op->changed = app->units != op->units;
    op->next.units = op->units;
    op->next.generation++;
    if (op->changed)
        entry_write(op, app->store_revision);
    return 0;
}

static void scale_apply(struct operation *op, uint64_t revision)
{
    struct d_app *app = entry_apply(op, revision);
    char object[80];
    snprintf(object, sizeof object, "app %s", op->ref.name.s);
    d_event_add(op->server, app, "user", object, app->current->number, A_REASON_REQUESTED,
                "scaled to %u units", app->units);
}

void d_app_scale(struct server *s, struct d_app *app, uint32_t units, const struct store_write *also,
                 d_app_done *done, void *ctx)
{
    struct operation *op = operation_new(s, &app->ref, done, ctx);
    op->txn.also = also;
    op->uid = app->uid;
    op->units = units;
    op->prepare = scale_prepare;
    op->apply = scale_apply;
    operation_submit(op);
}

static const struct d_revision *undo_target(const struct d_app *app, uint64_t to)
{
    const struct d_revision *before = NULL;
    if (to != 0)
        return d_app_revision(app, to);
    a_list_foreach (l, (struct a_list *)(uintptr_t)&app->revisions) {
        const struct d_revision *r = a_list_entry(l, struct d_revision, link);
        if (r->number < app->current->number)
            before = r;
    }
    return app->proven != 0 && app->proven < app->current->number ? d_app_revision(app, app->proven) : before;
}

static int undo_prepare(struct operation *op, struct a_error *reterr)
{
    struct d_app *app;
    int rc = app_find(op, &app, reterr);
    if (rc != 0)
        return rc;
    const struct d_revision *r = undo_target(app, op->from);
    if (r == NULL)
        return a_fail(reterr, -ENOENT, A_CODE_NOT_FOUND,
                      op->from != 0 ? "app %s has no revision %llu: see `astra rollout history %s`"
                                    : "app %s has no revision before %llu: see `astra rollout history %s`",
                      app->ref.name.s, (unsigned long long)(op->from != 0 ? op->from : app->current->number),
                      app->ref.name.s);
    op->next = entry_of(app);
    op->changed = r != app->current;
    op->next.revision = r->number;
    op->next.generation++;
    if (op->changed)
        entry_write(op, app->store_revision);
    return 0;
}

static void undo_apply(struct operation *op, uint64_t revision)
{
    struct d_app *app = entry_apply(op, revision);
    char object[80];
    snprintf(object, sizeof object, "app %s", op->ref.name.s);
    d_event_add(op->server, app, "user", object, app->current->number, A_REASON_UNDONE,
                "back to revision %llu", (unsigned long long)app->current->number);
}

void d_app_undo(struct server *s, struct d_app *app, uint64_t to, const struct store_write *also,
                d_app_done *done, void *ctx)
{
    struct operation *op = operation_new(s, &app->ref, done, ctx);
    op->txn.also = also;
    op->uid = app->uid;
    op->from = to;
    op->prepare = undo_prepare;
    op->apply = undo_apply;
    operation_submit(op);
}

static int delete_prepare(struct operation *op, struct a_error *reterr)
{
    struct d_app *app;
    int rc = app_find(op, &app, reterr);
    if (rc == 0)
        rc = origin_check(op, app, reterr);
    if (rc != 0)
        return rc;
    op->next = entry_of(app);
    op->next.deleted = op->changed = true;
    op->next.generation++;
    entry_write(op, app->store_revision);
    return 0;
}

static void delete_apply(struct operation *op, uint64_t revision)
{
    struct d_app *app = d_app_find(op->server, &op->ref);
    char object[80];
    snprintf(object, sizeof object, "app %s", op->ref.name.s);
    d_event_add(op->server, app, actor_of(op), object, 0, A_REASON_REQUESTED, "deletion begins: units drain");
    entry_apply(op, revision); /* an app without units is gone with this call's end */
}

void d_app_delete(struct server *s, struct d_app *app, const struct d_origin *origin,
                  const struct store_write *also, d_app_done *done, void *ctx)
{
    struct operation *op = operation_new(s, &app->ref, done, ctx);
    op->txn.also = also;
    if (origin != NULL)
        op->origin = *origin;
    op->uid = app->uid;
    op->prepare = delete_prepare;
    op->apply = delete_apply;
    operation_submit(op);
}

/* ---- a store that is older than what runs ---- */

/* The newest revisions found on nodes; one that is lost again is asked for again. */
static void found_write(struct operation *op, const struct d_app *app)
{
    for (struct a_list *l = app->revisions.prev; l != &app->revisions && op->n_values < WRITES_MAX;
         l = l->prev) {
        const struct d_revision *r = a_list_entry(l, struct d_revision, link);
        if (!r->found)
            continue;
        struct a_buf *value = value_add(op);
        d_revision_print(value, r);
        d_store_key_revision(op->keys[op->txn.n_writes], &op->ref, r->number);
        write_add(op, value, STORE_ANY);
    }
}

static int recover_prepare(struct operation *op, struct a_error *reterr)
{
    struct d_app *app;
    int rc = app_find(op, &app, reterr);
    if (rc != 0)
        return rc;
    if (!app->behind)
        return 0;
    if (d_nodes_may_come(op->server))
        return a_fail(reterr, -EAGAIN, A_CODE_UNAVAILABLE,
                      "app %s: the server started a moment ago, and nodes that know more may still come",
                      op->ref.name.s);
    op->next = entry_of(app);
    op->next.epoch_base += A_MAX(app->seen_epoch, app->epoch) + 1 - app->epoch;
    op->next.revision = last_number(app);
    op->next.generation++;
    op->changed = true;
    entry_write(op, STORE_ANY);
    found_write(op, app);
    return 0;
}

static void recover_apply(struct operation *op, uint64_t revision)
{
    struct server *s = op->server;
    struct d_app *app = d_app_find(s, &op->ref);
    a_assert(app != NULL);
    app->epoch_base = op->next.epoch_base;
    app->epoch = app->epoch_base + store_epoch(s->store);
    app->behind = false;
    d_api_app_changed(s, app);
    a_list_foreach (l, &app->revisions) {
        a_list_entry(l, struct d_revision, link)->found = false;
    }
    entry_apply(op, revision);
    if (s->adopted)
        d_fleet_event(s, app, &(struct unit_fleet_event){.type = UNIT_FLEET_ADOPTED});
    d_event_add(s, app, "user", app->key, app->current->number, A_REASON_REQUESTED,
                "recovered: epoch %llu, revision %llu", (unsigned long long)app->epoch,
                (unsigned long long)app->current->number);
}

void d_app_recover(struct server *s, struct d_app *app, d_app_done *done, void *ctx)
{
    struct operation *op = operation_new(s, &app->ref, done, ctx);
    op->uid = app->uid;
    op->prepare = recover_prepare;
    op->apply = recover_apply;
    operation_submit(op);
}

/* ---- the fleet's own verdicts ---- */

static int verdict_prepare(struct operation *op, struct a_error *reterr)
{
    (void)reterr;
    struct d_app *app = d_app_by_uid(op->server, &op->uid);
    /* One that is being deleted may be gone before the store answers; its verdict is nobody's news. */
    if (app == NULL || app->orphan || app->deleted)
        return 0;
    op->next = entry_of(app);
    if (op->from == 0) {
        op->next.proven = op->number;
    } else {
        if (app->current->number != op->from)
            return 0; /* somebody deployed meanwhile */
        op->next.revision = op->number;
    }
    if (d_app_revision(app, op->number) != NULL)
        entry_write(op, STORE_ANY);
    op->changed = op->txn.n_writes > 0;
    return 0;
}

static struct operation *verdict(struct server *s, const struct d_app *app, uint64_t from, uint64_t number)
{
    struct operation *op = operation_new(s, &app->ref, NULL, NULL);
    op->uid = app->uid;
    op->from = from;
    op->number = number;
    op->prepare = verdict_prepare;
    op->apply = apply_entry;
    return op;
}

void d_app_proven(struct server *s, struct d_app *app, uint64_t revision)
{
    operation_submit(verdict(s, app, 0, revision));
}

void d_app_undone(struct server *s, struct d_app *app, uint64_t from, uint64_t to)
{
    operation_submit(verdict(s, app, from, to));
}

/* ---- gone ---- */

struct gone {
    struct store_txn txn;
    struct store_write *writes;
    char (*keys)[STORE_KEY_MAX];
    struct a_buf tombstone;
};

static void gone_done(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    (void)revision;
    struct gone *g = ctx;
    if (rc != 0)
        sys_log(ERROR, "server", "store.tombstone", "a deleted app's entries were not removed",
                SYS_ERR(error));
    a_buf_deinit(&g->tombstone);
    a_free(g->writes);
    a_free(g->keys);
    a_free(g);
}

void d_app_gone(struct server *s, struct d_app *app)
{
    struct gone *g = a_new(struct gone);
    size_t n = 0;
    g->writes = a_alloc_array(STORE_WRITES_MAX, sizeof *g->writes);
    g->keys = a_alloc(STORE_WRITES_MAX * sizeof *g->keys);
    a_buf_addf(&g->tombstone, "{\"app\":\"%s\",\"time\":%llu}", app->key,
               (unsigned long long)sys_clock_wall_ms());
    d_store_key_tombstone(g->keys[n], app);
    g->writes[n] = (struct store_write){a_view_str(g->keys[n]), a_buf_view(&g->tombstone), STORE_ANY};
    n++;
    d_store_key_app(g->keys[n], &app->ref);
    g->writes[n] = (struct store_write){a_view_str(g->keys[n]), {NULL, 0}, STORE_ANY};
    n++;
    static const char *const kept[] = {"minutes", "hours"};
    for (size_t i = 0; i < A_ARRAY_SIZE(kept); i++) {
        d_store_key_success(g->keys[n], &app->ref, kept[i]);
        g->writes[n] = (struct store_write){a_view_str(g->keys[n]), {NULL, 0}, STORE_ANY};
        n++;
    }
    a_list_foreach (l, &app->revisions) {
        d_store_key_revision(g->keys[n], &app->ref, a_list_entry(l, struct d_revision, link)->number);
        g->writes[n] = (struct store_write){a_view_str(g->keys[n]), {NULL, 0}, STORE_ANY};
        if (++n == STORE_WRITES_MAX)
            break;
    }
    g->txn = (struct store_txn){.writes = g->writes, .n_writes = n, .done = gone_done, .ctx = g};
    store_submit(s->store, &g->txn);
    d_event_add(s, NULL, "server", app->key, 0, A_REASON_REQUESTED, "app %s is gone", app->key);
    d_kept_logs_forget(s, &app->uid);
    d_app_remove(s, app);
}
