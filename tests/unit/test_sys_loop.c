/* The loop: order of a round, timers, posts from threads, deferred calls, signals, descriptors, pools. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "sys/clock.h"
#include "sys/loop.h"
#include "sys/loop_internal.h"
#include "sys/pool.h"

#define SOON_MS 10000 /* a condition that does not come within this is a failure */

struct fixture {
    struct sys_loop *loop;
    bool done;
    unsigned n;
    char trace[64];
    struct sys_timer timer;
    struct sys_defer defer;
};

static int setup(void **state)
{
    struct fixture *f = a_new(struct fixture);
    assert_int_equal(sys_loop_new(&f->loop, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    sys_loop_free(f->loop);
    a_free(f);
    return 0;
}

static void note(struct fixture *f, char c)
{
    f->trace[f->n++] = c;
}

static void timer_a(void *ctx)
{
    note(ctx, 'a');
}

static void timer_b(void *ctx)
{
    note(ctx, 'b');
}

static void timer_end(void *ctx)
{
    struct fixture *f = ctx;
    note(f, '.');
    f->done = true;
}

static void test_timers_fire_in_order(void **state)
{
    struct fixture *f = *state;
    struct sys_timer a, b, end, cleared;
    uint64_t now = sys_loop_now_ms(f->loop);
    sys_timer_init(&a, f->loop, timer_a, f);
    sys_timer_init(&b, f->loop, timer_b, f);
    sys_timer_init(&end, f->loop, timer_end, f);
    sys_timer_init(&cleared, f->loop, timer_a, f);
    sys_timer_set_at(&end, now + 3);
    sys_timer_set_at(&b, now + 2);
    sys_timer_set_at(&cleared, now + 2);
    sys_timer_set_at(&a, now + 9);
    sys_timer_set_at(&a, now + 1);
    sys_timer_clear(&cleared);
    sys_timer_clear(&cleared);
    assert_int_equal(f->n, 0);
    assert_true(sys_loop_run_until(f->loop, &f->done, SOON_MS));
    assert_string_equal(f->trace, "ab.");
    assert_false(sys_timer_is_set(&a));
}

/* One that sets itself for "now" must not keep the round from ending. */
static void timer_rearm(void *ctx)
{
    struct fixture *f = ctx;
    if (++f->n == 3)
        f->done = true;
    else
        sys_timer_set_in(&f->timer, 0);
}

static void test_timer_may_rearm_itself(void **state)
{
    struct fixture *f = *state;
    uint64_t rounds = sys_loop_rounds(f->loop);
    sys_timer_init(&f->timer, f->loop, timer_rearm, f);
    sys_timer_set_in(&f->timer, 0);
    assert_int_equal(f->n, 0);
    assert_true(sys_loop_run_until(f->loop, &f->done, SOON_MS));
    assert_int_equal(f->n, 3);
    assert_true(sys_loop_rounds(f->loop) - rounds >= 3);
}

static void test_run_until_gives_up(void **state)
{
    struct fixture *f = *state;
    assert_false(sys_loop_run_until(f->loop, &f->done, 2));
}

static void post_a(void *ctx)
{
    note(ctx, 'a');
}

static void deferred_again(void *ctx)
{
    struct fixture *f = ctx;
    note(f, '2');
    f->done = true;
}

static void deferred(void *ctx)
{
    struct fixture *f = ctx;
    note(f, '1');
    sys_defer_call(f->loop, &f->defer, deferred_again, f);
}

static void round_hook(void *ctx)
{
    note(ctx, 'r');
}

static void test_a_round_has_its_order(void **state)
{
    struct fixture *f = *state;
    struct sys_round hook = {0};
    sys_loop_turn(f->loop, false);
    sys_round_add(f->loop, &hook, round_hook, f);
    sys_loop_post(f->loop, post_a, f);
    sys_loop_post(f->loop, post_a, f);
    sys_defer_call(f->loop, &f->defer, deferred, f);
    sys_defer_call(f->loop, &f->defer, deferred, f);
    sys_loop_turn(f->loop, true); /* hooks and deferred calls precede the sleep, posts end it */
    assert_string_equal(f->trace, "r1aa");
    assert_true(sys_loop_run_until(f->loop, &f->done, SOON_MS));
    sys_round_remove(&hook);
    assert_string_equal(f->trace, "r1aar2");
    sys_loop_turn(f->loop, false);
    assert_string_equal(f->trace, "r1aar2");
}

static void test_cancelled_defer_is_not_called(void **state)
{
    struct fixture *f = *state;
    sys_defer_call(f->loop, &f->defer, deferred, f);
    sys_defer_cancel(&f->defer);
    sys_defer_cancel(&f->defer);
    sys_loop_turn(f->loop, false);
    assert_int_equal(f->n, 0);
}

enum { THREADS = 4, POSTS = 2000 };

struct poster {
    struct fixture *f;
    unsigned next; /* only touched on the loop */
    struct sys_post items[POSTS];
};

static void posted(void *ctx)
{
    struct poster *p = ctx;
    p->next++;
    if (++p->f->n == THREADS * POSTS)
        p->f->done = true;
}

static void *poster_main(void *arg)
{
    struct poster *p = arg;
    for (unsigned i = 0; i < POSTS; i++) {
        if (i % 2 == 0) {
            sys_loop_post(p->f->loop, posted, p);
            continue;
        }
        p->items[i] = (struct sys_post){.fn = posted, .ctx = p};
        sys_loop_post_item(p->f->loop, &p->items[i]);
    }
    return NULL;
}

static void test_posts_come_from_many_threads(void **state)
{
    struct fixture *f = *state;
    pthread_t threads[THREADS];
    struct poster *posters = a_alloc_array(THREADS, sizeof *posters);
    for (int i = 0; i < THREADS; i++) {
        posters[i].f = f;
        assert_int_equal(pthread_create(&threads[i], NULL, poster_main, &posters[i]), 0);
    }
    assert_true(sys_loop_run_until(f->loop, &f->done, SOON_MS));
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(posters[i].next, POSTS);
    }
    a_free(posters);
}

static void test_free_delivers_what_was_posted(void **state)
{
    struct sys_loop *loop;
    (void)state;
    struct fixture f = {.n = 0};
    assert_int_equal(sys_loop_new(&loop, NULL), 0);
    sys_loop_post(loop, post_a, &f);
    sys_loop_free(loop);
    assert_string_equal(f.trace, "a");
}

static void stop_loop(void *ctx)
{
    sys_loop_stop(((struct fixture *)ctx)->loop);
}

static void *stopper_main(void *arg)
{
    struct fixture *f = arg;
    sys_loop_post(f->loop, stop_loop, f);
    return NULL;
}

static void test_another_thread_ends_run(void **state)
{
    struct fixture *f = *state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, stopper_main, f), 0);
    sys_loop_run(f->loop);
    pthread_join(thread, NULL);
}

static void signal_came(void *ctx, int signum)
{
    struct fixture *f = ctx;
    f->n = (unsigned)signum;
    f->done = true;
}

static void test_signal(void **state)
{
    struct fixture *f = *state;
    struct sys_signal *s = NULL;
    assert_int_equal(sys_signal_open(f->loop, SIGUSR2, signal_came, f, &s, NULL), 0);
    raise(SIGUSR2);
    assert_true(sys_loop_run_until(f->loop, &f->done, SOON_MS));
    assert_int_equal(f->n, SIGUSR2);
    sys_signal_close(s);
}

struct pipe_reader {
    struct fixture *f;
    struct sys_poll *poll;
    int fd;
};

static void pipe_readable(void *ctx)
{
    struct pipe_reader *r = ctx;
    char c;
    assert_int_equal(read(r->fd, &c, 1), 1);
    note(r->f, c);
    r->f->done = c == 'z';
    if (r->f->done)
        sys_poll_close(r->poll);
}

static void test_poll_is_level_triggered(void **state)
{
    struct fixture *f = *state;
    struct pipe_reader r = {.f = f};
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    r.fd = fds[0];
    assert_int_equal(sys_poll_open(f->loop, r.fd, pipe_readable, &r, &r.poll, NULL), 0);
    assert_int_equal(write(fds[1], "xyz!", 4), 4);
    assert_true(sys_loop_run_until(f->loop, &f->done, SOON_MS));
    sys_loop_turn(f->loop, false);
    assert_string_equal(f->trace, "xyz");
    close(fds[0]);
    close(fds[1]);
}

static void test_what_is_left_open_is_closed_by_free(void **state)
{
    struct fixture *f = *state;
    struct sys_signal *s;
    struct sys_poll *p;
    int fds[2];
    assert_int_equal(pipe(fds), 0);
    assert_int_equal(sys_signal_open(f->loop, SIGUSR2, signal_came, f, &s, NULL), 0);
    assert_int_equal(sys_poll_open(f->loop, fds[0], timer_a, f, &p, NULL), 0);
    sys_loop_free(f->loop);
    close(fds[0]);
    close(fds[1]);
    assert_int_equal(sys_loop_new(&f->loop, NULL), 0);
}

static void suspended(void *ctx, uint64_t gap_ms)
{
    struct fixture *f = ctx;
    f->n = (unsigned)gap_ms;
}

static void test_suspend_is_noticed(void **state)
{
    struct fixture *f = *state;
    sys_loop_on_suspend(f->loop, suspended, f);
    sys_loop_check_suspend(f->loop, 1000, 9000); /* the first round only measures */
    assert_int_equal(f->n, 0);
    sys_loop_check_suspend(f->loop, 601000, 614000); /* ten minutes without sleep, 5 s with */
    assert_int_equal(f->n, 0);
    sys_loop_check_suspend(f->loop, 601100, 619101);
    assert_int_equal(f->n, 5001);
    f->n = 0;
    sys_loop_check_suspend(f->loop, 601200, 619201);
    assert_int_equal(f->n, 0);
}

/* Without sleep the clocks are equal, but for the moment between the two readings. */
static void test_suspend_moment(void **state)
{
    struct fixture *f = *state;
    sys_loop_on_suspend(f->loop, suspended, f);
    sys_loop_check_suspend(f->loop, 1000, 1000);
    sys_loop_check_suspend(f->loop, 1001, 1000);
    sys_loop_check_suspend(f->loop, 1001, 1001);
    assert_int_equal(f->n, 0);
}

struct job {
    struct fixture *f;
    struct sys_work work;
    pthread_mutex_t *gate;
    unsigned worked, told, cancelled;
};

static void job_work(void *ctx)
{
    struct job *j = ctx;
    if (j->gate != NULL) {
        pthread_mutex_lock(j->gate);
        pthread_mutex_unlock(j->gate);
    }
    j->worked++;
}

static void job_done(void *ctx, bool cancelled)
{
    struct job *j = ctx;
    j->told++;
    j->cancelled += cancelled;
    if (--j->f->n == 0)
        j->f->done = true;
}

static void test_pool_runs_and_tells(void **state)
{
    enum { N = 500 };
    struct fixture *f = *state;
    struct sys_pool *pool = NULL;
    struct job *jobs = a_alloc_array(N, sizeof *jobs);
    assert_int_equal(sys_pool_new(SYS_POOL_IO, 0, N, &pool, NULL), 0);
    f->n = N;
    for (int i = 0; i < N; i++) {
        jobs[i].f = f;
        assert_int_equal(sys_pool_submit(pool, f->loop, &jobs[i].work, job_work, job_done, &jobs[i]), 0);
        assert_int_equal(jobs[i].told, 0);
    }
    assert_true(sys_loop_run_until(f->loop, &f->done, SOON_MS));
    for (int i = 0; i < N; i++) {
        assert_int_equal(jobs[i].worked, 1);
        assert_int_equal(jobs[i].told, 1);
        assert_int_equal(jobs[i].cancelled, 0);
        assert_false(sys_work_cancel(&jobs[i].work));
    }
    sys_pool_free(pool);
    a_free(jobs);
}

/* One thread, held at the gate: job 0 runs, the others wait; of these one is cancelled by name and the rest
 * by the end of the pool. */
static void test_pool_cancels_what_waits(void **state)
{
    struct fixture *f = *state;
    struct sys_pool *pool = NULL;
    pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
    struct job jobs[5] = {{.f = f, .gate = &gate}};
    assert_int_equal(sys_pool_new(SYS_POOL_STORE, 0, 3, &pool, NULL), 0);
    pthread_mutex_lock(&gate);
    f->n = 4;
    assert_int_equal(sys_pool_submit(pool, f->loop, &jobs[0].work, job_work, job_done, &jobs[0]), 0);
    for (uint64_t end = sys_clock_mono_ms() + SOON_MS; sys_pool_queued(pool) != 0;)
        assert_true(sys_clock_mono_ms() < end);
    for (int i = 1; i < 4; i++) {
        jobs[i].f = f;
        assert_int_equal(sys_pool_submit(pool, f->loop, &jobs[i].work, job_work, job_done, &jobs[i]), 0);
    }
    assert_int_equal(sys_pool_submit(pool, f->loop, &jobs[4].work, job_work, job_done, &jobs[4]), -EBUSY);
    assert_false(sys_work_cancel(&jobs[0].work));
    assert_true(sys_work_cancel(&jobs[2].work));
    assert_false(sys_work_cancel(&jobs[2].work));
    assert_int_equal(jobs[2].told, 0);
    pthread_mutex_unlock(&gate);
    sys_pool_free(pool);
    assert_true(sys_loop_run_until(f->loop, &f->done, SOON_MS));
    for (int i = 0; i < 4; i++) {
        assert_int_equal(jobs[i].told, 1);
        assert_int_equal(jobs[i].worked + jobs[i].cancelled, 1);
    }
    assert_int_equal(jobs[0].worked, 1);
    assert_int_equal(jobs[2].cancelled, 1);
}

static void test_pool_drain_waits_for_all(void **state)
{
    (void)state;
    struct sys_pool *pool = NULL;
    struct job jobs[64] = {0};
    assert_int_equal(sys_pool_new(SYS_POOL_HASH, 3, 0, &pool, NULL), 0);
    for (int i = 0; i < 64; i++)
        assert_int_equal(sys_pool_submit(pool, NULL, &jobs[i].work, job_work, NULL, &jobs[i]), 0);
    sys_pool_drain(pool);
    for (int i = 0; i < 64; i++)
        assert_int_equal(jobs[i].worked, 1);
    sys_pool_free(pool);
}

static void thread_name_check(void *ctx)
{
    pthread_getname_np(pthread_self(), ctx, 16);
}

static void test_threads_have_names(void **state)
{
    (void)state;
    char name[16] = "";
    struct sys_thread *t = NULL;
    assert_int_equal(sys_thread_start("gateway/3", thread_name_check, name, &t, NULL), 0);
    sys_thread_join(t);
    assert_string_equal(name, "gateway/3");
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_timers_fire_in_order),
        TEST(test_timer_may_rearm_itself),
        TEST(test_run_until_gives_up),
        TEST(test_a_round_has_its_order),
        TEST(test_cancelled_defer_is_not_called),
        TEST(test_posts_come_from_many_threads),
        TEST(test_free_delivers_what_was_posted),
        TEST(test_another_thread_ends_run),
        TEST(test_signal),
        TEST(test_poll_is_level_triggered),
        TEST(test_what_is_left_open_is_closed_by_free),
        TEST(test_suspend_is_noticed),
        TEST(test_suspend_moment),
        TEST(test_pool_runs_and_tells),
        TEST(test_pool_cancels_what_waits),
        TEST(test_pool_drain_waits_for_all),
        TEST(test_threads_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
