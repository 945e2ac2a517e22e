/* Kubernetes decides here how many pods there are and which of them go, and knows nothing of claims: a new
 * template replaces pods one after the other, each of which is drained by its PreStop. */
#include "kube/workload.h"

#include "base/assert.h"
#include "kube/manifests.h"
#include "kube/objects_make.h"

static void copy_set(struct make *m, struct wire_value *to, const char *key, const struct wire_value *from)
{
    const struct wire_value *v = wire_value_get(from, key);
    if (v != NULL)
        wire_value_set(m->arena, to, key, wire_value_copy(m->arena, v));
}

static struct wire_value *deployment_make(struct make *m)
{
    const struct kube_pool_spec *s = m->spec;
    const char *name = a_arena_printf(m->arena, "astra-%s", s->name.s);
    struct wire_value *v = make_kind(m, "apps/v1", "Deployment", name, s->namespace);
    struct wire_value *pod = kube_pod_make(m->arena, m->agent, s, ""),
                      *metadata = wire_value_get(pod, "metadata");
    make_pool_labels(m, make_object(m, wire_value_get(v, "metadata"), "labels"), NULL, s->name.s);
    struct wire_value *spec = make_object(m, v, "spec"), *strategy, *template, *about;
    wire_value_set_int(m->arena, spec, "replicas", s->min);
    make_pool_labels(m, make_object(m, make_object(m, spec, "selector"), "matchLabels"), NULL, s->name.s);
    strategy = make_object(m, spec, "strategy");
    wire_value_set_string(m->arena, strategy, "type", "RollingUpdate");
    strategy = make_object(m, strategy, "rollingUpdate");
    wire_value_set_int(m->arena, strategy, "maxUnavailable", 0);
    wire_value_set_string(m->arena, strategy, "maxSurge", "10%");
    template = make_object(m, spec, "template");
    about = make_object(m, template, "metadata");
    copy_set(m, about, "labels", metadata);
    copy_set(m, about, "annotations", metadata);
    copy_set(m, template, "spec", pod);
    return v;
}

struct wire_value *kube_workload_make(struct a_arena *arena, const struct kube_agent_options *agent,
                                      const struct kube_pool_spec *spec)
{
    struct make m = {arena, agent, spec};
    struct wire_value *list = wire_value_new_array(arena);
    a_assert(agent->installation == NULL);
    wire_value_append(list, deployment_make(&m));
    wire_value_append(list, kube_network_policy_make(arena, agent, spec, spec->min));
    wire_value_append(list, kube_disruption_budget_make(arena, agent, spec, spec->min));
    return list;
}
