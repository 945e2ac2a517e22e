/* What members really use. Where no cgroup holds a member to its memory, this does: a member above its claim
 * loses its largest process, and nobody else loses anything. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/agent/inside.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"

#define SAMPLE_MS 2000
#define COLLECT_EVERY 150 /* samples: the cache and the kept logs every five minutes */
#define ENDED_KEEP_MS (24 * 60 * 60 * 1000)

/* The largest process of the member that is not Ray's own: a replica or another worker. */
static const struct sys_proc_info *victim_find(const struct sys_proc_info *list, size_t n)
{
    const struct sys_proc_info *largest = NULL;
    for (size_t i = 0; i < n; i++)
        if (strncmp(list[i].comm, "ray::", 5) == 0 &&
            (largest == NULL || list[i].rss_bytes > largest->rss_bytes))
            largest = &list[i];
    return largest;
}

static void memory_check(struct d_member *m, const struct sys_proc_info *list, size_t n)
{
    const struct sys_proc_info *victim;
    if (m->capacity.memory_bytes == 0 || m->used_memory_bytes <= m->capacity.memory_bytes)
        return;
    A_BUF_AUTO struct a_buf text = {0};
    a_buf_addf(&text, "the member uses %llu MiB of its %llu MiB",
               (unsigned long long)(m->used_memory_bytes >> 20),
               (unsigned long long)(m->capacity.memory_bytes >> 20));
    victim = victim_find(list, n);
    m->agent->oom_kills++;
    if (victim == NULL) {
        d_member_kill(m, A_REASON_OOM_KILLED, text.ptr);
        return;
    }
    a_buf_addf(&text, "; its largest process %d (%s, %llu MiB) was killed", (int)victim->id.pid, victim->comm,
               (unsigned long long)(victim->rss_bytes >> 20));
    d_link_event(m->agent, m, A_REASON_OOM_KILLED, text.ptr);
    sys_log(WARN, "agent", "usage.memory", "a member used more than its claim", SYS_STR("unit", m->id.unit.s),
            SYS_STR("why", text.ptr));
    int ignored A_UNUSED = sys_proc_kill(&victim->id, SIGKILL);
}

/* Sums of RSS count shared pages in each process; only when they say "too much" the exact sum is made. */
static uint64_t memory_of(const struct d_member *m, const struct sys_proc_info *list, size_t n)
{
    uint64_t rss = 0, pss = 0, one;
    for (size_t i = 0; i < n; i++)
        rss += list[i].rss_bytes;
    if (rss <= m->capacity.memory_bytes)
        return rss;
    for (size_t i = 0; i < n; i++)
        pss += sys_proc_pss(list[i].id.pid, &one) == 0 ? one : list[i].rss_bytes;
    return pss;
}

/* The shim that a member's processes are below; 0 when there is nothing to sum up. */
static pid_t shim_of(const struct d_member *m)
{
    bool runs = m->shim != NULL && !m->stopping && m->shim_state.phase == D_SHIM_RUNNING;
    return runs ? (pid_t)m->shim_state.shim.pid : 0;
}

static void member_sample(struct d_member *m, uint64_t now_ms)
{
    size_t n;
    uint64_t cpu = 0;
    const struct sys_proc_info *list = sys_census_below(&m->agent->census, shim_of(m), &n);
    for (size_t i = 0; i < n; i++)
        cpu += list[i].cpu_us;
    if (m->sampled_ms != 0 && now_ms > m->sampled_ms && cpu >= m->used_cpu_us)
        m->used_mcpu = (cpu - m->used_cpu_us) / (now_ms - m->sampled_ms);
    m->used_cpu_us = cpu;
    m->sampled_ms = now_ms;
    m->used_memory_bytes = memory_of(m, list, n);
    memory_check(m, list, n);
}

/* What is below all shims is looked at once. Before a shim has told its pid there is nothing to look for:
 * below pid 0 is the whole machine, and the member would be taken for all of it. */
static void members_sample(struct d_agent *a)
{
    A_AUTOFREE pid_t *shims = NULL;
    size_t n = 0, cap = 0;
    a_list_foreach (it, &a->members) {
        pid_t shim = shim_of(a_list_entry(it, struct d_member, link));
        if (shim <= 0)
            continue;
        if (n == cap) {
            cap = cap != 0 ? cap * 2 : 16;
            shims = a_realloc(shims, cap * sizeof *shims);
        }
        shims[n++] = shim;
    }
    if (sys_census_look(&a->census, shims, n, NULL) < 0)
        return;
    a_list_foreach (it, &a->members) {
        struct d_member *m = a_list_entry(it, struct d_member, link);
        if (shim_of(m) > 0)
            member_sample(m, sys_loop_now_ms(a->loop));
    }
}

static void node_sample(struct d_agent *a)
{
    uint64_t busy, total, available = sys_env_memory_available(), all = sys_env_memory_total();
    sys_env_cpu_times(&busy, &total);
    if (total > a->cpu_total_us && busy >= a->cpu_busy_us)
        a->used_mcpu = (busy - a->cpu_busy_us) * sys_env_cpus() * 1000 / (total - a->cpu_total_us);
    a->cpu_busy_us = busy;
    a->cpu_total_us = total;
    a->used_memory_bytes = all > available ? all - available : 0;
}

/* ---- the cache and the kept logs, in the pool ---- */

struct ended {
    const char *dir;
    uint64_t now_ms;
};

static int ended_each(void *ctx, const char *name, bool is_dir)
{
    const struct ended *e = ctx;
    struct sys_stat st;
    A_AUTOFREE char *path = sys_path_join(e->dir, name);
    if (!is_dir && sys_file_stat(path, &st, NULL) == 0 && st.mtime_ms + ENDED_KEEP_MS < e->now_ms) {
        int ignored A_UNUSED = sys_file_remove(path, NULL);
    }
    return 0;
}

static void collect_run(void *ctx)
{
    struct d_agent *a = ctx;
    A_AUTOFREE char *dir = sys_path_join(a->data, "ended");
    struct ended e = {dir, sys_clock_wall_ms()};
    artifact_cache_collect(&a->cache, a->options.cache_max_bytes, ARTIFACT_CACHE_AGE_MS);
    int ignored A_UNUSED = sys_file_exists(dir) ? sys_dir_list(dir, ended_each, &e, NULL) : 0;
}

static void collect_done(void *ctx, bool cancelled)
{
    struct d_agent *a = ctx;
    (void)cancelled;
    a->collect.running = false;
}

static void sample_fire(void *ctx)
{
    struct d_agent *a = ctx;
    node_sample(a);
    members_sample(a);
    if (a->samples++ % COLLECT_EVERY == 0 && !a->collect.running)
        a->collect.running =
            sys_pool_submit(a->io, a->loop, &a->collect.work, collect_run, collect_done, a) == 0;
    sys_timer_set_in(&a->sample, SAMPLE_MS);
}

void d_usage_start(struct d_agent *a)
{
    sys_timer_init(&a->sample, a->loop, sample_fire, a);
    sys_timer_set_in(&a->sample, SAMPLE_MS);
}

void d_usage_stop(struct d_agent *a)
{
    sys_timer_clear(&a->sample);
    sys_census_deinit(&a->census);
}
