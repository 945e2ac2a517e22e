/* Keys, certificates and certificate requests: Ed25519 (RFC 8410), X.509 (RFC 5280), PKCS #10 (RFC 2986).
 *
 * Certificates and requests travel as PEM text. Who a certificate speaks for is one URI in its subject
 * alternative name: astra://CLUSTER/node/ID, astra://-/gateway/ID or astra://-/server/ID; an ID is base32 of
 * the first 16 bytes of SHA-256 of the public key, so nobody can have a certificate for another one's ID.
 * docs/components/identity.md. */
#ifndef A_NET_CERT_H
#define A_NET_CERT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "types/digest.h"
#include "types/id.h"

#define NET_CERT_PEM_MAX 4096   /* one certificate or request */
#define NET_CERT_TRUST_MAX 8192 /* the authorities that are trusted at once */

enum net_role { NET_ROLE_NONE, NET_ROLE_NODE, NET_ROLE_GATEWAY, NET_ROLE_SERVER };
const char *net_role_name(enum net_role role);

/* Whom a certificate speaks for. */
struct net_subject {
    enum net_role role;
    struct a_name cluster; /* nodes only, else empty */
    struct a_node_id id;
};

/* --- keys --- */

struct net_key;
int net_key_new(struct net_key **ret_key, struct a_error *reterr) A_MUST_CHECK;
/* PKCS #8 in PEM. -EINVAL when it is no Ed25519 key. */
int net_key_read(struct a_view pem, struct net_key **ret_key, struct a_error *reterr) A_MUST_CHECK;
int net_key_print(const struct net_key *key, struct a_buf *ret_pem, struct a_error *reterr) A_MUST_CHECK;
void net_key_free(struct net_key *key); /* NULL is allowed */
void net_key_id(const struct net_key *key, struct a_node_id *ret_id);

/* --- certificates --- */

struct net_cert_info {
    struct net_subject subject;           /* role NONE: no name of ours in it */
    struct a_node_id key_id;              /* what the ID of its key is */
    uint64_t not_before_ms, not_after_ms; /* wall clock */
    struct a_digest digest;               /* SHA-256 of the whole certificate */
};
/* Of the first certificate in the text. */
int net_cert_read(struct a_view pem, struct net_cert_info *ret_info, struct a_error *reterr) A_MUST_CHECK;

/* A self-signed authority. */
int net_cert_authority(const struct net_key *key, const char *name, uint64_t not_before_ms,
                       uint64_t not_after_ms, struct a_buf *ret_pem, struct a_error *reterr) A_MUST_CHECK;

/* Who signs: an authority's key, and its certificate (the first in the text). */
struct net_issuer {
    const struct net_key *key;
    struct a_view certificate;
};
/* `authority`, an authority's certificate, signed by `issuer` instead of by itself, for the same time: who
 * trusts the issuer trusts what the authority signs. */
int net_cert_cross(const struct net_issuer *issuer, struct a_view authority, struct a_buf *ret_pem,
                   struct a_error *reterr) A_MUST_CHECK;

struct net_issue {
    struct net_subject subject;
    const struct net_key *key; /* of the subject; or */
    struct a_view request;     /* the request, of which only the key is taken */
    const char *const *hosts;  /* servers: names and addresses that the certificate is for, too */
    size_t n_hosts;
    uint64_t not_before_ms, not_after_ms;
};
int net_cert_issue(const struct net_issuer *issuer, const struct net_issue *issue, struct a_buf *ret_pem,
                   struct a_error *reterr) A_MUST_CHECK;

/* --- requests --- */

int net_cert_request(const struct net_key *key, struct a_buf *ret_pem, struct a_error *reterr) A_MUST_CHECK;
/* 0 when it is signed by its own key, of which *ret_id is the ID; -EINVAL else. */
int net_cert_request_check(struct a_view pem, struct a_node_id *ret_id, struct a_error *reterr) A_MUST_CHECK;

/* How many certificates are in the text, and the `index`-th of them, with its marks. */
size_t net_cert_count(struct a_view pem);
struct a_view net_cert_at(struct a_view pem, size_t index);

#endif
