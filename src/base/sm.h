/* State tables. Three or more states are a table (name, allowed successors, invariant), not scattered ifs. An
 * illegal move is our own bug and aborts; every move may be traced. The idea is canonical/dqlite's
 * src/lib/sm.h. */
#ifndef A_BASE_SM_H
#define A_BASE_SM_H

#include <stdbool.h>
#include <stdint.h>

#define A_SM_BIT(state) (UINT64_C(1) << (state))

struct a_sm_state {
    const char *name;
    uint64_t allowed; /* A_SM_BIT() of each successor */
};

struct a_sm_table {
    const char *name;
    const struct a_sm_state *states;
    int n_states; /* at most 64 */
};

struct a_sm {
    const struct a_sm_table *table;
    int state;
};

void a_sm_init(struct a_sm *sm, const struct a_sm_table *table, int state);
bool a_sm_may(const struct a_sm *sm, int to);
/* Aborts when the table does not allow it. `subject` names the object in the trace line. */
void a_sm_move(struct a_sm *sm, int to, const char *subject);
const char *a_sm_name(const struct a_sm *sm);
/* Told of every move in this process (tests, debug log); NULL = nobody. Set before threads start. */
void a_sm_set_trace(void (*trace)(const char *table, const char *subject, const char *from, const char *to));

#endif
