#include "cli/options.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static const struct cli_option *option_long(const struct cli_option *options, size_t n, struct a_view name)
{
    for (size_t i = 0; i < n; i++)
        if (a_view_is(name, options[i].name))
            return &options[i];
    return NULL;
}

static const struct cli_option *option_letter(const struct cli_option *options, size_t n, char letter)
{
    for (size_t i = 0; i < n; i++)
        if (options[i].letter != 0 && options[i].letter == letter)
            return &options[i];
    return NULL;
}

static int fail_unknown(const struct cli_option *options, size_t n, const char *word, struct a_error *reterr)
{
    const char *names[64], *nearest = NULL;
    char name[64];
    size_t i;
    for (i = 0; i < n && i < A_ARRAY_SIZE(names) - 1; i++)
        names[i] = options[i].name;
    names[i] = NULL;
    if (strncmp(word, "--", 2) == 0) {
        snprintf(name, sizeof name, "%.*s", (int)strcspn(word + 2, "="), word + 2);
        nearest = a_text_nearest(name, names);
    }
    if (nearest != NULL)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "no such option: %s; did you mean --%s?", word, nearest);
    return a_fail(reterr, -EINVAL, A_CODE_USAGE, "no such option: %s; --help lists them", word);
}

static int fail_value(const struct cli_option *o, const char *value, const char *what, struct a_error *reterr)
{
    return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s: \"%s\" is no %s", o->name, value, what);
}

static int value_take(const struct cli_option *o, const char *value, struct a_error *reterr)
{
    struct a_view v = a_view_str(value);
    switch (o->kind) {
    case CLI_FLAG:
        *(bool *)o->ret = true;
        return 0;
    case CLI_TEXT:
        *(const char **)o->ret = value;
        return 0;
    case CLI_NUMBER:
        return a_text_u64(v, o->ret) ? 0 : fail_value(o, value, "number", reterr);
    case CLI_DURATION:
        return a_text_duration(v, o->ret) ? 0 : fail_value(o, value, "duration such as 30s or 5m", reterr);
    case CLI_BYTES:
        return a_text_bytes(v, o->ret) ? 0 : fail_value(o, value, "size such as 64Ki", reterr);
    }
    return -EINVAL;
}

/* *at points at the option's word; it is moved on when the value is the next one. */
static int option_take(const struct cli_option *options, size_t n, int argc, char **argv, int *at,
                       struct a_error *reterr)
{
    const char *word = argv[*at], *value = NULL;
    bool is_long = word[1] == '-';
    const struct cli_option *o;
    if (is_long) {
        const char *equals = strchr(word, '=');
        struct a_view name = {word + 2, equals != NULL ? (size_t)(equals - word) - 2 : strlen(word) - 2};
        o = option_long(options, n, name);
        value = equals != NULL ? equals + 1 : NULL;
    } else {
        o = option_letter(options, n, word[1]);
        value = word[2] != '\0' ? word + 2 : NULL;
    }
    if (o == NULL)
        return fail_unknown(options, n, word, reterr);
    if (o->kind == CLI_FLAG && value != NULL)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s takes no value", o->name);
    if (o->kind != CLI_FLAG && value == NULL) {
        if (*at + 1 == argc)
            return a_fail(reterr, -EINVAL, A_CODE_USAGE, "--%s needs %s", o->name, o->arg);
        value = argv[++*at];
    }
    return value_take(o, value, reterr);
}

int cli_options_parse(const struct cli_command *command, const struct cli_option *options, size_t n, int argc,
                      char **argv, struct cli_words *ret_words, struct a_error *reterr)
{
    struct cli_words words = {.n = 0};
    bool only_words = false;
    for (int i = 1; i < argc; i++) {
        bool is_option = !only_words && argv[i][0] == '-' && argv[i][1] != '\0';
        if (is_option && strcmp(argv[i], "--") == 0) {
            only_words = true;
        } else if (is_option && (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)) {
            return 1;
        } else if (is_option) {
            int rc = option_take(options, n, argc, argv, &i, reterr);
            if (rc != 0)
                return rc;
        } else if (words.n == command->words_max || words.n == CLI_WORDS_MAX) {
            return a_fail(reterr, -EINVAL, A_CODE_USAGE, "one word too many: %s", argv[i]);
        } else {
            words.at[words.n++] = argv[i];
        }
    }
    if (words.n < command->words_min)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "usage: astra %s %s", command->name, command->args);
    *ret_words = words;
    return 0;
}

void cli_options_help(const struct cli_command *command, const struct cli_option *options, size_t n,
                      struct a_buf *ret)
{
    a_buf_addf(ret, "usage: astra %s %s\n\n%s\n", command->name, command->args, command->summary);
    if (command->more != NULL)
        a_buf_addf(ret, "\n%s\n", command->more);
    a_buf_add_char(ret, '\n');
    for (size_t i = 0; i < n; i++) {
        char left[64], letter[6] = "    ";
        const struct cli_option *o = &options[i];
        if (o->letter != 0)
            snprintf(letter, sizeof letter, "-%c, ", o->letter);
        snprintf(left, sizeof left, "%s--%s%s%s", letter, o->name, o->arg != NULL ? " " : "",
                 o->arg != NULL ? o->arg : "");
        a_buf_addf(ret, "  %-26s %s\n", left, o->help);
    }
}
