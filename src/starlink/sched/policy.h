/* A placement policy: which nodes a gang's members go to. One file each in policy/, listed in sl_policies. */
#ifndef SL_SCHED_POLICY_H
#define SL_SCHED_POLICY_H

#include "starlink/sched/sched.h"

/* Why `node` takes no claim now whatever its size (state, a claim under way, shunned); NONE = it does. */
typedef enum sl_unfit sl_policy_fit_fn(const void *context, const struct sl_view_node *node);

struct sl_policy_input {
    const struct sl_view *view;
    const struct sl_gang_request *request;
    /* Members that have a node already; NULL where the policy chooses. One per member. */
    struct sl_view_node *const *fixed;
    sl_policy_fit_fn *fit;
    const void *context;
};

/* Why a gang found no place. */
struct sl_policy_short {
    size_t member; /* the index of the one that found none */
    /* The cluster that came furthest would have had room, if this limit of it did not stand in the way. */
    struct a_name limited; /* empty = none did */
    enum sl_limit limit;
    struct sl_budget budget; /* of that cluster, with the members before counted as placed */
};

struct sl_policy {
    const char *name;
    /* Chooses a node for each member, all in one cluster and within its limits (sl_view_budget), and writes
     * ret_nodes[n_members] (fixed ones as they are); true = all found. False: *ret_short says why. */
    bool (*choose)(const struct sl_policy_input *input, struct sl_view_node **ret_nodes,
                   struct sl_policy_short *ret_short);
};

extern const struct sl_policy sl_policy_spread;
extern const struct sl_policy *const sl_policies[];       /* NULL-terminated; the first is the default */
const struct sl_policy *sl_policy_find(const char *name); /* NULL when there is none */

#endif
