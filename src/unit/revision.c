/* A revision: the app with every source pinned to a digest. Its text is canonical JSON (members sorted), so
 * that equal content has an equal digest on every server. */
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "unit/app.h"

static struct unit_source *source_add(struct a_arena *arena, struct unit_source **list, size_t *n,
                                      enum unit_source_kind kind, const char *field, const char *name,
                                      const char *source)
{
    struct unit_source *grown = a_arena_alloc(arena, (*n + 1) * sizeof *grown);
    if (*n > 0)
        memcpy(grown, *list, *n * sizeof *grown);
    *list = grown;
    grown[*n] = (struct unit_source){.kind = kind, .field = field, .name = name, .source = source};
    return &grown[(*n)++];
}

static void path_left(struct wire_problems *p, const char *field, const struct wire_value *v)
{
    wire_problem_add(p, A_CODE_APP_INVALID, field, v, "deploy with the astra command, which packs it",
                     "a file on the user's machine: the server needs an artifact");
}

void unit_app_sources(struct wire_problems *p, const struct wire_value *app, struct unit_source **ret,
                      size_t *ret_n)
{
    const struct wire_value *spec = wire_value_get(app, "spec"), *code = wire_value_get(spec, "code");
    struct unit_source *list = NULL;
    size_t n = 0, i = 0;
    wire_value_foreach(env, wire_value_get(spec, "environment"))
    {
        const char *field = a_arena_printf(p->arena, "spec.environment[%zu]", i++);
        const struct wire_value *artifact = wire_value_get(env, "artifact");
        if (wire_value_is_null(artifact))
            path_left(p, field, env);
        else
            source_add(p->arena, &list, &n, UNIT_SOURCE_ENVIRONMENT, field,
                       wire_value_string(wire_value_path(env, "match.arch"), ""), artifact->string.ptr);
    }
    if (!wire_value_is_null(wire_value_get(code, "path")))
        path_left(p, "spec.code.path", wire_value_get(code, "path"));
    if (!wire_value_is_null(wire_value_get(code, "artifact")))
        source_add(p->arena, &list, &n, UNIT_SOURCE_CODE, "spec.code.artifact", "",
                   wire_value_get(code, "artifact")->string.ptr);
    wire_value_foreach(model, wire_value_get(spec, "models"))
    {
        source_add(p->arena, &list, &n, UNIT_SOURCE_MODEL,
                   a_arena_printf(p->arena, "spec.models.%s.source", model->key.ptr), model->key.ptr,
                   wire_value_string(wire_value_get(model, "source"), ""));
    }
    *ret = list;
    *ret_n = n;
}

/* Serve's deploy schema: the applications as the user wrote them. */
static struct wire_value *serve_config(struct a_arena *arena, const struct wire_value *spec)
{
    struct wire_value *config = wire_value_new_object(arena);
    wire_value_set(arena, config, "applications",
                   wire_value_copy(arena, wire_value_path(spec, "serve.applications")));
    return config;
}

/* logs.level as Serve takes it, for each application that has no level of its own. Serve's default is info:
 * nothing is added for it. */
static void level_put(struct a_arena *arena, const struct wire_value *spec, struct wire_value *config)
{
    const char *level = wire_value_string(wire_value_path(spec, "logs.level"), "info");
    struct wire_value *applications = wire_value_get(config, "applications");
    if (strcmp(level, "info") == 0)
        return;
    char *word = a_arena_strdup(arena, level);
    for (char *c = word; *c != '\0'; c++)
        *c = (char)(*c - 'a' + 'A');
    for (size_t i = 0; i < wire_value_count(applications); i++) {
        struct wire_value *app = wire_value_at(applications, i),
                          *logging = wire_value_get(app, "logging_config");
        if (wire_value_is_null(logging))
            wire_value_set(arena, app, "logging_config", logging = wire_value_new_object(arena));
        if (wire_value_is(logging, WIRE_VALUE_OBJECT) &&
            wire_value_is_null(wire_value_get(logging, "log_level")))
            wire_value_set_string(arena, logging, "log_level", word);
    }
}

static void light_remove(struct wire_value *deployment)
{
    const struct wire_value *next;
    for (const struct wire_value *m = wire_value_first(deployment); m != NULL; m = next) {
        next = m->next;
        if (unit_serve_field_is_light(m->key))
            wire_value_remove(deployment, m->key.ptr);
    }
}

/* The Serve config less what a PUT may change under running replicas. */
static struct wire_value *serve_heavy(struct a_arena *arena, const struct wire_value *spec)
{
    struct wire_value *config = serve_config(arena, spec);
    wire_value_foreach(a, wire_value_get(config, "applications"))
    {
        struct wire_value *deployments = wire_value_get(a, "deployments");
        for (size_t i = 0; i < wire_value_count(deployments); i++)
            light_remove(wire_value_at(deployments, i));
    }
    return config;
}

static void environment_add(struct a_arena *arena, struct wire_value *list, const struct unit_source *source)
{
    struct wire_value *item = wire_value_new_object(arena);
    wire_value_set_string(arena, item, "arch", source->name[0] != '\0' ? source->name : NULL);
    wire_value_set_string(arena, item, "digest", source->digest);
    wire_value_append(list, item);
}

static void sources_put(struct a_arena *arena, struct wire_value *out, const struct unit_source *sources,
                        size_t n)
{
    struct wire_value *models = wire_value_new_object(arena), *environments = wire_value_new_array(arena);
    wire_value_set_null(arena, out, "code");
    for (size_t i = 0; i < n; i++) {
        a_assert(sources[i].digest[0] != '\0');
        if (sources[i].kind == UNIT_SOURCE_MODEL)
            wire_value_set_string(arena, models, sources[i].name, sources[i].digest);
        else if (sources[i].kind == UNIT_SOURCE_CODE)
            wire_value_set_string(arena, out, "code", sources[i].digest);
        else
            environment_add(arena, environments, &sources[i]);
    }
    wire_value_set(arena, out, "environment", environments);
    wire_value_set(arena, out, "models", models);
}

static void copy_member(struct a_arena *arena, struct wire_value *out, const struct wire_value *from,
                        const char *key)
{
    const struct wire_value *v = wire_value_get(from, key);
    if (v != NULL)
        wire_value_set(arena, out, key, wire_value_copy(arena, v));
}

void unit_revision_make(const struct wire_value *app, const struct a_uuid *uid, uint64_t number,
                        const struct unit_source *sources, size_t n_sources, struct a_buf *ret_text)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct wire_value *spec = wire_value_get(app, "spec"), *metadata = wire_value_get(app, "metadata");
    struct wire_value *doc = wire_value_new_object(&arena), *who = wire_value_new_object(&arena);
    copy_member(&arena, who, metadata, "namespace");
    copy_member(&arena, who, metadata, "name");
    wire_value_set_string(&arena, who, "uid", uid->s);
    wire_value_set(&arena, doc, "app", who);
    wire_value_set_int(&arena, doc, "revision", (int64_t)number);
    copy_member(&arena, doc, app, "spec");
    wire_value_remove(wire_value_get(doc, "spec"), "units");
    copy_member(&arena, doc, spec, "env");
    struct wire_value *serve = serve_config(&arena, spec);
    level_put(&arena, spec, serve);
    wire_value_set(&arena, doc, "serve", serve);
    sources_put(&arena, doc, sources, n_sources);
    wire_json_print(ret_text, doc, WIRE_JSON_SORTED);
}

void unit_revision_keys(const struct wire_value *text, struct a_buf *ret_replace, struct a_buf *ret_serve)
{
    static const char *const pinned[] = {"environment", "code", "models", "env", NULL};
    static const char *const fields[] = {"files", "mounts", "head", "workers", NULL};
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct wire_value *spec = wire_value_get(text, "spec");
    struct wire_value *replace = wire_value_new_object(&arena);
    for (const char *const *f = pinned; *f != NULL; f++)
        copy_member(&arena, replace, text, *f);
    for (const char *const *f = fields; *f != NULL; f++)
        copy_member(&arena, replace, spec, *f);
    wire_value_set(&arena, replace, "serve", serve_heavy(&arena, spec));
    copy_member(&arena, replace, wire_value_get(spec, "serve"), "warmUp");
    wire_json_print(ret_replace, replace, WIRE_JSON_SORTED);
    wire_json_print(ret_serve, wire_value_get(text, "serve"), WIRE_JSON_SORTED);
}
