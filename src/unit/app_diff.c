/* What a deploy would change, and what that costs. The class of a field is the schema's; inside a Serve
 * application, where the schema ends, it is by the names below (contracts.md, Revisions). */
#include <string.h>

#include "unit/app.h"

struct diff {
    struct a_arena *arena;
    struct unit_change *first, *last;
};

static void change_add(struct diff *d, const char *field, enum unit_class class,
                       const struct wire_value *before, const struct wire_value *after)
{
    struct unit_change *c = a_arena_new(d->arena, struct unit_change);
    *c = (struct unit_change){.field = field, .class = class, .before = before, .after = after};
    if (d->last != NULL)
        d->last->next = c;
    else
        d->first = c;
    d->last = c;
}

/* What Serve takes by a PUT without starting replicas anew. */
bool unit_serve_field_is_light(struct a_view name)
{
    static const char *const light[] = {"num_replicas",
                                        "user_config",
                                        "autoscaling_config",
                                        "max_ongoing_requests",
                                        "max_queued_requests",
                                        "health_check_period_s",
                                        "health_check_timeout_s",
                                        "graceful_shutdown_wait_loop_s",
                                        "graceful_shutdown_timeout_s",
                                        NULL};
    for (const char *const *l = light; *l != NULL; l++)
        if (a_view_is(name, *l))
            return true;
    return false;
}

static const char *name_of(const struct wire_value *v)
{
    return wire_value_string(wire_value_get(v, "name"), "default");
}

static const struct wire_value *named(const struct wire_value *list, const char *name)
{
    wire_value_foreach(v, list)
    {
        if (strcmp(name_of(v), name) == 0)
            return v;
    }
    return NULL;
}

/* Members of one Serve application or deployment; `deployment` tells which fields are light. */
static void members_diff(struct diff *d, const char *path, const struct wire_value *a,
                         const struct wire_value *b, bool deployment);

static void named_diff(struct diff *d, const char *path, const struct wire_value *a,
                       const struct wire_value *b, bool deployment)
{
    wire_value_foreach(before, a)
    {
        const struct wire_value *after = named(b, name_of(before));
        const char *here = a_arena_printf(d->arena, "%s[%s]", path, name_of(before));
        if (after == NULL)
            change_add(d, here, UNIT_CLASS_REPLACE, before, NULL);
        else
            members_diff(d, here, before, after, deployment);
    }
    wire_value_foreach(after, b)
    {
        if (named(a, name_of(after)) == NULL)
            change_add(d, a_arena_printf(d->arena, "%s[%s]", path, name_of(after)), UNIT_CLASS_REPLACE, NULL,
                       after);
    }
}

static void member_diff(struct diff *d, const char *path, const struct wire_value *a,
                        const struct wire_value *b, struct a_view key, bool deployment)
{
    if (wire_value_equal(a, b))
        return;
    const char *here = a_arena_printf(d->arena, "%s." A_VIEW_FMT, path, A_VIEW_ARG(key));
    if (!deployment && a_view_is(key, "deployments"))
        named_diff(d, here, a, b, true);
    else
        change_add(d, here,
                   deployment && unit_serve_field_is_light(key) ? UNIT_CLASS_SERVE : UNIT_CLASS_REPLACE, a,
                   b);
}

static void members_diff(struct diff *d, const char *path, const struct wire_value *a,
                         const struct wire_value *b, bool deployment)
{
    wire_value_foreach(before, a)
    {
        member_diff(d, path, before, wire_value_get_view(b, before->key), before->key, deployment);
    }
    wire_value_foreach(after, b)
    {
        if (wire_value_get_view(a, after->key) == NULL)
            member_diff(d, path, NULL, after, after->key, deployment);
    }
}

static bool is_servers_own(const char *field)
{
    return strcmp(field, "metadata.uid") == 0 || strcmp(field, "metadata.generation") == 0 ||
           strcmp(field, "metadata.resourceVersion") == 0 || strcmp(field, "status") == 0;
}

static void fields_diff(struct diff *d, const struct wire_field *fields, const char *path,
                        const struct wire_value *a, const struct wire_value *b)
{
    for (; fields->name != NULL; fields++) {
        const struct wire_value *before = wire_value_get(a, fields->name),
                                *after = wire_value_get(b, fields->name);
        const char *here = a_arena_printf(d->arena, "%s%s%s", path, path[0] != '\0' ? "." : "", fields->name);
        if (wire_value_equal(before, after) || is_servers_own(here))
            continue;
        bool both = before != NULL && after != NULL;
        bool applications = fields->class == UNIT_CLASS_SERVE && fields->kind == WIRE_LIST;
        if (applications && both)
            named_diff(d, here, before, after, false);
        else if (fields->kind == WIRE_OBJECT && both && wire_value_is(before, WIRE_VALUE_OBJECT) &&
                 wire_value_is(after, WIRE_VALUE_OBJECT))
            fields_diff(d, fields->fields, here, before, after);
        else
            change_add(d, here, applications ? UNIT_CLASS_REPLACE : fields->class, before, after);
    }
}

struct unit_change *unit_app_diff(struct a_arena *arena, const struct wire_value *before,
                                  const struct wire_value *after)
{
    struct diff d = {.arena = arena};
    fields_diff(&d, unit_app_schema.object.fields, "", before, after);
    return d.first;
}
