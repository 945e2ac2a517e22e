/* Nodes; cordon and drain. A command is answered when the node has it on disk. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"

void api_handle_NODES(struct api_call *c)
{
    api_list(c, API_KIND_NODE, "");
}

/* By id, by its whole name, or by a beginning of its id (6 characters at least) that only it has. */
static const struct sl_resource_node *node_find(struct api_call *c)
{
    const struct sl_resource_node *found = NULL;
    struct a_view want = c->params[0];
    size_t n = 0;
    for (const struct sl_resource_node *node = sl_resource_next(&c->s->resource, NULL); node != NULL;
         node = sl_resource_next(&c->s->resource, node)) {
        const struct d_agent *agent = d_agent_find(c->s, &node->id);
        if (a_view_is(want, node->id.s))
            return node;
        bool named = agent != NULL && a_view_is(want, agent->name);
        if (named || (want.len >= 6 && strncmp(node->id.s, want.ptr, want.len) == 0)) {
            found = node;
            n++;
        }
    }
    if (n == 1)
        return found;
    if (n == 0)
        api_reply_problem(c, A_CODE_NOT_FOUND, "no such node: " A_VIEW_FMT, A_VIEW_ARG(want));
    else
        api_reply_problem(c, A_CODE_CONFLICT, A_VIEW_FMT " is the name of %zu nodes: take an id",
                          A_VIEW_ARG(want), n);
    return NULL;
}

void api_handle_NODE(struct api_call *c)
{
    const struct sl_resource_node *node = node_find(c);
    if (node != NULL)
        api_reply_value(c, 200, api_json_node(c->api, node, c->arena, true));
}

static void on_command_done(void *ctx, const struct a_error *error)
{
    struct api_call *c = api_now(ctx);
    if (c == NULL)
        return;
    const struct a_node_id *id = c->user;
    const struct sl_resource_node *node = sl_resource_node(&c->s->resource, id);
    if (error != NULL && error->code != A_CODE_NONE)
        api_reply_error(c, error);
    else if (node == NULL)
        api_reply_problem(c, A_CODE_GONE, "the node %s went away", id->s);
    else
        api_reply_value(c, 200, api_json_node(c->api, node, c->arena, true));
}

static void node_command(struct api_call *c, enum wire_sl_node_action action)
{
    const struct sl_resource_node *node = node_find(c);
    const char *text = api_query(c, "deadline");
    uint64_t deadline_ms = 0;
    if (node == NULL)
        return;
    if (text[0] != '\0' && !a_text_duration(a_view_str(text), &deadline_ms)) {
        api_reply_problem(c, A_CODE_INVALID, "deadline: \"%s\" is no duration such as 60s", text);
        return;
    }
    struct a_node_id *id = a_arena_new(c->arena, struct a_node_id);
    *id = node->id;
    c->user = id;
    d_node_command(c->s, id, action, deadline_ms, on_command_done, api_later(c));
}

void api_handle_NODE_CORDON(struct api_call *c)
{
    node_command(c, WIRE_SL_NODE_ACTION_CORDON);
}

void api_handle_NODE_UNCORDON(struct api_call *c)
{
    node_command(c, WIRE_SL_NODE_ACTION_UNCORDON);
}

void api_handle_NODE_DRAIN(struct api_call *c)
{
    node_command(c, WIRE_SL_NODE_ACTION_DRAIN);
}

void api_handle_NODE_UNDRAIN(struct api_call *c)
{
    node_command(c, WIRE_SL_NODE_ACTION_UNDRAIN);
}
