/* One event loop per thread. Nothing is shared between loops: what crosses threads is handed over whole by
 * sys_loop_post(). All other functions here belong to the loop's own thread.
 *
 * One round is: I/O callbacks and posts, due timers, round hooks, deferred calls, sleep until the next timer
 * or I/O. Round hooks are the place where a daemon asks its cores for their deadlines, once per round instead
 * of once per event. No callback is ever called before the function that asked for it has returned. */
#ifndef A_SYS_LOOP_H
#define A_SYS_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "base/heap.h"
#include "base/list.h"

struct sys_loop;

/* A loop for the calling thread, or for the one thread that will run it. */
int sys_loop_new(struct sys_loop **ret_loop, struct a_error *reterr) A_MUST_CHECK;
/* Closes whatever is still open on the loop (without calling back) and frees it. Posts that were not
 * delivered are delivered first, so that what they own is not lost. No other thread may post any more. NULL
 * is allowed. */
void sys_loop_free(struct sys_loop *loop);
/* Runs until sys_loop_stop(). */
void sys_loop_run(struct sys_loop *loop);
/* Makes sys_loop_run() return at the end of this round; from another thread, post a function that calls it.
 */
void sys_loop_stop(struct sys_loop *loop);
/* One round; sleeps at most until the next timer when `wait`. */
void sys_loop_turn(struct sys_loop *loop, bool wait);
/* Runs rounds until *done or until `timeout_ms` have passed; returns *done. For tests and start-up. */
bool sys_loop_run_until(struct sys_loop *loop, const bool *done, uint64_t timeout_ms);

/* Monotonic time, read once at the beginning of the round: all of one round happens at the same time. */
uint64_t sys_loop_now_ms(const struct sys_loop *loop);
/* Monotonic time now, in microseconds (reads the clock: 22 ns). Same origin as sys_loop_now_ms(). */
uint64_t sys_loop_now_us(const struct sys_loop *loop);

/* Calls fn(ctx) on the loop's thread, in order of posting. From any thread. */
void sys_loop_post(struct sys_loop *loop, void (*fn)(void *ctx), void *ctx);

/* The same without allocation: the item belongs to the loop from the call until fn begins. */
struct sys_post {
    struct a_list link;
    void (*fn)(void *ctx);
    void *ctx;
};
void sys_loop_post_item(struct sys_loop *loop, struct sys_post *item);
/* Calls what was posted until now, on the loop's own thread: for an owner that ends while all that the posts
 * touch still stands (sys_loop_free() does it too, when most of that is gone). */
void sys_loop_deliver(struct sys_loop *loop);

/* A timer lives in its owner's object. Zeroed = not set. Call sys_timer_init() once, sys_timer_clear() before
 * the object goes away; setting never allocates and needs no closing. */
struct sys_timer {
    struct a_timer node;
    struct sys_loop *loop;
    void (*fn)(void *ctx);
    void *ctx;
};
void sys_timer_init(struct sys_timer *t, struct sys_loop *loop, void (*fn)(void *ctx), void *ctx);
/* At `at_ms` of the loop's clock or as soon as that is past (never from within this call); A_NEVER clears.
 * One shot. */
void sys_timer_set_at(struct sys_timer *t, uint64_t at_ms);
void sys_timer_set_in(struct sys_timer *t, uint64_t delay_ms);
/* Safe on a zeroed timer and twice. */
void sys_timer_clear(struct sys_timer *t);
bool sys_timer_is_set(const struct sys_timer *t);

/* fn(ctx) once, before the loop sleeps next; deferring what is already deferred does nothing. An item
 * deferred by a deferred call runs in the next round, which then does not sleep. */
struct sys_defer {
    struct a_list link;
    void (*fn)(void *ctx);
    void *ctx;
};
void sys_defer_call(struct sys_loop *loop, struct sys_defer *d, void (*fn)(void *ctx), void *ctx);
/* Safe on a zeroed item and twice. */
void sys_defer_cancel(struct sys_defer *d);

/* fn(ctx) in every round, before the deferred calls and the sleep, in order of adding. */
struct sys_round {
    struct a_list link;
    void (*fn)(void *ctx);
    void *ctx;
};
void sys_round_add(struct sys_loop *loop, struct sys_round *r, void (*fn)(void *ctx), void *ctx);
void sys_round_remove(struct sys_round *r);

/* fn(ctx, signum) on the loop, any number of times until closed. Several loops may watch one signal. */
struct sys_signal;
int sys_signal_open(struct sys_loop *loop, int signum, void (*fn)(void *ctx, int signum), void *ctx,
                    struct sys_signal **ret_signal, struct a_error *reterr) A_MUST_CHECK;
void sys_signal_close(struct sys_signal *s); /* NULL allowed */

/* fn(ctx) while `fd` is readable (or at end of file), level-triggered: read until EAGAIN or close the poll.
 * The fd stays the caller's; close the poll before the fd. For pidfds, inotify, eventfds, pipes. */
struct sys_poll;
int sys_poll_open(struct sys_loop *loop, int fd, void (*fn)(void *ctx), void *ctx, struct sys_poll **ret_poll,
                  struct a_error *reterr) A_MUST_CHECK;
/* From now on: while it is readable, writable, either or neither. */
void sys_poll_want(struct sys_poll *p, bool readable, bool writable);
void sys_poll_close(struct sys_poll *p); /* NULL allowed */

/* fn(ctx, gap_ms) when the machine slept: boot time went on more than 5 s further than monotonic time between
 * two rounds. Deadlines of before mean nothing then. NULL removes it. */
void sys_loop_on_suspend(struct sys_loop *loop, void (*fn)(void *ctx, uint64_t gap_ms), void *ctx);

/* Rounds so far, and the time that the last round spent outside its sleep: for metrics and for fairness
 * tests. */
uint64_t sys_loop_rounds(const struct sys_loop *loop);

#endif
