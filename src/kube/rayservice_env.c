/* Variables of the Ray containers to env of the App. An App has one list for all its members, where KubeRay
 * has one for each group: what two groups set differently is lost, what one group sets is set for all. */
#include <string.h>

#include "kube/rayservice_core.h"

/* ---- what Astra or a unit of its own has ---- */

#define OWNED "set by Astra for each member"

static const struct import_row owned_rows[] = {
    {"RAY_ADDRESS", IMPORT_NOTE, OWNED, NULL, NULL},
    {"RAY_AUTH_*", IMPORT_NOTE, OWNED, NULL, NULL},
    {"RAY_SERVE_ENABLE_DIRECT_INGRESS", IMPORT_NOTE, OWNED, NULL, NULL},
    {"RAY_CLUSTER_NAME", IMPORT_NOTE, OWNED, NULL, NULL},
    {"RAY_ENABLE_K8S_TOKEN_AUTH", IMPORT_LOST, "Ray's ports know no tokens of Kubernetes",
     "clients go through the gateway", NULL},
    {"RAY_REDIS_*", IMPORT_LOST, IMPORT_OWN_REDIS, IMPORT_OWN_REDIS_HINT, NULL},
    {"REDIS_*", IMPORT_LOST, IMPORT_OWN_REDIS, IMPORT_OWN_REDIS_HINT, NULL},
    {"RAY_external_storage_namespace", IMPORT_LOST, IMPORT_OWN_REDIS, IMPORT_OWN_REDIS_HINT, NULL},
    {"RAY_gcs_storage*", IMPORT_LOST, IMPORT_OWN_REDIS, IMPORT_OWN_REDIS_HINT, NULL},
    {"RAY_gcs_rpc_server_reconnect_timeout_s", IMPORT_NOTE, "belongs to GCS state outside of a unit", NULL,
     NULL},
    {"RAY_USE_TLS", IMPORT_LOST, IMPORT_NO_TLS, IMPORT_NO_TLS_HINT, NULL},
    {"RAY_TLS_*", IMPORT_NOTE, "belongs to RAY_USE_TLS", NULL, NULL},
    {"RAY_enable_autoscaler_v2", IMPORT_NOTE, IMPORT_NO_AUTOSCALER, NULL, NULL},
    {"PYTHONHOME", IMPORT_LOST, "Python is that of the app's environment", NULL, NULL},
    {"PYTHONPATH", IMPORT_LOST, OWNED, "spec.code is on it", NULL},
    {"LD_PRELOAD", IMPORT_LOST, OWNED, NULL, NULL},
    {"ASTRA_*", IMPORT_LOST, OWNED, "choose another name", NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

/* ---- one variable ---- */

/* NAME/KEY, when it is a reference of that kind. */
static const char *reference(struct importer *im, const struct wire_value *from, const char *kind)
{
    const struct wire_value *ref = wire_value_get(from, kind);
    const char *name = wire_value_string(wire_value_get(ref, "name"), NULL),
               *key = wire_value_string(wire_value_get(ref, "key"), NULL);
    return name != NULL && key != NULL ? a_arena_printf(im->arena, "%s/%s", name, key) : NULL;
}

/* A ConfigMap of the same file is read. */
static const char *config_text(struct importer *im, const struct wire_value *from)
{
    const struct wire_value *ref = wire_value_get(from, "configMapKeyRef");
    const char *name = wire_value_string(wire_value_get(ref, "name"), "");
    const struct wire_value *map = import_document(im, "ConfigMap", name);
    return import_text(
        im, wire_value_get_view(wire_value_get(map, "data"), wire_value_view(wire_value_get(ref, "key"))));
}

/* *ret: {value} or {secret}; false when it is lost. */
static bool from_read(struct importer *im, struct import_place at, struct wire_value *ret)
{
    const char *secret = reference(im, at.value, "secretKeyRef"), *text = config_text(im, at.value);
    if (secret != NULL && !import_lives_or_lost(im, at, "spec.env.secret",
                                                "set it in the app's code, from where it may be read"))
        return false;
    if (secret != NULL)
        import_set_text(im, at, ret, "secret", secret);
    else if (text != NULL)
        import_set_text(im, at, ret, "value", text);
    else
        import_lost(im, at, "write its value into spec.env",
                    wire_value_get(at.value, "configMapKeyRef") != NULL
                        ? "the ConfigMap is not in the file"
                        : "what a pod knows of itself is not known to a member");
    return secret != NULL || text != NULL;
}

static bool variable_read(struct importer *im, struct import_place at, struct wire_value *ret)
{
    const struct wire_value *from = wire_value_get(at.value, "valueFrom"),
                            *value = wire_value_get(at.value, "value");
    wire_value_foreach(member, at.value)
    {
        if (!a_view_is(member->key, "name") && member != value && member != from)
            import_lost(im, import_member(im, at, member), NULL, "no field of a variable that Astra knows");
    }
    if (!wire_value_is_null(from))
        return from_read(im, import_member(im, at, from), ret);
    const char *text = wire_value_is_null(value) ? "" : import_text(im, value);
    if (text == NULL) {
        import_lost(im, import_member(im, at, value), NULL, "expected a text");
        return false;
    }
    wire_value_set_string(im->arena, ret, "value", text);
    return true;
}

/* ---- the list ---- */

static struct import_env *variable_find(struct importer *im, const char *name)
{
    for (size_t i = 0; i < im->n_env; i++)
        if (a_view_is(wire_value_view(wire_value_get(im->env[i].item, "name")), name))
            return &im->env[i];
    return NULL;
}

static void variable_map(struct importer *im, struct import_place at)
{
    const struct wire_value *name = wire_value_get(at.value, "name");
    const char *text = wire_value_string(name, "");
    struct wire_value *item = wire_value_new_object(im->arena);
    import_set_text(im, (struct import_place){at.path, name, at.group}, item, "name", text);
    item->line = at.value->line;
    item->column = at.value->column;
    if (!variable_read(im, at, item))
        return;
    struct import_env *e = variable_find(im, text);
    if (e != NULL && !wire_value_equal(e->item, item)) {
        import_lost(im, at, "an app has one list for all its members",
                    "%.100s is another in another group (%s): that one is kept", text, e->path);
        return;
    }
    if (e != NULL) {
        e->groups++;
        return;
    }
    if (im->n_env == IMPORT_ENV_MAX) {
        import_lost(im, at, NULL, "more than %d variables", IMPORT_ENV_MAX);
        return;
    }
    im->env[im->n_env++] = (struct import_env){item, at.path, 1};
    wire_value_append(import_list(im, im->spec, "env"), item);
}

/* Whether the variable is one of those above; then it is told of. */
static bool is_owned(struct importer *im, struct import_place at)
{
    struct a_view name = wire_value_view(wire_value_get(at.value, "name"));
    const struct import_row *row = import_row_find(owned_rows, name);
    if (row == NULL)
        return false;
    if (row->kind == IMPORT_NOTE)
        import_note(im, at, row->hint, A_VIEW_FMT ": %s", A_VIEW_ARG(name), row->reason);
    else
        import_lost(im, at, row->hint, A_VIEW_FMT ": %s", A_VIEW_ARG(name), row->reason);
    return true;
}

void import_env_list(struct importer *im, struct import_place at)
{
    size_t i = 0;
    if (!import_is(im, at, WIRE_VALUE_ARRAY))
        return;
    wire_value_foreach(item, at.value)
    {
        struct import_place here = import_item(im, at, item, i++);
        if (!wire_value_is(wire_value_get(item, "name"), WIRE_VALUE_STRING))
            import_lost(im, here, NULL, "expected a variable with a name");
        else if (!is_owned(im, here))
            variable_map(im, here);
    }
}

void import_env_end(struct importer *im)
{
    size_t groups = 0;
    for (size_t i = 0; i < im->n_groups; i++)
        groups += !im->groups[i].none;
    for (size_t i = 0; i < im->n_env; i++)
        if (im->env[i].groups < groups)
            import_note(im, (struct import_place){im->env[i].path, im->env[i].item, NULL}, NULL,
                        "%.100s is set for every member, not for this group alone",
                        wire_value_string(wire_value_get(im->env[i].item, "name"), ""));
}
