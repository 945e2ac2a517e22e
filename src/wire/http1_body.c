/* Bodies of HTTP/1 messages: where they end, and the chunked coding (RFC 9112, section 7.1) taken off. */
#include <string.h>

#include "base/assert.h"
#include "wire/http1.h"
#include "wire/http1_char.h"

enum {
    SIZE,      /* hex digits */
    BLANK,     /* blanks after them: only an extension may follow */
    EXTENSION, /* up to CR */
    SIZE_LF,
    DATA,
    DATA_CR,
    DATA_LF,
    TRAILER, /* first byte of a trailer's line, or the CR of the end */
    NAME,
    VALUE,
    TRAILER_LF,
    END_LF,
};

void wire_http_decoder_init(struct wire_http_decoder *d, const struct wire_http_head *h)
{
    *d = (struct wire_http_decoder){.kind = h->body};
    if (h->body == WIRE_HTTP_BODY_LENGTH)
        d->left = h->content_length;
    d->done = h->body == WIRE_HTTP_BODY_NONE;
}

static int broken(struct wire_http_decoder *d, const char *what)
{
    d->what = what;
    return WIRE_E_MALFORMED;
}

static int too_large(struct wire_http_decoder *d, const char *what)
{
    d->what = what;
    return WIRE_E_TOO_LARGE;
}

/* One byte of a chunk's size line. */
static int size_step(struct wire_http_decoder *d, char c)
{
    int hex = wire_char_hex(c);
    if (++d->line > WIRE_HTTP_CHUNK_LINE_MAX)
        return too_large(d, "a chunk's size line is too long");
    if (d->state == SIZE && hex >= 0) {
        if (++d->digits > 16 || d->left > INT64_MAX >> 4)
            return too_large(d, "a chunk's size is too large");
        d->left = d->left << 4 | (uint64_t)hex;
        return 0;
    }
    if (d->state == SIZE && d->digits == 0)
        return broken(d, "a chunk without a size");
    if (d->state != EXTENSION && c == ';') {
        d->state = EXTENSION;
    } else if (d->state != EXTENSION && (c == ' ' || c == '\t')) {
        d->state = BLANK;
    } else if (d->state != BLANK && c == '\r') {
        d->state = SIZE_LF;
    } else if (d->state != EXTENSION || !wire_char_is(c, WIRE_CHAR_VALUE)) {
        return broken(d, "bad character in a chunk's size line");
    }
    if (d->state == EXTENSION && ++d->extra > WIRE_HTTP_CHUNK_EXTRA_MAX)
        return too_large(d, "chunk extensions are too long");
    return 0;
}

/* One byte of the trailers. */
static int trailer_step(struct wire_http_decoder *d, char c)
{
    if (++d->trailers > WIRE_HTTP_TRAILERS_MAX)
        return too_large(d, "trailers are too long");
    if (d->state == TRAILER && c == '\r')
        d->state = END_LF;
    else if (d->state == VALUE && c == '\r')
        d->state = TRAILER_LF;
    else if (d->state == NAME && c == ':')
        d->state = VALUE;
    else if (d->state != VALUE && wire_char_is(c, WIRE_CHAR_TOKEN))
        d->state = NAME;
    else if (d->state != VALUE || !wire_char_is(c, WIRE_CHAR_VALUE))
        return broken(d, "broken trailer");
    return 0;
}

static void size_end(struct wire_http_decoder *d)
{
    d->state = d->left > 0 ? DATA : TRAILER;
    d->line = d->digits = 0;
}

/* One byte of the framing. */
static int framing_step(struct wire_http_decoder *d, char c)
{
    switch (d->state) {
    case SIZE:
    case BLANK:
    case EXTENSION:
        return size_step(d, c);
    case TRAILER:
    case NAME:
    case VALUE:
        return trailer_step(d, c);
    case DATA_CR:
        d->state = DATA_LF;
        return c == '\r' ? 0 : broken(d, "a chunk longer than its size");
    default:
        break;
    }
    if (c != '\n')
        return broken(d, "a bare CR");
    if (d->state == SIZE_LF) {
        size_end(d);
    } else if (d->state == DATA_LF) {
        d->state = SIZE;
    } else if (d->state == TRAILER_LF) {
        d->state = TRAILER;
        d->trailers++;
    } else {
        d->done = true;
    }
    return 0;
}

static int chunked_step(struct wire_http_decoder *d, struct a_view in, size_t *ret_used,
                        struct a_view *ret_data)
{
    size_t at = 0;
    while (at < in.len && !d->done) {
        if (d->state == DATA) {
            size_t n = (size_t)A_MIN(d->left, (uint64_t)(in.len - at));
            *ret_data = (struct a_view){in.ptr + at, n};
            *ret_used = at + n;
            d->left -= n;
            if (d->left == 0)
                d->state = DATA_CR;
            return 0;
        }
        int r = framing_step(d, in.ptr[at++]);
        if (r != 0)
            return r;
    }
    *ret_used = at;
    return d->done ? 0 : WIRE_E_MORE;
}

int wire_http_decoder_step(struct wire_http_decoder *d, struct a_view in, size_t *ret_used,
                           struct a_view *ret_data)
{
    *ret_used = 0;
    *ret_data = (struct a_view){"", 0};
    if (d->done)
        return 0;
    if (d->what != NULL)
        return WIRE_E_MALFORMED;
    if (d->kind == WIRE_HTTP_BODY_CHUNKED)
        return chunked_step(d, in, ret_used, ret_data);
    if (in.len == 0)
        return WIRE_E_MORE;
    size_t n = in.len;
    if (d->kind == WIRE_HTTP_BODY_LENGTH) {
        n = (size_t)A_MIN(d->left, (uint64_t)n);
        d->left -= n;
        d->done = d->left == 0;
    }
    *ret_used = n;
    *ret_data = (struct a_view){in.ptr, n};
    return 0;
}

int wire_http_decoder_eof(struct wire_http_decoder *d)
{
    if (d->kind == WIRE_HTTP_BODY_CLOSE || d->kind == WIRE_HTTP_BODY_TUNNEL)
        d->done = true;
    return d->done ? 0 : broken(d, "closed inside the body");
}

size_t wire_http_chunk_header(char out[WIRE_HTTP_CHUNK_HEADER_MAX], uint64_t len)
{
    static const char hex[] = "0123456789abcdef";
    a_assert(len > 0);
    size_t n = 0;
    for (int shift = 60; shift >= 0; shift -= 4)
        if (len >> shift != 0)
            out[n++] = hex[(len >> shift) & 15];
    out[n++] = '\r';
    out[n++] = '\n';
    return n;
}
