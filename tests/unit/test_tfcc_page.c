/* The counters pages: a process writes, a collector sums, whoever dies in between. Invariants of
 * docs/components/tfcc.md. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/wait.h>

#include "tfcc/page.h"
#include "tfcc_fake_engine.h"
#include "tfcc_folder.h"

struct world {
    struct folder folder;
};

static int world_open(void **state)
{
    struct world *w = a_new(struct world);
    memset(&fake, 0, sizeof fake);
    folder_init(&w->folder);
    folder_write(&w->folder, "det.onnx", "model", 5);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    struct world *w = *state;
    folder_deinit(&w->folder);
    a_free(w);
    return 0;
}

static void run_times(struct tfcc_model *model, int n)
{
    static const int64_t dims[] = {2, 3};
    static float x[6];
    static int64_t k;
    const struct tfcc_tensor in[] = {{"x", TFCC_F32, 2, dims, x, sizeof x}, {"k", TFCC_I64, 0, NULL, &k, 8}};
    for (int i = 0; i < n; i++) {
        struct tfcc_result *result = NULL;
        a_assert(tfcc_model_run(model, in, 2, NULL, &result, NULL) == TFCC_OK);
        tfcc_result_free(result);
    }
}

static struct tfcc_model *model_make(const char *folder, struct tfcc_runtime **ret_runtime)
{
    char path[400];
    struct tfcc_options options = {
        .size = sizeof options, .engine_dir = "/", .models_dir = folder, .page_dir = folder};
    struct tfcc_model *model = NULL;
    snprintf(path, sizeof path, "det.onnx");
    a_assert(tfcc_runtime_open_engine(&options, &fake_engine, ret_runtime, NULL) == TFCC_OK);
    a_assert(tfcc_model_open(*ret_runtime, path, NULL, &model, NULL) == TFCC_OK);
    return model;
}

/* A process that runs the model n times and then is killed, in the middle of everything. */
static void child_run(const char *folder, int n)
{
    pid_t pid = fork();
    a_assert(pid >= 0);
    if (pid == 0) {
        struct tfcc_runtime *runtime;
        run_times(model_make(folder, &runtime), n);
        kill(getpid(), SIGKILL);
    }
    int status;
    a_assert(waitpid(pid, &status, 0) == pid && WIFSIGNALED(status));
}

/* The sums of the only row. */
static struct tfcc_page_counters collect(const char *folder, size_t alive)
{
    struct tfcc_pages pages = {0};
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    if (tfcc_pages_collect(folder, &pages, &error) != 0)
        fail_msg("%s", a_error_text(&error));
    assert_int_equal(pages.n_rows, 1);
    assert_int_equal(pages.n_alive, alive);
    assert_string_equal(pages.rows[0].model, "det.onnx");
    assert_string_equal(pages.rows[0].engine, "fake 1.0");
    struct tfcc_page_counters counters = pages.rows[0].counters;
    tfcc_pages_deinit(&pages);
    return counters;
}

static void test_living_then_closed(void **state)
{
    struct world *w = *state;
    struct tfcc_runtime *runtime;
    struct tfcc_model *model = model_make(w->folder.path, &runtime);
    run_times(model, 3);
    assert_int_equal(collect(w->folder.path, 1).inferences, 3);
    run_times(model, 2);
    struct tfcc_page_counters c = collect(w->folder.path, 1);
    assert_int_equal(c.inferences, 5);
    assert_int_equal(c.items, 10);
    assert_int_equal(c.loads, 1);
    assert_int_equal(folder_count(&w->folder, ".page", NULL), 1);
    tfcc_model_close(model);
    tfcc_runtime_close(runtime);
    for (int i = 0; i < 3; i++)
        assert_int_equal(collect(w->folder.path, 0).inferences, 5);
    assert_int_equal(folder_count(&w->folder, ".page", NULL), 0);
    assert_int_equal(folder_count(&w->folder, ".total", NULL), 1);
}

static void test_killed_processes_add_up(void **state)
{
    struct world *w = *state;
    uint64_t sum = 0;
    for (int i = 1; i <= 4; i++) {
        child_run(w->folder.path, i);
        sum += (uint64_t)i;
        if (i % 2 == 0)
            assert_int_equal(collect(w->folder.path, 0).inferences, sum);
    }
    assert_int_equal(collect(w->folder.path, 0).loads, 4);
    assert_int_equal(folder_count(&w->folder, ".total", NULL), 1);
}

static void die(void)
{
    kill(getpid(), SIGKILL);
}

/* Nothing is in flight in a process that is gone. */
static void test_killed_in_the_middle_of_a_run(void **state)
{
    struct world *w = *state;
    fake.in_run = die;
    child_run(w->folder.path, 1);
    fake.in_run = NULL;
    struct tfcc_page_counters c = collect(w->folder.path, 0);
    assert_int_equal(c.in_flight, 0);
    assert_int_equal(c.loads, 1);
    assert_int_equal(c.inferences, 0);
    assert_int_equal(collect(w->folder.path, 0).in_flight, 0);
}

/* The collector dies between writing the total and deleting the page: the page must not count again. */
static void test_collector_dies_in_between(void **state)
{
    struct world *w = *state;
    char name[256], page[TFCC_PAGE_BYTES];
    child_run(w->folder.path, 7);
    assert_int_equal(folder_count(&w->folder, ".page", name), 1);
    int fd = open(folder_path(&w->folder, name), O_RDONLY | O_CLOEXEC);
    assert_int_equal(read(fd, page, sizeof page), sizeof page);
    close(fd);
    assert_int_equal(collect(w->folder.path, 0).inferences, 7);
    folder_write(&w->folder, name, page, sizeof page);
    assert_int_equal(collect(w->folder.path, 0).inferences, 7);
    assert_int_equal(folder_count(&w->folder, ".page", NULL), 0);
    child_run(w->folder.path, 1);
    assert_int_equal(collect(w->folder.path, 0).inferences, 8);
}

/* When the total cannot be written, the dead page goes on counting where it is. */
static void test_total_cannot_be_written(void **state)
{
    struct world *w = *state;
    char name[256], path[512];
    child_run(w->folder.path, 2);
    assert_int_equal(collect(w->folder.path, 0).inferences, 2);
    assert_int_equal(folder_count(&w->folder, ".total", name), 1);
    child_run(w->folder.path, 3);
    snprintf(path, sizeof path, "%s/%s.new", w->folder.path, name);
    assert_int_equal(mkdir(path, 0700), 0); /* where the new total would be written */
    for (int i = 0; i < 2; i++)
        assert_int_equal(collect(w->folder.path, 0).inferences, 5);
    assert_int_equal(folder_count(&w->folder, ".page", NULL), 1);
    assert_int_equal(rmdir(path), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(collect(w->folder.path, 0).inferences, 5);
    assert_int_equal(folder_count(&w->folder, ".page", NULL), 0);
}

static void test_foreign_files(void **state)
{
    struct world *w = *state;
    struct tfcc_page page = {
        .magic = TFCC_PAGE_MAGIC, .version = TFCC_PAGE_VERSION + 1, .state = TFCC_PAGE_WRITER};
    char whole[TFCC_PAGE_BYTES] = {0};
    memcpy(whole, &page, sizeof page);
    folder_write(&w->folder, "short.page", "abc", 3);
    folder_write(&w->folder, "newer.page", whole, sizeof whole);
    memset(whole, 'x', sizeof whole);
    folder_write(&w->folder, "garbage.page", whole, sizeof whole);
    folder_write(&w->folder, "garbage.total", whole, sizeof whole);
    assert_int_equal(symlink("/dev/zero", folder_path(&w->folder, "link.page")), 0);
    assert_int_equal(mkfifo(folder_path(&w->folder, "fifo.page"), 0600), 0);
    child_run(w->folder.path, 1);
    struct tfcc_pages pages = {0};
    assert_int_equal(tfcc_pages_collect(w->folder.path, &pages, NULL), 0);
    assert_int_equal(pages.n_rows, 1);
    assert_int_equal(pages.n_ignored, 6);
    assert_int_equal(folder_count(&w->folder, ".page", NULL), 5); /* they are left alone */
    tfcc_pages_deinit(&pages);
    tfcc_pages_deinit(&pages);
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    assert_int_equal(tfcc_pages_collect("/no/such/folder", &pages, &error), -ENOENT);
    assert_non_null(strstr(error.message, "/no/such/folder"));
}

/* A full row of zero bytes where text should end is no reason to read on: the last byte of a text is never
 * trusted. */
static void test_unterminated_text(void **state)
{
    struct world *w = *state;
    struct tfcc_page page = {
        .magic = TFCC_PAGE_MAGIC, .version = TFCC_PAGE_VERSION, .state = TFCC_PAGE_WRITER, .id = 1};
    char whole[TFCC_PAGE_BYTES] = {0};
    memset(page.model, '"', sizeof page.model);
    memset(page.app, '\n', sizeof page.app);
    memcpy(whole, &page, sizeof page);
    folder_write(&w->folder, "odd.page", whole, sizeof whole);
    struct tfcc_pages pages = {0};
    A_BUF_AUTO struct a_buf text = {0};
    assert_int_equal(tfcc_pages_collect(w->folder.path, &pages, NULL), 0);
    assert_int_equal(pages.n_rows, 1);
    tfcc_pages_print_metrics(&pages, &text);
    assert_non_null(strstr(text.ptr, "model=\"\\\"\\\"\\\""));
    assert_null(strstr(text.ptr, "\n\n"));
    tfcc_pages_deinit(&pages);
}

static void test_metrics(void **state)
{
    struct world *w = *state;
    setenv("ASTRA_NAMESPACE", "default", 1);
    setenv("ASTRA_APP", "ocr", 1);
    child_run(w->folder.path, 3);
    unsetenv("ASTRA_APP");
    unsetenv("ASTRA_NAMESPACE");
    struct tfcc_pages pages = {0};
    A_BUF_AUTO struct a_buf text = {0};
    assert_int_equal(tfcc_pages_collect(w->folder.path, &pages, NULL), 0);
    pages.rows[0].counters.run_ns = 1500000000;
    tfcc_pages_print_metrics(&pages, &text);
    assert_non_null(strstr(text.ptr,
                           "# TYPE astra_tfcc_inferences_total counter\n"
                           "astra_tfcc_inferences_total{model=\"det.onnx\",digest=\"\",device=\"cpu\","
                           "engine=\"fake 1.0\",app=\"default/ocr\"} 3\n"));
    assert_non_null(strstr(text.ptr, "app=\"default/ocr\"} 1.500000000\n"));
    assert_non_null(strstr(text.ptr, "# TYPE astra_tfcc_inferences_in_flight gauge\n"));
    tfcc_pages_deinit(&pages);
}

/* No folder, or none that can be written: the model works all the same. */
static void test_no_room_for_pages(void **state)
{
    struct world *w = *state;
    struct tfcc_options options = {.size = sizeof options,
                                   .engine_dir = "/",
                                   .models_dir = w->folder.path,
                                   .page_dir = "/no/such/folder"};
    struct tfcc_runtime *runtime = NULL;
    struct tfcc_model *model = NULL;
    struct tfcc_stats stats;
    assert_int_equal(tfcc_runtime_open_engine(&options, &fake_engine, &runtime, NULL), TFCC_OK);
    assert_int_equal(tfcc_model_open(runtime, "det.onnx", NULL, &model, NULL), TFCC_OK);
    run_times(model, 2);
    tfcc_model_stats(model, &stats, sizeof stats);
    assert_int_equal(stats.inferences, 2);
    tfcc_model_close(model);
    tfcc_runtime_close(runtime);
}

/* Models with names that make odd file names get pages, too. */
static void test_odd_names(void **state)
{
    struct world *w = *state;
    struct tfcc_runtime *runtime;
    struct tfcc_model *odd = NULL, *model = model_make(w->folder.path, &runtime);
    folder_write(&w->folder, ".hid den\n.onnx", "m", 1);
    assert_int_equal(tfcc_model_open(runtime, folder_path(&w->folder, ".hid den\n.onnx"), NULL, &odd, NULL),
                     TFCC_OK);
    run_times(odd, 4);
    tfcc_model_close(odd);
    tfcc_model_close(model);
    tfcc_runtime_close(runtime);
    for (int round = 0; round < 2; round++) {
        struct tfcc_pages pages = {0};
        assert_int_equal(tfcc_pages_collect(w->folder.path, &pages, NULL), 0);
        assert_int_equal(pages.n_rows, 2);
        assert_int_equal(pages.rows[0].counters.inferences + pages.rows[1].counters.inferences, 4);
        tfcc_pages_deinit(&pages);
    }
    assert_int_equal(folder_count(&w->folder, ".total", NULL), 2);
}

#define with_world(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_world(test_living_then_closed),
        with_world(test_killed_processes_add_up),
        with_world(test_killed_in_the_middle_of_a_run),
        with_world(test_collector_dies_in_between),
        with_world(test_total_cannot_be_written),
        with_world(test_foreign_files),
        with_world(test_unterminated_text),
        with_world(test_metrics),
        with_world(test_no_room_for_pages),
        with_world(test_odd_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
