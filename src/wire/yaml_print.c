/* Value trees as YAML in block style, for people: plain where no reader, of YAML 1.1 or 1.2, takes it for
 * something else than text. */
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "wire/http1_char.h"
#include "wire/number.h"
#include "wire/value.h"
#include "wire/yaml_scalar.h"

static bool is_letter(char c)
{
    return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

/* Words that YAML 1.1 reads as true or false. */
static bool is_switch(struct a_view v)
{
    static const char *const words[] = {"y", "n", "yes", "no", "on", "off"};
    for (size_t i = 0; i < A_ARRAY_SIZE(words); i++)
        if (a_view_is_nocase(v, words[i]))
            return true;
    return false;
}

/* 2Gi, 30s, 3.11.2: begins with a digit and yet is no number or date to anybody. */
static bool is_quantity(struct a_view v)
{
    size_t letters = 0, dots = 0;
    for (size_t i = 0; i < v.len; i++) {
        letters += is_letter(v.ptr[i]) && (v.ptr[i] | 0x20) != 'e' && (v.ptr[i] | 0x20) != 'x';
        dots += v.ptr[i] == '.';
        if (!is_letter(v.ptr[i]) && v.ptr[i] != '.' && !wire_char_is(v.ptr[i], WIRE_CHAR_DIGIT))
            return false;
    }
    bool binary = v.len > 1 && v.ptr[0] == '0' && is_letter(v.ptr[1]);
    return (letters > 0 || dots > 1) && !binary;
}

static bool is_plain(struct a_view v)
{
    struct wire_value resolved = {0};
    if (v.len == 0 || is_switch(v) || v.ptr[v.len - 1] == ' ' || v.ptr[v.len - 1] == ':')
        return false;
    if (wire_yaml_scalar_resolve(v, &resolved) != WIRE_YAML_SCALAR_OK || resolved.type != WIRE_VALUE_STRING)
        return false;
    char c = v.ptr[0];
    if (wire_char_is(c, WIRE_CHAR_DIGIT))
        return is_quantity(v);
    if (!is_letter(c) && c != '_' && c != '/')
        return false;
    for (size_t i = 0; i < v.len; i++) {
        if (!is_letter(v.ptr[i]) && !wire_char_is(v.ptr[i], WIRE_CHAR_DIGIT) &&
            (v.ptr[i] == '\0' || strchr("_./@%+=:~- ()", v.ptr[i]) == NULL))
            return false;
        if (v.ptr[i] == ':' && v.ptr[i + 1] == ' ')
            return false;
    }
    return true;
}

/* The UTF-8 sequences of characters that YAML wants escaped: C1 controls, line separators, U+FEFF, U+FFFE,
 * U+FFFF. Returns the sequence's length and the character, or 0. */
static size_t special_at(struct a_view v, size_t i, unsigned *ret)
{
    const unsigned char *p = (const unsigned char *)v.ptr + i;
    size_t left = v.len - i;
    if (left >= 2 && p[0] == 0xc2 && p[1] < 0xa0) {
        *ret = p[1];
        return 2;
    }
    if (left < 3 || (p[0] != 0xe2 && p[0] != 0xef))
        return 0;
    *ret = (unsigned)(p[0] & 0x0f) << 12 | (unsigned)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    return *ret == 0x2028 || *ret == 0x2029 || *ret == 0xfeff || *ret == 0xfffe || *ret == 0xffff ? 3 : 0;
}

static void quoted_print(struct a_buf *b, struct a_view v)
{
    A_BUF_AUTO struct a_buf json = {0};
    unsigned c;
    a_text_print_json(&json, v);
    struct a_view text = a_buf_view(&json);
    for (size_t i = 0, n; i < text.len; i += n) {
        n = special_at(text, i, &c);
        if (n > 0)
            a_buf_addf(b, "\\u%04x", c);
        else
            a_buf_add(b, text.ptr + i, n = 1);
    }
}

static bool is_literal(struct a_view v)
{
    A_BUF_AUTO struct a_buf json = {0};
    unsigned c;
    size_t lines = 0;
    if (v.len < 2 || v.ptr[0] == '\n' || v.ptr[0] == ' ')
        return false;
    for (size_t i = 0; i < v.len; i++) {
        lines += v.ptr[i] == '\n';
        if (((unsigned char)v.ptr[i] < 0x20 && v.ptr[i] != '\n') || v.ptr[i] == 0x7f ||
            special_at(v, i, &c) > 0)
            return false;
    }
    /* bytes that are not UTF-8 become U+FFFD between quotes */
    a_text_print_json(&json, v);
    return lines > 0 && (strstr(json.ptr, "\xef\xbf\xbd") == NULL);
}

static void indent(struct a_buf *b, unsigned columns)
{
    for (unsigned i = 0; i < columns; i++)
        a_buf_add_char(b, ' ');
}

static void literal_print(struct a_buf *b, struct a_view v, unsigned columns)
{
    size_t ends = 0;
    while (ends < v.len && v.ptr[v.len - 1 - ends] == '\n')
        ends++;
    a_buf_add_str(b, ends == 0 ? "|-\n" : ends == 1 ? "|\n" : "|+\n");
    if (ends > 0)
        v.len--; /* the last line's end is written by the caller */
    for (struct a_view rest = v, line;;) {
        bool last = rest.len == 0 || memchr(rest.ptr, '\n', rest.len) == NULL;
        line = a_view_split(rest, '\n', &rest);
        if (line.len > 0)
            indent(b, columns);
        a_buf_add_view(b, line);
        if (last)
            return;
        a_buf_add_char(b, '\n');
    }
}

static void scalar_print(struct a_buf *b, const struct wire_value *v, unsigned columns)
{
    if (v->type != WIRE_VALUE_STRING) {
        wire_json_print(b, v, 0);
        return;
    }
    if (is_plain(v->string))
        a_buf_add_view(b, v->string);
    else if (is_literal(v->string))
        literal_print(b, v->string, columns);
    else
        quoted_print(b, v->string);
}

static void block_print(struct a_buf *b, const struct wire_value *v, unsigned columns);

static bool is_block(const struct wire_value *v)
{
    return wire_value_count(v) > 0;
}

/* A key that is read without a mark in front of it has at most 1,024 characters. */
#define KEY_MAX 1000

static void member_print(struct a_buf *b, const struct wire_value *v, unsigned columns)
{
    A_BUF_AUTO struct a_buf key = {0};
    if (is_plain(v->key))
        a_buf_add_view(&key, v->key);
    else
        quoted_print(&key, v->key);
    if (key.len > KEY_MAX) {
        a_buf_add_str(b, "? ");
        a_buf_add_view(b, a_buf_view(&key));
        a_buf_add_char(b, '\n');
        indent(b, columns);
    } else {
        a_buf_add_view(b, a_buf_view(&key));
    }
    a_buf_add_char(b, ':');
    if (is_block(v)) {
        a_buf_add_char(b, '\n');
        indent(b, columns + 2);
        block_print(b, v, columns + 2);
    } else {
        a_buf_add_char(b, ' ');
        scalar_print(b, v, columns + 2);
        a_buf_add_char(b, '\n');
    }
}

/* The cursor is at `columns` already. */
static void block_print(struct a_buf *b, const struct wire_value *v, unsigned columns)
{
    wire_value_foreach(it, v)
    {
        if (it != wire_value_first(v))
            indent(b, columns);
        if (v->type == WIRE_VALUE_OBJECT) {
            member_print(b, it, columns);
            continue;
        }
        a_buf_add_str(b, "- ");
        if (is_block(it)) {
            block_print(b, it, columns + 2);
        } else {
            scalar_print(b, it, columns + 2);
            a_buf_add_char(b, '\n');
        }
    }
}

void wire_yaml_print(struct a_buf *b, const struct wire_value *v)
{
    if (is_block(v)) {
        block_print(b, v, 0);
        return;
    }
    scalar_print(b, v, 2);
    a_buf_add_char(b, '\n');
}
