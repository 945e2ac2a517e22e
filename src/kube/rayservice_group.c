/* Groups of pods: headGroupSpec and workerGroupSpecs to an App's head and workers. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "kube/rayservice_core.h"

#define GROUP_NAME_MAX 32
#define DASHBOARD_HINT "astra status, astra logs and astra top show what the dashboard would"

/* ---- the pod template ---- */

/* Parts of a GPU, as KAI's scheduler has them. */
static const struct import_row template_annotation_rows[] = {
    {"gpu-fraction", IMPORT_LOST, "a part of a GPU is asked for by devices of the member",
     "set it there: {any: [nvidia], share: \"0.5\"}", NULL},
    {"gpu-memory", IMPORT_LOST, "a part of a GPU is asked for by devices of the member",
     "set it there: {any: [nvidia], memory: 8Gi}", NULL},
    {"*", IMPORT_NOTE, "pods are those of a pool", "set spec.template.metadata of the Pool", NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void template_annotations_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, template_annotation_rows, "annotations");
}

static const struct import_row template_metadata_rows[] = {
    {"labels", IMPORT_NOTE, "pods are those of a pool", "set spec.template.metadata of the Pool", NULL},
    {"annotations", IMPORT_MAP, NULL, NULL, template_annotations_map},
    {"name", IMPORT_NOTE, "pods are those of a pool", NULL, NULL},
    {"namespace", IMPORT_NOTE, "pods are those of a pool", NULL, NULL},
    {"creationTimestamp", IMPORT_SILENT, NULL, NULL, NULL},
    {"*", IMPORT_NOTE, "pods are those of a pool", NULL, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void template_metadata_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, template_metadata_rows, "metadata");
}

static const struct import_row template_rows[] = {
    {"metadata", IMPORT_MAP, NULL, NULL, template_metadata_map},
    {"spec", IMPORT_MAP, NULL, NULL, import_pod},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void template_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, template_rows, "a pod template");
}

/* ---- workers ---- */

/* KubeRay's group names may be longer than ours, and hold other characters. */
static void group_name_map(struct importer *im, struct import_place at)
{
    const char *given = wire_value_string(at.value, "");
    char name[GROUP_NAME_MAX + 1];
    size_t n = 0;
    for (const char *c = given; *c != '\0' && n < GROUP_NAME_MAX; c++) {
        char low = *c >= 'A' && *c <= 'Z' ? (char)(*c - 'A' + 'a') : *c;
        bool good = (low >= 'a' && low <= 'z') || (low >= '0' && low <= '9');
        if (good || n > 0)
            name[n++] = good ? low : '-';
    }
    while (n > 0 && name[n - 1] == '-')
        n--;
    name[n] = '\0';
    if (strcmp(name, given) != 0)
        import_note(im, at, NULL, "called %s: a-z, 0-9 and inner '-', at most %d characters", name,
                    GROUP_NAME_MAX);
    import_set_text(im, at, at.group->member, "name", name);
}

/* clang-format off */
#define GROUP_ROWS \
    {"template", IMPORT_MAP, NULL, NULL, template_map}, \
    {"rayStartParams", IMPORT_MAP, NULL, NULL, import_ray_params}, \
    {"resources", IMPORT_MAP, NULL, NULL, import_ray_resources}, \
    {"labels", IMPORT_MAP, NULL, NULL, import_ray_labels}
/* clang-format on */

static const struct import_row head_rows[] = {
    GROUP_ROWS,
    {"serviceType", IMPORT_NOTE, IMPORT_NO_SERVICE, DASHBOARD_HINT, NULL},
    {"headService", IMPORT_NOTE, IMPORT_NO_SERVICE, DASHBOARD_HINT, NULL},
    {"enableIngress", IMPORT_NOTE, "the dashboard stays inside", DASHBOARD_HINT, NULL},
    {"ingressOptions", IMPORT_NOTE, "the dashboard stays inside", DASHBOARD_HINT, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static const struct import_row worker_rows[] = {
    GROUP_ROWS,
    /* read first: who they are, and how many */
    {"groupName", IMPORT_SILENT, NULL, NULL, NULL},
    {"replicas", IMPORT_SILENT, NULL, NULL, NULL},
    {"minReplicas", IMPORT_SILENT, NULL, NULL, NULL},
    {"maxReplicas", IMPORT_SILENT, NULL, NULL, NULL},
    {"numOfHosts", IMPORT_SILENT, NULL, NULL, NULL},
    {"suspend", IMPORT_SILENT, NULL, NULL, NULL},
    {"idleTimeoutSeconds", IMPORT_NOTE, IMPORT_NO_AUTOSCALER, NULL, NULL},
    {"priority", IMPORT_NOTE, IMPORT_NO_AUTOSCALER, NULL, NULL},
    {"scaleStrategy", IMPORT_NOTE, "named pods to delete: no part of what is wanted", NULL, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static int64_t count_of(struct importer *im, struct import_place at, const char *key, int64_t otherwise)
{
    const struct wire_value *v = wire_value_get(at.value, key);
    int64_t n = otherwise;
    if (!wire_value_is_null(v) && !import_count(im, import_member(im, at, v), &n))
        return otherwise;
    return n;
}

/* KubeRay's rule: replicas, not below minReplicas; each of numOfHosts pods. Where its autoscaler would have
 * made members when they were wanted, one is there from the beginning. */
static int64_t members_count(struct importer *im, struct import_place at)
{
    int64_t min = count_of(im, at, "minReplicas", 0), max = count_of(im, at, "maxReplicas", INT32_MAX),
            hosts = count_of(im, at, "numOfHosts", 1), count = count_of(im, at, "replicas", min);
    const struct wire_value *hosts_value = wire_value_get(at.value, "numOfHosts"),
                            *max_value = wire_value_get(at.value, "maxReplicas");
    count = A_MAX(count, min);
    if (im->autoscaling && max > count && max_value != NULL)
        import_note(im, import_member(im, at, max_value), "set count of the group for the highest load",
                    "the group does not grow to %" PRId64 ": it has %" PRId64, max, A_MAX(count, 1));
    if (im->autoscaling)
        count = A_MAX(count, 1);
    if (hosts > 1 && import_lives_or_lost(
                         im, import_member(im, at, hosts_value), "spec.workers.hosts",
                         "the members are there, but replicas over several of them are not kept together"))
        import_set(im, import_member(im, at, hosts_value), at.group->member, "hosts",
                   wire_value_new_int(im->arena, hosts));
    return hosts > 1 && count <= INT32_MAX ? count * hosts : count;
}

static void worker_import(struct importer *im, struct import_place at)
{
    const struct wire_value *name = wire_value_get(at.value, "groupName");
    const struct wire_value *suspend = wire_value_get(at.value, "suspend"),
                            *replicas = wire_value_get(at.value, "replicas");
    struct import_place why = suspend != NULL && wire_value_bool(suspend, false)
                                  ? import_member(im, at, suspend)
                              : replicas != NULL ? import_member(im, at, replicas)
                                                 : at;
    int64_t count = wire_value_bool(suspend, false) ? 0 : members_count(im, at);
    at.group->none = count == 0;
    if (at.group->none) {
        import_note(im, why, NULL, "the group has no members: it is left out");
        return;
    }
    if (name != NULL)
        group_name_map(im, import_member(im, at, name));
    if (count != 1)
        import_set(im, why, at.group->member, "count", wire_value_new_int(im->arena, count));
    import_walk(im, at, worker_rows, "a worker group");
    import_volumes_end(im, at.group);
    wire_value_append(import_list(im, im->spec, "workers"), at.group->member);
}

static struct import_group *group_new(struct importer *im, struct import_place at, bool head)
{
    if (im->n_groups == IMPORT_GROUPS_MAX) {
        import_lost(im, at, "join groups of one kind", "an app has at most %d groups of workers",
                    IMPORT_GROUPS_MAX - 1);
        return NULL;
    }
    struct import_group *g = &im->groups[im->n_groups++];
    *g = (struct import_group){
        .head = head,
        .path = at.path,
        .fields = head ? "spec.head" : "spec.workers",
        .source = at.value,
        .member = wire_value_new_object(im->arena),
        .selectors = wire_value_new_object(im->arena),
        .selector_paths = wire_value_new_object(im->arena),
        .gpus = -1,
    };
    g->member->line = at.value->line;
    g->member->column = at.value->column;
    return g;
}

void import_workers(struct importer *im, struct import_place at)
{
    size_t i = 0;
    if (!import_is(im, at, WIRE_VALUE_ARRAY))
        return;
    wire_value_foreach(item, at.value)
    {
        struct import_place here = import_item(im, at, item, i++);
        if (!import_is(im, here, WIRE_VALUE_OBJECT))
            continue;
        here.group = group_new(im, here, false);
        if (here.group == NULL)
            return;
        worker_import(im, here);
    }
}

/* ---- the head ---- */

void import_head(struct importer *im, struct import_place at)
{
    if (!import_is(im, at, WIRE_VALUE_OBJECT))
        return;
    at.group = group_new(im, at, true);
    if (at.group == NULL)
        return;
    wire_value_set(im->arena, im->spec, "head", at.group->member);
    import_walk(im, at, head_rows, "a head group");
    import_volumes_end(im, at.group);
}

/* ---- all together ---- */

#define SHM_MIN (UINT64_C(80) << 20)
#define MEMORY_DEFAULT (UINT64_C(2) << 30)

/* What the pod left open takes the App's default; so does an object store that the member could not hold. */
static void sizes_settle(struct importer *im, struct import_group *g)
{
    struct import_place at = {g->path, g->source, g};
    const struct wire_value *memory = wire_value_get(g->member, "memory"),
                            *shm = wire_value_get(g->member, "shm");
    uint64_t memory_bytes = MEMORY_DEFAULT, shm_bytes = 0;
    if (wire_value_get(g->member, "cpu") == NULL)
        import_note(im, at, "set cpu of the member", "its container has no limit of cpu: 1 core");
    if (memory == NULL)
        import_note(im, at, "set memory of the member", "its container has no limit of memory: 2Gi");
    else if (!a_text_bytes(memory->string, &memory_bytes))
        return;
    if (shm == NULL || !a_text_bytes(shm->string, &shm_bytes) ||
        (shm_bytes >= SHM_MIN && shm_bytes <= memory_bytes))
        return;
    at.value = shm;
    import_lost(im, at, "set shm of the member",
                "an object store of %s does not fit: at least 80Mi, within memory", shm->string.ptr);
    wire_value_remove(g->member, "shm");
}

/* In KubeRay a head serves unless it was told that it has no CPUs; ours serves only without workers, unless
 * it is told to. */
static void serves_settle(struct importer *im, struct import_group *g)
{
    bool workers = wire_value_count(wire_value_get(im->spec, "workers")) > 0;
    struct import_place at = {g->path, g->source, g};
    if (!g->no_cpus && workers)
        import_set_text(im, at, g->member, "serves", "always");
    if (g->no_cpus && !workers)
        import_note(im, at, "give a group of workers count: 1 or more", "no workers: the head serves");
}

void import_groups_end(struct importer *im)
{
    for (size_t i = 0; i < im->n_groups; i++) {
        struct import_group *g = &im->groups[i];
        struct import_place at = {g->path, g->source, g};
        if (g->none)
            continue;
        sizes_settle(im, g);
        if (g->head)
            serves_settle(im, g);
        if (g->gpus > 0 && (uint64_t)g->gpus != g->devices)
            import_lost(im, at, "make num-gpus the number of devices of limits",
                        "Ray sees the devices that a member has: %" PRIu64 ", not %" PRId64, g->devices,
                        g->gpus);
    }
    import_env_end(im);
    import_selectors_end(im);
}
