/* The plan of a pool: what there is against what should be. Each plan looks at all pods and starts from
 * nothing, so that a request which failed, an event that was missed and a wish that changed are all put right
 * by the next one.
 *
 * Order: requests that are due again, deletions of what is over, pods too many, pods of an old template, pods
 * too few. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/heap.h"
#include "kube/pool_core.h"

#define SUFFIX_LEN 5

struct plan {
    struct kube_pool *p;
    uint32_t pods;     /* P1: all that do not end */
    uint32_t alive;    /* of these, what stays: not over, not to be drained or deleted */
    uint32_t coming;   /* P4: not joined yet */
    uint32_t up, busy; /* with their agent; of these with a claim, or of which nothing certain is known */
    uint32_t draining, outdated, wanted;
    uint32_t joined, free, terminating, unschedulable; /* for people alone */
    uint32_t budget;                                   /* P4: so many may be drained at once */
    bool calm;                                         /* P4: no demand for long enough */
};

static void action_add(struct kube_pool *p, enum kube_pool_verb verb, struct slot *s)
{
    if (p->n_actions == p->cap_actions) {
        p->cap_actions = p->cap_actions == 0 ? 16 : p->cap_actions * 2;
        p->actions = a_realloc(p->actions, p->cap_actions * sizeof *p->actions);
    }
    struct kube_pool_action a = {.verb = verb, .name = s->name, .uid = s->uid[0] != '\0' ? s->uid : NULL};
    if (verb == KUBE_POOL_DRAIN || verb == KUBE_POOL_KEEP)
        a.node = s->node->id;
    if (verb == KUBE_POOL_DELETE)
        a.grace_ms = p->grace_ms;
    p->actions[p->n_actions++] = a;
}

/* Whether `at` has come; else the pool wakes then. */
static bool is_due(struct kube_pool *p, uint64_t at)
{
    if (p->now >= at)
        return true;
    pool_wake(p, at);
    return false;
}

/* When something that is to be seen on the watch should have been: the watch must have been fresh all the
 * while. */
static uint64_t shown_by(const struct kube_pool *p, uint64_t from, uint64_t within_ms)
{
    return A_MAX(from, p->synced_at) + within_ms;
}

static bool is_unknown(const struct slot *s)
{
    return s->state.state == SLOT_SEEN && !slot_is_leaving(s) &&
           (s->node == NULL ? s->ready : s->node->state != KUBE_NODE_JOINED);
}

uint32_t kube_pool_held(const struct kube_pool *p)
{
    uint32_t n = 0;
    pool_foreach_slot (s, p)
        n += s->state.state != SLOT_ENDING || s->creating || s->uncertain_until > p->now;
    return n;
}

static void slot_count(struct plan *plan, const struct slot *s)
{
    if (s->state.state ==
        SLOT_ENDING) { /* P6; but while its name may come up once more it holds its place (P1) */
        plan->pods += s->creating || !is_due(plan->p, s->uncertain_until);
        plan->terminating++;
        return;
    }
    plan->pods++;
    plan->joined += s->node != NULL && s->node->state != KUBE_NODE_LEFT;
    plan->free += slot_is_free(s);
    plan->unschedulable += s->unschedulable && s->state.state == SLOT_SEEN;
    plan->alive += !slot_is_leaving(s);
    plan->coming += slot_is_coming(s);
    plan->up += slot_is_up(s);
    plan->busy += (slot_is_up(s) && s->node->claims > 0) || is_unknown(s);
    plan->draining += s->drain_asked;
    plan->outdated += slot_is_outdated(plan->p, s) && !slot_is_leaving(s);
    plan->wanted += s->state.state == SLOT_WANTED;
}

/* ---- what is due again ---- */

/* The server said yes to it, and then it was not there: whoever took it away, it is asked for again under the
 * same name (P1). */
static void created_step(struct kube_pool *p, struct slot *s)
{
    if (s->state.state != SLOT_CREATED || p->stale || !is_due(p, shown_by(p, s->since, POOL_SHOW_MS)))
        return;
    a_sm_move(&s->state, SLOT_WANTED, s->name);
    s->create_at = p->now;
    s->made = true;
}

/* P4: over, or it has not joined in all that time. */
static void failure_step(struct kube_pool *p, struct slot *s)
{
    if (s->state.state != SLOT_SEEN || p->stale || s->node != NULL || s->ready)
        return;
    bool late = s->scheduled && !slot_is_over(s) && is_due(p, shown_by(p, s->since, POOL_JOIN_MS));
    if (late)
        s->dismissed = true;
    if ((late || slot_is_over(s)) && !s->failure_counted) {
        s->failure_counted = true;
        pool_failure(p);
    }
}

static bool is_to_be_deleted(const struct slot *s)
{
    if (s->state.state != SLOT_SEEN)
        return false;
    if (slot_is_over(s) || s->dismissed)
        return true;
    return s->drain_asked && s->node != NULL && s->node->state == KUBE_NODE_DRAINED &&
           s->node->claims == 0; /* P2 */
}

static void delete_step(struct kube_pool *p, struct slot *s)
{
    if (p->stale || s->deleting || !is_to_be_deleted(s)) /* P5 */
        return;
    if (!is_due(p, s->delete_taken ? shown_by(p, s->delete_at - POOL_SHOW_MS, POOL_SHOW_MS) : s->delete_at))
        return;
    s->deleting = true;
    action_add(p, KUBE_POOL_DELETE, s);
}

static void drain(struct plan *plan, struct slot *s)
{
    s->drain_asked = true;
    s->drain_at = plan->p->now + POOL_DRAIN_MS;
    plan->draining++;
    plan->alive--;
    plan->up--;
    action_add(plan->p, KUBE_POOL_DRAIN, s);
}

/* A node that was to be drained and does not: the request was lost, or its agent has restarted. */
static void drain_step(struct kube_pool *p, struct slot *s)
{
    if (!s->drain_asked || s->delete_taken || s->node == NULL || s->node->state != KUBE_NODE_JOINED ||
        p->stale)
        return;
    if (!is_due(p, s->drain_at))
        return;
    s->drain_at = p->now + POOL_DRAIN_MS;
    action_add(p, KUBE_POOL_DRAIN, s);
}

/* ---- pods too many ---- */

static bool is_waiting(const struct slot *s)
{
    return s->state.state == SLOT_SEEN && !s->scheduled && s->node == NULL && !s->ready &&
           !slot_is_leaving(s);
}

/* At most `n` pods that wait for a node are let go: nothing has begun on them. */
static uint32_t waiting_dismiss(struct plan *plan, uint32_t n, bool outdated)
{
    pool_foreach_slot (s, plan->p) {
        if (n == 0)
            break;
        if (!is_waiting(s) || (outdated && !slot_is_outdated(plan->p, s)))
            continue;
        s->dismissed = true;
        plan->alive--;
        plan->coming--;
        n--;
        delete_step(plan->p, s);
    }
    return n;
}

enum which {
    FREE_OUTDATED,
    FREE,
    BUSY_OUTDATED,
    BUSY,
};

static bool is_which(const struct plan *plan, const struct slot *s, enum which which)
{
    if (which == FREE_OUTDATED || which == FREE)
        return slot_is_free(s) && (which == FREE || slot_is_outdated(plan->p, s));
    return slot_is_up(s) && (which == BUSY || slot_is_outdated(plan->p, s));
}

static uint32_t some_drain(struct plan *plan, uint32_t n, enum which which)
{
    pool_foreach_slot (s, plan->p) {
        if (n == 0 || plan->draining >= plan->budget)
            break;
        if (!is_which(plan, s, which))
            continue;
        drain(plan, s);
        n--;
    }
    return n;
}

/* P8: what is to be there while nothing waits. */
static uint32_t kept(const struct plan *plan)
{
    uint64_t busy = (uint64_t)plan->busy + plan->p->headroom;
    return A_MAX(plan->p->min, (uint32_t)A_MIN(busy, (uint64_t)UINT32_MAX));
}

/* P2, P4: what nobody needs goes once it has been quiet; what is above max goes in any case, busy or not, but
 * not before it was emptied. While a template is being replaced the pods that replace others are no surplus.
 */
static void shrink(struct plan *plan)
{
    struct kube_pool *p = plan->p;
    uint32_t spare = plan->outdated > 0 ? plan->budget : 0;
    uint64_t keep = (uint64_t)kept(plan) + spare;
    uint32_t over = plan->alive > p->max ? plan->alive - p->max : 0;
    uint32_t surplus = plan->calm && plan->alive > keep ? plan->alive - (uint32_t)keep : 0;
    if (p->stale || (over == 0 && surplus == 0))
        return;
    uint32_t left = waiting_dismiss(plan, A_MAX(over, surplus), false);
    left = some_drain(plan, left, FREE_OUTDATED);
    left = some_drain(plan, left, FREE);
    uint32_t gone = A_MAX(over, surplus) - left;
    if (over > gone) {
        left = some_drain(plan, over - gone, BUSY_OUTDATED);
        (void)some_drain(plan, left, BUSY);
    }
}

/* ---- pods of an old template ---- */

/* In turn: one more comes up before one goes, unless max leaves no room for that. */
static void roll(struct plan *plan)
{
    struct kube_pool *p = plan->p;
    if (p->stale || plan->outdated == 0)
        return;
    (void)waiting_dismiss(plan, plan->budget, true);
    uint32_t needed = A_MAX(p->min, plan->busy);
    bool no_room = plan->pods >= p->max && plan->coming == 0;
    while (plan->draining < plan->budget && (plan->up > needed || no_room)) {
        uint32_t before = plan->draining;
        if (some_drain(plan, 1, FREE_OUTDATED) > 0)
            (void)some_drain(plan, 1, BUSY_OUTDATED);
        if (plan->draining == before)
            return;
    }
}

/* ---- pods too few ---- */

/* What there should be without any demand: min, and beside what is busy the headroom; while a template is
 * replaced a few more. */
static uint32_t base(const struct plan *plan)
{
    const struct kube_pool *p = plan->p;
    uint64_t n = p->headroom > 0 ? kept(plan) : p->min;
    if (plan->outdated > 0)
        n = (uint64_t)kept(plan) + plan->budget;
    return (uint32_t)A_MIN(n, (uint64_t)p->max);
}

static uint32_t wish(const struct plan *plan)
{
    const struct kube_pool *p = plan->p;
    uint64_t more = p->demand > 0 ? (uint64_t)p->demand + p->headroom : 0; /* what is free is taken, too */
    uint64_t extra = more > plan->coming ? more - plan->coming : 0;
    uint64_t n = A_MAX(plan->alive + extra, (uint64_t)base(plan));
    return (uint32_t)A_MIN(n, (uint64_t)p->max);
}

/* A node that we empty is as good as a new one, unless it is emptied for its template. */
static void some_keep(struct plan *plan, uint32_t wanted)
{
    if (plan->draining == 0)
        return;
    pool_foreach_slot (s, plan->p) {
        bool may = s->state.state == SLOT_SEEN && s->drain_asked && !s->deleting && !s->delete_taken &&
                   !slot_is_over(s) && !s->dismissed && s->node != NULL && s->node->state != KUBE_NODE_LEFT &&
                   !slot_is_outdated(plan->p, s);
        if (!may || plan->alive >= wanted)
            continue;
        s->drain_asked = false;
        plan->draining--;
        plan->alive++;
        action_add(plan->p, KUBE_POOL_KEEP, s);
    }
}

/* POOL-xxxxx, of none that we know. */
static struct slot *name_draw(struct kube_pool *p)
{
    char suffix[SUFFIX_LEN + 1];
    A_BUF_AUTO struct a_buf name = {0};
    do {
        a_random_name(&p->random, suffix, SUFFIX_LEN);
        a_buf_reset(&name);
        a_buf_addf(&name, "%s-%s", p->name, suffix);
    } while (a_map_get_str(&p->slots, name.ptr) != NULL);
    return pool_slot_new(p, a_buf_view(&name), SLOT_WANTED);
}

/* How many may be on the way at once (P4). */
static uint32_t pace(struct kube_pool *p)
{
    return A_MAX(p->surge >> A_MIN(p->failures, 31u), 1u);
}

static void grow(struct plan *plan)
{
    struct kube_pool *p = plan->p;
    uint32_t wanted = wish(plan);
    if (!p->known)
        return;
    some_keep(plan, wanted);
    for (uint32_t at_once = pace(p); plan->alive < wanted && plan->pods < p->max && plan->coming < at_once;) {
        if (p->failures > 0 && !is_due(p, p->create_next))
            return;
        (void)name_draw(p);
        plan->alive++, plan->pods++, plan->coming++, plan->wanted++;
        if (p->failures > 0 && at_once == 1)
            p->create_next = p->now + POOL_PACE_MS;
    }
}

/* When a name that is not needed holds no place any more (P1). Of one a pod was made, and the watch did not
 * show it: the watch may be a connection that says nothing, and is then given up in time. */
static uint64_t given_back(const struct kube_pool *p, const struct slot *s)
{
    return s->made ? A_MAX(s->uncertain_until, shown_by(p, s->since, POOL_SILENCE_MS)) : s->uncertain_until;
}

/* Names that were drawn: applied, and applied again, while they are needed; given back once it is certain
 * that no pod comes of them. */
static void wanted_step(struct plan *plan)
{
    struct kube_pool *p = plan->p;
    uint32_t others = plan->alive - A_MIN(plan->wanted, plan->alive), taken = plan->pods - plan->wanted;
    uint32_t need = plan->calm ? base(plan) : wish(plan), room = p->max > taken ? p->max - taken : 0;
    uint32_t keep = need > others ? A_MIN(need - others, room) : 0;
    if (plan->wanted == 0)
        return;
    pool_foreach_slot (s, p) {
        if (s->state.state != SLOT_WANTED)
            continue;
        if (s->creating) {
            keep -= keep > 0;
            continue;
        }
        if (keep > 0) {
            keep--;
            if (!is_due(p, s->create_at))
                continue;
            s->creating = true;
            action_add(p, KUBE_POOL_CREATE, s);
        } else if (!p->stale && is_due(p, given_back(p, s))) {
            plan->pods--, plan->alive--, plan->coming--;
            pool_slot_remove(p, s);
        }
    }
}

/* What of each pod is due by itself, and then what it counts as: pods are many, and looked at once. */
static struct plan plan_begin(struct kube_pool *p)
{
    struct plan plan = {.p = p};
    pool_foreach_slot (s, p) {
        created_step(p, s);
        failure_step(p, s);
        delete_step(p, s);
        drain_step(p, s);
        slot_count(&plan, s);
    }
    plan.budget = A_MAX(plan.pods / 10, 1u);
    plan.calm = p->demand == 0 && is_due(p, p->calm_since + POOL_CALM_MS);
    return plan;
}

static bool is_as_begun(const struct plan *plan, const struct plan *begun)
{
    return plan->pods == begun->pods && plan->alive == begun->alive && plan->coming == begun->coming &&
           plan->up == begun->up && plan->draining == begun->draining;
}

/* Counted again when the plan has changed something. */
static void status_set(const struct plan *plan, const struct plan *begun)
{
    struct kube_pool *p = plan->p;
    struct plan now = {.p = p};
    if (is_as_begun(plan, begun))
        now = *begun;
    else
        pool_foreach_slot (s, p)
            slot_count(&now, s);
    p->unschedulable = now.unschedulable;
    p->status = (struct kube_pool_status){.pods = now.pods,
                                          .joined = now.joined,
                                          .free = now.free,
                                          .coming = now.coming,
                                          .draining = now.draining,
                                          .terminating = now.terminating,
                                          .outdated = now.outdated,
                                          .failed = p->failures};
}

void pool_plan(struct kube_pool *p)
{
    const struct plan begun = plan_begin(p);
    struct plan plan = begun;
    shrink(&plan);
    roll(&plan);
    grow(&plan);
    wanted_step(&plan);
    status_set(&plan, &begun);
}
