/* Limits and price of a cluster. */
#include "daemon/server/api.h"
#include "daemon/server/cluster_limits.h"

static struct wire_value *limits_json(struct api_call *c, const struct a_name *name)
{
    const struct d_cluster_limits *l = d_cluster_limits_find(c->s, name);
    struct wire_problems none = {.arena = c->arena};
    return l != NULL ? wire_value_copy(c->arena, l->tree)
                     : wire_schema_check(&none, &d_cluster_limits_schema, wire_value_new_object(c->arena));
}

static bool name_read(struct api_call *c, struct a_name *ret)
{
    if (a_name_parse(c->params[0], ret))
        return true;
    api_reply_problem(c, A_CODE_INVALID,
                      "\"" A_VIEW_FMT "\" is no name: a-z, 0-9 and inner '-', at most %d characters",
                      A_VIEW_ARG(c->params[0]), A_NAME_MAX);
    return false;
}

void api_handle_CLUSTER_LIMITS(struct api_call *c)
{
    struct a_name name;
    if (name_read(c, &name))
        api_reply_value(c, 200, limits_json(c, &name));
}

static void on_put(void *ctx, const struct a_error *error)
{
    struct api_call *c = api_now(ctx);
    struct a_name name;
    if (c == NULL || !a_name_parse(c->params[0], &name))
        return;
    if (error != NULL && error->code != A_CODE_NONE) {
        api_reply_error(c, error);
        return;
    }
    d_event_add(c->s, NULL, "user", name.s, 0, A_REASON_REQUESTED, "limits or price of the cluster were set");
    api_reply_value(c, 200, limits_json(c, &name));
}

/* The table takes 0 for an amount; here it would mean "no limit", which null says. */
static void zeros_refuse(struct wire_problems *p, const struct wire_value *tree)
{
    static const char *const amounts[] = {"maxCpu", "maxMemory"};
    for (size_t i = 0; i < A_ARRAY_SIZE(amounts); i++) {
        const struct wire_value *v = wire_value_get(tree, amounts[i]);
        if (a_view_is(wire_value_view(v), "0"))
            wire_problem_add(p, A_CODE_INVALID, amounts[i], v,
                             "null takes the limit away; "
                             "`astra cluster drain` empties a cluster",
                             "expected more than 0");
    }
}

void api_handle_CLUSTER_LIMITS_PUT(struct api_call *c)
{
    struct a_name name;
    struct wire_problems problems = {.arena = c->arena};
    struct wire_value *body = name_read(c, &name) ? api_body(c) : NULL;
    if (body == NULL)
        return;
    struct wire_value *tree = wire_schema_check(&problems, &d_cluster_limits_schema, body);
    if (tree != NULL)
        zeros_refuse(&problems, tree);
    if (problems.n_errors > 0)
        api_reply_problems(c, &problems);
    else
        d_cluster_limits_put(c->s, &name, tree, on_put, api_later(c));
}
