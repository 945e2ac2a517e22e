/* Who may ask what. The data folder's token is an administrator's; others are made here: for one namespace or
 * all, with a role and, if wanted, an end. The store keeps their SHA-256 only.
 *
 * A token is astra-ID-SECRET: the id finds the record, the secret's hash is compared in constant time. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/random.h"
#include "sys/sha256.h"

#define ID_LEN 8
#define SECRET_BYTES 24

struct api_token {
    struct a_map_link link; /* of api.tokens, by id */
    char id[ID_LEN + 1];
    char namespace[A_NAME_MAX + 1]; /* "*" = all */
    enum api_role role;
    bool once;                       /* join: opens the door one time */
    struct a_digest hash;            /* of the secret */
    char *name;                      /* for people */
    uint64_t created_ms, expires_ms; /* wall clock; expires 0 = never */
    char key[STORE_KEY_MAX];
};

static struct api_token *token_find(const struct api *a, struct a_view id)
{
    struct a_map_link *l = a_map_get(&a->tokens, id.ptr, id.len);
    return l != NULL ? a_map_entry(l, struct api_token, link) : NULL;
}

static void token_free(struct api_token *t)
{
    a_free(t->name);
    a_free(t);
}

static void token_add(struct api *a, struct api_token *t)
{
    bool all = strcmp(t->namespace, "*") == 0;
    snprintf(t->key, sizeof t->key, "/%s/token/%s", all ? "default" : t->namespace, t->id);
    a_map_put_str(&a->tokens, &t->link, t->id);
}

/* ---- the store ---- */

static void token_print(struct a_buf *b, const struct api_token *t)
{
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(&t->hash, hex);
    a_buf_addf(b,
               "{\"id\":\"%s\",\"namespace\":\"%s\",\"role\":\"%s\",\"hash\":\"%s\",\"created\":%" PRIu64
               ",\"expires\":%" PRIu64 ",\"once\":%s,\"name\":",
               t->id, t->namespace, api_role_name(t->role), hex, t->created_ms, t->expires_ms,
               t->once ? "true" : "false");
    a_text_print_json(b, a_view_str(t->name));
    a_buf_add_char(b, '}');
}

static struct api_token *token_parse(struct a_view text)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_value *v;
    if (wire_json_parse(&arena, text, NULL, NULL, &v, NULL) != 0)
        return NULL;
    struct api_token *t = a_new(struct api_token);
    snprintf(t->id, sizeof t->id, "%s", wire_value_string(wire_value_get(v, "id"), ""));
    snprintf(t->namespace, sizeof t->namespace, "%s", wire_value_string(wire_value_get(v, "namespace"), ""));
    t->name = a_strdup(wire_value_string(wire_value_get(v, "name"), ""));
    t->created_ms = (uint64_t)wire_value_int(wire_value_get(v, "created"), 0);
    t->expires_ms = (uint64_t)wire_value_int(wire_value_get(v, "expires"), 0);
    t->once = wire_value_bool(wire_value_get(v, "once"), false);
    if (strlen(t->id) != ID_LEN || t->namespace[0] == '\0' ||
        !api_role_parse(wire_value_string(wire_value_get(v, "role"), ""), &t->role) ||
        !a_digest_parse(wire_value_view(wire_value_get(v, "hash")), &t->hash)) {
        token_free(t);
        return NULL;
    }
    return t;
}

static bool token_read(void *ctx, const struct store_entry *entry)
{
    struct api *a = ctx;
    struct a_view path = entry->key, part;
    part = a_view_split(path, '/', &path);
    (void)a_view_split(path, '/', &path);
    part = a_view_split(path, '/', &path);
    if (!a_view_is(part, "token"))
        return true;
    struct api_token *t = token_parse(entry->value);
    if (t == NULL || token_find(a, a_view_str(t->id)) != NULL) {
        sys_log(WARN, "api", "api.token_unreadable", "a token in the store cannot be read: it opens nothing",
                SYS_VIEW("key", entry->key));
        if (t != NULL)
            token_free(t);
        return true;
    }
    token_add(a, t);
    return true;
}

int api_tokens_load(struct api *a, struct a_error *reterr)
{
    return store_scan(a->s->store, "/", token_read, a, reterr);
}

void api_tokens_free(struct api *a)
{
    a_map_foreach (l, &a->tokens) {
        a_map_remove(&a->tokens, l);
        token_free(a_map_entry(l, struct api_token, link));
    }
    a_map_deinit(&a->tokens);
}

/* ---- who asks ---- */

static bool digest_equal_slowly(const struct a_digest *x, const struct a_digest *y)
{
    unsigned difference = 0;
    for (size_t i = 0; i < sizeof x->bytes; i++)
        difference |= (unsigned)(x->bytes[i] ^ y->bytes[i]);
    return difference == 0;
}

/* astra-ID-SECRET of a token that is known and not over. */
static struct api_token *token_check(const struct api *a, struct a_view text)
{
    struct a_view rest, id, secret;
    struct a_digest hash;
    if (!a_view_is(a_view_split(text, '-', &rest), "astra"))
        return NULL;
    id = a_view_split(rest, '-', &secret);
    if (id.len != ID_LEN || secret.len == 0)
        return NULL;
    struct api_token *t = token_find(a, id);
    sys_sha256_bytes(secret.ptr, secret.len, &hash);
    if (t == NULL || !digest_equal_slowly(&t->hash, &hash))
        return NULL;
    return t->expires_ms == 0 || sys_clock_wall_ms() < t->expires_ms ? t : NULL;
}

static int identify(struct api_call *c, struct a_error *reterr)
{
    struct a_view header = net_http_request_header(c->r, "authorization"), token;
    struct a_view scheme = a_view_split(header, ' ', &token);
    if (!a_view_is_nocase(scheme, "bearer") || a_view_trim(token).len == 0)
        return a_fail(reterr, -EACCES, A_CODE_UNAUTHORIZED, "the API asks for a bearer token");
    token = a_view_trim(token);
    if (sys_secret_equal(&c->s->api_token, token)) {
        c->role = API_ADMIN;
        return 0;
    }
    const struct api_token *t = token_check(c->api, token);
    if (t == NULL || t->role == API_JOIN)
        return a_fail(reterr, -EACCES, A_CODE_UNAUTHORIZED, "the token is wrong, revoked or over");
    c->role = t->role;
    c->scope = strcmp(t->namespace, "*") == 0 ? NULL : a_arena_strdup(c->arena, t->namespace);
    return 0;
}

int api_authorize(struct api_call *c, struct a_error *reterr)
{
    if (c->route != NULL && c->route->role == API_NOBODY)
        return 0;
    int rc = identify(c, reterr);
    if (rc != 0 || c->route == NULL)
        return rc;
    if (c->role < c->route->role)
        return a_fail(reterr, -EACCES, A_CODE_FORBIDDEN, "this needs the role %s, the token has %s",
                      api_role_name(c->route->role), api_role_name(c->role));
    if (c->scope == NULL)
        return 0;
    if (api_route_is_namespaced(c->route) ? !a_view_is(c->params[0], c->scope) : c->route->role == API_ADMIN)
        return a_fail(reterr, -EACCES, A_CODE_FORBIDDEN, "the token is for the namespace %s only", c->scope);
    return 0;
}

/* ---- making and revoking ---- */

struct token_write {
    struct store_txn txn;
    struct store_write write;
    void *later;
    struct api_token *token;
    char *value;
    char text[8 + ID_LEN + 2 * SECRET_BYTES + 2 + A_DIGEST_HEX + 1]; /* what the caller is told once */
};

static void token_write_free(struct token_write *w)
{
    sys_secret_wipe(w->text, sizeof w->text);
    a_error_deinit(&w->txn.error);
    a_free(w->value);
    a_free(w);
}

static struct wire_value *token_json(const struct api_token *t, struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "id", t->id);
    wire_value_set_string(arena, v, "name", t->name[0] != '\0' ? t->name : NULL);
    wire_value_set_string(arena, v, "namespace", t->namespace);
    wire_value_set_string(arena, v, "role", api_role_name(t->role));
    api_set_time(arena, v, "created", t->created_ms);
    api_set_time(arena, v, "expires", t->expires_ms);
    return v;
}

static void created_print(const struct token_write *w, struct a_arena *arena, struct a_buf *b)
{
    struct wire_value *v = token_json(w->token, arena);
    wire_value_set_string(arena, v, "token", w->text);
    wire_json_print(b, v, 0);
    a_buf_add_char(b, '\n');
}

static void on_created(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct token_write *w = ctx;
    struct api_call *c = api_now(w->later);
    (void)revision;
    if (rc != 0 || c == NULL) {
        token_free(w->token);
        if (c != NULL)
            api_reply_error(c, error);
    } else {
        A_BUF_AUTO struct a_buf answer = {0};
        created_print(w, c->arena, &answer);
        a_map_put_str(&c->api->tokens, &w->token->link, w->token->id);
        d_event_add(c->s, NULL, "user", w->token->id, 0, A_REASON_REQUESTED,
                    "token made: role %s, namespace %s", api_role_name(w->token->role), w->token->namespace);
        api_reply_json(c, 201, a_buf_view(&answer));
    }
    token_write_free(w);
}

/* The secret is told once, so that a repeat must find it with the token. */
static void created_submit(struct api_call *c, struct token_write *w)
{
    A_BUF_AUTO struct a_buf answer = {0};
    created_print(w, c->arena, &answer);
    w->write = (struct store_write){a_view_str(w->token->key), a_view_str(w->value), STORE_ABSENT};
    w->txn = (struct store_txn){.writes = &w->write, .n_writes = 1, .done = on_created, .ctx = w};
    w->txn.also = api_replay_mark_answered(c, &(struct net_http_response){.status = 201,
                                                                          .content_type = "application/json",
                                                                          .body = a_buf_view(&answer)});
    store_submit(c->s->store, &w->txn);
}

/* False: answered. */
static bool token_wanted(struct api_call *c, const struct wire_value *body, struct api_token *t)
{
    const char *namespace = wire_value_string(wire_value_get(body, "namespace"), "*");
    const char *role = wire_value_string(wire_value_get(body, "role"), "view");
    const char *life = wire_value_string(wire_value_get(body, "expires"), "");
    struct a_name name;
    uint64_t life_ms = 0;
    if (strcmp(namespace, "*") != 0 && !a_name_parse(a_view_str(namespace), &name))
        api_reply_problem(c, A_CODE_INVALID, "namespace: \"%s\" is no namespace, nor *", namespace);
    else if (!api_role_parse(role, &t->role))
        api_reply_problem(c, A_CODE_INVALID, "role: \"%s\" is none of join, view, deploy, admin", role);
    else if (t->role == API_JOIN && strcmp(namespace, "*") != 0)
        api_reply_problem(c, A_CODE_INVALID, "namespace: nodes and gateways belong to none");
    else if (life[0] != '\0' && (!a_text_duration(a_view_str(life), &life_ms) || life_ms == 0))
        api_reply_problem(c, A_CODE_INVALID, "expires: \"%s\" is no duration such as 12h or 30d", life);
    else {
        t->created_ms = sys_clock_wall_ms();
        t->expires_ms = life_ms != 0 ? t->created_ms + life_ms : 0;
        t->once = t->role == API_JOIN && wire_value_bool(wire_value_get(body, "once"), false);
        snprintf(t->namespace, sizeof t->namespace, "%s", namespace);
        return true;
    }
    return false;
}

void api_handle_TOKEN_CREATE(struct api_call *c)
{
    struct wire_value *body = api_body(c);
    if (body == NULL)
        return;
    struct api_token *t = a_new(struct api_token);
    t->name = a_strndup(wire_value_string(wire_value_get(body, "name"), ""),
                        A_MIN(strlen(wire_value_string(wire_value_get(body, "name"), "")), (size_t)200));
    if (!token_wanted(c, body, t)) {
        token_free(t);
        return;
    }
    char secret[2 * SECRET_BYTES + 1];
    A_BUF_AUTO struct a_buf value = {0};
    struct token_write *w = a_new(struct token_write);
    do {
        sys_random_hex(t->id, ID_LEN / 2);
    } while (token_find(c->api, a_view_str(t->id)) != NULL);
    sys_random_hex(secret, SECRET_BYTES);
    sys_sha256_bytes(secret, strlen(secret), &t->hash);
    snprintf(w->text, sizeof w->text, "astra-%s-%s", t->id, secret);
    if (t->role == API_JOIN) { /* with the pin of the CA, by which the newcomer knows us */
        char pin[A_DIGEST_HEX + 1];
        d_authority_pin(c->s, pin);
        size_t n = strlen(w->text);
        snprintf(w->text + n, sizeof w->text - n, "-%s", pin);
    }
    sys_secret_wipe(secret, sizeof secret);
    snprintf(t->key, sizeof t->key, "/%s/token/%s", strcmp(t->namespace, "*") == 0 ? "default" : t->namespace,
             t->id);
    token_print(&value, t);
    w->later = api_later(c);
    w->token = t;
    w->value = a_buf_steal(&value);
    created_submit(c, w);
}

static void on_revoked(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct token_write *w = ctx;
    struct api_call *c = w->later != NULL ? api_now(w->later) : NULL;
    (void)revision;
    if (c != NULL && rc != 0)
        api_reply_error(c, error);
    else if (c != NULL)
        api_reply_value(c, 200, token_json(w->token, c->arena));
    token_free(w->token);
    token_write_free(w);
}

static void token_forget(struct api *a, struct api_token *t, void *later)
{
    struct token_write *w = a_new(struct token_write);
    a_map_remove(&a->tokens, &t->link);
    w->later = later;
    w->token = t;
    w->write = (struct store_write){a_view_str(t->key), {NULL, 0}, STORE_ANY};
    w->txn = (struct store_txn){.writes = &w->write, .n_writes = 1, .done = on_revoked, .ctx = w};
    store_submit(a->s->store, &w->txn);
}

bool api_join_token_take(struct api *a, struct a_view text)
{
    struct api_token *t = a != NULL ? token_check(a, text) : NULL;
    if (t == NULL || t->role != API_JOIN)
        return false;
    if (t->once)
        token_forget(a, t, NULL);
    return true;
}

/* Closed at once; the store follows. */
void api_handle_TOKEN_REVOKE(struct api_call *c)
{
    struct api_token *t = token_find(c->api, c->params[0]);
    if (t == NULL) {
        api_reply_problem(c, A_CODE_NOT_FOUND, "no such token: " A_VIEW_FMT, A_VIEW_ARG(c->params[0]));
        return;
    }
    d_event_add(c->s, NULL, "user", t->id, 0, A_REASON_REQUESTED, "token revoked");
    token_forget(c->api, t, api_later(c));
}

void api_handle_TOKENS(struct api_call *c)
{
    struct wire_value *v = wire_value_new_object(c->arena), *items = wire_value_new_array(c->arena);
    a_map_foreach (l, &c->api->tokens)
        wire_value_append(items, token_json(a_map_entry(l, struct api_token, link), c->arena));
    wire_value_set_string(c->arena, v, "kind", "TokenList");
    wire_value_set(c->arena, v, "items", items);
    api_reply_value(c, 200, v);
}
