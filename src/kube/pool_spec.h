/* The Pool as users write it: a set of equal pods in one Kubernetes cluster and namespace, created ahead of
 * need.
 *
 *   apiVersion: astra-ray.dev/v1alpha1
 *   kind: Pool
 *   metadata: {name: gpu-a}
 *   spec:
 *     cluster: east
 *     namespace: astra
 *     deviceClass: {resource: nvidia.com/gpu, count: 1}
 *     resources: {cpu: 8, memory: 32Gi, ephemeralStorage: 100Gi, shm: 8Gi}
 *     min: 2
 *     max: 40
 *     template: {spec: {nodeSelector: {gpu: l40s}, tolerations: [{key: gpu, operator: Exists}]}}
 *
 * One table (kube_pool_schema) is the checker, the defaults and the CRD. Of the pod template the
 * parts that Astra does not own are passed through; what Astra owns is refused by name, with the field that
 * is meant. */
#ifndef KUBE_POOL_SPEC_H
#define KUBE_POOL_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "types/id.h"
#include "wire/schema.h"

#define KUBE_NAMESPACE_MAX 63
/* An entry of this name in template.spec.containers adds to the agent's own container. */
#define KUBE_AGENT_CONTAINER "agent"

/* What a change of a field costs (wire_field.class). */
enum kube_pool_class {
    KUBE_POOL_LIVE, /* no pod is touched */
    KUBE_POOL_PODS, /* every pod is replaced, in turn and without losing capacity */
};

enum kube_stability {
    KUBE_STABLE,
    KUBE_SPOT,     /* may be taken away at any time, with a short notice */
    KUBE_BORROWED, /* another owner's, until he wants it back */
};

/* Texts and trees belong to the arena of the tree that was read. */
struct kube_pool_spec {
    struct a_name name;
    uint64_t generation; /* of metadata; 0 = none given */
    struct a_name cluster;
    const char *namespace;
    const struct wire_value *template; /* completed: {metadata: {labels, annotations}, spec: {...}} */
    const char *device_resource;       /* NULL = none */
    uint32_t device_count;
    uint64_t mcpu, memory_bytes, ephemeral_bytes;
    uint64_t shm_bytes; /* of /dev/shm, counted in memory; 0 = 20 % of memory, at least 80 MiB */
    uint32_t min, max, headroom;
    const struct wire_value *labels; /* of the nodes: a map of texts */
    double price;                    /* of one pod and hour, in the operator's own unit */
    enum kube_stability stability;
    uint64_t grace_ms; /* from the deletion of a pod to its end */
    uint32_t surge;    /* pods that may be on the way at once; 0 = a tenth of max, at least 10 */
};

extern const struct wire_schema kube_pool_schema;

/* Checks what was written: all errors at once in `p`. The result, in the arena of `p`, is the pool with every
 * default; NULL when there was an error. */
struct wire_value *kube_pool_check(struct wire_problems *p, const struct wire_value *doc);
/* From a completed tree (kube_pool_check's, or one that was stored). */
void kube_pool_read(const struct wire_value *tree, struct kube_pool_spec *ret);
/* The size of /dev/shm: the spec's or what 0 stands for. */
uint64_t kube_pool_shm(const struct kube_pool_spec *spec);

const char *kube_stability_name(enum kube_stability s); /* stable, spot, borrowed */
const char *kube_pool_class_name(int class);            /* live, pods */

#endif
