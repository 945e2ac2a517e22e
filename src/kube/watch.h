/* Follows one collection of a Kubernetes API server: lists it, watches it from there, and after any end of
 * the watch goes on from where it was. It keeps one packed row for each object with the few fields that its
 * kind wants, never the object (docs/components/kube.md, K1-K7).
 *
 * The core performs nothing: it says which request is to be made, and is told what came back.
 *
 *   step(TICK)                     -> LIST
 *   answer 200 to LIST, whole body -> step(PAGE)   -> LIST (the next page) or WATCH, changes, SYNCED
 *   answer 200 to WATCH, its head  -> step(OPEN)
 *   its bytes                      -> kube_lines   -> step(LINE) each
 *   the end of either              -> step(END) with what is known about it
 *
 * At most one request is under way. Each has a number, which its events carry: what comes of one that was
 * cancelled, or is late, is ignored. After each step look at kube_watch_deadline(): the next TICK is due
 * then. */
#ifndef KUBE_WATCH_H
#define KUBE_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/map.h"
#include "wire/scan.h"

#define KUBE_LINE_MAX (4u << 20)  /* one line of a watch; etcd's own limit of an object is 1.5 MiB */
#define KUBE_PAGE_MAX (64u << 20) /* the body of one page of a list */
#define KUBE_PAGE_ROWS 500

/* ---- the bytes of a watch to lines ---- */

/* Zero-initialise. Keeps only the beginning of a line that is not complete yet. */
struct kube_lines {
    struct a_buf kept;
    struct a_view chunk; /* not consumed yet; the caller's */
    bool given;          /* `kept` is a line that was handed out */
    bool skipping;       /* to the end of a line that is too long */
};

void kube_lines_deinit(struct kube_lines *l); /* safe twice */
void kube_lines_reset(struct kube_lines *l);  /* forget all: another request begins */
/* The next bytes; those of the call before must have been used up (kube_lines_next() answered false). */
void kube_lines_put(struct kube_lines *l, struct a_view chunk);
/* The next line without its end; it lives until the next call. False when there is none yet. A line past
 * KUBE_LINE_MAX comes out as an empty one, which the core counts and gives the watch up for. */
bool kube_lines_next(struct kube_lines *l, struct a_view *ret);

/* ---- rows ---- */

/* A text of a row: bytes at an offset of its text area. */
struct kube_slice {
    uint16_t at, len;
};

/* One object. Lives until a step says that it is gone or changed: take what you need, or look it up again. */
struct kube_row {
    struct a_map_link link;
    struct kube_slice key;     /* NAMESPACE/NAME; NAME when the object has no namespace */
    struct kube_slice uid;     /* of metadata, as is the version */
    struct kube_slice version; /* opaque */
    uint16_t name_at;          /* in the key */
    uint16_t n_texts;          /* bytes of the kind's own texts, with which the text area begins */
    uint16_t n_fields;         /* bytes of the kind's struct, rounded up to 8; the text area follows it */
    uint32_t mark;             /* the list that named it last */
    uint64_t data[];
};

struct a_view kube_row_text(const struct kube_row *row, struct kube_slice s);
struct a_view kube_row_name(const struct kube_row *row);
struct a_view kube_row_uid(const struct kube_row *row);
const void *kube_row_fields(const struct kube_row *row); /* the kind's struct */

/* What a kind's reader gets of an object: one call a member, of `metadata` or of the object itself. */
enum kube_part {
    KUBE_PART_METADATA,
    KUBE_PART_OBJECT,
};

/* Where a kind's reader puts texts; at most 16 KiB a row: what is longer is cut off. */
struct kube_texts {
    struct a_buf bytes; /* the row's */
    struct a_buf room;  /* for unescaping */
};

/* Reads the text that is next and keeps it. */
struct kube_slice kube_texts_read(struct kube_texts *t, struct wire_scan *s);
/* Keeps a copy, cut off after `max` bytes. */
struct kube_slice kube_texts_add(struct kube_texts *t, struct a_view text, size_t max);
/* Reads an RFC 3339 time in UTC as Kubernetes writes it ("2026-08-01T10:20:30Z") in seconds since 1970; 0
 * when it is none. */
int64_t kube_time_read(struct wire_scan *s, struct kube_texts *t);

/* A kind of object: what its rows keep. */
struct kube_kind {
    const char *name;  /* "pods", for people */
    uint16_t n_fields; /* size of its struct; at most KUBE_FIELDS_MAX */
    /* Reads or skips the member `key`, whose value is next. name, namespace, uid and resourceVersion do not
     * come here. `fields` began zeroed and is compared byte by byte: no pointers, no padding that is not
     * zero. */
    void (*read)(void *fields, struct kube_texts *texts, enum kube_part part, struct a_view key,
                 struct wire_scan *s);
};

#define KUBE_FIELDS_MAX 128

/* ---- the core ---- */

enum kube_watch_event_type {
    KUBE_WATCH_TICK,
    KUBE_WATCH_OPEN, /* the head of the answer to WATCH came, with status 200 */
    KUBE_WATCH_PAGE, /* text: the body of the answer 200 to LIST; the request is over with it */
    KUBE_WATCH_LINE, /* text: one line of a watch; empty: one that was too long */
    KUBE_WATCH_END,  /* the request is over otherwise; a LIST answered 200 has no END besides its PAGE */
};

struct kube_watch_event {
    enum kube_watch_event_type type;
    uint64_t now_ms;
    uint64_t request;   /* all but TICK: the number of the request */
    struct a_view text; /* PAGE, LINE */
    int status; /* END: the HTTP status; 0 = the connection failed before there was one. 200 = a watch's clean
                   end, or one that was cut after its head: both say the same */
    uint64_t retry_after_ms; /* END: of the answer's Retry-After; 0 = none */
    struct a_view reason;    /* END: for people: the server's message, or what the connection failed of */
};

enum kube_watch_ask {
    KUBE_ASK_NOTHING,
    KUBE_ASK_LIST,  /* GET PATH?limit=KUBE_PAGE_ROWS[&continue=C]; never resourceVersion=0 */
    KUBE_ASK_WATCH, /* GET PATH?watch=1&allowWatchBookmarks=true&resourceVersion=V&timeoutSeconds=T */
};

enum kube_change_type {
    KUBE_ROW_ADDED,
    KUBE_ROW_CHANGED,
    KUBE_ROW_GONE,
};

struct kube_change {
    enum kube_change_type type;
    const struct kube_row *row;    /* as it is; GONE: as it was last */
    const struct kube_row *before; /* CHANGED: as it was; lives until the next step */
};

/* What is to be done. Everything that it points to belongs to the core until the next step. */
struct kube_watch_update {
    bool cancel; /* give up the request under way, before the new one is made: no event of it is wanted any
                    more */
    enum kube_watch_ask ask;
    uint64_t request;           /* the new request's number */
    const char *continue_token; /* LIST: NULL = the first page. To be escaped for the URL */
    const char *version;        /* WATCH: resourceVersion. To be escaped */
    unsigned timeout_s;         /* WATCH */
    bool read_credentials;      /* the server refused them (401): read them again before the next request */
    const struct kube_change *changes;
    size_t n_changes;
    bool
        synced; /* the cache is as new as the server's from now on: told once, and again after each `stale` */
    bool stale; /* not any more; kube_watch_stale() says since when and why */
};

struct kube_watch;

struct kube_watch_options {
    const struct kube_kind *kind;
    uint64_t seed;         /* jitter and the hash of the rows' keys */
    uint64_t stale_ms;     /* how long the server may be out of reach before that is told; 0 = 5,000 */
    uint64_t list_wait_ms; /* how long a page may take; 0 = 60,000 */
};

struct kube_watch *kube_watch_new(const struct kube_watch_options *options);
void kube_watch_free(struct kube_watch *w); /* takes NULL */
/* Never fails: what a server sends may be wrong, and is counted. */
void kube_watch_step(struct kube_watch *w, const struct kube_watch_event *e, struct kube_watch_update *ret);
uint64_t kube_watch_deadline(const struct kube_watch *w);

bool kube_watch_is_synced(const struct kube_watch *w); /* a whole list was seen, and nothing is stale */
/* Why the cache is stale and since when; NULL while it is not. */
const char *kube_watch_stale(const struct kube_watch *w, uint64_t *ret_since_ms);
size_t kube_watch_count(const struct kube_watch *w);
const struct kube_row *kube_watch_get(const struct kube_watch *w, struct a_view key);
/* In no order; NULL begins and ends. */
const struct kube_row *kube_watch_next(const struct kube_watch *w, const struct kube_row *prev);

/* For metrics. */
struct kube_watch_counts {
    uint64_t lists, watches; /* requests asked for */
    uint64_t pages, lines;   /* answers read */
    uint64_t events;         /* of `lines`, those that changed a row */
    uint64_t malformed;      /* lines and pages that were given up (K5) */
    uint64_t too_long;       /* of those, lines past KUBE_LINE_MAX */
    uint64_t expired;        /* answers 410 */
    uint64_t failed;         /* requests that ended in anything but 200 and 410 */
};
struct kube_watch_counts kube_watch_counts(const struct kube_watch *w);

#endif
