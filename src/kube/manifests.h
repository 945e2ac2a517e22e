/* What an operator applies before Astra may use a cluster, and what Astra applies for a pool besides its
 * pods: `astra cluster manifests` prints the first. Trees live in the caller's arena. */
#ifndef KUBE_MANIFESTS_H
#define KUBE_MANIFESTS_H

#include "kube/objects.h"

struct kube_manifest_options {
    const char *namespace;       /* where the pools are */
    const char *service_account; /* NULL = "astra" */
    const struct wire_schema
        *app; /* the App's table: with the custom resources App and Pool; NULL = without */
};

/* An array: Namespace, ServiceAccount and a Secret with a token of it (without an end), Role and RoleBinding
 * with what the server really calls and no more. Nothing of it but the Namespace is cluster-wide. With `app`
 * also the CustomResourceDefinitions, and a ClusterRole with a binding that lets the account read these two
 * kinds everywhere and write their finalizers and status. */
struct wire_value *kube_manifests_make(struct a_arena *arena, const struct kube_manifest_options *options);

/* For one pool: who may reach its members (pods of pools of the same installation, and the gateways) and that
 * they may call anything but the cloud's own metadata. However many pods it has. */
struct wire_value *kube_network_policy_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                            const struct kube_pool_spec *spec, uint32_t pods);
/* For one pool of `pods` pods: evictions may take a tenth of it at once, and one at least. */
struct wire_value *kube_disruption_budget_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                               const struct kube_pool_spec *spec, uint32_t pods);

#endif
