#include "starlink/sched/view.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"

const char *sl_unfit_text(enum sl_unfit u)
{
    static const char *const texts[] = {
#define X(name, text) text,
        SL_UNFIT(X)
#undef X
    };
    a_assert((unsigned)u < SL_UNFIT_COUNT);
    return texts[u];
}

const char *sl_unfit_name(enum sl_unfit u)
{
#define X(name, text) #name,
    static const char *const names[] = { SL_UNFIT(X) };
#undef X
    return names[u];
}

void sl_view_deinit(struct sl_view *self)
{
    a_map_foreach (link, &self->nodes) {
        a_map_remove(&self->nodes, link);
        a_free(a_map_entry(link, struct sl_view_node, link));
    }
    a_map_deinit(&self->nodes);
    a_map_foreach (link, &self->clusters) {
        a_map_remove(&self->clusters, link);
        a_free(a_map_entry(link, struct sl_view_cluster, link));
    }
    a_map_deinit(&self->clusters);
}

struct sl_view_node *sl_view_get(const struct sl_view *self, const struct a_node_id *id)
{
    struct a_map_link *link = a_map_get_str(&self->nodes, id->s);
    return link == NULL ? NULL : a_map_entry(link, struct sl_view_node, link);
}

void sl_view_set(struct sl_view *self, const struct sl_view_node *node)
{
    struct sl_view_node *row = sl_view_get(self, &node->id);
    if (row == NULL) {
        row = a_new(struct sl_view_node);
        row->id = node->id;
        a_map_put_str(&self->nodes, &row->link, row->id.s);
    }
    row->cluster = node->cluster;
    row->zone = node->zone;
    row->arch = node->arch;
    memcpy(row->host, node->host, sizeof row->host);
    row->capacity = node->capacity;
    row->free = node->free;
    row->connected = node->connected;
    row->lost = node->lost;
    row->price = node->price;
    row->unfit = node->unfit;
    row->tenant = node->tenant;
}

void sl_view_remove(struct sl_view *self, const struct a_node_id *id)
{
    struct sl_view_node *row = sl_view_get(self, id);
    if (row == NULL)
        return;
    a_map_remove(&self->nodes, &row->link);
    a_free(row);
}

bool sl_view_is_foreign(const struct sl_view_node *node, const struct a_name *namespace)
{
    return node->tenant.s[0] != '\0' && strcmp(node->tenant.s, namespace->s) != 0;
}

struct a_capacity sl_view_room(const struct sl_view_node *node)
{
    struct a_capacity room = node->free;
    a_capacity_sub(&room, &node->pending);
    return room;
}

/* ---- limits of clusters ---- */

const char *sl_limit_name(enum sl_limit limit)
{
#define X(name, text) text,
    static const char *const names[] = { SL_LIMITS(X) };
#undef X
    return names[limit];
}

static struct sl_view_cluster *cluster_get(const struct sl_view *self, const struct a_name *name)
{
    struct a_map_link *link = a_map_get_str(&self->clusters, name->s);
    return link == NULL ? NULL : a_map_entry(link, struct sl_view_cluster, link);
}

void sl_view_limits_set(struct sl_view *self, const struct a_name *cluster, const struct sl_limits *limits)
{
    struct sl_view_cluster *c = cluster_get(self, cluster);
    bool none = limits->nodes == 0 && limits->mcpu == 0 && limits->memory_bytes == 0;
    if (c == NULL && !none) {
        c = a_new(struct sl_view_cluster);
        c->name = *cluster;
        a_map_put_str(&self->clusters, &c->link, c->name.s);
    }
    if (c != NULL)
        c->limits = *limits;
    if (c != NULL && none) {
        a_map_remove(&self->clusters, &c->link);
        a_free(c);
    }
}

static bool is_used(const struct sl_view_node *node, const struct a_capacity *room)
{
    return room->mcpu < node->capacity.mcpu || room->memory_bytes < node->capacity.memory_bytes;
}

static void used_add(struct sl_limits *used, const struct sl_view_node *node)
{
    struct a_capacity room = sl_view_room(node), taken = node->capacity;
    a_capacity_sub(&taken, &room);
    used->nodes += is_used(node, &room);
    used->mcpu += taken.mcpu;
    used->memory_bytes += taken.memory_bytes;
}

bool sl_view_budget(const struct sl_view *self, const struct a_name *cluster, struct sl_budget *ret)
{
    const struct sl_view_cluster *c = cluster_get(self, cluster);
    if (c == NULL)
        return false;
    *ret = (struct sl_budget){.limits = c->limits};
    a_map_foreach (link, &self->nodes) {
        const struct sl_view_node *node = a_map_entry(link, struct sl_view_node, link);
        if (!node->lost && strcmp(node->cluster.s, cluster->s) == 0)
            used_add(&ret->used, node);
    }
    return true;
}

static bool is_over(uint64_t limit, uint64_t used, uint64_t more)
{
    return limit > 0 && more > 0 && (used >= limit || more > limit - used);
}

enum sl_limit sl_budget_short(const struct sl_budget *b, const struct sl_view_node *node,
                              const struct a_capacity *room, const struct a_capacity *want)
{
    if (is_over(b->limits.nodes, b->used.nodes, is_used(node, room) ? 0 : 1))
        return SL_LIMIT_NODES;
    if (is_over(b->limits.mcpu, b->used.mcpu, want->mcpu))
        return SL_LIMIT_CPU;
    return is_over(b->limits.memory_bytes, b->used.memory_bytes, want->memory_bytes) ? SL_LIMIT_MEMORY
                                                                                     : SL_LIMIT_NONE;
}

void sl_budget_take(struct sl_budget *b, const struct sl_view_node *node, const struct a_capacity *room,
                    const struct a_capacity *want)
{
    b->used.nodes += !is_used(node, room);
    b->used.mcpu += want->mcpu;
    b->used.memory_bytes += want->memory_bytes;
}
