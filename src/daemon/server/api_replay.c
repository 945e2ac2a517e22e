/* Idempotency-Key: a write that is repeated with the same key within a day gets the first one's answer, also
 * from a server that was started since. What failed on our side (5xx) is not remembered: it may be tried
 * again.
 *
 * A key has one record in the store, written twice. First a mark, in the transaction that carries the call
 * out (api_replay_mark()): from then on it is not carried out again. Then the answer, which is sent when the
 * record is on disk. Whoever dies between the two leaves a mark without an answer: then the repeat is
 * answered with what is there now. A call whose effect is not in the store (a node's file, the CA's) has the
 * second record only; it sets a state, and who dies in between has it set again by the repeat.
 *
 * The record is named by a hash over the caller's token, method, path and key, and its answer sealed with
 * another: it is its caller's alone, and a copy of the store tells nobody a token that was made. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"
#include "daemon/server/store_keys.h"
#include "sys/clock.h"
#include "sys/log.h"
#include "sys/seal.h"
#include "sys/sha256.h"

#define KEY_MAX 256

struct api_replay {
    struct a_map_link link; /* of d_replays.by_key */
    struct a_list order;
    char key[STORE_KEY_MAX];
    struct a_digest request; /* query and body */
    uint64_t began_unix_ms, until_ms;
    bool ended;    /* else under way */
    bool answered; /* the mark has the answer */
    char *sealed;  /* the answer; NULL: not known, or too long */
    char *value;   /* the mark's */
    struct store_write mark;
};

struct d_replays {
    struct server *s;
    struct a_map by_key;
    struct a_list order; /* oldest first */
    uint64_t bytes;      /* of `sealed` */
    struct sys_timer sweep;
};

static void replay_free(struct d_replays *all, struct api_replay *p)
{
    a_map_remove(&all->by_key, &p->link);
    a_list_remove(&p->order);
    all->bytes -= p->sealed != NULL ? strlen(p->sealed) : 0;
    a_free(p->sealed);
    a_free(p->value);
    a_free(p);
}

static void replay_add(struct d_replays *all, struct api_replay *p)
{
    a_map_put_str(&all->by_key, &p->link, p->key);
    a_list_push_back(&all->order, &p->order);
}

static void replay_seal_set(struct d_replays *all, struct api_replay *p, char *sealed)
{
    all->bytes -= p->sealed != NULL ? strlen(p->sealed) : 0;
    a_free(p->sealed);
    p->sealed = sealed;
    all->bytes += sealed != NULL ? strlen(sealed) : 0;
}

/* ---- forgetting: one sweep, for time and for room ---- */

struct sweep {
    struct server *s;
    struct store_txn txn;
    struct store_write writes[STORE_WRITES_MAX];
    char keys[STORE_WRITES_MAX][sizeof D_STORE_REPLAYS + A_DIGEST_HEX];
};

static void sweep_done(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct sweep *w = ctx;
    (void)revision;
    if (rc != 0) /* the next start finds them again, and their end */
        sys_log(WARN, "api", "api.replay_sweep", "keys that are over stay in the store", SYS_ERR(error));
    a_free(w);
}

static bool is_over(const struct d_replays *all, const struct api_replay *p)
{
    return p->ended && (p->until_ms <= sys_loop_now_ms(all->s->loop) || all->by_key.len > API_REPLAY_MAX ||
                        all->bytes > API_REPLAY_BYTES);
}

static void sweep_set(struct d_replays *all)
{
    const struct api_replay *p = a_list_entry(all->order.next, struct api_replay, order);
    if (!a_list_empty(&all->order))
        sys_timer_set_at(&all->sweep, is_over(all, p) ? sys_loop_now_ms(all->s->loop) : p->until_ms);
}

static void sweep(void *ctx)
{
    struct d_replays *all = ctx;
    struct sweep *w = a_new(struct sweep);
    w->s = all->s;
    w->txn = (struct store_txn){.writes = w->writes, .done = sweep_done, .ctx = w};
    while (!a_list_empty(&all->order) && w->txn.n_writes < STORE_WRITES_MAX) {
        struct api_replay *p = a_list_entry(all->order.next, struct api_replay, order);
        size_t i = w->txn.n_writes;
        if (!is_over(all, p))
            break;
        memcpy(w->keys[i], p->key, strlen(p->key) + 1);
        w->writes[i] = (struct store_write){a_view_str(w->keys[i]), {NULL, 0}, STORE_ANY};
        w->txn.n_writes++;
        replay_free(all, p);
    }
    if (w->txn.n_writes > 0)
        store_submit(all->s->store, &w->txn);
    else
        a_free(w);
    sweep_set(all);
}

/* ---- records ---- */

/* A hash that only who has the caller's token can make. */
static void caller_hash(const struct api_call *c, const char *what, struct a_view a, struct a_view b,
                        struct a_digest *ret)
{
    const struct a_view parts[] = {a_view_str(what),
                                   a_view_trim(net_http_request_header(c->r, "authorization")),
                                   a_view_str(c->route->method),
                                   c->r->path,
                                   a,
                                   b};
    struct sys_sha256 *sha = sys_sha256_new();
    for (size_t i = 0; i < A_ARRAY_SIZE(parts); i++) {
        uint64_t len = parts[i].len;
        sys_sha256_update(sha, &len, sizeof len);
        sys_sha256_update(sha, parts[i].ptr, parts[i].len);
    }
    sys_sha256_finish(sha, ret);
}

static void seal_key(const struct api_call *c, struct sys_secret *ret)
{
    struct a_digest d;
    caller_hash(c, "seal", net_http_request_header(c->r, "idempotency-key"), (struct a_view){NULL, 0}, &d);
    sys_secret_set(ret, (struct a_view){(const char *)d.bytes, sizeof d.bytes});
    sys_secret_wipe(&d, sizeof d);
}

/* STATUS\nTYPE\nETAG\nBODY, sealed; NULL when it is too long to be kept. Owned by the caller. */
static char *answer_seal(const struct api_call *c, const struct net_http_response *r)
{
    SYS_SECRET_AUTO struct sys_secret key = {0};
    A_BUF_AUTO struct a_buf plain = {0};
    A_BUF_AUTO struct a_buf sealed = {0};
    const char *tag = "";
    for (size_t i = 0; i < r->n_headers; i++)
        if (strcmp(r->headers[i].name, "ETag") == 0)
            tag = r->headers[i].value;
    if (r->body.len > API_REPLAY_ANSWER)
        return NULL;
    seal_key(c, &key);
    a_buf_addf(&plain, "%u\n%s\n%s\n", r->status != 0 ? r->status : 200,
               r->content_type != NULL ? r->content_type : "", tag);
    a_buf_add_view(&plain, r->body);
    int rc = sys_seal(&key, a_view_str(c->replay->key), a_buf_view(&plain), &sealed, NULL);
    sys_secret_wipe(plain.ptr, plain.len);
    return rc == 0 ? a_buf_steal(&sealed) : NULL;
}

static void record_print(struct a_buf *b, const struct api_replay *p)
{
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(&p->request, hex);
    a_buf_addf(b, "{\"began\":%" PRIu64 ",\"until\":%" PRIu64 ",\"request\":\"%s\"", p->began_unix_ms,
               p->began_unix_ms + API_REPLAY_MS, hex);
    if (p->sealed != NULL)
        a_buf_addf(b, ",\"sealed\":\"%s\"", p->sealed);
    a_buf_add_char(b, '}');
}

static void mark_make(struct api_replay *p)
{
    A_BUF_AUTO struct a_buf b = {0};
    record_print(&b, p);
    a_free(p->value);
    p->value = a_buf_steal(&b);
    p->mark = (struct store_write){a_view_str(p->key), a_view_str(p->value), STORE_ANY};
}

const struct store_write *api_replay_mark(const struct api_call *c)
{
    return c->replay != NULL ? &c->replay->mark : NULL;
}

const struct store_write *api_replay_mark_answered(struct api_call *c, const struct net_http_response *r)
{
    struct api_replay *p = c->replay;
    if (p == NULL)
        return NULL;
    replay_seal_set(c->s->replays, p, answer_seal(c, r));
    mark_make(p);
    p->answered = true;
    return &p->mark;
}

/* ---- start and stop ---- */

struct load {
    struct d_replays *all;
    struct api_replay **list;
    size_t n;
};

/* A clock that was set back keeps nothing for longer than a day. */
static bool record_read(void *ctx, const struct store_entry *entry)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct load *load = ctx;
    struct wire_value *v;
    struct a_digest request;
    uint64_t now = sys_clock_wall_ms(), until;
    if (entry->key.len >= STORE_KEY_MAX || wire_json_parse(&arena, entry->value, NULL, NULL, &v, NULL) != 0 ||
        !a_digest_parse(wire_value_view(wire_value_get(v, "request")), &request))
        return true;
    struct api_replay *p = a_new(struct api_replay);
    memcpy(p->key, entry->key.ptr, entry->key.len);
    p->request = request;
    p->ended = true;
    p->began_unix_ms = (uint64_t)wire_value_int(wire_value_get(v, "began"), 0);
    until = (uint64_t)wire_value_int(wire_value_get(v, "until"), 0);
    p->until_ms = sys_loop_now_ms(load->all->s->loop) + (until > now ? A_MIN(until - now, API_REPLAY_MS) : 0);
    if (wire_value_get(v, "sealed") != NULL)
        replay_seal_set(load->all, p, a_strdup(wire_value_string(wire_value_get(v, "sealed"), "")));
    load->list = a_realloc(load->list, (load->n + 1) * sizeof *load->list);
    load->list[load->n++] = p;
    return true;
}

static int by_end(const void *x, const void *y)
{
    const struct api_replay *const *a = x, *const *b = y;
    return ((*a)->until_ms > (*b)->until_ms) - ((*a)->until_ms < (*b)->until_ms);
}

int api_replays_open(struct server *s, struct a_error *reterr)
{
    struct d_replays *all = a_new(struct d_replays);
    struct load load = {.all = all};
    all->s = s;
    a_list_init(&all->order);
    sys_timer_init(&all->sweep, s->loop, sweep, all);
    s->replays = all;
    int rc = store_scan(s->store, D_STORE_REPLAYS, record_read, &load, reterr);
    if (load.n > 0)
        qsort(load.list, load.n, sizeof(struct api_replay *), by_end);
    for (size_t i = 0; i < load.n; i++)
        replay_add(all, load.list[i]);
    a_free(load.list);
    sweep_set(all);
    return rc;
}

void api_replays_stop(struct server *s)
{
    if (s->replays != NULL)
        sys_timer_clear(&s->replays->sweep);
}

void d_replays_free(struct server *s)
{
    struct d_replays *all = s->replays;
    if (all == NULL)
        return;
    while (!a_list_empty(&all->order))
        replay_free(all, a_list_entry(all->order.next, struct api_replay, order));
    a_map_deinit(&all->by_key);
    a_free(all);
    s->replays = NULL;
}

size_t api_replays_count(const struct server *s)
{
    return s->replays->by_key.len;
}

/* ---- a call begins ---- */

/* False: the record is of another store key (a restored file, a changed one), or was cut. */
static bool answer_open(struct api_call *c, const struct api_replay *p)
{
    SYS_SECRET_AUTO struct sys_secret key = {0};
    SYS_SECRET_AUTO struct sys_secret plain = {0};
    struct a_view rest, status, type, tag;
    uint64_t number;
    seal_key(c, &key);
    if (sys_unseal(&key, a_view_str(p->key), a_view_str(p->sealed), &plain, NULL) != 0)
        return false;
    status = a_view_split(sys_secret_view(&plain), '\n', &rest);
    type = a_view_split(rest, '\n', &rest);
    tag = a_view_split(rest, '\n', &rest);
    if (!a_text_u64(status, &number))
        return false;
    const struct net_http_header headers[] = {{"Idempotent-Replayed", "true"}, {"ETag", api_text(c, tag)}};
    net_http_reply(c->r, &(struct net_http_response){.status = (unsigned)number,
                                                     .content_type = type.len > 0 ? api_text(c, type) : NULL,
                                                     .headers = headers,
                                                     .n_headers = tag.len > 0 ? 2 : 1,
                                                     .body = rest});
    return true;
}

/* Its answer was never known (a mark alone), or was too long. */
static void retell(struct api_call *c, const struct api_replay *p)
{
    switch (c->route->id) {
    case API_ROUTE_APP_PUT:
    case API_ROUTE_APP_SCALE:
    case API_ROUTE_APP_UNDO:
    case API_ROUTE_APP_DELETE:
        api_app_retell(c, p->began_unix_ms);
        break;
    default:
        api_reply_problem(c, A_CODE_CONFLICT,
                          "a request with this Idempotency-Key was carried out, and its answer is not known "
                          "any more: read what is there now");
    }
}

static void replay_answer(struct api_call *c, const struct api_replay *p, const struct a_digest *request)
{
    if (!a_digest_equal(&p->request, request))
        api_reply_problem(c, A_CODE_KEY_REUSED,
                          "this Idempotency-Key was used with another request: each write has its own");
    else if (!p->ended)
        api_reply_problem(c, A_CODE_CONFLICT, "a request with this Idempotency-Key is still under way");
    else if (p->sealed == NULL || !answer_open(c, p))
        retell(c, p);
}

/* An upload is named by its digest: a second one finds the first, and is answered like it. */
static bool is_remembered(const struct api_call *c)
{
    return strcmp(c->route->method, "GET") != 0 && c->route->body != API_BODY_BYTES;
}

bool api_replay_begin(struct api_call *c)
{
    struct d_replays *all = c->s->replays;
    struct a_view key = net_http_request_header(c->r, "idempotency-key");
    struct a_digest id, request;
    char hex[A_DIGEST_HEX + 1];
    if (key.len == 0 || !is_remembered(c))
        return false;
    if (key.len > KEY_MAX) {
        api_reply_problem(c, A_CODE_INVALID, "Idempotency-Key: at most %d characters", KEY_MAX);
        return true;
    }
    caller_hash(c, "key", key, (struct a_view){NULL, 0}, &id);
    caller_hash(c, "request", c->r->query, c->r->body, &request);
    a_digest_hex(&id, hex);
    struct api_replay *p = a_new(struct api_replay);
    d_store_key_replay(p->key, hex);
    struct a_map_link *had = a_map_get_str(&all->by_key, p->key);
    if (had != NULL) {
        a_free(p);
        replay_answer(c, a_map_entry(had, struct api_replay, link), &request);
        return true;
    }
    p->request = request;
    p->began_unix_ms = sys_clock_wall_ms();
    p->until_ms = sys_loop_now_ms(c->s->loop) + API_REPLAY_MS;
    mark_make(p);
    replay_add(all, p);
    c->replay = p;
    return false;
}

/* ---- a call ends ---- */

/* The record of an answer, and the answer that waits for it. */
struct ending {
    struct store_txn txn;
    struct store_write write;
    char key[STORE_KEY_MAX];
    char *value;
    void *later;
    struct net_http_response response; /* in the call's arena */
};

static void on_remembered(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct ending *e = ctx;
    struct api_call *c = api_now(e->later);
    (void)revision;
    if (rc != 0) /* what was done is done: it is told, and remembered while this process lives */
        sys_log(WARN, "api", "api.replay_lost", "an answer is not remembered beyond a restart",
                SYS_ERR(error));
    if (c != NULL)
        net_http_reply(c->r, &e->response);
    a_free(e->value);
    a_free(e);
}

static struct net_http_response response_copy(struct a_arena *arena, const struct net_http_response *r)
{
    struct net_http_response copy = *r;
    struct net_http_header *headers = a_arena_alloc(arena, (r->n_headers + 1) * sizeof *headers);
    for (size_t i = 0; i < r->n_headers; i++)
        headers[i] = (struct net_http_header){r->headers[i].name, a_arena_strdup(arena, r->headers[i].value)};
    copy.headers = headers;
    copy.body = (struct a_view){a_arena_strndup(arena, r->body.ptr, r->body.len), r->body.len};
    return copy;
}

bool api_replay_end(struct api_call *c, const struct net_http_response *response)
{
    struct d_replays *all = c->s->replays;
    struct api_replay *p = c->replay;
    bool good = response->status < 300;
    if (c->api->stopping) { /* a transaction that points at the mark may be under way */
        c->replay = NULL;
        return false;
    }
    if (response->status >= 500) {
        c->replay = NULL;
        replay_free(all, p);
        return false;
    }
    if (!(good && p->answered))
        replay_seal_set(all, p, answer_seal(c, response));
    c->replay = NULL;
    p->ended = true;
    a_free(a_steal(&p->value)); /* no transaction has the mark any more */
    sweep_set(all);
    if (good && p->answered)
        return false;
    A_BUF_AUTO struct a_buf value = {0};
    struct ending *e = a_new(struct ending);
    record_print(&value, p);
    e->value = a_buf_steal(&value);
    memcpy(e->key, p->key, sizeof e->key);
    e->response = response_copy(c->arena, response);
    e->later = api_later(c);
    e->write = (struct store_write){a_view_str(e->key), a_view_str(e->value), STORE_ANY};
    e->txn = (struct store_txn){.writes = &e->write, .n_writes = 1, .done = on_remembered, .ctx = e};
    store_submit(c->s->store, &e->txn);
    return true;
}
