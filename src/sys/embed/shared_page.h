/* Small files shared by memory mapping between one writer and its readers, with the writer's life told by a
 * lock: the kernel lets go of it when the writer is gone, however it went and in whatever PID namespace it
 * lived. See dl.h on sys/embed. */
#ifndef A_SYS_EMBED_SHARED_PAGE_H
#define A_SYS_EMBED_SHARED_PAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/macro.h"
#include "sys/embed/path.h"

struct sys_shared_page {
    void *ptr;
    size_t bytes;
    int fd; /* holds the lock */
};

/* Makes FOLDER/STEM-xxxxxx.SUFFIX (x: random letters and digits) of `bytes` bytes, filled with a copy of
 * `contents`, mapped and locked before the name appears. Its room on the disk is taken at once, so that a
 * full disk is an error here and not a SIGBUS at a later write. */
int sys_shared_page_create(const char *folder, const char *stem, const char *suffix, const void *contents,
                           size_t bytes, struct sys_shared_page *ret) A_MUST_CHECK;
/* Unmaps and unlocks; the file stays. Safe on a zeroed object with fd -1, and twice. */
void sys_shared_page_close(struct sys_shared_page *page);

/* Copies the first `bytes` bytes of a page, each aligned 64-bit word by one atomic load, and says whether its
 * writer lives. -ENODATA when the file is shorter. */
int sys_shared_page_read(const char *path, void *ret, size_t bytes, bool *ret_alive) A_MUST_CHECK;
/* Writes a file as a whole: a reader sees the old one or the new one. */
int sys_shared_page_replace(const char *path, const void *contents, size_t bytes) A_MUST_CHECK;
int sys_shared_page_remove(const char *path) A_MUST_CHECK;
/* Waits for FOLDER/.lock; *ret_fd is to be given to sys_shared_page_unlock(). */
int sys_shared_page_lock(const char *folder, int *ret_fd) A_MUST_CHECK;
void sys_shared_page_unlock(int fd);

#endif
