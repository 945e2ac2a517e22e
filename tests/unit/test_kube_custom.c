/* Objects of a cluster: what a row keeps, what is decided, what the checker is given and people are told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "kube/custom.h"
#include "kube/pool_spec.h"

static const char object_text[] =
    "{\"apiVersion\":\"astra-ray.dev/"
    "v1alpha1\",\"kind\":\"App\",\"metadata\":{\"name\":\"a\",\"namespace\":\"team\","
    "\"uid\":\"u1\",\"resourceVersion\":\"7\",\"generation\":3,\"creationTimestamp\":\"2026-01-01T00:00:"
    "00Z\","
    "\"annotations\":{\"x\":\"y\",\"astra-ray.dev/adopt\":\"true\"},\"labels\":{\"l\":\"1\"},"
    "\"finalizers\":[\"other\",\"astra-ray.dev/in-use\"],\"managedFields\":[{}]},"
    "\"spec\":{\"units\":2},\"status\":{\"observedGeneration\":2}}";

static struct wire_value *parse(struct a_arena *arena, const char *text)
{
    struct wire_value *v;
    assert_int_equal(wire_json_parse(arena, a_view_str(text), NULL, NULL, &v, NULL), 0);
    return v;
}

static const char *text_of(struct a_arena *arena, const struct wire_value *v)
{
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, v, 0);
    return a_arena_strdup(arena, b.ptr);
}

static void test_row(void **state)
{
    struct kube_custom c, d;
    (void)state;
    assert_int_equal(kube_custom_scan(a_view_str(object_text), &c), 0);
    assert_true(c.generation == 3 && c.finalizer && c.adopt && c.deleted_s == 0 && c.status != 0);
    static const char deleted[] =
        "{\"metadata\":{\"deletionTimestamp\":\"2026-01-01T00:00:00Z\",\"finalizers\":[\"o\"]},"
        "\"status\":{\"observedGeneration\":3}}";
    assert_int_equal(kube_custom_scan(a_view_str(deleted), &d), 0);
    assert_true(d.deleted_s != 0 && !d.finalizer && !d.adopt && d.status != c.status);
    assert_true(kube_custom_scan(a_view_str("{\"metadata\":"), &d) != 0);
    assert_true(kube_custom_scan(a_view_str("[]"), &d) != 0);
}

/* O1-O4 */
static void test_decide(void **state)
{
    enum { LIVE, GONE };
    static const struct {
        int deleted;
        bool finalizer, adopt;
        enum kube_holder holder;
        bool leaving, news;
        enum kube_custom_act act;
    } rows[] = {
        {LIVE, false, false, KUBE_HOLDER_NONE, false, false, KUBE_CUSTOM_FINALIZE},
        {LIVE, true, false, KUBE_HOLDER_NONE, false, false, KUBE_CUSTOM_PUT},
        {LIVE, true, false, KUBE_HOLDER_OURS, false, false, KUBE_CUSTOM_KEEP},
        {LIVE, true, false, KUBE_HOLDER_OURS, false, true, KUBE_CUSTOM_PUT},
        {LIVE, true, false, KUBE_HOLDER_OURS, true, true, KUBE_CUSTOM_WAIT},
        {LIVE, false, false, KUBE_HOLDER_OURS, false, true, KUBE_CUSTOM_FINALIZE},
        {LIVE, false, false, KUBE_HOLDER_API, false, true, KUBE_CUSTOM_REFUSE},
        {LIVE, true, false, KUBE_HOLDER_API, true, true, KUBE_CUSTOM_REFUSE},
        {LIVE, true, true, KUBE_HOLDER_API, false, true, KUBE_CUSTOM_PUT},
        {LIVE, true, true, KUBE_HOLDER_OTHER, false, true, KUBE_CUSTOM_REFUSE},
        {GONE, true, false, KUBE_HOLDER_OURS, false, false, KUBE_CUSTOM_REMOVE},
        {GONE, true, false, KUBE_HOLDER_OURS, true, false, KUBE_CUSTOM_WAIT},
        {GONE, true, false, KUBE_HOLDER_NONE, false, false, KUBE_CUSTOM_RELEASE},
        {GONE, true, true, KUBE_HOLDER_API, false, false, KUBE_CUSTOM_RELEASE},
        {GONE, true, false, KUBE_HOLDER_OTHER, false, false, KUBE_CUSTOM_RELEASE},
        {GONE, false, false, KUBE_HOLDER_OURS, false, false, KUBE_CUSTOM_KEEP},
    };
    (void)state;
    for (size_t i = 0; i < A_ARRAY_SIZE(rows); i++) {
        const struct kube_custom_state s = {
            .object = {.deleted_s = rows[i].deleted, .finalizer = rows[i].finalizer, .adopt = rows[i].adopt},
            .holder = rows[i].holder,
            .leaving = rows[i].leaving,
            .news = rows[i].news};
        if (kube_custom_decide(&s) != rows[i].act)
            fail_msg("row %zu: %d", i, kube_custom_decide(&s));
    }
}

/* The same for all states that there are. */
static void test_decide_never(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 32; bits++)
        for (int holder = 0; holder <= KUBE_HOLDER_OTHER; holder++) {
            struct kube_custom_state s = {
                .object = {.deleted_s = bits & 1, .finalizer = (bits & 2) != 0, .adopt = (bits & 4) != 0},
                .holder = (enum kube_holder)holder,
                .leaving = (bits & 8) != 0,
                .news = (bits & 16) != 0};
            enum kube_custom_act act = kube_custom_decide(&s);
            bool gone = s.object.deleted_s != 0, ours = holder == KUBE_HOLDER_OURS;
            assert_true(act != KUBE_CUSTOM_REMOVE || (gone && ours && s.object.finalizer && !s.leaving));
            assert_true(act != KUBE_CUSTOM_RELEASE || (gone && !ours && s.object.finalizer));
            assert_true(act != KUBE_CUSTOM_PUT ||
                        (!gone && s.object.finalizer && holder != KUBE_HOLDER_OTHER));
            assert_true(act != KUBE_CUSTOM_PUT || holder != KUBE_HOLDER_API || s.object.adopt);
            assert_true(act != KUBE_CUSTOM_PUT || !ours || s.news); /* O4 */
            assert_true(act != KUBE_CUSTOM_FINALIZE || (!gone && !s.object.finalizer));
        }
}

static void test_documents(void **state)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_problems p = {.arena = &arena};
    (void)state;
    assert_string_equal(
        text_of(&arena, kube_custom_app(&arena, parse(&arena, object_text))),
        "{\"apiVersion\":\"astra-ray.dev/v1alpha1\",\"kind\":\"App\",\"metadata\":{\"name\":\"a\","
        "\"namespace\":\"team\",\"labels\":{\"l\":\"1\"}},\"spec\":{\"units\":2}}");
    static const char pool[] =
        "{\"kind\":\"Pool\",\"metadata\":{\"name\":\"p\",\"namespace\":\"ml\"},\"spec\":{\"max\":2,"
        "\"resources\":{\"cpu\":1,\"memory\":\"1Gi\"}}}";
    const struct wire_value *doc = kube_custom_pool(&p, parse(&arena, pool), "east");
    assert_string_equal(wire_value_string(wire_value_path(doc, "spec.cluster"), ""), "east");
    assert_string_equal(wire_value_string(wire_value_path(doc, "spec.namespace"), ""), "ml");
    assert_non_null(kube_pool_check(&p, doc));
    assert_int_equal(p.n_errors, 0);
    static const char elsewhere[] =
        "{\"metadata\":{\"namespace\":\"ml\"},\"spec\":{\"cluster\":\"west\",\"namespace\":\"kube-system\"}}";
    (void)kube_custom_pool(&p, parse(&arena, elsewhere),
                           "east"); /* O6: nobody reaches into another namespace */
    assert_int_equal(p.n_errors, 2);
    assert_string_equal(kube_custom_errors(&arena, &p),
                        "spec.cluster: a Pool is where its object is: east; leave it out\n"
                        "spec.namespace: a Pool is where its object is: ml; leave it out");
}

static void test_status(void **state)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_problems p = {.arena = &arena};
    const struct kube_custom_condition other = {.type = "Available", .status = true};
    struct kube_custom_told told = {.generation = 3,
                                    .applied = 2,
                                    .now_us = 1767225600999999,
                                    .accepted = {"Accepted", false, "Invalid", "spec.x: no such field"},
                                    .conditions = &other,
                                    .n_conditions = 1};
    (void)state;
    struct wire_value *first = kube_custom_status(&arena, &told);
    const struct wire_value *accepted = wire_value_path(first, "conditions.0");
    assert_string_equal(wire_value_string(wire_value_get(accepted, "lastTransitionTime"), ""),
                        "2026-01-01T00:00:00Z");
    /* kubectl wait goes by the generation: what serves is of the one before */
    assert_int_equal(wire_value_int(wire_value_get(accepted, "observedGeneration"), 0), 3);
    assert_int_equal(wire_value_int(wire_value_path(first, "conditions.1.observedGeneration"), 0), 2);
    assert_string_equal(wire_value_string(wire_value_path(first, "conditions.1.reason"), ""), "None");
    /* the definition knows every field */
    assert_non_null(wire_schema_check(&p, &kube_app_status_schema, first));
    assert_int_equal(p.n_errors, 0);
    told.before = first;
    told.now_us += 60000000;
    assert_true(wire_value_equal(first, kube_custom_status(&arena, &told))); /* O5 */
    told.accepted.status = true;
    struct wire_value *second = kube_custom_status(&arena, &told);
    assert_string_equal(wire_value_string(wire_value_path(second, "conditions.0.lastTransitionTime"), ""),
                        "2026-01-01T00:01:00Z");
    struct wire_value *body = kube_custom_status_apply(&arena, parse(&arena, object_text), second);
    assert_string_equal(text_of(&arena, wire_value_get(body, "metadata")),
                        "{\"name\":\"a\",\"namespace\":\"team\",\"uid\":\"u1\"}");
}

static void test_finalizer(void **state)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct wire_value *object = parse(&arena, object_text);
    (void)state;
    assert_string_equal(
        text_of(&arena, kube_custom_finalizer(&arena, object, false)),
        "{\"metadata\":{\"uid\":\"u1\",\"resourceVersion\":\"7\",\"finalizers\":[\"other\"]}}");
    assert_string_equal(
        text_of(&arena, wire_value_path(kube_custom_finalizer(&arena, object, true), "metadata.finalizers")),
        "[\"other\",\"astra-ray.dev/in-use\"]");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_row),          cmocka_unit_test(test_decide),
                                       cmocka_unit_test(test_decide_never), cmocka_unit_test(test_documents),
                                       cmocka_unit_test(test_status),       cmocka_unit_test(test_finalizer)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
