/* A round of libuv is: timers, prepare, poll, closing. Everything that happens once per round hangs on
 * prepare, which comes after the timers and after the I/O of the round before, and right in front of the
 * sleep. Timers are a heap of our own behind one uv timer, armed there once per round: setting one costs no
 * uv call, and none needs an asynchronous close. */
#include "sys/loop.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/clock.h"
#include "sys/loop_internal.h"

static void timers_fire(uv_timer_t *handle)
{
    struct sys_loop *loop = A_CONTAINER_OF(handle, struct sys_loop, timer);
    struct a_timer *node;
    loop->firing = true;
    while ((node = a_heap_pop(&loop->timers, uv_now(&loop->uv))) != NULL) {
        struct sys_timer *t = A_CONTAINER_OF(node, struct sys_timer, node);
        t->fn(t->ctx);
    }
    loop->firing = false;
}

static void timers_arm(struct sys_loop *loop)
{
    uint64_t at = a_heap_deadline(&loop->timers), now = uv_now(&loop->uv);
    if (at == A_NEVER)
        uv_timer_stop(&loop->timer);
    else
        uv_timer_start(&loop->timer, timers_fire, at > now ? at - now : 0, 0);
}

/* Moves all links to `to`, which the caller then pops one by one: any of them may be removed meanwhile. */
static void list_take(struct a_list *from, struct a_list *to)
{
    a_list_init(to);
    while (!a_list_empty(from))
        a_list_push_back(to, a_list_pop_front(from));
}

static void rounds_run(struct sys_loop *loop)
{
    struct a_list todo, *link;
    list_take(&loop->rounds, &todo);
    while ((link = a_list_pop_front(&todo)) != NULL) {
        struct sys_round *r = a_list_entry(link, struct sys_round, link);
        a_list_push_back(&loop->rounds, link);
        r->fn(r->ctx);
    }
}

static void defers_run(struct sys_loop *loop)
{
    struct a_list todo, *link;
    list_take(&loop->defers, &todo);
    while ((link = a_list_pop_front(&todo)) != NULL) {
        struct sys_defer *d = a_list_entry(link, struct sys_defer, link);
        d->fn(d->ctx);
    }
}

static void idle_ignore(uv_idle_t *handle)
{
    (void)handle;
}

static void round_end(uv_prepare_t *handle)
{
    struct sys_loop *loop = A_CONTAINER_OF(handle, struct sys_loop, prepare);
    struct a_list *link;
    loop->n_rounds++;
    sys_loop_check_suspend(loop, sys_clock_mono_ms(), sys_clock_boot_ms());
    rounds_run(loop);
    defers_run(loop);
    while ((link = a_list_pop_front(&loop->throttled)) != NULL)
        sys_stream_resume(link);
    timers_arm(loop);
    if (a_list_empty(&loop->defers))
        uv_idle_stop(&loop->idle);
    else
        uv_idle_start(&loop->idle, idle_ignore);
}

static void posts_run(uv_async_t *handle)
{
    struct sys_loop *loop = A_CONTAINER_OF(handle, struct sys_loop, async);
    struct a_list todo, *link;
    pthread_mutex_lock(&loop->lock);
    list_take(&loop->posts, &todo);
    pthread_mutex_unlock(&loop->lock);
    while ((link = a_list_pop_front(&todo)) != NULL) {
        struct sys_post *p = a_list_entry(link, struct sys_post, link);
        p->fn(p->ctx);
    }
}

void sys_loop_deliver(struct sys_loop *loop)
{
    posts_run(&loop->async);
}

/* A peer that closes its end must cost us an error, not the process. */
static void sigpipe_ignore(void)
{
    struct sigaction old;
    if (sigaction(SIGPIPE, NULL, &old) == 0 && old.sa_handler == SIG_DFL)
        signal(SIGPIPE, SIG_IGN);
}

int sys_loop_new(struct sys_loop **ret_loop, struct a_error *reterr)
{
    struct sys_loop *loop = a_new(struct sys_loop);
    int rc = uv_loop_init(&loop->uv);
    if (rc == 0) {
        rc = uv_async_init(&loop->uv, &loop->async, posts_run);
        if (rc != 0)
            uv_loop_close(&loop->uv);
    }
    if (rc != 0) {
        a_free(loop);
        return a_fail_errno(reterr, rc, "cannot make an event loop");
    }
    sigpipe_ignore();
    pthread_mutex_init(&loop->lock, NULL);
    a_list_init(&loop->posts);
    a_list_init(&loop->rounds);
    a_list_init(&loop->defers);
    a_list_init(&loop->throttled);
    uv_timer_init(&loop->uv, &loop->timer);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_prepare_start(&loop->prepare, round_end);
    loop->read_chunk = a_alloc(SYS_READ_CHUNK);
    loop->boot_ahead_ms = UINT64_MAX;
    *ret_loop = loop;
    return 0;
}

static void handle_dispose(uv_handle_t *handle, void *arg)
{
    (void)arg;
    struct sys_handle *h = handle->data;
    if (h != NULL && !uv_is_closing(handle))
        h->dispose(h);
}

void sys_loop_free(struct sys_loop *loop)
{
    if (loop == NULL)
        return;
    sys_loop_deliver(loop);
    uv_walk(&loop->uv, handle_dispose, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_close((uv_handle_t *)&loop->async, NULL);
    if (uv_run(&loop->uv, UV_RUN_DEFAULT) != 0)
        uv_run(&loop->uv, UV_RUN_DEFAULT); /* a stop that nobody has seen ended the first */
    int rc = uv_loop_close(&loop->uv);
    a_assert(rc == 0);
    a_heap_deinit(&loop->timers);
    pthread_mutex_destroy(&loop->lock);
    a_free(loop->read_chunk);
    a_free(loop);
}

void sys_loop_run(struct sys_loop *loop)
{
    uv_run(&loop->uv, UV_RUN_DEFAULT);
}

void sys_loop_stop(struct sys_loop *loop)
{
    uv_stop(&loop->uv);
}

void sys_loop_turn(struct sys_loop *loop, bool wait)
{
    uv_run(&loop->uv, wait ? UV_RUN_ONCE : UV_RUN_NOWAIT);
}

static void flag_set(void *ctx)
{
    *(bool *)ctx = true;
}

bool sys_loop_run_until(struct sys_loop *loop, const bool *done, uint64_t timeout_ms)
{
    bool expired = false;
    struct sys_timer t;
    sys_timer_init(&t, loop, flag_set, &expired);
    uv_update_time(&loop->uv);
    sys_timer_set_in(&t, timeout_ms);
    while (!*done && !expired)
        sys_loop_turn(loop, true);
    sys_timer_clear(&t);
    return *done;
}

uint64_t sys_loop_now_ms(const struct sys_loop *loop)
{
    return uv_now(&loop->uv);
}

uint64_t sys_loop_now_us(const struct sys_loop *loop)
{
    (void)loop;
    return sys_clock_mono_us();
}

void sys_loop_post_item(struct sys_loop *loop, struct sys_post *item)
{
    pthread_mutex_lock(&loop->lock);
    bool first = a_list_empty(&loop->posts);
    a_list_push_back(&loop->posts, &item->link);
    /* Under the lock: once it is free, the loop may take the item, end, and be freed. */
    if (first)
        uv_async_send(&loop->async);
    pthread_mutex_unlock(&loop->lock);
}

struct posted_call {
    struct sys_post post;
    void (*fn)(void *ctx);
    void *ctx;
};

static void posted_call_run(void *ctx)
{
    struct posted_call call = *(struct posted_call *)ctx;
    a_free(ctx);
    call.fn(call.ctx);
}

void sys_loop_post(struct sys_loop *loop, void (*fn)(void *ctx), void *ctx)
{
    struct posted_call *call = a_new(struct posted_call);
    *call = (struct posted_call){{.fn = posted_call_run, .ctx = call}, fn, ctx};
    sys_loop_post_item(loop, &call->post);
}

void sys_timer_init(struct sys_timer *t, struct sys_loop *loop, void (*fn)(void *ctx), void *ctx)
{
    *t = (struct sys_timer){.loop = loop, .fn = fn, .ctx = ctx};
}

void sys_timer_set_at(struct sys_timer *t, uint64_t at_ms)
{
    /* What a timer sets for now comes in the next round; otherwise one that re-arms itself would never end
     * this. */
    if (t->loop->firing && at_ms <= uv_now(&t->loop->uv))
        at_ms = uv_now(&t->loop->uv) + 1;
    a_heap_set(&t->loop->timers, &t->node, at_ms);
}

void sys_timer_set_in(struct sys_timer *t, uint64_t delay_ms)
{
    uint64_t now = uv_now(&t->loop->uv);
    sys_timer_set_at(t, delay_ms < A_NEVER - now ? now + delay_ms : A_NEVER);
}

void sys_timer_clear(struct sys_timer *t)
{
    if (t->loop != NULL)
        a_heap_remove(&t->loop->timers, &t->node);
}

bool sys_timer_is_set(const struct sys_timer *t)
{
    return t->node.index_plus_1 != 0;
}

void sys_defer_call(struct sys_loop *loop, struct sys_defer *d, void (*fn)(void *ctx), void *ctx)
{
    if (a_list_linked(&d->link))
        return;
    d->fn = fn;
    d->ctx = ctx;
    a_list_push_back(&loop->defers, &d->link);
}

void sys_defer_cancel(struct sys_defer *d)
{
    a_list_remove(&d->link);
}

void sys_round_add(struct sys_loop *loop, struct sys_round *r, void (*fn)(void *ctx), void *ctx)
{
    r->fn = fn;
    r->ctx = ctx;
    a_list_push_back(&loop->rounds, &r->link);
}

void sys_round_remove(struct sys_round *r)
{
    a_list_remove(&r->link);
}

void sys_loop_on_suspend(struct sys_loop *loop, void (*fn)(void *ctx, uint64_t gap_ms), void *ctx)
{
    loop->suspend = fn;
    loop->suspend_ctx = ctx;
}

void sys_loop_check_suspend(struct sys_loop *loop, uint64_t mono_ms, uint64_t boot_ms)
{
    /* two clocks, read one after the other: the difference may be off by a moment, and below nothing */
    uint64_t ahead = boot_ms > mono_ms ? boot_ms - mono_ms : 0, before = loop->boot_ahead_ms;
    loop->boot_ahead_ms = ahead;
    if (before != UINT64_MAX && ahead > before && ahead - before > SYS_SUSPEND_GAP_MS &&
        loop->suspend != NULL)
        loop->suspend(loop->suspend_ctx, ahead - before);
}

uint64_t sys_loop_rounds(const struct sys_loop *loop)
{
    return loop->n_rounds;
}
