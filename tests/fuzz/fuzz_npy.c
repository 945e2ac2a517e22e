/* .npy files: what parses must say the same of itself when its head is written anew. */
#include <stdint.h>
#include <string.h>

#include "base/assert.h"
#include "tfcc/npy.h"
#include "tfcc/tensor.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct tfcc_npy npy, again;
    struct tfcc_error error;
    uint64_t bytes;
    struct a_view file = {(const char *)data, size};
    if (tfcc_npy_parse(file, &npy, &error) != TFCC_OK) {
        a_assert(error.code == TFCC_E_INVALID && error.message[0] != '\0');
        return 0;
    }
    a_assert(tfcc_tensor_bytes(npy.dtype, npy.dims, npy.rank, &bytes) && bytes == npy.data.len);
    a_assert(npy.data.len == 0 ||
             (npy.data.ptr >= file.ptr && npy.data.ptr + npy.data.len == file.ptr + size));
    A_BUF_AUTO struct a_buf copy = {0};
    tfcc_npy_print_head(&copy, npy.dtype, npy.dims, npy.rank);
    a_buf_add_view(&copy, npy.data);
    a_assert(tfcc_npy_parse(a_buf_view(&copy), &again, &error) == TFCC_OK);
    a_assert(again.dtype == npy.dtype && again.rank == npy.rank && again.data.len == npy.data.len);
    a_assert(memcmp(again.dims, npy.dims, npy.rank * sizeof npy.dims[0]) == 0);
    return 0;
}
