/* The base layer: memory, text, containers, errors, state machines. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/metrics.h"
#include "base/random.h"
#include "base/text.h"

static void test_buf_bounds(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {.max = 5};
    a_buf_add_str(&b, "abc");
    a_buf_add_str(&b, "def");
    assert_true(b.failed);
    assert_string_equal(b.ptr, "abc");
    a_buf_reset(&b);
    a_buf_addf(&b, "%d", 12345);
    assert_false(b.failed);
    a_buf_consume(&b, 2);
    assert_string_equal(b.ptr, "345");
}

static void test_buf_out_of_memory(void **state)
{
    (void)state;
    for (uint64_t n = 1; n < 4; n++) {
        A_BUF_AUTO struct a_buf b = {0};
        a_try_alloc_fail_at(n);
        for (int i = 0; i < 1000; i++)
            a_buf_add_char(&b, 'x');
        a_try_alloc_fail_at(0);
        assert_true(b.failed);
        assert_true(b.len < 1000);
    }
}

static void test_error_context(void **state)
{
    (void)state;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(a_fail(&e, -5, A_CODE_RAY_REJECTED, "Ray answered %d", 500), -5);
    a_error_wrap(&e, "unit %s", "ocr-a1b2c");
    a_error_wrap(&e, "deploy ocr");
    assert_string_equal(a_error_text(&e), "deploy ocr: unit ocr-a1b2c: Ray answered 500");
    assert_int_equal(a_code_http(e.code), 502);
    assert_int_equal(a_code_parse("unit.ray.rejected"), A_CODE_RAY_REJECTED);
    struct a_error moved = A_ERROR_NONE;
    a_error_move(&moved, &e);
    assert_null(e.message);
    a_error_deinit(&moved);
    a_error_deinit(&moved);
    a_error_set(NULL, A_CODE_USAGE, "nobody listens");
}

struct item {
    struct a_map_link link;
    struct a_timer timer;
    char key[16];
};

static void test_map(void **state)
{
    (void)state;
    enum { N = 1000 };
    struct a_map map = {.seed = 7};
    struct item *items = a_alloc_array(N, sizeof *items);
    for (size_t i = 0; i < N; i++) {
        A_AUTOFREE char *key = a_asprintf("key-%zu", i);
        memcpy(items[i].key, key, strlen(key) + 1);
        a_map_put_str(&map, &items[i].link, items[i].key);
    }
    assert_int_equal(map.len, N);
    assert_ptr_equal(a_map_get_str(&map, "key-77"), &items[77].link);
    assert_null(a_map_get_str(&map, "key-1000"));
    size_t seen = 0;
    a_map_foreach (l, &map) {
        struct item *item = a_map_entry(l, struct item, link);
        if (seen++ % 2 == 0)
            a_map_remove(&map, &item->link);
    }
    assert_int_equal(seen, N);
    assert_int_equal(map.len, N / 2);
    a_map_deinit(&map);
    a_map_deinit(&map);
    a_free(items);
}

static void test_heap_pops_in_order(void **state)
{
    (void)state;
    enum { N = 500 };
    struct a_heap heap = {0};
    struct a_random random;
    a_random_init(&random, 42);
    struct item *items = a_alloc_array(N, sizeof *items);
    for (size_t i = 0; i < N; i++)
        a_heap_set(&heap, &items[i].timer, a_random_below(&random, 1000));
    for (size_t i = 0; i < N; i += 3)
        a_heap_set(&heap, &items[i].timer, a_random_below(&random, 1000));
    for (size_t i = 0; i < N; i += 5)
        a_heap_set(&heap, &items[i].timer, A_NEVER);
    uint64_t last = 0;
    size_t popped = 0;
    for (struct a_timer *t; (t = a_heap_pop(&heap, 1000)) != NULL; popped++) {
        assert_true(t->at_ms >= last);
        last = t->at_ms;
    }
    assert_int_equal(popped, N - N / 5);
    assert_true(a_heap_deadline(&heap) == A_NEVER);
    a_heap_deinit(&heap);
    a_free(items);
}

static void test_list(void **state)
{
    (void)state;
    struct a_list head, links[3] = {0};
    a_list_init(&head);
    for (int i = 0; i < 3; i++)
        a_list_push_back(&head, &links[i]);
    a_list_remove(&links[1]);
    a_list_remove(&links[1]);
    assert_ptr_equal(a_list_pop_front(&head), &links[0]);
    assert_ptr_equal(a_list_pop_front(&head), &links[2]);
    assert_null(a_list_pop_front(&head));
}

static void test_quantities(void **state)
{
    (void)state;
    uint64_t x;
    assert_true(a_text_bytes(A_VIEW_LIT("1.5Gi"), &x));
    assert_true(x == 1610612736);
    assert_true(a_text_bytes(A_VIEW_LIT("100M"), &x) && x == 100000000);
    assert_false(a_text_bytes(A_VIEW_LIT("1.5gb"), &x));
    assert_false(a_text_bytes(A_VIEW_LIT("99999999999999999999"), &x));
    assert_true(a_text_mcpu(A_VIEW_LIT("0.5"), &x) && x == 500);
    assert_true(a_text_mcpu(A_VIEW_LIT("250m"), &x) && x == 250);
    assert_false(a_text_mcpu(A_VIEW_LIT("0.5m"), &x));
    assert_true(a_text_duration(A_VIEW_LIT("1h30m"), &x) && x == 5400000);
    assert_true(a_text_duration(A_VIEW_LIT("250ms"), &x) && x == 250);
    assert_false(a_text_duration(A_VIEW_LIT("30"), &x));
    assert_false(a_text_duration(A_VIEW_LIT(""), &x));
    A_BUF_AUTO struct a_buf b = {0};
    a_text_print_bytes(&b, 1610612736);
    a_buf_add_char(&b, ' ');
    a_text_print_mcpu(&b, 500);
    a_buf_add_char(&b, ' ');
    a_text_print_duration(&b, 5400000);
    assert_string_equal(b.ptr, "1536Mi 0.5 1h30m");
}

static void test_json_text(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    assert_true(a_text_is_utf8(A_VIEW_LIT("a\xc3\xa9\xf0\x9f\x98\x80")));
    assert_false(a_text_is_utf8(A_VIEW_LIT("a\xc3")));
    assert_false(a_text_is_utf8(A_VIEW_LIT("\xed\xa0\x80")));
    a_text_print_json(&b, A_VIEW_LIT("a\"\\\n\x01\xc3\xa4\xff\xed\xa0\x80"));
    assert_string_equal(b.ptr,
                        "\"a\\\"\\\\\\n\\u0001\xc3\xa4\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");
}

static void test_metrics_text(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    a_metric_print(&b, "x_total", "counter", "All of x", 7);
    a_metric_label(&b, A_VIEW_LIT("a\\b\"c\nd"));
    assert_string_equal(b.ptr, "# HELP x_total All of x\n# TYPE x_total counter\nx_total 7\na\\\\b\\\"c\\nd");
}

static void test_nearest(void **state)
{
    (void)state;
    const char *const fields[] = {"environment", "models", "routes", NULL};
    assert_string_equal(a_text_nearest("enviroment", fields), "environment");
    assert_null(a_text_nearest("xyz", fields));
}

static void test_arena_limit(void **state)
{
    (void)state;
    A_ARENA_AUTO struct a_arena arena = {.limit = 100000};
    assert_non_null(a_arena_try(&arena, 90000));
    assert_null(a_arena_try(&arena, 20000));
    a_arena_reset(&arena);
    assert_string_equal(a_arena_printf(&arena, "%s-%d", "x", 7), "x-7");
    assert_null(a_arena_try(&arena, SIZE_MAX));
}

static void test_random_is_a_function_of_its_seed(void **state)
{
    (void)state;
    struct a_random a, b;
    a_random_init(&a, 1);
    a_random_init(&b, 1);
    for (int i = 0; i < 100; i++)
        assert_true(a_random_u64(&a) == a_random_u64(&b));
    for (int i = 0; i < 1000; i++)
        assert_true(a_random_below(&a, 3) < 3 && a_random_unit(&a) < 1.0);
}

static void test_checks(void **state)
{
    (void)state;
    assert_true(a_check(1 + 1 == 2));
    assert_int_equal(a_check_failures(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_buf_bounds),
        cmocka_unit_test(test_buf_out_of_memory),
        cmocka_unit_test(test_error_context),
        cmocka_unit_test(test_map),
        cmocka_unit_test(test_heap_pops_in_order),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_quantities),
        cmocka_unit_test(test_json_text),
        cmocka_unit_test(test_metrics_text),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_arena_limit),
        cmocka_unit_test(test_random_is_a_function_of_its_seed),
        cmocka_unit_test(test_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
