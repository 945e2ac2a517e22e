/* Heads of HTTP/1 messages. First the end of the head is looked for, line by line with memchr, remembering
 * how far it got; when it is there, the lines are parsed once, in order. An error found while looking gives
 * way to one of the first line, so that the answer does not depend on how the bytes were cut into reads. */
#include "wire/http1.h"

#include <string.h>

#include "base/text.h"
#include "wire/http1_char.h"
#include "wire/url.h"

#define METHOD_MAX 32
#define HEADERS_DEFAULT 100

static int fail(struct wire_http_error *e, int code, unsigned status, const char *what)
{
    if (e != NULL)
        *e = (struct wire_http_error){status, what};
    return code;
}

static int bad(struct wire_http_error *e, const char *what)
{
    return fail(e, WIRE_E_MALFORMED, 400, what);
}

/* ---- first lines ---- */

static int version_parse(struct a_view v, uint8_t *ret_minor, struct wire_http_error *e)
{
    if (v.len != 8 || memcmp(v.ptr, "HTTP/", 5) != 0 || !wire_char_is(v.ptr[5], WIRE_CHAR_DIGIT) ||
        v.ptr[6] != '.' || !wire_char_is(v.ptr[7], WIRE_CHAR_DIGIT))
        return bad(e, "no HTTP version");
    if (v.ptr[5] != '1')
        return fail(e, WIRE_E_UNSUPPORTED, 505, "not HTTP/1");
    *ret_minor = v.ptr[7] != '0';
    return 0;
}

/* http://authority/path: a client that takes us for a proxy. */
static int absolute_parse(struct a_view target, struct wire_http_head *h, struct wire_http_error *e)
{
    struct wire_url url;
    if (!wire_url_parse(target, &url))
        return bad(e, "not a target that can be served");
    size_t scheme = url.tls ? 8 : 7;
    struct a_view rest = {target.ptr + scheme, target.len - scheme};
    const char *slash = memchr(rest.ptr, '/', rest.len);
    h->authority = (struct a_view){rest.ptr, slash != NULL ? (size_t)(slash - rest.ptr) : rest.len};
    h->path = url.path;
    return 0;
}

static int target_parse(struct wire_http_head *h, struct wire_http_error *e)
{
    struct a_view target = h->target, host;
    uint16_t port;
    if (!wire_chars_are(target, WIRE_CHAR_TARGET))
        return bad(e, "bad character in the target");
    if (h->method == WIRE_HTTP_CONNECT) {
        h->authority = target;
        bool has_port = memchr(target.ptr, ':', target.len) != NULL;
        if (!has_port || !wire_url_host_port(target, 0, &host, &port) || port == 0)
            return bad(e, "CONNECT wants host:port");
        return 0;
    }
    if (target.ptr[0] == '/' || (h->method == WIRE_HTTP_OPTIONS && a_view_is(target, "*"))) {
        h->path = target;
        return 0;
    }
    return absolute_parse(target, h, e);
}

static int request_line_parse(struct a_view line, struct wire_http_head *h, struct wire_http_error *e)
{
    size_t n = 0;
    while (n < line.len && wire_char_is(line.ptr[n], WIRE_CHAR_TOKEN))
        n++;
    if (n == 0 || n > METHOD_MAX || n == line.len || line.ptr[n] != ' ')
        return bad(e, "no method");
    h->method_text = (struct a_view){line.ptr, n};
    h->method = wire_http_method_parse(h->method_text);
    const char *last = memrchr(line.ptr, ' ', line.len);
    size_t target_end = (size_t)(last - line.ptr);
    if (target_end <= n + 1)
        return bad(e, "no target, or no version");
    h->target = (struct a_view){line.ptr + n + 1, target_end - n - 1};
    int r = version_parse((struct a_view){last + 1, line.len - target_end - 1}, &h->minor, e);
    return r != 0 ? r : target_parse(h, e);
}

static int status_line_parse(struct a_view line, struct wire_http_head *h, struct wire_http_error *e)
{
    uint64_t status;
    if (line.len < 12 || line.ptr[8] != ' ')
        return bad(e, "no status line");
    int r = version_parse((struct a_view){line.ptr, 8}, &h->minor, e);
    if (r != 0)
        return r;
    if (!a_text_u64((struct a_view){line.ptr + 9, 3}, &status) || status < 100 || status > 599)
        return bad(e, "no status from 100 to 599");
    if (line.len > 12 && line.ptr[12] != ' ')
        return bad(e, "no status line");
    h->status = (unsigned)status;
    h->reason = line.len > 13 ? (struct a_view){line.ptr + 13, line.len - 13} : (struct a_view){"", 0};
    return wire_chars_are_value(h->reason) ? 0 : bad(e, "control byte in the reason");
}

static int first_line_parse(struct a_view line, struct wire_http_head *h, struct wire_http_error *e)
{
    return h->response ? status_line_parse(line, h, e) : request_line_parse(line, h, e);
}

/* ---- the end of the head ---- */

static struct wire_http_limits limits_of(const struct wire_http_parser *p)
{
    struct wire_http_limits l = p->limits;
    if (l.head_bytes == 0)
        l.head_bytes = WIRE_HTTP_HEAD_MAX;
    if (l.line_bytes == 0 || l.line_bytes > l.head_bytes)
        l.line_bytes = l.head_bytes;
    if (l.headers == 0)
        l.headers = HEADERS_DEFAULT;
    l.headers = A_MIN(l.headers, (unsigned)WIRE_HTTP_HEADERS_MAX);
    return l;
}

/* RFC 9112, 2.2: one empty line in front of a request is skipped; old clients end a body so. */
static int start_skip(struct wire_http_parser *p, struct a_view in, bool response)
{
    if (response || p->scanned > 0 || in.len == 0 || in.ptr[0] != '\r')
        return 0;
    if (in.len == 1)
        return WIRE_E_MORE;
    if (in.ptr[1] == '\n')
        p->start = p->line = p->scanned = 2;
    return 0;
}

/* Called at the LF of each line. 0: go on; WIRE_E_UNKNOWN: it was the blank line. */
static int line_end(struct wire_http_parser *p, const struct wire_http_limits *l, struct a_view in, size_t lf,
                    struct wire_http_error *e)
{
    if (lf == p->line || in.ptr[lf - 1] != '\r')
        return bad(e, "line ends with a bare LF");
    bool blank = lf - p->line == 1;
    if (blank)
        return p->lines == 0 ? bad(e, "empty first line") : WIRE_E_UNKNOWN;
    if (p->lines == 0 && lf + 1 - p->start > l->line_bytes)
        return fail(e, WIRE_E_TOO_LARGE, 414, "first line too long");
    if (p->lines > l->headers)
        return fail(e, WIRE_E_TOO_LARGE, 431, "too many headers");
    if (p->lines == 0)
        p->first = lf - 1;
    p->lines++;
    p->line = p->scanned = lf + 1;
    return 0;
}

static int head_scan(struct wire_http_parser *p, struct a_view in, size_t *ret_end, struct wire_http_error *e)
{
    struct wire_http_limits l = limits_of(p);
    size_t window = A_MIN(in.len, p->start + l.head_bytes);
    while (p->scanned < window) {
        const char *at = memchr(in.ptr + p->scanned, '\n', window - p->scanned);
        if (at == NULL) {
            p->scanned = window;
            break;
        }
        size_t lf = (size_t)(at - in.ptr);
        int r = line_end(p, &l, in, lf, e);
        if (r == WIRE_E_UNKNOWN) {
            *ret_end = lf + 1;
            return 0;
        }
        if (r != 0)
            return r;
    }
    if (p->lines == 0 && window - p->start >= l.line_bytes)
        return fail(e, WIRE_E_TOO_LARGE, 414, "first line too long");
    if (window - p->start >= l.head_bytes)
        return fail(e, WIRE_E_TOO_LARGE, 431, "headers too large");
    return WIRE_E_MORE;
}

/* ---- headers ---- */

/* What the headers say about framing, gathered while they are parsed. */
struct facts {
    const struct wire_http_header *host, *length, *coding, *upgrade, *expect;
    bool close, keep_alive, connection_upgrade;
};

static int header_line_parse(struct a_view line, struct wire_http_header *h, struct wire_http_error *e)
{
    size_t n = 0;
    while (n < line.len && wire_char_is(line.ptr[n], WIRE_CHAR_TOKEN))
        n++;
    if (n == 0 && line.len > 0 && (line.ptr[0] == ' ' || line.ptr[0] == '\t'))
        return bad(e, "folded header");
    if (n < line.len && (line.ptr[n] == ' ' || line.ptr[n] == '\t'))
        return bad(e, "space before the colon of a header");
    if (n == 0 || n == line.len || line.ptr[n] != ':')
        return bad(e, "no header name");
    h->name = (struct a_view){line.ptr, n};
    h->value = a_view_trim((struct a_view){line.ptr + n + 1, line.len - n - 1});
    if (!wire_chars_are_value(h->value))
        return bad(e, "control byte in a header");
    h->known = wire_http_known_find(h->name);
    return 0;
}

static int once(const struct wire_http_header **slot, const struct wire_http_header *h,
                struct wire_http_error *e, const char *what)
{
    if (*slot != NULL)
        return bad(e, what);
    *slot = h;
    return 0;
}

static int header_note(struct facts *f, const struct wire_http_header *h, struct wire_http_error *e)
{
    switch (h->known) {
    case WIRE_HTTP_H_HOST:
        return once(&f->host, h, e, "two Host headers");
    case WIRE_HTTP_H_CONTENT_LENGTH:
        return once(&f->length, h, e, "two Content-Length headers");
    case WIRE_HTTP_H_TRANSFER_ENCODING:
        return once(&f->coding, h, e, "two Transfer-Encoding headers");
    case WIRE_HTTP_H_CONNECTION:
        f->close |= wire_http_list_has(h->value, "close");
        f->keep_alive |= wire_http_list_has(h->value, "keep-alive");
        f->connection_upgrade |= wire_http_list_has(h->value, "upgrade");
        return 0;
    case WIRE_HTTP_H_UPGRADE:
        f->upgrade = h;
        return 0;
    case WIRE_HTTP_H_EXPECT:
        f->expect = h;
        return 0;
    default:
        return 0;
    }
}

/* "chunked" alone is understood. Anything else must not be guessed at: whoever reads it otherwise than we do
 * sees another end of the message. */
static int coding_check(struct a_view list, struct wire_http_error *e)
{
    if (a_view_is_nocase(list, "chunked"))
        return 0;
    bool chunked = false;
    while (list.len > 0) {
        struct a_view coding = a_view_trim(a_view_split(list, ',', &list));
        if (!wire_chars_are(coding, WIRE_CHAR_TOKEN) || chunked)
            return bad(e, "broken Transfer-Encoding");
        chunked = a_view_is_nocase(coding, "chunked");
    }
    return fail(e, WIRE_E_UNSUPPORTED, 501, "unknown transfer coding");
}

/* Transfer-Encoding and Content-Length, for either kind of message; `body` becomes CHUNKED, LENGTH or NONE.
 */
static int framing_parse(const struct facts *f, struct wire_http_head *h, struct wire_http_error *e)
{
    if (f->coding != NULL) {
        if (h->minor == 0)
            return bad(e, "Transfer-Encoding in HTTP/1.0");
        if (f->length != NULL)
            return bad(e, "both Transfer-Encoding and Content-Length");
        h->body = WIRE_HTTP_BODY_CHUNKED;
        return coding_check(f->coding->value, e);
    }
    if (f->length == NULL)
        return 0;
    if (!a_text_u64(f->length->value, &h->content_length) || h->content_length > INT64_MAX)
        return bad(e, "broken Content-Length");
    h->has_content_length = true;
    if (h->content_length > 0)
        h->body = WIRE_HTTP_BODY_LENGTH;
    return 0;
}

static int host_check(const struct facts *f, struct wire_http_head *h, struct wire_http_error *e)
{
    struct a_view host;
    uint16_t port;
    if (f->host == NULL)
        return h->minor == 0 ? 0 : bad(e, "no Host header");
    if (f->host->value.len > 0 && !wire_url_host_port(f->host->value, 0, &host, &port))
        return bad(e, "broken Host header");
    if (h->authority.len == 0)
        h->authority = f->host->value;
    return 0;
}

static int request_finish(const struct facts *f, struct wire_http_head *h, struct wire_http_error *e)
{
    int r = host_check(f, h, e);
    if (r == 0)
        r = framing_parse(f, h, e);
    if (r != 0)
        return r;
    if (h->body != WIRE_HTTP_BODY_NONE && (h->method == WIRE_HTTP_CONNECT || h->method == WIRE_HTTP_TRACE))
        return bad(e, "a body where none may be");
    if (f->expect != NULL && !a_view_is_nocase(f->expect->value, "100-continue"))
        return fail(e, WIRE_E_UNSUPPORTED, 417, "unknown expectation");
    h->expect_continue = f->expect != NULL && h->minor > 0;
    return 0;
}

static int response_finish(const struct facts *f, enum wire_http_method method, struct wire_http_head *h,
                           struct wire_http_error *e)
{
    int r = framing_parse(f, h, e);
    if (r != 0)
        return r;
    bool tunnel = h->status == 101 || (method == WIRE_HTTP_CONNECT && h->status / 100 == 2);
    bool bodyless = method == WIRE_HTTP_HEAD || h->status / 100 == 1 || h->status == 204 || h->status == 304;
    if (tunnel)
        h->body = WIRE_HTTP_BODY_TUNNEL;
    else if (bodyless)
        h->body = WIRE_HTTP_BODY_NONE;
    else if (h->body == WIRE_HTTP_BODY_NONE && !h->has_content_length)
        h->body = WIRE_HTTP_BODY_CLOSE;
    if (h->body == WIRE_HTTP_BODY_CLOSE || tunnel)
        h->keep_alive = false;
    return 0;
}

static int headers_parse(struct wire_http_parser *p, struct a_view in, size_t end, struct wire_http_head *h,
                         struct facts *f, struct wire_http_error *e)
{
    /* `end` is past the blank line: the last header's line ends two bytes before. */
    for (size_t at = p->first + 2; at < end - 2;) {
        const char *lf = memchr(in.ptr + at, '\n', end - at);
        size_t len = (size_t)(lf - in.ptr) - at - 1;
        struct wire_http_header *header = &h->headers[h->n_headers];
        int r = header_line_parse((struct a_view){in.ptr + at, len}, header, e);
        if (r == 0)
            r = header_note(f, header, e);
        if (r != 0)
            return r;
        h->n_headers++;
        at += len + 2;
    }
    return 0;
}

/* All but the array of headers, which is large and is filled from its front. */
static void head_clear(struct wire_http_head *h, bool response)
{
    memset(h, 0, offsetof(struct wire_http_head, headers));
    memset(&h->n_headers, 0, sizeof *h - offsetof(struct wire_http_head, n_headers));
    h->response = response;
}

static int head_parse(struct wire_http_parser *p, struct a_view in, bool response,
                      enum wire_http_method method, struct wire_http_head *ret, struct wire_http_error *e)
{
    size_t end = 0;
    struct facts f = {0};
    int r = start_skip(p, in, response);
    if (r != 0)
        return r;
    int scan = head_scan(p, in, &end, e);
    if (p->lines == 0 || (scan != 0 && p->checked))
        return scan;
    head_clear(ret, response);
    r = first_line_parse((struct a_view){in.ptr + p->start, p->first - p->start}, ret, e);
    p->checked = r == 0;
    if (r != 0 || scan != 0)
        return r != 0 ? r : scan;
    r = headers_parse(p, in, end, ret, &f, e);
    if (r != 0)
        return r;
    ret->keep_alive = !f.close && (ret->minor > 0 || f.keep_alive);
    ret->size = end;
    if (f.upgrade != NULL && f.connection_upgrade && ret->minor > 0)
        ret->upgrade = f.upgrade->value;
    r = response ? response_finish(&f, method, ret, e) : request_finish(&f, ret, e);
    if (r == 0)
        *p = (struct wire_http_parser){.limits = p->limits};
    return r;
}

int wire_http_request_parse(struct wire_http_parser *p, struct a_view in, struct wire_http_head *ret,
                            struct wire_http_error *reterr)
{
    return head_parse(p, in, false, WIRE_HTTP_OTHER, ret, reterr);
}

int wire_http_response_parse(struct wire_http_parser *p, struct a_view in, enum wire_http_method method,
                             struct wire_http_head *ret, struct wire_http_error *reterr)
{
    return head_parse(p, in, true, method, ret, reterr);
}
