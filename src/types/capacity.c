#include "types/capacity.h"

#include "base/text.h"

const char *a_capacity_short(const struct a_capacity *free, const struct a_capacity *want)
{
    if (want->mcpu > free->mcpu)
        return "cpu";
    if (want->memory_bytes > free->memory_bytes)
        return "memory";
    return want->disk_bytes > free->disk_bytes ? "disk" : NULL;
}

bool a_capacity_fits(const struct a_capacity *free, const struct a_capacity *want)
{
    return a_capacity_short(free, want) == NULL;
}

static uint64_t add(uint64_t a, uint64_t b)
{
    uint64_t sum;
    return __builtin_add_overflow(a, b, &sum) ? UINT64_MAX : sum;
}

static uint64_t sub(uint64_t a, uint64_t b)
{
    return a > b ? a - b : 0;
}

void a_capacity_add(struct a_capacity *a, const struct a_capacity *b)
{
    *a = (struct a_capacity){add(a->mcpu, b->mcpu), add(a->memory_bytes, b->memory_bytes),
                             add(a->disk_bytes, b->disk_bytes)};
}

void a_capacity_sub(struct a_capacity *a, const struct a_capacity *b)
{
    *a = (struct a_capacity){sub(a->mcpu, b->mcpu), sub(a->memory_bytes, b->memory_bytes),
                             sub(a->disk_bytes, b->disk_bytes)};
}

bool a_capacity_is_zero(const struct a_capacity *c)
{
    return c->mcpu == 0 && c->memory_bytes == 0 && c->disk_bytes == 0;
}

void a_capacity_print(struct a_buf *b, const struct a_capacity *c)
{
    a_buf_add_str(b, "cpu ");
    a_text_print_mcpu(b, c->mcpu);
    a_buf_add_str(b, ", memory ");
    a_text_print_bytes(b, c->memory_bytes);
    a_buf_add_str(b, ", disk ");
    a_text_print_bytes(b, c->disk_bytes);
}
