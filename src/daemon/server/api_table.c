/* All objects of a kind in the order of their last change: what lists and watches are made of.
 *
 * Whoever changes something marks the app or the node that it belongs to, no more: a mark says "look again".
 * What is marked is looked at when somebody lists, and while somebody watches soon after; an object that
 * reads differently has a new sequence and goes to the end of its feed. So a mark too many costs a look, and
 * a fleet at rest costs nothing. A cursor is a sequence of this process; deletions are remembered, a bounded
 * number, and a cursor before that is told to list again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "daemon/server/api.h"
#include "daemon/server/kube.h"
#include "sys/clock.h"

void api_tables_init(struct api *a)
{
    for (int i = 0; i < API_KIND_COUNT; i++) {
        a_list_init(&a->tables[i].gone);
        a_list_init(&a->tables[i].changes);
    }
    a_list_init(&a->marked);
    a_list_init(&a->marked_endpoints);
}

static void object_free(struct api_object *o)
{
    a_list_remove(&o->of_gone);
    a_list_remove(&o->of_changes);
    a_list_remove(&o->of_marked);
    a_list_remove(&o->of_app);
    a_list_foreach_safe (l, &o->units)
        a_list_remove(l);
    a_free(o->key);
    a_free(o->text);
    a_free(o);
}

void api_tables_deinit(struct api *a)
{
    for (int i = 0; i < API_KIND_COUNT; i++) {
        a_map_foreach (l, &a->tables[i].objects) {
            struct api_object *o = a_map_entry(l, struct api_object, link);
            a_map_remove(&a->tables[i].objects, l);
            object_free(o);
        }
        a_map_deinit(&a->tables[i].objects);
    }
}

static struct api_object *object_get(struct api *a, enum api_kind kind, const char *key)
{
    struct api_table *t = &a->tables[kind];
    struct a_map_link *l = a_map_get_str(&t->objects, key);
    if (l != NULL)
        return a_map_entry(l, struct api_object, link);
    struct api_object *o = a_new(struct api_object);
    o->key = a_strdup(key);
    a_list_init(&o->units);
    a_map_put_str(&t->objects, &o->link, o->key);
    return o;
}

/* ---- marking ---- */

static void look_arm(struct api *a)
{
    if (a_list_empty(&a->marked) || sys_timer_is_set(&a->look) || !api_streams_watch(a))
        return;
    uint64_t pause = A_MAX((uint64_t)API_WATCH_MIN_MS, a->look_took_ms * API_WATCH_SHARE);
    sys_timer_set_at(&a->look, A_MAX(sys_loop_now_ms(a->s->loop) + API_WATCH_MIN_MS, a->look_ms + pause));
}

static void object_mark(struct api *a, enum api_kind kind, const char *key)
{
    struct api_object *o = object_get(a, kind, key);
    if (!a_list_linked(&o->of_marked))
        a_list_push_back(&a->marked, &o->of_marked);
    look_arm(a);
}

void d_api_endpoint_changed(struct server *s, const struct a_app_ref *app, const char *id)
{
    if (s->api == NULL)
        return;
    A_AUTOFREE char *key = a_asprintf("%s/%s/%s", app->namespace.s, app->name.s, id);
    struct api_object *o = object_get(s->api, API_KIND_ENDPOINT, key);
    if (!a_list_linked(&o->of_marked))
        a_list_push_back(&s->api->marked_endpoints, &o->of_marked);
}

void d_api_app_changed(struct server *s, const struct d_app *app)
{
    if (s->api != NULL)
        object_mark(s->api, API_KIND_APP, app->key);
    d_kube_custom_app_changed(s, app);
}

void d_api_node_changed(struct server *s, const struct a_node_id *node)
{
    if (s->api != NULL)
        object_mark(s->api, API_KIND_NODE, node->s);
}

/* ---- looking ---- */

static void object_told(struct api *a, struct api_table *t, struct api_object *o)
{
    o->sequence = ++a->sequence;
    a_list_remove(&o->of_changes);
    a_list_push_back(&t->changes, &o->of_changes);
}

static struct api_object *object_seen(struct api *a, enum api_kind kind, const char *key,
                                      const struct wire_value *v)
{
    struct api_table *t = &a->tables[kind];
    struct api_object *o = object_get(a, kind, key);
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, v, 0);
    uint64_t hash = a_hash_bytes(0, b.ptr, b.len);
    o->seen = true;
    if (o->text != NULL && o->hash == hash && o->len == b.len)
        return o;
    if (o->text == NULL && a_list_linked(&o->of_gone)) {
        a_list_remove(&o->of_gone);
        t->n_gone--;
    }
    a_free(o->text);
    o->hash = hash;
    o->len = b.len;
    o->text = a_buf_steal(&b);
    object_told(a, t, o);
    return o;
}

static void object_drop(struct api_table *t, struct api_object *o)
{
    a_map_remove(&t->objects, &o->link);
    object_free(o);
}

static void object_gone(struct api *a, enum api_kind kind, struct api_object *o)
{
    struct api_table *t = &a->tables[kind];
    if (o->text == NULL) {
        if (!a_list_linked(&o->of_gone)) /* marked, and gone before it was told */
            object_drop(t, o);
        return;
    }
    a_free(o->text);
    o->text = NULL;
    o->len = 0;
    object_told(a, t, o);
    a_list_push_back(&t->gone, &o->of_gone);
    if (++t->n_gone <= API_GONE_MAX)
        return;
    struct api_object *oldest = a_list_entry(t->gone.next, struct api_object, of_gone);
    t->floor = oldest->sequence;
    t->n_gone--;
    object_drop(t, oldest);
}

static void look_units(struct api *a, const struct d_app *app, struct api_object *of, struct a_arena *arena)
{
    struct unit_info u;
    for (size_t i = 0; app->fleet != NULL && unit_fleet_unit(app->fleet, i, &u); i++) {
        struct wire_value *v = api_json_unit(a, app, &u, arena, false);
        struct api_object *o =
            object_seen(a, API_KIND_UNIT, a_arena_printf(arena, "%s/%s", app->key, u.name.s), v);
        if (!a_list_linked(&o->of_app))
            a_list_push_back(&of->units, &o->of_app);
    }
}

static void look_app(struct api *a, struct api_object *o, struct a_arena *arena)
{
    struct a_map_link *found = a_map_get_str(&a->s->apps, o->key);
    const struct d_app *app = found != NULL ? a_map_entry(found, struct d_app, by_ref) : NULL;
    a_list_foreach (l, &o->units)
        a_list_entry(l, struct api_object, of_app)->seen = false;
    if (app != NULL) {
        object_seen(a, API_KIND_APP, o->key, api_json_app(a, app, arena, false));
        look_units(a, app, o, arena);
    }
    a_list_foreach_safe (l, &o->units) {
        struct api_object *unit = a_list_entry(l, struct api_object, of_app);
        if (unit->seen)
            continue;
        a_list_remove(l);
        object_gone(a, API_KIND_UNIT, unit);
    }
    if (app == NULL)
        object_gone(a, API_KIND_APP, o);
}

static void look_node(struct api *a, struct api_object *o, struct a_arena *arena)
{
    struct a_node_id id;
    const struct sl_resource_node *node =
        a_node_id_parse(a_view_str(o->key), &id) ? sl_resource_node(&a->s->resource, &id) : NULL;
    if (node != NULL)
        object_seen(a, API_KIND_NODE, o->key, api_json_node(a, node, arena, false));
    else
        object_gone(a, API_KIND_NODE, o);
}

/* An endpoint that is DEAD takes nothing: to who calls it directly it is gone. */
static void look_endpoint(struct api *a, struct api_object *o, struct a_arena *arena)
{
    const char *slash = strchr(strchr(o->key, '/') + 1, '/');
    char key[2 * A_NAME_MAX + 2];
    struct wire_sl_endpoint e;
    snprintf(key, sizeof key, "%.*s", (int)(slash - o->key), o->key);
    struct a_map_link *found = a_map_get_str(&a->s->apps, key);
    if (found != NULL && d_routes_endpoint(a->s, slash + 1, arena, &e) && e.state != WIRE_SL_ENDPOINT_DEAD)
        object_seen(a, API_KIND_ENDPOINT, o->key,
                    api_json_endpoint(a_map_entry(found, struct d_app, by_ref), &e, arena));
    else
        object_gone(a, API_KIND_ENDPOINT, o);
}

static void look_endpoints(struct api *a)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct a_list *link;
    while ((link = a_list_pop_front(&a->marked_endpoints)) != NULL) {
        look_endpoint(a, a_list_entry(link, struct api_object, of_marked), &arena);
        a_arena_reset(&arena);
    }
}

/* Not by the timer of the others: gateways have it in this round, and so has who watches. */
void d_api_endpoints_tell(struct server *s)
{
    struct api *a = s->api;
    if (a == NULL || a_list_empty(&a->marked_endpoints) || !api_streams_watch_kind(a, API_KIND_ENDPOINT))
        return;
    look_endpoints(a);
    api_streams_tell(a);
}

void api_tables_look(struct api *a)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct a_list *link;
    uint64_t start = sys_clock_mono_ms();
    while ((link = a_list_pop_front(&a->marked)) != NULL) {
        struct api_object *o = a_list_entry(link, struct api_object, of_marked);
        if (strchr(o->key, '/') != NULL)
            look_app(a, o, &arena);
        else
            look_node(a, o, &arena);
        a_arena_reset(&arena);
        a->looked++;
    }
    look_endpoints(a);
    a->look_took_ms = sys_clock_mono_ms() - start;
    a->look_ms = sys_loop_now_ms(a->s->loop);
}

static void on_look(void *ctx)
{
    struct api *a = ctx;
    api_tables_look(a);
    api_streams_tell(a);
}

/* What was there before the API began. */
void api_tables_begin(struct api *a)
{
    sys_timer_init(&a->look, a->s->loop, on_look, a);
    a_map_foreach (l, &a->s->apps)
        object_mark(a, API_KIND_APP, a_map_entry(l, struct d_app, by_ref)->key);
}

/* ---- cursors ---- */

const char *api_cursor(const struct api *a, uint64_t sequence, struct a_arena *arena)
{
    return a_arena_printf(arena, "%.8s.%" PRIu64, a->s->boot_id.s, sequence);
}

bool api_cursor_parse(const struct api *a, const char *text, uint64_t *ret)
{
    return strncmp(text, a->s->boot_id.s, 8) == 0 && text[8] == '.' && a_text_u64(a_view_str(text + 9), ret);
}

/* ---- lists ---- */

static int object_order(const void *x, const void *y)
{
    const struct api_object *const *a = x, *const *b = y;
    return strcmp((*a)->key, (*b)->key);
}

/* The living objects behind `after`, by key. */
static size_t objects_sorted(struct api_table *t, struct a_arena *arena, const char *prefix,
                             const char *after, struct api_object ***ret)
{
    struct api_object **list = a_arena_alloc(arena, (t->objects.len + 1) * sizeof *list);
    size_t n = 0, len = strlen(prefix);
    a_map_foreach (l, &t->objects) {
        struct api_object *o = a_map_entry(l, struct api_object, link);
        if (o->text != NULL && strncmp(o->key, prefix, len) == 0 && strcmp(o->key, after) > 0)
            list[n++] = o;
    }
    qsort(list, n, sizeof(struct api_object *), object_order);
    *ret = list;
    return n;
}

static void list_reply(struct api_call *c, enum api_kind kind, const char *prefix, size_t limit)
{
    static const char *const names[] = {"AppList", "UnitList", "NodeList", "EndpointList"};
    A_BUF_AUTO struct a_buf b = {0};
    struct api_object **list;
    size_t n = objects_sorted(&c->api->tables[kind], c->arena, prefix, api_query(c, "continue"), &list);
    a_buf_addf(&b, "{\"kind\":\"%s\",\"revision\":\"%s\",\"items\":[", names[kind],
               api_cursor(c->api, c->api->sequence, c->arena));
    for (size_t i = 0; i < n && i < limit; i++) {
        a_buf_add_str(&b, i > 0 ? "," : "");
        a_buf_add(&b, list[i]->text, list[i]->len);
    }
    a_buf_add_str(&b, "],\"continue\":");
    if (n > limit)
        a_text_print_json(&b, a_view_str(list[limit - 1]->key));
    else
        a_buf_add_str(&b, "null");
    a_buf_add_str(&b, "}\n");
    api_reply_json(c, 200, a_buf_view(&b));
}

static void watch_begin(struct api_call *c, enum api_kind kind, const char *prefix)
{
    const char *text = api_query(c, "since");
    uint64_t since = 0;
    if (text[0] == '\0')
        text = api_text(c, net_http_request_header(c->r, "last-event-id"));
    if (text[0] != '\0' && (!api_cursor_parse(c->api, text, &since) || since < c->api->tables[kind].floor ||
                            since > c->api->sequence)) {
        api_reply_problem(c, A_CODE_GONE, "what changed since %s is no longer known: list again", text);
        return;
    }
    api_stream_objects(c, kind, prefix, since);
}

void api_list(struct api_call *c, enum api_kind kind, const char *prefix)
{
    const char *text = api_query(c, "limit");
    uint64_t limit = API_PAGE_MAX;
    if (text[0] != '\0' && (!a_text_u64(a_view_str(text), &limit) || limit == 0 || limit > API_PAGE_MAX)) {
        api_reply_problem(c, A_CODE_INVALID, "limit: \"%s\" is no number from 1 to %d", text, API_PAGE_MAX);
        return;
    }
    api_tables_look(c->api);
    if (api_query_flag(c, "watch"))
        watch_begin(c, kind, prefix);
    else
        list_reply(c, kind, prefix, limit);
}
