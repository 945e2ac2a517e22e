/* Bringing a file to the server: asked for first by its digest, so that nothing is sent twice. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cli/app_file.h"
#include "sys/clock.h"
#include "sys/sha256.h"
#include "sys/terminal.h"

#define SHOW_MS 200 /* as often as a terminal is redrawn */

struct sending {
    struct cli *c;
    struct cli_progress *progress;
    const char *what;
    uint64_t shown_ms, total;
};

static int on_progress(void *ctx, uint64_t done_bytes, uint64_t total_bytes)
{
    struct sending *s = ctx;
    uint64_t now = sys_clock_mono_ms(), total = total_bytes != 0 ? total_bytes : s->total;
    if (sys_interrupted())
        return -EINTR;
    if (now - s->shown_ms < SHOW_MS || total == 0 || !sys_terminal_is(2))
        return 0;
    A_BUF_AUTO struct a_buf b = {0};
    s->shown_ms = now;
    a_buf_addf(&b, "uploading %s: %s of %s, %u %%\n", s->what, cli_bytes(s->c, done_bytes),
               cli_bytes(s->c, total), (unsigned)(done_bytes * 100 / total));
    cli_progress_show(s->progress, a_buf_view(&b));
    return 0;
}

static int exists(struct cli *c, const char *path, bool *ret)
{
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    const struct net_blocking_request request = {.method = "HEAD", .path = path};
    int rc = net_blocking_send(c->http, &request, &answer, &c->error);
    *ret = rc == 0;
    return rc == -EREMOTEIO && answer.status == 404 ? 0 : rc;
}

int cli_upload(struct cli *c, const char *namespace, const char *path, const char *name, const char *version,
               struct cli_progress *progress, bool *ret_sent, const char **ret_digest)
{
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    struct a_digest digest;
    char hex[A_DIGEST_HEX + 1];
    struct sending s = {.c = c, .progress = progress, .what = name};
    bool there = false;
    int rc = cli_connect(c);
    if (rc == 0)
        rc = sys_sha256_file(path, &digest, &s.total, &c->error);
    if (rc != 0)
        return rc;
    a_digest_hex(&digest, hex);
    const char *base = a_arena_printf(&c->arena, "/v1/namespaces/%s/artifacts", namespace);
    if (version == NULL) {
        rc = exists(c, a_arena_printf(&c->arena, "%s/sha256%%3A%s", base, hex), &there);
        version = a_arena_printf(&c->arena, "%.12s", hex);
    }
    *ret_digest = a_arena_printf(&c->arena, "sha256:%s", hex);
    *ret_sent = !there;
    if (rc != 0 || there)
        return rc;
    const struct net_http_header header = {"X-Astra-Digest", *ret_digest};
    const struct net_blocking_request request = {
        .method = "PUT",
        .path = a_arena_printf(&c->arena, "%s/%s@%s", base, cli_escape(c, name), cli_escape(c, version)),
        .headers = &header,
        .n_headers = 1,
        .content_type = "application/octet-stream",
        .upload_path = path,
        .progress = on_progress,
        .ctx = &s};
    return net_blocking_send(c->http, &request, &answer, &c->error);
}
