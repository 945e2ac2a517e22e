#include "sys/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/env.h"

#define DEFAULT_QUEUE 4096

struct sys_thread {
    pthread_t id;
    char name[16];
    void (*fn)(void *ctx);
    void *ctx;
};

struct sys_pool {
    pthread_mutex_t lock; /* guards all below */
    pthread_cond_t work_came;
    pthread_cond_t work_ended;
    struct a_list queue;
    size_t queued, running, max_queue;
    bool ending;
    struct sys_thread **threads;
    unsigned n_threads;
};

static void *thread_main(void *arg)
{
    struct sys_thread *t = arg;
    pthread_setname_np(pthread_self(), t->name);
    t->fn(t->ctx);
    return NULL;
}

int sys_thread_start(const char *name, void (*fn)(void *ctx), void *ctx, struct sys_thread **ret_thread,
                     struct a_error *reterr)
{
    struct sys_thread *t = a_new(struct sys_thread);
    sigset_t all, old;
    snprintf(t->name, sizeof t->name, "%s", name);
    t->fn = fn;
    t->ctx = ctx;
    /* Signals go to the thread that waits for them. */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&t->id, NULL, thread_main, t);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (rc != 0) {
        a_free(t);
        return a_fail_errno(reterr, -rc, "cannot start thread %s", name);
    }
    *ret_thread = t;
    return 0;
}

void sys_thread_join(struct sys_thread *t)
{
    if (t == NULL)
        return;
    pthread_join(t->id, NULL);
    a_free(t);
}

static void work_tell(void *ctx)
{
    struct sys_work *w = ctx;
    w->done(w->ctx, w->cancelled);
}

/* `w` may be gone as soon as this has posted it. */
static void work_finish(struct sys_work *w, bool cancelled)
{
    w->cancelled = cancelled;
    if (w->loop == NULL || w->done == NULL)
        return;
    w->post = (struct sys_post){.fn = work_tell, .ctx = w};
    sys_loop_post_item(w->loop, &w->post);
}

static void worker_run(void *ctx)
{
    struct sys_pool *pool = ctx;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        struct a_list *link = a_list_pop_front(&pool->queue);
        if (link == NULL && pool->ending)
            break;
        if (link == NULL) {
            pthread_cond_wait(&pool->work_came, &pool->lock);
            continue;
        }
        struct sys_work *w = a_list_entry(link, struct sys_work, link);
        pool->queued--;
        pool->running++;
        pthread_mutex_unlock(&pool->lock);
        w->work(w->ctx);
        work_finish(w, false);
        pthread_mutex_lock(&pool->lock);
        pool->running--;
        pthread_cond_broadcast(&pool->work_ended);
    }
    pthread_mutex_unlock(&pool->lock);
}

static unsigned default_threads(const char *name)
{
    if (strcmp(name, SYS_POOL_IO) == 0)
        return 4;
    if (strcmp(name, SYS_POOL_HASH) == 0)
        return sys_env_cpus();
    return strcmp(name, SYS_POOL_DNS) == 0 ? 2 : 1;
}

int sys_pool_new(const char *name, unsigned n_threads, size_t max_queue, struct sys_pool **ret_pool,
                 struct a_error *reterr)
{
    struct sys_pool *pool = a_new(struct sys_pool);
    unsigned want = n_threads != 0 ? n_threads : default_threads(name);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work_came, NULL);
    pthread_cond_init(&pool->work_ended, NULL);
    a_list_init(&pool->queue);
    pool->max_queue = max_queue != 0 ? max_queue : DEFAULT_QUEUE;
    pool->threads = a_alloc_array(want, sizeof *pool->threads);
    for (; pool->n_threads < want; pool->n_threads++) {
        char thread_name[16];
        snprintf(thread_name, sizeof thread_name, "%.11s/%u", name, pool->n_threads % 1000);
        int rc = sys_thread_start(thread_name, worker_run, pool, &pool->threads[pool->n_threads], reterr);
        if (rc != 0) {
            sys_pool_free(pool);
            return rc;
        }
    }
    *ret_pool = pool;
    return 0;
}

void sys_pool_free(struct sys_pool *pool)
{
    if (pool == NULL)
        return;
    struct a_list *link;
    pthread_mutex_lock(&pool->lock);
    pool->ending = true;
    while ((link = a_list_pop_front(&pool->queue)) != NULL)
        work_finish(a_list_entry(link, struct sys_work, link), true);
    pool->queued = 0;
    pthread_cond_broadcast(&pool->work_came);
    pthread_mutex_unlock(&pool->lock);
    for (unsigned i = 0; i < pool->n_threads; i++)
        sys_thread_join(pool->threads[i]);
    pthread_cond_destroy(&pool->work_came);
    pthread_cond_destroy(&pool->work_ended);
    pthread_mutex_destroy(&pool->lock);
    a_free(pool->threads);
    a_free(pool);
}

void sys_pool_drain(struct sys_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    while (pool->queued + pool->running != 0)
        pthread_cond_wait(&pool->work_ended, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

int sys_pool_submit(struct sys_pool *pool, struct sys_loop *loop, struct sys_work *w, void (*work)(void *ctx),
                    void (*done)(void *ctx, bool cancelled), void *ctx)
{
    pthread_mutex_lock(&pool->lock);
    if (pool->ending || pool->queued >= pool->max_queue) {
        pthread_mutex_unlock(&pool->lock);
        return -EBUSY;
    }
    *w = (struct sys_work){.pool = pool, .loop = loop, .work = work, .done = done, .ctx = ctx};
    a_list_push_back(&pool->queue, &w->link);
    pool->queued++;
    pthread_cond_signal(&pool->work_came);
    pthread_mutex_unlock(&pool->lock);
    return 0;
}

bool sys_work_cancel(struct sys_work *w)
{
    struct sys_pool *pool = w->pool;
    if (pool == NULL)
        return false;
    pthread_mutex_lock(&pool->lock);
    bool waiting = a_list_linked(&w->link);
    if (waiting) {
        a_list_remove(&w->link);
        pool->queued--;
        pthread_cond_broadcast(&pool->work_ended);
        work_finish(w, true);
    }
    pthread_mutex_unlock(&pool->lock);
    return waiting;
}

size_t sys_pool_queued(struct sys_pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    size_t n = pool->queued;
    pthread_mutex_unlock(&pool->lock);
    return n;
}
