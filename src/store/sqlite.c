/* SQLite: one file in WAL mode, held exclusively by one process: that lock is the lease of a single server. A
 * transaction is a savepoint inside the batch's BEGIN ... COMMIT, so that one fsync serves the batch
 * (synchronous = FULL). */
#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "base/text.h"
#include "store/backend.h"
#include "sys/random.h"

#define APPLICATION_ID 0x41535452 /* "ASTR" */

/* Forward only: element n brings a file of version n to n + 1. */
static const char *const migrations[] = {
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE entry (key TEXT PRIMARY KEY, value BLOB NOT NULL, revision INTEGER NOT NULL) WITHOUT "
    "ROWID;",
};

enum statement { GET_REVISION, PUT, DELETE, SCAN, META_GET, META_PUT, STATEMENT_COUNT };

static const char *const statement_texts[STATEMENT_COUNT] = {
    [GET_REVISION] = "SELECT revision FROM entry WHERE key = ?1",
    [PUT] = ("INSERT INTO entry (key, value, revision) VALUES (?1, ?2, ?3) "
             "ON CONFLICT (key) DO UPDATE SET value = ?2, revision = ?3"),
    [DELETE] = "DELETE FROM entry WHERE key = ?1",
    [SCAN] = "SELECT key, value, revision FROM entry WHERE key >= ?1 AND key < ?2 ORDER BY key",
    [META_GET] = "SELECT value FROM meta WHERE key = ?1",
    [META_PUT] = "INSERT INTO meta (key, value) VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = ?2",
};

struct sqlite {
    sqlite3 *db;
    char *path;
    sqlite3_stmt *statements[STATEMENT_COUNT];
};

static enum a_code code_of(int rc)
{
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return A_CODE_STORE_LOCKED;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return A_CODE_STORE_CORRUPT;
    case SQLITE_FULL:
        return A_CODE_STORE_FULL;
    default:
        return A_CODE_OS;
    }
}

static const char *advice(enum a_code code)
{
    switch (code) {
    case A_CODE_STORE_LOCKED:
        return "; another server uses it: stop that one, or start this one with another data folder";
    case A_CODE_STORE_CORRUPT:
        return "; it is left as it is: restore a backup (astra store restore), or move it away and adopt "
               "what runs (astra orphans)";
    case A_CODE_STORE_FULL:
        return "; free space: what runs goes on, nothing new is accepted until then";
    default:
        return "";
    }
}

static int fail(const struct sqlite *s, int rc, struct a_error *reterr)
{
    enum a_code code = code_of(rc);
    const char *why = s->db != NULL ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc);
    return a_fail(reterr, code == A_CODE_STORE_FULL ? -ENOSPC : -EIO, code, "store %s: %s%s", s->path, why,
                  advice(code));
}

static int run(const struct sqlite *s, const char *sql, struct a_error *reterr)
{
    int rc = sqlite3_exec(s->db, sql, NULL, NULL, NULL);
    return rc == SQLITE_OK ? 0 : fail(s, rc, reterr);
}

static sqlite3_stmt *prepared(const struct sqlite *s, enum statement which, struct a_view key)
{
    sqlite3_stmt *stmt = s->statements[which];
    sqlite3_reset(stmt);
    sqlite3_clear_bindings(stmt);
    sqlite3_bind_text(stmt, 1, key.ptr, (int)key.len, SQLITE_STATIC);
    return stmt;
}

static int statements_prepare(struct sqlite *s, struct a_error *reterr)
{
    for (int i = 0; i < STATEMENT_COUNT; i++) {
        int rc = sqlite3_prepare_v3(s->db, statement_texts[i], -1, SQLITE_PREPARE_PERSISTENT,
                                    &s->statements[i], NULL);
        if (rc != SQLITE_OK)
            return fail(s, rc, reterr);
    }
    return 0;
}

/* *ret is NULL when there is no such key; owned by the caller. */
static int meta_get(const struct sqlite *s, const char *key, char **ret, struct a_error *reterr)
{
    sqlite3_stmt *stmt = prepared(s, META_GET, a_view_str(key));
    int rc = sqlite3_step(stmt);
    char *value = rc == SQLITE_ROW ? a_strdup((const char *)sqlite3_column_text(stmt, 0)) : NULL;
    sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return fail(s, rc, reterr);
    *ret = value;
    return 0;
}

static int meta_put(const struct sqlite *s, const char *key, const char *value, struct a_error *reterr)
{
    sqlite3_stmt *stmt = prepared(s, META_PUT, a_view_str(key));
    sqlite3_bind_text(stmt, 2, value, -1, SQLITE_STATIC);
    int rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : fail(s, rc, reterr);
}

static int number_of(const struct sqlite *s, const char *pragma, int64_t *ret, struct a_error *reterr)
{
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(s->db, pragma, -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return fail(s, rc, reterr);
    rc = sqlite3_step(stmt);
    *ret = rc == SQLITE_ROW ? sqlite3_column_int64(stmt, 0) : 0;
    sqlite3_finalize(stmt);
    return rc == SQLITE_ROW ? 0 : fail(s, rc, reterr);
}

static int migrate(const struct sqlite *s, struct a_error *reterr)
{
    int64_t version, application, tables;
    int rc = number_of(s, "PRAGMA user_version", &version, reterr);
    if (rc == 0)
        rc = number_of(s, "PRAGMA application_id", &application, reterr);
    if (rc == 0)
        rc = number_of(s, "SELECT count(*) FROM sqlite_master", &tables, reterr);
    if (rc != 0)
        return rc;
    if (tables > 0 && application != APPLICATION_ID)
        return a_fail(reterr, -EINVAL, A_CODE_STORE_CORRUPT, "store %s: a database of another program%s",
                      s->path, advice(A_CODE_STORE_CORRUPT));
    if (version > (int64_t)A_ARRAY_SIZE(migrations))
        return a_fail(reterr, -EINVAL, A_CODE_WIRE_UNSUPPORTED,
                      "store %s: schema %lld is newer than this program's %zu: use the newer astra", s->path,
                      (long long)version, A_ARRAY_SIZE(migrations));
    for (size_t v = (size_t)version; v < A_ARRAY_SIZE(migrations) && rc == 0; v++) {
        A_AUTOFREE char *sql =
            a_asprintf("BEGIN; %s PRAGMA application_id = %d; PRAGMA user_version = %zu; COMMIT;",
                       migrations[v], APPLICATION_ID, v + 1);
        rc = run(s, sql, reterr);
    }
    return rc;
}

static int file_open(struct sqlite *s, const struct store_options *options, struct a_error *reterr)
{
    int rc = sqlite3_open_v2(options->path, &s->db,
                             SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX, NULL);
    if (rc != SQLITE_OK)
        return fail(s, rc, reterr);
    sqlite3_extended_result_codes(s->db, 1);
    rc = run(s,
             "PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; BEGIN "
             "IMMEDIATE; COMMIT;",
             reterr);
    if (rc != 0 || options->max_bytes == 0)
        return rc;
    A_AUTOFREE char *sql =
        a_asprintf("PRAGMA max_page_count = %llu", (unsigned long long)(options->max_bytes / 4096));
    return run(s, sql, reterr);
}

static bool row_is_ok(sqlite3_stmt *stmt)
{
    const char *text = (const char *)sqlite3_column_text(stmt, 0);
    return text != NULL && strcmp(text, "ok") == 0;
}

static int file_check(const struct sqlite *s, struct a_error *reterr)
{
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &stmt, NULL);
    if (rc != SQLITE_OK)
        return fail(s, rc, reterr);
    rc = sqlite3_step(stmt);
    bool ok = rc == SQLITE_ROW && row_is_ok(stmt);
    sqlite3_finalize(stmt);
    return ok ? 0 : fail(s, SQLITE_CORRUPT, reterr);
}

static int identity(const struct sqlite *s, struct a_uuid *ret_id, uint64_t *ret_epoch,
                    uint64_t *ret_revision, struct a_error *reterr)
{
    A_AUTOFREE char *id = NULL, *epoch = NULL, *revision = NULL;
    int rc = meta_get(s, "id", &id, reterr);
    if (rc == 0)
        rc = meta_get(s, "epoch", &epoch, reterr);
    if (rc == 0)
        rc = meta_get(s, "revision", &revision, reterr);
    if (rc != 0)
        return rc;
    if (id == NULL) {
        sys_random_uuid4(ret_id);
        rc = meta_put(s, "id", ret_id->s, reterr);
    } else if (!a_uuid_parse(a_view_str(id), ret_id)) {
        return fail(s, SQLITE_CORRUPT, reterr);
    }
    uint64_t last_epoch = 0, last_revision = 0;
    if ((epoch != NULL && !a_text_u64(a_view_str(epoch), &last_epoch)) ||
        (revision != NULL && !a_text_u64(a_view_str(revision), &last_revision)))
        return fail(s, SQLITE_CORRUPT, reterr);
    A_AUTOFREE char *next = a_asprintf("%llu", (unsigned long long)last_epoch + 1);
    if (rc == 0)
        rc = meta_put(s, "epoch", next, reterr);
    *ret_epoch = last_epoch + 1;
    *ret_revision = last_revision;
    return rc;
}

static void sqlite_close(void *self)
{
    struct sqlite *s = self;
    for (int i = 0; i < STATEMENT_COUNT; i++)
        sqlite3_finalize(s->statements[i]);
    sqlite3_close(s->db);
    a_free(s->path);
    a_free(s);
}

static int sqlite_open(const struct store_options *options, void **ret_self, struct a_uuid *ret_id,
                       uint64_t *ret_epoch, uint64_t *ret_revision, struct a_error *reterr)
{
    struct sqlite *s = a_new(struct sqlite);
    s->path = a_strdup(options->path);
    int rc = file_open(s, options, reterr);
    if (rc == 0)
        rc = file_check(s, reterr);
    if (rc == 0)
        rc = migrate(s, reterr);
    if (rc == 0)
        rc = statements_prepare(s, reterr);
    if (rc == 0)
        rc = identity(s, ret_id, ret_epoch, ret_revision, reterr);
    if (rc != 0) {
        sqlite_close(s);
        return rc;
    }
    *ret_self = s;
    return 0;
}

/* ---- transactions ---- */

static int expectation_check(const struct sqlite *s, const struct store_write *w, struct a_error *reterr)
{
    if (w->expect == STORE_ANY)
        return 0;
    sqlite3_stmt *stmt = prepared(s, GET_REVISION, w->key);
    int rc = sqlite3_step(stmt);
    uint64_t found = rc == SQLITE_ROW ? (uint64_t)sqlite3_column_int64(stmt, 0) : STORE_ABSENT;
    sqlite3_reset(stmt);
    if (rc != SQLITE_ROW && rc != SQLITE_DONE)
        return fail(s, rc, reterr);
    if (found != w->expect)
        return a_fail(reterr, -EAGAIN, A_CODE_CONFLICT,
                      A_VIEW_FMT ": changed meanwhile (revision %llu, expected %llu)", A_VIEW_ARG(w->key),
                      (unsigned long long)found, (unsigned long long)w->expect);
    return 0;
}

static int one_write(const struct sqlite *s, const struct store_write *w, uint64_t revision,
                     struct a_error *reterr)
{
    if (w->key.len == 0 || w->key.len > STORE_KEY_MAX || w->value.len > STORE_VALUE_MAX)
        return a_fail(reterr, -E2BIG, A_CODE_TOO_LARGE, "store: a key has 1 to %d bytes, a value at most %u",
                      STORE_KEY_MAX, STORE_VALUE_MAX);
    int rc = expectation_check(s, w, reterr);
    if (rc != 0)
        return rc;
    sqlite3_stmt *stmt = prepared(s, w->value.ptr != NULL ? PUT : DELETE, w->key);
    if (w->value.ptr != NULL) {
        sqlite3_bind_blob(stmt, 2, w->value.ptr, (int)w->value.len, SQLITE_STATIC);
        sqlite3_bind_int64(stmt, 3, (sqlite3_int64)revision);
    }
    rc = sqlite3_step(stmt);
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : fail(s, rc, reterr);
}

static void txn_apply(const struct sqlite *s, struct store_txn *txn, uint64_t revision)
{
    txn->rc = run(s, "SAVEPOINT txn", &txn->error);
    for (size_t i = 0; i < txn->n_writes && txn->rc == 0; i++)
        txn->rc = one_write(s, &txn->writes[i], revision, &txn->error);
    if (txn->rc == 0 && txn->also != NULL)
        txn->rc = one_write(s, txn->also, revision, &txn->error);
    if (txn->rc == 0)
        txn->rc = run(s, "RELEASE txn", &txn->error);
    if (txn->rc == 0)
        txn->revision = revision;
    else
        (void)run(s, "ROLLBACK TO txn; RELEASE txn", NULL);
}

static void batch_fail(struct a_list *batch, int rc, const struct a_error *error)
{
    a_list_foreach (l, batch) {
        struct store_txn *txn = a_list_entry(l, struct store_txn, link);
        if (txn->rc != 0)
            continue;
        txn->rc = rc;
        a_error_set(&txn->error, error->code, "%s", a_error_text(error));
    }
}

static uint64_t sqlite_commit(void *self, struct a_list *batch, uint64_t revision)
{
    const struct sqlite *s = self;
    uint64_t next = revision;
    A_ERROR_AUTO struct a_error error = A_ERROR_NONE;
    int rc = run(s, "BEGIN IMMEDIATE", &error);
    a_list_foreach (l, batch) {
        if (rc != 0 || sqlite3_get_autocommit(s->db) != 0)
            break; /* a full disk may have ended the whole transaction */
        struct store_txn *txn = a_list_entry(l, struct store_txn, link);
        txn_apply(s, txn, next + 1);
        next += txn->rc == 0;
    }
    if (rc == 0 && sqlite3_get_autocommit(s->db) != 0)
        rc = fail(s, SQLITE_FULL, &error);
    A_AUTOFREE char *text = a_asprintf("%llu", (unsigned long long)next);
    if (rc == 0)
        rc = meta_put(s, "revision", text, &error);
    if (rc == 0)
        rc = run(s, "COMMIT", &error);
    if (rc == 0)
        return next;
    if (sqlite3_get_autocommit(s->db) == 0)
        (void)run(s, "ROLLBACK", NULL);
    batch_fail(batch, rc, &error);
    return revision;
}

/* The first key after all that begin with `prefix`: its last byte raised by one; prefixes are ASCII paths. */
static char *prefix_end(const char *prefix)
{
    size_t n = strlen(prefix);
    char *end = a_strndup(prefix, n);
    a_assert(n > 0 && (unsigned char)end[n - 1] < 0x7f);
    end[n - 1]++;
    return end;
}

static int sqlite_scan(void *self, const char *prefix,
                       bool (*each)(void *ctx, const struct store_entry *entry), void *ctx,
                       struct a_error *reterr)
{
    const struct sqlite *s = self;
    A_AUTOFREE char *end = prefix_end(prefix);
    sqlite3_stmt *stmt = prepared(s, SCAN, a_view_str(prefix));
    sqlite3_bind_text(stmt, 2, end, -1, SQLITE_STATIC);
    int rc;
    while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
        const char *value = sqlite3_column_blob(stmt, 1);
        struct store_entry entry = {
            .key = {(const char *)sqlite3_column_text(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0)},
            .value = {value != NULL ? value : "", (size_t)sqlite3_column_bytes(stmt, 1)},
            .revision = (uint64_t)sqlite3_column_int64(stmt, 2),
        };
        if (!each(ctx, &entry)) {
            rc = SQLITE_DONE;
            break;
        }
    }
    sqlite3_reset(stmt);
    return rc == SQLITE_DONE ? 0 : fail(s, rc, reterr);
}

static int sqlite_backup(void *self, const char *path, struct a_error *reterr)
{
    const struct sqlite *s = self;
    sqlite3_stmt *stmt;
    int rc = sqlite3_prepare_v2(s->db, "VACUUM INTO ?1", -1, &stmt, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_text(stmt, 1, path, -1, SQLITE_STATIC);
        rc = sqlite3_step(stmt);
        sqlite3_finalize(stmt);
    }
    if (rc == SQLITE_DONE)
        return 0;
    fail(s, rc, reterr);
    a_error_wrap(reterr, "backup to %s", path);
    return -EIO;
}

/* ---- files that no server has ---- */

static int plain_open(struct sqlite *s, const char *path, int flags, struct a_error *reterr)
{
    *s = (struct sqlite){.path = a_strdup(path)};
    int rc = sqlite3_open_v2(path, &s->db, flags | SQLITE_OPEN_NOMUTEX, NULL);
    return rc == SQLITE_OK ? 0 : fail(s, rc, reterr);
}

static void plain_close(struct sqlite *s)
{
    sqlite3_close(s->db);
    a_free(s->path);
}

static int sqlite_check(const char *path, struct a_error *reterr)
{
    struct sqlite s;
    int64_t application = 0;
    int rc = plain_open(&s, path, SQLITE_OPEN_READONLY, reterr);
    if (rc == 0)
        rc = file_check(&s, reterr);
    if (rc == 0)
        rc = number_of(&s, "PRAGMA application_id", &application, reterr);
    if (rc == 0 && application != APPLICATION_ID)
        rc = a_fail(reterr, -EINVAL, A_CODE_STORE_CORRUPT, "%s is no copy of a store", path);
    plain_close(&s);
    return rc;
}

static int sqlite_unused(const char *path, struct a_error *reterr)
{
    struct sqlite s;
    A_ERROR_AUTO struct a_error e = A_ERROR_NONE;
    int rc = plain_open(&s, path, SQLITE_OPEN_READWRITE, &e);
    if (rc == 0)
        rc = run(&s, "PRAGMA locking_mode = EXCLUSIVE; BEGIN IMMEDIATE; COMMIT;", &e);
    plain_close(&s);
    if (rc == 0 || e.code != A_CODE_STORE_LOCKED)
        return 0; /* absent or damaged: nobody uses it */
    return a_fail(reterr, rc, e.code, "%s", a_error_text(&e));
}

const struct store_backend store_sqlite = {
    .name = "sqlite",
    .open = sqlite_open,
    .close = sqlite_close,
    .commit = sqlite_commit,
    .scan = sqlite_scan,
    .backup = sqlite_backup,
    .check = sqlite_check,
    .unused = sqlite_unused,
};
