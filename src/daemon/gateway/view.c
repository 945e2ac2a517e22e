#include "daemon/gateway/view.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/file.h"
#include "sys/log.h"

#define BATCH_MAX (256u * 1024u * 1024u)
#define FILE_MAX (256u * 1024u * 1024u)
#define SAVE_AFTER_MS 1000 /* changes come in bursts: a rollout, a cluster that joins */
#define FILE_HEAD "astra gateway view 1\n"

/* ---- records ---- */

static char *key_make(char kind, struct a_view id)
{
    A_BUF_AUTO struct a_buf key = {0};
    a_buf_add_char(&key, kind);
    a_buf_add_view(&key, id);
    return a_buf_steal(&key);
}

static struct d_gw_record *record_find(const struct d_gw_view *v, char kind, struct a_view id)
{
    A_AUTOFREE char *key = key_make(kind, id);
    struct a_map_link *l = a_map_get_str(&v->records, key);
    return l != NULL ? a_map_entry(l, struct d_gw_record, by_key) : NULL;
}

static void record_free(struct d_gw_view *v, struct d_gw_record *r)
{
    a_map_remove(&v->records, &r->by_key);
    a_list_remove(&r->due);
    a_buf_deinit(&r->frame);
    a_free(r->in_flight);
    a_free(r->key);
    a_free(r);
}

/* A restart from the file as it is would bring back what this batch changed or removed. */
static void batch_takes(struct d_gw_view *v)
{
    v->takes = v->batches;
}

static struct d_gw_record *record_set(struct d_gw_view *v, char kind, struct a_view id, struct a_view frame)
{
    struct d_gw_record *r = record_find(v, kind, id);
    if (r == NULL) {
        r = a_new(struct d_gw_record);
        r->key = key_make(kind, id);
        r->since_batch = v->batches;
        a_map_put_str(&v->records, &r->by_key, r->key);
    } else if (!a_view_equal(a_buf_view(&r->frame), frame)) {
        batch_takes(v);
    }
    a_buf_reset(&r->frame);
    a_buf_add_view(&r->frame, frame);
    r->marked = true;
    return r;
}

static void endpoint_set(struct d_gw_view *v, const struct wire_sl_endpoint *m, struct a_view frame)
{
    struct d_gw_record *r = record_set(v, 'e', m->id, frame);
    r->is_endpoint = true;
    r->state = m->state;
    r->app = m->app;
    r->unit = m->unit;
    if (r->in_flight == NULL)
        r->in_flight = a_alloc_array(v->workers, sizeof *r->in_flight);
    if (m->state == WIRE_SL_ENDPOINT_DRAINING)
        r->dirty = true; /* the server wants to hear of it even if it was never used */
}

static void record_drop(struct d_gw_view *v, char kind, struct a_view id)
{
    struct d_gw_record *r = record_find(v, kind, id);
    if (r == NULL)
        return;
    batch_takes(v);
    record_free(v, r);
}

static void frame_merge(struct d_gw_view *v, const struct wire_sl_message *m, struct a_view frame)
{
    if (m->type == WIRE_SL_T_ROUTE)
        record_set(v, 'r', m->route.id, frame);
    else if (m->type == WIRE_SL_T_ENDPOINT)
        endpoint_set(v, &m->endpoint, frame);
    else if (m->type == WIRE_SL_T_ROUTE_GONE)
        record_drop(v, 'r', m->route_gone.id);
    else if (m->type == WIRE_SL_T_ENDPOINT_GONE)
        record_drop(v, 'e', m->endpoint_gone.id);
}

/* Calls each(v, message, frame) for the frames of `bytes`; false when they are no frames. */
static bool frames_each(struct d_gw_view *v, struct a_view bytes,
                        void (*each)(struct d_gw_view *v, const struct wire_sl_message *m,
                                     struct a_view frame))
{
    A_ARENA_AUTO struct a_arena arena = {0};
    while (bytes.len > 0) {
        struct wire_sl_frame frame;
        struct wire_sl_message m;
        if (wire_sl_frame_parse(bytes, &frame, NULL) != 0)
            return false;
        if (wire_sl_decode(&frame, &arena, &m, NULL) == 0)
            each(v, &m, (struct a_view){bytes.ptr, frame.size});
        a_arena_reset(&arena);
        bytes.ptr += frame.size;
        bytes.len -= frame.size;
    }
    return true;
}

/* ---- batches ---- */

static void save_later(struct d_gw_view *v);
static void save_now(void *ctx);

static void batch_merge(struct d_gw_view *v)
{
    v->batches++;
    a_map_foreach (l, &v->records) {
        a_map_entry(l, struct d_gw_record, by_key)->marked = !v->batch_snapshot;
    }
    bool ok = frames_each(v, a_buf_view(&v->batch), frame_merge);
    a_assert(ok);
    a_map_foreach (l, &v->records) {
        struct d_gw_record *r = a_map_entry(l, struct d_gw_record, by_key);
        if (r->marked)
            continue;
        batch_takes(v);
        record_free(v, r);
    }
}

static void batch_begin(struct d_gw_view *v, bool snapshot)
{
    a_buf_reset(&v->batch);
    v->batch.max = BATCH_MAX;
    v->in_batch = true;
    v->batch_snapshot = snapshot;
}

bool d_gw_view_take(struct d_gw_view *v, const struct wire_sl_message *m, const struct a_uuid *server)
{
    A_ERROR_AUTO struct a_error error = {0};
    if (m->type == WIRE_SL_T_VIEW_BEGIN)
        batch_begin(v, m->view_begin.snapshot);
    if (!v->in_batch)
        return false;
    if (wire_sl_encode(&v->batch, m, &error) != 0) {
        sys_log(ERROR, "gateway", "view.refused", "a change of the routes cannot be kept", SYS_ERR(&error));
        v->in_batch = false;
        return false;
    }
    if (m->type != WIRE_SL_T_VIEW_END)
        return false;
    v->in_batch = false;
    v->sequence = m->view_end.sequence;
    v->server = *server;
    batch_merge(v);
    if (v->takes == v->batches)
        save_now(v);
    else
        save_later(v);
    return true;
}

void d_gw_view_break(struct d_gw_view *v)
{
    v->in_batch = false;
}

/* ---- counting ---- */

static void endpoint_count(struct d_gw_record *r, unsigned worker, const struct d_gw_part_endpoint *e)
{
    r->in_flight[worker] = e->in_flight;
    r->ok += e->ok;
    r->ok_total += e->ok;
    r->failed += e->failed;
    r->refused += e->refused;
    r->failed_total += e->failed + e->refused;
    r->resent += e->resent;
    r->latency_us_sum += e->latency_us_sum;
    a_latency_merge(&r->latency, &e->latency);
    if (e->error[0] != '\0')
        memcpy(r->error, e->error, sizeof r->error);
    r->dirty = true;
}

void d_gw_view_count(struct d_gw_view *v, const struct d_gw_part *part)
{
    for (size_t i = 0; i < part->n_endpoints; i++) {
        struct d_gw_record *r = record_find(v, 'e', a_view_str(part->endpoints[i].id));
        if (r != NULL && part->applied >= r->since_batch)
            endpoint_count(r, part->worker, &part->endpoints[i]);
    }
}

struct d_gw_record *d_gw_view_endpoint(const struct d_gw_view *v, struct a_view id)
{
    return record_find(v, 'e', id);
}

void d_gw_view_endpoints(const struct d_gw_view *v, void (*take)(void *ctx, const struct wire_sl_endpoint *e),
                         void *ctx)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    a_map_foreach (l, &v->records) {
        const struct d_gw_record *r = a_map_entry(l, struct d_gw_record, by_key);
        struct wire_sl_frame frame;
        struct wire_sl_message m;
        if (r->is_endpoint && wire_sl_frame_parse(a_buf_view(&r->frame), &frame, NULL) == 0 &&
            wire_sl_decode(&frame, &arena, &m, NULL) == 0)
            take(ctx, &m.endpoint);
        a_arena_reset(&arena);
    }
}

uint64_t d_gw_record_in_flight(const struct d_gw_view *v, const struct d_gw_record *r)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < v->workers; i++)
        sum += r->in_flight[i];
    return sum;
}

/* ---- the file ---- */

static void file_make(struct d_gw_view *v, struct a_buf *b)
{
    struct wire_sl_message begin = {.type = WIRE_SL_T_VIEW_BEGIN, .view_begin = {.snapshot = true}};
    struct wire_sl_message end = {.type = WIRE_SL_T_VIEW_END};
    struct wire_sl_message ack = {.type = WIRE_SL_T_VIEW_ACK};
    ack.view_ack.sequence = v->sequence;
    ack.view_ack.server_boot_id = v->server;
    a_buf_reset(b);
    a_buf_add_str(b, FILE_HEAD);
    int rc = wire_sl_encode(b, &begin, NULL);
    a_map_foreach (l, &v->records) {
        a_buf_add_view(b, a_buf_view(&a_map_entry(l, struct d_gw_record, by_key)->frame));
    }
    if (rc == 0)
        rc = wire_sl_encode(b, &end, NULL);
    if (rc == 0)
        rc = wire_sl_encode(b, &ack, NULL); /* whose view this is */
    a_assert(rc == 0);
}

static void file_write(struct d_gw_view *v)
{
    A_ERROR_AUTO struct a_error error = {0};
    v->save_rc = sys_file_write_atomic(v->path, v->saved.ptr, v->saved.len, 0600, &error);
    if (v->save_rc != 0)
        sys_log(ERROR, "gateway", "view.not_saved", "the routes cannot be kept", SYS_ERR(&error));
}

static void save_run(void *ctx)
{
    file_write(ctx);
}

static void save_done(void *ctx, bool cancelled)
{
    struct d_gw_view *v = ctx;
    v->saving = false;
    if (cancelled || v->save_rc != 0) {
        save_later(v); /* the disk may have room by then */
        return;
    }
    v->kept = v->making;
    if (v->takes > v->kept)
        save_now(v);
    else if (v->save_again)
        save_later(v);
    if (v->on_kept != NULL)
        v->on_kept(v->ctx);
}

static void save_now(void *ctx)
{
    struct d_gw_view *v = ctx;
    if (v->path == NULL)
        return;
    if (v->saving) {
        v->save_again = true;
        return;
    }
    v->save_again = false;
    v->making = v->batches;
    file_make(v, &v->saved);
    v->saving = sys_pool_submit(v->pool, v->loop, &v->save_work, save_run, save_done, v) == 0;
    if (!v->saving)
        save_later(v);
}

static void save_later(struct d_gw_view *v)
{
    if (v->path != NULL && !sys_timer_is_set(&v->save_timer))
        sys_timer_set_in(&v->save_timer, SAVE_AFTER_MS);
}

static void cursor_take(struct d_gw_view *v, const struct wire_sl_message *m, struct a_view frame)
{
    (void)frame;
    if (m->type != WIRE_SL_T_VIEW_ACK)
        return;
    v->sequence = m->view_ack.sequence;
    v->server = m->view_ack.server_boot_id;
}

bool d_gw_view_load(struct d_gw_view *v)
{
    A_ERROR_AUTO struct a_error error = {0};
    A_BUF_AUTO struct a_buf bytes = {0};
    if (v->path == NULL || !sys_file_exists(v->path))
        return false;
    int rc = sys_file_read(v->path, FILE_MAX, &bytes, &error);
    size_t head = strlen(FILE_HEAD);
    if (rc == 0 && (bytes.len < head || memcmp(bytes.ptr, FILE_HEAD, head) != 0))
        rc = a_fail(&error, -EINVAL, A_CODE_INVALID, "%s: not a view of this version", v->path);
    if (rc == 0) {
        a_buf_consume(&bytes, head);
        if (!frames_each(v, a_buf_view(&bytes), cursor_take))
            rc = a_fail(&error, -EINVAL, A_CODE_INVALID, "%s: cut short", v->path);
    }
    if (rc != 0) {
        sys_log(ERROR, "gateway", "view.not_loaded", "the kept routes cannot be read", SYS_ERR(&error));
        return false;
    }
    batch_begin(v, true);
    v->in_batch = false;
    a_buf_add_view(&v->batch, a_buf_view(&bytes));
    batch_merge(v);
    v->kept = v->batches;
    return true;
}

int d_gw_view_open(struct d_gw_view *v, struct sys_loop *loop, const char *folder, unsigned workers,
                   struct a_error *reterr)
{
    *v = (struct d_gw_view){.loop = loop, .workers = workers, .kept = UINT64_MAX};
    sys_timer_init(&v->save_timer, loop, save_now, v);
    if (folder[0] == '\0')
        return 0;
    v->kept = 0;
    int rc = sys_dir_make(folder, 0700, reterr);
    if (rc == 0)
        rc = sys_pool_new(SYS_POOL_IO, 1, 0, &v->pool, reterr);
    if (rc == 0)
        v->path = sys_path_join(folder, "view");
    return rc;
}

void d_gw_view_close(struct d_gw_view *v)
{
    if (v->loop == NULL)
        return;
    sys_pool_free(v->pool);
    bool unsaved = v->path != NULL && v->kept < v->batches;
    v->pool = NULL;
    if (unsaved) {
        file_make(v, &v->saved);
        file_write(v);
    }
    sys_timer_clear(&v->save_timer);
    a_map_foreach (l, &v->records) {
        record_free(v, a_map_entry(l, struct d_gw_record, by_key));
    }
    a_map_deinit(&v->records);
    a_buf_deinit(&v->batch);
    a_buf_deinit(&v->saved);
    a_free(a_steal(&v->path));
    v->loop = NULL;
}
