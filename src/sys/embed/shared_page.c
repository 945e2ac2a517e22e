#include "sys/embed/shared_page.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sys/embed/host.h"

#define NAME_TRIES 100

static void random_name(char *out, size_t len)
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789";
    uint64_t bits = sys_embed_random();
    for (size_t i = 0; i < len; i++, bits /= 36)
        out[i] = letters[bits % 36];
    out[len] = '\0';
}

static int name_format(char *out, const char *folder, const char *hidden, const char *name)
{
    int n = snprintf(out, SYS_EMBED_PATH_MAX, "%s/%s%s", folder, hidden, name);
    return n > 0 && n < SYS_EMBED_PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int page_map(int fd, const void *contents, size_t bytes, void **ret)
{
    int rc = posix_fallocate(fd, 0, (off_t)bytes);
    if (rc != 0)
        return -rc;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0)
        return -errno;
    void *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    memcpy(map, contents, bytes);
    *ret = map;
    return 0;
}

static int page_publish(const char *folder, const char *name, const void *contents, size_t bytes,
                        struct sys_shared_page *ret)
{
    char hidden[SYS_EMBED_PATH_MAX], path[SYS_EMBED_PATH_MAX];
    int rc = name_format(hidden, folder, ".", name);
    if (rc == 0)
        rc = name_format(path, folder, "", name);
    if (rc != 0)
        return rc;
    int fd = open(hidden, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    void *map = NULL;
    rc = page_map(fd, contents, bytes, &map);
    if (rc == 0 && renameat2(AT_FDCWD, hidden, AT_FDCWD, path, RENAME_NOREPLACE) != 0)
        rc = -errno;
    if (rc != 0) {
        if (map != NULL)
            munmap(map, bytes);
        unlink(hidden);
        close(fd);
        return rc;
    }
    *ret = (struct sys_shared_page){map, bytes, fd};
    return 0;
}

int sys_shared_page_create(const char *folder, const char *stem, const char *suffix, const void *contents,
                           size_t bytes, struct sys_shared_page *ret)
{
    int rc = -EEXIST;
    for (int i = 0; i < NAME_TRIES && rc == -EEXIST; i++) {
        char random[7], name[256];
        random_name(random, 6);
        int n = snprintf(name, sizeof name, "%s-%s.%s", stem, random, suffix);
        if (n < 0 || (size_t)n >= sizeof name)
            return -ENAMETOOLONG;
        rc = page_publish(folder, name, contents, bytes, ret);
    }
    return rc;
}

void sys_shared_page_close(struct sys_shared_page *page)
{
    if (page->ptr != NULL)
        munmap(page->ptr, page->bytes);
    if (page->fd >= 0)
        close(page->fd);
    *page = (struct sys_shared_page){.fd = -1};
}

static void words_copy(void *to, const void *from, size_t bytes)
{
    uint64_t *out = to;
    const uint64_t *in = from;
    for (size_t i = 0; i < bytes / sizeof *in; i++)
        out[i] = __atomic_load_n(&in[i], __ATOMIC_RELAXED);
}

static int fd_read(int fd, void *ret, size_t bytes, bool *ret_alive)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode) || st.st_size < (off_t)bytes)
        return -ENODATA;
    /* asked first: numbers read after the writer was seen dead are its last */
    bool alive = flock(fd, LOCK_SH | LOCK_NB) != 0;
    if (alive && errno != EWOULDBLOCK)
        return -errno;
    void *map = mmap(NULL, bytes, PROT_READ, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    words_copy(ret, map, bytes);
    munmap(map, bytes);
    *ret_alive = alive;
    return 0;
}

int sys_shared_page_read(const char *path, void *ret, size_t bytes, bool *ret_alive)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0)
        return -errno;
    int rc = fd_read(fd, ret, bytes, ret_alive);
    close(fd);
    return rc;
}

static int fd_write_all(int fd, const char *bytes, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, bytes, len);
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0) {
            bytes += n;
            len -= (size_t)n;
        }
    }
    return fdatasync(fd) == 0 ? 0 : -errno;
}

int sys_shared_page_replace(const char *path, const void *contents, size_t bytes)
{
    char fresh[SYS_EMBED_PATH_MAX];
    int n = snprintf(fresh, sizeof fresh, "%s.new", path);
    if (n < 0 || (size_t)n >= sizeof fresh)
        return -ENAMETOOLONG;
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    int rc = fd_write_all(fd, contents, bytes);
    close(fd);
    if (rc == 0 && rename(fresh, path) != 0)
        rc = -errno;
    if (rc != 0)
        unlink(fresh);
    return rc;
}

int sys_shared_page_remove(const char *path)
{
    return unlink(path) == 0 ? 0 : -errno;
}

int sys_shared_page_lock(const char *folder, int *ret_fd)
{
    char path[SYS_EMBED_PATH_MAX];
    int rc = name_format(path, folder, ".", "lock");
    if (rc != 0)
        return rc;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0)
        return -errno;
    do
        rc = flock(fd, LOCK_EX) == 0 ? 0 : -errno;
    while (rc == -EINTR);
    if (rc != 0) {
        close(fd);
        return rc;
    }
    *ret_fd = fd;
    return 0;
}

void sys_shared_page_unlock(int fd)
{
    close(fd);
}
