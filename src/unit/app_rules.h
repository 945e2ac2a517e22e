/* What the schema's fields cannot tell one by one: sources that exclude each other, names that must be
 * unique, Ray's needs, settings of Serve that Astra owns. Used by the checker alone. */
#ifndef UNIT_APP_RULES_H
#define UNIT_APP_RULES_H

#include "unit/app.h"

/* `app` is complete but for fields that were already found wrong. */
void unit_app_rules(struct wire_problems *p, const struct wire_value *app);

#endif
