/* Ends of processes: waiting for them, on a loop and without one, and bringing them about. */
#include "sys/process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/alloc.h"
#include "sys/clock.h"
#include "sys/file.h"

struct sys_process {
    struct sys_proc_id id;
    int pidfd;
    struct sys_poll *poll;
    void (*fn)(void *ctx, const struct sys_exit *e);
    void *ctx;
};

void sys_exit_print(const struct sys_exit *e, struct a_buf *b)
{
    if (!e->known) {
        a_buf_add_str(b, "gone");
    } else if (e->signal != 0) {
        const char *what = sigdescr_np(e->signal);
        a_buf_addf(b, "killed by signal %d (%s)", e->signal, what != NULL ? what : "unknown");
    } else {
        a_buf_addf(b, "exit status %d", e->code);
    }
}

static uint64_t rusage_cpu_us(const struct rusage *u)
{
    return (uint64_t)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) * 1000000u +
           (uint64_t)(u->ru_utime.tv_usec + u->ru_stime.tv_usec);
}

int sys_process_wait(int pidfd, bool block, struct sys_exit *ret_exit)
{
    struct rusage usage;
    siginfo_t info;
    struct pollfd wait_for = {.fd = pidfd, .events = POLLIN};
    if (block)
        while (poll(&wait_for, 1, -1) < 0 && errno == EINTR)
            continue;
    memset(&info, 0, sizeof info);
    memset(&usage, 0, sizeof usage);
    if (syscall(SYS_waitid, P_PIDFD, pidfd, &info, WEXITED | WNOHANG, &usage) != 0)
        return -errno;
    if (info.si_pid == 0)
        return -EAGAIN;
    bool exited = info.si_code == CLD_EXITED;
    *ret_exit = (struct sys_exit){
        .known = true,
        .code = exited ? info.si_status : 0,
        .signal = exited ? 0 : info.si_status,
        .core_dump = info.si_code == CLD_DUMPED,
        .cpu_us = rusage_cpu_us(&usage),
        .max_rss_bytes = (uint64_t)usage.ru_maxrss * 1024u,
    };
    return 0;
}

static void process_ended(void *ctx)
{
    struct sys_process *p = ctx;
    struct sys_exit e = {.known = false};
    int rc = sys_process_wait(p->pidfd, false, &e);
    if (rc == -EAGAIN)
        return;
    sys_poll_close(p->poll);
    p->poll = NULL;
    p->fn(p->ctx, &e);
}

int sys_process_watch(struct sys_loop *loop, const struct sys_proc_id *id, int pidfd,
                      void (*fn)(void *ctx, const struct sys_exit *e), void *ctx,
                      struct sys_process **ret_process, struct a_error *reterr)
{
    struct sys_process *p = a_new(struct sys_process);
    *p = (struct sys_process){.id = *id, .pidfd = pidfd, .fn = fn, .ctx = ctx};
    int rc = sys_poll_open(loop, pidfd, process_ended, p, &p->poll, reterr);
    if (rc != 0) {
        a_free(p);
        return rc;
    }
    *ret_process = p;
    return 0;
}

int sys_process_start(struct sys_loop *loop, const struct sys_spawn_options *options,
                      void (*fn)(void *ctx, const struct sys_exit *e), void *ctx,
                      struct sys_process **ret_process, struct a_error *reterr)
{
    struct sys_proc_id id;
    int pidfd = -1;
    int rc = sys_spawn(options, &id, &pidfd, reterr);
    if (rc != 0)
        return rc;
    rc = sys_process_watch(loop, &id, pidfd, fn, ctx, ret_process, reterr);
    if (rc != 0) {
        struct sys_exit ignored;
        (void)sys_proc_kill(&id, SIGKILL);
        (void)!sys_process_wait(pidfd, true, &ignored);
        sys_fd_close(pidfd);
    }
    return rc;
}

int sys_process_adopt(struct sys_loop *loop, const struct sys_proc_id *id,
                      void (*fn)(void *ctx, const struct sys_exit *e), void *ctx,
                      struct sys_process **ret_process, struct a_error *reterr)
{
    int pidfd = -1;
    int rc = sys_pidfd_open(id, &pidfd);
    if (rc != 0)
        return a_fail_errno(reterr, rc, "cannot watch process %ld", (long)id->pid);
    rc = sys_process_watch(loop, id, pidfd, fn, ctx, ret_process, reterr);
    if (rc != 0)
        sys_fd_close(pidfd);
    return rc;
}

const struct sys_proc_id *sys_process_id(const struct sys_process *p)
{
    return &p->id;
}

static int pidfd_kill(int pidfd, int signum)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signum, NULL, 0) == 0 ? 0 : -errno;
}

int sys_process_kill(struct sys_process *p, int signum)
{
    return pidfd_kill(p->pidfd, signum);
}

void sys_process_close(struct sys_process *p)
{
    if (p == NULL)
        return;
    sys_poll_close(p->poll);
    sys_fd_close(p->pidfd);
    a_free(p);
}

int sys_pidfd_open(const struct sys_proc_id *id, int *ret_pidfd)
{
    uint64_t start_time = 0;
    SYS_FD_AUTO int fd = (int)syscall(SYS_pidfd_open, id->pid, 0);
    if (fd < 0)
        return -errno;
    /* From here on the pid cannot become somebody else unseen: the start time tells whose it is. */
    if (sys_proc_start_time(id->pid, &start_time) != 0 || start_time != id->start_time)
        return -ESRCH;
    *ret_pidfd = fd;
    fd = -1;
    return 0;
}

int sys_proc_kill(const struct sys_proc_id *id, int signum)
{
    SYS_FD_AUTO int fd = -1;
    int rc = sys_pidfd_open(id, &fd);
    return rc != 0 ? rc : pidfd_kill(fd, signum);
}

int sys_process_become_subreaper(void)
{
    return prctl(PR_SET_CHILD_SUBREAPER, 1) == 0 ? 0 : -errno;
}

int sys_process_reap_any(pid_t *ret_pid, struct sys_exit *ret_exit)
{
    struct rusage usage;
    int status;
    pid_t pid = wait4(-1, &status, WNOHANG, &usage);
    if (pid == 0)
        return -EAGAIN;
    if (pid < 0)
        return -errno;
    *ret_pid = pid;
    *ret_exit = (struct sys_exit){
        .known = true,
        .code = WIFEXITED(status) ? WEXITSTATUS(status) : 0,
        .signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0,
        .core_dump = WIFSIGNALED(status) && WCOREDUMP(status),
        .cpu_us = rusage_cpu_us(&usage),
        .max_rss_bytes = (uint64_t)usage.ru_maxrss * 1024u,
    };
    return 0;
}

/* Signals every living descendant once; the number of them, or -errno. */
static int descendants_signal(pid_t root, int signum)
{
    struct sys_proc_list list = {.len = 0};
    int n = 0, rc = sys_proc_list(root, &list, NULL);
    for (size_t i = 0; rc == 0 && i < list.len; i++) {
        if (list.items[i].state == 'Z' || list.items[i].state == 'X')
            continue;
        n++;
        (void)sys_proc_kill(&list.items[i].id, signum);
    }
    sys_proc_list_deinit(&list);
    return rc != 0 ? rc : n;
}

int sys_process_kill_descendants(pid_t root, int signum, uint64_t timeout_ms)
{
    uint64_t deadline = sys_clock_mono_ms() + timeout_ms;
    for (;;) {
        pid_t pid;
        struct sys_exit e;
        int left = descendants_signal(root, signum);
        if (root == getpid())
            while (sys_process_reap_any(&pid, &e) == 0)
                continue;
        if (left <= 0)
            return left;
        if (sys_clock_mono_ms() >= deadline)
            return -ETIMEDOUT;
        sys_clock_sleep_ms(5);
    }
}
