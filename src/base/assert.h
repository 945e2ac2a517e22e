/* Assertions are for our own bugs and stay on in every build; bytes from a peer, a file or a setting get an
 * error.
 *
 * a_assert() ends the process. a_check() is for the data plane, where one broken stream must not end its
 * neighbours: it evaluates to the condition, counts each failure and tells the hook once per place. Tests
 * fail when a_check_failures() is not 0 at their end. */
#ifndef A_BASE_ASSERT_H
#define A_BASE_ASSERT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"

__attribute__((noreturn)) void a_assert_failed(const char *expr, const char *file, int line);
bool a_check_failed(const char *expr, const char *file, int line, bool first);

#define a_assert(expr)                                                                                       \
    do {                                                                                                     \
        if (__builtin_expect(!(expr), 0))                                                                    \
            a_assert_failed(#expr, __FILE__, __LINE__);                                                      \
    } while (0)

#define a_check(expr)                                                                                        \
    ({                                                                                                       \
        static bool a_seen_;                                                                                 \
        bool a_ok_ = (expr);                                                                                 \
        if (__builtin_expect(!a_ok_, 0)) {                                                                   \
            a_check_failed(#expr, __FILE__, __LINE__, !a_seen_);                                             \
            a_seen_ = true;                                                                                  \
        }                                                                                                    \
        a_ok_;                                                                                               \
    })

/* How often any a_check() failed in this process. */
uint64_t a_check_failures(void);

/* The hook told of the first failure at each place; default writes a line to stderr. NULL restores the
 * default. */
void a_check_set_hook(void (*hook)(const char *expr, const char *file, int line));

/* Objects that pass through void * start with a magic number and come back by A_CAST(). */
#define A_MAGIC(a, b, c, d) ((uint32_t)(a) | (uint32_t)(b) << 8 | (uint32_t)(c) << 16 | (uint32_t)(d) << 24)
#define A_CAST(type, ptr, magic_value)                                                                       \
    ({                                                                                                       \
        type *a_cast_ = (type *)(ptr);                                                                       \
        a_assert(a_cast_ != NULL && a_cast_->magic == (magic_value));                                        \
        a_cast_;                                                                                             \
    })

#endif
