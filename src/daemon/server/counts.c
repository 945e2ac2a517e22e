/* What gateways report of requests: added up per app and per unit, kept over a restart.
 *
 * Counters of a report are what happened since the one before; what is in flight is as it is now, so it is
 * remembered per gateway. Records go to the store every `--counts-every` (a minute), for apps that had
 * requests since, and once more when the server stops: so much is lost when it does not stop but is killed.
 * What could not be written is tried again until it is. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/server.h"
#include "daemon/server/store_keys.h"
#include "sys/clock.h"
#include "sys/log.h"

/* How much of an app a gateway has under way. */
struct app_load {
    struct a_map_link link; /* of d_gateway.apps */
    char key[2 * A_NAME_MAX + 2];
    uint64_t in_flight, queued;
};

static void latency_take(const struct wire_sl_bucket *rows, size_t n, struct a_latency *ret)
{
    *ret = (struct a_latency){{0}};
    for (size_t i = 0; i < n; i++)
        ret->n[A_MIN(rows[i].index, (uint32_t)A_LATENCY_BUCKETS - 1)] += rows[i].count;
}

/* ---- reports ---- */

static struct app_load *load_get(struct d_gateway *g, const struct d_app *app)
{
    struct a_map_link *l = a_map_get_str(&g->apps, app->key);
    if (l != NULL)
        return a_map_entry(l, struct app_load, link);
    struct app_load *load = a_new(struct app_load);
    memcpy(load->key, app->key, sizeof load->key);
    a_map_put_str(&g->apps, &load->link, load->key);
    return load;
}

void d_counts_app(struct server *s, struct d_gateway *g, const struct wire_sl_app_report *m)
{
    struct d_app *app = d_app_find(s, &m->app);
    if (app == NULL)
        return;
    struct app_load *load = load_get(g, app);
    struct d_tally tally = {{0}};
    struct d_rate_slot slot = {.requests = m->requests,
                               .failed = m->failed - A_MIN(m->failed, m->failed_client),
                               .retried = m->retried};
    load->in_flight = m->in_flight;
    load->queued = m->queued;
    tally.n[D_OUTCOME_OK] = m->ok;
    tally.n[D_OUTCOME_APP] = m->failed_app;
    tally.n[D_OUTCOME_UNIT_LOST] = m->failed_node;
    tally.n[D_OUTCOME_DRAIN] = m->failed_drain;
    tally.n[D_OUTCOME_GATEWAY] = m->failed_gateway;
    tally.n[D_OUTCOME_NO_CAPACITY] = m->failed_capacity;
    tally.n[D_OUTCOME_TIMEOUT] = m->failed_timeout;
    tally.n[D_OUTCOME_CLIENT] = m->failed_client;
    for (size_t i = 0; i < D_OUTCOME_COUNT; i++)
        app->counts.total.n[i] += tally.n[i];
    app->counts.retried += m->retried;
    latency_take(m->latency, m->n_latency, &slot.latency);
    d_rate_add(&app->counts.rate, sys_loop_now_ms(s->loop), &slot);
    d_success_add(&app->counts.success, sys_clock_wall_ms(), &tally);
}

void d_counts_endpoint(struct server *s, const struct wire_sl_endpoint_report *m)
{
    struct d_unit *u = d_unit_find(s, &m->unit);
    struct d_rate_slot slot = {
        .requests = m->ok + m->failed + m->refused, .failed = m->failed + m->refused, .retried = m->resent};
    if (u == NULL || slot.requests + slot.retried == 0)
        return;
    if (u->rate == NULL)
        u->rate = a_new(struct d_rate);
    latency_take(m->latency, m->n_latency, &slot.latency);
    d_rate_add(u->rate, sys_loop_now_ms(s->loop), &slot);
}

void d_counts_load(const struct server *s, const struct d_app *app, uint64_t *ret_in_flight,
                   uint64_t *ret_queued)
{
    *ret_in_flight = *ret_queued = 0;
    a_list_foreach (l, (struct a_list *)(uintptr_t)&s->gateways) {
        const struct d_gateway *g = a_list_entry(l, struct d_gateway, link);
        struct a_map_link *found = a_map_get_str(&g->apps, app->key);
        if (found == NULL)
            continue;
        *ret_in_flight += a_map_entry(found, struct app_load, link)->in_flight;
        *ret_queued += a_map_entry(found, struct app_load, link)->queued;
    }
}

void d_counts_gateway_free(struct d_gateway *g)
{
    a_map_foreach (l, &g->apps) {
        a_map_remove(&g->apps, l);
        a_free(a_map_entry(l, struct app_load, link));
    }
    a_map_deinit(&g->apps);
}

/* ---- records ---- */

struct save {
    struct server *server;
    struct a_app_ref app;
    struct a_uuid uid;
    uint64_t hours_to; /* what the record of hours holds all before; 0: there is none */
    struct store_txn txn;
    struct store_write writes[2];
    char keys[2][STORE_KEY_MAX];
    struct a_buf values[2];
};

static void save_free(struct save *save)
{
    a_error_deinit(&save->txn.error);
    for (size_t i = 0; i < A_ARRAY_SIZE(save->values); i++)
        a_buf_deinit(&save->values[i]);
    a_free(save);
}

static void on_saved(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct save *save = ctx;
    struct d_app *app = d_app_find(save->server, &save->app);
    (void)revision;
    if (app != NULL && strcmp(app->uid.s, save->uid.s) == 0)
        d_success_saved(&app->counts.success, rc == 0, save->hours_to);
    if (rc != 0)
        sys_log(WARN, "server", "counts.not_saved",
                "success counts were not written; they will be tried again", SYS_ERR(error));
    save_free(save);
}

static struct save *save_make(struct server *s, struct d_app *app, uint64_t wall_ms)
{
    struct save *save = a_new(struct save);
    save->server = s;
    save->app = app->ref;
    save->uid = app->uid;
    struct d_success *success = &app->counts.success;
    size_t n = 0;
    d_store_key_success(save->keys[n], &app->ref, "minutes");
    d_success_print_minutes(success, wall_ms, app->uid.s, &save->values[n]);
    n++;
    if (d_success_hours_due(success, wall_ms)) {
        d_store_key_success(save->keys[n], &app->ref, "hours");
        d_success_print_hours(success, wall_ms, app->uid.s, &save->values[n]);
        save->hours_to = wall_ms / 3600000;
        n++;
    }
    for (size_t i = 0; i < n; i++)
        save->writes[i] =
            (struct store_write){a_view_str(save->keys[i]), a_buf_view(&save->values[i]), STORE_ANY};
    save->txn = (struct store_txn){.writes = save->writes, .n_writes = n, .done = on_saved, .ctx = save};
    success->changed = false;
    return save;
}

static void on_save(void *ctx)
{
    struct server *s = ctx;
    uint64_t wall_ms = sys_clock_wall_ms();
    sys_timer_set_in(&s->counts_timer, s->options.counts_ms);
    a_map_foreach (l, &s->apps) {
        struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app->counts.success.changed && !app->orphan && !app->deleted)
            store_submit(s->store, &save_make(s, app, wall_ms)->txn);
    }
}

static bool each_record(void *ctx, const struct store_entry *entry)
{
    struct server *s = ctx;
    struct a_app_ref ref;
    struct a_view kind, rest, name, which;
    if (!d_store_key_split(entry->key, &ref.namespace, &kind, &rest) || !a_view_is(kind, "success"))
        return true;
    name = a_view_split(rest, '/', &which);
    struct d_app *app = a_name_parse(name, &ref.name) ? d_app_find(s, &ref) : NULL;
    if (app == NULL)
        return true;
    if (a_view_is(which, "hours")) /* "hours" comes before "minutes": keys are in order */
        d_success_read_hours(&app->counts.success, entry->value, app->uid.s);
    else
        d_success_read_minutes(&app->counts.success, entry->value, app->uid.s);
    return true;
}

int d_counts_start(struct server *s, struct a_error *reterr)
{
    sys_timer_init(&s->counts_timer, s->loop, on_save, s);
    sys_timer_set_in(&s->counts_timer, s->options.counts_ms);
    return store_scan(s->store, "/", each_record, s, reterr);
}

void d_counts_stop(struct server *s)
{
    if (!sys_timer_is_set(&s->counts_timer))
        return; /* it never began */
    on_save(s); /* store_close() finishes what was submitted */
    sys_timer_clear(&s->counts_timer);
}
