/* Files and folders. All calls block: on a loop's thread only for small local files, else in the io pool.
 * Every descriptor is close-on-exec. Paths are taken as they are; what came from a peer is checked by the
 * caller. */
#ifndef A_SYS_FILE_H
#define A_SYS_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/error.h"

/* An owned descriptor: A_CLEANUP(sys_fd_closep) int fd = -1; */
void sys_fd_close(int fd); /* -1 allowed; never fails */
void sys_fd_closep(int *fd);
#define SYS_FD_AUTO A_CLEANUP(sys_fd_closep)
/* Reads or writes all `len` bytes, over interruptions and short transfers. Read: -ENODATA when the file ends
 * early. */
int sys_fd_read_full(int fd, void *ret_bytes, size_t len) A_MUST_CHECK;
int sys_fd_write_full(int fd, const void *bytes, size_t len) A_MUST_CHECK;
/* Up to `len` bytes from `offset` (the descriptor's own offset does not move): their number, 0 at the end, or
 * -errno. */
ssize_t sys_fd_read_at(int fd, void *ret_bytes, size_t len, uint64_t offset) A_MUST_CHECK;
/* What was written is on the disk. */
int sys_fd_sync(int fd, struct a_error *reterr) A_MUST_CHECK;

/* Appends the file to `ret_bytes` (zeroed or reused buffer); -EFBIG when it has more than `max` bytes. */
int sys_file_read(const char *path, size_t max, struct a_buf *ret_bytes, struct a_error *reterr) A_MUST_CHECK;

#define SYS_FILE_TAIL UINT64_MAX /* as an offset: so that the part ends where the file does */
/* Of the whole file, as it was when a part of it was read. Links are followed: `owner`, the user whose file
 * it is, tells one that leads to somebody else's. */
struct sys_file_facts {
    uint64_t size;
    uint32_t owner;
};
/* Appends at most `max` bytes of a regular file, from `offset` on; fewer, or none, where it ends. For files
 * that somebody else writes, cuts and replaces meanwhile. */
int sys_file_read_part(const char *path, uint64_t offset, size_t max, struct a_buf *ret_bytes,
                       struct sys_file_facts *ret_facts, struct a_error *reterr) A_MUST_CHECK;
/* Readers see the old contents or the new, never a mixture, and what was written survives a crash: temporary
 * file beside it, fsync, rename, fsync of the folder. */
int sys_file_write_atomic(const char *path, const void *bytes, size_t len, mode_t mode,
                          struct a_error *reterr) A_MUST_CHECK;
/* Opens for appending, creates with `mode`. */
int sys_file_append_open(const char *path, mode_t mode, int *ret_fd, struct a_error *reterr) A_MUST_CHECK;
int sys_file_open_read(const char *path, int *ret_fd, struct a_error *reterr) A_MUST_CHECK;
int sys_file_copy(const char *from, const char *to, mode_t mode, struct a_error *reterr) A_MUST_CHECK;
/* rename + fsync of the target's folder. */
int sys_file_rename(const char *from, const char *to, struct a_error *reterr) A_MUST_CHECK;
/* 0 also when there is none. */
int sys_file_remove(const char *path, struct a_error *reterr) A_MUST_CHECK;
/* Cuts the file to nothing; who appends to it goes on at its new end. */
int sys_file_clear(const char *path, struct a_error *reterr) A_MUST_CHECK;
bool sys_file_exists(const char *path);

struct sys_stat {
    bool is_file, is_dir, is_link; /* of the path itself: links are not followed */
    uint64_t size;
    uint64_t mtime_ms;     /* wall clock */
    uint64_t blocks_bytes; /* really occupied */
    mode_t mode;
    uid_t uid;
    uint64_t device, inode;
};
/* -ENOENT without a message when there is none; `reterr` is set for everything else. */
int sys_file_stat(const char *path, struct sys_stat *ret_stat, struct a_error *reterr) A_MUST_CHECK;
/* Replaces an existing link in one step. */
int sys_symlink_replace(const char *target, const char *path, struct a_error *reterr) A_MUST_CHECK;
/* Where the link points (owned by the caller). */
int sys_link_read(const char *path, char **ret_target, struct a_error *reterr) A_MUST_CHECK;

/* With all its parents; 0 when it is there already. */
int sys_dir_make(const char *path, mode_t mode, struct a_error *reterr) A_MUST_CHECK;
/* The folder and all below it, never following links and never leaving its device (what is mounted inside is
 * left, and an error). 0 when there is none. Read-only folders inside are made writable first. */
int sys_dir_remove(const char *path, struct a_error *reterr) A_MUST_CHECK;
/* The folder when nothing is in it: 0, also when there is none; -ENOTEMPTY, without a message, when something
 * is. */
int sys_dir_remove_empty(const char *path, struct a_error *reterr) A_MUST_CHECK;
/* PREFIXxxxxxx, mode 0700; the caller frees the path. */
int sys_dir_make_temp(const char *prefix, char **ret_path, struct a_error *reterr) A_MUST_CHECK;
/* each(ctx, name, is_dir) for every entry but "." and "..", in no order; a non-zero answer ends the walk and
 * is returned. */
int sys_dir_list(const char *path, int (*each)(void *ctx, const char *name, bool is_dir), void *ctx,
                 struct a_error *reterr) A_MUST_CHECK;
/* Bytes occupied by all below it (links not followed, same device). */
int sys_dir_usage(const char *path, uint64_t *ret_bytes, struct a_error *reterr) A_MUST_CHECK;
int sys_dir_sync(const char *path, struct a_error *reterr) A_MUST_CHECK;
/* Bytes free for this user, and all, of the file system that holds `path`. */
int sys_disk_free(const char *path, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes,
                  struct a_error *reterr) A_MUST_CHECK;

/* An exclusive lock, held until the descriptor is closed or the process ends. -EWOULDBLOCK when somebody
 * holds it. The file is created and stays; it is locked as an open file description, so a child that inherits
 * the descriptor holds it, too (see sys_fd_set_inherit). */
int sys_lock_take(const char *path, int *ret_fd, struct a_error *reterr) A_MUST_CHECK;
/* Clears or sets close-on-exec. */
int sys_fd_set_inherit(int fd, bool inherit) A_MUST_CHECK;

/* A file mapped for reading, which nobody may cut meanwhile: who reads what is gone is ended by SIGBUS. An
 * empty file gives an empty view. Zero-initialised = nothing mapped. */
struct sys_map {
    struct a_view bytes;
};
int sys_map_open(const char *path, struct sys_map *ret_map, struct a_error *reterr) A_MUST_CHECK;
void sys_map_close(struct sys_map *map); /* safe twice */

/* DIR/NAME in fresh memory; no double slash. */
char *sys_path_join(const char *dir, const char *name) __attribute__((malloc, returns_nonnull));
/* Absolute, without "." ".." and links; the path must exist. */
int sys_path_real(const char *path, char **ret_path, struct a_error *reterr) A_MUST_CHECK;
/* The running executable's path. */
int sys_path_self(char **ret_path, struct a_error *reterr) A_MUST_CHECK;
/* True for a relative path without empty, "." or ".." components and without a zero byte: safe to append to a
 * folder when it came from outside. */
bool sys_path_is_inside(struct a_view path);

#endif
