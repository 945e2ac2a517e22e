/* The last words of failed members: the end of a log, at most a mebibyte, which the node brings by itself
 * (BULK_LOG with the claim) so that it can be read when the node is gone. They lie in
 * DATA/logs/APPUID/UNIT.MEMBER.ATTEMPT.log, at most D_KEPT_LOGS_OF_APP of an app, D_KEPT_LOGS and --logs-max
 * bytes in all; the oldest goes. What cannot be read there at a start is as if it were not there: a server
 * does not stay away for it.
 *
 * A node is believed in what it brings of its own claims, and in nothing else. What is on its way is bounded
 * (at most D_KEPT_LOGS_TAKEN, one of a node, each as large as it said), and written in the pool; a node that
 * is told to come again does. Whatever is refused is counted by its reason. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/metrics.h"
#include "base/text.h"
#include "daemon/server/server.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"

struct d_kept_logs {
    struct a_list logs;   /* struct d_kept_log, oldest first */
    struct a_list pushes; /* struct d_kept_push */
    uint64_t bytes;
    size_t n;
    uint64_t taken, removed, refused[D_KEPT_LOG_REFUSAL_COUNT];
};

struct d_kept_push {
    struct a_list link;
    struct server *server;
    struct d_peer *peer; /* NULL: its connection is gone, and what it brought is being written */
    struct a_node_id node;
    struct a_claim_id id;
    char *bytes;
    size_t size, len; /* announced; here */
    struct sys_timer timer;
    bool writing;
    struct sys_work work;
    int rc;
    struct a_error error;
};

static const char *const refusal_words[] = {
#define X(name, word) word,
    D_KEPT_LOG_REFUSALS(X)
#undef X
};

/* ---- what is there ---- */

static char *folder_path(const struct server *s, const char *app_uid)
{
    return a_asprintf("%s/logs/%s", s->options.data, app_uid);
}

char *d_kept_log_path(const struct server *s, const struct a_claim_id *id)
{
    return a_asprintf("%s/logs/%s/%s.%s.%u.log", s->options.data, id->app_uid.s, id->unit.s, id->member.s,
                      id->attempt);
}

static void log_forget(struct d_kept_logs *k, struct d_kept_log *log)
{
    a_list_remove(&log->link);
    k->bytes -= log->bytes;
    k->n--;
    a_free(log);
}

static void log_remember(struct d_kept_logs *k, const struct a_claim_id *id, uint64_t bytes, uint64_t unix_ms)
{
    struct d_kept_log *log = a_new(struct d_kept_log);
    *log = (struct d_kept_log){.id = *id, .bytes = bytes, .unix_ms = unix_ms};
    a_list_push_back(&k->logs, &log->link);
    k->bytes += bytes;
    k->n++;
}

/* One unlink of a small file, at most a few at a time: not worth the pool. */
static void log_remove(struct server *s, struct d_kept_log *log)
{
    A_AUTOFREE char *path = d_kept_log_path(s, &log->id);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (sys_file_remove(path, &e) != 0)
        sys_log(WARN, "server", "log.remove", "a failed member's log stays on disk", SYS_ERR(&e));
    s->kept_logs->removed++;
    log_forget(s->kept_logs, log);
}

static struct d_kept_log *oldest_of(const struct server *s, const struct a_uuid *app, size_t *ret_n)
{
    struct d_kept_log *oldest = NULL;
    *ret_n = 0;
    a_list_foreach (l, &s->kept_logs->logs) {
        struct d_kept_log *log = a_list_entry(l, struct d_kept_log, link);
        if (strcmp(log->id.app_uid.s, app->s) != 0)
            continue;
        oldest = oldest != NULL ? oldest : log;
        (*ret_n)++;
    }
    return oldest;
}

static void bounds_keep(struct server *s)
{
    struct d_kept_logs *k = s->kept_logs;
    while ((k->bytes > s->options.logs_max_bytes || k->n > D_KEPT_LOGS) && !a_list_empty(&k->logs))
        log_remove(s, a_list_entry(k->logs.next, struct d_kept_log, link));
}

/* The app has a new one. */
static void app_bounds_keep(struct server *s, const struct a_uuid *app)
{
    size_t n;
    for (struct d_kept_log *log; (log = oldest_of(s, app, &n)) != NULL && n > D_KEPT_LOGS_OF_APP;)
        log_remove(s, log);
    bounds_keep(s);
}

const struct d_kept_log *d_kept_log_before(const struct server *s, const struct d_kept_log *log)
{
    const struct a_list *l = log != NULL ? log->link.prev : s->kept_logs->logs.prev;
    return l != &s->kept_logs->logs ? a_list_entry(l, const struct d_kept_log, link) : NULL;
}

const struct d_kept_log *d_kept_log_find(const struct server *s, const struct a_uuid *app, const char *unit,
                                         const char *member)
{
    const struct d_kept_log *log = NULL;
    while ((log = d_kept_log_before(s, log)) != NULL)
        if (strcmp(log->id.app_uid.s, app->s) == 0 &&
            (unit[0] == '\0' || strcmp(unit, log->id.unit.s) == 0) &&
            (member[0] == '\0' || strcmp(member, log->id.member.s) == 0))
            break;
    return log;
}

void d_kept_logs_forget(struct server *s, const struct a_uuid *app)
{
    A_AUTOFREE char *folder = folder_path(s, app->s);
    size_t n;
    for (struct d_kept_log *log; (log = oldest_of(s, app, &n)) != NULL;)
        log_remove(s, log);
    int ignored A_UNUSED = sys_dir_remove_empty(folder, NULL);
}

void d_kept_logs_metrics(const struct server *s, struct a_buf *b)
{
    const struct d_kept_logs *k = s->kept_logs;
    a_metric_print(b, "astra_server_logs", "gauge", "Logs of failed members that are kept", k->n);
    a_metric_print(b, "astra_server_logs_bytes", "gauge", "Their bytes", k->bytes);
    a_metric_print(b, "astra_server_logs_taken_total", "counter", "Logs of failed members that came",
                   k->taken);
    a_metric_print(b, "astra_server_logs_removed_total", "counter",
                   "Of them, removed for newer ones or with their app", k->removed);
    a_metric_head(b, "astra_server_logs_refused_total", "counter", "Logs that were not taken, by reason");
    for (size_t i = 0; i < D_KEPT_LOG_REFUSAL_COUNT; i++)
        a_buf_addf(b, "astra_server_logs_refused_total{reason=\"%s\"} %llu\n", refusal_words[i],
                   (unsigned long long)k->refused[i]);
}

/* ---- start and end ---- */

struct load {
    struct server *server;
    struct a_uuid app;
    const char *folder;
};

/* UNIT.MEMBER.ATTEMPT.log */
static bool name_parse(struct a_view name, struct a_claim_id *ret)
{
    uint64_t attempt;
    if (!a_unit_name_parse(a_view_split(name, '.', &name), &ret->unit) ||
        !a_name_parse(a_view_split(name, '.', &name), &ret->member) ||
        !a_text_u64(a_view_split(name, '.', &name), &attempt) || attempt > UINT32_MAX ||
        !a_view_is(name, "log"))
        return false;
    ret->attempt = (uint32_t)attempt;
    return true;
}

static int each_log(void *ctx, const char *name, bool is_dir)
{
    struct load *l = ctx;
    A_AUTOFREE char *path = sys_path_join(l->folder, name);
    struct a_claim_id id = {.app_uid = l->app};
    struct sys_stat st;
    if (is_dir || sys_file_stat(path, &st, NULL) != 0)
        return 0;
    if (st.is_file && st.size <= D_KEPT_LOG_BYTES && name_parse(a_view_str(name), &id)) {
        log_remember(l->server->kept_logs, &id, st.size, st.mtime_ms);
    } else {
        int ignored A_UNUSED = sys_file_remove(path, NULL); /* a write that broke off */
    }
    return 0;
}

static int each_folder(void *ctx, const char *name, bool is_dir)
{
    struct load *l = ctx;
    A_AUTOFREE char *folder = folder_path(l->server, name);
    struct load below = {.server = l->server, .folder = folder};
    if (is_dir && a_uuid_parse(a_view_str(name), &below.app)) {
        int ignored A_UNUSED = sys_dir_list(folder, each_log, &below, NULL);
    }
    return 0;
}

static int log_compare(const void *a, const void *b)
{
    const struct d_kept_log *x = *(const struct d_kept_log *const *)a,
                            *y = *(const struct d_kept_log *const *)b;
    return x->unix_ms < y->unix_ms ? -1 : x->unix_ms > y->unix_ms;
}

static void sort(struct d_kept_logs *k)
{
    struct d_kept_log **all = a_alloc_array(k->n, sizeof(struct d_kept_log *));
    size_t n = 0;
    for (struct a_list *l; (l = a_list_pop_front(&k->logs)) != NULL;)
        all[n++] = a_list_entry(l, struct d_kept_log, link);
    if (n > 1)
        qsort(all, n, sizeof(struct d_kept_log *), log_compare);
    for (size_t i = 0; i < n; i++)
        a_list_push_back(&k->logs, &all[i]->link);
    a_free(all);
}

void d_kept_logs_load(struct server *s)
{
    struct d_kept_logs *k = s->kept_logs = a_new(struct d_kept_logs);
    A_AUTOFREE char *folder = sys_path_join(s->options.data, "logs");
    struct load l = {.server = s};
    a_list_init(&k->logs);
    a_list_init(&k->pushes);
    int ignored A_UNUSED = sys_file_exists(folder) ? sys_dir_list(folder, each_folder, &l, NULL) : 0;
    sort(k);
    bounds_keep(s);
}

void d_kept_logs_free(struct server *s)
{
    struct d_kept_logs *k = s->kept_logs;
    if (k == NULL)
        return;
    while (!a_list_empty(&k->pushes)) { /* their peers are gone: they are being written */
        sys_pool_drain(s->io);
        sys_loop_turn(s->loop, false);
    }
    while (!a_list_empty(&k->logs))
        log_forget(k, a_list_entry(k->logs.next, struct d_kept_log, link));
    s->kept_logs = NULL;
    a_free(k);
}

/* ---- one that comes ---- */

static void push_free(struct d_kept_push *push)
{
    sys_timer_clear(&push->timer);
    a_list_remove(&push->link);
    a_error_deinit(&push->error);
    a_free(push->bytes);
    a_free(push);
}

static void refusal_count(struct server *s, const struct a_node_id *node, enum d_kept_log_refusal refusal,
                          const char *why)
{
    s->kept_logs->refused[refusal]++;
    sys_log(WARN, "server", "log.refused", why, SYS_STR("node", node->s),
            SYS_STR("reason", refusal_words[refusal]));
}

/* The push ends refused; its connection stays. */
static void push_refuse(struct d_kept_push *push, enum d_kept_log_refusal refusal, enum a_code code,
                        const char *why)
{
    refusal_count(push->server, &push->node, refusal, why);
    if (push->peer != NULL)
        d_bulk_push_over(push->peer, code, why, 0);
    push_free(push);
}

/* The connection ends. What was said before is written to its end, if that has begun. */
static void push_lied(struct d_kept_push *push, const char *why)
{
    struct d_peer *p = push->peer;
    refusal_count(push->server, &push->node, D_KEPT_LOG_SIZE, why);
    push->peer = NULL;
    if (!push->writing)
        push_free(push);
    d_bulk_push_lied(p, why);
}

static void on_slow(void *ctx)
{
    push_refuse(ctx, D_KEPT_LOG_SLOW, A_CODE_TIMEOUT, "a log did not come within 30 s");
}

/* Has the node this claim, or had it it until a while ago? */
static bool claim_is_of(struct server *s, const struct a_node_id *id, const struct a_claim_id *claim)
{
    const struct sl_resource_node *node = sl_resource_node(&s->resource, id);
    const struct sl_resource_claim *c = NULL;
    while (node != NULL && (c = sl_resource_next_claim(node, c)) != NULL)
        if (a_claim_id_equal(&c->facts.id, claim))
            return true;
    struct d_app *app = d_app_by_uid(s, &claim->app_uid);
    if (app == NULL)
        return false;
    a_list_foreach (l, &app->past) {
        const struct d_past *past = a_list_entry(l, struct d_past, link);
        if (strcmp(past->node.s, id->s) == 0 && strcmp(past->unit.s, claim->unit.s) == 0 &&
            strcmp(past->member.s, claim->member.s) == 0)
            return true;
    }
    return false;
}

static bool is_busy(const struct server *s, const struct a_node_id *node)
{
    size_t n = 0;
    a_list_foreach (l, &s->kept_logs->pushes) {
        if (strcmp(a_list_entry(l, struct d_kept_push, link)->node.s, node->s) == 0)
            return true;
        n++;
    }
    return n >= D_KEPT_LOGS_TAKEN;
}

struct d_kept_push *d_kept_push_begin(struct d_peer *p, const struct wire_sl_bulk_log *m)
{
    struct server *s = p->server;
    const struct a_node_id *node = &p->identity.subject.id;
    if (!claim_is_of(s, node, &m->claim)) {
        refusal_count(s, node, D_KEPT_LOG_STRANGER, "a log of a member that is not of the node");
        d_refused(s, NET_REFUSAL_LIE, node->s, "a log of a member that is not of the node");
        d_bulk_push_over(p, A_CODE_FORBIDDEN, "this server knows of no such member on this node", 0);
        return NULL;
    }
    if (m->bytes == 0 || m->bytes > D_KEPT_LOG_BYTES) {
        refusal_count(s, node, D_KEPT_LOG_SIZE, "a log of no bytes, or of more than a mebibyte");
        d_bulk_push_lied(p, "a log of no bytes, or of more than a mebibyte");
        return NULL;
    }
    char *bytes = is_busy(s, node) ? NULL : a_try_alloc((size_t)m->bytes);
    if (bytes == NULL) {
        refusal_count(s, node, D_KEPT_LOG_BUSY, "other logs are on their way: it comes again");
        d_bulk_push_over(p, A_CODE_UNAVAILABLE, "other logs are on their way: come again", 0);
        return NULL;
    }
    struct d_kept_push *push = a_new(struct d_kept_push);
    *push = (struct d_kept_push){.server = s, .peer = p, .node = *node, .id = m->claim, .bytes = bytes};
    push->size = (size_t)m->bytes;
    a_list_push_back(&s->kept_logs->pushes, &push->link);
    sys_timer_init(&push->timer, s->loop, on_slow, push);
    sys_timer_set_in(&push->timer, D_KEPT_LOG_MS);
    return push;
}

void d_kept_push_data(struct d_kept_push *push, struct a_view bytes)
{
    if (push->writing || bytes.len > push->size - push->len) {
        push_lied(push, "a log of more bytes than were announced");
        return;
    }
    memcpy(push->bytes + push->len, bytes.ptr, bytes.len);
    push->len += bytes.len;
}

static void write_run(void *ctx)
{
    struct d_kept_push *push = ctx;
    A_AUTOFREE char *folder = folder_path(push->server, push->id.app_uid.s);
    A_AUTOFREE char *path = d_kept_log_path(push->server, &push->id);
    push->rc = sys_dir_make(folder, 0700, &push->error);
    if (push->rc == 0)
        push->rc = sys_file_write_atomic(path, push->bytes, push->len, 0600, &push->error);
}

static void written(void *ctx, bool cancelled)
{
    struct d_kept_push *push = ctx;
    struct server *s = push->server;
    struct d_kept_logs *k = s->kept_logs;
    push->writing = false;
    if (cancelled || push->rc != 0) {
        A_AUTOFREE char *why = a_strdup(cancelled ? "the server ends" : a_error_text(&push->error));
        push_refuse(push, D_KEPT_LOG_DISK, push->rc == -ENOSPC ? A_CODE_STORE_FULL : A_CODE_UNAVAILABLE, why);
        return;
    }
    const struct a_claim_id id = push->id;
    a_list_foreach_safe (l, &k->logs) {
        struct d_kept_log *old = a_list_entry(l, struct d_kept_log, link);
        if (a_claim_id_equal(&old->id, &id))
            log_forget(k, old); /* brought once more: the file is the new one already */
    }
    log_remember(k, &id, push->len, sys_clock_wall_ms());
    k->taken++;
    sys_log(INFO, "server", "log.taken", "a failed member's last words are here", SYS_STR("unit", id.unit.s),
            SYS_STR("member", id.member.s), SYS_STR("node", push->node.s), SYS_U64("bytes", push->len));
    if (push->peer != NULL)
        d_bulk_push_over(push->peer, A_CODE_NONE, NULL, push->len);
    push_free(push);
    app_bounds_keep(s, &id.app_uid);
    if (d_app_by_uid(s, &id.app_uid) == NULL)
        d_kept_logs_forget(s, &id.app_uid); /* it went meanwhile */
}

void d_kept_push_end(struct d_kept_push *push, const struct wire_sl_bulk_end *m)
{
    struct server *s = push->server;
    if (push->writing || (m->ok && push->len != push->size)) {
        push_lied(push, "a log of fewer bytes than were announced");
        return;
    }
    if (!m->ok) {
        push_refuse(push, D_KEPT_LOG_CUT, A_CODE_INVALID, "the node gave a log up before its end");
        return;
    }
    sys_timer_clear(&push->timer);
    push->writing = true;
    if (sys_pool_submit(s->io, s->loop, &push->work, write_run, written, push) != 0) {
        push->writing = false;
        push_refuse(push, D_KEPT_LOG_BUSY, A_CODE_UNAVAILABLE,
                    "too much work waits in this server: come again");
    }
}

void d_kept_push_drop(struct d_kept_push *push)
{
    if (push == NULL)
        return;
    push->peer = NULL;
    if (!push->writing)
        push_refuse(push, D_KEPT_LOG_CUT, A_CODE_UNAVAILABLE, "the connection ended before a log did");
}
