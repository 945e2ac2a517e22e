/* The Pool checker, on what users write: any YAML. What it passes is complete: checked again it is passed
 * unchanged, it is read, and pods are made of it whose digest is the same twice. What it refuses names a
 * field. Times ride along. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "kube/manifests.h"
#include "kube/time.h"

static void pool_use(struct a_arena *arena, const struct wire_value *pool)
{
    const struct kube_agent_options agent = {.installation = "i1", .image = "astra", .server = "s:7701"};
    struct wire_problems p = {.arena = arena};
    struct kube_pool_spec spec;
    char one[KUBE_TEMPLATE_LEN + 1], two[KUBE_TEMPLATE_LEN + 1];
    struct wire_value *again = kube_pool_check(&p, pool);
    a_assert(again != NULL && p.n_errors == 0 && wire_value_equal(pool, again));
    kube_pool_read(pool, &spec);
    a_assert(spec.min <= spec.max && spec.grace_ms > 0 && kube_pool_shm(&spec) > 0);
    kube_pod_template(&agent, &spec, one);
    kube_pod_template(&agent, &spec, two);
    a_assert(strcmp(one, two) == 0);
    struct wire_value *pod = kube_pod_make(arena, &agent, &spec, "p");
    a_assert(!wire_value_bool(wire_value_path(pod, "spec.automountServiceAccountToken"), true));
    a_assert(wire_value_bool(wire_value_path(pod, "spec.securityContext.runAsNonRoot"), false));
    a_assert(kube_network_policy_make(arena, &agent, &spec, 3) != NULL);
    a_assert(kube_disruption_budget_make(arena, &agent, &spec, 3) != NULL);
}

static void time_use(struct a_view text)
{
    char printed[KUBE_TIME_LEN + 1];
    int64_t us, back;
    if (!kube_time_parse(text, &us))
        return;
    kube_time_print(us, printed);
    a_assert(kube_time_parse(a_view_str(printed), &back) && back == us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct wire_value_limits limits = {.bytes = 65536, .nodes = 1000, .depth = 32};
    struct wire_problems p = {.arena = &arena};
    struct wire_value *doc;
    time_use((struct a_view){(const char *)data, size});
    if (wire_yaml_parse(&arena, (struct a_view){(const char *)data, size}, "f", &limits, &doc, NULL) != 0)
        return 0;
    struct wire_value *pool = kube_pool_check(&p, doc);
    a_assert((pool != NULL) == (p.n_errors == 0));
    for (const struct wire_problem *it = p.first; it != NULL; it = it->next)
        a_assert(it->message[0] != '\0' && it->field != NULL);
    if (pool != NULL)
        pool_use(&arena, pool);
    return 0;
}
