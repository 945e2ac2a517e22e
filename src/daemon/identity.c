#include "daemon/identity.h"

#include <errno.h>
#include <string.h>

#include "base/alloc.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/random.h"

#define KEY_MAX 1024
#define TOKEN_MAX 512
#define LOOK_MS 60000 /* the wall clock may be set: it is looked at again after so long */

/* ---- files ---- */

static char *file_path(const struct d_identity *i, const char *name)
{
    return sys_path_join(i->dir, name);
}

static int file_read(const struct d_identity *i, const char *name, size_t max, struct a_buf *ret,
                     struct a_error *reterr)
{
    A_AUTOFREE char *path = file_path(i, name);
    a_buf_reset(ret);
    return sys_file_read(path, max, ret, reterr);
}

static int file_write(const struct d_identity *i, const char *name, struct a_view text, mode_t mode,
                      struct a_error *reterr)
{
    if (i->dir == NULL)
        return 0;
    A_AUTOFREE char *path = file_path(i, name);
    return sys_file_write_atomic(path, text.ptr, text.len, mode, reterr);
}

static bool file_exists(const struct d_identity *i, const char *name)
{
    if (i->dir == NULL)
        return false;
    A_AUTOFREE char *path = file_path(i, name);
    return sys_file_exists(path);
}

static int key_load(struct d_identity *i, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf pem = {0};
    int rc;
    if (file_exists(i, "key.pem")) {
        rc = file_read(i, "key.pem", KEY_MAX, &pem, reterr);
        if (rc == 0)
            rc = net_key_read(a_buf_view(&pem), &i->key, reterr);
    } else {
        rc = net_key_new(&i->key, reterr);
        if (rc == 0)
            rc = net_key_print(i->key, &pem, reterr);
        if (rc == 0)
            rc = file_write(i, "key.pem", a_buf_view(&pem), 0600, reterr);
    }
    if (pem.ptr != NULL)
        sys_secret_wipe(pem.ptr, pem.len);
    if (rc == 0)
        net_key_id(i->key, &i->id);
    return rc;
}

/* SECRET-PIN: the pin is the SHA-256 of the authority's certificate. */
static int token_load(struct d_identity *i, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    A_BUF_AUTO struct a_buf pin = {0};
    if (i->token_path == NULL)
        return 0;
    int rc = sys_file_read(i->token_path, TOKEN_MAX, &text, reterr);
    if (rc != 0)
        return rc;
    struct a_view rest, line = a_view_trim(a_view_split(a_buf_view(&text), '\n', &rest));
    const char *dash = line.len > 0 ? memrchr(line.ptr, '-', line.len) : NULL;
    size_t secret = dash != NULL ? (size_t)(dash - line.ptr) : 0;
    a_buf_addf(&pin, "sha256:" A_VIEW_FMT, (int)(line.len - secret - (secret > 0)),
               dash != NULL ? dash + 1 : "");
    i->has_token = secret > 0 && a_digest_parse(a_buf_view(&pin), &i->pin);
    if (i->has_token)
        sys_secret_set(&i->token, (struct a_view){line.ptr, secret});
    sys_secret_wipe(text.ptr, text.len);
    if (i->has_token)
        return 0;
    return a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s: no join token: expected SECRET-PIN in one line",
                  i->token_path);
}

/* ---- what is shown and trusted ---- */

static int tls_make(struct d_identity *i, struct a_error *reterr)
{
    struct net_tls *tls = NULL;
    struct net_tls_options o = {0};
    if (i->joining)
        o.pin = &i->pin;
    else
        o = (struct net_tls_options){
            .key = i->key, .chain = a_buf_view(&i->cert), .trust = a_buf_view(&i->trust)};
    int rc = net_tls_new(&o, &tls, reterr);
    if (rc != 0)
        return rc;
    net_tls_unref(i->tls);
    i->tls = tls;
    return 0;
}

static bool subject_is_ours(const struct d_identity *i, const struct net_cert_info *info)
{
    return info->subject.role == i->role && strcmp(info->subject.id.s, i->id.s) == 0 &&
           strcmp(info->key_id.s, i->id.s) == 0 && strcmp(info->subject.cluster.s, i->cluster.s) == 0;
}

/* Of the folder; without it, or with one of another cluster, we join. */
static void certificate_load(struct d_identity *i)
{
    struct net_cert_info info;
    struct sys_stat st;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (!file_exists(i, "cert.pem") || !file_exists(i, "ca.pem"))
        return;
    A_AUTOFREE char *path = file_path(i, "cert.pem");
    int rc = file_read(i, "cert.pem", NET_CERT_PEM_MAX, &i->cert, &e);
    if (rc == 0)
        rc = file_read(i, "ca.pem", NET_CERT_TRUST_MAX, &i->trust, &e);
    if (rc == 0)
        rc = net_cert_read(a_buf_view(&i->cert), &info, &e);
    if (rc == 0)
        rc = sys_file_stat(path, &st, &e);
    if (rc == 0 && !subject_is_ours(i, &info))
        rc = a_fail(&e, -EINVAL, A_CODE_INVALID, "%s: the certificate of another node or cluster", path);
    if (rc != 0) {
        sys_log(WARN, "identity", "identity.unreadable", "the certificate cannot be used: joining anew",
                SYS_ERR(&e));
        return;
    }
    i->issued_ms = A_MIN(st.mtime_ms, info.not_after_ms);
    i->not_after_ms = info.not_after_ms;
}

/* ---- renewing ---- */

static void request_send(struct d_identity *i, struct net_link *link)
{
    A_BUF_AUTO struct a_buf pem = {0};
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    struct wire_sl_message m = {.type = WIRE_SL_T_CERT_REQUEST};
    int rc = net_cert_request(i->key, &pem, &e);
    m.cert_request = (struct wire_sl_cert_request){
        .request = a_buf_view(&pem),
        .token = sys_secret_view(&i->token), /* looked at when the certificate alone is not enough */
        .peer = i->role == NET_ROLE_GATEWAY ? WIRE_SL_PEER_GATEWAY : WIRE_SL_PEER_AGENT,
        .cluster = i->cluster,
        .name = a_view_str(i->name),
    };
    if (rc == 0)
        rc = net_link_send(link, &m, &e);
    if (rc != 0)
        sys_log(WARN, "identity", "identity.request", "no certificate could be asked for", SYS_ERR(&e));
}

static uint64_t life_ms(const struct d_identity *i)
{
    return i->not_after_ms - i->issued_ms;
}

/* 0 = now. */
static uint64_t renew_in_ms(const struct d_identity *i)
{
    uint64_t now = sys_clock_wall_ms(), at = i->issued_ms + life_ms(i) / 3 * 2;
    return at > now && !i->outdated ? at - now : 0;
}

/* Until it ends, which is told then; LOOK_MS at most. */
static uint64_t end_in_ms(const struct d_identity *i)
{
    uint64_t now = sys_clock_wall_ms();
    return i->not_after_ms >= now ? A_MIN(i->not_after_ms + 1 - now, (uint64_t)LOOK_MS) : LOOK_MS;
}

static void expiry_tell(struct d_identity *i)
{
    bool over = i->not_after_ms != 0 && sys_clock_wall_ms() > i->not_after_ms;
    if (over && !i->told_expired)
        sys_log(WARN, "identity", "identity.expired",
                "the certificate has ended and could not be renewed; everything runs on",
                SYS_STR("id", i->id.s), SYS_I64("seconds", -d_identity_left_s(i)));
    i->told_expired = over;
}

static void on_timer(void *ctx)
{
    struct d_identity *i = ctx;
    uint64_t now = sys_loop_now_ms(i->loop);
    expiry_tell(i);
    if (i->not_after_ms == 0)
        return;
    uint64_t wait = renew_in_ms(i);
    if (wait == 0 && i->link != NULL) {
        if (d_renewal_wait_ms(&i->renewal, now) == 0) {
            d_renewal_asked(&i->renewal, life_ms(i), now);
            request_send(i, i->link);
        }
        wait = d_renewal_wait_ms(&i->renewal, now);
    }
    if (wait == 0)
        wait = LOOK_MS; /* a link wakes us */
    sys_timer_set_in(&i->timer, A_MIN(wait, end_in_ms(i)));
}

/* ---- for the owner ---- */

int d_identity_open(struct d_identity *i, const struct d_identity_options *options, struct a_error *reterr)
{
    *i = (struct d_identity){.role = options->role,
                             .cluster = options->cluster,
                             .dir = options->dir != NULL ? a_strdup(options->dir) : NULL,
                             .token_path = options->token_path != NULL ? a_strdup(options->token_path) : NULL,
                             .name = a_strdup(options->name != NULL ? options->name : "")};
    return key_load(i, reterr);
}

int d_identity_start(struct d_identity *i, struct sys_loop *loop, struct a_error *reterr)
{
    i->loop = loop;
    sys_timer_init(&i->timer, loop, on_timer, i);
    d_renewal_init(&i->renewal, sys_random_seed());
    certificate_load(i);
    i->joining = i->not_after_ms == 0;
    int rc = token_load(i, i->joining ? reterr : NULL);
    if (!i->joining)
        rc = 0; /* who is certified needs no token */
    if (rc == 0 && i->joining && !i->has_token)
        rc =
            a_fail(reterr, -ENOENT, A_CODE_UNAUTHORIZED,
                   "this %s has no certificate yet: say where the join token is (the server's join.token, or "
                   "`astra token create --role join`)",
                   net_role_name(i->role));
    if (rc == 0)
        rc = tls_make(i, reterr);
    if (rc == 0)
        sys_timer_set_in(&i->timer, 0);
    return rc;
}

void d_identity_close(struct d_identity *i)
{
    sys_timer_clear(&i->timer);
    net_tls_unref(a_steal(&i->tls));
    net_key_free(a_steal(&i->key));
    sys_secret_deinit(&i->token);
    a_buf_deinit(&i->cert);
    a_buf_deinit(&i->trust);
    a_free(a_steal(&i->dir));
    a_free(a_steal(&i->token_path));
    a_free(a_steal(&i->name));
}

bool d_identity_is_certified(const struct d_identity *i)
{
    return !i->joining;
}

void d_identity_join(struct d_identity *i, struct net_link *link)
{
    request_send(i, link);
}

static int certificate_keep(struct d_identity *i, const struct wire_sl_certificate *m, struct a_error *reterr)
{
    struct net_cert_info info;
    int rc = net_cert_read(m->certificate, &info, reterr);
    if (rc == 0 && !subject_is_ours(i, &info))
        rc = a_fail(reterr, -EINVAL, A_CODE_INVALID, "the server sent a certificate for another one");
    if (rc == 0)
        rc = file_write(i, "cert.pem", m->certificate, 0644, reterr);
    if (rc != 0)
        return rc;
    a_buf_reset(&i->cert);
    a_buf_add_view(&i->cert, m->certificate);
    i->issued_ms = A_MIN(sys_clock_wall_ms(), info.not_after_ms);
    i->not_after_ms = info.not_after_ms;
    i->outdated = false;
    return 0;
}

static int trust_keep(struct d_identity *i, const struct wire_sl_certificate *m, struct a_error *reterr)
{
    if (net_cert_count(m->trust) == 0)
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "the server sent no authority");
    int rc = file_write(i, "ca.pem", m->trust, 0644, reterr);
    if (rc != 0)
        return rc;
    a_buf_reset(&i->trust);
    a_buf_add_view(&i->trust, m->trust);
    return 0;
}

enum d_identity_took d_identity_take(struct d_identity *i, const struct wire_sl_certificate *m)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    bool first = i->joining;
    int rc = trust_keep(i, m, &e);
    if (rc == 0 && m->certificate.len == 0) {
        i->outdated = true; /* what is under way already will be answered by the new authority */
        sys_timer_set_in(&i->timer, 0);
        return D_IDENTITY_NOTHING;
    }
    d_renewal_answered(&i->renewal, sys_loop_now_ms(i->loop));
    if (rc == 0)
        rc = certificate_keep(i, m, &e);
    if (rc == 0) {
        i->joining = false;
        rc = tls_make(i, &e);
    }
    if (rc != 0) {
        sys_log(ERROR, "identity", "identity.take", "a certificate could not be taken", SYS_ERR(&e));
        return D_IDENTITY_NOTHING;
    }
    i->renewals += !first;
    sys_log(INFO, "identity", first ? "identity.joined" : "identity.renewed", "there is a new certificate",
            SYS_STR("id", i->id.s), SYS_I64("seconds", d_identity_left_s(i)));
    sys_timer_set_in(&i->timer, 0);
    return first ? D_IDENTITY_JOINED : D_IDENTITY_RENEWED;
}

void d_identity_use_link(struct d_identity *i, struct net_link *link)
{
    if (i->link != NULL)
        d_renewal_cut(&i->renewal, sys_loop_now_ms(i->loop));
    i->link = link;
    if (link != NULL)
        sys_timer_set_in(&i->timer, 0);
}

void d_identity_doubt(struct d_identity *i)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    bool may_join = token_load(i, &e) == 0 && i->has_token, may_show = i->not_after_ms != 0;
    bool was = i->joining;
    i->joining = i->joining ? !may_show : may_join;
    if (was == i->joining && !i->joining)
        return;
    int rc = tls_make(i, &e); /* joining: the token, and with it the pin, may be another one */
    sys_log(WARN, "identity", "identity.doubt",
            i->joining ? "the server is not the one we know, or does not know us: the join token is tried"
                       : "the join token does not open either: the certificate is tried again",
            SYS_I64("rc", rc));
}

int64_t d_identity_left_s(const struct d_identity *i)
{
    return i->not_after_ms != 0 ? ((int64_t)i->not_after_ms - (int64_t)sys_clock_wall_ms()) / 1000 : 0;
}
