/* A strict engine for tests. It holds the runtime to the engine ABI (asserts on what it is given), counts
 * what it has given out, so that a test can see a leak, and fails or lies when told to.
 *
 * Its one model: inputs x FP32 [?,3] and k INT64 scalar; outputs y = x + k and n INT64 scalar = k. */
#ifndef TFCC_FAKE_ENGINE_H
#define TFCC_FAKE_ENGINE_H

#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "tfcc/error.h"
#include "tfcc/runtime.h"
#include "tfcc/tensor.h"

enum fake_lie {
    FAKE_HONEST,
    FAKE_WRONG_BYTES, /* an output whose bytes are not what its shape makes */
    FAKE_WRONG_DTYPE,
    FAKE_NO_DATA,
    FAKE_BAD_SIGNATURE, /* a model with a rank beyond the limit */
};

static struct {
    int live; /* engines, models, outputs and cancel objects that are out */
    int fail_load;
    int fail_run_at;      /* the n-th run from now fails; 0 = none */
    void (*in_run)(void); /* called in the middle of a run */
    enum fake_lie lie;
    uint32_t last_threads;
} fake;

static const int64_t fake_dims[] = {-1, 3};
static const struct tfcc_tensor_info fake_inputs[] = {
    {"x", TFCC_F32, 2, fake_dims},
    {"k", TFCC_I64, 0, NULL},
};
static const struct tfcc_tensor_info fake_outputs[] = {
    {"y", TFCC_F32, 2, fake_dims},
    {"n", TFCC_I64, 0, NULL},
};
static const struct tfcc_tensor_info fake_bad_inputs[] = {{"x", TFCC_F32, TFCC_RANK_MAX + 1, fake_dims}};

static void *fake_give(size_t size)
{
    void *p = a_try_alloc(size);
    if (p != NULL)
        __atomic_add_fetch(&fake.live, 1, __ATOMIC_RELAXED);
    return p;
}

static void fake_take(void *p)
{
    if (p != NULL)
        __atomic_sub_fetch(&fake.live, 1, __ATOMIC_RELAXED);
    a_free(p);
}

static int fake_open(const struct astra_engine_open_options *options, void **ret, struct tfcc_error *reterr)
{
    a_assert(options->size == sizeof *options && options->dir != NULL);
    *ret = fake_give(1);
    return *ret != NULL ? TFCC_OK : tfcc_fail(reterr, TFCC_E_MEMORY, "no memory");
}

static void fake_close(void *engine)
{
    fake_take(engine);
}

static const char *fake_version(void *engine)
{
    a_assert(engine != NULL);
    return "1.0";
}

static int fake_supports(void *engine, const struct astra_device_info *device)
{
    a_assert(engine != NULL && device->size == sizeof *device);
    return device->class_id == ASTRA_DEVICE_CPU;
}

static int fake_model_load(void *engine, const struct astra_engine_load_options *options, void **ret,
                           struct astra_engine_signature *ret_signature, struct tfcc_error *reterr)
{
    a_assert(engine != NULL && options->path[0] == '/' && options->threads >= 1 &&
             strcmp(options->device, "cpu") == 0);
    fake.last_threads = options->threads;
    if (fake.fail_load)
        return tfcc_fail(reterr, TFCC_E_MODEL_INVALID, "no model to my taste");
    void *model = fake_give(1);
    if (model == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "no memory");
    bool bad = fake.lie == FAKE_BAD_SIGNATURE;
    *ret_signature = (struct astra_engine_signature){bad ? fake_bad_inputs : fake_inputs,
                                                     bad ? 1 : A_ARRAY_SIZE(fake_inputs), fake_outputs,
                                                     A_ARRAY_SIZE(fake_outputs)};
    *ret = model;
    return TFCC_OK;
}

static void fake_model_unload(void *engine, void *model)
{
    a_assert(engine != NULL);
    fake_take(model);
}

static void fake_lie(struct astra_engine_output *o)
{
    if (fake.lie == FAKE_WRONG_BYTES)
        o->bytes += 4;
    else if (fake.lie == FAKE_WRONG_DTYPE)
        o->dtype = TFCC_U8, o->bytes /= 4;
    else if (fake.lie == FAKE_NO_DATA)
        o->data = NULL;
}

static int fake_output(const struct astra_engine_run *run, struct astra_engine_output *o,
                       struct tfcc_error *reterr)
{
    const struct tfcc_tensor *x = run->inputs[0], *k = run->inputs[1];
    int64_t n = x->dims[0];
    bool is_y = o->index == 0;
    bool own = o->data == NULL;
    int64_t dims[] = {n, 3};
    if (!own && (o->rank != (is_y ? 2U : 0U) || (is_y && memcmp(o->dims, dims, sizeof dims) != 0)))
        return tfcc_fail(reterr, TFCC_E_INVALID, "the buffer has another shape");
    o->dtype = is_y ? TFCC_F32 : TFCC_I64;
    o->rank = is_y ? 2 : 0;
    if (is_y)
        memcpy(o->dims, dims, sizeof dims);
    o->bytes = is_y ? (uint64_t)n * 12 : 8;
    if (own)
        o->data = o->handle = fake_give(o->bytes);
    if (o->data == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "no memory");
    if (!is_y)
        memcpy(o->data, k->data, 8);
    for (int64_t i = 0; is_y && i < 3 * n; i++)
        ((float *)o->data)[i] = ((const float *)x->data)[i] + (float)*(const int64_t *)k->data;
    if (own)
        fake_lie(o);
    return TFCC_OK;
}

static void fake_output_release(void *engine, void *model, struct astra_engine_output *output)
{
    a_assert(engine != NULL && model != NULL);
    fake_take(output->handle);
    output->handle = NULL;
}

static int fake_run(void *engine, void *model, const struct astra_engine_run *run,
                    struct astra_engine_output *outputs, size_t n_outputs, struct tfcc_error *reterr)
{
    uint64_t bytes;
    for (size_t i = 0; i < A_ARRAY_SIZE(fake_inputs); i++) {
        const struct tfcc_tensor *t = run->inputs[i];
        a_assert(t != NULL && strcmp(t->name, fake_inputs[i].name) == 0 && t->dtype == fake_inputs[i].dtype);
        a_assert(tfcc_tensor_bytes(t->dtype, t->dims, t->rank, &bytes) && bytes == t->bytes);
    }
    a_assert(n_outputs >= 1 && n_outputs <= A_ARRAY_SIZE(fake_outputs));
    if (fake.fail_run_at != 0 && --fake.fail_run_at == 0)
        return tfcc_fail(reterr, TFCC_E_ENGINE, "told to fail");
    if (fake.in_run != NULL)
        fake.in_run();
    for (size_t i = 0; i < n_outputs; i++) {
        int rc = fake_output(run, &outputs[i], reterr);
        for (size_t j = 0; rc != 0 && j < i; j++)
            fake_output_release(engine, model, &outputs[j]);
        if (rc != 0)
            return rc;
    }
    return TFCC_OK;
}

static const struct astra_engine fake_engine = {
    .api_version = ASTRA_ENGINE_API_VERSION,
    .size = sizeof(struct astra_engine),
    .name = "fake",
    .open = fake_open,
    .close = fake_close,
    .version = fake_version,
    .supports = fake_supports,
    .model_load = fake_model_load,
    .model_unload = fake_model_unload,
    .run = fake_run,
    .output_release = fake_output_release,
};

#endif
