/* Loading models with ONNX Runtime: session, signature, metadata. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "tfcc/engine/onnxruntime_internal.h"
#include "tfcc/error.h"

/* Limits on what a file may make us hold. */
#define PORTS_MAX 1024
#define METADATA_MAX 4096

/* Options of every session. Threads do not spin between nodes of the graph: a node's cores are shared with
 * Ray, and spinning threads on busy cores make everybody slow. One thread means that the caller's does all
 * the work. No memory patterns: the engine would keep one plan for each input shape it ever saw, and hold its
 * block beside the arena's (240 MB more for a full page of text detection); requests choose the shapes here.
 */
int ort_session_options_make(const struct ort_engine *engine, uint32_t threads,
                             struct ort_session_options **ret, struct tfcc_error *reterr)
{
    const struct ort_api *api = &engine->api;
    struct ort_session_options *options = NULL;
    int rc = ort_check(engine, api->create_session_options(&options), TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->set_log_severity(options, ORT_LOG_FATAL), TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->disable_memory_pattern(options), TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->set_intra_op_threads(options, (int)threads), TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->set_inter_op_threads(options, 1), TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->set_config(options, "session.intra_op.allow_spinning", "0"),
                       TFCC_E_ENGINE, reterr);
    if (rc != 0) {
        if (options != NULL)
            api->release_session_options(options);
        return rc;
    }
    *ret = options;
    return TFCC_OK;
}

static void allocator_free(const struct ort_engine *engine, void *memory)
{
    if (memory == NULL)
        return;
    struct ort_status *status = engine->api.allocator_free(engine->allocator, memory);
    if (status != NULL)
        engine->api.release_status(status);
}

static int port_describe_tensor(const struct ort_engine *engine, const struct ort_tensor_info *tensor,
                                struct tfcc_tensor_info *info, int64_t *dims, struct tfcc_error *reterr)
{
    const struct ort_api *api = &engine->api;
    size_t rank = 0;
    int dtype = 0;
    int rc = ort_check(engine, api->element_type(tensor, &dtype), TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->dims_count(tensor, &rank), TFCC_E_ENGINE, reterr);
    if (rc != 0)
        return rc;
    if (rank > TFCC_RANK_MAX)
        return tfcc_fail(reterr, TFCC_E_UNSUPPORTED, "\"%s\" has %zu dimensions; at most %d are supported",
                         info->name, rank, TFCC_RANK_MAX);
    if (tfcc_dtype_bytes(dtype) == 0)
        return tfcc_fail(reterr, TFCC_E_UNSUPPORTED,
                         "\"%s\" has ONNX element type %d, which is not supported", info->name, dtype);
    rc = ort_check(engine, api->dims(tensor, dims, rank), TFCC_E_ENGINE, reterr);
    for (size_t i = 0; i < rank; i++)
        dims[i] = dims[i] < 0 ? -1 : dims[i];
    info->dtype = dtype;
    info->rank = (uint32_t)rank;
    info->dims = dims;
    return rc;
}

static int port_describe(const struct ort_engine *engine, struct ort_model *model, size_t at,
                         struct tfcc_error *reterr)
{
    const struct ort_api *api = &engine->api;
    bool is_input = at < model->n_inputs;
    size_t index = is_input ? at : at - model->n_inputs;
    const struct ort_tensor_info *tensor = NULL; /* belongs to `type` */
    struct ort_type_info *type = NULL;
    char *name = NULL;
    int onnx_type = 0;
    int rc = ort_check(
        engine,
        (is_input ? api->input_name : api->output_name)(model->session, index, engine->allocator, &name),
        TFCC_E_ENGINE, reterr);
    if (rc != 0)
        return rc;
    model->names[at] = model->ports[at].name = name;
    rc = ort_check(engine, (is_input ? api->input_type : api->output_type)(model->session, index, &type),
                   TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->onnx_type(type, &onnx_type), TFCC_E_ENGINE, reterr);
    if (rc == 0 && onnx_type != ORT_TYPE_TENSOR)
        rc = tfcc_fail(reterr, TFCC_E_UNSUPPORTED, "\"%s\" is no tensor (ONNX type %d)", name, onnx_type);
    if (rc == 0)
        rc = ort_check(engine, api->cast_to_tensor_info(type, &tensor), TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc =
            port_describe_tensor(engine, tensor, &model->ports[at], model->dims + at * TFCC_RANK_MAX, reterr);
    if (type != NULL)
        api->release_type_info(type);
    return rc;
}

static int signature_read(const struct ort_engine *engine, struct ort_model *model, struct tfcc_error *reterr)
{
    size_t n_in = 0, n_out = 0;
    int rc = ort_check(engine, engine->api.input_count(model->session, &n_in), TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc = ort_check(engine, engine->api.output_count(model->session, &n_out), TFCC_E_ENGINE, reterr);
    if (rc != 0)
        return rc;
    if (n_in > PORTS_MAX || n_out > PORTS_MAX)
        return tfcc_fail(reterr, TFCC_E_UNSUPPORTED, "%zu inputs and %zu outputs; at most %d each", n_in,
                         n_out, PORTS_MAX);
    size_t n = n_in + n_out;
    model->ports = a_try_alloc(n * sizeof *model->ports);
    model->names = a_try_alloc(n * sizeof *model->names);
    model->dims = a_try_alloc(n * TFCC_RANK_MAX * sizeof *model->dims);
    if (model->ports == NULL || model->names == NULL || model->dims == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for %zu inputs and outputs", n);
    model->n_inputs = n_in;
    model->n_outputs = n_out;
    for (size_t i = 0; i < n && rc == 0; i++)
        rc = port_describe(engine, model, i, reterr);
    return rc;
}

static int metadata_copy(const struct ort_engine *engine, struct ort_model *model,
                         const struct ort_metadata *metadata, struct tfcc_error *reterr)
{
    int64_t n = 0;
    int rc = ort_check(engine, engine->api.metadata_keys(metadata, engine->allocator, &model->keys, &n),
                       TFCC_E_ENGINE, reterr);
    if (rc != 0 || n <= 0)
        return rc;
    model->n_metadata = (size_t)n; /* the keys are ours to free from here on */
    if (n > METADATA_MAX)
        return tfcc_fail(reterr, TFCC_E_UNSUPPORTED, "%" PRId64 " metadata entries; at most %d", n,
                         METADATA_MAX);
    model->values = a_try_alloc((size_t)n * sizeof *model->values);
    if (model->values == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for %" PRId64 " metadata entries", n);
    for (size_t i = 0; i < (size_t)n && rc == 0; i++)
        rc = ort_check(
            engine,
            engine->api.metadata_lookup(metadata, engine->allocator, model->keys[i], &model->values[i]),
            TFCC_E_ENGINE, reterr);
    return rc;
}

static int metadata_read(const struct ort_engine *engine, struct ort_model *model, struct tfcc_error *reterr)
{
    struct ort_metadata *metadata = NULL;
    int rc = ort_check(engine, engine->api.model_metadata(model->session, &metadata), TFCC_E_ENGINE, reterr);
    if (rc != 0)
        return rc;
    rc = metadata_copy(engine, model, metadata, reterr);
    engine->api.release_metadata(metadata);
    return rc;
}

static int session_make(const struct ort_engine *engine, struct ort_model *model,
                        const struct astra_engine_load_options *options, struct tfcc_error *reterr)
{
    struct ort_session_options *session_options = NULL;
    int rc = ort_session_options_make(engine, options->threads, &session_options, reterr);
    if (rc != 0)
        return rc;
    rc = ort_check(engine,
                   engine->api.create_session(engine->env, options->path, session_options, &model->session),
                   TFCC_E_MODEL_INVALID, reterr);
    engine->api.release_session_options(session_options);
    if (rc == TFCC_E_MODEL_INVALID)
        tfcc_wrap(reterr, rc, "%.512s is no model that ONNX Runtime %s can load", options->path,
                  engine->version);
    return rc;
}

int ort_model_load(void *ctx, const struct astra_engine_load_options *options, void **ret_model,
                   struct astra_engine_signature *ret_signature, struct tfcc_error *reterr)
{
    struct ort_engine *engine = ctx;
    struct ort_model *model = a_try_alloc(sizeof *model);
    if (model == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for a model");
    int rc = session_make(engine, model, options, reterr);
    if (rc == 0)
        rc = signature_read(engine, model, reterr);
    if (rc == 0)
        rc = metadata_read(engine, model, reterr);
    if (rc != 0) {
        ort_model_unload(engine, model);
        return rc;
    }
    *ret_signature = (struct astra_engine_signature){
        .inputs = model->ports,
        .n_inputs = model->n_inputs,
        .outputs = model->ports + model->n_inputs,
        .n_outputs = model->n_outputs,
    };
    *ret_model = model;
    return TFCC_OK;
}

void ort_model_unload(void *ctx, void *model_ptr)
{
    struct ort_engine *engine = ctx;
    struct ort_model *model = model_ptr;
    if (model->session != NULL)
        engine->api.release_session(model->session);
    for (size_t i = 0; i < model->n_inputs + model->n_outputs; i++)
        allocator_free(engine, (void *)(uintptr_t)model->names[i]);
    for (size_t i = 0; i < model->n_metadata; i++) {
        allocator_free(engine, model->keys[i]);
        allocator_free(engine, model->values != NULL ? model->values[i] : NULL);
    }
    allocator_free(engine, model->keys);
    a_free(model->values);
    a_free(model->ports);
    a_free(model->names);
    a_free(model->dims);
    a_free(model);
}

int ort_model_metadata(void *ctx, void *model_ptr, size_t index, const char **ret_key, const char **ret_value)
{
    (void)ctx;
    const struct ort_model *model = model_ptr;
    if (index >= model->n_metadata)
        return 0;
    *ret_key = model->keys[index];
    *ret_value = model->values[index] != NULL ? model->values[index] : "";
    return 1;
}
