/* Spread: a new unit goes where the fewest units of its app are, counted by the domains that the request
 * names (by default cluster, then zone, then host), so that whatever fails takes the fewest units along;
 * among equals to the cluster and the node with most room left, so that nodes fill evenly. A unit is in the
 * zone and on the host of its head, its first member. A gang's own members share a host only when they must.
 * Ties fall by name: the same view gives the same answer. */
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

/* Better first; the sorted order decides ties. */
static bool candidate_better(const struct candidate *a, const struct candidate *b)
{
    if (a->mine != b->mine)
        return a->mine < b->mine;
    int units = units_compare(a->units, b->units);
    if (units != 0)
        return units < 0;
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

/* Assigns the members to one cluster's candidates, in order. Returns how many found a place. */
static size_t cluster_assign(const struct sl_policy_input *in, struct candidate *c, size_t n,
                             struct sl_view_node **nodes)
{
    for (size_t m = 0; m < in->request->n_members; m++)
        for (size_t i = 0; in->fixed[m] != NULL && i < n; i++)
            if (c[i].node == in->fixed[m])
                take(c, n, &c[i], NULL);
    for (size_t m = 0; m < in->request->n_members; m++) {
        struct candidate *best = NULL;
        if (in->fixed[m] != NULL) {
            nodes[m] = in->fixed[m];
            continue;
        }
        for (size_t i = 0; i < n; i++)
            if (in->fit(in->context, c[i].node) == SL_UNFIT_NONE &&
                a_capacity_fits(&c[i].room, &in->request->members[m].capacity) &&
                (best == NULL || candidate_better(&c[i], best)))
                best = &c[i];
        if (best == NULL)
            return m;
        nodes[m] = best->node;
        take(c, n, best, &in->request->members[m].capacity);
    }
    return in->request->n_members;
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
    uint64_t memory;
    size_t members; /* that found a place */
};

static bool cluster_better(const struct best *a, const struct best *b)
{
    int units = units_compare(a->units, b->units);
    return units != 0 ? units < 0 : a->memory > b->memory;
}

static bool spread_choose(const struct sl_policy_input *in, struct sl_view_node **ret_nodes,
                          size_t *ret_short)
{
    size_t n_members = in->request->n_members, n_nodes = in->view->nodes.len;
    A_AUTOFREE struct candidate *all = a_alloc_array(n_nodes + 1, sizeof *all);
    A_AUTOFREE struct sl_view_node **nodes = a_alloc_array(n_members + 1, sizeof *nodes);
    size_t n = candidates_collect(in, all);
    struct best best = {0};
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && strcmp(all[to].node->cluster.s, all[from].node->cluster.s) == 0;)
            to++;
        struct best b = {.memory = cluster_memory(all + from, to - from)};
        b.members = cluster_assign(in, all + from, to - from, nodes);
        b.found = b.members == n_members;
        if (!b.found) {
            best.members = A_MAX(best.members, b.members);
            continue;
        }
        memcpy(b.units, head_units(all + from, to - from, nodes[0]), sizeof b.units);
        if (!best.found || cluster_better(&b, &best)) {
            best = b;
            memcpy(ret_nodes, nodes, n_members * sizeof *nodes);
        }
    }
    if (!best.found)
        *ret_short = best.members;
    return best.found;
}

const struct sl_policy sl_policy_spread = {.name = "spread", .choose = spread_choose};
