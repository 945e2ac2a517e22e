/* Heads that outlive the buffer they were parsed from. */
#ifndef A_NET_HTTP_HEAD_H
#define A_NET_HTTP_HEAD_H

#include "base/arena.h"
#include "wire/http1.h"

/* `h` was parsed from `bytes`: copies its h->size bytes into the arena and lets its views point there. False
 * when there is no memory. */
bool net_http_head_keep(struct wire_http_head *h, struct a_arena *arena, const char *bytes) A_MUST_CHECK;

#endif
