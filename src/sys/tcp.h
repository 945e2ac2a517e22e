/* Streams: TCP and Unix-domain connections on a loop, and their listeners.
 *
 * A stream is owned by whoever got it (from accept or connect) and lives until sys_stream_close(). After that
 * call nothing is called back any more and the pointer must be forgotten; the memory goes when the loop is
 * done with it. Reading is off until sys_stream_read_start().
 *
 * Writing never blocks and never calls back from within: bytes go to the kernel at once where it takes them
 * (the caller's memory is used only during the call), the rest is copied to the out-queue, which is bounded
 * by `limit`. Above `high` the stream is full: stop producing until ops->drain tells that the queue fell to
 * half of `high`.
 *
 * Fairness: a stream reads at most its budget of bytes in one round, then the others have their turn. */
#ifndef A_SYS_TCP_H
#define A_SYS_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"
#include "sys/addr.h"
#include "sys/loop.h"

struct sys_stream;
struct sys_listener;
struct sys_pool;

struct sys_stream_ops {
    /* Bytes came. They are the loop's: gone when this returns. Required before reading starts. */
    void (*read)(void *ctx, struct a_view bytes);
    /* The peer will send no more. Writing may go on. Optional: without it, error(-ECONNRESET) is told. */
    void (*eof)(void *ctx);
    /* The connection broke (-ECONNRESET, -EPIPE, -ETIMEDOUT...); told once, nothing else follows. The stream
     * is still the owner's to close. */
    void (*error)(void *ctx, int rc);
    /* The out-queue fell to the low mark after the stream had been full. Optional. */
    void (*drain)(void *ctx);
};

/* Zero = default. */
struct sys_stream_limits {
    size_t limit;       /* out-queue at most; a write past it is refused. Default 1 MiB */
    size_t high;        /* full above this. Default 256 KiB */
    size_t read_budget; /* bytes read in one round. Default 256 KiB */
};

/* May be called again at any time, for example when a connection changes hands. `ops` must outlive the
 * stream. */
void sys_stream_set_ops(struct sys_stream *s, const struct sys_stream_ops *ops, void *ctx);
void sys_stream_set_limits(struct sys_stream *s, const struct sys_stream_limits *limits);
void sys_stream_read_start(struct sys_stream *s); /* does nothing when already reading */
/* From the read callback: nothing more is delivered, what the kernel holds stays there. */
void sys_stream_read_stop(struct sys_stream *s);

/* All of the bytes, or none: 0; -ENOBUFS when the rest would not fit the out-queue's limit (nothing was
 * sent); -EPIPE, -ECONNRESET ... when the connection is broken (the owner closes; error is not told for
 * this). */
int sys_stream_write(struct sys_stream *s, const void *bytes, size_t len) A_MUST_CHECK;
int sys_stream_writev(struct sys_stream *s, const struct a_view *views, size_t n_views) A_MUST_CHECK;
/* Sends as much as the kernel takes now, nothing is queued: the number of bytes taken (0 when there is a
 * queue or the kernel is full), or -errno. */
ssize_t sys_stream_try_write(struct sys_stream *s, const struct a_view *views, size_t n_views) A_MUST_CHECK;
size_t sys_stream_queued(const struct sys_stream *s);
/* Above the high mark: drain will be told. */
bool sys_stream_is_full(const struct sys_stream *s);
/* End of our side, once the queue is sent. Reading goes on. No writes afterwards. */
void sys_stream_shutdown(struct sys_stream *s);
/* At once; what is queued is lost. NULL and a second call in the same round are allowed. */
void sys_stream_close(struct sys_stream *s);
/* Sends the queue, ends our side, discards what the peer still sends until its end, then closes: the polite
 * end after a last answer (an immediate close would make the kernel reset the connection under it). Gives up
 * once the peer has taken nothing for `linger_ms`, or not all of it after 16 times that. The stream is no
 * longer the owner's. */
void sys_stream_close_soft(struct sys_stream *s, uint64_t linger_ms);
/* A reset (RST) instead of an orderly end. */
void sys_stream_abort(struct sys_stream *s);

struct sys_loop *sys_stream_loop(const struct sys_stream *s);
void sys_stream_peer(const struct sys_stream *s, struct sys_addr *ret_addr);
void sys_stream_local(const struct sys_stream *s, struct sys_addr *ret_addr);
/* "127.0.0.1:41234"; cached, lives as long as the stream. */
const char *sys_stream_peer_text(struct sys_stream *s);
bool sys_stream_is_reading(const struct sys_stream *s);
uint64_t sys_stream_bytes_read(const struct sys_stream *s);
uint64_t sys_stream_bytes_written(const struct sys_stream *s); /* given to the kernel */
/* Bytes that the kernel holds and the peer has not acknowledged (SIOCOUTQ); 0 when it cannot say. */
size_t sys_stream_unacked(const struct sys_stream *s);
/* The process at the other end of a Unix socket: -ENOTSUP on TCP. */
int sys_stream_peer_cred(const struct sys_stream *s, pid_t *ret_pid, uid_t *ret_uid,
                         gid_t *ret_gid) A_MUST_CHECK;
/* TCP only; no effect elsewhere. Nodelay is on from the start. `idle_s` 0 = off; probes every idle_s / 3. */
void sys_stream_set_nodelay(struct sys_stream *s, bool on);
void sys_stream_set_keepalive(struct sys_stream *s, unsigned idle_s);
/* The peer's silence after which unacknowledged data breaks the connection (TCP_USER_TIMEOUT). */
void sys_stream_set_user_timeout(struct sys_stream *s, unsigned timeout_ms);

struct sys_listen_options {
    int backlog;     /* 0 = 1024 */
    bool reuse_port; /* several listeners, one per thread, share one port */
    mode_t mode;     /* of a Unix socket's file; 0 = 0600. A file that nobody listens on is replaced. */
};

/* Listens; accept(ctx, stream) owns the stream. Port 0 takes a free one: ask sys_listener_addr(). */
int sys_listener_open(struct sys_loop *loop, const struct sys_addr *addr,
                      const struct sys_listen_options *options,
                      void (*accept)(void *ctx, struct sys_stream *stream), void *ctx,
                      struct sys_listener **ret_listener, struct a_error *reterr) A_MUST_CHECK;
void sys_listener_addr(const struct sys_listener *l, struct sys_addr *ret_addr);
uint16_t sys_listener_port(const struct sys_listener *l);
/* Connections that came while no descriptor was free are refused and counted here. */
uint64_t sys_listener_refused(const struct sys_listener *l);
/* Stops listening; accepted streams stay. A Unix socket's file is removed. NULL is allowed. */
void sys_listener_close(struct sys_listener *l);

struct sys_connect_options {
    uint64_t timeout_ms;   /* 0 = 5 s; names included */
    struct sys_pool *dns;  /* resolves names; without it only numeric hosts are accepted */
    const char *bind_host; /* local address, numeric; NULL = any */
};

/* The stream exists at once and may be closed to give up; connected(ctx, rc) tells 0 or -errno (-ETIMEDOUT,
 * -ECONNREFUSED, -EHOSTUNREACH; -ENXIO when the name has no address). After a failure the owner closes it. */
int sys_stream_connect(struct sys_loop *loop, const struct sys_addr *addr,
                       const struct sys_connect_options *options, void (*connected)(void *ctx, int rc),
                       void *ctx, struct sys_stream **ret_stream, struct a_error *reterr) A_MUST_CHECK;
/* The same for a host, which may be a name when options->dns is there. */
int sys_tcp_connect(struct sys_loop *loop, const char *host, uint16_t port,
                    const struct sys_connect_options *options, void (*connected)(void *ctx, int rc),
                    void *ctx, struct sys_stream **ret_stream, struct a_error *reterr) A_MUST_CHECK;

#endif
