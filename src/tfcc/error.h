/* How libtfcc says what went wrong: a code and a sentence in the caller's storage, so that reporting an error
 * needs no memory. */
#ifndef A_TFCC_ERROR_H
#define A_TFCC_ERROR_H

#include "astra/tfcc.h"
#include "base/macro.h"

/* Writes the error (NULL is allowed) and returns `code`. */
int tfcc_fail(struct tfcc_error *e, int code, const char *fmt, ...) A_PRINTF(3, 4);
/* The same with ": " and strerror(-rc) appended; the code is TFCC_E_OS, or what fits better (memory, not
 * found). `rc` is -errno. */
int tfcc_fail_errno(struct tfcc_error *e, int rc, const char *fmt, ...) A_PRINTF(3, 4);
/* Puts "context: " in front of the sentence and returns its code; of a NULL error `code`. */
int tfcc_wrap(struct tfcc_error *e, int code, const char *fmt, ...) A_PRINTF(3, 4);

#endif
