/* What /proc says about processes. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/text.h"
#include "sys/file.h"
#include "sys/process.h"

#define STAT_MAX 4096
#define MAX_PROCESSES 1000000

/* A process may end between two reads: whatever is not there any more is -ESRCH. */
static int proc_read(pid_t pid, const char *name, size_t max, struct a_buf *b)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/%s", (long)pid, name);
    int rc = sys_file_read(path, max, b, NULL);
    return rc == -ENOENT ? -ESRCH : rc;
}

/* Field numbers as in proc(5): 3 is the state; comm is cut out before, because it may hold anything. */
static int stat_parse(struct a_view text, struct sys_proc_info *info)
{
    uint64_t f[25] = {0};
    const char *open = memchr(text.ptr, '(', text.len), *close = memrchr(text.ptr, ')', text.len);
    if (open == NULL || close == NULL || close < open || close + 3 >= text.ptr + text.len)
        return -EIO;
    snprintf(info->comm, sizeof info->comm, "%.*s", (int)(close - open - 1), open + 1);
    info->state = close[2];
    struct a_view rest = {close + 4, (size_t)(text.ptr + text.len - (close + 4))};
    for (int i = 4; i <= 24; i++) {
        int64_t value; /* tpgid may be -1 */
        struct a_view field = a_view_split(rest, ' ', &rest);
        if (!a_text_i64(field, &value) && !a_text_u64(field, (uint64_t *)&value))
            return -EIO;
        f[i] = (uint64_t)value;
    }
    uint64_t tick_us = 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
    info->ppid = (pid_t)f[4];
    info->pgid = (pid_t)f[5];
    info->session = (pid_t)f[6];
    info->cpu_us = (f[14] + f[15]) * tick_us;
    info->threads = (unsigned)f[20];
    info->id.start_time = f[22];
    info->rss_bytes = f[24] * (uint64_t)sysconf(_SC_PAGESIZE);
    return 0;
}

/* In one read and without memory of its own: this is asked of every process, every two seconds. */
int sys_proc_stat(pid_t pid, struct sys_proc_info *ret_info)
{
    char path[64], text[STAT_MAX];
    struct sys_proc_info info = {.id.pid = pid};
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? -ESRCH : -errno;
    ssize_t n = sys_fd_read_at(fd, text, sizeof text, 0);
    sys_fd_close(fd);
    if (n < 0)
        return (int)n;
    int rc = stat_parse((struct a_view){text, (size_t)n}, &info);
    if (rc == 0)
        *ret_info = info;
    return rc;
}

static void status_parse(struct a_view text, struct sys_proc_info *info)
{
    while (text.len > 0) {
        struct a_view line = a_view_split(text, '\n', &text), rest;
        struct a_view key = a_view_split(line, '\t', &rest);
        uint64_t x;
        if (a_view_is(key, "Uid:") && a_text_u64(a_view_split(rest, '\t', &rest), &x))
            info->uid = (uid_t)x;
        if (!a_view_is(key, "NSpid:"))
            continue;
        while (rest.len > 0 && info->n_ns_pid < A_ARRAY_SIZE(info->ns_pid))
            if (a_text_u64(a_view_split(rest, '\t', &rest), &x))
                info->ns_pid[info->n_ns_pid++] = (pid_t)x;
    }
}

int sys_proc_info(pid_t pid, struct sys_proc_info *ret_info)
{
    A_BUF_AUTO struct a_buf b = {0};
    struct sys_proc_info info = {.n_ns_pid = 0};
    int rc = sys_proc_stat(pid, &info);
    if (rc == 0)
        rc = proc_read(pid, "status", 16u * 1024u, &b);
    if (rc != 0)
        return rc;
    status_parse(a_buf_view(&b), &info);
    *ret_info = info;
    return 0;
}

int sys_proc_start_time(pid_t pid, uint64_t *ret_start_time)
{
    struct sys_proc_info info = {.n_ns_pid = 0};
    int rc = sys_proc_stat(pid, &info);
    if (rc == 0)
        *ret_start_time = info.id.start_time;
    return rc;
}

struct sys_proc_id sys_proc_self(void)
{
    struct sys_proc_id id = {.pid = getpid()};
    (void)!sys_proc_start_time(id.pid, &id.start_time);
    return id;
}

bool sys_proc_is_alive(const struct sys_proc_id *id)
{
    struct sys_proc_info info = {.n_ns_pid = 0};
    return sys_proc_stat(id->pid, &info) == 0 && info.id.start_time == id->start_time && info.state != 'Z' &&
           info.state != 'X';
}

int sys_proc_pss(pid_t pid, uint64_t *ret_bytes)
{
    A_BUF_AUTO struct a_buf b = {0};
    int rc = proc_read(pid, "smaps_rollup", 16u * 1024u, &b);
    struct a_view text = a_buf_view(&b);
    while (rc == 0 && text.len > 0) {
        struct a_view line = a_view_split(text, '\n', &text), rest;
        uint64_t kib;
        if (!a_view_starts(line, "Pss:"))
            continue;
        struct a_view number = a_view_trim((struct a_view){line.ptr + 4, line.len - 4});
        if (!a_text_u64(a_view_split(number, ' ', &rest), &kib))
            return -EIO;
        *ret_bytes = kib * 1024u;
        return 0;
    }
    return rc != 0 ? rc : -ESRCH; /* a zombie has none */
}

int sys_proc_cmdline(pid_t pid, size_t max, struct a_buf *ret_cmdline)
{
    return proc_read(pid, "cmdline", max, ret_cmdline);
}

int sys_proc_environ(pid_t pid, size_t max, struct a_buf *ret_environ)
{
    return proc_read(pid, "environ", max, ret_environ);
}

static int list_add(struct sys_proc_list *list, size_t *cap, const struct sys_proc_info *info)
{
    if (list->len == *cap) {
        *cap = *cap != 0 ? *cap * 2 : 64;
        if (*cap > MAX_PROCESSES)
            return -E2BIG;
        list->items = a_realloc(list->items, *cap * sizeof *list->items);
    }
    list->items[list->len++] = *info;
    return 0;
}

static int all_read(struct sys_proc_list *list)
{
    size_t cap = 0;
    int rc = 0;
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return -errno;
    for (struct dirent *e; rc == 0 && (e = readdir(dir)) != NULL;) {
        struct sys_proc_info info;
        uint64_t pid;
        if (a_text_u64(a_view_str(e->d_name), &pid) && sys_proc_info((pid_t)pid, &info) == 0)
            rc = list_add(list, &cap, &info);
    }
    closedir(dir);
    return rc;
}

static int by_parent(const void *a, const void *b)
{
    const struct sys_proc_info *x = a, *y = b;
    return x->ppid != y->ppid ? (x->ppid > y->ppid) - (x->ppid < y->ppid)
                              : (x->id.pid > y->id.pid) - (x->id.pid < y->id.pid);
}

/* The first of the items, which are in the order of their parents, whose parent is not less than `ppid`. */
static size_t children_begin(const struct sys_proc_list *all, pid_t ppid)
{
    size_t low = 0, high = all->len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all->items[middle].ppid < ppid)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void children_move(const struct sys_proc_list *all, pid_t ppid, struct sys_proc_list *to)
{
    for (size_t i = children_begin(all, ppid);
         i < all->len && all->items[i].ppid == ppid && to->len < all->len; i++)
        to->items[to->len++] = all->items[i];
}

int sys_proc_list(pid_t root_or_0, struct sys_proc_list *ret_list, struct a_error *reterr)
{
    struct sys_proc_list all = {.items = NULL}, found = {.items = NULL};
    int rc = all_read(&all);
    if (rc != 0) {
        sys_proc_list_deinit(&all);
        return a_fail_errno(reterr, rc, "cannot list processes");
    }
    qsort(all.items, all.len, sizeof *all.items, by_parent);
    found.items = a_alloc_array(all.len, sizeof *found.items);
    children_move(&all, root_or_0, &found);
    for (size_t i = 0; i < found.len; i++)
        children_move(&all, found.items[i].id.pid, &found);
    sys_proc_list_deinit(&all);
    *ret_list = found;
    return 0;
}

void sys_proc_list_deinit(struct sys_proc_list *list)
{
    a_free(list->items);
    *list = (struct sys_proc_list){NULL, 0};
}

/* The name of a PID namespace, "pid:[4026531836]"; false when it cannot be seen. */
static bool namespace_read(pid_t pid, char out[64])
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%ld/ns/pid", (long)pid);
    ssize_t n = readlink(path, out, 63);
    if (n < 0)
        return false;
    out[n] = '\0';
    return true;
}

int sys_proc_from_ns(pid_t member, pid_t ns_pid, pid_t *ret_pid)
{
    struct sys_proc_list all = {.items = NULL};
    char wanted[64], have[64];
    if (!namespace_read(member, wanted))
        return -ESRCH;
    int rc = all_read(&all), found = -ESRCH;
    for (size_t i = 0; rc == 0 && i < all.len && found != 0; i++) {
        const struct sys_proc_info *p = &all.items[i];
        if (p->n_ns_pid == 0 || p->ns_pid[p->n_ns_pid - 1] != ns_pid)
            continue;
        if (namespace_read(p->id.pid, have) && strcmp(have, wanted) == 0) {
            *ret_pid = p->id.pid;
            found = 0;
        }
    }
    sys_proc_list_deinit(&all);
    return rc != 0 ? rc : found;
}
