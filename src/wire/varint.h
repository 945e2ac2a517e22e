/* Variable-length integers: LEB128, seven bits a byte, least significant first, as Protocol Buffers write
 * them. Only the shortest form is accepted, so that equal values have equal bytes. */
#ifndef WIRE_VARINT_H
#define WIRE_VARINT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define WIRE_VARINT_MAX 10 /* bytes of the longest form */

/* Bytes that `x` takes, 1..10. */
size_t wire_varint_size(uint64_t x);
/* Writes `x` to `out`, which has room for WIRE_VARINT_MAX bytes; returns how many were written. */
size_t wire_varint_put(uint8_t *out, uint64_t x);
/* Appends `x`. */
void wire_varint_add(struct a_buf *b, uint64_t x);
/* Takes one from the front of *in. WIRE_E_MORE when *in ends inside it, WIRE_E_MALFORMED when it has more
 * than 64 bits or is not the shortest form; *in and *ret are untouched then. */
int wire_varint_take(struct a_view *in, uint64_t *ret) A_MUST_CHECK;

/* Signed values in zigzag: 0, -1, 1, -2 become 0, 1, 2, 3. */
uint64_t wire_zigzag(int64_t x);
int64_t wire_unzigzag(uint64_t x);

#endif
