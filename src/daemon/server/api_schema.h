/* What bodies of the API look like: one table of objects and their fields, from which /openapi.json is made.
 * The table is held against real answers by tests/e2e/test_openapi.py. Pure. */
#ifndef A_DAEMON_SERVER_API_SCHEMA_H
#define A_DAEMON_SERVER_API_SCHEMA_H

#include "base/arena.h"
#include "wire/value.h"

/* X(NAME, "name in the document"): what a route takes or gives. Lists are made by api_schema.c's LIST. */
/* clang-format off */
#define API_SCHEMAS(X) \
    X(NONE, NULL) X(TEXT, NULL) X(BYTES, NULL) X(DOCUMENT, NULL) \
    X(PROBLEM, "Problem") X(PROBLEM_PART, "ProblemPart") X(CAPACITY, "Capacity") \
    X(VERSION, "Version") X(STATUS, "Status") X(GATEWAY, "Gateway") \
    X(METADATA, "Metadata") X(APP_SPEC, "AppSpec") X(APP_INPUT, "AppInput") X(APP, "App") X(APP_LIST, "AppList") \
    X(APP_STATUS, "AppStatus") X(UNIT_COUNTS, "UnitCounts") X(REQUEST_COUNTS, "RequestCounts") \
    X(FAILED_COUNTS, "FailedCounts") X(SUCCESS, "Success") X(SUCCESS_WINDOW, "SuccessWindow") \
    X(TOP, "Top") X(TOP_UNIT, "TopUnit") X(TOP_LIST, "TopList") \
    X(CONDITION, "Condition") X(DRY_RUN, "DryRun") X(APP_WRITTEN, "AppWritten") \
    X(SCALE, "Scale") X(UNDO, "Undo") X(REVISION, "Revision") X(REVISION_LIST, "RevisionList") \
    X(UNIT, "Unit") X(UNIT_LIST, "UnitList") X(MEMBER, "Member") X(ENDPOINT, "Endpoint") \
    X(APP_ENDPOINT, "AppEndpoint") X(APP_ENDPOINT_LIST, "EndpointList") \
    X(DISCOVERY_REQUEST, "DiscoveryRequest") X(DISCOVERY_RESPONSE, "DiscoveryResponse") \
    X(PLACEMENT, "Placement") X(PLACEMENT_NODE, "PlacementNode") X(EXPLANATION, "Explanation") \
    X(NODE, "Node") X(NODE_LIST, "NodeList") X(CLAIM, "Claim") X(CLUSTER, "Cluster") X(CLUSTER_LIST, "ClusterList") \
    X(CLUSTER_LIMITS, "ClusterLimits") X(PLACEMENT_LIMIT, "PlacementLimit") \
    X(CLUSTER_INPUT, "ClusterInput") X(KUBERNETES, "Kubernetes") X(KUBE_CONDITION, "KubernetesCondition") \
    X(KUBE_ACCESS, "KubernetesAccess") X(NAMED, "Named") \
    X(POOL, "Pool") X(POOL_LIST, "PoolList") X(POOL_INPUT, "PoolInput") X(POOL_SPEC, "PoolSpec") \
    X(POOL_STATUS, "PoolStatus") X(POOL_METADATA, "PoolMetadata") \
    X(UPGRADE, "Upgrade") X(UPGRADE_NODE, "UpgradeNode") X(UPGRADE_INPUT, "UpgradeInput") \
    X(EVENT, "Event") X(EVENT_LIST, "EventList") \
    X(ORPHAN, "Orphan") X(ORPHAN_LIST, "OrphanList") X(ORPHAN_CLAIM, "OrphanClaim") \
    X(ORPHAN_RELEASED, "OrphanReleased") \
    X(RECOVERED, "Recovered") X(RECOVERY, "Recovery") \
    X(TOKEN_REQUEST, "TokenRequest") X(TOKEN, "Token") X(TOKEN_LIST, "TokenList") \
    X(CA, "CertificateAuthority") X(IDENTITY, "Identity") X(NODE_IDENTITY, "NodeIdentity") \
    X(ARTIFACT, "Artifact") X(ARTIFACT_LIST, "ArtifactList")
/* clang-format on */

enum api_schema_id {
#define X(name, text) API_SCHEMA_##name,
    API_SCHEMAS(X)
#undef X
        API_SCHEMA_COUNT
};

/* NULL: it is no object of the document (no body, text, bytes, the document itself). */
const char *api_schema_name(enum api_schema_id id);
/* {"$ref": "#/components/schemas/NAME"} */
struct wire_value *api_schema_ref(struct a_arena *arena, enum api_schema_id id);
/* All of them, by name. */
struct wire_value *api_schemas_make(struct a_arena *arena);

#endif
