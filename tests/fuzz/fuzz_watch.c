/* A watch of pods: any page and any bytes. The first line is the page, the rest the watch, cut into pieces of
 * several sizes: all give the same rows. The updates add up to the cache: what was added and is not gone is
 * in it, and nothing else. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "kube/pod.h"

struct follower {
    struct kube_watch *watch;
    struct kube_watch_update u;
    uint64_t now, request;
    size_t rows; /* by the updates */
};

static void step(struct follower *f, struct kube_watch_event e)
{
    e.now_ms = ++f->now;
    e.request = f->request;
    kube_watch_step(f->watch, &e, &f->u);
    for (size_t i = 0; i < f->u.n_changes; i++) {
        const struct kube_change *c = &f->u.changes[i];
        const struct kube_pod *pod = kube_row_pod(c->row);
        a_assert(kube_row_name(c->row).len > 0 && kube_row_uid(c->row).len > 0);
        a_assert(kube_row_text(c->row, pod->message).len <= 256);
        a_assert((c->type == KUBE_ROW_CHANGED) == (c->before != NULL));
        f->rows += c->type == KUBE_ROW_ADDED;
        f->rows -= c->type == KUBE_ROW_GONE;
    }
    a_assert(f->rows == kube_watch_count(f->watch));
    if (f->u.ask != KUBE_ASK_NOTHING)
        f->request = f->u.request;
    a_assert(f->u.ask != KUBE_ASK_WATCH || f->u.version[0] != '\0');
}

/* Until a request is under way: deadlines come, and lead somewhere. */
static void wait_for(struct follower *f, enum kube_watch_ask ask)
{
    for (int i = 0; f->u.ask != ask; i++) {
        a_assert(i < 100);
        f->now = kube_watch_deadline(f->watch);
        step(f, (struct kube_watch_event){.type = KUBE_WATCH_TICK});
    }
}

static size_t follow(struct a_view page, struct a_view rest, size_t cut, struct a_buf *ret)
{
    struct follower f = {.watch =
                             kube_watch_new(&(struct kube_watch_options){.kind = &kube_kind_pod, .seed = 1})};
    struct kube_lines lines = {0};
    struct a_view line;
    bool over = false;
    wait_for(&f, KUBE_ASK_LIST);
    step(&f, (struct kube_watch_event){.type = KUBE_WATCH_PAGE, .text = page});
    if (f.u.ask != KUBE_ASK_WATCH) { /* it is no list, or no whole one: it begins again */
        step(&f, (struct kube_watch_event){.type = KUBE_WATCH_END, .status = 410});
        wait_for(&f, KUBE_ASK_LIST);
        step(&f, (struct kube_watch_event){
                     .type = KUBE_WATCH_PAGE,
                     .text = a_view_str("{\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[]}")});
    }
    a_assert(f.u.ask == KUBE_ASK_WATCH);
    step(&f, (struct kube_watch_event){.type = KUBE_WATCH_OPEN});
    for (size_t at = 0; at < rest.len && !over; at += cut) {
        kube_lines_put(&lines, (struct a_view){rest.ptr + at, A_MIN(cut, rest.len - at)});
        while (!over && kube_lines_next(&lines, &line)) {
            step(&f, (struct kube_watch_event){.type = KUBE_WATCH_LINE, .text = line});
            over = f.u.cancel;
        }
    }
    size_t rows = f.rows;
    for (const struct kube_row *row = NULL; (row = kube_watch_next(f.watch, row)) != NULL;)
        a_buf_addf(ret, A_VIEW_FMT " " A_VIEW_FMT " %d\n", A_VIEW_ARG(kube_row_text(row, row->key)),
                   A_VIEW_ARG(kube_row_text(row, row->version)), kube_row_pod(row)->phase);
    kube_lines_deinit(&lines);
    kube_watch_free(f.watch);
    return rows;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    A_BUF_AUTO struct a_buf whole = {0}, cut = {0};
    struct a_view rest, text = {(const char *)data, size}, page = a_view_split(text, '\n', &rest);
    static const size_t cuts[] = {1, 7, 64};
    size_t rows = follow(page, rest, size + 1, &whole);
    for (size_t i = 0; i < A_ARRAY_SIZE(cuts); i++) {
        a_buf_reset(&cut);
        a_assert(follow(page, rest, cuts[i], &cut) == rows);
        a_assert(a_view_equal(a_buf_view(&whole), a_buf_view(&cut)));
    }
    return 0;
}
