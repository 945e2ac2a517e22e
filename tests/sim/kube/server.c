/* The played API server: objects with versions, lists in pages that expire, watches that end in every way. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "sim/kube/world.h"

static char *pod_text(const struct world *w, const struct pod *p)
{
    return a_asprintf(
        "{\"metadata\":{\"name\":\"%s\",\"namespace\":\"n\",\"uid\":\"u%d\",\"resourceVersion\":\"%" PRIu64
        "\",\"labels\":{\"astra-ray.dev/pool\":\"" POOL "\",\"astra-ray.dev/installation\":\"%s\","
        "\"astra-ray.dev/"
        "template\":\"%s\"}%s},\"spec\":{%s},\"status\":{\"phase\":\"%s\",\"conditions\":[{\"type\":"
        "\"Ready\",\"status\":\"%s\"}]}}",
        p->name, (int)(p - w->pods), p->version, p->ours ? OURS : "i2", p->template,
        p->ending ? ",\"deletionTimestamp\":\"2026-08-01T10:20:30Z\"" : "",
        p->placed ? "\"nodeName\":\"n1\"" : "",
        p->failed   ? "Failed"
        : p->placed ? "Running"
                    : "Pending",
        p->ready ? "True" : "False");
}

void pod_changed(struct world *w, struct pod *p, const char *type)
{
    p->version = ++w->version;
    if (w->n_log == w->cap_log) {
        w->cap_log = w->cap_log == 0 ? 256 : w->cap_log * 2;
        w->log = a_realloc(w->log, w->cap_log * sizeof *w->log);
    }
    char *object = pod_text(w, p);
    w->log[w->n_log++] =
        (struct change){p->version, a_asprintf("{\"type\":\"%s\",\"object\":%s}\n", type, object)};
    a_free(object);
    w->oldest = w->version > HISTORY ? w->version - HISTORY : 0;
}

struct pod *pod_named(struct world *w, const char *name)
{
    for (int i = w->n_pods - 1; i >= 0; i--)
        if (w->pods[i].exists && strcmp(w->pods[i].name, name) == 0)
            return &w->pods[i];
    return NULL;
}

/* P1: made by us, it is one of at most max; a max that was lowered counts for as long as requests may be
 * under way. */
static void max_check(struct world *w)
{
    uint32_t n = 0, max = w->now < w->max_lowered_at + SETTLED_MS ? w->highest_max : w->max;
    for (int i = 0; i < w->n_pods; i++)
        n += w->pods[i].exists && w->pods[i].ours && !w->pods[i].ending;
    if (n > max)
        fail(w, "P1: %u pods, max is %u", n, max);
}

struct pod *pod_make(struct world *w, const char *name, bool ours)
{
    if (w->n_pods == PODS_MAX) {
        fail(w, "P4: pods are made without end");
        return &w->pods[0];
    }
    struct pod *p = &w->pods[w->n_pods];
    *p = (struct pod){.exists = true, .ours = ours};
    snprintf(p->name, sizeof p->name, "%s", name);
    snprintf(p->template, sizeof p->template, "%s", w->template);
    pod_changed(w, p, "ADDED");
    struct event *e = after(w, between(w, 100, 3000), DO_LIFE);
    e->pod = w->n_pods++;
    if (ours)
        max_check(w);
    return p;
}

/* ---- lists ---- */

static void list_answer(struct world *w, uint64_t request, int status, uint64_t retry_after_ms)
{
    struct event *e = after(w, between(w, 1, 40), DO_WATCH_EVENT);
    e->type = KUBE_WATCH_END;
    e->number = request;
    e->status = status;
    e->retry_after_ms = retry_after_ms;
}

static void snapshot_take(struct world *w)
{
    for (int i = 0; i < w->n_snapshot; i++)
        a_free(w->snapshot[i]);
    w->n_snapshot = 0;
    w->snapshot_version = w->version;
    for (int i = 0; i < w->n_pods; i++)
        if (w->pods[i].exists)
            w->snapshot[w->n_snapshot++] = pod_text(w, &w->pods[i]);
}

/* A request that fails: true when it did. */
static bool request_fails(struct world *w, uint64_t request)
{
    static const struct {
        int status;
        uint64_t retry_after_ms;
    } failures[] = {{0, 0}, {500, 0}, {503, 2000}, {429, 4000}, {401, 0}, {403, 0}, {200, 0}};
    if (!chance(w, 0.15))
        return false;
    uint64_t i = between(w, 0, A_ARRAY_SIZE(failures) - 1);
    list_answer(w, request, failures[i].status, failures[i].retry_after_ms);
    return true;
}

void server_list(struct world *w, const struct event *e)
{
    int from = atoi(e->text);
    if (request_fails(w, e->number))
        return;
    if (from == 0)
        snapshot_take(w);
    else if (w->snapshot_version < w->oldest || chance(w, 0.1)) {
        w->counts[COUNT_EXPIRED]++;
        list_answer(w, e->number, 410, 0);
        return;
    }
    A_BUF_AUTO struct a_buf b = {0};
    bool more = from + PAGE_ROWS < w->n_snapshot;
    a_buf_addf(&b, "{\"kind\":\"PodList\",\"metadata\":{\"resourceVersion\":\"%" PRIu64 "\"",
               w->snapshot_version);
    if (more)
        a_buf_addf(&b, ",\"continue\":\"%d\"", from + PAGE_ROWS);
    a_buf_add_str(&b, "},\"items\":[");
    for (int i = from; i < w->n_snapshot && i < from + PAGE_ROWS; i++)
        a_buf_addf(&b, "%s%s", i > from ? "," : "", w->snapshot[i]);
    a_buf_add_str(&b, chance(w, 0.05) ? "]" : "]}"); /* cut */
    struct event *page = after(w, between(w, 1, 300), DO_WATCH_EVENT);
    page->type = KUBE_WATCH_PAGE;
    page->number = e->number;
    page->page = a_buf_steal(&b);
}

/* ---- watches ---- */

void server_watch(struct world *w, const struct event *e)
{
    uint64_t version = strtoull(e->text, NULL, 10);
    if (e->number != w->conn || request_fails(w, e->number))
        return;
    if (version < w->oldest && chance(w, 0.5)) {
        w->counts[COUNT_EXPIRED]++;
        list_answer(w, e->number, 410, 0);
        return;
    }
    w->conn_version = version;
    w->conn_open = true;
    watch_event(w, (struct kube_watch_event){.type = KUBE_WATCH_OPEN, .request = e->number});
    after(w, between(w, 1, 50), DO_PUMP)->number = e->number;
}

/* Bytes of the watch, in two pieces cut anywhere. */
static void bytes_send(struct world *w, uint64_t request, struct a_view bytes)
{
    size_t cut = (size_t)between(w, 0, bytes.len);
    struct a_view pieces[2] = {{bytes.ptr, cut}, {bytes.ptr + cut, bytes.len - cut}}, line;
    for (int i = 0; i < 2 && w->conn == request && !w->failed; i++) {
        kube_lines_put(&w->lines, pieces[i]);
        while (kube_lines_next(&w->lines, &line)) {
            if (w->conn == request)
                watch_event(
                    w, (struct kube_watch_event){.type = KUBE_WATCH_LINE, .request = request, .text = line});
        }
    }
}

static void watch_over(struct world *w, uint64_t request, int status)
{
    w->conn_open = false;
    list_answer(w, request, status, 0);
}

/* One of the ways in which a watch goes wrong: true when it did. */
static bool watch_breaks(struct world *w, uint64_t request)
{
    if (!chance(w, 0.08))
        return false;
    switch (between(w, 0, 4)) {
    case 0:
        watch_over(w, request, 200);
        break;
    case 1:
        bytes_send(w, request, a_view_str("{\"type\":\"MODIFIED\",\"object\":{\"metadata\":{\"na")); /* cut */
        watch_over(w, request, 0);
        break;
    case 2:
        bytes_send(w, request,
                   a_view_str("{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"x\"}}}\n"));
        break;
    case 3:
        w->counts[COUNT_EXPIRED]++;
        bytes_send(w, request,
                   a_view_str("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n"));
        break;
    default:
        w->conn_open = false; /* it says nothing any more, not even that it is over */
        break;
    }
    return true;
}

/* A line of long ago on a connection that was given up: what a proxy may still bring. */
static void stray_send(struct world *w, uint64_t request)
{
    if (w->n_log == 0 || !chance(w, 0.3))
        return;
    const struct change *c = &w->log[between(w, w->n_log > 200 ? w->n_log - 200 : 0, w->n_log - 1)];
    watch_event(w, (struct kube_watch_event){.type = KUBE_WATCH_LINE,
                                             .request = request - 1,
                                             .text = {c->line, strlen(c->line) - 1}});
}

void server_pump(struct world *w, const struct event *e)
{
    A_BUF_AUTO struct a_buf bytes = {0};
    if (!w->conn_open || w->conn != e->number)
        return;
    if (w->conn_version < w->oldest) {
        w->counts[COUNT_EXPIRED]++;
        bytes_send(w, e->number,
                   a_view_str("{\"type\":\"ERROR\",\"object\":{\"kind\":\"Status\",\"code\":410}}\n"));
        return;
    }
    for (size_t i = 0; i < w->n_log; i++)
        if (w->log[i].version > w->conn_version)
            a_buf_add_str(&bytes, w->log[i].line);
    w->conn_version = w->version;
    if (bytes.len > 0)
        bytes_send(w, e->number, a_buf_view(&bytes));
    stray_send(w, e->number);
    if (w->conn != e->number || !w->conn_open || watch_breaks(w, e->number))
        return;
    if (w->now >= w->conn_until)
        watch_over(w, e->number, 200);
    else
        after(w, between(w, 20, 400), DO_PUMP)->number = e->number;
}

/* ---- writes ---- */

static void write_answer(struct world *w, const struct event *e, enum kube_pool_verb verb, int status)
{
    struct event *a = after(w, between(w, 1, 60), DO_ANSWER);
    a->verb = verb;
    a->status = status;
    snprintf(a->text, sizeof a->text, "%s", e->text);
}

/* The answer is lost; the request is carried out now, later or never. True when it was put off or dropped. */
static bool write_lost(struct world *w, const struct event *e, enum kube_pool_verb verb)
{
    if (e->status != 0 || !chance(w, 0.15)) /* status: it comes late, and nobody waits for it */
        return false;
    w->counts[COUNT_LOST]++;
    write_answer(w, e, verb, chance(w, 0.5) ? 0 : 504);
    uint64_t how = between(w, 0, 2);
    if (how == 0)
        return true;
    struct event *late = after(w, how == 1 ? 1 : between(w, 1000, 50000), e->what);
    late->pod = e->pod;
    late->status = 1;
    memcpy(late->text, e->text, sizeof late->text);
    return true;
}

void server_create(struct world *w, const struct event *e)
{
    if (write_lost(w, e, KUBE_POOL_CREATE))
        return;
    if (e->status == 0 && chance(w, 0.05)) {
        static const int refusals[] = {403, 422, 429, 500};
        write_answer(w, e, KUBE_POOL_CREATE, refusals[between(w, 0, 3)]);
        return;
    }
    bool new = pod_named(w, e->text) == NULL;
    if (new) {
        w->counts[COUNT_MADE]++;
        trace(w, "made %s", e->text);
        (void)pod_make(w, e->text, true);
    }
    if (e->status == 0)
        write_answer(w, e, KUBE_POOL_CREATE, new ? 201 : 200);
}

void server_delete(struct world *w, const struct event *e)
{
    struct pod *p = &w->pods[e->pod];
    if (write_lost(w, e, KUBE_POOL_DELETE))
        return;
    if (e->status == 0 && chance(w, 0.05)) {
        write_answer(w, e, KUBE_POOL_DELETE, chance(w, 0.5) ? 429 : 500);
        return;
    }
    if (p->exists && !p->ending) {
        w->counts[COUNT_DELETED]++;
        p->ending = true;
        p->ready = false;
        pod_changed(w, p, "MODIFIED");
        after(w, between(w, 100, 10000), DO_LIFE)->pod = e->pod;
    }
    if (e->status == 0)
        write_answer(w, e, KUBE_POOL_DELETE, p->exists ? 200 : 404);
}
