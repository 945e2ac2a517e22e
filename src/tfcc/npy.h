/* numpy's .npy files, format 1.0 to 3.0: one dense array with its type and shape. Pure; the command line
 * reads inputs from them and writes outputs to them. */
#ifndef A_TFCC_NPY_H
#define A_TFCC_NPY_H

#include "astra/tfcc.h"
#include "base/buf.h"

struct tfcc_npy {
    int32_t dtype; /* enum tfcc_dtype */
    uint32_t rank;
    int64_t dims[TFCC_RANK_MAX];
    struct a_view data; /* points into the file; exactly what type and shape make */
};

/* Little-endian arrays in C order of the types that TFCC has; anything else is TFCC_E_INVALID with what and
 * why. Bytes after the array are refused, too. */
int tfcc_npy_parse(struct a_view file, struct tfcc_npy *ret, struct tfcc_error *reterr) A_MUST_CHECK;
/* Adds the file's head; the array's bytes follow it. A bfloat16 array is written as uint16. */
void tfcc_npy_print_head(struct a_buf *out, int32_t dtype, const int64_t *dims, uint32_t rank);

#endif
