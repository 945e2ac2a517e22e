/* TLS for a port that strangers reach: whose certificate comes out of files that people write, so that each
 * thing that can be wrong with them has words of its own. */
#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "net/cert_internal.h"
#include "net/tls_internal.h"
#include "sys/clock.h"

/* Nobody is there to type one. */
static int no_passphrase(char *text, int size, int writing, void *asked)
{
    (void)text, (void)size, (void)writing;
    *(bool *)asked = true;
    return -1;
}

/* --- the certificate --- */

static uint64_t wall_ms(const ASN1_TIME *t)
{
    struct tm tm;
    return ASN1_TIME_to_tm(t, &tm) == 1 ? (uint64_t)A_MAX(timegm(&tm), (time_t)0) * 1000 : 0;
}

static int time_check(const struct net_tls_public *o, const X509 *leaf, struct a_error *reterr)
{
    char when[SYS_RFC3339_LEN + 1];
    uint64_t begins = wall_ms(X509_get0_notBefore(leaf)), ends = wall_ms(X509_get0_notAfter(leaf));
    bool early = o->now_ms < begins;
    if (!early && o->now_ms <= ends)
        return 0;
    sys_clock_print(early ? begins : ends, when);
    return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: the certificate %s %s", o->chain_name,
                  early ? "is not valid before" : "ended at", when);
}

/* The first is ours, the others lead to an authority. */
static int chain_take(SSL_CTX *ctx, const struct net_tls_public *o, struct a_error *reterr)
{
    int n = 0, ok = 1;
    bool asked = false;
    X509 *cert = NULL;
    BIO *bio = BIO_new_mem_buf(o->chain.ptr, (int)o->chain.len);
    while (ok == 1 && bio != NULL && (cert = PEM_read_bio_X509(bio, NULL, no_passphrase, &asked)) != NULL) {
        ok = n++ == 0 ? SSL_CTX_use_certificate(ctx, cert) : (int)SSL_CTX_add1_chain_cert(ctx, cert);
        X509_free(cert);
    }
    BIO_free(bio);
    unsigned long why = ERR_peek_last_error();
    bool end = ERR_GET_LIB(why) == ERR_LIB_PEM && ERR_GET_REASON(why) == PEM_R_NO_START_LINE;
    if (ok != 1 || (n > 0 && !end))
        return net_openssl_fail(reterr, -EINVAL, o->chain_name);
    ERR_clear_error();
    if (n == 0)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: no certificate in it (PEM is expected)",
                      o->chain_name);
    return time_check(o, SSL_CTX_get0_certificate(ctx), reterr);
}

/* --- the key --- */

static int key_take(SSL_CTX *ctx, const struct net_tls_public *o, struct a_error *reterr)
{
    bool asked = false;
    BIO *bio = BIO_new_mem_buf(o->key.ptr, (int)o->key.len);
    EVP_PKEY *key = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, no_passphrase, &asked) : NULL;
    bool fits = key != NULL && X509_check_private_key(SSL_CTX_get0_certificate(ctx), key) == 1;
    bool ok = fits && SSL_CTX_use_PrivateKey(ctx, key) == 1;
    bool any = key != NULL;
    EVP_PKEY_free(key);
    BIO_free(bio);
    if (ok)
        return 0;
    if (fits)
        return net_openssl_fail(reterr, -EINVAL, o->key_name);
    ERR_clear_error();
    if (asked)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: the key has a passphrase; take one without",
                      o->key_name);
    if (!any)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: no private key in it (PEM is expected)",
                      o->key_name);
    return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s is not the key of the certificate in %s", o->key_name,
                  o->chain_name);
}

/* --- the context --- */

static int protocol_choose(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                           const unsigned char *in, unsigned in_len, void *ctx)
{
    static const char http11[] = "http/1.1";
    (void)ssl, (void)ctx;
    for (unsigned at = 0; at < in_len; at += 1u + in[at])
        if (in[at] == sizeof http11 - 1 && at + sizeof http11 <= in_len &&
            memcmp(in + at + 1, http11, sizeof http11 - 1) == 0) {
            *out = in + at + 1;
            *out_len = sizeof http11 - 1;
            return SSL_TLSEXT_ERR_OK;
        }
    return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static bool public_set(SSL_CTX *ctx)
{
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_alpn_select_cb(ctx, protocol_choose, NULL);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 && SSL_CTX_set_num_tickets(ctx, 0) == 1;
}

int net_tls_new_public(const struct net_tls_public *options, struct net_tls **ret_tls,
                       uint64_t *ret_not_after_ms, struct a_error *reterr)
{
    struct net_tls *tls = a_new(struct net_tls);
    tls->refs = 1;
    tls->server = true;
    tls->ctx = SSL_CTX_new(TLS_server_method());
    ERR_clear_error();
    int rc = tls->ctx != NULL && public_set(tls->ctx) ? 0 : net_openssl_fail(reterr, -EINVAL, "set TLS up");
    if (rc == 0)
        rc = chain_take(tls->ctx, options, reterr);
    if (rc == 0)
        rc = key_take(tls->ctx, options, reterr);
    if (rc != 0) {
        net_tls_unref(tls);
        return rc;
    }
    *ret_not_after_ms = wall_ms(X509_get0_notAfter(SSL_CTX_get0_certificate(tls->ctx)));
    *ret_tls = tls;
    return 0;
}
