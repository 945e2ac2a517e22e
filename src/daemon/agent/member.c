/* A member's way: its artifacts are fetched, its folder prepared, its shim started and followed, and in the
 * end nothing of it is left. Each step is begun here; what blocks is in prepare.c, what follows the processes
 * in run.c. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "daemon/agent/inside.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/random.h"

static void needs_fetch(struct d_member *m);
static void document_fetch(struct d_member *m);
static void revision_catch_up(struct d_member *m);

struct d_member *d_member_find(struct d_agent *a, uint64_t number)
{
    a_list_foreach (it, &a->members) {
        struct d_member *m = a_list_entry(it, struct d_member, link);
        if (m->number == number)
            return m;
    }
    return NULL;
}

/* ---- states ---- */

A_PRINTF(3, 0)
static void message_set(struct d_member *m, enum a_reason reason, const char *fmt, va_list args)
{
    struct a_buf whole = {0}, cut = {0};
    a_buf_vaddf(&whole, fmt, args);
    wire_text_cut(&cut, a_buf_view(&whole), D_AGENT_MESSAGE_MAX);
    a_buf_deinit(&whole);
    a_free(m->message);
    m->message = a_buf_steal(&cut);
    m->reason = reason;
}

void d_member_set(struct d_member *m, enum a_member_state state, enum a_reason reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    message_set(m, reason, fmt, args);
    va_end(args);
    if ((int)state != m->state.state)
        a_sm_move(&m->state, (int)state, m->key);
    m->since_ms = sys_loop_now_ms(m->agent->loop);
    sys_log_change(INFO, "agent", "member.state", "a member moved", SYS_STR("unit", m->id.unit.s),
                   SYS_STR("member", m->id.member.s), SYS_STR("state", a_member_state_name(state)),
                   SYS_STR("reason", a_reason_name(reason)), SYS_STR("why", m->message));
    d_link_event(m->agent, m, reason, m->message[0] != '\0' ? m->message : a_member_state_name(state));
    d_report_member(m);
}

void d_member_say(struct d_member *m, enum a_reason reason, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    message_set(m, reason, fmt, args);
    va_end(args);
    d_report_member(m);
}

void d_member_fail(struct d_member *m, enum a_reason reason, const struct a_error *error)
{
    m->exited = true;
    m->agent->members_failed++;
    d_member_set(m, A_MEMBER_EXITED, reason, "%s", a_error_text(error));
    d_outbox_add(m);
}

/* ---- making ---- */

/* 8 characters that name the member on this host; the temporary folder must be short. */
static char *temp_path(const struct d_agent *a, const char *key)
{
    return a_asprintf("%s/astra-%08x", a->options.temp_root,
                      (unsigned)(a_hash_str(a_hash_str(0, a->id.s), key) & 0xffffffff));
}

/* What BIND said, out of the claim's payload. */
static bool bind_read(struct d_member *m, const struct sl_claim *c)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_sl_frame frame;
    struct wire_sl_message message;
    struct a_view payload = {c->payload, c->payload_len};
    if (c->payload == NULL || wire_sl_frame_parse(payload, &frame, NULL) != 0 ||
        wire_sl_decode(&frame, &arena, &message, NULL) != 0 || message.type != WIRE_SL_T_BIND)
        return false;
    const struct wire_sl_bind *b = &message.bind;
    m->head = b->role == WIRE_SL_ROLE_HEAD;
    m->head_address = a_view_dup(b->head_address);
    m->head_port = b->head_port;
    m->group = a_view_dup(b->group);
    sys_secret_set(&m->token, b->ray_token);
    return true;
}

static struct d_member *member_new(struct d_agent *a, const struct sl_claim *c)
{
    struct d_member *m = a_new(struct d_member);
    A_BUF_AUTO struct a_buf key = {0};
    a_claim_id_print(&key, &c->id);
    m->agent = a;
    m->number = c->number;
    m->id = c->id;
    m->key = a_buf_steal(&key);
    m->folder = a_asprintf("%s/members/%llu", a->data, (unsigned long long)c->number);
    m->temp = temp_path(a, m->key);
    m->message = a_strdup("");
    m->revision = c->revision;
    m->revision_digest = c->revision_digest;
    m->capacity = c->capacity;
    m->port_first = c->port_first;
    m->since_ms = sys_loop_now_ms(a->loop);
    a_sm_init(&m->state, &a_member_states, A_MEMBER_BOUND);
    if (!d_claims_block(a, c->port_first, &m->block))
        m->block = (struct sys_portblock){0};
    a_list_push_back(&a->members, &m->link);
    return m;
}

void d_member_leave(struct d_member *m)
{
    d_fetch_cancel(m->fetch);
    m->fetch = NULL;
}

void d_member_free(struct d_member *m)
{
    a_assert(!m->job.running);
    d_member_leave(m);
    d_serve_free(m->serve);
    sys_timer_clear(&m->timer);
    if (m->health != NULL)
        net_http_call_cancel(m->health);
    sys_process_close(m->shim);
    sys_portblock_leave(&m->block);
    sys_secret_deinit(&m->token);
    a_error_deinit(&m->job_error);
    a_arena_deinit(&m->arena);
    a_list_remove(&m->link);
    char *const owned[] = {m->key,   m->folder,          m->temp,    m->message, m->head_address,
                           m->group, m->environment_dir, m->code_dir};
    for (size_t i = 0; i < A_ARRAY_SIZE(owned); i++)
        a_free(owned[i]);
    a_free(m->needs);
    a_free(m);
}

/* ---- artifacts ---- */

static void prepare_done(void *ctx, bool cancelled)
{
    struct d_member *m = ctx;
    m->job.running = false;
    if (m->stopping) {
        d_run_term(m);
        return;
    }
    if (cancelled || m->agent->closing)
        return; /* the next agent begins again */
    if (m->job_rc < 0) {
        enum a_code code = m->job_error.code;
        d_member_fail(m,
                      code == A_CODE_ENV_MISMATCH ? A_REASON_ENV_MISMATCH
                      : m->job_rc == -ENOSPC      ? A_REASON_DISK_FULL
                      : code == A_CODE_INVALID    ? A_REASON_UNSUPPORTED
                                                  : A_REASON_UNPACK_FAILED,
                      &m->job_error);
        return;
    }
    d_run_start(m);
    revision_catch_up(m);
}

/* A revision that came while an older one was on its way. */
static void revision_catch_up(struct d_member *m)
{
    if (m->head && !m->exited && !m->stopping && m->fetch == NULL && !m->job.running && m->shim != NULL &&
        !a_digest_equal(&m->document_digest, &m->revision_digest))
        document_fetch(m);
}

static void prepare_begin(struct d_member *m)
{
    if (m->shim != NULL) { /* a new config under a running head: its folder stays as it is */
        d_serve_deploy(m->serve);
        revision_catch_up(m);
        return;
    }
    a_error_deinit(&m->job_error);
    m->job.running = true;
    if (sys_pool_submit(m->agent->io, m->agent->loop, &m->job.work, d_prepare_run, prepare_done, m) == 0)
        return;
    m->job.running = false;
    a_error_set(&m->job_error, A_CODE_UNAVAILABLE, "too much work waits in this agent");
    d_member_fail(m, A_REASON_UNPACK_FAILED, &m->job_error);
}

static void need_fetched(void *ctx, int rc, const struct a_error *error)
{
    struct d_member *m = ctx;
    m->fetch = NULL;
    if (rc < 0) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        a_error_set(&e, error->code, "%s: %s",
                    m->next_need < m->n_needs ? m->needs[m->next_need].name : "revision",
                    a_error_text(error));
        if (m->shim != NULL)
            d_member_say(m, A_REASON_FETCH_FAILED, "%s", a_error_text(&e)); /* what runs, runs on */
        else
            d_member_fail(m, rc == -ENOSPC ? A_REASON_DISK_FULL : A_REASON_FETCH_FAILED, &e);
        return;
    }
    m->next_need++;
    needs_fetch(m);
}

/* One after the other: the connection is the bottleneck, not the order. */
static void needs_fetch(struct d_member *m)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (m->next_need < m->n_needs) {
        const struct d_need *need = &m->needs[m->next_need];
        if (artifact_cache_ref(&m->agent->cache, &need->digest, m->agent->id.s, m->number, &e) < 0)
            d_member_fail(m, A_REASON_DISK_FULL, &e);
        else
            m->fetch = d_fetch_start(m->agent, &need->digest, need_fetched, m);
        return;
    }
    prepare_begin(m);
}

static void document_fetched(void *ctx, int rc, const struct a_error *error)
{
    struct d_member *m = ctx;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    m->fetch = NULL;
    if (rc == 0)
        rc = d_prepare_document(m, &e);
    else
        a_error_set(&e, error->code, "revision: %s", a_error_text(error));
    if (rc == 0)
        needs_fetch(m);
    else if (m->shim != NULL)
        d_member_say(m, A_REASON_FETCH_FAILED, "%s", a_error_text(&e));
    else
        d_member_fail(m, e.code == A_CODE_ENV_MISMATCH ? A_REASON_ENV_MISMATCH : A_REASON_FETCH_FAILED, &e);
}

static void document_fetch(struct d_member *m)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    m->next_need = m->n_needs = 0;
    if (artifact_cache_ref(&m->agent->cache, &m->revision_digest, m->agent->id.s, m->number, &e) < 0)
        d_member_fail(m, A_REASON_DISK_FULL, &e);
    else
        m->fetch = d_fetch_start(m->agent, &m->revision_digest, document_fetched, m);
}

/* ---- starting ---- */

void d_member_start(struct d_agent *a, const struct sl_claim *c)
{
    struct d_member *m = member_new(a, c);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (!bind_read(m, c)) {
        a_error_set(&e, A_CODE_INTERNAL, "what BIND said cannot be read again");
        d_member_fail(m, A_REASON_UNSUPPORTED, &e);
        return;
    }
    if (m->head)
        m->serve = d_serve_new(m);
    if (d_run_adopt(m))
        return;
    if (d_tenant_user(a, &c->app.namespace, &m->uid, &e) < 0) {
        d_member_fail(m, A_REASON_UNSUPPORTED, &e);
        return;
    }
    a->members_started++;
    d_member_set(m, A_MEMBER_FETCHING, A_REASON_NONE, "%s", "");
    document_fetch(m);
}

/* A head takes the new config over; workers only carry the number. */
void d_member_revise(struct d_member *m, const struct sl_claim *c)
{
    m->revision = c->revision;
    m->revision_digest = c->revision_digest;
    revision_catch_up(m);
}

/* ---- stopping ---- */

static void cleaned(void *ctx, bool cancelled)
{
    struct d_member *m = ctx;
    struct d_agent *a = m->agent;
    uint64_t number = m->number;
    m->job.running = false;
    if (cancelled)
        return;
    if (m->job_rc < 0) {
        sys_log(ERROR, "agent", "member.left", "something of a member is left; trying again",
                SYS_STR("unit", m->id.unit.s), SYS_ERR(&m->job_error));
        sys_timer_set_in(&m->timer, 1000);
        return;
    }
    if (m->block.base == 0 && !d_claims_block(a, m->port_first, &m->block))
        m->block = (struct sys_portblock){0};
    sys_portblock_release(&m->block);
    if (m->state.state != A_MEMBER_EXITED)
        d_member_set(m, A_MEMBER_EXITED, A_REASON_REQUESTED, "%s", "");
    if (m->exited)
        d_ended_look(a);
    d_member_free(m);
    d_claims_event(a, &(struct sl_node_event){.kind = SL_NODE_EV_STOPPED, .claim_number = number});
}

static void clean_begin(void *ctx)
{
    struct d_member *m = ctx;
    a_error_deinit(&m->job_error);
    m->job.running = true;
    if (sys_pool_submit(m->agent->io, m->agent->loop, &m->job.work, d_clean_run, cleaned, m) < 0) {
        m->job.running = false;
        sys_timer_set_in(&m->timer, 1000);
    }
}

void d_member_clean(struct d_member *m)
{
    sys_timer_clear(&m->timer);
    sys_timer_init(&m->timer, m->agent->loop, clean_begin, m);
    clean_begin(m);
}

void d_member_stop(struct d_agent *a, const struct sl_claim *c)
{
    struct d_member *m = d_member_find(a, c->number);
    if (m == NULL) { /* the agent came back in the middle of it */
        m = member_new(a, c);
        if (!bind_read(m, c))
            m->head = false;
        d_run_adopt(m);
    }
    if (m->stopping)
        return;
    m->stopping = true;
    d_member_leave(m);
    if (!m->exited)
        d_member_set(m, A_MEMBER_STOPPING, c->release_reason, "%s", "");
    if (m->serve != NULL)
        d_serve_forget(m->serve);
    if (!m->job.running)
        d_run_term(m); /* else prepare_done() comes here */
}

void d_member_kill(struct d_member *m, enum a_reason reason, const char *message)
{
    m->kill_reason = reason;
    d_member_say(m, reason, "%s", message);
    if (m->shim != NULL && sys_process_kill(m->shim, SIGTERM) < 0)
        sys_log(WARN, "agent", "member.kill", "a member could not be told to end",
                SYS_STR("unit", m->id.unit.s));
}
