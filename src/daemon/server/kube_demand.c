/* How many more pods would let what waits be placed. A unit that finds no room is given, in thought, to the
 * cheapest pools of one cluster whose pods its members fit, within the cluster's limits; members of one
 * namespace share pods as long as they fit. Counted once a second, and only while something waits. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/kube.h"

#define COUNT_MS 1000

/* A limited cluster while it is counted. */
struct budget {
    struct a_name cluster;
    struct d_kube_room room, before;
};

/* A pool while it is counted. */
struct offer {
    struct budget *budget; /* NULL: its cluster has no limits */
    struct d_kube_shape shape;
    uint32_t there; /* of the pods in thought so many are there, or on the way */
    struct d_kube_pool *pool;
    uint32_t want, may; /* pods in thought; how many there may be */
    uint32_t free;      /* that there are, joined and empty: what waits goes there in a moment */
    struct a_name namespace;
    struct a_capacity left; /* of the last one, for members of `namespace` */
    uint32_t want_before;   /* to go back, when a unit does not fit as a whole */
    struct a_capacity left_before;
    struct a_name namespace_before;
};

static struct a_capacity shape_of(const struct d_kube_pool *p)
{
    return (struct a_capacity){
        .mcpu = p->spec.mcpu, .memory_bytes = p->spec.memory_bytes, .disk_bytes = p->spec.ephemeral_bytes};
}

static bool pool_is_stuck(const struct d_kube_pool *p)
{
    const struct kube_pool_condition *c = kube_pool_conditions(p->core);
    return c[KUBE_CONDITION_STALE].status || c[KUBE_CONDITION_UNSCHEDULABLE].status ||
           c[KUBE_CONDITION_QUOTA_EXCEEDED].status;
}

/* Pools that can be had first, then the cheap ones. */
static int offer_order(const void *x, const void *y)
{
    const struct d_kube_pool *a = ((const struct offer *)x)->pool, *b = ((const struct offer *)y)->pool;
    bool stuck_a = pool_is_stuck(a), stuck_b = pool_is_stuck(b);
    if (stuck_a != stuck_b)
        return stuck_a ? 1 : -1;
    double price_a = d_kube_pool_price(a), price_b = d_kube_pool_price(b);
    if (price_a < price_b || price_a > price_b)
        return price_a < price_b ? -1 : 1;
    return strcmp(a->spec.name.s, b->spec.name.s);
}

/* Of the cluster; a new one has no name yet. */
static struct budget *budget_get(struct d_kube *k, struct budget *budgets, const struct a_name *cluster)
{
    while (budgets->cluster.s[0] != '\0' && strcmp(budgets->cluster.s, cluster->s) != 0)
        budgets++;
    if (budgets->cluster.s[0] == '\0' && !d_kube_room_of(k, cluster, &budgets->room))
        return NULL;
    budgets->cluster = *cluster;
    return budgets;
}

/* `budgets` has room for one more than there are pools. */
static size_t offers_collect(struct d_kube *k, struct offer *offers, struct budget *budgets)
{
    size_t n = 0;
    a_map_foreach (l, &k->pools) {
        struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        if (p->core == NULL || p->deleting || d_cluster_is_draining(k->s, &p->spec.cluster))
            continue;
        struct kube_pool_status s = kube_pool_status(p->core);
        uint32_t more = p->spec.max > s.pods ? p->spec.max - s.pods : 0;
        offers[n++] = (struct offer){.pool = p,
                                     .budget = budget_get(k, budgets, &p->spec.cluster),
                                     .shape = d_kube_shape_of(&p->spec),
                                     .there = s.coming + s.free,
                                     .free = s.free,
                                     .may = more + s.coming + s.free};
    }
    qsort(offers, n, sizeof *offers, offer_order);
    return n;
}

static bool member_take(struct offer *o, const struct a_name *namespace, const struct a_capacity *need)
{
    struct a_capacity shape = shape_of(o->pool);
    bool same = strcmp(o->namespace.s, namespace->s) == 0;
    if (!same || !a_capacity_fits(&o->left, need)) {
        if (!a_capacity_fits(&shape, need) || o->want >= o->may)
            return false;
        if (o->want >= o->there && o->budget != NULL && !d_kube_room_take(&o->budget->room, &o->shape))
            return false;
        o->want++;
        o->left = shape;
        o->namespace = *namespace;
    }
    o->left.mcpu -= need->mcpu;
    o->left.memory_bytes -= need->memory_bytes;
    o->left.disk_bytes -= need->disk_bytes;
    return true;
}

static bool unit_take(struct offer *offers, size_t n, const struct a_name *cluster,
                      const struct a_name *namespace, const struct sl_gang_member *members, size_t n_members)
{
    for (size_t i = 0; i < n; i++) {
        offers[i].want_before = offers[i].want;
        offers[i].left_before = offers[i].left;
        offers[i].namespace_before = offers[i].namespace;
        if (offers[i].budget != NULL)
            offers[i].budget->before = offers[i].budget->room;
    }
    size_t placed = 0;
    while (placed < n_members) {
        bool found = false;
        for (size_t i = 0; i < n && !found; i++)
            found = strcmp(offers[i].pool->spec.cluster.s, cluster->s) == 0 &&
                    member_take(&offers[i], namespace, &members[placed].capacity);
        if (!found)
            break;
        placed++;
    }
    for (size_t i = 0; i < n && placed < n_members; i++) {
        offers[i].want = offers[i].want_before;
        offers[i].left = offers[i].left_before;
        offers[i].namespace = offers[i].namespace_before;
        if (offers[i].budget != NULL)
            offers[i].budget->room = offers[i].budget->before;
    }
    return placed == n_members;
}

/* The unit looks for room and finds none. */
static bool unit_waits(const struct unit_info *u)
{
    return !u->leaving && (u->reason == A_REASON_NO_CAPACITY || u->n_members > 0);
}

static void app_count(const struct d_app *app, struct offer *offers, size_t n)
{
    struct sl_gang_member members[UNIT_MEMBERS_MAX];
    struct unit_info u;
    for (size_t i = 0; unit_fleet_unit(app->fleet, i, &u); i++) {
        size_t n_members = unit_waits(&u) ? d_place_wanted(app, &u, members) : 0;
        bool taken = n_members == 0;
        for (size_t k = 0; k < n && !taken; k++) {
            const struct a_name *cluster = &offers[k].pool->spec.cluster;
            if (u.n_members == 0 || strcmp(u.cluster.s, cluster->s) == 0)
                taken = unit_take(offers, n, cluster, &app->ref.namespace, members, n_members);
        }
    }
}

void d_kube_demand_count(struct d_kube *k)
{
    struct server *s = k->s;
    A_AUTOFREE struct offer *offers = a_alloc_array(k->pools.len + 1, sizeof *offers);
    A_AUTOFREE struct budget *budgets = a_alloc_array(k->pools.len + 1, sizeof *budgets);
    size_t n = offers_collect(k, offers, budgets);
    a_map_foreach (l, &s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (n > 0 && app->fleet != NULL && unit_fleet_waits(app->fleet))
            app_count(app, offers, n);
    }
    for (size_t i = 0; i < n; i++) {
        struct d_kube_pool *p = offers[i].pool;
        uint32_t more = offers[i].want > offers[i].free ? offers[i].want - offers[i].free : 0;
        struct kube_pool_event e = {.type = KUBE_POOL_DEMAND, .demand = more};
        d_kube_pool_limit(p); /* another pool may have left room */
        if (p->demand == e.demand)
            continue;
        p->demand = e.demand;
        d_kube_pool_event(p, &e);
    }
}

static void on_timer(void *ctx)
{
    struct d_kube *k = ctx;
    a_map_foreach (
        l, &k->nodes) { /* a claim that ended otherwise than by its release is not told of each time */
        struct a_node_id id = a_map_entry(l, struct d_kube_node, link)->id;
        d_kube_node_changed(k->s, &id);
    }
    d_kube_demand_count(k);
    sys_timer_set_in(&k->demand, COUNT_MS);
}

void d_kube_demand_start(struct d_kube *k)
{
    sys_timer_init(&k->demand, k->s->loop, on_timer, k);
    sys_timer_set_in(&k->demand, COUNT_MS);
}
