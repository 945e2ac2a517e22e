/* What an operator applies before Astra may use a cluster, and what Astra applies for a pool besides its
 * pods: `astra cluster manifests` prints the first. Trees live in the caller's arena. */
#ifndef KUBE_MANIFESTS_H
#define KUBE_MANIFESTS_H

#include "kube/objects.h"

struct kube_manifest_options {
    const char *namespace; /* where the pools are */
    const char
        *installation; /* NULL = left out: its lease's name is not known before the first server starts */
    const char *service_account;        /* NULL = "astra" */
    unsigned server_port, gateway_port; /* 0 = 7701, 8080 */
};

/* An array: Namespace, ServiceAccount and a Secret with its token (a token of its own, without an end), Role
 * and RoleBinding with what the role really calls and no more. Nothing of it is cluster-wide. */
struct wire_value *kube_manifests_make(struct a_arena *arena, const struct kube_manifest_options *options);

/* For one pool: who may reach its agents and members (pods of pools of the same installation, and whoever the
 * gateways are), and what they may call. Ports of members are 20000-29999. */
struct wire_value *kube_network_policy_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                            const struct kube_pool_spec *spec);
/* For one pool: an eviction may take a tenth of it at once. */
struct wire_value *kube_disruption_budget_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                               const struct kube_pool_spec *spec);

#endif
