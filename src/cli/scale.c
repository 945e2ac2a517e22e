/* astra scale, astra delete: an app as a whole. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/app_file.h"
#include "cli/commands.h"

#define TIMEOUT_MS (10 * 60 * 1000)

int cli_scale(int argc, char **argv)
{
    static const struct cli_command command = {.name = "scale",
                                               .args = "APP --units N [--wait]",
                                               .summary =
                                                   "Sets how many units an app has. 0 stops it and keeps it.",
                                               .words_min = 1,
                                               .words_max = 1};
    struct cli c = {0};
    struct wire_value *v;
    uint64_t units = UINT64_MAX, timeout_ms = TIMEOUT_MS;
    bool wait = false;
    const struct cli_option options[] = {
        {"units", 0, CLI_NUMBER, "N", "how many", &units},
        {"wait", 'w', CLI_FLAG, NULL, "show the units until it is so", &wait},
        {"timeout", 0, CLI_DURATION, "TIME", "how long to wait (default 10m)", &timeout_ms},
    };
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    if (units == UINT64_MAX)
        return cli_end(&c, a_fail(&c.error, -EINVAL, A_CODE_USAGE, "--units says how many"));
    const char *path = cli_app_path(&c, c.words.at[0]);
    if (path == NULL)
        return cli_end(&c, -EINVAL);
    struct wire_value *body = wire_value_new_object(&c.arena);
    wire_value_set_int(&c.arena, body, "units", (int64_t)A_MIN(units, (uint64_t)INT64_MAX));
    int rc = cli_call(&c, "POST", a_arena_printf(&c.arena, "%s/scale", path), body, &v);
    if (rc == 0 && wait)
        rc = cli_wait_ready(&c, path, wire_value_int(wire_value_path(v, "metadata.generation"), 0),
                            wire_value_int(wire_value_path(v, "status.wantedRevision"), 0), timeout_ms);
    if (rc == 0 && c.json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s: %" PRIu64 " units\n", c.words.at[0], units);
    return cli_end(&c, rc);
}

int cli_delete(int argc, char **argv)
{
    static const struct cli_command command = {.name = "delete",
                                               .args = "APP [--wait]",
                                               .summary = "Drains and stops an app's units, and forgets it.",
                                               .words_min = 1,
                                               .words_max = 1};
    struct cli c = {0};
    struct wire_value *v;
    bool wait = false;
    uint64_t timeout_ms = TIMEOUT_MS;
    const struct cli_option options[] = {
        {"wait", 'w', CLI_FLAG, NULL, "until nothing of it is left", &wait},
        {"timeout", 0, CLI_DURATION, "TIME", "how long to wait (default 10m)", &timeout_ms},
    };
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    const char *path = cli_app_path(&c, c.words.at[0]);
    int rc = path != NULL ? cli_call(&c, "DELETE", path, NULL, &v) : -EINVAL;
    if (rc == 0 && wait)
        rc = cli_wait_gone(&c, path, timeout_ms);
    if (rc == 0 && c.json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s: %s\n", c.words.at[0], wait ? "deleted" : "being deleted");
    return cli_end(&c, rc);
}
