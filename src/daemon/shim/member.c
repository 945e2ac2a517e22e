#include "daemon/shim/member.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/macro.h"
#include "base/text.h"

/* What a child that could not become the member says of it before it ends. */
struct report {
    int error; /* errno */
    char step[60];
};

/* The descriptors between shim and child. [0] is read, [1] is written. */
struct channel {
    int go[2];     /* shim -> child: a byte when the child may go on; its end means that the shim died */
    int report[2]; /* child -> shim: a struct report, or its end when the member was executed */
    int status[2]; /* first process -> shim: the member's wait status */
};

static void pair_close(int fd[2])
{
    for (int i = 0; i < 2; i++) {
        if (fd[i] >= 0)
            close(fd[i]);
        fd[i] = -1;
    }
}

static void channel_close(struct channel *c)
{
    pair_close(c->go);
    pair_close(c->report);
    pair_close(c->status);
}

static int channel_open(struct channel *c)
{
    *c = (struct channel){{-1, -1}, {-1, -1}, {-1, -1}};
    if (pipe2(c->go, O_CLOEXEC) == 0 && pipe2(c->report, O_CLOEXEC) == 0 && pipe2(c->status, O_CLOEXEC) == 0)
        return 0;
    int rc = -errno;
    channel_close(c);
    return rc;
}

__attribute__((noreturn)) static void child_fail(int report_fd, const char *step)
{
    struct report r = {.error = errno};
    snprintf(r.step, sizeof r.step, "%s", step);
    ssize_t ignored A_UNUSED = write(report_fd, &r, sizeof r);
    _exit(127);
}

/* Writes a short text into a file of /proc or a cgroup. */
static int text_put(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    ssize_t n = write(fd, text, strlen(text));
    int rc = n < 0 ? -errno : 0;
    close(fd);
    return rc;
}

/* The member keeps its uid inside: one line that maps it to itself. */
static int ids_map(pid_t pid)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%d/setgroups", pid);
    int rc = text_put(path, "deny");
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "/proc/%d/gid_map", pid);
    snprintf(text, sizeof text, "%u %u 1", getegid(), getegid());
    rc = text_put(path, text);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "/proc/%d/uid_map", pid);
    snprintf(text, sizeof text, "%u %u 1", geteuid(), geteuid());
    return text_put(path, text);
}

static void limits_set(const struct d_shim_spec *spec, int report_fd)
{
    const struct rlimit no_core = {0, 0};
    struct rlimit files;
    setrlimit(RLIMIT_CORE, &no_core);
    if (spec->open_files == 0 || getrlimit(RLIMIT_NOFILE, &files) < 0)
        return;
    files.rlim_cur = A_MIN((rlim_t)spec->open_files, files.rlim_max); /* the hard limit is the host's say */
    if (setrlimit(RLIMIT_NOFILE, &files) < 0)
        child_fail(report_fd, "set the limit of open files");
}

static void fd_become(int fd, int target, int report_fd)
{
    if (dup3(fd, target, O_CLOEXEC) < 0 || fcntl(target, F_SETFD, 0) < 0)
        child_fail(report_fd, "set up standard input and output");
}

/* The kernel forgets whom we are tied to when the user changes. */
static void ids_change(const struct d_shim_spec *spec, int report_fd, pid_t tied_to)
{
    if (setgroups(0, NULL) < 0 || setresgid(spec->gid, spec->gid, spec->gid) < 0 ||
        setresuid(spec->uid, spec->uid, spec->uid) < 0)
        child_fail(report_fd, "change user and group");
    if (tied_to == 0)
        return;
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        child_fail(report_fd, "tie to the shim");
    if (getppid() != tied_to)
        _exit(127); /* it died meanwhile */
}

/* tied_to: our parent, with which we end; 0: with the namespace. */
__attribute__((noreturn)) static void member_exec(const struct d_shim_spec *spec, int out_fd, int report_fd,
                                                  pid_t tied_to)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGPIPE, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        child_fail(report_fd, "open /dev/null");
    fd_become(null_fd, 0, report_fd);
    fd_become(out_fd, 1, report_fd);
    fd_become(out_fd, 2, report_fd);
    limits_set(spec, report_fd);
    if (spec->cwd != NULL && chdir(spec->cwd) < 0)
        child_fail(report_fd, "enter the working folder");
    if (spec->set_ids)
        ids_change(spec, report_fd, tied_to);
    char *no_env[] = {NULL};
    execve(spec->argv[0], spec->argv, spec->env != NULL ? spec->env : no_env);
    child_fail(report_fd, "execute the command");
}

/* Mounts of our own: /proc of the new PID namespace, and a /dev/shm that ends with the member. */
static void mounts_make(const struct d_shim_spec *spec, int report_fd)
{
    char options[64];
    if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        child_fail(report_fd, "make mounts private");
    if (mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
        child_fail(report_fd, "mount /proc");
    if (spec->shm_bytes == 0)
        return;
    snprintf(options, sizeof options, "mode=1777,size=%llu", (unsigned long long)spec->shm_bytes);
    if (mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, options) < 0)
        child_fail(report_fd, "mount /dev/shm");
    if (spec->shm_models != NULL && symlink(spec->shm_models, D_SHIM_SHM_MODELS) < 0)
        child_fail(report_fd, "link the models");
}

/* The first process of the namespace: reaps, passes SIGTERM on, ends with the member; the kernel then kills
 * and reaps whatever is left. */
__attribute__((noreturn)) static void first_run(pid_t member, int status_fd)
{
    sigset_t wanted;
    sigemptyset(&wanted);
    sigaddset(&wanted, SIGCHLD);
    sigaddset(&wanted, SIGTERM);
    prctl(PR_SET_NAME, "astra-first", 0, 0, 0);
    for (;;) {
        int signal_number = sigwaitinfo(&wanted, NULL);
        if (signal_number == SIGTERM)
            kill(member, SIGTERM);
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
            if (pid != member)
                continue;
            ssize_t ignored A_UNUSED = write(status_fd, &status, sizeof status);
            _exit(0);
        }
    }
}

static void parent_await(const struct channel *c)
{
    char go;
    /* should the shim die, even by SIGKILL, so do we, and with us the namespace */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0) < 0)
        child_fail(c->report[1], "tie to the shim");
    close(c->go[1]);
    if (read(c->go[0], &go, 1) != 1)
        _exit(127); /* it died before that */
    close(c->go[0]);
}

__attribute__((noreturn)) static void child_run(const struct d_shim_spec *spec, bool namespaces, int out_fd,
                                                struct channel *c)
{
    char path[4096];
    pid_t parent = getppid();
    close(c->report[0]);
    close(c->status[0]);
    parent_await(c);
    if (spec->cgroup != NULL &&
        (snprintf(path, sizeof path, "%s/cgroup.procs", spec->cgroup) >= (int)sizeof path ||
         text_put(path, "0") < 0))
        child_fail(c->report[1], "join the cgroup");
    if (!namespaces)
        member_exec(spec, out_fd, c->report[1], parent);
    mounts_make(spec, c->report[1]);
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, NULL);
    pid_t member = fork();
    if (member < 0)
        child_fail(c->report[1], "fork");
    if (member == 0)
        member_exec(spec, out_fd, c->report[1], 0);
    close(out_fd);
    close(c->report[1]);
    first_run(member, c->status[1]);
}

/* 0 when the member was executed, else -errno and the failed step. */
static int report_read(int fd, const char *what, struct a_error *reterr)
{
    struct report r;
    ssize_t n;
    do
        n = read(fd, &r, sizeof r);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    if (n != (ssize_t)sizeof r || r.error <= 0)
        return a_fail(reterr, -EIO, A_CODE_OS, "%s: the child said nothing of why", what);
    r.step[sizeof r.step - 1] = '\0';
    return a_fail_errno(reterr, -r.error, "%s: %s", what, r.step);
}

/* One try with these clone flags (0: no namespaces). */
static int start_try(const struct d_shim_spec *spec, int flags, int out_fd, struct d_shim_member *ret,
                     struct a_error *reterr)
{
    struct channel c;
    int rc = channel_open(&c);
    if (rc < 0)
        return a_fail_errno(reterr, rc, "open pipes");
    pid_t pid = (pid_t)syscall(SYS_clone, (unsigned long)flags | SIGCHLD, NULL, NULL, NULL, NULL);
    if (pid == 0)
        child_run(spec, flags != 0, out_fd, &c);
    if (pid < 0) {
        rc = a_fail_errno(reterr, -errno, flags != 0 ? "make namespaces" : "fork");
        channel_close(&c);
        return rc;
    }
    rc = (flags & CLONE_NEWUSER) != 0 ? ids_map(pid) : 0;
    if (rc < 0)
        rc = a_fail_errno(reterr, rc, "map the user into its namespace");
    else if (write(c.go[1], "g", 1) != 1)
        rc = a_fail_errno(reterr, -EPIPE, "start the child");
    pair_close(c.go);
    close(c.report[1]);
    c.report[1] = -1;
    if (rc == 0)
        rc = report_read(c.report[0], spec->argv[0], reterr);
    if (rc == 0) {
        *ret = (struct d_shim_member){.pid = pid, .namespaces = flags != 0, .status_fd = c.status[0]};
        c.status[0] = -1;
    } else {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
    }
    channel_close(&c);
    return rc;
}

/* A failure of the namespaces themselves leads to the next way; one of the command would only come back. */
static bool namespaces_refused(const struct a_error *e)
{
    static const char *const steps[] = {"make namespaces", "map the user", "make mounts private", "mount /"};
    for (size_t i = 0; i < A_ARRAY_SIZE(steps); i++)
        if (strstr(a_error_text(e), steps[i]) != NULL)
            return true;
    return false;
}

int d_shim_member_start(const struct d_shim_spec *spec, int out_fd, struct d_shim_member *ret,
                        struct a_error *reterr)
{
    const int ways[] = {CLONE_NEWPID | CLONE_NEWNS, CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS, 0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int rc = -EPERM;
    for (size_t i = spec->no_namespaces ? 2 : 0; i < A_ARRAY_SIZE(ways); i++) {
        if (spec->set_ids && (ways[i] & CLONE_NEWUSER) != 0)
            continue; /* its user is unknown there */
        if (ways[i] == 0 && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0)
            return a_fail_errno(reterr, -errno, "become subreaper");
        rc = start_try(spec, ways[i], out_fd, ret, &e);
        if (rc == 0 || !namespaces_refused(&e))
            break;
    }
    if (rc < 0)
        a_error_move(reterr, &e);
    return rc;
}

/* Field `index` (from 3 on) of /proc/PID/stat; the name before it may hold anything, so count from its end.
 */
static bool stat_field(pid_t pid, int index, uint64_t *ret)
{
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return false;
    text[n] = '\0';
    const char *p = strrchr(text, ')');
    if (p == NULL || p[1] != ' ')
        return false;
    struct a_view rest = a_view_str(p + 2), field = {0};
    for (int i = 3; i <= index; i++)
        field = a_view_split(rest, ' ', &rest);
    return a_text_u64(field, ret);
}

struct d_shim_process d_shim_process_of(pid_t pid)
{
    struct d_shim_process p = {.pid = pid};
    if (!stat_field(pid, 22, &p.start))
        p.start = 0;
    return p;
}

void d_shim_member_term(const struct d_shim_member *m)
{
    if (!m->ended)
        kill(m->pid, SIGTERM);
}

/* Sends SIGKILL to each process whose chain of parents leads to us. Orphans come to us as their subreaper, so
 * a chain never leaves the family; what forks meanwhile is met by the next round. */
static void descendants_kill(void)
{
    const uint64_t self = (uint64_t)getpid();
    DIR *proc = opendir("/proc");
    if (proc == NULL)
        return;
    for (struct dirent *d; (d = readdir(proc)) != NULL;) {
        uint64_t pid, parent;
        if (!a_text_u64(a_view_str(d->d_name), &pid) || pid == self || pid > INT32_MAX)
            continue;
        uint64_t up = pid;
        for (int depth = 0; depth < 64 && up > 1 && stat_field((pid_t)up, 4, &parent); depth++) {
            if (parent == self) {
                kill((pid_t)pid, SIGKILL);
                break;
            }
            up = parent;
        }
    }
    closedir(proc);
}

void d_shim_member_kill(const struct d_shim_member *m)
{
    if (m->namespaces && !m->ended)
        kill(m->pid, SIGKILL);
    if (!m->namespaces)
        descendants_kill();
}

bool d_shim_member_reap(struct d_shim_member *m)
{
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
        if (pid != m->pid)
            continue;
        m->ended = true;
        m->wait_status = status;
        /* the first process was itself killed when it left no word of the member */
        if (m->status_fd >= 0 && read(m->status_fd, &status, sizeof status) == (ssize_t)sizeof status)
            m->wait_status = status;
    }
    return m->ended;
}

bool d_shim_member_gone(struct d_shim_member *m)
{
    if (!m->ended)
        return false;
    if (m->namespaces)
        return true;
    descendants_kill();
    d_shim_member_reap(m);
    return waitpid(-1, NULL, WNOHANG) < 0 && errno == ECHILD;
}
