/* Pieces of the trees that objects.c and manifests.c build. Private to this folder. */
#ifndef KUBE_OBJECTS_MAKE_H
#define KUBE_OBJECTS_MAKE_H

#include "kube/objects.h"

struct make {
    struct a_arena *arena;
    const struct kube_agent_options *agent;
    const struct kube_pool_spec *spec;
};

/* A new member or item, in its parent already. */
struct wire_value *make_object(struct make *m, struct wire_value *parent, const char *key);
struct wire_value *make_array(struct make *m, struct wire_value *parent, const char *key);
struct wire_value *make_item(struct make *m, struct wire_value *array);
/* An array of texts; NULL ends them. */
void make_texts(struct make *m, struct wire_value *parent, const char *key, const char *const *texts);
/* {apiVersion, kind, metadata: {name, namespace}}; `namespace` may be NULL. */
struct wire_value *make_kind(struct make *m, const char *version, const char *kind, const char *name,
                             const char *namespace);
/* `pool` NULL = of the installation alone; `installation` NULL = of any that
 * is in no pool of a server (workload.h). */
void make_pool_labels(struct make *m, struct wire_value *labels, const char *installation, const char *pool);

#endif
