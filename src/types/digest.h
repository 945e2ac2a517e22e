/* A SHA-256 digest names an artifact: sha256:HEX of the packed bytes. Computing one is the business of
 * sys/sha256.h. */
#ifndef A_TYPES_DIGEST_H
#define A_TYPES_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define A_DIGEST_HEX 64
#define A_DIGEST_TEXT (7 + A_DIGEST_HEX) /* "sha256:" + hex */

struct a_digest {
    uint8_t bytes[32];
};

/* 64 hex digits, with or without "sha256:" in front. */
bool a_digest_parse(struct a_view v, struct a_digest *ret) A_MUST_CHECK;
/* 64 lower-case hex digits and a zero. */
void a_digest_hex(const struct a_digest *d, char out[A_DIGEST_HEX + 1]);
bool a_digest_equal(const struct a_digest *a, const struct a_digest *b);
bool a_digest_is_zero(const struct a_digest *d);

#endif
