/* A server around sl_resource, sl_sched and one fleet per app. What one core says becomes an event of another
 * in a queue, so that no core is stepped from within its own update. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "lib/sim.h"

/* One event for one core, with what it points to. */
struct work {
    struct work *next;
    int app; /* of a fleet; -1 = the scheduler */
    struct unit_fleet_event fleet;
    struct sl_sched_event sched;
    struct unit_report report;
    struct unit_record_member members[4];
    struct sl_gang_request request;
    struct sl_gang_member gang_members[4];
    struct sl_gang_used used[64];
    struct sl_claim_order order;
    struct a_capacity free;
    char text[256];
};

static void server_work(struct sim *sim);
static void server_arm(struct sim *sim);

struct app *server_app(struct sim *sim, const struct a_uuid *uid)
{
    for (int i = 0; i < sim->n_apps; i++)
        if (strcmp(sim->apps[i].uid.s, uid->s) == 0)
            return &sim->apps[i];
    return NULL;
}

static struct work *work_new(struct sim *sim, int app)
{
    struct work *w = a_new(struct work);
    w->app = app;
    if (sim->server.tail == NULL)
        sim->server.head = w;
    else
        sim->server.tail->next = w;
    sim->server.tail = w;
    return w;
}

static struct work *fleet_event(struct sim *sim, int app, enum unit_fleet_event_type type)
{
    struct work *w = work_new(sim, app);
    w->fleet.type = type;
    return w;
}

static struct work *sched_event(struct sim *sim, enum sl_sched_event_type type)
{
    struct work *w = work_new(sim, -1);
    w->sched.type = type;
    return w;
}

/* ---- resource ---- */

static void view_update(struct sim *sim, const struct sl_resource_node *node)
{
    struct sl_view_node row = {.id = node->id, .cluster = node->facts.cluster, .zone = node->facts.zone};
    enum a_node_state state = sl_resource_node_state(node);
    memcpy(row.host, node->facts.host, sizeof row.host);
    row.capacity = node->facts.capacity;
    row.free = node->facts.free;
    row.connected = node->conn != 0;
    if (state == A_NODE_DRAINING || state == A_NODE_DRAINED)
        row.unfit = SL_UNFIT_DRAINING;
    else if (node->facts.flags & SL_RESOURCE_NODE_CORDONED)
        row.unfit = SL_UNFIT_CORDONED;
    else if (!sl_resource_node_placeable(node))
        row.unfit = SL_UNFIT_AWAY;
    sl_view_set(&sim->server.sched.view, &row);
    sched_event(sim, SL_SCHED_VIEW)->sched.node = node->id;
}

static void delta_node(struct sim *sim, const struct sl_resource_delta *d)
{
    view_update(sim, d->node);
    for (int i = 0; i < sim->n_apps; i++) {
        struct work *w = fleet_event(sim, i, UNIT_FLEET_NODE);
        w->fleet.node.id = d->node->id;
        w->fleet.node.state = sl_resource_node_state(d->node);
        w->fleet.node.leaves_ms = d->node->facts.leaves_ms;
        fleet_event(sim, i, UNIT_FLEET_CAPACITY);
    }
}

static void delta_claim(struct sim *sim, const struct sl_resource_delta *d)
{
    const struct sl_resource_claim_facts *c = &d->claim->facts;
    const struct app *app = server_app(sim, &c->id.app_uid);
    struct msg m;
    if (d->claim->orphan || app->fleet == NULL)
        return;
    memcpy(&m, c->detail.ptr, sizeof m);
    struct work *w = fleet_event(sim, (int)(app - sim->apps), UNIT_FLEET_REPORT);
    w->report = (struct unit_report){.claim = c->id,
                                     .node = d->node->id,
                                     .cluster = d->node->facts.cluster,
                                     .zone = d->node->facts.zone,
                                     .store_id = c->store_id,
                                     .epoch = c->epoch,
                                     .revision = c->revision,
                                     .capacity = c->capacity,
                                     .claim_state = c->state,
                                     .member_state = c->member,
                                     .reason = c->reason,
                                     .head = m.head,
                                     .warmed = m.warmed,
                                     .serve = m.serve,
                                     .endpoints = m.endpoints,
                                     .deployed = m.deployed};
    memcpy(w->report.host, d->node->facts.host, sizeof w->report.host);
    w->fleet.report = &w->report;
}

static void delta_claim_gone(struct sim *sim, const struct sl_resource_delta *d)
{
    const struct a_claim_id *id = &d->claim->facts.id;
    const struct app *app = server_app(sim, &id->app_uid);
    struct work *w = sched_event(sim, SL_SCHED_GONE);
    w->sched.node = d->node->id;
    w->sched.gone = *id;
    if (app->fleet == NULL)
        return;
    w = fleet_event(sim, (int)(app - sim->apps), UNIT_FLEET_GONE);
    w->fleet.gone.claim = *id;
    w->fleet.gone.node = d->node->id;
}

static void resource_update(struct sim *sim, const struct sl_resource_update *u)
{
    for (size_t i = 0; i < u->n_deltas; i++) {
        const struct sl_resource_delta *d = &u->deltas[i];
        switch (d->type) {
        case SL_RESOURCE_DELTA_NODE:
            delta_node(sim, d);
            break;
        case SL_RESOURCE_DELTA_LOAD:
            view_update(sim, d->node);
            break;
        case SL_RESOURCE_DELTA_CLAIM:
            delta_claim(sim, d);
            break;
        case SL_RESOURCE_DELTA_CLAIM_GONE:
            delta_claim_gone(sim, d);
            break;
        case SL_RESOURCE_DELTA_DISCONNECT:
            net_close_server(sim, d->conn);
            break;
        case SL_RESOURCE_DELTA_NODE_GONE:
            sim_fail(sim, "a node was forgotten within the hour");
            break;
        }
    }
}

static int resource_step(struct sim *sim, struct sl_resource_event *e)
{
    struct sl_resource_update u;
    const struct sl_resource_node *row = sl_resource_node(&sim->server.resource, &e->node);
    bool frame = e->type >= SL_RESOURCE_BEAT && e->type <= SL_RESOURCE_SNAPSHOT_END;
    bool owns = row != NULL && row->conn == e->conn;
    e->now_ms = sim->now;
    int rc = sl_resource_step(&sim->server.resource, e, &u);
    if (frame && !owns && rc == 0)
        sim_fail(sim, "I15: a connection that does not own the row of %s changed it", e->node.s);
    view_touch(sim);
    resource_update(sim, &u);
    return rc;
}

static void receive_hello(struct sim *sim, const struct msg *m)
{
    const struct node *n = &sim->nodes[m->node];
    struct sl_resource_node_facts facts = {.cluster = n->cluster, .capacity = m->capacity, .free = m->free};
    struct sl_resource_event e = {.type = SL_RESOURCE_ATTACH, .node = n->id, .conn = m->conn};
    snprintf(facts.host, sizeof facts.host, "%s", n->host);
    facts.flags = m->flags;
    e.attach.incarnation = m->incarnation;
    e.attach.attach = m->attach;
    e.attach.facts = &facts;
    resource_step(sim, &e);
}

static void receive_reply(struct sim *sim, const struct msg *m)
{
    if (m->answers == MSG_CONFIG || m->answers == MSG_COMMAND)
        return;
    struct work *w = sched_event(sim, SL_SCHED_REPLY);
    bool ok = m->result == SL_NODE_OK;
    w->sched.node = sim->nodes[m->node].id;
    w->sched.reply.id = m->id;
    w->free = m->free;
    w->sched.reply.free = &w->free;
    w->sched.reply.reason = A_REASON_NO_CAPACITY;
    if (m->result == SL_NODE_UNKNOWN_CLAIM)
        w->sched.reply.what = SL_REPLY_GONE;
    else if (!ok)
        w->sched.reply.what = SL_REPLY_REFUSED;
    else if (m->answers == MSG_RESERVE)
        w->sched.reply.what = SL_REPLY_GRANTED;
    else if (m->answers == MSG_BIND)
        w->sched.reply.what = SL_REPLY_BOUND;
    else
        w->sched.reply.what = m->claim_state == A_CLAIM_RELEASED ? SL_REPLY_GONE : SL_REPLY_RELEASING;
}

void server_receive(struct sim *sim, const struct msg *m)
{
    struct sl_resource_event e = {.node = sim->nodes[m->node].id, .conn = m->conn, .sequence = m->sequence};
    struct sl_resource_node_facts facts = {
        .capacity = m->capacity, .free = m->free, .flags = m->flags, .leaves_ms = m->leaves_ms};
    struct sl_resource_claim_facts claim = {.id = m->id,
                                            .store_id = m->store_id,
                                            .epoch = m->epoch,
                                            .revision = m->revision,
                                            .capacity = m->capacity,
                                            .state = m->claim_state,
                                            .member = m->member_state,
                                            .reason = m->reason,
                                            .detail = {(const char *)m, sizeof *m}};
    struct msg ack = {.type = MSG_BEAT_ACK, .node = m->node, .conn = m->conn};
    switch (m->type) {
    case MSG_HELLO:
        receive_hello(sim, m);
        break;
    case MSG_BEAT:
        e.type = SL_RESOURCE_BEAT;
        if (resource_step(sim, &e) == 0)
            net_to_node(sim, &ack);
        break;
    case MSG_NODE_STATUS:
        e.type = SL_RESOURCE_NODE_STATUS;
        e.status = &facts;
        resource_step(sim, &e);
        break;
    case MSG_CLAIM_STATUS:
        e.type = SL_RESOURCE_CLAIM_STATUS;
        e.claim = &claim;
        resource_step(sim, &e);
        break;
    case MSG_SNAPSHOT_END:
        e.type = SL_RESOURCE_SNAPSHOT_END;
        e.n_claims = m->n_claims;
        resource_step(sim, &e);
        break;
    case MSG_REPLY:
        receive_reply(sim, m);
        break;
    default:
        break;
    }
    server_work(sim);
}

void server_closed(struct sim *sim, uint32_t conn)
{
    if (sim->conns[conn].gateway >= 0) {
        view_gateway_closed(sim, sim->conns[conn].gateway, conn);
        server_work(sim);
        return;
    }
    struct sl_resource_event e = {.type = SL_RESOURCE_DETACH, .conn = conn};
    e.node = sim->nodes[sim->conns[conn].node].id;
    resource_step(sim, &e);
    server_work(sim);
}

/* ---- scheduler ---- */

static void sched_send(struct sim *sim, const struct sl_sched_update_item *item)
{
    const struct sl_resource_node *row = sl_resource_node(&sim->server.resource, &item->node);
    const struct node *n = sim_node(sim, &item->node);
    struct msg m = {.node = (int)(n - sim->nodes), .conn = row == NULL ? 0 : row->conn};
    m.type = item->type == SL_SCHED_SEND_RESERVE   ? MSG_RESERVE
             : item->type == SL_SCHED_SEND_RELEASE ? MSG_RELEASE
                                                   : MSG_BIND;
    m.id = item->order.id;
    m.app = item->order.app;
    m.store_id = item->order.store_id;
    m.epoch = item->order.epoch;
    m.revision = item->order.revision;
    m.head = item->order.head;
    m.capacity = item->order.capacity;
    m.ttl_ms = item->order.life_ms;
    m.reason = item->order.reason;
    if (m.type == MSG_RELEASE)
        check_release(sim, &m.id, &item->node);
    else if (m.type == MSG_RESERVE)
        check_reserve(sim, &m.id);
    else if (item->type == SL_SCHED_SEND_BIND)
        check_bind(sim, &m.id, &item->node);
    net_to_node(sim, &m);
}

static int gang_app(struct sim *sim, uint64_t gang)
{
    const struct gang_owner *owners = sim->server.owners;
    for (size_t i = 0; i < A_ARRAY_SIZE(sim->server.owners); i++)
        if (owners[i].gang == gang)
            return owners[i].app;
    sim_fail(sim, "gang %llu is nobody's", (unsigned long long)gang);
    return 0;
}

static void gang_own(struct sim *sim, uint64_t gang, int app)
{
    struct server *s = &sim->server;
    s->owners[s->n_owners++ % A_ARRAY_SIZE(s->owners)] = (struct gang_owner){gang, app};
}

static void sched_tell_fleet(struct sim *sim, const struct sl_sched_update_item *item)
{
    struct work *w = fleet_event(sim, gang_app(sim, item->gang),
                                 item->type == SL_SCHED_GRANTED ? UNIT_FLEET_GRANTED
                                 : item->type == SL_SCHED_BOUND ? UNIT_FLEET_BOUND
                                                                : UNIT_FLEET_UNPLACED);
    w->fleet.place.gang = item->gang;
    w->fleet.place.reason = item->reason;
    w->fleet.place.attempt_max = item->attempt_max;
    w->fleet.place.members = w->members;
    w->fleet.place.n_members = item->n_placed;
    if (item->type == SL_SCHED_GRANTED)
        check_granted(sim, item);
    for (size_t i = 0; i < item->n_placed; i++) {
        const struct sl_placed *p = &item->placed[i];
        w->members[i] = (struct unit_record_member){.name = p->name,
                                                    .head = p->head,
                                                    .attempt = p->attempt,
                                                    .node = p->node,
                                                    .cluster = p->cluster,
                                                    .zone = p->zone,
                                                    .capacity = p->capacity};
        memcpy(w->members[i].host, p->host, sizeof w->members[i].host);
    }
    if (item->reason == A_REASON_NO_CAPACITY) {
        A_BUF_AUTO struct a_buf b = {0};
        sl_explain_print(&b, &item->explain);
        snprintf(w->text, sizeof w->text, "%s", b.ptr);
        w->fleet.place.message = a_view_str(w->text);
    }
}

static void sched_update(struct sim *sim, const struct sl_sched_update *u)
{
    for (size_t i = 0; i < u->n_items; i++) {
        if (u->items[i].type < SL_SCHED_GRANTED)
            sched_send(sim, &u->items[i]);
        else
            sched_tell_fleet(sim, &u->items[i]);
    }
}

/* ---- store: writes in order; a crash may find some done that nobody was told of ---- */

static void record_put(struct server *s, const struct store_write *w)
{
    struct stored_record *slot = NULL;
    for (int i = 0; i < SIM_RECORDS_MAX; i++) {
        struct stored_record *r = &s->records[i];
        if (r->app == w->app && strcmp(r->record.unit.s, w->unit.s) == 0) {
            slot = r;
            break;
        }
        if (r->app < 0 && slot == NULL)
            slot = r;
    }
    a_assert(slot != NULL);
    *slot = w->record;
    slot->record.members = slot->members;
}

static void store_apply(struct sim *sim, const struct store_write *w)
{
    struct unit_desired *desired = &sim->apps[w->app].desired;
    switch (w->kind) {
    case STORE_PUT:
        record_put(&sim->server, w);
        break;
    case STORE_DEL:
        for (int i = 0; i < SIM_RECORDS_MAX; i++)
            if (sim->server.records[i].app == w->app &&
                strcmp(sim->server.records[i].record.unit.s, w->unit.s) == 0)
                sim->server.records[i].app = -1;
        break;
    case STORE_PROVEN:
        desired->proven = w->revision;
        break;
    case STORE_UNDO:
        if (desired->revision == w->revision)
            desired->revision = w->to;
        break;
    }
}

static void run_written(struct sim *sim, void *data)
{
    uint32_t life;
    memcpy(&life, data, sizeof life);
    struct server *s = &sim->server;
    if (s->life != life)
        return;
    struct store_write *w = s->writes;
    s->writes = w->next;
    store_apply(sim, w);
    if (w->kind == STORE_PUT)
        fleet_event(sim, w->app, UNIT_FLEET_RECORDED)->fleet.unit.unit = w->unit;
    a_free(w);
    server_work(sim);
}

static void run_fragile(struct sim *sim, void *data)
{
    uint32_t life;
    memcpy(&life, data, sizeof life);
    if (sim->server.life == life)
        server_crash(sim, sim_between(&sim->life_random, 100, 3000), false);
}

static void store_write(struct sim *sim, const struct store_write *write)
{
    struct server *s = &sim->server;
    struct store_write **last = &s->writes, *w = a_new(struct store_write);
    *w = *write;
    while (*last != NULL)
        last = &(*last)->next;
    *last = w;
    s->store_free_ms = A_MAX(s->store_free_ms, sim->now) + sim_between(&sim->life_random, 1, 15);
    sim_after(sim, OWNER_SERVER, s->store_free_ms - sim->now, run_written, &s->life, sizeof s->life);
    if (sim_chance(&sim->life_random, sim->fragile / 2))
        sim_after(sim, OWNER_NONE, sim_between(&sim->life_random, 0, 15), run_fragile, &s->life,
                  sizeof s->life);
}

static void store_crash(struct sim *sim)
{
    struct server *s = &sim->server;
    bool there = sim_chance(&sim->life_random, 0.5);
    for (struct store_write *w; (w = s->writes) != NULL;) {
        s->writes = w->next;
        if (there)
            store_apply(sim, w);
        sim->counts[there ? COUNT_UNTOLD : COUNT_TORN]++;
        there = there && sim_chance(&sim->life_random, 0.5);
        a_free(w);
    }
}

/* ---- fleets ---- */

static void fleet_place(struct sim *sim, int app, const struct unit_action *a)
{
    const struct app *x = &sim->apps[app];
    struct work *w = sched_event(sim, SL_SCHED_PLACE);
    struct unit_info u;
    w->request = (struct sl_gang_request){.gang = a->gang,
                                          .app = x->desired.app,
                                          .app_uid = x->uid,
                                          .store_id = x->desired.store_id,
                                          .epoch = x->desired.epoch,
                                          .unit = a->unit,
                                          .revision = a->revision,
                                          .cluster = a->cluster,
                                          .members = w->gang_members,
                                          .n_members = a->n_members,
                                          .used = w->used,
                                          .spread = SL_SPREAD_DEFAULT};
    for (size_t i = 0; i < a->n_members; i++)
        w->gang_members[i] = (struct sl_gang_member){.name = a->members[i].name,
                                                     .head = a->members[i].head,
                                                     .capacity = a->members[i].capacity,
                                                     .attempt = a->attempts[i]};
    for (size_t i = 0; unit_fleet_unit(x->fleet, i, &u); i++) {
        struct unit_member_info m;
        if (!u.leaving && unit_fleet_member(x->fleet, &u.name, 0, &m) &&
            w->request.n_used < A_ARRAY_SIZE(w->used)) {
            struct sl_gang_used *used = &w->used[w->request.n_used++];
            *used = (struct sl_gang_used){.cluster = m.cluster, .zone = m.zone, .units = 1};
            snprintf(used->host, sizeof used->host, "%s", m.host);
        }
    }
    w->sched.request = &w->request;
    gang_own(sim, a->gang, app);
    if (a->cluster.s[0] == '\0')
        check_place(sim, &sim->apps[app]);
    sim->counts[COUNT_PLACED]++;
}

static void fleet_order(struct sim *sim, const struct unit_action *a, enum sl_sched_event_type type)
{
    struct work *w = sched_event(sim, type);
    w->order = (struct sl_claim_order){.id = a->claim,
                                       .store_id = a->store_id,
                                       .epoch = a->epoch,
                                       .reason = a->reason,
                                       .grace_ms = a->grace_ms};
    w->sched.node = a->node;
    w->sched.order = &w->order;
    sim->counts[COUNT_RELEASED] += type == SL_SCHED_RELEASE;
}

static void fleet_config(struct sim *sim, const struct unit_action *a)
{
    const struct sl_resource_node *row = sl_resource_node(&sim->server.resource, &a->node);
    struct msg m = {.type = MSG_CONFIG,
                    .id = a->claim,
                    .revision = a->revision,
                    .epoch = a->epoch,
                    .store_id = a->store_id};
    m.node = (int)(sim_node(sim, &a->node) - sim->nodes);
    m.conn = row == NULL ? 0 : row->conn;
    net_to_node(sim, &m);
}

static void fleet_record(struct sim *sim, int app, const struct unit_action *a)
{
    struct unit_record_member members[UNIT_MEMBERS_MAX];
    struct store_write w = {.kind = STORE_PUT, .app = app, .unit = a->unit};
    if (a->type == UNIT_ACTION_RECORD_DEL) {
        w.kind = STORE_DEL;
        store_write(sim, &w);
        view_forget(sim, &a->unit);
        return;
    }
    if (!unit_fleet_record(sim->apps[app].fleet, &a->unit, members, &w.record.record))
        return; /* ended within the same step */
    a_assert(w.record.record.n_members <= A_ARRAY_SIZE(w.record.members));
    w.record.app = app;
    memcpy(w.record.members, members, w.record.record.n_members * sizeof members[0]);
    store_write(sim, &w);
}

static void fleet_act(struct sim *sim, int app, const struct unit_action *a)
{
    struct work *w;
    if (!sim->server.adopted && (a->type == UNIT_ACTION_PLACE || a->type == UNIT_ACTION_RELEASE))
        sim_fail(sim, "I10: %s is placed or released before the adopt phase ended", a->unit.s);
    switch (a->type) {
    case UNIT_ACTION_PLACE:
        fleet_place(sim, app, a);
        break;
    case UNIT_ACTION_CANCEL:
    case UNIT_ACTION_BIND:
        w = sched_event(sim, a->type == UNIT_ACTION_BIND ? SL_SCHED_COMMIT : SL_SCHED_CANCEL);
        w->sched.gang = a->gang;
        break;
    case UNIT_ACTION_RECORD_PUT:
    case UNIT_ACTION_RECORD_DEL:
        fleet_record(sim, app, a);
        break;
    case UNIT_ACTION_RELEASE:
        fleet_order(sim, a, SL_SCHED_RELEASE);
        break;
    case UNIT_ACTION_FENCE:
        fleet_order(sim, a, SL_SCHED_FENCE);
        break;
    case UNIT_ACTION_CONFIG:
        fleet_config(sim, a);
        break;
    case UNIT_ACTION_ENDPOINTS:
        check_withdraw(sim, &sim->apps[app], a);
        view_endpoints(sim, a);
        break;
    case UNIT_ACTION_EVENT:
        sim_trace(sim, "%s%s%s %s %s", a->unit.s, a->member.s[0] != '\0' ? "/" : "", a->member.s,
                  a->reason == A_REASON_NONE ? "-" : a_reason_name(a->reason), a->message);
        break;
    case UNIT_ACTION_PROVEN:
        store_write(sim, &(struct store_write){.kind = STORE_PROVEN, .app = app, .revision = a->revision});
        sim_trace(sim, "app%d: revision %d is proven", app, (int)a->revision);
        break;
    case UNIT_ACTION_UNDO:
        store_write(
            sim, &(struct store_write){.kind = STORE_UNDO, .app = app, .revision = a->revision, .to = a->to});
        sim_trace(sim, "app%d: %s", app, a->message);
        break;
    case UNIT_ACTION_STATUS:
        view_touch(sim);
        break;
    case UNIT_ACTION_DELETED:
        break;
    }
}

static void fleet_step(struct sim *sim, int app, struct unit_fleet_event *e)
{
    struct unit_fleet_update u;
    e->now_ms = sim->now;
    if (sim->apps[app].fleet == NULL)
        return;
    unit_fleet_step(sim->apps[app].fleet, e, &u);
    for (size_t i = 0; i < u.n_actions; i++)
        fleet_act(sim, app, &u.actions[i]);
}

/* ---- the loop ---- */

static void work_do(struct sim *sim, struct work *w)
{
    struct sl_sched_update u;
    if (w->app >= 0) {
        fleet_step(sim, w->app, &w->fleet);
        return;
    }
    w->sched.now_ms = sim->now;
    sl_sched_step(&sim->server.sched, &w->sched, &u);
    sched_update(sim, &u);
}

static void server_work(struct sim *sim)
{
    struct server *s = &sim->server;
    if (s->draining_work)
        return;
    s->draining_work = true;
    do {
        for (struct work *w; (w = s->head) != NULL;) {
            s->head = w->next;
            if (s->head == NULL)
                s->tail = NULL;
            work_do(sim, w);
            a_free(w);
        }
        view_round(sim);
    } while (s->head != NULL);
    s->draining_work = false;
    check_notices(sim);
    server_arm(sim);
}

static void run_wake(struct sim *sim, void *data)
{
    uint32_t life;
    memcpy(&life, data, sizeof life);
    struct server *s = &sim->server;
    if (!s->up || s->life != life)
        return;
    if (s->resource_ms <= sim->now) {
        s->resource_ms = A_NEVER;
        resource_step(sim, &(struct sl_resource_event){.type = SL_RESOURCE_TIME});
    }
    if (s->sched_ms <= sim->now) {
        s->sched_ms = A_NEVER;
        sched_event(sim, SL_SCHED_TIME);
    }
    if (s->withdraw_ms <= sim->now) {
        s->withdraw_ms = A_NEVER;
        view_time(sim);
    }
    for (int i = 0; i < sim->n_apps; i++) {
        if (sim->apps[i].fleet_ms > sim->now)
            continue;
        sim->apps[i].fleet_ms = A_NEVER;
        fleet_event(sim, i, UNIT_FLEET_TIME);
    }
    server_work(sim);
}

static void arm(struct sim *sim, uint64_t *scheduled, uint64_t deadline)
{
    if (deadline == A_NEVER || *scheduled <= deadline)
        return;
    *scheduled = A_MAX(deadline, sim->now);
    sim_after(sim, OWNER_SERVER, *scheduled - sim->now, run_wake, &sim->server.life, sizeof sim->server.life);
}

static void server_arm(struct sim *sim)
{
    struct server *s = &sim->server;
    arm(sim, &s->resource_ms, sl_resource_deadline(&s->resource));
    arm(sim, &s->sched_ms, sl_sched_deadline(&s->sched));
    arm(sim, &s->withdraw_ms, unit_withdraw_deadline(&s->withdraw));
    for (int i = 0; i < sim->n_apps; i++)
        if (sim->apps[i].fleet != NULL)
            arm(sim, &sim->apps[i].fleet_ms, unit_fleet_deadline(sim->apps[i].fleet));
}

/* ---- life and death ---- */

void server_desire(struct sim *sim, int app)
{
    struct work *w;
    if (!sim->server.up || sim->apps[app].fleet == NULL)
        return;
    w = fleet_event(sim, app, UNIT_FLEET_DESIRED);
    w->fleet.desired = &sim->apps[app].desired;
    server_work(sim);
}

void server_wake(struct sim *sim)
{
    server_work(sim);
}

void server_withdrawn(struct sim *sim, int app, uint64_t sequence)
{
    fleet_event(sim, app, UNIT_FLEET_WITHDRAWN)->fleet.sequence = sequence;
}

void server_idle(struct sim *sim, int app, const struct a_unit_name *unit)
{
    fleet_event(sim, app, UNIT_FLEET_IDLE)->fleet.unit.unit = *unit;
}

void server_refused(struct sim *sim, int node)
{
    resource_step(sim, &(struct sl_resource_event){.type = SL_RESOURCE_REFUSED, .node = sim->nodes[node].id});
    server_work(sim);
}

void server_retry(struct sim *sim)
{
    for (int i = 0; i < sim->n_apps; i++)
        fleet_event(sim, i, UNIT_FLEET_RETRY);
    server_work(sim);
}

static void app_begin(struct sim *sim, int app)
{
    struct app *x = &sim->apps[app];
    struct sl_resource_event know = {.type = SL_RESOURCE_KNOW_APP};
    x->desired.epoch++; /* the lease: durable before anything is sent */
    x->desired.store_id = sim->server.store_id;
    x->fleet = unit_fleet_new(a_random_u64(&sim->life_random));
    x->fleet_ms = A_NEVER;
    struct work *w = fleet_event(sim, app, UNIT_FLEET_DESIRED);
    w->fleet.desired = &x->desired;
    for (int i = 0; i < SIM_RECORDS_MAX; i++) {
        if (sim->server.records[i].app != app)
            continue;
        w = fleet_event(sim, app, UNIT_FLEET_RECORD);
        w->fleet.record = &sim->server.records[i].record;
    }
    know.app.uid = x->uid;
    know.app.store_id = sim->server.store_id;
    resource_step(sim, &know);
    know.app.store_id.s[0] = 'a'; /* of the store that was lost, where one was */
    resource_step(sim, &know);
}

static void run_adopted(struct sim *sim, void *data)
{
    uint32_t life;
    memcpy(&life, data, sizeof life);
    if (!sim->server.up || sim->server.life != life)
        return;
    sim->server.adopted = true;
    view_touch(sim);
    for (int i = 0; i < sim->n_apps; i++)
        fleet_event(sim, i, UNIT_FLEET_ADOPTED);
    server_work(sim);
}

void server_boot(struct sim *sim)
{
    struct server *s = &sim->server;
    bool lost = s->store_id.s[0] == 'b';
    s->up = true;
    s->life++;
    s->adopted = s->nodes_are_back = false;
    s->started_ms = sim->now;
    view_reset(sim);
    s->resource_ms = s->sched_ms = s->withdraw_ms = A_NEVER;
    s->store_free_ms = 0;
    sl_resource_init(&s->resource, sim->seed);
    sl_sched_init(&s->sched, NULL);
    for (int i = 0; i < sim->n_apps && !(lost && sim->apps[i].desired.store_id.s[0] != 'b'); i++)
        app_begin(sim, i);
    sim_after(sim, OWNER_SERVER, 3000, run_adopted, &s->life, sizeof s->life);
    server_work(sim);
}

static void run_boot(struct sim *sim, void *data)
{
    (void)data;
    server_boot(sim);
}

void server_crash(struct sim *sim, uint64_t down_ms, bool lose_store)
{
    struct server *s = &sim->server;
    if (!s->up)
        return;
    for (struct work *w = s->head, *next; w != NULL; w = next) {
        next = w->next;
        a_free(w);
    }
    s->head = s->tail = NULL;
    store_crash(sim);
    net_linger(sim);
    sim->suspended_ms[OWNER_SERVER] = 0;
    s->up = false;
    s->life++;
    sl_resource_deinit(&s->resource);
    sl_sched_deinit(&s->sched);
    unit_withdraw_deinit(&s->withdraw);
    for (int i = 0; i < sim->n_apps; i++) {
        unit_fleet_free(sim->apps[i].fleet);
        sim->apps[i].fleet = NULL;
    }
    for (uint32_t c = 1; c < sim->n_conns; c++)
        net_close_server(sim, c);
    if (lose_store) {
        sim->counts[COUNT_STORES_LOST]++;
        s->store_id.s[0] = 'b';
        for (int i = 0; i < SIM_RECORDS_MAX; i++)
            s->records[i].app = -1;
    }
    if (down_ms == 0)
        return;
    sim->counts[COUNT_SERVER_CRASHES]++;
    sim_trace(sim, "the server dies for %llu ms%s", (unsigned long long)down_ms,
              lose_store ? ", its store is lost" : "");
    sim_after(sim, OWNER_NONE, down_ms, run_boot, NULL, 0);
}

/* `astra orphans adopt`: the table takes the claims for the app's own and tells of each again, and the fleet
 * goes on with an epoch above all. */
void server_adopt(struct sim *sim)
{
    for (int i = 0; i < sim->n_apps; i++)
        if (sim->apps[i].fleet == NULL) {
            app_begin(sim, i);
            fleet_event(sim, i, UNIT_FLEET_ADOPTED);
        }
    server_work(sim);
}
