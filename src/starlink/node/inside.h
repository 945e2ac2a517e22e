/* What the files of the node core share. */
#ifndef SL_NODE_INSIDE_H
#define SL_NODE_INSIDE_H

#include "starlink/node/node.h"

struct sl_node_epoch {
    struct a_map_link by_uid;
    struct a_uuid app_uid;
    uint64_t epoch;
};

/* The claim under that id, in any state, or NULL. */
struct sl_claim *sl_node_claim_get(const struct sl_node *self, const struct a_claim_id *id);
/* A claim in state `state`, linked and numbered; the caller sees that there is none with that id. */
struct sl_claim *sl_node_claim_new(struct sl_node *self, const struct a_claim_id *id,
                                   enum a_claim_state state);
/* Remembers the epoch when it is higher; false when the table of apps is full. */
bool sl_node_epoch_raise(struct sl_node *self, const struct a_uuid *app_uid, uint64_t epoch);

#endif
