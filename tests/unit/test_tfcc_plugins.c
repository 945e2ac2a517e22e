/* What every engine and every device driver must do, walked over the arrays of plugins.c; then ONNX Runtime
 * itself through the public API, on models that this file writes. Skipped where the engine's library was not
 * fetched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>

#include "base/alloc.h"
#include "tfcc/plugins.h"
#include "tfcc/runtime.h"
#include "tfcc/tensor.h"
#include "tfcc_folder.h"
#include "tfcc_onnx_writer.h"

#define SKIPPED 77 /* what meson takes for "skipped" */

/* How many resident pages may be gained over many runs: 8 MiB. The address sanitizer keeps freed memory back
 * (and looks for leaks itself). */
#ifdef __SANITIZE_ADDRESS__
#define GROWTH_MAX (256 * 1024)
#else
#define GROWTH_MAX (8 * 256)
#endif

static const char *engine_dir;
static const int64_t open_dims[] = {-1, 3};
static const int64_t two_by_three[] = {2, 3};

static void model_write(struct folder *folder, const char *name, const struct onnx_spec *spec)
{
    A_BUF_AUTO struct a_buf file = {0};
    onnx_write(&file, spec);
    folder_write(folder, name, file.ptr, file.len);
}

/* ---- every device driver ---- */

static void device_conforms(const struct astra_device_driver *driver, void *ctx, uint32_t index)
{
    struct tfcc_error error;
    struct astra_device_info info = {.size = sizeof info};
    struct astra_device_memory memory = {.size = sizeof memory};
    int32_t health = -1;
    assert_int_equal(driver->info(ctx, index, &info, &error), TFCC_OK);
    assert_true(info.name[0] != '\0' && memchr(info.name, 0, sizeof info.name) != NULL);
    assert_true(info.class_id >= ASTRA_DEVICE_CPU && info.class_id <= ASTRA_DEVICE_NPU);
    assert_int_equal(driver->memory(ctx, index, &memory, &error), TFCC_OK);
    assert_true(memory.free_bytes <= memory.total_bytes);
    assert_int_equal(driver->health(ctx, index, &health, &error), TFCC_OK);
    assert_true(health >= ASTRA_DEVICE_OK && health <= ASTRA_DEVICE_FAILED);
    if (TFCC_HAS_HOOK(driver, property)) {
        const char *key, *value;
        size_t n = 0;
        while (driver->property(ctx, index, n, &key, &value)) {
            assert_true(key[0] != '\0' && value != NULL);
            assert_true(++n < 100);
        }
    }
    assert_int_equal(TFCC_HAS_HOOK(driver, buffer_alloc), TFCC_HAS_HOOK(driver, buffer_free));
    if (TFCC_HAS_HOOK(driver, buffer_alloc)) {
        void *buffer = NULL;
        assert_int_equal(driver->buffer_alloc(ctx, index, 100, &buffer, &error), TFCC_OK);
        assert_int_equal((uintptr_t)buffer % 64, 0);
        memset(buffer, 1, 100);
        driver->buffer_free(ctx, index, buffer);
        assert_int_not_equal(driver->buffer_alloc(ctx, index, 0, &buffer, &error), TFCC_OK);
        assert_int_not_equal(driver->buffer_alloc(ctx, index, UINT64_MAX / 2, &buffer, &error), TFCC_OK);
    }
}

static void test_devices_conform(void **state)
{
    (void)state;
    for (size_t i = 0; tfcc_device_drivers[i] != NULL; i++) {
        const struct astra_device_driver *driver = tfcc_device_drivers[i];
        struct astra_device_info info = {.size = sizeof info};
        struct tfcc_error error;
        void *ctx = NULL;
        assert_int_equal(driver->api_version, ASTRA_DEVICE_API_VERSION);
        assert_int_equal(driver->size, sizeof *driver);
        a_try_alloc_fail_at(1);
        assert_int_equal(driver->open(&ctx, &error), TFCC_E_MEMORY);
        a_try_alloc_fail_at(0);
        assert_int_equal(driver->open(&ctx, &error), TFCC_OK);
        uint32_t n = driver->count(ctx);
        for (uint32_t index = 0; index < n; index++)
            device_conforms(driver, ctx, index);
        assert_int_equal(driver->info(ctx, n, &info, &error), TFCC_E_INVALID);
        driver->close(ctx);
    }
}

/* ---- every engine ---- */

static void engine_refuses_folders(const struct astra_engine *engine, struct folder *folder)
{
    struct tfcc_error error;
    void *ctx = NULL;
    struct astra_engine_open_options options = {.size = sizeof options, .dir = folder->path};
    assert_int_equal(engine->open(&options, &ctx, &error), TFCC_E_ENGINE_MISSING);
    assert_non_null(strstr(error.message, folder->path));
    folder_write(folder, "libonnxruntime.so.99", "no library", 10);
    assert_int_equal(engine->open(&options, &ctx, &error), TFCC_E_ENGINE_MISSING);
    unlink(folder_path(folder, "libonnxruntime.so.99"));
    options.dir = NULL;
    assert_int_equal(engine->open(&options, &ctx, &error), TFCC_E_ENGINE_MISSING);
    assert_null(ctx);
}

static void engine_refuses_files(const struct astra_engine *engine, void *ctx, struct folder *folder)
{
    struct tfcc_error error;
    struct astra_engine_signature signature;
    void *model = NULL;
    char path[400];
    struct astra_engine_load_options options = {
        .size = sizeof options, .path = path, .device = "cpu", .threads = 1};
    snprintf(path, sizeof path, "%s", folder_path(folder, "none.onnx"));
    assert_int_equal(engine->model_load(ctx, &options, &model, &signature, &error), TFCC_E_NOT_FOUND);
    static const char *const bad[] = {"", "this is no model at all", "\x08\x08"};
    for (size_t i = 0; i < A_ARRAY_SIZE(bad); i++) {
        folder_write(folder, "bad.onnx", bad[i], strlen(bad[i]));
        snprintf(path, sizeof path, "%s", folder_path(folder, "bad.onnx"));
        assert_int_equal(engine->model_load(ctx, &options, &model, &signature, &error), TFCC_E_MODEL_INVALID);
        assert_non_null(strstr(error.message, "bad.onnx"));
    }
    assert_null(model);
}

static void engine_runs(const struct astra_engine *engine, void *ctx, void *model)
{
    static float x[] = {1, 2, 3, 4, 5, 6};
    float y[6] = {0};
    const struct tfcc_tensor in = {"x", TFCC_F32, 2, two_by_three, x, sizeof x};
    const struct tfcc_tensor *const inputs[] = {&in};
    struct astra_engine_run run = {.size = sizeof run, .inputs = inputs};
    struct astra_engine_output out = {.index = 0};
    struct tfcc_error error;
    assert_int_equal(engine->run(ctx, model, &run, &out, 1, &error), TFCC_OK);
    assert_int_equal(out.dtype, TFCC_F32);
    assert_int_equal(out.rank, 2);
    assert_int_equal(out.bytes, sizeof x);
    assert_true(((float *)out.data)[5] == -6.0F);
    engine->output_release(ctx, model, &out);
    /* the caller's own buffer; then one of another shape, which is refused and left alone */
    out = (struct astra_engine_output){
        .dtype = TFCC_F32, .rank = 2, .dims = {2, 3}, .data = y, .bytes = sizeof y};
    assert_int_equal(engine->run(ctx, model, &run, &out, 1, &error), TFCC_OK);
    assert_ptr_equal(out.data, y);
    assert_true(y[0] == -1.0F);
    engine->output_release(ctx, model, &out);
    out = (struct astra_engine_output){.dtype = TFCC_F32, .rank = 2, .dims = {1, 3}, .data = y, .bytes = 12};
    assert_int_equal(engine->run(ctx, model, &run, &out, 1, &error), TFCC_E_INVALID);
    assert_true(y[0] == -1.0F);
}

static void engine_cancels(const struct astra_engine *engine, void *ctx, void *model)
{
    assert_int_equal(TFCC_HAS_HOOK(engine, cancel_new), TFCC_HAS_HOOK(engine, cancel_trigger));
    assert_int_equal(TFCC_HAS_HOOK(engine, cancel_new), TFCC_HAS_HOOK(engine, cancel_free));
    if (!TFCC_HAS_HOOK(engine, cancel_new))
        return;
    static float x[6];
    const struct tfcc_tensor in = {"x", TFCC_F32, 2, two_by_three, x, sizeof x};
    const struct tfcc_tensor *const inputs[] = {&in};
    struct astra_engine_run run = {.size = sizeof run, .inputs = inputs};
    struct astra_engine_output out = {.index = 0};
    struct tfcc_error error;
    assert_int_equal(engine->cancel_new(ctx, model, &run.cancel, &error), TFCC_OK);
    assert_int_equal(engine->run(ctx, model, &run, &out, 1, &error), TFCC_OK);
    engine->output_release(ctx, model, &out);
    engine->cancel_trigger(ctx, run.cancel);
    out = (struct astra_engine_output){.index = 0};
    assert_int_equal(engine->run(ctx, model, &run, &out, 1, &error), TFCC_E_CANCELLED);
    engine->cancel_free(ctx, run.cancel);
}

static void engine_conforms(const struct astra_engine *engine, void *ctx, struct folder *folder)
{
    struct astra_engine_signature signature;
    struct astra_device_info device = {.size = sizeof device, .name = "cpu", .class_id = ASTRA_DEVICE_CPU};
    struct tfcc_error error;
    void *model = NULL;
    char path[400];
    assert_true(engine->version(ctx)[0] != '\0');
    assert_int_equal(engine->supports(ctx, &device), 1);
    engine_refuses_files(engine, ctx, folder);
    model_write(folder, "neg.onnx",
                &(struct onnx_spec){.op = "Neg", .dims = open_dims, .rank = 2, .key = "k", .value = "v"});
    snprintf(path, sizeof path, "%s", folder_path(folder, "neg.onnx"));
    struct astra_engine_load_options options = {
        .size = sizeof options, .path = path, .device = "cpu", .threads = 1};
    assert_int_equal(engine->model_load(ctx, &options, &model, &signature, &error), TFCC_OK);
    unlink(path); /* the engine keeps no hold on it */
    assert_int_equal(signature.n_inputs, 1);
    assert_int_equal(signature.n_outputs, 1);
    assert_string_equal(signature.inputs[0].name, "x");
    assert_string_equal(signature.outputs[0].name, "y");
    assert_int_equal(signature.inputs[0].rank, 2);
    assert_int_equal(signature.inputs[0].dims[0], -1);
    assert_int_equal(signature.inputs[0].dims[1], 3);
    engine_runs(engine, ctx, model);
    engine_cancels(engine, ctx, model);
    if (TFCC_HAS_HOOK(engine, metadata)) {
        const char *key, *value;
        assert_int_equal(engine->metadata(ctx, model, 0, &key, &value), 1);
        assert_string_equal(key, "k");
        assert_string_equal(value, "v");
        assert_int_equal(engine->metadata(ctx, model, 1, &key, &value), 0);
    }
    engine->model_unload(ctx, model);
}

static void test_engines_conform(void **state)
{
    (void)state;
    for (size_t i = 0; tfcc_engines[i] != NULL; i++) {
        const struct astra_engine *engine = tfcc_engines[i];
        struct astra_engine_open_options options = {.size = sizeof options, .dir = engine_dir};
        struct folder folder;
        struct tfcc_error error;
        void *ctx = NULL;
        folder_init(&folder);
        assert_int_equal(engine->api_version, ASTRA_ENGINE_API_VERSION);
        assert_int_equal(engine->size, sizeof *engine);
        engine_refuses_folders(engine, &folder);
        if (engine->open(&options, &ctx, &error) != TFCC_OK)
            fail_msg("%s", error.message);
        engine_conforms(engine, ctx, &folder);
        engine->close(ctx);
        folder_deinit(&folder);
    }
}

/* ---- ONNX Runtime through the public API ---- */

struct world {
    struct folder folder;
    struct tfcc_runtime *runtime;
    struct tfcc_model *model; /* y = -x over [?,3] */
    struct tfcc_error error;
};

static int world_open(void **state)
{
    struct world *w = a_new(struct world);
    struct tfcc_options options = {.size = sizeof options, .engine_dir = engine_dir};
    folder_init(&w->folder);
    model_write(&w->folder, "neg.onnx", &(struct onnx_spec){.op = "Neg", .dims = open_dims, .rank = 2});
    if (tfcc_runtime_open(&options, &w->runtime, &w->error) != TFCC_OK ||
        tfcc_model_open(w->runtime, folder_path(&w->folder, "neg.onnx"), NULL, &w->model, &w->error) !=
            TFCC_OK)
        fail_msg("%s", w->error.message);
    *state = w;
    return 0;
}

static int world_close(void **state)
{
    struct world *w = *state;
    tfcc_model_close(w->model);
    tfcc_runtime_close(w->runtime);
    folder_deinit(&w->folder);
    a_free(w);
    return 0;
}

/* The numbers of our element types are the engine's: a tensor of each goes through, bit by bit. */
static void test_every_dtype(void **state)
{
    struct world *w = *state;
    static const struct {
        int dtype;
        size_t bytes;
    } types[] = {
#define X(name, value, bytes, word) {value, bytes},
        TFCC_DTYPES(X)
#undef X
    };
    for (size_t i = 0; i < A_ARRAY_SIZE(types); i++) {
        struct tfcc_model *model = NULL;
        struct tfcc_result *result = NULL;
        uint64_t data[6] = {1, 0, 1, 0, 1, 0};
        model_write(
            &w->folder, "id.onnx",
            &(struct onnx_spec){.op = "Identity", .dtype = types[i].dtype, .dims = open_dims, .rank = 2});
        if (tfcc_model_open(w->runtime, folder_path(&w->folder, "id.onnx"), NULL, &model, &w->error) !=
            TFCC_OK)
            fail_msg("%s: %s", tfcc_dtype_name(types[i].dtype), w->error.message);
        const struct tfcc_tensor in = {"x", types[i].dtype, 2, two_by_three, data, 6 * types[i].bytes};
        if (tfcc_model_run(model, &in, 1, NULL, &result, &w->error) != TFCC_OK)
            fail_msg("%s: %s", tfcc_dtype_name(types[i].dtype), w->error.message);
        assert_int_equal(tfcc_result_output(result, 0)->dtype, types[i].dtype);
        assert_memory_equal(tfcc_result_output(result, 0)->data, data, in.bytes);
        tfcc_result_free(result);
        tfcc_model_close(model);
    }
}

static void test_strings_are_refused(void **state)
{
    struct world *w = *state;
    struct tfcc_model *model = NULL;
    model_write(&w->folder, "s.onnx",
                &(struct onnx_spec){.op = "Identity", .dtype = 8, .dims = open_dims, .rank = 2});
    assert_int_equal(tfcc_model_open(w->runtime, folder_path(&w->folder, "s.onnx"), NULL, &model, &w->error),
                     TFCC_E_UNSUPPORTED);
    assert_non_null(strstr(w->error.message, "\"x\" has ONNX element type 8"));
}

static void test_scalars_and_empty_batches(void **state)
{
    struct world *w = *state;
    static const int64_t none[] = {0, 3};
    struct tfcc_model *model = NULL;
    struct tfcc_result *result = NULL;
    float x = 2;
    struct tfcc_tensor in = {"x", TFCC_F32, 2, none, NULL, 0};
    assert_int_equal(tfcc_model_run(w->model, &in, 1, NULL, &result, &w->error), TFCC_OK);
    assert_int_equal(tfcc_result_output(result, 0)->bytes, 0);
    tfcc_result_free(result);
    model_write(&w->folder, "scalar.onnx", &(struct onnx_spec){.op = "Neg"});
    assert_int_equal(
        tfcc_model_open(w->runtime, folder_path(&w->folder, "scalar.onnx"), NULL, &model, &w->error),
        TFCC_OK);
    in = (struct tfcc_tensor){"x", TFCC_F32, 0, NULL, &x, 4};
    assert_int_equal(tfcc_model_run(model, &in, 1, NULL, &result, &w->error), TFCC_OK);
    assert_true(*(float *)tfcc_result_output(result, 0)->data == -2.0F);
    tfcc_result_free(result);
    tfcc_model_close(model);
}

/* A shape that the declaration allows and the graph does not: the engine's own words reach the caller. */
static void test_engine_words(void **state)
{
    struct world *w = *state;
    struct tfcc_model *model = NULL;
    struct tfcc_result *result = NULL;
    float x[12] = {0};
    static const int64_t three[] = {3, 3};
    model_write(&w->folder, "add.onnx",
                &(struct onnx_spec){.op = "Add", .second = "z", .dims = open_dims, .rank = 2});
    assert_int_equal(
        tfcc_model_open(w->runtime, folder_path(&w->folder, "add.onnx"), NULL, &model, &w->error), TFCC_OK);
    const struct tfcc_tensor in[] = {{"z", TFCC_F32, 2, three, x, 36},
                                     {"x", TFCC_F32, 2, two_by_three, x, 24}};
    assert_int_equal(tfcc_model_run(model, in, 2, NULL, &result, &w->error), TFCC_E_ENGINE);
    assert_non_null(strstr(w->error.message, "Add"));
    tfcc_model_close(model);
}

static void *trigger_main(void *cancel)
{
    usleep(20000);
    tfcc_cancel_trigger(cancel);
    return NULL;
}

static void test_cancel_while_running(void **state)
{
    struct world *w = *state;
    enum { N = 4 * 1024 * 1024 };
    static const int64_t dims[] = {N};
    struct tfcc_model *model = NULL;
    struct tfcc_result *result = NULL;
    struct tfcc_cancel *cancel = NULL;
    struct tfcc_stats stats;
    pthread_t thread;
    /* some 800 nodes of milliseconds each: nobody waits for the end of that */
    model_write(&w->folder, "long.onnx",
                &(struct onnx_spec){.op = "Sin", .n_nodes = 800, .dims = dims, .rank = 1});
    assert_int_equal(
        tfcc_model_open(w->runtime, folder_path(&w->folder, "long.onnx"), NULL, &model, &w->error), TFCC_OK);
    assert_int_equal(tfcc_cancel_new(model, &cancel, &w->error), TFCC_OK);
    float *x = a_alloc_array(N, sizeof *x);
    const struct tfcc_tensor in = {"x", TFCC_F32, 1, dims, x, N * sizeof *x};
    struct tfcc_run_options options = {.size = sizeof options, .cancel = cancel};
    pthread_create(&thread, NULL, trigger_main, cancel);
    assert_int_equal(tfcc_model_run(model, &in, 1, &options, &result, &w->error), TFCC_E_CANCELLED);
    pthread_join(thread, NULL);
    assert_int_equal(tfcc_model_run(model, &in, 1, &options, &result, &w->error), TFCC_E_CANCELLED);
    tfcc_model_stats(model, &stats, sizeof stats);
    assert_int_equal(stats.cancelled, 2);
    assert_int_equal(stats.failures, 0);
    options.cancel = cancel;
    assert_int_equal(tfcc_model_run(w->model, &in, 1, &options, &result, &w->error), TFCC_E_INVALID);
    tfcc_cancel_free(cancel);
    tfcc_model_close(model);
    a_free(x);
}

static void *runs_main(void *arg)
{
    struct tfcc_model *model = arg;
    for (int i = 0; i < 300; i++) {
        float x[] = {1, 2, 3, 4, 5, (float)i};
        const struct tfcc_tensor in = {"x", TFCC_F32, 2, two_by_three, x, sizeof x};
        struct tfcc_result *result = NULL;
        if (tfcc_model_run(model, &in, 1, NULL, &result, NULL) != TFCC_OK)
            return arg;
        bool right = ((float *)tfcc_result_output(result, 0)->data)[5] == (float)-i;
        tfcc_result_free(result);
        if (!right)
            return arg;
    }
    return NULL;
}

static void test_eight_threads(void **state)
{
    struct world *w = *state;
    pthread_t threads[8];
    struct tfcc_stats stats;
    for (size_t i = 0; i < A_ARRAY_SIZE(threads); i++)
        pthread_create(&threads[i], NULL, runs_main, w->model);
    for (size_t i = 0; i < A_ARRAY_SIZE(threads); i++) {
        void *wrong = NULL;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    tfcc_model_stats(w->model, &stats, sizeof stats);
    assert_int_equal(stats.inferences, 2400);
}

/* From the engine's start to a result, with the n-th of our allocations failing, for all n. */
static void test_out_of_memory(void **state)
{
    struct world *w = *state;
    int failures = 0, rc = -1;
    for (uint64_t n = 1; rc != TFCC_OK; n++) {
        struct tfcc_runtime *runtime = NULL;
        struct tfcc_model *model = NULL;
        struct tfcc_result *result = NULL;
        struct tfcc_cancel *cancel = NULL;
        float x[6] = {0};
        const struct tfcc_tensor in = {"x", TFCC_F32, 2, two_by_three, x, sizeof x};
        struct tfcc_options options = {.size = sizeof options, .engine_dir = engine_dir};
        a_try_alloc_fail_at(n);
        rc = tfcc_runtime_open(&options, &runtime, &w->error);
        if (rc == 0)
            rc = tfcc_model_open(runtime, folder_path(&w->folder, "neg.onnx"), NULL, &model, &w->error);
        if (rc == 0)
            rc = tfcc_cancel_new(model, &cancel, &w->error);
        if (rc == 0)
            rc = tfcc_model_run(model, &in, 1, NULL, &result, &w->error);
        a_try_alloc_fail_at(0);
        tfcc_cancel_free(cancel);
        tfcc_result_free(result);
        tfcc_model_close(model);
        tfcc_runtime_close(runtime);
        assert_true(rc == TFCC_OK || rc == TFCC_E_MEMORY || rc == TFCC_E_DEVICE);
        failures += rc != TFCC_OK;
        assert_true(n < 100);
    }
    assert_true(failures >= 10);
}

static long resident_pages(void)
{
    long size = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%ld %ld", &size, &resident), 2);
    fclose(f);
    return resident;
}

static void test_memory_is_stable(void **state)
{
    struct world *w = *state;
    enum { N = 64 * 1024 };
    static const int64_t dims[] = {N, 3};
    float *x = a_alloc_array(N * 3, sizeof *x);
    const struct tfcc_tensor in = {"x", TFCC_F32, 2, dims, x, N * 3 * sizeof *x};
    long before = 0;
    for (int i = 0; i < 2000; i++) {
        struct tfcc_result *result = NULL;
        assert_int_equal(tfcc_model_run(w->model, &in, 1, NULL, &result, &w->error), TFCC_OK);
        tfcc_result_free(result);
        if (i == 200)
            before = resident_pages();
    }
    assert_true(resident_pages() - before < GROWTH_MAX); /* a leak of one output a run would be 1.3 GiB */
    a_free(x);
}

static void test_opening_is_stable(void **state)
{
    struct world *w = *state;
    long before = 0;
    for (int i = 0; i < 100; i++) {
        struct tfcc_model *model = NULL;
        assert_int_equal(
            tfcc_model_open(w->runtime, folder_path(&w->folder, "neg.onnx"), NULL, &model, &w->error),
            TFCC_OK);
        tfcc_model_close(model);
        if (i == 20)
            before = resident_pages();
    }
    assert_true(resident_pages() - before < GROWTH_MAX);
}

#define with_world(test) cmocka_unit_test_setup_teardown(test, world_open, world_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_conform),
        cmocka_unit_test(test_engines_conform),
        with_world(test_every_dtype),
        with_world(test_strings_are_refused),
        with_world(test_scalars_and_empty_batches),
        with_world(test_engine_words),
        with_world(test_cancel_while_running),
        with_world(test_eight_threads),
        with_world(test_out_of_memory),
        with_world(test_memory_is_stable),
        with_world(test_opening_is_stable),
    };
    engine_dir = getenv("ASTRA_TFCC_ENGINE_DIR");
    if (engine_dir == NULL || access(engine_dir, R_OK) != 0) {
        fprintf(stderr, "skipped: no engine (tools/setup puts it into build/engine)\n");
        return SKIPPED;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
