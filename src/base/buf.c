#include "base/buf.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

struct a_view a_view_str(const char *s)
{
    return s != NULL ? (struct a_view){s, strlen(s)} : (struct a_view){"", 0};
}

bool a_view_equal(struct a_view a, struct a_view b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool a_view_is(struct a_view v, const char *s)
{
    return a_view_equal(v, a_view_str(s));
}

static char ascii_lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool a_view_is_nocase(struct a_view v, const char *s)
{
    size_t i = 0;
    for (; i < v.len && s[i] != '\0'; i++)
        if (ascii_lower(v.ptr[i]) != ascii_lower(s[i]))
            return false;
    return i == v.len && s[i] == '\0';
}

bool a_view_starts(struct a_view v, const char *prefix)
{
    size_t n = strlen(prefix);
    return v.len >= n && memcmp(v.ptr, prefix, n) == 0;
}

struct a_view a_view_trim(struct a_view v)
{
    while (v.len > 0 && (v.ptr[0] == ' ' || v.ptr[0] == '\t'))
        v = (struct a_view){v.ptr + 1, v.len - 1};
    while (v.len > 0 && (v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == '\t'))
        v.len--;
    return v;
}

struct a_view a_view_split(struct a_view v, char c, struct a_view *rest)
{
    const char *at = v.len > 0 ? memchr(v.ptr, c, v.len) : NULL;
    if (at == NULL) {
        *rest = (struct a_view){"", 0};
        return v;
    }
    struct a_view head = {v.ptr, (size_t)(at - v.ptr)};
    *rest = (struct a_view){at + 1, v.len - head.len - 1};
    return head;
}

char *a_view_dup(struct a_view v)
{
    return a_strndup(v.len > 0 ? v.ptr : "", v.len);
}

void a_buf_deinit(struct a_buf *b)
{
    a_free(b->ptr);
    *b = (struct a_buf){.max = b->max};
}

void a_buf_reset(struct a_buf *b)
{
    b->len = 0;
    b->failed = false;
    if (b->ptr != NULL)
        b->ptr[0] = '\0';
}

bool a_buf_reserve(struct a_buf *b, size_t n)
{
    size_t need;
    if (b->failed || !a_size_add(b->len, n, &need) || need == SIZE_MAX || (b->max > 0 && need > b->max)) {
        b->failed = true;
        return false;
    }
    if (need < b->cap)
        return true;
    size_t cap = b->cap < 64 ? 64 : b->cap;
    while (cap <= need)
        cap = cap > SIZE_MAX / 2 ? SIZE_MAX : cap * 2;
    char *p = a_try_realloc(b->ptr, cap);
    if (p == NULL) {
        b->failed = true;
        return false;
    }
    b->ptr = p;
    b->cap = cap;
    b->ptr[b->len] = '\0';
    return true;
}

void a_buf_add(struct a_buf *b, const void *bytes, size_t n)
{
    if (!a_buf_reserve(b, n) || n == 0)
        return;
    memcpy(b->ptr + b->len, bytes, n);
    b->len += n;
    b->ptr[b->len] = '\0';
}

void a_buf_add_view(struct a_buf *b, struct a_view v)
{
    a_buf_add(b, v.ptr, v.len);
}

void a_buf_add_str(struct a_buf *b, const char *s)
{
    a_buf_add(b, s, strlen(s));
}

void a_buf_add_char(struct a_buf *b, char c)
{
    a_buf_add(b, &c, 1);
}

void a_buf_vaddf(struct a_buf *b, const char *fmt, va_list args)
{
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, fmt, again);
    va_end(again);
    a_assert(n >= 0);
    if (!a_buf_reserve(b, (size_t)n))
        return;
    vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, args);
    b->len += (size_t)n;
}

void a_buf_addf(struct a_buf *b, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    a_buf_vaddf(b, fmt, args);
    va_end(args);
}

void a_buf_consume(struct a_buf *b, size_t n)
{
    a_assert(n <= b->len);
    if (n == 0)
        return;
    memmove(b->ptr, b->ptr + n, b->len - n);
    b->len -= n;
    b->ptr[b->len] = '\0';
}

struct a_view a_buf_view(const struct a_buf *b)
{
    return (struct a_view){b->ptr != NULL ? b->ptr : "", b->len};
}

char *a_buf_steal(struct a_buf *b)
{
    char *s = b->ptr != NULL ? b->ptr : a_strdup("");
    *b = (struct a_buf){.max = b->max};
    return s;
}
