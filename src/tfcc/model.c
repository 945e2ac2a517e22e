/* Opening models and what is told of them. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "sys/embed/host.h"
#include "sys/embed/path.h"
#include "tfcc/error.h"
#include "tfcc/locate.h"
#include "tfcc/runtime.h"
#include "tfcc/tensor.h"

/* The leading number of $OMP_NUM_THREADS ("4", "4,2"), 1 when there is none that makes sense. */
static uint32_t default_threads(void)
{
    const char *text = getenv("OMP_NUM_THREADS");
    struct a_view rest;
    uint64_t n;
    if (text == NULL || !a_text_u64(a_view_trim(a_view_split(a_view_str(text), ',', &rest)), &n) || n == 0)
        return 1;
    return (uint32_t)A_MIN(n, TFCC_THREADS_MAX);
}

static int pick_device(struct tfcc_runtime *runtime, const char *wanted, const char **ret,
                       struct tfcc_error *reterr)
{
    for (size_t i = 0; i < runtime->n_devices; i++)
        if (strcmp(runtime->devices[i].name, wanted) == 0) {
            *ret = runtime->devices[i].name;
            return TFCC_OK;
        }
    A_BUF_AUTO struct a_buf there = {.max = 256};
    for (size_t i = 0; i < runtime->n_devices; i++)
        a_buf_addf(&there, "%s%s", i > 0 ? ", " : "", runtime->devices[i].name);
    return tfcc_fail(reterr, TFCC_E_DEVICE, "no device \"%s\" here for %s (there: %s)", wanted,
                     runtime->engine_text, there.ptr != NULL ? there.ptr : "none");
}

static char *try_strdup(const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = a_try_alloc(size);
    if (copy != NULL)
        memcpy(copy, text, size);
    return copy;
}

static struct tfcc_counters *model_counters(struct tfcc_model *model)
{
    struct tfcc_runtime *runtime = model->runtime;
    const struct tfcc_counters_key key = {
        .model = model->name,
        .digest = model->digest,
        .engine = runtime->engine_text,
        .device = model->device,
    };
    pthread_mutex_lock(&runtime->lock);
    struct tfcc_counters *counters = tfcc_counters_get(&runtime->counters, runtime->page_dir, &key);
    pthread_mutex_unlock(&runtime->lock);
    return counters;
}

static bool port_sane(const struct tfcc_tensor_info *info)
{
    if (info->name == NULL || info->rank > TFCC_RANK_MAX || tfcc_dtype_bytes(info->dtype) == 0)
        return false;
    for (uint32_t i = 0; i < info->rank; i++)
        if (info->dims[i] < -1)
            return false;
    return true;
}

static bool signature_sane(const struct astra_engine_signature *signature)
{
    if (signature->n_inputs > TFCC_PORTS_MAX || signature->n_outputs > TFCC_PORTS_MAX)
        return false;
    for (size_t i = 0; i < signature->n_inputs; i++)
        if (!port_sane(&signature->inputs[i]))
            return false;
    for (size_t i = 0; i < signature->n_outputs; i++)
        if (!port_sane(&signature->outputs[i]))
            return false;
    return true;
}

static int model_load(struct tfcc_model *model, struct tfcc_error *reterr)
{
    struct tfcc_runtime *runtime = model->runtime;
    const struct astra_engine_load_options options = {
        .size = sizeof options,
        .path = model->path,
        .device = model->device,
        .threads = model->threads,
    };
    uint64_t start_ns = sys_embed_now_ns();
    int rc = runtime->engine->model_load(runtime->engine_ctx, &options, &model->engine_model,
                                         &model->signature, reterr);
    if (rc != 0) {
        tfcc_count(model->counters, load_failures, 1);
        return rc;
    }
    tfcc_count(model->counters, loads, 1);
    tfcc_count(model->counters, load_ns, sys_embed_now_ns() - start_ns);
    if (!tfcc_holds(runtime, signature_sane(&model->signature)))
        return tfcc_runtime_usable(runtime, reterr);
    return TFCC_OK;
}

static int model_init(struct tfcc_model *model, const char *name, const struct tfcc_model_options *options,
                      struct tfcc_error *reterr)
{
    char path[SYS_EMBED_PATH_MAX];
    struct a_digest digest;
    int rc = tfcc_locate_model(model->runtime->models_dir, name, path, reterr);
    if (rc == 0)
        rc = pick_device(model->runtime, options->device != NULL ? options->device : "cpu", &model->device,
                         reterr);
    if (rc != 0)
        return rc;
    if (options->threads > TFCC_THREADS_MAX)
        return tfcc_fail(reterr, TFCC_E_INVALID, "%" PRIu32 " threads: at most %d", options->threads,
                         TFCC_THREADS_MAX);
    model->threads = options->threads != 0 ? options->threads : default_threads();
    tfcc_locate_digest(path, model->digest);
    if (options->digest != NULL) {
        if (!a_digest_parse(a_view_str(options->digest), &digest))
            return tfcc_fail(reterr, TFCC_E_INVALID,
                             "\"%.80s\" is no digest: sha256: and 64 hex digits expected", options->digest);
        memcpy(model->digest, "sha256:", 7);
        a_digest_hex(&digest, model->digest + 7);
    }
    model->name = try_strdup(name);
    model->path = try_strdup(path);
    if (model->name == NULL || model->path == NULL || (model->counters = model_counters(model)) == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for a model");
    return model_load(model, reterr);
}

int tfcc_model_open(struct tfcc_runtime *runtime, const char *name, const struct tfcc_model_options *options,
                    struct tfcc_model **ret, struct tfcc_error *reterr)
{
    static const struct tfcc_model_options defaults = {.size = sizeof defaults};
    struct tfcc_error local;
    if (reterr == NULL)
        reterr = &local;
    int rc = tfcc_runtime_usable(runtime, reterr);
    if (rc != 0)
        return rc;
    if (options == NULL)
        options = &defaults;
    if (name == NULL || ret == NULL || options->size < sizeof *options)
        return tfcc_fail(reterr, TFCC_E_INVALID, "tfcc_model_open: name, ret or options.size is not set");
    struct tfcc_model *model = a_try_alloc(sizeof *model);
    if (model == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for a model");
    model->magic = TFCC_MODEL_MAGIC;
    model->refs = 1;
    model->runtime = runtime;
    tfcc_runtime_ref(runtime);
    rc = model_init(model, name, options, reterr);
    if (rc != 0) {
        tfcc_model_unref(model);
        return tfcc_wrap(reterr, rc, "model %.256s", name);
    }
    *ret = model;
    return TFCC_OK;
}

void tfcc_model_ref(struct tfcc_model *model)
{
    __atomic_add_fetch(&model->refs, 1, __ATOMIC_RELAXED);
}

void tfcc_model_unref(struct tfcc_model *model)
{
    struct tfcc_runtime *runtime = model->runtime;
    if (__atomic_sub_fetch(&model->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (model->engine_model != NULL)
        runtime->engine->model_unload(runtime->engine_ctx, model->engine_model);
    a_free(model->name);
    a_free(model->path);
    model->magic = 0;
    a_free(model);
    tfcc_runtime_unref(runtime);
}

void tfcc_model_close(struct tfcc_model *model)
{
    if (model != NULL && model->magic == TFCC_MODEL_MAGIC)
        tfcc_model_unref(model);
}

const char *tfcc_model_name(const struct tfcc_model *model)
{
    return model->name;
}

const char *tfcc_model_path(const struct tfcc_model *model)
{
    return model->path;
}

const char *tfcc_model_digest(const struct tfcc_model *model)
{
    return model->digest;
}

const char *tfcc_model_device(const struct tfcc_model *model)
{
    return model->device;
}

uint32_t tfcc_model_threads(const struct tfcc_model *model)
{
    return model->threads;
}

const struct tfcc_tensor_info *tfcc_model_input(const struct tfcc_model *model, size_t index)
{
    return index < model->signature.n_inputs ? &model->signature.inputs[index] : NULL;
}

const struct tfcc_tensor_info *tfcc_model_output(const struct tfcc_model *model, size_t index)
{
    return index < model->signature.n_outputs ? &model->signature.outputs[index] : NULL;
}

static bool model_metadata_at(const struct tfcc_model *model, size_t index, const char **ret_key,
                              const char **ret_value)
{
    const struct astra_engine *engine = model->runtime->engine;
    return TFCC_HAS_HOOK(engine, metadata) &&
           engine->metadata(model->runtime->engine_ctx, model->engine_model, index, ret_key, ret_value);
}

const char *tfcc_model_metadata_key(const struct tfcc_model *model, size_t index)
{
    const char *key, *value;
    return model_metadata_at(model, index, &key, &value) ? key : NULL;
}

const char *tfcc_model_metadata(const struct tfcc_model *model, const char *wanted)
{
    const char *key, *value;
    for (size_t i = 0; model_metadata_at(model, i, &key, &value); i++)
        if (strcmp(key, wanted) == 0)
            return value;
    return NULL;
}

void tfcc_model_stats(const struct tfcc_model *model, struct tfcc_stats *ret, size_t size)
{
    struct tfcc_stats stats = {0};
    tfcc_counters_read(model->counters, &stats);
    memcpy(ret, &stats, A_MIN(size, sizeof stats));
}
