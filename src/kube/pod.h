/* What a row keeps of a pod. */
#ifndef KUBE_POD_H
#define KUBE_POD_H

#include "kube/watch.h"

/* Labels and annotations that Astra sets and reads. */
#define KUBE_LABEL_INSTALLATION "astra-ray.dev/installation"
#define KUBE_LABEL_POOL "astra-ray.dev/pool"
#define KUBE_LABEL_TEMPLATE                                                                                  \
    "astra-ray.dev/template" /* the first 16 hex digits of the digest of what the pod was made from */
#define KUBE_LABEL_STABILITY "astra-ray.dev/stability" /* of a node */
#define KUBE_LABEL_POD_UID "astra-ray.dev/pod-uid"     /* of a node: what ties it to its pod */

enum kube_phase {
    KUBE_PHASE_UNKNOWN,
    KUBE_PHASE_PENDING,
    KUBE_PHASE_RUNNING,
    KUBE_PHASE_SUCCEEDED,
    KUBE_PHASE_FAILED,
};

/* The fields of a row of kube_kind_pod. */
struct kube_pod {
    int64_t created_s, deleted_s; /* creationTimestamp; deletionTimestamp (when its grace ends), 0 = none */
    struct kube_slice installation, pool, template; /* its labels */
    struct kube_slice node;                         /* spec.nodeName */
    struct kube_slice ip;
    struct kube_slice
        reason; /* why it is where it is: status.reason (Evicted), the scheduler's (Unschedulable), the reason
                   of DisruptionTarget, else that of a waiting container (ImagePullBackOff) */
    struct kube_slice message; /* to that; at most 256 bytes */
    uint32_t restarts;         /* of all its containers */
    uint32_t grace_s;          /* deletionGracePeriodSeconds: from the deletion on */
    uint8_t phase;             /* enum kube_phase */
    bool ready;                /* condition Ready is True */
    bool scheduled;            /* spec.nodeName is set */
    bool unschedulable;        /* condition PodScheduled is False for Unschedulable */
    bool disrupted;            /* condition DisruptionTarget: it is being evicted or pre-empted */
    uint8_t zero[3];
};

extern const struct kube_kind kube_kind_pod;

const struct kube_pod *kube_row_pod(const struct kube_row *row);

#endif
