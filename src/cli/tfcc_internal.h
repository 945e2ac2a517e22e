/* What the files of `astra tfcc` share. */
#ifndef A_CLI_TFCC_INTERNAL_H
#define A_CLI_TFCC_INTERNAL_H

#include <stdbool.h>

#include "astra/tfcc.h"
#include "base/buf.h"
#include "base/error.h"

#define CLI_TFCC_PORTS_MAX 64
#define CLI_TFCC_REPEAT_MAX 10000000

/* NAME=VALUE of --input and --output. */
struct cli_tfcc_pair {
    char *name; /* owned */
    const char *value;
};

struct cli_tfcc_args {
    const char *model;
    const char *device; /* NULL = default */
    uint32_t threads;   /* 0 = default */
    uint32_t repeat;    /* 1 or more */
    bool json;
    struct cli_tfcc_pair inputs[CLI_TFCC_PORTS_MAX];
    size_t n_inputs;
    struct cli_tfcc_pair outputs[CLI_TFCC_PORTS_MAX];
    size_t n_outputs;
};

/* An input made from its words. Zero-initialised = none. */
struct cli_tfcc_input {
    struct tfcc_tensor tensor;
    int64_t dims[TFCC_RANK_MAX];
};

/* FILE.npy | zeros[:SHAPE] | random[:SHAPE][:SEED], SHAPE as 1x3x48x320 (7x for one dimension). Without a
 * shape the model's own is taken, with 1 where it is open. `name` is borrowed. */
int cli_tfcc_input_make(const struct tfcc_model *model, const char *name, const char *words,
                        struct cli_tfcc_input *ret, struct a_error *reterr) A_MUST_CHECK;
void cli_tfcc_input_deinit(struct cli_tfcc_input *input);

/* Opens runtime and model as the arguments say. */
int cli_tfcc_open(const struct cli_tfcc_args *args, struct tfcc_runtime **ret_runtime,
                  struct tfcc_model **ret_model, struct a_error *reterr) A_MUST_CHECK;
/* A library error as one of ours. */
int cli_tfcc_fail(struct a_error *reterr, const struct tfcc_error *error);
/* The commands; what is to be printed goes to `out`. */
int cli_tfcc_inspect(const struct cli_tfcc_args *args, struct a_buf *out,
                     struct a_error *reterr) A_MUST_CHECK;
int cli_tfcc_run(const struct cli_tfcc_args *args, struct a_buf *out, struct a_error *reterr) A_MUST_CHECK;

/* `,"name":` (without the comma after '{' or '['), then the value. */
void cli_tfcc_json_key(struct a_buf *out, const char *name);
void cli_tfcc_json_text(struct a_buf *out, const char *name, const char *value);
void cli_tfcc_json_shape(struct a_buf *out, const int64_t *dims, uint32_t rank); /* null where open */

#endif
