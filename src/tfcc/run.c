/* Running a model: the caller's tensors are checked against the signature, put into the model's order and
 * given to the engine; what the engine gives back is checked before anybody may touch it. */
#include <inttypes.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/text.h"
#include "sys/embed/host.h"
#include "tfcc/error.h"
#include "tfcc/runtime.h"
#include "tfcc/tensor.h"

static size_t port_find(const struct tfcc_tensor_info *ports, size_t n, const char *name)
{
    size_t i = 0;
    while (i < n && strcmp(ports[i].name, name) != 0)
        i++;
    return i;
}

/* "no input "y"; the model has x FP32 [?,3,48,?]": the names that would have been right. */
static int port_unknown(const struct tfcc_tensor_info *ports, size_t n, const char *kind, const char *name,
                        struct tfcc_error *reterr)
{
    A_BUF_AUTO struct a_buf there = {.max = TFCC_ERROR_TEXT / 2};
    for (size_t i = 0; i < n; i++) {
        a_buf_addf(&there, "%s%s ", i > 0 ? ", " : "", ports[i].name);
        tfcc_tensor_print(&there, ports[i].dtype, ports[i].dims, ports[i].rank);
    }
    return tfcc_fail(reterr, TFCC_E_INVALID, "no %s \"%.128s\"; the model has %s", kind, name,
                     there.ptr != NULL ? there.ptr : "none");
}

static int shape_refused(const struct tfcc_tensor_info *info, const struct tfcc_tensor *given,
                         struct tfcc_error *reterr)
{
    A_BUF_AUTO struct a_buf want = {.max = 256}, got = {.max = 256};
    tfcc_tensor_print(&want, info->dtype, info->dims, info->rank);
    if (given->rank <= TFCC_RANK_MAX && (given->rank == 0 || given->dims != NULL))
        tfcc_tensor_print(&got, given->dtype, given->dims, given->rank);
    else
        a_buf_addf(&got, "%s of rank %" PRIu32, tfcc_dtype_name(given->dtype), given->rank);
    return tfcc_fail(reterr, TFCC_E_INVALID, "input \"%s\" is %s; the model takes %s", info->name,
                     got.ptr != NULL ? got.ptr : "?", want.ptr != NULL ? want.ptr : "?");
}

static int tensor_check(const struct tfcc_tensor *given, const char *kind, struct tfcc_error *reterr)
{
    uint64_t bytes;
    if (given->rank > TFCC_RANK_MAX || (given->rank != 0 && given->dims == NULL) ||
        !tfcc_tensor_bytes(given->dtype, given->dims, given->rank, &bytes))
        return tfcc_fail(reterr, TFCC_E_INVALID,
                         "%s \"%s\": no such type, or a negative, missing or too large shape", kind,
                         given->name);
    if (bytes != given->bytes || (bytes != 0 && given->data == NULL))
        return tfcc_fail(reterr, TFCC_E_INVALID,
                         "%s \"%s\" has %" PRIu64 " bytes%s; its type and shape make %" PRIu64, kind,
                         given->name, given->bytes, given->data == NULL ? " at no address" : "", bytes);
    if (((uintptr_t)given->data & (tfcc_dtype_bytes(given->dtype) - 1)) != 0)
        return tfcc_fail(reterr, TFCC_E_INVALID, "%s \"%s\" is not aligned to its element of %zu bytes", kind,
                         given->name, tfcc_dtype_bytes(given->dtype));
    return TFCC_OK;
}

/* Puts the inputs into the model's order. */
static int inputs_order(const struct tfcc_model *model, const struct tfcc_tensor *inputs, size_t n_inputs,
                        const struct tfcc_tensor **ret_ordered, struct tfcc_error *reterr)
{
    const struct astra_engine_signature *sig = &model->signature;
    for (size_t i = 0; i < n_inputs; i++) {
        const struct tfcc_tensor *given = &inputs[i];
        if (given->name == NULL)
            return tfcc_fail(reterr, TFCC_E_INVALID, "input %zu has no name", i);
        size_t at = port_find(sig->inputs, sig->n_inputs, given->name);
        if (at == sig->n_inputs)
            return port_unknown(sig->inputs, sig->n_inputs, "input", given->name, reterr);
        if (ret_ordered[at] != NULL)
            return tfcc_fail(reterr, TFCC_E_INVALID, "input \"%s\" is given twice", given->name);
        if (given->dtype != sig->inputs[at].dtype || given->rank != sig->inputs[at].rank ||
            (given->rank != 0 && given->dims == NULL) ||
            !tfcc_tensor_fits(&sig->inputs[at], given->dims, given->rank))
            return shape_refused(&sig->inputs[at], given, reterr);
        int rc = tensor_check(given, "input", reterr);
        if (rc != 0)
            return rc;
        ret_ordered[at] = given;
    }
    for (size_t i = 0; i < sig->n_inputs; i++)
        if (ret_ordered[i] == NULL)
            return tfcc_fail(reterr, TFCC_E_INVALID, "input \"%s\" is missing", sig->inputs[i].name);
    return TFCC_OK;
}

static int output_want(const struct tfcc_model *model, const struct tfcc_tensor *wanted,
                       struct astra_engine_output *ret, struct tfcc_error *reterr)
{
    const struct astra_engine_signature *sig = &model->signature;
    if (wanted->name == NULL)
        return tfcc_fail(reterr, TFCC_E_INVALID, "a wanted output has no name");
    ret->index = port_find(sig->outputs, sig->n_outputs, wanted->name);
    if (ret->index == sig->n_outputs)
        return port_unknown(sig->outputs, sig->n_outputs, "output", wanted->name, reterr);
    if (wanted->data == NULL)
        return TFCC_OK;
    int rc = tensor_check(wanted, "output", reterr);
    if (rc != 0)
        return rc;
    const struct tfcc_tensor_info *info = &sig->outputs[ret->index];
    if (wanted->dtype != info->dtype)
        return tfcc_fail(reterr, TFCC_E_INVALID, "output \"%s\" is %s, its buffer %s", wanted->name,
                         tfcc_dtype_name(info->dtype), tfcc_dtype_name(wanted->dtype));
    ret->dtype = wanted->dtype;
    ret->rank = wanted->rank;
    ret->data = wanted->data;
    ret->bytes = wanted->bytes;
    if (wanted->rank != 0)
        memcpy(ret->dims, wanted->dims, wanted->rank * sizeof ret->dims[0]);
    return TFCC_OK;
}

static int outputs_want(struct tfcc_result *result, const struct tfcc_run_options *options,
                        struct tfcc_error *reterr)
{
    for (size_t i = 0; i < result->n_outputs; i++) {
        if (options->n_outputs == 0) {
            result->outputs[i].index = i;
            continue;
        }
        int rc = output_want(result->model, &options->outputs[i], &result->outputs[i], reterr);
        if (rc != 0)
            return rc;
        for (size_t j = 0; j < i; j++)
            if (result->outputs[j].index == result->outputs[i].index)
                return tfcc_fail(reterr, TFCC_E_INVALID, "output \"%s\" is wanted twice",
                                 options->outputs[i].name);
    }
    return TFCC_OK;
}

/* Is what the engine gave back what the ABI promises? Fills the public view of it. */
static bool output_take(const struct tfcc_model *model, struct astra_engine_output *output,
                        const void *own_buffer, struct tfcc_tensor *ret)
{
    uint64_t bytes;
    if (output->rank > TFCC_RANK_MAX ||
        !tfcc_tensor_bytes(output->dtype, output->dims, output->rank, &bytes) || bytes != output->bytes ||
        (bytes != 0 && output->data == NULL) || (own_buffer != NULL && output->data != own_buffer))
        return false;
    *ret = (struct tfcc_tensor){
        .name = model->signature.outputs[output->index].name,
        .dtype = output->dtype,
        .rank = output->rank,
        .dims = output->dims,
        .data = output->data,
        .bytes = output->bytes,
    };
    return output->dtype == model->signature.outputs[output->index].dtype;
}

static void outputs_release(struct tfcc_result *result)
{
    struct tfcc_model *model = result->model;
    for (size_t i = 0; i < result->n_outputs; i++)
        model->runtime->engine->output_release(model->runtime->engine_ctx, model->engine_model,
                                               &result->outputs[i]);
}

static int engine_run(struct tfcc_result *result, const struct tfcc_tensor *const *ordered,
                      const struct tfcc_run_options *options, struct tfcc_error *reterr)
{
    struct tfcc_model *model = result->model;
    struct tfcc_runtime *runtime = model->runtime;
    const struct astra_engine_run run = {
        .size = sizeof run,
        .inputs = ordered,
        .cancel = options->cancel != NULL ? options->cancel->engine_cancel : NULL,
    };
    int rc = runtime->engine->run(runtime->engine_ctx, model->engine_model, &run, result->outputs,
                                  result->n_outputs, reterr);
    if (rc != 0)
        return rc;
    bool good = true;
    for (size_t i = 0; i < result->n_outputs; i++) {
        const void *own_buffer = options->n_outputs != 0 ? options->outputs[i].data : NULL;
        good = output_take(model, &result->outputs[i], own_buffer, &result->tensors[i]) && good;
    }
    if (tfcc_holds(runtime, good))
        return TFCC_OK;
    outputs_release(result);
    return tfcc_runtime_usable(runtime, reterr);
}

static void run_count(struct tfcc_model *model, int rc, uint64_t items, uint64_t start_ns)
{
    struct tfcc_counters *counters = model->counters;
    if (rc == TFCC_OK) {
        tfcc_count(counters, inferences, 1);
        tfcc_count(counters, items, items);
        tfcc_count(counters, run_ns, sys_embed_now_ns() - start_ns);
    } else if (rc == TFCC_E_CANCELLED) {
        tfcc_count(counters, cancelled, 1);
    } else {
        tfcc_count(counters, failures, 1);
    }
}

/* One block: the result, its tensors, the engine's outputs, and room to order the inputs. */
static struct tfcc_result *result_new(struct tfcc_model *model, size_t n_outputs)
{
    size_t per_output = sizeof(struct tfcc_tensor) + sizeof(struct astra_engine_output);
    size_t size =
        sizeof(struct tfcc_result) + n_outputs * per_output + model->signature.n_inputs * sizeof(void *);
    struct tfcc_result *result = a_try_alloc(size);
    if (result == NULL)
        return NULL;
    result->magic = TFCC_RESULT_MAGIC;
    result->model = model;
    result->n_outputs = n_outputs;
    result->outputs = (struct astra_engine_output *)(void *)(result + 1);
    result->tensors = (struct tfcc_tensor *)(void *)(result->outputs + n_outputs);
    return result;
}

static int model_run(struct tfcc_model *model, const struct tfcc_tensor *inputs, size_t n_inputs,
                     const struct tfcc_run_options *options, struct tfcc_result **ret,
                     struct tfcc_error *reterr)
{
    size_t n_outputs = options->n_outputs != 0 ? options->n_outputs : model->signature.n_outputs;
    if (n_outputs > model->signature.n_outputs)
        return tfcc_fail(reterr, TFCC_E_INVALID, "%zu outputs are wanted of a model with %zu", n_outputs,
                         model->signature.n_outputs);
    struct tfcc_result *result = result_new(model, n_outputs);
    if (result == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for a result");
    const struct tfcc_tensor **ordered = (const struct tfcc_tensor **)(void *)(result->tensors + n_outputs);
    int rc = inputs_order(model, inputs, n_inputs, ordered, reterr);
    if (rc == 0)
        rc = outputs_want(result, options, reterr);
    if (rc == 0 && options->cancel != NULL && __atomic_load_n(&options->cancel->triggered, __ATOMIC_ACQUIRE))
        rc = tfcc_fail(reterr, TFCC_E_CANCELLED, "the run was cancelled before it began");
    if (rc == 0)
        rc = engine_run(result, ordered, options, reterr);
    if (rc != 0) {
        a_free(result);
        return rc;
    }
    bool batched = model->signature.n_inputs > 0 && ordered[0]->rank > 0;
    result->items = batched ? (uint64_t)ordered[0]->dims[0] : 1;
    tfcc_model_ref(model);
    *ret = result;
    return TFCC_OK;
}

static int run_options_check(const struct tfcc_model *model, const struct tfcc_run_options *options,
                             struct tfcc_error *reterr)
{
    if (options->size < sizeof *options || (options->n_outputs != 0 && options->outputs == NULL))
        return tfcc_fail(reterr, TFCC_E_INVALID,
                         "tfcc_model_run: options.size or options.outputs is not set");
    if (options->cancel != NULL &&
        (options->cancel->magic != TFCC_CANCEL_MAGIC || options->cancel->model != model))
        return tfcc_fail(reterr, TFCC_E_INVALID, "tfcc_model_run: options.cancel belongs to another model");
    return TFCC_OK;
}

int tfcc_model_run(struct tfcc_model *model, const struct tfcc_tensor *inputs, size_t n_inputs,
                   const struct tfcc_run_options *options, struct tfcc_result **ret,
                   struct tfcc_error *reterr)
{
    static const struct tfcc_run_options defaults = {.size = sizeof defaults};
    struct tfcc_error local;
    if (reterr == NULL)
        reterr = &local;
    if (model == NULL || model->magic != TFCC_MODEL_MAGIC || ret == NULL || (n_inputs != 0 && inputs == NULL))
        return tfcc_fail(reterr, TFCC_E_INVALID,
                         "tfcc_model_run: no open model, no inputs, or nowhere for the result");
    if (options == NULL)
        options = &defaults;
    int rc = tfcc_runtime_usable(model->runtime, reterr);
    if (rc == 0)
        rc = run_options_check(model, options, reterr);
    if (rc != 0)
        return rc;
    uint64_t start_ns = sys_embed_now_ns();
    tfcc_model_ref(model); /* it may be closed while it runs */
    tfcc_count(model->counters, in_flight, 1);
    rc = model_run(model, inputs, n_inputs, options, ret, reterr);
    run_count(model, rc, rc == 0 ? (*ret)->items : 0, start_ns);
    tfcc_count(model->counters, in_flight, -1);
    if (rc != 0)
        tfcc_wrap(reterr, rc, "model %.256s", model->name);
    tfcc_model_unref(model);
    return rc;
}

const struct tfcc_tensor *tfcc_result_output(const struct tfcc_result *result, size_t index)
{
    return index < result->n_outputs ? &result->tensors[index] : NULL;
}

void tfcc_result_free(struct tfcc_result *result)
{
    if (result == NULL || result->magic != TFCC_RESULT_MAGIC)
        return;
    outputs_release(result);
    tfcc_model_unref(result->model);
    result->magic = 0;
    a_free(result);
}
