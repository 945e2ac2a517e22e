/* Processes: starting with exactly what was asked for, watching, finding, ending; identities. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "sys/census.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/process.h"

#define SOON_MS 10000

/* Runs a shell command with its output in a pipe; what it printed, and how it ended. */
static void shell(struct sys_spawn_options *o, const char *command, struct a_buf *ret_output,
                  struct sys_exit *ret_exit)
{
    const char *argv[] = {"sh", "-c", command, NULL};
    struct sys_fd_map fds[20] = {{.to = 1}};
    struct sys_proc_id id;
    int pidfd, out[2];
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    fds[0].from = out[1];
    for (size_t i = 0; i < o->n_fds; i++)
        fds[i + 1] = o->fds[i];
    o->argv = argv;
    o->fds = fds;
    o->n_fds++;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (sys_spawn(o, &id, &pidfd, &e) != 0)
        fail_msg("%s", a_error_text(&e));
    close(out[1]);
    char piece[512];
    for (ssize_t n; (n = read(out[0], piece, sizeof piece)) > 0;)
        a_buf_add(ret_output, piece, (size_t)n);
    close(out[0]);
    assert_int_equal(sys_process_wait(pidfd, true, ret_exit), 0);
    assert_true(ret_exit->known);
    close(pidfd);
}

static void test_spawn_gives_what_was_asked_for(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf out = {0};
    struct sys_exit e;
    static const char *const env[] = {"COLOUR=blue", "PATH=/usr/bin:/bin", NULL};
    struct sys_spawn_options o = {.env = env, .cwd = "/usr", .new_session = true, .oom_score_adj = 500};
    shell(
        &o,
        "echo $COLOUR $HOME; pwd; cat /proc/self/oom_score_adj; test $(cut -d' ' -f6 /proc/$$/stat) = $$ && "
        "echo leads; readlink /proc/$$/fd/0; exit 3",
        &out, &e);
    assert_string_equal(out.ptr, "blue\n/usr\n500\nleads\n/dev/null\n");
    assert_int_equal(e.code, 3);
    assert_int_equal(e.signal, 0);
    A_BUF_AUTO struct a_buf text = {0};
    sys_exit_print(&e, &text);
    assert_string_equal(text.ptr, "exit status 3");
}

/* A descriptor without close-on-exec leaks from a sloppy library: the child must not see it all the same. */
static void test_spawn_closes_all_but_the_list(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf out = {0};
    struct sys_exit e;
    int leak = open("/dev/null", O_RDONLY), pass = open("/dev/zero", O_RDONLY | O_CLOEXEC);
    struct sys_fd_map fds[] = {{pass, 7}, {leak, 3}};
    struct sys_spawn_options o = {.fds = fds, .n_fds = 2};
    shell(&o, "exec ls -l /proc/self/fd", &out, &e);
    unsigned n = 0;
    for (const char *p = out.ptr; (p = strstr(p, " -> ")) != NULL; p++)
        n++;
    assert_int_equal(n, 6); /* 0, 1, 2, 3, 7 and the folder that ls reads */
    assert_non_null(strstr(out.ptr, "7 -> /dev/zero"));
    assert_non_null(strstr(out.ptr, "3 -> /dev/null"));
    close(leak);
    close(pass);
}

/* Targets that are each other's sources: a naive dup2 would lose one. */
static void test_spawn_swaps_descriptors(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf out = {0};
    struct sys_exit e;
    int a = open("/dev/zero", O_RDONLY | O_CLOEXEC), b = open("/dev/full", O_RDONLY | O_CLOEXEC);
    struct sys_fd_map fds[] = {{a, b}, {b, a}};
    struct sys_spawn_options o = {.fds = fds, .n_fds = 2};
    A_AUTOFREE char *command = a_asprintf("readlink /proc/$$/fd/%d /proc/$$/fd/%d", a, b);
    shell(&o, command, &out, &e);
    assert_string_equal(out.ptr, "/dev/full\n/dev/zero\n");
    close(a);
    close(b);
}

/* Targets that are just the numbers which a copy would get: whoever lifts too low overwrites what is still
 * needed. */
static void test_spawn_places_many_descriptors(void **state)
{
    (void)state;
    enum { N = 16 };
    A_BUF_AUTO struct a_buf out = {0};
    A_BUF_AUTO struct a_buf command = {0};
    A_BUF_AUTO struct a_buf want = {0};
    struct sys_exit e;
    int a = open("/dev/zero", O_RDONLY | O_CLOEXEC), b = open("/dev/full", O_RDONLY | O_CLOEXEC);
    struct sys_fd_map fds[N];
    a_buf_add_str(&command, "readlink");
    for (int i = 0; i < N; i++) {
        fds[i] = (struct sys_fd_map){i % 2 == 0 ? a : b, b + N - i};
        a_buf_addf(&command, " /proc/$$/fd/%d", fds[i].to);
        a_buf_add_str(&want, i % 2 == 0 ? "/dev/zero\n" : "/dev/full\n");
    }
    struct sys_spawn_options o = {.fds = fds, .n_fds = N};
    shell(&o, command.ptr, &out, &e);
    assert_string_equal(out.ptr, want.ptr);
    close(a);
    close(b);
}

static int setup_fails(void *ctx)
{
    (void)ctx;
    return -EDOM;
}

static void test_spawn_reports_why_it_failed(void **state)
{
    (void)state;
    const char *argv[] = {"/nonexistent/program", NULL}, *bare[] = {"no-such-program-here", NULL};
    const char *ok[] = {"true", NULL};
    struct sys_proc_id id;
    int pidfd, status;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(sys_spawn(&(struct sys_spawn_options){.argv = argv}, &id, &pidfd, &e), -ENOENT);
    assert_string_equal(a_error_text(&e), "cannot start /nonexistent/program: No such file or directory");
    assert_int_equal(sys_spawn(&(struct sys_spawn_options){.argv = bare}, &id, &pidfd, &e), -ENOENT);
    assert_int_equal(
        sys_spawn(&(struct sys_spawn_options){.argv = ok, .cwd = "/nonexistent"}, &id, &pidfd, &e), -ENOENT);
    assert_int_equal(
        sys_spawn(&(struct sys_spawn_options){.argv = ok, .setup = setup_fails}, &id, &pidfd, &e), -EDOM);
    assert_int_equal(waitpid(-1, &status, WNOHANG), -1); /* nobody is left to reap */
    assert_int_equal(errno, ECHILD);
}

static void test_signals_are_default_in_the_child(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf out = {0};
    struct sys_exit e;
    sigset_t block, old;
    sigemptyset(&block);
    sigaddset(&block, SIGTERM);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_BLOCK, &block, &old);
    shell(&(struct sys_spawn_options){0}, "grep -E '^Sig(Blk|Ign)' /proc/self/status", &out, &e);
    sigprocmask(SIG_SETMASK, &old, NULL);
    /* 32 and 33 are libc's own: nobody may set them, whoever started us may have left them ignored */
    unsigned long long blocked = ~0ull, ignored = ~0ull;
    assert_int_equal(sscanf(out.ptr, "SigBlk: %llx SigIgn: %llx", &blocked, &ignored), 2);
    assert_true(blocked == 0);
    assert_true((ignored & ~(3ull << 31)) == 0);
}

static void test_namespaces(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf out = {0};
    struct sys_exit e;
    const char *argv[] = {"true", NULL};
    struct sys_proc_id id;
    int pidfd;
    struct sys_spawn_options o = {.argv = argv, .clone_flags = CLONE_NEWUSER | CLONE_NEWPID};
    if (sys_spawn(&o, &id, &pidfd, NULL) != 0)
        skip(); /* not allowed on this machine */
    assert_int_equal(sys_process_wait(pidfd, true, &e), 0);
    close(pidfd);
    o = (struct sys_spawn_options){.clone_flags = CLONE_NEWUSER | CLONE_NEWPID};
    shell(&o, "echo $$; id -u", &out, &e);
    assert_string_equal(out.ptr, "1\n0\n");
}

struct watched {
    bool ended;
    struct sys_exit e;
    struct sys_process *p;
};

static void on_exit_(void *ctx, const struct sys_exit *e)
{
    struct watched *w = ctx;
    assert_false(w->ended);
    w->ended = true;
    w->e = *e;
    sys_process_close(a_steal(&w->p));
}

static void test_watch_and_kill(void **state)
{
    (void)state;
    struct sys_loop *loop;
    struct watched w = {.ended = false};
    const char *argv[] = {"sleep", "1000", NULL};
    assert_int_equal(sys_loop_new(&loop, NULL), 0);
    assert_int_equal(
        sys_process_start(loop, &(struct sys_spawn_options){.argv = argv}, on_exit_, &w, &w.p, NULL), 0);
    struct sys_proc_id id = *sys_process_id(w.p);
    assert_true(sys_proc_is_alive(&id));
    assert_int_equal(sys_process_kill(w.p, SIGTERM), 0);
    assert_true(sys_loop_run_until(loop, &w.ended, SOON_MS));
    assert_true(w.e.known);
    assert_int_equal(w.e.signal, SIGTERM);
    A_BUF_AUTO struct a_buf text = {0};
    sys_exit_print(&w.e, &text);
    assert_string_equal(text.ptr, "killed by signal 15 (Terminated)");
    assert_false(sys_proc_is_alive(&id));
    assert_int_equal(sys_proc_kill(&id, 0), -ESRCH);
    sys_loop_free(loop);
}

/* Somebody else's child: its end is seen, its status is not. */
static void test_adopt_a_foreign_process(void **state)
{
    (void)state;
    struct sys_loop *loop;
    struct watched w = {.ended = false};
    A_BUF_AUTO struct a_buf out = {0};
    struct sys_exit e;
    shell(&(struct sys_spawn_options){0}, "sleep 1000 >/dev/null & echo $!", &out, &e);
    struct sys_proc_id id = {.pid = atoi(out.ptr)};
    assert_int_equal(sys_proc_start_time(id.pid, &id.start_time), 0);
    assert_int_equal(sys_loop_new(&loop, NULL), 0);
    struct sys_proc_id stranger = {id.pid, id.start_time + 1};
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    assert_int_equal(sys_process_adopt(loop, &stranger, on_exit_, &w, &w.p, &error), -ESRCH);
    assert_int_equal(sys_proc_kill(&stranger, SIGKILL), -ESRCH);
    assert_false(sys_proc_is_alive(&stranger));
    assert_true(sys_proc_is_alive(&id));
    assert_int_equal(sys_process_adopt(loop, &id, on_exit_, &w, &w.p, &error), 0);
    assert_int_equal(sys_proc_kill(&id, SIGKILL), 0);
    assert_true(sys_loop_run_until(loop, &w.ended, SOON_MS));
    assert_false(w.e.known);
    sys_loop_free(loop);
}

static void test_what_proc_tells(void **state)
{
    (void)state;
    struct sys_proc_info info;
    struct sys_proc_id self = sys_proc_self();
    assert_int_equal(sys_proc_info(getpid(), &info), 0);
    assert_int_equal(info.id.pid, getpid());
    assert_int_equal(info.id.start_time, self.start_time);
    assert_int_equal(info.ppid, getppid());
    assert_int_equal(info.session, getsid(0));
    assert_int_equal(info.uid, getuid());
    assert_string_equal(info.comm, "test_sys_proces");
    assert_int_equal(info.state, 'R');
    assert_true(info.rss_bytes > 100000);
    assert_true(info.n_ns_pid >= 1);
    assert_int_equal(info.ns_pid[info.n_ns_pid - 1], getpid());
    uint64_t pss = 0;
    assert_int_equal(sys_proc_pss(getpid(), &pss), 0);
    assert_true(pss > 0 && pss < info.rss_bytes * 2);
    A_BUF_AUTO struct a_buf cmdline = {0};
    assert_int_equal(sys_proc_cmdline(getpid(), 4096, &cmdline), 0);
    assert_non_null(strstr(cmdline.ptr, "test_sys_process"));
    A_BUF_AUTO struct a_buf environ_text = {0};
    assert_int_equal(sys_proc_environ(getpid(), 1 << 20, &environ_text), 0);
    assert_true(environ_text.len == 0 || environ_text.ptr[environ_text.len - 1] == '\0');
    assert_int_equal(sys_proc_info(0x7ffffff0, &info), -ESRCH);
    pid_t same = 0;
    assert_int_equal(sys_proc_from_ns(getpid(), getpid(), &same), 0);
    assert_int_equal(same, getpid());
}

/* A comm with spaces and parentheses must not shift the fields behind it. */
static void test_a_wicked_name(void **state)
{
    (void)state;
    char *dir = NULL;
    assert_int_equal(sys_dir_make_temp("/tmp/astra-test-", &dir, NULL), 0);
    A_AUTOFREE char *path = a_asprintf("%s/a) R 1 (b", dir);
    assert_int_equal(sys_file_copy("/bin/sleep", path, 0700, NULL), 0);
    const char *argv[] = {path, "1000", NULL};
    struct sys_proc_id id;
    struct sys_proc_info info;
    struct sys_exit e;
    int pidfd;
    assert_int_equal(sys_spawn(&(struct sys_spawn_options){.argv = argv}, &id, &pidfd, NULL), 0);
    assert_int_equal(sys_proc_info(id.pid, &info), 0);
    assert_string_equal(info.comm, "a) R 1 (b");
    assert_int_equal(info.ppid, getpid());
    assert_int_equal(sys_proc_kill(&id, SIGKILL), 0);
    assert_int_equal(sys_process_wait(pidfd, true, &e), 0);
    close(pidfd);
    assert_int_equal(sys_dir_remove(dir, NULL), 0);
    a_free(dir);
}

/* A tree that flees into sessions of its own is found by its parents, and as a subreaper we get the orphans.
 */
static void test_descendants_are_killed(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf out = {0};
    struct sys_exit e;
    struct sys_proc_list list = {.len = 0};
    assert_int_equal(sys_process_become_subreaper(), 0);
    shell(&(struct sys_spawn_options){.new_session = true},
          "(sleep 1000 >/dev/null & setsid sh -c 'sleep 1001 & sleep 1002' >/dev/null & ) ; echo go", &out,
          &e);
    uint64_t end = sys_clock_mono_ms() + SOON_MS;
    do {
        assert_true(sys_clock_mono_ms() < end);
        sys_proc_list_deinit(&list);
        assert_int_equal(sys_proc_list(getpid(), &list, NULL), 0);
    } while (list.len < 4);
    for (size_t i = 0; i < list.len; i++) { /* parents come first */
        bool known = list.items[i].ppid == getpid();
        for (size_t j = 0; j < i; j++)
            known |= list.items[j].id.pid == list.items[i].ppid;
        assert_true(known);
    }
    sys_proc_list_deinit(&list);
    assert_int_equal(sys_process_kill_descendants(getpid(), SIGKILL, SOON_MS), 0);
    assert_int_equal(sys_proc_list(getpid(), &list, NULL), 0);
    assert_int_equal(list.len, 0);
    sys_proc_list_deinit(&list);
}

static void test_everything_is_listed(void **state)
{
    (void)state;
    struct sys_proc_list list = {.len = 0};
    bool found = false;
    assert_int_equal(sys_proc_list(0, &list, NULL), 0);
    for (size_t i = 0; i < list.len; i++)
        found |= list.items[i].id.pid == getpid();
    assert_true(found);
    sys_proc_list_deinit(&list);
    sys_proc_list_deinit(&list);
}

/* ---- census ---- */

struct family {
    struct sys_proc_id id;
    int pidfd;
};

static void family_begin(struct family *f)
{
    static const char *const argv[] = {"sh", "-c", "sleep 1000 & sleep 1001 & wait", NULL};
    assert_int_equal(sys_spawn(&(struct sys_spawn_options){.argv = argv}, &f->id, &f->pidfd, NULL), 0);
}

static void family_end(struct family *f)
{
    struct sys_exit e;
    assert_int_equal(sys_process_kill_descendants(f->id.pid, SIGKILL, SOON_MS), 0);
    int ignored A_UNUSED = sys_proc_kill(&f->id, SIGKILL);
    assert_int_equal(sys_process_wait(f->pidfd, true, &e), 0);
    close(f->pidfd);
}

/* Looks until so many are below the root. */
static void census_until(struct sys_census *c, const pid_t *roots, size_t n_roots, pid_t root, size_t wanted)
{
    uint64_t end = sys_clock_mono_ms() + SOON_MS;
    size_t n;
    do {
        assert_true(sys_clock_mono_ms() < end);
        assert_int_equal(sys_census_look(c, roots, n_roots, NULL), 0);
        sys_census_below(c, root, &n);
    } while (n != wanted);
}

/* Each process is below its own root, and what is nobody's is asked once. */
static void test_census(void **state)
{
    (void)state;
    struct sys_census c = {.rows = NULL};
    struct family a, b;
    size_t n;
    family_begin(&a);
    family_begin(&b);
    const pid_t roots[] = {b.id.pid, a.id.pid};
    census_until(&c, roots, 1, roots[0], 2);
    sys_census_below(&c, roots[1], &n);
    assert_int_equal(n, 0);
    census_until(&c, roots, 2, roots[1], 2); /* it was nobody's before it became a root */
    census_until(&c, roots, 2, roots[0], 2);
    size_t fewest = c.asked, all = 0;
    for (int i = 0; i < 16; i++) {
        assert_int_equal(sys_census_look(&c, roots, 2, NULL), 0);
        fewest = A_MIN(fewest, c.asked);
        all = A_MAX(all, c.asked);
    }
    assert_in_range(fewest, 4, all - 1); /* this process and what started it are not asked again */
    const struct sys_proc_info *below = sys_census_below(&c, roots[1], &n);
    assert_int_equal(n, 2);
    for (size_t i = 0; i < n; i++) {
        assert_int_equal(below[i].ppid, roots[1]);
        assert_true(below[i].id.start_time > 0); /* not rss_bytes: the kernel may tell none of so little */
    }
    family_end(&a);
    family_end(&b);
    census_until(&c, roots, 2, roots[0], 0);
    sys_census_deinit(&c);
    sys_census_deinit(&c);
}

/* Whoever loses its parent stays below the root: it falls to the subreaper. */
static void test_census_keeps_orphans(void **state)
{
    (void)state;
    struct sys_census c = {.rows = NULL};
    struct sys_exit e;
    pid_t self = getpid();
    A_BUF_AUTO struct a_buf out = {0};
    assert_int_equal(sys_process_become_subreaper(), 0);
    shell(&(struct sys_spawn_options){.new_session = true}, "(sleep 1000 >/dev/null &) ; echo go", &out, &e);
    census_until(&c, &self, 1, self, 1);
    census_until(&c, &self, 1, self, 1);
    assert_int_equal(sys_process_kill_descendants(self, SIGKILL, SOON_MS), 0);
    census_until(&c, &self, 1, self, 0);
    sys_census_deinit(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_spawn_gives_what_was_asked_for),
        cmocka_unit_test(test_spawn_closes_all_but_the_list),
        cmocka_unit_test(test_spawn_swaps_descriptors),
        cmocka_unit_test(test_spawn_places_many_descriptors),
        cmocka_unit_test(test_spawn_reports_why_it_failed),
        cmocka_unit_test(test_signals_are_default_in_the_child),
        cmocka_unit_test(test_namespaces),
        cmocka_unit_test(test_watch_and_kill),
        cmocka_unit_test(test_adopt_a_foreign_process),
        cmocka_unit_test(test_what_proc_tells),
        cmocka_unit_test(test_a_wicked_name),
        cmocka_unit_test(test_descendants_are_killed),
        cmocka_unit_test(test_everything_is_listed),
        cmocka_unit_test(test_census),
        cmocka_unit_test(test_census_keeps_orphans),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
