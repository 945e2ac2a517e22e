/* One cluster: its credentials, its conditions, and what its API server says of requests. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/kube.h"
#include "daemon/server/store_keys.h"
#include "sys/log.h"
#include "sys/seal.h"

static const char *const condition_names[] = {[D_KUBE_UNLOCKED] = "Unlocked",
                                              [D_KUBE_REACHABLE] = "Reachable",
                                              [D_KUBE_OWNER] = "Owner",
                                              [D_KUBE_EXPOSED] = "Exposed"};

const char *d_kube_condition_name(enum d_kube_condition_type type)
{
    return condition_names[type];
}

void d_kube_condition_set(struct d_kube_cluster *c, enum d_kube_condition_type type, bool status,
                          const char *reason, const char *fmt, ...)
{
    struct d_kube_condition *k = &c->conditions[type];
    A_BUF_AUTO struct a_buf text = {0};
    char message[sizeof k->message];
    va_list args;
    va_start(args, fmt);
    a_buf_vaddf(&text, fmt, args);
    va_end(args);
    snprintf(message, sizeof message, "%s", text.ptr != NULL ? text.ptr : "");
    if (k->reason != NULL && k->status == status && strcmp(k->message, message) == 0)
        return;
    if (k->reason == NULL || k->status != status) {
        char object[80];
        k->since_ms = sys_loop_now_ms(c->kube->s->loop);
        snprintf(object, sizeof object, "cluster %s", c->name.s);
        d_event_add(c->kube->s, NULL, "server", object, 0, A_REASON_NONE, "%s is %s (%s)%s%s",
                    condition_names[type], status ? "True" : "False", reason, message[0] != '\0' ? ": " : "",
                    message);
    }
    k->status = status;
    k->reason = reason;
    snprintf(k->message, sizeof k->message, "%s", message);
}

struct kube_agent_options d_kube_agent_options(const struct d_kube_cluster *c)
{
    return (struct kube_agent_options){.installation = c->kube->installation,
                                       .image = d_kube_cluster_text(c, "image", KUBE_IMAGE),
                                       .server = d_kube_cluster_text(c, "joinAddress", KUBE_JOIN_ADDRESS),
                                       .network = d_kube_cluster_text(c, "network", NULL),
                                       .service_account = d_kube_cluster_text(c, "serviceAccount", NULL)};
}

/* ---- requests and answers ---- */

const char *d_kube_answer_why(struct a_arena *arena, const struct net_web_answer *a)
{
    struct wire_value *v;
    if (a->rc != 0)
        return a_arena_strdup(arena, a_error_text(a->error));
    if (a->body.len > 0 && wire_json_parse(arena, a->body, NULL, NULL, &v, NULL) == 0) {
        const char *message = wire_value_string(wire_value_get(v, "message"), "");
        if (message[0] != '\0')
            return message;
    }
    return a_arena_printf(arena, "status %u", a->status);
}

void d_kube_cluster_heard(struct d_kube_cluster *c, const struct net_web_answer *a)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    if (a->rc != 0 && a->status == 0)
        d_kube_condition_set(c, D_KUBE_REACHABLE, false, "Unreachable", "%s", d_kube_answer_why(&arena, a));
    else if (a->status == 401)
        d_kube_condition_set(c, D_KUBE_REACHABLE, false, "Unauthorized",
                             "the credentials are refused (%s): `astra cluster add` tells new ones",
                             d_kube_answer_why(&arena, a));
    else if (a->status == 403)
        d_kube_condition_set(c, D_KUBE_REACHABLE, false, "Forbidden",
                             "%s; `astra cluster manifests` prints what is needed",
                             d_kube_answer_why(&arena, a));
    else if (a->status >= 500)
        d_kube_condition_set(c, D_KUBE_REACHABLE, false, "ServerError", "%s", d_kube_answer_why(&arena, a));
    else
        d_kube_condition_set(c, D_KUBE_REACHABLE, true, "Answers", "%s", "");
    c->kube->errors += a->rc != 0 || a->status >= 400;
}

int d_kube_apply(struct d_kube_cluster *c, const char *path, struct a_view object, d_kube_answered *done,
                 void *ctx, struct net_web_call **ret_call, struct a_error *reterr)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    const struct net_web_request q = {
        .method = "PATCH",
        .path = a_arena_printf(&arena, "%s?fieldManager=" KUBE_FIELD_MANAGER "&force=true", path),
        .content_type = "application/apply-patch+yaml",
        .body = object,
        .done = done,
        .ctx = ctx};
    return net_web_send(c->web, &q, ret_call, reterr);
}

/* ---- credentials ---- */

static struct sys_secret secret_of(const char *text)
{
    struct sys_secret s = {0};
    if (text != NULL)
        sys_secret_set(&s, a_view_str(text));
    return s;
}

int d_kube_web_new(struct sys_loop *loop, const struct kube_access *access, struct net_web **ret,
                   struct a_error *reterr)
{
    SYS_SECRET_AUTO struct sys_secret key = secret_of(access->key.value),
                                      token = secret_of(access->token.value);
    SYS_SECRET_AUTO struct sys_secret password = secret_of(access->password);
    const struct net_web_options options = {.base_url = access->server,
                                            .ca = a_view_str(access->ca.value),
                                            .server_name = access->server_name,
                                            .certificate = a_view_str(access->certificate.value),
                                            .key = &key,
                                            .bearer = token.len > 0 ? &token : NULL,
                                            .user = access->user_name,
                                            .password = &password,
                                            .insecure = access->insecure,
                                            .proxy = access->proxy};
    return net_web_new(loop, &options, ret, reterr);
}

static int access_open(struct d_kube_cluster *c, struct a_error *reterr)
{
    struct d_kube *k = c->kube;
    SYS_SECRET_AUTO struct sys_secret plain = {0};
    struct wire_value *v;
    char place[STORE_KEY_MAX];
    d_store_key_cluster(place, &c->name);
    if (k->key.len == 0)
        return a_fail(reterr, -ENOENT, A_CODE_UNAVAILABLE, "%s", k->key_fault);
    int rc = sys_unseal(&k->key, a_view_str(place), wire_value_view(wire_value_get(c->record, "sealed")),
                        &plain, reterr);
    if (rc != 0) {
        a_error_wrap(reterr,
                     "the credentials cannot be opened with DATA/store.key (put the right file back, or "
                     "tell the credentials again)");
        return rc;
    }
    rc = wire_json_parse(&c->arena, sys_secret_view(&plain), "credentials", NULL, &v, reterr);
    if (rc == 0)
        rc = kube_access_parse(&c->arena, v, &c->access, reterr);
    return rc;
}

void d_kube_cluster_start(struct d_kube_cluster *c)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int rc = access_open(c, &e);
    if (rc == 0)
        rc = d_kube_web_new(c->kube->s->loop, &c->access, &c->web, &e);
    if (rc != 0) {
        sys_log(ERROR, "kube", "kube.locked", "a cluster's credentials cannot be used",
                SYS_STR("cluster", c->name.s), SYS_ERR(&e));
        d_kube_condition_set(c, D_KUBE_UNLOCKED, false, "KeyMissing", "%s", a_error_text(&e));
        return;
    }
    d_kube_condition_set(c, D_KUBE_UNLOCKED, true, "Opened", "%s", "");
    d_kube_lease_start(c);
    d_kube_custom_start(c);
}

void d_kube_cluster_stop(struct d_kube_cluster *c)
{
    d_kube_lease_stop(c);
    d_kube_custom_stop(c);
    a_map_foreach (l, &c->kube->pools) {
        struct d_kube_pool *p = a_map_entry(l, struct d_kube_pool, link);
        if (strcmp(p->spec.cluster.s, c->name.s) == 0)
            d_kube_pool_stop(p);
    }
    while (!a_list_empty(&c->follows))
        d_kube_follow_free(a_list_entry(c->follows.next, struct d_kube_follow, link));
    net_web_free(c->web);
    c->web = NULL;
    c->access = (struct kube_access){0};
}
