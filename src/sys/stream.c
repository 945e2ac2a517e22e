/* Data on a stream. Reading goes through the loop's one chunk; writing tries the kernel first and keeps the
 * rest in two buffers: `flight`, which libuv is sending, and `pending`, which gathers what comes meanwhile
 * and flies next. So a slow peer costs two buffers and one system call per turn, however many small writes
 * there were. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/stream_internal.h"

#define STREAM_MAGIC A_MAGIC('S', 'T', 'R', 'M')
#define MAX_IOV 64
#define KEEP_BUFFER (16u * 1024u) /* a larger queue gives its memory back when empty */
#define LINGER_ROUNDS 16 /* of linger_ms: a peer that takes ever a little more is cut off after so many */

static const struct sys_stream_limits default_limits = {
    .limit = 1024u * 1024u,
    .high = 256u * 1024u,
    .read_budget = 256u * 1024u,
};

static void stream_dispose(struct sys_handle *h)
{
    sys_stream_close(A_CONTAINER_OF(h, struct sys_stream, handle));
}

struct sys_stream *sys_stream_new(struct sys_loop *loop, int family)
{
    struct sys_stream *s = a_new(struct sys_stream);
    int rc = family == AF_UNIX ? uv_pipe_init(&loop->uv, &s->uv.pipe, 0) : uv_tcp_init(&loop->uv, &s->uv.tcp);
    a_assert(rc == 0);
    s->handle.dispose = stream_dispose;
    s->magic = STREAM_MAGIC;
    s->uv.any.data = s;
    s->loop = loop;
    s->limits = default_limits;
    return s;
}

void sys_stream_maybe_free(struct sys_stream *s)
{
    if (!s->handle_closed || s->resolving)
        return;
    a_buf_deinit(&s->flight);
    a_buf_deinit(&s->pending);
    a_free(s->peer_text);
    a_free(s->connect);
    a_free(s);
}

void sys_stream_set_ops(struct sys_stream *s, const struct sys_stream_ops *ops, void *ctx)
{
    s->ops = ops;
    s->ctx = ctx;
}

void sys_stream_set_limits(struct sys_stream *s, const struct sys_stream_limits *limits)
{
    s->limits.limit = limits->limit != 0 ? limits->limit : default_limits.limit;
    s->limits.high = limits->high != 0 ? limits->high : A_MIN(default_limits.high, s->limits.limit);
    s->limits.read_budget = limits->read_budget != 0 ? limits->read_budget : default_limits.read_budget;
}

/* --- reading --- */

static void reading_update(struct sys_stream *s);

static void stream_fail(struct sys_stream *s, int rc)
{
    if (s->broken || s->closed)
        return;
    s->broken = true;
    reading_update(s);
    if (s->soft)
        sys_stream_close(s);
    else if (s->ops != NULL && s->ops->error != NULL)
        s->ops->error(s->ctx, rc);
}

static void chunk_lend(uv_handle_t *handle, size_t suggested, uv_buf_t *ret)
{
    struct sys_stream *s = handle->data;
    (void)suggested;
    *ret = uv_buf_init(s->loop->read_chunk, SYS_READ_CHUNK);
}

/* Counts against the budget of this round; when that is used up, reading pauses until the next one. */
static void budget_take(struct sys_stream *s, size_t n)
{
    if (s->budget_round != s->loop->n_rounds) {
        s->budget_round = s->loop->n_rounds;
        s->budget_used = 0;
    }
    s->budget_used += n;
    if (s->budget_used < s->limits.read_budget || !s->reading)
        return;
    uv_read_stop(&s->uv.stream);
    s->reading = false;
    a_list_push_back(&s->loop->throttled, &s->throttle);
}

static void stream_eof(struct sys_stream *s)
{
    s->eof = true;
    s->reading = false;
    if (s->soft) {
        if (s->shutdown_done)
            sys_stream_close(s);
    } else if (s->ops->eof != NULL) {
        s->ops->eof(s->ctx);
    } else {
        stream_fail(s, -ECONNRESET);
    }
}

/* libuv takes a hang-up behind the last bytes for their end, also when it was a reset: the socket knows
 * better. */
static int pending_error(const struct sys_stream *s)
{
    int error = 0;
    socklen_t len = sizeof error;
    return getsockopt(sys_stream_fd(s), SOL_SOCKET, SO_ERROR, &error, &len) == 0 ? -error : 0;
}

static void stream_read(uv_stream_t *uv, ssize_t n, const uv_buf_t *buf)
{
    struct sys_stream *s = uv->data;
    if (n == 0 || s->closed)
        return;
    if (n == UV_EOF && (n = pending_error(s)) == 0) {
        uv_read_stop(uv);
        stream_eof(s);
    } else if (n < 0) {
        uv_read_stop(uv);
        stream_fail(s, (int)n);
    } else {
        s->bytes_read += (uint64_t)n;
        budget_take(s, (size_t)n);
        if (!s->soft)
            s->ops->read(s->ctx, (struct a_view){buf->base, (size_t)n});
    }
}

static void reading_update(struct sys_stream *s)
{
    bool may = s->want_read && !s->eof && !s->broken && !s->connecting && !s->closed;
    if (!may)
        a_list_remove(&s->throttle);
    if (may && !s->reading && !a_list_linked(&s->throttle)) {
        int rc = uv_read_start(&s->uv.stream, chunk_lend, stream_read);
        s->reading = rc == 0;
    } else if (!may && s->reading) {
        uv_read_stop(&s->uv.stream);
        s->reading = false;
    }
}

void sys_stream_resume(struct a_list *link)
{
    reading_update(a_list_entry(link, struct sys_stream, throttle));
}

void sys_stream_read_start(struct sys_stream *s)
{
    a_assert(s->ops != NULL && s->ops->read != NULL);
    s->want_read = true;
    reading_update(s);
}

void sys_stream_read_stop(struct sys_stream *s)
{
    s->want_read = false;
    reading_update(s);
}

/* --- writing --- */

size_t sys_stream_queued(const struct sys_stream *s)
{
    return s->pending.len + (s->writing ? uv_stream_get_write_queue_size(&s->uv.stream) : 0);
}

static void flight_start(struct sys_stream *s);

static void shutdown_finished(uv_shutdown_t *req, int status)
{
    struct sys_stream *s = A_CONTAINER_OF(req, struct sys_stream, shutdown_req);
    (void)status;
    s->shutdown_done = true;
    if (s->soft && (s->eof || s->broken))
        sys_stream_close(s);
}

static void shutdown_start(struct sys_stream *s)
{
    if (!s->shutdown_asked || s->shutdown_begun || s->writing || s->pending.len != 0 || s->connecting)
        return;
    s->shutdown_begun = true;
    if (uv_shutdown(&s->shutdown_req, &s->uv.stream, shutdown_finished) != 0)
        stream_fail(s, -ENOTCONN);
}

static void buffer_empty(struct a_buf *b)
{
    if (b->cap > KEEP_BUFFER)
        a_buf_deinit(b);
    else
        a_buf_reset(b);
}

static void flight_landed(uv_write_t *req, int status)
{
    struct sys_stream *s = A_CONTAINER_OF(req, struct sys_stream, write_req);
    s->writing = false;
    buffer_empty(&s->flight);
    if (s->closed)
        return;
    if (status != 0) {
        a_buf_deinit(&s->pending);
        stream_fail(s, status);
        return;
    }
    flight_start(s);
    if (s->was_full && sys_stream_queued(s) <= s->limits.high / 2) {
        s->was_full = false;
        if (!s->soft && s->ops != NULL && s->ops->drain != NULL)
            s->ops->drain(s->ctx);
    }
    if (!s->closed)
        shutdown_start(s);
}

static void flight_start(struct sys_stream *s)
{
    if (s->writing || s->connecting || s->pending.len == 0)
        return;
    struct a_buf empty = s->flight;
    s->flight = s->pending;
    s->pending = empty;
    uv_buf_t buf = uv_buf_init(s->flight.ptr, (unsigned)s->flight.len);
    int rc = uv_write(&s->write_req, &s->uv.stream, &buf, 1, flight_landed);
    a_assert(rc == 0);
    s->writing = true;
}

ssize_t sys_stream_try_write(struct sys_stream *s, const struct a_view *views, size_t n_views)
{
    if (s->broken || s->closed || s->shutdown_asked)
        return -EPIPE;
    if (s->writing || s->pending.len != 0 || s->connecting)
        return 0;
    uv_buf_t bufs[MAX_IOV];
    unsigned n = 0;
    for (size_t i = 0; i < n_views && n < MAX_IOV; i++)
        if (views[i].len != 0)
            bufs[n++] =
                uv_buf_init((char *)(uintptr_t)views[i].ptr, (unsigned)A_MIN(views[i].len, INT32_MAX));
    if (n == 0)
        return 0;
    int rc = uv_try_write(&s->uv.stream, bufs, n);
    if (rc == UV_EAGAIN)
        return 0;
    if (rc < 0) {
        s->broken = true;
        reading_update(s);
        return rc;
    }
    s->bytes_accepted += (uint64_t)rc;
    return rc;
}

/* Copies what is left of the views after their first `skip` bytes. */
static int queue_rest(struct sys_stream *s, const struct a_view *views, size_t n_views, size_t skip,
                      size_t rest)
{
    if (!a_buf_reserve(&s->pending, rest))
        return -ENOMEM;
    for (size_t i = 0; i < n_views; i++) {
        size_t cut = A_MIN(skip, views[i].len);
        a_buf_add(&s->pending, views[i].ptr + cut, views[i].len - cut);
        skip -= cut;
    }
    s->bytes_accepted += rest;
    flight_start(s);
    if (sys_stream_queued(s) > s->limits.high)
        s->was_full = true;
    return 0;
}

int sys_stream_writev(struct sys_stream *s, const struct a_view *views, size_t n_views)
{
    size_t total = 0;
    for (size_t i = 0; i < n_views; i++)
        total += views[i].len;
    size_t queued = sys_stream_queued(s);
    if (queued > s->limits.limit || total > s->limits.limit - queued)
        return s->broken || s->closed ? -EPIPE : -ENOBUFS;
    ssize_t sent = sys_stream_try_write(s, views, n_views);
    if (sent < 0)
        return (int)sent;
    if ((size_t)sent == total)
        return 0;
    int rc = queue_rest(s, views, n_views, (size_t)sent, total - (size_t)sent);
    if (rc != 0) { /* half a write is out: the connection is of no use any more */
        s->pending.failed = false;
        s->broken = true;
        reading_update(s);
    }
    return rc;
}

int sys_stream_write(struct sys_stream *s, const void *bytes, size_t len)
{
    return sys_stream_writev(s, &(struct a_view){bytes, len}, 1);
}

bool sys_stream_is_full(const struct sys_stream *s)
{
    return s->was_full;
}

void sys_stream_shutdown(struct sys_stream *s)
{
    if (s->shutdown_asked || s->broken || s->closed)
        return;
    s->shutdown_asked = true;
    shutdown_start(s);
}

void sys_stream_connected(struct sys_stream *s)
{
    s->connecting = false;
    flight_start(s);
    reading_update(s);
    shutdown_start(s);
}

/* --- the end --- */

static void handle_gone(uv_handle_t *handle)
{
    struct sys_stream *s = handle->data;
    s->handle_closed = true;
    sys_stream_maybe_free(s);
}

void sys_stream_close(struct sys_stream *s)
{
    if (s == NULL)
        return;
    s = A_CAST(struct sys_stream, s, STREAM_MAGIC);
    if (s->closed)
        return;
    s->closed = true;
    a_list_remove(&s->throttle);
    sys_timer_clear(&s->timer);
    sys_connect_cancel(s);
    uv_close(&s->uv.any, handle_gone);
}

/* Time is up, unless the peer took something meanwhile, and has not for long enough. */
static void linger_over(void *ctx)
{
    struct sys_stream *s = ctx;
    uint64_t written = sys_stream_bytes_written(s);
    bool took = written != s->linger_mark || s->linger_mark_done != s->shutdown_done;
    if (!took || sys_loop_now_ms(s->loop) >= s->linger_end_ms) {
        sys_stream_close(s);
        return;
    }
    s->linger_mark = written;
    s->linger_mark_done = s->shutdown_done;
    sys_timer_set_in(&s->timer, s->linger_ms);
}

void sys_stream_close_soft(struct sys_stream *s, uint64_t linger_ms)
{
    if (s == NULL || s->closed || s->soft)
        return;
    if (s->broken || s->connecting) {
        sys_stream_close(s);
        return;
    }
    s->soft = true;
    s->want_read = true;
    reading_update(s);
    s->linger_ms = linger_ms;
    s->linger_end_ms = sys_loop_now_ms(s->loop) + LINGER_ROUNDS * linger_ms;
    s->linger_mark = sys_stream_bytes_written(s);
    s->linger_mark_done = s->shutdown_done;
    sys_timer_init(&s->timer, s->loop, linger_over, s);
    sys_timer_set_in(&s->timer, linger_ms);
    if (s->shutdown_done && s->eof)
        sys_stream_close(s);
    else
        sys_stream_shutdown(s);
}

void sys_stream_abort(struct sys_stream *s)
{
    struct linger now = {.l_onoff = 1, .l_linger = 0};
    if (s != NULL && !s->closed && sys_stream_fd(s) >= 0)
        (void)setsockopt(sys_stream_fd(s), SOL_SOCKET, SO_LINGER, &now, sizeof now);
    sys_stream_close(s);
}
