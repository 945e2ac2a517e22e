#include "cli/table.h"

#include <stdarg.h>
#include <stdbool.h>

#include "base/assert.h"

#define GAP 2 /* spaces between columns */

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t cli_text_width(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++)
        n += !is_continuation(*s);
    return n;
}

static const char *cell_make(struct a_arena *arena, const char *text)
{
    char *s = a_arena_strdup(arena, text[0] != '\0' ? text : "-");
    for (char *c = s; *c != '\0'; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = ' ';
    return s;
}

void cli_table_row(struct cli_table *t, ...)
{
    struct cli_row *row = a_arena_new(t->arena, struct cli_row);
    const char *text;
    size_t n = 0;
    va_list args;
    va_start(args, t);
    while ((text = va_arg(args, const char *)) != NULL) {
        a_assert(n < CLI_COLUMNS_MAX);
        row->cells[n] = cell_make(t->arena, text);
        t->width[n] = A_MAX(t->width[n], cli_text_width(row->cells[n]));
        n++;
    }
    va_end(args);
    t->columns = A_MAX(t->columns, n);
    if (t->last != NULL)
        t->last->next = row;
    else
        t->first = row;
    t->last = row;
}

/* At most `max` characters, the last of them "…" when some were left out. */
static void text_cut(struct a_buf *b, const char *s, size_t max)
{
    if (cli_text_width(s) <= max) {
        a_buf_add_str(b, s);
        return;
    }
    for (size_t n = 0; *s != '\0'; s++) {
        n += !is_continuation(*s);
        if (n + 1 > max)
            break;
        a_buf_add_char(b, *s);
    }
    if (max > 0)
        a_buf_add_str(b, "…");
}

void cli_table_print(const struct cli_table *t, size_t width_max, struct a_buf *b)
{
    for (const struct cli_row *row = t->first; row != NULL; row = row->next) {
        size_t at = 0;
        for (size_t i = 0; i < t->columns && row->cells[i] != NULL; i++) {
            if (i + 1 == t->columns || row->cells[i + 1] == NULL) {
                text_cut(b, row->cells[i], width_max == 0 ? SIZE_MAX : width_max > at ? width_max - at : 0);
                break;
            }
            a_buf_addf(b, "%s%*s", row->cells[i], (int)(t->width[i] - cli_text_width(row->cells[i]) + GAP),
                       "");
            at += t->width[i] + GAP;
        }
        a_buf_add_char(b, '\n');
    }
}
