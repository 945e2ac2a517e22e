/* An app's file: read, expanded from the short form, checked, every error at once. */
#ifndef A_CLI_APPFILE_H
#define A_CLI_APPFILE_H

#include "cli/cli.h"
#include "unit/app.h"

struct cli_appfile {
    const char *path;   /* as it was typed */
    const char *folder; /* that it is in: paths in it count from there */
    const char *namespace, *name;
    struct wire_value *doc; /* the long form as written: positions of errors */
    struct wire_value *app; /* the long form with all defaults; NULL when it has errors */
    struct wire_problems problems;
};

/* -ENOENT, -EINVAL (no YAML): nothing but the error. Else 0, with what is wrong in `ret->problems`.
 * --namespace and the file's own must not differ. */
int cli_appfile_read(struct cli_call *c, const char *path, struct cli_appfile *ret,
                     struct a_error *reterr) A_MUST_CHECK;
/* Prints errors and warnings to stderr, and fails (A_CODE_APP_INVALID) when there are errors. */
int cli_appfile_verdict(const struct cli_appfile *f, struct a_error *reterr) A_MUST_CHECK;
/* [{severity, code, field, line, column, message, hint}] */
struct wire_value *cli_appfile_problems(struct cli_call *c, const struct cli_appfile *f);

#endif
