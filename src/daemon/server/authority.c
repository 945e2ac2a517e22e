#include "daemon/server/authority.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/server.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/random.h"

#define CA_FILE_MAX (32u << 10)
#define TOKEN_MAX 512
#define CA_LIFE_MS (3650ull * 86400 * 1000)
#define BACKDATE_MS 3600000ull /* other clocks may be behind ours by so much */
#define CROSS_MARK "\n# cross\n"
#define HOSTS_MAX 8
#define HOST_LEN 254
#define LOOK_MS 60000 /* the wall clock may be set */

struct denied {
    struct a_map_link link; /* of authority.denied */
    struct a_node_id id;
};

static char *file_path(const struct server *s, const char *name)
{
    return sys_path_join(s->options.data, name);
}

static int file_write(const struct server *s, const char *name, struct a_view text, mode_t mode,
                      struct a_error *reterr)
{
    A_AUTOFREE char *path = file_path(s, name);
    return sys_file_write_atomic(path, text.ptr, text.len, mode, reterr);
}

/* ---- the CA's file ---- */

static int ca_save(struct server *s, struct a_error *reterr)
{
    struct d_authority *a = &s->authority;
    A_BUF_AUTO struct a_buf text = {0};
    int rc = net_key_print(a->ca_key, &text, reterr);
    a_buf_add_view(&text, a_buf_view(&a->trust));
    a_buf_add_str(&text, CROSS_MARK);
    a_buf_add_view(&text, a_buf_view(&a->cross));
    if (rc == 0)
        rc = file_write(s, "ca.key", a_buf_view(&text), 0600, reterr);
    if (rc == 0)
        rc = file_write(s, "ca.pem", a_buf_view(&a->trust), 0644, reterr);
    sys_secret_wipe(text.ptr, text.len);
    return rc;
}

static int ca_read(struct server *s, const char *path, struct a_error *reterr)
{
    struct d_authority *a = &s->authority;
    A_BUF_AUTO struct a_buf text = {0};
    struct net_cert_info info;
    struct a_node_id id;
    int rc = sys_file_read(path, CA_FILE_MAX, &text, reterr);
    const char *mark = rc == 0 ? strstr(text.ptr, CROSS_MARK) : NULL;
    size_t head = mark != NULL ? (size_t)(mark - text.ptr) : text.len;
    struct a_view own = {text.ptr, head}, cross = {text.ptr + head, text.len - head};
    if (rc == 0)
        rc = net_key_read(own, &a->ca_key, reterr);
    if (rc == 0)
        rc = net_cert_read(own, &info, reterr);
    for (size_t i = 0; rc == 0 && i < net_cert_count(own); i++)
        a_buf_add_view(&a->trust, net_cert_at(own, i));
    for (size_t i = 0; rc == 0 && i < net_cert_count(cross); i++)
        a_buf_add_view(&a->cross, net_cert_at(cross, i));
    if (rc == 0) {
        net_key_id(a->ca_key, &id);
        if (strcmp(id.s, info.key_id.s) != 0)
            rc = a_fail(reterr, -EINVAL, A_CODE_INVALID, "the key is not that of the first certificate");
    }
    if (text.ptr != NULL)
        sys_secret_wipe(text.ptr, text.len);
    if (rc != 0)
        a_error_wrap(reterr, "%s", path);
    return rc;
}

/* A key and its certificate. */
static int ca_make(struct net_key **ret_key, struct a_buf *ret_pem, struct a_error *reterr)
{
    char name[40] = "Astra CA ";
    uint64_t now = sys_clock_wall_ms();
    sys_random_hex(name + strlen(name), 4);
    int rc = net_key_new(ret_key, reterr);
    return rc == 0 ? net_cert_authority(*ret_key, name, now - BACKDATE_MS, now + CA_LIFE_MS, ret_pem, reterr)
                   : rc;
}

static int ca_load(struct server *s, struct a_error *reterr)
{
    A_AUTOFREE char *path = file_path(s, "ca.key");
    if (sys_file_exists(path))
        return ca_read(s, path, reterr);
    int rc = ca_make(&s->authority.ca_key, &s->authority.trust, reterr);
    return rc == 0 ? ca_save(s, reterr) : rc;
}

/* Seven lives after a rotation nobody has a certificate of the CA before, and nobody needs the way to it. */
static int old_drop(struct server *s, struct a_error *reterr)
{
    struct d_authority *a = &s->authority;
    struct net_cert_info info;
    if (net_cert_count(a_buf_view(&a->trust)) < 2 || net_cert_read(a_buf_view(&a->trust), &info, NULL) != 0 ||
        sys_clock_wall_ms() < info.not_before_ms + BACKDATE_MS + D_SERVER_CERT_GRACE * a->life_ms)
        return 0;
    a->trust.len = net_cert_at(a_buf_view(&a->trust), 0).len;
    a_buf_reset(&a->cross);
    sys_log(INFO, "server", "ca.dropped", "the CAs before the present one are no longer trusted");
    return ca_save(s, reterr);
}

/* ---- the join token ---- */

void d_authority_pin(const struct server *s, char ret_hex[A_DIGEST_HEX + 1])
{
    struct net_cert_info info = {0};
    int ignored A_UNUSED = net_cert_read(a_buf_view(&s->authority.trust), &info, NULL);
    a_digest_hex(&info.digest, ret_hex);
}

/* SECRET-PIN. The pin follows the CA; the secret stays until its file is removed. */
static int join_token_save(struct server *s, struct a_error *reterr)
{
    char hex[A_DIGEST_HEX + 1];
    A_BUF_AUTO struct a_buf text = {0};
    d_authority_pin(s, hex);
    a_buf_add_view(&text, sys_secret_view(&s->join_token));
    a_buf_addf(&text, "-%s\n", hex);
    int rc = file_write(s, "join.token", a_buf_view(&text), 0600, reterr);
    sys_secret_wipe(text.ptr, text.len);
    return rc;
}

static int join_token_load(struct server *s, struct a_error *reterr)
{
    A_AUTOFREE char *path = file_path(s, "join.token");
    A_BUF_AUTO struct a_buf text = {0};
    char hex[65];
    if (!sys_file_exists(path)) {
        sys_random_hex(hex, 32);
        sys_secret_set(&s->join_token, a_view_str(hex));
        sys_secret_wipe(hex, sizeof hex);
        return join_token_save(s, reterr);
    }
    int rc = sys_file_read(path, TOKEN_MAX, &text, reterr);
    if (rc != 0)
        return rc;
    struct a_view rest, line = a_view_trim(a_view_split(a_buf_view(&text), '\n', &rest));
    struct a_view secret = a_view_split(line, '-', &rest);
    if (secret.len < 32)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "%s: no token in it (at least 32 characters): remove it to get a new one", path);
    sys_secret_set(&s->join_token, secret);
    sys_secret_wipe(text.ptr, text.len);
    return join_token_save(s, reterr);
}

/* ---- our own certificate ---- */

static size_t host_add(char hosts[][HOST_LEN], size_t n, const char *host)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(hosts[i], host) == 0)
            return n;
    if (n == HOSTS_MAX || host[0] == '\0')
        return n;
    snprintf(hosts[n], HOST_LEN, "%s", host);
    return n + 1;
}

/* Where the API may be reached. */
static size_t hosts_find(const struct server *s, char hosts[][HOST_LEN])
{
    static const char *const always[] = {"localhost", "127.0.0.1", "::1"};
    const char *const listened[] = {s->options.api, s->options.starlink};
    char host[HOST_LEN];
    uint16_t port;
    size_t n = 0;
    for (size_t i = 0; i < A_ARRAY_SIZE(always); i++)
        n = host_add(hosts, n, always[i]);
    sys_env_hostname(host, sizeof host);
    n = host_add(hosts, n, host);
    for (size_t i = 0; i < A_ARRAY_SIZE(listened); i++)
        if (sys_addr_split(listened[i], host, sizeof host, &port, NULL) == 0)
            n = host_add(hosts, n, host);
    return host_add(hosts, n, s->options.api_host != NULL ? s->options.api_host : "");
}

static int tls_make(struct server *s, bool ask_peer, struct net_tls **target, struct a_error *reterr)
{
    struct d_authority *a = &s->authority;
    A_BUF_AUTO struct a_buf chain = {0};
    struct net_tls *tls = NULL;
    a_buf_add_view(&chain, a_buf_view(&a->certificate));
    a_buf_add_view(&chain, a_buf_view(&a->cross));
    a_buf_add_view(&chain, a_buf_view(&a->trust)); /* who joins looks for its pin */
    const struct net_tls_options o = {.server = true,
                                      .ask_peer = ask_peer,
                                      .key = a->key,
                                      .chain = a_buf_view(&chain),
                                      .trust = a_buf_view(&a->trust)};
    int rc = net_tls_new(&o, &tls, reterr);
    if (rc != 0)
        return rc;
    net_tls_unref(*target);
    *target = tls;
    return 0;
}

/* A new key and certificate of our own, for all connections from now on. */
static int certify_self(struct server *s, struct a_error *reterr)
{
    struct d_authority *a = &s->authority;
    char text[HOSTS_MAX][HOST_LEN];
    const char *hosts[HOSTS_MAX];
    const struct net_issuer issuer = {a->ca_key, a_buf_view(&a->trust)};
    uint64_t now = sys_clock_wall_ms();
    size_t n = hosts_find(s, text);
    for (size_t i = 0; i < n; i++)
        hosts[i] = text[i];
    net_key_free(a_steal(&a->key));
    int rc = net_key_new(&a->key, reterr);
    if (rc != 0)
        return rc;
    struct net_issue issue = {.subject = {.role = NET_ROLE_SERVER},
                              .key = a->key,
                              .hosts = hosts,
                              .n_hosts = n,
                              .not_before_ms = now - BACKDATE_MS,
                              .not_after_ms = now + A_MAX(a->life_ms, (uint64_t)60000)};
    net_key_id(a->key, &issue.subject.id);
    a_buf_reset(&a->certificate);
    rc = net_cert_issue(&issuer, &issue, &a->certificate, reterr);
    if (rc == 0)
        rc = tls_make(s, true, &a->starlink, reterr);
    if (rc == 0)
        rc = tls_make(s, false, &a->api, reterr);
    if (rc == 0 && s->listener != NULL)
        net_link_listener_set_tls(s->listener, a->starlink);
    if (rc == 0 && s->http != NULL)
        net_http_server_set_tls(s->http, a->api);
    return rc;
}

static void on_timer(void *ctx)
{
    struct server *s = ctx;
    struct d_authority *a = &s->authority;
    struct net_cert_info info;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    uint64_t now = sys_clock_wall_ms(), life = A_MAX(a->life_ms, (uint64_t)60000);
    int rc = old_drop(s, &e);
    if (rc == 0)
        rc = net_cert_read(a_buf_view(&a->certificate), &info, &e);
    if (rc == 0 && now + life / 3 > info.not_after_ms)
        rc = certify_self(s, &e);
    if (rc != 0)
        sys_log(ERROR, "server", "ca.renew", "the server's own certificate could not be renewed",
                SYS_ERR(&e));
    sys_timer_set_in(&a->timer, A_MIN((uint64_t)LOOK_MS, A_MAX(a->life_ms / 10, (uint64_t)100)));
}

/* ---- for others ---- */

int d_authority_open(struct server *s, struct a_error *reterr)
{
    struct d_authority *a = &s->authority;
    a->life_ms = s->options.certificate_life_ms;
    int rc = ca_load(s, reterr);
    if (rc == 0)
        rc = old_drop(s, reterr);
    if (rc == 0)
        rc = join_token_load(s, reterr);
    if (rc == 0)
        rc = certify_self(s, reterr);
    sys_timer_init(&a->timer, s->loop, on_timer, s);
    if (rc == 0)
        sys_timer_set_in(&a->timer, A_MIN((uint64_t)LOOK_MS, A_MAX(a->life_ms / 10, (uint64_t)100)));
    return rc;
}

void d_authority_close(struct server *s)
{
    struct d_authority *a = &s->authority;
    sys_timer_clear(&a->timer);
    net_tls_unref(a_steal(&a->starlink));
    net_tls_unref(a_steal(&a->api));
    net_key_free(a_steal(&a->ca_key));
    net_key_free(a_steal(&a->key));
    a_buf_deinit(&a->trust);
    a_buf_deinit(&a->cross);
    a_buf_deinit(&a->certificate);
    a_map_foreach (l, &a->denied) {
        a_map_remove(&a->denied, l);
        a_free(a_map_entry(l, struct denied, link));
    }
    a_map_deinit(&a->denied);
}

int d_authority_issue(struct server *s, const struct net_subject *subject, struct a_view request,
                      struct a_buf *ret_pem, struct a_error *reterr)
{
    struct d_authority *a = &s->authority;
    const struct net_issuer issuer = {a->ca_key, a_buf_view(&a->trust)};
    uint64_t now = sys_clock_wall_ms();
    const struct net_issue issue = {.subject = *subject,
                                    .request = request,
                                    .not_before_ms = now - BACKDATE_MS,
                                    .not_after_ms = now + a->life_ms};
    int rc = net_cert_issue(&issuer, &issue, ret_pem, reterr);
    a->issued += rc == 0;
    return rc;
}

int d_authority_rotate(struct server *s, struct a_error *reterr)
{
    struct d_authority *a = &s->authority;
    struct net_key *key = NULL;
    A_BUF_AUTO struct a_buf trust = {0};
    A_BUF_AUTO struct a_buf cross = {0};
    const struct net_issuer old = {a->ca_key, a_buf_view(&a->trust)};
    int rc = ca_make(&key, &trust, reterr);
    if (rc == 0)
        rc = net_cert_cross(&old, a_buf_view(&trust), &cross, reterr);
    if (rc == 0 && trust.len + a->trust.len > NET_CERT_TRUST_MAX)
        rc = a_fail(reterr, -EFBIG, A_CODE_CONFLICT,
                    "too many CAs are still trusted: wait until the oldest is left out");
    if (rc != 0) {
        net_key_free(key);
        return rc;
    }
    a_buf_add_view(&trust, a_buf_view(&a->trust));
    a_buf_add_view(&cross, a_buf_view(&a->cross));
    net_key_free(a->ca_key);
    a->ca_key = key;
    a_buf_reset(&a->trust);
    a_buf_add_view(&a->trust, a_buf_view(&trust));
    a_buf_reset(&a->cross);
    a_buf_add_view(&a->cross, a_buf_view(&cross));
    a->rotations++;
    rc = ca_save(s, reterr);
    if (rc == 0)
        rc = join_token_save(s, reterr);
    if (rc == 0)
        rc = certify_self(s, reterr);
    if (rc == 0)
        d_peers_tell_trust(s);
    return rc;
}

/* ---- who is denied ---- */

bool d_authority_denies(const struct server *s, const struct a_node_id *id)
{
    return a_map_get_str(&s->authority.denied, id->s) != NULL;
}

static void denied_set(struct server *s, const struct a_node_id *id, bool deny)
{
    struct a_map_link *l = a_map_get_str(&s->authority.denied, id->s);
    if (deny && l == NULL) {
        struct denied *d = a_new(struct denied);
        d->id = *id;
        a_map_put_str(&s->authority.denied, &d->link, d->id.s);
    } else if (!deny && l != NULL) {
        a_map_remove(&s->authority.denied, l);
        a_free(a_map_entry(l, struct denied, link));
    }
}

static bool denied_read(void *ctx, const struct store_entry *entry)
{
    struct server *s = ctx;
    struct a_node_id id;
    const char *slash = memrchr(entry->key.ptr, '/', entry->key.len);
    if (slash != NULL &&
        a_node_id_parse((struct a_view){slash + 1, entry->key.len - (size_t)(slash + 1 - entry->key.ptr)},
                        &id))
        denied_set(s, &id, true);
    return true;
}

int d_authority_load(struct server *s, struct a_error *reterr)
{
    return store_scan(s->store, "/default/denied/", denied_read, s, reterr);
}

struct denial {
    struct store_txn txn;
    struct store_write write;
    char key[STORE_KEY_MAX];
    void (*done)(void *ctx, const struct a_error *error);
    void *ctx;
};

static void denial_written(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct denial *d = ctx;
    (void)revision;
    d->done(d->ctx, rc != 0 ? error : NULL);
    a_error_deinit(&d->txn.error);
    a_free(d);
}

void d_authority_deny(struct server *s, const struct a_node_id *id, bool deny,
                      void (*done)(void *ctx, const struct a_error *error), void *ctx)
{
    struct denial *d = a_new(struct denial);
    snprintf(d->key, sizeof d->key, "/default/denied/%s", id->s);
    d->done = done;
    d->ctx = ctx;
    d->write = (struct store_write){a_view_str(d->key), {deny ? "{}" : NULL, deny ? 2 : 0}, STORE_ANY};
    d->txn = (struct store_txn){.writes = &d->write, .n_writes = 1, .done = denial_written, .ctx = d};
    denied_set(s, id, deny);
    if (deny)
        d_peers_cut(s, id);
    store_submit(s->store, &d->txn);
}
