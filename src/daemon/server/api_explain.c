/* Why an app or a unit is not what was asked for: its state, its reason, Ray's own words, when it is tried
 * again, and what a place for it lacks on the nodes that come nearest. Told twice: as fields, and as lines
 * for people. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "daemon/server/api.h"
#include "sys/clock.h"

#define EXPLAIN_EVENTS 20
#define EXPLAIN_UNITS 50 /* that are told one by one */

struct explain {
    struct api_call *c;
    const struct d_app *app;
    struct wire_value *lines, *units;
};

static void say(struct explain *x, const char *fmt, ...) A_PRINTF(2, 3);
static void say(struct explain *x, const char *fmt, ...)
{
    A_BUF_AUTO struct a_buf b = {0};
    va_list args;
    va_start(args, fmt);
    a_buf_vaddf(&b, fmt, args);
    va_end(args);
    wire_value_append(x->lines, wire_value_new_view(x->c->arena, a_buf_view(&b)));
}

static const char *text(const char *message)
{
    return message != NULL ? message : "";
}

static const char *colon(const char *message)
{
    return text(message)[0] != '\0' ? ": " : "";
}

/* ---- a place ---- */

static const char *node_name(struct explain *x, const struct sl_explain_node *n)
{
    const struct d_agent *agent = d_agent_find(x->c->s, &n->node);
    const char *name = agent != NULL && agent->name[0] != '\0' ? agent->name : n->node.s;
    size_t len = strlen(n->cluster.s);
    if (len == 0 || (strncmp(name, n->cluster.s, len) == 0 && name[len] == '/'))
        return name;
    return a_arena_printf(x->c->arena, "%s/%s", n->cluster.s, name);
}

/* "cpu 2, memory 1Gi": the dimensions that are not 0. */
static const char *lack_text(struct explain *x, const struct a_capacity *lack)
{
    A_BUF_AUTO struct a_buf b = {0};
    if (lack->mcpu > 0) {
        a_buf_add_str(&b, "cpu ");
        a_text_print_mcpu(&b, lack->mcpu);
    }
    if (lack->memory_bytes > 0) {
        a_buf_add_str(&b, b.len > 0 ? ", memory " : "memory ");
        a_text_print_bytes(&b, lack->memory_bytes);
    }
    if (lack->disk_bytes > 0) {
        a_buf_add_str(&b, b.len > 0 ? ", disk " : "disk ");
        a_text_print_bytes(&b, lack->disk_bytes);
    }
    return a_arena_strndup(x->c->arena, b.len > 0 ? b.ptr : "", b.len);
}

static const char *capacity_text(struct explain *x, const struct a_capacity *capacity)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_capacity_print(&b, capacity);
    return a_arena_strndup(x->c->arena, b.ptr, b.len);
}

static void node_say(struct explain *x, const struct sl_explain_node *n, size_t width)
{
    const char *lack = lack_text(x, &n->lack);
    bool room_only = n->unfit >= SL_UNFIT_CPU && n->unfit <= SL_UNFIT_DISK;
    say(x, "    %-*s  %s%s%s (%s free)", (int)width, node_name(x, n),
        room_only ? "" : sl_unfit_text(n->unfit),
        lack[0] == '\0' ? ""
        : room_only     ? "lacks "
                        : "; lacks ",
        lack, capacity_text(x, &n->room));
}

/* The limits that stand in the way: of claims in a cluster, and of its pools. */
static void limits_say(struct explain *x, const struct d_place_why *why)
{
    A_BUF_AUTO struct a_buf b = {0};
    if (why->explain.limited.s[0] != '\0') {
        a_buf_add_str(&b, "; ");
        sl_explain_print_limit(&b, &why->explain);
    }
    d_kube_limits_say(x->c->s, &b);
    if (b.len > 2)
        say(x, "  %s; `astra cluster set` changes limits", b.ptr + 2);
}

static void place_say(struct explain *x, const struct d_place_why *why)
{
    size_t width = 0;
    if (why->fits) {
        say(x, "  there is room for it now");
        return;
    }
    for (size_t i = 0; i < why->n_nodes; i++)
        width = A_MAX(width, strlen(node_name(x, &why->nodes[i])));
    say(x, "  its %s wants %s; %s", why->explain.member.s, capacity_text(x, &why->explain.want),
        why->explain.nodes == 0
            ? "there is no node"
            : a_arena_printf(x->c->arena,
                             "of %" PRIu32 " nodes none takes it, nearest first:", why->explain.nodes));
    for (size_t i = 0; i < why->n_nodes; i++)
        node_say(x, &why->nodes[i], width);
    if (why->explain.nodes > why->n_nodes)
        say(x, "    and %zu more", why->explain.nodes - why->n_nodes);
    limits_say(x, why);
}

static struct wire_value *node_json(struct explain *x, const struct sl_explain_node *n)
{
    struct a_arena *a = x->c->arena;
    struct wire_value *v = wire_value_new_object(a);
    wire_value_set_string(a, v, "node", n->node.s);
    wire_value_set_string(a, v, "name", node_name(x, n));
    wire_value_set_string(a, v, "cluster", n->cluster.s);
    wire_value_set_string(a, v, "why", sl_unfit_name(n->unfit));
    wire_value_set_string(a, v, "message", sl_unfit_text(n->unfit));
    wire_value_set(a, v, "free", api_json_capacity(&n->room, a));
    wire_value_set(a, v, "lacking", api_json_capacity(&n->lack, a));
    return v;
}

static struct wire_value *place_json(struct explain *x, const struct d_place_why *why)
{
    struct a_arena *a = x->c->arena;
    struct wire_value *v = wire_value_new_object(a), *counts = wire_value_new_object(a),
                      *nodes = wire_value_new_array(a);
    wire_value_set_bool(a, v, "fits", why->fits);
    if (why->fits)
        return v;
    for (int i = SL_UNFIT_NONE + 1; i < SL_UNFIT_COUNT; i++)
        if (why->explain.unfit[i] > 0)
            wire_value_set_int(a, counts, sl_unfit_name((enum sl_unfit)i), why->explain.unfit[i]);
    for (size_t i = 0; i < why->n_nodes; i++)
        wire_value_append(nodes, node_json(x, &why->nodes[i]));
    if (why->explain.limited.s[0] != '\0') {
        struct wire_value *limit = wire_value_new_object(a);
        wire_value_set_string(a, limit, "cluster", why->explain.limited.s);
        wire_value_set_string(a, limit, "limit", sl_limit_name(why->explain.limit));
        wire_value_set_int(a, limit, "max", (int64_t)why->explain.limit_max);
        wire_value_set_int(a, limit, "used", (int64_t)why->explain.limit_used);
        wire_value_set(a, v, "limit", limit);
    }
    wire_value_set_string(a, v, "member", why->explain.member.s);
    wire_value_set(a, v, "wants", api_json_capacity(&why->explain.want, a));
    wire_value_set_int(a, v, "nodesLookedAt", why->explain.nodes);
    wire_value_set(a, v, "counts", counts);
    wire_value_set(a, v, "nodes", nodes);
    return v;
}

/* ---- units ---- */

static void retry_say(struct explain *x, const struct unit_info *u)
{
    uint64_t now = sys_loop_now_ms(x->c->s->loop);
    char at[SYS_RFC3339_LEN + 1];
    if (u->state == A_UNIT_FAILED && u->final)
        say(x,
            "  it failed %" PRIu32 " times: it is tried again only after a long pause, or with a new deploy",
            u->failures);
    if (u->retry_ms == A_NEVER || u->retry_ms <= now)
        return;
    sys_clock_print(api_wall_ms(x->c->api, u->retry_ms), at);
    say(x, "  next try in %" PRIu64 " s, at %s%s", (u->retry_ms - now + 999) / 1000, at,
        u->reason == A_REASON_NO_CAPACITY ? ", or as soon as room appears" : "");
}

static void members_say(struct explain *x, const struct unit_info *u)
{
    struct unit_member_info m;
    for (size_t i = 0; unit_fleet_member(x->app->fleet, &u->name, i, &m); i++)
        if (m.state != A_MEMBER_UP)
            say(x, "  %s on %s is %s (%s)%s%s", m.name.s, m.node.s[0] != '\0' ? m.node.s : "no node yet",
                a_member_state_name(m.state), a_reason_name(m.reason), colon(m.message), text(m.message));
}

static void unit_tell(struct explain *x, const struct unit_info *u)
{
    struct a_arena *a = x->c->arena;
    struct d_place_why why;
    bool looked = d_place_explain(x->c->s, x->app, u, &why);
    struct wire_value *v = api_json_unit(x->c->api, x->app, u, a, true);
    say(x, "unit %s is %s (%s)%s%s", u->name.s, a_unit_state_name(u->state), a_reason_name(u->reason),
        colon(u->message), text(u->message));
    members_say(x, u);
    if (looked)
        place_say(x, &why);
    retry_say(x, u);
    if (looked)
        wire_value_set(a, v, "placement", place_json(x, &why));
    else
        wire_value_set_null(a, v, "placement");
    wire_value_append(x->units, v);
}

static void units_tell(struct explain *x)
{
    struct unit_info u;
    size_t n = 0;
    for (size_t i = 0; unit_fleet_unit(x->app->fleet, i, &u); i++) {
        struct d_place_why why;
        if (u.state == A_UNIT_READY && !d_place_explain(x->c->s, x->app, &u, &why))
            continue;
        if (n++ < EXPLAIN_UNITS)
            unit_tell(x, &u);
    }
    if (n > EXPLAIN_UNITS)
        say(x, "and %zu more units that are not READY", n - EXPLAIN_UNITS);
}

/* ---- the app ---- */

static void conditions_say(struct explain *x, const struct unit_fleet_status *s)
{
    say(x, "%s wants %u units of revision %" PRIu64 ": %u ready, %u updated, %u failed, %u lost, %u draining",
        x->app->key, s->wanted, s->revision, s->ready, s->updated, s->failed, s->lost, s->draining);
    for (int i = 0; i < UNIT_CONDITION_COUNT; i++)
        say(x, "%s is %s (%s)%s%s", unit_condition_name((enum unit_condition_type)i),
            s->conditions[i].status ? "true" : "false", a_reason_name(s->conditions[i].reason),
            colon(s->conditions[i].message), s->conditions[i].message);
    if (s->failed_revision != 0)
        say(x, "revision %" PRIu64 " failed and was undone", s->failed_revision);
    if (s->last_failure[0] != '\0')
        say(x, "last failure: %s", s->last_failure);
}

static void app_tell(struct explain *x)
{
    if (x->app->orphan)
        say(x,
            "%s is an orphan: its claims run, but no store knows the app; astra orphans adopt makes it an "
            "app "
            "again",
            x->app->key);
    if (x->app->behind)
        say(x, "the store is older than what runs: all runs on, nothing is placed or stopped until `astra "
               "recover`");
    if (!x->c->s->adopted)
        say(x, "the server started a moment ago: it places nothing before the nodes have told what runs");
    if (x->app->fleet == NULL)
        return;
    struct unit_fleet_status s = {0};
    unit_fleet_status(x->app->fleet, &s);
    conditions_say(x, &s);
    units_tell(x);
}

static struct wire_value *events_json(struct explain *x, const char *only)
{
    struct api_call *c = x->c;
    struct wire_value *list = wire_value_new_array(c->arena);
    const struct d_event **events;
    size_t n = api_events_collect(c->api, a_arena_printf(c->arena, "%s/", x->app->key), 0, c->arena, &events);
    for (size_t i = n > EXPLAIN_EVENTS ? n - EXPLAIN_EVENTS : 0; i < n; i++)
        if (only[0] == '\0' || strstr(events[i]->object, only) != NULL)
            wire_value_append(list, api_json_event(events[i], c->arena));
    return list;
}

void api_handle_APP_EXPLAIN(struct api_call *c)
{
    const struct d_app *app = api_app(c);
    const char *only = api_query(c, "unit");
    struct a_unit_name name;
    struct unit_info u;
    if (app == NULL)
        return;
    if (only[0] != '\0' && (app->fleet == NULL || !a_unit_name_parse(a_view_str(only), &name) ||
                            !unit_fleet_find(app->fleet, &name, &u))) {
        api_reply_problem(c, A_CODE_NOT_FOUND, "no such unit of %s: %s", app->key, only);
        return;
    }
    struct explain x = {c, app, wire_value_new_array(c->arena), wire_value_new_array(c->arena)};
    struct wire_value *v = wire_value_new_object(c->arena);
    if (only[0] != '\0')
        unit_tell(&x, &u);
    else
        app_tell(&x);
    wire_value_set_string(c->arena, v, "app", app->key);
    wire_value_set(c->arena, v, "status",
                   wire_value_get(api_json_app(c->api, app, c->arena, true), "status"));
    wire_value_set(c->arena, v, "units", x.units);
    wire_value_set(c->arena, v, "lines", x.lines);
    wire_value_set(c->arena, v, "events", events_json(&x, only));
    api_reply_value(c, 200, v);
}
