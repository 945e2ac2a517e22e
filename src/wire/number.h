/* Doubles as text without the locale: strtod and printf follow the process's locale, and this code runs
 * inside other people's processes. jansson undoes the locale around both; so the one piece of JSON that is a
 * number goes through it. Private to this folder. */
#ifndef WIRE_NUMBER_H
#define WIRE_NUMBER_H

#include <stdbool.h>

#include "base/buf.h"

/* A JSON number (RFC 8259, section 6), at most 400 characters. False on anything else and on overflow. */
bool wire_number_parse(struct a_view text, double *ret) A_MUST_CHECK;
/* The fewest digits that read back the same; always with '.' or an exponent, so that it stays a double. `d`
 * is finite. */
void wire_number_print(struct a_buf *b, double d);
/* The same value and sign: 0.0 and -0.0 differ, NaN is NaN. */
bool wire_number_same(double a, double b);

#endif
