/* What becomes of an app's requests, as gateways report it: a rate over the last seconds, and outcomes over
 * an hour and a month. Pure: time comes in; tests/unit/test_traffic.c. */
#ifndef A_DAEMON_SERVER_TRAFFIC_H
#define A_DAEMON_SERVER_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "types/latency.h"

/* ---- rate ---- */

#define D_RATE_SECONDS 10

struct d_rate_slot {
    uint64_t at_s, requests, failed, retried;
    struct a_latency latency;
};

/* Zeroed = nothing yet. */
struct d_rate {
    struct d_rate_slot slots[D_RATE_SECONDS];
};

/* Adds to the second `now_ms` is in; its at_s does not matter. */
void d_rate_add(struct d_rate *r, uint64_t now_ms, const struct d_rate_slot *more);
/* The second under way and those before it, D_RATE_SECONDS in all. */
void d_rate_sum(const struct d_rate *r, uint64_t now_ms, struct d_rate_slot *ret);

/* ---- outcomes ---- */

/* X(NAME, "word in the API and in metrics"). Files have them in this order: append only. */
#define D_OUTCOMES(X)                                                                                        \
    X(OK, "ok")                                                                                              \
    X(APP, "app")                                                                                            \
    X(UNIT_LOST, "unitLost")                                                                                 \
    X(DRAIN, "drain")                                                                                        \
    X(GATEWAY, "gateway")                                                                                    \
    X(NO_CAPACITY, "noCapacity")                                                                             \
    X(TIMEOUT, "timeout")                                                                                    \
    X(CLIENT, "client")
#define X(name, text) D_OUTCOME_##name,
enum d_outcome { D_OUTCOMES(X) D_OUTCOME_COUNT };
#undef X
const char *d_outcome_name(enum d_outcome o);

struct d_tally {
    uint64_t n[D_OUTCOME_COUNT];
};

/* Good answers among all that were not the client's own doing; -1 when there were none. */
double d_tally_ratio(const struct d_tally *t);
uint64_t d_tally_total(const struct d_tally *t);

#define D_SUCCESS_MINUTES 60
#define D_SUCCESS_HOURS (30 * 24)

struct d_tally_slot {
    uint64_t at; /* minutes or hours since 1970 */
    struct d_tally tally;
};

/* Zeroed = nothing yet. Minutes for the last hour, hours for the last 30 days. */
struct d_success {
    struct d_tally_slot minutes[D_SUCCESS_MINUTES];
    struct d_tally_slot *hours; /* D_SUCCESS_HOURS; NULL before the first */
    uint64_t hours_stored;      /* hours before this one are in the record of hours */
    bool changed;               /* since it was printed */
};

void d_success_deinit(struct d_success *s);
void d_success_add(struct d_success *s, uint64_t wall_ms, const struct d_tally *more);
void d_success_hour(const struct d_success *s, uint64_t wall_ms, struct d_tally *ret);
void d_success_month(const struct d_success *s, uint64_t wall_ms, struct d_tally *ret);

/* What is stored: a record of minutes, written often, and one of whole hours, written when an hour is over;
 * the present hour is made again from its minutes. JSON: {"uid", "rows": [[at, ok, app, ...], ...]}. */
void d_success_print_minutes(const struct d_success *s, uint64_t wall_ms, const char *uid, struct a_buf *b);
void d_success_print_hours(const struct d_success *s, uint64_t wall_ms, const char *uid, struct a_buf *b);
/* How writing them ended: `to` is the hours_to of what was printed, 0 when only minutes were. What was not
 * written is in the next record, and that is due. */
void d_success_saved(struct d_success *s, bool ok, uint64_t to);
/* True when a record of hours is due: an hour has ended since the last one. */
bool d_success_hours_due(const struct d_success *s, uint64_t wall_ms);
/* Hours first. Records of another uid, and rows that are none, are passed over. */
void d_success_read_hours(struct d_success *s, struct a_view text, const char *uid);
void d_success_read_minutes(struct d_success *s, struct a_view text, const char *uid);

#endif
