/* HTTP/1.1 messages (RFC 9112, RFC 9110): heads, chunked bodies, framing.
 *
 * The parser works on one contiguous buffer and copies nothing: a head's views point into it. It is called
 * again as bytes arrive and looks at each byte once until the head is whole. It is strict where leniency lets
 * two hops disagree on where a message ends (request smuggling): lines end with CRLF only; no obs-fold; no
 * space before a colon; one Content-Length, digits only, never beside a Transfer-Encoding; "chunked" alone,
 * and only in HTTP/1.1; one Host with the characters of an authority; no control bytes anywhere. */
#ifndef WIRE_HTTP1_H
#define WIRE_HTTP1_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/wire.h"

#define WIRE_HTTP_HEAD_MAX 65536  /* default limit of a head, bytes with the first line */
#define WIRE_HTTP_HEADERS_MAX 128 /* room in struct wire_http_head; the default limit is 100 */

/* X(NAME): methods with a meaning of their own; any other token is OTHER. */
#define WIRE_HTTP_METHODS(X)                                                                                 \
    X(GET)                                                                                                   \
    X(HEAD)                                                                                                  \
    X(POST)                                                                                                  \
    X(PUT)                                                                                                   \
    X(DELETE)                                                                                                \
    X(CONNECT)                                                                                               \
    X(OPTIONS)                                                                                               \
    X(TRACE)                                                                                                 \
    X(PATCH)
#define X(name) WIRE_HTTP_##name,
enum wire_http_method { WIRE_HTTP_OTHER = 0, WIRE_HTTP_METHODS(X) WIRE_HTTP_METHOD_COUNT };
#undef X

/* X(NAME, "name", hop-by-hop): headers that are recognised while parsing. */
/* clang-format off */
#define WIRE_HTTP_KNOWN(X) \
    X(TE, "te", true) \
    X(HOST, "host", false) \
    X(DATE, "date", false) \
    X(ACCEPT, "accept", false) \
    X(COOKIE, "cookie", false) \
    X(EXPECT, "expect", false) \
    X(SERVER, "server", false) \
    X(TRAILER, "trailer", false) \
    X(UPGRADE, "upgrade", true) \
    X(FORWARDED, "forwarded", false) \
    X(CONNECTION, "connection", true) \
    X(KEEP_ALIVE, "keep-alive", true) \
    X(USER_AGENT, "user-agent", false) \
    X(TRACEPARENT, "traceparent", false) \
    X(CONTENT_TYPE, "content-type", false) \
    X(X_REQUEST_ID, "x-request-id", false) \
    X(AUTHORIZATION, "authorization", false) \
    X(CONTENT_LENGTH, "content-length", false) \
    X(X_FORWARDED_FOR, "x-forwarded-for", false) \
    X(IDEMPOTENCY_KEY, "idempotency-key", false) \
    X(X_FORWARDED_HOST, "x-forwarded-host", false) \
    X(PROXY_CONNECTION, "proxy-connection", true) \
    X(X_FORWARDED_PROTO, "x-forwarded-proto", false) \
    X(TRANSFER_ENCODING, "transfer-encoding", true) \
    X(PROXY_AUTHENTICATE, "proxy-authenticate", true) \
    X(PROXY_AUTHORIZATION, "proxy-authorization", true)
/* clang-format on */
#define X(name, text, hop) WIRE_HTTP_H_##name,
enum wire_http_known { WIRE_HTTP_H_OTHER = 0, WIRE_HTTP_KNOWN(X) WIRE_HTTP_H_COUNT };
#undef X

/* How the end of the body is found (RFC 9112, section 6.3). */
enum wire_http_body {
    WIRE_HTTP_BODY_NONE,    /* there is none */
    WIRE_HTTP_BODY_LENGTH,  /* content_length bytes */
    WIRE_HTTP_BODY_CHUNKED, /* up to the last chunk and its trailers */
    WIRE_HTTP_BODY_CLOSE,   /* up to the end of the connection; responses only */
    WIRE_HTTP_BODY_TUNNEL,  /* no HTTP any more: after 101, or 2xx to CONNECT */
};

struct wire_http_header {
    struct a_view name;  /* as sent */
    struct a_view value; /* without the blanks around it */
    enum wire_http_known known;
};

/* Zero = default. */
struct wire_http_limits {
    size_t head_bytes; /* first line and headers; 65536 */
    size_t line_bytes; /* first line; as head_bytes */
    unsigned headers;  /* how many; 100, at most WIRE_HTTP_HEADERS_MAX */
};

/* A parsed head. All views point into the buffer it was parsed from, except `path` of an absolute target
 * without one, which is the literal "/". */
struct wire_http_head {
    bool response;
    uint8_t minor; /* HTTP/1.minor: 0 or 1 (what is higher counts as 1) */

    enum wire_http_method method; /* request */
    struct a_view method_text;
    struct a_view target;    /* as sent */
    struct a_view path;      /* origin form: path and query; empty for CONNECT; "*" for OPTIONS * */
    struct a_view authority; /* of an absolute or CONNECT target, else Host's value; may be empty */

    unsigned status; /* response: 100..599 */
    struct a_view reason;

    struct wire_http_header headers[WIRE_HTTP_HEADERS_MAX];
    size_t n_headers;
    size_t size; /* bytes of the head with its blank line: what to consume */

    enum wire_http_body body;
    uint64_t content_length; /* of BODY_LENGTH; for a response to HEAD, of what GET would bring */
    bool has_content_length;
    bool keep_alive;       /* the connection may carry another message after this one */
    bool expect_continue;  /* request: Expect: 100-continue (HTTP/1.1) */
    struct a_view upgrade; /* Upgrade's value when Connection names it, else empty */
};

/* Zero-initialised = before the first byte of a message; set `limits` first. The rest is the parser's own. */
struct wire_http_parser {
    struct wire_http_limits limits;
    size_t start;   /* of the first line: past an empty line in front of a request */
    size_t first;   /* end of the first line, without its CRLF */
    size_t line;    /* start of the line that is not whole yet */
    size_t scanned; /* bytes already looked at */
    size_t lines;   /* whole lines seen */
    bool checked;   /* the first line was parsed and is good */
};

/* Why a head was refused, beside the WIRE_E_ code: what a server answers and says. */
struct wire_http_error {
    unsigned status;  /* 400, 414, 431, 501, 505 */
    const char *what; /* a literal: "bare LF", "two Content-Length", ... */
};

/* Parses a request's head out of `in`, which holds the same bytes as the call before and maybe more (it may
 * have moved in memory). 0: *ret is filled and the parser is ready for the next message, which begins at
 * ret->size. WIRE_E_MORE; WIRE_E_MALFORMED, WIRE_E_TOO_LARGE, WIRE_E_UNSUPPORTED: *reterr (may be NULL) says
 * what to answer before closing the connection. */
int wire_http_request_parse(struct wire_http_parser *p, struct a_view in, struct wire_http_head *ret,
                            struct wire_http_error *reterr) A_MUST_CHECK;
/* The same for a response to a request of `method`; the framing depends on it (RFC 9112, 6.3). An interim
 * response (1xx, not 101) is a head of its own: parse the next one after it. */
int wire_http_response_parse(struct wire_http_parser *p, struct a_view in, enum wire_http_method method,
                             struct wire_http_head *ret, struct wire_http_error *reterr) A_MUST_CHECK;

/* The first header of that kind, or NULL. */
const struct wire_http_header *wire_http_head_get(const struct wire_http_head *h, enum wire_http_known known);
/* By name (without case); `name` in lower case. */
const struct wire_http_header *wire_http_head_find(const struct wire_http_head *h, const char *name);
/* Header `i` concerns this connection only and must not be forwarded: the table's hop-by-hop ones and those
 * that Connection names (RFC 9110, 7.6.1). */
bool wire_http_head_is_hop(const struct wire_http_head *h, size_t i);
/* `token` (lower case) is an element of the comma-separated list. */
bool wire_http_list_has(struct a_view list, const char *token);
/* WIRE_HTTP_OTHER when it is no method of the table (methods are case-sensitive). */
enum wire_http_method wire_http_method_parse(struct a_view text);
const char *wire_http_method_name(enum wire_http_method m); /* "GET"; "OTHER" */
enum wire_http_known wire_http_known_find(struct a_view name);
/* "Not Found"; "Unknown" for a status that no RFC named. */
const char *wire_http_status_text(unsigned status);
/* GET, HEAD, OPTIONS, TRACE, PUT, DELETE (RFC 9110, 9.2.2). */
bool wire_http_method_idempotent(enum wire_http_method m);

/* ---- bodies ---- */

#define WIRE_HTTP_CHUNK_LINE_MAX 256    /* bytes of a chunk's size line with extensions */
#define WIRE_HTTP_CHUNK_EXTRA_MAX 16384 /* bytes of all extensions of a body */
#define WIRE_HTTP_TRAILERS_MAX 16384    /* bytes of all trailers */

/* Finds the end of a body and takes its framing off, a step at a time. */
struct wire_http_decoder {
    enum wire_http_body kind;
    int state;       /* of the chunked coding */
    uint64_t left;   /* bytes left of the body or chunk */
    unsigned digits; /* of the chunk's size */
    size_t line, extra, trailers;
    bool done;
    const char *what; /* why it failed; a literal */
};

/* For a body framed as in `h`. */
void wire_http_decoder_init(struct wire_http_decoder *d, const struct wire_http_head *h);
/* Takes *ret_used bytes off the front of `in` and returns the body bytes among them as *ret_data, a view into
 * `in`, empty when there were none. At most one piece a call: call again while used > 0 and d->done is not
 * set. 0; WIRE_E_MORE: nothing more to be had from these bytes (used may be > 0); WIRE_E_MALFORMED or
 * WIRE_E_TOO_LARGE with d->what: the message is broken, the connection must not be used again. Trailers are
 * checked and dropped. */
int wire_http_decoder_step(struct wire_http_decoder *d, struct a_view in, size_t *ret_used,
                           struct a_view *ret_data) A_MUST_CHECK;
/* The peer closed: 0 when the body is complete that way, WIRE_E_MALFORMED when it was cut short. */
int wire_http_decoder_eof(struct wire_http_decoder *d) A_MUST_CHECK;

/* The line in front of a chunk of `len` > 0 bytes: writes it to `out`, returns its length. After the chunk
 * comes CRLF; after the last, WIRE_HTTP_CHUNK_LAST. */
#define WIRE_HTTP_CHUNK_HEADER_MAX 18
#define WIRE_HTTP_CHUNK_LAST "0\r\n\r\n"
size_t wire_http_chunk_header(char out[WIRE_HTTP_CHUNK_HEADER_MAX], uint64_t len);

/* ---- writing heads ---- */

/* "GET /x HTTP/1.1\r\n"; "HTTP/1.1 200 OK\r\n" (the status's own text). The caller has checked `target`. */
void wire_http_write_request(struct a_buf *b, struct a_view method, struct a_view target);
void wire_http_write_status(struct a_buf *b, unsigned status);
/* "name: value\r\n". False, with nothing written, when the name is no token or the value holds CR, LF or NUL:
 * what a user gave cannot become a second header. */
bool wire_http_write_header(struct a_buf *b, struct a_view name, struct a_view value);
bool wire_http_write_header_str(struct a_buf *b, const char *name, const char *value);
void wire_http_write_length(struct a_buf *b, uint64_t content_length);
/* The blank line. */
void wire_http_write_end(struct a_buf *b);

#endif
