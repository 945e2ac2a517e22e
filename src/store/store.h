/* The store: a small ordered key-value space with one revision counter, kept on disk. Keys are paths
 * (/NS/kind/name), values JSON texts. Each committed transaction has the next revision; every value remembers
 * the revision that wrote it, so that a writer can say "only if it is still what I read" (compare-and-swap).
 *
 * Transactions are committed by the store's own worker, many at once (group commit): store_submit() never
 * blocks a loop. What is read at start is read by blocking calls before the loop runs; from then on the owner
 * keeps its objects in memory.
 *
 * The backend is a struct of functions (store/backend.h): SQLite now; every backend passes
 * tests/unit/test_store.c. */
#ifndef A_STORE_STORE_H
#define A_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/list.h"
#include "sys/loop.h"
#include "types/id.h"

#define STORE_KEY_MAX 512          /* bytes */
#define STORE_VALUE_MAX (8u << 20) /* bytes: an API body */
#define STORE_WRITES_MAX 256       /* in one transaction */

struct store;

struct store_options {
    const char *path;   /* the file; its folder exists */
    uint64_t max_bytes; /* the file may not grow past it; 0 = the disk decides */
};

/* Opens the file or makes a new one, with a new store id. Blocks.
 * A_CODE_STORE_LOCKED: another process has it; A_CODE_STORE_CORRUPT: it is damaged or no store of ours: it is
 * left as it is, never recreated; A_CODE_STORE_FULL; a schema newer than this program:
 * A_CODE_WIRE_UNSUPPORTED. `loop` is told of results. */
int store_open(struct sys_loop *loop, const struct store_options *options, struct store **ret,
               struct a_error *reterr) A_MUST_CHECK;
/* Finishes what was submitted, tells of it, and closes. NULL allowed. */
void store_close(struct store *s);

/* Made with the store, for ever the same. */
const struct a_uuid *store_id(const struct store *s);
/* Higher at each opening: what this process does is fenced from what a process before it did. */
uint64_t store_epoch(const struct store *s);
/* Of the last commit that was told. */
uint64_t store_revision(const struct store *s);
/* True while the disk is full: transactions fail with A_CODE_STORE_FULL until one succeeds. */
bool store_is_read_only(const struct store *s);
/* Transactions that failed, those apart whose expectation did not hold. */
uint64_t store_failures(const struct store *s);

struct store_entry {
    struct a_view key, value;
    uint64_t revision; /* that wrote it */
};

/* Each entry whose key begins with `prefix`, in the order of keys; the views live until `each` returns.
 * Blocks: for start-up. Stops when `each` returns false. */
int store_scan(struct store *s, const char *prefix, bool (*each)(void *ctx, const struct store_entry *entry),
               void *ctx, struct a_error *reterr) A_MUST_CHECK;

/* What a write expects to find, in store_write.expect: any revision, or no entry; else the entry's revision.
 */
#define STORE_ANY UINT64_MAX
#define STORE_ABSENT 0

struct store_write {
    struct a_view key;
    struct a_view value; /* ptr NULL: delete (an absent key is no error) */
    uint64_t expect;
};

/* One transaction, in its owner's object, which stays until `done`. */
struct store_txn {
    struct a_list link;
    const struct store_write *writes; /* with their bytes, until `done` */
    size_t n_writes;
    const struct store_write *also; /* one more, that somebody else has; NULL = none */
    /* On the loop, exactly once, never from within store_submit(). rc 0: committed and on disk, as
     * `revision`. -EAGAIN (A_CODE_CONFLICT): an expectation did not hold, nothing was written. Other -errno
     * with the store's code. */
    void (*done)(void *ctx, int rc, uint64_t revision, const struct a_error *error);
    void *ctx;
    int rc;
    uint64_t revision;
    struct a_error error;
};

/* All of the writes or none. Transactions commit in the order of submission. */
void store_submit(struct store *s, struct store_txn *txn);
/* The same, blocking: for start-up, tools and tests. */
int store_write(struct store *s, const struct store_write *writes, size_t n, uint64_t *ret_revision,
                struct a_error *reterr) A_MUST_CHECK;

/* A copy that can be opened as a store, complete as of now. Blocks; the file must not exist. */
int store_backup(struct store *s, const char *path, struct a_error *reterr) A_MUST_CHECK;

/* The same between two batches, in its owner's object, which stays until `done` (told as a transaction's is).
 * One at a time. */
struct store_copy {
    const char *path;
    void (*done)(void *ctx, int rc, const struct a_error *error);
    void *ctx;
    int rc;
    struct a_error error;
};
void store_copy_submit(struct store *s, struct store_copy *copy);
bool store_copy_is_under_way(const struct store *s);

/* Puts a copy of `from` in the place of the store at `to`, whose server must not run. What was there is kept
 * beside it, under *ret_aside (owned by the caller; NULL when there was nothing). `from` is checked first:
 * A_CODE_STORE_CORRUPT when it is no whole store; A_CODE_STORE_LOCKED when a server has `to`. */
int store_restore(const char *from, const char *to, char **ret_aside, struct a_error *reterr) A_MUST_CHECK;

#endif
