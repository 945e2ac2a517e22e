/* The resource server's table: which nodes there are, what runs on them, and who of them is alive.
 *
 * Nodes report to us over connections; a row is ordered by (incarnation, attach, sequence), so that an older
 * verdict never replaces a newer one. Death is decided here and nowhere else, from four pieces of evidence:
 * the connection closed, beats missing, an endpoint refused at a gateway, the node attached again. Out of
 * routing is fast and cheap to undo; DEAD is slow and certain.
 *
 * A row that beats touch is 16 bytes and lies apart from the rest, so that a second's worth of beats for a
 * million nodes stays in the cache. docs/components/resource.md has the events, updates and invariants. */
#ifndef SL_RESOURCE_RESOURCE_H
#define SL_RESOURCE_RESOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "types/capacity.h"
#include "types/digest.h"
#include "types/id.h"
#include "types/state.h"

/* Beats come each second; three missed ones make a node SUSPECT. */
#define SL_RESOURCE_SUSPECT_MS 3000
/* A closed connection alone is death after this, and so is silence: an agent's restart and reconnect takes
 * 1-3 s. */
#define SL_RESOURCE_LOST_MS 10000
#define SL_RESOURCE_LOST_MIN_MS 4000
/* A second live connection with one id is a duplicate when both still speak after this; frames of a closed
 * connection that were under way arrive sooner. */
#define SL_RESOURCE_DUPLICATE_MS 3000
/* A dead node's row without news is forgotten after a day. */
#define SL_RESOURCE_FORGET_MS (UINT64_C(24) * 3600 * 1000)
/* How long a released claim's row outlives it: a node repeats its answer as long. */
#define SL_RESOURCE_LINGER_MS 60000
/* A step that comes this much after its deadline was our own sleep: nobody is declared dead for it. */
#define SL_RESOURCE_STALL_MS 5000

#define SL_RESOURCE_TEXT_MAX 128 /* host, address */

enum sl_resource_node_flags {
    SL_RESOURCE_NODE_CORDONED = 1 << 0,  /* nothing new is placed there */
    SL_RESOURCE_NODE_DRAINING = 1 << 1,  /* wants to become empty: the agent keeps this in its file */
    SL_RESOURCE_NODE_DRAINED = 1 << 2,   /* and is */
    SL_RESOURCE_NODE_DUPLICATE = 1 << 3, /* ours: two live connections claim this id, set aside */
    SL_RESOURCE_NODE_EXCLUSIVE = 1 << 4, /* members of one namespace at a time */
};

/* What a node says of itself when it attaches, or later by NODE_STATUS (identity fields are ignored then). */
struct sl_resource_node_facts {
    struct a_name cluster, network, zone;
    struct a_name arch; /* its processor; empty = not told */
    char host[SL_RESOURCE_TEXT_MAX];
    char address[SL_RESOURCE_TEXT_MAX]; /* where its agent serves health and metrics; may be empty */
    struct a_capacity capacity;         /* all it has */
    struct a_capacity free;             /* less its claims */
    uint32_t flags;                     /* CORDONED | DRAINING | DRAINED | EXCLUSIVE */
    uint64_t leaves_ms;                 /* while DRAINING: when it ends, empty or not; 0 = once it is empty */
};

struct sl_resource_node {
    struct a_map_link link; /* by id */
    struct a_node_id id;
    struct a_sm sm; /* a_node_states */
    enum a_reason reason;
    uint64_t since_ms; /* in this state */
    uint64_t incarnation, attach;
    uint32_t conn, rival; /* connection that owns the row, and a second one that claims it; 0 = none */
    uint32_t slot;        /* index of its hot row */
    bool snapshot;        /* all its claims were told since the attach */
    bool refused;         /* a gateway saw an endpoint refused since the last sign of life */
    uint32_t n_confirmed; /* claims told since the attach ... */
    uint32_t n_snapshot;  /* ... and how many SNAPSHOT_END announced; UINT32_MAX = not yet */
    uint64_t attach_ms, status_sequence;
    uint64_t closed_ms; /* when the connection closed; valid while conn == 0 */
    uint64_t rival_ms, rival_beat_ms;
    struct sl_resource_node_facts facts;
    struct a_list claims; /* struct sl_resource_claim.of_node */
    struct a_timer timer;
};

/* What a node reports of one claim. `detail` is for the layers above (endpoints, Serve's status, ...). */
struct sl_resource_claim_facts {
    struct a_claim_id id;
    struct a_app_ref app;
    struct a_uuid store_id;
    uint64_t epoch;
    uint64_t revision;
    struct a_digest digest; /* of the revision it runs */
    struct a_capacity capacity;
    enum a_claim_state state;
    enum a_member_state member;
    enum a_reason reason;
    struct a_view message; /* for people; may be empty */
    struct a_view detail;  /* opaque here: the frame's own bytes */
};

struct sl_resource_claim {
    struct a_list of_node, of_orphans;
    struct sl_resource_node *node;
    struct sl_resource_claim_facts facts; /* views own their bytes in `text` */
    char *text;
    uint64_t sequence; /* of its last frame in this attach */
    uint64_t gone_ms;  /* RELEASED: kept for a while so that a late frame does not bring it back */
    bool confirmed;    /* told since the node's last attach */
    bool orphan;       /* no known app has this uid and store id */
};

enum sl_resource_event_type {
    SL_RESOURCE_ATTACH,       /* HELLO accepted; claims follow, then SNAPSHOT_END */
    SL_RESOURCE_DETACH,       /* the connection closed (once per node that it carried) */
    SL_RESOURCE_BEAT,         /* one beat; many at once: sl_resource_merge */
    SL_RESOURCE_NODE_STATUS,  /* capacity, free or flags changed */
    SL_RESOURCE_CLAIM_STATUS, /* a claim's state, also RELEASED as the last word */
    SL_RESOURCE_SNAPSHOT_END, /* claims not told since ATTACH are gone */
    SL_RESOURCE_REFUSED,      /* a gateway: connection refused or reset at an endpoint of this node */
    SL_RESOURCE_KNOW_APP,     /* the store has an app with this uid whose claims carry this store id */
    SL_RESOURCE_FORGET_APP,   /* deleted, all claims gone */
    SL_RESOURCE_TIME,         /* the deadline passed */
};

struct sl_resource_event {
    enum sl_resource_event_type type;
    uint64_t now_ms; /* monotonic, never less than before */
    struct a_node_id node;
    uint32_t conn;     /* the daemon's number of the connection, not 0 */
    uint64_t sequence; /* of the frame, rises within an attach (BEAT, NODE_STATUS, CLAIM_STATUS) */
    union {
        struct {
            uint64_t incarnation, attach;
            const struct sl_resource_node_facts *facts;
        } attach;
        uint16_t load; /* BEAT: 0 idle ... 1000 full */
        const struct sl_resource_node_facts *status;
        const struct sl_resource_claim_facts *claim;
        uint32_t n_claims; /* SNAPSHOT_END: how many CLAIM_STATUS came before it */
        struct {
            struct a_uuid uid, store_id;
        } app;
    };
};

enum sl_resource_delta_type {
    SL_RESOURCE_DELTA_NODE,       /* state, reason, flags, capacity: the row's present values */
    SL_RESOURCE_DELTA_NODE_GONE,  /* forgotten, after its claims; `node` is valid until the next step */
    SL_RESOURCE_DELTA_CLAIM,      /* new or changed */
    SL_RESOURCE_DELTA_CLAIM_GONE, /* the node says that it no longer exists; valid until the next step */
    SL_RESOURCE_DELTA_LOAD,       /* free capacity rose, or load: the only one that is not urgent */
    SL_RESOURCE_DELTA_DISCONNECT, /* the daemon shall close `conn` (silent, stale or duplicate) */
};

struct sl_resource_delta {
    enum sl_resource_delta_type type;
    const struct sl_resource_node *node;   /* always set, but for a stale DISCONNECT never NULL */
    const struct sl_resource_claim *claim; /* CLAIM, CLAIM_GONE */
    uint32_t conn;                         /* DISCONNECT */
    enum a_reason reason;                  /* DISCONNECT */
};

/* Deltas in the order in which they came about; the core's until the next step. */
struct sl_resource_update {
    const struct sl_resource_delta *deltas;
    size_t n_deltas;
};

/* One beat of a batch: `slot` and `conn` as when the node attached. */
struct sl_resource_beat {
    uint32_t slot;
    uint32_t conn;
    uint32_t sequence;
    uint16_t load;
    uint16_t unused;
};

/* The 16 bytes that a beat touches. */
struct sl_resource_row {
    uint32_t sequence;
    uint32_t beat_ms; /* low half of the time of the last sign of life */
    uint32_t conn;    /* 0: slow path (no connection, rival, suspect) */
    uint16_t load;
    uint16_t flags;
};

struct sl_resource {
    struct a_map nodes;
    struct a_map apps; /* known (uid, store id) */
    struct a_list orphans;
    struct sl_resource_row *rows;
    struct sl_resource_node **by_slot;
    size_t n_rows, cap_rows;
    uint32_t *free_slots;
    size_t n_free, cap_free;
    struct a_heap timers;
    uint64_t now_ms, amnesty_ms;
    uint64_t lost_ms; /* SL_RESOURCE_LOST_MS unless the owner says otherwise after init */
    struct sl_resource_delta *deltas;
    size_t n_deltas, cap_deltas;
    struct a_list graveyard;       /* claims freed at the next step */
    struct sl_resource_node *gone; /* nodes freed at the next step, chained by link.next */
    uint64_t stale;                /* frames of a lost verdict, dropped */
};

void sl_resource_init(struct sl_resource *self, uint64_t seed);
void sl_resource_deinit(struct sl_resource *self); /* safe twice */
/* 0, or a positive SL_RESOURCE_E_*: the event was dropped and *ret_update is empty or a DISCONNECT. */
int sl_resource_step(struct sl_resource *self, const struct sl_resource_event *event,
                     struct sl_resource_update *ret_update);
#define SL_RESOURCE_E_STALE 1   /* an older incarnation, attach or sequence, or not the owning connection */
#define SL_RESOURCE_E_UNKNOWN 2 /* no such node */
/* Merges a batch of beats that change nothing but load and time. Beats that it cannot take that way (another
 * connection, a suspect node, an old sequence) are left to the caller: their indices go to ret_slow (room for
 * n), their number is returned; each is then a BEAT event. */
size_t sl_resource_merge(struct sl_resource *self, uint64_t now_ms, const struct sl_resource_beat *beats,
                         size_t n, uint32_t *ret_slow);
/* When a TIME event is due; A_NEVER = none. */
uint64_t sl_resource_deadline(const struct sl_resource *self);

const struct sl_resource_node *sl_resource_node(const struct sl_resource *self, const struct a_node_id *id);
/* All nodes in unspecified order: first with prev NULL; NULL at the end. */
const struct sl_resource_node *sl_resource_next(const struct sl_resource *self,
                                                const struct sl_resource_node *prev);
const struct sl_resource_claim *sl_resource_claim(const struct sl_resource *self,
                                                  const struct a_node_id *node, const struct a_claim_id *id);
/* Load word of a node's last beat. */
uint16_t sl_resource_load(const struct sl_resource *self, const struct sl_resource_node *node);
enum a_node_state sl_resource_node_state(const struct sl_resource_node *node);
/* A connection is there and the state allows new claims. */
bool sl_resource_node_placeable(const struct sl_resource_node *node);

/* The claims of a node: first with prev NULL. */
const struct sl_resource_claim *sl_resource_next_claim(const struct sl_resource_node *node,
                                                       const struct sl_resource_claim *prev);
/* The first orphan (prev NULL) or the one after it. */
const struct sl_resource_claim *sl_resource_next_orphan(const struct sl_resource *self,
                                                        const struct sl_resource_claim *prev);

#endif
