#include "sys/seal.h"

#include <errno.h>
#include <openssl/evp.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/file.h"
#include "sys/random.h"

#define NONCE 12
#define TAG 16
#define SEALED_MAX (4u << 20)

static void hex_add(struct a_buf *b, const unsigned char *bytes, size_t n)
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < n; i++) {
        a_buf_add_char(b, digits[bytes[i] >> 4]);
        a_buf_add_char(b, digits[bytes[i] & 15]);
    }
}

static int digit_of(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes of a hex text, in a secret. */
static bool hex_read(struct a_view text, struct sys_secret *ret)
{
    A_AUTOFREE char *bytes = a_alloc(text.len / 2 + 1);
    bool good = text.len % 2 == 0 && text.len > 0;
    for (size_t i = 0; good && i < text.len; i += 2) {
        int high = digit_of(text.ptr[i]), low = digit_of(text.ptr[i + 1]);
        good = high >= 0 && low >= 0;
        if (good)
            bytes[i / 2] = (char)(high << 4 | low);
    }
    if (good)
        sys_secret_set(ret, (struct a_view){bytes, text.len / 2});
    sys_secret_wipe(bytes, text.len / 2);
    return good;
}

static const unsigned char *bytes_of(struct a_view v)
{
    return (const unsigned char *)v.ptr;
}

static bool encrypt(EVP_CIPHER_CTX *ctx, const struct sys_secret *key, struct a_view place,
                    struct a_view plain, unsigned char *out)
{
    int n;
    unsigned char *nonce = out, *text = out + NONCE, *tag = text + plain.len;
    sys_random_bytes(nonce, NONCE);
    return EVP_EncryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, (const unsigned char *)key->ptr, nonce) == 1 &&
           EVP_EncryptUpdate(ctx, NULL, &n, bytes_of(place), (int)place.len) == 1 &&
           EVP_EncryptUpdate(ctx, text, &n, bytes_of(plain), (int)plain.len) == 1 &&
           EVP_EncryptFinal_ex(ctx, text + n, &n) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_GET_TAG, TAG, tag) == 1;
}

int sys_seal(const struct sys_secret *key, struct a_view place, struct a_view plain, struct a_buf *ret,
             struct a_error *reterr)
{
    a_assert(key->len == SYS_SEAL_KEY_BYTES);
    if (plain.len > SEALED_MAX)
        return a_fail(reterr, -EFBIG, A_CODE_TOO_LARGE, "a secret of more than %u bytes", SEALED_MAX);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    unsigned char *out = a_alloc(NONCE + plain.len + TAG);
    bool good = ctx != NULL && encrypt(ctx, key, place, plain, out);
    if (good)
        hex_add(ret, out, NONCE + plain.len + TAG);
    EVP_CIPHER_CTX_free(ctx);
    a_free(out);
    return good ? 0 : a_fail(reterr, -EIO, A_CODE_INTERNAL, "OpenSSL cannot encrypt");
}

static bool decrypt(EVP_CIPHER_CTX *ctx, const struct sys_secret *key, struct a_view place,
                    struct a_view sealed, unsigned char *out)
{
    int n;
    size_t len = sealed.len - NONCE - TAG;
    unsigned char tag[TAG];
    for (size_t i = 0; i < TAG; i++)
        tag[i] = bytes_of(sealed)[NONCE + len + i];
    return EVP_DecryptInit_ex(ctx, EVP_aes_256_gcm(), NULL, (const unsigned char *)key->ptr,
                              bytes_of(sealed)) == 1 &&
           EVP_DecryptUpdate(ctx, NULL, &n, bytes_of(place), (int)place.len) == 1 &&
           EVP_DecryptUpdate(ctx, out, &n, bytes_of(sealed) + NONCE, (int)len) == 1 &&
           EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_GCM_SET_TAG, TAG, tag) == 1 &&
           EVP_DecryptFinal_ex(ctx, out + n, &n) == 1;
}

int sys_unseal(const struct sys_secret *key, struct a_view place, struct a_view sealed,
               struct sys_secret *ret, struct a_error *reterr)
{
    struct sys_secret bytes = {0};
    a_assert(key->len == SYS_SEAL_KEY_BYTES);
    if (sealed.len > 2 * (NONCE + SEALED_MAX + TAG) || !hex_read(sealed, &bytes) || bytes.len < NONCE + TAG) {
        sys_secret_deinit(&bytes);
        return a_fail(reterr, -EINVAL, A_CODE_STORE_CORRUPT, "no sealed text");
    }
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    size_t len = bytes.len - NONCE - TAG;
    unsigned char *out = a_alloc(len + 1);
    bool good = ctx != NULL && decrypt(ctx, key, place, sys_secret_view(&bytes), out);
    if (good)
        sys_secret_set(ret, (struct a_view){(const char *)out, len});
    EVP_CIPHER_CTX_free(ctx);
    sys_secret_wipe(out, len);
    a_free(out);
    sys_secret_deinit(&bytes);
    return good ? 0 : a_fail(reterr, -EBADMSG, A_CODE_STORE_CORRUPT, "it was sealed with another key");
}

int sys_seal_key_read(const char *path, struct sys_secret *ret_key, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct a_view rest;
    if (!sys_file_exists(path))
        return -ENOENT;
    int rc = sys_file_read(path, 256, &text, reterr);
    if (rc != 0)
        return rc;
    struct a_view line = a_view_trim(a_view_split(a_buf_view(&text), '\n', &rest));
    bool good = line.len == 2 * SYS_SEAL_KEY_BYTES && hex_read(line, ret_key);
    sys_secret_wipe(text.ptr, text.len);
    return good ? 0 : a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: no key in it (64 hex digits)", path);
}

int sys_seal_key_make(const char *path, struct sys_secret *ret_key, struct a_error *reterr)
{
    unsigned char bytes[SYS_SEAL_KEY_BYTES];
    A_BUF_AUTO struct a_buf text = {0};
    sys_random_bytes(bytes, sizeof bytes);
    hex_add(&text, bytes, sizeof bytes);
    a_buf_add_char(&text, '\n');
    int rc = sys_file_write_atomic(path, text.ptr, text.len, 0600, reterr);
    if (rc == 0)
        sys_secret_set(ret_key, (struct a_view){(const char *)bytes, sizeof bytes});
    sys_secret_wipe(bytes, sizeof bytes);
    sys_secret_wipe(text.ptr, text.len);
    return rc;
}
