#include "wire/url.h"

#include <string.h>

#include "base/text.h"
#include "wire/http1_char.h"

/* The byte that "%XX" at v.ptr[i] stands for, or -1. */
static int escape_read(struct a_view v, size_t i)
{
    if (v.len - i < 3)
        return -1;
    int high = wire_char_hex(v.ptr[i + 1]), low = wire_char_hex(v.ptr[i + 2]);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool wire_url_decode(struct a_view text, bool plus, struct a_arena *arena, struct a_view *ret)
{
    bool plain = text.len == 0 ||
                 (memchr(text.ptr, '%', text.len) == NULL && memchr(text.ptr, '\0', text.len) == NULL &&
                  (!plus || memchr(text.ptr, '+', text.len) == NULL));
    if (plain) {
        *ret = text;
        return true;
    }
    char *out = a_arena_try(arena, text.len + 1);
    size_t n = 0;
    if (out == NULL)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int c = (unsigned char)text.ptr[i];
        if (c == '%') {
            c = escape_read(text, i);
            i += 2;
        } else if (plus && c == '+') {
            c = ' ';
        }
        if (c <= 0)
            return false;
        out[n++] = (char)c;
    }
    *ret = (struct a_view){out, n};
    return true;
}

void wire_url_encode(struct a_buf *b, struct a_view text, bool slash)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (wire_char_is(c, WIRE_CHAR_PLAIN) || (slash && c == '/'))
            a_buf_add_char(b, c);
        else
            a_buf_addf(b, "%%%02X", (unsigned char)c);
    }
}

struct a_view wire_url_path(struct a_view target, struct a_view *ret_query)
{
    return a_view_split(target, '?', ret_query);
}

/* "." or "..", with any of the dots escaped. */
static bool segment_is_dots(struct a_view s)
{
    size_t dots = 0;
    for (size_t i = 0; i < s.len; dots++) {
        if (s.ptr[i] == '.')
            i++;
        else if (s.ptr[i] == '%' && escape_read(s, i) == '.')
            i += 3;
        else
            return false;
    }
    return dots == 1 || dots == 2;
}

bool wire_url_path_is_plain(struct a_view path)
{
    if (path.len == 0 || path.ptr[0] != '/')
        return false;
    for (size_t i = 0; i < path.len; i++) {
        char c = path.ptr[i];
        int code = c == '%' ? escape_read(path, i) : (unsigned char)c;
        if (!wire_char_is(c, WIRE_CHAR_TARGET) || c == '?' || code <= 0 || code == '\\' ||
            (c == '%' && code == '/'))
            return false;
    }
    for (struct a_view rest = path, segment; rest.len > 0;) {
        segment = a_view_split(rest, '/', &rest);
        if (segment_is_dots(segment))
            return false;
    }
    return true;
}

bool wire_url_segment(struct a_view *path, struct a_view *ret)
{
    if (path->len == 0 || path->ptr[0] != '/')
        return false;
    struct a_view rest = {path->ptr + 1, path->len - 1};
    const char *slash = rest.len > 0 ? memchr(rest.ptr, '/', rest.len) : NULL;
    size_t n = slash != NULL ? (size_t)(slash - rest.ptr) : rest.len;
    *ret = (struct a_view){rest.ptr, n};
    *path = (struct a_view){rest.ptr + n, rest.len - n};
    return true;
}

bool wire_url_prefix_covers(struct a_view prefix, struct a_view path)
{
    while (prefix.len > 0 && prefix.ptr[prefix.len - 1] == '/')
        prefix.len--;
    if (prefix.len > path.len || (prefix.len > 0 && memcmp(prefix.ptr, path.ptr, prefix.len) != 0))
        return false;
    return prefix.len == path.len || path.ptr[prefix.len] == '/' || path.ptr[prefix.len] == '?';
}

bool wire_url_query_next(struct a_view *query, struct a_view *ret_name, struct a_view *ret_value)
{
    while (query->len > 0) {
        struct a_view pair = a_view_split(*query, '&', query);
        if (pair.len == 0)
            continue;
        *ret_name = a_view_split(pair, '=', ret_value);
        return true;
    }
    return false;
}

bool wire_url_query_get(struct a_view query, const char *name, struct a_arena *arena, struct a_view *ret)
{
    struct a_view key, value, decoded;
    while (wire_url_query_next(&query, &key, &value))
        if (wire_url_decode(key, true, arena, &decoded) && a_view_is(decoded, name))
            return wire_url_decode(value, true, arena, ret);
    return false;
}

/* An IPv6 address in brackets: its characters, not its grammar; whoever dials it finds out. */
static bool is_ipv6(struct a_view host)
{
    bool colon = false;
    for (size_t i = 0; i < host.len; i++) {
        colon |= host.ptr[i] == ':';
        if (host.ptr[i] != ':' && host.ptr[i] != '.' && wire_char_hex(host.ptr[i]) < 0)
            return false;
    }
    return colon && host.len <= 45;
}

static bool port_parse(struct a_view text, uint16_t *ret)
{
    uint64_t port;
    if (text.len > 5 || !a_text_u64(text, &port) || port > UINT16_MAX)
        return false;
    *ret = (uint16_t)port;
    return true;
}

bool wire_url_host_port(struct a_view text, uint16_t default_port, struct a_view *ret_host,
                        uint16_t *ret_port)
{
    struct a_view host, rest;
    if (text.len > 0 && text.ptr[0] == '[') {
        host = a_view_split((struct a_view){text.ptr + 1, text.len - 1}, ']', &rest);
        if (host.len + 2 > text.len || !is_ipv6(host))
            return false;
    } else {
        const char *colon = text.len > 0 ? memchr(text.ptr, ':', text.len) : NULL;
        host = (struct a_view){text.ptr, colon != NULL ? (size_t)(colon - text.ptr) : text.len};
        rest = (struct a_view){text.ptr + host.len, text.len - host.len};
        if (!wire_chars_are(host, WIRE_CHAR_HOST) || host.len > 255)
            return false;
    }
    uint16_t port = default_port;
    if (rest.len > 0 &&
        (rest.ptr[0] != ':' || !port_parse((struct a_view){rest.ptr + 1, rest.len - 1}, &port)))
        return false;
    *ret_host = host;
    *ret_port = port;
    return true;
}

bool wire_url_parse(struct a_view text, struct wire_url *ret)
{
    struct wire_url url = {0};
    if (a_view_starts(text, "https://"))
        url.tls = true;
    else if (!a_view_starts(text, "http://"))
        return false;
    size_t scheme = url.tls ? 8 : 7;
    struct a_view rest = {text.ptr + scheme, text.len - scheme};
    const char *slash = rest.len > 0 ? memchr(rest.ptr, '/', rest.len) : NULL;
    size_t n = slash != NULL ? (size_t)(slash - rest.ptr) : rest.len;
    if (!wire_url_host_port((struct a_view){rest.ptr, n}, url.tls ? 443 : 80, &url.host, &url.port))
        return false;
    url.path = n < rest.len ? (struct a_view){rest.ptr + n, rest.len - n} : A_VIEW_LIT("/");
    if (!wire_chars_are(url.path, WIRE_CHAR_TARGET))
        return false;
    *ret = url;
    return true;
}
