/* Server-sent events: changes of objects, and events. A client that takes nothing for a while misses no
 * state of an object: only how it changed in between. A client too slow for events is cut; it comes back with
 * the last id it saw. */
#include <stdint.h>
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
    a_free(st->prefix);
    a_free(st);
}

static void stream_gone(void *ctx, struct net_http_request *r)
{
    (void)r;
    stream_free(ctx);
}

/* ---- objects ---- */

/* What the object itself calls itself: of an endpoint its id, which has slashes of its own. */
static struct a_view name_of(enum api_kind kind, const char *key)
{
    const char *slash = strrchr(key, '/');
    if (kind == API_KIND_ENDPOINT)
        slash = strchr(strchr(key, '/') + 1, '/');
    return a_view_str(slash != NULL ? slash + 1 : key);
}

static int object_write(struct api_stream *st, const struct api_object *o, struct a_arena *arena)
{
    A_BUF_AUTO struct a_buf b = {0};
    struct a_view id = a_view_str(api_cursor(st->api, o->sequence, arena));
    if (o->text != NULL)
        return net_http_sse_write(st->r, id, A_VIEW_LIT("put"), (struct a_view){o->text, o->len});
    a_buf_add_str(&b, "{\"key\":");
    a_text_print_json(&b, a_view_str(o->key));
    a_buf_add_str(&b, ",\"name\":");
    a_text_print_json(&b, name_of(st->kind, o->key));
    a_buf_add_char(&b, '}');
    return net_http_sse_write(st->r, id, A_VIEW_LIT("delete"), a_buf_view(&b));
}

/* The first object of the feed that changed behind `since`; the feed's head when there is none. */
static struct a_list *feed_find(struct api_table *t, uint64_t since)
{
    struct a_list *l = &t->changes;
    while (l->prev != &t->changes && a_list_entry(l->prev, struct api_object, of_changes)->sequence > since)
        l = l->prev;
    return l;
}

static void objects_send(struct api_stream *st)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct api_table *t = &st->api->tables[st->kind];
    size_t len = strlen(st->prefix);
    bool fresh = st->sent == 0; /* a new watcher need not hear of what was already gone */
    for (struct a_list *l = feed_find(t, st->sent); l != &t->changes; l = l->next) {
        const struct api_object *o = a_list_entry(l, struct api_object, of_changes);
        if (strncmp(o->key, st->prefix, len) == 0 && (o->text != NULL || !fresh)) {
            if (net_http_stream_is_full(st->r) || object_write(st, o, &arena) != 0)
                return; /* the rest when it has taken some */
            st->said_ms = sys_loop_now_ms(st->api->s->loop);
            a_arena_reset(&arena);
        }
        st->sent = o->sequence;
    }
}

static void on_objects_drain(void *ctx, struct net_http_request *r)
{
    (void)r;
    objects_send(ctx);
}

/* ---- all streams ---- */

bool api_streams_watch_kind(const struct api *a, enum api_kind kind)
{
    a_list_foreach (l, (struct a_list *)(uintptr_t)&a->streams) {
        const struct api_stream *st = a_list_entry(l, struct api_stream, link);
        if (!st->events && st->kind == kind)
            return true;
    }
    return false;
}

bool api_streams_watch(const struct api *a)
{
    for (int kind = 0; kind < API_KIND_COUNT; kind++)
        if (kind != API_KIND_ENDPOINT && api_streams_watch_kind(a, (enum api_kind)kind))
            return true;
    return false;
}

void api_streams_tell(struct api *a)
{
    a_list_foreach_safe (l, &a->streams) {
        struct api_stream *st = a_list_entry(l, struct api_stream, link);
        if (!st->events)
            objects_send(st);
    }
}

/* When it has something to do next: a comment, or its end. */
static uint64_t stream_tick(struct api_stream *st)
{
    uint64_t now = sys_loop_now_ms(st->api->s->loop);
    if (st->cut) {
        struct net_http_request *r = st->r;
        stream_free(st);
        net_http_stream_abort(r);
        return A_NEVER;
    }
    if (now - st->said_ms >= API_KEEP_ALIVE_MS) {
        (void)!net_http_sse_ping(st->r); /* a full one has something to read */
        st->said_ms = now;
    }
    return st->said_ms + API_KEEP_ALIVE_MS;
}

static void on_tick(void *ctx)
{
    struct api *a = ctx;
    uint64_t at = A_NEVER;
    a_list_foreach_safe (l, &a->streams) {
        uint64_t next = stream_tick(a_list_entry(l, struct api_stream, link));
        at = A_MIN(at, next);
    }
    if (!a_list_empty(&a->streams))
        sys_timer_set_at(&a->tick, at);
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
    if (!sys_timer_is_set(&a->tick))
        sys_timer_set_in(&a->tick, API_KEEP_ALIVE_MS);
    net_http_stream_begin(c->r, &(struct net_http_response){
                                    .content_type = "text/event-stream", .headers = headers, .n_headers = 1});
    return st;
}

void api_stream_objects(struct api_call *c, enum api_kind kind, const char *prefix, uint64_t since)
{
    struct api_stream *st = stream_begin(c, prefix, since);
    st->kind = kind;
    net_http_stream_on_drain(c->r, on_objects_drain, st);
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
    if (!st->cut && api_event_matches(e, st->prefix) && event_write(st, e) != 0) {
        st->cut = true; /* not here: whoever adds events walks the list of watchers */
        sys_timer_set_in(&st->api->tick, 0);
    }
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

void api_streams_begin(struct api *a)
{
    a_list_init(&a->streams);
    sys_timer_init(&a->tick, a->s->loop, on_tick, a);
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
    sys_timer_clear(&a->look);
}
