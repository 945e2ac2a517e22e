/* Upgrading agents: the wish is kept in the store; nodes are looked at, told at the core's pace, and what
 * they answer goes into the core. Nothing of a single node is stored: which agent it runs says its HELLO, and
 * what failed it remembers itself and says at each attach. So a restart of this server forgets nothing but
 * who was told a moment ago. */
#include "daemon/server/upgrades.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "artifact/agent.h"
#include "base/alloc.h"
#include "daemon/server/store_keys.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "wire/value.h"

#define LOOK_MS 500
#define LOOK_IDLE_MS                                                                                         \
    3000 /* nodes come with older agents: from an image that is not rebuilt for each version */
#define WORSE_MS                                                                                             \
    30000 /* a unit comes back from an agent's restart in seconds, and from a fault not at all               \
           */
#define KEY "/default/upgrade/agents"
#define PREFIX "agent-"

static const char actor[] = "upgrade";

/* A unit that was READY on a node when the node was told. */
struct watched {
    struct a_map_link link;
    struct a_unit_name unit;
    struct a_uuid app;
    uint64_t bad_since_ms; /* 0 = it serves */
};

bool d_upgrade_is_agent(const struct a_name *namespace, const char *artifact_name)
{
    return strcmp(namespace->s, "default") == 0 &&
           (strcmp(artifact_name, PREFIX "amd64") == 0 || strcmp(artifact_name, PREFIX "arm64") == 0);
}

/* ---- the record ---- */

static void wish_print(const struct d_upgrade_wish *w, struct a_buf *b)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *v = wire_value_new_object(&arena);
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(&w->artifact, hex);
    wire_value_set_int(&arena, v, "number", (int64_t)w->number);
    wire_value_set_string(&arena, v, "version", w->version);
    if (!a_digest_is_zero(&w->artifact))
        wire_value_set_string(&arena, v, "artifact", hex);
    wire_value_set_string(&arena, v, "cluster", w->cluster.s);
    wire_value_set_int(&arena, v, "pace", w->pace);
    wire_value_set_bool(&arena, v, "downgrade", w->downgrade);
    wire_value_set_bool(&arena, v, "stopped", w->stopped);
    wire_value_set_string(&arena, v, "message", w->message);
    wire_value_set_int(&arena, v, "created", (int64_t)w->created_unix_ms);
    wire_json_print(b, v, 0);
}

static int wish_parse(struct a_view text, struct d_upgrade_wish *ret, struct a_error *reterr)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *v;
    struct d_upgrade_wish w = {.number = 0};
    int rc = wire_json_parse(&arena, text, "upgrade", NULL, &v, reterr);
    if (rc != 0)
        return rc;
    const struct wire_value *artifact = wire_value_get(v, "artifact");
    int64_t number = wire_value_int(wire_value_get(v, "number"), 0);
    if (number <= 0 || (artifact != NULL && !a_digest_parse(wire_value_view(artifact), &w.artifact)))
        return a_fail(reterr, -EINVAL, A_CODE_STORE_CORRUPT, "upgrade: a field is missing or malformed");
    w.number = (uint64_t)number;
    snprintf(w.version, sizeof w.version, "%s", wire_value_string(wire_value_get(v, "version"), ""));
    snprintf(w.message, sizeof w.message, "%s", wire_value_string(wire_value_get(v, "message"), ""));
    snprintf(w.cluster.s, sizeof w.cluster.s, "%s", wire_value_string(wire_value_get(v, "cluster"), ""));
    w.pace = (uint32_t)wire_value_int(wire_value_get(v, "pace"), 0);
    w.downgrade = wire_value_bool(wire_value_get(v, "downgrade"), false);
    w.stopped = wire_value_bool(wire_value_get(v, "stopped"), false);
    w.created_unix_ms = (uint64_t)wire_value_int(wire_value_get(v, "created"), 0);
    *ret = w;
    return 0;
}

/* ---- nodes ---- */

/* What the node is to run from; false: no artifact of the version is for its processor. */
static bool artifact_for(const struct d_upgrades *u, const struct sl_resource_node *node,
                         struct a_digest *ret)
{
    struct a_name namespace;
    char name[A_NAME_MAX + sizeof PREFIX + sizeof u->wish.version + 1];
    if (!a_digest_is_zero(&u->wish.artifact)) {
        *ret = u->wish.artifact;
        return true;
    }
    snprintf(name, sizeof name, PREFIX "%s@%s", node->facts.arch.s, u->wish.version);
    return a_name_parse(A_VIEW_LIT("default"), &namespace) && d_artifact_resolve(u->s, &namespace, name, ret);
}

enum d_upgrade_stand d_upgrade_stand(const struct d_upgrades *u, const struct sl_resource_node *node)
{
    const struct d_upgrade_wish *w = &u->wish;
    const struct d_agent *agent = d_agent_find(u->s, &node->id);
    enum a_node_state state = sl_resource_node_state(node);
    struct a_digest artifact;
    bool any = a_digest_is_zero(&w->artifact);
    if (agent == NULL || node->conn == 0 ||
        (w->cluster.s[0] != '\0' && strcmp(w->cluster.s, node->facts.cluster.s) != 0))
        return D_UPGRADE_OUTSIDE;
    if (any ? strcmp(agent->version, w->version) == 0 : a_digest_equal(&agent->artifact, &w->artifact))
        return D_UPGRADE_THROUGH;
    if (!w->downgrade && artifact_version_compare(agent->version, w->version) > 0)
        return D_UPGRADE_NEWER;
    if (!artifact_for(u, node, &artifact))
        return D_UPGRADE_WITHOUT;
    return state == A_NODE_DRAINING ? D_UPGRADE_WAITING : D_UPGRADE_WANTED;
}

/* ---- units ---- */

static void units_watch(struct d_upgrades *u, const struct sl_resource_node *node)
{
    const struct sl_resource_claim *c = NULL;
    struct unit_info info;
    while ((c = sl_resource_next_claim(node, c)) != NULL) {
        const struct d_app *app = d_app_by_uid(u->s, &c->facts.id.app_uid);
        bool ready = app != NULL && app->fleet != NULL &&
                     unit_fleet_find(app->fleet, &c->facts.id.unit, &info) && info.state == A_UNIT_READY;
        if (!ready || a_map_get_str(&u->watched, c->facts.id.unit.s) != NULL)
            continue;
        struct watched *w = a_new(struct watched);
        w->unit = c->facts.id.unit;
        w->app = c->facts.id.app_uid;
        a_map_put_str(&u->watched, &w->link, w->unit.s);
    }
}

static void watched_free(struct d_upgrades *u, struct watched *w)
{
    a_map_remove(&u->watched, &w->link);
    a_free(w);
}

static void units_forget(struct d_upgrades *u)
{
    a_map_foreach (l, &u->watched)
        watched_free(u, a_map_entry(l, struct watched, link));
}

/* A unit that ends because somebody, or something else, wants it to is not the upgrade's matter. */
static bool unit_look(const struct d_upgrades *u, const struct watched *w, struct unit_info *ret,
                      bool *ret_serves)
{
    const struct d_app *app = d_app_by_uid(u->s, &w->app);
    if (app == NULL || app->fleet == NULL || !unit_fleet_find(app->fleet, &w->unit, ret))
        return false;
    *ret_serves = ret->state == A_UNIT_READY || ret->state == A_UNIT_UPDATING;
    return !ret->leaving && ret->state != A_UNIT_DRAINING && ret->state != A_UNIT_STOPPED;
}

/* Fills what the look is told of units. `message` is of the caller's. */
static void units_look(struct d_upgrades *u, struct sl_upgrade_event *e, char *message, size_t size)
{
    a_map_foreach (l, &u->watched) {
        struct watched *w = a_map_entry(l, struct watched, link);
        struct unit_info info;
        bool serves = true;
        if (!unit_look(u, w, &info, &serves)) {
            watched_free(u, w);
            continue;
        }
        if (serves)
            w->bad_since_ms = 0;
        else if (w->bad_since_ms == 0)
            w->bad_since_ms = e->now_ms;
        e->unsettled = e->unsettled || !serves;
        if (!serves && e->now_ms - w->bad_since_ms >= WORSE_MS) {
            snprintf(message, size, "unit %s is %s (%s) since its node's agent was upgraded: %.300s",
                     w->unit.s, a_unit_state_name(info.state), a_reason_name(info.reason),
                     info.message != NULL ? info.message : "");
            e->worse = message;
        }
    }
}

/* ---- carrying out ---- */

static void node_tell(struct d_upgrades *u, const struct a_node_id *id)
{
    const struct sl_resource_node *node = sl_resource_node(&u->s->resource, id);
    struct wire_sl_message m = {.type = WIRE_SL_T_UPGRADE};
    struct a_digest artifact;
    if (node == NULL || !artifact_for(u, node, &artifact))
        return; /* the core's deadline finds it */
    units_watch(u, node);
    m.upgrade = (struct wire_sl_upgrade){
        .node = *id, .number = u->wish.number, .artifact = artifact, .version = a_view_str(u->wish.version)};
    (void)!d_agent_send(u->s, id, &m);
    d_event_add(u->s, NULL, actor, d_node_name(u->s, id), 0, A_REASON_REQUESTED,
                "its agent is upgraded to %s", u->wish.version);
}

static struct wish_write *wish_save(struct server *s, const struct d_upgrade_wish *wish);

static void stop(struct d_upgrades *u, const char *why)
{
    u->wish.stopped = true;
    snprintf(u->wish.message, sizeof u->wish.message, "%s", why);
    sys_log(WARN, "server", "upgrade.stopped", "the upgrade of agents stopped by itself",
            SYS_STR("version", u->wish.version), SYS_STR("why", why));
    d_event_add(u->s, NULL, actor, u->wish.version, 0, A_REASON_UPGRADE_FAILED, "the upgrade stopped: %s",
                why);
    (void)wish_save(u->s, &u->wish);
}

static void step(struct d_upgrades *u, struct sl_upgrade_event *e)
{
    struct sl_upgrade_update update;
    e->now_ms = sys_loop_now_ms(u->s->loop);
    sl_upgrade_step(&u->core, e, &update);
    for (size_t i = 0; i < update.n_tell; i++)
        node_tell(u, &update.tell[i]);
    if (update.failed.s[0] != '\0')
        d_event_add(u->s, NULL, actor, d_node_name(u->s, &update.failed), 0, A_REASON_UPGRADE_FAILED,
                    "its agent is not upgraded to %s: %s", u->wish.version, update.why);
    if (update.stopped)
        stop(u, update.message);
    if (e->type != SL_UPGRADE_LOOK)
        return;
    if (update.idle && !u->idle && !u->wish.stopped)
        d_event_add(u->s, NULL, actor, u->wish.version, 0, A_REASON_NONE,
                    "agents are upgraded, as far as they can be; %zu failed", u->core.n_failed);
    u->idle = update.idle;
}

static void look(void *ctx)
{
    struct d_upgrades *u = ctx;
    const struct sl_resource *r = &u->s->resource;
    char message[SL_UPGRADE_MESSAGE_MAX];
    if (u->wish.stopped && u->core.n_flights == 0)
        return;
    A_AUTOFREE struct sl_upgrade_row *rows = a_alloc_array(r->nodes.len + 1, sizeof *rows);
    struct sl_upgrade_event e = {
        .type = SL_UPGRADE_LOOK, .rows = rows, .now_ms = sys_loop_now_ms(u->s->loop)};
    for (const struct sl_resource_node *n = sl_resource_next(r, NULL); n != NULL;
         n = sl_resource_next(r, n)) {
        enum d_upgrade_stand stand = d_upgrade_stand(u, n);
        enum a_node_state state = sl_resource_node_state(n);
        rows[e.n_rows++] = (struct sl_upgrade_row){.id = n->id,
                                                   .cluster = n->facts.cluster,
                                                   .conn = d_agent_find(u->s, &n->id) != NULL ? n->conn : 0,
                                                   .wants = stand == D_UPGRADE_WANTED,
                                                   /* what it remembers of its last upgrade comes before the
                                                    * end of its snapshot */
                                                   .ready = u->s->adopted && n->snapshot &&
                                                            (state == A_NODE_UP || state == A_NODE_DRAINED),
                                                   .through = stand == D_UPGRADE_THROUGH};
    }
    units_look(u, &e, message, sizeof message);
    step(u, &e);
    sys_timer_set_in(&u->timer, u->idle ? LOOK_IDLE_MS : LOOK_MS);
}

void d_upgrades_told(struct server *s, const struct wire_sl_upgrade_status *m)
{
    struct d_upgrades *u = s->upgrades;
    A_AUTOFREE char *message =
        a_asprintf("%s: " A_VIEW_FMT, a_reason_name(m->reason), A_VIEW_ARG(m->message));
    struct sl_upgrade_event e = {.node = m->node, .message = message};
    if (m->number != u->wish.number)
        return; /* of a rollout before this one */
    e.type = m->phase == WIRE_SL_UPGRADE_PHASE_FETCHING     ? SL_UPGRADE_FETCHING
             : m->phase == WIRE_SL_UPGRADE_PHASE_RESTARTING ? SL_UPGRADE_RESTARTING
                                                            : SL_UPGRADE_FAILED;
    if (m->phase != WIRE_SL_UPGRADE_PHASE_RUNNING)
        step(u, &e);
}

/* ---- writing ---- */

struct wish_write {
    struct server *s;
    struct d_upgrade_wish wish;
    bool apply; /* once it is on disk */
    struct a_buf text;
    struct store_txn txn;
    struct store_write write;
    void (*done)(void *ctx, const struct a_error *error);
    void *ctx;
};

static void wish_apply(struct d_upgrades *u, const struct d_upgrade_wish *wish)
{
    bool same = u->wish.number == wish->number;
    u->wish = *wish;
    u->core.stopped = wish->stopped;
    if (same)
        return;
    sl_upgrade_deinit(&u->core);
    sl_upgrade_init(&u->core, wish->pace);
    units_forget(u);
    u->idle = false;
    sys_timer_set_in(&u->timer, 0);
}

static void wish_written(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct wish_write *w = ctx;
    (void)revision;
    if (rc != 0)
        sys_log(WARN, "server", "upgrade.save", "the upgrade could not be stored", SYS_ERR(error));
    if (rc == 0 && w->apply && w->s->upgrades != NULL)
        wish_apply(w->s->upgrades, &w->wish);
    if (w->done != NULL)
        w->done(w->ctx, rc != 0 ? error : NULL);
    a_error_deinit(&w->txn.error);
    a_buf_deinit(&w->text);
    a_free(w);
}

static struct wish_write *wish_save(struct server *s, const struct d_upgrade_wish *wish)
{
    struct wish_write *w = a_new(struct wish_write);
    wish_print(wish, &w->text);
    w->s = s;
    w->wish = *wish;
    w->write = (struct store_write){A_VIEW_LIT(KEY), a_buf_view(&w->text), STORE_ANY};
    w->txn = (struct store_txn){.writes = &w->write, .n_writes = 1, .done = wish_written, .ctx = w};
    store_submit(s->store, &w->txn);
    return w;
}

void d_upgrades_put(struct server *s, const struct d_upgrade_wish *wish,
                    void (*done)(void *ctx, const struct a_error *error), void *ctx)
{
    struct d_upgrades *u = s->upgrades;
    struct d_upgrade_wish next = *wish;
    if (!next.stopped) {
        next.number = ++u->last_number;
        next.created_unix_ms = sys_clock_wall_ms();
    }
    struct wish_write *w = wish_save(s, &next);
    w->apply = true;
    w->done = done;
    w->ctx = ctx;
}

/* ---- start and end ---- */

struct load {
    struct d_upgrades *u;
    struct a_error *reterr;
    int rc;
};

static bool record_read(void *ctx, const struct store_entry *entry)
{
    struct load *l = ctx;
    if (a_view_is(entry->key, KEY))
        l->rc = wish_parse(entry->value, &l->u->wish, l->reterr);
    return l->rc == 0;
}

int d_upgrades_load(struct server *s, struct a_error *reterr)
{
    struct d_upgrades *u = a_new(struct d_upgrades);
    struct load l = {.u = u, .reterr = reterr};
    s->upgrades = u;
    u->s = s;
    sys_timer_init(&u->timer, s->loop, look, u);
    int rc = store_scan(s->store, "/default/upgrade/", record_read, &l, reterr);
    sl_upgrade_init(&u->core, u->wish.pace);
    u->core.stopped = u->wish.stopped;
    u->last_number = u->wish.number;
    if (rc == 0 && l.rc == 0 && u->wish.number != 0 && !u->wish.stopped)
        sys_timer_set_in(&u->timer, LOOK_MS);
    return rc != 0 ? rc : l.rc;
}

void d_upgrades_stop(struct server *s)
{
    struct d_upgrades *u = s->upgrades;
    if (u == NULL)
        return;
    sys_timer_clear(&u->timer);
    units_forget(u);
    a_map_deinit(&u->watched);
    sl_upgrade_deinit(&u->core);
    a_free(u);
    s->upgrades = NULL;
}
