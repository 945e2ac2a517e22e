/* Idempotency-Key: a write that is repeated with the same key within a day gets the first one's answer. What
 * failed on our side (5xx) is not remembered: it may be tried again. In memory, a bounded number, oldest
 * first to go. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"

struct api_replay {
    struct a_map_link link;
    struct a_list order;
    char *key;
    unsigned status; /* 0: under way */
    char *body;
    size_t len;
    uint64_t until_ms;
};

static void replay_free(struct api *a, struct api_replay *p)
{
    a_map_remove(&a->replays, &p->link);
    a_list_remove(&p->order);
    a_free(p->key);
    a_free(p->body);
    a_free(p);
}

static void replays_expire(struct api *a)
{
    uint64_t now = sys_loop_now_ms(a->s->loop);
    while (!a_list_empty(&a->replay_order)) {
        struct api_replay *p = a_list_entry(a->replay_order.next, struct api_replay, order);
        if (p->until_ms > now && a->replays.len <= API_REPLAY_MAX)
            return;
        replay_free(a, p);
    }
}

static struct api_replay *replay_find(struct api *a, const char *key)
{
    struct a_map_link *l = a_map_get_str(&a->replays, key);
    return l != NULL ? a_map_entry(l, struct api_replay, link) : NULL;
}

static void replay_answer(struct api_call *c, const struct api_replay *p)
{
    const struct net_http_header header = {"Idempotent-Replayed", "true"};
    bool problem = p->status >= 400;
    net_http_reply(
        c->r, &(struct net_http_response){.status = p->status,
                                          .content_type = problem ? NET_PROBLEM_TYPE : "application/json",
                                          .headers = &header,
                                          .n_headers = 1,
                                          .body = {p->body, p->len}});
}

bool api_replay_begin(struct api_call *c)
{
    struct a_view key = net_http_request_header(c->r, "idempotency-key");
    if (key.len == 0 || strcmp(c->route->method, "GET") == 0)
        return false;
    if (key.len > 256) {
        api_reply_problem(c, A_CODE_INVALID, "Idempotency-Key: at most 256 characters");
        return true;
    }
    replays_expire(c->api);
    /* A key is its caller's: another role or namespace never sees the answer. */
    const char *name = a_arena_printf(c->arena, "%d %s %s " A_VIEW_FMT " " A_VIEW_FMT, (int)c->role,
                                      c->scope != NULL ? c->scope : "*", c->route->method,
                                      A_VIEW_ARG(c->r->path), A_VIEW_ARG(key));
    struct api_replay *p = replay_find(c->api, name);
    if (p != NULL && p->status == 0) {
        api_reply_problem(c, A_CODE_CONFLICT, "a request with this Idempotency-Key is still under way");
        return true;
    }
    if (p != NULL) {
        replay_answer(c, p);
        return true;
    }
    p = a_new(struct api_replay);
    p->key = a_strdup(name);
    p->until_ms = sys_loop_now_ms(c->s->loop) + API_REPLAY_MS;
    a_map_put_str(&c->api->replays, &p->link, p->key);
    a_list_push_back(&c->api->replay_order, &p->order);
    c->replay_key = name;
    return false;
}

void api_replay_end(struct api_call *c, unsigned status, struct a_view body)
{
    struct api_replay *p = replay_find(c->api, c->replay_key);
    c->replay_key = NULL;
    if (p == NULL)
        return;
    if (status >= 500) {
        replay_free(c->api, p);
        return;
    }
    p->status = status != 0 ? status : 200;
    p->body = a_view_dup(body);
    p->len = body.len;
}

void api_replays_free(struct api *a)
{
    while (!a_list_empty(&a->replay_order))
        replay_free(a, a_list_entry(a->replay_order.next, struct api_replay, order));
    a_map_deinit(&a->replays);
}
