/* What a stream tells about itself, and its socket options. */
#include <errno.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/ioctl.h>

#include "base/alloc.h"
#include "sys/stream_internal.h"

int sys_stream_fd(const struct sys_stream *s)
{
    uv_os_fd_t fd;
    return uv_fileno(&s->uv.any, &fd) == 0 ? fd : -1;
}

struct sys_loop *sys_stream_loop(const struct sys_stream *s)
{
    return s->loop;
}

void sys_stream_peer(const struct sys_stream *s, struct sys_addr *ret_addr)
{
    *ret_addr = (struct sys_addr){.len = sizeof ret_addr->storage};
    if (getpeername(sys_stream_fd(s), &ret_addr->sa, &ret_addr->len) != 0)
        *ret_addr = (struct sys_addr){.len = 0};
}

void sys_stream_local(const struct sys_stream *s, struct sys_addr *ret_addr)
{
    *ret_addr = (struct sys_addr){.len = sizeof ret_addr->storage};
    if (getsockname(sys_stream_fd(s), &ret_addr->sa, &ret_addr->len) != 0)
        *ret_addr = (struct sys_addr){.len = 0};
}

const char *sys_stream_peer_text(struct sys_stream *s)
{
    if (s->peer_text == NULL) {
        struct sys_addr addr;
        char text[SYS_ADDR_TEXT];
        sys_stream_peer(s, &addr);
        sys_addr_print(&addr, text);
        s->peer_text = a_strdup(text);
    }
    return s->peer_text;
}

bool sys_stream_is_reading(const struct sys_stream *s)
{
    return s->want_read && !s->eof && !s->broken;
}

uint64_t sys_stream_bytes_read(const struct sys_stream *s)
{
    return s->bytes_read;
}

uint64_t sys_stream_bytes_written(const struct sys_stream *s)
{
    return s->bytes_accepted - sys_stream_queued(s);
}

size_t sys_stream_unacked(const struct sys_stream *s)
{
    int n = 0;
    if (ioctl(sys_stream_fd(s), SIOCOUTQ, &n) != 0 || n < 0)
        return 0;
    return (size_t)n;
}

int sys_stream_peer_cred(const struct sys_stream *s, pid_t *ret_pid, uid_t *ret_uid, gid_t *ret_gid)
{
    struct ucred cred;
    socklen_t len = sizeof cred;
    if (s->uv.any.type != UV_NAMED_PIPE)
        return -ENOTSUP;
    if (getsockopt(sys_stream_fd(s), SOL_SOCKET, SO_PEERCRED, &cred, &len) != 0)
        return -errno;
    *ret_pid = cred.pid;
    *ret_uid = cred.uid;
    *ret_gid = cred.gid;
    return 0;
}

void sys_stream_set_nodelay(struct sys_stream *s, bool on)
{
    if (s->uv.any.type == UV_TCP)
        (void)uv_tcp_nodelay(&s->uv.tcp, on);
}

void sys_stream_set_keepalive(struct sys_stream *s, unsigned idle_s)
{
    int fd = sys_stream_fd(s);
    if (s->uv.any.type != UV_TCP || fd < 0)
        return;
    int on = idle_s != 0, idle = (int)idle_s, interval = (int)A_MAX(idle_s / 3, 1u), count = 3;
    (void)setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    if (!on)
        return;
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &interval, sizeof interval);
    (void)setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
}

void sys_stream_set_user_timeout(struct sys_stream *s, unsigned timeout_ms)
{
    if (s->uv.any.type == UV_TCP && sys_stream_fd(s) >= 0)
        (void)setsockopt(sys_stream_fd(s), IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
}
