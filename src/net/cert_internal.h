/* Between cert.c and tls.c: OpenSSL's own objects. */
#ifndef A_NET_CERT_INTERNAL_H
#define A_NET_CERT_INTERNAL_H

#include <openssl/x509.h>

#include "net/cert.h"

struct net_key {
    EVP_PKEY *pkey;
};

/* The first certificate in the text, or NULL. The caller frees. */
X509 *net_cert_parse(struct a_view pem);
void net_cert_describe(X509 *cert, struct net_cert_info *ret_info);
void net_cert_digest(X509 *cert, struct a_digest *ret_digest);
/* Empties OpenSSL's queue of errors into words: "WHAT: why". */
int net_openssl_fail(struct a_error *reterr, int rc, const char *what);

#endif
