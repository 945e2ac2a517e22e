/* Contexts of OpenSSL and how chains are checked. */
#include "net/tls_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <string.h>

#include "base/alloc.h"
#include "net/cert_internal.h"
#include "net/refusal.h"

const char *net_refusal_name(enum net_refusal refusal)
{
    static const char *const words[] = {
#define X(name, word) word,
        NET_REFUSALS(X)
#undef X
    };
    return words[refusal];
}

/* --- checking the other side --- */

static bool is_of_time(int error)
{
    return error == X509_V_ERR_CERT_HAS_EXPIRED || error == X509_V_ERR_CERT_NOT_YET_VALID;
}

/* What has to do with time alone is noted and let through (docs/components/identity.md, 4). */
static int on_verify(int ok, X509_STORE_CTX *x)
{
    if (ok == 1)
        return 1;
    if (!is_of_time(X509_STORE_CTX_get_error(x)))
        return 0;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(x, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct net_peer *peer = ssl != NULL ? SSL_get_app_data(ssl) : NULL;
    if (peer != NULL)
        peer->expired = true;
    X509_STORE_CTX_set_error(x, X509_V_OK);
    return 1;
}

/* The certificate of the pin among those that were shown, or NULL. */
static X509 *pinned_find(const struct net_tls *tls, X509_STORE_CTX *x)
{
    STACK_OF(X509) *shown = X509_STORE_CTX_get0_untrusted(x);
    for (int i = 0; i < sk_X509_num(shown); i++) {
        struct a_digest digest;
        net_cert_digest(sk_X509_value(shown, i), &digest);
        if (memcmp(digest.bytes, tls->pin.bytes, sizeof digest.bytes) == 0)
            return sk_X509_value(shown, i);
    }
    return NULL;
}

/* The chain must lead to the authority of the pin; no other is known. */
static int on_verify_pinned(X509_STORE_CTX *x, void *arg)
{
    const struct net_tls *tls = arg;
    X509 *authority = pinned_find(tls, x);
    X509_STORE *store = X509_STORE_new();
    X509_STORE_CTX *own = X509_STORE_CTX_new();
    int ok =
        authority != NULL && store != NULL && own != NULL && X509_STORE_add_cert(store, authority) == 1 &&
        X509_STORE_CTX_init(own, store, X509_STORE_CTX_get0_cert(x), X509_STORE_CTX_get0_untrusted(x)) == 1 &&
        X509_STORE_CTX_set_default(own, "ssl_server") == 1;
    if (ok == 1) {
        X509_STORE_CTX_set_verify_cb(own, on_verify);
        ok = X509_verify_cert(own) == 1;
    }
    X509_STORE_CTX_set_error(x, ok == 1 ? X509_V_OK : X509_V_ERR_CERT_UNTRUSTED);
    X509_STORE_CTX_free(own);
    X509_STORE_free(store);
    return ok;
}

bool net_tls_peer_read(const struct net_tls *tls, SSL *ssl, struct net_peer *peer)
{
    struct net_cert_info info;
    X509 *cert = SSL_get0_peer_certificate(ssl);
    if (cert == NULL)
        return tls->server;
    net_cert_describe(cert, &info);
    peer->subject = info.subject;
    peer->not_after_ms = info.not_after_ms;
    bool own_id = strcmp(info.subject.id.s, info.key_id.s) == 0;
    return own_id &&
           (tls->server ? info.subject.role != NET_ROLE_SERVER : info.subject.role == NET_ROLE_SERVER);
}

/* --- contexts --- */

static bool trust_add(SSL_CTX *ctx, struct a_view pem)
{
    X509_STORE *store = SSL_CTX_get_cert_store(ctx);
    for (size_t i = 0; net_cert_at(pem, i).len > 0; i++) {
        X509 *cert = net_cert_parse(net_cert_at(pem, i));
        bool ok = cert != NULL && X509_STORE_add_cert(store, cert) == 1;
        X509_free(cert);
        if (!ok)
            return false;
    }
    return true;
}

static bool chain_set(SSL_CTX *ctx, const struct net_tls_options *o)
{
    X509 *leaf = net_cert_parse(o->chain);
    bool ok = leaf != NULL && SSL_CTX_use_certificate(ctx, leaf) == 1 &&
              SSL_CTX_use_PrivateKey(ctx, o->key->pkey) == 1 && SSL_CTX_check_private_key(ctx) == 1;
    X509_free(leaf);
    for (size_t i = 1; ok && net_cert_at(o->chain, i).len > 0; i++) {
        X509 *cert = net_cert_parse(net_cert_at(o->chain, i));
        ok = cert != NULL && SSL_CTX_add0_chain_cert(ctx, cert) == 1;
        if (!ok)
            X509_free(cert);
    }
    return ok;
}

static bool ctx_set(struct net_tls *tls, const struct net_tls_options *o)
{
    SSL_CTX *ctx = tls->ctx;
    SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_mode(ctx, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    bool ok = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) == 1 &&
              SSL_CTX_set_num_tickets(ctx, 0) == 1 && trust_add(ctx, o->trust) &&
              (o->key == NULL || chain_set(ctx, o));
    if (!o->server || o->ask_peer)
        SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
    if (tls->pinned)
        SSL_CTX_set_cert_verify_callback(ctx, on_verify_pinned, tls);
    return ok;
}

int net_tls_new(const struct net_tls_options *options, struct net_tls **ret_tls, struct a_error *reterr)
{
    struct net_tls *tls = a_new(struct net_tls);
    tls->refs = 1;
    tls->server = options->server;
    tls->ctx = SSL_CTX_new(options->server ? TLS_server_method() : TLS_client_method());
    if (options->pin != NULL) {
        tls->pinned = true;
        tls->pin = *options->pin;
    }
    if (tls->ctx == NULL || !ctx_set(tls, options)) {
        net_tls_unref(tls);
        return net_openssl_fail(reterr, -EINVAL, "set TLS up");
    }
    *ret_tls = tls;
    return 0;
}

struct net_tls *net_tls_ref(struct net_tls *tls)
{
    if (tls != NULL)
        tls->refs++;
    return tls;
}

void net_tls_unref(struct net_tls *tls)
{
    if (tls == NULL || --tls->refs > 0)
        return;
    SSL_CTX_free(tls->ctx);
    a_free(tls);
}

SSL *net_tls_session(struct net_tls *tls, BIO *bio, struct net_peer *peer)
{
    SSL *ssl = SSL_new(tls->ctx);
    if (ssl == NULL) {
        BIO_free(bio);
        return NULL;
    }
    SSL_set_bio(ssl, bio, bio);
    SSL_set_app_data(ssl, peer);
    if (tls->server)
        SSL_set_accept_state(ssl);
    else
        SSL_set_connect_state(ssl);
    return ssl;
}
