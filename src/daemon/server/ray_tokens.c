/* Ray tokens that this store does not have. Each unit has its own, made when the unit is placed and kept in
 * its record; a worker that is placed later must be given the same. When the store was lost the token was
 * lost with it, but the head's node keeps it beside the claim: it is asked once its claim is this server's,
 * and again until it answers. What it says stays in memory and goes into the unit's next record; a server
 * that starts without it asks again. No token is ever logged or told to people. */
#include <stdio.h>
#include <string.h>

#include "daemon/server/server.h"
#include "sys/log.h"

void d_ray_token_ask(struct server *s, struct d_unit *unit, const struct sl_resource_claim *head)
{
    uint64_t now = sys_loop_now_ms(s->loop);
    bool lately = unit->token_asked_ms != 0 && now - unit->token_asked_ms < D_SERVER_TOKEN_ASK_MS;
    if (unit->ray_token[0] != '\0' || lately || head->facts.state != A_CLAIM_BOUND)
        return;
    struct wire_sl_message m = {.type = WIRE_SL_T_UNIT_TOKEN};
    m.unit_token = (struct wire_sl_unit_token){.request = ++s->request,
                                               .node = head->node->id,
                                               .claim = head->facts.id,
                                               .epoch = unit->app->epoch,
                                               .store_id = head->facts.store_id};
    if (d_agent_send(s, &head->node->id, &m))
        unit->token_asked_ms = now;
}

static bool is_token(struct a_view v)
{
    const struct d_unit *u;
    bool good = v.len == sizeof u->ray_token - 1;
    for (size_t i = 0; good && i < v.len; i++)
        good = (v.ptr[i] >= '0' && v.ptr[i] <= '9') || (v.ptr[i] >= 'a' && v.ptr[i] <= 'f');
    return good;
}

static void refused(struct server *s, struct d_unit *unit, const struct wire_sl_unit_token_reply *r)
{
    char object[80];
    struct a_view why = r->ok ? A_VIEW_LIT("what it sent is no token") : r->message;
    sys_log(WARN, "server", "token.refused", "the node of a head does not tell its unit's Ray token",
            SYS_STR("unit", unit->name.s), SYS_STR("node", r->node.s), SYS_VIEW("why", why));
    if (unit->token_refused_told)
        return;
    unit->token_refused_told = true;
    snprintf(object, sizeof object, "unit %s", unit->name.s);
    d_event_add(s, unit->app, "server", object, 0, r->reason,
                "its Ray token is lost, and the node of its head does not tell it (" A_VIEW_FMT
                "): a worker that is lost cannot be replaced alone",
                A_VIEW_ARG(why));
}

void d_ray_token_take(struct server *s, const struct wire_sl_unit_token_reply *r)
{
    struct d_unit *unit = d_unit_find(s, &r->claim.unit);
    const struct sl_resource_claim *head = sl_resource_claim(&s->resource, &r->node, &r->claim);
    bool fits = unit != NULL && head != NULL && strcmp(unit->app->uid.s, r->claim.app_uid.s) == 0 &&
                strcmp(r->claim.member.s, "head") == 0;
    if (!fits || unit->ray_token[0] != '\0')
        return; /* of a unit that is gone, or was placed anew meanwhile */
    if (!r->ok || !is_token(r->ray_token)) {
        refused(s, unit, r);
        return;
    }
    memcpy(unit->ray_token, r->ray_token.ptr, r->ray_token.len);
    unit->ray_token[r->ray_token.len] = '\0';
    sys_log(INFO, "server", "token.learned", "the node of a head told its unit's Ray token",
            SYS_STR("unit", unit->name.s), SYS_STR("node", r->node.s));
}
