/* The App: every error at once with its line, defaults, short forms, update classes, revisions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/assert.h"
#include "checked.h"
#include "unit/app.h"

static const char ocr[] = "apiVersion: astra-ray.dev/v1alpha1\n"
                          "kind: App\n"
                          "metadata: {name: ocr}\n"
                          "spec:\n"
                          "  units: 2\n"
                          "  environment: requirements.txt\n"
                          "  code: .\n"
                          "  models: {det: ppocr-det@4, rec: {source: ppocr-rec@4}}\n"
                          "  head: {cpu: 1, memory: 2Gi}\n"
                          "  serve:\n"
                          "    applications:\n"
                          "    - name: ocr\n"
                          "      import_path: ocr:app\n"
                          "      route_prefix: /ocr\n"
                          "      deployments: [{name: Ocr, num_replicas: 1, max_ongoing_requests: 4}]\n"
                          "  route: {prefix: /ocr, idempotent: true}\n";

static struct wire_value *checked(struct fixture *f, const char *text)
{
    struct wire_value *app = NULL;
    unit_app_check(&f->problems, unit_app_expand(&f->arena, yaml(f, text)), &app);
    if (app == NULL) {
        A_BUF_AUTO struct a_buf b = {0};
        wire_problems_print(&b, &f->problems, "app.yaml");
        fail_msg("%s", b.ptr);
    }
    return app;
}

static char *replaced(struct fixture *f, const char *text, const char *from, const char *to)
{
    const char *at = strstr(text, from);
    a_assert(at != NULL);
    return a_arena_printf(&f->arena, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static void test_short_form_and_defaults(void **state)
{
    struct fixture *f = *state;
    struct wire_value *app = checked(f, ocr);
    assert_string_equal(wire_value_string(wire_value_path(app, "spec.environment.0.requirements"), ""),
                        "requirements.txt");
    assert_string_equal(wire_value_string(wire_value_path(app, "spec.code.path"), ""), ".");
    assert_string_equal(wire_value_string(wire_value_path(app, "spec.models.det.source"), ""), "ppocr-det@4");
    assert_string_equal(wire_value_string(wire_value_path(app, "spec.models.det.runtime"), ""), "tfcc");
    assert_string_equal(wire_value_string(wire_value_path(app, "spec.head.cpu"), ""), "1");
    assert_string_equal(wire_value_string(wire_value_path(app, "spec.rollout.progressDeadline"), ""), "15m");

    struct unit_app read;
    unit_app_read(&f->arena, app, &read);
    assert_int_equal(read.units, 2);
    assert_int_equal(read.head.mcpu, 1000);
    assert_true(read.head.memory_bytes == 2ull << 30);
    assert_true(read.head_serves && read.undo);
    assert_int_equal(read.n_routes, 1);
    assert_string_equal(read.routes[0].prefix, "/ocr");
    assert_null(read.routes[0].rewrite);
    assert_int_equal(read.routes[0].max_ongoing, 4);
    assert_int_equal(read.routes[0].wait_ms, 10000);
}

/* A completed app passes again and stays the same: what `astra render` prints can be sent. */
static void test_rendered_form_is_a_fixed_point(void **state)
{
    struct fixture *f = *state;
    struct wire_value *app = checked(f, ocr), *again = NULL;
    unit_app_check(&f->problems, app, &again);
    assert_non_null(again);
    assert_true(wire_value_equal(app, again));
    assert_null(unit_app_diff(&f->arena, app, again));
}

static void expect_errors(struct fixture *f, const char *text, const char *const *lines)
{
    struct wire_value *app = NULL;
    unit_app_check(&f->problems, unit_app_expand(&f->arena, yaml(f, text)), &app);
    assert_null(app);
    A_BUF_AUTO struct a_buf b = {0};
    wire_problems_print(&b, &f->problems, "app.yaml");
    for (; *lines != NULL; lines++)
        if (strstr(b.ptr, *lines) == NULL)
            fail_msg("missing: %s\nin:\n%s", *lines, b.ptr);
}

static void test_every_error_at_once(void **state)
{
    struct fixture *f = *state;
    const char *text = "kind: App\n"
                       "metadata: {name: OCR_app}\n"
                       "spec:\n"
                       "  enviroment: requirements.txt\n"
                       "  head: {cpu: none, memory: 2gb}\n"
                       "  priority: high\n"
                       "  drain: {streams: 1}\n"
                       "  logs: {level: loud, keepFailed: 24h}\n"
                       "  env: [{name: ASTRA_APP, value: x}, {name: A, value: 1}]\n"
                       "  rollout: {undo: atuo}\n"
                       "  serve: {applications: [{name: a, port: 8000, runtime_env: {pip: [x]}}]}\n"
                       "  routes: [{application: b}]\n";
    const char *const lines[] = {
        "app.yaml:2:18: metadata.name: expected a name",
        "app.yaml:4:3: spec.enviroment: no such field (did you mean environment?)",
        "spec.environment: required",
        "app.yaml:5:15: spec.head.cpu: expected a number of cores",
        "app.yaml:5:29: spec.head.memory: expected a quantity of bytes such as 2Gi, got \"2gb\"",
        "app.yaml:6:13: spec.priority: not supported yet (comes with: starlink)",
        "app.yaml:7:20: spec.drain.streams: expected a duration such as 30s, got 1",
        "app.yaml:8:17: spec.logs.level: expected debug | info | warning | error, got \"loud\"",
        "spec.env[0].name: this variable is set by Astra",
        "spec.env[1].value: expected a string, got 1",
        "did you mean auto?",
        "spec.serve.applications[0].import_path: required",
        "spec.serve.applications[0].port: Astra chooses",
        "spec.serve.applications[0].runtime_env.pip: only env_vars",
        "spec.routes[0].application: no Serve application of this name",
        NULL,
    };
    expect_errors(f, text, lines);
}

static void test_not_a_mapping(void **state)
{
    struct fixture *f = *state;
    const char *const lines[] = {"app: expected a mapping", NULL};
    expect_errors(f, "- 1\n", lines);
}

static const struct unit_change *only_change(struct fixture *f, const char *from, const char *to)
{
    struct unit_change *c = unit_app_diff(&f->arena, checked(f, ocr), checked(f, replaced(f, ocr, from, to)));
    assert_non_null(c);
    assert_null(c->next);
    return c;
}

static void test_update_classes(void **state)
{
    struct fixture *f = *state;
    const struct unit_change *c = only_change(f, "units: 2", "units: 3");
    assert_string_equal(c->field, "spec.units");
    assert_int_equal(c->class, UNIT_CLASS_ROUTE);
    c = only_change(f, "num_replicas: 1", "num_replicas: 2");
    assert_string_equal(c->field, "spec.serve.applications[ocr].deployments[Ocr].num_replicas");
    assert_int_equal(c->class, UNIT_CLASS_SERVE);
    assert_int_equal(only_change(f, "ocr:app", "ocr:other")->class, UNIT_CLASS_REPLACE);
    assert_int_equal(only_change(f, "memory: 2Gi", "memory: 3Gi")->class, UNIT_CLASS_REPLACE);
    assert_int_equal(only_change(f, "idempotent: true", "idempotent: false")->class, UNIT_CLASS_ROUTE);
    c = only_change(f, "units: 2", "units: 2\n  logs: {level: debug}");
    assert_string_equal(c->field, "spec.logs.level");
    assert_int_equal(c->class, UNIT_CLASS_SERVE);
    assert_int_equal(only_change(f, "units: 2", "units: 2\n  logs: {keepFailed: 1h}")->class,
                     UNIT_CLASS_ROUTE);
}

struct revision {
    struct a_buf text, replace, serve;
};

static struct wire_value *revision(struct fixture *f, const char *text, struct revision *ret)
{
    const char *packed = replaced(f, replaced(f, text, "requirements.txt", "[{artifact: env@1}]"), "code: .",
                                  "code: {artifact: code@1}");
    struct wire_value *app = checked(f, packed), *doc;
    struct unit_source *sources;
    size_t n;
    unit_app_sources(&f->problems, app, &sources, &n);
    assert_int_equal(f->problems.n_errors, 0);
    assert_int_equal(n, 4);
    for (size_t i = 0; i < n; i++)
        strcpy(sources[i].digest, "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    struct a_uuid uid = {"017f22e2-79b0-7fff-bfff-ffffffffffff"};
    *ret = (struct revision){{0}, {0}, {0}};
    unit_revision_make(app, &uid, 7, sources, n, &ret->text);
    assert_int_equal(wire_json_parse(&f->arena, a_buf_view(&ret->text), NULL, NULL, &doc, NULL), 0);
    unit_revision_keys(doc, &ret->replace, &ret->serve);
    return doc;
}

static void revision_deinit(struct revision *r)
{
    a_buf_deinit(&r->text);
    a_buf_deinit(&r->replace);
    a_buf_deinit(&r->serve);
}

static void test_revision_keys(void **state)
{
    struct fixture *f = *state;
    struct revision base, routes, replicas, code;
    struct wire_value *doc = revision(f, ocr, &base);
    revision(f, replaced(f, ocr, "idempotent: true", "idempotent: false"), &routes);
    revision(f, replaced(f, ocr, "num_replicas: 1", "num_replicas: 2"), &replicas);
    revision(f, replaced(f, ocr, "ocr:app", "ocr:other"), &code);
    assert_string_equal(base.replace.ptr, routes.replace.ptr);
    assert_string_equal(base.serve.ptr, routes.serve.ptr);
    assert_string_equal(base.replace.ptr, replicas.replace.ptr);
    assert_string_not_equal(base.serve.ptr, replicas.serve.ptr);
    assert_string_not_equal(base.replace.ptr, code.replace.ptr);
    assert_int_equal(wire_value_int(wire_value_get(doc, "revision"), 0), 7);
    assert_string_equal(wire_value_string(wire_value_path(doc, "app.name"), ""), "ocr");
    assert_true(a_view_starts(wire_value_view(wire_value_path(doc, "models.det")), "sha256:"));
    assert_null(wire_value_path(doc, "spec.units"));
    revision_deinit(&base);
    revision_deinit(&routes);
    revision_deinit(&replicas);
    revision_deinit(&code);
}

/* logs.level reaches each application that has none of its own, by a PUT; info is what Serve does anyway. */
static void test_log_level(void **state)
{
    struct fixture *f = *state;
    struct revision base, debug, own;
    assert_null(wire_value_path(revision(f, ocr, &base), "serve.applications.0.logging_config"));
    const char *text = replaced(f, ocr, "units: 2", "units: 2\n  logs: {level: debug}");
    struct wire_value *doc = revision(f, text, &debug);
    assert_string_equal(
        wire_value_string(wire_value_path(doc, "serve.applications.0.logging_config.log_level"), ""),
        "DEBUG");
    assert_null(wire_value_path(doc, "spec.serve.applications.0.logging_config"));
    assert_string_equal(base.replace.ptr, debug.replace.ptr);
    assert_string_not_equal(base.serve.ptr, debug.serve.ptr);
    text = replaced(f, text, "route_prefix: /ocr",
                    "route_prefix: /ocr\n      logging_config: {log_level: WARNING, encoding: JSON}");
    doc = revision(f, text, &own);
    assert_string_equal(
        wire_value_string(wire_value_path(doc, "serve.applications.0.logging_config.log_level"), ""),
        "WARNING");
    revision_deinit(&base);
    revision_deinit(&debug);
    revision_deinit(&own);
}

/* The list reaches the node whole, in its order; where no entry is for all, the scheduler knows which. */
static void test_environments(void **state)
{
    struct fixture *f = *state;
    struct revision r;
    struct unit_app read;
    struct unit_source *sources;
    size_t n;
    const char *text =
        replaced(f, ocr, "requirements.txt",
                 "[{match: {arch: arm64}, artifact: a@1}, {match: {arch: amd64}, artifact: b@1}]");
    text = replaced(f, text, "code: .", "code: {artifact: code@1}");
    struct wire_value *app = checked(f, text), *doc;
    assert_int_equal(f->problems.n_warnings, 0);
    unit_app_read(&f->arena, app, &read);
    assert_int_equal(read.n_archs, 2);
    assert_string_equal(read.archs[0], "arm64");
    unit_app_sources(&f->problems, app, &sources, &n);
    for (size_t i = 0; i < n; i++)
        snprintf(sources[i].digest, sizeof sources[i].digest, "sha256:%064zu", i);
    r = (struct revision){{0}, {0}, {0}};
    unit_revision_make(app, &(struct a_uuid){"017f22e2-79b0-7fff-bfff-ffffffffffff"}, 1, sources, n, &r.text);
    assert_int_equal(wire_json_parse(&f->arena, a_buf_view(&r.text), NULL, NULL, &doc, NULL), 0);
    assert_string_equal(wire_value_string(wire_value_path(doc, "environment.1.arch"), ""), "amd64");
    assert_string_equal(wire_value_string(wire_value_path(doc, "environment.1.digest"), ""),
                        sources[1].digest);
    revision_deinit(&r);
    app = checked(
        f, replaced(f, text, "{match: {arch: amd64}, artifact: b@1}", "{artifact: b@1}, {artifact: c@1}"));
    unit_app_read(&f->arena, app, &read);
    assert_int_equal(read.n_archs, 0);
    assert_int_equal(f->problems.n_warnings, 1); /* the third is never used */
}

static void test_spread(void **state)
{
    struct fixture *f = *state;
    struct unit_app read;
    unit_app_read(&f->arena, checked(f, ocr), &read);
    assert_memory_equal(read.spread,
                        ((enum unit_domain[]){UNIT_DOMAIN_CLUSTER, UNIT_DOMAIN_ZONE, UNIT_DOMAIN_HOST}),
                        sizeof read.spread);
    const char *text = replaced(f, ocr, "units: 2", "units: 2\n  placement: {spread: [host, cluster]}");
    unit_app_read(&f->arena, checked(f, text), &read);
    assert_memory_equal(read.spread,
                        ((enum unit_domain[]){UNIT_DOMAIN_HOST, UNIT_DOMAIN_CLUSTER, UNIT_DOMAIN_NONE}),
                        sizeof read.spread);
    assert_int_equal(only_change(f, "units: 2", "units: 2\n  placement: {spread: []}")->class,
                     UNIT_CLASS_ROUTE);
    expect_errors(f, replaced(f, ocr, "units: 2", "units: 2\n  placement: {spread: [zone, host, zone]}"),
                  (const char *const[]){"spec.placement.spread[2]: named twice", NULL});
}

static void test_paths_must_be_packed(void **state)
{
    struct fixture *f = *state;
    struct unit_source *sources;
    size_t n;
    unit_app_sources(&f->problems, checked(f, ocr), &sources, &n);
    assert_int_equal(f->problems.n_errors, 2);
}

/* A reference to a model that is not there stays as it is; that is told. */
static void test_references(void **state)
{
    struct fixture *f = *state;
    struct wire_value *app = NULL;
    const char *text = "metadata: {name: x}\n"
                       "spec:\n"
                       "  environment: [{artifact: e@1}]\n"
                       "  models: {det-v4: {source: m@1}}\n"
                       "  env: [{name: W, value: $(ASTRA_MODEL_DET_V4)/$(OTHER)}]\n"
                       "  serve:\n"
                       "    applications:\n"
                       "    - import_path: a:b\n"
                       "      args: {x: [1, $(ASTRA_MODEL_DET), $$(ASTRA_MODEL_DET)]}\n";
    unit_app_check(&f->problems, yaml(f, text), &app);
    assert_non_null(app);
    assert_int_equal(f->problems.n_warnings, 1);
    assert_string_equal(f->problems.first->field, "spec.serve.applications[0].args.x[1]");
    assert_int_equal(f->problems.first->line, 9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_short_form_and_defaults, setup, teardown),
        cmocka_unit_test_setup_teardown(test_rendered_form_is_a_fixed_point, setup, teardown),
        cmocka_unit_test_setup_teardown(test_every_error_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_not_a_mapping, setup, teardown),
        cmocka_unit_test_setup_teardown(test_update_classes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_revision_keys, setup, teardown),
        cmocka_unit_test_setup_teardown(test_log_level, setup, teardown),
        cmocka_unit_test_setup_teardown(test_environments, setup, teardown),
        cmocka_unit_test_setup_teardown(test_spread, setup, teardown),
        cmocka_unit_test_setup_teardown(test_paths_must_be_packed, setup, teardown),
        cmocka_unit_test_setup_teardown(test_references, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
