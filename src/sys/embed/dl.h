/* Shared libraries opened at run time.
 *
 * sys/embed is the part of sys that libastra-tfcc takes along into a foreign process: no libuv, no threads,
 * no locale, nothing that ends the process; memory is the caller's. Functions return 0 or -errno. */
#ifndef A_SYS_EMBED_DL_H
#define A_SYS_EMBED_DL_H

#include <stddef.h>

#include "base/macro.h"

struct sys_embed_dl;

/* Loads a library with all its symbols bound and none of them visible to others; -ELIBACC with the loader's
 * own words in `why` when it cannot. A library that was loaded stays until the process ends: engines leave
 * thread-local destructors behind, which unloading would pull from under running threads. */
int sys_embed_dl_open(const char *path, struct sys_embed_dl **ret, char *why, size_t why_size) A_MUST_CHECK;
/* NULL when the library does not export it. */
void *sys_embed_dl_symbol(struct sys_embed_dl *dl, const char *name);
/* The folder of the library or program that holds this address, without links, no '/' at its end. */
int sys_embed_dl_folder_of(const void *address, char *ret, size_t size) A_MUST_CHECK;

#endif
