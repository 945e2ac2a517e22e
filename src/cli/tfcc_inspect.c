/* astra tfcc inspect: what a model file is, as its engine sees it. */
#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "cli/tfcc_internal.h"
#include "sys/file.h"
#include "sys/sha256.h"
#include "tfcc/onnx.h"
#include "tfcc/tensor.h"

struct facts {
    const struct tfcc_runtime *runtime;
    const struct tfcc_model *model;
    char digest[A_DIGEST_TEXT + 1];
    uint64_t bytes;
    bool is_onnx;
    struct tfcc_onnx onnx; /* points into the mapped file */
};

typedef const struct tfcc_tensor_info *port_get(const struct tfcc_model *model, size_t index);

static void ports_json(struct a_buf *out, const char *name, const struct tfcc_model *model, port_get *get)
{
    const struct tfcc_tensor_info *info;
    cli_tfcc_json_key(out, name);
    a_buf_add_char(out, '[');
    for (size_t i = 0; (info = get(model, i)) != NULL; i++) {
        a_buf_add_str(out, i > 0 ? ",{" : "{");
        cli_tfcc_json_text(out, "name", info->name);
        cli_tfcc_json_text(out, "dtype", tfcc_dtype_name(info->dtype));
        cli_tfcc_json_key(out, "shape");
        cli_tfcc_json_shape(out, info->dims, info->rank);
        a_buf_add_char(out, '}');
    }
    a_buf_add_char(out, ']');
}

static void metadata_json(struct a_buf *out, const struct tfcc_model *model)
{
    const char *key;
    cli_tfcc_json_key(out, "metadata");
    a_buf_add_char(out, '{');
    for (size_t i = 0; (key = tfcc_model_metadata_key(model, i)) != NULL; i++)
        cli_tfcc_json_text(out, key, tfcc_model_metadata(model, key));
    a_buf_add_char(out, '}');
}

static void view_json(struct a_buf *out, const char *name, struct a_view value)
{
    cli_tfcc_json_key(out, name);
    a_text_print_json(out, value);
}

static void onnx_json(struct a_buf *out, const struct tfcc_onnx *onnx)
{
    cli_tfcc_json_key(out, "irVersion");
    a_buf_addf(out, "%" PRId64, onnx->ir_version);
    view_json(out, "producer", onnx->producer);
    view_json(out, "producerVersion", onnx->producer_version);
    cli_tfcc_json_key(out, "opsets");
    a_buf_add_char(out, '{');
    for (size_t i = 0; i < onnx->n_opsets; i++) {
        struct a_view domain = onnx->opsets[i].domain;
        a_buf_add_str(out, i > 0 ? "," : "");
        a_text_print_json(out, domain.len > 0 ? domain : A_VIEW_LIT("ai.onnx"));
        a_buf_addf(out, ":%" PRId64, onnx->opsets[i].version);
    }
    a_buf_add_char(out, '}');
}

static void facts_json(struct a_buf *out, const struct facts *f)
{
    struct tfcc_stats stats;
    tfcc_model_stats(f->model, &stats, sizeof stats);
    a_buf_add_char(out, '{');
    cli_tfcc_json_text(out, "model", tfcc_model_name(f->model));
    cli_tfcc_json_text(out, "path", tfcc_model_path(f->model));
    cli_tfcc_json_text(out, "digest", f->digest);
    cli_tfcc_json_key(out, "bytes");
    a_buf_addf(out, "%" PRIu64, f->bytes);
    cli_tfcc_json_text(out, "engine", tfcc_runtime_engine(f->runtime));
    cli_tfcc_json_text(out, "device", tfcc_model_device(f->model));
    cli_tfcc_json_key(out, "threads");
    a_buf_addf(out, "%" PRIu32, tfcc_model_threads(f->model));
    cli_tfcc_json_key(out, "loadMs");
    a_buf_addf(out, "%" PRIu64 ".%03" PRIu64, stats.load_ns / 1000000, stats.load_ns / 1000 % 1000);
    ports_json(out, "inputs", f->model, tfcc_model_input);
    ports_json(out, "outputs", f->model, tfcc_model_output);
    metadata_json(out, f->model);
    if (f->is_onnx)
        onnx_json(out, &f->onnx);
    a_buf_add_str(out, "}\n");
}

static void ports_text(struct a_buf *out, const char *title, const struct tfcc_model *model, port_get *get)
{
    const struct tfcc_tensor_info *info;
    for (size_t i = 0; (info = get(model, i)) != NULL; i++) {
        a_buf_addf(out, "%-10s %s ", i == 0 ? title : "", info->name);
        tfcc_tensor_print(out, info->dtype, info->dims, info->rank);
        a_buf_add_char(out, '\n');
    }
}

static void facts_text(struct a_buf *out, const struct facts *f)
{
    struct tfcc_stats stats;
    const char *key;
    tfcc_model_stats(f->model, &stats, sizeof stats);
    a_buf_addf(out, "%-10s %s\n%-10s %s\n", "model", tfcc_model_name(f->model), "file",
               tfcc_model_path(f->model));
    a_buf_addf(out, "%-10s %" PRIu64 " bytes, %s\n", "", f->bytes, f->digest);
    if (f->is_onnx) {
        a_buf_addf(out, "%-10s ONNX, IR %" PRId64, "format", f->onnx.ir_version);
        for (size_t i = 0; i < f->onnx.n_opsets; i++) {
            struct a_view domain = f->onnx.opsets[i].domain;
            a_buf_addf(out, ", %.*s opset %" PRId64, domain.len > 0 ? (int)domain.len : 7,
                       domain.len > 0 ? domain.ptr : "ai.onnx", f->onnx.opsets[i].version);
        }
        if (f->onnx.producer.len > 0)
            a_buf_addf(out, ", made by " A_VIEW_FMT " " A_VIEW_FMT, A_VIEW_ARG(f->onnx.producer),
                       A_VIEW_ARG(f->onnx.producer_version));
        a_buf_add_char(out, '\n');
    }
    a_buf_addf(out, "%-10s %s on %s, %" PRIu32 " thread%s; loaded in %" PRIu64 " ms\n", "engine",
               tfcc_runtime_engine(f->runtime), tfcc_model_device(f->model), tfcc_model_threads(f->model),
               tfcc_model_threads(f->model) == 1 ? "" : "s", stats.load_ns / 1000000);
    ports_text(out, "inputs", f->model, tfcc_model_input);
    ports_text(out, "outputs", f->model, tfcc_model_output);
    for (size_t i = 0; (key = tfcc_model_metadata_key(f->model, i)) != NULL; i++)
        a_buf_addf(out, "%-10s %s (%zu bytes)\n", i == 0 ? "metadata" : "", key,
                   strlen(tfcc_model_metadata(f->model, key)));
}

static int facts_print(struct facts *f, bool json, struct a_buf *out, struct a_error *reterr)
{
    struct sys_map map = {0};
    struct a_digest digest;
    int rc = sys_sha256_file(tfcc_model_path(f->model), &digest, &f->bytes, reterr);
    if (rc == 0)
        rc = sys_map_open(tfcc_model_path(f->model), &map, reterr);
    if (rc != 0)
        return rc;
    memcpy(f->digest, "sha256:", 7);
    a_digest_hex(&digest, f->digest + 7);
    f->is_onnx = tfcc_onnx_skim(map.bytes, &f->onnx);
    (json ? facts_json : facts_text)(out, f);
    sys_map_close(&map);
    return 0;
}

int cli_tfcc_inspect(const struct cli_tfcc_args *args, struct a_buf *out, struct a_error *reterr)
{
    struct tfcc_runtime *runtime = NULL;
    struct tfcc_model *model = NULL;
    int rc = cli_tfcc_open(args, &runtime, &model, reterr);
    if (rc != 0)
        return rc;
    struct facts facts = {.runtime = runtime, .model = model};
    rc = facts_print(&facts, args->json, out, reterr);
    tfcc_model_close(model);
    tfcc_runtime_close(runtime);
    return rc;
}
