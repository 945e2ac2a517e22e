/* The command line and environment of `ray start`. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "unit/expand.h"
#include "unit/ray.h"

#define WORDS_MAX 64
#define VARIABLES_MAX 512

/* A NULL-terminated list of words in the arena. */
struct words {
    struct a_arena *arena;
    const char **items;
    size_t len, max;
};

static void words_init(struct words *w, struct a_arena *arena, size_t max)
{
    *w = (struct words){arena, a_arena_alloc(arena, (max + 1) * sizeof(char *)), 0, max};
}

static void A_PRINTF(2, 3) word_add(struct words *w, const char *fmt, ...)
{
    struct a_buf text = {0};
    va_list args;
    va_start(args, fmt);
    a_buf_vaddf(&text, fmt, args);
    va_end(args);
    if (w->len < w->max)
        w->items[w->len++] = a_arena_strndup(w->arena, text.ptr, text.len);
    a_buf_deinit(&text);
}

static unsigned port_of(uint16_t first, enum unit_ray_port port)
{
    return (unsigned)first + (unsigned)port;
}

static const struct {
    const char *flag;
    enum unit_ray_port port;
    bool head_only;
} port_flags[] = {
    {"--port", UNIT_RAY_PORT_GCS, true},
    {"--ray-client-server-port", UNIT_RAY_PORT_CLIENT_SERVER, true},
    {"--dashboard-port", UNIT_RAY_PORT_DASHBOARD, true},
    {"--node-manager-port", UNIT_RAY_PORT_NODE_MANAGER, false},
    {"--object-manager-port", UNIT_RAY_PORT_OBJECT_MANAGER, false},
    {"--dashboard-agent-listen-port", UNIT_RAY_PORT_AGENT_HTTP, false},
    {"--dashboard-agent-grpc-port", UNIT_RAY_PORT_AGENT_GRPC, false},
    {"--runtime-env-agent-port", UNIT_RAY_PORT_RUNTIME_ENV_AGENT, false},
    {"--metrics-export-port", UNIT_RAY_PORT_METRICS, false},
    {"--min-worker-port", UNIT_RAY_PORT_WORKER_FIRST, false},
    {"--max-worker-port", UNIT_RAY_PORT_WORKER_LAST, false},
};

/* Ray's own environment switches that take a port. */
static const struct {
    const char *name;
    enum unit_ray_port port;
} port_variables[] = {
    {"AUTOSCALER_METRIC_PORT", UNIT_RAY_PORT_AUTOSCALER_METRICS},
    {"DASHBOARD_METRIC_PORT", UNIT_RAY_PORT_DASHBOARD_METRICS},
    {"RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT", UNIT_RAY_PORT_INGRESS_HTTP_FIRST},
    {"RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT", UNIT_RAY_PORT_INGRESS_HTTP_LAST},
    {"RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT", UNIT_RAY_PORT_INGRESS_GRPC_FIRST},
    {"RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT", UNIT_RAY_PORT_INGRESS_GRPC_LAST},
};

/* The app's `ray: {}`: numCpus, resources and labels; anything else is a flag that Astra owns or does not
 * know. */
static int ray_fields_add(const struct unit_ray_start *s, struct words *argv, uint64_t *cpus,
                          struct a_error *reterr)
{
    wire_value_foreach(field, s->ray)
    {
        struct a_buf text = {0};
        if (wire_value_is_null(field) ||
            (wire_value_is(field, WIRE_VALUE_OBJECT) && wire_value_count(field) == 0))
            continue; /* a completed app names every field */
        if (a_view_is(field->key, "numCpus")) {
            int64_t n = wire_value_int(field, -1);
            if (n < 0 || n > 100000)
                return a_fail(reterr, -EINVAL, A_CODE_INVALID, "ray.numCpus: expected a whole number from 0");
            *cpus = (uint64_t)n;
        } else if (a_view_is(field->key, "resources") && wire_value_is(field, WIRE_VALUE_OBJECT)) {
            wire_json_print(&text, field, 0);
            word_add(argv, "--resources=%s", text.ptr);
        } else if (a_view_is(field->key, "labels") && wire_value_is(field, WIRE_VALUE_OBJECT)) {
            wire_value_foreach(label, field) a_buf_addf(&text, "%s" A_VIEW_FMT "=%s", text.len > 0 ? "," : "",
                                                        A_VIEW_ARG(label->key), wire_value_string(label, ""));
            word_add(argv, "--labels=%s", text.len > 0 ? text.ptr : "");
        } else {
            return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                          "ray." A_VIEW_FMT ": not a field that an app may set", A_VIEW_ARG(field->key));
        }
        a_buf_deinit(&text);
    }
    return 0;
}

static uint64_t object_store_bytes(const struct unit_ray_start *s)
{
    uint64_t wanted = s->object_store_bytes > 0 ? s->object_store_bytes : s->memory_bytes / 5;
    return A_MAX(wanted, (uint64_t)UNIT_RAY_OBJECT_STORE_MIN);
}

static int argv_build(const struct unit_ray_start *s, struct words *argv, struct a_error *reterr)
{
    bool head = s->role == UNIT_RAY_HEAD;
    uint64_t store = object_store_bytes(s), cpus = s->serves ? A_MAX(s->mcpu / 1000, (uint64_t)1) : 0;
    word_add(argv, "%s/bin/python3", s->environment_dir);
    word_add(argv, "-m");
    word_add(argv, "ray.scripts.scripts");
    word_add(argv, "start");
    if (head)
        word_add(argv, "--head");
    else
        word_add(argv, "--address=%s:%u", s->head_ip, port_of(s->head_port_first, UNIT_RAY_PORT_GCS));
    word_add(argv, "--block");
    word_add(argv, "--disable-usage-stats");
    word_add(argv, "--node-ip-address=%s", s->ip);
    for (size_t i = 0; i < A_ARRAY_SIZE(port_flags); i++)
        if (head || !port_flags[i].head_only)
            word_add(argv, "%s=%u", port_flags[i].flag, port_of(s->port_first, port_flags[i].port));
    if (head) {
        word_add(argv, "--dashboard-host=%s", s->ip);
        word_add(argv, "--include-dashboard=true");
    }
    word_add(argv, "--temp-dir=%s", s->temp_dir);
    word_add(argv, "--object-store-memory=%llu", (unsigned long long)store);
    word_add(argv, "--memory=%llu",
             (unsigned long long)(s->memory_bytes > store ? s->memory_bytes - store : store));
    int rc = ray_fields_add(s, argv, &cpus, reterr);
    if (rc < 0)
        return rc;
    word_add(argv, "--num-cpus=%llu", (unsigned long long)cpus);
    word_add(argv, "--num-gpus=0");
    return 0;
}

/* Names that decide where Ray runs and listens: not the app's to set. */
static bool name_is_ours(struct a_view name)
{
    static const char *const prefixes[] = {"ASTRA_",
                                           "RAY_AUTH_",
                                           "RAY_ADDRESS",
                                           "RAY_TMPDIR",
                                           "PYTHONHOME",
                                           "RAY_SERVE_DIRECT_INGRESS_",
                                           "RAY_SERVE_ENABLE_DIRECT_INGRESS",
                                           "RAY_SERVE_ENABLE_HA_PROXY"};
    for (size_t i = 0; i < A_ARRAY_SIZE(prefixes); i++)
        if (a_view_starts(name, prefixes[i]))
            return true;
    for (size_t i = 0; i < A_ARRAY_SIZE(port_variables); i++)
        if (a_view_is(name, port_variables[i].name))
            return true;
    return a_view_is(name, "HOME") || a_view_is(name, "TMPDIR");
}

/* What the app set, as it was expanded, or NULL. */
static const char *app_value(const struct unit_variables *vars, const char *name)
{
    const struct unit_variable *v = unit_variable_find(vars, a_view_str(name));
    return v != NULL ? v->value.ptr : NULL;
}

static int app_env_check(const struct unit_ray_start *s, struct a_error *reterr)
{
    wire_value_foreach(item, s->env)
    {
        struct a_view name = wire_value_view(wire_value_get(item, "name"));
        if (name.len == 0 || memchr(name.ptr, '=', name.len) != NULL)
            return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                          "env: \"" A_VIEW_FMT "\" cannot be a variable's name", A_VIEW_ARG(name));
        if (name_is_ours(name))
            return a_fail(reterr, -EINVAL, A_CODE_INVALID, "env: " A_VIEW_FMT " is Astra's own to set",
                          A_VIEW_ARG(name));
    }
    return 0;
}

/* PYTHONPATH and PATH of the app come behind ours. */
static void app_env_add(const struct unit_ray_start *s, const struct unit_variables *vars, struct words *env)
{
    wire_value_foreach(item, s->env)
    {
        const char *name = wire_value_string(wire_value_get(item, "name"), "");
        if (strcmp(name, "PYTHONPATH") != 0 && strcmp(name, "PATH") != 0)
            word_add(env, "%s=%s", name, app_value(vars, name));
    }
}

static void path_add(struct a_buf *b, const char *path)
{
    if (path != NULL && path[0] != '\0')
        a_buf_addf(b, "%s%s", b->len > 0 ? ":" : "", path);
}

static void optional_add(struct unit_variables *vars, const char *name, const char *value)
{
    if (value != NULL)
        unit_variable_add(vars, name, value);
}

/* What the app's own variables may refer to; then they themselves, which must come last: an app cannot set a
 * name of ours. */
static int variables_make(const struct unit_ray_start *s, struct unit_variables *vars, struct a_error *reterr)
{
    unit_variable_add(vars, "HOME", s->home_dir);
    unit_variable_add(vars, "TMPDIR", s->tmp_dir);
    unit_variable_add(vars, "ASTRA_NAMESPACE", s->namespace);
    unit_variable_add(vars, "ASTRA_APP", s->app);
    unit_variable_add(vars, "ASTRA_REVISION",
                      a_arena_printf(vars->arena, "%llu", (unsigned long long)s->revision));
    unit_variable_add(vars, "ASTRA_UNIT", s->unit);
    unit_variable_add(vars, "ASTRA_MEMBER", s->member);
    unit_variable_add(vars, "ASTRA_CLAIM", s->claim);
    unit_variables_models(vars, s->models_dir, s->models);
    optional_add(vars, "ASTRA_TFCC_SOCKET", s->tfcc_socket);
    optional_add(vars, "ASTRA_TFCC_PAGE_DIR", s->tfcc_page_dir);
    int rc = app_env_check(s, reterr);
    return rc < 0 ? rc : unit_variables_env(vars, s->env, reterr);
}

static void own_env_add(const struct unit_variables *vars, struct words *env)
{
    for (const struct unit_variable *v = vars->first; v != NULL; v = v->next)
        if (a_view_starts(v->name, "ASTRA_") || a_view_is(v->name, "HOME") || a_view_is(v->name, "TMPDIR"))
            word_add(env, A_VIEW_FMT "=" A_VIEW_FMT, A_VIEW_ARG(v->name), A_VIEW_ARG(v->value));
}

static void ray_env_add(const struct unit_ray_start *s, struct words *env)
{
    word_add(env, "RAY_AUTH_MODE=token");
    word_add(env, "RAY_AUTH_TOKEN_PATH=%s", s->token_path);
    word_add(env, "RAY_USAGE_STATS_ENABLED=0");
    word_add(env, "RAY_SERVE_ENABLE_DIRECT_INGRESS=1");
    word_add(env, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S=2"); /* 30 s otherwise: Astra has drained before */
    word_add(env, "RAY_DISABLE_IMPORT_WARNING=1");
    for (size_t i = 0; i < A_ARRAY_SIZE(port_variables); i++)
        word_add(env, "%s=%u", port_variables[i].name, port_of(s->port_first, port_variables[i].port));
}

/* What the app may replace stands before its own variables: the last one of a name counts only where we
 * remove the earlier, so each is added unless the app names it. */
static void default_add(const struct unit_variables *vars, struct words *env, const char *name,
                        const char *value)
{
    if (app_value(vars, name) == NULL)
        word_add(env, "%s=%s", name, value);
}

static void threads_add(const struct unit_ray_start *s, const struct unit_variables *vars, struct words *env)
{
    static const char *const names[] = {"OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS",
                                        "NUMEXPR_NUM_THREADS"};
    char threads[24];
    snprintf(threads, sizeof threads, "%llu", (unsigned long long)A_MAX(s->mcpu / 1000, (uint64_t)1));
    for (size_t i = 0; i < A_ARRAY_SIZE(names); i++)
        default_add(vars, env, names[i], threads);
}

static int env_build(const struct unit_ray_start *s, struct words *env, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf path = {0};
    A_BUF_AUTO struct a_buf python_path = {0};
    struct unit_variables defined = {.arena = env->arena}, *vars = &defined;
    int rc = variables_make(s, vars, reterr);
    if (rc < 0)
        return rc;
    const char *own_path = app_value(vars, "PATH");
    a_buf_addf(&path, "%s/bin", s->environment_dir);
    path_add(&path, own_path != NULL ? own_path : "/usr/local/bin:/usr/bin:/bin");
    path_add(&python_path, s->code_dir);
    path_add(&python_path, s->extra_pythonpath);
    path_add(&python_path, app_value(vars, "PYTHONPATH"));
    word_add(env, "PATH=%s", path.ptr);
    if (python_path.len > 0)
        word_add(env, "PYTHONPATH=%s", python_path.ptr);
    default_add(vars, env, "LANG", "C.UTF-8");
    default_add(vars, env, "PYTHONNOUSERSITE", "1");
    default_add(vars, env, "PYTHONDONTWRITEBYTECODE",
                "1"); /* the environment is shared: nothing is written into it */
    default_add(vars, env, "PYTHONUNBUFFERED", "1");
    threads_add(s, vars, env);
    if (s->log_level != NULL) { /* of Ray's Python parts, of its C++ ones */
        default_add(vars, env, "RAY_LOGGER_LEVEL", s->log_level);
        default_add(vars, env, "RAY_BACKEND_LOG_LEVEL", s->log_level);
    }
    /* 15 otherwise: replicas, which are what all is for, would starve beside any other work of the host.
     * Claims share the node out, not nice values. */
    default_add(vars, env, "RAY_worker_niceness", "0");
    ray_env_add(s, env);
    own_env_add(vars, env);
    app_env_add(s, vars, env);
    return 0;
}

int unit_ray_command_build(const struct unit_ray_start *start, struct a_arena *arena,
                           struct unit_ray_command *ret_command, struct a_error *reterr)
{
    struct words argv, env;
    if (strlen(start->temp_dir) > UNIT_RAY_TEMP_MAX)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "temporary folder %s has more than %d characters: Ray's sockets would not fit",
                      start->temp_dir, UNIT_RAY_TEMP_MAX);
    words_init(&argv, arena, WORDS_MAX);
    words_init(&env, arena, VARIABLES_MAX);
    int rc = argv_build(start, &argv, reterr);
    if (rc == 0)
        rc = env_build(start, &env, reterr);
    if (rc < 0)
        return rc;
    if (env.len == env.max)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "env: more than %d variables", VARIABLES_MAX);
    *ret_command = (struct unit_ray_command){argv.items, env.items, object_store_bytes(start)};
    return 0;
}
