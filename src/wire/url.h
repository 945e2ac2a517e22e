/* Pieces of URLs (RFC 3986): percent-encoding, paths, queries, host:port. Pure views; only decoding copies.
 */
#ifndef WIRE_URL_H
#define WIRE_URL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "wire/wire.h"

/* Decodes %XX, and '+' as a space where `plus` (form encoding). False, *ret untouched, on a broken escape or
 * a decoded NUL. A text without escapes is returned as it is; else a copy in `arena`. */
bool wire_url_decode(struct a_view text, bool plus, struct a_arena *arena, struct a_view *ret) A_MUST_CHECK;
/* Appends `text` with all but unreserved characters (A-Z a-z 0-9 - . _ ~) escaped; '/' stays where `slash`.
 */
void wire_url_encode(struct a_buf *b, struct a_view text, bool slash);

/* "/a/b?x=1": the path, and what follows the first '?' (empty when there is none). */
struct a_view wire_url_path(struct a_view target, struct a_view *ret_query);
/* A path that means to every hop what it says: begins with '/', has no "." or ".." segment (escaped forms
 * included), no backslash, no escaped slash, backslash or NUL, and only proper escapes. */
bool wire_url_path_is_plain(struct a_view path);
/* Takes the first segment off *path: "/v1/apps" gives "v1" and leaves "/apps". False at the end. */
bool wire_url_segment(struct a_view *path, struct a_view *ret);
/* `prefix` covers `path` at a segment boundary: "/ocr" covers "/ocr", "/ocr/x" and "/ocr?x", not "/ocrx"; "/"
 * and
 * "" cover all. A trailing '/' of the prefix does not count. */
bool wire_url_prefix_covers(struct a_view prefix, struct a_view path);

/* Takes the first name=value off *query, still encoded. False when nothing is left. */
bool wire_url_query_next(struct a_view *query, struct a_view *ret_name, struct a_view *ret_value);
/* The decoded value of the first `name`. False when it is missing or broken. */
bool wire_url_query_get(struct a_view query, const char *name, struct a_arena *arena,
                        struct a_view *ret) A_MUST_CHECK;

/* "host", "host:80", "1.2.3.4:80", "[::1]:80"; the host without brackets. *ret_port = default_port where none
 * is given; a port of 0 is allowed. False when there is no host, it has characters that no host has, or the
 * port is no number up to 65535. */
bool wire_url_host_port(struct a_view text, uint16_t default_port, struct a_view *ret_host,
                        uint16_t *ret_port) A_MUST_CHECK;

/* scheme://host[:port][/path...] of http or https. */
struct wire_url {
    bool tls;
    struct a_view host; /* without brackets */
    uint16_t port;      /* 80 or 443 where none is given */
    struct a_view path; /* path and query; "/" where none is given */
};
/* False on another scheme, user information, a fragment, or characters that do not belong there. */
bool wire_url_parse(struct a_view text, struct wire_url *ret) A_MUST_CHECK;

#endif
