/* libcurl's multi interface on the loop: its sockets are watched, its one timer is set, and whatever it wants
 * to say is kept until it has returned. */
#include <errno.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "net/web_internal.h"

struct web_socket {
    struct a_list link; /* of web_hub.sockets */
    struct web_hub *hub;
    curl_socket_t fd;
    struct sys_poll *poll;
};

/* Tells the calls that have ended. */
static void ends_collect(struct web_hub *hub)
{
    CURLMsg *m;
    int left;
    while ((m = curl_multi_info_read(hub->multi, &left)) != NULL) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        struct net_web_call *call = NULL;
        CURLcode code = m->data.result;
        curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &call);
        int rc = web_call_outcome(call, code, &e);
        web_call_end(call, rc, &e);
    }
}

static void hub_act(struct web_hub *hub, curl_socket_t fd)
{
    int running;
    curl_multi_socket_action(hub->multi, fd, 0, &running);
    ends_collect(hub);
}

static void on_ready(void *ctx)
{
    struct web_socket *s = ctx;
    hub_act(s->hub, s->fd); /* may have freed the socket */
}

static void on_timer(void *ctx)
{
    hub_act(ctx, CURL_SOCKET_TIMEOUT);
}

static void socket_free(struct web_socket *s)
{
    a_list_remove(&s->link);
    sys_poll_close(s->poll);
    a_free(s);
}

static struct web_socket *socket_new(struct web_hub *hub, curl_socket_t fd)
{
    struct web_socket *s = a_new(struct web_socket);
    s->hub = hub;
    s->fd = fd;
    if (sys_poll_open(hub->w->loop, fd, on_ready, s, &s->poll, NULL) != 0) {
        a_free(s);
        return NULL;
    }
    a_list_push_back(&hub->sockets, &s->link);
    return s;
}

static int on_socket(CURL *curl, curl_socket_t fd, int what, void *ctx, void *socket)
{
    struct web_hub *hub = ctx;
    struct web_socket *s = socket;
    (void)curl;
    if (what == CURL_POLL_REMOVE) {
        curl_multi_assign(hub->multi, fd, NULL);
        if (s != NULL)
            socket_free(s);
        return 0;
    }
    if (s == NULL) {
        s = socket_new(hub, fd);
        if (s == NULL)
            return -1;
        curl_multi_assign(hub->multi, fd, s);
    }
    sys_poll_want(s->poll, (what & CURL_POLL_IN) != 0, (what & CURL_POLL_OUT) != 0);
    return 0;
}

static int on_timeout(CURLM *multi, long ms, void *ctx)
{
    struct web_hub *hub = ctx;
    (void)multi;
    if (ms < 0)
        sys_timer_clear(&hub->timer);
    else
        sys_timer_set_in(&hub->timer, (uint64_t)ms);
    return 0;
}

int web_hub_new(struct net_web *w, struct web_hub **ret, struct a_error *reterr)
{
    CURLM *multi = curl_multi_init();
    if (multi == NULL)
        return a_fail(reterr, -ENOMEM, A_CODE_INTERNAL, "cannot set libcurl up");
    struct web_hub *hub = a_new(struct web_hub);
    hub->w = w;
    hub->multi = multi;
    hub->heard_ms = sys_loop_now_ms(w->loop);
    a_list_init(&hub->calls);
    a_list_init(&hub->sockets);
    sys_timer_init(&hub->timer, w->loop, on_timer, hub);
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, hub);
    curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, on_timeout);
    curl_multi_setopt(multi, CURLMOPT_TIMERDATA, hub);
    curl_multi_setopt(multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    curl_multi_setopt(multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)w->connections_max);
    *ret = hub;
    return 0;
}

void web_hub_free(struct web_hub *hub)
{
    if (hub == NULL)
        return;
    a_assert(a_list_empty(&hub->calls));
    curl_multi_cleanup(hub->multi);
    a_list_foreach_safe (link, &hub->sockets)
        socket_free(a_list_entry(link, struct web_socket, link));
    sys_timer_clear(&hub->timer);
    a_free(hub);
}

int web_hub_add(struct web_hub *hub, struct net_web_call *call, struct a_error *reterr)
{
    CURLMcode code = curl_multi_add_handle(hub->multi, call->curl);
    if (code != CURLM_OK)
        return a_fail(reterr, -EINVAL, A_CODE_INTERNAL, "cannot send: %s", curl_multi_strerror(code));
    call->hub = hub;
    a_list_push_back(&hub->calls, &call->link);
    return 0;
}

void web_hub_remove(struct net_web_call *call)
{
    curl_multi_remove_handle(call->hub->multi, call->curl);
    a_list_remove(&call->link);
    call->hub = NULL;
}
