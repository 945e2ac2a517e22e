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
