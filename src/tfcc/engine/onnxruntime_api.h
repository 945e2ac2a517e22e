/* The part of ONNX Runtime's C API that the engine uses, declared here because no package brings its header.
 * The API is one table of function pointers whose slots never move from version to version; a slot that a
 * version lacks lies beyond that version's table, which is why GetApi() is asked for a certain one. The
 * numbers were confirmed by running every call (tests/unit/test_tfcc_onnxruntime.c does so again). */
#ifndef A_TFCC_ENGINE_ONNXRUNTIME_API_H
#define A_TFCC_ENGINE_ONNXRUNTIME_API_H

#include <stddef.h>
#include <stdint.h>

/* What GetApi() is asked for: 1.24, the oldest release that is tested for. */
#define ORT_API_VERSION 24

struct ort_status; /* NULL = ok */
struct ort_env;
struct ort_session;
struct ort_session_options;
struct ort_run_options;
struct ort_value;
struct ort_type_info;
struct ort_tensor_info;
struct ort_memory_info;
struct ort_allocator;
struct ort_metadata;

enum {
    ORT_LOG_FATAL = 4,
    ORT_TYPE_TENSOR = 1,      /* ONNX_TYPE_TENSOR */
    ORT_ALLOCATOR_DEVICE = 0, /* OrtDeviceAllocator: no arena */
    ORT_MEMORY_DEFAULT = 0,
};

/* OrtErrorCode, as far as it is told apart here. */
enum {
    ORT_FAIL = 1,
    ORT_INVALID_ARGUMENT = 2,
    ORT_NO_SUCHFILE = 3,
};

/* X(slot, name, result, (arguments)) */
#define ORT_CALLS(X)                                                                                         \
    X(1, error_code, int, (const struct ort_status *))                                                       \
    X(2, error_message, const char *, (const struct ort_status *))                                           \
    X(3, create_env, struct ort_status *, (int level, const char *id, struct ort_env **))                    \
    X(7, create_session, struct ort_status *,                                                                \
      (const struct ort_env *, const char *path, const struct ort_session_options *, struct ort_session **)) \
    X(8, create_session_from_array, struct ort_status *,                                                     \
      (const struct ort_env *, const void *, size_t, const struct ort_session_options *,                     \
       struct ort_session **))                                                                               \
    X(9, run, struct ort_status *,                                                                           \
      (struct ort_session *, const struct ort_run_options *, const char *const *input_names,                 \
       const struct ort_value *const *inputs, size_t n_inputs, const char *const *output_names,              \
       size_t n_outputs, struct ort_value **outputs))                                                        \
    X(10, create_session_options, struct ort_status *, (struct ort_session_options **))                      \
    X(17, disable_memory_pattern, struct ort_status *, (struct ort_session_options *))                       \
    X(22, set_log_severity, struct ort_status *, (struct ort_session_options *, int level))                  \
    X(24, set_intra_op_threads, struct ort_status *, (struct ort_session_options *, int))                    \
    X(25, set_inter_op_threads, struct ort_status *, (struct ort_session_options *, int))                    \
    X(30, input_count, struct ort_status *, (const struct ort_session *, size_t *))                          \
    X(31, output_count, struct ort_status *, (const struct ort_session *, size_t *))                         \
    X(33, input_type, struct ort_status *, (const struct ort_session *, size_t, struct ort_type_info **))    \
    X(34, output_type, struct ort_status *, (const struct ort_session *, size_t, struct ort_type_info **))   \
    X(36, input_name, struct ort_status *,                                                                   \
      (const struct ort_session *, size_t, struct ort_allocator *, char **))                                 \
    X(37, output_name, struct ort_status *,                                                                  \
      (const struct ort_session *, size_t, struct ort_allocator *, char **))                                 \
    X(39, create_run_options, struct ort_status *, (struct ort_run_options **))                              \
    X(46, run_terminate, struct ort_status *, (struct ort_run_options *))                                    \
    X(49, create_tensor, struct ort_status *,                                                                \
      (const struct ort_memory_info *, void *data, size_t bytes, const int64_t *dims, size_t rank, int type, \
       struct ort_value **))                                                                                 \
    X(50, is_tensor, struct ort_status *, (const struct ort_value *, int *))                                 \
    X(51, tensor_data, struct ort_status *, (struct ort_value *, void **))                                   \
    X(55, cast_to_tensor_info, struct ort_status *,                                                          \
      (const struct ort_type_info *, const struct ort_tensor_info **))                                       \
    X(56, onnx_type, struct ort_status *, (const struct ort_type_info *, int *))                             \
    X(60, element_type, struct ort_status *, (const struct ort_tensor_info *, int *))                        \
    X(61, dims_count, struct ort_status *, (const struct ort_tensor_info *, size_t *))                       \
    X(62, dims, struct ort_status *, (const struct ort_tensor_info *, int64_t *, size_t))                    \
    X(65, tensor_info, struct ort_status *, (const struct ort_value *, struct ort_tensor_info **))           \
    X(69, create_cpu_memory_info, struct ort_status *,                                                       \
      (int allocator, int memory, struct ort_memory_info **))                                                \
    X(76, allocator_free, struct ort_status *, (struct ort_allocator *, void *))                             \
    X(78, default_allocator, struct ort_status *, (struct ort_allocator **))                                 \
    X(92, release_env, void, (struct ort_env *))                                                             \
    X(93, release_status, void, (struct ort_status *))                                                       \
    X(94, release_memory_info, void, (struct ort_memory_info *))                                             \
    X(95, release_session, void, (struct ort_session *))                                                     \
    X(96, release_value, void, (struct ort_value *))                                                         \
    X(97, release_run_options, void, (struct ort_run_options *))                                             \
    X(98, release_type_info, void, (struct ort_type_info *))                                                 \
    X(99, release_tensor_info, void, (struct ort_tensor_info *))                                             \
    X(100, release_session_options, void, (struct ort_session_options *))                                    \
    X(111, model_metadata, struct ort_status *, (const struct ort_session *, struct ort_metadata **))        \
    X(116, metadata_lookup, struct ort_status *,                                                             \
      (const struct ort_metadata *, struct ort_allocator *, const char *key, char **))                       \
    X(118, release_metadata, void, (struct ort_metadata *))                                                  \
    X(123, metadata_keys, struct ort_status *,                                                               \
      (const struct ort_metadata *, struct ort_allocator *, char ***, int64_t *))                            \
    X(130, set_config, struct ort_status *, (struct ort_session_options *, const char *, const char *))

struct ort_api {
#define X(slot, name, result, arguments) result(*name) arguments;
    ORT_CALLS(X)
#undef X
};

struct ort_api_base {
    const void *const *(*get_api)(uint32_t version);
    const char *(*version)(void);
};

#endif
