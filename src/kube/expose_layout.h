/* Which gateway is in which slice. The same for all apps of a namespace. Private to this folder. */
#ifndef KUBE_EXPOSE_LAYOUT_H
#define KUBE_EXPOSE_LAYOUT_H

#include "kube/expose.h"

struct kube_endpoint_slice {
    size_t n; /* 0 = there is no such slice */
    bool v6;
    uint16_t port;
    struct kube_gateway gateways[KUBE_SLICE_MAX];
};

struct kube_layout {
    struct kube_endpoint_slice slices[KUBE_SLICES_MAX];
};

/* What a slice of an earlier process had, where nothing is known of that place yet. */
void kube_layout_recall(struct kube_layout *l, size_t at, const struct wire_value *slice);
/* E3: those that stay keep their place; a new one takes the first that is free. No gateways at all change
 * nothing (E4). What fits nowhere is left out. */
void kube_layout_set(struct kube_layout *l, const struct kube_gateway *gateways, size_t n);

struct wire_value *kube_expose_service_make(struct a_arena *arena, const char *installation,
                                            const char *namespace, const char *app, uint16_t port);
struct wire_value *kube_expose_slice_make(struct a_arena *arena, const char *installation,
                                          const char *namespace, const char *app, const char *name,
                                          const struct kube_endpoint_slice *slice);
/* Does `have` say all that `want` says? Lists are of the same length; members more than wanted are somebody
 * else's, or defaults. */
bool kube_object_covers(const struct wire_value *have, const struct wire_value *want);

#endif
