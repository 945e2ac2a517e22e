#include "sys/sha256.h"

#include <errno.h>
#include <openssl/evp.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/file.h"

#define CHUNK (128u * 1024u)

struct sys_sha256 {
    EVP_MD_CTX *ctx;
};

void sys_sha256_bytes(const void *bytes, size_t len, struct a_digest *ret_digest)
{
    int ok = EVP_Digest(bytes, len, ret_digest->bytes, NULL, EVP_sha256(), NULL);
    a_assert(ok == 1);
}

struct sys_sha256 *sys_sha256_new(void)
{
    struct sys_sha256 *s = a_new(struct sys_sha256);
    s->ctx = EVP_MD_CTX_new();
    a_assert(s->ctx != NULL);
    int ok = EVP_DigestInit_ex(s->ctx, EVP_sha256(), NULL);
    a_assert(ok == 1);
    return s;
}

void sys_sha256_update(struct sys_sha256 *s, const void *bytes, size_t len)
{
    int ok = EVP_DigestUpdate(s->ctx, bytes, len);
    a_assert(ok == 1);
}

void sys_sha256_finish(struct sys_sha256 *s, struct a_digest *ret_digest)
{
    int ok = EVP_DigestFinal_ex(s->ctx, ret_digest->bytes, NULL);
    a_assert(ok == 1);
    sys_sha256_free(s);
}

void sys_sha256_free(struct sys_sha256 *s)
{
    if (s == NULL)
        return;
    EVP_MD_CTX_free(s->ctx);
    a_free(s);
}

int sys_sha256_fd(int fd, struct a_digest *ret_digest, uint64_t *ret_size, struct a_error *reterr)
{
    A_AUTOFREE char *chunk = a_alloc(CHUNK);
    struct sys_sha256 *s = sys_sha256_new();
    uint64_t size = 0;
    for (;;) {
        ssize_t n = pread(fd, chunk, CHUNK, (off_t)size);
        if (n == 0)
            break;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            int rc = -errno;
            sys_sha256_free(s);
            return a_fail_errno(reterr, rc, "cannot read what is to be hashed");
        }
        sys_sha256_update(s, chunk, (size_t)n);
        size += (uint64_t)n;
    }
    sys_sha256_finish(s, ret_digest);
    if (ret_size != NULL)
        *ret_size = size;
    return 0;
}

int sys_sha256_file(const char *path, struct a_digest *ret_digest, uint64_t *ret_size, struct a_error *reterr)
{
    SYS_FD_AUTO int fd = -1;
    int rc = sys_file_open_read(path, &fd, reterr);
    if (rc == 0) {
        rc = sys_sha256_fd(fd, ret_digest, ret_size, reterr);
        if (rc != 0)
            a_error_wrap(reterr, "%s", path);
    }
    return rc;
}
