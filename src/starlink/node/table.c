/* The tables of the node core: claims and epochs. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "starlink/node/inside.h"

static void key_make(const struct a_claim_id *id, char *out, size_t size)
{
    int n = snprintf(out, size, "%s/%s/%s/%u", id->app_uid.s, id->unit.s, id->member.s, id->attempt);
    a_assert(n > 0 && (size_t)n < size);
}

struct sl_claim *sl_node_claim_get(const struct sl_node *self, const struct a_claim_id *id)
{
    char key[sizeof((struct sl_claim *)NULL)->key];
    key_make(id, key, sizeof key);
    struct a_map_link *link = a_map_get_str(&self->by_key, key);
    return link != NULL ? a_map_entry(link, struct sl_claim, by_key) : NULL;
}

struct sl_claim *sl_node_claim_new(struct sl_node *self, const struct a_claim_id *id,
                                   enum a_claim_state state)
{
    struct sl_claim *c = a_new(struct sl_claim);
    c->id = *id;
    c->number = self->next_number++;
    a_sm_init(&c->state, &a_claim_states, (int)state);
    key_make(id, c->key, sizeof c->key);
    a_map_put_str(&self->by_key, &c->by_key, c->key);
    a_list_push_back(&self->claims, &c->link);
    self->n_claims++;
    return c;
}

const struct sl_claim *sl_node_find(const struct sl_node *self, const struct a_claim_id *id)
{
    return sl_node_claim_get(self, id);
}

const struct sl_claim *sl_node_find_number(const struct sl_node *self, uint64_t number)
{
    a_list_foreach (it, &self->claims) {
        const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (c->number == number)
            return c;
    }
    return NULL;
}

static struct sl_node_epoch *epoch_get(const struct sl_node *self, const struct a_uuid *app_uid)
{
    struct a_map_link *link = a_map_get_str(&self->epochs, app_uid->s);
    return link != NULL ? a_map_entry(link, struct sl_node_epoch, by_uid) : NULL;
}

uint64_t sl_node_epoch(const struct sl_node *self, const struct a_uuid *app_uid)
{
    const struct sl_node_epoch *e = epoch_get(self, app_uid);
    return e != NULL ? e->epoch : 0;
}

bool sl_node_epoch_raise(struct sl_node *self, const struct a_uuid *app_uid, uint64_t epoch)
{
    struct sl_node_epoch *e = epoch_get(self, app_uid);
    if (e == NULL) {
        if (self->epochs.len >= SL_NODE_APPS_MAX)
            return false;
        e = a_new(struct sl_node_epoch);
        e->app_uid = *app_uid;
        a_map_put_str(&self->epochs, &e->by_uid, e->app_uid.s);
    }
    e->epoch = A_MAX(e->epoch, epoch);
    return true;
}

struct a_capacity sl_node_free(const struct sl_node *self)
{
    struct a_capacity left = self->capacity;
    a_list_foreach (it, &self->claims) {
        const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (c->state.state != A_CLAIM_RELEASED)
            a_capacity_sub(&left, &c->capacity);
    }
    return left;
}

enum a_node_state sl_node_state(const struct sl_node *self)
{
    if (!self->draining)
        return A_NODE_UP;
    a_list_foreach (it, &self->claims) {
        if (a_list_entry(it, struct sl_claim, link)->state.state != A_CLAIM_RELEASED)
            return A_NODE_DRAINING;
    }
    return A_NODE_DRAINED;
}

static void claim_check(const struct sl_node *self, const struct sl_claim *c, struct a_capacity *taken)
{
    int state = c->state.state;
    a_assert(c->epoch <= sl_node_epoch(self, &c->id.app_uid));                                      /* N3 */
    a_assert(c->timer.index_plus_1 == 0 || state == A_CLAIM_RESERVED || state == A_CLAIM_RELEASED); /* N5 */
    if (state == A_CLAIM_RELEASED)
        return;
    a_capacity_add(taken, &c->capacity);
    if (c->port_count == 0)
        return;
    a_list_foreach (it, &self->claims) {
        const struct sl_claim *o = a_list_entry(it, struct sl_claim, link);
        if (o == c || o->state.state == A_CLAIM_RELEASED || o->port_count == 0)
            continue;
        a_assert(o->port_first + o->port_count <= c->port_first ||
                 c->port_first + c->port_count <= o->port_first); /* N4 */
    }
}

void sl_node_check(const struct sl_node *self)
{
    struct a_capacity taken = {0};
    size_t n = 0;
    a_list_foreach (it, &self->claims) {
        const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        a_assert(sl_node_claim_get(self, &c->id) == c); /* N2 */
        claim_check(self, c, &taken);
        n++;
    }
    a_assert(n == self->n_claims && n == self->by_key.len && n <= SL_NODE_CLAIMS_MAX);
    a_assert(self->shrunk || a_capacity_fits(&self->capacity, &taken)); /* N1 */
}
