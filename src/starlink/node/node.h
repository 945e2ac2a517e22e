/* The node core: the node is the lock.
 *
 * Schedulers place on slightly stale views, so the last word on a claim is the node's own: it grants or
 * refuses from what it really has, and says why with numbers. This core holds the table of claims, the
 * capacity that they take, the highest epoch seen of each app, and the cordon and drain marks. It is pure:
 * time and events come in, what is to be done comes out as updates, and the daemon does it.
 *
 * Nothing is acknowledged that is not on disk: a change first gives PERSIST, and its REPLY (and START, STOP)
 * come out only after the daemon answered with PERSISTED. One change is in flight at a time; more wait in a
 * bounded line.
 *
 * States, events, updates and numbered invariants: docs/components/node.md. */
#ifndef SL_NODE_NODE_H
#define SL_NODE_NODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "base/heap.h"
#include "base/list.h"
#include "base/map.h"
#include "base/sm.h"
#include "types/capacity.h"
#include "types/digest.h"
#include "types/id.h"
#include "types/state.h"

#define SL_NODE_CLAIMS_MAX 256        /* claims of one node, of any state */
#define SL_NODE_APPS_MAX 4096         /* apps whose epoch is remembered */
#define SL_NODE_LINE_MAX 64           /* changes that wait while one is being persisted */
#define SL_NODE_PAYLOAD_MAX 12288     /* bytes of a claim's opaque payload (fits a frame) */
#define SL_NODE_TTL_MIN_MS 1000       /* a reservation must outlive a round trip */
#define SL_NODE_TTL_MAX_MS 300000     /* and may not hold capacity for longer than a slow gang takes */
#define SL_NODE_LINGER_MS 60000       /* a released claim is remembered so that repeats get the same answer */
#define SL_NODE_PERSIST_RETRY_MS 1000 /* a failed write is tried again: the disk may have room by then */

/* How a request ended. Numbers travel on the wire: append only. */
enum sl_node_result {
    SL_NODE_OK = 0,
    SL_NODE_NO_CAPACITY = 1,   /* `short_of` names the dimension, `free` the numbers */
    SL_NODE_STALE_EPOCH = 2,   /* `epoch` is the highest that this node persisted */
    SL_NODE_WRONG_STORE = 3,   /* the claim belongs to another store */
    SL_NODE_CORDONED = 4,      /* cordoned, draining or drained */
    SL_NODE_UNKNOWN_CLAIM = 5, /* never reserved here, or the reservation ran out */
    SL_NODE_WRONG_STATE = 6,   /* `state` says which */
    SL_NODE_NO_PORTS = 7,      /* the host has no free block of ports */
    SL_NODE_BUSY = 8,          /* the line of waiting changes is full: try again */
    SL_NODE_INVALID = 9,       /* a number or size out of bounds */
    SL_NODE_RESULT_COUNT_
};

/* "NoCapacity"; asserts that the number is in the table. */
const char *sl_node_result_name(enum sl_node_result r);

/* One claim as the node keeps it. Callers read; only the core writes. */
struct sl_claim {
    struct a_claim_id id;
    struct a_app_ref app;
    struct a_uuid store_id; /* of the store whose scheduler made it */
    uint64_t epoch;         /* of the last accepted change */
    uint64_t revision;
    struct a_digest revision_digest;
    int role; /* the caller's number: the core only keeps it */
    struct a_capacity capacity;
    struct a_sm state;               /* a_claim_states */
    uint64_t ttl_ms;                 /* of the reservation */
    uint16_t port_first, port_count; /* 0, 0 until assigned */
    char *payload;                   /* what BIND carried; the core does not look inside */
    size_t payload_len;
    uint64_t number; /* unique among the claims this node ever had: names folders */
    enum a_reason release_reason;

    /* inside */
    struct a_list link; /* sl_node.claims, in order of reservation */
    struct a_map_link by_key;
    struct a_timer timer; /* RESERVED: runs out; RELEASED: forgotten */
    char key[A_UUID_LEN + A_UNIT_NAME_MAX + A_NAME_MAX + 16];
};

enum sl_node_event_kind {
    SL_NODE_EV_RESERVE, /* id app store_id epoch revision revision_digest role capacity ttl_ms link seq */
    /* id store_id epoch payload link seq. On a claim that is BOUND already: the same store's epoch is taken
     * over and the answer repeated; another store with an epoch above the highest adopts the claim */
    SL_NODE_EV_BIND,
    SL_NODE_EV_RELEASE,   /* id store_id epoch reason link seq */
    SL_NODE_EV_REVISE,    /* id store_id epoch revision revision_digest payload link seq: a BOUND claim's new
                             revision */
    SL_NODE_EV_CORDON,    /* on link seq */
    SL_NODE_EV_DRAIN,     /* on link seq */
    SL_NODE_EV_CAPACITY,  /* capacity: the node's total changed; claims stay even when it shrank below them */
    SL_NODE_EV_ASSIGNED,  /* claim_number, port_first, port_count (0 = there was no free block) */
    SL_NODE_EV_PERSISTED, /* token, ok: answers PERSIST */
    SL_NODE_EV_STOPPED,   /* claim_number: nothing of it is left (process, folder, ports) */
    SL_NODE_EV_SLEPT,     /* slept_ms: the machine was suspended; reservations age by it */
    SL_NODE_EV_TIMER,     /* now_ms reached sl_node_deadline() */
};

struct sl_node_event {
    enum sl_node_event_kind kind;
    uint64_t now_ms; /* monotonic; never goes back */
    /* requests: `link` and `seq` come back in the reply */
    uint64_t link, seq;
    struct a_claim_id id;
    struct a_app_ref app;
    struct a_uuid store_id;
    uint64_t epoch, revision, ttl_ms;
    struct a_digest revision_digest;
    int role;
    struct a_capacity capacity;
    struct a_view payload; /* copied; REVISE: empty keeps the old one */
    enum a_reason reason;
    bool on;
    /* answers of the daemon */
    uint64_t claim_number, token, slept_ms;
    uint16_t port_first, port_count;
    bool ok;
};

enum sl_node_action_kind {
    SL_NODE_REPLY,   /* tell `link`: result of `seq` */
    SL_NODE_PERSIST, /* write sl_node_encode() atomically, fsync, answer PERSISTED{token} */
    SL_NODE_ASSIGN,  /* take a block of ports for the claim, answer ASSIGNED */
    SL_NODE_START,   /* the claim is BOUND: start its member from `claim->payload` */
    SL_NODE_STOP, /* the claim is RELEASING: stop the member, remove its folder, give the ports back, answer
                     STOPPED */
    SL_NODE_UNASSIGN, /* the reservation ended unbound: give its ports back */
    SL_NODE_CHANGED,  /* a claim's state, the free capacity or a mark changed: report at once */
};

struct sl_node_action {
    enum sl_node_action_kind kind;
    const struct sl_claim *claim;  /* valid until the next step; NULL where there is none */
    enum sl_node_event_kind asked; /* REPLY: what was asked */
    struct a_claim_id id;          /* REPLY: the claim that was asked about */
    uint64_t link, seq, token;
    enum sl_node_result result;
    uint64_t epoch;         /* REPLY: highest epoch persisted for the app */
    struct a_capacity free; /* REPLY: what the node has left */
    const char *short_of;   /* NO_CAPACITY: "cpu", "memory", "disk", "room for ..." */
};

/* Belongs to the core until the next step. */
struct sl_node_update {
    const struct sl_node_action *actions;
    size_t n_actions;
};

struct sl_node {
    struct a_capacity capacity; /* total */
    bool cordoned, draining;
    bool exclusive;       /* claims of one namespace at a time; set by the owner, not in the file */
    uint64_t incarnation; /* rises by one each time the agent starts: sl_node_begin() */
    struct a_list claims; /* struct sl_claim by link, in order of reservation */

    /* inside */
    size_t n_claims;
    uint64_t next_number;
    struct a_map by_key, epochs;
    struct a_heap timers;
    struct a_timer retry;
    struct a_list line; /* requests that wait */
    size_t n_line;
    struct sl_node_request *current;  /* the change in flight */
    uint64_t write_token, next_token; /* of the write in flight; 0 = none */
    bool dirty;                       /* something changed since the last write began */
    bool shrunk;                      /* the total went below the claims once: only then may they exceed it */
    struct a_list dead;               /* forgotten claims, freed by the next step */
    struct sl_node_action *actions;
    size_t n_actions, cap_actions;
    uint64_t now_ms;
};

/* An empty node. Deinit is safe twice and on a zeroed object. */
void sl_node_init(struct sl_node *self, const struct a_capacity *capacity);
void sl_node_deinit(struct sl_node *self);

/* Reads what sl_node_encode() wrote. `self` is initialised and empty. Claims come back in their states,
 * reservations with their whole ttl from `now_ms`. -EINVAL when the text is not a node's file: nothing is
 * guessed then, and `self` must be deinitialised. */
int sl_node_decode(struct sl_node *self, struct a_view text, uint64_t now_ms, struct a_error *reterr);
/* The node's file: lines of text, versioned. */
void sl_node_encode(const struct sl_node *self, struct a_buf *ret_text);

/* After init or decode: raises the incarnation (persisted by the first update) and asks again for what was
 * under way: START for each BOUND claim (the daemon finds the member's shim or starts it), STOP for each
 * RELEASING one. */
void sl_node_begin(struct sl_node *self, uint64_t now_ms, struct sl_node_update *ret_update);

/* One event. Never fails: what is wrong with a request is said in its reply. */
void sl_node_step(struct sl_node *self, const struct sl_node_event *event, struct sl_node_update *ret_update);
/* When to send TIMER, or A_NEVER. */
uint64_t sl_node_deadline(const struct sl_node *self);

/* What is left: the total less every claim that is not RELEASED. */
struct a_capacity sl_node_free(const struct sl_node *self);
/* UP, DRAINING or DRAINED: what the node knows of itself. */
enum a_node_state sl_node_state(const struct sl_node *self);
/* NULL when there is none. */
const struct sl_claim *sl_node_find(const struct sl_node *self, const struct a_claim_id *id);
const struct sl_claim *sl_node_find_number(const struct sl_node *self, uint64_t number);
/* The highest epoch persisted for the app, 0 when none. */
uint64_t sl_node_epoch(const struct sl_node *self, const struct a_uuid *app_uid);
/* What a request about this claim under that store and epoch would be answered, as far as its authority goes:
 * OK when the claim is bound here, that store's, and no higher epoch of the app was seen. */
enum sl_node_result sl_node_authority(const struct sl_node *self, const struct a_claim_id *id,
                                      const struct a_uuid *store_id, uint64_t epoch);
/* Checks the invariants N1 to N5 of docs/components/node.md; aborts on a broken one. For tests and
 * simulations. */
void sl_node_check(const struct sl_node *self);

#endif
