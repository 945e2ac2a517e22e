/* What Ray is told: rayStartParams, and a group's own resources and labels, to `ray` of a member. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "kube/rayservice_core.h"

#define OWNED "set by Astra"
#define PORTS "Astra chooses addresses and ports"

static struct wire_value *ray_of(struct importer *im, struct import_place at)
{
    return import_object(im, at.group->member, "ray");
}

/* ---- logical resources ---- */

static void num_cpus_map(struct importer *im, struct import_place at)
{
    int64_t n;
    if (!import_count(im, at, &n))
        return;
    at.group->no_cpus = n == 0;
    if (n > 0 || !at.group->head) /* a head with none is one that does not serve */
        import_set(im, at, ray_of(im, at), "numCpus", wire_value_new_int(im->arena, n));
}

static void num_gpus_map(struct importer *im, struct import_place at)
{
    (void)import_count(im, at, &at.group->gpus); /* compared with the devices at the end */
}

static void resource_map(struct importer *im, struct import_place at)
{
    int64_t n;
    const char *text = import_text(im, at.value);
    double number = wire_value_number(at.value, -1);
    if (number >= 0 && number <= INT32_MAX && number == (double)(int64_t)number)
        n = (int64_t)number;
    else if (text == NULL || !a_text_i64(a_view_str(text), &n) || n < 0 || n > INT32_MAX) {
        import_lost(im, at, NULL, "custom resources of Ray are whole numbers here");
        return;
    }
    import_set(im, at, import_object(im, ray_of(im, at), "resources"), at.value->key.ptr,
               wire_value_new_int(im->arena, n));
}

/* '"{\"TPU\": 4}"': JSON, often within quotes that were for a shell. */
static void resources_text_map(struct importer *im, struct import_place at)
{
    static const struct import_row rows[] = {
        {"*", IMPORT_MAP, NULL, NULL, resource_map},
        {NULL, IMPORT_SILENT, NULL, NULL, NULL},
    };
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *v = NULL;
    struct a_view text = a_view_trim(wire_value_view(at.value));
    bool quoted =
        text.len >= 2 && (text.ptr[0] == '\'' || text.ptr[0] == '"') && text.ptr[text.len - 1] == text.ptr[0];
    if (quoted)
        text = (struct a_view){text.ptr + 1, text.len - 2};
    for (size_t i = 0; i < text.len; i++)
        if (!quoted || text.ptr[i] != '\\')
            a_buf_add_char(&b, text.ptr[i]);
    if (wire_json_parse(im->arena, a_buf_view(&b), NULL, NULL, &v, NULL) != 0 ||
        !wire_value_is(v, WIRE_VALUE_OBJECT)) {
        import_lost(im, at, "set ray.resources of the member", "expected JSON: {\"NAME\": 1}");
        return;
    }
    wire_value_foreach(member, v)
    {
        struct import_place here = import_member(im, at, member);
        struct wire_value *placed = wire_value_copy(im->arena, member);
        placed->key = member->key;
        placed->line = placed->key_line = at.value->line;
        placed->column = placed->key_column = at.value->column;
        here.value = placed;
        rows[0].map(im, here);
    }
}

static const struct import_row resource_rows[] = {
    {"CPU", IMPORT_MAP, NULL, NULL, num_cpus_map},
    {"GPU", IMPORT_MAP, NULL, NULL, num_gpus_map},
    {"memory", IMPORT_NOTE, "Ray's memory is what the member's leaves beside its object store", NULL, NULL},
    {"*", IMPORT_MAP, NULL, NULL, resource_map},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

void import_ray_resources(struct importer *im, struct import_place at)
{
    import_walk(im, at, resource_rows, "resources");
}

/* ---- labels ---- */

static void label_map(struct importer *im, struct import_place at)
{
    const char *text = import_text(im, at.value);
    if (text != NULL)
        import_set_text(im, at, import_object(im, ray_of(im, at), "labels"), at.value->key.ptr, text);
    else
        import_lost(im, at, NULL, "expected a text");
}

void import_ray_labels(struct importer *im, struct import_place at)
{
    static const struct import_row rows[] = {
        {"*", IMPORT_MAP, NULL, NULL, label_map},
        {NULL, IMPORT_SILENT, NULL, NULL, NULL},
    };
    import_walk(im, at, rows, "labels");
}

/* k=v,k2=v2 */
static void labels_text_map(struct importer *im, struct import_place at)
{
    struct a_view rest = wire_value_view(at.value);
    while (rest.len > 0) {
        struct a_view value, name = a_view_split(a_view_split(rest, ',', &rest), '=', &value);
        if (name.len == 0 || value.len == 0) {
            import_lost(im, at, "set ray.labels of the member", "expected NAME=VALUE,NAME=VALUE");
            return;
        }
        const char *key = a_arena_strndup(im->arena, name.ptr, name.len);
        import_set(im, at, import_object(im, ray_of(im, at), "labels"), key,
                   wire_value_new_view(im->arena, value));
    }
}

/* ---- rayStartParams ---- */

static void object_store_map(struct importer *im, struct import_place at)
{
    A_BUF_AUTO struct a_buf b = {0};
    int64_t bytes;
    const char *text = import_text(im, at.value);
    if (text == NULL || !a_text_i64(a_view_str(text), &bytes) || bytes < 0) {
        import_lost(im, at, "set shm of the member", "expected a number of bytes");
        return;
    }
    a_text_print_bytes(&b, (uint64_t)bytes);
    import_set_text(im, at, at.group->member, "shm", b.ptr);
}

static const struct import_row param_rows[] = {
    {"num-cpus", IMPORT_MAP, NULL, NULL, num_cpus_map},
    {"num-gpus", IMPORT_MAP, NULL, NULL, num_gpus_map},
    {"resources", IMPORT_MAP, NULL, NULL, resources_text_map},
    {"labels", IMPORT_MAP, NULL, NULL, labels_text_map},
    {"object-store-memory", IMPORT_MAP, NULL, NULL, object_store_map},
    {"memory", IMPORT_NOTE, "Ray's memory is what the member's leaves beside its object store", NULL, NULL},
    {"head", IMPORT_NOTE, OWNED, NULL, NULL},
    {"block", IMPORT_NOTE, OWNED, NULL, NULL},
    {"address", IMPORT_NOTE, PORTS, NULL, NULL},
    {"port", IMPORT_NOTE, PORTS, NULL, NULL},
    {"node-ip-address", IMPORT_NOTE, PORTS, NULL, NULL},
    {"node-manager-port", IMPORT_NOTE, PORTS, NULL, NULL},
    {"object-manager-port", IMPORT_NOTE, PORTS, NULL, NULL},
    {"gcs-server-port", IMPORT_NOTE, PORTS, NULL, NULL},
    {"ray-client-server-port", IMPORT_LOST, "Ray's client server is not run",
     "clients call the app through the gateway", NULL},
    {"min-worker-port", IMPORT_NOTE, PORTS, NULL, NULL},
    {"max-worker-port", IMPORT_NOTE, PORTS, NULL, NULL},
    {"worker-port-list", IMPORT_NOTE, PORTS, NULL, NULL},
    {"metrics-export-port", IMPORT_NOTE, PORTS, NULL, NULL},
    {"runtime-env-agent-port", IMPORT_NOTE, PORTS, NULL, NULL},
    {"dashboard-*", IMPORT_NOTE, PORTS, NULL, NULL},
    {"include-dashboard", IMPORT_NOTE, OWNED, NULL, NULL},
    {"include-log-monitor", IMPORT_NOTE, OWNED, NULL, NULL},
    {"disable-usage-stats", IMPORT_NOTE, "usage is never told to anyone", NULL, NULL},
    {"no-monitor", IMPORT_NOTE, IMPORT_NO_AUTOSCALER, NULL, NULL},
    {"autoscaling-config", IMPORT_NOTE, IMPORT_NO_AUTOSCALER, NULL, NULL},
    {"temp-dir", IMPORT_NOTE, "each member has a folder of its own", NULL, NULL},
    {"plasma-directory", IMPORT_NOTE, "the object store is in the member's own memory", NULL, NULL},
    {"redis-*", IMPORT_LOST, IMPORT_OWN_REDIS, IMPORT_OWN_REDIS_HINT, NULL},
    {"enable-resource-isolation", IMPORT_NOTE, "members are held to what they claim by their node", NULL,
     NULL},
    {"system-reserved-*", IMPORT_NOTE, "Ray's own processes count to the member's memory",
     "raise memory of the member", NULL},
    {"*", IMPORT_LOST, "no flag of ray start that an App can set", "see ray of head and workers", NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

void import_ray_params(struct importer *im, struct import_place at)
{
    import_walk(im, at, param_rows, "rayStartParams");
}
