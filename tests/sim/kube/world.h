/* The simulation of the Kubernetes cores: a played API server with its pods, the driver that carries
 * requests, and the checks. The server's state is the truth; the cores know only what the driver brings them,
 * late, cut, twice or never. */
#ifndef SIM_KUBE_WORLD_H
#define SIM_KUBE_WORLD_H

#include "base/buf.h"
#include "base/random.h"
#include "kube/pool.h"

#define PODS_MAX 4000 /* made in one world; a uid is an index */
#define POOL "gpu"
#define OURS "i1"
#define EVENTS_MAX 4096
#define PAGE_ROWS 3
#define HISTORY 40        /* versions that the server keeps */
#define SETTLED_MS 200000 /* in which every earlier max may still be filled by a request under way */

struct pod {
    bool exists, ours, placed, ready, failed, ending;
    bool seen; /* the cache has shown it; it must not be shown as new again */
    uint64_t seen_version;
    char name[64], template[24];
    uint64_t version, placed_at;
    /* its node, by Starlink */
    bool joined, left, draining;
    uint32_t claims;
};

struct change {
    uint64_t version;
    char *line; /* {"type":...,"object":...}\n */
};

enum what {
    DO_LIST,
    DO_WATCH,
    DO_PUMP,
    DO_CREATE,
    DO_DELETE,
    DO_ANSWER, /* a RESULT reaches the pool */
    DO_WATCH_EVENT,
    DO_LIFE,  /* the next thing that happens to a pod */
    DO_CHAOS, /* strangers and operators */
};

struct event {
    uint64_t at, serial, number;
    enum what what;
    int pod, status;
    enum kube_pool_verb verb;
    enum kube_watch_event_type type;
    uint64_t retry_after_ms;
    char text[96];
    char *page;
};

struct world {
    uint64_t seed, now, serial, version, oldest;
    struct a_random random;
    bool tracing, healed, failed, stale;
    char failure[256];
    struct pod pods[PODS_MAX];
    int n_pods;
    struct change *log;
    size_t n_log, cap_log;
    char *snapshot[PODS_MAX]; /* of the list under way */
    int n_snapshot;
    uint64_t snapshot_version;
    struct event events[EVENTS_MAX];
    int n_events;
    /* the connection of the watch */
    uint64_t conn, conn_version, conn_until;
    bool conn_open;
    struct kube_lines lines;
    /* the cores */
    struct kube_watch *watch;
    struct kube_pool *pool;
    uint64_t not_before; /* K4: what the server asked for */
    uint64_t asked[64];  /* K4: when the last requests were made */
    uint32_t min, max, highest_max, demand;
    uint64_t max_lowered_at;
    char template[24];
    uint64_t counts[8];
};

enum {
    COUNT_LISTS,
    COUNT_WATCHES,
    COUNT_MADE,
    COUNT_DELETED,
    COUNT_DRAINS,
    COUNT_EXPIRED,
    COUNT_LOST,
    COUNT_STALE
};

void fail(struct world *w, const char *fmt, ...) A_PRINTF(2, 3);
void trace(struct world *w, const char *fmt, ...) A_PRINTF(2, 3);
bool chance(struct world *w, double p); /* of a fault: never once the world has healed */
uint64_t between(struct world *w, uint64_t low, uint64_t high);
struct event *after(struct world *w, uint64_t ms, enum what what);

/* server.c */
void pod_changed(struct world *w, struct pod *p, const char *type);
struct pod *pod_named(struct world *w, const char *name);
struct pod *pod_make(struct world *w, const char *name, bool ours);
void server_list(struct world *w, const struct event *e);
void server_watch(struct world *w, const struct event *e);
void server_pump(struct world *w, const struct event *e);
void server_create(struct world *w, const struct event *e);
void server_delete(struct world *w, const struct event *e);

/* driver.c: what the server says reaches the cores, and what they ask for the server */
void watch_event(struct world *w, struct kube_watch_event e);
void pool_event(struct world *w, struct kube_pool_event e);
void pool_spec_tell(struct world *w);
void node_tell(struct world *w, const struct pod *p);

#endif
