#include "sys/portblock.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"

#define LOCK_TRIES 8

/* What a released block's lock file says: until when it rests, on this boot's clock. */
struct rest {
    char boot_id[37];
    uint64_t until_boot_ms;
};

char *sys_portblock_dir(void)
{
    const char *runtime = sys_env_get("XDG_RUNTIME_DIR");
    return runtime != NULL ? sys_path_join(runtime, "astra-ports")
                           : a_asprintf("/tmp/astra-ports-%u", (unsigned)geteuid());
}

static char *block_path(const char *dir, uint16_t base)
{
    return a_asprintf("%s/%u", dir, base);
}

static int bind_try(uint32_t host, uint16_t port, int *ret_fd)
{
    struct sockaddr_in addr = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(host)};
    SYS_FD_AUTO int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    if (fd < 0)
        return -errno;
    /* With it, connections in TIME-WAIT do not hide that nobody listens any more. */
    (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0)
        return -errno;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

bool sys_port_is_used(uint16_t port)
{
    int fd;
    int rc = bind_try(INADDR_ANY, port, &fd); /* conflicts with a bind to any address */
    if (rc == 0)
        sys_fd_close(fd);
    return rc == -EADDRINUSE;
}

int sys_port_free(uint16_t *ret_port)
{
    struct sockaddr_in addr = {0};
    socklen_t len = sizeof addr;
    int fd;
    int rc = bind_try(INADDR_LOOPBACK, 0, &fd);
    if (rc != 0)
        return rc;
    rc = getsockname(fd, (struct sockaddr *)&addr, &len) == 0 ? 0 : -errno;
    sys_fd_close(fd);
    if (rc == 0)
        *ret_port = ntohs(addr.sin_port);
    return rc;
}

static bool block_is_used(uint16_t base)
{
    for (unsigned i = 0; i < SYS_PORTBLOCK_SIZE; i++)
        if (sys_port_is_used((uint16_t)(base + i)))
            return true;
    return false;
}

/* A rest that was noted before the last boot is over. */
static bool block_rests(int fd)
{
    struct rest rest;
    char boot_id[37];
    if (pread(fd, &rest, sizeof rest, 0) != (ssize_t)sizeof rest)
        return false;
    sys_env_boot_id(boot_id);
    return memcmp(rest.boot_id, boot_id, sizeof boot_id) == 0 && sys_clock_boot_ms() < rest.until_boot_ms;
}

static int dir_prepare(const char *dir, struct a_error *reterr)
{
    struct stat st;
    int rc = sys_dir_make(dir, 0700, reterr);
    if (rc != 0)
        return rc;
    if (lstat(dir, &st) != 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
        return a_fail(reterr, -EPERM, A_CODE_FORBIDDEN, "%s is not a folder of this user", dir);
    return 0;
}

/* True when `path` names the very file that `fd` has open: a sweep may have removed it in between. */
static bool file_is_same(int fd, const char *path)
{
    struct stat ours, named;
    return fstat(fd, &ours) == 0 && lstat(path, &named) == 0 && ours.st_dev == named.st_dev &&
           ours.st_ino == named.st_ino;
}

static int block_lock(const char *dir, uint16_t base, int *ret_fd, struct a_error *reterr)
{
    A_AUTOFREE char *path = block_path(dir, base);
    for (int i = 0; i < LOCK_TRIES; i++) {
        int fd = -1, rc = dir_prepare(dir, reterr);
        if (rc == 0)
            rc = sys_lock_take(path, &fd, reterr);
        if (rc == -ENOENT)
            continue;
        if (rc != 0)
            return rc;
        if (file_is_same(fd, path)) {
            *ret_fd = fd;
            return 0;
        }
        sys_fd_close(fd);
    }
    return a_fail(reterr, -EBUSY, A_CODE_OS, "%s is removed again and again", path);
}

int sys_portblock_take(const char *dir, uint64_t seed, struct sys_portblock *ret_block,
                       struct a_error *reterr)
{
    unsigned locked = 0, resting = 0, used = 0;
    for (unsigned i = 0; i < SYS_PORTBLOCK_COUNT; i++) {
        unsigned n = (unsigned)((seed + i) % SYS_PORTBLOCK_COUNT);
        uint16_t base = (uint16_t)(SYS_PORTBLOCK_FIRST + n * SYS_PORTBLOCK_SIZE);
        int fd = -1, rc = block_lock(dir, base, &fd, reterr);
        if (rc == -EWOULDBLOCK) {
            locked++;
            continue;
        }
        if (rc != 0)
            return rc;
        bool rests = block_rests(fd);
        if (!rests && !block_is_used(base)) {
            *ret_block = (struct sys_portblock){base, fd};
            return 0;
        }
        if (rests)
            resting++;
        else
            used++;
        sys_fd_close(fd);
    }
    return a_fail(reterr, -EAGAIN, A_CODE_NO_CAPACITY,
                  "no free block of ports in %s: %u taken, %u at rest after use, %u in use by others", dir,
                  locked, resting, used);
}

int sys_portblock_retake(const char *dir, uint16_t base, struct sys_portblock *ret_block,
                         struct a_error *reterr)
{
    unsigned offset = (unsigned)base - SYS_PORTBLOCK_FIRST;
    int fd = -1;
    if (base < SYS_PORTBLOCK_FIRST || offset % SYS_PORTBLOCK_SIZE != 0 ||
        offset / SYS_PORTBLOCK_SIZE >= SYS_PORTBLOCK_COUNT)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%u does not begin a block of ports", base);
    int rc = block_lock(dir, base, &fd, reterr);
    if (rc == 0)
        *ret_block = (struct sys_portblock){base, fd};
    return rc;
}

void sys_portblock_release(struct sys_portblock *b)
{
    struct rest rest = {.until_boot_ms = sys_clock_boot_ms() + SYS_PORTBLOCK_REST_MS};
    if (b->base == 0)
        return;
    sys_env_boot_id(rest.boot_id);
    (void)!pwrite(b->fd, &rest, sizeof rest, 0);
    sys_portblock_leave(b);
}

void sys_portblock_leave(struct sys_portblock *b)
{
    if (b->base != 0)
        sys_fd_close(b->fd);
    *b = (struct sys_portblock){0, -1};
}

/* ---- sweeping ---- */

struct sweep {
    const char *dir;
    int fds[SYS_PORTBLOCK_COUNT]; /* locks of what may go */
    char *paths[SYS_PORTBLOCK_COUNT];
    size_t n;
    bool held; /* somebody holds a block */
};

static int sweep_entry(void *ctx, const char *name, bool is_dir)
{
    struct sweep *s = ctx;
    int fd = -1;
    if (is_dir || s->n == SYS_PORTBLOCK_COUNT)
        return 0;
    A_AUTOFREE char *path = sys_path_join(s->dir, name);
    int rc = sys_lock_take(path, &fd, NULL);
    if (rc == -EWOULDBLOCK)
        s->held = true;
    if (rc != 0)
        return 0;
    s->fds[s->n] = fd;
    s->paths[s->n++] = a_steal(&path);
    return 0;
}

/* All locks are taken before the first file goes: nobody takes a block whose file is about to vanish. */
int sys_portblock_sweep(const char *dir, struct a_error *reterr)
{
    struct sweep s = {.dir = dir};
    if (!sys_file_exists(dir))
        return 0;
    int rc = sys_dir_list(dir, sweep_entry, &s, reterr);
    for (size_t i = 0; i < s.n; i++) {
        if (rc == 0 && !(s.held && block_rests(s.fds[i])))
            rc = sys_file_remove(s.paths[i], reterr);
        sys_fd_close(s.fds[i]);
        a_free(s.paths[i]);
    }
    if (rc == 0)
        rc = sys_dir_remove_empty(dir, reterr);
    return rc == -ENOTEMPTY ? 0 : rc;
}
