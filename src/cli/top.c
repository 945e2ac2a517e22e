/* astra top: what goes on now, drawn again every few seconds. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/progress.h"
#include "cli/table.h"
#include "sys/terminal.h"

#define INTERVAL_MS 2000

struct args {
    bool once, apps_only;
    uint64_t interval_ms;
};

static const struct cli_option options[] = {
    {"once", '1', CLI_FLAG, offsetof(struct args, once), NULL, "print one table and end", false},
    {"apps", 0, CLI_FLAG, offsetof(struct args, apps_only), NULL, "without units", false},
    {"interval", 0, CLI_DURATION, offsetof(struct args, interval_ms), "TIME",
     "between two looks (default 2s)", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

/* "12.3", "1234" */
static const char *rate_text(struct a_arena *a, const struct wire_value *v, const char *key)
{
    double n = wire_value_number(wire_value_get(v, key), 0);
    return a_arena_printf(a, n < 100 ? "%.1f" : "%.0f", n);
}

/* "850us", "12ms", "1.5s" */
static const char *seconds_text(struct a_arena *a, const struct wire_value *v, const char *key)
{
    const struct wire_value *seconds = wire_value_get(v, key);
    double us = wire_value_number(seconds, 0) * 1e6;
    if (seconds == NULL || wire_value_is_null(seconds))
        return "-";
    if (us < 1000)
        return a_arena_printf(a, "%.0fus", us);
    return us < 1e6 ? a_arena_printf(a, us < 1e4 ? "%.1fms" : "%.0fms", us / 1e3)
                    : a_arena_printf(a, "%.1fs", us / 1e6);
}

static void row(struct cli_table *t, const struct wire_value *v, const char *name, const char *state)
{
    struct a_arena *a = t->arena;
    const struct wire_value *queued = wire_value_get(v, "queued");
    cli_table_row(t, name, state, rate_text(a, v, "requestsPerSecond"), seconds_text(a, v, "p50Seconds"),
                  seconds_text(a, v, "p99Seconds"), rate_text(a, v, "errorsPerSecond"),
                  rate_text(a, v, "retriesPerSecond"), cli_cell(a, v, "inFlight"),
                  queued != NULL ? cli_cell(a, v, "queued") : "", NULL);
}

static void table_make(const struct args *args, const struct wire_value *top, const char *only,
                       struct cli_table *t)
{
    struct a_arena *a = t->arena;
    cli_table_row(t, "APP / UNIT", "STATE", "REQ/S", "P50", "P99", "ERR/S", "RETRY/S", "IN FLIGHT", "QUEUED",
                  NULL);
    wire_value_foreach(app, wire_value_get(top, "items"))
    {
        const char *namespace = cli_cell(a, app, "namespace");
        if (only != NULL && strcmp(only, namespace) != 0)
            continue;
        row(t, app, a_arena_printf(a, "%s/%s", namespace, cli_cell(a, app, "name")),
            a_arena_printf(a, "%s/%s ready", cli_cell(a, app, "unitsReady"),
                           cli_cell(a, app, "unitsWanted")));
        wire_value_foreach(unit, wire_value_get(app, "units"))
        {
            if (!args->apps_only)
                row(t, unit, a_arena_printf(a, "  %s", cli_cell(a, unit, "name")),
                    cli_cell(a, unit, "state"));
        }
    }
}

static void table_draw(struct cli_call *c, struct cli_progress *p, const struct wire_value *top)
{
    A_ARENA_AUTO struct a_arena a = {0};
    A_BUF_AUTO struct a_buf b = {0};
    struct cli_table t = {.arena = &a};
    table_make(c->args, top, c->common.namespace, &t);
    cli_table_print(&t, p != NULL && p->terminal ? p->columns : 0, &b);
    if (p != NULL && p->terminal)
        cli_progress_block(p, a_buf_view(&b));
    else
        cli_print(a_buf_view(&b));
    fflush(stdout);
}

static int look(struct cli_call *c, struct cli_progress *p, struct a_error *reterr)
{
    A_ARENA_AUTO struct a_arena a = {0};
    struct wire_value *top;
    int rc = cli_request(c, "GET", "/v1/top", NULL, &a, &top, reterr);
    if (rc != 0)
        return rc;
    if (c->json)
        cli_print_json(top);
    else
        table_draw(c, p, top);
    return 0;
}

static int run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct cli_progress p;
    if (args->once || c->json)
        return look(c, NULL, reterr);
    cli_progress_init(&p, false);
    sys_interrupt_catch();
    for (;;) {
        int rc = look(c, &p, reterr);
        if (rc != 0)
            return sys_interrupted() ? CLI_EXIT_INTERRUPTED : rc;
        if (!cli_sleep_ms(args->interval_ms != 0 ? args->interval_ms : INTERVAL_MS))
            return CLI_EXIT_INTERRUPTED;
    }
}

int cli_top(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "top",
        .about = "Shows requests, errors and latencies of apps and units over the last 10 s, again and again",
        .more = "p50 and p99 of an app are to the end of the answer, of a unit to its first byte. -o json: "
                "once.\n",
        .options = options,
        .args_size = sizeof(struct args),
        .run = run};
    return cli_command_run(&command, argc, argv);
}
