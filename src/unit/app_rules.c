#include "unit/app_rules.h"

#include <string.h>

#include "base/text.h"
#include "types/digest.h"
#include "unit/expand.h"

#define MEMORY_MIN                                                                                           \
    (1536ull << 20) /* Ray's own processes with Serve take 0.96 GB (contracts.md, Memory of a unit) */

static void invalid(struct wire_problems *p, const char *field, const struct wire_value *at, const char *hint,
                    const char *message)
{
    wire_problem_add(p, A_CODE_APP_INVALID, field, at, hint, "%s", message);
}

static bool is_set(const struct wire_value *object, const char *key)
{
    return !wire_value_is_null(wire_value_get(object, key));
}

/* name, name@version or sha256:HEX */
static bool source_ok(struct a_view v)
{
    struct a_digest digest;
    struct a_view version, name = a_view_split(v, '@', &version);
    if (a_view_starts(v, "sha256:"))
        return a_digest_parse(v, &digest);
    if (name.len == v.len)
        return a_text_is_label(v, A_NAME_MAX);
    if (!a_text_is_label(name, A_NAME_MAX) || version.len == 0 || version.len > 64)
        return false;
    for (size_t i = 0; i < version.len; i++)
        if (version.ptr[i] <= ' ' || version.ptr[i] == '@' || version.ptr[i] == '/' || version.ptr[i] == 0x7f)
            return false;
    return true;
}

static void source_check(struct wire_problems *p, const struct wire_value *object, const char *key,
                         const char *path)
{
    const struct wire_value *v = wire_value_get(object, key);
    if (wire_value_is(v, WIRE_VALUE_STRING) && !source_ok(v->string))
        invalid(p, a_arena_printf(p->arena, "%s.%s", path, key), v,
                "put it with: astra artifact put FILE --name NAME@VERSION",
                "expected name@version or sha256:HEX");
}

static void environments_check(struct wire_problems *p, const struct wire_value *list)
{
    size_t i = 0;
    wire_value_foreach(env, list)
    {
        const char *path = a_arena_printf(p->arena, "spec.environment[%zu]", i++);
        int sources = is_set(env, "requirements") + is_set(env, "artifact") + is_set(env, "conda") +
                      is_set(env, "image");
        if (sources != 1)
            invalid(p, path, env, "for example {requirements: requirements.txt}",
                    "exactly one of requirements and artifact is wanted");
        source_check(p, env, "artifact", path);
        for (const struct wire_value *other = wire_value_first(list); other != env; other = other->next)
            if (wire_value_is_null(wire_value_path(other, "match.arch")) ||
                wire_value_equal(wire_value_path(other, "match.arch"), wire_value_path(env, "match.arch"))) {
                wire_problem_add(p, A_CODE_NONE, path, env, "the first match wins",
                                 "never used: an entry before it fits the same nodes");
                break;
            }
    }
}

static void models_check(struct wire_problems *p, const struct wire_value *models)
{
    wire_value_foreach(model, models)
    {
        const char *path = a_arena_printf(p->arena, "spec.models.%s", model->key.ptr);
        if (!a_text_is_label(model->key, A_NAME_MAX))
            invalid(p, path, model, NULL, "a model's name is a-z, 0-9 and inner '-', at most 40 characters");
        source_check(p, model, "source", path);
    }
}

static bool env_name_ok(struct a_view name)
{
    if (name.len == 0 || (name.ptr[0] >= '0' && name.ptr[0] <= '9'))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (!(c == '_' || (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z')))
            return false;
    }
    return true;
}

/* Members rely on these: contracts and Ray's own isolation would break. */
static bool env_name_owned(struct a_view name)
{
    static const char *const owned[] = {"RAY_ADDRESS",
                                        "RAY_AUTH_MODE",
                                        "RAY_AUTH_TOKEN",
                                        "RAY_AUTH_TOKEN_PATH",
                                        "RAY_SERVE_ENABLE_DIRECT_INGRESS",
                                        "PYTHONHOME",
                                        "PYTHONPATH",
                                        "LD_PRELOAD",
                                        NULL};
    for (const char *const *o = owned; *o != NULL; o++)
        if (a_view_is(name, *o))
            return true;
    return a_view_starts(name, "ASTRA_");
}

static void env_check(struct wire_problems *p, const struct wire_value *list)
{
    size_t i = 0;
    wire_value_foreach(env, list)
    {
        const struct wire_value *name = wire_value_get(env, "name");
        const char *path = a_arena_printf(p->arena, "spec.env[%zu].name", i++);
        if (!wire_value_is(name, WIRE_VALUE_STRING))
            continue;
        if (!env_name_ok(name->string))
            invalid(p, path, name, NULL, "a variable's name is letters, digits and _, no digit in front");
        else if (env_name_owned(name->string))
            invalid(p, path, name, "choose another name", "this variable is set by Astra");
        for (const struct wire_value *other = wire_value_first(list); other != env; other = other->next)
            if (wire_value_equal(wire_value_get(other, "name"), name))
                invalid(p, path, name, NULL, "set twice");
    }
}

static void member_check(struct wire_problems *p, const struct wire_value *member, const char *path,
                         bool head)
{
    uint64_t memory = 0, shm = 0, mcpu = 0;
    const struct wire_value *v = wire_value_get(member, "memory");
    if (a_text_bytes(wire_value_view(v), &memory) && head && memory < MEMORY_MIN)
        wire_problem_add(p, A_CODE_NONE, a_arena_printf(p->arena, "%s.memory", path), v, "2Gi is the default",
                         "Ray's own processes take about 1 GB: under 1536Mi a head may be killed");
    v = wire_value_get(member, "shm");
    if (a_text_bytes(wire_value_view(v), &shm) && (shm < 80u << 20 || shm > memory))
        invalid(p, a_arena_printf(p->arena, "%s.shm", path), v, NULL,
                "the object store takes at least 80Mi, within memory");
    v = wire_value_get(member, "cpu");
    if (!a_text_mcpu(wire_value_view(v), &mcpu))
        return;
    if (mcpu == 0 || mcpu > 1024000)
        invalid(p, a_arena_printf(p->arena, "%s.cpu", path), v, NULL,
                "expected more than 0 and at most 1024 cores");
    else if (!head && mcpu % 1000 != 0)
        invalid(p, a_arena_printf(p->arena, "%s.cpu", path), v, "Ray counts whole CPUs",
                "workers take whole cores");
}

static void workers_check(struct wire_problems *p, const struct wire_value *workers)
{
    size_t i = 0, members = 1;
    wire_value_foreach(w, workers)
    {
        const char *path = a_arena_printf(p->arena, "spec.workers[%zu]", i++);
        const struct wire_value *name = wire_value_get(w, "name");
        member_check(p, w, path, false);
        members += (size_t)wire_value_int(wire_value_get(w, "count"), 1);
        if (name != NULL && (a_view_is(name->string, "head") || name->string.len > 32))
            invalid(p, a_arena_printf(p->arena, "%s.name", path), name, NULL,
                    "at most 32 characters, and not head");
        for (const struct wire_value *other = wire_value_first(workers); other != w; other = other->next)
            if (name != NULL && wire_value_equal(wire_value_get(other, "name"), name))
                invalid(p, a_arena_printf(p->arena, "%s.name", path), name, NULL, "two groups of one name");
    }
    if (members > 64)
        invalid(p, "spec.workers", workers, "use more, smaller units", "a unit has at most 64 members");
}

/* Serve's own schema is passed on, but what Astra owns or cannot keep is refused by name. */
static void application_check(struct wire_problems *p, const struct wire_value *a, const char *path)
{
    if (!wire_value_is(a, WIRE_VALUE_OBJECT)) {
        invalid(p, path, a, NULL, "expected a mapping: name, route_prefix, import_path, deployments ...");
        return;
    }
    if (!wire_value_is(wire_value_get(a, "import_path"), WIRE_VALUE_STRING))
        invalid(p, a_arena_printf(p->arena, "%s.import_path", path), a, "for example import_path: ocr:app",
                "required");
    for (size_t k = 0; k < 2; k++) {
        const char *key = k == 0 ? "host" : "port";
        const struct wire_value *v = wire_value_get(a, key);
        if (v != NULL)
            invalid(p, a_arena_printf(p->arena, "%s.%s", path, key), v, "leave it out",
                    "Astra chooses addresses and ports");
    }
    const struct wire_value *runtime_env = wire_value_get(a, "runtime_env");
    wire_value_foreach(v, runtime_env)
    {
        if (!a_view_is(v->key, "env_vars"))
            invalid(p, a_arena_printf(p->arena, "%s.runtime_env.%s", path, v->key.ptr), v,
                    "put packages into spec.environment and code into spec.code",
                    "only env_vars is taken here: environments come packed");
    }
    const struct wire_value *prefix = wire_value_get(a, "route_prefix");
    if (wire_value_is(prefix, WIRE_VALUE_STRING) && !a_view_starts(prefix->string, "/"))
        invalid(p, a_arena_printf(p->arena, "%s.route_prefix", path), prefix, NULL, "a prefix starts with /");
}

static bool same_member(const struct wire_value *a, const struct wire_value *b, const char *key,
                        const char *otherwise)
{
    const char *x = wire_value_string(wire_value_get(a, key), otherwise),
               *y = wire_value_string(wire_value_get(b, key), otherwise);
    return strcmp(x, y) == 0;
}

static void applications_check(struct wire_problems *p, const struct wire_value *list)
{
    size_t i = 0;
    wire_value_foreach(a, list)
    {
        const char *path = a_arena_printf(p->arena, "spec.serve.applications[%zu]", i++);
        application_check(p, a, path);
        for (const struct wire_value *other = wire_value_first(list); other != a; other = other->next) {
            if (same_member(a, other, "name", "default"))
                invalid(p, path, a, "give each a name", "two Serve applications of one name");
            if (same_member(a, other, "route_prefix", "/") && is_set(a, "route_prefix"))
                invalid(p, path, a, NULL, "two Serve applications with one route_prefix");
        }
    }
}

static void routes_check(struct wire_problems *p, const struct wire_value *routes,
                         const struct wire_value *applications)
{
    size_t i = 0;
    wire_value_foreach(r, routes)
    {
        const char *path = a_arena_printf(p->arena, "spec.routes[%zu]", i++);
        const struct wire_value *name = wire_value_get(r, "application"),
                                *prefix = wire_value_get(r, "prefix");
        bool found = wire_value_is_null(name) && wire_value_count(applications) == 1;
        wire_value_foreach(a, applications)
        {
            found = found ||
                    a_view_is(wire_value_view(name), wire_value_string(wire_value_get(a, "name"), "default"));
        }
        if (!found)
            invalid(p, a_arena_printf(p->arena, "%s.application", path), wire_value_is_null(name) ? r : name,
                    NULL,
                    wire_value_is_null(name) ? "required: there is more than one Serve application"
                                             : "no Serve application of this name");
        if (wire_value_is(prefix, WIRE_VALUE_STRING) && !a_view_starts(prefix->string, "/"))
            invalid(p, a_arena_printf(p->arena, "%s.prefix", path), prefix, NULL, "a prefix starts with /");
    }
}

static void spread_check(struct wire_problems *p, const struct wire_value *spread)
{
    size_t i = 0;
    wire_value_foreach(word, spread)
    {
        const char *path = a_arena_printf(p->arena, "spec.placement.spread[%zu]", i++);
        for (const struct wire_value *other = wire_value_first(spread); other != word; other = other->next)
            if (wire_value_equal(other, word))
                invalid(p, path, word, NULL, "named twice");
    }
}

/* A reference to a model that the app does not have stays as it is, as Kubernetes has it: rarely what was
 * meant. */
static void references_check(struct wire_problems *p, const struct unit_variables *models,
                             const struct wire_value *v, const char *path)
{
    size_t at = 0;
    for (struct a_view name; unit_expand_next(wire_value_view(v), &at, &name);)
        if (a_view_starts(name, "ASTRA_MODEL_") && unit_variable_find(models, name) == NULL)
            wire_problem_add(p, A_CODE_NONE, path, v, "$$( stands for $(",
                             "$(" A_VIEW_FMT ") stays as it is: spec.models has no such model",
                             A_VIEW_ARG(name));
    size_t i = 0;
    wire_value_foreach(child, v)
    {
        references_check(p, models, child,
                         wire_value_is(v, WIRE_VALUE_ARRAY)
                             ? a_arena_printf(p->arena, "%s[%zu]", path, i++)
                             : a_arena_printf(p->arena, "%s.%s", path, child->key.ptr));
    }
}

static void rollout_check(struct wire_problems *p, const struct wire_value *rollout)
{
    const struct wire_value *surge = wire_value_get(rollout, "maxSurge");
    if (wire_value_int(surge, 1) == 0 && wire_value_int(wire_value_get(rollout, "maxUnavailable"), 1) == 0)
        invalid(p, "spec.rollout.maxSurge", surge, "set one of them to at least 1",
                "maxSurge and maxUnavailable are both 0: no rollout could move");
}

void unit_app_rules(struct wire_problems *p, const struct wire_value *app)
{
    const struct wire_value *spec = wire_value_get(app, "spec");
    const struct wire_value *code = wire_value_get(spec, "code"), *serve = wire_value_get(spec, "serve");
    const struct wire_value *applications = wire_value_get(serve, "applications"),
                            *head = wire_value_get(spec, "head");
    environments_check(p, wire_value_get(spec, "environment"));
    if (is_set(code, "path") && is_set(code, "artifact"))
        invalid(p, "spec.code", code, NULL, "either path or artifact, not both");
    source_check(p, code, "artifact", "spec.code");
    models_check(p, wire_value_get(spec, "models"));
    env_check(p, wire_value_get(spec, "env"));
    if (head != NULL)
        member_check(p, head, "spec.head", true);
    workers_check(p, wire_value_get(spec, "workers"));
    if (head != NULL && wire_value_count(wire_value_get(spec, "workers")) == 0 &&
        a_view_is(wire_value_view(wire_value_get(head, "serves")), "never"))
        invalid(p, "spec.head.serves", wire_value_get(head, "serves"), "add workers, or leave it auto",
                "without workers nothing would serve");
    applications_check(p, applications);
    routes_check(p, wire_value_get(spec, "routes"), applications);
    rollout_check(p, wire_value_get(spec, "rollout"));
    spread_check(p, wire_value_path(spec, "placement.spread"));
    struct unit_variables models = {.arena = p->arena};
    unit_variables_models(&models, "", wire_value_get(spec, "models"));
    references_check(p, &models, wire_value_get(spec, "env"), "spec.env");
    references_check(p, &models, applications, "spec.serve.applications");
}
