/* The body of the PUT of a Serve config. */
#include <errno.h>

#include "unit/expand.h"
#include "unit/ray.h"

/* A text in the config has one value for all replicas, wherever in the unit they are: only names that mean
 * the same on every member are defined here. */
static int variables_make(const struct unit_ray_serve *s, struct unit_variables *vars, struct a_error *reterr)
{
    const struct wire_value *app = wire_value_get(s->document, "app");
    unit_variable_add(vars, "ASTRA_NAMESPACE",
                      wire_value_string(wire_value_get(app, "namespace"), "default"));
    unit_variable_add(vars, "ASTRA_APP", wire_value_string(wire_value_get(app, "name"), ""));
    unit_variable_add(vars, "ASTRA_UNIT", s->unit);
    unit_variables_models(vars, s->models_dir, wire_value_get(s->document, "models"));
    return unit_variables_env(vars, wire_value_get(s->document, "env"), reterr);
}

static int expand_member(struct unit_variables *vars, struct wire_value *object, const char *key,
                         struct a_error *reterr)
{
    struct wire_value *v = wire_value_get(object, key);
    int rc = v != NULL ? unit_expand_tree(vars, v, reterr) : 0;
    if (rc < 0)
        a_error_wrap(reterr, "%s", key);
    return rc;
}

/* Where an application's own texts are: args, user_config and the variables of its runtime environments. */
static int application_expand(struct unit_variables *vars, struct wire_value *app, struct a_error *reterr)
{
    struct wire_value *deployments = wire_value_get(app, "deployments");
    int rc = expand_member(vars, app, "args", reterr);
    if (rc == 0)
        rc = expand_member(vars, wire_value_get(app, "runtime_env"), "env_vars", reterr);
    for (size_t i = 0; rc == 0 && i < wire_value_count(deployments); i++) {
        struct wire_value *d = wire_value_at(deployments, i);
        rc = expand_member(vars, d, "user_config", reterr);
        if (rc == 0)
            rc = expand_member(vars, wire_value_path(d, "ray_actor_options.runtime_env"), "env_vars", reterr);
    }
    return rc;
}

static struct wire_value *object_in(struct a_arena *arena, struct wire_value *body, const char *key)
{
    struct wire_value *v = wire_value_get(body, key);
    if (!wire_value_is(v, WIRE_VALUE_OBJECT))
        wire_value_set(arena, body, key, v = wire_value_new_object(arena));
    return v;
}

static void own_fields_set(const struct unit_ray_serve *s, struct a_arena *arena, struct wire_value *body)
{
    struct wire_value *http = object_in(arena, body, "http_options"),
                      *grpc = object_in(arena, body, "grpc_options");
    wire_value_set_string(arena, http, "host", s->host);
    wire_value_set_int(arena, http, "port", (int64_t)s->port_first + UNIT_RAY_PORT_SERVE_HTTP);
    wire_value_set_int(arena, grpc, "port", (int64_t)s->port_first + UNIT_RAY_PORT_SERVE_GRPC);
    wire_value_set_string(arena, body, "proxy_location", "HeadOnly");
}

int unit_ray_serve_body(const struct unit_ray_serve *s, struct a_buf *ret_body, bool *ret_local,
                        struct a_error *reterr)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct unit_variables vars = {.arena = &arena};
    const struct wire_value *serve = wire_value_get(s->document, "serve");
    if (wire_value_count(wire_value_get(serve, "applications")) == 0)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "serve: expected an object with at least one application");
    struct wire_value *body = wire_value_copy(&arena, serve),
                      *applications = wire_value_get(body, "applications");
    int rc = variables_make(s, &vars, reterr);
    for (size_t i = 0; rc == 0 && i < wire_value_count(applications); i++)
        rc = application_expand(&vars, wire_value_at(applications, i), reterr);
    if (rc < 0)
        return rc;
    own_fields_set(s, &arena, body);
    wire_json_print(ret_body, body, 0);
    *ret_local = vars.local;
    return 0;
}
