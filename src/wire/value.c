/* Value trees: looking at them and making them. */
#include "wire/value.h"

#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "wire/number.h"

const char *wire_value_type_name(enum wire_value_type t)
{
    static const char *const names[] = {"null", "true or false", "whole number", "number",
                                        "text", "list",          "mapping"};
    a_assert((unsigned)t < A_ARRAY_SIZE(names));
    return names[t];
}

static bool is_parent(const struct wire_value *v)
{
    return v != NULL && (v->type == WIRE_VALUE_ARRAY || v->type == WIRE_VALUE_OBJECT);
}

bool wire_value_is(const struct wire_value *v, enum wire_value_type t)
{
    return v != NULL && v->type == t;
}

bool wire_value_is_null(const struct wire_value *v)
{
    return v == NULL || v->type == WIRE_VALUE_NULL;
}

const struct wire_value *wire_value_first(const struct wire_value *parent)
{
    return is_parent(parent) ? parent->children.first : NULL;
}

size_t wire_value_count(const struct wire_value *parent)
{
    return is_parent(parent) ? parent->children.count : 0;
}

struct wire_value *wire_value_get_view(const struct wire_value *object, struct a_view key)
{
    if (!wire_value_is(object, WIRE_VALUE_OBJECT))
        return NULL;
    for (struct wire_value *it = object->children.first; it != NULL; it = it->next)
        if (a_view_equal(it->key, key))
            return it;
    return NULL;
}

struct wire_value *wire_value_get(const struct wire_value *object, const char *key)
{
    return wire_value_get_view(object, a_view_str(key));
}

struct wire_value *wire_value_at(const struct wire_value *array, size_t index)
{
    if (!wire_value_is(array, WIRE_VALUE_ARRAY))
        return NULL;
    struct wire_value *it = array->children.first;
    for (; it != NULL && index > 0; index--)
        it = it->next;
    return it;
}

struct wire_value *wire_value_path(const struct wire_value *v, const char *path)
{
    struct a_view rest = a_view_str(path);
    struct wire_value *at = (struct wire_value *)v;
    while (rest.len > 0 && at != NULL) {
        struct a_view step = a_view_split(rest, '.', &rest);
        uint64_t index;
        if (at->type != WIRE_VALUE_ARRAY)
            at = wire_value_get_view(at, step);
        else
            at = a_text_u64(step, &index) ? wire_value_at(at, (size_t)index) : NULL;
    }
    return at;
}

const char *wire_value_string(const struct wire_value *v, const char *otherwise)
{
    return wire_value_is(v, WIRE_VALUE_STRING) ? v->string.ptr : otherwise;
}

struct a_view wire_value_view(const struct wire_value *v)
{
    return wire_value_is(v, WIRE_VALUE_STRING) ? v->string : (struct a_view){"", 0};
}

int64_t wire_value_int(const struct wire_value *v, int64_t otherwise)
{
    return wire_value_is(v, WIRE_VALUE_INT) ? v->integer : otherwise;
}

double wire_value_number(const struct wire_value *v, double otherwise)
{
    if (wire_value_is(v, WIRE_VALUE_INT))
        return (double)v->integer;
    return wire_value_is(v, WIRE_VALUE_DOUBLE) ? v->number : otherwise;
}

bool wire_value_bool(const struct wire_value *v, bool otherwise)
{
    return wire_value_is(v, WIRE_VALUE_BOOL) ? v->boolean : otherwise;
}

static bool arrays_equal(const struct wire_value *a, const struct wire_value *b)
{
    const struct wire_value *y = b->children.first;
    for (const struct wire_value *x = a->children.first; x != NULL; x = x->next, y = y->next)
        if (!wire_value_equal(x, y))
            return false;
    return true;
}

static bool objects_equal(const struct wire_value *a, const struct wire_value *b)
{
    /* Mostly both are in one order: the member beside it is tried first. */
    const struct wire_value *beside = b->children.first;
    for (const struct wire_value *x = a->children.first; x != NULL; x = x->next, beside = beside->next) {
        const struct wire_value *y =
            a_view_equal(x->key, beside->key) ? beside : wire_value_get_view(b, x->key);
        if (y == NULL || !wire_value_equal(x, y))
            return false;
    }
    return true;
}

bool wire_value_equal(const struct wire_value *a, const struct wire_value *b)
{
    if (a == NULL || b == NULL)
        return a == b;
    if (a->type != b->type || wire_value_count(a) != wire_value_count(b))
        return false;
    switch (a->type) {
    case WIRE_VALUE_NULL:
        return true;
    case WIRE_VALUE_BOOL:
        return a->boolean == b->boolean;
    case WIRE_VALUE_INT:
        return a->integer == b->integer;
    case WIRE_VALUE_DOUBLE:
        return wire_number_same(a->number, b->number);
    case WIRE_VALUE_STRING:
        return a_view_equal(a->string, b->string);
    case WIRE_VALUE_ARRAY:
        return arrays_equal(a, b);
    case WIRE_VALUE_OBJECT:
        return objects_equal(a, b);
    }
    return false;
}

/* ---- making ---- */

struct wire_value *wire_value_new(struct a_arena *arena, enum wire_value_type type)
{
    struct wire_value *v = a_arena_new(arena, struct wire_value);
    v->type = type;
    if (type == WIRE_VALUE_STRING)
        v->string = (struct a_view){"", 0};
    return v;
}

struct wire_value *wire_value_new_object(struct a_arena *arena)
{
    return wire_value_new(arena, WIRE_VALUE_OBJECT);
}

struct wire_value *wire_value_new_array(struct a_arena *arena)
{
    return wire_value_new(arena, WIRE_VALUE_ARRAY);
}

static struct a_view view_copy(struct a_arena *arena, struct a_view s)
{
    return (struct a_view){a_arena_strndup(arena, s.len > 0 ? s.ptr : "", s.len), s.len};
}

struct wire_value *wire_value_new_view(struct a_arena *arena, struct a_view s)
{
    struct wire_value *v = wire_value_new(arena, WIRE_VALUE_STRING);
    v->string = view_copy(arena, s);
    return v;
}

struct wire_value *wire_value_new_string(struct a_arena *arena, const char *s)
{
    return s != NULL ? wire_value_new_view(arena, a_view_str(s)) : wire_value_new(arena, WIRE_VALUE_NULL);
}

struct wire_value *wire_value_new_int(struct a_arena *arena, int64_t i)
{
    struct wire_value *v = wire_value_new(arena, WIRE_VALUE_INT);
    v->integer = i;
    return v;
}

struct wire_value *wire_value_new_number(struct a_arena *arena, double d)
{
    struct wire_value *v = wire_value_new(arena, WIRE_VALUE_DOUBLE);
    v->number = d;
    return v;
}

struct wire_value *wire_value_new_bool(struct a_arena *arena, bool b)
{
    struct wire_value *v = wire_value_new(arena, WIRE_VALUE_BOOL);
    v->boolean = b;
    return v;
}

static void child_append(struct wire_value *parent, struct wire_value *child)
{
    a_assert(child->next == NULL && child != parent->children.last);
    if (parent->children.last != NULL)
        parent->children.last->next = child;
    else
        parent->children.first = child;
    parent->children.last = child;
    parent->children.count++;
}

struct wire_value *wire_value_copy(struct a_arena *arena, const struct wire_value *v)
{
    struct wire_value *copy = a_arena_new(arena, struct wire_value);
    *copy = *v;
    copy->next = NULL;
    if (v->key.ptr != NULL)
        copy->key = view_copy(arena, v->key);
    if (v->type == WIRE_VALUE_STRING)
        copy->string = view_copy(arena, v->string);
    if (!is_parent(v))
        return copy;
    memset(&copy->children, 0, sizeof copy->children);
    wire_value_foreach(it, v) child_append(copy, wire_value_copy(arena, it));
    return copy;
}

void wire_value_append(struct wire_value *array, struct wire_value *child)
{
    a_assert(array->type == WIRE_VALUE_ARRAY);
    child_append(array, child);
}

void wire_value_set(struct a_arena *arena, struct wire_value *object, const char *key,
                    struct wire_value *child)
{
    a_assert(object->type == WIRE_VALUE_OBJECT);
    struct wire_value *before = NULL, *old = object->children.first;
    child->key = view_copy(arena, a_view_str(key));
    for (; old != NULL && !a_view_equal(old->key, child->key); old = old->next)
        before = old;
    if (old == NULL) {
        child_append(object, child);
        return;
    }
    if (old == child)
        return;
    child->next = old->next;
    old->next = NULL;
    if (before != NULL)
        before->next = child;
    else
        object->children.first = child;
    if (object->children.last == old)
        object->children.last = child;
}

void wire_value_set_string(struct a_arena *arena, struct wire_value *object, const char *key, const char *s)
{
    wire_value_set(arena, object, key, wire_value_new_string(arena, s));
}

void wire_value_set_view(struct a_arena *arena, struct wire_value *object, const char *key, struct a_view s)
{
    wire_value_set(arena, object, key, wire_value_new_view(arena, s));
}

void wire_value_set_int(struct a_arena *arena, struct wire_value *object, const char *key, int64_t i)
{
    wire_value_set(arena, object, key, wire_value_new_int(arena, i));
}

void wire_value_set_number(struct a_arena *arena, struct wire_value *object, const char *key, double d)
{
    wire_value_set(arena, object, key, wire_value_new_number(arena, d));
}

void wire_value_set_bool(struct a_arena *arena, struct wire_value *object, const char *key, bool b)
{
    wire_value_set(arena, object, key, wire_value_new_bool(arena, b));
}

void wire_value_set_null(struct a_arena *arena, struct wire_value *object, const char *key)
{
    wire_value_set(arena, object, key, wire_value_new(arena, WIRE_VALUE_NULL));
}

bool wire_value_remove(struct wire_value *object, const char *key)
{
    struct wire_value *before = NULL, *it = object->children.first;
    a_assert(object->type == WIRE_VALUE_OBJECT);
    for (; it != NULL && !a_view_is(it->key, key); it = it->next)
        before = it;
    if (it == NULL)
        return false;
    if (before != NULL)
        before->next = it->next;
    else
        object->children.first = it->next;
    if (object->children.last == it)
        object->children.last = before;
    object->children.count--;
    it->next = NULL;
    return true;
}
