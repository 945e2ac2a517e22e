/* Cancelling runs; the engine does it, if it can. */
#include "base/alloc.h"
#include "base/assert.h"
#include "tfcc/error.h"
#include "tfcc/runtime.h"

int tfcc_cancel_new(struct tfcc_model *model, struct tfcc_cancel **ret, struct tfcc_error *reterr)
{
    struct tfcc_error local;
    if (reterr == NULL)
        reterr = &local;
    if (model == NULL || model->magic != TFCC_MODEL_MAGIC || ret == NULL)
        return tfcc_fail(reterr, TFCC_E_INVALID, "tfcc_cancel_new: no open model, or nowhere for the object");
    const struct astra_engine *engine = model->runtime->engine;
    int rc = tfcc_runtime_usable(model->runtime, reterr);
    if (rc != 0)
        return rc;
    if (!TFCC_HAS_HOOK(engine, cancel_new))
        return tfcc_fail(reterr, TFCC_E_UNSUPPORTED, "%s cannot cancel a run", model->runtime->engine_text);
    struct tfcc_cancel *cancel = a_try_alloc(sizeof *cancel);
    if (cancel == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for a cancel object");
    rc = engine->cancel_new(model->runtime->engine_ctx, model->engine_model, &cancel->engine_cancel, reterr);
    if (rc != 0) {
        a_free(cancel);
        return rc;
    }
    cancel->magic = TFCC_CANCEL_MAGIC;
    cancel->model = model;
    tfcc_model_ref(model);
    *ret = cancel;
    return TFCC_OK;
}

void tfcc_cancel_trigger(struct tfcc_cancel *cancel)
{
    const struct tfcc_runtime *runtime = cancel->model->runtime;
    __atomic_store_n(&cancel->triggered, true, __ATOMIC_RELEASE);
    runtime->engine->cancel_trigger(runtime->engine_ctx, cancel->engine_cancel);
}

void tfcc_cancel_free(struct tfcc_cancel *cancel)
{
    if (cancel == NULL || cancel->magic != TFCC_CANCEL_MAGIC)
        return;
    const struct tfcc_runtime *runtime = cancel->model->runtime;
    runtime->engine->cancel_free(runtime->engine_ctx, cancel->engine_cancel);
    cancel->magic = 0;
    tfcc_model_unref(cancel->model);
    a_free(cancel);
}
