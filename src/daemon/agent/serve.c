/* A head's Serve: its config is PUT over loopback, its status followed, its endpoints warmed and watched.
 *
 * GET every second, every 250 ms for 5 s after a change. Between two polls a replica's death is seen by its
 * pidfd, at once. An answer that fails changes nothing: endpoints are only dropped because Serve no longer
 * lists them, because their process ended, or because the head is gone. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "daemon/agent/serve_inside.h"
#include "sys/file.h"
#include "sys/log.h"

#define TARGET "/api/serve/applications/"
#define POLL_MS 1000
#define POLL_FAST_MS 250
#define FAST_FOR_MS 5000
#define FIRST_POLL_MS 300     /* until the dashboard answers at all */
#define PUT_TIMEOUT_MS 180000 /* the first PUT starts Serve's controller and proxy */
#define GET_TIMEOUT_MS 10000
#define RUNNING_SAME_MS                                                                                      \
    10000 /* RUNNING for so long after the PUT, without a new time of deployment, is believed */
#define WARM_DEADLINE_MS 120000
#define HEAD_TIMEOUT_MS 30000
#define STATUS_MAX (8 << 20)
#define MESSAGE_BYTES 2000

static uint64_t now_of(const struct d_serve *s)
{
    return sys_loop_now_ms(s->member->agent->loop);
}

static void next_in(struct d_serve *s, uint64_t ms)
{
    sys_timer_set_in(&s->timer, ms);
}

void d_serve_hurry(struct d_serve *s)
{
    s->fast_until_ms = now_of(s) + FAST_FOR_MS;
    if (s->call == NULL && s->timer.node.index_plus_1 != 0)
        next_in(s, POLL_FAST_MS);
}

/* ---- PUT ---- */

static const struct unit_ray_app *app_find(const struct d_serve *s, const char *name)
{
    for (size_t i = 0; i < s->status.n_apps; i++)
        if (strcmp(s->status.apps[i].name, name) == 0)
            return &s->status.apps[i];
    return NULL;
}

/* When each application of the config was last deployed, as Serve says before the PUT. */
static void baseline_take(struct d_serve *s)
{
    for (size_t i = 0; i < s->n_wanted; i++) {
        const struct unit_ray_app *app = app_find(s, s->wanted[i].name);
        s->wanted[i].before_s = app != NULL ? app->last_deployed_s : 0;
    }
}

static void put_done(void *ctx, const struct net_http_answer *answer)
{
    struct d_serve *s = ctx;
    s->call = NULL;
    if (answer->rc != 0) {
        sys_log(INFO, "agent", "serve.put", "the config could not be sent; trying again",
                SYS_STR("unit", s->member->id.unit.s), SYS_ERR(answer->error));
        next_in(s, POLL_MS);
        return;
    }
    a_free(s->body);
    s->body = NULL;
    if (answer->status != 200) {
        A_BUF_AUTO struct a_buf text = {0};
        unit_ray_log_digest(answer->body, MESSAGE_BYTES, &text);
        s->rejected = true;
        d_member_say(s->member, A_REASON_SERVE_REJECTED, "Ray Serve answered %u to the config: %s",
                     answer->status, text.len > 0 ? text.ptr : "");
        next_in(s, POLL_MS);
        return;
    }
    s->put_ms = now_of(s);
    d_serve_hurry(s);
    next_in(s, POLL_FAST_MS);
}

static void put(struct d_serve *s)
{
    struct d_member *m = s->member;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    const struct net_http_call_options call = {
        .method = "PUT",
        .host = m->agent->address,
        .port = (uint16_t)(m->port_first + UNIT_RAY_PORT_DASHBOARD),
        .target = TARGET,
        .content_type = "application/json",
        .body = a_view_str(s->body),
        .bearer = &m->token,
        .timeout_ms = PUT_TIMEOUT_MS,
    };
    baseline_take(s);
    if (net_http_client_send(m->agent->http, &call, put_done, s, &s->call, &e) < 0)
        next_in(s, POLL_MS);
}

/* ---- what the answers mean ---- */

static bool app_deployed(const struct d_serve *s, const struct d_serve_wanted *w)
{
    const struct unit_ray_app *app = app_find(s, w->name);
    if (app == NULL || app->status != UNIT_RAY_APP_RUNNING)
        return false;
    bool again = app->last_deployed_s != w->before_s;
    return again || now_of(s) > s->put_ms + RUNNING_SAME_MS;
}

static void deployed_save(const struct d_serve *s)
{
    char hex[A_DIGEST_HEX + 1];
    A_AUTOFREE char *path = sys_path_join(s->member->folder, "deployed");
    a_digest_hex(&s->deployed, hex);
    int ignored A_UNUSED =
        sys_file_write_atomic(path, hex, A_DIGEST_HEX, 0600, NULL); /* else it is PUT once more */
}

static void deployed_check(struct d_serve *s)
{
    if (s->body != NULL || s->rejected || s->put_ms == 0 || a_digest_equal(&s->deployed, &s->put_digest))
        return;
    for (size_t i = 0; i < s->n_wanted; i++)
        if (!app_deployed(s, &s->wanted[i]))
            return;
    s->deployed = s->put_digest;
    s->deployed_ms = now_of(s);
    s->warmed = false;
    deployed_save(s);
    sys_log(INFO, "agent", "serve.running", "all Serve applications run",
            SYS_STR("unit", s->member->id.unit.s));
}

/* What Ray says of a failed application. Its own message may only name the deployments ("Failed to update the
 * deployments ['Ocr']"); theirs have what happened. */
static void failure_print(const struct unit_ray_app *app, struct a_buf *text)
{
    a_buf_add_str(text, app->message);
    for (size_t i = 0; i < app->n_deployments; i++) {
        const struct unit_ray_deployment *d = &app->deployments[i];
        if (strcmp(d->status, "DEPLOY_FAILED") == 0 || strcmp(d->status, "UNHEALTHY") == 0)
            a_buf_addf(text, "\n%s: %s", d->name, d->message);
    }
}

/* The first application that failed to deploy, in Ray's own words. */
static void failures_check(struct d_serve *s)
{
    struct d_member *m = s->member;
    for (size_t i = 0; i < s->status.n_apps; i++) {
        const struct unit_ray_app *app = &s->status.apps[i];
        if (app->status != UNIT_RAY_APP_DEPLOY_FAILED)
            continue;
        A_BUF_AUTO struct a_buf said = {0};
        A_BUF_AUTO struct a_buf text = {0};
        failure_print(app, &said);
        unit_ray_log_digest(a_buf_view(&said), MESSAGE_BYTES, &text);
        bool model = text.len > 0 && strstr(text.ptr, "astra.tfcc.Error") != NULL;
        d_member_say(m, model ? A_REASON_MODEL_LOAD_FAILED : A_REASON_IMPORT_FAILED,
                     "Serve application %s failed to deploy: %s", app->name, text.len > 0 ? text.ptr : "");
        s->failed = true;
        return;
    }
    if (s->failed)
        d_member_say(m, A_REASON_NONE, "%s", "");
    s->failed = false;
}

/* Every application that can be asked has an endpoint that answered. */
static void warm_check(struct d_serve *s)
{
    if (s->warmed || a_digest_is_zero(&s->deployed) || s->body != NULL)
        return;
    for (size_t i = 0; i < s->n_wanted; i++) {
        const struct unit_ray_app *app = app_find(s, s->wanted[i].name);
        if (app == NULL || (app->route_prefix != NULL && !d_endpoints_healthy(s, app->name))) {
            if (!s->warm_late && now_of(s) > s->deployed_ms + s->warm_deadline_ms) {
                s->warm_late = true;
                d_member_say(s->member, A_REASON_HEALTH_CHECK_FAILED,
                             "the warm-up of %s was not answered in time", s->wanted[i].name);
                d_link_event(s->member->agent, s->member, A_REASON_HEALTH_CHECK_FAILED, s->member->message);
            }
            return;
        }
    }
    s->warmed = true;
    if (s->warm_late)
        d_member_say(s->member, A_REASON_NONE, "%s", "");
    s->warm_late = false;
}

void d_serve_look(struct d_serve *s)
{
    deployed_check(s);
    warm_check(s);
    d_report_member(s->member);
}

/* ---- GET ---- */

/* A unit at rest answers the same for hours: what was read is read once. */
static bool status_take(struct d_serve *s, struct a_view body)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct a_arena arena = {0};
    struct unit_ray_status status;
    if (s->answer.len > 0 && a_view_equal(body, a_buf_view(&s->answer)))
        return true;
    if (unit_ray_status_parse(body, &arena, &status, &e) < 0) {
        sys_log(WARN, "agent", "serve.status", "Serve's status is not understood",
                SYS_STR("unit", s->member->id.unit.s), SYS_ERR(&e));
        a_arena_deinit(&arena);
        return false;
    }
    a_arena_deinit(&s->arena);
    s->arena = arena;
    s->status = status;
    a_buf_reset(&s->answer);
    a_buf_add_view(&s->answer, body);
    return true;
}

static void get_done(void *ctx, const struct net_http_answer *answer)
{
    struct d_serve *s = ctx;
    struct d_member *m = s->member;
    s->call = NULL;
    if (answer->rc != 0 || answer->status != 200 || !status_take(s, answer->body)) {
        next_in(s, s->settled || s->put_ms > 0 ? POLL_MS : FIRST_POLL_MS);
        return;
    }
    s->settled = true;
    d_silence_watch(s);
    d_silence_broken(s);
    if (m->state.state == A_MEMBER_STARTING)
        d_run_up(m);
    if (d_endpoints_merge(s))
        d_serve_hurry(s);
    failures_check(s);
    d_serve_look(s);
    if (s->body != NULL)
        put(s);
    else
        next_in(s, now_of(s) < s->fast_until_ms ? POLL_FAST_MS : POLL_MS);
}

static void timer_fire(void *ctx)
{
    struct d_serve *s = ctx;
    struct d_member *m = s->member;
    const struct net_http_call_options call = {
        .host = m->agent->address,
        .port = (uint16_t)(m->port_first + UNIT_RAY_PORT_DASHBOARD),
        .target = TARGET,
        .bearer = &m->token,
        .timeout_ms = GET_TIMEOUT_MS,
        .body_max = STATUS_MAX,
    };
    if (net_http_client_send(m->agent->http, &call, get_done, s, &s->call, NULL) < 0)
        next_in(s, POLL_MS);
}

/* ---- the object ---- */

struct d_serve *d_serve_new(struct d_member *m)
{
    struct d_serve *s = a_new(struct d_serve);
    s->member = m;
    s->warm_deadline_ms = WARM_DEADLINE_MS;
    s->timeout_ms = HEAD_TIMEOUT_MS;
    a_list_init(&s->endpoints);
    sys_timer_init(&s->timer, m->agent->loop, timer_fire, s);
    return s;
}

void d_serve_forget(struct d_serve *s)
{
    sys_timer_clear(&s->timer);
    sys_timer_clear(&s->watch);
    s->silent = s->overdue = false;
    if (s->call != NULL)
        net_http_call_cancel(s->call);
    s->call = NULL;
    d_endpoints_clear(s);
    a_arena_deinit(&s->arena);
    a_buf_deinit(&s->answer);
    s->status = (struct unit_ray_status){0};
    s->settled = true;
    s->warmed = false;
}

static void wanted_free(struct d_serve *s)
{
    for (size_t i = 0; i < s->n_wanted; i++)
        a_free(s->wanted[i].name);
    a_free(s->wanted);
    s->wanted = NULL;
    s->n_wanted = 0;
}

void d_serve_free(struct d_serve *s)
{
    if (s == NULL)
        return;
    d_serve_forget(s);
    wanted_free(s);
    a_free(s->warm_path);
    a_free(s->body);
    a_free(s);
}

static void wanted_read(struct d_serve *s, const struct wire_value *serve)
{
    wanted_free(s);
    const struct wire_value *list = wire_value_get(serve, "applications");
    s->wanted = a_alloc_array(wire_value_count(list) + 1, sizeof *s->wanted);
    wire_value_foreach(app, list)
    {
        const char *name = wire_value_string(wire_value_get(app, "name"), "default");
        s->wanted[s->n_wanted++].name = a_strdup(name);
    }
}

static void warm_read(struct d_serve *s, const struct wire_value *document)
{
    const struct wire_value *warm = wire_value_path(document, "spec.serve.warmUp");
    const char *path = wire_value_string(wire_value_get(warm, "path"), NULL);
    const char *deadline = wire_value_string(wire_value_get(warm, "deadline"), NULL);
    a_free(s->warm_path);
    s->warm_path = path != NULL ? a_strdup(path) : NULL;
    if (deadline == NULL || !a_text_duration(a_view_str(deadline), &s->warm_deadline_ms))
        s->warm_deadline_ms = WARM_DEADLINE_MS;
}

static void timeout_read(struct d_serve *s, const struct wire_value *document)
{
    const char *text = wire_value_string(wire_value_path(document, "spec.head.timeout"), NULL);
    if (text == NULL || !a_text_duration(a_view_str(text), &s->timeout_ms))
        s->timeout_ms = HEAD_TIMEOUT_MS;
}

/* True when the folder says that Serve runs this revision: the agent came back under it. */
static bool deployed_before(struct d_serve *s)
{
    A_AUTOFREE char *path = sys_path_join(s->member->folder, "deployed");
    A_BUF_AUTO struct a_buf text = {0};
    struct a_digest d;
    if (!s->member->found || sys_file_read(path, A_DIGEST_HEX, &text, NULL) < 0 ||
        !a_digest_parse(a_buf_view(&text), &d) || !a_digest_equal(&d, &s->member->document_digest))
        return false;
    s->deployed = s->put_digest = d;
    s->deployed_ms = now_of(s);
    return true;
}

/* False, and it is told, when the config cannot be sent. */
static bool body_make(struct d_serve *s)
{
    struct d_member *m = s->member;
    A_BUF_AUTO struct a_buf body = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    bool shared = false;
    if (d_prepare_serve(m, &body, &shared, &e) < 0) {
        d_member_say(m, A_REASON_SERVE_REJECTED, "%s", a_error_text(&e));
        return false;
    }
    if (shared && m->shim_state.phase == D_SHIM_RUNNING && !m->shim_state.namespaces) {
        d_member_say(m, A_REASON_SERVE_REJECTED, "%s", D_RUN_NO_SHARED_MODELS);
        return false;
    }
    a_free(s->body);
    s->body = a_buf_steal(&body);
    return true;
}

void d_serve_deploy(struct d_serve *s)
{
    struct d_member *m = s->member;
    if (m->document != NULL) {
        wanted_read(s, wire_value_get(m->document, "serve"));
        warm_read(s, m->document);
        timeout_read(s, m->document);
        if (!deployed_before(s)) {
            if (!body_make(s))
                return;
            s->put_digest = m->document_digest;
            s->rejected = false;
        }
    }
    if (s->call == NULL)
        next_in(s, s->settled ? 0 : FIRST_POLL_MS);
}

bool d_serve_settled(const struct d_serve *s)
{
    bool warm = a_digest_is_zero(&s->deployed) || s->warmed;
    return (s->settled && warm) || s->member->exited || s->member->state.state == A_MEMBER_FETCHING;
}

static enum wire_sl_serve_state serve_state(enum unit_ray_app_status s)
{
    static const enum wire_sl_serve_state states[] = {
        [UNIT_RAY_APP_NOT_STARTED] = WIRE_SL_SERVE_NOT_STARTED,
        [UNIT_RAY_APP_DEPLOYING] = WIRE_SL_SERVE_DEPLOYING,
        [UNIT_RAY_APP_DEPLOY_FAILED] = WIRE_SL_SERVE_DEPLOY_FAILED,
        [UNIT_RAY_APP_RUNNING] = WIRE_SL_SERVE_RUNNING,
        [UNIT_RAY_APP_UNHEALTHY] = WIRE_SL_SERVE_UNHEALTHY,
        [UNIT_RAY_APP_DELETING] = WIRE_SL_SERVE_DELETING,
        [UNIT_RAY_APP_UNKNOWN] = WIRE_SL_SERVE_UNKNOWN,
    };
    return states[s];
}

void d_serve_report(struct d_serve *s, struct a_arena *arena, struct wire_sl_claim_status *status)
{
    struct wire_sl_serve_app *apps = a_arena_alloc(arena, (s->status.n_apps + 1) * sizeof *apps);
    size_t n = A_MIN(s->status.n_apps, (size_t)D_SERVE_APPS_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct unit_ray_app *app = &s->status.apps[i];
        apps[i] = (struct wire_sl_serve_app){.name = a_view_str(app->name),
                                             .route_prefix = a_view_str(app->route_prefix),
                                             .status = serve_state(app->status),
                                             .message = a_view_str(app->message)};
    }
    status->apps = apps;
    status->n_apps = n;
    status->deployed = s->deployed;
    status->warmed = s->warmed;
    status->silent = s->silent;
    status->overdue = s->overdue;
    d_endpoints_report(s, arena, status);
}
