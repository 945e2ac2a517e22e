/* What the files of sys that stand on libuv share. Nobody else includes this or uv.h. */
#ifndef A_SYS_LOOP_INTERNAL_H
#define A_SYS_LOOP_INTERNAL_H

#include <pthread.h>
#include <uv.h>

#include "base/heap.h"
#include "base/list.h"
#include "sys/loop.h"

#define SYS_READ_CHUNK (64u * 1024u)
#define SYS_SUSPEND_GAP_MS 5000

/* First member of every object with a uv handle; handle->data points here, so that sys_loop_free() can close
 * what was left open. `dispose` begins the closing and calls nothing back. */
struct sys_handle {
    void (*dispose)(struct sys_handle *h);
};

struct sys_loop {
    uv_loop_t uv;
    uv_async_t async;
    uv_prepare_t prepare;
    uv_timer_t timer;
    uv_idle_t idle; /* runs while deferred work waits: then the loop does not sleep */
    struct a_heap timers;
    bool firing; /* timers are being called */
    struct a_list rounds, defers;
    struct a_list throttled; /* streams that used up their budget of this round */
    uint64_t n_rounds;
    pthread_mutex_t lock; /* guards posts */
    struct a_list posts;
    uint64_t boot_ahead_ms; /* boot time minus monotonic time, at the last round */
    void (*suspend)(void *ctx, uint64_t gap_ms);
    void *suspend_ctx;
    char *read_chunk; /* every read of this loop goes here: its bytes are used up before the next */
};

/* Of stream.c: a new round, a new budget. `link` has left the list. */
void sys_stream_resume(struct a_list *link);

/* The check of sys_loop_on_suspend() with the clocks as inputs. */
void sys_loop_check_suspend(struct sys_loop *loop, uint64_t mono_ms, uint64_t boot_ms);

#endif
