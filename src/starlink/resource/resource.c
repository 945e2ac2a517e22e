#include "starlink/resource/resource.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "starlink/resource/private.h"

void sl_resource_init(struct sl_resource *self, uint64_t seed)
{
    *self =
        (struct sl_resource){.nodes = {.seed = seed}, .apps = {.seed = seed}, .lost_ms = SL_RESOURCE_LOST_MS};
    a_list_init(&self->orphans);
    a_list_init(&self->graveyard);
}

static void node_free(struct sl_resource_node *node)
{
    a_free(node);
}

static void gone_free(struct sl_resource *self)
{
    while (self->gone != NULL) {
        struct sl_resource_node *node = self->gone;
        self->gone =
            node->link.next == NULL ? NULL : a_map_entry(node->link.next, struct sl_resource_node, link);
        node_free(node);
    }
}

void sl_resource_deinit(struct sl_resource *self)
{
    a_map_foreach (link, &self->nodes) {
        struct sl_resource_node *node = a_map_entry(link, struct sl_resource_node, link);
        claims_forget(self, node);
        a_map_remove(&self->nodes, link);
        node_free(node);
    }
    claims_deinit(self);
    gone_free(self);
    a_map_deinit(&self->nodes);
    a_heap_deinit(&self->timers);
    a_free(self->rows);
    a_free(self->by_slot);
    a_free(self->free_slots);
    a_free(self->deltas);
    *self = (struct sl_resource){0};
}

void resource_tell(struct sl_resource *self, const struct sl_resource_delta *delta)
{
    if (self->n_deltas == self->cap_deltas) {
        self->cap_deltas = self->cap_deltas == 0 ? 16 : self->cap_deltas * 2;
        self->deltas = a_realloc(self->deltas, self->cap_deltas * sizeof *self->deltas);
    }
    self->deltas[self->n_deltas++] = *delta;
}

void resource_tell_node(struct sl_resource *self, const struct sl_resource_node *node)
{
    resource_tell(self, &(struct sl_resource_delta){.type = SL_RESOURCE_DELTA_NODE, .node = node});
}

void resource_disconnect(struct sl_resource *self, const struct sl_resource_node *node, uint32_t conn,
                         enum a_reason reason)
{
    resource_tell(self,
                  &(struct sl_resource_delta){
                      .type = SL_RESOURCE_DELTA_DISCONNECT, .node = node, .conn = conn, .reason = reason});
}

static struct sl_resource_node *node_get(const struct sl_resource *self, const struct a_node_id *id)
{
    struct a_map_link *link = a_map_get_str(&self->nodes, id->s);
    return link == NULL ? NULL : a_map_entry(link, struct sl_resource_node, link);
}

static uint32_t slot_take(struct sl_resource *self, struct sl_resource_node *node)
{
    if (self->n_free > 0) {
        uint32_t slot = self->free_slots[--self->n_free];
        self->by_slot[slot] = node;
        self->rows[slot] = (struct sl_resource_row){0};
        return slot;
    }
    if (self->n_rows == self->cap_rows) {
        a_assert(self->n_rows < UINT32_MAX / 2);
        self->cap_rows = self->cap_rows == 0 ? 16 : self->cap_rows * 2;
        self->rows = a_realloc(self->rows, self->cap_rows * sizeof *self->rows);
        self->by_slot = a_realloc(self->by_slot, self->cap_rows * sizeof(struct sl_resource_node *));
    }
    self->rows[self->n_rows] = (struct sl_resource_row){0};
    self->by_slot[self->n_rows] = node;
    return (uint32_t)self->n_rows++;
}

static void slot_give(struct sl_resource *self, uint32_t slot)
{
    if (self->n_free == self->cap_free) {
        self->cap_free = self->cap_free == 0 ? 16 : self->cap_free * 2;
        self->free_slots = a_realloc(self->free_slots, self->cap_free * sizeof *self->free_slots);
    }
    self->by_slot[slot] = NULL;
    self->rows[slot] = (struct sl_resource_row){0};
    self->free_slots[self->n_free++] = slot;
}

static struct sl_resource_node *node_new(struct sl_resource *self, const struct a_node_id *id)
{
    struct sl_resource_node *node = a_new(struct sl_resource_node);
    node->id = *id;
    node->since_ms = self->now_ms;
    a_sm_init(&node->sm, &a_node_states, A_NODE_JOINING);
    a_list_init(&node->claims);
    node->slot = slot_take(self, node);
    a_map_put_str(&self->nodes, &node->link, node->id.s);
    return node;
}

void resource_forget(struct sl_resource *self, struct sl_resource_node *node)
{
    const struct sl_resource_claim *claim = NULL;
    while ((claim = sl_resource_next_claim(node, claim)) != NULL)
        resource_tell(self, &(struct sl_resource_delta){
                                .type = SL_RESOURCE_DELTA_CLAIM_GONE, .node = node, .claim = claim});
    claims_forget(self, node);
    a_heap_remove(&self->timers, &node->timer);
    slot_give(self, node->slot);
    a_map_remove(&self->nodes, &node->link);
    node->link.next = self->gone == NULL ? NULL : &self->gone->link;
    self->gone = node;
    resource_tell(self, &(struct sl_resource_delta){.type = SL_RESOURCE_DELTA_NODE_GONE, .node = node});
}

/* Negative: a is older. */
static int order_compare(uint64_t incarnation_a, uint64_t attach_a, uint64_t incarnation_b, uint64_t attach_b)
{
    if (incarnation_a != incarnation_b)
        return incarnation_a < incarnation_b ? -1 : 1;
    return attach_a == attach_b ? 0 : attach_a < attach_b ? -1 : 1;
}

static void node_take_facts(struct sl_resource_node *node, const struct sl_resource_node_facts *facts)
{
    uint32_t duplicate = node->facts.flags & SL_RESOURCE_NODE_DUPLICATE;
    node->facts = *facts;
    node->facts.flags = (facts->flags & ~(uint32_t)SL_RESOURCE_NODE_DUPLICATE) | duplicate;
}

/* A second connection with the id of a live one: the older order becomes the rival. Whether it is a half-open
 * connection that died or a second agent with a copied identity, time tells. */
static void attach_second(struct sl_resource *self, struct sl_resource_node *node, uint32_t conn)
{
    if (node->rival != 0)
        resource_disconnect(self, node, node->rival, A_REASON_DUPLICATE_IDENTITY);
    node->rival = conn;
    node->rival_ms = self->now_ms;
    node->rival_beat_ms = 0;
}

static int resource_attach(struct sl_resource *self, const struct sl_resource_event *e)
{
    struct sl_resource_node *node = node_get(self, &e->node);
    a_assert(e->conn != 0);
    if (node == NULL)
        node = node_new(self, &e->node);
    else if (order_compare(e->attach.incarnation, e->attach.attach, node->incarnation, node->attach) <= 0) {
        if (node->conn == e->conn)
            return SL_RESOURCE_E_STALE; /* the same HELLO again */
        if (node->conn == 0)
            resource_disconnect(self, node, e->conn, A_REASON_NODE_LOST);
        else
            attach_second(self, node, e->conn);
        liveness_assess(self, node);
        return SL_RESOURCE_E_STALE;
    } else if (node->conn != 0 && node->conn != e->conn) {
        attach_second(self, node, node->conn);
    }
    node->conn = e->conn;
    node->incarnation = e->attach.incarnation;
    node->attach = e->attach.attach;
    node->attach_ms = self->now_ms;
    node->status_sequence = 0;
    node->snapshot = node->refused = false;
    node->n_confirmed = 0;
    node->n_snapshot = UINT32_MAX;
    self->rows[node->slot] = (struct sl_resource_row){.beat_ms = (uint32_t)self->now_ms};
    node_take_facts(node, e->attach.facts);
    claims_unconfirm(node);
    if (a_sm_may(&node->sm, A_NODE_JOINING))
        a_sm_move(&node->sm, A_NODE_JOINING, node->id.s);
    resource_tell_node(self, node);
    liveness_assess(self, node);
    return 0;
}

static int resource_detach(struct sl_resource *self, struct sl_resource_node *node, uint32_t conn)
{
    if (node->rival == conn) {
        node->rival = 0;
        node->facts.flags &= ~(uint32_t)SL_RESOURCE_NODE_DUPLICATE;
    } else if (node->conn == conn) {
        liveness_closed(self, node);
        if (node->rival != 0) { /* its frames were dropped: it must attach afresh */
            resource_disconnect(self, node, node->rival, A_REASON_DUPLICATE_IDENTITY);
            node->rival = 0;
            node->facts.flags &= ~(uint32_t)SL_RESOURCE_NODE_DUPLICATE;
        }
    } else {
        return SL_RESOURCE_E_STALE;
    }
    liveness_assess(self, node);
    return 0;
}

static int resource_beat(struct sl_resource *self, struct sl_resource_node *node,
                         const struct sl_resource_event *e)
{
    struct sl_resource_row *row = &self->rows[node->slot];
    if (e->sequence <= row->sequence || e->sequence > UINT32_MAX)
        return SL_RESOURCE_E_STALE;
    row->sequence = (uint32_t)e->sequence;
    row->beat_ms = (uint32_t)self->now_ms;
    if (row->load != e->load)
        resource_tell(self, &(struct sl_resource_delta){.type = SL_RESOURCE_DELTA_LOAD, .node = node});
    row->load = e->load;
    node->refused = false;
    liveness_assess(self, node);
    return 0;
}

static int resource_status(struct sl_resource *self, struct sl_resource_node *node,
                           const struct sl_resource_event *e)
{
    if (e->sequence <= node->status_sequence)
        return SL_RESOURCE_E_STALE;
    node->status_sequence = e->sequence;
    struct sl_resource_node_facts facts = *e->status, *old = &node->facts;
    facts.cluster = old->cluster;
    facts.network = old->network;
    facts.zone = old->zone;
    facts.arch = old->arch;
    memcpy(facts.host, old->host, sizeof facts.host);
    memcpy(facts.address, old->address, sizeof facts.address);
    bool urgent = memcmp(&facts.capacity, &old->capacity, sizeof facts.capacity) != 0 ||
                  facts.flags != (old->flags & ~(uint32_t)SL_RESOURCE_NODE_DUPLICATE) ||
                  facts.leaves_ms != old->leaves_ms || !a_capacity_fits(&facts.free, &old->free);
    node_take_facts(node, &facts);
    resource_tell(self, &(struct sl_resource_delta){
                            .type = urgent ? SL_RESOURCE_DELTA_NODE : SL_RESOURCE_DELTA_LOAD, .node = node});
    liveness_assess(self, node);
    return 0;
}

static void snapshot_check(struct sl_resource *self, struct sl_resource_node *node)
{
    if (node->snapshot || node->n_confirmed < node->n_snapshot)
        return;
    node->snapshot = true;
    claims_settle(self, node);
    resource_tell_node(self, node);
    liveness_assess(self, node);
}

/* Frames of the connection that owns the row. */
static int resource_frame(struct sl_resource *self, struct sl_resource_node *node,
                          const struct sl_resource_event *e)
{
    int rc = 0;
    if (node->conn != e->conn) {
        if (node->rival == e->conn)
            liveness_rival_spoke(self, node);
        return SL_RESOURCE_E_STALE;
    }
    if (e->type == SL_RESOURCE_BEAT)
        return resource_beat(self, node, e);
    if (e->type == SL_RESOURCE_NODE_STATUS)
        return resource_status(self, node, e);
    if (e->type == SL_RESOURCE_CLAIM_STATUS)
        rc = claims_status(self, node, e);
    else
        node->n_snapshot = e->n_claims;
    snapshot_check(self, node);
    return rc;
}

static int resource_node_event(struct sl_resource *self, const struct sl_resource_event *e)
{
    struct sl_resource_node *node = node_get(self, &e->node);
    if (node == NULL)
        return SL_RESOURCE_E_UNKNOWN;
    switch (e->type) {
    case SL_RESOURCE_DETACH:
        return resource_detach(self, node, e->conn);
    case SL_RESOURCE_REFUSED:
        node->refused = true;
        liveness_assess(self, node);
        return 0;
    default:
        return resource_frame(self, node, e);
    }
}

static int resource_dispatch(struct sl_resource *self, const struct sl_resource_event *e)
{
    switch (e->type) {
    case SL_RESOURCE_ATTACH:
        return resource_attach(self, e);
    case SL_RESOURCE_KNOW_APP:
        return claims_know_app(self, e);
    case SL_RESOURCE_FORGET_APP:
        return claims_forget_app(self, e);
    case SL_RESOURCE_TIME:
        return 0;
    default:
        return resource_node_event(self, e);
    }
}

static void resource_tick(struct sl_resource *self)
{
    for (struct a_timer *t; (t = a_heap_pop(&self->timers, self->now_ms)) != NULL;)
        liveness_assess(self, a_list_entry(t, struct sl_resource_node, timer));
}

int sl_resource_step(struct sl_resource *self, const struct sl_resource_event *event,
                     struct sl_resource_update *ret_update)
{
    a_assert(event->now_ms >= self->now_ms);
    uint64_t deadline = sl_resource_deadline(self);
    if (deadline != A_NEVER && event->now_ms > deadline && event->now_ms - deadline > SL_RESOURCE_STALL_MS)
        self->amnesty_ms = event->now_ms;
    self->now_ms = event->now_ms;
    self->n_deltas = 0;
    claims_free_graveyard(self);
    gone_free(self);
    int rc = resource_dispatch(self, event);
    resource_tick(self);
    if (rc == SL_RESOURCE_E_STALE)
        self->stale++;
    *ret_update = (struct sl_resource_update){self->deltas, self->n_deltas};
    return rc;
}

size_t sl_resource_merge(struct sl_resource *self, uint64_t now_ms, const struct sl_resource_beat *beats,
                         size_t n, uint32_t *ret_slow)
{
    size_t n_slow = 0;
    for (size_t i = 0; i < n; i++) {
        const struct sl_resource_beat *b = &beats[i];
        struct sl_resource_row *row = b->slot < self->n_rows ? &self->rows[b->slot] : NULL;
        if (row == NULL || b->conn == 0 || row->conn != b->conn || b->sequence <= row->sequence) {
            ret_slow[n_slow++] = (uint32_t)i;
            continue;
        }
        row->sequence = b->sequence;
        row->beat_ms = (uint32_t)now_ms;
        row->load = b->load;
    }
    return n_slow;
}

uint64_t sl_resource_deadline(const struct sl_resource *self)
{
    return a_heap_deadline(&self->timers);
}

const struct sl_resource_node *sl_resource_node(const struct sl_resource *self, const struct a_node_id *id)
{
    return node_get(self, id);
}

const struct sl_resource_node *sl_resource_next(const struct sl_resource *self,
                                                const struct sl_resource_node *prev)
{
    struct a_map_link *link = a_map_next(&self->nodes, prev == NULL ? NULL : &prev->link);
    return link == NULL ? NULL : a_map_entry(link, struct sl_resource_node, link);
}

uint16_t sl_resource_load(const struct sl_resource *self, const struct sl_resource_node *node)
{
    return self->rows[node->slot].load;
}

enum a_node_state sl_resource_node_state(const struct sl_resource_node *node)
{
    return (enum a_node_state)node->sm.state;
}

bool sl_resource_node_placeable(const struct sl_resource_node *node)
{
    return node->conn != 0 && node->sm.state == A_NODE_UP &&
           (node->facts.flags & SL_RESOURCE_NODE_CORDONED) == 0;
}
