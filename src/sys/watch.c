/* Signals and ready descriptors on a loop. */
#include <errno.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/loop_internal.h"

struct sys_signal {
    struct sys_handle handle;
    uv_signal_t uv;
    void (*fn)(void *ctx, int signum);
    void *ctx;
};

struct sys_poll {
    struct sys_handle handle;
    uv_poll_t uv;
    void (*fn)(void *ctx);
    void *ctx;
};

static void handle_free(uv_handle_t *handle)
{
    a_free(handle->data);
}

static void signal_dispose(struct sys_handle *h)
{
    sys_signal_close(A_CONTAINER_OF(h, struct sys_signal, handle));
}

static void signal_came(uv_signal_t *uv, int signum)
{
    struct sys_signal *s = A_CONTAINER_OF(uv, struct sys_signal, uv);
    s->fn(s->ctx, signum);
}

int sys_signal_open(struct sys_loop *loop, int signum, void (*fn)(void *ctx, int signum), void *ctx,
                    struct sys_signal **ret_signal, struct a_error *reterr)
{
    struct sys_signal *s = a_new(struct sys_signal);
    int rc = uv_signal_init(&loop->uv, &s->uv);
    if (rc != 0) {
        a_free(s);
        return a_fail_errno(reterr, rc, "cannot watch signals");
    }
    s->handle.dispose = signal_dispose;
    s->uv.data = s;
    s->fn = fn;
    s->ctx = ctx;
    rc = uv_signal_start(&s->uv, signal_came, signum);
    if (rc != 0) {
        sys_signal_close(s);
        return a_fail_errno(reterr, rc, "cannot watch signal %d", signum);
    }
    *ret_signal = s;
    return 0;
}

void sys_signal_close(struct sys_signal *s)
{
    if (s != NULL && !uv_is_closing((uv_handle_t *)&s->uv))
        uv_close((uv_handle_t *)&s->uv, handle_free);
}

static void poll_dispose(struct sys_handle *h)
{
    sys_poll_close(A_CONTAINER_OF(h, struct sys_poll, handle));
}

/* Errors of the descriptor are told as readiness, too: the read that follows says what it is. */
static void poll_ready(uv_poll_t *uv, int status, int events)
{
    struct sys_poll *p = A_CONTAINER_OF(uv, struct sys_poll, uv);
    (void)status;
    (void)events;
    p->fn(p->ctx);
}

int sys_poll_open(struct sys_loop *loop, int fd, void (*fn)(void *ctx), void *ctx, struct sys_poll **ret_poll,
                  struct a_error *reterr)
{
    struct sys_poll *p = a_new(struct sys_poll);
    int rc = uv_poll_init(&loop->uv, &p->uv, fd);
    if (rc != 0) {
        a_free(p);
        return a_fail_errno(reterr, rc, "cannot watch descriptor %d", fd);
    }
    p->handle.dispose = poll_dispose;
    p->uv.data = p;
    p->fn = fn;
    p->ctx = ctx;
    rc = uv_poll_start(&p->uv, UV_READABLE, poll_ready);
    if (rc != 0) {
        sys_poll_close(p);
        return a_fail_errno(reterr, rc, "cannot watch descriptor %d", fd);
    }
    *ret_poll = p;
    return 0;
}

/* Starting and stopping what is open only changes what the loop asks the kernel for: it cannot fail. */
void sys_poll_want(struct sys_poll *p, bool readable, bool writable)
{
    int events = (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0);
    int rc = events != 0 ? uv_poll_start(&p->uv, events, poll_ready) : uv_poll_stop(&p->uv);
    a_assert(rc == 0);
}

void sys_poll_close(struct sys_poll *p)
{
    if (p != NULL && !uv_is_closing((uv_handle_t *)&p->uv))
        uv_close((uv_handle_t *)&p->uv, handle_free);
}
