#include "cli/package.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "artifact/pack.h"
#include "base/alloc.h"
#include "cli/python.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"
#include "sys/terminal.h"

#define RESULT_MAX (1 << 20)
#define UPLOAD_SILENCE_MS (5 * 60 * 1000) /* the server syncs what it got before it answers */
#define VERSION_DIGITS 16                 /* of the digest, as the version of what deploys put */

/* ---- packing ---- */

static int folder_make(struct cli_packages *p, struct a_error *reterr)
{
    const char *tmp = sys_env_get("TMPDIR");
    if (p->folder != NULL)
        return 0;
    A_AUTOFREE char *prefix = a_asprintf("%s/astra-deploy-", tmp != NULL ? tmp : "/tmp");
    return sys_dir_make_temp(prefix, &p->folder, reterr);
}

static const char *path_from(struct cli_call *c, const struct cli_appfile *f, const char *path)
{
    return path[0] == '/' ? path : a_arena_printf(c->arena, "%s/%s", f->folder, path);
}

static struct cli_package *package_add(struct cli_packages *p, const char *what)
{
    struct cli_package *item = &p->items[p->n++];
    item->what = what;
    return item;
}

static int code_pack(struct cli_call *c, const struct cli_appfile *f, struct wire_value *code,
                     struct cli_packages *p, struct cli_progress *progress, struct a_error *reterr)
{
    const char *path = path_from(c, f, wire_value_string(wire_value_get(code, "path"), "."));
    const char *archive = a_arena_printf(c->arena, "%s/code.tar.zst", p->folder);
    struct artifact_packed packed;
    char hex[A_DIGEST_HEX + 1];
    int rc = artifact_pack(path, archive, NULL, &packed, reterr);
    if (rc != 0) {
        a_error_wrap(reterr, "spec.code");
        return rc;
    }
    a_digest_hex(&packed.digest, hex);
    struct cli_package *item = package_add(p, "code");
    item->path = archive;
    item->bytes = packed.bytes;
    item->digest = a_arena_printf(c->arena, "sha256:%s", hex);
    wire_value_set_null(c->arena, code, "path");
    wire_value_set_string(c->arena, code, "artifact", item->digest);
    cli_progress_say(progress, "packed %s: %" PRIu64 " files, %s", path, packed.files,
                     cli_size(c->arena, packed.bytes));
    return 0;
}

/* What astra.envpack printed: {"path", "cached", "digest", "bytes", "manifest"}. */
static int result_read(struct cli_call *c, const char *path, struct cli_package *item, bool *ret_cached,
                       struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_value *v;
    int rc = sys_file_read(path, RESULT_MAX, &text, reterr);
    if (rc == 0)
        rc = wire_json_parse(c->arena, a_buf_view(&text), "astra.envpack", NULL, &v, reterr);
    if (rc != 0)
        return rc;
    item->path = wire_value_string(wire_value_get(v, "path"), "");
    item->digest = wire_value_string(wire_value_get(v, "digest"), "");
    item->bytes = (uint64_t)wire_value_int(wire_value_get(v, "bytes"), 0);
    *ret_cached = wire_value_bool(wire_value_get(v, "cached"), false);
    if (strncmp(item->digest, "sha256:", 7) != 0)
        item->digest = a_arena_printf(c->arena, "sha256:%s", item->digest);
    return 0;
}

static const char *cache_dir(struct cli_call *c)
{
    const char *cache = sys_env_get("XDG_CACHE_HOME"), *home = sys_env_get("HOME");
    return cache != NULL ? a_arena_printf(c->arena, "%s/astra/env", cache)
                         : a_arena_printf(c->arena, "%s/.cache/astra/env", home != NULL ? home : "");
}

static int envpack_run(struct cli_call *c, const char *requirements, const struct wire_value *env,
                       const char *archive, const char *result, struct a_error *reterr)
{
    const char *python = wire_value_string(wire_value_get(env, "python"), NULL);
    const char *index = wire_value_string(wire_value_get(env, "index"), NULL);
    const char *args[16] = {"pack", requirements, "--json", "-o", archive, "--cache", cache_dir(c)};
    size_t n = 7;
    int status;
    if (python != NULL) {
        args[n++] = "--python";
        args[n++] = python;
    }
    if (index != NULL) {
        args[n++] = "--index";
        args[n++] = index;
    }
    int rc = cli_python_envpack(c, args, result, &status, reterr);
    if (rc == 0 && status != 0)
        rc = a_fail(reterr, -ECANCELED, A_CODE_INVALID,
                    "the environment of %s could not be packed (exit status %d, see above)", requirements,
                    status);
    return rc;
}

static int env_pack(struct cli_call *c, const struct cli_appfile *f, struct wire_value *env,
                    struct cli_packages *p, struct cli_progress *progress, struct a_error *reterr)
{
    const char *path = path_from(c, f, wire_value_string(wire_value_get(env, "requirements"), ""));
    const char *archive = a_arena_printf(c->arena, "%s/env-%zu.tar.zst", p->folder, p->n);
    const char *result = a_arena_printf(c->arena, "%s/env-%zu.json", p->folder, p->n);
    uint64_t start = sys_clock_mono_ms();
    bool cached = false;
    if (!sys_file_exists(path))
        return a_fail(reterr, -ENOENT, A_CODE_INVALID, "%s: spec.environment: there is no file %s", f->path,
                      path);
    int rc = envpack_run(c, path, env, archive, result, reterr);
    struct cli_package *item = package_add(p, "env");
    if (rc == 0)
        rc = result_read(c, result, item, &cached, reterr);
    if (rc != 0)
        return rc;
    wire_value_set_null(c->arena, env, "requirements");
    wire_value_set_string(c->arena, env, "artifact", item->digest);
    cli_progress_say(progress, "packed %s: %s, %.1f s%s", path, cli_size(c->arena, item->bytes),
                     (double)(sys_clock_mono_ms() - start) / 1000, cached ? " (from the cache)" : "");
    return 0;
}

static bool is_set(const struct wire_value *v, const char *key)
{
    return !wire_value_is_null(wire_value_get(v, key));
}

int cli_packages_make(struct cli_call *c, struct cli_appfile *f, struct cli_progress *progress,
                      struct cli_packages *ret, struct a_error *reterr)
{
    struct wire_value *code = wire_value_path(f->app, "spec.code"),
                      *list = wire_value_path(f->app, "spec.environment");
    int rc = folder_make(ret, reterr);
    if (rc == 0 && is_set(code, "path"))
        rc = code_pack(c, f, code, ret, progress, reterr);
    for (size_t i = 0; i < wire_value_count(list) && rc == 0; i++) {
        struct wire_value *env = wire_value_at(list, i);
        if (!is_set(env, "requirements"))
            continue;
        const char *arch = wire_value_string(wire_value_path(env, "match.arch"), NULL);
        if (arch != NULL && strcmp(arch, sys_env_arch()) != 0)
            return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                          "spec.environment[%zu]: an environment for %s is packed on such a machine: "
                          "`astra env pack` there, `astra artifact put`, and name the artifact here",
                          i, arch);
        if (ret->n == CLI_PACKAGES_MAX)
            return a_fail(reterr, -E2BIG, A_CODE_TOO_LARGE, "spec.environment: more than %d are to be packed",
                          CLI_PACKAGES_MAX - 1);
        rc = env_pack(c, f, env, ret, progress, reterr);
    }
    return rc;
}

void cli_packages_deinit(struct cli_packages *p)
{
    if (p->folder != NULL)
        (void)!sys_dir_remove(p->folder, NULL);
    a_free(p->folder);
    *p = (struct cli_packages){.n = 0};
}

/* ---- the server's side ---- */

int cli_artifact_exists(struct cli_call *c, const char *namespace, const char *source, bool *ret,
                        struct a_error *reterr)
{
    const char *path = cli_path(c, "/v1/namespaces/{}/artifacts/{}", namespace, source, NULL);
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int rc = cli_request(c, "HEAD", path, NULL, NULL, NULL, &e);
    if (rc == -EREMOTEIO && e.code == A_CODE_NOT_FOUND) {
        *ret = false;
        return 0;
    }
    if (rc != 0) {
        a_error_move(reterr, &e);
        return rc;
    }
    *ret = true;
    return 0;
}

struct upload {
    struct cli_progress *progress;
    const char *what;
};

static int on_upload(void *ctx, uint64_t done, uint64_t total)
{
    const struct upload *u = ctx;
    cli_progress_bytes(u->progress, u->what, done, total);
    return sys_interrupted() ? -EINTR : 0;
}

int cli_artifact_send(struct cli_call *c, const char *namespace, const char *name, const char *path,
                      const char *digest, struct cli_progress *progress, struct wire_value **ret,
                      struct a_error *reterr)
{
    NET_BLOCKING_ANSWER_AUTO struct net_blocking_answer answer = {0};
    struct upload u = {progress, a_arena_printf(c->arena, "uploading %s", name)};
    const struct net_http_header headers[] = {{"X-Astra-Digest", digest}};
    const struct net_blocking_request request = {
        .method = "PUT",
        .path = cli_path(c, "/v1/namespaces/{}/artifacts/{}", namespace, name, NULL),
        .content_type = "application/octet-stream",
        .upload_path = path,
        .timeout_ms = UPLOAD_SILENCE_MS,
        .headers = headers,
        .n_headers = digest != NULL ? 1 : 0,
        .progress = on_upload,
        .ctx = &u,
    };
    progress->said_ms = 0;
    int rc = cli_client_open(c, reterr);
    if (rc == 0)
        rc = net_blocking_send(c->http, &request, &answer, reterr);
    cli_progress_clear(progress);
    if (rc != 0) {
        a_error_wrap(reterr, "upload %s", name);
        return rc;
    }
    return ret == NULL ? 0 : wire_json_parse(c->arena, a_buf_view(&answer.body), NULL, NULL, ret, reterr);
}

int cli_packages_upload(struct cli_call *c, const struct cli_appfile *f, const struct cli_packages *p,
                        struct cli_progress *progress, struct a_error *reterr)
{
    int rc = 0;
    for (size_t i = 0; i < p->n && rc == 0; i++) {
        const struct cli_package *item = &p->items[i];
        const char *name = a_arena_printf(c->arena, "%s@%.*s", item->what, VERSION_DIGITS, item->digest + 7);
        uint64_t start = sys_clock_mono_ms();
        bool there = false;
        rc = cli_artifact_exists(c, f->namespace, item->digest, &there, reterr);
        if (rc != 0 || there)
            continue;
        rc = cli_artifact_send(c, f->namespace, name, item->path, item->digest, progress, NULL, reterr);
        if (rc == 0)
            cli_progress_say(progress, "uploaded %s: %s, %.1f s", name, cli_size(c->arena, item->bytes),
                             (double)(sys_clock_mono_ms() - start) / 1000);
    }
    return rc;
}

static int source_check(struct cli_call *c, struct cli_appfile *f, const char *field,
                        const struct wire_value *source, struct a_error *reterr)
{
    const char *text = wire_value_string(source, "");
    bool there = true;
    int rc = cli_artifact_exists(c, f->namespace, text, &there, reterr);
    if (rc == 0 && !there)
        wire_problem_add(&f->problems, A_CODE_APP_INVALID, field, source,
                         a_arena_printf(c->arena, "put it there: astra artifact put FILE --name %s",
                                        strncmp(text, "sha256:", 7) == 0 ? "NAME@VERSION" : text),
                         "the server has no artifact \"%s\" in namespace %s", text, f->namespace);
    return rc;
}

int cli_sources_check(struct cli_call *c, struct cli_appfile *f, struct a_error *reterr)
{
    const struct wire_value *spec = wire_value_get(f->app, "spec"),
                            *code = wire_value_path(spec, "code.artifact");
    int rc = cli_client_open(c, reterr);
    size_t i = 0;
    if (rc == 0)
        rc = cli_request(c, "GET", "/v1/version", NULL, NULL, NULL, reterr); /* before anything is packed */
    wire_value_foreach(env, wire_value_get(spec, "environment"))
    {
        const char *field = a_arena_printf(c->arena, "spec.environment[%zu].artifact", i++);
        if (rc == 0 && is_set(env, "artifact"))
            rc = source_check(c, f, field, wire_value_get(env, "artifact"), reterr);
    }
    if (rc == 0 && !wire_value_is_null(code))
        rc = source_check(c, f, "spec.code.artifact", code, reterr);
    wire_value_foreach(model, wire_value_get(spec, "models"))
    {
        const char *field = a_arena_printf(c->arena, "spec.models.%s.source", model->key.ptr);
        if (rc == 0)
            rc = source_check(c, f, field, wire_value_get(model, "source"), reterr);
    }
    return rc;
}
