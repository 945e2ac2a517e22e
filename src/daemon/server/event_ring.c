#include "daemon/server/event_ring.h"

#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"

static struct d_event *at(struct d_event_ring *ring, size_t index)
{
    size_t oldest = ring->n < D_EVENTS_MAX ? 0 : ring->next;
    return &ring->events[(oldest + index) % D_EVENTS_MAX];
}

const struct d_event *d_event_at(const struct d_event_ring *ring, size_t index)
{
    return at((struct d_event_ring *)(uintptr_t)ring, index);
}

static bool no_room(const struct d_event *e)
{
    return e->reason == A_REASON_NO_CAPACITY;
}

static bool is_alike(const struct d_event *a, const struct d_event *b)
{
    struct a_view x = a_view_str(a->message), y = a_view_str(b->message), rest;
    if (strcmp(a->actor, b->actor) != 0 || a->revision != b->revision || a->reason != b->reason)
        return false;
    if (no_room(a)) {
        x = a_view_split(x, ';', &rest);
        y = a_view_split(y, ';', &rest);
    }
    return a_view_equal(x, y);
}

/* What the object's last event says; or its last but one, when one of the two is a refusal for want of room:
 * then the other is the try. The index, or `n`. */
static size_t alike_find(struct d_event_ring *ring, const struct d_event *e)
{
    const struct d_event *last = NULL;
    for (size_t i = ring->n; i-- > 0;) {
        const struct d_event *old = at(ring, i);
        if (strcmp(old->object, e->object) != 0)
            continue;
        bool tried = last == NULL || no_room(last) || no_room(old);
        bool alike = is_alike(old, e) && e->time_unix_ms - old->time_unix_ms < D_EVENTS_FOLD_MS;
        if (alike && tried)
            return i;
        if (last != NULL)
            break;
        last = old;
    }
    return ring->n;
}

/* The event at `index` becomes the newest. */
static struct d_event *to_the_end(struct d_event_ring *ring, size_t index)
{
    struct d_event moved = *at(ring, index);
    for (; index + 1 < ring->n; index++)
        *at(ring, index) = *at(ring, index + 1);
    *at(ring, index) = moved;
    return at(ring, index);
}

const struct d_event *d_event_ring_add(struct d_event_ring *ring, const struct d_event *event)
{
    size_t index = alike_find(ring, event);
    if (index < ring->n) {
        struct d_event *again = to_the_end(ring, index);
        a_free(again->message);
        again->message = event->message;
        again->sequence = event->sequence;
        again->time_unix_ms = event->time_unix_ms;
        again->count++;
        return again;
    }
    struct d_event *e = &ring->events[ring->next];
    ring->next = (ring->next + 1) % D_EVENTS_MAX;
    ring->n = A_MIN(ring->n + 1, (size_t)D_EVENTS_MAX);
    a_free(e->message);
    *e = *event;
    e->first_unix_ms = e->time_unix_ms;
    e->count = 1;
    return e;
}

void d_event_ring_free(struct d_event_ring *ring)
{
    if (ring == NULL)
        return;
    for (size_t i = 0; i < ring->n; i++)
        a_free(ring->events[i].message);
    a_free(ring);
}
