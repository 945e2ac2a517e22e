#include "types/state.h"

#include "base/assert.h"

#define N(s) A_SM_BIT(A_NODE_##s)
#define C(s) A_SM_BIT(A_CLAIM_##s)
#define M(s) A_SM_BIT(A_MEMBER_##s)
#define U(s) A_SM_BIT(A_UNIT_##s)

static const struct a_sm_state node_states[] = {
    [A_NODE_JOINING] = {"JOINING", N(UP) | N(DRAINING) | N(SUSPECT) | N(DEAD)},
    [A_NODE_UP] = {"UP", N(SUSPECT) | N(DRAINING) | N(DEAD)},
    [A_NODE_SUSPECT] = {"SUSPECT", N(UP) | N(DRAINING) | N(DRAINED) | N(DEAD)},
    [A_NODE_DRAINING] = {"DRAINING", N(DRAINED) | N(UP) | N(SUSPECT) | N(DEAD)},
    [A_NODE_DRAINED] = {"DRAINED", N(UP) | N(SUSPECT) | N(DEAD)},
    [A_NODE_DEAD] = {"DEAD", N(JOINING) | N(UP) | N(DRAINING) | N(DRAINED)},
};

static const struct a_sm_state claim_states[] = {
    [A_CLAIM_RESERVED] = {"RESERVED", C(BOUND) | C(RELEASED)},
    [A_CLAIM_BOUND] = {"BOUND", C(RELEASING)},
    [A_CLAIM_RELEASING] = {"RELEASING", C(RELEASED)},
    [A_CLAIM_RELEASED] = {"RELEASED", 0},
};

static const struct a_sm_state member_states[] = {
    [A_MEMBER_PLANNED] = {"PLANNED", M(RESERVED) | M(EXITED) | M(LOST)},
    [A_MEMBER_RESERVED] = {"RESERVED", M(BOUND) | M(PLANNED) | M(EXITED) | M(LOST)},
    [A_MEMBER_BOUND] = {"BOUND", M(FETCHING) | M(STARTING) | M(STOPPING) | M(EXITED) | M(LOST)},
    [A_MEMBER_FETCHING] = {"FETCHING", M(STARTING) | M(STOPPING) | M(EXITED) | M(LOST)},
    [A_MEMBER_STARTING] = {"STARTING", M(UP) | M(STOPPING) | M(EXITED) | M(LOST)},
    [A_MEMBER_UP] = {"UP", M(STARTING) | M(STOPPING) | M(EXITED) | M(LOST)},
    [A_MEMBER_STOPPING] = {"STOPPING", M(EXITED) | M(LOST)},
    [A_MEMBER_EXITED] = {"EXITED", M(PLANNED)},
    [A_MEMBER_LOST] = {"LOST",
                       M(PLANNED) | M(BOUND) | M(FETCHING) | M(UP) | M(STARTING) | M(STOPPING) | M(EXITED)},
};

/* Whatever has members may drain, stop, fail or be lost. */
#define U_ENDS (U(DRAINING) | U(STOPPED) | U(FAILED) | U(LOST))

static const struct a_sm_state unit_states[] = {
    [A_UNIT_PLANNED] = {"PLANNED", U(CLAIMING) | U(STOPPED) | U(FAILED)},
    [A_UNIT_CLAIMING] = {"CLAIMING", U(FETCHING) | U(PLANNED) | U_ENDS},
    [A_UNIT_FETCHING] = {"FETCHING", U(STARTING) | U_ENDS},
    [A_UNIT_STARTING] = {"STARTING", U(DEPLOYING) | U_ENDS},
    [A_UNIT_DEPLOYING] = {"DEPLOYING", U(READY) | U(STARTING) | U_ENDS},
    [A_UNIT_READY] = {"READY", U(UPDATING) | U(UNHEALTHY) | U_ENDS},
    [A_UNIT_UPDATING] = {"UPDATING", U(READY) | U(UNHEALTHY) | U_ENDS},
    [A_UNIT_UNHEALTHY] = {"UNHEALTHY", U(READY) | U(UPDATING) | U(STARTING) | U(DEPLOYING) | U_ENDS},
    [A_UNIT_DRAINING] = {"DRAINING", U(STOPPED) | U(LOST) | U(FAILED)},
    [A_UNIT_STOPPED] = {"STOPPED", 0},
    [A_UNIT_LOST] = {"LOST", U(READY) | U(UNHEALTHY) | U(DEPLOYING) | U(STARTING) | U(FETCHING) |
                                 U(DRAINING) | U(STOPPED)},
    [A_UNIT_FAILED] = {"FAILED", U(PLANNED) | U(STOPPED) | U(LOST)},
    [A_UNIT_COMPLETED] = {"COMPLETED", U(STOPPED)},
};

const struct a_sm_table a_node_states = {"node", node_states, A_NODE_STATE_COUNT};
const struct a_sm_table a_claim_states = {"claim", claim_states, A_CLAIM_STATE_COUNT};
const struct a_sm_table a_member_states = {"member", member_states, A_MEMBER_STATE_COUNT};
const struct a_sm_table a_unit_states = {"unit", unit_states, A_UNIT_STATE_COUNT};

static const char *const reasons[] = {
#define X(name, text, number) [number] = text,
    A_REASONS(X)
#undef X
};

static const char *state_name(const struct a_sm_table *table, int s)
{
    a_assert(s >= 0 && s < table->n_states);
    return table->states[s].name;
}

const char *a_node_state_name(enum a_node_state s)
{
    return state_name(&a_node_states, (int)s);
}

const char *a_claim_state_name(enum a_claim_state s)
{
    return state_name(&a_claim_states, (int)s);
}

const char *a_member_state_name(enum a_member_state s)
{
    return state_name(&a_member_states, (int)s);
}

const char *a_unit_state_name(enum a_unit_state s)
{
    return state_name(&a_unit_states, (int)s);
}

const char *a_reason_name(enum a_reason r)
{
    a_assert((unsigned)r < A_REASON_COUNT);
    return reasons[r];
}

bool a_unit_state_parse(struct a_view v, enum a_unit_state *ret)
{
    for (int i = 0; i < A_UNIT_STATE_COUNT; i++) {
        if (a_view_is(v, unit_states[i].name)) {
            *ret = (enum a_unit_state)i;
            return true;
        }
    }
    return false;
}

bool a_reason_parse(struct a_view v, enum a_reason *ret)
{
    for (int i = 0; i < A_REASON_COUNT; i++) {
        if (a_view_is(v, reasons[i])) {
            *ret = (enum a_reason)i;
            return true;
        }
    }
    return false;
}
