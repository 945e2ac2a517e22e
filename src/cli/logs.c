/* astra logs: what an app's members wrote, from the nodes where they run. */
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

static int on_piece(void *ctx, struct a_view bytes)
{
    (void)ctx;
    fwrite(bytes.ptr, 1, bytes.len, stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}

int cli_logs(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "logs",
        .args = "APP [--unit U] [--member M] [-f]",
        .summary = "Prints what an app's members wrote; with several members, each line says whose it is.",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    const char *unit = NULL, *member = NULL, *file = NULL, *tail = NULL;
    bool previous = false, follow = false;
    const struct cli_option options[] = {
        {"unit", 'u', CLI_TEXT, "UNIT", "of one unit", &unit},
        {"member", 'm', CLI_TEXT, "MEMBER", "of one member: head, or a worker's name", &member},
        {"file", 0, CLI_TEXT, "FILE", "one of the member's log files", &file},
        {"previous", 'p', CLI_FLAG, NULL, "of the start before this one", &previous},
        {"follow", 'f', CLI_FLAG, NULL, "go on as they write", &follow},
        {"tail", 0, CLI_TEXT, "BYTES", "only the end: 64Ki", &tail},
    };
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    const char *app = cli_app_path(&c, c.words.at[0]);
    if (app == NULL)
        return cli_end(&c, -1);
    const char *path =
        a_arena_printf(&c.arena, "%s/logs?unit=%s&member=%s&file=%s&tail=%s%s%s", app,
                       cli_escape(&c, unit != NULL ? unit : ""), cli_escape(&c, member != NULL ? member : ""),
                       cli_escape(&c, file != NULL ? file : ""), cli_escape(&c, tail != NULL ? tail : ""),
                       previous ? "&previous" : "", follow ? "&follow" : "");
    return cli_end(&c, cli_follow(&c, path, NULL, on_piece, NULL));
}
