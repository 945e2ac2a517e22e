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

static int block_lock(const char *dir, uint16_t base, int *ret_fd, struct a_error *reterr)
{
    A_AUTOFREE char *path = block_path(dir, base);
    return sys_lock_take(path, ret_fd, reterr);
}

int sys_portblock_take(const char *dir, uint64_t seed, struct sys_portblock *ret_block,
                       struct a_error *reterr)
{
    unsigned locked = 0, resting = 0, used = 0;
    int rc = dir_prepare(dir, reterr);
    if (rc != 0)
        return rc;
    for (unsigned i = 0; i < SYS_PORTBLOCK_COUNT; i++) {
        unsigned n = (unsigned)((seed + i) % SYS_PORTBLOCK_COUNT);
        uint16_t base = (uint16_t)(SYS_PORTBLOCK_FIRST + n * SYS_PORTBLOCK_SIZE);
        int fd = -1;
        rc = block_lock(dir, base, &fd, reterr);
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
    int rc = dir_prepare(dir, reterr);
    if (rc == 0)
        rc = block_lock(dir, base, &fd, reterr);
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
