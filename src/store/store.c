/* Group commit: transactions gather while the worker writes; then it takes all that have come, so that one
 * fsync serves many. */
#include "store/store.h"

#include <errno.h>

#include "base/alloc.h"
#include "base/assert.h"
#include "store/backend.h"
#include "sys/file.h"
#include "sys/pool.h"

struct store {
    const struct store_backend *backend;
    void *self;
    struct sys_loop *loop;
    struct sys_pool *pool;
    struct sys_work work;
    struct a_uuid id;
    uint64_t epoch, revision;
    struct a_list waiting;   /* submitted, not yet with the worker */
    struct a_list batch;     /* with the worker */
    struct store_copy *copy; /* asked for, or with the worker */
    uint64_t batch_revision; /* the worker's */
    bool busy, read_only;
    uint64_t failures;
};

static void batch_start(struct store *s);

static void list_move(struct a_list *from, struct a_list *to)
{
    for (struct a_list *l; (l = a_list_pop_front(from)) != NULL;)
        a_list_push_back(to, l);
}

static void batch_work(void *ctx)
{
    struct store *s = ctx;
    s->batch_revision = s->backend->commit(s->self, &s->batch, s->batch_revision);
}

static void batch_tell(struct store *s)
{
    struct a_list told;
    a_list_init(&told);
    list_move(&s->batch, &told);
    s->revision = s->batch_revision;
    for (struct a_list *l; (l = a_list_pop_front(&told)) != NULL;) {
        struct store_txn *txn = a_list_entry(l, struct store_txn, link);
        A_ERROR_AUTO struct a_error error = txn->error;
        txn->error = A_ERROR_NONE;
        s->failures += txn->rc != 0 && txn->rc != -EAGAIN;
        if (txn->rc == 0)
            s->read_only = false;
        else if (error.code == A_CODE_STORE_FULL)
            s->read_only = true;
        txn->done(txn->ctx, txn->rc, txn->revision, &error); /* `txn` may be gone now */
    }
}

static void batch_done(void *ctx, bool cancelled)
{
    struct store *s = ctx;
    if (cancelled)
        batch_work(s); /* closing: what was submitted is still written */
    s->busy = false;
    batch_tell(s);
    batch_start(s);
}

static void copy_work(void *ctx)
{
    struct store *s = ctx;
    s->copy->rc = s->backend->backup(s->self, s->copy->path, &s->copy->error);
}

static void copy_done(void *ctx, bool cancelled)
{
    struct store *s = ctx;
    struct store_copy *copy = s->copy;
    if (cancelled)
        copy->rc = a_fail(&copy->error, -ECANCELED, A_CODE_UNAVAILABLE, "the store is being closed");
    s->busy = false;
    s->copy = NULL;
    A_ERROR_AUTO struct a_error error = copy->error;
    copy->error = A_ERROR_NONE;
    copy->done(copy->ctx, copy->rc, &error);
    batch_start(s);
}

static void work_submit(struct store *s, void (*work)(void *ctx), void (*done)(void *ctx, bool cancelled))
{
    s->busy = true;
    int rc = sys_pool_submit(s->pool, s->loop, &s->work, work, done, s);
    a_assert(rc == 0); /* one piece of work at a time: its queue is never full */
}

static void batch_start(struct store *s)
{
    if (s->busy)
        return;
    if (s->copy != NULL) {
        work_submit(s, copy_work, copy_done);
        return;
    }
    if (a_list_empty(&s->waiting))
        return;
    list_move(&s->waiting, &s->batch);
    work_submit(s, batch_work, batch_done);
}

int store_open(struct sys_loop *loop, const struct store_options *options, struct store **ret,
               struct a_error *reterr)
{
    struct store *s = a_new(struct store);
    s->backend = &store_sqlite;
    s->loop = loop;
    a_list_init(&s->waiting);
    a_list_init(&s->batch);
    int rc = sys_pool_new(SYS_POOL_STORE, 0, 0, &s->pool, reterr);
    if (rc == 0)
        rc = s->backend->open(options, &s->self, &s->id, &s->epoch, &s->revision, reterr);
    if (rc != 0) {
        sys_pool_free(s->pool);
        a_free(s);
        return rc;
    }
    s->batch_revision = s->revision;
    *ret = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    while (s->busy || !a_list_empty(&s->waiting)) {
        sys_pool_drain(s->pool);
        sys_loop_turn(s->loop, false);
    }
    sys_pool_free(s->pool);
    s->backend->close(s->self);
    a_free(s);
}

const struct a_uuid *store_id(const struct store *s)
{
    return &s->id;
}

uint64_t store_epoch(const struct store *s)
{
    return s->epoch;
}

uint64_t store_revision(const struct store *s)
{
    return s->revision;
}

uint64_t store_failures(const struct store *s)
{
    return s->failures;
}

bool store_is_read_only(const struct store *s)
{
    return s->read_only;
}

int store_scan(struct store *s, const char *prefix, bool (*each)(void *ctx, const struct store_entry *entry),
               void *ctx, struct a_error *reterr)
{
    sys_pool_drain(s->pool);
    return s->backend->scan(s->self, prefix, each, ctx, reterr);
}

void store_submit(struct store *s, struct store_txn *txn)
{
    a_assert(txn->n_writes > 0 && txn->n_writes <= STORE_WRITES_MAX && txn->done != NULL);
    txn->rc = 0;
    txn->revision = 0;
    txn->error = A_ERROR_NONE;
    a_list_push_back(&s->waiting, &txn->link);
    batch_start(s);
}

struct blocking {
    bool done;
    int rc;
    uint64_t revision;
    struct a_error *reterr;
};

static void blocking_done(void *ctx, int rc, uint64_t revision, const struct a_error *error)
{
    struct blocking *b = ctx;
    b->done = true;
    b->rc = rc;
    b->revision = revision;
    if (rc != 0)
        a_error_set(b->reterr, error->code, "%s", a_error_text(error));
}

int store_write(struct store *s, const struct store_write *writes, size_t n, uint64_t *ret_revision,
                struct a_error *reterr)
{
    struct blocking b = {.reterr = reterr};
    struct store_txn txn = {.writes = writes, .n_writes = n, .done = blocking_done, .ctx = &b};
    store_submit(s, &txn);
    while (!b.done) {
        sys_pool_drain(s->pool);
        sys_loop_turn(s->loop, false);
    }
    if (b.rc == 0)
        *ret_revision = b.revision;
    return b.rc;
}

int store_backup(struct store *s, const char *path, struct a_error *reterr)
{
    sys_pool_drain(s->pool);
    return s->backend->backup(s->self, path, reterr);
}

void store_copy_submit(struct store *s, struct store_copy *copy)
{
    a_assert(s->copy == NULL && copy->done != NULL);
    copy->rc = 0;
    copy->error = A_ERROR_NONE;
    s->copy = copy;
    batch_start(s);
}

bool store_copy_is_under_way(const struct store *s)
{
    return s->copy != NULL;
}

/* The file and what SQLite keeps beside it, out of the way: never over something that is there. */
static int set_aside(const char *path, char **ret_aside, struct a_error *reterr)
{
    static const char *const parts[] = {"-wal", "-shm", ""};
    A_AUTOFREE char *aside = NULL;
    if (!sys_file_exists(path))
        return 0;
    for (int n = 1; aside == NULL || sys_file_exists(aside); n++) {
        a_free(aside);
        aside = a_asprintf("%s.before-restore-%d", path, n);
    }
    for (size_t i = 0; i < A_ARRAY_SIZE(parts); i++) {
        A_AUTOFREE char *from = a_asprintf("%s%s", path, parts[i]);
        A_AUTOFREE char *to = a_asprintf("%s%s", aside, parts[i]);
        int rc = sys_file_exists(from) ? sys_file_rename(from, to, reterr) : 0;
        if (rc < 0)
            return rc;
    }
    *ret_aside = a_steal(&aside);
    return 0;
}

int store_restore(const char *from, const char *to, char **ret_aside, struct a_error *reterr)
{
    const struct store_backend *backend = &store_sqlite;
    A_AUTOFREE char *fresh = a_asprintf("%s.restoring", to);
    A_AUTOFREE char *aside = NULL;
    int rc = backend->check(from, reterr);
    if (rc == 0)
        rc = backend->unused(to, reterr);
    if (rc == 0)
        rc = sys_file_copy(from, fresh, 0600, reterr);
    if (rc == 0)
        rc = set_aside(to, &aside, reterr);
    if (rc == 0)
        rc = sys_file_rename(fresh, to, reterr);
    if (rc == 0)
        *ret_aside = a_steal(&aside);
    return rc;
}
