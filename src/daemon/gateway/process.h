/* The gateway's process, between its files: gateway.c (life), crew.c (the workers and their parts), link.c
 * (the server), admin.c. All of it belongs to the main thread. */
#ifndef D_GATEWAY_PROCESS_H
#define D_GATEWAY_PROCESS_H

#include "daemon/gateway/options.h"
#include "daemon/gateway/view.h"
#include "daemon/gateway/vouch.h"
#include "daemon/gateway/worker.h"
#include "daemon/identity.h"
#include "net/http_server.h"
#include "net/starlink.h"
#include "sys/loop.h"

/* A batch that is not acknowledged yet: not every worker has applied it, or what it takes away is not on
 * disk. */
struct d_gw_batch {
    struct a_list link;
    uint64_t number, sequence;
    uint64_t takes;       /* the last batch up to this one that took something away */
    struct a_uuid server; /* to be acknowledged there */
    struct a_buf frames;
};

struct d_gateway {
    struct d_gw_options options;
    struct sys_loop *loop;
    struct d_gw_worker *workers;
    unsigned n_workers;
    struct d_gw_access_log *access;
    struct d_gw_view view;
    struct d_gw_vouch vouch;
    bool has_view, stale; /* stale: no server stands behind it now */
    struct a_list batches;
    uint64_t *applied; /* by worker */

    struct d_gw_totals *totals; /* by worker */
    struct a_map apps;          /* d_gw_app since the process began */
    struct a_map apps_new;      /* since the last report to the server */
    struct sys_timer report_timer;

    struct d_identity identity;
    char *server_host;
    uint16_t server_port;
    struct sys_pool *dns;
    struct net_dialer *dialer;
    struct net_link *link;
    bool welcome;                  /* the server of `link` has taken us */
    struct a_uuid boot_id, server; /* ours; of the server of `link` */
    uint64_t attach;

    struct net_http_server *admin;
    struct d_eds *eds;
    uint16_t port, admin_port;
    char address[256]; /* told to the server */

    struct net_tls **tls; /* by worker, until it listens; NULL: without TLS */
    struct a_digest tls_seen[2];
    uint64_t tls_not_after_ms;
    bool tls_end_told;
    struct sys_timer tls_timer;

    struct sys_signal *term, *interrupt, *hangup;
    bool draining;
    unsigned busy_workers;
    struct sys_timer drain_timer;
    int status;
};

/* ---- crew.c ---- */

int d_gw_crew_start(struct d_gateway *g, struct a_error *reterr) A_MUST_CHECK;
/* Gives v->batch to every worker; when all have applied it, and what it takes away is on disk,
 * d_gw_link_applied() is called, for one batch after the other. */
void d_gw_crew_apply(struct d_gateway *g);
/* The view's file has grown up to view.kept. `ctx` is the gateway. */
void d_gw_crew_kept(void *ctx);
/* Every worker hands its part in, then done(ctx). */
void d_gw_crew_gather(struct d_gateway *g, void (*done)(void *ctx), void *ctx);
/* For connections from now on: one for each worker, whose it becomes. */
void d_gw_crew_set_tls(struct d_gateway *g, struct net_tls **tls);
/* Stops taking connections; loop stops when the last request has ended. */
void d_gw_crew_drain(struct d_gateway *g);
void d_gw_crew_stop(struct d_gateway *g);

/* ---- link.c ---- */

int d_gw_link_start(struct d_gateway *g, struct a_error *reterr) A_MUST_CHECK;
void d_gw_link_stop(struct d_gateway *g);
/* Gives the connection up and dials anew. */
void d_gw_link_again(struct d_gateway *g);
void d_gw_link_applied(struct d_gateway *g, const struct d_gw_batch *b);
/* Endpoints' reports, of those that changed. */
void d_gw_link_report_endpoints(struct d_gateway *g);

/* ---- certificate.c: --tls-cert and --tls-key, if they were given ---- */

int d_gw_certificate_open(struct d_gateway *g, struct a_error *reterr) A_MUST_CHECK;
void d_gw_certificate_watch(struct d_gateway *g); /* from now on they are read again when they change */
void d_gw_certificate_read(struct d_gateway *g);  /* now */
void d_gw_certificate_close(struct d_gateway *g);

/* ---- admin.c ---- */

int d_gw_admin_start(struct d_gateway *g, struct a_error *reterr) A_MUST_CHECK;
/* The view is another one. */
void d_gw_admin_tell(struct d_gateway *g);
void d_gw_admin_stop(struct d_gateway *g);

#endif
