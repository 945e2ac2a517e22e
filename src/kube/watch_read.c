/* What comes in: pages and lines to rows and changes (K1, K2, K3, K5, K6). */
#include <string.h>

#include "base/alloc.h"
#include "kube/watch_core.h"

/* ---- the cache ---- */

void watch_graves_clear(struct kube_watch *w)
{
    for (size_t i = 0; i < w->n_graves; i++)
        a_free(w->graves[i]);
    w->n_graves = w->n_changes = 0;
}

static void *grown(void *array, size_t len, size_t *cap, size_t size)
{
    if (len < *cap)
        return array;
    *cap = *cap == 0 ? 8 : *cap * 2;
    return a_realloc(array, *cap * size);
}

static void change_add(struct kube_watch *w, enum kube_change_type type, const struct kube_row *row,
                       const struct kube_row *before)
{
    w->changes = grown(w->changes, w->n_changes, &w->cap_changes, sizeof *w->changes);
    w->changes[w->n_changes++] = (struct kube_change){type, row, before};
    w->counts.events++;
}

/* Out of the cache; it lives until the next step. */
static void row_bury(struct kube_watch *w, struct kube_row *row)
{
    a_map_remove(&w->rows, &row->link);
    w->graves = grown(w->graves, w->n_graves, &w->cap_graves, sizeof(struct kube_row *));
    w->graves[w->n_graves++] = row;
}

static void row_gone(struct kube_watch *w, struct kube_row *row)
{
    row_bury(w, row);
    change_add(w, KUBE_ROW_GONE, row, NULL);
}

static struct kube_row *row_put(struct kube_watch *w)
{
    struct kube_row *row = watch_row_new(&w->object, w->kind);
    struct a_view key = kube_row_text(row, row->key);
    row->mark = w->mark;
    a_map_put(&w->rows, &row->link, key.ptr, key.len);
    return row;
}

static struct kube_row *row_of_object(struct kube_watch *w)
{
    struct a_view key = watch_object_key(&w->object, &w->key);
    struct a_map_link *link = a_map_get(&w->rows, key.ptr, key.len);
    return link != NULL ? a_map_entry(link, struct kube_row, link) : NULL;
}

static bool same_uid(struct kube_watch *w, const struct kube_row *row)
{
    return a_view_equal(kube_row_uid(row), a_buf_view(&w->object.uid));
}

/* A new version of what the kind keeps nothing new of: only the version is written. */
static void version_set(struct kube_watch *w, struct kube_row *row)
{
    struct a_view version = kube_row_text(row, row->version);
    if (version.len == w->object.version.len) {
        memcpy((char *)(uintptr_t)version.ptr, w->object.version.ptr, version.len);
        return;
    }
    row_bury(w, row);
    (void)row_put(w);
}

/* The object that was read is there. */
static void object_put(struct kube_watch *w)
{
    struct kube_row *row = row_of_object(w);
    if (row != NULL && !same_uid(w, row)) {
        row_gone(w, row);
        row = NULL;
    }
    if (row == NULL) {
        change_add(w, KUBE_ROW_ADDED, row_put(w), NULL);
        return;
    }
    row->mark = w->mark;
    if (watch_row_same(row, &w->object)) {
        version_set(w, row);
        return;
    }
    row_bury(w, row);
    change_add(w, KUBE_ROW_CHANGED, row_put(w), row);
}

/* The object that was read is gone; an older one of that name may have gone long ago. */
static void object_remove(struct kube_watch *w)
{
    struct kube_row *row = row_of_object(w);
    if (row != NULL && same_uid(w, row))
        row_gone(w, row);
}

static void version_keep(struct kube_watch *w, struct a_buf *into)
{
    a_buf_reset(into);
    a_buf_add_view(into, a_buf_view(&w->object.version));
}

/* ---- pages ---- */

static void text_read(struct kube_watch *w, struct a_buf *into, struct wire_scan *s)
{
    a_buf_reset(&w->object.texts.room);
    a_buf_reset(into);
    a_buf_add_view(into, wire_scan_string(s, &w->object.texts.room));
}

/* The list's own metadata. Pages of another version than the first one's are no pages of one list (K3). */
static bool list_meta_read(struct kube_watch *w, struct wire_scan *s)
{
    struct a_buf *version = &w->key; /* free while no row is looked up */
    a_buf_reset(version);
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return false;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, "resourceVersion"))
            text_read(w, version, s);
        else if (a_view_is(key, "continue"))
            text_read(w, &w->continue_token, s);
        else
            wire_scan_skip(s);
    }
    if (w->list_version.len == 0)
        a_buf_add_view(&w->list_version, a_buf_view(version));
    return !s->failed && version->len > 0 && a_view_equal(a_buf_view(&w->list_version), a_buf_view(version));
}

static bool items_read(struct kube_watch *w, struct wire_scan *s)
{
    if (!wire_scan_enter(s, WIRE_VALUE_ARRAY))
        return !s->failed; /* null: none */
    while (wire_scan_item(s)) {
        if (!watch_object_read(&w->object, w->kind, s))
            return false;
        object_put(w);
    }
    return !s->failed;
}

static bool page_read(struct kube_watch *w, struct a_view text)
{
    struct wire_scan s;
    bool meta = false, ok = true;
    a_buf_reset(&w->continue_token);
    wire_scan_init(&s, text);
    if (!wire_scan_enter(&s, WIRE_VALUE_OBJECT))
        return false;
    for (struct a_view key; ok && wire_scan_member(&s, &key);) {
        if (a_view_is(key, "metadata"))
            ok = meta = list_meta_read(w, &s);
        else if (a_view_is(key, "items"))
            ok = items_read(w, &s);
        else
            wire_scan_skip(&s);
    }
    return ok && meta && wire_scan_end(&s);
}

/* K2, K3: the list is whole, so what it did not name is gone. */
static void sweep(struct kube_watch *w)
{
    a_map_foreach (it, &w->rows) {
        struct kube_row *row = a_map_entry(it, struct kube_row, link);
        if (row->mark != w->mark)
            row_gone(w, row);
    }
}

void watch_page(struct kube_watch *w, struct kube_watch_update *u, struct a_view text)
{
    w->counts.pages++;
    if (!page_read(w, text)) {
        watch_malformed(w, u);
        return;
    }
    if (w->continue_token.len > 0) {
        watch_list_go_on(w, u);
        return;
    }
    sweep(w);
    a_buf_reset(&w->version);
    a_buf_add_view(&w->version, a_buf_view(&w->list_version));
    watch_synced_tell(w, u);
    watch_list_done(w, u);
}

/* ---- lines ---- */

enum line_type {
    LINE_UNKNOWN,
    LINE_PUT, /* ADDED, MODIFIED: what it was before tells which */
    LINE_DELETED,
    LINE_BOOKMARK,
    LINE_ERROR,
};

static enum line_type line_type(struct a_view word)
{
    if (a_view_is(word, "ADDED") || a_view_is(word, "MODIFIED"))
        return LINE_PUT;
    if (a_view_is(word, "DELETED"))
        return LINE_DELETED;
    if (a_view_is(word, "BOOKMARK"))
        return LINE_BOOKMARK;
    return a_view_is(word, "ERROR") ? LINE_ERROR : LINE_UNKNOWN;
}

/* What an ERROR says: a Status. */
struct line_error {
    int code;
    uint64_t retry_after_ms;
};

static uint64_t details_read(struct wire_scan *s)
{
    uint64_t seconds = 0;
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return 0;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, "retryAfterSeconds")) {
            int64_t n = wire_scan_int(s);
            seconds = n > 0 && n < 1 << 20 ? (uint64_t)n : 0;
        } else {
            wire_scan_skip(s);
        }
    }
    return seconds * 1000;
}

static bool status_read(struct kube_watch *w, struct wire_scan *s, struct line_error *ret)
{
    int64_t code = 0;
    a_buf_reset(&w->key); /* the message */
    if (!wire_scan_enter(s, WIRE_VALUE_OBJECT))
        return false;
    for (struct a_view key; wire_scan_member(s, &key);) {
        if (a_view_is(key, "code"))
            code = wire_scan_int(s);
        else if (a_view_is(key, "message"))
            text_read(w, &w->key, s);
        else if (a_view_is(key, "details"))
            ret->retry_after_ms = details_read(s);
        else
            wire_scan_skip(s);
    }
    ret->code = code > 0 && code < 1000 ? (int)code : 500;
    return !s->failed;
}

/* The object of a line; what it means is done only when the whole line has turned out to be JSON. */
static bool line_object_read(struct kube_watch *w, enum line_type type, struct wire_scan *s,
                             struct line_error *ret)
{
    switch (type) {
    case LINE_PUT:
        return watch_object_read(&w->object, w->kind, s);
    case LINE_DELETED: /* only who it was matters: what else it says is not read */
        return watch_object_read(&w->object, NULL, s);
    case LINE_BOOKMARK:
        return watch_object_read_version(&w->object, s);
    case LINE_ERROR:
        return status_read(w, s, ret);
    case LINE_UNKNOWN:
        break;
    }
    return false;
}

static bool line_read(struct kube_watch *w, struct a_view text, enum line_type *ret_type,
                      struct line_error *ret_error)
{
    struct wire_scan s, object;
    struct a_view raw = {"", 0};
    bool read = false;
    wire_scan_init(&s, text);
    if (!wire_scan_enter(&s, WIRE_VALUE_OBJECT))
        return false;
    for (struct a_view key; wire_scan_member(&s, &key);) {
        if (a_view_is(key, "type")) {
            a_buf_reset(&w->object.texts.room);
            *ret_type = line_type(wire_scan_string(&s, &w->object.texts.room));
        } else if (!a_view_is(key, "object")) {
            wire_scan_skip(&s);
        } else if (*ret_type == LINE_UNKNOWN) {
            raw = wire_scan_raw(&s); /* servers put the type first; nothing says that they must */
        } else if (!(read = line_object_read(w, *ret_type, &s, ret_error))) {
            return false;
        }
    }
    if (!wire_scan_end(&s))
        return false;
    if (read || raw.len == 0)
        return read;
    wire_scan_init(&object, raw);
    return line_object_read(w, *ret_type, &object, ret_error);
}

void watch_line(struct kube_watch *w, struct kube_watch_update *u, struct a_view text)
{
    enum line_type type = LINE_UNKNOWN;
    struct line_error error = {0};
    w->counts.lines++;
    w->counts.too_long += text.len == 0;
    if (text.len == 0 || !line_read(w, text, &type, &error)) {
        watch_malformed(w, u);
        return;
    }
    if (type == LINE_ERROR) {
        u->cancel = true;
        watch_end(w, u, error.code, error.retry_after_ms, a_buf_view(&w->key));
        return;
    }
    w->heard = true;
    w->quick = w->slow = w->expired_in_row = w->malformed_in_row = 0;
    if (type == LINE_PUT)
        object_put(w);
    else if (type == LINE_DELETED)
        object_remove(w);
    version_keep(w, &w->version);
}
