/* What the files of the pool share. Private to this folder. */
#ifndef KUBE_POOL_CORE_H
#define KUBE_POOL_CORE_H

#include "base/list.h"
#include "base/map.h"
#include "base/sm.h"
#include "kube/pool.h"

#define POOL_PLAN_MS 100  /* plans are at least so far apart: a burst of changes is planned for once; and */
#define POOL_PLAN_PODS 10 /* a millisecond more for so many pods: a plan looks at all of them */
#define POOL_UNCERTAIN_MS                                                                                    \
    90000 /* a request whose answer was lost may be carried out for so long: an API server ends it after 60  \
             s */
#define POOL_SHOW_MS                                                                                         \
    60000 /* what the server said yes to must be seen on a fresh watch within this, or it is asked for again \
           */
#define POOL_SILENCE_MS 900000 /* a watch that says nothing is given up after 7 minutes (K8); twice that */
#define POOL_JOIN_MS 600000    /* from being on a node to having joined: a large image over a slow line */
#define POOL_CALM_MS 60000     /* P4: without demand for so long before the pool shrinks */
#define POOL_PACE_MS 30000     /* P4: after many failures one pod in this time */
#define POOL_DRAIN_MS 30000    /* a node that does not drain by then is told again */
#define POOL_SURGE_MIN 10

enum slot_state {
    SLOT_WANTED,  /* a name was drawn: what became of it is not known */
    SLOT_CREATED, /* the server said yes; the watch has not shown it */
    SLOT_SEEN,    /* the watch shows it */
    SLOT_ENDING,  /* it has a deletionTimestamp */
};

/* What Starlink knows of the node of a pod. It may come before the pod does. */
struct pool_node {
    struct a_map_link link; /* by uid */
    char uid[KUBE_UID_MAX + 1];
    struct a_node_id id;
    enum kube_node_state state;
    uint32_t claims;
    struct slot *slot;
};

/* One pod, from the moment that its name is drawn until it is gone. */
struct slot {
    struct a_map_link link; /* by name */
    struct a_list order;    /* in the order in which they came */
    char uid[KUBE_UID_MAX + 1];
    uint64_t template; /* a hash of its label */
    struct a_sm state;
    struct pool_node *node;
    enum kube_phase phase;
    bool ready, scheduled, unschedulable;
    bool creating, deleting; /* that request is under way */
    bool made;               /* the server said yes to it once, and the watch has not shown it */
    bool delete_taken;       /* the server said yes to a DELETE */
    bool dismissed;          /* on no node, and not needed: to be deleted */
    bool drain_asked;
    bool failure_counted;
    unsigned tries;
    uint64_t create_at, delete_at, drain_at; /* not before */
    uint64_t uncertain_until;                /* an earlier request may still be carried out */
    uint64_t since;                          /* CREATED: the answer; SEEN: on a node since, 0 = on none */
    char name[];
};

struct kube_pool {
    char *name, *installation;
    struct a_random random;
    struct a_map slots, nodes;
    struct a_list order;
    uint64_t now, planned_at, wake_at;
    bool dirty, have_spec, stale;
    bool known; /* a whole list was seen: before that nothing is created */
    uint64_t synced_at, calm_since, create_next;
    uint32_t min, max, surge, headroom, demand;
    uint64_t grace_ms;
    uint64_t template; /* a hash of the label of pods as they should be */
    unsigned failures;
    char *refused, *quota, *stale_reason; /* the server's words, or NULL */
    char *limit;                          /* why max is less than the pool's own, or NULL */
    struct kube_pool_status status;
    uint32_t unschedulable;
    struct kube_pool_condition conditions[KUBE_CONDITION_COUNT];
    struct kube_pool_action *actions;
    size_t n_actions, cap_actions;
};

#define pool_foreach_slot(it, p)                                                                             \
    for (struct slot *it = a_list_entry((p)->order.next, struct slot, order),                                \
                     *it##_next_ = a_list_entry(it->order.next, struct slot, order);                         \
         &it->order != &(p)->order;                                                                          \
         it = it##_next_, it##_next_ = a_list_entry(it->order.next, struct slot, order))

/* pool.c */
struct slot *pool_slot_new(struct kube_pool *p, struct a_view name, enum slot_state state);
void pool_slot_remove(struct kube_pool *p, struct slot *s);
void pool_wake(struct kube_pool *p, uint64_t at_ms);
uint64_t pool_back_off(struct kube_pool *p, unsigned tries, uint64_t retry_after_ms);
void pool_failure(struct kube_pool *p);

/* pool_plan.c */
void pool_plan(struct kube_pool *p);
/* pool_conditions.c: true when one changed */
bool pool_conditions_update(struct kube_pool *p);

static inline bool slot_is_outdated(const struct kube_pool *p, const struct slot *s)
{
    return s->state.state == SLOT_SEEN && s->template != p->template;
}

/* It will never serve again. */
static inline bool slot_is_over(const struct slot *s)
{
    return s->phase == KUBE_PHASE_FAILED || s->phase == KUBE_PHASE_SUCCEEDED;
}

static inline bool slot_is_leaving(const struct slot *s)
{
    return slot_is_over(s) || s->deleting || s->delete_taken || s->dismissed || s->drain_asked;
}

/* Neither joined nor known to have been: its agent is still on the way. */
static inline bool slot_is_coming(const struct slot *s)
{
    return s->state.state != SLOT_ENDING && s->node == NULL && !s->ready && !slot_is_over(s) && !s->dismissed;
}

static inline bool slot_is_free(const struct slot *s)
{
    return s->state.state == SLOT_SEEN && s->node != NULL && s->node->state == KUBE_NODE_JOINED &&
           s->node->claims == 0 && !slot_is_leaving(s);
}

/* In its place, with its agent there; it may be busy. */
static inline bool slot_is_up(const struct slot *s)
{
    return s->state.state == SLOT_SEEN && s->node != NULL && s->node->state == KUBE_NODE_JOINED &&
           !slot_is_leaving(s);
}

#endif
