/* Shared libraries opened at run time: engines and devices of TFCC. */
#ifndef A_SYS_DL_H
#define A_SYS_DL_H

#include "base/error.h"

struct sys_dl;

/* RTLD_NOW, RTLD_LOCAL. `path` with a '/' is that file, else the loader searches. */
int sys_dl_open(const char *path, struct sys_dl **ret_dl, struct a_error *reterr) A_MUST_CHECK;
/* -ENOENT and a message that names library and symbol when there is none. */
int sys_dl_symbol(struct sys_dl *dl, const char *name, void **ret_symbol,
                  struct a_error *reterr) A_MUST_CHECK;
/* NULL is allowed. */
void sys_dl_close(struct sys_dl *dl);

#endif
