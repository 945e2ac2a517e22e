/* The pod's spec and its first container, which is Ray's: what a member needs is taken, what belongs to pods
 * is for the pool that offers them. */
#include <string.h>

#include "kube/rayservice_core.h"

#define POOL "pods are those of a pool"
#define POOL_SPEC "set it in spec.template.spec of the Pool"
#define POOL_AGENT "set it for the container called agent in spec.template.spec.containers of the Pool"
#define WATCHED "Astra itself watches heads and replicas"

/* ---- the container ---- */

static void image_map(struct importer *im, struct import_place at)
{
    const char *image = wire_value_string(at.value, "?");
    if (im->options->requirements != NULL || im->options->artifact != NULL)
        import_note(im, at, NULL, "the environment is in its place: %.200s is not run", image);
    else
        import_lost(im, at,
                    "--environment requirements.txt with what the image has, or --env-artifact NAME@VERSION",
                    "members run in a packed environment, not in %.200s", image);
}

/* `ray stop` before the end is what everybody writes, and what a drain does better. */
static void lifecycle_map(struct importer *im, struct import_place at)
{
    const struct wire_value *command = wire_value_path(at.value, "preStop.exec.command");
    bool stop = false;
    wire_value_foreach(word, wire_value_is(command, WIRE_VALUE_ARRAY) ? command : NULL)
    {
        stop = strcmp(wire_value_string(word, ""), "ray stop") == 0;
    }
    if (stop && wire_value_count(at.value) == 1)
        import_note(im, at, "see spec.drain", "a member is drained before it ends");
    else
        import_lost(im, at, "what a member needs before it serves belongs into the app's code",
                    "members have no hooks");
}

static const struct import_row container_rows[] = {
    {"name", IMPORT_SILENT, NULL, NULL, NULL},
    {"image", IMPORT_MAP, NULL, NULL, image_map},
    {"env", IMPORT_MAP, NULL, NULL, import_env_list},
    {"resources", IMPORT_MAP, NULL, NULL, import_resources},
    {"volumeMounts", IMPORT_MAP, NULL, NULL, import_mounts},
    {"lifecycle", IMPORT_MAP, NULL, NULL, lifecycle_map},
    {"envFrom", IMPORT_LOST, "variables are named one by one", "write each into spec.env", NULL},
    {"ports", IMPORT_NOTE, "Astra chooses addresses and ports", "clients use the gateway's", NULL},
    {"imagePullPolicy", IMPORT_NOTE, "no image is pulled", NULL, NULL},
    {"command", IMPORT_LOST, IMPORT_OWN_COMMAND, IMPORT_OWN_COMMAND_HINT, NULL},
    {"args", IMPORT_LOST, IMPORT_OWN_COMMAND, IMPORT_OWN_COMMAND_HINT, NULL},
    {"workingDir", IMPORT_LOST, "a member starts in a folder of its own", "use paths of spec.code", NULL},
    {"livenessProbe", IMPORT_NOTE, WATCHED, "see head.timeout", NULL},
    {"readinessProbe", IMPORT_NOTE, WATCHED, "see serve.warmUp", NULL},
    {"startupProbe", IMPORT_NOTE, WATCHED, "see rollout.progressDeadline", NULL},
    {"securityContext", IMPORT_LOST, POOL, POOL_AGENT, NULL},
    {"volumeDevices", IMPORT_LOST, POOL, POOL_AGENT, NULL},
    {"restartPolicy", IMPORT_NOTE, "Astra replaces members", NULL, NULL},
    {"restartPolicyRules", IMPORT_NOTE, "Astra replaces members", NULL, NULL},
    {"resizePolicy", IMPORT_NOTE, "a member's claim is fixed", NULL, NULL},
    {"stdin", IMPORT_NOTE, "members have no input", NULL, NULL},
    {"stdinOnce", IMPORT_NOTE, "members have no input", NULL, NULL},
    {"tty", IMPORT_NOTE, "members have no input", NULL, NULL},
    {"terminationMessage*", IMPORT_NOTE, "astra explain says why a member ended", NULL, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

/* The first is Ray's. */
static void containers_map(struct importer *im, struct import_place at)
{
    size_t i = 0;
    if (!import_is(im, at, WIRE_VALUE_ARRAY))
        return;
    wire_value_foreach(item, at.value)
    {
        struct import_place here = import_item(im, at, item, i++);
        if (i == 1)
            import_walk(im, here, container_rows, "a container");
        else
            import_lost(im, here, "write it into spec.template.spec.containers of the Pool",
                        "a second container (%.100s): only Ray's is run",
                        wire_value_string(wire_value_get(item, "name"), "?"));
    }
}

static void init_containers_map(struct importer *im, struct import_place at)
{
    size_t i = 0;
    if (!import_is(im, at, WIRE_VALUE_ARRAY))
        return;
    wire_value_foreach(item, at.value)
    {
        import_lost(im, import_item(im, at, item, i++),
                    "write it into spec.template.spec.initContainers of the Pool, or do it in the app's code",
                    "nothing runs before a member (%.100s)",
                    wire_value_string(wire_value_get(item, "name"), "?"));
    }
}

/* ---- the pod ---- */

/* Mapped by those who mount them. */
static void volumes_map(struct importer *im, struct import_place at)
{
    if (!import_is(im, at, WIRE_VALUE_ARRAY))
        return;
    at.group->volumes = at.value;
    at.group->volumes_path = at.path;
    at.group->volumes_used = a_arena_alloc(im->arena, at.value->children.count * sizeof(bool));
}

static const struct import_row pod_rows[] = {
    {"volumes", IMPORT_SILENT, NULL, NULL, NULL}, /* read first: the container asks for them */
    {"containers", IMPORT_MAP, NULL, NULL, containers_map},
    {"initContainers", IMPORT_MAP, NULL, NULL, init_containers_map},
    {"nodeSelector", IMPORT_MAP, NULL, NULL, import_node_selector},
    {"affinity", IMPORT_MAP, NULL, NULL, import_affinity},
    {"tolerations", IMPORT_NOTE, POOL, POOL_SPEC, NULL},
    {"topologySpreadConstraints", IMPORT_LOST, "units are spread by the app", "set spec.placement.spread",
     NULL},
    {"serviceAccountName", IMPORT_LOST, "members have no account of Kubernetes",
     "give the app credentials of its own, by a secret", NULL},
    {"serviceAccount", IMPORT_LOST, "members have no account of Kubernetes",
     "give the app credentials of its own, by a secret", NULL},
    {"automountServiceAccountToken", IMPORT_NOTE, "members have no account of Kubernetes", NULL, NULL},
    {"priorityClassName", IMPORT_LOST, POOL,
     "set spec.priority of the app, and priorityClassName of the Pool", NULL},
    {"priority", IMPORT_NOTE, "worked out by the API server", NULL, NULL},
    {"preemptionPolicy", IMPORT_NOTE, POOL, NULL, NULL},
    {"schedulerName", IMPORT_NOTE, "Astra places units itself", NULL, NULL},
    {"schedulingGates", IMPORT_LOST, "Astra places units itself", "see spec.placement", NULL},
    {"workloadRef", IMPORT_NOTE, "a unit is always placed whole or not at all", NULL, NULL},
    {"schedulingGroup", IMPORT_NOTE, "a unit is always placed whole or not at all", NULL, NULL},
    {"resourceClaims", IMPORT_LOST, "claims of dynamic resources are not read",
     "name the devices in devices of the member", NULL},
    {"resources", IMPORT_LOST, "limits are those of the container", "write them there", NULL},
    {"imagePullSecrets", IMPORT_NOTE, "no image is pulled", NULL, NULL},
    {"terminationGracePeriodSeconds", IMPORT_NOTE, "how long a member has is spec.drain",
     "set spec.grace of the Pool above it", NULL},
    {"activeDeadlineSeconds", IMPORT_LOST, "members run until they are drained", NULL, NULL},
    {"securityContext", IMPORT_LOST, POOL, POOL_SPEC, NULL},
    {"hostNetwork", IMPORT_LOST, "agents run without privileges", "run an agent on the machine itself", NULL},
    {"hostPID", IMPORT_LOST, "agents run without privileges", "run an agent on the machine itself", NULL},
    {"hostIPC", IMPORT_LOST, "agents run without privileges", "run an agent on the machine itself", NULL},
    {"hostUsers", IMPORT_NOTE, POOL, NULL, NULL},
    {"hostAliases", IMPORT_LOST, POOL, POOL_SPEC, NULL},
    {"dnsPolicy", IMPORT_NOTE, POOL, POOL_SPEC, NULL},
    {"dnsConfig", IMPORT_LOST, POOL, POOL_SPEC, NULL},
    {"runtimeClassName", IMPORT_LOST, POOL, POOL_SPEC, NULL},
    {"nodeName", IMPORT_LOST, "Astra places units itself", "set spec.placement", NULL},
    {"os", IMPORT_NOTE, "members run on Linux", NULL, NULL},
    {"overhead", IMPORT_NOTE, "worked out by the API server", NULL, NULL},
    {"readinessGates", IMPORT_LOST, WATCHED, "see serve.warmUp", NULL},
    {"ephemeralContainers", IMPORT_NOTE, "added while a pod ran", NULL, NULL},
    {"restartPolicy", IMPORT_NOTE, "Astra replaces members", NULL, NULL},
    {"shareProcessNamespace", IMPORT_NOTE, "a member has its own processes", NULL, NULL},
    {"enableServiceLinks", IMPORT_NOTE, "members are told of no Services", NULL, NULL},
    {"setHostnameAsFQDN", IMPORT_NOTE, "members have no names of their own", NULL, NULL},
    {"hostname", IMPORT_NOTE, "members have no names of their own", NULL, NULL},
    {"hostnameOverride", IMPORT_NOTE, "members have no names of their own", NULL, NULL},
    {"subdomain", IMPORT_NOTE, "members have no names of their own", NULL, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

void import_pod(struct importer *im, struct import_place at)
{
    const struct wire_value *volumes = wire_value_get(at.value, "volumes");
    if (volumes != NULL)
        volumes_map(im, import_member(im, at, volumes));
    import_walk(im, at, pod_rows, "a pod's spec");
}
