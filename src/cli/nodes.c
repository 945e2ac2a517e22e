/* astra nodes, clusters: what there is to place on. */
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

/* "1.5/2": free of all. */
static const char *of_all(struct cli *c, const struct wire_value *v, const char *what)
{
    return a_arena_printf(&c->arena, "%s/%s", cli_text(wire_value_get(v, "free"), what),
                          cli_text(wire_value_get(v, "capacity"), what));
}

static void node_row(struct cli *c, struct cli_table *t, const struct wire_value *n)
{
    bool cordoned = wire_value_bool(wire_value_get(n, "cordoned"), false);
    const char *state = cli_text(n, "state");
    bool marked = cordoned && strcmp(state, "UP") == 0;
    const char *cells[] = {
        cli_text(n, "name"),
        cli_text(n, "cluster"),
        marked ? "UP,cordoned" : state,
        cli_text(n, "reason"),
        of_all(c, n, "cpu"),
        of_all(c, n, "memory"),
        a_arena_printf(&c->arena, "%zu", wire_value_count(wire_value_get(n, "claims"))),
        cli_text(n, "host"),
        cli_age(c, wire_value_string(wire_value_get(n, "since"), NULL)),
        cli_text(n, "id"),
    };
    cli_table_row(t, cells);
}

static void claims_print(struct cli *c, const struct wire_value *node)
{
    static const char *const head[] = {"APP", "UNIT", "MEMBER", "STATE", "REVISION", "CPU", "MEMORY", NULL};
    struct cli_table t;
    cli_table_init(&t, head);
    wire_value_foreach(v, wire_value_get(node, "claims"))
    {
        const struct wire_value *capacity = wire_value_get(v, "capacity");
        const char *cells[] = {
            a_arena_printf(&c->arena, "%s/%s", cli_text(v, "namespace"), cli_text(v, "app")),
            cli_text(v, "unit"),
            cli_text(v, "member"),
            cli_text(v, "memberState"),
            cli_int(c, v, "revision"),
            cli_text(capacity, "cpu"),
            cli_text(capacity, "memory")};
        cli_table_row(&t, cells);
    }
    if (t.n_rows > 0) {
        puts("");
        cli_table_print(&t);
    }
    cli_table_deinit(&t);
}

static void nodes_print(struct cli *c, const struct wire_value *items)
{
    static const char *const head[] = {"NAME",   "CLUSTER", "STATE", "REASON", "CPU FREE", "MEMORY FREE",
                                       "CLAIMS", "HOST",    "SINCE", "ID",     NULL};
    struct cli_table t;
    cli_table_init(&t, head);
    wire_value_foreach(n, items) node_row(c, &t, n);
    if (t.n_rows > 0)
        cli_table_print(&t);
    else
        puts("no nodes: each runs astra agent");
    cli_table_deinit(&t);
}

int cli_nodes(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "nodes",
        .args = "[NODE]",
        .summary = "Lists the nodes, or shows one with its claims.",
        .more = "A node is named by its name, its id, or the beginning of its id.",
        .words_max = 1};
    struct cli c = {0};
    struct wire_value *items, *node;
    int rc, status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    if (c.words.n == 0) {
        rc = cli_list(&c, "/v1/nodes", &items);
    } else {
        items = wire_value_new_array(&c.arena);
        rc = cli_call(&c, "GET", a_arena_printf(&c.arena, "/v1/nodes/%s", cli_escape(&c, c.words.at[0])),
                      NULL, &node);
        if (rc == 0)
            wire_value_append(items, node);
    }
    if (rc == 0 && c.json)
        cli_print_json(c.words.n == 1 ? node : items);
    else if (rc == 0)
        nodes_print(&c, items);
    if (rc == 0 && c.words.n == 1 && !c.json)
        claims_print(&c, node);
    return cli_end(&c, rc);
}

/* "3 UP, 1 DEAD" */
static const char *states_text(struct cli *c, const struct wire_value *states)
{
    A_BUF_AUTO struct a_buf b = {0};
    wire_value_foreach(s, states)
        a_buf_addf(&b, "%s%lld %s", b.len > 0 ? ", " : "", (long long)s->integer, s->key.ptr);
    return a_arena_strdup(&c->arena, b.ptr != NULL ? b.ptr : "");
}

int cli_clusters(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "clusters",
        .args = "",
        .summary = "Lists the clusters: their nodes, units, and what is free."};
    static const char *const head[] = {"NAME", "NODES", "UNITS", "CPU FREE", "MEMORY FREE", "STATES", NULL};
    struct cli c = {0};
    struct cli_table t;
    struct wire_value *items;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = cli_list(&c, "/v1/clusters", &items);
    if (rc == 0 && c.json) {
        cli_print_json(items);
    } else if (rc == 0) {
        cli_table_init(&t, head);
        wire_value_foreach(k, items)
        {
            const char *cells[] = {cli_text(k, "name"),     cli_int(&c, k, "nodes"),
                                   cli_int(&c, k, "units"), of_all(&c, k, "cpu"),
                                   of_all(&c, k, "memory"), states_text(&c, wire_value_get(k, "nodeStates"))};
            cli_table_row(&t, cells);
        }
        cli_table_print(&t);
        cli_table_deinit(&t);
    }
    return cli_end(&c, rc);
}
