/* A pull reader over a JSON text in memory: no tree is built and nothing is allocated. For bodies of which a
 * few fields are wanted out of many, such as the objects of a Kubernetes watch:
 *
 *   struct wire_scan s;
 *   wire_scan_init(&s, text);
 *   wire_scan_enter(&s, WIRE_VALUE_OBJECT);
 *   for (struct a_view key; wire_scan_member(&s, &key);) {
 *       if (a_view_is(key, "kind"))
 *           kind = wire_scan_string(&s, &texts);
 *       else
 *           wire_scan_skip(&s);
 *   }
 *   if (!wire_scan_end(&s))
 *       return -EINVAL;
 *
 * A value that was announced (by _member, _item or at the start) must be read, entered or skipped before the
 * next is asked for. The first error stays: everything after it answers nothing, so `failed` is looked at
 * once, at the end. What is skipped is checked to be JSON (RFC 8259) all the same, but for its texts being
 * UTF-8 and its keys being unique; at most 64 levels. */
#ifndef WIRE_SCAN_H
#define WIRE_SCAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "wire/value.h"

struct wire_scan {
    const char *at, *end;
    uint64_t objects; /* bit n: level n is an object, not an array */
    unsigned depth;
    bool fresh; /* the innermost container has had no member yet */
    bool failed;
};

/* `text` must stay as it is while it is scanned. */
void wire_scan_init(struct wire_scan *s, struct a_view text);
/* The type of the value that is next; WIRE_VALUE_NULL as well when the scan has failed. A number is
 * WIRE_VALUE_DOUBLE. */
enum wire_value_type wire_scan_type(struct wire_scan *s);
/* Steps into the object or array that is next. False, and a failure unless the value is null (which is then
 * read), when it is something else. */
bool wire_scan_enter(struct wire_scan *s, enum wire_value_type type);
/* The next member of the object that was entered; false at its end, which is left, or after a failure. The
 * key is as written: one with an escape in it never equals a plain word. */
bool wire_scan_member(struct wire_scan *s, struct a_view *ret_key);
/* The same for an array. */
bool wire_scan_item(struct wire_scan *s);
void wire_scan_skip(struct wire_scan *s);
/* The bytes of the value that is next, which is skipped. */
struct a_view wire_scan_raw(struct wire_scan *s);
/* A text as it stands between its quotes when there is no escape in it; else unescaped into `room` (appended;
 * lone surrogates become U+FFFD, \u0000 is a failure), so that the view lives as long as `room` is not
 * touched. Empty for null; a failure for anything else. */
struct a_view wire_scan_string(struct wire_scan *s, struct a_buf *room);
/* A whole number; 0 for null; a failure for anything else. */
int64_t wire_scan_int(struct wire_scan *s);
/* true or false; false for null. */
bool wire_scan_bool(struct wire_scan *s);
/* Nothing but white space is left, and nothing failed. */
bool wire_scan_end(struct wire_scan *s);

#endif
