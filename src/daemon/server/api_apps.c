/* Apps and units: put, scale, undo, delete, and what people ask about them. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/server/api.h"

/* ---- lists ---- */

static const char *scope_prefix(struct api_call *c)
{
    return c->scope != NULL ? a_arena_printf(c->arena, "%s/", c->scope) : "";
}

void api_handle_APPS_ALL(struct api_call *c)
{
    api_list(c, API_KIND_APP, scope_prefix(c));
}

void api_handle_UNITS_ALL(struct api_call *c)
{
    api_list(c, API_KIND_UNIT, scope_prefix(c));
}

void api_handle_APPS(struct api_call *c)
{
    api_list(c, API_KIND_APP, a_arena_printf(c->arena, "%s/", c->namespace.s));
}

void api_handle_UNITS(struct api_call *c)
{
    api_list(c, API_KIND_UNIT, a_arena_printf(c->arena, "%s/", c->namespace.s));
}

void api_handle_APP_UNITS(struct api_call *c)
{
    const struct d_app *app = api_app(c);
    if (app != NULL)
        api_list(c, API_KIND_UNIT, a_arena_printf(c->arena, "%s/", app->key));
}

void api_handle_APP_ENDPOINTS(struct api_call *c)
{
    const struct d_app *app = api_app(c);
    if (app != NULL && !d_routes_are_known(c->s))
        api_reply_problem(
            c, A_CODE_UNAVAILABLE,
            "this server began a moment ago and units that run have not all reported: keep what "
            "you have and ask again");
    else if (app != NULL)
        api_list(c, API_KIND_ENDPOINT, a_arena_printf(c->arena, "%s/", app->key));
}

void api_handle_APP(struct api_call *c)
{
    const struct d_app *app = api_app(c);
    if (app != NULL)
        api_reply_tagged(c, 200, api_json_app(c->api, app, c->arena, true), app->store_revision);
}

void api_handle_APP_UNIT(struct api_call *c)
{
    const struct d_app *app = api_app(c);
    struct a_unit_name name;
    struct unit_info u;
    if (app == NULL)
        return;
    if (app->fleet == NULL || !a_unit_name_parse(c->params[2], &name) ||
        !unit_fleet_find(app->fleet, &name, &u))
        api_reply_problem(c, A_CODE_NOT_FOUND, "no such unit of %s: " A_VIEW_FMT, app->key,
                          A_VIEW_ARG(c->params[2]));
    else
        api_reply_value(c, 200, api_json_unit(c->api, app, &u, c->arena, true));
}

/* ---- writing ---- */

static void written_reply(struct api_call *c, const struct d_app_result *result)
{
    struct wire_value *v = api_json_app(c->api, result->app, c->arena, true);
    wire_value_set_bool(c->arena, v, "changed", result->changed);
    wire_value_set_bool(c->arena, v, "newRevision", result->new_revision);
    api_reply_tagged(c, result->new_revision && result->app->generation <= 1 ? 201 : 200, v,
                     result->app->store_revision);
}

static void on_app_done(void *ctx, const struct d_app_result *result, const struct a_error *error)
{
    struct api_call *c = api_now(ctx);
    if (c == NULL)
        return;
    if (result == NULL || result->app == NULL) {
        api_reply_error(c, error);
        return;
    }
    written_reply(c, result);
}

/* The answer of a write that was stored by a server that ended before it told so: of the app as it is now. */
void api_app_retell(struct api_call *c, uint64_t since_unix_ms)
{
    struct d_app_result r = {.app = api_app(c), .changed = true};
    if (r.app == NULL)
        return;
    r.new_revision = c->route->id == API_ROUTE_APP_PUT && r.app->current != NULL &&
                     r.app->current->created_unix_ms >= since_unix_ms;
    written_reply(c, &r);
}

/* If-Match: "REVISION"; 0 = not asked. False: answered. */
static bool if_match_read(struct api_call *c, uint64_t *ret)
{
    struct a_view v = a_view_trim(net_http_request_header(c->r, "if-match"));
    *ret = 0;
    if (v.len == 0 || a_view_is(v, "*"))
        return true;
    if (v.len >= 2 && v.ptr[0] == '"' && v.ptr[v.len - 1] == '"')
        v = (struct a_view){v.ptr + 1, v.len - 2};
    if (a_text_u64(v, ret) && *ret != 0)
        return true;
    api_reply_problem(c, A_CODE_INVALID, "If-Match: \"" A_VIEW_FMT "\" is no resourceVersion", A_VIEW_ARG(v));
    return false;
}

/* What the path says must be what the document says; a document may leave it out. */
static void names_check(struct api_call *c, struct wire_value *doc, struct wire_problems *p)
{
    struct wire_value *metadata = wire_value_get(doc, "metadata");
    const char *name = api_param(c, 1);
    if (!wire_value_is(metadata, WIRE_VALUE_OBJECT))
        return;
    const struct wire_value *has_name = wire_value_get(metadata, "name");
    const struct wire_value *has_namespace = wire_value_get(metadata, "namespace");
    if (has_name != NULL && strcmp(wire_value_string(has_name, ""), name) != 0)
        wire_problem_add(p, A_CODE_APP_INVALID, "metadata.name", has_name, NULL, "the path says %s", name);
    if (has_namespace != NULL && strcmp(wire_value_string(has_namespace, ""), c->namespace.s) != 0)
        wire_problem_add(p, A_CODE_APP_INVALID, "metadata.namespace", has_namespace, NULL, "the path says %s",
                         c->namespace.s);
    if (has_namespace == NULL)
        wire_value_set_string(c->arena, metadata, "namespace", c->namespace.s);
}

static void dry_run_reply(struct api_call *c, const struct wire_value *app, const struct wire_problems *p)
{
    struct wire_value *v = wire_value_new_object(c->arena), *warnings = wire_value_new_array(c->arena);
    for (const struct wire_problem *u = p->first; u != NULL; u = u->next)
        if (u->code == A_CODE_NONE)
            wire_value_append(
                warnings,
                wire_value_new_string(c->arena, a_arena_printf(c->arena, "%s: %s", u->field, u->message)));
    wire_value_set_bool(c->arena, v, "dryRun", true);
    wire_value_set(c->arena, v, "app", wire_value_copy(c->arena, app));
    wire_value_set(c->arena, v, "warnings", warnings);
    api_reply_value(c, 200, v);
}

void api_handle_APP_PUT(struct api_call *c)
{
    struct wire_problems p = {.arena = c->arena};
    struct wire_value *doc = api_body(c), *app = NULL;
    struct unit_source *sources = NULL;
    size_t n = 0;
    uint64_t if_match;
    struct a_name name;
    if (doc == NULL || !if_match_read(c, &if_match))
        return;
    if (!a_name_parse(c->params[1], &name)) {
        api_reply_problem(c, A_CODE_INVALID,
                          "\"%s\" is no app's name: a-z, 0-9 and inner '-', at most %d characters",
                          api_param(c, 1), A_NAME_MAX);
        return;
    }
    names_check(c, doc, &p);
    app = d_app_check(c->s, &p, doc, &sources, &n);
    if (p.n_errors > 0)
        api_reply_problems(c, &p);
    else if (api_query_flag(c, "dryRun"))
        dry_run_reply(c, app, &p);
    else
        d_app_put(c->s,
                  &(struct d_app_write){.app = app,
                                        .sources = sources,
                                        .n_sources = n,
                                        .if_match = if_match,
                                        .also = api_replay_mark(c)},
                  on_app_done, api_later(c));
}

/* True when the app's entry is still what the caller read; else answered. */
static bool if_match_check(struct api_call *c, const struct d_app *app)
{
    uint64_t if_match;
    if (!if_match_read(c, &if_match))
        return false;
    if (if_match == 0 || if_match == app->store_revision)
        return true;
    api_reply_problem(c, A_CODE_PRECONDITION,
                      "%s changed in between: resourceVersion is %" PRIu64 ", not %" PRIu64, app->key,
                      app->store_revision, if_match);
    return false;
}

void api_handle_APP_DELETE(struct api_call *c)
{
    struct d_app *app = api_app(c);
    if (app != NULL && if_match_check(c, app))
        d_app_delete(c->s, app, NULL, api_replay_mark(c), on_app_done, api_later(c));
}

/* A number of the body's; answers and returns false when it is none. */
static bool body_number(struct api_call *c, const char *key, int64_t min, int64_t max, int64_t otherwise,
                        int64_t *ret)
{
    const struct wire_value *body = api_body(c), *v;
    if (body == NULL)
        return false;
    v = wire_value_get(body, key);
    int64_t n = wire_value_int(v, v == NULL ? otherwise : INT64_MIN);
    if (n >= min && n <= max) {
        *ret = n;
        return true;
    }
    api_reply_problem(c, A_CODE_INVALID, "%s: expected a number from %" PRId64 " to %" PRId64, key, min, max);
    return false;
}

void api_handle_APP_SCALE(struct api_call *c)
{
    struct d_app *app = api_app(c);
    int64_t units;
    if (app != NULL && if_match_check(c, app) && body_number(c, "units", 0, 10000, -1, &units))
        d_app_scale(c->s, app, (uint32_t)units, api_replay_mark(c), on_app_done, api_later(c));
}

void api_handle_APP_UNDO(struct api_call *c)
{
    struct d_app *app = api_app(c);
    int64_t to;
    if (app != NULL && if_match_check(c, app) && body_number(c, "to", 0, INT64_MAX, 0, &to))
        d_app_undo(c->s, app, (uint64_t)to, api_replay_mark(c), on_app_done, api_later(c));
}

void api_handle_APP_REVISIONS(struct api_call *c)
{
    const struct d_app *app = api_app(c);
    if (app == NULL)
        return;
    struct wire_value *v = wire_value_new_object(c->arena), *items = wire_value_new_array(c->arena);
    a_list_foreach (l, &app->revisions) {
        const struct d_revision *r = a_list_entry(l, struct d_revision, link);
        struct wire_value *item = wire_value_new_object(c->arena);
        char hex[A_DIGEST_HEX + 1];
        a_digest_hex(&r->digest, hex);
        wire_value_set_int(c->arena, item, "number", (int64_t)r->number);
        api_set_time(c->arena, item, "created", r->created_unix_ms);
        wire_value_set_string(c->arena, item, "digest", a_arena_printf(c->arena, "sha256:%s", hex));
        wire_value_set_string(c->arena, item, "cause", r->cause);
        wire_value_set_bool(c->arena, item, "current", r == app->current);
        wire_value_set_bool(c->arena, item, "proven", r->number == app->proven);
        wire_value_append(items, item);
    }
    wire_value_set_string(c->arena, v, "kind", "RevisionList");
    wire_value_set(c->arena, v, "items", items);
    api_reply_value(c, 200, v);
}

/* ---- orphans ---- */

static struct d_app *orphan_find(struct api_call *c)
{
    struct a_app_ref ref;
    struct d_app *app = a_name_parse(c->params[0], &ref.namespace) && a_name_parse(c->params[1], &ref.name)
                            ? d_app_find(c->s, &ref)
                            : NULL;
    if (app != NULL && app->orphan)
        return app;
    api_reply_problem(c, A_CODE_NOT_FOUND, "no such orphan: " A_VIEW_FMT "/" A_VIEW_FMT "%s",
                      A_VIEW_ARG(c->params[0]), A_VIEW_ARG(c->params[1]),
                      app != NULL ? " (the app is in the store: nothing to do)" : "");
    return NULL;
}

static struct wire_value *orphan_json(struct api_call *c, const struct d_app *app)
{
    struct wire_value *v = wire_value_new_object(c->arena), *claims = wire_value_new_array(c->arena);
    for (const struct sl_resource_claim *l = sl_resource_next_orphan(&c->s->resource, NULL); l != NULL;
         l = sl_resource_next_orphan(&c->s->resource, l)) {
        if (strcmp(l->facts.id.app_uid.s, app->uid.s) != 0)
            continue;
        struct wire_value *claim = wire_value_new_object(c->arena);
        wire_value_set_string(c->arena, claim, "unit", l->facts.id.unit.s);
        wire_value_set_string(c->arena, claim, "member", l->facts.id.member.s);
        wire_value_set_string(c->arena, claim, "node", l->node->id.s);
        wire_value_set_string(c->arena, claim, "memberState", a_member_state_name(l->facts.member));
        wire_value_set_int(c->arena, claim, "revision", (int64_t)l->facts.revision);
        wire_value_append(claims, claim);
    }
    wire_value_set_string(c->arena, v, "namespace", app->ref.namespace.s);
    wire_value_set_string(c->arena, v, "name", app->ref.name.s);
    wire_value_set_string(c->arena, v, "uid", app->uid.s);
    wire_value_set_bool(c->arena, v, "adoptable", d_app_adoptable(c->s, app));
    wire_value_set(c->arena, v, "claims", claims);
    return v;
}

void api_handle_ORPHANS(struct api_call *c)
{
    struct wire_value *v = wire_value_new_object(c->arena), *items = wire_value_new_array(c->arena);
    a_map_foreach (l, &c->s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app->orphan && (c->scope == NULL || strcmp(c->scope, app->ref.namespace.s) == 0))
            wire_value_append(items, orphan_json(c, app));
    }
    wire_value_set_string(c->arena, v, "kind", "OrphanList");
    wire_value_set(c->arena, v, "items", items);
    api_reply_value(c, 200, v);
}

void api_handle_ORPHAN_ADOPT(struct api_call *c)
{
    struct d_app *app = orphan_find(c);
    if (app != NULL)
        d_app_adopt(c->s, app, on_app_done, api_later(c));
}

static void on_released(void *ctx, const struct d_app_result *result, const struct a_error *error)
{
    struct api_call *c = api_now(ctx);
    (void)result;
    if (c == NULL)
        return;
    if (error != NULL && error->code != A_CODE_NONE) {
        api_reply_error(c, error);
        return;
    }
    struct wire_value *v = wire_value_new_object(c->arena);
    wire_value_set_string(c->arena, v, "namespace", api_param(c, 0));
    wire_value_set_string(c->arena, v, "name", api_param(c, 1));
    wire_value_set_bool(c->arena, v, "released", true);
    api_reply_value(c, 200, v);
}

void api_handle_ORPHAN_RELEASE(struct api_call *c)
{
    struct d_app *app = orphan_find(c);
    if (app != NULL)
        d_app_release_orphans(c->s, app, on_released, api_later(c));
}
