#include "base/alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static __thread uint64_t fail_countdown;

__attribute__((noreturn)) static void out_of_memory(size_t size)
{
    fprintf(stderr, "astra: out of memory (%zu bytes wanted)\n", size);
    abort();
}

void *a_alloc(size_t size)
{
    void *p = calloc(1, size != 0 ? size : 1);
    if (p == NULL)
        out_of_memory(size);
    return p;
}

void *a_alloc_array(size_t n, size_t size)
{
    size_t total;
    if (!a_size_mul(n, size, &total))
        out_of_memory(SIZE_MAX);
    return a_alloc(total);
}

void *a_realloc(void *ptr, size_t size)
{
    void *p = realloc(ptr, size != 0 ? size : 1);
    if (p == NULL)
        out_of_memory(size);
    return p;
}

char *a_strdup(const char *s)
{
    return a_strndup(s, strlen(s));
}

char *a_strndup(const char *s, size_t len)
{
    char *copy = a_alloc(len + 1);
    if (len > 0) /* of an empty view there may be no bytes at all */
        memcpy(copy, s, len);
    return copy;
}

char *a_asprintf(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int n = vasprintf(&text, fmt, args);
    va_end(args);
    if (n < 0)
        out_of_memory(0);
    return text;
}

static bool injected_failure(void)
{
    return fail_countdown != 0 && --fail_countdown == 0;
}

void *a_try_alloc(size_t size)
{
    return injected_failure() ? NULL : calloc(1, size != 0 ? size : 1);
}

void *a_try_realloc(void *ptr, size_t size)
{
    return injected_failure() ? NULL : realloc(ptr, size != 0 ? size : 1);
}

void a_free(void *ptr)
{
    free(ptr);
}

void a_freep(void *pointer_to_pointer)
{
    free(*(void **)pointer_to_pointer);
}

bool a_size_add(size_t a, size_t b, size_t *ret)
{
    size_t sum;
    if (__builtin_add_overflow(a, b, &sum))
        return false;
    *ret = sum;
    return true;
}

bool a_size_mul(size_t a, size_t b, size_t *ret)
{
    size_t product;
    if (__builtin_mul_overflow(a, b, &product))
        return false;
    *ret = product;
    return true;
}

void a_try_alloc_fail_at(uint64_t n)
{
    fail_countdown = n;
}
