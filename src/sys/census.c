#include "sys/census.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"

#define ALL_EVERY 16 /* looks */
#define NOBODY 0
#define UNSURE (-1)

struct sys_census_row {
    pid_t pid, ppid;
    pid_t root;  /* that it is below; NOBODY; UNSURE: to be asked again */
    bool asked;  /* at this look */
    size_t info; /* of sys_census.below, plus 1; 0 when it had ended */
};

static int by_pid(const void *a, const void *b)
{
    const struct sys_census_row *x = a, *y = b;
    return (x->pid > y->pid) - (x->pid < y->pid);
}

static struct sys_census_row *row_find(struct sys_census_row *rows, size_t n, pid_t pid)
{
    const struct sys_census_row key = {.pid = pid};
    return n > 0 ? bsearch(&key, rows, n, sizeof *rows, by_pid) : NULL;
}

static bool root_is(const struct sys_census *c, pid_t pid)
{
    for (size_t i = 0; i < c->n_roots; i++)
        if (c->roots[i] == pid)
            return true;
    return false;
}

/* ---- who is there ---- */

static int pids_list(struct sys_census_row **ret_rows, size_t *ret_n)
{
    struct sys_census_row *rows = NULL;
    size_t n = 0, cap = 0;
    DIR *dir = opendir("/proc");
    if (dir == NULL)
        return -errno;
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        uint64_t pid;
        if (!a_text_u64(a_view_str(e->d_name), &pid))
            continue;
        if (n == cap) {
            cap = cap != 0 ? cap * 2 : 256;
            rows = a_realloc(rows, cap * sizeof *rows);
        }
        rows[n++] = (struct sys_census_row){.pid = (pid_t)pid};
    }
    closedir(dir);
    if (n > 0)
        qsort(rows, n, sizeof *rows, by_pid);
    *ret_rows = rows;
    *ret_n = n;
    return 0;
}

static struct sys_proc_info *below_add(struct sys_census *c)
{
    if (c->n_below == c->cap_below) {
        c->cap_below = c->cap_below != 0 ? c->cap_below * 2 : 32;
        c->below = a_realloc(c->below, c->cap_below * sizeof *c->below);
    }
    return &c->below[c->n_below++];
}

static void row_ask(struct sys_census *c, struct sys_census_row *row)
{
    struct sys_proc_info *info = below_add(c);
    row->asked = true;
    row->root = UNSURE;
    c->asked++;
    if (sys_proc_stat(row->pid, info) != 0) {
        c->n_below--;
        return;
    }
    row->ppid = info->ppid;
    row->info = c->n_below;
}

/* Those whose answer may be another than at the look before. */
static void rows_ask(struct sys_census *c, const struct sys_census_row *old, size_t n_old, bool all)
{
    size_t at = 0;
    for (size_t i = 0; i < c->n_rows; i++) {
        struct sys_census_row *row = &c->rows[i];
        while (at < n_old && old[at].pid < row->pid)
            at++;
        bool known = at < n_old && old[at].pid == row->pid;
        if (all || !known || old[at].root != NOBODY)
            row_ask(c, row);
        else
            *row = (struct sys_census_row){.pid = row->pid, .ppid = old[at].ppid};
    }
}

/* ---- who belongs to whom ---- */

/* Up to a root, or to somebody who is nobody's, or to the first of all. A parent that ended while we looked
 * says nothing: its children have another one by now. */
static pid_t root_of(const struct sys_census *c, const struct sys_census_row *row)
{
    for (size_t steps = 0; row != NULL && steps < c->n_rows; steps++) {
        if (!row->asked)
            return NOBODY;
        if (row->info == 0)
            return UNSURE;
        if (row->ppid == 0)
            return NOBODY;
        if (root_is(c, row->ppid))
            return row->ppid;
        row = row_find(c->rows, c->n_rows, row->ppid);
    }
    return UNSURE;
}

/* Of what was read, what is below a root is kept, root by root. */
static void below_sort(struct sys_census *c)
{
    struct sys_proc_info *sorted = a_alloc_array(c->n_below + 1, sizeof *sorted);
    const struct sys_census_row **ours = a_alloc_array(c->n_below + 1, sizeof *ours);
    size_t n = 0, n_ours = 0;
    a_free(c->below_root);
    c->below_root = a_alloc_array(c->n_below + 1, sizeof *c->below_root);
    for (size_t i = 0; i < c->n_rows; i++)
        if (c->rows[i].root > 0 && c->rows[i].info != 0)
            ours[n_ours++] = &c->rows[i];
    for (size_t r = 0; r < c->n_roots; r++)
        for (size_t i = 0; i < n_ours; i++)
            if (ours[i]->root == c->roots[r]) {
                c->below_root[n] = c->roots[r];
                sorted[n++] = c->below[ours[i]->info - 1];
            }
    a_free(ours);
    a_free(c->below);
    c->below = sorted;
    c->cap_below = c->n_below + 1;
    c->n_below = n;
}

/* True when they are others than at the look before. */
static bool roots_take(struct sys_census *c, const pid_t *roots, size_t n)
{
    if (c->n_roots == n && (n == 0 || memcmp(c->roots, roots, n * sizeof *roots) == 0))
        return false;
    a_free(c->roots);
    c->roots = a_alloc_array(n + 1, sizeof *c->roots);
    if (n > 0)
        memcpy(c->roots, roots, n * sizeof *roots);
    c->n_roots = n;
    return true;
}

int sys_census_look(struct sys_census *c, const pid_t *roots, size_t n_roots, struct a_error *reterr)
{
    struct sys_census_row *old = c->rows;
    size_t n_old = c->n_rows;
    bool all = roots_take(c, roots, n_roots) || c->looks++ % ALL_EVERY == 0;
    c->rows = NULL;
    c->n_rows = c->n_below = c->asked = 0;
    int rc = n_roots > 0 ? pids_list(&c->rows, &c->n_rows) : 0;
    rows_ask(c, old, n_old, all);
    a_free(old);
    for (size_t i = 0; i < c->n_rows; i++)
        if (c->rows[i].asked)
            c->rows[i].root = root_of(c, &c->rows[i]);
    below_sort(c);
    return rc == 0 ? 0 : a_fail_errno(reterr, rc, "cannot list processes");
}

const struct sys_proc_info *sys_census_below(const struct sys_census *c, pid_t root, size_t *ret_n)
{
    size_t begin = 0, n = 0;
    while (begin < c->n_below && c->below_root[begin] != root)
        begin++;
    while (begin + n < c->n_below && c->below_root[begin + n] == root)
        n++;
    *ret_n = n;
    return c->below + begin;
}

void sys_census_deinit(struct sys_census *c)
{
    void *const owned[] = {c->rows, c->roots, c->below, c->below_root};
    for (size_t i = 0; i < A_ARRAY_SIZE(owned); i++)
        a_free(owned[i]);
    *c = (struct sys_census){.rows = NULL};
}
