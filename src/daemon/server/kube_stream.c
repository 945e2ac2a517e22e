/* Carries the requests of a watch core out, for whoever follows a collection of a cluster: pods of a
 * namespace (kube_follow.c), custom resources (kube_custom.c). */
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/kube.h"
#include "sys/log.h"
#include "sys/random.h"
#include "wire/url.h"

/* A watch is silent between bookmarks, which come about once a minute; the core gives it up by its own time.
 */
#define LIST_TIMEOUT_MS 60000

static void stream_step(struct d_kube_stream *f, struct kube_watch_event *e);

static void on_open(void *ctx)
{
    struct d_kube_stream *f = ctx;
    f->opened = true;
    stream_step(f, &(struct kube_watch_event){.type = KUBE_WATCH_OPEN, .request = f->request});
}

static void on_piece(void *ctx, struct a_view bytes)
{
    struct d_kube_stream *f = ctx;
    uint64_t request = f->request;
    struct a_view line;
    kube_lines_put(&f->lines, bytes);
    while (f->request == request && f->call != NULL && kube_lines_next(&f->lines, &line))
        stream_step(f, &(struct kube_watch_event){.type = KUBE_WATCH_LINE, .request = request, .text = line});
}

/* What may be missing in a cluster, or not be allowed, tells nothing of the cluster. */
static bool is_refusal(const struct net_web_answer *a)
{
    return a->rc == 0 && (a->status == 403 || a->status == 404);
}

static void on_done(void *ctx, const struct net_web_answer *a)
{
    struct d_kube_stream *f = ctx;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct kube_watch_event e = {.request = f->request};
    f->call = NULL;
    if (!f->options.may_be_missing || !is_refusal(a))
        d_kube_cluster_heard(f->cluster, a);
    if (!f->is_watch && a->rc == 0 && a->status == 200) {
        e.type = KUBE_WATCH_PAGE;
        e.text = a->body;
    } else {
        e.type = KUBE_WATCH_END;
        e.status = f->opened ? 200 : (int)a->status;
        e.retry_after_ms = a->retry_after_ms;
        e.reason = a_view_str(d_kube_answer_why(&arena, a));
    }
    stream_step(f, &e);
}

static void parameter_add(struct a_buf *b, const char *name, const char *value)
{
    a_buf_addf(b, "&%s=", name);
    wire_url_encode(b, a_view_str(value), false);
}

static void path_print(const struct d_kube_stream *f, const struct kube_watch_update *u, struct a_buf *b)
{
    a_buf_addf(b, "%s?", f->path);
    if (u->ask == KUBE_ASK_LIST)
        a_buf_addf(b, "limit=%d", KUBE_PAGE_ROWS);
    else
        a_buf_addf(b, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u", u->timeout_s);
    if (f->selector != NULL)
        parameter_add(b, "labelSelector", f->selector);
    if (u->ask == KUBE_ASK_LIST && u->continue_token != NULL)
        parameter_add(b, "continue", u->continue_token);
    if (u->ask == KUBE_ASK_WATCH)
        parameter_add(b, "resourceVersion", u->version);
}

static void ask(struct d_kube_stream *f, const struct kube_watch_update *u)
{
    A_BUF_AUTO struct a_buf path = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    f->request = u->request;
    f->is_watch = u->ask == KUBE_ASK_WATCH;
    f->opened = false;
    kube_lines_reset(&f->lines);
    path_print(f, u, &path);
    struct net_web_request q = {.path = path.ptr,
                                .timeout_ms = f->is_watch ? A_NEVER : LIST_TIMEOUT_MS,
                                .body_max = KUBE_PAGE_MAX,
                                .done = on_done,
                                .ctx = f};
    if (f->is_watch) {
        q.open = on_open;
        q.piece = on_piece;
    }
    if (net_web_send(f->cluster->web, &q, &f->call, &e) != 0)
        sys_log(ERROR, "kube", "kube.send", "a request cannot be sent", SYS_ERR(&e));
}

static void stream_step(struct d_kube_stream *f, struct kube_watch_event *e)
{
    struct kube_watch_update u;
    uint64_t since_ms;
    e->now_ms = sys_loop_now_ms(f->cluster->kube->s->loop);
    kube_watch_step(f->core, e, &u);
    if (u.cancel && f->call != NULL)
        net_web_call_cancel(a_steal(&f->call));
    for (size_t i = 0; i < u.n_changes; i++)
        f->options.changed(f->options.ctx, &u.changes[i]);
    if (u.synced)
        f->options.synced(f->options.ctx);
    if (u.stale)
        f->options.stale(f->options.ctx, kube_watch_stale(f->core, &since_ms));
    if (u.ask != KUBE_ASK_NOTHING && f->cluster->web != NULL)
        ask(f, &u);
    sys_timer_set_at(&f->timer, f->cluster->web != NULL ? kube_watch_deadline(f->core) : A_NEVER);
}

static void on_timer(void *ctx)
{
    stream_step(ctx, &(struct kube_watch_event){.type = KUBE_WATCH_TICK});
}

void d_kube_stream_start(struct d_kube_stream *f, struct d_kube_cluster *c,
                         const struct d_kube_stream_options *options)
{
    *f = (struct d_kube_stream){.cluster = c, .options = *options};
    f->path = a_strdup(options->path);
    f->selector = options->selector != NULL ? a_strdup(options->selector) : NULL;
    f->core = kube_watch_new(&(struct kube_watch_options){.kind = options->kind, .seed = sys_random_seed()});
    sys_timer_init(&f->timer, c->kube->s->loop, on_timer, f);
    sys_timer_set_in(&f->timer, 0);
}

void d_kube_stream_stop(struct d_kube_stream *f)
{
    if (f->call != NULL)
        net_web_call_cancel(f->call);
    sys_timer_clear(&f->timer);
    kube_watch_free(f->core);
    kube_lines_deinit(&f->lines);
    a_free(f->path);
    a_free(f->selector);
    *f = (struct d_kube_stream){0};
}
