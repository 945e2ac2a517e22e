/* The head of ONNX files: whatever is found lies inside the file. */
#include <stdint.h>

#include "base/assert.h"
#include "tfcc/onnx.h"

static void inside_check(struct a_view file, struct a_view part)
{
    a_assert(part.len == 0 || (part.ptr >= file.ptr && part.ptr + part.len <= file.ptr + file.len));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct a_view file = {(const char *)data, size};
    struct tfcc_onnx onnx;
    if (!tfcc_onnx_skim(file, &onnx))
        return 0;
    a_assert(onnx.ir_version > 0 && onnx.graph_bytes < size && onnx.n_opsets <= TFCC_ONNX_OPSETS_MAX);
    inside_check(file, onnx.producer);
    inside_check(file, onnx.producer_version);
    for (size_t i = 0; i < onnx.n_opsets; i++)
        inside_check(file, onnx.opsets[i].domain);
    return 0;
}
