/* YAML: limits hold, positions lie inside the text, and what parses prints as YAML and as JSON that parse to
 * the same value. */
#include <errno.h>
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "wire/value.h"

#define DEPTH 32

static size_t tree_check(const struct wire_value *v, unsigned depth, unsigned lines)
{
    size_t n = 1;
    a_assert(v->line >= 1 && v->line <= lines && v->column >= 1);
    a_assert(v->key.ptr == NULL || (v->key_line >= 1 && v->key_line <= v->line));
    a_assert(depth <= DEPTH + 1);
    wire_value_foreach(it, v) n += tree_check(it, depth + 1, lines);
    return n;
}

static void print_check(const struct wire_value *v, bool yaml)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *back;
    if (yaml)
        wire_yaml_print(&b, v);
    else
        wire_json_print(&b, v, 0);
    int r = yaml ? wire_yaml_parse(&arena, a_buf_view(&b), NULL, NULL, &back, NULL)
                 : wire_json_parse(&arena, a_buf_view(&b), NULL, NULL, &back, NULL);
    a_assert(r == 0 && wire_value_equal(v, back));
}

/* As a file of several documents: what one document says is the first of them. Each text in it that is YAML
 * is taken or refused, with positions inside the file. */
static void documents_check(struct a_view text, const struct wire_value *one, unsigned lines)
{
    A_ARENA_AUTO struct a_arena arena = {.limit = 16u << 20};
    A_ERROR_AUTO struct a_error err = {0};
    const struct wire_value_limits limits = {.bytes = 16384, .nodes = 1000, .depth = DEPTH};
    struct wire_value *all = NULL, *inner = NULL;
    int r = wire_yaml_parse_all(&arena, text, "f", &limits, &all, &err);
    a_assert((r == 0) == (err.message == NULL) && (r == 0) == (all != NULL));
    if (one != NULL && r == 0 && wire_value_count(all) > 0)
        a_assert(wire_value_count(all) == 1 && wire_value_equal(one, wire_value_at(all, 0)));
    wire_value_foreach(v, all)
    {
        a_assert(v->line >= 1 && v->line <= lines);
        wire_value_foreach(member, v)
        {
            if (member->type == WIRE_VALUE_STRING &&
                wire_yaml_parse_inner(&arena, text, member, "f", &limits, &inner, NULL) == 0)
                tree_check(inner, 1, lines);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_ARENA_AUTO struct a_arena arena = {.limit = 16u << 20};
    A_ERROR_AUTO struct a_error err = {0};
    const struct wire_value_limits limits = {.bytes = 16384, .nodes = 1000, .depth = DEPTH};
    struct wire_value *v = NULL;
    unsigned lines = 2;
    int r = wire_yaml_parse(&arena, (struct a_view){(const char *)data, size}, "f", &limits, &v, &err);
    a_assert(r == 0 || r == -EINVAL || r == -E2BIG || r == -ENOMEM);
    a_assert((r == 0) == (err.message == NULL) && (r == 0) == (v != NULL));
    for (size_t i = 0; i < size; i++)
        lines += data[i] == '\n' || data[i] == '\r';
    documents_check((struct a_view){(const char *)data, size}, v, lines);
    if (r != 0)
        return 0;
    a_assert(tree_check(v, 1, lines) <= 1000);
    print_check(v, true);
    print_check(v, false);
    return 0;
}
