/* Spread: a new unit goes where the fewest units of its app are, counted by the domains that the request
 * names (by default cluster, then zone, then host), so that whatever fails takes the fewest units along;
 * among equals to where it is cheapest; among these to the cluster and the node with most room left, so that
 * nodes fill evenly. A claim costs the part of its node's price that it takes of the node, of cpu or of
 * memory, whichever is more. A unit is in the zone and on the host of its head, its first member. A gang's
 * own members share a host only when they must. No cluster is chosen past its limits. Ties fall by name: the
 * same view gives the same answer. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "starlink/sched/policy.h"

struct candidate {
    struct sl_view_node *node;
    struct a_capacity room;
    uint32_t units[SL_DOMAINS]; /* of the app, in the node's cluster, zone and host, in the order asked for */
    uint32_t mine;              /* members of this gang on the same host */
};

static int candidate_compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int c = strcmp(x->node->cluster.s, y->node->cluster.s);
    return c != 0 ? c : strcmp(x->node->id.s, y->node->id.s);
}

static bool is_in(const struct sl_gang_used *u, const struct sl_view_node *node, enum sl_domain domain)
{
    bool cluster = strcmp(u->cluster.s, node->cluster.s) == 0;
    if (domain == SL_DOMAIN_CLUSTER)
        return cluster;
    return domain == SL_DOMAIN_ZONE ? cluster && strcmp(u->zone.s, node->zone.s) == 0
                                    : strcmp(u->host, node->host) == 0;
}

static void candidate_count(struct candidate *c, const struct sl_gang_request *request)
{
    for (size_t d = 0; d < SL_DOMAINS && request->spread[d] != SL_DOMAIN_NONE; d++)
        for (size_t i = 0; i < request->n_used; i++)
            if (is_in(&request->used[i], c->node, request->spread[d]))
                c->units[d] += request->used[i].units;
}

/* Less than 0 when `a` is where fewer are. */
static int units_compare(const uint32_t *a, const uint32_t *b)
{
    for (size_t d = 0; d < SL_DOMAINS; d++)
        if (a[d] != b[d])
            return a[d] < b[d] ? -1 : 1;
    return 0;
}

static bool is_fixed(const struct sl_policy_input *in, const struct sl_view_node *node)
{
    for (size_t i = 0; i < in->request->n_members; i++)
        if (in->fixed[i] == node)
            return true;
    return false;
}

/* The cluster that the gang is bound to: asked for, or that of its fixed members; NULL = free. */
static const char *bound_cluster(const struct sl_policy_input *in)
{
    if (in->request->cluster.s[0] != '\0')
        return in->request->cluster.s;
    for (size_t i = 0; i < in->request->n_members; i++)
        if (in->fixed[i] != NULL)
            return in->fixed[i]->cluster.s;
    return NULL;
}

/* Every node that takes claims now, sorted by cluster and id. */
static size_t candidates_collect(const struct sl_policy_input *in, struct candidate *out)
{
    const char *cluster = bound_cluster(in);
    size_t n = 0;
    a_map_foreach (link, &in->view->nodes) {
        struct sl_view_node *node = a_map_entry(link, struct sl_view_node, link);
        if (cluster != NULL && strcmp(cluster, node->cluster.s) != 0)
            continue;
        if (in->fit(in->context, node) != SL_UNFIT_NONE && !is_fixed(in, node))
            continue;
        out[n] = (struct candidate){.node = node, .room = sl_view_room(node)};
        candidate_count(&out[n], in->request);
        n++;
    }
    if (n > 1)
        qsort(out, n, sizeof *out, candidate_compare);
    return n;
}

static double share(uint64_t part, uint64_t whole)
{
    return whole > 0 ? (double)part / (double)whole : 0;
}

static double cost(const struct sl_view_node *node, const struct a_capacity *want)
{
    double cpu = share(want->mcpu, node->capacity.mcpu),
           memory = share(want->memory_bytes, node->capacity.memory_bytes);
    return node->price * A_MAX(cpu, memory);
}

/* Better first; the sorted order decides ties. */
static bool candidate_better(const struct candidate *a, const struct candidate *b,
                             const struct a_capacity *want)
{
    if (a->mine != b->mine)
        return a->mine < b->mine;
    int units = units_compare(a->units, b->units);
    if (units != 0)
        return units < 0;
    double x = cost(a->node, want), y = cost(b->node, want);
    if (x < y || y < x)
        return x < y;
    if (a->room.memory_bytes != b->room.memory_bytes)
        return a->room.memory_bytes > b->room.memory_bytes;
    return a->room.mcpu > b->room.mcpu;
}

static void take(struct candidate *c, size_t n, struct candidate *chosen, const struct a_capacity *capacity)
{
    if (capacity != NULL)
        a_capacity_sub(&chosen->room, capacity);
    for (size_t i = 0; i < n; i++)
        if (strcmp(c[i].node->host, chosen->node->host) == 0)
            c[i].mine++;
}

/* The members of a gang on their way into one cluster. */
struct assignment {
    const struct sl_policy_input *in;
    struct candidate *c; /* of the cluster */
    size_t n;
    struct sl_view_node **nodes;
    bool limited;
    struct sl_budget budget; /* when it is limited */
    double cost;
    struct sl_policy_short stop; /* when not all found a place */
};

/* The best node for member `m`, or NULL; *ret_limit says what stands in the way of one that would do. */
static struct candidate *member_find(const struct assignment *a, size_t m, enum sl_limit *ret_limit)
{
    const struct a_capacity *want = &a->in->request->members[m].capacity;
    struct candidate *best = NULL;
    for (size_t i = 0; i < a->n; i++) {
        struct candidate *c = &a->c[i];
        if (a->in->fit(a->in->context, c->node) != SL_UNFIT_NONE || !a_capacity_fits(&c->room, want))
            continue;
        enum sl_limit limit =
            a->limited ? sl_budget_short(&a->budget, c->node, &c->room, want) : SL_LIMIT_NONE;
        if (limit != SL_LIMIT_NONE)
            *ret_limit = limit;
        else if (best == NULL || candidate_better(c, best, want))
            best = c;
    }
    return best;
}

static void member_stop(struct assignment *a, size_t m, enum sl_limit limit)
{
    a->stop = (struct sl_policy_short){.member = m, .limit = limit, .budget = a->budget};
    if (limit != SL_LIMIT_NONE)
        a->stop.limited = a->c[0].node->cluster;
}

/* Assigns the members to one cluster's candidates, in order: true = all. */
static bool cluster_assign(struct assignment *a)
{
    const struct sl_policy_input *in = a->in;
    for (size_t m = 0; m < in->request->n_members; m++)
        for (size_t i = 0; in->fixed[m] != NULL && i < a->n; i++)
            if (a->c[i].node == in->fixed[m])
                take(a->c, a->n, &a->c[i], NULL);
    for (size_t m = 0; m < in->request->n_members; m++) {
        enum sl_limit limit = SL_LIMIT_NONE;
        const struct a_capacity *want = &in->request->members[m].capacity;
        if (in->fixed[m] != NULL) {
            a->nodes[m] = in->fixed[m];
            continue;
        }
        struct candidate *best = member_find(a, m, &limit);
        if (best == NULL) {
            member_stop(a, m, limit);
            return false;
        }
        a->nodes[m] = best->node;
        a->cost += cost(best->node, want);
        if (a->limited)
            sl_budget_take(&a->budget, best->node, &best->room, want);
        take(a->c, a->n, best, want);
    }
    return true;
}

/* What counts for the whole gang: the counts of the node that its first member got. */
static const uint32_t *head_units(const struct candidate *c, size_t n, const struct sl_view_node *node)
{
    static const uint32_t none[SL_DOMAINS];
    for (size_t i = 0; i < n; i++)
        if (c[i].node == node)
            return c[i].units;
    return none;
}

static uint64_t cluster_memory(const struct candidate *c, size_t n)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += c[i].room.memory_bytes;
    return sum;
}

struct best {
    bool found;
    uint32_t units[SL_DOMAINS];
    double cost;
    uint64_t memory;
};

static bool cluster_better(const struct best *a, const struct best *b)
{
    int units = units_compare(a->units, b->units);
    if (units != 0)
        return units < 0;
    if (a->cost < b->cost || b->cost < a->cost)
        return a->cost < b->cost;
    return a->memory > b->memory;
}

/* Of the clusters where it did not work out: the one that came furthest; a limit is worth telling. */
static bool short_further(const struct sl_policy_short *a, const struct sl_policy_short *b)
{
    if (a->member != b->member)
        return a->member > b->member;
    return a->limit != SL_LIMIT_NONE && b->limit == SL_LIMIT_NONE;
}

static bool spread_choose(const struct sl_policy_input *in, struct sl_view_node **ret_nodes,
                          struct sl_policy_short *ret_short)
{
    size_t n_members = in->request->n_members, n_nodes = in->view->nodes.len;
    A_AUTOFREE struct candidate *all = a_alloc_array(n_nodes + 1, sizeof *all);
    A_AUTOFREE struct sl_view_node **nodes = a_alloc_array(n_members + 1, sizeof *nodes);
    size_t n = candidates_collect(in, all);
    struct best best = {0};
    struct sl_policy_short stop = {0};
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && strcmp(all[to].node->cluster.s, all[from].node->cluster.s) == 0;)
            to++;
        struct assignment a = {.in = in, .c = all + from, .n = to - from, .nodes = nodes};
        struct best b = {.memory = cluster_memory(a.c, a.n)};
        a.limited = sl_view_budget(in->view, &a.c[0].node->cluster, &a.budget);
        b.found = cluster_assign(&a);
        b.cost = a.cost;
        if (!b.found) {
            if (short_further(&a.stop, &stop))
                stop = a.stop;
            continue;
        }
        memcpy(b.units, head_units(a.c, a.n, nodes[0]), sizeof b.units);
        if (!best.found || cluster_better(&b, &best)) {
            best = b;
            memcpy(ret_nodes, nodes, n_members * sizeof *nodes);
        }
    }
    if (!best.found)
        *ret_short = stop;
    return best.found;
}

const struct sl_policy sl_policy_spread = {.name = "spread", .choose = spread_choose};
