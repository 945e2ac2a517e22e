/* A gang: the members of a unit (or one that is replaced) on their way to nodes.
 *
 *   OPEN -> SENT -> GRANTED -> BINDING -> BOUND          each member
 *
 * A member falls back to OPEN when its node refuses, stays silent or goes away, and takes a fresh attempt
 * with it: whatever the old attempt left behind is released by its own name. Once all are GRANTED the owner
 * decides (COMMIT); from then on the gang is bound whole or fails whole. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "starlink/sched/private.h"

static enum sl_unfit gang_fit(const void *context, const struct sl_view_node *node)
{
    const struct gang *gang = context;
    if (node->unfit != SL_UNFIT_NONE)
        return node->unfit;
    if (!request_runs_on(&gang->request, node))
        return SL_UNFIT_ARCH;
    for (size_t i = 0; i < gang->n_shuns; i++)
        if (gang->shuns[i].until_ms > gang->sched->now_ms && strcmp(gang->shuns[i].node.s, node->id.s) == 0)
            return SL_UNFIT_REFUSED;
    if (sl_view_is_foreign(node, &gang->request.app.namespace))
        return SL_UNFIT_NAMESPACE;
    return node->in_flight != 0 ? SL_UNFIT_BUSY : SL_UNFIT_NONE;
}

static void gang_shun(struct gang *gang, const struct a_node_id *node)
{
    uint64_t until = gang->sched->now_ms + SL_SCHED_SHUN_MS;
    for (size_t i = 0; i < gang->n_shuns; i++)
        if (strcmp(gang->shuns[i].node.s, node->s) == 0) {
            gang->shuns[i].until_ms = until;
            return;
        }
    gang->shuns = a_realloc(gang->shuns, (gang->n_shuns + 1) * sizeof *gang->shuns);
    gang->shuns[gang->n_shuns++] = (struct gang_shun){*node, until};
}

static void *copy(const void *items, size_t n, size_t size)
{
    void *out = a_alloc_array(n, size);
    if (n > 0)
        memcpy(out, items, n * size);
    return out;
}

void gang_free(struct gang *gang)
{
    a_heap_remove(&gang->sched->gang_timers, &gang->timer);
    a_list_remove(&gang->link);
    for (size_t i = 0; i < gang->request.n_members; i++)
        a_free(gang->places[i].grant);
    a_free(gang->places);
    a_free((void *)gang->request.members);
    a_free((void *)gang->request.used);
    a_free((void *)gang->request.archs);
    a_free(gang->shuns);
    a_free(gang);
}

static struct gang *gang_find(struct sl_sched *self, uint64_t number)
{
    a_list_foreach (it, &self->gangs) {
        struct gang *gang = a_list_entry(it, struct gang, link);
        if (gang->request.gang == number)
            return gang;
    }
    return NULL;
}

static void gang_arm(struct gang *gang)
{
    uint64_t at = gang->started_ms == A_NEVER ? A_NEVER : gang->started_ms + SL_SCHED_GANG_MS;
    for (size_t i = 0; i < gang->request.n_members; i++) {
        const struct gang_place *p = &gang->places[i];
        if (p->step == GANG_SENT)
            at = A_MIN(at, p->sent_ms + SL_SCHED_REPLY_MS);
        if (p->step == GANG_BINDING)
            at = A_MIN(at, p->sent_ms + SL_SCHED_RESEND_MS);
    }
    a_heap_set(&gang->sched->gang_timers, &gang->timer, at);
}

static struct sl_claim_order gang_order(const struct gang *gang, size_t i)
{
    const struct sl_gang_request *r = &gang->request;
    return (struct sl_claim_order){
        .id = {.app_uid = r->app_uid,
               .unit = r->unit,
               .member = r->members[i].name,
               .attempt = gang->places[i].attempt},
        .app = r->app,
        .store_id = r->store_id,
        .epoch = r->epoch,
        .revision = r->revision,
        .head = r->members[i].head,
        .capacity = r->members[i].capacity,
        .life_ms = SL_SCHED_RESERVATION_MS,
        .reason = A_REASON_SUPERSEDED,
    };
}

static void gang_send(struct gang *gang, size_t i, enum sl_sched_update_type type)
{
    struct sl_sched_update_item *item = sched_tell(gang->sched, type, gang->request.gang);
    item->node = gang->places[i].node;
    item->order = gang_order(gang, i);
    gang->places[i].sent_ms = gang->sched->now_ms;
}

static void place_leave_node(struct gang *gang, struct gang_place *p)
{
    struct sl_view_node *node = sl_view_get(&gang->sched->view, &p->node);
    if (p->step == GANG_SENT && node != NULL && node->in_flight == gang->request.gang) {
        node->in_flight = 0;
        node->pending = (struct a_capacity){0};
    }
}

/* Back to OPEN; `release`: the node may hold something of this attempt. */
static void place_reset(struct gang *gang, size_t i, bool release)
{
    struct gang_place *p = &gang->places[i];
    if (p->step == GANG_OPEN)
        return;
    place_leave_node(gang, p);
    if (release) {
        struct sl_claim_order order = gang_order(gang, i);
        release_start(gang->sched, &p->node, &order);
    }
    a_free(a_steal(&p->grant));
    p->grant_len = 0;
    p->step = GANG_OPEN;
}

static void gang_release_all(struct gang *gang)
{
    for (size_t i = 0; i < gang->request.n_members; i++)
        place_reset(gang, i, true);
    gang->started_ms = A_NEVER;
    gang->granted = false;
}

static void gang_fail(struct gang *gang, enum a_reason reason, const struct sl_explain *explain)
{
    uint32_t attempt_max = 0;
    for (size_t i = 0; i < gang->request.n_members; i++)
        attempt_max = A_MAX(attempt_max, gang->places[i].next_attempt - 1);
    gang_release_all(gang);
    struct sl_sched_update_item *item = sched_tell(gang->sched, SL_SCHED_FAILED, gang->request.gang);
    item->reason = reason;
    item->attempt_max = attempt_max;
    if (explain != NULL)
        item->explain = *explain;
    gang_free(gang);
}

static void gang_tell_placed(struct gang *gang, enum sl_sched_update_type type)
{
    struct sl_sched *self = gang->sched;
    const struct sl_gang_request *r = &gang->request;
    struct sl_placed *placed = a_arena_alloc(&self->arena, r->n_members * sizeof *placed);
    for (size_t i = 0; i < r->n_members; i++) {
        const struct gang_place *p = &gang->places[i];
        const struct sl_view_node *node = sl_view_get(&self->view, &p->node);
        placed[i] = (struct sl_placed){.name = r->members[i].name,
                                       .head = r->members[i].head,
                                       .attempt = p->attempt,
                                       .node = p->node,
                                       .capacity = r->members[i].capacity};
        if (node != NULL) {
            placed[i].cluster = node->cluster;
            placed[i].zone = node->zone;
            memcpy(placed[i].host, node->host, sizeof placed[i].host);
        }
        if (p->grant_len > 0)
            placed[i].grant =
                (struct a_view){a_arena_strndup(&self->arena, p->grant, p->grant_len), p->grant_len};
    }
    struct sl_sched_update_item *item = sched_tell(self, type, r->gang);
    item->placed = placed;
    item->n_placed = r->n_members;
}

static bool gang_all(const struct gang *gang, enum gang_step step)
{
    for (size_t i = 0; i < gang->request.n_members; i++)
        if (gang->places[i].step != step)
            return false;
    return true;
}

static void place_reserve(struct gang *gang, size_t i, struct sl_view_node *node)
{
    struct gang_place *p = &gang->places[i];
    if (node->in_flight != 0)
        return; /* another member of this gang goes there first */
    node->in_flight = gang->request.gang;
    node->pending = gang->request.members[i].capacity;
    p->node = node->id;
    p->attempt = p->next_attempt++;
    p->step = GANG_SENT;
    if (gang->started_ms == A_NEVER)
        gang->started_ms = gang->sched->now_ms;
    gang_send(gang, i, SL_SCHED_SEND_RESERVE);
}

enum choice { CHOSEN, WAIT, NOWHERE };

static enum choice gang_choose(struct gang *gang, struct sl_explain *ret_explain)
{
    struct sl_sched *self = gang->sched;
    size_t n = gang->request.n_members;
    struct sl_policy_short missing;
    A_AUTOFREE struct sl_view_node **fixed = a_alloc_array(n, sizeof *fixed);
    A_AUTOFREE struct sl_view_node **nodes = a_alloc_array(n, sizeof *nodes);
    for (size_t i = 0; i < n; i++)
        if (gang->places[i].step != GANG_OPEN)
            fixed[i] = sl_view_get(&self->view, &gang->places[i].node);
    const struct sl_policy_input input = {&self->view, &gang->request, fixed, gang_fit, gang};
    if (!self->policy->choose(&input, nodes, &missing)) {
        explain_make(&input, &missing, ret_explain);
        ret_explain->refused = gang->refused;
        return ret_explain->unfit[SL_UNFIT_BUSY] > 0 ? WAIT : NOWHERE;
    }
    for (size_t i = 0; i < n; i++)
        if (gang->places[i].step == GANG_OPEN)
            place_reserve(gang, i, nodes[i]);
    return CHOSEN;
}

/* Sends what can be sent; the gang may be gone afterwards. */
static void gang_try(struct gang *gang)
{
    struct sl_explain explain;
    bool reserved = gang->started_ms != A_NEVER;
    enum choice choice = gang_choose(gang, &explain);
    if (choice == NOWHERE && reserved) { /* its cluster cannot take the rest: look at all of them again */
        gang_release_all(gang);
        choice = gang_choose(gang, &explain);
    }
    if (choice == NOWHERE)
        gang_fail(gang, A_REASON_NO_CAPACITY, &explain);
    else
        gang_arm(gang);
}

void gang_kick(struct sl_sched *self)
{
    a_list_foreach_safe (it, &self->gangs) {
        struct gang *gang = a_list_entry(it, struct gang, link);
        bool open = false;
        for (size_t i = 0; i < gang->request.n_members; i++)
            open = open || gang->places[i].step == GANG_OPEN;
        if (open)
            gang_try(gang);
    }
}

void gang_place(struct sl_sched *self, const struct sl_gang_request *request)
{
    a_assert(request->gang != 0 && gang_find(self, request->gang) == NULL);
    a_assert(request->n_members > 0 && request->n_members <= SL_SCHED_MEMBERS_MAX);
    struct gang *gang = a_new(struct gang);
    gang->sched = self;
    gang->request = *request;
    gang->request.members = copy(request->members, request->n_members, sizeof *request->members);
    gang->request.used = copy(request->used, request->n_used, sizeof *request->used);
    gang->request.archs = copy(request->archs, request->n_archs, sizeof *request->archs);
    gang->places = a_alloc_array(request->n_members, sizeof *gang->places);
    gang->started_ms = A_NEVER;
    for (size_t i = 0; i < request->n_members; i++)
        gang->places[i].next_attempt = request->members[i].attempt;
    a_list_push_back(&self->gangs, &gang->link); /* gang_kick sends */
}

void gang_cancel(struct sl_sched *self, uint64_t number)
{
    struct gang *gang = gang_find(self, number);
    if (gang == NULL)
        return;
    gang_release_all(gang);
    gang_free(gang);
}

void gang_commit(struct sl_sched *self, uint64_t number)
{
    struct gang *gang = gang_find(self, number);
    if (gang == NULL || !gang->granted || gang->committed)
        return;
    gang->committed = true;
    for (size_t i = 0; i < gang->request.n_members; i++) {
        gang->places[i].step = GANG_BINDING;
        gang_send(gang, i, SL_SCHED_SEND_BIND);
    }
    gang_arm(gang);
}

static void place_granted(struct gang *gang, size_t i, const struct sl_sched_event *e)
{
    struct gang_place *p = &gang->places[i];
    struct sl_view_node *node = sl_view_get(&gang->sched->view, &p->node);
    place_leave_node(gang, p);
    if (node != NULL && e->reply.free == NULL)
        a_capacity_sub(&node->free, &gang->request.members[i].capacity);
    p->step = GANG_GRANTED;
    p->grant = a_strndup(e->reply.grant.len > 0 ? e->reply.grant.ptr : "", e->reply.grant.len);
    p->grant_len = e->reply.grant.len;
    if (!gang_all(gang, GANG_GRANTED))
        return;
    gang->granted = true;
    gang_tell_placed(gang, SL_SCHED_GRANTED);
}

/* The node has nothing of this attempt (any more). */
static void place_gone(struct gang *gang, size_t i)
{
    gang_shun(gang, &gang->places[i].node);
    place_reset(gang, i, false);
    if (gang->granted) /* its owner was told already: whole or nothing */
        gang_fail(gang, A_REASON_NODE_LOST, NULL);
    else
        gang_arm(gang);
}

static void place_bound(struct gang *gang, size_t i)
{
    gang->places[i].step = GANG_BOUND;
    if (gang_all(gang, GANG_BOUND)) {
        gang_tell_placed(gang, SL_SCHED_BOUND);
        gang_free(gang);
    } else {
        gang_arm(gang);
    }
}

static bool place_is(const struct gang *gang, size_t i, const struct a_node_id *node,
                     const struct a_claim_id *id)
{
    const struct gang_place *p = &gang->places[i];
    return p->step != GANG_OPEN && p->attempt == id->attempt && strcmp(p->node.s, node->s) == 0 &&
           strcmp(gang->request.members[i].name.s, id->member.s) == 0;
}

/* The gang and member that a claim belongs to. */
static struct gang *gang_of_claim(struct sl_sched *self, const struct a_node_id *node,
                                  const struct a_claim_id *id, size_t *ret_i)
{
    a_list_foreach (it, &self->gangs) {
        struct gang *gang = a_list_entry(it, struct gang, link);
        if (strcmp(gang->request.unit.s, id->unit.s) != 0 ||
            strcmp(gang->request.app_uid.s, id->app_uid.s) != 0)
            continue;
        for (size_t i = 0; i < gang->request.n_members; i++)
            if (place_is(gang, i, node, id)) {
                *ret_i = i;
                return gang;
            }
    }
    return NULL;
}

void gang_reply(struct sl_sched *self, const struct sl_sched_event *e)
{
    size_t i;
    struct gang *gang = gang_of_claim(self, &e->node, &e->reply.id, &i);
    if (gang == NULL)
        return;
    enum gang_step step = gang->places[i].step;
    struct sl_view_node *node = sl_view_get(&self->view, &e->node);
    if (node != NULL && e->reply.free != NULL)
        node->free = *e->reply.free;
    if (e->reply.what == SL_REPLY_REFUSED)
        gang->refused = e->reply.reason;
    if (e->reply.what == SL_REPLY_GRANTED && step == GANG_SENT) {
        place_granted(gang, i, e);
        gang_arm(gang);
    } else if (e->reply.what == SL_REPLY_BOUND && step == GANG_BINDING) {
        place_bound(gang, i);
    } else if (e->reply.what == SL_REPLY_GONE ||
               (e->reply.what == SL_REPLY_REFUSED && (step == GANG_SENT || step == GANG_BINDING))) {
        place_gone(gang, i);
    }
}

void gang_claim_gone(struct sl_sched *self, const struct a_node_id *node, const struct a_claim_id *id)
{
    size_t i;
    struct gang *gang = gang_of_claim(self, node, id, &i);
    if (gang != NULL)
        place_gone(gang, i);
}

/* Silent or away: whatever it holds is released, another node is asked. */
static void place_give_up(struct gang *gang, size_t i)
{
    gang_shun(gang, &gang->places[i].node);
    place_reset(gang, i, true);
}

void gang_node_changed(struct sl_sched *self, const struct a_node_id *id)
{
    const struct sl_view_node *node = sl_view_get(&self->view, id);
    if (node != NULL && node->connected)
        return;
    a_list_foreach (it, &self->gangs) {
        struct gang *gang = a_list_entry(it, struct gang, link);
        for (size_t i = 0; i < gang->request.n_members && !gang->granted; i++)
            if (gang->places[i].step != GANG_OPEN && strcmp(gang->places[i].node.s, id->s) == 0)
                place_give_up(gang, i);
    }
}

void gang_timer(struct gang *gang)
{
    uint64_t now = gang->sched->now_ms;
    if (gang->started_ms != A_NEVER && now - gang->started_ms >= SL_SCHED_GANG_MS) {
        gang_fail(gang, A_REASON_DEADLINE_EXCEEDED, NULL);
        return;
    }
    for (size_t i = 0; i < gang->request.n_members; i++) {
        struct gang_place *p = &gang->places[i];
        if (p->step == GANG_SENT && now - p->sent_ms >= SL_SCHED_REPLY_MS)
            place_give_up(gang, i);
        else if (p->step == GANG_BINDING && now - p->sent_ms >= SL_SCHED_RESEND_MS)
            gang_send(gang, i, SL_SCHED_SEND_BIND);
    }
    gang_arm(gang);
}
