/* App and Pool as objects of a Kubernetes cluster: what a row keeps of one, what is to be done about it, what
 * the checker is given, and what its status says (docs/components/kube.md, O1-O7). */
#ifndef KUBE_CUSTOM_H
#define KUBE_CUSTOM_H

#include "kube/crd.h"
#include "kube/watch.h"

/* On objects that something of Astra came from: they go when that is gone. */
#define KUBE_FINALIZER KUBE_CUSTOM_GROUP "/in-use"
/* An annotation: "true" lets the object take over what was made by another way. */
#define KUBE_ANNOTATION_ADOPT KUBE_CUSTOM_GROUP "/adopt"

/* The fields of a row of either kind. */
struct kube_custom {
    int64_t deleted_s; /* deletionTimestamp; 0 = none */
    int64_t generation;
    uint64_t status; /* hash of its text; 0 = none */
    bool finalizer;  /* ours is there */
    bool adopt;
    uint8_t zero[6];
};

extern const struct kube_kind kube_kind_app_object, kube_kind_pool_object;

const struct kube_custom *kube_row_custom(const struct kube_row *row);
/* The same of the text of one object: a GET's or PATCH's answer. */
int kube_custom_scan(struct a_view text, struct kube_custom *ret) A_MUST_CHECK;

/* ---- what is to be done ---- */

/* Whose the thing in Astra is that has the object's name. */
enum kube_holder {
    KUBE_HOLDER_NONE,  /* there is none, or whoever made it is gone */
    KUBE_HOLDER_OURS,  /* it came from this object */
    KUBE_HOLDER_API,   /* it was made by the API */
    KUBE_HOLDER_OTHER, /* it came from an object elsewhere */
};

struct kube_custom_state {
    struct kube_custom object;
    enum kube_holder holder;
    bool leaving; /* it is being deleted in Astra */
    bool news;    /* it is not what the object says since its last generation */
};

enum kube_custom_act {
    KUBE_CUSTOM_KEEP,
    KUBE_CUSTOM_FINALIZE, /* put the finalizer on */
    KUBE_CUSTOM_PUT,      /* check, and write in Astra */
    KUBE_CUSTOM_REFUSE,   /* say whose it is */
    KUBE_CUSTOM_WAIT,     /* until it is gone in Astra */
    KUBE_CUSTOM_REMOVE,   /* delete it in Astra */
    KUBE_CUSTOM_RELEASE,  /* take the finalizer off */
};

enum kube_custom_act kube_custom_decide(const struct kube_custom_state *s);

/* ---- what the checker is given ---- */

/* The document of an App, from the object: what the API server adds is left out. The namespace of Astra is
 * the object's. */
struct wire_value *kube_custom_app(struct a_arena *arena, const struct wire_value *object);
/* Of a Pool, which is where it is: in `cluster` and in its own namespace, said or not. Another one is told of
 * in `p`. */
struct wire_value *kube_custom_pool(struct wire_problems *p, const struct wire_value *object,
                                    const char *cluster);
/* All errors in one text for a condition. */
const char *kube_custom_errors(struct a_arena *arena, const struct wire_problems *p);

/* ---- what is told ---- */

struct kube_custom_condition {
    const char *type;
    bool status;
    const char *reason, *message; /* NULL = None, "" */
};

/* Texts are used during the call. */
struct kube_custom_told {
    int64_t generation; /* that was read, and that `accepted` is about */
    int64_t applied;    /* that the other conditions are about: the last that was taken over */
    int64_t now_us;     /* of the wall clock */
    struct kube_custom_condition accepted;
    const struct kube_custom_condition *conditions; /* the others */
    size_t n_conditions;
    const struct wire_value *facts;  /* members of the status beside; NULL = none: it is somebody else's */
    const struct wire_value *before; /* the status as it is: a condition that stays keeps its time */
};

struct wire_value *kube_custom_status(struct a_arena *arena, const struct kube_custom_told *told);
/* The body of the apply to the subresource `status`. */
struct wire_value *kube_custom_status_apply(struct a_arena *arena, const struct wire_value *object,
                                            struct wire_value *status);
/* The body of a merge patch by which our finalizer is on or off; refused with 409 when the object has changed
 * since. */
struct wire_value *kube_custom_finalizer(struct a_arena *arena, const struct wire_value *object, bool on);

#endif
