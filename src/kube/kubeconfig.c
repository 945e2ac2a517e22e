/* The format is client-go's (tools/clientcmd/api/v1). What it defines and we do not know how to honour is an
 * error: credentials that work half are found out at three in the morning. */
#include "kube/kubeconfig.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/base64.h"
#include "base/text.h"
#include "wire/scan.h"
#include "wire/url.h"

#define TEXT_MAX (1u << 20)

struct reader {
    struct a_arena *arena;
    const char *file;
    struct a_error *reterr;
};

/* Where something is wrong: "contexts[1].context", the member in it, and the value. */
struct place {
    const char *path;
    const struct wire_value *object;
    const char *key;
};

static int place_fail(struct reader *r, struct place at, const char *what)
{
    const struct wire_value *v = wire_value_get(at.object, at.key);
    if (v == NULL)
        v = at.object;
    const char *dot = at.path[0] != '\0' && at.key[0] != '\0' ? "." : "";
    if (v != NULL && v->line > 0)
        return a_fail(r->reterr, -EINVAL, A_CODE_INVALID, "%s:%u:%u: %s%s%s: %s", r->file, v->line, v->column,
                      at.path, dot, at.key, what);
    return a_fail(r->reterr, -EINVAL, A_CODE_INVALID, "%s: %s%s%s: %s", r->file, at.path, dot, at.key, what);
}

/* A text, NULL when it is missing, null or empty. */
static int text_get(struct reader *r, struct place at, const char **ret)
{
    const struct wire_value *v = wire_value_get(at.object, at.key);
    if (!wire_value_is_null(v) && v->type != WIRE_VALUE_STRING)
        return place_fail(r, at, "expected a string");
    const char *text = wire_value_string(v, "");
    *ret = text[0] != '\0' ? text : NULL;
    return 0;
}

static int flag_get(struct reader *r, struct place at, bool *ret)
{
    const struct wire_value *v = wire_value_get(at.object, at.key);
    if (!wire_value_is_null(v) && v->type != WIRE_VALUE_BOOL)
        return place_fail(r, at, "expected true or false");
    *ret = wire_value_bool(v, false);
    return 0;
}

/* KEY-data (base64 of PEM) or the file KEY; the first counts more, as in client-go. */
static int pem_get(struct reader *r, const char *path, const struct wire_value *object, const char *key,
                   struct kube_text *ret)
{
    struct place file = {path, object, key}, data = {path, object, a_arena_printf(r->arena, "%s-data", key)};
    const char *coded = NULL;
    A_BUF_AUTO struct a_buf pem = {0};
    struct kube_text text = {0};
    int rc = text_get(r, data, &coded);
    if (rc == 0)
        rc = text_get(r, file, &text.file);
    if (rc != 0)
        return rc;
    if (coded != NULL) {
        if (!a_base64_decode(a_view_str(coded), &pem))
            return place_fail(r, data, "expected base64");
        if (memmem(pem.ptr, pem.len, "-----BEGIN ", 11) == NULL || memchr(pem.ptr, '\0', pem.len) != NULL)
            return place_fail(r, data, "expected base64 of PEM (-----BEGIN ...)");
        text = (struct kube_text){.value = a_arena_strndup(r->arena, pem.ptr, pem.len)};
    }
    *ret = text;
    return 0;
}

/* The entry NAME of a list of {name, KEY: {...}}. *ret is NULL when there is none. */
static int entry_find(struct reader *r, const struct wire_value *doc, const char *list, const char *key,
                      const char *name, const struct wire_value **ret, const char **ret_path)
{
    size_t i = 0;
    const struct wire_value *entries = wire_value_get(doc, list);
    if (!wire_value_is_null(entries) && entries->type != WIRE_VALUE_ARRAY)
        return place_fail(r, (struct place){"", doc, list}, "expected a list");
    *ret = NULL;
    wire_value_foreach(entry, entries)
    {
        const char *path = a_arena_printf(r->arena, "%s[%zu]", list, i++);
        if (!a_view_is(wire_value_view(wire_value_get(entry, "name")), name))
            continue;
        const struct wire_value *body = wire_value_get(entry, key);
        if (!wire_value_is(body, WIRE_VALUE_OBJECT))
            return place_fail(r, (struct place){path, entry, key}, "expected a mapping");
        *ret = body;
        *ret_path = a_arena_printf(r->arena, "%s.%s", path, key);
        return 0;
    }
    return 0;
}

static const char *nearest_name(struct reader *r, const struct wire_value *list, const char *name)
{
    const char *names[64];
    size_t n = 0;
    wire_value_foreach(entry, list)
    {
        if (n + 1 < A_ARRAY_SIZE(names) && wire_value_is(wire_value_get(entry, "name"), WIRE_VALUE_STRING))
            names[n++] = wire_value_string(wire_value_get(entry, "name"), "");
    }
    names[n] = NULL;
    const char *near = a_text_nearest(name, names);
    if (near != NULL)
        return a_arena_printf(r->arena, "; did you mean %s?", near);
    return n == 1 ? a_arena_printf(r->arena, "; there is %s", names[0]) : "";
}

static int context_read(struct reader *r, const struct wire_value *doc, const char *name,
                        struct kube_access *a)
{
    const struct wire_value *context;
    const char *path;
    if (name == NULL) {
        int rc = text_get(r, (struct place){"", doc, "current-context"}, &name);
        if (rc != 0)
            return rc;
        if (name == NULL)
            return a_fail(r->reterr, -ENOENT, A_CODE_NOT_FOUND,
                          "%s: current-context is not set: choose one with --context", r->file);
    }
    int rc = entry_find(r, doc, "contexts", "context", name, &context, &path);
    if (rc != 0)
        return rc;
    if (context == NULL)
        return a_fail(r->reterr, -ENOENT, A_CODE_NOT_FOUND, "%s: contexts: there is no %s%s", r->file, name,
                      nearest_name(r, wire_value_get(doc, "contexts"), name));
    a->context = name;
    rc = text_get(r, (struct place){path, context, "cluster"}, &a->cluster);
    if (rc == 0)
        rc = text_get(r, (struct place){path, context, "user"}, &a->user);
    if (rc == 0)
        rc = text_get(r, (struct place){path, context, "namespace"}, &a->namespace);
    if (rc == 0 && a->cluster == NULL)
        rc = place_fail(r, (struct place){path, context, "cluster"},
                        "required: the name of an entry of clusters");
    return rc;
}

static bool is_loopback(struct a_view host)
{
    return a_view_is(host, "localhost") || a_view_is(host, "::1") || a_view_starts(host, "127.");
}

/* NULL, or what is wrong. */
static const char *server_check(const char *server)
{
    struct wire_url url;
    if (server == NULL)
        return "required: https://HOST:PORT";
    if (!wire_url_parse(a_view_str(server), &url) || memchr(url.path.ptr, '?', url.path.len) != NULL)
        return "expected https://HOST:PORT";
    if (!url.tls && !is_loopback(url.host))
        return "expected https://HOST:PORT: without TLS whoever is on the way reads the credentials";
    return NULL;
}

static int cluster_read(struct reader *r, const struct wire_value *doc, struct kube_access *a)
{
    const struct wire_value *cluster;
    const char *path;
    int rc = entry_find(r, doc, "clusters", "cluster", a->cluster, &cluster, &path);
    if (rc != 0)
        return rc;
    if (cluster == NULL)
        return place_fail(
            r, (struct place){"", doc, "clusters"},
            a_arena_printf(r->arena, "there is no %s, which context %s names", a->cluster, a->context));
    const char *server = NULL, *wrong;
    rc = text_get(r, (struct place){path, cluster, "server"}, &server);
    if (rc == 0 && (wrong = server_check(server)) != NULL)
        rc = place_fail(r, (struct place){path, cluster, "server"}, wrong);
    if (rc == 0)
        rc = text_get(r, (struct place){path, cluster, "tls-server-name"}, &a->server_name);
    if (rc == 0)
        rc = text_get(r, (struct place){path, cluster, "proxy-url"}, &a->proxy);
    if (rc == 0)
        rc = flag_get(r, (struct place){path, cluster, "insecure-skip-tls-verify"}, &a->insecure);
    if (rc == 0)
        rc = pem_get(r, path, cluster, "certificate-authority", &a->ca);
    if (rc != 0)
        return rc;
    size_t n = strlen(server);
    while (n > 0 && server[n - 1] == '/')
        n--;
    a->server = a_arena_strndup(r->arena, server, n);
    return 0;
}

/* What we could not honour in a server that runs elsewhere. */
static int refused_check(struct reader *r, const char *path, const struct wire_value *user)
{
    static const char *const programs[] = {"exec", "auth-provider"};
    static const char *const persons[] = {"as", "as-uid", "as-groups", "as-user-extra"};
    for (size_t i = 0; i < A_ARRAY_SIZE(programs); i++)
        if (!wire_value_is_null(wire_value_get(user, programs[i])))
            return place_fail(
                r, (struct place){path, user, programs[i]},
                "needs a program of this machine, which the server does not have: use the token of a "
                "ServiceAccount (astra cluster manifests prints one)");
    for (size_t i = 0; i < A_ARRAY_SIZE(persons); i++)
        if (!wire_value_is_null(wire_value_get(user, persons[i])))
            return place_fail(r, (struct place){path, user, persons[i]},
                              "impersonation is not supported: use credentials of its own");
    return 0;
}

static int user_texts_read(struct reader *r, const char *path, const struct wire_value *user,
                           struct kube_access *a)
{
    int rc = text_get(r, (struct place){path, user, "token"}, &a->token.value);
    if (rc == 0)
        rc = text_get(r, (struct place){path, user, "tokenFile"}, &a->token.file);
    if (rc == 0)
        rc = pem_get(r, path, user, "client-certificate", &a->certificate);
    if (rc == 0)
        rc = pem_get(r, path, user, "client-key", &a->key);
    if (rc == 0)
        rc = text_get(r, (struct place){path, user, "username"}, &a->user_name);
    if (rc == 0)
        rc = text_get(r, (struct place){path, user, "password"}, &a->password);
    if (a->token.file != NULL)
        a->token.value = NULL; /* the file is the newer one, says client-go */
    return rc;
}

static bool is_given(struct kube_text t)
{
    return t.value != NULL || t.file != NULL;
}

static enum kube_credentials credentials_of(const struct kube_access *a)
{
    if (is_given(a->token))
        return KUBE_CREDENTIALS_TOKEN;
    if (is_given(a->certificate))
        return KUBE_CREDENTIALS_CERTIFICATE;
    return a->user_name != NULL ? KUBE_CREDENTIALS_PASSWORD : KUBE_CREDENTIALS_NONE;
}

static int user_read(struct reader *r, const struct wire_value *doc, struct kube_access *a)
{
    const struct wire_value *user;
    const char *path;
    if (a->user == NULL)
        return place_fail(
            r, (struct place){"", doc, "contexts"},
            a_arena_printf(r->arena, "context %s names no user: calls would be anonymous", a->context));
    int rc = entry_find(r, doc, "users", "user", a->user, &user, &path);
    if (rc == 0 && user == NULL)
        rc = place_fail(
            r, (struct place){"", doc, "users"},
            a_arena_printf(r->arena, "there is no %s, which context %s names", a->user, a->context));
    if (rc == 0)
        rc = refused_check(r, path, user);
    if (rc == 0)
        rc = user_texts_read(r, path, user, a);
    if (rc != 0)
        return rc;
    a->credentials = credentials_of(a);
    if (is_given(a->certificate) != is_given(a->key))
        return place_fail(r, (struct place){path, user, ""},
                          "client-certificate and client-key belong together");
    if (a->credentials == KUBE_CREDENTIALS_NONE)
        return place_fail(r, (struct place){path, user, ""},
                          "no credentials: expected a token, a client-certificate or a username");
    return 0;
}

int kube_kubeconfig_read(struct a_arena *arena, struct a_view text, const char *file, const char *context,
                         struct kube_access *ret, struct a_error *reterr)
{
    const struct wire_value_limits limits = {.bytes = TEXT_MAX};
    struct reader r = {arena, file, reterr};
    struct kube_access a = {0};
    struct wire_value *doc;
    const char *kind;
    int rc = wire_yaml_parse(arena, text, file, &limits, &doc, reterr);
    if (rc != 0)
        return rc;
    if (!wire_value_is(doc, WIRE_VALUE_OBJECT))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: expected a kubeconfig, got %s", file,
                      wire_value_type_name(doc->type));
    rc = text_get(&r, (struct place){"", doc, "kind"}, &kind);
    if (rc == 0 && kind != NULL && strcmp(kind, "Config") != 0)
        rc = place_fail(&r, (struct place){"", doc, "kind"}, "expected Config");
    if (rc == 0)
        rc = context_read(&r, doc, context, &a);
    if (rc == 0)
        rc = cluster_read(&r, doc, &a);
    if (rc == 0)
        rc = user_read(&r, doc, &a);
    if (rc != 0)
        return rc;
    if (a.namespace == NULL)
        a.namespace = "default";
    *ret = a;
    return 0;
}

/* ---- the document ---- */

/* X(key, field) of all texts of it. */
#define ACCESS_TEXTS(X)                                                                                      \
    X("context", context)                                                                                    \
    X("cluster", cluster)                                                                                    \
    X("user", user)                                                                                          \
    X("server", server)                                                                                      \
    X("serverName", server_name)                                                                             \
    X("proxy", proxy)                                                                                        \
    X("namespace", namespace)                                                                                \
    X("ca", ca.value)                                                                                        \
    X("token", token.value)                                                                                  \
    X("certificate", certificate.value)                                                                      \
    X("key", key.value)                                                                                      \
    X("username", user_name)                                                                                 \
    X("password", password)

struct wire_value *kube_access_print(struct a_arena *arena, const struct kube_access *access)
{
    a_assert(access->ca.file == NULL && access->token.file == NULL);
    a_assert(access->certificate.file == NULL && access->key.file == NULL);
    struct wire_value *v = wire_value_new_object(arena);
#define X(name, field)                                                                                       \
    if (access->field != NULL)                                                                               \
        wire_value_set_string(arena, v, name, access->field);
    ACCESS_TEXTS(X)
#undef X
    wire_value_set_bool(arena, v, "insecure", access->insecure);
    return v;
}

int kube_access_parse(struct a_arena *arena, const struct wire_value *v, struct kube_access *ret,
                      struct a_error *reterr)
{
    struct reader r = {arena, "cluster", reterr};
    struct kube_access a = {0};
    int rc = wire_value_is(v, WIRE_VALUE_OBJECT) ? 0 : -EINVAL;
    if (rc != 0)
        return a_fail(reterr, rc, A_CODE_INVALID, "cluster: expected a mapping");
#define X(name, field)                                                                                       \
    if (rc == 0)                                                                                             \
        rc = text_get(&r, (struct place){"", v, name}, &a.field);
    ACCESS_TEXTS(X)
#undef X
    if (rc == 0)
        rc = flag_get(&r, (struct place){"", v, "insecure"}, &a.insecure);
    if (rc != 0)
        return rc;
    const char *wrong = server_check(a.server);
    if (wrong != NULL)
        return place_fail(&r, (struct place){"", v, "server"}, wrong);
    if ((a.certificate.value != NULL) != (a.key.value != NULL))
        return place_fail(&r, (struct place){"", v, "certificate"}, "certificate and key belong together");
    a.credentials = credentials_of(&a);
    if (a.namespace == NULL)
        a.namespace = "default";
    *ret = a;
    return 0;
}

const char *kube_credentials_name(enum kube_credentials c)
{
    static const char *const names[] = {"none", "token", "certificate", "password"};
    a_assert((unsigned)c < A_ARRAY_SIZE(names));
    return names[c];
}

int64_t kube_token_expiry(struct a_view token)
{
    A_BUF_AUTO struct a_buf claims = {0};
    struct a_view rest, payload;
    int64_t expiry = 0;
    (void)a_view_split(token, '.', &rest);
    payload = a_view_split(rest, '.', &rest);
    if (payload.len == 0 || rest.len == 0 || !a_base64_decode(payload, &claims))
        return 0;
    struct wire_scan s;
    wire_scan_init(&s, a_buf_view(&claims));
    if (!wire_scan_enter(&s, WIRE_VALUE_OBJECT))
        return 0;
    for (struct a_view key; wire_scan_member(&s, &key);) {
        if (a_view_is(key, "exp"))
            expiry = wire_scan_int(&s);
        else
            wire_scan_skip(&s);
    }
    return wire_scan_end(&s) && expiry > 0 ? expiry : 0;
}
