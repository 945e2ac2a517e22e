/* What the commands share: options, the server's address, answers as tables or JSON.
 *
 * A command is a function that says what it takes, parses, asks the server, prints, and returns the exit
 * status: 0 ok, 1 failed, 2 usage, 3 timed out. */
#ifndef A_CLI_CLI_H
#define A_CLI_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "cli/options.h"
#include "net/http_blocking.h"
#include "wire/value.h"

#define CLI_DEFAULT_SERVER "http://127.0.0.1:7700"

/* One run of a command. Zero-initialise; cli_end() releases. */
struct cli {
    const struct cli_command *command;
    struct cli_words words;
    const char *server, *token, *namespace, *output; /* common options; NULL = not given */
    bool json;
    struct a_arena arena; /* of everything until cli_end() */
    struct a_error error; /* what cli_end() prints */
    struct net_blocking *http;
    const char *address; /* where `http` goes */
};

#define CLI_GO (-1)

/* Parses. CLI_GO, or the exit status (after --help or a mistake, which was printed). */
int cli_begin(struct cli *c, const struct cli_command *command, const struct cli_option *options,
              size_t n_options, int argc, char **argv) A_MUST_CHECK;
/* rc 0: status 0. Else prints c->error and returns its exit status. Releases everything. */
int cli_end(struct cli *c, int rc);
/* The namespace to work in: --namespace, ASTRA_CFG_NAMESPACE, else "default". */
const char *cli_namespace(const struct cli *c);
/* "APP" or "NAMESPACE/APP" of a word, as its API path "/v1/namespaces/NS/apps/APP". NULL (c->error) when it
 * is no name. */
const char *cli_app_path(struct cli *c, const char *word);

/* Commands of two words: "rollout undo". */
struct cli_verb {
    const char *word;
    int (*run)(int argc, char **argv);
};
int cli_verbs(const char *name, const struct cli_verb *verbs, size_t n, int argc, char **argv);

/* ---- client.c: the server ---- */

/* Finds address and token (--server and --token, ASTRA_CFG_SERVER and ASTRA_CFG_TOKEN, DATA/client.json).
 * Called by the functions below. */
int cli_connect(struct cli *c) A_MUST_CHECK;
/* One request; the JSON answer (a null value when there is none) in c->arena. `body` may be NULL. */
int cli_call(struct cli *c, const char *method, const char *path, const struct wire_value *body,
             struct wire_value **ret) A_MUST_CHECK;
/* All pages of a list: its items as one array. */
int cli_list(struct cli *c, const char *path, struct wire_value **ret_items) A_MUST_CHECK;
/* A fresh Idempotency-Key goes with each POST, so that a repeated one counts once. */
/* Server-sent events or log text until the end, or Ctrl-C. */
int cli_follow(struct cli *c, const char *path,
               int (*event)(void *ctx, struct a_view id, struct a_view event, struct a_view data),
               int (*piece)(void *ctx, struct a_view bytes), void *ctx) A_MUST_CHECK;
/* `text` with what a query must not hold escaped; in c->arena. */
const char *cli_escape(struct cli *c, const char *text);

/* ---- format.c: words for people ---- */

/* "5s", "3m", "2h10m", "4d": since an RFC 3339 time; "-" without one. In c->arena. */
const char *cli_age(struct cli *c, const char *time);
uint64_t cli_since_ms(const char *time);              /* 0 without one */
const char *cli_bytes(struct cli *c, uint64_t bytes); /* 157 MB */
/* A member's text, or "-". */
const char *cli_text(const struct wire_value *object, const char *key);
const char *cli_int(struct cli *c, const struct wire_value *object, const char *key);
/* True when colours go to `f`: a terminal, and NO_COLOR not set. */
bool cli_has_colour(FILE *f);
/* Escape code for a state or reason word, "" when it has none. */
const char *cli_colour(const char *word);
#define CLI_COLOUR_OFF "\033[0m"

/* ---- table.c ---- */

/* Prints what a command found: with -o json the value itself, indented. */
void cli_print_json(const struct wire_value *v);

#define CLI_COLUMNS_MAX 16

struct cli_table {
    const char *const *head; /* NULL-terminated */
    size_t n_columns;
    const char **cells; /* n_rows * n_columns; borrowed */
    size_t n_rows, cap_rows;
};

void cli_table_init(struct cli_table *t, const char *const *head);
/* One text per column; NULL and "" print as "-". The texts live until the print. */
void cli_table_row(struct cli_table *t, const char *const *cells);
/* Columns as wide as they must be, two spaces apart; the last one is cut to `width` (0 = not cut), and to its
 * first line always. */
void cli_table_format(const struct cli_table *t, unsigned width, bool colour, struct a_buf *ret);
/* To stdout. */
void cli_table_print(const struct cli_table *t);
void cli_table_deinit(struct cli_table *t);
/* Columns that a text takes on a terminal (UTF-8; wide East Asian characters take two). */
unsigned cli_text_width(const char *s);

/* ---- progress.c: long work, on stderr ---- */

/* On a terminal the lines are redrawn in place; elsewhere each line is printed once, when it is new. Zero =
 * begun. */
struct cli_progress {
    unsigned shown;     /* lines on the terminal now */
    struct a_buf lines; /* those printed before */
    bool checked, terminal;
};

void cli_progress_show(struct cli_progress *p, struct a_view lines); /* each ends with a line end */
/* Leaves the last lines as they are. */
void cli_progress_end(struct cli_progress *p);

#endif
