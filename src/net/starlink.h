/* A Starlink link: messages over one connection, and who dials.
 *
 * Sending encodes into the link's buffer; all that was sent in one round of the loop leaves together at its
 * end. What waits is bounded (1 MiB): past it messages are refused, and once the peer has taken what waited,
 * `resync` is told, so that the owner sends its state afresh instead of what was lost. Memory never grows.
 *
 * Every link is TLS 1.3, on loopback too. Who the peer is, its certificate says: net_link_identity(). */
#ifndef A_NET_STARLINK_H
#define A_NET_STARLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "net/stream.h"
#include "sys/loop.h"
#include "sys/pool.h"
#include "wire/starlink.h"

#define NET_LINK_QUEUE_MAX (1024u * 1024u)

struct net_link;

struct net_link_ops {
    /* One message; its texts and lists are gone when this returns. The link may be closed from within. */
    void (*message)(void *ctx, struct net_link *l, const struct wire_sl_message *m);
    /* After sends were refused: there is room again. Optional. */
    void (*resync)(void *ctx, struct net_link *l);
    /* The connection ended, not by us: `why` in words. -ENODATA: in the middle of a frame; -EMSGSIZE: a frame
     * above the limit; -EPROTO: what can never be valid; -EPROTONOSUPPORT; -EBADMSG: a broken TLS record. The
     * link is gone when this returns. */
    void (*closed)(void *ctx, struct net_link *l, int rc, const char *why);
};

/* A link over a stream whose handshake is over; it owns the stream from here on. */
struct net_link *net_link_new(struct net_stream *stream, const struct net_link_ops *ops, void *ctx);
/* Another owner takes over (a server's accept hands it to a node once HELLO came). */
void net_link_set_ops(struct net_link *l, const struct net_link_ops *ops, void *ctx);
/* 0; -ENOBUFS: the queue is full, resync follows; -EPIPE: the link is ending; -EMSGSIZE, -EINVAL: what
 * wire_sl_encode() says of the message. Texts are copied. */
int net_link_send(struct net_link *l, const struct wire_sl_message *m, struct a_error *reterr) A_MUST_CHECK;
/* Encoded frames, whole, for fan-out: encode once, send to many. */
int net_link_send_frames(struct net_link *l, struct a_view frames) A_MUST_CHECK;
/* What is sent already goes out now instead of at the end of the round. */
void net_link_flush(struct net_link *l);
/* Sends what waits and closes; the link is gone and closed is not told. NULL is allowed. */
void net_link_close(struct net_link *l);
/* Says REFUSED with this code and text as the last frame, and closes. */
void net_link_refuse(struct net_link *l, enum a_code code, const char *message);
size_t net_link_queued(const struct net_link *l);
/* Back-pressure towards the peer: no messages (but those of bytes already read) until resumed. */
void net_link_pause(struct net_link *l);
void net_link_resume(struct net_link *l);
struct net_stream *net_link_stream(const struct net_link *l);
/* Who the peer was at the handshake. */
const struct net_peer *net_link_identity(const struct net_link *l);
const char *net_link_peer(const struct net_link *l);

struct net_link_stats {
    uint64_t frames_in, frames_out, bytes_in, bytes_out;
    uint64_t unknown;   /* frames of types that we do not know, skipped */
    uint64_t malformed; /* 0 or 1: it ends the link */
    uint64_t refused;   /* sends that found the queue full */
};
void net_link_stats(const struct net_link *l, struct net_link_stats *ret_stats);

/* --- listening --- */

struct net_link_listener;
struct net_link_listener_ops {
    void (*accept)(void *ctx, struct net_link *l); /* set ops within the call */
    /* A handshake failed. Optional. */
    void (*refused)(void *ctx, enum net_refusal refusal, const char *peer, const char *why);
};
int net_link_listen(struct sys_loop *loop, const struct sys_addr *addr, struct net_tls *tls,
                    const struct net_link_listener_ops *ops, void *ctx,
                    struct net_link_listener **ret_listener, struct a_error *reterr) A_MUST_CHECK;
/* For connections from now on. */
void net_link_listener_set_tls(struct net_link_listener *l, struct net_tls *tls);
void net_link_listener_addr(const struct net_link_listener *l, struct sys_addr *ret_addr);
void net_link_listener_close(struct net_link_listener *l); /* links stay; NULL is allowed */

/* --- dialling --- */

struct net_dialer;

struct net_dialer_ops {
    /* A connection stands: set its ops within the call and say HELLO. The link is the owner's. */
    void (*up)(void *ctx, struct net_dialer *d, struct net_link *l);
    /* An attempt failed; the next begins in `next_ms`. Optional. */
    void (*failed)(void *ctx, struct net_dialer *d, int rc, const char *why, uint64_t next_ms);
};

/* Zero = default. */
struct net_dialer_options {
    const char *host;        /* required; copied */
    uint16_t port;           /* required */
    struct sys_pool *dns;    /* for names */
    uint64_t seed;           /* of the jitter */
    uint64_t backoff_min_ms; /* 100 */
    uint64_t backoff_max_ms; /* 5000 */
    uint64_t timeout_ms;     /* of one attempt: once for the connection, once for TLS; 5 s */
    struct net_tls *tls;     /* required */
};

/* Dials now, and again after each failure: the pause doubles from min to max, each drawn from its upper half.
 * -EINVAL for a name without `dns`. */
int net_dialer_new(struct sys_loop *loop, const struct net_dialer_options *options,
                   const struct net_dialer_ops *ops, void *ctx, struct net_dialer **ret_dialer,
                   struct a_error *reterr) A_MUST_CHECK;
/* What it shows and trusts from the next attempt on. */
void net_dialer_set_tls(struct net_dialer *d, struct net_tls *tls);
/* The owner's link ended (closed was told, or the owner closed it): dial again after a pause. */
void net_dialer_again(struct net_dialer *d);
/* The peer answered as it should (WELCOME): the next pause is the shortest again. */
void net_dialer_succeeded(struct net_dialer *d);
/* From now on dial this one (REDIRECT), at once; an attempt under way is given up. */
int net_dialer_redirect(struct net_dialer *d, const char *host, uint16_t port,
                        struct a_error *reterr) A_MUST_CHECK;
/* Gives up; the link that was handed out is not touched. NULL is allowed. */
void net_dialer_free(struct net_dialer *d);

/* The pause before attempt `n` (from 0) of the policy above; for tests and for those who dial otherwise. */
struct a_random;
uint64_t net_backoff_ms(struct a_random *random, unsigned n, uint64_t min_ms, uint64_t max_ms);

#endif
