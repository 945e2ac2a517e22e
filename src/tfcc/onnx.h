/* A look at the head of an ONNX file (a protobuf ModelProto) without the graph: what an engine does not tell.
 * Pure. */
#ifndef A_TFCC_ONNX_H
#define A_TFCC_ONNX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"

#define TFCC_ONNX_OPSETS_MAX 16

struct tfcc_onnx_opset {
    struct a_view domain; /* empty = ai.onnx */
    int64_t version;
};

/* The views point into the file. */
struct tfcc_onnx {
    int64_t ir_version;
    struct a_view producer;
    struct a_view producer_version;
    struct tfcc_onnx_opset opsets[TFCC_ONNX_OPSETS_MAX]; /* the first so many */
    size_t n_opsets;
    uint64_t graph_bytes;
};

/* False when the bytes are no protobuf message with an IR version and a graph. */
bool tfcc_onnx_skim(struct a_view file, struct tfcc_onnx *ret) A_MUST_CHECK;

#endif
