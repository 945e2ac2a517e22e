#include "sys/embed/host.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/macro.h"
#include "sys/embed/path.h"

uint64_t sys_embed_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000U + (uint64_t)ts.tv_nsec;
}

uint64_t sys_embed_random(void)
{
    uint64_t bits;
    /* up to 256 bytes come whole once the kernel's pool is ready, which it is before any of our programs */
    if (getrandom(&bits, sizeof bits, GRND_NONBLOCK) != (ssize_t)sizeof bits)
        bits = sys_embed_now_ns() * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid();
    return bits;
}

void sys_embed_process(uint64_t *ret_pid, uint64_t *ret_start_time)
{
    char stat[1024];
    *ret_pid = (uint64_t)getpid();
    *ret_start_time = 0;
    if (sys_embed_path_read("/proc/self/stat", stat, sizeof stat) != 0)
        return;
    /* the second field is the program's name in brackets and may hold anything; 20 fields on lies the 22nd */
    const char *at = strrchr(stat, ')');
    for (int i = 0; at != NULL && i < 20; i++)
        at = strchr(at + 1, ' ');
    if (at != NULL)
        *ret_start_time = strtoull(at + 1, NULL, 10);
}

uint32_t sys_embed_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0)
        return (uint32_t)CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (uint32_t)n : 1;
}

static uint64_t meminfo_bytes(const char *text, const char *field)
{
    const char *at = strstr(text, field);
    return at != NULL ? strtoull(at + strlen(field), NULL, 10) * 1024 : 0;
}

/* Reads a number of this process's cgroup (version 2); false for "max" and where there is none. */
static bool cgroup_number(const char *file, uint64_t *ret)
{
    char group[SYS_EMBED_PATH_MAX], path[SYS_EMBED_PATH_MAX], text[64];
    if (sys_embed_path_read("/proc/self/cgroup", group, sizeof group) != 0)
        return false;
    const char *at = strstr(group, "0::/");
    if (at == NULL)
        return false;
    at += strlen("0::");
    int len = (int)strcspn(at, "\n");
    int n = snprintf(path, sizeof path, "/sys/fs/cgroup%.*s/%s", len, at, file);
    if (n < 0 || (size_t)n >= sizeof path || sys_embed_path_read(path, text, sizeof text) != 0)
        return false;
    if (text[0] < '0' || text[0] > '9')
        return false;
    *ret = strtoull(text, NULL, 10);
    return true;
}

void sys_embed_memory(uint64_t *ret_total_bytes, uint64_t *ret_available_bytes)
{
    char text[4096];
    uint64_t total = 0, available = 0, limit, used;
    if (sys_embed_path_read("/proc/meminfo", text, sizeof text) == 0) {
        total = meminfo_bytes(text, "MemTotal:");
        available = meminfo_bytes(text, "MemAvailable:");
    }
    if (cgroup_number("memory.max", &limit)) {
        total = A_MIN(total, limit);
        if (cgroup_number("memory.current", &used))
            available = A_MIN(available, limit > used ? limit - used : 0);
    }
    *ret_total_bytes = total;
    *ret_available_bytes = available;
}
