/* The CustomResourceDefinitions are structural, say what the checker says, and take what it completes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <regex.h>

#include "base/text.h"
#include "kube/crd.h"
#include "kube/manifests.h"
#include "unit/app.h"

struct fixture {
    struct a_arena arena;
    struct wire_value *app, *pool; /* openAPIV3Schema */
    struct wire_value *crds;
};

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){0};
    f.crds = kube_crds_make(&f.arena, &unit_app_schema);
    f.app = wire_value_path(f.crds, "0.spec.versions.0.schema.openAPIV3Schema");
    f.pool = wire_value_path(f.crds, "1.spec.versions.0.schema.openAPIV3Schema");
    assert_non_null(f.pool);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    a_arena_deinit(&f->arena);
    return 0;
}

static struct wire_value *field_of(struct wire_value *schema, const char *path)
{
    struct wire_value *v = schema;
    for (struct a_view rest = a_view_str(path), name; rest.len > 0;) {
        name = a_view_split(rest, '.', &rest);
        struct wire_value *items = wire_value_get(v, "items"),
                          *map = wire_value_get(v, "additionalProperties");
        v = items != NULL ? items : map != NULL ? map : v;
        v = wire_value_get_view(wire_value_get(v, "properties"), name);
        assert_non_null(v);
    }
    return v;
}

static void check_text(struct fixture *f, const struct wire_value *v, const char *key, const char *expected)
{
    A_BUF_AUTO struct a_buf b = {0};
    const struct wire_value *at = wire_value_get(v, key);
    if (at != NULL)
        wire_json_print(&b, at, 0);
    assert_string_equal(at != NULL ? b.ptr : "", expected);
    (void)f;
}

static void test_fields(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *path, *key, *value;
    } rows[] = {
        {"spec.units", "type", "\"integer\""},
        {"spec.units", "default", "1"},
        {"spec.units", "maximum", "1000000"},
        {"spec.head.cpu", "x-kubernetes-int-or-string", "true"},
        {"spec.head.cpu", "type", ""},
        {"spec.head.shm", "nullable", "true"},
        {"spec.head.shm", "default", ""}, /* null would be pruned */
        {"spec.head.serves", "enum", "[\"auto\",\"always\",\"never\"]"},
        {"spec.environment.match.arch", "enum", "[\"amd64\",\"arm64\",null]"},
        {"spec.environment", "minItems", "1"},
        {"spec.environment", "x-kubernetes-list-type", "\"atomic\""},
        {"spec.workers", "x-kubernetes-list-type", "\"map\""},
        {"spec.workers", "x-kubernetes-list-map-keys", "[\"name\"]"},
        {"spec.workers", "maxItems", "20"},
        {"spec.placement.clusters", "x-kubernetes-list-type", "\"set\""},
        {"spec.workers.count", "default", ""}, /* of a list that a client applies whole */
        {"spec.models.runtime", "default", "\"tfcc\""},
        {"spec.models.source", "type", "\"string\""},
        {"spec", "required", "[\"environment\",\"serve\"]"},
        {"spec", "default", ""},
        {"metadata.name", "maxLength", "40"},
        {"status.conditions", "x-kubernetes-list-map-keys", "[\"type\"]"},
        {"status.units.ready", "default", ""},
        {"status", "required", ""},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(rows); i++)
        check_text(f, field_of(f->app, rows[i].path), rows[i].key, rows[i].value);
    check_text(f, field_of(f->pool, "spec"), "required", "[\"resources\",\"max\"]");
    check_text(f, field_of(f->pool, "spec.namespace"), "default", "");
    check_text(f, field_of(f->pool, "spec.template.spec.volumes"), "x-kubernetes-preserve-unknown-fields",
               "true");
    const char *waiting =
        wire_value_string(wire_value_get(field_of(f->app, "spec.suspend"), "description"), "");
    assert_non_null(strstr(waiting, "not supported yet"));
    check_text(f, field_of(f->app, "spec.workers.count"), "description",
               "\"members of the group (default: 1)\"");
    assert_string_equal(
        wire_value_string(wire_value_path(f->crds, "0.spec.versions.0.subresources.scale.specReplicasPath"),
                          ""),
        ".spec.units");
    assert_null(wire_value_path(f->crds, "1.spec.versions.0.subresources.scale"));
}

/* Every object is closed (so that unknown fields are refused or pruned), every list says how it merges, the
 * keys of maps are required, every field is told of, and every column and path leads somewhere. */
static void structural_check(const struct wire_value *v, const char *name)
{
    const char *type = wire_value_string(wire_value_get(v, "type"), "");
    bool open = wire_value_bool(wire_value_get(v, "x-kubernetes-preserve-unknown-fields"), false) ||
                wire_value_bool(wire_value_get(v, "x-kubernetes-int-or-string"), false);
    if (type[0] == '\0' && !open)
        fail_msg("%s has no type", name);
    if (strcmp(type, "array") == 0) {
        const char *list = wire_value_string(wire_value_get(v, "x-kubernetes-list-type"), "");
        const char *key = wire_value_string(wire_value_path(v, "x-kubernetes-list-map-keys.0"), NULL);
        const struct wire_value *items = wire_value_get(v, "items");
        bool required = false;
        wire_value_foreach(r, wire_value_get(items, "required")) required =
            required || (key != NULL && strcmp(wire_value_string(r, ""), key) == 0);
        if ((strcmp(list, "map") == 0) != (key != NULL) || (key != NULL && !required) || list[0] == '\0')
            fail_msg("%s: list type %s, key %s", name, list, key != NULL ? key : "-");
        structural_check(items, name);
    }
    if (wire_value_get(v, "additionalProperties") != NULL)
        structural_check(wire_value_get(v, "additionalProperties"), name);
    wire_value_foreach(p, wire_value_get(v, "properties"))
    {
        structural_check(p, p->key.ptr);
    }
}

static void test_structural(void **state)
{
    struct fixture *f = *state;
    structural_check(f->app, "App");
    structural_check(f->pool, "Pool");
    for (int i = 0; i < 2; i++) {
        wire_value_foreach(
            c, wire_value_path(wire_value_at(f->crds, (size_t)i), "spec.versions.0.additionalPrinterColumns"))
        {
            const char *path = wire_value_string(wire_value_get(c, "jsonPath"), "");
            if (strchr(path, '[') == NULL && strncmp(path, ".metadata", 9) != 0)
                (void)field_of(i == 0 ? f->app : f->pool, path + 1);
        }
    }
}

/* The patterns take what the checker takes. */
static void pattern_check(const struct wire_value *field, const char *text, bool taken)
{
    regex_t regex;
    const char *pattern = wire_value_string(wire_value_get(field, "pattern"), "");
    assert_int_equal(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
    bool matches = regexec(&regex, text, 0, NULL, 0) == 0;
    regfree(&regex);
    if (matches != taken)
        fail_msg("%s: the pattern says %d, the checker %d", text, matches, taken);
}

static void test_patterns(void **state)
{
    struct fixture *f = *state;
    static const char *const texts[] = {"",     "0",   "2",   "0.5",   "250m", "2Gi",  "1.5Gi", "1.2345",
                                        "2gi",  "30s", "5ms", "1h30m", "1d",   "10",   "s",     "-1",
                                        "+1",   "1e3", "a",   "a-b",   "-a",   "a-",   "A",     "a.b",
                                        "100k", "1Ki", "3T",  "2 ",    ".5",   "5m30", "1h 2m"};
    for (size_t i = 0; i < A_ARRAY_SIZE(texts); i++) {
        struct a_view text = a_view_str(texts[i]);
        uint64_t n;
        pattern_check(field_of(f->app, "spec.head.cpu"), texts[i], a_text_mcpu(text, &n));
        pattern_check(field_of(f->app, "spec.head.memory"), texts[i], a_text_bytes(text, &n));
        pattern_check(field_of(f->app, "spec.rollout.bake"), texts[i], a_text_duration(text, &n));
        pattern_check(field_of(f->app, "metadata.name"), texts[i], a_text_is_label(text, A_NAME_MAX));
    }
}

/* What the API server fills in is what the checker fills in: applied twice, an object says nothing new. */
static void defaults_check(const struct wire_value *schema, const struct wire_value *completed,
                           const char *path)
{
    wire_value_foreach(p, wire_value_get(schema, "properties"))
    {
        const struct wire_value *given = wire_value_get(p, "default"),
                                *is = wire_value_get(completed, p->key.ptr);
        if (given != NULL && wire_value_count(given) == 0 && !wire_value_is(is, WIRE_VALUE_OBJECT) &&
            !wire_value_equal(given, is) && !wire_value_is(is, WIRE_VALUE_STRING))
            fail_msg("%s.%s has another default", path, p->key.ptr);
        if (wire_value_is(is, WIRE_VALUE_OBJECT))
            defaults_check(p, is, p->key.ptr);
    }
}

static void test_defaults(void **state)
{
    struct fixture *f = *state;
    struct wire_problems problems = {.arena = &f->arena};
    struct wire_value *doc, *app = NULL;
    static const char text[] = "metadata: {name: a}\nspec:\n  environment: [{artifact: e@1}]\n"
                               "  serve: {applications: [{name: a, import_path: a:a, route_prefix: /}]}\n";
    assert_int_equal(wire_yaml_parse(&f->arena, a_view_str(text), "a", NULL, &doc, NULL), 0);
    unit_app_check(&problems, doc, &app);
    assert_non_null(app);
    defaults_check(wire_value_path(f->app, "properties.spec"), wire_value_get(app, "spec"), "spec");
}

static void test_manifests(void **state)
{
    struct fixture *f = *state;
    struct wire_value *list = kube_manifests_make(
        &f->arena, &(struct kube_manifest_options){.namespace = "ml", .app = &unit_app_schema});
    static const char *const kinds[] = {"Namespace",
                                        "ServiceAccount",
                                        "Secret",
                                        "Role",
                                        "RoleBinding",
                                        "CustomResourceDefinition",
                                        "CustomResourceDefinition",
                                        "ClusterRole",
                                        "ClusterRoleBinding"};
    assert_int_equal(wire_value_count(list), A_ARRAY_SIZE(kinds));
    for (size_t i = 0; i < A_ARRAY_SIZE(kinds); i++)
        assert_string_equal(wire_value_string(wire_value_get(wire_value_at(list, i), "kind"), ""), kinds[i]);
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, wire_value_get(wire_value_at(list, 7), "rules"), 0);
    assert_null(strchr(b.ptr, '*')); /* nothing of everything */
    check_text(f, wire_value_path(list, "7.rules.2"), "verbs", "[\"patch\"]");
    check_text(f, wire_value_path(list, "8.subjects.0"), "namespace", "\"ml\"");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {TEST(test_fields), TEST(test_structural), TEST(test_patterns),
                                       TEST(test_defaults), TEST(test_manifests)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
