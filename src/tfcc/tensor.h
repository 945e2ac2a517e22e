/* Arithmetic on element types, shapes and sizes that somebody else chose. Pure. */
#ifndef A_TFCC_TENSOR_H
#define A_TFCC_TENSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "astra/tfcc.h"
#include "base/buf.h"

/* The bytes of a tensor; false when a dimension is negative, the type unknown, or the size does not fit. */
bool tfcc_tensor_bytes(int dtype, const int64_t *dims, uint32_t rank, uint64_t *ret) A_MUST_CHECK;
/* True when the dims are of the declared rank and equal to it wherever it is not -1. */
bool tfcc_tensor_fits(const struct tfcc_tensor_info *declared, const int64_t *dims, uint32_t rank);
/* "FP32 [1,3,?,320]". */
void tfcc_tensor_print(struct a_buf *b, int dtype, const int64_t *dims, uint32_t rank);
/* The type of that word (any case), TFCC_DTYPE_NONE when there is none. */
int tfcc_dtype_parse(struct a_view word);

#endif
