/* The short forms of docs/app.md. Only the command line knows them; the server sees the long form. */
#include <string.h>

#include "unit/app.h"

/* A value made in the place of `old`: errors still point at what the user wrote. */
static struct wire_value *placed(struct wire_value *made, const struct wire_value *old)
{
    made->line = old->line;
    made->column = old->column;
    made->key_line = old->key_line;
    made->key_column = old->key_column;
    return made;
}

static struct wire_value *wrap_object(struct a_arena *arena, const char *key, const struct wire_value *value)
{
    struct wire_value *object = placed(wire_value_new_object(arena), value);
    wire_value_set(arena, object, key, wire_value_copy(arena, value));
    return object;
}

static struct wire_value *wrap_list(struct a_arena *arena, struct wire_value *item)
{
    struct wire_value *list = placed(wire_value_new_array(arena), item);
    wire_value_append(list, item);
    return list;
}

static struct wire_value *expand_environment(struct a_arena *arena, const struct wire_value *v)
{
    if (wire_value_is(v, WIRE_VALUE_STRING))
        return wrap_list(arena, wrap_object(arena, "requirements", v));
    if (wire_value_is(v, WIRE_VALUE_OBJECT))
        return wrap_list(arena, wire_value_copy(arena, v));
    return wire_value_copy(arena, v);
}

static struct wire_value *expand_models(struct a_arena *arena, const struct wire_value *v)
{
    struct wire_value *models = wire_value_copy(arena, v);
    if (!wire_value_is(v, WIRE_VALUE_OBJECT))
        return models;
    wire_value_foreach(model, v)
    {
        if (wire_value_is(model, WIRE_VALUE_STRING))
            wire_value_set(arena, models, model->key.ptr, wrap_object(arena, "source", model));
    }
    return models;
}

static struct wire_value *expand_field(struct a_arena *arena, const struct wire_value *v)
{
    if (a_view_is(v->key, "environment"))
        return expand_environment(arena, v);
    if (a_view_is(v->key, "code") && wire_value_is(v, WIRE_VALUE_STRING))
        return wrap_object(arena, "path", v);
    if (a_view_is(v->key, "models"))
        return expand_models(arena, v);
    return wire_value_copy(arena, v);
}

static struct wire_value *expand_spec(struct a_arena *arena, const struct wire_value *spec)
{
    struct wire_value *out = placed(wire_value_new_object(arena), spec);
    wire_value_foreach(v, spec)
    {
        bool route = a_view_is(v->key, "route") && wire_value_get(spec, "routes") == NULL;
        struct wire_value *made =
            route ? wrap_list(arena, wire_value_copy(arena, v)) : expand_field(arena, v);
        wire_value_set(arena, out, route ? "routes" : v->key.ptr, made);
        placed(made, v);
    }
    return out;
}

struct wire_value *unit_app_expand(struct a_arena *arena, const struct wire_value *doc)
{
    struct wire_value *out = wire_value_copy(arena, doc);
    const struct wire_value *spec = wire_value_get(doc, "spec");
    if (wire_value_is(spec, WIRE_VALUE_OBJECT))
        wire_value_set(arena, out, "spec", expand_spec(arena, spec));
    return out;
}
