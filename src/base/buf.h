/* Views and buffers. A view is bytes that somebody else owns; a buffer is a growing byte string with an upper
 * bound. */
#ifndef A_BASE_BUF_H
#define A_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

struct a_view {
    const char *ptr;
    size_t len;
};

/* %.*s with A_VIEW_ARG(v) */
#define A_VIEW_FMT "%.*s"
#define A_VIEW_ARG(v) (int)(v).len, (v).ptr
#define A_VIEW_LIT(s) ((struct a_view){(s), sizeof(s) - 1})

struct a_view a_view_str(const char *s); /* NULL gives the empty view */
bool a_view_equal(struct a_view a, struct a_view b);
bool a_view_is(struct a_view v, const char *s);
bool a_view_is_nocase(struct a_view v, const char *s); /* ASCII only */
bool a_view_starts(struct a_view v, const char *prefix);
struct a_view a_view_trim(struct a_view v); /* spaces and tabs at both ends */
/* Everything before the first `c` (or all), *rest = what follows it (or empty). */
struct a_view a_view_split(struct a_view v, char c, struct a_view *rest);
char *a_view_dup(struct a_view v) __attribute__((malloc, returns_nonnull));

/* Zero-initialised = empty, unbounded. `max` > 0 bounds `len`: past it a write sets `failed` and adds
 * nothing, as does lack of memory. Check `failed` once, at the end. */
struct a_buf {
    char *ptr; /* zero-terminated whenever not NULL */
    size_t len;
    size_t cap;
    size_t max;
    bool failed;
};

#define A_BUF_AUTO A_CLEANUP(a_buf_deinit)

void a_buf_deinit(struct a_buf *b); /* safe twice */
void a_buf_reset(struct a_buf *b);  /* empty, keeps the memory and `max` */
/* Room for `n` more bytes at ptr + len; false when it would pass `max` or memory is out (sets failed). */
bool a_buf_reserve(struct a_buf *b, size_t n);
void a_buf_add(struct a_buf *b, const void *bytes, size_t n);
void a_buf_add_view(struct a_buf *b, struct a_view v);
void a_buf_add_str(struct a_buf *b, const char *s);
void a_buf_add_char(struct a_buf *b, char c);
void a_buf_addf(struct a_buf *b, const char *fmt, ...) A_PRINTF(2, 3);
void a_buf_vaddf(struct a_buf *b, const char *fmt, va_list args) A_PRINTF(2, 0);
/* Removes `n` bytes from the front. */
void a_buf_consume(struct a_buf *b, size_t n);
struct a_view a_buf_view(const struct a_buf *b);
/* The contents as an owned, zero-terminated string; the buffer is empty afterwards. Never NULL. */
char *a_buf_steal(struct a_buf *b) __attribute__((returns_nonnull));

#endif
