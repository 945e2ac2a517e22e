/* From the words of a user to files: which file is model "det", where does the engine lie. */
#ifndef A_TFCC_LOCATE_H
#define A_TFCC_LOCATE_H

#include "astra/tfcc.h"
#include "base/macro.h"
#include "types/digest.h"

/* The file that `model` stands for (tfcc_model_open() says how), absolute and without links. `models_dir` may
 * be NULL. `ret` holds SYS_EMBED_PATH_MAX bytes. */
int tfcc_locate_model(const char *models_dir, const char *model, char *ret,
                      struct tfcc_error *reterr) A_MUST_CHECK;
/* The folder of the engine: `given`, else $ASTRA_TFCC_ENGINE_DIR, else beside this code's own library. */
int tfcc_locate_engine_dir(const char *given, char *ret, struct tfcc_error *reterr) A_MUST_CHECK;
/* "sha256:HEX" when a part of the path is the digest of an artifact (64 hex digits, "sha256:" or "sha256-" in
 * front or nothing, ".anything" behind or nothing), else "". `ret` holds A_DIGEST_TEXT + 1 bytes. */
void tfcc_locate_digest(const char *path, char *ret);

#endif
