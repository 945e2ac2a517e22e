/* Packing a folder of code: a tar archive in zstd whose bytes depend on nothing but names, contents and the
 * executable bit, so that the same code has the same digest everywhere. */
#ifndef ARTIFACT_PACK_H
#define ARTIFACT_PACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

#define ARTIFACT_IGNORE_FILE ".astraignore"
#define ARTIFACT_PACK_FILES_MAX 100000

struct artifact_packed {
    uint64_t files, bytes; /* put in, before compression */
};

/* Packs what lies in `folder`, less what its .astraignore names (as a .gitignore does: *, ?, **, a leading or
 * inner / anchors, a trailing / means folders, ! takes back) and .git, __pycache__, *.pyc. Writes the archive
 * to `output` (which may lie inside and is then left out). Blocks. -EINVAL (A_CODE_INVALID) for a link that
 * leaves the folder, for a file that is neither file, folder nor link, and for more than
 * ARTIFACT_PACK_FILES_MAX files. */
int artifact_pack(const char *folder, const char *output, struct artifact_packed *ret,
                  struct a_error *reterr) A_MUST_CHECK;

/* One line of an ignore file against a path relative to the folder; false for blank lines and comments. */
bool artifact_ignore_matches(struct a_view pattern, struct a_view path, bool is_dir);

#endif
