/* The TLS side of the web client: what a server showed, for errors that say whose certificate it was; and
 * whether our own certificate and key are a pair, before anybody is asked. */
#include <errno.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

#include "net/web_internal.h"

static void name_print(const X509_NAME *name, char *out, size_t size)
{
    char *line = X509_NAME_oneline(name, NULL, 0);
    snprintf(out, size, "%s", line != NULL ? line : "?");
    OPENSSL_free(line);
}

static void names_add(char *out, size_t size, const char *text)
{
    size_t len = strlen(out);
    if (len + strlen(text) + 3 < size)
        snprintf(out + len, size - len, "%s%s", len > 0 ? ", " : "", text);
}

static void address_add(char *out, size_t size, const ASN1_OCTET_STRING *address)
{
    const unsigned char *b = ASN1_STRING_get0_data(address);
    char text[48] = "";
    if (ASN1_STRING_length(address) == 4)
        snprintf(text, sizeof text, "%u.%u.%u.%u", b[0], b[1], b[2], b[3]);
    for (int i = 0; ASN1_STRING_length(address) == 16 && i < 16; i += 2)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%x", i > 0 ? ":" : "",
                 (unsigned)(b[i] << 8 | b[i + 1]));
    names_add(out, size, text);
}

static void names_print(X509 *leaf, char *out, size_t size)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(leaf, NID_subject_alt_name, NULL, NULL);
    out[0] = '\0';
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        char text[128];
        if (name->type == GEN_DNS) {
            snprintf(text, sizeof text, "%.*s", ASN1_STRING_length(name->d.dNSName),
                     (const char *)ASN1_STRING_get0_data(name->d.dNSName));
            names_add(out, size, text);
        } else if (name->type == GEN_IPADD) {
            address_add(out, size, name->d.iPAddress);
        }
    }
    GENERAL_NAMES_free(names);
}

/* In the place of OpenSSL's own, which it calls. Names are libcurl's to check, after it. */
static int chain_verify(X509_STORE_CTX *store, void *ctx)
{
    struct web_hub *hub = ctx;
    int ok = X509_verify_cert(store), fault = X509_STORE_CTX_get_error(store);
    X509 *leaf = X509_STORE_CTX_get0_cert(store);
    hub->seen = (struct web_seen){.fault = ok == 1 ? NULL : X509_verify_cert_error_string(fault)};
    if (leaf != NULL) {
        names_print(leaf, hub->seen.names, sizeof hub->seen.names);
        name_print(X509_get_subject_name(leaf), hub->seen.subject, sizeof hub->seen.subject);
        name_print(X509_get_issuer_name(leaf), hub->seen.issuer, sizeof hub->seen.issuer);
    }
    return ok;
}

CURLcode web_tls_watch(CURL *curl, void *ssl_ctx, void *hub)
{
    (void)curl;
    SSL_CTX_set_cert_verify_callback(ssl_ctx, chain_verify, hub);
    return CURLE_OK;
}

static const char *pair_fault(X509 *x509, EVP_PKEY *key)
{
    if (x509 == NULL)
        return "the client certificate is no certificate in PEM";
    if (key == NULL)
        return "the client key is no unencrypted private key in PEM";
    return X509_check_private_key(x509, key) == 1 ? NULL
                                                  : "the client key is not that of the client certificate";
}

/* A key that wants a password is none that a server could use: nobody is asked. */
static int no_password(char *out, int size, int writing, void *ctx)
{
    (void)out;
    (void)size;
    (void)writing;
    (void)ctx;
    return -1;
}

int web_tls_check(struct a_view certificate, struct a_view key, struct a_error *reterr)
{
    BIO *cert_bio = BIO_new_mem_buf(certificate.ptr, (int)certificate.len);
    BIO *key_bio = BIO_new_mem_buf(key.len > 0 ? key.ptr : "", (int)key.len);
    X509 *x509 = cert_bio != NULL ? PEM_read_bio_X509(cert_bio, NULL, no_password, NULL) : NULL;
    EVP_PKEY *pkey = key_bio != NULL ? PEM_read_bio_PrivateKey(key_bio, NULL, no_password, NULL) : NULL;
    const char *fault = pair_fault(x509, pkey);
    X509_free(x509);
    EVP_PKEY_free(pkey);
    BIO_free(cert_bio);
    BIO_free(key_bio);
    ERR_clear_error();
    return fault == NULL ? 0 : a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s", fault);
}
