#include "wire/http1_char.h"

#include <string.h>

/* Sixteen bytes a row; the bits are those of the header: token 1, target 2, host 4, value 8, digit 16,
 * plain 32. */
/* clang-format off */
const uint8_t wire_char_class[256] = {
     0,  0,  0,  0,  0,  0,  0,  0,  0,  8,  0,  0,  0,  0,  0,  0,
     0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,  0,
     8, 15, 10,  9, 15, 11, 15, 15, 14, 14, 15, 15, 10, 47, 47, 10, /* blank to / */
    63, 63, 63, 63, 63, 63, 63, 63, 63, 63, 10, 14, 10, 14, 10, 10, /* 0 to ? */
    10, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, /* @ to O */
    47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 10, 10, 10, 11, 47, /* P to _ */
    11, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, /* ` to o */
    47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 47, 10, 11, 10, 47,  0, /* p to DEL */
     8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,
     8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,
     8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,
     8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,
     8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,
     8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,
     8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,
     8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,  8,
};
/* clang-format on */

#define EACH(byte) (UINT64_C(0x0101010101010101) * (byte))

bool wire_chars_are_value(struct a_view v)
{
    size_t i = 0;
    for (; i + 8 <= v.len; i += 8) {
        uint64_t x, del;
        memcpy(&x, v.ptr + i, 8);
        del = x ^ EACH(0x7f);
        /* some byte below 0x20, or a DEL: look closer, it may be a tab */
        if ((((x - EACH(0x20)) & ~x) | ((del - EACH(1)) & ~del)) & EACH(0x80))
            for (size_t k = i; k < i + 8; k++)
                if (!wire_char_is(v.ptr[k], WIRE_CHAR_VALUE))
                    return false;
    }
    for (; i < v.len; i++)
        if (!wire_char_is(v.ptr[i], WIRE_CHAR_VALUE))
            return false;
    return true;
}

int wire_char_hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}
