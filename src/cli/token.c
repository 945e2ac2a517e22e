/* astra token create|revoke|ls. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

static int token_create(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "token create",
        .args = "[--role view|deploy|admin] [-n NAMESPACE] [--expires 30d]",
        .summary = "Makes an API token and prints it, once: the server keeps its hash only.",
        .more = "view reads; deploy changes apps and artifacts, too; admin does all. Without -n it is for "
                "all namespaces."};
    struct cli c = {0};
    struct wire_value *v;
    const char *role = "view", *expires = NULL, *name = NULL;
    const struct cli_option options[] = {
        {"role", 0, CLI_TEXT, "ROLE", "view (default), deploy or admin", &role},
        {"expires", 0, CLI_TEXT, "TIME", "for how long (default: until it is revoked)", &expires},
        {"name", 0, CLI_TEXT, "TEXT", "whose it is, for people", &name},
    };
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    struct wire_value *body = wire_value_new_object(&c.arena);
    wire_value_set_string(&c.arena, body, "role", role);
    wire_value_set_string(&c.arena, body, "namespace", c.namespace != NULL ? c.namespace : "*");
    if (expires != NULL)
        wire_value_set_string(&c.arena, body, "expires", expires);
    if (name != NULL)
        wire_value_set_string(&c.arena, body, "name", name);
    int rc = cli_call(&c, "POST", "/v1/tokens", body, &v);
    if (rc == 0 && c.json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s\n", cli_text(v, "token"));
    return cli_end(&c, rc);
}

static int token_revoke(int argc, char **argv)
{
    static const struct cli_command command = {.name = "token revoke",
                                               .args = "ID",
                                               .summary = "Revokes a token: it opens nothing from now on.",
                                               .words_min = 1,
                                               .words_max = 1};
    struct cli c = {0};
    struct wire_value *v;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    const char *path = a_arena_printf(&c.arena, "/v1/tokens/%s", cli_escape(&c, c.words.at[0]));
    int rc = cli_call(&c, "DELETE", path, NULL, &v);
    if (rc == 0 && c.json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s: revoked\n", c.words.at[0]);
    return cli_end(&c, rc);
}

static int token_ls(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "token ls", .args = "", .summary = "Lists the tokens; their secrets are not known any more."};
    static const char *const head[] = {"ID", "ROLE", "NAMESPACE", "AGE", "EXPIRES", "NAME", NULL};
    struct cli c = {0};
    struct cli_table t;
    struct wire_value *items;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = cli_list(&c, "/v1/tokens", &items);
    if (rc == 0 && c.json) {
        cli_print_json(items);
    } else if (rc == 0) {
        cli_table_init(&t, head);
        wire_value_foreach(v, items)
        {
            const char *cells[] = {
                cli_text(v, "id"),        cli_text(v, "role"),
                cli_text(v, "namespace"), cli_age(&c, wire_value_string(wire_value_get(v, "created"), NULL)),
                cli_text(v, "expires"),   cli_text(v, "name")};
            cli_table_row(&t, cells);
        }
        if (t.n_rows > 0)
            cli_table_print(&t);
        else
            puts("no tokens but the server's own");
        cli_table_deinit(&t);
    }
    return cli_end(&c, rc);
}

int cli_token(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"create", token_create}, {"revoke", token_revoke}, {"ls", token_ls}};
    return cli_verbs("token", verbs, A_ARRAY_SIZE(verbs), argc, argv);
}
