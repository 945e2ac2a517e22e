/* What one side of a TLS connection shows and trusts. TLS 1.3 only; no session is resumed, so that every
 * connection proves who it is.
 *
 * Certificates that are over, or not yet valid, are let through and marked (struct net_peer.expired): an end
 * in time never stops what runs. Everything else that is wrong with a chain ends the handshake. */
#ifndef A_NET_TLS_H
#define A_NET_TLS_H

#include <stdbool.h>

#include "net/cert.h"

struct net_tls;

struct net_tls_options {
    bool server;
    bool ask_peer;              /* servers: ask for a certificate; none is an answer */
    const struct net_key *key;  /* with `chain`; NULL: a client that shows nothing */
    struct a_view chain;        /* PEM: the certificate, then what leads to authorities */
    struct a_view trust;        /* PEM: authorities. Or, for clients that know none yet: */
    const struct a_digest *pin; /* the SHA-256 of an authority that the server's chain must hold */
};

/* A server for strangers: a certificate and a key of any authority and any kind, from files. TLS 1.2 or 1.3;
 * HTTP/1.1 is agreed on by ALPN (RFC 7301), and who offers only others is refused; no certificate is asked
 * for; a client cannot begin another handshake within the session. */
struct net_tls_public {
    struct a_view chain, key;          /* PEM: the certificate, then what leads to an authority; its key */
    const char *chain_name, *key_name; /* of the files, for errors */
    uint64_t now_ms;                   /* wall clock */
};
/* -EINVAL, in words that name the file: nothing of the kind in it, a key with a passphrase, a key of another
 * certificate, one that has ended or has not begun. *ret_not_after_ms: when it ends. */
int net_tls_new_public(const struct net_tls_public *options, struct net_tls **ret_tls,
                       uint64_t *ret_not_after_ms, struct a_error *reterr) A_MUST_CHECK;

int net_tls_new(const struct net_tls_options *options, struct net_tls **ret_tls,
                struct a_error *reterr) A_MUST_CHECK;
struct net_tls *net_tls_ref(struct net_tls *tls);
void net_tls_unref(struct net_tls *tls); /* NULL is allowed; connections that began with it go on */

/* Who is at the other end, by its certificate. */
struct net_peer {
    struct net_subject subject; /* role NONE: it showed none, or none of ours */
    uint64_t not_after_ms;      /* wall clock */
    bool expired;               /* its chain was not valid at the time of the handshake */
};

#endif
