/* astra status, apps, units, nodes, clusters: what there is. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/cluster_set.h"
#include "cli/table.h"

struct args {
    bool wide;
};

static const struct cli_option wide_options[] = {
    {"wide", 0, CLI_FLAG, offsetof(struct args, wide), NULL, "more columns", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

/* "" for the reason None: a table shows "-". */
static const char *reason_cell(struct a_arena *arena, const struct wire_value *v)
{
    const char *reason = cli_cell(arena, v, "reason");
    return strcmp(reason, "None") == 0 ? "" : reason;
}

static int items_get(struct cli_call *c, const char *path, struct wire_value **ret, struct a_error *reterr)
{
    int rc = cli_list(c, path, NULL, ret, reterr);
    if (rc == 0 && c->json) {
        struct wire_value *v = wire_value_new_object(c->arena);
        wire_value_set(c->arena, v, "items", *ret);
        cli_print_json(v);
    }
    return rc;
}

/* ---- apps ---- */

/* What an operator must know first: why it is not as it should be. */
static const char *app_reason(const struct wire_value *app)
{
    wire_value_foreach(k, wire_value_path(app, "status.conditions"))
    {
        const char *type = wire_value_string(wire_value_get(k, "type"), "");
        bool status = strcmp(wire_value_string(wire_value_get(k, "status"), ""), "True") == 0;
        const char *reason = wire_value_string(wire_value_get(k, "reason"), "None");
        bool bad = strcmp(type, "Degraded") == 0 ? status : !status;
        if (bad && strcmp(reason, "None") != 0)
            return reason;
    }
    return "";
}

static void app_row(struct cli_table *t, const struct wire_value *app)
{
    struct a_arena *a = t->arena;
    const struct wire_value *metadata = wire_value_get(app, "metadata"),
                            *status = wire_value_get(app, "status");
    const struct wire_value *counts = wire_value_get(status, "units");
    const char *ready = counts == NULL ? ""
                                       : a_arena_printf(a, "%s/%s", cli_cell(a, counts, "ready"),
                                                        cli_cell(a, counts, "wanted"));
    cli_table_row(t, cli_cell(a, metadata, "namespace"), cli_cell(a, metadata, "name"), ready,
                  cli_cell(a, status, "state"), app_reason(app), cli_cell(a, status, "revision"),
                  cli_age(a, wire_value_get(metadata, "creationTimestamp")), NULL);
}

static void apps_print(struct cli_call *c, const struct wire_value *apps)
{
    struct cli_table t = {.arena = c->arena};
    cli_table_row(&t, "NAMESPACE", "NAME", "READY", "STATE", "REASON", "REVISION", "AGE", NULL);
    wire_value_foreach(app, apps) app_row(&t, app);
    if (wire_value_count(apps) > 0)
        cli_print_table(&t);
    else
        printf("no apps; `astra deploy app.yaml --wait` makes one\n");
}

static int apps_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *apps;
    int rc = items_get(c, cli_list_path(c, "apps"), &apps, reterr);
    if (rc == 0 && !c->json)
        apps_print(c, apps);
    return rc;
}

/* ---- units ---- */

static void unit_row(struct cli_table *t, const struct wire_value *u, bool wide)
{
    struct a_arena *a = t->arena;
    const char *place = cli_node_name(a, wire_value_get(u, "cluster"), wire_value_get(u, "nodeName"));
    const char *message = cli_cell(a, u, "message"), *end = strchr(message, '\n');
    if (end != NULL && !wide)
        message = a_arena_strndup(a, message, (size_t)(end - message));
    cli_table_row(t, cli_cell(a, u, "name"), cli_cell(a, u, "state"), reason_cell(a, u),
                  cli_cell(a, u, "revision"),
                  a_arena_printf(a, "%zu", wire_value_count(wire_value_get(u, "members"))), place,
                  cli_age(a, wire_value_get(u, "since")), cli_cell(a, u, "routing"), message, NULL);
}

static int units_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct cli_table t = {.arena = c->arena};
    struct wire_value *units;
    const char *path = c->words.n == 0 ? cli_list_path(c, "units")
                                       : cli_path(c, "/v1/namespaces/{}/apps/{}/units", cli_namespace(c),
                                                  c->words.items[0], NULL);
    int rc = items_get(c, path, &units, reterr);
    if (rc != 0 || c->json)
        return rc;
    cli_table_row(&t, "UNIT", "STATE", "REASON", "REVISION", "MEMBERS", "HEAD ON", "FOR", "ROUTING",
                  "MESSAGE", NULL);
    wire_value_foreach(u, units) unit_row(&t, u, args->wide);
    if (wire_value_count(units) > 0)
        cli_print_table(&t);
    else
        printf("no units\n");
    return 0;
}

/* ---- nodes and clusters ---- */

static const char *share(struct a_arena *a, const struct wire_value *v, const char *key)
{
    return a_arena_printf(a, "%s/%s", cli_cell(a, wire_value_get(v, "free"), key),
                          cli_cell(a, wire_value_get(v, "capacity"), key));
}

static void node_row(struct cli_table *t, const struct wire_value *n, bool wide)
{
    struct a_arena *a = t->arena;
    bool cordoned = wire_value_bool(wire_value_get(n, "cordoned"), false);
    const char *name = cli_node_name(a, wire_value_get(n, "cluster"), wire_value_get(n, "name"));
    const char *state = a_arena_printf(a, "%s%s", cli_cell(a, n, "state"), cordoned ? ",cordoned" : "");
    const char *id = cli_cell(a, n, "id"), *version = cli_cell(a, n, "version");
    cli_table_row(t, name, state, reason_cell(a, n),
                  a_arena_printf(a, "%zu", wire_value_count(wire_value_get(n, "claims"))), share(a, n, "cpu"),
                  share(a, n, "memory"), cli_cell(a, n, "host"), version[0] != '\0' ? version : "-",
                  wide ? id : a_arena_strndup(a, id, A_MIN(strlen(id), (size_t)8)), NULL);
}

static int node_order(const void *x, const void *y)
{
    const struct wire_value *const *a = x, *const *b = y;
    int order = strcmp(wire_value_string(wire_value_get(*a, "cluster"), ""),
                       wire_value_string(wire_value_get(*b, "cluster"), ""));
    return order != 0 ? order
                      : strcmp(wire_value_string(wire_value_get(*a, "name"), ""),
                               wire_value_string(wire_value_get(*b, "name"), ""));
}

/* The server's order is that of ids. */
static void node_rows(struct cli_table *t, const struct wire_value *nodes, bool wide)
{
    size_t n = 0;
    const struct wire_value **list = a_arena_alloc(t->arena, (wire_value_count(nodes) + 1) * sizeof *list);
    wire_value_foreach(node, nodes) list[n++] = node;
    qsort(list, n, sizeof(const struct wire_value *), node_order);
    for (size_t i = 0; i < n; i++)
        node_row(t, list[i], wide);
}

static int nodes_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct cli_table t = {.arena = c->arena};
    struct wire_value *nodes;
    int rc = items_get(c, "/v1/nodes", &nodes, reterr);
    if (rc != 0 || c->json)
        return rc;
    cli_table_row(&t, "NODE", "STATE", "REASON", "CLAIMS", "CPU FREE", "MEMORY FREE", "HOST", "VERSION", "ID",
                  NULL);
    node_rows(&t, nodes, args->wide);
    if (wire_value_count(nodes) > 0)
        cli_print_table(&t);
    else
        printf("no nodes have joined\n");
    return 0;
}

/* {"UP": 3, "DEAD": 1}: "3 UP, 1 DEAD" */
static const char *counts_text(struct a_arena *arena, const struct wire_value *counts)
{
    const char *text = "";
    wire_value_foreach(n, counts) text = a_arena_printf(
        arena, "%s%s%" PRId64 " %s", text, text[0] != '\0' ? ", " : "", wire_value_int(n, 0), n->key.ptr);
    return text;
}

static int clusters_run(struct cli_call *c, struct a_error *reterr)
{
    struct cli_table t = {.arena = c->arena};
    struct wire_value *clusters;
    int rc = items_get(c, "/v1/clusters", &clusters, reterr);
    if (rc != 0 || c->json)
        return rc;
    cli_table_row(&t, "CLUSTER", "NODES", "UNITS", "CLAIMS", "CPU FREE", "MEMORY FREE", "LIMITS", NULL);
    wire_value_foreach(k, clusters) cli_table_row(
        &t, cli_cell(c->arena, k, "name"), counts_text(c->arena, wire_value_get(k, "nodeStates")),
        cli_cell(c->arena, k, "units"), cli_cell(c->arena, k, "claims"), share(c->arena, k, "cpu"),
        share(c->arena, k, "memory"), cli_limits_text(c->arena, wire_value_get(k, "limits")), NULL);
    cli_print_table(&t);
    return 0;
}

/* ---- status ---- */

static void status_print(struct cli_call *c, const struct wire_value *s)
{
    struct a_arena *a = c->arena;
    int64_t orphans = wire_value_int(wire_value_get(s, "orphans"), 0);
    const char *units = counts_text(a, wire_value_get(s, "units")),
               *nodes = counts_text(a, wire_value_get(s, "nodes"));
    const char *gateways = "";
    wire_value_foreach(g, wire_value_get(s, "gateways")) gateways =
        a_arena_printf(a, "%s%s%s %s:%s", gateways, gateways[0] != '\0' ? ", " : "", cli_cell(a, g, "name"),
                       cli_cell(a, g, "address"), cli_cell(a, g, "port"));
    printf("server    %s, version %s, up %s%s%s\n", c->server, cli_cell(a, s, "version"),
           cli_age(a, wire_value_get(s, "started")),
           wire_value_bool(wire_value_get(s, "readOnly"), false) ? ", READ-ONLY: its disk is full" : "",
           wire_value_bool(wire_value_get(s, "adopted"), true) ? ""
                                                               : ", waiting for nodes to tell what runs");
    printf("gateways  %s\n", gateways[0] != '\0' ? gateways : "none");
    printf("nodes     %s\n", nodes[0] != '\0' ? nodes : "none");
    printf("units     %s\n", units[0] != '\0' ? units : "none");
    if (orphans > 0)
        printf("orphans   %" PRId64 " apps run that no store knows: `astra orphans ls`\n", orphans);
    printf("\n");
}

/* An app's row of /v1/top, or NULL. */
static const struct wire_value *top_find(const struct wire_value *top, const struct wire_value *app)
{
    const struct wire_value *metadata = wire_value_get(app, "metadata");
    wire_value_foreach(t, wire_value_get(top, "items"))
    {
        if (wire_value_equal(wire_value_get(t, "name"), wire_value_get(metadata, "name")) &&
            wire_value_equal(wire_value_get(t, "namespace"), wire_value_get(metadata, "namespace")))
            return t;
    }
    return NULL;
}

/* "99.95%"; never 100 % when something failed. */
static const char *ratio_text(struct a_arena *a, const struct wire_value *window)
{
    const struct wire_value *ratio = wire_value_get(window, "ratio");
    double percent = 100 * wire_value_number(ratio, 0);
    if (ratio == NULL || wire_value_is_null(ratio))
        return "";
    if (percent >= 100)
        return "100%";
    return a_arena_printf(a, "%.3f%%", percent > 99.999 ? 99.999 : percent);
}

/* "app 3, noCapacity 2": what did not end well. */
static const char *failed_text(struct a_arena *a, const struct wire_value *window)
{
    const char *text = "";
    wire_value_foreach(n, wire_value_get(window, "failed"))
    {
        if (wire_value_int(n, 0) > 0)
            text = a_arena_printf(a, "%s%s" A_VIEW_FMT " %" PRId64, text, text[0] != '\0' ? ", " : "",
                                  A_VIEW_ARG(n->key), wire_value_int(n, 0));
    }
    return text;
}

/* How requests ended. Nothing at all when there were none. */
static void success_print(struct cli_call *c, const struct wire_value *apps, const struct wire_value *top)
{
    struct a_arena *a = c->arena;
    struct cli_table t = {.arena = a};
    size_t n = 0;
    cli_table_row(&t, "NAMESPACE", "NAME", "SUCCESS 1H", "SUCCESS 30D", "FAILED IN 30D", NULL);
    wire_value_foreach(app, apps)
    {
        const struct wire_value *row = top_find(top, app), *month = wire_value_path(row, "success.month");
        if (wire_value_int(wire_value_get(month, "requests"), 0) == 0)
            continue;
        cli_table_row(&t, cli_cell(a, row, "namespace"), cli_cell(a, row, "name"),
                      ratio_text(a, wire_value_path(row, "success.hour")), ratio_text(a, month),
                      failed_text(a, month), NULL);
        n++;
    }
    if (n == 0)
        return;
    printf("\n");
    cli_print_table(&t);
}

static int status_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *status, *apps, *top;
    int rc = cli_get(c, "/v1/status", &status, reterr);
    if (rc == 0)
        rc = cli_list(c, cli_list_path(c, "apps"), NULL, &apps, reterr);
    if (rc == 0)
        rc = cli_get(c, "/v1/top", &top, reterr);
    if (rc != 0)
        return rc;
    if (c->json) {
        wire_value_set(c->arena, status, "appList", apps);
        wire_value_set(c->arena, status, "traffic", wire_value_get(top, "items"));
        cli_print_json(status);
        return 0;
    }
    status_print(c, status);
    apps_print(c, apps);
    success_print(c, apps, top);
    return 0;
}

/* ---- the commands ---- */

int cli_apps(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "apps", .about = "Lists the apps of all namespaces, or of one", .run = apps_run};
    return cli_command_run(&command, argc, argv);
}

int cli_units(int argc, char **argv)
{
    static const struct cli_command command = {.name = "units",
                                               .words = "[APP]",
                                               .about = "Lists units, their state and where their heads are",
                                               .max_words = 1,
                                               .options = wide_options,
                                               .args_size = sizeof(struct args),
                                               .run = units_run};
    return cli_command_run(&command, argc, argv);
}

int cli_nodes(int argc, char **argv)
{
    static const struct cli_command command = {.name = "nodes",
                                               .about = "Lists nodes with what is free on them",
                                               .options = wide_options,
                                               .args_size = sizeof(struct args),
                                               .run = nodes_run};
    return cli_command_run(&command, argc, argv);
}

int cli_clusters(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "clusters", .about = "Lists clusters with the sums over their nodes", .run = clusters_run};
    return cli_command_run(&command, argc, argv);
}

int cli_status(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "status",
        .about = "Shows the server, gateways, nodes, units and apps at a glance",
        .run = status_run};
    return cli_command_run(&command, argc, argv);
}
