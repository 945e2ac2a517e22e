/* The outermost fields of what is imported: metadata, the RayService's own and the RayCluster's. */
#include <string.h>

#include "base/text.h"
#include "kube/rayservice_core.h"
#include "types/id.h"

#define RAY_OLDEST "2.52"

/* ---- metadata ---- */

static void name_map(struct importer *im, struct import_place at)
{
    const char *name = im->options->name;
    if (name != NULL)
        return;
    name = wire_value_string(at.value, "");
    if (!a_text_is_label(a_view_str(name), A_NAME_MAX))
        import_lost(im, at, "give another with --name",
                    "an app's name is a-z, 0-9 and inner '-', at most %d characters", A_NAME_MAX);
    import_set_text(im, at, import_object(im, im->app, "metadata"), "name", name);
}

static void namespace_map(struct importer *im, struct import_place at)
{
    if (im->options->namespace == NULL)
        import_set_text(im, at, import_object(im, im->app, "metadata"), "namespace",
                        wire_value_string(at.value, ""));
}

static void word_map(struct importer *im, struct import_place at, const char *list)
{
    const char *text = import_text(im, at.value);
    struct wire_value *into = import_object(im, import_object(im, im->app, "metadata"), list);
    if (text != NULL)
        import_set_text(im, at, into, at.value->key.ptr, text);
    else
        import_lost(im, at, NULL, "expected a text");
}

static void label_map(struct importer *im, struct import_place at)
{
    word_map(im, at, "labels");
}

static void annotation_map(struct importer *im, struct import_place at)
{
    word_map(im, at, "annotations");
}

#define QUEUE "Astra places units itself: no queue of Kubernetes holds them back"
#define QUEUE_HINT "see spec.placement and spec.priority of an App"

static const struct import_row label_rows[] = {
    {"kueue.x-k8s.io/*", IMPORT_LOST, QUEUE, QUEUE_HINT, NULL},
    {"volcano.sh/*", IMPORT_LOST, QUEUE, QUEUE_HINT, NULL},
    {"yunikorn.apache.org/*", IMPORT_LOST, QUEUE, QUEUE_HINT, NULL},
    {"kai.scheduler/*", IMPORT_LOST, QUEUE, QUEUE_HINT, NULL},
    {"ray.io/priority-class-name", IMPORT_LOST, "Astra places units itself, by their own priority",
     "set spec.priority", NULL},
    {"ray.io/scheduler-name", IMPORT_NOTE, "not needed: Astra places units itself", NULL, NULL},
    {"ray.io/gang-scheduling-enabled", IMPORT_NOTE, "not needed: a unit is always placed whole or not at all",
     NULL, NULL},
    {"*", IMPORT_MAP, NULL, NULL, label_map},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static const struct import_row annotation_rows[] = {
    {"kubectl.kubernetes.io/last-applied-configuration", IMPORT_SILENT, NULL, NULL, NULL},
    {"ray.io/ft-enabled", IMPORT_LOST, IMPORT_OWN_REDIS, IMPORT_OWN_REDIS_HINT, NULL},
    {"ray.io/external-storage-namespace", IMPORT_LOST, IMPORT_OWN_REDIS, IMPORT_OWN_REDIS_HINT, NULL},
    {"ray.io/overwrite-container-cmd", IMPORT_LOST, IMPORT_OWN_COMMAND, IMPORT_OWN_COMMAND_HINT, NULL},
    {"*", IMPORT_MAP, NULL, NULL, annotation_map},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void labels_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, label_rows, "labels");
}

static void annotations_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, annotation_rows, "annotations");
}

static const struct import_row metadata_rows[] = {
    {"name", IMPORT_MAP, NULL, NULL, name_map},
    {"namespace", IMPORT_MAP, NULL, NULL, namespace_map},
    {"labels", IMPORT_MAP, NULL, NULL, labels_map},
    {"annotations", IMPORT_MAP, NULL, NULL, annotations_map},
    {"generateName", IMPORT_LOST, "an app has one name", "give it with --name", NULL},
    {"finalizers", IMPORT_NOTE, "belongs to the API server that it was read from", NULL, NULL},
    {"ownerReferences", IMPORT_NOTE, "belongs to the API server that it was read from", NULL, NULL},
    /* written by the API server */
    {"uid", IMPORT_SILENT, NULL, NULL, NULL},
    {"resourceVersion", IMPORT_SILENT, NULL, NULL, NULL},
    {"generation", IMPORT_SILENT, NULL, NULL, NULL},
    {"creationTimestamp", IMPORT_SILENT, NULL, NULL, NULL},
    {"deletionTimestamp", IMPORT_SILENT, NULL, NULL, NULL},
    {"deletionGracePeriodSeconds", IMPORT_SILENT, NULL, NULL, NULL},
    {"managedFields", IMPORT_SILENT, NULL, NULL, NULL},
    {"selfLink", IMPORT_SILENT, NULL, NULL, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

void import_metadata(struct importer *im, struct import_place at)
{
    import_walk(im, at, metadata_rows, "metadata");
}

/* ---- fields that both kinds have ---- */

static void suspend_map(struct importer *im, struct import_place at)
{
    if (!wire_value_bool(at.value, false))
        return;
    if (import_lives(im, "spec.suspend")) {
        import_set(im, at, im->spec, "suspend", wire_value_new_bool(im->arena, true));
        return;
    }
    import_set(im, at, im->spec, "units", wire_value_new_int(im->arena, 0));
    import_note(im, at, "astra scale APP --units 1 starts it", "suspended: units is 0");
}

static void managed_by_map(struct importer *im, struct import_place at)
{
    if (a_view_is(wire_value_view(at.value), "ray.io/kuberay-operator"))
        import_note(im, at, NULL, "the app is Astra's from now on");
    else
        import_lost(im, at, "name clusters in spec.placement.clusters",
                    "Astra itself spreads an app over clusters");
}

/* ---- RayCluster ---- */

/* "2.9.3" is older than "2.52": number by number. */
static bool is_older(struct a_view version, const char *than)
{
    struct a_view a = version, b = a_view_str(than), x, y;
    while (b.len > 0) {
        uint64_t n = 0, m = 0;
        x = a_view_split(a, '.', &a);
        y = a_view_split(b, '.', &b);
        if (!a_text_u64(x, &n) || !a_text_u64(y, &m) || n > m)
            return false;
        if (n < m)
            return true;
    }
    return false;
}

static void ray_version_map(struct importer *im, struct import_place at)
{
    const char *version = import_text(im, at.value);
    if (version == NULL || is_older(a_view_str(version), RAY_OLDEST))
        import_lost(im, at, "put ray[serve] " RAY_OLDEST " or newer into the environment",
                    "units run Ray " RAY_OLDEST " or newer, not %s", version != NULL ? version : "this");
    else
        import_note(im, at, a_arena_printf(im->arena, "put ray[serve]==%s into it", version),
                    "Ray's version is that of the app's environment");
}

static void autoscaling_map(struct importer *im, struct import_place at)
{
    im->autoscaling = wire_value_bool(at.value, false);
    if (im->autoscaling)
        import_lost(im, at, "set count of the workers, and units for how many such clusters there are",
                    "a unit has a fixed size: " IMPORT_NO_AUTOSCALER);
}

#define AUTH_FIELD "authOptions"

static void auth_mode_map(struct importer *im, struct import_place at)
{
    if (a_view_is(wire_value_view(at.value), "token"))
        import_note(im, at, NULL, "each unit has a token of its own, made by Astra");
    else
        import_lost(im, at, "clients go through the gateway", "Ray's own ports always want a token");
}

static const struct import_row auth_rows[] = {
    {"mode", IMPORT_MAP, NULL, NULL, auth_mode_map},
    {"secretName", IMPORT_LOST, "each unit has a token of its own, made by Astra",
     "what calls Ray's dashboard with this token has to go through Astra's API", NULL},
    {"enableK8sTokenAuth", IMPORT_LOST, "Ray's ports know no tokens of Kubernetes",
     "clients go through the gateway", NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void auth_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, auth_rows, AUTH_FIELD);
}

static const struct import_row cluster_rows[] = {
    {"rayVersion", IMPORT_MAP, NULL, NULL, ray_version_map},
    {"headGroupSpec", IMPORT_MAP, NULL, NULL, import_head},
    {"workerGroupSpecs", IMPORT_MAP, NULL, NULL, import_workers},
    {"enableInTreeAutoscaling", IMPORT_SILENT, NULL, NULL, NULL}, /* read first: the groups ask for it */
    {"autoscalerOptions", IMPORT_NOTE, IMPORT_NO_AUTOSCALER, NULL, NULL},
    {"gcsFaultToleranceOptions", IMPORT_LOST, IMPORT_OWN_REDIS, IMPORT_OWN_REDIS_HINT, NULL},
    {AUTH_FIELD, IMPORT_MAP, NULL, NULL, auth_map},
    {"tlsOptions", IMPORT_LOST, IMPORT_NO_TLS, IMPORT_NO_TLS_HINT, NULL},
    {"networkPolicy", IMPORT_NOTE, "each pool has one",
     "astra cluster manifests prints the NetworkPolicy of each pool", NULL},
    {"historyServerOptions", IMPORT_LOST, "Ray's history server is not run",
     "see astra logs, astra events and logs.keepFailed", NULL},
    {"headServiceAnnotations", IMPORT_NOTE, IMPORT_NO_SERVICE, NULL, NULL},
    {"upgradeStrategy", IMPORT_NOTE, "a changed app is rolled out by spec.rollout", NULL, NULL},
    {"managedBy", IMPORT_MAP, NULL, NULL, managed_by_map},
    {"suspend", IMPORT_MAP, NULL, NULL, suspend_map},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

void import_cluster(struct importer *im, struct import_place at)
{
    const struct wire_value *autoscaling = wire_value_get(at.value, "enableInTreeAutoscaling");
    if (!import_is(im, at, WIRE_VALUE_OBJECT))
        return;
    if (autoscaling != NULL)
        autoscaling_map(im, import_member(im, at, autoscaling));
    import_walk(im, at, cluster_rows, "a RayCluster's spec");
}

/* ---- RayService ---- */

static void interval_map(struct importer *im, struct import_place at)
{
    int64_t s;
    if (import_count(im, at, &s))
        import_set_text(im, at, import_object(im, im->spec, "rollout"), "bake",
                        a_arena_printf(im->arena, "%llds", (long long)s));
}

/* In steps of so many per cent, the last one left out: it is the whole. */
static void step_map(struct importer *im, struct import_place at)
{
    int64_t step;
    if (!import_count(im, at, &step) || step == 0 || step >= 100 ||
        !import_lives_or_lost(im, at, "spec.rollout.canary", "units are replaced one by one until then"))
        return;
    struct wire_value *steps = import_list(im, import_object(im, im->spec, "rollout"), "canary");
    for (int64_t percent = step; percent < 100; percent += step)
        wire_value_append(steps, wire_value_new_int(im->arena, percent));
}

static const struct import_row upgrade_rows[] = {
    {"maxSurgePercent", IMPORT_NOTE, "counted in units: maxSurge is 1", "set spec.rollout.maxSurge", NULL},
    {"stepSizePercent", IMPORT_MAP, NULL, NULL, step_map},
    {"intervalSeconds", IMPORT_MAP, NULL, NULL, interval_map},
    {"gatewayClassName", IMPORT_NOTE, "Astra's own gateways share requests out", NULL, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void upgrade_options_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, upgrade_rows, "clusterUpgradeOptions");
}

static void upgrade_type_map(struct importer *im, struct import_place at)
{
    struct wire_value *rollout = import_object(im, im->spec, "rollout");
    if (a_view_is(wire_value_view(at.value), "None"))
        import_lost(im, at, "deploy only what is to run", "what is deployed is always rolled out");
    import_set(im, at, rollout, "maxSurge", wire_value_new_int(im->arena, 1));
    import_set(im, at, rollout, "maxUnavailable", wire_value_new_int(im->arena, 0));
}

static const struct import_row strategy_rows[] = {
    {"type", IMPORT_MAP, NULL, NULL, upgrade_type_map},
    {"clusterUpgradeOptions", IMPORT_MAP, NULL, NULL, upgrade_options_map},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

static void strategy_map(struct importer *im, struct import_place at)
{
    import_walk(im, at, strategy_rows, "upgradeStrategy");
}

static void deletion_delay_map(struct importer *im, struct import_place at)
{
    int64_t s;
    if (import_count(im, at, &s))
        import_set_text(im, at, import_object(im, im->spec, "drain"), "requests",
                        a_arena_printf(im->arena, "%llds", (long long)s));
}

static const struct import_row service_rows[] = {
    {"serveConfigV2", IMPORT_MAP, NULL, NULL, import_serve},
    {"rayClusterConfig", IMPORT_MAP, NULL, NULL, import_cluster},
    {"upgradeStrategy", IMPORT_MAP, NULL, NULL, strategy_map},
    {"rayClusterDeletionDelaySeconds", IMPORT_MAP, NULL, NULL, deletion_delay_map},
    {"serveService", IMPORT_LOST, "an app has no Service of its own",
     "send clients to the gateway, and see spec.routes", NULL},
    {"excludeHeadPodFromServeSvc", IMPORT_NOTE, "the gateway talks to replicas, not to the proxies of nodes",
     "head.serves: never keeps replicas off the head", NULL},
    {"managedBy", IMPORT_MAP, NULL, NULL, managed_by_map},
    {"suspend", IMPORT_MAP, NULL, NULL, suspend_map},
    {"serviceUnhealthySecondThreshold", IMPORT_NOTE, "KubeRay does not act on it either", NULL, NULL},
    {"deploymentUnhealthySecondThreshold", IMPORT_NOTE, "KubeRay does not act on it either", NULL, NULL},
    {NULL, IMPORT_SILENT, NULL, NULL, NULL},
};

void import_service(struct importer *im, struct import_place at)
{
    import_walk(im, at, service_rows, "a RayService's spec");
}
