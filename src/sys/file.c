/* Files. Folders are in dir.c. */
#include "sys/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"

void sys_fd_close(int fd)
{
    int keep = errno;
    if (fd >= 0)
        (void)close(fd);
    errno = keep;
}

void sys_fd_closep(int *fd)
{
    sys_fd_close(*fd);
}

int sys_fd_read_full(int fd, void *ret_bytes, size_t len)
{
    char *p = ret_bytes;
    while (len > 0) {
        ssize_t n = read(fd, p, len);
        if (n == 0)
            return -ENODATA;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

int sys_fd_write_full(int fd, const void *bytes, size_t len)
{
    const char *p = bytes;
    while (len > 0) {
        ssize_t n = write(fd, p, len);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            p += n;
            len -= (size_t)n;
        }
    }
    return 0;
}

ssize_t sys_fd_read_at(int fd, void *ret_bytes, size_t len, uint64_t offset)
{
    ssize_t n;
    do {
        n = pread(fd, ret_bytes, len, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    return n < 0 ? -errno : n;
}

int sys_fd_sync(int fd, struct a_error *reterr)
{
    return fsync(fd) == 0 ? 0 : a_fail_errno(reterr, -errno, "cannot sync a file");
}

int sys_fd_set_inherit(int fd, bool inherit)
{
    return fcntl(fd, F_SETFD, inherit ? 0 : FD_CLOEXEC) == 0 ? 0 : -errno;
}

static int open_failed(const char *path, struct a_error *reterr)
{
    int rc = -errno;
    if (rc == -ENOENT)
        return a_fail(reterr, rc, A_CODE_NOT_FOUND, "%s: no such file", path);
    return a_fail_errno(reterr, rc, "cannot open %s", path);
}

int sys_file_open_read(const char *path, int *ret_fd, struct a_error *reterr)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return open_failed(path, reterr);
    *ret_fd = fd;
    return 0;
}

int sys_file_append_open(const char *path, mode_t mode, int *ret_fd, struct a_error *reterr)
{
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, mode);
    if (fd < 0)
        return open_failed(path, reterr);
    *ret_fd = fd;
    return 0;
}

/* Reads to the end; files of /proc have no size, so the end is where read says so. */
static int read_to_end(int fd, size_t max, struct a_buf *b)
{
    size_t begin = b->len;
    for (;;) {
        size_t left = max - (b->len - begin);
        size_t want = A_MIN(left + 1, 32u * 1024u); /* one more than allowed tells too large from just full */
        if (!a_buf_reserve(b, want))
            return -ENOMEM;
        ssize_t n = read(fd, b->ptr + b->len, want);
        if (n == 0)
            return 0;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0 && (size_t)n > left)
            return -EFBIG;
        if (n > 0)
            b->len += (size_t)n;
        b->ptr[b->len] = '\0';
    }
}

int sys_file_read(const char *path, size_t max, struct a_buf *ret_bytes, struct a_error *reterr)
{
    SYS_FD_AUTO int fd = -1;
    size_t before = ret_bytes->len;
    int rc = sys_file_open_read(path, &fd, reterr);
    if (rc != 0)
        return rc;
    rc = read_to_end(fd, max, ret_bytes);
    if (rc == 0)
        return 0;
    ret_bytes->len = before;
    if (ret_bytes->ptr != NULL)
        ret_bytes->ptr[before] = '\0';
    if (rc == -EFBIG)
        return a_fail(reterr, rc, A_CODE_TOO_LARGE, "%s has more than %zu bytes", path, max);
    return a_fail_errno(reterr, rc, "cannot read %s", path);
}

/* A pipe must not hold us. */
static int regular_open(const char *path, int *ret_fd, struct stat *ret_stat, struct a_error *reterr)
{
    SYS_FD_AUTO int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return open_failed(path, reterr);
    if (fstat(fd, ret_stat) != 0)
        return a_fail_errno(reterr, -errno, "cannot look at %s", path);
    if (!S_ISREG(ret_stat->st_mode))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s is not a regular file", path);
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int sys_file_read_part(const char *path, uint64_t offset, size_t max, struct a_buf *ret_bytes,
                       struct sys_file_facts *ret_facts, struct a_error *reterr)
{
    SYS_FD_AUTO int fd = -1;
    struct stat st;
    size_t before = ret_bytes->len;
    int rc = regular_open(path, &fd, &st, reterr);
    if (rc != 0)
        return rc;
    uint64_t size = (uint64_t)st.st_size;
    if (offset == SYS_FILE_TAIL)
        offset = size > max ? size - max : 0;
    size_t want = offset < size ? (size_t)A_MIN(size - offset, (uint64_t)max) : 0;
    if (!a_buf_reserve(ret_bytes, want + 1))
        return a_fail_errno(reterr, -ENOMEM, "cannot read %s", path);
    while (ret_bytes->len - before < want) {
        size_t done = ret_bytes->len - before;
        ssize_t n = pread(fd, ret_bytes->ptr + ret_bytes->len, want - done, (off_t)(offset + done));
        if (n == 0)
            break; /* it was cut meanwhile */
        if (n < 0 && errno != EINTR)
            return a_fail_errno(reterr, -errno, "cannot read %s", path);
        ret_bytes->len += n > 0 ? (size_t)n : 0;
    }
    ret_bytes->ptr[ret_bytes->len] = '\0';
    *ret_facts = (struct sys_file_facts){size, st.st_uid};
    return 0;
}

/* The folder of a path, in fresh memory. */
static char *parent_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return a_strdup(".");
    return slash == path ? a_strdup("/") : a_strndup(path, (size_t)(slash - path));
}

static int sync_parent(const char *path, struct a_error *reterr)
{
    A_AUTOFREE char *dir = parent_of(path);
    return sys_dir_sync(dir, reterr);
}

static int temp_write(int fd, const void *bytes, size_t len, mode_t mode)
{
    int rc = sys_fd_write_full(fd, bytes, len);
    if (rc == 0 && fchmod(fd, mode) != 0)
        rc = -errno;
    if (rc == 0 && fsync(fd) != 0)
        rc = -errno;
    return rc;
}

int sys_file_write_atomic(const char *path, const void *bytes, size_t len, mode_t mode,
                          struct a_error *reterr)
{
    A_AUTOFREE char *temp = a_asprintf("%s.XXXXXX", path);
    SYS_FD_AUTO int fd = mkostemp(temp, O_CLOEXEC);
    if (fd < 0)
        return a_fail_errno(reterr, -errno, "cannot write %s", path);
    int rc = temp_write(fd, bytes, len, mode);
    if (rc == 0 && rename(temp, path) != 0)
        rc = -errno;
    if (rc != 0) {
        (void)unlink(temp);
        return a_fail_errno(reterr, rc, "cannot write %s", path);
    }
    return sync_parent(path, reterr);
}

int sys_file_copy(const char *from, const char *to, mode_t mode, struct a_error *reterr)
{
    SYS_FD_AUTO int in = -1;
    int rc = sys_file_open_read(from, &in, reterr);
    if (rc != 0)
        return rc;
    SYS_FD_AUTO int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    if (out < 0)
        return open_failed(to, reterr);
    A_AUTOFREE char *chunk = a_alloc(128u * 1024u);
    for (;;) {
        ssize_t n = read(in, chunk, 128u * 1024u);
        if (n == 0)
            return 0;
        if (n < 0 && errno == EINTR)
            continue;
        rc = n < 0 ? -errno : sys_fd_write_full(out, chunk, (size_t)n);
        if (rc != 0)
            return a_fail_errno(reterr, rc, "cannot copy %s to %s", from, to);
    }
}

int sys_file_rename(const char *from, const char *to, struct a_error *reterr)
{
    if (rename(from, to) != 0)
        return a_fail_errno(reterr, -errno, "cannot rename %s to %s", from, to);
    return sync_parent(to, reterr);
}

int sys_file_remove(const char *path, struct a_error *reterr)
{
    if (unlink(path) != 0 && errno != ENOENT)
        return a_fail_errno(reterr, -errno, "cannot remove %s", path);
    return 0;
}

int sys_file_clear(const char *path, struct a_error *reterr)
{
    if (truncate(path, 0) != 0)
        return a_fail_errno(reterr, -errno, "cannot clear %s", path);
    return 0;
}

bool sys_file_exists(const char *path)
{
    return access(path, F_OK) == 0;
}

int sys_file_stat(const char *path, struct sys_stat *ret_stat, struct a_error *reterr)
{
    struct stat st;
    if (lstat(path, &st) != 0)
        return errno == ENOENT ? -ENOENT : a_fail_errno(reterr, -errno, "cannot look at %s", path);
    *ret_stat = (struct sys_stat){
        .is_file = S_ISREG(st.st_mode),
        .is_dir = S_ISDIR(st.st_mode),
        .is_link = S_ISLNK(st.st_mode),
        .size = (uint64_t)st.st_size,
        .mtime_ms = (uint64_t)st.st_mtim.tv_sec * 1000u + (uint64_t)st.st_mtim.tv_nsec / 1000000u,
        .blocks_bytes = (uint64_t)st.st_blocks * 512u,
        .mode = st.st_mode & 07777u,
        .uid = st.st_uid,
        .device = st.st_dev,
        .inode = st.st_ino,
    };
    return 0;
}

int sys_symlink_replace(const char *target, const char *path, struct a_error *reterr)
{
    A_AUTOFREE char *temp = a_asprintf("%s.new-%ld", path, (long)getpid());
    (void)unlink(temp);
    if (symlink(target, temp) != 0)
        return a_fail_errno(reterr, -errno, "cannot link %s", path);
    if (rename(temp, path) != 0) {
        int rc = -errno;
        (void)unlink(temp);
        return a_fail_errno(reterr, rc, "cannot link %s", path);
    }
    return 0;
}

int sys_link_read(const char *path, char **ret_target, struct a_error *reterr)
{
    char target[4096];
    ssize_t n = readlink(path, target, sizeof target);
    if (n < 0)
        return a_fail_errno(reterr, -errno, "cannot read link %s", path);
    *ret_target = a_strndup(target, (size_t)n);
    return 0;
}

int sys_lock_take(const char *path, int *ret_fd, struct a_error *reterr)
{
    SYS_FD_AUTO int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return open_failed(path, reterr);
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        int rc = -errno;
        return rc == -EWOULDBLOCK
                   ? a_fail(reterr, rc, A_CODE_CONFLICT, "%s is in use by another process", path)
                   : a_fail_errno(reterr, rc, "cannot lock %s", path);
    }
    *ret_fd = fd;
    fd = -1;
    return 0;
}

int sys_map_open(const char *path, struct sys_map *ret_map, struct a_error *reterr)
{
    SYS_FD_AUTO int fd = -1;
    struct stat st;
    int rc = regular_open(path, &fd, &st, reterr);
    if (rc != 0)
        return rc;
    if (st.st_size == 0) {
        *ret_map = (struct sys_map){0};
        return 0;
    }
    void *p = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (p == MAP_FAILED)
        return a_fail_errno(reterr, -errno, "cannot map %s", path);
    *ret_map = (struct sys_map){.bytes = {p, (size_t)st.st_size}};
    return 0;
}

void sys_map_close(struct sys_map *map)
{
    if (map->bytes.ptr != NULL)
        (void)munmap((void *)(uintptr_t)map->bytes.ptr, map->bytes.len);
    map->bytes = (struct a_view){NULL, 0};
}

char *sys_path_join(const char *dir, const char *name)
{
    size_t len = strlen(dir);
    while (len > 1 && dir[len - 1] == '/')
        len--;
    return a_asprintf("%.*s%s%s", (int)len, dir, len == 1 && dir[0] == '/' ? "" : "/", name);
}

int sys_path_real(const char *path, char **ret_path, struct a_error *reterr)
{
    char *real = realpath(path, NULL);
    if (real == NULL)
        return a_fail_errno(reterr, -errno, "cannot find %s", path);
    *ret_path = real;
    return 0;
}

int sys_path_self(char **ret_path, struct a_error *reterr)
{
    return sys_link_read("/proc/self/exe", ret_path, reterr);
}

bool sys_path_is_inside(struct a_view path)
{
    if (path.len == 0 || path.ptr[path.len - 1] == '/' || memchr(path.ptr, '\0', path.len) != NULL)
        return false;
    while (path.len > 0) {
        struct a_view part = a_view_split(path, '/', &path);
        if (part.len == 0 || a_view_is(part, ".") || a_view_is(part, ".."))
            return false;
    }
    return true;
}
