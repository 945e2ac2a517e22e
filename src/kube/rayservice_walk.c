/* How the importer goes through an object and tells of what it finds. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "kube/rayservice_core.h"

/* ---- telling ---- */

static A_PRINTF(5, 0) void tell(struct importer *im, enum a_code code, struct import_place at,
                                const char *hint, const char *fmt, va_list args)
{
    char text[512];
    struct wire_value where = {0};
    vsnprintf(text, sizeof text, fmt, args);
    if (at.value != NULL) {
        where.line = at.value->key_line > 0 ? at.value->key_line : at.value->line;
        where.column = at.value->key_line > 0 ? at.value->key_column : at.value->column;
    }
    wire_problem_add(im->report, code, at.path, &where, hint, "%s", text);
}

void import_note(struct importer *im, struct import_place at, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    tell(im, A_CODE_NONE, at, hint, fmt, args);
    va_end(args);
}

void import_lost(struct importer *im, struct import_place at, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    tell(im, A_CODE_APP_UNSUPPORTED, at, hint, fmt, args);
    va_end(args);
}

/* ---- walking ---- */

struct import_place import_member(struct importer *im, struct import_place at,
                                  const struct wire_value *member)
{
    const char *dot = at.path[0] != '\0' ? "." : "";
    return (struct import_place){a_arena_printf(im->arena, "%.400s%s%.200s", at.path, dot, member->key.ptr),
                                 member,
                                 at.group}; /* names of any length could stand in any number of paths */
}

struct import_place import_item(struct importer *im, struct import_place at, const struct wire_value *item,
                                size_t i)
{
    return (struct import_place){a_arena_printf(im->arena, "%s[%zu]", at.path, i), item, at.group};
}

static bool is_empty(const struct wire_value *v)
{
    return wire_value_is_null(v) ||
           ((v->type == WIRE_VALUE_OBJECT || v->type == WIRE_VALUE_ARRAY) && v->children.count == 0);
}

bool import_is(struct importer *im, struct import_place at, enum wire_value_type type)
{
    if (is_empty(at.value))
        return false;
    if (at.value->type != type)
        import_lost(im, at, NULL, "expected a %s, got %s", type == WIRE_VALUE_OBJECT ? "mapping" : "list",
                    wire_value_type_name(at.value->type));
    return at.value->type == type;
}

const struct import_row *import_row_find(const struct import_row *rows, struct a_view name)
{
    for (; rows->name != NULL; rows++) {
        size_t n = strlen(rows->name);
        if (a_view_is(name, rows->name) || (n > 0 && rows->name[n - 1] == '*' && name.len >= n - 1 &&
                                            memcmp(name.ptr, rows->name, n - 1) == 0))
            return rows;
    }
    return NULL;
}

void import_walk(struct importer *im, struct import_place at, const struct import_row *rows, const char *what)
{
    if (!import_is(im, at, WIRE_VALUE_OBJECT))
        return;
    wire_value_foreach(member, at.value)
    {
        if (is_empty(member))
            continue;
        struct import_place here = import_member(im, at, member);
        const struct import_row *row = import_row_find(rows, member->key);
        if (row == NULL)
            import_lost(im, here, NULL, "no field of %s that Astra knows", what);
        else if (row->kind == IMPORT_MAP)
            row->map(im, here);
        else if (row->kind == IMPORT_NOTE)
            import_note(im, here, row->hint, "%s", row->reason);
        else if (row->kind == IMPORT_LOST)
            import_lost(im, here, row->hint, "%s", row->reason);
    }
}

/* ---- reading ---- */

const char *import_text(struct importer *im, const struct wire_value *v)
{
    A_BUF_AUTO struct a_buf b = {0};
    if (v == NULL || v->type == WIRE_VALUE_NULL || v->type == WIRE_VALUE_ARRAY ||
        v->type == WIRE_VALUE_OBJECT)
        return NULL;
    if (v->type == WIRE_VALUE_STRING)
        return v->string.ptr;
    wire_json_print(&b, v, 0);
    return a_arena_strndup(im->arena, b.ptr, b.len);
}

bool import_count(struct importer *im, struct import_place at, int64_t *ret)
{
    const char *text = import_text(im, at.value);
    int64_t n;
    if (text != NULL && a_text_i64(a_view_str(text), &n) && n >= 0 && n <= INT32_MAX) {
        *ret = n;
        return true;
    }
    import_lost(im, at, NULL, "expected a whole number of 0 or more");
    return false;
}

const struct wire_value *import_document(const struct importer *im, const char *kind, const char *name)
{
    wire_value_foreach(d, im->documents)
    {
        if (a_view_is(wire_value_view(wire_value_get(d, "kind")), kind) &&
            a_view_is(wire_value_view(wire_value_path(d, "metadata.name")), name))
            return d;
    }
    return NULL;
}

/* ---- the App ---- */

bool import_lives(const struct importer *im, const char *field)
{
    char prefix[128];
    if (im->options->schema == NULL)
        return true;
    for (size_t i = 1; i <= strlen(field) && i < sizeof prefix; i++) {
        if (field[i] != '.' && field[i] != '\0')
            continue;
        memcpy(prefix, field, i);
        prefix[i] = '\0';
        const struct wire_field *f = wire_schema_field(im->options->schema, prefix);
        if (f == NULL || f->waits_for != NULL)
            return false;
    }
    return true;
}

bool import_lives_or_lost(struct importer *im, struct import_place at, const char *field, const char *hint)
{
    bool lives = import_lives(im, field);
    if (!lives)
        import_lost(im, at, hint, "left out: this release does not act on %s of an App yet", field);
    return lives;
}

void import_set(struct importer *im, struct import_place at, struct wire_value *object, const char *key,
                struct wire_value *value)
{
    if (at.value != NULL) {
        value->line = at.value->line;
        value->column = at.value->column;
    }
    wire_value_set(im->arena, object, key, value);
}

void import_set_text(struct importer *im, struct import_place at, struct wire_value *object, const char *key,
                     const char *value)
{
    import_set(im, at, object, key, wire_value_new_string(im->arena, value));
}

struct wire_value *import_object(struct importer *im, struct wire_value *parent, const char *key)
{
    struct wire_value *v = wire_value_get(parent, key);
    if (v != NULL)
        return v;
    v = wire_value_new_object(im->arena);
    wire_value_set(im->arena, parent, key, v);
    return v;
}

struct wire_value *import_list(struct importer *im, struct wire_value *parent, const char *key)
{
    struct wire_value *v = wire_value_get(parent, key);
    if (v != NULL)
        return v;
    v = wire_value_new_array(im->arena);
    wire_value_set(im->arena, parent, key, v);
    return v;
}
