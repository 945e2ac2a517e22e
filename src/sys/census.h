/* What processes use, below some roots, looked at again and again.
 *
 * To read all of /proc at each look costs the more the more others run on the machine. A process does not
 * leave the tree that it was born into while its root is the first of its PID namespace or a subreaper, so
 * what is known of a pid stays: only pids that are new are asked for their parent, and only those below a
 * root for what they use. All are asked again when the roots change, and at every 16th look, because the pid
 * of somebody else may have been given to another process between two looks. */
#ifndef A_SYS_CENSUS_H
#define A_SYS_CENSUS_H

#include <stddef.h>
#include <sys/types.h>

#include "base/error.h"
#include "sys/process.h"

struct sys_census_row;

/* Zeroed = nothing seen yet. */
struct sys_census {
    struct sys_census_row *rows; /* all processes, by pid */
    size_t n_rows;
    pid_t *roots;
    size_t n_roots;
    struct sys_proc_info *below; /* by root */
    pid_t *below_root;           /* of each of them */
    size_t n_below, cap_below;
    unsigned looks;
    size_t asked; /* processes that the last look read */
};

/* What is below each of the roots now (in any order, 0 is none of them). After an error the look before is
 * forgotten: nothing is below anything. */
int sys_census_look(struct sys_census *c, const pid_t *roots, size_t n_roots,
                    struct a_error *reterr) A_MUST_CHECK;
/* As of the last look: processes below that root, without itself, each as sys_proc_stat() tells it. The
 * census's until the next look. */
const struct sys_proc_info *sys_census_below(const struct sys_census *c, pid_t root, size_t *ret_n);
void sys_census_deinit(struct sys_census *c); /* safe twice */

#endif
