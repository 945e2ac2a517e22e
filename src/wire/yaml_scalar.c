#include "wire/yaml_scalar.h"

#include "base/text.h"
#include "wire/http1_char.h"
#include "wire/number.h"

static bool is_one_of(struct a_view v, const char *lower, const char *title, const char *upper)
{
    return a_view_is(v, lower) || a_view_is(v, title) || a_view_is(v, upper);
}

static struct a_view sign_skip(struct a_view v)
{
    bool sign = v.len > 0 && (v.ptr[0] == '+' || v.ptr[0] == '-');
    return sign ? (struct a_view){v.ptr + 1, v.len - 1} : v;
}

static size_t digits(struct a_view v, size_t at)
{
    size_t n = at;
    while (n < v.len && wire_char_is(v.ptr[n], WIRE_CHAR_DIGIT))
        n++;
    return n - at;
}

/* 0o17 and 0x1f, without a sign. */
static bool radix_parse(struct a_view v, uint64_t *ret, bool *ret_large)
{
    if (v.len < 3 || v.ptr[0] != '0' || (v.ptr[1] != 'x' && v.ptr[1] != 'o'))
        return false;
    unsigned bits = v.ptr[1] == 'x' ? 4 : 3;
    uint64_t x = 0;
    *ret_large = false;
    for (size_t i = 2; i < v.len; i++) {
        int digit = wire_char_hex(v.ptr[i]);
        if (digit < 0 || digit >> bits != 0)
            return false;
        *ret_large |= x >> (63 - bits) != 0;
        x = x << bits | (uint64_t)digit;
    }
    *ret = x;
    return true;
}

static enum wire_yaml_scalar_result int_resolve(struct a_view text, struct wire_value *ret)
{
    struct a_view v = text.ptr[0] == '+' ? sign_skip(text) : text;
    if (!a_text_i64(v, &ret->integer))
        return WIRE_YAML_SCALAR_LARGE;
    ret->type = WIRE_VALUE_INT;
    return WIRE_YAML_SCALAR_OK;
}

/* [-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )? -- rewritten as JSON writes it. */
static bool float_rewrite(struct a_view text, struct a_buf *out)
{
    struct a_view v = sign_skip(text);
    size_t whole = digits(v, 0), at = whole, fraction = 0, zeros = 0;
    if (at < v.len && v.ptr[at] == '.') {
        fraction = digits(v, ++at);
        at += fraction;
    }
    if (whole + fraction == 0)
        return false;
    while (zeros + 1 < whole && v.ptr[zeros] == '0')
        zeros++;
    if (text.ptr[0] == '-')
        a_buf_add_char(out, '-');
    a_buf_add(out, whole > 0 ? v.ptr + zeros : "0", whole > 0 ? whole - zeros : 1);
    a_buf_add_char(out, '.');
    a_buf_add(out, fraction > 0 ? v.ptr + at - fraction : "0", fraction > 0 ? fraction : 1);
    if (at == v.len)
        return true;
    if ((v.ptr[at] | 0x20) != 'e')
        return false;
    struct a_view exponent = {v.ptr + at + 1, v.len - at - 1}, bare = sign_skip(exponent);
    if (bare.len == 0 || digits(bare, 0) != bare.len)
        return false;
    a_buf_add_char(out, 'e');
    a_buf_add_view(out, exponent);
    return true;
}

static enum wire_yaml_scalar_result number_resolve(struct a_view text, struct wire_value *ret)
{
    A_BUF_AUTO struct a_buf json = {0};
    struct a_view v = sign_skip(text);
    uint64_t x;
    bool large;
    if (digits(v, 0) == v.len && v.len > 0)
        return int_resolve(text, ret);
    if (radix_parse(text, &x, &large)) {
        if (large)
            return WIRE_YAML_SCALAR_LARGE;
        ret->type = WIRE_VALUE_INT;
        ret->integer = (int64_t)x;
        return WIRE_YAML_SCALAR_OK;
    }
    if (is_one_of(v, ".inf", ".Inf", ".INF") || is_one_of(text, ".nan", ".NaN", ".NAN"))
        return WIRE_YAML_SCALAR_INFINITE;
    if (!float_rewrite(text, &json))
        return WIRE_YAML_SCALAR_OK; /* a text */
    if (json.failed || !wire_number_parse(a_buf_view(&json), &ret->number))
        return WIRE_YAML_SCALAR_LARGE;
    ret->type = WIRE_VALUE_DOUBLE;
    return WIRE_YAML_SCALAR_OK;
}

enum wire_yaml_scalar_result wire_yaml_scalar_resolve(struct a_view text, struct wire_value *ret)
{
    bool yes = is_one_of(text, "true", "True", "TRUE");
    if (text.len == 0 || a_view_is(text, "~") || is_one_of(text, "null", "Null", "NULL")) {
        ret->type = WIRE_VALUE_NULL;
        return WIRE_YAML_SCALAR_OK;
    }
    if (yes || is_one_of(text, "false", "False", "FALSE")) {
        ret->type = WIRE_VALUE_BOOL;
        ret->boolean = yes;
        return WIRE_YAML_SCALAR_OK;
    }
    ret->type = WIRE_VALUE_STRING;
    char c = text.ptr[0];
    if (wire_char_is(c, WIRE_CHAR_DIGIT) || c == '+' || c == '-' || c == '.')
        return number_resolve(text, ret);
    return WIRE_YAML_SCALAR_OK;
}
