/* What the three files of the ONNX Runtime engine share: onnxruntime.c opens the library, onnxruntime_model.c
 * loads models, onnxruntime_run.c runs them. */
#ifndef A_TFCC_ENGINE_ONNXRUNTIME_INTERNAL_H
#define A_TFCC_ENGINE_ONNXRUNTIME_INTERNAL_H

#include <stdbool.h>

#include "astra/engine.h"
#include "tfcc/engine/onnxruntime_api.h"

struct ort_engine {
    struct ort_api api;
    char version[32];
    struct ort_env *env;
    struct ort_memory_info *cpu_memory; /* describes the caller's own memory */
    struct ort_allocator *allocator;    /* the default one, never freed; names and metadata come from it */
};

struct ort_model {
    struct ort_session *session;
    struct tfcc_tensor_info *ports; /* inputs, then outputs */
    const char **names;             /* as `ports`; each from the allocator */
    int64_t *dims;                  /* TFCC_RANK_MAX a port */
    size_t n_inputs;
    size_t n_outputs;
    char **keys; /* metadata, from the allocator */
    char **values;
    size_t n_metadata;
};

/* Takes the status: TFCC_OK for NULL, else `code` with the engine's own words in `reterr`. */
int ort_check(const struct ort_engine *engine, struct ort_status *status, int code,
              struct tfcc_error *reterr);

int ort_session_options_make(const struct ort_engine *engine, uint32_t threads,
                             struct ort_session_options **ret, struct tfcc_error *reterr);
int ort_model_load(void *engine, const struct astra_engine_load_options *options, void **ret_model,
                   struct astra_engine_signature *ret_signature, struct tfcc_error *reterr);
void ort_model_unload(void *engine, void *model);
int ort_model_metadata(void *engine, void *model, size_t index, const char **ret_key, const char **ret_value);

int ort_run(void *engine, void *model, const struct astra_engine_run *run,
            struct astra_engine_output *outputs, size_t n_outputs, struct tfcc_error *reterr);
void ort_output_release(void *engine, void *model, struct astra_engine_output *output);
int ort_cancel_new(void *engine, void *model, void **ret_cancel, struct tfcc_error *reterr);
void ort_cancel_trigger(void *engine, void *cancel);
void ort_cancel_free(void *engine, void *cancel);

#endif
