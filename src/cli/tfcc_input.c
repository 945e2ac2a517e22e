/* Inputs from words: a file, zeros, or random numbers that are the same for the same seed. */
#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "base/random.h"
#include "base/text.h"
#include "cli/tfcc_internal.h"
#include "sys/file.h"
#include "tfcc/npy.h"
#include "tfcc/tensor.h"

/* More than this for one input is a slip of the pen. */
#define INPUT_BYTES_MAX (UINT64_C(4) << 30)

static int input_alloc(struct cli_tfcc_input *input, uint64_t bytes, struct a_error *reterr)
{
    if (bytes > INPUT_BYTES_MAX)
        return a_fail(reterr, -EFBIG, A_CODE_USAGE, "input \"%s\": %llu bytes are too much",
                      input->tensor.name, (unsigned long long)bytes);
    input->tensor.bytes = bytes;
    input->tensor.data = a_try_alloc((size_t)bytes);
    return input->tensor.data != NULL ? 0 : a_fail_errno(reterr, -ENOMEM, "input \"%s\"", input->tensor.name);
}

static int input_from_file(struct cli_tfcc_input *input, const char *path, struct a_error *reterr)
{
    struct sys_map map = {0};
    struct tfcc_npy npy = {0};
    struct tfcc_error error;
    int rc = sys_map_open(path, &map, reterr);
    if (rc != 0)
        return rc;
    if (tfcc_npy_parse(map.bytes, &npy, &error) != TFCC_OK)
        rc = a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: %s", path, error.message);
    if (rc == 0)
        rc = input_alloc(input, npy.data.len, reterr);
    if (rc == 0) {
        input->tensor.dtype = npy.dtype;
        input->tensor.rank = npy.rank;
        memcpy(input->dims, npy.dims, sizeof npy.dims);
        if (npy.data.len > 0)
            memcpy(input->tensor.data, npy.data.ptr, npy.data.len);
    }
    sys_map_close(&map);
    return rc;
}

/* "1x3x48x320", "7x" */
static bool shape_parse(struct a_view words, struct cli_tfcc_input *input)
{
    input->tensor.rank = 0;
    while (words.len > 0) {
        uint64_t size;
        if (input->tensor.rank == TFCC_RANK_MAX || !a_text_u64(a_view_split(words, 'x', &words), &size) ||
            size > INT64_MAX)
            return false;
        input->dims[input->tensor.rank++] = (int64_t)size;
    }
    return true;
}

static const struct tfcc_tensor_info *input_find(const struct tfcc_model *model, const char *name)
{
    const struct tfcc_tensor_info *info;
    size_t i = 0;
    while ((info = tfcc_model_input(model, i)) != NULL && strcmp(info->name, name) != 0)
        i++;
    return info;
}

/* Elements of [0, 1), of whole numbers 0 to 99 (booleans 0 and 1); half-width floats lie in [0.5, 1), where
 * they are easily made. */
static void random_fill(const struct tfcc_tensor *t, uint64_t seed)
{
    size_t width = tfcc_dtype_bytes(t->dtype), n = (size_t)t->bytes / width;
    struct a_random random;
    a_random_init(&random, seed);
    for (size_t i = 0; i < n; i++) {
        char *at = (char *)t->data + i * width;
        uint64_t bits = a_random_u64(&random);
        double unit = (double)(bits >> 11) * 0x1p-53;
        float single = (float)(bits >> 40) * 0x1p-24F;
        uint64_t whole = t->dtype == TFCC_BOOL ? bits & 1 : bits % 100; /* little-endian: low bytes first */
        uint16_t half = (uint16_t)(t->dtype == TFCC_BF16 ? 0x3f00 | (bits & 0x7f) : 0x3800 | (bits & 0x3ff));
        const void *from = t->dtype == TFCC_F32   ? &single
                           : t->dtype == TFCC_F64 ? (const void *)&unit
                                                  : &whole;
        memcpy(at, t->dtype == TFCC_F16 || t->dtype == TFCC_BF16 ? &half : from, width);
    }
}

static int input_generate(const struct tfcc_model *model, struct cli_tfcc_input *input, struct a_view words,
                          struct a_error *reterr)
{
    struct a_view rest, kind = a_view_split(words, ':', &rest);
    bool is_random = a_view_is(kind, "random");
    const struct tfcc_tensor_info *info = input_find(model, input->tensor.name);
    uint64_t seed = 1, bytes;
    if (info == NULL)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "model %s: no input \"%s\" (astra tfcc inspect shows them)", tfcc_model_name(model),
                      input->tensor.name);
    input->tensor.dtype = info->dtype;
    input->tensor.rank = info->rank;
    for (uint32_t i = 0; i < info->rank; i++)
        input->dims[i] = info->dims[i] >= 0 ? info->dims[i] : 1;
    struct a_view after, first = a_view_split(rest, ':', &after);
    bool has_shape = first.len > 0 && (!is_random || memchr(first.ptr, 'x', first.len) != NULL);
    struct a_view seed_words = has_shape ? after : rest;
    if ((has_shape && !shape_parse(first, input)) || (!is_random && after.len > 0) ||
        (is_random && seed_words.len > 0 && !a_text_u64(seed_words, &seed)))
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "input \"%s\": \"" A_VIEW_FMT "\" is not understood",
                      input->tensor.name, A_VIEW_ARG(words));
    if (!tfcc_tensor_bytes(info->dtype, input->dims, input->tensor.rank, &bytes))
        return a_fail(reterr, -EFBIG, A_CODE_USAGE, "input \"%s\": this shape is too large",
                      input->tensor.name);
    int rc = input_alloc(input, bytes, reterr);
    if (rc == 0 && is_random)
        random_fill(&input->tensor, seed);
    return rc;
}

int cli_tfcc_input_make(const struct tfcc_model *model, const char *name, const char *words,
                        struct cli_tfcc_input *ret, struct a_error *reterr)
{
    struct a_view rest, v = a_view_str(words), kind = a_view_split(v, ':', &rest);
    ret->tensor = (struct tfcc_tensor){.name = name, .dims = ret->dims};
    if (a_view_is(kind, "zeros") || a_view_is(kind, "random"))
        return input_generate(model, ret, v, reterr);
    return input_from_file(ret, words, reterr);
}

void cli_tfcc_input_deinit(struct cli_tfcc_input *input)
{
    a_free(input->tensor.data);
    input->tensor.data = NULL;
}
