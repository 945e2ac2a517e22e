#include "sys/random.h"

#include <errno.h>
#include <sys/random.h>

#include "base/assert.h"
#include "sys/clock.h"

void sys_random_bytes(void *ret_bytes, size_t len)
{
    char *p = ret_bytes;
    while (len > 0) {
        ssize_t n = getrandom(p, len, 0);
        a_assert(n > 0 || errno == EINTR);
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
}

uint64_t sys_random_seed(void)
{
    uint64_t seed;
    sys_random_bytes(&seed, sizeof seed);
    return seed;
}

void sys_random_hex(char *ret_text, size_t n_bytes)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n_bytes; i++) {
        uint8_t byte;
        sys_random_bytes(&byte, 1);
        ret_text[2 * i] = digits[byte >> 4];
        ret_text[2 * i + 1] = digits[byte & 15];
    }
    ret_text[2 * n_bytes] = '\0';
}

void sys_random_uuid4(struct a_uuid *ret_uuid)
{
    uint8_t bytes[16];
    sys_random_bytes(bytes, sizeof bytes);
    a_uuid_make_v4(bytes, ret_uuid);
}

void sys_random_uuid7(struct a_uuid *ret_uuid)
{
    uint8_t bytes[10];
    sys_random_bytes(bytes, sizeof bytes);
    a_uuid_make_v7(sys_clock_wall_ms(), bytes, ret_uuid);
}
