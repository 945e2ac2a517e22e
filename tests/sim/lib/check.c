/* What must hold. The numbers are those of docs/components/simulation.md. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/hash.h"
#include "lib/sim.h"

#define JUMP_MS 30000 /* the longest that a gang's grant is under way */

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

/* I1, I3: the node's own invariants; no epoch falls below what was ever acknowledged. */
static void check_node(struct sim *sim, struct node *n)
{
    sl_node_check(&n->core);
    for (int i = 0; i < sim->n_apps; i++)
        if (sl_node_epoch(&n->core, &sim->apps[i].uid) < n->epoch_acked[i])
            sim_fail(sim, "I3: node %s forgot epoch %d", n->id.s, (int)n->epoch_acked[i]);
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
        /* a jump of its clock ends what is only reserved */
        bool held = n != NULL && (!n->agent_up || (n->jumped_ms > 0 && n->jumped_ms + JUMP_MS > sim->now));
        if (n == NULL) {
            sim_fail(sim, "I5: a gang is granted and its %s is nowhere", item->placed[i].name.s);
            return;
        }
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

/* The state that the disk must have at least. */
static int durable_state(const struct sl_node_action *a)
{
    switch (a->kind) {
    case SL_NODE_START:
        return A_CLAIM_BOUND;
    case SL_NODE_STOP:
        return A_CLAIM_RELEASING;
    case SL_NODE_REPLY:
        break;
    default:
        return -1;
    }
    if (a->result != SL_NODE_OK || a->claim == NULL)
        return -1;
    return a->asked == SL_NODE_EV_RESERVE   ? A_CLAIM_RESERVED
           : a->asked == SL_NODE_EV_RELEASE ? A_CLAIM_RELEASING
                                            : A_CLAIM_BOUND;
}

/* I21: what is answered Ok, started or stopped is on disk. When no other change is under way, the very epoch
 * is. */
void check_durable(struct sim *sim, struct node *n, const struct sl_node_action *a)
{
    const struct sl_claim *c = a->claim, *kept = NULL;
    int least = durable_state(a);
    if (least < 0)
        return;
    struct sl_node disk;
    sl_node_init(&disk, &n->capacity);
    if (n->disk.text != NULL && sl_node_decode(&disk, a_view_str(n->disk.text), node_now(sim, n), NULL) == 0)
        kept = sl_node_find(&disk, &c->id);
    bool over = c->state.state == A_CLAIM_RELEASED && (kept == NULL || kept->state.state != A_CLAIM_BOUND);
    bool whole =
        kept != NULL && kept->state.state >= least && (n->core.current != NULL || kept->epoch == c->epoch);
    if (!over && !whole)
        sim_fail(sim, "I21: node %s says Ok to %s of %s (%s), and that is not on its disk", n->id.s,
                 c->id.member.s, c->id.unit.s, a_sm_name(&c->state));
    for (int i = 0; kept != NULL && a->kind == SL_NODE_REPLY && i < sim->n_apps; i++)
        if (strcmp(sim->apps[i].uid.s, c->id.app_uid.s) == 0)
            n->epoch_acked[i] = A_MAX(n->epoch_acked[i], kept->epoch);
    sl_node_deinit(&disk);
}

/* I6: nothing bound is stopped unless a scheduler of its app released it. I8, I19: and no request is under
 * way there. */
void check_stop(struct sim *sim, struct node *node, const struct sl_claim *claim)
{
    char key[256];
    const struct member *m = member_find(node, claim->number);
    claim_text(&node->id, &claim->id, key, sizeof key);
    const struct seen *released = seen_find(&sim->released, key);
    if (released == NULL)
        sim_fail(sim, "I6: %s is stopped and nobody released it", key);
    /* the word of a server that died may come late: the next one has perhaps taken the unit for its own */
    else if (released->life == sim->server.life && m != NULL && m->head && m->state == A_MEMBER_UP)
        check_stop_requests(sim, node, m);
}

void check_release(struct sim *sim, const struct a_claim_id *id, const struct a_node_id *node)
{
    char key[256];
    claim_text(node, id, key, sizeof key);
    seen_add(&sim->released, key, sim->server.life);
}

/* I22: a claim is bound when its unit's record is durable with it. */
void check_bind(struct sim *sim, const struct a_claim_id *id, const struct a_node_id *node)
{
    for (int i = 0; i < SIM_RECORDS_MAX; i++) {
        const struct stored_record *r = &sim->server.records[i];
        if (r->app < 0 || strcmp(r->record.unit.s, id->unit.s) != 0)
            continue;
        for (size_t k = 0; k < r->record.n_members; k++)
            if (r->members[k].attempt == id->attempt && strcmp(r->members[k].name.s, id->member.s) == 0 &&
                strcmp(r->members[k].node.s, node->s) == 0)
                return;
    }
    sim_fail(sim, "I22: %s of %s is bound and no record knows it", id->member.s, id->unit.s);
}

static bool claim_serves(struct sim *sim, const struct a_node_id *node, const struct a_claim_id *id)
{
    const struct node *n = sim_node(sim, node);
    for (int i = 0; n != NULL && i < SIM_MEMBERS_MAX; i++) {
        const struct member *m = &n->members[i];
        if (m->number != 0 && a_claim_id_equal(&m->id, id))
            return m->state == A_MEMBER_UP && (m->replicas[0].port != 0 || m->replicas[1].port != 0);
    }
    return false;
}

/* When the node ends, as it said last: one that falls silent drains on; 0 = it said no end. */
static uint64_t node_ends(const struct sim *sim, const struct a_node_id *id)
{
    const struct sl_resource_node *node = sl_resource_node(&sim->server.resource, id);
    return node != NULL ? node->facts.leaves_ms : 0;
}

static bool node_drains(const struct sim *sim, const struct a_node_id *id)
{
    const struct sl_resource_node *node = sl_resource_node(&sim->server.resource, id);
    return node != NULL && (node->facts.flags & SL_RESOURCE_NODE_DRAINING) != 0;
}

/* U11: besides that unit serve one at least, and half of those wanted, that are not to leave themselves. */
static bool rest_suffices(const struct sim *sim, const struct app *app, const struct unit_info *u)
{
    struct unit_info other;
    uint32_t n = 0;
    for (size_t i = 0; unit_fleet_unit(app->fleet, i, &other); i++)
        n += strcmp(other.name.s, u->name.s) != 0 && !node_drains(sim, &other.head_node) &&
             (other.state == A_UNIT_READY || other.state == A_UNIT_UPDATING);
    return n > 0 && 2 * n >= app->desired.units;
}

static bool node_tells_drain(const struct sim *sim, const struct a_node_id *id)
{
    const struct sl_resource_node *node = sl_resource_node(&sim->server.resource, id);
    return node != NULL && sl_resource_node_state(node) == A_NODE_DRAINING;
}

/* U11: a node that says when it ends is left at the notice. */
void check_notices(struct sim *sim)
{
    struct unit_info u;
    for (int i = 0; i < sim->n_apps && sim->server.up && sim->server.adopted; i++) {
        const struct app *app = &sim->apps[i];
        for (size_t k = 0; app->fleet != NULL && unit_fleet_unit(app->fleet, k, &u); k++)
            if (u.state == A_UNIT_READY && u.endpoints == UNIT_ENDPOINTS_UP &&
                node_tells_drain(sim, &u.head_node) && node_ends(sim, &u.head_node) != 0 &&
                rest_suffices(sim, app, &u))
                sim_fail(sim, "U11: %s serves on at a node that ends, though others do", u.name.s);
    }
}

/* I23: what serves is withdrawn for a rollout, a drain or a smaller number only while as many serve as are
 * wanted; at a node that ends while the rest suffices, or when that is near. */
void check_withdraw(struct sim *sim, struct app *app, const struct unit_action *a)
{
    struct unit_info u, other;
    uint32_t serve = 0;
    if (a->endpoints != UNIT_ENDPOINTS_DRAINING || !unit_fleet_find(app->fleet, &a->unit, &u))
        return;
    const struct sl_resource_claim *head = sl_resource_claim(&sim->server.resource, &u.head_node, &u.head);
    struct msg told = {.endpoints = 0};
    if (head != NULL)
        memcpy(&told, head->facts.detail.ptr, sizeof told);
    bool serves = head != NULL ? told.endpoints > 0 : claim_serves(sim, &u.head_node, &u.head);
    bool orderly = u.reason == A_REASON_SUPERSEDED || u.reason == A_REASON_UNDONE ||
                   u.reason == A_REASON_DRAINED || u.reason == A_REASON_REQUESTED;
    for (size_t i = 0; unit_fleet_unit(app->fleet, i, &other); i++)
        serve += other.state == A_UNIT_READY || other.state == A_UNIT_UPDATING;
    uint64_t ends = u.reason == A_REASON_DRAINED ? node_ends(sim, &u.head_node) : 0;
    bool notice = ends != 0 && (rest_suffices(sim, app, &u) || ends <= sim->now + SIM_DRAIN_MS);
    if (orderly && serves && u.state == A_UNIT_DRAINING && serve < app->desired.units && !notice)
        sim_fail(sim, "I23: %s is withdrawn (%s) while %u of %u serve", a->unit.s, a_reason_name(u.reason),
                 serve, app->desired.units);
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
        if (c->epoch < server_app(sim, &c->id.app_uid)->desired.epoch)
            a_buf_addf(why, "I24: %s obeys a former owner of %s still; ", n->id.s, c->id.unit.s);
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
}

/* The table knows every agent that is there, with all its claims. */
static void resource_leaks(struct sim *sim, struct a_buf *why)
{
    for (int i = 0; i < sim->n_nodes; i++) {
        const struct node *n = &sim->nodes[i];
        const struct sl_resource_node *row = sl_resource_node(&sim->server.resource, &n->id);
        if (!n->agent_up || row == NULL || row->conn == 0 || row->conn != n->conn || !row->snapshot)
            a_buf_addf(why, "node %d is not attached; ", i);
    }
}

static void gateway_leaks(struct sim *sim, int g, size_t n_units, struct a_buf *why)
{
    const struct gateway *gate = &sim->gateways[g];
    size_t endpoints = 0;
    for (size_t i = 0; i < gate->view.n_rows; i++) {
        const struct view_row *r = &gate->view.rows[i];
        struct unit_info u;
        endpoints += r->kind == 'e';
        if (r->kind == 'e' &&
            (!unit_fleet_find(sim->apps[r->app].fleet, &r->unit, &u) || r->state != WIRE_SL_ENDPOINT_UP))
            a_buf_addf(why, "gateway %d still has %s; ", g, r->unit.s);
    }
    if (!gate->up || endpoints != n_units * SIM_REPLICAS)
        a_buf_addf(why, "gateway %d has %zu endpoints of %zu units; ", g, endpoints, n_units);
}

static void world_why(struct sim *sim, struct a_buf *why)
{
    size_t bound = 0, expected = 0, n_units = 0;
    if (!sim->server.up || !sim->server.adopted) {
        a_buf_add_str(why, "the server is not there; ");
        return;
    }
    for (int i = 0; i < sim->n_apps; i++) {
        if (!app_is_whole(sim, &sim->apps[i], why))
            return;
        expected += sim->apps[i].desired.units * sim->apps[i].revisions[0].n_members;
        n_units += sim->apps[i].desired.units;
    }
    for (int i = 0; i < sim->n_nodes; i++)
        if (sim->nodes[i].agent_up)
            bound += node_leaks(sim, &sim->nodes[i], why);
    store_leaks(sim, why);
    resource_leaks(sim, why);
    if (sim->server.withdraw.units.len > 0)
        a_buf_addf(why, "%zu units still leave routing; ", sim->server.withdraw.units.len);
    if (bound != expected)
        a_buf_addf(why, "%zu claims where %zu are wanted; ", bound, expected);
    for (int g = 0; g < SIM_GATEWAYS; g++)
        gateway_leaks(sim, g, n_units, why);
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
