/* Nodes, clusters and pools in bodies of the API. */
#include "daemon/server/api_schema_table.h"
#include "types/state.h"

/* Words end with NULL. */
#define X(name, number) #name,
static const char *const node_states[] = {A_NODE_STATES(X) NULL};
#undef X

static const struct api_field node[] = {
    F("id", STRING),
    F("name", STRING),
    F("state", WORD, .words = node_states),
    F("reason", WORD, .words = api_words_reasons),
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
    F("artifact", STRING, OPTIONAL, NULLABLE, .doc = "that its agent runs from; null: what was installed"),
    F("labels", LABELS, OPTIONAL),
    F("identity", OBJECT, .of = API_SCHEMA_NODE_IDENTITY, OPTIONAL),
    F("used", OBJECT, .of = API_SCHEMA_CAPACITY, OPTIONAL, .doc = "really used; not in lists"),
    F("claims", LIST, .of = API_SCHEMA_CLAIM),
    F("load", INT, OPTIONAL, .doc = "0 idle ... 1000 full; not in lists"),
    END,
};

static const struct api_field node_identity[] = {
    F("notAfter", TIME, NULLABLE),
    F("expired", BOOL, .doc = "its certificate has ended; it is served as before"),
    END,
};

static const struct api_field claim[] = {
    F("namespace", STRING),
    F("app", STRING),
    F("unit", STRING),
    F("member", STRING),
    F("attempt", INT),
    F("state", WORD, .words = api_words_claim_states),
    F("memberState", WORD, .words = api_words_member_states),
    F("revision", INT),
    F("capacity", OBJECT, .of = API_SCHEMA_CAPACITY),
    F("orphan", BOOL),
    END,
};

static const struct api_field cluster[] = {
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

static const struct api_field cluster_limits[] = {
    F("maxNodes", INT, OPTIONAL, NULLABLE, .doc = "with claims on them; pods of its pools"),
    F("maxCpu", STRING, OPTIONAL, NULLABLE, .doc = "of all claims; of all pods of its pools"),
    F("maxMemory", STRING, OPTIONAL, NULLABLE, .doc = "of all claims; of all pods of its pools"),
    F("maxDevices", INT, OPTIONAL, NULLABLE, .doc = "of all pods of its pools"),
    F("price", NUMBER, OPTIONAL, NULLABLE, .doc = "of one node and hour, where its pool has no price"),
    END,
};

static const struct api_field kubernetes[] = {
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

static const struct api_field kube_condition[] = {
    F("type", STRING),          F("status", WORD, .words = api_words_booleans),
    F("reason", STRING),        F("message", STRING),
    F("since", TIME, NULLABLE), END,
};

static const struct api_field kube_access[] = {
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

static const struct api_field cluster_input[] = {
    F("credentials", OBJECT, .of = API_SCHEMA_KUBE_ACCESS, OPTIONAL, .doc = "they are never told again"),
    F("image", STRING, OPTIONAL, .doc = "of the agents"),
    F("joinAddress", STRING, OPTIONAL, .doc = "HOST:PORT of the server's Starlink, as pods reach it"),
    F("network", STRING, OPTIONAL, .doc = "of the nodes; the cluster's name where none is given"),
    F("serviceAccount", STRING, OPTIONAL, .doc = "of the pods"),
    END,
};

static const struct api_field named[] = {F("name", STRING), END};

static const struct api_field pool_metadata[] = {F("name", STRING),
                                                 F("generation", INT),
                                                 F("creationTimestamp", TIME, NULLABLE),
                                                 F("labels", LABELS, OPTIONAL),
                                                 F("annotations", LABELS, OPTIONAL),
                                                 END};

static const struct api_field pool[] = {
    F("apiVersion", STRING),
    F("kind", STRING),
    F("metadata", OBJECT, .of = API_SCHEMA_POOL_METADATA),
    F("spec", OBJECT, .of = API_SCHEMA_POOL_SPEC),
    F("status", OBJECT, .of = API_SCHEMA_POOL_STATUS),
    END,
};

static const char *const upgrade_states[] = {"NONE", "RUNNING", "DONE", "STOPPED", NULL};

static const struct api_field upgrade[] = {
    F("number", INT, .doc = "rises with each; 0 = nothing was asked for yet"),
    F("state", WORD, .words = upgrade_states),
    F("message", STRING, NULLABLE, .doc = "why it stopped"),
    F("version", STRING, NULLABLE),
    F("artifact", STRING, NULLABLE, .doc = "sha256:HEX; null: any of the version"),
    F("cluster", STRING, NULLABLE, .doc = "null = all"),
    F("pace", INT, .doc = "nodes at a time; 0 = a tenth of the cluster"),
    F("downgrade", BOOL, .doc = "newer agents, too"),
    F("created", TIME, NULLABLE),
    F("nodes", COUNTS, .doc = "connected ones, by how they stand"),
    F("underWay", LIST, .of = API_SCHEMA_UPGRADE_NODE),
    F("failed", LIST, .of = API_SCHEMA_UPGRADE_NODE),
    END,
};

static const struct api_field upgrade_node[] = {
    F("id", STRING), F("name", STRING), F("cluster", STRING), F("message", STRING, NULLABLE), END,
};

static const struct api_field upgrade_input[] = {
    F("version", STRING, OPTIONAL, .doc = "of artifacts agent-amd64, agent-arm64; without any, the newest"),
    F("artifact", STRING, OPTIONAL, .doc = "sha256:HEX"),
    F("cluster", STRING, OPTIONAL),
    F("pace", INT, OPTIONAL),
    F("downgrade", BOOL, OPTIONAL),
    END,
};

static const struct api_field pool_status[] = {
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

const struct api_schema api_schemas_of_nodes[API_SCHEMA_COUNT] = {
    [API_SCHEMA_NODE] = {.fields = node},
    [API_SCHEMA_NODE_LIST] = {.items = API_SCHEMA_NODE, .paged = true, .dated = true},
    [API_SCHEMA_CLAIM] = {.fields = claim},
    [API_SCHEMA_CLUSTER] = {.fields = cluster},
    [API_SCHEMA_CLUSTER_LIMITS] = {.fields = cluster_limits},
    [API_SCHEMA_CLUSTER_LIST] = {.items = API_SCHEMA_CLUSTER},
    [API_SCHEMA_CLUSTER_INPUT] = {.fields = cluster_input},
    [API_SCHEMA_KUBERNETES] = {.fields = kubernetes},
    [API_SCHEMA_KUBE_CONDITION] = {.fields = kube_condition},
    [API_SCHEMA_KUBE_ACCESS] = {.fields = kube_access},
    [API_SCHEMA_NAMED] = {.fields = named},
    [API_SCHEMA_UPGRADE] = {.fields = upgrade},
    [API_SCHEMA_UPGRADE_NODE] = {.fields = upgrade_node},
    [API_SCHEMA_UPGRADE_INPUT] = {.fields = upgrade_input},
    [API_SCHEMA_POOL] = {.fields = pool},
    [API_SCHEMA_POOL_LIST] = {.items = API_SCHEMA_POOL},
    [API_SCHEMA_POOL_METADATA] = {.fields = pool_metadata},
    [API_SCHEMA_POOL_STATUS] = {.fields = pool_status},
    [API_SCHEMA_NODE_IDENTITY] = {.fields = node_identity},
};
