/* astra orphans ls|adopt|release: apps that run, but that no store knows. */
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"

static int ls_run(struct cli_call *c, struct a_error *reterr)
{
    struct cli_table t = {.arena = c->arena};
    struct wire_value *list;
    int rc = cli_get(c, "/v1/orphans", &list, reterr);
    if (rc != 0)
        return rc;
    if (c->json) {
        cli_print_json(list);
        return 0;
    }
    cli_table_row(&t, "NAMESPACE", "NAME", "CLAIMS", "ADOPTABLE", "UID", NULL);
    wire_value_foreach(o, wire_value_get(list, "items"))
        cli_table_row(&t, cli_cell(c->arena, o, "namespace"), cli_cell(c->arena, o, "name"),
                      a_arena_printf(c->arena, "%zu", wire_value_count(wire_value_get(o, "claims"))),
                      wire_value_bool(wire_value_get(o, "adoptable"), false) ? "yes" : "not yet",
                      cli_cell(c->arena, o, "uid"), NULL);
    if (wire_value_count(wire_value_get(list, "items")) > 0)
        cli_print_table(&t);
    else
        printf("no orphans\n");
    return 0;
}

/* APP is NAME or NAMESPACE/NAME, as the list shows it. */
static int orphan_send(struct cli_call *c, const char *verb, const char *done, struct a_error *reterr)
{
    const char *word = c->words.items[0], *slash = strchr(word, '/');
    const char *namespace =
        slash != NULL ? a_arena_strndup(c->arena, word, (size_t)(slash - word)) : cli_namespace(c);
    const char *name = slash != NULL ? slash + 1 : word;
    struct wire_value *v;
    int rc = cli_request(c, "POST", cli_path(c, "/v1/orphans/{}/{}/{}", namespace, name, verb, NULL), NULL,
                         NULL, &v, reterr);
    if (rc == 0 && c->json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s/%s %s\n", namespace, name, done);
    return rc;
}

static int adopt_run(struct cli_call *c, struct a_error *reterr)
{
    return orphan_send(c, "adopt", "is an app of this server's store again; nothing was restarted", reterr);
}

static int release_run(struct cli_call *c, struct a_error *reterr)
{
    return orphan_send(c, "release", "is being stopped", reterr);
}

int cli_orphans(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {.name = "orphans ls",
         .about = "Lists apps that run on nodes, but that no store knows",
         .run = ls_run},
        {.name = "orphans adopt",
         .words = "APP",
         .about = "Makes an orphan an app again, without touching what runs",
         .min_words = 1,
         .max_words = 1,
         .run = adopt_run},
        {.name = "orphans release",
         .words = "APP",
         .about = "Stops all that an orphan runs",
         .min_words = 1,
         .max_words = 1,
         .run = release_run},
    };
    return cli_group_run("orphans", commands, A_ARRAY_SIZE(commands), argc, argv);
}
