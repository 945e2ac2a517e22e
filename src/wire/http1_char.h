/* Classes of bytes in HTTP/1 (RFC 9110, 5.6; RFC 3986), one table look-up each. Private to this folder. */
#ifndef WIRE_HTTP1_CHAR_H
#define WIRE_HTTP1_CHAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

enum {
    WIRE_CHAR_TOKEN = 1,  /* of methods and header names */
    WIRE_CHAR_TARGET = 2, /* of request targets: visible ASCII without '#' */
    WIRE_CHAR_HOST = 4,   /* of host names: unreserved and sub-delimiters, neither ',' nor '%' */
    WIRE_CHAR_VALUE = 8,  /* of header values: visible, blank, tab, and bytes from 0x80 */
    WIRE_CHAR_DIGIT = 16,
    WIRE_CHAR_PLAIN = 32, /* unreserved of RFC 3986: never escaped in a URL */
};

extern const uint8_t wire_char_class[256];

static inline bool wire_char_is(char c, unsigned classes)
{
    return (wire_char_class[(uint8_t)c] & classes) != 0;
}

/* Every byte of a text that is not empty. */
static inline bool wire_chars_are(struct a_view v, unsigned classes)
{
    for (size_t i = 0; i < v.len; i++)
        if (!wire_char_is(v.ptr[i], classes))
            return false;
    return v.len > 0;
}

/* No control byte but tabs; eight bytes at a time. Empty is fine. */
bool wire_chars_are_value(struct a_view v);
/* 0..15, or -1. */
int wire_char_hex(char c);

#endif
