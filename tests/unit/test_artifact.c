/* Unpacking archives of all kinds of ill will, the manifest's verdicts, and the cache. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <sys/stat.h>

#include "artifact/agent.h"
#include "artifact/cache.h"
#include "artifact/manifest.h"
#include "artifact/unpack.h"
#include "base/alloc.h"
#include "sys/file.h"
#include "sys/sha256.h"

static char *scratch; /* a folder of this test */

static int setup(void **state)
{
    (void)state;
    return sys_dir_make_temp("/tmp/astra-artifact-", &scratch, NULL);
}

static int teardown(void **state)
{
    (void)state;
    int rc = sys_dir_remove(scratch, NULL);
    a_free(scratch);
    return rc;
}

static char *in_scratch(const char *name)
{
    return sys_path_join(scratch, name);
}

struct item {
    const char *path;
    unsigned type;    /* AE_IFREG ... */
    const char *text; /* contents, or a link's target */
    bool hard;
    unsigned mode;
};

/* A tar.zst of these entries; the caller frees the path. */
static char *archive_make(const char *name, const struct item *items, size_t n)
{
    char *path = in_scratch(name);
    struct archive *a = archive_write_new();
    archive_write_add_filter_zstd(a);
    archive_write_set_format_pax_restricted(a);
    assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
    for (size_t i = 0; i < n; i++) {
        struct archive_entry *e = archive_entry_new();
        archive_entry_set_pathname(e, items[i].path);
        archive_entry_set_filetype(e, items[i].type);
        archive_entry_set_perm(e, items[i].mode != 0 ? items[i].mode : 0644);
        archive_entry_set_mtime(e, 1000000000, 0);
        size_t len = 0;
        if (items[i].hard)
            archive_entry_set_hardlink(e, items[i].text);
        else if (items[i].type == AE_IFLNK)
            archive_entry_set_symlink(e, items[i].text);
        else if (items[i].text != NULL)
            len = strlen(items[i].text);
        archive_entry_set_size(e, (la_int64_t)len);
        assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
        if (len > 0)
            assert_int_equal(archive_write_data(a, items[i].text, len), (la_ssize_t)len);
        archive_entry_free(e);
    }
    assert_int_equal(archive_write_close(a), ARCHIVE_OK);
    archive_write_free(a);
    return path;
}

static char *text_of(const char *path)
{
    struct a_buf b = {0};
    assert_int_equal(sys_file_read(path, 1 << 20, &b, NULL), 0);
    return a_buf_steal(&b);
}

static void test_unpack(void **state)
{
    (void)state;
    const struct item items[] = {
        {"./astra-env.json", AE_IFREG, "{}", false, 0},
        {"bin/", AE_IFDIR, NULL, false, 0755},
        {"bin/python3", AE_IFREG, "#!", false, 04755},
        {"bin/python", AE_IFLNK, "python3", false, 0777},
        {"lib/deep/x.py", AE_IFREG, "x = 1\n", false, 0600},
        {"lib/up", AE_IFLNK, "../bin/python3", false, 0777},
        {"lib/same", AE_IFREG, "bin/python3", true, 0644},
    };
    char *archive = archive_make("good.tar.zst", items, 7), *folder = in_scratch("good");
    struct a_error e = A_ERROR_NONE;
    assert_int_equal(artifact_unpack(archive, folder, NULL, &e), 0);
    char *path = sys_path_join(folder, "bin/python3"), *x = sys_path_join(folder, "lib/deep/x.py");
    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0755); /* no set-user-id */
    assert_int_equal(st.st_mtime, 1000000000);
    assert_int_equal(st.st_nlink, 2);
    char *text = text_of(x);
    assert_string_equal(text, "x = 1\n");
    assert_int_equal(stat(x, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0644); /* whoever runs it may read it */
    assert_int_equal(artifact_unpack(archive, folder, NULL, NULL), -EEXIST);
    struct a_buf peek = {0};
    assert_int_equal(artifact_peek(archive, "astra-env.json", 100, &peek, NULL), 0);
    assert_string_equal(peek.ptr, "{}");
    assert_int_equal(artifact_peek(archive, "other", 100, &peek, NULL), -ENOENT);
    a_buf_deinit(&peek);
    a_error_deinit(&e);
    a_free(text);
    a_free(path);
    a_free(x);
    a_free(archive);
    a_free(folder);
}

static int count_each(void *ctx, const char *name, bool is_dir)
{
    (void)is_dir;
    *(int *)ctx += strncmp(name, "bad", 3) == 0 && strstr(name, ".tar.zst") == NULL;
    return 0;
}

static void test_refused(void **state)
{
    (void)state;
    const struct item bad[][2] = {
        {{"../evil", AE_IFREG, "x", false, 0}},
        {{"/etc/evil", AE_IFREG, "x", false, 0}},
        {{"a/../../evil", AE_IFREG, "x", false, 0}},
        {{"link", AE_IFLNK, "/etc/passwd", false, 0}},
        {{"a/link", AE_IFLNK, "../../x", false, 0}},
        {{"hard", AE_IFREG, "/etc/passwd", true, 0}},
        {{"hard", AE_IFREG, "../x", true, 0}},
        {{"fifo", AE_IFIFO, NULL, false, 0}},
        {{"device", AE_IFCHR, NULL, false, 0}},
        {{"d", AE_IFLNK, ".", false, 0}, {"d/through", AE_IFREG, "x", false, 0}},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++) {
        struct a_error e = A_ERROR_NONE;
        char *archive = archive_make("bad.tar.zst", bad[i], bad[i][1].path != NULL ? 2 : 1),
             *folder = in_scratch("bad");
        assert_true(artifact_unpack(archive, folder, NULL, &e) < 0);
        assert_non_null(e.message);
        a_error_deinit(&e);
        a_free(archive);
        a_free(folder);
    }
    const struct item two[] = {{"a", AE_IFREG, "12345", false, 0}, {"b", AE_IFREG, "67890", false, 0}};
    char *archive = archive_make("bad.tar.zst", two, 2), *folder = in_scratch("bad");
    assert_true(artifact_unpack(archive, folder, &(struct artifact_limits){.bytes = 9}, NULL) < 0);
    assert_true(artifact_unpack(archive, folder, &(struct artifact_limits){.entries = 1}, NULL) < 0);
    assert_int_equal(sys_file_write_atomic(archive, "no archive at all", 17, 0600, NULL), 0);
    assert_true(artifact_unpack(archive, folder, NULL, NULL) < 0);
    int left = 0;
    assert_int_equal(sys_dir_list(scratch, count_each, &left, NULL), 0);
    assert_int_equal(left, 0); /* nothing of any try */
    a_free(archive);
    a_free(folder);
}

static void test_manifest(void **state)
{
    (void)state;
    const struct artifact_host host = {"linux-x86_64", "2.36"};
    const struct {
        const char *text, *why;
    } cases[] = {
        {"{\"schema\":1,\"platform\":\"linux-x86_64\",\"glibc\":\"2.36\",\"python\":\"3.11.2\",\"ray\":\"2."
         "60.0\"}",
         NULL},
        {"{\"schema\":1,\"platform\":\"linux-x86_64\",\"glibc\":\"2.4\",\"ray\":\"2.52\"}", NULL},
        {"{\"schema\":1,\"platform\":\"linux-aarch64\",\"glibc\":\"2.17\",\"ray\":\"2.60.0\"}",
         "linux-aarch64"},
        {"{\"schema\":1,\"platform\":\"linux-x86_64\",\"glibc\":\"2.38\",\"ray\":\"2.60.0\"}", "glibc 2.38"},
        {"{\"schema\":1,\"platform\":\"linux-x86_64\",\"glibc\":\"2.17\",\"ray\":\"2.9.3\"}", "Ray 2.9.3"},
        {"{\"schema\":1,\"platform\":\"linux-x86_64\",\"glibc\":\"2.17\",\"ray\":null}", "no Ray"},
        {"{\"schema\":2,\"platform\":\"linux-x86_64\",\"glibc\":\"2.17\",\"ray\":\"2.60.0\"}", "schema"},
        {"{", "environment:"},
        {"[]", "schema"},
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        struct artifact_manifest m;
        struct a_error e = A_ERROR_NONE;
        int rc = artifact_manifest_check(a_view_str(cases[i].text), &host, &m, &e);
        assert_int_equal(rc, cases[i].why == NULL ? 0 : -EINVAL);
        if (cases[i].why != NULL) {
            assert_int_equal(e.code, A_CODE_ENV_MISMATCH);
            assert_non_null(strstr(e.message, cases[i].why));
        }
        a_error_deinit(&e);
    }
    assert_true(artifact_version_compare("2.10", "2.9") > 0);
    assert_true(artifact_version_compare("2.9", "2.9.0") == 0);
}

static void part_put(struct artifact_cache *c, const struct a_digest *d, const char *text)
{
    char *part = artifact_cache_part(c, d);
    assert_int_equal(sys_file_write_atomic(part, text, strlen(text), 0600, NULL), 0);
    a_free(part);
}

static bool keep_none(void *ctx, uint64_t claim)
{
    (void)ctx;
    (void)claim;
    return false;
}

static void test_cache(void **state)
{
    (void)state;
    struct artifact_cache c = {0};
    struct a_digest one, two;
    char *dir = in_scratch("cache");
    assert_int_equal(artifact_cache_open(&c, dir, NULL), 0);
    sys_sha256_bytes("one", 3, &one);
    sys_sha256_bytes("two", 3, &two);
    part_put(&c, &one, "one");
    assert_int_equal(artifact_cache_commit(&c, &one, NULL), 0);
    assert_true(artifact_cache_has(&c, &one));
    part_put(&c, &two, "other bytes");
    struct a_error e = A_ERROR_NONE;
    assert_int_equal(artifact_cache_commit(&c, &two, &e), -EBADMSG);
    assert_int_equal(e.code, A_CODE_ARTIFACT_DIGEST);
    a_error_deinit(&e);
    assert_false(artifact_cache_has(&c, &two));
    part_put(&c, &two, "two");
    assert_int_equal(artifact_cache_commit(&c, &two, NULL), 0);

    int lock, second;
    assert_int_equal(artifact_cache_lock(&c, &one, 0, &lock, NULL), 0);
    assert_int_equal(artifact_cache_lock(&c, &one, 0, &second, NULL), -ETIMEDOUT);
    sys_fd_close(lock);

    assert_int_equal(artifact_cache_ref(&c, &one, "node", 7, NULL), 0);
    artifact_cache_collect(&c, 0, 60000);
    assert_true(artifact_cache_has(&c, &two)); /* too young to go */
    artifact_cache_collect(&c, 0, 0);
    assert_true(artifact_cache_has(&c, &one)); /* a claim uses it */
    assert_false(artifact_cache_has(&c, &two));
    artifact_cache_unref(&c, "other", keep_none, NULL);
    artifact_cache_collect(&c, 0, 0);
    assert_true(artifact_cache_has(&c, &one));
    artifact_cache_unref(&c, "node", keep_none, NULL);
    artifact_cache_collect(&c, 0, 0);
    assert_false(artifact_cache_has(&c, &one));
    artifact_cache_close(&c);
    a_free(dir);
}

static void test_cache_unpack(void **state)
{
    (void)state;
    const struct item items[] = {{"f", AE_IFREG, "hello", false, 0}};
    struct artifact_cache c = {0};
    struct a_digest d;
    uint64_t size;
    char *dir = in_scratch("cache2"), *archive = archive_make("c.tar.zst", items, 1), *tree, *again;
    assert_int_equal(artifact_cache_open(&c, dir, NULL), 0);
    assert_int_equal(sys_sha256_file(archive, &d, &size, NULL), 0);
    char *part = artifact_cache_part(&c, &d);
    assert_int_equal(sys_file_copy(archive, part, 0600, NULL), 0);
    assert_int_equal(artifact_cache_commit(&c, &d, NULL), 0);
    char *left = artifact_cache_tree(&c, &d), *half = a_asprintf("%s.new-abcdef", left);
    assert_int_equal(sys_dir_make(half, 0700, NULL), 0); /* of an agent that was killed */
    assert_int_equal(artifact_cache_unpack(&c, &d, NULL, &tree, NULL), 0);
    assert_int_equal(artifact_cache_unpack(&c, &d, NULL, &again, NULL), 0);
    assert_string_equal(tree, again);
    assert_false(sys_file_exists(half));
    char *f = sys_path_join(tree, "f"), *text = text_of(f);
    assert_string_equal(text, "hello");
    artifact_cache_close(&c);
    /* another boot: unpacked folders are made again */
    char *boot = sys_path_join(dir, "boot");
    assert_int_equal(sys_file_write_atomic(boot, "x", 1, 0600, NULL), 0);
    assert_int_equal(artifact_cache_open(&c, dir, NULL), 0);
    assert_false(sys_file_exists(tree));
    assert_true(artifact_cache_has(&c, &d));
    artifact_cache_close(&c);
    char *const owned[] = {dir, archive, tree, again, part, f, text, boot, left, half};
    for (size_t i = 0; i < A_ARRAY_SIZE(owned); i++)
        a_free(owned[i]);
}

/* The manifest of an agent is what the executable's bytes say, and a node takes what suits it. */
static void test_agent(void **state)
{
    (void)state;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_BUF_AUTO struct a_buf text = {0};
    static const char elf[] = "\177ELF.............."
                              "\x3e\0.GLIBC_2.9.GLIBC_2.34\0GLIBC_\0GLIBC_2.4\0@(#)astra \0@(#)astra 0.2.1\0"
                              "....................................";
    const struct artifact_host host = {.platform = "linux-x86_64", .glibc = "2.36"},
                               old = {.platform = "linux-x86_64", .glibc = "2.31"},
                               arm = {.platform = "linux-aarch64", .glibc = "2.36"};
    struct artifact_agent agent;
    char *path = in_scratch("agent");
    assert_int_equal(sys_file_write_atomic(path, elf, sizeof elf, 0755, NULL), 0);
    assert_int_equal(artifact_agent_read(path, &agent, NULL), 0);
    assert_string_equal(agent.version, "0.2.1");
    assert_string_equal(agent.platform, "linux-x86_64");
    assert_string_equal(agent.glibc, "2.34");
    artifact_agent_print(&agent, &text);
    assert_int_equal(artifact_agent_check(a_buf_view(&text), "0.2.1", &host, NULL), 0);
    assert_int_equal(artifact_agent_check(a_buf_view(&text), "0.2.2", &host, NULL), -EINVAL);
    assert_int_equal(artifact_agent_check(a_buf_view(&text), "0.2.1", &arm, NULL), -EINVAL);
    assert_int_equal(artifact_agent_check(a_buf_view(&text), "0.2.1", &old, &e), -EINVAL);
    assert_non_null(strstr(a_error_text(&e), "needs glibc 2.34, this node has 2.31"));
    assert_int_equal(artifact_agent_check(A_VIEW_LIT("{}"), "0.2.1", &host, NULL), -EINVAL);
    assert_int_equal(sys_file_write_atomic(path, "#!/bin/sh\n", 10, 0755, NULL), 0);
    assert_int_equal(artifact_agent_read(path, &agent, NULL), -EINVAL);
    a_free(path);
}

static void test_agent_suits(void **state)
{
    (void)state;
    assert_true(artifact_agent_suits("0.2.0", "0.2.0"));
    assert_true(artifact_agent_suits("0.2.0", "0.2.1"));
    assert_true(artifact_agent_suits("0.1.9", "0.2.1"));
    assert_true(artifact_agent_suits("0.9.1", "0.10.0"));
    assert_false(artifact_agent_suits("0.2.2", "0.2.1"));
    assert_false(artifact_agent_suits("0.3.0", "0.2.1"));
    assert_false(artifact_agent_suits("0.1.9", "0.3.0"));
    assert_false(artifact_agent_suits("0.9.0", "1.0.0"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_unpack),       cmocka_unit_test(test_refused),
        cmocka_unit_test(test_manifest),     cmocka_unit_test(test_cache),
        cmocka_unit_test(test_cache_unpack), cmocka_unit_test(test_agent),
        cmocka_unit_test(test_agent_suits),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
