#include "sys/env.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/text.h"
#include "sys/file.h"

const char *sys_env_get(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && value[0] != '\0' ? value : NULL;
}

const char *const *sys_env_all(void)
{
    return (const char *const *)environ;
}

void sys_env_hostname(char *out, size_t size)
{
    if (gethostname(out, size) != 0)
        snprintf(out, size, "localhost");
    out[size - 1] = '\0';
}

/* A small file of /proc or /sys without its last newline; empty when it cannot be read. */
static void small_read(const char *path, struct a_buf *b)
{
    a_buf_reset(b);
    if (sys_file_read(path, 64u * 1024u, b, NULL) != 0)
        a_buf_reset(b);
    if (b->len > 0 && b->ptr[b->len - 1] == '\n')
        b->ptr[--b->len] = '\0';
}

void sys_env_boot_id(char out[37])
{
    A_BUF_AUTO struct a_buf b = {0};
    small_read("/proc/sys/kernel/random/boot_id", &b);
    snprintf(out, 37, "%s", b.len == 36 ? b.ptr : "");
}

/* The first line "KEY..." of a text, after the key and blanks; empty when there is none. */
static struct a_view line_find(struct a_view text, const char *key)
{
    while (text.len > 0) {
        struct a_view line = a_view_split(text, '\n', &text);
        if (a_view_starts(line, key))
            return a_view_trim((struct a_view){line.ptr + strlen(key), line.len - strlen(key)});
    }
    return (struct a_view){"", 0};
}

/* The folder of this process in the cgroup v2 tree; empty without one. */
static void cgroup_folder(struct a_buf *ret)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_reset(ret);
    small_read("/proc/self/cgroup", &b);
    struct a_view path = line_find(a_buf_view(&b), "0::");
    if (path.len != 0)
        a_buf_addf(ret, "/sys/fs/cgroup" A_VIEW_FMT, A_VIEW_ARG(path));
}

/* Calls each(value, ctx) with the contents of `name` in our cgroup and in all above it. */
static void cgroup_each(const char *name, void (*each)(struct a_view value, void *ctx), void *ctx)
{
    A_BUF_AUTO struct a_buf folder = {0};
    A_BUF_AUTO struct a_buf value = {0};
    cgroup_folder(&folder);
    while (folder.len >= strlen("/sys/fs/cgroup")) {
        A_AUTOFREE char *path = sys_path_join(folder.ptr, name);
        small_read(path, &value);
        if (value.len != 0)
            each(a_buf_view(&value), ctx);
        while (folder.len > 0 && folder.ptr[folder.len - 1] != '/')
            folder.len--;
        if (folder.len > 0)
            folder.len--;
        if (folder.ptr != NULL)
            folder.ptr[folder.len] = '\0';
    }
}

static void least_cpu(struct a_view value, void *ctx)
{
    uint64_t *mcpu = ctx, quota, period;
    struct a_view rest, first = a_view_split(value, ' ', &rest);
    if (a_text_u64(first, &quota) && a_text_u64(rest, &period) && period != 0 &&
        quota * 1000u / period < *mcpu)
        *mcpu = A_MAX(quota * 1000u / period, 1u);
}

uint64_t sys_env_cpu_m(void)
{
    cpu_set_t set;
    uint64_t mcpu = 1000;
    if (sched_getaffinity(0, sizeof set, &set) == 0)
        mcpu = (uint64_t)CPU_COUNT(&set) * 1000u;
    cgroup_each("cpu.max", least_cpu, &mcpu);
    return mcpu;
}

unsigned sys_env_cpus(void)
{
    return (unsigned)((sys_env_cpu_m() + 999u) / 1000u);
}

static uint64_t meminfo(const char *key)
{
    A_BUF_AUTO struct a_buf b = {0};
    uint64_t kib = 0;
    small_read("/proc/meminfo", &b);
    struct a_view rest, number = a_view_split(line_find(a_buf_view(&b), key), ' ', &rest);
    return a_text_u64(number, &kib) ? kib * 1024u : 0;
}

static void least_bytes(struct a_view value, void *ctx)
{
    uint64_t *least = ctx, bytes;
    if (a_text_u64(value, &bytes) && bytes < *least)
        *least = bytes;
}

static void any_bytes(struct a_view value, void *ctx)
{
    uint64_t bytes, *first = ctx;
    if (*first == UINT64_MAX && a_text_u64(value, &bytes))
        *first = bytes; /* of our own group: the innermost comes first */
}

uint64_t sys_env_memory_total(void)
{
    uint64_t total = meminfo("MemTotal:");
    cgroup_each("memory.max", least_bytes, &total);
    return total;
}

uint64_t sys_env_memory_available(void)
{
    uint64_t available = meminfo("MemAvailable:"), limit = UINT64_MAX, used = UINT64_MAX;
    cgroup_each("memory.max", least_bytes, &limit);
    cgroup_each("memory.current", any_bytes, &used);
    if (limit == UINT64_MAX || used == UINT64_MAX)
        return available;
    return A_MIN(available, limit > used ? limit - used : 0);
}

void sys_env_cpu_times(uint64_t *ret_busy_us, uint64_t *ret_total_us)
{
    A_BUF_AUTO struct a_buf b = {0};
    uint64_t busy = 0, total = 0, tick_us = 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    small_read("/proc/stat", &b);
    struct a_view rest = line_find(a_buf_view(&b), "cpu ");
    for (int i = 0; i < 8 && rest.len > 0; i++) { /* user nice system idle iowait irq softirq steal */
        uint64_t ticks;
        struct a_view field = a_view_split(rest, ' ', &rest);
        if (!a_text_u64(field, &ticks))
            break;
        total += ticks * tick_us;
        if (i != 3 && i != 4)
            busy += ticks * tick_us;
    }
    *ret_busy_us = busy;
    *ret_total_us = total;
}

uint64_t sys_env_page_size(void)
{
    return (uint64_t)sysconf(_SC_PAGESIZE);
}

uint64_t sys_env_raise_nofile(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 0;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_max : before;
}

uint64_t sys_env_nproc(void)
{
    struct rlimit limit;
    uint64_t n = UINT64_MAX;
    if (getrlimit(RLIMIT_NPROC, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        n = limit.rlim_cur;
    cgroup_each("pids.max", least_bytes, &n);
    return n;
}

void sys_env_platform(char *out, size_t size)
{
    struct utsname name;
    if (uname(&name) != 0) {
        snprintf(out, size, "unknown");
        return;
    }
    for (char *p = name.sysname; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
    snprintf(out, size, "%s-%s %s", name.sysname, name.release, name.machine);
}

const char *sys_env_machine(void)
{
#if defined(__x86_64__)
    return "linux-x86_64";
#elif defined(__aarch64__)
    return "linux-aarch64";
#else
    return "linux-unknown";
#endif
}

const char *sys_env_arch(void)
{
#if defined(__x86_64__)
    return "amd64";
#elif defined(__aarch64__)
    return "arm64";
#else
    return "unknown";
#endif
}

void sys_env_glibc(char *out, size_t size)
{
    char text[64];
    size_t n = confstr(_CS_GNU_LIBC_VERSION, text, sizeof text); /* "glibc 2.36" */
    const char *version = n > 0 && n <= sizeof text ? strchr(text, ' ') : NULL;
    snprintf(out, size, "%s", version != NULL ? version + 1 : "0");
}
