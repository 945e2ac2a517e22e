#include "base/random.h"

#include "base/assert.h"
#include "base/hash.h"

void a_random_init(struct a_random *r, uint64_t seed)
{
    for (int i = 0; i < 4; i++)
        r->s[i] = seed = a_hash_u64(seed + (uint64_t)i);
}

static inline uint64_t rotl(uint64_t x, int k)
{
    return (x << k) | (x >> (64 - k));
}

uint64_t a_random_u64(struct a_random *r)
{
    uint64_t *s = r->s, result = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return result;
}

uint64_t a_random_below(struct a_random *r, uint64_t n)
{
    a_assert(n > 0);
    uint64_t limit = UINT64_MAX - UINT64_MAX % n, x;
    do
        x = a_random_u64(r);
    while (x >= limit);
    return x % n;
}

double a_random_unit(struct a_random *r)
{
    return (double)(a_random_u64(r) >> 11) * 0x1.0p-53;
}

void a_random_name(struct a_random *r, char *out, size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    for (size_t i = 0; i < len; i++)
        out[i] = letters[a_random_below(r, 36)];
    out[len] = '\0';
}
