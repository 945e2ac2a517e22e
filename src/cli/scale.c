/* astra scale and astra delete: apps that are there already. */
#include <errno.h>
#include <stdio.h>

#include "cli/follow.h"

struct args {
    uint64_t units, timeout_ms;
    bool wait;
};

static const struct cli_option scale_options[] = {
    {"units", 0, CLI_NUMBER, offsetof(struct args, units), "N", "how many; 0 stops it", true},
    {"wait", 0, CLI_FLAG, offsetof(struct args, wait), NULL, "until they are there", false},
    {"timeout", 0, CLI_DURATION, offsetof(struct args, timeout_ms), "TIME", "of --wait (default 30m)", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static const struct cli_option delete_options[] = {
    {"wait", 0, CLI_FLAG, offsetof(struct args, wait), NULL, "until nothing of it is left", false},
    {"timeout", 0, CLI_DURATION, offsetof(struct args, timeout_ms), "TIME", "of --wait (default 30m)", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

/* Says what was done and, if wanted, waits. */
static int changed(struct cli_call *c, const struct wire_value *app, const struct cli_goal *goal,
                   const char *what, const char *done, struct a_error *reterr)
{
    const struct args *args = c->args;
    struct cli_progress progress;
    cli_progress_init(&progress, c->json);
    if (!c->json)
        cli_progress_say(&progress, "%s", what);
    int rc = args->wait ? cli_follow(c, goal, &progress, reterr) : 0;
    if (c->json)
        cli_print_json(app);
    else if (rc == 0 && args->wait)
        cli_progress_say(&progress, "%s", done);
    return cli_follow_end(c, goal, rc);
}

static int scale_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    const char *name = c->words.items[0];
    const char *path = cli_path(c, "/v1/namespaces/{}/apps/{}/scale", cli_namespace(c), name, NULL);
    struct wire_value *app, *body = wire_value_new_object(c->arena);
    unsigned long long units = args->units;
    wire_value_set_int(c->arena, body, "units", (int64_t)args->units);
    int rc = cli_request(c, "POST", path, body, NULL, &app, reterr);
    if (rc != 0)
        return rc;
    struct cli_goal goal = cli_goal_of(app);
    goal.timeout_ms = args->timeout_ms;
    return changed(c, app, &goal, a_arena_printf(c->arena, "%s: %llu units wanted", name, units),
                   a_arena_printf(c->arena, "%s: %llu units are READY", name, units), reterr);
}

static int delete_run(struct cli_call *c, struct a_error *reterr)
{
    const struct args *args = c->args;
    const char *name = c->words.items[0];
    struct wire_value *app;
    int rc = cli_request(c, "DELETE", cli_path(c, "/v1/namespaces/{}/apps/{}", cli_namespace(c), name, NULL),
                         NULL, NULL, &app, reterr);
    if (rc != 0)
        return rc;
    struct cli_goal goal = cli_goal_of(app);
    goal.gone = true;
    goal.timeout_ms = args->timeout_ms;
    return changed(c, app, &goal, a_arena_printf(c->arena, "%s: its units drain and stop", name),
                   a_arena_printf(c->arena, "%s is gone", name), reterr);
}

int cli_scale(int argc, char **argv)
{
    static const struct cli_command command = {.name = "scale",
                                               .words = "APP",
                                               .about = "Sets how many units an app has",
                                               .min_words = 1,
                                               .max_words = 1,
                                               .options = scale_options,
                                               .args_size = sizeof(struct args),
                                               .run = scale_run};
    return cli_command_run(&command, argc, argv);
}

int cli_delete(int argc, char **argv)
{
    static const struct cli_command command = {.name = "delete",
                                               .words = "APP",
                                               .about = "Drains and stops an app's units, and forgets it",
                                               .min_words = 1,
                                               .max_words = 1,
                                               .options = delete_options,
                                               .args_size = sizeof(struct args),
                                               .run = delete_run};
    return cli_command_run(&command, argc, argv);
}
