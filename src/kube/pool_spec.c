/* What the table alone cannot tell of a Pool: what Astra owns of a pod, names that Kubernetes would refuse,
 * limits between fields. */
#include "kube/pool_spec.h"

#include <string.h>

#include "base/assert.h"
#include "base/text.h"

#define OWN_PREFIX "astra-ray.dev/"
#define OWN_VOLUMES "astra-"
#define GRACE_MIN_MS 10000 /* PreStop has all of it but 2 s */
#define SHM_MIN (UINT64_C(80) << 20)

static void invalid(struct wire_problems *p, const char *field, const struct wire_value *at, const char *hint,
                    const char *message)
{
    wire_problem_add(p, A_CODE_POOL_INVALID, field, at, hint, "%s", message);
}

/* ---- what Astra owns of a pod ---- */

static const struct {
    const char *name, *hint;
} owned[] = {
    {"activeDeadlineSeconds", "an agent runs until it is drained"},
    {"automountServiceAccountToken", "agents call no API server"},
    {"enableServiceLinks", NULL},
    {"ephemeralContainers", "kubectl debug adds them to a pod"},
    {"hostIPC", "agents run without privileges"},
    {"hostNetwork", "agents run without privileges"},
    {"hostPID", "agents run without privileges"},
    {"hostUsers", NULL},
    {"hostname", NULL},
    {"nodeName", "choose nodes with nodeSelector or affinity"},
    {"restartPolicy", NULL},
    {"shareProcessNamespace", NULL},
    {"subdomain", NULL},
    {"terminationGracePeriodSeconds", "set spec.grace"},
};

/* Of the agent's container. */
static const char *const agent_fields[] = {"name",         "image", "imagePullPolicy", "env", "envFrom",
                                           "volumeMounts", NULL};

/* A copy of the document without the owned fields, each of which is told of. The table knows nothing of them.
 */
static const struct wire_value *owned_refuse(struct wire_problems *p, const struct wire_value *doc)
{
    const struct wire_value *given = wire_value_path(doc, "spec.template.spec");
    struct wire_value *copy = NULL;
    for (size_t i = 0; i < A_ARRAY_SIZE(owned); i++) {
        const struct wire_value *v = wire_value_get(given, owned[i].name);
        if (v == NULL)
            continue;
        const struct wire_value at = {.line = v->key_line, .column = v->key_column};
        invalid(p, a_arena_printf(p->arena, "spec.template.spec.%s", owned[i].name), &at, owned[i].hint,
                "is set by Astra");
        if (copy == NULL)
            copy = wire_value_copy(p->arena, doc);
        wire_value_remove(wire_value_path(copy, "spec.template.spec"), owned[i].name);
    }
    return copy != NULL ? copy : doc;
}

static bool is_one_of(struct a_view word, const char *const *words)
{
    for (; *words != NULL; words++)
        if (a_view_is(word, *words))
            return true;
    return false;
}

static void containers_check(struct wire_problems *p, const struct wire_value *containers, const char *path)
{
    size_t i = 0;
    if (!wire_value_is_null(containers) && containers->type != WIRE_VALUE_ARRAY)
        invalid(p, path, containers, NULL, "expected a list");
    wire_value_foreach(c, wire_value_is(containers, WIRE_VALUE_ARRAY) ? containers : NULL)
    {
        const char *here = a_arena_printf(p->arena, "%s[%zu]", path, i++);
        struct a_view name = wire_value_view(wire_value_get(c, "name"));
        if (name.len == 0)
            invalid(p, here, c, NULL, "expected a container with a name");
        if (!a_view_is(name, KUBE_AGENT_CONTAINER))
            continue;
        wire_value_foreach(member, c)
        {
            const char *hint =
                a_view_is(member->key, "resources") ? "set spec.resources and spec.deviceClass" : NULL;
            if (!is_one_of(member->key, agent_fields))
                invalid(p, a_arena_printf(p->arena, "%s.%s", here, member->key.ptr), member, hint,
                        "is set by Astra");
        }
    }
}

static void volumes_check(struct wire_problems *p, const struct wire_value *volumes)
{
    size_t i = 0;
    if (!wire_value_is_null(volumes) && volumes->type != WIRE_VALUE_ARRAY)
        invalid(p, "spec.template.spec.volumes", volumes, NULL, "expected a list");
    wire_value_foreach(v, wire_value_is(volumes, WIRE_VALUE_ARRAY) ? volumes : NULL)
    {
        const char *here = a_arena_printf(p->arena, "spec.template.spec.volumes[%zu].name", i++);
        if (a_view_starts(wire_value_view(wire_value_get(v, "name")), OWN_VOLUMES))
            invalid(p, here, v, NULL, "names that begin with " OWN_VOLUMES " are Astra's");
    }
}

/* ---- names ---- */

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

/* The name part of a qualified name, or a label's value: 63 characters, letters and digits at both ends. */
static bool is_word(struct a_view v)
{
    if (v.len == 0 || v.len > 63 || !is_letter_or_digit(v.ptr[0]) || !is_letter_or_digit(v.ptr[v.len - 1]))
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (!is_letter_or_digit(v.ptr[i]) && strchr("-_.", v.ptr[i]) == NULL)
            return false;
    return true;
}

/* [DOMAIN/]NAME; the domain is of lower-case labels. */
static bool is_qualified(struct a_view v, bool domain)
{
    struct a_view name, prefix = a_view_split(v, '/', &name);
    if (prefix.len == v.len)
        return !domain && is_word(v);
    if (prefix.len == 0 || prefix.len > 253 || prefix.ptr[prefix.len - 1] == '.')
        return false;
    for (struct a_view rest = prefix; rest.len > 0;) {
        struct a_view label = a_view_split(rest, '.', &rest);
        if (!a_text_is_label(label, 63))
            return false;
    }
    return is_word(name);
}

static void labels_check(struct wire_problems *p, const struct wire_value *labels, const char *path,
                         bool values)
{
    wire_value_foreach(l, labels)
    {
        const char *here = a_arena_printf(p->arena, "%s.%s", path, l->key.ptr);
        if (!is_qualified(l->key, false))
            invalid(p, here, l, NULL, "expected [DOMAIN/]NAME of letters, digits, '-', '_' and '.'");
        else if (a_view_starts(l->key, OWN_PREFIX))
            invalid(p, here, l, NULL, "names that begin with " OWN_PREFIX " are Astra's");
        if (values && l->string.len > 0 && !is_word(l->string))
            invalid(p, here, l, NULL, "expected at most 63 letters, digits, '-', '_' and '.'");
    }
}

/* ---- limits ---- */

static uint64_t bytes_of(const struct wire_value *object, const char *key)
{
    uint64_t bytes = 0;
    return a_text_bytes(wire_value_view(wire_value_get(object, key)), &bytes) ? bytes : 0;
}

static uint64_t duration_of(const struct wire_value *object, const char *key)
{
    uint64_t ms = 0;
    return a_text_duration(wire_value_view(wire_value_get(object, key)), &ms) ? ms : 0;
}

static void limits_check(struct wire_problems *p, const struct wire_value *spec)
{
    const struct wire_value *resources = wire_value_get(spec, "resources"),
                            *max = wire_value_get(spec, "max");
    const struct wire_value *grace = wire_value_get(spec, "grace"),
                            *device = wire_value_path(spec, "deviceClass.resource");
    const struct wire_value *namespace = wire_value_get(spec, "namespace");
    if (max != NULL && wire_value_int(max, 0) < wire_value_int(wire_value_get(spec, "min"), 0))
        invalid(p, "spec.max", max, NULL, "is smaller than min");
    if (bytes_of(resources, "shm") > bytes_of(resources, "memory"))
        invalid(p, "spec.resources.shm", wire_value_get(resources, "shm"), NULL,
                "is larger than memory, which it is a part of");
    if (grace != NULL && duration_of(spec, "grace") < GRACE_MIN_MS)
        invalid(p, "spec.grace", grace, NULL, "expected at least 10s: nothing can be drained in less");
    if (device != NULL && !is_qualified(wire_value_view(device), true))
        invalid(p, "spec.deviceClass.resource", device, "for example nvidia.com/gpu", "expected DOMAIN/NAME");
    if (namespace != NULL && !a_text_is_label(wire_value_view(namespace), KUBE_NAMESPACE_MAX))
        invalid(p, "spec.namespace", namespace, NULL,
                "expected a-z, 0-9 and inner '-', at most 63 characters");
}

struct wire_value *kube_pool_check(struct wire_problems *p, const struct wire_value *doc)
{
    size_t errors = p->n_errors;
    struct wire_value *pool = wire_schema_check(p, &kube_pool_schema, owned_refuse(p, doc));
    if (pool == NULL)
        return NULL;
    const struct wire_value *spec = wire_value_get(pool, "spec"),
                            *template = wire_value_get(spec, "template");
    limits_check(p, spec);
    labels_check(p, wire_value_get(spec, "labels"), "spec.labels", true);
    labels_check(p, wire_value_path(template, "metadata.labels"), "spec.template.metadata.labels", true);
    labels_check(p, wire_value_path(template, "metadata.annotations"), "spec.template.metadata.annotations",
                 false);
    containers_check(p, wire_value_path(template, "spec.containers"), "spec.template.spec.containers");
    containers_check(p, wire_value_path(template, "spec.initContainers"),
                     "spec.template.spec.initContainers");
    volumes_check(p, wire_value_path(template, "spec.volumes"));
    return p->n_errors == errors ? pool : NULL;
}

/* ---- reading ---- */

static enum kube_stability stability_of(const struct wire_value *spec)
{
    const char *word = wire_value_string(wire_value_get(spec, "stability"), "stable");
    for (int i = 0; i <= KUBE_BORROWED; i++)
        if (strcmp(word, kube_stability_name((enum kube_stability)i)) == 0)
            return (enum kube_stability)i;
    return KUBE_STABLE;
}

void kube_pool_read(const struct wire_value *tree, struct kube_pool_spec *ret)
{
    const struct wire_value *spec = wire_value_get(tree, "spec"),
                            *resources = wire_value_get(spec, "resources");
    const struct wire_value *device = wire_value_get(spec, "deviceClass");
    struct kube_pool_spec s = {
        .generation = (uint64_t)wire_value_int(wire_value_path(tree, "metadata.generation"), 0),
        .namespace = wire_value_string(wire_value_get(spec, "namespace"), "astra"),
        .template = wire_value_get(spec, "template"),
        .device_resource = wire_value_string(wire_value_get(device, "resource"), NULL),
        .device_count = (uint32_t)wire_value_int(wire_value_get(device, "count"), 0),
        .memory_bytes = bytes_of(resources, "memory"),
        .ephemeral_bytes = bytes_of(resources, "ephemeralStorage"),
        .shm_bytes = bytes_of(resources, "shm"),
        .min = (uint32_t)wire_value_int(wire_value_get(spec, "min"), 0),
        .max = (uint32_t)wire_value_int(wire_value_get(spec, "max"), 0),
        .headroom = (uint32_t)wire_value_int(wire_value_get(spec, "headroom"), 0),
        .labels = wire_value_get(spec, "labels"),
        .price = wire_value_number(wire_value_get(spec, "price"), 0),
        .stability = stability_of(spec),
        .grace_ms = duration_of(spec, "grace"),
        .surge = (uint32_t)wire_value_int(wire_value_get(spec, "surge"), 0),
    };
    bool ok = a_name_parse(wire_value_view(wire_value_path(tree, "metadata.name")), &s.name) &&
              a_name_parse(wire_value_view(wire_value_get(spec, "cluster")), &s.cluster) &&
              a_text_mcpu(wire_value_view(wire_value_get(resources, "cpu")), &s.mcpu);
    a_assert(ok); /* the checker lets nothing else pass */
    *ret = s;
}

uint64_t kube_pool_shm(const struct kube_pool_spec *spec)
{
    return spec->shm_bytes > 0 ? spec->shm_bytes : A_MAX(spec->memory_bytes / 5, SHM_MIN);
}

const char *kube_stability_name(enum kube_stability s)
{
    static const char *const names[] = {"stable", "spot", "borrowed"};
    a_assert((unsigned)s < A_ARRAY_SIZE(names));
    return names[s];
}

const char *kube_pool_class_name(int class)
{
    return class == KUBE_POOL_LIVE ? "live" : "pods";
}
