/* `astra shim FOLDER`: the parent of one member.
 *
 * It owns the member's processes and outlives the agent, so that an agent may die, restart and be replaced
 * under running members. Therefore it is as small as can be: one thread, one poll(), no network, no library
 * above base, and a protocol that never changes (docs/components/shim.md). Everything it knows is in FOLDER:
 * it reads `spec`, writes `state` and the rotated `log`, and listens on the unix socket `control`.
 *
 * Where the kernel allows it the member lives in PID and mount namespaces of its own (through a user
 * namespace where we are not root): then its end is the end of all it ever started, and its /dev/shm goes
 * with it. Elsewhere the shim is the subreaper of all of the member's descendants, and kills until none is
 * left. */
#ifndef D_SHIM_SHIM_H
#define D_SHIM_SHIM_H

/* The process's main function; returns the exit status: 0 when the member was started and has ended, 1 when
 * it could not be started (state says why), 2 on wrong usage. */
int d_shim_main(int argc, char **argv);

#endif
