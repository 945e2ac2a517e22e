/* Why a gang finds no place, in numbers and in words. */
#include <string.h>

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

void explain_make(const struct sl_policy_input *in, size_t i, struct sl_explain *ret)
{
    const struct sl_gang_member *member = &in->request->members[i];
    double least = 0;
    *ret = (struct sl_explain){.member = member->name, .want = member->capacity};
    a_map_foreach (link, &in->view->nodes) {
        const struct sl_view_node *node = a_map_entry(link, struct sl_view_node, link);
        struct a_capacity room = sl_view_room(node);
        enum sl_unfit unfit = in->fit(in->context, node);
        if (unfit == SL_UNFIT_NONE || unfit == SL_UNFIT_BUSY) {
            if (in->request->cluster.s[0] != '\0' && strcmp(in->request->cluster.s, node->cluster.s) != 0)
                unfit = SL_UNFIT_CLUSTER;
            else if (unfit == SL_UNFIT_NONE || !a_capacity_fits(&room, &member->capacity))
                unfit = short_of(&room, &member->capacity);
        }
        ret->nodes++;
        ret->unfit[unfit]++;
        if (unfit < SL_UNFIT_CPU || unfit > SL_UNFIT_GANG)
            continue;
        double l = lack(&room, &member->capacity);
        if (ret->nearest.s[0] == '\0' || l < least ||
            (l <= least && strcmp(node->id.s, ret->nearest.s) < 0)) {
            least = l;
            ret->nearest = node->id;
            ret->nearest_room = room;
            ret->nearest_unfit = unfit;
        }
    }
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
        first = false;
    }
    if (e->nearest.s[0] == '\0')
        return;
    a_buf_addf(b, "; nearest is %s with ", e->nearest.s);
    a_capacity_print(b, &e->nearest_room);
    a_buf_add_str(b, " free");
}
