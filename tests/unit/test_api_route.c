/* The API's table of paths. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "daemon/server/api_route.h"

struct found {
    const struct api_route *route;
    struct a_view params[API_PARAMS_MAX];
    const char *allow;
    struct a_error error;
};

static int find(struct a_arena *arena, const char *method, const char *path, struct found *f)
{
    *f = (struct found){.route = NULL};
    return api_route_find(a_view_str(method), a_view_str(path), arena, &f->route, f->params, &f->allow,
                          &f->error);
}

static void test_paths(void **state)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct found f;
    (void)state;
    assert_int_equal(find(&arena, "GET", "/healthz", &f), 0);
    assert_int_equal(f.route->role, API_NOBODY);
    assert_int_equal(find(&arena, "PUT", "/v1/namespaces/ns/apps/ocr", &f), 0);
    assert_int_equal(f.route->id, API_ROUTE_APP_PUT);
    assert_true(a_view_is(f.params[0], "ns") && a_view_is(f.params[1], "ocr"));
    assert_true(api_route_is_namespaced(f.route));
    assert_int_equal(find(&arena, "GET", "/v1/namespaces/ns/artifacts/sha256%3Aab", &f), 0);
    assert_true(a_view_is(f.params[1], "sha256:ab"));
    assert_int_equal(find(&arena, "HEAD", "/v1/nodes", &f), 0);
    assert_int_equal(f.route->id, API_ROUTE_NODES);
    assert_false(api_route_is_namespaced(f.route));
}

static void test_no_such_path(void **state)
{
    static const char *const paths[] = {
        "/",         "",        "/v1", "/v1/nodes/", "/v1/nodes//drain", "/v1/namespaces/ns/apps/a/b/c",
        "/healthz/", "v1/nodes"};
    A_ARENA_AUTO struct a_arena arena = {0};
    (void)state;
    for (size_t i = 0; i < A_ARRAY_SIZE(paths); i++) {
        struct found f;
        assert_int_equal(find(&arena, "GET", paths[i], &f), -ENOENT);
        assert_int_equal(f.error.code, A_CODE_NOT_FOUND);
        a_error_deinit(&f.error);
    }
}

static void test_method(void **state)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct found f;
    (void)state;
    assert_int_equal(find(&arena, "PATCH", "/v1/namespaces/ns/apps/ocr", &f), -EPERM);
    assert_int_equal(f.error.code, A_CODE_METHOD);
    assert_string_equal(f.allow, "GET, HEAD, PUT, DELETE");
    a_error_deinit(&f.error);
}

static void test_broken_escape(void **state)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct found f;
    (void)state;
    assert_int_equal(find(&arena, "GET", "/v1/nodes/%zz", &f), -EINVAL);
    assert_int_equal(f.error.code, A_CODE_INVALID);
    a_error_deinit(&f.error);
}

/* Whatever writes asks for more than a look, and whatever is not one namespace's alone for an administrator.
 */
static void test_roles(void **state)
{
    static const struct {
        const char *method, *path;
    } writes[] = {{"PUT", "/v1/namespaces/n/apps/a"},
                  {"DELETE", "/v1/namespaces/n/apps/a"},
                  {"POST", "/v1/namespaces/n/apps/a/scale"},
                  {"POST", "/v1/namespaces/n/apps/a/rollout/undo"},
                  {"PUT", "/v1/namespaces/n/artifacts/a@1"},
                  {"POST", "/v1/nodes/n/cordon"},
                  {"POST", "/v1/nodes/n/uncordon"},
                  {"POST", "/v1/nodes/n/drain"},
                  {"POST", "/v1/nodes/n/undrain"},
                  {"POST", "/v1/orphans/n/a/adopt"},
                  {"POST", "/v1/orphans/n/a/release"},
                  {"POST", "/v1/tokens"},
                  {"DELETE", "/v1/tokens/t"}};
    A_ARENA_AUTO struct a_arena arena = {0};
    enum api_role role;
    (void)state;
    for (size_t i = 0; i < A_ARRAY_SIZE(writes); i++) {
        struct found f;
        assert_int_equal(find(&arena, writes[i].method, writes[i].path, &f), 0);
        assert_int_equal(f.route->role, api_route_is_namespaced(f.route) ? API_DEPLOY : API_ADMIN);
    }
    assert_true(api_role_parse("deploy", &role));
    assert_int_equal(role, API_DEPLOY);
    assert_false(api_role_parse("nobody", &role));
    assert_false(api_role_parse("", &role));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_paths),  cmocka_unit_test(test_no_such_path),
        cmocka_unit_test(test_method), cmocka_unit_test(test_broken_escape),
        cmocka_unit_test(test_roles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
