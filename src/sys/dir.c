/* Folders. Whatever walks downwards does so by descriptors (openat, no following of links), so that nobody
 * can swap a folder for a link under it, and stays on the device where it began. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/alloc.h"
#include "sys/file.h"

#define MAX_DEPTH 256 /* one descriptor each */

int sys_dir_make(const char *path, mode_t mode, struct a_error *reterr)
{
    A_AUTOFREE char *copy = a_strdup(path);
    for (char *p = copy + 1; copy[0] != '\0'; p++) {
        bool last = *p == '\0';
        if (*p != '/' && !last)
            continue;
        *p = '\0';
        if (mkdir(copy, mode) != 0 && errno != EEXIST)
            return a_fail_errno(reterr, -errno, "cannot make folder %s", copy);
        if (last)
            break;
        *p = '/';
    }
    struct stat st;
    if (stat(path, &st) != 0)
        return a_fail_errno(reterr, -errno, "cannot make folder %s", path);
    return S_ISDIR(st.st_mode) ? 0 : a_fail_errno(reterr, -ENOTDIR, "cannot make folder %s", path);
}

int sys_dir_sync(const char *path, struct a_error *reterr)
{
    SYS_FD_AUTO int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 || fsync(fd) != 0)
        return a_fail_errno(reterr, -errno, "cannot sync folder %s", path);
    return 0;
}

int sys_dir_make_temp(const char *prefix, char **ret_path, struct a_error *reterr)
{
    char *path = a_asprintf("%sXXXXXX", prefix);
    if (mkdtemp(path) == NULL) {
        int rc = a_fail_errno(reterr, -errno, "cannot make folder %s", path);
        a_free(path);
        return rc;
    }
    *ret_path = path;
    return 0;
}

static bool is_dots(const char *name)
{
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static void dir_closep(DIR **dir)
{
    if (*dir != NULL)
        closedir(*dir);
}

/* Opens a folder below `at`; -ELOOP or -ENOTDIR when it is a link. */
static int dir_open(int at, const char *name, DIR **ret)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    DIR *dir = fdopendir(fd);
    if (dir == NULL) {
        sys_fd_close(fd);
        return -ENOMEM;
    }
    *ret = dir;
    return 0;
}

struct walk {
    dev_t device;
    uint64_t bytes; /* of sys_dir_usage */
    bool remove;
    char *failed; /* the first name that went wrong */
};

static int walk_failed(struct walk *w, int rc, const char *name)
{
    if (w->failed == NULL)
        w->failed = a_strdup(name);
    return rc;
}

static int walk_folder(struct walk *w, int at, const char *name, int depth);

static int walk_entry(struct walk *w, int at, const char *name, int depth)
{
    struct stat st;
    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
        return errno == ENOENT ? 0 : walk_failed(w, -errno, name);
    if (!S_ISDIR(st.st_mode)) {
        w->bytes += (uint64_t)st.st_blocks * 512u;
        if (w->remove && unlinkat(at, name, 0) != 0 && errno != ENOENT)
            return walk_failed(w, -errno, name);
        return 0;
    }
    if (st.st_dev != w->device)
        return w->remove ? walk_failed(w, -EXDEV, name) : 0;
    w->bytes += (uint64_t)st.st_blocks * 512u;
    int rc = walk_folder(w, at, name, depth);
    if (rc == 0 && w->remove && unlinkat(at, name, AT_REMOVEDIR) != 0 && errno != ENOENT)
        rc = walk_failed(w, -errno, name);
    return rc;
}

/* Goes on after a failure, so that as much as possible is gone; answers the first. */
static int walk_folder(struct walk *w, int at, const char *name, int depth)
{
    A_CLEANUP(dir_closep)
    DIR *dir = NULL;
    int first = 0;
    if (depth > MAX_DEPTH)
        return walk_failed(w, -ELOOP, name);
    if (w->remove) /* packages are often unpacked read-only */
        (void)fchmodat(at, name, 0700, 0);
    int rc = dir_open(at, name, &dir);
    if (rc != 0)
        return rc == -ENOENT ? 0 : walk_failed(w, rc, name);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        rc = is_dots(e->d_name) ? 0 : walk_entry(w, dirfd(dir), e->d_name, depth + 1);
        if (rc != 0 && first == 0)
            first = rc;
    }
    return first;
}

int sys_dir_remove(const char *path, struct a_error *reterr)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? 0 : a_fail_errno(reterr, -errno, "cannot remove %s", path);
    struct walk w = {.device = st.st_dev, .remove = true};
    int rc = walk_entry(&w, AT_FDCWD, path, 0);
    if (rc != 0)
        rc = a_fail_errno(reterr, rc, "cannot remove %s: %s", path, w.failed);
    a_free(w.failed);
    return rc;
}

int sys_dir_remove_empty(const char *path, struct a_error *reterr)
{
    if (rmdir(path) == 0 || errno == ENOENT)
        return 0;
    return errno == ENOTEMPTY ? -ENOTEMPTY : a_fail_errno(reterr, -errno, "cannot remove %s", path);
}

int sys_dir_usage(const char *path, uint64_t *ret_bytes, struct a_error *reterr)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return a_fail_errno(reterr, -errno, "cannot look at %s", path);
    struct walk w = {.device = st.st_dev};
    int rc = walk_entry(&w, AT_FDCWD, path, 0);
    if (rc != 0)
        rc = a_fail_errno(reterr, rc, "cannot measure %s: %s", path, w.failed);
    else
        *ret_bytes = w.bytes;
    a_free(w.failed);
    return rc;
}

static bool entry_is_dir(DIR *dir, const struct dirent *e)
{
    struct stat st;
    if (e->d_type != DT_UNKNOWN)
        return e->d_type == DT_DIR;
    return fstatat(dirfd(dir), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

int sys_dir_list(const char *path, int (*each)(void *ctx, const char *name, bool is_dir), void *ctx,
                 struct a_error *reterr)
{
    A_CLEANUP(dir_closep)
    DIR *dir = opendir(path);
    if (dir == NULL)
        return a_fail_errno(reterr, -errno, "cannot list %s", path);
    for (struct dirent *e; (e = readdir(dir)) != NULL;) {
        int rc = is_dots(e->d_name) ? 0 : each(ctx, e->d_name, entry_is_dir(dir, e));
        if (rc != 0)
            return rc;
    }
    return 0;
}

int sys_disk_free(const char *path, uint64_t *ret_free_bytes, uint64_t *ret_total_bytes,
                  struct a_error *reterr)
{
    struct statvfs vfs;
    if (statvfs(path, &vfs) != 0)
        return a_fail_errno(reterr, -errno, "cannot look at the file system of %s", path);
    *ret_free_bytes = (uint64_t)vfs.f_bavail * vfs.f_frsize;
    *ret_total_bytes = (uint64_t)vfs.f_blocks * vfs.f_frsize;
    return 0;
}
