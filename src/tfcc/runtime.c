/* Opening and closing runtimes: which engine, which devices, and the poison. */
#include "tfcc/runtime.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/embed/path.h"
#include "tfcc/error.h"
#include "tfcc/locate.h"
#include "tfcc/plugins.h"

bool tfcc_runtime_poison(struct tfcc_runtime *runtime, const char *what, const char *file, int line)
{
    if (!__atomic_exchange_n(&runtime->poisoned, true, __ATOMIC_ACQ_REL))
        fprintf(stderr, "astra: tfcc: broken invariant: %s (%s:%d); this runtime takes no more work\n", what,
                file, line);
    return false;
}

int tfcc_runtime_usable(const struct tfcc_runtime *runtime, struct tfcc_error *reterr)
{
    if (runtime == NULL || runtime->magic != TFCC_RUNTIME_MAGIC)
        return tfcc_fail(reterr, TFCC_E_INVALID, "this is no open TFCC runtime");
    if (__atomic_load_n(&runtime->poisoned, __ATOMIC_ACQUIRE))
        return tfcc_fail(
            reterr, TFCC_E_POISONED,
            "this TFCC runtime saw a broken invariant earlier (told on stderr) and takes no more work");
    return TFCC_OK;
}

/* Copies a text; an empty one counts as absent. */
static int text_keep(const char *text, char **ret, struct tfcc_error *reterr)
{
    if (text == NULL || text[0] == '\0')
        return TFCC_OK;
    size_t size = strlen(text) + 1;
    *ret = a_try_alloc(size);
    if (*ret == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for %zu bytes", size);
    memcpy(*ret, text, size);
    return TFCC_OK;
}

static bool runtime_has_device(const struct tfcc_runtime *runtime, const char *name)
{
    for (size_t i = 0; i < runtime->n_devices; i++)
        if (strcmp(runtime->devices[i].name, name) == 0)
            return true;
    return false;
}

/* Adds the devices of one kind that the engine can use. A kind that cannot be opened or asked is passed over:
 * a broken card must not take the processor away. */
static void driver_list(struct tfcc_runtime *runtime, const struct astra_device_driver *driver)
{
    struct tfcc_error ignored;
    void *ctx = NULL;
    if (driver->api_version != ASTRA_DEVICE_API_VERSION || driver->open(&ctx, &ignored) != TFCC_OK)
        return;
    uint32_t n = driver->count(ctx);
    for (uint32_t i = 0; i < n && runtime->n_devices < TFCC_DEVICES_MAX; i++) {
        struct astra_device_info info = {.size = sizeof info};
        if (driver->info(ctx, i, &info, &ignored) == TFCC_OK && !runtime_has_device(runtime, info.name) &&
            runtime->engine->supports(runtime->engine_ctx, &info))
            runtime->devices[runtime->n_devices++] = info;
    }
    driver->close(ctx);
}

static int engine_open(struct tfcc_runtime *runtime, const struct astra_engine *engine,
                       const char *engine_dir, struct tfcc_error *reterr)
{
    char dir[SYS_EMBED_PATH_MAX];
    if (engine->api_version != ASTRA_ENGINE_API_VERSION)
        return tfcc_fail(reterr, TFCC_E_UNSUPPORTED,
                         "engine %s speaks version %u of the engine ABI, this library %d", engine->name,
                         engine->api_version, ASTRA_ENGINE_API_VERSION);
    int rc = tfcc_locate_engine_dir(engine_dir, dir, reterr);
    if (rc != 0)
        return rc;
    struct astra_engine_open_options options = {.size = sizeof options, .dir = dir};
    rc = engine->open(&options, &runtime->engine_ctx, reterr);
    if (rc != 0)
        return rc;
    runtime->engine = engine;
    snprintf(runtime->engine_text, sizeof runtime->engine_text, "%s %s", engine->name,
             engine->version(runtime->engine_ctx));
    return TFCC_OK;
}

static int runtime_init(struct tfcc_runtime *runtime, const struct tfcc_options *options,
                        const struct astra_engine *engine, struct tfcc_error *reterr)
{
    const char *models_dir = options->models_dir != NULL ? options->models_dir : getenv("ASTRA_MODELS");
    const char *page_dir = options->page_dir != NULL ? options->page_dir : getenv("ASTRA_TFCC_PAGE_DIR");
    int rc = text_keep(models_dir, &runtime->models_dir, reterr);
    if (rc == 0)
        rc = text_keep(page_dir, &runtime->page_dir, reterr);
    if (rc == 0)
        rc = engine_open(runtime, engine, options->engine_dir, reterr);
    if (rc != 0)
        return rc;
    for (size_t i = 0; tfcc_device_drivers[i] != NULL; i++)
        driver_list(runtime, tfcc_device_drivers[i]);
    if (runtime->n_devices == 0)
        return tfcc_fail(reterr, TFCC_E_DEVICE, "%s can use no device of this machine", runtime->engine_text);
    return TFCC_OK;
}

int tfcc_runtime_open_engine(const struct tfcc_options *options, const struct astra_engine *engine,
                             struct tfcc_runtime **ret, struct tfcc_error *reterr)
{
    static const struct tfcc_options defaults = {.size = sizeof defaults};
    struct tfcc_error local;
    if (reterr == NULL)
        reterr = &local;
    if (options == NULL)
        options = &defaults;
    if (ret == NULL || options->size < sizeof *options)
        return tfcc_fail(reterr, TFCC_E_INVALID, "tfcc_runtime_open: %s",
                         ret == NULL ? "nowhere to put the runtime"
                                     : "options.size is not set to its sizeof");
    struct tfcc_runtime *runtime = a_try_alloc(sizeof *runtime);
    if (runtime == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for a runtime");
    runtime->magic = TFCC_RUNTIME_MAGIC;
    runtime->refs = 1;
    a_list_init(&runtime->counters);
    pthread_mutex_init(&runtime->lock, NULL);
    int rc = runtime_init(runtime, options, engine, reterr);
    if (rc != 0) {
        tfcc_runtime_unref(runtime);
        return rc;
    }
    *ret = runtime;
    return TFCC_OK;
}

int tfcc_runtime_open(const struct tfcc_options *options, struct tfcc_runtime **ret,
                      struct tfcc_error *reterr)
{
    return tfcc_runtime_open_engine(options, tfcc_engines[0], ret, reterr);
}

void tfcc_runtime_ref(struct tfcc_runtime *runtime)
{
    __atomic_add_fetch(&runtime->refs, 1, __ATOMIC_RELAXED);
}

void tfcc_runtime_unref(struct tfcc_runtime *runtime)
{
    if (__atomic_sub_fetch(&runtime->refs, 1, __ATOMIC_ACQ_REL) != 0)
        return;
    if (runtime->engine != NULL)
        runtime->engine->close(runtime->engine_ctx);
    tfcc_counters_free_all(&runtime->counters);
    pthread_mutex_destroy(&runtime->lock);
    a_free(runtime->models_dir);
    a_free(runtime->page_dir);
    runtime->magic = 0;
    a_free(runtime);
}

void tfcc_runtime_close(struct tfcc_runtime *runtime)
{
    if (runtime != NULL && runtime->magic == TFCC_RUNTIME_MAGIC)
        tfcc_runtime_unref(runtime);
}

const char *tfcc_runtime_engine(const struct tfcc_runtime *runtime)
{
    return runtime->engine_text;
}

const char *tfcc_runtime_device(const struct tfcc_runtime *runtime, size_t index)
{
    return index < runtime->n_devices ? runtime->devices[index].name : NULL;
}
