/* A node's cache of artifacts, keyed by digest: blobs as they were put, and the folders that archives unpack
 * to.
 *
 *     DIR/blob/HEX        verified on arrival
 *     DIR/tree/HEX/       unpacked; made beside and renamed, so it is whole or absent
 *     DIR/part/HEX        arriving
 *     DIR/ref/HEX.NODE.N  one file for each claim (number N of node NODE) that uses the artifact
 *     DIR/lock/HEX        held by who fetches or unpacks it
 *
 * Several agents of one host may share a cache: locks keep two from fetching or unpacking one artifact at
 * once, ref files keep one from removing what another uses. Unpacked folders of an earlier boot are made
 * again: a rename that survived a power cut says nothing of the contents. All calls block: pools. */
#ifndef ARTIFACT_CACHE_H
#define ARTIFACT_CACHE_H

#include <stdbool.h>
#include <stdint.h>

#include "artifact/unpack.h"
#include "base/error.h"
#include "types/digest.h"

#define ARTIFACT_CACHE_BYTES (UINT64_C(40) << 30) /* default of max_bytes */
#define ARTIFACT_CACHE_AGE_MS (10 * 60 * 1000)    /* what is younger stays: a rollout comes back to it */

struct artifact_cache {
    char *dir;
};

/* Makes the folders. */
int artifact_cache_open(struct artifact_cache *c, const char *dir, struct a_error *reterr) A_MUST_CHECK;
void artifact_cache_close(struct artifact_cache *c); /* safe twice */

/* Paths, owned by the caller; nothing is said of whether they exist. */
char *artifact_cache_blob(const struct artifact_cache *c, const struct a_digest *d);
char *artifact_cache_tree(const struct artifact_cache *c, const struct a_digest *d);
char *artifact_cache_part(const struct artifact_cache *c, const struct a_digest *d);
bool artifact_cache_has(const struct artifact_cache *c, const struct a_digest *d);

/* Exclusive work on one artifact, across processes; waits up to `timeout_ms` (-ETIMEDOUT). Close the
 * descriptor to end it. */
int artifact_cache_lock(const struct artifact_cache *c, const struct a_digest *d, uint64_t timeout_ms,
                        int *ret_fd, struct a_error *reterr) A_MUST_CHECK;
/* The part is complete: verifies it and makes it the blob. -EBADMSG (A_CODE_ARTIFACT_DIGEST), and the part is
 * gone, when its bytes are others. Under the lock. */
int artifact_cache_commit(const struct artifact_cache *c, const struct a_digest *d,
                          struct a_error *reterr) A_MUST_CHECK;
/* The folder of the blob's archive, unpacked if it is not yet. Takes the lock. */
int artifact_cache_unpack(const struct artifact_cache *c, const struct a_digest *d,
                          const struct artifact_limits *limits, char **ret_folder,
                          struct a_error *reterr) A_MUST_CHECK;

/* A claim begins to use it. */
int artifact_cache_ref(const struct artifact_cache *c, const struct a_digest *d, const char *node,
                       uint64_t claim, struct a_error *reterr) A_MUST_CHECK;
/* Ends all uses by claims of `node` for which keep(ctx, claim) is false. */
void artifact_cache_unref(const struct artifact_cache *c, const char *node,
                          bool (*keep)(void *ctx, uint64_t claim), void *ctx);
/* Removes what no claim uses, oldest first, until all takes at most `max_bytes`; what is younger than
 * `age_ms` stays. Returns the bytes taken afterwards. */
uint64_t artifact_cache_collect(const struct artifact_cache *c, uint64_t max_bytes, uint64_t age_ms);

#endif
