/* The terminal in front of a command, and Ctrl-C. */
#ifndef A_SYS_TERMINAL_H
#define A_SYS_TERMINAL_H

#include <stdbool.h>

bool sys_terminal_is(int fd);
/* Columns; 80 when it cannot be told. */
unsigned sys_terminal_width(int fd);

/* From now on the first SIGINT or SIGTERM only sets a flag; the second ends the process. */
void sys_interrupt_catch(void);
bool sys_interrupted(void);

#endif
