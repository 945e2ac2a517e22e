/* Reading GET /api/serve/applications/. The reply of a newer Ray has fields that we do not know and may lack
 * some that we do: what is missing or of another type counts as absent, and nothing here fails on it. */
#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "unit/ray.h"

#define SERVE_MAX_ONGOING 5 /* Ray Serve's default */

static const char *const app_statuses[] = {
    [UNIT_RAY_APP_NOT_STARTED] = "NOT_STARTED",
    [UNIT_RAY_APP_DEPLOYING] = "DEPLOYING",
    [UNIT_RAY_APP_DEPLOY_FAILED] = "DEPLOY_FAILED",
    [UNIT_RAY_APP_RUNNING] = "RUNNING",
    [UNIT_RAY_APP_UNHEALTHY] = "UNHEALTHY",
    [UNIT_RAY_APP_DELETING] = "DELETING",
    [UNIT_RAY_APP_UNKNOWN] = "UNKNOWN",
};

const char *unit_ray_app_status_name(enum unit_ray_app_status s)
{
    a_assert((size_t)s < A_ARRAY_SIZE(app_statuses));
    return app_statuses[s];
}

static enum unit_ray_app_status app_status_parse(const char *word)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(app_statuses); i++)
        if (strcmp(word, app_statuses[i]) == 0)
            return (enum unit_ray_app_status)i;
    return UNIT_RAY_APP_UNKNOWN;
}

/* The member's text, living as long as the arena; `otherwise` when it is no text. */
static const char *text_of(const struct wire_value *object, const char *key, const char *otherwise)
{
    return wire_value_string(wire_value_get(object, key), otherwise);
}

static uint32_t count_of(const struct wire_value *object, const char *key, uint32_t otherwise)
{
    int64_t n = wire_value_int(wire_value_get(object, key), -1);
    return n >= 0 && n <= UINT32_MAX ? (uint32_t)n : otherwise;
}

static void replica_read(const struct wire_value *v, struct unit_ray_replica *r)
{
    int64_t pid = wire_value_int(wire_value_get(v, "pid"), 0);
    *r = (struct unit_ray_replica){
        .id = text_of(v, "replica_id", ""),
        .state = text_of(v, "state", ""),
        .name = text_of(v, "actor_name", ""),
        .node_ip = text_of(v, "node_ip", ""),
        .pid = pid > 0 && pid <= INT32_MAX ? pid : 0,
    };
}

static void deployment_read(const struct wire_value *v, const char *ingress, struct a_arena *arena,
                            struct unit_ray_deployment *d)
{
    const struct wire_value *config = wire_value_get(v, "deployment_config"),
                            *list = wire_value_get(v, "replicas");
    struct unit_ray_replica *replicas = a_arena_alloc(arena, (wire_value_count(list) + 1) * sizeof *replicas);
    *d = (struct unit_ray_deployment){
        .name = text_of(v, "name", a_arena_strndup(arena, v->key.ptr, v->key.len)),
        .status = text_of(v, "status", ""),
        .message = text_of(v, "message", ""),
        .max_ongoing = count_of(config, "max_ongoing_requests", SERVE_MAX_ONGOING),
        .target_replicas = count_of(v, "target_num_replicas", 0),
        .replicas = replicas,
    };
    d->is_ingress = ingress != NULL && strcmp(ingress, d->name) == 0;
    wire_value_foreach(it, list)
    {
        if (wire_value_is(it, WIRE_VALUE_OBJECT))
            replica_read(it, &replicas[d->n_replicas++]);
    }
}

static void app_read(const struct wire_value *v, struct a_arena *arena, struct unit_ray_app *app)
{
    const struct wire_value *list = wire_value_get(v, "deployments");
    const char *ingress =
        wire_value_string(wire_value_path(v, "deployment_topology.ingress_deployment"), NULL);
    struct unit_ray_deployment *deployments =
        a_arena_alloc(arena, (wire_value_count(list) + 1) * sizeof *deployments);
    *app = (struct unit_ray_app){
        .name = text_of(v, "name", a_arena_strndup(arena, v->key.ptr, v->key.len)),
        .route_prefix = text_of(v, "route_prefix", NULL),
        .message = text_of(v, "message", ""),
        .status = app_status_parse(text_of(v, "status", "")),
        .last_deployed_s = wire_value_number(wire_value_get(v, "last_deployed_time_s"), 0),
        .deployments = deployments,
    };
    if (!wire_value_is(list, WIRE_VALUE_OBJECT))
        return;
    wire_value_foreach(it, list)
    {
        if (wire_value_is(it, WIRE_VALUE_OBJECT))
            deployment_read(it, ingress, arena, &deployments[app->n_deployments++]);
    }
}

/* The group's application: by name where Ray says it, by route prefix in older replies. */
static struct unit_ray_app *group_app(const struct wire_value *group, struct unit_ray_app *apps,
                                      size_t n_apps)
{
    const char *name = text_of(group, "app_name", NULL), *prefix = text_of(group, "route_prefix", NULL);
    for (size_t i = 0; i < n_apps; i++) {
        if (name != NULL && strcmp(apps[i].name, name) == 0)
            return &apps[i];
        if (name == NULL && prefix != NULL && apps[i].route_prefix != NULL &&
            strcmp(apps[i].route_prefix, prefix) == 0)
            return &apps[i];
    }
    return NULL;
}

/* What the deployments know of the replica behind an endpoint. */
static void endpoint_complete(const struct unit_ray_app *app, struct unit_ray_endpoint *e)
{
    for (size_t i = 0; i < app->n_deployments; i++) {
        const struct unit_ray_deployment *d = &app->deployments[i];
        if (d->is_ingress)
            e->max_ongoing = d->max_ongoing;
        for (size_t j = 0; j < d->n_replicas; j++) {
            if (strcmp(d->replicas[j].name, e->name) == 0) {
                e->pid = d->replicas[j].pid;
                e->max_ongoing = d->max_ongoing;
                return;
            }
        }
    }
}

/* The targets of every group of this application and protocol. */
static size_t endpoints_read(const struct wire_value *groups, const char *protocol, struct unit_ray_app *app,
                             struct unit_ray_app *apps, size_t n_apps, struct a_arena *arena,
                             const struct unit_ray_endpoint **ret)
{
    size_t n = 0, max = 0;
    wire_value_foreach(group, groups) max += wire_value_count(wire_value_get(group, "targets"));
    struct unit_ray_endpoint *list = a_arena_alloc(arena, (max + 1) * sizeof *list);
    wire_value_foreach(group, groups)
    {
        if (strcmp(text_of(group, "protocol", "HTTP"), protocol) != 0 ||
            group_app(group, apps, n_apps) != app)
            continue;
        wire_value_foreach(target, wire_value_get(group, "targets"))
        {
            uint32_t port = count_of(target, "port", 0);
            const char *ip = text_of(target, "ip", "");
            if (port == 0 || port > UINT16_MAX || ip[0] == '\0')
                continue;
            list[n] = (struct unit_ray_endpoint){.name = text_of(target, "name", ""),
                                                 .ip = ip,
                                                 .port = (uint16_t)port,
                                                 .max_ongoing = SERVE_MAX_ONGOING};
            list[n].is_proxy = !a_view_starts(a_view_str(list[n].name), "SERVE_REPLICA::");
            endpoint_complete(app, &list[n++]);
        }
    }
    *ret = list;
    return n;
}

int unit_ray_status_parse(struct a_view text, struct a_arena *arena, struct unit_ray_status *ret_status,
                          struct a_error *reterr)
{
    struct wire_value *top;
    int rc = wire_json_parse(arena, text, "Serve's status", NULL, &top, reterr);
    if (rc < 0)
        return rc;
    if (!wire_value_is(top, WIRE_VALUE_OBJECT))
        return a_fail(reterr, -EINVAL, A_CODE_RAY_REJECTED, "Serve's status: expected an object");
    const struct wire_value *list = wire_value_get(top, "applications"),
                            *groups = wire_value_get(top, "target_groups");
    struct unit_ray_app *apps = a_arena_alloc(arena, (wire_value_count(list) + 1) * sizeof *apps);
    size_t n = 0;
    if (wire_value_is(list, WIRE_VALUE_OBJECT)) {
        wire_value_foreach(it, list)
        {
            if (wire_value_is(it, WIRE_VALUE_OBJECT))
                app_read(it, arena, &apps[n++]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        apps[i].n_endpoints = endpoints_read(groups, "HTTP", &apps[i], apps, n, arena, &apps[i].endpoints);
        apps[i].n_grpc = endpoints_read(groups, "gRPC", &apps[i], apps, n, arena, &apps[i].grpc);
    }
    *ret_status = (struct unit_ray_status){apps, n};
    return 0;
}
