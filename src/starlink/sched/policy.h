/* A placement policy: which nodes a gang's members go to. One file each in policy/, listed in sl_policies. */
#ifndef SL_SCHED_POLICY_H
#define SL_SCHED_POLICY_H

#include "starlink/sched/sched.h"

/* Whether `node` may take `member` of this request now; NONE = yes. The claimer's own conditions (in flight,
 * shunned) included. */
typedef enum sl_unfit sl_policy_fit_fn(void *context, const struct sl_view_node *node);

struct sl_policy_input {
    const struct sl_view *view;
    const struct sl_gang_request *request;
    /* Members already reserved keep their node; NULL where the policy chooses. One per member. */
    struct sl_view_node *const *fixed;
    sl_policy_fit_fn *fit; /* state, in flight, shunned; capacity is the policy's business */
    void *context;
};

struct sl_policy {
    const char *name;
    /* Chooses a node for each member (all in one cluster) and writes ret_nodes[n_members]; true = all found.
     * False: explain says why. `BUSY` in explain.unfit means that it may fit once a claim under way is
     * decided. */
    bool (*choose)(const struct sl_policy_input *input, struct sl_view_node **ret_nodes,
                   struct sl_explain *ret_explain);
};

extern const struct sl_policy sl_policy_spread;
extern const struct sl_policy *const sl_policies[];       /* NULL-terminated; the first is the default */
const struct sl_policy *sl_policy_find(const char *name); /* NULL when there is none */

#endif
