/* Who must have heard before what serves may go.
 *
 * A fleet takes a unit out of routing and waits: until every gateway has applied a view without it
 * (WITHDRAWN), and until none of them has a request in flight there (IDLE). This core keeps the gateways'
 * acknowledgements and counts, and says when both are so. A gateway that is away still sends to what it knew
 * last: it is waited for as long as its way back takes, and while its requests are not known nothing is
 * called idle. docs/components/unit.md, "Withdrawal", has the events, the answers and the numbered
 * invariants. */
#ifndef UNIT_WITHDRAW_H
#define UNIT_WITHDRAW_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/map.h"
#include "types/id.h"

/* A gateway dials every 5 s at most: one that lives is back by then. */
#define UNIT_WITHDRAW_AWAY_MS 10000
/* No request is expected to last for longer at a gateway that does not come back. */
#define UNIT_WITHDRAW_LOST_MS 60000
/* A step that comes so much after its deadline was our own sleep. */
#define UNIT_WITHDRAW_STALL_MS 5000

enum unit_withdraw_event_type {
    UNIT_WITHDRAW_STARTED, /* units may serve from before: gateways that nobody knows yet may come */
    UNIT_WITHDRAW_JOIN,    /* gateway, conn: it asked for the view */
    UNIT_WITHDRAW_LEFT,    /* conn closed */
    UNIT_WITHDRAW_LEAVES,  /* unit, sequence: the next view takes it out of routing */
    UNIT_WITHDRAW_STAYS,   /* unit: it serves (again), or is over */
    UNIT_WITHDRAW_SENT,    /* sequence: a view was made; what left before is in it */
    UNIT_WITHDRAW_ACKED,   /* conn, sequence: it has applied the view */
    UNIT_WITHDRAW_LOAD,    /* conn, unit, endpoint, in_flight */
    UNIT_WITHDRAW_GONE,    /* endpoint: no view has it any more, and no gateway will speak of it again */
    UNIT_WITHDRAW_TIME,
};

struct unit_withdraw_event {
    enum unit_withdraw_event_type type;
    uint64_t now_ms; /* monotonic */
    uint32_t conn;
    uint64_t sequence, in_flight;
    struct a_view gateway; /* the same when it comes back */
    struct a_view endpoint;
    struct a_unit_name unit;
};

struct unit_withdraw_answer {
    struct a_unit_name unit;
    bool idle;         /* IDLE, else WITHDRAWN */
    uint64_t sequence; /* as in LEAVES */
};

/* The core's until the next step. */
struct unit_withdraw_update {
    const struct unit_withdraw_answer *answers;
    size_t n_answers;
};

struct unit_withdraw {
    struct a_list gateways; /* known, here or away */
    struct a_map units;     /* that leave, by name */
    struct a_map in_flight; /* of units with any, by name */
    uint64_t now_ms, started_ms, amnesty_ms;
    bool started; /* STARTED was told */
    struct unit_withdraw_answer *answers;
    size_t n_answers, cap_answers;
};

void unit_withdraw_init(struct unit_withdraw *self);
void unit_withdraw_deinit(struct unit_withdraw *self); /* safe twice, and on zeroes */
/* Always 0: events about unknown gateways and units change nothing. */
int unit_withdraw_step(struct unit_withdraw *self, const struct unit_withdraw_event *event,
                       struct unit_withdraw_update *ret_update);
uint64_t unit_withdraw_deadline(const struct unit_withdraw *self);
/* What gateways said last, summed. Costs one look-up: it is asked of each unit at once. */
uint64_t unit_withdraw_in_flight(const struct unit_withdraw *self, const struct a_unit_name *unit);

#endif
