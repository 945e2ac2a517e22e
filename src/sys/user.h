/* Other users than our own: may we make processes and files theirs? */
#ifndef A_SYS_USER_H
#define A_SYS_USER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/error.h"

/* Whether this process may become each of these users and groups, give them files, and still look after both:
 * CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_FOWNER, CAP_DAC_OVERRIDE, CAP_KILL and CAP_SYS_PTRACE (for their
 * environments) in effect, and all of the numbers known in our user namespace. */
bool sys_user_may_switch(uint32_t first, uint32_t count);
/* The path itself (a link: not what it leads to) becomes that user's and group's. */
int sys_user_give(const char *path, uint32_t uid, struct a_error *reterr) A_MUST_CHECK;
/* A folder of ours that this group, and no other, may pass through (mode 0710). */
int sys_user_let_pass(const char *path, uint32_t gid, struct a_error *reterr) A_MUST_CHECK;
int sys_path_chmod(const char *path, mode_t mode, struct a_error *reterr) A_MUST_CHECK;
/* Whether any user may pass through every folder above `path` (absolute). */
bool sys_path_is_passable(const char *path);

#endif
