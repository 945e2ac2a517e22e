#include "sys/secret.h"

#include <string.h>

#include "base/alloc.h"

void sys_secret_wipe(void *bytes, size_t len)
{
    explicit_bzero(bytes, len);
}

void sys_secret_set(struct sys_secret *s, struct a_view bytes)
{
    char *copy = bytes.len != 0 ? a_strndup(bytes.ptr, bytes.len) : NULL;
    sys_secret_deinit(s);
    *s = (struct sys_secret){copy, bytes.len};
}

void sys_secret_deinit(struct sys_secret *s)
{
    if (s->ptr != NULL)
        sys_secret_wipe(s->ptr, s->len);
    a_free(s->ptr);
    *s = (struct sys_secret){NULL, 0};
}

struct a_view sys_secret_view(const struct sys_secret *s)
{
    return (struct a_view){s->ptr, s->len};
}

bool sys_secret_equal(const struct sys_secret *s, struct a_view bytes)
{
    unsigned differ = 0;
    if (s->len != bytes.len || s->len == 0)
        return false;
    for (size_t i = 0; i < s->len; i++)
        differ |= (unsigned)(unsigned char)s->ptr[i] ^ (unsigned char)bytes.ptr[i];
    return differ == 0;
}
