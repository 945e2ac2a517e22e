/* Objects that people write, by a table. One table of fields serves the checker, the defaults, the pages of
 * docs/ and the schemas that others read (OpenAPI, the CRDs). Every field has exactly one type and a default;
 * the checker finds all errors in one pass, each with its line, names the nearest field for one that does not
 * exist, and completes what it passes.
 *
 * App (unit/app_schema.h) and Pool (kube/pool_spec.h) are such tables. */
#ifndef WIRE_SCHEMA_H
#define WIRE_SCHEMA_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/error.h"
#include "wire/value.h"

/* ---- what is wrong ---- */

/* One thing that is wrong (or worth a warning). */
struct wire_problem {
    struct wire_problem *next;
    enum a_code code;      /* NONE for a warning */
    const char *field;     /* spec.head.memory */
    uint32_t line, column; /* 0 = not from a text */
    const char *message;   /* what is wrong */
    const char *hint;      /* what to do, or NULL */
};

/* Zero-initialise with the arena set. Errors and warnings in the order of the text. */
struct wire_problems {
    struct a_arena *arena;
    struct wire_problem *first, *last;
    size_t n_errors, n_warnings;
};

/* `at` (may be NULL) gives the position; everything is copied. */
void wire_problem_add(struct wire_problems *p, enum a_code code, const char *field,
                      const struct wire_value *at, const char *hint, const char *fmt, ...) A_PRINTF(6, 7);
/* By line and column, what has none last; else as they were added: for who does not go through a text in its
 * own order. */
void wire_problems_sort(struct wire_problems *p);
/* "app.yaml:12:5: spec.head.memory: expected ...; hint", one line each. */
void wire_problems_print(struct a_buf *b, const struct wire_problems *p, const char *file);

/* ---- tables ---- */

enum wire_kind {
    WIRE_ANY, /* passed on as it is */
    WIRE_STRING,
    WIRE_LABEL, /* DNS label of at most 40 characters */
    WIRE_BOOL,
    WIRE_INT,
    WIRE_NUMBER,   /* whole or not; not negative */
    WIRE_BYTES,    /* quantity: 2Gi */
    WIRE_CPU,      /* quantity: 2, 0.5, 250m */
    WIRE_DURATION, /* 30s */
    WIRE_WORD,     /* one of `words` */
    WIRE_OBJECT,   /* `fields` */
    WIRE_LIST,     /* items of kind `item`, with `fields` when they are objects */
    WIRE_MAP,      /* free keys, values as a list's items */
};

struct wire_field {
    const char *name;
    enum wire_kind kind;
    int class;             /* what a change of the field costs: the table's own words */
    const char *waits_for; /* the capability that brings the field to life; NULL: it is alive. Until then only
                              its default passes */
    const char *fallback;  /* the default as JSON text; NULL: the field is required */
    bool nullable;         /* null means "none" or "worked out by Astra" */
    int64_t min, max;      /* WIRE_INT: its range; WIRE_LIST: how many items (max 0 = no bound of its own) */
    const char *const *words;
    enum wire_kind item;
    const struct wire_field *fields; /* ends with name == NULL */
    const char *key; /* WIRE_LIST: the member that tells its items apart, "" = they are a set: who applies
                        parts of an object owns items of such a list; NULL = the list is one value */
    const char *doc;
};

/* For the rows of a table. */
#define WIRE_WORDS(...)                                                                                      \
    .words = (const char *const[])                                                                           \
    {                                                                                                        \
        __VA_ARGS__, NULL                                                                                    \
    }
#define WIRE_FIELDS_END                                                                                      \
    {                                                                                                        \
        .name = NULL                                                                                         \
    }

struct wire_schema {
    const char *what;         /* "app": what is called so when it is no mapping at all */
    const char *start;        /* "start with kind: App" */
    enum a_code invalid;      /* of every error but the next */
    enum a_code unsupported;  /* of a field that waits */
    struct wire_field object; /* the whole; kind WIRE_OBJECT */
};

/* Checks `doc` and returns a new tree in the arena of `p`: in the order of the table, every default filled
 * in, quantities as texts. Fields that were found wrong are missing from it; `p->n_errors` tells. NULL when
 * `doc` is no mapping. */
struct wire_value *wire_schema_check(struct wire_problems *p, const struct wire_schema *schema,
                                     const struct wire_value *doc);
/* The field at a dotted path ("spec.head.cpu"; items of a list or map are stepped into without a name of
 * their own: "spec.workers.cpu"), or NULL. */
const struct wire_field *wire_schema_field(const struct wire_schema *schema, const char *path);

const char *wire_kind_name(enum wire_kind kind); /* "a duration such as 30s" */

#endif
