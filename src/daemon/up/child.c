/* One child's life: start, ready file, death, and again after a second. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/arena.h"
#include "daemon/up/inside.h"
#include "sys/env.h"
#include "sys/file.h"
#include "wire/value.h"

#define LOOK_MS 25      /* for the ready file */
#define READY_MS 120000 /* a start takes milliseconds; minutes only where the machine is on its knees */
#define AGAIN_MS 1000   /* before a dead child is started again */
#define READY_MAX 4096

static void ended(void *ctx, const struct sys_exit *e);
static void child_start(void *ctx);

/* ---- ready ---- */

/* The child's own ports, out of its ready file; false when the file is not there yet. */
static bool ready_read(struct d_up_child *c)
{
    static const char *const names[][2] = {[D_UP_SERVER] = {"api", "starlink"},
                                           [D_UP_GATEWAY] = {"gateway", "admin"},
                                           [D_UP_AGENT] = {"agent", NULL}};
    A_AUTOFREE char *path = d_up_run_path(&c->up->layout, c->name, "ready");
    A_ARENA_AUTO struct a_arena arena = {0};
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_value *tree;
    if (sys_file_read(path, READY_MAX, &text, NULL) < 0 ||
        wire_json_parse(&arena, a_buf_view(&text), path, NULL, &tree, NULL) < 0)
        return false;
    for (size_t i = 0; i < 2 && names[c->kind][i] != NULL; i++)
        c->ports[i] = (uint16_t)wire_value_int(wire_value_get(tree, names[c->kind][i]), 0);
    return true;
}

static void ready_look(void *ctx)
{
    struct d_up_child *c = ctx;
    if (ready_read(c)) {
        c->ready = c->was_ready = true;
        d_up_child_ready(c);
        return;
    }
    if (!c->was_ready && sys_loop_now_ms(c->up->loop) > c->started_ms + READY_MS)
        d_up_fail(c->up, "%s is not ready after %d s; see %s/%s.log", c->name, READY_MS / 1000,
                  c->up->layout.log, c->name);
    else
        sys_timer_set_in(&c->timer, LOOK_MS);
}

/* ---- starting ---- */

/* Ours, and by whom it was started: what has lost its pid file is found by this. */
static const char **environment_make(const struct d_up *up)
{
    const char *const *ours = sys_env_all();
    size_t n = 0, k = 0;
    while (ours[n] != NULL)
        n++;
    const char **env = a_alloc_array(n + 2, sizeof *env);
    for (size_t i = 0; i < n; i++)
        if (strncmp(ours[i], "ASTRA_UP=", 9) != 0)
            env[k++] = ours[i];
    env[k] = up->layout.mark;
    return env;
}

static int spawn(struct d_up_child *c, struct a_error *reterr)
{
    struct d_up *up = c->up;
    A_AUTOFREE const char **env = environment_make(up);
    A_CLEANUP(d_up_words_deinit)
    struct d_up_words words;
    SYS_FD_AUTO int log = -1;
    d_up_command_build(c, &words);
    int rc = d_up_log_open(up, c->name, &log, reterr);
    if (rc < 0)
        return rc;
    const struct sys_fd_map fds[] = {{log, 1}, {log, 2}};
    const struct sys_spawn_options options = {
        .file = up->self_path,
        .argv = (const char *const *)words.words,
        .env = env,
        .fds = fds,
        .n_fds = 2,
        .new_session = true, /* a terminal's Ctrl-C is for the supervisor alone */
    };
    return sys_process_start(up->loop, &options, ended, c, &c->process, reterr);
}

static void start_again_in(struct d_up_child *c, uint64_t ms)
{
    sys_timer_clear(&c->timer);
    sys_timer_init(&c->timer, c->up->loop, child_start, c);
    sys_timer_set_in(&c->timer, ms);
}

/* True while somebody wants it to stay away. */
static bool is_held(struct d_up_child *c)
{
    A_AUTOFREE char *path = a_asprintf("%s/hold.%s", c->up->layout.data, c->name);
    bool held = sys_file_exists(path);
    if (held && !c->held)
        d_up_say("%s is not started while %s is there", c->name, path);
    c->held = held;
    return held;
}

static void child_start(void *ctx)
{
    struct d_up_child *c = ctx;
    struct d_up *up = c->up;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_AUTOFREE char *ready = d_up_run_path(&up->layout, c->name, "ready");
    if (up->ending)
        return;
    if (is_held(c)) {
        start_again_in(c, AGAIN_MS);
        return;
    }
    int rc = sys_file_remove(ready, &e);
    if (rc == 0)
        rc = spawn(c, &e);
    if (rc == 0)
        rc = d_up_pid_write(&up->layout, c->name, sys_process_id(c->process), &e);
    if (rc < 0 && !up->announced) {
        d_up_fail(up, "%s cannot be started: %s", c->name, a_error_text(&e));
        return;
    }
    if (rc < 0 && c->process == NULL) {
        d_up_say("%s cannot be started: %s; trying again", c->name, a_error_text(&e));
        start_again_in(c, AGAIN_MS);
        return;
    }
    c->started_ms = sys_loop_now_ms(up->loop);
    sys_timer_clear(&c->timer);
    sys_timer_init(&c->timer, up->loop, ready_look, c);
    sys_timer_set_in(&c->timer, LOOK_MS);
}

void d_up_child_start(struct d_up_child *c)
{
    child_start(c);
}

/* ---- its end ---- */

static void ended(void *ctx, const struct sys_exit *e)
{
    struct d_up_child *c = ctx;
    A_BUF_AUTO struct a_buf how = {0};
    sys_exit_print(e, &how);
    sys_process_close(c->process);
    c->process = NULL;
    c->ready = false;
    sys_timer_clear(&c->timer);
    if (c->up->ending)
        return;
    d_up_pid_remove(&c->up->layout, c->name);
    if (!c->up->announced) {
        d_up_log_tail_print(&c->up->layout, c->name);
        d_up_fail(c->up, "%s ended before it was ready (%s); its log is %s/%s.log", c->name, how.ptr,
                  c->up->layout.log, c->name);
        return;
    }
    d_up_say("%s ended (%s); it is started again in %d s", c->name, how.ptr, AGAIN_MS / 1000);
    start_again_in(c, AGAIN_MS);
}

void d_up_child_close(struct d_up_child *c)
{
    sys_timer_clear(&c->timer);
    sys_process_close(c->process);
    c->process = NULL;
    a_free(c->name);
    c->name = NULL;
}
