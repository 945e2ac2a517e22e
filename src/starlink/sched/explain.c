/* Why a gang finds no place, in numbers and in words. */
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "starlink/sched/private.h"

static enum sl_unfit short_of(const struct a_capacity *room, const struct a_capacity *want)
{
    const char *what = a_capacity_short(room, want);
    if (what == NULL)
        return SL_UNFIT_GANG;
    return what[0] == 'c' ? SL_UNFIT_CPU : what[0] == 'm' ? SL_UNFIT_MEMORY : SL_UNFIT_DISK;
}

/* What is missing, as the sum of the missing parts of each dimension. */
static double lack(const struct a_capacity *room, const struct a_capacity *want)
{
    const uint64_t have[] = {room->mcpu, room->memory_bytes, room->disk_bytes};
    const uint64_t need[] = {want->mcpu, want->memory_bytes, want->disk_bytes};
    double sum = 0;
    for (size_t i = 0; i < A_ARRAY_SIZE(have); i++)
        if (need[i] > have[i])
            sum += (double)(need[i] - have[i]) / (double)need[i];
    return sum;
}

/* It fits, and its cluster is at a limit: for this member, or for the ones that come after it. */
static bool is_limited(const struct sl_policy_input *in, const struct sl_policy_short *s,
                       const struct sl_view_node *node, const struct a_capacity *room)
{
    struct sl_budget b;
    if (strcmp(s->limited.s, node->cluster.s) == 0)
        return true;
    return sl_view_budget(in->view, &node->cluster, &b) &&
           sl_budget_short(&b, node, room, &in->request->members[s->member].capacity) != SL_LIMIT_NONE;
}

static void node_look(const struct sl_policy_input *in, const struct sl_policy_short *s,
                      const struct sl_view_node *node, struct sl_explain_node *ret)
{
    const struct a_capacity *want = &in->request->members[s->member].capacity;
    struct a_capacity room = sl_view_room(node);
    enum sl_unfit unfit = in->fit(in->context, node);
    if (unfit == SL_UNFIT_NONE || unfit == SL_UNFIT_BUSY) {
        if (in->request->cluster.s[0] != '\0' && strcmp(in->request->cluster.s, node->cluster.s) != 0)
            unfit = SL_UNFIT_CLUSTER;
        else if (unfit == SL_UNFIT_NONE || !a_capacity_fits(&room, want))
            unfit = short_of(&room, want);
        if (unfit == SL_UNFIT_GANG && is_limited(in, s, node, &room))
            unfit = SL_UNFIT_LIMIT;
    }
    *ret = (struct sl_explain_node){
        .node = node->id, .cluster = node->cluster, .unfit = unfit, .room = room, .lack = *want};
    a_capacity_sub(&ret->lack, &room);
}

static bool lacks_room_only(const struct sl_explain_node *n)
{
    return n->unfit >= SL_UNFIT_CPU && n->unfit <= SL_UNFIT_LIMIT;
}

/* Those that lack room only, by how much; then the others, from what passes by itself to what is away. */
static bool node_nearer(const struct sl_explain_node *a, const struct sl_explain_node *b,
                        const struct a_capacity *want)
{
    if (lacks_room_only(a) != lacks_room_only(b))
        return lacks_room_only(a);
    if (!lacks_room_only(a) && a->unfit != b->unfit)
        return a->unfit > b->unfit;
    double x = lack(&a->room, want), y = lack(&b->room, want);
    return x < y || (x <= y && strcmp(a->node.s, b->node.s) < 0);
}

static void limit_copy(const struct sl_policy_short *s, struct sl_explain *ret)
{
    const struct sl_limits *max = &s->budget.limits, *used = &s->budget.used;
    ret->limited = s->limited;
    ret->limit = s->limit;
    ret->limit_max = s->limit == SL_LIMIT_NODES ? max->nodes
                     : s->limit == SL_LIMIT_CPU ? max->mcpu
                                                : max->memory_bytes;
    ret->limit_used = s->limit == SL_LIMIT_NODES ? used->nodes
                      : s->limit == SL_LIMIT_CPU ? used->mcpu
                                                 : used->memory_bytes;
}

void explain_make(const struct sl_policy_input *in, const struct sl_policy_short *s, struct sl_explain *ret)
{
    const struct sl_gang_member *member = &in->request->members[s->member];
    struct sl_explain_node nearest = {0};
    *ret = (struct sl_explain){.member = member->name, .want = member->capacity};
    limit_copy(s, ret);
    a_map_foreach (link, &in->view->nodes) {
        struct sl_explain_node look;
        node_look(in, s, a_map_entry(link, struct sl_view_node, link), &look);
        ret->nodes++;
        ret->unfit[look.unfit]++;
        if (lacks_room_only(&look) &&
            (nearest.node.s[0] == '\0' || node_nearer(&look, &nearest, &member->capacity)))
            nearest = look;
    }
    ret->nearest = nearest.node;
    ret->nearest_room = nearest.room;
    ret->nearest_unfit = nearest.unfit;
}

/* Keeps the `max` nearest, in order: a fleet may have a million nodes, an answer has a few. */
static void nearest_collect(const struct sl_policy_input *in, const struct sl_policy_short *s,
                            struct sl_explain_node *nodes, size_t max, size_t *ret_n)
{
    const struct a_capacity *want = &in->request->members[s->member].capacity;
    size_t n = 0;
    a_map_foreach (link, &in->view->nodes) {
        struct sl_explain_node look;
        node_look(in, s, a_map_entry(link, struct sl_view_node, link), &look);
        size_t at = n;
        while (at > 0 && node_nearer(&look, &nodes[at - 1], want))
            at--;
        if (at >= max)
            continue;
        n = A_MIN(n + 1, max);
        memmove(&nodes[at + 1], &nodes[at], (n - 1 - at) * sizeof *nodes);
        nodes[at] = look;
    }
    *ret_n = n;
}

bool request_runs_on(const struct sl_gang_request *request, const struct sl_view_node *node)
{
    for (size_t i = 0; i < request->n_archs; i++)
        if (strcmp(request->archs[i].s, node->arch.s) == 0)
            return true;
    return request->n_archs == 0;
}

/* As a gang that comes fresh sees a node. */
static enum sl_unfit fresh_fit(const void *context, const struct sl_view_node *node)
{
    const struct sl_gang_request *request = context;
    if (node->unfit != SL_UNFIT_NONE)
        return node->unfit;
    if (sl_view_is_foreign(node, &request->app.namespace))
        return SL_UNFIT_NAMESPACE;
    if (!request_runs_on(request, node))
        return SL_UNFIT_ARCH;
    return node->in_flight != 0 ? SL_UNFIT_BUSY : SL_UNFIT_NONE;
}

bool sl_sched_explain(const struct sl_sched *self, const struct sl_gang_request *request,
                      struct sl_explain *ret_explain, struct sl_explain_node *ret_nodes, size_t max,
                      size_t *ret_n)
{
    size_t n = request->n_members;
    struct sl_policy_short missing;
    A_AUTOFREE struct sl_view_node **fixed = a_alloc_array(n, sizeof *fixed);
    A_AUTOFREE struct sl_view_node **nodes = a_alloc_array(n, sizeof *nodes);
    const struct sl_policy_input input = {&self->view, request, fixed, fresh_fit, request};
    if (self->policy->choose(&input, nodes, &missing))
        return true;
    explain_make(&input, &missing, ret_explain);
    nearest_collect(&input, &missing, ret_nodes, max, ret_n);
    return false;
}

static void limit_number(struct a_buf *b, enum sl_limit limit, uint64_t n)
{
    if (limit == SL_LIMIT_CPU)
        a_text_print_mcpu(b, n);
    else if (limit == SL_LIMIT_MEMORY)
        a_text_print_bytes(b, n);
    else
        a_buf_addf(b, "%llu", (unsigned long long)n);
}

void sl_explain_print_limit(struct a_buf *b, const struct sl_explain *e)
{
    a_buf_addf(b, "%s of %s is ", sl_limit_name(e->limit), e->limited.s);
    limit_number(b, e->limit, e->limit_max);
    a_buf_add_str(b, ", ");
    limit_number(b, e->limit, e->limit_used);
    a_buf_add_str(b, " in use");
}

void sl_explain_print(struct a_buf *b, const struct sl_explain *e)
{
    a_buf_addf(b, "no node has room for %s (", e->member.s);
    a_capacity_print(b, &e->want);
    a_buf_add_str(b, ")");
    if (e->nodes == 0) {
        a_buf_add_str(b, ": there is no node");
        return;
    }
    a_buf_addf(b, "; of %u: ", e->nodes);
    bool first = true;
    for (int u = SL_UNFIT_NONE + 1; u < SL_UNFIT_COUNT; u++) {
        if (e->unfit[u] == 0)
            continue;
        a_buf_addf(b, "%s%u %s", first ? "" : ", ", e->unfit[u], sl_unfit_text((enum sl_unfit)u));
        if (u == SL_UNFIT_REFUSED && e->refused != A_REASON_NONE)
            a_buf_addf(b, " (%s)", a_reason_name(e->refused));
        if (u == SL_UNFIT_LIMIT && e->limited.s[0] != '\0') {
            a_buf_add_str(b, " (");
            sl_explain_print_limit(b, e);
            a_buf_add_str(b, ")");
        }
        first = false;
    }
    if (e->nearest.s[0] == '\0')
        return;
    a_buf_addf(b, "; nearest is %s with ", e->nearest.s);
    a_capacity_print(b, &e->nearest_room);
    a_buf_add_str(b, " free");
}
