/* Files and folders, locks, blocks of ports, and the small things of the OS: clocks, randomness, hashes,
 * secrets, the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/alloc.h"
#include "sys/addr.h"
#include "sys/clock.h"
#include "sys/dl.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/portblock.h"
#include "sys/random.h"
#include "sys/ready.h"
#include "sys/secret.h"
#include "sys/sha256.h"

static char *dir; /* a fresh folder for each test */

static int setup(void **state)
{
    (void)state;
    return sys_dir_make_temp("/tmp/astra-test-", &dir, NULL);
}

static int teardown(void **state)
{
    (void)state;
    int rc = sys_dir_remove(dir, NULL);
    a_free(a_steal(&dir));
    return rc;
}

/* DIR/NAME; good until the next call but three. */
static const char *in(const char *name)
{
    static char paths[4][256];
    static unsigned n;
    char *path = paths[n++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", dir, name);
    return path;
}

static int count_entry(void *ctx, const char *name, bool is_dir)
{
    (void)name;
    (void)is_dir;
    ++*(unsigned *)ctx;
    return 0;
}

static unsigned entries(const char *path)
{
    unsigned n = 0;
    assert_int_equal(sys_dir_list(path, count_entry, &n, NULL), 0);
    return n;
}

static void test_atomic_write(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct sys_stat st;
    assert_int_equal(sys_file_write_atomic(in("f"), "one", 3, 0640, NULL), 0);
    assert_int_equal(sys_file_write_atomic(in("f"), "two!", 4, 0600, NULL), 0);
    assert_int_equal(sys_file_read(in("f"), 4, &b, NULL), 0);
    assert_string_equal(b.ptr, "two!");
    assert_int_equal(sys_file_stat(in("f"), &st, NULL), 0);
    assert_true(st.is_file && st.size == 4 && st.mode == 0600);
    assert_int_equal(sys_file_read(in("f"), 3, &b, &e), -EFBIG);
    assert_string_equal(b.ptr, "two!"); /* as before */
    assert_int_equal(sys_file_read(in("none"), 3, &b, &e), -ENOENT);
    assert_int_equal(e.code, A_CODE_NOT_FOUND);
    assert_int_equal(sys_file_write_atomic(in("no/f"), "x", 1, 0600, &e), -ENOENT);
    mkdir(in("d"), 0700);
    assert_int_equal(sys_file_write_atomic(in("d"), "x", 1, 0600, &e), -EISDIR);
    assert_int_equal(entries(dir), 2); /* no temporary file is left */
}

static void test_read_without_memory(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    assert_int_equal(sys_file_write_atomic(in("f"), "one", 3, 0600, NULL), 0);
    a_try_alloc_fail_at(1);
    int rc = sys_file_read(in("f"), 100, &b, NULL);
    a_try_alloc_fail_at(0);
    assert_int_equal(rc, -ENOMEM);
}

static void test_remove_does_not_follow_links(void **state)
{
    (void)state;
    uint64_t bytes = 0;
    assert_int_equal(sys_dir_make(in("tree/a/b"), 0700, NULL), 0);
    assert_int_equal(sys_dir_make(in("tree/a/b"), 0700, NULL), 0);
    assert_int_equal(sys_dir_make(in("outside"), 0700, NULL), 0);
    assert_int_equal(sys_file_write_atomic(in("outside/keep"), "x", 1, 0600, NULL), 0);
    assert_int_equal(sys_file_write_atomic(in("tree/a/b/f"), "x", 1, 0400, NULL), 0);
    assert_int_equal(sys_symlink_replace(in("outside"), in("tree/a/link"), NULL), 0);
    assert_int_equal(sys_symlink_replace("elsewhere", in("link"), NULL), 0);
    assert_int_equal(sys_symlink_replace(in("outside"), in("link"), NULL), 0);
    A_AUTOFREE char *target = NULL;
    assert_int_equal(sys_link_read(in("link"), &target, NULL), 0);
    assert_string_equal(target, in("outside"));
    assert_int_equal(chmod(in("tree/a/b"), 0500), 0);
    assert_int_equal(sys_dir_usage(in("tree"), &bytes, NULL), 0);
    assert_true(bytes >= 4096);
    assert_int_equal(sys_dir_remove(in("tree"), NULL), 0);
    assert_int_equal(sys_dir_remove(in("link"), NULL), 0); /* the link itself */
    assert_false(sys_file_exists(in("tree")));
    assert_true(sys_file_exists(in("outside/keep")));
    assert_int_equal(sys_dir_remove(in("tree"), NULL), 0);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(sys_dir_make(in("outside/keep/x"), 0700, &e), -ENOTDIR);
}

static void test_locks(void **state)
{
    (void)state;
    int a = -1, b = -1;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(sys_lock_take(in("lock"), &a, NULL), 0);
    assert_int_equal(sys_lock_take(in("lock"), &b, &e), -EWOULDBLOCK);
    assert_non_null(strstr(a_error_text(&e), "in use by another process"));
    int heir = dup(a);
    sys_fd_close(a);
    assert_int_equal(sys_lock_take(in("lock"), &b, NULL), -EWOULDBLOCK);
    sys_fd_close(heir);
    assert_int_equal(sys_lock_take(in("lock"), &b, NULL), 0);
    assert_int_equal(fcntl(b, F_GETFD), FD_CLOEXEC);
    assert_int_equal(sys_fd_set_inherit(b, true), 0);
    assert_int_equal(fcntl(b, F_GETFD), 0);
    sys_fd_close(b);
}

static void test_map(void **state)
{
    (void)state;
    struct sys_map map = {0};
    assert_int_equal(sys_file_write_atomic(in("f"), "mapped", 6, 0600, NULL), 0);
    assert_int_equal(sys_map_open(in("f"), &map, NULL), 0);
    assert_true(a_view_is(map.bytes, "mapped"));
    sys_map_close(&map);
    sys_map_close(&map);
    assert_int_equal(sys_file_write_atomic(in("f"), "", 0, 0600, NULL), 0);
    assert_int_equal(sys_map_open(in("f"), &map, NULL), 0);
    assert_int_equal(map.bytes.len, 0);
    sys_map_close(&map);
    assert_int_equal(sys_map_open(dir, &map, NULL), -EINVAL);
}

static void test_part(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    struct sys_file_facts facts;
    assert_int_equal(sys_file_write_atomic(in("f"), "0123456789", 10, 0600, NULL), 0);
    assert_int_equal(sys_file_read_part(in("f"), 3, 4, &b, &facts, NULL), 0);
    assert_string_equal(b.ptr, "3456");
    assert_int_equal(facts.size, 10);
    assert_int_equal(facts.owner, getuid());
    assert_int_equal(sys_file_read_part(in("f"), 8, 4, &b, &facts, NULL), 0);
    assert_string_equal(b.ptr, "345689");
    assert_int_equal(sys_file_read_part(in("f"), 11, 4, &b, &facts, NULL), 0);
    assert_int_equal(sys_file_read_part(in("f"), SYS_FILE_TAIL, 2, &b, &facts, NULL), 0);
    assert_int_equal(sys_file_read_part(in("f"), SYS_FILE_TAIL, 99, &b, &facts, NULL), 0);
    assert_string_equal(b.ptr, "345689890123456789");
    assert_int_equal(sys_file_read_part(dir, 0, 1, &b, &facts, NULL), -EINVAL);
    assert_int_equal(sys_file_read_part(in("none"), 0, 1, &b, &facts, NULL), -ENOENT);
}

static void test_paths(void **state)
{
    (void)state;
    static const char *const inside[] = {"a", "a/b", "a/..b", ".hidden"};
    static const char *const outside[] = {"", "/a", "a/", "a//b", "..", "a/../b", "./a", "a/."};
    for (size_t i = 0; i < A_ARRAY_SIZE(inside); i++)
        assert_true(sys_path_is_inside(a_view_str(inside[i])));
    for (size_t i = 0; i < A_ARRAY_SIZE(outside); i++)
        if (sys_path_is_inside(a_view_str(outside[i])))
            fail_msg("accepted: %s", outside[i]);
    A_AUTOFREE char *a = sys_path_join("/x/", "y");
    A_AUTOFREE char *b = sys_path_join("/", "y");
    assert_string_equal(a, "/x/y");
    assert_string_equal(b, "/y");
    A_AUTOFREE char *self = NULL;
    assert_int_equal(sys_path_self(&self, NULL), 0);
    assert_non_null(strstr(self, "test_sys_file"));
    uint64_t free_bytes, total;
    assert_int_equal(sys_disk_free(dir, &free_bytes, &total, NULL), 0);
    assert_true(free_bytes <= total && total > 0);
}

static void test_port_blocks(void **state)
{
    (void)state;
    struct sys_portblock a = {0}, b = {0}, c = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(sys_portblock_take(in("ports"), 7, &a, NULL), 0);
    assert_int_equal(sys_portblock_take(in("ports"), 7, &b, NULL), 0);
    assert_int_not_equal(a.base, b.base);
    assert_true(a.base >= 20000 && a.base <= 29900 && a.base % 100 == 0);
    uint16_t base = a.base;
    assert_int_equal(sys_portblock_retake(in("ports"), base, &c, &e), -EWOULDBLOCK);
    /* the owner dies: the same block can be had again by its number */
    sys_portblock_leave(&a);
    assert_int_equal(sys_portblock_retake(in("ports"), base, &a, NULL), 0);
    assert_int_equal(a.base, base);
    /* given back, it rests: the next search passes over it, its number still opens it */
    sys_portblock_release(&a);
    sys_portblock_release(&a);
    assert_int_equal(sys_portblock_take(in("ports"), (base - 20000) / 100, &c, NULL), 0);
    assert_int_not_equal(c.base, base);
    sys_portblock_leave(&c);
    assert_int_equal(sys_portblock_retake(in("ports"), 20001, &c, &e), -EINVAL);
    assert_int_equal(sys_portblock_retake(in("ports"), 30000, &c, &e), -EINVAL);
    sys_portblock_leave(&b);
}

/* Somebody outside listens in the block that the search would take first. */
static void test_port_blocks_in_use_are_passed_over(void **state)
{
    (void)state;
    struct sys_portblock probe = {0}, got = {0};
    struct sys_addr addr;
    assert_int_equal(sys_portblock_take(in("ports"), 0, &probe, NULL), 0);
    uint64_t n = (uint64_t)(probe.base - 20000) / 100;
    sys_portblock_leave(&probe);
    assert_int_equal(sys_addr_make("127.0.0.1", (uint16_t)(20000 + n * 100 + 57), &addr, NULL), 0);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, &addr.sa, addr.len), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_true(sys_port_is_used((uint16_t)(20000 + n * 100 + 57)));
    assert_int_equal(sys_portblock_take(in("ports"), n, &got, NULL), 0);
    assert_int_not_equal(got.base, 20000 + n * 100);
    sys_portblock_leave(&got);
    close(fd);
    uint16_t port = 0;
    assert_int_equal(sys_port_free(&port), 0);
    assert_int_not_equal(port, 0);
}

static char *block_file(const struct sys_portblock *b)
{
    return a_asprintf("%s/%u", in("ports"), b->base);
}

static void test_port_blocks_are_swept(void **state)
{
    (void)state;
    struct sys_portblock held = {0}, resting = {0}, left = {0}, again = {0};
    assert_int_equal(sys_portblock_sweep(in("ports"), NULL), 0);
    assert_int_equal(sys_portblock_take(in("ports"), 7, &held, NULL), 0);
    assert_int_equal(sys_portblock_take(in("ports"), 7, &resting, NULL), 0);
    assert_int_equal(sys_portblock_take(in("ports"), 7, &left, NULL), 0);
    A_AUTOFREE char *held_file = block_file(&held), *resting_file = block_file(&resting);
    A_AUTOFREE char *left_file = block_file(&left);
    sys_portblock_release(&resting);
    sys_portblock_leave(&left);
    assert_int_equal(sys_portblock_sweep(in("ports"), NULL), 0);
    assert_true(sys_file_exists(held_file) && sys_file_exists(resting_file) && !sys_file_exists(left_file));
    assert_int_equal(sys_portblock_retake(in("ports"), held.base, &again, NULL), -EWOULDBLOCK);
    sys_portblock_leave(&held);
    assert_int_equal(sys_portblock_sweep(in("ports"), NULL), 0);
    assert_false(sys_file_exists(in("ports")));
}

static void test_clear_and_remove_empty(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    int fd;
    assert_int_equal(sys_dir_make(in("d"), 0700, NULL), 0);
    assert_int_equal(sys_file_append_open(in("d/log"), 0600, &fd, NULL), 0);
    assert_int_equal(sys_fd_write_full(fd, "old", 3), 0);
    assert_int_equal(sys_file_clear(in("d/log"), NULL), 0);
    assert_int_equal(sys_fd_write_full(fd, "new", 3), 0);
    close(fd);
    assert_int_equal(sys_file_read(in("d/log"), 100, &b, NULL), 0);
    assert_string_equal(b.ptr, "new");
    assert_int_equal(sys_dir_remove_empty(in("d"), NULL), -ENOTEMPTY);
    assert_int_equal(sys_file_remove(in("d/log"), NULL), 0);
    assert_int_equal(sys_dir_remove_empty(in("d"), NULL), 0);
    assert_int_equal(sys_dir_remove_empty(in("d"), NULL), 0);
    assert_int_equal(sys_file_clear(in("d/log"), NULL), -ENOENT);
}

static void test_ready_file(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf b = {0};
    static const struct sys_ready_port ports[] = {{"api", 7700}, {"starlink", 7701}};
    assert_int_equal(sys_ready_write(in("ready"), ports, 2, NULL), 0);
    assert_int_equal(sys_file_read(in("ready"), 1000, &b, NULL), 0);
    A_AUTOFREE char *want = a_asprintf("{\"pid\": %d, \"api\": 7700, \"starlink\": 7701}\n", getpid());
    assert_string_equal(b.ptr, want);
}

static void test_clock_text(void **state)
{
    (void)state;
    char text[SYS_RFC3339_LEN + 1];
    char http[SYS_HTTP_DATE_LEN + 1];
    uint64_t ms = 0;
    sys_clock_print(1709210096789u, text);
    assert_string_equal(text, "2024-02-29T12:34:56.789Z");
    sys_clock_print_http(784111777000u, http);
    assert_string_equal(http, "Sun, 06 Nov 1994 08:49:37 GMT");
    assert_true(sys_clock_parse(a_view_str(text), &ms) && ms == 1709210096789u);
    assert_true(sys_clock_parse(A_VIEW_LIT("1970-01-01T00:00:01Z"), &ms) && ms == 1000);
    static const char *const bad[] = {"",
                                      "2024-02-30T00:00:01Z",
                                      "2024-13-01T00:00:00Z",
                                      "2024-01-01 00:00:00Z",
                                      "2024-01-01T24:00:00Z",
                                      "2024-01-01T00:00:00",
                                      "2024-01-01T00:00:00.1234",
                                      "1969-12-31T23:59:59Z"};
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++)
        if (sys_clock_parse(a_view_str(bad[i]), &ms))
            fail_msg("accepted: %s", bad[i]);
    uint64_t before = sys_clock_mono_us();
    sys_clock_sleep_ms(1);
    assert_true(sys_clock_mono_us() >= before + 1000);
    assert_true(sys_clock_boot_ms() + 1 >= sys_clock_mono_ms());
}

static void test_random_and_hash(void **state)
{
    (void)state;
    char hex[17], digest_hex[A_DIGEST_HEX + 1];
    struct a_uuid a, b;
    sys_random_hex(hex, 8);
    assert_int_equal(strlen(hex), 16);
    sys_random_uuid4(&a);
    sys_random_uuid7(&b);
    assert_int_equal(a.s[14], '4');
    assert_int_equal(b.s[14], '7');
    assert_true(sys_random_seed() != sys_random_seed());
    struct a_digest one, two, three;
    uint64_t size = 0;
    sys_sha256_bytes("abc", 3, &one);
    a_digest_hex(&one, digest_hex);
    assert_string_equal(digest_hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    struct sys_sha256 *s = sys_sha256_new();
    sys_sha256_update(s, "a", 1);
    sys_sha256_update(s, "bc", 2);
    sys_sha256_finish(s, &two);
    assert_true(a_digest_equal(&one, &two));
    assert_int_equal(sys_file_write_atomic(in("f"), "abc", 3, 0600, NULL), 0);
    assert_int_equal(sys_sha256_file(in("f"), &three, &size, NULL), 0);
    assert_true(a_digest_equal(&one, &three) && size == 3);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(sys_sha256_file(in("none"), &three, &size, &e), -ENOENT);
}

static void test_environment(void **state)
{
    (void)state;
    char text[128], boot[37];
    uint64_t busy = 0, total = 0;
    assert_null(sys_env_get("ASTRA_SURELY_NOT_SET"));
    assert_non_null(sys_env_get("PATH"));
    assert_true(sys_env_cpu_m() > 0 && sys_env_cpus() >= 1);
    assert_true(sys_env_memory_total() > 1 << 20);
    assert_true(sys_env_memory_available() <= sys_env_memory_total());
    sys_env_cpu_times(&busy, &total);
    assert_true(busy <= total && total > 0);
    sys_env_boot_id(boot);
    assert_int_equal(strlen(boot), 36);
    sys_env_hostname(text, sizeof text);
    assert_true(text[0] != '\0');
    sys_env_platform(text, sizeof text);
    assert_int_equal(strncmp(text, "linux-", 6), 0);
}

static void test_libraries(void **state)
{
    (void)state;
    struct sys_dl *dl = NULL;
    void *symbol = NULL;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(sys_dl_open("/nonexistent.so", &dl, &e), -ENOENT);
    assert_non_null(strstr(a_error_text(&e), "/nonexistent.so"));
    assert_int_equal(sys_dl_open("libm.so.6", &dl, NULL), 0);
    assert_int_equal(sys_dl_symbol(dl, "cos", &symbol, NULL), 0);
    assert_non_null(symbol);
    assert_int_equal(sys_dl_symbol(dl, "no_such_symbol", &symbol, &e), -ENOENT);
    assert_string_equal(a_error_text(&e), "libm.so.6 has no symbol no_such_symbol");
    sys_dl_close(dl);
}

static void test_secrets(void **state)
{
    (void)state;
    struct sys_secret s = {0};
    assert_false(sys_secret_equal(&s, A_VIEW_LIT("")));
    sys_secret_set(&s, A_VIEW_LIT("hunter2"));
    assert_true(sys_secret_equal(&s, A_VIEW_LIT("hunter2")));
    assert_false(sys_secret_equal(&s, A_VIEW_LIT("hunter3")));
    assert_false(sys_secret_equal(&s, A_VIEW_LIT("hunter")));
    sys_secret_deinit(&s);
    sys_secret_deinit(&s);
}

static void log_keep(void *ctx, struct a_view line)
{
    a_buf_add_view(ctx, line);
}

/* What follows the time stamp of the first line, and takes it off. */
static const char *log_line(struct a_buf *log)
{
    static char text[512];
    struct a_view rest, line = a_view_split(a_buf_view(log), '\n', &rest);
    const char *after = memchr(line.ptr, ' ', line.len);
    if (after == NULL || line.ptr[0] == '{') /* {"ts":"...Z", */
        after = line.ptr + strlen("{\"ts\":\"") + SYS_RFC3339_LEN + 1;
    snprintf(text, sizeof text, "%.*s", (int)(line.ptr + line.len - after - 1), after + 1);
    a_buf_consume(log, line.len + 1);
    return text;
}

static void test_log(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf log = {0};
    struct sys_secret token = {0};
    unsigned evaluated = 0;
    enum sys_log_level level;
    sys_secret_set(&token, A_VIEW_LIT("hunter2"));
    sys_log_set_sink(log_keep, &log);
    sys_log(INFO, "agent", "claim.granted", "claim granted", SYS_STR("app", "ocr"), SYS_U64("n", 7),
            SYS_STR("said", "two words"), SYS_SECRET("token", &token), SYS_BOOL("ok", true),
            SYS_I64("d", -1));
    assert_string_equal(log_line(&log),
                        "level=info comp=agent code=claim.granted msg=\"claim granted\" app=ocr n=7 "
                        "said=\"two words\" token=[secret] ok=true d=-1");
    sys_log(DEBUG, "agent", "x", "not on", SYS_U64("n", ++evaluated));
    assert_int_equal(evaluated, 0);
    assert_int_equal(log.len, 0);
    sys_log_set_json(true);
    sys_log_set_common(&SYS_STR("node", "n1"), 1);
    sys_log(WARN, "agent", "y", "an \"odd\" line\nbreak");
    assert_string_equal(log_line(&log),
                        "\"level\":\"warn\",\"comp\":\"agent\",\"code\":\"y\",\"msg\":\"an \\\"odd\\\" "
                        "line\\nbreak\",\"node\":\"n1\"}");
    sys_log_set_json(false);
    sys_log_set_common(NULL, 0);
    assert_true(sys_log_level_parse("warn", &level) && level == SYS_LOG_WARN);
    assert_false(sys_log_level_parse("loud", &level));
    sys_log_set_sink(NULL, NULL);
    sys_secret_deinit(&token);
}

static unsigned count_of(const struct a_buf *log, const char *words)
{
    unsigned n = 0;
    for (const char *at = log->ptr; at != NULL && (at = strstr(at, words)) != NULL; at++)
        n++;
    return n;
}

/* Of what is left out each thing has its own count, and a change of state is never left out. */
static void test_log_keeps_changes(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf log = {0};
    sys_log_set_sink(log_keep, &log);
    for (int i = 0; i < 100; i++) {
        sys_log_change(INFO, "server", "event", "READY", SYS_I64("i", i));
        sys_log_of(INFO, "server", "event", "unit a", "from a node", SYS_STR("object", "unit a"));
    }
    sys_log_of(INFO, "server", "event", "unit b", "from a node", SYS_STR("object", "unit b"));
    sys_log_finish();
    sys_log_set_sink(NULL, NULL);
    a_buf_add_char(&log, '\0');
    assert_int_equal(count_of(&log, "msg=READY"), 100);
    assert_int_equal(count_of(&log, "object=\"unit b\""), 1);
    unsigned lines = count_of(&log, "object=\"unit a\"");
    assert_true(lines == 10 || lines == 20); /* the loop may have met a turn of the second */
    assert_int_equal(count_of(&log, "msg=suppressed"), lines / 10);
    assert_int_equal(count_of(&log, "of=\"unit a\""), lines / 10);
    assert_true(lines == 20 || count_of(&log, "count=90") == 1);
}

static void test_log_suppresses_floods(void **state)
{
    (void)state;
    A_BUF_AUTO struct a_buf log = {0};
    unsigned lines = 0, suppressed = 0;
    sys_log_set_sink(log_keep, &log);
    for (int i = 0; i < 1000; i++)
        sys_log(INFO, "agent", "flood", "again");
    uint64_t second = sys_clock_mono_ms() / 1000;
    while (sys_clock_mono_ms() / 1000 == second)
        sys_clock_sleep_ms(10);
    sys_log_flush();
    sys_log_set_sink(NULL, NULL);
    while (log.len > 0) {
        const char *line = log_line(&log), *count = strstr(line, "msg=suppressed count=");
        if (count != NULL)
            suppressed += (unsigned)strtoul(count + 21, NULL, 10);
        else
            lines++;
    }
    assert_true(lines == 10 || lines == 20); /* the loop may have met a turn of the second */
    assert_int_equal(lines + suppressed, 1000);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_atomic_write),
        TEST(test_read_without_memory),
        TEST(test_remove_does_not_follow_links),
        TEST(test_locks),
        TEST(test_map),
        TEST(test_part),
        TEST(test_paths),
        TEST(test_port_blocks),
        TEST(test_port_blocks_in_use_are_passed_over),
        TEST(test_port_blocks_are_swept),
        TEST(test_clear_and_remove_empty),
        TEST(test_ready_file),
        TEST(test_clock_text),
        TEST(test_random_and_hash),
        TEST(test_environment),
        TEST(test_libraries),
        TEST(test_secrets),
        TEST(test_log),
        TEST(test_log_keeps_changes),
        TEST(test_log_suppresses_floods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
