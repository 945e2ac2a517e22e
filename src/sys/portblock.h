/* Blocks of 100 ports for members: 100 blocks out of 20000-29999 on each host.
 *
 * Several agents may share one host, so blocks are taken by lock files in a folder that they share. A block's
 * lock lives as long as somebody holds its descriptor: the agent, and the shims that inherit it; a dead
 * owner's blocks are free again by themselves. A restarted agent takes the same block again by its number,
 * from its own record. A block that was given back rests for 150 s before others get it, longer than
 * connections stay in TIME-WAIT and longer than peers may believe in its endpoints. */
#ifndef A_SYS_PORTBLOCK_H
#define A_SYS_PORTBLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/error.h"

#define SYS_PORTBLOCK_FIRST 20000
#define SYS_PORTBLOCK_SIZE 100
#define SYS_PORTBLOCK_COUNT 100
#define SYS_PORTBLOCK_REST_MS 150000

/* Zero-initialised = none held; fd is valid only while base is not 0. */
struct sys_portblock {
    uint16_t base; /* ports base .. base + 99 */
    int fd;        /* the lock; inheritable by choice (sys_fd_set_inherit) */
};

/* The folder of lock files: `dir`, or $XDG_RUNTIME_DIR/astra-ports, or /tmp/astra-ports-UID. The caller
 * frees. */
char *sys_portblock_dir(void) __attribute__((malloc, returns_nonnull));
/* Takes a free block in which no port is in use (each is bound once for a try). `seed` spreads where the
 * search begins. -EAGAIN with a reason when there is none. Blocks for about a millisecond per block looked
 * at. */
int sys_portblock_take(const char *dir, uint64_t seed, struct sys_portblock *ret_block,
                       struct a_error *reterr) A_MUST_CHECK;
/* Takes the very block again whose base is on record; its ports may be in use, by our own members.
 * -EWOULDBLOCK when somebody holds it: a shim of ours that inherited the lock, then the block is safe without
 * us, or a stranger. */
int sys_portblock_retake(const char *dir, uint16_t base, struct sys_portblock *ret_block,
                         struct a_error *reterr) A_MUST_CHECK;
/* Gives it back, to rest. Safe on a zeroed one and twice. */
void sys_portblock_release(struct sys_portblock *b);
/* Removes the lock files that nobody holds, and the folder with the last of them. While somebody holds any,
 * the files of blocks at rest stay; else nobody is left whom their rest would protect. 0 also when there is
 * no folder. */
int sys_portblock_sweep(const char *dir, struct a_error *reterr) A_MUST_CHECK;
/* Forgets it without rest (our copy of the descriptor is closed; heirs keep the block). */
void sys_portblock_leave(struct sys_portblock *b);

/* A port that is free now on loopback, of the kernel's choice. For tests: it may be taken by the time of use.
 */
int sys_port_free(uint16_t *ret_port) A_MUST_CHECK;
/* True when something is bound to this TCP port on any local address. */
bool sys_port_is_used(uint16_t port);

#endif
