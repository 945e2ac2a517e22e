/* Packing code: the same bytes for the same code, what stays out, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>
#include <utime.h>

#include "artifact/pack.h"
#include "artifact/unpack.h"
#include "base/alloc.h"
#include "sys/file.h"

static char *scratch;

static int setup(void **state)
{
    (void)state;
    return sys_dir_make_temp("/tmp/astra-pack-", &scratch, NULL);
}

static int teardown(void **state)
{
    (void)state;
    int rc = sys_dir_remove(scratch, NULL);
    a_free(scratch);
    return rc;
}

/* FOLDER/PATH with the text; folders are made. */
static void put(const char *folder, const char *path, const char *text, mode_t mode)
{
    A_AUTOFREE char *full = a_asprintf("%s/%s/%s", scratch, folder, path);
    A_AUTOFREE char *dir = a_strndup(full, (size_t)(strrchr(full, '/') - full));
    assert_int_equal(sys_dir_make(dir, 0700, NULL), 0);
    assert_int_equal(sys_file_write_atomic(full, text, strlen(text), mode, NULL), 0);
}

static int pack(const char *folder, struct artifact_packed *ret, struct a_error *reterr)
{
    A_AUTOFREE char *from = sys_path_join(scratch, folder);
    A_AUTOFREE char *to = a_asprintf("%s/%s.tar.zst", scratch, folder);
    return artifact_pack(from, to, NULL, ret, reterr);
}

/* Packed and unpacked again: whether the path came out. */
static bool packed_has(const char *folder, const char *path)
{
    A_AUTOFREE char *archive = a_asprintf("%s/%s.tar.zst", scratch, folder);
    A_AUTOFREE char *out = a_asprintf("%s/%s-out", scratch, folder);
    A_AUTOFREE char *file = sys_path_join(out, path);
    struct sys_stat st;
    if (!sys_file_exists(out))
        assert_int_equal(artifact_unpack(archive, out, NULL, NULL), 0);
    return sys_file_stat(file, &st, NULL) == 0;
}

static void test_same_code_same_bytes(void **state)
{
    (void)state;
    struct artifact_packed one, two;
    put("one", "b.py", "b", 0644);
    put("one", "a/x.py", "x", 0600);
    put("one", "run.sh", "#!", 0755);
    put("two", "run.sh", "#!", 0700); /* made in another order, at another time, by other bits */
    put("two", "a/x.py", "x", 0644);
    put("two", "b.py", "b", 0664);
    A_AUTOFREE char *old = a_asprintf("%s/two/b.py", scratch);
    assert_int_equal(utime(old, &(struct utimbuf){1, 1}), 0);
    assert_int_equal(pack("one", &one, NULL), 0);
    assert_int_equal(pack("two", &two, NULL), 0);
    assert_true(a_digest_equal(&one.digest, &two.digest));
    assert_int_equal(one.files, 3);
    assert_int_equal(one.unpacked_bytes, 4);
    put("two", "b.py", "c", 0644);
    assert_int_equal(pack("two", &two, NULL), 0);
    assert_false(a_digest_equal(&one.digest, &two.digest));
}

static void test_a_link_and_modes_come_out(void **state)
{
    (void)state;
    struct artifact_packed packed;
    struct sys_stat st;
    put("one", "bin/run", "#!", 0700);
    A_AUTOFREE char *link = a_asprintf("%s/one/link", scratch);
    assert_int_equal(sys_symlink_replace("bin/run", link, NULL), 0);
    assert_int_equal(pack("one", &packed, NULL), 0);
    assert_true(packed_has("one", "link"));
    A_AUTOFREE char *run = a_asprintf("%s/one-out/bin/run", scratch);
    assert_int_equal(sys_file_stat(run, &st, NULL), 0);
    assert_int_equal(st.mode & 0111, 0111);
}

static void test_what_stays_out(void **state)
{
    (void)state;
    struct artifact_packed packed;
    put("one", ".astraignore", "# data\n*.bin\n/data/\n!keep.bin\n", 0644);
    put("one", "app.py", "", 0644);
    put("one", "x.bin", "", 0644);
    put("one", "keep.bin", "", 0644);
    put("one", "data/big", "", 0644);
    put("one", "src/data/small", "", 0644);
    put("one", ".git/HEAD", "", 0644);
    put("one", "__pycache__/app.pyc", "", 0644);
    assert_int_equal(pack("one", &packed, NULL), 0);
    assert_true(packed_has("one", "app.py"));
    assert_true(packed_has("one", "keep.bin"));
    assert_true(packed_has("one", "src/data/small"));
    assert_false(packed_has("one", "x.bin"));
    assert_false(packed_has("one", "data"));
    assert_false(packed_has("one", ".git"));
    assert_false(packed_has("one", "__pycache__"));
    assert_false(packed_has("one", ".astraignore"));
    assert_int_equal(packed.files, 3);
}

static void test_what_is_refused(void **state)
{
    (void)state;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct artifact_packed packed;
    assert_int_equal(pack("none", &packed, &e), -ENOENT);
    put("one", "app.py", "", 0644);
    A_AUTOFREE char *link = a_asprintf("%s/one/link", scratch);
    assert_int_equal(sys_symlink_replace("/etc/passwd", link, NULL), 0);
    assert_int_equal(pack("one", &packed, &e), -EINVAL);
    assert_non_null(strstr(a_error_text(&e), "/etc/passwd"));
    put("two", "pipe/x", "", 0644);
    A_AUTOFREE char *pipe = a_asprintf("%s/two/pipe/p", scratch);
    assert_int_equal(mkfifo(pipe, 0600), 0);
    assert_int_equal(pack("two", &packed, &e), -EINVAL);
    assert_non_null(strstr(a_error_text(&e), "neither"));
}

static void test_limits_name_the_largest(void **state)
{
    (void)state;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    const struct artifact_pack_limits limits = {.bytes = 10};
    struct artifact_packed packed;
    put("one", "small", "x", 0644);
    put("one", "weights", "0123456789", 0644);
    A_AUTOFREE char *from = sys_path_join(scratch, "one");
    A_AUTOFREE char *to = sys_path_join(scratch, "one.tar.zst");
    assert_int_equal(artifact_pack(from, to, &limits, &packed, &e), -EFBIG);
    assert_non_null(strstr(a_error_text(&e), "weights"));
    assert_false(sys_file_exists(to));
}

static void check_ignore(const char *patterns, const char *path, bool is_dir, bool expected)
{
    if (artifact_ignore_matches(a_view_str(patterns), a_view_str(path), is_dir) != expected)
        fail_msg("\"%s\" and %s: not %d", patterns, path, expected);
}

static void test_patterns(void **state)
{
    (void)state;
    check_ignore("*.log", "a.log", false, true);
    check_ignore("*.log", "x/y/a.log", false, true);
    check_ignore("/*.log", "x/a.log", false, false);
    check_ignore("build/", "build", true, true);
    check_ignore("build/", "build", false, false);
    check_ignore("x/y", "x/y", false, true);
    check_ignore("x/y", "z/x/y", false, false);
    check_ignore("x/*", "x/y/z", false, false);
    check_ignore("x/**", "x/y/z", false, true);
    check_ignore("**/z", "x/y/z", false, true);
    check_ignore("**/z", "z", false, true);
    check_ignore("a/**/z", "a/z", false, true);
    check_ignore("a/**/z", "a/b/c/z", false, true);
    check_ignore("a/**/z*q", "a/zx/zbq", false, true);
    check_ignore("file?", "file1", false, true);
    check_ignore("file?", "file", false, false);
    check_ignore("[a-c]x", "bx", false, true);
    check_ignore("[!a-c]x", "bx", false, false);
    check_ignore("[", "[", false, true);
    check_ignore("\\*", "*", false, true);
    check_ignore("\\*", "x", false, false);
    check_ignore("*\n!keep", "keep", false, false);
    check_ignore("!keep\n*", "keep", false, true);
    check_ignore("# a\n\n  \n", "# a", false, false);
    check_ignore("a.py \r\n", "a.py", false, true);
    check_ignore("", "a", false, false);
    check_ignore("/", "a", true, false);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_code_same_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_a_link_and_modes_come_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_stays_out, setup, teardown),
        cmocka_unit_test_setup_teardown(test_what_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_limits_name_the_largest, setup, teardown),
        cmocka_unit_test(test_patterns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
