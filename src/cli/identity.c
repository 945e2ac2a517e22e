/* astra ca show|rotate, astra deny, astra allow: whom the platform's parts trust. */
#include <stdio.h>

#include "base/text.h"
#include "cli/cli.h"
#include "types/id.h"

static int show_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *v;
    int rc = cli_get(c, "/v1/ca", &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s", cli_cell(c->arena, v, "pem"));
    return rc;
}

static int rotate_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *v;
    int rc = cli_request(c, "POST", "/v1/ca/rotate", NULL, NULL, &v, reterr);
    if (rc == 0)
        rc = cli_client_trust(c, cli_cell(c->arena, v, "pem"), reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf(
            "the new CA is %s; nodes and gateways that are connected get certificates of it now, the others "
            "when they come\nclients elsewhere: give them the new one (astra ca show) while the old one is "
            "trusted, for 7 lives of a certificate\n",
            cli_cell(c->arena, v, "pin"));
    return rc;
}

int cli_ca(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {.name = "ca show",
         .about = "Prints the certificates of the CA, and of those before it that are still trusted",
         .run = show_run},
        {.name = "ca rotate",
         .about = "Makes a new CA; nothing that runs notices",
         .more = "The one before stays trusted for 7 lives of a certificate (7 days).\n",
         .run = rotate_run},
    };
    return cli_group_run("ca", commands, A_ARRAY_SIZE(commands), argc, argv);
}

/* An id as it is; else a node of that name. */
static int identity_find(struct cli_call *c, const char **ret, struct a_error *reterr)
{
    struct a_node_id id;
    struct wire_value *node;
    *ret = c->words.items[0];
    if (a_node_id_parse(a_view_str(*ret), &id))
        return 0;
    int rc = cli_node_find(c, *ret, &node, reterr);
    if (rc == 0)
        *ret = cli_cell(c->arena, node, "id");
    return rc;
}

static int change(struct cli_call *c, const char *path, const char *done, struct a_error *reterr)
{
    struct wire_value *v;
    const char *id;
    int rc = identity_find(c, &id, reterr);
    if (rc == 0)
        rc = cli_request(c, "POST", cli_path(c, path, id, NULL), NULL, NULL, &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s %s\n", id, done);
    return rc;
}

static int deny_run(struct cli_call *c, struct a_error *reterr)
{
    return change(c, "/v1/identities/{}/deny", "is denied: its link is cut, and nothing opens for it",
                  reterr);
}

static int allow_run(struct cli_call *c, struct a_error *reterr)
{
    return change(c, "/v1/identities/{}/allow", "may come in again", reterr);
}

int cli_deny(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "deny",
        .words = "NODE|ID",
        .about = "Refuses a node or gateway from now on, whatever certificate or token it shows",
        .min_words = 1,
        .max_words = 1,
        .more = "For one whose key was stolen. What runs on the node is replaced elsewhere after 10 s.\n",
        .run = deny_run};
    return cli_command_run(&command, argc, argv);
}

int cli_allow(int argc, char **argv)
{
    static const struct cli_command command = {.name = "allow",
                                               .words = "NODE|ID",
                                               .about = "Lets a denied node or gateway in again",
                                               .min_words = 1,
                                               .max_words = 1,
                                               .run = allow_run};
    return cli_command_run(&command, argc, argv);
}
