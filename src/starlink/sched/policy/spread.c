/* Spread: the units of an app go to the cluster that has the fewest of them, then to the zone, then to the
 * host, so that whatever fails takes the fewest units along; among equals to the node with most room left, so
 * that nodes fill evenly. A gang's own members share a host only when they must. Ties fall by name: the same
 * view gives the same answer. */
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "starlink/sched/policy.h"

struct candidate {
    struct sl_view_node *node;
    struct a_capacity room;
    uint32_t zone_units, host_units; /* of the app */
    uint32_t mine;                   /* members of this gang on the same host */
};

static int candidate_compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    int c = strcmp(x->node->cluster.s, y->node->cluster.s);
    return c != 0 ? c : strcmp(x->node->id.s, y->node->id.s);
}

static void candidate_count(struct candidate *c, const struct sl_gang_request *request)
{
    for (size_t i = 0; i < request->n_used; i++) {
        const struct sl_gang_used *u = &request->used[i];
        if (strcmp(u->cluster.s, c->node->cluster.s) == 0 && strcmp(u->zone.s, c->node->zone.s) == 0)
            c->zone_units += u->units;
        if (strcmp(u->host, c->node->host) == 0)
            c->host_units += u->units;
    }
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
    if (a->zone_units != b->zone_units)
        return a->zone_units < b->zone_units;
    if (a->host_units != b->host_units)
        return a->host_units < b->host_units;
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

static uint32_t cluster_units(const struct sl_gang_request *request, const char *cluster)
{
    uint32_t units = 0;
    for (size_t i = 0; i < request->n_used; i++)
        if (strcmp(request->used[i].cluster.s, cluster) == 0)
            units += request->used[i].units;
    return units;
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
    uint32_t units;
    uint64_t memory;
    size_t members; /* that found a place */
};

static bool cluster_better(const struct best *a, const struct best *b)
{
    if (a->units != b->units)
        return a->units < b->units;
    return a->memory > b->memory;
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
        struct best b = {.units = cluster_units(in->request, all[from].node->cluster.s),
                         .memory = cluster_memory(all + from, to - from)};
        b.members = cluster_assign(in, all + from, to - from, nodes);
        b.found = b.members == n_members;
        if (!b.found) {
            best.members = A_MAX(best.members, b.members);
            continue;
        }
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
