#include "cli/cli.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "sys/env.h"
#include "types/id.h"

#define OPTIONS_MAX 24

int cli_begin(struct cli *c, const struct cli_command *command, const struct cli_option *options,
              size_t n_options, int argc, char **argv)
{
    const struct cli_option common[] = {
        {"namespace", 'n', CLI_TEXT, "NAME", "the namespace (default: default)", &c->namespace},
        {"output", 'o', CLI_TEXT, "json", "print JSON", &c->output},
        {"server", 0, CLI_TEXT, "URL", "the server (default: as astra up wrote down)", &c->server},
        {"token", 0, CLI_TEXT, "TOKEN", "the API token (better: ASTRA_CFG_TOKEN)", &c->token},
    };
    struct cli_option all[OPTIONS_MAX];
    A_BUF_AUTO struct a_buf help = {0};
    a_assert(n_options + A_ARRAY_SIZE(common) <= OPTIONS_MAX);
    if (n_options > 0)
        memcpy(all, options, n_options * sizeof *all);
    memcpy(all + n_options, common, sizeof common);
    size_t n = n_options + A_ARRAY_SIZE(common);
    c->command = command;
    int rc = cli_options_parse(command, all, n, argc, argv, &c->words, &c->error);
    if (rc == 1) {
        cli_options_help(command, all, n, &help);
        a_buf_addf(&help, "  %-26s this text\n", "-h, --help");
        fputs(help.ptr, stdout);
        return cli_end(c, 0);
    }
    if (rc == 0 && c->output != NULL && strcmp(c->output, "json") != 0)
        rc = a_fail(&c->error, -EINVAL, A_CODE_USAGE, "--output knows json, not \"%s\"", c->output);
    c->json = c->output != NULL;
    return rc == 0 ? CLI_GO : cli_end(c, rc);
}

int cli_end(struct cli *c, int rc)
{
    int status = 0;
    if (rc != 0) {
        fflush(stdout);
        fprintf(stderr, "astra %s: %s\n", c->command->name, a_error_text(&c->error));
        status = c->error.code != A_CODE_NONE ? a_code_exit(c->error.code) : 1;
    } else if (fflush(stdout) != 0) {
        status = 1;
    }
    net_blocking_free(c->http);
    a_error_deinit(&c->error);
    a_arena_deinit(&c->arena);
    return status;
}

const char *cli_namespace(const struct cli *c)
{
    const char *env = sys_env_get("ASTRA_CFG_NAMESPACE");
    return c->namespace != NULL ? c->namespace : env != NULL ? env : "default";
}

const char *cli_app_path(struct cli *c, const char *word)
{
    const char *slash = strchr(word, '/');
    struct a_name namespace, name;
    bool good = slash != NULL ? a_name_parse((struct a_view){word, (size_t)(slash - word)}, &namespace)
                              : a_name_parse(a_view_str(cli_namespace(c)), &namespace);
    if (good && a_name_parse(a_view_str(slash != NULL ? slash + 1 : word), &name))
        return a_arena_printf(&c->arena, "/v1/namespaces/%s/apps/%s", namespace.s, name.s);
    a_error_set(&c->error, A_CODE_USAGE, "\"%s\" is no app: a-z, 0-9 and inner '-', or NAMESPACE/NAME", word);
    return NULL;
}

int cli_verbs(const char *name, const struct cli_verb *verbs, size_t n, int argc, char **argv)
{
    FILE *out = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) ? stdout : stderr;
    for (size_t i = 0; argc > 1 && i < n; i++)
        if (strcmp(argv[1], verbs[i].word) == 0)
            return verbs[i].run(argc - 1, argv + 1);
    fprintf(out, "usage: astra %s ", name);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s%s", i > 0 ? "|" : "", verbs[i].word);
    fprintf(out, " ...\nastra %s %s --help says more.\n", name, verbs[0].word);
    return out == stdout ? 0 : 2;
}
