/* Kubernetes' times: RFC 3339 in UTC. Pure arithmetic: the clock is the caller's. */
#ifndef KUBE_TIME_H
#define KUBE_TIME_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define KUBE_TIME_LEN 27 /* 2026-08-01T10:20:30.123456Z */

/* "2026-08-01T10:20:30Z", or with a fraction, of which six digits count, to microseconds since 1970. */
bool kube_time_parse(struct a_view text, int64_t *ret_us) A_MUST_CHECK;
/* With six digits of fraction (MicroTime); `out` holds KUBE_TIME_LEN + 1 bytes. Years 0 to 9999. */
void kube_time_print(int64_t us, char *out);

#endif
