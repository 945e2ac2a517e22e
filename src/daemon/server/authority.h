/* The server as the authority of its platform: the CA, certificates for nodes and gateways and for itself,
 * rotation, and who is denied. docs/components/identity.md.
 *
 *   DATA/ca.key     key, certificate of the CA, the CAs before it that are still trusted, and behind a line
 *                   "# cross" the CA signed by those before it; one file, so that a rotation is one write
 *   DATA/ca.pem     the CAs, for people
 *   DATA/join.token SECRET-PIN */
#ifndef A_DAEMON_SERVER_AUTHORITY_H
#define A_DAEMON_SERVER_AUTHORITY_H

#include "base/map.h"
#include "net/tls.h"
#include "sys/loop.h"

struct server;

struct d_authority {
    struct net_key *ca_key, *key; /* of the CA; of this process's own certificate */
    struct a_buf trust;           /* PEM: the CA that issues, then older ones */
    struct a_buf cross;           /* PEM: behind our certificate */
    struct a_buf certificate;     /* PEM: our own */
    struct net_tls *starlink, *api;
    uint64_t life_ms;
    struct a_map denied; /* struct denied, by id */
    struct sys_timer timer;
    uint64_t issued, rotations;
};

/* Reads or makes the CA and the join token. Before the loop runs. */
int d_authority_open(struct server *s, struct a_error *reterr) A_MUST_CHECK;
/* What the store knows: denied identities. */
int d_authority_load(struct server *s, struct a_error *reterr) A_MUST_CHECK;
void d_authority_close(struct server *s);

/* A certificate for the key of a request. */
int d_authority_issue(struct server *s, const struct net_subject *subject, struct a_view request,
                      struct a_buf *ret_pem, struct a_error *reterr) A_MUST_CHECK;
/* A new CA; every connected peer is asked for a request. */
int d_authority_rotate(struct server *s, struct a_error *reterr) A_MUST_CHECK;
/* The SHA-256 of the CA, in hex: what a join token ends with. */
void d_authority_pin(const struct server *s, char ret_hex[A_DIGEST_HEX + 1]);

bool d_authority_denies(const struct server *s, const struct a_node_id *id);
/* In memory at once, then in the store: done(ctx, error) once. */
void d_authority_deny(struct server *s, const struct a_node_id *id, bool deny,
                      void (*done)(void *ctx, const struct a_error *error), void *ctx);

#endif
