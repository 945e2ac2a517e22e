/* The access log: one JSON object a line for each request. Lines gather in memory and are written by a thread
 * of their own, so that a slow disk or pipe never stops the data path; when too much waits, lines are dropped
 * and counted. */
#ifndef D_GATEWAY_ACCESS_LOG_H
#define D_GATEWAY_ACCESS_LOG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "sys/loop.h"

struct d_gw_access_log;

/* `path`: a file, "-" for stderr; "off" gives NULL, which all functions take. */
int d_gw_access_log_open(const char *path, struct d_gw_access_log **ret_log,
                         struct a_error *reterr) A_MUST_CHECK;
/* Writes what waits and closes. Every buffer has been flushed and its writes are done. */
void d_gw_access_log_free(struct d_gw_access_log *log);
/* Opens the file again, after it was moved away. */
void d_gw_access_log_reopen(struct d_gw_access_log *log);

/* A worker's lines. Zero-initialised = no log. */
struct d_gw_access_buffer {
    struct d_gw_access_log *log;
    struct sys_loop *loop;
    struct a_buf lines;
    unsigned under_way; /* writes that are not done */
    uint64_t dropped;   /* lines, so far */
};

/* NULL when there is no log or too much waits (then the line is counted as dropped): else append one line,
 * with its end, and call d_gw_access_wrote(). */
struct a_buf *d_gw_access_line(struct d_gw_access_buffer *b);
void d_gw_access_wrote(struct d_gw_access_buffer *b);
/* Hands over what there is. */
void d_gw_access_flush(struct d_gw_access_buffer *b);
/* Writes the last lines, blocking: at the end. */
void d_gw_access_finish(struct d_gw_access_buffer *b);

#endif
