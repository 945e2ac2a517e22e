/* The web client: what its owner sees. Calls live in hubs (web_hub.c); what they have to tell waits in
 * `ready` until the loop's round. */
#include "net/web.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "net/web_internal.h"
#include "wire/url.h"

#define CONNECT_TIMEOUT_MS 5000
#define TIMEOUT_MS 30000
#define CONNECTIONS_MAX 16

static void tell(void *ctx);

/* ---- the client ---- */

static char *pem_dup(struct a_view pem)
{
    return pem.len > 0 ? a_view_dup(pem) : NULL;
}

/* libcurl checks the name of the URL: so that is server_name, and the connection goes to the host. */
static void url_set(struct net_web *w, const struct wire_url *url, const char *server_name)
{
    a_assert(url->host.ptr != NULL);
    bool v6 = memchr(url->host.ptr, ':', url->host.len) != NULL;
    size_t len = url->path.len;
    while (len > 0 && url->path.ptr[len - 1] == '/')
        len--;
    A_AUTOFREE char *host = a_asprintf(v6 ? "[%.*s]" : "%.*s", A_VIEW_ARG(url->host));
    w->host = a_strdup(server_name != NULL ? server_name : host);
    w->url_root = a_asprintf("https://%s:%u%.*s", w->host, url->port, (int)len, url->path.ptr);
    w->base_url = a_asprintf("https://%s:%u%.*s", host, url->port, (int)len, url->path.ptr);
    if (server_name != NULL) {
        A_AUTOFREE char *to = a_asprintf("%s:%u:%s:%u", server_name, url->port, host, url->port);
        w->connect_to = curl_slist_append(NULL, to);
    }
}

static int options_check(const struct net_web_options *o, struct wire_url *ret_url, struct a_error *reterr)
{
    struct a_view key = o->key != NULL ? sys_secret_view(o->key) : (struct a_view){NULL, 0};
    if (o->base_url == NULL || !wire_url_parse(a_view_str(o->base_url), ret_url) || !ret_url->tls ||
        memchr(ret_url->path.ptr, '?', ret_url->path.len) != NULL)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "\"%s\" is no address such as https://10.0.0.1:6443",
                      o->base_url != NULL ? o->base_url : "");
    if (o->certificate.len == 0)
        return 0;
    return web_tls_check(o->certificate, key, reterr);
}

int net_web_new(struct sys_loop *loop, const struct net_web_options *o, struct net_web **ret,
                struct a_error *reterr)
{
    struct wire_url url = {0};
    int rc = options_check(o, &url, reterr);
    if (rc != 0)
        return rc;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        return a_fail(reterr, -ENOMEM, A_CODE_INTERNAL, "cannot set libcurl up");
    struct net_web *w = a_new(struct net_web);
    w->loop = loop;
    url_set(w, &url, o->server_name);
    w->ca = pem_dup(o->ca);
    w->certificate = pem_dup(o->certificate);
    if (w->certificate != NULL)
        sys_secret_set(&w->key, sys_secret_view(o->key));
    if (o->bearer != NULL)
        sys_secret_set(&w->bearer, sys_secret_view(o->bearer));
    w->user = o->user != NULL ? a_strdup(o->user) : NULL;
    if (o->password != NULL)
        sys_secret_set(&w->password, sys_secret_view(o->password));
    w->insecure = o->insecure;
    w->proxy = o->proxy != NULL ? a_strdup(o->proxy) : NULL;
    w->user_agent = a_strdup(o->user_agent != NULL ? o->user_agent : "astra/" ASTRA_VERSION);
    w->connect_timeout_ms = o->connect_timeout_ms != 0 ? o->connect_timeout_ms : CONNECT_TIMEOUT_MS;
    w->connections_max = o->connections_max != 0 ? o->connections_max : CONNECTIONS_MAX;
    a_list_init(&w->calls);
    a_list_init(&w->ready);
    *ret = w;
    return 0;
}

void net_web_set_bearer(struct net_web *w, struct a_view bearer)
{
    sys_secret_set(&w->bearer, bearer);
}

uint64_t net_web_connections(const struct net_web *w)
{
    return w->n_connections;
}

uint64_t net_web_calls(const struct net_web *w)
{
    return w->n_calls;
}

/* ---- calls ---- */

static void call_free(struct net_web_call *call)
{
    if (call->hub != NULL)
        web_hub_remove(call);
    if (call->gone != NULL)
        *call->gone = true;
    a_list_remove(&call->of_web);
    a_list_remove(&call->ready);
    sys_timer_clear(&call->timer);
    curl_easy_cleanup(call->curl);
    for (struct curl_slist *h = call->headers; h != NULL; h = h->next)
        sys_secret_wipe(h->data, strlen(h->data));
    curl_slist_free_all(call->headers);
    sys_secret_deinit(&call->body_out);
    a_buf_deinit(&call->pieces);
    a_buf_deinit(&call->body);
    a_error_deinit(&call->error);
    a_free(call->method);
    a_free(call->path);
    a_free(call);
}

static void timer_set(struct net_web_call *call)
{
    bool waits = call->paused || call->held;
    uint64_t idle_at = call->idle_ms != 0 && !waits ? call->heard_ms + call->idle_ms : A_NEVER;
    sys_timer_set_at(&call->timer, call->ended ? A_NEVER : A_MIN(call->ends_at_ms, idle_at));
}

void web_call_ready(struct net_web_call *call)
{
    if (call->ready.next == NULL)
        a_list_push_back(&call->w->ready, &call->ready);
    sys_defer_call(call->w->loop, &call->w->tell, tell, call->w);
}

void web_call_heard(struct net_web_call *call)
{
    call->heard_ms = sys_loop_now_ms(call->w->loop);
    call->hub->heard_ms = call->heard_ms;
    timer_set(call);
}

void web_call_end(struct net_web_call *call, int rc, struct a_error *error)
{
    web_hub_remove(call);
    call->ended = true;
    call->rc = rc;
    a_error_move(&call->error, error);
    timer_set(call);
    web_call_ready(call);
}

/* Its connections are dead: who waits on them hears of it now, and the next call dials. */
static void hub_condemn(struct web_hub *hub, uint64_t silent_ms)
{
    struct net_web *w = hub->w;
    a_list_foreach_safe (link, &hub->calls) {
        struct net_web_call *call = a_list_entry(link, struct net_web_call, link);
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        a_error_set(&e, A_CODE_UNAVAILABLE, "%s %s%s: nothing came on its connection for %llu ms",
                    call->method, w->base_url, call->path, (unsigned long long)silent_ms);
        web_call_end(call, -ECONNRESET, &e);
    }
    w->hub = NULL;
    web_hub_free(hub);
}

static void on_timer(void *ctx)
{
    struct net_web_call *call = ctx;
    struct web_hub *hub = call->hub;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    uint64_t now = sys_loop_now_ms(call->w->loop);
    bool silent = hub->heard_ms <= call->heard_ms && !call->paused && !call->held;
    a_error_set(&e, A_CODE_TIMEOUT, "%s %s%s: %s", call->method, call->w->base_url, call->path,
                now >= call->ends_at_ms ? "no whole answer in time" : "the answer stands still");
    web_call_end(call, -ETIMEDOUT, &e);
    if (silent)
        hub_condemn(hub, now - call->heard_ms);
}

static int request_check(const struct net_web_request *q, struct a_error *reterr)
{
    if (q->path == NULL || q->path[0] != '/' || strpbrk(q->path, " \r\n#") != NULL)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "\"%s\" is no path", q->path != NULL ? q->path : "");
    return 0;
}

static struct net_web_call *call_new(struct net_web *w, const struct net_web_request *q)
{
    struct net_web_call *call = a_new(struct net_web_call);
    uint64_t now = sys_loop_now_ms(w->loop);
    call->w = w;
    a_list_push_back(&w->calls, &call->of_web);
    call->method = a_strdup(q->method != NULL ? q->method : q->body.len > 0 ? "POST" : "GET");
    call->path = a_strdup(q->path);
    sys_secret_set(&call->body_out, q->body);
    call->open = q->open;
    call->piece = q->piece;
    call->done = q->done;
    call->ctx = q->ctx;
    call->heard_ms = now;
    call->idle_ms = q->idle_ms;
    call->ends_at_ms =
        q->timeout_ms == A_NEVER ? A_NEVER : now + (q->timeout_ms != 0 ? q->timeout_ms : TIMEOUT_MS);
    sys_timer_init(&call->timer, w->loop, on_timer, call);
    return call;
}

int net_web_send(struct net_web *w, const struct net_web_request *q, struct net_web_call **ret_call,
                 struct a_error *reterr)
{
    int rc = request_check(q, reterr);
    if (rc == 0 && w->hub == NULL)
        rc = web_hub_new(w, &w->hub, reterr);
    if (rc != 0)
        return rc;
    struct net_web_call *call = call_new(w, q);
    rc = web_call_options_set(call, q, reterr);
    if (rc == 0)
        rc = web_hub_add(w->hub, call, reterr);
    if (rc != 0) {
        call_free(call);
        return rc;
    }
    w->n_calls++;
    timer_set(call);
    if (ret_call != NULL)
        *ret_call = call;
    return 0;
}

void net_web_free(struct net_web *w)
{
    if (w == NULL)
        return;
    if (w->gone != NULL)
        *w->gone = true;
    a_list_foreach_safe (link, &w->calls)
        call_free(a_list_entry(link, struct net_web_call, of_web));
    web_hub_free(w->hub);
    sys_defer_cancel(&w->tell);
    curl_slist_free_all(w->connect_to);
    sys_secret_deinit(&w->key);
    sys_secret_deinit(&w->bearer);
    sys_secret_deinit(&w->password);
    a_free(w->user);
    a_free(w->base_url);
    a_free(w->url_root);
    a_free(w->host);
    a_free(w->ca);
    a_free(w->certificate);
    a_free(w->proxy);
    a_free(w->user_agent);
    a_free(w);
}

void net_web_call_cancel(struct net_web_call *call)
{
    call_free(call);
}

void net_web_call_pause(struct net_web_call *call)
{
    call->paused = true;
    timer_set(call);
}

void net_web_call_resume(struct net_web_call *call)
{
    call->paused = false;
    call->heard_ms = sys_loop_now_ms(call->w->loop);
    timer_set(call);
    web_call_ready(call);
}

/* ---- telling ---- */

static void end_tell(struct net_web_call *call)
{
    const struct net_web_answer answer = {.rc = call->rc,
                                          .error = call->rc != 0 ? &call->error : NULL,
                                          .status = call->status,
                                          .body = a_buf_view(&call->body),
                                          .content_type = call->content_type,
                                          .retry_after_ms = call->retry_after_ms,
                                          .http2 = call->http2};
    bool gone = false;
    call->gone = &gone; /* the client may be freed from there */
    call->done(call->ctx, &answer);
    if (!gone) {
        call->gone = NULL;
        call_free(call);
    }
}

/* Goes on reading: libcurl may hand over what it kept from within. */
static void call_release(struct net_web_call *call)
{
    if (!call->held || call->hub == NULL)
        return;
    call->held = false;
    call->heard_ms = sys_loop_now_ms(call->w->loop);
    timer_set(call);
    curl_easy_pause(call->curl, CURLPAUSE_CONT);
}

/* False: the callback freed the call. */
static bool open_tell(struct net_web_call *call)
{
    bool gone = false;
    call->open_told = true;
    call->gone = &gone;
    call->open(call->ctx);
    if (!gone)
        call->gone = NULL;
    return !gone;
}

static bool pieces_tell(struct net_web_call *call)
{
    A_BUF_AUTO struct a_buf bytes = call->pieces;
    bool gone = false;
    call->pieces = (struct a_buf){0};
    call->gone = &gone;
    call->piece(call->ctx, a_buf_view(&bytes));
    if (gone)
        return false;
    call->gone = NULL;
    call_release(call);
    return true;
}

static void call_tell(struct net_web_call *call)
{
    if (!call->paused && call->opened && !call->open_told && !open_tell(call))
        return;
    if (!call->paused && call->pieces.len > 0 && !pieces_tell(call))
        return;
    if (call->ended && !call->paused && call->pieces.len == 0)
        end_tell(call);
}

static void tell(void *ctx)
{
    struct net_web *w = ctx;
    struct a_list now, *link;
    bool gone = false;
    w->gone = &gone;
    a_list_init(&now);
    while ((link = a_list_pop_front(&w->ready)) != NULL)
        a_list_push_back(&now, link);
    while (!gone && (link = a_list_pop_front(&now)) != NULL)
        call_tell(a_list_entry(link, struct net_web_call, ready));
    if (!gone)
        w->gone = NULL;
}
