#include "daemon/server/api_route.h"

#include <errno.h>
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "wire/url.h"

static const struct api_route routes[] = {
#define X(name, method, path, role, body, takes, gives, query, about)                                        \
    {API_ROUTE_##name,   #method, path, API_##role, API_BODY_##body, API_SCHEMA_##takes,                     \
     API_SCHEMA_##gives, query,   about},
    API_ROUTES(X)
#undef X
};

static const char *const role_names[] = {"nobody", "join", "view", "deploy", "admin"};

const char *api_role_name(enum api_role role)
{
    return role_names[role];
}

bool api_role_parse(const char *word, enum api_role *ret)
{
    for (size_t i = API_JOIN; i < A_ARRAY_SIZE(role_names); i++) {
        if (strcmp(word, role_names[i]) == 0) {
            *ret = (enum api_role)i;
            return true;
        }
    }
    return false;
}

const struct api_route *api_route_at(size_t index)
{
    a_assert(index < A_ARRAY_SIZE(routes));
    return &routes[index];
}

bool api_route_is_namespaced(const struct api_route *route)
{
    return a_view_starts(a_view_str(route->path), "/v1/namespaces/");
}

static bool path_matches(const char *pattern, struct a_view path, struct a_view params[API_PARAMS_MAX])
{
    struct a_view rest = a_view_str(pattern), want, have;
    size_t n = 0;
    while (wire_url_segment(&rest, &want)) {
        if (!wire_url_segment(&path, &have) || have.len == 0)
            return false;
        if (a_view_starts(want, "{"))
            params[n++] = have;
        else if (!a_view_equal(want, have))
            return false;
    }
    return path.len == 0;
}

static bool params_decode(struct a_arena *arena, struct a_view params[API_PARAMS_MAX])
{
    for (size_t i = 0; i < API_PARAMS_MAX; i++)
        if (params[i].ptr != NULL && !wire_url_decode(params[i], false, arena, &params[i]))
            return false;
    return true;
}

static bool method_is(const struct api_route *route, struct a_view method)
{
    return a_view_is(method, route->method) ||
           (a_view_is(method, "HEAD") && strcmp(route->method, "GET") == 0);
}

/* "GET, HEAD, PUT": the methods that a path has. */
static const char *allow_list(struct a_arena *arena, struct a_view path)
{
    const char *allow = NULL;
    struct a_view params[API_PARAMS_MAX] = {{NULL, 0}};
    for (size_t i = 0; i < A_ARRAY_SIZE(routes); i++) {
        if (!path_matches(routes[i].path, path, params))
            continue;
        const char *word = strcmp(routes[i].method, "GET") == 0 ? "GET, HEAD" : routes[i].method;
        allow = allow == NULL ? word : a_arena_printf(arena, "%s, %s", allow, word);
    }
    return allow;
}

int api_route_find(struct a_view method, struct a_view path, struct a_arena *arena,
                   const struct api_route **ret, struct a_view ret_params[API_PARAMS_MAX],
                   const char **ret_allow, struct a_error *reterr)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(routes); i++) {
        struct a_view params[API_PARAMS_MAX] = {{NULL, 0}};
        if (!method_is(&routes[i], method) || !path_matches(routes[i].path, path, params))
            continue;
        if (!params_decode(arena, params))
            return a_fail(reterr, -EINVAL, A_CODE_INVALID, "the path has a broken escape");
        memcpy(ret_params, params, sizeof params);
        *ret = &routes[i];
        return 0;
    }
    const char *allow = allow_list(arena, path);
    if (allow == NULL)
        return a_fail(reterr, -ENOENT, A_CODE_NOT_FOUND, "no such path: " A_VIEW_FMT, A_VIEW_ARG(path));
    *ret_allow = allow;
    return a_fail(reterr, -EPERM, A_CODE_METHOD, A_VIEW_FMT " is not for this path; it has %s",
                  A_VIEW_ARG(method), allow);
}
