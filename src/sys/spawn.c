/* Starting a child. Everything that may fail or allocate happens before the fork; between fork and exec only
 * system calls are made (the process may have other threads, whose locks the child has copied in any state).
 * The child reports a failure through a pipe that exec closes, so success means that the program runs. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/process.h"

#define MAX_FDS 64

struct child {
    const struct sys_spawn_options *o;
    const char *path;
    char oom[16];
    int report; /* where the child writes its error */
    int go;     /* where it waits for its identity maps; -1 = need not */
    pid_t parent;
};

/* --- in the child: system calls only --- */

static int child_mark_cloexec(void)
{
    if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
        return 0;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return -errno;
    for (int fd = 3; fd < (int)limit.rlim_cur; fd++)
        (void)fcntl(fd, F_SETFD, FD_CLOEXEC);
    return 0;
}

static int child_move_up(int fd, int floor)
{
    int moved = fcntl(fd, F_DUPFD_CLOEXEC, floor);
    return moved >= 0 ? moved : -errno;
}

/* First everything is lifted above all targets, so that no dup2 overwrites what is still needed. */
static int child_place_fds(struct child *c)
{
    const struct sys_spawn_options *o = c->o;
    int lifted[MAX_FDS], floor = 3;
    bool named[3] = {false};
    for (size_t i = 0; i < o->n_fds; i++) {
        floor = A_MAX(floor, o->fds[i].to + 1);
        if (o->fds[i].to < 3)
            named[o->fds[i].to] = true;
    }
    int report = child_move_up(c->report, floor);
    if (report < 0)
        return report;
    c->report = report;
    for (size_t i = 0; i < o->n_fds; i++) {
        lifted[i] = child_move_up(o->fds[i].from, floor);
        if (lifted[i] < 0)
            return lifted[i];
    }
    for (size_t i = 0; i < o->n_fds; i++)
        if (dup2(lifted[i], o->fds[i].to) < 0)
            return -errno;
    for (int fd = 0; fd < 3 && !o->inherit_stdio; fd++) {
        if (named[fd])
            continue;
        int null = open("/dev/null", O_RDWR | O_CLOEXEC);
        int rc = null < 0 || dup2(null, fd) < 0 ? -errno : 0;
        if (null > 2)
            (void)close(null);
        else if (rc == 0 && null == fd)
            rc = fcntl(fd, F_SETFD, 0) == 0 ? 0 : -errno;
        if (rc != 0)
            return rc;
    }
    return 0;
}

static int child_set_oom(const char *text)
{
    if (text[0] == '\0')
        return 0;
    int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    int rc = write(fd, text, strlen(text)) < 0 ? -errno : 0;
    (void)close(fd);
    return rc;
}

/* Raw calls: the C library's would try to make all threads of the parent follow. */
static int child_set_ids(const struct sys_spawn_options *o)
{
    if (!o->set_ids || (o->clone_flags & CLONE_NEWUSER) != 0)
        return 0;
    if (geteuid() == 0 && syscall(SYS_setgroups, 0, NULL) != 0)
        return -errno;
    if (syscall(SYS_setresgid, o->gid, o->gid, o->gid) != 0 ||
        syscall(SYS_setresuid, o->uid, o->uid, o->uid) != 0)
        return -errno;
    return 0;
}

static void child_reset_signals(void)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;
    for (int n = 1; n < NSIG; n++)
        if (n != SIGKILL && n != SIGSTOP)
            (void)sigaction(n, &dfl, NULL);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
}

static int child_bind_to_parent(const struct child *c)
{
    if (c->o->parent_death_sig == 0)
        return 0;
    if (prctl(PR_SET_PDEATHSIG, c->o->parent_death_sig) != 0)
        return -errno;
    bool own_pids = (c->o->clone_flags & CLONE_NEWPID) != 0;
    return own_pids || getppid() == c->parent ? 0 : -ESRCH; /* it ended before we asked */
}

static int child_prepare(struct child *c)
{
    const struct sys_spawn_options *o = c->o;
    char byte;
    if (c->go >= 0 && read(c->go, &byte, 1) != 1)
        return -EPIPE;
    if (o->new_session && setsid() < 0)
        return -errno;
    int rc = child_mark_cloexec();
    if (rc == 0)
        rc = child_place_fds(c);
    if (rc == 0)
        rc = child_set_oom(c->oom);
    if (rc == 0 && o->nice != 0 && setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + o->nice) != 0)
        rc = -errno;
    if (rc == 0)
        rc = child_set_ids(o);
    if (rc == 0 && o->cwd != NULL && chdir(o->cwd) != 0)
        rc = -errno;
    if (rc == 0)
        rc = child_bind_to_parent(c);
    child_reset_signals();
    if (rc == 0 && o->setup != NULL)
        rc = o->setup(o->setup_ctx);
    return rc;
}

__attribute__((noreturn)) static void child_main(struct child *c)
{
    int rc = child_prepare(c);
    if (rc >= 0) {
        const char *const *env = c->o->env != NULL ? c->o->env : sys_env_all();
        execve(c->path, (char *const *)(uintptr_t)c->o->argv, (char *const *)(uintptr_t)env);
        rc = -errno;
    }
    (void)!write(c->report, &rc, sizeof rc);
    _exit(127);
}

/* --- in the parent --- */

static bool is_executable(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0;
}

/* The executable's path in fresh memory; NULL when PATH has none. */
static char *path_search(const char *file)
{
    if (strchr(file, '/') != NULL)
        return a_strdup(file);
    const char *path = sys_env_get("PATH");
    struct a_view rest = a_view_str(path != NULL ? path : "/usr/local/bin:/usr/bin:/bin");
    while (rest.len > 0) {
        struct a_view dir = a_view_split(rest, ':', &rest);
        char *full = a_asprintf(A_VIEW_FMT "/%s", A_VIEW_ARG(dir), file);
        if (dir.len > 0 && is_executable(full))
            return full;
        a_free(full);
    }
    return NULL;
}

static int proc_write(pid_t pid, const char *name, const char *text)
{
    A_AUTOFREE char *path = a_asprintf("/proc/%ld/%s", (long)pid, name);
    SYS_FD_AUTO int fd = open(path, O_WRONLY | O_CLOEXEC);
    return fd < 0 ? -errno : sys_fd_write_full(fd, text, strlen(text));
}

/* One identity inside the user namespace: ours outside. */
static int maps_write(pid_t pid, const struct sys_spawn_options *o)
{
    char uid_map[64], gid_map[64];
    snprintf(uid_map, sizeof uid_map, "%u %u 1\n", o->set_ids ? o->uid : 0, geteuid());
    snprintf(gid_map, sizeof gid_map, "%u %u 1\n", o->set_ids ? o->gid : 0, getegid());
    int rc = proc_write(pid, "uid_map", uid_map);
    if (rc == 0)
        rc = proc_write(pid, "setgroups", "deny");
    if (rc == 0)
        rc = proc_write(pid, "gid_map", gid_map);
    return rc;
}

/* As fork, with namespaces and a pidfd: in the child it does not return. */
static int child_clone(struct child *c, pid_t *ret_pid, int *ret_pidfd)
{
    sigset_t all, old;
    int pidfd = -1;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old); /* no handler of ours may run in the child */
    long flags = c->o->clone_flags | CLONE_PIDFD | SIGCHLD;
    long pid = syscall(SYS_clone, flags, NULL, &pidfd, NULL, NULL);
    int rc = -errno;
    if (pid == 0)
        child_main(c);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    if (pid < 0)
        return rc;
    *ret_pid = (pid_t)pid;
    *ret_pidfd = pidfd;
    return 0;
}

/* Waits for the report: 0 when the program runs. */
static int report_read(int fd)
{
    int child_rc;
    int rc = sys_fd_read_full(fd, &child_rc, sizeof child_rc);
    return rc == 0 ? child_rc : 0;
}

static int child_start(struct child *c, struct sys_proc_id *ret_id, int *ret_pidfd)
{
    SYS_FD_AUTO int report_in = -1;
    SYS_FD_AUTO int go_out = -1;
    SYS_FD_AUTO int pidfd = -1;
    int report[2], go[2] = {-1, -1};
    bool own_users = (c->o->clone_flags & CLONE_NEWUSER) != 0;
    struct sys_proc_id id;
    if (pipe2(report, O_CLOEXEC) != 0)
        return -errno;
    report_in = report[0];
    if (own_users && pipe2(go, O_CLOEXEC) != 0) {
        int rc = -errno;
        sys_fd_close(report[1]);
        return rc;
    }
    go_out = go[1];
    c->report = report[1];
    c->go = go[0];
    int rc = child_clone(c, &id.pid, &pidfd);
    sys_fd_close(report[1]);
    sys_fd_close(go[0]);
    if (rc != 0)
        return rc;
    if (own_users)
        rc = maps_write(id.pid, c->o);
    if (own_users && rc == 0)
        rc = sys_fd_write_full(go_out, "", 1);
    if (rc != 0)
        (void)kill(id.pid, SIGKILL); /* our child, not reaped yet: the pid is surely its own */
    else
        rc = report_read(report_in);
    if (rc == 0)
        rc = sys_proc_start_time(id.pid, &id.start_time);
    if (rc != 0) {
        struct sys_exit ignored;
        (void)!sys_process_wait(pidfd, true, &ignored);
        return rc;
    }
    *ret_id = id;
    *ret_pidfd = pidfd;
    pidfd = -1;
    return 0;
}

int sys_spawn(const struct sys_spawn_options *options, struct sys_proc_id *ret_id, int *ret_pidfd,
              struct a_error *reterr)
{
    struct child c = {.o = options, .report = -1, .go = -1, .parent = getpid()};
    a_assert(options->argv != NULL && options->argv[0] != NULL && options->n_fds <= MAX_FDS);
    const char *file = options->file != NULL ? options->file : options->argv[0];
    A_AUTOFREE char *path = path_search(file);
    if (path == NULL)
        return a_fail(reterr, -ENOENT, A_CODE_NOT_FOUND, "cannot start %s: not found in PATH", file);
    c.path = path;
    if (options->oom_score_adj != 0)
        snprintf(c.oom, sizeof c.oom, "%d", options->oom_score_adj);
    int rc = child_start(&c, ret_id, ret_pidfd);
    if (rc != 0)
        return a_fail_errno(reterr, rc, "cannot start %s", file);
    return 0;
}

int sys_process_replace(const char *file, const char *const *argv, const char *const *env,
                        unsigned deadline_s, struct a_error *reterr)
{
    child_reset_signals();
    (void)alarm(deadline_s);
    (void)execve(file, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)env);
    int rc = -errno;
    (void)alarm(0);
    return a_fail_errno(reterr, rc, "%s", file);
}

void sys_process_deadline_clear(void)
{
    (void)alarm(0);
}
