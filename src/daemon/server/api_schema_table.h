/* How the table of bodies is written: one file of fields for each subject, made to JSON Schema by
 * api_schema.c. */
#ifndef A_DAEMON_SERVER_API_SCHEMA_TABLE_H
#define A_DAEMON_SERVER_API_SCHEMA_TABLE_H

#include "base/macro.h"
#include "daemon/server/api_schema.h"

enum api_field_type {
    API_FIELD_STRING,
    API_FIELD_INT,
    API_FIELD_NUMBER,
    API_FIELD_BOOL,
    API_FIELD_TIME,   /* RFC 3339 */
    API_FIELD_WORD,   /* one of `words` */
    API_FIELD_OBJECT, /* `of` */
    API_FIELD_LIST,   /* of `of` */
    API_FIELD_TEXTS,  /* a list of texts */
    API_FIELD_COUNTS, /* free keys, whole numbers */
    API_FIELD_LABELS, /* free keys, texts */
    API_FIELD_ANY,    /* somebody else's schema */
};

/* A field is there unless it is OPTIONAL; it may be null only when it is NULLABLE. */
#define OPTIONAL .optional = true
#define NULLABLE .nullable = true

struct api_field {
    const char *name;
    enum api_field_type type;
    enum api_schema_id of;
    const char *const *words;
    bool optional, nullable;
    const char *doc;
};

#define F(field_name, field_type_, ...)                                                                      \
    {                                                                                                        \
        .name = field_name, .type = API_FIELD_##field_type_, __VA_ARGS__                                     \
    }
#define END                                                                                                  \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }

/* Words that several subjects use; they end with NULL. */
extern const char *const api_words_reasons[], *const api_words_booleans[];
extern const char *const api_words_member_states[], *const api_words_claim_states[];

/* Its fields, or what a list has, or which of two. All zero: not of this subject. */
struct api_schema {
    const struct api_field *fields;
    enum api_schema_id items; /* a list of these */
    bool paged;               /* with a cursor and a continue token */
    bool dated;               /* with a cursor */
    enum api_schema_id any_of[2];
};

extern const struct api_schema api_schemas_of_apps[API_SCHEMA_COUNT];
extern const struct api_schema api_schemas_of_nodes[API_SCHEMA_COUNT];
extern const struct api_schema api_schemas_of_server[API_SCHEMA_COUNT];

#endif
