/* The App's schema: one table for the checker, the defaults, the update classes, `astra render` and, later,
 * JSON Schema, OpenAPI and the CRD. Every field has exactly one type, a default, an update class and a
 * capability that brings it to life; a field that is not alive yet is refused by name when its value differs
 * from its default. */
#ifndef UNIT_APP_SCHEMA_H
#define UNIT_APP_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

enum unit_kind {
    UNIT_ANY, /* passed on as it is */
    UNIT_STRING,
    UNIT_LABEL, /* DNS label of at most 40 characters */
    UNIT_BOOL,
    UNIT_INT,
    UNIT_BYTES,    /* quantity: 2Gi */
    UNIT_CPU,      /* quantity: 2, 0.5, 250m */
    UNIT_DURATION, /* 30s */
    UNIT_WORD,     /* one of `words` */
    UNIT_OBJECT,   /* `fields` */
    UNIT_LIST,     /* items of kind `item`, with `fields` when they are objects */
    UNIT_MAP,      /* free keys, values as a list's items */
};

/* What a change of the field costs: gateways only, a PUT into running units, or new units (contracts.md,
 * Revisions). */
enum unit_class {
    UNIT_CLASS_ROUTE,
    UNIT_CLASS_SERVE,
    UNIT_CLASS_REPLACE,
};

/* Which capability brings the field to life. */
enum unit_alive {
    UNIT_ALIVE,
    UNIT_ALIVE_STARLINK,
    UNIT_ALIVE_KUBE,
    UNIT_ALIVE_TFCC,
    UNIT_ALIVE_LATER,
};

struct unit_field {
    const char *name;
    enum unit_kind kind;
    enum unit_class class;
    enum unit_alive alive;
    const char *fallback; /* the default as JSON text; NULL: the field is required */
    bool nullable;        /* null means "none" or "worked out by Astra" */
    int64_t min, max;     /* UNIT_INT: its range; UNIT_LIST: how many items (max 0 = no bound of its own) */
    const char *const *words;
    enum unit_kind item;
    const struct unit_field *fields; /* ends with name == NULL */
    const char *doc;
};

/* The App object itself: apiVersion, kind, metadata, spec, status. */
extern const struct unit_field unit_app_schema;

/* The field at a dotted path ("spec.head.cpu"; items of a list or map are stepped into without a name of
 * their own: "spec.workers.cpu"), or NULL. */
const struct unit_field *unit_app_field(const char *path);

const char *unit_kind_name(enum unit_kind kind);    /* "a duration such as 30s" */
const char *unit_class_name(enum unit_class class); /* route, serve, replace */
const char *unit_alive_name(enum unit_alive alive); /* "kube" */

#endif
