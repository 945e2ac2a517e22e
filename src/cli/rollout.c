/* astra rollout status|history|undo: an app's revisions. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/app_file.h"
#include "cli/commands.h"

#define TIMEOUT_MS (30 * 60 * 1000)

static int rollout_status(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "rollout status",
        .args = "APP [--timeout TIME]",
        .summary = "Shows an app's units until all run the revision that is wanted.",
        .more = "Status 0 when they do, 1 when the revision failed, 3 when the time is over.",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    struct wire_value *app;
    uint64_t timeout_ms = TIMEOUT_MS;
    const struct cli_option options[] = {
        {"timeout", 0, CLI_DURATION, "TIME", "how long to wait (default 30m)", &timeout_ms}};
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    const char *path = cli_app_path(&c, c.words.at[0]);
    int rc = path != NULL ? cli_call(&c, "GET", path, NULL, &app) : -EINVAL;
    int64_t revision = rc == 0 ? wire_value_int(wire_value_path(app, "status.wantedRevision"), 0) : 0;
    if (rc == 0)
        rc = cli_wait_ready(&c, path, wire_value_int(wire_value_path(app, "metadata.generation"), 0),
                            revision, timeout_ms);
    if (rc == 0)
        rc = cli_call(&c, "GET", path, NULL, &app);
    if (rc == 0 && c.json)
        cli_print_json(wire_value_get(app, "status"));
    else if (rc == 0)
        printf("%s: revision %" PRId64 " is READY\n", c.words.at[0], revision);
    return cli_end(&c, rc);
}

static void history_print(struct cli *c, const struct wire_value *items)
{
    static const char *const head[] = {"REVISION", "STATE", "AGE", "CAUSE", "DIGEST", NULL};
    struct cli_table t;
    cli_table_init(&t, head);
    wire_value_foreach(r, items)
    {
        bool current = wire_value_bool(wire_value_get(r, "current"), false);
        bool proven = wire_value_bool(wire_value_get(r, "proven"), false);
        const char *cells[] = {cli_int(c, r, "number"),
                               current && proven ? "current, proven"
                               : current         ? "current"
                               : proven          ? "proven"
                                                 : "-",
                               cli_age(c, wire_value_string(wire_value_get(r, "created"), NULL)),
                               cli_text(r, "cause"),
                               a_arena_printf(&c->arena, "%.19s", cli_text(r, "digest"))};
        cli_table_row(&t, cells);
    }
    cli_table_print(&t);
    cli_table_deinit(&t);
}

static int rollout_history(int argc, char **argv)
{
    static const struct cli_command command = {.name = "rollout history",
                                               .args = "APP",
                                               .summary = "Lists an app's revisions.",
                                               .words_min = 1,
                                               .words_max = 1};
    struct cli c = {0};
    struct wire_value *items;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    const char *path = cli_app_path(&c, c.words.at[0]);
    int rc = path != NULL ? cli_list(&c, a_arena_printf(&c.arena, "%s/revisions", path), &items) : -EINVAL;
    if (rc == 0 && c.json)
        cli_print_json(items);
    else if (rc == 0)
        history_print(&c, items);
    return cli_end(&c, rc);
}

static int rollout_undo(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "rollout undo",
        .args = "APP [--to N] [--wait]",
        .summary = "Goes back to an earlier revision: the last proven one, or N.",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    struct wire_value *app;
    uint64_t to = 0, timeout_ms = TIMEOUT_MS;
    bool wait = false;
    const struct cli_option options[] = {
        {"to", 0, CLI_NUMBER, "N", "the revision to go back to", &to},
        {"wait", 'w', CLI_FLAG, NULL, "show the units until they run it", &wait},
        {"timeout", 0, CLI_DURATION, "TIME", "how long to wait (default 30m)", &timeout_ms},
    };
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    const char *path = cli_app_path(&c, c.words.at[0]);
    struct wire_value *body = wire_value_new_object(&c.arena);
    wire_value_set_int(&c.arena, body, "to", (int64_t)A_MIN(to, (uint64_t)INT64_MAX));
    int rc = path != NULL
                 ? cli_call(&c, "POST", a_arena_printf(&c.arena, "%s/rollout/undo", path), body, &app)
                 : -EINVAL;
    int64_t revision = rc == 0 ? wire_value_int(wire_value_path(app, "status.wantedRevision"), 0) : 0;
    if (rc == 0 && wait)
        rc = cli_wait_ready(&c, path, wire_value_int(wire_value_path(app, "metadata.generation"), 0),
                            revision, timeout_ms);
    if (rc == 0 && c.json)
        cli_print_json(app);
    else if (rc == 0)
        printf("%s: back to what is now revision %" PRId64 "\n", c.words.at[0], revision);
    return cli_end(&c, rc);
}

int cli_rollout(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"status", rollout_status}, {"history", rollout_history}, {"undo", rollout_undo}};
    return cli_verbs("rollout", verbs, A_ARRAY_SIZE(verbs), argc, argv);
}
