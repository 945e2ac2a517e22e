#include "daemon/server/traffic.h"

#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/macro.h"
#include "wire/value.h"

#define MINUTE_MS 60000u
#define MINUTES_AN_HOUR 60u

/* ---- rate ---- */

void d_rate_add(struct d_rate *r, uint64_t now_ms, const struct d_rate_slot *more)
{
    uint64_t at = now_ms / 1000;
    struct d_rate_slot *slot = &r->slots[at % D_RATE_SECONDS];
    if (slot->at_s != at)
        *slot = (struct d_rate_slot){.at_s = at};
    slot->requests += more->requests;
    slot->failed += more->failed;
    slot->retried += more->retried;
    a_latency_merge(&slot->latency, &more->latency);
}

void d_rate_sum(const struct d_rate *r, uint64_t now_ms, struct d_rate_slot *ret)
{
    uint64_t now_s = now_ms / 1000;
    *ret = (struct d_rate_slot){.at_s = now_s};
    for (size_t i = 0; i < D_RATE_SECONDS; i++) {
        const struct d_rate_slot *slot = &r->slots[i];
        if (slot->at_s > now_s || now_s - slot->at_s >= D_RATE_SECONDS)
            continue;
        ret->requests += slot->requests;
        ret->failed += slot->failed;
        ret->retried += slot->retried;
        a_latency_merge(&ret->latency, &slot->latency);
    }
}

/* ---- outcomes ---- */

const char *d_outcome_name(enum d_outcome o)
{
    static const char *const names[] = {
#define X(name, text) text,
        D_OUTCOMES(X)
#undef X
    };
    a_assert((unsigned)o < D_OUTCOME_COUNT);
    return names[o];
}

static void tally_add(struct d_tally *to, const struct d_tally *from)
{
    for (size_t i = 0; i < D_OUTCOME_COUNT; i++)
        to->n[i] += from->n[i];
}

uint64_t d_tally_total(const struct d_tally *t)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < D_OUTCOME_COUNT; i++)
        sum += t->n[i];
    return sum;
}

double d_tally_ratio(const struct d_tally *t)
{
    uint64_t counted = d_tally_total(t) - t->n[D_OUTCOME_CLIENT];
    return counted > 0 ? (double)t->n[D_OUTCOME_OK] / (double)counted : -1;
}

void d_success_deinit(struct d_success *s)
{
    a_free(s->hours);
    *s = (struct d_success){0};
}

static void slot_add(struct d_tally_slot *slots, size_t n, uint64_t at, const struct d_tally *more)
{
    struct d_tally_slot *slot = &slots[at % n];
    if (slot->at != at)
        *slot = (struct d_tally_slot){.at = at};
    tally_add(&slot->tally, more);
}

static void hour_add(struct d_success *s, uint64_t hour, const struct d_tally *more)
{
    if (s->hours == NULL)
        s->hours = a_alloc_array(D_SUCCESS_HOURS, sizeof *s->hours);
    slot_add(s->hours, D_SUCCESS_HOURS, hour, more);
}

void d_success_add(struct d_success *s, uint64_t wall_ms, const struct d_tally *more)
{
    uint64_t minute = wall_ms / MINUTE_MS;
    if (d_tally_total(more) == 0)
        return;
    slot_add(s->minutes, D_SUCCESS_MINUTES, minute, more);
    hour_add(s, minute / MINUTES_AN_HOUR, more);
    s->changed = true;
}

static void slots_sum(const struct d_tally_slot *slots, size_t n, uint64_t now, struct d_tally *ret)
{
    *ret = (struct d_tally){{0}};
    for (size_t i = 0; slots != NULL && i < n; i++)
        if (slots[i].at <= now && now - slots[i].at < n)
            tally_add(ret, &slots[i].tally);
}

void d_success_hour(const struct d_success *s, uint64_t wall_ms, struct d_tally *ret)
{
    slots_sum(s->minutes, D_SUCCESS_MINUTES, wall_ms / MINUTE_MS, ret);
}

void d_success_month(const struct d_success *s, uint64_t wall_ms, struct d_tally *ret)
{
    slots_sum(s->hours, D_SUCCESS_HOURS, wall_ms / MINUTE_MS / MINUTES_AN_HOUR, ret);
}

/* ---- records ---- */

static void slots_print(const struct d_tally_slot *slots, size_t n, uint64_t from, uint64_t to,
                        const char *uid, struct a_buf *b)
{
    bool first = true;
    a_buf_addf(b, "{\"uid\":\"%s\",\"to\":%" PRIu64 ",\"rows\":[", uid, to);
    for (size_t i = 0; slots != NULL && i < n; i++) {
        if (slots[i].at < from || slots[i].at >= to || d_tally_total(&slots[i].tally) == 0)
            continue;
        a_buf_addf(b, "%s[%" PRIu64, first ? "" : ",", slots[i].at);
        for (size_t k = 0; k < D_OUTCOME_COUNT; k++)
            a_buf_addf(b, ",%" PRIu64, slots[i].tally.n[k]);
        a_buf_add_char(b, ']');
        first = false;
    }
    a_buf_add_str(b, "]}");
}

void d_success_print_minutes(const struct d_success *s, uint64_t wall_ms, const char *uid, struct a_buf *b)
{
    uint64_t now = wall_ms / MINUTE_MS;
    slots_print(s->minutes, D_SUCCESS_MINUTES, now - A_MIN(now, D_SUCCESS_MINUTES - (uint64_t)1), now + 1,
                uid, b);
}

void d_success_print_hours(const struct d_success *s, uint64_t wall_ms, const char *uid, struct a_buf *b)
{
    uint64_t now = wall_ms / MINUTE_MS / MINUTES_AN_HOUR;
    slots_print(s->hours, D_SUCCESS_HOURS, now - A_MIN(now, D_SUCCESS_HOURS - (uint64_t)1), now, uid, b);
}

bool d_success_hours_due(const struct d_success *s, uint64_t wall_ms)
{
    return s->hours != NULL && s->hours_stored < wall_ms / MINUTE_MS / MINUTES_AN_HOUR;
}

void d_success_saved(struct d_success *s, bool ok, uint64_t to)
{
    if (ok)
        s->hours_stored = A_MAX(s->hours_stored, to);
    else
        s->changed = true;
}

static bool row_read(const struct wire_value *row, uint64_t *ret_at, struct d_tally *ret)
{
    int64_t at = wire_value_int(wire_value_at(row, 0), -1);
    *ret = (struct d_tally){{0}};
    for (size_t i = 0; i < D_OUTCOME_COUNT; i++)
        ret->n[i] = (uint64_t)A_MAX(wire_value_int(wire_value_at(row, i + 1), 0), (int64_t)0);
    *ret_at = (uint64_t)at;
    return at >= 0;
}

/* The record's rows; NULL when it is another app's. */
static const struct wire_value *rows_read(struct a_arena *arena, struct a_view text, const char *uid,
                                          uint64_t *ret_to)
{
    struct wire_value *v;
    if (wire_json_parse(arena, text, NULL, NULL, &v, NULL) != 0 ||
        strcmp(wire_value_string(wire_value_get(v, "uid"), ""), uid) != 0)
        return NULL;
    *ret_to = (uint64_t)A_MAX(wire_value_int(wire_value_get(v, "to"), 0), (int64_t)0);
    return wire_value_get(v, "rows");
}

void d_success_read_hours(struct d_success *s, struct a_view text, const char *uid)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct d_tally tally;
    uint64_t at;
    wire_value_foreach(row, rows_read(&arena, text, uid, &s->hours_stored))
    {
        if (row_read(row, &at, &tally) && at < s->hours_stored)
            hour_add(s, at, &tally);
    }
}

void d_success_read_minutes(struct d_success *s, struct a_view text, const char *uid)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct d_tally tally;
    uint64_t at, to;
    wire_value_foreach(row, rows_read(&arena, text, uid, &to))
    {
        if (!row_read(row, &at, &tally))
            continue;
        slot_add(s->minutes, D_SUCCESS_MINUTES, at, &tally);
        if (at / MINUTES_AN_HOUR >= s->hours_stored)
            hour_add(s, at / MINUTES_AN_HOUR, &tally);
    }
}
