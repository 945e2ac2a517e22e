/* The device ABI: what Astra asks of a kind of computing device (CPU, NVIDIA, Ascend, ...): what is there,
 * how much memory it has, is it well. A plug-in is one constant struct of functions over an opaque context.
 *
 * Functions that can fail return a code of enum tfcc_code and write `reterr` (never NULL here); outputs are
 * written only on success. All functions may be called from several threads at once, `close` last. Hooks
 * marked "optional" may be NULL. What lies beyond `size` of an older plug-in is absent. */
#ifndef ASTRA_DEVICE_H
#define ASTRA_DEVICE_H

#include "astra/tfcc.h"

#define ASTRA_DEVICE_API_VERSION 1

/* X(NAME, value, "word"). */
#define ASTRA_DEVICE_CLASSES(X)                                                                              \
    X(CPU, 1, "cpu")                                                                                         \
    X(GPU, 2, "gpu")                                                                                         \
    X(NPU, 3, "npu")

enum astra_device_class {
#define ASTRA_X(name, value, word) ASTRA_DEVICE_##name = value,
    ASTRA_DEVICE_CLASSES(ASTRA_X)
#undef ASTRA_X
};

enum astra_device_health {
    ASTRA_DEVICE_OK = 0,
    ASTRA_DEVICE_DEGRADED = 1, /* works, but slower or warned of: nothing new should be placed on it */
    ASTRA_DEVICE_FAILED = 2,
};

/* Facts that do not change while the driver is open. Text is never NULL; "" = not known. */
struct astra_device_info {
    size_t size;
    char name[32];    /* unique on the node: "cpu", "nvidia0" */
    char vendor[32];  /* "amd", "intel", "nvidia", "ascend", "zhixiao" */
    char model[96];   /* "AMD EPYC 9B14", "H100 80GB HBM3" */
    char uuid[64];    /* the vendor's own id, the same after a restart of the machine */
    int32_t class_id; /* enum astra_device_class */
    uint32_t units;   /* cores, multiprocessors; 0 = not known */
    uint64_t memory_bytes;
    int32_t numa_node; /* -1 = none or not known */
};

struct astra_device_memory {
    size_t size;
    uint64_t total_bytes;
    uint64_t free_bytes; /* what a new model could still take */
};

struct astra_device_driver {
    uint32_t api_version; /* ASTRA_DEVICE_API_VERSION */
    uint32_t size;        /* sizeof(struct astra_device_driver) */
    const char *name;     /* "cpu" */

    /* No such hardware here is a success with a count of 0. */
    int (*open)(void **ret_driver, struct tfcc_error *reterr);
    void (*close)(void *driver);
    uint32_t (*count)(void *driver);
    /* `index` below count for all that follow; anything else is TFCC_E_INVALID. */
    int (*info)(void *driver, uint32_t index, struct astra_device_info *ret, struct tfcc_error *reterr);
    int (*memory)(void *driver, uint32_t index, struct astra_device_memory *ret, struct tfcc_error *reterr);
    /* *ret = enum astra_device_health; when it is not OK, `reterr->message` says why (and the call succeeds).
     */
    int (*health)(void *driver, uint32_t index, int32_t *ret, struct tfcc_error *reterr);

    /* Optional: named properties ("isa" = "avx2 avx512f", "driver" = "550.54"). The property-th; 0 from their
     * number on. Both live until close. */
    int (*property)(void *driver, uint32_t index, size_t property, const char **ret_key,
                    const char **ret_value);
    /* Optional, both or none: memory of the device that the host can address, aligned to 64 bytes. `bytes` >
     * 0. */
    int (*buffer_alloc)(void *driver, uint32_t index, uint64_t bytes, void **ret, struct tfcc_error *reterr);
    void (*buffer_free)(void *driver, uint32_t index, void *buffer);
};

#endif
