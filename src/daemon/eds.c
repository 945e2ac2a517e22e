#include "daemon/eds.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/list.h"
#include "base/map.h"
#include "sys/random.h"
#include "wire/eds.h"

#define NAMES_KEPT 10000 /* more of them are forgotten before the view changes */

/* What is known of one name. */
struct name {
    struct a_map_link link; /* of d_eds.names */
    char *key;
    bool fresh;                      /* `text` is as the view is now */
    bool wanted;                     /* of the pass that is under way, or by somebody who waits */
    struct wire_eds_endpoint *found; /* during a pass */
    size_t n, cap;
    char *text; /* its assignment */
};

/* Who waits for a change. */
struct waiting {
    struct a_list link; /* of d_eds.waiting */
    struct d_eds *eds;
    struct net_http_request *r;
    struct wire_eds_request q; /* in the request's arena */
    const char *namespace;     /* in the request's arena, or NULL */
    struct sys_timer timer;
};

struct d_eds {
    struct sys_loop *loop;
    const struct d_eds_ops *ops;
    void *ctx;
    struct a_map names;
    struct a_list waiting;
    size_t n_waiting;
};

static void name_free(struct d_eds *e, struct name *n)
{
    a_map_remove(&e->names, &n->link);
    a_free(n->found);
    a_free(n->text);
    a_free(n->key);
    a_free(n);
}

static struct name *name_find(const struct d_eds *e, struct a_view key)
{
    struct a_map_link *l = a_map_get(&e->names, key.ptr, key.len);
    return l != NULL ? a_map_entry(l, struct name, link) : NULL;
}

static struct name *name_get(struct d_eds *e, struct a_view key)
{
    struct name *n = name_find(e, key);
    if (n != NULL)
        return n;
    n = a_new(struct name);
    n->key = a_view_dup(key);
    a_map_put(&e->names, &n->link, n->key, key.len);
    return n;
}

/* ---- a pass over the view ---- */

static void endpoint_add(struct name *n, const struct wire_sl_endpoint *m)
{
    if (n == NULL || !n->wanted || n->fresh)
        return;
    if (n->n == n->cap) {
        n->cap = n->cap == 0 ? 8 : n->cap * 2;
        n->found = a_realloc(n->found, n->cap * sizeof *n->found);
    }
    struct wire_eds_endpoint *to = &n->found[n->n++];
    *to = (struct wire_eds_endpoint){.port = m->port,
                                     .weight = m->weight != 0 ? m->weight : 100,
                                     .draining = m->state == WIRE_SL_ENDPOINT_DRAINING,
                                     .region = m->network,
                                     .zone = m->cluster};
    snprintf(to->ip, sizeof to->ip, A_VIEW_FMT, A_VIEW_ARG(m->ip));
}

/* NAMESPACE/APP has them all, NAMESPACE/APP/APPLICATION those of one. */
static void on_endpoint(void *ctx, const struct wire_sl_endpoint *m)
{
    struct d_eds *e = ctx;
    char key[WIRE_EDS_NAME_MAX + 1];
    if (m->state == WIRE_SL_ENDPOINT_DEAD)
        return;
    int len = snprintf(key, sizeof key, "%s/%s", m->app.namespace.s, m->app.name.s);
    endpoint_add(name_find(e, (struct a_view){key, (size_t)len}), m);
    len = snprintf(key, sizeof key, "%s/%s/" A_VIEW_FMT, m->app.namespace.s, m->app.name.s,
                   A_VIEW_ARG(m->application));
    if (len < (int)sizeof key)
        endpoint_add(name_find(e, (struct a_view){key, (size_t)len}), m);
}

static void name_finish(struct name *n)
{
    A_BUF_AUTO struct a_buf b = {0};
    wire_eds_assignment_print(&b, a_view_str(n->key), n->found, n->n);
    a_free(n->text);
    n->text = a_buf_steal(&b);
    n->fresh = true;
    a_free(a_steal(&n->found));
    n->n = n->cap = 0;
}

/* All names that are wanted are as the view is now. */
static void names_look(struct d_eds *e)
{
    bool any = false;
    a_map_foreach (l, &e->names) {
        const struct name *n = a_map_entry(l, struct name, link);
        any = any || (n->wanted && !n->fresh);
    }
    if (!any)
        return;
    e->ops->endpoints(e->ctx, on_endpoint, e);
    a_map_foreach (l, &e->names) {
        struct name *n = a_map_entry(l, struct name, link);
        if (n->wanted && !n->fresh)
            name_finish(n);
    }
}

/* ---- answers ---- */

/* What is not the asker's looks like what is not there. */
static bool is_allowed(const char *namespace, struct a_view name)
{
    size_t len = namespace != NULL ? strlen(namespace) : 0;
    return namespace == NULL ||
           (name.len > len && memcmp(name.ptr, namespace, len) == 0 && name.ptr[len] == '/');
}

static void names_want(struct d_eds *e, const struct wire_eds_request *q, const char *namespace)
{
    for (size_t i = 0; i < q->n_names; i++)
        if (is_allowed(namespace, q->names[i]))
            name_get(e, q->names[i])->wanted = true;
}

/* All names are fresh. */
static void assignments_print(const struct d_eds *e, const struct wire_eds_request *q, const char *namespace,
                              struct a_buf *b)
{
    for (size_t i = 0; i < q->n_names; i++) {
        a_buf_add_str(b, i > 0 ? "," : "");
        if (is_allowed(namespace, q->names[i]))
            a_buf_add_str(b, name_find(e, q->names[i])->text);
        else
            wire_eds_assignment_print(b, q->names[i], NULL, 0);
    }
}

/* The answer, when what there is is not what the asker has. */
static bool answer_make(const struct d_eds *e, const struct wire_eds_request *q, const char *namespace,
                        struct a_buf *ret_body)
{
    A_BUF_AUTO struct a_buf assignments = {0};
    char version[WIRE_EDS_VERSION_LEN + 1];
    assignments_print(e, q, namespace, &assignments);
    wire_eds_version(a_buf_view(&assignments), version);
    if (a_view_is(q->version, version))
        return false;
    wire_eds_response_print(ret_body, version, a_buf_view(&assignments));
    return true;
}

static void answer_new(struct d_eds *e, struct net_http_request *r, struct a_view body)
{
    e->ops->reply(
        e->ctx, r,
        &(struct net_http_response){.status = 200, .content_type = "application/json", .body = body});
}

static void answer_same(struct d_eds *e, struct net_http_request *r)
{
    e->ops->reply(e->ctx, r, &(struct net_http_response){.status = 304});
}

static void answer_error(struct d_eds *e, struct net_http_request *r, enum a_code code, const char *text)
{
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    A_BUF_AUTO struct a_buf body = {0};
    a_error_set(&error, code, "%s", text);
    net_problem_print(&body, &error, NULL);
    e->ops->reply(e->ctx, r,
                  &(struct net_http_response){.status = (unsigned)a_code_http(code),
                                              .content_type = NET_PROBLEM_TYPE,
                                              .body = a_buf_view(&body)});
}

/* ---- waiting ---- */

/* The request is still there; what is given up is the waiting. */
static struct net_http_request *waiting_end(struct waiting *w)
{
    struct net_http_request *r = w->r;
    sys_timer_clear(&w->timer);
    a_list_remove(&w->link);
    w->eds->n_waiting--;
    r->on_gone = NULL;
    a_free(w);
    return r;
}

static void on_gone(void *ctx, struct net_http_request *r)
{
    (void)r;
    (void)waiting_end(ctx);
}

static void on_timer(void *ctx)
{
    struct waiting *w = ctx;
    struct d_eds *e = w->eds;
    answer_same(e, waiting_end(w));
}

static void waiting_begin(struct d_eds *e, struct net_http_request *r, const struct wire_eds_request *q,
                          const char *namespace)
{
    struct waiting *w = a_new(struct waiting);
    *w = (struct waiting){.eds = e, .r = r, .q = *q, .namespace = namespace};
    a_list_push_back(&e->waiting, &w->link);
    e->n_waiting++;
    r->on_gone = on_gone;
    r->on_gone_ctx = w;
    sys_timer_init(&w->timer, e->loop, on_timer, w);
    sys_timer_set_in(&w->timer, q->hold_ms);
}

/* What nobody waits for: who asks for it again has it looked at again. */
static void names_forget(struct d_eds *e)
{
    a_map_foreach (l, &e->names)
        a_map_entry(l, struct name, link)->wanted = false;
    a_list_foreach (l, &e->waiting) {
        const struct waiting *w = a_list_entry(l, struct waiting, link);
        names_want(e, &w->q, w->namespace);
    }
    a_map_foreach (l, &e->names)
        if (!a_map_entry(l, struct name, link)->wanted)
            name_free(e, a_map_entry(l, struct name, link));
}

/* ---- from outside ---- */

void d_eds_handle(struct d_eds *e, struct net_http_request *r, const char *namespace)
{
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    struct wire_eds_request q;
    if (!e->ops->is_known(e->ctx)) {
        answer_error(e, r, A_CODE_UNAVAILABLE, "what serves is not known yet: keep what you have");
        return;
    }
    if (wire_eds_request_parse(r->arena, r->body, &q, &error) != 0) {
        answer_error(e, r, error.code, a_error_text(&error));
        return;
    }
    namespace = namespace != NULL ? a_arena_strdup(r->arena, namespace) : NULL;
    if (e->names.len > NAMES_KEPT)
        names_forget(e);
    names_want(e, &q, namespace);
    names_look(e);
    A_BUF_AUTO struct a_buf body = {0};
    if (answer_make(e, &q, namespace, &body))
        answer_new(e, r, a_buf_view(&body));
    else if (q.hold_ms == 0 || e->n_waiting >= D_EDS_WAITING_MAX)
        answer_same(e, r);
    else
        waiting_begin(e, r, &q, namespace);
}

void d_eds_changed(struct d_eds *e)
{
    struct a_list all, *l;
    a_map_foreach (it, &e->names)
        a_map_entry(it, struct name, link)->fresh = false;
    names_forget(e);
    names_look(e);
    a_list_init(&all); /* an answer may bring the next request of its connection */
    while ((l = a_list_pop_front(&e->waiting)) != NULL)
        a_list_push_back(&all, l);
    while ((l = a_list_pop_front(&all)) != NULL) {
        A_BUF_AUTO struct a_buf body = {0};
        struct waiting *w = a_list_entry(l, struct waiting, link);
        a_list_push_back(&e->waiting, &w->link);
        if (answer_make(e, &w->q, w->namespace, &body))
            answer_new(e, waiting_end(w), a_buf_view(&body));
    }
}

struct d_eds *d_eds_new(struct sys_loop *loop, const struct d_eds_ops *ops, void *ctx)
{
    struct d_eds *e = a_new(struct d_eds);
    *e = (struct d_eds){.loop = loop, .ops = ops, .ctx = ctx, .names = {.seed = sys_random_seed()}};
    a_list_init(&e->waiting);
    return e;
}

void d_eds_free(struct d_eds *e)
{
    if (e == NULL)
        return;
    while (!a_list_empty(&e->waiting)) {
        struct waiting *w = a_list_entry(e->waiting.next, struct waiting, link);
        answer_error(e, waiting_end(w), A_CODE_UNAVAILABLE, "this process stops");
    }
    a_map_foreach (l, &e->names)
        name_free(e, a_map_entry(l, struct name, link));
    a_map_deinit(&e->names);
    a_free(e);
}
