/* Listeners. Their sockets are made by hand, because SO_REUSEPORT and a Unix socket's mode must be set before
 * bind, and are then given to libuv. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/alloc.h"
#include "sys/file.h"
#include "sys/stream_internal.h"

struct sys_listener {
    struct sys_handle handle;
    union {
        uv_handle_t any;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct sys_loop *loop;
    struct sys_addr addr;
    void (*accept)(void *ctx, struct sys_stream *stream);
    void *ctx;
    uint64_t refused;
};

static void listener_dispose(struct sys_handle *h)
{
    sys_listener_close(A_CONTAINER_OF(h, struct sys_listener, handle));
}

static void listener_gone(uv_handle_t *handle)
{
    a_free(handle->data);
}

static void connection_came(uv_stream_t *uv, int status)
{
    struct sys_listener *l = uv->data;
    if (status != 0) {
        l->refused++;
        return;
    }
    struct sys_stream *s = sys_stream_new(l->loop, l->addr.sa.sa_family);
    if (uv_accept(uv, &s->uv.stream) != 0) {
        l->refused++;
        sys_stream_close(s);
        return;
    }
    l->accept(l->ctx, s);
}

static int option_set(int fd, int level, int name)
{
    int on = 1;
    return setsockopt(fd, level, name, &on, sizeof on) == 0 ? 0 : -errno;
}

/* A socket file left by a dead process is in the way of bind; one that somebody listens on is not ours to
 * take. */
static int stale_remove(const struct sys_addr *addr)
{
    SYS_FD_AUTO int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (probe < 0)
        return -errno;
    if (connect(probe, &addr->sa, addr->len) == 0 || errno == EAGAIN)
        return -EADDRINUSE;
    if (errno == ECONNREFUSED && unlink(((const struct sockaddr_un *)&addr->storage)->sun_path) != 0)
        return -errno;
    return 0;
}

static int socket_prepare(int fd, const struct sys_addr *addr, const struct sys_listen_options *o)
{
    if (addr->sa.sa_family == AF_UNIX) {
        int rc = stale_remove(addr);
        if (rc != 0)
            return rc;
        return fchmod(fd, o->mode != 0 ? o->mode : 0600) == 0 ? 0 : -errno;
    }
    int rc = option_set(fd, SOL_SOCKET, SO_REUSEADDR);
    if (rc == 0 && o->reuse_port)
        rc = option_set(fd, SOL_SOCKET, SO_REUSEPORT);
    if (rc == 0) /* accepted sockets inherit it */
        rc = option_set(fd, IPPROTO_TCP, TCP_NODELAY);
    return rc;
}

static int socket_bind(const struct sys_addr *addr, const struct sys_listen_options *o, int *ret_fd)
{
    SYS_FD_AUTO int fd = socket(addr->sa.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -errno;
    int rc = socket_prepare(fd, addr, o);
    if (rc != 0)
        return rc;
    if (bind(fd, &addr->sa, addr->len) != 0)
        return -errno;
    *ret_fd = fd;
    fd = -1;
    return 0;
}

static int listener_start(struct sys_listener *l, int fd, int backlog)
{
    bool is_unix = l->addr.sa.sa_family == AF_UNIX;
    int rc = is_unix ? uv_pipe_open(&l->uv.pipe, fd) : uv_tcp_open(&l->uv.tcp, fd);
    if (rc != 0) {
        sys_fd_close(fd);
        return rc;
    }
    rc = uv_listen(&l->uv.stream, backlog != 0 ? backlog : 1024, connection_came);
    if (rc == 0 && !is_unix) { /* the port that the kernel chose */
        l->addr.len = sizeof l->addr.storage;
        rc = getsockname(fd, &l->addr.sa, &l->addr.len) == 0 ? 0 : -errno;
    }
    return rc;
}

int sys_listener_open(struct sys_loop *loop, const struct sys_addr *addr,
                      const struct sys_listen_options *options,
                      void (*accept)(void *ctx, struct sys_stream *stream), void *ctx,
                      struct sys_listener **ret_listener, struct a_error *reterr)
{
    struct sys_listen_options o = options != NULL ? *options : (struct sys_listen_options){0};
    char text[SYS_ADDR_TEXT];
    int fd = -1;
    sys_addr_print(addr, text);
    int rc = socket_bind(addr, &o, &fd);
    if (rc != 0)
        return a_fail_errno(reterr, rc, "cannot listen on %s", text);
    struct sys_listener *l = a_new(struct sys_listener);
    l->handle.dispose = listener_dispose;
    l->loop = loop;
    l->addr = *addr;
    l->accept = accept;
    l->ctx = ctx;
    if (addr->sa.sa_family == AF_UNIX)
        uv_pipe_init(&loop->uv, &l->uv.pipe, 0);
    else
        uv_tcp_init(&loop->uv, &l->uv.tcp);
    l->uv.any.data = l;
    rc = listener_start(l, fd, o.backlog);
    if (rc != 0) {
        sys_listener_close(l);
        return a_fail_errno(reterr, rc, "cannot listen on %s", text);
    }
    *ret_listener = l;
    return 0;
}

void sys_listener_addr(const struct sys_listener *l, struct sys_addr *ret_addr)
{
    *ret_addr = l->addr;
}

uint16_t sys_listener_port(const struct sys_listener *l)
{
    return sys_addr_port(&l->addr);
}

uint64_t sys_listener_refused(const struct sys_listener *l)
{
    return l->refused;
}

void sys_listener_close(struct sys_listener *l)
{
    if (l == NULL || uv_is_closing(&l->uv.any))
        return;
    if (l->addr.sa.sa_family == AF_UNIX)
        (void)unlink(((const struct sockaddr_un *)&l->addr.storage)->sun_path);
    uv_close(&l->uv.any, listener_gone);
}
