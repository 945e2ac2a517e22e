#include "artifact/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "artifact/unpack.h"
#include "base/alloc.h"
#include "sys/file.h"

#define IGNORE_MAX (1u << 20) /* bytes of an ignore file */
#define DEPTH_MAX 64
#define LEVEL "6"

/* ---- what is left out ---- */

/* `*` and `?` stop at a slash, `**` does not. */
static bool glob_matches(struct a_view p, struct a_view s)
{
    while (p.len > 0) {
        if (p.ptr[0] == '*') {
            bool deep = p.len > 1 && p.ptr[1] == '*';
            size_t stars = deep ? 2 : 1;
            p = (struct a_view){p.ptr + stars, p.len - stars};
            if (deep && p.len > 0 && p.ptr[0] == '/' &&
                glob_matches((struct a_view){p.ptr + 1, p.len - 1}, s))
                return true;
            for (size_t i = 0;; i++) {
                if (glob_matches(p, (struct a_view){s.ptr + i, s.len - i}))
                    return true;
                if (i == s.len || (!deep && s.ptr[i] == '/'))
                    return false;
            }
        }
        if (s.len == 0 || (p.ptr[0] == '?' ? s.ptr[0] == '/' : p.ptr[0] != s.ptr[0]))
            return false;
        p = (struct a_view){p.ptr + 1, p.len - 1};
        s = (struct a_view){s.ptr + 1, s.len - 1};
    }
    return s.len == 0;
}

static struct a_view base_name(struct a_view path)
{
    for (size_t i = path.len; i > 0; i--)
        if (path.ptr[i - 1] == '/')
            return (struct a_view){path.ptr + i, path.len - i};
    return path;
}

bool artifact_ignore_matches(struct a_view pattern, struct a_view path, bool is_dir)
{
    pattern = a_view_trim(pattern);
    if (pattern.len > 0 && pattern.ptr[pattern.len - 1] == '\r')
        pattern.len--;
    if (pattern.len > 0 && pattern.ptr[0] == '!')
        pattern = (struct a_view){pattern.ptr + 1, pattern.len - 1};
    if (pattern.len == 0 || pattern.ptr[0] == '#')
        return false;
    if (pattern.ptr[pattern.len - 1] == '/') {
        pattern.len--;
        if (!is_dir)
            return false;
    }
    if (pattern.len == 0)
        return false;
    if (memchr(pattern.ptr, '/', pattern.len) == NULL)
        return glob_matches(pattern, base_name(path));
    if (pattern.ptr[0] == '/')
        pattern = (struct a_view){pattern.ptr + 1, pattern.len - 1};
    return glob_matches(pattern, path);
}

/* The last line that matches decides. */
static bool is_ignored(struct a_view rules, struct a_view path, bool is_dir)
{
    static const char always[] = ".git\n__pycache__/\n*.pyc\n" ARTIFACT_IGNORE_FILE "\n";
    const struct a_view sets[] = {A_VIEW_LIT(always), rules};
    bool ignored = false;
    for (size_t i = 0; i < A_ARRAY_SIZE(sets); i++) {
        struct a_view rest = sets[i];
        while (rest.len > 0) {
            struct a_view line = a_view_split(rest, '\n', &rest);
            if (artifact_ignore_matches(line, path, is_dir))
                ignored = a_view_trim(line).ptr[0] != '!';
        }
    }
    return ignored;
}

/* ---- what is put in ---- */

struct file {
    char *path; /* relative */
    struct sys_stat st;
};

struct walk {
    const char *folder, *output;
    struct a_view rules;
    struct file *files;
    size_t n, cap;
    unsigned depth;
    const char *at;       /* relative folder being listed; "" = the top */
    struct sys_stat skip; /* the output itself */
    bool has_skip;
    struct a_error *reterr;
};

static int walk_folder(struct walk *w, const char *at);

static int walk_add(struct walk *w, char *path, const struct sys_stat *st)
{
    if (w->n == ARTIFACT_PACK_FILES_MAX) {
        a_free(path);
        return a_fail(w->reterr, -EINVAL, A_CODE_INVALID,
                      "%s has more than %d files: name what is not code in %s", w->folder,
                      ARTIFACT_PACK_FILES_MAX, ARTIFACT_IGNORE_FILE);
    }
    if (w->n == w->cap) {
        w->cap = A_MAX(w->cap * 2, (size_t)64);
        w->files = a_realloc(w->files, w->cap * sizeof *w->files);
    }
    w->files[w->n++] = (struct file){path, *st};
    return 0;
}

static int walk_entry(void *ctx, const char *name, bool is_dir)
{
    struct walk *w = ctx;
    A_AUTOFREE char *path = w->at[0] != '\0' ? sys_path_join(w->at, name) : a_strdup(name);
    if (is_ignored(w->rules, a_view_str(path), is_dir))
        return 0;
    A_AUTOFREE char *full = sys_path_join(w->folder, path);
    struct sys_stat st;
    int rc = sys_file_stat(full, &st, w->reterr);
    if (rc != 0)
        return rc;
    if (w->has_skip && st.device == w->skip.device && st.inode == w->skip.inode)
        return 0;
    if (!st.is_file && !st.is_dir && !st.is_link)
        return a_fail(w->reterr, -EINVAL, A_CODE_INVALID, "%s is neither a file, a folder nor a link", full);
    rc = walk_add(w, a_strdup(path), &st);
    return rc != 0 || !st.is_dir ? rc : walk_folder(w, path);
}

static int walk_folder(struct walk *w, const char *at)
{
    const char *before = w->at;
    A_AUTOFREE char *full = at[0] != '\0' ? sys_path_join(w->folder, at) : a_strdup(w->folder);
    if (++w->depth > DEPTH_MAX)
        return a_fail(w->reterr, -EINVAL, A_CODE_INVALID, "%s: folders are nested more than %d deep", full,
                      DEPTH_MAX);
    w->at = at;
    int rc = sys_dir_list(full, walk_entry, w, w->reterr);
    w->at = before;
    w->depth--;
    return rc;
}

static void walk_deinit(struct walk *w)
{
    for (size_t i = 0; i < w->n; i++)
        a_free(w->files[i].path);
    a_free(w->files);
}

static int file_order(const void *x, const void *y)
{
    return strcmp(((const struct file *)x)->path, ((const struct file *)y)->path);
}

/* ---- writing ---- */

static int fail_archive(struct archive *a, const char *what, struct a_error *reterr)
{
    return a_fail(reterr, -EIO, A_CODE_OS, "%s: %s", what, archive_error_string(a));
}

static int data_write(struct archive *a, const char *path, uint64_t size, struct a_error *reterr)
{
    struct sys_map map;
    int rc = size > 0 ? sys_map_open(path, &map, reterr) : 0;
    if (rc != 0 || size == 0)
        return rc;
    if (map.bytes.len != size)
        rc = a_fail(reterr, -EAGAIN, A_CODE_CONFLICT, "%s changed while it was packed", path);
    else if (archive_write_data(a, map.bytes.ptr, map.bytes.len) != (la_ssize_t)map.bytes.len)
        rc = fail_archive(a, path, reterr);
    sys_map_close(&map);
    return rc;
}

static int link_set(struct archive_entry *entry, const char *full, const char *path, struct a_error *reterr)
{
    A_AUTOFREE char *target = NULL;
    int rc = sys_link_read(full, &target, reterr);
    if (rc != 0)
        return rc;
    if (!artifact_link_is_inside(a_view_str(path), a_view_str(target)))
        return a_fail(reterr, -EINVAL, A_CODE_INVALID,
                      "%s is a link out of the folder, to %s: it would lead nowhere", full, target);
    archive_entry_set_filetype(entry, AE_IFLNK);
    archive_entry_set_symlink(entry, target);
    archive_entry_set_perm(entry, 0777);
    return 0;
}

static int entry_write(struct archive *a, const char *folder, const struct file *f, struct a_error *reterr)
{
    A_AUTOFREE char *full = sys_path_join(folder, f->path);
    struct archive_entry *entry = archive_entry_new();
    int rc = 0;
    archive_entry_set_pathname(entry, f->path);
    archive_entry_set_mtime(entry, 0, 0);
    if (f->st.is_link) {
        rc = link_set(entry, full, f->path, reterr);
    } else if (f->st.is_dir) {
        archive_entry_set_filetype(entry, AE_IFDIR);
        archive_entry_set_perm(entry, 0755);
    } else {
        archive_entry_set_filetype(entry, AE_IFREG);
        archive_entry_set_perm(entry, (f->st.mode & 0111) != 0 ? 0755 : 0644);
        archive_entry_set_size(entry, (la_int64_t)f->st.size);
    }
    if (rc == 0 && archive_write_header(a, entry) != ARCHIVE_OK)
        rc = fail_archive(a, f->path, reterr);
    if (rc == 0 && f->st.is_file)
        rc = data_write(a, full, f->st.size, reterr);
    archive_entry_free(entry);
    return rc;
}

static int archive_write(const struct walk *w, struct artifact_packed *ret, struct a_error *reterr)
{
    struct archive *a = archive_write_new();
    int rc = 0;
    *ret = (struct artifact_packed){0};
    if (archive_write_set_format_pax_restricted(a) != ARCHIVE_OK ||
        archive_write_add_filter_zstd(a) != ARCHIVE_OK ||
        archive_write_set_filter_option(a, "zstd", "compression-level", LEVEL) != ARCHIVE_OK ||
        archive_write_open_filename(a, w->output) != ARCHIVE_OK)
        rc = fail_archive(a, w->output, reterr);
    for (size_t i = 0; rc == 0 && i < w->n; i++) {
        rc = entry_write(a, w->folder, &w->files[i], reterr);
        ret->files += w->files[i].st.is_file;
        ret->bytes += w->files[i].st.is_file ? w->files[i].st.size : 0;
    }
    if (rc == 0 && archive_write_close(a) != ARCHIVE_OK)
        rc = fail_archive(a, w->output, reterr);
    archive_write_free(a);
    return rc;
}

static int rules_read(const char *folder, struct a_buf *ret, struct a_error *reterr)
{
    A_AUTOFREE char *path = sys_path_join(folder, ARTIFACT_IGNORE_FILE);
    if (!sys_file_exists(path))
        return 0;
    return sys_file_read(path, IGNORE_MAX, ret, reterr);
}

int artifact_pack(const char *folder, const char *output, struct artifact_packed *ret, struct a_error *reterr)
{
    A_BUF_AUTO struct a_buf rules = {0};
    struct walk w = {.folder = folder, .output = output, .at = "", .reterr = reterr};
    struct sys_stat st;
    int rc = sys_file_stat(folder, &st, reterr);
    if (rc == -ENOENT || (rc == 0 && !st.is_dir))
        return a_fail(reterr, rc != 0 ? rc : -ENOTDIR, A_CODE_INVALID, "%s is no folder", folder);
    if (rc == 0)
        rc = rules_read(folder, &rules, reterr);
    if (rc != 0)
        return rc;
    w.rules = a_buf_view(&rules);
    w.has_skip = sys_file_stat(output, &w.skip, NULL) == 0;
    rc = walk_folder(&w, "");
    if (rc == 0 && w.n == 0)
        rc = a_fail(reterr, -EINVAL, A_CODE_INVALID, "%s has no files to pack", folder);
    if (rc == 0) {
        qsort(w.files, w.n, sizeof *w.files, file_order);
        rc = archive_write(&w, ret, reterr);
    }
    if (rc != 0 && sys_file_exists(output) && !w.has_skip)
        (void)!sys_file_remove(output, NULL);
    walk_deinit(&w);
    return rc;
}
