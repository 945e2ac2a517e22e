/* Fetching an artifact into the cache over a connection of its own, so that gigabytes never delay a
 * heartbeat.
 *
 * The agent dials, says HELLO as BULK, and BULK_GET with the offset that it has already.
 * What arrives is gathered to a mebibyte, written in the io pool while the connection pauses, hashed at the
 * end, and only then becomes the blob. A server that is away is dialled again for as long as somebody waits;
 * bytes that are not what their digest says are fetched once more, then it is an error. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/agent/inside.h"
#include "sys/file.h"
#include "sys/log.h"

#define PIECE_BYTES (1 << 20)
#define AGAIN_MS 1000
#define LOCKED_MS 200 /* another member, or agent of this host, fetches the same: look again */
#define CORRUPT_MAX 2 /* deliveries of wrong bytes until it is an error */
#define IDLE_MS 30000 /* a connection that brings nothing for so long is given up */

enum fetch_step { FETCH_LOCK, FETCH_DIAL, FETCH_ARRIVE, FETCH_PAUSE };

struct d_fetch {
    struct a_list link; /* d_agent.fetches */
    struct d_agent *agent;
    struct a_digest digest;
    void (*done)(void *ctx, int rc, const struct a_error *error);
    void *ctx;
    enum fetch_step step;
    bool cancelled; /* goes away when its work has ended */
    int lock_fd, part_fd;
    uint64_t offset;
    struct a_buf piece, writing; /* gathered; and what the pool writes */
    bool ended;                  /* BULK_END came */
    unsigned corrupt;
    struct net_stream *stream; /* until it is a link */
    struct net_link *bulk;
    struct d_job job;
    int rc;
    struct a_error error;
    struct sys_timer timer;
};

static void connection_close(struct d_fetch *f)
{
    sys_timer_clear(&f->timer);
    net_stream_close(f->stream);
    f->stream = NULL;
    net_link_close(f->bulk);
    f->bulk = NULL;
}

/* No work of ours is in the pool. */
static void part_close(struct d_fetch *f)
{
    sys_fd_close(f->part_fd);
    f->part_fd = -1;
    a_buf_reset(&f->piece);
    f->ended = false;
}

static void fetch_free(struct d_fetch *f)
{
    connection_close(f);
    part_close(f);
    sys_fd_close(f->lock_fd);
    a_buf_deinit(&f->piece);
    a_buf_deinit(&f->writing);
    a_error_deinit(&f->error);
    a_list_remove(&f->link);
    a_free(f);
}

static void fetch_end(struct d_fetch *f, int rc)
{
    connection_close(f);
    part_close(f);
    sys_fd_close(f->lock_fd);
    f->lock_fd = -1;
    f->done(f->ctx, rc, &f->error);
    fetch_free(f);
}

static void pause_for(struct d_fetch *f, uint64_t ms)
{
    connection_close(f);
    part_close(f);
    f->step = FETCH_PAUSE;
    sys_timer_set_in(&f->timer, ms);
}

static void again_later(struct d_fetch *f, const char *why)
{
    sys_log(INFO, "agent", "fetch.again", "an artifact is not there yet", SYS_STR("why", why));
    pause_for(f, AGAIN_MS);
}

/* Starts `work` in a pool; `done` begins with job_wanted(). */
static void job_start(struct d_fetch *f, struct sys_pool *pool, void (*work)(void *),
                      void (*done)(void *, bool))
{
    f->job.running = true;
    if (sys_pool_submit(pool, f->agent->loop, &f->job.work, work, done, f) < 0) {
        f->job.running = false;
        again_later(f, "too much work waits");
    }
}

/* True when the fetch still wants what its work brought. */
static bool job_wanted(struct d_fetch *f, bool cancelled)
{
    f->job.running = false;
    if (!f->cancelled && !cancelled)
        return true;
    if (f->cancelled)
        fetch_free(f);
    return false;
}

static void begin(struct d_fetch *f);

static void timer_fire(void *ctx)
{
    struct d_fetch *f = ctx;
    if (f->step == FETCH_PAUSE)
        begin(f);
    else
        again_later(f, "nothing came for a while");
}

/* ---- commit ---- */

static void commit_run(void *ctx)
{
    struct d_fetch *f = ctx;
    f->rc = artifact_cache_commit(&f->agent->cache, &f->digest, &f->error);
}

static void commit_done(void *ctx, bool cancelled)
{
    struct d_fetch *f = ctx;
    if (!job_wanted(f, cancelled))
        return;
    if (f->rc == -EBADMSG && ++f->corrupt < CORRUPT_MAX) {
        again_later(f, a_error_text(&f->error));
        return;
    }
    fetch_end(f, f->rc);
}

/* ---- arriving ---- */

static void write_run(void *ctx)
{
    struct d_fetch *f = ctx;
    f->rc = sys_fd_write_full(f->part_fd, f->writing.ptr, f->writing.len);
}

static void write_done(void *ctx, bool cancelled);

/* What was gathered goes to the pool, and the connection rests meanwhile. */
static void piece_write(struct d_fetch *f)
{
    struct a_buf empty = f->writing;
    if (f->job.running)
        return; /* frames that came in spite of the pause: they go with the next piece */
    sys_timer_clear(&f->timer);
    if (f->bulk != NULL)
        net_link_pause(f->bulk);
    f->writing = f->piece;
    f->piece = empty;
    a_buf_reset(&f->piece);
    job_start(f, f->agent->io, write_run, write_done);
}

static void write_done(void *ctx, bool cancelled)
{
    struct d_fetch *f = ctx;
    if (!job_wanted(f, cancelled))
        return;
    if (f->rc < 0) {
        fetch_end(f, a_fail_errno(&f->error, f->rc, "write an artifact"));
    } else if (f->piece.len >= PIECE_BYTES || (f->ended && f->piece.len > 0)) {
        piece_write(f);
    } else if (f->ended) {
        connection_close(f);
        part_close(f);
        job_start(f, f->agent->hash, commit_run, commit_done);
    } else if (f->bulk == NULL) {
        again_later(f, "the connection was lost");
    } else {
        sys_timer_set_in(&f->timer, IDLE_MS);
        net_link_resume(f->bulk);
    }
}

static void end_take(struct d_fetch *f, const struct wire_sl_bulk_end *m)
{
    if (m->ok || f->job.running) { /* told in the middle of a write: what is there is hashed, and is wrong */
        f->ended = true;
        piece_write(f);
        return;
    }
    A_AUTOFREE char *code = a_view_dup(m->code);
    A_AUTOFREE char *message = a_view_dup(m->message);
    enum a_code known = a_code_parse(code);
    a_error_set(&f->error, known != A_CODE_INTERNAL ? known : A_CODE_ARTIFACT_FETCH, "%s", message);
    fetch_end(f, -EREMOTEIO);
}

static void message_take(void *ctx, struct net_link *l, const struct wire_sl_message *m)
{
    struct d_fetch *f = ctx;
    (void)l;
    if (m->type == WIRE_SL_T_BULK_DATA) {
        a_buf_add_view(&f->piece, m->bulk_data.bytes);
        sys_timer_set_in(&f->timer, IDLE_MS);
        if (f->piece.len >= PIECE_BYTES)
            piece_write(f);
    } else if (m->type == WIRE_SL_T_BULK_END) {
        end_take(f, &m->bulk_end);
    } else if (m->type == WIRE_SL_T_REFUSED) {
        A_AUTOFREE char *message = a_view_dup(m->refused.message);
        again_later(f, message);
    }
}

static void bulk_closed(void *ctx, struct net_link *l, int rc, const char *why)
{
    struct d_fetch *f = ctx;
    (void)l;
    (void)rc;
    f->bulk = NULL;
    if (!f->job.running)
        again_later(f, why);
}

static const struct net_link_ops bulk_ops = {.message = message_take, .closed = bulk_closed};

/* ---- asking ---- */

static int part_open(struct d_fetch *f, struct a_error *reterr)
{
    A_AUTOFREE char *part = artifact_cache_part(&f->agent->cache, &f->digest);
    struct sys_stat st;
    int rc = sys_file_append_open(part, 0600, &f->part_fd, reterr);
    if (rc == 0)
        rc = sys_file_stat(part, &st, reterr);
    if (rc == 0)
        f->offset = st.size;
    return rc;
}

static void connected(void *ctx, int rc, const char *why)
{
    struct d_fetch *f = ctx;
    struct d_agent *a = f->agent;
    struct wire_sl_message hello = {.type = WIRE_SL_T_HELLO}, get = {.type = WIRE_SL_T_BULK_GET};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (rc == 0) {
        f->bulk = net_link_new(a_steal(&f->stream), &bulk_ops, f);
        rc = part_open(f, &e);
    }
    if (rc < 0) {
        A_AUTOFREE char *words = a_strdup(why != NULL ? why : a_error_text(&e));
        again_later(f, words);
        return;
    }
    hello.hello.protocol_min = WIRE_SL_PROTOCOL_MIN;
    hello.hello.protocol_max = WIRE_SL_PROTOCOL;
    hello.hello.peer = WIRE_SL_PEER_BULK;
    hello.hello.node = a->id;
    get.bulk_get.digest = f->digest;
    get.bulk_get.offset = f->offset;
    if (net_link_send(f->bulk, &hello, &e) < 0 || net_link_send(f->bulk, &get, &e) < 0) {
        again_later(f, a_error_text(&e));
        return;
    }
    f->step = FETCH_ARRIVE;
    sys_timer_set_in(&f->timer, IDLE_MS);
}

static void dial(struct d_fetch *f)
{
    struct d_agent *a = f->agent;
    const struct net_connect_options options = {
        .host = a->server_host, .port = a->server_port, .dns = a->dns, .tls = a->identity.tls};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    f->step = FETCH_DIAL;
    if (net_stream_connect(a->loop, &options, connected, f, &f->stream, &e) < 0)
        again_later(f, a_error_text(&e));
}

static void lock_run(void *ctx)
{
    struct d_fetch *f = ctx;
    const struct artifact_cache *cache = &f->agent->cache;
    f->rc = 0;
    if (f->lock_fd < 0 && !artifact_cache_has(cache, &f->digest))
        f->rc = artifact_cache_lock(cache, &f->digest, 0, &f->lock_fd, &f->error);
}

static void lock_done(void *ctx, bool cancelled)
{
    struct d_fetch *f = ctx;
    if (!job_wanted(f, cancelled))
        return;
    if (f->rc == -ETIMEDOUT)
        pause_for(f, LOCKED_MS);
    else if (f->rc < 0 || artifact_cache_has(&f->agent->cache, &f->digest))
        fetch_end(f, f->rc);
    else
        dial(f);
}

static void begin(struct d_fetch *f)
{
    f->step = FETCH_LOCK;
    job_start(f, f->agent->io, lock_run, lock_done);
}

struct d_fetch *d_fetch_start(struct d_agent *a, const struct a_digest *digest,
                              void (*done)(void *ctx, int rc, const struct a_error *error), void *ctx)
{
    struct d_fetch *f = a_new(struct d_fetch);
    f->agent = a;
    f->digest = *digest;
    f->done = done;
    f->ctx = ctx;
    f->lock_fd = f->part_fd = -1;
    a_list_push_back(&a->fetches, &f->link);
    sys_timer_init(&f->timer, a->loop, timer_fire, f);
    begin(f);
    return f;
}

void d_fetch_cancel(struct d_fetch *f)
{
    if (f == NULL)
        return;
    connection_close(f);
    f->cancelled = true;
    if (!f->job.running)
        fetch_free(f);
}
