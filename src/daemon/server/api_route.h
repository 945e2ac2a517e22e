/* The API's table of paths and what each asks of its caller. Pure: tests/unit/test_api_route.c. */
#ifndef A_DAEMON_SERVER_API_ROUTE_H
#define A_DAEMON_SERVER_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "wire/http1.h"

/* What a token may do; each includes those before it. */
enum api_role { API_NOBODY, API_VIEW, API_DEPLOY, API_ADMIN };

const char *api_role_name(enum api_role role);
bool api_role_parse(const char *word, enum api_role *ret) A_MUST_CHECK;

/* What a route's body is. */
enum api_body { API_BODY_NONE, API_BODY_JSON, API_BODY_BYTES };

#define API_PARAMS_MAX 3

/* X(NAME, METHOD, "path", role, body): {} stands for one segment. */
/* clang-format off */
#define API_ROUTES(X) \
    X(HEALTHZ, GET, "/healthz", NOBODY, NONE) \
    X(METRICS, GET, "/metrics", VIEW, NONE) \
    X(VERSION, GET, "/v1/version", VIEW, NONE) \
    X(STATUS, GET, "/v1/status", VIEW, NONE) \
    X(APPS_ALL, GET, "/v1/apps", VIEW, NONE) \
    X(UNITS_ALL, GET, "/v1/units", VIEW, NONE) \
    X(EVENTS_ALL, GET, "/v1/events", VIEW, NONE) \
    X(NODES, GET, "/v1/nodes", VIEW, NONE) \
    X(NODE, GET, "/v1/nodes/{}", VIEW, NONE) \
    X(NODE_CORDON, POST, "/v1/nodes/{}/cordon", ADMIN, NONE) \
    X(NODE_UNCORDON, POST, "/v1/nodes/{}/uncordon", ADMIN, NONE) \
    X(NODE_DRAIN, POST, "/v1/nodes/{}/drain", ADMIN, NONE) \
    X(NODE_UNDRAIN, POST, "/v1/nodes/{}/undrain", ADMIN, NONE) \
    X(CLUSTERS, GET, "/v1/clusters", VIEW, NONE) \
    X(ORPHANS, GET, "/v1/orphans", VIEW, NONE) \
    X(ORPHAN_ADOPT, POST, "/v1/orphans/{}/{}/adopt", ADMIN, NONE) \
    X(ORPHAN_RELEASE, POST, "/v1/orphans/{}/{}/release", ADMIN, NONE) \
    X(TOKENS, GET, "/v1/tokens", ADMIN, NONE) \
    X(TOKEN_CREATE, POST, "/v1/tokens", ADMIN, JSON) \
    X(TOKEN_REVOKE, DELETE, "/v1/tokens/{}", ADMIN, NONE) \
    X(APPS, GET, "/v1/namespaces/{}/apps", VIEW, NONE) \
    X(APP, GET, "/v1/namespaces/{}/apps/{}", VIEW, NONE) \
    X(APP_PUT, PUT, "/v1/namespaces/{}/apps/{}", DEPLOY, JSON) \
    X(APP_DELETE, DELETE, "/v1/namespaces/{}/apps/{}", DEPLOY, NONE) \
    X(APP_SCALE, POST, "/v1/namespaces/{}/apps/{}/scale", DEPLOY, JSON) \
    X(APP_UNDO, POST, "/v1/namespaces/{}/apps/{}/rollout/undo", DEPLOY, JSON) \
    X(APP_REVISIONS, GET, "/v1/namespaces/{}/apps/{}/revisions", VIEW, NONE) \
    X(APP_EVENTS, GET, "/v1/namespaces/{}/apps/{}/events", VIEW, NONE) \
    X(APP_UNITS, GET, "/v1/namespaces/{}/apps/{}/units", VIEW, NONE) \
    X(APP_UNIT, GET, "/v1/namespaces/{}/apps/{}/units/{}", VIEW, NONE) \
    X(APP_LOGS, GET, "/v1/namespaces/{}/apps/{}/logs", VIEW, NONE) \
    X(APP_EXPLAIN, GET, "/v1/namespaces/{}/apps/{}/explain", VIEW, NONE) \
    X(UNITS, GET, "/v1/namespaces/{}/units", VIEW, NONE) \
    X(EVENTS, GET, "/v1/namespaces/{}/events", VIEW, NONE) \
    X(ARTIFACTS, GET, "/v1/namespaces/{}/artifacts", VIEW, NONE) \
    X(ARTIFACT, GET, "/v1/namespaces/{}/artifacts/{}", VIEW, NONE) \
    X(ARTIFACT_PUT, PUT, "/v1/namespaces/{}/artifacts/{}", DEPLOY, BYTES)
/* clang-format on */

enum api_route_id {
#define X(name, method, path, role, body) API_ROUTE_##name,
    API_ROUTES(X)
#undef X
        API_ROUTE_COUNT
};

struct api_route {
    enum api_route_id id;
    const char *method, *path;
    enum api_role role;
    enum api_body body;
};

/* The first parameter is a namespace. */
bool api_route_is_namespaced(const struct api_route *route);
/* The route of a request and its decoded parameters (in `arena` where they had escapes). HEAD finds GET.
 * A_CODE_NOT_FOUND; A_CODE_METHOD with what is allowed there in ret_allow (a literal or in `arena`). */
int api_route_find(struct a_view method, struct a_view path, struct a_arena *arena,
                   const struct api_route **ret, struct a_view ret_params[API_PARAMS_MAX],
                   const char **ret_allow, struct a_error *reterr) A_MUST_CHECK;

#endif
