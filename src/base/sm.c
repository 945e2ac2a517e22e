#include "base/sm.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"

static void (*sm_trace)(const char *, const char *, const char *, const char *);

void a_sm_init(struct a_sm *sm, const struct a_sm_table *table, int state)
{
    a_assert(state >= 0 && state < table->n_states && table->n_states <= 64);
    *sm = (struct a_sm){table, state};
}

bool a_sm_may(const struct a_sm *sm, int to)
{
    a_assert(to >= 0 && to < sm->table->n_states);
    return (sm->table->states[sm->state].allowed & A_SM_BIT(to)) != 0;
}

void a_sm_move(struct a_sm *sm, int to, const char *subject)
{
    if (!a_sm_may(sm, to)) {
        fprintf(stderr, "astra: illegal move of %s %s: %s -> %s\n", sm->table->name, subject, a_sm_name(sm),
                sm->table->states[to].name);
        abort();
    }
    if (sm_trace != NULL)
        sm_trace(sm->table->name, subject, a_sm_name(sm), sm->table->states[to].name);
    sm->state = to;
}

const char *a_sm_name(const struct a_sm *sm)
{
    return sm->table->states[sm->state].name;
}

void a_sm_set_trace(void (*trace)(const char *table, const char *subject, const char *from, const char *to))
{
    sm_trace = trace;
}
