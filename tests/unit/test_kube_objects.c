/* What is applied: the pod has what it needs and no privilege, its digest tells templates apart, and a Lease
 * comes back. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/manifests.h"
#include "kube/time.h"
#include "kube/workload.h"

struct fixture {
    struct a_arena arena;
    struct kube_pool_spec spec;
    struct wire_value *pod;
};

static const struct kube_agent_options agent = {
    .installation = "i1", .image = "astra:1", .server = "astra.example:7701"};

static void spec_read(struct fixture *f, const char *more)
{
    struct wire_problems problems = {.arena = &f->arena};
    struct wire_value *doc;
    const char *text =
        a_arena_printf(&f->arena,
                       "kind: Pool\nmetadata: {name: gpu}\nspec:\n  cluster: east\n  max: 10\n  grace: 90s\n"
                       "  resources: {cpu: 4, memory: 8Gi, shm: 1Gi}\n%s",
                       more);
    assert_int_equal(wire_yaml_parse(&f->arena, a_view_str(text), "p", NULL, &doc, NULL), 0);
    struct wire_value *pool = kube_pool_check(&problems, doc);
    assert_non_null(pool);
    kube_pool_read(pool, &f->spec);
    f->pod = kube_pod_make(&f->arena, &agent, &f->spec, "gpu-abcde");
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    a_arena_deinit(&f->arena);
    return 0;
}

static const char *text_at(const struct wire_value *v, const char *path)
{
    static char text[4000];
    A_BUF_AUTO struct a_buf b = {0};
    const struct wire_value *at = wire_value_path(v, path);
    if (at == NULL)
        return "(none)";
    wire_json_print(&b, at, 0);
    snprintf(text, sizeof text, "%s", b.ptr);
    return text;
}

static const char *at(struct fixture *f, const char *path)
{
    return text_at(f->pod, path);
}

static bool holds(struct fixture *f, const char *path, const char *words)
{
    return strstr(at(f, path), words) != NULL;
}

static void test_pod(void **state)
{
    struct fixture *f = *state;
    spec_read(f, "  deviceClass: {resource: tencent.com/zhixiao, count: 2}\n  labels: {rack: r1}\n  "
                 "stability: spot\n");
    assert_string_equal(at(f, "metadata.name"), "\"gpu-abcde\"");
    assert_string_equal(at(f, "metadata.namespace"), "\"astra\"");
    assert_string_equal(
        wire_value_string(wire_value_get(wire_value_path(f->pod, "metadata.labels"), KUBE_LABEL_POOL), ""),
        "gpu");
    assert_string_equal(at(f, "spec.containers.0.command"), "[\"astra\",\"init\"]");
    static const char *const args[] = {"agent",
                                       "--server=astra.example:7701",
                                       "--cluster=east",
                                       "--network=east",
                                       "--name=$(ASTRA_POD_NAME)",
                                       "--address=$(ASTRA_POD_IP)",
                                       "--http=$(ASTRA_POD_IP):7703",
                                       "--cpu=4000m",
                                       "--label=astra-ray.dev/pod-uid=$(ASTRA_POD_UID)",
                                       "--label=rack=r1",
                                       "--label=astra-ray.dev/stability=spot",
                                       "--memory=8321499136"};
    for (size_t i = 0; i < A_ARRAY_SIZE(args); i++)
        if (!holds(f, "spec.containers.0.args", a_arena_printf(&f->arena, "\"%s\"", args[i])))
            fail_msg("no %s in %s", args[i], at(f, "spec.containers.0.args"));
    assert_string_equal(at(f, "spec.containers.0.resources.limits"),
                        "{\"cpu\":\"4000m\",\"memory\":\"8589934592\",\"ephemeral-storage\":\"21474836480\","
                        "\"tencent.com/zhixiao\":\"2\"}");
    assert_true(wire_value_equal(wire_value_path(f->pod, "spec.containers.0.resources.limits"),
                                 wire_value_path(f->pod, "spec.containers.0.resources.requests")));
    assert_string_equal(at(f, "spec.terminationGracePeriodSeconds"), "90");
    assert_string_equal(at(f, "spec.containers.0.lifecycle.preStop.exec.command"),
                        "[\"astra\",\"drain\",\"--self\",\"--data\",\"/var/lib/astra\",\"--grace\",\"88s\"]");
    assert_true(
        holds(f, "spec.volumes",
              "{\"name\":\"astra-shm\",\"emptyDir\":{\"medium\":\"Memory\",\"sizeLimit\":\"1073741824\"}}"));
    assert_true(holds(f, "spec.volumes", "\"projected\":{\"defaultMode\":288"));
}

static void test_no_privilege(void **state)
{
    struct fixture *f = *state;
    spec_read(f, "  template: {spec: {securityContext: {runAsUser: 1000, runAsNonRoot: false}}}\n");
    assert_string_equal(at(f, "spec.containers.0.securityContext"),
                        "{\"allowPrivilegeEscalation\":false,\"capabilities\":{\"drop\":[\"ALL\"]}}");
    assert_string_equal(
        at(f, "spec.securityContext"),
        "{\"runAsUser\":1000,\"runAsNonRoot\":true,\"runAsGroup\":65532,\"fsGroup\":65532,\"seccompProfile\":"
        "{\"type\":\"RuntimeDefault\"}}");
    assert_string_equal(at(f, "spec.automountServiceAccountToken"), "false");
    assert_string_equal(at(f, "status"), "(none)");
    assert_string_equal(at(f, "metadata.managedFields"), "(none)");
}

static void test_template(void **state)
{
    struct fixture *f = *state;
    spec_read(f, "  template:\n    metadata: {labels: {team: ml}}\n    spec:\n      nodeSelector: {a: b}\n"
                 "      containers:\n      - {name: side, image: side:1}\n"
                 "      - {name: agent, image: own:2, env: [{name: X, value: y}], volumeMounts: [{name: v, "
                 "mountPath: /v}]}\n"
                 "      volumes: [{name: v, emptyDir: {}}]\n");
    assert_string_equal(at(f, "spec.nodeSelector"), "{\"a\":\"b\"}");
    assert_string_equal(at(f, "metadata.labels.team"), "\"ml\"");
    assert_string_equal(at(f, "spec.containers.0.image"), "\"own:2\"");
    assert_true(holds(f, "spec.containers.0.env", "{\"name\":\"X\",\"value\":\"y\"}"));
    assert_true(holds(f, "spec.containers.0.volumeMounts", "{\"name\":\"v\",\"mountPath\":\"/v\"}"));
    assert_string_equal(at(f, "spec.containers.1"), "{\"name\":\"side\",\"image\":\"side:1\"}");
    assert_string_equal(at(f, "spec.containers.2"), "(none)");
    assert_string_equal(at(f, "spec.affinity"), "(none)"); /* what was not written is not applied */
    assert_true(holds(f, "spec.volumes", "{\"name\":\"v\",\"emptyDir\":{}}"));
}

/* The same for every pod of a template, another for every change of it; min, max and price are none. */
static void test_digest(void **state)
{
    struct fixture *f = *state;
    char one[KUBE_TEMPLATE_LEN + 1], two[KUBE_TEMPLATE_LEN + 1];
    spec_read(f, "  min: 1\n");
    kube_pod_template(&agent, &f->spec, one);
    assert_true(holds(f, "metadata.labels", one));
    spec_read(f, "  min: 2\n  price: 5\n  surge: 3\n");
    kube_pod_template(&agent, &f->spec, two);
    assert_string_equal(one, two);
    spec_read(f, "  template: {spec: {nodeSelector: {a: b}}}\n");
    kube_pod_template(&agent, &f->spec, two);
    assert_string_not_equal(one, two);
    assert_string_equal(kube_pool_selector(&f->arena, "i1", "gpu"),
                        "astra-ray.dev/installation=i1,astra-ray.dev/pool=gpu");
}

static void test_lease(void **state)
{
    struct fixture *f = *state;
    struct kube_lease lease = {.name = "astra-i1",
                               .namespace = "astra",
                               .version = "",
                               .holder = "s1",
                               .duration_s = 15,
                               .acquired_us = 1785579630123456,
                               .renewed_us = 1785579635000001,
                               .transitions = 3};
    struct kube_lease back;
    struct wire_value *v = kube_lease_make(&f->arena, &lease);
    assert_string_equal(text_at(v, "spec.acquireTime"), "\"2026-08-01T10:20:30.123456Z\"");
    assert_string_equal(text_at(v, "metadata.resourceVersion"), "(none)");
    lease.version = "7";
    assert_int_equal(kube_lease_read(kube_lease_make(&f->arena, &lease), &back, NULL), 0);
    assert_string_equal(back.version, "7");
    assert_string_equal(back.holder, "s1");
    assert_true(back.acquired_us == lease.acquired_us && back.renewed_us == lease.renewed_us);
    assert_true(back.duration_s == 15 && back.transitions == 3);
    assert_int_equal(kube_lease_read(f->pod, &back, NULL), -EINVAL);
}

static void test_time(void **state)
{
    (void)state;
    static const char *const wrong[] = {"",
                                        "2026-08-01",
                                        "2026-08-01T10:20:30",
                                        "2026-08-01T10:20:30.Z",
                                        "2026-13-01T10:20:30Z",
                                        "2026-08-01T10:20:30+02:00",
                                        "2026-08-01T24:20:30Z",
                                        "x026-08-01T10:20:30Z"};
    char text[KUBE_TIME_LEN + 1];
    int64_t us;
    for (size_t i = 0; i < A_ARRAY_SIZE(wrong); i++)
        if (kube_time_parse(a_view_str(wrong[i]), &us))
            fail_msg("taken: %s", wrong[i]);
    for (int64_t day = -30000; day < 60000; day += 7) { /* 1887 to 2134 */
        kube_time_print(day * INT64_C(86400000000) + 12345678901, text);
        assert_true(kube_time_parse(a_view_str(text), &us));
        assert_true(us == day * INT64_C(86400000000) + 12345678901);
    }
    assert_true(kube_time_parse(a_view_str("2024-02-29T12:34:56.5Z"), &us));
    assert_true(us == 1709210096500000);
}

static void test_manifests(void **state)
{
    struct fixture *f = *state;
    spec_read(f, "");
    struct wire_value *list =
        kube_manifests_make(&f->arena, &(struct kube_manifest_options){.namespace = "ml"});
    static const char *const kinds[] = {"Namespace", "ServiceAccount", "Secret", "Role", "RoleBinding"};
    assert_int_equal(wire_value_count(list), A_ARRAY_SIZE(kinds));
    for (size_t i = 0; i < A_ARRAY_SIZE(kinds); i++)
        assert_string_equal(wire_value_string(wire_value_get(wire_value_at(list, i), "kind"), ""), kinds[i]);
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, list, 0);
    assert_null(strstr(b.ptr, "\"*\"")); /* nothing of everything */
    assert_null(strstr(b.ptr, "Cluster"));
    static const struct {
        uint32_t pods;
        const char *text;
    } budgets[] = {{0, "0"}, {1, "0"}, {9, "8"}, {20, "18"}, {25, "23"}};
    for (size_t i = 0; i < A_ARRAY_SIZE(budgets); i++) {
        struct wire_value *budget = kube_disruption_budget_make(&f->arena, &agent, &f->spec, budgets[i].pods);
        assert_string_equal(text_at(budget, "spec.minAvailable"), budgets[i].text);
    }
    struct kube_agent_options outside = agent;
    outside.gateway_blocks = (const char *const[]){"10.0.0.0/8", NULL};
    struct wire_value *policy = kube_network_policy_make(&f->arena, &outside, &f->spec, 1);
    assert_non_null(
        strstr(text_at(policy, "spec.ingress.0.from"), "{\"ipBlock\":{\"cidr\":\"10.0.0.0/8\"}}"));
    assert_string_equal(text_at(policy, "spec.ingress.0.ports"),
                        "[{\"protocol\":\"TCP\",\"port\":20000,\"endPort\":29999}]");
    assert_non_null(strstr(text_at(policy, "spec.egress"), "169.254.169.254/32"));
}

/* A pool's pods without a server that counts them: its labels are on nothing of it, and the pod is the same.
 */
static void test_workload(void **state)
{
    struct fixture *f = *state;
    struct kube_agent_options none = agent;
    none.installation = NULL;
    spec_read(f, "  min: 3\n  template: {metadata: {annotations: {a: b}}}\n");
    struct wire_value *list = kube_workload_make(&f->arena, &none, &f->spec),
                      *deployment = wire_value_at(list, 0);
    static const char *const kinds[] = {"Deployment", "NetworkPolicy", "PodDisruptionBudget"};
    for (size_t i = 0; i < A_ARRAY_SIZE(kinds); i++) {
        A_BUF_AUTO struct a_buf b = {0};
        assert_string_equal(wire_value_string(wire_value_get(wire_value_at(list, i), "kind"), ""), kinds[i]);
        wire_json_print(&b, wire_value_at(list, i), 0);
        assert_null(strstr(b.ptr, KUBE_LABEL_INSTALLATION));
    }
    assert_string_equal(text_at(deployment, "spec.replicas"), "3");
    assert_string_equal(text_at(deployment, "spec.strategy.rollingUpdate.maxUnavailable"), "0");
    assert_true(
        wire_value_equal(wire_value_path(deployment, "spec.template.spec"), wire_value_get(f->pod, "spec")));
    assert_string_equal(text_at(deployment, "spec.template.metadata.annotations"), "{\"a\":\"b\"}");
    /* what selects them, everywhere: never all pods of a namespace */
    const char *labels = "{\"app.kubernetes.io/name\":\"astra-agent\",\"astra-ray.dev/pool\":\"gpu\"}";
    assert_string_equal(text_at(deployment, "spec.selector.matchLabels"), labels);
    assert_string_equal(text_at(wire_value_at(list, 1), "spec.podSelector.matchLabels"), labels);
    assert_string_equal(text_at(wire_value_at(list, 1), "spec.ingress.0.from.1.podSelector.matchLabels"),
                        "{\"app.kubernetes.io/name\":\"astra-agent\"}");
    assert_string_equal(text_at(wire_value_at(list, 2), "spec.selector.matchLabels"), labels);
    assert_string_equal(text_at(wire_value_at(list, 2), "spec.minAvailable"), "2");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_pod),   TEST(test_no_privilege),     TEST(test_template),  TEST(test_digest),
        TEST(test_lease), cmocka_unit_test(test_time), TEST(test_manifests), TEST(test_workload),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
