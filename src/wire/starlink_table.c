/* wire/starlink_messages.h as descriptors. Each struct's descriptor is made in a function of its own: there
 * `self` names the struct that the fields' offsets are taken in. */
#include "wire/starlink_table.h"

#include "wire/starlink.h"

#define X(name, ...) #name,
#define DEFINE(tag, table)                                                                                   \
    static const char *const names_##tag[] = {table(X)};                                                     \
    static const struct wire_sl_enum enum_##tag = {#tag, names_##tag, A_ARRAY_SIZE(names_##tag)};            \
    _Static_assert(sizeof(enum tag) == sizeof(uint32_t), "the codec copies enums as 32 bits");
WIRE_SL_TYPES_ENUMS(DEFINE)
WIRE_SL_OWN_ENUMS(DEFINE)
#undef DEFINE
#undef X

#define EXTRA_U64(name, arg, max) .bound = (max) ? (max) : UINT64_MAX
#define EXTRA_U32(name, arg, max) .bound = (max) ? (max) : UINT32_MAX
#define EXTRA_U16(name, arg, max) .bound = (max) ? (max) : UINT16_MAX
#define EXTRA_I64(name, arg, max) .bound = UINT64_MAX
#define EXTRA_BOOL(name, arg, max) .bound = 1
#define EXTRA_STR(name, arg, max) .bound = (max)
#define EXTRA_BYTES(name, arg, max) .bound = (max)
#define EXTRA_DIGEST(name, arg, max) .bound = sizeof(struct a_digest)
#define EXTRA_NAME(name, arg, max) .bound = A_NAME_MAX
#define EXTRA_NODE(name, arg, max) .bound = A_NODE_ID_LEN
#define EXTRA_UUID(name, arg, max) .bound = A_UUID_LEN
#define EXTRA_UNIT(name, arg, max) .bound = A_UNIT_NAME_MAX
#define EXTRA_ENUM(name, arg, max) .bound = A_ARRAY_SIZE(names_##arg) - 1, .enumeration = &enum_##arg
#define EXTRA_MSG(name, arg, max) .structure = struct_##arg
#define EXTRA_LIST(name, arg, max)                                                                           \
    .bound = (max), .structure = struct_##arg, .count_offset = offsetof(self, n_##name)
#define FIELD(kind_, tag_, name_, rule_, arg, max)                                                           \
    {.name = #name_,                                                                                         \
     .kind = WIRE_SL_KIND_##kind_,                                                                           \
     .rule = WIRE_SL_RULE_##rule_,                                                                           \
     .tag = (tag_),                                                                                          \
     .offset = offsetof(self, name_),                                                                        \
     EXTRA_##kind_(name_, arg, max)},

#define DEFINE(tag, table)                                                                                   \
    static const struct wire_sl_struct *struct_##tag(void)                                                   \
    {                                                                                                        \
        typedef struct tag self;                                                                             \
        static const struct wire_sl_field fields[] = {table(FIELD)};                                         \
        _Static_assert(A_ARRAY_SIZE(fields) <= 64, "the codec keeps seen fields in 64 bits");                \
        static const struct wire_sl_struct s = {#tag, fields, A_ARRAY_SIZE(fields), sizeof(self)};           \
        return &s;                                                                                           \
    }
WIRE_SL_TYPES_STRUCTS(DEFINE)
WIRE_SL_OWN_STRUCTS(DEFINE)
#undef DEFINE

#define DEFINE(upper, lower, number, table)                                                                  \
    static const struct wire_sl_struct *struct_##lower(void)                                                 \
    {                                                                                                        \
        typedef struct wire_sl_##lower self;                                                                 \
        static const struct wire_sl_field fields[] = {table(FIELD)};                                         \
        _Static_assert(A_ARRAY_SIZE(fields) <= 64, "the codec keeps seen fields in 64 bits");                \
        static const struct wire_sl_struct s = {#upper, fields, A_ARRAY_SIZE(fields), sizeof(self)};         \
        return &s;                                                                                           \
    }
WIRE_SL_MESSAGES(DEFINE)
#undef DEFINE

const struct wire_sl_struct *wire_sl_struct_find(unsigned type)
{
    switch (type) {
#define X(upper, lower, number, table)                                                                       \
    case number:                                                                                             \
        return struct_##lower();
        WIRE_SL_MESSAGES(X)
#undef X
    default:
        return NULL;
    }
}

const char *wire_sl_type_name(unsigned type)
{
    const struct wire_sl_struct *s = wire_sl_struct_find(type);
    return s != NULL ? s->name : NULL;
}
