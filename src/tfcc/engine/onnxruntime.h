/* ONNX Runtime behind the engine ABI: libonnxruntime.so.* from the engine folder, opened at run time. */
#ifndef A_TFCC_ENGINE_ONNXRUNTIME_H
#define A_TFCC_ENGINE_ONNXRUNTIME_H

#include "astra/engine.h"

extern const struct astra_engine tfcc_engine_onnxruntime;

#endif
