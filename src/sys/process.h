/* Processes: starting, watching, finding and ending them.
 *
 * A process is named by (pid, start time): a pid alone may be somebody else by now. Whatever is sent to a
 * process goes through a pidfd whose start time was checked after it was opened. No SIGCHLD handler is needed
 * or installed. */
#ifndef A_SYS_PROCESS_H
#define A_SYS_PROCESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "sys/loop.h"

/* Who a process is. Clock ticks since boot (field 22 of /proc/PID/stat). */
struct sys_proc_id {
    pid_t pid;
    uint64_t start_time;
};

struct sys_fd_map {
    int from; /* ours */
    int to;   /* the child's number */
};

/* Zero = default. Strings are read during the call only. */
struct sys_spawn_options {
    const char *file;        /* executable; NULL = argv[0]. Without '/' it is looked up in our PATH */
    const char *const *argv; /* NULL-terminated; required */
    const char *const *env;  /* NULL-terminated "K=V"; NULL = ours */
    const char *cwd;         /* NULL = ours */
    const struct sys_fd_map
        *fds; /* what the child gets, all else is closed. 0, 1, 2 not named are /dev/null */
    size_t n_fds;
    bool inherit_stdio; /* 0, 1, 2 that are not in `fds` are ours instead of /dev/null */
    bool new_session;
    bool set_ids; /* uid and gid below; supplementary groups are dropped */
    uid_t uid;
    gid_t gid;
    int clone_flags; /* CLONE_NEWPID, CLONE_NEWNS, CLONE_NEWUSER, ... With CLONE_NEWUSER our uid and gid are
                        mapped to uid and gid 0 inside (or to `uid`, `gid` with set_ids) */
    int parent_death_sig; /* sent when the spawning thread ends; 0 = none */
    int nice;             /* added to ours */
    int oom_score_adj;    /* written when not 0 */
    /* Runs in the child just before exec, after all else; only async-signal-safe calls. A negative return
     * ends the child and is returned by sys_spawn() as that error. */
    int (*setup)(void *ctx);
    void *setup_ctx;
};

/* Starts a child. Returns when it has executed the file, or the error that prevented it (-ENOENT, -EACCES; no
 * child is left then). Signals are reset to default and unblocked in the child. *ret_pidfd is the caller's.
 * Needs no loop. */
int sys_spawn(const struct sys_spawn_options *options, struct sys_proc_id *ret_id, int *ret_pidfd,
              struct a_error *reterr) A_MUST_CHECK;

/* This process becomes another program, with the same pid: signals are reset to default and unblocked,
 * descriptors that are not for it are closed. With `deadline_s` the kernel ends it by SIGALRM after so many
 * seconds, unless it calls sys_process_deadline_clear() before; 0 = never. Returns only when it failed, with
 * signals reset; then there is no deadline. */
int sys_process_replace(const char *file, const char *const *argv, const char *const *env,
                        unsigned deadline_s, struct a_error *reterr) A_MUST_CHECK;
void sys_process_deadline_clear(void);

/* How a process ended. */
struct sys_exit {
    bool known; /* false for a process that is not our child: only that it is gone */
    int code;   /* exit status, when signal is 0 */
    int signal; /* that ended it, or 0 */
    bool core_dump;
    uint64_t cpu_us; /* user and system time of it and the children it waited for; 0 when not known */
    uint64_t max_rss_bytes;
};
/* "exit status 3", "killed by signal 9 (Killed)", "gone". */
void sys_exit_print(const struct sys_exit *e, struct a_buf *b);

/* Waits for a child by its pidfd: 0 with the status (it is reaped), -EAGAIN when it runs, -ECHILD when it is
 * not ours. `block` waits for it. */
int sys_process_wait(int pidfd, bool block, struct sys_exit *ret_exit) A_MUST_CHECK;

/* Tells once that a process has ended; reaps it when it is our child. On success the pidfd belongs to the
 * watch. */
struct sys_process;
int sys_process_watch(struct sys_loop *loop, const struct sys_proc_id *id, int pidfd,
                      void (*fn)(void *ctx, const struct sys_exit *e), void *ctx,
                      struct sys_process **ret_process, struct a_error *reterr) A_MUST_CHECK;
/* Spawn and watch. */
int sys_process_start(struct sys_loop *loop, const struct sys_spawn_options *options,
                      void (*fn)(void *ctx, const struct sys_exit *e), void *ctx,
                      struct sys_process **ret_process, struct a_error *reterr) A_MUST_CHECK;
/* A process that already runs, ours or foreign: -ESRCH when (pid, start time) is gone. */
int sys_process_adopt(struct sys_loop *loop, const struct sys_proc_id *id,
                      void (*fn)(void *ctx, const struct sys_exit *e), void *ctx,
                      struct sys_process **ret_process, struct a_error *reterr) A_MUST_CHECK;
const struct sys_proc_id *sys_process_id(const struct sys_process *p);
int sys_process_kill(struct sys_process *p, int signum); /* 0, -ESRCH, -EPERM */
/* Stops watching; the process goes on. Also after fn was called. NULL is allowed. */
void sys_process_close(struct sys_process *p);

/* A pidfd for (pid, start time): -ESRCH when that process is gone. */
int sys_pidfd_open(const struct sys_proc_id *id, int *ret_pidfd) A_MUST_CHECK;
/* Signal by identity: -ESRCH when that process is gone. */
int sys_proc_kill(const struct sys_proc_id *id, int signum);
bool sys_proc_is_alive(const struct sys_proc_id *id); /* a zombie is not alive */
/* -ESRCH when there is no such pid. */
int sys_proc_start_time(pid_t pid, uint64_t *ret_start_time) A_MUST_CHECK;
struct sys_proc_id sys_proc_self(void);

struct sys_proc_info {
    struct sys_proc_id id;
    pid_t ppid, pgid, session;
    char state; /* R S D Z T ... */
    char comm[17];
    uid_t uid;
    uint64_t cpu_us;    /* user + system */
    uint64_t rss_bytes; /* of /proc/PID/stat: shared pages counted in each */
    unsigned threads;
    pid_t ns_pid[4]; /* its pid in each nested PID namespace, outermost (ours) first; 0 = none */
    unsigned n_ns_pid;
};
int sys_proc_info(pid_t pid, struct sys_proc_info *ret_info) A_MUST_CHECK;
/* As sys_proc_info(), but without uid and ns_pid: for a third of the price. */
int sys_proc_stat(pid_t pid, struct sys_proc_info *ret_info) A_MUST_CHECK;
/* Proportional set size (smaps_rollup): shared pages divided among their users. Costs tens of microseconds.
 */
int sys_proc_pss(pid_t pid, uint64_t *ret_bytes) A_MUST_CHECK;
/* NUL-separated argv of the process. */
int sys_proc_cmdline(pid_t pid, size_t max, struct a_buf *ret_cmdline) A_MUST_CHECK;
/* NUL-separated "K=V" that the process was started with; -EACCES for other users' processes. */
int sys_proc_environ(pid_t pid, size_t max, struct a_buf *ret_environ) A_MUST_CHECK;

/* A snapshot of the processes: all, or those below `root` (descendants by parent, without root itself).
 * Parents come before their children. The caller frees `items` by sys_proc_list_deinit(). */
struct sys_proc_list {
    struct sys_proc_info *items;
    size_t len;
};
int sys_proc_list(pid_t root_or_0, struct sys_proc_list *ret_list, struct a_error *reterr) A_MUST_CHECK;
void sys_proc_list_deinit(struct sys_proc_list *list);
/* Our pid of the process whose pid is `ns_pid` inside the innermost PID namespace of `member` (any process of
 * that namespace): -ESRCH when there is none. */
int sys_proc_from_ns(pid_t member, pid_t ns_pid, pid_t *ret_pid) A_MUST_CHECK;

/* Orphaned descendants become our children (PR_SET_CHILD_SUBREAPER). */
int sys_process_become_subreaper(void) A_MUST_CHECK;
/* Reaps any one ended child: 0; -EAGAIN when none has ended, -ECHILD when there are none. For subreapers. */
int sys_process_reap_any(pid_t *ret_pid, struct sys_exit *ret_exit) A_MUST_CHECK;

/* Kills all descendants of `root` (not root itself) over and over until none is left, or -ETIMEDOUT after
 * `timeout_ms`. Blocks; reaps what became ours when `root` is this process. For shims and tests. */
int sys_process_kill_descendants(pid_t root, int signum, uint64_t timeout_ms) A_MUST_CHECK;

#endif
