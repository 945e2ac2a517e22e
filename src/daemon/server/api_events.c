/* Events: the rings of the apps and of everything else, as one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "daemon/server/api.h"

bool api_event_matches(const struct d_event *e, const char *prefix)
{
    char key[2 * A_NAME_MAX + 3];
    snprintf(key, sizeof key, "%s/%s/", e->app.namespace.s, e->app.name.s);
    return strncmp(key, prefix, strlen(prefix)) == 0;
}

static int event_order(const void *x, const void *y)
{
    const struct d_event *const *a = x, *const *b = y;
    return (*a)->sequence < (*b)->sequence ? -1 : (*a)->sequence > (*b)->sequence;
}

static size_t ring_collect(const struct d_event_ring *ring, const char *prefix, uint64_t since,
                           const struct d_event **list, size_t n)
{
    for (size_t i = 0; ring != NULL && i < ring->n; i++) {
        const struct d_event *e = d_event_at(ring, i);
        if (e->sequence > since && api_event_matches(e, prefix))
            list[n++] = e;
    }
    return n;
}

size_t api_events_collect(const struct api *a, const char *prefix, uint64_t since, struct a_arena *arena,
                          const struct d_event ***ret)
{
    size_t n = 0, room = a->s->events != NULL ? a->s->events->n : 0;
    a_map_foreach (l, &a->s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        room += app->events != NULL ? app->events->n : 0;
    }
    const struct d_event **list = a_arena_alloc(arena, (room + 1) * sizeof *list);
    n = ring_collect(a->s->events, prefix, since, list, n);
    a_map_foreach (l, &a->s->apps)
        n = ring_collect(a_map_entry(l, struct d_app, by_ref)->events, prefix, since, list, n);
    qsort(list, n, sizeof(const struct d_event *), event_order);
    *ret = list;
    return n;
}

/* Something behind `since` may have been pushed out of the ring. */
static bool ring_missed(const struct d_event_ring *ring, uint64_t since)
{
    return ring != NULL && ring->n == D_EVENTS_MAX && d_event_at(ring, 0)->sequence > since + 1;
}

static bool events_missed(const struct api *a, const char *prefix, uint64_t since)
{
    if (prefix[0] == '\0' && ring_missed(a->s->events, since))
        return true;
    a_map_foreach (l, &a->s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (ring_missed(app->events, since) && api_event_matches(d_event_at(app->events, 0), prefix))
            return true;
    }
    return false;
}

/* False: answered. */
static bool since_read(struct api_call *c, const char *prefix, uint64_t *ret)
{
    const char *text = api_query(c, "since");
    if (text[0] == '\0')
        text = api_text(c, net_http_request_header(c->r, "last-event-id"));
    if (text[0] == '\0')
        return true;
    if (api_cursor_parse(c->api, text, ret) && *ret <= c->s->event_sequence &&
        !events_missed(c->api, prefix, *ret))
        return true;
    api_reply_problem(c, A_CODE_GONE, "what happened since %s is no longer known: list again", text);
    return false;
}

static void events_reply(struct api_call *c, const char *prefix, uint64_t since, size_t limit)
{
    const struct d_event **list;
    size_t n = api_events_collect(c->api, prefix, since, c->arena, &list);
    struct wire_value *v = wire_value_new_object(c->arena), *items = wire_value_new_array(c->arena);
    wire_value_set_string(c->arena, v, "kind", "EventList");
    wire_value_set_string(c->arena, v, "revision", api_cursor(c->api, c->s->event_sequence, c->arena));
    for (size_t i = n > limit ? n - limit : 0; i < n; i++)
        wire_value_append(items, api_json_event(list[i], c->arena));
    wire_value_set(c->arena, v, "items", items);
    api_reply_value(c, 200, v);
}

static void events_handle(struct api_call *c, const char *prefix)
{
    const char *text = api_query(c, "limit");
    uint64_t limit = API_PAGE_MAX, since = 0;
    if (text[0] != '\0' && (!a_text_u64(a_view_str(text), &limit) || limit == 0)) {
        api_reply_problem(c, A_CODE_INVALID, "limit: \"%s\" is no number of at least 1", text);
        return;
    }
    if (!since_read(c, prefix, &since))
        return;
    if (api_query_flag(c, "watch"))
        api_stream_events(c, prefix, since);
    else
        events_reply(c, prefix, since, limit);
}

void api_handle_EVENTS_ALL(struct api_call *c)
{
    events_handle(c, c->scope != NULL ? a_arena_printf(c->arena, "%s/", c->scope) : "");
}

void api_handle_EVENTS(struct api_call *c)
{
    events_handle(c, a_arena_printf(c->arena, "%s/", c->namespace.s));
}

void api_handle_APP_EVENTS(struct api_call *c)
{
    const struct d_app *app = api_app(c);
    if (app != NULL)
        events_handle(c, a_arena_printf(c->arena, "%s/", app->key));
}
