/* What a person needs of a member's log: the last traceback, or the last lines. */
#include <string.h>

#include "unit/ray.h"

#define LINES_MAX 30

/* Copies without terminal colours (ESC [ ... letter) and carriage returns. */
static void colours_cut(struct a_view v, struct a_buf *out)
{
    for (size_t i = 0; i < v.len; i++) {
        if (v.ptr[i] == '\x1b' && i + 1 < v.len && v.ptr[i + 1] == '[') {
            for (i += 2; i < v.len && (v.ptr[i] < '@' || v.ptr[i] > '~');)
                i++;
            continue;
        }
        if (v.ptr[i] != '\r')
            a_buf_add_char(out, v.ptr[i]);
    }
}

/* Where the last `n` lines begin. */
static size_t tail_start(struct a_view v, size_t n)
{
    size_t i = v.len;
    while (i > 0 && v.ptr[i - 1] == '\n')
        i--;
    for (; i > 0; i--)
        if (v.ptr[i - 1] == '\n' && --n == 0)
            break;
    return i;
}

static size_t line_start(struct a_view v, size_t i)
{
    while (i > 0 && v.ptr[i - 1] != '\n')
        i--;
    return i;
}

void unit_ray_log_digest(struct a_view log, size_t max, struct a_buf *ret_text)
{
    static const char mark[] = "Traceback (most recent call last)";
    A_BUF_AUTO struct a_buf plain = {0};
    colours_cut(log, &plain);
    struct a_view v = a_buf_view(&plain);
    size_t start = tail_start(v, LINES_MAX);
    for (size_t i = start; i + sizeof mark - 1 <= v.len; i++)
        if (memcmp(v.ptr + i, mark, sizeof mark - 1) == 0)
            start = line_start(v, i);
    v = (struct a_view){v.ptr + start, v.len - start};
    if (v.len > max) { /* the end says what went wrong */
        v.ptr += v.len - max;
        v.len = max;
    }
    while (v.len > 0 && (v.ptr[v.len - 1] == '\n' || v.ptr[v.len - 1] == ' '))
        v.len--;
    a_buf_add_view(ret_text, v);
}

/* "pkg.SomeError: what" or "SomeError" */
static bool is_exception(struct a_view line)
{
    size_t i = 0;
    while (i < line.len &&
           ((line.ptr[i] >= 'A' && line.ptr[i] <= 'Z') || (line.ptr[i] >= 'a' && line.ptr[i] <= 'z') ||
            (line.ptr[i] >= '0' && line.ptr[i] <= '9') || line.ptr[i] == '.' || line.ptr[i] == '_'))
        i++;
    bool word = i > 0 && (line.ptr[0] < '0' || line.ptr[0] > '9');
    return word && (i == line.len || line.ptr[i] == ':');
}

struct a_view unit_ray_log_cause(struct a_view digest)
{
    struct a_view cause = {"", 0}, rest = digest;
    bool in_frames = false; /* the lines of a traceback are indented, and its exception follows them */
    while (rest.len > 0) {
        struct a_view line = a_view_split(rest, '\n', &rest);
        if (in_frames && is_exception(line))
            cause = line;
        in_frames = line.len > 0 && line.ptr[0] == ' ';
    }
    return cause;
}
