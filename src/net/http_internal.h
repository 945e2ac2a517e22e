/* The inside of the HTTP server, shared by http_server.c (connections come and go), http_conn.c (requests in)
 * and http_reply.c (answers out). */
#ifndef A_NET_HTTP_INTERNAL_H
#define A_NET_HTTP_INTERNAL_H

#include "base/list.h"
#include "net/http_server.h"
#include "net/network.h"
#include "sys/clock.h"

enum conn_state {
    CONN_IDLE,  /* between requests */
    CONN_HEAD,  /* a head has begun */
    CONN_BODY,  /* a body comes */
    CONN_ASKED, /* the handler has the request; no answer yet */
    CONN_ANSWER /* an answer in pieces is under way */
};

struct net_http_server {
    struct sys_loop *loop;
    struct net_http_server_options o;
    const struct net_http_server_ops *ops;
    void *ctx;
    struct a_list conns, orphans; /* orphans: requests whose client is gone and whose handler does not know */
    struct a_list listeners;
    struct a_map networks; /* of conns */
    unsigned n_conns;
    struct net_http_server_stats stats;
    bool draining;
    struct sys_timer drain_timer;
    struct sys_defer drain_defer;
    void (*drained)(void *ctx);
    void *drained_ctx;
    struct a_buf scratch; /* the head of the answer that is being written */
    uint64_t date_second;
    char date[SYS_HTTP_DATE_LEN + 1];
};

/* A connection and its request, of which there is at most one at a time. */
struct net_http_conn {
    uint32_t magic;
    struct net_http_server *server; /* NULL once the server is freed under an orphan */
    struct net_stream *stream;      /* NULL: the client is gone */
    struct net_network *network;    /* while there is a stream */
    struct a_list link;
    enum conn_state state;
    bool has_request; /* `r` is somebody's */
    unsigned depth;   /* of calls into the handler: the memory stays until they return */
    bool eof;         /* the client sends no more */
    bool paused;      /* by net_http_request_pause_body */
    bool lost;        /* a write failed: the timer ends it, outside of the handler's call */
    struct a_buf in;  /* bytes that were read and not yet used */
    struct sys_defer resume;
    struct sys_timer timer;
    uint64_t deadline_ms;   /* of the state; A_NEVER = none */
    uint64_t stall_written; /* the client took so much when the stall check began */
    uint64_t stall_ms;      /* when that check is due; A_NEVER = nothing is queued */

    struct net_http_request r;
    struct wire_http_head head;
    struct wire_http_parser parser;
    struct wire_http_decoder decoder;
    struct a_arena arena;
    struct a_buf body;
    uint64_t body_max, body_seen;
    void (*piece)(void *ctx, struct net_http_request *r, struct a_view bytes);
    void *piece_ctx;

    bool keep_alive, chunked, has_length, no_body;
    uint64_t length_left;
    void (*drain)(void *ctx, struct net_http_request *r);
    void *drain_ctx;
};

#define CONN_MAGIC A_MAGIC('H', 'C', 'O', 'N')

static inline struct net_http_conn *request_conn(const struct net_http_request *r)
{
    return A_CONTAINER_OF(r, struct net_http_conn, r);
}

/* http_server.c */
void net_http_conn_deadline(struct net_http_conn *c, uint64_t deadline_ms); /* of the state it is in */
void net_http_conn_lose(struct net_http_conn *c);
void net_http_conn_stall_watch(struct net_http_conn *c);
/* The connection is over, by whichever side: tells on_gone, frees what nobody holds. */
void net_http_conn_end(struct net_http_conn *c, bool abort);
void net_http_conn_free(struct net_http_conn *c);

/* http_conn.c */
extern const struct sys_stream_ops net_http_conn_ops;
void net_http_conn_resume(struct net_http_conn *c); /* goes on with what was read, in this round */
void net_http_conn_read_update(struct net_http_conn *c);

/* http_reply.c */
void net_http_request_end(struct net_http_conn *c);

#endif
