/* Starlink messages to frames, in two walks: the first finds every length, so that the second writes the
 * bytes once and in order. When the frame would be too large, both start again with less room for its long
 * texts. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"
#include "wire/starlink.h"
#include "wire/starlink_table.h"
#include "wire/varint.h"

/* How a text is shortened: `head` bytes, the marker, `tail` bytes. */
struct cut {
    size_t head, tail;
    char marker[40];
    size_t marker_len;
};

static bool utf8_inside(struct a_view v, size_t at)
{
    return at < v.len && ((unsigned char)v.ptr[at] & 0xc0) == 0x80;
}

static size_t cut_plan(struct a_view v, size_t max, struct cut *ret)
{
    *ret = (struct cut){.head = v.len};
    if (v.len <= max)
        return v.len;
    *ret = (struct cut){0};
    if (max < sizeof ret->marker)
        return 0;
    /* The marker's number has at most as many digits as the whole length. */
    size_t room = max - (size_t)snprintf(NULL, 0, " [%zu bytes cut] ", v.len);
    size_t head = room / 2, tail = v.len - (room - head);
    while (head > 0 && utf8_inside(v, head))
        head--;
    while (utf8_inside(v, tail))
        tail++;
    ret->head = head;
    ret->tail = v.len - tail;
    ret->marker_len =
        (size_t)snprintf(ret->marker, sizeof ret->marker, " [%zu bytes cut] ", v.len - head - ret->tail);
    return ret->head + ret->marker_len + ret->tail;
}

static void cut_write(struct a_buf *b, struct a_view v, const struct cut *cut)
{
    a_buf_add(b, v.ptr, cut->head);
    a_buf_add(b, cut->marker, cut->marker_len);
    if (cut->tail > 0)
        a_buf_add(b, v.ptr + v.len - cut->tail, cut->tail);
}

void wire_text_cut(struct a_buf *b, struct a_view text, size_t max)
{
    struct cut cut;
    cut_plan(text, max, &cut);
    cut_write(b, text, &cut);
}

struct walk {
    size_t text_max; /* bytes that one TEXT may take */
    struct a_error *reterr;
};

static size_t tlv_size(const struct wire_sl_field *f, size_t len)
{
    return wire_varint_size((uint64_t)f->tag << 1) + wire_varint_size(len) + len;
}

static uint64_t number_read(const struct wire_sl_field *f, const void *at)
{
    uint32_t x32;
    switch (f->kind) {
    case WIRE_SL_KIND_U64:
        return *(const uint64_t *)at;
    case WIRE_SL_KIND_U32:
    case WIRE_SL_KIND_ENUM:
        memcpy(&x32, at, sizeof x32);
        return x32;
    case WIRE_SL_KIND_U16:
        return *(const uint16_t *)at;
    case WIRE_SL_KIND_I64:
        return wire_zigzag(*(const int64_t *)at);
    default:
        a_assert(f->kind == WIRE_SL_KIND_BOOL);
        return *(const bool *)at ? 1 : 0;
    }
}

/* The bytes of a field that has them as they are; false for numbers and structs. */
static bool bytes_read(const struct wire_sl_field *f, const void *at, struct a_view *ret)
{
    switch (f->kind) {
    case WIRE_SL_KIND_STR:
    case WIRE_SL_KIND_BYTES:
        *ret = *(const struct a_view *)at;
        return true;
    case WIRE_SL_KIND_DIGEST:
        *ret = (struct a_view){at, a_digest_is_zero(at) ? 0 : sizeof(struct a_digest)};
        return true;
    case WIRE_SL_KIND_NAME:
    case WIRE_SL_KIND_NODE:
    case WIRE_SL_KIND_UUID:
    case WIRE_SL_KIND_UNIT:
        *ret = (struct a_view){at, strnlen(at, f->bound)};
        return true;
    default:
        return false;
    }
}

static size_t text_limit(const struct walk *w, const struct wire_sl_field *f)
{
    return A_MIN((size_t)f->bound, w->text_max);
}

static int struct_size(const struct walk *w, const struct wire_sl_struct *s, const char *object, size_t *ret);

/* A nested struct of which nothing is set is absent, whatever it requires; a message or an item of a list is
 * always there. */
static int present_check(const struct wire_sl_struct *s, size_t len, struct a_error *reterr)
{
    for (size_t i = 0; len == 0 && i < s->n_fields; i++)
        if (s->fields[i].rule == WIRE_SL_RULE_REQ)
            return a_fail(reterr, -EINVAL, A_CODE_INTERNAL, "%s.%s: required, and empty", s->name,
                          s->fields[i].name);
    return 0;
}

static int list_size(const struct walk *w, const struct wire_sl_struct *s, const struct wire_sl_field *f,
                     const char *object, size_t *ret)
{
    const struct wire_sl_struct *item = f->structure();
    const char *items = *(const char *const *)(const void *)(object + f->offset);
    size_t n = *(const size_t *)(const void *)(object + f->count_offset), total = 0;
    if (n > f->bound)
        return a_fail(w->reterr, WIRE_E_TOO_LARGE, A_CODE_TOO_LARGE, "%s.%s: %zu items, at most %llu",
                      s->name, f->name, n, (unsigned long long)f->bound);
    for (size_t i = 0; i < n; i++) {
        size_t len;
        int r = struct_size(w, item, items + i * item->size, &len);
        if (r == 0)
            r = present_check(item, len, w->reterr);
        if (r != 0)
            return r;
        total += tlv_size(f, len);
    }
    *ret = total;
    return 0;
}

/* Size of the value alone; 0 = not sent. */
static int value_size(const struct walk *w, const struct wire_sl_struct *s, const struct wire_sl_field *f,
                      const char *object, size_t *ret)
{
    const char *at = object + f->offset;
    struct a_view v;
    struct cut cut;
    if (f->kind == WIRE_SL_KIND_MSG)
        return struct_size(w, f->structure(), at, ret);
    if (bytes_read(f, at, &v)) {
        bool may_cut = f->rule == WIRE_SL_RULE_TEXT;
        if (v.len > f->bound && !may_cut)
            return a_fail(w->reterr, WIRE_E_TOO_LARGE, A_CODE_TOO_LARGE, "%s.%s: %zu bytes, at most %llu",
                          s->name, f->name, v.len, (unsigned long long)f->bound);
        *ret = may_cut ? cut_plan(v, text_limit(w, f), &cut) : v.len;
        return 0;
    }
    uint64_t x = number_read(f, at);
    if (x > f->bound)
        return a_fail(w->reterr, WIRE_E_TOO_LARGE, A_CODE_TOO_LARGE, "%s.%s: %llu, at most %llu", s->name,
                      f->name, (unsigned long long)x, (unsigned long long)f->bound);
    *ret = x != 0 ? wire_varint_size(x) : 0;
    return 0;
}

static int struct_size(const struct walk *w, const struct wire_sl_struct *s, const char *object, size_t *ret)
{
    size_t total = 0;
    const struct wire_sl_field *missing = NULL;
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct wire_sl_field *f = &s->fields[i];
        size_t len = 0;
        int r = f->kind == WIRE_SL_KIND_LIST ? list_size(w, s, f, object, &len)
                                             : value_size(w, s, f, object, &len);
        if (r != 0)
            return r;
        if (len == 0 && f->rule == WIRE_SL_RULE_REQ && missing == NULL)
            missing = f;
        if (len > 0)
            total += f->kind == WIRE_SL_KIND_LIST ? len : tlv_size(f, len);
    }
    if (missing != NULL && total > 0)
        return a_fail(w->reterr, -EINVAL, A_CODE_INTERNAL, "%s.%s: required, and empty", s->name,
                      missing->name);
    *ret = total;
    return 0;
}

static void key_write(struct a_buf *b, const struct wire_sl_field *f, size_t len)
{
    bool critical = f->rule != WIRE_SL_RULE_OPT && f->rule != WIRE_SL_RULE_TEXT;
    wire_varint_add(b, (uint64_t)f->tag << 1 | (critical ? 1 : 0));
    wire_varint_add(b, len);
}

static void struct_write(const struct walk *w, struct a_buf *b, const struct wire_sl_struct *s,
                         const char *object);

static void nested_write(const struct walk *w, struct a_buf *b, const struct wire_sl_field *f,
                         const char *object, bool always)
{
    size_t len = 0;
    int r = struct_size(w, f->structure(), object, &len);
    a_assert(r == 0);
    if (len == 0 && !always)
        return;
    key_write(b, f, len);
    struct_write(w, b, f->structure(), object);
}

static void value_write(const struct walk *w, struct a_buf *b, const struct wire_sl_field *f, const char *at)
{
    struct a_view v;
    struct cut cut;
    if (!bytes_read(f, at, &v)) {
        uint64_t x = number_read(f, at);
        if (x == 0)
            return;
        key_write(b, f, wire_varint_size(x));
        wire_varint_add(b, x);
        return;
    }
    size_t len = cut_plan(v, f->rule == WIRE_SL_RULE_TEXT ? text_limit(w, f) : v.len, &cut);
    if (len == 0)
        return;
    key_write(b, f, len);
    cut_write(b, v, &cut);
}

static void struct_write(const struct walk *w, struct a_buf *b, const struct wire_sl_struct *s,
                         const char *object)
{
    for (size_t i = 0; i < s->n_fields; i++) {
        const struct wire_sl_field *f = &s->fields[i];
        if (f->kind == WIRE_SL_KIND_MSG) {
            nested_write(w, b, f, object + f->offset, false);
        } else if (f->kind == WIRE_SL_KIND_LIST) {
            const char *items = *(const char *const *)(const void *)(object + f->offset);
            size_t n = *(const size_t *)(const void *)(object + f->count_offset);
            for (size_t k = 0; k < n; k++)
                nested_write(w, b, f, items + k * f->structure()->size, true);
        } else {
            value_write(w, b, f, object + f->offset);
        }
    }
}

/* Sizes the message with less and less room for texts until it fits; *w is the walk that did. */
static int message_fit(struct walk *w, const struct wire_sl_struct *s, const char *object, size_t *ret)
{
    for (w->text_max = 8192;; w->text_max /= 2) {
        int r = struct_size(w, s, object, ret);
        if (r != 0 || *ret <= WIRE_SL_PAYLOAD_MAX)
            return r;
        if (w->text_max == 0)
            return a_fail(w->reterr, WIRE_E_TOO_LARGE, A_CODE_TOO_LARGE, "%s: %zu bytes do not fit a frame",
                          s->name, *ret);
    }
}

int wire_sl_encode(struct a_buf *out, const struct wire_sl_message *m, struct a_error *reterr)
{
    const struct wire_sl_struct *s = wire_sl_struct_find(m->type);
    a_assert(s != NULL);
    const char *object = (const char *)m + offsetof(struct wire_sl_message, hello);
    struct walk w = {.reterr = reterr};
    size_t len = 0;
    int r = message_fit(&w, s, object, &len);
    if (r == 0)
        r = present_check(s, len, reterr);
    if (r != 0)
        return r;
    if (out->failed || !a_buf_reserve(out, WIRE_SL_HEADER + len)) {
        out->failed = false;
        return a_fail(reterr, -ENOBUFS, A_CODE_TOO_LARGE, "%s: the queue is full", s->name);
    }
    const uint8_t header[WIRE_SL_HEADER] = {
        (uint8_t)(len >> 24),    (uint8_t)(len >> 16), (uint8_t)(len >> 8),  (uint8_t)len,
        (uint8_t)(m->type >> 8), (uint8_t)m->type,     WIRE_SL_PROTOCOL_MIN, 0};
    size_t before = out->len;
    a_buf_add(out, header, sizeof header);
    struct_write(&w, out, s, object);
    a_assert(out->len == before + WIRE_SL_HEADER + len);
    return 0;
}
