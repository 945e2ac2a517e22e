/* Base64 (RFC 4648), with the standard alphabet or the one for URLs. */
#ifndef A_BASE_BASE64_H
#define A_BASE_BASE64_H

#include <stdbool.h>

#include "base/buf.h"

/* Appends the bytes that `text` stands for. Both alphabets are taken; white space between the characters is
 * skipped, padding may be left out. False, with bytes of it appended, when it is no base64 or `b` is full. */
bool a_base64_decode(struct a_view text, struct a_buf *b) A_MUST_CHECK;
/* Appends the standard alphabet, padded, without line ends. */
void a_base64_encode(struct a_view bytes, struct a_buf *b);

#endif
