/* Randomness from the kernel: for secrets, identities and seeds. Aborts when the kernel has none to give, for
 * nothing safe could follow. */
#ifndef A_SYS_RANDOM_H
#define A_SYS_RANDOM_H

#include <stddef.h>
#include <stdint.h>

#include "types/id.h"

void sys_random_bytes(void *ret_bytes, size_t len);
/* A seed for a_random_init() and for hash maps whose keys a peer chooses. */
uint64_t sys_random_seed(void);
/* 2 * n lower-case hex digits and a zero: tokens. */
void sys_random_hex(char *ret_text, size_t n_bytes);
void sys_random_uuid4(struct a_uuid *ret_uuid);
/* Version 7, of the wall clock: request ids. */
void sys_random_uuid7(struct a_uuid *ret_uuid);

#endif
