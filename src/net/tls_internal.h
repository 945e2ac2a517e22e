/* Between tls.c and stream.c. */
#ifndef A_NET_TLS_INTERNAL_H
#define A_NET_TLS_INTERNAL_H

#include <openssl/ssl.h>

#include "net/tls.h"

struct net_tls {
    unsigned refs;
    SSL_CTX *ctx;
    bool server, pinned;
    struct a_digest pin;
};

/* A session over `bio`, which it owns; what the check of the other side's chain finds is written to `peer`.
 * NULL when memory is out. */
SSL *net_tls_session(struct net_tls *tls, BIO *bio, struct net_peer *peer);
/* After the handshake: who it is. False: a server that shows no server's certificate of ours. */
bool net_tls_peer_read(const struct net_tls *tls, SSL *ssl, struct net_peer *peer);

#endif
