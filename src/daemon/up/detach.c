/* `astra up --detach`: the supervisor is a process of its own session that talks into LOG/up.log; whoever
 * asked for it sees what it says until all is ready. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "daemon/up/inside.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "wire/value.h"

#define LOOK_MS 50
#define READY_MAX 4096

struct detach {
    struct d_up_layout layout;
    struct sys_loop *loop;
    struct sys_signal *sigint, *sigterm;
    struct sys_process *process;
    struct sys_timer look;
    char *log, *ready;
    uint64_t shown; /* bytes of the log */
    bool over, is_ready;
    struct sys_exit exit;
};

static void log_show(struct detach *d)
{
    struct sys_map map = {0};
    if (sys_map_open(d->log, &map, NULL) < 0)
        return;
    if (map.bytes.len > d->shown) {
        (void)fwrite(map.bytes.ptr + d->shown, 1, map.bytes.len - (size_t)d->shown, stdout);
        (void)fflush(stdout);
        d->shown = map.bytes.len;
    }
    sys_map_close(&map);
}

/* The ready file of this very supervisor: another one may run with the same DATA. */
static bool ready_is_ours(const struct detach *d)
{
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_value *tree;
    return sys_file_read(d->ready, READY_MAX, &text, NULL) == 0 &&
           wire_json_parse(&arena, a_buf_view(&text), d->ready, NULL, &tree, NULL) == 0 &&
           wire_value_int(wire_value_get(tree, "pid"), 0) == sys_process_id(d->process)->pid;
}

static void look(void *ctx)
{
    struct detach *d = ctx;
    d->is_ready = !d->over && ready_is_ours(d);
    log_show(d);
    if (d->is_ready || d->over)
        sys_loop_stop(d->loop);
    else
        sys_timer_set_in(&d->look, LOOK_MS);
}

static void ended(void *ctx, const struct sys_exit *e)
{
    struct detach *d = ctx;
    d->exit = *e;
    d->over = true;
}

/* It is the supervisor's to end what it began. */
static void signalled(void *ctx, int signum)
{
    struct detach *d = ctx;
    int ignored A_UNUSED = sys_process_kill(d->process, signum);
}

/* The same words but --detach. */
static const char **words_make(int argc, char **argv)
{
    const char **words = a_alloc_array((size_t)argc + 3, sizeof *words);
    size_t n = 0;
    words[n++] = "astra";
    words[n++] = "up";
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--detach") != 0 && strcmp(argv[i], "--detach=yes") != 0)
            words[n++] = argv[i];
    words[n++] = "--detach=no"; /* also against ASTRA_CFG_UP_DETACH */
    return words;
}

static int supervisor_start(struct detach *d, int argc, char **argv, struct a_error *reterr)
{
    A_AUTOFREE const char **words = words_make(argc, argv);
    A_AUTOFREE char *self = NULL;
    SYS_FD_AUTO int log = -1;
    struct sys_stat st = {0};
    int rc = sys_path_self(&self, reterr);
    if (rc == 0)
        rc = sys_file_append_open(d->log, 0600, &log, reterr);
    if (rc == 0)
        rc = sys_file_stat(d->log, &st, reterr);
    if (rc < 0)
        return rc;
    d->shown = st.size;
    const struct sys_fd_map fds[] = {{log, 1}, {log, 2}};
    const struct sys_spawn_options options = {
        .file = self, .argv = words, .fds = fds, .n_fds = 2, .new_session = true};
    return sys_process_start(d->loop, &options, ended, d, &d->process, reterr);
}

static int detach_open(struct detach *d, const char *data, struct a_error *reterr)
{
    int rc = d_up_layout_open(data, true, &d->layout, reterr);
    if (rc == 0)
        rc = sys_loop_new(&d->loop, reterr);
    if (rc == 0)
        rc = sys_signal_open(d->loop, SIGINT, signalled, d, &d->sigint, reterr);
    if (rc == 0)
        rc = sys_signal_open(d->loop, SIGTERM, signalled, d, &d->sigterm, reterr);
    if (rc < 0)
        return rc;
    d->log = a_asprintf("%s/%s.log", d->layout.log, D_UP_SELF);
    d->ready = d_up_run_path(&d->layout, D_UP_SELF, "ready");
    sys_timer_init(&d->look, d->loop, look, d);
    return 0;
}

static void detach_close(struct detach *d)
{
    sys_timer_clear(&d->look);
    sys_process_close(d->process);
    sys_signal_close(d->sigint);
    sys_signal_close(d->sigterm);
    sys_loop_free(d->loop);
    d_up_layout_deinit(&d->layout);
    a_free(d->log);
    a_free(d->ready);
}

int d_up_detach(int argc, char **argv, const struct d_up_options *options)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct detach d = {0};
    int rc = detach_open(&d, options->data, &e), status = 0;
    if (rc == 0)
        rc = supervisor_start(&d, argc, argv, &e);
    if (rc == 0) {
        sys_timer_set_in(&d.look, LOOK_MS);
        sys_loop_run(d.loop);
        if (!d.is_ready) /* also when somebody ended it in the middle */
            status = d.exit.code > 0 ? d.exit.code : 1;
    } else {
        fprintf(stderr, "astra up: %s\n", a_error_text(&e));
        status = a_code_exit(e.code);
    }
    detach_close(&d);
    return status;
}
