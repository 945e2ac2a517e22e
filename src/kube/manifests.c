#include "kube/manifests.h"

#include "kube/crd.h"
#include "kube/objects_make.h"

#define MEMBERS_FIRST 20000
#define MEMBERS_LAST 29999
#define P2P_PORT 7702

/* ---- what an operator applies ---- */

/* One row is one rule of a role: what the server really calls. `name` NULL = any of that kind. */
struct rule {
    const char *group, *resource, *name;
    const char *verbs[7];
};

/* In the namespace of the pools. */
static const struct rule rules[] = {
    {"", "pods", NULL, {"get", "list", "watch", "create", "patch", "delete"}},
    {"", "secrets", NULL, {"create"}}, /* a name cannot be asked for here: it does not exist yet */
    {"", "secrets", KUBE_JOIN_SECRET, {"get", "patch"}},
    {"coordination.k8s.io", "leases", NULL, {"get", "create", "update"}},
    {"networking.k8s.io", "networkpolicies", NULL, {"create", "patch", "delete"}},
    {"policy", "poddisruptionbudgets", NULL, {"create", "patch", "delete"}},
    {"", "services", NULL, {"get", "list", "create", "patch", "delete"}},
    {"discovery.k8s.io", "endpointslices", NULL, {"list", "create", "patch", "delete"}},
};

/* In all namespaces: who applies an App or a Pool chooses where. Patched are the finalizer and the status. */
static const struct rule custom_rules[] = {
    {KUBE_CUSTOM_GROUP, "apps", NULL, {"get", "list", "watch", "patch"}},
    {KUBE_CUSTOM_GROUP, "pools", NULL, {"get", "list", "watch", "patch"}},
    {KUBE_CUSTOM_GROUP, "apps/status", NULL, {"patch"}},
    {KUBE_CUSTOM_GROUP, "pools/status", NULL, {"patch"}},
};

static struct wire_value *namespace_make(struct make *m, const char *name)
{
    struct wire_value *v = make_kind(m, "v1", "Namespace", name, NULL);
    struct wire_value *labels = make_object(m, wire_value_get(v, "metadata"), "labels");
    wire_value_set_string(m->arena, labels, "pod-security.kubernetes.io/enforce", "baseline");
    wire_value_set_string(m->arena, labels, "pod-security.kubernetes.io/warn", "restricted");
    return v;
}

static struct wire_value *token_make(struct make *m, const char *account, const char *namespace)
{
    const char *name = a_arena_printf(m->arena, "%s-token", account);
    struct wire_value *v = make_kind(m, "v1", "Secret", name, namespace);
    struct wire_value *annotations = make_object(m, wire_value_get(v, "metadata"), "annotations");
    wire_value_set_string(m->arena, annotations, "kubernetes.io/service-account.name", account);
    wire_value_set_string(m->arena, v, "type", "kubernetes.io/service-account-token");
    return v;
}

/* `namespace` NULL = a ClusterRole. */
static struct wire_value *role_make(struct make *m, const char *name, const char *namespace,
                                    const struct rule *given, size_t n)
{
    struct wire_value *v = make_kind(m, "rbac.authorization.k8s.io/v1",
                                     namespace != NULL ? "Role" : "ClusterRole", name, namespace);
    struct wire_value *list = make_array(m, v, "rules");
    for (size_t i = 0; i < n; i++) {
        struct wire_value *rule = make_item(m, list);
        make_texts(m, rule, "apiGroups", (const char *const[]){given[i].group, NULL});
        make_texts(m, rule, "resources", (const char *const[]){given[i].resource, NULL});
        if (given[i].name != NULL)
            make_texts(m, rule, "resourceNames", (const char *const[]){given[i].name, NULL});
        make_texts(m, rule, "verbs", given[i].verbs);
    }
    return v;
}

/* Binds `role` (a ClusterRole where `cluster`) to the account of the namespace. */
static struct wire_value *binding_make(struct make *m, const char *name, bool cluster, const char *role,
                                       const char *account, const char *namespace)
{
    struct wire_value *v =
        make_kind(m, "rbac.authorization.k8s.io/v1", cluster ? "ClusterRoleBinding" : "RoleBinding", name,
                  cluster ? NULL : namespace);
    struct wire_value *ref = make_object(m, v, "roleRef"),
                      *subject = make_item(m, make_array(m, v, "subjects"));
    wire_value_set_string(m->arena, ref, "apiGroup", "rbac.authorization.k8s.io");
    wire_value_set_string(m->arena, ref, "kind", cluster ? "ClusterRole" : "Role");
    wire_value_set_string(m->arena, ref, "name", role);
    wire_value_set_string(m->arena, subject, "kind", "ServiceAccount");
    wire_value_set_string(m->arena, subject, "name", account);
    wire_value_set_string(m->arena, subject, "namespace", namespace);
    return v;
}

static void custom_make(struct make *m, struct wire_value *list, const struct wire_schema *app,
                        const char *account, const char *namespace)
{
    const char *role = "astra-custom-resources";
    const char *binding = a_arena_printf(m->arena, "%s-%s-%s", role, namespace, account);
    wire_value_foreach(crd, kube_crds_make(m->arena, app))
        wire_value_append(list, wire_value_copy(m->arena, crd));
    wire_value_append(list, role_make(m, role, NULL, custom_rules, A_ARRAY_SIZE(custom_rules)));
    wire_value_append(list, binding_make(m, binding, true, role, account, namespace));
}

struct wire_value *kube_manifests_make(struct a_arena *arena, const struct kube_manifest_options *options)
{
    struct make m = {.arena = arena};
    const char *account = options->service_account != NULL ? options->service_account : "astra";
    struct wire_value *list = wire_value_new_array(arena);
    wire_value_append(list, namespace_make(&m, options->namespace));
    wire_value_append(list, make_kind(&m, "v1", "ServiceAccount", account, options->namespace));
    wire_value_append(list, token_make(&m, account, options->namespace));
    wire_value_append(list, role_make(&m, account, options->namespace, rules, A_ARRAY_SIZE(rules)));
    wire_value_append(list, binding_make(&m, account, false, account, account, options->namespace));
    if (options->app != NULL)
        custom_make(&m, list, options->app, account, options->namespace);
    return list;
}

/* ---- for each pool ---- */

static struct wire_value *selector_set(struct make *m, struct wire_value *parent, const char *key,
                                       const char *pool)
{
    struct wire_value *selector = make_object(m, parent, key);
    make_pool_labels(m, make_object(m, selector, "matchLabels"), m->agent->installation, pool);
    return selector;
}

static void port_add(struct make *m, struct wire_value *ports, const char *protocol, int first, int last)
{
    struct wire_value *p = make_item(m, ports);
    wire_value_set_string(m->arena, p, "protocol", protocol);
    wire_value_set_int(m->arena, p, "port", first);
    if (last > first)
        wire_value_set_int(m->arena, p, "endPort", last);
}

static void block_add(struct make *m, struct wire_value *peers, const char *cidr, const char *except)
{
    struct wire_value *block = make_object(m, make_item(m, peers), "ipBlock");
    wire_value_set_string(m->arena, block, "cidr", cidr);
    if (except != NULL)
        make_texts(m, block, "except", (const char *const[]){except, NULL});
}

/* Members' ports: from pods of pools of this installation, wherever they are, and from gateways. */
static void members_rule_make(struct make *m, struct wire_value *ingress)
{
    struct wire_value *rule = make_item(m, ingress), *from = make_array(m, rule, "from");
    struct wire_value *gateway = make_item(m, from);
    struct wire_value *pods = make_item(m, from);
    (void)make_object(m, gateway, "namespaceSelector"); /* any */
    wire_value_set_string(m->arena, make_object(m, make_object(m, gateway, "podSelector"), "matchLabels"),
                          "app.kubernetes.io/name", "astra-gateway");
    (void)make_object(m, pods, "namespaceSelector");
    (void)selector_set(m, pods, "podSelector", NULL);
    for (const char *const *b = m->agent->gateway_blocks; b != NULL && *b != NULL; b++)
        block_add(m, from, *b, NULL);
    port_add(m, make_array(m, rule, "ports"), "TCP", MEMBERS_FIRST, MEMBERS_LAST);
}

struct wire_value *kube_network_policy_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                            const struct kube_pool_spec *spec, uint32_t pods)
{
    (void)pods;
    struct make m = {arena, agent, spec};
    const char *name = a_arena_printf(arena, "astra-%s", spec->name.s);
    struct wire_value *v = make_kind(&m, "networking.k8s.io/v1", "NetworkPolicy", name, spec->namespace);
    make_pool_labels(&m, make_object(&m, wire_value_get(v, "metadata"), "labels"), agent->installation,
                     spec->name.s);
    struct wire_value *body = make_object(&m, v, "spec");
    (void)selector_set(&m, body, "podSelector", spec->name.s);
    make_texts(&m, body, "policyTypes", (const char *const[]){"Ingress", "Egress", NULL});
    struct wire_value *ingress = make_array(&m, body, "ingress");
    members_rule_make(&m, ingress);
    port_add(&m, make_array(&m, make_item(&m, ingress), "ports"), "UDP", P2P_PORT, P2P_PORT);
    /* out to anywhere but the address at which clouds hand out the node's own credentials */
    struct wire_value *to = make_array(&m, make_item(&m, make_array(&m, body, "egress")), "to");
    block_add(&m, to, "0.0.0.0/0", "169.254.169.254/32");
    block_add(&m, to, "::/0", "fd00:ec2::254/128");
    return v;
}

struct wire_value *kube_disruption_budget_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                               const struct kube_pool_spec *spec, uint32_t pods)
{
    struct make m = {arena, agent, spec};
    const char *name = a_arena_printf(arena, "astra-%s", spec->name.s);
    struct wire_value *v = make_kind(&m, "policy/v1", "PodDisruptionBudget", name, spec->namespace);
    make_pool_labels(&m, make_object(&m, wire_value_get(v, "metadata"), "labels"), agent->installation,
                     spec->name.s);
    struct wire_value *body = make_object(&m, v, "spec");
    (void)selector_set(&m, body, "selector", spec->name.s);
    /* Pods without a controller of Kubernetes' own: only a number, and only this one, means something. */
    wire_value_set_int(arena, body, "minAvailable", pods - A_MIN(pods, A_MAX(pods / 10, 1u)));
    wire_value_set_string(arena, body, "unhealthyPodEvictionPolicy", "AlwaysAllow");
    return v;
}
