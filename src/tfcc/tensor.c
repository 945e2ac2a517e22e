#include "tfcc/tensor.h"

#include <inttypes.h>

static const struct {
    int value;
    size_t bytes;
    const char *word;
} dtypes[] = {
#define X(name, value, bytes, word) {value, bytes, word},
    TFCC_DTYPES(X)
#undef X
};

const char *tfcc_dtype_name(int dtype)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(dtypes); i++)
        if (dtypes[i].value == dtype)
            return dtypes[i].word;
    return "unknown";
}

size_t tfcc_dtype_bytes(int dtype)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(dtypes); i++)
        if (dtypes[i].value == dtype)
            return dtypes[i].bytes;
    return 0;
}

int tfcc_dtype_parse(struct a_view word)
{
    for (size_t i = 0; i < A_ARRAY_SIZE(dtypes); i++)
        if (a_view_is_nocase(word, dtypes[i].word))
            return dtypes[i].value;
    return TFCC_DTYPE_NONE;
}

bool tfcc_tensor_bytes(int dtype, const int64_t *dims, uint32_t rank, uint64_t *ret)
{
    uint64_t bytes = tfcc_dtype_bytes(dtype);
    bool empty = false;
    if (bytes == 0 || rank > TFCC_RANK_MAX)
        return false;
    for (uint32_t i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return false;
        if (dims[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(bytes, (uint64_t)dims[i], &bytes))
            return false;
    }
    if (bytes > INT64_MAX)
        return false;
    *ret = empty ? 0 : bytes;
    return true;
}

bool tfcc_tensor_fits(const struct tfcc_tensor_info *declared, const int64_t *dims, uint32_t rank)
{
    if (declared->rank != rank)
        return false;
    for (uint32_t i = 0; i < rank; i++)
        if (declared->dims[i] >= 0 && declared->dims[i] != dims[i])
            return false;
    return true;
}

void tfcc_tensor_print(struct a_buf *b, int dtype, const int64_t *dims, uint32_t rank)
{
    a_buf_addf(b, "%s [", tfcc_dtype_name(dtype));
    for (uint32_t i = 0; i < rank; i++) {
        if (dims[i] >= 0)
            a_buf_addf(b, "%s%" PRId64, i > 0 ? "," : "", dims[i]);
        else
            a_buf_addf(b, "%s?", i > 0 ? "," : "");
    }
    a_buf_add_char(b, ']');
}
