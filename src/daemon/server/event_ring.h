/* The last events of an app. One that says what was said just before of the same object is told again with a
 * count instead of taking another place: who waits for room is refused every few seconds, for days, and what
 * else happened would be pushed out. Pure: time comes in; tests/unit/test_events.c. */
#ifndef A_DAEMON_SERVER_EVENT_RING_H
#define A_DAEMON_SERVER_EVENT_RING_H

#include <stddef.h>
#include <stdint.h>

#include "types/id.h"
#include "types/state.h"

#define D_EVENTS_MAX 1000                 /* kept per app, and for everything that belongs to no app */
#define D_EVENTS_FOLD_MS (60 * 60 * 1000) /* after so long what is said again is news */

struct d_event {
    uint64_t sequence; /* over the whole server; a cursor together with its boot id */
    uint64_t time_unix_ms, first_unix_ms;
    uint64_t count;       /* how often it was said from first_unix_ms on */
    const char *actor;    /* server, agent, gateway or user; static */
    struct a_app_ref app; /* empty names: of no app */
    char object[80];      /* unit ocr-a1b2c, node abc..., app ocr */
    uint64_t revision;
    enum a_reason reason;
    char *message;
};

/* Oldest first, by sequence. */
struct d_event_ring {
    struct d_event events[D_EVENTS_MAX];
    size_t n, next;
};

/* Takes the event, whose message becomes the ring's; sequences only rise. It returns what is kept: it, or the
 * one before that says the same of the object (actor, revision, reason and message; of NoCapacity, which
 * comes between tries, the message to its first ';', for then come numbers), with the new time, sequence and
 * message. Until the next one is added. */
const struct d_event *d_event_ring_add(struct d_event_ring *ring, const struct d_event *event);
void d_event_ring_free(struct d_event_ring *ring); /* NULL allowed */
/* Oldest first: index 0 ... n - 1. */
const struct d_event *d_event_at(const struct d_event_ring *ring, size_t index);

#endif
