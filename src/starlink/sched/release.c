/* Releases: repeated until the node says that the claim is gone. Fences: what a former owner of an app still
 * has on its way must not touch what was taken over, so each node is told the new epoch by a BIND of the
 * claim, repeated until it answers; it refuses the old one from then on. A node that is away gets its release
 * soon after it comes back; one that is forgotten takes its releases along (should it return, its claims are
 * reported, and whoever owns them decides again). */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "starlink/sched/private.h"

static void release_key(char *out, size_t size, const struct a_node_id *node, const struct a_claim_id *id)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, "%s/", node->s);
    a_claim_id_print(&b, id);
    a_assert(b.len < size);
    memcpy(out, b.ptr, b.len + 1);
}

static struct release *release_find(const struct sl_sched *self, const struct a_node_id *node,
                                    const struct a_claim_id *id)
{
    char key[sizeof((struct release *)0)->key];
    release_key(key, sizeof key, node, id);
    struct a_map_link *link = a_map_get_str(&self->releases, key);
    return link == NULL ? NULL : a_map_entry(link, struct release, link);
}

static void release_drop(struct release *r)
{
    a_heap_remove(&r->sched->timers, &r->timer);
    a_map_remove(&r->sched->releases, &r->link);
    a_free(r);
}

static void release_send(struct release *r)
{
    struct sl_sched *self = r->sched;
    const struct sl_view_node *node = sl_view_get(&self->view, &r->node);
    if (node != NULL && node->connected) {
        struct sl_sched_update_item *item =
            sched_tell(self, r->fence ? SL_SCHED_SEND_FENCE : SL_SCHED_SEND_RELEASE, 0);
        item->node = r->node;
        item->order = r->order;
    }
    a_heap_set(&self->timers, &r->timer, self->now_ms + SL_SCHED_RESEND_MS);
}

static struct release *release_new(struct sl_sched *self, const struct a_node_id *node,
                                   const struct sl_claim_order *order)
{
    struct release *r = a_new(struct release);
    r->sched = self;
    r->node = *node;
    release_key(r->key, sizeof r->key, node, &order->id);
    a_map_put_str(&self->releases, &r->link, r->key);
    return r;
}

void release_start(struct sl_sched *self, const struct a_node_id *node, const struct sl_claim_order *order)
{
    struct release *r = release_find(self, node, &order->id);
    if (r == NULL)
        r = release_new(self, node, order);
    else if (order->epoch < r->order.epoch)
        return;
    r->order = *order;
    r->fence = false;
    release_send(r);
}

void fence_start(struct sl_sched *self, const struct a_node_id *node, const struct sl_claim_order *order)
{
    struct release *r = release_find(self, node, &order->id);
    if (r == NULL)
        r = release_new(self, node, order);
    else if (!r->fence || order->epoch <= r->order.epoch)
        return;
    r->order = *order;
    r->fence = true;
    release_send(r);
}

void release_timer(struct release *r)
{
    release_send(r);
}

bool release_reply(struct sl_sched *self, const struct sl_sched_event *e)
{
    struct release *r = release_find(self, &e->node, &e->reply.id);
    if (r == NULL)
        return false;
    /* refused: a higher epoch owns the claim now, it is no longer ours to release or fence */
    if (e->reply.what == SL_REPLY_GONE || e->reply.what == SL_REPLY_REFUSED ||
        (e->reply.what == SL_REPLY_BOUND && r->fence))
        release_drop(r);
    else if (e->reply.what == SL_REPLY_RELEASING)
        a_heap_set(&self->timers, &r->timer, self->now_ms + SL_SCHED_RELEASING_MS);
    return true;
}

void release_gone(struct sl_sched *self, const struct a_node_id *node, const struct a_claim_id *id)
{
    struct release *r = release_find(self, node, id);
    if (r != NULL)
        release_drop(r);
}

void release_node_changed(struct sl_sched *self, const struct a_node_id *id)
{
    if (sl_view_get(&self->view, id) != NULL)
        return;
    a_map_foreach (link, &self->releases) {
        struct release *r = a_map_entry(link, struct release, link);
        if (strcmp(r->node.s, id->s) == 0)
            release_drop(r);
    }
}

void release_free_all(struct sl_sched *self)
{
    a_map_foreach (link, &self->releases)
        release_drop(a_map_entry(link, struct release, link));
    a_map_deinit(&self->releases);
}
