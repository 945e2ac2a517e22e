/* Before a cluster is taken in: is its server there, and may we do what the role does? Each verb is asked for
 * by a SelfSubjectAccessReview, which everybody may make; what is missing is told all at once. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/kube.h"

#define TIMEOUT_MS 10000

/* What the role does in the pools' namespaces: `astra cluster manifests` grants it. */
static const struct right {
    const char *group, *resource, *verb, *name; /* name NULL = any */
} rights[] = {
    {"", "pods", "list", NULL},
    {"", "pods", "watch", NULL},
    {"", "pods", "create", NULL},
    {"", "pods", "patch", NULL},
    {"", "pods", "delete", NULL},
    {"", "secrets", "create", NULL},
    {"", "secrets", "patch", KUBE_JOIN_SECRET},
    {"coordination.k8s.io", "leases", "get", NULL},
    {"coordination.k8s.io", "leases", "create", NULL},
    {"coordination.k8s.io", "leases", "update", NULL},
    {"networking.k8s.io", "networkpolicies", "create", NULL},
    {"networking.k8s.io", "networkpolicies", "patch", NULL},
    {"networking.k8s.io", "networkpolicies", "delete", NULL},
    {"policy", "poddisruptionbudgets", "create", NULL},
    {"policy", "poddisruptionbudgets", "patch", NULL},
    {"policy", "poddisruptionbudgets", "delete", NULL},
    {"", "services", "get", NULL},
    {"", "services", "list", NULL},
    {"", "services", "create", NULL},
    {"", "services", "patch", NULL},
    {"", "services", "delete", NULL},
    {"discovery.k8s.io", "endpointslices", "list", NULL},
    {"discovery.k8s.io", "endpointslices", "create", NULL},
    {"discovery.k8s.io", "endpointslices", "patch", NULL},
    {"discovery.k8s.io", "endpointslices", "delete", NULL},
};

struct check {
    struct a_list link; /* of d_kube.checks */
    struct net_web *web;
    struct a_arena arena;
    struct kube_access access; /* its texts are the caller's until the end: copied into `arena` */
    unsigned left;             /* answers to come */
    bool missing[A_ARRAY_SIZE(rights)];
    struct a_error error;
    char version[64];
    d_kube_checked *done;
    void *ctx;
};

struct review {
    struct check *check;
    const struct right *right;
};

static void check_end(struct check *k)
{
    A_BUF_AUTO struct a_buf missing = {0};
    for (size_t i = 0; i < A_ARRAY_SIZE(rights); i++)
        if (k->missing[i])
            a_buf_addf(&missing, "%s%s %s", missing.len > 0 ? ", " : "", rights[i].verb, rights[i].resource);
    if (k->error.code == A_CODE_NONE && missing.len > 0)
        a_error_set(
            &k->error, A_CODE_FORBIDDEN,
            "in the namespace %s these credentials may not %s: apply what `astra cluster manifests` prints, "
            "and take the token that it makes",
            k->access.namespace, missing.ptr);
    a_list_remove(&k->link);
    k->done(k->ctx, k->version, k->error.code != A_CODE_NONE ? &k->error : NULL);
    net_web_free(k->web);
    a_error_deinit(&k->error);
    a_arena_deinit(&k->arena);
    a_free(k);
}

static void answer_fail(struct check *k, const struct net_web_answer *a)
{
    if (k->error.code != A_CODE_NONE)
        return;
    if (a->rc == 0 && a->status == 401)
        a_error_set(&k->error, A_CODE_FORBIDDEN, "%s refuses the credentials: %s", k->access.server,
                    d_kube_answer_why(&k->arena, a));
    else
        a_error_set(&k->error, A_CODE_UNAVAILABLE, "%s%s%s", a->rc == 0 ? k->access.server : "",
                    a->rc == 0 ? ": " : "", d_kube_answer_why(&k->arena, a));
}

static void on_review(void *ctx, const struct net_web_answer *a)
{
    struct review *r = ctx;
    struct check *k = r->check;
    struct wire_value *v = NULL;
    bool good =
        a->rc == 0 && a->status / 100 == 2 && wire_json_parse(&k->arena, a->body, NULL, NULL, &v, NULL) == 0;
    if (!good)
        answer_fail(k, a);
    else if (!wire_value_bool(wire_value_path(v, "status.allowed"), false))
        k->missing[r->right - rights] = true;
    if (--k->left == 0)
        check_end(k);
}

static void review_send(struct check *k, const struct right *right)
{
    A_BUF_AUTO struct a_buf body = {0};
    struct review *r = a_arena_new(&k->arena, struct review);
    struct a_arena *arena = &k->arena;
    struct wire_value *v = wire_value_new_object(arena), *spec = wire_value_new_object(arena);
    struct wire_value *what = wire_value_new_object(arena);
    *r = (struct review){k, right};
    wire_value_set_string(arena, what, "namespace", k->access.namespace);
    wire_value_set_string(arena, what, "group", right->group);
    wire_value_set_string(arena, what, "resource", right->resource);
    wire_value_set_string(arena, what, "verb", right->verb);
    if (right->name != NULL)
        wire_value_set_string(arena, what, "name", right->name);
    wire_value_set(arena, spec, "resourceAttributes", what);
    wire_value_set_string(arena, v, "apiVersion", "authorization.k8s.io/v1");
    wire_value_set_string(arena, v, "kind", "SelfSubjectAccessReview");
    wire_value_set(arena, v, "spec", spec);
    wire_json_print(&body, v, 0);
    const struct net_web_request q = {.method = "POST",
                                      .path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                      .body = a_buf_view(&body),
                                      .timeout_ms = TIMEOUT_MS,
                                      .done = on_review,
                                      .ctx = r};
    k->left += net_web_send(k->web, &q, NULL, NULL) == 0;
}

/* A server that answers is asked for the rights. */
static void on_version(void *ctx, const struct net_web_answer *a)
{
    struct check *k = ctx;
    struct wire_value *v = NULL;
    bool good =
        a->rc == 0 && a->status == 200 && wire_json_parse(&k->arena, a->body, NULL, NULL, &v, NULL) == 0;
    if (!good) {
        answer_fail(k, a);
        check_end(k);
        return;
    }
    snprintf(k->version, sizeof k->version, "%s", wire_value_string(wire_value_get(v, "gitVersion"), "?"));
    for (size_t i = 0; i < A_ARRAY_SIZE(rights); i++)
        review_send(k, &rights[i]);
    if (k->left == 0)
        check_end(k);
}

void d_kube_check(struct server *s, const struct kube_access *access, d_kube_checked *done, void *ctx)
{
    struct check *k = a_new(struct check);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    a_list_push_back(&s->kube->checks, &k->link);
    k->done = done;
    k->ctx = ctx;
    k->access.server = a_arena_strdup(&k->arena, access->server);
    k->access.namespace = a_arena_strdup(&k->arena, access->namespace);
    int rc = d_kube_web_new(s->loop, access, &k->web, &e);
    const struct net_web_request q = {
        .path = "/version", .timeout_ms = TIMEOUT_MS, .done = on_version, .ctx = k};
    if (rc == 0)
        rc = net_web_send(k->web, &q, NULL, &e);
    if (rc != 0) {
        a_error_move(&k->error, &e);
        check_end(k);
    }
}

void d_kube_checks_stop(struct server *s)
{
    while (!a_list_empty(&s->kube->checks)) {
        struct check *k = a_list_entry(s->kube->checks.next, struct check, link);
        a_error_set(&k->error, A_CODE_UNAVAILABLE, "the server stops");
        check_end(k);
    }
}
