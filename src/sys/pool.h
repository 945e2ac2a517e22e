/* Worker threads for what blocks: files, hashes, names, the store. Each pool has its own named threads and
 * its own bounded queue, so that a slow disk does not stop name resolution. Results come back to a loop. */
#ifndef A_SYS_POOL_H
#define A_SYS_POOL_H

#include <stdbool.h>
#include <stddef.h>

#include "base/error.h"
#include "base/list.h"
#include "sys/loop.h"

struct sys_pool;

/* The house's pools; n_threads 0 takes these: io 4, hash = cores, dns 2, store 1. */
#define SYS_POOL_IO "io"
#define SYS_POOL_HASH "hash"
#define SYS_POOL_DNS "dns"
#define SYS_POOL_STORE "store"

/* Threads are called NAME/0, NAME/1, ... `max_queue` bounds the work that waits; 0 = 4096. */
int sys_pool_new(const char *name, unsigned n_threads, size_t max_queue, struct sys_pool **ret_pool,
                 struct a_error *reterr) A_MUST_CHECK;
/* Work that has not begun is cancelled (its done is still told), work that runs is waited for, threads end.
 * The loops that await results must still exist. NULL is allowed. */
void sys_pool_free(struct sys_pool *pool);
/* Blocks until all work submitted so far has run. */
void sys_pool_drain(struct sys_pool *pool);

/* One piece of work, inside its owner's object, which must stay until `done` is told. Zeroed = idle. */
struct sys_work {
    struct a_list link;
    struct sys_post post;
    struct sys_pool *pool;
    struct sys_loop *loop;
    void (*work)(void *ctx);
    void (*done)(void *ctx, bool cancelled);
    void *ctx;
    bool cancelled;
};

/* work(ctx) on a thread of the pool, then done(ctx, false) on the loop; done(ctx, true) when work never ran.
 * `done` is told exactly once, never from within this call. From any thread. -EBUSY when the queue is full
 * (nothing is told then). `loop` and `done` may be NULL: nothing is told, and the object must outlive the
 * pool's work. */
int sys_pool_submit(struct sys_pool *pool, struct sys_loop *loop, struct sys_work *w, void (*work)(void *ctx),
                    void (*done)(void *ctx, bool cancelled), void *ctx) A_MUST_CHECK;
/* True when the work had not begun: done(ctx, true) follows. False when it runs, has run, or was never
 * submitted. */
bool sys_work_cancel(struct sys_work *w);
size_t sys_pool_queued(struct sys_pool *pool);

/* A plain named thread, for what has a loop of its own. */
struct sys_thread;
int sys_thread_start(const char *name, void (*fn)(void *ctx), void *ctx, struct sys_thread **ret_thread,
                     struct a_error *reterr) A_MUST_CHECK;
/* Waits for its end and frees it. NULL is allowed. */
void sys_thread_join(struct sys_thread *t);

#endif
