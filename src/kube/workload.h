/* Agents as a Deployment of Kubernetes' own: the pods of a pool for a cluster of which the server has no
 * credentials. `astra pool manifests` prints them. */
#ifndef KUBE_WORKLOAD_H
#define KUBE_WORKLOAD_H

#include "kube/objects.h"

/* An array: Deployment (min pods, whose template is that of kube_pod_make), NetworkPolicy,
 * PodDisruptionBudget. `agent->installation` is NULL: no server takes these pods for its pools'. In the
 * caller's arena. */
struct wire_value *kube_workload_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                      const struct kube_pool_spec *spec);

#endif
