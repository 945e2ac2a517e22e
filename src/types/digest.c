#include "types/digest.h"

#include <string.h>

#include "base/text.h"

bool a_digest_parse(struct a_view v, struct a_digest *ret)
{
    struct a_digest d;
    if (a_view_starts(v, "sha256:"))
        v = (struct a_view){v.ptr + 7, v.len - 7};
    if (v.len != A_DIGEST_HEX)
        return false;
    for (size_t i = 0; i < sizeof d.bytes; i++) {
        uint64_t byte;
        if (!a_text_hex64((struct a_view){v.ptr + 2 * i, 2}, &byte))
            return false;
        d.bytes[i] = (uint8_t)byte;
    }
    *ret = d;
    return true;
}

void a_digest_hex(const struct a_digest *d, char out[A_DIGEST_HEX + 1])
{
    static const char hex[] = "0123456789abcdef";
    for (size_t i = 0; i < sizeof d->bytes; i++) {
        out[2 * i] = hex[d->bytes[i] >> 4];
        out[2 * i + 1] = hex[d->bytes[i] & 15];
    }
    out[A_DIGEST_HEX] = '\0';
}

bool a_digest_equal(const struct a_digest *a, const struct a_digest *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

bool a_digest_is_zero(const struct a_digest *d)
{
    static const struct a_digest zero;
    return a_digest_equal(d, &zero);
}
