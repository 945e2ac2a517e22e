/* The view of the routes and endpoints: as the server sends it, as the workers get it, as it is kept on disk.
 *
 * What comes between VIEW_BEGIN and VIEW_END is one batch, applied whole or, when the connection breaks
 * inside it, not at all. The frames of each route and endpoint are kept, so that the folder --data holds a
 * snapshot from which a gateway serves after a restart with every server away.
 *
 * What a batch takes away must not come back by that: the server stops a unit once its withdrawal is
 * acknowledged. So such a batch is written at once, and acknowledged when it is on disk (`kept`); what only
 * adds is written with the next one, or a second later. */
#ifndef D_GATEWAY_VIEW_H
#define D_GATEWAY_VIEW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/list.h"
#include "base/map.h"
#include "daemon/gateway/part.h"
#include "sys/loop.h"
#include "sys/pool.h"
#include "wire/starlink.h"

/* A route or an endpoint: its frame, and what the workers counted at an endpoint. */
struct d_gw_record {
    struct a_map_link by_key;
    char *key; /* 'r' or 'e', then the id */
    struct a_buf frame;
    bool marked;
    uint64_t since_batch; /* parts of workers that had not applied this one speak of another endpoint */

    bool is_endpoint, dirty;
    uint64_t seen_ms;  /* vouch.h: when it surely was at its place; 0 = not known */
    struct a_list due; /* d_gw_vouch.due */
    enum wire_sl_endpoint_state state;
    struct a_app_ref app;
    struct a_unit_name unit;
    uint64_t *in_flight;                                  /* by worker */
    uint64_t ok, failed, refused, resent, latency_us_sum; /* since the last report to the server */
    struct a_latency latency;
    uint64_t ok_total, failed_total;
    char error[128];
};

struct d_gw_view {
    struct sys_loop *loop;
    unsigned workers;
    struct a_map records;
    struct a_buf batch; /* being read, or just read */
    bool in_batch, batch_snapshot;
    uint64_t batches;
    uint64_t sequence;    /* of the last batch; 0 = none */
    struct a_uuid server; /* which sent it */

    struct sys_pool *pool;
    char *path; /* NULL: not kept */
    struct sys_timer save_timer;
    struct sys_work save_work;
    struct a_buf saved;
    bool saving, save_again;
    int save_rc;
    uint64_t takes;  /* the last batch that took something away */
    uint64_t making; /* batches in the file that is being written */
    uint64_t kept;   /* batches that are on disk; without a folder all are, as far as anyone waits for it */
    void (*on_kept)(void *ctx); /* `kept` rose; set before the first batch, may be NULL */
    void *ctx;
};

/* `folder` is made when it is missing; "" = nothing is kept. */
int d_gw_view_open(struct d_gw_view *v, struct sys_loop *loop, const char *folder, unsigned workers,
                   struct a_error *reterr) A_MUST_CHECK;
/* Writes what was not written yet. Safe on a zeroed view and twice. */
void d_gw_view_close(struct d_gw_view *v);
/* The kept view as a batch in v->batch: true when there is one. */
bool d_gw_view_load(struct d_gw_view *v);
/* One message of the view, from that server; true when it ended a batch, which stands in v->batch until the
 * next message. */
bool d_gw_view_take(struct d_gw_view *v, const struct wire_sl_message *m, const struct a_uuid *server);
/* The connection broke: half a batch is nothing. */
void d_gw_view_break(struct d_gw_view *v);
/* What a worker counted at the endpoints. */
void d_gw_view_count(struct d_gw_view *v, const struct d_gw_part *part);
/* NULL: the view has none of that id. */
struct d_gw_record *d_gw_view_endpoint(const struct d_gw_view *v, struct a_view id);
/* Calls take(ctx, endpoint) for all of the view; what it is given lives during the call. */
void d_gw_view_endpoints(const struct d_gw_view *v, void (*take)(void *ctx, const struct wire_sl_endpoint *e),
                         void *ctx);
uint64_t d_gw_record_in_flight(const struct d_gw_view *v, const struct d_gw_record *r);

#endif
