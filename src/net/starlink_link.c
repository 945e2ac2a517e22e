/* A link: frames in, frames out. Whatever a link tells its owner is told from the loop: a send that meets a
 * broken connection only notes it, and the deferred flush tells. */
#include "net/starlink.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define LINK_MAGIC A_MAGIC('L', 'I', 'N', 'K')
#define FLUSH_AT (64u * 1024u) /* so much leaves at once, not at the end of the round */
#define STREAM_HIGH (64u * 1024u)
#define KEEPALIVE_S 15 /* finds hosts that vanished; whether the peer lives is seen by its beats */
#define LINGER_MS 1000
#define ARENA_KEEP (64u * 1024u)

struct net_link {
    uint32_t magic;
    struct net_stream *stream; /* NULL once closing */
    const struct net_link_ops *ops;
    void *ctx;
    struct a_buf in;  /* the beginning of a frame whose end has not come */
    struct a_buf out; /* frames of this round */
    struct a_arena arena;
    struct sys_defer flush;
    struct net_link_stats stats;
    bool full;      /* sends are refused until resync */
    bool ended;     /* closed was told or asked for */
    unsigned depth; /* of callbacks under way: the memory stays until they return */
    int broken;     /* -errno of a write that failed */
};

static void link_release(struct net_link *l)
{
    sys_defer_cancel(&l->flush);
    net_stream_close(l->stream);
    l->stream = NULL;
    if (l->depth != 0)
        return;
    a_buf_deinit(&l->in);
    a_buf_deinit(&l->out);
    a_arena_deinit(&l->arena);
    a_free(l);
}

/* Tells the owner that the link is over; the last thing done with it. */
static void link_end(struct net_link *l, int rc, const char *why)
{
    if (l->ended)
        return;
    l->ended = true;
    l->depth++;
    if (l->ops != NULL)
        l->ops->closed(l->ctx, l, rc, why);
    l->depth--;
    link_release(l);
}

/* --- out --- */

static void link_tell_room(struct net_link *l)
{
    if (!l->full || l->ended || l->out.len != 0 || net_stream_is_full(l->stream))
        return;
    l->full = false;
    if (l->ops == NULL || l->ops->resync == NULL)
        return;
    l->depth++;
    l->ops->resync(l->ctx, l);
    l->depth--;
    if (l->ended && l->depth == 0)
        link_release(l);
}

/* Gives the buffer to the stream. */
static void link_write(struct net_link *l)
{
    if (l->out.len == 0 || l->broken != 0)
        return;
    int rc = net_stream_write(l->stream, l->out.ptr, l->out.len);
    if (rc != 0)
        l->broken = rc;
    if (l->out.cap > FLUSH_AT)
        a_buf_deinit(&l->out);
    a_buf_reset(&l->out);
}

static void link_flush_deferred(void *ctx)
{
    struct net_link *l = A_CAST(struct net_link, ctx, LINK_MAGIC);
    char why[128];
    link_write(l);
    if (l->broken != 0)
        link_end(l, l->broken, strerror_r(-l->broken, why, sizeof why));
    else
        link_tell_room(l);
}

static void link_flush_later(struct net_link *l)
{
    sys_defer_call(net_stream_loop(l->stream), &l->flush, link_flush_deferred, l);
}

void net_link_flush(struct net_link *l)
{
    link_write(l);
    if (l->broken != 0 || l->full)
        link_flush_later(l);
}

size_t net_link_queued(const struct net_link *l)
{
    return l->ended ? 0 : l->out.len + net_stream_queued(l->stream);
}

/* Room for `n` more bytes; refuses until resync once there was none. */
static int link_admit(struct net_link *l, size_t n)
{
    if (l->ended || l->broken != 0)
        return -EPIPE;
    if (!l->full && net_link_queued(l) + n <= NET_LINK_QUEUE_MAX)
        return 0;
    l->full = true;
    l->stats.refused++;
    link_flush_later(l);
    return -ENOBUFS;
}

static void link_sent(struct net_link *l, uint64_t frames, size_t bytes)
{
    l->stats.frames_out += frames;
    l->stats.bytes_out += bytes;
    if (l->out.len >= FLUSH_AT)
        net_link_flush(l);
    if (l->out.len != 0)
        link_flush_later(l);
}

int net_link_send(struct net_link *l, const struct wire_sl_message *m, struct a_error *reterr)
{
    size_t before = l->out.len;
    int rc = link_admit(l, WIRE_SL_FRAME_MAX);
    if (rc != 0)
        return a_fail_errno(reterr, rc, "cannot send %s", wire_sl_type_name((unsigned)m->type));
    rc = wire_sl_encode(&l->out, m, reterr);
    if (rc != 0)
        return rc > 0 ? -EMSGSIZE : rc;
    link_sent(l, 1, l->out.len - before);
    return 0;
}

int net_link_send_frames(struct net_link *l, struct a_view frames)
{
    int rc = link_admit(l, frames.len);
    if (rc != 0)
        return rc;
    uint64_t n = 0;
    struct wire_sl_frame frame;
    for (struct a_view rest = frames; wire_sl_frame_parse(rest, &frame, NULL) == 0; n++)
        rest = (struct a_view){rest.ptr + frame.size, rest.len - frame.size};
    a_buf_add_view(&l->out, frames);
    if (l->out.failed) {
        l->out.failed = false;
        return -ENOMEM;
    }
    link_sent(l, n, frames.len);
    return 0;
}

/* --- in --- */

/* Says why to the peer and to the owner. */
static void link_reject(struct net_link *l, int rc, const struct a_error *e)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_REFUSED};
    m.refused.code = a_view_str(a_code_name(e->code));
    m.refused.message = a_view_str(a_error_text(e));
    if (net_link_send(l, &m, NULL) == 0)
        link_write(l);
    net_stream_close_soft(a_steal(&l->stream), LINGER_MS);
    link_end(l, rc, a_error_text(e));
}

static bool frame_take(struct net_link *l, const struct wire_sl_frame *frame)
{
    struct wire_sl_message m;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int rc = wire_sl_decode(frame, &l->arena, &m, &e);
    l->stats.frames_in++;
    if (rc == 0)
        l->ops->message(l->ctx, l, &m);
    else if (rc == WIRE_E_UNKNOWN)
        l->stats.unknown++;
    else {
        l->stats.malformed += rc != WIRE_E_UNSUPPORTED;
        link_reject(l, rc == WIRE_E_UNSUPPORTED ? -EPROTONOSUPPORT : rc < 0 ? rc : -EPROTO, &e);
    }
    if (l->arena.used > ARENA_KEEP)
        a_arena_deinit(&l->arena);
    else
        a_arena_reset(&l->arena);
    return !l->ended;
}

/* Takes whole frames off the front; how many bytes that were. */
static size_t frames_take(struct net_link *l, struct a_view bytes)
{
    size_t used = 0;
    for (;;) {
        struct wire_sl_frame frame;
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        int rc = wire_sl_frame_parse((struct a_view){bytes.ptr + used, bytes.len - used}, &frame, &e);
        if (rc == WIRE_E_MORE)
            return used;
        if (rc != 0) {
            l->stats.malformed++;
            link_reject(l, rc == WIRE_E_TOO_LARGE ? -EMSGSIZE : -EPROTO, &e);
            return used;
        }
        used += frame.size;
        if (!frame_take(l, &frame))
            return used;
    }
}

static void link_read(void *ctx, struct a_view bytes)
{
    struct net_link *l = A_CAST(struct net_link, ctx, LINK_MAGIC);
    bool joined = l->in.len != 0;
    a_assert(l->ops != NULL);
    l->stats.bytes_in += bytes.len;
    if (joined)
        a_buf_add_view(&l->in, bytes);
    l->depth++;
    size_t used = frames_take(l, joined ? a_buf_view(&l->in) : bytes);
    l->depth--;
    if (l->ended) {
        if (l->depth == 0)
            link_release(l);
        return;
    }
    if (joined)
        a_buf_consume(&l->in, used);
    else
        a_buf_add(&l->in, bytes.ptr + used, bytes.len - used);
    if (l->in.failed)
        link_end(l, -ENOMEM, "out of memory");
}

static void link_eof(void *ctx)
{
    struct net_link *l = A_CAST(struct net_link, ctx, LINK_MAGIC);
    if (l->in.len == 0)
        link_end(l, 0, "the peer closed the connection");
    else
        link_end(l, -ENODATA, "the peer closed the connection inside a frame");
}

static void link_error(void *ctx, int rc)
{
    char why[128];
    link_end(A_CAST(struct net_link, ctx, LINK_MAGIC), rc, strerror_r(-rc, why, sizeof why));
}

static void link_drain(void *ctx)
{
    link_tell_room(A_CAST(struct net_link, ctx, LINK_MAGIC));
}

static const struct sys_stream_ops stream_ops = {
    .read = link_read,
    .eof = link_eof,
    .error = link_error,
    .drain = link_drain,
};

/* --- from beginning to end --- */

struct net_link *net_link_new(struct net_stream *stream, const struct net_link_ops *ops, void *ctx)
{
    struct net_link *l = a_new(struct net_link);
    l->magic = LINK_MAGIC;
    l->stream = stream;
    l->ops = ops;
    l->ctx = ctx;
    l->in.max = WIRE_SL_FRAME_MAX + 256u * 1024u; /* a frame's beginning and one read of the stream */
    net_stream_set_ops(stream, &stream_ops, l);
    net_stream_set_limits(stream,
                          &(struct sys_stream_limits){.limit = 2 * NET_LINK_QUEUE_MAX, .high = STREAM_HIGH});
    sys_stream_set_keepalive(net_stream_raw(stream), KEEPALIVE_S);
    net_stream_read_start(stream);
    return l;
}

void net_link_set_ops(struct net_link *l, const struct net_link_ops *ops, void *ctx)
{
    l->ops = ops;
    l->ctx = ctx;
}

void net_link_close(struct net_link *l)
{
    if (l == NULL || l->ended)
        return;
    link_write(l);
    l->ended = true;
    net_stream_close_soft(a_steal(&l->stream), LINGER_MS);
    link_release(l);
}

void net_link_refuse(struct net_link *l, enum a_code code, const char *message)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_REFUSED};
    m.refused.code = a_view_str(a_code_name(code));
    m.refused.message = a_view_str(message);
    (void)!net_link_send(l, &m, NULL);
    net_link_close(l);
}

void net_link_pause(struct net_link *l)
{
    if (!l->ended)
        net_stream_read_stop(l->stream);
}

void net_link_resume(struct net_link *l)
{
    if (!l->ended)
        net_stream_read_start(l->stream);
}

struct net_stream *net_link_stream(const struct net_link *l)
{
    return l->stream;
}

const struct net_peer *net_link_identity(const struct net_link *l)
{
    return net_stream_tls_peer(l->stream);
}

const char *net_link_peer(const struct net_link *l)
{
    return l->stream != NULL ? net_stream_peer_text(l->stream) : "-";
}

void net_link_stats(const struct net_link *l, struct net_link_stats *ret_stats)
{
    *ret_stats = l->stats;
}
