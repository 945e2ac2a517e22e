/* The kube role: Kubernetes clusters that were added, and the pools of pods in them
 * (docs/components/kube.md).
 *
 * The cores of src/kube decide; here their requests are carried out and their events come from. One driver
 * per cluster (kube_cluster.c) holds the Lease by which one server at a time writes; it follows our pods
 * namespace by namespace (kube_follow.c) and feeds the pools (kube_pools.c). The store keeps what operators
 * said: the clusters with their credentials sealed, and the pools. */
#ifndef A_DAEMON_SERVER_KUBE_H
#define A_DAEMON_SERVER_KUBE_H

#include "daemon/server/server.h"
#include "kube/kubeconfig.h"
#include "kube/objects.h"
#include "kube/pool.h"
#include "kube/watch.h"
#include "net/web.h"

#define D_KUBE_LEASE_S 15          /* client-go's own defaults: who is silent for so long is succeeded, */
#define D_KUBE_LEASE_RENEW_MS 5000 /* who holds it says so as often, */
#define D_KUBE_LEASE_LOST_MS 10000 /* and who could not for so long writes nothing more */
#define D_KUBE_LEASE_RETRY_MS 2000

struct d_kube {
    struct server *s;
    struct sys_secret key; /* of sealed credentials; empty: its file is missing or unreadable */
    char *key_fault;       /* why, or NULL */
    char installation[64]; /* label value and lease name: the store's id */
    char holder[320];      /* in leases: this server, also after a restart */
    struct a_map clusters; /* struct d_kube_cluster, by name */
    struct a_map pools;    /* struct d_kube_pool, by name */
    struct a_map nodes;    /* struct d_kube_node, by id */
    struct a_list checks;  /* of credentials, under way: kube_check.c */
    struct sys_timer demand;
    struct a_list gateways; /* that Services name: kube_expose.c */
    struct sys_timer look;
    uint64_t errors; /* answers of API servers that were none of those hoped for */
};

enum d_kube_condition_type {
    D_KUBE_UNLOCKED,
    D_KUBE_REACHABLE,
    D_KUBE_OWNER,
    D_KUBE_EXPOSED,
    D_KUBE_CONDITION_COUNT
};

struct d_kube_condition {
    bool status;
    const char *reason; /* one CamelCase word; static */
    char message[512];
    uint64_t since_ms;
};

struct d_kube_lease {
    struct sys_timer timer;
    struct net_web_call *call;
    char version[64], holder[320]; /* as it was seen last */
    int64_t acquired_us, renewed_us;
    uint32_t duration_s, transitions;
    uint64_t seen_ms;    /* when `version` was seen first */
    uint64_t renewed_ms; /* when we wrote it last */
    bool owned;
};

enum d_kube_custom_kind_id { D_KUBE_APPS, D_KUBE_POOLS, D_KUBE_CUSTOM_KINDS };

struct d_kube_cluster {
    struct a_map_link link;
    struct d_kube *kube;
    struct a_name name;
    struct a_arena arena;            /* of the record and of `access` */
    const struct wire_value *record; /* as it is stored; `sealed` apart, nothing of it is secret */
    uint64_t revision;               /* of the store's entry */
    struct kube_access access;       /* when `web` is there */
    struct net_web *web;             /* NULL: locked */
    struct d_kube_lease lease;
    struct a_list follows;                             /* struct d_kube_follow.link */
    struct d_kube_custom *custom[D_KUBE_CUSTOM_KINDS]; /* NULL while there is no `web` */
    struct d_kube_condition conditions[D_KUBE_CONDITION_COUNT];
};

/* Who follows a collection; used from d_kube_stream_start() on, the texts during it only. */
struct d_kube_stream_options {
    const struct kube_kind *kind;
    const char *path, *selector; /* of the collection; of labels, NULL = all */
    bool may_be_missing;         /* 403 and 404 say nothing of the cluster */
    void (*changed)(void *ctx, const struct kube_change *change);
    void (*synced)(void *ctx);
    void (*stale)(void *ctx, const char *reason);
    void *ctx;
};

/* A watch core and the request that it asked for. */
struct d_kube_stream {
    struct d_kube_cluster *cluster;
    struct d_kube_stream_options options;
    char *path, *selector;
    struct kube_watch *core;
    struct net_web_call *call;
    uint64_t request;
    bool is_watch, opened;
    struct kube_lines lines;
    struct sys_timer timer;
};

/* Our pods of one namespace, and what else is applied there. */
struct d_kube_follow {
    struct a_list link;
    struct d_kube_cluster *cluster;
    char *namespace;
    struct d_kube_stream stream;
    struct net_web_call *secret; /* the join token on its way */
    bool secret_done;
    struct sys_timer secret_timer;
    struct d_kube_expose *expose;
};

#define D_KUBE_GUARDS 2

/* An object that stands beside a pool's pods. */
struct d_kube_guard {
    struct d_kube_pool *pool;
    struct net_web_call *call;
    struct sys_timer timer;
    bool due;               /* the pool changed since it was looked at */
    bool known;             /* `applied` is what is there */
    uint64_t applied, sent; /* hashes of its text; 0 = deleted */
};

/* What limits count: pods, thousandths of a core, bytes, devices. */
#define D_KUBE_DIMENSIONS 4
struct d_kube_shape {
    uint64_t of[D_KUBE_DIMENSIONS];
};

struct d_kube_pool {
    struct a_map_link link;
    struct d_kube *kube;
    struct a_arena arena;
    const struct wire_value *tree; /* the Pool, completed */
    struct kube_pool_spec spec;
    struct d_kube_shape largest; /* of a pod: of this template, or of one before that is being replaced */
    uint32_t may;                /* pods that there may be; the core's max */
    char template[KUBE_TEMPLATE_LEN + 1];
    uint64_t generation, created_unix_ms, revision;
    struct d_origin origin;
    bool deleting;
    struct kube_pool *core;
    struct sys_timer timer;
    struct a_list requests; /* struct request.link */
    struct d_kube_guard guards[D_KUBE_GUARDS];
    uint32_t demand;
    uint64_t created, deleted, refused; /* for metrics */
};

/* A node whose agent told the uid of its pod. */
struct d_kube_node {
    struct a_map_link link;
    struct a_node_id id;
    struct a_name pool;
    char uid[KUBE_UID_MAX + 1];
    enum kube_node_state state;
    uint32_t claims;
    bool pod_gone; /* the API server has no such pod any more, or is no more itself */
    bool told;     /* and the fleets know */
    bool ends;     /* its pod is being deleted; the node was told */
    uint32_t grace_s;
};

typedef void d_kube_done(void *ctx, const struct a_error *error);

/* ---- kube.c ---- */

/* What operators say of a cluster beside its credentials: fields of a PUT, the record and the answer. */
#define D_KUBE_SETTINGS 4
extern const char *const d_kube_settings[D_KUBE_SETTINGS];

struct d_kube_cluster *d_kube_cluster_find(const struct server *s, const struct a_name *name);
struct d_kube_pool *d_kube_pool_find(const struct server *s, const struct a_name *name);
/* Stores the cluster and drives it with what it says from now on. `access` may be NULL: the credentials stay.
 */
void d_kube_cluster_put(struct server *s, const struct a_name *name, const struct wire_value *settings,
                        const struct kube_access *access, d_kube_done *done, void *ctx);
/* Pools that are left in it are forgotten, too. Pods that there are stay. */
void d_kube_cluster_delete(struct server *s, struct d_kube_cluster *c, d_kube_done *done, void *ctx);
/* `tree` is completed; an equal one is not written. `origin` NULL = the API; A_CODE_CONFLICT when the pool
 * came from elsewhere and its origin still speaks for it, or was made by the API and is not to be adopted. */
void d_kube_pool_put(struct server *s, const struct wire_value *tree, const struct d_origin *origin,
                     bool adopt, d_kube_done *done, void *ctx);
/* Empties it, then forgets it. */
void d_kube_pool_delete(struct server *s, struct d_kube_pool *p, const struct d_origin *origin,
                        d_kube_done *done, void *ctx);
/* Nothing of a deleted pool is left. */
void d_kube_pool_gone(struct d_kube_pool *p);
/* What stands in the record or the default. */
const char *d_kube_cluster_text(const struct d_kube_cluster *c, const char *key, const char *otherwise);

/* ---- kube_cluster.c ---- */

/* Opens the credentials, and begins; or says by a condition why not. */
void d_kube_cluster_start(struct d_kube_cluster *c);
void d_kube_cluster_stop(struct d_kube_cluster *c);
void d_kube_condition_set(struct d_kube_cluster *c, enum d_kube_condition_type type, bool status,
                          const char *reason, const char *fmt, ...) A_PRINTF(5, 6);
const char *d_kube_condition_name(enum d_kube_condition_type type);
/* What all objects of ours in the cluster say. */
struct kube_agent_options d_kube_agent_options(const struct d_kube_cluster *c);
/* The words of an answer that is none: the server's Status, or the connection's error. In `arena`. */
const char *d_kube_answer_why(struct a_arena *arena, const struct net_web_answer *a);
/* Any answer tells of the server: is it there? */
void d_kube_cluster_heard(struct d_kube_cluster *c, const struct net_web_answer *a);

typedef void d_kube_answered(void *ctx, const struct net_web_answer *answer);
/* Server-side apply: what stands at `path` says what `object` (JSON) says, made when it is missing, and
 * fields that somebody else wrote are ours. The text is copied. Only of a cluster with `web`. */
int d_kube_apply(struct d_kube_cluster *c, const char *path, struct a_view object, d_kube_answered *done,
                 void *ctx, struct net_web_call **ret_call, struct a_error *reterr) A_MUST_CHECK;
int d_kube_web_new(struct sys_loop *loop, const struct kube_access *access, struct net_web **ret,
                   struct a_error *reterr) A_MUST_CHECK;

/* ---- kube_lease.c ---- */

void d_kube_lease_start(struct d_kube_cluster *c);
void d_kube_lease_stop(struct d_kube_cluster *c);

/* ---- kube_check.c ---- */

/* Asks the server who it is and whether the role may do what it does in the namespace; done with *version in
 * the first case, else with all that is wrong. `access` is used during the call only. */
typedef void d_kube_checked(void *ctx, const char *version, const struct a_error *error);
void d_kube_check(struct server *s, const struct kube_access *access, d_kube_checked *done, void *ctx);

void d_kube_checks_stop(struct server *s);

/* ---- kube_stream.c ---- */

/* Follows until it is stopped; nothing is told from within either call. The cluster has `web`. */
void d_kube_stream_start(struct d_kube_stream *f, struct d_kube_cluster *c,
                         const struct d_kube_stream_options *options);
void d_kube_stream_stop(struct d_kube_stream *f); /* safe on a zeroed one */

/* ---- kube_follow.c ---- */

/* The follow of the namespace; made when there is none. */
struct d_kube_follow *d_kube_follow_get(struct d_kube_cluster *c, const char *namespace);
void d_kube_follow_free(struct d_kube_follow *f);
/* This server owns the cluster now. */
void d_kube_follow_owned(struct d_kube_follow *f);
/* Tells the pool of all rows that there are. */
void d_kube_follow_replay(const struct d_kube_follow *f, struct d_kube_pool *p);
/* Of that namespace, or NULL. */
struct d_kube_follow *d_kube_follow_of(const struct d_kube_pool *p);

/* ---- kube_pools.c ---- */

void d_kube_pool_start(struct d_kube_pool *p);
void d_kube_pool_stop(struct d_kube_pool *p);
/* Its spec, or what its cluster says, is another one now. */
void d_kube_pool_changed(struct d_kube_pool *p);
void d_kube_pool_event(struct d_kube_pool *p, struct kube_pool_event *e);
/* NULL: it was removed. */
struct d_kube_cluster *d_kube_pool_cluster(const struct d_kube_pool *p);
/* This server may write to its cluster. */
bool d_kube_pool_is_owned(const struct d_kube_pool *p);
/* Tells the pool how many pods it may have now, when that is another number than before. */
void d_kube_pool_limit(struct d_kube_pool *p);
bool d_kube_pool_is_in(const struct d_kube_pool *p, const struct d_kube_follow *f);
/* A pod of that uid is not there any more: once its agent is away, too, its claims are gone for good. */
void d_kube_pod_gone(struct d_kube *k, struct a_view uid);
/* A pod of ours has a deletionTimestamp: its node is told to drain, and that it ends with the pod's grace. */
void d_kube_pod_ends(struct d_kube *k, const struct kube_row *row);
/* The pool is forgotten: of its pods those whose agents are away do not come back. */
void d_kube_pool_left(struct d_kube_pool *p);
void d_kube_nodes_free(struct d_kube *k);

/* ---- kube_guards.c ---- */

void d_kube_guards_start(struct d_kube_pool *p);
/* While this server owns the cluster: writes those that are not as the pool is now; each at most once a
 * second, however often it is told. */
void d_kube_guards_look(struct d_kube_pool *p);
/* Those of a deleted pool. */
bool d_kube_guards_are_gone(const struct d_kube_pool *p);
void d_kube_guards_stop(struct d_kube_pool *p);

/* ---- kube_limits.c ---- */

/* What a cluster's limits leave to its pools. */
struct d_kube_room {
    bool known;                    /* false: nothing may grow yet */
    struct d_kube_shape max, used; /* max 0 = no limit */
};

struct d_kube_shape d_kube_shape_of(const struct kube_pool_spec *spec);
/* a becomes the larger of both in each dimension. */
void d_kube_shape_grow(struct d_kube_shape *a, const struct d_kube_shape *b);
/* False: the cluster has no limits. */
bool d_kube_room_of(const struct d_kube *k, const struct a_name *cluster, struct d_kube_room *ret);
/* One more pod; false, and nothing taken, when there is no room. */
bool d_kube_room_take(struct d_kube_room *room, const struct d_kube_shape *shape);
/* How many pods there may be at this moment, at most spec.max; `why` says what limits them when that is less.
 */
uint32_t d_kube_pool_may(const struct d_kube_pool *p, struct a_buf *why);
/* The pool's own price, else its cluster's. */
double d_kube_pool_price(const struct d_kube_pool *p);

/* ---- kube_custom.c: App and Pool as objects of the cluster ---- */

void d_kube_custom_start(struct d_kube_cluster *c);
void d_kube_custom_stop(struct d_kube_cluster *c);
/* This server owns the cluster now. */
void d_kube_custom_owned(struct d_kube_cluster *c);
/* What people see of it is another thing now, or it is gone. */
void d_kube_custom_app_changed(struct server *s, const struct d_app *app);
void d_kube_custom_pool_changed(const struct d_kube_pool *p);
/* The cluster that it came from, while its object is there, or may be there for all that is known; else NULL:
 * nobody but the API speaks for it. */
const char *d_kube_speaks_for_app(const struct server *s, const struct d_app *app);
const char *d_kube_speaks_for_pool(const struct d_kube_pool *p);
/* Objects that are known, and those of them that are not accepted (yet). */
void d_kube_custom_counts(const struct d_kube_cluster *c, enum d_kube_custom_kind_id kind, size_t *ret_all,
                          size_t *ret_refused);

/* ---- kube_expose.c: Services and EndpointSlices of a namespace with pools ---- */

void d_kube_expose_begin(struct d_kube *k);
void d_kube_expose_end(struct d_kube *k);
struct d_kube_expose *d_kube_expose_new(struct d_kube_follow *f);
void d_kube_expose_free(struct d_kube_expose *x);
/* This server owns the cluster now. */
void d_kube_expose_owned(struct d_kube_expose *x);
/* No pool needs it any more, and nothing of it is left. */
bool d_kube_expose_is_gone(const struct d_kube_expose *x);

/* ---- kube_demand.c ---- */

void d_kube_demand_start(struct d_kube *k);
/* Of each pool, from what finds no place. */
void d_kube_demand_count(struct d_kube *k);

#endif
