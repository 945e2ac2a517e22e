/* The data path of one thread. A worker has a loop, a listener and a core of its own; nothing here is shared
 * with another worker. The files and what they know:
 *
 *   worker.c    carries the core's updates out, keeps time
 *   client.c    a client's connection: heads in, time-outs, when it ends
 *   exchange.c  one request on it: the body in, sending it, its one end
 *   answer.c    what a replica answers: held or passed on, committed once
 *   upstream.c  connections to replicas, kept and used again
 *   heads.c     heads rewritten on their way through
 *
 * An exchange lives inside its client: one at a time, the next request waits in the client's buffer. Objects
 * that die are emptied at once and given back at the end of the round, so that a caller up the stack can
 * still see that they are gone. */
#ifndef D_GATEWAY_WORKER_H
#define D_GATEWAY_WORKER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "daemon/gateway/access_log.h"
#include "daemon/gateway/options.h"
#include "daemon/gateway/part.h"
#include "daemon/gateway/stats.h"
#include "gateway/gateway.h"
#include "net/network.h"
#include "net/stream.h"
#include "sys/loop.h"
#include "sys/tcp.h"
#include "wire/http1.h"

#define D_GW_HELD_MAX 65536  /* bytes of an answer that may be held before it is committed */
#define D_GW_AHEAD_MAX 65536 /* bytes read ahead of the request under way */
#define D_GW_PEEK_MAX 64     /* longest body by which Ray refuses, and one */
#define D_GW_GATHER_MAX 60   /* pieces of one write */
#define D_GW_LINGER_MS 2000  /* for a client to read a last answer before the connection is cut */

struct d_gw_worker;
struct d_gw_client;

/* Where a replica listens, and the connections to it. */
struct d_gw_replica {
    struct a_map_link by_address;
    char address[48];   /* ip, zero-padded, and the port: the key */
    struct a_list idle; /* d_gw_upstream.link, the last used in front */
    uint32_t n_idle, n_all;
    bool wanted; /* by d_gw_replicas_keep() */
};

/* A connection to a replica. */
struct d_gw_upstream {
    struct a_list link; /* idle, or the worker's graveyard */
    struct d_gw_worker *worker;
    struct d_gw_replica *replica;
    struct sys_stream *stream;  /* NULL: gone */
    struct d_gw_client *client; /* whose exchange it carries; NULL: idle */
    struct a_buf in;            /* a head that is not whole yet */
    struct wire_http_parser parser;
    struct wire_http_decoder body;
    uint64_t idle_since_ms;
    bool connected, reused;
    bool sent;      /* the head is on its way */
    bool head_done; /* of the answer */
    bool keep_alive;
};

enum d_gw_counted { D_GW_COUNTED_NOT, D_GW_COUNTED_WAITING, D_GW_COUNTED_SENT };

/* One request and its answer. Zeroed, but for the buffers' memory, before each. */
struct d_gw_exchange {
    bool active;
    struct gw_request request;
    struct d_gw_app *app;
    enum d_gw_counted counted;

    /* the request */
    enum wire_http_method method;
    bool http10;
    bool close;   /* the client's connection ends with this answer */
    bool chunked; /* the body goes on as chunks */
    struct wire_http_decoder body_in;
    bool body_done;
    bool interim_sent; /* 100 Continue */
    uint64_t body_bytes, max_body, retry_body, timeout_ms, idle_ms;
    struct a_buf head; /* as the replica gets it */
    struct a_buf body; /* as the replica gets it: from its start while `kept`, else what is not sent yet */
    size_t body_sent;  /* of `body`, in this attempt */
    bool kept;
    size_t charged; /* bytes of `body` counted as replay memory */

    /* the attempt */
    struct d_gw_upstream *upstream;
    uint64_t picked_us; /* when it was decided */

    /* the answer */
    unsigned status;
    enum gw_cause cause;
    bool idempotent;
    bool hold, peek, committed, chunked_out, until_close;
    struct a_buf out;           /* the head, and what is held of the body */
    char peeked[D_GW_PEEK_MAX]; /* the beginning of what is held */
    size_t held, hold_max;      /* bytes of the body; with hold_max it is committed */
    uint64_t answer_bytes;

    /* for time-outs and the log */
    uint64_t begun_us, begun_wall_ms, received_ms, active_ms;
    struct a_buf note; /* method, host, target, request id, route: one behind the other */
    uint32_t method_end, host_end, target_end, id_end;
    struct a_buf earlier; /* the attempts before this one, as the log will say them */
    struct a_unit_name unit;
    char ip[46]; /* of the attempt, or of the last one */
    uint16_t port;
};

/* A client's connection. */
struct d_gw_client {
    struct a_list link; /* the worker's clients, spares or graveyard */
    struct d_gw_worker *worker;
    struct net_stream *stream; /* NULL: gone */
    struct net_network *network;
    char host[SYS_ADDR_TEXT]; /* the peer's address; "" on a Unix socket */
    struct a_buf in;          /* bytes that came and were not taken yet */
    struct wire_http_parser parser;
    struct sys_timer timer;
    uint64_t since_ms; /* of the connection, of the last answer, or of the head's first byte */
    bool in_head, first, taking;
    struct d_gw_exchange x;
};

struct d_gw_worker {
    unsigned index, count;
    const struct d_gw_options *options;
    struct sys_loop *loop;
    struct sys_thread *thread;
    struct net_listener *listener;
    struct gw core;
    struct a_random random;

    struct gw_update *updates; /* to be carried out */
    size_t n_updates, cap_updates, next_update;
    bool carrying_out;
    struct sys_timer core_timer, tick;
    struct sys_round round;

    struct a_list clients, spare_clients, spare_upstreams, dead_clients, dead_upstreams;
    unsigned n_spare_clients, n_spare_upstreams;
    struct sys_defer bury;
    struct a_map networks, replicas; /* networks: of clients */
    uint64_t max_clients, max_replay;
    bool draining;
    void (*drained)(void *ctx); /* the last client has gone */
    void *drained_ctx;
    struct sys_post drained_post; /* the crew's: how the main thread is told */

    struct wire_http_head head; /* of the message being read */
    struct a_buf scratch;
    struct a_view gather[D_GW_GATHER_MAX + 4];
    size_t n_gather;
    char chunk_lines[D_GW_GATHER_MAX][WIRE_HTTP_CHUNK_HEADER_MAX];
    size_t n_chunk_lines;

    struct a_map apps; /* d_gw_app: since the last part */
    struct d_gw_totals totals;
    struct d_gw_access_buffer access;
    uint64_t applied; /* batches of the view */
    unsigned ticks;
    bool urgent;
    struct sys_defer report;
    void (*part_ready)(void *ctx, struct d_gw_part *part); /* on this worker's thread; takes the part */
    void *part_ctx;
};

/* ---- worker.c ---- */

/* `part_ready` gets what was counted: each second, and at once when an endpoint failed first or drained. */
void d_gw_worker_init(struct d_gw_worker *w, struct sys_loop *loop, unsigned index, unsigned count,
                      const struct d_gw_options *options, struct d_gw_access_log *log);
void d_gw_worker_deinit(struct d_gw_worker *w);
/* `tls` NULL: without. */
int d_gw_worker_listen(struct d_gw_worker *w, const struct sys_addr *addr, struct net_tls *tls,
                       struct sys_addr *ret_addr, struct a_error *reterr) A_MUST_CHECK;
/* For connections from now on; on the worker's thread. */
void d_gw_worker_set_tls(struct d_gw_worker *w, struct net_tls *tls);
/* Applies one batch of the view: whole frames. */
void d_gw_worker_apply(struct d_gw_worker *w, struct a_view frames);
/* Makes and gives a part now. */
void d_gw_worker_report(struct d_gw_worker *w);
/* Stops listening, ends idle connections; drained(ctx) once the last client has gone. */
void d_gw_worker_drain(struct d_gw_worker *w, void (*drained)(void *ctx), void *ctx);
/* An event for the core; its updates are carried out before this returns, or by the caller up the stack that
 * is carrying updates out already. */
void d_gw_worker_step(struct d_gw_worker *w, const struct gw_event *e);
/* The two halves of a step: an exchange gets its head and body ready in between. */
void d_gw_worker_enqueue(struct d_gw_worker *w, const struct gw_event *e);
void d_gw_worker_carry_out(struct d_gw_worker *w);
/* Updates for this request are void: it is done. */
void d_gw_worker_forget(struct d_gw_worker *w, const struct gw_request *request);
/* A part is due before the loop sleeps. */
void d_gw_worker_urge(struct d_gw_worker *w);
/* Given back at the end of the round. */
void d_gw_worker_bury_client(struct d_gw_worker *w, struct d_gw_client *c);
void d_gw_worker_bury_upstream(struct d_gw_worker *w, struct d_gw_upstream *u);
struct d_gw_upstream *d_gw_worker_new_upstream(struct d_gw_worker *w);

/* ---- client.c ---- */

void d_gw_client_accept(struct d_gw_worker *w, struct net_stream *stream);
/* Ends the connection, and the exchange with it when there is one. */
void d_gw_client_close(struct d_gw_client *c);
/* The same, but what was written still reaches the client. */
void d_gw_client_close_soft(struct d_gw_client *c);
/* The same, by a reset: the client cannot take it for an end. */
void d_gw_client_abort(struct d_gw_client *c);
/* The exchange has ended: the next request, or the end of the connection. */
void d_gw_client_next(struct d_gw_client *c);
/* Reads or stops reading, as back-pressure wants. */
void d_gw_client_flow(struct d_gw_client *c);
/* Something changed that a time-out depends on. */
void d_gw_client_watch(struct d_gw_client *c);

/* ---- exchange.c ---- */

/* The client's head stands in w->head: a request begins. May end at once. */
void d_gw_exchange_begin(struct d_gw_client *c);
/* An exchange without a request, to answer what is none. */
void d_gw_exchange_blank(struct d_gw_client *c);
/* Reading more of the body would only fill memory. */
bool d_gw_exchange_is_stalled(const struct d_gw_client *c);
/* One line of the access log; exchange_log.c. */
/* Keeps what the line will say of the attempt that is over, before the next one takes its place. */
void d_gw_exchange_log_earlier(struct d_gw_exchange *x);
void d_gw_exchange_log(struct d_gw_client *c, uint64_t latency_us);
/* Takes body bytes; returns how many. */
size_t d_gw_exchange_feed(struct d_gw_client *c, struct a_view in);
/* Sends as much of the body as the replica's connection takes. */
void d_gw_exchange_flush(struct d_gw_client *c);
/* Answers from here, with a problem document, and ends the exchange. */
struct d_gw_problem {
    unsigned status;
    const char *code; /* NULL: of the status */
    const char *detail;
    enum gw_cause cause;
    uint32_t retry_after_s;
};
void d_gw_exchange_reply(struct d_gw_client *c, const struct d_gw_problem *problem);
/* The attempt has failed: the core decides. `error` for people. */
void d_gw_exchange_failed(struct d_gw_client *c, enum gw_failure failure, const char *error);
/* The one end of an exchange: told to the core, counted, logged. The client's connection is not touched. */
void d_gw_exchange_end(struct d_gw_client *c, bool complete);
/* SEND, WAIT, ANSWER, ABORT and CUT for this request. */
void d_gw_exchange_update(struct d_gw_client *c, const struct gw_update *u);
/* x->upstream is connected, or failed to be: rc. */
void d_gw_exchange_connected(struct d_gw_client *c, int rc);
struct d_gw_client *d_gw_exchange_client(struct gw_request *request);

/* ---- answer.c ---- */

/* Bytes from the replica, for the exchange of `u`. */
void d_gw_answer_read(struct d_gw_upstream *u, struct a_view bytes);
void d_gw_answer_eof(struct d_gw_upstream *u);

/* ---- upstream.c ---- */

/* A connection to ip:port for the client's exchange: an idle one, not idle for longer than `max_idle_ms`, or
 * a new one. NULL: none can be made; `ret_error` says why. */
struct d_gw_upstream *d_gw_upstream_take(struct d_gw_client *c, const char *ip, uint16_t port,
                                         uint64_t max_idle_ms, const char **ret_error);
/* Its exchange is over: kept for the next one, or closed. */
void d_gw_upstream_release(struct d_gw_upstream *u, bool reusable);
void d_gw_upstream_close(struct d_gw_upstream *u);
/* Connections idle for too long, and replicas without any. */
void d_gw_upstreams_sweep(struct d_gw_worker *w);
/* The view has changed: nothing idle is kept to where no endpoint is, or a dead one. */
void d_gw_replicas_keep(struct d_gw_worker *w);

/* ---- heads.c ---- */

/* w->head, as it goes to the replica, into x->head. */
void d_gw_head_to_replica(struct d_gw_client *c);
/* w->head of an answer, as it goes to the client, into x->out. */
void d_gw_head_to_client(struct d_gw_client *c);
/* w->head of a 1xx, as it goes to the client. */
void d_gw_head_interim(const struct d_gw_client *c, struct a_buf *ret_bytes);
/* An answer from here. */
void d_gw_head_problem(struct d_gw_client *c, const struct d_gw_problem *problem, struct a_buf *ret_bytes);

#endif
