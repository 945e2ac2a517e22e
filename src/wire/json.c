/* JSON texts to value trees, by jansson, and back. A first walk over the bytes holds the limits: jansson
 * would build the whole tree before anybody could count it. */
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "wire/number.h"
#include "wire/value.h"
#include "wire/value_reader.h"

/* ---- reading ---- */

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Index past the string that begins at `at`. */
static size_t string_skip(struct a_view text, size_t at)
{
    for (at++; at < text.len && text.ptr[at] != '"'; at++)
        if (text.ptr[at] == '\\')
            at++;
    return at + 1;
}

/* Counts values and depth as if the text were JSON; if it is not, jansson finds out. A value is the first
 * thing in a text or container, or follows a comma; "[]" holds none. */
static int limits_check(struct wire_value_reader *r, struct a_view text)
{
    size_t nodes = 1, depth = 0;
    bool opened = false; /* the last thing was a '[' or '{' */
    for (size_t i = 0; i < text.len;) {
        char c = text.ptr[i];
        if (is_space(c)) {
            i++;
            continue;
        }
        bool opens = c == '[' || c == '{', closes = c == ']' || c == '}';
        nodes += (opened && !closes) + (c == ',');
        if (opens && ++depth > r->limits.depth)
            return wire_value_reader_fail(r, -E2BIG, 0, 0, "more than %u levels deep", r->limits.depth);
        depth -= closes && depth > 0;
        if (nodes > r->limits.nodes)
            return wire_value_reader_fail(r, -E2BIG, 0, 0, "more than %zu values", r->limits.nodes);
        opened = opens;
        i = c == '"' ? string_skip(text, i) : i + 1;
    }
    return 0;
}

static int json_convert(struct wire_value_reader *r, const json_t *json, struct wire_value **ret);

static int array_convert(struct wire_value_reader *r, const json_t *json, struct wire_value *v)
{
    size_t n = json_array_size(json);
    for (size_t i = 0; i < n; i++) {
        struct wire_value *child;
        int rc = json_convert(r, json_array_get(json, i), &child);
        if (rc != 0)
            return rc;
        wire_value_reader_add(v, child);
    }
    return 0;
}

static int object_convert(struct wire_value_reader *r, json_t *json, struct wire_value *v)
{
    for (void *it = json_object_iter(json); it != NULL; it = json_object_iter_next(json, it)) {
        struct wire_value *child;
        int rc = json_convert(r, json_object_iter_value(it), &child);
        if (rc == 0)
            rc = wire_value_reader_text(r, a_view_str(json_object_iter_key(it)), 0, 0, &child->key);
        if (rc != 0)
            return rc;
        wire_value_reader_add(v, child);
    }
    return 0;
}

static enum wire_value_type type_of(const json_t *json)
{
    switch (json_typeof(json)) {
    case JSON_OBJECT:
        return WIRE_VALUE_OBJECT;
    case JSON_ARRAY:
        return WIRE_VALUE_ARRAY;
    case JSON_STRING:
        return WIRE_VALUE_STRING;
    case JSON_INTEGER:
        return WIRE_VALUE_INT;
    case JSON_REAL:
        return WIRE_VALUE_DOUBLE;
    case JSON_TRUE:
    case JSON_FALSE:
        return WIRE_VALUE_BOOL;
    case JSON_NULL:
        break;
    }
    return WIRE_VALUE_NULL;
}

static int json_convert(struct wire_value_reader *r, const json_t *json, struct wire_value **ret)
{
    struct wire_value *v;
    int rc = wire_value_reader_node(r, type_of(json), 0, 0, &v);
    if (rc != 0)
        return rc;
    *ret = v;
    switch (v->type) {
    case WIRE_VALUE_OBJECT:
        return object_convert(r, (json_t *)json, v);
    case WIRE_VALUE_ARRAY:
        return array_convert(r, json, v);
    case WIRE_VALUE_STRING:
        return wire_value_reader_text(r, (struct a_view){json_string_value(json), json_string_length(json)},
                                      0, 0, &v->string);
    case WIRE_VALUE_INT:
        v->integer = json_integer_value(json);
        return 0;
    case WIRE_VALUE_DOUBLE:
        v->number = json_real_value(json);
        return 0;
    default:
        v->boolean = json_is_true(json);
        return 0;
    }
}

int wire_json_parse(struct a_arena *arena, struct a_view text, const char *name,
                    const struct wire_value_limits *limits, struct wire_value **ret, struct a_error *reterr)
{
    struct wire_value_reader r;
    struct wire_value *v = NULL;
    json_error_t error;
    int rc = wire_value_reader_init(&r, arena, text, name, limits, reterr);
    if (rc == 0)
        rc = limits_check(&r, text);
    if (rc != 0)
        return rc;
    json_t *json =
        json_loadb(text.len > 0 ? text.ptr : "", text.len, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, &error);
    if (json == NULL && json_error_code(&error) == json_error_out_of_memory)
        return wire_value_reader_fail(&r, -ENOMEM, 0, 0, "no room");
    if (json == NULL)
        return wire_value_reader_fail(&r, -EINVAL, error.line > 0 ? (unsigned)error.line : 1,
                                      error.column > 0 ? (unsigned)error.column : 1, "%s", error.text);
    rc = json_convert(&r, json, &v);
    json_decref(json);
    if (rc == 0)
        *ret = v;
    return rc;
}

/* ---- printing ---- */

struct printer {
    struct a_buf *b;
    unsigned flags;
    unsigned depth;
};

static void value_print(struct printer *p, const struct wire_value *v);

static void line_break(struct printer *p)
{
    if ((p->flags & WIRE_JSON_PRETTY) == 0)
        return;
    a_buf_add_char(p->b, '\n');
    for (unsigned i = 0; i < p->depth; i++)
        a_buf_add(p->b, "  ", 2);
}

static void child_print(struct printer *p, const struct wire_value *child, bool member, bool first)
{
    if (!first)
        a_buf_add_char(p->b, ',');
    line_break(p);
    if (member) {
        a_text_print_json(p->b, child->key);
        a_buf_add_str(p->b, p->flags & WIRE_JSON_PRETTY ? ": " : ":");
    }
    value_print(p, child);
}

static int key_compare(const void *a, const void *b)
{
    struct a_view x = (*(const struct wire_value *const *)a)->key,
                  y = (*(const struct wire_value *const *)b)->key;
    int order = memcmp(x.ptr, y.ptr, A_MIN(x.len, y.len));
    return order != 0 ? order : (x.len > y.len) - (x.len < y.len);
}

static void sorted_print(struct printer *p, const struct wire_value *v)
{
    A_AUTOFREE const struct wire_value **members = a_alloc_array(v->children.count, sizeof *members);
    size_t n = 0;
    wire_value_foreach(it, v) members[n++] = it;
    qsort(members, n, sizeof *members, key_compare);
    for (size_t i = 0; i < n; i++)
        child_print(p, members[i], true, i == 0);
}

static void parent_print(struct printer *p, const struct wire_value *v)
{
    bool object = v->type == WIRE_VALUE_OBJECT;
    a_buf_add_char(p->b, object ? '{' : '[');
    p->depth++;
    if (object && (p->flags & WIRE_JSON_SORTED) != 0) {
        sorted_print(p, v);
    } else {
        wire_value_foreach(it, v) child_print(p, it, object, it == v->children.first);
    }
    p->depth--;
    if (v->children.count > 0)
        line_break(p);
    a_buf_add_char(p->b, object ? '}' : ']');
}

static void value_print(struct printer *p, const struct wire_value *v)
{
    switch (v->type) {
    case WIRE_VALUE_NULL:
        a_buf_add_str(p->b, "null");
        return;
    case WIRE_VALUE_BOOL:
        a_buf_add_str(p->b, v->boolean ? "true" : "false");
        return;
    case WIRE_VALUE_INT:
        a_buf_addf(p->b, "%lld", (long long)v->integer);
        return;
    case WIRE_VALUE_DOUBLE:
        if (isfinite(v->number))
            wire_number_print(p->b, v->number);
        else
            a_buf_add_str(p->b, "null");
        return;
    case WIRE_VALUE_STRING:
        a_text_print_json(p->b, v->string);
        return;
    case WIRE_VALUE_ARRAY:
    case WIRE_VALUE_OBJECT:
        parent_print(p, v);
        return;
    }
}

void wire_json_print(struct a_buf *b, const struct wire_value *v, unsigned flags)
{
    struct printer p = {b, flags, 0};
    value_print(&p, v);
    if ((flags & WIRE_JSON_PRETTY) != 0)
        a_buf_add_char(b, '\n');
}
