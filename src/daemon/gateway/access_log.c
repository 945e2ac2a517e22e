#include "daemon/gateway/access_log.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "sys/file.h"
#include "sys/pool.h"

#define FLUSH_BYTES 65536
#define UNDER_WAY_MAX 16 /* writes: a megabyte or so */
#define STDERR 2

struct d_gw_access_log {
    struct sys_pool *pool; /* one thread: lines of several workers never mix */
    char *path;            /* NULL: stderr */
    int fd;
    struct sys_work reopen;
};

struct write {
    struct sys_work work;
    struct d_gw_access_log *log;
    struct d_gw_access_buffer *buffer;
    struct a_buf bytes;
};

int d_gw_access_log_open(const char *path, struct d_gw_access_log **ret_log, struct a_error *reterr)
{
    *ret_log = NULL;
    if (strcmp(path, "off") == 0)
        return 0;
    struct d_gw_access_log *log = a_new(struct d_gw_access_log);
    log->fd = STDERR;
    int rc = sys_pool_new("access", 1, 0, &log->pool, reterr);
    if (rc == 0 && strcmp(path, "-") != 0) {
        log->path = a_strdup(path);
        rc = sys_file_append_open(path, 0640, &log->fd, reterr);
    }
    if (rc != 0)
        d_gw_access_log_free(log);
    else
        *ret_log = log;
    return rc;
}

void d_gw_access_log_free(struct d_gw_access_log *log)
{
    if (log == NULL)
        return;
    sys_pool_free(log->pool);
    if (log->fd > STDERR)
        sys_fd_close(log->fd);
    a_free(log->path);
    a_free(log);
}

static void reopen_run(void *ctx)
{
    struct d_gw_access_log *log = ctx;
    int fd;
    if (sys_file_append_open(log->path, 0640, &fd, NULL) != 0)
        return; /* the old one serves on */
    sys_fd_close(log->fd);
    log->fd = fd;
}

static void reopen_done(void *ctx, bool cancelled)
{
    (void)ctx;
    (void)cancelled;
}

void d_gw_access_log_reopen(struct d_gw_access_log *log)
{
    if (log != NULL && log->path != NULL && sys_pool_queued(log->pool) == 0)
        (void)!sys_pool_submit(log->pool, NULL, &log->reopen, reopen_run, reopen_done, log);
}

static void write_run(void *ctx)
{
    struct write *w = ctx;
    /* A full disk or a closed pipe loses lines, never requests. */
    (void)!sys_fd_write_full(w->log->fd, w->bytes.ptr, w->bytes.len);
}

static void write_done(void *ctx, bool cancelled)
{
    struct write *w = ctx;
    if (cancelled)
        write_run(w);
    w->buffer->under_way--;
    a_buf_deinit(&w->bytes);
    a_free(w);
}

struct a_buf *d_gw_access_line(struct d_gw_access_buffer *b)
{
    if (b->log == NULL)
        return NULL;
    if (b->under_way < UNDER_WAY_MAX)
        return &b->lines;
    b->dropped++;
    return NULL;
}

void d_gw_access_flush(struct d_gw_access_buffer *b)
{
    if (b->log == NULL || b->lines.len == 0 || b->under_way >= UNDER_WAY_MAX)
        return;
    struct write *w = a_new(struct write);
    w->log = b->log;
    w->buffer = b;
    w->bytes = b->lines;
    b->lines = (struct a_buf){0};
    b->under_way++;
    if (sys_pool_submit(b->log->pool, b->loop, &w->work, write_run, write_done, w) != 0)
        write_done(w, false);
}

void d_gw_access_wrote(struct d_gw_access_buffer *b)
{
    if (b->lines.len >= FLUSH_BYTES)
        d_gw_access_flush(b);
}

void d_gw_access_finish(struct d_gw_access_buffer *b)
{
    if (b->log == NULL)
        return;
    sys_pool_drain(b->log->pool);
    (void)!sys_fd_write_full(b->log->fd, b->lines.ptr, b->lines.len);
    a_buf_deinit(&b->lines);
}
