#include "daemon/up/layout.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "base/text.h"
#include "sys/env.h"
#include "sys/file.h"

#define PID_FILE_MAX 64

static char *data_default(void)
{
    const char *home = sys_env_get("HOME");
    return home != NULL ? a_asprintf("%s/.local/share/astra", home) : NULL;
}

static void layout_fill(struct d_up_layout *l)
{
    l->run = sys_path_join(l->data, "run");
    l->log = sys_path_join(l->data, "log");
    l->nodes = sys_path_join(l->data, "nodes");
    l->server = sys_path_join(l->data, "server");
    l->gateway = sys_path_join(l->data, "gateway");
    l->cache = sys_path_join(l->data, "cache");
    l->client = sys_path_join(l->data, "client.json");
    l->lock = sys_path_join(l->data, "lock");
    /* Ray allows 41 characters for a member's, which adds 17 to this. */
    l->temp =
        a_asprintf("/tmp/astra-%012llx", (unsigned long long)(a_hash_str(0, l->data) & 0xffffffffffffu));
    l->mark = a_asprintf("ASTRA_UP=%s", l->data);
}

static int folders_make(const struct d_up_layout *l, struct a_error *reterr)
{
    const char *const folders[] = {l->run, l->log, l->nodes, l->server, l->gateway, l->cache, l->temp};
    struct sys_stat ours, temp;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(folders); i++)
        rc = sys_dir_make(folders[i], 0700, reterr);
    if (rc == 0)
        rc = sys_file_stat(l->data, &ours, reterr);
    if (rc == 0)
        rc = sys_file_stat(l->temp, &temp, reterr);
    /* /tmp is everybody's: a folder of that name may have been put there by a stranger. */
    if (rc == 0 && (!temp.is_dir || temp.uid != ours.uid))
        rc = a_fail(reterr, -EPERM, A_CODE_FORBIDDEN, "%s is not a folder of this user", l->temp);
    return rc;
}

int d_up_layout_open(const char *data, bool make, struct d_up_layout *ret_layout, struct a_error *reterr)
{
    A_CLEANUP(d_up_layout_deinit)
    struct d_up_layout l = {0};
    const char *given = data != NULL ? data : sys_env_get("ASTRA_CFG_DATA");
    A_AUTOFREE char *wanted = given != NULL ? a_strdup(given) : data_default();
    int rc = 0;
    if (wanted == NULL)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "HOME is not set: say where by --data DIR");
    if (make)
        rc = sys_dir_make(wanted, 0700, reterr);
    else if (!sys_file_exists(wanted))
        return a_fail(reterr, -ENOENT, A_CODE_NOT_FOUND, "%s: no such folder", wanted);
    if (rc == 0)
        rc = sys_path_real(wanted, &l.data, reterr);
    if (rc < 0)
        return rc;
    layout_fill(&l);
    if (make)
        rc = folders_make(&l, reterr);
    if (rc < 0)
        return rc;
    *ret_layout = l;
    l = (struct d_up_layout){0};
    return 0;
}

void d_up_layout_deinit(struct d_up_layout *l)
{
    char *const owned[] = {l->data,  l->run,    l->log,  l->nodes, l->server, l->gateway,
                           l->cache, l->client, l->lock, l->temp,  l->mark};
    for (size_t i = 0; i < A_ARRAY_SIZE(owned); i++)
        a_free(owned[i]);
    *l = (struct d_up_layout){0};
}

char *d_up_run_path(const struct d_up_layout *l, const char *name, const char *suffix)
{
    return a_asprintf("%s/%s.%s", l->run, name, suffix);
}

/* ---- pid files ---- */

int d_up_pid_write(const struct d_up_layout *l, const char *name, const struct sys_proc_id *id,
                   struct a_error *reterr)
{
    A_AUTOFREE char *path = d_up_run_path(l, name, "pid");
    char text[PID_FILE_MAX];
    int n = snprintf(text, sizeof text, "%ld %llu\n", (long)id->pid, (unsigned long long)id->start_time);
    return sys_file_write_atomic(path, text, (size_t)n, 0600, reterr);
}

void d_up_pid_remove(const struct d_up_layout *l, const char *name)
{
    A_AUTOFREE char *path = d_up_run_path(l, name, "pid");
    int ignored A_UNUSED = sys_file_remove(path, NULL);
}

bool d_up_pid_read(const struct d_up_layout *l, const char *name, struct sys_proc_id *ret_id)
{
    A_AUTOFREE char *path = d_up_run_path(l, name, "pid");
    A_BUF_AUTO struct a_buf text = {0};
    int64_t pid;
    uint64_t start;
    if (sys_file_read(path, PID_FILE_MAX, &text, NULL) < 0)
        return false;
    struct a_view rest = a_buf_view(&text);
    rest = a_view_split(rest, '\n', &(struct a_view){0});
    struct a_view first = a_view_split(rest, ' ', &rest);
    if (!a_text_i64(first, &pid) || !a_text_u64(rest, &start) || pid <= 1)
        return false;
    const struct sys_proc_id id = {(pid_t)pid, start};
    if (!sys_proc_is_alive(&id))
        return false;
    *ret_id = id;
    return true;
}

struct pids {
    const struct d_up_layout *layout;
    void (*each)(void *ctx, const char *name, const struct sys_proc_id *id);
    void *ctx;
};

static int pid_entry(void *ctx, const char *file, bool is_dir)
{
    const struct pids *p = ctx;
    struct sys_proc_id id;
    size_t n = strlen(file);
    if (is_dir || n <= 4 || strcmp(file + n - 4, ".pid") != 0)
        return 0;
    A_AUTOFREE char *name = a_strndup(file, n - 4);
    if (strcmp(name, D_UP_SELF) != 0 && d_up_pid_read(p->layout, name, &id))
        p->each(p->ctx, name, &id);
    return 0;
}

void d_up_pids_each(const struct d_up_layout *l,
                    void (*each)(void *ctx, const char *name, const struct sys_proc_id *id), void *ctx)
{
    struct pids p = {l, each, ctx};
    if (sys_file_exists(l->run)) {
        int ignored A_UNUSED = sys_dir_list(l->run, pid_entry, &p, NULL);
    }
}
