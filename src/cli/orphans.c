/* astra orphans ls|adopt|release: what runs and no store knows. */
#include <errno.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/commands.h"

static int orphans_ls(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "orphans ls",
        .args = "",
        .summary = "Lists apps whose claims run on nodes, but which no store knows."};
    static const char *const head[] = {"NAMESPACE", "NAME", "CLAIMS", "ADOPTABLE", "UID", NULL};
    struct cli c = {0};
    struct cli_table t;
    struct wire_value *items;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = cli_list(&c, "/v1/orphans", &items);
    if (rc == 0 && c.json) {
        cli_print_json(items);
    } else if (rc == 0) {
        cli_table_init(&t, head);
        wire_value_foreach(o, items)
        {
            bool adoptable = wire_value_bool(wire_value_get(o, "adoptable"), false);
            const char *cells[] = {
                cli_text(o, "namespace"), cli_text(o, "name"),
                a_arena_printf(&c.arena, "%zu", wire_value_count(wire_value_get(o, "claims"))),
                adoptable ? "yes" : "not yet", cli_text(o, "uid")};
            cli_table_row(&t, cells);
        }
        if (t.n_rows > 0)
            cli_table_print(&t);
        else
            puts("no orphans");
        cli_table_deinit(&t);
    }
    return cli_end(&c, rc);
}

static int orphan_post(const struct cli_command *command, const char *verb, const char *done, int argc,
                       char **argv)
{
    struct cli c = {0};
    struct wire_value *v;
    int status = cli_begin(&c, command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    const char *word = c.words.at[0], *slash = strchr(word, '/');
    const char *path =
        slash != NULL
            ? a_arena_printf(&c.arena, "/v1/orphans/%s/%s/%s",
                             cli_escape(&c, a_arena_strndup(&c.arena, word, (size_t)(slash - word))),
                             cli_escape(&c, slash + 1), verb)
            : a_arena_printf(&c.arena, "/v1/orphans/%s/%s/%s", cli_namespace(&c), cli_escape(&c, word), verb);
    int rc = cli_call(&c, "POST", path, NULL, &v);
    if (rc == 0 && c.json)
        cli_print_json(v);
    else if (rc == 0)
        printf("%s: %s\n", word, done);
    return cli_end(&c, rc);
}

static int orphans_adopt(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "orphans adopt",
        .args = "APP",
        .summary = "Makes an orphan an app of this store again; nothing is restarted.",
        .words_min = 1,
        .words_max = 1};
    return orphan_post(&command, "adopt", "adopted", argc, argv);
}

static int orphans_release(int argc, char **argv)
{
    static const struct cli_command command = {.name = "orphans release",
                                               .args = "APP",
                                               .summary = "Stops an orphan: all its claims are released.",
                                               .words_min = 1,
                                               .words_max = 1};
    return orphan_post(&command, "release", "being released", argc, argv);
}

int cli_orphans(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"ls", orphans_ls}, {"adopt", orphans_adopt}, {"release", orphans_release}};
    return cli_verbs("orphans", verbs, A_ARRAY_SIZE(verbs), argc, argv);
}
