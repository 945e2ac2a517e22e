/* From the shim's start to its end: starting, finding again after a restart of the agent, health, and what
 * its end means. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/agent/inside.h"
#include "sys/file.h"
#include "sys/log.h"

#define UP_FILE "up" /* in the member's folder, since it was UP */
#define LOOK_MS 50   /* at the state file, until the shim runs; at health, until the member is UP */
#define HEALTH_MS 500
#define START_MAX_MS 180000 /* `ray start` takes 10 s alone, minutes on a machine that starts many */
#define GRACE_MS 10000
#define KILL_AGAIN_MS 5000
#define STATE_MAX 4096
#define LOG_TAIL_BYTES 65536
#define DIGEST_BYTES 3000

static bool state_read(struct d_member *m)
{
    A_AUTOFREE char *path = sys_path_join(m->folder, D_SHIM_STATE_FILE);
    A_BUF_AUTO struct a_buf text = {0};
    return sys_file_read(path, STATE_MAX, &text, NULL) == 0 &&
           d_shim_state_parse(a_buf_view(&text), &m->shim_state, NULL) == 0;
}

void d_run_digest(const struct d_member *m, struct a_buf *ret_text)
{
    A_AUTOFREE char *path = sys_path_join(m->folder, D_SHIM_LOG_FILE);
    A_BUF_AUTO struct a_buf log = {0};
    struct sys_file_facts facts;
    if (sys_file_read_part(path, SYS_FILE_TAIL, LOG_TAIL_BYTES, &log, &facts, NULL) == 0)
        unit_ray_log_digest(a_buf_view(&log), DIGEST_BYTES, ret_text);
}

/* ---- up ---- */

/* The folder remembers that the member was UP, so that an agent that finds it ended knows a head that was
 * lost from one that never started. */
void d_run_up(struct d_member *m)
{
    A_AUTOFREE char *path = sys_path_join(m->folder, UP_FILE);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (sys_file_write_atomic(path, "", 0, 0600, &e) < 0)
        sys_log(WARN, "agent", "member.up", "cannot note that a member is up", SYS_ERR(&e));
    d_member_set(m, A_MEMBER_UP, A_REASON_NONE, "%s", "");
}

static bool was_up(const struct d_member *m)
{
    A_AUTOFREE char *path = sys_path_join(m->folder, UP_FILE);
    return m->state.state == A_MEMBER_UP || sys_file_exists(path);
}

/* ---- the end ---- */

static void end_print(const struct d_member *m, struct a_buf *b)
{
    const struct d_shim_state *s = &m->shim_state;
    const char *what = m->head ? "the head's Ray" : "the worker's Ray";
    if (s->phase != D_SHIM_EXITED)
        a_buf_addf(b, "%s was killed with its shim", what);
    else if (s->message[0] != '\0')
        a_buf_addf(b, "%s could not be started: %s", what, s->message);
    else if (s->exit_signal > 0)
        a_buf_addf(b, "%s was killed by signal %d", what, s->exit_signal);
    else
        a_buf_addf(b, "%s ended with status %d", what, s->exit_code);
}

static enum a_reason end_reason(const struct d_member *m)
{
    if (m->kill_reason != A_REASON_NONE)
        return m->kill_reason;
    if (m->shim_state.oom)
        return A_REASON_OOM_KILLED;
    if (!was_up(m))
        return A_REASON_RAY_START_FAILED;
    return m->head ? A_REASON_HEAD_LOST : A_REASON_HEALTH_CHECK_FAILED;
}

static void member_ended(struct d_member *m)
{
    A_BUF_AUTO struct a_buf text = {0};
    A_BUF_AUTO struct a_buf log = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    enum a_reason reason = end_reason(m);
    sys_timer_clear(&m->timer);
    if (m->stopping) {
        d_member_clean(m);
        return;
    }
    if (m->kill_reason != A_REASON_NONE && m->message[0] != '\0')
        a_buf_addf(&text, "%s; ", m->message); /* why we ended it */
    end_print(m, &text);
    d_run_digest(m, &log);
    struct a_view cause = unit_ray_log_cause(a_buf_view(&log));
    if (cause.len > 0 && m->shim_state.phase == D_SHIM_EXITED && m->shim_state.exit_code != 0)
        a_buf_addf(&text, ": " A_VIEW_FMT, A_VIEW_ARG(cause));
    if (log.len > 0)
        a_buf_addf(&text, "; its last words:\n%s", log.ptr);
    a_error_set(&e, A_CODE_RAY_START, "%s", text.ptr);
    m->exit_status = m->shim_state.exit_signal > 0 ? -m->shim_state.exit_signal : m->shim_state.exit_code;
    if (m->serve != NULL)
        d_serve_forget(m->serve);
    d_member_fail(m, reason, &e);
}

static void shim_ended(void *ctx, const struct sys_exit *e)
{
    struct d_member *m = ctx;
    (void)e;
    sys_process_close(m->shim);
    m->shim = NULL;
    if (m->health != NULL)
        net_http_call_cancel(m->health);
    m->health = NULL;
    state_read(m);
    member_ended(m);
}

/* ---- starting ---- */

static void start_failed(struct d_member *m, enum a_reason reason, const char *why)
{
    m->kill_reason = reason;
    d_member_say(m, reason, "%s", why);
    int ignored A_UNUSED = sys_process_kill(m->shim, SIGTERM);
}

static void worker_health_done(void *ctx, const struct net_http_answer *answer)
{
    struct d_member *m = ctx;
    m->health = NULL;
    if (answer->rc == 0 && answer->status == 200) {
        sys_timer_clear(&m->timer);
        d_run_up(m);
        return;
    }
    sys_timer_set_in(&m->timer, HEALTH_MS);
}

/* A worker is UP when its raylet says so; a head when its dashboard answers (serve.c). */
static void worker_health_ask(struct d_member *m)
{
    const struct net_http_call_options call = {
        .host = m->agent->address,
        .port = (uint16_t)(m->port_first + UNIT_RAY_PORT_AGENT_HTTP),
        .target = "/api/local_raylet_healthz",
        .bearer = &m->token,
    };
    if (net_http_client_send(m->agent->http, &call, worker_health_done, m, &m->health, NULL) < 0)
        sys_timer_set_in(&m->timer, HEALTH_MS);
}

static void timer_fire(void *ctx)
{
    struct d_member *m = ctx;
    uint64_t now = sys_loop_now_ms(m->agent->loop);
    if (m->shim_state.phase == D_SHIM_STARTING)
        state_read(m);
    if (m->state.state == A_MEMBER_UP)
        return;
    if (now > m->started_ms + START_MAX_MS) {
        start_failed(m, A_REASON_RAY_START_FAILED, "Ray did not answer within 180 s");
        return;
    }
    if (m->shim_state.phase == D_SHIM_RUNNING && m->shared_models && !m->shim_state.namespaces) {
        start_failed(m, A_REASON_UNSUPPORTED, D_RUN_NO_SHARED_MODELS);
        return;
    }
    if (m->shim_state.phase == D_SHIM_RUNNING && !m->head && m->health == NULL)
        worker_health_ask(m);
    else
        sys_timer_set_in(&m->timer, m->shim_state.phase == D_SHIM_RUNNING ? HEALTH_MS : LOOK_MS);
}

static void follow(struct d_member *m)
{
    m->started_ms = sys_loop_now_ms(m->agent->loop);
    sys_timer_clear(&m->timer);
    sys_timer_init(&m->timer, m->agent->loop, timer_fire, m);
    sys_timer_set_in(&m->timer, LOOK_MS);
    d_member_set(m, A_MEMBER_STARTING, A_REASON_NONE, "%s", "");
    if (m->serve != NULL)
        d_serve_deploy(m->serve);
}

void d_run_start(struct d_member *m)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_AUTOFREE char *mark = a_asprintf("ASTRA_CLAIM=%s", m->key);
    const char *const argv[] = {"astra", "shim", m->folder, NULL}, *const env[] = {mark, NULL};
    const struct sys_fd_map lock = {m->block.fd, 3};
    const struct sys_spawn_options options = {
        .file = m->agent->self_path,
        .argv = argv,
        .env = env,
        .fds = &lock,
        .n_fds = m->block.base != 0 ? 1 : 0,
        .new_session = true,
    };
    if (sys_process_start(m->agent->loop, &options, shim_ended, m, &m->shim, &e) < 0)
        d_member_fail(m, A_REASON_RAY_START_FAILED, &e);
    else
        follow(m);
}

bool d_run_adopt(struct d_member *m)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (!state_read(m))
        return false;
    m->found = true;
    const struct sys_proc_id id = {(pid_t)m->shim_state.shim.pid, m->shim_state.shim.start};
    if (sys_process_adopt(m->agent->loop, &id, shim_ended, m, &m->shim, &e) < 0) {
        m->shim = NULL;
        state_read(m); /* it may have ended just now */
        member_ended(m);
        return true;
    }
    if (d_prepare_document(m, &e) < 0)
        sys_log(WARN, "agent", "member.document", "a member's revision cannot be read again", SYS_ERR(&e));
    follow(m);
    return true;
}

/* ---- stopping ---- */

static void grace_over(void *ctx)
{
    struct d_member *m = ctx;
    if (m->shim == NULL)
        return;
    /* SIGINT: kill all now. A shim that does not do even that is killed, and its namespace with it. */
    int ignored A_UNUSED = sys_process_kill(m->shim, m->term_again ? SIGKILL : SIGINT);
    m->term_again = true;
    sys_timer_set_in(&m->timer, KILL_AGAIN_MS);
}

void d_run_term(struct d_member *m)
{
    if (m->shim == NULL) {
        d_member_clean(m);
        return;
    }
    sys_timer_clear(&m->timer);
    sys_timer_init(&m->timer, m->agent->loop, grace_over, m);
    sys_timer_set_in(&m->timer, m->grace_ms > 0 ? m->grace_ms : GRACE_MS);
    int ignored A_UNUSED = sys_process_kill(m->shim, SIGTERM);
}
