#include "tfcc/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int tfcc_fail(struct tfcc_error *e, int code, const char *fmt, ...)
{
    if (e == NULL)
        return code;
    va_list args;
    va_start(args, fmt);
    vsnprintf(e->message, sizeof e->message, fmt, args);
    va_end(args);
    e->code = code;
    return code;
}

static int errno_code(int rc)
{
    return rc == -ENOMEM ? TFCC_E_MEMORY : rc == -ENOENT || rc == -ENOTDIR ? TFCC_E_NOT_FOUND : TFCC_E_OS;
}

int tfcc_fail_errno(struct tfcc_error *e, int rc, const char *fmt, ...)
{
    char what[TFCC_ERROR_TEXT], why[128];
    va_list args;
    va_start(args, fmt);
    vsnprintf(what, sizeof what, fmt, args);
    va_end(args);
    return tfcc_fail(e, errno_code(rc), "%s: %s", what, strerror_r(-rc, why, sizeof why));
}

int tfcc_wrap(struct tfcc_error *e, int code, const char *fmt, ...)
{
    if (e == NULL)
        return code;
    char context[TFCC_ERROR_TEXT], message[TFCC_ERROR_TEXT];
    va_list args;
    va_start(args, fmt);
    vsnprintf(context, sizeof context, fmt, args);
    va_end(args);
    memcpy(message, e->message, sizeof message);
    return tfcc_fail(e, e->code, "%s: %s", context, message);
}

const char *tfcc_code_name(int code)
{
    switch (code) {
    case TFCC_OK:
        return "ok";
#define X(name, value, word)                                                                                 \
    case value:                                                                                              \
        return word;
        TFCC_CODES(X)
#undef X
    default:
        return "unknown";
    }
}

const char *tfcc_version(void)
{
    return ASTRA_VERSION;
}
