/* Errors. A function returns 0, or -errno (fatal for the operation, passed up), or a positive code of its own
 * module that its caller handles. What a person must read travels beside it in an optional last `struct
 * a_error *reterr`, and gains context on its way up: "deploy ocr: unit ocr-x1y2z: head: Ray answered 500:
 * ...".
 *
 * `code` is a stable word for programs, from the table in base/error_codes.h ("unit.env.unpack_failed"): the
 * HTTP status and the CLI's exit status follow from it. */
#ifndef A_BASE_ERROR_H
#define A_BASE_ERROR_H

#include "base/macro.h"

enum a_code {
#define X(name, text, http, exit) A_CODE_##name,
#include "base/error_codes.h"
#undef X
    A_CODE_COUNT_
};

/* Zero-initialised = no error. */
struct a_error {
    enum a_code code;
    char *message; /* owned; NULL when nothing was said */
};

#define A_ERROR_NONE ((struct a_error){A_CODE_NONE, NULL})
#define A_ERROR_AUTO A_CLEANUP(a_error_deinit)

/* Replaces what `e` holds. NULL `e` is allowed everywhere: then nothing is said. */
void a_error_set(struct a_error *e, enum a_code code, const char *fmt, ...) A_PRINTF(3, 4);
/* As a_error_set and returns `rc`, for `return a_fail(reterr, -EINVAL, A_CODE_..., "...")`. */
int a_fail(struct a_error *e, int rc, enum a_code code, const char *fmt, ...) A_PRINTF(4, 5);
/* As a_fail for a failed system call: appends ": " and strerror(-rc). `rc` is -errno. */
int a_fail_errno(struct a_error *e, int rc, const char *fmt, ...) A_PRINTF(3, 4);
/* Puts "context: " in front of the message; code stays. */
void a_error_wrap(struct a_error *e, const char *fmt, ...) A_PRINTF(2, 3);
/* Moves *from to *to (to may be NULL: then it is only freed). *from is empty afterwards. */
void a_error_move(struct a_error *to, struct a_error *from);
/* The message, or the code's own word when none; never NULL. */
const char *a_error_text(const struct a_error *e);
/* Safe on a zeroed object and twice. */
void a_error_deinit(struct a_error *e);

const char *a_code_name(enum a_code code); /* "unit.env.unpack_failed" */
int a_code_http(enum a_code code);         /* HTTP status */
int a_code_exit(enum a_code code);         /* exit status of the CLI: 1 failed, 2 usage, 3 timed out */
/* A_CODE_INTERNAL when the word is not known. */
enum a_code a_code_parse(const char *name);

#endif
