/* Placing: what a fleet wants as a request of the claimer's; and, for people, why one found no place. */
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "daemon/server/server.h"
#include "sys/random.h"

#define USED_MAX 1024

static size_t used_collect(const struct d_app *app, const struct a_unit_name *except,
                           struct sl_gang_used *used, size_t max)
{
    size_t n = 0;
    struct unit_info unit;
    struct unit_member_info member;
    for (size_t i = 0; n < max && unit_fleet_unit(app->fleet, i, &unit); i++) {
        bool counts = unit.n_members > 0 && strcmp(unit.name.s, except->s) != 0 && !unit.leaving &&
                      unit.state != A_UNIT_FAILED;
        if (!counts || !unit_fleet_member(app->fleet, &unit.name, 0, &member))
            continue;
        used[n] = (struct sl_gang_used){.cluster = member.cluster, .zone = member.zone, .units = 1};
        snprintf(used[n++].host, sizeof used[0].host, "%s", member.host != NULL ? member.host : "");
    }
    return n;
}

_Static_assert((int)UNIT_DOMAIN_CLUSTER == SL_DOMAIN_CLUSTER && (int)UNIT_DOMAIN_ZONE == SL_DOMAIN_ZONE &&
                   (int)UNIT_DOMAIN_HOST == SL_DOMAIN_HOST && UNIT_DOMAINS == SL_DOMAINS,
               "handed on as they are");

static size_t archs_collect(const struct d_revision *r, struct a_name archs[UNIT_ARCHS_MAX])
{
    size_t n = 0;
    for (size_t i = 0; r != NULL && i < r->read.n_archs; i++)
        n += a_name_parse(a_view_str(r->read.archs[i]), &archs[n]);
    return n;
}

/* Of the app as it is wanted now: a change of placement touches no unit, and counts for the next one. */
static void spread_put(struct sl_gang_request *request, const struct d_app *app)
{
    for (size_t i = 0; app->current != NULL && i < SL_DOMAINS; i++)
        request->spread[i] = (enum sl_domain)app->current->read.spread[i];
}

static struct sl_gang_member gang_member(const struct unit_member_spec *spec, uint32_t attempt)
{
    return (struct sl_gang_member){
        .name = spec->name, .head = spec->head, .capacity = spec->capacity, .attempt = attempt};
}

void d_place(struct server *s, struct d_app *app, const struct unit_action *a)
{
    struct sl_gang_member members[UNIT_MEMBERS_MAX];
    A_AUTOFREE struct sl_gang_used *used = a_alloc_array(USED_MAX, sizeof *used);
    a_assert(a->n_members <= UNIT_MEMBERS_MAX);
    for (size_t i = 0; i < a->n_members; i++)
        members[i] = gang_member(&a->members[i], a->attempts[i]);
    struct d_unit *unit = d_unit_get(s, app, &a->unit);
    if (unit->ray_token[0] == '\0' && a->cluster.s[0] == '\0') /* a whole unit: nobody knows another token */
        sys_random_hex(unit->ray_token, 32);
    struct sl_gang_request request = {.gang = d_gang_new(s, app, a),
                                      .app = app->ref,
                                      .app_uid = app->uid,
                                      .store_id = *store_id(s->store),
                                      .epoch = app->epoch,
                                      .unit = a->unit,
                                      .revision = a->revision,
                                      .cluster = a->cluster,
                                      .members = members,
                                      .n_members = a->n_members,
                                      .used = used,
                                      .n_used = used_collect(app, &a->unit, used, USED_MAX)};
    struct a_name archs[UNIT_ARCHS_MAX];
    request.archs = archs;
    request.n_archs = archs_collect(d_app_revision(app, a->revision), archs);
    spread_put(&request, app);
    d_sched_event(s, &(struct sl_sched_event){.type = SL_SCHED_PLACE, .request = &request});
}

/* ---- explaining ---- */

/* Does the unit have this member, so that none is looked for? */
static bool member_is_there(const struct d_app *app, const struct unit_info *u, const struct a_name *name)
{
    struct unit_member_info m;
    for (size_t i = 0; unit_fleet_member(app->fleet, &u->name, i, &m); i++)
        if (!m.leaving && strcmp(m.name.s, name->s) == 0)
            return true;
    return false;
}

/* A unit without members is placed as a whole; one that serves replaces its members one by one, in its own
 * cluster: then the first that is missing is looked at. */
static size_t missing_collect(const struct d_app *app, const struct unit_info *u, const struct d_revision *r,
                              struct sl_gang_member *members)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n_members && i < UNIT_MEMBERS_MAX; i++) {
        if (u->n_members > 0 && (n > 0 || r->members[i].head || member_is_there(app, u, &r->members[i].name)))
            continue;
        members[n++] = gang_member(&r->members[i], 1);
    }
    return n;
}

static bool unit_may_be_placed(const struct unit_info *u)
{
    switch (u->state) {
    case A_UNIT_PLANNED:
    case A_UNIT_CLAIMING:
        return u->n_members == 0;
    case A_UNIT_FETCHING:
    case A_UNIT_STARTING:
    case A_UNIT_DEPLOYING:
    case A_UNIT_READY:
    case A_UNIT_UPDATING:
    case A_UNIT_UNHEALTHY:
        return !u->leaving;
    default:
        return false;
    }
}

size_t d_place_wanted(const struct d_app *app, const struct unit_info *u, struct sl_gang_member *ret)
{
    const struct d_revision *r = d_app_revision(app, u->revision);
    return r != NULL && unit_may_be_placed(u) ? missing_collect(app, u, r, ret) : 0;
}

bool d_place_explain(const struct server *s, const struct d_app *app, const struct unit_info *u,
                     struct d_place_why *ret)
{
    struct sl_gang_member members[UNIT_MEMBERS_MAX];
    size_t n = d_place_wanted(app, u, members);
    if (n == 0)
        return false;
    A_AUTOFREE struct sl_gang_used *used = a_alloc_array(USED_MAX, sizeof *used);
    struct sl_gang_request request = {.app = app->ref,
                                      .unit = u->name,
                                      .revision = u->revision,
                                      .members = members,
                                      .n_members = n,
                                      .used = used,
                                      .n_used = used_collect(app, &u->name, used, USED_MAX)};
    struct a_name archs[UNIT_ARCHS_MAX];
    request.archs = archs;
    request.n_archs = archs_collect(d_app_revision(app, u->revision), archs);
    spread_put(&request, app);
    if (u->n_members > 0)
        request.cluster = u->cluster;
    *ret = (struct d_place_why){0};
    ret->fits =
        sl_sched_explain(&s->sched, &request, &ret->explain, ret->nodes, D_PLACE_NODES, &ret->n_nodes);
    return true;
}
