/* Heads on their way through, and heads of what is answered here. */
#include <stdio.h>
#include <string.h>

#include "base/text.h"
#include "daemon/gateway/worker.h"
#include "sys/addr.h"

/* Names and values come from the parser: they hold nothing that could become a second header. */
static void header_add(struct a_buf *b, struct a_view name, struct a_view value)
{
    a_buf_add_view(b, name);
    a_buf_add(b, ": ", 2);
    a_buf_add_view(b, value);
    a_buf_add(b, "\r\n", 2);
}

static void number_add(struct a_buf *b, const char *name, uint64_t n)
{
    char text[24];
    int len = snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    header_add(b, a_view_str(name), (struct a_view){text, (size_t)len});
}

static struct a_view request_id(const struct d_gw_exchange *x)
{
    return (struct a_view){x->note.ptr + x->target_end, x->id_end - x->target_end};
}

/* ---- to the replica ---- */

/* Path and query, with the route's prefix replaced where it says so. */
static void target_add(struct a_buf *b, const struct gw_route *r, struct a_view path)
{
    if (r->rewrite == NULL) {
        a_buf_add_view(b, path);
        return;
    }
    size_t n = strlen(r->rewrite);
    while (n > 0 && r->rewrite[n - 1] == '/')
        n--;
    a_buf_add(b, r->rewrite, n);
    path.ptr += r->prefix_len;
    path.len -= r->prefix_len;
    if (path.len == 0 || path.ptr[0] != '/')
        a_buf_add_char(b, '/');
    a_buf_add_view(b, path);
}

/* Written here, or not for the next hop. */
static bool is_ours(const struct wire_http_header *h, bool trust)
{
    switch (h->known) {
    case WIRE_HTTP_H_HOST:
    case WIRE_HTTP_H_EXPECT:
    case WIRE_HTTP_H_TRAILER:
    case WIRE_HTTP_H_X_REQUEST_ID:
    case WIRE_HTTP_H_X_FORWARDED_FOR:
        return true;
    case WIRE_HTTP_H_FORWARDED:
    case WIRE_HTTP_H_X_FORWARDED_HOST:
    case WIRE_HTTP_H_X_FORWARDED_PROTO:
        return !trust;
    default:
        return false;
    }
}

static void forwarded_add(struct a_buf *b, const struct wire_http_head *h, const char *address,
                          const struct d_gw_options *o)
{
    bool trust = o->trust_forwarded;
    const struct wire_http_header *before = wire_http_head_get(h, WIRE_HTTP_H_X_FORWARDED_FOR);
    a_buf_add_str(b, "x-forwarded-for: ");
    if (trust && before != NULL) {
        a_buf_add_view(b, before->value);
        a_buf_add(b, ", ", 2);
    }
    a_buf_add_str(b, address);
    a_buf_add(b, "\r\n", 2);
    if (!trust || wire_http_head_get(h, WIRE_HTTP_H_X_FORWARDED_PROTO) == NULL)
        a_buf_add_str(b, o->tls_cert[0] == '\0' ? "x-forwarded-proto: http\r\n"
                                                : "x-forwarded-proto: https\r\n");
    if (!trust || wire_http_head_get(h, WIRE_HTTP_H_X_FORWARDED_HOST) == NULL)
        header_add(b, A_VIEW_LIT("x-forwarded-host"), h->authority);
}

void d_gw_head_to_replica(struct d_gw_client *c)
{
    const struct wire_http_head *h = &c->worker->head;
    struct d_gw_exchange *x = &c->x;
    struct a_buf *b = &x->head;
    bool trust = c->worker->options->trust_forwarded;
    a_buf_add_view(b, h->method_text);
    a_buf_add_char(b, ' ');
    target_add(b, x->request.route, h->path);
    a_buf_add_str(b, " HTTP/1.1\r\n");
    header_add(b, A_VIEW_LIT("host"), h->authority);
    for (size_t i = 0; i < h->n_headers; i++)
        if (!is_ours(&h->headers[i], trust) && !wire_http_head_is_hop(h, i))
            header_add(b, h->headers[i].name, h->headers[i].value);
    if (x->chunked)
        a_buf_add_str(b, "transfer-encoding: chunked\r\n");
    header_add(b, A_VIEW_LIT("x-request-id"), request_id(x));
    forwarded_add(b, h, c->host, c->worker->options);
    a_buf_add(b, "\r\n", 2);
}

/* ---- to the client ---- */

static void status_add(struct a_buf *b, unsigned status, struct a_view reason)
{
    char digits[4] = {(char)('0' + status / 100), (char)('0' + status / 10 % 10), (char)('0' + status % 10),
                      ' '};
    a_buf_add(b, "HTTP/1.1 ", 9);
    a_buf_add(b, digits, sizeof digits);
    a_buf_add_view(b, reason);
    a_buf_add(b, "\r\n", 2);
}

static void answer_headers_add(struct a_buf *b, const struct wire_http_head *h)
{
    for (size_t i = 0; i < h->n_headers; i++)
        if (h->headers[i].known != WIRE_HTTP_H_TRAILER && !wire_http_head_is_hop(h, i))
            header_add(b, h->headers[i].name, h->headers[i].value);
}

static void debug_add(struct a_buf *b, const struct d_gw_client *c)
{
    if (!c->worker->options->debug_headers || c->x.request.tries == 0)
        return;
    header_add(b, A_VIEW_LIT("x-astra-unit"), a_view_str(c->x.unit.s));
    number_add(b, "x-astra-tries", c->x.request.tries);
}

void d_gw_head_to_client(struct d_gw_client *c)
{
    const struct wire_http_head *h = &c->worker->head;
    struct d_gw_exchange *x = &c->x;
    struct a_buf *b = &x->out;
    a_buf_reset(b);
    status_add(b, h->status, h->reason);
    answer_headers_add(b, h);
    if (x->chunked_out)
        a_buf_add_str(b, "transfer-encoding: chunked\r\n");
    if (x->close)
        a_buf_add_str(b, "connection: close\r\n");
    debug_add(b, c);
    a_buf_add(b, "\r\n", 2);
}

void d_gw_head_interim(const struct d_gw_client *c, struct a_buf *ret_bytes)
{
    const struct wire_http_head *h = &c->worker->head;
    a_buf_reset(ret_bytes);
    status_add(ret_bytes, h->status, h->reason);
    answer_headers_add(ret_bytes, h);
    a_buf_add(ret_bytes, "\r\n", 2);
}

static const char *code_of(unsigned status)
{
    switch (status) {
    case 404:
        return "not_found";
    case 413:
        return "too_large";
    case 502:
        return "bad_gateway";
    case 503:
        return "unavailable";
    case 504:
        return "timeout";
    default:
        return "invalid";
    }
}

/* RFC 9457. */
static void problem_body(const struct d_gw_exchange *x, const struct d_gw_problem *p, struct a_buf *b)
{
    const char *code = p->code != NULL ? p->code : code_of(p->status);
    a_buf_addf(b, "{\"type\": \"urn:astra:problem:%s\", \"code\": \"%s\", \"title\": \"%s\", \"status\": %u",
               code, code, wire_http_status_text(p->status), p->status);
    a_buf_add_str(b, ", \"detail\": ");
    a_text_print_json(b, a_view_str(p->detail));
    if (p->cause != GW_CAUSE_NONE)
        a_buf_addf(b, ", \"cause\": \"%s\"", gw_cause_name(p->cause));
    if (x->id_end > 0) {
        a_buf_add_str(b, ", \"request\": ");
        a_text_print_json(b, request_id(x));
    }
    a_buf_add_str(b, "}\n");
}

void d_gw_head_problem(struct d_gw_client *c, const struct d_gw_problem *p, struct a_buf *ret_bytes)
{
    struct d_gw_exchange *x = &c->x;
    a_buf_reset(&x->out);
    problem_body(x, p, &x->out);
    a_buf_reset(ret_bytes);
    status_add(ret_bytes, p->status, a_view_str(wire_http_status_text(p->status)));
    a_buf_add_str(ret_bytes, "content-type: application/problem+json\r\n");
    number_add(ret_bytes, "content-length", x->out.len);
    if (p->cause != GW_CAUSE_NONE)
        header_add(ret_bytes, A_VIEW_LIT("x-astra-cause"), a_view_str(gw_cause_name(p->cause)));
    if (p->retry_after_s > 0)
        number_add(ret_bytes, "retry-after", p->retry_after_s);
    if (x->id_end > 0)
        header_add(ret_bytes, A_VIEW_LIT("x-request-id"), request_id(x));
    if (x->close || c->worker->draining)
        a_buf_add_str(ret_bytes, "connection: close\r\n");
    debug_add(ret_bytes, c);
    a_buf_add(ret_bytes, "\r\n", 2);
    if (x->method != WIRE_HTTP_HEAD)
        a_buf_add_view(ret_bytes, a_buf_view(&x->out));
    x->answer_bytes = x->out.len;
}
