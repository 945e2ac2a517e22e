/* Who is alive. One function weighs all evidence, so that no two pieces of it can contradict each other in
 * two places:
 *
 *   connection closed                   SUSPECT: nothing new is placed there, endpoints stay
 *   closed, and an endpoint refused     DEAD at once
 *   closed for lost_ms                  DEAD
 *   no beat for SL_RESOURCE_SUSPECT_MS  SUSPECT
 *   no beat for lost_ms                 the connection is closed by us, and counts as closed since the last
 * beat two connections that both speak     SUSPECT, reason DuplicateIdentity attached, all claims told UP,
 * DRAINING or DRAINED as the node says
 *
 * Silence is measured from our own last wake-up when we slept ourselves (amnesty). */
#include "base/assert.h"
#include "starlink/resource/private.h"

static uint64_t since(const struct sl_resource *self, uint64_t ms)
{
    return self->now_ms - A_MAX(ms, self->amnesty_ms);
}

/* The row keeps the low half of the time: a connection that is silent for 49 days was closed long before. */
static uint64_t beat_at(const struct sl_resource *self, const struct sl_resource_node *node)
{
    return self->now_ms - (uint32_t)((uint32_t)self->now_ms - self->rows[node->slot].beat_ms);
}

static void move_to(struct sl_resource *self, struct sl_resource_node *node, enum a_node_state to,
                    enum a_reason reason)
{
    if (node->sm.state == (int)to && node->reason == reason)
        return;
    if (node->sm.state != (int)to) {
        if (!a_sm_may(&node->sm, (int)to)) /* UP -> DRAINED, DRAINED -> DRAINING, JOINING -> DRAINED */
            a_sm_move(&node->sm, to == A_NODE_DRAINED ? A_NODE_DRAINING : A_NODE_UP, node->id.s);
        a_sm_move(&node->sm, (int)to, node->id.s);
        node->since_ms = self->now_ms;
    }
    node->reason = reason;
    resource_tell_node(self, node);
}

void liveness_closed(struct sl_resource *self, struct sl_resource_node *node)
{
    node->conn = 0;
    node->closed_ms = self->now_ms;
    self->rows[node->slot].conn = 0;
}

void liveness_rival_spoke(struct sl_resource *self, struct sl_resource_node *node)
{
    node->rival_beat_ms = self->now_ms;
    if (self->now_ms - node->rival_ms >= SL_RESOURCE_DUPLICATE_MS &&
        self->now_ms - beat_at(self, node) < SL_RESOURCE_SUSPECT_MS)
        node->facts.flags |= SL_RESOURCE_NODE_DUPLICATE;
    liveness_assess(self, node);
}

/* A half-open connection never speaks again: it is closed without a word. */
static uint64_t rival_assess(struct sl_resource *self, struct sl_resource_node *node)
{
    if (node->rival == 0)
        return A_NEVER;
    uint64_t heard = A_MAX(node->rival_beat_ms, node->rival_ms);
    if (since(self, heard) < self->lost_ms)
        return A_MAX(heard, self->amnesty_ms) + self->lost_ms;
    resource_disconnect(self, node, node->rival, A_REASON_NODE_LOST);
    node->rival = 0;
    node->facts.flags &= ~(uint32_t)SL_RESOURCE_NODE_DUPLICATE;
    return A_NEVER;
}

static uint64_t closed_assess(struct sl_resource *self, struct sl_resource_node *node)
{
    if (node->sm.state == A_NODE_DEAD || node->refused || since(self, node->closed_ms) >= self->lost_ms) {
        move_to(self, node, A_NODE_DEAD, A_REASON_NODE_LOST);
        return node->since_ms + SL_RESOURCE_FORGET_MS;
    }
    move_to(self, node, A_NODE_SUSPECT, A_REASON_NONE);
    return A_MAX(node->closed_ms, self->amnesty_ms) + self->lost_ms;
}

static enum a_node_state told_state(const struct sl_resource_node *node)
{
    if (node->facts.flags & SL_RESOURCE_NODE_DRAINED)
        return A_NODE_DRAINED;
    return node->facts.flags & SL_RESOURCE_NODE_DRAINING ? A_NODE_DRAINING : A_NODE_UP;
}

static uint64_t open_assess(struct sl_resource *self, struct sl_resource_node *node)
{
    uint64_t beat = beat_at(self, node), from = A_MAX(beat, self->amnesty_ms);
    bool joining = !node->snapshot;
    /* a snapshot that stays incomplete lost a frame: attach again */
    if (joining)
        from = A_MIN(from, A_MAX(node->attach_ms, self->amnesty_ms));
    if (self->now_ms - from >= self->lost_ms) {
        resource_disconnect(self, node, node->conn, A_REASON_NODE_LOST);
        liveness_closed(self, node);
        node->closed_ms = beat; /* silence is no weaker evidence than a closed connection */
        return closed_assess(self, node);
    }
    bool silent = since(self, beat) >= SL_RESOURCE_SUSPECT_MS;
    bool duplicate = (node->facts.flags & SL_RESOURCE_NODE_DUPLICATE) != 0;
    if (duplicate)
        move_to(self, node, A_NODE_SUSPECT, A_REASON_DUPLICATE_IDENTITY);
    else if (silent || (joining && node->sm.state != A_NODE_JOINING))
        move_to(self, node, A_NODE_SUSPECT, A_REASON_NONE);
    else if (!joining)
        move_to(self, node, told_state(node), A_REASON_NONE);
    if (!duplicate && !silent && !joining && node->rival == 0 && !node->refused)
        self->rows[node->slot].conn = node->conn;
    return from + (silent || joining ? self->lost_ms : SL_RESOURCE_SUSPECT_MS);
}

void liveness_assess(struct sl_resource *self, struct sl_resource_node *node)
{
    self->rows[node->slot].conn = 0;
    uint64_t rival = rival_assess(self, node);
    uint64_t at = node->conn == 0 ? closed_assess(self, node) : open_assess(self, node);
    if (node->sm.state == A_NODE_DEAD && self->now_ms >= at) {
        resource_forget(self, node);
        return;
    }
    a_heap_set(&self->timers, &node->timer, A_MIN(at, rival));
}
