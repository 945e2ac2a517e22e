/* Heads of HTTP/1. The first byte chooses request or response and how the rest is cut into reads; one read
 * and many must agree on the code, the answer and the head. What parses is written again from its parts,
 * without the hop-by-hop headers, and must parse to the same message: nothing a peer sends becomes another
 * header on the way. */
#include <stdint.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "wire/http1.h"

static bool is_response;
static enum wire_http_method method;

static int parse(struct wire_http_parser *p, struct a_view in, struct wire_http_head *h,
                 struct wire_http_error *e)
{
    return is_response ? wire_http_response_parse(p, in, method, h, e) : wire_http_request_parse(p, in, h, e);
}

static void inside_check(struct a_view v, struct a_view in)
{
    a_assert(v.len == 0 || (v.ptr >= in.ptr && v.ptr + v.len <= in.ptr + in.len) || a_view_is(v, "/"));
}

static void head_check(const struct wire_http_head *h, struct a_view in)
{
    a_assert(h->size <= in.len && memcmp(in.ptr + h->size - 2, "\r\n", 2) == 0);
    inside_check(h->target, in);
    inside_check(h->path, in);
    inside_check(h->authority, in);
    for (size_t i = 0; i < h->n_headers; i++) {
        inside_check(h->headers[i].name, in);
        inside_check(h->headers[i].value, in);
    }
}

/* As a proxy forwards it. */
static void forward_check(const struct wire_http_head *h)
{
    static struct wire_http_head again;
    struct wire_http_parser p = {.limits = {.head_bytes = SIZE_MAX / 2}};
    A_BUF_AUTO struct a_buf out = {0};
    size_t kept = 0;
    if (h->response)
        wire_http_write_status(&out, h->status);
    else
        wire_http_write_request(&out, h->method_text, h->target);
    for (size_t i = 0; i < h->n_headers; i++) {
        if (wire_http_head_is_hop(h, i))
            continue;
        a_assert(wire_http_write_header(&out, h->headers[i].name, h->headers[i].value));
        kept++;
    }
    if (!h->response && h->minor == 0 && wire_http_head_get(h, WIRE_HTTP_H_HOST) == NULL) {
        a_assert(wire_http_write_header_str(&out, "host", ""));
        kept++;
    }
    wire_http_write_end(&out);
    a_assert(parse(&p, a_buf_view(&out), &again, NULL) == 0);
    a_assert(again.size == out.len && again.n_headers == kept && again.status == h->status);
    a_assert(again.has_content_length == h->has_content_length && again.content_length == h->content_length);
    a_assert(a_view_equal(again.target, h->target) && a_view_equal(again.method_text, h->method_text));
}

static int pieces_parse(struct a_view in, size_t step, struct wire_http_head *ret,
                        struct wire_http_error *err)
{
    struct wire_http_parser p = {0};
    int r = WIRE_E_MORE;
    for (size_t n = 0; r == WIRE_E_MORE; n = A_MIN(n + step, in.len)) {
        char *copy = a_strndup(in.ptr, n); /* memory of that size: a read past it is found */
        r = parse(&p, (struct a_view){copy, n}, ret, err);
        a_free(copy);
        if (n == in.len)
            break;
    }
    return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wire_http_head whole, pieces;
    struct wire_http_error e = {0}, e2 = {0};
    struct wire_http_parser p = {0};
    if (size < 1)
        return 0;
    is_response = (data[0] & 1) != 0;
    method = (enum wire_http_method)((data[0] >> 1 & 15) % WIRE_HTTP_METHOD_COUNT);
    struct a_view in = {(const char *)data + 1, size - 1};
    int r = parse(&p, in, &whole, &e);
    int again = pieces_parse(in, 1 + (data[0] >> 5), &pieces, &e2);
    a_assert(r == again);
    if (r == 0) {
        head_check(&whole, in);
        a_assert(whole.size == pieces.size && whole.n_headers == pieces.n_headers &&
                 whole.body == pieces.body);
        a_assert(whole.content_length == pieces.content_length && whole.keep_alive == pieces.keep_alive);
        forward_check(&whole);
    } else if (r != WIRE_E_MORE) {
        a_assert(e.status == e2.status && strcmp(e.what, e2.what) == 0);
    }
    return 0;
}
