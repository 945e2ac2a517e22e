/* `astra up` and `astra down`: one server, one gateway and nodes in pretend clusters on this machine, as
 * child processes. docs/components/up.md. */
#ifndef D_UP_UP_H
#define D_UP_UP_H

/* Main functions; they return the exit status. */
int d_up_main(int argc, char **argv);
int d_down_main(int argc, char **argv);

#endif
