/* Follows our pods of one namespace, and hands the changes of their rows to the pools. It goes on whoever
 * owns the cluster: what a server knows, it may have to use a moment later. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/kube.h"
#include "sys/log.h"

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

static void on_changed(void *ctx, const struct kube_change *change)
{
    struct d_kube_follow *f = ctx;
    struct d_kube_pool *p = pool_of_row(f, change->row);
    struct kube_pool_event e = {.type = change->type == KUBE_ROW_GONE ? KUBE_POOL_GONE : KUBE_POOL_POD,
                                .row = change->row};
    if (p != NULL && e.type == KUBE_POOL_POD && kube_row_pod(change->row)->deleted_s != 0)
        d_kube_pod_ends(f->cluster->kube, change->row); /* first: it is a matter of milliseconds */
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

static void on_synced(void *ctx)
{
    pools_tell(ctx, KUBE_POOL_SYNCED, "");
}

static void on_stale(void *ctx, const char *reason)
{
    pools_tell(ctx, KUBE_POOL_STALE, reason);
}

void d_kube_follow_replay(const struct d_kube_follow *f, struct d_kube_pool *p)
{
    for (const struct kube_row *row = kube_watch_next(f->stream.core, NULL); row != NULL;
         row = kube_watch_next(f->stream.core, row)) {
        struct kube_pool_event e = {.type = KUBE_POOL_POD, .row = row};
        if (pool_of_row(f, row) == p)
            d_kube_pool_event(p, &e);
    }
    struct kube_pool_event e = {.type = KUBE_POOL_SYNCED};
    if (kube_watch_is_synced(f->stream.core))
        d_kube_pool_event(p, &e);
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
    d_kube_expose_owned(f->expose);
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
    A_ARENA_AUTO struct a_arena arena = {0};
    struct d_kube_follow *f = a_new(struct d_kube_follow);
    f->cluster = c;
    f->namespace = a_strdup(namespace);
    a_list_push_back(&c->follows, &f->link);
    f->expose = d_kube_expose_new(f);
    d_kube_stream_start(&f->stream, c,
                        &(struct d_kube_stream_options){
                            .kind = &kube_kind_pod,
                            .path = a_arena_printf(&arena, "/api/v1/namespaces/%s/pods", namespace),
                            .selector = kube_pool_selector(&arena, c->kube->installation, NULL),
                            .changed = on_changed,
                            .synced = on_synced,
                            .stale = on_stale,
                            .ctx = f});
    sys_timer_init(&f->secret_timer, c->kube->s->loop, secret_send, f);
    if (c->lease.owned)
        secret_send(f);
    return f;
}

void d_kube_follow_free(struct d_kube_follow *f)
{
    d_kube_stream_stop(&f->stream);
    if (f->secret != NULL)
        net_web_call_cancel(f->secret);
    sys_timer_clear(&f->secret_timer);
    d_kube_expose_free(f->expose);
    a_list_remove(&f->link);
    a_free(f->namespace);
    a_free(f);
}
