/* The checker of an App: its table (app_schema.c), then the rules that no single field can tell
 * (app_rules.c). */
#include "unit/app.h"
#include "unit/app_rules.h"

void unit_app_check(struct wire_problems *p, const struct wire_value *doc, struct wire_value **ret)
{
    size_t errors = p->n_errors;
    struct wire_value *app = wire_schema_check(p, &unit_app_schema, doc);
    if (app != NULL)
        unit_app_rules(p, app);
    if (app != NULL && p->n_errors == errors)
        *ret = app;
}
