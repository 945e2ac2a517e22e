/* The server itself, and what it keeps beside apps and nodes, in bodies of the API: problems, events,
 * orphans, tokens, identities, artifacts. */
#include "daemon/server/api_schema_table.h"

/* Words end with NULL. */
static const char *const roles[] = {"join", "view", "deploy", "admin", NULL};

static const struct api_field problem[] = {
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

static const struct api_field problem_part[] = {
    F("code", STRING),
    F("detail", STRING),
    F("field", STRING, OPTIONAL),
    F("line", INT, OPTIONAL),
    F("column", INT, OPTIONAL),
    F("hint", STRING, OPTIONAL),
    END,
};

static const struct api_field capacity[] = {F("cpu", STRING, .doc = "cores: 2, 0.5"),
                                            F("memory", STRING, .doc = "2Gi"), F("disk", STRING), END};

/* clang-format off */
#define VERSION_FIELDS \
    F("version", STRING), F("bootId", STRING, .doc = "of the server's process: cursors belong to it"), \
    F("storeId", STRING), F("time", TIME)
/* clang-format on */

static const struct api_field version[] = {
    VERSION_FIELDS,
    F("role", WORD, .words = roles, .doc = "of the token that asks"),
    F("namespace", STRING, NULLABLE, .doc = "that the token is for; null = all"),
    END,
};

static const struct api_field status[] = {
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

static const struct api_field gateway[] = {
    F("name", STRING),     F("address", STRING),
    F("port", INT),        F("viewSent", INT, .doc = "number of the routes sent last"),
    F("viewApplied", INT), END};

static const struct api_field event[] = {
    F("time", TIME),
    F("firstTime", TIME),
    F("count", INT),
    F("actor", STRING),
    F("namespace", STRING, NULLABLE),
    F("app", STRING, NULLABLE),
    F("object", STRING, NULLABLE),
    F("revision", INT),
    F("reason", WORD, .words = api_words_reasons),
    F("message", STRING, NULLABLE),
    END,
};

static const struct api_field orphan[] = {
    F("namespace", STRING),
    F("name", STRING),
    F("uid", STRING),
    F("adoptable", BOOL),
    F("claims", LIST, .of = API_SCHEMA_ORPHAN_CLAIM),
    END,
};

static const struct api_field orphan_claim[] = {
    F("unit", STRING),  F("member", STRING),
    F("node", STRING),  F("memberState", WORD, .words = api_words_member_states),
    F("revision", INT), END};

static const struct api_field orphan_released[] = {F("namespace", STRING), F("name", STRING),
                                                   F("released", BOOL), END};

static const struct api_field recovered[] = {
    F("namespace", STRING),
    F("name", STRING),
    F("recovered", BOOL),
    F("later", BOOL, .doc = "not yet: ask again in a while"),
    F("message", STRING, .doc = "what was done, or why not"),
    END,
};

static const struct api_field token_request[] = {
    F("role", WORD, .words = roles, OPTIONAL),
    F("namespace", STRING, OPTIONAL, .doc = "* = all"),
    F("name", STRING, OPTIONAL, .doc = "for people"),
    F("expires", STRING, OPTIONAL, .doc = "a duration such as 12h"),
    F("once", BOOL, OPTIONAL, .doc = "join: good for one node or gateway"),
    END,
};

static const struct api_field token[] = {
    F("id", STRING),
    F("name", STRING, NULLABLE),
    F("namespace", STRING),
    F("role", WORD, .words = roles),
    F("created", TIME),
    F("expires", TIME, NULLABLE),
    F("token", STRING, OPTIONAL, .doc = "told once, when it is made"),
    END,
};

static const struct api_field ca[] = {
    F("kind", STRING),
    F("pin", STRING, .doc = "SHA-256 of the certificate that issues"),
    F("trusted", INT, .doc = "how many certificates are trusted"),
    F("notAfter", TIME),
    F("pem", STRING),
    END,
};

static const struct api_field identity[] = {
    F("id", STRING),
    F("denied", BOOL),
    END,
};

static const struct api_field artifact[] = {F("namespace", STRING),
                                            F("name", STRING),
                                            F("version", STRING),
                                            F("digest", STRING),
                                            F("bytes", INT),
                                            F("created", TIME, NULLABLE, OPTIONAL),
                                            END};

const struct api_schema api_schemas_of_server[API_SCHEMA_COUNT] = {
    [API_SCHEMA_PROBLEM] = {.fields = problem},
    [API_SCHEMA_PROBLEM_PART] = {.fields = problem_part},
    [API_SCHEMA_CAPACITY] = {.fields = capacity},
    [API_SCHEMA_VERSION] = {.fields = version},
    [API_SCHEMA_STATUS] = {.fields = status},
    [API_SCHEMA_GATEWAY] = {.fields = gateway},
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
    [API_SCHEMA_ARTIFACT] = {.fields = artifact},
    [API_SCHEMA_ARTIFACT_LIST] = {.items = API_SCHEMA_ARTIFACT},
};
