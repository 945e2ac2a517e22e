/* The command line's options, from tables: each option has its place in a struct, its words for help, and one
 * parser reads them all. --flag VALUE, --flag=VALUE, -n VALUE, -nVALUE; options and words in any order; after
 * "--" only words. */
#ifndef A_CLI_OPTIONS_H
#define A_CLI_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"

enum cli_kind {
    CLI_FLAG,     /* bool */
    CLI_TEXT,     /* const char * */
    CLI_NUMBER,   /* uint64_t */
    CLI_DURATION, /* uint64_t, milliseconds */
};

struct cli_option {
    const char *name; /* without its dashes; NULL ends a table */
    char letter;      /* -n; 0 = none */
    enum cli_kind kind;
    size_t offset;     /* of its value in the struct that `target` points to */
    const char *value; /* what help calls the value; NULL for flags */
    const char *help;
    bool required;
};

/* One table and where its values go. */
struct cli_options {
    const struct cli_option *table; /* NULL = none */
    void *target;
};

/* What was no option; points into argv. */
struct cli_words {
    const char **items;
    size_t n;
};

/* Reads argv[0..argc). What is not given keeps what it was. A_CODE_USAGE for unknown options (with the
 * nearest known one), values that are missing or wrong, and required options that are not there. --help is
 * left to a CLI_FLAG of that name: with it, nothing is required. */
int cli_options_parse(const struct cli_options *sets, size_t n_sets, struct a_arena *arena, int argc,
                      char *const *argv, struct cli_words *ret, struct a_error *reterr) A_MUST_CHECK;
/* One line an option, aligned. */
void cli_options_print(struct a_buf *b, const struct cli_option *table);

#endif
