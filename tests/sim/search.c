/* Each job is a process that takes every jobs-th seed; so a world that ends in an assertion costs its process
 * and nothing else. It says what it did in whole records through one pipe: one write of less than PIPE_BUF
 * bytes is never mixed with another's. */
#include "search.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"

#define PROGRESS_S 10
#define RECORD_S 0.5
#define JOBS_MAX 64
#define NAMED_MAX 1000 /* seeds that failed, at the end */

struct record {
    uint64_t n; /* worlds since the last record */
    uint64_t counts[SEARCH_COUNTS_MAX];
    uint64_t failed; /* seed, 0 = none */
    uint64_t at_ms;
    char failure[sizeof((struct search_world *)NULL)->failure];
};

_Static_assert(sizeof(struct record) <= PIPE_BUF, "a record must be one write");

struct job {
    pid_t pid; /* 0 = it has ended */
    uint64_t index;
};

struct search_options {
    uint64_t first, n; /* seeds */
    uint64_t jobs;     /* processes, at least 1 */
    bool all;          /* goes on after a failure, and names the seeds of all at the end */
};

struct search {
    struct search_options options;
    const struct search_kind *kind;
    uint64_t *now_at; /* shared: by job, the seed that it lives through */
    int in, out;      /* of the pipe */
    struct job jobs[JOBS_MAX];
    uint64_t done, counts[SEARCH_COUNTS_MAX];
    uint64_t failed[NAMED_MAX], n_failed;
    struct timespec start;
    double told_s;
};

static double seconds_since(const struct timespec *from)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)(now.tv_sec - from->tv_sec) + (double)(now.tv_nsec - from->tv_nsec) / 1e9;
}

static void counts_add(uint64_t *to, const uint64_t *from)
{
    for (int i = 0; i < SEARCH_COUNTS_MAX; i++)
        to[i] += from[i];
}

static void counts_print(const struct search_kind *kind, const uint64_t *counts, uint64_t n, uint64_t first,
                         double seconds)
{
    printf("%llu worlds from seed %llu:", (unsigned long long)n, (unsigned long long)first);
    for (size_t i = 0; i < kind->n_counts; i++)
        printf("%s %llu %s", i > 0 ? "," : "", (unsigned long long)counts[i], kind->names[i]);
    printf("\n%.1f s, %.0f seeds/s\n", seconds, (double)n / A_MAX(seconds, 0.001));
}

static void failure_print(const struct search_kind *kind, uint64_t seed, uint64_t at_ms, const char *failure)
{
    printf("seed %llu at %llu ms: %s\nagain, with its scenario: %s%llu\n", (unsigned long long)seed,
           (unsigned long long)at_ms, failure, kind->again, (unsigned long long)seed);
    fflush(stdout);
}

/* One world here and now, with its trace. */
static int replay(const struct search_kind *kind, uint64_t seed)
{
    struct search_world w = {0};
    struct timespec start;
    clock_gettime(CLOCK_MONOTONIC, &start);
    kind->live(seed, true, &w);
    if (w.failed)
        failure_print(kind, seed, w.at_ms, w.failure);
    else
        counts_print(kind, w.counts, 1, seed, seconds_since(&start));
    return w.failed ? 1 : 0;
}

/* ---- a job ---- */

static void record_send(const struct search *s, struct record *r)
{
    if (write(s->out, r, sizeof *r) != sizeof *r)
        exit(1); /* nobody listens any more */
    *r = (struct record){0};
}

static void job_run(const struct search *s, uint64_t index, uint64_t from)
{
    struct record r = {0};
    struct timespec start;
    double sent_s = 0;
    clock_gettime(CLOCK_MONOTONIC, &start);
    for (uint64_t i = from; i < s->options.n; i += s->options.jobs) {
        uint64_t seed = s->options.first + i;
        s->now_at[index] = seed;
        struct search_world w = {0};
        s->kind->live(seed, false, &w);
        r.n++;
        counts_add(r.counts, w.counts);
        if (w.failed) {
            r.failed = seed;
            r.at_ms = w.at_ms;
            memcpy(r.failure, w.failure, sizeof r.failure);
        }
        if (r.failed == 0 && seconds_since(&start) < sent_s + RECORD_S)
            continue;
        sent_s = seconds_since(&start);
        record_send(s, &r);
    }
    if (r.n > 0)
        record_send(s, &r);
}

static void job_start(struct search *s, uint64_t index, uint64_t from)
{
    fflush(NULL);
    pid_t pid = fork();
    a_assert(pid >= 0);
    if (pid == 0) {
        close(s->in);
        job_run(s, index, from);
        exit(0);
    }
    s->jobs[index] = (struct job){.pid = pid, .index = index};
}

/* ---- all of them ---- */

static void jobs_stop(const struct search *s)
{
    for (uint64_t i = 0; i < s->options.jobs; i++)
        if (s->jobs[i].pid > 0)
            kill(s->jobs[i].pid, SIGTERM);
}

static void search_failed(struct search *s, uint64_t seed, uint64_t at_ms, const char *failure)
{
    if (s->n_failed > 0 && !s->options.all)
        return; /* the others are told to stop */
    failure_print(s->kind, seed, at_ms, failure);
    if (s->n_failed < NAMED_MAX)
        s->failed[s->n_failed] = seed;
    s->n_failed++;
    if (!s->options.all)
        jobs_stop(s);
}

static void progress_print(struct search *s)
{
    double now = seconds_since(&s->start);
    if (now - s->told_s < PROGRESS_S)
        return;
    s->told_s = now;
    printf("%llu seeds: %.1f %% after %.0f s, %.0f seeds/s, %llu failed\n", (unsigned long long)s->done,
           100.0 * (double)s->done / (double)s->options.n, now, (double)s->done / now,
           (unsigned long long)s->n_failed);
    fflush(stdout);
}

/* One ended. When a world ended it, the job goes on behind that world. */
static bool job_reap(struct search *s)
{
    int status;
    pid_t pid = waitpid(-1, &status, WNOHANG);
    uint64_t i = 0;
    while (pid > 0 && i < s->options.jobs && s->jobs[i].pid != pid)
        i++;
    if (pid <= 0 || i == s->options.jobs)
        return false;
    s->jobs[i].pid = 0;
    bool stopped = s->n_failed > 0 && !s->options.all;
    if (stopped || (WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return true;
    char why[64];
    snprintf(why, sizeof why, "it ends the simulator: %s %d", WIFSIGNALED(status) ? "signal" : "status",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    search_failed(s, s->now_at[i], 0, why);
    uint64_t next = s->now_at[i] - s->options.first + s->options.jobs;
    if (s->options.all && next < s->options.n)
        job_start(s, i, next);
    return true;
}

static bool jobs_run(const struct search *s)
{
    for (uint64_t i = 0; i < s->options.jobs; i++)
        if (s->jobs[i].pid > 0)
            return true;
    return false;
}

/* A job's last record lies in the pipe when it ends: the pipe is empty before a job counts as ended. */
static void search_run(struct search *s)
{
    struct record r;
    for (;;) {
        ssize_t n = read(s->in, &r, sizeof r);
        if (n == (ssize_t)sizeof r) {
            s->done += r.n;
            counts_add(s->counts, r.counts);
            if (r.failed != 0)
                search_failed(s, r.failed, r.at_ms, r.failure);
        } else if (!job_reap(s)) {
            if (!jobs_run(s))
                return;
            nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        }
        progress_print(s);
    }
}

static int search(const struct search_kind *kind, const struct search_options *options)
{
    int pipes[2];
    struct search *s = a_new(struct search);
    s->options = *options;
    s->options.jobs = A_MIN(A_MIN(options->jobs, options->n), (uint64_t)JOBS_MAX);
    s->kind = kind;
    s->now_at =
        mmap(NULL, JOBS_MAX * sizeof *s->now_at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    a_assert(s->now_at != MAP_FAILED && pipe2(pipes, O_CLOEXEC) == 0);
    s->in = pipes[0];
    s->out = pipes[1];
    a_assert(fcntl(s->in, F_SETFL, O_NONBLOCK) == 0);
    clock_gettime(CLOCK_MONOTONIC, &s->start);
    for (uint64_t i = 0; i < s->options.jobs; i++)
        job_start(s, i, i);
    search_run(s);
    bool failed = s->n_failed > 0;
    if (!failed || options->all)
        counts_print(kind, s->counts, s->done, options->first, seconds_since(&s->start));
    if (failed && options->all) {
        printf("%llu failed:", (unsigned long long)s->n_failed);
        for (uint64_t i = 0; i < A_MIN(s->n_failed, (uint64_t)NAMED_MAX); i++)
            printf(" %llu", (unsigned long long)s->failed[i]);
        printf("\n");
    }
    munmap(s->now_at, JOBS_MAX * sizeof *s->now_at);
    close(s->in);
    close(s->out);
    a_free(s);
    return failed ? 1 : 0;
}

static uint64_t number(const char *text, uint64_t fallback)
{
    uint64_t n;
    return text != NULL && a_text_u64(a_view_str(text), &n) && n > 0 ? n : fallback;
}

int search_main(const struct search_kind *kind, int argc, char **argv)
{
    struct search_options o = {
        .first = number(getenv("SIM_SEED"), 1), .n = number(getenv("SIM_SEEDS"), 1000), .jobs = 1};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc)
            o.n = number(argv[++i], o.n);
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            o.first = number(argv[++i], o.first);
        else if (strcmp(argv[i], "--jobs") == 0 && i + 1 < argc)
            o.jobs = number(argv[++i], o.jobs);
        else if (strcmp(argv[i], "--all") == 0)
            o.all = true;
        else {
            fprintf(stderr, "usage: %s\n", kind->usage);
            return 2;
        }
    }
    return o.n == 1 ? replay(kind, o.first) : search(kind, &o);
}
