/* The CA and who is denied. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"

static struct wire_value *ca_json(const struct server *s, struct a_arena *arena)
{
    const struct d_authority *a = &s->authority;
    struct wire_value *v = wire_value_new_object(arena);
    struct a_view trust = a_buf_view(&a->trust);
    struct net_cert_info info;
    char hex[A_DIGEST_HEX + 1];
    d_authority_pin(s, hex);
    wire_value_set_string(arena, v, "kind", "CertificateAuthority");
    wire_value_set_string(arena, v, "pin", hex);
    wire_value_set_int(arena, v, "trusted", (int64_t)net_cert_count(trust));
    if (net_cert_read(trust, &info, NULL) == 0)
        api_set_time(arena, v, "notAfter", info.not_after_ms);
    wire_value_set_string(arena, v, "pem", a_arena_strndup(arena, trust.ptr, trust.len));
    return v;
}

/* No secret: who asks has trusted it already to get here. */
void api_handle_CA(struct api_call *c)
{
    api_reply_value(c, 200, ca_json(c->s, c->arena));
}

void api_handle_CA_ROTATE(struct api_call *c)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (d_authority_rotate(c->s, &e) != 0) {
        api_reply_error(c, &e);
        return;
    }
    d_event_add(c->s, NULL, "user", "ca", 0, A_REASON_REQUESTED,
                "the CA was rotated; the one before is trusted for %u lives of a certificate",
                D_SERVER_CERT_GRACE);
    api_reply_value(c, 200, ca_json(c->s, c->arena));
}

static void on_denied(void *ctx, const struct a_error *error)
{
    struct api_call *c = api_now(ctx);
    if (c == NULL)
        return;
    if (error != NULL) {
        api_reply_error(c, error);
        return;
    }
    const struct a_node_id *id = c->user;
    struct wire_value *v = wire_value_new_object(c->arena);
    wire_value_set_string(c->arena, v, "id", id->s);
    wire_value_set_bool(c->arena, v, "denied", d_authority_denies(c->s, id));
    api_reply_value(c, 200, v);
}

static void identity_deny(struct api_call *c, bool deny)
{
    struct a_node_id *id = a_arena_new(c->arena, struct a_node_id);
    if (!a_node_id_parse(c->params[0], id)) {
        api_reply_problem(c, A_CODE_INVALID, "\"" A_VIEW_FMT "\" is no id of a node or gateway",
                          A_VIEW_ARG(c->params[0]));
        return;
    }
    c->user = id;
    d_event_add(c->s, NULL, "user", id->s, 0, A_REASON_REQUESTED,
                deny ? "identity denied" : "identity allowed again");
    d_authority_deny(c->s, id, deny, on_denied, api_later(c));
}

void api_handle_IDENTITY_DENY(struct api_call *c)
{
    identity_deny(c, true);
}

void api_handle_IDENTITY_ALLOW(struct api_call *c)
{
    identity_deny(c, false);
}
