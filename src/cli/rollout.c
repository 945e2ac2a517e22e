/* astra rollout status|history|undo: an app's revisions. */
#include <errno.h>
#include <stdio.h>

#include "cli/follow.h"
#include "cli/table.h"

struct args {
    bool wait;
    uint64_t to, timeout_ms;
};

static const struct cli_option status_options[] = {
    {"timeout", 0, CLI_DURATION, offsetof(struct args, timeout_ms), "TIME", "how long to wait (default 30m)",
     false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static const struct cli_option undo_options[] = {
    {"to", 0, CLI_NUMBER, offsetof(struct args, to), "N",
     "the revision to go back to (default: the last good one)", false},
    {"wait", 0, CLI_FLAG, offsetof(struct args, wait), NULL, "until all units are READY on it", false},
    {"timeout", 0, CLI_DURATION, offsetof(struct args, timeout_ms), "TIME", "of --wait (default 30m)", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static const char *app_path(struct cli_call *c, const char *rest)
{
    return a_arena_printf(c->arena, "%s%s",
                          cli_path(c, "/v1/namespaces/{}/apps/{}", cli_namespace(c), c->words.items[0], NULL),
                          rest);
}

/* Follows the app's current revision to its end. */
static int wait(struct cli_call *c, struct wire_value *app, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct cli_goal goal = cli_goal_of(app);
    struct cli_progress progress;
    goal.timeout_ms = args->timeout_ms;
    cli_progress_init(&progress, c->json);
    int rc = cli_follow(c, &goal, &progress, reterr);
    if (rc == 0 && !c->json)
        cli_progress_say(&progress, "%s: revision %llu is READY", goal.app,
                         (unsigned long long)goal.revision);
    return cli_follow_end(c, &goal, rc);
}

static int status_run(struct cli_call *c, struct a_error *reterr)
{
    struct wire_value *app;
    int rc = cli_get(c, app_path(c, ""), &app, reterr);
    if (rc == 0)
        rc = wait(c, app, reterr);
    if (rc == 0 && c->json)
        rc = cli_get(c, app_path(c, ""), &app, reterr);
    if (rc == 0 && c->json)
        cli_print_json(wire_value_get(app, "status"));
    return rc;
}

static int history_run(struct cli_call *c, struct a_error *reterr)
{
    struct cli_table t = {.arena = c->arena};
    struct wire_value *list;
    int rc = cli_get(c, app_path(c, "/revisions"), &list, reterr);
    if (rc != 0)
        return rc;
    if (c->json) {
        cli_print_json(list);
        return 0;
    }
    cli_table_row(&t, "REVISION", "STATE", "AGE", "CAUSE", "DIGEST", NULL);
    wire_value_foreach(r, wire_value_get(list, "items"))
    {
        bool current = wire_value_bool(wire_value_get(r, "current"), false);
        bool proven = wire_value_bool(wire_value_get(r, "proven"), false);
        cli_table_row(&t, cli_cell(c->arena, r, "number"),
                      current && proven ? "current, proven"
                      : current         ? "current"
                      : proven          ? "proven"
                                        : "",
                      cli_age(c->arena, wire_value_get(r, "created")), cli_cell(c->arena, r, "cause"),
                      a_arena_printf(c->arena, "%.19s", cli_cell(c->arena, r, "digest")), NULL);
    }
    cli_print_table(&t);
    return 0;
}

static int undo_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct wire_value *app, *body = wire_value_new_object(c->arena);
    wire_value_set_int(c->arena, body, "to", (int64_t)A_MIN(args->to, (uint64_t)INT64_MAX));
    int rc = cli_request(c, "POST", app_path(c, "/rollout/undo"), body, NULL, &app, reterr);
    if (rc != 0)
        return rc;
    if (c->json)
        cli_print_json(app);
    else
        printf("%s: going back; that is revision %s\n", c->words.items[0],
               cli_cell(c->arena, wire_value_get(app, "status"), "wantedRevision"));
    fflush(stdout);
    return args->wait ? wait(c, app, reterr) : 0;
}

int cli_rollout(int argc, char **argv)
{
    static const struct cli_command commands[] = {
        {.name = "rollout status",
         .words = "APP",
         .about = "Shows an app's units until all are READY on the wanted revision, or it failed",
         .min_words = 1,
         .max_words = 1,
         .options = status_options,
         .args_size = sizeof(struct args),
         .run = status_run},
        {.name = "rollout history",
         .words = "APP",
         .about = "Lists an app's revisions; proven is the last one that was completely rolled out",
         .min_words = 1,
         .max_words = 1,
         .args_size = sizeof(struct args),
         .run = history_run},
        {.name = "rollout undo",
         .words = "APP",
         .about = "Takes an app back to an older revision",
         .min_words = 1,
         .max_words = 1,
         .options = undo_options,
         .args_size = sizeof(struct args),
         .run = undo_run},
    };
    return cli_group_run("rollout", commands, A_ARRAY_SIZE(commands), argc, argv);
}
