/* From a completed tree to the struct that the fleet and the gateway's tables are made from. The checker has
 * been here before: what it guarantees is asserted, not checked again. */
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "unit/app.h"

#define RAY_MAX_ONGOING 5 /* Serve's default of max_ongoing_requests */

static uint64_t bytes_of(const struct wire_value *object, const char *key)
{
    uint64_t bytes = 0;
    bool ok = a_text_bytes(wire_value_view(wire_value_get(object, key)), &bytes);
    a_assert(ok);
    return bytes;
}

static uint64_t duration_of(const struct wire_value *object, const char *key)
{
    uint64_t ms = 0;
    bool ok = a_text_duration(wire_value_view(wire_value_get(object, key)), &ms);
    a_assert(ok);
    return ms;
}

static uint32_t int_of(const struct wire_value *object, const char *key)
{
    return (uint32_t)wire_value_int(wire_value_get(object, key), 0);
}

static struct a_capacity capacity_of(const struct wire_value *member)
{
    struct a_capacity c = {.memory_bytes = bytes_of(member, "memory"),
                           .disk_bytes = bytes_of(member, "disk")};
    bool ok = a_text_mcpu(wire_value_view(wire_value_get(member, "cpu")), &c.mcpu);
    a_assert(ok);
    return c;
}

static void groups_read(const struct wire_value *workers, struct unit_app *app)
{
    wire_value_foreach(w, workers)
    {
        struct unit_group *g = &app->groups[app->n_groups++];
        bool ok = a_name_parse(wire_value_view(wire_value_get(w, "name")), &g->name);
        a_assert(ok && app->n_groups <= UNIT_GROUPS_MAX);
        g->count = int_of(w, "count");
        g->capacity = capacity_of(w);
    }
}

/* The largest cap that the config names on any deployment: Serve tells the ingress only after it is up, and a
 * gateway that caps below it would waste the replica. */
static uint32_t max_ongoing_of(const struct wire_value *application)
{
    int64_t max = 0;
    wire_value_foreach(d, wire_value_get(application, "deployments"))
    {
        int64_t n = wire_value_int(wire_value_get(d, "max_ongoing_requests"), 0);
        max = A_MAX(max, n);
    }
    return max > 0 && max <= UINT32_MAX ? (uint32_t)max : RAY_MAX_ONGOING;
}

static const struct wire_value *application_of(const struct wire_value *applications,
                                               const struct wire_value *name)
{
    if (wire_value_is_null(name))
        return wire_value_first(applications);
    wire_value_foreach(a, applications)
    {
        if (a_view_is(wire_value_view(name), wire_value_string(wire_value_get(a, "name"), "default")))
            return a;
    }
    a_assert(false); /* the checker lets no route without its application pass */
    return NULL;
}

static struct unit_route route_read(const struct wire_value *route, const struct wire_value *application)
{
    const char *own = wire_value_string(wire_value_get(application, "route_prefix"), "/");
    struct unit_route r = {
        .application = wire_value_string(wire_value_get(application, "name"), "default"),
        .host = wire_value_string(wire_value_get(route, "host"), "*"),
        .prefix = wire_value_string(wire_value_get(route, "prefix"), own),
        .rewrite = wire_value_string(wire_value_get(route, "rewrite"), NULL),
        .policy = wire_value_string(wire_value_get(route, "policy"), "least"),
        .timeout_ms = duration_of(route, "timeout"),
        .idle_ms = duration_of(route, "idle"),
        .wait_ms = duration_of(route, "wait"),
        .max_body = bytes_of(route, "maxBody"),
        .retry_body = bytes_of(route, "retryBody"),
        .idempotent = wire_value_bool(wire_value_get(route, "idempotent"), false),
        .max_ongoing = max_ongoing_of(application),
    };
    if (r.rewrite == NULL && strcmp(r.prefix, own) != 0)
        r.rewrite = own; /* Ray answers 404 to another prefix: the rewrite follows from what was asked for */
    return r;
}

/* One for each Serve application when none is written. */
static const struct wire_value *routes_or_default(struct a_arena *arena, const struct wire_value *routes,
                                                  const struct wire_value *applications)
{
    if (wire_value_count(routes) > 0)
        return routes;
    struct wire_value *made = wire_value_new_array(arena);
    wire_value_foreach(a, applications)
    {
        struct wire_value *route = wire_value_new_object(arena);
        wire_value_set_string(arena, route, "application",
                              wire_value_string(wire_value_get(a, "name"), "default"));
        for (const struct wire_field *f = wire_schema_field(&unit_app_schema, "spec.routes")->fields;
             f->name != NULL; f++) {
            struct wire_value *v;
            if (wire_value_get(route, f->name) != NULL)
                continue;
            int rc = wire_json_parse(arena, a_view_str(f->fallback), NULL, NULL, &v, NULL);
            a_assert(rc == 0);
            wire_value_set(arena, route, f->name, v);
        }
        wire_value_append(made, route);
    }
    return made;
}

static void routes_read(struct a_arena *arena, const struct wire_value *spec, struct unit_app *app)
{
    const struct wire_value *applications = wire_value_path(spec, "serve.applications");
    const struct wire_value *routes = routes_or_default(arena, wire_value_get(spec, "routes"), applications);
    size_t n = wire_value_count(routes);
    app->routes = a_arena_alloc(arena, n * sizeof *app->routes);
    wire_value_foreach(r, routes)
    {
        const struct wire_value *application = application_of(applications, wire_value_get(r, "application"));
        /* route_prefix: null in Serve means "not over HTTP" */
        const struct wire_value *prefix = wire_value_get(application, "route_prefix");
        if (prefix != NULL && prefix->type == WIRE_VALUE_NULL)
            continue;
        app->routes[app->n_routes++] = route_read(r, application);
    }
}

static void spread_read(const struct wire_value *spec, struct unit_app *app)
{
    static const char *const names[] = {
        [UNIT_DOMAIN_CLUSTER] = "cluster", [UNIT_DOMAIN_ZONE] = "zone", [UNIT_DOMAIN_HOST] = "host"};
    size_t n = 0;
    wire_value_foreach(word, wire_value_path(spec, "placement.spread"))
    {
        for (size_t d = UNIT_DOMAIN_CLUSTER; d < A_ARRAY_SIZE(names) && n < UNIT_DOMAINS; d++)
            if (a_view_is(wire_value_view(word), names[d]))
                app->spread[n++] = (enum unit_domain)d;
    }
}

static void archs_read(const struct wire_value *spec, struct unit_app *app)
{
    wire_value_foreach(env, wire_value_get(spec, "environment"))
    {
        const char *arch = wire_value_string(wire_value_path(env, "match.arch"), NULL);
        if (arch == NULL || app->n_archs == UNIT_ARCHS_MAX) {
            app->n_archs = 0; /* this one fits every node */
            return;
        }
        app->archs[app->n_archs++] = arch;
    }
}

void unit_app_read(struct a_arena *arena, const struct wire_value *tree, struct unit_app *ret)
{
    const struct wire_value *spec = wire_value_get(tree, "spec"), *head = wire_value_get(spec, "head");
    const struct wire_value *rollout = wire_value_get(spec, "rollout"),
                            *drain = wire_value_get(spec, "drain");
    const char *serves = wire_value_string(wire_value_get(head, "serves"), "auto");
    struct unit_app app = {
        .units = int_of(spec, "units"),
        .head = capacity_of(head),
        .head_timeout_ms = duration_of(head, "timeout"),
        .max_surge = int_of(rollout, "maxSurge"),
        .max_unavailable = int_of(rollout, "maxUnavailable"),
        .history = int_of(rollout, "history"),
        .bake_ms = duration_of(rollout, "bake"),
        .progress_deadline_ms = duration_of(rollout, "progressDeadline"),
        .undo = strcmp(wire_value_string(wire_value_get(rollout, "undo"), "auto"), "auto") == 0,
        .drain_requests_ms = duration_of(drain, "requests"),
        .drain_streams_ms = duration_of(drain, "streams"),
    };
    bool ok = a_name_parse(wire_value_view(wire_value_path(tree, "metadata.name")), &app.ref.name) &&
              a_name_parse(wire_value_view(wire_value_path(tree, "metadata.namespace")), &app.ref.namespace);
    a_assert(ok);
    groups_read(wire_value_get(spec, "workers"), &app);
    spread_read(spec, &app);
    archs_read(spec, &app);
    app.head_serves = strcmp(serves, "always") == 0 || (strcmp(serves, "auto") == 0 && app.n_groups == 0);
    routes_read(arena, spec, &app);
    *ret = app;
}
