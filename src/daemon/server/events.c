/* What happened, for people: a ring per app and one for the rest, and whoever watches. Events are lost at a
 * restart; the log keeps a line of each. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/server.h"
#include "sys/clock.h"
#include "sys/log.h"

static struct d_event_ring *ring_of(struct server *s, const struct d_app *app)
{
    struct d_event_ring **ring = app != NULL ? (struct d_event_ring **)&app->events : &s->events;
    if (*ring == NULL)
        *ring = a_new(struct d_event_ring);
    return *ring;
}

void d_event_add(struct server *s, const struct d_app *app, const char *actor, const char *object,
                 uint64_t revision, enum a_reason reason, const char *fmt, ...)
{
    A_BUF_AUTO struct a_buf message = {0};
    va_list args;
    va_start(args, fmt);
    a_buf_vaddf(&message, fmt, args);
    va_end(args);
    struct d_event_ring *ring = ring_of(s, app);
    struct d_event *e = &ring->events[ring->next];
    ring->next = (ring->next + 1) % D_SERVER_EVENTS;
    ring->n = A_MIN(ring->n + 1, (size_t)D_SERVER_EVENTS);
    a_free(e->message);
    *e = (struct d_event){.sequence = ++s->event_sequence,
                          .time_unix_ms = sys_clock_wall_ms(),
                          .actor = actor,
                          .revision = revision,
                          .reason = reason,
                          .message = a_buf_steal(&message)};
    s->event_counts[reason]++;
    if (app != NULL)
        e->app = app->ref;
    snprintf(e->object, sizeof e->object, "%s", object);
    sys_log(INFO, "server", "event", e->message, SYS_STR("app", app != NULL ? app->key : "-"),
            SYS_STR("object", e->object), SYS_STR("reason", a_reason_name(reason)));
    a_list_foreach_safe (l, &s->event_watchers) {
        struct d_event_watcher *w = a_list_entry(l, struct d_event_watcher, link);
        w->event(w->ctx, e);
    }
}

void d_event_ring_free(struct d_event_ring *ring)
{
    if (ring == NULL)
        return;
    for (size_t i = 0; i < ring->n; i++)
        a_free(ring->events[i].message);
    a_free(ring);
}

const struct d_event *d_event_at(const struct d_event_ring *ring, size_t index)
{
    size_t oldest = ring->n < D_SERVER_EVENTS ? 0 : ring->next;
    return &ring->events[(oldest + index) % D_SERVER_EVENTS];
}
