/* astra token create|revoke|ls: who may do what. */
#include <stdio.h>

#include "cli/cli.h"
#include "cli/table.h"

struct args {
    const char *role, *expires, *name;
    bool once;
};

static const struct cli_option create_options[] = {
    {"role", 0, CLI_TEXT, offsetof(struct args, role), "ROLE", "view (default), deploy, admin, or join",
     false},
    {"expires", 0, CLI_TEXT, offsetof(struct args, expires), "TIME", "30d; default: when it is revoked",
     false},
    {"once", 0, CLI_FLAG, offsetof(struct args, once), NULL, "join: good for one node or gateway", false},
    {"name", 0, CLI_TEXT, offsetof(struct args, name), "TEXT", "whose it is, for people", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static int create_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct wire_value *v, *body = wire_value_new_object(c->arena);
    wire_value_set_string(c->arena, body, "role", args->role != NULL ? args->role : "view");
    wire_value_set_string(c->arena, body, "namespace",
                          c->common.namespace != NULL ? c->common.namespace : "*");
    if (args->expires != NULL)
        wire_value_set_string(c->arena, body, "expires", args->expires);
    if (args->once)
        wire_value_set_bool(c->arena, body, "once", true);
    if (args->name != NULL)
        wire_value_set_string(c->arena, body, "name", args->name);
    int rc = cli_request(c, "POST", "/v1/tokens", body, NULL, &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s\n", cli_cell(c->arena, v, "token"));
    return rc;
}

static int revoke_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *v;
    int rc = cli_request(c, "DELETE", cli_path(c, "/v1/tokens/{}", c->words.items[0], NULL), NULL, NULL, &v,
                         reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s is revoked\n", c->words.items[0]);
    return rc;
}

static int ls_run(struct cli_call *c, struct a_error *reterr)
{
    struct cli_table t = {.arena = c->arena};
    struct wire_value *list;
    int rc = cli_get(c, "/v1/tokens", &list, reterr);
    if (rc != 0)
        return rc;
    if (c->json) {
        cli_print_json(list);
        return 0;
    }
    cli_table_row(&t, "ID", "ROLE", "NAMESPACE", "AGE", "EXPIRES", "NAME", NULL);
    wire_value_foreach(v, wire_value_get(list, "items"))
        cli_table_row(&t, cli_cell(c->arena, v, "id"), cli_cell(c->arena, v, "role"),
                      cli_cell(c->arena, v, "namespace"), cli_age(c->arena, wire_value_get(v, "created")),
                      cli_cell(c->arena, v, "expires"), cli_cell(c->arena, v, "name"), NULL);
    if (wire_value_count(wire_value_get(list, "items")) > 0)
        cli_print_table(&t);
    else
        printf("no tokens but the one that the server made for itself\n");
    return 0;
}

int cli_token(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {.name = "token create",
         .about = "Makes a token and prints it, this once: the server keeps its hash only",
         .options = create_options,
         .args_size = sizeof(struct args),
         .more =
             "view reads; deploy writes apps and artifacts, too; admin does everything. Without "
             "--namespace it is for all\n"
             "namespaces. join opens the API to nobody: it lets a new node or gateway in (--join-token-file, "
             "--token-file).\n",
         .run = create_run},
        {.name = "token revoke",
         .words = "ID",
         .about = "Makes a token open nothing from now on",
         .min_words = 1,
         .max_words = 1,
         .run = revoke_run},
        {.name = "token ls", .about = "Lists the tokens, without what opens", .run = ls_run},
    };
    return cli_group_run("token", commands, A_ARRAY_SIZE(commands), argc, argv);
}
