/* Emptying a whole cluster: all its nodes are cordoned at once, so that nothing moves from one to the next;
 * then they drain, a tenth of them at a time, each in its own order (replacements first, withdrawn, idle,
 * released). So there is never more of the capacity on its way than the other clusters can take up. What
 * comes in later is emptied, too, until the cluster is taken back: then the marks are taken off its nodes,
 * off one that is away when it returns.
 *
 * The marks are the nodes' own and outlast this server; the pace is not, and neither is who was away: after a
 * restart the rest is cordoned, and drains or is taken back when asked for again. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/server.h"
#include "sys/log.h"

#define LOOK_MS 500
#define AGAIN_MS 5000 /* a node that did not answer is told again; one that is away is looked for */
#define SHARE 10

struct cluster_drain {
    struct a_list link; /* of server.cluster_drains */
    struct server *s;
    struct a_name cluster;
    struct sys_timer timer;
    bool taken_back;   /* it goes on until each of `told` has answered */
    struct a_map told; /* struct told */
};

/* A node that was told something a moment ago; one that is to be taken back. */
struct told {
    struct a_map_link link;
    struct a_node_id node;
    uint64_t at_ms;
    enum wire_sl_node_action action;
    bool asked; /* to be taken back, and has not answered */
};

static struct cluster_drain *drain_find(const struct server *s, const struct a_name *cluster)
{
    a_list_foreach (l, &s->cluster_drains) {
        struct cluster_drain *d = a_list_entry(l, struct cluster_drain, link);
        if (strcmp(d->cluster.s, cluster->s) == 0)
            return d;
    }
    return NULL;
}

bool d_cluster_is_draining(const struct server *s, const struct a_name *cluster)
{
    const struct cluster_drain *d = drain_find(s, cluster);
    return d != NULL && !d->taken_back;
}

static void on_done(void *ctx, const struct a_error *error)
{
    (void)ctx; /* the node's own state says what became of it */
    if (error != NULL && error->code != A_CODE_NONE)
        sys_log(INFO, "server", "cluster.drain", "a node did not answer", SYS_ERR(error));
}

static bool node_is_of(const struct sl_resource_node *node, const struct cluster_drain *d)
{
    return strcmp(node->facts.cluster.s, d->cluster.s) == 0 && node->conn != 0;
}

static struct told *told_get(struct cluster_drain *d, const struct a_node_id *id)
{
    struct a_map_link *l = a_map_get_str(&d->told, id->s);
    if (l != NULL)
        return a_map_entry(l, struct told, link);
    struct told *t = a_new(struct told);
    t->node = *id;
    a_map_put_str(&d->told, &t->link, t->node.s);
    return t;
}

static void told_free(struct cluster_drain *d, struct told *t)
{
    a_map_remove(&d->told, &t->link);
    a_free(t);
}

static void told_clear(struct cluster_drain *d)
{
    a_map_foreach (l, &d->told)
        told_free(d, a_map_entry(l, struct told, link));
}

/* Unless it was told so a moment ago. */
static void node_tell(struct cluster_drain *d, const struct a_node_id *id, enum wire_sl_node_action action)
{
    uint64_t now = sys_loop_now_ms(d->s->loop);
    struct told *t = told_get(d, id);
    if (t->at_ms != 0 && t->action == action && now - t->at_ms < AGAIN_MS)
        return;
    t->at_ms = now;
    t->action = action;
    d_node_command(d->s, id, action, 0, on_done, NULL);
}

struct census {
    size_t nodes, draining;
    bool uncordoned;
};

static void nodes_cordon(struct cluster_drain *d, struct census *ret)
{
    const struct sl_resource *r = &d->s->resource;
    *ret = (struct census){0};
    for (const struct sl_resource_node *n = sl_resource_next(r, NULL); n != NULL;
         n = sl_resource_next(r, n)) {
        enum a_node_state state = sl_resource_node_state(n);
        if (!node_is_of(n, d))
            continue;
        ret->nodes++;
        ret->draining += state == A_NODE_DRAINING;
        if ((n->facts.flags & SL_RESOURCE_NODE_CORDONED) != 0)
            continue;
        ret->uncordoned = true;
        node_tell(d, &n->id, WIRE_SL_NODE_ACTION_CORDON);
    }
}

static void nodes_drain(struct cluster_drain *d)
{
    const struct sl_resource *r = &d->s->resource;
    struct census c;
    nodes_cordon(d, &c);
    size_t may = A_MAX(c.nodes / SHARE, (size_t)1);
    for (const struct sl_resource_node *n = sl_resource_next(r, NULL);
         n != NULL && !c.uncordoned && c.draining < may; n = sl_resource_next(r, n)) {
        if (node_is_of(n, d) && sl_resource_node_state(n) == A_NODE_UP) {
            node_tell(d, &n->id, WIRE_SL_NODE_ACTION_DRAIN);
            c.draining++;
        }
    }
    sys_timer_set_in(&d->timer, LOOK_MS);
}

static void drain_free(struct cluster_drain *d)
{
    sys_timer_clear(&d->timer);
    a_list_remove(&d->link);
    told_clear(d);
    a_map_deinit(&d->told);
    a_free(d);
}

/* ---- taking back ---- */

/* What a node was asked outlives the drain that asked. */
struct ask {
    struct server *s;
    struct a_name cluster;
    struct a_node_id node;
};

static void on_taken_back(void *ctx, const struct a_error *error)
{
    struct ask *q = ctx;
    struct cluster_drain *d = drain_find(q->s, &q->cluster);
    struct a_map_link *l = d != NULL && d->taken_back ? a_map_get_str(&d->told, q->node.s) : NULL;
    struct told *t = l != NULL ? a_map_entry(l, struct told, link) : NULL;
    bool good = error == NULL || error->code == A_CODE_NONE;
    on_done(NULL, error);
    if (t != NULL && good)
        told_free(d, t);
    else if (t != NULL)
        t->asked = false;
    a_free(q);
}

/* Both in any case: what a node that returns says of itself is known a moment later. */
static void node_ask(struct cluster_drain *d, struct told *t)
{
    struct ask *q = a_new(struct ask);
    *q = (struct ask){.s = d->s, .cluster = d->cluster, .node = t->node};
    t->asked = true;
    d_node_command(d->s, &t->node, WIRE_SL_NODE_ACTION_UNDRAIN, 0, on_done, NULL);
    d_node_command(d->s, &t->node, WIRE_SL_NODE_ACTION_UNCORDON, 0, on_taken_back, q);
}

static void nodes_take_back(struct cluster_drain *d)
{
    a_map_foreach (l, &d->told) {
        struct told *t = a_map_entry(l, struct told, link);
        const struct sl_resource_node *n = sl_resource_node(&d->s->resource, &t->node);
        if (n == NULL)
            told_free(d, t);
        else if (n->conn != 0 && !t->asked)
            node_ask(d, t);
    }
    if (d->told.len == 0)
        drain_free(d);
    else
        sys_timer_set_in(&d->timer, AGAIN_MS);
}

static void take_back_begin(struct cluster_drain *d)
{
    const struct sl_resource *r = &d->s->resource;
    for (const struct sl_resource_node *n = sl_resource_next(r, NULL); n != NULL; n = sl_resource_next(r, n))
        if (strcmp(n->facts.cluster.s, d->cluster.s) == 0)
            told_get(d, &n->id);
    nodes_take_back(d);
}

/* ---- begin and end ---- */

static void on_timer(void *ctx)
{
    struct cluster_drain *d = ctx;
    if (d->taken_back)
        nodes_take_back(d);
    else
        nodes_drain(d);
}

static struct cluster_drain *drain_get(struct server *s, const struct a_name *cluster)
{
    struct cluster_drain *d = drain_find(s, cluster);
    if (d != NULL)
        return d;
    d = a_new(struct cluster_drain);
    d->s = s;
    d->cluster = *cluster;
    a_list_push_back(&s->cluster_drains, &d->link);
    sys_timer_init(&d->timer, s->loop, on_timer, d);
    return d;
}

void d_cluster_drain(struct server *s, const struct a_name *cluster, bool drain)
{
    struct cluster_drain *d = drain_get(s, cluster);
    if (d->taken_back || !drain)
        told_clear(d);
    d->taken_back = !drain;
    if (drain)
        sys_timer_set_in(&d->timer, 0);
    else
        take_back_begin(d);
    d_kube_cluster_changed(s, cluster);
}

void d_cluster_drains_stop(struct server *s)
{
    while (!a_list_empty(&s->cluster_drains))
        drain_free(a_list_entry(s->cluster_drains.next, struct cluster_drain, link));
}
