/* What the files of the watch share. Private to this folder. */
#ifndef KUBE_WATCH_CORE_H
#define KUBE_WATCH_CORE_H

#include "base/random.h"
#include "base/sm.h"
#include "kube/watch.h"

/* ---- objects and rows (watch_row.c) ---- */

/* An object as it was read: what its row will be made from. Zero-initialise; it is used again and again. */
struct watch_object {
    struct kube_texts texts; /* the kind's */
    struct a_buf namespace, name, uid, version;
    uint64_t fields[KUBE_FIELDS_MAX / 8];
};

void watch_object_deinit(struct watch_object *o);
/* Reads the object that is next. False when it is none, or has no name, uid or version (K5). */
bool watch_object_read(struct watch_object *o, const struct kube_kind *kind, struct wire_scan *s);
/* Reads metadata.resourceVersion of the object that is next, of a bookmark, and nothing else. */
bool watch_object_read_version(struct watch_object *o, struct wire_scan *s);
/* NAMESPACE/NAME, in `b`. */
struct a_view watch_object_key(const struct watch_object *o, struct a_buf *b);
struct kube_row *watch_row_new(const struct watch_object *o, const struct kube_kind *kind);
/* Whether the kind keeps the same of both. */
bool watch_row_same(const struct kube_row *row, const struct watch_object *o);

/* ---- the core ---- */

enum watch_state {
    WATCH_START,
    WATCH_LISTING,  /* a page was asked for */
    WATCH_WATCHING, /* a watch was asked for; `opened` once it is there */
    WATCH_RESTING,  /* the next request is made at `ask_at` */
};

struct kube_watch {
    const struct kube_kind *kind;
    uint64_t stale_ms, list_wait_ms;
    struct a_random random;
    struct a_map rows;
    struct a_sm state;
    uint64_t now, request;
    uint64_t asked_at, ask_at, opened_at;
    uint64_t fresh_at; /* when the cache was last known to be as new as the server's */
    unsigned timeout_s;
    bool opened, heard; /* the watch under way */
    bool relist;        /* the next request is a list's first page, not a watch */
    bool synced, stale;
    uint64_t stale_since;
    unsigned quick, slow, expired_in_row, malformed_in_row;
    uint32_t mark; /* the list under way, or the last one */
    struct a_buf version, list_version, continue_token, reason, key;
    struct watch_object object;
    struct kube_change *changes;
    size_t n_changes, cap_changes;
    struct kube_row **graves; /* rows that the last update points to */
    size_t n_graves, cap_graves;
    struct kube_watch_counts counts;
};

/* watch_read.c */
void watch_page(struct kube_watch *w, struct kube_watch_update *u, struct a_view text);
void watch_line(struct kube_watch *w, struct kube_watch_update *u, struct a_view text);
/* The last update is over: frees what it pointed to. */
void watch_graves_clear(struct kube_watch *w);

/* watch.c: what watch_read.c finds out */
void watch_end(struct kube_watch *w, struct kube_watch_update *u, int status, uint64_t retry_after_ms,
               struct a_view reason);
void watch_malformed(struct kube_watch *w, struct kube_watch_update *u);
void watch_list_done(struct kube_watch *w, struct kube_watch_update *u);
void watch_list_go_on(struct kube_watch *w, struct kube_watch_update *u);
void watch_synced_tell(struct kube_watch *w, struct kube_watch_update *u);

#endif
