#include "artifact/pack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "artifact/unpack.h"
#include "base/alloc.h"
#include "base/assert.h"
#include "sys/file.h"
#include "sys/sha256.h"

#define PIECE_BYTES (1 << 20)
#define IGNORE_MAX (1 << 20)
#define BYTES_MAX (UINT64_C(1) << 30)
#define FILES_MAX 100000
#define DEPTH_MAX 100
#define LEVEL "9" /* code is small: the best of the fast ones */

static const char never_code[] = ".git\n.hg\n.svn\n__pycache__\n*.py[co]\n.venv\n.pytest_cache\n.mypy_cache\n"
                                 ".ruff_cache\n.DS_Store\n" ARTIFACT_IGNORE_FILE "\n";

struct item {
    char *path; /* relative to the folder, owned */
    struct sys_stat st;
};

struct packer {
    const char *folder;
    struct artifact_pack_limits limits;
    struct a_buf ignore; /* never_code, then the folder's own file */
    struct item *items;
    size_t n, cap;
    uint64_t bytes;
    const char *prefix; /* of the folder being listed; "" = the top */
    unsigned depth;
    struct a_error *reterr;
};

static void packer_deinit(struct packer *p)
{
    for (size_t i = 0; i < p->n; i++)
        a_free(p->items[i].path);
    a_free(p->items);
    a_buf_deinit(&p->ignore);
}

/* ---- what goes in ---- */

static int too_large(struct packer *p)
{
    const struct item *largest = &p->items[0];
    for (size_t i = 1; i < p->n; i++)
        if (p->items[i].st.size > largest->st.size)
            largest = &p->items[i];
    return a_fail(p->reterr, -EFBIG, A_CODE_TOO_LARGE,
                  "%s is too large for code: more than %" PRIu64 " bytes or %" PRIu64
                  " files (the largest is %s, %" PRIu64
                  " bytes); name what to leave out in " ARTIFACT_IGNORE_FILE,
                  p->folder, p->limits.bytes, p->limits.files, largest->path, largest->st.size);
}

static int item_check(struct packer *p, const struct item *item)
{
    if (item->st.is_file || item->st.is_dir)
        return 0;
    if (!item->st.is_link)
        return a_fail(p->reterr, -EINVAL, A_CODE_INVALID, "%s/%s: neither file, folder nor link", p->folder,
                      item->path);
    A_AUTOFREE char *full = sys_path_join(p->folder, item->path);
    A_AUTOFREE char *target = NULL;
    int rc = sys_link_read(full, &target, p->reterr);
    if (rc == 0 && !artifact_link_is_inside(a_view_str(item->path), a_view_str(target)))
        rc =
            a_fail(p->reterr, -EINVAL, A_CODE_INVALID,
                   "%s/%s: a link to %s, outside of the folder: copy it, or name it in " ARTIFACT_IGNORE_FILE,
                   p->folder, item->path, target);
    return rc;
}

static int folder_walk(struct packer *p, const char *path);

static int item_add(struct packer *p, char *path, const struct sys_stat *st)
{
    if (p->n == p->cap) {
        p->cap = A_MAX(p->cap * 2, (size_t)64);
        p->items = a_realloc(p->items, p->cap * sizeof *p->items);
    }
    struct item *item = &p->items[p->n++];
    *item = (struct item){path, *st};
    p->bytes += st->is_file ? st->size : 0;
    if (p->n > p->limits.files || p->bytes > p->limits.bytes)
        return too_large(p);
    return item_check(p, item);
}

static int on_entry(void *ctx, const char *name, bool is_dir)
{
    struct packer *p = ctx;
    struct sys_stat st;
    const char *prefix = p->prefix;
    char *path = prefix[0] != '\0' ? a_asprintf("%s/%s", prefix, name) : a_strdup(name);
    if (artifact_ignore_matches(a_buf_view(&p->ignore), a_view_str(path), is_dir)) {
        a_free(path);
        return 0;
    }
    A_AUTOFREE char *full = sys_path_join(p->folder, path);
    int rc = sys_file_stat(full, &st, p->reterr);
    if (rc != 0) {
        a_free(path);
        return rc;
    }
    rc = item_add(p, path, &st);
    if (rc == 0 && st.is_dir)
        rc = folder_walk(p, path);
    p->prefix = prefix;
    return rc;
}

static int folder_walk(struct packer *p, const char *path)
{
    A_AUTOFREE char *full = path[0] != '\0' ? sys_path_join(p->folder, path) : a_strdup(p->folder);
    if (p->depth == DEPTH_MAX)
        return a_fail(p->reterr, -EINVAL, A_CODE_INVALID, "%s: more than %d folders deep", full, DEPTH_MAX);
    p->depth++;
    p->prefix = path;
    int rc = sys_dir_list(full, on_entry, p, p->reterr);
    p->depth--;
    return rc;
}

static int item_order(const void *x, const void *y)
{
    const struct item *a = x, *b = y;
    return strcmp(a->path, b->path);
}

static int ignore_load(struct packer *p)
{
    A_AUTOFREE char *path = sys_path_join(p->folder, ARTIFACT_IGNORE_FILE);
    a_buf_add_str(&p->ignore, never_code);
    return sys_file_exists(path) ? sys_file_read(path, IGNORE_MAX, &p->ignore, p->reterr) : 0;
}

/* ---- the archive ---- */

static int write_fail(struct archive *a, const struct packer *p, const char *path)
{
    const char *why = archive_error_string(a);
    int error = archive_errno(a);
    return a_fail(p->reterr, error > 0 ? -error : -EIO, A_CODE_OS, "pack %s: %s", path,
                  why != NULL ? why : "failed");
}

/* The file must be as long as it was when its head was written. */
static int file_write(struct packer *p, struct archive *a, const struct item *item, const char *full)
{
    SYS_FD_AUTO int fd = -1;
    A_AUTOFREE char *piece = a_alloc(PIECE_BYTES);
    uint64_t at = 0;
    int rc = sys_file_open_read(full, &fd, p->reterr);
    while (rc == 0 && at < item->st.size) {
        ssize_t n = sys_fd_read_at(fd, piece, (size_t)A_MIN(item->st.size - at, (uint64_t)PIECE_BYTES), at);
        if (n < 0)
            return a_fail_errno(p->reterr, (int)n, "%s", full);
        if (n == 0)
            return a_fail(p->reterr, -EBUSY, A_CODE_CONFLICT, "%s became shorter while it was packed", full);
        if (archive_write_data(a, piece, (size_t)n) != n)
            return write_fail(a, p, item->path);
        at += (uint64_t)n;
    }
    return rc;
}

static int item_write(struct packer *p, struct archive *a, struct archive_entry *e, const struct item *item)
{
    A_AUTOFREE char *full = sys_path_join(p->folder, item->path);
    A_AUTOFREE char *target = NULL;
    archive_entry_clear(e);
    archive_entry_set_pathname(e, item->path);
    archive_entry_set_mtime(e, 0, 0);
    archive_entry_set_filetype(e, item->st.is_dir ? AE_IFDIR : item->st.is_link ? AE_IFLNK : AE_IFREG);
    archive_entry_set_perm(e, item->st.is_dir || (item->st.mode & 0111) != 0 ? 0755 : 0644);
    archive_entry_set_size(e, item->st.is_file ? (la_int64_t)item->st.size : 0);
    if (item->st.is_link) {
        int rc = sys_link_read(full, &target, p->reterr);
        if (rc != 0)
            return rc;
        archive_entry_set_symlink(e, target);
        archive_entry_set_perm(e, 0777);
    }
    if (archive_write_header(a, e) != ARCHIVE_OK)
        return write_fail(a, p, item->path);
    return item->st.is_file ? file_write(p, a, item, full) : 0;
}

static int archive_make(struct packer *p, const char *path)
{
    struct archive *a = archive_write_new();
    struct archive_entry *e = archive_entry_new();
    a_assert(a != NULL && e != NULL);
    archive_write_add_filter_zstd(a);
    archive_write_set_filter_option(a, "zstd", "compression-level", LEVEL);
    archive_write_set_format_pax_restricted(a);
    int rc = archive_write_open_filename(a, path) == ARCHIVE_OK ? 0 : write_fail(a, p, path);
    for (size_t i = 0; i < p->n && rc == 0; i++)
        rc = item_write(p, a, e, &p->items[i]);
    if (rc == 0 && archive_write_close(a) != ARCHIVE_OK)
        rc = write_fail(a, p, path);
    archive_entry_free(e);
    archive_write_free(a);
    return rc;
}

static int packer_run(struct packer *p, const char *archive, struct artifact_packed *ret)
{
    A_AUTOFREE char *temp = a_asprintf("%s.part", archive);
    struct artifact_packed packed = {.files = 0};
    int rc = ignore_load(p);
    if (rc == 0)
        rc = folder_walk(p, "");
    if (rc != 0)
        return rc;
    qsort(p->items, p->n, sizeof *p->items, item_order);
    rc = archive_make(p, temp);
    if (rc == 0)
        rc = sys_sha256_file(temp, &packed.digest, &packed.bytes, p->reterr);
    if (rc == 0)
        rc = sys_file_rename(temp, archive, p->reterr);
    if (rc != 0) {
        (void)!sys_file_remove(temp, NULL);
        return rc;
    }
    for (size_t i = 0; i < p->n; i++)
        packed.files += p->items[i].st.is_file;
    packed.unpacked_bytes = p->bytes;
    *ret = packed;
    return 0;
}

int artifact_pack(const char *folder, const char *archive, const struct artifact_pack_limits *limits,
                  struct artifact_packed *ret, struct a_error *reterr)
{
    struct packer p = {.folder = folder, .prefix = "", .reterr = reterr};
    p.limits.bytes = limits != NULL && limits->bytes != 0 ? limits->bytes : BYTES_MAX;
    p.limits.files = limits != NULL && limits->files != 0 ? limits->files : FILES_MAX;
    int rc = packer_run(&p, archive, ret);
    packer_deinit(&p);
    return rc;
}
