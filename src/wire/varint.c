#include "wire/varint.h"

#include "wire/wire.h"

size_t wire_varint_size(uint64_t x)
{
    size_t n = 1;
    for (; x >= 0x80; x >>= 7)
        n++;
    return n;
}

size_t wire_varint_put(uint8_t *out, uint64_t x)
{
    size_t n = 0;
    for (; x >= 0x80; x >>= 7)
        out[n++] = (uint8_t)(x | 0x80);
    out[n++] = (uint8_t)x;
    return n;
}

void wire_varint_add(struct a_buf *b, uint64_t x)
{
    uint8_t bytes[WIRE_VARINT_MAX];
    a_buf_add(b, bytes, wire_varint_put(bytes, x));
}

int wire_varint_take(struct a_view *in, uint64_t *ret)
{
    uint64_t x = 0;
    for (size_t i = 0; i < in->len; i++) {
        uint8_t byte = (uint8_t)in->ptr[i];
        if (i == WIRE_VARINT_MAX - 1 && byte > 1) /* the tenth byte holds only the 64th bit */
            return WIRE_E_MALFORMED;
        x |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte >= 0x80)
            continue;
        if (byte == 0 && i > 0)
            return WIRE_E_MALFORMED;
        *in = (struct a_view){in->ptr + i + 1, in->len - i - 1};
        *ret = x;
        return 0;
    }
    return WIRE_E_MORE;
}

uint64_t wire_zigzag(int64_t x)
{
    return ((uint64_t)x << 1) ^ (uint64_t)(x >> 63);
}

int64_t wire_unzigzag(uint64_t x)
{
    return (int64_t)(x >> 1) ^ -(int64_t)(x & 1);
}
