/* The API's table of paths and what each asks of its caller. Pure: tests/unit/test_api_route.c. */
#ifndef A_DAEMON_SERVER_API_ROUTE_H
#define A_DAEMON_SERVER_API_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/error.h"
#include "daemon/server/api_schema.h"
#include "wire/http1.h"

/* What a token may do; each from view on includes those before it. A join token opens Starlink for a new node
 * or gateway, and nothing of the API. */
enum api_role { API_NOBODY, API_JOIN, API_VIEW, API_DEPLOY, API_ADMIN };

const char *api_role_name(enum api_role role);
bool api_role_parse(const char *word, enum api_role *ret) A_MUST_CHECK;

/* What a route's body is. */
enum api_body { API_BODY_NONE, API_BODY_JSON, API_BODY_BYTES };

#define API_PARAMS_MAX 3

/* X(NAME, METHOD, "path", role, body, takes, gives, "query", "what it is for"): {word} stands for one
 * segment; `takes` and `gives` are of api_schema.h, the words of `query` of openapi.c. This table routes, and
 * makes /openapi.json. */
/* clang-format off */
#define API_ROUTES(X) \
    X(HEALTHZ, GET, "/healthz", NOBODY, NONE, NONE, TEXT, "", \
      "Answers while the loop turns") \
    X(OPENAPI, GET, "/openapi.json", VIEW, NONE, NONE, DOCUMENT, "", \
      "This document") \
    X(METRICS, GET, "/metrics", VIEW, NONE, NONE, TEXT, "", \
      "Prometheus text") \
    X(VERSION, GET, "/v1/version", VIEW, NONE, NONE, VERSION, "", \
      "Who this server is, and who asks") \
    X(STATUS, GET, "/v1/status", VIEW, NONE, NONE, STATUS, "", \
      "Counts by state, gateways, the store") \
    X(TOP, GET, "/v1/top", VIEW, NONE, NONE, TOP_LIST, "", \
      "What goes on now: rates, latencies, errors of apps and units") \
    X(APPS_ALL, GET, "/v1/apps", VIEW, NONE, NONE, APP_LIST, "limit continue watch since", \
      "Apps of all namespaces that the token is for") \
    X(UNITS_ALL, GET, "/v1/units", VIEW, NONE, NONE, UNIT_LIST, "limit continue watch since", \
      "Units of all namespaces that the token is for") \
    X(EVENTS_ALL, GET, "/v1/events", VIEW, NONE, NONE, EVENT_LIST, "limit watch since", \
      "What happened, everywhere") \
    X(NODES, GET, "/v1/nodes", VIEW, NONE, NONE, NODE_LIST, "limit continue watch since", \
      "Nodes with their claims") \
    X(NODE, GET, "/v1/nodes/{node}", VIEW, NONE, NONE, NODE, "", \
      "One node") \
    X(NODE_CORDON, POST, "/v1/nodes/{node}/cordon", ADMIN, NONE, NONE, NODE, "deadline", \
      "Place nothing new there") \
    X(NODE_UNCORDON, POST, "/v1/nodes/{node}/uncordon", ADMIN, NONE, NONE, NODE, "deadline", \
      "Place there again") \
    X(NODE_DRAIN, POST, "/v1/nodes/{node}/drain", ADMIN, NONE, NONE, NODE, "deadline", \
      "Move everything away") \
    X(NODE_UNDRAIN, POST, "/v1/nodes/{node}/undrain", ADMIN, NONE, NONE, NODE, "deadline", \
      "Take it into use again") \
    X(CLUSTERS, GET, "/v1/clusters", VIEW, NONE, NONE, CLUSTER_LIST, "", \
      "Sums over nodes") \
    X(CLUSTER, GET, "/v1/clusters/{cluster}", VIEW, NONE, NONE, CLUSTER, "", \
      "One cluster") \
    X(CLUSTER_PUT, PUT, "/v1/clusters/{cluster}", ADMIN, JSON, CLUSTER_INPUT, CLUSTER, "check", \
      "Add a Kubernetes cluster, or change what is known of it") \
    X(CLUSTER_DELETE, DELETE, "/v1/clusters/{cluster}", ADMIN, NONE, NONE, NAMED, "force", \
      "Forget a Kubernetes cluster; by force with its pools, untouched") \
    X(CLUSTER_LIMITS, GET, "/v1/clusters/{cluster}/limits", VIEW, NONE, NONE, CLUSTER_LIMITS, "", \
      "How much of the cluster may be used, and what a node there costs") \
    X(CLUSTER_LIMITS_PUT, PUT, "/v1/clusters/{cluster}/limits", ADMIN, JSON, CLUSTER_LIMITS, CLUSTER_LIMITS, "", \
      "Limits and price are to be like this; null or left out: none") \
    X(CLUSTER_DRAIN, POST, "/v1/clusters/{cluster}/drain", ADMIN, NONE, NONE, CLUSTER, "", \
      "Move everything out of the cluster, a tenth of its nodes at a time") \
    X(CLUSTER_UNDRAIN, POST, "/v1/clusters/{cluster}/undrain", ADMIN, NONE, NONE, CLUSTER, "", \
      "Take all its nodes into use again") \
    X(POOLS, GET, "/v1/pools", VIEW, NONE, NONE, POOL_LIST, "", \
      "Pools of pods in Kubernetes clusters") \
    X(POOL, GET, "/v1/pools/{pool}", VIEW, NONE, NONE, POOL, "", \
      "One pool") \
    X(POOL_PUT, PUT, "/v1/pools/{pool}", ADMIN, JSON, POOL_INPUT, POOL, "", \
      "The pool is to be like this") \
    X(POOL_DELETE, DELETE, "/v1/pools/{pool}", ADMIN, NONE, NONE, POOL, "", \
      "Empty it, delete its pods, forget it") \
    X(EDS, POST, "/v3/discovery:endpoints", VIEW, JSON, DISCOVERY_REQUEST, DISCOVERY_RESPONSE, "", \
      "Endpoints of apps for Envoy (xDS v3, REST-JSON): NAMESPACE/APP or NAMESPACE/APP/APPLICATION") \
    X(UPGRADE, GET, "/v1/upgrade", VIEW, NONE, NONE, UPGRADE, "", \
      "The upgrade of agents: what was asked for last, and how far it is") \
    X(UPGRADE_PUT, PUT, "/v1/upgrade", ADMIN, JSON, UPGRADE_INPUT, UPGRADE, "", \
      "Agents are to run this version, or this artifact") \
    X(UPGRADE_DELETE, DELETE, "/v1/upgrade", ADMIN, NONE, NONE, UPGRADE, "", \
      "No more nodes are upgraded") \
    X(ORPHANS, GET, "/v1/orphans", VIEW, NONE, NONE, ORPHAN_LIST, "", \
      "What runs that the store does not know") \
    X(ORPHAN_ADOPT, POST, "/v1/orphans/{namespace}/{app}/adopt", ADMIN, NONE, NONE, APP, "", \
      "Make it an app of this store again") \
    X(ORPHAN_RELEASE, POST, "/v1/orphans/{namespace}/{app}/release", ADMIN, NONE, NONE, ORPHAN_RELEASED, "", \
      "Drain and end it") \
    X(RECOVER, POST, "/v1/recover", ADMIN, NONE, NONE, RECOVERY, "", \
      "Adopt orphans, bring held apps up to what runs") \
    X(STORE_BACKUP, GET, "/v1/store/backup", ADMIN, NONE, NONE, BYTES, "", \
      "A copy of the store") \
    X(TOKENS, GET, "/v1/tokens", ADMIN, NONE, NONE, TOKEN_LIST, "", \
      "Tokens, without their secrets") \
    X(TOKEN_CREATE, POST, "/v1/tokens", ADMIN, JSON, TOKEN_REQUEST, TOKEN, "", \
      "Make a token; it is told once") \
    X(TOKEN_REVOKE, DELETE, "/v1/tokens/{token}", ADMIN, NONE, NONE, TOKEN, "", \
      "Make a token worthless") \
    X(CA, GET, "/v1/ca", NOBODY, NONE, NONE, CA, "", \
      "The certificates of the CA") \
    X(CA_ROTATE, POST, "/v1/ca/rotate", ADMIN, NONE, NONE, CA, "", \
      "A new CA") \
    X(IDENTITY_DENY, POST, "/v1/identities/{identity}/deny", ADMIN, NONE, NONE, IDENTITY, "", \
      "Refuse a node or gateway from now on") \
    X(IDENTITY_ALLOW, POST, "/v1/identities/{identity}/allow", ADMIN, NONE, NONE, IDENTITY, "", \
      "Let it in again") \
    X(APPS, GET, "/v1/namespaces/{namespace}/apps", VIEW, NONE, NONE, APP_LIST, "limit continue watch since", \
      "Apps") \
    X(APP, GET, "/v1/namespaces/{namespace}/apps/{app}", VIEW, NONE, NONE, APP, "", \
      "One app") \
    X(APP_PUT, PUT, "/v1/namespaces/{namespace}/apps/{app}", DEPLOY, JSON, APP_INPUT, APP_WRITTEN, "dryRun", \
      "Deploy: the app is to be like this") \
    X(APP_DELETE, DELETE, "/v1/namespaces/{namespace}/apps/{app}", DEPLOY, NONE, NONE, APP, "", \
      "Drain and forget it") \
    X(APP_SCALE, POST, "/v1/namespaces/{namespace}/apps/{app}/scale", DEPLOY, JSON, SCALE, APP, "", \
      "Another number of units, no new revision") \
    X(APP_UNDO, POST, "/v1/namespaces/{namespace}/apps/{app}/rollout/undo", DEPLOY, JSON, UNDO, APP, "", \
      "Back to a revision before") \
    X(APP_REVISIONS, GET, "/v1/namespaces/{namespace}/apps/{app}/revisions", VIEW, NONE, NONE, REVISION_LIST, "", \
      "Revisions, oldest first") \
    X(APP_EVENTS, GET, "/v1/namespaces/{namespace}/apps/{app}/events", VIEW, NONE, NONE, EVENT_LIST, \
      "limit watch since", \
      "What happened to the app") \
    X(APP_UNITS, GET, "/v1/namespaces/{namespace}/apps/{app}/units", VIEW, NONE, NONE, UNIT_LIST, \
      "limit continue watch since", \
      "Units of the app") \
    X(APP_UNIT, GET, "/v1/namespaces/{namespace}/apps/{app}/units/{unit}", VIEW, NONE, NONE, UNIT, "", \
      "One unit") \
    X(APP_ENDPOINTS, GET, "/v1/namespaces/{namespace}/apps/{app}/endpoints", VIEW, NONE, NONE, APP_ENDPOINT_LIST, \
      "limit continue watch since", \
      "The replicas that gateways send the app's requests to") \
    X(APP_LOGS, GET, "/v1/namespaces/{namespace}/apps/{app}/logs", VIEW, NONE, NONE, TEXT, \
      "unit member file tail previous follow prefix", \
      "What members print; a line is never torn") \
    X(APP_EXPLAIN, GET, "/v1/namespaces/{namespace}/apps/{app}/explain", VIEW, NONE, NONE, EXPLANATION, "unit", \
      "Why it is not as wanted") \
    X(UNITS, GET, "/v1/namespaces/{namespace}/units", VIEW, NONE, NONE, UNIT_LIST, "limit continue watch since", \
      "Units") \
    X(EVENTS, GET, "/v1/namespaces/{namespace}/events", VIEW, NONE, NONE, EVENT_LIST, "limit watch since", \
      "What happened in the namespace") \
    X(ARTIFACTS, GET, "/v1/namespaces/{namespace}/artifacts", VIEW, NONE, NONE, ARTIFACT_LIST, "", \
      "Artifacts by name") \
    X(ARTIFACT, GET, "/v1/namespaces/{namespace}/artifacts/{artifact}", VIEW, NONE, NONE, BYTES, "", \
      "The bytes") \
    X(ARTIFACT_PUT, PUT, "/v1/namespaces/{namespace}/artifacts/{artifact}", DEPLOY, BYTES, BYTES, ARTIFACT, "", \
      "Put bytes under a name")
/* clang-format on */

enum api_route_id {
#define X(name, ...) API_ROUTE_##name,
    API_ROUTES(X)
#undef X
        API_ROUTE_COUNT
};

struct api_route {
    enum api_route_id id;
    const char *method, *path;
    enum api_role role;
    enum api_body body;
    enum api_schema_id takes, gives;
    const char *query, *about;
};

/* In the order of the table; `index` below API_ROUTE_COUNT. */
const struct api_route *api_route_at(size_t index);

/* The first parameter is a namespace. */
bool api_route_is_namespaced(const struct api_route *route);
/* The route of a request and its decoded parameters (in `arena` where they had escapes). HEAD finds GET.
 * A_CODE_NOT_FOUND; A_CODE_METHOD with what is allowed there in ret_allow (a literal or in `arena`). */
int api_route_find(struct a_view method, struct a_view path, struct a_arena *arena,
                   const struct api_route **ret, struct a_view ret_params[API_PARAMS_MAX],
                   const char **ret_allow, struct a_error *reterr) A_MUST_CHECK;

#endif
