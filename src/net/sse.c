#include "net/sse.h"

#include <errno.h>
#include <string.h>

void net_sse_deinit(struct net_sse *s)
{
    a_buf_deinit(&s->line);
    a_buf_deinit(&s->data);
    a_buf_deinit(&s->event);
    a_buf_deinit(&s->id);
}

static void field_set(struct a_buf *b, struct a_view value)
{
    a_buf_reset(b);
    a_buf_add_view(b, value);
}

static void field_take(struct net_sse *s, struct a_view line)
{
    struct a_view value, name = a_view_split(line, ':', &value);
    if (value.len > 0 && value.ptr[0] == ' ')
        value = (struct a_view){value.ptr + 1, value.len - 1};
    if (a_view_is(name, "data")) {
        if (s->has_data)
            a_buf_add_char(&s->data, '\n');
        s->has_data = true;
        a_buf_add_view(&s->data, value);
    } else if (a_view_is(name, "event")) {
        field_set(&s->event, value);
    } else if (a_view_is(name, "id")) {
        field_set(&s->id, value);
    }
}

/* One line without its end; an empty one ends an event. */
static int line_take(struct net_sse *s, struct a_view line,
                     int (*event)(void *ctx, struct a_view id, struct a_view event, struct a_view data),
                     void *ctx)
{
    int rc = 0;
    if (line.len > 0 && line.ptr[line.len - 1] == '\r')
        line.len--;
    if (line.len != 0) {
        field_take(s, line);
        return s->data.failed || s->event.failed || s->id.failed ? -EMSGSIZE : 0;
    }
    if (s->has_data)
        rc = event(ctx, a_buf_view(&s->id), a_buf_view(&s->event), a_buf_view(&s->data));
    s->has_data = false;
    a_buf_reset(&s->data);
    a_buf_reset(&s->event);
    return rc;
}

int net_sse_feed(struct net_sse *s, struct a_view bytes,
                 int (*event)(void *ctx, struct a_view id, struct a_view event, struct a_view data),
                 void *ctx)
{
    int rc = 0;
    s->line.max = s->data.max = s->event.max = s->id.max = NET_SSE_EVENT_MAX;
    while (rc == 0 && bytes.len > 0) {
        const char *end = memchr(bytes.ptr, '\n', bytes.len);
        size_t n = end != NULL ? (size_t)(end - bytes.ptr) : bytes.len;
        a_buf_add(&s->line, bytes.ptr, n);
        if (s->line.failed)
            return -EMSGSIZE;
        if (end == NULL)
            return 0;
        bytes = (struct a_view){end + 1, bytes.len - n - 1};
        rc = line_take(s, a_buf_view(&s->line), event, ctx);
        a_buf_reset(&s->line);
    }
    return rc;
}
