/* Upgrading agents: what was asked for last, and how far it is. */
#include <stdio.h>
#include <string.h>

#include "artifact/agent.h"
#include "base/alloc.h"
#include "daemon/server/api.h"
#include "daemon/server/upgrades.h"

#define PACE_MAX 10000

/* ---- showing ---- */

static struct wire_value *node_json(const struct api_call *c, const struct sl_resource_node *node,
                                    const char *message)
{
    struct wire_value *v = wire_value_new_object(c->arena);
    wire_value_set_string(c->arena, v, "id", node->id.s);
    wire_value_set_string(c->arena, v, "name", d_node_name(c->s, &node->id));
    wire_value_set_string(c->arena, v, "cluster", node->facts.cluster.s);
    wire_value_set_string(c->arena, v, "message", message);
    return v;
}

static void nodes_json(const struct api_call *c, struct wire_value *v)
{
    static const char *const words[] = {
        [D_UPGRADE_THROUGH] = "upgraded",
        [D_UPGRADE_NEWER] = "newer",
        [D_UPGRADE_WITHOUT] = "withoutArtifact",
        [D_UPGRADE_WAITING] = "waiting",
        [D_UPGRADE_WANTED] = "left",
    };
    const struct d_upgrades *u = c->s->upgrades;
    struct wire_value *failed = wire_value_new_array(c->arena), *flying = wire_value_new_array(c->arena),
                      *counts = wire_value_new_object(c->arena);
    int64_t n[D_UPGRADE_WANTED + 1] = {0}, n_failed = 0, n_flying = 0;
    for (const struct sl_resource_node *node = sl_resource_next(&c->s->resource, NULL); node != NULL;
         node = sl_resource_next(&c->s->resource, node)) {
        enum d_upgrade_stand stand = d_upgrade_stand(u, node);
        const char *why = stand != D_UPGRADE_THROUGH ? sl_upgrade_failure(&u->core, &node->id) : NULL;
        bool flies = sl_upgrade_is_under_way(&u->core, &node->id);
        if (why != NULL && ++n_failed <= API_PAGE_MAX)
            wire_value_append(failed, node_json(c, node, why));
        else if (flies && ++n_flying <= API_PAGE_MAX)
            wire_value_append(flying, node_json(c, node, NULL));
        else if (why == NULL && !flies)
            n[stand]++;
    }
    for (int i = D_UPGRADE_THROUGH; i <= D_UPGRADE_WANTED; i++)
        wire_value_set_int(c->arena, counts, words[i], n[i]);
    wire_value_set_int(c->arena, counts, "underWay", n_flying);
    wire_value_set_int(c->arena, counts, "failed", n_failed);
    wire_value_set(c->arena, v, "nodes", counts);
    wire_value_set(c->arena, v, "underWay", flying);
    wire_value_set(c->arena, v, "failed", failed);
}

static const char *text_or_null(const char *s)
{
    return s[0] != '\0' ? s : NULL;
}

static void upgrade_reply(struct api_call *c)
{
    const struct d_upgrades *u = c->s->upgrades;
    const struct d_upgrade_wish *w = &u->wish;
    struct wire_value *v = wire_value_new_object(c->arena);
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(&w->artifact, hex);
    const char *state = w->number == 0 ? "NONE" : w->stopped ? "STOPPED" : u->idle ? "DONE" : "RUNNING";
    wire_value_set_int(c->arena, v, "number", (int64_t)w->number);
    wire_value_set_string(c->arena, v, "state", state);
    wire_value_set_string(c->arena, v, "message", text_or_null(w->message));
    wire_value_set_string(c->arena, v, "version", text_or_null(w->version));
    wire_value_set_string(c->arena, v, "artifact",
                          a_digest_is_zero(&w->artifact) ? NULL : a_arena_printf(c->arena, "sha256:%s", hex));
    wire_value_set_string(c->arena, v, "cluster", text_or_null(w->cluster.s));
    wire_value_set_int(c->arena, v, "pace", w->pace);
    wire_value_set_bool(c->arena, v, "downgrade", w->downgrade);
    api_set_time(c->arena, v, "created", w->created_unix_ms);
    nodes_json(c, v);
    api_reply_value(c, 200, v);
}

void api_handle_UPGRADE(struct api_call *c)
{
    upgrade_reply(c);
}

/* ---- asking ---- */

/* The artifact of an agent: of that digest, of that version, or with neither the newest. */
static const struct d_artifact *artifact_find(const struct api_call *c, const struct a_digest *digest,
                                              const char *version)
{
    const struct d_artifact *best = NULL;
    a_map_foreach (l, &c->s->artifacts) {
        const struct d_artifact *a = a_map_entry(l, struct d_artifact, by_name);
        bool fits = d_upgrade_is_agent(&a->namespace, a->name) &&
                    (digest == NULL || a_digest_equal(&a->digest, digest)) &&
                    (version == NULL || strcmp(a->version, version) == 0);
        if (fits && (best == NULL || a->created_unix_ms > best->created_unix_ms))
            best = a;
    }
    return best;
}

static bool wish_artifact(struct api_call *c, const struct wire_value *body, struct d_upgrade_wish *w)
{
    const char *version = wire_value_string(wire_value_get(body, "version"), NULL);
    const char *digest = wire_value_string(wire_value_get(body, "artifact"), NULL);
    if (digest != NULL && !a_digest_parse(a_view_str(digest), &w->artifact)) {
        api_reply_problem(c, A_CODE_INVALID, "artifact: \"%s\" is no sha256:HEX", digest);
        return false;
    }
    const struct d_artifact *a = artifact_find(c, digest != NULL ? &w->artifact : NULL, version);
    if (a == NULL) {
        api_reply_problem(c, A_CODE_NOT_FOUND, "no agent of %s%s is here: `astra upgrade push` brings one",
                          digest != NULL || version == NULL ? "" : "version ",
                          digest != NULL    ? digest
                          : version != NULL ? version
                                            : "any version");
        return false;
    }
    snprintf(w->version, sizeof w->version, "%s", a->version);
    return true;
}

static bool wish_scope(struct api_call *c, const struct wire_value *body, struct d_upgrade_wish *w)
{
    const char *cluster = wire_value_string(wire_value_get(body, "cluster"), NULL);
    int64_t pace = wire_value_int(wire_value_get(body, "pace"), 0);
    if (cluster != NULL && !a_name_parse(a_view_str(cluster), &w->cluster))
        api_reply_problem(c, A_CODE_INVALID, "cluster: \"%s\" is no name", cluster);
    else if (pace < 0 || pace > PACE_MAX)
        api_reply_problem(c, A_CODE_INVALID, "pace: expected 1 to %d nodes", PACE_MAX);
    else {
        w->pace = (uint32_t)pace;
        w->downgrade = wire_value_bool(wire_value_get(body, "downgrade"), false);
        return true;
    }
    return false;
}

/* Servers first, then gateways, then agents; and no agent is older than servers can talk to. */
static bool skew_is_allowed(struct api_call *c, const struct d_upgrade_wish *w)
{
    if (!artifact_agent_suits(w->version, ASTRA_VERSION)) {
        api_reply_problem(
            c, A_CODE_CONFLICT,
            "agents of %s do not work with this server, %s: not newer than it, and at most one minor "
            "release older; upgrade servers first, then gateways, then agents",
            w->version, ASTRA_VERSION);
        return false;
    }
    a_list_foreach (l, &c->s->gateways) {
        const struct d_gateway *g = a_list_entry(l, struct d_gateway, link);
        if (artifact_version_compare(g->version, w->version) >= 0)
            continue;
        api_reply_problem(c, A_CODE_CONFLICT, "gateway %s is of %s: upgrade gateways before agents of %s",
                          g->name, g->version[0] != '\0' ? g->version : "an unknown version", w->version);
        return false;
    }
    return true;
}

/* Is there a node that it would reach, and one that it would change? */
static bool reach_is_there(struct api_call *c, const struct d_upgrade_wish *w)
{
    const struct d_upgrades would = {.s = c->s, .wish = *w};
    size_t n[D_UPGRADE_WANTED + 1] = {0}, all = 0;
    for (const struct sl_resource_node *node = sl_resource_next(&c->s->resource, NULL); node != NULL;
         node = sl_resource_next(&c->s->resource, node)) {
        enum d_upgrade_stand stand = d_upgrade_stand(&would, node);
        n[stand]++;
        all += stand != D_UPGRADE_OUTSIDE;
    }
    if (w->cluster.s[0] != '\0' && all == 0)
        api_reply_problem(c, A_CODE_NOT_FOUND, "no node of cluster %s is connected", w->cluster.s);
    else if (all > 0 && n[D_UPGRADE_NEWER] == all)
        api_reply_problem(c, A_CODE_CONFLICT,
                          "all agents are newer than %s: say --downgrade to go back to it", w->version);
    else
        return true;
    return false;
}

static void on_put(void *ctx, const struct a_error *error)
{
    struct api_call *c = api_now(ctx);
    if (c == NULL)
        return;
    if (error != NULL && error->code != A_CODE_NONE) {
        api_reply_error(c, error);
        return;
    }
    const struct d_upgrade_wish *w = &c->s->upgrades->wish;
    d_event_add(c->s, NULL, "user", w->version, 0, A_REASON_REQUESTED, "agents %s %s%s%s",
                w->stopped ? "are no longer upgraded to" : "are to be upgraded to", w->version,
                w->cluster.s[0] != '\0' ? " in " : "", w->cluster.s);
    upgrade_reply(c);
}

void api_handle_UPGRADE_PUT(struct api_call *c)
{
    struct d_upgrade_wish w = {.number = 0};
    const struct wire_value *body = api_body(c);
    if (body != NULL && wish_scope(c, body, &w) && wish_artifact(c, body, &w) && skew_is_allowed(c, &w) &&
        reach_is_there(c, &w))
        d_upgrades_put(c->s, &w, on_put, api_later(c));
}

void api_handle_UPGRADE_DELETE(struct api_call *c)
{
    struct d_upgrade_wish w = c->s->upgrades->wish;
    if (w.number == 0 || w.stopped) {
        upgrade_reply(c);
        return;
    }
    w.stopped = true;
    snprintf(w.message, sizeof w.message, "stopped by a user");
    d_upgrades_put(c->s, &w, on_put, api_later(c));
}
