#include "daemon/shim/shim.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/text.h"
#include "daemon/shim/control.h"
#include "daemon/shim/log.h"
#include "daemon/shim/member.h"
#include "daemon/shim/spec.h"

#define NEVER UINT64_MAX
#define LOCK_FD 3
#define SWEEP_MS 20       /* between two rounds of killing what a member without namespaces left behind */
#define LOG_ROUNDS_MAX 64 /* buffers of output moved before commands and signals get their turn again */

struct shim {
    int folder_fd, signal_fd, out_fd; /* out_fd: the member's output, -1 after its end */
    struct d_shim_spec spec;
    struct d_shim_state state;
    struct d_shim_member member;
    struct d_shim_control control;
    struct d_shim_log log;
    uint64_t kill_at_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int file_read(int folder_fd, const char *name, size_t max, struct a_buf *ret, struct a_error *reterr)
{
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return a_fail_errno(reterr, -errno, "open %s", name);
    ssize_t n;
    ret->max = max;
    do {
        n = a_buf_reserve(ret, 4096) ? read(fd, ret->ptr + ret->len, 4096) : -1;
        ret->len += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    int rc = ret->failed ? -EFBIG : n < 0 ? -errno : 0;
    close(fd);
    return rc < 0 ? a_fail_errno(reterr, rc, "read %s", name) : 0;
}

static int file_write_all(int fd, const struct a_buf *text)
{
    for (size_t done = 0; done < text->len;) {
        ssize_t n = write(fd, text->ptr + done, text->len - done);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd) < 0 ? -errno : 0;
}

/* Atomic: a reader sees the old state or the new one. A full disk leaves the old one; the socket still tells.
 */
static void state_save(struct shim *s)
{
    static const char temporary[] = D_SHIM_STATE_FILE ".new";
    A_BUF_AUTO struct a_buf text = {0};
    d_shim_state_print(&s->state, &text);
    int fd = openat(s->folder_fd, temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    int rc = fd < 0 ? -errno : file_write_all(fd, &text);
    if (fd >= 0)
        close(fd);
    if (rc == 0 && renameat(s->folder_fd, temporary, s->folder_fd, D_SHIM_STATE_FILE) < 0)
        rc = -errno;
    if (rc == 0 && fsync(s->folder_fd) < 0)
        rc = -errno;
    if (rc < 0)
        fprintf(stderr, "astra shim: write state: %s\n", strerror(-rc));
}

/* Keeps the folder, and descriptor LOCK_FD if it was given: a lock that is to live as long as we do. */
static void descriptors_set_up(int folder_fd)
{
    int first = fcntl(LOCK_FD, F_SETFD, FD_CLOEXEC) == 0 && folder_fd != LOCK_FD ? LOCK_FD + 1 : LOCK_FD;
    int own =
        openat(folder_fd, D_SHIM_OWN_LOG_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int target = 0; target < 3; target++) {
        int from = target == 2 && own >= 0 ? own : null_fd;
        if (from >= 0 && from != target && dup3(from, target, O_CLOEXEC) >= 0)
            fcntl(target, F_SETFD, 0);
    }
    if (folder_fd > first)
        close_range((unsigned)first, (unsigned)folder_fd - 1, 0);
    close_range((unsigned)folder_fd + 1, ~0u, 0);
}

static int signals_set_up(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

static uint64_t grace_of(const struct shim *s, uint64_t asked_ms)
{
    if (asked_ms > 0)
        return asked_ms;
    return s->spec.grace_ms > 0 ? s->spec.grace_ms : D_SHIM_GRACE_MS;
}

static void term_begin(struct shim *s, uint64_t grace_ms)
{
    uint64_t at = now_ms() + grace_of(s, grace_ms);
    s->kill_at_ms = A_MIN(s->kill_at_ms, at); /* a second TERM never gives more time */
    d_shim_member_term(&s->member);
}

static void command_run(void *ctx, enum d_shim_command which, uint64_t grace_ms, struct a_buf *ret_answer)
{
    struct shim *s = ctx;
    if (which == D_SHIM_TERM || (which == D_SHIM_KILL && grace_ms > 0))
        term_begin(s, grace_ms);
    else if (which == D_SHIM_KILL) {
        s->kill_at_ms = now_ms();
        d_shim_member_kill(&s->member);
    }
    a_buf_addf(ret_answer, "OK %s %lld %llu", s->kill_at_ms == NEVER ? "running" : "stopping",
               (long long)s->state.member.pid, (unsigned long long)s->state.member.start);
}

static void signals_read(struct shim *s)
{
    struct signalfd_siginfo info;
    while (read(s->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGTERM)
            term_begin(s, 0);
        else if (info.ssi_signo == SIGINT)
            s->kill_at_ms = 0;
    }
}

static void output_pump(struct shim *s)
{
    for (int i = 0; s->out_fd >= 0 && i < LOG_ROUNDS_MAX; i++) {
        ssize_t n = d_shim_log_pump(&s->log, s->out_fd);
        if (n == -EAGAIN)
            return;
        if (n <= 0) {
            close(s->out_fd);
            s->out_fd = -1;
        }
    }
}

static int timeout_of(uint64_t deadline_ms)
{
    uint64_t now = now_ms();
    if (deadline_ms == NEVER)
        return -1;
    return deadline_ms <= now ? 0 : (int)A_MIN(deadline_ms - now, (uint64_t)60000);
}

/* Until the member's end is known and nothing of it is left. */
static void member_follow(struct shim *s)
{
    struct pollfd fds[2 + 1 + D_SHIM_CLIENTS_MAX];
    while (!d_shim_member_reap(&s->member) || !d_shim_member_gone(&s->member)) {
        fds[0] = (struct pollfd){.fd = s->signal_fd, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = s->out_fd, .events = POLLIN};
        size_t n_control = d_shim_control_poll(&s->control, fds + 2);
        int timeout = s->member.ended ? SWEEP_MS : timeout_of(s->kill_at_ms);
        if (poll(fds, 2 + n_control, timeout) < 0 && errno != EINTR)
            continue;
        signals_read(s);
        output_pump(s);
        d_shim_control_serve(&s->control, fds + 2, n_control, command_run, s);
        if (now_ms() >= s->kill_at_ms) {
            d_shim_member_kill(&s->member);
            s->kill_at_ms = now_ms() + 100;
        }
    }
}

/* Counts of the member's cgroup; without one the kernel does not tell whom it killed for memory. */
static bool oom_seen(const struct d_shim_spec *spec)
{
    char path[4096];
    A_BUF_AUTO struct a_buf text = {0};
    if (spec->cgroup == NULL ||
        snprintf(path, sizeof path, "%s/memory.events", spec->cgroup) >= (int)sizeof path ||
        file_read(AT_FDCWD, path, 4096, &text, NULL) < 0)
        return false;
    const char *line = text.ptr != NULL ? strstr(text.ptr, "\noom_kill ") : NULL;
    return line != NULL && line[10] != '0';
}

static void end_record(struct shim *s)
{
    int status = s->member.wait_status;
    while (s->out_fd >= 0) { /* what it said last; nobody is left who could write more */
        ssize_t n = d_shim_log_pump(&s->log, s->out_fd);
        if (n > 0)
            continue;
        close(s->out_fd);
        s->out_fd = -1;
    }
    s->state.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    s->state.exit_signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    s->state.oom = oom_seen(&s->spec);
}

/* The socket goes first: where the state says that all is over, nobody answers any more. */
static void end_save(struct shim *s)
{
    d_shim_control_deinit(&s->control);
    unlinkat(s->folder_fd, D_SHIM_CONTROL_SOCKET, 0);
    s->state.phase = D_SHIM_EXITED;
    state_save(s);
}

static int member_begin(struct shim *s, struct a_error *reterr)
{
    int out[2];
    A_BUF_AUTO struct a_buf text = {0};
    int rc = d_shim_control_init(&s->control, D_SHIM_CONTROL_SOCKET, reterr);
    if (rc == 0)
        rc = file_read(s->folder_fd, D_SHIM_SPEC_FILE, D_SHIM_SPEC_MAX, &text, reterr);
    if (rc == 0)
        rc = d_shim_spec_parse(a_buf_view(&text), &s->spec, reterr);
    if (rc < 0)
        return rc;
    d_shim_log_init(&s->log, s->folder_fd, s->spec.log_piece_bytes, s->spec.log_pieces);
    if (pipe2(out, O_CLOEXEC) < 0)
        return a_fail_errno(reterr, -errno, "open the output pipe");
    s->out_fd = out[0];
    fcntl(out[0], F_SETFL, O_NONBLOCK); /* our end only: a member expects its own to block */
    rc = d_shim_member_start(&s->spec, out[1], &s->member, reterr);
    close(out[1]);
    return rc;
}

static int shim_run(struct shim *s)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    s->state.shim = d_shim_process_of(getpid());
    state_save(s);
    if (member_begin(s, &e) < 0) {
        s->state.exit_code = 127;
        snprintf(s->state.message, sizeof s->state.message, "%s", a_error_text(&e));
        end_save(s);
        return 1;
    }
    s->state.phase = D_SHIM_RUNNING;
    s->state.namespaces = s->member.namespaces;
    s->state.member = d_shim_process_of(s->member.pid);
    state_save(s);
    member_follow(s);
    end_record(s);
    end_save(s);
    return 0;
}

int d_shim_main(int argc, char **argv)
{
    struct shim s = {.folder_fd = -1, .signal_fd = -1, .out_fd = -1, .kill_at_ms = NEVER};
    if (argc != 2) {
        fprintf(stderr, "usage: astra shim FOLDER\n");
        return 2;
    }
    s.log.fd = -1;
    s.folder_fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s.folder_fd < 0 || fchdir(s.folder_fd) < 0) {
        fprintf(stderr, "astra shim: %s: %s\n", argv[1], strerror(errno));
        return 2;
    }
    umask(077);
    setsid(); /* fails when we lead a session already: as good */
    prctl(PR_SET_NAME, "astra-shim", 0, 0, 0);
    descriptors_set_up(s.folder_fd);
    s.signal_fd = signals_set_up();
    int status = shim_run(&s);
    d_shim_log_deinit(&s.log);
    d_shim_spec_deinit(&s.spec);
    return status;
}
