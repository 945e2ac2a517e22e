/* The objects behind tfcc.h, for the files of this folder.
 *
 * Lifetime: runtime <- model <- result, cancel. Each holds a reference on what stands left of it, so that a
 * caller may close in any order; the last reference frees.
 *
 * Locks: `lock` of the runtime guards only its list of counters. Models are immutable once opened; runs take
 * no lock. Nothing here allocates but with a_try_*: the process is not ours to end. */
#ifndef A_TFCC_RUNTIME_H
#define A_TFCC_RUNTIME_H

#include <pthread.h>
#include <stdbool.h>

#include "astra/device.h"
#include "astra/engine.h"
#include "astra/tfcc.h"
#include "base/assert.h"
#include "base/list.h"
#include "tfcc/counters.h"

#define TFCC_RUNTIME_MAGIC A_MAGIC('t', 'f', 'R', 't')
#define TFCC_MODEL_MAGIC A_MAGIC('t', 'f', 'M', 'd')
#define TFCC_RESULT_MAGIC A_MAGIC('t', 'f', 'R', 's')
#define TFCC_CANCEL_MAGIC A_MAGIC('t', 'f', 'C', 'n')

/* Named limits on what a model or a driver may make us hold. */
#define TFCC_DEVICES_MAX 64
#define TFCC_PORTS_MAX 1024 /* inputs, and outputs, of one model */
#define TFCC_THREADS_MAX 1024

struct tfcc_runtime {
    uint32_t magic;
    uint32_t refs; /* atomic */
    bool poisoned; /* atomic; never goes back */
    const struct astra_engine *engine;
    void *engine_ctx;
    char engine_text[64];
    char *models_dir; /* NULL = none */
    char *page_dir;   /* NULL = none */
    struct astra_device_info devices[TFCC_DEVICES_MAX];
    size_t n_devices;
    pthread_mutex_t lock;
    struct a_list counters; /* struct tfcc_counters */
};

struct tfcc_model {
    uint32_t magic;
    uint32_t refs; /* atomic */
    struct tfcc_runtime *runtime;
    struct tfcc_counters *counters;
    void *engine_model;
    struct astra_engine_signature signature;
    char *name;
    char *path;
    char digest[72];
    const char *device;
    uint32_t threads;
};

struct tfcc_result {
    uint32_t magic;
    struct tfcc_model *model;
    uint64_t items; /* of the batch */
    size_t n_outputs;
    struct tfcc_tensor *tensors;
    struct astra_engine_output *outputs;
};

struct tfcc_cancel {
    uint32_t magic;
    struct tfcc_model *model;
    void *engine_cancel;
    bool triggered; /* atomic */
};

/* Whether a plug-in has a hook: it may be older than this struct, or leave it out. */
#define TFCC_HAS_HOOK(plugin, hook)                                                                          \
    (offsetof(__typeof__(*(plugin)), hook) + sizeof(plugin)->hook <= (plugin)->size && (plugin)->hook != NULL)

/* An invariant of ours or of a plug-in. Where it does not hold, the runtime is poisoned; evaluates to `cond`.
 */
#define tfcc_holds(runtime, cond)                                                                            \
    (__builtin_expect(!!(cond), 1) || tfcc_runtime_poison((runtime), #cond, __FILE__, __LINE__))
/* Returns false. */
bool tfcc_runtime_poison(struct tfcc_runtime *runtime, const char *what, const char *file, int line);
/* TFCC_OK, or TFCC_E_POISONED said in `reterr`. */
int tfcc_runtime_usable(const struct tfcc_runtime *runtime, struct tfcc_error *reterr);
void tfcc_runtime_ref(struct tfcc_runtime *runtime);
void tfcc_runtime_unref(struct tfcc_runtime *runtime);
void tfcc_model_ref(struct tfcc_model *model);
void tfcc_model_unref(struct tfcc_model *model);

/* tfcc_runtime_open() with a given engine; the tests' way in. `engine` and what it points to outlive the
 * runtime. */
int tfcc_runtime_open_engine(const struct tfcc_options *options, const struct astra_engine *engine,
                             struct tfcc_runtime **ret, struct tfcc_error *reterr);

#endif
