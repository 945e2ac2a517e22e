/* Opening ONNX Runtime. The library is found in the engine folder, asked for the table of its C API, and made
 * to run a model of one node before anything depends on it: a table that is not what we declared shows here,
 * not in somebody's request. */
#include "tfcc/engine/onnxruntime.h"

#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "sys/embed/dl.h"
#include "sys/embed/path.h"
#include "tfcc/engine/onnxruntime_internal.h"
#include "tfcc/error.h"

#define LIBRARY_PREFIX "libonnxruntime.so"

/* y = -x over FP32 [2], opset 13. */
static const unsigned char self_test_model[] = {
    0x08, 0x08, 0x3a, 0x2e,                                                     /* ir_version 8, graph */
    0x0a, 0x0b, 0x0a, 0x01, 'x', 0x12, 0x01, 'y',  0x22, 0x03, 'N',  'e',  'g', /* node */
    0x12, 0x01, 't',                                                            /* name */
    0x5a, 0x0d, 0x0a, 0x01, 'x', 0x12, 0x08, 0x0a, 0x06, 0x08, 0x01, 0x12, 0x02, 0x0a, 0x00, /* input */
    0x62, 0x0d, 0x0a, 0x01, 'y', 0x12, 0x08, 0x0a, 0x06, 0x08, 0x01, 0x12, 0x02, 0x0a, 0x00, /* output */
    0x42, 0x02, 0x10, 0x0d, /* opset_import 13 */
};

int ort_check(const struct ort_engine *engine, struct ort_status *status, int code, struct tfcc_error *reterr)
{
    if (status == NULL)
        return TFCC_OK;
    const char *text = engine->api.error_message(status);
    bool memory = strstr(text, "bad_alloc") != NULL || strstr(text, "Failed to allocate memory") != NULL;
    bool missing = engine->api.error_code(status) == ORT_NO_SUCHFILE;
    code = tfcc_fail(reterr, memory ? TFCC_E_MEMORY : missing ? TFCC_E_NOT_FOUND : code, "%s", text);
    engine->api.release_status(status);
    return code;
}

static bool library_pick(void *arg, const char *name)
{
    char *best = arg;
    if (strncmp(name, LIBRARY_PREFIX, strlen(LIBRARY_PREFIX)) == 0 && strlen(name) < 128 &&
        (best[0] == '\0' || strverscmp(name, best) > 0))
        memcpy(best, name, strlen(name) + 1);
    return true;
}

static int library_open(const char *dir, struct sys_embed_dl **ret, struct tfcc_error *reterr)
{
    char name[128] = "", path[SYS_EMBED_PATH_MAX], why[512];
    int rc = sys_embed_path_list(dir, library_pick, name);
    if (rc != 0)
        return tfcc_fail_errno(reterr, rc, "engine folder %s", dir);
    if (name[0] == '\0')
        return tfcc_fail(reterr, TFCC_E_ENGINE_MISSING, "no " LIBRARY_PREFIX ".* in the engine folder %s",
                         dir);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    if (sys_embed_dl_open(path, ret, why, sizeof why) != 0)
        return tfcc_fail(reterr, TFCC_E_ENGINE_MISSING, "cannot load the engine: %s", why);
    return TFCC_OK;
}

static int api_bind(struct ort_engine *engine, struct sys_embed_dl *library, const char *dir,
                    struct tfcc_error *reterr)
{
    const struct ort_api_base *(*get_base)(void) = NULL;
    void *symbol = sys_embed_dl_symbol(library, "OrtGetApiBase");
    memcpy(&get_base, &symbol, sizeof get_base);
    if (get_base == NULL)
        return tfcc_fail(reterr, TFCC_E_ENGINE_MISSING,
                         "the library in %s is no ONNX Runtime: it lacks OrtGetApiBase", dir);
    const struct ort_api_base *base = get_base();
    const void *const *table = base->get_api(ORT_API_VERSION);
    snprintf(engine->version, sizeof engine->version, "%s", base->version());
    if (table == NULL)
        return tfcc_fail(reterr, TFCC_E_ENGINE_MISSING,
                         "ONNX Runtime in %s is version %s; 1.%d or newer is needed", dir, engine->version,
                         ORT_API_VERSION);
#define X(slot, name, result, arguments) memcpy(&engine->api.name, &table[slot], sizeof engine->api.name);
    ORT_CALLS(X)
#undef X
    return TFCC_OK;
}

static int self_test_run(struct ort_engine *engine, struct ort_session *session, struct tfcc_error *reterr)
{
    const struct ort_api *api = &engine->api;
    float x[2] = {1.5F, -2.0F};
    const int64_t dims[] = {2};
    const char *input = "x", *output = "y";
    struct ort_value *in = NULL, *out = NULL;
    void *y = NULL;
    int rc = ort_check(engine, api->create_tensor(engine->cpu_memory, x, sizeof x, dims, 1, TFCC_F32, &in),
                       TFCC_E_ENGINE_MISSING, reterr);
    if (rc == 0)
        rc = ort_check(
            engine,
            api->run(session, NULL, &input, (const struct ort_value *const *)&in, 1, &output, 1, &out),
            TFCC_E_ENGINE_MISSING, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->tensor_data(out, &y), TFCC_E_ENGINE_MISSING, reterr);
    if (rc == 0 && (((float *)y)[0] != -1.5F || ((float *)y)[1] != 2.0F))
        rc = tfcc_fail(reterr, TFCC_E_ENGINE_MISSING, "wrong numbers");
    api->release_value(out);
    api->release_value(in);
    return rc;
}

static int self_test(struct ort_engine *engine, struct tfcc_error *reterr)
{
    struct ort_session_options *options = NULL;
    struct ort_session *session = NULL;
    int rc = ort_session_options_make(engine, 1, &options, reterr);
    if (rc == 0)
        rc = ort_check(engine,
                       engine->api.create_session_from_array(engine->env, self_test_model,
                                                             sizeof self_test_model, options, &session),
                       TFCC_E_ENGINE_MISSING, reterr);
    if (rc == 0)
        rc = self_test_run(engine, session, reterr);
    engine->api.release_session(session);
    engine->api.release_session_options(options);
    if (rc != 0)
        tfcc_wrap(reterr, rc, "ONNX Runtime %s does not stand the start-up test", engine->version);
    return rc;
}

static void engine_close(void *ctx)
{
    struct ort_engine *engine = ctx;
    if (engine->cpu_memory != NULL)
        engine->api.release_memory_info(engine->cpu_memory);
    if (engine->env != NULL)
        engine->api.release_env(engine->env);
    a_free(engine);
}

static int engine_start(struct ort_engine *engine, const char *dir, struct tfcc_error *reterr)
{
    const struct ort_api *api = &engine->api;
    struct sys_embed_dl *library = NULL;
    int rc = library_open(dir, &library, reterr);
    if (rc == 0)
        rc = api_bind(engine, library, dir, reterr);
    /* what there is to say comes back in errors; the engine's own log would go to the host program's stderr
     */
    if (rc == 0)
        rc = ort_check(engine, api->create_env(ORT_LOG_FATAL, "astra", &engine->env), TFCC_E_ENGINE_MISSING,
                       reterr);
    if (rc == 0)
        rc = ort_check(
            engine,
            api->create_cpu_memory_info(ORT_ALLOCATOR_DEVICE, ORT_MEMORY_DEFAULT, &engine->cpu_memory),
            TFCC_E_ENGINE_MISSING, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->default_allocator(&engine->allocator), TFCC_E_ENGINE_MISSING, reterr);
    return rc == 0 ? self_test(engine, reterr) : rc;
}

static int engine_open(const struct astra_engine_open_options *options, void **ret_engine,
                       struct tfcc_error *reterr)
{
    if (options->dir == NULL)
        return tfcc_fail(reterr, TFCC_E_ENGINE_MISSING, "no engine folder is set");
    struct ort_engine *engine = a_try_alloc(sizeof *engine);
    if (engine == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for the engine");
    int rc = engine_start(engine, options->dir, reterr);
    if (rc != 0) {
        engine_close(engine);
        return rc;
    }
    *ret_engine = engine;
    return TFCC_OK;
}

static const char *engine_version(void *ctx)
{
    const struct ort_engine *engine = ctx;
    return engine->version;
}

static int engine_supports(void *ctx, const struct astra_device_info *device)
{
    (void)ctx;
    return device->class_id == ASTRA_DEVICE_CPU;
}

const struct astra_engine tfcc_engine_onnxruntime = {
    .api_version = ASTRA_ENGINE_API_VERSION,
    .size = sizeof(struct astra_engine),
    .name = "onnxruntime",
    .open = engine_open,
    .close = engine_close,
    .version = engine_version,
    .supports = engine_supports,
    .model_load = ort_model_load,
    .model_unload = ort_model_unload,
    .run = ort_run,
    .output_release = ort_output_release,
    .metadata = ort_model_metadata,
    .cancel_new = ort_cancel_new,
    .cancel_trigger = ort_cancel_trigger,
    .cancel_free = ort_cancel_free,
};
