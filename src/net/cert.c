/* X.509 by OpenSSL. Nothing of OpenSSL's is seen outside of src/net. */
#include "net/cert_internal.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/alloc.h"
#include "base/assert.h"

#define SERIAL_BYTES 16
#define SEED_BYTES 32

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"
#define PEM_END "-----END CERTIFICATE-----"

int net_openssl_fail(struct a_error *reterr, int rc, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *why = code != 0 ? ERR_reason_error_string(code) : NULL;
    ERR_clear_error();
    return a_fail(reterr, rc, A_CODE_INVALID, "%s: %s", what, why != NULL ? why : "not valid");
}

const char *net_role_name(enum net_role role)
{
    static const char *const names[] = {"none", "node", "gateway", "server"};
    return names[role];
}

/* --- keys --- */

static int key_wrap(EVP_PKEY *pkey, struct net_key **ret, const char *what, struct a_error *reterr)
{
    if (pkey == NULL)
        return net_openssl_fail(reterr, -EINVAL, what);
    if (EVP_PKEY_get_base_id(pkey) != EVP_PKEY_ED25519) {
        EVP_PKEY_free(pkey);
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: not an Ed25519 key", what);
    }
    struct net_key *key = a_new(struct net_key);
    key->pkey = pkey;
    *ret = key;
    return 0;
}

int net_key_new(struct net_key **ret_key, struct a_error *reterr)
{
    return key_wrap(EVP_PKEY_Q_keygen(NULL, NULL, "ED25519"), ret_key, "make a key", reterr);
}

int net_key_read(struct a_view pem, struct net_key **ret_key, struct a_error *reterr)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    EVP_PKEY *pkey = bio != NULL ? PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return key_wrap(pkey, ret_key, "read a key", reterr);
}

/* What was written into a memory BIO, which is freed. */
static int bio_take(BIO *bio, bool ok, struct a_buf *ret, const char *what, struct a_error *reterr)
{
    char *bytes = NULL;
    long n = ok ? BIO_get_mem_data(bio, &bytes) : 0;
    if (n > 0)
        a_buf_add(ret, bytes, (size_t)n);
    BIO_free(bio);
    return n > 0 && !ret->failed ? 0 : net_openssl_fail(reterr, -EINVAL, what);
}

int net_key_print(const struct net_key *key, struct a_buf *ret_pem, struct a_error *reterr)
{
    BIO *bio = BIO_new(BIO_s_secmem());
    bool ok = bio != NULL && PEM_write_bio_PrivateKey(bio, key->pkey, NULL, NULL, 0, NULL, NULL) == 1;
    return bio_take(bio, ok, ret_pem, "print a key", reterr);
}

void net_key_free(struct net_key *key)
{
    if (key == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    a_free(key);
}

/* False for keys of other kinds. */
static bool pkey_id(EVP_PKEY *pkey, struct a_node_id *ret)
{
    uint8_t raw[SEED_BYTES], hash[EVP_MAX_MD_SIZE];
    size_t n = sizeof raw;
    if (pkey == NULL || EVP_PKEY_get_base_id(pkey) != EVP_PKEY_ED25519 ||
        EVP_PKEY_get_raw_public_key(pkey, raw, &n) != 1 ||
        EVP_Digest(raw, n, hash, NULL, EVP_sha256(), NULL) != 1)
        return false;
    a_node_id_make(hash, ret);
    return true;
}

void net_key_id(const struct net_key *key, struct a_node_id *ret_id)
{
    bool ok = pkey_id(key->pkey, ret_id);
    a_assert(ok);
}

/* --- reading --- */

X509 *net_cert_parse(struct a_view pem)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509 *cert = bio != NULL && pem.len > 0 ? PEM_read_bio_X509(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return cert;
}

void net_cert_digest(X509 *cert, struct a_digest *ret_digest)
{
    unsigned n = 0;
    uint8_t hash[EVP_MAX_MD_SIZE];
    int ok = X509_digest(cert, EVP_sha256(), hash, &n);
    a_assert(ok == 1 && n == sizeof ret_digest->bytes);
    memcpy(ret_digest->bytes, hash, sizeof ret_digest->bytes);
}

static uint64_t time_ms(const ASN1_TIME *t)
{
    struct tm tm;
    if (t == NULL || ASN1_TIME_to_tm(t, &tm) != 1)
        return 0;
    time_t s = timegm(&tm);
    return s > 0 ? (uint64_t)s * 1000 : 0;
}

/* astra://CLUSTER/ROLE/ID */
static bool subject_parse(struct a_view uri, struct net_subject *ret)
{
    static const char scheme[] = "astra://";
    struct a_view cluster, role, rest;
    struct net_subject s = {.role = NET_ROLE_NONE};
    if (!a_view_starts(uri, scheme))
        return false;
    rest = (struct a_view){uri.ptr + sizeof scheme - 1, uri.len - sizeof scheme + 1};
    cluster = a_view_split(rest, '/', &rest);
    role = a_view_split(rest, '/', &rest);
    for (int i = NET_ROLE_NODE; i <= NET_ROLE_SERVER; i++)
        if (a_view_is(role, net_role_name((enum net_role)i)))
            s.role = (enum net_role)i;
    bool named = s.role == NET_ROLE_NODE ? a_name_parse(cluster, &s.cluster) : a_view_is(cluster, "-");
    if (s.role == NET_ROLE_NONE || !named || !a_node_id_parse(rest, &s.id))
        return false;
    *ret = s;
    return true;
}

static void subject_find(X509 *cert, struct net_subject *ret)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
    bool found = false;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && !found; i++) {
        const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);
        if (name->type != GEN_URI)
            continue;
        const ASN1_IA5STRING *uri = name->d.uniformResourceIdentifier;
        found = subject_parse(
            (struct a_view){(const char *)ASN1_STRING_get0_data(uri), (size_t)ASN1_STRING_length(uri)}, ret);
    }
    GENERAL_NAMES_free(names);
}

void net_cert_describe(X509 *cert, struct net_cert_info *ret_info)
{
    *ret_info = (struct net_cert_info){.not_before_ms = time_ms(X509_get0_notBefore(cert)),
                                       .not_after_ms = time_ms(X509_get0_notAfter(cert))};
    subject_find(cert, &ret_info->subject);
    net_cert_digest(cert, &ret_info->digest);
    if (!pkey_id(X509_get0_pubkey(cert), &ret_info->key_id))
        ret_info->key_id = (struct a_node_id){""};
}

int net_cert_read(struct a_view pem, struct net_cert_info *ret_info, struct a_error *reterr)
{
    X509 *cert = net_cert_parse(pem);
    if (cert == NULL)
        return net_openssl_fail(reterr, -EINVAL, "read a certificate");
    net_cert_describe(cert, ret_info);
    X509_free(cert);
    return 0;
}

/* Where `text` is in the view; NULL when it is not. */
static const char *view_find(struct a_view v, const char *text)
{
    return v.len > 0 ? memmem(v.ptr, v.len, text, strlen(text)) : NULL;
}

struct a_view net_cert_at(struct a_view pem, size_t index)
{
    for (size_t i = 0;; i++) {
        const char *begin = view_find(pem, PEM_BEGIN);
        if (begin == NULL)
            return (struct a_view){"", 0};
        struct a_view rest = {begin, pem.len - (size_t)(begin - pem.ptr)};
        const char *end = view_find(rest, PEM_END);
        if (end == NULL)
            return (struct a_view){"", 0};
        end += sizeof PEM_END - 1;
        if (end < rest.ptr + rest.len && *end == '\n')
            end++;
        if (i == index)
            return (struct a_view){begin, (size_t)(end - begin)};
        pem = (struct a_view){end, rest.len - (size_t)(end - begin)};
    }
}

size_t net_cert_count(struct a_view pem)
{
    size_t n = 0;
    while (net_cert_at(pem, n).len > 0)
        n++;
    return n;
}

/* --- making --- */

static bool extension_add(X509 *cert, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
    X509_EXTENSION *e = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    bool ok = e != NULL && X509_add_ext(cert, e, -1) == 1;
    X509_EXTENSION_free(e);
    return ok;
}

static bool serial_set(X509 *cert)
{
    uint8_t bytes[SERIAL_BYTES];
    if (RAND_bytes(bytes, sizeof bytes) != 1)
        return false;
    bytes[0] &= 0x7f;
    BIGNUM *n = BN_bin2bn(bytes, sizeof bytes, NULL);
    bool ok = n != NULL && BN_to_ASN1_INTEGER(n, X509_get_serialNumber(cert)) != NULL;
    BN_free(n);
    return ok;
}

static X509 *cert_begin(EVP_PKEY *key, uint64_t not_before_ms, uint64_t not_after_ms)
{
    X509 *cert = X509_new();
    bool ok = cert != NULL && X509_set_version(cert, X509_VERSION_3) == 1 && serial_set(cert) &&
              X509_set_pubkey(cert, key) == 1 &&
              ASN1_TIME_set(X509_getm_notBefore(cert), (time_t)(not_before_ms / 1000)) != NULL &&
              ASN1_TIME_set(X509_getm_notAfter(cert), (time_t)(not_after_ms / 1000)) != NULL;
    if (ok)
        return cert;
    X509_free(cert);
    return NULL;
}

static bool name_set(X509_NAME *name, const char *common)
{
    return X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, (const unsigned char *)common, -1, -1, 0) ==
           1;
}

static int cert_print(X509 *cert, bool ok, struct a_buf *ret_pem, const char *what, struct a_error *reterr)
{
    BIO *bio = BIO_new(BIO_s_mem());
    ok = ok && bio != NULL && PEM_write_bio_X509(bio, cert) == 1;
    X509_free(cert);
    return bio_take(bio, ok, ret_pem, what, reterr);
}

static bool authority_extensions(X509 *cert, X509 *issuer)
{
    return extension_add(cert, issuer, NID_basic_constraints, "critical,CA:TRUE") &&
           extension_add(cert, issuer, NID_key_usage, "critical,keyCertSign,cRLSign") &&
           extension_add(cert, issuer, NID_subject_key_identifier, "hash") &&
           extension_add(cert, issuer, NID_authority_key_identifier, "keyid");
}

int net_cert_authority(const struct net_key *key, const char *name, uint64_t not_before_ms,
                       uint64_t not_after_ms, struct a_buf *ret_pem, struct a_error *reterr)
{
    X509 *cert = cert_begin(key->pkey, not_before_ms, not_after_ms);
    bool ok = cert != NULL && name_set(X509_get_subject_name(cert), name) &&
              name_set(X509_get_issuer_name(cert), name) && authority_extensions(cert, cert) &&
              X509_sign(cert, key->pkey, NULL) > 0;
    return cert_print(cert, ok, ret_pem, "make an authority", reterr);
}

int net_cert_cross(const struct net_issuer *issuer, struct a_view authority, struct a_buf *ret_pem,
                   struct a_error *reterr)
{
    X509 *by = net_cert_parse(issuer->certificate), *of = net_cert_parse(authority);
    X509 *cert = of != NULL ? cert_begin(X509_get0_pubkey(of), time_ms(X509_get0_notBefore(of)),
                                         time_ms(X509_get0_notAfter(of)))
                            : NULL;
    bool ok = by != NULL && cert != NULL && X509_set_subject_name(cert, X509_get_subject_name(of)) == 1 &&
              X509_set_issuer_name(cert, X509_get_subject_name(by)) == 1 && authority_extensions(cert, by) &&
              X509_sign(cert, issuer->key->pkey, NULL) > 0;
    X509_free(by);
    X509_free(of);
    return cert_print(cert, ok, ret_pem, "sign an authority", reterr);
}

static bool host_is_address(const char *host)
{
    ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);
    ASN1_OCTET_STRING_free(ip);
    ERR_clear_error();
    return ip != NULL;
}

/* URI:astra://...,DNS:localhost,IP:127.0.0.1. What would be read as another entry is left out. */
static bool names_add(X509 *cert, X509 *issuer, const struct net_issue *issue)
{
    A_BUF_AUTO struct a_buf b = {0};
    const struct net_subject *s = &issue->subject;
    a_buf_addf(&b, "URI:astra://%s/%s/%s", s->role == NET_ROLE_NODE ? s->cluster.s : "-",
               net_role_name(s->role), s->id.s);
    for (size_t i = 0; i < issue->n_hosts; i++)
        if (strpbrk(issue->hosts[i], ",; \t\n@/") == NULL && issue->hosts[i][0] != '\0')
            a_buf_addf(&b, ",%s:%s", host_is_address(issue->hosts[i]) ? "IP" : "DNS", issue->hosts[i]);
    return !b.failed && extension_add(cert, issuer, NID_subject_alt_name, b.ptr);
}

static bool leaf_extensions(X509 *cert, X509 *by, const struct net_issue *issue)
{
    const char *use = issue->subject.role == NET_ROLE_SERVER ? "serverAuth" : "clientAuth";
    return extension_add(cert, by, NID_basic_constraints, "critical,CA:FALSE") &&
           extension_add(cert, by, NID_key_usage, "critical,digitalSignature") &&
           extension_add(cert, by, NID_ext_key_usage, use) && names_add(cert, by, issue) &&
           extension_add(cert, by, NID_subject_key_identifier, "hash") &&
           extension_add(cert, by, NID_authority_key_identifier, "keyid");
}

static X509_REQ *request_parse(struct a_view pem)
{
    BIO *bio = BIO_new_mem_buf(pem.ptr, (int)pem.len);
    X509_REQ *request = bio != NULL && pem.len > 0 ? PEM_read_bio_X509_REQ(bio, NULL, NULL, NULL) : NULL;
    BIO_free(bio);
    return request;
}

int net_cert_issue(const struct net_issuer *issuer, const struct net_issue *issue, struct a_buf *ret_pem,
                   struct a_error *reterr)
{
    X509 *by = net_cert_parse(issuer->certificate), *cert = NULL;
    X509_REQ *request = issue->key == NULL ? request_parse(issue->request) : NULL;
    EVP_PKEY *key = issue->key != NULL ? issue->key->pkey
                    : request != NULL  ? X509_REQ_get0_pubkey(request)
                                       : NULL;
    if (key != NULL)
        cert = cert_begin(key, issue->not_before_ms, issue->not_after_ms);
    bool ok = by != NULL && cert != NULL && name_set(X509_get_subject_name(cert), issue->subject.id.s) &&
              X509_set_issuer_name(cert, X509_get_subject_name(by)) == 1 &&
              leaf_extensions(cert, by, issue) && X509_sign(cert, issuer->key->pkey, NULL) > 0;
    X509_free(by);
    X509_REQ_free(request);
    return cert_print(cert, ok, ret_pem, "issue a certificate", reterr);
}

/* --- requests --- */

int net_cert_request(const struct net_key *key, struct a_buf *ret_pem, struct a_error *reterr)
{
    struct a_node_id id;
    X509_REQ *request = X509_REQ_new();
    BIO *bio = BIO_new(BIO_s_mem());
    net_key_id(key, &id);
    bool ok = request != NULL && bio != NULL && name_set(X509_REQ_get_subject_name(request), id.s) &&
              X509_REQ_set_pubkey(request, key->pkey) == 1 && X509_REQ_sign(request, key->pkey, NULL) > 0 &&
              PEM_write_bio_X509_REQ(bio, request) == 1;
    X509_REQ_free(request);
    return bio_take(bio, ok, ret_pem, "make a certificate request", reterr);
}

int net_cert_request_check(struct a_view pem, struct a_node_id *ret_id, struct a_error *reterr)
{
    struct a_node_id id;
    X509_REQ *request = request_parse(pem);
    EVP_PKEY *key = request != NULL ? X509_REQ_get0_pubkey(request) : NULL;
    bool ok = pkey_id(key, &id) && X509_REQ_verify(request, key) == 1;
    X509_REQ_free(request);
    if (!ok)
        return net_openssl_fail(reterr, -EINVAL, "a certificate request that its own key did not sign");
    *ret_id = id;
    return 0;
}
