/* Pools: what their cores ask for is carried out while this server owns the cluster; what becomes of pods,
 * nodes and requests is told to them. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/kube.h"
#include "sys/log.h"
#include "sys/random.h"

struct request {
    struct a_list link; /* of d_kube_pool.requests */
    struct d_kube_pool *pool;
    enum kube_pool_verb verb;
    char name[KUBE_POD_NAME_MAX + 1];
    struct net_web_call *call;
};

struct d_kube_cluster *d_kube_pool_cluster(const struct d_kube_pool *p)
{
    return d_kube_cluster_find(p->kube->s, &p->spec.cluster);
}

bool d_kube_pool_is_owned(const struct d_kube_pool *p)
{
    const struct d_kube_cluster *c = d_kube_pool_cluster(p);
    return c != NULL && c->web != NULL && c->lease.owned;
}

static void spec_tell(struct d_kube_pool *p);

/* ---- requests ---- */

static void request_free(struct request *r)
{
    if (r->call != NULL)
        net_web_call_cancel(r->call);
    a_list_remove(&r->link);
    a_free(r);
}

static void on_answer(void *ctx, const struct net_web_answer *a)
{
    struct request *r = ctx;
    struct d_kube_pool *p = r->pool;
    A_ARENA_AUTO struct a_arena arena = {0};
    bool good = a->rc == 0 && a->status / 100 == 2;
    struct kube_pool_event e = {.type = KUBE_POOL_RESULT};
    e.result.verb = r->verb;
    e.result.name = a_view_str(a_arena_strdup(&arena, r->name));
    e.result.status = a->rc == 0 ? (int)a->status : 0;
    e.result.retry_after_ms = a->retry_after_ms;
    e.result.message = a_view_str(good ? "" : d_kube_answer_why(&arena, a));
    p->created += good && r->verb == KUBE_POOL_CREATE;
    p->deleted += good && r->verb == KUBE_POOL_DELETE;
    p->refused += !good;
    d_kube_cluster_heard(d_kube_pool_cluster(p), a);
    r->call = NULL;
    request_free(r);
    d_kube_pool_event(p, &e);
}

/* A create is an apply of `body`; a delete has its options there. */
static void request_send(struct d_kube_pool *p, const struct kube_pool_action *action,
                         const struct wire_value *body)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf text = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct d_kube_cluster *c = d_kube_pool_cluster(p);
    struct request *r = a_new(struct request);
    r->pool = p;
    r->verb = action->verb;
    snprintf(r->name, sizeof r->name, "%s", action->name);
    a_list_push_back(&p->requests, &r->link);
    wire_json_print(&text, body, 0);
    const char *path = a_arena_printf(&arena, "/api/v1/namespaces/%s/pods/%s", p->spec.namespace, r->name);
    const struct net_web_request gone = {
        .method = "DELETE", .path = path, .body = a_buf_view(&text), .done = on_answer, .ctx = r};
    int rc = r->verb == KUBE_POOL_CREATE
                 ? d_kube_apply(c, path, a_buf_view(&text), on_answer, r, &r->call, &e)
                 : net_web_send(c->web, &gone, &r->call, &e);
    if (rc != 0)
        sys_log(ERROR, "kube", "kube.send", "a request cannot be sent", SYS_ERR(&e));
}

static void pod_apply(struct d_kube_pool *p, const struct kube_pool_action *action)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct kube_agent_options options = d_kube_agent_options(d_kube_pool_cluster(p));
    request_send(p, action, kube_pod_make(&arena, &options, &p->spec, action->name));
}

static void pod_delete(struct d_kube_pool *p, const struct kube_pool_action *action)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    request_send(p, action, kube_delete_make(&arena, action->uid, action->grace_ms));
}

/* The core asks again for what was not done: it hears from the node itself. */
static void on_command(void *ctx, const struct a_error *error)
{
    (void)ctx;
    if (error != NULL && error->code != A_CODE_NONE)
        sys_log(INFO, "kube", "kube.drain", "a node did not take a drain", SYS_ERR(error));
}

static void action_carry_out(struct d_kube_pool *p, const struct kube_pool_action *action)
{
    switch (action->verb) {
    case KUBE_POOL_CREATE:
        pod_apply(p, action);
        break;
    case KUBE_POOL_DELETE:
        pod_delete(p, action);
        break;
    case KUBE_POOL_DRAIN:
        d_node_command(p->kube->s, &action->node, WIRE_SL_NODE_ACTION_DRAIN, 0, on_command, NULL);
        break;
    case KUBE_POOL_KEEP:
        d_node_command(p->kube->s, &action->node, WIRE_SL_NODE_ACTION_UNDRAIN, 0, on_command, NULL);
        break;
    }
}

/* ---- events ---- */

#define OVER_MS 500 /* a pool that is deleted is looked at so often */

/* Nothing of a deleted pool is left, and that is known for sure. */
static bool is_over(const struct d_kube_pool *p)
{
    const struct d_kube_follow *f = d_kube_follow_of(p);
    return p->deleting && f != NULL && kube_watch_is_synced(f->stream.core) &&
           kube_pool_count(p->core) == 0 && a_list_empty(&p->requests) && d_kube_guards_are_gone(p) &&
           d_kube_expose_is_gone(f->expose);
}

static void timer_set(struct d_kube_pool *p)
{
    uint64_t at = kube_pool_deadline(p->core);
    if (p->deleting)
        at = A_MIN(at, sys_loop_now_ms(p->kube->s->loop) + OVER_MS);
    sys_timer_set_at(&p->timer, d_kube_pool_is_owned(p) ? at : A_NEVER);
}

void d_kube_pool_event(struct d_kube_pool *p, struct kube_pool_event *e)
{
    struct kube_pool_update u;
    if (p->core == NULL || (e->type == KUBE_POOL_TICK && !d_kube_pool_is_owned(p)))
        return;
    e->now_ms = sys_loop_now_ms(p->kube->s->loop);
    bool plans = e->type == KUBE_POOL_TICK && kube_pool_deadline(p->core) <= e->now_ms;
    kube_pool_step(p->core, e, &u);
    for (size_t i = 0; i < u.n_actions; i++)
        action_carry_out(p, &u.actions[i]);
    if (d_kube_pool_is_owned(p))
        d_kube_guards_look(p);
    if (plans && kube_pool_status(p->core).outdated == 0)
        p->largest = d_kube_shape_of(&p->spec);
    if (e->type == KUBE_POOL_TICK && is_over(p))
        d_kube_pool_gone(p);
    timer_set(p);
    d_kube_custom_pool_changed(p);
}

/* What its cluster's limits leave is looked at before each plan: other pools grow, too. */
void d_kube_pool_limit(struct d_kube_pool *p)
{
    A_BUF_AUTO struct a_buf why = {0};
    if (p->core != NULL && d_kube_pool_may(p, &why) != p->may)
        spec_tell(p);
}

static void on_timer(void *ctx)
{
    struct d_kube_pool *p = ctx;
    struct kube_pool_event e = {.type = KUBE_POOL_TICK};
    d_kube_pool_limit(p);
    d_kube_pool_event(p, &e);
}

/* ---- nodes ---- */

static void node_tell(struct d_kube_pool *p, const struct d_kube_node *n)
{
    struct kube_pool_event e = {.type = KUBE_POOL_NODE};
    e.node.pod_uid = a_view_str(n->uid);
    e.node.node = n->id;
    e.node.state = n->state;
    e.node.claims = n->claims;
    d_kube_pool_event(p, &e);
}

static enum kube_node_state node_state_of(const struct sl_resource_node *node)
{
    if (node == NULL)
        return KUBE_NODE_LEFT;
    switch (sl_resource_node_state(node)) {
    case A_NODE_UP:
    case A_NODE_SUSPECT:
        return KUBE_NODE_JOINED;
    case A_NODE_DRAINING:
        return KUBE_NODE_DRAINING;
    case A_NODE_DRAINED:
        return KUBE_NODE_DRAINED;
    default:
        return KUBE_NODE_LEFT;
    }
}

static uint32_t claims_of(const struct sl_resource_node *node)
{
    uint32_t n = 0;
    for (const struct sl_resource_claim *c = node != NULL ? sl_resource_next_claim(node, NULL) : NULL;
         c != NULL; c = sl_resource_next_claim(node, c))
        n += c->facts.state != A_CLAIM_RELEASED;
    return n;
}

/* Empty when it has none. */
static struct a_view label_of(const struct d_agent *a, const char *key)
{
    for (size_t i = 0; i < a->n_labels; i++)
        if (a_view_is(a->labels[i].key, key))
            return a->labels[i].value;
    return (struct a_view){0};
}

static struct d_kube_node *node_find(const struct d_kube *k, const struct a_node_id *id)
{
    struct a_map_link *l = a_map_get_str(&k->nodes, id->s);
    return l != NULL ? a_map_entry(l, struct d_kube_node, link) : NULL;
}

double d_kube_node_price(const struct server *s, const struct a_node_id *id)
{
    const struct d_kube_node *n = s->kube != NULL ? node_find(s->kube, id) : NULL;
    const struct d_kube_pool *p = n != NULL ? d_kube_pool_find(s, &n->pool) : NULL;
    return p != NULL ? p->spec.price : 0;
}

/* A node is a pod's when its agent says so; it is remembered while the agent is away. */
static struct d_kube_node *node_get(struct d_kube *k, const struct a_node_id *id)
{
    struct d_kube_node *n = node_find(k, id);
    const struct d_agent *a = d_agent_find(k->s, id);
    struct a_name pool;
    if (n != NULL || a == NULL)
        return n;
    struct a_view uid = label_of(a, KUBE_LABEL_POD_UID);
    if (uid.len == 0 || uid.len > KUBE_UID_MAX || !a_name_parse(label_of(a, KUBE_LABEL_POOL), &pool))
        return NULL;
    n = a_new(struct d_kube_node);
    n->id = *id;
    n->pool = pool;
    n->state = KUBE_NODE_LEFT;
    snprintf(n->uid, sizeof n->uid, A_VIEW_FMT, A_VIEW_ARG(uid));
    a_map_put_str(&k->nodes, &n->link, n->id.s);
    return n;
}

static void node_free(struct d_kube *k, struct d_kube_node *n)
{
    a_map_remove(&k->nodes, &n->link);
    a_free(n);
}

/* A machine that is lost may come back with what it ran; a pod that was deleted does not. */
static void claims_end(struct d_kube *k, struct d_kube_node *n)
{
    const struct sl_resource_node *node = sl_resource_node(&k->s->resource, &n->id);
    if (!n->pod_gone || n->told || node == NULL || node->conn != 0)
        return;
    n->told = true;
    for (const struct sl_resource_claim *l = sl_resource_next_claim(node, NULL); l != NULL;
         l = sl_resource_next_claim(node, l)) {
        struct d_app *app = d_app_by_uid(k->s, &l->facts.id.app_uid);
        struct unit_fleet_event e = {.type = UNIT_FLEET_GONE};
        e.gone.claim = l->facts.id;
        e.gone.node = n->id;
        if (app != NULL && app->fleet != NULL)
            d_fleet_event(k->s, app, &e);
    }
}

void d_kube_pod_gone(struct d_kube *k, struct a_view uid)
{
    a_map_foreach (l, &k->nodes) {
        struct d_kube_node *n = a_map_entry(l, struct d_kube_node, link);
        if (a_view_is(uid, n->uid)) {
            n->pod_gone = true;
            claims_end(k, n);
        }
    }
}

/* The kubelet's PreStop says the same a little later, and again and again: one word to each node is enough,
 * and another one when the deletion was given less time. */
static void node_end(struct d_kube *k, struct d_kube_node *n, uint32_t grace_s)
{
    if (n->ends && grace_s >= n->grace_s)
        return;
    n->ends = true;
    n->grace_s = grace_s;
    d_node_command(k->s, &n->id, WIRE_SL_NODE_ACTION_DRAIN, A_MAX(grace_s * UINT64_C(1000), UINT64_C(1)),
                   on_command, NULL);
}

void d_kube_pod_ends(struct d_kube *k, const struct kube_row *row)
{
    a_map_foreach (l, &k->nodes) {
        struct d_kube_node *n = a_map_entry(l, struct d_kube_node, link);
        if (a_view_is(kube_row_uid(row), n->uid))
            node_end(k, n, kube_row_pod(row)->grace_s);
    }
}

void d_kube_pool_left(struct d_kube_pool *p)
{
    struct d_kube *k = p->kube;
    a_map_foreach (l, &k->nodes) {
        struct d_kube_node *n = a_map_entry(l, struct d_kube_node, link);
        const struct sl_resource_node *node = sl_resource_node(&k->s->resource, &n->id);
        bool away = node == NULL || node->conn == 0 || sl_resource_node_state(node) == A_NODE_SUSPECT;
        if (!away || strcmp(n->pool.s, p->spec.name.s) != 0)
            continue;
        n->pod_gone = true;
        claims_end(k, n);
    }
}

void d_kube_node_changed(struct server *s, const struct a_node_id *id)
{
    struct d_kube *k = s->kube;
    struct d_kube_node *n = k != NULL ? node_get(k, id) : NULL;
    if (n == NULL)
        return;
    const struct sl_resource_node *node = sl_resource_node(&s->resource, id);
    enum kube_node_state state = node_state_of(node);
    uint32_t claims = claims_of(node);
    claims_end(k, n);
    if (n->state == state && n->claims == claims)
        return;
    n->state = state;
    n->claims = claims;
    struct d_kube_pool *p = d_kube_pool_find(s, &n->pool);
    if (p != NULL) {
        bool wanted = p->demand > 0;
        node_tell(p, n);
        if (wanted)
            d_kube_demand_count(k); /* before the next plan: a pod that came is not one that is missing */
    }
    if (node == NULL)
        node_free(k, n);
}

void d_kube_nodes_free(struct d_kube *k)
{
    a_map_foreach (l, &k->nodes)
        node_free(k, a_map_entry(l, struct d_kube_node, link));
    a_map_deinit(&k->nodes);
}

/* ---- begin, change, end ---- */

static void spec_tell(struct d_kube_pool *p)
{
    A_BUF_AUTO struct a_buf why = {0};
    struct kube_pool_event e = {.type = KUBE_POOL_SPEC};
    struct kube_agent_options options = d_kube_agent_options(d_kube_pool_cluster(p));
    kube_pod_template(&options, &p->spec, p->template);
    bool empties = p->deleting || d_cluster_is_draining(p->kube->s, &p->spec.cluster);
    e.spec.min = empties ? 0 : p->spec.min;
    p->may = d_kube_pool_may(p, &why);
    e.spec.max = empties ? 0 : p->may;
    e.spec.headroom = empties ? 0 : p->spec.headroom;
    e.spec.limit = empties ? (struct a_view){"", 0} : a_buf_view(&why);
    e.spec.surge = p->spec.surge;
    e.spec.grace_ms = p->spec.grace_ms;
    e.spec.template = a_view_str(p->template);
    d_kube_pool_event(p, &e);
}

/* With a new core: all that is known is told to it. */
static void pool_begin(struct d_kube_pool *p, struct d_kube_cluster *c)
{
    p->core = kube_pool_new(&(struct kube_pool_options){
        .pool = p->spec.name.s, .installation = p->kube->installation, .seed = sys_random_seed()});
    spec_tell(p);
    d_kube_follow_replay(d_kube_follow_get(c, p->spec.namespace), p);
    a_map_foreach (l, &p->kube->nodes) {
        const struct d_kube_node *n = a_map_entry(l, struct d_kube_node, link);
        if (strcmp(n->pool.s, p->spec.name.s) == 0)
            node_tell(p, n);
    }
}

void d_kube_pool_changed(struct d_kube_pool *p)
{
    struct d_kube_cluster *c = d_kube_pool_cluster(p);
    if (c == NULL || c->web == NULL)
        return; /* it begins with its cluster */
    if (p->core == NULL)
        pool_begin(p, c);
    else
        spec_tell(p);
}

void d_kube_pool_start(struct d_kube_pool *p)
{
    sys_timer_init(&p->timer, p->kube->s->loop, on_timer, p);
    d_kube_guards_start(p);
    d_kube_pool_changed(p);
}

void d_kube_pool_stop(struct d_kube_pool *p)
{
    a_list_foreach_safe (l, &p->requests)
        request_free(a_list_entry(l, struct request, link));
    d_kube_guards_stop(p);
    sys_timer_clear(&p->timer);
    kube_pool_free(a_steal(&p->core));
}
