#include "tfcc/device/cpu.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "base/buf.h"
#include "sys/embed/host.h"
#include "sys/embed/path.h"
#include "tfcc/error.h"

/* Much of /proc/cpuinfo; the first processor's part is what is read. */
#define CPUINFO_BYTES 8192
#define BUFFER_ALIGN 64

/* The instruction sets that decide how fast inference is. */
static const char *const isa_words[] = {"avx",         "avx2",        "f16c",     "fma",      "avx512f",
                                        "avx512_vnni", "avx512_bf16", "avx_vnni", "amx_int8", "amx_bf16",
                                        "asimd",       "asimddp",     "bf16",     "sve",      NULL};

struct cpu {
    struct astra_device_info info;
    char isa[160];
};

/* The value of the line "field<tabs>: value", or the empty view. */
static struct a_view cpuinfo_field(const char *text, const char *field)
{
    struct a_view rest = a_view_str(text);
    while (rest.len > 0) {
        struct a_view value, line = a_view_split(rest, '\n', &rest);
        struct a_view name = a_view_trim(a_view_split(line, ':', &value));
        if (a_view_is(name, field))
            return a_view_trim(value);
    }
    return (struct a_view){0};
}

static void isa_collect(char *out, size_t size, struct a_view flags)
{
    size_t len = 0;
    while (flags.len > 0) {
        struct a_view flag = a_view_split(flags, ' ', &flags);
        for (size_t i = 0; isa_words[i] != NULL; i++)
            if (a_view_is(flag, isa_words[i]) && len + flag.len + 2 < size)
                len += (size_t)snprintf(out + len, size - len, "%s%s", len > 0 ? " " : "", isa_words[i]);
    }
}

static const char *vendor_word(struct a_view id)
{
    return a_view_is(id, "AuthenticAMD") ? "amd" : a_view_is(id, "GenuineIntel") ? "intel" : "";
}

static int cpu_open(void **ret_driver, struct tfcc_error *reterr)
{
    uint64_t available;
    char text[CPUINFO_BYTES] = "";
    struct cpu *cpu = a_try_alloc(sizeof *cpu);
    if (cpu == NULL)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for the cpu driver");
    struct astra_device_info *info = &cpu->info;
    if (sys_embed_path_read("/proc/cpuinfo", text, sizeof text) != 0)
        text[0] = '\0';
    snprintf(info->name, sizeof info->name, "cpu");
    snprintf(info->vendor, sizeof info->vendor, "%s", vendor_word(cpuinfo_field(text, "vendor_id")));
    snprintf(info->model, sizeof info->model, A_VIEW_FMT, A_VIEW_ARG(cpuinfo_field(text, "model name")));
    isa_collect(cpu->isa, sizeof cpu->isa, cpuinfo_field(text, "flags"));
    if (cpu->isa[0] == '\0')
        isa_collect(cpu->isa, sizeof cpu->isa, cpuinfo_field(text, "Features"));
    info->class_id = ASTRA_DEVICE_CPU;
    info->units = sys_embed_cpus();
    info->numa_node = -1;
    sys_embed_memory(&info->memory_bytes, &available);
    *ret_driver = cpu;
    return TFCC_OK;
}

static void cpu_close(void *driver)
{
    a_free(driver);
}

static uint32_t cpu_count(void *driver)
{
    (void)driver;
    return 1;
}

static int index_check(uint32_t index, struct tfcc_error *reterr)
{
    return index == 0 ? TFCC_OK
                      : tfcc_fail(reterr, TFCC_E_INVALID, "there is one cpu device; %u is no index", index);
}

static int cpu_info(void *driver, uint32_t index, struct astra_device_info *ret, struct tfcc_error *reterr)
{
    const struct cpu *cpu = driver;
    int rc = index_check(index, reterr);
    if (rc != 0)
        return rc;
    size_t size = A_MIN(ret->size, sizeof *ret);
    memcpy(ret, &cpu->info, size);
    ret->size = size;
    return TFCC_OK;
}

static int cpu_memory(void *driver, uint32_t index, struct astra_device_memory *ret,
                      struct tfcc_error *reterr)
{
    (void)driver;
    int rc = index_check(index, reterr);
    if (rc == 0)
        sys_embed_memory(&ret->total_bytes, &ret->free_bytes);
    return rc;
}

static int cpu_health(void *driver, uint32_t index, int32_t *ret, struct tfcc_error *reterr)
{
    (void)driver;
    int rc = index_check(index, reterr);
    if (rc == 0)
        *ret = ASTRA_DEVICE_OK;
    return rc;
}

static int cpu_property(void *driver, uint32_t index, size_t property, const char **ret_key,
                        const char **ret_value)
{
    const struct cpu *cpu = driver;
    if (index != 0 || property != 0)
        return 0;
    *ret_key = "isa";
    *ret_value = cpu->isa;
    return 1;
}

static int cpu_buffer_alloc(void *driver, uint32_t index, uint64_t bytes, void **ret,
                            struct tfcc_error *reterr)
{
    const struct cpu *cpu = driver;
    uint64_t limit = cpu->info.memory_bytes != 0 ? cpu->info.memory_bytes : PTRDIFF_MAX;
    int rc = index_check(index, reterr);
    if (rc != 0)
        return rc;
    if (bytes == 0)
        return tfcc_fail(reterr, TFCC_E_INVALID, "a buffer of 0 bytes");
    void *buffer = NULL;
    if (bytes > limit || posix_memalign(&buffer, BUFFER_ALIGN, (size_t)bytes) != 0)
        return tfcc_fail(reterr, TFCC_E_MEMORY, "out of memory for a buffer of %" PRIu64 " bytes", bytes);
    *ret = buffer;
    return TFCC_OK;
}

static void cpu_buffer_free(void *driver, uint32_t index, void *buffer)
{
    (void)driver;
    (void)index;
    free(buffer);
}

const struct astra_device_driver tfcc_device_cpu = {
    .api_version = ASTRA_DEVICE_API_VERSION,
    .size = sizeof(struct astra_device_driver),
    .name = "cpu",
    .open = cpu_open,
    .close = cpu_close,
    .count = cpu_count,
    .info = cpu_info,
    .memory = cpu_memory,
    .health = cpu_health,
    .property = cpu_property,
    .buffer_alloc = cpu_buffer_alloc,
    .buffer_free = cpu_buffer_free,
};
