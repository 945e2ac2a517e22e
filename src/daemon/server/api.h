/* The HTTP API: what its files share. api.c takes requests in, finds their route and who asks; each api_*.c
 * has the handlers of one subject. docs/components/api.md.
 *
 * A call lives in its request's arena. A handler answers it once, now or later, by one of api_reply_*();
 * after that the call is gone. Handlers that wait without `on_gone` may answer into the void. */
#ifndef A_DAEMON_SERVER_API_H
#define A_DAEMON_SERVER_API_H

#include "base/text.h"
#include "daemon/server/api_route.h"
#include "daemon/server/server.h"

#define API_BODY_MAX (8u << 20)
#define API_PAGE_MAX 500
#define API_WATCH_MIN_MS 5 /* changes that come together are told together */
/* Looking at what changed takes at most one part in so many of the loop's time, lists apart. */
#define API_WATCH_SHARE 10
#define API_KEEP_ALIVE_MS 15000 /* a comment on quiet event streams */
#define API_GONE_MAX 1000       /* deletions that a watcher may have missed, per kind */
#define API_REPLAY_MS (UINT64_C(24) * 3600 * 1000)
#define API_REPLAY_MAX 10000         /* keys that are remembered ... */
#define API_REPLAY_BYTES (64u << 20) /* ... with answers of so much in all, as they are stored */
#define API_REPLAY_ANSWER (1u << 20) /* a longer answer is not kept: only that the write was made */

enum api_kind { API_KIND_APP, API_KIND_UNIT, API_KIND_NODE, API_KIND_ENDPOINT, API_KIND_COUNT };

/* One object as its watchers saw it last. */
struct api_object {
    struct a_map_link link; /* of the table, by key */
    struct a_list of_changes, of_gone, of_marked;
    struct a_list units, of_app; /* an app's units; of a unit: its place there */
    char *key;                   /* NS/APP, NS/APP/UNIT, node id, NS/APP/ and an endpoint's id */
    char *text;                  /* JSON; NULL: gone, or never told */
    size_t len;
    uint64_t hash, sequence;
    bool seen;
};

/* All objects of one kind in the order of their last change: the feed of that kind. It has each object once,
 * so it is as long as there are objects, and API_GONE_MAX that are gone. */
struct api_table {
    struct a_map objects;
    struct a_list changes; /* oldest first; those that were told at least once */
    struct a_list gone;    /* oldest first */
    size_t n_gone;
    uint64_t floor; /* cursors below this missed a deletion */
};

struct api {
    struct server *s;
    struct net_http_server *http;
    uint16_t port;
    struct api_table tables[API_KIND_COUNT];
    struct a_list marked; /* struct api_object.of_marked: apps and nodes that may read differently now */
    struct a_list marked_endpoints;
    uint64_t sequence;                      /* of object changes */
    struct a_list streams;                  /* struct api_stream.link */
    struct a_list laters;                   /* struct api_later.link */
    struct d_eds *eds;                      /* api_eds.c */
    struct sys_timer tick;                  /* keep-alives, and streams to be cut */
    struct sys_timer look;                  /* something is marked, and somebody watches */
    uint64_t look_ms, look_took_ms, looked; /* looked: apps and nodes, in all */
    struct a_map tokens;                    /* struct api_token, by id */
    uint64_t wall_offset_ms; /* wall clock less loop clock, once: since-times must not flicker */
    uint64_t uploads;        /* numbers of temporary files */
    uint64_t requests, refused;
    bool stopping;
};

struct api_call {
    struct api *api;
    struct server *s;
    struct net_http_request *r;
    struct a_arena *arena;
    const struct api_route *route;
    struct a_view params[API_PARAMS_MAX];
    struct a_name namespace; /* of namespaced routes */
    enum api_role role;
    const char *scope; /* namespace that the token is for; NULL = all */
    bool failed;       /* found by `begin`; answered by `handle` */
    struct a_error error;
    struct api_replay *replay; /* of its Idempotency-Key; NULL = none, or answered */
    void *user;                /* the handler's own */
};

/* What a callback of the server is given: the call is still there, or the API stopped in between. */
void *api_later(struct api_call *c);
/* Ends the waiting; NULL when the API stopped. */
struct api_call *api_now(void *later);

/* ---- api.c: answering ---- */

/* Ends the call. */
void api_reply(struct api_call *c, const struct net_http_response *response);
void api_reply_value(struct api_call *c, unsigned status, const struct wire_value *v);
/* As above with an ETag. */
void api_reply_tagged(struct api_call *c, unsigned status, const struct wire_value *v, uint64_t revision);
/* `text` is JSON. */
void api_reply_json(struct api_call *c, unsigned status, struct a_view text);
void api_reply_error(struct api_call *c, const struct a_error *e);
void api_reply_problem(struct api_call *c, enum a_code code, const char *fmt, ...) A_PRINTF(3, 4);
void api_reply_problems(struct api_call *c, const struct wire_problems *p);
/* A copy with a zero at its end. */
const char *api_text(struct api_call *c, struct a_view v);
/* "" when it is not there. */
const char *api_param(struct api_call *c, size_t index);
const char *api_query(struct api_call *c, const char *name);
bool api_query_flag(struct api_call *c, const char *name);
/* The app that the path names; answers 404 and returns NULL when there is none. */
struct d_app *api_app(struct api_call *c);
/* The JSON object of the body; answers and returns NULL when it is none. An empty body is an empty object. */
struct wire_value *api_body(struct api_call *c);
/* Wall clock of a time of the loop's clock; 0 stays 0. */
uint64_t api_wall_ms(const struct api *a, uint64_t loop_ms);
void api_set_time(struct a_arena *arena, struct wire_value *v, const char *key,
                  uint64_t wall_ms); /* 0 = null */

/* ---- api_json.c: objects as trees. `full`: with what changes all the time ---- */

struct wire_value *api_json_app(const struct api *a, const struct d_app *app, struct a_arena *arena,
                                bool full);
struct wire_value *api_json_unit(const struct api *a, const struct d_app *app, const struct unit_info *u,
                                 struct a_arena *arena, bool full);
struct wire_value *api_json_node(const struct api *a, const struct sl_resource_node *node,
                                 struct a_arena *arena, bool full);
/* One replica, as who calls it directly must know it. */
struct wire_value *api_json_endpoint(const struct d_app *app, const struct wire_sl_endpoint *e,
                                     struct a_arena *arena);
struct wire_value *api_json_capacity(const struct a_capacity *c, struct a_arena *arena);
/* A condition as people read it; texts are copied. */
struct api_condition {
    const char *type;
    bool status;
    const char *reason, *message; /* NULL = null */
    uint64_t since_ms;            /* of the loop's clock; 0 = never */
};
struct wire_value *api_json_condition(const struct api *a, const struct api_condition *condition,
                                      struct a_arena *arena);
/* How requests ended over an hour and 30 days: api_top.c. */
struct wire_value *api_json_success(const struct d_app *app, struct a_arena *arena);
struct wire_value *api_json_event(const struct d_event *e, struct a_arena *arena);

/* ---- api_table.c: all objects, for lists and watches ---- */

void api_tables_init(struct api *a);
void api_tables_deinit(struct api *a);
/* Once the server has its apps. */
void api_tables_begin(struct api *a);
/* Looks at what was marked since (d_api_app_changed(), d_api_node_changed()); what reads differently has a
 * new sequence. */
void api_tables_look(struct api *a);
/* A cursor: this process and a sequence. False: of another process, or no cursor. */
const char *api_cursor(const struct api *a, uint64_t sequence, struct a_arena *arena);
bool api_cursor_parse(const struct api *a, const char *text, uint64_t *ret) A_MUST_CHECK;
/* Answers a list, or with ?watch a stream, of the objects whose key begins with `prefix`. */
void api_list(struct api_call *c, enum api_kind kind, const char *prefix);

/* ---- api_stream.c: server-sent events ---- */

void api_streams_begin(struct api *a);
/* The objects of the kind that changed behind `since`, and from then on as they change. */
void api_stream_objects(struct api_call *c, enum api_kind kind, const char *prefix, uint64_t since);
/* Events behind `since` of one app ("NS/APP/"), of a namespace ("NS/"), or of all (""). */
void api_stream_events(struct api_call *c, const char *prefix, uint64_t since);
/* Somebody watches apps, units or nodes: what is marked must be looked at. */
bool api_streams_watch(const struct api *a);
/* Somebody watches this kind. */
bool api_streams_watch_kind(const struct api *a, enum api_kind kind);
/* Tells all watchers of objects what is new to them. */
void api_streams_tell(struct api *a);
void api_streams_close(struct api *a);

/* ---- api_events.c ---- */

bool api_event_matches(const struct d_event *e, const char *prefix);
/* In order of sequence; the array is in `arena`. */
size_t api_events_collect(const struct api *a, const char *prefix, uint64_t since, struct a_arena *arena,
                          const struct d_event ***ret);

/* ---- api_replay.c: Idempotency-Key ---- */

/* Reads what the store remembers. */
int api_replays_open(struct server *s, struct a_error *reterr) A_MUST_CHECK;
/* No timer fires afterwards; d_replays_free() ends it. */
void api_replays_stop(struct server *s);
size_t api_replays_count(const struct server *s);
/* True when the call was answered as the first one was, or refused: that one is still under way, or was
 * another request. */
bool api_replay_begin(struct api_call *c);
/* For the transaction that carries the call out: that it was. The answer follows. NULL: it has no key. Stays
 * until the call is answered, and while the store is being closed. */
const struct store_write *api_replay_mark(const struct api_call *c);
/* The same with the answer, where it is known before: who repeats the call after a crash gets it. */
const struct store_write *api_replay_mark_answered(struct api_call *c,
                                                   const struct net_http_response *response);
/* The call's answer is remembered first, then sent: true. False: it is to be sent now. */
bool api_replay_end(struct api_call *c, const struct net_http_response *response);

/* ---- api_apps.c ---- */

void api_app_retell(struct api_call *c, uint64_t since_unix_ms);

/* ---- api_tokens.c ---- */

int api_tokens_load(struct api *a, struct a_error *reterr) A_MUST_CHECK;
void api_tokens_free(struct api *a);
/* Does this open the door for a new node or gateway? One that is good once is used up by it. */
bool api_join_token_take(struct api *a, struct a_view text);
/* Who asks: fills role and scope. */
int api_authorize(struct api_call *c, struct a_error *reterr) A_MUST_CHECK;

/* ---- api_eds.c: endpoints for Envoy ---- */

void api_eds_begin(struct api *a);
void api_eds_close(struct api *a);

/* ---- api_artifacts.c ---- */

/* In begin: takes the body in pieces to a file. */
void api_upload_begin(struct api_call *c);

/* ---- handlers: one per route ---- */

#define X(name, ...) void api_handle_##name(struct api_call *c);
API_ROUTES(X)
#undef X

#endif
