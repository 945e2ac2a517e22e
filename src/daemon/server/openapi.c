/* /openapi.json (OpenAPI 3.1): made from the table that routes requests and the table of schemas. */
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "daemon/server/api.h"
#include "wire/url.h"

/* Query parameters by the names that routes list. */
struct parameter {
    const char *name, *type, *about;
};

static const struct parameter parameters[] = {
    {"limit", "integer", "at most so many; 500 at most where there are pages"},
    {"continue", "string", "the page after this token"},
    {"watch", "boolean",
     "a stream of server-sent events instead of a list: put and delete with the object, or event"},
    {"since", "string", "a cursor: `revision` of a list, or an event's id. Too old: 410"},
    {"deadline", "string", "a duration: of a drain; the node ends then, empty or not"},
    {"dryRun", "boolean", "check only"},
    {"check", "boolean", "false: store without asking the cluster's API server first"},
    {"force", "boolean", "with the pools that are in it still"},
    {"unit", "string", "of this unit only"},
    {"member", "string", "of this member only"},
    {"file", "string", "one of the member's log files"},
    {"tail", "string", "only the end of each log: 64Ki"},
    {"previous", "boolean", "of the start before this one; of one that failed also when its node is gone"},
    {"follow", "boolean", "go on as they come"},
    {"prefix", "boolean", "each line says whose it is"},
};

static const struct parameter *parameter_find(struct a_view name)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(parameters); i++)
        if (a_view_is(name, parameters[i].name))
            return &parameters[i];
    a_assert(false); /* a word of the table of routes that is not in this one */
    return NULL;
}

static void parameter_add(struct a_arena *a, struct wire_value *list, const char *name, const char *in,
                          const char *type, const char *about)
{
    struct wire_value *v = wire_value_new_object(a), *schema = wire_value_new_object(a);
    wire_value_set_string(a, schema, "type", type);
    wire_value_set_string(a, v, "name", name);
    wire_value_set_string(a, v, "in", in);
    wire_value_set_bool(a, v, "required", strcmp(in, "path") == 0);
    wire_value_set(a, v, "schema", schema);
    if (about != NULL)
        wire_value_set_string(a, v, "description", about);
    wire_value_append(list, v);
}

static bool is_watched(const struct api_route *r)
{
    return strstr(r->query, "watch") != NULL;
}

static struct wire_value *parameters_make(struct a_arena *a, const struct api_route *r)
{
    struct wire_value *list = wire_value_new_array(a);
    struct a_view rest = a_view_str(r->path), word;
    while (wire_url_segment(&rest, &word))
        if (a_view_starts(word, "{"))
            parameter_add(a, list, a_arena_strndup(a, word.ptr + 1, word.len - 2), "path", "string", NULL);
    for (rest = a_view_str(r->query); rest.len > 0;) {
        word = a_view_split(rest, ' ', &rest);
        const struct parameter *p = parameter_find(word);
        parameter_add(a, list, p->name, "query", p->type, p->about);
    }
    if (is_watched(r))
        parameter_add(a, list, "Last-Event-ID", "header", "string", "as since");
    if (strcmp(r->method, "GET") != 0)
        parameter_add(a, list, "Idempotency-Key", "header", "string",
                      "the same request again gets the first answer, for 24 h; another one 422");
    if (r->gives == API_SCHEMA_APP || r->gives == API_SCHEMA_APP_WRITTEN)
        parameter_add(a, list, "If-Match", "header", "string",
                      "only if resourceVersion is still this one: else 412");
    return list;
}

/* ---- bodies ---- */

static void content_add(struct a_arena *a, struct wire_value *content, const char *type,
                        struct wire_value *schema)
{
    struct wire_value *v = wire_value_new_object(a);
    wire_value_set(a, v, "schema", schema);
    wire_value_set(a, content, type, v);
}

static struct wire_value *string_make(struct a_arena *a)
{
    struct wire_value *v = wire_value_new_object(a);
    wire_value_set_string(a, v, "type", "string");
    return v;
}

static struct wire_value *content_make(struct a_arena *a, enum api_schema_id id)
{
    struct wire_value *content = wire_value_new_object(a), *any;
    switch (id) {
    case API_SCHEMA_TEXT:
        content_add(a, content, "text/plain", string_make(a));
        break;
    case API_SCHEMA_BYTES:
        content_add(a, content, "application/octet-stream", wire_value_new_object(a));
        break;
    case API_SCHEMA_DOCUMENT:
        any = wire_value_new_object(a);
        wire_value_set_string(a, any, "type", "object");
        content_add(a, content, "application/json", any);
        break;
    default:
        content_add(a, content, "application/json", api_schema_ref(a, id));
    }
    return content;
}

static struct wire_value *response_make(struct a_arena *a, const char *about, struct wire_value *content)
{
    struct wire_value *v = wire_value_new_object(a);
    wire_value_set_string(a, v, "description", about);
    wire_value_set(a, v, "content", content);
    return v;
}

static bool creates(const struct api_route *r)
{
    return strcmp(r->method, "PUT") == 0 || r->id == API_ROUTE_TOKEN_CREATE;
}

static struct wire_value *responses_make(struct a_arena *a, const struct api_route *r)
{
    struct wire_value *v = wire_value_new_object(a), *content = content_make(a, r->gives),
                      *problem = wire_value_new_object(a);
    if (is_watched(r))
        content_add(a, content, "text/event-stream", string_make(a));
    content_add(a, problem, "application/problem+json", api_schema_ref(a, API_SCHEMA_PROBLEM));
    wire_value_set(a, v, "200", response_make(a, "done", content));
    if (creates(r))
        wire_value_set(a, v, "201", response_make(a, "made", content_make(a, r->gives)));
    wire_value_set(a, v, "default", response_make(a, "a problem (RFC 9457)", problem));
    return v;
}

/* ---- routes ---- */

/* appExplain of APP_EXPLAIN */
static const char *operation_name(struct a_arena *a, const char *name)
{
    char *out = a_arena_strdup(a, name), *to = out;
    for (const char *from = name; *from != '\0'; from++) {
        bool word = from > name && from[-1] == '_';
        if (*from != '_')
            *to++ = word || *from < 'A' || *from > 'Z' ? *from : (char)(*from - 'A' + 'a');
    }
    *to = '\0';
    return out;
}

static struct wire_value *security_make(struct a_arena *a, bool open)
{
    struct wire_value *list = wire_value_new_array(a), *v = wire_value_new_object(a);
    if (!open) {
        wire_value_set(a, v, "token", wire_value_new_array(a));
        wire_value_append(list, v);
    }
    return list;
}

static struct wire_value *operation_make(struct a_arena *a, const struct api_route *r)
{
    static const char *const names[] = {
#define X(name, ...) #name,
        API_ROUTES(X)
#undef X
    };
    struct wire_value *v = wire_value_new_object(a), *body;
    wire_value_set_string(a, v, "operationId", operation_name(a, names[r->id]));
    wire_value_set_string(a, v, "summary", r->about);
    wire_value_set_string(a, v, "x-astra-role", api_role_name(r->role));
    wire_value_set(a, v, "security", security_make(a, r->role == API_NOBODY));
    wire_value_set(a, v, "parameters", parameters_make(a, r));
    if (r->takes != API_SCHEMA_NONE) {
        body = wire_value_new_object(a);
        wire_value_set_bool(a, body, "required",
                            r->takes != API_SCHEMA_UNDO && r->takes != API_SCHEMA_TOKEN_REQUEST);
        wire_value_set(a, body, "content", content_make(a, r->takes));
        wire_value_set(a, v, "requestBody", body);
    }
    wire_value_set(a, v, "responses", responses_make(a, r));
    return v;
}

static struct wire_value *paths_make(struct a_arena *a)
{
    struct wire_value *paths = wire_value_new_object(a);
    for (size_t i = 0; i < API_ROUTE_COUNT; i++) {
        const struct api_route *r = api_route_at(i);
        struct wire_value *path = wire_value_get(paths, r->path);
        if (path == NULL) {
            path = wire_value_new_object(a);
            wire_value_set(a, paths, r->path, path);
        }
        wire_value_set(a, path, operation_name(a, r->method), operation_make(a, r));
    }
    return paths;
}

static struct wire_value *components_make(struct a_arena *a)
{
    struct wire_value *v = wire_value_new_object(a), *schemes = wire_value_new_object(a),
                      *token = wire_value_new_object(a);
    wire_value_set_string(a, token, "type", "http");
    wire_value_set_string(a, token, "scheme", "bearer");
    wire_value_set(a, schemes, "token", token);
    wire_value_set(a, v, "schemas", api_schemas_make(a));
    wire_value_set(a, v, "securitySchemes", schemes);
    return v;
}

void api_handle_OPENAPI(struct api_call *c)
{
    struct a_arena *a = c->arena;
    struct wire_value *v = wire_value_new_object(a), *info = wire_value_new_object(a);
    wire_value_set_string(a, info, "title", "Astra");
    wire_value_set_string(a, info, "version", ASTRA_VERSION);
    wire_value_set_string(a, info, "description",
                          "The API of `astra server`; docs/components/api.md has its rules.");
    wire_value_set_string(a, v, "openapi", "3.1.0");
    wire_value_set(a, v, "info", info);
    wire_value_set(a, v, "paths", paths_make(a));
    wire_value_set(a, v, "components", components_make(a));
    api_reply_value(c, 200, v);
}
