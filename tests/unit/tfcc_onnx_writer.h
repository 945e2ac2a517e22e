/* Writes small ONNX files (protobuf ModelProto) for tests: chains of one-input nodes over one tensor. */
#ifndef TFCC_ONNX_WRITER_H
#define TFCC_ONNX_WRITER_H

#include <stdint.h>
#include <string.h>

#include "base/buf.h"

static void pb_varint(struct a_buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        a_buf_add_char(b, (char)(v | 0x80));
    a_buf_add_char(b, (char)v);
}

static void pb_int(struct a_buf *b, uint32_t field, uint64_t v)
{
    pb_varint(b, field << 3);
    pb_varint(b, v);
}

static void pb_bytes(struct a_buf *b, uint32_t field, struct a_view v)
{
    pb_varint(b, field << 3 | 2);
    pb_varint(b, v.len);
    a_buf_add_view(b, v);
}

static void pb_text(struct a_buf *b, uint32_t field, const char *text)
{
    pb_bytes(b, field, a_view_str(text));
}

/* Adds the message and empties it. */
static void pb_message(struct a_buf *b, uint32_t field, struct a_buf *message)
{
    pb_bytes(b, field, a_buf_view(message));
    a_buf_deinit(message);
}

/* ValueInfoProto: a tensor; dims below 0 are left open. */
static void onnx_port(struct a_buf *graph, uint32_t field, const char *name, int dtype, const int64_t *dims,
                      size_t rank)
{
    struct a_buf info = {0}, type = {0}, tensor = {0}, shape = {0};
    for (size_t i = 0; i < rank; i++) {
        struct a_buf dim = {0};
        if (dims[i] >= 0)
            pb_int(&dim, 1, (uint64_t)dims[i]);
        else
            pb_text(&dim, 2, "any");
        pb_message(&shape, 1, &dim);
    }
    pb_int(&tensor, 1, (uint64_t)dtype);
    pb_message(&tensor, 2, &shape);
    pb_message(&type, 1, &tensor);
    pb_text(&info, 1, name);
    pb_message(&info, 2, &type);
    pb_message(graph, field, &info);
}

struct onnx_spec {
    const char *op;      /* "Neg", "Identity", ... */
    const char *second;  /* a second input of the node, or NULL: the op then takes x alone */
    int n_nodes;         /* length of the chain; 0 = 1 */
    int dtype;           /* 0 = FP32 */
    const int64_t *dims; /* of x, y and the second input */
    size_t rank;
    const char *key, *value; /* metadata, or NULL */
};

static void onnx_node(struct a_buf *graph, const struct onnx_spec *spec, const char *from, const char *to)
{
    struct a_buf node = {0};
    pb_text(&node, 1, from);
    if (spec->second != NULL)
        pb_text(&node, 1, spec->second);
    pb_text(&node, 2, to);
    pb_text(&node, 4, spec->op);
    pb_message(graph, 1, &node);
}

static void onnx_write(struct a_buf *out, const struct onnx_spec *spec)
{
    struct a_buf graph = {0}, opset = {0}, entry = {0};
    int dtype = spec->dtype != 0 ? spec->dtype : 1, n = spec->n_nodes > 0 ? spec->n_nodes : 1;
    char from[32] = "x", to[32];
    for (int i = 0; i < n; i++) {
        snprintf(to, sizeof to, i + 1 < n ? "t%d" : "y", i);
        onnx_node(&graph, spec, from, to);
        memcpy(from, to, sizeof from);
    }
    pb_text(&graph, 2, "test");
    onnx_port(&graph, 11, "x", dtype, spec->dims, spec->rank);
    if (spec->second != NULL)
        onnx_port(&graph, 11, spec->second, dtype, spec->dims, spec->rank);
    onnx_port(&graph, 12, "y", dtype, spec->dims, spec->rank);
    pb_int(out, 1, 8);
    pb_text(out, 2, "astra-tests");
    pb_message(out, 7, &graph);
    pb_int(&opset, 2, 13);
    pb_message(out, 8, &opset);
    if (spec->key != NULL) {
        pb_text(&entry, 1, spec->key);
        pb_text(&entry, 2, spec->value);
        pb_message(out, 14, &entry);
    }
}

#endif
