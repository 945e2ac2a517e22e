/* The checker: a walk over the table that completes as it goes. Every error is found in one pass; what fits
 * no field is named together with the nearest field that exists. What one field alone cannot tell is for the
 * owner of the table. */
#include "wire/schema.h"

#include <inttypes.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "types/id.h"

struct checker {
    struct wire_problems *p;
    const struct wire_schema *schema;
};

static struct wire_value *field_check(struct checker *c, const struct wire_field *f, enum wire_kind kind,
                                      const struct wire_value *v, const char *path);

static struct wire_value *fallback(struct a_arena *arena, const char *json)
{
    struct wire_value *v;
    int rc = wire_json_parse(arena, a_view_str(json), "default", NULL, &v, NULL);
    a_assert(rc == 0);
    return v;
}

static const struct wire_field *field_find(const struct wire_field *fields, struct a_view name)
{
    for (; fields->name != NULL; fields++)
        if (a_view_is(name, fields->name))
            return fields;
    return NULL;
}

static void unknown_field(struct checker *c, const struct wire_field *fields, const struct wire_value *v,
                          const char *path)
{
    const char *names[64];
    size_t n = 0;
    for (; fields[n].name != NULL && n + 1 < A_ARRAY_SIZE(names); n++)
        names[n] = fields[n].name;
    names[n] = NULL;
    const char *near = a_text_nearest(v->key.ptr, names);
    struct wire_value at = {.line = v->key_line, .column = v->key_column};
    wire_problem_add(c->p, c->schema->invalid, path, &at,
                     near != NULL ? a_arena_printf(c->p->arena, "did you mean %s?", near) : NULL,
                     "no such field");
}

/* Members of an object, in the schema's order, absent ones by their default. */
static struct wire_value *object_check(struct checker *c, const struct wire_field *fields,
                                       const struct wire_value *v, const char *path)
{
    struct wire_value *out = wire_value_new_object(c->p->arena);
    out->line = v->line;
    out->column = v->column;
    const char *dot = path[0] != '\0' ? "." : "";
    wire_value_foreach(member, v)
    {
        if (field_find(fields, member->key) == NULL)
            unknown_field(c, fields, member,
                          a_arena_printf(c->p->arena, "%s%s%s", path, dot, member->key.ptr));
    }
    for (; fields->name != NULL; fields++) {
        const char *here = a_arena_printf(c->p->arena, "%s%s%s", path, dot, fields->name);
        const struct wire_value *given = wire_value_get(v, fields->name);
        if (given == NULL && fields->fallback == NULL) {
            wire_problem_add(c->p, c->schema->invalid, here, v, NULL, "required: %s, %s",
                             wire_kind_name(fields->kind), fields->doc);
            continue;
        }
        if (given == NULL)
            given = fallback(c->p->arena, fields->fallback);
        struct wire_value *made = field_check(c, fields, fields->kind, given, here);
        if (made != NULL)
            wire_value_set(c->p->arena, out, fields->name, made);
    }
    return out;
}

static struct wire_value *items_check(struct checker *c, const struct wire_field *f,
                                      const struct wire_value *v, const char *path)
{
    bool list = f->kind == WIRE_LIST;
    struct wire_value *out = list ? wire_value_new_array(c->p->arena) : wire_value_new_object(c->p->arena);
    out->line = v->line;
    out->column = v->column;
    size_t n = wire_value_count(v), i = 0;
    if (list && ((f->max > 0 && n > (size_t)f->max) || n < (size_t)f->min))
        wire_problem_add(c->p, c->schema->invalid, path, v, NULL,
                         "%zu items; expected %" PRId64 " to %" PRId64, n, f->min, f->max);
    wire_value_foreach(item, v)
    {
        const char *here = list ? a_arena_printf(c->p->arena, "%s[%zu]", path, i++)
                                : a_arena_printf(c->p->arena, "%s.%s", path, item->key.ptr);
        struct wire_value *made = field_check(c, f, f->item, item, here);
        if (made == NULL)
            continue;
        if (list)
            wire_value_append(out, made);
        else
            wire_value_set(c->p->arena, out, item->key.ptr, made);
    }
    return out;
}

static bool word_known(const struct wire_field *f, const struct wire_value *v)
{
    for (const char *const *w = f->words; *w != NULL; w++)
        if (a_view_is(v->string, *w))
            return true;
    return false;
}

static const char *words_text(struct a_arena *arena, const char *const *words)
{
    const char *text = words[0];
    for (words++; *words != NULL; words++)
        text = a_arena_printf(arena, "%s | %s", text, *words);
    return text;
}

/* A quantity may be written as a number or a text (cpu: 1, cpu: "0.5"): the text that the parsers take. */
static struct a_view scalar_text(struct a_arena *arena, const struct wire_value *v)
{
    if (v->type == WIRE_VALUE_STRING)
        return v->string;
    if (v->type != WIRE_VALUE_INT && v->type != WIRE_VALUE_DOUBLE)
        return (struct a_view){"", 0};
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, v, 0);
    return a_view_str(a_arena_strdup(arena, a_buf_view(&b).ptr));
}

static bool scalar_ok(struct a_arena *arena, const struct wire_field *f, enum wire_kind kind,
                      const struct wire_value *v)
{
    uint64_t x;
    struct a_view text = scalar_text(arena, v);
    bool is_string = v->type == WIRE_VALUE_STRING;
    switch (kind) {
    case WIRE_ANY:
        return true;
    case WIRE_STRING:
        return is_string;
    case WIRE_LABEL:
        return is_string && a_text_is_label(text, A_NAME_MAX);
    case WIRE_BOOL:
        return v->type == WIRE_VALUE_BOOL;
    case WIRE_INT:
        return v->type == WIRE_VALUE_INT && v->integer >= f->min && v->integer <= f->max;
    case WIRE_NUMBER:
        return (v->type == WIRE_VALUE_INT || v->type == WIRE_VALUE_DOUBLE) && wire_value_number(v, -1) >= 0;
    case WIRE_BYTES:
        return a_text_bytes(text, &x);
    case WIRE_CPU:
        return a_text_mcpu(text, &x);
    case WIRE_DURATION:
        return is_string && a_text_duration(text, &x);
    case WIRE_WORD:
        return is_string && word_known(f, v);
    case WIRE_OBJECT:
    case WIRE_MAP:
        return v->type == WIRE_VALUE_OBJECT;
    case WIRE_LIST:
        return v->type == WIRE_VALUE_ARRAY;
    }
    return false;
}

static void wrong_value(struct checker *c, const struct wire_field *f, enum wire_kind kind,
                        const struct wire_value *v, const char *path)
{
    A_BUF_AUTO struct a_buf got = {0};
    wire_json_print(&got, v, 0);
    const char *expected = wire_kind_name(kind), *hint = NULL;
    if (kind == WIRE_WORD) {
        expected = words_text(c->p->arena, f->words);
        if (v->type == WIRE_VALUE_STRING) {
            const char *near = a_text_nearest(v->string.ptr, f->words);
            hint = near != NULL ? a_arena_printf(c->p->arena, "did you mean %s?", near) : NULL;
        }
    } else if (kind == WIRE_INT) {
        expected = a_arena_printf(c->p->arena, "a whole number from %" PRId64 " to %" PRId64, f->min, f->max);
    }
    wire_problem_add(c->p, c->schema->invalid, path, v, hint, "expected %s, got %.60s%s", expected,
                     a_buf_view(&got).ptr, got.len > 60 ? "..." : "");
}

/* A field that no part of this release acts on: only its default may be sent. */
static void not_alive(struct checker *c, const struct wire_field *f, const struct wire_value *v,
                      const char *path)
{
    if (f->fallback != NULL && !wire_value_equal(v, fallback(c->p->arena, f->fallback)))
        wire_problem_add(c->p, c->schema->unsupported, path, v, "leave it out",
                         "not supported yet (comes with: %s)", f->waits_for);
}

static struct wire_value *field_check(struct checker *c, const struct wire_field *f, enum wire_kind kind,
                                      const struct wire_value *v, const char *path)
{
    bool whole = kind == f->kind; /* else it is an item of a list or map */
    if (whole && f->waits_for != NULL) {
        not_alive(c, f, v, path);
        return wire_value_copy(c->p->arena, v);
    }
    if (v->type == WIRE_VALUE_NULL && whole && f->nullable)
        return wire_value_copy(c->p->arena, v);
    if (!scalar_ok(c->p->arena, f, kind, v)) {
        wrong_value(c, f, kind, v, path);
        return NULL;
    }
    if (kind == WIRE_OBJECT)
        return object_check(c, f->fields, v, path);
    if (kind == WIRE_LIST || kind == WIRE_MAP)
        return items_check(c, f, v, path);
    struct wire_value *copy = wire_value_copy(c->p->arena, v);
    if ((kind == WIRE_BYTES || kind == WIRE_CPU) && v->type != WIRE_VALUE_STRING) {
        copy->type = WIRE_VALUE_STRING; /* one form of quantity from here on */
        copy->string = scalar_text(c->p->arena, v);
    }
    return copy;
}

struct wire_value *wire_schema_check(struct wire_problems *p, const struct wire_schema *schema,
                                     const struct wire_value *doc)
{
    struct checker c = {p, schema};
    if (!wire_value_is(doc, WIRE_VALUE_OBJECT)) {
        wire_problem_add(p, schema->invalid, schema->what, doc, schema->start, "expected a mapping, got %s",
                         doc != NULL ? wire_value_type_name(doc->type) : "nothing");
        return NULL;
    }
    return object_check(&c, schema->object.fields, doc, "");
}

const struct wire_field *wire_schema_field(const struct wire_schema *schema, const char *path)
{
    const struct wire_field *f = &schema->object;
    for (struct a_view rest = a_view_str(path), name; rest.len > 0 && f != NULL;) {
        name = a_view_split(rest, '.', &rest);
        f = f->fields != NULL ? field_find(f->fields, name) : NULL;
    }
    return f;
}

const char *wire_kind_name(enum wire_kind kind)
{
    static const char *const names[] = {
        [WIRE_ANY] = "any value",
        [WIRE_STRING] = "a string",
        [WIRE_LABEL] = "a name (a-z, 0-9 and inner '-', at most 40 characters)",
        [WIRE_BOOL] = "true or false",
        [WIRE_INT] = "a whole number",
        [WIRE_NUMBER] = "a number, 0 or more",
        [WIRE_BYTES] = "a quantity of bytes such as 2Gi",
        [WIRE_CPU] = "a number of cores such as 2, 0.5 or 250m",
        [WIRE_DURATION] = "a duration such as 30s",
        [WIRE_WORD] = "a word",
        [WIRE_OBJECT] = "a mapping",
        [WIRE_LIST] = "a list",
        [WIRE_MAP] = "a mapping",
    };
    a_assert((unsigned)kind < A_ARRAY_SIZE(names));
    return names[kind];
}
