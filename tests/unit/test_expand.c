/* $(NAME) as Kubernetes expands it: its own table of cases, the app's variables one after the other, the
 * Serve config, and lists that would grow without end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "unit/expand.h"
#include "unit/ray.h"

static struct wire_value *parse(struct a_arena *arena, const char *text)
{
    struct wire_value *v;
    assert_int_equal(wire_json_parse(arena, a_view_str(text), NULL, NULL, &v, NULL), 0);
    return v;
}

static void test_texts(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", ""},
        {"plain", "plain"},
        {"$(A)", "foo"},
        {"x-$(A)-$(B)", "x-foo-zoo"},
        {"$(A)$(A)", "foofoo"},
        {"$(C)", "$(A)"}, /* what was put in is not looked at again */
        {"$$(A)", "$(A)"},
        {"$$$(A)", "$foo"},
        {"$$$$(A)", "$$(A)"},
        {"a$$b", "a$b"},
        {"$(UNKNOWN)", "$(UNKNOWN)"},
        {"$(A", "$(A"},
        {"$(A$(B)", "$(A$(B)"}, /* one reference, to the name "A$(B" */
        {"$A $", "$A $"},
        {"$()", "$()"},
        {"((A))$()(A)", "((A))$()(A)"},
        {"$(A)\n$(B)", "foo\nzoo"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        struct a_arena arena = {0};
        struct a_buf out = {0};
        struct unit_variables vars = {.arena = &arena};
        unit_variable_add(&vars, "A", "older");
        unit_variable_add(&vars, "A", "foo");
        unit_variable_add(&vars, "B", "zoo");
        unit_variable_add(&vars, "C", "$(A)");
        assert_int_equal(unit_expand(&vars, a_view_str(cases[i][0]), &out, NULL), 0);
        assert_string_equal(out.len > 0 ? out.ptr : "", cases[i][1]);
        a_buf_deinit(&out);
        a_arena_deinit(&arena);
    }
}

static void test_env(void **state)
{
    (void)state;
    struct a_arena arena = {0};
    struct unit_variables vars = {.arena = &arena};
    unit_variables_models(&vars, "/m", parse(&arena, "{\"det\":\"x\",\"rec-v4\":\"y\"}"));
    struct wire_value *env = parse(&arena, "[{\"name\":\"A\",\"value\":\"$(B)\"},"
                                           "{\"name\":\"B\",\"value\":\"$(ASTRA_MODEL_REC_V4)/x\"},"
                                           "{\"name\":\"C\",\"value\":\"<$(B)>\"},{\"name\":\"D\"}]");
    assert_int_equal(unit_variables_env(&vars, env, NULL), 0);
    static const char *const wanted[][2] = {
        {"ASTRA_MODELS", "/m"}, {"ASTRA_MODEL_DET", "/m/det"}, {"A", "$(B)"},
        {"B", "/m/rec-v4/x"},   {"C", "</m/rec-v4/x>"},        {"D", ""},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(wanted); i++) {
        const struct unit_variable *v = unit_variable_find(&vars, a_view_str(wanted[i][0]));
        assert_non_null(v);
        assert_string_equal(v->value.ptr, wanted[i][1]);
        assert_int_equal(v->local, wanted[i][0][0] == 'A' ? wanted[i][0][1] != '\0' : wanted[i][0][0] < 'D');
    }
    assert_false(vars.local);
    a_arena_deinit(&arena);
}

/* Each names the one before twice: 2^40 bytes, but for the limit. */
static void test_growth(void **state)
{
    (void)state;
    struct a_arena arena = {0};
    struct unit_variables vars = {.arena = &arena};
    struct wire_value *env = wire_value_new_array(&arena);
    struct a_error e = A_ERROR_NONE;
    for (int i = 0; i < 40; i++) {
        struct wire_value *item = wire_value_new_object(&arena);
        wire_value_set_string(&arena, item, "name", a_arena_printf(&arena, "V%d", i));
        wire_value_set_string(&arena, item, "value",
                              i == 0 ? "xx" : a_arena_printf(&arena, "$(V%d)$(V%d)", i - 1, i - 1));
        wire_value_append(env, item);
    }
    assert_int_equal(unit_variables_env(&vars, env, &e), -E2BIG);
    assert_non_null(strstr(a_error_text(&e), "env: V1"));
    assert_true(vars.spent <= UNIT_EXPAND_MAX);
    a_error_deinit(&e);
    a_arena_deinit(&arena);
}

static const char document[] =
    "{\"app\":{\"namespace\":\"n\",\"name\":\"ocr\"},\"models\":{\"det\":\"sha256:1\"},"
    "\"env\":[{\"name\":\"WEIGHTS\",\"value\":\"$(ASTRA_MODEL_DET)/w\"}],"
    "\"serve\":{\"applications\":[{\"name\":\"$(ASTRA_APP)\",\"args\":{\"$(ASTRA_APP)\":[\"$(ASTRA_APP)\",1]}"
    ","
    "\"runtime_env\":{\"env_vars\":{\"W\":\"%s\"}},\"deployments\":[{\"name\":\"D\",\"user_config\":"
    "{\"a\":{\"b\":\"$$(ASTRA_UNIT) $(ASTRA_UNIT) $(ASTRA_MEMBER)\"}},\"ray_actor_options\":{\"runtime_env\":"
    "{\"env_vars\":{\"U\":\"$(ASTRA_NAMESPACE)\"}}}}]}]}}";

/* Only the texts that are the app's own, and only names that mean the same on every member. */
static void test_serve(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct a_arena arena = {0};
        struct a_buf body = {0};
        bool local = i == 0;
        const struct unit_ray_serve s = {
            .document = parse(&arena, a_arena_printf(&arena, document, i == 0 ? "x" : "$(WEIGHTS)")),
            .unit = "ocr-1",
            .models_dir = "/m",
            .host = "h",
        };
        assert_int_equal(unit_ray_serve_body(&s, &body, &local, NULL), 0);
        assert_int_equal(local, i == 1);
        assert_non_null(
            strstr(body.ptr, "{\"name\":\"$(ASTRA_APP)\",\"args\":{\"$(ASTRA_APP)\":[\"ocr\",1]},"));
        assert_non_null(strstr(body.ptr, i == 0 ? "{\"W\":\"x\"}" : "{\"W\":\"/m/det/w\"}"));
        assert_non_null(strstr(body.ptr, "\"b\":\"$(ASTRA_UNIT) ocr-1 $(ASTRA_MEMBER)\""));
        assert_non_null(strstr(body.ptr, "{\"U\":\"n\"}"));
        a_buf_deinit(&body);
        a_arena_deinit(&arena);
    }
}

static void test_next(void **state)
{
    (void)state;
    size_t at = 0;
    struct a_view text = A_VIEW_LIT("$$(A) $(B)$x$(C"), name;
    assert_true(unit_expand_next(text, &at, &name));
    assert_true(a_view_is(name, "B"));
    assert_false(unit_expand_next(text, &at, &name));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts), cmocka_unit_test(test_env),  cmocka_unit_test(test_growth),
        cmocka_unit_test(test_serve), cmocka_unit_test(test_next),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
