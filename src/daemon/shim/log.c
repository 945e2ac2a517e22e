#include "daemon/shim/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "daemon/shim/spec.h"

void d_shim_log_init(struct d_shim_log *log, int folder_fd, uint64_t piece_bytes, uint64_t pieces)
{
    *log = (struct d_shim_log){.folder_fd = folder_fd, .fd = -1};
    log->piece_bytes = piece_bytes > 0 ? piece_bytes : D_SHIM_LOG_PIECE_BYTES;
    log->pieces = pieces > 0 ? pieces : D_SHIM_LOG_PIECES;
}

void d_shim_log_deinit(struct d_shim_log *log)
{
    if (log->fd >= 0)
        close(log->fd);
    log->fd = -1;
}

static void log_open(struct d_shim_log *log)
{
    struct stat st;
    log->fd =
        openat(log->folder_fd, D_SHIM_LOG_FILE, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (log->fd >= 0 && fstat(log->fd, &st) == 0)
        log->size = (uint64_t)st.st_size;
}

static void piece_name(char *out, size_t size, uint64_t n)
{
    if (n == 0)
        snprintf(out, size, "%s", D_SHIM_LOG_FILE);
    else
        snprintf(out, size, "%s.%llu", D_SHIM_LOG_FILE, (unsigned long long)n);
}

/* `pieces` files in all: the current one and pieces - 1 older ones. */
static void log_rotate(struct d_shim_log *log)
{
    char from[32], to[32];
    d_shim_log_deinit(log);
    if (log->pieces == 1)
        unlinkat(log->folder_fd, D_SHIM_LOG_FILE, 0);
    for (uint64_t n = log->pieces - 1; n > 0; n--) {
        piece_name(from, sizeof from, n - 1);
        piece_name(to, sizeof to, n);
        renameat(log->folder_fd, from, log->folder_fd, to);
    }
    log->size = 0;
}

static void log_write(struct d_shim_log *log, const char *bytes, size_t n)
{
    while (n > 0) {
        if (log->fd >= 0 && log->size >= log->piece_bytes)
            log_rotate(log);
        if (log->fd < 0)
            log_open(log);
        ssize_t done = log->fd >= 0 ? write(log->fd, bytes, n) : -1;
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            log->dropped_bytes += n;
            return;
        }
        log->size += (uint64_t)done;
        bytes += done;
        n -= (size_t)done;
    }
}

ssize_t d_shim_log_pump(struct d_shim_log *log, int pipe_fd)
{
    char buffer[65536];
    ssize_t n = read(pipe_fd, buffer, sizeof buffer);
    if (n < 0)
        return errno == EINTR ? -EAGAIN : -errno;
    log_write(log, buffer, (size_t)n);
    return n;
}
