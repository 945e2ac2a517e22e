/* An authority in memory, and certificates of it, for tests of connections. */
#ifndef A_TESTS_UNIT_TLS_WORLD_H
#define A_TESTS_UNIT_TLS_WORLD_H

#include "net/tls.h"
#include "sys/clock.h"

#define TLS_HOUR 3600000u

struct tls_world {
    struct net_key *ca_key;
    struct a_buf ca;
};

static inline void tls_world_init(struct tls_world *w, const char *name)
{
    uint64_t now = sys_clock_wall_ms();
    *w = (struct tls_world){0};
    assert_int_equal(net_key_new(&w->ca_key, NULL), 0);
    assert_int_equal(
        net_cert_authority(w->ca_key, name, now - TLS_HOUR, now + 1000ull * TLS_HOUR, &w->ca, NULL), 0);
}

static inline void tls_world_deinit(struct tls_world *w)
{
    net_key_free(w->ca_key);
    a_buf_deinit(&w->ca);
}

/* A certificate for `key`, valid from one hour ago until `until_ms` from now. */
static inline void tls_world_issue(const struct tls_world *w, const struct net_key *key, enum net_role role,
                                   int64_t until_ms, struct a_buf *ret_pem)
{
    static const char *const hosts[] = {"localhost", "127.0.0.1"};
    const struct net_issuer issuer = {w->ca_key, a_buf_view(&w->ca)};
    uint64_t now = sys_clock_wall_ms();
    struct net_issue issue = {.subject = {.role = role},
                              .key = key,
                              .not_before_ms = now - 2 * TLS_HOUR,
                              .not_after_ms = now + (uint64_t)until_ms};
    if (role == NET_ROLE_NODE)
        assert_true(a_name_parse(A_VIEW_LIT("c1"), &issue.subject.cluster));
    if (role == NET_ROLE_SERVER) {
        issue.hosts = hosts;
        issue.n_hosts = 2;
    }
    net_key_id(key, &issue.subject.id);
    assert_int_equal(net_cert_issue(&issuer, &issue, ret_pem, NULL), 0);
}

/* What a peer of that role shows, and the trust in `trust`. */
static inline struct net_tls *tls_world_tls(const struct tls_world *w, const struct tls_world *trust,
                                            enum net_role role, int64_t until_ms)
{
    struct net_tls *tls = NULL;
    struct net_key *key = NULL;
    A_BUF_AUTO struct a_buf chain = {0};
    assert_int_equal(net_key_new(&key, NULL), 0);
    tls_world_issue(w, key, role, until_ms, &chain);
    a_buf_add_view(&chain, a_buf_view(&w->ca)); /* joiners look for their pin there */
    const struct net_tls_options o = {.server = role == NET_ROLE_SERVER,
                                      .ask_peer = true,
                                      .key = key,
                                      .chain = a_buf_view(&chain),
                                      .trust = a_buf_view(&trust->ca)};
    assert_int_equal(net_tls_new(&o, &tls, NULL), 0);
    net_key_free(key);
    return tls;
}

#endif
