/* The shim's control socket: lines of text, each answered by one line. See docs/components/shim.md. */
#ifndef D_SHIM_CONTROL_H
#define D_SHIM_CONTROL_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define D_SHIM_CLIENTS_MAX 8
#define D_SHIM_LINE_MAX 64

enum d_shim_command { D_SHIM_STATUS, D_SHIM_TERM, D_SHIM_KILL };

struct d_shim_control {
    int listen_fd;
    struct {
        int fd; /* -1 = free */
        size_t len;
        char line[D_SHIM_LINE_MAX];
    } clients[D_SHIM_CLIENTS_MAX];
};

/* Binds `name` in the current folder (a relative path: the limit of 107 characters never matters). */
int d_shim_control_init(struct d_shim_control *c, const char *name, struct a_error *reterr);
void d_shim_control_deinit(struct d_shim_control *c);
/* Adds what to wait for, at most 1 + D_SHIM_CLIENTS_MAX; returns how many. */
size_t d_shim_control_poll(const struct d_shim_control *c, struct pollfd *fds);
/* Serves what is ready: calls `command` for each whole line, which adds its answer without a line end.
 * `grace_ms` is 0 where the line named none. */
void d_shim_control_serve(struct d_shim_control *c, const struct pollfd *fds, size_t n_fds,
                          void (*command)(void *ctx, enum d_shim_command which, uint64_t grace_ms,
                                          struct a_buf *ret_answer),
                          void *ctx);
/* One command line without its end. False when it is none. */
bool d_shim_command_parse(struct a_view line, enum d_shim_command *ret_command, uint64_t *ret_grace_ms);

#endif
