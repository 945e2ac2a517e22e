#include "daemon/server/api_schema.h"

#include <string.h>

#include "base/assert.h"
#include "daemon/server/api_schema_table.h"
#include "daemon/server/traffic.h"
#include "kube/pool_spec.h"
#include "types/state.h"
#include "unit/app_schema.h"

#define X(name, number) #name,
const char *const api_words_member_states[] = {A_MEMBER_STATES(X) NULL};
const char *const api_words_claim_states[] = {A_CLAIM_STATES(X) NULL};
#undef X
#define X(name, text, number) text,
const char *const api_words_reasons[] = {A_REASONS(X) NULL};
#undef X
const char *const api_words_booleans[] = {"True", "False", NULL};

const char *api_schema_name(enum api_schema_id id)
{
    static const char *const names[] = {
#define X(name, text) text,
        API_SCHEMAS(X)
#undef X
    };
    a_assert((unsigned)id < API_SCHEMA_COUNT);
    return names[id];
}

struct wire_value *api_schema_ref(struct a_arena *arena, enum api_schema_id id)
{
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "$ref",
                          a_arena_printf(arena, "#/components/schemas/%s", api_schema_name(id)));
    return v;
}

/* ---- fields as JSON Schema ---- */

static struct wire_value *type_make(struct a_arena *arena, const char *type)
{
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "type", type);
    return v;
}

static struct wire_value *array_make(struct a_arena *arena, struct wire_value *items)
{
    struct wire_value *v = type_make(arena, "array");
    wire_value_set(arena, v, "items", items);
    return v;
}

static struct wire_value *map_make(struct a_arena *arena, const char *type)
{
    struct wire_value *v = type_make(arena, "object");
    wire_value_set(arena, v, "additionalProperties", type_make(arena, type));
    return v;
}

static struct wire_value *words_make(struct a_arena *arena, const char *const *words)
{
    struct wire_value *v = type_make(arena, "string"), *list = wire_value_new_array(arena);
    for (; *words != NULL; words++)
        wire_value_append(list, wire_value_new_string(arena, *words));
    wire_value_set(arena, v, "enum", list);
    return v;
}

static struct wire_value *field_type(struct a_arena *arena, const struct api_field *f)
{
    struct wire_value *v;
    switch (f->type) {
    case API_FIELD_STRING:
        return type_make(arena, "string");
    case API_FIELD_INT:
        return type_make(arena, "integer");
    case API_FIELD_NUMBER:
        return type_make(arena, "number");
    case API_FIELD_BOOL:
        return type_make(arena, "boolean");
    case API_FIELD_TIME:
        v = type_make(arena, "string");
        wire_value_set_string(arena, v, "format", "date-time");
        return v;
    case API_FIELD_WORD:
        return words_make(arena, f->words);
    case API_FIELD_OBJECT:
        return api_schema_ref(arena, f->of);
    case API_FIELD_LIST:
        return array_make(arena, api_schema_ref(arena, f->of));
    case API_FIELD_TEXTS:
        return array_make(arena, type_make(arena, "string"));
    case API_FIELD_COUNTS:
        return map_make(arena, "integer");
    case API_FIELD_LABELS:
        return map_make(arena, "string");
    case API_FIELD_ANY:
        break;
    }
    return wire_value_new_object(arena);
}

static struct wire_value *or_null(struct a_arena *arena, struct wire_value *v)
{
    struct wire_value *any = wire_value_new_object(arena), *list = wire_value_new_array(arena);
    wire_value_append(list, v);
    wire_value_append(list, type_make(arena, "null"));
    wire_value_set(arena, any, "anyOf", list);
    return any;
}

static struct wire_value *object_open(struct a_arena *arena, struct wire_value **ret_properties,
                                      struct wire_value **ret_required)
{
    struct wire_value *v = type_make(arena, "object");
    *ret_properties = wire_value_new_object(arena);
    *ret_required = wire_value_new_array(arena);
    wire_value_set(arena, v, "properties", *ret_properties);
    wire_value_set(arena, v, "required", *ret_required);
    wire_value_set_bool(arena, v, "additionalProperties", false);
    return v;
}

static struct wire_value *object_make(struct a_arena *arena, const struct api_field *fields)
{
    struct wire_value *properties, *required, *v = object_open(arena, &properties, &required);
    for (const struct api_field *f = fields; f->name != NULL; f++) {
        struct wire_value *type = field_type(arena, f);
        if (f->nullable)
            type = or_null(arena, type);
        if (f->doc != NULL)
            wire_value_set_string(arena, type, "description", f->doc);
        wire_value_set(arena, properties, f->name, type);
        if (!f->optional)
            wire_value_append(required, wire_value_new_string(arena, f->name));
    }
    return v;
}

/* How requests failed, from the table of outcomes. */
static struct wire_value *failed_make(struct a_arena *arena)
{
    struct wire_value *properties, *required, *v = object_open(arena, &properties, &required);
    for (int i = D_OUTCOME_OK + 1; i < D_OUTCOME_COUNT; i++) {
        const char *name = d_outcome_name((enum d_outcome)i);
        wire_value_set(arena, properties, name, type_make(arena, "integer"));
        wire_value_append(required, wire_value_new_string(arena, name));
    }
    return v;
}

static struct wire_value *list_make(struct a_arena *arena, const struct api_schema *s, const char *name)
{
    struct wire_value *properties, *required, *v = object_open(arena, &properties, &required);
    const char *const kind[] = {name, NULL};
    wire_value_set(arena, properties, "kind", words_make(arena, kind));
    wire_value_set(arena, properties, "items", array_make(arena, api_schema_ref(arena, s->items)));
    wire_value_append(required, wire_value_new_string(arena, "kind"));
    wire_value_append(required, wire_value_new_string(arena, "items"));
    if (s->dated)
        wire_value_set(arena, properties, "revision", type_make(arena, "string"));
    if (s->paged)
        wire_value_set(arena, properties, "continue", or_null(arena, type_make(arena, "string")));
    return v;
}

/* ---- the app as it is written: from the table that the checker reads ---- */

static struct wire_value *spec_type(struct a_arena *arena, const struct wire_field *f, enum wire_kind kind);

static struct wire_value *spec_object(struct a_arena *arena, const struct wire_field *fields)
{
    struct wire_value *properties, *required, *v = object_open(arena, &properties, &required);
    for (const struct wire_field *f = fields; f != NULL && f->name != NULL; f++) {
        struct wire_value *type = spec_type(arena, f, f->kind);
        if (f->nullable)
            type = or_null(arena, type);
        if (f->doc != NULL)
            wire_value_set_string(arena, type, "description", f->doc);
        wire_value_set(arena, properties, f->name, type);
        if (f->fallback == NULL)
            wire_value_append(required, wire_value_new_string(arena, f->name));
    }
    return v;
}

/* Quantities are texts; the checker takes bare numbers, too. */
static struct wire_value *quantity_make(struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena), *types = wire_value_new_array(arena);
    wire_value_append(types, wire_value_new_string(arena, "string"));
    wire_value_append(types, wire_value_new_string(arena, "number"));
    wire_value_set(arena, v, "type", types);
    return v;
}

static struct wire_value *spec_type(struct a_arena *arena, const struct wire_field *f, enum wire_kind kind)
{
    struct wire_value *v;
    switch (kind) {
    case WIRE_ANY:
        return wire_value_new_object(arena);
    case WIRE_STRING:
    case WIRE_LABEL:
        return type_make(arena, "string");
    case WIRE_BOOL:
        return type_make(arena, "boolean");
    case WIRE_INT:
        return type_make(arena, "integer");
    case WIRE_NUMBER:
        return type_make(arena, "number");
    case WIRE_BYTES:
    case WIRE_CPU:
    case WIRE_DURATION:
        return quantity_make(arena);
    case WIRE_WORD:
        return words_make(arena, f->words);
    case WIRE_OBJECT:
        return f->fields != NULL ? spec_object(arena, f->fields) : type_make(arena, "object");
    case WIRE_LIST:
        return array_make(arena, spec_type(arena, f, f->item));
    case WIRE_MAP:
        v = type_make(arena, "object");
        wire_value_set(arena, v, "additionalProperties", spec_type(arena, f, f->item));
        return v;
    }
    return wire_value_new_object(arena); /* every kind was there */
}

static struct wire_value *any_of_make(struct a_arena *arena, const struct api_schema *s)
{
    struct wire_value *v = wire_value_new_object(arena), *list = wire_value_new_array(arena);
    wire_value_append(list, api_schema_ref(arena, s->any_of[0]));
    wire_value_append(list, api_schema_ref(arena, s->any_of[1]));
    wire_value_set(arena, v, "anyOf", list);
    return v;
}

/* Each is of one subject; those that are made of other tables are of none. */
static const struct api_schema *schema_of(enum api_schema_id id)
{
    const struct api_schema *const all[] = {&api_schemas_of_apps[id], &api_schemas_of_nodes[id],
                                            &api_schemas_of_server[id]};
    size_t i = 0;
    while (i + 1 < A_ARRAY_SIZE(all) && all[i]->fields == NULL && all[i]->items == API_SCHEMA_NONE &&
           all[i]->any_of[0] == API_SCHEMA_NONE)
        i++;
    return all[i];
}

static struct wire_value *schema_make(struct a_arena *arena, enum api_schema_id id)
{
    const struct api_schema *s = schema_of(id);
    if (id == API_SCHEMA_APP_SPEC)
        return spec_object(arena, wire_schema_field(&unit_app_schema, "spec")->fields);
    if (id == API_SCHEMA_APP_INPUT)
        return spec_object(arena, unit_app_schema.object.fields);
    if (id == API_SCHEMA_POOL_SPEC)
        return spec_object(arena, wire_schema_field(&kube_pool_schema, "spec")->fields);
    if (id == API_SCHEMA_POOL_INPUT)
        return spec_object(arena, kube_pool_schema.object.fields);
    if (id == API_SCHEMA_FAILED_COUNTS)
        return failed_make(arena);
    if (s->items != API_SCHEMA_NONE)
        return list_make(arena, s, api_schema_name(id));
    if (s->fields == NULL)
        return any_of_make(arena, s);
    return object_make(arena, s->fields);
}

struct wire_value *api_schemas_make(struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    for (int i = 0; i < API_SCHEMA_COUNT; i++)
        if (api_schema_name((enum api_schema_id)i) != NULL)
            wire_value_set(arena, v, api_schema_name((enum api_schema_id)i),
                           schema_make(arena, (enum api_schema_id)i));
    return v;
}
