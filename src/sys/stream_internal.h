/* The inside of a stream, shared by stream.c (data), connect.c and listen.c (how streams come to be). */
#ifndef A_SYS_STREAM_INTERNAL_H
#define A_SYS_STREAM_INTERNAL_H

#include "sys/loop_internal.h"
#include "sys/tcp.h"

struct sys_stream {
    struct sys_handle handle;
    uint32_t magic;
    union {
        uv_handle_t any;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct sys_loop *loop;
    const struct sys_stream_ops *ops;
    void *ctx;
    struct sys_stream_limits limits;

    bool connecting; /* writes are only queued */
    bool want_read;  /* the owner wants bytes */
    bool reading;    /* libuv reads */
    bool eof;        /* the peer's end was read */
    bool broken;     /* an error was met; nothing more is told */
    bool was_full;   /* drain is owed */
    bool shutdown_asked, shutdown_begun, shutdown_done;
    bool soft;          /* close_soft: we own it ourselves until it ends */
    bool closed;        /* by the owner */
    bool handle_closed; /* libuv is done with it */
    bool resolving;     /* the dns pool still holds a pointer */

    struct a_list throttle;
    uint64_t budget_round;
    size_t budget_used;

    bool writing; /* `flight` is with libuv */
    struct a_buf flight, pending;
    uv_write_t write_req;
    uv_shutdown_t shutdown_req;

    struct sys_timer timer; /* connect's time-out, then close_soft's linger */
    uint64_t bytes_read, bytes_accepted;
    uint64_t linger_ms, linger_mark; /* close_soft: patience, and what was written when it began */
    uint64_t linger_end_ms;          /* close_soft: no progress helps beyond it */
    bool linger_mark_done;
    char *peer_text;
    struct sys_connect_state *connect;
};

/* A stream without a connection; `family` AF_UNIX or AF_INET/6 chooses the libuv handle. */
struct sys_stream *sys_stream_new(struct sys_loop *loop, int family);
/* The connection stands: sends what was queued meanwhile. */
void sys_stream_connected(struct sys_stream *s);
/* Frees a stream once everybody let go of it. */
void sys_stream_maybe_free(struct sys_stream *s);
/* Of connect.c: gives up a connect that is under way. */
void sys_connect_cancel(struct sys_stream *s);
int sys_stream_fd(const struct sys_stream *s); /* -1 when there is none */

#endif
