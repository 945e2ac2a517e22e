/* The descriptors that wire/starlink_messages.h becomes: what the codec and the printer walk over. Private to
 * this folder. */
#ifndef WIRE_STARLINK_TABLE_H
#define WIRE_STARLINK_TABLE_H

#include <stddef.h>
#include <stdint.h>

enum wire_sl_kind {
    WIRE_SL_KIND_U64,
    WIRE_SL_KIND_U32,
    WIRE_SL_KIND_U16,
    WIRE_SL_KIND_I64,
    WIRE_SL_KIND_BOOL,
    WIRE_SL_KIND_STR,
    WIRE_SL_KIND_BYTES,
    WIRE_SL_KIND_DIGEST,
    WIRE_SL_KIND_NAME,
    WIRE_SL_KIND_NODE,
    WIRE_SL_KIND_UUID,
    WIRE_SL_KIND_UNIT,
    WIRE_SL_KIND_ENUM,
    WIRE_SL_KIND_MSG,
    WIRE_SL_KIND_LIST,
};

enum wire_sl_rule {
    WIRE_SL_RULE_OPT,
    WIRE_SL_RULE_CRIT,
    WIRE_SL_RULE_REQ,
    WIRE_SL_RULE_TEXT,
    WIRE_SL_RULE_SECRET,
};

struct wire_sl_enum {
    const char *name;
    const char *const *names; /* by number */
    uint32_t count;
};

struct wire_sl_struct;

struct wire_sl_field {
    const char *name;
    enum wire_sl_kind kind;
    enum wire_sl_rule rule;
    uint32_t tag;
    size_t offset;
    size_t count_offset; /* LIST */
    uint64_t bound;
    const struct wire_sl_enum *enumeration;          /* ENUM */
    const struct wire_sl_struct *(*structure)(void); /* MSG, LIST */
};

struct wire_sl_struct {
    const char *name;
    const struct wire_sl_field *fields; /* by rising tag; at most 64 */
    size_t n_fields;
    size_t size; /* of the C struct */
};

/* The message of that frame type, or NULL. */
const struct wire_sl_struct *wire_sl_struct_find(unsigned type);

#endif
