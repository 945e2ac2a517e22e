#include "daemon/renewal.h"

#include "base/macro.h"

#define DOUBLINGS_MAX 16

void d_renewal_init(struct d_renewal *r, uint64_t seed)
{
    *r = (struct d_renewal){.until_ms = 0};
    a_random_init(&r->random, seed);
}

uint64_t d_renewal_wait_ms(const struct d_renewal *r, uint64_t now_ms)
{
    return r->until_ms > now_ms ? r->until_ms - now_ms : 0;
}

void d_renewal_asked(struct d_renewal *r, uint64_t life_ms, uint64_t now_ms)
{
    uint64_t patience = A_MIN(A_MAX(life_ms / 10, 2 * r->took_ms), (uint64_t)D_RENEWAL_MAX_MS);
    patience = A_MAX(patience, (uint64_t)D_RENEWAL_MIN_MS) << A_MIN(r->tries, (unsigned)DOUBLINGS_MAX);
    patience = A_MIN(patience, (uint64_t)D_RENEWAL_MAX_MS);
    r->asked_ms = now_ms;
    r->tries++;
    r->pending++;
    r->until_ms = now_ms + patience / 2 + a_random_below(&r->random, patience / 2 + 1);
}

void d_renewal_answered(struct d_renewal *r, uint64_t now_ms)
{
    if (r->pending == 0 || --r->pending > 0)
        return;
    r->took_ms = now_ms - r->asked_ms;
    r->tries = 0;
    r->until_ms = now_ms + D_RENEWAL_MIN_MS;
}

void d_renewal_cut(struct d_renewal *r, uint64_t now_ms)
{
    r->until_ms = A_MIN(r->until_ms, now_ms + D_RENEWAL_MIN_MS);
    r->tries = r->pending = 0;
}
