/* An HTTP/1.1 server on a loop: for the API, admin pages and metrics.
 *
 * A request is handed over with its head and its whole body (bounded), or, when the `begin` hook asks for it,
 * with its body in pieces. It is answered once: whole by net_http_reply(), or in pieces after
 * net_http_stream_begin() (chunked, or of a length told before; server-sent events are such a stream).
 * Answers may come at any time later on the same loop. Requests of one connection are served one after the
 * other.
 *
 * A request belongs to the server. It ends with its answer (net_http_reply, net_http_stream_end): the pointer
 * and all its views are gone then. When the client goes away before, `on_gone` of the request is told and it
 * ends with that call; a request without `on_gone` stays valid until it is answered, into the void. */
#ifndef A_NET_HTTP_SERVER_H
#define A_NET_HTTP_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "net/problem.h"
#include "net/stream.h"
#include "sys/loop.h"
#include "wire/http1.h"

struct net_http_server;
struct net_http_conn;

struct net_http_request {
    const struct wire_http_head *head;
    struct a_view path;    /* target without its query, still encoded */
    struct a_view query;   /* after '?', may be empty */
    struct a_view body;    /* whole; empty when it was taken in pieces */
    struct a_arena *arena; /* lives as long as the request */
    void *user;            /* the handler's own */
    /* Set by the handler, when it wants to know. */
    void (*on_gone)(void *ctx, struct net_http_request *r);
    void *on_gone_ctx;
};

struct net_http_header {
    const char *name, *value;
};

/* Zero = default. */
struct net_http_server_options {
    size_t body_max;                  /* of a whole body; 8 MiB */
    size_t stream_max;                /* out-queue of a streamed answer; 1 MiB */
    unsigned connections_max;         /* 4096; more are closed at once */
    unsigned network_connections_max; /* of one network (net/network.h); a quarter of connections_max */
    uint64_t head_timeout_ms; /* from the first byte of a head to its last: 10 s, against slow attackers */
    uint64_t body_timeout_ms; /* between two pieces of a body: 30 s */
    uint64_t idle_timeout_ms; /* between two requests: 75 s, above the minute that clients and proxies keep */
    uint64_t write_timeout_ms; /* an answer of which the client takes nothing: 60 s */
    const char *server_name;   /* Server: header; NULL = none */
    struct net_tls *tls;       /* of its listeners; NULL = plain HTTP */
};

struct net_http_server_ops {
    /* The request is complete: answer it now or later. */
    void (*handle)(void *ctx, struct net_http_request *r);
    /* Optional: the head is there, the body not yet. May answer (the body is then not read: the connection
     * closes after the answer), raise the body's bound, or take the body in pieces. */
    void (*begin)(void *ctx, struct net_http_request *r);
    /* Optional: a TLS handshake failed. */
    void (*refused)(void *ctx, enum net_refusal refusal, const char *peer, const char *why);
};

/* `ops` must outlive the server. */
struct net_http_server *net_http_server_new(struct sys_loop *loop,
                                            const struct net_http_server_options *options,
                                            const struct net_http_server_ops *ops, void *ctx);
/* May be called several times; *ret_addr (may be NULL) is the address with its real port. */
int net_http_server_listen(struct net_http_server *s, const struct sys_addr *addr,
                           const struct sys_listen_options *options, struct sys_addr *ret_addr,
                           struct a_error *reterr) A_MUST_CHECK;
/* For the connections of its listeners from now on. */
void net_http_server_set_tls(struct net_http_server *s, struct net_tls *tls);
/* Serves a connection accepted elsewhere. */
void net_http_server_adopt(struct net_http_server *s, struct net_stream *stream);
/* Stops listening, closes idle connections, lets the others finish their answer; done(ctx) once none is left,
 * at the latest after `timeout_ms`, when the rest is cut. Never from within this call. */
void net_http_server_drain(struct net_http_server *s, uint64_t timeout_ms, void (*done)(void *ctx),
                           void *ctx);
/* Cuts all connections (on_gone is told) and frees the server. NULL is allowed. */
void net_http_server_free(struct net_http_server *s);

struct net_http_server_stats {
    uint64_t connections_open, connections_total, connections_refused;
    uint64_t requests_total, malformed_total, timeouts_total;
};
void net_http_server_stats(const struct net_http_server *s, struct net_http_server_stats *ret_stats);

/* --- the request --- */

/* In begin only: this request's body may have so many bytes. */
void net_http_request_set_body_max(struct net_http_request *r, uint64_t max);
/* In begin only: the body comes in pieces, each gone when the call returns; handle is called at its end. An
 * error of the client's (cut short) is on_gone. */
void net_http_request_take_body(struct net_http_request *r,
                                void (*piece)(void *ctx, struct net_http_request *r, struct a_view bytes),
                                void *ctx);
/* Back-pressure on such a body: no pieces (but one that is on its way) until resumed. */
void net_http_request_pause_body(struct net_http_request *r);
void net_http_request_resume_body(struct net_http_request *r);
/* A header's value, or the empty view; `name` in lower case. */
struct a_view net_http_request_header(const struct net_http_request *r, const char *name);
const char *net_http_request_peer(const struct net_http_request *r);
/* True when the client went away (only seen by requests without on_gone): work for it is wasted. */
bool net_http_request_is_gone(const struct net_http_request *r);

/* --- the answer --- */

/* Zero = default. */
struct net_http_response {
    unsigned status;          /* 0 = 200 */
    const char *content_type; /* NULL = none */
    const struct net_http_header *headers;
    size_t n_headers;
    struct a_view body;
    bool close;              /* the connection ends with this answer */
    bool has_content_length; /* net_http_stream_begin: exactly so many bytes follow, instead of chunks */
    uint64_t content_length;
};

/* The whole answer; `response` is used during the call only. Ends the request. */
void net_http_reply(struct net_http_request *r, const struct net_http_response *response);
/* A body of one type and nothing else. */
void net_http_reply_text(struct net_http_request *r, unsigned status, const char *content_type,
                         struct a_view body);
/* The problem document of an error; the status follows from its code. */
void net_http_reply_error(struct net_http_request *r, const struct a_error *e,
                          const struct net_problem_where *where);

/* Begins an answer in pieces. */
void net_http_stream_begin(struct net_http_request *r, const struct net_http_response *response);
/* 0; -ENOBUFS when the out-queue is full (nothing was added: the owner drops or resynchronises this client);
 * -EPIPE when the client is gone (on_gone follows or was told); -EMSGSIZE past the announced length. An empty
 * piece is nothing. */
int net_http_stream_write(struct net_http_request *r, struct a_view bytes) A_MUST_CHECK;
/* Above a quarter of the bound: better wait for on_drain. */
bool net_http_stream_is_full(const struct net_http_request *r);
void net_http_stream_on_drain(struct net_http_request *r, void (*fn)(void *ctx, struct net_http_request *r),
                              void *ctx);
/* Ends the request. An answer shorter than announced cuts the connection, so that the client notices. */
void net_http_stream_end(struct net_http_request *r);
/* Cuts the connection in the middle of the answer: the client must not take it for complete. Ends the
 * request. */
void net_http_stream_abort(struct net_http_request *r);

/* One server-sent event: id and event may be empty, data may have several lines. */
int net_http_sse_write(struct net_http_request *r, struct a_view id, struct a_view event,
                       struct a_view data) A_MUST_CHECK;
/* The comment that keeps the connection alive. */
int net_http_sse_ping(struct net_http_request *r) A_MUST_CHECK;

/* Streams `len` bytes of a file from `offset`, at the client's pace; takes the descriptor. Ends the request.
 */
void net_http_reply_file(struct net_http_request *r, const struct net_http_response *response, int fd,
                         uint64_t offset, uint64_t len);

#endif
