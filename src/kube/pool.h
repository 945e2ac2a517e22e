/* The pool reconciler: how many pods a pool should have, which to create, drain and delete
 * (docs/components/kube.md, P1-P6).
 *
 * Events tell what is; the plan is made on a TICK, at most ten times a second, so that a burst of changes is
 * planned for once: after each batch of events look at kube_pool_deadline(), and step(TICK) when it has come.
 * Every CREATE and DELETE is answered by a RESULT, also when its answer was lost. Of one update of the watch,
 * rows come before SYNCED or STALE. */
#ifndef KUBE_POOL_H
#define KUBE_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "kube/pod.h"
#include "kube/pool_spec.h"
#include "types/id.h"

#define KUBE_POD_NAME_MAX 63
#define KUBE_UID_MAX 63 /* opaque; 36 characters in practice */

enum kube_pool_event_type {
    KUBE_POOL_TICK,
    KUBE_POOL_SPEC, /* min, max, headroom, surge, grace, template digest: also the first event, and after each
                       change */
    KUBE_POOL_POD,  /* a row of the watch, as it is */
    KUBE_POOL_GONE, /* the row went away */
    KUBE_POOL_NODE, /* what Starlink knows of the node of a pod, after each change */
    KUBE_POOL_DEMAND, /* what the schedulers would need */
    KUBE_POOL_RESULT, /* the end of a CREATE or DELETE */
    KUBE_POOL_SYNCED, /* the watch's, as is STALE; a pool begins stale */
    KUBE_POOL_STALE,
};

enum kube_node_state {
    KUBE_NODE_JOINED,
    KUBE_NODE_DRAINING, /* it takes nothing new; asked for by whomever */
    KUBE_NODE_DRAINED,  /* draining, and empty */
    KUBE_NODE_LEFT,     /* Starlink has lost it: nothing certain is known */
};

enum kube_pool_verb {
    KUBE_POOL_CREATE, /* apply a pod under this name; the same name may come again, and must mean the same pod
                       */
    KUBE_POOL_DRAIN,  /* empty this node */
    KUBE_POOL_DELETE, /* with the uid as precondition and this grace */
    KUBE_POOL_KEEP,   /* a node that we had drained is wanted after all */
};

struct kube_pool_event {
    enum kube_pool_event_type type;
    uint64_t now_ms;
    /* SPEC. max 0 empties the pool; the object may be freed once kube_pool_count() is 0 */
    struct {
        uint32_t min, max, surge, headroom;
        uint64_t grace_ms;
        struct a_view limit;    /* why `max` is less than the pool's own, for people; empty = it is its own */
        struct a_view template; /* the value of KUBE_LABEL_TEMPLATE for pods made from now on */
    } spec;
    const struct kube_row *row; /* POD, GONE: one of kube_kind_pod */
    struct {                    /* NODE */
        struct a_view pod_uid;
        struct a_node_id node;
        enum kube_node_state state;
        uint32_t claims;
    } node;
    uint32_t demand; /* DEMAND: pods of this shape, besides those that there are, that would let what waits be
                        placed */
    struct {         /* RESULT */
        enum kube_pool_verb verb; /* CREATE or DELETE */
        struct a_view name;
        int status; /* the HTTP status; 0 = the answer was lost: whether it was done is not known */
        uint64_t retry_after_ms;
        struct a_view message; /* of the server, for people */
    } result;
    struct a_view reason; /* STALE */
};

struct kube_pool_action {
    enum kube_pool_verb verb;
    const char *name, *uid; /* the pod's; uid NULL for CREATE */
    struct a_node_id node;  /* DRAIN, KEEP */
    uint64_t grace_ms;      /* DELETE */
};

/* Belongs to the core until the next step. */
struct kube_pool_update {
    const struct kube_pool_action *actions;
    size_t n_actions;
    bool conditions; /* kube_pool_conditions() answers something new */
};

/* In the order of KUBE_POOL_CONDITIONS. */
#define KUBE_POOL_CONDITIONS(X)                                                                              \
    X(READY, "Ready")                                                                                        \
    X(AT_MAXIMUM, "AtMaximum")                                                                               \
    X(UNSCHEDULABLE, "Unschedulable")                                                                        \
    X(STALE, "Stale")                                                                                        \
    X(QUOTA_EXCEEDED, "QuotaExceeded")

enum kube_pool_condition_type {
#define X(name, text) KUBE_CONDITION_##name,
    KUBE_POOL_CONDITIONS(X)
#undef X
        KUBE_CONDITION_COUNT
};

struct kube_pool_condition {
    const char *type;   /* "Ready" */
    bool status;        /* True or False */
    const char *reason; /* one CamelCase word */
    char message[256];
    uint64_t since_ms; /* of `status`; monotonic */
};

struct kube_pool_options {
    const char *pool;         /* its name: pods are called POOL-xxxxx, and carry it as a label */
    const char *installation; /* only pods that carry it, too, are ours */
    uint64_t seed;
};

/* What there is, for people and metrics; parts of `pods` may overlap. */
struct kube_pool_status {
    uint32_t pods;   /* all that count against max: those on the way, too, those that end not */
    uint32_t joined; /* the agent is there */
    uint32_t free;   /* of these without a claim, and not draining */
    uint32_t coming; /* on the way: not joined yet */
    uint32_t draining, terminating;
    uint32_t outdated; /* of another template */
    uint32_t failed;   /* since the last success */
};

struct kube_pool;

struct kube_pool *kube_pool_new(const struct kube_pool_options *options);
void kube_pool_free(struct kube_pool *p); /* takes NULL */
void kube_pool_step(struct kube_pool *p, const struct kube_pool_event *e, struct kube_pool_update *ret);
uint64_t kube_pool_deadline(const struct kube_pool *p);
struct kube_pool_status kube_pool_status(const struct kube_pool *p);
/* Pods that count against max now: what a limit over several pools adds up. Also between two plans. */
uint32_t kube_pool_held(const struct kube_pool *p);
/* All its pods were seen once: before that kube_pool_held() may be too low. */
bool kube_pool_is_known(const struct kube_pool *p);
/* Pods that the core knows of, the ending ones included. */
size_t kube_pool_count(const struct kube_pool *p);
/* KUBE_CONDITION_COUNT of them. */
const struct kube_pool_condition *kube_pool_conditions(const struct kube_pool *p);

#endif
