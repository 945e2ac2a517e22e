/* The objects that Astra applies in a cluster, as bodies of server-side apply (field manager
 * KUBE_FIELD_MANAGER, force): they hold what Astra owns and nothing else, no status and no managedFields. All
 * trees live in the caller's arena. */
#ifndef KUBE_OBJECTS_H
#define KUBE_OBJECTS_H

#include <stdint.h>

#include "kube/pod.h"
#include "kube/pool_spec.h"
#include "wire/value.h"

#define KUBE_FIELD_MANAGER "astra-kube"
#define KUBE_AGENT_PORT 7703
#define KUBE_LEASE_PREFIX "astra-" /* and the installation's id */
#define KUBE_TEMPLATE_LEN 16

/* What all pods of an installation share. */
struct kube_agent_options {
    const char *installation; /* the store's id or a part of it: a label value of at most 63 characters; NULL
                                 = pods of no installation (workload.h) */
    const char *image;        /* of agents; a template may name another */
    const char *server;       /* HOST:PORT that agents join, as seen from the cluster */
    const char *network;      /* of the nodes; NULL = the cluster's name */
    const char *join_secret;  /* the Secret with the key `token`; NULL = KUBE_JOIN_SECRET */
    const char *service_account; /* of the pods; NULL = the namespace's default. Its token is not mounted */
    const char *const
        *gateway_blocks; /* CIDRs of gateways outside the cluster; NULL ends them. NULL = none */
};

#define KUBE_JOIN_SECRET "astra-join"
#define KUBE_IMAGE "astra:" ASTRA_VERSION     /* that of `make image`; where no other one is told */
#define KUBE_JOIN_ADDRESS "astra-server:7701" /* that of deploy/kubernetes, in its own namespace */

/* The pod NAME of a pool: `astra init agent FLAGS` without any privilege; `astra drain --self --grace N` is
 * the PreStop hook, with all of the pod's grace but 2 s. Liveness and start are /healthz of the agent,
 * readiness is /readyz: it has joined once, so that losing the server makes no pod unready (P2 rests on
 * that). The pool, the pod's uid, its stability and the pool's labels become labels of the node. */
struct wire_value *kube_pod_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                 const struct kube_pool_spec *spec, const char *name);
/* The value of KUBE_LABEL_TEMPLATE: of everything in the pod but its name. `ret` holds KUBE_TEMPLATE_LEN + 1
 * bytes. */
void kube_pod_template(const struct kube_agent_options *agent, const struct kube_pool_spec *spec, char *ret);
/* The label selector of a pool's pods, and of all pools of an installation: for a watch's labelSelector,
 * before escaping. */
const char *kube_pool_selector(struct a_arena *arena, const char *installation, const char *pool);

/* The join token, one Secret for each namespace with pools. */
struct wire_value *kube_join_secret_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                         const char *namespace, const char *token);

/* The body of a DELETE. `uid` NULL = whichever it is. */
struct wire_value *kube_delete_make(struct a_arena *arena, const char *uid, uint64_t grace_ms);

/* The Lease that says who drives a cluster. Times are of the wall clock, in microseconds since 1970. Written
 * by PUT or POST with the version that was read (not by apply: who loses must see the conflict). */
struct kube_lease {
    const char *name, *namespace;
    const char *version; /* "" = to be created */
    const char *holder;  /* "" = nobody */
    uint32_t duration_s;
    int64_t acquired_us, renewed_us;
    uint32_t transitions;
};

struct wire_value *kube_lease_make(struct a_arena *arena, const struct kube_lease *lease);
/* -EINVAL when it is no Lease. */
int kube_lease_read(const struct wire_value *v, struct kube_lease *ret, struct a_error *reterr) A_MUST_CHECK;

#endif
