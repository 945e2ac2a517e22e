/* How a command is read, run and ended. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "cli/cli.h"
#include "cli/table.h"
#include "sys/clock.h"
#include "sys/terminal.h"

#define SLICE_MS 50 /* Ctrl-C is noticed within this */

static const struct cli_option common_options[] = {
    {"output", 'o', CLI_TEXT, offsetof(struct cli_common, output), "json", "print JSON instead of words",
     false},
    {"namespace", 'n', CLI_TEXT, offsetof(struct cli_common, namespace), "NS",
     "the namespace (default: default)", false},
    {"server", 0, CLI_TEXT, offsetof(struct cli_common, server), "URL", "the server's API", false},
    {"ca", 0, CLI_TEXT, offsetof(struct cli_common, ca), "FILE",
     "the CA that the server must be of (DATA/ca.pem)", false},
    {"token", 0, CLI_TEXT, offsetof(struct cli_common, token), "TOKEN", "what opens it", false},
    {"data", 0, CLI_TEXT, offsetof(struct cli_common, data), "DIR",
     "of astra up (default ~/.local/share/astra)", false},
    {"help", 'h', CLI_FLAG, offsetof(struct cli_common, help), NULL, "this text", false},
    {NULL, 0, CLI_FLAG, 0, NULL, NULL, false},
};

static void usage_print(const struct cli_command *k, FILE *out)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, "usage: astra %s%s%s%s\n%s.\n\n", k->name, k->words != NULL ? " " : "",
               k->words != NULL ? k->words : "", " [OPTION ...]", k->about);
    cli_options_print(&b, k->options);
    cli_options_print(&b, common_options);
    if (k->more != NULL)
        a_buf_addf(&b, "\n%s", k->more);
    fwrite(b.ptr, 1, b.len, out);
}

static int words_check(const struct cli_call *c, struct a_error *reterr)
{
    const struct cli_command *k = c->command;
    if (c->words.n < k->min_words)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "missing: %s", k->words);
    if (c->words.n > k->max_words)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "one word too many: \"%s\"",
                      c->words.items[k->max_words]);
    return 0;
}

static int call_prepare(struct cli_call *c, int argc, char **argv, struct a_error *reterr)
{
    const struct cli_options sets[] = {{c->command->options, c->args}, {common_options, &c->common}};
    int rc = cli_options_parse(sets, A_ARRAY_SIZE(sets), c->arena, argc, argv, &c->words, reterr);
    if (rc != 0 || c->common.help)
        return rc;
    const char *output = c->common.output != NULL ? c->common.output : "";
    c->json = strcmp(output, "json") == 0;
    if (output[0] != '\0' && !c->json && !(c->command->yaml && strcmp(output, "yaml") == 0))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "-o knows json%s, not \"%s\"",
                      c->command->yaml ? " and yaml" : "", output);
    return words_check(c, reterr);
}

/* What was said, as an exit status. */
static int call_end(const struct cli_call *c, int rc, const struct a_error *error)
{
    if (fflush(stdout) != 0 && rc == 0) {
        fprintf(stderr, "astra %s: cannot write to stdout\n", c->command->name);
        return 1;
    }
    if (rc >= 0)
        return rc;
    fprintf(stderr, "astra %s: %s\n", c->command->name, a_error_text(error));
    int status = a_code_exit(error->code);
    if (status == CLI_EXIT_USAGE)
        fprintf(stderr, "astra %s --help says more.\n", c->command->name);
    return status != 0 ? status : 1;
}

int cli_command_run(const struct cli_command *command, int argc, char **argv)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    struct cli_call c = {.command = command, .arena = &arena};
    c.args = a_arena_alloc(&arena, command->args_size);
    int rc = call_prepare(&c, argc - 1, argv + 1, &error);
    if (rc == 0 && c.common.help)
        usage_print(command, stdout);
    else if (rc == 0)
        rc = command->run(&c, &error);
    int status = call_end(&c, rc, &error);
    net_blocking_free(c.http);
    return status;
}

int cli_group_run(const char *name, const struct cli_command *commands, size_t n, int argc, char **argv)
{
    bool help = argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0);
    size_t skip = strlen(name) + 1;
    for (size_t i = 0; i < n && argc > 1; i++)
        if (strcmp(argv[1], commands[i].name + skip) == 0)
            return cli_command_run(&commands[i], argc - 1, argv + 1);
    FILE *out = help ? stdout : stderr;
    if (argc > 1 && !help)
        fprintf(out, "astra %s: no such command: %s\n", name, argv[1]);
    for (size_t i = 0; i < n; i++)
        fprintf(out, "%s astra %s%s%s\n", i == 0 ? "usage:" : "      ", commands[i].name,
                commands[i].words != NULL ? " " : "", commands[i].words != NULL ? commands[i].words : "");
    return help ? 0 : CLI_EXIT_USAGE;
}

/* ---- printing ---- */

void cli_print(struct a_view text)
{
    (void)!fwrite(text.ptr, 1, text.len, stdout); /* the last fflush() tells */
}

void cli_print_json(const struct wire_value *v)
{
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, v, WIRE_JSON_PRETTY);
    cli_print(a_buf_view(&b));
}

void cli_print_manifests(struct cli_call *c, struct wire_value *list)
{
    A_BUF_AUTO struct a_buf b = {0};
    if (c->json) {
        struct wire_value *v = wire_value_new_object(c->arena);
        wire_value_set_string(c->arena, v, "apiVersion", "v1");
        wire_value_set_string(c->arena, v, "kind", "List");
        wire_value_set(c->arena, v, "items", list);
        cli_print_json(v);
        return;
    }
    wire_value_foreach(v, list)
    {
        a_buf_add_str(&b, b.len > 0 ? "---\n" : "");
        wire_yaml_print(&b, v);
    }
    cli_print(a_buf_view(&b));
}

void cli_print_table(const struct cli_table *t)
{
    A_BUF_AUTO struct a_buf b = {0};
    cli_table_print(t, sys_terminal_is(1) ? sys_terminal_width(1) : 0, &b);
    cli_print(a_buf_view(&b));
}

const char *cli_age(struct a_arena *arena, const struct wire_value *time)
{
    uint64_t then, now = sys_clock_wall_ms();
    if (!sys_clock_parse(wire_value_view(time), &then))
        return "-";
    uint64_t s = now > then ? (now - then) / 1000 : 0;
    if (s < 120)
        return a_arena_printf(arena, "%llus", (unsigned long long)s);
    if (s < 120 * 60)
        return a_arena_printf(arena, "%llum", (unsigned long long)(s / 60));
    if (s < 48 * 3600)
        return a_arena_printf(arena, "%lluh", (unsigned long long)(s / 3600));
    return a_arena_printf(arena, "%llud", (unsigned long long)(s / 86400));
}

const char *cli_clock(struct a_arena *arena, const struct wire_value *time)
{
    char text[SYS_RFC3339_LEN + 1];
    uint64_t ms;
    if (!sys_clock_parse(wire_value_view(time), &ms))
        ms = sys_clock_wall_ms();
    sys_clock_print(ms, text);
    return a_arena_strndup(arena, text + 11, 8);
}

const char *cli_cell(struct a_arena *arena, const struct wire_value *object, const char *key)
{
    const struct wire_value *v = wire_value_get(object, key);
    if (wire_value_is(v, WIRE_VALUE_INT))
        return a_arena_printf(arena, "%lld", (long long)v->integer);
    if (wire_value_is(v, WIRE_VALUE_BOOL))
        return v->boolean ? "yes" : "no";
    return wire_value_string(v, "");
}

const char *cli_size(struct a_arena *arena, uint64_t bytes)
{
    if (bytes < 1000)
        return a_arena_printf(arena, "%llu B", (unsigned long long)bytes);
    if (bytes < 1000000)
        return a_arena_printf(arena, "%.1f kB", (double)bytes / 1e3);
    if (bytes < 1000000000)
        return a_arena_printf(arena, "%.1f MB", (double)bytes / 1e6);
    return a_arena_printf(arena, "%.2f GB", (double)bytes / 1e9);
}

bool cli_sleep_ms(uint64_t ms)
{
    uint64_t end = sys_clock_mono_ms() + ms, now;
    while (!sys_interrupted() && (now = sys_clock_mono_ms()) < end)
        sys_clock_sleep_ms(A_MIN(end - now, (uint64_t)SLICE_MS));
    return !sys_interrupted();
}
