/* What an object is in Astra: an App is the app of its namespace and name, a Pool the pool of its name in
 * this cluster. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"
#include "daemon/server/kube_custom.h"

static struct server *server_of(const struct custom_object *o)
{
    return o->custom->cluster->kube->s;
}

static struct d_origin origin_of(const struct custom_object *o)
{
    struct d_origin origin = {.cluster = o->custom->cluster->name, .generation = o->seen.generation};
    snprintf(origin.uid, sizeof origin.uid, "%s", o->uid);
    return origin;
}

/* `speaks`: who still speaks for it. */
static void holder_read(const struct custom_object *o, const struct d_origin *origin, const char *speaks,
                        struct kube_custom_state *state)
{
    if (origin->cluster.s[0] == '\0')
        state->holder = o->seen.adopt ? KUBE_HOLDER_NONE : KUBE_HOLDER_API;
    else if (strcmp(origin->cluster.s, o->custom->cluster->name.s) == 0)
        state->holder = KUBE_HOLDER_OURS;
    else
        state->holder = speaks != NULL ? KUBE_HOLDER_OTHER : KUBE_HOLDER_NONE;
    state->news = strcmp(origin->uid, o->uid) != 0 || origin->generation != o->seen.generation;
}

/* ---- apps ---- */

static struct d_app *app_of(const struct custom_object *o)
{
    struct a_app_ref ref;
    return a_name_parse(a_view_str(o->namespace), &ref.namespace) &&
                   a_name_parse(a_view_str(o->name), &ref.name)
               ? d_app_find(server_of(o), &ref)
               : NULL;
}

static void app_look(const struct custom_object *o, struct kube_custom_state *state)
{
    const struct d_app *app = app_of(o);
    state->holder = KUBE_HOLDER_NONE;
    if (app == NULL)
        return;
    holder_read(o, &app->origin, d_kube_speaks_for_app(server_of(o), app), state);
    state->leaving = app->deleted;
}

static void on_app_done(void *ctx, const struct d_app_result *result, const struct a_error *error)
{
    (void)result;
    custom_written(ctx, error);
}

static bool app_put(struct custom_object *o, struct a_arena *arena, const char **ret_errors)
{
    struct wire_problems p = {.arena = arena};
    struct d_origin origin = origin_of(o);
    struct d_app_write w = {.origin = &origin, .adopt = o->seen.adopt};
    struct unit_source *sources = NULL;
    w.app = d_app_check(server_of(o), &p, kube_custom_app(arena, o->object), &sources, &w.n_sources);
    w.sources = sources;
    if (w.app == NULL) {
        *ret_errors = kube_custom_errors(arena, &p);
        return false;
    }
    d_app_put(server_of(o), &w, on_app_done, custom_write_new(o));
    return true;
}

static void app_remove(struct custom_object *o)
{
    struct d_origin origin = origin_of(o);
    d_app_delete(server_of(o), app_of(o), &origin, NULL, on_app_done, custom_write_new(o));
}

/* Any gateway that answers: HOST:PORT. The first by its text, so that it stays. */
static const char *gateway_address(const struct server *s, struct a_arena *arena)
{
    const char *best = NULL;
    a_list_foreach (l, &s->gateways) {
        const struct d_gateway *g = a_list_entry(l, struct d_gateway, link);
        const char *text = a_arena_printf(arena, "%s:%u", g->address, g->port);
        if (g->port != 0 && (best == NULL || strcmp(text, best) < 0))
            best = text;
    }
    return best;
}

static struct wire_value *app_facts(const struct custom_object *o, const struct d_app *app,
                                    const struct unit_fleet_status *s, struct a_arena *arena)
{
    const struct wire_value *tree = api_json_app(server_of(o)->api, app, arena, false);
    const struct wire_value *units = wire_value_path(tree, "status.units");
    static const char *const counts[] = {"wanted", "ready", "updated", "failed", "total"};
    struct wire_value *v = wire_value_new_object(arena), *n = wire_value_new_object(arena);
    const char *address = gateway_address(server_of(o), arena);
    wire_value_set_string(arena, v, "state", wire_value_string(wire_value_path(tree, "status.state"), ""));
    wire_value_set_int(arena, v, "revision", (int64_t)s->revision);
    for (size_t i = 0; i < A_ARRAY_SIZE(counts); i++)
        wire_value_set_int(arena, n, counts[i], wire_value_int(wire_value_get(units, counts[i]), 0));
    wire_value_set(arena, v, "units", n);
    wire_value_set_string(arena, v, "selector",
                          a_arena_printf(arena, KUBE_CUSTOM_GROUP "/app=%s", app->ref.name.s));
    if (address != NULL)
        wire_value_set_string(arena, v, "address", address);
    if (s->last_failure[0] != '\0')
        wire_value_set_string(arena, v, "lastFailure", s->last_failure);
    return v;
}

static struct wire_value *app_status(const struct custom_object *o, struct a_arena *arena,
                                     const struct kube_custom_told *told)
{
    const struct d_app *app = app_of(o);
    struct kube_custom_condition conditions[UNIT_CONDITION_COUNT];
    struct kube_custom_told full = *told;
    struct unit_fleet_status s = {0};
    if (app == NULL || app->fleet == NULL)
        return NULL;
    unit_fleet_status(app->fleet, &s);
    for (int i = 0; i < UNIT_CONDITION_COUNT; i++)
        conditions[i] = (struct kube_custom_condition){
            unit_condition_name((enum unit_condition_type)i), s.conditions[i].status,
            a_reason_name(s.conditions[i].reason), s.conditions[i].message};
    full.conditions = conditions;
    full.n_conditions = UNIT_CONDITION_COUNT;
    full.applied = app->origin.generation;
    full.facts = app_facts(o, app, &s, arena);
    return kube_custom_status(arena, &full);
}

/* ---- pools ---- */

static struct d_kube_pool *pool_of(const struct custom_object *o)
{
    struct a_name name;
    return a_name_parse(a_view_str(o->name), &name) ? d_kube_pool_find(server_of(o), &name) : NULL;
}

/* A pool stays where it is: one of this name in another place is another's, whoever made it. */
static void pool_look(const struct custom_object *o, struct kube_custom_state *state)
{
    const struct d_kube_pool *p = pool_of(o);
    state->holder = KUBE_HOLDER_NONE;
    if (p == NULL)
        return;
    holder_read(o, &p->origin, d_kube_speaks_for_pool(p), state);
    state->leaving = p->deleting;
    if (strcmp(p->spec.cluster.s, o->custom->cluster->name.s) != 0 ||
        strcmp(p->spec.namespace, o->namespace) != 0)
        state->holder = KUBE_HOLDER_OTHER;
}

static bool pool_put(struct custom_object *o, struct a_arena *arena, const char **ret_errors)
{
    struct wire_problems p = {.arena = arena};
    struct d_origin origin = origin_of(o);
    const struct wire_value *doc = kube_custom_pool(&p, o->object, o->custom->cluster->name.s);
    const struct wire_value *tree = kube_pool_check(&p, doc);
    if (tree == NULL || p.n_errors > 0) {
        *ret_errors = kube_custom_errors(arena, &p);
        return false;
    }
    d_kube_pool_put(server_of(o), tree, &origin, o->seen.adopt, custom_written, custom_write_new(o));
    return true;
}

static void pool_remove(struct custom_object *o)
{
    struct d_origin origin = origin_of(o);
    d_kube_pool_delete(server_of(o), pool_of(o), &origin, custom_written, custom_write_new(o));
}

static struct wire_value *pool_status(const struct custom_object *o, struct a_arena *arena,
                                      const struct kube_custom_told *told)
{
    const struct d_kube_pool *p = pool_of(o);
    struct kube_custom_condition conditions[KUBE_CONDITION_COUNT];
    struct kube_custom_told full = *told;
    if (p == NULL || p->core == NULL)
        return NULL;
    struct kube_pool_status s = kube_pool_status(p->core);
    const struct kube_pool_condition *k = kube_pool_conditions(p->core);
    struct wire_value *facts = wire_value_new_object(arena);
    const struct {
        const char *name;
        uint32_t n;
    } counts[] = {{"pods", s.pods},     {"joined", s.joined},     {"free", s.free},
                  {"coming", s.coming}, {"draining", s.draining}, {"outdated", s.outdated}};
    for (size_t i = 0; i < A_ARRAY_SIZE(counts); i++)
        wire_value_set_int(arena, facts, counts[i].name, counts[i].n);
    for (int i = 0; i < KUBE_CONDITION_COUNT; i++)
        if (k[i].type != NULL)
            conditions[full.n_conditions++] =
                (struct kube_custom_condition){k[i].type, k[i].status, k[i].reason, k[i].message};
    full.conditions = conditions;
    full.applied = p->origin.generation;
    full.facts = facts;
    return kube_custom_status(arena, &full);
}

const struct custom_kind custom_kinds[D_KUBE_CUSTOM_KINDS] = {
    [D_KUBE_APPS] = {"apps", &kube_kind_app_object, app_look, app_put, app_remove, app_status},
    [D_KUBE_POOLS] = {"pools", &kube_kind_pool_object, pool_look, pool_put, pool_remove, pool_status},
};
