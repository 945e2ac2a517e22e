/* Apps in memory and what is read of them at start. The tables: by namespace/name, by uid, and each revision
 * by its digest. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/server.h"
#include "daemon/server/store_keys.h"
#include "sys/log.h"
#include "sys/random.h"

struct d_app *d_app_find(const struct server *s, const struct a_app_ref *ref)
{
    char key[2 * A_NAME_MAX + 2];
    snprintf(key, sizeof key, "%s/%s", ref->namespace.s, ref->name.s);
    struct a_map_link *l = a_map_get_str(&s->apps, key);
    return l != NULL ? a_map_entry(l, struct d_app, by_ref) : NULL;
}

struct d_app *d_app_by_uid(const struct server *s, const struct a_uuid *uid)
{
    struct a_map_link *l = a_map_get_str(&s->uids, uid->s);
    return l != NULL ? a_map_entry(l, struct d_app, by_uid) : NULL;
}

struct d_app *d_app_new(const struct a_app_ref *ref, const struct a_uuid *uid)
{
    struct d_app *app = a_new(struct d_app);
    app->ref = *ref;
    app->uid = *uid;
    snprintf(app->key, sizeof app->key, "%s/%s", ref->namespace.s, ref->name.s);
    a_list_init(&app->revisions);
    a_list_init(&app->past);
    return app;
}

static void app_free(struct d_app *app)
{
    a_list_foreach_safe (l, &app->revisions) {
        d_revision_free(a_list_entry(l, struct d_revision, link));
    }
    unit_fleet_free(app->fleet);
    d_event_ring_free(app->events);
    d_past_free(app);
    d_success_deinit(&app->counts.success);
    a_free(app->old_stores);
    a_free(app);
}

static void stores_known(struct server *s, const struct d_app *app, enum sl_resource_event_type type)
{
    struct sl_resource_event e = {.type = type};
    e.app.uid = app->uid;
    e.app.store_id = *store_id(s->store);
    d_resource_event(s, &e);
    for (size_t i = 0; i < app->n_old_stores; i++) {
        e.app.store_id = app->old_stores[i];
        d_resource_event(s, &e);
    }
}

void d_app_add(struct server *s, struct d_app *app)
{
    a_map_put_str(&s->apps, &app->by_ref, app->key);
    a_map_put_str(&s->uids, &app->by_uid, app->uid.s);
    d_api_app_changed(s, app);
    a_list_foreach (l, &app->revisions) {
        struct d_revision *r = a_list_entry(l, struct d_revision, link);
        a_map_put(&s->texts, &r->by_digest, r->digest.bytes, sizeof r->digest.bytes);
    }
    if (app->orphan)
        return;
    app->epoch = app->epoch_base + store_epoch(s->store);
    app->fleet = unit_fleet_new(sys_random_seed());
    d_app_desire(s, app);
    stores_known(s, app, SL_RESOURCE_KNOW_APP);
}

static void units_drop(struct server *s, const struct d_app *app)
{
    d_cores_enter(s); /* what others are told meanwhile waits until the map is still */
    a_map_foreach (l, &s->units) {
        struct d_unit *u = a_map_entry(l, struct d_unit, link);
        if (u->app == app)
            d_unit_free(s, u);
    }
    d_cores_leave(s);
}

void d_app_remove(struct server *s, struct d_app *app)
{
    if (!app->orphan)
        stores_known(s, app, SL_RESOURCE_FORGET_APP);
    d_actions_drop(s, app);
    d_gangs_drop(s, app);
    units_drop(s, app);
    a_list_foreach (l, &app->revisions) {
        a_map_remove(&s->texts, &a_list_entry(l, struct d_revision, link)->by_digest);
    }
    d_api_app_changed(s, app);
    a_map_remove(&s->apps, &app->by_ref);
    a_map_remove(&s->uids, &app->by_uid);
    app_free(app);
    d_routes_touch(s);
}

void d_app_desire(struct server *s, struct d_app *app)
{
    struct unit_revision_info infos[128];
    size_t n = 0;
    a_list_foreach (l, &app->revisions) {
        const struct d_revision *r = a_list_entry(l, struct d_revision, link);
        a_assert(n < A_ARRAY_SIZE(infos)); /* history is at most 100, and pruned */
        infos[n++] = (struct unit_revision_info){.number = r->number,
                                                 .digest = r->digest,
                                                 .replace = r->replace,
                                                 .serve = r->serve,
                                                 .members = r->members,
                                                 .n_members = r->n_members};
    }
    const struct unit_app *a = &app->current->read;
    struct unit_desired d = {
        .app = app->ref,
        .uid = app->uid,
        .store_id = *store_id(s->store),
        .epoch = app->epoch,
        .generation = app->generation,
        .units = app->units,
        .deleted = app->deleted,
        .revisions = infos,
        .n_revisions = n,
        .revision = app->current->number,
        .proven = app->proven,
        .rollout = {a->max_surge, a->max_unavailable, a->bake_ms, a->progress_deadline_ms, a->undo},
        .drain_ms = A_MAX(a->drain_requests_ms, a->drain_streams_ms)};
    d_fleet_event(s, app, &(struct unit_fleet_event){.type = UNIT_FLEET_DESIRED, .desired = &d});
    d_routes_touch(s);
}

struct wire_value *d_app_tree(const struct d_app *app, struct a_arena *arena)
{
    struct wire_value *tree;
    if (app->current == NULL)
        return NULL;
    int rc = wire_json_parse(arena, a_view_str(app->current->app_json), NULL, NULL, &tree, NULL);
    a_assert(rc == 0);
    struct wire_value *metadata = wire_value_get(tree, "metadata");
    wire_value_set_int(arena, wire_value_get(tree, "spec"), "units", app->units);
    wire_value_set_string(arena, metadata, "uid", app->uid.s);
    wire_value_set_int(arena, metadata, "generation", (int64_t)app->generation);
    wire_value_set_string(arena, metadata, "resourceVersion",
                          a_arena_printf(arena, "%llu", (unsigned long long)app->store_revision));
    return tree;
}

/* ---- start ---- */

struct load {
    struct server *server;
    struct a_error *reterr;
    int rc;
};

static bool load_app(struct load *l, const struct a_app_ref *ref, const struct store_entry *entry)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct d_app_entry e;
    l->rc = d_app_entry_parse(&arena, entry->value, &e, l->reterr);
    if (l->rc != 0)
        return false;
    struct d_app *app = d_app_new(ref, &e.uid);
    app->generation = e.generation;
    app->created_unix_ms = e.created_unix_ms;
    app->units = e.units;
    app->proven = e.proven;
    app->epoch_base = e.epoch_base;
    app->deleted = e.deleted;
    app->origin = e.origin;
    app->store_revision = entry->revision;
    app->wanted_revision = e.revision;
    app->old_stores = a_alloc_array(e.n_old_stores + 1, sizeof *app->old_stores);
    if (e.n_old_stores > 0)
        memcpy(app->old_stores, e.old_stores, e.n_old_stores * sizeof *app->old_stores);
    app->n_old_stores = e.n_old_stores;
    a_map_put_str(&l->server->apps, &app->by_ref,
                  app->key); /* d_app_add() follows when its revisions are here */
    return true;
}

static bool load_revision(struct load *l, const struct a_app_ref *ref, const struct store_entry *entry)
{
    struct d_app *app = d_app_find(l->server, ref);
    struct d_revision *r;
    if (app == NULL)
        return true; /* left over from an app that is gone */
    l->rc = d_revision_parse(entry->value, &r, l->reterr);
    if (l->rc != 0)
        return false;
    a_list_push_back(&app->revisions, &r->link); /* keys sort by number */
    if (r->number == app->wanted_revision)
        app->current = r;
    return true;
}

static void record_nodes_add(struct server *s, const struct unit_record *record)
{
    s->record_nodes =
        a_realloc(s->record_nodes, (s->n_record_nodes + record->n_members) * sizeof *s->record_nodes);
    for (size_t i = 0; i < record->n_members; i++)
        s->record_nodes[s->n_record_nodes++] = record->members[i].node;
}

static bool load_unit(struct load *l, const struct a_app_ref *ref, const struct store_entry *entry)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct d_app *app = d_app_find(l->server, ref);
    struct unit_record record;
    const char *token;
    if (app == NULL)
        return true;
    l->rc = d_unit_record_parse(&arena, entry->value, &record, &token, l->reterr);
    if (l->rc != 0)
        return false;
    struct d_unit *u = d_unit_get(l->server, app, &record.unit);
    snprintf(u->ray_token, sizeof u->ray_token, "%s", token);
    record_nodes_add(l->server, &record);
    d_fleet_event(l->server, app, &(struct unit_fleet_event){.type = UNIT_FLEET_RECORD, .record = &record});
    return true;
}

/* "APP" or "APP/..." of this kind; other entries are passed over. */
static bool ref_of(const struct store_entry *entry, const char *kind, struct a_app_ref *ret)
{
    struct a_view found, rest, more;
    if (!d_store_key_split(entry->key, &ret->namespace, &found, &rest) || !a_view_is(found, kind))
        return false;
    return a_name_parse(a_view_split(rest, '/', &more), &ret->name);
}

static bool each_app(void *ctx, const struct store_entry *entry)
{
    struct a_app_ref ref;
    return !ref_of(entry, "app", &ref) || load_app(ctx, &ref, entry);
}

static bool each_revision(void *ctx, const struct store_entry *entry)
{
    struct a_app_ref ref;
    return !ref_of(entry, "revision", &ref) || load_revision(ctx, &ref, entry);
}

static bool each_unit(void *ctx, const struct store_entry *entry)
{
    struct a_app_ref ref;
    return !ref_of(entry, "unit", &ref) || load_unit(ctx, &ref, entry);
}

static int apps_add(struct server *s, struct a_error *reterr)
{
    a_map_foreach (l, &s->apps) {
        struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app->current == NULL)
            return a_fail(reterr, -EINVAL, A_CODE_STORE_CORRUPT, "app %s: revision %llu is not in the store",
                          app->key, (unsigned long long)app->wanted_revision);
        a_map_remove(&s->apps, &app->by_ref);
        d_app_add(s, app);
    }
    return 0;
}

int d_apps_load(struct server *s, struct a_error *reterr)
{
    struct load l = {.server = s, .reterr = reterr};
    int rc = store_scan(s->store, "/", each_app, &l, reterr);
    if (rc == 0 && l.rc == 0)
        rc = store_scan(s->store, "/", each_revision, &l, reterr);
    if (rc == 0 && l.rc == 0)
        rc = apps_add(s, reterr);
    if (rc == 0 && l.rc == 0)
        rc = store_scan(s->store, "/", each_unit, &l, reterr);
    rc = rc != 0 ? rc : l.rc;
    if (rc != 0)
        a_error_wrap(reterr, "reading the store");
    return rc;
}

void d_apps_adopted(struct server *s)
{
    s->adopted = true;
    sys_log(INFO, "server", "adopted", "the adopt phase is over", SYS_U64("apps", s->apps.len));
    a_map_foreach (l, &s->apps) {
        struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app->fleet != NULL && !app->behind)
            d_fleet_event(s, app, &(struct unit_fleet_event){.type = UNIT_FLEET_ADOPTED});
    }
}

void d_apps_free(struct server *s)
{
    a_map_foreach (l, &s->apps) {
        struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        d_actions_drop(s, app);
        d_gangs_drop(s, app);
        units_drop(s, app);
        app_free(app);
    }
    a_map_deinit(&s->apps);
    a_map_deinit(&s->uids);
    a_map_deinit(&s->texts);
    a_map_deinit(&s->units);
    a_map_deinit(&s->gangs);
    a_free(s->record_nodes);
    s->record_nodes = NULL;
}
