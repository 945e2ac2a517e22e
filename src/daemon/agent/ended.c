/* Logs of members that ended by themselves: they outlive the member's folder, for the app's logs.keepFailed,
 * as DATA/ended/UNIT.MEMBER.ATTEMPT.UNTIL.log. UNTIL is when it goes, in seconds of the wall clock since
 * 1970, so that an agent that comes back needs no other record. All of them together are bounded: those that
 * would go next go first. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "daemon/agent/inside.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"

#define KEEP_DEFAULT_S 86400
#define LOOK_MAX_MS 3600000 /* between two looks while something is kept: the wall clock may be set */
#define LOOK_MIN_MS 1000

uint64_t d_ended_keep_s(const struct d_member *m)
{
    uint64_t ms;
    const char *text = wire_value_string(wire_value_path(m->document, "spec.logs.keepFailed"), NULL);
    return text != NULL && a_text_duration(a_view_str(text), &ms) ? (ms + 999) / 1000 : KEEP_DEFAULT_S;
}

void d_ended_keep(const struct d_member *m)
{
    A_AUTOFREE char *dir = sys_path_join(m->agent->data, "ended");
    A_AUTOFREE char *from = sys_path_join(m->folder, D_SHIM_LOG_FILE);
    uint64_t keep = d_ended_keep_s(m), until = sys_clock_wall_ms() / 1000 + keep;
    A_AUTOFREE char *to =
        a_asprintf("%s/%s.%s.%u.%" PRIu64 ".log", dir, m->id.unit.s, m->id.member.s, m->id.attempt, until);
    if (m->exited && keep > 0 && sys_file_exists(from) && sys_dir_make(dir, 0700, NULL) == 0) {
        int ignored A_UNUSED = sys_file_rename(from, to, NULL);
    }
}

struct kept {
    char *path;
    uint64_t until_s, bytes;
};

struct listing {
    const char *dir;
    uint64_t now_s;
    struct kept *files;
    size_t n;
    uint64_t bytes;
};

/* The number before ".log"; a file that has none is of no use to anybody. */
static bool name_until(const char *name, uint64_t *ret)
{
    struct a_view v = a_view_str(name);
    const struct a_view end = A_VIEW_LIT(".log");
    if (v.len < end.len || memcmp(v.ptr + v.len - end.len, end.ptr, end.len) != 0)
        return false;
    v.len -= end.len;
    size_t from = v.len;
    while (from > 0 && v.ptr[from - 1] != '.')
        from--;
    return a_text_u64((struct a_view){v.ptr + from, v.len - from}, ret);
}

static void path_remove(const char *path)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (sys_file_remove(path, &e) < 0)
        sys_log(WARN, "agent", "ended.remove", "a log that is over stays", SYS_ERR(&e));
}

static int file_look(void *ctx, const char *name, bool is_dir)
{
    struct listing *l = ctx;
    struct sys_stat st;
    struct kept k = {.path = sys_path_join(l->dir, name)};
    if (is_dir || sys_file_stat(k.path, &st, NULL) < 0) {
        a_free(k.path);
    } else if (!name_until(name, &k.until_s) || k.until_s <= l->now_s) {
        path_remove(k.path);
        a_free(k.path);
    } else {
        k.bytes = st.size;
        l->files = a_realloc(l->files, (l->n + 1) * sizeof *l->files);
        l->files[l->n++] = k;
        l->bytes += k.bytes;
    }
    return 0;
}

static size_t next_to_go(const struct listing *l)
{
    size_t next = 0;
    for (size_t i = 1; i < l->n; i++)
        if (l->files[i].until_s < l->files[next].until_s)
            next = i;
    return next;
}

static void look_run(void *ctx)
{
    struct d_agent *a = ctx;
    A_AUTOFREE char *dir = sys_path_join(a->data, "ended");
    struct listing l = {.dir = dir, .now_s = sys_clock_wall_ms() / 1000};
    int ignored A_UNUSED = sys_file_exists(dir) ? sys_dir_list(dir, file_look, &l, NULL) : 0;
    for (size_t next; l.n > 0 && l.bytes > a->options.logs_max_bytes; l.files[next] = l.files[--l.n]) {
        next = next_to_go(&l);
        path_remove(l.files[next].path);
        l.bytes -= l.files[next].bytes;
        a_free(l.files[next].path);
    }
    a->ended_next_ms = l.n > 0 ? (l.files[next_to_go(&l)].until_s - l.now_s) * 1000 : A_NEVER;
    for (size_t i = 0; i < l.n; i++)
        a_free(l.files[i].path);
    a_free(l.files);
}

static void look_done(void *ctx, bool cancelled)
{
    struct d_agent *a = ctx;
    a->ended_look.running = false;
    if (!cancelled && !a->closing && a->ended_next_ms != A_NEVER && !sys_timer_is_set(&a->ended_timer))
        sys_timer_set_in(&a->ended_timer,
                         A_MIN(A_MAX(a->ended_next_ms, (uint64_t)LOOK_MIN_MS), (uint64_t)LOOK_MAX_MS));
}

static void look(void *ctx)
{
    struct d_agent *a = ctx;
    bool busy = a->ended_look.running;
    a->ended_look.running = true;
    if (busy || sys_pool_submit(a->io, a->loop, &a->ended_look.work, look_run, look_done, a) < 0) {
        a->ended_look.running = busy;
        sys_timer_set_in(&a->ended_timer, LOOK_MIN_MS);
    }
}

void d_ended_start(struct d_agent *a)
{
    sys_timer_init(&a->ended_timer, a->loop, look, a);
    sys_timer_set_in(&a->ended_timer, 0);
}

void d_ended_look(struct d_agent *a)
{
    if (!a->closing)
        sys_timer_set_in(&a->ended_timer, 0);
}

void d_ended_stop(struct d_agent *a)
{
    sys_timer_clear(&a->ended_timer);
}
