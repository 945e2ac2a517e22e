/* An HTTPS client on a loop, for the servers of others that the control plane asks: the API servers of
 * Kubernetes. libcurl does TLS, HTTP/1.1 and HTTP/2 and the keeping of connections; its sockets and timers
 * are the loop's. There is no thread but libcurl's own for the name of a host that is no address, once per
 * new connection.
 *
 * One net_web is one server with one set of credentials. Over HTTP/2 all its calls share one connection: a
 * hundred watches cost one socket. A connection that went silent is noticed: when a call runs out of time and
 * not one byte of any other came since it was sent, all calls of that connection end, and the next ones dial
 * anew.
 *
 * Nothing of the owner's is called from within libcurl or from within a function of this file: pieces and
 * ends are told from the loop's round, and a callback may send, cancel, pause, or free the whole client. */
#ifndef A_NET_WEB_H
#define A_NET_WEB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "sys/loop.h"
#include "sys/secret.h"

struct net_web;
struct net_web_call;

/* Zero = default. Everything is copied. */
struct net_web_options {
    const char *base_url;      /* https://host:port, with a path or without; required */
    struct a_view ca;          /* PEM: who may have signed the server's certificate; empty = the system's */
    const char *server_name;   /* that the certificate must be for; NULL = the host of base_url */
    struct a_view certificate; /* PEM: what we show, with what leads to its CA; empty = nothing */
    const struct sys_secret *key;    /* PEM, of the certificate */
    const struct sys_secret *bearer; /* Authorization: Bearer ... */
    const char *user;                /* Authorization: Basic ..., with `password` */
    const struct sys_secret *password;
    bool insecure;               /* the server's certificate is not looked at: whoever answers is believed */
    const char *proxy;           /* http://host:port; NULL = none, whatever the environment names */
    const char *user_agent;      /* NULL = astra/VERSION */
    uint64_t connect_timeout_ms; /* for the connection and its handshake; 5 s */
    unsigned connections_max;    /* to a server without HTTP/2; 16 */
};

/* -EINVAL when base_url is no https:// address, or the certificate and its key cannot be read or do not
 * belong together. Connects nowhere yet. */
int net_web_new(struct sys_loop *loop, const struct net_web_options *options, struct net_web **ret,
                struct a_error *reterr) A_MUST_CHECK;
/* Cancels all calls (nothing is told) and closes the connections. NULL is allowed. */
void net_web_free(struct net_web *w);
/* For the calls from now on: tokens are renewed. */
void net_web_set_bearer(struct net_web *w, struct a_view bearer);

struct net_web_answer {
    int rc; /* 0 when there is a whole answer, whatever its status; else -errno: -ECONNREFUSED, -ENXIO (no
               such host), -EACCES (a certificate that is not to be trusted), -ECONNRESET, -ETIMEDOUT, -EFBIG,
               -EPROTO */
    const struct a_error *error; /* in words, when rc != 0 */
    unsigned status;             /* 0: none came */
    struct a_view body;          /* whole; of an answer in pieces only what came of a refusal */
    const char *content_type;    /* "" = none */
    uint64_t retry_after_ms;     /* of Retry-After in seconds; 0 = none */
    bool http2;
};

/* Used during net_web_send() only, the body included. Zero = default. */
struct net_web_request {
    const char *method;       /* NULL = GET, or POST with a body */
    const char *path;         /* and query, encoded; required, begins with '/' */
    struct a_view body;       /* copied */
    const char *content_type; /* of the body; NULL = application/json */
    const char *accept;       /* NULL = application/json */
    uint64_t timeout_ms;      /* for all of it; 30 s; A_NEVER = none, for answers in pieces */
    uint64_t idle_ms;         /* without a byte of the answer; 0 = none. Does not run while paused */
    size_t body_max;          /* of the answer, or of what is kept of one in pieces; 16 MiB */
    /* Optional, with `piece`: an answer of 2xx has begun; its body may be long in coming. */
    void (*open)(void *ctx);
    /* Answers of 2xx go here as they come, and are not kept; the bytes are gone when it returns. */
    void (*piece)(void *ctx, struct a_view bytes);
    /* Exactly once unless cancelled; the answer is gone when it returns, and the call with it. */
    void (*done)(void *ctx, const struct net_web_answer *answer);
    void *ctx;
};

/* -EINVAL for what cannot be sent. *ret_call may be NULL. */
int net_web_send(struct net_web *w, const struct net_web_request *request, struct net_web_call **ret_call,
                 struct a_error *reterr) A_MUST_CHECK;
/* Nothing is told any more; only before done was told. */
void net_web_call_cancel(struct net_web_call *call);
/* Back-pressure: no piece until resumed. At most 256 KiB of the answer are kept here meanwhile, the rest is
 * left to the server. */
void net_web_call_pause(struct net_web_call *call);
void net_web_call_resume(struct net_web_call *call);

/* Since it was made: connections opened, and calls sent. */
uint64_t net_web_connections(const struct net_web *w);
uint64_t net_web_calls(const struct net_web *w);

#endif
