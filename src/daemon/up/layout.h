/* Where everything of one `astra up` lies. All that is known about it later (what `astra down` ends, whom it
 * must leave alone) is in the data folder:
 *
 *   DATA/lock              held by the running `astra up`
 *   DATA/client.json       address, token and gateway, for the command line
 *   DATA/run/NAME.pid      pid and start time of a child, and of `astra up` itself (up.pid)
 *   DATA/run/NAME.ready    its ready file
 *   DATA/log/NAME.log      what it said
 *   DATA/hold.NAME         made by anybody: while it is there, NAME is not started again
 *   DATA/server, gateway, nodes/NAME    data folders of the children
 *   DATA/cache             artifacts, shared by all nodes
 *   /tmp/astra-HASH        members' temporary folders; HASH is of DATA, so that it is found without a record
 */
#ifndef D_UP_LAYOUT_H
#define D_UP_LAYOUT_H

#include <stdbool.h>

#include "base/error.h"
#include "sys/process.h"

#define D_UP_SELF "up" /* the supervisor's own name among the children's */

/* Zero-initialised = nothing. Strings are owned. */
struct d_up_layout {
    char *data; /* absolute, without links */
    char *run, *log, *nodes, *server, *gateway, *cache, *client, *lock;
    char *temp;
    char *mark; /* ASTRA_UP=DATA: in the environment of each child */
};

/* `data` NULL: $ASTRA_CFG_DATA, where the command line looks for client.json too, or ~/.local/share/astra.
 * With `make` the folders are made; without, -ENOENT when there is no DATA. */
int d_up_layout_open(const char *data, bool make, struct d_up_layout *ret_layout,
                     struct a_error *reterr) A_MUST_CHECK;
void d_up_layout_deinit(struct d_up_layout *l);

/* RUN/NAME.SUFFIX; the caller frees. */
char *d_up_run_path(const struct d_up_layout *l, const char *name, const char *suffix)
    __attribute__((malloc, returns_nonnull));
int d_up_pid_write(const struct d_up_layout *l, const char *name, const struct sys_proc_id *id,
                   struct a_error *reterr) A_MUST_CHECK;
void d_up_pid_remove(const struct d_up_layout *l, const char *name);
/* False when there is no such file or that process is gone. */
bool d_up_pid_read(const struct d_up_layout *l, const char *name, struct sys_proc_id *ret_id);
/* each(ctx, name, id) for every child that runs, in no order; not for `astra up` itself. */
void d_up_pids_each(const struct d_up_layout *l,
                    void (*each)(void *ctx, const char *name, const struct sys_proc_id *id), void *ctx);

#endif
