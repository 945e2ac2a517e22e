#include "base/text.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

bool a_text_u64(struct a_view v, uint64_t *ret)
{
    uint64_t x = 0;
    if (v.len == 0)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        if (!is_digit(v.ptr[i]) || __builtin_mul_overflow(x, 10u, &x) ||
            __builtin_add_overflow(x, (uint64_t)(v.ptr[i] - '0'), &x))
            return false;
    }
    *ret = x;
    return true;
}

bool a_text_i64(struct a_view v, int64_t *ret)
{
    bool minus = v.len > 0 && v.ptr[0] == '-';
    uint64_t x;
    if (minus)
        v = (struct a_view){v.ptr + 1, v.len - 1};
    if (!a_text_u64(v, &x) || x > (uint64_t)INT64_MAX + (minus ? 1 : 0))
        return false;
    *ret = minus ? (int64_t)(0 - x) : (int64_t)x;
    return true;
}

bool a_text_hex64(struct a_view v, uint64_t *ret)
{
    uint64_t x = 0;
    if (v.len == 0 || v.len > 16)
        return false;
    for (size_t i = 0; i < v.len; i++) {
        char c = (char)(v.ptr[i] | 0x20);
        if (is_digit(v.ptr[i]))
            x = x << 4 | (uint64_t)(v.ptr[i] - '0');
        else if (c >= 'a' && c <= 'f')
            x = x << 4 | (uint64_t)(c - 'a' + 10);
        else
            return false;
    }
    *ret = x;
    return true;
}

/* Splits "1.5Gi" into whole = 1500 (thousandths) and the suffix; at most three decimals. */
static bool quantity_split(struct a_view v, uint64_t *ret_milli, struct a_view *ret_suffix)
{
    size_t i = 0;
    uint64_t whole = 0, frac = 0;
    while (i < v.len && is_digit(v.ptr[i]))
        i++;
    if (!a_text_u64((struct a_view){v.ptr, i}, &whole))
        return false;
    if (i < v.len && v.ptr[i] == '.') {
        uint64_t place = 100;
        size_t start = ++i;
        for (; i < v.len && is_digit(v.ptr[i]); i++, place /= 10)
            frac += (uint64_t)(v.ptr[i] - '0') * place;
        if (i == start || i - start > 3)
            return false;
    }
    if (__builtin_mul_overflow(whole, 1000u, &whole) || __builtin_add_overflow(whole, frac, &whole))
        return false;
    *ret_milli = whole;
    *ret_suffix = (struct a_view){v.ptr + i, v.len - i};
    return true;
}

static const struct {
    const char *suffix;
    uint64_t bytes;
} byte_units[] = {
    {"Ti", 1ull << 40},
    {"Gi", 1ull << 30},
    {"Mi", 1ull << 20},
    {"Ki", 1ull << 10},
    {"T", 1000000000000ull},
    {"G", 1000000000},
    {"M", 1000000},
    {"k", 1000},
    {"", 1},
};

bool a_text_bytes(struct a_view v, uint64_t *ret_bytes)
{
    uint64_t milli, bytes;
    struct a_view suffix;
    if (!quantity_split(v, &milli, &suffix))
        return false;
    for (size_t i = 0; i < A_ARRAY_SIZE(byte_units); i++) {
        if (!a_view_is(suffix, byte_units[i].suffix))
            continue;
        if (__builtin_mul_overflow(milli, byte_units[i].bytes, &bytes))
            return false;
        *ret_bytes = bytes / 1000;
        return true;
    }
    return false;
}

bool a_text_mcpu(struct a_view v, uint64_t *ret_mcpu)
{
    uint64_t milli;
    struct a_view suffix;
    if (!quantity_split(v, &milli, &suffix))
        return false;
    if (suffix.len == 0)
        *ret_mcpu = milli;
    else if (a_view_is(suffix, "m") && milli % 1000 == 0)
        *ret_mcpu = milli / 1000;
    else
        return false;
    return true;
}

static const struct {
    const char *suffix;
    uint64_t ms;
} duration_units[] = {{"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1}};

static bool duration_unit(struct a_view suffix, uint64_t *ret_ms)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(duration_units); i++) {
        if (a_view_is(suffix, duration_units[i].suffix)) {
            *ret_ms = duration_units[i].ms;
            return true;
        }
    }
    return false;
}

bool a_text_duration(struct a_view v, uint64_t *ret_ms)
{
    uint64_t total = 0, n, unit;
    if (v.len == 0)
        return false;
    for (size_t i = 0; i < v.len;) {
        size_t start = i, end;
        while (i < v.len && is_digit(v.ptr[i]))
            i++;
        for (end = i; end < v.len && !is_digit(v.ptr[end]); end++)
            ;
        if (!a_text_u64((struct a_view){v.ptr + start, i - start}, &n) ||
            !duration_unit((struct a_view){v.ptr + i, end - i}, &unit) ||
            __builtin_mul_overflow(n, unit, &n) || __builtin_add_overflow(total, n, &total))
            return false;
        i = end;
    }
    *ret_ms = total;
    return true;
}

bool a_text_is_label(struct a_view v, size_t max)
{
    if (v.len == 0 || v.len > max || v.ptr[0] == '-' || v.ptr[v.len - 1] == '-')
        return false;
    for (size_t i = 0; i < v.len; i++)
        if (!is_digit(v.ptr[i]) && v.ptr[i] != '-' && !(v.ptr[i] >= 'a' && v.ptr[i] <= 'z'))
            return false;
    return true;
}

size_t a_text_distance(const char *a, const char *b)
{
    size_t la = strnlen(a, 64), lb = strnlen(b, 64), row[65];
    for (size_t j = 0; j <= lb; j++)
        row[j] = j;
    for (size_t i = 1; i <= la; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= lb; j++) {
            size_t above = row[j], change = diagonal + (a[i - 1] != b[j - 1]);
            row[j] = A_MIN(A_MIN(above, row[j - 1]) + 1, change);
            diagonal = above;
        }
    }
    return row[lb];
}

const char *a_text_nearest(const char *word, const char *const *candidates)
{
    const char *best = NULL;
    size_t best_distance = 1 + strlen(word) / 3 + 1;
    for (; *candidates != NULL; candidates++) {
        size_t d = a_text_distance(word, *candidates);
        if (d < best_distance) {
            best_distance = d;
            best = *candidates;
        }
    }
    return best;
}

void a_text_print_bytes(struct a_buf *b, uint64_t bytes)
{
    for (size_t i = 0; i < 4; i++) {
        if (bytes >= byte_units[i].bytes && bytes % byte_units[i].bytes == 0) {
            a_buf_addf(b, "%llu%s", (unsigned long long)(bytes / byte_units[i].bytes), byte_units[i].suffix);
            return;
        }
    }
    a_buf_addf(b, "%llu", (unsigned long long)bytes);
}

void a_text_print_mcpu(struct a_buf *b, uint64_t mcpu)
{
    a_buf_addf(b, "%llu", (unsigned long long)(mcpu / 1000));
    if (mcpu % 1000 != 0) {
        a_buf_addf(b, ".%03llu", (unsigned long long)(mcpu % 1000));
        while (b->len > 0 && b->ptr[b->len - 1] == '0')
            b->ptr[--b->len] = '\0';
    }
}

void a_text_print_duration(struct a_buf *b, uint64_t ms)
{
    if (ms == 0) {
        a_buf_add_str(b, "0s");
        return;
    }
    for (size_t i = 0; i < A_ARRAY_SIZE(duration_units); i++) {
        if (ms >= duration_units[i].ms)
            a_buf_addf(b, "%llu%s", (unsigned long long)(ms / duration_units[i].ms),
                       duration_units[i].suffix);
        ms %= duration_units[i].ms;
    }
}

/* Length of the valid UTF-8 sequence at p (RFC 3629), 0 when there is none. */
static size_t utf8_length(const unsigned char *p, size_t left)
{
    size_t n = p[0] < 0x80                    ? 1
               : p[0] >= 0xc2 && p[0] <= 0xdf ? 2
               : (p[0] & 0xf0) == 0xe0        ? 3
               : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
                                              : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xf0 && p[1] < 0x90);
    bool outside = (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf4 && p[1] > 0x8f);
    return n > 1 && (overlong || outside) ? 0 : n;
}

bool a_text_is_utf8(struct a_view v)
{
    for (size_t i = 0, n; i < v.len; i += n) {
        n = utf8_length((const unsigned char *)v.ptr + i, v.len - i);
        if (n == 0)
            return false;
    }
    return true;
}

static void json_char(struct a_buf *b, unsigned char c)
{
    static const char shorts[] = {['\b'] = 'b', ['\t'] = 't', ['\n'] = 'n', ['\f'] = 'f', ['\r'] = 'r'};
    if (c == '"' || c == '\\') {
        a_buf_add_char(b, '\\');
        a_buf_add_char(b, (char)c);
    } else if (c < sizeof shorts && shorts[c] != 0) {
        a_buf_add_char(b, '\\');
        a_buf_add_char(b, shorts[c]);
    } else if (c < 0x20 || c == 0x7f) {
        a_buf_addf(b, "\\u%04x", c);
    } else {
        a_buf_add_char(b, (char)c);
    }
}

void a_text_print_json(struct a_buf *b, struct a_view v)
{
    a_buf_add_char(b, '"');
    for (size_t i = 0; i < v.len;) {
        const unsigned char *p = (const unsigned char *)v.ptr + i;
        size_t n = utf8_length(p, v.len - i);
        if (n == 0)
            a_buf_add_str(b, "\xef\xbf\xbd");
        else if (n == 1)
            json_char(b, p[0]);
        else
            a_buf_add(b, p, n);
        i += n != 0 ? n : 1;
    }
    a_buf_add_char(b, '"');
}
