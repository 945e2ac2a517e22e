/* The gateway's core: which endpoint answers which request, and what happens when it does not.
 *
 * Pure: time, randomness and what happened come in as events, what is to be done goes out as updates; no
 * payload byte passes through. One object per thread. Requests are the caller's objects: a struct gw_request
 * lies inside each of them, so that neither picking nor waiting allocates. docs/components/gateway.md has the
 * events, the updates and the numbered invariants. */
#ifndef A_GATEWAY_GATEWAY_H
#define A_GATEWAY_GATEWAY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/random.h"
#include "gateway/budget.h"
#include "types/id.h"
#include "types/latency.h"
#include "wire/starlink.h"

struct gw_policy;

/* Counters since the last gw_endpoint_reported(). */
struct gw_counts {
    uint64_t ok, failed, refused, resent;
    uint64_t latency_us_sum; /* to the first byte of the answer, of `ok` */
    struct a_latency latency;
};

/* Why a request got an answer that no replica gave; the word travels in x-astra-cause and in metrics. */
#define GW_CAUSES(X)                                                                                         \
    X(NONE, "none")                                                                                          \
    X(APP, "app")                                                                                            \
    X(NODE_LOST, "node_lost")                                                                                \
    X(DRAIN, "drain")                                                                                        \
    X(GATEWAY, "gateway")                                                                                    \
    X(NO_CAPACITY, "no_capacity")                                                                            \
    X(TIMEOUT, "timeout")                                                                                    \
    X(CLIENT, "client")
#define X(name, text) GW_CAUSE_##name,
enum gw_cause { GW_CAUSES(X) GW_CAUSE_COUNT };
#undef X
const char *gw_cause_name(enum gw_cause cause);

struct gw_route {
    struct a_map_link by_id, by_place; /* place = host NUL prefix */
    char *id, *place;
    const char *prefix; /* inside `place` */
    size_t host_len, prefix_len;
    char *rewrite; /* NULL = the path is sent as it came */
    char *application;
    struct a_app_ref app;
    uint64_t timeout_ms, idle_ms, wait_ms, max_body_bytes, retry_body_bytes;
    uint32_t max_ongoing, units_wanted;
    bool idempotent;
    bool marked; /* seen in the snapshot that is being read */
    const struct gw_policy *policy;
    void *user; /* the daemon's own; NULL at first */
    struct gw_endpoint **endpoints;
    size_t n_endpoints, cap_endpoints;
    struct a_list waiting; /* gw_request.link, in order of arrival */
    struct a_list queued;  /* gw.queued, while somebody waits */
    uint64_t n_waiting, n_in_flight;
    uint64_t answer_us,
        answered_ms; /* mean time until an answer begins (the last ones weigh most); the last */
    /* totals since the process began, for metrics */
    uint64_t requests, retried, waited, by_cause[GW_CAUSE_COUNT];
};

struct gw_endpoint {
    struct a_map_link by_id;
    char *id, *application, *name;
    struct a_app_ref app;
    struct a_unit_name unit;
    struct a_node_id node;
    char ip[46];
    uint16_t port;
    enum wire_sl_endpoint_state state;
    bool proxy, marked, drain_told;
    bool changed;         /* by the view that is being read; what follows comes at its end */
    bool gone;            /* from the view: kept, as DEAD, while something is in flight there */
    uint32_t max_ongoing; /* 0 = the route's */
    uint32_t weight;
    uint32_t in_flight;
    uint32_t failures_in_a_row;
    uint64_t aside_until_ms, failed_at_ms;
    bool lost;            /* a connection broke since it answered last */
    struct a_timer stall; /* of gw.stalls, while somebody waits for an answer */
    uint64_t progress_ms; /* when an answer began last; with nothing in flight before: when one was sent */
    /* DRAINING: when what is under way is cut; A_NEVER = never */
    struct a_timer drain_timer;
    uint64_t requests_until_ms, streams_until_ms;
    uint64_t last_pick_ms;
    struct a_list requests; /* gw_request.link of attempts under way */
    struct a_list held;     /* gw_request.link: lost here, not paid for, waiting for the verdict */
    struct gw_counts counts;
    char error[128]; /* the last one */
    bool reported;   /* nothing new since the last report */
};

#define GW_TRIED_MAX 4
#define GW_TRIES_MAX 6
#define GW_LOST_MAX 3      /* a request that so many replicas did not survive may be what kills them */
#define GW_VERDICT_MS 2000 /* a dead replica is known to the server in well under a second */

enum gw_request_state {
    GW_REQUEST_IDLE,
    GW_REQUEST_WAITING,
    GW_REQUEST_HELD, /* lost, and the budget is spent: until its endpoint is known to be dead */
    GW_REQUEST_SENT,
    GW_REQUEST_COMMITTED,
    GW_REQUEST_ANSWERED, /* refused from here: ANSWER was given */
};

/* Lies in the caller's request. Zero-initialise before the REQUEST event; may be freed after DONE. */
struct gw_request {
    struct a_list link;
    struct a_timer timer; /* end of waiting, or of being held */
    enum gw_request_state state;
    struct gw_route *route;       /* NULL once its route is gone and nothing was decided */
    struct gw_endpoint *endpoint; /* of the attempt under way, or where it is held */
    struct a_unit_name last_unit; /* where it was sent last */
    uint64_t begun_ms, sent_ms;
    uint64_t wait_until_ms;       /* in the queue */
    uint32_t tries, lost;         /* attempts; the endpoints whose connections broke */
    uint64_t tried[GW_TRIED_MAX]; /* hashes of the endpoints tried */
    bool safe_method;             /* GET, HEAD, OPTIONS, TRACE, PUT, DELETE (RFC 9110, 9.2.2) */
    bool replayable;              /* the whole body is kept; the daemon clears it when it is not */
    bool free_resend_used;
    bool stall_resend_used;
    bool stream; /* COMMITTED, and the answer has no length */
};

enum gw_event_type {
    GW_VIEW_BEGIN,
    GW_ROUTE,
    GW_ROUTE_GONE,
    GW_ENDPOINT,
    GW_ENDPOINT_GONE,
    GW_VIEW_END,
    GW_REQUEST,
    GW_FAILED,
    GW_COMMITTED,
    GW_DONE,
    GW_TIME,
};

/* How an attempt failed before its answer was committed. */
enum gw_failure {
    GW_FAILURE_REFUSED,     /* no connection: nothing was sent */
    GW_FAILURE_LOST,        /* the connection broke after something was sent */
    GW_FAILURE_UNAVAILABLE, /* 503 by Ray: it did not take the request */
    GW_FAILURE_TIMEOUT,     /* the route's timeout: not sent again */
};

struct gw_event {
    enum gw_event_type type;
    uint64_t now_ms;
    union {
        bool snapshot;                           /* VIEW_BEGIN */
        const struct wire_sl_route *route;       /* ROUTE */
        const struct wire_sl_endpoint *endpoint; /* ENDPOINT */
        struct a_view id;                        /* ROUTE_GONE, ENDPOINT_GONE */
        struct {
            struct gw_request *request;
            struct a_view host, path, method; /* REQUEST; the path without its query */
            bool has_length;
            uint64_t length;         /* of the body, when the head says */
            enum gw_failure failure; /* FAILED */
            const char *error;       /* FAILED: for people */
            bool ok;                 /* DONE: the whole answer went through */
            uint64_t latency_us;     /* COMMITTED: since SEND */
            bool stream;             /* COMMITTED: the answer has no length */
        };
    };
};

enum gw_update_type {
    GW_SEND,
    GW_WAIT,
    GW_ANSWER,
    GW_ABORT,
    GW_CUT, /* its drain is over: end the answer that has begun */
    GW_DRAINED,
};

struct gw_update {
    enum gw_update_type type;
    struct gw_request *request;
    struct gw_endpoint *endpoint; /* SEND, DRAINED */
    int status;                   /* ANSWER: HTTP status */
    enum gw_cause cause;          /* ANSWER */
    const char *detail;           /* ANSWER: for people; static */
    uint32_t retry_after_s;       /* ANSWER: 0 = none */
};

struct gw_options {
    uint64_t seed;
    uint32_t max_waiting; /* requests in all queues; default 10,000 */
    bool no_resend;       /* each request has one attempt */
};

struct gw {
    struct gw_options options;
    struct a_random random;
    struct a_map routes;    /* by id */
    struct a_map places;    /* by host and prefix */
    struct a_map endpoints; /* by id */
    struct a_heap timers;   /* gw_request.timer */
    struct a_heap stalls;   /* gw_endpoint.stall */
    struct a_heap drains;   /* gw_endpoint.drain_timer */
    struct gw_budget budget;
    struct a_list queued; /* gw_route.queued: routes with somebody waiting */
    struct a_buf key;     /* of the look-up under way */
    size_t prefix_max;    /* of all routes so far */
    struct gw_update *updates;
    size_t n_updates, cap_updates;
    bool in_view, in_snapshot;
    uint64_t n_waiting, n_in_flight, no_route;
    size_t n_gone;    /* endpoints that are gone */
    uint64_t stalled; /* endpoints that were set aside for giving no answers, total */
};

void gw_init(struct gw *gw, const struct gw_options *options);
/* Every request must be done. Safe twice. */
void gw_deinit(struct gw *gw);

/* Takes one event. *ret_updates (in order, *ret_n of them) belong to the core until the next call. Never
 * fails: what a view or a client sends wrong leads to an answer or is ignored. */
void gw_step(struct gw *gw, const struct gw_event *event, const struct gw_update **ret_updates,
             size_t *ret_n);
/* When GW_TIME is due, or A_NEVER. */
uint64_t gw_deadline(const struct gw *gw);

/* Most specific route: exact host before "*", then the longest prefix that ends at a '/' or at the path's
 * end. NULL when there is none. */
struct gw_route *gw_route_find(struct gw *gw, struct a_view host, struct a_view path);

/* What `e` counted (counts, error, in_flight) was taken over: counts are 0 again, and `reported` until
 * something changes. */
void gw_endpoint_reported(struct gw_endpoint *e);
struct gw_endpoint *gw_endpoint_find(struct gw *gw, struct a_view id); /* NULL when there is none */
/* Endpoints one by one, NULL at the end; also those that are gone and still have something in flight. */
struct gw_endpoint *gw_endpoint_next(struct gw *gw, struct gw_endpoint *prev);
struct gw_route *gw_route_next(struct gw *gw, struct gw_route *prev);

#endif
