/* What clang's analyzer, which sees one file at a time, cannot know. tools/tidy puts it in front of every file but those that
 * define these functions. */
#include <errno.h>

#include "base/error.h"
#include "tfcc/error.h"

/* errno is read after a failure: it is not 0 then, and -errno is not either. The analyzer does not follow a minus sign through
 * an unknown number, so it gets some known ones. */
int analyzer_choice(void);
extern int analyzer_value;
#undef errno
#define errno (*(analyzer_value = analyzer_choice() ? EIO : analyzer_choice() ? ENOENT : EAGAIN, &analyzer_value))

/* These return the code that they were given. */
#define a_fail(e, rc, ...) ((void)a_fail((e), (rc), __VA_ARGS__), (rc))
#define a_fail_errno(e, rc, ...) ((void)a_fail_errno((e), (rc), __VA_ARGS__), (rc))
#define tfcc_fail(e, code, ...) ((void)tfcc_fail((e), (code), __VA_ARGS__), (code))
