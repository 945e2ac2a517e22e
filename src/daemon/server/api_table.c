/* All objects of a kind, with the sequence of their last change: what lists and watches are made of.
 *
 * It is level-triggered, like the cores below: nobody has to say that something changed. While somebody
 * watches, all objects are looked at five times a second; what reads differently has a new sequence. A cursor
 * is a sequence of this process; deletions are remembered, a bounded number, and a cursor before that is
 * told to list again. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "daemon/server/api.h"

void api_tables_init(struct api *a)
{
    for (int i = 0; i < API_KIND_COUNT; i++)
        a_list_init(&a->tables[i].gone);
}

static void object_free(struct api_object *o)
{
    a_list_remove(&o->of_gone);
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

/* ---- looking ---- */

static struct api_object *object_get(struct api_table *t, const char *key)
{
    struct a_map_link *l = a_map_get_str(&t->objects, key);
    if (l != NULL)
        return a_map_entry(l, struct api_object, link);
    struct api_object *o = a_new(struct api_object);
    o->key = a_strdup(key);
    a_map_put_str(&t->objects, &o->link, o->key);
    return o;
}

static void object_seen(struct api *a, enum api_kind kind, const char *key, const struct wire_value *v)
{
    struct api_table *t = &a->tables[kind];
    struct api_object *o = object_get(t, key);
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, v, 0);
    uint64_t hash = a_hash_bytes(0, b.ptr, b.len);
    o->seen = true;
    if (o->text != NULL && o->hash == hash && o->len == b.len)
        return;
    if (o->text == NULL && a_list_linked(&o->of_gone)) {
        a_list_remove(&o->of_gone);
        t->n_gone--;
    }
    a_free(o->text);
    o->hash = hash;
    o->len = b.len;
    o->text = a_buf_steal(&b);
    o->sequence = ++a->sequence;
}

static void object_gone(struct api *a, struct api_table *t, struct api_object *o)
{
    a_free(o->text);
    o->text = NULL;
    o->len = 0;
    o->sequence = ++a->sequence;
    a_list_push_back(&t->gone, &o->of_gone);
    if (++t->n_gone <= API_GONE_MAX)
        return;
    struct api_object *oldest = a_list_entry(t->gone.next, struct api_object, of_gone);
    t->floor = oldest->sequence;
    t->n_gone--;
    a_map_remove(&t->objects, &oldest->link);
    object_free(oldest);
}

static void look_units(struct api *a, const struct d_app *app, struct a_arena *arena)
{
    struct unit_info u;
    for (size_t i = 0; app->fleet != NULL && unit_fleet_unit(app->fleet, i, &u); i++)
        object_seen(a, API_KIND_UNIT, a_arena_printf(arena, "%s/%s", app->key, u.name.s),
                    api_json_unit(a, app, &u, arena, false));
}

static void look_nodes(struct api *a, struct a_arena *arena)
{
    for (const struct sl_resource_node *n = sl_resource_next(&a->s->resource, NULL); n != NULL;
         n = sl_resource_next(&a->s->resource, n)) {
        object_seen(a, API_KIND_NODE, n->id.s, api_json_node(a, n, arena, false));
        a_arena_reset(arena);
    }
}

void api_table_refresh(struct api *a, enum api_kind kind)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct api_table *t = &a->tables[kind];
    a_map_foreach (l, &t->objects)
        a_map_entry(l, struct api_object, link)->seen = false;
    if (kind == API_KIND_NODE)
        look_nodes(a, &arena);
    a_map_foreach (l, &a->s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (kind == API_KIND_UNIT)
            look_units(a, app, &arena);
        else if (kind == API_KIND_APP)
            object_seen(a, API_KIND_APP, app->key, api_json_app(a, app, &arena, false));
        a_arena_reset(&arena);
    }
    a_map_foreach (l, &t->objects) {
        struct api_object *o = a_map_entry(l, struct api_object, link);
        if (!o->seen && o->text != NULL)
            object_gone(a, t, o);
    }
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
    static const char *const names[] = {"AppList", "UnitList", "NodeList"};
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
    api_table_refresh(c->api, kind);
    if (api_query_flag(c, "watch"))
        watch_begin(c, kind, prefix);
    else
        list_reply(c, kind, prefix, limit);
}
