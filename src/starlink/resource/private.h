/* What the files of the resource table share. */
#ifndef SL_RESOURCE_PRIVATE_H
#define SL_RESOURCE_PRIVATE_H

#include "starlink/resource/resource.h"

void resource_tell(struct sl_resource *self, const struct sl_resource_delta *delta);
void resource_tell_node(struct sl_resource *self, const struct sl_resource_node *node);
void resource_disconnect(struct sl_resource *self, const struct sl_resource_node *node, uint32_t conn,
                         enum a_reason reason);
/* Takes the node out of the table; its memory lives until the next step. */
void resource_forget(struct sl_resource *self, struct sl_resource_node *node);

/* Weighs the evidence: moves the state, tells of it, sets the node's timer. */
void liveness_assess(struct sl_resource *self, struct sl_resource_node *node);
void liveness_closed(struct sl_resource *self, struct sl_resource_node *node);
/* A frame of a second connection with this node's id. */
void liveness_rival_spoke(struct sl_resource *self, struct sl_resource_node *node);

int claims_status(struct sl_resource *self, struct sl_resource_node *node,
                  const struct sl_resource_event *event);
/* After ATTACH every claim must be told again. */
void claims_unconfirm(struct sl_resource_node *node);
/* The snapshot is whole: what was not told is gone. */
void claims_settle(struct sl_resource *self, struct sl_resource_node *node);
void claims_forget(struct sl_resource *self, struct sl_resource_node *node);
void claims_free_graveyard(struct sl_resource *self);
int claims_know_app(struct sl_resource *self, const struct sl_resource_event *event);
int claims_forget_app(struct sl_resource *self, const struct sl_resource_event *event);
void claims_deinit(struct sl_resource *self);

#endif
