/* What agents say: their nodes and claims go into the resource table, answers to claims into the claimer, the
 * rest to whoever waits for it. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/server.h"
#include "sys/log.h"

#define COMMAND_MS 10000
#define LEAVES_SAME_MS 2000

/* One cordon, uncordon, drain or undrain that its node has not answered yet. */
struct d_command {
    struct a_list link; /* of server.commands */
    uint64_t request;
    struct a_node_id node;
    struct sys_timer timer;
    void (*done)(void *ctx, const struct a_error *error);
    void *ctx;
};

static void command_end(struct d_command *c, const struct a_error *error)
{
    sys_timer_clear(&c->timer);
    a_list_remove(&c->link);
    c->done(c->ctx, error);
    a_free(c);
}

static void command_fail(struct d_command *c, enum a_code code, const char *why)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    a_error_set(&e, code, "node %s: %s", c->node.s, why);
    command_end(c, &e);
}

static void on_command_timeout(void *ctx)
{
    command_fail(ctx, A_CODE_TIMEOUT, "no answer within 10 s; the command may still take effect");
}

void d_node_command(struct server *s, const struct a_node_id *node, enum wire_sl_node_action action,
                    uint64_t deadline_ms, void (*done)(void *ctx, const struct a_error *error), void *ctx)
{
    struct d_command *c = a_new(struct d_command);
    *c = (struct d_command){.request = ++s->request, .node = *node, .done = done, .ctx = ctx};
    a_list_push_back(&s->commands, &c->link);
    sys_timer_init(&c->timer, s->loop, on_command_timeout, c);
    sys_timer_set_in(&c->timer, COMMAND_MS);
    struct wire_sl_message m = {.type = WIRE_SL_T_NODE_COMMAND};
    m.node_command = (struct wire_sl_node_command){.request = c->request,
                                                   .node = *node,
                                                   .action = action,
                                                   .deadline_ms = deadline_ms,
                                                   .reason = A_REASON_REQUESTED};
    if (!d_agent_send(s, node, &m))
        command_fail(c, A_CODE_UNAVAILABLE, "not connected: try again when it is back");
}

static void command_answered(struct server *s, const struct wire_sl_node_status *m)
{
    a_list_foreach_safe (l, &s->commands) {
        struct d_command *c = a_list_entry(l, struct d_command, link);
        if (m->request != 0 && c->request == m->request && strcmp(c->node.s, m->node.s) == 0)
            command_end(c, NULL);
    }
}

/* ---- attaching ---- */

static void text_copy(char *out, size_t size, struct a_view v)
{
    snprintf(out, size, A_VIEW_FMT, A_VIEW_ARG(v));
}

static void agent_free(struct server *s, struct d_agent *a)
{
    struct a_map_link *l = a_map_get_str(&s->agents, a->node.s);
    if (l == &a->by_node)
        a_map_remove(&s->agents, &a->by_node);
    a_arena_deinit(&a->arena);
    a_free(a);
}

static struct d_agent *agent_new(struct d_peer *p, const struct wire_sl_hello *h)
{
    struct d_agent *a = a_new(struct d_agent);
    a->node = h->node;
    a->peer = p;
    a->network = h->network;
    a->artifact = h->artifact;
    text_copy(a->name, sizeof a->name, h->name);
    text_copy(a->version, sizeof a->version, h->version);
    a->n_labels = h->n_labels;
    a->labels = a_arena_alloc(&a->arena, h->n_labels * sizeof *a->labels);
    for (size_t i = 0; i < h->n_labels; i++) {
        struct a_view k = h->labels[i].key, v = h->labels[i].value;
        a->labels[i].key = (struct a_view){a_arena_strndup(&a->arena, k.ptr, k.len), k.len};
        a->labels[i].value = (struct a_view){a_arena_strndup(&a->arena, v.ptr, v.len), v.len};
    }
    return a;
}

/* ---- names of nodes that are away ---- */

struct d_away {
    struct a_map_link link; /* of server.away */
    struct a_node_id node;
    char name[254];
};

void d_away_forget(struct server *s, const struct a_node_id *id)
{
    struct a_map_link *l = a_map_get_str(&s->away, id->s);
    if (l == NULL)
        return;
    a_map_remove(&s->away, l);
    a_free(a_map_entry(l, struct d_away, link));
}

void d_away_free(struct server *s)
{
    a_map_foreach (l, &s->away) {
        a_map_remove(&s->away, l);
        a_free(a_map_entry(l, struct d_away, link));
    }
    a_map_deinit(&s->away);
}

static void away_note(struct server *s, const struct d_agent *a)
{
    if (a->name[0] == '\0' || d_agent_find(s, &a->node) != a)
        return;
    d_away_forget(s, &a->node);
    struct d_away *away = a_new(struct d_away);
    away->node = a->node;
    memcpy(away->name, a->name, sizeof away->name);
    a_map_put_str(&s->away, &away->link, away->node.s);
}

const char *d_node_name(const struct server *s, const struct a_node_id *id)
{
    const struct d_agent *agent = d_agent_find(s, id);
    const struct a_map_link *l = agent == NULL ? a_map_get_str(&s->away, id->s) : NULL;
    const char *name = agent != NULL ? agent->name
                       : l != NULL   ? a_map_entry(l, const struct d_away, link)->name
                                     : "";
    return name[0] != '\0' ? name : id->s;
}

/* The row's owner is who frames for the node are sent to. */
static void agent_settle(struct server *s, struct d_agent *a)
{
    const struct sl_resource_node *node = sl_resource_node(&s->resource, &a->node);
    if (node == NULL || node->conn != a->peer->conn)
        return;
    struct a_map_link *old = a_map_get_str(&s->agents, a->node.s);
    if (old != NULL)
        a_map_remove(&s->agents, old);
    a_map_put_str(&s->agents, &a->by_node, a->node.s);
    d_away_forget(s, &a->node);
    a->slot = node->slot;
}

static void welcome(struct d_peer *p, const struct wire_sl_hello *h)
{
    struct wire_sl_message m = {.type = WIRE_SL_T_WELCOME};
    m.welcome = (struct wire_sl_welcome){.protocol = A_MIN(h->protocol_max, (uint32_t)WIRE_SL_PROTOCOL),
                                         .store_id = *store_id(p->server->store),
                                         .server_boot_id = p->server->boot_id,
                                         .attach = h->attach,
                                         .beat_interval_ms = D_SERVER_BEAT_MS,
                                         .node = h->node,
                                         .version = A_VIEW_LIT(ASTRA_VERSION)};
    if (net_link_send(p->net, &m, NULL) != 0)
        d_peer_refuse(p, NET_REFUSAL_NONE, A_CODE_INTERNAL, "WELCOME could not be sent");
}

void d_agent_attach(struct d_peer *p, const struct wire_sl_hello *h)
{
    struct server *s = p->server;
    struct sl_resource_node_facts facts = {.cluster = h->cluster,
                                           .network = h->network,
                                           .zone = h->zone,
                                           .arch = h->arch,
                                           .capacity = h->capacity,
                                           .free = h->capacity};
    if (h->node.s[0] == '\0' || h->cluster.s[0] == '\0') {
        d_peer_refuse(p, NET_REFUSAL_MALFORMED, A_CODE_WIRE_MALFORMED,
                      "HELLO of an agent without its node's id or cluster");
        return;
    }
    facts.flags = h->exclusive ? SL_RESOURCE_NODE_EXCLUSIVE : 0;
    text_copy(facts.host, sizeof facts.host, h->host);
    text_copy(facts.address, sizeof facts.address, h->address);
    p->agent = agent_new(p, h);
    struct sl_resource_event e = {.type = SL_RESOURCE_ATTACH,
                                  .node = h->node,
                                  .conn = p->conn,
                                  .attach = {h->incarnation, h->attach, &facts}};
    sys_log(INFO, "server", "agent.attach", "agent connected", SYS_STR("node", h->node.s),
            SYS_STR("name", p->agent->name), SYS_STR("cluster", h->cluster.s), SYS_U64("conn", p->conn),
            SYS_U64("attach", h->attach));
    net_link_pause(p->net); /* nothing of it is read before its WELCOME is on the way */
    welcome(p, h);
    d_resource_event(s, &e);
    if (p->agent == NULL)
        return;
    net_link_resume(p->net);
    agent_settle(s, p->agent);
    d_kube_node_changed(s, &h->node);
    d_sched_event(s, &(struct sl_sched_event){.type = SL_SCHED_VIEW, .node = h->node});
}

void d_agent_detach(struct d_peer *p)
{
    struct server *s = p->server;
    struct d_agent *a = p->agent;
    p->agent = NULL;
    if (a == NULL)
        return;
    struct a_node_id node = a->node;
    away_note(s, a);
    agent_free(s, a);
    a_list_foreach_safe (l, &s->commands) {
        struct d_command *c = a_list_entry(l, struct d_command, link);
        if (strcmp(c->node.s, node.s) == 0)
            command_fail(c, A_CODE_UNAVAILABLE, "the connection broke before its answer");
    }
    d_resource_event(s,
                     &(struct sl_resource_event){.type = SL_RESOURCE_DETACH, .node = node, .conn = p->conn});
}

/* ---- messages ---- */

static void on_beat(struct d_peer *p, const struct wire_sl_beat *m)
{
    p->agent->used_mcpu = m->used_mcpu;
    p->agent->used_memory = m->used_memory_bytes;
    d_resource_event(p->server, &(struct sl_resource_event){.type = SL_RESOURCE_BEAT,
                                                            .node = m->node,
                                                            .conn = p->conn,
                                                            .sequence = m->sequence,
                                                            .load = (uint16_t)A_MIN(m->load, 1000u)});
    if (p->agent == NULL)
        return;
    agent_settle(p->server, p->agent);
    struct wire_sl_message ack = {.type = WIRE_SL_T_BEAT_ACK,
                                  .beat_ack = {.node = m->node, .sequence = m->sequence}};
    (void)!net_link_send(p->net, &ack, NULL);
}

/* When the node ends, on our clock. It says how long it has left, each time anew: what differs by the way it
 * came is the same time. */
static uint64_t leaves_at(const struct server *s, uint64_t before_ms, uint64_t left_ms)
{
    uint64_t at = sys_loop_now_ms(s->loop) + left_ms;
    if (left_ms == 0)
        return 0;
    return before_ms != 0 && at < before_ms + LEAVES_SAME_MS && before_ms < at + LEAVES_SAME_MS ? before_ms
                                                                                                : at;
}

static void on_node_status(struct d_peer *p, const struct wire_sl_node_status *m)
{
    struct server *s = p->server;
    const struct sl_resource_node *node = sl_resource_node(&s->resource, &m->node);
    if (node == NULL)
        return;
    struct sl_resource_node_facts facts = node->facts;
    facts.capacity = m->capacity;
    facts.free = m->free;
    facts.flags =
        (node->facts.flags & SL_RESOURCE_NODE_EXCLUSIVE) | (m->cordoned ? SL_RESOURCE_NODE_CORDONED : 0u) |
        (m->state == A_NODE_DRAINING || m->state == A_NODE_DRAINED ? SL_RESOURCE_NODE_DRAINING : 0u) |
        (m->state == A_NODE_DRAINED ? SL_RESOURCE_NODE_DRAINED : 0u);
    facts.leaves_ms = leaves_at(s, node->facts.leaves_ms, m->leaves_ms);
    d_resource_event(s, &(struct sl_resource_event){.type = SL_RESOURCE_NODE_STATUS,
                                                    .node = m->node,
                                                    .conn = p->conn,
                                                    .sequence = m->sequence,
                                                    .status = &facts});
    command_answered(s, m);
}

/* The table keeps what it needs of a claim and, as `detail`, the frame itself for those who need the rest. */
static void on_claim_status(struct d_peer *p, const struct wire_sl_message *m)
{
    const struct wire_sl_claim_status *c = &m->claim_status;
    A_BUF_AUTO struct a_buf frame = {0};
    if (wire_sl_encode(&frame, m, NULL) != 0)
        return;
    struct sl_resource_claim_facts facts = {.id = c->claim,
                                            .app = c->app,
                                            .store_id = c->store_id,
                                            .epoch = c->epoch,
                                            .revision = c->revision.number,
                                            .digest = c->revision.digest,
                                            .capacity = c->capacity,
                                            .state = c->claim_state,
                                            .member = c->member_state,
                                            .reason = c->reason,
                                            .message = c->message,
                                            .detail = a_buf_view(&frame)};
    d_resource_event(p->server, &(struct sl_resource_event){.type = SL_RESOURCE_CLAIM_STATUS,
                                                            .node = c->node,
                                                            .conn = p->conn,
                                                            .sequence = c->sequence,
                                                            .claim = &facts});
}

static void reply_event(struct server *s, struct sl_sched_event *e)
{
    e->type = SL_SCHED_REPLY;
    d_sched_event(s, e);
}

static void on_reserve_reply(struct server *s, const struct wire_sl_message *m)
{
    const struct wire_sl_reserve_reply *r = &m->reserve_reply;
    struct d_app *app = d_app_by_uid(s, &r->claim.app_uid);
    if (app != NULL && !r->granted)
        d_app_told(s, app, r->highest_epoch);
    A_BUF_AUTO struct a_buf frame = {0};
    if (wire_sl_encode(&frame, m, NULL) != 0)
        return;
    struct sl_sched_event e = {.node = r->node};
    e.reply.id = r->claim;
    e.reply.what = r->granted ? SL_REPLY_GRANTED : SL_REPLY_REFUSED;
    e.reply.reason = r->reason;
    e.reply.free = &r->free;
    e.reply.grant = a_buf_view(&frame); /* BIND of the workers needs the head's address */
    if (!r->granted)
        sys_log(INFO, "server", "claim.refused", "a node refused a claim", SYS_STR("node", r->node.s),
                SYS_STR("unit", r->claim.unit.s), SYS_STR("reason", a_reason_name(r->reason)),
                SYS_VIEW("message", r->message));
    reply_event(s, &e);
}

static void on_bind_reply(struct server *s, const struct wire_sl_bind_reply *r)
{
    struct sl_sched_event e = {.node = r->node};
    e.reply.id = r->claim;
    e.reply.what = r->ok ? SL_REPLY_BOUND : SL_REPLY_REFUSED;
    e.reply.reason = r->reason;
    reply_event(s, &e);
}

static void on_release_reply(struct server *s, const struct wire_sl_release_reply *r)
{
    struct sl_sched_event e = {.node = r->node};
    e.reply.id = r->claim;
    e.reply.what = r->ok ? SL_REPLY_RELEASING : SL_REPLY_REFUSED;
    e.reply.reason = r->reason;
    reply_event(s, &e);
}

/* Does the node hold a claim of that unit, or of that app? */
static bool node_runs(struct server *s, const struct a_node_id *id, const struct a_unit_name *unit,
                      const struct a_app_ref *app)
{
    const struct sl_resource_node *node = sl_resource_node(&s->resource, id);
    const struct sl_resource_claim *c = NULL;
    while (node != NULL && (c = sl_resource_next_claim(node, c)) != NULL)
        if (unit->s[0] != '\0' ? strcmp(c->facts.id.unit.s, unit->s) == 0
                               : a_app_ref_equal(&c->facts.app, app))
            return true;
    return false;
}

static void on_config_reply(struct d_peer *p, const struct wire_sl_unit_config_reply *r)
{
    struct server *s = p->server;
    struct d_app *app = d_app_by_uid(s, &r->claim.app_uid);
    if (!node_runs(s, &p->agent->node, &r->claim.unit, NULL)) {
        d_refused(s, NET_REFUSAL_LIE, p->agent->node.s, "an answer for a unit that the node does not run");
        return;
    }
    if (app == NULL || app->fleet == NULL || r->ok)
        return;
    struct unit_fleet_event e = {.type = UNIT_FLEET_CONFIGURED};
    e.unit.unit = r->claim.unit;
    e.unit.ok = false;
    e.unit.reason = r->reason;
    e.unit.message = r->message;
    d_fleet_event(s, app, &e);
}

/* What a node says of units and apps that it has nothing to do with is not believed. */
static void on_event(struct d_peer *p, const struct wire_sl_event *m)
{
    struct server *s = p->server;
    bool about = m->unit.s[0] != '\0' || m->app.name.s[0] != '\0';
    if (about && !node_runs(s, &p->agent->node, &m->unit, &m->app)) {
        d_refused(s, NET_REFUSAL_LIE, p->agent->node.s,
                  "an event of a unit or app that the node does not run");
        return;
    }
    struct d_app *app = m->app.name.s[0] != '\0' ? d_app_find(s, &m->app) : NULL;
    char object[80];
    snprintf(object, sizeof object, "%s %s", m->unit.s[0] != '\0' ? "unit" : "node",
             m->unit.s[0] != '\0' ? m->unit.s : m->node.s);
    d_event_add(s, app, "agent", object, 0, m->reason, A_VIEW_FMT, A_VIEW_ARG(m->message));
}

/* A connection speaks for the node of its HELLO only. */
static bool speaks_for(const struct d_peer *p, const struct wire_sl_message *m)
{
    const struct a_node_id *node = NULL;
    switch (m->type) {
    case WIRE_SL_T_BEAT:
        node = &m->beat.node;
        break;
    case WIRE_SL_T_NODE_STATUS:
        node = &m->node_status.node;
        break;
    case WIRE_SL_T_CLAIM_STATUS:
        node = &m->claim_status.node;
        break;
    case WIRE_SL_T_SNAPSHOT_END:
        node = &m->snapshot_end.node;
        break;
    case WIRE_SL_T_RESERVE_REPLY:
        node = &m->reserve_reply.node;
        break;
    case WIRE_SL_T_BIND_REPLY:
        node = &m->bind_reply.node;
        break;
    case WIRE_SL_T_RELEASE_REPLY:
        node = &m->release_reply.node;
        break;
    case WIRE_SL_T_UNIT_CONFIG_REPLY:
        node = &m->unit_config_reply.node;
        break;
    case WIRE_SL_T_UNIT_TOKEN_REPLY:
        node = &m->unit_token_reply.node;
        break;
    case WIRE_SL_T_UPGRADE_STATUS:
        node = &m->upgrade_status.node;
        break;
    case WIRE_SL_T_EVENT:
        node = &m->event.node;
        break;
    default:
        return true;
    }
    return node->s[0] == '\0' || strcmp(node->s, p->agent->node.s) == 0;
}

/* The sequence of a frame that has one; 0 = none. */
static uint64_t sequence_of(const struct wire_sl_message *m)
{
    switch (m->type) {
    case WIRE_SL_T_BEAT:
        return m->beat.sequence;
    case WIRE_SL_T_NODE_STATUS:
        return m->node_status.sequence;
    case WIRE_SL_T_CLAIM_STATUS:
        return m->claim_status.sequence;
    default:
        return 0;
    }
}

/* Sequences rise within one connection; what was there before is old news, or somebody's recording. */
static bool is_replayed(struct d_peer *p, const struct wire_sl_message *m)
{
    uint64_t sequence = sequence_of(m);
    if (sequence == 0)
        return false;
    if (sequence <= p->agent->sequence)
        return true;
    p->agent->sequence = sequence;
    return false;
}

void d_agent_message(struct d_peer *p, const struct wire_sl_message *m)
{
    struct server *s = p->server;
    if (!speaks_for(p, m)) {
        d_peer_refuse(p, NET_REFUSAL_NODE, A_CODE_FORBIDDEN,
                      "a frame names another node than this connection's HELLO");
        return;
    }
    if (is_replayed(p, m)) {
        d_refused(s, NET_REFUSAL_REPLAYED, p->agent->node.s, "a frame whose sequence was there before");
        return;
    }
    switch (m->type) {
    case WIRE_SL_T_BEAT:
        on_beat(p, &m->beat);
        break;
    case WIRE_SL_T_NODE_STATUS:
        on_node_status(p, &m->node_status);
        break;
    case WIRE_SL_T_CLAIM_STATUS:
        on_claim_status(p, m);
        break;
    case WIRE_SL_T_SNAPSHOT_END:
        d_resource_event(s, &(struct sl_resource_event){.type = SL_RESOURCE_SNAPSHOT_END,
                                                        .node = m->snapshot_end.node,
                                                        .conn = p->conn,
                                                        .n_claims = m->snapshot_end.claims});
        break;
    case WIRE_SL_T_RESERVE_REPLY:
        on_reserve_reply(s, m);
        break;
    case WIRE_SL_T_BIND_REPLY:
        on_bind_reply(s, &m->bind_reply);
        break;
    case WIRE_SL_T_RELEASE_REPLY:
        on_release_reply(s, &m->release_reply);
        break;
    case WIRE_SL_T_UNIT_CONFIG_REPLY:
        on_config_reply(p, &m->unit_config_reply);
        break;
    case WIRE_SL_T_UNIT_TOKEN_REPLY:
        d_ray_token_take(s, &m->unit_token_reply);
        break;
    case WIRE_SL_T_UPGRADE_STATUS:
        d_upgrades_told(s, &m->upgrade_status);
        break;
    case WIRE_SL_T_EVENT:
        on_event(p, &m->event);
        break;
    default:
        break; /* newer than this server */
    }
}
