#include "daemon/shim/control.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/text.h"

static void client_close(struct d_shim_control *c, size_t i)
{
    if (c->clients[i].fd >= 0)
        close(c->clients[i].fd);
    c->clients[i].fd = -1;
    c->clients[i].len = 0;
}

int d_shim_control_init(struct d_shim_control *c, const char *name, struct a_error *reterr)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    for (size_t i = 0; i < D_SHIM_CLIENTS_MAX; i++)
        c->clients[i].fd = -1;
    snprintf(address.sun_path, sizeof address.sun_path, "%s", name);
    unlink(name);
    c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (c->listen_fd < 0 || bind(c->listen_fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        chmod(name, 0600) < 0 || listen(c->listen_fd, D_SHIM_CLIENTS_MAX) < 0)
        return a_fail_errno(reterr, -errno, "control socket");
    return 0;
}

void d_shim_control_deinit(struct d_shim_control *c)
{
    for (size_t i = 0; i < D_SHIM_CLIENTS_MAX; i++)
        client_close(c, i);
    if (c->listen_fd >= 0)
        close(c->listen_fd);
    c->listen_fd = -1;
}

size_t d_shim_control_poll(const struct d_shim_control *c, struct pollfd *fds)
{
    size_t n = 0;
    fds[n++] = (struct pollfd){.fd = c->listen_fd, .events = POLLIN};
    for (size_t i = 0; i < D_SHIM_CLIENTS_MAX; i++)
        fds[n++] = (struct pollfd){.fd = c->clients[i].fd, .events = POLLIN}; /* poll() skips -1 */
    return n;
}

bool d_shim_command_parse(struct a_view line, enum d_shim_command *ret_command, uint64_t *ret_grace_ms)
{
    static const char *const words[] = {"STATUS", "TERM", "KILL"};
    struct a_view grace;
    uint64_t grace_ms = 0;
    struct a_view word = a_view_split(line, ' ', &grace);
    for (size_t i = 0; i < A_ARRAY_SIZE(words); i++) {
        if (!a_view_is(word, words[i]))
            continue;
        if (grace.len > 0 && (i == D_SHIM_STATUS || !a_text_u64(grace, &grace_ms)))
            return false;
        *ret_command = (enum d_shim_command)i;
        *ret_grace_ms = grace_ms;
        return true;
    }
    return false;
}

static void line_answer(int fd, struct a_view line,
                        void (*command)(void *, enum d_shim_command, uint64_t, struct a_buf *), void *ctx)
{
    enum d_shim_command which;
    uint64_t grace_ms;
    A_BUF_AUTO struct a_buf answer = {0};
    if (d_shim_command_parse(line, &which, &grace_ms))
        command(ctx, which, grace_ms, &answer);
    else
        a_buf_add_str(&answer, "ERR unknown command");
    a_buf_add_char(&answer, '\n');
    /* an answer is shorter than any socket buffer; who does not read it does not get it */
    ssize_t ignored A_UNUSED = send(fd, answer.ptr, answer.len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void client_serve(struct d_shim_control *c, size_t i,
                         void (*command)(void *, enum d_shim_command, uint64_t, struct a_buf *), void *ctx)
{
    char *line = c->clients[i].line;
    ssize_t n =
        recv(c->clients[i].fd, line + c->clients[i].len, D_SHIM_LINE_MAX - c->clients[i].len, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        client_close(c, i);
        return;
    }
    size_t len = c->clients[i].len + (size_t)n;
    for (char *end; (end = memchr(line, '\n', len)) != NULL;) {
        size_t used = (size_t)(end - line) + 1;
        line_answer(c->clients[i].fd, (struct a_view){line, used - 1}, command, ctx);
        len -= used;
        memmove(line, line + used, len);
    }
    c->clients[i].len = len;
    if (len == D_SHIM_LINE_MAX)
        client_close(c, i); /* no command is that long */
}

static void client_accept(struct d_shim_control *c)
{
    int fd = accept4(c->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    for (size_t i = 0; i < D_SHIM_CLIENTS_MAX; i++) {
        if (c->clients[i].fd < 0) {
            c->clients[i].fd = fd;
            c->clients[i].len = 0;
            return;
        }
    }
    close(fd);
}

void d_shim_control_serve(struct d_shim_control *c, const struct pollfd *fds, size_t n_fds,
                          void (*command)(void *, enum d_shim_command, uint64_t, struct a_buf *), void *ctx)
{
    for (size_t i = 1; i < n_fds; i++)
        if (fds[i].fd >= 0 && fds[i].revents != 0)
            client_serve(c, i - 1, command, ctx);
    if (fds[0].revents != 0)
        client_accept(c);
}
