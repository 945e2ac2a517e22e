/* astra apps: one line each. */
#include "cli/cli.h"
#include "cli/commands.h"

static void app_row(struct cli *c, struct cli_table *t, const struct wire_value *app)
{
    const struct wire_value *m = wire_value_get(app, "metadata"), *s = wire_value_get(app, "status");
    const struct wire_value *n = wire_value_get(s, "units");
    const char *cells[] = {
        cli_text(m, "namespace"),
        cli_text(m, "name"),
        a_arena_printf(&c->arena, "%s/%s", cli_int(c, n, "ready"), cli_int(c, n, "wanted")),
        cli_text(s, "state"),
        cli_int(c, s, "revision"),
        cli_age(c, wire_value_string(wire_value_get(m, "creationTimestamp"), NULL)),
        cli_text(s, "lastFailure"),
    };
    cli_table_row(t, cells);
}

int cli_apps(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "apps", .args = "[-n NAMESPACE]", .summary = "Lists the apps of all namespaces, or of one."};
    static const char *const head[] = {"NAMESPACE", "NAME", "READY",        "STATE",
                                       "REVISION",  "AGE",  "LAST FAILURE", NULL};
    struct cli c = {0};
    struct cli_table t;
    struct wire_value *items;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = cli_list(&c,
                      c.namespace != NULL ? a_arena_printf(&c.arena, "/v1/namespaces/%s/apps", c.namespace)
                                          : "/v1/apps",
                      &items);
    if (rc == 0 && c.json) {
        cli_print_json(items);
    } else if (rc == 0) {
        cli_table_init(&t, head);
        wire_value_foreach(app, items) app_row(&c, &t, app);
        if (t.n_rows > 0)
            cli_table_print(&t);
        else
            puts("no apps yet: astra deploy app.yaml makes one");
        cli_table_deinit(&t);
    }
    return cli_end(&c, rc);
}
