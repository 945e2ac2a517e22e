/* What the commands share: how one is declared and run, the server it talks to, and what it prints.
 *
 * A command is a struct cli_command: its words, its options and a function. cli_command_run() reads the
 * options, opens nothing, calls it, and makes the exit status of what it answers: 0             done -errno
 * failed: `reterr` is printed to stderr; its code decides between 1, 2 and 3 > 0           this exit status;
 * everything was said already */
#ifndef A_CLI_CLI_H
#define A_CLI_CLI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "cli/commands.h"
#include "cli/options.h"
#include "net/http_blocking.h"
#include "wire/value.h"

#define CLI_EXIT_USAGE 2
#define CLI_EXIT_INTERRUPTED 130

/* What every command takes. */
struct cli_common {
    const char *output, *server, *token, *ca, *data, *namespace;
    bool help;
};

struct cli_call {
    const struct cli_command *command;
    struct a_arena *arena; /* until the command is over */
    struct cli_words words;
    void *args; /* the command's own struct, zeroed and filled from its options */
    struct cli_common common;
    bool json;                 /* -o json */
    struct net_blocking *http; /* NULL before cli_client_open() */
    const char *server;        /* its URL, then */
};

struct cli_command {
    const char *name;  /* "rollout undo" */
    const char *words; /* "APP"; NULL = none */
    const char *about; /* one sentence */
    size_t min_words, max_words;
    const struct cli_option *options; /* NULL = none of its own */
    size_t args_size;
    const char *more; /* more lines for --help; may be NULL */
    bool yaml;        /* what it prints is YAML, unless -o json */
    int (*run)(struct cli_call *c, struct a_error *reterr);
};

int cli_command_run(const struct cli_command *command, int argc, char **argv);
/* One of several by its second word: `astra rollout undo ...`. */
int cli_group_run(const char *name, const struct cli_command *commands, size_t n, int argc, char **argv);

/* ---- printing ---- */

struct cli_table;
void cli_print(struct a_view text);
void cli_print_json(const struct wire_value *v); /* pretty, with a line end */
/* Kubernetes' objects: documents of YAML, or with -o json a List; kubectl takes both. */
void cli_print_manifests(struct cli_call *c, struct wire_value *list);
/* Cut to the terminal's width, when it is one. */
void cli_print_table(const struct cli_table *t);
/* "35s", "2h", "5d": since an RFC 3339 time; "-" when it is none. In `arena`. */
const char *cli_age(struct a_arena *arena, const struct wire_value *time);
/* "11:15:07" (UTC) of an RFC 3339 time, or of now for NULL. */
const char *cli_clock(struct a_arena *arena, const struct wire_value *time);
/* The member as a text, numbers included; "" when it is null. */
const char *cli_cell(struct a_arena *arena, const struct wire_value *object, const char *key);
/* "160.2 MB" */
const char *cli_size(struct a_arena *arena, uint64_t bytes);

/* False when it was interrupted (sys/terminal.h) meanwhile. */
bool cli_sleep_ms(uint64_t ms);

/* ---- client.c: the server ---- */

/* Where it is and what opens it: options, ASTRA_CFG_SERVER and ASTRA_CFG_TOKEN, then DATA/client.json.
 * Connects to nothing yet. */
int cli_client_open(struct cli_call *c, struct a_error *reterr) A_MUST_CHECK;
/* From now on client.json, when it is of this server, trusts this CA (PEM). */
int cli_client_trust(struct cli_call *c, const char *ca, struct a_error *reterr) A_MUST_CHECK;
/* The data folder: --data, ASTRA_CFG_DATA, ~/.local/share/astra. In the arena. */
const char *cli_data_dir(struct cli_call *c);
/* --namespace, or "default". */
const char *cli_namespace(const struct cli_call *c);
/* Each {} is the next argument, escaped; ends with NULL. In the arena. */
const char *cli_path(struct cli_call *c, const char *pattern, ...) __attribute__((sentinel));
/* One call; *ret (may be NULL) is the answer's JSON, in `arena` (NULL: the call's). What may be repeated is,
 * once, when the connection broke. A_CODE_NOT_FOUND and so on as the server said. */
int cli_request(struct cli_call *c, const char *method, const char *path, const struct wire_value *body,
                struct a_arena *arena, struct wire_value **ret, struct a_error *reterr) A_MUST_CHECK;
int cli_get(struct cli_call *c, const char *path, struct wire_value **ret,
            struct a_error *reterr) A_MUST_CHECK;
/* All pages of a list: its items, in `arena` (NULL: the call's). */
int cli_list(struct cli_call *c, const char *path, struct a_arena *arena, struct wire_value **ret_items,
             struct a_error *reterr) A_MUST_CHECK;
/* The lists of /v1/NAME or, with --namespace, of that namespace. */
const char *cli_list_path(struct cli_call *c, const char *name);
/* A node by its name (node-2, cluster-1/node-2), its id or a beginning of it that is its alone: its JSON. */
int cli_node_find(struct cli_call *c, const char *word, struct wire_value **ret,
                  struct a_error *reterr) A_MUST_CHECK;
/* "NAME" or, where two nodes share it, still what cli_node_find() takes: "cluster-1/node-2". */
const char *cli_node_name(struct a_arena *arena, const struct wire_value *cluster,
                          const struct wire_value *name);

/* ---- drain_self.c ---- */

/* Asks the agent whose folder is --data or ASTRA_CFG_AGENT_DATA to leave within `grace_ms` (0 = 30 s);
 * returns when nothing is left there, or 2 s before the time is over (A_CODE_TIMEOUT when something serves
 * still). */
int cli_drain_self(struct cli_call *c, uint64_t grace_ms, struct a_error *reterr) A_MUST_CHECK;

#endif
