/* Follows our pods of one namespace: carries the watch core's requests out, and hands the changes of its rows
 * to the pools. It goes on whoever owns the cluster: what a server knows, it may have to use a moment later.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/kube.h"
#include "sys/log.h"
#include "sys/random.h"
#include "wire/url.h"

/* A watch is silent between bookmarks, which come about once a minute; the core gives it up by its own time.
 */
#define LIST_TIMEOUT_MS 60000

static void follow_step(struct d_kube_follow *f, struct kube_watch_event *e);

static uint64_t now_of(const struct d_kube_follow *f)
{
    return sys_loop_now_ms(f->cluster->kube->s->loop);
}

bool d_kube_pool_is_in(const struct d_kube_pool *p, const struct d_kube_follow *f)
{
    return strcmp(p->spec.cluster.s, f->cluster->name.s) == 0 && strcmp(p->spec.namespace, f->namespace) == 0;
}

struct d_kube_follow *d_kube_follow_of(const struct d_kube_pool *p)
{
    const struct d_kube_cluster *c = d_kube_pool_cluster(p);
    if (c == NULL)
        return NULL;
    a_list_foreach (l, &c->follows) {
        struct d_kube_follow *f = a_list_entry(l, struct d_kube_follow, link);
        if (d_kube_pool_is_in(p, f))
            return f;
    }
    return NULL;
}

/* ---- what the core tells ---- */

static struct d_kube_pool *pool_of_row(const struct d_kube_follow *f, const struct kube_row *row)
{
    struct a_name name;
    const struct kube_pod *pod = kube_row_pod(row);
    if (!a_name_parse(kube_row_text(row, pod->pool), &name))
        return NULL;
    struct d_kube_pool *p = d_kube_pool_find(f->cluster->kube->s, &name);
    return p != NULL && d_kube_pool_is_in(p, f) ? p : NULL;
}

static void change_tell(struct d_kube_follow *f, const struct kube_change *change)
{
    struct d_kube_pool *p = pool_of_row(f, change->row);
    struct kube_pool_event e = {.type = change->type == KUBE_ROW_GONE ? KUBE_POOL_GONE : KUBE_POOL_POD,
                                .row = change->row};
    if (p != NULL)
        d_kube_pool_event(p, &e);
    if (change->type == KUBE_ROW_GONE)
        d_kube_pod_gone(f->cluster->kube, kube_row_uid(change->row));
}

static void pools_tell(struct d_kube_follow *f, enum kube_pool_event_type type, const char *reason)
{
    a_map_foreach (l, &f->cluster->kube->pools) {
        struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        struct kube_pool_event e = {.type = type, .reason = a_view_str(reason)};
        if (d_kube_pool_is_in(p, f))
            d_kube_pool_event(p, &e);
    }
}

void d_kube_follow_replay(const struct d_kube_follow *f, struct d_kube_pool *p)
{
    for (const struct kube_row *row = kube_watch_next(f->core, NULL); row != NULL;
         row = kube_watch_next(f->core, row)) {
        struct kube_pool_event e = {.type = KUBE_POOL_POD, .row = row};
        if (pool_of_row(f, row) == p)
            d_kube_pool_event(p, &e);
    }
    struct kube_pool_event e = {.type = KUBE_POOL_SYNCED};
    if (kube_watch_is_synced(f->core))
        d_kube_pool_event(p, &e);
}

/* ---- requests ---- */

static void on_open(void *ctx)
{
    struct d_kube_follow *f = ctx;
    f->opened = true;
    follow_step(f, &(struct kube_watch_event){.type = KUBE_WATCH_OPEN, .request = f->request});
}

static void on_piece(void *ctx, struct a_view bytes)
{
    struct d_kube_follow *f = ctx;
    uint64_t request = f->request;
    struct a_view line;
    kube_lines_put(&f->lines, bytes);
    while (f->request == request && f->call != NULL && kube_lines_next(&f->lines, &line))
        follow_step(f, &(struct kube_watch_event){.type = KUBE_WATCH_LINE, .request = request, .text = line});
}

static void on_done(void *ctx, const struct net_web_answer *a)
{
    struct d_kube_follow *f = ctx;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct kube_watch_event e = {.request = f->request};
    f->call = NULL;
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
    follow_step(f, &e);
}

static void parameter_add(struct a_buf *b, const char *name, const char *value)
{
    a_buf_addf(b, "&%s=", name);
    wire_url_encode(b, a_view_str(value), false);
}

static void path_print(const struct d_kube_follow *f, const struct kube_watch_update *u, struct a_buf *b)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    a_buf_addf(b, "/api/v1/namespaces/%s/pods?", f->namespace);
    if (u->ask == KUBE_ASK_LIST)
        a_buf_addf(b, "limit=%d", KUBE_PAGE_ROWS);
    else
        a_buf_addf(b, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u", u->timeout_s);
    parameter_add(b, "labelSelector", kube_pool_selector(&arena, f->cluster->kube->installation, NULL));
    if (u->ask == KUBE_ASK_LIST && u->continue_token != NULL)
        parameter_add(b, "continue", u->continue_token);
    if (u->ask == KUBE_ASK_WATCH)
        parameter_add(b, "resourceVersion", u->version);
}

static void ask(struct d_kube_follow *f, const struct kube_watch_update *u)
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

static void follow_step(struct d_kube_follow *f, struct kube_watch_event *e)
{
    struct kube_watch_update u;
    uint64_t since_ms;
    e->now_ms = now_of(f);
    kube_watch_step(f->core, e, &u);
    if (u.cancel && f->call != NULL)
        net_web_call_cancel(a_steal(&f->call));
    for (size_t i = 0; i < u.n_changes; i++)
        change_tell(f, &u.changes[i]);
    if (u.synced)
        pools_tell(f, KUBE_POOL_SYNCED, "");
    if (u.stale)
        pools_tell(f, KUBE_POOL_STALE, kube_watch_stale(f->core, &since_ms));
    if (u.ask != KUBE_ASK_NOTHING && f->cluster->web != NULL)
        ask(f, &u);
    sys_timer_set_at(&f->timer, f->cluster->web != NULL ? kube_watch_deadline(f->core) : A_NEVER);
}

static void on_timer(void *ctx)
{
    follow_step(ctx, &(struct kube_watch_event){.type = KUBE_WATCH_TICK});
}

/* ---- the join token ---- */

static void on_secret_done(void *ctx, const struct net_web_answer *a)
{
    struct d_kube_follow *f = ctx;
    A_ARENA_AUTO struct a_arena arena = {0};
    f->secret = NULL;
    f->secret_done = a->rc == 0 && a->status / 100 == 2;
    d_kube_cluster_heard(f->cluster, a);
    if (f->secret_done)
        return;
    sys_log(WARN, "kube", "kube.secret", "the join token cannot be applied",
            SYS_STR("cluster", f->cluster->name.s), SYS_STR("why", d_kube_answer_why(&arena, a)));
    sys_timer_set_in(&f->secret_timer, 10000);
}

static void secret_send(void *ctx)
{
    struct d_kube_follow *f = ctx;
    struct server *s = f->cluster->kube->s;
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf body = {0};
    char pin[A_DIGEST_HEX + 1];
    if (f->secret != NULL || f->secret_done || !f->cluster->lease.owned)
        return;
    d_authority_pin(s, pin);
    char *token = a_arena_printf(&arena, "%s-%s", s->join_token.ptr, pin);
    struct kube_agent_options options = d_kube_agent_options(f->cluster);
    wire_json_print(&body, kube_join_secret_make(&arena, &options, f->namespace, token), 0);
    const char *path =
        a_arena_printf(&arena, "/api/v1/namespaces/%s/secrets/" KUBE_JOIN_SECRET, f->namespace);
    if (d_kube_apply(f->cluster, path, a_buf_view(&body), on_secret_done, f, &f->secret, NULL) != 0)
        sys_timer_set_in(&f->secret_timer, 10000);
    sys_secret_wipe(token, strlen(token));
    sys_secret_wipe(body.ptr, body.len);
}

void d_kube_follow_owned(struct d_kube_follow *f)
{
    f->secret_done = false; /* the CA, and with it the pin, may be another one */
    secret_send(f);
    pools_tell(f, KUBE_POOL_TICK, "");
}

/* ---- begin and end ---- */

struct d_kube_follow *d_kube_follow_get(struct d_kube_cluster *c, const char *namespace)
{
    a_list_foreach (l, &c->follows) {
        struct d_kube_follow *f = a_list_entry(l, struct d_kube_follow, link);
        if (strcmp(f->namespace, namespace) == 0)
            return f;
    }
    struct d_kube_follow *f = a_new(struct d_kube_follow);
    f->cluster = c;
    f->namespace = a_strdup(namespace);
    f->core = kube_watch_new(&(struct kube_watch_options){.kind = &kube_kind_pod, .seed = sys_random_seed()});
    a_list_push_back(&c->follows, &f->link);
    sys_timer_init(&f->timer, c->kube->s->loop, on_timer, f);
    sys_timer_init(&f->secret_timer, c->kube->s->loop, secret_send, f);
    sys_timer_set_in(&f->timer, 0);
    if (c->lease.owned)
        secret_send(f);
    return f;
}

void d_kube_follow_free(struct d_kube_follow *f)
{
    if (f->call != NULL)
        net_web_call_cancel(f->call);
    if (f->secret != NULL)
        net_web_call_cancel(f->secret);
    sys_timer_clear(&f->timer);
    sys_timer_clear(&f->secret_timer);
    a_list_remove(&f->link);
    kube_watch_free(f->core);
    kube_lines_deinit(&f->lines);
    a_free(f->namespace);
    a_free(f);
}
