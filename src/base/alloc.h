/* Memory. Small control allocations (a_alloc and friends) abort when memory is out: there is nothing left to
 * do that needs none. Where a peer, a file or a model chose the size, a_try_alloc returns NULL instead; bound
 * the size by a named limit first. Sizes are computed with the checked helpers. */
#ifndef A_BASE_ALLOC_H
#define A_BASE_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"

/* Zeroed memory of `size` bytes (0 allowed); never NULL. */
void *a_alloc(size_t size) __attribute__((malloc, returns_nonnull));
/* Zeroed array; aborts on overflow of n * size, too. */
void *a_alloc_array(size_t n, size_t size) __attribute__((malloc, returns_nonnull));
/* As realloc; new bytes are not zeroed. */
void *a_realloc(void *ptr, size_t size) __attribute__((returns_nonnull));
char *a_strdup(const char *s) __attribute__((malloc, returns_nonnull));
/* Copies exactly `len` bytes and adds a zero. */
char *a_strndup(const char *s, size_t len) __attribute__((malloc, returns_nonnull));
char *a_asprintf(const char *fmt, ...) A_PRINTF(1, 2) __attribute__((malloc, returns_nonnull));
/* Zeroed memory, or NULL when there is none or when fault injection says so. */
void *a_try_alloc(size_t size) A_MUST_CHECK;
void *a_try_realloc(void *ptr, size_t size) A_MUST_CHECK;
/* Takes NULL. */
void a_free(void *ptr);

/* Cleanup for `A_CLEANUP(a_freep) char *x`. */
void a_freep(void *pointer_to_pointer);
#define A_AUTOFREE A_CLEANUP(a_freep)

#define a_new(type) ((type *)a_alloc(sizeof(type)))

/* Overflow-checked size arithmetic: false, and *ret untouched, when the result does not fit. */
bool a_size_add(size_t a, size_t b, size_t *ret) A_MUST_CHECK;
bool a_size_mul(size_t a, size_t b, size_t *ret) A_MUST_CHECK;

/* Fault injection for tests: the n-th a_try_* call from now on fails (0 = never). Per thread. */
void a_try_alloc_fail_at(uint64_t n);

#endif
