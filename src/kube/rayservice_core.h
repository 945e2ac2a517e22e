/* What the parts of the importer share. Private to this folder.
 *
 * The importer walks the object by tables of rows, one for each kind of mapping in it. A row maps a field by
 * a function, or says why it is not mapped. What no row names is told of, too. */
#ifndef KUBE_RAYSERVICE_CORE_H
#define KUBE_RAYSERVICE_CORE_H

#include "kube/rayservice.h"

#define IMPORT_GROUPS_MAX 21 /* the head and as many groups of workers as an App takes */
#define IMPORT_ENV_MAX 1000

/* Reasons that stand in several tables. */
#define IMPORT_NO_AUTOSCALER "Ray's autoscaler is not run"
#define IMPORT_OWN_REDIS "a unit's state ends with its head: there is no GCS state outside of it"
#define IMPORT_OWN_REDIS_HINT "with spec.units of 2 or more the other units serve until it is replaced"
#define IMPORT_NO_TLS "Ray's own ports inside a unit have no TLS"
#define IMPORT_NO_TLS_HINT "keep its nodes in one network and close it: docs/security.md"
#define IMPORT_NO_SERVICE "a unit has no Service: requests come through the gateway"
#define IMPORT_OWN_COMMAND "Astra starts Ray by its own command"
#define IMPORT_OWN_COMMAND_HINT "what else a member needs belongs into the app's code or environment"

struct import_group {
    bool head;
    const char *path;          /* spec.rayClusterConfig.workerGroupSpecs[0] */
    const char *fields;        /* in the App's table: "spec.head" or "spec.workers" */
    struct wire_value *member; /* the App's head, or an item of its workers */
    const struct wire_value *source;
    const struct wire_value *volumes; /* of the pod */
    const char *volumes_path;
    struct wire_value *selectors;      /* label -> text: what the pod asks of its node, with positions */
    struct wire_value *selector_paths; /* label -> where it was found */
    bool *volumes_used;
    bool no_cpus;     /* num-cpus: 0 */
    bool none;        /* has no members: left out */
    int64_t gpus;     /* num-gpus, -1 = not given */
    uint64_t devices; /* by limits */
};

/* A variable of the App, and how many groups set it. */
struct import_env {
    const struct wire_value *item;
    const char *path; /* where it was found first */
    size_t groups;
};

struct importer {
    struct a_arena *arena;
    const char *file;
    struct a_view text;
    const struct wire_value *documents;
    const struct kube_import_options *options;
    struct wire_problems *report;
    struct a_error *reterr;
    int rc;
    struct wire_value *app, *spec;
    bool autoscaling; /* enableInTreeAutoscaling */
    struct import_group groups[IMPORT_GROUPS_MAX];
    size_t n_groups;
    struct import_env env[IMPORT_ENV_MAX];
    size_t n_env;
};

/* A value and where it is. */
struct import_place {
    const char *path;
    const struct wire_value *value; /* as a member it has its key */
    struct import_group *group;     /* NULL outside of one */
};

enum import_kind {
    IMPORT_MAP,    /* by the row's function */
    IMPORT_SILENT, /* read elsewhere, or of no meaning outside its API server */
    IMPORT_NOTE,   /* nothing is lost, but it is not taken over */
    IMPORT_LOST,   /* it matters and is lost */
};

struct import_row {
    const char *name; /* NULL ends a table; a trailing '*' stands for any rest */
    enum import_kind kind;
    const char *reason, *hint;
    void (*map)(struct importer *im, struct import_place at);
};

/* ---- rayservice_walk.c ---- */

/* Tells of a field; `hint` may be NULL. */
void import_note(struct importer *im, struct import_place at, const char *hint, const char *fmt, ...)
    A_PRINTF(4, 5);
void import_lost(struct importer *im, struct import_place at, const char *hint, const char *fmt, ...)
    A_PRINTF(4, 5);
/* Each member by its row; what no row names is lost. `what` is how the kind of mapping is called. Null and
 * empty members say nothing and are passed over. */
void import_walk(struct importer *im, struct import_place at, const struct import_row *rows,
                 const char *what);
const struct import_row *import_row_find(const struct import_row *rows, struct a_view name);
struct import_place import_member(struct importer *im, struct import_place at,
                                  const struct wire_value *member);
struct import_place import_item(struct importer *im, struct import_place at, const struct wire_value *item,
                                size_t i);
/* Texts, numbers and truth values as text; NULL for all else. */
const char *import_text(struct importer *im, const struct wire_value *v);
/* Whether it is a mapping or list with something in it; else, unless it is null or empty, it is lost. */
bool import_is(struct importer *im, struct import_place at, enum wire_value_type type);
/* A whole number of 0 or more, also as a text; else it is lost. */
bool import_count(struct importer *im, struct import_place at, int64_t *ret);
/* Whether Astra acts on a field of the App ("spec.workers.devices") by now. */
bool import_lives(const struct importer *im, const char *field);
/* As import_lives(); when it does not, `at` is lost, with this hint. */
bool import_lives_or_lost(struct importer *im, struct import_place at, const char *field, const char *hint);
/* Sets a member of a part of the App; its position is that of `at`. */
void import_set(struct importer *im, struct import_place at, struct wire_value *object, const char *key,
                struct wire_value *value);
void import_set_text(struct importer *im, struct import_place at, struct wire_value *object, const char *key,
                     const char *value);
/* The object or list at `key`, made when it is not there yet. */
struct wire_value *import_object(struct importer *im, struct wire_value *parent, const char *key);
struct wire_value *import_list(struct importer *im, struct wire_value *parent, const char *key);
/* The document of this kind and name, or NULL. */
const struct wire_value *import_document(const struct importer *im, const char *kind, const char *name);

/* ---- the parts ---- */

void import_metadata(struct importer *im, struct import_place at); /* rayservice_spec.c */
void import_service(struct importer *im, struct import_place at);  /* a RayService's spec */
void import_cluster(struct importer *im, struct import_place at);  /* a RayCluster's */

void import_serve_given(struct importer *im);                        /* the caller's */
void import_serve(struct importer *im, struct import_place at);      /* rayservice_serve.c: serveConfigV2 */
void import_head(struct importer *im, struct import_place at);       /* rayservice_group.c: headGroupSpec */
void import_workers(struct importer *im, struct import_place at);    /* workerGroupSpecs */
void import_groups_end(struct importer *im);                         /* what only all groups together tell */
void import_ray_params(struct importer *im, struct import_place at); /* rayservice_params.c: rayStartParams */
void import_ray_resources(struct importer *im, struct import_place at); /* resources of a group */
void import_ray_labels(struct importer *im, struct import_place at);    /* labels of a group */
void import_pod(struct importer *im, struct import_place at);           /* rayservice_pod.c: template.spec */
void import_resources(struct importer *im,
                      struct import_place at); /* rayservice_resources.c: of a container */
void import_env_list(struct importer *im, struct import_place at); /* rayservice_env.c: env of a container */
void import_env_end(struct importer *im);
void import_node_selector(struct importer *im, struct import_place at); /* rayservice_place.c */
void import_affinity(struct importer *im, struct import_place at);
void import_selectors_end(struct importer *im);
void import_mounts(struct importer *im, struct import_place at); /* rayservice_volume.c: volumeMounts */
void import_volumes_end(struct importer *im, struct import_group *g);

#endif
