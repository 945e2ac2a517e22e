/* An arena: one per request or transaction, reset at its end. Pointers are aligned for any object. */
#ifndef A_BASE_ARENA_H
#define A_BASE_ARENA_H

#include <stddef.h>

#include "base/buf.h"

struct a_arena_block;

/* Zero-initialised = empty and usable. */
struct a_arena {
    struct a_arena_block *head;
    size_t used;  /* bytes handed out since the last reset */
    size_t limit; /* 0 = none; past it a_arena_try returns NULL */
};

#define A_ARENA_AUTO A_CLEANUP(a_arena_deinit)

void a_arena_deinit(struct a_arena *a); /* safe twice */
void a_arena_reset(struct a_arena *a);  /* frees all but the first block */
/* Zeroed; aborts when memory is out or past the limit: for sizes that we chose. */
void *a_arena_alloc(struct a_arena *a, size_t size) __attribute__((returns_nonnull));
/* Zeroed, or NULL: for sizes that a peer or a file chose. */
void *a_arena_try(struct a_arena *a, size_t size) A_MUST_CHECK;
char *a_arena_strdup(struct a_arena *a, const char *s) __attribute__((returns_nonnull));
char *a_arena_strndup(struct a_arena *a, const char *s, size_t len) __attribute__((returns_nonnull));
char *a_arena_printf(struct a_arena *a, const char *fmt, ...) A_PRINTF(2, 3) __attribute__((returns_nonnull));

#define a_arena_new(arena, type) ((type *)a_arena_alloc((arena), sizeof(type)))

#endif
