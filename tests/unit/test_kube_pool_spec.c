/* The Pool as it is written: defaults, what Astra owns, and that every problem says where. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "checked.h"
#include "kube/pool_spec.h"

static struct wire_value *check(struct fixture *f, const char *text)
{
    f->problems = (struct wire_problems){.arena = &f->arena};
    return kube_pool_check(&f->problems, yaml(f, text));
}

#define HEAD                                                                                                 \
    "kind: Pool\nmetadata: {name: gpu}\nspec:\n  cluster: east\n  max: 10\n  resources: {cpu: 4, memory: "   \
    "8Gi}\n"

static void test_whole(void **state)
{
    struct fixture *f = *state;
    struct kube_pool_spec s;
    struct wire_value *v =
        check(f, HEAD "  min: 2\n  namespace: ml\n  price: 1.25\n  stability: spot\n  grace: 2m\n  surge: 3\n"
                      "  deviceClass: {resource: huawei.com/Ascend910, count: 2}\n"
                      "  labels: {rack: r1}\n"
                      "  template: {spec: {nodeSelector: {a: b}, tolerations: [{operator: Exists}]}}\n");
    assert_non_null(v);
    kube_pool_read(v, &s);
    assert_string_equal(s.name.s, "gpu");
    assert_string_equal(s.cluster.s, "east");
    assert_string_equal(s.namespace, "ml");
    assert_string_equal(s.device_resource, "huawei.com/Ascend910");
    assert_int_equal(s.device_count, 2);
    assert_int_equal(s.mcpu, 4000);
    assert_true(s.memory_bytes == UINT64_C(8) << 30 && s.ephemeral_bytes == UINT64_C(20) << 30);
    assert_true(s.min == 2 && s.max == 10 && s.surge == 3 && s.price == 1.25);
    assert_int_equal(s.stability, KUBE_SPOT);
    assert_int_equal(s.grace_ms, 120000);
    assert_true(kube_pool_shm(&s) == s.memory_bytes / 5);
    assert_string_equal(wire_value_string(wire_value_path(s.template, "spec.nodeSelector.a"), ""), "b");
    struct wire_problems again = {.arena = &f->arena}; /* what is complete is passed unchanged */
    assert_true(wire_value_equal(v, kube_pool_check(&again, v)));
}

static void test_defaults(void **state)
{
    struct fixture *f = *state;
    struct kube_pool_spec s;
    struct wire_value *v = check(f, HEAD);
    assert_non_null(v);
    kube_pool_read(v, &s);
    assert_string_equal(s.namespace, "astra");
    assert_null(s.device_resource);
    assert_true(s.min == 0 && s.surge == 0 && s.grace_ms == 300000 && s.stability == KUBE_STABLE);
}

/* The text is refused, and one of the problems is printed so. */
static void refused(struct fixture *f, const char *text, const char *words)
{
    A_BUF_AUTO struct a_buf b = {0};
    if (check(f, text) != NULL)
        fail_msg("taken: %s", text);
    wire_problems_print(&b, &f->problems, "pool.yaml");
    if (strstr(b.ptr, words) == NULL)
        fail_msg("wanted %s in: %s", words, b.ptr);
}

static void test_refused(void **state)
{
    struct fixture *f = *state;
    refused(f, HEAD "  min: 11\n", "pool.yaml:5:8: spec.max: is smaller than min");
    refused(f, HEAD "  maxx: 1\n", "pool.yaml:7:3: spec.maxx: no such field (did you mean max?)");
    refused(f, HEAD "  grace: 5s\n", "spec.grace: expected at least 10s");
    refused(f, HEAD "  namespace: A_b\n", "spec.namespace: expected a-z");
    refused(f, HEAD "  deviceClass: {resource: gpu}\n",
            "spec.deviceClass.resource: expected DOMAIN/NAME (for example");
    refused(f, HEAD "  deviceClass: {resource: nvidia./gpu}\n", "expected DOMAIN/NAME");
    refused(f, HEAD "  stability: sopt\n", "did you mean spot?");
    refused(f, HEAD "  price: -1\n", "spec.price: expected a number, 0 or more");
    refused(f, HEAD "  labels: {astra-ray.dev/pool: x}\n",
            "names that begin with astra-ray.dev/ are Astra's");
    refused(f, HEAD "  labels: {'a b': x}\n", "spec.labels.a b: expected [DOMAIN/]NAME");
    refused(f, HEAD "  labels: {a: 'b c'}\n", "spec.labels.a: expected at most 63");
    refused(f, "kind: App\n", "kind: expected Pool");
    refused(f, "[]", "start with kind: Pool");
    refused(f,
            "kind: Pool\nmetadata: {name: gpu}\nspec: {cluster: c, max: 1, resources: {cpu: 1, memory: 1Gi, "
            "shm: 2Gi}}\n",
            "spec.resources.shm: is larger than memory");
}

/* What Astra owns of a pod, with the field that is meant. */
static void test_owned(void **state)
{
    struct fixture *f = *state;
#define SPEC HEAD "  template:\n    spec:\n"
    refused(
        f, SPEC "      terminationGracePeriodSeconds: 5\n",
        "pool.yaml:9:7: spec.template.spec.terminationGracePeriodSeconds: is set by Astra (set spec.grace)");
    refused(f, SPEC "      hostNetwork: true\n",
            "spec.template.spec.hostNetwork: is set by Astra (agents run without");
    refused(f, SPEC "      tolerationz: []\n", "did you mean tolerations?");
    refused(f, SPEC "      containers: [{name: agent, command: [x]}]\n",
            "spec.template.spec.containers[0].command: is set by Astra");
    refused(f, SPEC "      containers: [{name: agent, resources: {}}]\n",
            "(set spec.resources and spec.deviceClass)");
    refused(f, SPEC "      containers: [{image: x}]\n",
            "spec.template.spec.containers[0]: expected a container with a name");
    refused(f, SPEC "      volumes: [{name: astra-shm}]\n", "names that begin with astra- are Astra's");
    assert_non_null(
        check(f, SPEC "      containers: [{name: agent, image: x, env: []}, {name: side, command: [x]}]\n"));
    (void)check(f, SPEC "      hostPID: true\n      restartPolicy: Never\n");
    assert_int_equal(f->problems.n_errors, 2); /* each once */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_owned, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
