/* What people see of apps, units, nodes and events, as trees. */
#include <string.h>

#include "daemon/server/api.h"

struct wire_value *api_json_capacity(const struct a_capacity *c, struct a_arena *arena)
{
    A_BUF_AUTO struct a_buf b = {0};
    struct wire_value *v = wire_value_new_object(arena);
    a_text_print_mcpu(&b, c->mcpu);
    wire_value_set_view(arena, v, "cpu", a_buf_view(&b));
    a_buf_reset(&b);
    a_text_print_bytes(&b, c->memory_bytes);
    wire_value_set_view(arena, v, "memory", a_buf_view(&b));
    a_buf_reset(&b);
    a_text_print_bytes(&b, c->disk_bytes);
    wire_value_set_view(arena, v, "disk", a_buf_view(&b));
    return v;
}

/* Empty texts become null: "no message" has one form. */
static const char *text_or_null(const char *s)
{
    return s != NULL && s[0] != '\0' ? s : NULL;
}

static void set_text(struct a_arena *arena, struct wire_value *v, const char *key, const char *s)
{
    wire_value_set_string(arena, v, key, text_or_null(s));
}

struct wire_value *api_json_condition(const struct api *a, const struct api_condition *condition,
                                      struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "type", condition->type);
    wire_value_set_string(arena, v, "status", condition->status ? "True" : "False");
    wire_value_set_string(arena, v, "reason", condition->reason);
    wire_value_set_string(arena, v, "message", condition->message);
    api_set_time(arena, v, "since", api_wall_ms(a, condition->since_ms));
    return v;
}

/* ---- apps ---- */

static struct wire_value *conditions(const struct api *a, const struct unit_fleet_status *s,
                                     struct a_arena *arena)
{
    struct wire_value *list = wire_value_new_array(arena);
    for (int i = 0; i < UNIT_CONDITION_COUNT; i++) {
        const struct unit_condition *k = &s->conditions[i];
        const struct api_condition condition = {.type = unit_condition_name((enum unit_condition_type)i),
                                                .status = k->status,
                                                .reason = a_reason_name(k->reason),
                                                .message = text_or_null(k->message),
                                                .since_ms = k->since_ms};
        wire_value_append(list, api_json_condition(a, &condition, arena));
    }
    return list;
}

static struct wire_value *unit_counts(const struct unit_fleet_status *s, struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_int(arena, v, "wanted", s->wanted);
    wire_value_set_int(arena, v, "ready", s->ready);
    wire_value_set_int(arena, v, "updated", s->updated);
    wire_value_set_int(arena, v, "failed", s->failed);
    wire_value_set_int(arena, v, "lost", s->lost);
    wire_value_set_int(arena, v, "draining", s->draining);
    wire_value_set_int(arena, v, "total", s->total);
    return v;
}

static struct wire_value *request_counts(const struct api *a, const struct d_app *app, struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena), *failed = wire_value_new_object(arena);
    const struct d_app_counts *n = &app->counts;
    uint64_t in_flight, queued;
    d_counts_load(a->s, app, &in_flight, &queued);
    for (int i = D_OUTCOME_OK + 1; i < D_OUTCOME_COUNT; i++)
        wire_value_set_int(arena, failed, d_outcome_name((enum d_outcome)i), (int64_t)n->total.n[i]);
    wire_value_set_int(arena, v, "total", (int64_t)d_tally_total(&n->total));
    wire_value_set_int(arena, v, "ok", (int64_t)n->total.n[D_OUTCOME_OK]);
    wire_value_set(arena, v, "failed", failed);
    wire_value_set_int(arena, v, "retried", (int64_t)n->retried);
    wire_value_set_int(arena, v, "inFlight", (int64_t)in_flight);
    wire_value_set_int(arena, v, "queued", (int64_t)queued);
    return v;
}

/* One word for tables: what an operator must know first. */
static const char *app_state(const struct d_app *app, const struct unit_fleet_status *s)
{
    if (app->orphan)
        return "ORPHAN";
    if (app->behind)
        return "HELD";
    if (app->deleted)
        return "DELETING";
    if (s->failed > 0 && s->ready == 0)
        return "FAILED";
    if (s->conditions[UNIT_DEGRADED].status && !s->conditions[UNIT_PROGRESSING].status)
        return "DEGRADED";
    if (s->rolling || s->updated < s->wanted)
        return s->ready < s->wanted && app->proven == s->revision && !s->rolling ? "RECOVERING" : "ROLLING";
    return s->wanted == 0 ? "STOPPED" : "READY";
}

static void status_fleet(const struct api *a, const struct d_app *app, struct a_arena *arena,
                         struct wire_value *v)
{
    struct unit_fleet_status s = {0};
    unit_fleet_status(app->fleet, &s);
    wire_value_set_string(arena, v, "state", app_state(app, &s));
    wire_value_set_int(arena, v, "observedGeneration", (int64_t)s.generation);
    wire_value_set_int(arena, v, "revision", (int64_t)s.revision);
    wire_value_set_int(arena, v, "wantedRevision", app->current != NULL ? (int64_t)app->current->number : 0);
    wire_value_set_int(arena, v, "provenRevision", (int64_t)app->proven);
    wire_value_set_int(arena, v, "failedRevision", (int64_t)s.failed_revision);
    wire_value_set_bool(arena, v, "rolling", s.rolling);
    wire_value_set(arena, v, "units", unit_counts(&s, arena));
    wire_value_set(arena, v, "conditions", conditions(a, &s, arena));
    set_text(arena, v, "lastFailure", s.last_failure);
}

static struct wire_value *app_status(const struct api *a, const struct d_app *app, struct a_arena *arena,
                                     bool full)
{
    struct wire_value *v = wire_value_new_object(arena);
    if (app->fleet != NULL)
        status_fleet(a, app, arena, v);
    else
        wire_value_set_string(arena, v, "state", app->orphan ? "ORPHAN" : "DELETING");
    wire_value_set_bool(arena, v, "orphan", app->orphan);
    wire_value_set_bool(arena, v, "deleted", app->deleted);
    if (full) {
        wire_value_set(arena, v, "requests", request_counts(a, app, arena));
        wire_value_set(arena, v, "success", api_json_success(app, arena));
    }
    return v;
}

/* An orphan's text may not have arrived yet: then its names are all there is. */
static struct wire_value *app_bare(const struct d_app *app, struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena), *metadata = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "apiVersion", "astra-ray.dev/v1alpha1");
    wire_value_set_string(arena, v, "kind", "App");
    wire_value_set_string(arena, metadata, "name", app->ref.name.s);
    wire_value_set_string(arena, metadata, "namespace", app->ref.namespace.s);
    wire_value_set(arena, v, "metadata", metadata);
    return v;
}

struct wire_value *api_json_app(const struct api *a, const struct d_app *app, struct a_arena *arena,
                                bool full)
{
    struct wire_value *v = app->current != NULL ? d_app_tree(app, arena) : app_bare(app, arena);
    struct wire_value *metadata = wire_value_get(v, "metadata");
    wire_value_set_string(arena, metadata, "uid", app->uid.s);
    wire_value_set_int(arena, metadata, "generation", (int64_t)app->generation);
    wire_value_set_string(arena, metadata, "resourceVersion",
                          a_arena_printf(arena, "%llu", (unsigned long long)app->store_revision));
    api_set_time(arena, metadata, "creationTimestamp", app->created_unix_ms);
    wire_value_set(arena, v, "status", app_status(a, app, arena, full));
    return v;
}

/* ---- units ---- */

static struct wire_value *member_json(const struct api *a, const struct unit_member_info *m,
                                      struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "name", m->name.s);
    wire_value_set_string(arena, v, "role", m->head ? "head" : "worker");
    wire_value_set_string(arena, v, "state", a_member_state_name(m->state));
    wire_value_set_string(arena, v, "reason", a_reason_name(m->reason));
    set_text(arena, v, "message", m->message);
    api_set_time(arena, v, "since", api_wall_ms(a, m->since_ms));
    wire_value_set_int(arena, v, "attempt", m->attempt);
    set_text(arena, v, "node", m->node.s);
    set_text(arena, v, "nodeName", m->node.s[0] != '\0' ? d_node_name(a->s, &m->node) : NULL);
    set_text(arena, v, "host", m->host);
    set_text(arena, v, "cluster", m->cluster.s);
    set_text(arena, v, "zone", m->zone.s);
    wire_value_set_bool(arena, v, "leaving", m->leaving);
    return v;
}

/* What the claim of the member reports beside its state: where its processes are. */
static void member_claim(const struct api *a, const struct d_app *app, const struct a_unit_name *unit,
                         const struct unit_member_info *m, struct a_arena *arena, struct wire_value *v)
{
    struct a_claim_id id = {.app_uid = app->uid, .unit = *unit, .member = m->name, .attempt = m->attempt};
    const struct sl_resource_claim *claim = sl_resource_claim(&a->s->resource, &m->node, &id);
    const struct wire_sl_claim_status *status = claim != NULL ? d_claim_status(claim, arena) : NULL;
    if (status == NULL)
        return;
    wire_value_set_string(arena, v, "claimState", a_claim_state_name(status->claim_state));
    wire_value_set(arena, v, "capacity", api_json_capacity(&status->capacity, arena));
    wire_value_set_view(arena, v, "address", status->address);
    wire_value_set_int(arena, v, "portBase", status->port_base);
    wire_value_set_int(arena, v, "pid", (int64_t)status->pid);
    wire_value_set_int(arena, v, "restarts", status->restarts);
}

static const char *endpoints_name(enum unit_endpoints e)
{
    static const char *const names[] = {"NONE", "UP", "DRAINING", "DEAD", "STALE"};
    return names[e];
}

/* The addresses that answer, as the head's agent reports them. */
static struct wire_value *endpoints_json(const struct api *a, const struct unit_info *u,
                                         struct a_arena *arena)
{
    struct wire_value *list = wire_value_new_array(arena);
    const struct sl_resource_claim *claim = sl_resource_claim(&a->s->resource, &u->head_node, &u->head);
    const struct wire_sl_claim_status *status = claim != NULL ? d_claim_status(claim, arena) : NULL;
    for (size_t i = 0; status != NULL && i < status->n_targets; i++) {
        const struct wire_sl_target *t = &status->targets[i];
        struct wire_value *v = wire_value_new_object(arena);
        wire_value_set_view(arena, v, "name", t->name);
        wire_value_set_view(arena, v, "ip", t->ip);
        wire_value_set_int(arena, v, "port", t->port);
        wire_value_set_view(arena, v, "application", t->application);
        wire_value_set_bool(arena, v, "healthy", t->healthy);
        wire_value_append(list, v);
    }
    return list;
}

static void unit_members(const struct api *a, const struct d_app *app, const struct unit_info *u,
                         struct a_arena *arena, struct wire_value *v)
{
    struct wire_value *list = wire_value_new_array(arena);
    struct unit_member_info m;
    for (size_t i = 0; unit_fleet_member(app->fleet, &u->name, i, &m); i++) {
        struct wire_value *member = member_json(a, &m, arena);
        if (m.node.s[0] != '\0')
            member_claim(a, app, &u->name, &m, arena, member);
        if (m.head) {
            set_text(arena, v, "node", m.node.s);
            set_text(arena, v, "nodeName", m.node.s[0] != '\0' ? d_node_name(a->s, &m.node) : NULL);
        }
        wire_value_append(list, member);
    }
    wire_value_set(arena, v, "members", list);
}

struct wire_value *api_json_unit(const struct api *a, const struct d_app *app, const struct unit_info *u,
                                 struct a_arena *arena, bool full)
{
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "name", u->name.s);
    wire_value_set_string(arena, v, "namespace", app->ref.namespace.s);
    wire_value_set_string(arena, v, "app", app->ref.name.s);
    wire_value_set_string(arena, v, "state", a_unit_state_name(u->state));
    wire_value_set_string(arena, v, "reason", a_reason_name(u->reason));
    set_text(arena, v, "message", u->message);
    api_set_time(arena, v, "since", api_wall_ms(a, u->since_ms));
    api_set_time(arena, v, "readySince", api_wall_ms(a, u->ready_ms));
    api_set_time(arena, v, "retryAt", u->retry_ms == A_NEVER ? 0 : api_wall_ms(a, u->retry_ms));
    wire_value_set_int(arena, v, "revision", (int64_t)u->revision);
    set_text(arena, v, "cluster", u->cluster.s);
    wire_value_set_int(arena, v, "failures", u->failures);
    wire_value_set_bool(arena, v, "final", u->final);
    wire_value_set_string(arena, v, "routing", endpoints_name(u->endpoints));
    wire_value_set(arena, v, "endpoints", endpoints_json(a, u, arena));
    unit_members(a, app, u, arena, v);
    if (full)
        wire_value_set_int(arena, v, "inFlight", (int64_t)unit_withdraw_in_flight(&a->s->withdraw, &u->name));
    return v;
}

/* ---- endpoints ---- */

/* Of an application with several routes: those that disagree leave it unsaid that a request may be sent
 * twice. */
static bool application_is_idempotent(const struct d_app *app, struct a_view application)
{
    bool all = true, any = false;
    for (size_t i = 0; app->current != NULL && i < app->current->read.n_routes; i++) {
        const struct unit_route *r = &app->current->read.routes[i];
        if (!a_view_is(application, r->application))
            continue;
        any = true;
        all = all && r->idempotent;
    }
    return any && all;
}

/* As for the gateways: what Serve says of the deployment, else what the config does. */
static int64_t requests_at_once(const struct d_app *app, const struct wire_sl_endpoint *e)
{
    if (e->max_ongoing != 0)
        return e->max_ongoing;
    for (size_t i = 0; app->current != NULL && i < app->current->read.n_routes; i++)
        if (a_view_is(e->application, app->current->read.routes[i].application))
            return app->current->read.routes[i].max_ongoing;
    return 0;
}

struct wire_value *api_json_endpoint(const struct d_app *app, const struct wire_sl_endpoint *e,
                                     struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    bool v6 = e->ip.len > 0 && memchr(e->ip.ptr, ':', e->ip.len) != NULL;
    wire_value_set_view(arena, v, "id", e->id);
    wire_value_set_string(
        arena, v, "address",
        a_arena_printf(arena, v6 ? "[" A_VIEW_FMT "]:%u" : A_VIEW_FMT ":%u", A_VIEW_ARG(e->ip), e->port));
    wire_value_set_string(arena, v, "state", e->state == WIRE_SL_ENDPOINT_UP ? "ready" : "draining");
    wire_value_set_int(arena, v, "weight", e->weight != 0 ? e->weight : 100);
    wire_value_set_int(arena, v, "maxOngoing", requests_at_once(app, e));
    wire_value_set_view(arena, v, "application", e->application);
    wire_value_set_view(arena, v, "pathPrefix", e->route_prefix.len > 0 ? e->route_prefix : A_VIEW_LIT("/"));
    wire_value_set_bool(arena, v, "idempotent", application_is_idempotent(app, e->application));
    wire_value_set(arena, v, "headers", wire_value_new_object(arena));
    wire_value_set_bool(arena, v, "proxy", e->proxy);
    wire_value_set_string(arena, v, "unit", e->unit.s);
    wire_value_set_string(arena, v, "node", e->node.s);
    wire_value_set_string(arena, v, "cluster", e->cluster.s);
    wire_value_set_string(arena, v, "network", e->network.s);
    wire_value_set_int(arena, v, "revision", (int64_t)e->revision);
    return v;
}

/* ---- nodes ---- */

static struct wire_value *claim_json(const struct sl_resource_claim *claim, struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    const struct sl_resource_claim_facts *f = &claim->facts;
    wire_value_set_string(arena, v, "namespace", f->app.namespace.s);
    wire_value_set_string(arena, v, "app", f->app.name.s);
    wire_value_set_string(arena, v, "unit", f->id.unit.s);
    wire_value_set_string(arena, v, "member", f->id.member.s);
    wire_value_set_int(arena, v, "attempt", f->id.attempt);
    wire_value_set_string(arena, v, "state", a_claim_state_name(f->state));
    wire_value_set_string(arena, v, "memberState", a_member_state_name(f->member));
    wire_value_set_int(arena, v, "revision", (int64_t)f->revision);
    wire_value_set(arena, v, "capacity", api_json_capacity(&f->capacity, arena));
    wire_value_set_bool(arena, v, "orphan", claim->orphan);
    return v;
}

static void node_agent(const struct d_agent *agent, struct a_arena *arena, struct wire_value *v, bool full)
{
    struct wire_value *labels = wire_value_new_object(arena);
    for (size_t i = 0; i < agent->n_labels; i++)
        wire_value_set_view(arena, labels,
                            a_arena_strndup(arena, agent->labels[i].key.ptr, agent->labels[i].key.len),
                            agent->labels[i].value);
    set_text(arena, v, "version", agent->version);
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(&agent->artifact, hex);
    wire_value_set_string(arena, v, "artifact",
                          a_digest_is_zero(&agent->artifact) ? NULL
                                                             : a_arena_printf(arena, "sha256:%s", hex));
    wire_value_set(arena, v, "labels", labels);
    struct wire_value *identity = wire_value_new_object(arena);
    api_set_time(arena, identity, "notAfter", agent->peer->identity.not_after_ms);
    wire_value_set_bool(arena, identity, "expired", d_peer_is_expired(agent->peer));
    wire_value_set(arena, v, "identity", identity);
    if (full) {
        struct a_capacity used = {.mcpu = agent->used_mcpu, .memory_bytes = agent->used_memory};
        wire_value_set(arena, v, "used", api_json_capacity(&used, arena));
    }
}

static void node_claims(const struct sl_resource_node *node, struct a_arena *arena, struct wire_value *v)
{
    struct wire_value *list = wire_value_new_array(arena);
    for (const struct sl_resource_claim *claim = sl_resource_next_claim(node, NULL); claim != NULL;
         claim = sl_resource_next_claim(node, claim))
        if (claim->facts.state != A_CLAIM_RELEASED)
            wire_value_append(list, claim_json(claim, arena));
    wire_value_set(arena, v, "claims", list);
}

struct wire_value *api_json_node(const struct api *a, const struct sl_resource_node *node,
                                 struct a_arena *arena, bool full)
{
    struct wire_value *v = wire_value_new_object(arena);
    const struct d_agent *agent = d_agent_find(a->s, &node->id);
    wire_value_set_string(arena, v, "id", node->id.s);
    wire_value_set_string(arena, v, "name", d_node_name(a->s, &node->id));
    wire_value_set_string(arena, v, "state", a_node_state_name(sl_resource_node_state(node)));
    wire_value_set_string(arena, v, "reason", a_reason_name(node->reason));
    api_set_time(arena, v, "since", api_wall_ms(a, node->since_ms));
    wire_value_set_bool(arena, v, "cordoned", (node->facts.flags & SL_RESOURCE_NODE_CORDONED) != 0);
    wire_value_set_bool(arena, v, "exclusive", (node->facts.flags & SL_RESOURCE_NODE_EXCLUSIVE) != 0);
    wire_value_set_bool(arena, v, "connected", node->conn != 0);
    set_text(arena, v, "cluster", node->facts.cluster.s);
    set_text(arena, v, "network", node->facts.network.s);
    set_text(arena, v, "zone", node->facts.zone.s);
    set_text(arena, v, "host", node->facts.host);
    set_text(arena, v, "arch", node->facts.arch.s);
    set_text(arena, v, "address", node->facts.address);
    wire_value_set(arena, v, "capacity", api_json_capacity(&node->facts.capacity, arena));
    wire_value_set(arena, v, "free", api_json_capacity(&node->facts.free, arena));
    if (agent != NULL)
        node_agent(agent, arena, v, full);
    node_claims(node, arena, v);
    if (full)
        wire_value_set_int(arena, v, "load", sl_resource_load(&a->s->resource, node));
    return v;
}

/* ---- events ---- */

struct wire_value *api_json_event(const struct d_event *e, struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    api_set_time(arena, v, "time", e->time_unix_ms);
    api_set_time(arena, v, "firstTime", e->first_unix_ms);
    wire_value_set_int(arena, v, "count", (int64_t)e->count);
    wire_value_set_string(arena, v, "actor", e->actor);
    set_text(arena, v, "namespace", e->app.namespace.s);
    set_text(arena, v, "app", e->app.name.s);
    set_text(arena, v, "object", e->object);
    wire_value_set_int(arena, v, "revision", (int64_t)e->revision);
    wire_value_set_string(arena, v, "reason", a_reason_name(e->reason));
    set_text(arena, v, "message", e->message);
    return v;
}
