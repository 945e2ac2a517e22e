/* Hashing for tables and rendezvous. a_hash_bytes is keyed SipHash-1-3 (Aumasson, Bernstein 2012): safe for
 * keys that a peer chooses when the seed is secret; deterministic when the seed is fixed. */
#ifndef A_BASE_HASH_H
#define A_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t a_hash_bytes(uint64_t seed, const void *bytes, size_t len);
uint64_t a_hash_str(uint64_t seed, const char *s);
/* A bijective mixer (splitmix64's finaliser) for integers. */
uint64_t a_hash_u64(uint64_t x);

#endif
