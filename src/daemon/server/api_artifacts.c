/* Artifacts over HTTP. An upload goes to a temporary file piece by piece (written and hashed in the io pool,
 * at most UPLOAD_AHEAD bytes ahead of the disk), is synced, and takes its place under its digest; only then
 * has it a name. What is cut short leaves nothing behind.
 *
 * PUT is of NAME@VERSION and may say its digest before (X-Astra-Digest: sha256:HEX); HEAD answers whether a
 * digest, or a name, is there already, so that nothing is sent twice. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/alloc.h"
#include "daemon/server/api.h"
#include "daemon/server/upgrades.h"
#include "sys/file.h"
#include "sys/sha256.h"

#define UPLOAD_MAX (64ull << 30)
#define UPLOAD_AHEAD (4u << 20)
#define VERSION_MAX 64

struct upload {
    struct api_call *call; /* NULL: the client went away */
    void *later;           /* while it is being named */
    struct server *s;
    struct a_name namespace;
    char name[A_NAME_MAX + 1], version[VERSION_MAX + 1];
    bool has_expected;
    struct a_digest expected;
    char *path;
    int fd;
    struct sys_sha256 *sha;
    uint64_t bytes;
    struct a_buf filling, writing; /* swapped when the disk is ready */
    struct sys_work work;
    bool busy, paused, complete;
    int rc; /* of the disk */
    struct a_error error;
    struct a_digest digest;
    char *final_path;
};

/* ---- names ---- */

static bool version_is_good(struct a_view v)
{
    for (size_t i = 0; i < v.len; i++) {
        char c = v.ptr[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
                    c == '-' || c == '_' || c == '+';
        if (!good)
            return false;
    }
    return v.len > 0 && v.len <= VERSION_MAX && v.ptr[0] != '.';
}

/* NAME@VERSION */
static int names_read(struct api_call *c, struct upload *u, struct a_error *reterr)
{
    struct a_view version, name = a_view_split(c->params[1], '@', &version);
    if (!a_text_is_label(name, A_NAME_MAX) || !version_is_good(version))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "\"" A_VIEW_FMT "\" is no NAME@VERSION: a DNS label, and letters, digits or . - _ +",
                      A_VIEW_ARG(c->params[1]));
    snprintf(u->name, sizeof u->name, A_VIEW_FMT, A_VIEW_ARG(name));
    snprintf(u->version, sizeof u->version, A_VIEW_FMT, A_VIEW_ARG(version));
    if (d_upgrade_is_agent(&u->namespace, u->name) && (c->role < API_ADMIN || c->scope != NULL))
        return a_fail(
            reterr, -EACCES, A_CODE_FORBIDDEN,
            "\"%s\" is a name of agents, which all namespaces share: it takes an admin's token that is "
            "for no single namespace",
            u->name);
    struct a_view digest = net_http_request_header(c->r, "x-astra-digest");
    if (digest.len > 0 && !a_digest_parse(digest, &u->expected))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID, "X-Astra-Digest: \"" A_VIEW_FMT "\" is no sha256:HEX",
                      A_VIEW_ARG(digest));
    u->has_expected = digest.len > 0;
    return 0;
}

/* ---- upload ---- */

static void upload_free(struct upload *u)
{
    sys_fd_close(u->fd);
    if (u->path != NULL)
        (void)!sys_file_remove(u->path, NULL);
    if (u->sha != NULL)
        sys_sha256_free(u->sha);
    a_buf_deinit(&u->filling);
    a_buf_deinit(&u->writing);
    a_error_deinit(&u->error);
    a_free(u->path);
    a_free(u->final_path);
    a_free(u);
}

/* Io pool: what has come so far. */
static void upload_work(void *ctx)
{
    struct upload *u = ctx;
    if (u->fd < 0)
        u->rc = sys_file_append_open(u->path, 0600, &u->fd, &u->error);
    if (u->rc == 0 && u->writing.len > 0) {
        u->rc = sys_fd_write_full(u->fd, u->writing.ptr, u->writing.len);
        if (u->rc != 0)
            a_fail_errno(&u->error, u->rc, "%s", u->path);
        else
            sys_sha256_update(u->sha, u->writing.ptr, u->writing.len);
    }
    a_buf_reset(&u->writing);
}

/* Io pool: all is there; sync, name, and take the place. */
static void upload_finish_work(void *ctx)
{
    struct upload *u = ctx;
    char hex[A_DIGEST_HEX + 1];
    upload_work(u);
    if (u->rc != 0)
        return;
    sys_sha256_finish(a_steal(&u->sha), &u->digest);
    a_digest_hex(&u->digest, hex);
    if (u->has_expected && !a_digest_equal(&u->digest, &u->expected)) {
        u->rc = a_fail(&u->error, -EBADMSG, A_CODE_ARTIFACT_DIGEST,
                       "the bytes that arrived have the digest sha256:%s", hex);
        return;
    }
    A_AUTOFREE char *dir = a_asprintf("%s/artifacts/sha256", u->s->options.data);
    u->final_path = d_artifact_path(u->s, &u->digest);
    u->rc = sys_dir_make(dir, 0700, &u->error);
    if (u->rc == 0)
        u->rc = sys_fd_sync(u->fd, &u->error);
    if (u->rc == 0)
        u->rc = sys_file_rename(u->path, u->final_path, &u->error);
}

static void upload_submit(struct upload *u);

static void on_named(void *ctx, const struct a_error *error)
{
    struct upload *u = ctx;
    struct api_call *c = api_now(u->later);
    char hex[A_DIGEST_HEX + 1];
    if (c != NULL && error != NULL && error->code != A_CODE_NONE) {
        api_reply_error(c, error);
    } else if (c != NULL) {
        struct wire_value *v = wire_value_new_object(c->arena);
        a_digest_hex(&u->digest, hex);
        wire_value_set_string(c->arena, v, "namespace", u->namespace.s);
        wire_value_set_string(c->arena, v, "name", u->name);
        wire_value_set_string(c->arena, v, "version", u->version);
        wire_value_set_string(c->arena, v, "digest", a_arena_printf(c->arena, "sha256:%s", hex));
        wire_value_set_int(c->arena, v, "bytes", (int64_t)u->bytes);
        api_reply_value(c, 201, v);
    }
    upload_free(u);
}

static void upload_ended(struct upload *u)
{
    struct api_call *c = u->call;
    if (c == NULL) {
        upload_free(u);
        return;
    }
    if (u->rc != 0) {
        if (u->error.code == A_CODE_OS && u->rc == -ENOSPC)
            u->error.code = A_CODE_STORE_FULL;
        c->r->on_gone = NULL;
        api_reply_error(c, &u->error);
        upload_free(u);
        return;
    }
    c->r->on_gone = NULL; /* from here on it is answered in any case */
    u->later = api_later(c);
    d_artifact_put(u->s, &u->namespace, u->name, u->version, &u->digest, u->bytes, on_named, u);
}

static void on_written(void *ctx, bool cancelled)
{
    struct upload *u = ctx;
    u->busy = false;
    if (cancelled && u->rc == 0)
        u->rc = a_fail(&u->error, -ECANCELED, A_CODE_UNAVAILABLE, "the server stops");
    if (u->call == NULL || u->rc != 0 || (u->complete && u->sha == NULL)) {
        upload_ended(u);
        return;
    }
    if (u->filling.len > 0 || u->complete)
        upload_submit(u);
    if (u->paused && u->filling.len < UPLOAD_AHEAD / 2) {
        u->paused = false;
        net_http_request_resume_body(u->call->r);
    }
}

static void upload_submit(struct upload *u)
{
    struct a_buf empty = u->writing;
    u->writing = u->filling;
    u->filling = empty;
    u->busy = true;
    if (sys_pool_submit(u->s->io, u->s->loop, &u->work, u->complete ? upload_finish_work : upload_work,
                        on_written, u) == 0)
        return;
    u->busy = false;
    u->rc = a_fail(&u->error, -EBUSY, A_CODE_UNAVAILABLE, "the disks have too much to do: try again");
}

static void on_piece(void *ctx, struct net_http_request *r, struct a_view bytes)
{
    struct upload *u = ctx;
    u->bytes += bytes.len;
    a_buf_add_view(&u->filling, bytes);
    if (!u->busy && u->rc == 0)
        upload_submit(u);
    if (u->filling.len >= UPLOAD_AHEAD && u->rc == 0) {
        u->paused = true;
        net_http_request_pause_body(r);
    } else if (u->rc != 0) {
        a_buf_reset(&u->filling); /* the answer waits for the body's end */
    }
}

static void on_upload_gone(void *ctx, struct net_http_request *r)
{
    struct upload *u = ctx;
    (void)r;
    a_error_deinit(&u->call->error);
    u->call = NULL;
    if (!u->busy)
        upload_free(u);
}

void api_upload_begin(struct api_call *c)
{
    struct upload *u = a_new(struct upload);
    *u = (struct upload){.call = c, .s = c->s, .namespace = c->namespace, .fd = -1};
    if (names_read(c, u, &c->error) != 0) {
        A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
        a_error_move(&e, &c->error);
        api_reply_error(c, &e);
        upload_free(u);
        return;
    }
    u->path = a_asprintf("%s/artifacts/tmp/%" PRIu64, c->s->options.data, ++c->api->uploads);
    u->sha = sys_sha256_new();
    c->user = u;
    c->r->on_gone = on_upload_gone;
    c->r->on_gone_ctx = u;
    net_http_request_set_body_max(c->r, UPLOAD_MAX);
    net_http_request_take_body(c->r, on_piece, u);
}

/* The body is whole. */
void api_handle_ARTIFACT_PUT(struct api_call *c)
{
    struct upload *u = c->user;
    u->complete = true;
    if (!u->busy && u->rc == 0)
        upload_submit(u);
    if (u->rc != 0 && !u->busy)
        upload_ended(u);
}

/* ---- listing and fetching ---- */

static struct wire_value *artifact_json(const struct d_artifact *f, struct a_arena *arena)
{
    struct wire_value *v = wire_value_new_object(arena);
    char hex[A_DIGEST_HEX + 1];
    a_digest_hex(&f->digest, hex);
    wire_value_set_string(arena, v, "namespace", f->namespace.s);
    wire_value_set_string(arena, v, "name", f->name);
    wire_value_set_string(arena, v, "version", f->version);
    wire_value_set_string(arena, v, "digest", a_arena_printf(arena, "sha256:%s", hex));
    wire_value_set_int(arena, v, "bytes", (int64_t)f->bytes);
    api_set_time(arena, v, "created", f->created_unix_ms);
    return v;
}

static int artifact_order(const void *x, const void *y)
{
    const struct d_artifact *const *a = x, *const *b = y;
    return strcmp((*a)->key, (*b)->key);
}

void api_handle_ARTIFACTS(struct api_call *c)
{
    struct wire_value *v = wire_value_new_object(c->arena), *items = wire_value_new_array(c->arena);
    const struct d_artifact **list = a_arena_alloc(c->arena, (c->s->artifacts.len + 1) * sizeof *list);
    size_t n = 0;
    a_map_foreach (l, &c->s->artifacts) {
        const struct d_artifact *f = a_map_entry(l, struct d_artifact, by_name);
        if (strcmp(f->namespace.s, c->namespace.s) == 0)
            list[n++] = f;
    }
    qsort(list, n, sizeof(const struct d_artifact *), artifact_order);
    for (size_t i = 0; i < n; i++)
        wire_value_append(items, artifact_json(list[i], c->arena));
    wire_value_set_string(c->arena, v, "kind", "ArtifactList");
    wire_value_set(c->arena, v, "items", items);
    api_reply_value(c, 200, v);
}

/* NAME@VERSION, NAME (the newest) or sha256:HEX. */
void api_handle_ARTIFACT(struct api_call *c)
{
    struct a_digest digest;
    struct sys_stat st;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int fd = -1;
    char hex[A_DIGEST_HEX + 1];
    if (!d_artifact_resolve(c->s, &c->namespace, api_param(c, 1), &digest)) {
        api_reply_problem(c, A_CODE_NOT_FOUND, "no artifact \"%s\" in namespace %s", api_param(c, 1),
                          c->namespace.s);
        return;
    }
    A_AUTOFREE char *path = d_artifact_path(c->s, &digest);
    if (sys_file_stat(path, &st, &e) != 0 || sys_file_open_read(path, &fd, &e) != 0) {
        api_reply_problem(c, A_CODE_INTERNAL, "the file of %s is not there: %s", api_param(c, 1),
                          a_error_text(&e));
        return;
    }
    a_digest_hex(&digest, hex);
    const char *text = a_arena_printf(c->arena, "sha256:%s", hex);
    const struct net_http_header headers[] = {{"X-Astra-Digest", text},
                                              {"ETag", a_arena_printf(c->arena, "\"%s\"", text)}};
    net_http_reply_file(c->r,
                        &(struct net_http_response){.content_type = "application/octet-stream",
                                                    .headers = headers,
                                                    .n_headers = A_ARRAY_SIZE(headers)},
                        fd, 0, st.size);
}
