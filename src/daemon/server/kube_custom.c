/* App and Pool as objects of a cluster (docs/components/kube.md, O1-O7): follows each kind, and for each
 * object that changed, or of which Astra has something new to tell, reads it, does what kube_custom_decide()
 * says, and writes its status. One request at a time and kind; the rest waits in a list, each object at most
 * once. */
#include "daemon/server/kube_custom.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/random.h"

#define PAUSE_MS 500   /* between two writes of a status: a rollout has many steps */
#define WAIT_MS 1000   /* for what is being deleted in Astra */
#define AGAIN_MS 30000 /* after a refusal: an artifact may come, a name become free */
#define BACK_OFF_MS 3000

static void turn(struct d_kube_custom *u);

static uint64_t now_of(const struct d_kube_custom *u)
{
    return sys_loop_now_ms(u->cluster->kube->s->loop);
}

static const struct custom_kind *kind_of(const struct d_kube_custom *u)
{
    return &custom_kinds[u->id];
}

/* ---- objects ---- */

static struct custom_object *object_find(const struct d_kube_custom *u, const char *key)
{
    struct a_map_link *l = u != NULL ? a_map_get_str(&u->objects, key) : NULL;
    return l != NULL ? a_map_entry(l, struct custom_object, link) : NULL;
}

static struct custom_object *object_get(struct d_kube_custom *u, const struct kube_row *row)
{
    struct a_view key = kube_row_text(row, row->key), name = kube_row_name(row);
    A_AUTOFREE char *text = a_asprintf(A_VIEW_FMT, A_VIEW_ARG(key));
    struct custom_object *o = object_find(u, text);
    if (o == NULL) {
        o = a_new(struct custom_object);
        o->custom = u;
        o->key = a_steal(&text);
        snprintf(o->name, sizeof o->name, A_VIEW_FMT, A_VIEW_ARG(name));
        snprintf(o->namespace, sizeof o->namespace, "%.*s", (int)(key.len - name.len - (key.len > name.len)),
                 o->key);
        a_map_put_str(&u->objects, &o->link, o->key);
    }
    return o;
}

static void object_free(struct custom_object *o)
{
    a_list_remove(&o->of_due);
    a_map_remove(&o->custom->objects, &o->link);
    a_arena_deinit(&o->arena);
    a_free(o->message);
    a_free(o->key);
    a_free(o);
}

static void object_due(struct custom_object *o, bool read)
{
    struct d_kube_custom *u = o->custom;
    o->read_due = o->read_due || read;
    if (!a_list_linked(&o->of_due))
        a_list_push_back(&u->due, &o->of_due);
    if (u->call == NULL)
        sys_timer_set_in(&u->timer, 0);
}

/* Again, but not before. */
static void object_later(struct custom_object *o, uint64_t in_ms)
{
    o->not_before_ms = now_of(o->custom) + in_ms;
    object_due(o, true);
}

/* What an answer says is what the row will say: an event of our own write is no news. */
static bool object_take(struct custom_object *o, struct a_view text)
{
    struct a_arena arena = {0};
    struct wire_value *v;
    struct kube_custom seen;
    if (kube_custom_scan(text, &seen) != 0 || wire_json_parse(&arena, text, NULL, NULL, &v, NULL) != 0) {
        a_arena_deinit(&arena);
        return false;
    }
    a_arena_deinit(&o->arena);
    o->arena = arena;
    o->object = v;
    o->seen = seen;
    snprintf(o->uid, sizeof o->uid, "%s", wire_value_string(wire_value_path(v, "metadata.uid"), ""));
    return true;
}

static void object_tell(struct custom_object *o, bool ours, const char *reason, const char *message)
{
    bool same = o->reason != NULL && strcmp(o->reason, reason) == 0 && strcmp(o->message, message) == 0;
    o->ours = ours;
    o->generation = o->seen.generation;
    if (same)
        return;
    if (strcmp(reason, "Accepted") != 0)
        sys_log(WARN, "kube", "kube.object", "an object is not accepted",
                SYS_STR("cluster", o->custom->cluster->name.s), SYS_STR("object", o->key),
                SYS_STR("reason", reason), SYS_STR("why", message));
    a_free(o->message);
    o->reason = reason;
    o->message = a_strdup(message);
}

/* ---- requests ---- */

static struct custom_object *answered(struct d_kube_custom *u, const struct net_web_answer *a)
{
    A_AUTOFREE char *key = a_steal(&u->current);
    A_ARENA_AUTO struct a_arena arena = {0};
    struct custom_object *o = object_find(u, key);
    u->call = NULL;
    if (a->rc != 0 || a->status == 401 || a->status >= 500)
        d_kube_cluster_heard(u->cluster, a);
    else if (a->status >= 400 && a->status != 404 && a->status != 409)
        sys_log(WARN, "kube", "kube.object_refused", "an object cannot be written",
                SYS_STR("cluster", u->cluster->name.s), SYS_STR("object", key),
                SYS_STR("why", d_kube_answer_why(&arena, a)));
    if (o != NULL && a->rc == 0 && a->status / 100 == 2 && object_take(o, a->body))
        return o;
    if (o != NULL && (a->rc != 0 || a->status != 404)) /* 409: it changed meanwhile; 404: its row goes */
        object_later(o, a->rc == 0 && a->status == 409 ? 0 : BACK_OFF_MS);
    turn(u);
    return NULL;
}

static void request(struct custom_object *o, const char *method, const char *sub, const char *content_type,
                    const struct wire_value *body, void (*done)(void *, const struct net_web_answer *))
{
    struct d_kube_custom *u = o->custom;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf text = {0};
    if (body != NULL)
        wire_json_print(&text, body, 0);
    const struct net_web_request q = {.method = method,
                                      .path = a_arena_printf(&arena,
                                                             "/apis/" KUBE_CUSTOM_GROUP
                                                             "/" KUBE_CUSTOM_VERSION "/namespaces/%s/%s/%s%s",
                                                             o->namespace, kind_of(u)->plural, o->name, sub),
                                      .content_type = content_type,
                                      .body = a_buf_view(&text),
                                      .done = done,
                                      .ctx = u};
    a_list_remove(&o->of_due);
    u->current = a_strdup(o->key);
    if (net_web_send(u->cluster->web, &q, &u->call, NULL) == 0)
        return;
    a_free(a_steal(&u->current));
    object_later(o, BACK_OFF_MS);
}

static void on_status(void *ctx, const struct net_web_answer *a)
{
    struct custom_object *o = answered(ctx, a);
    if (o != NULL)
        turn(o->custom);
}

/* True: it is on its way. */
static bool status_write(struct custom_object *o)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct wire_value *before = wire_value_get(o->object, "status");
    struct kube_custom_told told = {
        .generation = o->generation,
        .now_us = (int64_t)sys_clock_wall_ms() * 1000,
        .accepted = {"Accepted", strcmp(o->reason, "Accepted") == 0, o->reason, o->message},
        .before = before};
    struct wire_value *status = o->ours ? kind_of(o->custom)->status(o, &arena, &told) : NULL;
    if (status == NULL)
        status = kube_custom_status(&arena, &told);
    if (wire_value_equal(status, before))
        return false;
    o->not_before_ms = A_MAX(o->not_before_ms, now_of(o->custom) + PAUSE_MS);
    bool again = o->read_due && a_list_linked(&o->of_due);
    request(o, "PATCH", "/status?fieldManager=" KUBE_FIELD_MANAGER "&force=true",
            "application/apply-patch+yaml", kube_custom_status_apply(&arena, o->object, status), on_status);
    if (again)
        object_due(o, true);
    return true;
}

/* ---- what is decided ---- */

static void on_finalizer(void *ctx, const struct net_web_answer *a)
{
    struct custom_object *o = answered(ctx, a);
    if (o == NULL)
        return;
    object_due(o, true);
    turn(o->custom);
}

static void finalizer_write(struct custom_object *o, bool on)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    request(o, "PATCH", "?fieldManager=" KUBE_FIELD_MANAGER, "application/merge-patch+json",
            kube_custom_finalizer(&arena, o->object, on), on_finalizer);
}

static void refuse(struct custom_object *o, enum kube_holder holder)
{
    if (holder == KUBE_HOLDER_API)
        object_tell(o, false, "MadeByApi",
                    "one of this name was made by the API or the command line: delete it there, or annotate "
                    "this object with " KUBE_ANNOTATION_ADOPT "=true to take it over");
    else
        object_tell(o, false, "MadeElsewhere",
                    "one of this name comes from an object in another place, which is still there");
    object_later(o, AGAIN_MS);
}

static void put(struct custom_object *o)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const char *errors = "";
    struct kube_custom_state state = {.object = o->seen};
    o->busy = true;
    if (kind_of(o->custom)->put(o, &arena, &errors))
        return;
    o->busy = false;
    kind_of(o->custom)->look(o, &state);
    object_tell(o, state.holder == KUBE_HOLDER_OURS, "Invalid", errors);
    object_later(o, AGAIN_MS);
}

/* The object is as fresh as an answer is. */
static void look(struct custom_object *o)
{
    struct kube_custom_state state = {.object = o->seen};
    kind_of(o->custom)->look(o, &state);
    switch (kube_custom_decide(&state)) {
    case KUBE_CUSTOM_FINALIZE:
        finalizer_write(o, true);
        return;
    case KUBE_CUSTOM_RELEASE:
        finalizer_write(o, false);
        return;
    case KUBE_CUSTOM_PUT:
        put(o);
        break;
    case KUBE_CUSTOM_REMOVE:
        o->busy = true;
        kind_of(o->custom)->remove(o);
        break;
    case KUBE_CUSTOM_REFUSE:
        refuse(o, state.holder);
        break;
    case KUBE_CUSTOM_WAIT:
        object_tell(o, state.holder == KUBE_HOLDER_OURS, "Deleting", "it is on its way out in Astra");
        object_later(o, WAIT_MS);
        break;
    case KUBE_CUSTOM_KEEP:
        if (o->seen.deleted_s != 0)
            break;
        object_tell(o, true, "Accepted", "");
        break;
    }
    if (o->busy || o->reason == NULL || o->seen.deleted_s != 0 || !status_write(o))
        turn(o->custom);
}

static void on_object(void *ctx, const struct net_web_answer *a)
{
    struct custom_object *o = answered(ctx, a);
    if (o != NULL)
        look(o);
}

/* ---- writes of Astra's ---- */

struct custom_write {
    struct server *server;
    struct a_name cluster;
    enum d_kube_custom_kind_id id;
    char *key;
};

struct custom_write *custom_write_new(struct custom_object *o)
{
    struct custom_write *w = a_new(struct custom_write);
    w->server = o->custom->cluster->kube->s;
    w->cluster = o->custom->cluster->name;
    w->id = o->custom->id;
    w->key = a_strdup(o->key);
    return w;
}

void custom_written(void *write, const struct a_error *error)
{
    struct custom_write *w = write;
    const struct d_kube_cluster *c = d_kube_cluster_find(w->server, &w->cluster);
    struct custom_object *o = c != NULL ? object_find(c->custom[w->id], w->key) : NULL;
    if (o != NULL) {
        struct kube_custom_state state = {.object = o->seen};
        o->busy = false;
        kind_of(o->custom)->look(o, &state);
        if (error != NULL && error->code != A_CODE_NONE) {
            object_tell(o, state.holder == KUBE_HOLDER_OURS, "NotStored", a_error_text(error));
            object_later(o, AGAIN_MS);
        } else {
            if (o->seen.deleted_s == 0)
                object_tell(o, true, "Accepted", "");
            object_due(o, o->seen.deleted_s != 0);
        }
    }
    a_free(w->key);
    a_free(w);
}

/* ---- turns ---- */

static bool is_owned(const struct d_kube_custom *u)
{
    return u->cluster->web != NULL && u->cluster->lease.owned;
}

/* The next that may be looked at now; else *ret_at says when there is one. */
static struct custom_object *next_due(struct d_kube_custom *u, uint64_t *ret_at)
{
    uint64_t now = now_of(u);
    *ret_at = A_NEVER;
    a_list_foreach (l, &u->due) {
        struct custom_object *o = a_list_entry(l, struct custom_object, of_due);
        if (o->busy)
            continue;
        if (o->not_before_ms <= now)
            return o;
        *ret_at = A_MIN(*ret_at, o->not_before_ms);
    }
    return NULL;
}

static void turn(struct d_kube_custom *u)
{
    uint64_t at = A_NEVER;
    struct custom_object *o;
    while (u->call == NULL && is_owned(u) && (o = next_due(u, &at)) != NULL) {
        a_list_remove(&o->of_due);
        if (o->object != NULL && !o->read_due) {
            (void)(o->reason != NULL && o->seen.deleted_s == 0 && status_write(o));
            continue;
        }
        o->read_due = false;
        request(o, "GET", "", NULL, NULL, on_object);
    }
    sys_timer_set_at(&u->timer, u->call == NULL && is_owned(u) ? at : A_NEVER);
}

static void on_timer(void *ctx)
{
    turn(ctx);
}

/* ---- the rows ---- */

static void on_changed(void *ctx, const struct kube_change *change)
{
    struct d_kube_custom *u = ctx;
    struct custom_object *o = object_get(u, change->row);
    if (change->type == KUBE_ROW_GONE) {
        object_free(o);
        return;
    }
    if (o->object != NULL && a_view_is(kube_row_uid(change->row), o->uid) &&
        memcmp(kube_row_custom(change->row), &o->seen, sizeof o->seen) == 0)
        return;
    o->not_before_ms = A_MIN(o->not_before_ms, now_of(u) + PAUSE_MS);
    object_due(o, true);
}

static void on_synced(void *ctx)
{
    struct d_kube_custom *u = ctx;
    u->synced = true;
}

static void on_stale(void *ctx, const char *reason)
{
    struct d_kube_custom *u = ctx;
    sys_log(INFO, "kube", "kube.objects",
            "custom resources are not followed; `astra cluster manifests --crds` prints what that needs",
            SYS_STR("cluster", u->cluster->name.s), SYS_STR("kind", kind_of(u)->plural),
            SYS_STR("why", reason));
}

/* ---- begin and end ---- */

void d_kube_custom_start(struct d_kube_cluster *c)
{
    for (int i = 0; i < D_KUBE_CUSTOM_KINDS; i++) {
        A_ARENA_AUTO struct a_arena arena = {0};
        struct d_kube_custom *u = a_new(struct d_kube_custom);
        u->cluster = c;
        u->id = (enum d_kube_custom_kind_id)i;
        u->objects.seed = sys_random_seed();
        a_list_init(&u->due);
        sys_timer_init(&u->timer, c->kube->s->loop, on_timer, u);
        c->custom[i] = u;
        d_kube_stream_start(
            &u->stream, c,
            &(struct d_kube_stream_options){
                .kind = kind_of(u)->rows,
                .path = a_arena_printf(&arena, "/apis/" KUBE_CUSTOM_GROUP "/" KUBE_CUSTOM_VERSION "/%s",
                                       kind_of(u)->plural),
                .may_be_missing = true,
                .changed = on_changed,
                .synced = on_synced,
                .stale = on_stale,
                .ctx = u});
    }
}

void d_kube_custom_stop(struct d_kube_cluster *c)
{
    for (int i = 0; i < D_KUBE_CUSTOM_KINDS; i++) {
        struct d_kube_custom *u = a_steal(&c->custom[i]);
        if (u == NULL)
            continue;
        if (u->call != NULL)
            net_web_call_cancel(u->call);
        sys_timer_clear(&u->timer);
        a_map_foreach (l, &u->objects)
            object_free(a_map_entry(l, struct custom_object, link));
        a_map_deinit(&u->objects);
        d_kube_stream_stop(&u->stream);
        a_free(u->current);
        a_free(u);
    }
}

void d_kube_custom_owned(struct d_kube_cluster *c)
{
    for (int i = 0; i < D_KUBE_CUSTOM_KINDS; i++)
        if (c->custom[i] != NULL)
            a_map_foreach (l, &c->custom[i]->objects)
                object_due(a_map_entry(l, struct custom_object, link), true);
}

void d_kube_custom_counts(const struct d_kube_cluster *c, enum d_kube_custom_kind_id kind, size_t *ret_all,
                          size_t *ret_refused)
{
    const struct d_kube_custom *u = c->custom[kind];
    size_t all = 0, refused = 0;
    if (u != NULL)
        a_map_foreach (l, &u->objects) {
            const struct custom_object *o = a_map_entry(l, struct custom_object, link);
            all++;
            refused += o->reason == NULL || strcmp(o->reason, "Accepted") != 0;
        }
    *ret_all = all;
    *ret_refused = refused;
}

/* ---- Astra's side ---- */

static void changed(const struct server *s, const struct d_origin *origin, enum d_kube_custom_kind_id id,
                    const char *key)
{
    const struct d_kube_cluster *c =
        origin->cluster.s[0] != '\0' ? d_kube_cluster_find(s, &origin->cluster) : NULL;
    struct custom_object *o = c != NULL ? object_find(c->custom[id], key) : NULL;
    if (o == NULL)
        return;
    if (o->ours) /* the wait of a refused one is not this one's */
        o->not_before_ms = A_MIN(o->not_before_ms, now_of(o->custom) + PAUSE_MS);
    object_due(o, o->seen.deleted_s != 0);
}

void d_kube_custom_app_changed(struct server *s, const struct d_app *app)
{
    changed(s, &app->origin, D_KUBE_APPS, app->key);
}

void d_kube_custom_pool_changed(const struct d_kube_pool *p)
{
    char key[KUBE_NAMESPACE_MAX + A_NAME_MAX + 2];
    snprintf(key, sizeof key, "%s/%s", p->spec.namespace, p->spec.name.s);
    changed(p->kube->s, &p->origin, D_KUBE_POOLS, key);
}

static const char *speaks(const struct server *s, const struct d_origin *origin,
                          enum d_kube_custom_kind_id id, const char *key)
{
    const struct d_kube_cluster *c =
        origin->cluster.s[0] != '\0' ? d_kube_cluster_find(s, &origin->cluster) : NULL;
    const struct d_kube_custom *u = c != NULL ? c->custom[id] : NULL;
    if (c == NULL || (u != NULL && u->synced && object_find(u, key) == NULL))
        return NULL;
    return origin->cluster.s;
}

const char *d_kube_speaks_for_app(const struct server *s, const struct d_app *app)
{
    return speaks(s, &app->origin, D_KUBE_APPS, app->key);
}

const char *d_kube_speaks_for_pool(const struct d_kube_pool *p)
{
    char key[KUBE_NAMESPACE_MAX + A_NAME_MAX + 2];
    snprintf(key, sizeof key, "%s/%s", p->spec.namespace, p->spec.name.s);
    return speaks(p->kube->s, &p->origin, D_KUBE_POOLS, key);
}
