#include "base/assert.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t failures;
static void (*check_hook)(const char *, const char *, int);

void a_assert_failed(const char *expr, const char *file, int line)
{
    fprintf(stderr, "astra: assertion failed: %s (%s:%d)\n", expr, file, line);
    abort();
}

bool a_check_failed(const char *expr, const char *file, int line, bool first)
{
    __atomic_add_fetch(&failures, 1, __ATOMIC_RELAXED);
    if (!first)
        return false;
    void (*hook)(const char *, const char *, int) = __atomic_load_n(&check_hook, __ATOMIC_ACQUIRE);
    if (hook != NULL)
        hook(expr, file, line);
    else
        fprintf(stderr, "astra: check failed: %s (%s:%d)\n", expr, file, line);
    return false;
}

uint64_t a_check_failures(void)
{
    return __atomic_load_n(&failures, __ATOMIC_RELAXED);
}

void a_check_set_hook(void (*hook)(const char *expr, const char *file, int line))
{
    __atomic_store_n(&check_hook, hook, __ATOMIC_RELEASE);
}
