/* The Pool's table. Adding a field is adding a row. Of the pod template the rows name what is passed through;
 * what Astra owns is in pool_spec.c, with the reason. */
#include "kube/pool_spec.h"

#define LIVE .class = KUBE_POOL_LIVE
#define PODS .class = KUBE_POOL_PODS
#define WORDS WIRE_WORDS
#define END WIRE_FIELDS_END
/* Kubernetes' own, checked by the API server. */
#define PASSED(name, text)                                                                                   \
    {                                                                                                        \
        name, WIRE_ANY, PODS, .fallback = "null", .nullable = true, .doc = text                              \
    }

static const struct wire_field device_fields[] = {
    {"resource", WIRE_STRING, PODS,
     .doc = "the extended resource: nvidia.com/gpu, huawei.com/Ascend910, tencent.com/zhixiao, ..."},
    {"count", WIRE_INT, PODS, .fallback = "1", .min = 1, .max = 64, .doc = "how many each pod has"},
    END,
};

static const struct wire_field resources_fields[] = {
    {"cpu", WIRE_CPU, PODS, .doc = "cores of each pod"},
    {"memory", WIRE_BYTES, PODS, .doc = "bytes, /dev/shm included"},
    {"ephemeralStorage", WIRE_BYTES, PODS, .fallback = "\"20Gi\"", .doc = "environments, models, logs"},
    {"shm", WIRE_BYTES, PODS, .fallback = "null", .nullable = true,
     .doc = "/dev/shm; null = 20 % of memory, at least 80Mi"},
    END,
};

static const struct wire_field template_metadata_fields[] = {
    {"labels", WIRE_MAP, PODS, .fallback = "{}", .item = WIRE_STRING, .doc = "of the pods"},
    {"annotations", WIRE_MAP, PODS, .fallback = "{}", .item = WIRE_STRING, .doc = "of the pods"},
    END,
};

static const struct wire_field template_spec_fields[] = {
    PASSED("affinity", "where pods may go"),
    PASSED("containers", "sidecars; one called agent adds image, imagePullPolicy, env, envFrom and "
                         "volumeMounts to the agent's"),
    PASSED("dnsConfig", "resolver"),
    PASSED("dnsPolicy", "resolver"),
    PASSED("hostAliases", "/etc/hosts"),
    PASSED("imagePullSecrets", "for the images"),
    PASSED("initContainers", "run before the agent"),
    PASSED("nodeSelector", "nodes by label"),
    PASSED("preemptionPolicy", "whether pods push others out"),
    PASSED("priorityClassName", "who gives way"),
    PASSED("resourceClaims", "dynamic resource allocation"),
    PASSED("runtimeClassName", "container runtime"),
    PASSED("schedulerName", "another scheduler"),
    PASSED("securityContext", "adds to what Astra sets; may not take it back"),
    PASSED("serviceAccountName", "whose token is not mounted all the same"),
    PASSED("tolerations", "nodes with taints"),
    PASSED("topologySpreadConstraints", "over zones and nodes"),
    PASSED("volumes", "besides Astra's own"),
    END,
};

static const struct wire_field template_fields[] = {
    {"metadata", WIRE_OBJECT, PODS, .fallback = "{}", .fields = template_metadata_fields,
     .doc = "labels, annotations"},
    {"spec", WIRE_OBJECT, PODS, .fallback = "{}", .fields = template_spec_fields,
     .doc = "parts of a PodSpec"},
    END,
};

static const struct wire_field spec_fields[] = {
    {"cluster", WIRE_LABEL, PODS, .doc = "a Kubernetes cluster that was added: astra cluster ls"},
    {"namespace", WIRE_STRING, PODS, .fallback = "\"astra\"", .doc = "where the pods are"},
    {"template", WIRE_OBJECT, PODS, .fallback = "{}", .fields = template_fields,
     .doc = "what pods have besides"},
    {"deviceClass", WIRE_OBJECT, PODS, .fallback = "null", .nullable = true, .fields = device_fields,
     .doc = "accelerators of each pod; null = none"},
    {"resources", WIRE_OBJECT, PODS, .fields = resources_fields, .doc = "what each pod has"},
    {"min", WIRE_INT, LIVE, .fallback = "0", .min = 0, .max = 100000, .doc = "fewest pods"},
    {"max", WIRE_INT, LIVE, .min = 0, .max = 100000, .doc = "most pods; 0 empties the pool"},
    {"labels", WIRE_MAP, PODS, .fallback = "{}", .item = WIRE_STRING, .doc = "of the nodes"},
    {"price", WIRE_NUMBER, LIVE, .fallback = "0",
     .doc = "of one pod and hour, in a unit of your own; cheaper pools are filled first"},
    {"stability", WIRE_WORD, PODS, .fallback = "\"stable\"", WORDS("stable", "spot", "borrowed"),
     .doc = "whether pods may be taken away"},
    {"grace", WIRE_DURATION, PODS, .fallback = "\"5m\"",
     .doc = "from the deletion of a pod to its end: the longest drain"},
    {"headroom", WIRE_INT, LIVE, .fallback = "0", .min = 0, .max = 100000,
     .doc = "empty pods kept ready beside the busy ones, so that what comes next need not wait for a pod"},
    {"surge", WIRE_INT, LIVE, .fallback = "null", .nullable = true, .min = 1, .max = 100000,
     .doc = "pods on the way at once; null = a tenth of max, at least 10"},
    END,
};

static const struct wire_field metadata_fields[] = {
    {"name", WIRE_LABEL, PODS, .doc = "the pool's name"},
    {"namespace", WIRE_STRING, LIVE, .fallback = "null", .nullable = true, .doc = "of the custom resource"},
    {"labels", WIRE_MAP, LIVE, .fallback = "{}", .item = WIRE_STRING, .doc = "for selecting"},
    {"annotations", WIRE_MAP, LIVE, .fallback = "{}", .item = WIRE_STRING, .doc = "for people and tools"},
    {"uid", WIRE_STRING, LIVE, .fallback = "null", .nullable = true, .doc = "given by the server"},
    {"generation", WIRE_INT, LIVE, .fallback = "null", .nullable = true, .min = 0, .max = INT64_MAX,
     .doc = "given by the server"},
    {"resourceVersion", WIRE_STRING, LIVE, .fallback = "null", .nullable = true,
     .doc = "given by the server"},
    END,
};

static const struct wire_field pool_fields[] = {
    {"apiVersion", WIRE_WORD, LIVE, .fallback = "\"astra-ray.dev/v1alpha1\"", WORDS("astra-ray.dev/v1alpha1"),
     .doc = "version of this schema"},
    {"kind", WIRE_WORD, LIVE, WORDS("Pool"), .doc = "Pool"},
    {"metadata", WIRE_OBJECT, LIVE, .fields = metadata_fields, .doc = "who it is"},
    {"spec", WIRE_OBJECT, LIVE, .fields = spec_fields, .doc = "what is wanted"},
    {"status", WIRE_ANY, LIVE, .fallback = "null", .nullable = true,
     .doc = "what is; written by the server, not read"},
    END,
};

const struct wire_schema kube_pool_schema = {
    .what = "pool",
    .start = "start with kind: Pool",
    .invalid = A_CODE_POOL_INVALID,
    .unsupported = A_CODE_POOL_INVALID,
    .object = {"pool", WIRE_OBJECT, LIVE, .fields = pool_fields, .doc = "a Pool"},
};
