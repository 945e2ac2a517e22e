/* Starting and ending the member's processes: namespaces, limits, identity, exec. */
#ifndef D_SHIM_MEMBER_H
#define D_SHIM_MEMBER_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/error.h"
#include "daemon/shim/spec.h"

struct d_shim_member {
    pid_t pid; /* our child: the namespace's first process, or the member itself */
    bool namespaces;
    int status_fd;   /* namespaces: the first process tells here how the member ended; else -1 */
    bool ended;      /* the child was reaped */
    int wait_status; /* of the member, as waitpid() gives it */
};

/* Starts it: in namespaces of its own if the spec and the kernel allow, else below a subreaper. Its standard
 * output and error go to `out_fd`. -errno and a message when it cannot be started. */
int d_shim_member_start(const struct d_shim_spec *spec, int out_fd, struct d_shim_member *ret,
                        struct a_error *reterr);
/* Asks the member (not its descendants) to end. */
void d_shim_member_term(const struct d_shim_member *m);
/* Kills everything: the namespace, or every descendant that there is now. */
void d_shim_member_kill(const struct d_shim_member *m);
/* Reaps what has ended. True when the member's own end is known: `wait_status` is set then. */
bool d_shim_member_reap(struct d_shim_member *m);
/* True when no descendant is left. Without namespaces it kills those that the member left behind. */
bool d_shim_member_gone(struct d_shim_member *m);

/* pid and start time of a process; start 0 when there is none. */
struct d_shim_process d_shim_process_of(pid_t pid);

#endif
