/* /v1/top: what goes on now, of each app and its units; and how requests ended over an hour and a month. */
#include <string.h>

#include "daemon/server/api.h"
#include "sys/clock.h"

static void number_or_null(struct a_arena *a, struct wire_value *v, const char *key, double n, bool known)
{
    if (known)
        wire_value_set_number(a, v, key, n);
    else
        wire_value_set_null(a, v, key);
}

static void rate_set(struct a_arena *a, struct wire_value *v, const struct d_rate *rate, uint64_t now_ms)
{
    struct d_rate_slot sum = {0};
    if (rate != NULL)
        d_rate_sum(rate, now_ms, &sum);
    bool any = a_latency_count(&sum.latency) > 0;
    wire_value_set_number(a, v, "requestsPerSecond", (double)sum.requests / D_RATE_SECONDS);
    wire_value_set_number(a, v, "errorsPerSecond", (double)sum.failed / D_RATE_SECONDS);
    wire_value_set_number(a, v, "retriesPerSecond", (double)sum.retried / D_RATE_SECONDS);
    number_or_null(a, v, "p50Seconds", a_latency_quantile_us(&sum.latency, 0.5) / 1e6, any);
    number_or_null(a, v, "p99Seconds", a_latency_quantile_us(&sum.latency, 0.99) / 1e6, any);
}

static struct wire_value *tally_json(struct a_arena *a, const struct d_tally *t)
{
    struct wire_value *v = wire_value_new_object(a), *failed = wire_value_new_object(a);
    for (int i = D_OUTCOME_OK + 1; i < D_OUTCOME_COUNT; i++)
        wire_value_set_int(a, failed, d_outcome_name((enum d_outcome)i), (int64_t)t->n[i]);
    number_or_null(a, v, "ratio", d_tally_ratio(t), d_tally_ratio(t) >= 0);
    wire_value_set_int(a, v, "requests", (int64_t)d_tally_total(t));
    wire_value_set(a, v, "failed", failed);
    return v;
}

struct wire_value *api_json_success(const struct d_app *app, struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    struct d_tally hour, month;
    uint64_t now = sys_clock_wall_ms();
    d_success_hour(&app->counts.success, now, &hour);
    d_success_month(&app->counts.success, now, &month);
    wire_value_set(arena, v, "hour", tally_json(arena, &hour));
    wire_value_set(arena, v, "month", tally_json(arena, &month));
    return v;
}

static struct wire_value *units_json(struct api_call *c, const struct d_app *app, uint64_t now_ms)
{
    struct a_arena *a = c->arena;
    struct wire_value *list = wire_value_new_array(a);
    struct unit_info u;
    for (size_t i = 0; app->fleet != NULL && unit_fleet_unit(app->fleet, i, &u); i++) {
        const struct d_unit *unit = d_unit_find(c->s, &u.name);
        struct wire_value *v = wire_value_new_object(a);
        wire_value_set_string(a, v, "name", u.name.s);
        wire_value_set_string(a, v, "state", a_unit_state_name(u.state));
        rate_set(a, v, unit != NULL ? unit->rate : NULL, now_ms);
        wire_value_set_int(a, v, "inFlight", (int64_t)unit_withdraw_in_flight(&c->s->withdraw, &u.name));
        wire_value_append(list, v);
    }
    return list;
}

static struct wire_value *app_json(struct api_call *c, const struct d_app *app, uint64_t now_ms)
{
    struct a_arena *a = c->arena;
    struct wire_value *v = wire_value_new_object(a);
    struct unit_fleet_status status = {0};
    uint64_t in_flight, queued;
    if (app->fleet != NULL)
        unit_fleet_status(app->fleet, &status);
    d_counts_load(c->s, app, &in_flight, &queued);
    wire_value_set_string(a, v, "namespace", app->ref.namespace.s);
    wire_value_set_string(a, v, "name", app->ref.name.s);
    wire_value_set_int(a, v, "unitsReady", status.ready);
    wire_value_set_int(a, v, "unitsWanted", status.wanted);
    rate_set(a, v, &app->counts.rate, now_ms);
    wire_value_set_int(a, v, "inFlight", (int64_t)in_flight);
    wire_value_set_int(a, v, "queued", (int64_t)queued);
    wire_value_set(a, v, "success", api_json_success(app, a));
    wire_value_set(a, v, "units", units_json(c, app, now_ms));
    return v;
}

void api_handle_TOP(struct api_call *c)
{
    struct wire_value *v = wire_value_new_object(c->arena), *items = wire_value_new_array(c->arena);
    uint64_t now_ms = sys_loop_now_ms(c->s->loop);
    a_map_foreach (l, &c->s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (c->scope == NULL || strcmp(c->scope, app->ref.namespace.s) == 0)
            wire_value_append(items, app_json(c, app, now_ms));
    }
    wire_value_set_string(c->arena, v, "kind", "TopList");
    wire_value_set_int(c->arena, v, "seconds", D_RATE_SECONDS);
    wire_value_set(c->arena, v, "items", items);
    api_reply_value(c, 200, v);
}
