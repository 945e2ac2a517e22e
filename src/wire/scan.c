#include "wire/scan.h"

#include <string.h>

#include "base/assert.h"

#define DEPTH_MAX 64

void wire_scan_init(struct wire_scan *s, struct a_view text)
{
    *s = (struct wire_scan){.at = text.ptr, .end = text.ptr + text.len};
    if (text.len == 0)
        s->failed = true;
}

/* Nothing is read after a failure: there is nothing left. */
static bool scan_fail(struct wire_scan *s)
{
    s->failed = true;
    s->at = s->end;
    return false;
}

/* The next byte that is not white space; 0 at the end. */
static char next_byte(struct wire_scan *s)
{
    while (s->at < s->end && (*s->at == ' ' || *s->at == '\n' || *s->at == '\r' || *s->at == '\t'))
        s->at++;
    return s->at < s->end ? *s->at : '\0';
}

/* ---- scalars ---- */

#define BYTES(x) (UINT64_C(0x0101010101010101) * (x))

/* Whether one of eight bytes is a quote, a backslash or a control character (Hacker's Delight, 6-1); may say
 * so of one that follows such a byte. */
static bool eight_are_special(const char *at)
{
    uint64_t x;
    memcpy(&x, at, sizeof x);
    uint64_t quote = x ^ BYTES('"'), escape = x ^ BYTES('\\');
    return (((quote - BYTES(1)) & ~quote) | ((escape - BYTES(1)) & ~escape) | ((x - BYTES(0x20)) & ~x)) &
           BYTES(0x80);
}

static int hex_of(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Four digits at `at`, or -1. */
static int32_t unicode_of(const char *at, const char *end)
{
    int32_t code = 0;
    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_of(at[i]);
        if (digit < 0)
            return -1;
        code = code << 4 | digit;
    }
    return code;
}

/* The bytes of an escape that begins at the backslash, or 0. */
static size_t escape_len(const char *at, const char *end)
{
    if (end - at < 2)
        return 0;
    if (at[1] == 'u')
        return unicode_of(at + 2, end) >= 0 ? 6 : 0;
    return strchr("\"\\/bfnrt", at[1]) != NULL && at[1] != '\0' ? 2 : 0;
}

/* Moves past a text; *ret is what stands between its quotes. */
static bool text_pass(struct wire_scan *s, struct a_view *ret, bool *ret_escaped)
{
    const char *from, *at = s->at;
    bool escaped = false;
    if (next_byte(s) != '"')
        return scan_fail(s);
    for (from = at = s->at + 1; at < s->end && *at != '"';) {
        if (s->end - at >= 8 && !eight_are_special(at)) {
            at += 8;
            continue;
        }
        size_t n = *at == '\\' ? escape_len(at, s->end) : (unsigned char)*at >= 0x20;
        if (n == 0)
            return scan_fail(s);
        escaped = escaped || *at == '\\';
        at += n;
    }
    if (at >= s->end)
        return scan_fail(s);
    s->at = at + 1;
    *ret = (struct a_view){from, (size_t)(at - from)};
    *ret_escaped = escaped;
    return true;
}

static void digits_pass(struct wire_scan *s)
{
    const char *from = s->at;
    while (s->at < s->end && *s->at >= '0' && *s->at <= '9')
        s->at++;
    if (s->at == from)
        scan_fail(s);
}

static void number_pass(struct wire_scan *s)
{
    if (*s->at == '-')
        s->at++;
    if (s->at < s->end && *s->at == '0')
        s->at++;
    else
        digits_pass(s);
    if (s->at < s->end && *s->at == '.') {
        s->at++;
        digits_pass(s);
    }
    if (s->at < s->end && (*s->at | 0x20) == 'e') {
        s->at++;
        if (s->at < s->end && (*s->at == '+' || *s->at == '-'))
            s->at++;
        digits_pass(s);
    }
}

static void word_pass(struct wire_scan *s, const char *word)
{
    size_t n = strlen(word);
    if ((size_t)(s->end - s->at) < n || memcmp(s->at, word, n) != 0)
        scan_fail(s);
    else
        s->at += n;
}

static void scalar_pass(struct wire_scan *s)
{
    struct a_view text;
    bool escaped;
    switch (next_byte(s)) {
    case '"':
        (void)text_pass(s, &text, &escaped);
        return;
    case 't':
        word_pass(s, "true");
        return;
    case 'f':
        word_pass(s, "false");
        return;
    case 'n':
        word_pass(s, "null");
        return;
    case '\0':
        scan_fail(s);
        return;
    default:
        number_pass(s);
    }
}

/* ---- containers ---- */

static bool in_object(const struct wire_scan *s)
{
    return (s->objects >> (s->depth - 1) & 1) != 0;
}

static bool container_open(struct wire_scan *s, bool object)
{
    if (s->depth == DEPTH_MAX)
        return scan_fail(s);
    s->at++;
    s->objects = (s->objects & ~(UINT64_C(1) << s->depth)) | (uint64_t)object << s->depth;
    s->depth++;
    s->fresh = true;
    return true;
}

/* To the next member or item of the innermost container; false when it ended, which leaves it, or after a
 * failure. */
static bool child_next(struct wire_scan *s, struct a_view *ret_key)
{
    bool escaped, object = in_object(s);
    char c = next_byte(s);
    if (c == (object ? '}' : ']')) {
        s->at++;
        s->depth--;
        s->fresh = false;
        return false;
    }
    if (!s->fresh && c != ',')
        return scan_fail(s);
    s->at += !s->fresh;
    s->fresh = false;
    if (!object)
        return true;
    if (!text_pass(s, ret_key, &escaped))
        return false;
    if (next_byte(s) != ':')
        return scan_fail(s);
    s->at++;
    return true;
}

enum wire_value_type wire_scan_type(struct wire_scan *s)
{
    switch (next_byte(s)) {
    case '{':
        return WIRE_VALUE_OBJECT;
    case '[':
        return WIRE_VALUE_ARRAY;
    case '"':
        return WIRE_VALUE_STRING;
    case 't':
    case 'f':
        return WIRE_VALUE_BOOL;
    case '-':
    case '0' ... '9':
        return WIRE_VALUE_DOUBLE;
    default:
        return WIRE_VALUE_NULL;
    }
}

bool wire_scan_enter(struct wire_scan *s, enum wire_value_type type)
{
    char c = next_byte(s);
    if (c == (type == WIRE_VALUE_OBJECT ? '{' : '['))
        return container_open(s, c == '{');
    if (c == 'n')
        word_pass(s, "null");
    else
        scan_fail(s);
    return false;
}

bool wire_scan_member(struct wire_scan *s, struct a_view *ret_key)
{
    if (s->failed)
        return false;
    a_assert(s->depth > 0 && in_object(s));
    return child_next(s, ret_key);
}

bool wire_scan_item(struct wire_scan *s)
{
    if (s->failed)
        return false;
    a_assert(s->depth > 0 && !in_object(s));
    return child_next(s, NULL);
}

void wire_scan_skip(struct wire_scan *s)
{
    unsigned outside = s->depth;
    struct a_view key;
    do {
        char c = next_byte(s);
        if (c == '{' || c == '[')
            (void)container_open(s, c == '{');
        else
            scalar_pass(s);
        while (!s->failed && s->depth > outside && !child_next(s, &key))
            ; /* each turn left a container */
    } while (!s->failed && s->depth > outside);
}

struct a_view wire_scan_raw(struct wire_scan *s)
{
    (void)next_byte(s);
    const char *from = s->at;
    wire_scan_skip(s);
    return s->failed ? (struct a_view){"", 0} : (struct a_view){from, (size_t)(s->at - from)};
}

/* ---- values ---- */

static void utf8_add(struct a_buf *b, uint32_t code)
{
    if (code < 0x80) {
        a_buf_add_char(b, (char)code);
    } else if (code < 0x800) {
        a_buf_add_char(b, (char)(0xc0 | code >> 6));
        a_buf_add_char(b, (char)(0x80 | (code & 0x3f)));
    } else {
        if (code >= 0x10000)
            a_buf_add_char(b, (char)(0xf0 | code >> 18));
        a_buf_add_char(b, (char)(code >= 0x10000 ? 0x80 | (code >> 12 & 0x3f) : 0xe0 | code >> 12));
        a_buf_add_char(b, (char)(0x80 | (code >> 6 & 0x3f)));
        a_buf_add_char(b, (char)(0x80 | (code & 0x3f)));
    }
}

static bool is_high(int32_t code)
{
    return code >= 0xd800 && code < 0xdc00;
}

static bool is_low(int32_t code)
{
    return code >= 0xdc00 && code < 0xe000;
}

/* The escape \uXXXX at `at`, with the low surrogate that may follow; the bytes of both, 0 for \u0000. */
static size_t unicode_add(struct a_buf *b, const char *at, const char *end)
{
    int32_t code = unicode_of(at + 2, end), low;
    if (is_high(code) && end - at >= 12 && at[6] == '\\' && at[7] == 'u') {
        low = unicode_of(at + 8, end);
        if (is_low(low)) {
            utf8_add(b, 0x10000u + ((uint32_t)(code - 0xd800) << 10) + (uint32_t)(low - 0xdc00));
            return 12;
        }
    }
    utf8_add(b, is_high(code) || is_low(code) ? 0xfffd : (uint32_t)code);
    return code == 0 ? 0 : 6;
}

static bool text_unescape(struct a_view text, struct a_buf *b)
{
    static const char plain[] = "\"\\/bfnrt", meant[] = "\"\\/\b\f\n\r\t";
    const char *end = text.ptr + text.len;
    for (const char *at = text.ptr; at < end;) {
        size_t n = 2;
        if (*at != '\\')
            a_buf_add(b, at, n = 1);
        else if (at[1] == 'u')
            n = unicode_add(b, at, end);
        else
            a_buf_add_char(b, meant[strchr(plain, at[1]) - plain]);
        if (n == 0)
            return false;
        at += n;
    }
    return !b->failed;
}

struct a_view wire_scan_string(struct wire_scan *s, struct a_buf *room)
{
    struct a_view text = {"", 0};
    bool escaped;
    if (next_byte(s) == 'n') {
        word_pass(s, "null");
        return text;
    }
    if (!text_pass(s, &text, &escaped))
        return (struct a_view){"", 0};
    if (!escaped)
        return text;
    size_t from = room->len;
    if (!text_unescape(text, room)) {
        scan_fail(s);
        return (struct a_view){"", 0};
    }
    return (struct a_view){room->ptr + from, room->len - from};
}

int64_t wire_scan_int(struct wire_scan *s)
{
    int64_t i = 0;
    bool negative = false;
    char c = next_byte(s);
    if (c == 'n') {
        word_pass(s, "null");
        return 0;
    }
    if (c == '-') {
        negative = true;
        s->at++;
    }
    const char *from = s->at;
    for (; s->at < s->end && *s->at >= '0' && *s->at <= '9'; s->at++) {
        int64_t digit = negative ? -(*s->at - '0') : *s->at - '0';
        if (__builtin_mul_overflow(i, 10, &i) || __builtin_add_overflow(i, digit, &i))
            return scan_fail(s);
    }
    bool more = s->at < s->end && (*s->at == '.' || (*s->at | 0x20) == 'e');
    if (s->at == from || more || (*from == '0' && s->at > from + 1))
        return scan_fail(s);
    return i;
}

bool wire_scan_bool(struct wire_scan *s)
{
    char c = next_byte(s);
    word_pass(s, c == 't' ? "true" : c == 'f' ? "false" : "null");
    return c == 't' && !s->failed;
}

bool wire_scan_end(struct wire_scan *s)
{
    return !s->failed && s->depth == 0 && next_byte(s) == '\0' && s->at == s->end;
}
