/* Lines, objects and rows of a watch: from bytes to what is kept. An object passes by once, without a tree
 * (wire/scan.h); its row is one block: the link, the kind's struct, the kind's texts, then key, uid and
 * version. */
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "kube/time.h"
#include "kube/watch_core.h"

#define TEXTS_MAX (16u << 10) /* of one row, by its kind */
#define META_MAX 512 /* name (253 at most), namespace (63), uid and version (36 and 20 in practice) */
#define KEEP_MAX (256u << 10) /* a buffer that one long line made larger than this is given back */

/* ---- lines ---- */

void kube_lines_deinit(struct kube_lines *l)
{
    a_buf_deinit(&l->kept);
    *l = (struct kube_lines){0};
}

static void kept_clear(struct kube_lines *l)
{
    if (l->kept.cap > KEEP_MAX)
        a_buf_deinit(&l->kept);
    a_buf_reset(&l->kept);
    l->kept.failed = false;
    l->given = false;
}

void kube_lines_reset(struct kube_lines *l)
{
    kept_clear(l);
    l->chunk = (struct a_view){"", 0};
    l->skipping = false;
}

void kube_lines_put(struct kube_lines *l, struct a_view chunk)
{
    a_assert(l->chunk.len == 0);
    l->chunk = chunk;
}

/* The chunk up to its first line end, or all of it; *ret_whole tells which. */
static struct a_view piece_take(struct kube_lines *l, bool *ret_whole)
{
    const char *end = memchr(l->chunk.ptr, '\n', l->chunk.len);
    struct a_view piece = {l->chunk.ptr, end != NULL ? (size_t)(end - l->chunk.ptr) : l->chunk.len};
    size_t used = piece.len + (end != NULL);
    l->chunk.ptr += used;
    l->chunk.len -= used;
    *ret_whole = end != NULL;
    return piece;
}

/* Too long: said once, when that is known, and then skipped to its end. */
static bool too_long(struct kube_lines *l, bool whole, struct a_view *ret)
{
    kept_clear(l);
    l->skipping = !whole;
    *ret = (struct a_view){"", 0};
    return true;
}

bool kube_lines_next(struct kube_lines *l, struct a_view *ret)
{
    if (l->given)
        kept_clear(l);
    while (l->chunk.len > 0) {
        bool whole;
        struct a_view piece = piece_take(l, &whole);
        if (l->skipping) {
            l->skipping = !whole;
            continue;
        }
        if (piece.len > KUBE_LINE_MAX - l->kept.len)
            return too_long(l, whole, ret);
        if (whole && l->kept.len == 0) {
            if (piece.len == 0)
                continue; /* between two objects */
            *ret = piece;
            return true;
        }
        a_buf_add_view(&l->kept, piece);
        if (l->kept.failed)
            return too_long(l, whole, ret);
        if (whole) {
            l->given = true;
            *ret = a_buf_view(&l->kept);
            return true;
        }
    }
    return false;
}

/* ---- texts ---- */

struct kube_slice kube_texts_add(struct kube_texts *t, struct a_view text, size_t max)
{
    size_t room = TEXTS_MAX - A_MIN(t->bytes.len, TEXTS_MAX);
    struct kube_slice s = {.at = (uint16_t)t->bytes.len, .len = (uint16_t)A_MIN(A_MIN(text.len, max), room)};
    a_buf_add(&t->bytes, text.ptr, s.len);
    return s;
}

struct kube_slice kube_texts_read(struct kube_texts *t, struct wire_scan *s)
{
    a_buf_reset(&t->room);
    return kube_texts_add(t, wire_scan_string(s, &t->room), TEXTS_MAX);
}

int64_t kube_time_read(struct wire_scan *s, struct kube_texts *t)
{
    int64_t us;
    a_buf_reset(&t->room);
    return kube_time_parse(wire_scan_string(s, &t->room), &us) ? us / 1000000 : 0;
}

/* ---- objects ---- */

void watch_object_deinit(struct watch_object *o)
{
    a_buf_deinit(&o->texts.bytes);
    a_buf_deinit(&o->texts.room);
    a_buf_deinit(&o->namespace);
    a_buf_deinit(&o->name);
    a_buf_deinit(&o->uid);
    a_buf_deinit(&o->version);
}

static void object_clear(struct watch_object *o)
{
    a_buf_reset(&o->texts.bytes);
    a_buf_reset(&o->namespace);
    a_buf_reset(&o->name);
    a_buf_reset(&o->uid);
    a_buf_reset(&o->version);
    memset(o->fields, 0, sizeof o->fields);
}

static void meta_read(struct watch_object *o, struct a_buf *into, struct wire_scan *s)
{
    a_buf_reset(&o->texts.room);
    a_buf_reset(into);
    a_buf_add_view(into, wire_scan_string(s, &o->texts.room));
}

static void metadata_read(struct watch_object *o, const struct kube_kind *kind, struct wire_scan *s)
{
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, "name"))
            meta_read(o, &o->name, s);
        else if (a_view_is(key, "namespace"))
            meta_read(o, &o->namespace, s);
        else if (a_view_is(key, "uid"))
            meta_read(o, &o->uid, s);
        else if (a_view_is(key, "resourceVersion"))
            meta_read(o, &o->version, s);
        else if (kind != NULL)
            kind->read(o->fields, &o->texts, KUBE_PART_METADATA, key, s);
        else
            wire_scan_skip(s);
    }
}

static void object_scan(struct watch_object *o, const struct kube_kind *kind, struct wire_scan *s)
{
    object_clear(o);
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, "metadata"))
            metadata_read(o, kind, s);
        else if (kind != NULL)
            kind->read(o->fields, &o->texts, KUBE_PART_OBJECT, key, s);
        else
            wire_scan_skip(s);
    }
}

static bool is_word(const struct a_buf *b)
{
    return b->len > 0 && b->len <= META_MAX && !b->failed && memchr(b->ptr, '/', b->len) == NULL;
}

bool watch_object_read(struct watch_object *o, const struct kube_kind *kind, struct wire_scan *s)
{
    object_scan(o, kind, s);
    return !s->failed && is_word(&o->name) && is_word(&o->uid) && is_word(&o->version) &&
           (o->namespace.len == 0 || is_word(&o->namespace));
}

bool watch_object_read_version(struct watch_object *o, struct wire_scan *s)
{
    object_scan(o, NULL, s);
    return !s->failed && is_word(&o->version);
}

struct a_view watch_object_key(const struct watch_object *o, struct a_buf *b)
{
    a_buf_reset(b);
    if (o->namespace.len > 0) {
        a_buf_add_view(b, a_buf_view(&o->namespace));
        a_buf_add_char(b, '/');
    }
    a_buf_add_view(b, a_buf_view(&o->name));
    return a_buf_view(b);
}

/* ---- rows ---- */

static char *texts_of(const struct kube_row *row)
{
    return (char *)(uintptr_t)row->data + row->n_fields;
}

static struct kube_slice row_add(struct kube_row *row, size_t *at, const struct a_buf *b)
{
    struct kube_slice s = {(uint16_t)*at, (uint16_t)b->len};
    if (b->len > 0)
        memcpy(texts_of(row) + *at, b->ptr, b->len);
    *at += b->len;
    return s;
}

struct kube_row *watch_row_new(const struct watch_object *o, const struct kube_kind *kind)
{
    uint16_t n_fields = (uint16_t)((kind->n_fields + 7u) & ~7u);
    bool spaced = o->namespace.len > 0;
    size_t n =
        n_fields + o->texts.bytes.len + o->namespace.len + spaced + o->name.len + o->uid.len + o->version.len;
    struct kube_row *row = a_alloc(sizeof *row + n);
    size_t at = 0;
    row->n_fields = n_fields;
    row->n_texts = (uint16_t)o->texts.bytes.len;
    memcpy(row->data, o->fields, kind->n_fields);
    (void)row_add(row, &at, &o->texts.bytes);
    row->key.at = (uint16_t)at;
    (void)row_add(row, &at, &o->namespace);
    if (spaced)
        texts_of(row)[at++] = '/';
    row->name_at = (uint16_t)(at - row->key.at);
    (void)row_add(row, &at, &o->name);
    row->key.len = (uint16_t)(at - row->key.at);
    row->uid = row_add(row, &at, &o->uid);
    row->version = row_add(row, &at, &o->version);
    return row;
}

bool watch_row_same(const struct kube_row *row, const struct watch_object *o)
{
    return row->n_texts == o->texts.bytes.len && memcmp(row->data, o->fields, row->n_fields) == 0 &&
           (row->n_texts == 0 || memcmp(texts_of(row), o->texts.bytes.ptr, row->n_texts) == 0);
}

struct a_view kube_row_text(const struct kube_row *row, struct kube_slice s)
{
    return (struct a_view){texts_of(row) + s.at, s.len};
}

struct a_view kube_row_name(const struct kube_row *row)
{
    struct a_view key = kube_row_text(row, row->key);
    return (struct a_view){key.ptr + row->name_at, key.len - row->name_at};
}

struct a_view kube_row_uid(const struct kube_row *row)
{
    return kube_row_text(row, row->uid);
}

const void *kube_row_fields(const struct kube_row *row)
{
    return row->data;
}
