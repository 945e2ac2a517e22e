/* Astra's own Python, which packs environments: where it is, and running it. */
#ifndef A_CLI_PYTHON_H
#define A_CLI_PYTHON_H

#include "cli/cli.h"

/* The folder that holds the package `astra`: ASTRA_LIBDIR/python, lib/astra/python beside the executable's
 * bin, or python/ of the source tree that the executable was built in. In `arena`. */
int cli_python_find(struct a_arena *arena, const char **ret_folder, struct a_error *reterr) A_MUST_CHECK;
/* Runs `python3 -m astra.envpack ARGS` (ends with NULL) with our stderr; its stdout goes to the file `out`,
 * or is ours for NULL. *ret_status is its exit status. */
int cli_python_envpack(struct cli_call *c, const char *const *args, const char *out, int *ret_status,
                       struct a_error *reterr) A_MUST_CHECK;

#endif
