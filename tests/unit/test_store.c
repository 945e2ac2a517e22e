/* The store: what is told as committed is there after reopening; nothing else is. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/alloc.h"
#include "store/store.h"

struct fixture {
    struct sys_loop *loop;
    char dir[64], path[96];
    struct store *store;
};

static void opened(struct fixture *f, uint64_t max_bytes)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (store_open(f->loop, &(struct store_options){.path = f->path, .max_bytes = max_bytes}, &f->store,
                   &e) != 0)
        fail_msg("%s", a_error_text(&e));
}

static void reopened(struct fixture *f)
{
    store_close(f->store);
    opened(f, 0);
}

static int setup(void **state)
{
    static struct fixture f;
    f = (struct fixture){.dir = "/tmp/astra-store-XXXXXX"};
    assert_non_null(mkdtemp(f.dir));
    snprintf(f.path, sizeof f.path, "%s/astra.db", f.dir);
    assert_int_equal(sys_loop_new(&f.loop, NULL), 0);
    opened(&f, 0);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    sys_loop_free(f->loop);
    A_AUTOFREE char *command = a_asprintf("rm -rf '%s'", f->dir);
    return system(command);
}

static int put(struct fixture *f, const char *key, const char *value, uint64_t expect, uint64_t *ret_revision)
{
    struct store_write w = {a_view_str(key), {value, value != NULL ? strlen(value) : 0}, expect};
    uint64_t revision = 0;
    int rc = store_write(f->store, &w, 1, &revision, NULL);
    if (ret_revision != NULL)
        *ret_revision = revision;
    return rc;
}

static bool collect(void *ctx, const struct store_entry *e)
{
    a_buf_addf(ctx, A_VIEW_FMT "=" A_VIEW_FMT "@%llu ", A_VIEW_ARG(e->key), A_VIEW_ARG(e->value),
               (unsigned long long)e->revision);
    return true;
}

static void expect_scan(struct fixture *f, const char *prefix, const char *expected)
{
    A_BUF_AUTO struct a_buf b = {0};
    assert_int_equal(store_scan(f->store, prefix, collect, &b, NULL), 0);
    assert_string_equal(a_buf_view(&b).ptr, expected);
}

static void test_survives_reopening(void **state)
{
    struct fixture *f = *state;
    struct a_uuid id = *store_id(f->store);
    uint64_t epoch = store_epoch(f->store);
    assert_int_equal(put(f, "/default/app/a", "1", STORE_ANY, NULL), 0);
    assert_int_equal(put(f, "/default/app/b", "2", STORE_ANY, NULL), 0);
    assert_int_equal(put(f, "/default/artifact/b", "3", STORE_ANY, NULL), 0);
    assert_int_equal(put(f, "/default/app/a", "4", STORE_ANY, NULL), 0);
    reopened(f);
    expect_scan(f, "/default/app/", "/default/app/a=4@4 /default/app/b=2@2 ");
    assert_string_equal(store_id(f->store)->s, id.s);
    assert_true(store_epoch(f->store) > epoch);
    uint64_t revision;
    assert_int_equal(put(f, "/default/app/a", NULL, STORE_ANY, &revision), 0);
    assert_int_equal(revision, 5);
    expect_scan(f, "/default/app/", "/default/app/b=2@2 ");
}

static void test_compare_and_swap(void **state)
{
    struct fixture *f = *state;
    uint64_t first;
    assert_int_equal(put(f, "/k", "1", STORE_ABSENT, &first), 0);
    assert_int_equal(put(f, "/k", "2", STORE_ABSENT, NULL), -EAGAIN);
    assert_int_equal(put(f, "/k", "2", first, NULL), 0);
    assert_int_equal(put(f, "/k", "3", first, NULL), -EAGAIN);
    assert_int_equal(put(f, "/k", NULL, first, NULL), -EAGAIN);
    expect_scan(f, "/k", "/k=2@2 ");
}

static void test_all_or_nothing(void **state)
{
    struct fixture *f = *state;
    struct store_write writes[] = {{A_VIEW_LIT("/a"), A_VIEW_LIT("1"), STORE_ANY},
                                   {A_VIEW_LIT("/b"), A_VIEW_LIT("1"), 77}};
    uint64_t revision;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_equal(store_write(f->store, writes, 2, &revision, &e), -EAGAIN);
    assert_int_equal(e.code, A_CODE_CONFLICT);
    expect_scan(f, "/", "");
}

struct told {
    struct store_txn txn;
    struct store_write write;
    char key[16];
    int rc, order;
};
static int told_order;

static void on_told(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    (void)revision;
    (void)error;
    struct told *t = ctx;
    t->rc = rc;
    t->order = ++told_order;
}

static void test_also_belongs_to_its_transaction(void **state)
{
    struct fixture *f = *state;
    const struct store_write also = {A_VIEW_LIT("/also"), A_VIEW_LIT("1"), STORE_ABSENT};
    struct told t[2] = {{.key = "/a"}, {.key = "/b"}};
    for (int i = 0; i < 2; i++) {
        t[i].write = (struct store_write){a_view_str(t[i].key), A_VIEW_LIT("x"), STORE_ANY};
        t[i].txn = (struct store_txn){
            .writes = &t[i].write, .n_writes = 1, .also = &also, .done = on_told, .ctx = &t[i]};
        store_submit(f->store, &t[i].txn);
    }
    reopened(f);
    assert_int_equal(t[0].rc, 0);
    assert_int_equal(t[1].rc, -EAGAIN); /* what it expects of /also does not hold: nothing of it is there */
    expect_scan(f, "/", "/a=x@1 /also=1@1 ");
}

static void test_submissions_commit_in_order(void **state)
{
    struct fixture *f = *state;
    enum { N = 200 };
    struct told *t = a_alloc_array(N, sizeof *t);
    told_order = 0;
    for (int i = 0; i < N; i++) {
        snprintf(t[i].key, sizeof t[i].key, "/k%03d", i);
        t[i].write =
            (struct store_write){a_view_str(t[i].key), A_VIEW_LIT("x"), i % 10 == 9 ? 12345 : STORE_ANY};
        t[i].txn = (struct store_txn){.writes = &t[i].write, .n_writes = 1, .done = on_told, .ctx = &t[i]};
        store_submit(f->store, &t[i].txn);
        assert_int_equal(told_order, 0); /* never from within the call */
    }
    reopened(f); /* closing finishes what was submitted */
    for (int i = 0; i < N; i++) {
        assert_int_equal(t[i].order, i + 1);
        assert_int_equal(t[i].rc, i % 10 == 9 ? -EAGAIN : 0);
    }
    A_BUF_AUTO struct a_buf b = {0};
    assert_int_equal(store_scan(f->store, "/k", collect, &b, NULL), 0);
    size_t entries = 0;
    for (const char *p = b.ptr; (p = strchr(p, ' ')) != NULL; p++)
        entries++;
    assert_int_equal(entries, N - N / 10);
    a_free(t);
}

static void test_one_process_only(void **state)
{
    struct fixture *f = *state;
    struct store *other;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_not_equal(store_open(f->loop, &(struct store_options){.path = f->path}, &other, &e), 0);
    assert_int_equal(e.code, A_CODE_STORE_LOCKED);
}

static void overwrite(const char *path, const char *text)
{
    FILE *file = fopen(path, "r+e");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static void test_corrupt_file_is_left_alone(void **state)
{
    struct fixture *f = *state;
    store_close(f->store);
    f->store = NULL;
    overwrite(f->path, "this was a database once, then something wrote over its head");
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    assert_int_not_equal(store_open(f->loop, &(struct store_options){.path = f->path}, &f->store, &e), 0);
    assert_int_equal(e.code, A_CODE_STORE_CORRUPT);
    FILE *file = fopen(f->path, "re");
    char head[5] = {0};
    assert_int_equal(fread(head, 1, 4, file), 4);
    assert_string_equal(head, "this");
    fclose(file);
}

static void test_lost_file_is_another_store(void **state)
{
    struct fixture *f = *state;
    struct a_uuid id = *store_id(f->store);
    store_close(f->store);
    assert_int_equal(unlink(f->path), 0);
    opened(f, 0);
    assert_string_not_equal(store_id(f->store)->s, id.s);
}

static void test_full_disk_is_read_only_until_there_is_room(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(put(f, "/small", "1", STORE_ANY, NULL), 0);
    store_close(f->store);
    opened(f, 64 << 10);
    A_AUTOFREE char *big = a_alloc(200001);
    memset(big, 'x', 200000);
    assert_int_equal(put(f, "/big", big, STORE_ANY, NULL), -ENOSPC);
    assert_true(store_is_read_only(f->store));
    expect_scan(f, "/", "/small=1@1 ");
    assert_int_equal(put(f, "/small", "2", STORE_ANY, NULL), 0);
    assert_false(store_is_read_only(f->store));
}

static void test_backup_is_a_store(void **state)
{
    struct fixture *f = *state;
    struct a_uuid id = *store_id(f->store);
    assert_int_equal(put(f, "/a", "1", STORE_ANY, NULL), 0);
    A_AUTOFREE char *copy = a_asprintf("%s/copy.db", f->dir);
    assert_int_equal(store_backup(f->store, copy, NULL), 0);
    assert_int_not_equal(store_backup(f->store, copy, NULL), 0); /* never over a file */
    assert_int_equal(put(f, "/a", "2", STORE_ANY, NULL), 0);
    store_close(f->store);
    snprintf(f->path, sizeof f->path, "%s", copy);
    opened(f, 0);
    expect_scan(f, "/", "/a=1@1 ");
    assert_string_equal(store_id(f->store)->s, id.s);
}

static void copy_done(void *ctx, int rc, const struct a_error *error)
{
    (void)error;
    *(int *)ctx = rc;
}

/* Between the batches of a store at work; then put back in the place of the store, which is kept. */
static void test_copy_and_restore(void **state)
{
    struct fixture *f = *state;
    int rc = 1;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    A_AUTOFREE char *copy_path = a_asprintf("%s/copy", f->dir), *aside = NULL,
                    *no_store = a_asprintf("%s/text", f->dir);
    struct store_copy copy = {.path = copy_path, .done = copy_done, .ctx = &rc};
    uint64_t revision;
    assert_int_equal(put(f, "/a", "before", STORE_ANY, &revision), 0);
    store_copy_submit(f->store, &copy);
    assert_true(store_copy_is_under_way(f->store));
    assert_int_equal(put(f, "/a", "after", STORE_ANY, &revision), 0); /* waits for the copy */
    assert_int_equal(rc, 0);
    assert_false(store_copy_is_under_way(f->store));

    assert_true(store_restore(copy_path, f->path, &aside, &e) < 0); /* this process has it */
    assert_int_equal(e.code, A_CODE_STORE_LOCKED);
    store_close(f->store);
    f->store = NULL;
    FILE *text = fopen(no_store, "w");
    assert_non_null(text);
    for (int i = 0; i < 4096; i++)
        fputs("no store", text);
    fclose(text);
    a_error_deinit(&e);
    e = A_ERROR_NONE;
    assert_true(store_restore(no_store, f->path, &aside, &e) < 0);
    assert_int_equal(e.code, A_CODE_STORE_CORRUPT);
    assert_null(aside);

    assert_int_equal(store_restore(copy_path, f->path, &aside, NULL), 0);
    assert_int_equal(access(aside, F_OK), 0);
    opened(f, 0);
    assert_int_equal(put(f, "/a", "again", revision - 1, &revision),
                     0); /* it is the copy: the second write is not in it */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_survives_reopening),
        T(test_compare_and_swap),
        T(test_all_or_nothing),
        T(test_also_belongs_to_its_transaction),
        T(test_submissions_commit_in_order),
        T(test_one_process_only),
        T(test_corrupt_file_is_left_alone),
        T(test_lost_file_is_another_store),
        T(test_full_disk_is_read_only_until_there_is_room),
        T(test_backup_is_a_store),
        T(test_copy_and_restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
