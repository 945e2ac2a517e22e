/* The last words of members that failed: the last mebibyte of a log goes to the server, so that it can be
 * read when the node is gone.
 *
 * When a member fails, the end of its log is put aside as DATA/outbox/APPUID.UNIT.MEMBER.ATTEMPT.log, and
 * from there it is sent, oldest first and one at a time, over a bulk connection (BULK_LOG with the claim).
 * The server's BULK_END says that it has it on disk; then the file goes. Whatever breaks on the way is tried
 * again, ever later. What the server refuses for good goes after the third time. All of them together are
 * bounded. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "base/text.h"
#include "daemon/agent/inside.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/random.h"

#define WORDS_BYTES (1u << 20)
#define WAITING_MAX 32 /* files; each has WORDS_BYTES at most */
#define QUEUE_BYTES                                                                                          \
    (256u << 10) /* in the link at a time: beats of other nodes have their turn at the server */
#define REFILL_MS 10
#define ANSWER_MS 30000 /* the server writes a mebibyte meanwhile, on a disk that may be busy */
#define AGAIN_MIN_MS 1000
#define AGAIN_MAX_MS 600000 /* a server that knows nothing of this never answers */
#define REFUSED_MAX 3
#define STRAY_MS 60000 /* a file of another name is one of a write that broke off: no write takes so long */
#define TOLD_FILE "outbox" /* in the member's folder, since its last words were put aside */

enum outbox_step { OUTBOX_IDLE, OUTBOX_LOOK, OUTBOX_DIAL, OUTBOX_SEND, OUTBOX_ANSWER, OUTBOX_PAUSE };

struct d_outbox {
    struct d_agent *agent;
    struct a_random random;
    enum outbox_step step;
    struct sys_timer timer;
    struct d_job look;
    bool more; /* something was put aside while the pool looked */
    char *dir;
    char *name;  /* what is being sent; NULL: nothing */
    char *gone;  /* to be removed at the next look; NULL: nothing */
    size_t over; /* that the last look removed: there were too many */
    struct a_claim_id claim;
    struct a_buf text;
    size_t sent;
    unsigned failures, refusals; /* in a row; of this file */
    struct net_stream *stream;   /* until it is a link */
    struct net_link *bulk;
};

static void look_begin(struct d_outbox *o);

static void wake(struct d_outbox *o)
{
    o->more = true;
    if (o->step == OUTBOX_IDLE && o->agent->attached && !o->agent->closing)
        look_begin(o);
}

/* ---- putting aside ---- */

/* The end of the log, from the beginning of a line where it is cut; of the piece before, too, when the last
 * one was begun a moment ago. */
static int words_read(const struct d_member *m, struct a_buf *ret_text)
{
    A_AUTOFREE char *path = sys_path_join(m->folder, D_SHIM_LOG_FILE);
    A_AUTOFREE char *before = a_asprintf("%s.1", path);
    A_BUF_AUTO struct a_buf last = {0};
    struct sys_file_facts facts = {0}, older = {0};
    int rc = sys_file_read_part(path, SYS_FILE_TAIL, WORDS_BYTES, &last, &facts, NULL);
    if (rc == 0 && last.len < WORDS_BYTES && sys_file_exists(before))
        rc = sys_file_read_part(before, SYS_FILE_TAIL, WORDS_BYTES - last.len, ret_text, &older, NULL);
    a_buf_add_view(ret_text, a_buf_view(&last));
    if (rc == 0 && facts.size + older.size > ret_text->len) {
        const char *end = memchr(ret_text->ptr, '\n', ret_text->len);
        size_t cut = end != NULL ? (size_t)(end - (const char *)ret_text->ptr) + 1 : 0;
        a_buf_consume(ret_text, cut < ret_text->len ? cut : 0);
    }
    return rc;
}

static void words_run(void *ctx)
{
    struct d_member *m = ctx;
    A_AUTOFREE char *told = sys_path_join(m->folder, TOLD_FILE);
    A_AUTOFREE char *path = a_asprintf("%s/outbox/%s.%s.%s.%u.log", m->agent->data, m->id.app_uid.s,
                                       m->id.unit.s, m->id.member.s, m->id.attempt);
    A_AUTOFREE char *dir = sys_path_join(m->agent->data, "outbox");
    A_BUF_AUTO struct a_buf text = {0};
    m->job_rc = 0;
    if (sys_file_exists(told) || words_read(m, &text) < 0 || text.len == 0)
        return;
    m->job_rc = sys_dir_make(dir, 0700, &m->job_error);
    if (m->job_rc == 0)
        m->job_rc = sys_file_write_atomic(path, text.ptr, text.len, 0600, &m->job_error);
    if (m->job_rc == 0) {
        int ignored A_UNUSED = sys_file_write_atomic(told, "", 0, 0600, NULL); /* else it is sent twice */
    }
}

static void words_done(void *ctx, bool cancelled)
{
    struct d_member *m = ctx;
    m->job.running = false;
    if (cancelled)
        return; /* the next agent finds the member as it is */
    if (m->job_rc < 0) {
        m->agent->logs_dropped++;
        sys_log(WARN, "agent", "outbox.add", "the last words of a failed member are lost to the server",
                SYS_STR("unit", m->id.unit.s), SYS_ERR(&m->job_error));
    }
    wake(m->agent->outbox);
    if (m->stopping)
        d_run_term(m);
}

void d_outbox_add(struct d_member *m)
{
    A_AUTOFREE char *path = sys_path_join(m->folder, D_SHIM_LOG_FILE);
    if (m->stopping || m->job.running || d_ended_keep_s(m) == 0 || !sys_file_exists(path))
        return;
    a_error_deinit(&m->job_error);
    m->job.running = true;
    if (sys_pool_submit(m->agent->io, m->agent->loop, &m->job.work, words_run, words_done, m) < 0) {
        m->job.running = false;
        m->agent->logs_dropped++;
    }
}

/* ---- looking for the next one ---- */

struct listing {
    struct d_outbox *outbox;
    char *oldest; /* name */
    uint64_t oldest_ms;
    size_t n;
};

/* APPUID.UNIT.MEMBER.ATTEMPT.log */
static bool name_parse(const char *name, struct a_claim_id *ret)
{
    struct a_view rest = a_view_str(name);
    uint64_t attempt;
    if (!a_uuid_parse(a_view_split(rest, '.', &rest), &ret->app_uid) ||
        !a_unit_name_parse(a_view_split(rest, '.', &rest), &ret->unit) ||
        !a_name_parse(a_view_split(rest, '.', &rest), &ret->member) ||
        !a_text_u64(a_view_split(rest, '.', &rest), &attempt) || attempt > UINT32_MAX ||
        !a_view_is(rest, "log"))
        return false;
    ret->attempt = (uint32_t)attempt;
    return true;
}

static void file_remove(const struct d_outbox *o, const char *name)
{
    A_AUTOFREE char *path = sys_path_join(o->dir, name);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (sys_file_remove(path, &e) < 0)
        sys_log(WARN, "agent", "outbox.remove", "a log that was sent, or is one too many, stays",
                SYS_ERR(&e));
}

static int file_look(void *ctx, const char *name, bool is_dir)
{
    struct listing *l = ctx;
    A_AUTOFREE char *path = sys_path_join(l->outbox->dir, name);
    struct a_claim_id claim;
    struct sys_stat st;
    if (is_dir || sys_file_stat(path, &st, NULL) < 0)
        return 0;
    if (!name_parse(name, &claim)) {
        if (st.mtime_ms + STRAY_MS < sys_clock_wall_ms())
            file_remove(l->outbox, name);
        return 0;
    }
    l->n++;
    if (l->oldest == NULL || st.mtime_ms < l->oldest_ms) {
        a_free(l->oldest);
        l->oldest = a_strdup(name);
        l->oldest_ms = st.mtime_ms;
    }
    return 0;
}

/* The oldest, when there are not too many; and those that are go. */
static char *oldest_find(struct d_outbox *o)
{
    for (;;) {
        struct listing l = {.outbox = o};
        int ignored A_UNUSED = sys_file_exists(o->dir) ? sys_dir_list(o->dir, file_look, &l, NULL) : 0;
        if (l.n <= WAITING_MAX)
            return l.oldest;
        file_remove(o, l.oldest);
        a_free(l.oldest);
        o->over++;
    }
}

static void look_run(void *ctx)
{
    struct d_outbox *o = ctx;
    if (o->gone != NULL)
        file_remove(o, o->gone);
    a_free(a_steal(&o->gone));
    a_free(a_steal(&o->name));
    a_buf_deinit(&o->text);
    o->over = 0;
    for (char *name; (name = oldest_find(o)) != NULL;) {
        A_AUTOFREE char *path = sys_path_join(o->dir, name);
        if (name_parse(name, &o->claim) && sys_file_read(path, WORDS_BYTES, &o->text, NULL) == 0 &&
            o->text.len > 0) {
            o->name = name;
            return;
        }
        file_remove(o, name); /* empty, or too large: not as we wrote it */
        a_free(name);
        a_buf_deinit(&o->text);
    }
}

/* ---- sending ---- */

static void connection_close(struct d_outbox *o)
{
    sys_timer_clear(&o->timer);
    net_stream_close(o->stream);
    o->stream = NULL;
    net_link_close(o->bulk);
    o->bulk = NULL;
}

static void again_later(struct d_outbox *o, const char *why)
{
    sys_log(INFO, "agent", "outbox.again", "the server has not taken a failed member's log yet",
            SYS_STR("unit", o->claim.unit.s), SYS_STR("why", why));
    connection_close(o);
    o->step = OUTBOX_PAUSE;
    sys_timer_set_in(&o->timer, net_backoff_ms(&o->random, o->failures++, AGAIN_MIN_MS, AGAIN_MAX_MS));
}

/* Of this one nothing more is to be done. */
static void next(struct d_outbox *o)
{
    connection_close(o);
    o->gone = a_steal(&o->name);
    o->refusals = 0;
    look_begin(o);
}

static void refused(struct d_outbox *o, enum a_code code, const char *why)
{
    bool for_good = code == A_CODE_FORBIDDEN || code == A_CODE_INVALID || code == A_CODE_NOT_FOUND;
    if (!for_good || ++o->refusals < REFUSED_MAX) {
        again_later(o, why);
        return;
    }
    o->agent->logs_dropped++;
    sys_log(WARN, "agent", "outbox.refused", "the server does not take a failed member's log",
            SYS_STR("unit", o->claim.unit.s), SYS_STR("why", why));
    next(o);
}

static void answer_take(struct d_outbox *o, const struct wire_sl_bulk_end *m)
{
    A_AUTOFREE char *code = a_view_dup(m->code);
    A_AUTOFREE char *message = a_view_dup(m->message);
    if (!m->ok) {
        refused(o, a_code_parse(code), message);
        return;
    }
    o->agent->logs_sent++;
    o->failures = 0;
    next(o);
}

static void message_take(void *ctx, struct net_link *l, const struct wire_sl_message *m)
{
    struct d_outbox *o = ctx;
    (void)l;
    if (m->type == WIRE_SL_T_BULK_END) {
        answer_take(o, &m->bulk_end);
    } else if (m->type == WIRE_SL_T_REFUSED) {
        A_AUTOFREE char *message = a_view_dup(m->refused.message);
        again_later(o, message);
    }
}

static void bulk_closed(void *ctx, struct net_link *l, int rc, const char *why)
{
    struct d_outbox *o = ctx;
    (void)l;
    (void)rc;
    o->bulk = NULL;
    again_later(o, why);
}

static const struct net_link_ops bulk_ops = {.message = message_take, .closed = bulk_closed};

static int head_send(struct d_outbox *o)
{
    struct wire_sl_message hello = {.type = WIRE_SL_T_HELLO}, log = {.type = WIRE_SL_T_BULK_LOG};
    hello.hello.protocol_min = WIRE_SL_PROTOCOL_MIN;
    hello.hello.protocol_max = WIRE_SL_PROTOCOL;
    hello.hello.peer = WIRE_SL_PEER_BULK;
    hello.hello.node = o->agent->id;
    log.bulk_log.claim = o->claim;
    log.bulk_log.bytes = o->text.len;
    int rc = net_link_send(o->bulk, &hello, NULL);
    return rc < 0 ? rc : net_link_send(o->bulk, &log, NULL);
}

static void pump(struct d_outbox *o)
{
    struct a_view all = a_buf_view(&o->text);
    struct wire_sl_message m = {.type = WIRE_SL_T_BULK_DATA};
    int rc = 0;
    while (rc == 0 && o->sent < all.len && net_link_queued(o->bulk) < QUEUE_BYTES) {
        size_t n = A_MIN(all.len - o->sent, (size_t)WIRE_SL_BULK_CHUNK);
        m.bulk_data.bytes = (struct a_view){all.ptr + o->sent, n};
        rc = net_link_send(o->bulk, &m, NULL);
        o->sent += n;
    }
    if (rc == 0 && o->sent < all.len) {
        sys_timer_set_in(&o->timer, REFILL_MS);
        return;
    }
    m = (struct wire_sl_message){.type = WIRE_SL_T_BULK_END};
    m.bulk_end.ok = true;
    m.bulk_end.total_bytes = all.len;
    if (rc == 0)
        rc = net_link_send(o->bulk, &m, NULL);
    if (rc < 0) {
        again_later(o, "the connection takes no more");
        return;
    }
    o->step = OUTBOX_ANSWER;
    sys_timer_set_in(&o->timer, ANSWER_MS);
}

static void connected(void *ctx, int rc, const char *why)
{
    struct d_outbox *o = ctx;
    if (rc == 0) {
        o->bulk = net_link_new(a_steal(&o->stream), &bulk_ops, o);
        rc = head_send(o);
    }
    if (rc < 0) {
        A_AUTOFREE char *words = a_strdup(why != NULL ? why : "the connection takes nothing");
        again_later(o, words);
        return;
    }
    o->step = OUTBOX_SEND;
    o->sent = 0;
    pump(o);
}

static void dial(struct d_outbox *o)
{
    struct d_agent *a = o->agent;
    const struct net_connect_options options = {
        .host = a->server_host, .port = a->server_port, .dns = a->dns, .tls = a->identity.tls};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    o->step = OUTBOX_DIAL;
    if (net_stream_connect(a->loop, &options, connected, o, &o->stream, &e) < 0)
        again_later(o, a_error_text(&e));
}

static void look_done(void *ctx, bool cancelled)
{
    struct d_outbox *o = ctx;
    struct d_agent *a = o->agent;
    o->look.running = false;
    o->step = OUTBOX_IDLE;
    if (o->over > 0) {
        a->logs_dropped += o->over;
        sys_log(WARN, "agent", "outbox.full", "too many logs of failed members wait: the oldest went",
                SYS_U64("logs", o->over));
    }
    if (cancelled || a->closing || !a->attached)
        return;
    if (o->name != NULL)
        dial(o);
    else if (o->more)
        look_begin(o);
}

static void look_begin(struct d_outbox *o)
{
    struct d_agent *a = o->agent;
    o->step = OUTBOX_LOOK;
    o->more = false;
    o->look.running = true;
    if (sys_pool_submit(a->io, a->loop, &o->look.work, look_run, look_done, o) < 0) {
        o->look.running = false;
        again_later(o, "too much work waits in this agent");
    }
}

static void timer_fire(void *ctx)
{
    struct d_outbox *o = ctx;
    if (o->step == OUTBOX_SEND)
        pump(o);
    else if (o->step == OUTBOX_PAUSE) {
        o->step = OUTBOX_IDLE;
        wake(o);
    } else
        again_later(o, "no answer for a while");
}

/* ---- start and end ---- */

void d_outbox_start(struct d_agent *a)
{
    struct d_outbox *o = a_new(struct d_outbox);
    o->agent = a;
    o->dir = sys_path_join(a->data, "outbox");
    a_random_init(&o->random, sys_random_seed());
    sys_timer_init(&o->timer, a->loop, timer_fire, o);
    a->outbox = o;
}

void d_outbox_attached(struct d_agent *a)
{
    struct d_outbox *o = a->outbox;
    o->failures = 0;
    if (o->step == OUTBOX_PAUSE) {
        sys_timer_clear(&o->timer);
        o->step = OUTBOX_IDLE;
    }
    wake(o);
}

bool d_outbox_is_working(const struct d_agent *a)
{
    return a->outbox != NULL && a->outbox->look.running;
}

void d_outbox_stop(struct d_agent *a)
{
    if (a->outbox != NULL)
        connection_close(a->outbox);
}

void d_outbox_free(struct d_agent *a)
{
    struct d_outbox *o = a->outbox;
    a->outbox = NULL;
    if (o == NULL)
        return;
    connection_close(o);
    a_buf_deinit(&o->text);
    a_free(o->dir);
    a_free(o->name);
    a_free(o->gone);
    a_free(o);
}
