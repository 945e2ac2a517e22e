/* Secrets: bytes that are never printed by the logger and are wiped when freed. */
#ifndef A_SYS_SECRET_H
#define A_SYS_SECRET_H

#include <stdbool.h>

#include "base/buf.h"

/* Zero-initialised = none. */
struct sys_secret {
    char *ptr; /* zero-terminated when not NULL */
    size_t len;
};

#define SYS_SECRET_AUTO A_CLEANUP(sys_secret_deinit)

/* Copies; what *s held is wiped. */
void sys_secret_set(struct sys_secret *s, struct a_view bytes);
void sys_secret_deinit(struct sys_secret *s); /* wipes; safe twice */
struct a_view sys_secret_view(const struct sys_secret *s);
/* In time that does not depend on where they differ. Two empty ones are not equal: no secret opens nothing.
 */
bool sys_secret_equal(const struct sys_secret *s, struct a_view bytes);
/* Wipes memory in a way that the compiler keeps. */
void sys_secret_wipe(void *bytes, size_t len);

#endif
