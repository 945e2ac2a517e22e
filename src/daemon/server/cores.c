/* Between the cores. A delta of the resource table is news for the claimer's view, for the fleets and for the
 * routes; what becomes of gangs is news for the fleets again. What fleets ask for (actions.c) is queued and
 * carried out when the outermost event is over, so that no core is ever entered from within its own answers.
 */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/server.h"
#include "sys/log.h"

/* A unit (or a member of it) on its way: what BIND must say that the claimer does not know. */
struct d_gang {
    struct a_map_link link; /* of server.gangs */
    uint64_t number;        /* the claimer's */
    uint64_t fleet_number;  /* the app's fleet's */
    struct d_app *app;
    struct a_unit_name unit;
    char head_address[254];
    uint16_t head_port;
};

static struct d_gang *gang_find(struct server *s, uint64_t number)
{
    struct a_map_link *l = a_map_get(&s->gangs, &number, sizeof number);
    return l != NULL ? a_map_entry(l, struct d_gang, link) : NULL;
}

static void gang_free(struct server *s, struct d_gang *g)
{
    a_map_remove(&s->gangs, &g->link);
    a_free(g);
}

/* ---- units ---- */

struct d_unit *d_unit_find(const struct server *s, const struct a_unit_name *name)
{
    struct a_map_link *l = a_map_get_str(&s->units, name->s);
    return l != NULL ? a_map_entry(l, struct d_unit, link) : NULL;
}

struct d_unit *d_unit_get(struct server *s, struct d_app *app, const struct a_unit_name *name)
{
    struct d_unit *u = d_unit_find(s, name);
    if (u != NULL)
        return u;
    u = a_new(struct d_unit);
    u->name = *name;
    u->app = app;
    a_map_put_str(&s->units, &u->link, u->name.s);
    return u;
}

void d_unit_free(struct server *s, struct d_unit *u)
{
    d_withdraw_event(s, &(struct unit_withdraw_event){.type = UNIT_WITHDRAW_STAYS, .unit = u->name});
    a_map_remove(&s->units, &u->link);
    a_free(u->rate);
    a_free(u);
}

const struct wire_sl_claim_status *d_claim_status(const struct sl_resource_claim *claim,
                                                  struct a_arena *arena)
{
    struct wire_sl_frame frame;
    struct wire_sl_message *m = a_arena_new(arena, struct wire_sl_message);
    if (wire_sl_frame_parse(claim->facts.detail, &frame, NULL) != 0 ||
        wire_sl_decode(&frame, arena, m, NULL) != 0)
        return NULL;
    return &m->claim_status;
}

/* ---- from the resource table ---- */

/* The namespace that has an exclusive node: that of its claims. */
static void tenant_find(const struct sl_resource_node *node, struct a_name *ret)
{
    const struct sl_resource_claim *c = NULL;
    while ((node->facts.flags & SL_RESOURCE_NODE_EXCLUSIVE) != 0 &&
           (c = sl_resource_next_claim(node, c)) != NULL)
        if (c->facts.state != A_CLAIM_RELEASED)
            *ret = c->facts.app.namespace;
}

/* As the node said last, less what it has granted since and told of claim by claim. */
static struct a_capacity free_of(const struct sl_resource_node *node)
{
    struct a_capacity left = node->facts.capacity, told = node->facts.free;
    for (const struct sl_resource_claim *c = sl_resource_next_claim(node, NULL); c != NULL;
         c = sl_resource_next_claim(node, c))
        if (c->facts.state != A_CLAIM_RELEASED)
            a_capacity_sub(&left, &c->facts.capacity);
    return (struct a_capacity){A_MIN(left.mcpu, told.mcpu), A_MIN(left.memory_bytes, told.memory_bytes),
                               A_MIN(left.disk_bytes, told.disk_bytes)};
}

static void view_update(struct server *s, const struct sl_resource_node *node)
{
    struct sl_view_node v = {.id = node->id,
                             .cluster = node->facts.cluster,
                             .zone = node->facts.zone,
                             .arch = node->facts.arch,
                             .capacity = node->facts.capacity,
                             .free = free_of(node),
                             .connected = node->conn != 0,
                             .lost = sl_resource_node_state(node) == A_NODE_DEAD,
                             .price = d_node_price(s, node)};
    snprintf(v.host, sizeof v.host, "%s", node->facts.host);
    if ((node->facts.flags & (SL_RESOURCE_NODE_DRAINING | SL_RESOURCE_NODE_DRAINED)) != 0)
        v.unfit = SL_UNFIT_DRAINING;
    else if ((node->facts.flags & SL_RESOURCE_NODE_CORDONED) != 0)
        v.unfit = SL_UNFIT_CORDONED;
    else if (!sl_resource_node_placeable(node))
        v.unfit = SL_UNFIT_AWAY;
    tenant_find(node, &v.tenant);
    sl_view_set(&s->sched.view, &v);
}

static void fleets_event(struct server *s, const struct unit_fleet_event *e)
{
    a_map_foreach (l, &s->apps) {
        struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        struct unit_fleet_event copy = *e;
        if (app->fleet != NULL)
            d_fleet_event(s, app, &copy);
    }
}

/* There may be room again: apps that wait for it look at once. */
static void room_tell(struct server *s)
{
    a_map_foreach (l, &s->apps) {
        struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app->fleet != NULL && unit_fleet_waits(app->fleet))
            d_fleet_event(s, app, &(struct unit_fleet_event){.type = UNIT_FLEET_CAPACITY});
    }
}

void d_cluster_look(struct server *s, const struct a_name *cluster)
{
    for (const struct sl_resource_node *n = sl_resource_next(&s->resource, NULL); n != NULL;
         n = sl_resource_next(&s->resource, n))
        if (strcmp(n->facts.cluster.s, cluster->s) == 0 && sl_view_get(&s->sched.view, &n->id) != NULL)
            view_update(s, n);
    d_sched_event(s, &(struct sl_sched_event){.type = SL_SCHED_VIEW});
    room_tell(s);
}

/* What ran there may have printed why; whoever asks is told where that is. */
static void lost_note(struct server *s, const struct sl_resource_node *node)
{
    for (const struct sl_resource_claim *claim = sl_resource_next_claim(node, NULL); claim != NULL;
         claim = sl_resource_next_claim(node, claim)) {
        struct d_app *app = d_app_by_uid(s, &claim->facts.id.app_uid);
        if (app != NULL && claim->facts.state == A_CLAIM_BOUND)
            d_past_add(s, app, &claim->facts.id, &node->id);
    }
}

static void on_node(struct server *s, const struct sl_resource_node *node)
{
    struct unit_fleet_event e = {.type = UNIT_FLEET_NODE};
    e.node.id = node->id;
    e.node.state = sl_resource_node_state(node);
    e.node.leaves_ms = node->facts.leaves_ms;
    if (e.node.state == A_NODE_DEAD)
        lost_note(s, node);
    d_kube_node_changed(s, &node->id); /* first: the price in the view is its pool's */
    view_update(s, node);
    fleets_event(s, &e);
    d_sched_event(s, &(struct sl_sched_event){.type = SL_SCHED_VIEW, .node = node->id});
    room_tell(s);
    d_routes_touch(s);
}

/* The application has a replica that answers; Ray's proxy does not count for one. */
static bool app_answers(const struct wire_sl_claim_status *c, struct a_view app)
{
    for (size_t i = 0; i < c->n_targets; i++)
        if (c->targets[i].healthy && !c->targets[i].proxy && a_view_equal(c->targets[i].application, app))
            return true;
    return false;
}

static enum unit_serve serve_of(const struct wire_sl_claim_status *c)
{
    bool running = c->n_apps > 0, failed = false, deploying = false, limping = true;
    for (size_t i = 0; i < c->n_apps; i++) {
        enum wire_sl_serve_state st = c->apps[i].status;
        failed = failed || st == WIRE_SL_SERVE_DEPLOY_FAILED;
        deploying = deploying || st == WIRE_SL_SERVE_DEPLOYING || st == WIRE_SL_SERVE_NOT_STARTED ||
                    st == WIRE_SL_SERVE_DELETING;
        running = running && st == WIRE_SL_SERVE_RUNNING;
        limping = limping && (st == WIRE_SL_SERVE_RUNNING ||
                              (st == WIRE_SL_SERVE_UNHEALTHY && app_answers(c, c->apps[i].name)));
    }
    if (failed || c->reason == A_REASON_SERVE_REJECTED || c->reason == A_REASON_IMPORT_FAILED ||
        c->reason == A_REASON_MODEL_LOAD_FAILED)
        return UNIT_SERVE_FAILED;
    if (running)
        return c->n_targets > 0 ? UNIT_SERVE_RUNNING : UNIT_SERVE_DEPLOYING;
    if (deploying)
        return UNIT_SERVE_DEPLOYING;
    if (c->n_apps == 0)
        return UNIT_SERVE_NONE;
    return limping ? UNIT_SERVE_LIMPING : UNIT_SERVE_UNHEALTHY;
}

static uint32_t replicas_of(const struct wire_sl_claim_status *c)
{
    uint32_t n = 0;
    for (size_t i = 0; i < c->n_targets; i++)
        n += c->targets[i].healthy;
    return n;
}

static void report(struct server *s, struct d_app *app, const struct sl_resource_claim *claim,
                   const struct wire_sl_claim_status *c)
{
    const struct sl_resource_node *node = claim->node;
    struct unit_report r = {.claim = c->claim,
                            .node = node->id,
                            .cluster = node->facts.cluster,
                            .zone = node->facts.zone,
                            .store_id = c->store_id,
                            .epoch = c->epoch,
                            .revision = c->revision.number,
                            .head = c->role == WIRE_SL_ROLE_HEAD,
                            .capacity = c->capacity,
                            .claim_state = c->claim_state,
                            .member_state = c->member_state,
                            .reason = c->reason,
                            .message = c->message,
                            .serve = serve_of(c),
                            .deployed = c->deployed,
                            .warmed = c->warmed,
                            .silent = c->silent,
                            .overdue = c->overdue,
                            .endpoints = replicas_of(c)};
    snprintf(r.host, sizeof r.host, "%s", node->facts.host);
    struct d_unit *unit = d_unit_get(s, app, &c->claim.unit);
    if (r.head)
        d_ray_token_ask(s, unit, claim);
    d_fleet_event(s, app, &(struct unit_fleet_event){.type = UNIT_FLEET_REPORT, .report = &r});
}

static void on_claim_gone(struct server *s, const struct sl_resource_claim *claim)
{
    struct d_app *app = d_app_by_uid(s, &claim->facts.id.app_uid);
    struct sl_sched_event gone = {.type = SL_SCHED_GONE, .node = claim->node->id, .gone = claim->facts.id};
    d_sched_event(s, &gone);
    if (app != NULL && app->orphan) {
        d_orphan_gone(s, app, claim);
        return;
    }
    if (app == NULL || app->fleet == NULL)
        return;
    struct unit_fleet_event e = {.type = UNIT_FLEET_GONE};
    e.gone.claim = claim->facts.id;
    e.gone.node = claim->node->id;
    d_fleet_event(s, app, &e);
}

static void on_claim(struct server *s, const struct sl_resource_claim *claim)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct d_app *app = d_app_by_uid(s, &claim->facts.id.app_uid);
    const struct wire_sl_claim_status *c = d_claim_status(claim, &arena);
    if (claim->orphan)
        d_orphan_seen(s, claim);
    else if (app != NULL && app->fleet != NULL && c != NULL) {
        d_app_told_claim(s, app, claim);
        if (c->member_state == A_MEMBER_EXITED && c->claim_state == A_CLAIM_BOUND)
            d_past_add(s, app, &claim->facts.id, &claim->node->id);
        report(s, app, claim, c);
    }
}

/* What people see of a claim is in its node and in its app. */
static void claim_changed(struct server *s, const struct sl_resource_claim *claim)
{
    const struct d_app *app = d_app_by_uid(s, &claim->facts.id.app_uid);
    d_api_node_changed(s, &claim->node->id);
    if (app != NULL)
        d_api_app_changed(s, app);
}

/* What is free there, and with the first claim of an exclusive node, or the last, whose it is. */
static void claims_changed(struct server *s, const struct sl_resource_node *node)
{
    if (sl_view_get(&s->sched.view, &node->id) != NULL)
        view_update(s, node);
}

static void on_delta(struct server *s, const struct sl_resource_delta *d)
{
    if (d->type == SL_RESOURCE_DELTA_CLAIM || d->type == SL_RESOURCE_DELTA_CLAIM_GONE)
        claim_changed(s, d->claim);
    else if (d->type != SL_RESOURCE_DELTA_DISCONNECT)
        d_api_node_changed(s, &d->node->id);
    switch (d->type) {
    case SL_RESOURCE_DELTA_NODE:
        on_node(s, d->node);
        break;
    case SL_RESOURCE_DELTA_LOAD:
        view_update(s, d->node);
        d_sched_event(s, &(struct sl_sched_event){.type = SL_SCHED_VIEW, .node = d->node->id});
        room_tell(s);
        break;
    case SL_RESOURCE_DELTA_NODE_GONE:
        d_past_node_gone(s, d->node);
        d_away_forget(s, &d->node->id);
        sl_view_remove(&s->sched.view, &d->node->id);
        d_kube_node_changed(s, &d->node->id);
        d_sched_event(s, &(struct sl_sched_event){.type = SL_SCHED_VIEW, .node = d->node->id});
        break;
    case SL_RESOURCE_DELTA_CLAIM:
        claims_changed(s, d->claim->node);
        on_claim(s, d->claim);
        d_kube_node_changed(s, &d->claim->node->id);
        d_routes_touch(s);
        break;
    case SL_RESOURCE_DELTA_CLAIM_GONE:
        claims_changed(s, d->claim->node);
        on_claim_gone(s, d->claim);
        d_routes_touch(s);
        break;
    case SL_RESOURCE_DELTA_DISCONNECT:
        a_list_foreach_safe (l, &s->peers) {
            struct d_peer *p = a_list_entry(l, struct d_peer, link);
            if (p->conn == d->conn)
                d_peer_refuse(p, NET_REFUSAL_DUPLICATE, A_CODE_CONFLICT, a_reason_name(d->reason));
        }
        break;
    }
}

void d_resource_event(struct server *s, struct sl_resource_event *e)
{
    struct sl_resource_update u;
    e->now_ms = sys_loop_now_ms(s->loop);
    (void)sl_resource_step(&s->resource, e, &u);
    if (u.n_deltas == 0)
        return;
    d_cores_enter(s);
    /* carrying a delta out may enter the table again: DISCONNECT detaches. The copy keeps its own order. */
    size_t n = u.n_deltas;
    struct sl_resource_delta *deltas = a_alloc_array(n, sizeof *deltas);
    memcpy(deltas, u.deltas, n * sizeof *deltas);
    for (size_t i = 0; i < n; i++)
        if (deltas[i].type != SL_RESOURCE_DELTA_DISCONNECT)
            on_delta(s, &deltas[i]);
    for (size_t i = 0; i < n; i++)
        if (deltas[i].type == SL_RESOURCE_DELTA_DISCONNECT)
            on_delta(s, &deltas[i]);
    a_free(deltas);
    d_cores_leave(s);
}

/* ---- from the claimer ---- */

static struct wire_sl_revision revision_ref(const struct d_app *app, uint64_t number)
{
    const struct d_revision *r = app != NULL ? d_app_revision(app, number) : NULL;
    return (struct wire_sl_revision){.number = number,
                                     .digest = r != NULL ? r->digest : (struct a_digest){{0}}};
}

static void send_reserve(struct server *s, const struct sl_sched_update_item *u)
{
    const struct sl_claim_order *o = &u->order;
    struct wire_sl_message m = {.type = WIRE_SL_T_RESERVE};
    m.reserve =
        (struct wire_sl_reserve){.request = ++s->request,
                                 .node = u->node,
                                 .claim = o->id,
                                 .app = o->app,
                                 .epoch = o->epoch,
                                 .store_id = o->store_id,
                                 .revision = revision_ref(d_app_by_uid(s, &o->id.app_uid), o->revision),
                                 .capacity = o->capacity,
                                 .ttl_ms = o->life_ms,
                                 .ports = 100,
                                 .role = o->head ? WIRE_SL_ROLE_HEAD : WIRE_SL_ROLE_WORKER};
    (void)d_agent_send(s, &u->node, &m);
}

/* GROUP of a worker's GROUP-INDEX; the empty view for a head. */
static struct a_view group_of(const struct sl_claim_order *o)
{
    const char *dash = strrchr(o->id.member.s, '-');
    if (o->head || dash == NULL)
        return (struct a_view){"", 0};
    return (struct a_view){o->id.member.s, (size_t)(dash - o->id.member.s)};
}

static void send_bind(struct server *s, const struct sl_sched_update_item *u)
{
    const struct sl_claim_order *o = &u->order;
    const struct d_gang *g = gang_find(s, u->gang);
    struct d_unit *unit = d_unit_find(s, &o->id.unit);
    struct d_app *app = d_app_by_uid(s, &o->id.app_uid);
    if (g == NULL || unit == NULL || app == NULL)
        return;
    struct unit_info info = {0};
    (void)unit_fleet_find(app->fleet, &o->id.unit, &info);
    if (unit->ray_token[0] == '\0') { /* the claimer asks for this BIND again and again */
        const struct sl_resource_claim *head = sl_resource_claim(&s->resource, &info.head_node, &info.head);
        if (head != NULL)
            d_ray_token_ask(s, unit, head);
        return;
    }
    struct wire_sl_message m = {.type = WIRE_SL_T_BIND};
    m.bind = (struct wire_sl_bind){.request = ++s->request,
                                   .node = u->node,
                                   .claim = o->id,
                                   .epoch = o->epoch,
                                   .store_id = o->store_id,
                                   .revision = revision_ref(app, o->revision),
                                   .role = o->head ? WIRE_SL_ROLE_HEAD : WIRE_SL_ROLE_WORKER,
                                   .head_address = a_view_str(g->head_address),
                                   .head_port = g->head_port,
                                   .ray_token = a_view_str(unit->ray_token),
                                   .unit_attempt = info.failures,
                                   .workers = info.n_members > 0 ? (uint32_t)info.n_members - 1 : 0,
                                   .group = group_of(o)};
    (void)d_agent_send(s, &u->node, &m);
}

/* The node keeps what the claim's first BIND said. */
static void send_fence(struct server *s, const struct sl_sched_update_item *u)
{
    const struct sl_claim_order *o = &u->order;
    struct wire_sl_message m = {.type = WIRE_SL_T_BIND};
    m.bind = (struct wire_sl_bind){
        .request = ++s->request, .node = u->node, .claim = o->id, .epoch = o->epoch, .store_id = o->store_id};
    (void)d_agent_send(s, &u->node, &m);
}

static void send_release(struct server *s, const struct sl_sched_update_item *u)
{
    const struct sl_claim_order *o = &u->order;
    struct wire_sl_message m = {.type = WIRE_SL_T_RELEASE};
    m.release = (struct wire_sl_release){.request = ++s->request,
                                         .node = u->node,
                                         .claim = o->id,
                                         .epoch = o->epoch,
                                         .store_id = o->store_id,
                                         .reason = o->reason,
                                         .grace_ms = o->grace_ms};
    (void)d_agent_send(s, &u->node, &m);
}

/* Where the head's GCS will listen: from its own grant, or from the running head's report when only workers
 * are placed. */
static void head_locate(struct server *s, struct d_gang *g, const struct sl_sched_update_item *u)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    for (size_t i = 0; i < u->n_placed; i++) {
        struct wire_sl_frame frame;
        struct wire_sl_message *m = a_arena_new(&arena, struct wire_sl_message);
        if (!u->placed[i].head || wire_sl_frame_parse(u->placed[i].grant, &frame, NULL) != 0 ||
            wire_sl_decode(&frame, &arena, m, NULL) != 0)
            continue;
        snprintf(g->head_address, sizeof g->head_address, A_VIEW_FMT, A_VIEW_ARG(m->reserve_reply.address));
        g->head_port = m->reserve_reply.port_base;
        return;
    }
    struct unit_info info;
    if (!unit_fleet_find(g->app->fleet, &g->unit, &info))
        return;
    const struct sl_resource_claim *claim = sl_resource_claim(&s->resource, &info.head_node, &info.head);
    const struct wire_sl_claim_status *c = claim != NULL ? d_claim_status(claim, &arena) : NULL;
    if (c == NULL)
        return;
    snprintf(g->head_address, sizeof g->head_address, A_VIEW_FMT, A_VIEW_ARG(c->address));
    g->head_port = c->port_base;
}

static void gang_tell(struct server *s, struct d_gang *g, enum unit_fleet_event_type type,
                      const struct sl_sched_update_item *u)
{
    A_BUF_AUTO struct a_buf why = {0};
    struct unit_record_member *members = a_alloc_array(A_MAX(u->n_placed, (size_t)1), sizeof *members);
    for (size_t i = 0; i < u->n_placed; i++) {
        const struct sl_placed *p = &u->placed[i];
        members[i] = (struct unit_record_member){.name = p->name,
                                                 .head = p->head,
                                                 .attempt = p->attempt,
                                                 .node = p->node,
                                                 .cluster = p->cluster,
                                                 .zone = p->zone,
                                                 .capacity = p->capacity};
        memcpy(members[i].host, p->host, sizeof members[i].host);
    }
    if (type == UNIT_FLEET_UNPLACED && u->reason == A_REASON_NO_CAPACITY) {
        sl_explain_print(&why, &u->explain);
        d_kube_limits_say(s, &why);
    }
    const struct d_unit *unit = d_unit_find(s, &g->unit);
    if (type == UNIT_FLEET_UNPLACED && why.len == 0 && unit != NULL && unit->ray_token[0] == '\0')
        a_buf_add_str(&why, "its unit's Ray token is lost, and the node of its head did not tell it");
    struct unit_fleet_event e = {.type = type};
    e.place.gang = g->fleet_number;
    e.place.members = members;
    e.place.n_members = u->n_placed;
    e.place.attempt_max = u->attempt_max;
    e.place.reason = u->reason;
    e.place.message = a_buf_view(&why);
    d_fleet_event(s, g->app, &e);
    a_free(members);
}

static void on_sched_update(struct server *s, const struct sl_sched_update_item *u)
{
    struct d_gang *g = u->gang != 0 ? gang_find(s, u->gang) : NULL;
    switch (u->type) {
    case SL_SCHED_SEND_RESERVE:
        send_reserve(s, u);
        return;
    case SL_SCHED_SEND_BIND:
        send_bind(s, u);
        return;
    case SL_SCHED_SEND_RELEASE:
        send_release(s, u);
        return;
    case SL_SCHED_SEND_FENCE:
        send_fence(s, u);
        return;
    case SL_SCHED_GRANTED:
        if (g != NULL) {
            head_locate(s, g, u);
            gang_tell(s, g, UNIT_FLEET_GRANTED, u);
        }
        return;
    case SL_SCHED_BOUND:
    case SL_SCHED_FAILED:
        if (g != NULL) {
            struct d_gang copy = *g;
            gang_free(s, g);
            gang_tell(s, &copy, u->type == SL_SCHED_BOUND ? UNIT_FLEET_BOUND : UNIT_FLEET_UNPLACED, u);
        }
        return;
    }
}

void d_sched_event(struct server *s, struct sl_sched_event *e)
{
    struct sl_sched_update u;
    e->now_ms = sys_loop_now_ms(s->loop);
    d_cores_enter(s);
    (void)sl_sched_step(&s->sched, e, &u);
    for (size_t i = 0; i < u.n_items; i++)
        on_sched_update(s, &u.items[i]);
    d_cores_leave(s);
}

void d_fleet_event(struct server *s, struct d_app *app, struct unit_fleet_event *e)
{
    struct unit_fleet_update u;
    e->now_ms = sys_loop_now_ms(s->loop);
    d_cores_enter(s);
    (void)unit_fleet_step(app->fleet, e, &u);
    d_api_app_changed(s, app);
    for (size_t i = 0; i < u.n_actions; i++)
        d_action_queue(s, app, &u.actions[i]);
    d_cores_leave(s);
}

void d_cores_enter(struct server *s)
{
    s->depth++;
}

void d_cores_leave(struct server *s)
{
    if (s->depth == 1)
        d_actions_run(s);
    s->depth--;
}

/* ---- gangs ---- */

uint64_t d_gang_new(struct server *s, struct d_app *app, const struct unit_action *place)
{
    struct d_gang *g = a_new(struct d_gang);
    g->number = ++s->last_gang;
    g->fleet_number = place->gang;
    g->app = app;
    g->unit = place->unit;
    a_map_put(&s->gangs, &g->link, &g->number, sizeof g->number);
    return g->number;
}

uint64_t d_gang_number(const struct server *s, const struct d_app *app, uint64_t fleet_number)
{
    a_map_foreach (l, &s->gangs) {
        const struct d_gang *g = a_map_entry(l, struct d_gang, link);
        if (g->app == app && g->fleet_number == fleet_number)
            return g->number;
    }
    return 0;
}

void d_gang_forget(struct server *s, uint64_t number)
{
    struct d_gang *g = gang_find(s, number);
    if (g != NULL)
        gang_free(s, g);
}

void d_gangs_drop(struct server *s, const struct d_app *app)
{
    a_map_foreach (l, &s->gangs) {
        struct d_gang *g = a_map_entry(l, struct d_gang, link);
        if (g->app == app)
            gang_free(s, g);
    }
}

/* ---- time ---- */

uint64_t d_cores_deadline(struct server *s)
{
    uint64_t at = A_MIN(sl_resource_deadline(&s->resource), sl_sched_deadline(&s->sched));
    at = A_MIN(at, unit_withdraw_deadline(&s->withdraw));
    a_map_foreach (l, &s->apps) {
        const struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app->fleet != NULL)
            at = A_MIN(at, unit_fleet_deadline(app->fleet));
    }
    return at;
}

void d_cores_round(struct server *s)
{
    uint64_t now = sys_loop_now_ms(s->loop);
    if (sl_resource_deadline(&s->resource) <= now)
        d_resource_event(s, &(struct sl_resource_event){.type = SL_RESOURCE_TIME});
    if (sl_sched_deadline(&s->sched) <= now)
        d_sched_event(s, &(struct sl_sched_event){.type = SL_SCHED_TIME});
    a_map_foreach (l, &s->apps) {
        struct d_app *app = a_map_entry(l, struct d_app, by_ref);
        if (app->fleet != NULL && unit_fleet_deadline(app->fleet) <= now)
            d_fleet_event(s, app, &(struct unit_fleet_event){.type = UNIT_FLEET_TIME});
    }
}
