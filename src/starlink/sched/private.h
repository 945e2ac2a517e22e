/* What the files of the claimer share. */
#ifndef SL_SCHED_PRIVATE_H
#define SL_SCHED_PRIVATE_H

#include "starlink/sched/policy.h"
#include "starlink/sched/sched.h"

/* A member of a gang on its way to a node. */
enum gang_step { GANG_OPEN, GANG_SENT, GANG_GRANTED, GANG_BINDING, GANG_BOUND };

struct gang_place {
    enum gang_step step;
    struct a_node_id node;
    uint32_t attempt, next_attempt;
    uint64_t sent_ms;
    char *grant;
    size_t grant_len;
};

struct gang_shun {
    struct a_node_id node;
    uint64_t until_ms;
};

struct gang {
    struct a_list link;
    struct sl_sched *sched;
    struct sl_gang_request request; /* owns its arrays */
    struct gang_place *places;      /* one per member */
    struct gang_shun *shuns;
    size_t n_shuns;
    enum a_reason refused; /* why a node refused last */
    bool granted, committed;
    uint64_t started_ms; /* the first RESERVE since the last fresh start; A_NEVER = none yet */
    struct a_timer timer;
};

struct sl_sched_update_item *sched_tell(struct sl_sched *self, enum sl_sched_update_type type, uint64_t gang);

void gang_place(struct sl_sched *self, const struct sl_gang_request *request);
void gang_cancel(struct sl_sched *self, uint64_t number);
void gang_commit(struct sl_sched *self, uint64_t number);
void gang_reply(struct sl_sched *self, const struct sl_sched_event *event);
void gang_claim_gone(struct sl_sched *self, const struct a_node_id *node, const struct a_claim_id *id);
void gang_timer(struct gang *gang);
void gang_node_changed(struct sl_sched *self, const struct a_node_id *id);
/* Lets gangs that wait try again, oldest first. */
void gang_kick(struct sl_sched *self);
void gang_free(struct gang *gang);

struct release {
    struct a_map_link link;
    struct sl_sched *sched;
    struct a_node_id node;
    struct sl_claim_order order;
    struct a_timer timer;
    bool fence; /* no release: the node is to take the epoch over */
    char key[256];
};

void release_start(struct sl_sched *self, const struct a_node_id *node, const struct sl_claim_order *order);
/* A release of the claim takes its place, never the other way round. */
void fence_start(struct sl_sched *self, const struct a_node_id *node, const struct sl_claim_order *order);
/* True when the claim was being released or fenced. */
bool release_reply(struct sl_sched *self, const struct sl_sched_event *event);
void release_gone(struct sl_sched *self, const struct a_node_id *node, const struct a_claim_id *id);
/* Drops the releases and fences of a node that was forgotten. */
void release_node_changed(struct sl_sched *self, const struct a_node_id *id);
void release_timer(struct release *release);
void release_free_all(struct sl_sched *self);

/* Is there an environment for the node's processor? */
bool request_runs_on(const struct sl_gang_request *request, const struct sl_view_node *node);

/* Counts why no node takes the member of the request that found none. */
void explain_make(const struct sl_policy_input *input, const struct sl_policy_short *s,
                  struct sl_explain *ret);

#endif
