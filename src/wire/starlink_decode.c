/* Starlink frames to messages: one walk over the TLVs, led by the descriptors of wire/starlink_table.h. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "wire/starlink.h"
#include "wire/starlink_table.h"
#include "wire/varint.h"

struct tlv {
    uint64_t tag;
    bool critical;
    struct a_view value;
};

static uint32_t read_u32(const char *p)
{
    const uint8_t *b = (const uint8_t *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

int wire_sl_frame_parse(struct a_view bytes, struct wire_sl_frame *ret, struct a_error *reterr)
{
    if (bytes.len < 4)
        return WIRE_E_MORE;
    uint32_t len = read_u32(bytes.ptr);
    if (len > WIRE_SL_PAYLOAD_MAX)
        return a_fail(reterr, WIRE_E_TOO_LARGE, A_CODE_WIRE_MALFORMED,
                      "a frame of %lu bytes: at most %d are allowed", (unsigned long)len + WIRE_SL_HEADER,
                      WIRE_SL_FRAME_MAX);
    if (bytes.len < WIRE_SL_HEADER)
        return WIRE_E_MORE;
    uint32_t rest = read_u32(bytes.ptr + 4);
    uint8_t version = (uint8_t)(rest >> 8);
    if (version == 0)
        return a_fail(reterr, WIRE_E_MALFORMED, A_CODE_WIRE_MALFORMED, "a frame of version 0");
    if (bytes.len - WIRE_SL_HEADER < len)
        return WIRE_E_MORE;
    *ret = (struct wire_sl_frame){
        .type = (uint16_t)(rest >> 16),
        .version = version,
        .flags = (uint8_t)rest,
        .payload = {bytes.ptr + WIRE_SL_HEADER, len},
        .size = WIRE_SL_HEADER + len,
    };
    return 0;
}

/* False when the bytes are no TLV. */
static bool tlv_take(struct a_view *in, struct tlv *ret)
{
    uint64_t key, len;
    if (wire_varint_take(in, &key) != 0 || wire_varint_take(in, &len) != 0 || len > in->len)
        return false;
    *ret = (struct tlv){key >> 1, (key & 1) != 0, {in->ptr, (size_t)len}};
    *in = (struct a_view){in->ptr + len, in->len - (size_t)len};
    return true;
}

static const struct wire_sl_field *field_find(const struct wire_sl_struct *s, uint64_t tag)
{
    /* Tags are dense in nearly every struct, so that the first look hits. */
    if (tag >= 1 && tag <= s->n_fields && s->fields[tag - 1].tag == tag)
        return &s->fields[tag - 1];
    for (size_t i = 0; i < s->n_fields; i++)
        if (s->fields[i].tag == tag)
            return &s->fields[i];
    return NULL;
}

static bool number_decode(const struct wire_sl_field *f, struct a_view in, void *at)
{
    uint64_t x;
    if (wire_varint_take(&in, &x) != 0 || in.len != 0 || x > f->bound)
        return false;
    uint32_t x32 = (uint32_t)x;
    switch (f->kind) {
    case WIRE_SL_KIND_U64:
        memcpy(at, &x, sizeof x);
        return true;
    case WIRE_SL_KIND_U32:
    case WIRE_SL_KIND_ENUM:
        memcpy(at, &x32, sizeof x32);
        return true;
    case WIRE_SL_KIND_U16:
        *(uint16_t *)at = (uint16_t)x;
        return true;
    case WIRE_SL_KIND_I64:
        *(int64_t *)at = wire_unzigzag(x);
        return true;
    default:
        a_assert(f->kind == WIRE_SL_KIND_BOOL);
        *(bool *)at = x == 1;
        return true;
    }
}

static bool scalar_decode(const struct wire_sl_field *f, struct a_view in, void *at)
{
    switch (f->kind) {
    case WIRE_SL_KIND_STR:
    case WIRE_SL_KIND_BYTES:
        if (in.len > f->bound)
            return false;
        *(struct a_view *)at = in;
        return true;
    case WIRE_SL_KIND_DIGEST:
        if (in.len != sizeof(struct a_digest))
            return false;
        memcpy(at, in.ptr, in.len);
        return !a_digest_is_zero(at); /* zero means that there is none, and is never sent */
    case WIRE_SL_KIND_NAME:
        return a_name_parse(in, at);
    case WIRE_SL_KIND_NODE:
        return a_node_id_parse(in, at);
    case WIRE_SL_KIND_UUID:
        return a_uuid_parse(in, at);
    case WIRE_SL_KIND_UNIT:
        return a_unit_name_parse(in, at);
    default:
        return number_decode(f, in, at);
    }
}

static int struct_decode(const struct wire_sl_struct *s, struct a_view in, struct a_arena *arena,
                         char *object, struct a_error *reterr);

static int field_fail(struct a_error *reterr, const struct wire_sl_struct *s, const struct wire_sl_field *f,
                      const char *what)
{
    return a_fail(reterr, WIRE_E_MALFORMED, A_CODE_WIRE_MALFORMED, "%s.%s: %s", s->name, f->name, what);
}

/* How many TLVs of `tag` there are: `first` and those in `rest`. Stops at what is no TLV. */
static size_t list_count(struct a_view rest, uint64_t tag)
{
    struct tlv t;
    size_t n = 1;
    while (rest.len > 0 && tlv_take(&rest, &t))
        n += t.tag == tag;
    return n;
}

/* Makes room for the whole list when its first item is met, so that items never move. */
static int list_decode(const struct wire_sl_struct *s, const struct wire_sl_field *f, const struct tlv *t,
                       struct a_view rest, bool first, struct a_arena *arena, char *object,
                       struct a_error *reterr)
{
    const struct wire_sl_struct *item = f->structure();
    char **items = (char **)(void *)(object + f->offset);
    size_t *n = (size_t *)(void *)(object + f->count_offset);
    if (first) {
        size_t total = list_count(rest, f->tag);
        if (total > f->bound)
            return field_fail(reterr, s, f, "too many items");
        *items = a_arena_try(arena, total * item->size);
        if (*items == NULL)
            return a_fail(reterr, -ENOMEM, A_CODE_WIRE_MALFORMED, "%s.%s: no room", s->name, f->name);
    }
    int r = struct_decode(item, t->value, arena, *items + *n * item->size, reterr);
    if (r == 0)
        ++*n;
    return r;
}

static int field_decode(const struct wire_sl_struct *s, const struct wire_sl_field *f, const struct tlv *t,
                        struct a_view rest, bool first, struct a_arena *arena, char *object,
                        struct a_error *reterr)
{
    int r = 0;
    if (f->kind == WIRE_SL_KIND_LIST)
        r = list_decode(s, f, t, rest, first, arena, object, reterr);
    else if (!first)
        return field_fail(reterr, s, f, "sent twice");
    else if (f->kind == WIRE_SL_KIND_MSG)
        r = struct_decode(f->structure(), t->value, arena, object + f->offset, reterr);
    else if (!scalar_decode(f, t->value, object + f->offset))
        return field_fail(reterr, s, f, "not a value that it can have");
    if (r != 0 && (f->kind == WIRE_SL_KIND_LIST || f->kind == WIRE_SL_KIND_MSG))
        a_error_wrap(reterr, "%s.%s", s->name, f->name);
    return r;
}

static int struct_decode(const struct wire_sl_struct *s, struct a_view in, struct a_arena *arena,
                         char *object, struct a_error *reterr)
{
    uint64_t seen = 0;
    struct tlv t;
    while (in.len > 0) {
        if (!tlv_take(&in, &t))
            return a_fail(reterr, WIRE_E_MALFORMED, A_CODE_WIRE_MALFORMED, "%s: cut short", s->name);
        const struct wire_sl_field *f = field_find(s, t.tag);
        if (f == NULL && t.critical)
            return a_fail(reterr, WIRE_E_UNSUPPORTED, A_CODE_WIRE_UNSUPPORTED,
                          "%s: field %llu is unknown here and must not be skipped", s->name,
                          (unsigned long long)t.tag);
        if (f == NULL)
            continue;
        uint64_t bit = UINT64_C(1) << (f - s->fields);
        int r = field_decode(s, f, &t, in, (seen & bit) == 0, arena, object, reterr);
        if (r != 0)
            return r;
        seen |= bit;
    }
    for (size_t i = 0; i < s->n_fields; i++)
        if (s->fields[i].rule == WIRE_SL_RULE_REQ && (seen & UINT64_C(1) << i) == 0)
            return field_fail(reterr, s, &s->fields[i], "missing");
    return 0;
}

int wire_sl_decode(const struct wire_sl_frame *frame, struct a_arena *arena, struct wire_sl_message *ret,
                   struct a_error *reterr)
{
    const struct wire_sl_struct *s = wire_sl_struct_find(frame->type);
    if (s == NULL)
        return WIRE_E_UNKNOWN;
    if (frame->version > WIRE_SL_PROTOCOL)
        return a_fail(reterr, WIRE_E_UNSUPPORTED, A_CODE_WIRE_UNSUPPORTED,
                      "%s: written for protocol %d, this is %d", s->name, frame->version, WIRE_SL_PROTOCOL);
    struct wire_sl_message m;
    memset(&m, 0, sizeof m);
    m.type = (enum wire_sl_type)frame->type;
    int r =
        struct_decode(s, frame->payload, arena, (char *)&m + offsetof(struct wire_sl_message, hello), reterr);
    if (r == 0)
        *ret = m;
    return r;
}

uint32_t wire_sl_negotiate(uint32_t min_a, uint32_t max_a, uint32_t min_b, uint32_t max_b)
{
    uint32_t low = A_MAX(min_a, min_b), high = A_MIN(max_a, max_b);
    return low <= high ? high : 0;
}
