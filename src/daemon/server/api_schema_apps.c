/* Apps, their revisions, units and placement in bodies of the API. */
#include "daemon/server/api_schema_table.h"
#include "types/state.h"

/* Words end with NULL. */
#define X(name, number) #name,
static const char *const unit_states[] = {A_UNIT_STATES(X) NULL};
#undef X
static const char *const app_states[] = {"READY",   "ROLLING",  "RECOVERING", "DEGRADED", "FAILED",
                                         "STOPPED", "DELETING", "ORPHAN",     "HELD",     NULL};
static const char *const member_roles[] = {"head", "worker", NULL};
static const char *const routing[] = {"NONE", "UP", "DRAINING", "DEAD", "STALE", NULL};

static const struct api_field metadata[] = {
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

static const struct api_field app[] = {
    F("apiVersion", STRING),
    F("kind", STRING),
    F("metadata", OBJECT, .of = API_SCHEMA_METADATA),
    F("spec", OBJECT, .of = API_SCHEMA_APP_SPEC, OPTIONAL, .doc = "an orphan's may not be known"),
    F("status", OBJECT, .of = API_SCHEMA_APP_STATUS),
    F("changed", BOOL, OPTIONAL, .doc = "answers to writes: it was not like this before"),
    F("newRevision", BOOL, OPTIONAL, .doc = "answers to writes"),
    END,
};

static const struct api_field app_status[] = {
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

static const struct api_field unit_counts[] = {
    F("wanted", INT), F("ready", INT),    F("updated", INT), F("failed", INT),
    F("lost", INT),   F("draining", INT), F("total", INT),   END};

static const struct api_field request_counts[] = {
    F("total", INT, .doc = "since the server's start"),
    F("ok", INT),
    F("failed", OBJECT, .of = API_SCHEMA_FAILED_COUNTS),
    F("retried", INT),
    F("inFlight", INT),
    F("queued", INT),
    END,
};

static const struct api_field success[] = {
    F("hour", OBJECT, .of = API_SCHEMA_SUCCESS_WINDOW),
    F("month", OBJECT, .of = API_SCHEMA_SUCCESS_WINDOW, .doc = "30 days"), END};

static const struct api_field success_window[] = {
    F("ratio", NUMBER, NULLABLE, .doc = "good answers among those that were not the client's own doing"),
    F("requests", INT),
    F("failed", OBJECT, .of = API_SCHEMA_FAILED_COUNTS),
    END,
};

#define RATE_FIELDS                                                                                          \
    F("requestsPerSecond", NUMBER), F("errorsPerSecond", NUMBER), F("retriesPerSecond", NUMBER),             \
        F("p50Seconds", NUMBER, NULLABLE), F("p99Seconds", NUMBER, NULLABLE), F("inFlight", INT)

static const struct api_field top[] = {
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

static const struct api_field top_unit[] = {F("name", STRING), F("state", WORD, .words = unit_states),
                                            RATE_FIELDS, END};

static const struct api_field top_list[] = {
    F("kind", STRING),
    F("seconds", INT, .doc = "over which the rates are"),
    F("items", LIST, .of = API_SCHEMA_TOP),
    END,
};

static const struct api_field condition[] = {
    F("type", STRING),
    F("status", WORD, .words = api_words_booleans),
    F("reason", WORD, .words = api_words_reasons),
    F("message", STRING, NULLABLE),
    F("since", TIME, NULLABLE),
    END,
};

static const struct api_field dry_run[] = {F("dryRun", BOOL), F("app", OBJECT, .of = API_SCHEMA_APP_INPUT),
                                           F("warnings", TEXTS), END};

static const struct api_field scale[] = {F("units", INT), END};

static const struct api_field undo[] = {
    F("to", INT, OPTIONAL, .doc = "a revision's number; without it the newest proven one before"), END};

static const struct api_field revision[] = {F("number", INT),
                                            F("created", TIME, NULLABLE),
                                            F("digest", STRING),
                                            F("cause", STRING, NULLABLE),
                                            F("current", BOOL),
                                            F("proven", BOOL),
                                            END};

static const struct api_field unit[] = {
    F("name", STRING),
    F("namespace", STRING),
    F("app", STRING),
    F("state", WORD, .words = unit_states),
    F("reason", WORD, .words = api_words_reasons),
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

static const struct api_field member[] = {
    F("name", STRING),
    F("role", WORD, .words = member_roles),
    F("state", WORD, .words = api_words_member_states),
    F("reason", WORD, .words = api_words_reasons),
    F("message", STRING, NULLABLE),
    F("since", TIME, NULLABLE),
    F("attempt", INT),
    F("node", STRING, NULLABLE),
    F("nodeName", STRING, NULLABLE),
    F("host", STRING, NULLABLE),
    F("cluster", STRING, NULLABLE),
    F("zone", STRING, NULLABLE),
    F("leaving", BOOL),
    F("claimState", WORD, .words = api_words_claim_states, OPTIONAL),
    F("capacity", OBJECT, .of = API_SCHEMA_CAPACITY, OPTIONAL),
    F("address", STRING, OPTIONAL),
    F("portBase", INT, OPTIONAL),
    F("pid", INT, OPTIONAL, .doc = "of its shim, on its node"),
    F("restarts", INT, OPTIONAL),
    END,
};

static const struct api_field endpoint[] = {F("name", STRING),        F("ip", STRING),    F("port", INT),
                                            F("application", STRING), F("healthy", BOOL), END};

static const char *const endpoint_states[] = {"ready", "draining", NULL};

static const struct api_field app_endpoint[] = {
    F("id", STRING, .doc = "stable while the replica lives"),
    F("address", STRING, .doc = "IP:PORT"),
    F("state", WORD, .words = endpoint_states,
      .doc = "draining: what is under way may end, nothing new; it goes when that is over"),
    F("weight", INT,
      .doc = "its share, 100 where nothing is said: gateways divide what it has in flight by it"),
    F("maxOngoing", INT, .doc = "requests at once; the replica does not enforce it. 0 = no limit"),
    F("application", STRING, .doc = "of Serve"),
    F("pathPrefix", STRING, .doc = "paths of requests begin with it; they are sent as they are"),
    F("idempotent", BOOL, .doc = "a request that was lost may be sent again"),
    F("headers", LABELS, .doc = "that a request must carry besides HTTP's own"),
    F("proxy", BOOL, .doc = "Serve's proxy of the node, not one replica: this Ray has no direct ingress"),
    F("unit", STRING),
    F("node", STRING),
    F("cluster", STRING),
    F("network", STRING, .doc = "who is not in it may not reach the address"),
    F("revision", INT),
    END,
};

static const struct api_field discovery_request[] = {
    F("version_info", STRING, OPTIONAL, .doc = "of the answer that is in use"),
    F("node", ANY, OPTIONAL,
      .doc = "metadata[\"astra.hold\"]: how long an answer may wait for a change, 800ms"),
    F("resource_names", TEXTS, OPTIONAL),
    F("type_url", STRING, OPTIONAL),
    F("response_nonce", STRING, OPTIONAL),
    F("error_detail", ANY, OPTIONAL),
    END,
};

static const struct api_field discovery_response[] = {
    F("version_info", STRING, .doc = "of what follows: the same wherever it is asked for"),
    F("type_url", STRING),
    F("resources", ANY, .doc = "a ClusterLoadAssignment for each name"),
    END,
};

static const struct api_field placement[] = {
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

static const struct api_field placement_node[] = {F("node", STRING),
                                                  F("name", STRING),
                                                  F("cluster", STRING),
                                                  F("why", STRING),
                                                  F("message", STRING),
                                                  F("free", OBJECT, .of = API_SCHEMA_CAPACITY),
                                                  F("lacking", OBJECT, .of = API_SCHEMA_CAPACITY),
                                                  END};

static const struct api_field explanation[] = {
    F("app", STRING, .doc = "NAMESPACE/NAME"),
    F("status", OBJECT, .of = API_SCHEMA_APP_STATUS),
    F("units", LIST, .of = API_SCHEMA_UNIT, .doc = "that are not as wanted"),
    F("lines", TEXTS, .doc = "the same for people"),
    F("events", LIST, .of = API_SCHEMA_EVENT),
    END,
};

static const struct api_field placement_limit[] = {
    F("cluster", STRING), F("limit", STRING, .doc = "max-nodes, max-cpu or max-memory"),
    F("max", INT, .doc = "nodes, thousandths of a core, bytes"), F("used", INT), END};

const struct api_schema api_schemas_of_apps[API_SCHEMA_COUNT] = {
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
    [API_SCHEMA_APP_ENDPOINT] = {.fields = app_endpoint},
    [API_SCHEMA_APP_ENDPOINT_LIST] = {.items = API_SCHEMA_APP_ENDPOINT, .paged = true, .dated = true},
    [API_SCHEMA_DISCOVERY_REQUEST] = {.fields = discovery_request},
    [API_SCHEMA_DISCOVERY_RESPONSE] = {.fields = discovery_response},
    [API_SCHEMA_PLACEMENT] = {.fields = placement},
    [API_SCHEMA_PLACEMENT_NODE] = {.fields = placement_node},
    [API_SCHEMA_EXPLANATION] = {.fields = explanation},
    [API_SCHEMA_PLACEMENT_LIMIT] = {.fields = placement_limit},
};
