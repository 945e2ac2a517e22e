/* The engine ABI: what libastra-tfcc asks of an inference engine (ONNX Runtime, ...). A plug-in is one
 * constant struct of functions; its state is behind `void *` that only it understands.
 *
 * The runtime checks everything that a caller said before it asks an engine: tensors arrive complete, in the
 * model's own order, with the declared dtype, a rank and dims that fit, and `bytes` that is right. An engine
 * checks what only it knows.
 *
 * Every function that can fail returns a code of enum tfcc_code and writes `reterr` (never NULL here).
 * Outputs are written only on success. Nothing here may end the process, and no exception may leave it. All
 * functions may be called from several threads at once, except that `close` and `model_unload` come after all
 * others on the same object have returned.
 *
 * Hooks marked "optional" may be NULL; the runtime then does without, or answers TFCC_E_UNSUPPORTED. Both
 * `api_version` and `size` let an older plug-in be used by a newer runtime: what lies beyond `size` is
 * absent. */
#ifndef ASTRA_ENGINE_H
#define ASTRA_ENGINE_H

#include "astra/device.h"
#include "astra/tfcc.h"

#define ASTRA_ENGINE_API_VERSION 1

struct astra_engine_open_options {
    size_t size;
    const char *dir; /* where the engine's library lies; NULL: the engine needs none */
};

struct astra_engine_load_options {
    size_t size;
    const char *path;   /* a readable file; the engine takes from it all it needs and keeps no hold on it */
    const char *device; /* the name of a device for which `supports` said yes */
    uint32_t threads;   /* 1 or more: how many threads one run may use, the caller's included */
};

/* What a model declares. Filled by the engine at load; all of it lives until model_unload. */
struct astra_engine_signature {
    const struct tfcc_tensor_info *inputs;
    size_t n_inputs;
    const struct tfcc_tensor_info *outputs;
    size_t n_outputs;
};

/* One output of a run. Before: `index` says which output of the signature; `data` NULL (the engine allocates)
 * or the caller's buffer with dtype, rank, dims, bytes set (the engine writes there, or fails with
 * TFCC_E_INVALID when the shape is another). After a success: all fields hold, and `handle` owns `data`, if
 * the engine allocated it, until output_release. */
struct astra_engine_output {
    size_t index;
    int32_t dtype;
    uint32_t rank;
    int64_t dims[TFCC_RANK_MAX];
    void *data;
    uint64_t bytes;
    void *handle;
};

struct astra_engine_run {
    size_t size;
    const struct tfcc_tensor *const *inputs; /* n_inputs of the signature, in its order */
    void *cancel;                            /* from cancel_new, or NULL */
};

struct astra_engine {
    uint32_t api_version; /* ASTRA_ENGINE_API_VERSION */
    uint32_t size;        /* sizeof(struct astra_engine) */
    const char *name;     /* "onnxruntime" */

    int (*open)(const struct astra_engine_open_options *options, void **ret_engine,
                struct tfcc_error *reterr);
    void (*close)(void *engine);
    /* The version of what lies behind, "1.32.0"; lives as long as the engine. */
    const char *(*version)(void *engine);
    /* 1 when models can be loaded onto that device, else 0. */
    int (*supports)(void *engine, const struct astra_device_info *device);

    int (*model_load)(void *engine, const struct astra_engine_load_options *options, void **ret_model,
                      struct astra_engine_signature *ret_signature, struct tfcc_error *reterr);
    void (*model_unload)(void *engine, void *model);
    /* On failure none of `outputs` holds anything. */
    int (*run)(void *engine, void *model, const struct astra_engine_run *run,
               struct astra_engine_output *outputs, size_t n_outputs, struct tfcc_error *reterr);
    /* Called once for each output of a run that succeeded, in any order, from any thread. */
    void (*output_release)(void *engine, void *model, struct astra_engine_output *output);

    /* Optional: metadata of the file. The index-th key and its value; 0 from their number on. Both live until
     * model_unload. */
    int (*metadata)(void *engine, void *model, size_t index, const char **ret_key, const char **ret_value);
    /* Optional, all three or none: cancelling runs. A triggered object stays triggered. */
    int (*cancel_new)(void *engine, void *model, void **ret_cancel, struct tfcc_error *reterr);
    void (*cancel_trigger)(void *engine, void *cancel);
    void (*cancel_free)(void *engine, void *cancel);
};

#endif
