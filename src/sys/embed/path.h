/* Files and folders, as far as finding and reading a model needs them. See dl.h on sys/embed. */
#ifndef A_SYS_EMBED_PATH_H
#define A_SYS_EMBED_PATH_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/macro.h"

#define SYS_EMBED_PATH_MAX 4096

enum sys_embed_path_kind {
    SYS_EMBED_PATH_FILE,
    SYS_EMBED_PATH_FOLDER,
    SYS_EMBED_PATH_OTHER,
};

/* What a path is after following links. */
int sys_embed_path_kind(const char *path, enum sys_embed_path_kind *ret) A_MUST_CHECK;
/* The absolute path without links; `ret` holds SYS_EMBED_PATH_MAX bytes. */
int sys_embed_path_resolve(const char *path, char *ret) A_MUST_CHECK;
/* Calls `each` with the name of every entry that does not begin with a dot, in no order, until it returns
 * false. */
int sys_embed_path_list(const char *folder, bool (*each)(void *arg, const char *name),
                        void *arg) A_MUST_CHECK;
/* The whole file, read-only; an empty file is the empty view. Undo with sys_embed_path_unmap(), which takes
 * the empty view. */
int sys_embed_path_map(const char *path, struct a_view *ret) A_MUST_CHECK;
void sys_embed_path_unmap(struct a_view *view);
/* Reads at most `size` - 1 bytes and adds a zero: for /proc and /sys. */
int sys_embed_path_read(const char *path, char *ret, size_t size) A_MUST_CHECK;

#endif
