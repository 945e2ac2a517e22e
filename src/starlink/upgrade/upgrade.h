/* The pace of an upgrade of agents: which nodes are told to go over to another artifact, and when it stops by
 * itself. Pure; the server's daemon tells it what the nodes look like, and carries out what it asks for.
 *
 * One cluster after another, in the order of their names; in a cluster a tenth of its nodes at a time, at
 * least one. A node is through when it runs what is wanted and nothing that served there before lacks for it.
 * Two failures in a row stop everything, and so does a unit that no longer serves. What is already running is
 * never asked for twice: a node that comes later, with another agent, is simply one more that is not through.
 *
 * docs/components/upgrade.md has the events, updates and invariants. */
#ifndef SL_UPGRADE_UPGRADE_H
#define SL_UPGRADE_UPGRADE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "types/id.h"

#define SL_UPGRADE_SHARE 10       /* a tenth of a cluster's nodes at a time */
#define SL_UPGRADE_FAILURES_MAX 2 /* in a row */
/* An agent that knows UPGRADE answers it at once. */
#define SL_UPGRADE_ANSWER_MS 15000
#define SL_UPGRADE_FETCH_MS (UINT64_C(15) * 60 * 1000)
/* Both tries of a new agent take a minute (src/daemon/agent/enter.c), and its restarts some seconds. */
#define SL_UPGRADE_BACK_MS 90000
#define SL_UPGRADE_STEADY_MS 2000 /* it stays, before the next one is told */
/* A node whose connection broke before it had answered is told once more. */
#define SL_UPGRADE_TELLS_MAX 2
#define SL_UPGRADE_TELL_MAX 64 /* at once, in one update */
#define SL_UPGRADE_MESSAGE_MAX 512

/* What a node looks like. */
struct sl_upgrade_row {
    struct a_node_id id;
    struct a_name cluster;
    uint32_t conn; /* its connection; 0 = none */
    bool wants;    /* it is to be upgraded */
    bool ready;    /* and may be now */
    bool through;  /* it runs what is wanted */
};

enum sl_upgrade_event_type {
    SL_UPGRADE_LOOK,       /* rows: all nodes there are */
    SL_UPGRADE_FETCHING,   /* node: it has begun */
    SL_UPGRADE_RESTARTING, /* node: its new agent is started */
    SL_UPGRADE_FAILED,     /* node, message: it stays as it was */
};

struct sl_upgrade_event {
    enum sl_upgrade_event_type type;
    uint64_t now_ms;
    struct a_node_id node;
    const char *message;
    const struct sl_upgrade_row *rows;
    size_t n_rows;
    bool unsettled;    /* LOOK: a unit that was served by nodes told before does not serve right now ... */
    const char *worse; /* ... or is held to be lost by the upgrade: what to say; NULL = none */
};

struct sl_upgrade_update {
    struct a_node_id tell[SL_UPGRADE_TELL_MAX];
    size_t n_tell;
    struct a_node_id failed; /* that failed in this step; empty = none */
    const char *why;         /* of `failed` */
    bool stopped;            /* by itself: message says why */
    bool idle;               /* LOOK: nothing is under way, and no node is left to be told */
    char message[SL_UPGRADE_MESSAGE_MAX];
};

struct sl_upgrade {
    uint32_t pace;         /* nodes at a time; 0 = the tenth */
    struct a_map nodes;    /* struct sl_upgrade_node: told, or failed */
    struct a_list flights; /* those under way */
    size_t n_flights, n_failed;
    unsigned in_a_row;
    bool stopped;
};

void sl_upgrade_init(struct sl_upgrade *self, uint32_t pace);
void sl_upgrade_deinit(struct sl_upgrade *self); /* safe on zeroed */
/* Always 0: events about nodes that are not under way change nothing, but for FAILED, which is what the node
 * remembers. *ret_update is valid until the next step. */
int sl_upgrade_step(struct sl_upgrade *self, const struct sl_upgrade_event *event,
                    struct sl_upgrade_update *ret_update);
bool sl_upgrade_is_under_way(const struct sl_upgrade *self, const struct a_node_id *node);
/* Why the node failed; NULL: it did not. */
const char *sl_upgrade_failure(const struct sl_upgrade *self, const struct a_node_id *node);

#endif
