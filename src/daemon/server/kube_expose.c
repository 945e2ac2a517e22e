/* Services and EndpointSlices for in-cluster callers: what the core of src/kube/expose.c asks for is carried
 * out while this server owns the cluster, one core for each namespace with pools. What is wanted follows from
 * the apps and the gateways, which are looked at once a second. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "daemon/server/kube.h"
#include "kube/expose.h"
#include "sys/addr.h"
#include "sys/log.h"
#include "wire/url.h"

#define LOOK_MS 1000
/* A gateway that is away dials every 5 s at most: one that lives is back by then. So long after a start, too,
 * nobody is missed. */
#define AWAY_MS 10000
#define LIST_MAX (64u << 20)

/* A gateway's address, as long as it may be there. */
struct known {
    struct a_list link; /* of d_kube.gateways */
    struct kube_gateway at;
    uint64_t seen_ms;
};

struct request {
    struct a_list link; /* of d_kube_expose.requests */
    struct d_kube_expose *expose;
    struct net_web_call *call;
    enum kube_expose_verb verb;
    char key[80];
};

struct d_kube_expose {
    struct d_kube_follow *follow;
    struct kube_expose *core;
    struct sys_timer timer;
    struct a_list requests;
    struct a_arena arena;        /* of the lists */
    struct wire_value *services; /* between the two answers of a LIST */
    uint64_t wanted;             /* hash of what it was told last */
};

static void expose_step(struct d_kube_expose *x, struct kube_expose_event *e);

static bool is_owned(const struct d_kube_expose *x)
{
    const struct d_kube_cluster *c = x->follow->cluster;
    return c->web != NULL && c->lease.owned;
}

/* ---- answers ---- */

static void request_free(struct request *r)
{
    if (r->call != NULL)
        net_web_call_cancel(r->call);
    a_list_remove(&r->link);
    a_free(r);
}

static struct wire_value *answer_parse(struct a_arena *arena, const struct net_web_answer *a)
{
    static const struct wire_value_limits limits = {.bytes = LIST_MAX, .nodes = 10000000};
    struct wire_value *v = NULL;
    if (a->rc != 0 || a->status / 100 != 2 || wire_json_parse(arena, a->body, NULL, &limits, &v, NULL) != 0)
        return NULL;
    return v;
}

static void event_fill(struct kube_expose_event *e, const struct net_web_answer *a, struct a_arena *arena)
{
    bool good = a->rc == 0 && a->status / 100 == 2;
    e->status = a->rc == 0 ? (int)a->status : 0;
    e->retry_after_ms = a->retry_after_ms;
    e->message = a_view_str(good ? "" : d_kube_answer_why(arena, a));
}

static void on_answer(void *ctx, const struct net_web_answer *a)
{
    struct request *r = ctx;
    struct d_kube_expose *x = r->expose;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct kube_expose_event e = {.type = KUBE_EXPOSE_RESULT};
    e.key = a_arena_strdup(&arena, r->key);
    e.object = answer_parse(&arena, a);
    event_fill(&e, a, &arena);
    r->call = NULL;
    request_free(r);
    expose_step(x, &e);
}

static int list_ask(struct d_kube_expose *x, struct request *r, bool slices,
                    void (*done)(void *ctx, const struct net_web_answer *a))
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf path = {0};
    const struct d_kube_follow *f = x->follow;
    a_buf_addf(&path, "%s/namespaces/%s/%s?labelSelector=", slices ? "/apis/discovery.k8s.io/v1" : "/api/v1",
               f->namespace, slices ? "endpointslices" : "services");
    wire_url_encode(&path, a_view_str(kube_expose_selector(&arena, f->cluster->kube->installation)), false);
    const struct net_web_request q = {.path = path.ptr, .body_max = LIST_MAX, .done = done, .ctx = r};
    return net_web_send(f->cluster->web, &q, &r->call, NULL);
}

static void list_end(struct request *r, const struct net_web_answer *a, const struct wire_value *slices)
{
    struct d_kube_expose *x = r->expose;
    A_ARENA_AUTO struct a_arena arena = {0};
    struct kube_expose_event e = {.type = KUBE_EXPOSE_LISTED, .services = x->services, .slices = slices};
    if (a != NULL)
        event_fill(&e, a, &arena);
    if (e.status == 200 && slices == NULL)
        e.status = 0; /* an answer that is no list */
    request_free(r);
    expose_step(x, &e);
    x->services = NULL;
    a_arena_reset(&x->arena);
}

static void on_slices(void *ctx, const struct net_web_answer *a)
{
    struct request *r = ctx;
    r->call = NULL;
    list_end(r, a, answer_parse(&r->expose->arena, a));
}

static void on_services(void *ctx, const struct net_web_answer *a)
{
    struct request *r = ctx;
    r->call = NULL;
    r->expose->services = answer_parse(&r->expose->arena, a);
    if (r->expose->services == NULL)
        list_end(r, a, NULL);
    else if (list_ask(r->expose, r, true, on_slices) != 0)
        list_end(r, NULL, NULL);
}

/* ---- requests ---- */

static const char *object_path(const struct d_kube_expose *x, const struct kube_expose_action *a,
                               struct a_arena *arena)
{
    return a_arena_printf(arena, "%s/namespaces/%s/%s/%s",
                          a->is_slice ? "/apis/discovery.k8s.io/v1" : "/api/v1", x->follow->namespace,
                          a->is_slice ? "endpointslices" : "services", a->name);
}

static int action_send(struct d_kube_expose *x, struct request *r, const struct kube_expose_action *a)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf body = {0};
    struct d_kube_cluster *c = x->follow->cluster;
    if (a->verb == KUBE_EXPOSE_LIST)
        return list_ask(x, r, false, on_services);
    const char *path = object_path(x, a, &arena);
    if (a->verb == KUBE_EXPOSE_APPLY) {
        wire_json_print(&body, a->object, 0);
        return d_kube_apply(c, path, a_buf_view(&body), on_answer, r, &r->call, NULL);
    }
    if (a->verb == KUBE_EXPOSE_DELETE)
        wire_json_print(&body, kube_delete_make(&arena, a->uid, 0), 0);
    const struct net_web_request q = {.method = a->verb == KUBE_EXPOSE_LOOK ? "GET" : "DELETE",
                                      .path = path,
                                      .body = a_buf_view(&body),
                                      .done = on_answer,
                                      .ctx = r};
    return net_web_send(c->web, &q, &r->call, NULL);
}

static void action_carry_out(struct d_kube_expose *x, const struct kube_expose_action *a)
{
    struct request *r = a_new(struct request);
    r->expose = x;
    r->verb = a->verb;
    snprintf(r->key, sizeof r->key, "%s", a->key != NULL ? a->key : "");
    a_list_push_back(&x->requests, &r->link);
    int rc = action_send(x, r, a);
    a_assert(rc == 0); /* path, method and body are ours */
}

static void condition_tell(struct d_kube_expose *x)
{
    struct d_kube_cluster *c = x->follow->cluster;
    struct kube_expose_status s = kube_expose_status(x->core);
    if (s.status != 0)
        d_kube_condition_set(c, D_KUBE_EXPOSED, false, s.status == 403 ? "Forbidden" : "Refused",
                             "Services and EndpointSlices in %s: %s%s", x->follow->namespace, s.message,
                             s.status == 403 ? "; `astra cluster manifests` prints what is needed" : "");
    else if (s.strangers > 0)
        d_kube_condition_set(c, D_KUBE_EXPOSED, false, "NameTaken",
                             "%zu app%s without a Service in %s, for the name is another's: %s", s.strangers,
                             s.strangers == 1 ? "" : "s", x->follow->namespace, s.stranger);
    else if (s.settled)
        d_kube_condition_set(c, D_KUBE_EXPOSED, true, "UpToDate", "%s", "");
}

static void expose_step(struct d_kube_expose *x, struct kube_expose_event *e)
{
    struct kube_expose_update u;
    e->now_ms = sys_loop_now_ms(x->follow->cluster->kube->s->loop);
    kube_expose_step(x->core, e, &u);
    for (size_t i = 0; i < u.n_actions; i++)
        action_carry_out(x, &u.actions[i]);
    if (e->type != KUBE_EXPOSE_TICK)
        condition_tell(x);
    sys_timer_set_at(&x->timer, is_owned(x) ? kube_expose_deadline(x->core) : A_NEVER);
}

static void on_timer(void *ctx)
{
    struct d_kube_expose *x = ctx;
    if (is_owned(x))
        expose_step(x, &(struct kube_expose_event){.type = KUBE_EXPOSE_TICK});
}

/* ---- what is wanted ---- */

struct wanted {
    struct a_arena arena;
    struct a_name *apps;
    size_t n_apps;
    struct kube_gateway *gateways;
    size_t n_gateways;
};

static bool app_is_exposed(const struct d_app *app)
{
    return !app->orphan && !app->deleted && app->current != NULL && app->current->read.n_routes > 0;
}

static int name_order(const void *x, const void *y)
{
    return strcmp(((const struct a_name *)x)->s, ((const struct a_name *)y)->s);
}

/* Two namespaces' apps of one name share a Service: it names gateways, and routes tell them apart. */
static void apps_collect(const struct server *s, struct wanted *w)
{
    w->apps = a_arena_alloc(&w->arena, (s->apps.len + 1) * sizeof *w->apps);
    a_map_foreach (l, &s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app_is_exposed(app))
            w->apps[w->n_apps++] = app->ref.name;
    }
    if (w->n_apps > 1)
        qsort(w->apps, w->n_apps, sizeof *w->apps, name_order);
    size_t kept = 0;
    for (size_t i = 0; i < w->n_apps; i++)
        if (kept == 0 || strcmp(w->apps[i].s, w->apps[kept - 1].s) != 0)
            w->apps[kept++] = w->apps[i];
    w->n_apps = kept;
}

static struct known *known_find(const struct d_kube *k, const struct kube_gateway *at)
{
    a_list_foreach (l, (struct a_list *)(uintptr_t)&k->gateways) {
        struct known *g = a_list_entry(l, struct known, link);
        if (g->at.port == at->port && strcmp(g->at.ip, at->ip) == 0)
            return g;
    }
    return NULL;
}

static int gateway_order(const void *x, const void *y)
{
    const struct kube_gateway *a = x, *b = y;
    int order = strcmp(a->ip, b->ip);
    return order != 0 ? order : (a->port > b->port) - (a->port < b->port);
}

/* `astra gateway --address`: IP, or IP:PORT where clients reach it at another port than its own. */
static bool gateway_read(const struct d_gateway *g, struct kube_gateway *ret)
{
    char host[sizeof g->address];
    uint16_t port = g->port;
    snprintf(host, sizeof host, "%s", g->address);
    if (!kube_gateway_is_nameable(host) && sys_addr_split(g->address, host, sizeof host, &port, NULL) != 0)
        return false;
    if (port == 0 || !kube_gateway_is_nameable(host))
        return false;
    *ret = (struct kube_gateway){.port = port};
    snprintf(ret->ip, sizeof ret->ip, "%.45s", host);
    return true;
}

/* Those that are connected, and those that were a moment ago. */
static void gateways_see(struct d_kube *k)
{
    uint64_t now = sys_loop_now_ms(k->s->loop);
    a_list_foreach (l, &k->s->gateways) {
        const struct d_gateway *g = a_list_entry(l, struct d_gateway, link);
        struct kube_gateway at;
        if (!gateway_read(g, &at))
            continue;
        struct known *known = known_find(k, &at);
        if (known == NULL) {
            known = a_new(struct known);
            known->at = at;
            a_list_push_back(&k->gateways, &known->link);
        }
        known->seen_ms = now;
    }
    a_list_foreach_safe (l, &k->gateways) {
        struct known *known = a_list_entry(l, struct known, link);
        if (now - known->seen_ms < AWAY_MS)
            continue;
        a_list_remove(&known->link);
        a_free(known);
    }
}

static void gateways_collect(const struct d_kube *k, struct wanted *w)
{
    size_t n = 0;
    a_list_foreach (l, (struct a_list *)(uintptr_t)&k->gateways)
        n++;
    w->gateways = a_arena_alloc(&w->arena, (n + 1) * sizeof *w->gateways);
    a_list_foreach (l, (struct a_list *)(uintptr_t)&k->gateways)
        w->gateways[w->n_gateways++] = a_list_entry(l, struct known, link)->at;
    if (n > 1)
        qsort(w->gateways, n, sizeof *w->gateways, gateway_order);
}

static uint64_t wanted_hash(const struct wanted *w, size_t n_apps)
{
    uint64_t hash = a_hash_u64(n_apps + 1);
    for (size_t i = 0; i < n_apps; i++)
        hash = a_hash_str(hash, w->apps[i].s);
    for (size_t i = 0; i < w->n_gateways; i++)
        hash = a_hash_str(hash, w->gateways[i].ip) + w->gateways[i].port;
    return hash | 1;
}

/* A namespace whose last pool goes has nothing left of it. */
static bool has_pools(const struct d_kube_expose *x)
{
    a_map_foreach (l, &x->follow->cluster->kube->pools) {
        const struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        if (!p->deleting && d_kube_pool_is_in(p, x->follow))
            return true;
    }
    return false;
}

static void expose_want(struct d_kube_expose *x, const struct wanted *w)
{
    struct kube_expose_event e = {.type = KUBE_EXPOSE_WANT};
    e.want.apps = w->apps;
    e.want.n_apps = has_pools(x) ? w->n_apps : 0;
    e.want.gateways = w->gateways;
    e.want.n_gateways = w->n_gateways;
    uint64_t hash = wanted_hash(w, e.want.n_apps);
    if (hash == x->wanted)
        return;
    x->wanted = hash;
    expose_step(x, &e);
}

/* Of a gateway that is missing it is known that it is gone once it had time to come. */
static void on_look(void *ctx)
{
    struct d_kube *k = ctx;
    struct wanted w = {.apps = NULL};
    gateways_see(k);
    sys_timer_set_in(&k->look, LOOK_MS);
    if (!k->s->adopted || sys_loop_now_ms(k->s->loop) - k->s->started_ms < AWAY_MS)
        return;
    apps_collect(k->s, &w);
    gateways_collect(k, &w);
    a_map_foreach (l, &k->clusters) {
        struct d_kube_cluster *c = a_map_entry(l, struct d_kube_cluster, link);
        a_list_foreach (f, &c->follows)
            expose_want(a_list_entry(f, struct d_kube_follow, link)->expose, &w);
    }
    a_arena_deinit(&w.arena);
}

/* ---- begin and end ---- */

void d_kube_expose_begin(struct d_kube *k)
{
    a_list_init(&k->gateways);
    sys_timer_init(&k->look, k->s->loop, on_look, k);
    sys_timer_set_in(&k->look, LOOK_MS);
}

void d_kube_expose_end(struct d_kube *k)
{
    struct a_list *l;
    sys_timer_clear(&k->look);
    while ((l = a_list_pop_front(&k->gateways)) != NULL)
        a_free(a_list_entry(l, struct known, link));
}

static void core_new(struct d_kube_expose *x)
{
    x->core = kube_expose_new(x->follow->cluster->kube->installation, x->follow->namespace);
    x->wanted = 0;
}

struct d_kube_expose *d_kube_expose_new(struct d_kube_follow *f)
{
    struct d_kube_expose *x = a_new(struct d_kube_expose);
    x->follow = f;
    a_list_init(&x->requests);
    sys_timer_init(&x->timer, f->cluster->kube->s->loop, on_timer, x);
    core_new(x);
    return x;
}

static void requests_drop(struct d_kube_expose *x)
{
    a_list_foreach_safe (l, &x->requests)
        request_free(a_list_entry(l, struct request, link));
}

void d_kube_expose_free(struct d_kube_expose *x)
{
    requests_drop(x);
    sys_timer_clear(&x->timer);
    kube_expose_free(x->core);
    a_arena_deinit(&x->arena);
    a_free(x);
}

/* Another server may have written meanwhile: all is looked at anew. */
void d_kube_expose_owned(struct d_kube_expose *x)
{
    requests_drop(x);
    kube_expose_free(x->core);
    x->services = NULL;
    a_arena_reset(&x->arena);
    core_new(x);
}

bool d_kube_expose_is_gone(const struct d_kube_expose *x)
{
    struct kube_expose_status s = kube_expose_status(x->core);
    /* What may not be written is not ours: no reason for the pool to stay, too. */
    return has_pools(x) || s.status == 403 || (s.listed && s.settled && s.objects == 0);
}
