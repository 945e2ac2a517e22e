/* A file as an answer, at the client's pace: each time the queue has drained, the next pieces are read. */
#include <errno.h>

#include "base/alloc.h"
#include "net/http_server.h"
#include "sys/file.h"

#define PIECE (128u * 1024u)

struct file_answer {
    struct net_http_request *r;
    int fd;
    uint64_t offset, left;
    char bytes[PIECE];
};

static void answer_free(struct file_answer *a)
{
    sys_fd_close(a->fd);
    a_free(a);
}

static void answer_gone(void *ctx, struct net_http_request *r)
{
    (void)r;
    answer_free(ctx);
}

/* 0 when the client's queue is full for now or all is sent. */
static int answer_pump(struct file_answer *a)
{
    while (a->left > 0 && !net_http_stream_is_full(a->r)) {
        ssize_t n = sys_fd_read_at(a->fd, a->bytes, A_MIN(a->left, PIECE), a->offset);
        if (n <= 0)
            return n < 0 ? (int)n : -ENODATA;
        int rc = net_http_stream_write(a->r, (struct a_view){a->bytes, (size_t)n});
        if (rc != 0)
            return rc;
        a->offset += (uint64_t)n;
        a->left -= (uint64_t)n;
    }
    return 0;
}

static void answer_go_on(void *ctx, struct net_http_request *r)
{
    struct file_answer *a = ctx;
    int rc = answer_pump(a);
    if (rc == 0 && a->left > 0)
        return;
    r->on_gone = NULL;
    answer_free(a);
    if (rc == 0)
        net_http_stream_end(r);
    else
        net_http_stream_abort(r);
}

void net_http_reply_file(struct net_http_request *r, const struct net_http_response *response, int fd,
                         uint64_t offset, uint64_t len)
{
    struct file_answer *a = a_new(struct file_answer);
    struct net_http_response head = *response;
    a->r = r;
    a->fd = fd;
    a->offset = offset;
    a->left = r->head->method == WIRE_HTTP_HEAD ? 0 : len;
    head.has_content_length = true;
    head.content_length = len;
    r->on_gone = answer_gone;
    r->on_gone_ctx = a;
    net_http_stream_begin(r, &head);
    net_http_stream_on_drain(r, answer_go_on, a);
    answer_go_on(a, r);
}
