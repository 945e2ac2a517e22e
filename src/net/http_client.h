/* An HTTP/1.1 client on a loop, for small control requests: an agent to its member's Ray dashboard, a
 * gateway's probes. Connections are kept and used again. No TLS here. */
#ifndef A_NET_HTTP_CLIENT_H
#define A_NET_HTTP_CLIENT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "net/http_server.h"
#include "sys/loop.h"
#include "sys/pool.h"
#include "sys/secret.h"
#include "wire/http1.h"

struct net_http_client;
struct net_http_call;

/* Zero = default. */
struct net_http_client_options {
    struct sys_pool *dns; /* for names; without it hosts are numeric */
    unsigned idle_max;    /* connections kept; 64 */
    uint64_t idle_ms;     /* and how long; 4 s: servers commonly close after 5 s */
};

struct net_http_client *net_http_client_new(struct sys_loop *loop,
                                            const struct net_http_client_options *options);
/* Cancels all calls (nothing is told) and closes the connections. NULL is allowed. */
void net_http_client_free(struct net_http_client *c);

/* Used during net_http_client_send() only. Zero = default. */
struct net_http_call_options {
    const char *method;                    /* NULL = GET, or POST with a body */
    const char *host;                      /* required; a name or numeric */
    uint16_t port;                         /* required */
    const char *target;                    /* path and query; NULL = / */
    const struct net_http_header *headers; /* Host, Content-Length and Connection are made here */
    size_t n_headers;
    const char *content_type; /* of the body */
    struct a_view body;
    const struct sys_secret *bearer; /* Authorization: Bearer ... */
    uint64_t connect_timeout_ms;     /* 2 s */
    uint64_t timeout_ms;             /* for all of it; 10 s */
    size_t body_max;                 /* of the answer; 1 MiB */
};

struct net_http_answer {
    int rc; /* 0 when there is an answer, whatever its status; else -errno: -ECONNREFUSED,
               -ECONNRESET, -ETIMEDOUT, -EFBIG, -EPROTO */
    const struct a_error *error; /* in words, when rc != 0 */
    unsigned status;
    const struct wire_http_head *head; /* NULL when rc != 0 */
    struct a_view body;
};

/* done(ctx, answer) exactly once unless cancelled, never from within this call; the answer is gone when it
 * returns. A request that fails on a reused connection before any byte of an answer came is sent once more on
 * a fresh one when its method is idempotent. -EINVAL for what cannot be sent. *ret_call may be NULL. */
int net_http_client_send(struct net_http_client *c, const struct net_http_call_options *options,
                         void (*done)(void *ctx, const struct net_http_answer *answer), void *ctx,
                         struct net_http_call **ret_call, struct a_error *reterr) A_MUST_CHECK;
/* Nothing is told any more; only before done was told. */
void net_http_call_cancel(struct net_http_call *call);
unsigned net_http_client_connections(const struct net_http_client *c); /* open now */

#endif
