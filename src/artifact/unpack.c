#include "artifact/unpack.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "sys/file.h"

#define BLOCK_BYTES (1 << 20)
#define PEEK_ENTRIES 16
#define BYTES_MAX (UINT64_C(64) << 30)
#define ENTRIES_MAX 2000000

static void reader_free(struct archive **a)
{
    archive_read_free(*a);
}

static void writer_free(struct archive **a)
{
    archive_write_free(*a);
}

#define READER_AUTO A_CLEANUP(reader_free)
#define WRITER_AUTO A_CLEANUP(writer_free)

struct unpacker {
    struct archive *in, *out;
    const char *folder; /* being filled; absolute, without links */
    struct artifact_limits limits;
    uint64_t bytes, entries;
};

/* libarchive's own words; what is wrong with the bytes themselves is -EINVAL. */
static int archive_fail(struct archive *a, const char *what, struct a_error *reterr)
{
    int error = archive_errno(a);
    const char *why = archive_error_string(a);
    bool ours = error == ENOSPC || error == EDQUOT || error == EACCES || error == EIO || error == ENOENT;
    return a_fail(reterr, ours ? -error : -EINVAL, ours ? A_CODE_OS : A_CODE_ENV_UNPACK, "%s: %s", what,
                  why != NULL ? why : "not understood");
}

static int reader_open(const char *archive, struct archive **ret, struct a_error *reterr)
{
    struct archive *a = archive_read_new();
    a_assert(a != NULL);
    archive_read_support_filter_zstd(a);
    archive_read_support_filter_gzip(a);
    archive_read_support_format_tar(a);
    if (archive_read_open_filename(a, archive, BLOCK_BYTES) != ARCHIVE_OK) {
        int rc = archive_fail(a, "open the archive", reterr);
        archive_read_free(a);
        return rc;
    }
    *ret = a;
    return 0;
}

bool artifact_link_is_inside(struct a_view path, struct a_view target)
{
    long depth = 0;
    if (target.len == 0 || target.ptr[0] == '/' || memchr(target.ptr, '\0', target.len) != NULL)
        return false;
    for (size_t i = 0; i < path.len; i++)
        depth += path.ptr[i] == '/';
    while (target.len > 0) {
        struct a_view step = a_view_split(target, '/', &target);
        if (a_view_is(step, ".."))
            depth--;
        else if (step.len > 0 && !a_view_is(step, "."))
            depth++;
        if (depth < 0)
            return false;
    }
    return true;
}

static int refuse(const char *path, const char *why, struct a_error *reterr)
{
    return a_fail(reterr, -EINVAL, A_CODE_ENV_UNPACK, "archive entry %s: %s", path, why);
}

/* "./a/b/" is a/b; NULL for the folder itself. */
static const char *path_clean(char *path)
{
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        path[--n] = '\0';
    while (path[0] == '.' && path[1] == '/')
        path += 2;
    return path[0] == '\0' || strcmp(path, ".") == 0 ? NULL : path;
}

static int entry_check(struct archive_entry *e, const char *path, struct a_error *reterr)
{
    const char *hard = archive_entry_hardlink(e), *link = archive_entry_symlink(e);
    if (!sys_path_is_inside(a_view_str(path)))
        return refuse(path, "the name leads outside", reterr);
    if (hard != NULL)
        return sys_path_is_inside(a_view_str(hard)) ? 0 : refuse(path, "a hard link to outside", reterr);
    switch (archive_entry_filetype(e)) {
    case AE_IFREG:
    case AE_IFDIR:
        return 0;
    case AE_IFLNK:
        if (link != NULL && artifact_link_is_inside(a_view_str(path), a_view_str(link)))
            return 0;
        return refuse(path, "a link to outside", reterr);
    default:
        return refuse(path, "neither file, folder nor link", reterr);
    }
}

/* Puts the entry's names below the folder. All may read what is unpacked, as the packer has it: whoever may
 * come so far is decided above the folder. */
static void entry_place(const struct unpacker *u, struct archive_entry *e, const char *path)
{
    A_AUTOFREE char *full = a_asprintf("%s/%s", u->folder, path);
    const char *hard = archive_entry_hardlink(e);
    if (hard != NULL) {
        A_AUTOFREE char *target = a_asprintf("%s/%s", u->folder, hard);
        archive_entry_set_hardlink(e, target);
    }
    bool wide = archive_entry_filetype(e) == AE_IFDIR || (archive_entry_perm(e) & 0111) != 0;
    archive_entry_set_perm(e, wide ? 0755 : 0644);
    archive_entry_set_pathname(e, full);
}

static int data_copy(struct unpacker *u, const char *path, struct a_error *reterr)
{
    const void *block;
    size_t n;
    la_int64_t offset;
    int rc;
    while ((rc = archive_read_data_block(u->in, &block, &n, &offset)) == ARCHIVE_OK) {
        u->bytes += n;
        if (u->bytes > u->limits.bytes || offset < 0 ||
            (uint64_t)offset > u->limits.bytes) /* holes count, too */
            return a_fail(reterr, -EINVAL, A_CODE_ENV_UNPACK, "archive: more than %llu bytes unpacked",
                          (unsigned long long)u->limits.bytes);
        if (archive_write_data_block(u->out, block, n, offset) != ARCHIVE_OK)
            return archive_fail(u->out, path, reterr);
    }
    return rc == ARCHIVE_EOF ? 0 : archive_fail(u->in, path, reterr);
}

static int entry_unpack(struct unpacker *u, struct archive_entry *e, struct a_error *reterr)
{
    const char *given = archive_entry_pathname(e);
    if (given == NULL)
        return refuse("(no name)", "its name is not understood", reterr);
    A_AUTOFREE char *copy = a_strdup(given);
    const char *path = path_clean(copy);
    if (path == NULL)
        return 0;
    if (++u->entries > u->limits.entries)
        return a_fail(reterr, -EINVAL, A_CODE_ENV_UNPACK, "archive: more than %llu entries",
                      (unsigned long long)u->limits.entries);
    int rc = entry_check(e, path, reterr);
    if (rc < 0)
        return rc;
    entry_place(u, e, path);
    if (archive_write_header(u->out, e) != ARCHIVE_OK)
        return archive_fail(u->out, path, reterr);
    if (archive_entry_hardlink(e) == NULL && archive_entry_filetype(e) == AE_IFREG)
        rc = data_copy(u, path, reterr);
    if (rc == 0 && archive_write_finish_entry(u->out) != ARCHIVE_OK)
        rc = archive_fail(u->out, path, reterr);
    return rc;
}

static int folder_fill(const char *archive, const char *folder, const struct artifact_limits *limits,
                       struct a_error *reterr)
{
    READER_AUTO struct archive *in = NULL;
    WRITER_AUTO struct archive *out = archive_write_disk_new();
    struct archive_entry *e;
    int rc = reader_open(archive, &in, reterr);
    if (rc < 0)
        return rc;
    /* SECURE_SYMLINKS: nothing is written through a link that an earlier entry made */
    archive_write_disk_set_options(out, ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_PERM |
                                            ARCHIVE_EXTRACT_SECURE_SYMLINKS | ARCHIVE_EXTRACT_NO_OVERWRITE);
    struct unpacker u = {.in = in, .out = out, .folder = folder};
    u.limits.bytes = limits != NULL && limits->bytes > 0 ? limits->bytes : BYTES_MAX;
    u.limits.entries = limits != NULL && limits->entries > 0 ? limits->entries : ENTRIES_MAX;
    while ((rc = archive_read_next_header(in, &e)) == ARCHIVE_OK) {
        rc = entry_unpack(&u, e, reterr);
        if (rc < 0)
            return rc;
    }
    if (rc != ARCHIVE_EOF)
        return archive_fail(in, "read the archive", reterr);
    return archive_write_close(out) == ARCHIVE_OK ? 0 : archive_fail(out, "finish", reterr);
}

int artifact_unpack(const char *archive, const char *folder, const struct artifact_limits *limits,
                    struct a_error *reterr)
{
    A_AUTOFREE char *prefix = a_asprintf("%s.new-", folder);
    A_AUTOFREE char *temporary = NULL;
    A_AUTOFREE char *real = NULL;
    if (sys_file_exists(folder))
        return a_fail(reterr, -EEXIST, A_CODE_ENV_UNPACK, "%s is there already", folder);
    int rc = sys_dir_make_temp(prefix, &temporary, reterr);
    if (rc < 0)
        return rc;
    rc = sys_path_real(temporary, &real, reterr);
    if (rc == 0)
        rc = folder_fill(archive, real, limits, reterr);
    if (rc == 0)
        rc = sys_file_rename(temporary, folder, reterr);
    if (rc < 0 && sys_dir_remove(temporary, NULL) < 0)
        a_error_wrap(reterr, "and %s is left", temporary);
    return rc;
}

/* The current entry's data, appended. */
static int data_read(struct archive *a, size_t max, struct a_buf *text, struct a_error *reterr)
{
    char block[16384];
    la_ssize_t n;
    while ((n = archive_read_data(a, block, sizeof block)) > 0) {
        if (text->len + (size_t)n > max)
            return a_fail(reterr, -EFBIG, A_CODE_ENV_UNPACK, "more than %zu bytes", max);
        a_buf_add(text, block, (size_t)n);
    }
    return n == 0 ? 0 : archive_fail(a, "read", reterr);
}

int artifact_peek(const char *archive, const char *name, size_t max, struct a_buf *ret_text,
                  struct a_error *reterr)
{
    READER_AUTO struct archive *in = NULL;
    struct archive_entry *e;
    int rc = reader_open(archive, &in, reterr);
    for (int i = 0; rc == 0 && i < PEEK_ENTRIES; i++) {
        int next = archive_read_next_header(in, &e);
        if (next == ARCHIVE_EOF)
            break;
        if (next != ARCHIVE_OK)
            return archive_fail(in, "read the archive", reterr);
        const char *path = archive_entry_pathname(e);
        if (path != NULL && strncmp(path, "./", 2) == 0)
            path += 2;
        if (path != NULL && strcmp(path, name) == 0)
            return data_read(in, max, ret_text, reterr);
    }
    return rc < 0
               ? rc
               : a_fail(reterr, -ENOENT, A_CODE_ENV_MISMATCH, "the archive has no %s at its beginning", name);
}
