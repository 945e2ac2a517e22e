/* astra tfcc run: run a model on given inputs, keep its outputs, and tell how long it took. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "cli/tfcc_internal.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "tfcc/npy.h"
#include "tfcc/tensor.h"

struct times {
    uint64_t *ns; /* sorted by times_sort() */
    size_t n;
};

static int by_size(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* The smallest time that at least `percent` of all do not exceed (nearest rank). */
static uint64_t times_percentile(const struct times *times, uint64_t percent)
{
    size_t rank = (times->n * percent + 99) / 100;
    return times->ns[rank > 0 ? rank - 1 : 0];
}

static void ms_print(struct a_buf *out, uint64_t ns)
{
    a_buf_addf(out, "%" PRIu64 ".%03" PRIu64, ns / 1000000, ns / 1000 % 1000);
}

static void times_print(struct a_buf *out, const struct times *times, bool json)
{
    static const struct {
        const char *name;
        uint64_t percent; /* 0 is the least, 100 the greatest */
    } rows[] = {{"min", 0}, {"p50", 50}, {"p99", 99}, {"max", 100}};
    uint64_t sum = 0;
    for (size_t i = 0; i < times->n; i++)
        sum += times->ns[i];
    a_buf_addf(out, json ? ",\"runs\":%zu,\"ms\":{\"mean\":" : "%zu run(s): mean ", times->n);
    ms_print(out, sum / times->n);
    for (size_t i = 0; i < A_ARRAY_SIZE(rows); i++) {
        a_buf_addf(out, json ? ",\"%s\":" : ", %s ", rows[i].name);
        ms_print(out, times_percentile(times, rows[i].percent));
    }
    a_buf_add_str(out, json ? "}" : " ms\n");
}

static void outputs_print(struct a_buf *out, const struct tfcc_result *result, bool json)
{
    const struct tfcc_tensor *t;
    for (size_t i = 0; (t = tfcc_result_output(result, i)) != NULL; i++) {
        if (!json) {
            a_buf_addf(out, "%s ", t->name);
            tfcc_tensor_print(out, t->dtype, t->dims, t->rank);
            a_buf_add_char(out, '\n');
            continue;
        }
        a_buf_add_str(out, i > 0 ? ",{" : "{");
        cli_tfcc_json_text(out, "name", t->name);
        cli_tfcc_json_text(out, "dtype", tfcc_dtype_name(t->dtype));
        cli_tfcc_json_key(out, "shape");
        cli_tfcc_json_shape(out, t->dims, t->rank);
        a_buf_add_char(out, '}');
    }
}

static void result_print(struct a_buf *out, const struct tfcc_runtime *runtime,
                         const struct tfcc_model *model, const struct tfcc_result *result,
                         const struct times *times, bool json)
{
    if (json) {
        a_buf_add_char(out, '{');
        cli_tfcc_json_text(out, "model", tfcc_model_name(model));
        cli_tfcc_json_text(out, "engine", tfcc_runtime_engine(runtime));
        cli_tfcc_json_text(out, "device", tfcc_model_device(model));
        cli_tfcc_json_key(out, "threads");
        a_buf_addf(out, "%" PRIu32, tfcc_model_threads(model));
        cli_tfcc_json_key(out, "outputs");
        a_buf_add_char(out, '[');
    }
    outputs_print(out, result, json);
    a_buf_add_str(out, json ? "]" : "");
    times_print(out, times, json);
    a_buf_add_str(out, json ? "}\n" : "");
}

static int output_write(const struct tfcc_result *result, const struct cli_tfcc_pair *pair,
                        struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf file = {0};
    const struct tfcc_tensor *t;
    size_t i = 0;
    while ((t = tfcc_result_output(result, i)) != NULL && strcmp(t->name, pair->name) != 0)
        i++;
    if (t == NULL)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "the model has no output \"%s\"", pair->name);
    tfcc_npy_print_head(&file, t->dtype, t->dims, t->rank);
    a_buf_add(&file, t->data, (size_t)t->bytes);
    if (file.failed)
        return a_fail_errno(reterr, -ENOMEM, "output \"%s\"", pair->name);
    return sys_file_write_atomic(pair->value, file.ptr, file.len, 0644, reterr);
}

/* Runs once more than counted when counting is what it is about: the first run of a shape plans its memory.
 */
static int model_repeat(struct tfcc_model *model, const struct tfcc_tensor *inputs, size_t n_inputs,
                        struct times *times, struct tfcc_result **ret, struct a_error *reterr)
{
    struct tfcc_error error;
    size_t warm_up = times->n > 1 ? 1 : 0;
    for (size_t i = 0; i < times->n + warm_up; i++) {
        struct tfcc_result *result = NULL;
        uint64_t start_ns = sys_clock_mono_ns();
        if (tfcc_model_run(model, inputs, n_inputs, NULL, &result, &error) != TFCC_OK)
            return cli_tfcc_fail(reterr, &error);
        if (i >= warm_up)
            times->ns[i - warm_up] = sys_clock_mono_ns() - start_ns;
        if (i + 1 == times->n + warm_up)
            *ret = result;
        else
            tfcc_result_free(result);
    }
    qsort(times->ns, times->n, sizeof times->ns[0], by_size);
    return 0;
}

static int run_and_print(const struct cli_tfcc_args *args, const struct tfcc_runtime *runtime,
                         struct tfcc_model *model, const struct tfcc_tensor *inputs, struct a_buf *out,
                         struct a_error *reterr)
{
    struct times times = {.ns = a_alloc_array(args->repeat, sizeof *times.ns), .n = args->repeat};
    struct tfcc_result *result = NULL;
    int rc = model_repeat(model, inputs, args->n_inputs, &times, &result, reterr);
    for (size_t i = 0; i < args->n_outputs && rc == 0; i++)
        rc = output_write(result, &args->outputs[i], reterr);
    if (rc == 0)
        result_print(out, runtime, model, result, &times, args->json);
    tfcc_result_free(result);
    a_free(times.ns);
    return rc;
}

int cli_tfcc_run(const struct cli_tfcc_args *args, struct a_buf *out, struct a_error *reterr)
{
    struct tfcc_runtime *runtime = NULL;
    struct tfcc_model *model = NULL;
    struct cli_tfcc_input inputs[CLI_TFCC_PORTS_MAX] = {0};
    struct tfcc_tensor tensors[CLI_TFCC_PORTS_MAX] = {0};
    int rc = cli_tfcc_open(args, &runtime, &model, reterr);
    if (rc != 0)
        return rc;
    for (size_t i = 0; i < args->n_inputs && rc == 0; i++) {
        rc = cli_tfcc_input_make(model, args->inputs[i].name, args->inputs[i].value, &inputs[i], reterr);
        tensors[i] = inputs[i].tensor;
    }
    if (rc == 0)
        rc = run_and_print(args, runtime, model, tensors, out, reterr);
    for (size_t i = 0; i < args->n_inputs; i++)
        cli_tfcc_input_deinit(&inputs[i]);
    tfcc_model_close(model);
    tfcc_runtime_close(runtime);
    return rc;
}
