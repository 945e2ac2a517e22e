#include "wire/value_reader.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#define BYTES_DEFAULT (8u << 20)
#define NODES_DEFAULT 100000
#define DEPTH_DEFAULT 64

int wire_value_reader_init(struct wire_value_reader *r, struct a_arena *arena, struct a_view text,
                           const char *name, const struct wire_value_limits *limits, struct a_error *reterr)
{
    *r = (struct wire_value_reader){.arena = arena, .name = name, .reterr = reterr};
    if (limits != NULL)
        r->limits = *limits;
    if (r->limits.bytes == 0)
        r->limits.bytes = BYTES_DEFAULT;
    if (r->limits.nodes == 0)
        r->limits.nodes = NODES_DEFAULT;
    if (r->limits.depth == 0)
        r->limits.depth = DEPTH_DEFAULT;
    if (text.len <= r->limits.bytes)
        return 0;
    return wire_value_reader_fail(r, -E2BIG, 0, 0, "%zu bytes, at most %zu are read", text.len,
                                  r->limits.bytes);
}

int wire_value_reader_fail(struct wire_value_reader *r, int rc, unsigned line, unsigned column,
                           const char *fmt, ...)
{
    A_BUF_AUTO struct a_buf b = {0};
    va_list args;
    if (r->name != NULL && line > 0)
        a_buf_addf(&b, "%s:%u:%u: ", r->name, line, column);
    else if (r->name != NULL)
        a_buf_addf(&b, "%s: ", r->name);
    else if (line > 0)
        a_buf_addf(&b, "line %u, column %u: ", line, column);
    va_start(args, fmt);
    a_buf_vaddf(&b, fmt, args);
    va_end(args);
    return a_fail(r->reterr, rc, rc == -E2BIG ? A_CODE_TOO_LARGE : A_CODE_INVALID, "%s",
                  b.ptr != NULL ? b.ptr : "");
}

int wire_value_reader_node(struct wire_value_reader *r, enum wire_value_type type, unsigned line,
                           unsigned column, struct wire_value **ret)
{
    if (++r->nodes > r->limits.nodes)
        return wire_value_reader_fail(r, -E2BIG, line, column, "more than %zu values", r->limits.nodes);
    struct wire_value *v = a_arena_try(r->arena, sizeof *v);
    if (v == NULL)
        return wire_value_reader_fail(r, -ENOMEM, line, column, "no room");
    v->type = type;
    v->line = line;
    v->column = column;
    *ret = v;
    return 0;
}

int wire_value_reader_text(struct wire_value_reader *r, struct a_view s, unsigned line, unsigned column,
                           struct a_view *ret)
{
    if (s.len > 0 && memchr(s.ptr, '\0', s.len) != NULL)
        return wire_value_reader_fail(r, -EINVAL, line, column, "a zero byte in a text");
    char *copy = a_arena_try(r->arena, s.len + 1);
    if (copy == NULL)
        return wire_value_reader_fail(r, -ENOMEM, line, column, "no room");
    if (s.len > 0)
        memcpy(copy, s.ptr, s.len);
    *ret = (struct a_view){copy, s.len};
    return 0;
}

void wire_value_reader_add(struct wire_value *parent, struct wire_value *child)
{
    if (parent->children.last != NULL)
        parent->children.last->next = child;
    else
        parent->children.first = child;
    parent->children.last = child;
    parent->children.count++;
}
