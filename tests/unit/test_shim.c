/* The shim: its files, and real members (shells) under real shims. Numbers S.. are those of
 * docs/components/shim.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "daemon/shim/control.h"
#include "daemon/shim/member.h"
#include "daemon/shim/shim.h"
#include "daemon/shim/spec.h"

struct run {
    char folder[64];
    pid_t shim;
    struct d_shim_state state;
};

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
}

static void path_of(const struct run *r, const char *name, char out[128])
{
    snprintf(out, 128, "%s/%s", r->folder, name);
}

static size_t text_read(const struct run *r, const char *name, char *out, size_t size)
{
    char path[128];
    path_of(r, name, path);
    FILE *f = fopen(path, "re");
    size_t n = f != NULL ? fread(out, 1, size - 1, f) : 0;
    if (f != NULL)
        fclose(f);
    out[n] = '\0';
    return n;
}

static void state_read(struct run *r)
{
    char text[2048];
    size_t n = text_read(r, D_SHIM_STATE_FILE, text, sizeof text);
    if (n > 0)
        assert_int_equal(d_shim_state_parse((struct a_view){text, n}, &r->state, NULL), 0);
}

static void phase_await(struct run *r, enum d_shim_phase phase)
{
    for (int i = 0; i < 4000; i++, nap()) {
        state_read(r);
        if (r->state.phase == phase && r->state.shim.pid > 0)
            return;
    }
    fail_msg("the shim did not reach phase %d", phase);
}

static void log_await(const struct run *r, const char *what)
{
    char text[65536];
    for (int i = 0; i < 4000; i++, nap()) {
        text_read(r, D_SHIM_LOG_FILE, text, sizeof text);
        if (strstr(text, what) != NULL)
            return;
    }
    fail_msg("the log never said %s", what);
}

static void run_start(struct run *r, struct d_shim_spec *spec, const char *script)
{
    char path[128];
    struct a_buf text = {0};
    *r = (struct run){.folder = "/tmp/astra-shim-XXXXXX"};
    assert_non_null(mkdtemp(r->folder));
    d_shim_spec_add_arg(spec, "/bin/sh");
    d_shim_spec_add_arg(spec, "-c");
    d_shim_spec_add_arg(spec, script);
    char marker[32];
    snprintf(marker, sizeof marker, "marker-%s", r->folder + sizeof "/tmp/astra-shim-" - 1);
    d_shim_spec_add_arg(spec, marker); /* the script's $0: what it leaves behind carries it, too */
    d_shim_spec_add_env(spec, "PATH=/usr/bin:/bin");
    d_shim_spec_print(spec, &text);
    path_of(r, D_SHIM_SPEC_FILE, path);
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(write(fd, text.ptr, text.len), (ssize_t)text.len);
    close(fd);
    a_buf_deinit(&text);
    d_shim_spec_deinit(spec);
    r->shim = fork();
    if (r->shim == 0) {
        char *argv[] = {"shim", r->folder, NULL};
        _exit(d_shim_main(2, argv));
    }
}

static void run_end(struct run *r)
{
    char command[128];
    kill(r->shim, SIGKILL);
    waitpid(r->shim, NULL, 0);
    snprintf(command, sizeof command, "rm -rf %s", r->folder);
    assert_int_equal(system(command), 0);
}

static void ask(const struct run *r, const char *line, char *answer, size_t size)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", r->folder, D_SHIM_CONTROL_SOCKET);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(write(fd, line, strlen(line)), (ssize_t)strlen(line));
    ssize_t n = read(fd, answer, size - 1);
    assert_true(n > 0);
    answer[n] = '\0';
    close(fd);
}

/* Whether any process carries the run's marker in its command line. */
static bool marker_seen(const struct run *r)
{
    char command[160];
    snprintf(command, sizeof command, "grep -qaz '[m]arker-%s' /proc/[0-9]*/cmdline 2>/dev/null",
             r->folder + sizeof "/tmp/astra-shim-" - 1);
    return system(command) == 0;
}

static void gone_await(const struct run *r)
{
    for (int i = 0; i < 2000; i++, nap())
        if (!marker_seen(r))
            return;
    fail_msg("a process of %s is left", r->folder);
}

static void test_files(void **state)
{
    (void)state;
    struct d_shim_spec spec = {.shm_bytes = 1 << 20, .grace_ms = 5, .no_namespaces = true}, again = {0};
    struct a_buf text = {0};
    d_shim_spec_add_arg(&spec, "/bin/x");
    d_shim_spec_add_arg(&spec, "two\nlines \\ and more");
    d_shim_spec_add_env(&spec, "A=b=c");
    d_shim_spec_print(&spec, &text);
    a_buf_add_str(&text, "later_key some value\n"); /* S7: an unknown key is skipped */
    assert_int_equal(d_shim_spec_parse(a_buf_view(&text), &again, NULL), 0);
    assert_int_equal(again.n_argv, 2);
    assert_string_equal(again.argv[1], "two\nlines \\ and more");
    assert_string_equal(again.env[0], "A=b=c");
    assert_null(again.env[1]);
    assert_true(again.no_namespaces);
    assert_int_equal(again.shm_bytes, 1 << 20);
    d_shim_spec_deinit(&spec);
    d_shim_spec_deinit(&again);
    a_buf_deinit(&text);
    static const char *const bad[] = {
        "",
        "version 2\narg x\n",
        "version 1\n",
        "version 1\narg x\nenv y\n",
        "version 1\narg x\\q\n",
        "version 1\narg x\nuid -1\n",
        "version 1\narg x\nshm_bytes 1x\n",
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_int_equal(d_shim_spec_parse(a_view_str(bad[i]), &again, NULL), -EINVAL);
}

static void test_commands(void **state)
{
    (void)state;
    enum d_shim_command c;
    uint64_t grace;
    assert_true(d_shim_command_parse(A_VIEW_LIT("TERM 1500"), &c, &grace));
    assert_int_equal(c, D_SHIM_TERM);
    assert_int_equal(grace, 1500);
    assert_true(d_shim_command_parse(A_VIEW_LIT("KILL"), &c, &grace));
    assert_false(d_shim_command_parse(A_VIEW_LIT("KILL x"), &c, &grace));
    assert_false(d_shim_command_parse(A_VIEW_LIT("STATUS 1"), &c, &grace));
    assert_false(d_shim_command_parse(A_VIEW_LIT(""), &c, &grace));
}

/* S1, S2: the member's own status is what the state file says. */
static void test_exit(void **state)
{
    (void)state;
    struct run r;
    run_start(&r, &(struct d_shim_spec){0}, "echo out; echo err >&2; exit 7");
    phase_await(&r, D_SHIM_EXITED);
    assert_int_equal(r.state.exit_code, 7);
    assert_int_equal(r.state.exit_signal, 0);
    log_await(&r, "out\nerr\n");
    run_end(&r);
    run_start(&r, &(struct d_shim_spec){0}, "kill -SEGV $$");
    phase_await(&r, D_SHIM_EXITED);
    assert_int_equal(r.state.exit_code, -1);
    assert_int_equal(r.state.exit_signal, SIGSEGV);
    run_end(&r);
}

static void test_no_such_command(void **state)
{
    (void)state;
    struct run r;
    struct d_shim_spec spec = {.no_namespaces = true};
    d_shim_spec_add_arg(&spec, "/nonexistent/python3");
    run_start(&r, &spec, "");
    phase_await(&r, D_SHIM_EXITED);
    assert_int_equal(r.state.exit_code, 127);
    assert_non_null(strstr(r.state.message, "/nonexistent/python3"));
    assert_non_null(strstr(r.state.message, "No such file"));
    run_end(&r);
}

static void stop_try(bool no_namespaces, const char *command, int code, int signal_number)
{
    struct run r;
    char answer[128];
    run_start(&r, &(struct d_shim_spec){.no_namespaces = no_namespaces},
              "setsid sh -c 'sleep 4711; :' $0 & trap 'exit 5' TERM; echo up; while :; do sleep "
              "0.02; done");
    phase_await(&r, D_SHIM_RUNNING);
    assert_true(r.state.member.pid > 0 && r.state.member.start > 0);
    log_await(&r, "up");
    ask(&r, "STATUS\n", answer, sizeof answer);
    assert_memory_equal(answer, "OK running ", 11);
    ask(&r, command, answer, sizeof answer);
    assert_memory_equal(answer, "OK stopping ", 12);
    phase_await(&r, D_SHIM_EXITED);
    assert_int_equal(r.state.exit_code, code);
    assert_int_equal(r.state.exit_signal, signal_number);
    gone_await(&r); /* S3 */
    run_end(&r);
}

static void test_stop(void **state)
{
    (void)state;
    stop_try(false, "TERM 5000\n", 5, 0);
    stop_try(true, "TERM 5000\n", 5, 0);
    stop_try(false, "KILL\n", -1, SIGKILL);
    stop_try(true, "KILL\n", -1, SIGKILL);
}

/* A member that does not listen is killed when its grace is over. */
static void test_grace(void **state)
{
    (void)state;
    struct run r;
    char answer[128];
    run_start(&r, &(struct d_shim_spec){0}, "trap '' TERM; echo up; while :; do sleep 0.02; done");
    phase_await(&r, D_SHIM_RUNNING);
    log_await(&r, "up");
    ask(&r, "TERM 100\n", answer, sizeof answer);
    phase_await(&r, D_SHIM_EXITED);
    assert_int_equal(r.state.exit_signal, SIGKILL);
    run_end(&r);
}

/* S4: with namespaces, SIGKILL of the shim is the end of all. */
static void test_shim_killed(void **state)
{
    (void)state;
    struct run r;
    run_start(&r, &(struct d_shim_spec){0},
              "setsid sh -c 'sleep 4711; :' $0 & echo up; while :; do sleep 0.02; done");
    phase_await(&r, D_SHIM_RUNNING);
    log_await(&r, "up");
    assert_true(marker_seen(&r));
    if (r.state.namespaces) {
        kill(r.shim, SIGKILL);
        gone_await(&r);
    } else {
        print_message("namespaces are not allowed here: not tested\n");
    }
    run_end(&r);
}

/* S5: /dev/shm is the member's own. */
static void test_shm(void **state)
{
    (void)state;
    struct run r;
    run_start(&r, &(struct d_shim_spec){.shm_bytes = 8 << 20},
              "touch /dev/shm/astra-test-leak; ls /dev/shm; exit 0");
    phase_await(&r, D_SHIM_EXITED);
    log_await(&r, "astra-test-leak");
    if (r.state.namespaces)
        assert_int_equal(access("/dev/shm/astra-test-leak", F_OK), -1);
    unlink("/dev/shm/astra-test-leak");
    run_end(&r);
    run_start(&r, &(struct d_shim_spec){.shm_bytes = 8 << 20, .shm_models = strdup("/the/models")},
              "readlink /dev/shm/astra-models || echo none; exit 0");
    phase_await(&r, D_SHIM_EXITED);
    log_await(&r, r.state.namespaces ? "/the/models" : "none");
    run_end(&r);
}

static void test_rotation(void **state)
{
    (void)state;
    struct run r;
    struct stat st;
    char path[128];
    run_start(&r, &(struct d_shim_spec){.log_piece_bytes = 100000, .log_pieces = 3},
              "i=0; while [ $i -lt 100 ]; do head -c 10000 /dev/zero; i=$((i+1)); done; echo last");
    phase_await(&r, D_SHIM_EXITED);
    path_of(&r, "log.2", path);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size >= 100000 && st.st_size < 200000);
    path_of(&r, "log.3", path);
    assert_int_equal(stat(path, &st), -1);
    path_of(&r, "control", path);
    for (int i = 0; i < 4000 && stat(path, &st) == 0; i++) /* it goes just after the state is written */
        nap();
    assert_int_equal(stat(path, &st), -1);
    run_end(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_files),       cmocka_unit_test(test_commands),
        cmocka_unit_test(test_exit),        cmocka_unit_test(test_no_such_command),
        cmocka_unit_test(test_stop),        cmocka_unit_test(test_grace),
        cmocka_unit_test(test_shim_killed), cmocka_unit_test(test_shm),
        cmocka_unit_test(test_rotation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
