/* TLS over a sys_stream. OpenSSL reads from the bytes that just came and writes into one buffer, through a
 * BIO of our own: nothing is copied on its account but what the owner does not want to read yet.
 *
 * Bytes that cannot be used yet (the owner paused, the handshake waits for its turn) are kept, and the socket
 * is not read meanwhile: there is never more than one read's worth of them. */
#include "net/stream_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

#define STREAM_MAGIC A_MAGIC('N', 'S', 'T', 'R')
#define CONNECT_TIMEOUT_MS 5000
#define ROUND_MAX_US 5000 /* handshakes wait for the next round in one that has lasted so long */
#define RECORD 16384u     /* plain bytes of one TLS record at most */
#define FLUSH_AT (64u * 1024u)
#define KEEP_BUFFER (32u * 1024u)
#define TLS_RECORD_HANDSHAKE 0x16

/* --- the BIO --- */

static int bio_read(BIO *bio, char *out, int n)
{
    struct net_stream *s = BIO_get_data(bio);
    size_t take = A_MIN((size_t)(n > 0 ? n : 0), s->src.len);
    BIO_clear_retry_flags(bio);
    if (take == 0) {
        BIO_set_retry_read(bio);
        return -1;
    }
    memcpy(out, s->src.ptr, take);
    s->src.ptr += take;
    s->src.len -= take;
    return (int)take;
}

static int bio_write(BIO *bio, const char *bytes, int n)
{
    struct net_stream *s = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    a_buf_add(&s->out, bytes, (size_t)n);
    return s->out.failed ? -1 : n;
}

static long bio_ctrl(BIO *bio, int what, long num, void *ptr)
{
    (void)bio, (void)num, (void)ptr;
    return what == BIO_CTRL_FLUSH ? 1 : 0;
}

static BIO_METHOD *bio_method;

static void bio_method_make(void)
{
    bio_method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "net_stream");
    a_assert(bio_method != NULL);
    BIO_meth_set_read(bio_method, bio_read);
    BIO_meth_set_write(bio_method, bio_write);
    BIO_meth_set_ctrl(bio_method, bio_ctrl);
}

static BIO *bio_new(struct net_stream *s)
{
    static CRYPTO_ONCE once = CRYPTO_ONCE_STATIC_INIT; /* one for all threads, for the life of the process */
    BIO *bio = CRYPTO_THREAD_run_once(&once, bio_method_make) == 1 ? BIO_new(bio_method) : NULL;
    a_assert(bio != NULL);
    BIO_set_data(bio, s);
    BIO_set_init(bio, 1);
    return bio;
}

/* --- life --- */

static void stream_free(struct net_stream *s)
{
    SSL_free(s->ssl);
    net_tls_unref(s->tls);
    a_buf_deinit(&s->kept);
    a_buf_deinit(&s->out);
    a_free(s);
}

static void stream_enter(struct net_stream *s)
{
    s->depth++;
}

/* False when it was closed meanwhile: then it is gone. */
static bool stream_leave(struct net_stream *s)
{
    s->depth--;
    if (!s->closed)
        return true;
    if (s->depth == 0)
        stream_free(s);
    return false;
}

static void out_flush(struct net_stream *s)
{
    if (s->out.len == 0 || s->closed)
        return;
    if (sys_stream_write(s->raw, s->out.ptr, s->out.len) != 0)
        s->broken = true;
    if (s->out.cap > KEEP_BUFFER)
        a_buf_deinit(&s->out);
    else
        a_buf_reset(&s->out);
}

/* --- the handshake --- */

static void pump(struct net_stream *s);

static void shake_end(struct net_stream *s, enum net_refusal refusal, int rc, const char *why)
{
    void (*shaken)(void *ctx, int rc, const char *why) = s->shaken;
    s->shaking = false;
    s->shaken = NULL;
    s->refusal = refusal;
    s->broken |= rc != 0;
    sys_timer_clear(&s->deadline);
    sys_timer_clear(&s->later);
    if (rc == 0 && !s->want_read)
        sys_stream_read_stop(s->raw);
    shaken(s->shaken_ctx, rc, why);
}

/* A client of HTTP that knows nothing of TLS learns what is wrong. */
static void plain_answer(struct net_stream *s)
{
    static const char text[] = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-type: text/plain\r\n"
                               "content-length: 36\r\n\r\nThis port speaks TLS: use https://.\n";
    if (s->src.len >= 4 && (memcmp(s->src.ptr, "GET ", 4) == 0 || memcmp(s->src.ptr, "POST", 4) == 0 ||
                            memcmp(s->src.ptr, "PUT ", 4) == 0 || memcmp(s->src.ptr, "HEAD", 4) == 0))
        (void)!sys_stream_write(s->raw, text, sizeof text - 1);
    s->src.len = 0;
}

static void shake_failed(struct net_stream *s)
{
    unsigned long code = ERR_peek_last_error();
    const char *why = code != 0 ? ERR_reason_error_string(code) : NULL;
    long verdict = SSL_get_verify_result(s->ssl);
    ERR_clear_error();
    s->src.len = 0;
    if (verdict != X509_V_OK)
        shake_end(s, NET_REFUSAL_CERTIFICATE, -EACCES, X509_verify_cert_error_string(verdict));
    else
        shake_end(s, NET_REFUSAL_HANDSHAKE, -EPROTO, why != NULL ? why : "the TLS handshake failed");
}

static void shake(struct net_stream *s)
{
    if (sys_loop_now_us(net_stream_loop(s)) > sys_loop_now_ms(net_stream_loop(s)) * 1000 + ROUND_MAX_US) {
        sys_stream_read_stop(s->raw);
        sys_timer_set_in(&s->later, 0);
        return;
    }
    sys_stream_read_start(s->raw);
    if (s->tls->server && !s->heard && s->src.len > 0 && s->src.ptr[0] != TLS_RECORD_HANDSHAKE) {
        plain_answer(s);
        shake_end(s, NET_REFUSAL_PLAIN, -EPROTO, "the peer does not speak TLS");
        return;
    }
    s->heard |= s->src.len > 0;
    ERR_clear_error();
    int rc = SSL_do_handshake(s->ssl);
    int what = SSL_get_error(s->ssl, rc);
    out_flush(s);
    if (rc == 1 && !net_tls_peer_read(s->tls, s->ssl, &s->peer))
        shake_end(s, NET_REFUSAL_CERTIFICATE, -EACCES, "the certificate names nobody who may be here");
    else if (rc == 1 && !s->broken)
        shake_end(s, NET_REFUSAL_NONE, 0, NULL);
    else if (rc == 1 || what != SSL_ERROR_WANT_READ)
        shake_failed(s);
}

static void on_deadline(void *ctx)
{
    struct net_stream *s = A_CAST(struct net_stream, ctx, STREAM_MAGIC);
    stream_enter(s);
    shake_end(s, NET_REFUSAL_SLOW, -ETIMEDOUT, "no TLS handshake in time");
    (void)stream_leave(s);
}

/* --- reading --- */

static void tell_eof(struct net_stream *s)
{
    if (s->eof_told || s->closed)
        return;
    s->eof_told = true;
    if (s->ops->eof != NULL)
        s->ops->eof(s->ctx);
    else if (s->ops->error != NULL)
        s->ops->error(s->ctx, -ECONNRESET);
}

static void tell_broken(struct net_stream *s, int rc)
{
    s->broken = true;
    s->src.len = 0;
    out_flush(s);
    sys_stream_read_stop(s->raw);
    if (s->ops != NULL && s->ops->error != NULL)
        s->ops->error(s->ctx, rc);
}

static bool may_read(const struct net_stream *s)
{
    return !s->closed && !s->shaking && !s->broken && !s->eof_told && s->want_read;
}

/* Decrypts what there is, as long as the owner wants it. */
static void pump(struct net_stream *s)
{
    char plain[RECORD];
    while (may_read(s)) {
        size_t n = 0;
        ERR_clear_error();
        int ok = SSL_read_ex(s->ssl, plain, sizeof plain, &n);
        int what = ok == 1 ? SSL_ERROR_NONE : SSL_get_error(s->ssl, ok);
        out_flush(s); /* answers of TLS itself */
        if (ok == 1)
            s->ops->read(s->ctx, (struct a_view){plain, n});
        else if (what == SSL_ERROR_WANT_READ)
            break;
        else if (what == SSL_ERROR_ZERO_RETURN)
            tell_eof(s);
        else
            tell_broken(s, -EBADMSG);
    }
    if (may_read(s) && s->raw_eof && s->src.len == 0)
        tell_eof(s);
}

/* Goes on with `bytes`, or with what was kept; what cannot be used yet is kept, and the socket rests. */
static void stream_go(struct net_stream *s, struct a_view bytes)
{
    bool joined = s->kept.len != 0;
    if (joined)
        a_buf_add_view(&s->kept, bytes);
    s->src = joined ? a_buf_view(&s->kept) : bytes;
    size_t all = s->src.len;
    stream_enter(s);
    s->going = true;
    if (s->shaking)
        shake(s);
    pump(s);
    s->going = false;
    if (!stream_leave(s))
        return;
    if (joined)
        a_buf_consume(&s->kept, all - s->src.len);
    else
        a_buf_add_view(&s->kept, s->src);
    s->src.len = 0;
    if (s->kept.len == 0 && s->kept.cap > KEEP_BUFFER)
        a_buf_deinit(&s->kept);
    if (s->kept.failed) {
        stream_enter(s);
        tell_broken(s, -ENOMEM);
        (void)stream_leave(s);
    } else if (may_read(s)) {
        sys_stream_read_start(s->raw);
    }
}

static void on_again(void *ctx)
{
    stream_go(A_CAST(struct net_stream, ctx, STREAM_MAGIC), (struct a_view){"", 0});
}

static void raw_read(void *ctx, struct a_view bytes)
{
    stream_go(A_CAST(struct net_stream, ctx, STREAM_MAGIC), bytes);
}

static void raw_eof(void *ctx)
{
    struct net_stream *s = A_CAST(struct net_stream, ctx, STREAM_MAGIC);
    stream_enter(s);
    s->raw_eof = true;
    if (s->shaking)
        shake_end(s, NET_REFUSAL_CUT, -ECONNRESET, "the connection ended within the TLS handshake");
    else if (s->kept.len == 0 && may_read(s))
        tell_eof(s);
    (void)stream_leave(s);
}

static void raw_error(void *ctx, int rc)
{
    struct net_stream *s = A_CAST(struct net_stream, ctx, STREAM_MAGIC);
    char why[128];
    stream_enter(s);
    if (s->shaking)
        shake_end(s, NET_REFUSAL_CUT, rc, strerror_r(-rc, why, sizeof why));
    else
        tell_broken(s, rc);
    (void)stream_leave(s);
}

static void raw_drain(void *ctx)
{
    struct net_stream *s = A_CAST(struct net_stream, ctx, STREAM_MAGIC);
    stream_enter(s);
    if (!s->shaking && !s->broken && s->ops != NULL && s->ops->drain != NULL)
        s->ops->drain(s->ctx);
    (void)stream_leave(s);
}

static const struct sys_stream_ops raw_ops = {
    .read = raw_read, .eof = raw_eof, .error = raw_error, .drain = raw_drain};

void net_stream_set_ops(struct net_stream *s, const struct sys_stream_ops *ops, void *ctx)
{
    s->ops = ops;
    s->ctx = ctx;
    if (s->tls == NULL)
        sys_stream_set_ops(s->raw, ops, ctx);
}

void net_stream_read_start(struct net_stream *s)
{
    s->want_read = true;
    if (s->tls == NULL)
        sys_stream_read_start(s->raw);
    else if (s->going || s->shaking)
        return; /* what is under way goes on */
    else if (s->kept.len > 0 || s->raw_eof)
        sys_defer_call(net_stream_loop(s), &s->again, on_again, s);
    else if (may_read(s))
        sys_stream_read_start(s->raw);
}

void net_stream_read_stop(struct net_stream *s)
{
    s->want_read = false;
    if (!s->shaking)
        sys_stream_read_stop(s->raw);
}

/* --- writing --- */

void net_stream_set_limits(struct net_stream *s, const struct sys_stream_limits *limits)
{
    struct sys_stream_limits below = *limits;
    if (s->tls != NULL) { /* the bound is ours: what was encrypted must be taken */
        s->limit = limits->limit != 0 ? limits->limit : s->limit;
        below.limit = SIZE_MAX / 2;
        if (below.high == 0)
            below.high = A_MIN((size_t)256 * 1024, s->limit);
    }
    sys_stream_set_limits(s->raw, &below);
}

static int encrypt(struct net_stream *s, struct a_view v)
{
    while (v.len > 0) {
        size_t n = A_MIN(v.len, (size_t)FLUSH_AT), written = 0;
        ERR_clear_error();
        if (SSL_write_ex(s->ssl, v.ptr, n, &written) != 1 || written != n) {
            s->broken = true;
            return -EPIPE;
        }
        v.ptr += n;
        v.len -= n;
        if (s->out.len >= FLUSH_AT)
            out_flush(s);
    }
    return 0;
}

int net_stream_writev(struct net_stream *s, const struct a_view *views, size_t n_views)
{
    if (s->tls == NULL)
        return sys_stream_writev(s->raw, views, n_views);
    size_t total = 0, queued = sys_stream_queued(s->raw);
    if (s->shaking || s->broken || s->closed)
        return -EPIPE;
    for (size_t i = 0; i < n_views; i++)
        total += views[i].len;
    if (queued > s->limit || total > s->limit - queued)
        return -ENOBUFS;
    for (size_t i = 0; i < n_views; i++)
        if (encrypt(s, views[i]) != 0)
            return -EPIPE;
    out_flush(s);
    return s->broken ? -EPIPE : 0;
}

int net_stream_write(struct net_stream *s, const void *bytes, size_t len)
{
    return net_stream_writev(s, &(struct a_view){bytes, len}, 1);
}

size_t net_stream_queued(const struct net_stream *s)
{
    return sys_stream_queued(s->raw);
}

bool net_stream_is_full(const struct net_stream *s)
{
    return sys_stream_is_full(s->raw);
}

bool net_stream_is_reading(const struct net_stream *s)
{
    return s->tls == NULL ? sys_stream_is_reading(s->raw) : s->want_read;
}

uint64_t net_stream_bytes_written(const struct net_stream *s)
{
    return sys_stream_bytes_written(s->raw);
}

/* --- the end --- */

/* TLS's own end goes out, where there is a session that can say it. */
static void goodbye(struct net_stream *s)
{
    if (s->tls == NULL || s->shaking || s->broken || s->ssl == NULL)
        return;
    ERR_clear_error();
    (void)SSL_shutdown(s->ssl);
    out_flush(s);
}

/* The stream is nobody's from here on; its memory goes when no call is under way. */
static struct sys_stream *let_go(struct net_stream *s)
{
    struct sys_stream *raw = s->raw;
    s->closed = true;
    sys_timer_clear(&s->deadline);
    sys_timer_clear(&s->later);
    sys_defer_cancel(&s->again);
    if (s->depth == 0)
        stream_free(s);
    return raw;
}

void net_stream_close(struct net_stream *s)
{
    if (s == NULL || s->closed)
        return;
    goodbye(s);
    sys_stream_close(s->raw);
    (void)let_go(s);
}

void net_stream_close_soft(struct net_stream *s, uint64_t linger_ms)
{
    if (s == NULL || s->closed)
        return;
    goodbye(s);
    sys_stream_close_soft(s->raw, linger_ms);
    (void)let_go(s);
}

void net_stream_abort(struct net_stream *s)
{
    if (s == NULL || s->closed)
        return;
    sys_stream_abort(s->raw);
    (void)let_go(s);
}

/* --- what it is --- */

struct sys_loop *net_stream_loop(const struct net_stream *s)
{
    return sys_stream_loop(s->raw);
}

const char *net_stream_peer_text(struct net_stream *s)
{
    return sys_stream_peer_text(s->raw);
}

struct sys_stream *net_stream_raw(const struct net_stream *s)
{
    return s->raw;
}

const struct net_peer *net_stream_tls_peer(const struct net_stream *s)
{
    return s->tls != NULL ? &s->peer : NULL;
}

enum net_refusal net_stream_refusal(const struct net_stream *s)
{
    return s->refusal;
}

/* --- how it begins --- */

struct net_stream *net_stream_new(struct sys_stream *raw, struct net_tls *tls)
{
    struct net_stream *s = a_new(struct net_stream);
    s->magic = STREAM_MAGIC;
    s->raw = raw;
    s->tls = net_tls_ref(tls);
    s->limit = 1024u * 1024u;
    return s;
}

void net_stream_shake(struct net_stream *s, uint64_t timeout_ms,
                      void (*shaken)(void *ctx, int rc, const char *why), void *ctx)
{
    struct sys_loop *loop = net_stream_loop(s);
    s->ssl = net_tls_session(s->tls, bio_new(s), &s->peer);
    a_assert(s->ssl != NULL);
    s->shaking = true;
    s->shaken = shaken;
    s->shaken_ctx = ctx;
    sys_timer_init(&s->deadline, loop, on_deadline, s);
    sys_timer_init(&s->later, loop, on_again, s);
    sys_timer_set_in(&s->deadline, timeout_ms);
    sys_stream_set_ops(s->raw, &raw_ops, s);
    net_stream_set_limits(s, &(struct sys_stream_limits){0});
    sys_stream_read_start(s->raw);
    if (!s->tls->server)
        sys_timer_set_in(&s->later, 0); /* we speak first */
}

static void on_connected(void *ctx, int rc)
{
    struct net_stream *s = A_CAST(struct net_stream, ctx, STREAM_MAGIC);
    char why[128];
    if (rc == 0) {
        net_stream_shake(s, s->timeout_ms, s->shaken, s->shaken_ctx);
        return;
    }
    stream_enter(s);
    s->broken = true;
    s->shaken(s->shaken_ctx, rc, strerror_r(-rc, why, sizeof why));
    (void)stream_leave(s);
}

int net_stream_connect(struct sys_loop *loop, const struct net_connect_options *options,
                       void (*connected)(void *ctx, int rc, const char *why), void *ctx,
                       struct net_stream **ret_stream, struct a_error *reterr)
{
    struct sys_connect_options o = {.timeout_ms = options->timeout_ms, .dns = options->dns};
    struct net_stream *s = net_stream_new(NULL, options->tls);
    s->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : CONNECT_TIMEOUT_MS;
    s->shaken = connected;
    s->shaken_ctx = ctx;
    int rc = sys_tcp_connect(loop, options->host, options->port, &o, on_connected, s, &s->raw, reterr);
    if (rc != 0) {
        stream_free(s);
        return rc;
    }
    *ret_stream = s;
    return 0;
}
