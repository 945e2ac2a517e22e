/* The App's schema: one table for the checker, the defaults, the update classes, `astra render`, OpenAPI and
 * the CRD. Every field has exactly one type, a default, an update class and, if it does not work yet,
 * the capability that brings it to life; such a field is refused by name when its value differs from its
 * default. */
#ifndef UNIT_APP_SCHEMA_H
#define UNIT_APP_SCHEMA_H

#include "wire/schema.h"

/* What a change of the field costs: gateways only, a PUT into running units, or new units (contracts.md,
 * Revisions). */
enum unit_class {
    UNIT_CLASS_ROUTE,
    UNIT_CLASS_SERVE,
    UNIT_CLASS_REPLACE,
};

/* The App object itself: apiVersion, kind, metadata, spec, status. */
extern const struct wire_schema unit_app_schema;

const char *unit_class_name(enum unit_class class); /* route, serve, replace */

#endif
