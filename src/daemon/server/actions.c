/* What fleets ask for: places become gangs, releases and configs become frames, records become writes,
 * withdrawals become a change of the gateways' view. Actions are copied into one queue, in their order, and
 * carried out when no core is entered. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/server.h"
#include "daemon/server/store_keys.h"
#include "sys/log.h"

struct d_action {
    struct a_list link; /* of server.actions */
    struct d_app *app;
    struct unit_action a; /* members, attempts and message are its own */
};

void d_action_queue(struct server *s, struct d_app *app, const struct unit_action *action)
{
    struct d_action *q = a_new(struct d_action);
    q->app = app;
    q->a = *action;
    q->a.message = action->message != NULL ? a_strdup(action->message) : NULL;
    if (action->n_members > 0) {
        struct unit_member_spec *members = a_alloc_array(action->n_members, sizeof *members);
        uint32_t *attempts = a_alloc_array(action->n_members, sizeof *attempts);
        memcpy(members, action->members, action->n_members * sizeof *members);
        memcpy(attempts, action->attempts, action->n_members * sizeof *attempts);
        q->a.members = members;
        q->a.attempts = attempts;
    }
    a_list_push_back(&s->actions, &q->link);
}

static void action_free(struct d_action *q)
{
    a_free((void *)(uintptr_t)q->a.message);
    if (q->a.n_members > 0) {
        a_free((void *)(uintptr_t)q->a.members);
        a_free((void *)(uintptr_t)q->a.attempts);
    }
    a_free(q);
}

void d_actions_drop(struct server *s, const struct d_app *app)
{
    a_list_foreach_safe (l, &s->actions) {
        struct d_action *q = a_list_entry(l, struct d_action, link);
        if (q->app != app)
            continue;
        a_list_remove(&q->link);
        action_free(q);
    }
}

static void gang_event(struct server *s, const struct d_app *app, uint64_t fleet_number,
                       enum sl_sched_event_type type)
{
    uint64_t number = d_gang_number(s, app, fleet_number);
    if (number == 0)
        return;
    d_sched_event(s, &(struct sl_sched_event){.type = type, .gang = number});
    if (type == SL_SCHED_CANCEL)
        d_gang_forget(s, number);
}

/* RELEASE or FENCE */
static void order(struct server *s, const struct d_app *app, const struct unit_action *a,
                  enum sl_sched_event_type type)
{
    struct sl_claim_order order = {.id = a->claim,
                                   .app = app->ref,
                                   .store_id = a->store_id,
                                   .epoch = a->epoch,
                                   .revision = a->revision,
                                   .reason = a->reason,
                                   .grace_ms = a->grace_ms};
    d_sched_event(s, &(struct sl_sched_event){.type = type, .node = a->node, .order = &order});
}

static void config(struct server *s, const struct d_app *app, const struct unit_action *a)
{
    const struct d_revision *r = d_app_revision(app, a->revision);
    struct wire_sl_message m = {.type = WIRE_SL_T_UNIT_CONFIG};
    if (r == NULL)
        return;
    m.unit_config = (struct wire_sl_unit_config){.request = ++s->request,
                                                 .node = a->node,
                                                 .claim = a->claim,
                                                 .epoch = a->epoch != 0 ? a->epoch : app->epoch,
                                                 .store_id = a->store_id,
                                                 .revision = {.number = r->number, .digest = r->digest}};
    (void)d_agent_send(s, &a->node, &m);
}

/* ---- records ---- */

struct record_write {
    struct store_txn txn;
    struct store_write write;
    char key[STORE_KEY_MAX];
    struct a_buf value;
    struct server *server;
    struct a_uuid uid;
    struct a_unit_name unit;
};

static void record_written(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    (void)revision;
    struct record_write *w = ctx;
    struct d_app *app = d_app_by_uid(w->server, &w->uid);
    if (rc != 0)
        sys_log(ERROR, "server", "store.unit", "a unit's record was not written", SYS_STR("unit", w->unit.s),
                SYS_ERR(error));
    if (app != NULL && app->fleet != NULL && w->value.len > 0) {
        struct unit_fleet_event e = {.type = UNIT_FLEET_RECORDED};
        e.unit.unit = w->unit;
        e.unit.ok = rc == 0;
        e.unit.reason = rc == 0 ? A_REASON_NONE : A_REASON_DISK_FULL;
        e.unit.message = rc == 0 ? (struct a_view){"", 0} : a_view_str(a_error_text(error));
        d_fleet_event(w->server, app, &e);
    }
    a_buf_deinit(&w->value);
    a_free(w);
}

static void record_submit(struct server *s, const struct d_app *app, const struct a_unit_name *unit, bool put)
{
    struct record_write *w = a_new(struct record_write);
    struct unit_record_member members[UNIT_MEMBERS_MAX];
    struct unit_record record;
    w->server = s;
    w->uid = app->uid;
    w->unit = *unit;
    if (put && !unit_fleet_record(app->fleet, unit, members, &record)) {
        a_free(w);
        return;
    }
    if (put)
        d_unit_record_print(&w->value, &record,
                            d_unit_get(s, (struct d_app *)(uintptr_t)app, unit)->ray_token);
    d_store_key_unit(w->key, app, unit);
    w->write = (struct store_write){a_view_str(w->key),
                                    put ? a_buf_view(&w->value) : (struct a_view){NULL, 0}, STORE_ANY};
    w->txn = (struct store_txn){.writes = &w->write, .n_writes = 1, .done = record_written, .ctx = w};
    store_submit(s->store, &w->txn);
}

static void unit_forget(struct server *s, const struct a_unit_name *name)
{
    struct d_unit *u = d_unit_find(s, name);
    if (u != NULL)
        d_unit_free(s, u);
}

/* ---- the rest ---- */

static void endpoints(struct server *s, struct d_app *app, const struct unit_action *a)
{
    struct d_unit *u = d_unit_get(s, app, &a->unit);
    bool leaves = a->endpoints == UNIT_ENDPOINTS_DRAINING || a->endpoints == UNIT_ENDPOINTS_DEAD;
    struct unit_withdraw_event e = {.type = leaves ? UNIT_WITHDRAW_LEAVES : UNIT_WITHDRAW_STAYS,
                                    .unit = a->unit,
                                    .sequence = a->sequence};
    u->endpoints = a->endpoints;
    d_withdraw_event(s, &e);
    d_routes_touch(s);
}

/* The fleet's verdict, with why: what follows are the units' own events. */
static void undo(struct server *s, struct d_app *app, const struct unit_action *a)
{
    char object[80];
    snprintf(object, sizeof object, "app %s", app->ref.name.s);
    d_event_add(s, app, "server", object, a->revision, a->reason, "%s", a->message);
    d_app_undone(s, app, a->revision, a->to);
}

static void event(struct server *s, struct d_app *app, const struct unit_action *a)
{
    char object[80];
    if (a->unit.s[0] == '\0')
        snprintf(object, sizeof object, "app %s", app->ref.name.s);
    else
        snprintf(object, sizeof object, "unit %s%s%.20s", a->unit.s, a->member.s[0] != '\0' ? " " : "",
                 a->member.s);
    d_event_add(s, app, "server", object, a->revision, a->reason, "%s", a->message);
}

static void action_run(struct server *s, struct d_app *app, const struct unit_action *a)
{
    switch (a->type) {
    case UNIT_ACTION_PLACE:
        d_place(s, app, a);
        break;
    case UNIT_ACTION_CANCEL:
        gang_event(s, app, a->gang, SL_SCHED_CANCEL);
        break;
    case UNIT_ACTION_BIND:
        gang_event(s, app, a->gang, SL_SCHED_COMMIT);
        break;
    case UNIT_ACTION_RECORD_PUT:
        record_submit(s, app, &a->unit, true);
        break;
    case UNIT_ACTION_RECORD_DEL:
        record_submit(s, app, &a->unit, false);
        unit_forget(s, &a->unit);
        d_routes_touch(s);
        break;
    case UNIT_ACTION_RELEASE:
        order(s, app, a, SL_SCHED_RELEASE);
        break;
    case UNIT_ACTION_FENCE:
        order(s, app, a, SL_SCHED_FENCE);
        break;
    case UNIT_ACTION_CONFIG:
        config(s, app, a);
        break;
    case UNIT_ACTION_ENDPOINTS:
        endpoints(s, app, a);
        break;
    case UNIT_ACTION_EVENT:
        event(s, app, a);
        break;
    case UNIT_ACTION_STATUS:
        d_routes_touch(s);
        break;
    case UNIT_ACTION_PROVEN:
        d_app_proven(s, app, a->revision);
        break;
    case UNIT_ACTION_UNDO:
        undo(s, app, a);
        break;
    case UNIT_ACTION_DELETED:
        d_app_gone(s, app);
        break;
    }
}

void d_actions_run(struct server *s)
{
    for (struct a_list *l; (l = a_list_pop_front(&s->actions)) != NULL;) {
        struct d_action *q = a_list_entry(l, struct d_action, link);
        action_run(s, q->app, &q->a);
        action_free(q);
    }
}
