#include "base/base64.h"

#include <stdint.h>

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Only padding and white space may follow the digits. */
static bool tail_ok(struct a_view text, size_t at, size_t digits)
{
    size_t padding = 0;
    for (; at < text.len; at++) {
        if (text.ptr[at] == '=')
            padding++;
        else if (!is_space(text.ptr[at]))
            return false;
    }
    return digits % 4 != 1 && (padding == 0 || (digits + padding) % 4 == 0) && padding <= 2;
}

bool a_base64_decode(struct a_view text, struct a_buf *b)
{
    uint32_t bits = 0;
    size_t digits = 0, i = 0;
    for (; i < text.len; i++) {
        int v = value_of(text.ptr[i]);
        if (v < 0 && is_space(text.ptr[i]))
            continue;
        if (v < 0)
            break;
        bits = bits << 6 | (uint32_t)v;
        digits++;
        if (digits % 4 != 1) /* 6, 12, 18, 24 bits are there: all but the first of four complete a byte */
            a_buf_add_char(b, (char)(bits >> (digits % 4 == 2 ? 4 : digits % 4 == 3 ? 2 : 0)));
    }
    return tail_ok(text, i, digits) && !b->failed;
}

void a_base64_encode(struct a_view bytes, struct a_buf *b)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < bytes.len; i += 3) {
        size_t n = A_MIN(bytes.len - i, 3);
        uint32_t bits = 0;
        for (size_t k = 0; k < 3; k++)
            bits = bits << 8 | (k < n ? (uint8_t)bytes.ptr[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            a_buf_add_char(b, k <= n ? digits[bits >> (18 - 6 * k) & 63] : '=');
    }
}
