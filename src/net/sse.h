/* Server-sent events (HTML Living Standard, 9.2.6), taken apart as their bytes come. */
#ifndef A_NET_SSE_H
#define A_NET_SSE_H

#include "base/buf.h"

#define NET_SSE_EVENT_MAX (8u * 1024u * 1024u) /* bytes of one event: an API body */

/* Zero-initialised = before the first byte. */
struct net_sse {
    struct a_buf line, data, event, id;
    bool has_data;
};

void net_sse_deinit(struct net_sse *s); /* safe twice */
/* Calls event(ctx, id, event, data) for each event that ends in these bytes; `id` is the last one seen. A
 * non-zero answer ends the feeding and is returned; -EMSGSIZE for an event past the bound. */
int net_sse_feed(struct net_sse *s, struct a_view bytes,
                 int (*event)(void *ctx, struct a_view id, struct a_view event, struct a_view data),
                 void *ctx) A_MUST_CHECK;

#endif
