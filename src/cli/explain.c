/* astra explain: why an app, or a unit, is not what was asked for. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

/* The app of a unit, by the list of all units; NULL (c->error) when there is no such unit. */
static int unit_find(struct cli *c, const char *name, const char **ret_app)
{
    struct wire_value *items;
    int rc = cli_list(c, "/v1/units", &items);
    if (rc != 0)
        return rc;
    wire_value_foreach(u, items)
    {
        if (strcmp(cli_text(u, "name"), name) != 0)
            continue;
        *ret_app = a_arena_printf(&c->arena, "%s/%s", cli_text(u, "namespace"), cli_text(u, "app"));
        return 0;
    }
    return a_fail(&c->error, -ENOENT, A_CODE_NOT_FOUND, "no app and no unit is called %s", name);
}

static void explain_print(const struct wire_value *v)
{
    const struct wire_value *events = wire_value_get(v, "events");
    wire_value_foreach(line, wire_value_get(v, "lines")) printf("%s\n", wire_value_string(line, ""));
    if (wire_value_count(events) > 0)
        puts("\nlast events:");
    wire_value_foreach(e, events)
        printf("  %.19s  %-22s %-18s %s\n", cli_text(e, "time"), cli_text(e, "object"), cli_text(e, "reason"),
               cli_text(e, "message"));
}

static int explain(struct cli *c, const char *app, const char *unit, struct wire_value **ret)
{
    const char *path = cli_app_path(c, app);
    if (path == NULL)
        return -EINVAL;
    return cli_call(c, "GET", a_arena_printf(&c->arena, "%s/explain?unit=%s", path, cli_escape(c, unit)),
                    NULL, ret);
}

int cli_explain(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "explain",
        .args = "APP|UNIT",
        .summary = "Says why an app or a unit is not READY, and what was tried.",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    struct wire_value *v;
    const char *app = NULL;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    const char *word = c.words.at[0];
    int rc = explain(&c, word, "", &v);
    if (rc == -EREMOTEIO && c.error.code == A_CODE_NOT_FOUND && strchr(word, '/') == NULL) {
        rc = unit_find(&c, word, &app);
        if (rc == 0)
            rc = explain(&c, app, word, &v);
    }
    if (rc == 0 && c.json)
        cli_print_json(v);
    else if (rc == 0)
        explain_print(v);
    return cli_end(&c, rc);
}
