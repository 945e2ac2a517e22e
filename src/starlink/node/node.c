#include "starlink/node/node.h"

#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "starlink/node/inside.h"

/* A request from its arrival to its reply. */
struct sl_node_request {
    struct a_list link; /* sl_node.line */
    struct sl_node_event event;
    char *payload;          /* owned; event.payload points here */
    struct sl_claim *claim; /* that it changes */
    bool effect;            /* START or STOP follows the reply */
    uint64_t token;         /* of the write that carries it; 0 = not written yet */
    bool writing;           /* waits for its write; else, when current, for ASSIGNED */
};

static void request_free(struct sl_node_request *r)
{
    if (r == NULL)
        return;
    a_free(r->payload);
    a_free(r);
}

void sl_node_init(struct sl_node *self, const struct a_capacity *capacity)
{
    *self = (struct sl_node){.capacity = *capacity, .next_number = 1};
    a_list_init(&self->claims);
    a_list_init(&self->line);
    a_list_init(&self->dead);
}

static void claim_free(struct sl_claim *c)
{
    a_free(c->payload);
    a_free(c);
}

static void claims_free(struct a_list *list)
{
    for (struct a_list *it; list->next != NULL && (it = a_list_pop_front(list)) != NULL;)
        claim_free(a_list_entry(it, struct sl_claim, link));
}

void sl_node_deinit(struct sl_node *self)
{
    claims_free(&self->claims);
    claims_free(&self->dead);
    for (struct a_list *it; self->line.next != NULL && (it = a_list_pop_front(&self->line)) != NULL;)
        request_free(a_list_entry(it, struct sl_node_request, link));
    request_free(self->current);
    a_map_foreach (it, &self->epochs) {
        a_map_remove(&self->epochs, it);
        a_free(a_map_entry(it, struct sl_node_epoch, by_uid));
    }
    a_map_deinit(&self->epochs);
    a_map_deinit(&self->by_key);
    a_heap_deinit(&self->timers);
    a_free(self->actions);
    *self = (struct sl_node){0};
}

const char *sl_node_result_name(enum sl_node_result r)
{
    static const char *const names[] = {
        [SL_NODE_OK] = "Ok",
        [SL_NODE_NO_CAPACITY] = "NoCapacity",
        [SL_NODE_STALE_EPOCH] = "StaleEpoch",
        [SL_NODE_WRONG_STORE] = "WrongStore",
        [SL_NODE_CORDONED] = "Cordoned",
        [SL_NODE_UNKNOWN_CLAIM] = "UnknownClaim",
        [SL_NODE_WRONG_STATE] = "WrongState",
        [SL_NODE_NO_PORTS] = "NoPorts",
        [SL_NODE_BUSY] = "Busy",
        [SL_NODE_INVALID] = "Invalid",
    };
    a_assert((size_t)r < A_ARRAY_SIZE(names));
    return names[r];
}

/* ---- what comes out ---- */

static struct sl_node_action *action_add(struct sl_node *self, enum sl_node_action_kind kind,
                                         const struct sl_claim *claim)
{
    if (self->n_actions == self->cap_actions) {
        self->cap_actions = A_MAX(self->cap_actions * 2, (size_t)16);
        self->actions = a_realloc(self->actions, self->cap_actions * sizeof *self->actions);
    }
    struct sl_node_action *a = &self->actions[self->n_actions++];
    *a = (struct sl_node_action){.kind = kind, .claim = claim};
    return a;
}

static struct sl_node_action *reply_add(struct sl_node *self, const struct sl_node_event *event,
                                        enum sl_node_result result)
{
    struct sl_node_action *a = action_add(self, SL_NODE_REPLY, sl_node_claim_get(self, &event->id));
    a->asked = event->kind;
    a->id = event->id;
    a->link = event->link;
    a->seq = event->seq;
    a->result = result;
    a->epoch = sl_node_epoch(self, &event->id.app_uid);
    a->free = sl_node_free(self);
    return a;
}

static void write_begin(struct sl_node *self)
{
    a_assert(self->write_token == 0);
    self->write_token = ++self->next_token;
    self->dirty = false;
    a_heap_remove(&self->timers, &self->retry);
    action_add(self, SL_NODE_PERSIST, NULL)->token = self->write_token;
    if (self->current != NULL && self->current->writing)
        self->current->token = self->write_token;
}

/* Begins a write when something waits for one and none is under way. */
static void write_flush(struct sl_node *self)
{
    bool waits = self->current != NULL && self->current->writing && self->current->token == 0;
    if (self->write_token == 0 && self->retry.index_plus_1 == 0 && (self->dirty || waits))
        write_begin(self);
}

/* ---- the ends of claims ---- */

static void claim_release(struct sl_node *self, struct sl_claim *c)
{
    if (c->state.state == A_CLAIM_RESERVED && c->port_count > 0)
        action_add(self, SL_NODE_UNASSIGN, c);
    a_sm_move(&c->state, A_CLAIM_RELEASED, c->key);
    a_heap_set(&self->timers, &c->timer, self->now_ms + SL_NODE_LINGER_MS);
    self->dirty = true;
    action_add(self, SL_NODE_CHANGED, c);
}

static void claim_forget(struct sl_node *self, struct sl_claim *c)
{
    a_heap_remove(&self->timers, &c->timer);
    a_map_remove(&self->by_key, &c->by_key);
    a_list_remove(&c->link);
    a_list_push_back(&self->dead, &c->link);
    self->n_claims--;
}

/* The oldest released claim makes room when the table is full of them. */
static bool claim_room(struct sl_node *self)
{
    if (self->n_claims < SL_NODE_CLAIMS_MAX)
        return true;
    a_list_foreach (it, &self->claims) {
        struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (c->state.state == A_CLAIM_RELEASED) {
            claim_forget(self, c);
            return true;
        }
    }
    return false;
}

/* ---- requests: each `begin` answers at once (true), or leaves the request in flight (false) ---- */

static bool answer(struct sl_node *self, struct sl_node_request *r, enum sl_node_result result)
{
    reply_add(self, &r->event, result);
    return true;
}

static bool written_later(struct sl_node_request *r, struct sl_claim *claim)
{
    r->claim = claim;
    r->writing = true;
    return false;
}

static bool reserve_repeat(struct sl_node *self, struct sl_node_request *r, struct sl_claim *c)
{
    if (c->state.state != A_CLAIM_RESERVED && c->state.state != A_CLAIM_BOUND)
        return answer(self, r, SL_NODE_WRONG_STATE);
    if (strcmp(c->store_id.s, r->event.store_id.s) != 0)
        return answer(self, r, SL_NODE_WRONG_STORE);
    if (c->state.state == A_CLAIM_RESERVED)
        a_heap_set(&self->timers, &c->timer, self->now_ms + c->ttl_ms);
    if (r->event.epoch == c->epoch)
        return answer(self, r, SL_NODE_OK);
    c->epoch = r->event.epoch;
    a_heap_remove(&self->timers, &c->timer); /* set again once it is written */
    return written_later(r, c);
}

/* An exclusive node belongs to the namespace of its claims until the last of them is gone. */
static bool namespace_fits(const struct sl_node *self, const struct a_app_ref *app)
{
    a_list_foreach (it, &self->claims) {
        const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (self->exclusive && c->state.state != A_CLAIM_RELEASED &&
            strcmp(c->app.namespace.s, app->namespace.s) != 0)
            return false;
    }
    return true;
}

static bool reserve_begin(struct sl_node *self, struct sl_node_request *r)
{
    const struct sl_node_event *e = &r->event;
    if (e->epoch < sl_node_epoch(self, &e->id.app_uid))
        return answer(self, r, SL_NODE_STALE_EPOCH);
    if (e->epoch == 0 || e->ttl_ms < SL_NODE_TTL_MIN_MS || e->ttl_ms > SL_NODE_TTL_MAX_MS ||
        a_capacity_is_zero(&e->capacity) || !sl_node_epoch_raise(self, &e->id.app_uid, e->epoch))
        return answer(self, r, SL_NODE_INVALID);
    struct sl_claim *c = sl_node_claim_get(self, &e->id);
    if (c != NULL)
        return reserve_repeat(self, r, c);
    if (self->cordoned || self->draining)
        return answer(self, r, SL_NODE_CORDONED);
    struct a_capacity left = sl_node_free(self);
    const char *short_of = a_capacity_short(&left, &e->capacity);
    if (!namespace_fits(self, &e->app))
        short_of = "room for another namespace";
    if (short_of == NULL && !claim_room(self))
        short_of = "claims";
    if (short_of != NULL) {
        reply_add(self, e, SL_NODE_NO_CAPACITY)->short_of = short_of;
        return true;
    }
    c = sl_node_claim_new(self, &e->id, A_CLAIM_RESERVED);
    c->app = e->app;
    c->store_id = e->store_id;
    c->epoch = e->epoch;
    c->revision = e->revision;
    c->revision_digest = e->revision_digest;
    c->role = e->role;
    c->capacity = e->capacity;
    c->ttl_ms = e->ttl_ms;
    r->claim = c;
    action_add(self, SL_NODE_ASSIGN, c);
    return false;
}

/* Whether the store and epoch of a request may change this claim. */
static enum sl_node_result authority(const struct sl_node *self, const struct sl_node_event *e,
                                     const struct sl_claim *c)
{
    if (strcmp(c->store_id.s, e->store_id.s) != 0)
        return SL_NODE_WRONG_STORE;
    return e->epoch < sl_node_epoch(self, &e->id.app_uid) ? SL_NODE_STALE_EPOCH : SL_NODE_OK;
}

enum sl_node_result sl_node_authority(const struct sl_node *self, const struct a_claim_id *id,
                                      const struct a_uuid *store_id, uint64_t epoch)
{
    const struct sl_node_event e = {.id = *id, .store_id = *store_id, .epoch = epoch};
    const struct sl_claim *c = sl_node_find(self, id);
    if (c == NULL || c->state.state == A_CLAIM_RELEASED)
        return SL_NODE_UNKNOWN_CLAIM;
    enum sl_node_result result = authority(self, &e, c);
    return result == SL_NODE_OK && c->state.state != A_CLAIM_BOUND ? SL_NODE_WRONG_STATE : result;
}

static void payload_take(struct sl_claim *c, struct sl_node_request *r)
{
    a_free(c->payload);
    c->payload = a_steal(&r->payload);
    c->payload_len = r->event.payload.len;
}

static void epoch_take(struct sl_node *self, struct sl_claim *c, uint64_t epoch)
{
    bool known = sl_node_epoch_raise(self, &c->id.app_uid, epoch);
    a_assert(known); /* the reservation made its entry */
    c->epoch = epoch;
}

static bool bind_repeat(struct sl_node *self, struct sl_node_request *r, struct sl_claim *c)
{
    if (c->epoch == r->event.epoch && strcmp(c->store_id.s, r->event.store_id.s) == 0)
        return answer(self, r, SL_NODE_OK);
    c->store_id = r->event.store_id;
    epoch_take(self, c, r->event.epoch);
    return written_later(r, c);
}

static bool bind_begin(struct sl_node *self, struct sl_node_request *r)
{
    const struct sl_node_event *e = &r->event;
    struct sl_claim *c = sl_node_claim_get(self, &e->id);
    if (c == NULL || c->state.state == A_CLAIM_RELEASED)
        return answer(self, r, SL_NODE_UNKNOWN_CLAIM);
    enum sl_node_result result = authority(self, e, c);
    /* equal to the highest: another claim of the app on this node was adopted a moment ago */
    bool adopts = c->state.state == A_CLAIM_BOUND && result == SL_NODE_WRONG_STORE && e->epoch > c->epoch &&
                  e->epoch >= sl_node_epoch(self, &e->id.app_uid);
    if (result != SL_NODE_OK && !adopts)
        return answer(self, r, result);
    if (c->state.state == A_CLAIM_BOUND)
        return bind_repeat(self, r, c);
    if (c->state.state != A_CLAIM_RESERVED)
        return answer(self, r, SL_NODE_WRONG_STATE);
    a_heap_remove(&self->timers, &c->timer);
    a_sm_move(&c->state, A_CLAIM_BOUND, c->key);
    epoch_take(self, c, e->epoch);
    payload_take(c, r);
    r->effect = true;
    return written_later(r, c);
}

static bool revise_begin(struct sl_node *self, struct sl_node_request *r)
{
    const struct sl_node_event *e = &r->event;
    struct sl_claim *c = sl_node_claim_get(self, &e->id);
    if (c == NULL || c->state.state == A_CLAIM_RELEASED)
        return answer(self, r, SL_NODE_UNKNOWN_CLAIM);
    enum sl_node_result result = authority(self, e, c);
    if (result == SL_NODE_OK && c->state.state != A_CLAIM_BOUND)
        result = SL_NODE_WRONG_STATE;
    if (result != SL_NODE_OK)
        return answer(self, r, result);
    epoch_take(self, c, e->epoch);
    c->revision = e->revision;
    c->revision_digest = e->revision_digest;
    if (e->payload.len > 0)
        payload_take(c, r);
    return written_later(r, c);
}

static bool release_begin(struct sl_node *self, struct sl_node_request *r)
{
    const struct sl_node_event *e = &r->event;
    struct sl_claim *c = sl_node_claim_get(self, &e->id);
    if (c == NULL || c->state.state == A_CLAIM_RELEASED)
        return answer(self, r, SL_NODE_OK); /* as asked for */
    enum sl_node_result result = authority(self, e, c);
    if (result != SL_NODE_OK || c->state.state == A_CLAIM_RELEASING)
        return answer(self, r, result);
    epoch_take(self, c, e->epoch);
    c->release_reason = e->reason;
    if (c->state.state == A_CLAIM_RESERVED) {
        claim_release(self, c);
    } else {
        a_sm_move(&c->state, A_CLAIM_RELEASING, c->key);
        r->effect = true;
    }
    return written_later(r, c);
}

static bool mark_begin(struct sl_node *self, struct sl_node_request *r)
{
    bool *mark = r->event.kind == SL_NODE_EV_CORDON ? &self->cordoned : &self->draining;
    if (*mark == r->event.on)
        return answer(self, r, SL_NODE_OK);
    *mark = r->event.on;
    return written_later(r, NULL);
}

static bool request_begin(struct sl_node *self, struct sl_node_request *r)
{
    switch (r->event.kind) {
    case SL_NODE_EV_RESERVE:
        return reserve_begin(self, r);
    case SL_NODE_EV_BIND:
        return bind_begin(self, r);
    case SL_NODE_EV_REVISE:
        return revise_begin(self, r);
    case SL_NODE_EV_RELEASE:
        return release_begin(self, r);
    default:
        return mark_begin(self, r);
    }
}

/* Begins waiting requests until one is in flight. */
static void line_run(struct sl_node *self)
{
    struct a_list *it;
    while (self->current == NULL && (it = a_list_pop_front(&self->line)) != NULL) {
        struct sl_node_request *r = a_list_entry(it, struct sl_node_request, link);
        self->n_line--;
        self->current = r;
        if (!request_begin(self, r))
            return;
        self->current = NULL;
        request_free(r);
    }
}

static void request_add(struct sl_node *self, const struct sl_node_event *event)
{
    if (self->n_line >= SL_NODE_LINE_MAX || event->payload.len > SL_NODE_PAYLOAD_MAX) {
        reply_add(self, event, self->n_line >= SL_NODE_LINE_MAX ? SL_NODE_BUSY : SL_NODE_INVALID);
        return;
    }
    struct sl_node_request *r = a_new(struct sl_node_request);
    r->event = *event;
    r->payload = a_strndup(event->payload.len > 0 ? event->payload.ptr : "", event->payload.len);
    r->event.payload.ptr = r->payload;
    a_list_push_back(&self->line, &r->link);
    self->n_line++;
}

/* The request's change is on disk: say so, and do what follows from it. */
static void request_finish(struct sl_node *self)
{
    struct sl_node_request *r = a_steal(&self->current);
    struct sl_claim *c = r->claim;
    if (r->event.kind == SL_NODE_EV_RESERVE && c->state.state == A_CLAIM_RESERVED)
        a_heap_set(&self->timers, &c->timer, self->now_ms + c->ttl_ms);
    reply_add(self, &r->event, SL_NODE_OK);
    if (r->effect)
        action_add(self, r->event.kind == SL_NODE_EV_BIND ? SL_NODE_START : SL_NODE_STOP, c);
    action_add(self, SL_NODE_CHANGED, c);
    request_free(r);
}

/* ---- answers of the daemon ---- */

static void assigned(struct sl_node *self, const struct sl_node_event *event)
{
    struct sl_node_request *r = self->current;
    if (r == NULL || r->writing || r->claim == NULL || r->claim->number != event->claim_number)
        return;
    if (event->port_count > 0) {
        r->claim->port_first = event->port_first;
        r->claim->port_count = event->port_count;
        r->writing = true;
        return;
    }
    claim_forget(self, r->claim);
    self->current = NULL;
    reply_add(self, &r->event, SL_NODE_NO_PORTS);
    request_free(r);
}

static void persisted(struct sl_node *self, const struct sl_node_event *event)
{
    if (event->token != self->write_token || event->token == 0)
        return;
    self->write_token = 0;
    struct sl_node_request *r = self->current;
    bool carried = r != NULL && r->writing && r->token == event->token;
    if (!event->ok) {
        self->dirty = true;
        if (carried)
            r->token = 0;
        a_heap_set(&self->timers, &self->retry, self->now_ms + SL_NODE_PERSIST_RETRY_MS);
    } else if (carried) {
        request_finish(self);
    }
}

static void stopped(struct sl_node *self, const struct sl_node_event *event)
{
    a_list_foreach (it, &self->claims) {
        struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (c->number != event->claim_number)
            continue;
        if (c->state.state == A_CLAIM_RELEASING)
            claim_release(self, c);
        return;
    }
}

static void timers_run(struct sl_node *self)
{
    for (struct a_timer *t; (t = a_heap_pop(&self->timers, self->now_ms)) != NULL;) {
        if (t == &self->retry)
            continue; /* write_flush() tries again now that it is not set */
        struct sl_claim *c = A_CONTAINER_OF(t, struct sl_claim, timer);
        if (self->current != NULL && self->current->claim == c) { /* its release is not on disk yet */
            a_heap_set(&self->timers, t, self->now_ms + SL_NODE_LINGER_MS);
            continue;
        }
        if (c->state.state == A_CLAIM_RELEASED) {
            claim_forget(self, c);
            continue;
        }
        a_assert(c->state.state == A_CLAIM_RESERVED);
        c->release_reason = A_REASON_DEADLINE_EXCEEDED;
        claim_release(self, c);
    }
}

static void slept(struct sl_node *self, uint64_t slept_ms)
{
    a_list_foreach (it, &self->claims) {
        struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (c->state.state != A_CLAIM_RESERVED || c->timer.index_plus_1 == 0)
            continue;
        uint64_t left = c->timer.at_ms > self->now_ms ? c->timer.at_ms - self->now_ms : 0;
        a_heap_set(&self->timers, &c->timer, self->now_ms + (left > slept_ms ? left - slept_ms : 0));
    }
}

static void capacity_set(struct sl_node *self, const struct a_capacity *capacity)
{
    struct a_capacity left = sl_node_free(self), taken = self->capacity;
    a_capacity_sub(&taken, &left);
    self->capacity = *capacity;
    self->shrunk = self->shrunk || !a_capacity_fits(capacity, &taken);
    action_add(self, SL_NODE_CHANGED, NULL);
}

static void step_begin(struct sl_node *self, uint64_t now_ms)
{
    a_assert(now_ms >= self->now_ms);
    claims_free(&self->dead);
    self->now_ms = now_ms;
    self->n_actions = 0;
}

static void step_end(struct sl_node *self, struct sl_node_update *ret_update)
{
    timers_run(self);
    line_run(self);
    write_flush(self);
    *ret_update = (struct sl_node_update){self->actions, self->n_actions};
}

void sl_node_begin(struct sl_node *self, uint64_t now_ms, struct sl_node_update *ret_update)
{
    step_begin(self, now_ms);
    self->incarnation++;
    self->dirty = true;
    a_list_foreach (it, &self->claims) {
        struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (c->state.state == A_CLAIM_BOUND)
            action_add(self, SL_NODE_START, c);
        else if (c->state.state == A_CLAIM_RELEASING)
            action_add(self, SL_NODE_STOP, c);
    }
    step_end(self, ret_update);
}

void sl_node_step(struct sl_node *self, const struct sl_node_event *event, struct sl_node_update *ret_update)
{
    step_begin(self, event->now_ms);
    switch (event->kind) {
    case SL_NODE_EV_RESERVE:
    case SL_NODE_EV_BIND:
    case SL_NODE_EV_REVISE:
    case SL_NODE_EV_RELEASE:
    case SL_NODE_EV_CORDON:
    case SL_NODE_EV_DRAIN:
        request_add(self, event);
        break;
    case SL_NODE_EV_CAPACITY:
        capacity_set(self, &event->capacity);
        break;
    case SL_NODE_EV_ASSIGNED:
        assigned(self, event);
        break;
    case SL_NODE_EV_PERSISTED:
        persisted(self, event);
        break;
    case SL_NODE_EV_STOPPED:
        stopped(self, event);
        break;
    case SL_NODE_EV_SLEPT:
        slept(self, event->slept_ms);
        break;
    case SL_NODE_EV_TIMER:
        break;
    }
    step_end(self, ret_update);
}

uint64_t sl_node_deadline(const struct sl_node *self)
{
    return a_heap_deadline(&self->timers);
}
