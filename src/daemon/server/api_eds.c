/* Endpoints for Envoy: what d_eds asks of a server. */
#include "daemon/eds.h"
#include "daemon/server/api.h"

static bool eds_is_known(void *ctx)
{
    return d_routes_are_known(((struct api *)ctx)->s);
}

static void eds_endpoints(void *ctx, void (*take)(void *taker, const struct wire_sl_endpoint *e), void *taker)
{
    d_routes_endpoints(((struct api *)ctx)->s, take, taker);
}

static void eds_reply(void *ctx, struct net_http_request *r, const struct net_http_response *response)
{
    (void)ctx;
    api_reply(r->user, response);
}

static const struct d_eds_ops eds_ops = {
    .is_known = eds_is_known, .endpoints = eds_endpoints, .reply = eds_reply};

void api_eds_begin(struct api *a)
{
    a->eds = d_eds_new(a->s->loop, &eds_ops, a);
}

void api_eds_close(struct api *a)
{
    d_eds_free(a->eds);
    a->eds = NULL;
}

void d_api_eds_tell(struct server *s)
{
    if (s->api != NULL && s->api->eds != NULL)
        d_eds_changed(s->api->eds);
}

void api_handle_EDS(struct api_call *c)
{
    if (c->replay != NULL)
        api_reply_problem(c, A_CODE_INVALID, "this call changes nothing: it takes no Idempotency-Key");
    else
        d_eds_handle(c->api->eds, c->r, c->scope);
}
