/* Going over to another artifact: UPGRADE names it; it is fetched, checked, unpacked to DATA/agent/HEX, and
 * its `astra version` must answer. Then it is noted as a trial, the agent ends as it does after SIGTERM
 * (members run on), and the installed executable starts in its place and becomes it (enter.c). What fails is
 * noted, too, and told at each attach until the next UPGRADE. docs/components/upgrade.md. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/agent/choice.h"
#include "daemon/agent/inside.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/sha256.h"
#include "sys/user.h"

#define CHECK_MS 10000 /* `astra version` of the new executable */
#define CHECK_LOOK_MS 20
#define CHECK_OUTPUT_MAX 256
#define TREE_BYTES (UINT64_C(4) << 30)
#define QUIET_LOOK_MS 100  /* also: what was said last is on its way */
#define QUIET_MAX_MS 30000 /* work for members is waited for: what was begun would be done again */

struct d_upgrade {
    struct d_agent *agent;
    struct d_choice choice; /* as on disk, but while `job` runs */
    struct a_digest own;
    bool is_trial;
    char *installed;

    struct d_choice_artifact wanted; /* of the UPGRADE under way; zero: none is */
    struct d_fetch *fetch;
    struct d_job job;
    bool ready; /* the trial is on disk */
    struct a_error error;
    struct sys_timer timer;
    uint64_t quiet_until_ms;
    bool again; /* the loop ends, and the installed executable is to start in our place */
};

const struct a_digest *d_upgrade_own(const struct d_agent *a)
{
    return &a->upgrade->own;
}

bool d_upgrade_is_working(const struct d_agent *a)
{
    return a->upgrade->job.running;
}

static void status_send(struct d_upgrade *u, const struct d_choice_artifact *what,
                        enum wire_sl_upgrade_phase phase, enum a_reason reason, const char *message)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_UPGRADE_STATUS};
    m.upgrade_status = (struct wire_sl_upgrade_status){.node = u->agent->id,
                                                       .number = what->number,
                                                       .artifact = what->digest,
                                                       .phase = phase,
                                                       .reason = reason,
                                                       .message = a_view_str(message)};
    if (u->agent->attached)
        d_link_send(u->agent, &m);
}

static void failure_tell(struct d_upgrade *u)
{
    if (!u->job.running && !a_digest_is_zero(&u->choice.failed.digest))
        status_send(u, &u->choice.failed, WIRE_SL_UPGRADE_PHASE_FAILED, u->choice.reason, u->choice.message);
}

void d_upgrade_attached(struct d_agent *a)
{
    failure_tell(a->upgrade);
}

/* ---- in the pool ---- */

static enum a_reason reason_of(const struct a_error *e, int rc)
{
    if (rc == -ENOSPC || rc == -EDQUOT)
        return A_REASON_DISK_FULL;
    return e->code == A_CODE_ENV_MISMATCH ? A_REASON_ENV_MISMATCH
           : e->code == A_CODE_ENV_UNPACK ? A_REASON_UNPACK_FAILED
                                          : A_REASON_UPGRADE_FAILED;
}

struct sweep {
    struct d_upgrade *u;
    char *dir;
    struct a_buf specs; /* of all members: a folder that one names is in use */
};

static int spec_add(void *ctx, const char *name, bool is_dir)
{
    struct sweep *w = ctx;
    A_AUTOFREE char *path = a_asprintf("%s/members/%s/%s", w->u->agent->data, name, D_SHIM_SPEC_FILE);
    if (is_dir && sys_file_exists(path)) {
        int ignored A_UNUSED = sys_file_read(path, 1 << 20, &w->specs, NULL);
    }
    return 0;
}

static int tree_sweep(void *ctx, const char *name, bool is_dir)
{
    struct sweep *w = ctx;
    struct a_digest digest;
    bool known = a_digest_parse(a_view_str(name), &digest);
    bool kept = known && (a_digest_equal(&digest, &w->u->own) ||
                          a_digest_equal(&digest, &w->u->choice.current.digest) ||
                          (w->specs.ptr != NULL && strstr(w->specs.ptr, name) != NULL));
    if (!is_dir || kept)
        return 0;
    A_AUTOFREE char *path = sys_path_join(w->dir, name);
    int ignored A_UNUSED = sys_dir_remove(path, NULL);
    return 0;
}

/* Folders of artifacts that nothing runs from, and what an unpacking left that was cut short. */
static void trees_sweep(struct d_upgrade *u)
{
    A_AUTOFREE char *members = sys_path_join(u->agent->data, "members");
    struct sweep w = {.u = u, .dir = sys_path_join(u->agent->data, "agent")};
    int ignored A_UNUSED = sys_dir_list(members, spec_add, &w, NULL);
    int also A_UNUSED = sys_dir_list(w.dir, tree_sweep, &w, NULL);
    a_buf_deinit(&w.specs);
    a_free(w.dir);
}

static int manifest_check(const struct d_upgrade *u, const char *blob, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    char glibc[32];
    const struct artifact_host host = {.platform = sys_env_machine(), .glibc = glibc};
    sys_env_glibc(glibc, sizeof glibc);
    int rc = artifact_peek(blob, ARTIFACT_AGENT_FILE, ARTIFACT_AGENT_MANIFEST_MAX, &text, reterr);
    if (rc == -ENOENT)
        return a_fail(reterr, rc, A_CODE_ENV_MISMATCH, "agent: the artifact has no %s", ARTIFACT_AGENT_FILE);
    return rc == 0 ? artifact_agent_check(a_buf_view(&text), u->wanted.version, &host, reterr) : rc;
}

/* Waits for a child, at most so long; what runs on is killed. */
static int child_wait(const struct sys_proc_id *id, int pidfd, struct sys_exit *ret_exit)
{
    uint64_t until = sys_clock_mono_ms() + CHECK_MS;
    int rc;
    while ((rc = sys_process_wait(pidfd, false, ret_exit)) == -EAGAIN && sys_clock_mono_ms() < until)
        sys_clock_sleep_ms(CHECK_LOOK_MS);
    if (rc != -EAGAIN)
        return rc;
    int ignored A_UNUSED = sys_proc_kill(id, SIGKILL);
    rc = sys_process_wait(pidfd, true, ret_exit);
    return rc == 0 ? -ETIMEDOUT : rc;
}

/* What it writes goes to a file: there is nobody to read a pipe meanwhile. */
static int executable_run(const char *file, const char *output, struct sys_exit *ret_exit,
                          struct a_error *reterr)
{
    static const char *const argv[] = {"astra", "version", "--client", NULL};
    static const char *const env[] = {NULL};
    struct sys_proc_id id;
    SYS_FD_AUTO int out = -1;
    SYS_FD_AUTO int pidfd = -1;
    int rc = sys_file_remove(output, reterr);
    if (rc == 0)
        rc = sys_file_append_open(output, 0600, &out, reterr);
    if (rc < 0)
        return rc;
    const struct sys_fd_map fds[] = {{out, 1}, {out, 2}};
    const struct sys_spawn_options options = {
        .file = file, .argv = argv, .env = env, .fds = fds, .n_fds = A_ARRAY_SIZE(fds)};
    rc = sys_spawn(&options, &id, &pidfd, reterr);
    if (rc == 0)
        rc = child_wait(&id, pidfd, ret_exit);
    if (rc == -ETIMEDOUT)
        return a_fail(reterr, rc, A_CODE_TIMEOUT, "agent: `astra version` of the new one did not end");
    return rc;
}

static int executable_check(const struct d_upgrade *u, const char *tree, struct a_error *reterr)
{
    A_AUTOFREE char *file = sys_path_join(tree, ARTIFACT_AGENT_EXECUTABLE);
    A_AUTOFREE char *output = sys_path_join(u->agent->data, "agent/version");
    A_AUTOFREE char *expected = a_asprintf("astra %s\n", u->wanted.version);
    A_BUF_AUTO struct a_buf text = {0};
    struct sys_exit end = {.known = false};
    struct sys_file_facts facts;
    int rc = executable_run(file, output, &end, reterr);
    if (rc == 0)
        rc = sys_file_read_part(output, 0, CHECK_OUTPUT_MAX, &text, &facts, reterr);
    if (rc < 0)
        return rc;
    if (end.known && end.code == 0 && end.signal == 0 && a_view_is(a_buf_view(&text), expected))
        return 0;
    A_BUF_AUTO struct a_buf how = {0};
    sys_exit_print(&end, &how);
    return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                  "agent: `astra version` of the new one: %s, it said \"%.*s\"", how.ptr,
                  (int)strcspn(text.ptr != NULL ? text.ptr : "", "\n"), text.ptr != NULL ? text.ptr : "");
}

static int tree_make(struct d_upgrade *u, char **ret_tree, struct a_error *reterr)
{
    const struct artifact_limits limits = {.bytes = TREE_BYTES};
    A_AUTOFREE char *blob = artifact_cache_blob(&u->agent->cache, &u->wanted.digest);
    A_AUTOFREE char *dir = sys_path_join(u->agent->data, "agent");
    A_AUTOFREE char *tree = d_agent_tree(u->agent->data, &u->wanted.digest);
    int rc = sys_dir_make(dir, 0711, reterr);
    if (rc == 0)
        rc = sys_path_chmod(dir, 0711, reterr); /* members of other users read lib/astra */
    if (rc == 0)
        rc = manifest_check(u, blob, reterr);
    if (rc < 0)
        return rc;
    trees_sweep(u);
    rc = artifact_unpack(blob, tree, &limits, reterr);
    if (rc == -EEXIST) { /* it was left because members use it, or runs */
        a_error_deinit(reterr);
        rc = 0;
    }
    if (rc == 0)
        rc = sys_path_chmod(tree, 0755, reterr);
    if (rc == 0)
        *ret_tree = a_steal(&tree);
    return rc;
}

/* The installed executable's digest: what is chosen is void when it changes. */
static int base_note(struct d_upgrade *u, struct a_error *reterr)
{
    uint64_t size;
    return a_digest_is_zero(&u->choice.base) ? sys_sha256_file(u->installed, &u->choice.base, &size, reterr)
                                             : 0;
}

static void failure_note(struct d_upgrade *u, enum a_reason reason)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    d_choice_fail(&u->choice, &u->wanted, reason, a_error_text(&u->error));
    if (d_choice_save(u->agent->data, &u->choice, &e) < 0)
        sys_log(ERROR, "agent", "upgrade.save", "the state of upgrades cannot be written", SYS_ERR(&e));
}

static void prepare_run(void *ctx)
{
    struct d_upgrade *u = ctx;
    A_AUTOFREE char *tree = NULL;
    int rc = u->error.code != A_CODE_NONE ? -EREMOTEIO : 0; /* the fetch failed: only to be noted */
    enum a_reason reason = A_REASON_FETCH_FAILED;
    A_AUTOFREE char *dir = sys_path_join(u->agent->data, "agent");
    if (rc == 0)
        rc = tree_make(u, &tree, &u->error);
    else if (sys_dir_make(dir, 0711, NULL) < 0)
        return;
    if (rc == 0)
        rc = executable_check(u, tree, &u->error);
    if (rc == 0)
        rc = base_note(u, &u->error);
    if (rc == 0) {
        u->choice.trial = u->wanted;
        u->choice.tries = 0;
        rc = d_choice_save(u->agent->data, &u->choice, &u->error);
    }
    u->ready = rc == 0;
    if (rc < 0)
        failure_note(u, tree == NULL && rc == -EREMOTEIO ? reason : reason_of(&u->error, rc));
}

/* ---- on the loop ---- */

static void wanted_forget(struct d_upgrade *u)
{
    u->wanted = (struct d_choice_artifact){.number = 0};
    a_error_deinit(&u->error);
}

/* Members whose folders are being made, and the node core's file, are waited for. */
static void quiet_fire(void *ctx)
{
    struct d_upgrade *u = ctx;
    struct d_agent *a = u->agent;
    bool busy = a->write.running || a->collect.running;
    a_list_foreach (it, &a->members)
        busy = busy || a_list_entry(it, struct d_member, link)->job.running;
    if (busy && sys_loop_now_ms(a->loop) < u->quiet_until_ms) {
        sys_timer_set_in(&u->timer, QUIET_LOOK_MS);
        return;
    }
    sys_log(INFO, "agent", "upgrade.restart", "the agent starts again, from an artifact; its members run on",
            SYS_STR("version", u->wanted.version));
    u->again = true;
    sys_loop_stop(a->loop);
}

static void prepare_done(void *ctx, bool cancelled)
{
    struct d_upgrade *u = ctx;
    u->job.running = false;
    if (cancelled || u->agent->closing)
        return;
    if (u->ready) {
        status_send(u, &u->wanted, WIRE_SL_UPGRADE_PHASE_RESTARTING, A_REASON_NONE, "");
        u->quiet_until_ms = sys_loop_now_ms(u->agent->loop) + QUIET_MAX_MS;
        sys_timer_set_in(&u->timer, QUIET_LOOK_MS);
        return;
    }
    sys_log(WARN, "agent", "upgrade.failed", "an upgrade failed; the agent runs on as it is",
            SYS_STR("version", u->wanted.version), SYS_ERR(&u->error));
    failure_tell(u);
    wanted_forget(u);
}

static void prepare_begin(struct d_upgrade *u)
{
    u->job.running = true;
    if (sys_pool_submit(u->agent->io, u->agent->loop, &u->job.work, prepare_run, prepare_done, u) == 0)
        return;
    u->job.running = false;
    status_send(u, &u->wanted, WIRE_SL_UPGRADE_PHASE_FAILED, A_REASON_UPGRADE_FAILED, "too much work waits");
    wanted_forget(u);
}

static void fetched(void *ctx, int rc, const struct a_error *error)
{
    struct d_upgrade *u = ctx;
    u->fetch = NULL;
    if (u->agent->closing)
        return;
    if (rc < 0)
        a_error_set(&u->error, A_CODE_ARTIFACT_FETCH, "%s", a_error_text(error));
    prepare_begin(u);
}

static bool is_wanted(const struct d_upgrade *u, const struct wire_sl_upgrade *m)
{
    return u->wanted.number == m->number && a_digest_equal(&u->wanted.digest, &m->artifact);
}

void d_upgrade_take(struct d_agent *a, const struct wire_sl_upgrade *m)
{
    struct d_upgrade *u = a->upgrade;
    struct d_choice_artifact asked = {.digest = m->artifact, .number = m->number};
    snprintf(asked.version, sizeof asked.version, A_VIEW_FMT, A_VIEW_ARG(m->version));
    bool printable = asked.version[0] != '\0';
    for (const char *p = asked.version; *p != '\0'; p++)
        printable = printable && *p > ' ' && *p < 127;
    if (a_digest_equal(&m->artifact, &u->own))
        status_send(u, &asked, WIRE_SL_UPGRADE_PHASE_RUNNING, A_REASON_NONE, "");
    else if (!printable)
        status_send(u, &asked, WIRE_SL_UPGRADE_PHASE_FAILED, A_REASON_UNSUPPORTED, "the version is no word");
    else if (is_wanted(u, m))
        status_send(u, &asked, u->ready ? WIRE_SL_UPGRADE_PHASE_RESTARTING : WIRE_SL_UPGRADE_PHASE_FETCHING,
                    A_REASON_NONE, "");
    else if (u->job.running || u->ready)
        status_send(u, &asked, WIRE_SL_UPGRADE_PHASE_FAILED, A_REASON_UPGRADE_FAILED,
                    "another upgrade of this node is in its last steps");
    else {
        d_fetch_cancel(u->fetch);
        wanted_forget(u);
        u->wanted = asked;
        status_send(u, &asked, WIRE_SL_UPGRADE_PHASE_FETCHING, A_REASON_NONE, "");
        u->fetch = d_fetch_start(a, &m->artifact, fetched, u);
    }
}

/* ---- joined ---- */

static void confirm_run(void *ctx)
{
    struct d_upgrade *u = ctx;
    struct d_choice next = u->choice;
    d_choice_confirm(&next);
    u->ready = d_choice_save(u->agent->data, &next, &u->error) == 0;
    if (u->ready)
        u->choice = next;
}

static void confirm_done(void *ctx, bool cancelled)
{
    struct d_upgrade *u = ctx;
    u->job.running = false;
    if (cancelled)
        return;
    if (u->ready) {
        sys_process_deadline_clear();
        u->is_trial = false;
        sys_log(INFO, "agent", "upgrade.confirmed", "this agent joined, and stays",
                SYS_STR("version", ASTRA_VERSION));
    } else { /* again at the next beat, until the deadline */
        sys_log(ERROR, "agent", "upgrade.save", "the state of upgrades cannot be written",
                SYS_ERR(&u->error));
        a_error_deinit(&u->error);
    }
    u->ready = false;
}

void d_upgrade_acked(struct d_agent *a)
{
    struct d_upgrade *u = a->upgrade;
    if (!u->is_trial || u->job.running)
        return;
    u->job.running = true;
    if (sys_pool_submit(a->io, a->loop, &u->job.work, confirm_run, confirm_done, u) < 0)
        u->job.running = false;
}

/* ---- start and end ---- */

int d_upgrade_start(struct d_agent *a, struct a_error *reterr)
{
    struct d_upgrade *u = a_new(struct d_upgrade);
    a->upgrade = u;
    u->agent = a;
    sys_timer_init(&u->timer, a->loop, quiet_fire, u);
    bool from_tree = d_agent_tree_of(a->data, a->self_path, &u->own);
    const char *installed = from_tree ? sys_env_get(D_AGENT_INSTALLED) : NULL;
    u->installed = a_strdup(installed != NULL ? installed : a->self_path);
    int rc = d_choice_load(a->data, &u->choice, reterr);
    u->is_trial = rc == 0 && from_tree && a_digest_equal(&u->own, &u->choice.trial.digest);
    return rc;
}

void d_upgrade_stop(struct d_agent *a)
{
    d_fetch_cancel(a->upgrade->fetch);
    a->upgrade->fetch = NULL;
    sys_timer_clear(&a->upgrade->timer);
}

char *d_upgrade_free(struct d_agent *a)
{
    struct d_upgrade *u = a->upgrade;
    char *next = NULL;
    if (u == NULL)
        return NULL;
    if (u->again)
        next = a_steal(&u->installed);
    a_error_deinit(&u->error);
    a_free(u->installed);
    a_free(u);
    a->upgrade = NULL;
    return next;
}
