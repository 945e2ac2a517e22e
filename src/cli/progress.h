/* Long work shown while it goes on: on a terminal, lines that are drawn again; elsewhere, plain lines now and
 * then. */
#ifndef A_CLI_PROGRESS_H
#define A_CLI_PROGRESS_H

#include <stdbool.h>
#include <stdio.h>

#include "base/buf.h"

struct cli_progress {
    FILE *out;
    bool terminal;
    unsigned columns;
    size_t drawn; /* lines of the block that stand on the terminal */
    uint64_t said_ms;
};

/* Human commands show it on stdout; with -o json it goes to stderr. */
void cli_progress_init(struct cli_progress *p, bool json);
/* One line that stays; on a terminal above the block. */
void cli_progress_say(struct cli_progress *p, const char *fmt, ...) A_PRINTF(2, 3);
/* On a terminal: these lines instead of the block that was there. Elsewhere: nothing. */
void cli_progress_block(struct cli_progress *p, struct a_view lines);
/* So much of a transfer: redrawn, or a line every 10 s. `total` 0 = unknown. */
void cli_progress_bytes(struct cli_progress *p, const char *what, uint64_t done, uint64_t total);
/* Takes the block away. */
void cli_progress_clear(struct cli_progress *p);

#endif
