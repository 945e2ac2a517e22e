/* SHA-256 (OpenSSL): names of artifacts and node ids. Blocking; hash large files in the hash pool. */
#ifndef A_SYS_SHA256_H
#define A_SYS_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "base/error.h"
#include "types/digest.h"

struct sys_sha256;

void sys_sha256_bytes(const void *bytes, size_t len, struct a_digest *ret_digest);

/* Streaming: new, update any number of times, finish (which frees). */
struct sys_sha256 *sys_sha256_new(void);
void sys_sha256_update(struct sys_sha256 *s, const void *bytes, size_t len);
/* `s` is gone afterwards. */
void sys_sha256_finish(struct sys_sha256 *s, struct a_digest *ret_digest);
/* Instead of finish, when the digest is not wanted. NULL is allowed. */
void sys_sha256_free(struct sys_sha256 *s);

/* The whole of an open file from its beginning (its offset does not move), or of the file at `path`. */
int sys_sha256_fd(int fd, struct a_digest *ret_digest, uint64_t *ret_size,
                  struct a_error *reterr) A_MUST_CHECK;
int sys_sha256_file(const char *path, struct a_digest *ret_digest, uint64_t *ret_size,
                    struct a_error *reterr) A_MUST_CHECK;

#endif
