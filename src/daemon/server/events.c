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

/* What is said again is logged at the 2nd, 4th, 8th time and so on, with how often it was said. Nothing of
 * ours is left out; of what an agent says of one object, what is more than 10 a second: a node that lies
 * fills no disk. */
static void log_write(const struct d_app *app, const struct d_event *e)
{
    const char *key = app != NULL ? app->key : "-";
    if ((e->count & (e->count - 1)) != 0)
        return;
    if (strcmp(e->actor, "agent") == 0)
        sys_log_of(INFO, "server", "event", e->object, e->message, SYS_STR("app", key),
                   SYS_STR("object", e->object), SYS_STR("reason", a_reason_name(e->reason)),
                   SYS_U64("count", e->count));
    else
        sys_log_change(INFO, "server", "event", e->message, SYS_STR("app", key), SYS_STR("object", e->object),
                       SYS_STR("reason", a_reason_name(e->reason)), SYS_U64("count", e->count));
}

void d_event_add(struct server *s, const struct d_app *app, const char *actor, const char *object,
                 uint64_t revision, enum a_reason reason, const char *fmt, ...)
{
    A_BUF_AUTO struct a_buf message = {0};
    va_list args;
    va_start(args, fmt);
    a_buf_vaddf(&message, fmt, args);
    va_end(args);
    struct d_event new = {.sequence = ++s->event_sequence,
                          .time_unix_ms = sys_clock_wall_ms(),
                          .actor = actor,
                          .revision = revision,
                          .reason = reason,
                          .message = a_buf_steal(&message)};
    if (app != NULL)
        new.app = app->ref;
    snprintf(new.object, sizeof new.object, "%s", object);
    const struct d_event *e = d_event_ring_add(ring_of(s, app), &new);
    s->event_counts[reason]++;
    log_write(app, e);
    a_list_foreach_safe (l, &s->event_watchers) {
        struct d_event_watcher *w = a_list_entry(l, struct d_event_watcher, link);
        w->event(w->ctx, e);
    }
}
