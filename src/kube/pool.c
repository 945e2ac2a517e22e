/* What a pool is told: rows of pods, nodes of Starlink, answers of the API server. What follows from it is
 * planned in pool_plan.c.
 *
 * P1 rests on names. A name is drawn once and holds its place until it is known what became of it: an answer
 * that was lost, or a pod that went while a request for it was under way, leaves the place taken until no
 * such request can be carried out any more. */
#include "kube/pool.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/hash.h"
#include "base/heap.h"
#include "kube/pool_core.h"

#define BACK_OFF_MS 1000
#define BACK_OFF_MAX_MS 30000
#define RETRY_AFTER_MAX_MS 60000
#define FAILURES_MAX 16

static const struct a_sm_state states[] = {
    [SLOT_WANTED] = {"WANTED", A_SM_BIT(SLOT_CREATED) | A_SM_BIT(SLOT_SEEN) | A_SM_BIT(SLOT_ENDING)},
    [SLOT_CREATED] = {"CREATED", A_SM_BIT(SLOT_WANTED) | A_SM_BIT(SLOT_SEEN) | A_SM_BIT(SLOT_ENDING)},
    [SLOT_SEEN] = {"SEEN", A_SM_BIT(SLOT_WANTED) | A_SM_BIT(SLOT_ENDING)},
    [SLOT_ENDING] = {"ENDING", A_SM_BIT(SLOT_WANTED)},
};
static const struct a_sm_table table = {"pod", states, A_ARRAY_SIZE(states)};

struct kube_pool *kube_pool_new(const struct kube_pool_options *options)
{
    struct kube_pool *p = a_new(struct kube_pool);
    p->name = a_strdup(options->pool);
    p->installation = a_strdup(options->installation);
    p->slots.seed = p->nodes.seed = options->seed;
    p->stale = true;
    p->wake_at = A_NEVER;
    a_random_init(&p->random, options->seed);
    a_list_init(&p->order);
    pool_conditions_update(p);
    return p;
}

void kube_pool_free(struct kube_pool *p)
{
    if (p == NULL)
        return;
    pool_foreach_slot (s, p)
        pool_slot_remove(p, s);
    a_map_foreach (it, &p->nodes)
        a_free(a_map_entry(it, struct pool_node, link));
    a_map_deinit(&p->slots);
    a_map_deinit(&p->nodes);
    a_free(p->name);
    a_free(p->installation);
    a_free(p->refused);
    a_free(p->quota);
    a_free(p->stale_reason);
    a_free(p->limit);
    a_free(p->actions);
    a_free(p);
}

/* ---- slots ---- */

static void text_copy(char *to, size_t size, struct a_view from)
{
    size_t n = A_MIN(from.len, size - 1);
    memcpy(to, from.ptr, n);
    to[n] = '\0';
}

static uint64_t text_hash(struct a_view text)
{
    return a_hash_bytes(0, text.ptr, text.len);
}

struct slot *pool_slot_new(struct kube_pool *p, struct a_view name, enum slot_state state)
{
    struct slot *s = a_alloc(sizeof *s + name.len + 1);
    text_copy(s->name, name.len + 1, name);
    a_sm_init(&s->state, &table, state);
    a_map_put_str(&p->slots, &s->link, s->name);
    a_list_push_back(&p->order, &s->order);
    return s;
}

static void node_remove(struct kube_pool *p, struct pool_node *n)
{
    if (n->slot != NULL)
        n->slot->node = NULL;
    a_map_remove(&p->nodes, &n->link);
    a_free(n);
}

void pool_slot_remove(struct kube_pool *p, struct slot *s)
{
    if (s->node != NULL)
        node_remove(p, s->node);
    a_map_remove(&p->slots, &s->link);
    a_list_remove(&s->order);
    a_free(s);
}

static struct slot *slot_find(struct kube_pool *p, struct a_view name)
{
    struct a_map_link *link = a_map_get(&p->slots, name.ptr, name.len);
    return link != NULL ? a_map_entry(link, struct slot, link) : NULL;
}

static struct pool_node *node_find(struct kube_pool *p, struct a_view uid)
{
    struct a_map_link *link = a_map_get(&p->nodes, uid.ptr, uid.len);
    return link != NULL ? a_map_entry(link, struct pool_node, link) : NULL;
}

void pool_wake(struct kube_pool *p, uint64_t at_ms)
{
    if (at_ms > p->now)
        p->wake_at = A_MIN(p->wake_at, at_ms);
}

uint64_t pool_back_off(struct kube_pool *p, unsigned tries, uint64_t retry_after_ms)
{
    uint64_t ms = (uint64_t)BACK_OFF_MS << A_MIN(tries, 10u);
    ms = A_MIN(ms, BACK_OFF_MAX_MS);
    ms = ms / 2 + a_random_below(&p->random, ms / 2 + 1);
    return p->now + (retry_after_ms > 0 ? A_MIN(retry_after_ms, RETRY_AFTER_MAX_MS) : ms);
}

void pool_failure(struct kube_pool *p)
{
    if (p->failures < FAILURES_MAX)
        p->failures++;
    p->create_next = A_MAX(p->create_next, p->now + (p->failures > 1 ? POOL_PACE_MS : 1000));
}

/* ---- pods ---- */

/* The pod is not there any more. Its place stays taken while a request that would make it again may be
 * carried out. */
static void slot_gone(struct kube_pool *p, struct slot *s)
{
    if (!s->creating && s->uncertain_until <= p->now) {
        pool_slot_remove(p, s);
        return;
    }
    if (s->node != NULL)
        node_remove(p, s->node);
    if (s->state.state != SLOT_WANTED)
        a_sm_move(&s->state, SLOT_WANTED, s->name);
    s->uid[0] = '\0';
    s->phase = KUBE_PHASE_UNKNOWN;
    s->ready = s->scheduled = s->unschedulable = s->made = false;
    s->deleting = s->delete_taken = s->dismissed = s->drain_asked = s->failure_counted = false;
    s->delete_at = s->since = 0; /* whatever comes under this name is another pod */
}

/* P2: it was let go while nothing had begun on it. Now something may have. */
static void not_waiting(struct slot *s)
{
    s->dismissed = s->dismissed && (s->deleting || s->delete_taken);
}

static void slot_see(struct kube_pool *p, struct slot *s, const struct kube_row *row)
{
    const struct kube_pod *pod = kube_row_pod(row);
    enum slot_state seen = pod->deleted_s != 0 ? SLOT_ENDING : SLOT_SEEN;
    text_copy(s->uid, sizeof s->uid, kube_row_uid(row));
    s->template = text_hash(kube_row_text(row, pod->template));
    if (s->state.state != (int)seen && s->state.state != SLOT_ENDING)
        a_sm_move(&s->state, (int)seen, s->name);
    if (pod->scheduled && !s->scheduled) {
        s->since = p->now;
        not_waiting(s);
    }
    s->made = false;
    s->phase = (enum kube_phase)pod->phase;
    s->ready = s->ready || pod->ready; /* it has joined once */
    s->scheduled = pod->scheduled;
    s->unschedulable = pod->unschedulable;
    if (s->node == NULL && (s->node = node_find(p, kube_row_uid(row))) != NULL)
        s->node->slot = s;
}

static void pod_take(struct kube_pool *p, const struct kube_row *row)
{
    const struct kube_pod *pod = kube_row_pod(row);
    struct slot *s = slot_find(p, kube_row_name(row));
    bool ours = a_view_is(kube_row_text(row, pod->pool), p->name) &&
                a_view_is(kube_row_text(row, pod->installation), p->installation); /* P3 */
    if (s != NULL && s->uid[0] != '\0' && !a_view_is(kube_row_uid(row), s->uid)) {
        slot_gone(p, s); /* another pod of that name */
        s = slot_find(p, kube_row_name(row));
    }
    if (!ours) {
        if (s != NULL && s->uid[0] != '\0')
            slot_gone(p, s);
        return;
    }
    if (s == NULL && kube_row_name(row).len <= KUBE_POD_NAME_MAX && kube_row_uid(row).len <= KUBE_UID_MAX)
        s = pool_slot_new(p, kube_row_name(row), SLOT_WANTED);
    if (s != NULL)
        slot_see(p, s, row);
}

static void pod_gone(struct kube_pool *p, const struct kube_row *row)
{
    struct slot *s = slot_find(p, kube_row_name(row));
    if (s != NULL && a_view_is(kube_row_uid(row), s->uid))
        slot_gone(p, s);
}

/* ---- nodes ---- */

static void node_take(struct kube_pool *p, const struct kube_pool_event *e)
{
    struct pool_node *n = node_find(p, e->node.pod_uid);
    if (n == NULL && (e->node.state == KUBE_NODE_LEFT || e->node.pod_uid.len > KUBE_UID_MAX))
        return;
    if (n == NULL) {
        n = a_new(struct pool_node);
        text_copy(n->uid, sizeof n->uid, e->node.pod_uid);
        a_map_put_str(&p->nodes, &n->link, n->uid);
        pool_foreach_slot (s, p) {
            if (!a_view_is(e->node.pod_uid, s->uid))
                continue;
            s->node = n;
            n->slot = s;
            not_waiting(s);
        }
        p->failures = 0; /* pods come up again */
    }
    n->id = e->node.node;
    n->state = e->node.state;
    n->claims = e->node.claims;
    if (n->slot == NULL && n->state == KUBE_NODE_LEFT)
        node_remove(p, n);
}

/* ---- answers ---- */

static bool is_unclear(int status)
{
    return status == 0 || status >= 500;
}

static void text_set(char **text, struct a_view words)
{
    a_free(*text);
    *text = a_strndup(words.ptr, A_MIN(words.len, 200));
}

static void refusal_note(struct kube_pool *p, const struct kube_pool_event *e)
{
    struct a_view words = e->result.message;
    bool quota = e->result.status == 403 && words.len > 0 &&
                 memmem(words.ptr, words.len, "exceeded quota", 14) != NULL;
    text_set(quota ? &p->quota : &p->refused, words);
}

static void create_answer(struct kube_pool *p, struct slot *s, const struct kube_pool_event *e)
{
    int status = e->result.status;
    s->creating = false;
    if (is_unclear(status))
        s->uncertain_until = p->now + POOL_UNCERTAIN_MS;
    if (s->state.state != SLOT_WANTED)
        return; /* the watch was faster */
    if (status >= 200 && status < 300) {
        a_sm_move(&s->state, SLOT_CREATED, s->name);
        s->since = p->now;
        s->tries = 0;
        a_free(a_steal(&p->quota));
        a_free(a_steal(&p->refused));
        return;
    }
    if (is_unclear(status) || status == 429) {
        s->create_at = pool_back_off(p, s->tries++, e->result.retry_after_ms);
        return;
    }
    refusal_note(p, e);
    pool_failure(p);
    if (s->uncertain_until <= p->now && !s->made)
        pool_slot_remove(p, s); /* it was never made, and never will be */
    else
        s->create_at = A_MAX(s->uncertain_until, p->now + POOL_PACE_MS);
}

static void delete_answer(struct kube_pool *p, struct slot *s, const struct kube_pool_event *e)
{
    int status = e->result.status;
    s->deleting = false;
    if ((status >= 200 && status < 300) || status == 404 || status == 409) {
        s->delete_taken = true; /* or it is gone, or another one: the watch tells */
        s->delete_at = p->now + POOL_SHOW_MS;
        s->tries = 0;
        return;
    }
    s->delete_at = pool_back_off(p, s->tries++, e->result.retry_after_ms);
    s->dismissed = s->dismissed && s->node == NULL; /* P2: it joined meanwhile */
}

static void result_take(struct kube_pool *p, const struct kube_pool_event *e)
{
    struct slot *s = slot_find(p, e->result.name);
    if (s == NULL)
        return;
    if (e->result.verb == KUBE_POOL_CREATE && s->creating)
        create_answer(p, s, e);
    else if (e->result.verb == KUBE_POOL_DELETE && s->deleting)
        delete_answer(p, s, e);
}

/* ---- the step ---- */

static void spec_take(struct kube_pool *p, const struct kube_pool_event *e)
{
    if (!p->have_spec)
        p->calm_since = p->now; /* the schedulers have not spoken yet */
    p->have_spec = true;
    p->min = A_MIN(e->spec.min, e->spec.max);
    p->max = e->spec.max;
    p->headroom = e->spec.headroom;
    a_free(a_steal(&p->limit));
    if (e->spec.limit.len > 0)
        text_set(&p->limit, e->spec.limit);
    p->surge = e->spec.surge > 0 ? e->spec.surge : A_MAX(e->spec.max / 10, POOL_SURGE_MIN);
    p->grace_ms = e->spec.grace_ms;
    if (text_hash(e->spec.template) != p->template) {
        p->template = text_hash(e->spec.template);
        p->failures = 0; /* of another template */
        p->create_next = 0;
    }
}

static void event_take(struct kube_pool *p, const struct kube_pool_event *e)
{
    switch (e->type) {
    case KUBE_POOL_TICK:
        return;
    case KUBE_POOL_SPEC:
        spec_take(p, e);
        break;
    case KUBE_POOL_POD:
        pod_take(p, e->row);
        break;
    case KUBE_POOL_GONE:
        pod_gone(p, e->row);
        break;
    case KUBE_POOL_NODE:
        node_take(p, e);
        break;
    case KUBE_POOL_DEMAND:
        p->demand = e->demand;
        if (e->demand > 0)
            p->calm_since = p->now;
        break;
    case KUBE_POOL_RESULT:
        result_take(p, e);
        break;
    case KUBE_POOL_SYNCED:
        p->stale = false;
        p->known = true;
        p->synced_at = p->now;
        break;
    case KUBE_POOL_STALE:
        p->stale = true;
        text_set(&p->stale_reason, e->reason);
        break;
    }
    p->dirty = true;
}

void kube_pool_step(struct kube_pool *p, const struct kube_pool_event *e, struct kube_pool_update *ret)
{
    struct kube_pool_update u = {0};
    p->now = A_MAX(p->now, e->now_ms);
    p->n_actions = 0;
    event_take(p, e);
    if (e->type == KUBE_POOL_TICK && p->now >= kube_pool_deadline(p)) {
        p->dirty = false;
        p->planned_at = p->now;
        p->wake_at = A_NEVER;
        pool_plan(p);
        u.conditions = pool_conditions_update(p);
    }
    u.actions = p->actions;
    u.n_actions = p->n_actions;
    *ret = u;
}

uint64_t kube_pool_deadline(const struct kube_pool *p)
{
    if (!p->have_spec)
        return A_NEVER;
    if (!p->dirty)
        return p->wake_at;
    return A_MIN(p->wake_at, p->planned_at + POOL_PLAN_MS + p->slots.len / POOL_PLAN_PODS);
}

struct kube_pool_status kube_pool_status(const struct kube_pool *p)
{
    return p->status;
}

bool kube_pool_is_known(const struct kube_pool *p)
{
    return p->known;
}

size_t kube_pool_count(const struct kube_pool *p)
{
    return p->slots.len;
}

const struct kube_pool_condition *kube_pool_conditions(const struct kube_pool *p)
{
    return p->conditions;
}
