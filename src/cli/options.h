/* One parser of options for all commands: --name VALUE, --name=VALUE, -x VALUE, flags, --, and help made from
 * the same table. Pure, but for what it prints: tests/unit/test_cli.c. */
#ifndef A_CLI_OPTIONS_H
#define A_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/error.h"

#define CLI_WORDS_MAX 16

enum cli_kind {
    CLI_FLAG,     /* bool */
    CLI_TEXT,     /* const char * */
    CLI_NUMBER,   /* uint64_t */
    CLI_DURATION, /* uint64_t, milliseconds */
    CLI_BYTES,    /* uint64_t */
};

struct cli_option {
    const char *name; /* without its dashes */
    char letter;      /* 0 = none */
    enum cli_kind kind;
    const char *arg; /* what stands for the value in the help */
    const char *help;
    void *ret; /* as the kind says; left alone when the option is not given */
};

struct cli_command {
    const char *name;    /* "rollout undo" */
    const char *args;    /* "APP [--to N]" */
    const char *summary; /* one line */
    const char *more;    /* NULL, or paragraphs */
    unsigned words_min, words_max;
};

struct cli_words {
    const char *at[CLI_WORDS_MAX];
    size_t n;
};

/* argv[1..]: what stands behind the command's name. 0; 1 when help was asked for; -EINVAL (A_CODE_USAGE). */
int cli_options_parse(const struct cli_command *command, const struct cli_option *options, size_t n, int argc,
                      char **argv, struct cli_words *ret_words, struct a_error *reterr) A_MUST_CHECK;
void cli_options_help(const struct cli_command *command, const struct cli_option *options, size_t n,
                      struct a_buf *ret);

#endif
