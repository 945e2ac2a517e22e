#include "cli/tfcc.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "base/text.h"
#include "cli/tfcc_internal.h"

static const char usage_text[] =
    "usage: astra tfcc inspect MODEL [-o json]\n"
    "       astra tfcc run MODEL --input NAME=SPEC ... [--output NAME=FILE.npy ...] [--repeat N] [-o json]\n"
    "\n"
    "MODEL is a path, or a name in the folder $ASTRA_MODELS.\n"
    "SPEC is FILE.npy, zeros[:SHAPE] or random[:SHAPE][:SEED]; SHAPE is written 1x3x48x320 (7x: one "
    "dimension).\n"
    "\n"
    "  --threads N    threads of one run (default: $OMP_NUM_THREADS, else 1)\n"
    "  --device NAME  where to run (default: cpu)\n"
    "  --repeat N     run N times, after one run that is not counted, and tell p50 and p99\n"
    "  -o json        print one JSON object\n";

int cli_tfcc_fail(struct a_error *reterr, const struct tfcc_error *error)
{
    static const enum a_code codes[] = {
        [TFCC_E_INVALID] = A_CODE_INVALID,
        [TFCC_E_NOT_FOUND] = A_CODE_NOT_FOUND,
        [TFCC_E_MODEL_INVALID] = A_CODE_MODEL_INVALID,
        [TFCC_E_ENGINE_MISSING] = A_CODE_ENGINE_MISSING,
        [TFCC_E_OS] = A_CODE_OS,
    };
    bool known =
        error->code > 0 && (size_t)error->code < A_ARRAY_SIZE(codes) && codes[error->code] != A_CODE_NONE;
    return a_fail(reterr, -EIO, known ? codes[error->code] : A_CODE_INTERNAL, "%s", error->message);
}

int cli_tfcc_open(const struct cli_tfcc_args *args, struct tfcc_runtime **ret_runtime,
                  struct tfcc_model **ret_model, struct a_error *reterr)
{
    struct tfcc_error error;
    struct tfcc_runtime *runtime = NULL;
    const struct tfcc_model_options options = {
        .size = sizeof options, .device = args->device, .threads = args->threads};
    if (tfcc_runtime_open(NULL, &runtime, &error) != TFCC_OK)
        return cli_tfcc_fail(reterr, &error);
    if (tfcc_model_open(runtime, args->model, &options, ret_model, &error) != TFCC_OK) {
        tfcc_runtime_close(runtime);
        return cli_tfcc_fail(reterr, &error);
    }
    *ret_runtime = runtime;
    return 0;
}

void cli_tfcc_json_key(struct a_buf *out, const char *name)
{
    bool first = out->len == 0 || out->ptr[out->len - 1] == '{' || out->ptr[out->len - 1] == '[';
    if (!first)
        a_buf_add_char(out, ',');
    a_text_print_json(out, a_view_str(name));
    a_buf_add_char(out, ':');
}

void cli_tfcc_json_text(struct a_buf *out, const char *name, const char *value)
{
    cli_tfcc_json_key(out, name);
    a_text_print_json(out, a_view_str(value));
}

void cli_tfcc_json_shape(struct a_buf *out, const int64_t *dims, uint32_t rank)
{
    a_buf_add_char(out, '[');
    for (uint32_t i = 0; i < rank; i++) {
        a_buf_add_str(out, i > 0 ? "," : "");
        if (dims[i] < 0)
            a_buf_add_str(out, "null");
        else
            a_buf_addf(out, "%" PRId64, dims[i]);
    }
    a_buf_add_char(out, ']');
}

static int usage_fail(struct a_error *reterr, const char *what, const char *word)
{
    return a_fail(reterr, -EINVAL, A_CODE_USAGE, "%s%s%s", what, word[0] != '\0' ? ": " : "", word);
}

static int number_parse(const char *option, const char *value, uint32_t max, uint32_t *ret,
                        struct a_error *reterr)
{
    uint64_t n;
    if (!a_text_u64(a_view_str(value), &n) || n == 0 || n > max)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "%s: \"%s\" is no number from 1 to %" PRIu32, option,
                      value, max);
    *ret = (uint32_t)n;
    return 0;
}

static int pair_parse(const char *option, const char *value, struct cli_tfcc_pair *pairs, size_t *n,
                      struct a_error *reterr)
{
    const char *equals = strchr(value, '=');
    if (equals == NULL || equals == value || equals[1] == '\0')
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "%s: \"%s\" is not NAME=VALUE", option, value);
    if (*n == CLI_TFCC_PORTS_MAX)
        return a_fail(reterr, -EINVAL, A_CODE_USAGE, "%s: at most %d of them", option, CLI_TFCC_PORTS_MAX);
    pairs[(*n)++] = (struct cli_tfcc_pair){a_strndup(value, (size_t)(equals - value)), equals + 1};
    return 0;
}

static int option_parse(struct cli_tfcc_args *args, const char *option, const char *value,
                        struct a_error *reterr)
{
    if (strcmp(option, "--input") == 0)
        return pair_parse(option, value, args->inputs, &args->n_inputs, reterr);
    if (strcmp(option, "--output") == 0)
        return pair_parse(option, value, args->outputs, &args->n_outputs, reterr);
    if (strcmp(option, "--threads") == 0)
        return number_parse(option, value, 1024, &args->threads, reterr);
    if (strcmp(option, "--repeat") == 0)
        return number_parse(option, value, CLI_TFCC_REPEAT_MAX, &args->repeat, reterr);
    if (strcmp(option, "--device") == 0) {
        args->device = value;
        return 0;
    }
    if (strcmp(option, "-o") != 0)
        return usage_fail(reterr, "no such option", option);
    if (strcmp(value, "json") != 0)
        return usage_fail(reterr, "-o knows json, not", value);
    args->json = true;
    return 0;
}

static int args_parse(struct cli_tfcc_args *args, int argc, char **argv, struct a_error *reterr)
{
    args->repeat = 1;
    for (int i = 0; i < argc; i++) {
        if (argv[i][0] != '-') {
            if (args->model != NULL)
                return usage_fail(reterr, "one model at a time, not also", argv[i]);
            args->model = argv[i];
            continue;
        }
        if (i + 1 == argc)
            return usage_fail(reterr, "no such option, or nothing behind it", argv[i]);
        int rc = option_parse(args, argv[i], argv[i + 1], reterr);
        if (rc != 0)
            return rc;
        i++;
    }
    return args->model != NULL ? 0 : usage_fail(reterr, "which model?", "");
}

static void args_deinit(struct cli_tfcc_args *args)
{
    for (size_t i = 0; i < args->n_inputs; i++)
        a_free(args->inputs[i].name);
    for (size_t i = 0; i < args->n_outputs; i++)
        a_free(args->outputs[i].name);
}

int cli_tfcc(int argc, char **argv)
{
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    A_BUF_AUTO struct a_buf out = {0};
    struct cli_tfcc_args args = {0};
    const char *verb = argc > 1 ? argv[1] : "";
    bool is_run = strcmp(verb, "run") == 0;
    if (strcmp(verb, "--help") == 0 || (argc > 2 && strcmp(argv[2], "--help") == 0)) {
        fputs(usage_text, stdout);
        return 0;
    }
    if (!is_run && strcmp(verb, "inspect") != 0) {
        fputs(usage_text, stderr);
        return 2;
    }
    int rc = args_parse(&args, argc - 2, argv + 2, &error);
    if (rc == 0)
        rc = is_run ? cli_tfcc_run(&args, &out, &error) : cli_tfcc_inspect(&args, &out, &error);
    args_deinit(&args);
    if (rc != 0) {
        fprintf(stderr, "astra tfcc %s: %s\n", verb, a_error_text(&error));
        return a_code_exit(error.code);
    }
    fwrite(out.ptr, 1, out.len, stdout);
    return fflush(stdout) == 0 ? 0 : 1;
}
