#include "gateway/gateway.h"

#include "base/alloc.h"
#include "base/assert.h"
#include "gateway/core.h"

#define MAX_WAITING 10000

void gw_init(struct gw *gw, const struct gw_options *options)
{
    *gw = (struct gw){.options = *options};
    if (gw->options.max_waiting == 0)
        gw->options.max_waiting = MAX_WAITING;
    a_list_init(&gw->queued);
    a_random_init(&gw->random, options->seed);
    gw->routes.seed = gw->places.seed = gw->endpoints.seed = options->seed;
}

void gw_deinit(struct gw *gw)
{
    if (gw->routes.len > 0 || gw->endpoints.len > 0) {
        gw_view_begin(gw, true);
        gw_view_end(gw, 0);
        gw_endpoints_bury(gw);
    }
    a_assert(gw->endpoints.len == 0 && gw->n_in_flight == 0 && gw->n_waiting == 0);
    a_map_deinit(&gw->routes);
    a_map_deinit(&gw->places);
    a_map_deinit(&gw->endpoints);
    a_heap_deinit(&gw->timers);
    a_heap_deinit(&gw->stalls);
    a_heap_deinit(&gw->drains);
    a_buf_deinit(&gw->key);
    a_free(gw->updates);
    gw->updates = NULL;
    gw->n_updates = gw->cap_updates = 0;
}

struct gw_update *gw_update_add(struct gw *gw, enum gw_update_type type, struct gw_request *request)
{
    if (gw->n_updates == gw->cap_updates) {
        gw->cap_updates = gw->cap_updates == 0 ? 16 : gw->cap_updates * 2;
        gw->updates = a_realloc(gw->updates, gw->cap_updates * sizeof *gw->updates);
    }
    struct gw_update *u = &gw->updates[gw->n_updates++];
    *u = (struct gw_update){.type = type, .request = request};
    return u;
}

void gw_step(struct gw *gw, const struct gw_event *e, const struct gw_update **ret_updates, size_t *ret_n)
{
    gw->n_updates = 0;
    switch (e->type) {
    case GW_VIEW_BEGIN:
        gw_view_begin(gw, e->snapshot);
        break;
    case GW_ROUTE:
        gw_route_set(gw, e->route);
        break;
    case GW_ROUTE_GONE:
        gw_route_gone(gw, e->id);
        break;
    case GW_ENDPOINT:
        gw_endpoint_set(gw, e->endpoint, e->now_ms);
        break;
    case GW_ENDPOINT_GONE:
        gw_endpoint_gone(gw, e->id, e->now_ms);
        break;
    case GW_VIEW_END:
        gw_view_end(gw, e->now_ms);
        break;
    case GW_REQUEST:
        gw_request_begin(gw, e);
        break;
    case GW_FAILED:
        gw_request_failed(gw, e);
        break;
    case GW_COMMITTED:
        gw_request_committed(gw, e);
        break;
    case GW_DONE:
        gw_request_done(gw, e);
        break;
    case GW_TIME:
        gw_requests_expire(gw, e->now_ms);
        gw_stalls_expire(gw, e->now_ms);
        gw_drains_expire(gw, e->now_ms);
        break;
    }
    gw_endpoints_bury(gw);
    *ret_updates = gw->updates;
    *ret_n = gw->n_updates;
}

uint64_t gw_deadline(const struct gw *gw)
{
    return A_MIN(a_heap_deadline(&gw->timers),
                 A_MIN(a_heap_deadline(&gw->stalls), a_heap_deadline(&gw->drains)));
}

const char *gw_cause_name(enum gw_cause cause)
{
    static const char *const names[] = {
#define X(name, text) [GW_CAUSE_##name] = text,
        GW_CAUSES(X)
#undef X
    };
    a_assert((unsigned)cause < GW_CAUSE_COUNT);
    return names[cause];
}
