/* The runtime over a strict fake engine: finding models, checking tensors, counting, the poison, want of
 * memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tfcc_fake_engine.h"
#include "tfcc_folder.h"

#define DIGEST_HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

struct world {
    struct folder models;
    struct tfcc_runtime *runtime;
    struct tfcc_model *model;
    struct tfcc_error error;
};

static struct tfcc_runtime *runtime_make(const char *models_dir, const char *page_dir)
{
    struct tfcc_runtime *runtime = NULL;
    struct tfcc_options options = {
        .size = sizeof options, .engine_dir = "/", .models_dir = models_dir, .page_dir = page_dir};
    assert_int_equal(tfcc_runtime_open_engine(&options, &fake_engine, &runtime, NULL), TFCC_OK);
    return runtime;
}

static int world_open(void **state)
{
    struct world *w = a_new(struct world);
    memset(&fake, 0, sizeof fake);
    unsetenv("OMP_NUM_THREADS");
    folder_init(&w->models);
    folder_write(&w->models, "det", "model", 5);
    w->runtime = runtime_make(w->models.path, NULL);
    assert_int_equal(tfcc_model_open(w->runtime, "det", NULL, &w->model, &w->error), TFCC_OK);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    struct world *w = *state;
    tfcc_model_close(w->model);
    tfcc_runtime_close(w->runtime);
    folder_deinit(&w->models);
    a_free(w);
    assert_int_equal(fake.live, 0);
    return 0;
}

/* Two inputs that fit. */
static const int64_t good_dims[] = {2, 3};
static float good_x[] = {0, 1, 2, 3, 4, 5};
static int64_t good_k = 10;

static void inputs_make(struct tfcc_tensor in[2])
{
    in[0] = (struct tfcc_tensor){"k", TFCC_I64, 0, NULL, &good_k, 8};
    in[1] = (struct tfcc_tensor){"x", TFCC_F32, 2, good_dims, good_x, sizeof good_x};
}

static void test_run(void **state)
{
    struct world *w = *state;
    struct tfcc_tensor in[2];
    struct tfcc_result *result = NULL;
    struct tfcc_stats stats;
    inputs_make(in);
    assert_int_equal(tfcc_model_run(w->model, in, 2, NULL, &result, &w->error), TFCC_OK);
    const struct tfcc_tensor *y = tfcc_result_output(result, 0), *n = tfcc_result_output(result, 1);
    assert_string_equal(y->name, "y");
    assert_int_equal(y->dims[0], 2);
    assert_true(((float *)y->data)[5] == 15.0F);
    assert_int_equal(*(int64_t *)n->data, 10);
    assert_int_equal(n->rank, 0);
    assert_null(tfcc_result_output(result, 2));
    tfcc_model_stats(w->model, &stats, sizeof stats);
    assert_int_equal(stats.inferences, 1);
    assert_int_equal(stats.items, 2);
    assert_int_equal(stats.loads, 1);
    assert_int_equal(stats.in_flight, 0);
    assert_true(stats.run_ns > 0);
    tfcc_result_free(result);
}

static void test_closing_in_any_order(void **state)
{
    struct world *w = *state;
    struct tfcc_tensor in[2];
    struct tfcc_result *result = NULL;
    inputs_make(in);
    assert_int_equal(tfcc_model_run(w->model, in, 2, NULL, &result, NULL), TFCC_OK);
    tfcc_runtime_close(w->runtime);
    tfcc_model_close(w->model);
    w->runtime = NULL;
    w->model = NULL;
    assert_true(((float *)tfcc_result_output(result, 0)->data)[0] == 10.0F);
    tfcc_result_free(result);
}

static void test_chosen_outputs(void **state)
{
    struct world *w = *state;
    struct tfcc_tensor in[2];
    struct tfcc_result *result = NULL;
    float y[6] = {0};
    struct tfcc_tensor want[] = {{.name = "n"}, {"y", TFCC_F32, 2, good_dims, y, sizeof y}};
    struct tfcc_run_options options = {.size = sizeof options, .outputs = want, .n_outputs = 2};
    inputs_make(in);
    assert_int_equal(tfcc_model_run(w->model, in, 2, &options, &result, &w->error), TFCC_OK);
    assert_string_equal(tfcc_result_output(result, 0)->name, "n");
    assert_ptr_equal(tfcc_result_output(result, 1)->data, y);
    assert_true(y[5] == 15.0F);
    tfcc_result_free(result);
    want[1].dims = (const int64_t[]){3, 2};
    assert_int_equal(tfcc_model_run(w->model, in, 2, &options, &result, &w->error), TFCC_E_INVALID);
    want[1] = (struct tfcc_tensor){.name = "n"};
    assert_int_equal(tfcc_model_run(w->model, in, 2, &options, &result, &w->error), TFCC_E_INVALID);
    assert_non_null(strstr(w->error.message, "wanted twice"));
    want[1].name = "z";
    assert_int_equal(tfcc_model_run(w->model, in, 2, &options, &result, &w->error), TFCC_E_INVALID);
    assert_non_null(strstr(w->error.message, "y FP32 [?,3], n INT64 []"));
}

/* Each change to good inputs is refused, in words that name the trouble; nothing reaches the engine. */
static void test_inputs_refused(void **state)
{
    struct world *w = *state;
    static const int64_t wide[] = {2, 4}, negative[] = {-2, 3}, huge[] = {INT64_MAX, 3};
    const struct {
        struct tfcc_tensor x;
        const char *says;
    } cases[] = {
        {{"y", TFCC_F32, 2, good_dims, good_x, 24}, "no input \"y\"; the model has x FP32 [?,3], k INT64 []"},
        {{"k", TFCC_I64, 0, NULL, &good_k, 8}, "given twice"},
        {{NULL, TFCC_F32, 2, good_dims, good_x, 24}, "has no name"},
        {{"x", TFCC_F64, 2, good_dims, good_x, 48}, "is FP64 [2,3]; the model takes FP32 [?,3]"},
        {{"x", 8, 2, good_dims, good_x, 24}, "unknown"},
        {{"x", TFCC_F32, 2, wide, good_x, 32}, "FP32 [2,4]"},
        {{"x", TFCC_F32, 1, good_dims, good_x, 8}, "FP32 [2]"},
        {{"x", TFCC_F32, 99, good_dims, good_x, 24}, "of rank 99"},
        {{"x", TFCC_F32, 2, NULL, good_x, 24}, "of rank 2"},
        {{"x", TFCC_F32, 2, negative, good_x, 24}, "negative"},
        {{"x", TFCC_F32, 2, huge, good_x, 24}, "too large"},
        {{"x", TFCC_F32, 2, good_dims, good_x, 20}, "has 20 bytes; its type and shape make 24"},
        {{"x", TFCC_F32, 2, good_dims, NULL, 24}, "no address"},
        {{"x", TFCC_F32, 2, good_dims, (char *)good_x + 1, 24}, "aligned"},
    };
    struct tfcc_tensor in[2];
    struct tfcc_result *result = NULL;
    struct tfcc_stats stats;
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        inputs_make(in);
        in[1] = cases[i].x;
        assert_int_equal(tfcc_model_run(w->model, in, 2, NULL, &result, &w->error), TFCC_E_INVALID);
        assert_non_null(strstr(w->error.message, cases[i].says));
        assert_non_null(strstr(w->error.message, "model det: "));
        assert_null(result);
    }
    inputs_make(in);
    assert_int_equal(tfcc_model_run(w->model, in, 1, NULL, &result, &w->error), TFCC_E_INVALID);
    assert_string_equal(w->error.message, "model det: input \"x\" is missing");
    assert_int_equal(tfcc_model_run(w->model, NULL, 0, NULL, &result, NULL), TFCC_E_INVALID);
    tfcc_model_stats(w->model, &stats, sizeof stats);
    assert_int_equal(stats.failures, A_ARRAY_SIZE(cases) + 2);
    assert_int_equal(stats.inferences, 0);
    assert_int_equal(stats.in_flight, 0);
}

static void test_empty_batch(void **state)
{
    struct world *w = *state;
    static const int64_t none[] = {0, 3};
    struct tfcc_tensor in[2];
    struct tfcc_result *result = NULL;
    inputs_make(in);
    in[1] = (struct tfcc_tensor){"x", TFCC_F32, 2, none, NULL, 0};
    assert_int_equal(tfcc_model_run(w->model, in, 2, NULL, &result, &w->error), TFCC_OK);
    assert_int_equal(tfcc_result_output(result, 0)->bytes, 0);
    tfcc_result_free(result);
}

static void test_finding_models(void **state)
{
    struct world *w = *state;
    struct tfcc_model *model = NULL;
    char path[400];
    assert_int_equal(tfcc_model_open(w->runtime, "dett", NULL, &model, &w->error), TFCC_E_NOT_FOUND);
    assert_non_null(strstr(w->error.message, "did you mean \"det\"?"));
    assert_int_equal(tfcc_model_open(w->runtime, "", NULL, &model, &w->error), TFCC_E_INVALID);
    assert_int_equal(tfcc_model_open(w->runtime, "/dev/null", NULL, &model, &w->error), TFCC_E_MODEL_INVALID);
    assert_int_equal(tfcc_model_open(w->runtime, "/no/such", NULL, &model, &w->error), TFCC_E_NOT_FOUND);

    /* a folder with one model in it, and then with two */
    assert_int_equal(mkdir(folder_path(&w->models, "rec"), 0700), 0);
    assert_int_equal(tfcc_model_open(w->runtime, "rec", NULL, &model, &w->error), TFCC_E_NOT_FOUND);
    folder_write(&w->models, "rec/a.onnx", "m", 1);
    assert_int_equal(tfcc_model_open(w->runtime, "rec", NULL, &model, &w->error), TFCC_OK);
    assert_non_null(strstr(tfcc_model_path(model), "/rec/a.onnx"));
    tfcc_model_close(model);
    folder_write(&w->models, "rec/b.onnx", "m", 1);
    assert_int_equal(tfcc_model_open(w->runtime, "rec", NULL, &model, &w->error), TFCC_E_NOT_FOUND);
    assert_non_null(strstr(w->error.message, "2 *.onnx files"));

    /* a link into a store of artifacts, whose file name is the digest */
    folder_write(&w->models, "sha256-" DIGEST_HEX ".onnx", "m", 1);
    snprintf(path, sizeof path, "%s", folder_path(&w->models, "cls"));
    assert_int_equal(symlink("sha256-" DIGEST_HEX ".onnx", path), 0);
    assert_int_equal(tfcc_model_open(w->runtime, "cls", NULL, &model, &w->error), TFCC_OK);
    assert_string_equal(tfcc_model_digest(model), "sha256:" DIGEST_HEX);
    assert_string_equal(tfcc_model_name(model), "cls");
    tfcc_model_close(model);
}

static void test_model_options(void **state)
{
    struct world *w = *state;
    struct tfcc_model *model = NULL;
    struct tfcc_model_options options = {.size = sizeof options, .device = "nvidia0"};
    assert_int_equal(tfcc_model_open(w->runtime, "det", &options, &model, &w->error), TFCC_E_DEVICE);
    assert_non_null(strstr(w->error.message, "there: cpu"));
    options = (struct tfcc_model_options){.size = sizeof options, .threads = 2000};
    assert_int_equal(tfcc_model_open(w->runtime, "det", &options, &model, &w->error), TFCC_E_INVALID);
    options = (struct tfcc_model_options){.size = sizeof options, .digest = "md5:1"};
    assert_int_equal(tfcc_model_open(w->runtime, "det", &options, &model, &w->error), TFCC_E_INVALID);
    options = (struct tfcc_model_options){.size = 8};
    assert_int_equal(tfcc_model_open(w->runtime, "det", &options, &model, &w->error), TFCC_E_INVALID);
    fake.fail_load = 1;
    assert_int_equal(tfcc_model_open(w->runtime, "det", NULL, &model, &w->error), TFCC_E_MODEL_INVALID);
    assert_string_equal(w->error.message, "model det: no model to my taste");
    fake.fail_load = 0;
    const struct {
        const char *omp;
        uint32_t threads;
    } cases[] = {{"3", 3}, {"4,2", 4}, {"0", 1}, {"many", 1}, {"", 1}, {"99999", 1024}};
    for (size_t i = 0; i < A_ARRAY_SIZE(cases); i++) {
        setenv("OMP_NUM_THREADS", cases[i].omp, 1);
        assert_int_equal(tfcc_model_open(w->runtime, "det", NULL, &model, &w->error), TFCC_OK);
        assert_int_equal(tfcc_model_threads(model), cases[i].threads);
        assert_int_equal(fake.last_threads, cases[i].threads);
        tfcc_model_close(model);
    }
    struct tfcc_stats stats;
    tfcc_model_stats(w->model, &stats, sizeof stats);
    assert_int_equal(stats.loads, 1 + A_ARRAY_SIZE(cases)); /* one count for all opens of a name */
    assert_int_equal(stats.load_failures, 1);
}

static void test_engine_failure_counts(void **state)
{
    struct world *w = *state;
    struct tfcc_tensor in[2];
    struct tfcc_result *result = NULL;
    struct tfcc_stats stats;
    inputs_make(in);
    fake.fail_run_at = 2;
    assert_int_equal(tfcc_model_run(w->model, in, 2, NULL, &result, &w->error), TFCC_OK);
    tfcc_result_free(result);
    assert_int_equal(tfcc_model_run(w->model, in, 2, NULL, &result, &w->error), TFCC_E_ENGINE);
    assert_string_equal(w->error.message, "model det: told to fail");
    tfcc_model_stats(w->model, &stats, sizeof stats);
    assert_int_equal(stats.inferences, 1);
    assert_int_equal(stats.failures, 1);
}

static void test_optional_hooks_absent(void **state)
{
    struct world *w = *state;
    struct tfcc_cancel *cancel = NULL;
    assert_null(tfcc_model_metadata_key(w->model, 0));
    assert_null(tfcc_model_metadata(w->model, "character"));
    assert_int_equal(tfcc_cancel_new(w->model, &cancel, &w->error), TFCC_E_UNSUPPORTED);
    assert_null(cancel);
}

static void test_older_engine(void **state)
{
    (void)state;
    struct astra_engine engine = fake_engine;
    struct tfcc_options options = {.size = sizeof options, .engine_dir = "/"};
    struct tfcc_runtime *runtime = NULL;
    struct tfcc_error error;
    engine.api_version = ASTRA_ENGINE_API_VERSION + 1;
    assert_int_equal(tfcc_runtime_open_engine(&options, &engine, &runtime, &error), TFCC_E_UNSUPPORTED);
    options.engine_dir = "/no/such/folder";
    assert_int_equal(tfcc_runtime_open_engine(&options, &fake_engine, &runtime, &error),
                     TFCC_E_ENGINE_MISSING);
    assert_int_equal(tfcc_runtime_open_engine(&options, &fake_engine, NULL, NULL), TFCC_E_INVALID);
    assert_null(runtime);
    assert_int_equal(fake.live, 0);
}

/* A lying engine poisons the runtime: an error, no abort, nothing leaked, and nothing more is run. */
static void test_poison(void **state)
{
    (void)state;
    const enum fake_lie lies[] = {FAKE_WRONG_BYTES, FAKE_WRONG_DTYPE, FAKE_NO_DATA};
    for (size_t i = 0; i < A_ARRAY_SIZE(lies); i++) {
        void *w_ptr;
        struct tfcc_tensor in[2];
        struct tfcc_result *result = NULL;
        struct tfcc_model *model = NULL;
        world_open(&w_ptr);
        struct world *w = w_ptr;
        inputs_make(in);
        fake.lie = lies[i];
        assert_int_equal(tfcc_model_run(w->model, in, 2, NULL, &result, &w->error), TFCC_E_POISONED);
        fake.lie = FAKE_HONEST;
        assert_int_equal(tfcc_model_run(w->model, in, 2, NULL, &result, &w->error), TFCC_E_POISONED);
        assert_int_equal(tfcc_model_open(w->runtime, "det", NULL, &model, &w->error), TFCC_E_POISONED);
        world_close(&w_ptr);
    }
}

static void test_bad_signature_poisons(void **state)
{
    struct world *w = *state;
    struct tfcc_model *model = NULL;
    fake.lie = FAKE_BAD_SIGNATURE;
    assert_int_equal(tfcc_model_open(w->runtime, "det", NULL, &model, &w->error), TFCC_E_POISONED);
    assert_null(model);
}

static void test_what_is_no_handle(void **state)
{
    struct world *w = *state;
    char nothing[512] = {0};
    struct tfcc_model *model = NULL;
    struct tfcc_result *result = NULL;
    assert_int_equal(tfcc_model_open((struct tfcc_runtime *)(void *)nothing, "det", NULL, &model, &w->error),
                     TFCC_E_INVALID);
    assert_int_equal(tfcc_model_run((struct tfcc_model *)(void *)nothing, NULL, 0, NULL, &result, &w->error),
                     TFCC_E_INVALID);
    assert_int_equal(tfcc_model_run(NULL, NULL, 0, NULL, &result, &w->error), TFCC_E_INVALID);
    tfcc_runtime_close(NULL);
    tfcc_model_close(NULL);
    tfcc_result_free(NULL);
    tfcc_cancel_free(NULL);
}

/* The whole life of a model, with the n-th allocation failing, for all n: an error each time and nothing
 * left. */
static void test_out_of_memory(void **state)
{
    (void)state;
    struct folder models;
    int failures = 0;
    folder_init(&models);
    folder_write(&models, "det", "model", 5);
    memset(&fake, 0, sizeof fake);
    for (uint64_t n = 1;; n++) {
        struct tfcc_runtime *runtime = NULL;
        struct tfcc_model *model = NULL;
        struct tfcc_result *result = NULL;
        struct tfcc_error error;
        struct tfcc_tensor in[2];
        struct tfcc_options options = {.size = sizeof options,
                                       .engine_dir = "/",
                                       .models_dir = models.path,
                                       .page_dir = "/no/such/folder"};
        inputs_make(in);
        a_try_alloc_fail_at(n);
        int rc = tfcc_runtime_open_engine(&options, &fake_engine, &runtime, &error);
        if (rc == 0)
            rc = tfcc_model_open(runtime, "det", NULL, &model, &error);
        if (rc == 0)
            rc = tfcc_model_run(model, in, 2, NULL, &result, &error);
        a_try_alloc_fail_at(0);
        tfcc_model_close(model);
        tfcc_runtime_close(runtime);
        tfcc_result_free(result);
        assert_int_equal(fake.live, 0);
        if (rc == 0)
            break;
        assert_true(rc == TFCC_E_MEMORY || rc == TFCC_E_DEVICE); /* the cpu's own driver found no memory */
        failures++;
    }
    assert_true(failures >= 8);
    folder_deinit(&models);
}

struct runner {
    struct tfcc_model *model;
    pthread_t thread;
    int wrong;
};

static void *runner_main(void *arg)
{
    struct runner *r = arg;
    for (int i = 0; i < 500; i++) {
        struct tfcc_tensor in[2];
        struct tfcc_result *result = NULL;
        inputs_make(in);
        if (tfcc_model_run(r->model, in, 2, NULL, &result, NULL) != TFCC_OK ||
            ((float *)tfcc_result_output(result, 0)->data)[5] != 15.0F)
            r->wrong++;
        tfcc_result_free(result);
    }
    return NULL;
}

static void test_eight_threads(void **state)
{
    struct world *w = *state;
    struct runner runners[8];
    struct tfcc_stats stats;
    for (size_t i = 0; i < A_ARRAY_SIZE(runners); i++) {
        runners[i] = (struct runner){.model = w->model};
        pthread_create(&runners[i].thread, NULL, runner_main, &runners[i]);
    }
    for (size_t i = 0; i < A_ARRAY_SIZE(runners); i++) {
        pthread_join(runners[i].thread, NULL);
        assert_int_equal(runners[i].wrong, 0);
    }
    tfcc_model_stats(w->model, &stats, sizeof stats);
    assert_int_equal(stats.inferences, 4000);
    assert_int_equal(stats.items, 8000);
    assert_int_equal(stats.in_flight, 0);
}

static void test_words(void **state)
{
    (void)state;
    assert_string_equal(tfcc_code_name(TFCC_E_MODEL_INVALID), "model_invalid");
    assert_string_equal(tfcc_code_name(TFCC_OK), "ok");
    assert_string_equal(tfcc_code_name(-1), "unknown");
    assert_string_equal(tfcc_dtype_name(TFCC_BF16), "BF16");
    assert_int_equal(tfcc_dtype_bytes(TFCC_I64), 8);
    assert_int_equal(tfcc_dtype_bytes(8), 0);
    assert_int_equal(tfcc_dtype_parse(A_VIEW_LIT("fp32")), TFCC_F32);
    assert_int_equal(tfcc_dtype_parse(A_VIEW_LIT("fp31")), TFCC_DTYPE_NONE);
    assert_string_equal(tfcc_version(), ASTRA_VERSION);
}

#define with_world(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        with_world(test_run),
        with_world(test_closing_in_any_order),
        with_world(test_chosen_outputs),
        with_world(test_inputs_refused),
        with_world(test_empty_batch),
        with_world(test_finding_models),
        with_world(test_model_options),
        with_world(test_engine_failure_counts),
        with_world(test_optional_hooks_absent),
        cmocka_unit_test(test_older_engine),
        cmocka_unit_test(test_poison),
        with_world(test_bad_signature_poisons),
        with_world(test_what_is_no_handle),
        cmocka_unit_test(test_out_of_memory),
        with_world(test_eight_threads),
        cmocka_unit_test(test_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
