/* The inside of a stream, shared by stream.c (data and handshake) and listener.c. */
#ifndef A_NET_STREAM_INTERNAL_H
#define A_NET_STREAM_INTERNAL_H

#include "net/stream.h"
#include "net/tls_internal.h"
#include "sys/loop.h"

struct net_stream {
    uint32_t magic;
    struct sys_stream *raw;
    struct net_tls *tls; /* NULL: all calls go straight to `raw` */
    SSL *ssl;
    const struct sys_stream_ops *ops;
    void *ctx;
    size_t limit;

    struct a_view src; /* what OpenSSL may read now */
    struct a_buf kept; /* what came and cannot be used yet */
    struct a_buf out;  /* what OpenSSL wrote and the socket has not got */
    struct net_peer peer;
    bool shaking;   /* in the handshake */
    bool heard;     /* a byte came */
    bool going;     /* bytes are being worked on */
    bool want_read; /* the owner's word */
    bool raw_eof, eof_told, broken, closed;
    unsigned depth; /* of callbacks under way: the memory stays until they return */

    void (*shaken)(void *ctx, int rc, const char *why);
    void *shaken_ctx;
    enum net_refusal refusal; /* of a handshake that failed */
    uint64_t timeout_ms;
    struct sys_timer deadline, later;
    struct sys_defer again;
};

/* Over a connection that stands, or with `raw` NULL one that will be. */
struct net_stream *net_stream_new(struct sys_stream *raw, struct net_tls *tls);
/* Begins the handshake; shaken(ctx, rc, why) once, never from within this call. */
void net_stream_shake(struct net_stream *s, uint64_t timeout_ms,
                      void (*shaken)(void *ctx, int rc, const char *why), void *ctx);
enum net_refusal net_stream_refusal(const struct net_stream *s);

#endif
