/* Server-sent events: changes of objects, and events. A client that takes nothing for a while misses no
 * state of an object: only how it changed in between. A client too slow for events is cut; it comes back with
 * the last id it saw. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"

struct api_stream {
    struct a_list link; /* of api.streams */
    struct api *api;
    struct net_http_request *r;
    struct d_event_watcher watcher; /* event streams */
    bool events, cut;
    enum api_kind kind;
    char *prefix;
    uint64_t sent; /* sequence */
    uint64_t said_ms;
};

static void stream_free(struct api_stream *st)
{
    a_list_remove(&st->link);
    a_list_remove(&st->watcher.link);
    if (a_list_empty(&st->api->streams))
        sys_timer_clear(&st->api->tick);
    a_free(st->prefix);
    a_free(st);
}

static void stream_gone(void *ctx, struct net_http_request *r)
{
    (void)r;
    stream_free(ctx);
}

/* ---- objects ---- */

static int sequence_order(const void *x, const void *y)
{
    const struct api_object *const *a = x, *const *b = y;
    return (*a)->sequence < (*b)->sequence ? -1 : (*a)->sequence > (*b)->sequence;
}

static size_t objects_changed(struct api_stream *st, struct a_arena *arena, struct api_object ***ret)
{
    struct api_table *t = &st->api->tables[st->kind];
    struct api_object **list = a_arena_alloc(arena, (t->objects.len + 1) * sizeof *list);
    size_t n = 0, len = strlen(st->prefix);
    a_map_foreach (l, &t->objects) {
        struct api_object *o = a_map_entry(l, struct api_object, link);
        if (o->sequence > st->sent && strncmp(o->key, st->prefix, len) == 0)
            list[n++] = o;
    }
    qsort(list, n, sizeof(struct api_object *), sequence_order);
    *ret = list;
    return n;
}

static int object_write(struct api_stream *st, const struct api_object *o, struct a_arena *arena)
{
    A_BUF_AUTO struct a_buf b = {0};
    struct a_view id = a_view_str(api_cursor(st->api, o->sequence, arena));
    if (o->text != NULL)
        return net_http_sse_write(st->r, id, A_VIEW_LIT("put"), (struct a_view){o->text, o->len});
    const char *slash = strrchr(o->key, '/');
    a_buf_add_str(&b, "{\"key\":");
    a_text_print_json(&b, a_view_str(o->key));
    a_buf_add_str(&b, ",\"name\":");
    a_text_print_json(&b, a_view_str(slash != NULL ? slash + 1 : o->key));
    a_buf_add_char(&b, '}');
    return net_http_sse_write(st->r, id, A_VIEW_LIT("delete"), a_buf_view(&b));
}

static void objects_send(struct api_stream *st)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct api_object **list;
    size_t n = objects_changed(st, &arena, &list);
    for (size_t i = 0; i < n; i++) {
        /* A new watcher (sent 0) need not hear of what was already gone. */
        if ((st->sent > 0 || list[i]->text != NULL) && object_write(st, list[i], &arena) != 0)
            return; /* full or gone: the rest at a later look */
        st->sent = list[i]->sequence;
        st->said_ms = sys_loop_now_ms(st->api->s->loop);
    }
}

/* ---- all streams ---- */

static void stream_tick(struct api_stream *st)
{
    if (st->cut) {
        struct net_http_request *r = st->r;
        stream_free(st);
        net_http_stream_abort(r);
        return;
    }
    if (!st->events && !net_http_stream_is_full(st->r))
        objects_send(st);
    uint64_t now = sys_loop_now_ms(st->api->s->loop);
    if (now - st->said_ms >= API_KEEP_ALIVE_MS && net_http_sse_ping(st->r) == 0)
        st->said_ms = now;
}

static void on_tick(void *ctx)
{
    struct api *a = ctx;
    bool wanted[API_KIND_COUNT] = {false};
    a_list_foreach (l, &a->streams) {
        const struct api_stream *st = a_list_entry(l, struct api_stream, link);
        if (!st->events)
            wanted[st->kind] = true;
    }
    for (int i = 0; i < API_KIND_COUNT; i++)
        if (wanted[i])
            api_table_refresh(a, (enum api_kind)i);
    a_list_foreach_safe (l, &a->streams)
        stream_tick(a_list_entry(l, struct api_stream, link));
    if (!a_list_empty(&a->streams))
        sys_timer_set_in(&a->tick, API_WATCH_MS);
}

static struct api_stream *stream_begin(struct api_call *c, const char *prefix, uint64_t since)
{
    struct api *a = c->api;
    const struct net_http_header headers[] = {{"Cache-Control", "no-store"}};
    struct api_stream *st = a_new(struct api_stream);
    *st = (struct api_stream){.api = a, .r = c->r, .prefix = a_strdup(prefix), .sent = since};
    st->said_ms = sys_loop_now_ms(a->s->loop);
    a_list_push_back(&a->streams, &st->link);
    c->r->on_gone = stream_gone;
    c->r->on_gone_ctx = st;
    if (!sys_timer_is_set(&a->tick)) {
        sys_timer_init(&a->tick, a->s->loop, on_tick, a);
        sys_timer_set_in(&a->tick, API_WATCH_MS);
    }
    net_http_stream_begin(c->r, &(struct net_http_response){
                                    .content_type = "text/event-stream", .headers = headers, .n_headers = 1});
    return st;
}

void api_stream_objects(struct api_call *c, enum api_kind kind, const char *prefix, uint64_t since)
{
    struct api_stream *st = stream_begin(c, prefix, since);
    st->kind = kind;
    objects_send(st);
}

static int event_write(struct api_stream *st, const struct d_event *e)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, api_json_event(e, &arena), 0);
    st->said_ms = sys_loop_now_ms(st->api->s->loop);
    return net_http_sse_write(st->r, a_view_str(api_cursor(st->api, e->sequence, &arena)),
                              A_VIEW_LIT("event"), a_buf_view(&b));
}

static void on_event(void *ctx, const struct d_event *e)
{
    struct api_stream *st = ctx;
    if (!st->cut && api_event_matches(e, st->prefix) && event_write(st, e) != 0)
        st->cut = true; /* not here: whoever adds events walks the list of watchers */
}

void api_stream_events(struct api_call *c, const char *prefix, uint64_t since)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct d_event **list;
    struct api_stream *st = stream_begin(c, prefix, since);
    size_t n = api_events_collect(c->api, st->prefix, since, &arena, &list);
    st->events = true;
    for (size_t i = 0; i < n && !st->cut; i++)
        on_event(st, list[i]);
    st->watcher.event = on_event;
    st->watcher.ctx = st;
    a_list_push_back(&st->api->s->event_watchers, &st->watcher.link);
}

void api_streams_close(struct api *a)
{
    a_list_foreach_safe (l, &a->streams) {
        struct api_stream *st = a_list_entry(l, struct api_stream, link);
        struct net_http_request *r = st->r;
        stream_free(st);
        r->on_gone = NULL;
        net_http_stream_end(r);
    }
    sys_timer_clear(&a->tick);
}
