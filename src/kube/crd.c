/* A walk over a table of fields (wire/schema.h) that says each of them in the words of a structural schema.
 *
 * Three things differ from the API's own schema (OpenAPI 3.1): null is `nullable`, a quantity is
 * int-or-string (fractions of a core are to be quoted: "0.5"), and defaults that are null are left out,
 * because an API server would prune them. Fields that wait for a later release are there, so that files pass
 * that name them with their default; the checker refuses other values. */
#include "kube/crd.h"

#include <string.h>

#include "base/assert.h"
#include "kube/objects_make.h"

#define LABEL_PATTERN "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
#define BYTES_PATTERN "^[0-9]+(\\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
#define CPU_PATTERN "^([0-9]+(\\.[0-9]{1,3})?|[0-9]+m)$"
#define DURATION_PATTERN "^([0-9]+(d|h|m|s|ms))+$"

/* ---- the kinds ---- */

struct column {
    const char *name, *type, *path, *about;
    int priority; /* 1 = only with -o wide */
};

struct kind {
    const char *kind, *plural, *singular;
    const struct wire_schema *status;
    const char *units, *units_now, *selector; /* of the scale subresource; NULL = none */
    const char *const *free; /* paths that a custom resource need not say, and of which it has no default:
                                they follow from where it is */
    const struct column *columns;
};

#define CONDITION(name) ".status.conditions[?(@.type==\"" name "\")]"

static const struct column app_columns[] = {
    {"Units", "integer", ".spec.units", "how many are wanted", 0},
    {"Ready", "integer", ".status.units.ready", "how many serve", 0},
    {"Available", "string", CONDITION("Available") ".status", "whether the app serves", 0},
    {"State", "string", ".status.state", "what to know first", 0},
    {"Revision", "integer", ".status.revision", "the revision that is rolled out", 0},
    {"Accepted", "string", CONDITION("Accepted") ".reason", "whether Astra took it over", 1},
    {"Failure", "string", ".status.lastFailure", "what went wrong last", 1},
    {"Age", "date", ".metadata.creationTimestamp", "since it was made", 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const struct column pool_columns[] = {
    {"Min", "integer", ".spec.min", "fewest pods", 0},
    {"Max", "integer", ".spec.max", "most pods", 0},
    {"Pods", "integer", ".status.pods", "how many there are", 0},
    {"Joined", "integer", ".status.joined", "how many are nodes", 0},
    {"Ready", "string", CONDITION("Ready") ".status", "whether it is as it should be", 0},
    {"Accepted", "string", CONDITION("Accepted") ".reason", "whether Astra took it over", 1},
    {"Age", "date", ".metadata.creationTimestamp", "since it was made", 0},
    {NULL, NULL, NULL, NULL, 0},
};

static const struct kind app_kind = {.kind = "App",
                                     .plural = "apps",
                                     .singular = "app",
                                     .status = &kube_app_status_schema,
                                     .units = ".spec.units",
                                     .units_now = ".status.units.total",
                                     .selector = ".status.selector",
                                     .free = (const char *const[]){NULL},
                                     .columns = app_columns};

static const struct kind pool_kind = {.kind = "Pool",
                                      .plural = "pools",
                                      .singular = "pool",
                                      .status = &kube_pool_status_schema,
                                      .free = (const char *const[]){"spec.cluster", "spec.namespace", NULL},
                                      .columns = pool_columns};

/* ---- what Astra writes ---- */

#define MAY .fallback = "null", .nullable = true
#define COUNT .min = 0, .max = INT64_MAX
#define END WIRE_FIELDS_END

static const struct wire_field condition_fields[] = {
    {"type", WIRE_STRING, .doc = "what it is about"},
    {"status", WIRE_WORD, WIRE_WORDS("True", "False", "Unknown"), .doc = "whether it is so"},
    {"observedGeneration", WIRE_INT, MAY, COUNT, .doc = "the generation of the object that it speaks of"},
    {"lastTransitionTime", WIRE_STRING, .doc = "since when the status is this"},
    {"reason", WIRE_STRING, .doc = "one word"},
    {"message", WIRE_STRING, .doc = "for people"},
    END,
};

#define CONDITIONS                                                                                           \
    {                                                                                                        \
        "conditions", WIRE_LIST, MAY, .item = WIRE_OBJECT, .fields = condition_fields, .key = "type",        \
                                      .doc = "what kubectl wait waits for"                                   \
    }
#define GENERATION                                                                                           \
    {                                                                                                        \
        "observedGeneration", WIRE_INT, MAY, COUNT, .doc = "the generation of the object that was read"      \
    }

static const struct wire_field units_fields[] = {
    {"wanted", WIRE_INT, MAY, COUNT, .doc = "how many should serve"},
    {"ready", WIRE_INT, MAY, COUNT, .doc = "how many serve"},
    {"updated", WIRE_INT, MAY, COUNT, .doc = "how many of the newest revision"},
    {"failed", WIRE_INT, MAY, COUNT, .doc = "how many do not come up"},
    {"total", WIRE_INT, MAY, COUNT, .doc = "all that there are, those that come and go included"},
    END,
};

static const struct wire_field app_status_fields[] = {
    GENERATION,
    {"state", WIRE_STRING, MAY, .doc = "one word: what to know first"},
    {"revision", WIRE_INT, MAY, COUNT, .doc = "the revision that is rolled out"},
    {"units", WIRE_OBJECT, MAY, .fields = units_fields, .doc = "counts"},
    {"selector", WIRE_STRING, MAY,
     .doc = "of the scale subresource; units are not pods, and it selects none"},
    {"address", WIRE_STRING, MAY, .doc = "where a gateway answers for the app"},
    {"lastFailure", WIRE_STRING, MAY, .doc = "what went wrong last"},
    CONDITIONS,
    END,
};

static const struct wire_field pool_status_fields[] = {
    GENERATION,
    {"pods", WIRE_INT, MAY, COUNT, .doc = "how many there are"},
    {"joined", WIRE_INT, MAY, COUNT, .doc = "how many are nodes"},
    {"free", WIRE_INT, MAY, COUNT, .doc = "how many nodes are empty"},
    {"coming", WIRE_INT, MAY, COUNT, .doc = "how many have not joined yet"},
    {"draining", WIRE_INT, MAY, COUNT, .doc = "how many are being emptied"},
    {"outdated", WIRE_INT, MAY, COUNT, .doc = "how many are of an older template"},
    CONDITIONS,
    END,
};

const struct wire_schema kube_app_status_schema = {
    .what = "status",
    .start = "a mapping",
    .invalid = A_CODE_APP_INVALID,
    .unsupported = A_CODE_APP_INVALID,
    .object = {"status", WIRE_OBJECT, .fields = app_status_fields, .doc = "what is; written by Astra"},
};
const struct wire_schema kube_pool_status_schema = {
    .what = "status",
    .start = "a mapping",
    .invalid = A_CODE_POOL_INVALID,
    .unsupported = A_CODE_POOL_INVALID,
    .object = {"status", WIRE_OBJECT, .fields = pool_status_fields, .doc = "what is; written by Astra"},
};

/* ---- schemas ---- */

struct walk {
    struct make make;
    const struct kind *kind;
    bool defaults;  /* of `spec`; a status has none */
    unsigned lists; /* that the field is inside of */
};

static struct wire_value *field_make(struct walk *w, const struct wire_field *f, enum wire_kind kind,
                                     const char *path);

static struct wire_value *type_make(struct walk *w, const char *type)
{
    struct wire_value *v = wire_value_new_object(w->make.arena);
    wire_value_set_string(w->make.arena, v, "type", type);
    return v;
}

static struct wire_value *pattern_make(struct walk *w, const char *pattern, bool number)
{
    struct wire_value *v = number ? wire_value_new_object(w->make.arena) : type_make(w, "string");
    if (number)
        wire_value_set_bool(w->make.arena, v, "x-kubernetes-int-or-string", true);
    wire_value_set_string(w->make.arena, v, "pattern", pattern);
    return v;
}

static struct wire_value *label_make(struct walk *w)
{
    struct wire_value *v = pattern_make(w, LABEL_PATTERN, false);
    wire_value_set_int(w->make.arena, v, "maxLength", A_NAME_MAX);
    return v;
}

static struct wire_value *int_make(struct walk *w, const struct wire_field *f)
{
    struct wire_value *v = type_make(w, "integer");
    wire_value_set_string(w->make.arena, v, "format", "int64");
    wire_value_set_int(w->make.arena, v, "minimum", f->min);
    if (f->max < INT64_MAX)
        wire_value_set_int(w->make.arena, v, "maximum", f->max);
    return v;
}

static struct wire_value *number_make(struct walk *w)
{
    struct wire_value *v = type_make(w, "number");
    wire_value_set_int(w->make.arena, v, "minimum", 0);
    return v;
}

static struct wire_value *any_make(struct walk *w)
{
    struct wire_value *v = wire_value_new_object(w->make.arena);
    wire_value_set_bool(w->make.arena, v, "x-kubernetes-preserve-unknown-fields", true);
    return v;
}

static struct wire_value *word_make(struct walk *w, const struct wire_field *f)
{
    struct wire_value *v = type_make(w, "string");
    make_texts(&w->make, v, "enum", f->words);
    if (f->nullable) /* an enum speaks of null, too */
        wire_value_append(wire_value_get(v, "enum"), wire_value_new(w->make.arena, WIRE_VALUE_NULL));
    return v;
}

static struct wire_value *list_make(struct walk *w, const struct wire_field *f, const char *path)
{
    struct a_arena *arena = w->make.arena;
    struct wire_value *v = type_make(w, "array");
    const char *type = f->key == NULL ? "atomic" : f->key[0] != '\0' ? "map" : "set";
    w->lists++;
    wire_value_set(arena, v, "items", field_make(w, f, f->item, path));
    w->lists--;
    if (f->min > 0)
        wire_value_set_int(arena, v, "minItems", f->min);
    if (f->max > 0)
        wire_value_set_int(arena, v, "maxItems", f->max);
    wire_value_set_string(arena, v, "x-kubernetes-list-type", type);
    if (f->key != NULL && f->key[0] != '\0')
        make_texts(&w->make, v, "x-kubernetes-list-map-keys", (const char *const[]){f->key, NULL});
    return v;
}

static bool is_free(const struct walk *w, const char *path)
{
    for (const char *const *p = w->kind->free; *p != NULL; p++)
        if (strcmp(*p, path) == 0)
            return true;
    return false;
}

/* Inside of lists they are only told of: who applies from a client replaces a list whole, and would find it
 * changed each time. The checker fills them in. */
static void default_set(struct walk *w, const struct wire_field *f, struct wire_value *v)
{
    struct wire_value *given;
    int rc = wire_json_parse(w->make.arena, a_view_str(f->fallback), "default", NULL, &given, NULL);
    a_assert(rc == 0);
    if (!wire_value_is_null(given) && w->lists == 0)
        wire_value_set(w->make.arena, v, "default", given);
    else if (!wire_value_is_null(given) && wire_value_count(given) == 0)
        wire_value_set_string(w->make.arena, v, "description",
                              a_arena_printf(w->make.arena, "%s (default: %s)",
                                             wire_value_string(wire_value_get(v, "description"), ""),
                                             f->fallback));
}

static const char *doc_make(struct walk *w, const struct wire_field *f)
{
    return f->waits_for == NULL ? f->doc
                                : a_arena_printf(w->make.arena, "%s (not supported yet; comes with: %s)",
                                                 f->doc, f->waits_for);
}

static struct wire_value *object_make(struct walk *w, const struct wire_field *fields, const char *path)
{
    struct a_arena *arena = w->make.arena;
    struct wire_value *v = type_make(w, "object"), *properties = make_object(&w->make, v, "properties"),
                      *required = wire_value_new_array(arena);
    for (const struct wire_field *f = fields; f->name != NULL; f++) {
        const char *here = a_arena_printf(arena, "%s.%s", path, f->name);
        struct wire_value *p = field_make(w, f, f->kind, here);
        bool is_free_here = is_free(w, here);
        wire_value_set_string(arena, p, "description", doc_make(w, f));
        if (f->nullable)
            wire_value_set_bool(arena, p, "nullable", true);
        if (w->defaults && f->fallback != NULL && !is_free_here)
            default_set(w, f, p);
        if (f->fallback == NULL && !is_free_here)
            wire_value_append(required, wire_value_new_string(arena, f->name));
        wire_value_set(arena, properties, f->name, p);
    }
    if (wire_value_count(required) > 0)
        wire_value_set(arena, v, "required", required);
    return v;
}

static struct wire_value *field_make(struct walk *w, const struct wire_field *f, enum wire_kind kind,
                                     const char *path)
{
    struct wire_value *v;
    switch (kind) {
    case WIRE_ANY:
        return any_make(w);
    case WIRE_STRING:
        return type_make(w, "string");
    case WIRE_LABEL:
        return label_make(w);
    case WIRE_BOOL:
        return type_make(w, "boolean");
    case WIRE_INT:
        return int_make(w, f);
    case WIRE_NUMBER:
        return number_make(w);
    case WIRE_BYTES:
        return pattern_make(w, BYTES_PATTERN, true);
    case WIRE_CPU:
        return pattern_make(w, CPU_PATTERN, true);
    case WIRE_DURATION:
        return pattern_make(w, DURATION_PATTERN, false);
    case WIRE_WORD:
        return word_make(w, f);
    case WIRE_OBJECT:
        return object_make(w, f->fields, path);
    case WIRE_LIST:
        return list_make(w, f, path);
    case WIRE_MAP:
        v = type_make(w, "object");
        wire_value_set(w->make.arena, v, "additionalProperties", field_make(w, f, f->item, path));
        return v;
    }
    return any_make(w); /* every kind was there */
}

/* ---- definitions ---- */

static struct wire_value *root_make(struct walk *w, const struct wire_schema *schema)
{
    struct a_arena *arena = w->make.arena;
    const struct wire_field *spec = wire_schema_field(schema, "spec");
    struct wire_value *v = type_make(w, "object"), *properties = make_object(&w->make, v, "properties"),
                      *metadata = type_make(w, "object"), *part;
    wire_value_set_string(arena, v, "description", schema->object.doc);
    wire_value_set(arena, properties, "apiVersion", type_make(w, "string"));
    wire_value_set(arena, properties, "kind", type_make(w, "string"));
    wire_value_set(arena, make_object(&w->make, metadata, "properties"), "name", label_make(w));
    wire_value_set(arena, properties, "metadata", metadata);
    w->defaults = true;
    part = object_make(w, spec->fields, "spec");
    wire_value_set_string(arena, part, "description", spec->doc);
    wire_value_set(arena, properties, "spec", part);
    w->defaults = false;
    part = object_make(w, w->kind->status->object.fields, "status");
    wire_value_set_string(arena, part, "description", w->kind->status->object.doc);
    wire_value_set(arena, properties, "status", part);
    make_texts(&w->make, v, "required", (const char *const[]){"spec", NULL});
    return v;
}

static void columns_make(struct walk *w, struct wire_value *version)
{
    struct a_arena *arena = w->make.arena;
    struct wire_value *list = make_array(&w->make, version, "additionalPrinterColumns");
    for (const struct column *c = w->kind->columns; c->name != NULL; c++) {
        struct wire_value *v = make_item(&w->make, list);
        wire_value_set_string(arena, v, "name", c->name);
        wire_value_set_string(arena, v, "type", c->type);
        wire_value_set_string(arena, v, "jsonPath", c->path);
        wire_value_set_string(arena, v, "description", c->about);
        if (c->priority > 0)
            wire_value_set_int(arena, v, "priority", c->priority);
    }
}

static void subresources_make(struct walk *w, struct wire_value *version)
{
    struct wire_value *v = make_object(&w->make, version, "subresources");
    (void)make_object(&w->make, v, "status");
    if (w->kind->units == NULL)
        return;
    struct wire_value *scale = make_object(&w->make, v, "scale");
    wire_value_set_string(w->make.arena, scale, "specReplicasPath", w->kind->units);
    wire_value_set_string(w->make.arena, scale, "statusReplicasPath", w->kind->units_now);
    wire_value_set_string(w->make.arena, scale, "labelSelectorPath", w->kind->selector);
}

static struct wire_value *definition_make(struct a_arena *arena, const struct kind *kind,
                                          const struct wire_schema *schema)
{
    struct walk w = {.make = {.arena = arena}, .kind = kind};
    const char *name = a_arena_printf(arena, "%s." KUBE_CUSTOM_GROUP, kind->plural);
    struct wire_value *v =
        make_kind(&w.make, "apiextensions.k8s.io/v1", "CustomResourceDefinition", name, NULL);
    struct wire_value *spec = make_object(&w.make, v, "spec");
    wire_value_set_string(arena, spec, "group", KUBE_CUSTOM_GROUP);
    wire_value_set_string(arena, spec, "scope", "Namespaced");
    struct wire_value *names = make_object(&w.make, spec, "names");
    wire_value_set_string(arena, names, "kind", kind->kind);
    wire_value_set_string(arena, names, "listKind", a_arena_printf(arena, "%sList", kind->kind));
    wire_value_set_string(arena, names, "plural", kind->plural);
    wire_value_set_string(arena, names, "singular", kind->singular);
    make_texts(&w.make, names, "categories", (const char *const[]){"astra", NULL});
    struct wire_value *version = make_item(&w.make, make_array(&w.make, spec, "versions"));
    wire_value_set_string(arena, version, "name", KUBE_CUSTOM_VERSION);
    wire_value_set_bool(arena, version, "served", true);
    wire_value_set_bool(arena, version, "storage", true);
    subresources_make(&w, version);
    columns_make(&w, version);
    wire_value_set(arena, make_object(&w.make, version, "schema"), "openAPIV3Schema", root_make(&w, schema));
    return v;
}

struct wire_value *kube_crds_make(struct a_arena *arena, const struct wire_schema *app)
{
    struct wire_value *list = wire_value_new_array(arena);
    wire_value_append(list, definition_make(arena, &app_kind, app));
    wire_value_append(list, definition_make(arena, &pool_kind, &kube_pool_schema));
    return list;
}
