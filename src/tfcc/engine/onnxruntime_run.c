/* Running models with ONNX Runtime. The caller's memory is wrapped, not copied, in both directions; what the
 * engine allocates stays in its own value, which the output's handle keeps. */
#include <string.h>

#include "base/alloc.h"
#include "tfcc/engine/onnxruntime_internal.h"
#include "tfcc/error.h"
#include "tfcc/tensor.h"

struct ort_cancel {
    struct ort_run_options *options;
    bool triggered; /* atomic */
};

/* The arrays that one call of run() takes. */
struct call {
    size_t n_inputs;
    size_t n_outputs;
    struct ort_value **inputs;
    struct ort_value **outputs;
    const char **output_names;
};

static int call_init(struct call *call, size_t n_inputs, size_t n_outputs, struct tfcc_error *reterr)
{
    size_t size = (n_inputs + 2 * n_outputs) * sizeof(void *);
    void *block = a_try_alloc(size);
    if (block == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for %zu bytes", size);
    call->n_inputs = n_inputs;
    call->n_outputs = n_outputs;
    call->inputs = block;
    call->outputs = call->inputs + n_inputs;
    call->output_names = (const char **)(call->outputs + n_outputs);
    return TFCC_OK;
}

static void call_deinit(const struct ort_engine *engine, struct call *call)
{
    for (size_t i = 0; i < call->n_inputs; i++)
        if (call->inputs[i] != NULL)
            engine->api.release_value(call->inputs[i]);
    for (size_t i = 0; i < call->n_outputs; i++)
        if (call->outputs[i] != NULL)
            engine->api.release_value(call->outputs[i]);
    a_free(call->inputs);
}

static int value_wrap(const struct ort_engine *engine, void *data, uint64_t bytes, const int64_t *dims,
                      uint32_t rank, int dtype, struct ort_value **ret, struct tfcc_error *reterr)
{
    static uint64_t nothing; /* an address for tensors without elements; never read or written */
    return ort_check(engine,
                     engine->api.create_tensor(engine->cpu_memory, bytes != 0 ? data : &nothing, bytes, dims,
                                               rank, dtype, ret),
                     TFCC_E_ENGINE, reterr);
}

static int call_fill(const struct ort_engine *engine, const struct ort_model *model, struct call *call,
                     const struct astra_engine_run *run, const struct astra_engine_output *outputs,
                     struct tfcc_error *reterr)
{
    int rc = TFCC_OK;
    for (size_t i = 0; i < call->n_inputs && rc == 0; i++) {
        const struct tfcc_tensor *t = run->inputs[i];
        rc = value_wrap(engine, t->data, t->bytes, t->dims, t->rank, t->dtype, &call->inputs[i], reterr);
    }
    for (size_t i = 0; i < call->n_outputs && rc == 0; i++) {
        const struct astra_engine_output *o = &outputs[i];
        call->output_names[i] = model->names[model->n_inputs + o->index];
        if (o->data != NULL)
            rc = value_wrap(engine, o->data, o->bytes, o->dims, o->rank, o->dtype, &call->outputs[i], reterr);
    }
    return rc;
}

static int call_run(const struct ort_engine *engine, struct ort_model *model, struct call *call,
                    const struct ort_cancel *cancel, struct tfcc_error *reterr)
{
    struct ort_status *status =
        engine->api.run(model->session, cancel != NULL ? cancel->options : NULL, model->names,
                        (const struct ort_value *const *)call->inputs, call->n_inputs, call->output_names,
                        call->n_outputs, call->outputs);
    if (status == NULL)
        return TFCC_OK;
    bool refused = engine->api.error_code(status) == ORT_INVALID_ARGUMENT;
    int rc = ort_check(engine, status, refused ? TFCC_E_INVALID : TFCC_E_ENGINE, reterr);
    if (cancel != NULL && __atomic_load_n(&cancel->triggered, __ATOMIC_ACQUIRE))
        return tfcc_fail(reterr, TFCC_E_CANCELLED, "the run was cancelled");
    return rc;
}

static int output_describe(const struct ort_engine *engine, const struct ort_value *value,
                           struct astra_engine_output *ret, struct tfcc_error *reterr)
{
    const struct ort_api *api = &engine->api;
    struct ort_tensor_info *info = NULL;
    size_t rank = 0;
    int dtype = 0;
    int rc = ort_check(engine, api->tensor_info(value, &info), TFCC_E_ENGINE, reterr);
    if (rc != 0)
        return rc;
    rc = ort_check(engine, api->element_type(info, &dtype), TFCC_E_ENGINE, reterr);
    if (rc == 0)
        rc = ort_check(engine, api->dims_count(info, &rank), TFCC_E_ENGINE, reterr);
    if (rc == 0 && rank > TFCC_RANK_MAX)
        rc = tfcc_fail(reterr, TFCC_E_UNSUPPORTED, "an output came with %zu dimensions; at most %d", rank,
                       TFCC_RANK_MAX);
    if (rc == 0)
        rc = ort_check(engine, api->dims(info, ret->dims, rank), TFCC_E_ENGINE, reterr);
    api->release_tensor_info(info);
    ret->dtype = dtype;
    ret->rank = (uint32_t)rank;
    return rc;
}

static int output_take(const struct ort_engine *engine, struct ort_value *value,
                       struct astra_engine_output *ret, struct tfcc_error *reterr)
{
    int is_tensor = 0;
    int rc = ort_check(engine, engine->api.is_tensor(value, &is_tensor), TFCC_E_ENGINE, reterr);
    if (rc == 0 && !is_tensor)
        rc = tfcc_fail(reterr, TFCC_E_UNSUPPORTED, "an output is no tensor");
    if (rc == 0)
        rc = output_describe(engine, value, ret, reterr);
    if (rc == 0)
        rc = ort_check(engine, engine->api.tensor_data(value, &ret->data), TFCC_E_ENGINE, reterr);
    if (rc == 0 && !tfcc_tensor_bytes(ret->dtype, ret->dims, ret->rank, &ret->bytes))
        rc = tfcc_fail(reterr, TFCC_E_UNSUPPORTED, "an output has a type or shape that is not supported");
    return rc;
}

int ort_run(void *ctx, void *model_ptr, const struct astra_engine_run *run,
            struct astra_engine_output *outputs, size_t n_outputs, struct tfcc_error *reterr)
{
    struct ort_engine *engine = ctx;
    struct ort_model *model = model_ptr;
    struct call call = {0};
    int rc = call_init(&call, model->n_inputs, n_outputs, reterr);
    if (rc != 0)
        return rc;
    rc = call_fill(engine, model, &call, run, outputs, reterr);
    if (rc == 0)
        rc = call_run(engine, model, &call, run->cancel, reterr);
    for (size_t i = 0; i < n_outputs && rc == 0; i++)
        if (outputs[i].data == NULL)
            rc = output_take(engine, call.outputs[i], &outputs[i], reterr);
    /* nothing fails from here on: the values, and with them the engine's memory, go over to the outputs */
    for (size_t i = 0; i < n_outputs && rc == 0; i++)
        outputs[i].handle = a_steal(&call.outputs[i]);
    call_deinit(engine, &call);
    return rc;
}

void ort_output_release(void *ctx, void *model_ptr, struct astra_engine_output *output)
{
    const struct ort_engine *engine = ctx;
    (void)model_ptr;
    if (output->handle != NULL)
        engine->api.release_value(output->handle);
    output->handle = NULL;
}

int ort_cancel_new(void *ctx, void *model_ptr, void **ret_cancel, struct tfcc_error *reterr)
{
    const struct ort_engine *engine = ctx;
    (void)model_ptr;
    struct ort_cancel *cancel = a_try_alloc(sizeof *cancel);
    if (cancel == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for a cancel object");
    int rc = ort_check(engine, engine->api.create_run_options(&cancel->options), TFCC_E_ENGINE, reterr);
    if (rc != 0) {
        a_free(cancel);
        return rc;
    }
    *ret_cancel = cancel;
    return TFCC_OK;
}

void ort_cancel_trigger(void *ctx, void *cancel_ptr)
{
    const struct ort_engine *engine = ctx;
    struct ort_cancel *cancel = cancel_ptr;
    __atomic_store_n(&cancel->triggered, true, __ATOMIC_RELEASE);
    struct ort_status *status = engine->api.run_terminate(cancel->options);
    if (status != NULL)
        engine->api.release_status(status);
}

void ort_cancel_free(void *ctx, void *cancel_ptr)
{
    const struct ort_engine *engine = ctx;
    struct ort_cancel *cancel = cancel_ptr;
    engine->api.release_run_options(cancel->options);
    a_free(cancel);
}
