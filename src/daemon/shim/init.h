/* `astra init agent ...`: PID 1 of a pod. */
#ifndef D_SHIM_INIT_H
#define D_SHIM_INIT_H

/* Runs `astra` with the words after `init` as its one child, until that ends because it was told to. Exit
 * status: the child's. */
int d_init_main(int argc, char **argv);

#endif
