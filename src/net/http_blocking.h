/* A blocking HTTP client (libcurl) for the command line and for work in pools: TLS, files, progress,
 * server-sent events. Not for a loop's thread. One session is one thread's; its connections are used again.
 */
#ifndef A_NET_HTTP_BLOCKING_H
#define A_NET_HTTP_BLOCKING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "net/http_server.h"
#include "sys/secret.h"

struct net_blocking;

/* Zero = default. */
struct net_blocking_options {
    const char *base_url;           /* https://127.0.0.1:7700; required */
    struct a_view ca;               /* PEM: the authorities to trust, and no others; empty = the system's.
                                       Copied. A server is known by its authority then, not by its name:
                                       ours signs no server but Astra's */
    const struct sys_secret *token; /* Authorization: Bearer ...; copied */
    uint64_t connect_timeout_ms;    /* 5 s */
    const char *user_agent;
};

int net_blocking_new(const struct net_blocking_options *options, struct net_blocking **ret_session,
                     struct a_error *reterr) A_MUST_CHECK;
void net_blocking_free(struct net_blocking *b); /* NULL is allowed */

/* Zero = default. */
struct net_blocking_request {
    const char *method; /* NULL = GET, or POST with a body */
    const char *path;   /* path and query behind base_url; required */
    const struct net_http_header *headers;
    size_t n_headers;
    const char *content_type; /* NULL = application/json when there is a body */
    struct a_view body;
    const char *upload_path; /* instead of body: this file, streamed */
    uint64_t timeout_ms;     /* 60 s; with upload_path, download_path or event: silence, not the whole */
    size_t body_max;         /* of an answer in memory; 64 MiB */
    const char
        *download_path; /* a 2xx answer's body goes to this file (atomically: it appears when complete) */
    /* Bytes so far, and in all (0 = unknown), of the larger direction. A non-zero answer aborts with it. */
    int (*progress)(void *ctx, uint64_t done_bytes, uint64_t total_bytes);
    /* Server-sent events, one call each; `id` and `event` may be empty. A non-zero answer ends the request,
     * which returns it when negative and 0 when positive. */
    int (*event)(void *ctx, struct a_view id, struct a_view event, struct a_view data);
    void *ctx;
    /* Pieces of a 2xx body as they come, instead of ret_body (logs that follow). As `event` for its answer.
     */
    int (*piece)(void *ctx, struct a_view bytes);
};

struct net_blocking_answer {
    unsigned status;
    struct a_buf body;      /* owned: net_blocking_answer_deinit() */
    char content_type[128]; /* "" when none */
    char etag[128];
};
void net_blocking_answer_deinit(struct net_blocking_answer *a); /* safe on a zeroed one and twice */
#define NET_BLOCKING_ANSWER_AUTO A_CLEANUP(net_blocking_answer_deinit)

/* Sends and waits. 0 with any status below 400; -EREMOTEIO when the server answered 400 or above: *ret_answer
 * is filled and `reterr` says what the problem document says, with its code; else -errno (-ECONNREFUSED,
 * -ETIMEDOUT, -ECONNRESET, -EFBIG, -EIO) with words that name the server. Interrupted by a signal handler's
 * flag through `progress`. */
int net_blocking_send(struct net_blocking *b, const struct net_blocking_request *request,
                      struct net_blocking_answer *ret_answer, struct a_error *reterr) A_MUST_CHECK;

#endif
