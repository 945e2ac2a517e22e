#include "unit/withdraw.h"

#include <string.h>

#include "base/alloc.h"
#include "base/heap.h"

/* In flight at one endpoint, as its gateway last said. */
struct load {
    struct a_map_link link; /* of gateway.loads, by endpoint */
    char *endpoint;
    struct a_unit_name unit;
    uint64_t in_flight;
};

/* The loads of a unit at all gateways. */
struct sum {
    struct a_map_link link; /* of unit_withdraw.in_flight */
    struct a_unit_name unit;
    uint64_t in_flight;
};

struct gateway {
    struct a_list link;
    char *name;
    uint32_t conn; /* 0 = away */
    uint64_t acked, away_ms;
    struct a_map loads;
};

struct leaving {
    struct a_map_link link; /* of unit_withdraw.units */
    struct a_unit_name unit;
    uint64_t sequence;
    uint64_t view; /* that takes it out of routing; 0 = not made yet */
    bool withdrawn, idle;
};

void unit_withdraw_init(struct unit_withdraw *self)
{
    *self = (struct unit_withdraw){0};
    a_list_init(&self->gateways);
}

/* W4: our own sleep is nobody's absence. */
static uint64_t since(const struct unit_withdraw *self, uint64_t ms)
{
    return self->now_ms - A_MAX(ms, self->amnesty_ms);
}

/* ---- gateways ---- */

/* Every change of a load passes here. */
static void sum_move(struct unit_withdraw *self, const struct a_unit_name *unit, uint64_t from, uint64_t to)
{
    struct a_map_link *it = a_map_get_str(&self->in_flight, unit->s);
    struct sum *sum = it == NULL ? NULL : a_map_entry(it, struct sum, link);
    if (sum == NULL && to > 0) {
        sum = a_new(struct sum);
        sum->unit = *unit;
        a_map_put_str(&self->in_flight, &sum->link, sum->unit.s);
    }
    if (sum == NULL)
        return;
    sum->in_flight = sum->in_flight - from + to;
    if (sum->in_flight > 0)
        return;
    a_map_remove(&self->in_flight, &sum->link);
    a_free(sum);
}

static void load_free(struct unit_withdraw *self, struct gateway *g, struct load *load)
{
    sum_move(self, &load->unit, load->in_flight, 0);
    a_map_remove(&g->loads, &load->link);
    a_free(load->endpoint);
    a_free(load);
}

static void loads_free(struct unit_withdraw *self, struct gateway *g)
{
    a_map_foreach (it, &g->loads)
        load_free(self, g, a_map_entry(it, struct load, link));
}

static void gateway_free(struct unit_withdraw *self, struct gateway *g)
{
    a_list_remove(&g->link);
    loads_free(self, g);
    a_map_deinit(&g->loads);
    a_free(g->name);
    a_free(g);
}

static struct gateway *gateway_at(const struct unit_withdraw *self, uint32_t conn)
{
    a_list_foreach (it, &self->gateways) {
        struct gateway *g = a_list_entry(it, struct gateway, link);
        if (g->conn == conn)
            return g;
    }
    return NULL;
}

/* The one that was away under this name, or a new one. */
static struct gateway *gateway_get(struct unit_withdraw *self, struct a_view name)
{
    a_list_foreach (it, &self->gateways) {
        struct gateway *g = a_list_entry(it, struct gateway, link);
        if (g->conn == 0 && a_view_is(name, g->name))
            return g;
    }
    struct gateway *g = a_new(struct gateway);
    g->name = a_view_dup(name);
    a_list_push_back(&self->gateways, &g->link);
    return g;
}

/* What it had in flight it tells anew before it acknowledges. */
static void on_join(struct unit_withdraw *self, const struct unit_withdraw_event *e)
{
    struct gateway *g = gateway_at(self, e->conn);
    if (g == NULL)
        g = gateway_get(self, e->gateway);
    loads_free(self, g);
    g->conn = e->conn;
    g->acked = 0;
}

static void on_left(struct unit_withdraw *self, uint32_t conn)
{
    struct gateway *g = conn == 0 ? NULL : gateway_at(self, conn);
    if (g == NULL)
        return;
    g->conn = 0;
    g->away_ms = self->now_ms;
}

static void on_load(struct unit_withdraw *self, const struct unit_withdraw_event *e)
{
    struct gateway *g = e->conn == 0 ? NULL : gateway_at(self, e->conn);
    if (g == NULL)
        return;
    struct a_map_link *it = a_map_get(&g->loads, e->endpoint.ptr, e->endpoint.len);
    struct load *load = it == NULL ? NULL : a_map_entry(it, struct load, link);
    if (load == NULL && e->in_flight > 0) {
        load = a_new(struct load);
        load->endpoint = a_view_dup(e->endpoint);
        load->unit = e->unit;
        a_map_put(&g->loads, &load->link, load->endpoint, e->endpoint.len);
    }
    if (load == NULL)
        return;
    sum_move(self, &load->unit, load->in_flight, e->in_flight);
    load->in_flight = e->in_flight;
    if (e->in_flight == 0)
        load_free(self, g, load);
}

static void on_gone(struct unit_withdraw *self, struct a_view endpoint)
{
    a_list_foreach (it, &self->gateways) {
        struct gateway *g = a_list_entry(it, struct gateway, link);
        struct a_map_link *load = a_map_get(&g->loads, endpoint.ptr, endpoint.len);
        if (load != NULL)
            load_free(self, g, a_map_entry(load, struct load, link));
    }
}

static void gateways_forget(struct unit_withdraw *self)
{
    a_list_foreach_safe (it, &self->gateways) {
        struct gateway *g = a_list_entry(it, struct gateway, link);
        if (g->conn == 0 && since(self, g->away_ms) >= UNIT_WITHDRAW_LOST_MS)
            gateway_free(self, g);
    }
}

/* ---- units ---- */

static struct leaving *leaving_find(const struct unit_withdraw *self, const struct a_unit_name *unit)
{
    struct a_map_link *it = a_map_get_str(&self->units, unit->s);
    return it == NULL ? NULL : a_map_entry(it, struct leaving, link);
}

static void leaving_free(struct unit_withdraw *self, struct leaving *u)
{
    if (u == NULL)
        return;
    a_map_remove(&self->units, &u->link);
    a_free(u);
}

static void on_leaves(struct unit_withdraw *self, const struct unit_withdraw_event *e)
{
    struct leaving *u = leaving_find(self, &e->unit);
    if (u == NULL) {
        u = a_new(struct leaving);
        u->unit = e->unit;
        a_map_put_str(&self->units, &u->link, u->unit.s);
    }
    u->sequence = e->sequence;
    u->view = 0;
    u->withdrawn = u->idle = false;
}

static void on_sent(struct unit_withdraw *self, uint64_t view)
{
    a_map_foreach (it, &self->units) {
        struct leaving *u = a_map_entry(it, struct leaving, link);
        if (u->view == 0)
            u->view = view;
    }
}

/* ---- answers ---- */

/* W1, W2 */
static bool all_applied(const struct unit_withdraw *self, uint64_t view)
{
    if (self->started && since(self, self->started_ms) < UNIT_WITHDRAW_AWAY_MS)
        return false;
    a_list_foreach (it, &self->gateways) {
        const struct gateway *g = a_list_entry(it, struct gateway, link);
        if (g->conn != 0 ? g->acked < view : since(self, g->away_ms) < UNIT_WITHDRAW_AWAY_MS)
            return false;
    }
    return true;
}

/* W3: one that is away, or came back and has not told all yet, may have anything in flight. */
static bool is_idle(const struct unit_withdraw *self, const struct a_unit_name *unit)
{
    a_list_foreach (it, &self->gateways) {
        const struct gateway *g = a_list_entry(it, struct gateway, link);
        if (g->conn == 0 || g->acked == 0)
            return false;
    }
    return unit_withdraw_in_flight(self, unit) == 0;
}

static void answer(struct unit_withdraw *self, const struct leaving *u, bool idle)
{
    if (self->n_answers == self->cap_answers) {
        self->cap_answers = self->cap_answers == 0 ? 8 : self->cap_answers * 2;
        self->answers = a_realloc(self->answers, self->cap_answers * sizeof *self->answers);
    }
    self->answers[self->n_answers++] =
        (struct unit_withdraw_answer){.unit = u->unit, .idle = idle, .sequence = u->sequence};
}

static void units_answer(struct unit_withdraw *self)
{
    a_map_foreach (it, &self->units) {
        struct leaving *u = a_map_entry(it, struct leaving, link);
        if (!u->withdrawn && u->view != 0 && all_applied(self, u->view)) {
            u->withdrawn = true;
            answer(self, u, false);
        }
        if (u->withdrawn && !u->idle && is_idle(self, &u->unit)) {
            u->idle = true;
            answer(self, u, true);
        }
    }
}

static void event_apply(struct unit_withdraw *self, const struct unit_withdraw_event *e)
{
    struct gateway *g;
    switch (e->type) {
    case UNIT_WITHDRAW_STARTED:
        self->started = true;
        self->started_ms = e->now_ms;
        break;
    case UNIT_WITHDRAW_JOIN:
        on_join(self, e);
        break;
    case UNIT_WITHDRAW_LEFT:
        on_left(self, e->conn);
        break;
    case UNIT_WITHDRAW_LEAVES:
        on_leaves(self, e);
        break;
    case UNIT_WITHDRAW_STAYS:
        leaving_free(self, leaving_find(self, &e->unit));
        break;
    case UNIT_WITHDRAW_SENT:
        on_sent(self, e->sequence);
        break;
    case UNIT_WITHDRAW_ACKED:
        g = e->conn == 0 ? NULL : gateway_at(self, e->conn);
        if (g != NULL)
            g->acked = e->sequence > g->acked ? e->sequence : g->acked;
        break;
    case UNIT_WITHDRAW_LOAD:
        on_load(self, e);
        break;
    case UNIT_WITHDRAW_GONE:
        on_gone(self, e->endpoint);
        break;
    case UNIT_WITHDRAW_TIME:
        break;
    }
}

int unit_withdraw_step(struct unit_withdraw *self, const struct unit_withdraw_event *event,
                       struct unit_withdraw_update *ret_update)
{
    uint64_t deadline = unit_withdraw_deadline(self);
    if (deadline != A_NEVER && event->now_ms > deadline && event->now_ms - deadline > UNIT_WITHDRAW_STALL_MS)
        self->amnesty_ms = event->now_ms;
    self->now_ms = event->now_ms;
    self->n_answers = 0;
    event_apply(self, event);
    gateways_forget(self);
    units_answer(self);
    *ret_update = (struct unit_withdraw_update){self->answers, self->n_answers};
    return 0;
}

/* The next moment at which waiting alone changes an answer; nobody waits while nothing leaves. */
uint64_t unit_withdraw_deadline(const struct unit_withdraw *self)
{
    uint64_t at = A_NEVER;
    if (self->units.len == 0)
        return A_NEVER;
    if (self->started && since(self, self->started_ms) < UNIT_WITHDRAW_AWAY_MS)
        at = A_MAX(self->started_ms, self->amnesty_ms) + UNIT_WITHDRAW_AWAY_MS;
    a_list_foreach (it, &self->gateways) {
        const struct gateway *g = a_list_entry(it, struct gateway, link);
        uint64_t from = A_MAX(g->away_ms, self->amnesty_ms);
        uint64_t wait =
            since(self, from) < UNIT_WITHDRAW_AWAY_MS ? UNIT_WITHDRAW_AWAY_MS : UNIT_WITHDRAW_LOST_MS;
        if (g->conn == 0)
            at = A_MIN(at, from + wait);
    }
    return at;
}

uint64_t unit_withdraw_in_flight(const struct unit_withdraw *self, const struct a_unit_name *unit)
{
    const struct a_map_link *it = a_map_get_str(&self->in_flight, unit->s);
    return it == NULL ? 0 : a_map_entry(it, const struct sum, link)->in_flight;
}

void unit_withdraw_deinit(struct unit_withdraw *self)
{
    if (self->gateways.next != NULL)
        a_list_foreach_safe (it, &self->gateways)
            gateway_free(self, a_list_entry(it, struct gateway, link));
    a_map_foreach (it, &self->units)
        leaving_free(self, a_map_entry(it, struct leaving, link));
    a_map_deinit(&self->units);
    a_map_deinit(&self->in_flight);
    a_free(self->answers);
    *self = (struct unit_withdraw){0};
}
