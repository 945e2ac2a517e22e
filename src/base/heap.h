/* An intrusive binary min-heap of deadlines: what expires first is on top. Cores keep their timers here and
 * answer
 * `<comp>_deadline()` from the top. */
#ifndef A_BASE_HEAP_H
#define A_BASE_HEAP_H

#include <stddef.h>
#include <stdint.h>

/* No deadline. */
#define A_NEVER UINT64_MAX

/* Zero-initialised = not in a heap. */
struct a_timer {
    uint64_t at_ms;
    size_t index_plus_1; /* 0 = not in the heap */
};

/* Zero-initialised = empty. */
struct a_heap {
    struct a_timer **items;
    size_t len, cap;
};

void a_heap_deinit(struct a_heap *h); /* safe twice; frees no timer */
/* Sets or moves the timer; A_NEVER removes it. */
void a_heap_set(struct a_heap *h, struct a_timer *t, uint64_t at_ms);
/* Does nothing when the timer is not set. */
void a_heap_remove(struct a_heap *h, struct a_timer *t);
/* When the first one expires, or A_NEVER. */
uint64_t a_heap_deadline(const struct a_heap *h);
/* Takes out and returns the first timer with at_ms <= now_ms; NULL when there is none. */
struct a_timer *a_heap_pop(struct a_heap *h, uint64_t now_ms);

#endif
