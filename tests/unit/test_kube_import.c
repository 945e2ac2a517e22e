/* RayServices and RayClusters to Apps. tests/data/import/ has objects, and beside each what becomes of it:
 * NAME.app.yaml and NAME.report. GOLDEN=write writes those anew, to be read before they are committed. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "kube/rayservice.h"
#include "unit/app.h"

struct fixture {
    struct a_arena arena;
    struct a_error error;
    struct wire_problems report;
    struct wire_value *app;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.report.arena = &f.arena};
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    a_arena_deinit(&f->arena);
    a_error_deinit(&f->error);
    return 0;
}

static int import_text(struct fixture *f, const char *text, const struct kube_import_options *options)
{
    f->report = (struct wire_problems){.arena = &f->arena};
    return kube_rayservice_import(&f->arena, a_view_str(text), "f", options, &f->report, &f->app, &f->error);
}

/* ---- golden files ---- */

static void file_read(const char *name, struct a_buf *b)
{
    char path[512];
    snprintf(path, sizeof path, "%s/import/%s", TEST_DATA, name);
    FILE *file = fopen(path, "r");
    if (file == NULL)
        fail_msg("%s: %s", path, strerror(errno));
    for (int c; (c = fgetc(file)) != EOF;)
        a_buf_add_char(b, (char)c);
    fclose(file);
}

static void golden(const char *name, struct a_view got)
{
    A_BUF_AUTO struct a_buf want = {0};
    const char *mode = getenv("GOLDEN");
    if (mode != NULL && strcmp(mode, "write") == 0) {
        char path[512];
        snprintf(path, sizeof path, "%s/import/%s", TEST_DATA, name);
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fwrite(got.ptr, 1, got.len, file);
        fclose(file);
    }
    file_read(name, &want);
    if (!a_view_equal(a_buf_view(&want), got))
        fail_msg("%s differs; got:\n" A_VIEW_FMT, name, A_VIEW_ARG(got));
}

static void golden_check(struct fixture *f, const char *input, const char *name,
                         const struct kube_import_options *options)
{
    A_BUF_AUTO struct a_buf text = {0}, app = {0}, report = {0};
    file_read(input, &text);
    if (import_text(f, text.ptr, options) != 0)
        fail_msg("%s", a_error_text(&f->error));
    wire_yaml_print(&app, f->app);
    wire_problems_print(&report, &f->report, input);
    golden(a_arena_printf(&f->arena, "%s.app.yaml", name), a_buf_view(&app));
    golden(a_arena_printf(&f->arena, "%s.report", name), a_buf_view(&report));
}

/* What this release acts on passes the checker. */
static void test_everything(void **state)
{
    struct fixture *f = *state;
    struct wire_problems p = {.arena = &f->arena};
    struct wire_value *completed = NULL;
    golden_check(f, "everything.yaml", "everything",
                 &(struct kube_import_options){.schema = &unit_app_schema});
    unit_app_check(&p, f->app, &completed);
    assert_null(completed); /* no environment was given */
    assert_int_equal(p.n_errors, 1);
    assert_string_equal(p.first->field, "spec.environment");
    const struct kube_import_options given = {.schema = &unit_app_schema,
                                              .name = "reader",
                                              .namespace = "text",
                                              .requirements = "r.txt",
                                              .code = "."};
    golden_check(f, "everything.yaml", "given", &given);
    unit_app_check(&p, f->app, &completed);
    assert_non_null(completed);
}

/* Every field of an App alive: what waits for a capability is mapped, too. */
static void test_whole(void **state)
{
    struct fixture *f = *state;
    golden_check(f, "everything.yaml", "whole", &(struct kube_import_options){.artifact = "env@1"});
}

static void test_plain(void **state)
{
    struct fixture *f = *state;
    struct wire_value *serve;
    golden_check(f, "plain.yaml", "plain", &(struct kube_import_options){.schema = &unit_app_schema});
    assert_int_equal(wire_yaml_parse(&f->arena, A_VIEW_LIT("applications: [{import_path: a:b, port: 1}]"),
                                     "s", NULL, &serve, NULL),
                     0);
    golden_check(
        f, "plain.yaml", "plain.serve",
        &(struct kube_import_options){.schema = &unit_app_schema, .artifact = "env@1", .serve = serve});
}

/* ---- which object ---- */

#define CLUSTER(name) "apiVersion: ray.io/v1\nkind: RayCluster\nmetadata: {name: " name "}\n"

static void refused(struct fixture *f, const char *text, const char *object, int rc, const char *words)
{
    assert_int_equal(import_text(f, text, &(struct kube_import_options){.object = object}), rc);
    if (strstr(a_error_text(&f->error), words) == NULL)
        fail_msg("wanted %s in: %s", words, a_error_text(&f->error));
}

static void test_choice(void **state)
{
    struct fixture *f = *state;
    static const char two[] = CLUSTER("a") "---\n" CLUSTER("b");
    refused(f, "", NULL, -ENOENT, "nothing");
    refused(f, "kind: Service\nmetadata: {name: s}", NULL, -ENOENT, "Service/s");
    refused(f, "apiVersion: apps/v1\nkind: RayCluster", NULL, -ENOENT, "RayCluster/?");
    refused(f, two, NULL, -ENOENT, "--object (RayCluster/a, RayCluster/b)");
    refused(f, two, "c", -ENOENT, "called c");
    refused(f, "[", NULL, -EINVAL, "f:");
    refused(f, "a: &x 1", NULL, -EINVAL, "f:1:");
    assert_int_equal(import_text(f, two, &(struct kube_import_options){.object = "b"}), 0);
    assert_string_equal(wire_value_string(wire_value_path(f->app, "metadata.name"), ""), "b");
    /* what kubectl get -o yaml prints */
    static const char list[] =
        "kind: List\napiVersion: v1\nitems:\n- apiVersion: ray.io/v1\n  kind: RayCluster\n"
        "  metadata: {name: in-list}\n  status: {x: 1}\n";
    assert_int_equal(import_text(f, list, &(struct kube_import_options){0}), 0);
    assert_string_equal(wire_value_string(wire_value_path(f->app, "metadata.name"), ""), "in-list");
}

/* ---- the config within ---- */

static void test_serve_errors(void **state)
{
    struct fixture *f = *state;
    static const char head[] = "apiVersion: ray.io/v1\nkind: RayService\nmetadata: {name: a}\nspec:\n";
    const char *text =
        a_arena_printf(&f->arena, "%s  serveConfigV2: |\n    applications:\n    - a: {\n", head);
    refused(f, text, NULL, -EINVAL, "f:8:");
    text = a_arena_printf(&f->arena, "%s  serveConfigV2: {applications: []}\n", head);
    assert_int_equal(import_text(f, text, &(struct kube_import_options){0}), 0);
    assert_string_equal(f->report.last->field, "spec.serveConfigV2");
    assert_int_equal(f->report.last->line, 5);
}

/* ---- what is not what it should be ---- */

/* The first thing told of `spec` has this field and these words. */
static void told(struct fixture *f, const char *spec, const char *field, const char *words)
{
    const char *text = a_arena_printf(&f->arena, "%sspec: %s\n", CLUSTER("a"), spec);
    assert_int_equal(import_text(f, text, &(struct kube_import_options){0}), 0);
    for (const struct wire_problem *p = f->report.first; p != NULL; p = p->next)
        if (strcmp(p->field, field) == 0 && strstr(p->message, words) != NULL)
            return;
    fail_msg("%s: nothing says \"%s\" of %s", spec, words, field);
}

static void test_strange(void **state)
{
    struct fixture *f = *state;
    told(f, "[1]", "spec", "expected a mapping");
    told(f, "{rayVersion: 2.9.3}", "spec.rayVersion", "not 2.9.3");
    told(f, "{rayVersion: '2.100.0'}", "spec.rayVersion", "of the app's environment");
    told(f, "{headGroupSpec: 5}", "spec.headGroupSpec", "expected a mapping, got");
    told(f, "{workerGroupSpecs: {a: 1}}", "spec.workerGroupSpecs", "expected a list");
    told(f, "{workerGroupSpecs: [{groupName: a, replicas: -1}]}", "spec.workerGroupSpecs[0].replicas",
         "0 or more");
    told(f, "{headGroupSpec: {rayStartParams: {resources: 'TPU'}}}",
         "spec.headGroupSpec.rayStartParams.resources", "expected JSON");
    told(f, "{headGroupSpec: {rayStartParams: {resources: '{\"a\": 0.5}'}}}",
         "spec.headGroupSpec.rayStartParams.resources.a", "whole numbers");
    told(f, "{headGroupSpec: {rayStartParams: {labels: 'a'}}}", "spec.headGroupSpec.rayStartParams.labels",
         "NAME=VALUE");
    told(f, "{headGroupSpec: {template: {spec: {containers: [{resources: {limits: {memory: lots}}}]}}}}",
         "spec.headGroupSpec.template.spec.containers[0].resources.limits.memory", "quantity");
    told(f,
         "{headGroupSpec: {template: {spec: {volumes: [{name: s, emptyDir: {sizeLimit: 9Gi}}], containers: "
         "[{volumeMounts: [{name: s, mountPath: /dev/shm}]}]}}}}",
         "spec.headGroupSpec", "does not fit");
    assert_null(wire_value_path(f->app, "spec.head.shm"));
}

/* ---- how many ---- */

/* The members of a group that is written so; 0 = it is left out. */
static int64_t members_of(struct fixture *f, const char *group, bool autoscaling)
{
    const char *text = a_arena_printf(
        &f->arena, CLUSTER("a") "spec: {enableInTreeAutoscaling: %s, workerGroupSpecs: [{groupName: g, %s}]}",
        autoscaling ? "true" : "false", group);
    assert_int_equal(import_text(f, text, &(struct kube_import_options){0}), 0);
    const struct wire_value *worker = wire_value_path(f->app, "spec.workers.0");
    return worker != NULL ? wire_value_int(wire_value_get(worker, "count"), 1) : 0;
}

static void test_counts(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(members_of(f, "replicas: 3", false), 3);
    assert_int_equal(members_of(f, "replicas: 1, minReplicas: 2", false), 2);
    assert_int_equal(members_of(f, "minReplicas: 2, maxReplicas: 5", false), 2);
    assert_int_equal(members_of(f, "replicas: 0", false), 0);
    assert_int_equal(members_of(f, "maxReplicas: 5", false), 0);
    assert_int_equal(members_of(f, "maxReplicas: 5", true), 1);
    assert_int_equal(members_of(f, "replicas: 4, maxReplicas: 5", true), 4);
    assert_int_equal(members_of(f, "replicas: 2, numOfHosts: 4", false), 8);
    assert_int_equal(members_of(f, "replicas: 2, suspend: true", true), 0);
}

/* ---- devices ---- */

static void test_devices(void **state)
{
    struct fixture *f = *state;
    static const char *const pairs[][2] = {
        {"nvidia.com/gpu", "nvidia"},
        {"amd.com/gpu", "amd"},
        {"google.com/tpu", "tpu"},
        {"huawei.com/Ascend910B3", "ascend/910B3"},
        {"huawei.com/Ascend310P", "ascend/310P"},
        {"tencent.com/zhixiao", "zhixiao"},
        {"tencent.com/zixiao", "zhixiao"},
        {"cambricon.com/mlu", "cambricon"},
        {"hygon.com/dcunum", "hygon"},
        {"kunlunxin.com/xpu", "kunlunxin"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(pairs); i++) {
        const char *text = a_arena_printf(&f->arena,
                                          CLUSTER("a") "spec: {headGroupSpec: {template: {spec: {containers: "
                                                       "[{resources: {limits: {%s: 3}}}]}}}}",
                                          pairs[i][0]);
        assert_int_equal(import_text(f, text, &(struct kube_import_options){0}), 0);
        const struct wire_value *device = wire_value_path(f->app, "spec.head.devices.0");
        assert_string_equal(wire_value_string(wire_value_path(device, "any.0"), "none"), pairs[i][1]);
        assert_int_equal(wire_value_int(wire_value_get(device, "count"), 0), 3);
    }
    /* a part of each */
    assert_int_equal(
        import_text(f,
                    CLUSTER("a") "spec: {headGroupSpec: {template: {spec: {containers: [{resources: "
                                 "{limits: {nvidia.com/gpucores: 30, nvidia.com/gpu: 1}}}]}}}}",
                    &(struct kube_import_options){0}),
        0);
    assert_string_equal(wire_value_string(wire_value_path(f->app, "spec.head.devices.0.share"), ""), "0.30");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_everything, setup, teardown),
        cmocka_unit_test_setup_teardown(test_whole, setup, teardown),
        cmocka_unit_test_setup_teardown(test_plain, setup, teardown),
        cmocka_unit_test_setup_teardown(test_choice, setup, teardown),
        cmocka_unit_test_setup_teardown(test_serve_errors, setup, teardown),
        cmocka_unit_test_setup_teardown(test_strange, setup, teardown),
        cmocka_unit_test_setup_teardown(test_counts, setup, teardown),
        cmocka_unit_test_setup_teardown(test_devices, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
