/* Starlink messages as one line of text, for traces and golden tests. */
#include <string.h>

#include "base/assert.h"
#include "base/text.h"
#include "wire/starlink.h"
#include "wire/starlink_table.h"

static bool is_word(struct a_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        unsigned char c = (unsigned char)v.ptr[i];
        if (c <= ' ' || c >= 0x7f || strchr("\"\\=[]{}", c) != NULL)
            return false;
    }
    return v.len > 0;
}

static void text_print(struct a_buf *b, struct a_view v)
{
    if (is_word(v))
        a_buf_add_view(b, v);
    else
        a_text_print_json(b, v);
}

static void bytes_print(struct a_buf *b, struct a_view v)
{
    for (size_t i = 0; i < v.len && i < 32; i++)
        a_buf_addf(b, "%02x", (unsigned char)v.ptr[i]);
    if (v.len > 32)
        a_buf_addf(b, "...(%zu)", v.len);
}

static void struct_print(struct a_buf *b, const struct wire_sl_struct *s, const char *object);

static void list_print(struct a_buf *b, const struct wire_sl_field *f, const char *object)
{
    const struct wire_sl_struct *item = f->structure();
    const char *items = *(const char *const *)(const void *)(object + f->offset);
    size_t n = *(const size_t *)(const void *)(object + f->count_offset);
    a_buf_add_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        a_buf_add_str(b, i > 0 ? " {" : "{");
        struct_print(b, item, items + i * item->size);
        a_buf_add_char(b, '}');
    }
    a_buf_add_char(b, ']');
}

static void value_print(struct a_buf *b, const struct wire_sl_field *f, const char *object)
{
    const void *at = object + f->offset;
    char hex[A_DIGEST_HEX + 1];
    uint32_t x32;
    switch (f->kind) {
    case WIRE_SL_KIND_U64:
        a_buf_addf(b, "%llu", (unsigned long long)*(const uint64_t *)at);
        return;
    case WIRE_SL_KIND_U32:
        a_buf_addf(b, "%lu", (unsigned long)*(const uint32_t *)at);
        return;
    case WIRE_SL_KIND_U16:
        a_buf_addf(b, "%u", *(const uint16_t *)at);
        return;
    case WIRE_SL_KIND_I64:
        a_buf_addf(b, "%lld", (long long)*(const int64_t *)at);
        return;
    case WIRE_SL_KIND_BOOL:
        a_buf_add_str(b, "true");
        return;
    case WIRE_SL_KIND_ENUM:
        memcpy(&x32, at, sizeof x32);
        a_buf_add_str(b, x32 < f->enumeration->count ? f->enumeration->names[x32] : "?");
        return;
    case WIRE_SL_KIND_STR:
        text_print(b, *(const struct a_view *)at);
        return;
    case WIRE_SL_KIND_BYTES:
        bytes_print(b, *(const struct a_view *)at);
        return;
    case WIRE_SL_KIND_DIGEST:
        a_digest_hex(at, hex);
        a_buf_addf(b, "sha256:%s", hex);
        return;
    case WIRE_SL_KIND_NAME:
    case WIRE_SL_KIND_NODE:
    case WIRE_SL_KIND_UUID:
    case WIRE_SL_KIND_UNIT:
        a_buf_add(b, at, strnlen(at, f->bound));
        return;
    case WIRE_SL_KIND_MSG:
        a_buf_add_char(b, '{');
        struct_print(b, f->structure(), at);
        a_buf_add_char(b, '}');
        return;
    case WIRE_SL_KIND_LIST:
        list_print(b, f, object);
        return;
    }
    a_assert(false);
}

static bool struct_is_empty(const struct wire_sl_struct *s, const char *object);

static bool field_is_empty(const struct wire_sl_field *f, const char *object)
{
    const void *at = object + f->offset;
    switch (f->kind) {
    case WIRE_SL_KIND_U64:
    case WIRE_SL_KIND_I64:
        return *(const uint64_t *)at == 0;
    case WIRE_SL_KIND_U32:
    case WIRE_SL_KIND_ENUM:
        return memcmp(at, "\0\0\0", 4) == 0;
    case WIRE_SL_KIND_U16:
        return *(const uint16_t *)at == 0;
    case WIRE_SL_KIND_STR:
    case WIRE_SL_KIND_BYTES:
        return ((const struct a_view *)at)->len == 0;
    case WIRE_SL_KIND_DIGEST:
        return a_digest_is_zero(at);
    case WIRE_SL_KIND_MSG:
        return struct_is_empty(f->structure(), at);
    case WIRE_SL_KIND_LIST:
        return *(const size_t *)(const void *)(object + f->count_offset) == 0;
    default: /* BOOL and the fixed texts */
        return *(const char *)at == 0;
    }
}

static bool struct_is_empty(const struct wire_sl_struct *s, const char *object)
{
    for (size_t i = 0; i < s->n_fields; i++)
        if (!field_is_empty(&s->fields[i], object))
            return false;
    return true;
}

static void struct_print(struct a_buf *b, const struct wire_sl_struct *s, const char *object)
{
    bool first = true;
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct wire_sl_field *f = &s->fields[i];
        /* An enum's first name is a value like the others. */
        if (field_is_empty(f, object) && f->kind != WIRE_SL_KIND_ENUM)
            continue;
        a_buf_addf(b, first ? "%s=" : " %s=", f->name);
        first = false;
        if (f->rule == WIRE_SL_RULE_SECRET)
            a_buf_add_str(b, "***");
        else
            value_print(b, f, object);
    }
}

void wire_sl_print(struct a_buf *b, const struct wire_sl_message *m)
{
    const struct wire_sl_struct *s = wire_sl_struct_find(m->type);
    a_assert(s != NULL);
    a_buf_add_str(b, s->name);
    a_buf_add_char(b, ' ');
    struct_print(b, s, (const char *)m + offsetof(struct wire_sl_message, hello));
}
