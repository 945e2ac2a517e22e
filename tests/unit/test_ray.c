/* Ray's interfaces: the command of a head and a worker, the body of the PUT, a real reply of Serve
 * (Ray 2.60), and replies that lack what they should have. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "unit/ray.h"

#define GIB (UINT64_C(1) << 30)

static const struct unit_ray_start head = {
    .role = UNIT_RAY_HEAD,
    .environment_dir = "/env",
    .ip = "127.1.2.3",
    .port_first = 20300,
    .temp_dir = "/tmp/astra-abcdefgh",
    .token_path = "/m/token",
    .mcpu = 1500,
    .memory_bytes = 2 * GIB,
    .serves = true,
    .claim = "uid/ocr-1/head/1",
    .namespace = "default",
    .app = "ocr",
    .unit = "ocr-1",
    .member = "head",
    .models_dir = "/m/models",
    .code_dir = "/code",
    .revision = 4,
    .extra_pythonpath = "/lib/astra/python",
    .home_dir = "/m/home",
    .tmp_dir = "/tmp/astra-abcdefgh/tmp",
};

static bool has(const char *const *list, const char *word)
{
    for (; *list != NULL; list++)
        if (strcmp(*list, word) == 0)
            return true;
    return false;
}

static const char *starting(const char *const *list, const char *prefix)
{
    for (; *list != NULL; list++)
        if (strncmp(*list, prefix, strlen(prefix)) == 0)
            return *list;
    return NULL;
}

static void test_head(void **state)
{
    (void)state;
    struct a_arena arena = {0};
    struct unit_ray_command c;
    assert_int_equal(unit_ray_command_build(&head, &arena, &c, NULL), 0);
    assert_string_equal(c.argv[0], "/env/bin/python3");
    assert_true(has(c.argv, "--head"));
    assert_true(has(c.argv, "--block"));
    assert_true(has(c.argv, "--port=20300"));
    assert_true(has(c.argv, "--dashboard-port=20304"));
    assert_true(has(c.argv, "--min-worker-port=20350"));
    assert_true(has(c.argv, "--max-worker-port=20399"));
    assert_true(has(c.argv, "--num-cpus=1"));
    assert_true(has(c.argv, "--temp-dir=/tmp/astra-abcdefgh"));
    assert_int_equal(c.object_store_bytes, 2 * GIB / 5);
    assert_true(has(c.envp, "RAY_AUTH_MODE=token"));
    assert_true(has(c.envp, "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT=20320"));
    assert_true(has(c.envp, "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT=20339"));
    assert_true(has(c.envp, "AUTOSCALER_METRIC_PORT=20309"));
    assert_true(has(c.envp, "HOME=/m/home"));
    assert_true(has(c.envp, "TMPDIR=/tmp/astra-abcdefgh/tmp"));
    assert_true(has(c.envp, "OMP_NUM_THREADS=1"));
    assert_true(has(c.envp, "RAY_worker_niceness=0"));
    assert_true(has(c.envp, "PYTHONPATH=/code:/lib/astra/python"));
    assert_true(has(c.envp, "ASTRA_CLAIM=uid/ocr-1/head/1"));
    assert_null(starting(c.envp, "ASTRA_TFCC_SOCKET="));
    a_arena_deinit(&arena);
}

static void test_worker(void **state)
{
    (void)state;
    struct a_arena arena = {0};
    struct unit_ray_command c;
    struct wire_value *ray, *env, *models;
    struct unit_ray_start s = head;
    assert_int_equal(
        wire_json_parse(&arena,
                        A_VIEW_LIT("{\"numCpus\":3,\"resources\":{\"npu\":2},\"labels\":{\"a\":\"b\"}}"),
                        NULL, NULL, &ray, NULL),
        0);
    assert_int_equal(
        wire_json_parse(
            &arena,
            A_VIEW_LIT("[{\"name\":\"PATH\",\"value\":\"/opt\"},{\"name\":\"OMP_NUM_THREADS\","
                       "\"value\":\"9\"},{\"name\":\"X\",\"value\":\"y=z\"},{\"name\":\"W\",\"value\":"
                       "\"$(ASTRA_MODEL_DET)/$(X)/$(ASTRA_MEMBER) $$(X) $(LATER)\"}]"),
            NULL, NULL, &env, NULL),
        0);
    assert_int_equal(wire_json_parse(&arena, A_VIEW_LIT("{\"det\":\"\"}"), NULL, NULL, &models, NULL), 0);
    s.models = models;
    s.log_level = "debug";
    s.role = UNIT_RAY_WORKER;
    s.head_ip = "127.9.9.9";
    s.head_port_first = 21000;
    s.ray = ray;
    s.env = env;
    assert_int_equal(unit_ray_command_build(&s, &arena, &c, NULL), 0);
    assert_true(has(c.argv, "--address=127.9.9.9:21000"));
    assert_false(has(c.argv, "--head"));
    assert_null(starting(c.argv, "--dashboard-port="));
    assert_true(has(c.argv, "--num-cpus=3"));
    assert_true(has(c.argv, "--resources={\"npu\":2}"));
    assert_true(has(c.argv, "--labels=a=b"));
    assert_true(has(c.envp, "PATH=/env/bin:/opt"));
    assert_true(has(c.envp, "OMP_NUM_THREADS=9"));
    assert_false(has(c.envp, "OMP_NUM_THREADS=1"));
    assert_true(has(c.envp, "X=y=z"));
    assert_true(has(c.envp, "ASTRA_MODEL_DET=/m/models/det"));
    assert_true(has(c.envp, "RAY_LOGGER_LEVEL=debug"));
    assert_true(has(c.envp, "RAY_BACKEND_LOG_LEVEL=debug"));
    assert_true(has(c.envp, "W=/m/models/det/y=z/head $(X) $(LATER)"));
    a_arena_deinit(&arena);
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const envs[] = {"[{\"name\":\"ASTRA_UNIT\"}]", "[{\"name\":\"a=b\"}]",
                                       "[{\"name\":\"HOME\"}]",
                                       "[{\"name\":\"RAY_AUTH_MODE\",\"value\":\"disabled\"}]"};
    struct a_arena arena = {0};
    struct unit_ray_command c;
    struct unit_ray_start s = head;
    struct wire_value *v;
    s.temp_dir = "/tmp/a-folder-of-more-than-forty-one-characters";
    assert_true(unit_ray_command_build(&s, &arena, &c, NULL) < 0);
    s = head;
    assert_int_equal(wire_json_parse(&arena, A_VIEW_LIT("{\"port\":1}"), NULL, NULL, &v, NULL), 0);
    s.ray = v;
    assert_true(unit_ray_command_build(&s, &arena, &c, NULL) < 0);
    s = head;
    for (size_t i = 0; i < A_ARRAY_SIZE(envs); i++) {
        assert_int_equal(wire_json_parse(&arena, a_view_str(envs[i]), NULL, NULL, &v, NULL), 0);
        s.env = v;
        assert_true(unit_ray_command_build(&s, &arena, &c, NULL) < 0);
    }
    a_arena_deinit(&arena);
}

static void test_body(void **state)
{
    (void)state;
    struct a_arena arena = {0};
    struct a_buf body = {0};
    struct wire_value *document;
    struct unit_ray_serve s = {.unit = "ocr-1", .models_dir = "/m", .host = "127.1.2.3", .port_first = 20300};
    bool local = true;
    const char *text =
        "{\"serve\":{\"applications\":[{\"name\":\"a\",\"later\":1}],\"http_options\":{\"host\":"
        "\"0.0.0.0\",\"keep_alive_timeout_s\":5}}}";
    assert_int_equal(wire_json_parse(&arena, a_view_str(text), NULL, NULL, &document, NULL), 0);
    s.document = document;
    assert_int_equal(unit_ray_serve_body(&s, &body, &local, NULL), 0);
    assert_false(local);
    assert_string_equal(body.ptr,
                        "{\"applications\":[{\"name\":\"a\",\"later\":1}],\"http_options\":{\"host\":"
                        "\"127.1.2.3\",\"keep_alive_timeout_s\":5,\"port\":20311},\"grpc_options\":{\"port\":"
                        "20312},\"proxy_location\":\"HeadOnly\"}");
    assert_int_equal(
        wire_json_parse(&arena, A_VIEW_LIT("{\"serve\":{\"applications\":[]}}"), NULL, NULL, &document, NULL),
        0);
    s.document = document;
    assert_true(unit_ray_serve_body(&s, &body, &local, NULL) < 0);
    a_buf_deinit(&body);
    a_arena_deinit(&arena);
}

static char *file_text(const char *name, size_t *len)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", TEST_DATA, name);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    char *text = a_alloc(1 << 20);
    *len = fread(text, 1, (1 << 20) - 1, f);
    fclose(f);
    return text;
}

static void test_real_reply(void **state)
{
    (void)state;
    struct a_arena arena = {0};
    struct unit_ray_status s;
    size_t len;
    char *text = file_text("ray/serve-status.json", &len);
    assert_int_equal(unit_ray_status_parse((struct a_view){text, len}, &arena, &s, NULL), 0);
    assert_int_equal(s.n_apps, 2);
    const struct unit_ray_app *b = &s.apps[1];
    assert_string_equal(b->name, "b1");
    assert_string_equal(b->route_prefix, "/b1");
    assert_int_equal(b->status, UNIT_RAY_APP_RUNNING);
    assert_int_equal(b->n_deployments, 1);
    assert_true(b->deployments[0].is_ingress);
    assert_int_equal(b->deployments[0].max_ongoing, 1000);
    assert_int_equal(b->deployments[0].n_replicas, 2);
    assert_int_equal(b->n_endpoints, 2);
    assert_int_equal(b->n_grpc, 0);
    assert_string_equal(b->endpoints[1].ip, "127.0.0.2");
    assert_int_equal(b->endpoints[1].port, 11401);
    assert_int_equal(b->endpoints[1].pid, 27197);
    assert_int_equal(b->endpoints[1].max_ongoing, 1000);
    assert_false(b->endpoints[1].is_proxy);
    a_arena_deinit(&arena);
    for (size_t cut = 0; cut < len; cut += 97) { /* cut short anywhere: refused, never read past its end */
        struct a_arena again = {0};
        char *part = a_strndup(text, cut);
        assert_true(unit_ray_status_parse((struct a_view){part, cut}, &again, &s, NULL) < 0);
        a_free(part);
        a_arena_deinit(&again);
    }
    a_free(text);
}

static void test_odd_replies(void **state)
{
    (void)state;
    struct a_arena arena = {0};
    struct unit_ray_status s;
    assert_int_equal(unit_ray_status_parse(A_VIEW_LIT("{}"), &arena, &s, NULL), 0);
    assert_int_equal(s.n_apps, 0);
    assert_true(unit_ray_status_parse(A_VIEW_LIT("[]"), &arena, &s, NULL) < 0);
    assert_true(unit_ray_status_parse(A_VIEW_LIT("Unauthorized"), &arena, &s, NULL) < 0);
    const char *odd =
        "{\"applications\":{\"a\":{\"status\":\"SLEEPING\",\"deployments\":[1,2]},\"b\":7,\"c\":"
        "{\"route_prefix\":\"/c\",\"deployments\":{\"D\":{\"replicas\":[{\"pid\":\"x\"},3]},\"E\":null}}},"
        "\"target_groups\":[{\"targets\":[{\"ip\":\"1.2.3.4\",\"port\":70000},{\"ip\":\"1.2.3.4\",\"port\":"
        "80,"
        "\"name\":\"SERVE_PROXY_ACTOR-1\"}],\"route_prefix\":\"/c\"},{\"protocol\":\"gRPC\",\"app_name\":"
        "\"c\",\"targets\":[{\"ip\":\"1.2.3.4\",\"port\":81,\"name\":\"SERVE_REPLICA::c#D#x\"}]},4]}";
    assert_int_equal(unit_ray_status_parse(a_view_str(odd), &arena, &s, NULL), 0);
    assert_int_equal(s.n_apps, 2);
    assert_string_equal(s.apps[0].name, "a");
    assert_int_equal(s.apps[0].status, UNIT_RAY_APP_UNKNOWN);
    assert_int_equal(s.apps[1].n_endpoints, 1);
    assert_true(s.apps[1].endpoints[0].is_proxy);
    assert_int_equal(s.apps[1].endpoints[0].max_ongoing, 5);
    assert_int_equal(s.apps[1].n_grpc, 1);
    assert_false(s.apps[1].grpc[0].is_proxy);
    assert_int_equal(s.apps[1].deployments[0].replicas[0].pid, 0);
    a_arena_deinit(&arena);
}

static void test_log_cause(void **state)
{
    (void)state;
    static const struct {
        const char *digest, *cause;
    } cases[] = {
        {"", ""},
        {"one\ntwo: three\n", ""},
        {"Traceback (most recent call last):\n  File \"node.py\", line 440, in __init__\n    raise "
         "Exception(\n"
         "Exception: The current node timed out during startup. This could happen\n2026-11-23 the end",
         "Exception: The current node timed out during startup. This could happen"},
        {"  raise A\nAError: first\n\nDuring handling of the above exception, another exception occurred:\n\n"
         "  File \"b\"\npkg.BError: last\nmore: of it",
         "pkg.BError: last"},
        {"    raise StopIteration\nStopIteration", "StopIteration"},
        {"  indented\n2026: a line of a log\n  indented\n[x] another", ""},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        struct a_view cause = unit_ray_log_cause(a_view_str(cases[i].digest));
        assert_int_equal(cause.len, strlen(cases[i].cause));
        assert_memory_equal(cause.ptr, cases[i].cause, cause.len);
    }
}

static void test_log_digest(void **state)
{
    (void)state;
    struct a_buf b = {0};
    unit_ray_log_digest(
        A_VIEW_LIT("noise\n\x1b[36mTraceback (most recent call last):\x1b[0m\n  old\nTraceback (most recent "
                   "call last):\n  File x\nImportError: no\n\n"),
        1000, &b);
    assert_string_equal(b.ptr, "Traceback (most recent call last):\n  File x\nImportError: no");
    a_buf_reset(&b);
    unit_ray_log_digest(A_VIEW_LIT("one\ntwo\nthree\n"), 6, &b);
    assert_string_equal(b.ptr, "three");
    a_buf_reset(&b);
    unit_ray_log_digest((struct a_view){NULL, 0}, 6, &b);
    assert_int_equal(b.len, 0);
    a_buf_deinit(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_head),       cmocka_unit_test(test_worker),
        cmocka_unit_test(test_refused),    cmocka_unit_test(test_body),
        cmocka_unit_test(test_real_reply), cmocka_unit_test(test_odd_replies),
        cmocka_unit_test(test_log_digest), cmocka_unit_test(test_log_cause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
