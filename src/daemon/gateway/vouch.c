#include "daemon/gateway/vouch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "daemon/gateway/process.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/tcp.h"

#define ROUND_MIN_MS 100
#define PROBES_MAX 256
#define PROBE_MAX_MS 10000
#define DROP_AFTER_MS 10 /* a node that goes takes many along */
#define SEEN_MAX 256
#define BOOT_ID "/proc/sys/kernel/random/boot_id"

/* A connection that is made only to see whether anybody takes it. */
struct probe {
    struct a_list link;
    struct d_gateway *g;
    struct sys_stream *stream;
    char *endpoint;
};

static bool is_seen(const struct d_gw_vouch *v, const struct d_gw_record *r, uint64_t now)
{
    return r->seen_ms != 0 && now - A_MIN(r->seen_ms, now) <= v->limit_ms;
}

/* ---- what cannot be vouched for leaves ---- */

/* A batch of our own: the view stays the one of its server and sequence. */
static void tell(struct d_gateway *g, const struct wire_sl_message *m)
{
    const struct a_uuid server = g->view.server;
    if (d_gw_view_take(&g->view, m, &server))
        d_gw_crew_apply(g);
}

static void drop_unseen(void *ctx)
{
    struct d_gateway *g = ctx;
    uint64_t now = sys_clock_boot_ms(), n = 0, left = 0;
    struct wire_sl_message m = {.type = WIRE_SL_T_VIEW_BEGIN};
    if (!g->stale || g->view.in_batch)
        return; /* a server is telling what is true */
    a_map_foreach (l, &g->view.records) {
        const struct d_gw_record *r = a_map_entry(l, struct d_gw_record, by_key);
        bool seen = is_seen(&g->vouch, r, now);
        left += r->is_endpoint && seen;
        if (!r->is_endpoint || seen)
            continue;
        if (n++ == 0)
            tell(g, &m);
        struct wire_sl_message gone = {.type = WIRE_SL_T_ENDPOINT_GONE};
        gone.endpoint_gone.id = a_view_str(r->key + 1);
        tell(g, &gone);
    }
    if (n == 0)
        return;
    sys_log(WARN, "gateway", "view.unvouched",
            "no server is there, and these endpoints do not answer at their places: they are given up",
            SYS_U64("endpoints", n));
    m = (struct wire_sl_message){.type = WIRE_SL_T_VIEW_END};
    if (left > 0) /* else there is nothing that a server which has just begun must be careful of */
        m.view_end.sequence = g->view.sequence;
    tell(g, &m);
}

/* ---- looking ---- */

static void probes_fill(struct d_gateway *g);

static void probe_end(struct probe *p)
{
    a_list_remove(&p->link);
    p->g->vouch.n_probes--;
    sys_stream_close(p->stream);
    a_free(p->endpoint);
    a_free(p);
}

static void probe_done(void *ctx, int rc)
{
    struct probe *p = ctx;
    struct d_gateway *g = p->g;
    struct d_gw_record *r = d_gw_view_endpoint(&g->view, a_view_str(p->endpoint));
    uint64_t now = sys_clock_boot_ms();
    if (r != NULL && g->stale && rc == -ECONNREFUSED) {
        r->seen_ms = 0;
        if (!sys_timer_is_set(&g->vouch.drop_timer))
            sys_timer_set_in(&g->vouch.drop_timer, DROP_AFTER_MS);
    } else if (r != NULL && rc == 0 && is_seen(&g->vouch, r, now)) {
        r->seen_ms = now;
    }
    probe_end(p);
    probes_fill(g);
}

static void probe_start(struct d_gateway *g, const struct d_gw_record *r)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    struct wire_sl_frame frame;
    struct wire_sl_message m;
    struct sys_addr addr;
    if (wire_sl_frame_parse(a_buf_view(&r->frame), &frame, NULL) != 0 ||
        wire_sl_decode(&frame, &arena, &m, NULL) != 0)
        return;
    const struct sys_connect_options o = {.timeout_ms = A_MIN(g->vouch.round_ms, (uint64_t)PROBE_MAX_MS)};
    A_AUTOFREE char *ip = a_view_dup(m.endpoint.ip);
    struct probe *p = a_new(struct probe);
    p->g = g;
    p->endpoint = a_strdup(r->key + 1);
    a_list_push_back(&g->vouch.probes, &p->link);
    g->vouch.n_probes++;
    int rc = sys_addr_make(ip, m.endpoint.port, &addr, NULL);
    if (rc == 0)
        rc = sys_stream_connect(g->loop, &addr, &o, probe_done, p, &p->stream, NULL);
    if (rc != 0)
        probe_end(p);
}

static void probes_fill(struct d_gateway *g)
{
    struct d_gw_vouch *v = &g->vouch;
    while (v->n_probes < PROBES_MAX && !a_list_empty(&v->due)) {
        struct a_list *l = a_list_pop_front(&v->due);
        probe_start(g, a_list_entry(l, struct d_gw_record, due));
    }
}

/* ---- DATA/seen ---- */

static void stamp_run(void *ctx)
{
    const struct d_gw_vouch *v = ctx;
    A_ERROR_AUTO struct a_error error = {0};
    if (sys_file_write_atomic(v->path, v->stamp, strlen(v->stamp), 0600, &error) != 0)
        sys_log(WARN, "gateway", "view.seen", "the time of the kept routes was not written", SYS_ERR(&error));
}

static void stamp_done(void *ctx, bool cancelled)
{
    struct d_gw_vouch *v = ctx;
    (void)cancelled;
    v->writing = false;
}

/* Speaks of the file as it is: what left the view must have left the file. */
static void stamp_write(struct d_gateway *g)
{
    struct d_gw_vouch *v = &g->vouch;
    uint64_t since = sys_clock_boot_ms();
    if (v->path == NULL || v->boot[0] == '\0' || v->writing || g->view.kept < g->view.batches)
        return;
    a_map_foreach (l, &g->view.records) {
        const struct d_gw_record *r = a_map_entry(l, struct d_gw_record, by_key);
        since = r->is_endpoint ? A_MIN(since, r->seen_ms) : since;
    }
    snprintf(v->stamp, sizeof v->stamp, "%s %" PRIu64 "\n", v->boot, since);
    v->writing = sys_pool_submit(g->view.pool, g->loop, &v->work, stamp_run, stamp_done, v) == 0;
}

static uint64_t stamp_read(const struct d_gw_vouch *v)
{
    A_BUF_AUTO struct a_buf text = {0};
    uint64_t at = 0, now = sys_clock_boot_ms();
    size_t boot = strlen(v->boot);
    if (v->path == NULL || boot == 0 || sys_file_read(v->path, SEEN_MAX, &text, NULL) != 0)
        return 0;
    struct a_view rest = a_buf_view(&text);
    if (rest.len < boot + 3 || memcmp(rest.ptr, v->boot, boot) != 0)
        return 0;
    rest = (struct a_view){rest.ptr + boot + 1, rest.len - boot - 2};
    return a_text_u64(rest, &at) && at <= now ? at : 0;
}

/* ---- the round ---- */

static void seen_set(struct d_gateway *g, uint64_t at_ms)
{
    a_map_foreach (l, &g->view.records) {
        a_map_entry(l, struct d_gw_record, by_key)->seen_ms = at_ms;
    }
}

static bool has_slept(const struct d_gw_vouch *v)
{
    return sys_clock_boot_ms() - v->looked_ms > 2 * v->round_ms;
}

/* Who slept does not know what became of the connection: it is made anew, and the server tells all. */
static void wake(struct d_gateway *g)
{
    if (g->stale || !has_slept(&g->vouch))
        return;
    g->stale = true;
    d_gw_link_again(g);
}

static void look(void *ctx)
{
    struct d_gateway *g = ctx;
    struct d_gw_vouch *v = &g->vouch;
    sys_timer_set_in(&v->look_timer, v->round_ms);
    wake(g);
    v->looked_ms = sys_clock_boot_ms();
    if (!g->stale) {
        seen_set(g, v->looked_ms);
    } else {
        drop_unseen(g);
        a_map_foreach (l, &g->view.records) {
            struct d_gw_record *r = a_map_entry(l, struct d_gw_record, by_key);
            if (r->is_endpoint && !a_list_linked(&r->due))
                a_list_push_back(&v->due, &r->due);
        }
        probes_fill(g);
    }
    stamp_write(g);
}

void d_gw_vouch_kept(struct d_gateway *g)
{
    if (!g->stale && !has_slept(&g->vouch))
        seen_set(g, sys_clock_boot_ms());
    stamp_write(g);
}

void d_gw_vouch_all(struct d_gateway *g)
{
    seen_set(g, sys_clock_boot_ms());
}

void d_gw_vouch_restored(struct d_gateway *g)
{
    seen_set(g, stamp_read(&g->vouch));
    look(g);
}

static void boot_read(struct d_gw_vouch *v)
{
    A_BUF_AUTO struct a_buf text = {0};
    if (sys_file_read(BOOT_ID, SEEN_MAX, &text, NULL) == 0)
        snprintf(v->boot, sizeof v->boot, "%.36s", text.ptr);
}

void d_gw_vouch_start(struct d_gateway *g)
{
    struct d_gw_vouch *v = &g->vouch;
    a_list_init(&v->due);
    a_list_init(&v->probes);
    v->round_ms = A_MAX(g->options.port_rest_ms / 6, (uint64_t)ROUND_MIN_MS);
    v->limit_ms = 3 * v->round_ms;
    v->looked_ms = sys_clock_boot_ms();
    if (g->options.data[0] != '\0')
        v->path = sys_path_join(g->options.data, "seen");
    boot_read(v);
    sys_timer_init(&v->look_timer, g->loop, look, g);
    sys_timer_init(&v->drop_timer, g->loop, drop_unseen, g);
    sys_timer_set_in(&v->look_timer, v->round_ms);
}

void d_gw_vouch_stop(struct d_gateway *g)
{
    struct d_gw_vouch *v = &g->vouch;
    if (v->due.next == NULL)
        return;
    a_list_foreach_safe (l, &v->probes)
        probe_end(a_list_entry(l, struct probe, link));
    sys_timer_clear(&v->look_timer);
    sys_timer_clear(&v->drop_timer);
    a_free(a_steal(&v->path));
}
