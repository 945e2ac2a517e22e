/* `astra gateway`: the data plane. docs/components/gateway.md says what it does; this is the process around
 * it. The main thread speaks with the server, serves the admin port, keeps the view and adds up what the
 * workers count; the first worker shares its loop, the others have threads of their own. */
#ifndef D_GATEWAY_GATEWAY_H
#define D_GATEWAY_GATEWAY_H

/* The exit status: 0 stopped by SIGTERM or SIGINT, 1 failed, 2 wrong usage. */
int d_gateway_main(int argc, char **argv);

#endif
