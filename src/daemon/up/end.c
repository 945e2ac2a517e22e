#include "daemon/up/end.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/up/members.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/portblock.h"

#define LOOK_MS 20
#define DAEMON_GRACE_MS 10000 /* the gateway lets requests under way finish */
#define MEMBER_GRACE_MS 5000  /* Ray's own shutdown takes 4 s */
#define KILL_MS 5000          /* after SIGKILL: the kernel takes apart what may be tens of processes */

/* ---- waiting ---- */

static void turn(const struct d_up_end *e)
{
    sys_loop_turn(e->loop, false);
    sys_clock_sleep_ms(LOOK_MS);
}

bool d_up_end_wait(const struct d_up_end *e, const struct sys_proc_id *id, uint64_t timeout_ms)
{
    uint64_t until = sys_clock_mono_ms() + timeout_ms;
    while (sys_proc_is_alive(id)) {
        if (*e->hurry || sys_clock_mono_ms() >= until)
            return false;
        turn(e);
    }
    return true;
}

static bool gone_in(const struct d_up_end *e, const struct sys_proc_id *id, uint64_t timeout_ms)
{
    uint64_t until = sys_clock_mono_ms() + timeout_ms;
    while (sys_proc_is_alive(id) && sys_clock_mono_ms() < until)
        turn(e);
    return !sys_proc_is_alive(id);
}

static void signal_send(const struct sys_proc_id *id, int signum)
{
    int ignored A_UNUSED = sys_proc_kill(id, signum); /* gone already: as wished */
}

/* ---- the daemons ---- */

struct daemon {
    struct a_list link;
    char *name;
    struct sys_proc_id id;
};

static void daemon_add(void *ctx, const char *name, const struct sys_proc_id *id)
{
    struct a_list *daemons = ctx;
    struct daemon *d = a_new(struct daemon);
    d->name = a_strdup(name);
    d->id = *id;
    a_list_push_back(daemons, &d->link);
}

static void daemons_free(struct a_list *daemons)
{
    a_list_foreach_safe (it, daemons) {
        struct daemon *d = a_list_entry(it, struct daemon, link);
        a_list_remove(it);
        a_free(d->name);
        a_free(d);
    }
}

static int rank(const struct daemon *d)
{
    return strcmp(d->name, "gateway") == 0 ? 0 : strcmp(d->name, "server") == 0 ? 1 : 2;
}

/* All of one rank together: TERM, then KILL. */
static int rank_end(struct d_up_end *e, struct a_list *daemons, int wanted, struct a_error *reterr)
{
    int rc = 0;
    a_list_foreach (it, daemons) {
        struct daemon *d = a_list_entry(it, struct daemon, link);
        if (rank(d) == wanted)
            signal_send(&d->id, SIGTERM);
    }
    a_list_foreach (it, daemons) {
        struct daemon *d = a_list_entry(it, struct daemon, link);
        if (rank(d) != wanted)
            continue;
        if (!d_up_end_wait(e, &d->id, DAEMON_GRACE_MS))
            signal_send(&d->id, SIGKILL);
        if (!gone_in(e, &d->id, KILL_MS)) {
            rc = a_fail(reterr, -EBUSY, A_CODE_OS, "%s (pid %ld) does not end", d->name, (long)d->id.pid);
            continue;
        }
        printf("ended %s (pid %ld)\n", d->name, (long)d->id.pid);
        fflush(stdout);
        d_up_pid_remove(e->layout, d->name);
        e->ended++;
    }
    return rc;
}

static int daemons_end(struct d_up_end *e, struct a_error *reterr)
{
    struct a_list daemons;
    int rc = 0;
    a_list_init(&daemons);
    d_up_pids_each(e->layout, daemon_add, &daemons);
    for (int r = 0; r <= 2; r++) {
        int one = rank_end(e, &daemons, r, reterr);
        rc = rc == 0 ? one : rc;
    }
    daemons_free(&daemons);
    return rc;
}

/* ---- the members ---- */

static void members_signal(struct a_list *members, int signum)
{
    a_list_foreach (it, members) {
        const struct d_up_member *m = a_list_entry(it, struct d_up_member, link);
        if (m->shim.pid > 0)
            signal_send(&m->shim, signum);
        if (m->first.pid > 0 && signum == SIGKILL)
            signal_send(&m->first, signum);
    }
}

static bool members_gone(struct d_up_end *e, struct a_list *members, uint64_t timeout_ms, bool patient)
{
    uint64_t until = sys_clock_mono_ms() + timeout_ms;
    size_t left;
    while ((left = d_up_members_count(e->layout, members)) > 0 && sys_clock_mono_ms() < until &&
           (patient || !*e->hurry))
        turn(e);
    return left == 0;
}

/* A shim told to end lets Ray end; one that is killed takes its PID namespace with it; what has none, or lost
 * its shim, is found by its mark. */
static int members_end(struct d_up_end *e, struct a_error *reterr)
{
    struct a_list members;
    int rc = 0;
    a_list_init(&members);
    d_up_members_find(e->layout, &members);
    if (d_up_members_count(e->layout, &members) > 0) {
        a_list_foreach (it, &members) {
            const struct d_up_member *m = a_list_entry(it, struct d_up_member, link);
            if (m->processes == 0)
                continue;
            printf("ending %s (%zu processes)\n", m->label, m->processes);
            e->ended++;
        }
        fflush(stdout);
        members_signal(&members, SIGTERM);
        if (!members_gone(e, &members, MEMBER_GRACE_MS, false)) {
            members_signal(&members, SIGKILL);
            for (uint64_t until = sys_clock_mono_ms() + KILL_MS;
                 d_up_members_kill(e->layout, &members) > 0 && sys_clock_mono_ms() < until;)
                turn(e);
        }
        if (!members_gone(e, &members, KILL_MS, true))
            rc = a_fail(reterr, -EBUSY, A_CODE_OS, "processes of members do not end");
    }
    d_up_members_free(&members);
    return rc;
}

/* ---- what lies about ---- */

struct removal {
    struct d_up_end *end;
    const char *folder;
    struct a_error *reterr;
    int rc;
};

static void remove_path(struct removal *r, const char *path)
{
    int rc = sys_dir_remove(path, r->rc == 0 ? r->reterr : NULL);
    r->rc = r->rc == 0 ? rc : r->rc;
}

/* A node keeps its key, its name for the server; its claims were ended with their members. */
static int node_clean(void *ctx, const char *name, bool is_dir)
{
    static const char *const parts[] = {"members", "node", "tfcc", "ended"};
    struct removal *r = ctx;
    (void)is_dir;
    for (size_t i = 0; i < A_ARRAY_SIZE(parts); i++) {
        A_AUTOFREE char *path = a_asprintf("%s/%s/%s", r->folder, name, parts[i]);
        remove_path(r, path);
    }
    return 0;
}

static int hold_remove(void *ctx, const char *name, bool is_dir)
{
    struct removal *r = ctx;
    A_AUTOFREE char *path = sys_path_join(r->folder, name);
    if (!is_dir && strncmp(name, "hold.", 5) == 0)
        remove_path(r, path);
    return 0;
}

static void each_in(struct removal *r, const char *folder,
                    int (*each)(void *ctx, const char *name, bool is_dir))
{
    r->folder = folder;
    if (!sys_file_exists(folder))
        return;
    int rc = sys_dir_list(folder, each, r, r->rc == 0 ? r->reterr : NULL);
    r->rc = r->rc == 0 ? rc : r->rc;
}

static int rest_remove(struct d_up_end *e, struct a_error *reterr)
{
    const struct d_up_layout *l = e->layout;
    struct removal r = {.end = e, .reterr = reterr};
    A_AUTOFREE char *ports = sys_portblock_dir();
    bool had_temp = sys_file_exists(l->temp);
    each_in(&r, l->nodes, node_clean);
    each_in(&r, l->data, hold_remove);
    remove_path(&r, l->temp);
    remove_path(&r, l->run);
    remove_path(&r, l->client);
    if (r.rc == 0 && had_temp) {
        printf("removed %s\n", l->temp);
        e->ended++;
    }
    int rc = sys_portblock_sweep(ports, r.rc == 0 ? reterr : NULL);
    return r.rc == 0 ? rc : r.rc;
}

int d_up_end_run(struct d_up_end *e, struct a_error *reterr)
{
    int rc = daemons_end(e, reterr);
    int members_rc = members_end(e, rc == 0 ? reterr : NULL);
    rc = rc == 0 ? members_rc : rc;
    if (rc == 0) /* else what still runs keeps what it stands on */
        rc = rest_remove(e, reterr);
    return rc;
}

/* ---- counting, purging ---- */

static void count_one(void *ctx, const char *name, const struct sys_proc_id *id)
{
    (void)name;
    (void)id;
    (*(size_t *)ctx)++;
}

size_t d_up_end_count(const struct d_up_layout *l)
{
    struct a_list members;
    size_t n = 0;
    d_up_pids_each(l, count_one, &n);
    a_list_init(&members);
    d_up_members_find(l, &members);
    size_t marked = d_up_members_count(l, &members);
    d_up_members_free(&members);
    return A_MAX(n, marked);
}

int d_up_end_purge(const struct d_up_layout *l, struct a_error *reterr)
{
    const char *const ours[] = {l->server, l->gateway, l->nodes, l->cache, l->log, l->lock};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < A_ARRAY_SIZE(ours); i++)
        rc = sys_dir_remove(ours[i], reterr);
    if (rc == 0)
        rc = sys_dir_remove_empty(l->data, reterr);
    return rc == -ENOTEMPTY ? 0 : rc;
}
