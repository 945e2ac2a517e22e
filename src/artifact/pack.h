/* Packing: a folder of code becomes a tar.zst whose bytes depend on nothing but what is in it: entries sorted
 * by name, no times, no owners, mode 0644 or 0755. The same code has the same digest, wherever and whenever
 * it is packed.
 *
 * .astraignore in the folder says what stays out, in the words of .gitignore: one pattern a line, '#'
 * comments, '/' at the end for folders only, '/' in front or inside for paths from the folder, '*' '?'
 * '[a-z]' within a name, "**" over names, '!' to take back. What is never code stays out in any case: .git,
 * .hg, .svn, __pycache__, *.pyc, .venv, .pytest_cache, .mypy_cache, .ruff_cache, .DS_Store, .astraignore
 * itself. */
#ifndef ARTIFACT_PACK_H
#define ARTIFACT_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "types/digest.h"

#define ARTIFACT_IGNORE_FILE ".astraignore"

struct artifact_packed {
    struct a_digest digest; /* of the archive */
    uint64_t bytes;         /* of the archive */
    uint64_t unpacked_bytes, files;
};

/* Zero = default. */
struct artifact_pack_limits {
    uint64_t bytes; /* unpacked; 1 GiB: code, not data */
    uint64_t files; /* 100,000 */
};

/* Packs `folder` into the file `archive` (replaced if it is there; not made on failure). -EINVAL
 * (A_CODE_INVALID) for links that lead outside and for what is neither file, folder nor link; -EFBIG past a
 * limit, with the largest files named; else -errno. Blocks. */
int artifact_pack(const char *folder, const char *archive, const struct artifact_pack_limits *limits,
                  struct artifact_packed *ret, struct a_error *reterr) A_MUST_CHECK;

/* Whether the patterns of an ignore file (its text; may be empty) keep the path (relative to the folder) out.
 * The last one that matches decides; what is below a folder that is out is not asked for. */
bool artifact_ignore_matches(struct a_view patterns, struct a_view path, bool is_dir);

#endif
