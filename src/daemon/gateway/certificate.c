/* The certificate of the port for clients: read from its files at the start, and again when they change. A
 * pair that cannot be used ends the start; later it is told, and the one before is shown on: connections are
 * not touched by either. */
#include <string.h>

#include "base/alloc.h"
#include "daemon/gateway/process.h"
#include "sys/clock.h"
#include "sys/file.h"
#include "sys/log.h"
#include "sys/secret.h"
#include "sys/sha256.h"

#define LOOK_MS 5000
#define CHAIN_MAX ((size_t)256 * 1024)
#define KEY_MAX ((size_t)64 * 1024)

static bool is_wanted(const struct d_gateway *g)
{
    return g->options.tls_cert[0] != '\0';
}

/* True when they are others than at the last look; files that cannot be read are as they were. */
static bool files_changed(struct d_gateway *g)
{
    struct a_digest now[2];
    uint64_t size;
    if (sys_sha256_file(g->options.tls_cert, &now[0], &size, NULL) < 0 ||
        sys_sha256_file(g->options.tls_key, &now[1], &size, NULL) < 0)
        return false;
    bool same = a_digest_equal(&now[0], &g->tls_seen[0]) && a_digest_equal(&now[1], &g->tls_seen[1]);
    memcpy(g->tls_seen, now, sizeof now);
    return !same;
}

static void contexts_free(struct net_tls **tls, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        net_tls_unref(tls[i]);
}

/* One for each worker: they are counted without locks. */
static int contexts_make(struct d_gateway *g, struct net_tls **ret_tls, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf chain = {0};
    A_BUF_AUTO struct a_buf key = {0};
    uint64_t not_after_ms = 0;
    unsigned n = 0;
    int rc = sys_file_read(g->options.tls_cert, CHAIN_MAX, &chain, reterr);
    if (rc == 0)
        rc = sys_file_read(g->options.tls_key, KEY_MAX, &key, reterr);
    const struct net_tls_public pair = {.chain = a_buf_view(&chain),
                                        .key = a_buf_view(&key),
                                        .chain_name = g->options.tls_cert,
                                        .key_name = g->options.tls_key,
                                        .now_ms = sys_clock_wall_ms()};
    while (rc == 0 && n < g->n_workers) {
        rc = net_tls_new_public(&pair, &ret_tls[n], &not_after_ms, reterr);
        n += rc == 0;
    }
    sys_secret_wipe(key.ptr, key.len);
    if (rc != 0) {
        contexts_free(ret_tls, n);
        return rc;
    }
    g->tls_not_after_ms = not_after_ms;
    g->tls_end_told = false;
    return 0;
}

static void taken_tell(const struct d_gateway *g)
{
    char until[SYS_RFC3339_LEN + 1];
    sys_clock_print(g->tls_not_after_ms, until);
    sys_log(INFO, "gateway", "gateway.certificate", "clients are shown a certificate",
            SYS_STR("until", until), SYS_STR("file", g->options.tls_cert));
}

int d_gw_certificate_open(struct d_gateway *g, struct a_error *reterr)
{
    if (!is_wanted(g))
        return 0;
    struct net_tls **tls = a_alloc_array(g->n_workers, sizeof(struct net_tls *));
    (void)files_changed(g);
    int rc = contexts_make(g, tls, reterr);
    if (rc == 0) {
        g->tls = tls;
        taken_tell(g);
    } else {
        a_free(tls);
    }
    return rc;
}

void d_gw_certificate_read(struct d_gateway *g)
{
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    if (!is_wanted(g))
        return;
    struct net_tls **tls = a_alloc_array(g->n_workers, sizeof(struct net_tls *));
    if (contexts_make(g, tls, &e) == 0) {
        d_gw_crew_set_tls(g, tls);
        taken_tell(g);
    } else {
        sys_log(ERROR, "gateway", "gateway.certificate",
                "the new certificate is of no use; the one before is shown on", SYS_ERR(&e));
    }
    a_free(tls);
}

static void look(void *ctx)
{
    struct d_gateway *g = ctx;
    sys_timer_set_in(&g->tls_timer, LOOK_MS);
    if (files_changed(g))
        d_gw_certificate_read(g);
    if (sys_clock_wall_ms() <= g->tls_not_after_ms || g->tls_end_told)
        return;
    g->tls_end_told = true;
    sys_log(ERROR, "gateway", "gateway.certificate", "the certificate has ended; clients will refuse it",
            SYS_STR("file", g->options.tls_cert));
}

void d_gw_certificate_watch(struct d_gateway *g)
{
    sys_timer_init(&g->tls_timer, g->loop, look, g);
    if (is_wanted(g))
        sys_timer_set_in(&g->tls_timer, LOOK_MS);
}

void d_gw_certificate_close(struct d_gateway *g)
{
    sys_timer_clear(&g->tls_timer);
    if (g->tls != NULL)
        contexts_free(g->tls, g->n_workers);
    a_free(g->tls);
    g->tls = NULL;
}
