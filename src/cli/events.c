/* astra events and astra explain: what happened, and why. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/table.h"
#include "sys/terminal.h"

#define RETRY_MS 1000
#define SILENCE_MS (60 * 1000) /* the server says something every 15 s */

struct args {
    bool follow;
    uint64_t limit;
};

static const struct cli_option options[] = {
    {"follow", 'f', CLI_FLAG, offsetof(struct args, follow), NULL, "go on as they come", false},
    {"limit", 0, CLI_NUMBER, offsetof(struct args, limit), "N", "the last N (default 500)", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static const char *object_of(struct a_arena *a, const struct wire_value *e)
{
    const char *app = cli_cell(a, e, "app"), *object = cli_cell(a, e, "object"),
               *ns = cli_cell(a, e, "namespace");
    if (object[0] != '\0')
        return object;
    return app[0] != '\0' ? a_arena_printf(a, "%s/%s", ns, app) : "";
}

static const char *time_of(struct a_arena *a, const struct wire_value *e)
{
    const char *time = cli_cell(a, e, "time");
    return strlen(time) >= 19 ? a_arena_printf(a, "%.10s %.8s", time, time + 11) : time;
}

/* The message, and how often it was said when that was more than once. */
static const char *message_of(struct a_arena *a, const struct wire_value *e)
{
    const char *message = cli_cell(a, e, "message"), *first = cli_cell(a, e, "firstTime");
    int64_t count = wire_value_int(wire_value_get(e, "count"), 1);
    if (count < 2 || strlen(first) < 19)
        return message;
    return a_arena_printf(a, "%s (%lld times since %.10s %.8s)", message, (long long)count, first,
                          first + 11);
}

/* Events that come one by one have no table: fixed columns. */
static void event_print(struct cli_call *c, const struct wire_value *e)
{
    A_ARENA_AUTO struct a_arena a = {0};
    A_BUF_AUTO struct a_buf b = {0};
    const char *reason = cli_cell(&a, e, "reason");
    if (c->json) {
        wire_json_print(&b, e, 0);
        printf("%s\n", b.ptr);
    } else {
        printf("%s  %-10s %-24s %-18s %s\n", time_of(&a, e), cli_cell(&a, e, "actor"), object_of(&a, e),
               strcmp(reason, "None") == 0 ? "-" : reason, message_of(&a, e));
    }
    fflush(stdout);
}

static void events_print(struct cli_call *c, const struct wire_value *events)
{
    struct cli_table t = {.arena = c->arena};
    struct a_arena *a = c->arena;
    cli_table_row(&t, "TIME (UTC)", "ACTOR", "OBJECT", "REASON", "MESSAGE", NULL);
    wire_value_foreach(e, events)
    {
        const char *reason = cli_cell(a, e, "reason");
        cli_table_row(&t, time_of(a, e), cli_cell(a, e, "actor"), object_of(a, e),
                      strcmp(reason, "None") == 0 ? "" : reason, message_of(a, e), NULL);
    }
    if (wire_value_count(events) > 0)
        cli_print_table(&t);
    else
        printf("no events; those before the server's start are not kept\n");
}

/* ---- following ---- */

struct stream {
    struct cli_call *c;
    char last[64]; /* id */
};

static int on_event(void *ctx, struct a_view id, struct a_view event, struct a_view data)
{
    struct stream *s = ctx;
    A_ARENA_AUTO struct a_arena a = {0};
    struct wire_value *e;
    (void)event;
    if (id.len > 0)
        snprintf(s->last, sizeof s->last, A_VIEW_FMT, A_VIEW_ARG(id));
    if (wire_json_parse(&a, data, NULL, NULL, &e, NULL) == 0)
        event_print(s->c, e);
    return 0;
}

static int on_progress(void *ctx, uint64_t done, uint64_t total)
{
    (void)ctx, (void)done, (void)total;
    return sys_interrupted() ? -EINTR : 0;
}

/* Comes back with the last id when the connection breaks; starts anew when the server has forgotten it. */
static int events_follow(struct cli_call *c, const char *path, struct a_error *reterr)
{
    struct stream s = {.c = c};
    int rc = cli_client_open(c, reterr);
    sys_interrupt_catch();
    while (rc == 0) {
        NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        const char *at = s.last[0] != '\0' ? a_arena_printf(c->arena, "%s?watch=1&since=%s", path, s.last)
                                           : a_arena_printf(c->arena, "%s?watch=1", path);
        const struct net_blocking_request request = {
            .path = at, .timeout_ms = SILENCE_MS, .event = on_event, .progress = on_progress, .ctx = &s};
        rc = net_blocking_send(c->http, &request, &answer, &e);
        if (sys_interrupted())
            return CLI_EXIT_INTERRUPTED;
        if (rc == -EREMOTEIO && e.code == A_CODE_GONE)
            s.last[0] = '\0';
        else if (rc == -EREMOTEIO) {
            a_error_move(reterr, &e);
            return rc;
        }
        if (!cli_sleep_ms(RETRY_MS))
            return CLI_EXIT_INTERRUPTED;
        rc = 0;
    }
    return rc;
}

static int events_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct wire_value *list;
    const char *path = c->words.n == 0 ? cli_list_path(c, "events")
                                       : cli_path(c, "/v1/namespaces/{}/apps/{}/events", cli_namespace(c),
                                                  c->words.items[0], NULL);
    if (args->follow)
        return events_follow(c, path, reterr);
    unsigned long long limit = args->limit;
    int rc =
        cli_get(c, limit != 0 ? a_arena_printf(c->arena, "%s?limit=%llu", path, limit) : path, &list, reterr);
    if (rc == 0 && c->json)
        cli_print_json(list);
    else if (rc == 0)
        events_print(c, wire_value_get(list, "items"));
    return rc;
}

/* ---- explain ---- */

/* The path of an app's explanation, or of one of its units by the unit's name. */
static int explain_find(struct cli_call *c, const char *word, const char **ret_path, struct a_error *reterr)
{
    struct wire_value *units;
    int rc = cli_list(c, cli_list_path(c, "units"), NULL, &units, reterr);
    if (rc != 0)
        return rc;
    *ret_path = cli_path(c, "/v1/namespaces/{}/apps/{}/explain", cli_namespace(c), word, NULL);
    wire_value_foreach(u, units)
    {
        if (strcmp(cli_cell(c->arena, u, "name"), word) == 0)
            *ret_path =
                cli_path(c, "/v1/namespaces/{}/apps/{}/explain?unit={}", cli_cell(c->arena, u, "namespace"),
                         cli_cell(c->arena, u, "app"), word, NULL);
    }
    return 0;
}

static int explain_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *v;
    const char *path = NULL;
    int rc = explain_find(c, c->words.items[0], &path, reterr);
    if (rc == 0)
        rc = cli_get(c, path, &v, reterr);
    if (rc != 0)
        return rc;
    if (c->json) {
        cli_print_json(v);
        return 0;
    }
    wire_value_foreach(line, wire_value_get(v, "lines")) printf("%s\n", wire_value_string(line, ""));
    if (wire_value_count(wire_value_get(v, "events")) > 0) {
        printf("\n");
        events_print(c, wire_value_get(v, "events"));
    }
    return 0;
}

int cli_events(int argc, char **argv)
{
    static const struct cli_command command = {.name = "events",
                                               .words = "[APP]",
                                               .about =
                                                   "Shows what happened: state changes, refusals, writes",
                                               .max_words = 1,
                                               .options = options,
                                               .args_size = sizeof(struct args),
                                               .run = events_run};
    return cli_command_run(&command, argc, argv);
}

int cli_explain(int argc, char **argv)
{
    static const struct cli_command command = {.name = "explain",
                                               .words = "APP|UNIT",
                                               .about = "Says why an app or a unit is not what was asked for",
                                               .min_words = 1,
                                               .max_words = 1,
                                               .run = explain_run};
    return cli_command_run(&command, argc, argv);
}
