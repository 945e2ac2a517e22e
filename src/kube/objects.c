/* The pod of a pool, its Secret, its Lease. The pod is built whole each time: its digest tells whether pods
 * of an earlier template are still about. */
#include "kube/objects.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/text.h"
#include "kube/objects_make.h"
#include "kube/time.h"

#define AGENT_MEMORY (UINT64_C(256) << 20) /* init and agent themselves; the rest is for claims */
#define AGENT_UID 65532                    /* nobody, as in distroless images */
#define DATA_DIR "/var/lib/astra"
#define JOIN_DIR "/var/run/astra/join"
#define PRE_STOP_SPARE_MS 2000 /* between the end of PreStop and the end of the grace */

/* ---- pieces of trees ---- */

struct wire_value *make_object(struct make *m, struct wire_value *parent, const char *key)
{
    struct wire_value *v = wire_value_new_object(m->arena);
    wire_value_set(m->arena, parent, key, v);
    return v;
}

struct wire_value *make_array(struct make *m, struct wire_value *parent, const char *key)
{
    struct wire_value *v = wire_value_new_array(m->arena);
    wire_value_set(m->arena, parent, key, v);
    return v;
}

struct wire_value *make_item(struct make *m, struct wire_value *array)
{
    struct wire_value *v = wire_value_new_object(m->arena);
    wire_value_append(array, v);
    return v;
}

void make_texts(struct make *m, struct wire_value *parent, const char *key, const char *const *texts)
{
    struct wire_value *v = make_array(m, parent, key);
    for (; *texts != NULL; texts++)
        wire_value_append(v, wire_value_new_string(m->arena, *texts));
}

struct wire_value *make_kind(struct make *m, const char *version, const char *kind, const char *name,
                             const char *namespace)
{
    struct wire_value *v = wire_value_new_object(m->arena), *metadata;
    wire_value_set_string(m->arena, v, "apiVersion", version);
    wire_value_set_string(m->arena, v, "kind", kind);
    metadata = make_object(m, v, "metadata");
    wire_value_set_string(m->arena, metadata, "name", name);
    if (namespace != NULL)
        wire_value_set_string(m->arena, metadata, "namespace", namespace);
    return v;
}

void make_pool_labels(struct make *m, struct wire_value *labels, const char *installation, const char *pool)
{
    if (installation != NULL)
        wire_value_set_string(m->arena, labels, KUBE_LABEL_INSTALLATION, installation);
    else
        wire_value_set_string(m->arena, labels, "app.kubernetes.io/name", "astra-agent");
    if (pool != NULL)
        wire_value_set_string(m->arena, labels, KUBE_LABEL_POOL, pool);
}

static void copies_set(struct make *m, struct wire_value *to, const struct wire_value *from)
{
    wire_value_foreach(v, from)
    {
        if (v->type != WIRE_VALUE_NULL)
            wire_value_set(m->arena, to, v->key.ptr, wire_value_copy(m->arena, v));
    }
}

static void copies_append(struct make *m, struct wire_value *to, const struct wire_value *from)
{
    wire_value_foreach(v, from) wire_value_append(to, wire_value_copy(m->arena, v));
}

/* ---- the agent's container ---- */

static const struct wire_value *agent_addition(const struct kube_pool_spec *spec)
{
    wire_value_foreach(c, wire_value_path(spec->template, "spec.containers"))
    {
        if (a_view_is(wire_value_view(wire_value_get(c, "name")), KUBE_AGENT_CONTAINER))
            return c;
    }
    return NULL;
}

static void argument_add(struct make *m, struct wire_value *args, const char *flag, const char *value)
{
    wire_value_append(args,
                      wire_value_new_string(m->arena, a_arena_printf(m->arena, "--%s=%s", flag, value)));
}

static void label_add(struct make *m, struct wire_value *args, const char *key, const char *value)
{
    argument_add(m, args, "label", a_arena_printf(m->arena, "%s=%s", key, value));
}

static const char *number_text(struct make *m, uint64_t n)
{
    return a_arena_printf(m->arena, "%" PRIu64, n);
}

static const char *cpu_text(struct make *m, uint64_t mcpu)
{
    return a_arena_printf(m->arena, "%" PRIu64 "m", mcpu);
}

/* What the pod has, less what init, agent and the kubelet's limit need. */
static void capacity_arguments(struct make *m, struct wire_value *args, const struct kube_pool_spec *s)
{
    uint64_t memory =
        s->memory_bytes > 4 * AGENT_MEMORY ? s->memory_bytes - AGENT_MEMORY : s->memory_bytes / 4 * 3;
    argument_add(m, args, "cpu", cpu_text(m, s->mcpu));
    argument_add(m, args, "memory", number_text(m, memory));
    argument_add(m, args, "disk", number_text(m, s->ephemeral_bytes / 10 * 9));
}

static void agent_arguments(struct make *m, struct wire_value *c)
{
    const struct kube_pool_spec *s = m->spec;
    static const char *const command[] = {"astra", "init", NULL};
    make_texts(m, c, "command", command);
    struct wire_value *args = make_array(m, c, "args");
    wire_value_append(args, wire_value_new_string(m->arena, "agent"));
    argument_add(m, args, "server", m->agent->server);
    argument_add(m, args, "data", DATA_DIR);
    argument_add(m, args, "join-token-file", JOIN_DIR "/token");
    argument_add(m, args, "cluster", s->cluster.s);
    argument_add(m, args, "network", m->agent->network != NULL ? m->agent->network : s->cluster.s);
    argument_add(m, args, "name", "$(ASTRA_POD_NAME)");
    argument_add(m, args, "host", "$(ASTRA_NODE_NAME)");
    argument_add(m, args, "address", "$(ASTRA_POD_IP)");
    argument_add(m, args, "http", a_arena_printf(m->arena, "$(ASTRA_POD_IP):%d", KUBE_AGENT_PORT));
    capacity_arguments(m, args, s);
    label_add(m, args, KUBE_LABEL_POOL, s->name.s);
    label_add(m, args, KUBE_LABEL_POD_UID, "$(ASTRA_POD_UID)");
    label_add(m, args, KUBE_LABEL_STABILITY, kube_stability_name(s->stability));
    wire_value_foreach(l, s->labels) label_add(m, args, l->key.ptr, wire_value_string(l, ""));
}

static void field_env_add(struct make *m, struct wire_value *env, const char *name, const char *path)
{
    struct wire_value *e = make_item(m, env), *ref;
    wire_value_set_string(m->arena, e, "name", name);
    ref = make_object(m, make_object(m, e, "valueFrom"), "fieldRef");
    wire_value_set_string(m->arena, ref, "fieldPath", path);
}

static void env_make(struct make *m, struct wire_value *c, const struct wire_value *addition)
{
    struct wire_value *env = make_array(m, c, "env"), *home = make_item(m, env);
    wire_value_set_string(m->arena, home, "name", "HOME");
    wire_value_set_string(m->arena, home, "value", DATA_DIR);
    field_env_add(m, env, "ASTRA_POD_NAME", "metadata.name");
    field_env_add(m, env, "ASTRA_POD_UID", "metadata.uid");
    field_env_add(m, env, "ASTRA_POD_IP", "status.podIP");
    field_env_add(m, env, "ASTRA_NODE_NAME", "spec.nodeName");
    /* Kubernetes copies the node's label to its pods (PodTopologyLabels); empty where it does not */
    field_env_add(m, env, "ASTRA_CFG_AGENT_ZONE", "metadata.labels['topology.kubernetes.io/zone']");
    copies_append(m, env, wire_value_get(addition, "env"));
}

static void resources_make(struct make *m, struct wire_value *c)
{
    const struct kube_pool_spec *s = m->spec;
    static const char *const lists[] = {"requests", "limits"};
    struct wire_value *resources = make_object(m, c, "resources");
    for (size_t i = 0; i < A_ARRAY_SIZE(lists);
         i++) { /* equal: the pod is Guaranteed, the last to be evicted */
        struct wire_value *list = make_object(m, resources, lists[i]);
        wire_value_set_string(m->arena, list, "cpu", cpu_text(m, s->mcpu));
        wire_value_set_string(m->arena, list, "memory", number_text(m, s->memory_bytes));
        wire_value_set_string(m->arena, list, "ephemeral-storage", number_text(m, s->ephemeral_bytes));
        if (s->device_resource != NULL)
            wire_value_set_string(m->arena, list, s->device_resource, number_text(m, s->device_count));
    }
}

static void probe_make(struct make *m, struct wire_value *c, const char *name, const char *path, int period_s,
                       int failures)
{
    struct wire_value *probe = make_object(m, c, name), *get = make_object(m, probe, "httpGet");
    wire_value_set_string(m->arena, get, "path", path);
    wire_value_set_int(m->arena, get, "port", KUBE_AGENT_PORT);
    wire_value_set_int(m->arena, probe, "periodSeconds", period_s);
    wire_value_set_int(m->arena, probe, "timeoutSeconds", 5);
    wire_value_set_int(m->arena, probe, "failureThreshold", failures);
}

/* Liveness is patient: it ends the members with the agent, and init restarts an agent that dies by itself. */
static void probes_make(struct make *m, struct wire_value *c)
{
    probe_make(m, c, "startupProbe", "/healthz", 2, 150);
    probe_make(m, c, "livenessProbe", "/healthz", 10, 12);
    probe_make(m, c, "readinessProbe", "/readyz", 5, 3);
}

static void pre_stop_make(struct make *m, struct wire_value *c)
{
    uint64_t grace = m->spec->grace_ms > PRE_STOP_SPARE_MS ? m->spec->grace_ms - PRE_STOP_SPARE_MS : 0;
    const char *const command[] = {"astra",
                                   "drain",
                                   "--self",
                                   "--data",
                                   DATA_DIR,
                                   "--grace",
                                   a_arena_printf(m->arena, "%" PRIu64 "s", grace / 1000),
                                   NULL};
    struct wire_value *stop = make_object(m, make_object(m, c, "lifecycle"), "preStop");
    make_texts(m, make_object(m, stop, "exec"), "command", command);
}

static void container_security_make(struct make *m, struct wire_value *c)
{
    static const char *const all[] = {"ALL", NULL};
    struct wire_value *s = make_object(m, c, "securityContext");
    wire_value_set_bool(m->arena, s, "allowPrivilegeEscalation", false);
    make_texts(m, make_object(m, s, "capabilities"), "drop", all);
}

static void mount_add(struct make *m, struct wire_value *mounts, const char *name, const char *path,
                      bool read_only)
{
    struct wire_value *v = make_item(m, mounts);
    wire_value_set_string(m->arena, v, "name", name);
    wire_value_set_string(m->arena, v, "mountPath", path);
    if (read_only)
        wire_value_set_bool(m->arena, v, "readOnly", true);
}

static void agent_container_make(struct make *m, struct wire_value *c)
{
    const struct wire_value *addition = agent_addition(m->spec), *given;
    wire_value_set_string(m->arena, c, "name", KUBE_AGENT_CONTAINER);
    wire_value_set_string(m->arena, c, "image",
                          wire_value_string(wire_value_get(addition, "image"), m->agent->image));
    if ((given = wire_value_get(addition, "imagePullPolicy")) != NULL)
        wire_value_set(m->arena, c, "imagePullPolicy", wire_value_copy(m->arena, given));
    if ((given = wire_value_get(addition, "envFrom")) != NULL)
        wire_value_set(m->arena, c, "envFrom", wire_value_copy(m->arena, given));
    agent_arguments(m, c);
    env_make(m, c, addition);
    resources_make(m, c);
    probes_make(m, c);
    pre_stop_make(m, c);
    container_security_make(m, c);
    struct wire_value *port = make_item(m, make_array(m, c, "ports"));
    wire_value_set_string(m->arena, port, "name", "agent");
    wire_value_set_int(m->arena, port, "containerPort", KUBE_AGENT_PORT);
    wire_value_set_string(m->arena, port, "protocol", "TCP");
    struct wire_value *mounts = make_array(m, c, "volumeMounts");
    mount_add(m, mounts, "astra-data", DATA_DIR, false);
    mount_add(m, mounts, "astra-tmp", "/tmp", false);
    mount_add(m, mounts, "astra-shm", "/dev/shm", false);
    mount_add(m, mounts, "astra-join", JOIN_DIR, true);
    copies_append(m, mounts, wire_value_get(addition, "volumeMounts"));
}

/* ---- the pod ---- */

static struct wire_value *volume_add(struct make *m, struct wire_value *volumes, const char *name,
                                     const char *kind)
{
    struct wire_value *v = make_item(m, volumes);
    wire_value_set_string(m->arena, v, "name", name);
    return make_object(m, v, kind);
}

static void volumes_make(struct make *m, struct wire_value *spec)
{
    struct wire_value *volumes = make_array(m, spec, "volumes"), *v, *secret, *item;
    (void)volume_add(m, volumes, "astra-data", "emptyDir");
    (void)volume_add(m, volumes, "astra-tmp", "emptyDir");
    v = volume_add(m, volumes, "astra-shm", "emptyDir");
    wire_value_set_string(m->arena, v, "medium", "Memory");
    wire_value_set_string(m->arena, v, "sizeLimit", number_text(m, kube_pool_shm(m->spec)));
    v = volume_add(m, volumes, "astra-join", "projected");
    wire_value_set_int(m->arena, v, "defaultMode", 0440);
    secret = make_object(m, make_item(m, make_array(m, v, "sources")), "secret");
    wire_value_set_string(m->arena, secret, "name",
                          m->agent->join_secret != NULL ? m->agent->join_secret : KUBE_JOIN_SECRET);
    item = make_item(m, make_array(m, secret, "items"));
    wire_value_set_string(m->arena, item, "key", "token");
    wire_value_set_string(m->arena, item, "path", "token");
    copies_append(m, volumes, wire_value_path(m->spec->template, "spec.volumes"));
}

/* The user's is a base: what Astra sets is not taken back, but for the user that the image wants. */
static void pod_security_make(struct make *m, struct wire_value *spec)
{
    struct wire_value *s = make_object(m, spec, "securityContext");
    static const char *const ids[] = {"runAsUser", "runAsGroup", "fsGroup"};
    copies_set(m, s, wire_value_path(m->spec->template, "spec.securityContext"));
    for (size_t i = 0; i < A_ARRAY_SIZE(ids); i++)
        if (wire_value_get(s, ids[i]) == NULL)
            wire_value_set_int(m->arena, s, ids[i], AGENT_UID);
    wire_value_set_bool(m->arena, s, "runAsNonRoot", true);
    wire_value_set_string(m->arena, make_object(m, s, "seccompProfile"), "type", "RuntimeDefault");
}

static void containers_make(struct make *m, struct wire_value *spec)
{
    struct wire_value *containers = make_array(m, spec, "containers");
    agent_container_make(m, make_item(m, containers));
    wire_value_foreach(c, wire_value_path(m->spec->template, "spec.containers"))
    {
        if (!a_view_is(wire_value_view(wire_value_get(c, "name")), KUBE_AGENT_CONTAINER))
            wire_value_append(containers, wire_value_copy(m->arena, c));
    }
}

static struct wire_value *pod_build(struct make *m, const char *name)
{
    const struct kube_pool_spec *s = m->spec;
    struct wire_value *pod = make_kind(m, "v1", "Pod", name, s->namespace),
                      *metadata = wire_value_get(pod, "metadata");
    struct wire_value *labels = make_object(m, metadata, "labels"), *spec = make_object(m, pod, "spec");
    const struct wire_value *annotations = wire_value_path(s->template, "metadata.annotations");
    copies_set(m, labels, wire_value_path(s->template, "metadata.labels"));
    make_pool_labels(m, labels, m->agent->installation, s->name.s);
    if (wire_value_count(annotations) > 0)
        wire_value_set(m->arena, metadata, "annotations", wire_value_copy(m->arena, annotations));
    copies_set(m, spec, wire_value_get(s->template, "spec"));
    containers_make(m, spec);
    volumes_make(m, spec);
    pod_security_make(m, spec);
    wire_value_set_string(m->arena, spec, "restartPolicy", "Always");
    wire_value_set_int(m->arena, spec, "terminationGracePeriodSeconds",
                       (int64_t)((s->grace_ms + 999) / 1000));
    wire_value_set_bool(m->arena, spec, "automountServiceAccountToken", false);
    wire_value_set_bool(m->arena, spec, "enableServiceLinks", false);
    if (m->agent->service_account != NULL && wire_value_get(spec, "serviceAccountName") == NULL)
        wire_value_set_string(m->arena, spec, "serviceAccountName", m->agent->service_account);
    return pod;
}

static void digest_print(const struct wire_value *pod, char *ret)
{
    A_BUF_AUTO struct a_buf text = {0};
    wire_json_print(&text, pod, WIRE_JSON_SORTED);
    snprintf(ret, KUBE_TEMPLATE_LEN + 1, "%016" PRIx64, a_hash_bytes(0, text.ptr, text.len));
}

struct wire_value *kube_pod_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                 const struct kube_pool_spec *spec, const char *name)
{
    struct make m = {arena, agent, spec};
    char digest[KUBE_TEMPLATE_LEN + 1];
    struct wire_value *pod = pod_build(&m, name);
    kube_pod_template(agent, spec, digest);
    wire_value_set_string(arena, wire_value_path(pod, "metadata.labels"), KUBE_LABEL_TEMPLATE, digest);
    return pod;
}

void kube_pod_template(const struct kube_agent_options *agent, const struct kube_pool_spec *spec, char *ret)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct make m = {&arena, agent, spec};
    digest_print(pod_build(&m, ""), ret);
}

const char *kube_pool_selector(struct a_arena *arena, const char *installation, const char *pool)
{
    if (pool == NULL)
        return a_arena_printf(arena, KUBE_LABEL_INSTALLATION "=%s," KUBE_LABEL_POOL, installation);
    return a_arena_printf(arena, KUBE_LABEL_INSTALLATION "=%s," KUBE_LABEL_POOL "=%s", installation, pool);
}

/* ---- the others ---- */

struct wire_value *kube_join_secret_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                         const char *namespace, const char *token)
{
    struct make m = {arena, agent, NULL};
    struct wire_value *v = make_kind(
        &m, "v1", "Secret", agent->join_secret != NULL ? agent->join_secret : KUBE_JOIN_SECRET, namespace);
    make_pool_labels(&m, make_object(&m, wire_value_get(v, "metadata"), "labels"), agent->installation, NULL);
    wire_value_set_string(arena, v, "type", "Opaque");
    wire_value_set_string(arena, make_object(&m, v, "stringData"), "token", token);
    return v;
}

struct wire_value *kube_delete_make(struct a_arena *arena, const char *uid, uint64_t grace_ms)
{
    struct make m = {arena, NULL, NULL};
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "apiVersion", "v1");
    wire_value_set_string(arena, v, "kind", "DeleteOptions");
    wire_value_set_int(arena, v, "gracePeriodSeconds", (int64_t)((grace_ms + 999) / 1000));
    if (uid != NULL)
        wire_value_set_string(arena, make_object(&m, v, "preconditions"), "uid", uid);
    return v;
}

static void time_set(struct make *m, struct wire_value *v, const char *key, int64_t us)
{
    char text[KUBE_TIME_LEN + 1];
    kube_time_print(us, text);
    wire_value_set_string(m->arena, v, key, text);
}

struct wire_value *kube_lease_make(struct a_arena *arena, const struct kube_lease *lease)
{
    struct make m = {arena, NULL, NULL};
    struct wire_value *v = make_kind(&m, "coordination.k8s.io/v1", "Lease", lease->name, lease->namespace);
    struct wire_value *spec = make_object(&m, v, "spec");
    if (lease->version[0] != '\0')
        wire_value_set_string(arena, wire_value_get(v, "metadata"), "resourceVersion", lease->version);
    wire_value_set_string(arena, spec, "holderIdentity", lease->holder);
    wire_value_set_int(arena, spec, "leaseDurationSeconds", lease->duration_s);
    time_set(&m, spec, "acquireTime", lease->acquired_us);
    time_set(&m, spec, "renewTime", lease->renewed_us);
    wire_value_set_int(arena, spec, "leaseTransitions", lease->transitions);
    return v;
}

static int64_t time_get(const struct wire_value *object, const char *key)
{
    int64_t us;
    return kube_time_parse(wire_value_view(wire_value_get(object, key)), &us) ? us : 0;
}

int kube_lease_read(const struct wire_value *v, struct kube_lease *ret, struct a_error *reterr)
{
    const struct wire_value *spec = wire_value_get(v, "spec"), *metadata = wire_value_get(v, "metadata");
    int64_t duration = wire_value_int(wire_value_get(spec, "leaseDurationSeconds"), 0);
    int64_t transitions = wire_value_int(wire_value_get(spec, "leaseTransitions"), 0);
    const char *name = wire_value_string(wire_value_get(metadata, "name"), NULL);
    if (!a_view_is(wire_value_view(wire_value_get(v, "kind")), "Lease") || name == NULL)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "expected a Lease");
    *ret = (struct kube_lease){
        .name = name,
        .namespace = wire_value_string(wire_value_get(metadata, "namespace"), ""),
        .version = wire_value_string(wire_value_get(metadata, "resourceVersion"), ""),
        .holder = wire_value_string(wire_value_get(spec, "holderIdentity"), ""),
        .duration_s = duration > 0 && duration < INT32_MAX ? (uint32_t)duration : 0,
        .acquired_us = time_get(spec, "acquireTime"),
        .renewed_us = time_get(spec, "renewTime"),
        .transitions = transitions > 0 && transitions < INT32_MAX ? (uint32_t)transitions : 0,
    };
    return 0;
}
