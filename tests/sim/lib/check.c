/* What must hold. The numbers are those of docs/components/unit.md, "Simulation". */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "lib/sim.h"

void claim_text(const struct a_node_id *node, const struct a_claim_id *id, char *out, size_t size)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, "%s ", node->s);
    a_claim_id_print(&b, id);
    snprintf(out, size, "%s", b.ptr);
}

struct seen {
    struct a_map_link link;
    uint32_t life;
    char key[256];
};

static struct seen *seen_find(const struct a_map *map, const char *key)
{
    struct a_map_link *link = a_map_get_str(map, key);
    return link == NULL ? NULL : a_map_entry(link, struct seen, link);
}

static void seen_add(struct a_map *map, const char *key, uint32_t life)
{
    struct seen *s = seen_find(map, key);
    if (s == NULL) {
        s = a_new(struct seen);
        snprintf(s->key, sizeof s->key, "%s", key);
        a_map_put_str(map, &s->link, s->key);
    }
    s->life = life;
}

static void seen_deinit(struct a_map *map)
{
    a_map_foreach (link, map) {
        a_map_remove(map, link);
        a_free(a_map_entry(link, struct seen, link));
    }
    a_map_deinit(map);
}

void check_deinit(struct sim *sim)
{
    seen_deinit(&sim->released);
    seen_deinit(&sim->reserved);
}

/* I1, I3: the node's own invariants; no epoch falls below what was written. */
static void check_node(struct sim *sim, struct node *n)
{
    sl_node_check(&n->core);
    for (int i = 0; i < sim->n_apps; i++)
        if (sl_node_epoch(&n->core, &sim->apps[i].uid) < n->epoch_disk[i])
            sim_fail(sim, "I3: node %s forgot epoch %d", n->id.s, (int)n->epoch_disk[i]);
}

/* I2: a row never goes back while its server lives. */
static void check_row(struct sim *sim, struct node *n)
{
    const struct sl_resource_node *row = sl_resource_node(&sim->server.resource, &n->id);
    if (row == NULL) {
        n->row_incarnation = n->row_attach = 0;
        return;
    }
    if (row->incarnation < n->row_incarnation ||
        (row->incarnation == n->row_incarnation && row->attach < n->row_attach))
        sim_fail(sim, "I2: the row of %s went back", n->id.s);
    n->row_incarnation = row->incarnation;
    n->row_attach = row->attach;
}

void check_step(struct sim *sim)
{
    for (int i = 0; i < sim->n_nodes; i++) {
        if (sim->nodes[i].agent_up && sim->now % 8 == 0)
            check_node(sim, &sim->nodes[i]);
        if (sim->server.up)
            check_row(sim, &sim->nodes[i]);
        else
            sim->nodes[i].row_incarnation = sim->nodes[i].row_attach = 0;
    }
}

/* I4: a refusal changes nothing. */
void check_reply(struct sim *sim, const struct node *node, const struct a_capacity *before,
                 enum sl_node_result result)
{
    struct a_capacity after = sl_node_free(&node->core);
    if (result != SL_NODE_OK && memcmp(before, &after, sizeof after) != 0)
        sim_fail(sim, "I4: node %s refused (%s) and yet changed", node->id.s, sl_node_result_name(result));
}

/* I5: a gang is granted when each of its nodes holds its part. */
void check_granted(struct sim *sim, const struct sl_sched_update_item *item)
{
    for (size_t i = 0; i < item->n_placed; i++) {
        const struct node *n = sim_node(sim, &item->placed[i].node);
        bool held = !n->agent_up;
        if (n->agent_up)
            a_list_foreach (it, &n->core.claims) {
                const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
                held =
                    held || (c->state.state == A_CLAIM_RESERVED && c->id.attempt == item->placed[i].attempt &&
                             strcmp(c->id.member.s, item->placed[i].name.s) == 0);
            }
        if (!held)
            sim_fail(sim, "I5: a gang is granted and %s holds nothing of it", n->id.s);
    }
}

/* I6: nothing bound is stopped unless a scheduler of its app released it. */
void check_stop(struct sim *sim, const struct node *node, const struct sl_claim *claim)
{
    char key[256];
    claim_text(&node->id, &claim->id, key, sizeof key);
    if (seen_find(&sim->released, key) == NULL)
        sim_fail(sim, "I6: %s is stopped and nobody released it", key);
}

static const struct member *member_of(struct sim *sim, const struct a_node_id *node,
                                      const struct a_claim_id *id)
{
    struct node *n = sim_node(sim, node);
    for (int i = 0; i < SIM_MEMBERS_MAX; i++)
        if (n->members[i].number != 0 && a_claim_id_equal(&n->members[i].id, id))
            return &n->members[i];
    return NULL;
}

/* I8: a head that serves is released only after every gateway withdrew it. */
void check_release(struct sim *sim, const struct a_claim_id *id, const struct a_node_id *node)
{
    const struct member *m = member_of(sim, node, id);
    char key[256];
    claim_text(node, id, key, sizeof key);
    seen_add(&sim->released, key, sim->server.life);
    struct unit_info u;
    if (m == NULL || !m->head || m->state != A_MEMBER_UP || m->serve != UNIT_SERVE_RUNNING)
        return;
    if (unit_fleet_find(server_app(sim, &id->app_uid)->fleet, &id->unit, &u) && u.head.attempt != id->attempt)
        return; /* an older claim of a unit that lives elsewhere: no route leads there */
    for (int g = 0; g < SIM_GATEWAYS; g++)
        for (size_t i = 0; i < sim->gateways[g].n_routes; i++) {
            const struct route *r = &sim->gateways[g].routes[i];
            if (r->state == UNIT_ENDPOINTS_UP && strcmp(r->unit.s, id->unit.s) == 0)
                sim_fail(sim, "I8: %s is released while gateway %d routes to it", key, g);
        }
}

/* I11: one server never asks for the same claim twice: an attempt is never used again. */
void check_reserve(struct sim *sim, const struct a_claim_id *id)
{
    char key[256];
    claim_text(&(struct a_node_id){.s = ""}, id, key, sizeof key);
    const struct seen *before = seen_find(&sim->reserved, key);
    if (before != NULL && before->life == sim->server.life)
        sim_fail(sim, "I11: %s is reserved twice", key);
    seen_add(&sim->reserved, key, sim->server.life);
}

uint64_t check_members(const struct sim *sim)
{
    uint64_t sum = 0;
    for (int i = 0; i < sim->n_nodes; i++)
        for (int k = 0; k < SIM_MEMBERS_MAX; k++) {
            const struct member *m = &sim->nodes[i].members[k];
            if (m->number != 0)
                sum += a_hash_u64(m->number * 1000003 + m->started_ms * 31 + (uint64_t)i);
        }
    return sum;
}

/* I7: a unit is placed only within wanted + surge. */
void check_place(struct sim *sim, struct app *app)
{
    struct unit_info u;
    uint32_t live = 0;
    for (size_t i = 0; unit_fleet_unit(app->fleet, i, &u); i++)
        live += u.state == A_UNIT_CLAIMING || (u.state >= A_UNIT_FETCHING && u.state <= A_UNIT_UNHEALTHY);
    if (live > app->desired.units + app->desired.rollout.max_surge)
        sim_fail(sim, "I7: %u units of %s for %u wanted", live, app->desired.app.name.s, app->desired.units);
}

/* I9 ... */
static bool app_is_whole(struct sim *sim, struct app *app, struct a_buf *why)
{
    struct unit_fleet_status s;
    struct unit_info u;
    if (app->fleet == NULL)
        return false;
    unit_fleet_status(app->fleet, &s);
    for (size_t i = 0; unit_fleet_unit(app->fleet, i, &u); i++) {
        if (u.state == A_UNIT_READY && u.n_members == app->revisions[0].n_members)
            continue;
        a_buf_addf(why, "%s is %s with %zu members (%s); ", u.name.s, a_unit_state_name(u.state), u.n_members,
                   u.message);
    }
    if (s.ready != app->desired.units || s.updated != app->desired.units || s.total != app->desired.units)
        a_buf_addf(why, "%s: %u ready, %u updated, %u in all of %u; ", app->desired.app.name.s, s.ready,
                   s.updated, s.total, app->desired.units);
    (void)sim;
    return why->len == 0;
}

/* ... and nothing else is there: no claim, process, record, route or release without its unit. */
static bool claim_is_wanted(struct sim *sim, const struct node *n, const struct sl_claim *c)
{
    const struct app *app = server_app(sim, &c->id.app_uid);
    struct unit_member_info m;
    for (size_t i = 0; unit_fleet_member(app->fleet, &c->id.unit, i, &m); i++)
        if (strcmp(m.name.s, c->id.member.s) == 0 && m.attempt == c->id.attempt &&
            strcmp(m.node.s, n->id.s) == 0)
            return c->state.state == A_CLAIM_BOUND;
    return false;
}

static size_t node_leaks(struct sim *sim, struct node *n, struct a_buf *why)
{
    size_t bound = 0;
    char key[256];
    a_list_foreach (it, &n->core.claims) {
        const struct sl_claim *c = a_list_entry(it, struct sl_claim, link);
        if (c->state.state == A_CLAIM_RELEASED)
            continue;
        bound++;
        if (claim_is_wanted(sim, n, c))
            continue;
        claim_text(&n->id, &c->id, key, sizeof key);
        a_buf_addf(why, "claim %s (%s) leaks; ", key, a_sm_name(&c->state));
    }
    for (int i = 0; i < SIM_MEMBERS_MAX; i++)
        if (n->members[i].number != 0 && sl_node_find_number(&n->core, n->members[i].number) == NULL)
            a_buf_addf(why, "%s of %s runs without a claim; ", n->members[i].id.member.s,
                       n->members[i].id.unit.s);
    return bound;
}

static void store_leaks(struct sim *sim, struct a_buf *why)
{
    for (int i = 0; i < SIM_RECORDS_MAX; i++) {
        const struct stored_record *r = &sim->server.records[i];
        struct unit_info u;
        if (r->app >= 0 && !unit_fleet_find(sim->apps[r->app].fleet, &r->record.unit, &u))
            a_buf_addf(why, "the record of %s is left over; ", r->record.unit.s);
    }
    for (int g = 0; g < SIM_GATEWAYS; g++)
        for (size_t i = 0; i < sim->gateways[g].n_routes; i++) {
            const struct route *r = &sim->gateways[g].routes[i];
            struct unit_info u;
            if (!unit_fleet_find(sim->apps[r->app].fleet, &r->unit, &u) || r->state != UNIT_ENDPOINTS_UP)
                a_buf_addf(why, "gateway %d still has %s; ", g, r->unit.s);
        }
}

static void world_why(struct sim *sim, struct a_buf *why)
{
    size_t bound = 0, expected = 0, n_routes = 0;
    if (!sim->server.up || !sim->server.adopted) {
        a_buf_add_str(why, "the server is not there; ");
        return;
    }
    for (int i = 0; i < sim->n_apps; i++) {
        if (!app_is_whole(sim, &sim->apps[i], why))
            return;
        expected += sim->apps[i].desired.units * sim->apps[i].revisions[0].n_members;
        n_routes += sim->apps[i].desired.units;
    }
    for (int i = 0; i < sim->n_nodes; i++)
        if (sim->nodes[i].agent_up)
            bound += node_leaks(sim, &sim->nodes[i], why);
    store_leaks(sim, why);
    if (bound != expected)
        a_buf_addf(why, "%zu claims where %zu are wanted; ", bound, expected);
    if (sim->gateways[0].n_routes != n_routes || sim->gateways[1].n_routes != n_routes)
        a_buf_addf(why, "gateways have %zu and %zu routes; ", sim->gateways[0].n_routes,
                   sim->gateways[1].n_routes);
    if (sl_sched_gangs(&sim->server.sched) + sl_sched_releases(&sim->server.sched) > 0)
        a_buf_addf(why, "%zu gangs and %zu releases are left; ", sl_sched_gangs(&sim->server.sched),
                   sl_sched_releases(&sim->server.sched));
}

bool check_quiet(struct sim *sim)
{
    A_BUF_AUTO struct a_buf why = {0};
    world_why(sim, &why);
    return why.len == 0;
}

void check_end(struct sim *sim)
{
    A_BUF_AUTO struct a_buf why = {0};
    world_why(sim, &why);
    if (why.len > 0)
        sim_fail(sim, "I9: healed, but %s", why.ptr);
}
