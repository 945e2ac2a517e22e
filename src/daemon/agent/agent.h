/* `astra agent`: a node's daemon. It joins a resource server, grants claims by the node core, and runs their
 * members through shims, which outlive it. docs/components/agent.md. */
#ifndef D_AGENT_AGENT_H
#define D_AGENT_AGENT_H

/* The process's main function; returns the exit status. SIGTERM ends the agent only: its members run on. */
int d_agent_main(int argc, char **argv);

#endif
