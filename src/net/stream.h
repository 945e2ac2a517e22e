/* A connection with TLS or without, behind one face: what sys_stream is, and the handshake.
 *
 * Without TLS every call goes straight to the sys_stream. With it, bytes are encrypted into one buffer per
 * write and handed down; what comes is decrypted where it was read. The handshake's arithmetic (0.3 ms for a
 * server that asks for a certificate) is done on the loop, but never in a round that has lasted 5 ms already.
 *
 * The contracts of sys/tcp.h hold: who has the stream closes it; nothing is called back after that. A
 * connection that ends without TLS's own end counts as ended: frames and HTTP bodies carry their lengths. */
#ifndef A_NET_STREAM_H
#define A_NET_STREAM_H

#include "net/refusal.h"
#include "net/tls.h"
#include "sys/tcp.h"

struct net_stream;

/* --- how they come to be --- */

struct net_listener;
struct net_listener_ops {
    /* With TLS: the handshake is over. The stream is the callee's. */
    void (*accept)(void *ctx, struct net_stream *s);
    /* A handshake failed; the connection is gone. Optional. */
    void (*refused)(void *ctx, enum net_refusal refusal, const char *peer, const char *why);
};
/* `tls` NULL: without. `options` may be NULL. At most 1024 handshakes are under way; one more ends the
 * oldest of the network (sys_addr_print_network()) that has most of them.
 */
int net_listener_open(struct sys_loop *loop, const struct sys_addr *addr,
                      const struct sys_listen_options *options, struct net_tls *tls,
                      const struct net_listener_ops *ops, void *ctx, struct net_listener **ret_listener,
                      struct a_error *reterr) A_MUST_CHECK;
/* For the handshakes from now on. */
void net_listener_set_tls(struct net_listener *l, struct net_tls *tls);
void net_listener_addr(const struct net_listener *l, struct sys_addr *ret_addr);
/* Accepted streams stay, handshakes end. NULL is allowed. */
void net_listener_close(struct net_listener *l);

struct net_connect_options {
    const char *host; /* copied */
    uint16_t port;
    struct sys_pool *dns;
    uint64_t timeout_ms; /* for the connection, and again for the handshake; 0 = 5 s */
    struct net_tls *tls; /* NULL: without */
};
/* As sys_tcp_connect(): connected(ctx, rc, why) once, unless it is closed before; after a failure the owner
 * closes it. -EACCES: the server's certificate is not to be trusted. */
int net_stream_connect(struct sys_loop *loop, const struct net_connect_options *options,
                       void (*connected)(void *ctx, int rc, const char *why), void *ctx,
                       struct net_stream **ret_stream, struct a_error *reterr) A_MUST_CHECK;

/* NULL without TLS. */
const struct net_peer *net_stream_tls_peer(const struct net_stream *s);

/* --- as in sys/tcp.h --- */

void net_stream_set_ops(struct net_stream *s, const struct sys_stream_ops *ops, void *ctx);
void net_stream_set_limits(struct net_stream *s, const struct sys_stream_limits *limits);
void net_stream_read_start(struct net_stream *s);
void net_stream_read_stop(struct net_stream *s);
int net_stream_write(struct net_stream *s, const void *bytes, size_t len) A_MUST_CHECK;
int net_stream_writev(struct net_stream *s, const struct a_view *views, size_t n_views) A_MUST_CHECK;
size_t net_stream_queued(const struct net_stream *s);
bool net_stream_is_full(const struct net_stream *s);
bool net_stream_is_reading(const struct net_stream *s);
uint64_t net_stream_bytes_written(const struct net_stream *s);
void net_stream_close(struct net_stream *s);
void net_stream_close_soft(struct net_stream *s, uint64_t linger_ms);
void net_stream_abort(struct net_stream *s);
struct sys_loop *net_stream_loop(const struct net_stream *s);
const char *net_stream_peer_text(struct net_stream *s);
/* The connection below, for its address and its options. */
struct sys_stream *net_stream_raw(const struct net_stream *s);

#endif
