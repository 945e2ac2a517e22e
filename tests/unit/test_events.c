/* The ring of an app's events: what is said again, and what is pushed out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "daemon/server/event_ring.h"

#define NO_ROOM "CLAIMING -> PLANNED: no node has room for head (4 CPU); of 3: 3 too small; %d free"

struct world {
    struct d_event_ring *ring;
    uint64_t sequence, now_ms;
};

static int setup(void **state)
{
    static struct world w;
    w = (struct world){.ring = a_new(struct d_event_ring), .now_ms = 1000000};
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    d_event_ring_free(w->ring);
    return 0;
}

static const struct d_event *say(struct world *w, const char *object, enum a_reason reason,
                                 const char *message)
{
    struct d_event e = {.sequence = ++w->sequence,
                        .time_unix_ms = w->now_ms,
                        .actor = "server",
                        .reason = reason,
                        .message = a_strdup(message)};
    snprintf(e.object, sizeof e.object, "%s", object);
    return d_event_ring_add(w->ring, &e);
}

/* A unit looks for room again and again. */
static const struct d_event *look(struct world *w, const char *object, int free)
{
    char text[128];
    snprintf(text, sizeof text, NO_ROOM, free);
    say(w, object, A_REASON_NONE, "PLANNED -> CLAIMING");
    return say(w, object, A_REASON_NO_CAPACITY, text);
}

static void assert_order(const struct world *w)
{
    for (size_t i = 1; i < w->ring->n; i++)
        assert_true(d_event_at(w->ring, i)->sequence > d_event_at(w->ring, i - 1)->sequence);
}

/* What really happened is not pushed out by those who wait for room. */
static void test_waiting_does_not_flood(void **state)
{
    struct world *w = *state;
    const struct d_event *last = NULL;
    say(w, "app ocr", A_REASON_REQUESTED, "revision 1 deployed");
    for (int i = 0; i < 5000; i++) {
        w->now_ms += 10000;
        look(w, "unit ocr-aaaaa", i);
        last = look(w, "unit ocr-bbbbb", i);
        assert_order(w);
    }
    assert_int_equal(w->ring->n, 5);
    assert_string_equal(d_event_at(w->ring, 0)->message, "revision 1 deployed");
    assert_int_equal(last->count, 5000);
    assert_int_equal(last->first_unix_ms, 1010000);
    assert_int_equal(last->time_unix_ms, w->now_ms);
    assert_int_equal(last->sequence, w->sequence);
    assert_non_null(strstr(last->message, "4999 free")); /* the newest numbers */
    assert_int_equal(d_event_at(w->ring, 3)->count, 5000);
    assert_string_equal(d_event_at(w->ring, 3)->message, "PLANNED -> CLAIMING");
}

/* Going to and fro is a story of its own: each change stays. */
static void test_changes_stay(void **state)
{
    struct world *w = *state;
    for (int i = 0; i < 3; i++) {
        say(w, "unit ocr-aaaaa", A_REASON_HEALTH_CHECK_FAILED, "READY -> UNHEALTHY");
        say(w, "unit ocr-aaaaa", A_REASON_NONE, "UNHEALTHY -> READY");
    }
    assert_int_equal(w->ring->n, 6);
    look(w, "unit ocr-aaaaa", 1);
    look(w, "unit ocr-aaaaa", 1);
    say(w, "unit ocr-aaaaa", A_REASON_NONE, "CLAIMING -> FETCHING");
    assert_int_equal(look(w, "unit ocr-aaaaa", 1)->count, 1); /* another time */
    assert_order(w);
}

static void test_only_what_is_alike(void **state)
{
    struct world *w = *state;
    assert_int_equal(say(w, "unit a", A_REASON_PORT_TAKEN, "port 1")->count, 1);
    assert_int_equal(say(w, "unit a", A_REASON_PORT_TAKEN, "port 1")->count, 2);
    assert_int_equal(say(w, "unit b", A_REASON_PORT_TAKEN, "port 1")->count, 1);
    assert_int_equal(say(w, "unit a", A_REASON_PORT_TAKEN, "port 1")->count, 3); /* another object between */
    assert_int_equal(say(w, "unit a", A_REASON_PORT_TAKEN, "port 1; 2")->count, 1);
    assert_int_equal(say(w, "unit a", A_REASON_DISK_FULL, "port 1; 2")->count, 1);
    w->now_ms += D_EVENTS_FOLD_MS;
    assert_int_equal(say(w, "unit a", A_REASON_DISK_FULL, "port 1; 2")->count, 1); /* news again */
    w->now_ms -= 5000; /* the clock was set back */
    assert_int_equal(say(w, "unit a", A_REASON_DISK_FULL, "port 1; 2")->count, 1);
    assert_order(w);
}

/* A full ring: the oldest goes, and what is said again moves to the end of it. */
static void test_full(void **state)
{
    struct world *w = *state;
    char object[32];
    for (int i = 0; i < D_EVENTS_MAX + 10; i++) {
        snprintf(object, sizeof object, "unit %d", i);
        say(w, object, A_REASON_NONE, "UP");
    }
    assert_int_equal(w->ring->n, D_EVENTS_MAX);
    assert_string_equal(d_event_at(w->ring, 0)->object, "unit 10");
    assert_int_equal(say(w, "unit 500", A_REASON_NONE, "UP")->count, 2);
    assert_int_equal(say(w, "unit 10", A_REASON_NONE, "UP")->count, 2);
    assert_order(w);
    assert_string_equal(d_event_at(w->ring, 0)->object, "unit 11");
    assert_string_equal(d_event_at(w->ring, D_EVENTS_MAX - 1)->object, "unit 10");
    assert_int_equal(w->ring->n, D_EVENTS_MAX);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_waiting_does_not_flood),
        T(test_changes_stay),
        T(test_only_what_is_alike),
        T(test_full),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
