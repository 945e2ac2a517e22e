/* libastra-tfcc: run a model that is named, not a device that is programmed.
 *
 * A program opens a runtime (one is enough for a process), opens models in it, and runs them. TFCC finds the
 * model's file, chooses the engine, checks every input against what the model declares before the engine sees
 * it, and counts what was done.
 *
 *     struct tfcc_error error;
 *     struct tfcc_runtime *runtime = NULL;
 *     struct tfcc_model *model = NULL;
 *     struct tfcc_result *result = NULL;
 *     int64_t dims[] = {1, 3, 48, 320};
 *     struct tfcc_tensor x = {.name = "x", .dtype = TFCC_F32, .rank = 4, .dims = dims, .data = pixels,
 *                             .bytes = sizeof pixels};
 *     if (tfcc_runtime_open(NULL, &runtime, &error) || tfcc_model_open(runtime, "rec", NULL, &model, &error)
 * || tfcc_model_run(model, &x, 1, NULL, &result, &error)) fprintf(stderr, "%s\n", error.message);
 *
 * Rules for every function here:
 * - It returns 0 (TFCC_OK) or one code of TFCC_CODES. `reterr`, where there is one, may be NULL; on failure
 * it holds the same code and a sentence that says what, where, and what was expected. Outputs (`ret`, last
 *   before `reterr`) are written only on success.
 * - It never ends or signals the process. A broken invariant poisons the runtime: from then on each call on
 * it and on its models returns TFCC_E_POISONED; closing still works.
 * - Text is UTF-8 and zero-terminated. Text given by the library lives as long as the object it was asked of.
 * - Threads: each object may be used from any thread, and tfcc_model_run() on one model from many threads at
 *   once. A close or free must be the last use of that pointer, but objects may be closed in any order: a
 *   model keeps its runtime, a result keeps its model.
 * - Structs that grow begin with `size`: set it to sizeof; 0 everywhere else means the default. */
#ifndef ASTRA_TFCC_H
#define ASTRA_TFCC_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Raised when something is added; the soname is raised when something changes. */
#define TFCC_API_VERSION 1

#ifndef TFCC_API
#define TFCC_API __attribute__((visibility("default")))
#endif

/* X(NAME, value, "word"): the codes; values never change. */
#define TFCC_CODES(X)                                                                                        \
    X(INVALID, 1, "invalid")               /* the caller's mistake: names, types, shapes, sizes, options */  \
    X(NOT_FOUND, 2, "not_found")           /* no such model, file, input or output */                        \
    X(MODEL_INVALID, 3, "model_invalid")   /* the file is no model, or none that the engine can run */       \
    X(ENGINE_MISSING, 4, "engine_missing") /* no engine library, or not a usable one */                      \
    X(DEVICE, 5, "device")                 /* no such device, or it does not work */                         \
    X(MEMORY, 6, "memory")                 /* not enough of it */                                            \
    X(CANCELLED, 7, "cancelled")           /* tfcc_cancel_trigger() ended the run */                         \
    X(UNSUPPORTED, 8, "unsupported")       /* asked for a thing that this engine or version cannot do */     \
    X(ENGINE, 9, "engine")                 /* the engine failed at a valid request */                        \
    X(OS, 10, "os")                        /* a system call failed */                                        \
    X(POISONED, 11, "poisoned")            /* a broken invariant was seen before; close and start anew */

enum tfcc_code {
    TFCC_OK = 0,
#define TFCC_X(name, value, word) TFCC_E_##name = value,
    TFCC_CODES(TFCC_X)
#undef TFCC_X
};

#define TFCC_ERROR_TEXT 1024
struct tfcc_error {
    int32_t code;                  /* enum tfcc_code */
    char message[TFCC_ERROR_TEXT]; /* cut when longer; never empty on failure */
};

/* X(NAME, value, bytes an element, "word"): element types. Values are those of ONNX's TensorProto.DataType,
 * words those of the Open Inference Protocol where it has one. */
#define TFCC_DTYPES(X)                                                                                       \
    X(F32, 1, 4, "FP32")                                                                                     \
    X(U8, 2, 1, "UINT8")                                                                                     \
    X(I8, 3, 1, "INT8")                                                                                      \
    X(U16, 4, 2, "UINT16")                                                                                   \
    X(I16, 5, 2, "INT16")                                                                                    \
    X(I32, 6, 4, "INT32")                                                                                    \
    X(I64, 7, 8, "INT64")                                                                                    \
    X(BOOL, 9, 1, "BOOL")                                                                                    \
    X(F16, 10, 2, "FP16")                                                                                    \
    X(F64, 11, 8, "FP64")                                                                                    \
    X(U32, 12, 4, "UINT32")                                                                                  \
    X(U64, 13, 8, "UINT64")                                                                                  \
    X(BF16, 16, 2, "BF16")

enum tfcc_dtype {
    TFCC_DTYPE_NONE = 0,
#define TFCC_X(name, value, bytes, word) TFCC_##name = value,
    TFCC_DTYPES(TFCC_X)
#undef TFCC_X
};

/* The most dimensions a tensor may have; a model that declares more is refused at open. */
#define TFCC_RANK_MAX 16

/* What a model declares of one input or output. */
struct tfcc_tensor_info {
    const char *name;
    int32_t dtype;       /* enum tfcc_dtype */
    uint32_t rank;       /* 0 = a scalar */
    const int64_t *dims; /* `rank` of them; -1 = any size */
};

/* A tensor: elements dense, in C order (row-major), in the host's byte order. */
struct tfcc_tensor {
    const char *name;
    int32_t dtype;
    uint32_t rank;
    const int64_t *dims; /* `rank` of them, each 0 or more */
    void *data;          /* aligned to its element; may be NULL only when `bytes` is 0 */
    uint64_t bytes;      /* must be the product of dims times the element's size */
};

struct tfcc_options {
    size_t size;
    const char *engine_dir; /* default: $ASTRA_TFCC_ENGINE_DIR, else engine/ beside this library, else
                               ../lib/astra/engine from it */
    const char *models_dir; /* default: $ASTRA_MODELS; absent: models are opened by path only */
    const char *page_dir;   /* default: $ASTRA_TFCC_PAGE_DIR; absent: no counters are shared (tfcc_page.h) */
};

struct tfcc_model_options {
    size_t size;
    const char *device; /* default "cpu"; a name that tfcc_runtime_device() lists */
    uint32_t threads;   /* of one run; default: $OMP_NUM_THREADS, else 1. At most 1024 */
    const char *digest; /* sha256:HEX, if the caller knows it; else taken from the artifact's path, else "" */
};

struct tfcc_runtime;
struct tfcc_model;
struct tfcc_result;
struct tfcc_cancel;

/* The version of the library, "0.1.0". */
TFCC_API const char *tfcc_version(void);
/* The code's word, "unknown" for no code. */
TFCC_API const char *tfcc_code_name(int code);
/* The type's word, "unknown" for none; the element's size in bytes, 0 for none. */
TFCC_API const char *tfcc_dtype_name(int dtype);
TFCC_API size_t tfcc_dtype_bytes(int dtype);

/* Opens a runtime: loads the engine and lists the devices. `options` NULL = all defaults. Close it with
 * tfcc_runtime_close(), which takes NULL. */
TFCC_API int tfcc_runtime_open(const struct tfcc_options *options, struct tfcc_runtime **ret,
                               struct tfcc_error *reterr);
TFCC_API void tfcc_runtime_close(struct tfcc_runtime *runtime);
/* "onnxruntime 1.32.0". */
TFCC_API const char *tfcc_runtime_engine(const struct tfcc_runtime *runtime);
/* The names of the devices that the engine can use here; NULL from `index` = their number on. */
TFCC_API const char *tfcc_runtime_device(const struct tfcc_runtime *runtime, size_t index);

/* Opens a model. `model` with a '/' in it is a path; without one it is a name in the folder of models, else a
 * path. A name stands for a file, a link to one, or a folder that holds exactly one *.onnx. Reads and
 * optimises the file: milliseconds to minutes; does not keep the file open. */
TFCC_API int tfcc_model_open(struct tfcc_runtime *runtime, const char *model,
                             const struct tfcc_model_options *options, struct tfcc_model **ret,
                             struct tfcc_error *reterr);
/* The model's memory goes when its last result is freed and its last run has returned. Takes NULL. */
TFCC_API void tfcc_model_close(struct tfcc_model *model);
/* The name or path it was opened by; the file that this came to; its digest or "". */
TFCC_API const char *tfcc_model_name(const struct tfcc_model *model);
TFCC_API const char *tfcc_model_path(const struct tfcc_model *model);
TFCC_API const char *tfcc_model_digest(const struct tfcc_model *model);
TFCC_API const char *tfcc_model_device(const struct tfcc_model *model);
TFCC_API uint32_t tfcc_model_threads(const struct tfcc_model *model);

/* Inputs and outputs in the model's own order; NULL from `index` = their number on. */
TFCC_API const struct tfcc_tensor_info *tfcc_model_input(const struct tfcc_model *model, size_t index);
TFCC_API const struct tfcc_tensor_info *tfcc_model_output(const struct tfcc_model *model, size_t index);
/* The custom metadata that the file carries. Keys in no order, NULL from `index` = their number on; the value
 * of a key, NULL when it has no such key. */
TFCC_API const char *tfcc_model_metadata_key(const struct tfcc_model *model, size_t index);
TFCC_API const char *tfcc_model_metadata(const struct tfcc_model *model, const char *key);

struct tfcc_run_options {
    size_t size;
    /* Which outputs, in the order wanted; default: all of them in the model's order. Only `name` and `data`
     * are looked at when `data` is NULL: the engine allocates. Else all fields hold, and the output is
     * written to `data`: dtype and shape must be exactly what the run gives (TFCC_E_INVALID otherwise). */
    const struct tfcc_tensor *outputs;
    size_t n_outputs;
    struct tfcc_cancel *cancel; /* default: this run cannot be cancelled */
};

/* Runs the model once. Inputs may come in any order, each exactly once; `inputs`, their names, dims and data
 * are borrowed until the call returns. The result's outputs are borrowed from it until tfcc_result_free(). */
TFCC_API int tfcc_model_run(struct tfcc_model *model, const struct tfcc_tensor *inputs, size_t n_inputs,
                            const struct tfcc_run_options *options, struct tfcc_result **ret,
                            struct tfcc_error *reterr);
/* The `index`-th output, NULL from their number on. Where the caller gave the buffer, `data` is that buffer.
 */
TFCC_API const struct tfcc_tensor *tfcc_result_output(const struct tfcc_result *result, size_t index);
TFCC_API void tfcc_result_free(struct tfcc_result *result); /* takes NULL */

/* Cancelling. One object serves any number of runs of its model, also at once. After the trigger they, and
 * all later ones given this object, return TFCC_E_CANCELLED, soon but not at once: an engine looks between
 * two nodes of the graph. TFCC_E_UNSUPPORTED where the engine cannot. Free it after its last run returned. */
TFCC_API int tfcc_cancel_new(struct tfcc_model *model, struct tfcc_cancel **ret, struct tfcc_error *reterr);
TFCC_API void tfcc_cancel_trigger(struct tfcc_cancel *cancel);
TFCC_API void tfcc_cancel_free(struct tfcc_cancel *cancel); /* takes NULL */

/* What was done with the model of this name and digest in this runtime, over all of its opens. */
struct tfcc_stats {
    uint64_t loads;
    uint64_t load_failures;
    uint64_t load_ns;    /* time spent in loads that succeeded */
    uint64_t inferences; /* runs that succeeded */
    uint64_t failures;   /* runs that did not, for whatever reason but the cancel */
    uint64_t cancelled;
    uint64_t items;  /* sum of the first dimension of the first input over the inferences; 1 for a scalar */
    uint64_t run_ns; /* time spent in the inferences, checks included */
    uint64_t in_flight; /* runs now */
};
/* `size` = sizeof(struct tfcc_stats): no more is written. */
TFCC_API void tfcc_model_stats(const struct tfcc_model *model, struct tfcc_stats *ret, size_t size);

#ifdef __cplusplus
}
#endif

#endif
