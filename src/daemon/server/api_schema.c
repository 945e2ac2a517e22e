#include "daemon/server/api_schema.h"

#include <string.h>

#include "base/assert.h"
#include "base/macro.h"
#include "daemon/server/traffic.h"
#include "kube/pool_spec.h"
#include "types/state.h"
#include "unit/app_schema.h"

enum type {
    STRING,
    INT,
    NUMBER,
    BOOL,
    TIME,   /* RFC 3339 */
    WORD,   /* one of `words` */
    OBJECT, /* `of` */
    LIST,   /* of `of` */
    TEXTS,  /* a list of texts */
    COUNTS, /* free keys, whole numbers */
    LABELS, /* free keys, texts */
};

/* A field is there unless it is OPTIONAL; it may be null only when it is NULLABLE. */
#define OPTIONAL .optional = true
#define NULLABLE .nullable = true

struct field {
    const char *name;
    enum type type;
    enum api_schema_id of;
    const char *const *words;
    bool optional, nullable;
    const char *doc;
};

#define F(field_name, field_type_, ...)                                                                      \
    {                                                                                                        \
        .name = field_name, .type = field_type_, __VA_ARGS__                                                 \
    }
#define END                                                                                                  \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }

/* Words end with NULL. */
#define X(name, number) #name,
static const char *const unit_states[] = {A_UNIT_STATES(X) NULL};
static const char *const member_states[] = {A_MEMBER_STATES(X) NULL};
static const char *const node_states[] = {A_NODE_STATES(X) NULL};
static const char *const claim_states[] = {A_CLAIM_STATES(X) NULL};
#undef X
#define X(name, text, number) text,
static const char *const reasons[] = {A_REASONS(X) NULL};
#undef X
static const char *const app_states[] = {"READY",   "ROLLING",  "RECOVERING", "DEGRADED", "FAILED",
                                         "STOPPED", "DELETING", "ORPHAN",     "HELD",     NULL};
static const char *const booleans[] = {"True", "False", NULL};
static const char *const roles[] = {"join", "view", "deploy", "admin", NULL};
static const char *const member_roles[] = {"head", "worker", NULL};
static const char *const routing[] = {"NONE", "UP", "DRAINING", "DEAD", "STALE", NULL};

static const struct field problem[] = {
    F("type", STRING, .doc = "urn:astra:problem:CODE"),
    F("code", STRING, .doc = "for programs; the list only grows"),
    F("title", STRING),
    F("status", INT, OPTIONAL),
    F("detail", STRING, .doc = "what is wrong, for people"),
    F("field", STRING, OPTIONAL, .doc = "which field of the body"),
    F("line", INT, OPTIONAL),
    F("column", INT, OPTIONAL),
    F("hint", STRING, OPTIONAL, .doc = "what to do"),
    F("errors", LIST, .of = API_SCHEMA_PROBLEM_PART, OPTIONAL,
      .doc = "every error, when there may be several"),
    END,
};

static const struct field problem_part[] = {
    F("code", STRING),
    F("detail", STRING),
    F("field", STRING, OPTIONAL),
    F("line", INT, OPTIONAL),
    F("column", INT, OPTIONAL),
    F("hint", STRING, OPTIONAL),
    END,
};

static const struct field capacity[] = {F("cpu", STRING, .doc = "cores: 2, 0.5"),
                                        F("memory", STRING, .doc = "2Gi"), F("disk", STRING), END};

/* clang-format off */
#define VERSION_FIELDS \
    F("version", STRING), F("bootId", STRING, .doc = "of the server's process: cursors belong to it"), \
    F("storeId", STRING), F("time", TIME)
/* clang-format on */

static const struct field version[] = {
    VERSION_FIELDS,
    F("role", WORD, .words = roles, .doc = "of the token that asks"),
    F("namespace", STRING, NULLABLE, .doc = "that the token is for; null = all"),
    END,
};

static const struct field status[] = {
    VERSION_FIELDS,
    F("started", TIME),
    F("storeRevision", INT),
    F("readOnly", BOOL, .doc = "the store's disk is full"),
    F("adopted", BOOL, .doc = "the nodes had time to come back: things are placed and released"),
    F("nodes", COUNTS, .doc = "by state"),
    F("cordoned", INT),
    F("claims", INT),
    F("apps", INT),
    F("orphans", INT),
    F("units", COUNTS, .doc = "by state"),
    F("gateways", LIST, .of = API_SCHEMA_GATEWAY),
    END,
};

static const struct field gateway[] = {
    F("name", STRING),     F("address", STRING),
    F("port", INT),        F("viewSent", INT, .doc = "number of the routes sent last"),
    F("viewApplied", INT), END};

static const struct field metadata[] = {
    F("name", STRING),
    F("namespace", STRING),
    F("uid", STRING, .doc = "another app of the same name has another"),
    F("generation", INT, .doc = "rises with each write"),
    F("resourceVersion", STRING, .doc = "for If-Match"),
    F("creationTimestamp", TIME, NULLABLE),
    F("labels", LABELS, OPTIONAL),
    F("annotations", LABELS, OPTIONAL),
    END,
};

static const struct field app[] = {
    F("apiVersion", STRING),
    F("kind", STRING),
    F("metadata", OBJECT, .of = API_SCHEMA_METADATA),
    F("spec", OBJECT, .of = API_SCHEMA_APP_SPEC, OPTIONAL, .doc = "an orphan's may not be known"),
    F("status", OBJECT, .of = API_SCHEMA_APP_STATUS),
    F("changed", BOOL, OPTIONAL, .doc = "answers to writes: it was not like this before"),
    F("newRevision", BOOL, OPTIONAL, .doc = "answers to writes"),
    END,
};

static const struct field app_status[] = {
    F("state", WORD, .words = app_states),
    F("observedGeneration", INT, OPTIONAL),
    F("revision", INT, OPTIONAL, .doc = "that units are brought to"),
    F("wantedRevision", INT, OPTIONAL),
    F("provenRevision", INT, OPTIONAL, .doc = "the last one that was wholly rolled out"),
    F("failedRevision", INT, OPTIONAL, .doc = "the last one given up; 0 = none"),
    F("rolling", BOOL, OPTIONAL, .doc = "units of another revision are still there"),
    F("units", OBJECT, .of = API_SCHEMA_UNIT_COUNTS, OPTIONAL),
    F("conditions", LIST, .of = API_SCHEMA_CONDITION, OPTIONAL),
    F("lastFailure", STRING, OPTIONAL, NULLABLE, .doc = "with Ray's own words"),
    F("orphan", BOOL),
    F("deleted", BOOL),
    F("requests", OBJECT, .of = API_SCHEMA_REQUEST_COUNTS, OPTIONAL, .doc = "not in lists"),
    F("success", OBJECT, .of = API_SCHEMA_SUCCESS, OPTIONAL, .doc = "not in lists"),
    END,
};

static const struct field unit_counts[] = {
    F("wanted", INT), F("ready", INT),    F("updated", INT), F("failed", INT),
    F("lost", INT),   F("draining", INT), F("total", INT),   END};

static const struct field request_counts[] = {
    F("total", INT, .doc = "since the server's start"),
    F("ok", INT),
    F("failed", OBJECT, .of = API_SCHEMA_FAILED_COUNTS),
    F("retried", INT),
    F("inFlight", INT),
    F("queued", INT),
    END,
};

static const struct field success[] = {F("hour", OBJECT, .of = API_SCHEMA_SUCCESS_WINDOW),
                                       F("month", OBJECT, .of = API_SCHEMA_SUCCESS_WINDOW, .doc = "30 days"),
                                       END};

static const struct field success_window[] = {
    F("ratio", NUMBER, NULLABLE, .doc = "good answers among those that were not the client's own doing"),
    F("requests", INT),
    F("failed", OBJECT, .of = API_SCHEMA_FAILED_COUNTS),
    END,
};

#define RATE_FIELDS                                                                                          \
    F("requestsPerSecond", NUMBER), F("errorsPerSecond", NUMBER), F("retriesPerSecond", NUMBER),             \
        F("p50Seconds", NUMBER, NULLABLE), F("p99Seconds", NUMBER, NULLABLE), F("inFlight", INT)

static const struct field top[] = {
    F("namespace", STRING),
    F("name", STRING),
    F("unitsReady", INT),
    F("unitsWanted", INT),
    RATE_FIELDS,
    F("queued", INT),
    F("success", OBJECT, .of = API_SCHEMA_SUCCESS),
    F("units", LIST, .of = API_SCHEMA_TOP_UNIT),
    END,
};

static const struct field top_unit[] = {F("name", STRING), F("state", WORD, .words = unit_states),
                                        RATE_FIELDS, END};

static const struct field top_list[] = {
    F("kind", STRING),
    F("seconds", INT, .doc = "over which the rates are"),
    F("items", LIST, .of = API_SCHEMA_TOP),
    END,
};

static const struct field condition[] = {
    F("type", STRING),
    F("status", WORD, .words = booleans),
    F("reason", WORD, .words = reasons),
    F("message", STRING, NULLABLE),
    F("since", TIME, NULLABLE),
    END,
};

static const struct field dry_run[] = {F("dryRun", BOOL), F("app", OBJECT, .of = API_SCHEMA_APP_INPUT),
                                       F("warnings", TEXTS), END};

static const struct field scale[] = {F("units", INT), END};
static const struct field undo[] = {
    F("to", INT, OPTIONAL, .doc = "a revision's number; without it the newest proven one before"), END};

static const struct field revision[] = {F("number", INT),
                                        F("created", TIME, NULLABLE),
                                        F("digest", STRING),
                                        F("cause", STRING, NULLABLE),
                                        F("current", BOOL),
                                        F("proven", BOOL),
                                        END};

static const struct field unit[] = {
    F("name", STRING),
    F("namespace", STRING),
    F("app", STRING),
    F("state", WORD, .words = unit_states),
    F("reason", WORD, .words = reasons),
    F("message", STRING, NULLABLE, .doc = "with Ray's own words"),
    F("since", TIME, NULLABLE),
    F("readySince", TIME, NULLABLE),
    F("retryAt", TIME, NULLABLE, .doc = "when it is tried again"),
    F("revision", INT),
    F("cluster", STRING, NULLABLE),
    F("failures", INT, .doc = "of the last ten minutes"),
    F("final", BOOL, .doc = "trying again is pointless, or the budget is spent"),
    F("routing", WORD, .words = routing),
    F("endpoints", LIST, .of = API_SCHEMA_ENDPOINT),
    F("node", STRING, OPTIONAL, NULLABLE, .doc = "of its head"),
    F("nodeName", STRING, OPTIONAL, NULLABLE),
    F("members", LIST, .of = API_SCHEMA_MEMBER),
    F("inFlight", INT, OPTIONAL, .doc = "not in lists"),
    F("placement", OBJECT, .of = API_SCHEMA_PLACEMENT, OPTIONAL, NULLABLE, .doc = "in explanations"),
    END,
};

static const struct field member[] = {
    F("name", STRING),
    F("role", WORD, .words = member_roles),
    F("state", WORD, .words = member_states),
    F("reason", WORD, .words = reasons),
    F("message", STRING, NULLABLE),
    F("since", TIME, NULLABLE),
    F("attempt", INT),
    F("node", STRING, NULLABLE),
    F("nodeName", STRING, NULLABLE),
    F("host", STRING, NULLABLE),
    F("cluster", STRING, NULLABLE),
    F("zone", STRING, NULLABLE),
    F("leaving", BOOL),
    F("claimState", WORD, .words = claim_states, OPTIONAL),
    F("capacity", OBJECT, .of = API_SCHEMA_CAPACITY, OPTIONAL),
    F("address", STRING, OPTIONAL),
    F("portBase", INT, OPTIONAL),
    F("pid", INT, OPTIONAL, .doc = "of its shim, on its node"),
    F("restarts", INT, OPTIONAL),
    END,
};

static const struct field endpoint[] = {F("name", STRING),        F("ip", STRING),    F("port", INT),
                                        F("application", STRING), F("healthy", BOOL), END};

static const struct field placement[] = {
    F("fits", BOOL, .doc = "it would be placed now"),
    F("member", STRING, OPTIONAL, .doc = "that finds no place"),
    F("wants", OBJECT, .of = API_SCHEMA_CAPACITY, OPTIONAL),
    F("nodesLookedAt", INT, OPTIONAL),
    F("counts", COUNTS, OPTIONAL, .doc = "nodes by what is against them"),
    F("nodes", LIST, .of = API_SCHEMA_PLACEMENT_NODE, OPTIONAL,
      .doc = "those that come nearest, nearest first"),
    F("limit", OBJECT, .of = API_SCHEMA_PLACEMENT_LIMIT, OPTIONAL,
      .doc = "of a cluster that would have room, and stands in the way"),
    END,
};

static const struct field placement_node[] = {F("node", STRING),
                                              F("name", STRING),
                                              F("cluster", STRING),
                                              F("why", STRING),
                                              F("message", STRING),
                                              F("free", OBJECT, .of = API_SCHEMA_CAPACITY),
                                              F("lacking", OBJECT, .of = API_SCHEMA_CAPACITY),
                                              END};

static const struct field explanation[] = {
    F("app", STRING, .doc = "NAMESPACE/NAME"),
    F("status", OBJECT, .of = API_SCHEMA_APP_STATUS),
    F("units", LIST, .of = API_SCHEMA_UNIT, .doc = "that are not as wanted"),
    F("lines", TEXTS, .doc = "the same for people"),
    F("events", LIST, .of = API_SCHEMA_EVENT),
    END,
};

static const struct field node[] = {
    F("id", STRING),
    F("name", STRING),
    F("state", WORD, .words = node_states),
    F("reason", WORD, .words = reasons),
    F("since", TIME, NULLABLE),
    F("cordoned", BOOL),
    F("exclusive", BOOL, .doc = "members of one namespace at a time"),
    F("connected", BOOL),
    F("cluster", STRING, NULLABLE),
    F("network", STRING, NULLABLE),
    F("zone", STRING, NULLABLE),
    F("host", STRING, NULLABLE),
    F("arch", STRING, NULLABLE, .doc = "its processor: amd64, arm64"),
    F("address", STRING, NULLABLE),
    F("capacity", OBJECT, .of = API_SCHEMA_CAPACITY),
    F("free", OBJECT, .of = API_SCHEMA_CAPACITY, .doc = "capacity less claims"),
    F("version", STRING, OPTIONAL, NULLABLE),
    F("labels", LABELS, OPTIONAL),
    F("identity", OBJECT, .of = API_SCHEMA_NODE_IDENTITY, OPTIONAL),
    F("used", OBJECT, .of = API_SCHEMA_CAPACITY, OPTIONAL, .doc = "really used; not in lists"),
    F("claims", LIST, .of = API_SCHEMA_CLAIM),
    F("load", INT, OPTIONAL, .doc = "0 idle ... 1000 full; not in lists"),
    END,
};

static const struct field claim[] = {
    F("namespace", STRING),
    F("app", STRING),
    F("unit", STRING),
    F("member", STRING),
    F("attempt", INT),
    F("state", WORD, .words = claim_states),
    F("memberState", WORD, .words = member_states),
    F("revision", INT),
    F("capacity", OBJECT, .of = API_SCHEMA_CAPACITY),
    F("orphan", BOOL),
    END,
};

static const struct field cluster[] = {
    F("name", STRING),
    F("nodes", INT),
    F("nodeStates", COUNTS),
    F("cordoned", INT),
    F("claims", INT),
    F("units", INT),
    F("capacity", OBJECT, .of = API_SCHEMA_CAPACITY),
    F("free", OBJECT, .of = API_SCHEMA_CAPACITY),
    F("draining", BOOL, .doc = "it is being emptied, or is"),
    F("limits", OBJECT, .of = API_SCHEMA_CLUSTER_LIMITS, OPTIONAL, .doc = "what `astra cluster set` said"),
    F("kubernetes", OBJECT, .of = API_SCHEMA_KUBERNETES, OPTIONAL,
      .doc = "what was added by `astra cluster add`"),
    END};

static const struct field cluster_limits[] = {
    F("maxNodes", INT, OPTIONAL, NULLABLE, .doc = "with claims on them; pods of its pools"),
    F("maxCpu", STRING, OPTIONAL, NULLABLE, .doc = "of all claims; of all pods of its pools"),
    F("maxMemory", STRING, OPTIONAL, NULLABLE, .doc = "of all claims; of all pods of its pools"),
    F("maxDevices", INT, OPTIONAL, NULLABLE, .doc = "of all pods of its pools"),
    F("price", NUMBER, OPTIONAL, NULLABLE, .doc = "of one node and hour, where its pool has no price"),
    END,
};

static const struct field placement_limit[] = {
    F("cluster", STRING), F("limit", STRING, .doc = "max-nodes, max-cpu or max-memory"),
    F("max", INT, .doc = "nodes, thousandths of a core, bytes"), F("used", INT), END};

static const struct field kubernetes[] = {
    F("server", STRING, NULLABLE),
    F("credentials", STRING, NULLABLE, .doc = "their kind; themselves they are never told"),
    F("expires", TIME, NULLABLE, .doc = "when the credentials end, where that is known"),
    F("namespace", STRING, NULLABLE, .doc = "of the lease by which one server at a time drives the cluster"),
    F("image", STRING, NULLABLE),
    F("joinAddress", STRING, NULLABLE),
    F("network", STRING, NULLABLE),
    F("serviceAccount", STRING, NULLABLE),
    F("created", TIME, NULLABLE),
    F("pools", TEXTS),
    F("conditions", LIST, .of = API_SCHEMA_KUBE_CONDITION),
    END,
};

static const struct field kube_condition[] = {
    F("type", STRING),    F("status", WORD, .words = booleans), F("reason", STRING),
    F("message", STRING), F("since", TIME, NULLABLE),           END,
};

static const struct field kube_access[] = {
    F("server", STRING),
    F("serverName", STRING, OPTIONAL,
      .doc = "that the server's certificate is for, where it is not its host"),
    F("proxy", STRING, OPTIONAL),
    F("namespace", STRING, OPTIONAL),
    F("insecure", BOOL, OPTIONAL, .doc = "the server's certificate is not checked"),
    F("ca", STRING, OPTIONAL, .doc = "PEM"),
    F("token", STRING, OPTIONAL),
    F("certificate", STRING, OPTIONAL, .doc = "PEM"),
    F("key", STRING, OPTIONAL, .doc = "PEM"),
    F("username", STRING, OPTIONAL),
    F("password", STRING, OPTIONAL),
    F("context", STRING, OPTIONAL),
    F("cluster", STRING, OPTIONAL),
    F("user", STRING, OPTIONAL),
    END,
};

static const struct field cluster_input[] = {
    F("credentials", OBJECT, .of = API_SCHEMA_KUBE_ACCESS, OPTIONAL, .doc = "they are never told again"),
    F("image", STRING, OPTIONAL, .doc = "of the agents"),
    F("joinAddress", STRING, OPTIONAL, .doc = "HOST:PORT of the server's Starlink, as pods reach it"),
    F("network", STRING, OPTIONAL, .doc = "of the nodes; the cluster's name where none is given"),
    F("serviceAccount", STRING, OPTIONAL, .doc = "of the pods"),
    END,
};

static const struct field named[] = {F("name", STRING), END};

static const struct field pool_metadata[] = {F("name", STRING),
                                             F("generation", INT),
                                             F("creationTimestamp", TIME, NULLABLE),
                                             F("labels", LABELS, OPTIONAL),
                                             F("annotations", LABELS, OPTIONAL),
                                             END};

static const struct field pool[] = {
    F("apiVersion", STRING),
    F("kind", STRING),
    F("metadata", OBJECT, .of = API_SCHEMA_POOL_METADATA),
    F("spec", OBJECT, .of = API_SCHEMA_POOL_SPEC),
    F("status", OBJECT, .of = API_SCHEMA_POOL_STATUS),
    END,
};

static const struct field pool_status[] = {
    F("pods", INT, .doc = "all that count for max"),
    F("joined", INT),
    F("free", INT),
    F("coming", INT),
    F("draining", INT),
    F("terminating", INT),
    F("outdated", INT),
    F("demand", INT, .doc = "more pods that would let what waits be placed"),
    F("deleting", BOOL),
    F("conditions", LIST, .of = API_SCHEMA_KUBE_CONDITION),
    END,
};

static const struct field event[] = {
    F("time", TIME),
    F("firstTime", TIME),
    F("count", INT),
    F("actor", STRING),
    F("namespace", STRING, NULLABLE),
    F("app", STRING, NULLABLE),
    F("object", STRING, NULLABLE),
    F("revision", INT),
    F("reason", WORD, .words = reasons),
    F("message", STRING, NULLABLE),
    END,
};

static const struct field orphan[] = {
    F("namespace", STRING),
    F("name", STRING),
    F("uid", STRING),
    F("adoptable", BOOL),
    F("claims", LIST, .of = API_SCHEMA_ORPHAN_CLAIM),
    END,
};

static const struct field orphan_claim[] = {
    F("unit", STRING),  F("member", STRING),
    F("node", STRING),  F("memberState", WORD, .words = member_states),
    F("revision", INT), END};

static const struct field orphan_released[] = {F("namespace", STRING), F("name", STRING), F("released", BOOL),
                                               END};

static const struct field recovered[] = {
    F("namespace", STRING),
    F("name", STRING),
    F("recovered", BOOL),
    F("later", BOOL, .doc = "not yet: ask again in a while"),
    F("message", STRING, .doc = "what was done, or why not"),
    END,
};

static const struct field token_request[] = {
    F("role", WORD, .words = roles, OPTIONAL),
    F("namespace", STRING, OPTIONAL, .doc = "* = all"),
    F("name", STRING, OPTIONAL, .doc = "for people"),
    F("expires", STRING, OPTIONAL, .doc = "a duration such as 12h"),
    F("once", BOOL, OPTIONAL, .doc = "join: good for one node or gateway"),
    END,
};

static const struct field ca[] = {
    F("kind", STRING),
    F("pin", STRING, .doc = "SHA-256 of the certificate that issues"),
    F("trusted", INT, .doc = "how many certificates are trusted"),
    F("notAfter", TIME),
    F("pem", STRING),
    END,
};

static const struct field identity[] = {
    F("id", STRING),
    F("denied", BOOL),
    END,
};

static const struct field node_identity[] = {
    F("notAfter", TIME, NULLABLE),
    F("expired", BOOL, .doc = "its certificate has ended; it is served as before"),
    END,
};

static const struct field token[] = {
    F("id", STRING),
    F("name", STRING, NULLABLE),
    F("namespace", STRING),
    F("role", WORD, .words = roles),
    F("created", TIME),
    F("expires", TIME, NULLABLE),
    F("token", STRING, OPTIONAL, .doc = "told once, when it is made"),
    END,
};

static const struct field artifact[] = {F("namespace", STRING),
                                        F("name", STRING),
                                        F("version", STRING),
                                        F("digest", STRING),
                                        F("bytes", INT),
                                        F("created", TIME, NULLABLE, OPTIONAL),
                                        END};

/* ---- the table: fields, or what a list has, or which of two ---- */

struct schema {
    const struct field *fields;
    enum api_schema_id items; /* a list of these */
    bool paged;               /* with a cursor and a continue token */
    bool dated;               /* with a cursor */
    enum api_schema_id any_of[2];
};

static const struct schema schemas[API_SCHEMA_COUNT] = {
    [API_SCHEMA_PROBLEM] = {.fields = problem},
    [API_SCHEMA_PROBLEM_PART] = {.fields = problem_part},
    [API_SCHEMA_CAPACITY] = {.fields = capacity},
    [API_SCHEMA_VERSION] = {.fields = version},
    [API_SCHEMA_STATUS] = {.fields = status},
    [API_SCHEMA_GATEWAY] = {.fields = gateway},
    [API_SCHEMA_METADATA] = {.fields = metadata},
    [API_SCHEMA_APP] = {.fields = app},
    [API_SCHEMA_APP_LIST] = {.items = API_SCHEMA_APP, .paged = true, .dated = true},
    [API_SCHEMA_APP_STATUS] = {.fields = app_status},
    [API_SCHEMA_UNIT_COUNTS] = {.fields = unit_counts},
    [API_SCHEMA_REQUEST_COUNTS] = {.fields = request_counts},
    [API_SCHEMA_SUCCESS] = {.fields = success},
    [API_SCHEMA_SUCCESS_WINDOW] = {.fields = success_window},
    [API_SCHEMA_TOP] = {.fields = top},
    [API_SCHEMA_TOP_UNIT] = {.fields = top_unit},
    [API_SCHEMA_TOP_LIST] = {.fields = top_list},
    [API_SCHEMA_CONDITION] = {.fields = condition},
    [API_SCHEMA_DRY_RUN] = {.fields = dry_run},
    [API_SCHEMA_APP_WRITTEN] = {.any_of = {API_SCHEMA_APP, API_SCHEMA_DRY_RUN}},
    [API_SCHEMA_SCALE] = {.fields = scale},
    [API_SCHEMA_UNDO] = {.fields = undo},
    [API_SCHEMA_REVISION] = {.fields = revision},
    [API_SCHEMA_REVISION_LIST] = {.items = API_SCHEMA_REVISION},
    [API_SCHEMA_UNIT] = {.fields = unit},
    [API_SCHEMA_UNIT_LIST] = {.items = API_SCHEMA_UNIT, .paged = true, .dated = true},
    [API_SCHEMA_MEMBER] = {.fields = member},
    [API_SCHEMA_ENDPOINT] = {.fields = endpoint},
    [API_SCHEMA_PLACEMENT] = {.fields = placement},
    [API_SCHEMA_PLACEMENT_NODE] = {.fields = placement_node},
    [API_SCHEMA_EXPLANATION] = {.fields = explanation},
    [API_SCHEMA_NODE] = {.fields = node},
    [API_SCHEMA_NODE_LIST] = {.items = API_SCHEMA_NODE, .paged = true, .dated = true},
    [API_SCHEMA_CLAIM] = {.fields = claim},
    [API_SCHEMA_CLUSTER] = {.fields = cluster},
    [API_SCHEMA_CLUSTER_LIMITS] = {.fields = cluster_limits},
    [API_SCHEMA_PLACEMENT_LIMIT] = {.fields = placement_limit},
    [API_SCHEMA_CLUSTER_LIST] = {.items = API_SCHEMA_CLUSTER},
    [API_SCHEMA_CLUSTER_INPUT] = {.fields = cluster_input},
    [API_SCHEMA_KUBERNETES] = {.fields = kubernetes},
    [API_SCHEMA_KUBE_CONDITION] = {.fields = kube_condition},
    [API_SCHEMA_KUBE_ACCESS] = {.fields = kube_access},
    [API_SCHEMA_NAMED] = {.fields = named},
    [API_SCHEMA_POOL] = {.fields = pool},
    [API_SCHEMA_POOL_LIST] = {.items = API_SCHEMA_POOL},
    [API_SCHEMA_POOL_METADATA] = {.fields = pool_metadata},
    [API_SCHEMA_POOL_STATUS] = {.fields = pool_status},
    [API_SCHEMA_EVENT] = {.fields = event},
    [API_SCHEMA_EVENT_LIST] = {.items = API_SCHEMA_EVENT, .dated = true},
    [API_SCHEMA_ORPHAN] = {.fields = orphan},
    [API_SCHEMA_ORPHAN_LIST] = {.items = API_SCHEMA_ORPHAN},
    [API_SCHEMA_ORPHAN_CLAIM] = {.fields = orphan_claim},
    [API_SCHEMA_ORPHAN_RELEASED] = {.fields = orphan_released},
    [API_SCHEMA_RECOVERED] = {.fields = recovered},
    [API_SCHEMA_RECOVERY] = {.items = API_SCHEMA_RECOVERED},
    [API_SCHEMA_TOKEN_REQUEST] = {.fields = token_request},
    [API_SCHEMA_TOKEN] = {.fields = token},
    [API_SCHEMA_TOKEN_LIST] = {.items = API_SCHEMA_TOKEN},
    [API_SCHEMA_CA] = {.fields = ca},
    [API_SCHEMA_IDENTITY] = {.fields = identity},
    [API_SCHEMA_NODE_IDENTITY] = {.fields = node_identity},
    [API_SCHEMA_ARTIFACT] = {.fields = artifact},
    [API_SCHEMA_ARTIFACT_LIST] = {.items = API_SCHEMA_ARTIFACT},
};

const char *api_schema_name(enum api_schema_id id)
{
    static const char *const names[] = {
#define X(name, text) text,
        API_SCHEMAS(X)
#undef X
    };
    a_assert((unsigned)id < API_SCHEMA_COUNT);
    return names[id];
}

struct wire_value *api_schema_ref(struct a_arena *arena, enum api_schema_id id)
{
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "$ref",
                          a_arena_printf(arena, "#/components/schemas/%s", api_schema_name(id)));
    return v;
}

/* ---- fields as JSON Schema ---- */

static struct wire_value *type_make(struct a_arena *arena, const char *type)
{
    struct wire_value *v = wire_value_new_object(arena);
    wire_value_set_string(arena, v, "type", type);
    return v;
}

static struct wire_value *array_make(struct a_arena *arena, struct wire_value *items)
{
    struct wire_value *v = type_make(arena, "array");
    wire_value_set(arena, v, "items", items);
    return v;
}

static struct wire_value *map_make(struct a_arena *arena, const char *type)
{
    struct wire_value *v = type_make(arena, "object");
    wire_value_set(arena, v, "additionalProperties", type_make(arena, type));
    return v;
}

static struct wire_value *words_make(struct a_arena *arena, const char *const *words)
{
    struct wire_value *v = type_make(arena, "string"), *list = wire_value_new_array(arena);
    for (; *words != NULL; words++)
        wire_value_append(list, wire_value_new_string(arena, *words));
    wire_value_set(arena, v, "enum", list);
    return v;
}

static struct wire_value *field_type(struct a_arena *arena, const struct field *f)
{
    struct wire_value *v;
    switch (f->type) {
    case STRING:
        return type_make(arena, "string");
    case INT:
        return type_make(arena, "integer");
    case NUMBER:
        return type_make(arena, "number");
    case BOOL:
        return type_make(arena, "boolean");
    case TIME:
        v = type_make(arena, "string");
        wire_value_set_string(arena, v, "format", "date-time");
        return v;
    case WORD:
        return words_make(arena, f->words);
    case OBJECT:
        return api_schema_ref(arena, f->of);
    case LIST:
        return array_make(arena, api_schema_ref(arena, f->of));
    case TEXTS:
        return array_make(arena, type_make(arena, "string"));
    case COUNTS:
        return map_make(arena, "integer");
    case LABELS:
        return map_make(arena, "string");
    }
    return wire_value_new_object(arena); /* every kind was there */
}

static struct wire_value *or_null(struct a_arena *arena, struct wire_value *v)
{
    struct wire_value *any = wire_value_new_object(arena), *list = wire_value_new_array(arena);
    wire_value_append(list, v);
    wire_value_append(list, type_make(arena, "null"));
    wire_value_set(arena, any, "anyOf", list);
    return any;
}

static struct wire_value *object_open(struct a_arena *arena, struct wire_value **ret_properties,
                                      struct wire_value **ret_required)
{
    struct wire_value *v = type_make(arena, "object");
    *ret_properties = wire_value_new_object(arena);
    *ret_required = wire_value_new_array(arena);
    wire_value_set(arena, v, "properties", *ret_properties);
    wire_value_set(arena, v, "required", *ret_required);
    wire_value_set_bool(arena, v, "additionalProperties", false);
    return v;
}

static struct wire_value *object_make(struct a_arena *arena, const struct field *fields)
{
    struct wire_value *properties, *required, *v = object_open(arena, &properties, &required);
    for (const struct field *f = fields; f->name != NULL; f++) {
        struct wire_value *type = field_type(arena, f);
        if (f->nullable)
            type = or_null(arena, type);
        if (f->doc != NULL)
            wire_value_set_string(arena, type, "description", f->doc);
        wire_value_set(arena, properties, f->name, type);
        if (!f->optional)
            wire_value_append(required, wire_value_new_string(arena, f->name));
    }
    return v;
}

/* How requests failed, from the table of outcomes. */
static struct wire_value *failed_make(struct a_arena *arena)
{
    struct wire_value *properties, *required, *v = object_open(arena, &properties, &required);
    for (int i = D_OUTCOME_OK + 1; i < D_OUTCOME_COUNT; i++) {
        const char *name = d_outcome_name((enum d_outcome)i);
        wire_value_set(arena, properties, name, type_make(arena, "integer"));
        wire_value_append(required, wire_value_new_string(arena, name));
    }
    return v;
}

static struct wire_value *list_make(struct a_arena *arena, const struct schema *s, const char *name)
{
    struct wire_value *properties, *required, *v = object_open(arena, &properties, &required);
    const char *const kind[] = {name, NULL};
    wire_value_set(arena, properties, "kind", words_make(arena, kind));
    wire_value_set(arena, properties, "items", array_make(arena, api_schema_ref(arena, s->items)));
    wire_value_append(required, wire_value_new_string(arena, "kind"));
    wire_value_append(required, wire_value_new_string(arena, "items"));
    if (s->dated)
        wire_value_set(arena, properties, "revision", type_make(arena, "string"));
    if (s->paged)
        wire_value_set(arena, properties, "continue", or_null(arena, type_make(arena, "string")));
    return v;
}

/* ---- the app as it is written: from the table that the checker reads ---- */

static struct wire_value *spec_type(struct a_arena *arena, const struct wire_field *f, enum wire_kind kind);

static struct wire_value *spec_object(struct a_arena *arena, const struct wire_field *fields)
{
    struct wire_value *properties, *required, *v = object_open(arena, &properties, &required);
    for (const struct wire_field *f = fields; f != NULL && f->name != NULL; f++) {
        struct wire_value *type = spec_type(arena, f, f->kind);
        if (f->nullable)
            type = or_null(arena, type);
        if (f->doc != NULL)
            wire_value_set_string(arena, type, "description", f->doc);
        wire_value_set(arena, properties, f->name, type);
        if (f->fallback == NULL)
            wire_value_append(required, wire_value_new_string(arena, f->name));
    }
    return v;
}

/* Quantities are texts; the checker takes bare numbers, too. */
static struct wire_value *quantity_make(struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena), *types = wire_value_new_array(arena);
    wire_value_append(types, wire_value_new_string(arena, "string"));
    wire_value_append(types, wire_value_new_string(arena, "number"));
    wire_value_set(arena, v, "type", types);
    return v;
}

static struct wire_value *spec_type(struct a_arena *arena, const struct wire_field *f, enum wire_kind kind)
{
    struct wire_value *v;
    switch (kind) {
    case WIRE_ANY:
        return wire_value_new_object(arena);
    case WIRE_STRING:
    case WIRE_LABEL:
        return type_make(arena, "string");
    case WIRE_BOOL:
        return type_make(arena, "boolean");
    case WIRE_INT:
        return type_make(arena, "integer");
    case WIRE_NUMBER:
        return type_make(arena, "number");
    case WIRE_BYTES:
    case WIRE_CPU:
    case WIRE_DURATION:
        return quantity_make(arena);
    case WIRE_WORD:
        return words_make(arena, f->words);
    case WIRE_OBJECT:
        return f->fields != NULL ? spec_object(arena, f->fields) : type_make(arena, "object");
    case WIRE_LIST:
        return array_make(arena, spec_type(arena, f, f->item));
    case WIRE_MAP:
        v = type_make(arena, "object");
        wire_value_set(arena, v, "additionalProperties", spec_type(arena, f, f->item));
        return v;
    }
    return wire_value_new_object(arena); /* every kind was there */
}

static struct wire_value *any_of_make(struct a_arena *arena, const struct schema *s)
{
    struct wire_value *v = wire_value_new_object(arena), *list = wire_value_new_array(arena);
    wire_value_append(list, api_schema_ref(arena, s->any_of[0]));
    wire_value_append(list, api_schema_ref(arena, s->any_of[1]));
    wire_value_set(arena, v, "anyOf", list);
    return v;
}

static struct wire_value *schema_make(struct a_arena *arena, enum api_schema_id id)
{
    const struct schema *s = &schemas[id];
    if (id == API_SCHEMA_APP_SPEC)
        return spec_object(arena, wire_schema_field(&unit_app_schema, "spec")->fields);
    if (id == API_SCHEMA_APP_INPUT)
        return spec_object(arena, unit_app_schema.object.fields);
    if (id == API_SCHEMA_POOL_SPEC)
        return spec_object(arena, wire_schema_field(&kube_pool_schema, "spec")->fields);
    if (id == API_SCHEMA_POOL_INPUT)
        return spec_object(arena, kube_pool_schema.object.fields);
    if (id == API_SCHEMA_FAILED_COUNTS)
        return failed_make(arena);
    if (s->items != API_SCHEMA_NONE)
        return list_make(arena, s, api_schema_name(id));
    if (s->fields == NULL)
        return any_of_make(arena, s);
    return object_make(arena, s->fields);
}

struct wire_value *api_schemas_make(struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    for (int i = 0; i < API_SCHEMA_COUNT; i++)
        if (api_schema_name((enum api_schema_id)i) != NULL)
            wire_value_set(arena, v, api_schema_name((enum api_schema_id)i),
                           schema_make(arena, (enum api_schema_id)i));
    return v;
}
