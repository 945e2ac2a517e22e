/* When a certificate is asked for again: one request is under way at a time, and what is not answered is
 * asked again ever later. A server that is slow because it is busy would otherwise get, from all of its
 * peers, the more requests the slower it is, and issue a certificate for each. Pure: the time is an input.
 * docs/components/identity.md, 9. */
#ifndef A_DAEMON_RENEWAL_H
#define A_DAEMON_RENEWAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/random.h"

#define D_RENEWAL_MIN_MS 1000   /* the least patience with a request, and the least time between two */
#define D_RENEWAL_MAX_MS 600000 /* the longest: a swamped server has minutes, a life of a day is not lost */

struct d_renewal {
    struct a_random random;
    uint64_t asked_ms; /* the last request */
    uint64_t until_ms; /* nothing is asked before */
    uint64_t took_ms;  /* its answer, the last time that it came: patience is at least twice that */
    unsigned tries;    /* requests since all were answered */
    unsigned pending;  /* requests without an answer; answers come in their order */
};

void d_renewal_init(struct d_renewal *r, uint64_t seed);
/* How long no request may go yet; 0 = one may. */
uint64_t d_renewal_wait_ms(const struct d_renewal *r, uint64_t now_ms);
/* A request went. Its time is a tenth of the certificate's life, within the bounds above, twice as long for
 * each one before it that was not answered; a random time of the upper half of that. */
void d_renewal_asked(struct d_renewal *r, uint64_t life_ms, uint64_t now_ms);
/* An answer came. Nothing is asked while later ones are still to come. */
void d_renewal_answered(struct d_renewal *r, uint64_t now_ms);
/* The connection has ended, and with it what was under way: over the next one it may be asked for as soon as
 * D_RENEWAL_MIN_MS after the last request. */
void d_renewal_cut(struct d_renewal *r, uint64_t now_ms);

#endif
