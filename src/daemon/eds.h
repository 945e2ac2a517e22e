/* Endpoints for Envoy (wire/eds.h), as servers and gateways answer for them: from the view that both have.
 *
 * Who asks with the version that it has is answered when that is no longer the newest, or 304 after the hold
 * that it allows: so a change reaches it at once, and a poll that finds nothing new costs little. A name of
 * which nothing is known has an assignment without endpoints: an Envoy that starts before the app does waits
 * for nobody. Names are looked at together, in one pass over the view, however many ask. */
#ifndef A_DAEMON_EDS_H
#define A_DAEMON_EDS_H

#include "net/http_server.h"
#include "wire/starlink.h"

#define D_EDS_WAITING_MAX 10000 /* who comes then is answered at once */

struct d_eds;

struct d_eds_ops {
    /* False: nothing can be said yet; 503, and who asks keeps what it has. */
    bool (*is_known)(void *ctx);
    /* Calls take(taker, endpoint) for each endpoint of the view. */
    void (*endpoints)(void *ctx, void (*take)(void *taker, const struct wire_sl_endpoint *e), void *taker);
    /* Ends the request. */
    void (*reply)(void *ctx, struct net_http_request *r, const struct net_http_response *response);
};

/* `ops` must outlive it. */
struct d_eds *d_eds_new(struct sys_loop *loop, const struct d_eds_ops *ops, void *ctx);
/* Whoever still waits is answered 503. NULL is allowed. */
void d_eds_free(struct d_eds *e);
/* Answers the DiscoveryRequest in the request's body, now or later. `namespace` NULL = all; of others nothing
 * is told. */
void d_eds_handle(struct d_eds *e, struct net_http_request *r, const char *namespace);
/* The view has changed. */
void d_eds_changed(struct d_eds *e);

#endif
