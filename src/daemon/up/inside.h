/* What the files of `astra up` share. One loop, one thread. */
#ifndef D_UP_INSIDE_H
#define D_UP_INSIDE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "daemon/up/layout.h"
#include "daemon/up/options.h"
#include "sys/loop.h"
#include "sys/process.h"

#define D_UP_WORDS_MAX 48

enum d_up_kind { D_UP_SERVER, D_UP_GATEWAY, D_UP_AGENT };

/* One child: started, waited for until its ready file is there, started again when it dies. */
struct d_up_child {
    struct d_up *up;
    enum d_up_kind kind;
    char *name;
    unsigned cluster;            /* agents: from 1 */
    struct sys_process *process; /* NULL: it does not run */
    bool ready, was_ready;
    bool held; /* the hold file was seen and told of */
    uint64_t started_ms;
    struct sys_timer timer; /* looks for the ready file; or starts again */
    uint16_t ports[2];      /* got at the first start, asked for again at the next */
};

struct d_up {
    struct d_up_options options;
    struct d_up_layout layout;
    struct sys_loop *loop;
    char *self_path;
    int lock_fd;
    struct sys_signal *signals[4];
    struct d_up_child *children; /* server, gateway, agents */
    size_t n_children;
    struct sys_timer rotate;
    bool announced; /* all were ready once: from here on a dead child is started again */
    bool ending, hurry, leave;
    int status;
};

/* ---- command.c ---- */

/* The child's argument vector, with the ports that it had before. */
struct d_up_words {
    char *words[D_UP_WORDS_MAX + 1]; /* NULL-terminated, owned */
    size_t n;
};
void d_up_command_build(const struct d_up_child *c, struct d_up_words *ret_words);
void d_up_words_deinit(struct d_up_words *w);
/* "7700" -> "127.0.0.1:7700"; HOST:PORT stays. `port` replaces the port unless 0. The caller frees. */
char *d_up_address(const char *text, uint16_t port) __attribute__((malloc, returns_nonnull));

/* ---- child.c ---- */

void d_up_child_start(struct d_up_child *c);
/* Stops following it; the process goes on. */
void d_up_child_close(struct d_up_child *c);

/* ---- log.c ---- */

/* LOG/NAME.log, opened for appending. */
int d_up_log_open(const struct d_up *up, const char *name, int *ret_fd, struct a_error *reterr) A_MUST_CHECK;
/* Files that grew too large become .1, .2, ... */
void d_up_log_rotate(const struct d_up_layout *l);
/* Prints the last lines of LOG/NAME.log to stderr, indented. */
void d_up_log_tail_print(const struct d_up_layout *l, const char *name);

/* ---- up.c ---- */

/* A line for whoever runs `astra up`. */
void d_up_say(const char *fmt, ...) A_PRINTF(1, 2);
/* Something is wrong before all was ready: everything ends, with status 1. */
void d_up_fail(struct d_up *up, const char *fmt, ...) A_PRINTF(2, 3);
/* A child's ready file is there. */
void d_up_child_ready(struct d_up_child *c);

/* ---- detach.c ---- */

/* Starts the same command without --detach in a session of its own, shows what it says until all is ready;
 * returns the exit status. */
int d_up_detach(int argc, char **argv, const struct d_up_options *options);

#endif
