#include "sys/embed/path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(SYS_EMBED_PATH_MAX >= PATH_MAX, "realpath() writes up to PATH_MAX bytes");

int sys_embed_path_kind(const char *path, enum sys_embed_path_kind *ret)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return -errno;
    *ret = S_ISREG(st.st_mode)   ? SYS_EMBED_PATH_FILE
           : S_ISDIR(st.st_mode) ? SYS_EMBED_PATH_FOLDER
                                 : SYS_EMBED_PATH_OTHER;
    return 0;
}

int sys_embed_path_resolve(const char *path, char *ret)
{
    return realpath(path, ret) != NULL ? 0 : -errno;
}

int sys_embed_path_list(const char *folder, bool (*each)(void *arg, const char *name), void *arg)
{
    DIR *dir = opendir(folder);
    if (dir == NULL)
        return -errno;
    struct dirent *entry;
    int rc = 0;
    for (;;) {
        errno = 0;
        entry = readdir(dir);
        if (entry == NULL) {
            rc = -errno;
            break;
        }
        if (entry->d_name[0] != '.' && !each(arg, entry->d_name))
            break;
    }
    closedir(dir);
    return rc;
}

static int fd_map(int fd, struct a_view *ret)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return S_ISDIR(st.st_mode) ? -EISDIR : -EINVAL;
    if (st.st_size == 0) {
        *ret = (struct a_view){0};
        return 0;
    }
    void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    *ret = (struct a_view){map, (size_t)st.st_size};
    return 0;
}

int sys_embed_path_map(const char *path, struct a_view *ret)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return -errno;
    int rc = fd_map(fd, ret);
    close(fd);
    return rc;
}

void sys_embed_path_unmap(struct a_view *view)
{
    if (view->len != 0)
        munmap((void *)(uintptr_t)view->ptr, view->len);
    *view = (struct a_view){0};
}

int sys_embed_path_read(const char *path, char *ret, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    size_t len = 0;
    ssize_t n = 1;
    while (len + 1 < size && n > 0) {
        n = read(fd, ret + len, size - 1 - len);
        if (n > 0)
            len += (size_t)n;
        else if (n < 0 && errno == EINTR)
            n = 1;
    }
    int rc = n < 0 ? -errno : 0;
    ret[len] = '\0';
    close(fd);
    return rc;
}
