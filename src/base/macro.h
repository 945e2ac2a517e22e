/* Small compile-time helpers shared by every layer. */
#ifndef A_BASE_MACRO_H
#define A_BASE_MACRO_H

#include <stddef.h>

#define A_ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
#define A_CONTAINER_OF(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))
#define A_MUST_CHECK __attribute__((warn_unused_result))
#define A_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define A_UNUSED __attribute__((unused))
#define A_MIN(a, b) ((a) < (b) ? (a) : (b))
#define A_MAX(a, b) ((a) > (b) ? (a) : (b))
#define A_STRINGIFY_(x) #x
#define A_STRINGIFY(x) A_STRINGIFY_(x)

/* A_CLEANUP(f) runs f(&variable) when the variable leaves its scope; a_steal() gives the value away. */
#define A_CLEANUP(f) __attribute__((cleanup(f)))

#define a_steal(ptr)                                                                                         \
    ({                                                                                                       \
        __typeof__(*(ptr)) a_stolen_ = *(ptr);                                                               \
        *(ptr) = NULL;                                                                                       \
        a_stolen_;                                                                                           \
    })

#endif
