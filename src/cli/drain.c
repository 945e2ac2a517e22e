/* astra drain, cordon, uncordon: taking nodes out of use and back. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/drain_wait.h"

#define TIMEOUT_MS (30ull * 60 * 1000)

struct args {
    bool wait, self;
    uint64_t timeout_ms, grace_ms;
};

static const struct cli_option drain_options[] = {
    {"wait", 0, CLI_FLAG, offsetof(struct args, wait), NULL, "until nothing is left on it", false},
    {"timeout", 0, CLI_DURATION, offsetof(struct args, timeout_ms), "TIME", "of --wait (default 30m)", false},
    {"self", 0, CLI_FLAG, offsetof(struct args, self), NULL,
     "the node of the agent on this machine, which ends (a pod's PreStop)", false},
    {"grace", 0, CLI_DURATION, offsetof(struct args, grace_ms), "TIME",
     "of --self: until it ends, empty or not (default 30s)", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static const char *name_of(struct a_arena *arena, const struct wire_value *node)
{
    return cli_node_name(arena, wire_value_get(node, "cluster"), wire_value_get(node, "name"));
}

/* POST /v1/nodes/ID/VERB; *ret is the node afterwards. */
static int node_command(struct cli_call *c, const struct wire_value *node, const char *verb,
                        struct wire_value **ret, struct a_error *reterr)
{
    const char *path =
        cli_path(c, "/v1/nodes/{}/{}", wire_value_string(wire_value_get(node, "id"), ""), verb, NULL);
    return cli_request(c, "POST", path, NULL, NULL, ret, reterr);
}

static bool is_drained(const struct wire_value *node)
{
    return strcmp(wire_value_string(wire_value_get(node, "state"), ""), "DRAINED") == 0 &&
           wire_value_count(wire_value_get(node, "claims")) == 0;
}

static bool is_empty(struct a_arena *arena, const struct wire_value *node, const char **ret_left)
{
    const char *text = "";
    wire_value_foreach(k, wire_value_get(node, "claims")) text =
        a_arena_printf(arena, "%s%s%s/%s (%s)", text, text[0] != '\0' ? ", " : "", cli_cell(arena, k, "unit"),
                       cli_cell(arena, k, "member"), cli_cell(arena, k, "memberState"));
    *ret_left = text;
    return is_drained(node);
}

static int drain_wait(struct cli_call *c, struct wire_value **node, struct a_error *reterr)
{
    const struct args *args = c->args;
    const char *id = wire_value_string(wire_value_get(*node, "id"), "");
    const struct cli_drain drain = {.path = cli_path(c, "/v1/nodes/{}", id, NULL),
                                    .name = name_of(c->arena, *node),
                                    .timeout_ms = args->timeout_ms != 0 ? args->timeout_ms : TIMEOUT_MS,
                                    .is_empty = is_empty};
    return cli_drain_wait(c, &drain, node, reterr);
}

static int drain_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct wire_value *node;
    if (args->self && c->words.n == 0)
        return cli_drain_self(c, args->grace_ms, reterr);
    if (args->self || c->words.n == 0)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "expected NODE, or --self");
    int rc = cli_node_find(c, c->words.items[0], &node, reterr);
    if (rc == 0)
        rc = node_command(c, node, "drain", &node, reterr);
    if (rc == 0 && args->wait)
        rc = drain_wait(c, &node, reterr);
    if (rc != 0)
        return rc;
    if (c->json)
        cli_print_json(node);
    else
        printf("%s %s; `astra uncordon` takes it into use again\n", name_of(c->arena, node),
               is_drained(node) ? "is drained" : "drains");
    return 0;
}

static int cordon_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *node;
    int rc = cli_node_find(c, c->words.items[0], &node, reterr);
    if (rc == 0)
        rc = node_command(c, node, "cordon", &node, reterr);
    if (rc == 0 && c->json)
        cli_print_json(node);
    else if (rc == 0)
        printf("%s is cordoned: what runs there runs on, nothing new is placed\n", name_of(c->arena, node));
    return rc;
}

/* Whatever kept it out of use, a drain included, is taken back. */
static int uncordon_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *node;
    int rc = cli_node_find(c, c->words.items[0], &node, reterr);
    const char *state = rc == 0 ? wire_value_string(wire_value_get(node, "state"), "") : "";
    if (strcmp(state, "DRAINING") == 0 || strcmp(state, "DRAINED") == 0)
        rc = node_command(c, node, "undrain", &node, reterr);
    if (rc == 0)
        rc = node_command(c, node, "uncordon", &node, reterr);
    if (rc == 0 && c->json)
        cli_print_json(node);
    else if (rc == 0)
        printf("%s is in use again\n", name_of(c->arena, node));
    return rc;
}

#define NODE_HELP                                                                                            \
    "NODE is a name (node-2, cluster-1/node-2), an id, or a beginning of it that is its alone.\n"

int cli_drain(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "drain",
        .words = "NODE | --self",
        .about = "Moves everything off a node: replacements first, then a clean end",
        .min_words = 0,
        .max_words = 1,
        .options = drain_options,
        .args_size = sizeof(struct args),
        .more = NODE_HELP "--self finds the agent by its folder: --data, or ASTRA_CFG_AGENT_DATA.\n",
        .run = drain_run};
    return cli_command_run(&command, argc, argv);
}

int cli_cordon(int argc, char **argv)
{
    static const struct cli_command command = {.name = "cordon",
                                               .words = "NODE",
                                               .about = "Places nothing new on a node",
                                               .min_words = 1,
                                               .max_words = 1,
                                               .more = NODE_HELP,
                                               .run = cordon_run};
    return cli_command_run(&command, argc, argv);
}

int cli_uncordon(int argc, char **argv)
{
    static const struct cli_command command = {.name = "uncordon",
                                               .words = "NODE",
                                               .about = "Takes a cordoned or drained node into use again",
                                               .min_words = 1,
                                               .max_words = 1,
                                               .more = NODE_HELP,
                                               .run = uncordon_run};
    return cli_command_run(&command, argc, argv);
}
