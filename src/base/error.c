#include "base/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

static const struct {
    const char *name;
    int http;
    int exit;
} codes[] = {
#define X(name, text, http, exit) [A_CODE_##name] = {text, http, exit},
#include "base/error_codes.h"
#undef X
};

A_PRINTF(1, 0) static char *format(const char *fmt, va_list args)
{
    char *text = NULL;
    int n = vasprintf(&text, fmt, args);
    a_assert(n >= 0);
    return text;
}

static void error_replace(struct a_error *e, enum a_code code, char *message)
{
    if (e == NULL) {
        free(message);
        return;
    }
    free(e->message);
    e->code = code;
    e->message = message;
}

void a_error_set(struct a_error *e, enum a_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_replace(e, code, format(fmt, args));
    va_end(args);
}

int a_fail(struct a_error *e, int rc, enum a_code code, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    error_replace(e, code, format(fmt, args));
    va_end(args);
    return rc;
}

int a_fail_errno(struct a_error *e, int rc, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    A_AUTOFREE char *what = format(fmt, args);
    va_end(args);
    char why[128];
    error_replace(e, A_CODE_OS, a_asprintf("%s: %s", what, strerror_r(-rc, why, sizeof why)));
    return rc;
}

void a_error_wrap(struct a_error *e, const char *fmt, ...)
{
    if (e == NULL)
        return;
    va_list args;
    va_start(args, fmt);
    A_AUTOFREE char *context = format(fmt, args);
    va_end(args);
    error_replace(e, e->code, a_asprintf("%s: %s", context, a_error_text(e)));
}

void a_error_move(struct a_error *to, struct a_error *from)
{
    error_replace(to, from->code, a_steal(&from->message));
    from->code = A_CODE_NONE;
}

const char *a_error_text(const struct a_error *e)
{
    return e->message != NULL ? e->message : a_code_name(e->code);
}

void a_error_deinit(struct a_error *e)
{
    free(e->message);
    *e = A_ERROR_NONE;
}

const char *a_code_name(enum a_code code)
{
    a_assert((size_t)code < A_ARRAY_SIZE(codes));
    return codes[code].name;
}

int a_code_http(enum a_code code)
{
    a_assert((size_t)code < A_ARRAY_SIZE(codes));
    return codes[code].http;
}

int a_code_exit(enum a_code code)
{
    a_assert((size_t)code < A_ARRAY_SIZE(codes));
    return codes[code].exit;
}

enum a_code a_code_parse(const char *name)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(codes); i++)
        if (strcmp(codes[i].name, name) == 0)
            return (enum a_code)i;
    return A_CODE_INTERNAL;
}
