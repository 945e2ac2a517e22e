/* YAML texts to value trees, by libyaml's events: nothing is built or expanded that was not counted first.
 * Anchors and aliases are refused: an app's file needs none, and a few lines of them can stand for a
 * terabyte.
 *
 * libyaml reads YAML 1.1. What 1.2 changed is done here: scalars follow 1.2's core schema, and the three
 * characters that only 1.1 takes for line ends are refused rather than folded. (libfyaml speaks 1.2, but the
 * version at hand does not return from some inputs and leaks on others.) */
#include <errno.h>
#include <string.h>
#include <yaml.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/map.h"
#include "base/text.h"
#include "wire/value.h"
#include "wire/value_reader.h"
#include "wire/yaml_scalar.h"

/* A key that was seen: its object's address and its text. */
struct seen {
    struct a_map_link link;
    char key[];
};

struct level {
    struct wire_value *parent;
    struct a_view key; /* of the member that comes next */
    uint32_t key_line, key_column;
    bool has_key;
};

struct yaml {
    struct wire_value_reader r;
    struct level *levels; /* limits.depth of them */
    unsigned depth;
    struct wire_value *root; /* with `all` a list, of the documents */
    bool all;
    unsigned documents;
    unsigned first_line, indent; /* of a text within a text: what to add to its own positions */
    unsigned fixed_line;         /* not 0: every position is this one, and fixed_column */
    unsigned fixed_column;
    unsigned line, column;  /* of the event at hand */
    struct a_arena scratch; /* what `keys` links */
    struct a_map keys;
};

/* Line and column count from 0. */
static void position_set(struct yaml *y, size_t line, size_t column)
{
    y->line = y->fixed_line > 0 ? y->fixed_line : y->first_line + (unsigned)line + 1;
    y->column = y->fixed_line > 0 ? y->fixed_column : y->indent + (unsigned)column + 1;
}

static int yaml_fail(struct yaml *y, int rc, const char *what)
{
    return wire_value_reader_fail(&y->r, rc, y->line, y->column, "%s", what);
}

/* The seen keys of all objects share one table; its keys begin with an address, which nobody outside can
 * know. */
static int key_note(struct yaml *y, const struct wire_value *object, struct a_view key)
{
    size_t len = sizeof object + key.len;
    struct seen *s = a_arena_try(&y->scratch, sizeof *s + len);
    if (s == NULL)
        return yaml_fail(y, -ENOMEM, "no room");
    memcpy(s->key, &object, sizeof object);
    memcpy(s->key + sizeof object, key.ptr, key.len);
    if (a_map_get(&y->keys, s->key, len) != NULL)
        return wire_value_reader_fail(&y->r, -EINVAL, y->line, y->column, "\"" A_VIEW_FMT "\" is here twice",
                                      A_VIEW_ARG(key));
    a_map_put(&y->keys, &s->link, s->key, len);
    return 0;
}

static int key_take(struct yaml *y, struct level *l, struct a_view text, bool plain)
{
    if (plain && text.len == 0)
        return yaml_fail(y, -EINVAL, "a name is missing before the colon");
    if (plain && a_view_is(text, "<<"))
        return yaml_fail(y, -EINVAL, "merge keys (<<) are not supported: write the members out");
    int rc = wire_value_reader_text(&y->r, text, y->line, y->column, &l->key);
    if (rc == 0)
        rc = key_note(y, l->parent, l->key);
    if (rc != 0)
        return rc;
    l->key_line = y->line;
    l->key_column = y->column;
    l->has_key = true;
    return 0;
}

static void value_place(struct yaml *y, struct wire_value *v)
{
    if (y->depth == 0 && !y->all) {
        y->root = v;
        return;
    }
    if (y->depth == 0) {
        wire_value_reader_add(y->root, v);
        return;
    }
    struct level *l = &y->levels[y->depth - 1];
    if (l->parent->type == WIRE_VALUE_OBJECT) {
        a_assert(l->has_key);
        v->key = l->key;
        v->key_line = l->key_line;
        v->key_column = l->key_column;
        l->has_key = false;
    }
    wire_value_reader_add(l->parent, v);
}

static bool wants_key(const struct yaml *y)
{
    const struct level *l = y->depth > 0 ? &y->levels[y->depth - 1] : NULL;
    return l != NULL && l->parent->type == WIRE_VALUE_OBJECT && !l->has_key;
}

static int decoration_check(struct yaml *y, const yaml_char_t *anchor, const yaml_char_t *tag)
{
    if (anchor != NULL)
        return yaml_fail(y, -EINVAL, "anchors (&) and aliases (*) are not supported: write the value out");
    if (tag != NULL)
        return yaml_fail(y, -EINVAL, "tags (!) are not supported; quote a value to make it a text");
    return 0;
}

static int scalar_resolve(struct yaml *y, struct a_view text, bool plain, struct wire_value *v)
{
    if (plain) {
        switch (wire_yaml_scalar_resolve(text, v)) {
        case WIRE_YAML_SCALAR_OK:
            break;
        case WIRE_YAML_SCALAR_LARGE:
            return yaml_fail(y, -EINVAL, "a number beyond 64 bits; quote it to make it a text");
        case WIRE_YAML_SCALAR_INFINITE:
            return yaml_fail(y, -EINVAL, "infinities and .nan are not supported; quote it to make it a text");
        }
    }
    return v->type == WIRE_VALUE_STRING ? wire_value_reader_text(&y->r, text, y->line, y->column, &v->string)
                                        : 0;
}

static int scalar_take(struct yaml *y, const yaml_event_t *e)
{
    struct wire_value *v;
    struct a_view text = {(const char *)e->data.scalar.value, e->data.scalar.length};
    bool plain = e->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    int rc = decoration_check(y, e->data.scalar.anchor, e->data.scalar.tag);
    if (rc != 0)
        return rc;
    if (wants_key(y))
        return key_take(y, &y->levels[y->depth - 1], text, plain);
    rc = wire_value_reader_node(&y->r, WIRE_VALUE_STRING, y->line, y->column, &v);
    if (rc == 0)
        rc = scalar_resolve(y, text, plain, v);
    if (rc == 0)
        value_place(y, v);
    return rc;
}

static int level_push(struct yaml *y, enum wire_value_type type, const yaml_char_t *anchor,
                      const yaml_char_t *tag)
{
    struct wire_value *v;
    int rc = decoration_check(y, anchor, tag);
    if (rc != 0)
        return rc;
    if (wants_key(y))
        return yaml_fail(y, -EINVAL, "a name must be a text, not a list or mapping");
    if (y->depth == y->r.limits.depth)
        return wire_value_reader_fail(&y->r, -E2BIG, y->line, y->column, "more than %u levels deep",
                                      y->depth);
    rc = wire_value_reader_node(&y->r, type, y->line, y->column, &v);
    if (rc != 0)
        return rc;
    value_place(y, v);
    y->levels[y->depth++] = (struct level){.parent = v};
    return 0;
}

static int event_take(struct yaml *y, const yaml_event_t *e)
{
    position_set(y, e->start_mark.line, e->start_mark.column);
    switch (e->type) {
    case YAML_DOCUMENT_START_EVENT:
        return ++y->documents > 1 && !y->all ? yaml_fail(y, -EINVAL, "a second document: one is read") : 0;
    case YAML_ALIAS_EVENT:
        return yaml_fail(y, -EINVAL, "anchors (&) and aliases (*) are not supported: write the value out");
    case YAML_SCALAR_EVENT:
        return scalar_take(y, e);
    case YAML_SEQUENCE_START_EVENT:
        return level_push(y, WIRE_VALUE_ARRAY, e->data.sequence_start.anchor, e->data.sequence_start.tag);
    case YAML_MAPPING_START_EVENT:
        return level_push(y, WIRE_VALUE_OBJECT, e->data.mapping_start.anchor, e->data.mapping_start.tag);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        a_assert(y->depth > 0);
        y->depth--;
        return 0;
    default:
        return 0;
    }
}

static int parser_fail(struct yaml *y, const yaml_parser_t *parser)
{
    const char *what = parser->problem != NULL ? parser->problem : "not YAML";
    if (parser->error == YAML_MEMORY_ERROR)
        return yaml_fail(y, -ENOMEM, "no room");
    position_set(y, parser->problem_mark.line, parser->problem_mark.column);
    if (parser->context == NULL)
        return yaml_fail(y, -EINVAL, what);
    /* "while parsing a flow sequence", and where that began */
    return wire_value_reader_fail(
        &y->r, -EINVAL, y->line, y->column, "%s (%s from line %u)", what, parser->context,
        y->fixed_line > 0 ? y->fixed_line : y->first_line + (unsigned)parser->context_mark.line + 1);
}

static int text_take(struct yaml *y, struct a_view text)
{
    yaml_parser_t parser;
    yaml_event_t event;
    bool end = false;
    int rc = 0;
    if (!yaml_parser_initialize(&parser))
        return yaml_fail(y, -ENOMEM, "no room");
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text.ptr, text.len);
    while (rc == 0 && !end) {
        if (!yaml_parser_parse(&parser, &event)) {
            rc = parser_fail(y, &parser);
            break;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        rc = event_take(y, &event);
        yaml_event_delete(&event);
    }
    yaml_parser_delete(&parser);
    return rc;
}

/* U+0085, U+2028 or U+2029 at v.ptr[i]. */
static bool is_old_line_end(struct a_view v, size_t i)
{
    static const char *const ends[] = {"\xc2\x85", "\xe2\x80\xa8", "\xe2\x80\xa9"};
    for (size_t k = 0; k < A_ARRAY_SIZE(ends); k++)
        if (a_view_starts((struct a_view){v.ptr + i, v.len - i}, ends[k]))
            return true;
    return false;
}

static int text_check(struct yaml *y, struct a_view text)
{
    size_t n = 0;
    for (struct a_view rest = text; rest.len > 0; n++) {
        struct a_view line = a_view_split(rest, '\n', &rest);
        position_set(y, n, 0);
        if (!a_text_is_utf8(line))
            return yaml_fail(y, -EINVAL, "not UTF-8");
        for (size_t i = 0; i < line.len; i++) {
            unsigned char c = (unsigned char)line.ptr[i];
            position_set(y, n, i);
            if ((c < 0x20 && c != '\t' && !(c == '\r' && i + 1 == line.len)) || c == 0x7f)
                return yaml_fail(y, -EINVAL, "a control byte");
            if (c >= 0xc2 && is_old_line_end(line, i))
                return yaml_fail(y, -EINVAL, "a line separator that is not a line end; write it as \\u2028");
        }
    }
    position_set(y, 0, 0);
    return 0;
}

static int yaml_parse(struct yaml *y, struct a_arena *arena, struct a_view text, const char *name,
                      const struct wire_value_limits *limits, struct wire_value **ret, struct a_error *reterr)
{
    int rc = wire_value_reader_init(&y->r, arena, text, name, limits, reterr);
    if (rc == 0)
        rc = text_check(y, text);
    if (rc == 0 && y->all)
        rc = wire_value_reader_node(&y->r, WIRE_VALUE_ARRAY, y->line, y->column, &y->root);
    if (rc != 0)
        return rc;
    y->levels = a_alloc_array(y->r.limits.depth, sizeof *y->levels);
    rc = text_take(y, text);
    if (rc == 0 && y->root == NULL) {
        position_set(y, 0, 0);
        rc = wire_value_reader_node(&y->r, WIRE_VALUE_NULL, y->line, y->column, &y->root);
    }
    if (rc == 0)
        *ret = y->root;
    a_map_deinit(&y->keys);
    a_arena_deinit(&y->scratch);
    a_free(y->levels);
    return rc;
}

int wire_yaml_parse(struct a_arena *arena, struct a_view text, const char *name,
                    const struct wire_value_limits *limits, struct wire_value **ret, struct a_error *reterr)
{
    struct yaml y = {0};
    return yaml_parse(&y, arena, text, name, limits, ret, reterr);
}

int wire_yaml_parse_all(struct a_arena *arena, struct a_view text, const char *name,
                        const struct wire_value_limits *limits, struct wire_value **ret,
                        struct a_error *reterr)
{
    struct yaml y = {.all = true};
    return yaml_parse(&y, arena, text, name, limits, ret, reterr);
}

/* ---- YAML within YAML ---- */

/* Line `n` of a text, from 1; empty past its end. */
static struct a_view line_of(struct a_view text, unsigned n, struct a_view *ret_rest)
{
    struct a_view line = {0}, rest = text;
    for (unsigned i = 0; i < n; i++)
        line = rest.len > 0 ? a_view_split(rest, '\n', &rest) : (struct a_view){0};
    *ret_rest = rest;
    return line;
}

/* How far a literal block (|) is indented, whose head stands at `v`; false when `v` is written otherwise. The
 * column counts characters: after others than ASCII in that line it finds nothing, which is no harm. */
static bool literal_indent(struct a_view text, const struct wire_value *v, unsigned *ret)
{
    struct a_view rest, line = line_of(text, v->line, &rest);
    if (v->column == 0 || line.ptr == NULL || v->column > line.len || line.ptr[v->column - 1] != '|')
        return false;
    while (rest.len > 0) {
        size_t spaces = 0;
        line = a_view_split(rest, '\n', &rest);
        while (spaces < line.len && line.ptr[spaces] == ' ')
            spaces++;
        if (spaces < line.len && line.ptr[spaces] != '\r') {
            *ret = (unsigned)spaces;
            return true;
        }
    }
    return false;
}

int wire_yaml_parse_inner(struct a_arena *arena, struct a_view text, const struct wire_value *v,
                          const char *name, const struct wire_value_limits *limits, struct wire_value **ret,
                          struct a_error *reterr)
{
    struct yaml y = {0};
    if (literal_indent(text, v, &y.indent)) {
        y.first_line = v->line;
    } else {
        y.fixed_line = A_MAX(v->line, 1u);
        y.fixed_column = A_MAX(v->column, 1u);
    }
    return yaml_parse(&y, arena, wire_value_view(v), name, limits, ret, reterr);
}
