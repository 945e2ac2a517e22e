#include "wire/number.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/assert.h"

#define NUMBER_MAX 400

bool wire_number_parse(struct a_view text, double *ret)
{
    if (text.len == 0 || text.len > NUMBER_MAX || memchr("-0123456789", text.ptr[0], 11) == NULL)
        return false;
    json_t *v = json_loadb(text.ptr, text.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, NULL);
    bool ok = json_is_real(v);
    if (ok)
        *ret = json_real_value(v);
    json_decref(v);
    return ok;
}

bool wire_number_same(double a, double b)
{
    return (isnan(a) && isnan(b)) || (a == b && !signbit(a) == !signbit(b));
}

static size_t digits_print(double d, int digits, char *out, size_t size)
{
    json_t *v = json_real(d);
    a_assert(v != NULL);
    size_t n = json_dumpb(v, out, size, JSON_ENCODE_ANY | JSON_REAL_PRECISION(digits));
    json_decref(v);
    a_assert(n > 0 && n <= size);
    return n;
}

void wire_number_print(struct a_buf *b, double d)
{
    char out[64];
    size_t n = 0;
    double back;
    a_assert(isfinite(d));
    for (int digits = 15; digits <= 17; digits++) {
        n = digits_print(d, digits, out, sizeof out);
        if (wire_number_parse((struct a_view){out, n}, &back) && wire_number_same(back, d))
            break;
    }
    a_buf_add(b, out, n);
}
