/* `astra init agent ...`: PID 1 of a pod, and nothing else. It reaps whoever is left to it, hands TERM, INT
 * and HUP on to its child, the agent, and starts it again when it ends unasked: members are children of
 * shims, not of the agent, and run on meanwhile. When the agent ends because it was told to, so does the
 * init, and with PID 1 the kernel ends the pod.
 *
 * It has no loop, allocates nothing after its start, and reads no file: what may never fail should do little.
 */
#include "daemon/shim/init.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"

#define PAUSE_MIN_MS 100
#define PAUSE_MAX_MS 5000
/* A child that lived for so long was well: the next end is a first one again. */
#define WELL_MS 60000
#define EXIT_USAGE 2

struct init {
    char **argv; /* of the child */
    int signal_fd;
    sigset_t before; /* the signals that the child begins with */
    pid_t child;     /* 0 = none now */
    bool ends;       /* TERM or INT came */
    uint64_t started_ms, start_at_ms, pause_ms;
};

static uint64_t now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void child_start(struct init *i)
{
    i->started_ms = now_ms();
    pid_t pid = fork();
    if (pid < 0) {
        fprintf(stderr, "astra init: fork: %s\n", strerror(errno));
        i->start_at_ms = i->started_ms + PAUSE_MAX_MS;
        return;
    }
    if (pid > 0) {
        i->child = pid;
        return;
    }
    sigprocmask(SIG_SETMASK, &i->before, NULL);
    execv("/proc/self/exe", i->argv);
    fprintf(stderr, "astra init: exec: %s\n", strerror(errno));
    _exit(127);
}

/* True when the init ends, too: the child was told to, or its words are wrong and always will be. */
static bool child_ended(struct init *i, int status)
{
    uint64_t now = now_ms();
    i->child = 0;
    if (i->ends || (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_USAGE))
        return true;
    bool well = now - i->started_ms >= WELL_MS;
    i->pause_ms = well || i->pause_ms == 0 ? PAUSE_MIN_MS : A_MIN(2 * i->pause_ms, (uint64_t)PAUSE_MAX_MS);
    i->start_at_ms = now + i->pause_ms;
    fprintf(stderr, "astra init: %s ended (%s %d); it is started again in %llu ms\n", i->argv[1],
            WIFSIGNALED(status) ? "signal" : "status",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), (unsigned long long)i->pause_ms);
    return false;
}

/* All that have ended; *ret_status is the child's when the answer is true. */
static bool reap(struct init *i, int *ret_status)
{
    int status;
    pid_t pid;
    bool over = false;
    while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
        if (pid != i->child)
            continue;
        *ret_status = status;
        over = child_ended(i, status);
    }
    return over;
}

static void signals_hand_on(struct init *i)
{
    struct signalfd_siginfo info;
    while (read(i->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGCHLD)
            continue;
        if (info.ssi_signo != SIGHUP)
            i->ends = true;
        if (i->child > 0)
            kill(i->child, (int)info.ssi_signo);
    }
}

static int status_of(int wait_status)
{
    return WIFSIGNALED(wait_status) ? 128 + WTERMSIG(wait_status) : WEXITSTATUS(wait_status);
}

static int run(struct init *i)
{
    int status = 0;
    child_start(i);
    for (;;) {
        uint64_t now = now_ms();
        int timeout = i->child > 0 ? -1 : (int)(i->start_at_ms > now ? i->start_at_ms - now : 0);
        struct pollfd fd = {.fd = i->signal_fd, .events = POLLIN};
        (void)poll(&fd, 1, timeout);
        signals_hand_on(i);
        if (reap(i, &status))
            return status_of(status);
        if (i->child == 0 && i->ends)
            return 0;
        if (i->child == 0 && now_ms() >= i->start_at_ms)
            child_start(i);
    }
}

int d_init_main(int argc, char **argv)
{
    struct init i = {.argv = argv};
    sigset_t set;
    if (argc < 2 || strcmp(argv[1], "--help") == 0) {
        fprintf(argc < 2 ? stderr : stdout,
                "usage: astra init agent [FLAG ...]\n\nPID 1 of a pod: reaps, hands "
                "TERM, INT and HUP on, starts the agent again when it\nends "
                "unasked.\n");
        return argc < 2 ? EXIT_USAGE : 0;
    }
    argv[0] = "astra";
    sigemptyset(&set);
    sigaddset(&set, SIGCHLD);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGHUP);
    sigprocmask(SIG_BLOCK, &set, &i.before);
    i.signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    if (i.signal_fd < 0) {
        fprintf(stderr, "astra init: signalfd: %s\n", strerror(errno));
        return 1;
    }
    if (getpid() != 1)
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
    prctl(PR_SET_NAME, "astra-init", 0, 0, 0);
    return run(&i);
}
