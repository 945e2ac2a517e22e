#include "daemon/gateway/stats.h"

#include <string.h>

#include "base/alloc.h"
#include "base/metrics.h"

struct d_gw_app *d_gw_app_get(struct a_map *apps, const struct a_app_ref *app)
{
    struct a_app_ref key = {0};
    memcpy(key.namespace.s, app->namespace.s, strlen(app->namespace.s));
    memcpy(key.name.s, app->name.s, strlen(app->name.s));
    struct a_map_link *l = a_map_get(apps, &key, sizeof key);
    if (l != NULL)
        return a_map_entry(l, struct d_gw_app, by_key);
    struct d_gw_app *a = a_new(struct d_gw_app);
    a->app = key;
    a_map_put(apps, &a->by_key, &a->app, sizeof a->app);
    return a;
}

void d_gw_apps_free(struct a_map *apps)
{
    a_map_foreach (l, apps) {
        a_map_remove(apps, l);
        a_free(a_map_entry(l, struct d_gw_app, by_key));
    }
    a_map_deinit(apps);
}

static void code_add(struct d_gw_app *a, unsigned status, enum gw_cause cause, uint64_t n)
{
    for (uint32_t i = 0; i < a->n_codes; i++) {
        if (a->codes[i].status == status && a->codes[i].cause == cause) {
            a->codes[i].n += n;
            return;
        }
    }
    if (a->n_codes >= D_GW_CODES - GW_CAUSE_COUNT && status != 0) /* status 0 always finds room */
        code_add(a, 0, cause, n);
    else
        a->codes[a->n_codes++] =
            (struct d_gw_code){.status = (uint16_t)status, .cause = (uint8_t)cause, .n = n};
}

void d_gw_app_count(struct d_gw_app *a, unsigned status, enum gw_cause cause, bool ok, uint64_t latency_us)
{
    a_latency_add(&a->latency, latency_us);
    a->latency_us += latency_us;
    a->finished++;
    if (ok)
        a->ok++;
    else
        a->failed[cause]++;
    a->changed = true;
    code_add(a, status, cause, 1);
}

void d_gw_app_add(struct d_gw_app *to, const struct d_gw_app *from)
{
    for (uint32_t i = 0; i < from->n_codes; i++)
        code_add(to, from->codes[i].status, (enum gw_cause)from->codes[i].cause, from->codes[i].n);
    a_latency_merge(&to->latency, &from->latency);
    for (size_t i = 0; i < GW_CAUSE_COUNT; i++)
        to->failed[i] += from->failed[i];
    to->latency_us += from->latency_us;
    to->finished += from->finished;
    to->ok += from->ok;
    to->resent += from->resent;
    to->in_flight += from->in_flight;
    to->waiting += from->waiting;
    to->changed = true;
}

void d_gw_app_reset(struct d_gw_app *a)
{
    struct d_gw_app zero = {.by_key = a->by_key, .app = a->app};
    *a = zero;
}

/* Names are DNS labels: nothing in them needs escaping. */
static void row_print(struct a_buf *b, const char *metric, const struct d_gw_app *a)
{
    a_buf_addf(b, "%s{namespace=\"%s\",app=\"%s\"", metric, a->app.namespace.s, a->app.name.s);
}

static void histogram_print(struct a_buf *b, const struct d_gw_app *a)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < A_LATENCY_BUCKETS; i++) {
        sum += a->latency.n[i];
        row_print(b, "astra_gateway_request_seconds_bucket", a);
        if (i + 1 < A_LATENCY_BUCKETS)
            a_buf_addf(b, ",le=\"%g\"} %llu\n", (double)a_latency_bound_us(i) / 1e6, (unsigned long long)sum);
        else
            a_buf_addf(b, ",le=\"+Inf\"} %llu\n", (unsigned long long)sum);
    }
    row_print(b, "astra_gateway_request_seconds_sum", a);
    a_buf_addf(b, "} %.6f\n", (double)a->latency_us / 1e6);
    row_print(b, "astra_gateway_request_seconds_count", a);
    a_buf_addf(b, "} %llu\n", (unsigned long long)sum);
}

static void codes_print(struct a_buf *b, const struct d_gw_app *a)
{
    for (uint32_t i = 0; i < a->n_codes; i++) {
        row_print(b, "astra_gateway_requests_total", a);
        a_buf_addf(b, ",code=\"%u\",cause=\"%s\"} %llu\n", a->codes[i].status,
                   gw_cause_name((enum gw_cause)a->codes[i].cause), (unsigned long long)a->codes[i].n);
    }
}

void d_gw_apps_print(struct a_buf *b, const struct a_map *apps)
{
    a_metric_head(b, "astra_gateway_requests_total", "counter", "Requests ended, by status and cause");
    a_map_foreach (l, apps) {
        codes_print(b, a_map_entry(l, struct d_gw_app, by_key));
    }
    a_metric_head(b, "astra_gateway_request_seconds", "histogram",
                  "From a request's head to its answer's end");
    a_map_foreach (l, apps) {
        histogram_print(b, a_map_entry(l, struct d_gw_app, by_key));
    }
    a_metric_head(b, "astra_gateway_resent_total", "counter", "Requests sent again to another endpoint");
    a_map_foreach (l, apps) {
        const struct d_gw_app *a = a_map_entry(l, struct d_gw_app, by_key);
        row_print(b, "astra_gateway_resent_total", a);
        a_buf_addf(b, "} %llu\n", (unsigned long long)a->resent);
    }
    a_metric_head(b, "astra_gateway_in_flight", "gauge", "Requests sent to a replica and not answered");
    a_map_foreach (l, apps) {
        const struct d_gw_app *a = a_map_entry(l, struct d_gw_app, by_key);
        row_print(b, "astra_gateway_in_flight", a);
        a_buf_addf(b, "} %lld\n", (long long)a->in_flight);
    }
    a_metric_head(b, "astra_gateway_queued", "gauge", "Requests that wait for a place");
    a_map_foreach (l, apps) {
        const struct d_gw_app *a = a_map_entry(l, struct d_gw_app, by_key);
        row_print(b, "astra_gateway_queued", a);
        a_buf_addf(b, "} %lld\n", (long long)a->waiting);
    }
}

void d_gw_totals_add(struct d_gw_totals *to, const struct d_gw_totals *from)
{
#define X(field, metric, help) to->field += from->field;
    D_GW_COUNTERS(X)
    D_GW_GAUGES(X)
#undef X
}

void d_gw_totals_print(struct a_buf *b, const struct d_gw_totals *t)
{
#define X(field, metric, help) a_metric_print(b, metric, "counter", help, t->field);
    D_GW_COUNTERS(X)
#undef X
#define X(field, metric, help) a_metric_print(b, metric, "gauge", help, t->field);
    D_GW_GAUGES(X)
#undef X
}
