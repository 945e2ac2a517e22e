/* Aligned columns for people. */
#ifndef A_CLI_TABLE_H
#define A_CLI_TABLE_H

#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"

#define CLI_COLUMNS_MAX 12

/* Zero-initialise with the arena; the first row is the head. */
struct cli_table {
    struct a_arena *arena;
    struct cli_row *first, *last;
    size_t columns, width[CLI_COLUMNS_MAX];
};

struct cli_row {
    struct cli_row *next;
    const char *cells[CLI_COLUMNS_MAX];
};

/* One row of texts, up to a NULL; copied, on one line: line ends become spaces. An empty text is printed as
 * "-". */
void cli_table_row(struct cli_table *t, ...) __attribute__((sentinel));
/* The last column is not padded. With `width_max` > 0 no line is wider: the last column is cut. */
void cli_table_print(const struct cli_table *t, size_t width_max, struct a_buf *b);
/* Characters of a UTF-8 text, each taken as one column. */
size_t cli_text_width(const char *s);

#endif
