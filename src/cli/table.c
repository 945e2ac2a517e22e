/* Aligned columns. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "cli/cli.h"
#include "sys/terminal.h"

void cli_print_json(const struct wire_value *v)
{
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, v, WIRE_JSON_PRETTY);
    fputs(b.ptr, stdout);
}

/* The code point at *s, which moves on; bytes that are no UTF-8 count as themselves. */
static unsigned code_point(const char **s)
{
    const unsigned char *p = (const unsigned char *)*s;
    unsigned n = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc0 ? 2 : 1;
    unsigned c = n == 1 ? p[0] : p[0] & (0x7fu >> n);
    for (unsigned i = 1; i < n; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            *s += 1;
            return p[0];
        }
        c = c << 6 | (p[i] & 0x3fu);
    }
    *s += n;
    return c;
}

static unsigned code_width(unsigned c)
{
    static const struct {
        unsigned first, last, width;
    } ranges[] = {{0x300, 0x36f, 0},   {0x200b, 0x200f, 0},   {0x1100, 0x115f, 2},  {0x2e80, 0xa4cf, 2},
                  {0xac00, 0xd7a3, 2}, {0xf900, 0xfaff, 2},   {0xfe30, 0xfe6f, 2},  {0xff00, 0xff60, 2},
                  {0xffe0, 0xffe6, 2}, {0x1f300, 0x1faff, 2}, {0x20000, 0x3fffd, 2}};
    for (size_t i = 0; i < A_ARRAY_SIZE(ranges); i++)
        if (c >= ranges[i].first && c <= ranges[i].last)
            return ranges[i].width;
    return 1;
}

unsigned cli_text_width(const char *s)
{
    unsigned width = 0;
    while (*s != '\0' && *s != '\n')
        width += code_width(code_point(&s));
    return width;
}

void cli_table_init(struct cli_table *t, const char *const *head)
{
    *t = (struct cli_table){.head = head};
    while (head[t->n_columns] != NULL)
        t->n_columns++;
    a_assert(t->n_columns <= CLI_COLUMNS_MAX);
}

void cli_table_row(struct cli_table *t, const char *const *cells)
{
    if (t->n_rows == t->cap_rows) {
        t->cap_rows = A_MAX(t->cap_rows * 2, (size_t)16);
        t->cells = a_realloc(t->cells, t->cap_rows * t->n_columns * sizeof *t->cells);
    }
    for (size_t i = 0; i < t->n_columns; i++)
        t->cells[t->n_rows * t->n_columns + i] = cells[i] != NULL && cells[i][0] != '\0' ? cells[i] : "-";
    t->n_rows++;
}

/* As much of the first line as fits into `width` columns, with "..." where it was cut; 0 = all. */
static void cell_add(struct a_buf *b, const char *s, unsigned width)
{
    const char *end = s, *cut = s;
    unsigned w = 0;
    while (*end != '\0' && *end != '\n') {
        const char *before = end;
        w += code_width(code_point(&end));
        if (width > 3 && w <= width - 3)
            cut = end;
        if (width > 3 && w > width) {
            (void)before;
            a_buf_add(b, s, (size_t)(cut - s));
            a_buf_add_str(b, "...");
            return;
        }
    }
    a_buf_add(b, s, (size_t)(end - s));
}

static void row_format(const struct cli_table *t, const char *const *cells, const unsigned *widths,
                       unsigned width, bool colour, struct a_buf *b)
{
    unsigned at = 0;
    for (size_t i = 0; i < t->n_columns; i++) {
        const char *code = colour ? cli_colour(cells[i]) : "";
        bool last = i + 1 == t->n_columns;
        a_buf_add_str(b, code);
        cell_add(b, cells[i], last && width > at ? width - at : 0);
        a_buf_add_str(b, code[0] != '\0' ? CLI_COLOUR_OFF : "");
        for (unsigned w = cli_text_width(cells[i]); !last && w < widths[i] + 2; w++)
            a_buf_add_char(b, ' ');
        at += widths[i] + 2;
    }
    a_buf_add_char(b, '\n');
}

void cli_table_format(const struct cli_table *t, unsigned width, bool colour, struct a_buf *ret)
{
    unsigned widths[CLI_COLUMNS_MAX];
    for (size_t i = 0; i < t->n_columns; i++) {
        widths[i] = cli_text_width(t->head[i]);
        for (size_t r = 0; r < t->n_rows; r++)
            widths[i] = A_MAX(widths[i], cli_text_width(t->cells[r * t->n_columns + i]));
    }
    row_format(t, t->head, widths, width, false, ret);
    for (size_t r = 0; r < t->n_rows; r++)
        row_format(t, &t->cells[r * t->n_columns], widths, width, colour, ret);
}

void cli_table_print(const struct cli_table *t)
{
    A_BUF_AUTO struct a_buf b = {0};
    cli_table_format(t, sys_terminal_is(1) ? sys_terminal_width(1) : 0, cli_has_colour(stdout), &b);
    fputs(b.ptr, stdout);
}

void cli_table_deinit(struct cli_table *t)
{
    a_free(t->cells);
    t->cells = NULL;
}
