/* Unpacking: a tar archive (zstd, gzip or plain) becomes a folder, whole or not at all.
 *
 * Archives come from users, by way of a digest that says only that they are what was put, not that they are
 * harmless. So: names stay inside, links point inside, nothing but files, folders and links comes out, no
 * set-user-id bits, and size and count are bounded. */
#ifndef ARTIFACT_UNPACK_H
#define ARTIFACT_UNPACK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"

/* Zero = default. */
struct artifact_limits {
    uint64_t bytes;   /* unpacked; 64 GiB */
    uint64_t entries; /* 2,000,000 */
};

/* Unpacks into a fresh folder beside `folder` and renames it. -EEXIST when the folder is there already. On
 * failure nothing is left: -EINVAL (A_CODE_ENV_UNPACK) for what the archive does wrong, else -errno (-ENOSPC
 * ...). Blocks for seconds: io pool. */
int artifact_unpack(const char *archive, const char *folder, const struct artifact_limits *limits,
                    struct a_error *reterr) A_MUST_CHECK;
/* The text of the archive's file `name`, which must be among its first 16 entries and have at most `max`
 * bytes. -ENOENT when it is not. */
int artifact_peek(const char *archive, const char *name, size_t max, struct a_buf *ret_text,
                  struct a_error *reterr) A_MUST_CHECK;
/* Whether a link at `path` (relative, checked) to `target` stays inside the folder. */
bool artifact_link_is_inside(struct a_view path, struct a_view target);

#endif
