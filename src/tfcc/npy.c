#include "tfcc/npy.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "tfcc/error.h"
#include "tfcc/tensor.h"

#define MAGIC "\x93NUMPY"
#define MAGIC_LEN 6
#define HEAD_ALIGN 64

static const struct {
    const char *descr;
    int32_t dtype;
} types[] = {
    {"<f4", TFCC_F32}, {"|u1", TFCC_U8},  {"|i1", TFCC_I8},  {"<u2", TFCC_U16},
    {"<i2", TFCC_I16}, {"<i4", TFCC_I32}, {"<i8", TFCC_I64}, {"|b1", TFCC_BOOL},
    {"<f2", TFCC_F16}, {"<f8", TFCC_F64}, {"<u4", TFCC_U32}, {"<u8", TFCC_U64},
};

static int fail(struct tfcc_error *reterr, const char *why)
{
    return tfcc_fail(reterr, TFCC_E_INVALID, "not a usable .npy file: %s", why);
}

static uint8_t byte_at(struct a_view v, size_t i)
{
    return (uint8_t)v.ptr[i];
}

/* Splits the file into the text of its head and the array's bytes. */
static bool file_split(struct a_view file, struct a_view *ret_head, struct a_view *ret_data)
{
    if (file.len < MAGIC_LEN + 4 || memcmp(file.ptr, MAGIC, MAGIC_LEN) != 0)
        return false;
    uint8_t major = byte_at(file, 6);
    size_t width = major == 1 ? 2 : 4, at = MAGIC_LEN + 2, len = 0;
    if (major < 1 || major > 3 || file.len < at + width)
        return false;
    for (size_t i = 0; i < width; i++)
        len |= (size_t)byte_at(file, at + i) << (8 * i);
    at += width;
    if (len > file.len - at)
        return false;
    *ret_head = (struct a_view){file.ptr + at, len};
    *ret_data = (struct a_view){file.ptr + at + len, file.len - at - len};
    return true;
}

static struct a_view spaces_trim(struct a_view v)
{
    v = a_view_trim(v);
    while (v.len > 0 && (v.ptr[v.len - 1] == '\n' || v.ptr[v.len - 1] == ' '))
        v.len--;
    return v;
}

/* What stands behind 'key': in the head's dictionary, to the end of the text; empty when there is no such
 * key. */
static struct a_view value_after(struct a_view head, const char *key)
{
    size_t n = strlen(key);
    for (size_t i = 0; i + n + 2 < head.len; i++) {
        const char *at = head.ptr + i;
        if (at[0] != '\'' || memcmp(at + 1, key, n) != 0 || at[n + 1] != '\'')
            continue;
        struct a_view rest = spaces_trim((struct a_view){at + n + 2, head.len - i - n - 2});
        if (rest.len == 0 || rest.ptr[0] != ':')
            return (struct a_view){0};
        return a_view_trim((struct a_view){rest.ptr + 1, rest.len - 1});
    }
    return (struct a_view){0};
}

static bool descr_parse(struct a_view head, int32_t *ret)
{
    struct a_view v = value_after(head, "descr");
    if (v.len < 5 || v.ptr[0] != '\'' || v.ptr[4] != '\'')
        return false;
    for (size_t i = 0; i < A_ARRAY_SIZE(types); i++)
        if (memcmp(v.ptr + 1, types[i].descr, 3) == 0) {
            *ret = types[i].dtype;
            return true;
        }
    return false;
}

static bool shape_parse(struct a_view head, struct tfcc_npy *npy)
{
    struct a_view v = value_after(head, "shape"), after;
    if (v.len < 2 || v.ptr[0] != '(' || memchr(v.ptr, ')', v.len) == NULL)
        return false;
    v = a_view_split((struct a_view){v.ptr + 1, v.len - 1}, ')', &after);
    while (spaces_trim(v).len > 0) {
        uint64_t size;
        if (npy->rank == TFCC_RANK_MAX || !a_text_u64(a_view_trim(a_view_split(v, ',', &v)), &size) ||
            size > INT64_MAX)
            return false;
        npy->dims[npy->rank++] = (int64_t)size;
    }
    return true;
}

int tfcc_npy_parse(struct a_view file, struct tfcc_npy *ret, struct tfcc_error *reterr)
{
    struct tfcc_npy npy = {0};
    struct a_view head;
    uint64_t bytes;
    if (!file_split(file, &head, &npy.data))
        return fail(reterr, "it has no head of format 1 to 3");
    if (!descr_parse(head, &npy.dtype))
        return fail(reterr, "its element type is not one of the little-endian ones that TFCC knows");
    if (!a_view_starts(value_after(head, "fortran_order"), "False"))
        return fail(reterr, "the array is not in C order (numpy.ascontiguousarray makes it so)");
    if (!shape_parse(head, &npy))
        return fail(reterr, "its shape is not understood");
    if (!tfcc_tensor_bytes(npy.dtype, npy.dims, npy.rank, &bytes) || bytes != npy.data.len)
        return fail(reterr, "type and shape ask for another number of bytes than the file holds");
    *ret = npy;
    return TFCC_OK;
}

void tfcc_npy_print_head(struct a_buf *out, int32_t dtype, const int64_t *dims, uint32_t rank)
{
    A_BUF_AUTO struct a_buf head = {0};
    const char *descr = "<u2"; /* of bfloat16, which numpy lacks */
    for (size_t i = 0; i < A_ARRAY_SIZE(types); i++)
        if (types[i].dtype == dtype)
            descr = types[i].descr;
    a_buf_addf(&head, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (uint32_t i = 0; i < rank; i++)
        a_buf_addf(&head, "%" PRId64 "%s", dims[i], rank == 1 ? "," : i + 1 < rank ? ", " : "");
    a_buf_add_str(&head, "), }");
    while ((MAGIC_LEN + 4 + head.len + 1) % HEAD_ALIGN != 0)
        a_buf_add_char(&head, ' ');
    a_buf_add_char(&head, '\n');
    a_buf_add(out, MAGIC "\x01\x00", MAGIC_LEN + 2);
    a_buf_add_char(out, (char)(head.len & 0xff));
    a_buf_add_char(out, (char)(head.len >> 8));
    a_buf_add_view(out, a_buf_view(&head));
}
