/* What stands behind struct store. Functions block and are called by one thread at a time: the store's
 * worker, or the owner while no worker runs. */
#ifndef A_STORE_BACKEND_H
#define A_STORE_BACKEND_H

#include "store/store.h"

struct store_backend {
    const char *name;
    /* *ret_self, the store's id and the epoch of this opening. Errors as store_open(). */
    int (*open)(const struct store_options *options, void **ret_self, struct a_uuid *ret_id,
                uint64_t *ret_epoch, uint64_t *ret_revision, struct a_error *reterr);
    void (*close)(void *self);
    /* Commits the transactions of `batch` (store_txn.link) in their order, each wholly or not at all, and
     * fills in their rc, revision and error. `revision` is the last one used; returns the new last one. */
    uint64_t (*commit)(void *self, struct a_list *batch, uint64_t revision);
    int (*scan)(void *self, const char *prefix, bool (*each)(void *ctx, const struct store_entry *entry),
                void *ctx, struct a_error *reterr);
    int (*backup)(void *self, const char *path, struct a_error *reterr);
    int (*check)(const char *path, struct a_error *reterr);  /* a whole store of ours; nothing is changed */
    int (*unused)(const char *path, struct a_error *reterr); /* no process has it; damaged ones included */
};

extern const struct store_backend store_sqlite;

#endif
