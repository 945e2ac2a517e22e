/* A head's endpoints: each is warmed once, and the process behind it watched, so that its death is told at
 * once instead of at Serve's next answer. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/agent/serve_inside.h"
#include "sys/log.h"

#define WARM_AGAIN_MS 500
#define WARM_TIMEOUT_MS 30000 /* a model's first run may take long */
#define HEALTHZ "/-/healthz"
#define PROBE_TIMEOUT_MS 2000
#define PROBE_MISSES 2

struct d_endpoint {
    struct a_list link;
    struct d_serve *serve;
    char *name, *app, *ip, *prefix;
    uint16_t port;
    uint32_t max_ongoing;
    bool is_proxy, listed;
    bool healthy;    /* the warm-up was answered */
    bool dead;       /* its process ended; Serve may list it for a while */
    uint32_t misses; /* while the head is silent */
    struct sys_process *process;
    struct net_http_call *call;
    struct sys_timer timer;
};

static void endpoint_free(struct d_endpoint *e)
{
    sys_timer_clear(&e->timer);
    if (e->call != NULL)
        net_http_call_cancel(e->call);
    sys_process_close(e->process);
    a_list_remove(&e->link);
    a_free(e->name);
    a_free(e->app);
    a_free(e->ip);
    a_free(e->prefix);
    a_free(e);
}

void d_endpoints_clear(struct d_serve *s)
{
    a_list_foreach_safe (it, &s->endpoints) {
        endpoint_free(a_list_entry(it, struct d_endpoint, link));
    }
}

/* ---- warm-up ---- */

static void warm_done(void *ctx, const struct net_http_answer *answer)
{
    struct d_endpoint *e = ctx;
    e->call = NULL;
    if (answer->rc != 0 || answer->status >= 400) {
        sys_timer_set_in(&e->timer, WARM_AGAIN_MS);
        return;
    }
    e->healthy = true;
    d_serve_look(e->serve);
}

static void warm_ask(void *ctx)
{
    struct d_endpoint *e = ctx;
    const struct net_http_call_options call = {
        .host = e->ip,
        .port = e->port,
        .target = e->serve->warm_path != NULL ? e->serve->warm_path : HEALTHZ,
        .timeout_ms = WARM_TIMEOUT_MS,
    };
    if (e->dead)
        return;
    if (net_http_client_send(e->serve->member->agent->http, &call, warm_done, e, &e->call, NULL) < 0)
        sys_timer_set_in(&e->timer, WARM_AGAIN_MS);
}

/* ---- while the head is silent ---- */

static void probe_done(void *ctx, const struct net_http_answer *answer)
{
    struct d_endpoint *e = ctx;
    e->call = NULL;
    bool answers = answer->rc == 0 && answer->status < 400;
    e->misses = answers ? 0 : e->misses + 1;
    if (e->misses < PROBE_MISSES)
        return;
    e->misses = 0;
    e->healthy = false;
    sys_timer_set_in(&e->timer, WARM_AGAIN_MS); /* in use again when it answers again */
    sys_log(WARN, "agent", "serve.replica_silent", "a replica does not answer, and neither does its head",
            SYS_STR("unit", e->serve->member->id.unit.s), SYS_STR("replica", e->name));
    d_serve_look(e->serve);
}

void d_endpoints_probe(struct d_serve *s)
{
    a_list_foreach (it, &s->endpoints) {
        struct d_endpoint *e = a_list_entry(it, struct d_endpoint, link);
        const struct net_http_call_options call = {
            .host = e->ip, .port = e->port, .target = HEALTHZ, .timeout_ms = PROBE_TIMEOUT_MS};
        if (e->healthy && !e->dead && e->call == NULL &&
            net_http_client_send(s->member->agent->http, &call, probe_done, e, &e->call, NULL) < 0)
            e->call = NULL;
    }
}

/* ---- the process behind it ---- */

static void process_ended(void *ctx, const struct sys_exit *exit)
{
    struct d_endpoint *e = ctx;
    (void)exit;
    sys_process_close(e->process);
    e->process = NULL;
    e->dead = true;
    e->healthy = false;
    sys_log(WARN, "agent", "serve.replica_ended", "a replica's process ended",
            SYS_STR("unit", e->serve->member->id.unit.s), SYS_STR("replica", e->name));
    d_report_member(e->serve->member);
    d_serve_hurry(e->serve);
}

/* The pid that Serve names belongs to the member's PID namespace, if it has one. */
static void process_watch(struct d_endpoint *e, int64_t pid)
{
    struct d_member *m = e->serve->member;
    struct sys_proc_id id;
    if (pid <= 0 || e->is_proxy || e->process != NULL || e->dead || strcmp(e->ip, m->agent->address) != 0)
        return;
    id.pid = (pid_t)pid;
    if (m->shim_state.namespaces &&
        sys_proc_from_ns((pid_t)m->shim_state.member.pid, (pid_t)pid, &id.pid) < 0)
        return; /* not there (yet, or any more): Serve's own word counts */
    if (sys_proc_start_time(id.pid, &id.start_time) < 0 ||
        sys_process_adopt(m->agent->loop, &id, process_ended, e, &e->process, NULL) < 0)
        e->process = NULL;
}

/* ---- merging ---- */

static struct d_endpoint *endpoint_find(const struct d_serve *s, const struct unit_ray_endpoint *r,
                                        const char *app)
{
    a_list_foreach (it, &s->endpoints) {
        struct d_endpoint *e = a_list_entry(it, struct d_endpoint, link);
        if (e->port == r->port && strcmp(e->ip, r->ip) == 0 && strcmp(e->name, r->name) == 0 &&
            strcmp(e->app, app) == 0)
            return e;
    }
    return NULL;
}

static struct d_endpoint *endpoint_new(struct d_serve *s, const struct unit_ray_endpoint *r,
                                       const struct unit_ray_app *app)
{
    struct d_endpoint *e = a_new(struct d_endpoint);
    e->serve = s;
    e->name = a_strdup(r->name);
    e->app = a_strdup(app->name);
    e->ip = a_strdup(r->ip);
    e->prefix = a_strdup(app->route_prefix != NULL ? app->route_prefix : "");
    e->port = r->port;
    e->is_proxy = r->is_proxy;
    a_list_push_back(&s->endpoints, &e->link);
    sys_timer_init(&e->timer, s->member->agent->loop, warm_ask, e);
    sys_timer_set_in(&e->timer, 0);
    return e;
}

bool d_endpoints_merge(struct d_serve *s)
{
    bool changed = false;
    a_list_foreach (it, &s->endpoints) {
        a_list_entry(it, struct d_endpoint, link)->listed = false;
    }
    for (size_t i = 0; i < s->status.n_apps; i++) {
        const struct unit_ray_app *app = &s->status.apps[i];
        for (size_t j = 0; j < app->n_endpoints; j++) {
            struct d_endpoint *e = endpoint_find(s, &app->endpoints[j], app->name);
            changed = changed || e == NULL;
            if (e == NULL)
                e = endpoint_new(s, &app->endpoints[j], app);
            e->listed = true;
            changed = changed || e->max_ongoing != app->endpoints[j].max_ongoing;
            e->max_ongoing = app->endpoints[j].max_ongoing;
            process_watch(e, app->endpoints[j].pid);
        }
    }
    a_list_foreach_safe (it, &s->endpoints) {
        struct d_endpoint *e = a_list_entry(it, struct d_endpoint, link);
        if (e->listed)
            continue;
        endpoint_free(e);
        changed = true;
    }
    return changed;
}

bool d_endpoints_healthy(const struct d_serve *s, const char *app)
{
    a_list_foreach (it, &s->endpoints) {
        const struct d_endpoint *e = a_list_entry(it, struct d_endpoint, link);
        if (e->healthy && !e->dead && strcmp(e->app, app) == 0)
            return true;
    }
    return false;
}

void d_endpoints_report(const struct d_serve *s, struct a_arena *arena, struct wire_sl_claim_status *status)
{
    struct wire_sl_target *list = a_arena_alloc(arena, D_SERVE_TARGETS_MAX * sizeof *list);
    size_t n = 0;
    a_list_foreach (it, &s->endpoints) {
        const struct d_endpoint *e = a_list_entry(it, struct d_endpoint, link);
        if (e->dead || n == D_SERVE_TARGETS_MAX)
            continue;
        list[n++] = (struct wire_sl_target){.name = a_view_str(e->name),
                                            .ip = a_view_str(e->ip),
                                            .port = e->port,
                                            .application = a_view_str(e->app),
                                            .route_prefix = a_view_str(e->prefix),
                                            .proxy = e->is_proxy,
                                            .healthy = e->healthy,
                                            .max_ongoing = e->is_proxy ? 0 : e->max_ongoing};
    }
    status->targets = list;
    status->n_targets = n;
}
