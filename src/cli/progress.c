#include "cli/progress.h"

#include <inttypes.h>
#include <stdarg.h>

#include "base/arena.h"
#include "cli/cli.h"
#include "sys/clock.h"
#include "sys/terminal.h"

#define REDRAW_MS 100
#define PLAIN_MS 10000

void cli_progress_init(struct cli_progress *p, bool json)
{
    *p = (struct cli_progress){.out = json ? stderr : stdout};
    p->terminal = sys_terminal_is(json ? 2 : 1);
    p->columns = sys_terminal_width(json ? 2 : 1);
}

void cli_progress_clear(struct cli_progress *p)
{
    if (p->drawn > 0)
        fprintf(p->out, "\033[%zuA\033[J", p->drawn);
    p->drawn = 0;
    fflush(p->out);
}

void cli_progress_say(struct cli_progress *p, const char *fmt, ...)
{
    va_list args;
    cli_progress_clear(p);
    va_start(args, fmt);
    vfprintf(p->out, fmt, args);
    va_end(args);
    fputc('\n', p->out);
    fflush(p->out);
}

void cli_progress_block(struct cli_progress *p, struct a_view lines)
{
    if (!p->terminal)
        return;
    if (p->drawn > 0)
        fprintf(p->out, "\033[%zuA", p->drawn);
    p->drawn = 0;
    while (lines.len > 0) {
        struct a_view line = a_view_split(lines, '\n', &lines);
        fprintf(p->out, A_VIEW_FMT "\033[K\n", A_VIEW_ARG(line));
        p->drawn++;
    }
    fputs("\033[J", p->out);
    fflush(p->out);
}

void cli_progress_bytes(struct cli_progress *p, const char *what, uint64_t done, uint64_t total)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    uint64_t now = sys_clock_mono_ms();
    bool last = total > 0 && done == total;
    if (p->said_ms == 0)
        p->said_ms = now; /* what is quick needs no line */
    if (now - p->said_ms < (p->terminal ? REDRAW_MS : PLAIN_MS) && !(last && p->terminal))
        return;
    p->said_ms = now;
    const char *line =
        total == 0 ? a_arena_printf(&arena, "%s: %s", what, cli_size(&arena, done))
                   : a_arena_printf(&arena, "%s: %s of %s, %" PRIu64 "%%", what, cli_size(&arena, done),
                                    cli_size(&arena, total), done * 100 / total);
    if (p->terminal)
        cli_progress_block(p, a_view_str(line));
    else
        cli_progress_say(p, "%s", line);
}
