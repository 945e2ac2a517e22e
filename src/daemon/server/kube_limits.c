/* How far pools may grow under the limits of their cluster. A pool is told so right before each of its plans,
 * and plans are made one after the other on one loop: what it may have more is what the limit leaves beside
 * all that every pool of the cluster holds at that moment, names on their way included. So several pools that
 * grow at once never pass it together (docs/components/kube.md, P9). */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "daemon/server/cluster_limits.h"
#include "daemon/server/kube.h"

struct d_kube_shape d_kube_shape_of(const struct kube_pool_spec *spec)
{
    return (struct d_kube_shape){{1, spec->mcpu, spec->memory_bytes, spec->device_count}};
}

void d_kube_shape_grow(struct d_kube_shape *a, const struct d_kube_shape *b)
{
    for (size_t i = 0; i < D_KUBE_DIMENSIONS; i++)
        a->of[i] = A_MAX(a->of[i], b->of[i]);
}

static const char *const names[D_KUBE_DIMENSIONS] = {"max-nodes", "max-cpu", "max-memory", "max-devices"};

/* Pods of a cluster, all together. False: some pool of it has not seen its pods yet. */
static bool held_sum(const struct d_kube *k, const struct a_name *cluster, struct d_kube_shape *ret)
{
    bool known = true;
    *ret = (struct d_kube_shape){{0}};
    a_map_foreach (l, &k->pools) {
        const struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        if (p->core == NULL || strcmp(p->spec.cluster.s, cluster->s) != 0)
            continue;
        known = known && kube_pool_is_known(p->core);
        for (size_t i = 0; i < D_KUBE_DIMENSIONS; i++)
            ret->of[i] += p->largest.of[i] * kube_pool_held(p->core);
    }
    return known;
}

bool d_kube_room_of(const struct d_kube *k, const struct a_name *cluster, struct d_kube_room *ret)
{
    const struct d_cluster_limits *c = d_cluster_limits_find(k->s, cluster);
    if (c == NULL)
        return false;
    struct d_kube_room room = {
        .max = {{c->limits.nodes, c->limits.mcpu, c->limits.memory_bytes, c->max_devices}}};
    room.known = held_sum(k, cluster, &room.used);
    *ret = room;
    return true;
}

/* How many more pods of the shape; *ret_dimension is the limit that says so. */
static uint32_t more_of(const struct d_kube_room *room, const struct d_kube_shape *shape,
                        size_t *ret_dimension)
{
    uint64_t more = UINT32_MAX;
    for (size_t i = 0; i < D_KUBE_DIMENSIONS; i++) {
        uint64_t max = room->max.of[i], used = room->used.of[i];
        if (max == 0 || shape->of[i] == 0)
            continue;
        uint64_t fit = max > used ? (max - used) / shape->of[i] : 0;
        if (fit < more) {
            more = fit;
            *ret_dimension = i;
        }
    }
    return (uint32_t)more;
}

bool d_kube_room_take(struct d_kube_room *room, const struct d_kube_shape *shape)
{
    size_t ignored = 0;
    if (!room->known || more_of(room, shape, &ignored) == 0)
        return false;
    for (size_t i = 0; i < D_KUBE_DIMENSIONS; i++)
        room->used.of[i] += shape->of[i];
    return true;
}

static void dimension_print(struct a_buf *b, size_t dimension, uint64_t n)
{
    if (dimension == 1)
        a_text_print_mcpu(b, n);
    else if (dimension == 2)
        a_text_print_bytes(b, n);
    else
        a_buf_addf(b, "%" PRIu64, n);
}

uint32_t d_kube_pool_may(const struct d_kube_pool *p, struct a_buf *why)
{
    struct d_kube_room room;
    size_t dimension = 0;
    if (p->core == NULL || !d_kube_room_of(p->kube, &p->spec.cluster, &room))
        return p->spec.max;
    uint64_t may =
        (uint64_t)kube_pool_held(p->core) + (room.known ? more_of(&room, &p->largest, &dimension) : 0);
    if (may >= p->spec.max)
        return p->spec.max;
    if (!room.known) {
        a_buf_addf(why, "%s has limits, and not all of its pods are known yet", p->spec.cluster.s);
        return (uint32_t)may;
    }
    a_buf_addf(why, "%s of %s is ", names[dimension], p->spec.cluster.s);
    dimension_print(why, dimension, room.max.of[dimension]);
    a_buf_add_str(why, ", its pods have ");
    dimension_print(why, dimension, room.used.of[dimension]);
    return (uint32_t)may;
}

void d_kube_limits_say(const struct server *s, struct a_buf *b)
{
    size_t told = 0;
    if (s->kube == NULL)
        return;
    a_map_foreach (l, &s->kube->pools) {
        const struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        A_BUF_AUTO struct a_buf why = {0};
        if (p->core == NULL || p->deleting || d_kube_pool_may(p, &why) > kube_pool_held(p->core) ||
            why.len == 0)
            continue;
        if (told++ < 3)
            a_buf_addf(b, "; pool %s cannot grow: %s", p->spec.name.s, why.ptr);
    }
}

double d_kube_pool_price(const struct d_kube_pool *p)
{
    const struct d_cluster_limits *c = d_cluster_limits_find(p->kube->s, &p->spec.cluster);
    return p->spec.price > 0 || c == NULL ? p->spec.price : c->price;
}
