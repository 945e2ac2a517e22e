/* astra units: one line each; with --members, one for each Ray node. */
#include "cli/cli.h"
#include "cli/commands.h"

static void unit_row(struct cli *c, struct cli_table *t, const struct wire_value *u)
{
    const char *cells[] = {
        cli_text(u, "name"),
        cli_text(u, "app"),
        cli_text(u, "state"),
        cli_text(u, "reason"),
        cli_text(u, "cluster"),
        cli_text(u, "nodeName"),
        cli_int(c, u, "revision"),
        a_arena_printf(&c->arena, "%zu %s", wire_value_count(wire_value_get(u, "endpoints")),
                       cli_text(u, "routing")),
        cli_age(c, wire_value_string(wire_value_get(u, "since"), NULL)),
        cli_text(u, "message"),
    };
    cli_table_row(t, cells);
}

static void member_rows(struct cli *c, struct cli_table *t, const struct wire_value *u)
{
    wire_value_foreach(m, wire_value_get(u, "members"))
    {
        const char *cells[] = {
            cli_text(u, "name"),
            cli_text(m, "name"),
            cli_text(m, "state"),
            cli_text(m, "reason"),
            cli_text(m, "cluster"),
            cli_text(m, "nodeName"),
            cli_int(c, m, "attempt"),
            cli_int(c, m, "pid"),
            cli_age(c, wire_value_string(wire_value_get(m, "since"), NULL)),
            cli_text(m, "message"),
        };
        cli_table_row(t, cells);
    }
}

static void units_print(struct cli *c, const struct wire_value *items, bool members)
{
    static const char *const unit_head[] = {"NAME",    "APP",       "STATE",    "REASON",
                                            "CLUSTER", "HEAD NODE", "REVISION", "ENDPOINTS",
                                            "SINCE",   "MESSAGE",   NULL};
    static const char *const member_head[] = {"UNIT",    "MEMBER", "STATE", "REASON",  "CLUSTER", "NODE",
                                              "ATTEMPT", "PID",    "SINCE", "MESSAGE", NULL};
    struct cli_table t;
    cli_table_init(&t, members ? member_head : unit_head);
    wire_value_foreach(u, items)
    {
        if (members)
            member_rows(c, &t, u);
        else
            unit_row(c, &t, u);
    }
    if (t.n_rows > 0)
        cli_table_print(&t);
    else
        puts("no units");
    cli_table_deinit(&t);
}

int cli_units(int argc, char **argv)
{
    static const struct cli_command command = {.name = "units",
                                               .args = "[APP] [--members]",
                                               .summary = "Lists the units of all apps, or of one.",
                                               .words_max = 1};
    struct cli c = {0};
    struct wire_value *items;
    bool members = false;
    const struct cli_option options[] = {
        {"members", 'm', CLI_FLAG, NULL, "one line for each Ray node", &members}};
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    const char *path = "/v1/units";
    if (c.words.n == 1)
        path = cli_app_path(&c, c.words.at[0]);
    else if (c.namespace != NULL)
        path = a_arena_printf(&c.arena, "/v1/namespaces/%s", c.namespace);
    if (path == NULL)
        return cli_end(&c, -1);
    if (c.words.n == 1 || c.namespace != NULL)
        path = a_arena_printf(&c.arena, "%s/units", path);
    int rc = cli_list(&c, path, &items);
    if (rc == 0 && c.json)
        cli_print_json(items);
    else if (rc == 0)
        units_print(&c, items, members);
    return cli_end(&c, rc);
}
