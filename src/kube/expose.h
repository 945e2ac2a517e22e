/* What in-cluster callers find of Astra's apps: for each app a headless Service of its name and
 * EndpointSlices, in one namespace of one Kubernetes cluster. They name the gateways, not replicas: routes,
 * limits and re-sends hold there. docs/components/kube.md has the events, the updates and the numbered
 * invariants (E1-E8).
 *
 * Pure. After each event look at kube_expose_deadline() and step(TICK) when it has come; every action is
 * answered by a RESULT or LISTED. */
#ifndef KUBE_EXPOSE_H
#define KUBE_EXPOSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "types/id.h"
#include "wire/value.h"

#define KUBE_SLICE_MAX 100         /* endpoints of one slice, as Kubernetes' own controller does */
#define KUBE_SLICES_MAX 64         /* of an app: more gateways than fit are not named */
#define KUBE_EXPOSE_FLIGHT 4       /* requests under way */
#define KUBE_EXPOSE_APART_MS 50    /* between two */
#define KUBE_EXPOSE_LIST_MS 600000 /* so often all is listed again, against what strangers changed */
#define KUBE_EXPOSE_STRANGER_MS 300000
#define KUBE_EXPOSE_BACK_OFF_MS 60000 /* at most, between two tries */

#define KUBE_LABEL_SERVICE "kubernetes.io/service-name"
#define KUBE_LABEL_MANAGED_BY "endpointslice.kubernetes.io/managed-by"
#define KUBE_MANAGED_BY "astra-ray.dev"

/* Where clients reach a gateway. */
struct kube_gateway {
    char ip[46];
    uint16_t port;
};

/* May an EndpointSlice name this address? Not a host name, nor what means something else on each machine. */
bool kube_gateway_is_nameable(const char *ip);

enum kube_expose_event_type {
    KUBE_EXPOSE_TICK,
    KUBE_EXPOSE_WANT,   /* the first event, and whenever something of it changes */
    KUBE_EXPOSE_LISTED, /* both lists, whole; or status says why not */
    KUBE_EXPOSE_RESULT, /* of a LOOK, APPLY or DELETE */
};

enum kube_expose_verb {
    KUBE_EXPOSE_LIST,   /* all Services and EndpointSlices with the installation's label */
    KUBE_EXPOSE_LOOK,   /* GET one Service */
    KUBE_EXPOSE_APPLY,  /* server-side apply, with force */
    KUBE_EXPOSE_DELETE, /* with the uid as precondition */
};

struct kube_expose_event {
    enum kube_expose_event_type type;
    uint64_t now_ms;
    struct { /* WANT; used during the step only */
        const struct a_name *apps;
        size_t n_apps;
        const struct kube_gateway *gateways;
        size_t n_gateways;
    } want;
    int status; /* LISTED, RESULT: the HTTP status; 0 = no answer */
    uint64_t retry_after_ms;
    struct a_view message;                      /* of a refusal, for people */
    const struct wire_value *services, *slices; /* LISTED */
    const char *key;                            /* RESULT: of the action */
    const struct wire_value *object;            /* RESULT: of an answer 2xx, NULL when it is none */
};

struct kube_expose_action {
    enum kube_expose_verb verb;
    const char *key; /* comes back with the RESULT */
    bool is_slice;   /* else a Service */
    const char *name, *uid;
    const struct wire_value *object; /* APPLY */
};

/* Belongs to the core until the next step. */
struct kube_expose_update {
    const struct kube_expose_action *actions;
    size_t n_actions;
};

/* For people. */
struct kube_expose_status {
    bool listed;          /* at least once */
    bool settled;         /* all is as it should be, strangers' names apart */
    size_t objects;       /* of ours that are there */
    size_t strangers;     /* names of apps that somebody else's Service has */
    const char *stranger; /* one of them, or NULL */
    int status;           /* of the last answer that was a refusal, until one succeeds; 0 = none */
    const char *message;
};

struct kube_expose;

struct kube_expose *kube_expose_new(const char *installation, const char *namespace);
void kube_expose_free(struct kube_expose *x); /* takes NULL */
void kube_expose_step(struct kube_expose *x, const struct kube_expose_event *e,
                      struct kube_expose_update *ret);
uint64_t kube_expose_deadline(const struct kube_expose *x);
struct kube_expose_status kube_expose_status(const struct kube_expose *x);
/* The label selector of the lists, before escaping; in `arena`. */
const char *kube_expose_selector(struct a_arena *arena, const char *installation);

#endif
