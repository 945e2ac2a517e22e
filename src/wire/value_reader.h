/* What the readers of JSON and YAML share: limits, and errors that say where. Private to this folder. */
#ifndef WIRE_VALUE_READER_H
#define WIRE_VALUE_READER_H

#include "wire/value.h"

struct wire_value_reader {
    struct a_arena *arena;
    const char *name; /* of the text; NULL = none */
    struct wire_value_limits limits;
    size_t nodes;
    struct a_error *reterr;
};

/* Fills the defaults in. -E2BIG when the text is longer than it may be. */
int wire_value_reader_init(struct wire_value_reader *r, struct a_arena *arena, struct a_view text,
                           const char *name, const struct wire_value_limits *limits,
                           struct a_error *reterr) A_MUST_CHECK;
/* Sets "name:line:column: ..." and returns rc; line 0 leaves the position out. */
int wire_value_reader_fail(struct wire_value_reader *r, int rc, unsigned line, unsigned column,
                           const char *fmt, ...) A_PRINTF(5, 6);
/* One value more. -E2BIG past the limit, -ENOMEM. */
int wire_value_reader_node(struct wire_value_reader *r, enum wire_value_type type, unsigned line,
                           unsigned column, struct wire_value **ret) A_MUST_CHECK;
/* A zero-terminated copy. -EINVAL when `s` holds a zero, -ENOMEM. */
int wire_value_reader_text(struct wire_value_reader *r, struct a_view s, unsigned line, unsigned column,
                           struct a_view *ret) A_MUST_CHECK;
/* Appends to an array or, with its key set, to an object. */
void wire_value_reader_add(struct wire_value *parent, struct wire_value *child);

#endif
