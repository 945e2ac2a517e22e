#include "tfcc/plugins.h"

#include "tfcc/device/cpu.h"
#include "tfcc/engine/onnxruntime.h"

const struct astra_engine *const tfcc_engines[] = {
    &tfcc_engine_onnxruntime,
    NULL,
};

const struct astra_device_driver *const tfcc_device_drivers[] = {
    &tfcc_device_cpu,
    NULL,
};
