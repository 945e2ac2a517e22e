#include <string.h>

#include "cli/cli.h"
#include "sys/terminal.h"

static unsigned lines_count(struct a_view v)
{
    unsigned n = 0;
    for (size_t i = 0; i < v.len; i++)
        n += v.ptr[i] == '\n';
    return n;
}

/* Terminal: back to the first line, clear to the end, print; lines are cut so that none takes two rows. */
static void redraw(struct cli_progress *p, struct a_view lines)
{
    unsigned width = sys_terminal_width(2);
    A_BUF_AUTO struct a_buf b = {0};
    if (p->shown > 0)
        a_buf_addf(&b, "\033[%uA\033[J", p->shown);
    p->shown = lines_count(lines);
    while (lines.len > 0) {
        struct a_view line = a_view_split(lines, '\n', &lines);
        a_buf_add(&b, line.ptr, A_MIN(line.len, (size_t)width - 1));
        a_buf_add_char(&b, '\n');
    }
    fputs(b.ptr, stderr);
}

static bool was_printed(const struct cli_progress *p, struct a_view line)
{
    struct a_view rest = a_buf_view(&p->lines);
    while (rest.len > 0)
        if (a_view_equal(a_view_split(rest, '\n', &rest), line))
            return true;
    return false;
}

static void print_new(struct cli_progress *p, struct a_view lines)
{
    struct a_view rest = lines;
    while (rest.len > 0) {
        struct a_view line = a_view_split(rest, '\n', &rest);
        if (!was_printed(p, line))
            fprintf(stderr, A_VIEW_FMT "\n", A_VIEW_ARG(line));
    }
    a_buf_reset(&p->lines);
    a_buf_add_view(&p->lines, lines);
}

void cli_progress_show(struct cli_progress *p, struct a_view lines)
{
    if (!p->checked) {
        p->checked = true;
        p->terminal = sys_terminal_is(2);
    }
    if (p->terminal)
        redraw(p, lines);
    else
        print_new(p, lines);
    fflush(stderr);
}

void cli_progress_end(struct cli_progress *p)
{
    p->shown = 0;
    a_buf_deinit(&p->lines);
}
