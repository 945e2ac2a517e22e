/* The member's output as rotated files: what comes out of a pipe goes to `log`; past the size of a piece log
 * becomes log.1, log.1 becomes log.2, and the oldest goes. A full disk loses output, never the member: what
 * cannot be written is dropped and counted. */
#ifndef D_SHIM_LOG_H
#define D_SHIM_LOG_H

#include <stdint.h>
#include <sys/types.h>

struct d_shim_log {
    int folder_fd; /* borrowed */
    int fd;        /* -1 = not open */
    uint64_t size, piece_bytes, pieces;
    uint64_t dropped_bytes;
};

void d_shim_log_init(struct d_shim_log *log, int folder_fd, uint64_t piece_bytes, uint64_t pieces);
void d_shim_log_deinit(struct d_shim_log *log);
/* Moves what the pipe holds now, at most one buffer; returns the bytes moved, 0 at its end, -EAGAIN when it
 * is empty. */
ssize_t d_shim_log_pump(struct d_shim_log *log, int pipe_fd);

#endif
