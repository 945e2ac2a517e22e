#include "cli/app_file.h"

#include <errno.h>
#include <string.h>

#include "artifact/pack.h"
#include "base/alloc.h"
#include "sys/clock.h"
#include "sys/env.h"
#include "sys/file.h"

#define FILE_MAX (8u << 20)

static int file_read(struct cli *c, const char *path, struct a_buf *ret)
{
    if (strcmp(path, "-") == 0)
        path = "/dev/stdin";
    int rc = sys_file_read(path, FILE_MAX, ret, &c->error);
    if (rc == -EFBIG)
        a_error_set(&c->error, A_CODE_TOO_LARGE, "%s has more than %u bytes", path, FILE_MAX);
    return rc;
}

static const char *folder_of(struct cli *c, const char *path)
{
    const char *slash = strrchr(path, '/');
    if (slash == NULL)
        return ".";
    return slash == path ? "/" : a_arena_strndup(&c->arena, path, (size_t)(slash - path));
}

static void problems_say(const struct cli_app *app)
{
    A_BUF_AUTO struct a_buf b = {0};
    unit_problems_print(&b, &app->problems, app->path);
    if (b.len > 0)
        fputs(b.ptr, stderr);
}

/* --namespace wins over nothing, not over what the file says otherwise. */
static int names_set(struct cli *c, struct cli_app *app)
{
    struct wire_value *metadata = wire_value_get(app->doc, "metadata");
    if (!wire_value_is(metadata, WIRE_VALUE_OBJECT))
        return 0;
    const char *said = wire_value_string(wire_value_get(metadata, "namespace"), NULL);
    if (said != NULL && c->namespace != NULL && strcmp(said, c->namespace) != 0)
        return a_fail(&c->error, -EINVAL, A_CODE_USAGE, "%s says namespace %s, --namespace says %s",
                      app->path, said, c->namespace);
    if (said == NULL)
        wire_value_set_string(&c->arena, metadata, "namespace", cli_namespace(c));
    return 0;
}

int cli_app_read(struct cli *c, const char *file, struct cli_app *ret)
{
    A_BUF_AUTO struct a_buf text = {0};
    struct wire_value *doc;
    struct sys_stat st;
    *ret = (struct cli_app){.path = file, .problems = {.arena = &c->arena}};
    if (sys_file_stat(file, &st, NULL) == 0 && st.is_dir)
        ret->path = a_arena_printf(&c->arena, "%s/app.yaml", file);
    ret->folder = folder_of(c, ret->path);
    int rc = file_read(c, ret->path, &text);
    if (rc == 0)
        rc = wire_yaml_parse(&c->arena, a_buf_view(&text), ret->path, NULL, &doc, &c->error);
    if (rc != 0)
        return rc;
    ret->doc = unit_app_expand(&c->arena, doc);
    rc = names_set(c, ret);
    if (rc != 0)
        return rc;
    unit_app_check(&ret->problems, ret->doc, &ret->full);
    problems_say(ret);
    if (ret->problems.n_errors > 0)
        return a_fail(&c->error, -EINVAL, A_CODE_APP_INVALID, "%s has %zu error%s", ret->path,
                      ret->problems.n_errors, ret->problems.n_errors == 1 ? "" : "s");
    const struct wire_value *metadata = wire_value_get(ret->full, "metadata");
    if (!a_name_parse(wire_value_view(wire_value_get(metadata, "name")), &ret->name) ||
        !a_name_parse(wire_value_view(wire_value_get(metadata, "namespace")), &ret->namespace))
        return a_fail(&c->error, -EINVAL, A_CODE_APP_INVALID, "%s: metadata.name is no name", ret->path);
    return 0;
}

/* ---- packing ---- */

static const char *path_from(struct cli *c, const struct cli_app *app, const char *path)
{
    return path[0] == '/' ? path : a_arena_printf(&c->arena, "%s/%s", app->folder, path);
}

static void pack_say(struct cli_pack *pack, const char *line)
{
    A_BUF_AUTO struct a_buf b = {0};
    a_buf_addf(&b, "%s\n", line);
    cli_progress_show(&pack->progress, a_buf_view(&b));
}

/* DIR/astra, made. */
static int cache_folder(struct cli *c, const char **ret)
{
    const char *cache = sys_env_get("XDG_CACHE_HOME"), *home = sys_env_get("HOME");
    const char *dir = cache != NULL
                          ? a_arena_printf(&c->arena, "%s/astra/code", cache)
                          : a_arena_printf(&c->arena, "%s/.cache/astra/code", home != NULL ? home : "/tmp");
    *ret = dir;
    return sys_dir_make(dir, 0700, &c->error);
}

static int code_pack(struct cli *c, struct cli_app *app, struct cli_pack *pack)
{
    const struct wire_value *path = wire_value_path(app->full, "spec.code.path");
    struct wire_value *code = wire_value_path(app->doc, "spec.code");
    struct artifact_packed packed;
    const char *dir, *digest;
    bool sent;
    if (wire_value_is_null(path))
        return 0;
    const char *folder = path_from(c, app, wire_value_string(path, "."));
    int rc = cache_folder(c, &dir);
    if (rc != 0)
        return rc;
    const char *out = a_arena_printf(&c->arena, "%s/%s-%llu.tar.zst", dir, app->name.s,
                                     (unsigned long long)sys_clock_mono_ns());
    uint64_t begun = sys_clock_mono_ms();
    rc = artifact_pack(folder, out, &packed, &c->error);
    pack->packed_ms += sys_clock_mono_ms() - begun;
    if (rc != 0)
        return rc;
    pack_say(pack, a_arena_printf(&c->arena, "code: %llu files of %s packed",
                                  (unsigned long long)packed.files, folder));
    rc = cli_upload(c, app->namespace.s, out, a_arena_printf(&c->arena, "%.35s-code", app->name.s), NULL,
                    &pack->progress, &sent, &digest);
    (void)!sys_file_remove(out, NULL);
    if (rc != 0)
        return rc;
    wire_value_set_null(&c->arena, code, "path");
    wire_value_set_string(&c->arena, code, "artifact", digest);
    pack_say(pack, a_arena_printf(&c->arena, "code: %.19s, %llu files%s", digest,
                                  (unsigned long long)packed.files, sent ? "" : " (there already)"));
    return 0;
}

static int environment_pack(struct cli *c, struct cli_app *app, struct cli_pack *pack, size_t index)
{
    const struct wire_value *full = wire_value_at(wire_value_path(app->full, "spec.environment"), index);
    struct wire_value *env = wire_value_at(wire_value_path(app->doc, "spec.environment"), index);
    const char *requirements = wire_value_string(wire_value_get(full, "requirements"), NULL), *archive,
               *digest;
    bool sent;
    if (requirements == NULL)
        return 0;
    uint64_t begun = sys_clock_mono_ms();
    pack_say(pack,
             a_arena_printf(&c->arena, "environment: packing %s (minutes the first time)", requirements));
    cli_progress_end(&pack->progress);
    /* The python field picks the interpreter only when the user wrote it. */
    archive = "";
    int rc = cli_env_pack(c, pack->libdir, path_from(c, app, requirements),
                          wire_value_string(wire_value_get(env, "python"), NULL),
                          wire_value_string(wire_value_get(full, "index"), NULL), &archive);
    pack->packed_ms += sys_clock_mono_ms() - begun;
    if (rc == 0)
        rc = cli_upload(c, app->namespace.s, archive, a_arena_printf(&c->arena, "%.36s-env", app->name.s),
                        NULL, &pack->progress, &sent, &digest);
    (void)!sys_file_remove(archive, NULL);
    (void)!sys_file_remove(a_arena_printf(&c->arena, "%s.json", archive), NULL);
    if (rc != 0)
        return rc;
    wire_value_set_null(&c->arena, env, "requirements");
    wire_value_remove(env, "index");
    wire_value_set_string(&c->arena, env, "artifact", digest);
    pack_say(pack, a_arena_printf(&c->arena, "environment: %.19s%s", digest, sent ? "" : " (there already)"));
    return 0;
}

int cli_app_pack(struct cli *c, struct cli_app *app, struct cli_pack *pack)
{
    size_t n = wire_value_count(wire_value_path(app->full, "spec.environment"));
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = environment_pack(c, app, pack, i);
    if (rc == 0)
        rc = code_pack(c, app, pack);
    cli_progress_end(&pack->progress);
    return rc;
}
