/* The API's door: requests, routes, who asks, answers. */
#include "daemon/server/api.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "net/problem.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"
#include "wire/url.h"

static void (*const handlers[])(struct api_call *c) = {
#define X(name, ...) [API_ROUTE_##name] = api_handle_##name,
    API_ROUTES(X)
#undef X
};

/* ---- answering ---- */

void api_reply(struct api_call *c, const struct net_http_response *response)
{
    a_error_deinit(&c->error);
    if (c->replay == NULL || !api_replay_end(c, response))
        net_http_reply(c->r, response);
}

void api_reply_json(struct api_call *c, unsigned status, struct a_view text)
{
    api_reply(
        c, &(struct net_http_response){.status = status, .content_type = "application/json", .body = text});
}

void api_reply_value(struct api_call *c, unsigned status, const struct wire_value *v)
{
    A_BUF_AUTO struct a_buf b = {0};
    wire_json_print(&b, v, 0);
    a_buf_add_char(&b, '\n');
    api_reply_json(c, status, a_buf_view(&b));
}

void api_reply_tagged(struct api_call *c, unsigned status, const struct wire_value *v, uint64_t revision)
{
    A_BUF_AUTO struct a_buf b = {0};
    char tag[32];
    snprintf(tag, sizeof tag, "\"%" PRIu64 "\"", revision);
    const struct net_http_header header = {"ETag", tag};
    wire_json_print(&b, v, 0);
    a_buf_add_char(&b, '\n');
    api_reply(c, &(struct net_http_response){.status = status,
                                             .content_type = "application/json",
                                             .headers = &header,
                                             .n_headers = 1,
                                             .body = a_buf_view(&b)});
}

static void error_print(struct api_call *c, struct a_buf *b, const struct a_error *e, const char *allow)
{
    const struct net_http_header headers[] = {{"WWW-Authenticate", "Bearer"}, {"Allow", allow}};
    unsigned status = (unsigned)a_code_http(e->code);
    bool has_allow = e->code == A_CODE_METHOD && allow != NULL, asks = e->code == A_CODE_UNAUTHORIZED;
    api_reply(c, &(struct net_http_response){.status = status,
                                             .content_type = NET_PROBLEM_TYPE,
                                             .headers = has_allow ? &headers[1] : headers,
                                             .n_headers = has_allow || asks ? 1 : 0,
                                             .body = a_buf_view(b)});
}

static void error_reply(struct api_call *c, const struct a_error *e, const char *allow)
{
    A_BUF_AUTO struct a_buf b = {0};
    c->api->refused++;
    net_problem_print(&b, e, NULL);
    error_print(c, &b, e, allow);
}

void api_reply_error(struct api_call *c, const struct a_error *e)
{
    error_reply(c, e, NULL);
}

void api_reply_problem(struct api_call *c, enum a_code code, const char *fmt, ...)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_BUF_AUTO struct a_buf b = {0};
    va_list args;
    va_start(args, fmt);
    a_buf_vaddf(&b, fmt, args);
    va_end(args);
    a_error_set(&e, code, "%s", b.ptr);
    api_reply_error(c, &e);
}

void api_reply_problems(struct api_call *c, const struct wire_problems *p)
{
    A_BUF_AUTO struct a_buf b = {0};
    size_t n = 0;
    struct net_problem *list = a_arena_alloc(c->arena, p->n_errors * sizeof *list);
    for (const struct wire_problem *u = p->first; u != NULL && n < p->n_errors; u = u->next)
        if (u->code != A_CODE_NONE)
            list[n++] = (struct net_problem){.error = {u->code, a_arena_strdup(c->arena, u->message)},
                                             .where = {u->field, u->line, u->column, u->hint}};
    a_assert(n > 0);
    c->api->refused++;
    net_problem_print_many(&b, list, n);
    error_print(c, &b, &list[0].error, NULL);
}

/* ---- what handlers ask of a call ---- */

const char *api_text(struct api_call *c, struct a_view v)
{
    return v.len > 0 ? a_arena_strndup(c->arena, v.ptr, v.len) : "";
}

const char *api_param(struct api_call *c, size_t index)
{
    a_assert(index < API_PARAMS_MAX);
    return api_text(c, c->params[index]);
}

const char *api_query(struct api_call *c, const char *name)
{
    struct a_view v;
    if (!wire_url_query_get(c->r->query, name, c->arena, &v))
        return "";
    return api_text(c, v);
}

bool api_query_flag(struct api_call *c, const char *name)
{
    struct a_view v;
    return wire_url_query_get(c->r->query, name, c->arena, &v) && !a_view_is(v, "0") &&
           !a_view_is(v, "false");
}

struct d_app *api_app(struct api_call *c)
{
    struct a_app_ref ref = {.namespace = c->namespace};
    struct d_app *app = a_name_parse(c->params[1], &ref.name) ? d_app_find(c->s, &ref) : NULL;
    if (app == NULL)
        api_reply_problem(c, A_CODE_NOT_FOUND, "no such app: %s/" A_VIEW_FMT, c->namespace.s,
                          A_VIEW_ARG(c->params[1]));
    return app;
}

struct wire_value *api_body(struct api_call *c)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct wire_value *v;
    if (c->r->body.len == 0)
        return wire_value_new_object(c->arena);
    if (wire_json_parse(c->arena, c->r->body, "body", NULL, &v, &e) != 0)
        api_reply_error(c, &e);
    else if (!wire_value_is(v, WIRE_VALUE_OBJECT))
        api_reply_problem(c, A_CODE_INVALID, "body: expected an object, not a %s",
                          wire_value_type_name(v->type));
    else
        return v;
    return NULL;
}

uint64_t api_wall_ms(const struct api *a, uint64_t loop_ms)
{
    return loop_ms != 0 ? loop_ms + a->wall_offset_ms : 0;
}

void api_set_time(struct a_arena *arena, struct wire_value *v, const char *key, uint64_t wall_ms)
{
    char text[SYS_RFC3339_LEN + 1];
    if (wall_ms == 0) {
        wire_value_set_null(arena, v, key);
        return;
    }
    sys_clock_print(wall_ms, text);
    wire_value_set_string(arena, v, key, text);
}

struct api_later {
    struct a_list link; /* of api.laters */
    struct api_call *call;
};

void *api_later(struct api_call *c)
{
    struct api_later *later = a_new(struct api_later);
    later->call = c;
    a_list_push_back(&c->api->laters, &later->link);
    return later;
}

struct api_call *api_now(void *ctx)
{
    struct api_later *later = ctx;
    struct api_call *c = later->call;
    a_list_remove(&later->link);
    a_free(later);
    return c;
}

/* ---- requests ---- */

static int content_check(struct api_call *c, struct a_error *reterr)
{
    struct a_view rest, type = net_http_request_header(c->r, "content-type");
    type = a_view_trim(a_view_split(type, ';', &rest));
    bool has_body = c->r->head->body != WIRE_HTTP_BODY_NONE &&
                    !(c->r->head->has_content_length && c->r->head->content_length == 0);
    if (c->route->body == API_BODY_BYTES && !has_body && !c->r->head->has_content_length)
        return a_fail(reterr, -EINVAL, A_CODE_LENGTH_REQUIRED,
                      "the artifact's bytes are the body, and there is none");
    if (c->route->body == API_BODY_JSON && has_body && !a_view_is_nocase(type, "application/json"))
        return a_fail(reterr, -EINVAL, A_CODE_MEDIA_TYPE,
                      "the body must be application/json, not \"" A_VIEW_FMT "\"", A_VIEW_ARG(type));
    return 0;
}

static int namespace_check(struct api_call *c, struct a_error *reterr)
{
    if (!api_route_is_namespaced(c->route))
        return 0;
    if (!a_name_parse(c->params[0], &c->namespace))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "\"" A_VIEW_FMT "\" is no namespace: a-z, 0-9 and inner '-', at most %d characters",
                      A_VIEW_ARG(c->params[0]), A_NAME_MAX);
    return 0;
}

/* Who has no token learns nothing of which paths there are. */
static int call_check(struct api_call *c, const char **ret_allow, struct a_error *reterr)
{
    A_ERROR_AUTO struct a_error lost = A_ERROR_NONE;
    int found =
        api_route_find(c->r->head->method_text, c->r->path, c->arena, &c->route, c->params, ret_allow, &lost);
    int rc = api_authorize(c, reterr);
    if (rc != 0)
        return rc;
    if (found != 0) {
        a_error_move(reterr, &lost);
        return found;
    }
    rc = namespace_check(c, reterr);
    return rc != 0 ? rc : content_check(c, reterr);
}

static void on_begin(void *ctx, struct net_http_request *r)
{
    struct api *a = ctx;
    struct api_call *c = a_arena_new(r->arena, struct api_call);
    const char *allow = NULL;
    *c = (struct api_call){.api = a, .s = a->s, .r = r, .arena = r->arena};
    r->user = c;
    a->requests++;
    int rc = call_check(c, &allow, &c->error);
    if (rc != 0 && (r->head->body != WIRE_HTTP_BODY_NONE || c->error.code == A_CODE_METHOD)) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        a_error_move(&e, &c->error);
        error_reply(c, &e, allow);
        return;
    }
    c->failed = rc != 0;
    if (!c->failed && c->route->body == API_BODY_BYTES)
        api_upload_begin(c);
}

static void on_handle(void *ctx, struct net_http_request *r)
{
    struct api_call *c = r->user;
    (void)ctx;
    if (c->failed) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        a_error_move(&e, &c->error);
        api_reply_error(c, &e);
        return;
    }
    if (api_replay_begin(c))
        return;
    handlers[c->route->id](c);
}

/* ---- start and stop ---- */

static int api_listen(struct api *a, struct a_error *reterr)
{
    struct sys_addr addr, bound;
    int rc = sys_addr_parse(a->s->options.api, &addr, reterr);
    if (rc == 0)
        rc = net_http_server_listen(a->http, &addr, NULL, &bound, reterr);
    if (rc != 0)
        return rc;
    a->port = sys_addr_port(&bound);
    return 0;
}

/* Uploads that a process before this one did not finish. */
static int uploads_clear(struct api *a, struct a_error *reterr)
{
    A_AUTOFREE char *dir = a_asprintf("%s/artifacts/tmp", a->s->options.data);
    int rc = sys_dir_remove(dir, reterr);
    if (rc == 0)
        rc = sys_dir_make(dir, 0700, reterr);
    return rc;
}

static void on_refused(void *ctx, enum net_refusal refusal, const char *peer, const char *why)
{
    d_refused(((struct api *)ctx)->s, refusal, peer, why);
}

int d_api_start(struct server *s, struct a_error *reterr)
{
    static const struct net_http_server_ops ops = {
        .handle = on_handle, .begin = on_begin, .refused = on_refused};
    const struct net_http_server_options options = {
        .body_max = API_BODY_MAX, .server_name = "astra/" ASTRA_VERSION, .tls = s->authority.api};
    struct api *a = a_new(struct api);
    a->s = s;
    s->api = a;
    a->wall_offset_ms = sys_clock_wall_ms() - sys_loop_now_ms(s->loop);
    a_list_init(&a->laters);
    api_streams_begin(a);
    api_eds_begin(a);
    api_tables_init(a);
    a->http = s->http = net_http_server_new(s->loop, &options, &ops, a);
    int rc = uploads_clear(a, reterr);
    if (rc == 0)
        rc = api_tokens_load(a, reterr);
    if (rc == 0)
        rc = api_replays_open(s, reterr);
    if (rc == 0)
        rc = api_listen(a, reterr);
    if (rc == 0)
        api_tables_begin(a);
    else
        d_api_stop(s);
    return rc;
}

/* Whoever still waits is told, and no callback that comes later finds the call. */
static void laters_end(struct api *a)
{
    struct a_list *link;
    while ((link = a_list_pop_front(&a->laters)) != NULL) {
        struct api_later *later = a_list_entry(link, struct api_later, link);
        api_reply_problem(later->call, A_CODE_UNAVAILABLE,
                          "the server stops; what was asked for may still be done");
        later->call = NULL;
    }
}

void d_api_stop(struct server *s)
{
    struct api *a = s->api;
    if (a == NULL)
        return;
    a->stopping = true;
    api_replays_stop(s);
    api_streams_close(a);
    api_eds_close(a);
    laters_end(a);
    net_http_server_free(a->http);
    api_tokens_free(a);
    api_tables_deinit(a);
    a_free(a);
    s->api = NULL;
    s->http = NULL;
}

uint16_t d_api_port(const struct server *s)
{
    return s->api->port;
}
