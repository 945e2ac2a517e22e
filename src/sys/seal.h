/* Sealing small secrets for the disk: AES-256-GCM (NIST SP 800-38D) under one key of a file, a fresh nonce
 * for each. What is sealed names where it belongs (`place`): moved elsewhere it does not open. */
#ifndef A_SYS_SEAL_H
#define A_SYS_SEAL_H

#include "base/buf.h"
#include "base/error.h"
#include "sys/secret.h"

#define SYS_SEAL_KEY_BYTES 32

/* Appends hex digits to `ret`: nonce, ciphertext, tag. `key` holds SYS_SEAL_KEY_BYTES. */
int sys_seal(const struct sys_secret *key, struct a_view place, struct a_view plain, struct a_buf *ret,
             struct a_error *reterr) A_MUST_CHECK;
/* -EBADMSG when it was sealed with another key, for another place, or was changed since; -EINVAL when it is
 * no such text. */
int sys_unseal(const struct sys_secret *key, struct a_view place, struct a_view sealed,
               struct sys_secret *ret, struct a_error *reterr) A_MUST_CHECK;

/* The key in the file (64 hex digits). -ENOENT, without a message, when there is none; -EINVAL when it holds
 * something else. */
int sys_seal_key_read(const char *path, struct sys_secret *ret_key, struct a_error *reterr) A_MUST_CHECK;
/* A new key in a new file, mode 0600. */
int sys_seal_key_make(const char *path, struct sys_secret *ret_key, struct a_error *reterr) A_MUST_CHECK;

#endif
