/* Who a node or a gateway is: its key, its certificate, whom it trusts, and how it comes by a certificate and
 * keeps it valid. docs/components/identity.md.
 *
 * The owner dials with `tls`; over a new link it says HELLO when d_identity_is_certified(), else
 * d_identity_join(). It hands CERTIFICATE frames to d_identity_take() and, once the server has welcomed it,
 * the link to d_identity_use_link(), over which the certificate is renewed. */
#ifndef A_DAEMON_IDENTITY_H
#define A_DAEMON_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"
#include "daemon/renewal.h"
#include "net/starlink.h"
#include "sys/loop.h"
#include "sys/secret.h"

struct d_identity_options {
    enum net_role role;
    const char *dir;        /* key.pem, cert.pem, ca.pem; NULL: kept in memory, joined at each start */
    const char *token_path; /* the join token; NULL: none */
    struct a_name cluster;  /* nodes */
    const char *name;       /* for people */
};

/* Zero-initialised = closed. */
struct d_identity {
    struct sys_loop *loop;
    enum net_role role;
    struct a_name cluster;
    char *dir, *token_path, *name;
    struct net_key *key;
    struct a_node_id id;
    struct net_tls *tls; /* to dial with; changes with joining and renewing */
    struct a_buf cert, trust;
    uint64_t issued_ms, not_after_ms; /* wall clock; 0 = no certificate */
    bool joining;                     /* `tls` shows nothing: the token is to open */
    bool told_expired;
    struct sys_secret token;
    struct a_digest pin;
    bool has_token;
    struct net_link *link; /* over which to renew */
    struct d_renewal renewal;
    bool outdated; /* the authority has changed since the certificate was issued */
    struct sys_timer timer;
    uint64_t renewals;
};

/* The key alone, made when there is none: `id` is known. */
int d_identity_open(struct d_identity *i, const struct d_identity_options *options,
                    struct a_error *reterr) A_MUST_CHECK;
/* Reads certificate and token. -ENOENT when there is neither. */
int d_identity_start(struct d_identity *i, struct sys_loop *loop, struct a_error *reterr) A_MUST_CHECK;
void d_identity_close(struct d_identity *i); /* safe on a zeroed one and twice */

bool d_identity_is_certified(const struct d_identity *i);
/* Sends CERT_REQUEST with the token. */
void d_identity_join(struct d_identity *i, struct net_link *link);
enum d_identity_took {
    D_IDENTITY_NOTHING, /* it could not be used: told in the log */
    D_IDENTITY_JOINED,  /* the first one: close the link and dial again, with the new `tls` */
    D_IDENTITY_RENEWED  /* `tls` is new for what is dialled from now on */
};
enum d_identity_took d_identity_take(struct d_identity *i, const struct wire_sl_certificate *m);
/* The server welcomed us over this link; NULL: it is gone. */
void d_identity_use_link(struct d_identity *i, struct net_link *link);
/* Server and we do not trust one another any more (-EACCES, -EBADMSG before WELCOME): another way is tried
 * with the next dial, join token or certificate, when there is one. */
void d_identity_doubt(struct d_identity *i);
/* Seconds until the certificate ends; negative: since it ended; 0 without one. */
int64_t d_identity_left_s(const struct d_identity *i);

#endif
