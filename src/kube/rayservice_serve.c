/* serveConfigV2: the config of Ray Serve, YAML in a text. Its applications are passed on; what belongs to
 * proxies, and what a packed environment replaces, is told of. */
#include <string.h>

#include "base/text.h"
#include "kube/rayservice_core.h"

#define CODE_HINT "unpack it into a folder and give that with --code"
#define PACKAGES_HINT "put the packages into the file of --environment"

/* ---- one application ---- */

/* Both are at hand when the caller gave them: then it is no loss. */
static void code_map(struct importer *im, struct import_place at)
{
    const char *text = wire_value_string(at.value, "");
    if (im->options->code != NULL)
        import_note(im, at, NULL, "the code is that of --code, not %.200s", text);
    else
        import_lost(im, at, CODE_HINT, "units fetch no code of their own: %.200s", text);
}

static void packages_map(struct importer *im, struct import_place at)
{
    if (im->options->requirements != NULL || im->options->artifact != NULL)
        import_note(im, at, "see that it has them", "the packages are those of the environment");
    else
        import_lost(im, at, PACKAGES_HINT, "environments come packed: units install nothing");
}

static const struct import_row runtime_env_rows[] = {
    {"env_vars", IMPORT_SILENT, NULL, NULL, NULL}, /* stays in the application */
    {"working_dir", IMPORT_MAP, NULL, NULL, code_map},
    {"py_modules", IMPORT_MAP, NULL, NULL, code_map},
    {"excludes", IMPORT_NOTE, "belongs to working_dir", "write them into .astraignore", NULL},
    {"pip", IMPORT_MAP, NULL, NULL, packages_map},
    {"uv", IMPORT_MAP, NULL, NULL, packages_map},
    {"conda", IMPORT_MAP, NULL, NULL, packages_map},
    {"py_executable", IMPORT_LOST, "Python is that of the app's environment", NULL, NULL},
    {"container", IMPORT_LOST, "members run in no image of their own", PACKAGES_HINT, NULL},
    {"image_uri", IMPORT_LOST, "members run in no image of their own", PACKAGES_HINT, NULL},
    {"config", IMPORT_NOTE, "nothing is installed when a replica starts", NULL, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

/* Only env_vars is left of a runtime_env, and nothing of it without. */
static void runtime_env_map(struct importer *im, struct import_place at, struct wire_value *application)
{
    import_walk(im, at, runtime_env_rows, "a runtime_env");
    const struct wire_value *vars = wire_value_get(at.value, "env_vars");
    wire_value_remove(application, "runtime_env");
    if (wire_value_count(vars) > 0)
        import_set(im, at, import_object(im, application, "runtime_env"), "env_vars",
                   wire_value_copy(im->arena, vars));
}

static void application_map(struct importer *im, struct import_place at)
{
    static const char *const ports[] = {"host", "port"};
    struct wire_value *application = wire_value_copy(im->arena, at.value);
    if (!import_is(im, at, WIRE_VALUE_OBJECT))
        return;
    for (size_t i = 0; i < A_ARRAY_SIZE(ports); i++) {
        const struct wire_value *v = wire_value_get(at.value, ports[i]);
        if (v != NULL)
            import_note(im, import_member(im, at, v), NULL, "Astra chooses addresses and ports");
        wire_value_remove(application, ports[i]);
    }
    const struct wire_value *runtime_env = wire_value_get(at.value, "runtime_env");
    if (runtime_env != NULL)
        runtime_env_map(im, import_member(im, at, runtime_env), application);
    wire_value_append(import_list(im, import_object(im, im->spec, "serve"), "applications"), application);
}

static void applications_map(struct importer *im, struct import_place at)
{
    size_t i = 0;
    if (!import_is(im, at, WIRE_VALUE_ARRAY))
        return;
    wire_value_foreach(item, at.value)
    {
        application_map(im, import_item(im, at, item, i++));
    }
}

/* ---- the whole ---- */

static const struct import_row http_rows[] = {
    {"host", IMPORT_NOTE, "Astra chooses addresses and ports", NULL, NULL},
    {"port", IMPORT_NOTE, "Astra chooses addresses and ports", "clients use the gateway's", NULL},
    {"location", IMPORT_NOTE, "the gateway talks to replicas: no proxies are needed", NULL, NULL},
    {"num_cpus", IMPORT_NOTE, "the gateway talks to replicas: no proxies are needed", NULL, NULL},
    {"keep_alive_timeout_s", IMPORT_NOTE, "the gateway keeps connections by its own rules", NULL, NULL},
    {"request_timeout_s", IMPORT_LOST, "how long a request may take is a route's",
     "set timeout of spec.routes (60s by default)", NULL},
    {"root_path", IMPORT_LOST, "prefixes are those of routes", "set prefix and rewrite of spec.routes", NULL},
    {"middlewares", IMPORT_LOST, "no proxy of Serve is on the way", "put them into the app itself", NULL},
    {"ssl_*", IMPORT_LOST, "TLS ends at the gateway", "give the certificate to the gateway", NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void http_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, http_rows, "http_options");
}

static void log_level_map(struct importer *im, struct import_place at)
{
    static const char *const names[][2] = {{"DEBUG", "debug"},  {"INFO", "info"},   {"WARNING", "warning"},
                                           {"WARN", "warning"}, {"ERROR", "error"}, {"CRITICAL", "error"}};
    for (size_t i = 0; i < A_ARRAY_SIZE(names); i++)
        if (a_view_is_nocase(wire_value_view(at.value), names[i][0])) {
            import_set_text(im, at, import_object(im, im->spec, "logs"), "level", names[i][1]);
            return;
        }
    import_lost(im, at, "set spec.logs.level", "no level that Astra knows");
}

static const struct import_row logging_rows[] = {
    {"log_level", IMPORT_MAP, NULL, NULL, log_level_map},
    {"encoding", IMPORT_LOST, "set for each application", "set logging_config of the application", NULL},
    {"logs_dir", IMPORT_NOTE, "astra logs finds them where they are", NULL, NULL},
    {"enable_access_log", IMPORT_NOTE, "the gateway writes the access log", NULL, NULL},
    {"additional_log_standard_attrs", IMPORT_LOST, "set for each application",
     "set logging_config of the application", NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void logging_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, logging_rows, "logging_config");
}

static const struct import_row rows[] = {
    {"applications", IMPORT_MAP, NULL, NULL, applications_map},
    {"proxy_location", IMPORT_NOTE, "the gateway talks to replicas: no proxies are needed", NULL, NULL},
    {"http_options", IMPORT_MAP, NULL, NULL, http_map},
    {"grpc_options", IMPORT_LOST, "the gateway speaks HTTP/1.1", "keep to HTTP for now", NULL},
    {"logging_config", IMPORT_MAP, NULL, NULL, logging_map},
    {"import_path", IMPORT_LOST, "the form with one application has no place for more",
     "write it as an item of applications", NULL},
    {"runtime_env", IMPORT_LOST, "the form with one application has no place for more",
     "write it as an item of applications", NULL},
    {"deployments", IMPORT_LOST, "the form with one application has no place for more",
     "write it as an item of applications", NULL},
    {"target_capacity", IMPORT_LOST, "set for a rollout of KubeRay's", "see spec.rollout", NULL},
    {"target_capacity_direction", IMPORT_NOTE, "belongs to target_capacity", NULL, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void positions_clear(struct wire_value *v)
{
    v->line = v->column = v->key_line = v->key_column = 0;
    if (v->type != WIRE_VALUE_ARRAY && v->type != WIRE_VALUE_OBJECT)
        return;
    for (struct wire_value *child = v->children.first; child != NULL; child = child->next)
        positions_clear(child);
}

/* Of another file, whose lines would be taken for those of this one. */
void import_serve_given(struct importer *im)
{
    struct wire_value *config = wire_value_copy(im->arena, im->options->serve);
    positions_clear(config);
    import_walk(im, (struct import_place){"--serve", config, NULL}, rows, "a Serve config");
}

void import_serve(struct importer *im, struct import_place at)
{
    struct wire_value *config;
    if (im->options->serve != NULL) {
        import_note(im, at, NULL, "the Serve config is that of --serve");
        return;
    }
    if (at.value->type != WIRE_VALUE_STRING) {
        import_lost(im, at, "write it as serveConfigV2: |", "expected a text, got %s",
                    wire_value_type_name(at.value->type));
        return;
    }
    im->rc = wire_yaml_parse_inner(im->arena, im->text, at.value, im->file, NULL, &config, im->reterr);
    if (im->rc == 0)
        import_walk(im, (struct import_place){at.path, config, NULL}, rows, "a Serve config");
}
