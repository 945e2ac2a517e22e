/* astra status: the whole at a glance. astra version. */
#include <inttypes.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

static void counts_print(const char *what, const struct wire_value *counts)
{
    printf("%-10s", what);
    wire_value_foreach(n, counts)
        printf(" %" PRId64 " %s%s", n->integer, n->key.ptr, n->next != NULL ? "," : "");
    puts(wire_value_count(counts) > 0 ? "" : " none");
}

static void apps_print(struct cli *c, const struct wire_value *apps)
{
    static const char *const head[] = {"APP", "READY", "STATE", "REVISION", "AGE", "LAST FAILURE", NULL};
    struct cli_table t;
    cli_table_init(&t, head);
    wire_value_foreach(app, apps)
    {
        const struct wire_value *m = wire_value_get(app, "metadata"), *s = wire_value_get(app, "status");
        const struct wire_value *n = wire_value_get(s, "units");
        const char *cells[] = {
            a_arena_printf(&c->arena, "%s/%s", cli_text(m, "namespace"), cli_text(m, "name")),
            a_arena_printf(&c->arena, "%s/%s", cli_int(c, n, "ready"), cli_int(c, n, "wanted")),
            cli_text(s, "state"),
            cli_int(c, s, "revision"),
            cli_age(c, wire_value_string(wire_value_get(m, "creationTimestamp"), NULL)),
            cli_text(s, "lastFailure")};
        cli_table_row(&t, cells);
    }
    if (t.n_rows > 0) {
        puts("");
        cli_table_print(&t);
    }
    cli_table_deinit(&t);
}

static void status_print(struct cli *c, const struct wire_value *s, const struct wire_value *apps)
{
    const struct wire_value *gateways = wire_value_get(s, "gateways");
    printf("%-10s %s, version %s, up %s%s%s\n", "server", c->address, cli_text(s, "version"),
           cli_age(c, wire_value_string(wire_value_get(s, "started"), NULL)),
           wire_value_bool(wire_value_get(s, "readOnly"), false) ? ", READ-ONLY: its disk is full" : "",
           wire_value_bool(wire_value_get(s, "adopted"), true) ? "" : ", waiting for its nodes");
    counts_print("nodes", wire_value_get(s, "nodes"));
    counts_print("units", wire_value_get(s, "units"));
    printf("%-10s", "gateways");
    wire_value_foreach(g, gateways)
        printf(" %s:%s%s", cli_text(g, "address"), cli_int(c, g, "port"), g->next != NULL ? "," : "");
    puts(wire_value_count(gateways) > 0 ? "" : " none");
    if (wire_value_int(wire_value_get(s, "orphans"), 0) > 0)
        printf("%-10s %s: astra orphans ls\n", "orphans", cli_int(c, s, "orphans"));
    apps_print(c, apps);
}

int cli_status(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "status",
        .args = "",
        .summary = "Shows server, nodes, units, gateways and apps at a glance."};
    struct cli c = {0};
    struct wire_value *s, *apps;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = cli_call(&c, "GET", "/v1/status", NULL, &s);
    if (rc == 0)
        rc = cli_list(&c, "/v1/apps", &apps);
    if (rc == 0 && c.json) {
        wire_value_set(&c.arena, s, "items", apps);
        cli_print_json(s);
    } else if (rc == 0) {
        status_print(&c, s, apps);
    }
    return cli_end(&c, rc);
}

int cli_version(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "version",
        .args = "[--client]",
        .summary = "Prints this program's version, and the server's if it answers."};
    struct cli c = {0};
    struct wire_value *s = NULL;
    bool client = false;
    const struct cli_option options[] = {{"client", 0, CLI_FLAG, NULL, "do not ask the server", &client}};
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    bool known = !client && cli_call(&c, "GET", "/v1/version", NULL, &s) == 0;
    const char *server = known ? wire_value_string(wire_value_get(s, "version"), "") : NULL;
    a_error_deinit(&c.error);
    if (c.json) {
        struct wire_value *v = wire_value_new_object(&c.arena);
        wire_value_set_string(&c.arena, v, "client", ASTRA_VERSION);
        wire_value_set_string(&c.arena, v, "server", server);
        cli_print_json(v);
    } else {
        printf("astra %s\n", ASTRA_VERSION);
        if (server != NULL)
            printf("server %s at %s\n", server, c.address);
    }
    return cli_end(&c, 0);
}
