/* astra artifact put|ls|get. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/app_file.h"
#include "cli/commands.h"
#include "sys/file.h"

static int artifact_put(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "artifact put",
        .args = "FILE --name NAME@VERSION",
        .summary = "Brings a file to the server under a name. A version never changes: the same name with "
                   "other bytes is refused.",
        .words_min = 1,
        .words_max = 1};
    struct cli c = {0};
    struct cli_progress progress = {0};
    const char *name = NULL, *digest;
    bool sent;
    const struct cli_option options[] = {{"name", 0, CLI_TEXT, "NAME@VERSION", "what it is called", &name}};
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    const char *at = name != NULL ? strchr(name, '@') : NULL;
    if (at == NULL || at == name || at[1] == '\0')
        return cli_end(&c,
                       a_fail(&c.error, -EINVAL, A_CODE_USAGE, "--name NAME@VERSION says what it is called"));
    const char *left = a_arena_strndup(&c.arena, name, (size_t)(at - name));
    int rc = cli_upload(&c, cli_namespace(&c), c.words.at[0], left, at + 1, &progress, &sent, &digest);
    cli_progress_end(&progress);
    if (rc == 0 && c.json)
        printf("{\"name\": \"%s\", \"version\": \"%s\", \"digest\": \"%s\"}\n", left, at + 1, digest);
    else if (rc == 0)
        printf("%s  %s\n", name, digest);
    return cli_end(&c, rc);
}

static int artifact_ls(int argc, char **argv)
{
    static const struct cli_command command = {
        .name = "artifact ls", .args = "[-n NAMESPACE]", .summary = "Lists the artifacts of a namespace."};
    static const char *const head[] = {"NAME", "VERSION", "SIZE", "AGE", "DIGEST", NULL};
    struct cli c = {0};
    struct cli_table t;
    struct wire_value *items;
    int status = cli_begin(&c, &command, NULL, 0, argc, argv);
    if (status != CLI_GO)
        return status;
    int rc = cli_list(&c, a_arena_printf(&c.arena, "/v1/namespaces/%s/artifacts", cli_namespace(&c)), &items);
    if (rc == 0 && c.json) {
        cli_print_json(items);
    } else if (rc == 0) {
        cli_table_init(&t, head);
        wire_value_foreach(f, items)
        {
            const char *cells[] = {cli_text(f, "name"), cli_text(f, "version"),
                                   cli_bytes(&c, (uint64_t)wire_value_int(wire_value_get(f, "bytes"), 0)),
                                   cli_age(&c, wire_value_string(wire_value_get(f, "created"), NULL)),
                                   cli_text(f, "digest")};
            cli_table_row(&t, cells);
        }
        if (t.n_rows > 0)
            cli_table_print(&t);
        else
            printf("no artifacts in namespace %s\n", cli_namespace(&c));
        cli_table_deinit(&t);
    }
    return cli_end(&c, rc);
}

static int artifact_get(int argc, char **argv)
{
    static const struct cli_command command = {.name = "artifact get",
                                               .args = "NAME[@VERSION]|sha256:HEX [-O FILE]",
                                               .summary = "Fetches an artifact into a file.",
                                               .words_min = 1,
                                               .words_max = 1};
    struct cli c = {0};
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    const char *file = NULL;
    const struct cli_option options[] = {
        {"file", 'O', CLI_TEXT, "FILE", "where to (default: its name, here)", &file}};
    int status = cli_begin(&c, &command, options, A_ARRAY_SIZE(options), argc, argv);
    if (status != CLI_GO)
        return status;
    const char *word = c.words.at[0];
    if (file == NULL)
        file = a_arena_strndup(&c.arena, word, strcspn(word, "@:/"));
    int rc = cli_connect(&c);
    const struct net_blocking_request request = {
        .path = a_arena_printf(&c.arena, "/v1/namespaces/%s/artifacts/%s", cli_namespace(&c),
                               cli_escape(&c, word)),
        .download_path = file};
    if (rc == 0)
        rc = net_blocking_send(c.http, &request, &answer, &c.error);
    if (rc == 0)
        printf("%s\n", file);
    return cli_end(&c, rc);
}

int cli_artifact(int argc, char **argv)
{
    static const struct cli_verb verbs[] = {
        {"put", artifact_put}, {"ls", artifact_ls}, {"get", artifact_get}};
    return cli_verbs("artifact", verbs, A_ARRAY_SIZE(verbs), argc, argv);
}
