/* `astra server`: the control plane. */
#ifndef A_DAEMON_SERVER_MAIN_H
#define A_DAEMON_SERVER_MAIN_H

/* Runs until SIGTERM or SIGINT; the process's exit status. */
int d_server_main(int argc, char **argv);

#endif
