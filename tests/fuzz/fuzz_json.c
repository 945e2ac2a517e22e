/* JSON: what parses, prints; what was printed parses to the same value, in every form, and as YAML, too. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "wire/value.h"

#define DEPTH 32

static unsigned depth_of(const struct wire_value *v)
{
    unsigned deepest = 0;
    wire_value_foreach(it, v) deepest = A_MAX(deepest, depth_of(it));
    return deepest + (v->type == WIRE_VALUE_ARRAY || v->type == WIRE_VALUE_OBJECT);
}

static size_t count_of(const struct wire_value *v)
{
    size_t n = 1;
    wire_value_foreach(it, v) n += count_of(it);
    return n;
}

static void print_check(const struct wire_value *v, unsigned flags)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *back;
    wire_json_print(&b, v, flags);
    a_assert(wire_json_parse(&arena, a_buf_view(&b), NULL, NULL, &back, NULL) == 0);
    a_assert(wire_value_equal(v, back));
}

static void yaml_check(const struct wire_value *v)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *back;
    wire_yaml_print(&b, v);
    a_assert(wire_yaml_parse(&arena, a_buf_view(&b), NULL, NULL, &back, NULL) == 0);
    a_assert(wire_value_equal(v, back));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ARENA_AUTO struct a_arena arena = {.limit = 16u << 20};
    A_ERROR_AUTO struct a_error err = {0};
    const struct wire_value_limits limits = {.bytes = 65536, .nodes = 1000, .depth = DEPTH};
    struct wire_value *v = NULL;
    int r = wire_json_parse(&arena, (struct a_view){(const char *)data, size}, "f", &limits, &v, &err);
    a_assert(r == 0 || r == -EINVAL || r == -E2BIG || r == -ENOMEM);
    a_assert((r == 0) == (err.message == NULL) && (r == 0) == (v != NULL));
    if (r != 0)
        return 0;
    a_assert(depth_of(v) <= DEPTH && count_of(v) <= 1000);
    print_check(v, 0);
    print_check(v, WIRE_JSON_SORTED);
    print_check(v, WIRE_JSON_PRETTY);
    yaml_check(v);
    return 0;
}
