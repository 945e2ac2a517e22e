#include "tfcc/locate.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/text.h"
#include "sys/embed/dl.h"
#include "sys/embed/path.h"
#include "tfcc/error.h"

/* Names shown when a model is not found, and how much text that may be. */
#define LISTED_MAX 16
#define LISTED_TEXT 512

static int path_join(char *ret, const char *folder, const char *name, struct tfcc_error *reterr)
{
    int n = snprintf(ret, SYS_EMBED_PATH_MAX, "%s/%s", folder, name);
    if (n < 0 || n >= SYS_EMBED_PATH_MAX)
        return tfcc_fail(reterr, TFCC_E_INVALID, "the path %.64s.../%.64s is too long", folder, name);
    return TFCC_OK;
}

struct listing {
    struct a_buf text;
    const char *wanted;
    char nearest[128];
    int n;
};

static bool listing_add(void *arg, const char *name)
{
    struct listing *l = arg;
    const char *const candidates[] = {name, NULL};
    if (a_text_nearest(l->wanted, candidates) != NULL)
        snprintf(l->nearest, sizeof l->nearest, "%s", name);
    if (l->n++ < LISTED_MAX)
        a_buf_addf(&l->text, "%s%s", l->n > 1 ? ", " : "", name);
    return true;
}

static int name_not_found(const char *models_dir, const char *model, struct tfcc_error *reterr)
{
    struct listing l = {.text.max = LISTED_TEXT, .wanted = model};
    int rc = sys_embed_path_list(models_dir, listing_add, &l);
    const char *there = rc != 0 ? "that folder cannot be read" : l.n == 0 ? "it is empty" : l.text.ptr;
    bool near = l.nearest[0] != '\0';
    int code =
        tfcc_fail(reterr, TFCC_E_NOT_FOUND, "no model \"%s\" in the folder of models %s (there: %s)%s%s%s",
                  model, models_dir, there != NULL ? there : "", near ? "; did you mean \"" : "",
                  near ? l.nearest : "", near ? "\"?" : "");
    a_buf_deinit(&l.text);
    return code;
}

struct onnx_files {
    char name[256];
    int n;
};

static bool onnx_files_add(void *arg, const char *name)
{
    struct onnx_files *files = arg;
    size_t len = strlen(name);
    if (len < sizeof files->name && len > 5 && strcmp(name + len - 5, ".onnx") == 0) {
        memcpy(files->name, name, len + 1);
        files->n++;
    }
    return true;
}

static int folder_to_file(const char *folder, char *ret, struct tfcc_error *reterr)
{
    struct onnx_files files = {.n = 0};
    int rc = sys_embed_path_list(folder, onnx_files_add, &files);
    if (rc != 0)
        return tfcc_fail_errno(reterr, rc, "%s", folder);
    if (files.n != 1)
        return tfcc_fail(reterr, TFCC_E_NOT_FOUND,
                         "%s is a folder with %d *.onnx files: a model's folder must hold exactly one",
                         folder, files.n);
    return path_join(ret, folder, files.name, reterr);
}

static int path_to_file(const char *path, char *ret, struct tfcc_error *reterr)
{
    enum sys_embed_path_kind kind;
    char file[SYS_EMBED_PATH_MAX];
    int rc = sys_embed_path_kind(path, &kind);
    if (rc != 0)
        return tfcc_fail_errno(reterr, rc, "model file %s", path);
    if (kind == SYS_EMBED_PATH_FOLDER) {
        rc = folder_to_file(path, file, reterr);
        if (rc != 0)
            return rc;
        path = file;
    } else if (kind == SYS_EMBED_PATH_OTHER) {
        return tfcc_fail(reterr, TFCC_E_MODEL_INVALID, "%s is neither a file nor a folder", path);
    }
    rc = sys_embed_path_resolve(path, ret);
    return rc == 0 ? TFCC_OK : tfcc_fail_errno(reterr, rc, "model file %s", path);
}

int tfcc_locate_model(const char *models_dir, const char *model, char *ret, struct tfcc_error *reterr)
{
    enum sys_embed_path_kind kind;
    char path[SYS_EMBED_PATH_MAX];
    if (model[0] == '\0')
        return tfcc_fail(reterr, TFCC_E_INVALID, "the name of the model is empty");
    bool is_name = models_dir != NULL && strchr(model, '/') == NULL && model[0] != '.';
    if (!is_name)
        return path_to_file(model, ret, reterr);
    int rc = path_join(path, models_dir, model, reterr);
    if (rc != 0)
        return rc;
    rc = sys_embed_path_kind(path, &kind);
    if (rc == 0 || (rc != -ENOENT && rc != -ENOTDIR))
        return path_to_file(path, ret, reterr);
    if (sys_embed_path_kind(model, &kind) == 0)
        return path_to_file(model, ret, reterr);
    return name_not_found(models_dir, model, reterr);
}

/* An address in the library (or program) that this code was linked into. */
static const char anchor;

static int given_engine_dir(const char *given, char *ret, struct tfcc_error *reterr)
{
    enum sys_embed_path_kind kind;
    int rc = sys_embed_path_kind(given, &kind);
    if (rc != 0 || kind != SYS_EMBED_PATH_FOLDER)
        return tfcc_fail(reterr, TFCC_E_ENGINE_MISSING, "the engine folder %s does not exist", given);
    rc = sys_embed_path_resolve(given, ret);
    return rc == 0 ? TFCC_OK : tfcc_fail_errno(reterr, rc, "engine folder %s", given);
}

int tfcc_locate_engine_dir(const char *given, char *ret, struct tfcc_error *reterr)
{
    enum sys_embed_path_kind kind;
    char own[SYS_EMBED_PATH_MAX], beside[SYS_EMBED_PATH_MAX], installed[SYS_EMBED_PATH_MAX];
    if (given == NULL)
        given = getenv("ASTRA_TFCC_ENGINE_DIR");
    if (given != NULL && given[0] != '\0')
        return given_engine_dir(given, ret, reterr);
    int rc = sys_embed_dl_folder_of(&anchor, own, sizeof own);
    if (rc != 0)
        return tfcc_fail_errno(reterr, rc, "the folder of libastra-tfcc");
    rc = path_join(beside, own, "engine", reterr);
    if (rc == 0)
        rc = path_join(installed, own, "../lib/astra/engine", reterr);
    if (rc != 0)
        return rc;
    if (sys_embed_path_kind(beside, &kind) == 0 && kind == SYS_EMBED_PATH_FOLDER)
        rc = sys_embed_path_resolve(beside, ret);
    else if (sys_embed_path_kind(installed, &kind) == 0 && kind == SYS_EMBED_PATH_FOLDER)
        rc = sys_embed_path_resolve(installed, ret);
    else
        return tfcc_fail(reterr, TFCC_E_ENGINE_MISSING,
                         "no engine: neither %s nor %s exists, and ASTRA_TFCC_ENGINE_DIR is not set", beside,
                         installed);
    return rc == 0 ? TFCC_OK : tfcc_fail_errno(reterr, rc, "engine folder");
}

void tfcc_locate_digest(const char *path, char *ret)
{
    struct a_view rest = a_view_str(path), suffix;
    struct a_digest digest;
    ret[0] = '\0';
    while (rest.len > 0) {
        struct a_view part = a_view_split(rest, '/', &rest);
        part = a_view_split(part, '.', &suffix);
        if (a_view_starts(part, "sha256-"))
            part = (struct a_view){part.ptr + 7, part.len - 7};
        if (!a_digest_parse(part, &digest))
            continue;
        memcpy(ret, "sha256:", 7);
        a_digest_hex(&digest, ret + 7);
    }
}
