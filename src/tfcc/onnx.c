#include "tfcc/onnx.h"

/* Wire types and field numbers of onnx.proto's ModelProto and OperatorSetIdProto. */
enum {
    WIRE_VARINT = 0,
    WIRE_FIXED64 = 1,
    WIRE_BYTES = 2,
    WIRE_FIXED32 = 5,

    MODEL_IR_VERSION = 1,
    MODEL_PRODUCER_NAME = 2,
    MODEL_PRODUCER_VERSION = 3,
    MODEL_GRAPH = 7,
    MODEL_OPSET_IMPORT = 8,
    OPSET_DOMAIN = 1,
    OPSET_VERSION = 2,
};

struct field {
    uint32_t number;
    uint32_t wire;
    uint64_t value;      /* WIRE_VARINT */
    struct a_view bytes; /* WIRE_BYTES */
};

static bool varint_take(struct a_view *rest, uint64_t *ret)
{
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64 && rest->len > 0; shift += 7) {
        uint8_t byte = (uint8_t)*rest->ptr;
        *rest = (struct a_view){rest->ptr + 1, rest->len - 1};
        value |= (uint64_t)(byte & 0x7f) << shift;
        if ((byte & 0x80) == 0) {
            *ret = value;
            return true;
        }
    }
    return false;
}

static bool bytes_take(struct a_view *rest, uint64_t n, struct a_view *ret)
{
    if (n > rest->len)
        return false;
    *ret = (struct a_view){rest->ptr, (size_t)n};
    *rest = (struct a_view){rest->ptr + n, rest->len - (size_t)n};
    return true;
}

static bool field_take(struct a_view *rest, struct field *ret)
{
    uint64_t tag, len;
    if (!varint_take(rest, &tag) || tag >> 3 == 0 || tag >> 3 > (1U << 29) - 1)
        return false;
    *ret = (struct field){.number = (uint32_t)(tag >> 3), .wire = (uint32_t)(tag & 7)};
    switch (ret->wire) {
    case WIRE_VARINT:
        return varint_take(rest, &ret->value);
    case WIRE_BYTES:
        return varint_take(rest, &len) && bytes_take(rest, len, &ret->bytes);
    case WIRE_FIXED64:
        return bytes_take(rest, 8, &ret->bytes);
    case WIRE_FIXED32:
        return bytes_take(rest, 4, &ret->bytes);
    default:
        return false;
    }
}

static bool opset_add(struct tfcc_onnx *onnx, struct a_view message)
{
    struct tfcc_onnx_opset opset = {0};
    struct field field;
    while (message.len > 0) {
        if (!field_take(&message, &field))
            return false;
        if (field.number == OPSET_DOMAIN && field.wire == WIRE_BYTES)
            opset.domain = field.bytes;
        else if (field.number == OPSET_VERSION && field.wire == WIRE_VARINT)
            opset.version = (int64_t)field.value;
    }
    if (onnx->n_opsets < TFCC_ONNX_OPSETS_MAX)
        onnx->opsets[onnx->n_opsets++] = opset;
    return true;
}

static bool model_field(struct tfcc_onnx *onnx, const struct field *field, bool *has_graph)
{
    if (field->number == MODEL_IR_VERSION && field->wire == WIRE_VARINT)
        onnx->ir_version = (int64_t)field->value;
    if (field->wire != WIRE_BYTES)
        return true;
    if (field->number == MODEL_PRODUCER_NAME)
        onnx->producer = field->bytes;
    if (field->number == MODEL_PRODUCER_VERSION)
        onnx->producer_version = field->bytes;
    if (field->number == MODEL_GRAPH) {
        onnx->graph_bytes = field->bytes.len;
        *has_graph = true;
    }
    return field->number != MODEL_OPSET_IMPORT || opset_add(onnx, field->bytes);
}

bool tfcc_onnx_skim(struct a_view file, struct tfcc_onnx *ret)
{
    struct tfcc_onnx onnx = {0};
    struct field field;
    bool has_graph = false;
    while (file.len > 0)
        if (!field_take(&file, &field) || !model_field(&onnx, &field, &has_graph))
            return false;
    if (onnx.ir_version <= 0 || !has_graph)
        return false;
    *ret = onnx;
    return true;
}
