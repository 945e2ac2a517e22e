/* The watch's states, and what the end of a request means (K4). What came in is read in watch_read.c. */
#include "kube/watch.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/heap.h"
#include "kube/watch_core.h"

#define STALE_MS 5000
#define LIST_WAIT_MS 60000
#define OPEN_WAIT_MS 30000  /* TCP and TLS to the far end of the world, twice over */
#define SILENCE_MS 60000    /* past a watch's own time-out */
#define SETTLE_MS 500       /* what a resumed watch has to tell comes at once */
#define LONG_WATCH_MS 30000 /* one that lasted so long did no harm by ending */
#define QUICK_MS 100        /* K4: 0, 0.1, 0.2 ... 5 s */
#define QUICK_MAX_MS 5000
#define SLOW_MS 1000 /* 1 s ... 30 s */
#define SLOW_MAX_MS 30000
#define RETRY_AFTER_MAX_MS 60000 /* what a server may ask for */
#define TIMEOUT_MIN_S 240        /* as client-go, less its upper half: 5-10 min there */
#define TIMEOUT_SPREAD_S 121

static const struct a_sm_state states[] = {
    [WATCH_START] = {"START", A_SM_BIT(WATCH_LISTING)},
    [WATCH_LISTING] = {"LISTING",
                       A_SM_BIT(WATCH_LISTING) | A_SM_BIT(WATCH_WATCHING) | A_SM_BIT(WATCH_RESTING)},
    [WATCH_WATCHING] = {"WATCHING",
                        A_SM_BIT(WATCH_LISTING) | A_SM_BIT(WATCH_WATCHING) | A_SM_BIT(WATCH_RESTING)},
    [WATCH_RESTING] = {"RESTING", A_SM_BIT(WATCH_LISTING) | A_SM_BIT(WATCH_WATCHING)},
};
static const struct a_sm_table table = {"watch", states, A_ARRAY_SIZE(states)};

struct kube_watch *kube_watch_new(const struct kube_watch_options *options)
{
    struct kube_watch *w = a_new(struct kube_watch);
    a_assert(options->kind->n_fields <= KUBE_FIELDS_MAX);
    w->kind = options->kind;
    w->stale_ms = options->stale_ms > 0 ? options->stale_ms : STALE_MS;
    w->list_wait_ms = options->list_wait_ms > 0 ? options->list_wait_ms : LIST_WAIT_MS;
    w->rows.seed = options->seed;
    a_random_init(&w->random, options->seed);
    a_sm_init(&w->state, &table, WATCH_START);
    return w;
}

void kube_watch_free(struct kube_watch *w)
{
    if (w == NULL)
        return;
    watch_graves_clear(w);
    a_map_foreach (it, &w->rows)
        a_free(a_map_entry(it, struct kube_row, link));
    a_map_deinit(&w->rows);
    watch_object_deinit(&w->object);
    a_buf_deinit(&w->key);
    a_buf_deinit(&w->version);
    a_buf_deinit(&w->list_version);
    a_buf_deinit(&w->continue_token);
    a_buf_deinit(&w->reason);
    a_free(w->graves);
    a_free(w->changes);
    a_free(w);
}

/* ---- asking ---- */

static void list_ask(struct kube_watch *w, struct kube_watch_update *u)
{
    a_sm_move(&w->state, WATCH_LISTING, w->kind->name);
    w->request++;
    w->asked_at = w->now;
    w->counts.lists++;
    u->ask = KUBE_ASK_LIST;
    u->request = w->request;
    u->continue_token = w->continue_token.len > 0 ? w->continue_token.ptr : NULL;
}

static void watch_ask(struct kube_watch *w, struct kube_watch_update *u)
{
    a_sm_move(&w->state, WATCH_WATCHING, w->kind->name);
    w->request++;
    w->asked_at = w->now;
    w->opened = w->heard = false;
    w->timeout_s = TIMEOUT_MIN_S + (unsigned)a_random_below(&w->random, TIMEOUT_SPREAD_S);
    w->counts.watches++;
    u->ask = KUBE_ASK_WATCH;
    u->request = w->request;
    u->version = w->version.ptr;
    u->timeout_s = w->timeout_s;
}

/* A list begins with its first page; a watch begins where the last one ended, which must be known. */
static void next_ask(struct kube_watch *w, struct kube_watch_update *u)
{
    if (!w->relist) {
        watch_ask(w, u);
        return;
    }
    a_buf_reset(&w->continue_token);
    a_buf_reset(&w->list_version);
    w->mark++;
    list_ask(w, u);
}

static void next_after(struct kube_watch *w, struct kube_watch_update *u, uint64_t wait_ms)
{
    if (wait_ms == 0) {
        next_ask(w, u);
        return;
    }
    a_sm_move(&w->state, WATCH_RESTING, w->kind->name);
    w->request++; /* what still comes of the last one is late */
    w->ask_at = w->now + wait_ms;
}

/* Between half and all of it: many watches that one server's end has cut do not come back at one moment. */
static uint64_t jittered(struct kube_watch *w, uint64_t ms)
{
    return ms / 2 + a_random_below(&w->random, ms / 2 + 1);
}

static uint64_t quick_wait(struct kube_watch *w)
{
    if (w->quick++ == 0)
        return 0;
    uint64_t ms = (uint64_t)QUICK_MS << A_MIN(w->quick - 2, 10u);
    return jittered(w, A_MIN(ms, QUICK_MAX_MS));
}

static uint64_t slow_wait(struct kube_watch *w)
{
    uint64_t ms = (uint64_t)SLOW_MS << A_MIN(w->slow, 10u);
    w->slow++;
    return jittered(w, A_MIN(ms, SLOW_MAX_MS));
}

/* ---- freshness ---- */

static bool is_live(const struct kube_watch *w)
{
    return w->state.state == WATCH_WATCHING && w->opened;
}

static void reason_set(struct kube_watch *w, const char *what, struct a_view detail)
{
    a_buf_reset(&w->reason);
    a_buf_add_str(&w->reason, what);
    if (detail.len > 0) {
        a_buf_add_str(&w->reason, ": ");
        a_buf_add(&w->reason, detail.ptr, A_MIN(detail.len, 256));
    }
}

static void stale_tell(struct kube_watch *w, struct kube_watch_update *u)
{
    if (w->stale)
        return;
    w->stale = true;
    w->stale_since = w->fresh_at;
    u->stale = true;
}

void watch_synced_tell(struct kube_watch *w, struct kube_watch_update *u)
{
    if (w->synced && !w->stale)
        return;
    w->synced = true;
    w->stale = false;
    u->synced = true;
}

/* While a watch is open the cache is fresh; from its end on the time counts. */
static void freshness_step(struct kube_watch *w, struct kube_watch_update *u)
{
    if (!is_live(w) && w->now >= w->fresh_at + w->stale_ms)
        stale_tell(w, u);
    if (is_live(w) && w->stale && w->synced && w->now >= w->opened_at + SETTLE_MS)
        watch_synced_tell(w, u);
}

/* ---- the end of a request ---- */

static void expired(struct kube_watch *w, struct kube_watch_update *u)
{
    w->counts.expired++;
    w->relist = true;
    reason_set(w, "the server no longer has the version that was watched", (struct a_view){"", 0});
    /* The first time at once. A server that says so again and again, though nothing came in between, is ill.
     */
    next_after(w, u, w->expired_in_row++ == 0 ? 0 : slow_wait(w));
}

/* The connection failed, or the answer ended before its time. */
static void cut(struct kube_watch *w, struct kube_watch_update *u)
{
    if (w->state.state == WATCH_LISTING)
        w->relist = true;
    else if (w->heard || w->now >= w->asked_at + LONG_WATCH_MS)
        w->quick = 0;
    next_after(w, u, quick_wait(w));
}

/* Somebody has to do something first; or the server has just started: it refuses all until it has read its
 * roles. */
static void refused(struct kube_watch *w, struct kube_watch_update *u, int status)
{
    stale_tell(w, u);
    u->read_credentials = status == 401;
    next_after(w, u, slow_wait(w));
}

static const char *status_text(int status)
{
    switch (status) {
    case 401:
        return "401, the credentials are not accepted";
    case 403:
        return "403, the credentials may not do this";
    case 404:
        return "404, there is no such thing";
    case 429:
        return "429, the server has too much to do";
    default:
        return status >= 500 ? "the server failed" : "the server refused";
    }
}

void watch_end(struct kube_watch *w, struct kube_watch_update *u, int status, uint64_t retry_after_ms,
               struct a_view reason)
{
    if (w->state.state == WATCH_LISTING && status != 0)
        w->relist = true; /* K3: from the first page on */
    if (status == 410) {
        expired(w, u);
        return;
    }
    if (status != 200)
        w->counts.failed++;
    if (status == 0 || status == 200) {
        reason_set(w, status == 0 ? "the connection failed" : "the server ended the answer", reason);
        cut(w, u);
        return;
    }
    reason_set(w, status_text(status), reason);
    if (retry_after_ms > 0 && (status == 429 || status >= 500))
        next_after(w, u, A_MIN(retry_after_ms, RETRY_AFTER_MAX_MS));
    else if (status == 429 || status >= 500)
        next_after(w, u, slow_wait(w));
    else
        refused(w, u, status);
}

void watch_malformed(struct kube_watch *w, struct kube_watch_update *u)
{
    w->counts.malformed++;
    u->cancel = w->state.state == WATCH_WATCHING;
    reason_set(w, "the server sent what is no object", (struct a_view){"", 0});
    if (w->state.state == WATCH_LISTING || w->malformed_in_row++ > 0)
        w->relist = true; /* the same line would come again */
    next_after(w, u, w->relist ? slow_wait(w) : quick_wait(w));
}

void watch_list_done(struct kube_watch *w, struct kube_watch_update *u)
{
    w->relist = false;
    w->quick = w->slow = 0;
    w->fresh_at = w->now;
    watch_ask(w, u);
}

void watch_list_go_on(struct kube_watch *w, struct kube_watch_update *u)
{
    w->quick = w->slow = 0;
    list_ask(w, u);
}

/* ---- time ---- */

static uint64_t patience_end(const struct kube_watch *w)
{
    switch (w->state.state) {
    case WATCH_START:
        return 0;
    case WATCH_RESTING:
        return w->ask_at;
    case WATCH_LISTING:
        return w->asked_at + w->list_wait_ms;
    default:
        return w->asked_at + (w->opened ? w->timeout_s * UINT64_C(1000) + SILENCE_MS : OPEN_WAIT_MS);
    }
}

static void tick(struct kube_watch *w, struct kube_watch_update *u)
{
    if (w->now < patience_end(w))
        return;
    if (w->state.state == WATCH_START || w->state.state == WATCH_RESTING) {
        next_ask(w, u);
        return;
    }
    u->cancel = true;
    watch_end(w, u, 0, 0, a_view_str("nothing was heard in time"));
}

uint64_t kube_watch_deadline(const struct kube_watch *w)
{
    uint64_t at = patience_end(w);
    if (w->state.state == WATCH_START)
        return 0;
    if (!is_live(w) && !w->stale)
        at = A_MIN(at, w->fresh_at + w->stale_ms);
    if (is_live(w) && w->stale && w->synced)
        at = A_MIN(at, w->opened_at + SETTLE_MS);
    return at;
}

/* ---- the step ---- */

static void opened(struct kube_watch *w)
{
    w->opened = true;
    w->opened_at = w->now;
    w->slow = 0;
}

static void answer_take(struct kube_watch *w, const struct kube_watch_event *e, struct kube_watch_update *u)
{
    bool listing = w->state.state == WATCH_LISTING, watching = w->state.state == WATCH_WATCHING;
    if (e->request != w->request || (!listing && !watching))
        return;
    if (e->type == KUBE_WATCH_OPEN && watching)
        opened(w);
    else if (e->type == KUBE_WATCH_PAGE && listing)
        watch_page(w, u, e->text);
    else if (e->type == KUBE_WATCH_LINE && watching)
        watch_line(w, u, e->text);
    else if (e->type == KUBE_WATCH_END)
        watch_end(w, u, e->status, e->retry_after_ms, e->reason);
}

void kube_watch_step(struct kube_watch *w, const struct kube_watch_event *e, struct kube_watch_update *ret)
{
    struct kube_watch_update u = {0};
    bool first = w->state.state == WATCH_START;
    w->now = A_MAX(w->now, e->now_ms);
    watch_graves_clear(w);
    if (is_live(w) && e->type != KUBE_WATCH_TICK && e->request == w->request)
        w->fresh_at =
            w->now; /* until this moment; an end that only the clock tells of came some time before */
    if (first) {
        w->relist = true;
        w->fresh_at = w->now;
        tick(w, &u);
    } else if (e->type == KUBE_WATCH_TICK) {
        tick(w, &u);
    } else {
        answer_take(w, e, &u);
    }
    freshness_step(w, &u);
    u.changes = w->changes;
    u.n_changes = w->n_changes;
    *ret = u;
}

/* ---- looking ---- */

bool kube_watch_is_synced(const struct kube_watch *w)
{
    return w->synced && !w->stale;
}

const char *kube_watch_stale(const struct kube_watch *w, uint64_t *ret_since_ms)
{
    if (!w->stale)
        return NULL;
    *ret_since_ms = w->stale_since;
    return w->reason.len > 0 ? w->reason.ptr : "the server has not answered yet";
}

size_t kube_watch_count(const struct kube_watch *w)
{
    return w->rows.len;
}

const struct kube_row *kube_watch_get(const struct kube_watch *w, struct a_view key)
{
    struct a_map_link *link = a_map_get(&w->rows, key.ptr, key.len);
    return link != NULL ? a_map_entry(link, struct kube_row, link) : NULL;
}

const struct kube_row *kube_watch_next(const struct kube_watch *w, const struct kube_row *prev)
{
    struct a_map_link *link = a_map_next(&w->rows, prev != NULL ? &prev->link : NULL);
    return link != NULL ? a_map_entry(link, struct kube_row, link) : NULL;
}

struct kube_watch_counts kube_watch_counts(const struct kube_watch *w)
{
    return w->counts;
}
